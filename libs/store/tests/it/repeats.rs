//! Calls that come again, and events from outside: claimed once, kept for a time, in the order they were given in.

use std::collections::BTreeSet;
use std::time::Duration;

use crier_domain::{Audience, CommunityId, Event, EventId};
use crier_store::{Claim, CommunityKind, Hash, Locks, Store, StoreError};
use crier_testkit::wait_for;

use crate::harness::{self, id, on_both, published, users};

const HOUR: Duration = Duration::from_secs(3600);
const ONE: Hash = [1; 32];
const OTHER: Hash = [0xfe; 32];

/// Claims a key of user 1 and, if it is new, keeps this answer.
async fn call(store: &Store, key: &str, request: Hash, keep: Duration, answer: &str) -> Claim {
    let tx = store.begin(Locks::new(), None).await.unwrap();
    let claim = tx.claim_key(id(1), key, &request, keep).await.unwrap();
    if claim == Claim::New {
        tx.keep_answer(id(1), key, answer.as_bytes()).await.unwrap();
        tx.commit().await.unwrap();
    }
    claim
}

/// Claims ids, and gives those that were new and those that are others'.
async fn claim(
    store: &Store,
    ids: &[(EventId, Hash)],
    keep: Duration,
) -> (BTreeSet<EventId>, BTreeSet<EventId>) {
    let tx = store.begin(Locks::new(), None).await.unwrap();
    let claimed = tx.claim_event_ids(ids, keep).await.unwrap();
    tx.commit().await.unwrap();
    (claimed.new, claimed.others)
}

fn event(community: CommunityId, audience: Audience, body: &str) -> Event {
    Event {
        audience,
        body: body.to_owned().into(),
        ..harness::event(community)
    }
}

