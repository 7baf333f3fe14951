//! The events: appended through one writer that batches, read in order, verified as a chain.
//!
//! Each caller of [`Store::append`] is answered only after the commit that holds its events. What an event means
//! to the tables is `projections`'s.

use super::chain::{Broken, Fault, Hash, START, Walk, link};
use super::error::{Result, StoreError};
use super::leases::signed;
use super::projections::Projector;
use super::sqlite::Place;
use super::{Store, sqlite};
use crate::redact;
use holdfast_inventory::HostName;
use holdfast_plan::event::{Event, Record};
use holdfast_plan::ids::{RunId, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection, SqlitePool};
use std::collections::BTreeMap;
use std::path::Path;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

/// How many appends may wait for the writer. Hosts that report faster than the disk syncs wait here; a few
/// hundred are a few hundred kilobytes.
const QUEUE_APPENDS: usize = 256;

/// How many appends one transaction takes. One sync for all of them; more would make the first one wait longer.
const BATCH_APPENDS: usize = 128;

/// How many of the last events are verified when the store is opened: some tens of milliseconds. All of them are
/// by [`Store::verify_chain`].
pub(super) const OPEN_VERIFY_EVENTS: u64 = 10_000;

/// How many events are read at a time when all of them are walked: bounds memory.
const PAGE_EVENTS: i64 = 1_000;

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number in the store, from 1.
    pub seq: u64,
    /// The event with its time.
    pub record: Record,
}

/// What waits for the writer.
#[derive(Debug)]
struct Append {
    at: Timestamp,
    events: Vec<Event>,
    answer: oneshot::Sender<Result<Vec<u64>>>,
}

/// The way to the writer.
#[derive(Debug)]
pub(super) struct Queue {
    sender: Mutex<Option<mpsc::Sender<Append>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    /// Starts the writer. It ends when the store is dropped or finished, after what is queued.
    pub(super) fn start(place: Place, pool: SqlitePool, chain: String) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_APPENDS);
        let writer = tokio::spawn(write_batches(place, pool, chain, receiver));
        Self {
            sender: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(writer)),
        }
    }

    /// Waits until the writer has answered everything.
    pub(super) async fn finish(&self) {
        drop(self.sender.lock().await.take());
        if let Some(writer) = self.writer.lock().await.take()
            && let Err(error) = writer.await
        {
            tracing::error!(%error, "the store's writer ended badly");
        }
    }

    async fn send(&self, append: Append) -> Result<()> {
        let sender = self.sender.lock().await.clone().ok_or(StoreError::Closed)?;
        sender.send(append).await.map_err(|_| StoreError::Closed)
    }
}

