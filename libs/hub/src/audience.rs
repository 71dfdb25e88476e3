//! Connected users in the order of their places.

use crate::index::Listener;
use crate::users::Place;

/// So many lie in a row: six kilobytes, so that one who comes or goes moves no more than these.
const IN_A_ROW: usize = 256;

/// Connected users with their places, in the order of these: as they came, until some have left and others have their
/// places. What each delivery touches lies in memory in about that order, the kernel's sockets too, and a processor fetches
/// ahead what lies in a row. So do these themselves: the nodes of a tree, each fetched only when the one before is read,
/// took more than all else that finds an event's recipients.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    /// None is empty, and all that is in one comes before all that is in the next.
    rows: Vec<Vec<(Place, Listener)>>,
}

impl Audience {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Place, Listener)> {
        self.rows.iter().flatten()
    }

    pub(crate) fn get(&self, place: Place) -> Option<&Listener> {
        let row = self.rows.get(self.row_of(place))?;
        let at = search(row, place).ok()?;
        row.get(at).map(|(_, listener)| listener)
    }

    /// Whether nobody was in this place.
    pub(crate) fn insert(&mut self, place: Place, listener: Listener) -> bool {
        let number = self.row_of(place);
        let is_last = number + 1 >= self.rows.len();
        let Some(row) = self.rows.get_mut(number) else {
            self.rows.push(vec![(place, listener)]);
            return true;
        };
        match search(row, place) {
            Ok(at) => {
                if let Some(known) = row.get_mut(at) {
                    known.1 = listener;
                }
                false
            }
            Err(at) if row.len() < IN_A_ROW => {
                row.insert(at, (place, listener));
                true
            }
            // Whoever comes behind all others is followed by more, who then fill a row of their own.
            Err(IN_A_ROW) if is_last => {
                self.rows.push(vec![(place, listener)]);
                true
            }
            Err(_) => {
                let rest = row.split_off(IN_A_ROW / 2);
                self.rows.insert(number + 1, rest);
                self.insert(place, listener)
            }
        }
    }

    /// Whether somebody was in this place.
    pub(crate) fn remove(&mut self, place: Place) -> bool {
        let number = self.row_of(place);
        let Some(row) = self.rows.get_mut(number) else {
            return false;
        };
        let Ok(at) = search(row, place) else {
            return false;
        };
        row.remove(at);
        if row.is_empty() {
            self.rows.remove(number);
        }
        true
    }

    /// The row in which the place is, or would be.
    fn row_of(&self, place: Place) -> usize {
        let behind =
            |row: &Vec<(Place, Listener)>| row.first().is_some_and(|first| first.0 <= place);
        self.rows.partition_point(behind).saturating_sub(1)
    }
}

fn search(row: &[(Place, Listener)], place: Place) -> Result<usize, usize> {
    row.binary_search_by_key(&place, |(known, _)| *known)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crier_domain::{OutboxId, UserId};
    use proptest::prelude::*;

    use super::*;

    fn listener(since: i64) -> Listener {
        Listener {
            since: OutboxId(since),
            user: UserId::try_from(7).unwrap(),
        }
    }

    proptest! {
        /// Any coming and going, and all coming in order first.
        #[test]
        fn it_is_a_sorted_map(
            in_order in 0..1_000_u32,
            steps in prop::collection::vec((0..1_200_u32, prop::option::of(0..100_i64)), 0..2_000),
        ) {
            let mut audience = Audience::default();
            let mut expected = BTreeMap::new();
            let begin = (0..in_order).map(|place| (place, Some(0)));
            for (place, since) in begin.chain(steps) {
                let place = Place(place);
                match since {
                    Some(since) => {
                        let is_new = expected.insert(place, listener(since)).is_none();
                        prop_assert_eq!(audience.insert(place, listener(since)), is_new);
                    }
                    None => {
                        let was_there = expected.remove(&place).is_some();
                        prop_assert_eq!(audience.remove(place), was_there);
                    }
                }
                prop_assert_eq!(audience.get(place), expected.get(&place));
            }
            let all = expected.iter().map(|(place, listener)| (*place, *listener));
            prop_assert!(audience.iter().copied().eq(all));
            prop_assert_eq!(audience.is_empty(), expected.is_empty());
            let bound = 1..=IN_A_ROW;
            prop_assert!(audience.rows.iter().all(|row| bound.contains(&row.len())));
        }
    }

    #[test]
    fn those_who_come_in_order_fill_their_rows() {
        let mut audience = Audience::default();
        for place in 0..1_000 {
            audience.insert(Place(place), listener(0));
        }
        assert_eq!(audience.rows.len(), 1_000_usize.div_ceil(IN_A_ROW));
    }

    #[test]
    fn those_who_come_in_falling_order_fill_half_of_theirs() {
        let mut audience = Audience::default();
        // The places of those who left in order are given in the other.
        for place in (0..256).chain((256..1_256).rev()) {
            audience.insert(Place(place), listener(0));
        }
        assert!(audience.rows.len() <= 1_256_usize.div_ceil(IN_A_ROW / 2));
    }
}
