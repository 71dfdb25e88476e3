//! Rows for the relay, added by changes in their own transaction.

use std::collections::HashMap;

use crier_domain::{Audience, CommunityId, Event, OutboxId, UserId};

use crate::error::StoreError;
use crate::sql::{id_list, now_ms, pair_list, values};
use crate::tx::Tx;

impl Tx {
    /// Adds an event; its row's id is the event's fence.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's lock, shared at least.
    pub async fn outbox_event(&self, event: &Event) -> Result<OutboxId, StoreError> {
        self.needs_shared(event.community)?;
        let (audience, named) = columns(&event.audience);
        let sql = "INSERT INTO outbox (event_id, community_id, article_id, audience, named, exclude_user, body,
                traceparent, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id";
        let values = values![
            event.id.0,
            event.community.get(),
            event.article.map(i64::from),
            audience,
            named,
            event.exclude.map(i64::from),
            event.body.to_vec(),
            self.trace.clone(),
            now_ms(),
        ];
        let row = self.db.only(sql, values).await?;
        self.added_rows();
        Ok(OutboxId(row.number("id")?))
    }

    /// Adds events in this order, in one statement. Their bodies are JSON.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the lock of each community, shared at least.
    pub async fn outbox_events(&self, events: &[&Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        for event in events {
            self.needs_shared(event.community)?;
        }
        let sql = "INSERT INTO outbox (event_id, community_id, article_id, audience, named, exclude_user, body,
                traceparent, created_at)
            SELECT e.event_id, e.community_id, e.article_id, e.audience, e.named, e.exclude_user, e.body, $2, $3
            FROM {events:1} e ORDER BY e.place";
        let values = values![event_list(events)?, self.trace.clone(), now_ms()];
        self.db.run(sql, values).await?;
        self.added_rows();
        Ok(())
    }

    /// Adds "what this user may receive of this community has changed". Its id is the fence of what becomes active
    /// with it. The community's later events wait for the user's snapshot, those of others don't.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the community's exclusive lock.
    pub async fn outbox_user(
        &self,
        user: UserId,
        community: CommunityId,
    ) -> Result<OutboxId, StoreError> {
        self.needs_exclusive(community)?;
        let sql = "INSERT INTO outbox (user_id, community_id, traceparent, created_at) VALUES ($1, $2, $3, $4)
            RETURNING id";
        let values = values![user.get(), community.get(), self.trace.clone(), now_ms()];
        let row = self.db.only(sql, values).await?;
        self.added_rows();
        Ok(OutboxId(row.number("id")?))
    }

    /// Adds "something about this user has changed wherever they are a member": one row for each of their
    /// communities, so that no later event of any passes the user's snapshot, and one without a community, which
    /// the relay takes first.
    pub(crate) async fn outbox_user_everywhere(&self, user: UserId) -> Result<(), StoreError> {
        let sql = "INSERT INTO outbox (user_id, community_id, traceparent, created_at)
            SELECT $1, c.id, $2, $3 FROM (
                SELECT NULL AS id UNION ALL SELECT community_id FROM memberships WHERE user_id = $1) c";
        let values = values![user.get(), self.trace.clone(), now_ms()];
        self.db.run(sql, values).await?;
        self.added_rows();
        Ok(())
    }
}

/// `audience` and `named`.
fn columns(audience: &Audience) -> (&'static str, Option<String>) {
    match audience {
        Audience::Subscribers => ("subscribers", None),
        Audience::Members => ("members", None),
        Audience::Users(users) => ("users", Some(id_list(users))),
    }
}

/// A list of events, to be bound for `{events:n}`.
fn event_list(events: &[&Event]) -> Result<String, StoreError> {
    let mut list = Vec::with_capacity(events.len());
    for (place, event) in events.iter().enumerate() {
        let (audience, named) = columns(&event.audience);
        let body = std::str::from_utf8(&event.body).map_err(|_| StoreError::unreadable("body"))?;
        list.push((
            place,
            event.id,
            event.community,
            event.article,
            audience,
            named,
            event.exclude,
            body,
        ));
    }
    // Numbers and texts, which are always JSON.
    Ok(serde_json::to_string(&list).unwrap_or_default())
}

/// The rows that one transaction has added for users, one for each user and community: its id is the fence of all
/// that becomes active for this user in this community.
#[derive(Debug, Default)]
pub(crate) struct Fences(HashMap<(CommunityId, UserId), OutboxId>);

impl Fences {
    /// Adds a row for each of these that has none yet, in one statement.
    ///
    /// # Errors
    /// [`StoreError::NotLocked`] without the communities' exclusive locks.
    pub(crate) async fn add(
        &mut self,
        tx: &Tx,
        changed: impl IntoIterator<Item = (CommunityId, UserId)>,
    ) -> Result<(), StoreError> {
        let mut new: Vec<_> = changed
            .into_iter()
            .filter(|pair| !self.0.contains_key(pair))
            .collect();
        new.sort_unstable();
        new.dedup();
        if new.is_empty() {
            return Ok(());
        }
        for (community, _) in &new {
            tx.needs_exclusive(*community)?;
        }
        let sql = "INSERT INTO outbox (user_id, community_id, traceparent, created_at)
            SELECT p.b, p.a, $2, $3 FROM {pairs:1} p ORDER BY p.a, p.b RETURNING id, user_id, community_id";
        let pairs = pair_list(new.iter().map(|(c, u)| (c.get(), u.get())));
        let rows = tx.db.all(sql, values![pairs, tx.trace.clone(), now_ms()]);
        for row in rows.await? {
            let pair = (row.id("community_id")?, row.id("user_id")?);
            self.0.insert(pair, OutboxId(row.number("id")?));
        }
        tx.added_rows();
        Ok(())
    }

    /// The fence of what becomes active for this user in this community.
    ///
    /// # Errors
    /// [`StoreError::NoRow`] if no row was added for them.
    pub(crate) fn of(&self, community: CommunityId, user: UserId) -> Result<OutboxId, StoreError> {
        let found = self.0.get(&(community, user)).copied();
        found.ok_or(StoreError::NoRow)
    }
}
