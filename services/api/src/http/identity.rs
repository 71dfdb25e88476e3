//! Who calls: the bearer token of a request, as a person known to Crier or as the application's own backend.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use crier_domain::UserId;
use crier_service_kit::auth::{Identity, TokenError, bearer};
use crier_service_kit::problem::Problem;

use super::describe::{Describe, Operation, Scheme};
use crate::app::access::Actor;
use crate::app::users::{self, Person};
use crate::state::State;

/// The person a request is from. Whoever takes this has an authenticated caller; there is no other way to one.
pub(super) struct Caller(pub(super) Person);

/// The application's own backend: a token of scope `service`. It is asked no permissions.
pub(super) struct Backend;

/// Either of the two, where both may call.
pub(super) enum Either {
    Person(Person),
    Backend,
}

impl Either {
    /// Who acts.
    pub(super) fn actor(&self) -> Actor {
        match self {
            Self::Person(person) => Actor::Person(person.id),
            Self::Backend => Actor::Backend,
        }
    }
}

impl FromRequestParts<Arc<State>> for Either {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or(TokenError::Missing)?;
        let claims = state
            .verifier
            .verify(token, SystemTime::now())
            .inspect_err(|error| tracing::debug!(%error, "a token was refused"))?;
        // Before anything is asked of the database: that is what the limits protect.
        let allowed = match &claims.identity {
            Identity::User { id, .. } => state.limits.user(*id, !parts.method.is_safe()),
            Identity::Service { subject } => {
                state.limits.service(subject.as_deref().unwrap_or(token))
            }
        };
        allowed.map_err(Problem::too_many)?;
        let Identity::User { id, username } = claims.identity else {
            return Ok(Self::Backend);
        };
        let id = UserId::try_from(id).map_err(|_| Problem::unauthorized())?;
        let person = Person {
            id,
            username,
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
        };
        users::recognise(&state.app, &person).await?;
        Ok(Self::Person(person))
    }
}

impl FromRequestParts<Arc<State>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Problem> {
        match Either::from_request_parts(parts, state).await? {
            Either::Person(person) => Ok(Self(person)),
            Either::Backend => Err(Problem::forbidden(
                "This call is for users; a service token stands for none.",
            )),
        }
    }
}

impl FromRequestParts<Arc<State>> for Backend {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Problem> {
        match Either::from_request_parts(parts, state).await? {
            Either::Backend => Ok(Self),
            Either::Person(_) => Err(Problem::forbidden(
                "This call is for the application's backend: a token of scope service.",
            )),
        }
    }
}

impl Describe for Caller {
    fn describe(operation: &mut Operation<'_>) {
        operation.needs_token(&[Scheme::User]);
    }
}

impl Describe for Backend {
    fn describe(operation: &mut Operation<'_>) {
        operation.needs_token(&[Scheme::Service]);
    }
}

impl Describe for Either {
    fn describe(operation: &mut Operation<'_>) {
        operation.needs_token(&[Scheme::User, Scheme::Service]);
    }
}
