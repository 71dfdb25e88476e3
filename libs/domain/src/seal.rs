//! Fleet keys: what is handed to clients sealed, so that they can carry it but neither read nor make it.
//!
//! AES-SIV is deterministic, so the same position gives the same bytes to everyone, and a nonce can't
//! be repeated by mistake.

use aes_siv::KeyInit;
use aes_siv::siv::Aes128Siv;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// The bytes of one fleet key: AES-128-SIV takes two AES keys.
pub const KEY_BYTES: usize = 32;

/// The fleet keys: the first seals, all open, so that keys can be changed without a break.
#[derive(Clone)]
pub struct Keys(Vec<[u8; KEY_BYTES]>);

/// Why keys can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// There is none.
    #[error("no fleet key is configured; make one with `openssl rand -base64 32`")]
    None,
    /// One is not 32 bytes of base64.
    #[error("fleet key {0} is not 32 bytes in base64; make one with `openssl rand -base64 32`")]
    Malformed(usize),
}

/// A sealed text that none of the keys opens, or that is no sealed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not sealed by this fleet")]
pub struct OpenError;

impl Keys {
    /// Reads keys from base64.
    ///
    /// # Errors
    /// When there is none, or one is not 32 bytes.
    pub fn from_base64<T: AsRef<str>>(keys: &[T]) -> Result<Self, KeysError> {
        if keys.is_empty() {
            return Err(KeysError::None);
        }
        let decode = |(at, text): (usize, &T)| {
            let bytes = STANDARD.decode(text.as_ref().trim()).ok();
            bytes
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or(KeysError::Malformed(at + 1))
        };
        keys.iter()
            .enumerate()
            .map(decode)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// A new key in base64, for a configuration to hold.
    #[must_use]
    pub fn random_base64() -> String {
        STANDARD.encode(rand::random::<[u8; KEY_BYTES]>())
    }

    /// Seals `plain` for one `purpose`; what is sealed for another doesn't open.
    pub(crate) fn seal(&self, purpose: &[u8], plain: &[u8]) -> String {
        // Encryption fails only for more associated data than SIV takes, 126 parts; this is one.
        let sealed = self
            .0
            .first()
            .and_then(|key| Aes128Siv::new(key.into()).encrypt([purpose], plain).ok());
        URL_SAFE_NO_PAD.encode(sealed.unwrap_or_default())
    }

    /// Opens what [`Keys::seal`] made for the same purpose, of exactly `N` bytes.
    pub(crate) fn open<const N: usize>(
        &self,
        purpose: &[u8],
        sealed: &str,
    ) -> Result<[u8; N], OpenError> {
        // 16 bytes of tag; the length is checked before any work is done on a stranger's text.
        if sealed.len() != (N + 16).div_ceil(3) * 4 - (3 - (N + 16) % 3) % 3 {
            return Err(OpenError);
        }
        let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| OpenError)?;
        self.0
            .iter()
            .find_map(|key| Aes128Siv::new(key.into()).decrypt([purpose], &sealed).ok())
            .and_then(|plain| plain.try_into().ok())
            .ok_or(OpenError)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} hidden)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_change_without_a_break() {
        let (old, new) = (Keys::random_base64(), Keys::random_base64());
        let before = Keys::from_base64(&[&old]).unwrap();
        let after = Keys::from_base64(&[&new, &old]).unwrap();
        let sealed = before.seal(b"p", b"four");
        assert_eq!(after.open::<4>(b"p", &sealed), Ok(*b"four"));
        assert_eq!(
            before.open::<4>(b"p", &after.seal(b"p", b"four")),
            Err(OpenError)
        );
        assert_eq!(
            after.open::<4>(b"q", &sealed),
            Err(OpenError),
            "another purpose"
        );
    }

    #[test]
    fn every_length_opens() {
        let keys = Keys::from_base64(&[Keys::random_base64()]).unwrap();
        assert_eq!(keys.open::<1>(b"p", &keys.seal(b"p", &[1; 1])), Ok([1; 1]));
        assert_eq!(keys.open::<2>(b"p", &keys.seal(b"p", &[1; 2])), Ok([1; 2]));
        assert_eq!(keys.open::<3>(b"p", &keys.seal(b"p", &[1; 3])), Ok([1; 3]));
        assert_eq!(
            keys.open::<32>(b"p", &keys.seal(b"p", &[1; 32])),
            Ok([1; 32])
        );
    }

    #[test]
    fn keys_that_are_none_are_refused_and_never_shown() {
        assert_eq!(Keys::from_base64::<&str>(&[]).unwrap_err(), KeysError::None);
        let short = STANDARD.encode([0; 31]);
        let good = Keys::random_base64();
        assert_eq!(
            Keys::from_base64(&[&good, &short]).unwrap_err(),
            KeysError::Malformed(2)
        );
        assert_eq!(
            format!("{:?}", Keys::from_base64(&[good]).unwrap()),
            "Keys(1 hidden)"
        );
    }
}
