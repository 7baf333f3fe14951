//! How a task ended on a host: every ending with its message and its hint, in one place.
//!
//! A host that fails is data. The endings are counted separately ([`Tally`]): "failed" is what a step did,
//! "unreachable" what the network or sshd did, "refused" what we did not start, "unknown" what we can't tell yet.
//! This module does not decide what follows from an ending; [`crate::run`] does.

use crate::address::Address;
use serde::{Deserialize, Serialize};

/// How a task ended on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// All is as desired and nothing was changed; an ad-hoc command ended with 0.
    Ok,
    /// The host was changed and is as desired.
    Changed {
        /// How many steps changed something.
        steps: u32,
    },
    /// A step or a command failed.
    Failed {
        /// In which way.
        kind: FailureKind,
        /// Whose step, if one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<Address>,
    },
    /// The host can't be reached or lets us not in; nothing was sent.
    Unreachable(Unreached),
    /// A step or a command ran out of time.
    TimedOut {
        /// Whose step, if one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<Address>,
        /// Processes that survived being stopped; they hold the machine.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        survivors: Vec<String>,
    },
    /// It was sent, and the host could not be asked how it ended. The next command asks it.
    Unknown {
        /// What we know of it.
        why: String,
    },
    /// The host or the plan refused; nothing was changed.
    Refused {
        /// In which way.
        kind: RefusalKind,
        /// What was said.
        detail: String,
    },
    /// Not started: the run had stopped before its turn.
    Skipped {
        /// Why the run stopped.
        why: SkipReason,
    },
    /// The machine waits for a person.
    Held {
        /// For what.
        why: String,
    },
    /// A person stopped the run before anything was sent to this host.
    Cancelled,
}

/// How a step or a command failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum FailureKind {
    /// It ended with a code other than 0.
    Exit {
        /// The code.
        code: i32,
    },
    /// The step ended with a code, and its last words say that a disk is full.
    DiskFull {
        /// The code.
        code: i32,
    },
    /// The step ended with a code, and its last words say that a file system is mounted read-only.
    ReadOnly {
        /// The code.
        code: i32,
    },
    /// A signal ended it.
    Signal {
        /// Its name.
        name: String,
    },
    /// The step ended with 0, and the probe does not show what was wanted.
    NotConverged {
        /// The lines that did not show.
        missing: Vec<String>,
    },
    /// The ready check did not pass in time.
    NotReady,
    /// *Before* could not be captured; nothing was changed.
    NotCaptured {
        /// What the host said.
        why: String,
    },
    /// It changed what carries us, and nobody confirmed over a new connection: the host took it back by itself.
    Reverted {
        /// What did not come back, or nothing.
        why: String,
        /// What failed, so that there was nothing to confirm.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
    },
    /// What was there before is gone from the host, or was changed; nothing was changed.
    BeforeLost {
        /// What the host said.
        why: String,
    },
    /// The job died on the host (reboot, kill) in the middle.
    Interrupted,
}

/// Why a host can't be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnreachableKind {
    /// The name has no address.
    NameUnknown,
    /// Nobody listens on the port.
    ConnectRefused,
    /// No answer in time.
    ConnectTimeout,
    /// There is no route.
    NoRoute,
    /// The connection ended before anything was sent.
    ConnectionLost,
    /// The server closed the connection before the login: it limits connections (MaxStartups, PerSourcePenalties), or
    /// it starts anew.
    Dropped,
    /// It took the connection, and then did not answer in time: in the handshake, in the login, or afterwards.
    NoAnswer,
    /// The server did not speak SSH, or no algorithm is common.
    Handshake,
    /// The host's key is not the one we know.
    HostKeyChanged,
    /// The host's key is not known, and unknown keys are refused.
    HostKeyUnknown,
    /// No key or password of ours was taken.
    AuthRefused,
    /// What to log in with is missing on this machine: a key file, its passphrase, a password.
    NoCredentials,
    /// sudo (or its like) refused.
    SudoRefused,
    /// A jump host could not be reached.
    Jump,
    /// The answer was not one of ours, or incomplete, before anything was started.
    Protocol,
    /// The agent on the host did not answer.
    Agent,
    /// Something else.
    Other,
}

