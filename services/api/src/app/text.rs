//! Texts that people write, checked at the edge: the inner code takes only these types.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// What leaves no mark on a screen though it is no white space: controls, and what Unicode calls
/// `Default_Ignorable_Code_Point`, the annotation marks and the blank of Braille. A name of nothing else could be seen
/// by nobody.
const INVISIBLE: [(char, char); 20] = [
    ('\0', '\u{1f}'),
    ('\u{7f}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether the letter can be seen.
pub(super) fn is_visible(letter: char) -> bool {
    let invisible = |(first, last): &(char, char)| (*first..=*last).contains(&letter);
    !letter.is_whitespace() && !INVISIBLE.iter().any(invisible)
}

/// The same as a pattern of JSON Schema, which has no way to name what is beyond 16 bits that all its readers know.
fn visible() -> String {
    let ranges = INVISIBLE.iter().filter(|(_, last)| *last <= '\u{ffff}');
    let ranges = ranges.map(|(first, last)| match (*first as u32, *last as u32) {
        (only, last) if only == last => format!("\\u{only:04x}"),
        (first, last) => format!("\\u{first:04x}-\\u{last:04x}"),
    });
    format!("[^\\s{}]", ranges.collect::<String>())
}

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
    /// Nothing that can be seen.
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
        if !text.chars().any(is_visible) {
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

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.0
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
            // Something that can be seen, and nowhere U+0000.
            "pattern": format!("^[^\\u0000]*{}[^\\u0000]*$", visible()),
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
    fn what_can_be_seen_is_kept_as_it_was_written() {
        for text in [
            "שלום",
            "\u{202b}שר\u{202c}",
            "\u{200d}a",
            "❤\u{fe0f}",
            "e\u{301}",
            "\u{301}",
        ] {
            assert_eq!(read(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn blank_and_nul_are_refused() {
        for blank in [
            "",
            " ",
            "\n\t \u{a0}",
            "\u{200b}",
            "\u{200f}\u{202e}",
            "\u{feff} \u{ad}",
            "\u{3164}",
            "\u{e0041}",
            "\u{7}",
        ] {
            assert_eq!(read(blank), Err(TextError::Blank), "{blank:?}");
        }
        assert_eq!(read("a\0b"), Err(TextError::Nul));
        assert_eq!(read("a\0"), Err(TextError::Nul));
    }
}
