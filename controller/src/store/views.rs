//! Reads: what the projections say, as types.
//!
//! Reads go through their own connections and see the last commit; they never wait for the writer.

use super::Store;
use super::error::{Result, StoreError};
use super::ledgers::load_ledger;
use super::projections::{decode, encode};
use holdfast_inventory::HostName;
use holdfast_plan::address::Address;
use holdfast_plan::content::sha256_hex;
use holdfast_plan::event::{HoldReason, Intent, JobEnded, RunKind};
use holdfast_plan::ids::{AttemptId, MachineId, PlanId, RunId, Timestamp};
use holdfast_plan::ledger::Ledger;
use holdfast_plan::observation::{Attributes, Facts, StepReport};
use holdfast_plan::outcome::{Outcome, Tally};
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::collections::BTreeMap;

/// A host that was met, whether or not it is in the inventory now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostView {
    /// Its name in the inventory.
    pub host: HostName,
    /// The machine it is bound to.
    pub machine: Option<MachineId>,
    /// When it was first met.
    pub first_seen: Timestamp,
    /// When it last answered.
    pub last_seen: Timestamp,
    /// Why nothing is applied to it, if so.
    pub held: Option<HoldReason>,
    /// What it last said of itself.
    pub facts: Option<Facts>,
    /// SHA-256 of the facts, as the event gave it.
    pub facts_digest: Option<String>,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its id.
    pub machine: MachineId,
    /// The host that it is, or was last, behind.
    pub host: HostName,
    /// Whether that host is bound to it still.
    pub bound: bool,
    /// When it was first met.
    pub first_seen: Timestamp,
    /// When its host last answered.
    pub last_seen: Timestamp,
    /// Why nothing is applied to it, if so.
    pub held: Option<HoldReason>,
    /// How many entries its ledger has, by phase.
    pub phases: BTreeMap<String, u64>,
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunView {
    /// Its id.
    pub run: RunId,
    /// What for.
    pub kind: RunKind,
    /// The plan it carried out.
    pub plan: Option<PlanId>,
    /// Every host it was for.
    pub hosts: Vec<HostName>,
    /// Who started it.
    pub by: String,
    /// What they typed.
    pub command: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; `None`: it is going on, or the controller died.
    pub ended: Option<Timestamp>,
    /// How its hosts ended.
    pub recap: Option<Tally>,
}

/// A run with its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDetail {
    /// The run.
    pub run: RunView,
    /// Its attempts, in the order in which they were intended.
    pub attempts: Vec<Attempt>,
}

/// How far an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptState {
    /// It may have been sent.
    Intended,
    /// The host said that it runs.
    Started,
    /// The job ended and all its steps are recorded; its folder may still be on the host.
    Collected,
    /// Its folder is known to be removed from the host.
    Acked,
    /// It ended without a job on the host.
    Over,
}

/// One try of one task on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its id.
    pub attempt: AttemptId,
    /// In which run.
    pub run: RunId,
    /// On which host.
    pub host: HostName,
    /// How far it came.
    pub state: AttemptState,
    /// What was to be done, for jobs; `None` for an ad-hoc command.
    pub intent: Option<Intent>,
    /// How the job ended on the host.
    pub ended: Option<JobEnded>,
    /// How the task ended in its run.
    pub result: Option<Outcome>,
    /// The last report of each step, by number.
    pub steps: Vec<StepReport>,
}

/// A report of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentReport {
    /// From which host.
    pub host: HostName,
    /// From which machine.
    pub machine: MachineId,
    /// Which spool.
    pub spool: String,
    /// Which report in it.
    pub number: u64,
    /// SHA-256 of its bytes.
    pub digest: String,
    /// When the agent made it, by our clock.
    pub observed: Timestamp,
    /// When it was recorded here.
    pub recorded: Timestamp,
    /// What its probes found.
    pub resources: BTreeMap<Address, Attributes>,
}

const ATTEMPT_COLUMNS: &str = "SELECT a.attempt, a.run, a.host, a.state, a.intent, a.ended, a.result,
    k.attempt IS NOT NULL AS acked FROM attempts a LEFT JOIN acked k ON k.attempt = a.attempt";

