//! Where the binaries are that the tests run: a variable, `.tools/` of the repository, or what the system has.
//!
//! | tool | variable | in `.tools/` | else |
//! |---|---|---|---|
//! | nats-server ≥ 2.12 | `CRIER_TEST_NATS_SERVER` | `bin/nats-server` | `PATH` |
//! | PostgreSQL ≥ 14 | `CRIER_TEST_POSTGRES_BIN` (a folder) | `bin/initdb` | `PATH`, Debian's folders |
//! | Chromium | `CRIER_TEST_CHROMIUM` | `bin/chromium` | `PATH` |
//! | libfaketime, which may be missing | `CRIER_TEST_FAKETIME` (the library) | | where distributions have it |

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const CHROMIUM_NAMES: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
];

/// The nats-server to test with.
///
/// # Panics
/// When there is none of 2.12 or newer.
pub fn nats_server() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        candidates(
            "CRIER_TEST_NATS_SERVER",
            "bin/nats-server",
            &["nats-server"],
        )
        .into_iter()
        .find(|path| version(path).is_some_and(|version| version >= (2, 12)))
        .expect("no nats-server of 2.12 or newer found: run `make tools`")
    })
}

/// The folder with `initdb` and `postgres`.
///
/// # Panics
/// When there is none of PostgreSQL 14 or newer.
pub fn postgres_bin() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut dirs = Vec::new();
        dirs.extend(std::env::var_os("CRIER_TEST_POSTGRES_BIN").map(PathBuf::from));
        // A link leads to the folder where the rest of the installation is.
        let links = repository_tool("bin/initdb")
            .into_iter()
            .chain(on_path("initdb"));
        let initdbs = links.filter_map(|path| path.canonicalize().ok());
        dirs.extend(initdbs.filter_map(|path| path.parent().map(Path::to_path_buf)));
        dirs.extend(debian_postgres());
        dirs.into_iter()
            .filter(|dir| dir.join("initdb").is_file())
            .find(|dir| version(&dir.join("postgres")).is_some_and(|version| version >= (14, 0)))
            .expect("no PostgreSQL of 14 or newer found: run `make tools`")
    })
}

/// The folder in `.tools/` that a fetched PostgreSQL is whole in, if `bin` is of it.
pub(crate) fn fetched_postgres(bin: &Path) -> Option<&Path> {
    bin.ancestors().find(|dir| dir.ends_with(".tools/postgres"))
}

/// The browser to test with.
///
/// # Panics
/// When there is none.
pub fn chromium() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        candidates("CRIER_TEST_CHROMIUM", "bin/chromium", &CHROMIUM_NAMES)
            .into_iter()
            // Ubuntu has a script of that name which only says what to install.
            .find(|path| version(path).is_some())
            .expect("no Chromium found: run `make tools`")
    })
}

/// The library that shifts the clock of a program it is loaded into; `None` if there is none.
pub fn faketime() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let named = std::env::var_os("CRIER_TEST_FAKETIME").map(PathBuf::from);
        let libraries = [PathBuf::from("/usr/lib"), PathBuf::from("/usr/lib64")];
        let architecture = libraries[0].join(format!("{}-linux-gnu", std::env::consts::ARCH));
        let installed = libraries.into_iter().chain([architecture]);
        let installed = installed.map(|dir| dir.join("faketime/libfaketimeMT.so.1"));
        named
            .into_iter()
            .chain(installed)
            .find(|file| file.is_file())
    });
    found.as_deref()
}

/// The files that could be the tool, best first.
fn candidates(variable: &str, in_tools: &str, names: &[&str]) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::env::var_os(variable)
        .map(PathBuf::from)
        .into_iter()
        .collect();
    found.extend(repository_tool(in_tools));
    found.extend(names.iter().flat_map(|name| on_path(name)));
    found
}

/// A path in the `.tools/` that `make tools` fills, if it is there.
fn repository_tool(path: &str) -> Option<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|dir| dir.join(".tools").join(path))
        .find(|tool| tool.exists())
}

fn on_path(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = std::env::split_paths(&path).collect();
    let name = name.to_owned();
    dirs.into_iter()
        .map(move |dir| dir.join(&name))
        .filter(|file| file.is_file())
}

/// Debian keeps each PostgreSQL in a folder of its own, off PATH. Newest first.
fn debian_postgres() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut dirs: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    dirs.sort_by_key(|(version, _)| Reverse(*version));
    dirs.into_iter().map(|(_, dir)| dir).collect()
}

/// Major and minor version of a tool that answers `--version`; `None` when it can't be run.
fn version(tool: &Path) -> Option<(u32, u32)> {
    let output = Command::new(tool).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// Finds `2.15` in `nats-server: v2.15.1` and `15.18` in `postgres (PostgreSQL) 15.18 (Debian …)`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text
        .split_whitespace()
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let mut parts = number.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((
        parts.next()?.ok()?,
        parts.next().and_then(Result::ok).unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_tools_print_them() {
        assert_eq!(parse_version("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(parse_version("nats-server: v2.9.25-binary\n"), Some((2, 9)));
        assert_eq!(
            parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0)"),
            Some((15, 18))
        );
        assert_eq!(
            parse_version("postgres (PostgreSQL) 18beta1"),
            Some((18, 0))
        );
        assert_eq!(parse_version("command not found"), None);
    }

    #[test]
    fn all_tools_are_here() {
        assert!(nats_server().is_file());
        assert!(postgres_bin().join("postgres").is_file());
        assert!(chromium().is_file());
    }
}