/// Why a host was not reached, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreached {
    /// In which way.
    pub kind: UnreachableKind,
    /// What the transport said, complete in itself; empty: the kind says it all.
    pub detail: String,
    /// What to do, in the transport's more exact words; empty: the kind's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Unreached {
    /// States what happened; what to do follows from the kind.
    pub fn new(kind: UnreachableKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            hint: String::new(),
        }
    }

    /// Says what happened.
    pub fn message(&self) -> &str {
        if self.detail.is_empty() {
            self.kind.message()
        } else {
            &self.detail
        }
    }

    /// Says what to do.
    pub fn hint(&self) -> &str {
        if self.hint.is_empty() {
            self.kind.hint()
        } else {
            &self.hint
        }
    }
}

/// Why nothing was started on a host that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// Another job of ours is on the host and not collected.
    Busy,
    /// A newer controller has the host.
    Epoch,
    /// The machine behind the name is another one.
    Machine,
    /// A disk is full.
    DiskFull,
    /// A file system is mounted read-only.
    ReadOnly,
    /// `state_dir` can't be made or isn't ours.
    NoStateDir,
    /// The attempt is known to the host already.
    Exists,
    /// A blob came damaged.
    Transfer,
    /// A tool that the job needs is missing.
    NoTool,
    /// The host changed since it was planned.
    Stale,
    /// The host's lock is held.
    Locked,
    /// Another controller has the lease.
    Leased,
    /// The plan itself has refusals for this host.
    Plan,
}

/// Why a host's turn never came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// `--max-failures` was reached.
    MaxFailures,
}

impl UnreachableKind {
    /// Tells whether it may pass without anybody changing anything. Authentication and keys never do: repeating them
    /// gets a controller banned (LEGACY R5).
    pub fn is_transient(self) -> bool {
        match self {
            Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::NoRoute
            | Self::ConnectionLost
            | Self::Dropped
            | Self::NoAnswer
            | Self::Agent => true,
            Self::NameUnknown
            | Self::Handshake
            | Self::HostKeyChanged
            | Self::HostKeyUnknown
            | Self::AuthRefused
            | Self::NoCredentials
            | Self::SudoRefused
            | Self::Jump
            | Self::Protocol
            | Self::Other => false,
        }
    }

    /// Tells how often connecting is tried again at once, where `few` tries are the rule: wherever a host is reached
    /// for, by observing, applying and running alike. What may pass in seconds is; a time that ran out is not, since
    /// the system, the server or we waited as long as is sensible, and a fleet waits for its slowest host.
    pub fn retries(self, few: u32) -> u32 {
        match self {
            // With the backoff's pauses some 35 s: a busy server with two places for logins takes most of it to let
            // sixty hosts in, and penalties last 15 s.
            Self::Dropped => few.saturating_mul(4),
            Self::ConnectRefused | Self::NoRoute | Self::ConnectionLost => few,
            Self::ConnectTimeout | Self::NoAnswer | Self::Agent => 0,
            Self::NameUnknown
            | Self::Handshake
            | Self::HostKeyChanged
            | Self::HostKeyUnknown
            | Self::AuthRefused
            | Self::NoCredentials
            | Self::SudoRefused
            | Self::Jump
            | Self::Protocol
            | Self::Other => 0,
        }
    }

