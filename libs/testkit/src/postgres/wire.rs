//! As much of PostgreSQL's protocol as it takes to send a statement over a socket file without a password.
//!
//! Blocking, so that a `Drop` can use it. The tests of the store go through their own driver; this is for making
//! databases and looking past the code under test, where packages of the binaries may lack `psql`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, bail};

use crate::DEADLINE;

/// The superuser of every test cluster.
pub(super) const USER: &str = "crier";

/// Rows, each the text of its columns; `None` is NULL.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// Runs the statements in one go and gives the rows of all of them.
pub(super) fn query(socket: &Path, database: &str, sql: &str) -> anyhow::Result<Rows> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;

    let mut hello = 196_608_u32.to_be_bytes().to_vec(); // protocol 3.0
    for text in ["user", USER, "database", database, ""] {
        hello.extend_from_slice(text.as_bytes());
        hello.push(0);
    }
    stream.write_all(&with_length(&hello)?)?;
    until_ready(&mut stream)?;

    stream.write_all(b"Q")?;
    stream.write_all(&with_length(&[sql.as_bytes(), &[0]].concat())?)?;
    until_ready(&mut stream)
}

fn with_length(body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let length = u32::try_from(body.len() + 4)?;
    Ok([&length.to_be_bytes(), body].concat())
}

/// Reads to the server's "ready for the next", which follows errors too, except that of a refused connection.
fn until_ready(stream: &mut UnixStream) -> anyhow::Result<Rows> {
    let mut rows = Vec::new();
    let mut failure = None;
    loop {
        let mut head = [0; 5];
        if let Err(error) = stream.read_exact(&mut head) {
            bail!(failure.unwrap_or_else(|| format!("the server closed: {error}")));
        }
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length)
            .checked_sub(4)
            .context("a length")?;
        let mut body = vec![0; usize::try_from(length)?];
        stream.read_exact(&mut body)?;
        match kind {
            b'D' => rows.push(columns(&body).context("a row as the protocol has it")?),
            b'E' => failure = Some(message(&body)),
            b'Z' => return failure.map_or(Ok(rows), |message| bail!(message)),
            _ => {}
        }
    }
}

/// A row: a count of columns, and each with its length, -1 for NULL.
fn columns(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (text, tail) = match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => tail
                .split_at_checked(length)
                .map(|(text, tail)| (Some(text), tail))?,
            Err(_) => (None, tail),
        };
        columns.push(text.map(|text| String::from_utf8_lossy(text).into_owned()));
        rest = tail;
    }
    Some(columns)
}

/// An error's fields, each a letter and a text: `M` is what a human reads.
fn message(body: &[u8]) -> String {
    let mut fields = body.split(|&byte| byte == 0);
    let text = fields.find_map(|field| field.strip_prefix(b"M"));
    String::from_utf8_lossy(text.unwrap_or(b"an error without a message")).into_owned()
}
