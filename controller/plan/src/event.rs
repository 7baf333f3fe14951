//! Events: the only record of what happened. Audit log, recovery log and the dashboard's feed are this one list.
//!
//! An event is written before anything acts on it: intent first, outcome after. It carries all that a fold needs,
//! so that ledgers, runs and reports can be rebuilt from events alone, without plans or inventories. The format is
//! JSON with a version; readers of an old version stay for ever, because old logs do.
//!
//! ```text
//! RunStarted ─ AttemptIntended ─ JobStarted ─ StepReported* ─ JobEnded ─ AttemptEnded ─ RunEnded
//!                    └── (connection lost: AttemptEnded unknown) ── next run: StepReported* ─ JobEnded ──┘
//! ```
//!
//! This module gives no event a meaning; [`crate::ledger`] and [`crate::report`] do.

use crate::address::Address;
use crate::change::Action;
use crate::ids::{AttemptId, LifeId, MachineId, PlanId, RunId, Timestamp};
use crate::observation::{Attributes, JobEnd, StepReport};
use crate::outcome::{Outcome, Tally};
use crate::resource::DesiredResource;
use holdfast_inventory::HostName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The version of the format that this program writes.
///
/// 2: what was there before belongs to a life of its resource ([`StepLifeKind`]), and a step's report says whether it
/// was changing anything. Version 1 was never released.
pub const EVENT_VERSION: u32 = 2;

/// The oldest version that this program reads.
pub const EVENT_VERSION_MIN: u32 = 2;

/// An event with its version and time, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the format.
    pub v: u32,
    /// When it was recorded. For people; it decides only whether an agent's report is older than what we saw ourselves.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// Why a stored event can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadEventError {
    /// A newer program wrote it.
    #[error("the event has format version {0}, and this program reads up to {EVENT_VERSION}; use a newer holdfast")]
    NewerVersion(u64),
    /// A program before the first release wrote it.
    #[error("the event has format version {0}, from before the first release, and can't be read; begin a new store")]
    OlderVersion(u64),
    /// It is no event.
    #[error("the stored event can't be read")]
    Malformed(#[source] serde_json::Error),
}

impl Record {
    /// Wraps an event for storing.
    pub fn new(at: Timestamp, event: Event) -> Self {
        Self {
            v: EVENT_VERSION,
            at,
            event,
        }
    }

