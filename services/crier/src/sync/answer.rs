//! What the API service answers while it reads: refused lines, how far it has come, the end.

use anyhow::{Context as _, anyhow, bail};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use indicatif::ProgressBar;
use serde::Deserialize;
use tokio::time::timeout;

use super::{LONGEST, SILENCE};

/// One line of the answer. Which one it is, its fields say; what a newer service adds is passed over.
#[derive(Deserialize)]
#[serde(untagged)]
enum Report {
    Done {
        done: bool,
        lines: u64,
        ok: u64,
        failed: u64,
        changed: u64,
        #[serde(default)]
        untold: u64,
        error: Option<String>,
    },
    Failed {
        line: u64,
        error: String,
    },
    Progress {
        lines: u64,
        failed: u64,
    },
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    lines: u64,
    ok: u64,
    failed: u64,
    changed: u64,
    /// Why not all was gone through.
    cut: Option<String>,
}

impl Outcome {
    /// Prints the sum, and fails if anything is left to do.
    pub(super) fn say(self) -> anyhow::Result<()> {
        let Self {
            lines,
            ok,
            failed,
            changed,
            cut,
        } = self;
        println!(
            "{lines} lines: {ok} hold now, {changed} of them changed something, {failed} refused"
        );
        if let Some(why) = cut {
            bail!("it ended early, {why}; what was taken stays: send the file again");
        }
        if failed > 0 {
            bail!(
                "lines refused: {failed}; what was taken stays: mend them and send the file again"
            );
        }
        Ok(())
    }
}

/// The answer read to its end; refused lines go to standard error as they are told.
pub(super) async fn follow(
    answer: Response<Incoming>,
    bar: &ProgressBar,
) -> anyhow::Result<Outcome> {
    let status = answer.status();
    let mut body = answer.into_body();
    if status != StatusCode::OK {
        bar.finish_and_clear();
        return Err(problem(status, body).await);
    }
    let mut reading = Reading::default();
    loop {
        let frame = timeout(SILENCE, body.frame()).await;
        let frame =
            frame.with_context(|| reading.broke(&format!("nothing came for {SILENCE:?}")))?;
        let Some(frame) = frame else {
            bar.finish_and_clear();
            bail!(reading.broke("the answer ended before it said so"));
        };
        let frame = frame.with_context(|| reading.broke("the connection broke"))?;
        if let Some(outcome) = reading.take(frame.data_ref().map_or(&[][..], |data| data), bar)? {
            bar.finish_and_clear();
            return Ok(outcome);
        }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    /// A line whose end has not come.
    begun: Vec<u8>,
    /// How many lines of the file are known to have been gone through.
    lines: u64,
}

impl Reading {
    fn broke(&self, how: &str) -> String {
        let lines = self.lines;
        format!("{how}, after {lines} lines or more; what was taken stays: send the file again")
    }

    /// Takes what has come. With it the end, if that is in it.
    fn take(&mut self, data: &[u8], bar: &ProgressBar) -> anyhow::Result<Option<Outcome>> {
        self.begun.extend_from_slice(data);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let rest = self.begun.split_off(end + 1);
            let line = std::mem::replace(&mut self.begun, rest);
            let report = serde_json::from_slice(&line).with_context(|| {
                self.broke("what answered is no API service, or a proxy is in between")
            })?;
            if let Some(outcome) = self.report(report, bar) {
                return Ok(Some(outcome));
            }
        }
        if self.begun.len() > LONGEST {
            bail!(self.broke("a line of the answer has no end"));
        }
        Ok(None)
    }

    fn report(&mut self, report: Report, bar: &ProgressBar) -> Option<Outcome> {
        match report {
            Report::Failed { line, error } => {
                bar.suspend(|| eprintln!("line {line}: {error}"));
                None
            }
            Report::Progress { lines, failed } => {
                self.lines = lines;
                bar.set_message(format!("{lines} lines, {failed} refused"));
                None
            }
            Report::Done {
                done,
                lines,
                ok,
                failed,
                changed,
                untold,
                error,
            } => {
                if untold > 0 {
                    bar.suspend(|| eprintln!("{untold} more lines were refused"));
                }
                let why = || error.unwrap_or_else(|| "without a reason".to_owned());
                Some(Outcome {
                    lines,
                    ok,
                    failed,
                    changed,
                    cut: (!done).then(why),
                })
            }
        }
    }
}

/// A refused call, in one sentence.
async fn problem(status: StatusCode, body: Incoming) -> anyhow::Error {
    #[derive(Deserialize)]
    struct Problem {
        title: String,
        detail: Option<String>,
    }
    let read = timeout(SILENCE, Limited::new(body, LONGEST).collect()).await;
    let text = read.ok().and_then(Result::ok).map(|body| body.to_bytes());
    let problem = text.and_then(|text| serde_json::from_slice::<Problem>(&text).ok());
    match problem {
        Some(Problem { title, detail }) => {
            anyhow!("the API service says {status}: {}", detail.unwrap_or(title))
        }
        None => {
            anyhow!("the answer is {status}, which no API service says in these words; check --api")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&str]) -> anyhow::Result<Option<Outcome>> {
        let (mut reading, bar) = (Reading::default(), ProgressBar::hidden());
        for part in parts {
            if let Some(outcome) = reading.take(part.as_bytes(), &bar)? {
                return Ok(Some(outcome));
            }
        }
        Ok(None)
    }

    #[test]
    fn an_answer_may_come_in_any_pieces() {
        let whole = "{\"lines\":2,\"ok\":1,\"failed\":1}\n{\"line\":2,\"error\":\"no\"}\n\
                     {\"done\":true,\"lines\":2,\"ok\":1,\"failed\":1,\"changed\":1}\n";
        let expected = Outcome {
            lines: 2,
            ok: 1,
            failed: 1,
            changed: 1,
            cut: None,
        };
        for at in 0..whole.len() {
            let (first, second) = whole.split_at(at);
            let outcome = read(&[first, second]).unwrap();
            assert_eq!(outcome.as_ref(), Some(&expected), "cut at {at}");
        }
        assert_eq!(read(&[&whole[..whole.len() - 1]]).unwrap(), None);
    }

    #[test]
    fn an_early_end_and_refused_lines_fail_it() {
        let end = r#"{"done":false,"lines":2,"ok":2,"failed":0,"changed":0,"error":"the service is stopping"}"#;
        let outcome = read(&[end, "\n"]).unwrap().unwrap();
        let said = outcome.say().unwrap_err().to_string();
        assert!(said.contains("the service is stopping"), "{said}");

        let end = r#"{"done":true,"lines":2,"ok":1,"failed":1,"changed":0}"#;
        assert!(read(&[end, "\n"]).unwrap().unwrap().say().is_err());
        let end = r#"{"done":true,"lines":1,"ok":1,"failed":0,"changed":0}"#;
        assert!(read(&[end, "\n"]).unwrap().unwrap().say().is_ok());
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(read(&["<html>\n"]).is_err());
        assert!(read(&[&"x".repeat(LONGEST + 1)]).is_err());
    }
}
