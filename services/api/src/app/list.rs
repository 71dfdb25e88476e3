//! Lists: their pages, and the position from which a stream continues them.

use crier_domain::{Cursor, Keys};
use crier_store::Position;

/// The most entries of one page, which is also how many there are unless the caller asks for fewer.
pub(crate) const MAX_LIMIT: u32 = 200;

/// The relay's position as clients carry it: who fetches a list and streams from there misses nothing.
pub(super) fn last_event_id(position: Option<Position>, keys: &Keys) -> Option<String> {
    position.map(|Position { epoch, seq }| Cursor { epoch, seq }.seal(keys))
}
