//! The demo's login: a token for a name, without a password. Exists under `demo` alone.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::response::{IntoResponse, Response};
use crier_service_kit::problem::{Problem, ValidJson};
use serde::{Deserialize, Serialize};

use super::object::Object;
use super::words::word;
use crate::app::demo::{self, DemoUser};
use crate::state::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    #[serde(deserialize_with = "word")]
    user: DemoUser,
}

#[derive(Serialize)]
struct LoggedIn<'a> {
    token: &'a str,
    user_id: crier_domain::UserId,
    username: &'a str,
    expires_in: u64,
    gateways: &'a [String],
}

pub(super) async fn login(
    extract::State(state): extract::State<Arc<State>>,
    ValidJson(Object(login)): ValidJson<Object<Login>>,
) -> Result<Response, Problem> {
    let Some(demo) = &state.demo else {
        return Err(Problem::not_found("There is nothing at this path."));
    };
    let session = demo::login(&demo.signer, login.user)?;
    let body = LoggedIn {
        token: &session.token,
        user_id: session.user_id,
        username: session.username,
        expires_in: session.expires_in,
        gateways: &demo.gateways,
    };
    // For plain EventSource, which sends cookies and no header; the API itself never reads it.
    let cookie = format!(
        "crier_token={}; Max-Age={}; Path=/; HttpOnly; SameSite=Lax",
        session.token, session.expires_in
    );
    let headers = [(SET_COOKIE, cookie), (CACHE_CONTROL, "no-store".to_owned())];
    Ok((headers, Json(body)).into_response())
}
