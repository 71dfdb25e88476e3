//! Articles and their slugs.

use crier_domain::{ArticleId, UserId};
use sea_orm::Value;

use crate::error::{DatabaseError, StoreError};
use crate::model::Article;
use crate::sql::{Row, values};
use crate::store::Reader;
use crate::tx::Tx;

const LONGEST_SLUG: usize = 200;
/// Room that a slug leaves for `-` and what makes it unique.
const SUFFIX: usize = 12;

/// How a path names an article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArticleRef {
    /// By its id.
    Id(ArticleId),
    /// By its slug.
    Slug(String),
}

impl ArticleRef {
    /// What a path segment names: an id if it is one, since no slug is all digits.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Slug(text.to_owned()), Self::Id)
    }
}

impl From<ArticleId> for ArticleRef {
    fn from(id: ArticleId) -> Self {
        Self::Id(id)
    }
}

impl Reader {
    /// The article, if this user may read it: its submitter, members of its communities, and everyone once it is
    /// published in a public one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_article(
        &self,
        user: UserId,
        article: &ArticleRef,
    ) -> Result<Option<Article>, StoreError> {
        let (column, value) = named(article);
        let sql = format!(
            "SELECT a.id, a.title, a.slug, a.abstract, a.submitter_id FROM articles a
            WHERE a.{column} = $2 AND (a.submitter_id = $1 OR EXISTS (
                SELECT 1 FROM community_articles ca JOIN communities c ON c.id = ca.community_id
                WHERE ca.article_id = a.id AND (
                    (c.kind = 'public' AND ca.status = 'published')
                    OR EXISTS (SELECT 1 FROM memberships m WHERE m.community_id = c.id AND m.user_id = $1)
                )
            ))"
        );
        let row = self.db.first(&sql, vec![user.get().into(), value]).await?;
        row.as_ref().map(read).transpose()
    }
}

/// The column by which it is named, and the value.
pub(crate) fn named(article: &ArticleRef) -> (&'static str, Value) {
    match article {
        ArticleRef::Id(id) => ("id", Value::from(id.get())),
        ArticleRef::Slug(slug) => ("slug", Value::from(slug.as_str())),
    }
}

impl Tx {
    /// Makes an article with a slug from its title, and something random behind it where that is taken: counting up
    /// would cost a statement for each article of that title.
    ///
    /// # Errors
    /// [`StoreError::Missing`] for an unknown submitter.
    pub async fn create_article(
        &self,
        submitter: UserId,
        title: &str,
        summary: &str,
    ) -> Result<Article, StoreError> {
        let plain = slug(title);
        if let Some(article) = self.try_article(submitter, title, &plain, summary).await? {
            return Ok(article);
        }
        let slug = format!("{plain}-{:08x}", rand::random::<u32>());
        let taken = || {
            let text = format!("slug {slug} is taken");
            StoreError::Exists(DatabaseError(sea_orm::DbErr::Custom(text)))
        };
        let article = self.try_article(submitter, title, &slug, summary).await?;
        article.ok_or_else(taken)
    }

    /// `None`: the slug is taken.
    async fn try_article(
        &self,
        submitter: UserId,
        title: &str,
        slug: &str,
        summary: &str,
    ) -> Result<Option<Article>, StoreError> {
        let sql =
            "INSERT INTO articles (title, slug, abstract, submitter_id) VALUES ($1, $2, $3, $4)
            ON CONFLICT (slug) DO NOTHING RETURNING id, title, slug, abstract, submitter_id";
        let values = values![title, slug, summary, submitter.get()];
        let row = self.db.first(sql, values).await?;
        row.as_ref().map(read).transpose()
    }
}

/// Lower-case ASCII letters and digits of the title, a hyphen for each run of anything else. Never empty, never all
/// digits (an id would be meant), and short enough for a suffix.
pub(crate) fn slug(title: &str) -> String {
    let mut slug = String::new();
    for c in title.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= LONGEST_SLUG - SUFFIX {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "article".to_owned()
    } else if slug.bytes().all(|b| b.is_ascii_digit()) {
        format!("article-{}", slug.get(..20).unwrap_or(slug))
    } else {
        slug.to_owned()
    }
}

pub(crate) fn read(row: &Row) -> Result<Article, StoreError> {
    Ok(Article {
        id: row.id("id")?,
        title: row.text("title")?,
        slug: row.text("slug")?,
        summary: row.text("abstract")?,
        submitter_id: row.id("submitter_id")?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slug_is_made_of_the_title() {
        for (title, expected) in [
            ("GPT-5 Architecture", "gpt-5-architecture"),
            ("  Über — die   Sprache! ", "ber-die-sprache"),
            ("论文", "article"),
            ("", "article"),
            ("2024", "article-2024"),
            ("--x--", "x"),
        ] {
            assert_eq!(slug(title), expected, "{title:?}");
        }
    }

    proptest! {
        #[test]
        fn a_slug_is_plain_and_short_and_never_an_id(title in "\\PC{0,300}") {
            let slug = slug(&title);
            prop_assert!((1..=LONGEST_SLUG - SUFFIX).contains(&slug.len()));
            prop_assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(!slug.starts_with('-') && !slug.ends_with('-') && !slug.contains("--"));
            prop_assert!(matches!(ArticleRef::parse(&slug), ArticleRef::Slug(_)));
        }
    }
}
