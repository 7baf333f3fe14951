//! The store: the record of what happened, and the tables that are folds of it.
//!
//! ```text
//! append ─> queue ─> one writer: BEGIN IMMEDIATE ─ chain, insert, project ─ COMMIT ─> answer
//! reads  ─> reader connections (WAL: they neither wait for the writer nor hold it up)
//! ```
//!
//! Events are appended to one hash chain per controller and never changed. Machines, ledgers, runs and the rest
//! are projections, written in the same transaction (`projections`); [`Store::rebuild`] makes them anew. Leases,
//! blobs, plans' bytes and "last seen" are no history and live beside them.
//!
//! The store decides nothing about hosts, reads no clock and gives no id to anything but itself.

pub mod blobs;
pub mod chain;
pub mod error;
pub mod events;
mod found;
pub mod leases;
mod ledgers;
mod projections;
mod sqlite;
mod verify;
pub mod views;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod faults;

pub use error::StoreError;
pub use events::StoredEvent;
pub use leases::{HeldBy, Holder, LEASE_HEARTBEAT_MS, LEASE_TTL_MS, Lease, LeaseLost};
pub use verify::Verified;
pub use views::{AgentReport, Attempt, AttemptState, HostView, Machine, RunDetail, RunView};

use error::Result;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The store of one project. Cheap to clone; all clones write through one writer.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    readers: SqlitePool,
    writer: SqlitePool,
    appends: events::Queue,
    chain: String,
    holder: Holder,
    place: sqlite::Place,
}

impl Store {
    /// Opens the store at `path`; makes it, its folder (0700) and its file (0600) when they are missing.
    ///
    /// Refuses a damaged file, one of another program, and one that a newer Holdfast wrote. Must be called within
    /// a tokio runtime.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_as(path, None).await
    }

    /// Opens the store on behalf of another process; for tests of two controllers.
    pub async fn open_as(path: impl AsRef<Path>, holder: Option<Holder>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let opened = sqlite::open(&path).await?;
        let holder = holder.unwrap_or_else(|| Holder::this_process(&opened.controller));
        let appends = events::Queue::start(opened.place.clone(), opened.writer.clone(), opened.controller.clone());
        let store = Self {
            inner: Arc::new(Inner {
                path,
                readers: opened.readers,
                writer: opened.writer,
                appends,
                chain: opened.controller,
                holder,
                place: opened.place,
            }),
        };
        if let Err(broken) = store.verify_tail(events::OPEN_VERIFY_EVENTS).await? {
            return Err(StoreError::Damaged {
                path: store.path().to_owned(),
                detail: broken.to_string(),
            });
        }
        Ok(store)
    }

    /// Shows the file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Shows who takes leases through this store.
    pub fn holder(&self) -> &Holder {
        &self.inner.holder
    }

    /// Copies the store, consistent even while others write, to a file that must not exist yet.
    pub async fn backup(&self, to: &Path) -> Result<()> {
        sqlite::backup(self.path(), to).await
    }

    /// Answers all appends that are queued, and closes the file. Calls after that get [`StoreError::Closed`].
    ///
    /// What is in the write-ahead log is carried into the file, so far as nobody else reads there now: who copies the
    /// file alone, as people do, has all of it.
    pub async fn close(&self) {
        self.inner.appends.finish().await;
        // PASSIVE waits for nobody.
        let carried = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
            .execute(&self.inner.writer)
            .await;
        if let Err(error) = carried {
            tracing::debug!("the log stays beside the store: {error}");
        }
        self.inner.writer.close().await;
        self.inner.readers.close().await;
    }

    /// Shows the id of this controller, which is also the name of its chain.
    pub fn chain(&self) -> &str {
        &self.inner.chain
    }

    fn readers(&self) -> &SqlitePool {
        &self.inner.readers
    }

    /// Begins a transaction that holds the write lock from its start.
    async fn write(&self, action: &'static str) -> Result<Write<'_>> {
        self.inner.place.check()?;
        let begun = self.inner.writer.begin_with("BEGIN IMMEDIATE").await;
        Ok(Write {
            transaction: self.fail(action, begun)?,
            action,
            store: self,
        })
    }

    /// Says in our words what the database said.
    fn fail<T>(&self, action: &'static str, result: std::result::Result<T, sqlx::Error>) -> Result<T> {
        result.map_err(|source| sqlite::explain(self.path(), action, source))
    }
}

/// The stores that a command opened, to be closed at its end. Cheap to clone; all clones are one list.
#[derive(Debug, Clone, Default)]
pub struct Opened(Arc<Mutex<Vec<Store>>>);

/// How long closing may take at the end of a command. It is some milliseconds; what a dead disk keeps is left in the log.
const CLOSE_MAX: Duration = Duration::from_secs(5);

impl Opened {
    /// Notes a store.
    pub fn keep(&self, store: &Store) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(store.clone());
    }

    /// Closes them all.
    pub async fn close(&self) {
        let stores = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for store in stores {
            let _ = tokio::time::timeout(CLOSE_MAX, store.close()).await;
        }
    }
}

/// A write transaction; rolled back unless it is committed.
struct Write<'s> {
    transaction: Transaction<'static, Sqlite>,
    action: &'static str,
    store: &'s Store,
}

impl Write<'_> {
    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    fn check<T>(&self, result: std::result::Result<T, sqlx::Error>) -> Result<T> {
        self.store.fail(self.action, result)
    }

    async fn roll_back(self) -> Result<()> {
        let done = self.transaction.rollback().await;
        self.store.fail(self.action, done)
    }

    async fn commit(self) -> Result<()> {
        let done = self.transaction.commit().await;
        self.store.fail(self.action, done)
    }
}
