//! The frames that wait for one socket, in order.

use std::collections::VecDeque;

use bytes::Bytes;

/// Most streams never have more than one frame waiting, and that one stands here and not in a buffer of its own.
#[derive(Default)]
pub(super) struct Waiting {
    /// None if nothing waits.
    first: Option<Bytes>,
    more: VecDeque<Bytes>,
}

/// Room that is kept while no more wait.
const ROOM: usize = 4;

impl Waiting {
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn push_back(&mut self, frame: Bytes) {
        if self.first.is_none() {
            self.first = Some(frame);
        } else {
            self.more.push_back(frame);
        }
    }

    pub(super) fn push_front(&mut self, frame: Bytes) {
        if let Some(second) = self.first.replace(frame) {
            self.more.push_front(second);
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<Bytes> {
        let frame = self.first.take()?;
        self.first = self.more.pop_front();
        if self.more.is_empty() && self.more.capacity() > ROOM {
            self.more = VecDeque::new();
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_in_order_from_whichever_end_they_came() {
        let frame = |number: u8| Bytes::from(vec![number]);
        let mut waiting = Waiting::default();
        for number in 2..40 {
            waiting.push_back(frame(number));
        }
        waiting.push_front(frame(1));
        waiting.push_front(frame(0));
        assert_eq!(waiting.len(), 40);
        for number in 0..40 {
            assert!(!waiting.is_empty());
            assert_eq!(waiting.pop_front(), Some(frame(number)));
        }
        assert_eq!((waiting.pop_front(), waiting.len()), (None, 0));
        assert!(
            waiting.more.capacity() <= ROOM,
            "what was needed once is given back"
        );
        waiting.push_front(frame(9));
        assert_eq!(waiting.pop_front(), Some(frame(9)));
    }
}
