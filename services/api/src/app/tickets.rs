//! Tickets: 60 seconds in which the caller may open a stream without a header.

use crier_domain::Ticket;
use crier_domain::ticket::LIFETIME_SECONDS;
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::users::Person;

/// A ticket as its caller gets it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TicketView {
    ticket: String,
    /// Seconds.
    expires_in: i64,
}

/// A ticket for a stream of this person, no longer valid than the token that it comes from.
pub(crate) fn create(app: &App, person: &Person) -> TicketView {
    let now = super::unix_seconds();
    let expires_at = now.saturating_add(LIFETIME_SECONDS).min(person.expires_at);
    let ticket = Ticket {
        user: person.id,
        issued_at: person.issued_at,
        token_expires_at: person.expires_at,
        expires_at,
    };
    TicketView {
        ticket: ticket.seal(&app.keys),
        expires_in: expires_at.saturating_sub(now),
    }
}
