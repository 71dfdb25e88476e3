//! Whether everything that was read fits into one order.
//!
//! Cursors are opaque, so a position is only a name. Whoever read one id after another says that the first stands
//! before the second; all clients together must not contradict each other, nor one itself.

use std::collections::BTreeMap;

/// What all readers say of which position stands before which.
#[derive(Debug, Default)]
pub(crate) struct Order<'a> {
    /// Position → those before it, each with who said so.
    before: BTreeMap<&'a str, BTreeMap<&'a str, &'a str>>,
    after: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Order<'a> {
    /// `who` read the one right after the other.
    pub(crate) fn add(&mut self, before: &'a str, after: &'a str, who: &'a str) {
        self.before.entry(before).or_default();
        let known = self.before.entry(after).or_default();
        if known.insert(before, who).is_none() {
            self.after.entry(before).or_default().push(after);
        }
    }

    /// Positions that stand before themselves, each with who read the one before it; empty if there are none.
    pub(crate) fn contradiction(&self) -> Vec<(&'a str, &'a str)> {
        let mut open: BTreeMap<&str, usize> = self
            .before
            .iter()
            .map(|(position, before)| (*position, before.len()))
            .collect();
        let mut free: Vec<&str> = open
            .iter()
            .filter(|(_, open)| **open == 0)
            .map(|(position, _)| *position)
            .collect();
        while let Some(position) = free.pop() {
            open.remove(position);
            for next in self.after.get(position).into_iter().flatten() {
                if let Some(left) = open.get_mut(next) {
                    *left -= 1;
                    if *left == 0 {
                        free.push(next);
                    }
                }
            }
        }
        // Each one left has one before it that is left too, so going back ends in a circle.
        let mut way: Vec<(&str, &str)> = Vec::new();
        let mut at = open.keys().next().copied();
        while let Some(position) = at {
            if let Some(from) = way.iter().position(|(seen, _)| *seen == position) {
                return way.split_off(from);
            }
            let mut before = self.before.get(position).into_iter().flatten();
            let step = before.find(|(before, _)| open.contains_key(*before));
            way.push((position, step.map_or("", |(_, who)| *who)));
            at = step.map(|(before, _)| *before);
        }
        Vec::new()
    }
}
