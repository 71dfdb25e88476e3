//! The log: the stream as the relay writes it and gateways read it.

pub mod history;
pub mod publish;
pub mod stored;
pub mod stream;

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{ClusterInfo, Info, PeerInfo, PurgeResponse, RawMessage};
use async_nats::{Request, StatusCode};
use crier_domain::log::HeadError;
use crier_domain::subject::{self, STREAM};
use crier_domain::{CommunityId, Seq, Subject, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::connection::Bus;
use crate::error::{Outage, ServerError};
use stored::{LastMark, Stored, StoredSnapshot};

/// How long any replica may take for a direct get: it is asked to spare the leader, not to be waited for.
const DIRECT_TIMEOUT: Duration = Duration::from_millis(750);

/// A leader hears from its followers every second. After four seconds without a leader's word another may be chosen, so one
/// that heard from most of them since then knows everything.
const LATELY: Duration = Duration::from_secs(3);

/// The log. Cheap to clone.
///
/// Unless it says otherwise a read is answered by the stream's leader, which knows everything acknowledged. A read
/// waits for a connection if there is none, and takes four seconds at most.
#[derive(Clone)]
pub struct Log {
    bus: Bus,
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There was no answer to be had. Worth trying again.
    #[error("the log can't be read: {0}")]
    Unavailable(#[from] Outage),
    /// Nothing stands there or behind it, where something was seen. Worth trying again.
    #[error("who leads the log has not come to message {seq}")]
    Behind {
        /// Where.
        seq: Seq,
    },
    /// Something stands there that the relay doesn't write.
    #[error("message {seq} of the log is malformed")]
    Head {
        /// Where.
        seq: Seq,
        /// What is wrong.
        #[source]
        source: HeadError,
    },
    /// A mark without its content.
    #[error("mark {seq} of the log is malformed")]
    Mark {
        /// Where.
        seq: Seq,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

impl From<ServerError> for ReadError {
    fn from(error: ServerError) -> Self {
        Self::Unavailable(Outage::Server(error))
    }
}

/// The answer to `STREAM.MSG.GET`.
#[derive(Deserialize)]
struct RawAnswer {
    message: RawMessage,
}

impl Log {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// The last sequence ever given; [`Seq::ZERO`] for a new log. Neither expiry nor a purge changes it.
    ///
    /// # Errors
    /// When the leader doesn't answer, or whoever answers is out of touch with the others.
    pub async fn tail(&self) -> Result<Seq, ReadError> {
        let endpoint = format!("STREAM.INFO.{STREAM}");
        let is_believed = |info: &Info| info.cluster.as_ref().is_none_or(in_touch);
        let info = self
            .bus
            .api_if(&endpoint, &json!({}), is_believed)
            .await??;
        Ok(Seq(info.state.last_sequence))
    }

    /// What stands at `seq`; `None` when the leader says that there is nothing any more, or not yet.
    ///
    /// # Errors
    /// When the leader doesn't answer.
    pub async fn read(&self, seq: Seq) -> Result<Option<Stored>, ReadError> {
        // The server takes 0 for "no sequence given".
        if seq == Seq::ZERO {
            return Ok(None);
        }
        self.get(json!({ "seq": seq.0 })).await
    }

    /// The last message on a subject, or on any subject that a filter such as `community.45.>` matches.
    ///
    /// # Errors
    /// When the leader doesn't answer.
    pub async fn last(&self, filter: &str) -> Result<Option<Stored>, ReadError> {
        self.get(json!({ "last_by_subj": filter })).await
    }

    async fn get(&self, which: Value) -> Result<Option<Stored>, ReadError> {
        let endpoint = format!("STREAM.MSG.GET.{STREAM}");
        match self.bus.api::<RawAnswer>(&endpoint, &which).await? {
            Ok(answer) => {
                let message = StreamMessage::try_from(answer.message).map_err(Outage::client)?;
                Ok(Some(Stored::from(message)))
            }
            Err(error) if error.code == ErrorCode::NO_MESSAGE_FOUND.0 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The sequence of the community's last event; [`Seq::ZERO`] if the log holds none.
    ///
    /// # Errors
    /// When the leader doesn't answer.
    pub async fn last_event(&self, community: CommunityId) -> Result<Seq, ReadError> {
        let last = self.last(&subject::community_filter(community)).await?;
        Ok(last.map_or(Seq::ZERO, |event| event.seq))
    }

    /// The last mark, if the log holds one.
    ///
    /// # Errors
    /// When the leader doesn't answer, or the mark is not one.
    pub async fn last_mark(&self) -> Result<Option<LastMark>, ReadError> {
        let last = self.last(&Subject::Mark.to_string()).await?;
        last.map(LastMark::try_from).transpose()
    }

    /// The user's last snapshot, if the log holds one.
    ///
    /// # Errors
    /// When the leader doesn't answer, or the message has no epoch.
    pub async fn snapshot(&self, user: UserId) -> Result<Option<StoredSnapshot>, ReadError> {
        let last = self.last(&Subject::User(user).to_string()).await?;
        last.map(StoredSnapshot::try_from).transpose()
    }

    /// What stands at `seq` as some replica knows it: `None` may mean that this one is behind. Takes
    /// three quarters of a second at most.
    ///
    /// # Errors
    /// When no replica answers.
    pub async fn direct(&self, seq: Seq) -> Result<Option<Stored>, ReadError> {
        let endpoint = format!("$JS.API.DIRECT.GET.{STREAM}");
        let which = json!({ "seq": seq.0 }).to_string();
        let answer = self
            .bus
            .call(DIRECT_TIMEOUT, || async {
                let request = Request::new().payload(which.clone().into());
                let answer = self.bus.client().send_request(endpoint.clone(), request);
                answer.await.map_err(|error| {
                    let error = async_nats::jetstream::context::RequestError::from(error);
                    Outage::of_request(error, DIRECT_TIMEOUT)
                })
            })
            .await?;
        match answer.status {
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(status) => {
                let description = answer.description.as_deref().unwrap_or_default();
                Err(ReadError::from(ServerError {
                    status: status.as_u16(),
                    code: 0,
                    description: format!("{status} {description}"),
                }))
            }
            None => {
                let message = StreamMessage::try_from(answer).map_err(Outage::client)?;
                Ok(Some(Stored::from(message)))
            }
        }
    }

    /// What stands at `seq`, from any replica or else from the leader, as [`find`](Self::find) has it.
    ///
    /// # Errors
    /// When neither answers.
    pub async fn payload(&self, seq: Seq) -> Result<Option<Stored>, ReadError> {
        match self.direct(seq).await {
            Ok(Some(found)) => Ok(Some(found)),
            Ok(None) | Err(_) => self.find(seq).await,
        }
    }

    /// What stands at `seq`, from the leader; `None` only when it shows, by what stands behind, that it is gone. One
    /// that doesn't know yet that another was chosen has nothing there either, and nothing behind it.
    ///
    /// # Errors
    /// When the leader doesn't answer, or may not have come that far.
    pub async fn find(&self, seq: Seq) -> Result<Option<Stored>, ReadError> {
        let from = json!({ "seq": seq.0, "next_by_subj": ">" });
        let found = self.get(from).await?.ok_or(ReadError::Behind { seq })?;
        Ok((found.seq == seq).then_some(found))
    }

    /// Removes the user's snapshots before `below`. Not the last one, if `below` is at most its sequence.
    ///
    /// # Errors
    /// When the leader doesn't answer.
    pub async fn purge_snapshots(&self, user: UserId, below: Seq) -> Result<(), ReadError> {
        self.purge(Subject::User(user), below).await
    }

    /// Removes the marks before `below`.
    ///
    /// # Errors
    /// When the leader doesn't answer.
    pub async fn purge_marks(&self, below: Seq) -> Result<(), ReadError> {
        self.purge(Subject::Mark, below).await
    }

    async fn purge(&self, subject: Subject, below: Seq) -> Result<(), ReadError> {
        // Without a sequence the server would purge them all.
        if below == Seq::ZERO {
            return Ok(());
        }
        let which = json!({ "filter": subject.to_string(), "seq": below.0 });
        let endpoint = format!("STREAM.PURGE.{STREAM}");
        let PurgeResponse { .. } = self.bus.api(&endpoint, &which).await??;
        Ok(())
    }
}

/// Whether this comes from a leader that has lately heard from most replicas. A server that is cut off answers too: as the
/// leader it was until it gives up, for twenty seconds at most, and as a follower, because it knows of no leader.
fn in_touch(cluster: &ClusterInfo) -> bool {
    let heard = |peer: &&PeerInfo| !peer.offline && peer.active < LATELY;
    let others = cluster.replicas.len();
    let heard_of = cluster.replicas.iter().filter(heard).count();
    let is_led = cluster.leader.as_ref().is_some_and(|name| !name.is_empty());
    is_led && 2 * (heard_of + 1) > others + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_cut_off_from_most_others_is_not_believed() {
        let told = |leader: Value, replicas: &[(u64, bool)]| {
            let replicas: Vec<_> = replicas
                .iter()
                .map(|(seconds, offline)| {
                    json!({"name": "b", "current": true, "offline": offline, "active": seconds * 1_000_000_000})
                })
                .collect();
            let cluster = json!({"name": "c", "leader": leader, "replicas": replicas});
            in_touch(&serde_json::from_value(cluster).unwrap())
        };
        let a = || json!("a");
        assert!(told(a(), &[]), "one replica");
        assert!(told(a(), &[(0, false), (1, false)]));
        assert!(
            told(a(), &[(60, false), (1, false)]),
            "one of three is gone"
        );
        assert!(!told(a(), &[(5, false), (6, false)]), "it hears of nobody");
        assert!(!told(a(), &[(0, true), (0, true)]), "both are offline");
        assert!(
            !told(json!(""), &[(0, false), (0, false)]),
            "it knows of no leader"
        );
        assert!(
            !told(Value::Null, &[(0, false), (0, false)]),
            "nor does this"
        );
        assert!(
            !told(a(), &[(9, false), (9, false), (9, false), (0, false)]),
            "two of five"
        );
        assert!(
            told(a(), &[(9, false), (9, false), (1, false), (0, false)]),
            "three of five"
        );
    }
}
