//! Texts that people write, checked at the edge: the inner code takes only these types.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A text that was written and fits: not blank, no NUL (PostgreSQL can't hold one), at most `MAX`
/// characters. Otherwise it is kept as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Text<const MAX: usize>(String);

/// A name or title: of a community, an article.
pub(crate) type Name = Text<200>;
/// What a discussion is about.
pub(crate) type Topic = Text<500>;
/// What a discussion or comment says.
pub(crate) type Content = Text<50_000>;
/// What an article is about.
pub(crate) type Abstract = Text<10_000>;

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TextError {
    /// Nothing but white space.
    #[error("must not be empty")]
    Blank,
    /// It holds the character U+0000.
    #[error("must not hold the character U+0000")]
    Nul,
    /// More characters than allowed.
    #[error("must have at most {0} characters")]
    TooLong(usize),
}

impl<const MAX: usize> Text<MAX> {
    /// The text as it was written.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = TextError;
    fn try_from(text: String) -> Result<Self, TextError> {
        if text.trim().is_empty() {
            return Err(TextError::Blank);
        }
        if text.contains('\0') {
            return Err(TextError::Nul);
        }
        // Bytes first: counting the characters of a text that can't fit is work for nothing.
        if text.len() > MAX.saturating_mul(4) || text.chars().count() > MAX {
            return Err(TextError::TooLong(MAX));
        }
        Ok(Self(text))
    }
}

impl<const MAX: usize> JsonSchema for Text<MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Text{MAX}").into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "minLength": 1, "maxLength": MAX,
            // Something that is not white space, and nowhere U+0000.
            "pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$",
        })
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Text<5>, TextError> {
        Text::try_from(text.to_owned())
    }

    #[test]
    fn a_text_is_counted_in_characters() {
        assert!(read("äöüßé").is_ok());
        assert!(read("🦀🦀🦀🦀🦀").is_ok());
        assert_eq!(read("äöüßéx"), Err(TextError::TooLong(5)));
        assert_eq!(read(&"x".repeat(1_000_000)), Err(TextError::TooLong(5)));
    }

    #[test]
    fn blank_and_nul_are_refused() {
        for blank in ["", " ", "\n\t \u{a0}"] {
            assert_eq!(read(blank), Err(TextError::Blank), "{blank:?}");
        }
        assert_eq!(read("a\0b"), Err(TextError::Nul));
    }
}
