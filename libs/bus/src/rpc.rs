//! A gateway asks the API service, over NATS, for the snapshot of a user who has none.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use async_nats::{Message, Request, RequestErrorKind};
use bytes::Bytes;
use crier_domain::UserId;
use crier_domain::rpc::{SnapshotReply, SnapshotRequest};
use crier_domain::subject::API_SNAPSHOT;
use futures::StreamExt;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::connection::Bus;
use crate::error::Outage;

/// How long a gateway waits for an answer; a handler that takes longer answers nobody.
pub const RPC_TIMEOUT: Duration = Duration::from_secs(2);

/// The API services answer as one group: each question goes to one of them.
const QUEUE_GROUP: &str = "api";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// No API service is connected to NATS.
    #[error("no API service is there to answer")]
    NoResponders,
    /// It was not answered.
    #[error("no answer: {0}")]
    Unavailable(#[source] Outage),
    /// The answer is none.
    #[error("the answer can't be read")]
    Malformed(#[source] serde_json::Error),
}

impl Bus {
    /// Asks the API to publish this user's snapshot. The snapshot itself comes through the log.
    ///
    /// # Errors
    /// Without an answer within two seconds; at once when nobody is there to answer.
    pub async fn request_snapshot(&self, user: UserId) -> Result<SnapshotReply, RpcError> {
        let question = SnapshotRequest { user_id: user };
        let question = serde_json::to_vec(&question).map_err(RpcError::Malformed)?;
        let question = Bytes::from(question);
        let answer = self
            .call(RPC_TIMEOUT, || async {
                let request = Request::new().payload(question.clone());
                match self.client().send_request(API_SNAPSHOT, request).await {
                    Ok(answer) => Ok(Some(answer.payload)),
                    Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(None),
                    Err(error) => Err(Outage::client(error)),
                }
            })
            .await
            .map_err(RpcError::Unavailable)?
            .ok_or(RpcError::NoResponders)?;
        serde_json::from_slice(&answer).map_err(RpcError::Malformed)
    }

    /// Answers gateways until `shutdown`, at most `concurrency` at a time, and then ends those it has begun. What the
    /// handler can't do, or not within two seconds, is answered with [`SnapshotReply::Unavailable`].
    ///
    /// # Errors
    /// When the subscription can't be made.
    pub async fn serve_snapshots<H, F, E>(
        &self,
        handler: H,
        concurrency: usize,
        shutdown: CancellationToken,
    ) -> Result<(), RpcError>
    where
        H: Fn(UserId) -> F,
        F: Future<Output = Result<SnapshotReply, E>>,
        E: Error + 'static,
    {
        let questions = self
            .client()
            .queue_subscribe(API_SNAPSHOT, QUEUE_GROUP.to_owned())
            .await
            .map_err(|error| RpcError::Unavailable(Outage::client(error)))?;
        let handler = &handler;
        questions
            .take_until(shutdown.cancelled_owned())
            .for_each_concurrent(concurrency.max(1), |question| async move {
                let reply = answer(&question, handler).await;
                self.reply(question, &reply).await;
            })
            .await;
        Ok(())
    }

    async fn reply(&self, question: Message, reply: &SnapshotReply) {
        let (Some(to), Ok(body)) = (question.reply, serde_json::to_vec(reply)) else {
            return;
        };
        let sending = self.client().publish(to, Bytes::from(body));
        // Nobody waits any longer after this time.
        timeout(RPC_TIMEOUT, sending).await.ok();
    }
}

async fn answer<F, E>(question: &Message, handler: impl Fn(UserId) -> F) -> SnapshotReply
where
    F: Future<Output = Result<SnapshotReply, E>>,
    E: Error + 'static,
{
    let Ok(SnapshotRequest { user_id }) = serde_json::from_slice(&question.payload) else {
        tracing::warn!(subject = API_SNAPSHOT, "a question that can't be read");
        return SnapshotReply::Unavailable;
    };
    match timeout(RPC_TIMEOUT, handler(user_id)).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => {
            let error: &dyn Error = &error;
            tracing::warn!(%user_id, error, "a snapshot can't be made");
            SnapshotReply::Unavailable
        }
        Err(_) => {
            tracing::warn!(%user_id, "a snapshot was not made in time");
            SnapshotReply::Unavailable
        }
    }
}
