//! What a host said when it was asked: attributes of each resource, facts, unfinished jobs.
//!
//! Everything here came from a host and is hostile: it is data, never sh and never a template.

use crate::address::Address;
use crate::ids::{AttemptId, LifeId, MachineId, Timestamp};
use holdfast_inventory::HostName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Attributes of one resource, in the order in which the probe reported them (`type file`, `mode 0644`).
///
/// The order is the probe's, and fixed for a resource: the fingerprint compares these lines byte by byte.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attributes(pub Vec<(String, String)>);

impl Attributes {
    /// Finds a value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Sets a value, in its place if the key is there.
    pub fn set(&mut self, key: &str, value: &str) {
        match self.0.iter_mut().find(|(k, _)| k == key) {
            Some(pair) => value.clone_into(&mut pair.1),
            None => self.0.push((key.to_owned(), value.to_owned())),
        }
    }

    /// Writes `key value` lines: the form in which the host compares them.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(key, value)| format!("{key} {value}"))
    }
}

/// What a probe found out about one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The attributes.
    pub attributes: Attributes,
    /// The old text of a file whose digest differs from the desired one (at most 64 KiB), for the diff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Vec<u8>>,
    /// The text that comes back if the resource is undone (at most 64 KiB), for the diff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Vec<u8>>,
}

/// What a host says of itself: `os.id`, `os.version`, `kernel`, `arch`, `init`, `package_manager`, `uid`, ...
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Facts(pub BTreeMap<String, String>);

/// What compiling a step needs to know of a host, a total reading of its facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Which init runs as process 1.
    pub init: Init,
    /// Which package manager the host has.
    pub package_manager: PackageManager,
    /// Whether the probe ran as root.
    pub root: bool,
}

/// The init that runs (not the one whose folders exist).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// systemd.
    Systemd,
    /// SysV scripts in `/etc/init.d`.
    Sysv,
    /// None that Holdfast can talk to.
    None,
}

/// The package manager of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageManager {
    /// apt-get and dpkg.
    Apt,
    /// dnf and rpm.
    Dnf,
    /// None that Holdfast can talk to.
    None,
}

impl Facts {
    /// Finds a fact.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Reads the platform out of the facts `init`, `package_manager` and `uid`.
    pub fn platform(&self) -> Platform {
        Platform {
            init: match self.get("init") {
                Some("systemd") => Init::Systemd,
                Some("sysv") => Init::Sysv,
                _ => Init::None,
            },
            package_manager: match self.get("package_manager") {
                Some("apt") => PackageManager::Apt,
                Some("dnf") => PackageManager::Dnf,
                _ => PackageManager::None,
            },
            root: self.get("uid") == Some("0"),
        }
    }
}

/// The state of a job found on a host (DESIGN section 6, "on return").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// `rc` is there: it ended by itself.
    Done,
    /// `go` and a live wrapper process.
    Running,
    /// `go`, and the wrapper is gone or the host booted since: probe.
    Interrupted,
    /// `step` without `go` on the same boot: it was never started.
    Unstarted,
    /// The folder without `step`: the transfer died.
    Untransferred,
}

/// How one step of a job went, as the host's journal tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step's number in the job, from 1.
    pub index: u32,
    /// How it went.
    pub status: StepStatus,
    /// Whether the step's own sh was begun: *before* is whole and on disk, and the host may be changed from here on.
    /// Without it nothing was changed, whatever the status says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changing: bool,
    /// What the probe found right before the step (whole once it is `changing` or has ended).
    pub before: Attributes,
    /// What the probe found after the step.
    pub after: Attributes,
    /// The digest of *before* (its `meta`) as it lies on the host, if the step's life has one.
    pub before_digest: Option<String>,
    /// The last words of the step's output: bounded, raw.
    pub output: Vec<u8>,
    /// How long it took, in whole seconds.
    pub seconds: u64,
}

