//! The projections: tables that are folds of the events, written in the transaction that appends them.
//!
//! What an event means to a ledger is decided by `holdfast_plan::ledger`; here its rows are loaded, handed to the
//! fold and written back. The other tables only keep what the events say.

use super::error::{Result, StoreError};
use super::leases::{epoch_of, signed};
use super::ledgers::Loaded;
use super::sqlite;
use super::views::digest_of_run;
use holdfast_inventory::HostName;
use holdfast_plan::event::{Event, Intent, JobEnded, Record, Resolution};
use holdfast_plan::ids::{AttemptId, LifeId, MachineId, PlanId, RunId, Timestamp};
use holdfast_plan::observation::{StepReport, StepStatus};
use holdfast_plan::outcome::Outcome;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{Row, SqliteConnection};
use std::collections::BTreeMap;
use std::path::Path;

/// Every table that is a fold of the events.
pub(super) const PROJECTIONS: [&str; 9] = [
    "hosts", "machines", "ledger", "owed", "runs", "attempts", "steps", "reports", "as_found",
];

/// Carries a list of events into the tables. Ledgers are loaded once and written back by [`Projector::flush`].
pub(super) struct Projector<'p> {
    path: &'p Path,
    ledgers: BTreeMap<MachineId, Loaded>,
}

impl<'p> Projector<'p> {
    /// Begins with nothing loaded.
    pub(super) fn new(path: &'p Path) -> Self {
        Self {
            path,
            ledgers: BTreeMap::new(),
        }
    }

    fn fail<T>(&self, result: std::result::Result<T, sqlx::Error>) -> Result<T> {
        result.map_err(|source| sqlite::explain(self.path, "write the projections", source))
    }

    /// Finds the number under which an event was recorded that may come more than once. Refuses an attempt whose
    /// id was used, and one whose lease was taken over.
    pub(super) async fn recorded_before(
        &self,
        connection: &mut SqliteConnection,
        event: &Event,
    ) -> Result<Option<u64>> {
        let found = match event {
            Event::ReportRecorded {
                machine, spool, seq, ..
            } => {
                sqlx::query("SELECT seq FROM reports WHERE machine = $1 AND spool = $2 AND number = $3")
                    .bind(machine.as_str())
                    .bind(spool)
                    .bind(signed(*seq))
                    .fetch_optional(connection)
                    .await
            }
            Event::StepReported { attempt, report, .. } => {
                return self.step_recorded(connection, attempt, report).await;
            }
            Event::JobStarted { attempt, .. } => {
                sqlx::query("SELECT state_seq FROM attempts WHERE attempt = $1 AND state <> 'intended'")
                    .bind(attempt.as_str())
                    .fetch_optional(connection)
                    .await
            }
            Event::JobEnded { attempt, .. } => {
                sqlx::query("SELECT state_seq FROM attempts WHERE attempt = $1 AND ended IS NOT NULL")
                    .bind(attempt.as_str())
                    .fetch_optional(connection)
                    .await
            }
            Event::AttemptIntended(intent) => {
                let current = self.fail(epoch_of(connection, &intent.host).await)?;
                if intent.epoch < current {
                    return Err(StoreError::Fenced {
                        host: intent.host.clone(),
                        ours: intent.epoch,
                        current,
                    });
                }
                return self.refuse_duplicate(connection, "attempt", &intent.attempt.0).await;
            }
            Event::CommandIntended { attempt, .. } => {
                return self.refuse_duplicate(connection, "attempt", &attempt.0).await;
            }
            Event::RunStarted { run, .. } => return self.refuse_duplicate(connection, "run", &run.0).await,
            _ => return Ok(None),
        };
        let seq = self.fail(found.and_then(|row| row.map(|row| row.try_get::<i64, _>(0)).transpose()))?;
        Ok(seq.map(i64::unsigned_abs))
    }

