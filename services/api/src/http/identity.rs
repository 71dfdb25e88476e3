//! Who calls: the bearer token of a request, as a person known to Crier.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use crier_domain::UserId;
use crier_service_kit::auth::{Identity, TokenError, bearer};
use crier_service_kit::problem::Problem;

use crate::app::users::{self, Person};
use crate::state::State;

/// The person a request is from. Whoever takes this has an authenticated caller; there is no other way to one.
pub(super) struct Caller(pub(super) Person);

impl FromRequestParts<Arc<State>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or(TokenError::Missing)?;
        let claims = state
            .verifier
            .verify(token, SystemTime::now())
            .inspect_err(|error| tracing::debug!(%error, "a token was refused"))?;
        let Identity::User { id, username } = claims.identity else {
            return Err(Problem::forbidden(
                "This call is for users; a service token stands for none.",
            ));
        };
        let id = UserId::try_from(id).map_err(|_| Problem::unauthorized())?;
        let person = Person {
            id,
            username,
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
        };
        users::recognise(&state.app, &person).await?;
        Ok(Self(person))
    }
}
