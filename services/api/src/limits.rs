//! How often one caller may call. Kept in this process alone: behind a balancer, each API service allows as much.
//!
//! A limit is a rate and a burst (GCRA, as `governor` has it): after a quiet time a caller may make `burst` calls at
//! once, and go on with `per_second`. A caller's state is a few bytes, and is forgotten once it says nothing any more.

use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::config::{LimitsConfig, Rate};

/// The limits of all callers.
pub(crate) struct Limits<C: Clock = MonotonicClock> {
    user_calls: Limit<i64, C>,
    user_changes: Limit<i64, C>,
    service_calls: Limit<u64, C>,
    /// Backends are told apart by a hash, so that a long name costs no more than a short one.
    names: RandomState,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    limit: &'static str,
}

impl<C: Clock + Clone> Limits<C> {
    /// Limits by this clock; `registry` shows how many calls they refuse.
    pub(crate) fn register(config: &LimitsConfig, clock: &C, registry: &mut Registry) -> Self {
        let refused = Family::<Refused, Counter>::default();
        registry.register(
            "rate_limit_refusals",
            "Calls answered 429, by the limit that they met",
            refused.clone(),
        );
        let counter = |limit| refused.get_or_create_owned(&Refused { limit });
        Self {
            user_calls: Limit::new(config.user_calls(), clock, counter("user_calls")),
            user_changes: Limit::new(config.user_changes(), clock, counter("user_changes")),
            service_calls: Limit::new(config.service_calls(), clock, counter("service_calls")),
            names: RandomState::new(),
        }
    }

    /// Counts a call of this person.
    ///
    /// # Errors
    /// It is one too many; the next may be made after this time.
    pub(crate) fn user(&self, id: i64, changes: bool) -> Result<(), Duration> {
        self.user_calls.count(&id)?;
        if changes {
            self.user_changes.count(&id)?;
        }
        Ok(())
    }

    /// Counts a call of the backend that is called so.
    ///
    /// # Errors
    /// As [`Limits::user`].
    pub(crate) fn service(&self, name: &str) -> Result<(), Duration> {
        self.service_calls.count(&self.names.hash_one(name))
    }

    /// Forgets the callers who are as if they had never called.
    pub(crate) fn tidy(&self) {
        self.user_calls.tidy();
        self.user_changes.tidy();
        self.service_calls.tidy();
    }
}

impl<C: Clock> std::fmt::Debug for Limits<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

type Limiter<K, C> = RateLimiter<K, DashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// One limit, for each key of its own.
struct Limit<K: Eq + Hash + Clone, C: Clock> {
    /// None: no limit.
    limiter: Option<Limiter<K, C>>,
    refused: Counter,
}

impl<K: Eq + Hash + Clone, C: Clock + Clone> Limit<K, C> {
    fn new(rate: Rate, clock: &C, refused: Counter) -> Self {
        let [per_second, burst] = [rate.per_second, rate.burst].map(NonZeroU32::new);
        let quota = per_second
            .zip(burst)
            .map(|(per_second, burst)| Quota::per_second(per_second).allow_burst(burst));
        Self {
            limiter: quota
                .map(|quota| RateLimiter::new(quota, DashMapStateStore::default(), clock.clone())),
            refused,
        }
    }

    fn count(&self, key: &K) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        limiter.check_key(key).map_err(|refusal| {
            self.refused.inc();
            refusal.wait_time_from(limiter.clock().now())
        })
    }

    fn tidy(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A person: 5 calls a second, 10 at once; 1 change a second, 2 at once. A backend: 100 at once.
    fn limits(clock: &FakeRelativeClock) -> (Limits<FakeRelativeClock>, Registry) {
        let config = LimitsConfig {
            user_calls_per_second: 5,
            user_calls_burst: 10,
            user_changes_per_second: 1,
            user_changes_burst: 2,
            service_calls_per_second: 10,
            service_calls_burst: 100,
            communities_per_user: 0,
        };
        let mut registry = Registry::default();
        let limits = Limits::register(&config, clock, &mut registry);
        (limits, registry)
    }

    fn allowed(times: usize, call: impl Fn() -> Result<(), Duration>) -> usize {
        (0..times).filter(|_| call().is_ok()).count()
    }

    #[test]
    fn a_person_has_a_burst_and_then_a_rate() {
        let clock = FakeRelativeClock::default();
        let (limits, _) = limits(&clock);
        assert_eq!(allowed(50, || limits.user(1, false)), 10);
        assert_eq!(limits.user(1, false), Err(SECOND / 5));
        assert_eq!(limits.user(2, false), Ok(()), "others are none the worse");
        clock.advance(SECOND);
        assert_eq!(allowed(50, || limits.user(1, false)), 5);
        clock.advance(60 * SECOND);
        assert_eq!(allowed(50, || limits.user(1, false)), 10);
    }

    #[test]
    fn changes_have_a_tighter_limit_that_reading_does_not_meet() {
        let clock = FakeRelativeClock::default();
        let (limits, _) = limits(&clock);
        assert_eq!(allowed(3, || limits.user(1, true)), 2);
        assert_eq!(limits.user(1, true), Err(SECOND));
        assert_eq!(limits.user(1, false), Ok(()));
        clock.advance(SECOND);
        assert_eq!(limits.user(1, true), Ok(()));
    }

    #[test]
    fn each_backend_has_its_own() {
        let clock = FakeRelativeClock::default();
        let (limits, _) = limits(&clock);
        assert_eq!(allowed(200, || limits.service("billing")), 100);
        assert_eq!(limits.service("billing"), Err(SECOND / 10));
        assert_eq!(limits.service("wiki"), Ok(()));
        assert_eq!(limits.user(1, true), Ok(()), "a person is no backend");
    }

    #[test]
    fn zero_is_no_limit() {
        let clock = FakeRelativeClock::default();
        let config = LimitsConfig::none();
        let limits = Limits::register(&config, &clock, &mut Registry::default());
        assert_eq!(allowed(1_000, || limits.user(1, true)), 1_000);
        assert_eq!(allowed(1_000, || limits.service("billing")), 1_000);
    }

    #[test]
    fn callers_are_forgotten_when_their_quiet_time_is_over_and_not_before() {
        let clock = FakeRelativeClock::default();
        let (limits, _) = limits(&clock);
        for id in 1..=10_000 {
            limits.user(id, false).unwrap();
        }
        let known = |limits: &Limits<FakeRelativeClock>| {
            limits.user_calls.limiter.as_ref().map(RateLimiter::len)
        };
        assert_eq!(allowed(50, || limits.user(1, false)), 9);
        clock.advance(SECOND);
        limits.tidy();
        assert_eq!(known(&limits), Some(1), "the one that is still limited");
        assert_eq!(allowed(50, || limits.user(1, false)), 5);
        clock.advance(60 * SECOND);
        limits.tidy();
        assert_eq!(known(&limits), Some(0));
    }

    #[test]
    fn refusals_are_counted_by_limit() {
        let clock = FakeRelativeClock::default();
        let (limits, registry) = limits(&clock);
        assert_eq!(allowed(5, || limits.user(1, true)), 2);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"rate_limit_refusals_total{limit="user_changes"} 3"#,
            r#"rate_limit_refusals_total{limit="user_calls"} 0"#,
            r#"rate_limit_refusals_total{limit="service_calls"} 0"#,
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
    }
}
