//! The stream as it must be: made if it is missing, mended where that changes no message, refused otherwise.

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, Republish, RetentionPolicy, StorageType,
};
use crier_domain::subject::{LIVE_PREFIX, STREAM, STREAM_SUBJECTS};
use serde_json::json;

use super::Log;
use crate::connection::VersionError;
use crate::error::{Outage, ServerError};

/// Two relays that start at the same time see each other's stream appear; more rounds than this are no accident.
const ROUNDS: usize = 4;

/// What is to be decided about the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// Copies in a cluster: 1 on one machine, 3 in a cluster. A stream that has more keeps them.
    pub replicas: usize,
    /// How long the server recognises a message id sent twice.
    pub duplicate_window: Duration,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            replicas: 1,
            duplicate_window: Duration::from_secs(120),
        }
    }
}

/// A setting of an existing stream that can't be changed into what the log needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which, as NATS names it.
    pub setting: &'static str,
    /// What it is.
    pub found: String,
    /// What it must be.
    pub needed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            found,
            needed,
        } = self;
        write!(f, "{setting} is {found} and must be {needed}")
    }
}

/// Why the log is not ready.
#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    /// There is a stream of this name that is not the log. It is left alone.
    #[error("the stream CRIER is not Crier's: {}", shown(.0))]
    Foreign(Vec<Difference>),
    /// The server doesn't take the stream: another has its subjects, say, or it is no cluster and can have no
    /// replicas.
    #[error("NATS refuses the stream CRIER: {0}")]
    Refused(ServerError),
    /// The server is too old.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// There was no answer to be had. Worth trying again.
    #[error("the stream CRIER can't be made ready: {0}")]
    Unavailable(#[from] Outage),
}

fn shown(differences: &[Difference]) -> String {
    let shown: Vec<String> = differences.iter().map(Difference::to_string).collect();
    shown.join("; ")
}

impl Log {
    /// Makes the stream, or mends it. Changes nothing when it is as it should be; several may do it at once.
    ///
    /// # Errors
    /// When NATS or an existing stream stands against it, or there is no answer.
    pub async fn ensure(&self, config: &LogConfig) -> Result<(), EnsureError> {
        for _ in 0..ROUNDS {
            // The version is known once there is a connection, and an answer means that there is one.
            let found = self.info().await?;
            self.bus.check_server()?;
            let Some(found) = found else {
                match self.apply("CREATE", &needed(config)).await? {
                    Err(error) if error.code == ErrorCode::STREAM_NAME_EXIST.0 => continue,
                    answer => return answer.map_err(refused),
                }
            };
            let differences = differences(&found.config);
            if !differences.is_empty() {
                return Err(EnsureError::Foreign(differences));
            }
            let mended = mended(&found.config, config);
            if mended == found.config {
                return Ok(());
            }
            tracing::info!(
                stream = STREAM,
                "the stream's settings are brought up to date"
            );
            match self.apply("UPDATE", &mended).await? {
                Err(error) if error.code == ErrorCode::STREAM_NOT_FOUND.0 => {}
                answer => return answer.map_err(refused),
            }
        }
        Err(EnsureError::Unavailable(Outage::Busy))
    }

    async fn info(&self) -> Result<Option<Info>, EnsureError> {
        let endpoint = format!("STREAM.INFO.{STREAM}");
        match self.bus.api(&endpoint, &json!({})).await? {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.code == ErrorCode::STREAM_NOT_FOUND.0 => Ok(None),
            Err(error) => Err(Outage::Server(error).into()),
        }
    }

    async fn apply(&self, how: &str, config: &Config) -> Result<Result<(), ServerError>, Outage> {
        let endpoint = format!("STREAM.{how}.{STREAM}");
        let answer = self.bus.api::<Info>(&endpoint, config).await?;
        Ok(answer.map(|_| ()))
    }
}

