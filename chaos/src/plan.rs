//! What a seed decides: the system, and what is broken when. The same seed gives the same plan; how the processes of
//! a run interleave is not in its hand.

use std::time::Duration;

use crier_testkit::{apart_refused, tools};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// Faults of a seed.
const FAULTS: usize = 7;

/// The first fault comes after this, when streams are open and events flow.
const BEFORE_FAULTS: Duration = Duration::from_secs(2);

/// What can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A gateway dies and comes back.
    GatewayKilled,
    /// All gateways are stopped in order and started again, one after the other.
    GatewaysRolled,
    /// A gateway stands still while one user's permissions change twice.
    GatewayPaused,
    /// The API service whose relay leads dies and comes back.
    LeaderKilled,
    /// It stands still for longer than its lease.
    LeaderPaused,
    /// All API services are stopped in order and started again, one after the other.
    ApisRolled,
    /// NATS dies and comes back.
    NatsKilled,
    /// NATS stands still.
    NatsPaused,
    /// One NATS server of three doesn't reach the others, though clients reach it.
    NatsCutOff,
    /// The database dies and comes back.
    DatabaseKilled,
    /// NATS comes back with an empty disk.
    LogWiped,
    /// NATS comes back with its disk of a moment ago.
    LogRestored,
    /// Everything in the stream is purged.
    LogPurged,
    /// One process' connections to NATS break, and new ones are refused for a while.
    ConnectionsCut,
    /// One process' connections to NATS stay open and carry nothing.
    ConnectionsFrozen,
    /// One process' connections to NATS carry everything late.
    ConnectionsSlow,
    /// A gateway gets part of the live copies only.
    LiveCopiesLost,
    /// Clients stop reading while much is published.
    ClientsStalled,
    /// The clock of one process steps, and later back.
    ClockStepped,
}

impl Kind {
    pub(crate) const ALL: [Self; 19] = [
        Self::GatewayKilled,
        Self::NatsKilled,
        Self::LiveCopiesLost,
        Self::LeaderPaused,
        Self::LogWiped,
        Self::GatewayPaused,
        Self::NatsCutOff,
        Self::DatabaseKilled,
        Self::ConnectionsCut,
        Self::GatewaysRolled,
        Self::LeaderKilled,
        Self::NatsPaused,
        Self::ConnectionsFrozen,
        Self::ClientsStalled,
        Self::LogRestored,
        Self::ClockStepped,
        Self::ApisRolled,
        Self::ConnectionsSlow,
        Self::LogPurged,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::GatewayKilled => "gateway killed",
            Self::GatewaysRolled => "gateways rolled",
            Self::GatewayPaused => "gateway paused",
            Self::LeaderKilled => "leader killed",
            Self::LeaderPaused => "leader paused",
            Self::ApisRolled => "APIs rolled",
            Self::NatsKilled => "NATS killed",
            Self::NatsPaused => "NATS paused",
            Self::NatsCutOff => "NATS cut off",
            Self::DatabaseKilled => "database killed",
            Self::LogWiped => "log wiped",
            Self::LogRestored => "log restored",
            Self::LogPurged => "log purged",
            Self::ConnectionsCut => "connections cut",
            Self::ConnectionsFrozen => "connections frozen",
            Self::ConnectionsSlow => "connections slow",
            Self::LiveCopiesLost => "live copies lost",
            Self::ClientsStalled => "clients stalled",
            Self::ClockStepped => "clock stepped",
        }
    }

    /// Whether the log itself loses something, so that clients may be told `reset`.
    pub(crate) const fn loses_log(self) -> bool {
        matches!(self, Self::LogWiped | Self::LogRestored | Self::LogPurged)
    }

    /// Those that this machine lets us do, and a sentence for each that it doesn't.
    pub(crate) fn possible() -> (Vec<Self>, Vec<String>) {
        let mut left_out = Vec::new();
        let mut kinds = Self::ALL.to_vec();
        let nats_cut_off = apart_refused().map(str::to_owned);
        let clock_stepped = tools::faketime()
            .is_none()
            .then(|| "libfaketime is missing: run `make tools`".to_owned());
        for (kind, why) in [
            (Self::NatsCutOff, nats_cut_off),
            (Self::ClockStepped, clock_stepped),
        ] {
            if let Some(why) = why {
                kinds.retain(|other| *other != kind);
                left_out.push(format!("left out: {} ({why})", kind.name()));
            }
        }
        (kinds, left_out)
    }

    /// For how long it may last, in milliseconds.
    const fn length(self) -> std::ops::Range<u64> {
        match self {
            Self::LeaderPaused => 2_500..7_000,
            Self::NatsPaused => 500..9_000,
            Self::GatewayPaused | Self::LiveCopiesLost => 1_500..6_000,
            Self::ClientsStalled | Self::ConnectionsSlow => 2_000..6_000,
            Self::ConnectionsFrozen => 500..12_000,
            Self::NatsCutOff => 6_000..12_000,
            Self::ClockStepped => 3_000..9_000,
            _ => 0..3_000,
        }
    }
}

/// One fault to come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    /// After the workload's beginning.
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    pub(crate) length: Duration,
    /// Which of several it hits, taken modulo their number.
    pub(crate) target: usize,
}

/// Everything that a seed decides beforehand.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) postgres: bool,
    /// Whether NATS is three servers.
    pub(crate) cluster: bool,
    pub(crate) apis: usize,
    pub(crate) gateways: usize,
    pub(crate) length: Duration,
    pub(crate) faults: Vec<Planned>,
}

impl Plan {
    /// These kinds take turns, so that a few seeds in a row have them all; everything else is drawn.
    pub(crate) fn of(seed: u64, length: Duration, all: &[Kind]) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let first = usize::try_from(seed % all.len().max(1) as u64).unwrap_or(0) * FAULTS;
        let turns = all.iter().cycle().skip(first % all.len().max(1));
        let mut kinds: Vec<Kind> = turns.take(FAULTS).copied().collect();
        kinds.shuffle(&mut rng);
        let slot = length.saturating_sub(BEFORE_FAULTS) / u32::try_from(FAULTS).unwrap_or(1);
        let faults = kinds.iter().zip(0_u32..).map(|(kind, number)| Planned {
            at: BEFORE_FAULTS + slot * number + slot.mul_f64(rng.random_range(0.0..0.8)),
            kind: *kind,
            length: Duration::from_millis(rng.random_range(kind.length())),
            target: rng.random_range(0..64),
        });
        let faults = faults.collect();
        let postgres = kinds.contains(&Kind::DatabaseKilled) || rng.random_bool(0.6);
        Self {
            seed,
            postgres,
            cluster: rng.random_bool(0.2) || kinds.contains(&Kind::NatsCutOff),
            apis: if postgres { 2 } else { 1 },
            gateways: rng.random_range(2..=3),
            length,
            faults,
        }
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.faults.iter().any(|fault| fault.kind == kind)
    }

    /// A source of chance of this seed's own, for one of its actors.
    pub(crate) fn chance(&self, actor: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(actor))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_plan() {
        let plan = |seed| format!("{:?}", Plan::of(seed, Duration::from_secs(30), &Kind::ALL));
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn three_seeds_in_a_row_have_every_kind() {
        for first in 0..100 {
            let plans =
                (first..first + 3).map(|seed| Plan::of(seed, Duration::from_secs(30), &Kind::ALL));
            let kinds: BTreeSet<Kind> = plans
                .flat_map(|plan| plan.faults)
                .map(|fault| fault.kind)
                .collect();
            assert_eq!(kinds.len(), Kind::ALL.len(), "from seed {first}");
        }
    }
}
