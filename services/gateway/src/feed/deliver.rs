//! Frames to the streams they are for: queued in order here, written here or beside this task.

use std::time::Duration;

use bytes::Bytes;
use crier_domain::log::EventHead;
use crier_domain::sabotage;
use crier_hub::{ByeReason, ConnectionId};
use crier_service_kit::telemetry;

use super::Turn;
use crate::outlet::{Due, Outlet, Refused};

/// Streams that are written by the feed itself, when there are no more.
const WRITTEN_HERE: usize = 16;

/// Streams that are written in a row by another task when there are more: about a millisecond of work.
const WRITTEN_AT_ONCE: usize = 128;

/// A frame of at most so many bytes is copied for each such part.
const COPIED: usize = 4 * 1024;

impl Turn {
    /// Many streams are delivered to in parts, each written by a task of its own while the next is queued. Each part has
    /// its own copy of a small frame: one and the same would go back and forth between processors that count its owners.
    pub(super) fn deliver(&mut self, connections: &[ConnectionId], frame: &Bytes) {
        for part in connections.chunks(WRITTEN_AT_ONCE) {
            self.streams.glance(part);
            let frame = if frame.len() <= COPIED {
                Bytes::copy_from_slice(frame)
            } else {
                frame.clone()
            };
            for connection in part {
                let had_room = self.send(*connection, frame.clone());
                if !had_room && sabotage::makes("slow-client-costs-others") {
                    return;
                }
            }
            if self.due.len() >= WRITTEN_AT_ONCE {
                self.hand_out();
            }
        }
    }

    /// Whether there was room for the frame, or nobody who needs it.
    pub(super) fn send(&mut self, connection: ConnectionId, frame: Bytes) -> bool {
        let Some(outlet) = self.streams.outlet(connection) else {
            return true;
        };
        match outlet.push(frame) {
            Ok(due) => {
                self.due.extend(due);
                return true;
            }
            Err(Refused::Full) if sabotage::makes("slow-client-skipped") => {}
            Err(Refused::Full) => self.close(connection, ByeReason::Slow),
            Err(Refused::Gone) => {
                self.closed(connection);
                return true;
            }
        }
        false
    }

    /// The frame that says why a stream ends, if there is room for it.
    pub(super) fn push_last(&mut self, outlet: &Outlet, frame: Bytes) {
        self.due.extend(outlet.push(frame).ok().flatten());
    }

    /// Has the frames written that were queued in this turn. When they are for many streams, that is done in parts, beside
    /// this task and each other; what is queued for a stream meanwhile goes along.
    pub(super) fn hand_out(&mut self) {
        if self.due.len() <= WRITTEN_HERE {
            Due::write_all(self.due.drain(..));
        }
        while !self.due.is_empty() {
            let rest = self.due.len().saturating_sub(WRITTEN_AT_ONCE);
            let part = self.due.split_off(rest);
            tokio::spawn(async move { Due::write_all(part) });
            self.handed_on = true;
        }
    }
}

/// One span per event and gateway: the end of the trace that began with the request. `held` is how long the
/// hub had the event's place in the order before it could deliver it.
pub(super) fn span(
    event: &EventHead,
    connections: usize,
    seq: u64,
    held: Duration,
) -> tracing::Span {
    let span = tracing::info_span!(
        "gateway.deliver",
        crier.event_id = %event.id,
        crier.community_id = %event.community,
        crier.seq = seq,
        crier.connections = connections,
        crier.held_us = u64::try_from(held.as_micros()).unwrap_or(u64::MAX),
    );
    if let Some(traceparent) = &event.traceparent {
        telemetry::set_remote_parent(&span, traceparent);
    }
    span
}
