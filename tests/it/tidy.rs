//! What the architecture forbids: see "Code map" and "Invariants" in docs/ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Each crate's folder and the crates of ours that it may use outside its tests.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("libs/domain", &[]),
    ("migrations", &[]),
    ("libs/store", &["domain", "migrations"]),
    ("libs/bus", &["domain"]),
    ("libs/outbox", &["domain"]),
    ("libs/hub", &["domain"]),
    ("libs/service-kit", &[]),
    ("libs/testkit", &[]),
    ("chaos/oracle", &[]),
    ("chaos", &["domain", "service-kit", "testkit", "oracle"]),
    (
        "services/api",
        &["domain", "store", "bus", "outbox", "service-kit"],
    ),
    ("services/gateway", &["domain", "bus", "hub", "service-kit"]),
    (
        "services/crier",
        &["api", "bus", "domain", "gateway", "service-kit", "store"],
    ),
];

/// Libraries that a few crates alone may name.
const ONLY_IN: [(&str, &[&str]); 4] = [
    ("sea-orm", &["libs/store"]),
    ("sea-orm-migration", &["migrations"]),
    ("async-nats", &["libs/bus"]),
    (
        "axum",
        &[
            "libs/service-kit",
            "services/api",
            "services/gateway",
            "libs/testkit",
        ],
    ),
];

fn manifest(folder: &str) -> String {
    std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap()
}

/// The names under `[dependencies]`.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let section = manifest
        .split("\n[dependencies]\n")
        .nth(1)
        .unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn crates_have_no_forbidden_edges() {
    for (folder, allowed) in MAY_USE {
        let used = dependencies(&manifest(folder));
        for name in used.iter().filter_map(|name| name.strip_prefix("crier-")) {
            assert!(allowed.contains(&name), "{folder} may not use crier-{name}");
        }
        for (library, homes) in ONLY_IN {
            assert!(
                !used.contains(library) || homes.contains(&folder),
                "{folder} names {library}"
            );
        }
    }
    assert!(
        dependencies(&manifest("services/api")).contains("crier-store"),
        "the check reads edges"
    );
}

#[test]
fn crates_inherit_lints_and_versions() {
    let folders = MAY_USE.map(|(folder, _)| folder);
    for folder in folders.iter().chain(&["tests", "bench"]) {
        let text = manifest(folder);
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{folder} has lints of its own"
        );
        let own = text.lines().find(|line| line.contains("version = \""));
        assert_eq!(
            own, None,
            "{folder} sets a version that belongs into the workspace"
        );
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn files_say_what_is_in_them() {
    let mut files = Vec::new();
    let folders = [
        "libs",
        "services",
        "migrations",
        "tests",
        "bench",
        "chaos",
        "fuzz/fuzz_targets",
    ];
    for folder in folders {
        sources(&root().join(folder), &mut files);
    }
    assert!(files.len() > 100, "the check reads files");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let shown = file.strip_prefix(root()).unwrap().display().to_string();
        assert!(text.starts_with("//!"), "{shown} doesn't open with //!");
        assert_ne!(
            file.file_name().unwrap(),
            "mod.rs",
            "{shown}: foo.rs stands beside foo/"
        );
        // Put together, so that this line doesn't find itself.
        let ignored = ["#[", "ignore"].concat();
        assert!(!text.contains(&ignored), "{shown} has an ignored test");
    }
}
