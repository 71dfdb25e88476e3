//! Mistakes on purpose, by which the fault campaign shows that it would notice them: docs/CHAOS.md lists them.
//!
//! They exist in a build with the feature `sabotage` alone, which nothing that is shipped has, and happen there only
//! if `SABOTAGE` names them. In any other build [`makes`] is a constant, and what hangs on it is not compiled.

/// Whether this mistake is to be made.
#[cfg(feature = "sabotage")]
#[must_use]
pub fn makes(mistake: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("SABOTAGE").ok());
    chosen.as_deref() == Some(mistake)
}

/// Whether this mistake is to be made: never.
#[cfg(not(feature = "sabotage"))]
#[must_use]
#[inline(always)]
pub const fn makes(_mistake: &str) -> bool {
    false
}
