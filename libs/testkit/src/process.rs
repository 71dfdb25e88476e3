//! A child process of a test: signalled, waited for, and never left behind.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{guardian, wait_for};

/// How a process is ended when its value is dropped, or by the guardian.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGKILL: leaves nothing but files.
    Kill,
    /// SIGQUIT: PostgreSQL's immediate shutdown, which ends its backends and gives back shared memory.
    Quit,
}

impl Ending {
    fn signal(self) -> Signal {
        match self {
            Self::Kill => Signal::KILL,
            Self::Quit => Signal::QUIT,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Quit => "QUIT",
        }
    }
}

/// A running child. `std`, not tokio: a process shared by tests outlives the runtime of the test that started it.
pub struct Process {
    child: Child,
    ending: Ending,
}

impl Process {
    /// Starts `command` with both outputs appended to the file `log`.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn spawn(command: &mut Command, log: &Path, ending: Ending) -> Self {
        let out = File::options().create(true).append(true).open(log);
        let out = out.unwrap_or_else(|error| panic!("open {}: {error}", log.display()));
        let err = out.try_clone().expect("a second handle of the log");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child
            .unwrap_or_else(|error| panic!("start {}: {error}", command.get_program().display()));
        guardian::watch_process(child.id(), ending.name());
        Self { child, ending }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; one to a process that has ended but is not reaped yet does nothing.
    ///
    /// # Panics
    /// When it can't be sent.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("signal an own child");
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When that can't be asked.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("ask for an own child")
    }

    /// Sends `signal` and waits for the end; to a paused process too.
    ///
    /// # Panics
    /// When it does not end within [`DEADLINE`](crate::DEADLINE).
    pub async fn end(mut self, what: &str, signal: Signal) -> ExitStatus {
        self.signal(signal);
        // A stopped process takes a signal only when it goes on.
        self.signal(Signal::CONT);
        wait_for(&format!("the end of {what}"), async || self.ended()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        guardian::forget_process(self.child.id());
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::CONT);
            self.signal(self.ending.signal());
            let started = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) {
                if started.elapsed() > Duration::from_secs(10) {
                    self.signal(Signal::KILL);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// The end of a log, for the message of a test that fails because of the process that wrote it.
pub(crate) fn log_tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(12).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// What a status says, in words a test's reader knows.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}
