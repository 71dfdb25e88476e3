//! One of a set of words in a body.

use serde::de::value::StringDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IntoDeserializer};

/// Reads a word as a text first. serde_json calls anything else in its place broken JSON, though it is a sound value of
/// the wrong type like any other: 422 and not 400.
///
/// [`given_word`] is the same for a field that may be left out.
pub(super) fn word<'de, D, W>(deserializer: D) -> Result<W, D::Error>
where
    D: Deserializer<'de>,
    W: DeserializeOwned,
{
    let text = String::deserialize(deserializer)?;
    let text: StringDeserializer<D::Error> = text.into_deserializer();
    W::deserialize(text)
}

/// As [`word`], for a field that may be left out: `#[serde(default)]` beside it.
pub(super) fn given_word<'de, D, W>(deserializer: D) -> Result<Option<W>, D::Error>
where
    D: Deserializer<'de>,
    W: DeserializeOwned,
{
    word(deserializer).map(Some)
}
