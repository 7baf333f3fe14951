//! Leases: one writer per host, with a heartbeat and an epoch that grows by every acquisition.
//!
//! The epoch travels to the host, which refuses older ones; so a process that was stopped past its lease can do
//! no harm when it goes on. A lease is no event: it says who may act, not what happened. Planning takes none.
//! The clock is handed in.

use super::Store;
use super::error::Result;
use holdfast_inventory::HostName;
use holdfast_plan::ids::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Row, SqliteConnection};
use std::fmt;

/// How long a lease lasts without a heartbeat, in milliseconds. Half a minute outlasts a slow disk or a busy
/// machine, and is about what a person waits before looking for the reason.
pub const LEASE_TTL_MS: u64 = 30_000;

/// How often to send a heartbeat: two may be lost before the lease is.
pub const LEASE_HEARTBEAT_MS: u64 = LEASE_TTL_MS / 3;

/// A process that may hold leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The controller.
    pub controller: String,
    /// Where its process ids are valid: boot id and pid namespace.
    pub place: String,
    /// The process.
    pub pid: u32,
    /// When the process started, in clock ticks since the boot: tells a reused pid.
    pub started: u64,
}

impl Holder {
    /// Describes this process.
    pub fn this_process(controller: impl Into<String>) -> Self {
        Self::of_process(controller, std::process::id())
    }

    /// Describes a process of this machine.
    pub fn of_process(controller: impl Into<String>, pid: u32) -> Self {
        Self {
            controller: controller.into(),
            place: place(),
            pid,
            started: process_started(pid).unwrap_or(0),
        }
    }

    /// Tells whether it is certain that the process is gone. A process of another boot that may be of another
    /// machine, or of a container with its own process ids, is never known to be gone; its lease has to expire.
    pub fn is_gone(&self) -> bool {
        self.place == place() && !self.place.is_empty() && process_started(self.pid) != Some(self.started)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "controller {}, process {}", self.controller, self.pid)
    }
}

/// Names where process ids are valid; empty where `/proc` can't tell.
fn place() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid")
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_default();
    if boot.is_empty() || namespace.is_empty() {
        return String::new();
    }
    format!("{} {namespace}", boot.trim())
}

/// Reads field 22 of `/proc/PID/stat`; `None` if there is no such process. A zombie has ended, too.
fn process_started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses, and may hold spaces and parentheses itself.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The right to change one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The host.
    pub host: HostName,
    /// Grows by every acquisition; the host refuses older ones.
    pub epoch: u64,
    /// When it ends without a heartbeat.
    pub expires: Timestamp,
}

/// Another process has the lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{holder} has the lease of {host} for {} s more", left_ms.div_ceil(1000)
)]
pub struct HeldBy {
    /// The host.
    pub host: HostName,
    /// Who has it.
    pub holder: Holder,
    /// Its epoch.
    pub epoch: u64,
    /// When it ends without a heartbeat.
    pub expires: Timestamp,
    /// How long that is from now.
    pub left_ms: u64,
}

/// A lease is no longer ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the lease of {host} with epoch {epoch} was taken over or broken; nothing more is sent to it")]
pub struct LeaseLost {
    /// The host.
    pub host: HostName,
    /// The epoch we had.
    pub epoch: u64,
}

impl Store {
    /// Takes the leases of `hosts`, one answer per host in the same order. An expired lease, and one whose process
    /// is certainly gone, is taken over with a higher epoch.
    pub async fn acquire(&self, hosts: &[HostName], ttl_ms: u64, now: Timestamp) -> Result<Vec<Result<Lease, HeldBy>>> {
        let mut writer = self.write("take leases").await?;
        let mut answers = Vec::with_capacity(hosts.len());
        for host in hosts {
            let answer = acquire_one(writer.connection(), host, self.holder(), ttl_ms, now).await;
            answers.push(writer.check(answer)?);
        }
        writer.commit().await?;
        Ok(answers)
    }

    /// Extends leases, one answer per lease in the same order.
    pub async fn heartbeat(
        &self,
        leases: &[Lease],
        ttl_ms: u64,
        now: Timestamp,
    ) -> Result<Vec<Result<Lease, LeaseLost>>> {
        let mut writer = self.write("extend leases").await?;
        let mut answers = Vec::with_capacity(leases.len());
        for lease in leases {
            let expires = now.plus_ms(ttl_ms);
            let done =
                sqlx::query("UPDATE leases SET expires_ms = $1 WHERE host = $2 AND epoch = $3 AND holder IS NOT NULL")
                    .bind(expires.0)
                    .bind(lease.host.as_str())
                    .bind(signed(lease.epoch))
                    .execute(writer.connection())
                    .await;
            let extended = writer.check(done)?.rows_affected() == 1;
            answers.push(if extended {
                Ok(Lease {
                    expires,
                    ..lease.clone()
                })
            } else {
                Err(LeaseLost {
                    host: lease.host.clone(),
                    epoch: lease.epoch,
                })
            });
        }
        writer.commit().await?;
        Ok(answers)
    }

    /// Gives leases back. One that is no longer ours is left alone.
    pub async fn release(&self, leases: &[Lease]) -> Result<()> {
        let mut writer = self.write("release leases").await?;
        for lease in leases {
            let done = sqlx::query("UPDATE leases SET holder = NULL, expires_ms = 0 WHERE host = $1 AND epoch = $2")
                .bind(lease.host.as_str())
                .bind(signed(lease.epoch))
                .execute(writer.connection())
                .await;
            writer.check(done)?;
        }
        writer.commit().await
    }

