//! One rule, one script: what happens, line by line, and behind `>` exactly what the hub asks for then.
//!
//! ```text
//! connect 1 u7 [iat=9] [at @10 | bad]      disconnect 1
//! found #0 u7 @5 [nb=9] 45:9[1:10]         none #0 u7       failed #0 u7
//! event @11 45/1 [fence=99] [members | users=7,8] [not=7] [bytes=8] [reset]
//! snapshot @12 u7     mark @13     begin @20    back
//! payload @11 [text]  is @12 45:9[1:10]    gone @11
//! page #3 45 [@8<5[=text] …]   newest #3 @8   stands #3 45 [@8<5]   horizon #3 [@2]   tail #3 @9   unread #3
//! drained 1
//! +20ms   +5s         ? full   ? room   ? idle   ? users=1
//! ```
//!
//! A snapshot is written `community:since[article:fence,…]`; a position of another epoch than 1 `@2:11`.
//! Time stands still but for `+`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crier_domain::log::{AudienceTag, EventHead, Head};
use crier_domain::snapshot::Membership;
use crier_domain::{CommunityId, Cursor, Epoch, EventId, Keys, OutboxId, Seq, Snapshot, UserId};
use crier_hub::{
    Action, ConnectionId, Hub, HubConfig, PastAnswer, PastEvent, PastQuestion, ReadId, Resume,
    SnapshotRead,
};

use crate::sse::{self, Frame};

/// Runs a script with the default configuration, at position 10 of epoch 1.
pub(crate) fn check(script: &str) {
    check_with(HubConfig::default(), script);
}

pub(crate) fn check_with(config: HubConfig, script: &str) {
    let keys = Keys::from_base64(&[Keys::random_base64()]).unwrap();
    let now = Instant::now();
    let mut run = Run {
        hub: Hub::new(config, keys.clone()),
        keys,
        now,
        reads: Vec::new(),
        heads: BTreeMap::new(),
    };
    run.step("begin @10");
    let mut lines = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .peekable();
    let mut done = Vec::new();
    while let Some(line) = lines.next() {
        done.push(line);
        run.step(line);
        let mut expected = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with('>')) {
            expected.push(line.trim_start_matches('>').trim());
        }
        let got = run.actions();
        let story = done.join("\n");
        assert_eq!(got.join("\n"), expected.join("\n"), "after\n{story}\n");
        done.extend(expected);
    }
}

struct Run {
    hub: Hub,
    keys: Keys,
    now: Instant,
    reads: Vec<ReadId>,
    heads: BTreeMap<Seq, EventHead>,
}

impl Run {
    fn step(&mut self, line: &str) {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        let option = |name: &str| {
            let mut values = words.iter().filter_map(|word| word.strip_prefix(name));
            values.next()
        };
        let number = |name: &str| option(name).map(|value| value.parse::<i64>().unwrap());
        let now = self.now;
        if let "page" | "newest" | "stands" | "horizon" | "tail" | "unread" = name {
            return self.past(name, &words);
        }
        let at = option("@").map(place);
        match name {
            "back" => self.hub.back(now),
            "begin" => self.hub.begin(at.unwrap().epoch, at.unwrap().seq, now),
            "connect" => {
                let resume = match at {
                    Some(at) => Resume::At(at),
                    None if words.contains(&"bad") => Resume::Bad,
                    None => Resume::Fresh,
                };
                let issued = number("iat=").unwrap_or(0);
                self.hub
                    .connect(connection(words[0]), user(words[1]), issued, resume, now);
            }
            "disconnect" => self.hub.disconnect(connection(words[0]), now),
            "found" | "none" | "failed" => {
                let read = self.reads[number("#").unwrap() as usize];
                let found = match (name, at) {
                    ("found", Some(at)) => SnapshotRead::Found {
                        seq: at.seq,
                        epoch: at.epoch,
                        snapshot: snapshot(&words[3..]),
                    },
                    ("none", _) => SnapshotRead::None,
                    _ => SnapshotRead::Failed,
                };
                self.hub.snapshot_read(read, user(words[1]), found, now);
            }
            "event" => self.event(at.unwrap(), &words),
            "snapshot" => self.spine(at.unwrap(), Head::Snapshot(user(words[1])), 8),
            "mark" => self.spine(at.unwrap(), Head::Mark, 8),
            "payload" => {
                let text = words.get(1).copied().unwrap_or("{}").to_owned();
                self.hub
                    .payload(at.unwrap().seq, at.unwrap().epoch, Bytes::from(text), now);
            }
            "is" => {
                let encoded = Bytes::from(snapshot(&words[1..]).encode());
                self.hub
                    .payload(at.unwrap().seq, at.unwrap().epoch, encoded, now);
            }
            "drained" => self.hub.drained(connection(words[0]), now),
            "gone" => self.hub.gone(at.unwrap().seq, now),
            "?" => self.ask(words[0]),
            _ if name.starts_with('+') => self.pass_time(name),
            _ => panic!("no such step: {line}"),
        }
    }

