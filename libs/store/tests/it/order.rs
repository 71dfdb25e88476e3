//! Outbox ids tell what came first: of two rows of a community, one of them written under its exclusive lock, the one
//! with the smaller id is never seen after the other.

use std::collections::HashMap;
use std::time::Duration;

use crier_domain::Audience;
use crier_store::{CommunityKind, Locks, Store};
use rand::RngExt;

use crate::harness::{self, event, id, on_both, users};

const WRITERS: usize = 8;
const EACH: usize = 30;

on_both! {
    async fn no_smaller_id_appears_after_a_larger_one(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        let busy = harness::community(&store, id(1), CommunityKind::Private).await;
        let other = harness::community(&store, id(1), CommunityKind::Private).await;
        let raw = db.raw().await;
        let before = raw.number("SELECT COUNT(*) FROM outbox").await;
        let second = db.open().await;
        let writers: Vec<_> = (0..WRITERS)
            .map(|n| {
                let store = if n % 2 == 0 { store.clone() } else { second.clone() };
                tokio::spawn(write(store, [busy, other]))
            })
            .collect();
        let mut seen: HashMap<i64, (i64, String)> = HashMap::new();
        let total = usize::try_from(before).unwrap() + WRITERS * EACH;
        let started = std::time::Instant::now();
        let mut count = 0;
        while count < total {
            assert!(started.elapsed() < Duration::from_secs(120), "the writers are stuck");
            let rows = raw.rows("SELECT id, COALESCE(community_id, 0) AS c, COALESCE(audience, '') AS a FROM outbox ORDER BY id").await;
            count = rows.len();
            let fresh: Vec<(i64, (i64, String))> = rows
                .iter()
                .map(|row| (row.try_get("", "id").unwrap(), (row.try_get("", "c").unwrap(), row.try_get("", "a").unwrap())))
                .filter(|(id, _)| !seen.contains_key(id))
                .collect();
            for (id, (community, mode)) in &fresh {
                for (earlier, (its_community, its_mode)) in &seen {
                    let ordered = community == its_community && (mode == "members" || its_mode == "members");
                    assert!(!ordered || earlier < id, "row {id} appeared after row {earlier}");
                }
            }
            seen.extend(fresh);
        }
        for writer in writers {
            writer.await.unwrap();
        }
    }
}

/// Events of audience `members` under the exclusive lock, of audience `subscribers` under the shared one.
async fn write(store: Store, communities: [crier_domain::CommunityId; 2]) {
    for _ in 0..EACH {
        let (community, exclusive, both, pause) = {
            let mut rng = rand::rng();
            (
                communities[usize::from(rng.random_ratio(1, 5))],
                rng.random_ratio(1, 2),
                rng.random_ratio(1, 4),
                rng.random_range(0..4),
            )
        };
        let mut locks = Locks::new();
        if both {
            locks = locks.shared(communities[1]).shared(communities[0]);
        }
        locks = if exclusive {
            locks.exclusive(community)
        } else {
            locks.shared(community)
        };
        let tx = store.begin(locks, None).await.unwrap();
        let mut event = event(community);
        if !exclusive {
            event.audience = Audience::Subscribers;
        }
        tx.outbox_event(&event).await.unwrap();
        // Long enough for others to overtake, were they not held back.
        tokio::time::sleep(Duration::from_millis(pause)).await;
        tx.commit().await.unwrap();
    }
}