/// Whether an operator must do something, or time will: a cluster that has just started has no leader and not all
/// of its servers.
fn refused(error: ServerError) -> EnsureError {
    let for_good = match ErrorCode(error.code) {
        ErrorCode::CLUSTER_NO_PEERS => false,
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED | ErrorCode::STREAM_INVALID_CONFIG => true,
        _ => (400..500).contains(&error.status),
    };
    if for_good {
        EnsureError::Refused(error)
    } else {
        EnsureError::Unavailable(Outage::Server(error))
    }
}

/// The stream as it must be.
fn needed(config: &LogConfig) -> Config {
    let bare = Config {
        name: STREAM.to_owned(),
        description: Some("Crier's log: events and permissions in one order".to_owned()),
        subjects: STREAM_SUBJECTS.map(str::to_owned).to_vec(),
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        max_consumers: -1,
        ..Config::default()
    };
    mended(&bare, config)
}

/// The same stream with every setting right that can be changed without a message being changed or lost.
///
/// No limit of any kind: what a limit removes is gone without its time to live being over, and a message that may
/// stay for ever vanishes on restart in a stream with a maximum age.
fn mended(found: &Config, config: &LogConfig) -> Config {
    Config {
        discard: DiscardPolicy::Old,
        discard_new_per_subject: false,
        max_age: Duration::ZERO,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        num_replicas: found.num_replicas.max(config.replicas),
        no_ack: false,
        duplicate_window: config.duplicate_window,
        allow_rollup: false,
        allow_direct: true,
        allow_atomic_publish: true,
        allow_message_ttl: true,
        subject_delete_marker_ttl: None,
        subject_transform: None,
        republish: Some(Republish {
            source: ">".to_owned(),
            destination: format!("{LIVE_PREFIX}>"),
            headers_only: false,
        }),
        ..found.clone()
    }
}

/// What can't be mended: the messages are others', or kept by other rules.
fn differences(found: &Config) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut compare = |setting, found: String, needed: String| {
        if found != needed {
            differences.push(Difference {
                setting,
                found,
                needed,
            });
        }
    };
    let sorted = |mut subjects: Vec<String>| {
        subjects.sort_unstable();
        subjects.join(" ")
    };
    compare(
        "subjects",
        sorted(found.subjects.clone()),
        sorted(STREAM_SUBJECTS.map(str::to_owned).to_vec()),
    );
    compare("storage", format!("{:?}", found.storage), "File".to_owned());
    compare(
        "retention",
        format!("{:?}", found.retention),
        "Limits".to_owned(),
    );
    for (setting, is) in [
        ("sealed", found.sealed),
        ("deny_purge", found.deny_purge),
        ("mirror", found.mirror.is_some()),
        (
            "sources",
            found.sources.as_ref().is_some_and(|all| !all.is_empty()),
        ),
        ("allow_msg_counter", found.allow_message_counter),
    ] {
        compare(setting, is.to_string(), false.to_string());
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_ours_differs_in_nothing_and_needs_no_mending() {
        let config = LogConfig::default();
        let stream = needed(&config);
        assert_eq!(differences(&stream), []);
        assert_eq!(mended(&stream, &config), stream);
        assert_eq!(stream.republish.unwrap().destination, "live.>");
    }

    #[test]
    fn drift_is_mended_and_replicas_are_never_taken_away() {
        let config = LogConfig::default();
        let drifted = Config {
            max_age: Duration::from_secs(9),
            max_bytes: 9,
            allow_direct: false,
            republish: None,
            num_replicas: 3,
            ..needed(&config)
        };
        assert_eq!(differences(&drifted), []);
        let three = LogConfig {
            replicas: 3,
            ..config
        };
        assert_eq!(mended(&drifted, &config), needed(&three));
    }

    #[test]
    fn what_is_not_ours_is_named() {
        let foreign = Config {
            subjects: vec!["orders.>".to_owned()],
            storage: StorageType::Memory,
            sealed: true,
            ..needed(&LogConfig::default())
        };
        let error = EnsureError::Foreign(differences(&foreign)).to_string();
        assert_eq!(
            error,
            "the stream CRIER is not Crier's: subjects is orders.> and must be community.> mark user.>; \
             storage is Memory and must be File; sealed is true and must be false"
        );
    }
}