/// How far a step came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum StepStatus {
    /// It was begun and has not ended (so far as the journal says). What that means for the host tells
    /// [`StepReport::changing`].
    Begun,
    /// The probe already showed what is desired: nothing was done.
    Unchanged,
    /// It changed the host, and the probe shows what is desired.
    Changed,
    /// Something that belongs to others was left where it was; the rest was done. One line says what.
    Left {
        /// What was left, in a line.
        what: String,
    },
    /// The step's sh ended with another code than 0.
    Failed {
        /// The exit code.
        code: i32,
    },
    /// It ended with 0, but the probe does not show what is desired: it is not idempotent.
    NotConverged {
        /// The `key value` lines that were wanted and did not show.
        missing: Vec<String>,
    },
    /// It ran out of time and was stopped.
    TimedOut {
        /// Processes of it that survived TERM and KILL.
        survivors: Vec<String>,
    },
    /// The `ready` check did not pass in time.
    NotReady,
    /// *Before* could not be captured (disk full, read-only): nothing was changed.
    NotCaptured {
        /// What the host said.
        why: String,
    },
    /// It changed what carries us and nobody confirmed that the host could still be reached: the host took it back by
    /// itself, so far as it could.
    Reverted {
        /// What did not come back, or nothing.
        why: String,
        /// What failed, so that there was nothing to confirm.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
    },
    /// What was there before is not on the host any more, or not as it was captured: nothing was changed.
    BeforeLost {
        /// What the host said.
        why: String,
    },
}

impl StepStatus {
    /// Gives its word for people.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unchanged => "ok",
            Self::Changed | Self::Left { .. } => "changed",
            Self::Begun => "not ended",
            Self::TimedOut { .. } => "timed out",
            Self::NotReady => "not ready",
            Self::Reverted { .. } => "reverted",
            Self::Failed { .. } | Self::NotConverged { .. } | Self::NotCaptured { .. } | Self::BeforeLost { .. } => {
                "failed"
            }
        }
    }
}

/// Everything a job has told so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// The attempt that started it.
    pub attempt: AttemptId,
    /// Where it stands.
    pub state: JobState,
    /// How it ended, when it is `Done`.
    pub end: Option<JobEnd>,
    /// Its steps so far.
    pub steps: Vec<StepReport>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "end")]
pub enum JobEnd {
    /// Every step was done.
    Completed,
    /// A step failed, or the job could not go on; the later steps did not run.
    Stopped {
        /// Which step; 0: before the first.
        #[serde(default)]
        step: u32,
        /// Why: the step's status, or `disk-full`.
        #[serde(default)]
        why: String,
    },
    /// Nobody confirmed over a new connection: what carries us was put back by the host itself.
    Reverted,
    /// The fingerprint no longer held: nothing was done.
    Stale {
        /// The first line that differs: `file./etc/motd: mode 0644 -> mode 0600`.
        what: String,
    },
    /// The host lock was held by another job.
    Locked {
        /// Who holds it.
        by: String,
    },
}

/// What one observe brought back from one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The host that was asked.
    pub host: HostName,
    /// When the answer was complete.
    pub at: Timestamp,
    /// The machine id found there, if any.
    pub machine: Option<MachineId>,
    /// The highest epoch that the host has seen (0: none).
    pub epoch: u64,
    /// What the host says of itself.
    pub facts: Facts,
    /// Jobs on the host that are not acked.
    pub jobs: Vec<JobReport>,
    /// The last job of this controller that the host took.
    pub last: Option<AttemptId>,
    /// Lives of which the host keeps what was there before, where it was asked for them: those of no job that the store
    /// has a record of.
    pub lives: BTreeMap<LifeId, Address>,
    /// What the probes found.
    pub resources: BTreeMap<Address, Observed>,
    /// Processes that the host made meanwhile (whole host; `None` where it can't tell).
    pub forks: Option<u64>,
}
