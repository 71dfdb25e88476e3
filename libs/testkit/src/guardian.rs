//! What outlives a test process must not outlive it for long: a shell that waits for our end and then tidies up.
//!
//! `Drop` does not run after SIGKILL, nor for statics. So each test process has one guardian, a `sh` that reads
//! our notes from a pipe. The pipe closes when we are gone, however we went, and the guardian ends the processes and
//! removes the folders that are still on its list. A parent-death signal would do less: it hangs on the *thread*
//! that spawned the child, and removes no folder.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Notes: `run <pid> <signal>`, `end <pid>`, `dir <path>`, `net <namespace>`. Once more SIGKILL for what outstays its signal by 10 s.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
processes='' dirs='' nets=''
while IFS= read -r note; do
    rest=${note#* }
    case $note in
        run\ *) processes="$processes ${rest% *}:${rest#* } " ;;
        end\ *) kept=''
                for process in $processes; do
                    [ "${process%:*}" = "$rest" ] || kept="$kept $process "
                done
                processes=$kept ;;
        dir\ *) dirs="$dirs$rest
" ;;
        net\ *) nets="$nets $rest" ;;
    esac
done
for process in $processes; do
    kill -CONT "${process%:*}"
    kill -"${process#*:}" "${process%:*}"
done
for process in $processes; do
    tries=0
    while kill -0 "${process%:*}"; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || kill -KILL "${process%:*}"
        [ "$tries" -lt 110 ] || break
        sleep 0.1
    done
done
printf '%s' "$dirs" | while IFS= read -r dir; do rm -rf -- "$dir"; done
for net in $nets; do ip netns delete "$net"; done
"#;

/// Has the folder removed when this process is gone.
pub(crate) fn watch_dir(dir: &Path) {
    note(&format!("dir {}", dir.display()));
}

/// Has the network namespace removed when this process is gone.
pub(crate) fn watch_namespace(name: &str) {
    note(&format!("net {name}"));
}

/// Has the process ended by `signal` (a name without `SIG`) when this process is gone.
pub(crate) fn watch_process(pid: u32, signal: &str) {
    note(&format!("run {pid} {signal}"));
}

/// Takes a process off the list; to be called before it is reaped, while its id can't be another's.
pub(crate) fn forget_process(pid: u32) {
    note(&format!("end {pid}"));
}

fn note(line: &str) {
    static GUARDIAN: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    let pipe = GUARDIAN.get_or_init(|| Mutex::new(start()));
    let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
    // A guardian that somebody killed is no reason to fail: everything is still dropped in the usual way.
    let _ = pipe.write_all(format!("{line}\n").as_bytes());
}

#[expect(
    clippy::zombie_processes,
    reason = "it ends after this process, never before"
)]
fn start() -> ChildStdin {
    let mut guardian = Command::new("sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        // Not ours: whoever reads our output would wait for the guardian too.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        // Out of our group, so that neither Ctrl-C nor a runner that kills the group takes it with us.
        .process_group(0)
        .spawn()
        .expect("a shell to guard the processes of the test");
    guardian
        .stdin
        .take()
        .expect("the guardian's stdin is piped")
}
