//! Seeded dice for jitter: the same seed gives the same run.

use std::time::Duration;

use crate::config::Backoff;

/// SplitMix64. It spreads load in time and guards nothing, so 64 bits of state are plenty.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform in 0..1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The upper half is enough, and fits a float exactly.
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
    }

    /// Between the two, uniformly.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.unit())
    }

    /// `about`, give or take a fifth; never nothing, so that whoever waits for it does wait.
    pub(crate) fn about(&mut self, about: Duration) -> Duration {
        self.between(about.mul_f64(0.8), about.mul_f64(1.2))
            .max(Duration::from_millis(1))
    }

    /// The wait after having asked `times` times.
    pub(crate) fn back_off(&mut self, backoff: Backoff, times: u32) -> Duration {
        let doubled = 1_u32
            .checked_shl(times.saturating_sub(1))
            .unwrap_or(u32::MAX);
        self.about(backoff.first.saturating_mul(doubled).min(backoff.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_its_most_and_varies_by_a_fifth() {
        let mut chance = Chance::new(1);
        let backoff = Backoff {
            first: Duration::from_millis(100),
            most: Duration::from_secs(1),
        };
        for (times, expected) in [(1, 100), (2, 200), (4, 800), (5, 1000), (40, 1000)] {
            for _ in 0..100 {
                let wait = chance.back_off(backoff, times).as_millis();
                assert!(
                    (expected * 8 / 10..=expected * 12 / 10).contains(&wait),
                    "{times}: {wait}"
                );
            }
        }
    }

    #[test]
    fn nothing_still_waits() {
        assert!(Chance::new(1).about(Duration::ZERO) > Duration::ZERO);
    }
}
