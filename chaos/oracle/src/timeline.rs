//! What led to a verdict, for people.

use std::fmt::Write as _;

use crate::calls::{Meaning, Places, key};
use crate::journal::{Call, Caller, Client, Journal, Micros};
use crate::judge::Verdict;

/// How much before and after a verdict's moment is told of what is many.
const AROUND: Micros = 3_000_000;

/// Longer texts are cut.
const WIDTH: usize = 200;

/// Everything in the journal that has to do with a verdict, by time: faults, the client's connections, changes of the
/// community, calls for the event, and what the client read around the moment.
#[must_use]
pub fn timeline(journal: &Journal, verdict: &Verdict) -> String {
    let mut lines: Vec<(Micros, String)> = Vec::new();
    for fault in &journal.faults {
        let until = fault.ended.map_or_else(|| "the end".to_owned(), seconds);
        lines.push((
            fault.begun,
            format!("FAULT   {} until {until}: {}", fault.kind, fault.detail),
        ));
    }
    tell_calls(journal, verdict, &mut lines);
    let named = journal
        .clients
        .iter()
        .filter(|client| client.name == verdict.client);
    for client in named {
        tell_client(client, verdict, &mut lines);
    }
    lines.push((
        verdict.at,
        format!("VERDICT {:?}: {}", verdict.wrong, verdict.why),
    ));
    lines.sort_by_key(|(at, _)| *at);
    let mut text = format!(
        "{:?}: {} (client {}, user {}, community {:?}) at {}\n",
        verdict.wrong,
        verdict.event.as_deref().unwrap_or("-"),
        verdict.client,
        verdict.user,
        verdict.community,
        seconds(verdict.at),
    );
    for (at, line) in lines {
        let cut: String = line.chars().take(WIDTH).collect();
        let _ = writeln!(text, "  {:>12}  {cut}", seconds(at));
    }
    text
}

fn tell_calls(journal: &Journal, verdict: &Verdict, lines: &mut Vec<(Micros, String)>) {
    let mut calls: Vec<&Call> = journal.calls.iter().collect();
    calls.sort_by_key(|call| call.begun);
    let mut places = Places::default();
    for call in &calls {
        places.learn(call);
    }
    for call in calls {
        let told = match places.meaning(call) {
            Some(Meaning::Event { key, .. }) => Some(&key) == verdict.event.as_ref(),
            Some(Meaning::Change { community, .. }) => Some(community) == verdict.community,
            None => false,
        };
        if told {
            lines.push((call.begun, call_line(call)));
        }
    }
}

fn call_line(call: &Call) -> String {
    let who = match call.who {
        Caller::User(user) => format!("user {user}"),
        Caller::Service => "the backend".to_owned(),
    };
    let answer = match (call.status, call.answered) {
        (Some(status), Some(at)) => format!("{status} at {}", seconds(at)),
        _ => "no answer".to_owned(),
    };
    format!(
        "CALL    {who}: {} {} → {answer} {}",
        call.method, call.path, call.body
    )
}

fn tell_client(client: &Client, verdict: &Verdict, lines: &mut Vec<(Micros, String)>) {
    for connection in &client.connections {
        let from = connection.last_event_id.as_deref().unwrap_or("no cursor");
        let status = connection
            .status
            .map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        lines.push((
            connection.begun,
            format!("CONNECT {} from {from} → {status}", connection.gateway),
        ));
        for frame in &connection.frames {
            let data = frame.data.as_deref().unwrap_or_default();
            let named = key(data).map(|(key, _)| key);
            let is_near = frame.at.abs_diff(verdict.at) <= AROUND;
            let is_it = named.is_some() && named == verdict.event;
            if is_it || is_near || frame.event.is_some() {
                let what = frame
                    .event
                    .clone()
                    .or(named)
                    .unwrap_or_else(|| "position".to_owned());
                let id = frame.id.as_deref().unwrap_or("-");
                lines.push((frame.at, format!("READ    {what} id {id} {data}")));
            }
        }
        if let Some(ended) = connection.ended {
            lines.push((ended, format!("END     {}", connection.end)));
        }
    }
}

fn seconds(at: Micros) -> String {
    format!("{}.{:06} s", at / 1_000_000, at % 1_000_000)
}
