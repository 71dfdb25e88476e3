//! Communities.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use crier_domain::{CommunityArticleId, CommunityId};
use crier_service_kit::problem::{Problem, ValidJson, ValidPath, ValidQuery};
use crier_store::CommunityKind;
use crier_store::mirror::CommunityLine;
use schemars::JsonSchema;
use serde::Deserialize;

use super::answers::{Created, Ensured};
use super::identity::{Caller, Either};
use super::object::{Object, given, nothing_given, without_default};
use super::once::Once;
use super::paging::Listing;
use super::words::{given_word, word};
use crate::app::communities::{self, CommunitiesView, CommunityPageView};
use crate::app::mirror;
use crate::app::once::Answer;
use crate::app::text::Name;
use crate::app::view::CommunityView;
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCommunity {
    name: Name,
    #[serde(rename = "type", deserialize_with = "word")]
    kind: CommunityKind,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(super) struct CommunityChange {
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Name")]
    name: Option<Name>,
    #[serde(default, rename = "type", deserialize_with = "given_word")]
    #[schemars(with = "CommunityKind", transform = without_default)]
    kind: Option<CommunityKind>,
}

pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    Once(key, ValidJson(Object(new))): Once<ValidJson<Object<NewCommunity>>>,
) -> Result<Created<Answer<CommunityView>>, Problem> {
    let key = key.as_ref();
    let community = communities::create(&state.app, caller.id, &new.name, new.kind, key).await?;
    Ok(Created(community))
}

pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidQuery(listing): ValidQuery<Listing<CommunityId>>,
) -> Result<Json<CommunitiesView>, Problem> {
    let page = listing.page()?;
    Ok(Json(communities::list(&state.app, caller.id, page).await?))
}

pub(super) async fn get(
    extract::State(state): extract::State<Arc<State>>,
    Caller(caller): Caller,
    ValidPath(id): ValidPath<CommunityId>,
    ValidQuery(listing): ValidQuery<Listing<CommunityArticleId>>,
) -> Result<Json<CommunityPageView>, Problem> {
    let page = listing.page()?;
    let community = communities::get(&state.app, caller.id, id, page).await?;
    Ok(Json(community))
}

/// A person changes what they name; the backend names all of it, for the community may be new.
pub(super) async fn put(
    extract::State(state): extract::State<Arc<State>>,
    caller: Either,
    ValidPath(id): ValidPath<CommunityId>,
    ValidJson(Object(change)): ValidJson<Object<CommunityChange>>,
) -> Result<Ensured<CommunityView>, Problem> {
    let (is_new, value) = match (caller, change) {
        (
            _,
            CommunityChange {
                name: None,
                kind: None,
            },
        ) => {
            return Err(nothing_given("name, type"));
        }
        (Either::Person(person), CommunityChange { name, kind }) => {
            let name = name.as_ref();
            let changed = communities::update(&state.app, person.id, id, name, kind).await?;
            (false, changed)
        }
        (
            Either::Backend,
            CommunityChange {
                name: Some(name),
                kind: Some(kind),
            },
        ) => {
            let name = name.into();
            mirror::community(&state.app, CommunityLine { id, name, kind }).await?
        }
        (Either::Backend, _) => {
            let detail = "The body does not fit: the backend gives both name and type.";
            return Err(Problem::invalid(detail));
        }
    };
    Ok(Ensured { is_new, value })
}