    /// Writes it as one line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("events hold only strings, numbers and string-keyed maps")
    }

    /// Reads it back; the version is looked at first.
    pub fn from_json(text: &str) -> Result<Self, ReadEventError> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(ReadEventError::Malformed)?;
        match value.get("v").and_then(serde_json::Value::as_u64) {
            Some(version) if version > u64::from(EVENT_VERSION) => Err(ReadEventError::NewerVersion(version)),
            Some(version) if version < u64::from(EVENT_VERSION_MIN) => Err(ReadEventError::OlderVersion(version)),
            _ => serde_json::from_value(value).map_err(ReadEventError::Malformed),
        }
    }
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// Carries out a plan.
    Apply,
    /// An ad-hoc command.
    Run,
    /// Fetches what jobs and agents have to say.
    Collect,
    /// A person decides about what is stuck.
    Resolve,
    /// Compares hosts with the ledger.
    Drift,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[expect(
    clippy::large_enum_variant,
    reason = "events are written and folded one at a time, never kept in bulk"
)]
pub enum Event {
    /// A run began.
    RunStarted {
        /// Which.
        run: RunId,
        /// What for.
        #[serde(rename = "for")]
        kind: RunKind,
        /// The plan it carries out.
        plan: Option<PlanId>,
        /// Every host it is for.
        hosts: Vec<HostName>,
        /// Who started it.
        by: String,
        /// What they typed; values of secrets are redacted before.
        command: String,
    },
    /// A run ended.
    RunEnded {
        /// Which.
        run: RunId,
        /// How its hosts ended.
        recap: Tally,
    },
    /// A plan was kept for later.
    PlanSaved {
        /// Which.
        plan: PlanId,
        /// SHA-256 of its bytes.
        digest: String,
        /// Which hosts it is for.
        hosts: Vec<HostName>,
    },
    /// What a host says of itself changed. An observation without change is no event.
    HostObserved {
        /// Which host.
        host: HostName,
        /// The machine behind it, if it has an id.
        machine: Option<MachineId>,
        /// SHA-256 of the facts that are kept.
        facts_digest: String,
        /// The facts.
        facts: crate::observation::Facts,
    },
    /// A machine was met for the first time, or behind another host name.
    MachineSeen {
        /// Which machine.
        machine: MachineId,
        /// Behind which host.
        host: HostName,
    },
    /// A machine is held: nothing is applied until a person says so.
    MachineHeld {
        /// Which host.
        host: HostName,
        /// The machine, if it is known.
        machine: Option<MachineId>,
        /// Why.
        why: HoldReason,
    },
    /// A job is about to be sent. It may have been started from here on, whatever we hear.
    AttemptIntended(Intent),
    /// An ad-hoc command is about to be sent. It may have run from here on.
    CommandIntended {
        /// In which run.
        run: RunId,
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The host said that the job runs.
    JobStarted {
        /// On which machine.
        machine: MachineId,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// A step of a job ended, or (in an interrupted job) was begun and never ended.
    StepReported {
        /// On which machine.
        machine: MachineId,
        /// Which attempt.
        attempt: AttemptId,
        /// What the journal tells.
        report: StepReport,
    },
    /// A job ended, and all its steps are reported. Nothing more comes of it.
    JobEnded {
        /// On which machine.
        machine: MachineId,
        /// Which attempt.
        attempt: AttemptId,
        /// How.
        ended: JobEnded,
    },
    /// A host's task ended in a run. `unknown` may be followed by the job's events in a later run.
    AttemptEnded {
        /// In which run.
        run: RunId,
        /// On which host.
        host: HostName,
        /// Which attempt, if one was intended.
        attempt: Option<AttemptId>,
        /// How.
        result: Outcome,
    },
    /// A resource was found as desired and entered the ledger (or its entry takes the new desire).
    Adopted {
        /// On which host.
        host: HostName,
        /// On which machine.
        machine: MachineId,
        /// The resource as desired.
        desired: DesiredResource,
        /// What the probe found.
        applied: Attributes,
    },
    /// A resource was dropped from the ledger and left on the host.
    Forgotten {
        /// On which host.
        host: HostName,
        /// On which machine.
        machine: MachineId,
        /// Which.
        address: Address,
    },
    /// Resources of the ledger were seen to differ, or to be in order again. Only on change.
    DriftSeen {
        /// On which host.
        host: HostName,
        /// On which machine.
        machine: MachineId,
        /// Those that differ, with what the probe found.
        drifted: BTreeMap<Address, Attributes>,
        /// Those that differed before and are in order again.
        mended: Vec<Address>,
    },
    /// A report of an agent was taken from its spool. Unique by machine, spool and sequence number.
    ReportRecorded {
        /// From which host.
        host: HostName,
        /// From which machine.
        machine: MachineId,
        /// Which spool.
        spool: String,
        /// Which report in it.
        seq: u64,
        /// SHA-256 of the report's bytes.
        digest: String,
        /// When the agent made it, by our clock: the host's may be wrong, and is compared with ours at the collection.
        observed_at: Timestamp,
        /// What its probes found.
        resources: BTreeMap<Address, Attributes>,
    },
    /// A person decided.
    Resolved {
        /// On which host.
        host: HostName,
        /// On which machine.
        machine: MachineId,
        /// About which resource; `None`: about the machine being held.
        address: Option<Address>,
        /// What.
        how: Resolution,
        /// Who.
        by: String,
    },
    /// A person took a host's lease from another controller.
    LeaseBroken {
        /// Of which host.
        host: HostName,
        /// Who had it.
        holder: String,
        /// The epoch that is void now.
        epoch: u64,
        /// Who broke it.
        by: String,
    },
}

/// A job that is about to be sent, with all that is needed to understand its reports later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// In which run.
    pub run: RunId,
    /// On which host.
    pub host: HostName,
    /// On which machine: the one that was observed, or the new id that the host shall take.
    pub machine: MachineId,
    /// Which attempt.
    pub attempt: AttemptId,
    /// Under which epoch.
    pub epoch: u64,
    /// Of which plan.
    pub plan: PlanId,
    /// Its steps, by number.
    pub steps: Vec<IntendedStep>,
    /// For each service that restarts on something: the numbers of the steps that make it owed a restart.
    #[serde(default)]
    pub restarts: BTreeMap<Address, Vec<u32>>,
}

/// One step of an intended job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntendedStep {
    /// Its number in the job, from 1.
    pub index: u32,
    /// Which resource.
    pub address: Address,
    /// What is done: `delete` for the first half of a `replace`.
    pub action: Action,
    /// What it means for the life of the resource.
    pub life: StepLifeKind,
    /// The resource as desired, or (delete) as the ledger has it.
    pub desired: DesiredResource,
}

