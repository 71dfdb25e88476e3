//! The opaque SSE `id`: a position in the log.

use crate::ids::{Epoch, Seq};
use crate::seal::{Keys, OpenError};

const PURPOSE: &[u8] = b"crier cursor 1";

/// Everything up to and with `seq` in the log's life `epoch` has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The life of the log.
    pub epoch: Epoch,
    /// The position; [`Seq::ZERO`] is before everything, and resuming from it gives a `reset`.
    pub seq: Seq,
}

impl Cursor {
    /// The cursor as clients carry it: the same bytes for everyone, readable by none.
    #[must_use]
    pub fn seal(self, keys: &Keys) -> String {
        let mut plain = [0; 16];
        let (epoch, seq) = plain.split_at_mut(8);
        epoch.copy_from_slice(&self.epoch.to_bits().to_be_bytes());
        seq.copy_from_slice(&self.seq.0.to_be_bytes());
        keys.seal(PURPOSE, &plain)
    }

    /// Reads what a client brought back.
    ///
    /// # Errors
    /// When it is damaged, forged, or sealed by another fleet.
    pub fn open(text: &str, keys: &Keys) -> Result<Self, OpenError> {
        let plain = u128::from_be_bytes(keys.open::<16>(PURPOSE, text)?);
        // The upper and the lower half: both casts drop only what the other keeps.
        #[allow(clippy::cast_possible_truncation)]
        let (epoch, seq) = ((plain >> 64) as u64, plain as u64);
        Ok(Self {
            epoch: Epoch::from_bits(epoch),
            seq: Seq(seq),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_sealed_is_the_cursor_opened(epoch: u64, seq: u64, at in 0usize..43, to in "[A-Za-z0-9_-]") {
            let keys = Keys::from_base64(&[Keys::random_base64()]).unwrap();
            let cursor = Cursor { epoch: Epoch::from_bits(epoch), seq: Seq(seq) };
            let sealed = cursor.seal(&keys);
            prop_assert_eq!(sealed.len(), 43);
            prop_assert_eq!(Cursor::open(&sealed, &keys), Ok(cursor));
            let mut damaged = sealed.clone();
            damaged.replace_range(at..=at, &to);
            prop_assert!(damaged == sealed || Cursor::open(&damaged, &keys).is_err());
        }

        #[test]
        fn any_text_is_refused(text in "\\PC{0,80}") {
            let keys = Keys::from_base64(&[Keys::random_base64()]).unwrap();
            prop_assert_eq!(Cursor::open(&text, &keys), Err(OpenError));
        }
    }
}
