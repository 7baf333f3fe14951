//! The hash chain over the stored bytes of the events: each hash covers the one before and the event's bytes.
//!
//! It tells that nothing was changed, dropped or put in between; it does not tell who wrote an event. The
//! database is not touched here.

use sha2::{Digest, Sha256};

/// The length of a hash in bytes.
pub const HASH_BYTES: usize = 32;

/// A link of the chain.
pub type Hash = [u8; HASH_BYTES];

/// What stands before the first event of a chain.
pub const START: Hash = [0; HASH_BYTES];

/// Computes the hash of an event from the one before and its stored bytes.
pub fn link(previous: &Hash, bytes: &[u8]) -> Hash {
    let mut digest = Sha256::new();
    digest.update(previous);
    digest.update(bytes);
    digest.finalize().into()
}

/// What is wrong with an event of a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its bytes are not those that were hashed.
    #[error("its bytes were changed")]
    Changed,
    /// It does not follow the event before: one was dropped, put in between, or moved.
    #[error("it does not follow the event before it")]
    Unlinked,
    /// Its time column is not the time in its bytes.
    #[error("its columns do not agree with its bytes")]
    Columns,
    /// Events at the end are missing.
    #[error("events after it are missing")]
    CutOff,
}

/// The first broken event of a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} of chain {chain} is broken: {fault}; restore a backup made before")]
pub struct Broken {
    /// Its number (for missing ones at the end: the last number that is there, 0 for none).
    pub seq: u64,
    /// Which chain.
    pub chain: String,
    /// What is wrong.
    pub fault: Fault,
}

/// Walks one chain from its start.
#[derive(Debug, Clone)]
pub struct Walk {
    last: Hash,
}

impl Default for Walk {
    fn default() -> Self {
        Self { last: START }
    }
}

impl Walk {
    /// Begins in the middle, after the event with this hash.
    pub fn after(last: Hash) -> Self {
        Self { last }
    }

    /// Takes the next event; `previous` and `hash` are as stored.
    pub fn step(&mut self, previous: &[u8], bytes: &[u8], hash: &[u8]) -> Result<(), Fault> {
        if previous != self.last {
            return Err(Fault::Unlinked);
        }
        let expected = link(&self.last, bytes);
        if hash != expected {
            return Err(Fault::Changed);
        }
        self.last = expected;
        Ok(())
    }

    /// Shows the hash of the last event.
    pub fn last(&self) -> &Hash {
        &self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_link_is_the_sha256_of_the_hash_before_and_the_bytes() {
        // Expected: `{ head -c 32 /dev/zero; printf one; } | sha256sum` of coreutils 9.1.
        assert_eq!(
            hex(&link(&START, b"one")),
            "4e233ba6ac7032d3894ecea5974fd96176e564b024af45747eb46357af8d2401"
        );
    }

    #[test]
    fn a_changed_byte_and_a_dropped_event_are_told_apart() {
        let first = link(&START, b"one");
        let second = link(&first, b"two");
        let mut walk = Walk::default();
        walk.step(&START, b"one", &first).expect("as written");
        assert_eq!(walk.clone().step(&first, b"twO", &second), Err(Fault::Changed));
        walk.step(&first, b"two", &second).expect("as written");
        assert_eq!(Walk::default().step(&first, b"two", &second), Err(Fault::Unlinked));
    }
}
