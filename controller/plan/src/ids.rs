//! Newtypes for every id, and the injected source that makes them: the core has no randomness of its own.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// Makes a fresh id.
            pub fn new(source: &mut dyn IdSource) -> Self {
                Self(uuid_text(source.next_bytes()))
            }

            /// Shows the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A machine: a UUID of ours that lives in `state_dir` on the host.
    MachineId
}
id! {
    /// A run.
    RunId
}
id! {
    /// One try of one task: at most once on the host.
    AttemptId
}
id! {
    /// A plan.
    PlanId
}

id! {
    /// One life of one resource on one machine: from its entry into the ledger to its undo. What was there *before*
    /// belongs to it, and lies on the host under its name.
    LifeId
}

/// Letters of a run's id that are shown: enough to tell a project's runs apart, and `runs show` takes any beginning.
const RUN_LETTERS: usize = 8;

impl RunId {
    /// Shows the beginning of the id, for people.
    pub fn short(&self) -> String {
        self.0.chars().take(RUN_LETTERS).collect()
    }
}

impl LifeId {
    /// Names the life that a step of an attempt begins. An attempt runs at most once on a host, so no two lives have
    /// one name, and the host can make it of what it knows.
    pub fn begun_by(attempt: &AttemptId, step: u32) -> Self {
        Self(format!("{attempt}-{step}"))
    }
}

/// Where ids come from: the system's randomness in the program, a seeded generator in tests.
pub trait IdSource {
    /// Gives sixteen bytes that were not given before.
    fn next_bytes(&mut self) -> [u8; 16];
}

/// Ids for tests and simulations: a counter mixed by SplitMix64, so that a seed reproduces every id.
#[derive(Debug, Clone)]
pub struct SeededIds(pub u64);

impl IdSource for SeededIds {
    fn next_bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for half in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            half.copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
        }
        bytes
    }
}

/// Writes bytes as a version 4 UUID (RFC 9562).
fn uuid_text(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A moment: milliseconds since 1970-01-01 UTC. Handed in, never read from a clock here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Gives the moment `ms` milliseconds later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_4_uuids_and_reproducible() {
        let first = RunId::new(&mut SeededIds(7));
        assert_eq!(first, RunId::new(&mut SeededIds(7)));
        assert_eq!(first.0.len(), 36);
        assert_eq!(&first.0[14..15], "4");
    }
}
