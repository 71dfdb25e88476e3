//! Bringing the schema up to date.

use std::collections::HashSet;
use std::time::Duration;

use crier_migrations::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend};
use tokio::time::timeout;

use crate::connect;
use crate::error::{self, StoreError};
use crate::store::Store;
use crate::tx::SCHEMA_LOCKS;

/// The longest that all migrations together may take, waiting for another process's included.
const LONGEST: Duration = Duration::from_secs(600);

impl Store {
    /// Brings the schema up to date. All or nothing, and safe to call from several processes at once.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a newer Crier was here, having changed nothing.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let backend = self.inner.writer.backend;
        let work = async {
            let tx = self.inner.begin_write().await?;
            if backend == DbBackend::Postgres {
                let lock = format!("SELECT pg_advisory_xact_lock({SCHEMA_LOCKS}, 0)");
                tx.execute_unprepared(&lock).await?;
            }
            refuse_newer(&tx).await?;
            Migrator::up(&tx, None).await?;
            tx.commit().await?;
            Ok(())
        };
        let done = timeout(LONGEST, work).await;
        done.map_err(|_| StoreError::timeout())?
            .map_err(|error| self.explained(error))
    }

    /// A damaged SQLite file may only now show itself.
    fn explained(&self, error: StoreError) -> StoreError {
        let StoreError::Statement(source) = error else {
            return error;
        };
        let path = self.inner.config.url.trim_start_matches("sqlite:");
        let sentence = error::cause(&source.0).and_then(|cause| connect::damaged(path, cause));
        match sentence {
            Some(sentence) if self.inner.writer.backend == DbBackend::Sqlite => {
                StoreError::Connect {
                    sentence,
                    source: Some(source),
                }
            }
            _ => StoreError::Statement(source),
        }
    }
}

async fn refuse_newer(tx: &DatabaseTransaction) -> Result<(), StoreError> {
    let known: Vec<_> = Migrator::migrations();
    let known: HashSet<&str> = known.iter().map(|migration| migration.name()).collect();
    let applied = Migrator::get_migration_models(tx).await?;
    let unknown: Vec<String> = applied
        .into_iter()
        .map(|model| model.version)
        .filter(|version| !known.contains(version.as_str()))
        .collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(StoreError::NewerSchema(unknown))
    }
}
