//! One of a set of words in a body.

use serde::de::value::StringDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IntoDeserializer};

/// Reads a word as a text first. serde_json calls anything else in its place broken JSON, though it is a sound value of
/// the wrong type like any other: 422 and not 400.
pub(super) fn word<'de, D, W>(deserializer: D) -> Result<W, D::Error>
where
    D: Deserializer<'de>,
    W: DeserializeOwned,
{
    let text = String::deserialize(deserializer)?;
    let text: StringDeserializer<D::Error> = text.into_deserializer();
    W::deserialize(text)
}