const HOST_COLUMNS: &str = "SELECT h.host, h.machine, h.first_seen_ms,
    max(h.last_seen_ms, coalesce(s.last_ms, 0)) AS last_ms, h.held, h.facts, h.facts_digest
    FROM hosts h LEFT JOIN seen s ON s.host = h.host";

impl Store {
    /// Reads the ledger of a machine; empty for one that is not known.
    pub async fn ledger(&self, machine: &MachineId) -> Result<Ledger> {
        // One read transaction: entries and owed restarts of one moment.
        let begun = self.readers().begin().await;
        let mut transaction = self.fail("read a ledger", begun)?;
        load_ledger(self.path(), &mut transaction, machine).await
    }

    /// Finds the machine that a host is bound to.
    pub async fn machine_of(&self, host: &HostName) -> Result<Option<MachineId>> {
        Ok(self.host(host).await?.and_then(|view| view.machine))
    }

    /// Finds what is known of a host.
    pub async fn host(&self, host: &HostName) -> Result<Option<HostView>> {
        let sql = sqlx::AssertSqlSafe(format!("{HOST_COLUMNS} WHERE h.host = $1"));
        let row = sqlx::query(sql)
            .bind(host.as_str())
            .fetch_optional(self.readers())
            .await;
        self.fail("read a host", row)?.as_ref().map(host_of_row).transpose()
    }

    /// Lists every host that was ever met, by name.
    pub async fn hosts(&self) -> Result<Vec<HostView>> {
        let sql = sqlx::AssertSqlSafe(format!("{HOST_COLUMNS} ORDER BY h.host"));
        let rows = sqlx::query(sql).fetch_all(self.readers()).await;
        self.fail("list hosts", rows)?.iter().map(host_of_row).collect()
    }

    /// Reads what a host last said of itself.
    pub async fn facts(&self, host: &HostName) -> Result<Option<Facts>> {
        Ok(self.host(host).await?.and_then(|view| view.facts))
    }

    /// Lists the machines, by host.
    pub async fn machines(&self) -> Result<Vec<Machine>> {
        let rows = sqlx::query(
            "SELECT m.machine, m.host, m.first_seen_ms, h.machine IS m.machine AS bound, h.held,
               max(m.first_seen_ms, coalesce(h.last_seen_ms, 0), coalesce(s.last_ms, 0)) AS last_ms,
               (SELECT json_group_object(phase, n) FROM
                 (SELECT phase, count(*) AS n FROM ledger l WHERE l.machine = m.machine GROUP BY phase)) AS phases
             FROM machines m LEFT JOIN hosts h ON h.host = m.host LEFT JOIN seen s ON s.host = m.host
             ORDER BY m.host, m.first_seen_ms",
        )
        .fetch_all(self.readers())
        .await;
        self.fail("list machines", rows)?
            .iter()
            .map(|row| {
                let bound: bool = column(row, "bound")?;
                Ok(Machine {
                    machine: MachineId(column(row, "machine")?),
                    host: HostName::new(column::<String>(row, "host")?),
                    bound,
                    first_seen: Timestamp(column(row, "first_seen_ms")?),
                    last_seen: Timestamp(column(row, "last_ms")?),
                    held: if bound { json(row, "held")? } else { None },
                    phases: decode("the phases of a machine", column::<String>(row, "phases")?.as_bytes())?,
                })
            })
            .collect()
    }

    /// Notes that hosts answered, which is no event.
    pub async fn mark_seen(&self, hosts: &[HostName], at: Timestamp) -> Result<()> {
        let mut writer = self.write("note that hosts answered").await?;
        for host in hosts {
            let done = sqlx::query(
                "INSERT INTO seen (host, last_ms) VALUES ($1, $2)
                 ON CONFLICT (host) DO UPDATE SET last_ms = max(seen.last_ms, excluded.last_ms)",
            )
            .bind(host.as_str())
            .bind(at.0)
            .execute(writer.connection())
            .await;
            writer.check(done)?;
        }
        writer.commit().await
    }

