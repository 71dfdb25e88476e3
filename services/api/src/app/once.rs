//! Calls that may be repeated (draft-ietf-httpapi-idempotency-key-header): what a call with a key makes is made once,
//! however often the call comes, and each of them gets the same answer.
//!
//! The key is claimed in the transaction that makes the thing. So both are true or neither is: a call that failed
//! leaves its key free, and of many at once one makes it while the others wait for its answer.

use std::borrow::Cow;
use std::time::Duration;

use crier_domain::UserId;
use crier_store::{Claim, Hash, Tx};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::value::RawValue;

use super::App;
use super::error::AppError;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The key that a call came with, and what was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// As the caller chose it.
    pub(crate) text: String,
    /// Of the whole request: a key is for one.
    pub(crate) request: Hash,
}

/// What a call that makes something is answered with.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer<T> {
    /// This call made it.
    New(T),
    /// An earlier call with the same key did: its answer, to the letter.
    Again(Box<RawValue>),
}

impl<T> Answer<T> {
    /// What this call made.
    pub(crate) fn made(self) -> Option<T> {
        match self {
            Self::New(made) => Some(made),
            Self::Again(_) => None,
        }
    }
}

impl App {
    /// Does this work in the transaction and commits it; if a call of the same caller with the same key has done it,
    /// changes nothing and gives that call's answer. Whether the caller may do it has been asked in the transaction.
    ///
    /// # Errors
    /// [`AppError::KeyReused`], and what the work fails with: then nothing is changed, and the key is free.
    pub(super) async fn once<T: Serialize>(
        &self,
        tx: Tx,
        caller: UserId,
        key: Option<&Key>,
        work: impl AsyncFnOnce(&Tx) -> Result<T, AppError>,
    ) -> Result<Answer<T>, AppError> {
        if let Some(key) = key {
            let claim = tx.claim_key(caller, &key.text, &key.request, KEPT);
            match claim.await? {
                Claim::New => {}
                Claim::Again(answer) => return Ok(Answer::Again(serde_json::from_slice(&answer)?)),
                Claim::OtherRequest => return Err(AppError::KeyReused),
            }
        }
        let made = work(&tx).await?;
        if let Some(key) = key {
            let answer = serde_json::to_vec(&made)?;
            tx.keep_answer(caller, &key.text, &answer).await?;
        }
        self.commit(tx).await?;
        Ok(Answer::New(made))
    }
}

impl<T: JsonSchema> JsonSchema for Answer<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
