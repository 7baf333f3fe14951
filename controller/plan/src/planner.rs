//! The planner: what has to be done on a host, from what is desired, what the ledger says and what was observed.
//!
//! It decides everything; carrying out a plan leaves no meaningful choice. It changes nothing and reads no clock.

use crate::change::HostPlan;
use crate::content::Blobs;
use crate::event::HoldReason;
use crate::ids::MachineId;
use crate::ledger::Ledger;
use crate::observation::Observation;
use crate::resource::DesiredResource;

/// All that the plan of one host follows from.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// What the blueprints want of this host, in the order in which it is applied. Not looked at in [`Mode::Drift`].
    pub desired: &'a [DesiredResource],
    /// The ledger of the machine behind the host (empty for a new one).
    pub ledger: &'a Ledger,
    /// The machine that was behind this host's name when it was last observed, as the store knows it.
    pub machine: Option<&'a MachineId>,
    /// Why the machine is held, if it is.
    pub held: Option<&'a HoldReason>,
    /// What the host said.
    pub observation: &'a Observation,
    /// The bytes behind the contents, for diffs.
    pub blobs: &'a Blobs,
    /// Against what the host is compared.
    pub mode: Mode,
}

/// Against what a host is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Against the blueprints: what `plan` and `apply` do.
    Converge,
    /// Against the ledger, whatever the blueprints say by now: what `drift` does.
    Drift,
}

/// Lists what has to be probed on a host before it can be planned: what is desired, and what the ledger holds
/// beyond that.
pub fn to_observe<'a>(desired: &'a [DesiredResource], ledger: &'a Ledger, mode: Mode) -> Vec<&'a DesiredResource> {
    let _ = (desired, ledger, mode);
    Vec::new()
}

/// Plans one host.
pub fn plan_host(input: &PlanInput<'_>) -> HostPlan {
    HostPlan {
        host: input.observation.host.clone(),
        machine: input.observation.machine.clone(),
        platform: input.observation.facts.platform(),
        changes: Vec::new(),
        fingerprint: Vec::new(),
        refusals: Vec::new(),
    }
}

/// Refuses hosts that turned out to be one machine under two names.
pub fn refuse_shared_machines(hosts: &mut [HostPlan]) {
    let _ = hosts;
}
