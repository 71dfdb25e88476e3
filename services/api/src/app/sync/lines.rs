//! A body cut into lines, none of which is held before it has come, and none longer than may be.

use std::error::Error;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};

/// The longest line, in bytes, without its end.
pub(crate) const LONGEST: usize = 64 * 1024;

/// What comes next in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A line, without its end.
    Line(Bytes),
    /// A line that was longer than may be, and was passed over.
    TooLong,
    /// The body has come to its end.
    End,
    /// The body broke off. What came of its last line is no line.
    Broken,
}

/// The lines of a body.
#[derive(Debug)]
pub(crate) struct Lines<S> {
    body: S,
    /// What has come and is not yet given.
    buffer: BytesMut,
    /// So much of it has no end of a line in it.
    searched: usize,
    /// Within a line that is too long.
    skipping: bool,
    ended: bool,
}

impl<S, E> Lines<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Error,
{
    pub(crate) fn of(body: S) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            searched: 0,
            skipping: false,
            ended: false,
        }
    }

    /// What comes next. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Found {
        loop {
            if let Some(found) = self.cut() {
                return found;
            }
            if self.ended {
                return self.last();
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => {
                    tracing::debug!(%error, "a bulk change's body broke off");
                    return Found::Broken;
                }
                None => self.ended = true,
            }
        }
    }

    /// The next line, if its end has come, or if it is known to be too long.
    fn cut(&mut self) -> Option<Found> {
        let rest = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            if self.searched > LONGEST {
                self.buffer.clear();
                self.searched = 0;
                self.skipping = true;
            }
            return None;
        };
        let mut line = self.buffer.split_to(self.searched + end + 1);
        self.searched = 0;
        line.truncate(line.len() - 1);
        let skipped = std::mem::take(&mut self.skipping);
        Some(if skipped || line.len() > LONGEST {
            Found::TooLong
        } else {
            Found::Line(line.freeze())
        })
    }

    /// What is left when the body has ended: a last line without an end counts.
    fn last(&mut self) -> Found {
        self.searched = 0;
        if std::mem::take(&mut self.skipping) {
            self.buffer.clear();
            return Found::TooLong;
        }
        if self.buffer.is_empty() {
            return Found::End;
        }
        Found::Line(self.buffer.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn body(chunks: Vec<Vec<u8>>) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin {
        futures::stream::iter(chunks.into_iter().map(|chunk| Ok(chunk.into())))
    }

    async fn all(chunks: Vec<Vec<u8>>) -> Vec<Found> {
        let mut lines = Lines::of(body(chunks));
        let mut found = Vec::new();
        loop {
            match lines.next().await {
                Found::End => return found,
                next => found.push(next),
            }
        }
    }

    fn line(text: &str) -> Found {
        Found::Line(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_body_is_the_same_lines_however_it_comes() {
        let text = b"one\n\ntwo\r\nthree";
        let expected = [line("one"), line(""), line("two\r"), line("three")];
        for size in 1..=text.len() {
            let chunks = text.chunks(size).map(<[u8]>::to_vec).collect();
            assert_eq!(all(chunks).await, expected, "in pieces of {size}");
        }
        assert_eq!(all(vec![b"one\n".to_vec()]).await, [line("one")]);
        assert_eq!(all(Vec::new()).await, []);
    }

    #[tokio::test]
    async fn a_line_too_long_is_passed_over_and_never_held() {
        let longest = "x".repeat(LONGEST);
        let text = format!("{longest}\n{longest}y\nafter\n{longest}{longest}{longest}");
        let expected = [
            line(&longest),
            Found::TooLong,
            line("after"),
            Found::TooLong,
        ];
        for size in [1_000, LONGEST, LONGEST + 1, 10 * LONGEST] {
            let chunks = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            assert_eq!(all(chunks).await, expected, "in pieces of {size}");
        }
        let endless =
            futures::stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![b'x'; 8192])));
        let mut lines = Lines::of(Box::pin(endless.take(10_000)));
        assert_eq!(lines.next().await, Found::TooLong);
        assert!(lines.buffer.capacity() < 4 * LONGEST);
    }

    #[tokio::test]
    async fn what_broke_off_is_no_line() {
        let pieces = [
            Ok(Bytes::from_static(b"one\ntw")),
            Err(std::io::Error::other("gone")),
        ];
        let mut lines = Lines::of(futures::stream::iter(pieces));
        assert_eq!(lines.next().await, line("one"));
        assert_eq!(lines.next().await, Found::Broken);
    }
}