on_both! {
    async fn a_key_is_claimed_once_by_each_caller(db: &TestDb) {
        let store = db.store().await;
        assert_eq!(call(&store, "k", ONE, HOUR, "first").await, Claim::New);
        assert_eq!(call(&store, "k", ONE, HOUR, "second").await, Claim::Again(b"first".to_vec()));
        assert_eq!(call(&store, "k", OTHER, HOUR, "third").await, Claim::OtherRequest);
        assert_eq!(call(&store, "K", ONE, HOUR, "fourth").await, Claim::New);
        let tx = store.begin(Locks::new(), None).await.unwrap();
        assert_eq!(tx.claim_key(id(2), "k", &ONE, HOUR).await.unwrap(), Claim::New);
    }

    async fn a_key_of_a_call_that_failed_is_free(db: &TestDb) {
        let store = db.store().await;
        let tx = store.begin(Locks::new(), None).await.unwrap();
        assert_eq!(tx.claim_key(id(1), "k", &ONE, HOUR).await.unwrap(), Claim::New);
        drop(tx);
        assert_eq!(call(&store, "k", OTHER, HOUR, "done").await, Claim::New);
    }

    async fn a_key_that_expired_is_free(db: &TestDb) {
        let store = db.store().await;
        assert_eq!(call(&store, "k", ONE, Duration::ZERO, "first").await, Claim::New);
        assert_eq!(call(&store, "k", OTHER, HOUR, "second").await, Claim::New);
        assert_eq!(call(&store, "k", OTHER, HOUR, "third").await, Claim::Again(b"second".to_vec()));
    }

    async fn of_many_claims_at_once_one_is_new(db: &TestDb) {
        let store = db.store().await;
        let calls = (0..32).map(|n: i32| {
            let store = store.clone();
            tokio::spawn(async move { call(&store, "k", ONE, HOUR, &n.to_string()).await })
        });
        let mut answers = BTreeSet::new();
        let mut new = 0;
        for call in calls.collect::<Vec<_>>() {
            match call.await.unwrap() {
                Claim::New => new += 1,
                Claim::Again(answer) => {
                    answers.insert(answer);
                }
                Claim::OtherRequest => panic!("another request"),
            }
        }
        assert_eq!((new, answers.len()), (1, 1));
    }

    async fn event_ids_are_claimed_together_and_told_apart(db: &TestDb) {
        let store = db.store().await;
        let [a, b, c] = [(); 3].map(|()| EventId::new());
        let set = |ids: &[EventId]| ids.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(claim(&store, &[], HOUR).await, (set(&[]), set(&[])));
        assert_eq!(claim(&store, &[(b, ONE), (a, ONE)], HOUR).await, (set(&[a, b]), set(&[])));
        let again = [(a, ONE), (b, OTHER), (c, OTHER)];
        assert_eq!(claim(&store, &again, HOUR).await, (set(&[c]), set(&[b])));
        let expired = EventId::new();
        assert_eq!(claim(&store, &[(expired, ONE)], Duration::ZERO).await.0, set(&[expired]));
        assert_eq!(claim(&store, &[(expired, OTHER)], HOUR).await.0, set(&[expired]));
    }

    async fn two_lists_of_the_same_ids_do_not_wait_in_a_circle(db: &TestDb) {
        let store = db.store().await;
        let ids: Vec<(EventId, Hash)> = (0..500).map(|_| (EventId::new(), ONE)).collect();
        let reversed: Vec<_> = ids.iter().rev().copied().collect();
        let (one, two) = tokio::join!(claim(&store, &ids, HOUR), claim(&store, &reversed, HOUR));
        assert_eq!(one.0.len() + two.0.len(), ids.len());
    }

    async fn events_come_out_as_they_went_in(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        let private = harness::community(&store, id(1), CommunityKind::Private).await;
        let other = harness::community(&store, id(1), CommunityKind::Hidden).await;
        let article = published(&store, private, id(1)).await.article_id;
        let named = Audience::Users(vec![id(3), id(i64::MAX)]);
        let body = r#"{"data":"\ud800 \u0000 ' \\ \" {now} $1 ÄÖ🜁","n":1e999}"#;
        let mut events = vec![
            event(private, named, body),
            event(other, Audience::Members, "[]"),
            event(private, Audience::Subscribers, "\"\u{2028}\u{7f}\""),
        ];
        events[0].exclude = Some(id(7));
        events[2].article = Some(article);
        for n in 0..500 {
            events.push(event(private, Audience::Members, &n.to_string()));
        }
        let locks = Locks::new().shared(private).shared(other);
        let tx = store.begin(locks, Some("trace".to_owned())).await.unwrap();
        tx.outbox_events(&[]).await.unwrap();
        tx.outbox_events(&events.iter().collect::<Vec<_>>()).await.unwrap();
        tx.commit().await.unwrap();
        let rows = store.unsent(1_000).await.unwrap();
        let found: Vec<Event> = rows
            .iter()
            .filter_map(|row| match &row.change {
                crier_store::OutboxChange::Event(event) => Some(event.clone()),
                crier_store::OutboxChange::User(..) => None,
            })
            .collect();
        assert_eq!(found, events);
    }

    async fn an_event_needs_its_communitys_lock(db: &TestDb) {
        let store = db.store().await;
        let (locked, not) = (event(id(1), Audience::Members, "1"), event(id(2), Audience::Members, "2"));
        let tx = store.begin(Locks::new().shared(id(1)), None).await.unwrap();
        let refused = tx.outbox_events(&[&locked, &not]).await;
        assert!(matches!(refused, Err(StoreError::NotLocked { .. })), "{refused:?}");
    }

    async fn kinds_and_submissions_are_found_together(db: &TestDb) {
        let store = db.store().await;
        users(&store, 1).await;
        let public = harness::community(&store, id(1), CommunityKind::Public).await;
        let hidden = harness::community(&store, id(1), CommunityKind::Hidden).await;
        let article = harness::submitted(&store, hidden, id(1)).await.article_id;
        let kinds = store.community_kinds(&[public, hidden, id(404)]).await.unwrap();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [(public, CommunityKind::Public), (hidden, CommunityKind::Hidden)]);
        let asked = BTreeSet::from([(hidden, article), (public, article), (hidden, id(404))]);
        assert_eq!(store.submitted(&asked).await.unwrap(), BTreeSet::from([(hidden, article)]));
    }

    async fn communities_that_one_administers_are_counted_one_transaction_after_the_other(db: &TestDb) {
        let store = db.store().await;
        users(&store, 2).await;
        let made = harness::community(&store, id(1), CommunityKind::Public).await;
        harness::join(&store, made, id(2), crier_store::Role::Member).await;
        let first = store.begin(Locks::new(), None).await.unwrap();
        assert_eq!(first.count_administered(id(2)).await.unwrap(), 0);
        assert_eq!(first.count_administered(id(1)).await.unwrap(), 1);
        let second = tokio::spawn({
            let store = store.clone();
            async move {
                let tx = store.begin(Locks::new(), None).await.unwrap();
                tx.count_administered(id(1)).await.unwrap()
            }
        });
        first.create_community(id(1), "another", CommunityKind::Private).await.unwrap();
        if db.kind == harness::Kind::Postgres {
            let raw = db.raw().await;
            let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
            wait_for("the second to wait", async || (raw.number(waits).await == 1).then_some(())).await;
        }
        assert!(!second.is_finished());
        first.commit().await.unwrap();
        assert_eq!(second.await.unwrap(), 2, "it waited for the first");
    }
}
