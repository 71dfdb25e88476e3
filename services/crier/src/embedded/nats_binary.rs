//! Finding a `nats-server` that is new enough: an older one on PATH must not be taken.

use std::env;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::bail;

/// Per-message TTLs, republish and expected sequences as the log uses them are in this version.
const OLDEST: (u32, u32) = (2, 12);

/// A binary that doesn't say its version by then is no nats-server.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// The configured binary, else the first that is new enough in `.tools/bin` or on PATH.
///
/// # Errors
/// One sentence that says what was found instead and what to do.
pub(crate) fn find(configured: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = configured {
        return match version(path) {
            Ok(found) if found >= OLDEST => Ok(path.to_owned()),
            Ok((major, minor)) => bail!(
                "{} is nats-server {major}.{minor}; Crier needs 2.12 or newer (up.nats_server)",
                path.display()
            ),
            Err(error) => bail!(
                "up.nats_server names {}, which can't be run as a nats-server: {error}",
                path.display()
            ),
        };
    }
    let on_path = env::var_os("PATH").unwrap_or_default();
    let candidates = std::iter::once(PathBuf::from(".tools/bin"))
        .chain(env::split_paths(&on_path))
        .map(|folder| folder.join("nats-server"))
        .filter(|path| path.is_file());
    let mut too_old = Vec::new();
    for path in candidates {
        match version(&path) {
            Ok(found) if found >= OLDEST => return Ok(path),
            Ok((major, minor)) => too_old.push(format!("{} is {major}.{minor}", path.display())),
            Err(error) => too_old.push(format!("{}: {error}", path.display())),
        }
    }
    let found = if too_old.is_empty() {
        String::new()
    } else {
        format!(" ({})", too_old.join(", "))
    };
    bail!(
        "no nats-server 2.12 or newer was found in .tools/bin or on PATH{found}; `make tools` fetches one, \
         or set CRIER_NATS__URL to use a running server"
    )
}

fn version(path: &Path) -> io::Result<(u32, u32)> {
    let mut child = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + VERSION_TIMEOUT;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other("--version gave no answer"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut text = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(4096).read_to_string(&mut text)?;
    }
    parse(&text).ok_or_else(|| io::Error::other("--version names no version"))
}

/// Reads `nats-server: v2.15.1`.
fn parse(text: &str) -> Option<(u32, u32)> {
    let version = text.trim().strip_prefix("nats-server: v")?;
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(parse("nats-server: v2.9.10"), Some((2, 9)));
        assert_eq!(parse("bash 5"), None);
    }

    #[test]
    fn an_older_server_is_refused_with_its_version() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("nats-server");
        std::fs::write(&old, "#!/bin/sh\necho 'nats-server: v2.9.10'\n").unwrap();
        std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
        let refused = find(Some(&old)).unwrap_err().to_string();
        assert!(refused.contains("is nats-server 2.9"), "{refused}");
    }
}