    /// Lists runs, newest first.
    pub async fn runs(&self, limit: u32) -> Result<Vec<RunView>> {
        let rows = sqlx::query("SELECT * FROM runs ORDER BY seq DESC LIMIT $1")
            .bind(limit)
            .fetch_all(self.readers())
            .await;
        self.fail("list runs", rows)?.iter().map(run_of_row).collect()
    }

    /// Reads a run by its id, or by the beginning of its id if only one run has it.
    pub async fn run(&self, id: &str) -> Result<Option<RunDetail>> {
        let rows =
            sqlx::query("SELECT * FROM runs WHERE substr(run, 1, length($1)) = $1 ORDER BY run = $1 DESC, seq LIMIT 2")
                .bind(id)
                .fetch_all(self.readers())
                .await;
        let rows = self.fail("read a run", rows)?;
        let run = match rows.as_slice() {
            [first] => run_of_row(first)?,
            [first, _] if column::<String>(first, "run")? == id => run_of_row(first)?,
            _ => return Ok(None),
        };
        let attempts = self
            .attempts("WHERE a.run = $1 ORDER BY a.seq", Some(run.run.as_str()))
            .await?;
        Ok(Some(RunDetail { run, attempts }))
    }

    /// Lists jobs that may be on their hosts and whose end is not known, oldest first.
    pub async fn unfinished_attempts(&self) -> Result<Vec<Attempt>> {
        self.attempts(
            "WHERE a.state IN ('intended', 'started') AND a.intent IS NOT NULL ORDER BY a.seq",
            None,
        )
        .await
    }

    /// Lists jobs of a host that are collected and whose folder may still be there.
    pub async fn unacked_attempts(&self, host: &HostName) -> Result<Vec<Attempt>> {
        self.attempts(
            "WHERE a.host = $1 AND a.state = 'collected' AND k.attempt IS NULL ORDER BY a.seq",
            Some(host.as_str()),
        )
        .await
    }

    /// Finds an attempt.
    pub async fn attempt(&self, attempt: &AttemptId) -> Result<Option<Attempt>> {
        let found = self.attempts("WHERE a.attempt = $1", Some(attempt.as_str())).await?;
        Ok(found.into_iter().next())
    }

    /// Notes that the folders of attempts are gone from their hosts, which is no event.
    pub async fn mark_acked(&self, attempts: &[AttemptId]) -> Result<()> {
        let mut writer = self.write("note acknowledged jobs").await?;
        for attempt in attempts {
            let done = sqlx::query("INSERT INTO acked (attempt) VALUES ($1) ON CONFLICT DO NOTHING")
                .bind(attempt.as_str())
                .execute(writer.connection())
                .await;
            writer.check(done)?;
        }
        writer.commit().await
    }

    /// Lists the reports that were recorded of a host, oldest first by machine, spool and number.
    pub async fn reports(&self, host: &HostName) -> Result<Vec<AgentReport>> {
        let rows = sqlx::query("SELECT * FROM reports WHERE host = $1 ORDER BY seq")
            .bind(host.as_str())
            .fetch_all(self.readers())
            .await;
        self.fail("read reports", rows)?
            .iter()
            .map(|row| {
                Ok(AgentReport {
                    host: HostName::new(column::<String>(row, "host")?),
                    machine: MachineId(column(row, "machine")?),
                    spool: column(row, "spool")?,
                    number: column::<i64>(row, "number")?.unsigned_abs(),
                    digest: column(row, "digest")?,
                    observed: Timestamp(column(row, "observed_ms")?),
                    recorded: Timestamp(column(row, "recorded_ms")?),
                    resources: decode("a report", &column::<Vec<u8>>(row, "resources")?)?,
                })
            })
            .collect()
    }

    async fn attempts(&self, clause: &'static str, key: Option<&str>) -> Result<Vec<Attempt>> {
        let query = sqlx::query(sqlx::AssertSqlSafe(format!("{ATTEMPT_COLUMNS} {clause}")));
        let query = match key {
            Some(key) => query.bind(key),
            None => query,
        };
        // One read transaction: attempts and steps of one moment.
        let begun = self.readers().begin().await;
        let mut transaction = self.fail("read attempts", begun)?;
        let rows = query.fetch_all(&mut *transaction).await;
        let mut attempts = Vec::new();
        for row in self.fail("read attempts", rows)? {
            let mut attempt = attempt_of_row(&row)?;
            let steps = sqlx::query("SELECT report FROM steps WHERE attempt = $1 ORDER BY step")
                .bind(attempt.attempt.as_str())
                .fetch_all(&mut *transaction)
                .await;
            for step in self.fail("read steps", steps)? {
                attempt
                    .steps
                    .push(decode("a step's report", &column::<Vec<u8>>(&step, "report")?)?);
            }
            attempts.push(attempt);
        }
        Ok(attempts)
    }
}

