//! The bodies of requests: the sh that observes a host's resources, and the step file of a job.
//!
//! docs/design/0001-host-protocol.md says what the runner on the host does with them.

use crate::address::Address;
use crate::change::HostPlan;
use crate::event::IntendedStep;
use crate::ids::MachineId;
use crate::resource::DesiredResource;
use crate::sh::Sh;
use std::collections::{BTreeMap, BTreeSet};

/// The step file of a job, and what is needed to understand its reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobBody {
    /// The sh.
    pub text: Sh,
    /// Its steps, by number from 1.
    pub steps: Vec<IntendedStep>,
    /// For each service that restarts on something: the steps that make it owed a restart.
    pub restarts: BTreeMap<Address, Vec<u32>>,
    /// SHA-256 of the blobs that the steps read.
    pub blobs: BTreeSet<String>,
}

/// Writes the body of an observe request; the list says which resource each ID (its place, from 0) is.
pub fn observe_body(resources: &[&DesiredResource]) -> (Sh, Vec<Address>) {
    (Sh::new(), resources.iter().map(|r| r.address.clone()).collect())
}

/// Writes the step file of a host's plan. `machine` is the id that the host shall take if it has none.
pub fn job_body(plan: &HostPlan, machine: &MachineId) -> JobBody {
    let _ = (plan, machine);
    JobBody {
        text: Sh::new(),
        steps: Vec::new(),
        restarts: BTreeMap::new(),
        blobs: BTreeSet::new(),
    }
}
