//! The events that writing causes.

use crier_domain::event::ClientEvent;
use crier_domain::{ArticleId, Audience, CommunityId, Event, EventId, UserId};
use crier_store::{Place, Tx};
use serde::Serialize;

use super::access::Access;
use super::error::AppError;
use super::view::Moment;

/// Where and by whom something happened.
pub(super) struct Origin {
    pub(super) community: CommunityId,
    pub(super) article: ArticleId,
    /// Does not get the event.
    pub(super) actor: UserId,
    pub(super) at: Moment,
}

impl Origin {
    pub(super) fn new(place: Place, actor: UserId, at: Moment) -> Self {
        Self {
            community: place.community_id,
            article: place.article_id,
            actor,
            at,
        }
    }
}

/// Tells the article's subscribers, the actor apart, with the transaction's commit. In a public community nobody.
///
/// # Errors
/// [`AppError::EventTooLarge`] if the log would not take it: found out here, while nothing is stored for good.
pub(super) async fn tell(
    tx: &Tx,
    access: Access,
    kind: &'static str,
    origin: &Origin,
    data: &impl Serialize,
) -> Result<(), AppError> {
    if access.has_events() {
        let event = for_subscribers(kind, origin, data)?;
        tx.outbox_event(&event).await?;
    }
    Ok(())
}

fn for_subscribers(
    kind: &'static str,
    origin: &Origin,
    data: &impl Serialize,
) -> Result<Event, AppError> {
    let id = EventId::new();
    let event = ClientEvent {
        event_id: id,
        kind,
        community_id: origin.community,
        article_id: Some(origin.article),
        timestamp: &origin.at.to_string(),
        data,
    };
    fitting(Event {
        id,
        community: origin.community,
        article: Some(origin.article),
        audience: Audience::Subscribers,
        exclude: Some(origin.actor),
        body: event.encode()?,
    })
}

/// The event, if the log takes it.
///
/// # Errors
/// [`AppError::EventTooLarge`]
pub(super) fn fitting(event: Event) -> Result<Event, AppError> {
    if event.fits() {
        Ok(event)
    } else {
        Err(AppError::EventTooLarge)
    }
}

#[cfg(test)]
mod tests {
    use crier_domain::event::MAX_EVENT_BYTES;

    use super::*;

    #[test]
    fn what_the_log_would_refuse_is_refused_before_it_is_stored() {
        let origin = Origin {
            community: CommunityId::try_from(1).unwrap(),
            article: ArticleId::try_from(2).unwrap(),
            actor: UserId::try_from(3).unwrap(),
            at: Moment(time::OffsetDateTime::UNIX_EPOCH),
        };
        let event = for_subscribers("new_comment", &origin, &"x".repeat(MAX_EVENT_BYTES - 1_000));
        assert!(event.is_ok());
        let event = for_subscribers("new_comment", &origin, &"x".repeat(MAX_EVENT_BYTES));
        assert!(matches!(event, Err(AppError::EventTooLarge)));
    }
}
