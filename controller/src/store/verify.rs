//! Verifies the whole store, and makes its tables anew from the events.
//!
//! Verified are the chain of the events, whether the tables are what the events come to, and whether contents and plans
//! are the bytes that were kept. That changes nothing.

use super::error::Result;
use super::events::record_of;
use super::projections::{PROJECTIONS, Projector};
use super::views::column;
use super::{Store, Write};
use holdfast_plan::content::sha256_hex;
use sqlx::{AssertSqlSafe, Row};

/// How many events are read at a time when the projections are made anew: bounds memory.
const PAGE_EVENTS: i64 = 1_000;

/// What a store has, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many events.
    pub events: u64,
    /// How many contents.
    pub contents: u64,
    /// How many plans.
    pub plans: u64,
    /// What is wrong with what can't be made anew: events, contents, plans.
    pub lost: Vec<String>,
    /// Tables that are not what the events come to, with how many rows differ; [`Store::rebuild`] makes them anew.
    pub differing: Vec<(&'static str, u64)>,
}

/// Bytes that are kept beside the record, with the digest under which they were.
struct Kept {
    what: &'static str,
    next: &'static str,
}

const CONTENTS: Kept = Kept {
    what: "content",
    next: "SELECT rowid, sha256 AS digest, bytes FROM blobs WHERE rowid > $1 ORDER BY rowid LIMIT 1",
};

const PLANS: Kept = Kept {
    what: "the plan with digest",
    next: "SELECT rowid, digest, json AS bytes FROM plans WHERE rowid > $1 ORDER BY rowid LIMIT 1",
};

impl Store {
    /// Makes every projection anew from the events, in one transaction.
    pub async fn rebuild(&self) -> Result<()> {
        let mut writer = self.write("rebuild the projections").await?;
        self.rebuild_in(&mut writer).await?;
        writer.commit().await
    }

    /// Verifies everything. Who wants to write waits meanwhile.
    pub async fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        match self.verify_chain().await? {
            Ok(events) => {
                verified.events = events;
                verified.differing = self.differing().await?;
            }
            // What the tables should be can't be told from events that were changed.
            Err(broken) => verified.lost.push(broken.to_string()),
        }
        verified.contents = self.count_whole(&CONTENTS, &mut verified.lost).await?;
        verified.plans = self.count_whole(&PLANS, &mut verified.lost).await?;
        Ok(verified)
    }

    /// Counts what is kept, and tells what does not have the bytes of its digest. One at a time is in memory.
    async fn count_whole(&self, kept: &Kept, lost: &mut Vec<String>) -> Result<u64> {
        let (mut count, mut last) = (0, 0);
        loop {
            let row = sqlx::query(kept.next).bind(last).fetch_optional(self.readers()).await;
            let Some(row) = self.fail("verify what is kept", row)? else {
                return Ok(count);
            };
            last = column::<i64>(&row, "rowid")?;
            count += 1;
            let digest: String = column(&row, "digest")?;
            if sha256_hex(&column::<Vec<u8>>(&row, "bytes")?) != digest {
                lost.push(format!("the bytes of {} {digest} were changed", kept.what));
            }
        }
    }

    /// Compares the tables with what the events come to, in a transaction that is rolled back.
    async fn differing(&self) -> Result<Vec<(&'static str, u64)>> {
        let mut writer = self.write("compare the tables with the events").await?;
        for table in PROJECTIONS {
            let sql = format!("CREATE TEMP TABLE was_{table} AS SELECT * FROM main.{table}");
            let done = sqlx::query(AssertSqlSafe(sql)).execute(writer.connection()).await;
            writer.check(done)?;
        }
        self.rebuild_in(&mut writer).await?;
        let mut differing = Vec::new();
        for table in PROJECTIONS {
            let (was, is) = (format!("temp.was_{table}"), format!("main.{table}"));
            let sql = format!(
                "SELECT max((SELECT count(*) FROM (SELECT * FROM {was} EXCEPT SELECT * FROM {is})),
                            (SELECT count(*) FROM (SELECT * FROM {is} EXCEPT SELECT * FROM {was})))"
            );
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_one(writer.connection()).await;
            let rows: i64 = writer.check(rows.and_then(|row| row.try_get(0)))?;
            if rows > 0 {
                differing.push((table, rows.unsigned_abs()));
            }
        }
        writer.roll_back().await?;
        Ok(differing)
    }

    async fn rebuild_in(&self, writer: &mut Write<'_>) -> Result<()> {
        for table in PROJECTIONS {
            let done = sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}")))
                .execute(writer.connection())
                .await;
            writer.check(done)?;
        }
        let mut projector = Projector::new(self.path());
        let mut last = 0;
        loop {
            let rows = sqlx::query("SELECT seq, json FROM events WHERE seq > $1 ORDER BY seq LIMIT $2")
                .bind(last)
                .bind(PAGE_EVENTS)
                .fetch_all(writer.connection())
                .await;
            let rows = writer.check(rows)?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let seq: i64 = writer.check(row.try_get("seq"))?;
                let json: Vec<u8> = writer.check(row.try_get("json"))?;
                let record = record_of(seq, &json)?;
                projector.project(writer.connection(), seq, &record).await?;
                last = seq;
            }
            // Bounds memory: what a page touched is written before the next one is read.
            projector.flush(writer.connection()).await?;
        }
        Ok(())
    }
}
