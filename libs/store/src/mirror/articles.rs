//! Articles, and whose slug is whose.

use crier_domain::{ArticleId, UserId};
use serde_json::{Value, json};

use super::sequences::{Table, move_past};
use super::{ArticleLine, By, Effect, Outcome, Refusal, Work, distinct, users};
use crate::articles::slug;
use crate::error::StoreError;
use crate::model::Article;
use crate::sql::{id_list, row_list, values};
use crate::tx::Tx;

pub(super) async fn step(
    work: &mut Work<'_>,
    lines: &[(usize, &ArticleLine)],
) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    let ids: Vec<ArticleId> = lines.iter().map(|(_, line)| line.id).collect();
    let before = known(work.tx, &ids).await?;
    let submitters = distinct(lines.iter().map(|(_, line)| line.submitter));
    let submitters = users::known(work.tx, &submitters).await?;
    let mut slugs = Slugs::read(work.tx, lines, &before).await?;
    let (mut new, mut changed) = (Vec::new(), Vec::new());
    for (place, line) in lines {
        if !submitters.contains_key(&line.submitter) {
            work.set(*place, Outcome::Err(Refusal::NoUser));
            continue;
        }
        let before = before.get(&line.id);
        let Some(slug) = slugs.settle(line, before) else {
            work.set(*place, Outcome::Err(Refusal::SlugTaken));
            continue;
        };
        let article = Article {
            id: line.id,
            title: line.title.clone(),
            slug,
            summary: line.summary.clone().unwrap_or_else(|| {
                before.map_or_else(String::new, |before| before.summary.clone())
            }),
            submitter_id: line.submitter,
        };
        match before {
            None => {
                new.push(article);
                work.set(*place, Outcome::Ok(Effect::Made));
            }
            Some(before) if *before != article => {
                changed.push((before.slug != article.slug, article));
                work.set(*place, Outcome::Ok(Effect::Changed));
            }
            Some(_) => {}
        }
    }
    update(work.tx, &changed).await?;
    insert(work.tx, &new).await
}

/// Those of the articles that there are.
pub(super) async fn known(
    tx: &Tx,
    ids: &[ArticleId],
) -> Result<By<ArticleId, Article>, StoreError> {
    let sql = "SELECT id, title, slug, abstract, submitter_id FROM articles
        WHERE id IN (SELECT i.id FROM {ids:1} i)";
    let rows = tx.db.all(sql, values![id_list(ids)]).await?;
    rows.iter()
        .map(|row| {
            let article = crate::articles::read(row)?;
            Ok((article.id, article))
        })
        .collect()
}

/// Whose slug is whose, while the lines are gone through one after the other.
struct Slugs(By<String, ArticleId>);

impl Slugs {
    /// The slugs that these lines may want or give up.
    async fn read(
        tx: &Tx,
        lines: &[(usize, &ArticleLine)],
        before: &By<ArticleId, Article>,
    ) -> Result<Self, StoreError> {
        let mut wanted: Vec<Value> = Vec::new();
        for (_, line) in lines {
            match &line.slug {
                Some(slug) => wanted.push(json!([slug])),
                None if before.contains_key(&line.id) => {}
                None => wanted.extend(made(line).map(|slug| json!([slug]))),
            }
        }
        let mut slugs: By<String, ArticleId> = before
            .values()
            .map(|article| (article.slug.clone(), article.id))
            .collect();
        let sql =
            "SELECT slug, id FROM articles WHERE slug IN (SELECT r.slug FROM {rows:1 slug:text} r)";
        for row in tx.db.all(sql, values![row_list(wanted)]).await? {
            slugs.insert(row.text("slug")?, row.id("id")?);
        }
        Ok(Self(slugs))
    }

    /// The slug that the article has from this line on; `None`: it is another's.
    fn settle(&mut self, line: &ArticleLine, before: Option<&Article>) -> Option<String> {
        let slug = match (&line.slug, before) {
            (Some(slug), _) => slug.clone(),
            (None, Some(before)) => return Some(before.slug.clone()),
            (None, None) => {
                let free = made(line).find(|slug| !self.0.contains_key(slug));
                free.unwrap_or_else(|| {
                    format!("{}-{:016x}", slug(&line.title), rand::random::<u64>())
                })
            }
        };
        if self.0.get(&slug).is_some_and(|holder| *holder != line.id) {
            return None;
        }
        if let Some(before) = before {
            self.0.remove(&before.slug);
        }
        self.0.insert(slug.clone(), line.id);
        Some(slug)
    }
}

/// The slugs that a new article may have: its title's, or that with its id.
fn made(line: &ArticleLine) -> impl Iterator<Item = String> {
    let base = slug(&line.title);
    let numbered = format!("{base}-{}", line.id);
    [base, numbered].into_iter()
}

async fn update(tx: &Tx, changed: &[(bool, Article)]) -> Result<(), StoreError> {
    if changed.is_empty() {
        return Ok(());
    }
    let moved = changed.iter().filter(|(moved, _)| *moved);
    let moved: Vec<ArticleId> = moved.map(|(_, article)| article.id).collect();
    if !moved.is_empty() {
        // Out of each other's way first: within one statement, rows get their slugs in any order. No slug is like this.
        let sql = "UPDATE articles SET slug = '~' || id WHERE id IN (SELECT i.id FROM {ids:1} i)";
        tx.db.run(sql, values![id_list(&moved)]).await?;
    }
    let sql = "UPDATE articles SET title = r.title, slug = r.slug, abstract = r.abstract, submitter_id = r.submitter_id
        FROM {rows:1 id title:text slug:text abstract:text submitter_id} r WHERE articles.id = r.id";
    let rows = row_list(changed.iter().map(|(_, article)| row(article)));
    tx.db.run(sql, values![rows]).await?;
    Ok(())
}

async fn insert(tx: &Tx, new: &[Article]) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    let greatest = new.iter().map(|article| article.id.get()).max();
    move_past(tx, Table::Articles, greatest).await?;
    let sql = "INSERT INTO articles (id, title, slug, abstract, submitter_id)
        SELECT r.id, r.title, r.slug, r.abstract, r.submitter_id
        FROM {rows:1 id title:text slug:text abstract:text submitter_id} r";
    tx.db
        .run(sql, values![row_list(new.iter().map(row))])
        .await?;
    Ok(())
}

fn row(article: &Article) -> Value {
    let submitter: UserId = article.submitter_id;
    json!([
        article.id,
        article.title,
        article.slug,
        article.summary,
        submitter
    ])
}
