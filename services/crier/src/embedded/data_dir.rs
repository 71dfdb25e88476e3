//! The data directory: one process at a time, and secrets that only its owner reads.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// A directory held by this process until it is dropped.
pub(crate) struct DataDir {
    path: PathBuf,
    /// Held for its lock: a second `crier up` on the same files would damage them.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if there is none and takes it.
    ///
    /// # Errors
    /// When it can't be made or written, or another process has it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            // What members write to each other is nobody else's to read.
            .mode(0o700)
            .create(path)
            .with_context(|| format!("the data directory {} can't be made", path.display()))?;
        let path = path.canonicalize()?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .with_context(|| format!("the data directory {} can't be written", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!(
                "another crier is running on {}; stop it, or give this one its own --data-dir",
                path.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).context("the data directory can't be locked")
            }
        }
    }

    /// Where a file of this name stands.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Reads the secret in this file, or makes one and writes it, readable by its owner alone.
///
/// # Errors
/// When the file is there and can't be read, or is not there and can't be written.
pub(crate) fn secret(path: &Path, make: impl FnOnce() -> String) -> anyhow::Result<String> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(mut file) => {
            let secret = make();
            file.write_all(secret.as_bytes())
                .and_then(|()| file.sync_all())
                .with_context(|| format!("{} can't be written", path.display()))?;
            Ok(secret)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut secret = String::new();
            File::open(path)
                .and_then(|mut file| file.read_to_string(&mut secret))
                .with_context(|| format!("{} can't be read", path.display()))?;
            let secret = secret.trim();
            if secret.is_empty() {
                bail!(
                    "{} is empty; remove it, and a new one is made",
                    path.display()
                );
            }
            Ok(secret.to_owned())
        }
        Err(error) => Err(error).with_context(|| format!("{} can't be written", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_is_the_owners() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert_eq!(secret(&path, || "one".to_owned()).unwrap(), "one");
        assert_eq!(secret(&path, || "two".to_owned()).unwrap(), "one");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_directory_has_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::open(dir.path()).unwrap();
        let refused = DataDir::open(dir.path()).err().unwrap().to_string();
        assert!(refused.contains("another crier is running"), "{refused}");
        drop(held);
        DataDir::open(dir.path()).unwrap();
    }
}