    fn event(&mut self, at: Cursor, words: &[&str]) {
        let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
        let (community, article) = match words[1].split_once('/') {
            Some((community, article)) => (community, Some(article.parse().unwrap())),
            None => (words[1], None),
        };
        let audience = if words.contains(&"members") {
            AudienceTag::Members
        } else if let Some(list) = option("users=") {
            // As the payload begins: `[7,8]`.
            let list_bytes = list.len() + 2;
            AudienceTag::Users { list_bytes }
        } else {
            AudienceTag::Subscribers
        };
        let head = EventHead {
            id: EventId::new(),
            fence: OutboxId(option("fence=").map_or(99, |fence| fence.parse().unwrap())),
            prev: option("prev=").map_or(Seq::ZERO, |prev| Seq(prev.parse().unwrap())),
            community: community.parse().unwrap(),
            article,
            exclude: option("not=").map(|id| id.parse().unwrap()),
            audience,
            reset: words.contains(&"reset"),
            traceparent: None,
        };
        self.heads.insert(at.seq, head.clone());
        let bytes = option("bytes=").map_or(2, |bytes| bytes.parse().unwrap());
        self.spine(at, Head::Event(head), bytes);
    }

    /// An answer about the past; its events are written `@8<5=text`: position, the one before, body.
    fn past(&mut self, name: &str, words: &[&str]) {
        let read = self.reads[words[0].trim_start_matches('#').parse::<usize>().unwrap()];
        let seq = |word: &str| place(word.trim_start_matches('@')).seq;
        let events = || {
            let community: CommunityId = words[1].parse().unwrap();
            let event = |word: &&str| past_event(community, word);
            words[2..].iter().map(event).collect::<Vec<_>>()
        };
        let answer = match name {
            "page" => PastAnswer::Page(events()),
            "newest" => PastAnswer::Newest(seq(words[1])),
            "stands" => PastAnswer::Event(events().pop()),
            "horizon" => PastAnswer::Horizon(words.get(1).map(|word| seq(word))),
            "tail" => PastAnswer::Tail(seq(words[1])),
            _ => PastAnswer::Failed,
        };
        self.hub.past(read, answer, self.now);
    }

    fn spine(&mut self, at: Cursor, head: Head, bytes: usize) {
        self.hub.spine(at.seq, at.epoch, head, bytes, self.now);
    }

    /// Lets time pass as a gateway does: from deadline to deadline.
    fn pass_time(&mut self, step: &str) {
        let step = step.trim_start_matches('+');
        let length = match step.strip_suffix("ms") {
            Some(millis) => Duration::from_millis(millis.parse().unwrap()),
            None => Duration::from_secs(step.trim_end_matches('s').parse().unwrap()),
        };
        let until = self.now + length;
        while let Some(due) = self.hub.next_deadline().filter(|due| *due <= until) {
            self.hub.tick(due);
            assert!(self.hub.next_deadline() > Some(due) || self.hub.next_deadline().is_none());
        }
        self.now = until;
        self.hub.tick(until);
    }

    fn ask(&self, question: &str) {
        let stats = self.hub.stats();
        let (name, value) = question.split_once('=').unwrap_or((question, "1"));
        let found = match name {
            "full" => u64::from(!self.hub.can_take_more()),
            "room" => u64::from(self.hub.can_take_more()),
            "idle" => u64::from(self.hub.next_deadline().is_none()),
            "position" => stats.position.0,
            "users" => stats.users as u64,
            "interests" => stats.interests as u64,
            "queue" => stats.queue_entries as u64,
            "queue_bytes" => stats.queue_bytes as u64,
            "early" => stats.early_bytes as u64,
            "dropped" => stats.dropped,
            "live" => stats.live,
            "fetched" => stats.fetched,
            "gaps" => stats.gaps,
            "healed" => stats.healed,
            "healing_ms" => u64::try_from(stats.healing.as_millis()).unwrap(),
            "gone" => stats.gone,
            "malformed" => stats.malformed,
            "replays" => stats.replays as u64,
            "ring_bytes" => stats.ring_bytes as u64,
            "page_bytes" => stats.page_bytes as u64,
            "fetches_past" => stats.fetches_past as u64,
            "resumes_ring" => stats.resumes_ring,
            "resumes_log" => stats.resumes_log,
            "resumes_reset" => stats.resumes_reset,
            "replayed" => stats.replayed,
            "again" => stats.pages_again,
            _ => panic!("no such question: {question}"),
        };
        assert_eq!(found, value.parse::<u64>().unwrap(), "{name}");
    }