    /// A step that ended stays as it was first told; one that was only begun may change something, and end, yet.
    async fn step_recorded(
        &self,
        connection: &mut SqliteConnection,
        attempt: &AttemptId,
        report: &StepReport,
    ) -> Result<Option<u64>> {
        if let Some(seq) = self.not_intended(connection, attempt, report.index).await? {
            return Ok(Some(seq));
        }
        let row = sqlx::query("SELECT seq, report FROM steps WHERE attempt = $1 AND step = $2")
            .bind(attempt.as_str())
            .bind(report.index)
            .fetch_optional(connection)
            .await;
        let Some(row) = self.fail(row)? else { return Ok(None) };
        let known: StepReport = decode("a step's report", &self.fail(row.try_get::<Vec<u8>, _>("report"))?)?;
        let seq: i64 = self.fail(row.try_get("seq"))?;
        let goes_on = known.status == StepStatus::Begun
            && (report.status != StepStatus::Begun || (report.changing && !known.changing));
        Ok((!goes_on).then_some(seq.unsigned_abs()))
    }

    /// A step that its intent does not have is nothing that we asked for, and a host could tell of new ones for ever.
    async fn not_intended(
        &self,
        connection: &mut SqliteConnection,
        attempt: &AttemptId,
        index: u32,
    ) -> Result<Option<u64>> {
        let row = sqlx::query("SELECT seq, intent FROM attempts WHERE attempt = $1 AND intent IS NOT NULL")
            .bind(attempt.as_str())
            .fetch_optional(connection)
            .await;
        let Some(row) = self.fail(row)? else { return Ok(None) };
        let intent: Intent = decode("an intent", &self.fail(row.try_get::<Vec<u8>, _>("intent"))?)?;
        let seq: i64 = self.fail(row.try_get("seq"))?;
        let intended = intent.steps.iter().any(|step| step.index == index);
        Ok((!intended).then_some(seq.unsigned_abs()))
    }

    async fn refuse_duplicate(
        &self,
        connection: &mut SqliteConnection,
        what: &'static str,
        id: &str,
    ) -> Result<Option<u64>> {
        let sql = match what {
            "run" => "SELECT 1 FROM runs WHERE run = $1",
            _ => "SELECT 1 FROM attempts WHERE attempt = $1",
        };
        let found = sqlx::query(sql).bind(id).fetch_optional(connection).await;
        match self.fail(found)? {
            None => Ok(None),
            Some(_) => Err(StoreError::Duplicate {
                what,
                id: id.to_owned(),
            }),
        }
    }

    /// Finds the run of an event: the one it names, or that of its attempt.
    pub(super) async fn run_of(&self, connection: &mut SqliteConnection, event: &Event) -> Result<Option<RunId>> {
        if let Some(run) = event.run() {
            return Ok(Some(run.clone()));
        }
        let Some(attempt) = event.attempt() else {
            return Ok(None);
        };
        let row = sqlx::query("SELECT run FROM attempts WHERE attempt = $1")
            .bind(attempt.as_str())
            .fetch_optional(connection)
            .await;
        let run = self.fail(row.and_then(|row| row.map(|row| row.try_get(0)).transpose()))?;
        Ok(run.map(RunId))
    }

    /// Carries one event into the tables, except for ledgers: those wait for [`Projector::flush`].
    pub(super) async fn project(&mut self, connection: &mut SqliteConnection, seq: i64, record: &Record) -> Result<()> {
        let (at, event) = (record.at, &record.event);
        if let Some(host) = event.host() {
            self.see_host(connection, host, at, event).await?;
        }
        match event {
            Event::RunStarted { .. } | Event::RunEnded { .. } => self.project_run(connection, seq, at, event).await?,
            Event::AttemptIntended(_)
            | Event::CommandIntended { .. }
            | Event::JobStarted { .. }
            | Event::StepReported { .. }
            | Event::JobEnded { .. }
            | Event::AttemptEnded { .. } => self.project_attempt(connection, seq, event).await?,
            Event::HostObserved { .. }
            | Event::MachineSeen { .. }
            | Event::MachineHeld { .. }
            | Event::Resolved { .. } => self.project_host(connection, at, event).await?,
            Event::ReportRecorded { .. } => self.project_report(connection, seq, at, event).await?,
            // Plans' bytes lie beside the record; adopted, forgotten and drifted resources are the ledger's; a
            // broken lease is only told.
            Event::PlanSaved { .. }
            | Event::Adopted { .. }
            | Event::Forgotten { .. }
            | Event::DriftSeen { .. }
            | Event::LeaseBroken { .. } => {}
        }
        if let Some(machine) = event.machine() {
            self.load(connection, machine).await?;
            let loaded = self.ledgers.get_mut(machine).expect("loaded in the line before");
            loaded.apply(at, event);
        }
        Ok(())
    }

