//! The state machine of a run: what is done next on which host, decided from what happened.
//!
//! Pure and replayable: no clock, no store, no connection. Each [`Input`] gives [`Task`]s; the executor carries
//! them out and feeds back what came of them. What an input says of an attempt may come twice, late or out of order. What
//! it says of a connection (`NotSent`, `Lost`, `Refused`) is believed to be about the connection that was opened last: the
//! executor tells it once, when that connection is closed. Starts may be carried out twice: the host lets one through.
//!
//! ```text
//!            Intend          Start/Exec           (journal)        End, Acknowledge
//! Waiting ──────────> Intending ─────> Starting ─────────> Following ───────────> Ending ──> Done
//!    │ cancel, max failures    NotSent │ ^ Timer      Lost │ ^ Started
//!    └──> Done             transient   v │                 v │ Timer: Attach
//!                                    Backoff              Lost ── tries used up ──> Done (unknown)
//! ```
//!
//! A lost connection never leads to a second start, only to asking the host. Only a host that says that nothing was
//! started gets a second attempt. Ad-hoc commands can't be asked after: once sent, a loss is `unknown`.
//!
//! There is no clock: limits count tries. The executor turns time into [`Input::Silent`] and [`Input::Overdue`].

mod host;
mod state;
#[cfg(test)]
mod tests;
mod verdict;

pub use state::Run;
pub(crate) use verdict::outcome_of;

use crate::ids::AttemptId;
use crate::observation::JobReport;
use crate::outcome::{Outcome, RefusalKind, Tally, Unreached};
use holdfast_inventory::HostName;

/// What a run is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSpec {
    /// Its hosts, each once, in the order in which they are started.
    pub hosts: Vec<HostTask>,
    /// Its limits.
    pub limits: Limits,
}

/// What is to be done on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostTask {
    /// The host.
    pub host: HostName,
    /// The work.
    pub work: Work,
}

/// What is to be done on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Send a job, follow it, collect it.
    Job,
    /// Send an ad-hoc command.
    Command,
    /// Collect a job that an earlier run left.
    Collect {
        /// Which.
        attempt: AttemptId,
    },
    /// Nothing has to be sent: the outcome is known (nothing to do, adopt only, refused by the plan, unreachable
    /// when it was observed).
    Settled {
        /// How it ended.
        outcome: Outcome,
    },
}

/// How often connecting is tried again, as a rule. With the backoff's pauses: some 3 s, in which a service is
/// restarted.
pub const CONNECT_RETRIES: u32 = 2;

/// The limits of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many hosts are worked on at a time.
    pub forks: usize,
    /// When so many hosts went wrong, no further host is started. None is as one: it takes a failure to stop.
    pub max_failures: Option<u32>,
    /// How often a connection that failed before anything was sent is tried again, as a rule: see
    /// [`UnreachableKind::retries`](crate::outcome::UnreachableKind::retries).
    pub connect_retries: u32,
    /// How often a host is asked again after a lost connection before it is left as `unknown`.
    pub attach_tries: u32,
    /// How often a host that fell silent is asked again, in all.
    pub silence_tries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // One connection and one core's worth of cryptography each: more does not end sooner on small controllers.
            forks: 50,
            max_failures: None,
            connect_retries: CONNECT_RETRIES,
            // With the backoff's pauses: some four minutes, the time of a slow reboot.
            attach_tries: 8,
            // Each takes a minute of silence, and the whole command waits: a host that hangs three times is left.
            silence_tries: 2,
        }
    }
}

/// What happened, as the executor tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The run begins.
    Begin,
    /// The intent is durable.
    Intended {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The host said that the job runs (or that it is still there, after an attach).
    Started {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The connection failed before anything was sent.
    NotSent {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
        /// Why.
        why: Unreached,
    },
    /// A person stopped the run before the connection was open: nothing was sent.
    Withdrawn {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The connection ended, or the host fell silent, after something was sent.
    Lost {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
        /// What the transport said.
        why: String,
    },
    /// After something was sent the connection stayed open and the host said nothing for too long.
    Silent {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
        /// What the transport said.
        why: String,
    },
    /// The job goes on for longer than its plan allows, or tells nothing new for so long.
    Overdue {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
        /// For how long.
        why: String,
    },
    /// The host refused the request, or the store the intent; nothing was started.
    Refused {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
        /// In which way.
        kind: RefusalKind,
        /// What the host said.
        detail: String,
    },
    /// The job is over (done, interrupted, or never started), and all it said is recorded.
    JobOver {
        /// On which host.
        host: HostName,
        /// What it said.
        report: JobReport,
    },
    /// The ad-hoc command is over.
    CommandOver {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
        /// How it ended (ok, failed, timed out).
        outcome: Outcome,
    },
    /// The host removed the job's folder, or could not be asked to: the next start does it.
    Acknowledged {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// A pause asked for by [`Task::Wait`] is over.
    Timer {
        /// On which host.
        host: HostName,
        /// Which pause.
        serial: u32,
    },
    /// Start nothing new; what runs is followed to its end.
    Cancel,
    /// Stop waiting: what runs is left running, as `unknown`.
    Abandon,
}

/// What the executor shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Record the intent (`AttemptIntended` or `CommandIntended`), then feed [`Input::Intended`].
    Intend {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Send the job and follow it.
    Start {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Send the ad-hoc command and stream its output.
    Exec {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Ask the host for the job and follow it.
    Attach {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Let the host remove the job's folder, then feed [`Input::Acknowledged`].
    Acknowledge {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Feed [`Input::Timer`] after a pause.
    Wait {
        /// On which host.
        host: HostName,
        /// Which pause.
        serial: u32,
        /// How long, in milliseconds.
        pause_ms: u64,
    },
    /// Record `AttemptEnded`; if `settle`, record the plan's adopts and forgets with it.
    End {
        /// On which host.
        host: HostName,
        /// Which attempt, if there was one.
        attempt: Option<AttemptId>,
        /// How.
        outcome: Outcome,
        /// Whether the host was there and took the plan, so that its adopts and forgets hold.
        settle: bool,
    },
    /// Record `JobEnded` with `never_started`: the attempt was intended and nothing came of it. If the host has a folder
    /// of it, the next start's list of acks removes it.
    Void {
        /// On which host.
        host: HostName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Record `RunEnded`. The last task.
    Finish {
        /// How the hosts ended.
        recap: Tally,
    },
}