    /// Says what happened, without the transport's own words.
    pub fn message(self) -> &'static str {
        match self {
            Self::NameUnknown => "the name has no address",
            Self::ConnectRefused => "connection refused",
            Self::ConnectTimeout => "no answer in time",
            Self::NoRoute => "no route to the host",
            Self::ConnectionLost => "the connection was lost before anything was sent",
            Self::Dropped => "the server closed the connection before the login",
            Self::NoAnswer => "the host took the connection and did not answer in time",
            Self::Handshake => "SSH could not be negotiated",
            Self::HostKeyChanged => "the host key changed",
            Self::HostKeyUnknown => "the host key is not known",
            Self::AuthRefused => "no key or password was accepted",
            Self::NoCredentials => "there is nothing to log in with",
            Self::SudoRefused => "sudo refused",
            Self::Jump => "the jump host could not be reached",
            Self::Protocol => "the answer was incomplete or not ours",
            Self::Agent => "the agent did not answer",
            Self::Other => "unreachable",
        }
    }

    /// Says what to do.
    pub fn hint(self) -> &'static str {
        match self {
            Self::NameUnknown => "check `address` in the inventory, or the resolver",
            Self::ConnectRefused => "check that sshd runs, and `port`",
            Self::ConnectTimeout => {
                "check that the host is up and no firewall drops the port; `connect_timeout` sets the wait"
            }
            Self::NoRoute => "check the network between here and the host",
            Self::ConnectionLost => "run the command again; if it repeats, look at sshd's log on the host",
            Self::Dropped => "raise MaxStartups of its sshd, or lower --forks; it may also be starting anew",
            Self::NoAnswer => "the host may be overloaded; check it on its console",
            Self::Handshake => "check that `port` is the port of sshd, and update a server that is too old",
            Self::HostKeyChanged => {
                "if the host was reinstalled, remove its line from known_hosts; if not, someone may be in between"
            }
            Self::HostKeyUnknown => "connect once by hand, or set `host_keys = \"accept-new\"`",
            Self::AuthRefused => "check `user` and `identity`, or that the ssh-agent holds the key",
            Self::NoCredentials => "check `identity` and `password` of the host in the inventory",
            Self::SudoRefused => "allow the user `sudo -n /bin/sh` in sudoers, or drop `become`",
            Self::Jump => "check the hosts on the way, each by itself",
            Self::Protocol => {
                "run again with -v; if it repeats, the login shell or sshd's ForceCommand may be in the way"
            }
            Self::Agent => "`holdfast agent status` shows its state",
            Self::Other => "run again with -v",
        }
    }
}

impl RefusalKind {
    /// Says what happened.
    pub fn message(self) -> &'static str {
        match self {
            Self::Busy => "another job is on the host and not collected yet",
            Self::Epoch => "a newer controller has taken the host over",
            Self::Machine => "the machine behind this name is another one",
            Self::DiskFull => "no space left on the host",
            Self::ReadOnly => "a file system of the host is mounted read-only",
            Self::NoStateDir => "the state folder can't be used",
            Self::Exists => "the host knows this attempt already",
            Self::Transfer => "a content arrived damaged",
            Self::NoTool => "a tool is missing on the host",
            Self::Stale => "the host changed since it was planned",
            Self::Locked => "the host is locked by another job",
            Self::Leased => "another controller is at work on this host",
            Self::Plan => "the plan can't be applied on this host",
        }
    }

    /// Says what to do.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Busy => {
                "run the command again: it records a job that ended, and `holdfast apply` waits for one that runs"
            }
            Self::Epoch => "make sure only one controller manages the host; `holdfast unlock` takes it back",
            Self::Machine => {
                "if the host was re-imaged, `holdfast resolve HOST accept` begins anew; else check its `address`"
            }
            Self::DiskFull => "free space or inodes where `state_dir` lies and where the resource lives",
            Self::ReadOnly => "remount it read-write, or set another `state_dir` in the inventory",
            Self::NoStateDir => "it has to be a folder of the user's own with mode 0700; see `state_dir`",
            Self::Exists => "run the command again; it asks the host what became of it",
            Self::Transfer => "run the command again; if it repeats, look for a failing disk or link",
            Self::NoTool => "install what is named, or narrow the resource with `on`",
            Self::Stale => "look at a new plan, then apply that: holdfast plan",
            Self::Locked => "wait for it; `holdfast unlock` breaks the lock of a dead one",
            Self::Leased => "wait for it; `holdfast unlock` breaks the lease of a dead one",
            Self::Plan => "see the plan's messages for this host",
        }
    }
}