    /// Notes a host, and when it was heard of: only events that need an answer of the host count as seen.
    async fn see_host(
        &self,
        connection: &mut SqliteConnection,
        host: &HostName,
        at: Timestamp,
        event: &Event,
    ) -> Result<()> {
        if !matches!(
            event,
            Event::HostObserved { .. } | Event::MachineSeen { .. } | Event::Adopted { .. } | Event::DriftSeen { .. }
        ) {
            return Ok(());
        }
        let done = sqlx::query(
            "INSERT INTO hosts (host, first_seen_ms, last_seen_ms) VALUES ($1, $2, $2)
             ON CONFLICT (host) DO UPDATE SET last_seen_ms = max(hosts.last_seen_ms, excluded.last_seen_ms)",
        )
        .bind(host.as_str())
        .bind(at.0)
        .execute(connection)
        .await;
        self.fail(done).map(drop)
    }

    async fn project_host(&self, connection: &mut SqliteConnection, at: Timestamp, event: &Event) -> Result<()> {
        match event {
            Event::HostObserved {
                host,
                machine,
                facts_digest,
                facts,
            } => {
                let done = sqlx::query(
                    "UPDATE hosts SET facts = $2, facts_digest = $3, machine = coalesce(machine, $4) WHERE host = $1",
                )
                .bind(host.as_str())
                .bind(encode("facts", facts)?)
                .bind(facts_digest)
                .bind(machine.as_ref().map(MachineId::as_str))
                .execute(&mut *connection)
                .await;
                self.fail(done)?;
                match machine {
                    Some(machine) => self.see_machine(connection, machine, host, at).await,
                    None => Ok(()),
                }
            }
            Event::MachineSeen { machine, host } => {
                let done = sqlx::query(
                    "UPDATE hosts SET machine = CASE WHEN host = $1 THEN $2 END WHERE host = $1 OR machine = $2",
                )
                .bind(host.as_str())
                .bind(machine.as_str())
                .execute(&mut *connection)
                .await;
                self.fail(done)?;
                self.see_machine(connection, machine, host, at).await?;
                let done = sqlx::query("UPDATE machines SET host = $2 WHERE machine = $1")
                    .bind(machine.as_str())
                    .bind(host.as_str())
                    .execute(connection)
                    .await;
                self.fail(done).map(drop)
            }
            Event::MachineHeld { host, why, .. } => {
                let done = sqlx::query(
                    "INSERT INTO hosts (host, first_seen_ms, last_seen_ms, held) VALUES ($1, $2, $2, $3)
                     ON CONFLICT (host) DO UPDATE SET held = excluded.held",
                )
                .bind(host.as_str())
                .bind(at.0)
                .bind(encode("why a machine is held", why)?)
                .execute(connection)
                .await;
                self.fail(done).map(drop)
            }
            // A job that is gone says nothing of what the machine is held for.
            Event::Resolved {
                how: Resolution::JobDropped { .. },
                ..
            } => Ok(()),
            Event::Resolved {
                host,
                address: None,
                how,
                machine,
                ..
            } => {
                if let Resolution::AsFound { attempt, lives } = how {
                    let ids = attempt.iter().map(AttemptId::as_str);
                    self.take_as_found(connection, machine, ids.chain(lives.iter().map(LifeId::as_str)))
                        .await?;
                }
                let renew = matches!(how, Resolution::NewMachine);
                let done = sqlx::query(
                    "UPDATE hosts SET held = NULL, machine = CASE WHEN $2 THEN NULL ELSE machine END WHERE host = $1",
                )
                .bind(host.as_str())
                .bind(renew)
                .execute(connection)
                .await;
                self.fail(done).map(drop)
            }
            _ => Ok(()),
        }
    }

