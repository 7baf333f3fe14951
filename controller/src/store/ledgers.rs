//! Ledgers as tables: loaded for the fold, written back where it changed them.
//!
//! An entry lies beside the SHA-256 of its bytes, because undo relies on them: a changed one is refused.

use super::error::{Result, StoreError};
use super::leases::signed;
use super::projections::{decode, encode, word};
use super::sqlite;
use holdfast_plan::content::sha256_hex;
use holdfast_plan::event::{Event, Intent};
use holdfast_plan::ids::{AttemptId, MachineId, Timestamp};
use holdfast_plan::ledger::{Ledger, LedgerEntry, LedgerFold, OpenJob, Progress};
use sqlx::{Row, SqliteConnection};
use std::collections::BTreeMap;
use std::path::Path;

/// A ledger as it was loaded and as it is now.
pub(super) struct Loaded {
    before: Ledger,
    now: Ledger,
    open_before: BTreeMap<AttemptId, Progress>,
    fold: LedgerFold,
}

impl Loaded {
    /// Reads the ledger of a machine and its open jobs.
    pub(super) async fn read(path: &Path, connection: &mut SqliteConnection, machine: &MachineId) -> Result<Self> {
        let explain = |source| sqlite::explain(path, "read a ledger", source);
        let before = load_ledger(path, connection, machine).await?;
        let rows = sqlx::query("SELECT intent, open FROM attempts WHERE machine = $1 AND open IS NOT NULL")
            .bind(machine.as_str())
            .fetch_all(connection)
            .await
            .map_err(explain)?;
        let mut fold = LedgerFold::default();
        for row in rows {
            let intent: Vec<u8> = row.try_get("intent").map_err(explain)?;
            let intent: Intent = decode("an intent", &intent)?;
            let progress: Vec<u8> = row.try_get("open").map_err(explain)?;
            let progress: Progress = decode("the progress of a job", &progress)?;
            fold.open.insert(intent.attempt.clone(), OpenJob { intent, progress });
        }
        Ok(Self {
            now: before.clone(),
            before,
            open_before: progress(&fold),
            fold,
        })
    }

    /// Carries an event that was recorded `at` a time into the ledger.
    pub(super) fn apply(&mut self, at: Timestamp, event: &Event) {
        self.fold.apply(&mut self.now, at, event);
    }

    /// Writes the rows in which the ledger differs from what was read.
    pub(super) async fn write(
        &self,
        connection: &mut SqliteConnection,
        machine: &MachineId,
    ) -> Result<std::result::Result<(), sqlx::Error>> {
        write_rows(connection, machine, self).await
    }
}

/// The jobs that are open, with how far each has come.
fn progress(fold: &LedgerFold) -> BTreeMap<AttemptId, Progress> {
    fold.open
        .iter()
        .map(|(attempt, job)| (attempt.clone(), job.progress.clone()))
        .collect()
}

/// Reads the ledger of a machine.
pub(super) async fn load_ledger(path: &Path, connection: &mut SqliteConnection, machine: &MachineId) -> Result<Ledger> {
    let explain = |source| sqlite::explain(path, "read a ledger", source);
    let mut ledger = Ledger::default();
    let rows = sqlx::query("SELECT address, entry, digest FROM ledger WHERE machine = $1")
        .bind(machine.as_str())
        .fetch_all(&mut *connection)
        .await
        .map_err(explain)?;
    for row in rows {
        let address: String = row.try_get("address").map_err(explain)?;
        let entry: Vec<u8> = row.try_get("entry").map_err(explain)?;
        let digest: Vec<u8> = row.try_get("digest").map_err(explain)?;
        let failed = |detail: String| StoreError::Row {
            what: format!("the ledger entry {address} of machine {machine}"),
            detail,
        };
        if sha256_hex(&entry).as_bytes() != digest {
            return Err(failed("its bytes were changed".to_owned()));
        }
        let entry: LedgerEntry = serde_json::from_slice(&entry).map_err(|error| failed(error.to_string()))?;
        let address = address.parse().map_err(|error| failed(format!("{error}")))?;
        ledger.entries.insert(address, entry);
    }
    let rows = sqlx::query("SELECT address, changed FROM owed WHERE machine = $1")
        .bind(machine.as_str())
        .fetch_all(connection)
        .await
        .map_err(explain)?;
    for row in rows {
        let address: String = row.try_get("address").map_err(explain)?;
        let changed: Vec<u8> = row.try_get("changed").map_err(explain)?;
        let address = address.parse().map_err(|error| StoreError::Row {
            what: format!("an owed restart of machine {machine}"),
            detail: format!("{error}"),
        })?;
        ledger.owed.insert(address, decode("an owed restart", &changed)?);
    }
    Ok(ledger)
}