impl Outcome {
    /// Says what happened, in a line: lowercase, no full stop.
    pub fn message(&self) -> String {
        let of = |address: &Option<Address>| address.as_ref().map(|a| format!("{a}: ")).unwrap_or_default();
        match self {
            Self::Ok => "ok".to_owned(),
            Self::Changed { steps: 1 } => "1 change".to_owned(),
            Self::Changed { steps } => format!("{steps} changes"),
            Self::Failed { kind, address } => format!("{}{}", of(address), kind.message()),
            Self::Unreachable(why) => why.message().to_owned(),
            Self::TimedOut { address, survivors } if survivors.is_empty() => {
                format!("{}ran out of time and was stopped", of(address))
            }
            Self::TimedOut { address, survivors } => {
                format!(
                    "{}ran out of time; still running: {}",
                    of(address),
                    survivors.join(", ")
                )
            }
            Self::Unknown { why } => with_detail("how it ended is not known", why),
            Self::Refused { kind, detail } => with_detail(kind.message(), detail),
            Self::Skipped {
                why: SkipReason::MaxFailures,
            } => "not started: too many hosts failed".to_owned(),
            Self::Held { why } => with_detail("held", why),
            Self::Cancelled => "not started: the run was interrupted before its turn".to_owned(),
        }
    }

    /// Says what to do, if there is something to do.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Ok | Self::Changed { .. } => None,
            Self::Failed { kind, .. } => Some(kind.hint()),
            Self::Unreachable(why) => Some(why.hint()),
            Self::TimedOut { survivors, .. } if !survivors.is_empty() => {
                Some("end these processes on the host, then run the command again")
            }
            Self::TimedOut { .. } => Some("raise `timeout` of the resource, or find out why it hangs"),
            Self::Unknown { .. } => Some("run the command again: it asks the host first, and nothing is started twice"),
            Self::Refused { kind, .. } => Some(kind.hint()),
            Self::Skipped { .. } => Some("mend the failed hosts, or raise --max-failures"),
            Self::Held { .. } => Some("when you are sure of the host: holdfast resolve HOST accept"),
            Self::Cancelled => Some("run the command again"),
        }
    }

    /// Tells whether it counts against `--max-failures`.
    pub fn is_bad(&self) -> bool {
        !matches!(
            self,
            Self::Ok | Self::Changed { .. } | Self::Skipped { .. } | Self::Cancelled
        )
    }

    /// Tells whether the host was worked on to an end, good or bad.
    pub fn went_through(&self) -> bool {
        matches!(
            self,
            Self::Ok | Self::Changed { .. } | Self::Failed { .. } | Self::TimedOut { .. }
        )
    }

    /// Gives the word under which it is counted.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Changed { .. } => "changed",
            Self::Failed { .. } => "failed",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed out",
            Self::Unknown { .. } => "unknown",
            Self::Refused { .. } => "refused",
            Self::Skipped { .. } => "skipped",
            Self::Held { .. } => "held",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FailureKind {
    /// Says what happened.
    pub fn message(&self) -> String {
        match self {
            Self::Exit { code } => format!("ended with code {code}"),
            Self::DiskFull { code } => format!("no space left on the host (ended with code {code})"),
            Self::ReadOnly { code } => format!("a file system is mounted read-only (ended with code {code})"),
            Self::Signal { name } => format!("ended by signal {name}"),
            Self::NotConverged { missing } if missing.iter().any(|line| line == "check passed") => {
                "apply ended well, but its check still fails".to_owned()
            }
            Self::NotConverged { missing } => {
                format!("ended well, but the host does not show: {}", missing.join("; "))
            }
            Self::NotReady => "did not become ready in time".to_owned(),
            Self::NotCaptured { why } => {
                with_detail("what was there before could not be kept; nothing was changed", why)
            }
            Self::Reverted {
                why,
                cause: Some(cause),
            } => with_detail(
                &format!("was taken back by the host itself, since the job did not come to its end ({cause})"),
                why,
            ),
            Self::Reverted { why, cause: None } => with_detail(
                "was taken back by the host itself: no new connection came about in time to confirm that it can still \
                 be reached",
                why,
            ),
            Self::BeforeLost { why } => {
                with_detail("what was there before can't be put back; nothing was changed", why)
            }
            Self::Interrupted => "the job died on the host in the middle".to_owned(),
        }
    }

    /// Says what to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Exit { .. } | Self::Signal { .. } => "mend the cause, then apply again: it goes on from this step",
            Self::DiskFull { .. } => {
                "free space or inodes where it writes, then apply again: it goes on from this step"
            }
            Self::ReadOnly { .. } => "remount it read-write, then apply again: it goes on from this step",
            Self::NotConverged { .. } => {
                "the step does not do what its probe looks for, or something changes it back: mend one of them"
            }
            Self::NotReady => "look at `ready.check` on the host, or raise its timeout",
            Self::NotCaptured { .. } => "free space where `state_dir` lies",
            Self::Reverted { cause: Some(_), .. } => {
                "mend the cause, then apply again: what carries us is changed whole or not at all"
            }
            Self::Reverted { cause: None, .. } => {
                "the change would have locked you out: mend it; or raise `confirm_timeout` of the host if the way to it is slow"
            }
            Self::BeforeLost { .. } => {
                "put it right by hand, then `holdfast resolve HOST ADDRESS skip` drops it from the ledger"
            }
            Self::Interrupted => "the next plan probes what is there and goes on",
        }
    }
}

