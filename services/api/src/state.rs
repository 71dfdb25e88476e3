//! What every request may reach.

use std::sync::Arc;

use crier_service_kit::auth::{Signer, Verifier};

use crate::app::App;
use crate::limits::Limits;

/// Shared by all requests of one API service.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) app: App,
    /// Says whose a token is.
    pub(crate) verifier: Verifier,
    /// How often each may call.
    pub(crate) limits: Arc<Limits>,
    /// Whatever exists in a demo alone; none otherwise.
    pub(crate) demo: Option<Demo>,
}

/// What a demo adds.
#[derive(Debug)]
pub(crate) struct Demo {
    /// Makes tokens for whoever asks.
    pub(crate) signer: Signer,
    /// The gateways that the page offers, as URLs.
    pub(crate) gateways: Vec<String>,
}
