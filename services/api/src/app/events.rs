//! Events of an application beside Crier: any type, for whom it says, through the outbox like all others.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crier_domain::event::{ClientEvent, EventType, MAX_NAMED_USERS};
use crier_domain::{ArticleId, Audience, CommunityId, Event, EventId, UserId};
use crier_store::{CommunityKind, Hash, Locks, Reader};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::App;
use super::error::{AppError, Conflict, Rule, Thing};
use super::event::fitting;
use super::one_line::OneLine;
use super::view::Moment;

/// One thing that happened elsewhere. For the named users if some are, or else for the article's subscribers if it is
/// about one, or else for all members of the community.
///
/// What is written out of it is what its id stands for, so that the order of the fields is part of what is stored.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEvent {
    /// The same id is the same event for as long as the log holds it. Without one, every call is a new event.
    #[serde(skip_serializing)]
    id: Option<OutsideId>,
    #[serde(rename = "type")]
    kind: EventType,
    community_id: CommunityId,
    article_id: Option<ArticleId>,
    data: OneLine,
    /// Those of them who are members get it, and do not learn who else does.
    subscriber_ids: Option<Recipients>,
    /// Does not get it: who caused it.
    exclude_user_id: Option<UserId>,
}

/// An id that a caller gave. Never one that Crier makes: two messages of one id would be one to NATS, and a caller that
/// sends an event of Crier's back to it would hold up the log.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "EventId")]
pub(crate) struct OutsideId(EventId);

/// The id is one that Crier made.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "ids of version 8 are those that Crier makes; leave it out, or give a UUID of another version"
)]
pub(crate) struct OutsideIdError;

impl TryFrom<EventId> for OutsideId {
    type Error = OutsideIdError;
    fn try_from(id: EventId) -> Result<Self, OutsideIdError> {
        if id.is_made_here() {
            Err(OutsideIdError)
        } else {
            Ok(Self(id))
        }
    }
}

impl JsonSchema for OutsideId {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "OutsideId".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "format": "uuid", "pattern": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-79a-fA-F]",
        })
    }
}

/// Whom an event names: somebody, and not too many. Each once, in ascending order.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(try_from = "Vec<UserId>")]
pub(crate) struct Recipients(Vec<UserId>);

/// Too few or too many recipients.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("subscriber_ids names 1 to {MAX_NAMED_USERS} users")]
pub(crate) struct RecipientsError;

impl TryFrom<Vec<UserId>> for Recipients {
    type Error = RecipientsError;
    fn try_from(mut users: Vec<UserId>) -> Result<Self, RecipientsError> {
        if !(1..=MAX_NAMED_USERS).contains(&users.len()) {
            return Err(RecipientsError);
        }
        users.sort_unstable();
        users.dedup();
        Ok(Self(users))
    }
}

impl JsonSchema for Recipients {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Recipients".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array", "items": generator.subschema_for::<UserId>(),
            "minItems": 1, "maxItems": MAX_NAMED_USERS,
        })
    }
}

/// An event that is kept and will be sent.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EventView {
    id: EventId,
}

