//! People, under the names that the application has for them.

use crier_domain::UserId;
use serde_json::json;

use super::{By, Effect, Outcome, UserLine, Work};
use crate::error::StoreError;
use crate::sql::{id_list, now_ms, row_list, values};
use crate::tx::Tx;

pub(super) async fn step(
    work: &mut Work<'_>,
    lines: &[(usize, &UserLine)],
) -> Result<(), StoreError> {
    let ids: Vec<UserId> = lines.iter().map(|(_, line)| line.id).collect();
    let known = known(work.tx, &ids).await?;
    let mut write = Vec::new();
    for (place, line) in lines {
        let effect = match known.get(&line.id) {
            None => Effect::Made,
            Some(name) if *name == line.username => continue,
            Some(_) => Effect::Changed,
        };
        write.push((line.id, line.username.clone()));
        work.set(*place, Outcome::Ok(effect));
    }
    self::write(work.tx, write).await
}

/// The names of those users who are known.
pub(super) async fn known(tx: &Tx, ids: &[UserId]) -> Result<By<UserId, String>, StoreError> {
    if ids.is_empty() {
        return Ok(By::new());
    }
    let sql = "SELECT id, username FROM users WHERE id IN (SELECT i.id FROM {ids:1} i)";
    let rows = tx.db.all(sql, values![id_list(ids)]).await?;
    rows.iter()
        .map(|row| Ok((row.id("id")?, row.text("username")?)))
        .collect()
}

/// Makes these users known, or gives them these names. Each stands there once.
pub(super) async fn write(tx: &Tx, mut users: Vec<(UserId, String)>) -> Result<(), StoreError> {
    if users.is_empty() {
        return Ok(());
    }
    // Rows are locked in this order, so that two batches don't wait for each other in a circle.
    users.sort_unstable_by_key(|(id, _)| *id);
    let sql = "INSERT INTO users (id, username, created_at)
        SELECT r.id, r.name, $2 FROM {rows:1 id name:text} r WHERE TRUE ORDER BY r.id
        ON CONFLICT (id) DO UPDATE SET username = excluded.username";
    let rows = users.iter().map(|(id, name)| json!([id, name]));
    let values = values![row_list(rows), now_ms()];
    tx.db.run(sql, values).await?;
    Ok(())
}
