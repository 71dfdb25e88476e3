//! Communities, and what a change of their kind means for their members.

use crier_domain::CommunityId;
use serde_json::json;

use super::sequences::{Table, move_past};
use super::{By, CommunityLine, Effect, Outcome, Work};
use crate::error::StoreError;
use crate::sql::{id_list, row_list, values};
use crate::tx::Tx;
use crate::words::CommunityKind;

pub(super) async fn step(
    work: &mut Work<'_>,
    lines: &[(usize, &CommunityLine)],
) -> Result<(), StoreError> {
    let ids: Vec<CommunityId> = lines.iter().map(|(_, line)| line.id).collect();
    let before = known(work.tx, &ids).await?;
    let (mut new, mut changed) = (Vec::new(), Vec::new());
    let (mut opened, mut closed) = (Vec::new(), Vec::new());
    for (place, line) in lines {
        work.tx.needs_exclusive(line.id)?;
        let Some((name, kind)) = before.get(&line.id) else {
            new.push(*line);
            work.set(*place, Outcome::Ok(Effect::Made));
            continue;
        };
        if *name == line.name && *kind == line.kind {
            continue;
        }
        changed.push(*line);
        work.set(*place, Outcome::Ok(Effect::Changed));
        match (
            *kind == CommunityKind::Public,
            line.kind == CommunityKind::Public,
        ) {
            (true, false) => opened.push(line.id),
            (false, true) => closed.push(line.id),
            _ => {}
        }
    }
    insert(work.tx, &new).await?;
    update(work.tx, &changed).await?;
    if !opened.is_empty() {
        work.tx.leave_public(&opened, &mut work.fences).await?;
    }
    if !closed.is_empty() {
        work.tx.turn_public(&closed, &mut work.fences).await?;
    }
    Ok(())
}

/// The names and kinds of those communities that there are.
pub(super) async fn known(
    tx: &Tx,
    ids: &[CommunityId],
) -> Result<By<CommunityId, (String, CommunityKind)>, StoreError> {
    if ids.is_empty() {
        return Ok(By::new());
    }
    let sql = "SELECT id, name, kind FROM communities WHERE id IN (SELECT i.id FROM {ids:1} i)";
    let rows = tx.db.all(sql, values![id_list(ids)]).await?;
    rows.iter()
        .map(|row| Ok((row.id("id")?, (row.text("name")?, row.word("kind")?))))
        .collect()
}

async fn insert(tx: &Tx, lines: &[&CommunityLine]) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    let greatest = lines.iter().map(|line| line.id.get()).max();
    move_past(tx, Table::Communities, greatest).await?;
    let sql = "INSERT INTO communities (id, name, kind)
        SELECT r.id, r.name, r.kind FROM {rows:1 id name:text kind:text} r";
    tx.db.run(sql, values![rows(lines)]).await?;
    Ok(())
}

async fn update(tx: &Tx, lines: &[&CommunityLine]) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE communities SET name = r.name, kind = r.kind
        FROM {rows:1 id name:text kind:text} r WHERE communities.id = r.id";
    tx.db.run(sql, values![rows(lines)]).await?;
    Ok(())
}

fn rows(lines: &[&CommunityLine]) -> String {
    row_list(
        lines
            .iter()
            .map(|line| json!([line.id, line.name, line.kind.as_str()])),
    )
}
