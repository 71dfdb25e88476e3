//! SIGINT and SIGTERM.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that the first SIGINT or SIGTERM cancels. A second one ends the process at once, with 128 plus its number.
///
/// For `main` alone: everything below gets the token as an argument.
///
/// # Errors
/// If the handlers can't be installed.
///
/// # Panics
/// Outside a tokio runtime.
pub fn signals() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let first = either(&mut interrupt, &mut terminate).await;
        tracing::info!(
            signal = first.as_raw_value(),
            "stopping; a second signal ends it at once"
        );
        cancelled.cancel();
        let second = either(&mut interrupt, &mut terminate).await;
        std::process::exit(128 + second.as_raw_value());
    });
    Ok(token)
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) -> SignalKind {
    tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
    }
}
