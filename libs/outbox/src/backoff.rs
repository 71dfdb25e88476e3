//! Pauses after failures.

use std::time::Duration;

/// A pause that doubles from failure to failure.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        let next = first;
        Self {
            first,
            longest,
            next,
        }
    }

    /// How long to pause now.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        jittered(pause)
    }

    /// Something went well.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Half to the whole of `length`, so that several waiters don't come back together.
pub(crate) fn jittered(length: Duration) -> Duration {
    length.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(50), ms(300));
        for whole in [50, 100, 200, 300, 300] {
            let pause = backoff.pause();
            assert!(pause >= ms(whole) / 2 && pause <= ms(whole), "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= ms(50));
    }
}
