//! The plan: an immutable list of changes per host, each with its action and a typed reason.

use crate::address::Address;
use crate::ids::{LifeId, MachineId, PlanId, Timestamp};
use crate::observation::{Attributes, Platform};
use crate::resource::{DesiredResource, Difference, Undoing};
use crate::rule::Rule;
use crate::sh::Sh;
use holdfast_inventory::HostName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is done with one resource on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nothing is there: make it.
    Create,
    /// It is there and differs: bring it to what is desired.
    Update,
    /// Something of another type is in its place, or it became another thing: the old one is undone, then the new
    /// one is made.
    Replace,
    /// It left the blueprint: put back what was before.
    Delete,
    /// It is already as desired: enter it into the ledger.
    Adopt,
    /// It left the blueprint and was adopted, or can't be undone: leave it on the host, drop it from the ledger.
    Forget,
    /// A service is owed a restart.
    Restart,
    /// As desired and in the ledger.
    NoOp,
    /// Can't be told before an earlier change is applied.
    Unknown,
}

/// Why an action was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    /// The blueprint declares it and the host lacks it.
    NotThere,
    /// It was there before Holdfast knew it, and differs.
    DiffersFromBlueprint {
        /// In what.
        differences: Vec<Difference>,
    },
    /// The blueprint changed since it was applied.
    BlueprintChanged {
        /// In what the host differs from the new one.
        differences: Vec<Difference>,
    },
    /// It no longer is what the ledger says, and no blueprint changed.
    Drifted {
        /// In what.
        differences: Vec<Difference>,
    },
    /// An earlier run failed on it, or was interrupted.
    LastAttemptFailed {
        /// In what it still differs.
        differences: Vec<Difference>,
    },
    /// A person said: make it anew.
    Tainted,
    /// Under this address stands another thing now: another path, another text, to be there or not.
    BecameAnother {
        /// What Holdfast put there.
        was: String,
        /// What is desired now.
        is: String,
    },
    /// It is as desired already.
    AlreadyAsDesired,
    /// It is in the ledger, and no blueprint declares it any more.
    LeftBlueprint {
        /// What was there before, in words.
        was: String,
        /// What is done about it.
        undoing: Undoing,
        /// In what the host differs from what comes back.
        differences: Vec<Difference>,
    },
    /// It is in the ledger, and can't be put back: adopted, or no `undo`.
    NothingToUndo {
        /// In a few words.
        why: String,
    },
    /// Something it restarts on changes in this plan.
    DependencyChanges {
        /// What.
        on: Vec<Address>,
    },
    /// Something it restarts on changed in an earlier run, and it was not restarted since.
    RestartOwed {
        /// What.
        on: Vec<Address>,
    },
    /// It is as desired now, and what it rests on changes first: it is looked at again at its turn.
    LookedAtAgain {
        /// What changes first.
        after: Vec<Address>,
    },
    /// Known after these are applied.
    KnownAfter {
        /// Which.
        after: Vec<Address>,
        /// What the probe said.
        why: String,
    },
}

/// One resource on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which resource.
    pub address: Address,
    /// What is done.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Which rule of the planner decided.
    pub rule: Rule,
    /// The resource as desired, or (delete, forget) as the ledger has it.
    pub desired: DesiredResource,
    /// What the probe found.
    pub observed: Attributes,
    /// A unified diff of the text, if there is one to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// What else a person should know before it is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// The steps that do it: none for adopt, forget and no-op, two for what is undone and made anew, else one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

/// What a person should know of a change beyond its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Whether it warns: more may go than is meant.
    pub warning: bool,
    /// In a line.
    pub text: String,
}

impl Note {
    /// Tells something.
    pub fn tells(text: impl Into<String>) -> Self {
        let (warning, text) = (false, text.into());
        Self { warning, text }
    }

    /// Warns of something.
    pub fn warns(text: impl Into<String>) -> Self {
        let (warning, text) = (true, text.into());
        Self { warning, text }
    }
}