/// What a step means for the life of its resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum StepLifeKind {
    /// There is none, and none begins.
    None,
    /// The life [`LifeId::begun_by`] this attempt and step begins once the step is changing something.
    Begins,
    /// This life goes on.
    GoesOn {
        /// Which.
        life: LifeId,
    },
    /// This life ends.
    Ends {
        /// Which.
        life: LifeId,
    },
}

/// How a job ended for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum JobEnded {
    /// By itself.
    Ended {
        /// How.
        end: JobEnd,
    },
    /// Its process is gone, or the host booted since: steps that were begun may have been half done.
    Interrupted,
    /// It never began: the host refused it, the transfer died, or the host knows no such job.
    NeverStarted,
}

/// Why a machine is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "because")]
pub enum HoldReason {
    /// A person said so.
    Operator {
        /// In their words.
        note: String,
    },
    /// The host key is not the one we know.
    HostKeyChanged,
    /// Processes of a stopped step are still there.
    Survivors {
        /// Which.
        processes: Vec<String>,
    },
    /// The host took a job of ours that the store has no record of: the store was put back in time.
    StoreOlder {
        /// The last one it took.
        attempt: AttemptId,
        /// How many things that it keeps what was there before of are in no record.
        lives: usize,
    },
    /// The machine id is missing or another one: re-imaged, or two names for one host.
    MachineDiffers {
        /// What the host says now.
        observed: Option<MachineId>,
    },
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator { note } => f.write_str(note),
            Self::HostKeyChanged => f.write_str("its host key changed"),
            Self::Survivors { processes } => {
                write!(f, "processes of a stopped step still run: {}", processes.join(", "))
            }
            Self::StoreOlder { attempt, lives } => {
                let things = match lives {
                    0 => String::new(),
                    1 => " and 1 thing it put there".to_owned(),
                    many => format!(" and {many} things it put there"),
                };
                write!(
                    f,
                    "the store is older than what this host knows: job {attempt} of this project{things} are in no record"
                )
            }
            Self::MachineDiffers { observed: Some(found) } => write!(f, "machine {found} answers under its name"),
            Self::MachineDiffers { observed: None } => f.write_str("its machine id is gone"),
        }
    }
}

/// What a person decided about a stuck resource or a held machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "resolution")]
pub enum Resolution {
    /// Try again: the next plan takes it up.
    Retry,
    /// Drop it from the ledger and leave the host as it is.
    Skip {
        /// Why.
        reason: String,
    },
    /// What is on the host now counts as applied.
    Accept,
    /// Make it anew at the next apply.
    Taint,
    /// The machine was re-imaged: its ledger is void, and the host begins anew.
    NewMachine,
    /// What is on the host and in no record of this store counts as found there. What was there before it stays on the
    /// host, and nothing puts it back any more.
    AsFound {
        /// The last job of ours that the host took, if the store has no record of it.
        attempt: Option<AttemptId>,
        /// The lives that are in no record.
        lives: Vec<LifeId>,
    },
    /// A job that this store knows nothing of was taken off the host. What it did there is in no ledger of ours.
    JobDropped {
        /// Which.
        attempt: AttemptId,
    },
}

