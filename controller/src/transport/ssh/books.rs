//! The known_hosts files of a command: each read once, whatever the number of hosts, and read again when somebody
//! else changed it; the project's own gets a line for each new host.
//!
//! ```text
//! look up    stat -> (changed: read and index) -> search      any number at once, as many searches as cores
//! record     in turn -> flock FILE.lock -> look up -> append the line -> sync
//! ```
//!
//! Blocking work is bounded before it is begun, so that hundreds of hosts don't fill the threads for it.

use super::known_hosts::{self, Findings, KnownHostsFile, Match, Verdict};
use super::memory::Table;
use russh::keys::PublicKey;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Mutex, Semaphore};

/// A known_hosts file of many times this size is no known_hosts file: 300,000 hosts fit.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// All files that were looked at.
#[derive(Debug)]
pub(super) struct Books {
    books: Table<PathBuf, Book>,
    searches: Semaphore,
}

impl Default for Books {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            books: Table::default(),
            searches: Semaphore::new(cores),
        }
    }
}

/// One file.
#[derive(Debug, Default)]
struct Book {
    content: RwLock<Content>,
    /// Held by who writes, so that the others wait as tasks and not as threads.
    turn: Mutex<()>,
    reads: AtomicU64,
    hmacs: AtomicU64,
}

#[derive(Debug, Default)]
struct Content {
    file: KnownHostsFile,
    /// What the file looked like when it was read; `None` before that.
    seen: Option<Stamp>,
}

/// What changes when somebody changes a file; nothing of it if there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Stamp(Option<(u64, u64, u64, i64, i64)>);

impl From<&Metadata> for Stamp {
    fn from(meta: &Metadata) -> Self {
        Self(Some((
            meta.dev(),
            meta.ino(),
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec(),
        )))
    }
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        match std::fs::metadata(path) {
            Ok(meta) => Ok(Self::from(&meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }
}

/// What looking things up took so far.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Files read whole.
    pub(super) reads: u64,
    /// Hashes of names made.
    pub(super) hmacs: u64,
}

impl Books {
    /// Finds what the files say of a host. `own` must be readable; of the others, one that is not is skipped with a
    /// warning, as OpenSSH does.
    pub(super) async fn look_up(
        &self,
        own: &Path,
        others: &[PathBuf],
        address: &str,
        port: u16,
    ) -> io::Result<Findings> {
        let with_book = |path: &Path| (path.to_path_buf(), self.books.get(path.to_path_buf()));
        let own = with_book(own);
        let others: Vec<_> = others.iter().map(|path| with_book(path)).collect();
        let address = address.to_owned();
        let _permit = self.searches.acquire().await.expect("the semaphore is never closed");
        blocking(move || {
            Findings::of(&address, port, |name| {
                let mut found = own.1.matches(&own.0, name)?;
                for (path, book) in &others {
                    match book.matches(path, name) {
                        Ok(more) => found.extend(more),
                        Err(error) => tracing::warn!(file = %path.display(), %error, "skipped a known_hosts file"),
                    }
                }
                Ok(found)
            })
        })
        .await
    }

    /// Adds a host's key to a file, unless the file says something about the host by now; gives what holds then.
    pub(super) async fn record(&self, path: &Path, address: &str, port: u16, key: &PublicKey) -> io::Result<Verdict> {
        let book = self.books.get(path.to_path_buf());
        let (path, address, key) = (path.to_path_buf(), address.to_owned(), key.clone());
        let writer = Arc::clone(&book);
        let _turn = book.turn.lock().await;
        blocking(move || writer.record(&path, &address, port, &key)).await
    }

    /// Adds up what all files took.
    #[cfg(test)]
    pub(super) fn work(&self) -> Work {
        self.books.all().iter().fold(Work::default(), |sum, book| Work {
            reads: sum.reads + book.reads.load(Ordering::Relaxed),
            hmacs: sum.hmacs + book.hmacs.load(Ordering::Relaxed),
        })
    }
}

impl Book {
    fn matches(&self, path: &Path, name: &str) -> io::Result<Vec<Match>> {
        self.refresh(path)?;
        let content = self.content.read().unwrap_or_else(PoisonError::into_inner);
        let hashed = u64::try_from(content.file.hashed_lines()).unwrap_or(u64::MAX);
        self.hmacs.fetch_add(hashed, Ordering::Relaxed);
        Ok(content.file.matches(name))
    }

    /// Reads the file unless it is as it was. One that does not exist is empty.
    fn refresh(&self, path: &Path) -> io::Result<()> {
        let now = Stamp::of(path)?;
        if self.content.read().unwrap_or_else(PoisonError::into_inner).seen == Some(now) {
            return Ok(());
        }
        let mut content = self.content.write().unwrap_or_else(PoisonError::into_inner);
        // Whoever held the lock before may have read it, or written to it, meanwhile.
        let now = Stamp::of(path)?;
        if content.seen == Some(now) {
            return Ok(());
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        content.seen = None;
        let text = match now {
            Stamp(Some((_, _, length, ..))) if length > FILE_BYTES_MAX => {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 MiB"));
            }
            Stamp(Some(_)) => std::fs::read(path)?,
            Stamp(None) => Vec::new(),
        };
        content.file = KnownHostsFile::new(path, &String::from_utf8_lossy(&text));
        content.seen = Some(now);
        Ok(())
    }

    /// Blocking. Writers of all processes queue on `FILE.lock`; readers see a line whole or not at all: it is one
    /// write, and a line that a crash cut is skipped by all who read, and ended by who writes next.
    fn record(&self, path: &Path, address: &str, port: u16, key: &PublicKey) -> io::Result<Verdict> {
        // A project's file may be a link to one that is shared: its lock is that file's.
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if let Some(folder) = target.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let mut lock_path = target.clone().into_os_string();
        lock_path.push(".lock");
        let lock = options().open(lock_path)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        let verdict = Findings::of(address, port, |name| self.matches(path, name))?.judge(key);
        if verdict != Verdict::Unknown {
            return Ok(verdict);
        }
        let file = options().append(true).open(&target)?;
        self.append(&file, &known_hosts::line(address, port, key)?)?;
        file.sync_data()?;
        Ok(Verdict::Known)
    }

    fn append(&self, mut file: &File, line: &str) -> io::Result<()> {
        let mut content = self.content.write().unwrap_or_else(PoisonError::into_inner);
        let line = match content.file.ends_within_a_line() {
            true => format!("\n{line}"),
            false => line.to_owned(),
        };
        let before = file.metadata()?.len();
        if let Err(error) = file.write_all(line.as_bytes()) {
            // A full disk took a part of it.
            let _ = file.set_len(before);
            content.seen = None;
            return Err(error);
        }
        let after = file.metadata()?;
        content.file.append(&line);
        // A program that knows nothing of our lock may have written too: then it is read anew.
        content.seen = (after.len() == before + line.len() as u64).then(|| Stamp::from(&after));
        Ok(())
    }
}

fn options() -> std::fs::OpenOptions {
    let mut options = File::options();
    options.create(true).truncate(false).write(true).mode(0o600);
    options
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)),
    }
}

#[cfg(test)]
#[path = "books_tests.rs"]
mod tests;
