//! How much of each kind of record a reply may have: a host that says more is told so, and nothing more of it is read.
//!
//! The bounds keep a hostile host from filling the controller's memory with small records, and its store with what
//! it repeats in every reply.

use super::{Record, ReplyError};
use std::collections::BTreeMap;

/// Lines of a reply: a thousand resources with ten attributes each, and a job of a thousand steps with its
/// attributes before and after, stay below half of it. At 200 bytes of bookkeeping each they take 13 MB.
pub const RECORDS_MAX: usize = 64 * 1024;
/// Facts: hosts tell some twenty.
pub const FACTS_MAX: usize = 128;
/// Bytes of all facts, since they enter the record whenever they change: a host's own take less than 1 KiB.
pub const FACTS_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the attributes of one resource: a group of ten thousand members fits.
pub const ATTRIBUTES_BYTES_MAX: usize = 128 * 1024;
/// Jobs on one host: one runs, and a few controllers left theirs behind.
pub const JOBS_MAX: usize = 128;
/// Lives of which a host keeps what was there before: a thousand resources, each declared anew sixteen times.
pub const LIVES_MAX: usize = 16 * 1024;
/// The longest output of a step: a host keeps 4 KiB.
pub const OUTPUT_BYTES_MAX: usize = 8 * 1024;

/// The highest epoch that is one: a lease a millisecond for thirty years. Above it there would soon be no next one, and a
/// host must not be able to say so.
pub const EPOCH_MAX: u64 = 1 << 40;

/// What a reply has had so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    records: usize,
    facts: usize,
    facts_bytes: usize,
    jobs: usize,
    lives: usize,
    attributes: BTreeMap<u32, usize>,
}

impl Counts {
    /// Counts a record; an error if it is one too many.
    pub(super) fn admit(&mut self, record: &Record) -> Result<(), ReplyError> {
        add(&mut self.records, 1, RECORDS_MAX, "lines")?;
        match record {
            Record::Fact { key, value } => {
                add(&mut self.facts, 1, FACTS_MAX, "facts")?;
                let bytes = key.len() + value.len();
                add(&mut self.facts_bytes, bytes, FACTS_BYTES_MAX, "bytes of facts")
            }
            Record::Attr { id, key, value } => {
                let bytes = self.attributes.entry(*id).or_default();
                let what = "bytes of attributes of one resource";
                add(bytes, key.len() + value.len(), ATTRIBUTES_BYTES_MAX, what)
            }
            Record::Job { .. } => add(&mut self.jobs, 1, JOBS_MAX, "jobs"),
            Record::Life { .. } => add(&mut self.lives, 1, LIVES_MAX, "lives"),
            Record::Output { bytes, .. } => add(&mut 0, bytes.len(), OUTPUT_BYTES_MAX, "bytes of one step's output"),
            _ => Ok(()),
        }
    }
}

fn add(count: &mut usize, more: usize, max: usize, what: &'static str) -> Result<(), ReplyError> {
    *count = count.saturating_add(more);
    if *count > max {
        Err(ReplyError::TooMuch { what, max })
    } else {
        Ok(())
    }
}