async fn write_rows(
    connection: &mut SqliteConnection,
    machine: &MachineId,
    loaded: &Loaded,
) -> Result<std::result::Result<(), sqlx::Error>> {
    let (before, now) = (&loaded.before, &loaded.now);
    let mut entries = Vec::new();
    for (address, entry) in &now.entries {
        if before.entries.get(address) != Some(entry) {
            let words = (word("a phase", &entry.phase)?, word("an origin", &entry.origin())?);
            entries.push((address, entry.sequence, words, encode("a ledger entry", entry)?));
        }
    }
    let mut owed = Vec::new();
    for (address, changed) in &now.owed {
        if before.owed.get(address) != Some(changed) {
            owed.push((address, encode("an owed restart", changed)?));
        }
    }
    let open = progress(&loaded.fold);
    let closed = loaded.open_before.keys().filter(|attempt| !open.contains_key(attempt));
    let mut jobs: Vec<(&AttemptId, Option<Vec<u8>>)> = closed.map(|attempt| (attempt, None)).collect();
    for (attempt, progress) in &open {
        if loaded.open_before.get(attempt) != Some(progress) {
            jobs.push((attempt, Some(encode("the progress of a job", progress)?)));
        }
    }
    let written = async {
        for (address, sequence, (phase, origin), entry) in entries {
            sqlx::query(
                "INSERT INTO ledger (machine, address, sequence, phase, origin, digest, entry)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (machine, address) DO UPDATE SET sequence = excluded.sequence, phase = excluded.phase,
                   origin = excluded.origin, digest = excluded.digest, entry = excluded.entry",
            )
            .bind(machine.as_str())
            .bind(address.to_string())
            .bind(signed(sequence))
            .bind(phase)
            .bind(origin)
            .bind(sha256_hex(&entry).into_bytes())
            .bind(entry)
            .execute(&mut *connection)
            .await?;
        }
        for address in before
            .entries
            .keys()
            .filter(|address| !now.entries.contains_key(address))
        {
            sqlx::query("DELETE FROM ledger WHERE machine = $1 AND address = $2")
                .bind(machine.as_str())
                .bind(address.to_string())
                .execute(&mut *connection)
                .await?;
        }
        for (address, changed) in owed {
            sqlx::query(
                "INSERT INTO owed (machine, address, changed) VALUES ($1, $2, $3)
                 ON CONFLICT (machine, address) DO UPDATE SET changed = excluded.changed",
            )
            .bind(machine.as_str())
            .bind(address.to_string())
            .bind(changed)
            .execute(&mut *connection)
            .await?;
        }
        for address in before.owed.keys().filter(|address| !now.owed.contains_key(address)) {
            sqlx::query("DELETE FROM owed WHERE machine = $1 AND address = $2")
                .bind(machine.as_str())
                .bind(address.to_string())
                .execute(&mut *connection)
                .await?;
        }
        for (attempt, progress) in jobs {
            sqlx::query("UPDATE attempts SET open = $2 WHERE attempt = $1")
                .bind(attempt.as_str())
                .bind(progress)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    };
    Ok(written.await)
}
