//! What came and went between two snapshots.
//!
//! **The entry is the unit.** A community is one entry of a snapshot, and so is each article followed in
//! it; every entry that came or went makes one `subscribed` or `unsubscribed`. A client that keeps a set
//! of entries and applies the frames one by one has what the snapshot has. Entries go from the inside
//! out (articles, then their community) and come from the outside in, so that no article ever stands
//! outside its community. An entry whose fence moved was left and joined again in between: it does both.

use crier_domain::{ArticleId, CommunityId, Snapshot};

/// One entry of a snapshot: a community, or an article followed in it.
pub(crate) type Entry = (CommunityId, Option<ArticleId>);

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// In the order in which they are told.
    pub(crate) went: Vec<Entry>,
    /// In the order in which they are told, after all that went.
    pub(crate) came: Vec<Entry>,
}

impl Changes {
    pub(crate) fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let mut went = missing(old, new);
        went.reverse();
        Self {
            went,
            came: missing(new, old),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.went.is_empty() && self.came.is_empty()
    }
}

/// The entries of `these` that `those` don't have with the same fence.
fn missing(these: &Snapshot, those: &Snapshot) -> Vec<Entry> {
    let mut missing = Vec::new();
    for (community, here) in &these.communities {
        let there = those.communities.get(community);
        if there.is_none_or(|there| there.since != here.since) {
            missing.push((*community, None));
        }
        for (article, fence) in &here.articles {
            if there.and_then(|there| there.articles.get(article)) != Some(fence) {
                missing.push((*community, Some(*article)));
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_that_came_or_went_is_told_once() {
        const NONE: &str = "{}";
        const ONE: &str = r#"{"45":{"since":9,"articles":{"1":10,"2":10}}}"#;
        let cases: &[(&str, &str, &str, &str, &str)] = &[
            ("nothing", ONE, ONE, "", ""),
            ("all came", NONE, ONE, "", "45 45/1 45/2"),
            ("all went", ONE, NONE, "45/2 45/1 45", ""),
            (
                "an article went",
                ONE,
                r#"{"45":{"since":9,"articles":{"2":10}}}"#,
                "45/1",
                "",
            ),
            (
                "an article's fence moved",
                ONE,
                r#"{"45":{"since":9,"articles":{"1":11,"2":10}}}"#,
                "45/1",
                "45/1",
            ),
            (
                "the community's fence moved",
                ONE,
                r#"{"45":{"since":12,"articles":{"1":13}}}"#,
                "45/2 45/1 45",
                "45 45/1",
            ),
            (
                "another",
                r#"{"44":{"since":1,"articles":{}}}"#,
                r#"{"45":{"since":1,"articles":{}}}"#,
                "44",
                "45",
            ),
        ];
        let read = |text: &str| {
            let text = format!(r#"{{"not_before":0,"communities":{text}}}"#);
            Snapshot::decode(text.as_bytes()).unwrap()
        };
        let show = |entries: &[Entry]| {
            let show = |(community, article): &Entry| match article {
                None => community.to_string(),
                Some(article) => format!("{community}/{article}"),
            };
            entries.iter().map(show).collect::<Vec<_>>().join(" ")
        };
        for (what, old, new, went, came) in cases {
            let changes = Changes::between(&read(old), &read(new));
            assert_eq!(
                (show(&changes.went).as_str(), show(&changes.came).as_str()),
                (*went, *came),
                "{what}"
            );
        }
    }
}