fn with_detail(message: &str, detail: &str) -> String {
    if detail.is_empty() {
        message.to_owned()
    } else {
        format!("{message}: {detail}")
    }
}

/// How many hosts ended in which way. The denominator is [`Tally::hosts`]: every host that was selected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Hosts that were as desired.
    pub ok: u32,
    /// Hosts that were changed.
    pub changed: u32,
    /// Hosts where a step or a command failed.
    pub failed: u32,
    /// Hosts that could not be reached.
    pub unreachable: u32,
    /// Hosts where a step or a command ran out of time.
    pub timed_out: u32,
    /// Hosts of which we can't tell yet.
    pub unknown: u32,
    /// Hosts that refused, or whose plan could not be applied.
    pub refused: u32,
    /// Hosts whose turn never came.
    pub skipped: u32,
    /// Hosts that wait for a person.
    pub held: u32,
    /// Hosts to which nothing was sent because a person stopped the run.
    pub cancelled: u32,
}

impl Tally {
    /// Counts one host.
    pub fn count(&mut self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Changed { .. } => &mut self.changed,
            Outcome::Failed { .. } => &mut self.failed,
            Outcome::Unreachable { .. } => &mut self.unreachable,
            Outcome::TimedOut { .. } => &mut self.timed_out,
            Outcome::Unknown { .. } => &mut self.unknown,
            Outcome::Refused { .. } => &mut self.refused,
            Outcome::Skipped { .. } => &mut self.skipped,
            Outcome::Held { .. } => &mut self.held,
            Outcome::Cancelled => &mut self.cancelled,
        };
        *counter += 1;
    }

    /// Adds up all hosts.
    pub fn hosts(&self) -> u32 {
        self.ok
            + self.changed
            + self.failed
            + self.unreachable
            + self.timed_out
            + self.unknown
            + self.refused
            + self.skipped
            + self.held
            + self.cancelled
    }
}
