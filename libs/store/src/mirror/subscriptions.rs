//! Who follows what, as the application had it.
//!
//! An import says what the user chose elsewhere, before: it never makes active again what was ended as the user's own
//! wish, so that sending a file once more undoes nothing that a user did meanwhile.

use crier_domain::snapshot::MAX_ENTRIES;
use crier_domain::{ArticleId, CommunityArticleId, CommunityId, OutboxId, UserId};
use serde_json::json;

use super::community_articles::Known;
use super::{
    By, Effect, Outcome, Refusal, SubscriptionLine, Work, communities, community_articles,
    distinct, members, users,
};
use crate::error::StoreError;
use crate::sql::{now_ms, pair_list, row_list, values};
use crate::tx::Tx;
use crate::words::{CommunityKind, Role};

/// Who follows what.
type Following = (UserId, CommunityArticleId);

/// A subscription as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Active,
    EndedByUser,
    EndedBySystem,
}

/// What the lines refer to.
struct There {
    communities: By<CommunityId, (String, CommunityKind)>,
    users: By<UserId, String>,
    articles: By<(CommunityId, ArticleId), Known>,
    roles: By<(CommunityId, UserId), Role>,
    states: By<Following, State>,
    entries: std::collections::HashMap<UserId, u64>,
}

/// A line with the community article that it means.
struct Wanted<'a> {
    line: &'a SubscriptionLine,
    id: CommunityArticleId,
}

pub(super) async fn step(
    work: &mut Work<'_>,
    lines: &[(usize, &SubscriptionLine)],
) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut there = There::read(work.tx, lines).await?;
    let mut write = Vec::new();
    let mut concerned = Vec::new();
    for (place, line) in lines {
        work.tx.needs_exclusive(line.community)?;
        let (id, before) = match there.settle(line) {
            Ok(settled) => settled,
            Err(refusal) => {
                work.set(*place, Outcome::Err(refusal));
                continue;
            }
        };
        let effect = match (line.is_active, before) {
            (true, Some(State::Active | State::EndedByUser))
            | (false, Some(State::EndedByUser)) => continue,
            (_, None) => Effect::Made,
            (_, Some(_)) => Effect::Changed,
        };
        if line.is_active || before == Some(State::Active) {
            concerned.push((line.community, line.user));
        }
        write.push(Wanted { line, id });
        work.set(*place, Outcome::Ok(effect));
    }
    work.fences.add(work.tx, concerned).await?;
    self::write(work, &write).await
}

impl There {
    async fn read(tx: &Tx, lines: &[(usize, &SubscriptionLine)]) -> Result<Self, StoreError> {
        let all = distinct(lines.iter().map(|(_, line)| line.community));
        let users = distinct(lines.iter().map(|(_, line)| line.user));
        let places = distinct(lines.iter().map(|(_, line)| (line.community, line.article)));
        let pairs = distinct(lines.iter().map(|(_, line)| (line.community, line.user)));
        let articles = community_articles::known(tx, places).await?;
        let following = lines.iter().filter_map(|(_, line)| {
            let known = articles.get(&(line.community, line.article))?;
            Some((line.user, known.id))
        });
        Ok(Self {
            communities: communities::known(tx, &all).await?,
            users: users::known(tx, &users).await?,
            roles: members::roles(tx, pairs).await?,
            states: states(tx, following).await?,
            entries: tx.entries(&users).await?,
            articles,
        })
    }

    /// The community article that the line means, and the subscription as it stands.
    fn settle(
        &mut self,
        line: &SubscriptionLine,
    ) -> Result<(CommunityArticleId, Option<State>), Refusal> {
        let community = self.communities.get(&line.community);
        let (_, kind) = community.ok_or(Refusal::NoCommunity)?;
        let article = self.articles.get(&(line.community, line.article));
        let article = article.ok_or(Refusal::NoCommunityArticle)?;
        if !self.users.contains_key(&line.user) {
            return Err(Refusal::NoUser);
        }
        let before = self.states.get(&(line.user, article.id)).copied();
        if !line.is_active {
            return Ok((article.id, before));
        }
        if *kind == CommunityKind::Public {
            return Err(Refusal::PublicCommunity);
        }
        if !self.roles.contains_key(&(line.community, line.user)) {
            return Err(Refusal::NotAMember);
        }
        if matches!(before, None | Some(State::EndedBySystem)) {
            let entries = self.entries.entry(line.user).or_default();
            if *entries >= MAX_ENTRIES as u64 {
                return Err(Refusal::TooManyEntries);
            }
            *entries += 1;
        }
        Ok((article.id, before))
    }
}

async fn states(
    tx: &Tx,
    following: impl IntoIterator<Item = Following>,
) -> Result<By<Following, State>, StoreError> {
    let pairs = pair_list(following.into_iter().map(|(u, ca)| (u.get(), ca.get())));
    let sql = "SELECT s.user_id, s.community_article_id, s.is_active, s.ended_by FROM {pairs:1} p
        JOIN subscriptions s ON s.user_id = p.a AND s.community_article_id = p.b";
    let rows = tx.db.all(sql, values![pairs]).await?;
    rows.iter()
        .map(|row| {
            let ended_by: Option<String> = row.get("ended_by")?;
            let state = match ended_by.as_deref() {
                None => State::Active,
                Some("user") => State::EndedByUser,
                Some(_) => State::EndedBySystem,
            };
            let following = (row.id("user_id")?, row.id("community_article_id")?);
            Ok((following, state))
        })
        .collect()
}

async fn write(work: &Work<'_>, wanted: &[Wanted<'_>]) -> Result<(), StoreError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::with_capacity(wanted.len());
    for Wanted { line, id } in wanted {
        // What never was active has no fence.
        let (fence, active) = if line.is_active {
            (work.fences.of(line.community, line.user)?, 1)
        } else {
            (OutboxId::default(), 0)
        };
        let (community, article) = (line.community, line.article);
        rows.push(json!([line.user, id, community, article, fence, active]));
    }
    // Who ended it is the user: nothing automatic brings it back.
    let sql = "INSERT INTO subscriptions (user_id, community_article_id, community_id, article_id, is_active,
            ended_by, fence, subscribed_at)
        SELECT r.user_id, r.id, r.community_id, r.article_id, r.active = 1,
            CASE WHEN r.active = 1 THEN NULL ELSE 'user' END, r.fence, $2
        FROM {rows:1 user_id id community_id article_id fence active} r WHERE TRUE
        ORDER BY r.community_id, r.user_id, r.id
        ON CONFLICT (user_id, community_article_id) DO UPDATE SET
            is_active = excluded.is_active, ended_by = excluded.ended_by,
            fence = CASE WHEN excluded.is_active THEN excluded.fence ELSE subscriptions.fence END,
            subscribed_at = CASE WHEN excluded.is_active THEN excluded.subscribed_at
                ELSE subscriptions.subscribed_at END";
    let values = values![row_list(rows), now_ms()];
    work.tx.db.run(sql, values).await?;
    Ok(())
}
