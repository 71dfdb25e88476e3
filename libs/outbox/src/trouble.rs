//! Why a leader's step ended early.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use crate::sink::{PublishError, ReadError};

/// Why a leader's step ended early. After all but [`Trouble::Lost`] it backs off and looks at the log again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Another may lead.
    #[error("the lease is lost")]
    Lost,
    #[error("the outbox can't be reached")]
    Source(#[source] Box<dyn Error + Send + Sync>),
    #[error("no answer after {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Trouble {
    /// The trouble with all its causes on one line, as a log shows it.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

/// A call of the source, with a limit.
pub(crate) async fn asked<T, E: Error + Send + Sync + 'static>(
    limit: Duration,
    call: impl Future<Output = Result<T, E>> + Send,
) -> Result<T, Trouble> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| Trouble::Source(Box::new(error))),
        Err(_) => Err(Trouble::Timeout(limit)),
    }
}

/// A write under a term, with a limit: refused means that another leads.
pub(crate) async fn written<E: Error + Send + Sync + 'static>(
    limit: Duration,
    call: impl Future<Output = Result<bool, E>> + Send,
) -> Result<(), Trouble> {
    if asked(limit, call).await? {
        Ok(())
    } else {
        Err(Trouble::Lost)
    }
}

/// A read of the sink, with a limit.
pub(crate) async fn read<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, ReadError>> + Send,
) -> Result<T, Trouble> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Trouble::Timeout(limit)),
    }
}
