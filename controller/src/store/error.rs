//! What can go wrong in the store, and what a person does about it.

use holdfast_inventory::HostName;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the store did not do what it was asked.
///
/// Cheap to clone: a batch that could not be committed is answered to each of its callers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder or the file could not be made or read.
    #[error("failed to {action} {}", path.display())]
    Folder {
        /// What we were doing.
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// Why it failed.
        source: Arc<std::io::Error>,
    },
    /// The file is damaged, or no database at all.
    #[error(
        "the store {} is damaged ({detail}); nothing was changed: move it and its -wal and -shm files away, and put a backup of it in its place",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file is a database of another program.
    #[error("{} is a database, but not a store of holdfast; set another [store] url", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// A newer Holdfast wrote it.
    #[error(
        "the store {} has schema {found}, and this holdfast knows schemas up to {known}; use the newer holdfast that wrote it",
        path.display()
    )]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// The schema in the file.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// Everybody could put another file in its place.
    #[error(
        "{} can be written by everybody, who could put another store into it; nothing was opened: chmod o-w {}",
        path.display(),
        path.display()
    )]
    Shared {
        /// Which folder or file.
        path: PathBuf,
    },
    /// It is not where it was opened.
    #[error(
        "the store {} was moved, removed or replaced while it was in use; what happens from now on would be recorded nowhere",
        path.display()
    )]
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("the disk of the store {} is full; nothing of this was recorded: free some space and run the command again", path.display())]
    DiskFull {
        /// Which file.
        path: PathBuf,
    },
    /// The file can't be written.
    #[error("the store {} can't be written; check its owner, its mode and that its disk is mounted writable", path.display())]
    ReadOnly {
        /// Which file.
        path: PathBuf,
    },
    /// Another process held the write lock for too long.
    #[error("the store {} was locked by another process for {seconds} s; look for a holdfast that hangs", path.display())]
    Busy {
        /// Which file.
        path: PathBuf,
        /// How long we waited.
        seconds: u64,
    },
    /// The database refused otherwise.
    #[error("failed to {action}")]
    Database {
        /// What we were doing.
        action: &'static str,
        /// Why it failed.
        source: Arc<sqlx::Error>,
    },
    /// A row does not hold what was written.
    #[error(
        "failed to read {what} from the store: {detail}; the file was damaged or changed by hand; `holdfast store verify` tells how much, and what to do"
    )]
    Row {
        /// Which row.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A value could not be written as JSON.
    #[error("failed to write {what} as json")]
    Encode {
        /// What.
        what: &'static str,
        /// Why it failed.
        source: Arc<serde_json::Error>,
    },
    /// An attempt came from a process whose lease was taken over meanwhile.
    #[error(
        "the lease of {host} was taken over (epoch {ours}, now {current}); another holdfast works on it: nothing was sent"
    )]
    Fenced {
        /// Which host.
        host: HostName,
        /// The epoch of the attempt.
        ours: u64,
        /// The epoch of the lease.
        current: u64,
    },
    /// An id came a second time.
    #[error("{what} {id} was recorded before; it is not done again")]
    Duplicate {
        /// What.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A blob is larger than the store takes.
    #[error(
        "a content of {bytes} bytes is larger than the {max} bytes the store takes; bring it to the host as a package"
    )]
    BlobTooLarge {
        /// Its length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The store was closed, or its writer is gone.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Tells whether the whole file has a problem, not only what was asked of it.
    pub fn is_of_the_file(&self) -> bool {
        match self {
            Self::Folder { .. }
            | Self::Damaged { .. }
            | Self::Foreign { .. }
            | Self::TooNew { .. }
            | Self::Shared { .. }
            | Self::Gone { .. }
            | Self::DiskFull { .. }
            | Self::ReadOnly { .. }
            | Self::Busy { .. }
            | Self::Database { .. }
            | Self::Closed => true,
            Self::Row { .. }
            | Self::Encode { .. }
            | Self::Fenced { .. }
            | Self::Duplicate { .. }
            | Self::BlobTooLarge { .. } => false,
        }
    }
}

/// The result of everything that the store does.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
