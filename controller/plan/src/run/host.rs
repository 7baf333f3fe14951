//! What a run keeps of each of its hosts.

use super::{HostTask, Work};
use crate::ids::AttemptId;
use crate::outcome::Unreached;
use holdfast_inventory::HostName;

#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: HostName,
    pub(super) work: Work,
    pub(super) state: State,
    /// Starts of this host that were tried, over all its attempts.
    pub(super) starts: u32,
    /// Attaches since the host was last heard.
    pub(super) attaches: u32,
    /// Attaches in all.
    pub(super) attaches_in_all: u32,
    /// How often it fell silent.
    pub(super) silences: u32,
    /// The number of the last pause.
    pub(super) serial: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Its turn has not come.
    Waiting,
    /// The intent is being recorded.
    Intending(AttemptId),
    /// The job or command is being sent.
    Starting(AttemptId),
    /// The host said that it runs.
    Following(AttemptId),
    /// It was not sent; it is tried again after pause `serial`.
    Backoff {
        attempt: AttemptId,
        serial: u32,
        why: Unreached,
    },
    /// The connection was lost; the host is asked after pause `serial`.
    Lost {
        attempt: AttemptId,
        serial: u32,
        why: String,
    },
    /// The host is being asked.
    Attaching(AttemptId),
    /// The outcome is told; the job's folder is being removed.
    Ending(AttemptId),
    Done,
}

impl State {
    pub(super) fn holds_a_slot(&self) -> bool {
        match self {
            Self::Intending(_) | Self::Starting(_) | Self::Following(_) | Self::Attaching(_) | Self::Ending(_) => true,
            Self::Waiting | Self::Backoff { .. } | Self::Lost { .. } | Self::Done => false,
        }
    }

    pub(super) fn attempt(&self) -> Option<&AttemptId> {
        match self {
            Self::Intending(attempt)
            | Self::Starting(attempt)
            | Self::Following(attempt)
            | Self::Backoff { attempt, .. }
            | Self::Lost { attempt, .. }
            | Self::Attaching(attempt)
            | Self::Ending(attempt) => Some(attempt),
            Self::Waiting | Self::Done => None,
        }
    }
}

impl Host {
    pub(super) fn new(task: HostTask) -> Self {
        Self {
            name: task.host,
            work: task.work,
            state: State::Waiting,
            starts: 0,
            attaches: 0,
            attaches_in_all: 0,
            silences: 0,
            serial: 0,
        }
    }
}