/// One change compiled for one host's platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its number in the job, from 1: the steps of one change need not follow each other, since all that leaves goes
    /// before anything comes.
    pub number: u32,
    /// Reports the attributes.
    pub probe: Sh,
    /// The `key value` lines that the probe must show afterwards; if it shows them already, nothing is done
    /// (unless `always`).
    pub wanted: Vec<String>,
    /// Run even if the probe already shows what is wanted (restart, undo, and a script whose undo has no probe).
    pub always: bool,
    /// What the step means for *before*.
    pub life: StepLife,
    /// Does it.
    pub apply: Sh,
    /// The ready check, as sh that exits 0 when ready.
    pub ready: Option<StepReady>,
    /// How long `apply` may take, in whole seconds.
    pub timeout_s: u64,
    /// SHA-256 of the blobs that `apply` reads.
    pub blobs: BTreeSet<String>,
    /// Run only if one of these earlier steps (numbers in the job, from 1) changed something; empty: always.
    pub only_if_changed: Vec<u32>,
    /// How the host takes the step back by itself, if it changes what carries us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<StepGuard>,
}

/// How the host takes a step back by itself, unless somebody confirms over a new connection that the host can still be
/// reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum StepGuard {
    /// What stood there right before the step comes back.
    Restore {
        /// The sh that captures it into `$hf_before`.
        capture: Sh,
        /// The sh that puts it back from there (empty: it can't come back, as of a script without `undo`).
        revert: Sh,
    },
    /// A restart is done once more, when what it followed from is back.
    Again,
}

/// What a step means for the life of its resource, and so for what was there *before*.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum StepLife {
    /// There is none, and none begins: a restart, and an adopted resource that is put in order again.
    None,
    /// One begins: *before* is captured right before the change.
    Begins {
        /// The sh that captures into `$hf_before` what the attributes do not say (empty: they say it all).
        capture: Sh,
    },
    /// It goes on: what was captured when it began stays.
    GoesOn {
        /// Which.
        life: LifeId,
    },
    /// It ends with this step, which puts *before* back.
    Ends {
        /// Which.
        life: LifeId,
        /// The digest of *before*, as it was captured.
        digest: Option<String>,
        /// The resource that is undone, as the ledger has it.
        was: Box<DesiredResource>,
    },
}

/// The ready check of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReady {
    /// Exits 0 when ready.
    pub check: Sh,
    /// Within how many whole seconds.
    pub timeout_s: u64,
    /// Seconds between tries.
    pub every_s: u64,
}

/// The changes of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPlan {
    /// The host.
    pub host: HostName,
    /// The machine behind it, if it had one when it was observed.
    pub machine: Option<MachineId>,
    /// For what the steps are compiled.
    pub platform: Platform,
    /// Every resource with its action, in the order in which they are carried out (deletes first, in reverse).
    pub changes: Vec<Change>,
    /// The `ID key value` lines that the prologue must find again, for planned resources only.
    pub fingerprint: Vec<String>,
    /// Within how many seconds a guarded change has to be confirmed over a new connection.
    pub confirm_s: u64,
    /// What a person should know of the host as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// What stands in the way on this host; nothing is applied while this is not empty.
    pub refusals: Vec<Refusal>,
}

/// Why nothing is done on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which resource, if one.
    pub address: Option<Address>,
    /// Which rule of the planner decided, if it is about a resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// What stands in the way and what to do.
    pub message: String,
}

/// A plan: what was decided from one set of observations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// When it was made.
    pub at: Timestamp,
    /// One entry per observed host, by name.
    pub hosts: Vec<HostPlan>,
}

impl HostPlan {
    /// Lists the steps in the order of the job, each with the change that it belongs to and its number, from 1.
    pub fn steps(&self) -> impl Iterator<Item = (u32, &Change, &Step)> {
        let all = self.changes.iter();
        let mut steps: Vec<_> = all
            .flat_map(|change| change.steps.iter().map(move |step| (step.number, change, step)))
            .collect();
        steps.sort_by_key(|(number, _, _)| *number);
        steps.into_iter()
    }

    /// Tells whether any step changes what carries us.
    pub fn is_guarded(&self) -> bool {
        self.steps().any(|(_, _, step)| step.guard.is_some())
    }

    /// Tells whether applying it does anything, be it only in the ledger.
    pub fn has_changes(&self) -> bool {
        self.changes.iter().any(|change| change.action != Action::NoOp)
    }

    /// Tells whether a job has to be sent: there are steps, or the first resource is adopted and the machine has yet
    /// to get its id.
    pub fn needs_job(&self) -> bool {
        self.steps().next().is_some() || (self.machine.is_none() && self.has_changes())
    }
}
