//! `crier token`: a token for trying things out, and for an application's backend.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use crier_service_kit::auth::Signer;
use crier_service_kit::config::{HumanDuration, Secret};

use crate::config::Config;
use crate::up::{DEFAULT_DATA_DIR, JWT_SECRET};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Whose token: the `sub`.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..), required_unless_present = "scope")]
    user_id: Option<i64>,
    /// The name shown to others.
    #[arg(long, requires = "user_id", default_value = "")]
    username: String,
    /// `service` for the application's own backend, which has no user and no stream.
    #[arg(long, value_parser = ["service"], conflicts_with = "user_id")]
    scope: Option<String>,
    /// How long it is valid.
    #[arg(long, default_value = "1h")]
    ttl: HumanDuration,
    /// Where `crier up` keeps its secret, used if none is configured.
    #[arg(long, default_value = DEFAULT_DATA_DIR)]
    data_dir: PathBuf,
}

pub(crate) fn print(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    let signer = signer(config, &arguments.data_dir)?;
    let ttl = arguments.ttl.get();
    let token = match (arguments.user_id, &arguments.scope) {
        (Some(id), None) => signer.sign_user(id, &arguments.username, ttl)?,
        (None, Some(_)) => signer.sign_service(ttl)?,
        // clap has seen to it; a new flag might not.
        _ => bail!("give either --user-id or --scope service"),
    };
    println!("{token}");
    Ok(())
}

/// Signs with the configured secret, else with the data directory's.
///
/// # Errors
/// One sentence, when there is neither or it can't sign.
pub(crate) fn signer(config: &Config, data_dir: &Path) -> anyhow::Result<Signer> {
    let mut auth = config.auth.clone();
    if auth.secret.is_none() {
        let path = data_dir.join(JWT_SECRET);
        let secret = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "no auth.secret is configured and {} can't be read; run `crier up` once or set CRIER_AUTH__SECRET",
                path.display()
            )
        })?;
        auth.secret = Some(Secret::new(secret.trim()));
    }
    Ok(Signer::new(&auth)?)
}