    async fn take_as_found<'i>(
        &self,
        connection: &mut SqliteConnection,
        machine: &MachineId,
        ids: impl Iterator<Item = &'i str>,
    ) -> Result<()> {
        for id in ids {
            let done = sqlx::query("INSERT INTO as_found (machine, id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(machine.as_str())
                .bind(id)
                .execute(&mut *connection)
                .await;
            self.fail(done)?;
        }
        Ok(())
    }

    async fn see_machine(
        &self,
        connection: &mut SqliteConnection,
        machine: &MachineId,
        host: &HostName,
        at: Timestamp,
    ) -> Result<()> {
        let done = sqlx::query(
            "INSERT INTO machines (machine, host, first_seen_ms) VALUES ($1, $2, $3) ON CONFLICT (machine) DO NOTHING",
        )
        .bind(machine.as_str())
        .bind(host.as_str())
        .bind(at.0)
        .execute(connection)
        .await;
        self.fail(done).map(drop)
    }

    async fn project_run(
        &self,
        connection: &mut SqliteConnection,
        seq: i64,
        at: Timestamp,
        event: &Event,
    ) -> Result<()> {
        let done = match event {
            Event::RunStarted {
                run,
                kind,
                plan,
                hosts,
                by,
                command,
            } => {
                sqlx::query(
                    "INSERT INTO runs (run, seq, kind, plan, hosts, started_by, command, started_ms, digest)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '')",
                )
                .bind(run.as_str())
                .bind(seq)
                .bind(word("the kind of a run", kind)?)
                .bind(plan.as_ref().map(PlanId::as_str))
                .bind(encode("the hosts of a run", hosts)?)
                .bind(by)
                .bind(command)
                .bind(at.0)
                .execute(&mut *connection)
                .await
            }
            Event::RunEnded { run, recap } => {
                sqlx::query("UPDATE runs SET ended_ms = $2, recap = $3 WHERE run = $1")
                    .bind(run.as_str())
                    .bind(at.0)
                    .bind(encode("a recap", recap)?)
                    .execute(&mut *connection)
                    .await
            }
            _ => return Ok(()),
        };
        self.fail(done)?;
        let Some(run) = event.run() else { return Ok(()) };
        let row = sqlx::query("SELECT * FROM runs WHERE run = $1")
            .bind(run.as_str())
            .fetch_optional(&mut *connection)
            .await;
        let Some(row) = self.fail(row)? else { return Ok(()) };
        let done = sqlx::query("UPDATE runs SET digest = $2 WHERE run = $1")
            .bind(run.as_str())
            .bind(digest_of_run(&row)?)
            .execute(connection)
            .await;
        self.fail(done).map(drop)
    }

    async fn project_attempt(&self, connection: &mut SqliteConnection, seq: i64, event: &Event) -> Result<()> {
        let done = match event {
            Event::AttemptIntended(intent) => {
                sqlx::query(
                    "INSERT INTO attempts (attempt, seq, run, host, machine, epoch, intent, state, state_seq)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, 'intended', $2)",
                )
                .bind(intent.attempt.as_str())
                .bind(seq)
                .bind(intent.run.as_str())
                .bind(intent.host.as_str())
                .bind(intent.machine.as_str())
                .bind(signed(intent.epoch))
                .bind(encode("an intent", intent)?)
                .execute(connection)
                .await
            }
            Event::CommandIntended { run, host, attempt } => {
                sqlx::query(
                    "INSERT INTO attempts (attempt, seq, run, host, state, state_seq)
                     VALUES ($1, $2, $3, $4, 'intended', $2)",
                )
                .bind(attempt.as_str())
                .bind(seq)
                .bind(run.as_str())
                .bind(host.as_str())
                .execute(connection)
                .await
            }
            Event::JobStarted { attempt, .. } => {
                sqlx::query(
                    "UPDATE attempts SET state = 'started', state_seq = $2 WHERE attempt = $1 AND state = 'intended'",
                )
                .bind(attempt.as_str())
                .bind(seq)
                .execute(connection)
                .await
            }
            Event::StepReported { attempt, report, .. } => {
                sqlx::query(
                    "INSERT INTO steps (attempt, step, seq, report) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (attempt, step) DO UPDATE SET seq = excluded.seq, report = excluded.report",
                )
                .bind(attempt.as_str())
                .bind(report.index)
                .bind(seq)
                .bind(encode("a step's report", report)?)
                .execute(connection)
                .await
            }
            Event::JobEnded { attempt, ended, .. } => {
                // A job that never started has no folder to acknowledge.
                let state = match ended {
                    JobEnded::NeverStarted => "over",
                    JobEnded::Ended { .. } | JobEnded::Interrupted => "collected",
                };
                sqlx::query("UPDATE attempts SET state = $2, state_seq = $3, ended = $4 WHERE attempt = $1")
                    .bind(attempt.as_str())
                    .bind(state)
                    .bind(seq)
                    .bind(encode("the end of a job", ended)?)
                    .execute(connection)
                    .await
            }
            Event::AttemptEnded {
                attempt: Some(attempt),
                result,
                ..
            } => {
                // `unknown` leaves a job unfinished: the next command asks the host. For a command there is nobody
                // to ask.
                let unknown = matches!(result, Outcome::Unknown { .. });
                sqlx::query(
                    "UPDATE attempts SET result = $2,
                       state = CASE WHEN state IN ('intended', 'started') AND (NOT $3 OR intent IS NULL) THEN 'over' ELSE state END,
                       state_seq = CASE WHEN state IN ('intended', 'started') AND (NOT $3 OR intent IS NULL) THEN $4 ELSE state_seq END
                     WHERE attempt = $1",
                )
                .bind(attempt.as_str())
                .bind(encode("an outcome", result)?)
                .bind(unknown)
                .bind(seq)
                .execute(connection)
                .await
            }
            _ => return Ok(()),
        };
        self.fail(done).map(drop)
    }

    async fn project_report(
        &self,
        connection: &mut SqliteConnection,
        seq: i64,
        at: Timestamp,
        event: &Event,
    ) -> Result<()> {
        let Event::ReportRecorded {
            host,
            machine,
            spool,
            seq: number,
            digest,
            observed_at,
            resources,
        } = event
        else {
            return Ok(());
        };
        let done = sqlx::query(
            "INSERT INTO reports (machine, spool, number, seq, host, digest, observed_ms, recorded_ms, resources)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(machine.as_str())
        .bind(spool)
        .bind(signed(*number))
        .bind(seq)
        .bind(host.as_str())
        .bind(digest)
        .bind(observed_at.0)
        .bind(at.0)
        .bind(encode("a report", resources)?)
        .execute(connection)
        .await;
        self.fail(done).map(drop)
    }

    async fn load(&mut self, connection: &mut SqliteConnection, machine: &MachineId) -> Result<()> {
        if !self.ledgers.contains_key(machine) {
            let loaded = Loaded::read(self.path, connection, machine).await?;
            self.ledgers.insert(machine.clone(), loaded);
        }
        Ok(())
    }

    /// Writes what changed in the ledgers.
    pub(super) async fn flush(&mut self, connection: &mut SqliteConnection) -> Result<()> {
        for (machine, loaded) in std::mem::take(&mut self.ledgers) {
            let written = loaded.write(connection, &machine).await?;
            self.fail(written)?;
        }
        Ok(())
    }
}

/// Writes a value as json.
pub(super) fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|source| StoreError::Encode {
        what,
        source: source.into(),
    })
}

/// Writes an enum without fields as the word that serde gives it.
pub(super) fn word<T: Serialize>(what: &'static str, value: &T) -> Result<String> {
    let text = serde_json::to_string(value).map_err(|source| StoreError::Encode {
        what,
        source: source.into(),
    })?;
    Ok(text.trim_matches('"').to_owned())
}

/// Reads a value that was written as json.
pub(super) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Row {
        what: what.to_owned(),
        detail: error.to_string(),
    })
}