fn host_of_row(row: &SqliteRow) -> Result<HostView> {
    Ok(HostView {
        host: HostName::new(column::<String>(row, "host")?),
        machine: column::<Option<String>>(row, "machine")?.map(MachineId),
        first_seen: Timestamp(column(row, "first_seen_ms")?),
        last_seen: Timestamp(column(row, "last_ms")?),
        held: json(row, "held")?,
        facts: json(row, "facts")?,
        facts_digest: column(row, "facts_digest")?,
    })
}

/// Digests a run's row but for the digest itself.
pub(super) fn digest_of_run(row: &SqliteRow) -> Result<String> {
    let text = |name| column::<String>(row, name);
    let bytes = encode(
        "a run",
        &(
            (
                text("run")?,
                column::<i64>(row, "seq")?,
                text("kind")?,
                text("started_by")?,
            ),
            (text("command")?, column::<Option<String>>(row, "plan")?),
            (
                column::<i64>(row, "started_ms")?,
                column::<Option<i64>>(row, "ended_ms")?,
            ),
            (
                column::<Vec<u8>>(row, "hosts")?,
                column::<Option<Vec<u8>>>(row, "recap")?,
            ),
        ),
    )?;
    Ok(sha256_hex(&bytes))
}

fn run_of_row(row: &SqliteRow) -> Result<RunView> {
    if digest_of_run(row)? != column::<String>(row, "digest")? {
        return Err(StoreError::Row {
            what: format!("run {}", column::<String>(row, "run")?),
            detail: "its bytes were changed; `holdfast store rebuild` makes it anew from the events".to_owned(),
        });
    }
    let kind: String = column(row, "kind")?;
    Ok(RunView {
        run: RunId(column(row, "run")?),
        kind: decode("the kind of a run", format!("\"{kind}\"").as_bytes())?,
        plan: column::<Option<String>>(row, "plan")?.map(PlanId),
        hosts: decode("the hosts of a run", &column::<Vec<u8>>(row, "hosts")?)?,
        by: column(row, "started_by")?,
        command: column(row, "command")?,
        started: Timestamp(column(row, "started_ms")?),
        ended: column::<Option<i64>>(row, "ended_ms")?.map(Timestamp),
        recap: json(row, "recap")?,
    })
}

fn attempt_of_row(row: &SqliteRow) -> Result<Attempt> {
    let state: String = column(row, "state")?;
    let state = match state.as_str() {
        "intended" => AttemptState::Intended,
        "started" => AttemptState::Started,
        "collected" if column(row, "acked")? => AttemptState::Acked,
        "collected" => AttemptState::Collected,
        "over" => AttemptState::Over,
        other => {
            return Err(StoreError::Row {
                what: "an attempt".to_owned(),
                detail: format!("its state is `{other}`"),
            });
        }
    };
    Ok(Attempt {
        attempt: AttemptId(column(row, "attempt")?),
        run: RunId(column(row, "run")?),
        host: HostName::new(column::<String>(row, "host")?),
        state,
        intent: json(row, "intent")?,
        ended: json(row, "ended")?,
        result: json(row, "result")?,
        steps: Vec::new(),
    })
}

/// Reads a column.
pub(super) fn column<'r, T>(row: &'r SqliteRow, name: &'static str) -> Result<T>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(name).map_err(|error| StoreError::Row {
        what: format!("column {name}"),
        detail: error.to_string(),
    })
}

/// Reads a column of json that may be empty.
fn json<T: DeserializeOwned>(row: &SqliteRow, name: &'static str) -> Result<Option<T>> {
    column::<Option<Vec<u8>>>(row, name)?
        .map(|bytes| decode(name, &bytes))
        .transpose()
}