/// Publishes events, all of them or none, and gives their ids in the same order.
///
/// # Errors
/// [`AppError::InList`], with what is wrong with the first that is refused.
pub(crate) async fn publish(app: &App, new: &[NewEvent]) -> Result<Vec<EventView>, AppError> {
    let now = Moment(OffsetDateTime::now_utc()).to_string();
    let events = new.iter().enumerate();
    let events = events.map(|(index, new)| new.event(&now).map_err(|error| error.at(index)));
    let events: Vec<Event> = events.collect::<Result<_, _>>()?;
    let own = own_ids(new)?;

    let communities = events.iter().map(|event| event.community);
    let tx = app
        .begin(communities.fold(Locks::new(), Locks::shared))
        .await?;
    let ids: Vec<(EventId, Hash)> = own.iter().map(|(id, (_, hash))| (*id, *hash)).collect();
    let claimed = tx.claim_event_ids(&ids, app.retention).await?;
    let taken = claimed.others.iter().filter_map(|id| own.get(id));
    if let Some(index) = taken.map(|(index, _)| *index).min() {
        return Err(AppError::Conflict(Conflict::EventIdTaken).at(index));
    }
    // One that was told before, here or in another call, is kept already.
    let is_fresh = |index: usize, new: &NewEvent| match new.id {
        None => true,
        Some(OutsideId(id)) => {
            claimed.new.contains(&id) && own.get(&id).is_some_and(|(first, _)| *first == index)
        }
    };
    let indexed = new.iter().zip(&events).enumerate();
    let fresh: Vec<(usize, &Event)> = indexed
        .filter(|(index, (new, _))| is_fresh(*index, new))
        .map(|(index, (_, event))| (index, event))
        .collect();
    if !fresh.is_empty() {
        check_places(&tx, &fresh).await?;
        let fresh: Vec<&Event> = fresh.into_iter().map(|(_, event)| event).collect();
        tx.outbox_events(&fresh).await?;
        app.commit(tx).await?;
    }
    Ok(events
        .iter()
        .map(|event| EventView { id: event.id })
        .collect())
}

impl NewEvent {
    /// The event as the log takes it.
    fn event(&self, now: &str) -> Result<Event, AppError> {
        let id = self.id.map_or_else(EventId::new, |OutsideId(id)| id);
        let body = ClientEvent {
            event_id: id,
            kind: self.kind.as_str(),
            community_id: self.community_id,
            article_id: self.article_id,
            timestamp: now,
            data: &self.data,
        };
        let audience = match (&self.subscriber_ids, self.article_id) {
            (Some(Recipients(users)), _) => Audience::Users(users.clone()),
            (None, Some(_)) => Audience::Subscribers,
            (None, None) => Audience::Members,
        };
        fitting(Event {
            id,
            community: self.community_id,
            article: self.article_id,
            audience,
            exclude: self.exclude_user_id,
            body: body.encode()?,
        })
    }

    /// Of everything that is said, but not of how: neither white space nor the order of names makes another event.
    fn hash(&self) -> Result<Hash, AppError> {
        Ok(Sha256::digest(serde_json::to_vec(self)?).into())
    }
}

/// The ids that the caller gave, each with the first event that has it and that event's hash.
fn own_ids(new: &[NewEvent]) -> Result<BTreeMap<EventId, (usize, Hash)>, AppError> {
    let mut own = BTreeMap::new();
    for (index, event) in new.iter().enumerate() {
        let Some(OutsideId(id)) = event.id else {
            continue;
        };
        let hash = event.hash()?;
        let (_, first) = own.entry(id).or_insert((index, hash));
        if *first != hash {
            return Err(AppError::Conflict(Conflict::EventIdTaken).at(index));
        }
    }
    Ok(own)
}

/// Whether the events are where events can be.
async fn check_places(reader: &Reader, events: &[(usize, &Event)]) -> Result<(), AppError> {
    let communities: BTreeSet<CommunityId> =
        events.iter().map(|(_, event)| event.community).collect();
    let communities: Vec<CommunityId> = communities.into_iter().collect();
    let kinds = reader.community_kinds(&communities).await?;
    let place = |event: &Event| event.article.map(|article| (event.community, article));
    let places: BTreeSet<_> = events
        .iter()
        .filter_map(|(_, event)| place(event))
        .collect();
    let submitted = if places.is_empty() {
        BTreeSet::new()
    } else {
        reader.submitted(&places).await?
    };
    for (index, event) in events {
        let is_there = place(event).is_none_or(|place| submitted.contains(&place));
        let refusal = match kinds.get(&event.community) {
            None => AppError::NoSuch(Thing::Community),
            Some(CommunityKind::Public) => AppError::Rule(Rule::NoEvents),
            Some(_) if !is_there => AppError::Rule(Rule::ArticleElsewhere),
            Some(_) => continue,
        };
        return Err(refusal.at(*index));
    }
    Ok(())
}