impl Event {
    /// Gives the run it belongs to, if it names one.
    pub fn run(&self) -> Option<&RunId> {
        match self {
            Self::RunStarted { run, .. }
            | Self::RunEnded { run, .. }
            | Self::CommandIntended { run, .. }
            | Self::AttemptEnded { run, .. } => Some(run),
            Self::AttemptIntended(intent) => Some(&intent.run),
            _ => None,
        }
    }

    /// Gives the host it is about, if it names one.
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::HostObserved { host, .. }
            | Self::MachineSeen { host, .. }
            | Self::MachineHeld { host, .. }
            | Self::CommandIntended { host, .. }
            | Self::AttemptEnded { host, .. }
            | Self::Adopted { host, .. }
            | Self::Forgotten { host, .. }
            | Self::DriftSeen { host, .. }
            | Self::ReportRecorded { host, .. }
            | Self::Resolved { host, .. }
            | Self::LeaseBroken { host, .. } => Some(host),
            Self::AttemptIntended(intent) => Some(&intent.host),
            Self::RunStarted { .. }
            | Self::RunEnded { .. }
            | Self::PlanSaved { .. }
            | Self::JobStarted { .. }
            | Self::StepReported { .. }
            | Self::JobEnded { .. } => None,
        }
    }

    /// Gives the machine whose ledger it may change or whose state it is about.
    pub fn machine(&self) -> Option<&MachineId> {
        match self {
            Self::MachineSeen { machine, .. }
            | Self::JobStarted { machine, .. }
            | Self::StepReported { machine, .. }
            | Self::JobEnded { machine, .. }
            | Self::Adopted { machine, .. }
            | Self::Forgotten { machine, .. }
            | Self::DriftSeen { machine, .. }
            | Self::ReportRecorded { machine, .. }
            | Self::Resolved { machine, .. } => Some(machine),
            Self::HostObserved { machine, .. } | Self::MachineHeld { machine, .. } => machine.as_ref(),
            Self::AttemptIntended(intent) => Some(&intent.machine),
            Self::RunStarted { .. }
            | Self::RunEnded { .. }
            | Self::PlanSaved { .. }
            | Self::CommandIntended { .. }
            | Self::AttemptEnded { .. }
            | Self::LeaseBroken { .. } => None,
        }
    }

    /// Gives the attempt it is about, if one.
    pub fn attempt(&self) -> Option<&AttemptId> {
        match self {
            Self::CommandIntended { attempt, .. }
            | Self::JobStarted { attempt, .. }
            | Self::StepReported { attempt, .. }
            | Self::JobEnded { attempt, .. } => Some(attempt),
            Self::AttemptEnded { attempt, .. } => attempt.as_ref(),
            Self::AttemptIntended(intent) => Some(&intent.attempt),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{UnreachableKind, Unreached};

    #[test]
    fn an_event_is_one_line_of_versioned_json() {
        let record = Record::new(
            Timestamp(5),
            Event::AttemptEnded {
                run: RunId("r".to_owned()),
                host: "web01".into(),
                attempt: None,
                result: Outcome::Unreachable(Unreached::new(UnreachableKind::ConnectTimeout, "10 s")),
            },
        );
        let text = record.to_json();
        assert_eq!(
            text,
            r#"{"v":2,"at":5,"event":{"kind":"attempt_ended","run":"r","host":"web01","attempt":null,"result":{"outcome":"unreachable","kind":"connect_timeout","detail":"10 s"}}}"#
        );
        assert_eq!(Record::from_json(&text).expect("what we wrote"), record);
    }

    #[test]
    fn an_event_of_a_newer_program_is_refused_by_its_version() {
        let error = Record::from_json(r#"{"v":3,"event":{}}"#).expect_err("version 3");
        assert!(error.to_string().contains("format version 3"), "{error}");
    }

    #[test]
    fn an_event_of_before_the_first_release_is_refused_by_its_version() {
        let error = Record::from_json(r#"{"v":1,"event":{}}"#).expect_err("version 1");
        assert!(error.to_string().contains("format version 1"), "{error}");
    }
}
