//! An article as callers name it: by id or by slug.

use std::borrow::Cow;

use crier_domain::ArticleId;
use crier_store::ArticleRef;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// Longer than any slug, in bytes.
const LONGEST: usize = 200;

/// `{article}` in a path, checked: nothing gets through that no article could be named.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ArticleName(ArticleRef);

/// Neither an id nor a slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither an article's id nor a slug")]
pub(crate) struct ArticleNameError;

impl ArticleName {
    /// The name as the store takes it.
    pub(crate) fn as_ref(&self) -> &ArticleRef {
        &self.0
    }
}

impl From<ArticleId> for ArticleName {
    fn from(id: ArticleId) -> Self {
        Self(id.into())
    }
}

impl TryFrom<String> for ArticleName {
    type Error = ArticleNameError;
    fn try_from(text: String) -> Result<Self, ArticleNameError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > LONGEST || !text.bytes().all(plain) {
            return Err(ArticleNameError);
        }
        Ok(Self(ArticleRef::parse(&text)))
    }
}

/// A slug that an application chose: such as it would be made here, and no id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Slug(String);

/// What no slug can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a slug is made of the letters a to z, digits and hyphens, at most {LONGEST}, and not of digits alone"
)]
pub(crate) struct SlugError;

impl TryFrom<String> for Slug {
    type Error = SlugError;
    fn try_from(text: String) -> Result<Self, SlugError> {
        let name = ArticleName::try_from(text).map_err(|ArticleNameError| SlugError)?;
        match name.0 {
            ArticleRef::Slug(slug) if !slug.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Self(slug))
            }
            ArticleRef::Slug(_) | ArticleRef::Id(_) => Err(SlugError),
        }
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl JsonSchema for Slug {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Slug".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "maxLength": LONGEST, "pattern": "^[a-z0-9-]*[a-z-][a-z0-9-]*$",
        })
    }
}

impl JsonSchema for ArticleName {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "ArticleName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "maxLength": LONGEST, "pattern": "^[a-z0-9-]+$",
            "description": "The article's slug or id.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_an_id_and_what_is_no_slug_is_nothing() {
        let name = |text: &str| ArticleName::try_from(text.to_owned());
        let id = ArticleId::try_from(12).unwrap();
        assert_eq!(name("12"), Ok(id.into()));
        assert!(matches!(
            name("gpt-5").unwrap().as_ref(),
            ArticleRef::Slug(_)
        ));
        for bad in ["", "A", "a b", "a/b", "a\0", "ä", &"a".repeat(201)] {
            assert_eq!(name(bad), Err(ArticleNameError), "{bad:?}");
        }
    }

    #[test]
    fn a_chosen_slug_is_no_id() {
        let slug = |text: &str| Slug::try_from(text.to_owned());
        assert!(slug("gpt-5").is_ok() && slug("-").is_ok() && slug("5a").is_ok());
        for bad in [
            "12",
            "012",
            "0",
            "99999999999999999999",
            "",
            "A",
            &"a".repeat(201),
        ] {
            assert_eq!(slug(bad), Err(SlugError), "{bad:?}");
        }
    }
}
