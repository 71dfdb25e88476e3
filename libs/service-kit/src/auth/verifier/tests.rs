//! Tokens forged in every way we could think of.