    /// Breaks the lease of a host, whoever has it, and tells who had it. The epoch grows, so that the one who had
    /// it is refused from now on.
    pub async fn break_lease(&self, host: &HostName) -> Result<Option<Holder>> {
        let mut writer = self.write("break a lease").await?;
        let found = read_lease(writer.connection(), host).await;
        let found = writer.check(found)?;
        let done = sqlx::query("UPDATE leases SET holder = NULL, expires_ms = 0, epoch = epoch + 1 WHERE host = $1")
            .bind(host.as_str())
            .execute(writer.connection())
            .await;
        writer.check(done)?;
        writer.commit().await?;
        Ok(found.and_then(|row| row.holder))
    }

    /// Makes the next epoch of a host higher than `seen`, the highest one that the host itself has seen. Needed
    /// after a restored backup and for a host that another store was in charge of.
    pub async fn raise_epoch(&self, host: &HostName, seen: u64) -> Result<()> {
        let mut writer = self.write("raise an epoch").await?;
        let done = sqlx::query(
            "INSERT INTO leases (host, epoch, holder, expires_ms) VALUES ($1, $2, NULL, 0)
             ON CONFLICT (host) DO UPDATE SET epoch = max(leases.epoch, excluded.epoch)
             WHERE leases.holder IS NULL",
        )
        .bind(host.as_str())
        .bind(signed(seen))
        .execute(writer.connection())
        .await;
        writer.check(done)?;
        writer.commit().await
    }

    /// Lists who holds which host now.
    pub async fn leases(&self, now: Timestamp) -> Result<Vec<HeldBy>> {
        let rows = sqlx::query(
            "SELECT host, epoch, holder, expires_ms FROM leases WHERE holder IS NOT NULL AND expires_ms > $1 ORDER BY host",
        )
        .bind(now.0)
        .fetch_all(self.readers())
        .await;
        let rows = self.fail("list leases", rows)?;
        let mut held = Vec::with_capacity(rows.len());
        for row in rows {
            let lease = self.fail("read a lease", lease_of_row(&row))?;
            let Some(holder) = lease.holder else { continue };
            held.push(HeldBy {
                host: HostName::new(self.fail("read a lease", row.try_get::<String, _>("host"))?),
                holder,
                epoch: lease.epoch,
                expires: lease.expires,
                left_ms: left_ms(lease.expires, now),
            });
        }
        Ok(held)
    }
}

/// The row of a host.
struct LeaseRow {
    epoch: u64,
    holder: Option<Holder>,
    expires: Timestamp,
}

async fn acquire_one(
    connection: &mut SqliteConnection,
    host: &HostName,
    holder: &Holder,
    ttl_ms: u64,
    now: Timestamp,
) -> std::result::Result<Result<Lease, HeldBy>, sqlx::Error> {
    let found = read_lease(&mut *connection, host).await?;
    let epoch = found.as_ref().map_or(0, |row| row.epoch);
    if let Some(LeaseRow {
        holder: Some(other),
        expires,
        ..
    }) = found
        && expires > now
        && !other.is_gone()
    {
        return Ok(Err(HeldBy {
            host: host.clone(),
            holder: other,
            epoch,
            expires,
            left_ms: left_ms(expires, now),
        }));
    }
    let lease = Lease {
        host: host.clone(),
        epoch: epoch + 1,
        expires: now.plus_ms(ttl_ms),
    };
    sqlx::query(
        "INSERT INTO leases (host, epoch, holder, expires_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (host) DO UPDATE SET epoch = excluded.epoch, holder = excluded.holder, expires_ms = excluded.expires_ms",
    )
    .bind(host.as_str())
    .bind(signed(lease.epoch))
    .bind(serde_json::to_string(holder).map_err(|error| sqlx::Error::Encode(error.into()))?)
    .bind(lease.expires.0)
    .execute(connection)
    .await?;
    Ok(Ok(lease))
}

/// Reads the highest epoch given out for a host.
pub(super) async fn epoch_of(
    connection: &mut SqliteConnection,
    host: &HostName,
) -> std::result::Result<u64, sqlx::Error> {
    Ok(read_lease(connection, host).await?.map_or(0, |row| row.epoch))
}

async fn read_lease(
    connection: &mut SqliteConnection,
    host: &HostName,
) -> std::result::Result<Option<LeaseRow>, sqlx::Error> {
    let row = sqlx::query("SELECT epoch, holder, expires_ms FROM leases WHERE host = $1")
        .bind(host.as_str())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(lease_of_row).transpose()
}

fn lease_of_row(row: &sqlx::sqlite::SqliteRow) -> std::result::Result<LeaseRow, sqlx::Error> {
    let holder: Option<String> = row.try_get("holder")?;
    Ok(LeaseRow {
        epoch: row.try_get::<i64, _>("epoch")?.unsigned_abs(),
        holder: holder
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| sqlx::Error::Decode(error.into()))?,
        expires: Timestamp(row.try_get("expires_ms")?),
    })
}

fn left_ms(expires: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(expires.0.saturating_sub(now.0)).unwrap_or(0)
}

/// Writes a number as SQL has it; epochs and sequence numbers never come near the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
