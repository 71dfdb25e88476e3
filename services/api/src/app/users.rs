//! People: known to Crier from their first request on.

use crier_domain::UserId;
use crier_store::Locks;
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::error::AppError;
use super::text::is_visible;

/// The most characters of a name that are kept.
const LONGEST_NAME: usize = 200;

/// Whom a call is from, as their token says it. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) id: UserId,
    /// For display only; may be empty.
    pub(crate) username: String,
    /// The token's `iat`.
    pub(crate) issued_at: i64,
    /// The token's `exp`.
    pub(crate) expires_at: i64,
}

/// Makes the person known, under the name they have now. One read when there is nothing to do.
///
/// # Errors
/// [`AppError::TokenWithdrawn`] if the token is from before the user was disconnected.
pub(crate) async fn recognise(app: &App, person: &Person) -> Result<(), AppError> {
    let name = shown(&person.username, person.id);
    let user = app.store.ensure_user(person.id, &name).await?;
    if person.issued_at < user.not_before {
        return Err(AppError::TokenWithdrawn);
    }
    Ok(())
}

/// What became of a disconnect.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DisconnectedView {
    /// Tokens issued before this moment are refused; Unix seconds.
    not_before: i64,
}

/// Refuses all tokens of this user that were issued until now, and has gateways close the streams opened with them.
/// A new token counts from the next second on.
pub(crate) async fn disconnect(app: &App, user: UserId) -> Result<DisconnectedView, AppError> {
    let tx = app.begin(Locks::new()).await?;
    let next = super::unix_seconds().saturating_add(1);
    let not_before = tx.set_not_before(user, next).await?;
    app.commit(tx).await?;
    Ok(DisconnectedView { not_before })
}

/// A name as others see it: what an identity provider put into a token may be anything.
pub(crate) fn shown(username: &str, id: UserId) -> String {
    let printable = username.chars().filter(|letter| !letter.is_control());
    let name: String = printable.take(LONGEST_NAME).collect();
    if name.chars().any(is_visible) {
        name.trim().to_owned()
    } else {
        format!("user {id}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_printable_and_short_and_never_empty() {
        let id = UserId::try_from(7).unwrap();
        assert_eq!(shown("alice", id), "alice");
        assert_eq!(shown(" a\0\nb ", id), "ab");
        assert_eq!(shown("\u{7}", id), "user 7");
        assert_eq!(shown("\u{200b}\u{202e}", id), "user 7");
        assert_eq!(shown(&"ä".repeat(1_000), id).chars().count(), LONGEST_NAME);
    }
}
