//! A ticket: 60 seconds in which a stream may be opened without a header or cookie.

use crate::ids::UserId;
use crate::seal::{Keys, OpenError};

const PURPOSE: &[u8] = b"crier ticket 1";

/// How long a ticket may be used, in seconds.
pub const LIFETIME_SECONDS: i64 = 60;

/// The right to open a stream, derived from a token. All times are Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Whose stream it opens.
    pub user: UserId,
    /// The token's `iat`: held against the user's `not_before`.
    pub issued_at: i64,
    /// The token's `exp`: the stream ends then.
    pub token_expires_at: i64,
    /// From this moment on it opens nothing.
    pub expires_at: i64,
}

impl Ticket {
    /// The ticket as a client carries it.
    #[must_use]
    pub fn seal(&self, keys: &Keys) -> String {
        let mut plain = [0; 32];
        let fields = [
            self.user.get(),
            self.issued_at,
            self.token_expires_at,
            self.expires_at,
        ];
        for (field, bytes) in fields.iter().zip(plain.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&field.to_be_bytes());
        }
        keys.seal(PURPOSE, &plain)
    }

    /// Reads what a client brought back. Whether it is still valid is the caller's to check.
    ///
    /// # Errors
    /// When it is damaged, forged, or sealed by another fleet.
    pub fn open(text: &str, keys: &Keys) -> Result<Self, OpenError> {
        let plain = keys.open::<32>(PURPOSE, text)?;
        let mut fields = plain
            .chunks_exact(8)
            .filter_map(|bytes| bytes.try_into().ok())
            .map(i64::from_be_bytes);
        let mut next = || fields.next().ok_or(OpenError);
        Ok(Self {
            user: UserId::try_from(next()?).map_err(|_| OpenError)?,
            issued_at: next()?,
            token_expires_at: next()?,
            expires_at: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cursor::Cursor;

    proptest! {
        #[test]
        fn a_ticket_sealed_is_the_ticket_opened(user in 1i64.., iat: i64, exp: i64, until: i64) {
            let keys = Keys::from_base64(&[Keys::random_base64()]).unwrap();
            let user = UserId::try_from(user).unwrap();
            let ticket = Ticket { user, issued_at: iat, token_expires_at: exp, expires_at: until };
            let sealed = ticket.seal(&keys);
            prop_assert_eq!(Ticket::open(&sealed, &keys), Ok(ticket));
            prop_assert!(Cursor::open(&sealed, &keys).is_err());
        }

        #[test]
        fn any_text_is_refused(text in "\\PC{0,80}") {
            let keys = Keys::from_base64(&[Keys::random_base64()]).unwrap();
            prop_assert_eq!(Ticket::open(&text, &keys), Err(OpenError));
        }
    }
}
