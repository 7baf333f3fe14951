//! The SQLite file: making it, checking it, opening connections, and saying in our words what it complains about.
//!
//! What the tables mean is not known here.

use super::error::{Result, StoreError};
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The schema's versions in order; a file's `user_version` counts how many of them it has.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_initial.sql")];

/// Says in the file's header that it is ours: "Hold" in ASCII.
const APPLICATION_ID: i64 = 0x486f_6c64;

/// How long to wait for another process's transaction. Ours last milliseconds; half a minute means that one hangs.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait before we ask again ourselves, where SQLite does not wait.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

// SQLite's primary result codes that we tell apart: https://www.sqlite.org/rescode.html
const BUSY: u32 = 5;
const READ_ONLY: u32 = 8;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANT_OPEN: u32 = 14;
const NOT_A_DATABASE: u32 = 26;

/// How many reads may go on at once: enough for a dashboard beside a run; each costs a thread and a page cache.
const READERS_MAX: u32 = 4;

/// What an opened file gives.
pub(super) struct Opened {
    pub(super) readers: SqlitePool,
    pub(super) writer: SqlitePool,
    pub(super) controller: String,
    pub(super) place: Place,
}

/// Opens the file, after it was made and checked.
pub(super) async fn open(path: &Path) -> Result<Opened> {
    let io = |action, source| folder_error(action, path, source);
    refuse_shared(path)?;
    match fs::metadata(path) {
        // SQLite would take an empty file for a new database.
        Ok(found) if found.len() == 0 => return Err(damaged(path, "it is empty")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path).await?,
        Err(error) => return Err(io("look at the store", error)),
    }
    sweep_drafts(path);
    let place = Place::of(path).map_err(|source| io("look at the store", source))?;
    let options = options(path).synchronous(SqliteSynchronous::Full);
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(BUSY_TIMEOUT * 2)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options.clone())
        .await
        .map_err(|source| explain(path, "open the store", source))?;
    use_write_ahead_log(&writer)
        .await
        .map_err(|source| explain(path, "open the store", source))?;
    check_and_migrate(path, &writer).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .connect_with(options.pragma("query_only", "ON"))
        .await
        .map_err(|source| explain(path, "open the store", source))?;
    let controller = sqlx::query("SELECT value FROM meta WHERE key = 'controller'")
        .fetch_one(&readers)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|source| explain(path, "read the controller's id", source))?;
    Ok(Opened {
        readers,
        writer,
        controller,
        place,
    })
}

/// Which file a path named when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
        })
    }

    /// Shows the path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses when the file is not there any more: SQLite would go on writing what no name leads to.
    pub(super) fn check(&self) -> Result<()> {
        match Self::of(&self.path) {
            Ok(now) if now == *self => Ok(()),
            _ => Err(StoreError::Gone {
                path: self.path.clone(),
            }),
        }
    }
}

/// The mode bit that lets everybody write.
const WRITABLE_BY_OTHERS: u32 = 0o002;

/// Refuses a folder or a file that everybody can write. A sticky folder too: the write-ahead log is found by its name.
fn refuse_shared(path: &Path) -> Result<()> {
    for path in [path, folder_of(path)] {
        // What is missing is made, for us alone; what can't be looked at is told by what comes next.
        if fs::metadata(path).is_ok_and(|found| found.mode() & WRITABLE_BY_OTHERS != 0) {
            return Err(StoreError::Shared { path: path.to_owned() });
        }
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// How old a draft of a store is before it counts as left by a process that was killed: making one takes milliseconds.
const DRAFT_KEEP: Duration = Duration::from_secs(10 * 60);

/// Removes drafts that were never linked. What can't be removed is tried again the next time.
fn sweep_drafts(path: &Path) {
    let draft = with_suffix(path, ".new-");
    let Some(start) = draft.file_name().map(std::ffi::OsStr::as_encoded_bytes) else {
        return;
    };
    for entry in fs::read_dir(folder_of(path)).into_iter().flatten().flatten() {
        let is_draft = entry.file_name().as_encoded_bytes().starts_with(start);
        let modified = entry.metadata().and_then(|found| found.modified()).ok();
        let age = modified.and_then(|at| at.elapsed().ok()).unwrap_or_default();
        if is_draft && age > DRAFT_KEEP {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("trusted_schema", "OFF")
        // What is dropped may be a secret: its bytes are overwritten.
        .pragma("secure_delete", "ON")
        .disable_statement_logging()
}

/// Turns the write-ahead log on, if it is not yet: in a new file, or in a backup that was put in its place.
///
/// That takes the file for itself alone. While others have it open, SQLite refuses at once instead of waiting out
/// the busy timeout (its locks could wait for each other), so the waiting is ours.
async fn use_write_ahead_log(writer: &SqlitePool) -> std::result::Result<(), sqlx::Error> {
    let begun = Instant::now();
    loop {
        let switched = sqlx::query("PRAGMA journal_mode = WAL").execute(writer).await;
        match switched {
            Err(error) if primary_code(&error) == Some(BUSY) && begun.elapsed() < BUSY_TIMEOUT => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            other => return other.map(drop),
        }
    }
}

/// Makes the file under another name and links it when it is complete, so that nobody ever sees half of it.
async fn create(path: &Path) -> Result<()> {
    let wal = with_suffix(path, "-wal");
    // Another process that has just made the store has a log too; but then the file is there by now.
    if fs::metadata(&wal).is_ok_and(|found| found.len() > 0) && !path.exists() {
        return Err(damaged(
            path,
            &format!("the file is gone, but {} is there", wal.display()),
        ));
    }
    let folder = folder_of(path);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| folder_error("make the folder", folder, source))?;
    let controller = random_hex().map_err(|source| folder_error("get randomness for", path, source))?;
    let draft = with_suffix(path, &format!(".new-{controller}"));
    let made = create_draft(path, &draft, &controller).await;
    let linked = made.and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(folder_error("make the store", path, error)),
        _ => Ok(()),
    });
    let removed = fs::remove_file(&draft).map_err(|source| folder_error("remove", &draft, source));
    linked.and(removed)?;
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| folder_error("sync the folder", folder, source))
}

