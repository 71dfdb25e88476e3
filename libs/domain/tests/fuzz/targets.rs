//! What is fuzzed: for each parser, what must hold of any bytes at all.
//!
//! Plain functions that panic when it doesn't hold. `main.rs` calls them in `cargo test`, and the crate in `fuzz/`
//! with what libFuzzer makes up.

use std::str::from_utf8;
use std::time::Duration;

use bytes::Bytes;
use crier_domain::log::{AudienceTag, EventHead, Head, Message, Place, header, read};
use crier_domain::{Audience, Cursor, Epoch, Event, Keys, Seq, Snapshot, Ticket, UserId};

/// The alphabet in which cursors and tickets are written: base64 for addresses.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Any bytes as a text that came for a cursor, and as the numbers of one that is sealed here and then damaged.
pub(crate) fn cursor(data: &[u8]) {
    let keys = fleet(1);
    if let Ok(text) = from_utf8(data)
        && let Ok(cursor) = Cursor::open(text, &keys)
    {
        assert_eq!(cursor.seal(&keys), text, "two texts for one cursor");
    }
    let Some((numbers, damage)) = data.split_at_checked(16) else {
        return;
    };
    let cursor = Cursor {
        epoch: Epoch::from_bits(u64::from_be_bytes(number(numbers, 0))),
        seq: Seq(u64::from_be_bytes(number(numbers, 1))),
    };
    let sealed = cursor.seal(&keys);
    assert_eq!(Cursor::open(&sealed, &keys), Ok(cursor));
    assert!(Cursor::open(&sealed, &fleet(2)).is_err(), "another fleet's");
    assert!(Ticket::open(&sealed, &keys).is_err(), "no ticket");
    for forged in damaged(&sealed, damage) {
        assert!(Cursor::open(&forged, &keys).is_err(), "{forged}");
    }
}

/// Any bytes as a text that came for a ticket, and as the numbers of one that is sealed here and then damaged.
pub(crate) fn ticket(data: &[u8]) {
    let keys = fleet(1);
    if let Ok(text) = from_utf8(data)
        && let Ok(ticket) = Ticket::open(text, &keys)
    {
        assert_eq!(ticket.seal(&keys), text, "two texts for one ticket");
    }
    let Some((numbers, damage)) = data.split_at_checked(32) else {
        return;
    };
    let Ok(user) = UserId::try_from(i64::from_be_bytes(number(numbers, 0))) else {
        return;
    };
    let ticket = Ticket {
        user,
        issued_at: i64::from_be_bytes(number(numbers, 1)),
        token_expires_at: i64::from_be_bytes(number(numbers, 2)),
        expires_at: i64::from_be_bytes(number(numbers, 3)),
    };
    let sealed = ticket.seal(&keys);
    assert_eq!(Ticket::open(&sealed, &keys), Ok(ticket));
    assert!(Ticket::open(&sealed, &fleet(2)).is_err(), "another fleet's");
    assert!(Cursor::open(&sealed, &keys).is_err(), "no cursor");
    for forged in damaged(&sealed, damage) {
        assert!(Ticket::open(&forged, &keys).is_err(), "{forged}");
    }
}

/// Any bytes as a message: its subject, a line for each header, an empty line, and the payload.
pub(crate) fn message(data: &[u8]) {
    let Some((subject, headers, payload)) = split(data) else {
        return;
    };
    let found = read(subject, |name| value(&headers, name));
    let mut more = headers.clone();
    more.push(("Crier-Unknown", "1"));
    more.insert(0, ("Nats-Unknown", ""));
    assert_eq!(
        read(subject, |name| value(&more, name)),
        found,
        "unknown headers"
    );
    let Ok((epoch, head)) = found else {
        return;
    };
    let traceparent = value(&headers, header::TRACEPARENT);
    match head {
        Head::Mark => {
            let mark = Message::mark(epoch, Duration::from_hours(72));
            assert_eq!(again(&mark), (epoch, Head::Mark));
        }
        Head::Snapshot(user) => {
            let message = Message::snapshot(epoch, user, Bytes::new(), traceparent);
            assert_eq!(again(&message), (epoch, Head::Snapshot(user)));
        }
        Head::Event(head) => event(epoch, &head, &Bytes::copy_from_slice(payload)),
    }
}

