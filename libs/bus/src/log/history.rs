//! The log's past, for clients that come back: a community's events in pages, and how far back the log reaches.
//!
//! A page is a batch direct get (ADR-31): one question, many answers, and a last one that says so. The client library
//! has no call for it. Any replica answers, and one that lags ends its page like a complete one; whether a page is
//! complete is for the reader to tell, by the `Crier-Prev` of what came.

use std::time::Duration;

use async_nats::StatusCode;
use async_nats::jetstream::message::StreamMessage;
use crier_domain::subject::{self, STREAM};
use crier_domain::{CommunityId, Seq, Subject};
use futures::StreamExt as _;
use serde_json::json;

use super::stored::Stored;
use super::{Log, ReadError};
use crate::error::{Outage, ServerError};

/// How long a page may take, from the question to the last event.
const PAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// How much one page holds at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// Events.
    pub events: usize,
    /// Bytes, headers included; one event passes however large it is.
    pub bytes: usize,
}

impl Default for PageLimits {
    fn default() -> Self {
        Self {
            events: 256,
            bytes: 512 << 10,
        }
    }
}

impl Log {
    /// The community's events after `after`, in the log's order, as some replica knows them: what is missing at the
    /// end, or everything, may only be late there.
    ///
    /// # Errors
    /// When no replica answers, or its page breaks off.
    pub async fn page(
        &self,
        community: CommunityId,
        after: Seq,
        limits: PageLimits,
    ) -> Result<Vec<Stored>, ReadError> {
        let which = json!({
            "seq": after.next().0,
            "next_by_subj": subject::community_filter(community),
            "batch": limits.events,
            "max_bytes": limits.bytes,
        })
        .to_string();
        let page = self
            .bus
            .call(PAGE_TIMEOUT, || self.ask_page(which.clone()))
            .await??;
        page.into_iter()
            .map(|message| {
                let message = StreamMessage::try_from(message).map_err(Outage::client)?;
                Ok(Stored::from(message))
            })
            .collect()
    }

    /// The outer error is silence, the inner one the server's no.
    async fn ask_page(
        &self,
        which: String,
    ) -> Result<Result<Vec<async_nats::Message>, ServerError>, Outage> {
        let client = self.bus.client();
        let inbox = client.new_inbox();
        let mut answers = client
            .subscribe(inbox.clone())
            .await
            .map_err(Outage::client)?;
        let endpoint = format!("$JS.API.DIRECT.GET.{STREAM}");
        client
            .publish_with_reply(endpoint, inbox, which.into())
            .await
            .map_err(Outage::client)?;
        let mut page = Vec::new();
        while let Some(message) = answers.next().await {
            match message.status {
                None => page.push(message),
                // The end of a batch; and a replica that has nothing there.
                Some(status) if status.as_u16() == 204 || status == StatusCode::NOT_FOUND => {
                    return Ok(Ok(page));
                }
                Some(StatusCode::NO_RESPONDERS) => return Err(Outage::NoResponders),
                Some(status) => {
                    let description = message.description.as_deref().unwrap_or_default();
                    return Ok(Err(ServerError {
                        status: status.as_u16(),
                        code: 0,
                        description: format!("{status} {description}"),
                    }));
                }
            }
        }
        Err(Outage::Lost)
    }

    /// The oldest mark that the log still holds: it reaches back to there. `None` when it holds none, and so reaches
    /// back to now.
    ///
    /// # Errors
    /// When the leader doesn't answer.
    pub async fn horizon(&self) -> Result<Option<Seq>, ReadError> {
        let oldest = json!({ "seq": 1, "next_by_subj": Subject::Mark.to_string() });
        Ok(self.get(oldest).await?.map(|mark| mark.seq))
    }
}
