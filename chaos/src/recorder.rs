//! Writes the journal, by one clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crier_oracle::journal::{Call, Caller, Client, Connection, Fault, Frame, Journal, Micros};
use crier_testkit::Frame as Block;
use serde_json::Value;

/// The journal of a run. Clones write into the same.
#[derive(Clone)]
pub(crate) struct Recorder {
    begun: Instant,
    journal: Arc<Mutex<Journal>>,
}

/// A call in the journal.
#[derive(Clone, Copy)]
pub(crate) struct CallNumber(usize);

/// A client in the journal.
#[derive(Clone, Copy)]
pub(crate) struct ClientNumber(usize);

/// A fault in the journal.
#[derive(Clone, Copy)]
pub(crate) struct FaultNumber(usize);

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            journal: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> Micros {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A call begins. It stands in the journal from now on, whatever becomes of it.
    pub(crate) fn call(&self, who: Caller, method: &str, path: &str, body: &Value) -> CallNumber {
        let begun = self.now();
        let mut journal = self.journal();
        journal.calls.push(Call {
            who,
            method: method.to_owned(),
            path: path.to_owned(),
            body: body.clone(),
            begun,
            answered: None,
            status: None,
            answer: Value::Null,
        });
        CallNumber(journal.calls.len() - 1)
    }

    pub(crate) fn answered(&self, call: CallNumber, status: u16, answer: &Value) {
        let now = self.now();
        if let Some(call) = self.journal().calls.get_mut(call.0) {
            call.answered = Some(now);
            call.status = Some(status);
            call.answer = answer.clone();
        }
    }

    pub(crate) fn client(&self, client: Client) -> ClientNumber {
        let mut journal = self.journal();
        journal.clients.push(client);
        ClientNumber(journal.clients.len() - 1)
    }

    pub(crate) fn connect(&self, client: ClientNumber, gateway: &str, last_event_id: Option<&str>) {
        let begun = self.now();
        if let Some(client) = self.journal().clients.get_mut(client.0) {
            client.connections.push(Connection {
                gateway: gateway.to_owned(),
                begun,
                last_event_id: last_event_id.map(str::to_owned),
                ..Connection::default()
            });
        }
    }

    pub(crate) fn status(&self, client: ClientNumber, status: u16) {
        self.on_connection(client, |connection| connection.status = Some(status));
    }

    pub(crate) fn frame(&self, client: ClientNumber, block: &Block) {
        let at = self.now();
        self.on_connection(client, |connection| {
            connection.frames.push(Frame {
                at,
                id: block.id.clone(),
                event: block.event.clone(),
                data: block.data.clone(),
            });
        });
    }

    pub(crate) fn end(&self, client: ClientNumber, why: &str) {
        let now = self.now();
        self.on_connection(client, |connection| {
            connection.ended = Some(now);
            why.clone_into(&mut connection.end);
        });
    }

    pub(crate) fn fault(&self, kind: &str, log_lost: bool, detail: String) -> FaultNumber {
        let begun = self.now();
        let mut journal = self.journal();
        journal.faults.push(Fault {
            kind: kind.to_owned(),
            begun,
            ended: None,
            log_lost,
            detail,
        });
        FaultNumber(journal.faults.len() - 1)
    }

    pub(crate) fn mended(&self, fault: FaultNumber) {
        let now = self.now();
        if let Some(fault) = self.journal().faults.get_mut(fault.0) {
            fault.ended = Some(now);
        }
    }

    /// As it stands now.
    pub(crate) fn journal_now(&self) -> Journal {
        self.journal().clone()
    }

    fn on_connection(&self, client: ClientNumber, change: impl FnOnce(&mut Connection)) {
        let mut journal = self.journal();
        let client = journal.clients.get_mut(client.0);
        if let Some(connection) = client.and_then(|client| client.connections.last_mut()) {
            change(connection);
        }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
