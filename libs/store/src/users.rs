//! Users: made by their first request.

use crier_domain::UserId;

use crate::error::StoreError;
use crate::model::User;
use crate::sql::{Row, now_ms, values};
use crate::store::{Reader, Store};
use crate::tx::Tx;

const COLUMNS: &str = "id, username, not_before, created_at";

impl Reader {
    /// The user with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM users WHERE id = $1");
        let row = self.db.first(&sql, values![id.get()]).await?;
        row.as_ref().map(read).transpose()
    }
}

impl Store {
    /// The user with this id, made or renamed if need be. One read when there is nothing to do.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ensure_user(&self, id: UserId, username: &str) -> Result<User, StoreError> {
        if let Some(user) = self.find_user(id).await?
            && user.username == username
        {
            return Ok(user);
        }
        let sql = format!(
            "INSERT INTO users (id, username, created_at) VALUES ($1, $2, $3)
            ON CONFLICT (id) DO UPDATE SET username = excluded.username RETURNING {COLUMNS}"
        );
        let values = values![id.get(), username, now_ms()];
        read(&self.inner.writer.only(&sql, values).await?)
    }
}

impl Tx {
    /// Refuses the user's tokens that were issued before this moment (Unix seconds), also those of a user who never
    /// called, and adds the outbox rows that tell the gateways. Gives the moment that holds: it never moves back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_not_before(&self, id: UserId, seconds: i64) -> Result<i64, StoreError> {
        let sql = "INSERT INTO users (id, username, not_before, created_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (id) DO UPDATE SET not_before = excluded.not_before
                WHERE users.not_before < excluded.not_before
            RETURNING not_before";
        let ms = seconds.saturating_mul(1000);
        let values = values![id.get(), format!("user {id}"), ms, now_ms()];
        let Some(row) = self.db.first(sql, values).await? else {
            // A later moment holds already.
            let user = self.find_user(id).await?.ok_or(StoreError::NoRow)?;
            return Ok(user.not_before);
        };
        self.outbox_user_everywhere(id).await?;
        Ok(row.number("not_before")? / 1000)
    }
}

fn read(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: row.id("id")?,
        username: row.text("username")?,
        not_before: row.number("not_before")? / 1000,
        created_at: row.moment("created_at")?,
    })
}
