//! What processes use, as the kernel counts it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;

/// A tick of `/proc/<pid>/stat`: a hundredth of a second on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// Processor time in user and kernel mode.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Cpu {
    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }
}

/// Of these processes together.
pub(crate) fn cpu(pids: &[u32]) -> anyhow::Result<Cpu> {
    let mut sum = Cpu::default();
    for pid in pids {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name, in brackets, may hold spaces.
        let (_, rest) = stat.rsplit_once(") ").context("a name in brackets")?;
        let field = |at: usize| -> anyhow::Result<u32> {
            let text = rest.split_whitespace().nth(at).context("a field")?;
            Ok(text.parse()?)
        };
        sum.user += TICK * field(11)?;
        sum.system += TICK * field(12)?;
    }
    Ok(sum)
}

/// Resident bytes of these processes together; pages that several share are counted in parts.
pub(crate) fn resident(pids: &[u32]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        sum += kilobytes(&rollup, "Pss:")? * 1024;
    }
    Ok(sum)
}

/// Bytes that the kernel keeps for itself in slabs and for sockets' buffers: all sockets of the machine.
pub(crate) fn kernel() -> anyhow::Result<u64> {
    let slab = kilobytes(&std::fs::read_to_string("/proc/meminfo")?, "Slab:")? * 1024;
    let sockets = std::fs::read_to_string("/proc/net/sockstat")?;
    let tcp = sockets.lines().find(|line| line.starts_with("TCP:"));
    let pages = tcp.and_then(|line| line.rsplit(' ').next());
    let pages: u64 = pages.context("pages of TCP")?.trim().parse()?;
    Ok(slab + pages * 4096)
}

fn kilobytes(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.context("a line of this name")?.trim();
    Ok(number.trim_end_matches(" kB").parse()?)
}

/// A process and all that it has started.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| {
            let text = rest.split_whitespace().nth(1)?;
            text.parse().ok()
        });
        children
            .entry(parent.unwrap_or_default())
            .or_default()
            .push(pid);
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        found.extend(children.remove(pid).unwrap_or_default());
        at += 1;
    }
    found
}