async fn create_draft(path: &Path, draft: &Path, controller: &str) -> Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)
        .map_err(|source| folder_error("make the store", path, source))?;
    let explain = |source| explain(path, "make the store", source);
    let mut connection = options(draft)
        .journal_mode(SqliteJournalMode::Delete)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await
        .map_err(explain)?;
    migrate(&mut connection, 0).await.map_err(explain)?;
    sqlx::query("INSERT INTO meta (key, value) VALUES ('controller', $1)")
        .bind(controller)
        .execute(&mut connection)
        .await
        .map_err(explain)?;
    connection.close().await.map_err(explain)
}

async fn check_and_migrate(path: &Path, writer: &SqlitePool) -> Result<()> {
    let explain = |source| explain(path, "check the store", source);
    let mut connection = writer.acquire().await.map_err(explain)?;
    if pragma(&mut connection, "application_id").await.map_err(explain)? != APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let known = i64::try_from(MIGRATIONS.len()).expect("a handful of migrations");
    let found = pragma(&mut connection, "user_version").await.map_err(explain)?;
    if found > known {
        return Err(StoreError::TooNew {
            path: path.to_owned(),
            found,
            known,
        });
    }
    let verdict: String = sqlx::query("PRAGMA quick_check(1)")
        .fetch_one(&mut *connection)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(explain)?;
    if verdict != "ok" {
        return Err(damaged(path, &verdict.replace('\n', "; ")));
    }
    if found < known {
        migrate(&mut connection, found).await.map_err(explain)?;
    }
    Ok(())
}

/// Brings the schema up to date in one transaction; another process may have done it since `found` was read.
async fn migrate(connection: &mut SqliteConnection, found: i64) -> std::result::Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let now = pragma(&mut transaction, "user_version").await?;
    if now != found {
        return transaction.rollback().await;
    }
    let done = usize::try_from(found).map_err(|_| MigrateError::VersionNotPresent(found))?;
    for migration in &MIGRATIONS[done..] {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
    }
    // A pragma takes no parameters.
    let stamp = format!(
        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {}",
        MIGRATIONS.len()
    );
    sqlx::raw_sql(AssertSqlSafe(stamp)).execute(&mut *transaction).await?;
    transaction.commit().await
}

async fn pragma(connection: &mut SqliteConnection, name: &'static str) -> std::result::Result<i64, sqlx::Error> {
    sqlx::query(AssertSqlSafe(format!("PRAGMA {name}")))
        .fetch_one(connection)
        .await?
        .try_get(0)
}

/// Copies a consistent state to a new file.
pub(super) async fn backup(path: &Path, to: &Path) -> Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(|source| folder_error("make the backup", to, source))?;
    // VACUUM INTO writes into an empty file, so that its mode is ours from the start.
    let done = async {
        let mut connection = options(path).connect().await?;
        sqlx::query("VACUUM INTO $1")
            .bind(to.to_string_lossy().into_owned())
            .execute(&mut connection)
            .await?;
        connection.close().await
    }
    .await;
    done.map_err(|source| {
        let _ = fs::remove_file(to);
        explain(path, "write the backup", source)
    })?;
    // VACUUM INTO does not sync what it wrote.
    fs::File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(|source| folder_error("sync the backup", to, source))
}

/// Says in our words what the database said.
pub(super) fn explain(path: &Path, action: &'static str, source: sqlx::Error) -> StoreError {
    match (primary_code(&source), &source) {
        (Some(CORRUPT | NOT_A_DATABASE), error) => {
            damaged(path, error.as_database_error().map_or("", |error| error.message()))
        }
        (Some(FULL), _) => StoreError::DiskFull { path: path.to_owned() },
        // The file is there, and can be read: what can't be opened are the files beside it.
        (Some(READ_ONLY | CANT_OPEN), _) => StoreError::ReadOnly { path: path.to_owned() },
        (Some(BUSY), _) | (None, sqlx::Error::PoolTimedOut) => StoreError::Busy {
            path: path.to_owned(),
            seconds: BUSY_TIMEOUT.as_secs(),
        },
        (None, sqlx::Error::PoolClosed) => StoreError::Closed,
        _ => StoreError::Database {
            action,
            source: Arc::new(source),
        },
    }
}

/// Finds SQLite's primary result code: the low byte of the extended one.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

fn damaged(path: &Path, detail: &str) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        detail: detail.to_owned(),
    }
}

fn folder_error(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Folder {
        action,
        path: path.to_owned(),
        source: Arc::new(source),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
