//! Questions that may safely be asked again: bounded as a whole, and asked anew on a new connection.

use std::future::Future;
use std::time::Duration;

use async_nats::jetstream::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use crate::connection::Bus;
use crate::error::{Outage, ServerError};

/// How long a question to the stream's leader may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(4);

impl Bus {
    /// Asks until there is an answer or `limit` is over: waits for a connection, and asks again when it is lost
    /// meanwhile, because the answer was lost with it.
    pub(crate) async fn call<T, F>(
        &self,
        limit: Duration,
        question: impl Fn() -> F,
    ) -> Result<T, Outage>
    where
        F: Future<Output = Result<T, Outage>>,
    {
        let asking = async {
            loop {
                let mut link = self.connected().await?;
                tokio::select! {
                    biased;
                    answer = question() => return answer,
                    () = link.lost() => {}
                }
            }
        };
        match timeout(limit, asking).await {
            Ok(answer) => answer,
            Err(_) if !self.is_connected() => Err(Outage::Disconnected),
            Err(_) => Err(Outage::NoAnswer(limit)),
        }
    }

    /// One call of the JetStream API. The outer error is silence, the inner one the server's no.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        body: &impl Serialize,
    ) -> Result<Result<T, ServerError>, Outage> {
        self.api_if(endpoint, body, |_| true).await
    }

    /// A call whose answer counts only if it shows that whoever gave it is in touch with the log's leader.
    pub(crate) async fn api_if<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        body: &impl Serialize,
        in_touch: impl FnOnce(&T) -> bool,
    ) -> Result<Result<T, ServerError>, Outage> {
        let asked = Instant::now();
        let answer = self.call(CALL_TIMEOUT, || async {
            let answer = self.jetstream().request(endpoint.to_owned(), body).await;
            match answer.map_err(|error| Outage::of_request(error, CALL_TIMEOUT))? {
                Response::Ok(answer) => Ok(Ok(answer)),
                Response::Err { error } => Ok(Err(ServerError::from(&error))),
            }
        });
        let answer = match answer.await {
            Ok(Ok(answer)) if !in_touch(&answer) => Err(Outage::OutOfTouch),
            answer => answer,
        };
        match &answer {
            // 503: no leader is known.
            Ok(Err(error)) if error.status == 503 => self.unanswered(asked),
            Ok(_) => self.answered(),
            Err(_) => self.unanswered(asked),
        }
        answer
    }
}