    fn actions(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(action) = self.hub.poll_action() {
            match action {
                Action::Follow(community) => lines.push(format!("follow {community}")),
                Action::Unfollow(community) => lines.push(format!("unfollow {community}")),
                Action::ReadSnapshot { read, user } => {
                    lines.push(format!("read #{} u{user}", self.reads.len()));
                    self.reads.push(read);
                }
                Action::RequestSnapshot(user) => lines.push(format!("request u{user}")),
                Action::Fetch(seq) => lines.push(format!("fetch @{seq}")),
                Action::ReadPast { read, question } => {
                    let known = self.reads.iter().position(|known| *known == read);
                    let number = known.unwrap_or(self.reads.len());
                    if known.is_none() {
                        self.reads.push(read);
                    }
                    let question = match question {
                        PastQuestion::Page { community, after } => {
                            format!("page {community} @{after}")
                        }
                        PastQuestion::Newest(community) => format!("newest {community}"),
                        PastQuestion::Event(seq) => format!("stands @{seq}"),
                        PastQuestion::Horizon => "horizon".to_owned(),
                        PastQuestion::Tail => "tail".to_owned(),
                    };
                    lines.push(format!("past #{number} {question}"));
                }
                Action::AwaitRoom(connection) => lines.push(format!("room {}", connection.0)),
                Action::Send { connection, frame } => {
                    let frames = sse::read(&frame, &self.keys);
                    let show = |frame| format!("{}: {}", connection.0, show(&frame));
                    lines.extend(frames.into_iter().map(show));
                }
                Action::Deliver {
                    mut connections,
                    frame,
                    event,
                    seq,
                    ..
                } => {
                    connections.sort_unstable();
                    let ids: Vec<String> = connections.iter().map(|id| id.0.to_string()).collect();
                    let frames = sse::read(&frame, &self.keys);
                    assert_eq!(event.id, self.heads[&seq].id);
                    lines.push(format!("{}: {}", ids.join(" "), show(&frames[0])));
                }
                Action::Close {
                    connection,
                    frame,
                    reason,
                } => {
                    let frames = sse::read(&frame, &self.keys);
                    assert_eq!(frames, [Frame::Bye(reason.as_str().to_owned())]);
                    lines.push(format!("{}: bye {}", connection.0, reason.as_str()));
                }
                Action::Refuse(connection) => lines.push(format!("{}: refused", connection.0)),
                Action::Restart => lines.push("restart".to_owned()),
            }
        }
        lines
    }
}

fn show(frame: &Frame) -> String {
    let at = |cursor: &Cursor| match cursor.epoch.to_bits() {
        1 => format!("@{}", cursor.seq),
        epoch => format!("@{epoch}:{}", cursor.seq),
    };
    let list = |ids: &[i64]| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        ids.join(",")
    };
    match frame {
        Frame::Ready { id, communities } => format!("ready {} [{}]", at(id), list(communities)),
        Frame::Event { id, body } => format!("event {} {body}", at(id)),
        Frame::Reset {
            id,
            reason,
            communities,
        } => format!("reset {} {reason} [{}]", at(id), list(communities)),
        Frame::Entry {
            came,
            community,
            article,
        } => {
            let sign = if *came { '+' } else { '-' };
            let article = article.map_or_else(String::new, |article| format!("/{article}"));
            format!("{sign}{community}{article}")
        }
        Frame::Bye(reason) => format!("bye {reason}"),
        Frame::Beat => "hb".to_owned(),
        Frame::Moved(id) => format!("id {}", at(id)),
    }
}

fn past_event(community: CommunityId, text: &str) -> PastEvent {
    let (places, body) = text.split_once('=').unwrap_or((text, "{}"));
    let (at, prev) = places.split_once('<').unwrap();
    let at = place(at.trim_start_matches('@'));
    PastEvent {
        seq: at.seq,
        epoch: at.epoch,
        head: EventHead {
            id: EventId::new(),
            fence: OutboxId(99),
            prev: Seq(prev.parse().unwrap()),
            community,
            article: None,
            exclude: None,
            audience: AudienceTag::Members,
            reset: false,
            traceparent: None,
        },
        payload: Bytes::from(body.to_owned()),
    }
}

fn place(text: &str) -> Cursor {
    let (epoch, seq) = text.split_once(':').unwrap_or(("1", text));
    Cursor {
        epoch: Epoch::from_bits(epoch.parse().unwrap()),
        seq: Seq(seq.parse().unwrap()),
    }
}

fn connection(text: &str) -> ConnectionId {
    ConnectionId(text.parse().unwrap())
}

fn user(text: &str) -> UserId {
    text.trim_start_matches('u').parse().unwrap()
}

fn snapshot(words: &[&str]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for word in words {
        if let Some(not_before) = word.strip_prefix("nb=") {
            snapshot.not_before = not_before.parse().unwrap();
            continue;
        }
        let (head, articles) = word.split_once('[').unwrap_or((word, "]"));
        let (community, since) = head.split_once(':').unwrap();
        let articles = articles.trim_end_matches(']').split(',');
        let articles = articles.filter(|entry| !entry.is_empty()).map(|entry| {
            let (article, fence) = entry.split_once(':').unwrap();
            (article.parse().unwrap(), OutboxId(fence.parse().unwrap()))
        });
        let membership = Membership {
            since: OutboxId(since.parse().unwrap()),
            articles: articles.collect(),
        };
        let community: CommunityId = community.parse().unwrap();
        snapshot.communities.insert(community, membership);
    }
    snapshot
}
