//! The right to lead, by the relay's own clock.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;
use uuid::Uuid;

use crate::config::RelayConfig;
use crate::source::{Source, Term};
use crate::trouble::{Trouble, asked};

/// A lease held under one term.
///
/// It ends `length` after the moment *before* the last granted request was sent: the database counts from
/// a later moment, so this relay stops before another may begin, however long the answer took.
#[derive(Debug)]
pub(crate) struct Lease<'a, S> {
    source: &'a S,
    holder: Uuid,
    length: Duration,
    every: Duration,
    term: Term,
    until: Mutex<Instant>,
}

impl<'a, S: Source> Lease<'a, S> {
    /// Takes the lease if it is free; `None` if another holds it.
    pub(crate) async fn take(
        source: &'a S,
        holder: Uuid,
        config: &RelayConfig,
    ) -> Result<Option<Self>, Trouble> {
        let until = Instant::now() + config.lease;
        let asked = asked(config.lease / 2, source.lease(holder, config.lease)).await?;
        Ok(asked.map(|term| Self {
            source,
            holder,
            length: config.lease,
            every: config.renew,
            term,
            until: Mutex::new(until),
        }))
    }

    pub(crate) fn term(&self) -> Term {
        self.term
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it still holds, without asking anybody. To be called before each publish: after a process
    /// was stopped for a while, timers may fire late.
    pub(crate) fn check(&self) -> Result<(), Trouble> {
        if Instant::now() < self.until() {
            Ok(())
        } else {
            Err(Trouble::Lost)
        }
    }

    /// Asks for more time.
    pub(crate) async fn renew(&self) -> Result<(), Trouble> {
        self.check()?;
        let until = Instant::now() + self.length;
        // Half the length, so that an answer that got lost leaves time for a second question.
        let call = self.source.lease(self.holder, self.length);
        if asked(self.length / 2, call).await? != Some(self.term) {
            return Err(Trouble::Lost);
        }
        let mut known = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *known = until.max(*known);
        Ok(())
    }

    /// Renews again and again. Returns when the lease is lost.
    pub(crate) async fn keep(&self) {
        loop {
            let renewed = async {
                sleep(self.every).await;
                self.renew().await
            };
            tokio::select! {
                biased;
                () = self.expired() => return,
                renewed = renewed => match renewed {
                    Ok(()) => {}
                    Err(Trouble::Lost) => return,
                    Err(trouble) => warn!(cause = trouble.chain(), "relay lease not renewed"),
                }
            }
        }
    }

    async fn expired(&self) {
        while self.check().is_ok() {
            sleep_until(self.until()).await;
        }
    }
}
