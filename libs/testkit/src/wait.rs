//! Waiting for a state: poll it, with a deadline, never sleep and hope.

use std::time::{Duration, Instant};

/// How long anything in a test may take before the test fails: generous, for a busy machine with two cores.
pub const DEADLINE: Duration = Duration::from_secs(30);

const BETWEEN_PROBES: Duration = Duration::from_millis(15);

/// Asks `probe` until it answers `Some`, and gives that answer.
///
/// Meant for the real clock: a paused one would end a probe that waits for a socket.
///
/// # Panics
/// With `what` after [`DEADLINE`], also when a single probe hangs that long.
pub async fn wait_for<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        let left = DEADLINE.saturating_sub(started.elapsed());
        if let Ok(Some(value)) = tokio::time::timeout(left, probe()).await {
            return value;
        }
        assert!(
            started.elapsed() < DEADLINE,
            "waited {} s in vain for {what}",
            DEADLINE.as_secs()
        );
        tokio::time::sleep(BETWEEN_PROBES).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_the_first_some() {
        let mut asked = 0;
        let answer = wait_for("the third question", async || {
            asked += 1;
            (asked == 3).then_some("yes")
        })
        .await;
        assert_eq!((answer, asked), ("yes", 3));
    }
}
