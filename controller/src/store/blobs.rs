//! Bytes beside the record: contents by digest, and plans that were kept.
//!
//! Every byte is checked against its digest when it is read, because a host gets what comes from here.

use super::Store;
use super::error::{Result, StoreError};
use super::events::append_in;
use super::projections::{decode, encode};
use super::views::column;
use holdfast_plan::change::Plan;
use holdfast_plan::content::{Blobs, sha256_hex};
use holdfast_plan::event::{Event, Intent};
use holdfast_plan::ids::{PlanId, Timestamp};
use holdfast_plan::ledger::LedgerEntry;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The largest content that is kept. It passes through memory whole, here and when it is sent; what is larger
/// belongs into a package.
pub const BLOB_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a blob is kept that nothing refers to: another process may be between keeping it and the plan that needs
/// it. What nothing refers to may be a secret that was replaced, so it is no longer than that.
pub const BLOB_KEEP_MS: u64 = 60 * 60 * 1000;

/// How long a plan that was never run counts as open. A plan in a file carries its contents itself.
pub const PLAN_OPEN_MS: u64 = 30 * 24 * 60 * 60 * 1000;

impl Store {
    /// Keeps contents.
    pub async fn put_blobs(&self, blobs: &Blobs, at: Timestamp) -> Result<()> {
        if let Some(large) = blobs.0.values().find(|bytes| bytes.len() > BLOB_BYTES_MAX) {
            return Err(StoreError::BlobTooLarge {
                bytes: large.len() as u64,
                max: BLOB_BYTES_MAX as u64,
            });
        }
        let mut writer = self.write("keep contents").await?;
        for (sha256, bytes) in &blobs.0 {
            let done = sqlx::query(
                "INSERT INTO blobs (sha256, used_ms, bytes) VALUES ($1, $2, $3)
                 ON CONFLICT (sha256) DO UPDATE SET used_ms = max(blobs.used_ms, excluded.used_ms)",
            )
            .bind(sha256)
            .bind(at.0)
            .bind(bytes.as_ref())
            .execute(writer.connection())
            .await;
            writer.check(done)?;
        }
        writer.commit().await
    }

    /// Finds the bytes of a content.
    pub async fn blob(&self, sha256: &str) -> Result<Option<Arc<[u8]>>> {
        let row = sqlx::query("SELECT bytes FROM blobs WHERE sha256 = $1")
            .bind(sha256)
            .fetch_optional(self.readers())
            .await;
        let Some(row) = self.fail("read a content", row)? else {
            return Ok(None);
        };
        let bytes: Vec<u8> = column(&row, "bytes")?;
        if sha256_hex(&bytes) != sha256 {
            return Err(StoreError::Row {
                what: format!("content {sha256}"),
                detail: "its bytes were changed".to_owned(),
            });
        }
        Ok(Some(bytes.into()))
    }

    /// Drops contents that no ledger entry, open attempt or open plan refers to, and that were not put for
    /// [`BLOB_KEEP_MS`]; gives how many.
    pub async fn prune_blobs(&self, now: Timestamp) -> Result<u64> {
        let mut writer = self.write("drop contents").await?;
        let mut needed = BTreeSet::new();
        let rows = sqlx::query("SELECT entry FROM ledger")
            .fetch_all(writer.connection())
            .await;
        for row in writer.check(rows)? {
            let entry: LedgerEntry = decode("a ledger entry", &column::<Vec<u8>>(&row, "entry")?)?;
            needed.extend(contents_of(&encode("a ledger entry", &entry)?)?);
        }
        let rows = sqlx::query("SELECT intent FROM attempts WHERE open IS NOT NULL AND intent IS NOT NULL")
            .fetch_all(writer.connection())
            .await;
        for row in writer.check(rows)? {
            let intent: Intent = decode("an intent", &column::<Vec<u8>>(&row, "intent")?)?;
            needed.extend(contents_of(&encode("an intent", &intent)?)?);
        }
        let before = |ms: u64| now.0.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX));
        let open = "SELECT json FROM plans WHERE saved_ms >= $1
             AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.plan = plans.plan AND runs.ended_ms IS NOT NULL)";
        let rows = sqlx::query(open)
            .bind(before(PLAN_OPEN_MS))
            .fetch_all(writer.connection())
            .await;
        for row in writer.check(rows)? {
            let plan: Plan = decode("a plan", &column::<Vec<u8>>(&row, "json")?)?;
            let steps = plan
                .hosts
                .iter()
                .flat_map(|host| &host.changes)
                .flat_map(|change| &change.steps);
            needed.extend(steps.flat_map(|step| step.blobs.iter().cloned()));
        }
        let rows = sqlx::query("SELECT sha256 FROM blobs WHERE used_ms < $1")
            .bind(before(BLOB_KEEP_MS))
            .fetch_all(writer.connection())
            .await;
        let mut dropped = 0;
        for row in writer.check(rows)? {
            let sha256: String = column(&row, "sha256")?;
            if needed.contains(&sha256) {
                continue;
            }
            let done = sqlx::query("DELETE FROM blobs WHERE sha256 = $1")
                .bind(&sha256)
                .execute(writer.connection())
                .await;
            dropped += writer.check(done)?.rows_affected();
        }
        writer.commit().await?;
        Ok(dropped)
    }

    /// Keeps a plan and records that it was kept, in one transaction. A plan that is kept already stays as it is.
    pub async fn save_plan(&self, plan: &Plan, at: Timestamp) -> Result<()> {
        let json = encode("a plan", plan)?;
        let digest = sha256_hex(&json);
        let mut writer = self.write("keep a plan").await?;
        let done = sqlx::query(
            "INSERT INTO plans (plan, saved_ms, json, digest) VALUES ($1, $2, $3, $4) ON CONFLICT (plan) DO NOTHING",
        )
        .bind(plan.id.as_str())
        .bind(at.0)
        .bind(json)
        .bind(&digest)
        .execute(writer.connection())
        .await;
        if writer.check(done)?.rows_affected() == 0 {
            return writer.commit().await;
        }
        let event = Event::PlanSaved {
            plan: plan.id.clone(),
            digest,
            hosts: plan.hosts.iter().map(|host| host.host.clone()).collect(),
        };
        append_in(self.path(), writer.connection(), self.chain(), at, &[event]).await?;
        writer.commit().await
    }

    /// Finds a plan that was kept.
    pub async fn load_plan(&self, plan: &PlanId) -> Result<Option<Plan>> {
        let row = sqlx::query("SELECT json, digest FROM plans WHERE plan = $1")
            .bind(plan.as_str())
            .fetch_optional(self.readers())
            .await;
        let Some(row) = self.fail("read a plan", row)? else {
            return Ok(None);
        };
        let json: Vec<u8> = column(&row, "json")?;
        if sha256_hex(&json) != column::<String>(&row, "digest")? {
            return Err(StoreError::Row {
                what: format!("plan {plan}"),
                detail: "its bytes were changed".to_owned(),
            });
        }
        decode("a plan", &json).map(Some)
    }
}

/// Finds every `sha256` in json: resources name their contents so, whatever their type.
fn contents_of(json: &[u8]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut rest: Vec<serde_json::Value> = vec![decode("json", json)?];
    while let Some(value) = rest.pop() {
        match value {
            serde_json::Value::Object(map) => {
                if let Some(serde_json::Value::String(sha256)) = map.get("sha256") {
                    found.push(sha256.clone());
                }
                rest.extend(map.into_iter().map(|(_, value)| value));
            }
            serde_json::Value::Array(values) => rest.extend(values),
            _ => {}
        }
    }
    Ok(found)
}
