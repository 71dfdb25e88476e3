//! The clock of one process, which can be stepped: libfaketime, loaded into it, adds what stands in a file.
//!
//! Only the time of day steps. What measures lengths of time goes on, as it does where an operator sets a clock.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use crier_testkit::tools;

/// By how much it steps: beyond everything that is short (leases, tickets), far below everything that is long (tokens,
/// what is kept of sent events and repeated calls).
pub(crate) const CLOCK_STEP: Duration = Duration::from_secs(90);

pub(crate) struct Clock {
    file: PathBuf,
    library: PathBuf,
    /// Those that it was loaded into.
    processes: Mutex<Vec<u32>>,
}

impl Clock {
    /// Right, to begin with.
    pub(crate) fn new(folder: &Path, process: &str) -> anyhow::Result<Self> {
        let clock = Self {
            // A run looks for its programs elsewhere than its processes do.
            file: std::path::absolute(folder.join(format!("{process}.clock")))?,
            library: tools::faketime().context("libfaketime")?.to_owned(),
            processes: Mutex::default(),
        };
        clock.set("+0")?;
        Ok(clock)
    }

    /// What the process is started with.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let text = |name, value: &str| (name, value.to_owned());
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            // Looked at once a second.
            text("FAKETIME_CACHE_DURATION", "1"),
            text("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            text("NO_FAKE_STAT", "1"),
        ]
    }

    /// A process runs by it.
    pub(crate) fn runs_in(&self, pid: u32) {
        let mut processes = self
            .processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        processes.push(pid);
    }

    /// So many seconds ahead of the machine's from now on: `+90`.
    pub(crate) fn set(&self, ahead: &str) -> anyhow::Result<()> {
        // In one step: half a number would be another time.
        let part = self.file.with_extension("part");
        std::fs::write(&part, format!("{ahead}\n"))?;
        Ok(std::fs::rename(&part, &self.file)?)
    }
}

impl Drop for Clock {
    /// What the library shares with children, and a killed process leaves behind.
    fn drop(&mut self) {
        let processes = self.processes.get_mut();
        for pid in processes.unwrap_or_else(PoisonError::into_inner) {
            let _ = std::fs::remove_file(format!("/dev/shm/faketime_shm_{pid}"));
            let _ = std::fs::remove_file(format!("/dev/shm/sem.faketime_sem_{pid}"));
        }
    }
}
