//! The life of a resource in the ledger: its phases and every transition between them.

use serde::{Deserialize, Serialize};

/// Where a resource of a machine is in its life. Absence from the ledger is `Absent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not in the ledger.
    Absent,
    /// A step that makes it was begun.
    Creating,
    /// As desired when last seen.
    Ready,
    /// A step that changes it was begun.
    Updating,
    /// Seen to differ from the ledger.
    Drifted,
    /// Its last step failed.
    Failed,
    /// A person said: make it anew.
    Tainted,
    /// A step that undoes it was begun.
    Deleting,
    /// It can't be put back, or its *before* is lost: waits for a person.
    Stuck,
}
