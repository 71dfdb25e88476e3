//! Who is in a community, and as what.

use std::collections::BTreeMap;

use crier_domain::snapshot::MAX_ENTRIES;
use crier_domain::{CommunityId, UserId};
use serde_json::json;

use super::{By, Effect, MemberLine, Outcome, Refusal, Work, communities, distinct, users};
use crate::auto_subscriptions::Cause;
use crate::error::StoreError;
use crate::sql::{now_ms, pair_list, row_list, values};
use crate::tx::Tx;
use crate::words::Role;

/// A user in a community.
type Pair = (CommunityId, UserId);

/// What the lines come to.
#[derive(Default)]
struct Plan {
    added: Vec<(Pair, Role)>,
    changed: Vec<(Pair, Role)>,
    removed: Vec<Pair>,
    promoted: Vec<Pair>,
    /// Users who are new, or have another name now.
    named: BTreeMap<UserId, String>,
}

pub(super) async fn step(
    work: &mut Work<'_>,
    lines: &[(usize, &MemberLine)],
) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    let plan = plan(work, lines).await?;
    let named = plan.named.into_iter().collect();
    users::write(work.tx, named).await?;
    let added = plan.added.iter().map(|(pair, _)| *pair);
    let concerned = added.chain(plan.removed.iter().copied());
    work.fences.add(work.tx, concerned).await?;
    insert(work, &plan.added).await?;
    change(work.tx, &plan.changed).await?;
    remove(work.tx, &plan.removed).await?;
    let cause = Cause::Promoted(plan.promoted);
    work.tx.auto_subscribe(&cause, &mut work.fences).await?;
    Ok(())
}

async fn plan(work: &mut Work<'_>, lines: &[(usize, &MemberLine)]) -> Result<Plan, StoreError> {
    let tx = work.tx;
    let all = distinct(lines.iter().map(|(_, line)| line.community));
    let there = communities::known(tx, &all).await?;
    let users = distinct(lines.iter().map(|(_, line)| line.user));
    let known = users::known(tx, &users).await?;
    let roles = roles(
        tx,
        lines.iter().map(|(_, line)| (line.community, line.user)),
    )
    .await?;
    let joining = lines.iter().map(|(_, line)| (line.community, line.user));
    let joining = distinct(
        joining
            .filter(|pair| !roles.contains_key(pair))
            .map(|(_, user)| user),
    );
    let mut entries = tx.entries(&joining).await?;
    let mut plan = Plan::default();
    for (place, line) in lines {
        tx.needs_exclusive(line.community)?;
        let pair = (line.community, line.user);
        if !there.contains_key(&line.community) {
            work.set(*place, Outcome::Err(Refusal::NoCommunity));
            continue;
        }
        let before = roles.get(&pair).copied();
        let Some(role) = line.role else {
            if before.is_some() {
                plan.removed.push(pair);
                work.set(*place, Outcome::Ok(Effect::Changed));
            }
            continue;
        };
        let mut effect = Effect::Unchanged;
        if before.is_none() {
            let entries = entries.entry(line.user).or_default();
            if *entries >= MAX_ENTRIES as u64 {
                work.set(*place, Outcome::Err(Refusal::TooManyEntries));
                continue;
            }
            *entries += 1;
            plan.added.push((pair, role));
            effect = Effect::Made;
        } else if before != Some(role) {
            plan.changed.push((pair, role));
            effect = Effect::Changed;
        }
        if role == Role::Admin && before != Some(role) {
            plan.promoted.push(pair);
        }
        if plan.names(line, &known) && effect == Effect::Unchanged {
            effect = Effect::Changed;
        }
        work.set(*place, Outcome::Ok(effect));
    }
    Ok(plan)
}

impl Plan {
    /// Notes the user's name; whether it is another than before.
    fn names(&mut self, line: &MemberLine, known: &By<UserId, String>) -> bool {
        let now = self.named.get(&line.user).or_else(|| known.get(&line.user));
        let name = match (&line.username, now) {
            (Some(name), Some(now)) if name == now => return false,
            (None, Some(_)) => return false,
            (Some(name), _) => name.clone(),
            (None, None) => format!("user {}", line.user),
        };
        self.named.insert(line.user, name);
        true
    }
}

/// What these users are in these communities; nothing for those who are not in.
pub(super) async fn roles(
    tx: &Tx,
    pairs: impl IntoIterator<Item = Pair>,
) -> Result<By<Pair, Role>, StoreError> {
    let pairs = pair_list(pairs.into_iter().map(|(c, u)| (c.get(), u.get())));
    let sql = "SELECT m.community_id, m.user_id, m.role FROM {pairs:1} p
        JOIN memberships m ON m.community_id = p.a AND m.user_id = p.b";
    let rows = tx.db.all(sql, values![pairs]).await?;
    rows.iter()
        .map(|row| {
            let pair = (row.id("community_id")?, row.id("user_id")?);
            Ok((pair, row.word("role")?))
        })
        .collect()
}

async fn insert(work: &Work<'_>, added: &[(Pair, Role)]) -> Result<(), StoreError> {
    if added.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::with_capacity(added.len());
    for ((community, user), role) in added {
        let fence = work.fences.of(*community, *user)?;
        rows.push(json!([community, user, role.as_str(), fence]));
    }
    let sql = "INSERT INTO memberships (community_id, user_id, role, fence, joined_at)
        SELECT r.community_id, r.user_id, r.role, r.fence, $2
        FROM {rows:1 community_id user_id role:text fence} r";
    let values = values![row_list(rows), now_ms()];
    work.tx.db.run(sql, values).await?;
    Ok(())
}

async fn change(tx: &Tx, changed: &[(Pair, Role)]) -> Result<(), StoreError> {
    if changed.is_empty() {
        return Ok(());
    }
    let rows = changed
        .iter()
        .map(|((community, user), role)| json!([community, user, role.as_str()]));
    let sql = "UPDATE memberships SET role = r.role FROM {rows:1 community_id user_id role:text} r
        WHERE memberships.community_id = r.community_id AND memberships.user_id = r.user_id";
    tx.db.run(sql, values![row_list(rows)]).await?;
    Ok(())
}

async fn remove(tx: &Tx, removed: &[Pair]) -> Result<(), StoreError> {
    if removed.is_empty() {
        return Ok(());
    }
    let pairs = || pair_list(removed.iter().map(|(c, u)| (c.get(), u.get())));
    let sql = "DELETE FROM memberships
        WHERE (community_id, user_id) IN (SELECT p.a, p.b FROM {pairs:1} p)";
    tx.db.run(sql, values![pairs()]).await?;
    let sql = "UPDATE subscriptions SET is_active = FALSE, ended_by = 'system' FROM {pairs:1} p
        WHERE subscriptions.user_id = p.b AND subscriptions.community_id = p.a
            AND subscriptions.is_active";
    tx.db.run(sql, values![pairs()]).await?;
    Ok(())
}
