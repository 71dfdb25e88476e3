//! Articles in communities, and how far they have come.

use crier_domain::{ArticleId, CommunityArticleId, CommunityId, UserId};
use serde_json::json;

use super::sequences::{Table, move_past};
use super::{
    By, CommunityArticleLine, Effect, Outcome, Refusal, Work, articles, communities, distinct,
    users,
};
use crate::auto_subscriptions::Cause;
use crate::error::StoreError;
use crate::model::Article;
use crate::sql::{Row, id_list, now_ms, pair_list, row_list, values};
use crate::tx::Tx;
use crate::words::{CommunityKind, Status};

/// An article in a community.
type Place = (CommunityId, ArticleId);

/// A community article as it stands.
pub(super) struct Known {
    pub(super) id: CommunityArticleId,
    status: Status,
    submitter: UserId,
}

/// A community article as it is to be.
struct Wanted {
    at: Place,
    id: Option<CommunityArticleId>,
    status: Status,
    submitter: UserId,
}

/// What the lines refer to.
struct There {
    communities: By<CommunityId, (String, CommunityKind)>,
    articles: By<ArticleId, Article>,
    users: By<UserId, String>,
    places: By<Place, Known>,
    /// Whose a chosen id is.
    ids: By<CommunityArticleId, Place>,
}

pub(super) async fn step(
    work: &mut Work<'_>,
    lines: &[(usize, &CommunityArticleLine)],
) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut there = There::read(work.tx, lines).await?;
    let (mut new, mut changed, mut published) = (Vec::new(), Vec::new(), Vec::new());
    for (place, line) in lines {
        work.tx.needs_exclusive(line.community)?;
        let at = (line.community, line.article);
        let wanted = match there.settle(line) {
            Ok(wanted) => wanted,
            Err(refusal) => {
                work.set(*place, Outcome::Err(refusal));
                continue;
            }
        };
        let before = there.places.get(&at);
        let was_published = before.is_some_and(|before| before.status == Status::Published);
        if wanted.status == Status::Published && !was_published {
            published.push(at);
        }
        match before {
            None => {
                new.push(wanted);
                work.set(*place, Outcome::Ok(Effect::Made));
            }
            Some(before) if before.differs(&wanted) => {
                changed.push(wanted);
                work.set(*place, Outcome::Ok(Effect::Changed));
            }
            Some(_) => {}
        }
    }
    insert(work.tx, &new).await?;
    update(work.tx, &changed).await?;
    let cause = Cause::Published(published);
    work.tx.auto_subscribe(&cause, &mut work.fences).await?;
    Ok(())
}

impl Known {
    fn differs(&self, wanted: &Wanted) -> bool {
        self.status != wanted.status || self.submitter != wanted.submitter
    }
}

impl There {
    async fn read(tx: &Tx, lines: &[(usize, &CommunityArticleLine)]) -> Result<Self, StoreError> {
        let all = |of: fn(&CommunityArticleLine) -> _| distinct(lines.iter().map(|(_, l)| of(l)));
        let submitters = distinct(lines.iter().filter_map(|(_, line)| line.submitter));
        let articles = distinct(lines.iter().map(|(_, line)| line.article));
        let ids = distinct(lines.iter().filter_map(|(_, line)| line.id));
        let places = lines.iter().map(|(_, line)| (line.community, line.article));
        Ok(Self {
            communities: communities::known(tx, &all(|line| line.community)).await?,
            articles: articles::known(tx, &articles).await?,
            users: users::known(tx, &submitters).await?,
            places: known(tx, places).await?,
            ids: holders(tx, &ids).await?,
        })
    }