/// An event that was read, written again.
fn event(epoch: Epoch, head: &EventHead, payload: &Bytes) {
    let Ok((named, body)) = head.open(payload) else {
        return;
    };
    assert!(named.is_sorted(), "{named:?} is searched");
    let place = Place {
        epoch,
        fence: head.fence,
        prev: head.prev,
        retention: Duration::from_hours(72),
    };
    let audience = match head.audience {
        AudienceTag::Subscribers => Audience::Subscribers,
        AudienceTag::Members => Audience::Members,
        AudienceTag::Users { .. } => Audience::Users(named.clone()),
    };
    let event = Event {
        id: head.id,
        community: head.community,
        article: head.article,
        audience,
        exclude: head.exclude,
        body: body.clone(),
    };
    let traceparent = head.traceparent.as_deref();
    let message = if head.reset {
        Message::reset(&place, &event, traceparent)
    } else {
        Message::event(&place, &event, traceparent)
    };
    let (written_epoch, Head::Event(written)) = again(&message) else {
        panic!("no event any more");
    };
    // A list may be written with spaces, and a stand-in has none.
    let as_read = EventHead {
        audience: written.audience,
        ..head.clone()
    };
    assert_eq!((written_epoch, &written), (epoch, &as_read));
    if !head.reset {
        assert_eq!(written.open(&message.payload), Ok((named, body)));
    }
}

/// Any bytes as the payload of a snapshot.
pub(crate) fn snapshot(data: &[u8]) {
    let Ok(snapshot) = Snapshot::decode(data) else {
        return;
    };
    let written = snapshot.encode();
    let read = Snapshot::decode(&written).expect("what is written is read");
    assert_eq!(read, snapshot);
    assert_eq!(read.encode(), written);
    let ids = snapshot.communities.iter();
    let mut ids = ids.flat_map(|(community, membership)| {
        let articles = membership.articles.keys().map(|article| article.get());
        articles.chain([community.get()])
    });
    assert!(ids.all(|id| id >= 1), "{snapshot:?}");
    assert!(snapshot.entries() >= snapshot.communities.len());
}

/// A fleet's keys, always the same.
fn fleet(number: u8) -> Keys {
    // 32 bytes are 43 characters and a sign that fills up.
    let key = format!("{}=", char::from(b'A' + number * 4).to_string().repeat(43));
    Keys::from_base64(&[key]).expect("a key")
}

fn number(bytes: &[u8], at: usize) -> [u8; 8] {
    let eight = bytes.chunks_exact(8).nth(at).expect("as many numbers");
    eight.try_into().expect("eight bytes")
}

/// The text with a character replaced for each two bytes of `damage`, shortened and lengthened; none is the text.
fn damaged(sealed: &str, damage: &[u8]) -> Vec<String> {
    let mut all = vec![format!("{sealed}A"), format!(" {sealed}"), {
        let mut shorter = sealed.to_owned();
        shorter.pop();
        shorter
    }];
    for pair in damage.chunks_exact(2).take(8) {
        let at = usize::from(pair[0]) % sealed.len();
        all.push(replaced(sealed, at, usize::from(pair[1])));
    }
    all
}

/// The text with the character at `at` replaced by another, of which there are 63.
pub(crate) fn replaced(sealed: &str, at: usize, by: usize) -> String {
    let mut text = sealed.as_bytes().to_vec();
    let known = ALPHABET.iter().position(|sign| *sign == text[at]);
    let now = (known.expect("of the alphabet") + 1 + by % 63) % 64;
    text[at] = ALPHABET[now];
    String::from_utf8(text).expect("of the alphabet")
}

/// Subject, headers and payload.
type Parts<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a [u8]);

fn split(data: &[u8]) -> Option<Parts<'_>> {
    let end = data.windows(2).position(|two| two == b"\n\n");
    let (head, payload) = match end {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (data, &data[data.len()..]),
    };
    let mut lines = from_utf8(head).ok()?.split('\n');
    let subject = lines.next()?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    Some((subject, headers.collect(), payload))
}

fn value<'a>(headers: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(known, _)| *known == name)?;
    Some(value)
}

fn again(message: &Message) -> (Epoch, Head) {
    let subject = message.subject.to_string();
    read(&subject, |name| message.header(name)).expect("what is written is read")
}