impl Store {
    /// Appends events, all or none, and updates the projections in the same transaction. Answers after the commit,
    /// with the number of each event.
    ///
    /// What was recorded before (a report of the same spool and number, a step of an attempt that is known
    /// to have ended, a job's start or end) is not recorded again and gives the number of the first one. An attempt
    /// id that was used before, and one whose lease was taken over, is refused.
    ///
    /// What hosts say is redacted on its way in: the log is for ever.
    pub async fn append(&self, at: Timestamp, mut events: Vec<Event>) -> Result<Vec<u64>> {
        events.iter_mut().for_each(redact::event);
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, answered) = oneshot::channel();
        self.inner.appends.send(Append { at, events, answer }).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Reads events with numbers above `after`, in order.
    pub async fn events(&self, after: u64, limit: u32) -> Result<Vec<StoredEvent>> {
        let rows = sqlx::query("SELECT seq, json FROM events WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(signed(after))
            .bind(limit)
            .fetch_all(self.readers())
            .await;
        self.fail("read events", rows)?.iter().map(stored_of_row).collect()
    }

    /// Reads the events of a run: those that name it, and what its attempts reported, even to later runs.
    pub async fn events_of_run(&self, run: &RunId) -> Result<Vec<StoredEvent>> {
        let rows = sqlx::query("SELECT seq, json FROM events WHERE run = $1 ORDER BY seq")
            .bind(run.as_str())
            .fetch_all(self.readers())
            .await;
        self.fail("read the events of a run", rows)?
            .iter()
            .map(stored_of_row)
            .collect()
    }

    /// Verifies every event of every chain; gives their count, or the first broken one.
    pub async fn verify_chain(&self) -> Result<Result<u64, Broken>> {
        self.verify_from(0).await
    }

    /// Verifies the last `count` events, trusting the link before them.
    pub(super) async fn verify_tail(&self, count: u64) -> Result<Result<u64, Broken>> {
        let last = sqlx::query("SELECT coalesce(max(seq), 0) FROM events")
            .fetch_one(self.readers())
            .await
            .and_then(|row| row.try_get::<i64, _>(0));
        let last = self.fail("read events", last)?.unsigned_abs();
        self.verify_from(last.saturating_sub(count)).await
    }

    async fn verify_from(&self, after: u64) -> Result<Result<u64, Broken>> {
        // One read transaction, so that the heads are those of the events that are walked.
        let begun = self.readers().begin().await;
        let mut transaction = self.fail("verify the events", begun)?;
        let verdict = verify(&mut transaction, after).await;
        self.fail("verify the events", verdict)
    }
}

/// Takes appends from the queue, as many as wait, and commits them together.
async fn write_batches(place: Place, pool: SqlitePool, chain: String, mut receiver: mpsc::Receiver<Append>) {
    let mut batch = Vec::with_capacity(BATCH_APPENDS);
    while receiver.recv_many(&mut batch, BATCH_APPENDS).await > 0 {
        let appends = std::mem::take(&mut batch);
        match write_batch(&place, &pool, &chain, &appends).await {
            Ok(results) => {
                for (append, result) in appends.into_iter().zip(results) {
                    // Whoever asked may have gone meanwhile; the events are kept all the same.
                    let _ = append.answer.send(result);
                }
            }
            Err(error) => {
                for append in appends {
                    let _ = append.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Commits a batch. An append that is refused is rolled back alone; when the database fails, all are.
async fn write_batch(
    place: &Place,
    pool: &SqlitePool,
    chain: &str,
    appends: &[Append],
) -> Result<Vec<Result<Vec<u64>>>> {
    place.check()?;
    let path = place.path();
    let explain = |source| sqlite::explain(path, "append events", source);
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(explain)?;
    let mut results = Vec::with_capacity(appends.len());
    for append in appends {
        let mut savepoint = transaction.begin().await.map_err(explain)?;
        let result = append_in(path, &mut savepoint, chain, append.at, &append.events).await;
        match &result {
            Ok(_) => savepoint.commit().await.map_err(explain)?,
            Err(error) if error.is_of_the_file() => return Err(error.clone()),
            Err(_) => savepoint.rollback().await.map_err(explain)?,
        }
        results.push(result);
    }
    transaction.commit().await.map_err(explain)?;
    Ok(results)
}

/// Appends events within a write transaction and projects them.
pub(super) async fn append_in(
    path: &Path,
    connection: &mut SqliteConnection,
    chain: &str,
    at: Timestamp,
    events: &[Event],
) -> Result<Vec<u64>> {
    let explain = |source| sqlite::explain(path, "append events", source);
    let mut head = read_head(connection, chain).await.map_err(explain)?;
    let mut projector = Projector::new(path);
    let mut numbers = Vec::with_capacity(events.len());
    for event in events {
        if let Some(seq) = projector.recorded_before(connection, event).await? {
            numbers.push(seq);
            continue;
        }
        let record = Record::new(at, event.clone());
        let json = record.to_json();
        let hash = link(&head.hash, json.as_bytes());
        let run = projector.run_of(connection, event).await?;
        let seq: i64 = sqlx::query(
            "INSERT INTO events (seq, chain, at_ms, run, host, json, prev_hash, hash)
             VALUES ((SELECT coalesce(max(seq), 0) + 1 FROM events), $1, $2, $3, $4, $5, $6, $7) RETURNING seq",
        )
        .bind(chain)
        .bind(at.0)
        .bind(run.as_ref().map(RunId::as_str))
        .bind(event.host().map(HostName::as_str))
        .bind(json.as_bytes())
        .bind(head.hash.as_slice())
        .bind(hash.as_slice())
        .fetch_one(&mut *connection)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(explain)?;
        head = Head { seq, hash };
        projector.project(connection, seq, &record).await?;
        numbers.push(seq.unsigned_abs());
    }
    projector.flush(connection).await?;
    write_head(connection, chain, &head).await.map_err(explain)?;
    Ok(numbers)
}

/// The last link of a chain.
struct Head {
    seq: i64,
    hash: Hash,
}

async fn read_head(connection: &mut SqliteConnection, chain: &str) -> std::result::Result<Head, sqlx::Error> {
    let row = sqlx::query("SELECT seq, hash FROM chains WHERE chain = $1")
        .bind(chain)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else {
        return Ok(Head { seq: 0, hash: START });
    };
    let hash: Vec<u8> = row.try_get("hash")?;
    Ok(Head {
        seq: row.try_get("seq")?,
        hash: hash
            .try_into()
            .map_err(|_| sqlx::Error::Decode("the head of the chain has no 32 bytes".into()))?,
    })
}

async fn write_head(
    connection: &mut SqliteConnection,
    chain: &str,
    head: &Head,
) -> std::result::Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO chains (chain, seq, hash) VALUES ($1, $2, $3)
         ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
    )
    .bind(chain)
    .bind(head.seq)
    .bind(head.hash.as_slice())
    .execute(connection)
    .await?;
    Ok(())
}

/// Walks the events after a number. The first event of a chain that is met is trusted to follow the one before,
/// unless the walk began at the start.
async fn verify(
    connection: &mut SqliteConnection,
    after: u64,
) -> std::result::Result<Result<u64, Broken>, sqlx::Error> {
    let mut walks: BTreeMap<String, (i64, Walk)> = BTreeMap::new();
    let mut last = signed(after);
    let mut count = 0;
    loop {
        let rows = sqlx::query(
            "SELECT seq, chain, at_ms, json, prev_hash, hash FROM events WHERE seq > $1 ORDER BY seq LIMIT $2",
        )
        .bind(last)
        .bind(PAGE_EVENTS)
        .fetch_all(&mut *connection)
        .await?;
        for row in &rows {
            let seq: i64 = row.try_get("seq")?;
            let chain: String = row.try_get("chain")?;
            let previous: Vec<u8> = row.try_get("prev_hash")?;
            let json: Vec<u8> = row.try_get("json")?;
            let hash: Vec<u8> = row.try_get("hash")?;
            let broken = |fault| Broken {
                seq: seq.unsigned_abs(),
                chain: chain.clone(),
                fault,
            };
            // Numbers have no gaps: events are never deleted, and a rolled back number is given again.
            if seq != last + 1 {
                return Ok(Err(broken(Fault::Unlinked)));
            }
            let (reached, walk) = walks.entry(chain.clone()).or_insert_with(|| {
                let trusted = <Hash>::try_from(previous.as_slice()).unwrap_or(START);
                (
                    0,
                    if after == 0 {
                        Walk::default()
                    } else {
                        Walk::after(trusted)
                    },
                )
            });
            if let Err(fault) = walk.step(&previous, &json, &hash) {
                return Ok(Err(broken(fault)));
            }
            let at = serde_json::from_slice::<At>(&json).map(|at| at.at);
            if at.ok() != Some(row.try_get("at_ms")?) {
                return Ok(Err(broken(Fault::Columns)));
            }
            *reached = seq;
            last = seq;
            count += 1;
        }
        if rows.len() < usize::try_from(PAGE_EVENTS).unwrap_or(usize::MAX) {
            break;
        }
    }
    for row in sqlx::query("SELECT chain, seq, hash FROM chains")
        .fetch_all(connection)
        .await?
    {
        let chain: String = row.try_get("chain")?;
        let (head, hash): (i64, Vec<u8>) = (row.try_get("seq")?, row.try_get("hash")?);
        let (reached, agrees) = walks
            .get(&chain)
            .map_or((0, false), |(reached, walk)| (*reached, walk.last().as_slice() == hash));
        if head > signed(after) && (reached != head || !agrees) {
            return Ok(Err(Broken {
                seq: reached.unsigned_abs(),
                chain,
                fault: Fault::CutOff,
            }));
        }
    }
    Ok(Ok(count))
}

/// The part of a stored event that has a column of its own.
#[derive(serde::Deserialize)]
struct At {
    at: i64,
}

fn stored_of_row(row: &SqliteRow) -> Result<StoredEvent> {
    let read =
        || -> std::result::Result<(i64, Vec<u8>), sqlx::Error> { Ok((row.try_get("seq")?, row.try_get("json")?)) };
    let (seq, json) = read().map_err(|error| StoreError::Row {
        what: "an event".to_owned(),
        detail: error.to_string(),
    })?;
    Ok(StoredEvent {
        seq: seq.unsigned_abs(),
        record: record_of(seq, &json)?,
    })
}

/// Reads a stored event.
pub(super) fn record_of(seq: i64, json: &[u8]) -> Result<Record> {
    let failed = |detail: String| StoreError::Row {
        what: format!("event {seq}"),
        detail,
    };
    let text = std::str::from_utf8(json).map_err(|error| failed(error.to_string()))?;
    Record::from_json(text).map_err(|error| failed(error.to_string()))
}
