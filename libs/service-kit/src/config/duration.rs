//! Durations as people write them: `250ms`, `2s`, `5m`, `72h`, `7d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Beyond this a setting is a mistake, and adding it to a clock could overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

const UNITS_MS: [(&str, u64); 5] = [
    // Longest suffix first: `ms` ends in `s`.
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// A duration in the configuration: a whole number and a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(Duration);

/// The text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a whole number with a unit, ms, s, m, h or d, such as 250ms or 72h, and at most 3650d"
)]
pub struct HumanDurationError;

impl HumanDuration {
    /// For defaults in code.
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// The duration itself.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<HumanDuration> for Duration {
    fn from(value: HumanDuration) -> Self {
        value.0
    }
}

impl From<Duration> for HumanDuration {
    fn from(value: Duration) -> Self {
        Self(value)
    }
}

impl FromStr for HumanDuration {
    type Err = HumanDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit_ms) = UNITS_MS
            .iter()
            .find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, *ms)))
            .ok_or(HumanDurationError)?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(HumanDurationError);
        }
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit_ms))
            .map(Duration::from_millis)
            .filter(|duration| *duration <= LONGEST)
            .map(Self)
            .ok_or(HumanDurationError)
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let (unit, unit_ms) = UNITS_MS
            .iter()
            .rev()
            .find(|(_, unit_ms)| ms > 0 && ms.is_multiple_of(u128::from(*unit_ms)))
            .unwrap_or(&("ms", 1));
        write!(f, "{}{unit}", ms / u128::from(*unit_ms))
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = HumanDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // After "must be", as other expectations read.
                f.write_str(
                    "a whole number with a unit, ms, s, m, h or d, such as \"250ms\" or \"72h\"",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HumanDuration, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
