//! What hosts know and this store does not: jobs of ours that it has no record of, and what others put there.
//!
//! An intent is recorded before it is sent, so a host can't know a job of ours that the record has not, unless the store
//! was put back in time. What a person took as found is in the table `as_found`.

use super::Store;
use super::error::Result;
use holdfast_plan::address::Address;
use holdfast_plan::ids::{AttemptId, LifeId, MachineId};
use std::collections::BTreeMap;

impl Store {
    /// Tells whether a job of ours is in the record, or a person took it as found.
    pub async fn knows(&self, attempt: &AttemptId) -> Result<bool> {
        let sql = "SELECT 1 FROM attempts WHERE attempt = $1 UNION ALL SELECT 1 FROM as_found WHERE id = $1";
        let found = sqlx::query(sql)
            .bind(attempt.as_str())
            .fetch_optional(self.readers())
            .await;
        Ok(self.fail("look for a job", found)?.is_some())
    }

    /// Keeps those lives of a machine that no job of ours there began, and that no person took as found.
    pub async fn unknown_lives(
        &self,
        machine: &MachineId,
        lives: BTreeMap<LifeId, Address>,
    ) -> Result<BTreeMap<LifeId, Address>> {
        let sql = "SELECT 1 FROM attempts WHERE attempt = $1 AND machine = $3
                   UNION ALL SELECT 1 FROM as_found WHERE machine = $3 AND id = $2";
        let mut unknown = BTreeMap::new();
        for (life, address) in lives {
            let attempt = life.as_str().rsplit_once('-').map_or("", |(attempt, _)| attempt);
            let found = sqlx::query(sql)
                .bind(attempt)
                .bind(life.as_str())
                .bind(machine.as_str())
                .fetch_optional(self.readers())
                .await;
            if self.fail("look for a life", found)?.is_none() {
                unknown.insert(life, address);
            }
        }
        Ok(unknown)
    }
}