    /// What the line comes to.
    fn settle(&mut self, line: &CommunityArticleLine) -> Result<Wanted, Refusal> {
        let at = (line.community, line.article);
        if !self.communities.contains_key(&line.community) {
            return Err(Refusal::NoCommunity);
        }
        let article = self.articles.get(&line.article).ok_or(Refusal::NoArticle)?;
        let before = self.places.get(&at);
        let submitter = match line.submitter {
            Some(user) if !self.users.contains_key(&user) => return Err(Refusal::NoUser),
            Some(user) => user,
            None => before.map_or(article.submitter_id, |before| before.submitter),
        };
        if let Some(id) = line.id {
            let is_its_own = before.is_none_or(|before| before.id == id);
            let is_anothers = self.ids.get(&id).is_some_and(|holder| *holder != at);
            if !is_its_own || is_anothers {
                return Err(Refusal::IdTaken);
            }
            self.ids.insert(id, at);
        }
        Ok(Wanted {
            at,
            id: line.id,
            status: line.status,
            submitter,
        })
    }
}

/// Those of the community articles that there are.
pub(super) async fn known(
    tx: &Tx,
    places: impl IntoIterator<Item = Place>,
) -> Result<By<Place, Known>, StoreError> {
    let places = pair_list(places.into_iter().map(|(c, a)| (c.get(), a.get())));
    let sql =
        "SELECT ca.id, ca.community_id, ca.article_id, ca.status, ca.submitter_id FROM {pairs:1} p
        JOIN community_articles ca ON ca.community_id = p.a AND ca.article_id = p.b";
    let read = |row: &Row| -> Result<_, StoreError> {
        let known = Known {
            id: row.id("id")?,
            status: row.word("status")?,
            submitter: row.id("submitter_id")?,
        };
        Ok(((row.id("community_id")?, row.id("article_id")?), known))
    };
    let rows = tx.db.all(sql, values![places]).await?;
    rows.iter().map(read).collect()
}

/// Whose these ids are.
async fn holders(
    tx: &Tx,
    ids: &[CommunityArticleId],
) -> Result<By<CommunityArticleId, Place>, StoreError> {
    if ids.is_empty() {
        return Ok(By::new());
    }
    let sql = "SELECT id, community_id, article_id FROM community_articles
        WHERE id IN (SELECT i.id FROM {ids:1} i)";
    let rows = tx.db.all(sql, values![id_list(ids)]).await?;
    rows.iter()
        .map(|row| {
            let place = (row.id("community_id")?, row.id("article_id")?);
            Ok((row.id("id")?, place))
        })
        .collect()
}

async fn insert(tx: &Tx, new: &[Wanted]) -> Result<(), StoreError> {
    let (chosen, given): (Vec<_>, Vec<_>) = new.iter().partition(|wanted| wanted.id.is_some());
    if !chosen.is_empty() {
        let greatest = chosen.iter().filter_map(|wanted| wanted.id).max();
        move_past(tx, Table::CommunityArticles, greatest.map(i64::from)).await?;
        let sql = "INSERT INTO community_articles (id, community_id, article_id, status, submitter_id, created_at)
            SELECT r.id, r.community_id, r.article_id, r.status, r.submitter_id, $2
            FROM {rows:1 community_id article_id status:text submitter_id id} r";
        tx.db.run(sql, values![rows(chosen), now_ms()]).await?;
    }
    if !given.is_empty() {
        let sql = "INSERT INTO community_articles (community_id, article_id, status, submitter_id, created_at)
            SELECT r.community_id, r.article_id, r.status, r.submitter_id, $2
            FROM {rows:1 community_id article_id status:text submitter_id} r
            ORDER BY r.community_id, r.article_id";
        tx.db.run(sql, values![rows(given), now_ms()]).await?;
    }
    Ok(())
}

async fn update(tx: &Tx, changed: &[Wanted]) -> Result<(), StoreError> {
    if changed.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE community_articles SET status = r.status, submitter_id = r.submitter_id
        FROM {rows:1 community_id article_id status:text submitter_id} r
        WHERE community_articles.community_id = r.community_id AND community_articles.article_id = r.article_id";
    tx.db.run(sql, values![rows(changed)]).await?;
    Ok(())
}

fn rows<'a>(wanted: impl IntoIterator<Item = &'a Wanted>) -> String {
    let row = |wanted: &Wanted| {
        let ((community, article), status) = (wanted.at, wanted.status.as_str());
        json!([community, article, status, wanted.submitter, wanted.id])
    };
    row_list(wanted.into_iter().map(row))
}
