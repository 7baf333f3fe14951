//! Turns what the carrier and the protocol say into the core's outcomes. The messages and hints are the core's and
//! the transport's own.

use crate::link::LinkError;
use crate::transport::TransportError;
use holdfast_agent::reply::Refusal;
use holdfast_plan::outcome::{Outcome, RefusalKind, UnreachableKind, Unreached};
use std::io::ErrorKind;

/// Classifies a failure of the carrier before anything was sent.
pub fn unreachable_kind(error: &TransportError) -> UnreachableKind {
    match error {
        TransportError::Resolve { .. } => UnreachableKind::NameUnknown,
        TransportError::Connect { source, .. } => match source.kind() {
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => UnreachableKind::NoRoute,
            ErrorKind::TimedOut => UnreachableKind::ConnectTimeout,
            _ => UnreachableKind::ConnectRefused,
        },
        TransportError::ConnectTimeout { .. } => UnreachableKind::ConnectTimeout,
        TransportError::Dropped { .. } => UnreachableKind::Dropped,
        TransportError::HandshakeTimeout { .. }
        | TransportError::AuthTimeout { .. }
        | TransportError::Deadline { .. }
        | TransportError::Silent { .. } => UnreachableKind::NoAnswer,
        TransportError::NotSsh { .. } | TransportError::Negotiation { .. } => UnreachableKind::Handshake,
        TransportError::HostKeyUnknown { .. }
        | TransportError::HostKeyNotRecorded { .. }
        | TransportError::KnownHosts { .. } => UnreachableKind::HostKeyUnknown,
        TransportError::HostKeyChanged { .. } | TransportError::HostKeyRevoked { .. } => {
            UnreachableKind::HostKeyChanged
        }
        TransportError::AuthRefused { .. } => UnreachableKind::AuthRefused,
        TransportError::NoCredentials { .. }
        | TransportError::Identity { .. }
        | TransportError::IdentityEncrypted { .. }
        | TransportError::AgentUnavailable { .. }
        | TransportError::PasswordMissing { .. } => UnreachableKind::NoCredentials,
        TransportError::SudoRefused { .. } => UnreachableKind::SudoRefused,
        TransportError::ConnectionLost { .. } => UnreachableKind::ConnectionLost,
        TransportError::AgentMissing { .. } | TransportError::Agent { .. } | TransportError::AgentStorage { .. } => {
            UnreachableKind::Agent
        }
        TransportError::ProgramMissing { .. }
        | TransportError::ExecRefused { .. }
        | TransportError::Spawn { .. }
        | TransportError::Panicked { .. }
        | TransportError::Interrupted => UnreachableKind::Other,
    }
}

/// The outcome of a host whose carrier failed before anything was sent.
pub fn unreachable(error: &TransportError) -> Outcome {
    match error {
        TransportError::Interrupted => Outcome::Cancelled,
        error => Outcome::Unreachable(unreached(error)),
    }
}

/// Keeps the carrier's own words, which are more exact than the kind's.
pub fn unreached(error: &TransportError) -> Unreached {
    Unreached {
        kind: unreachable_kind(error),
        detail: error.to_string(),
        hint: error.hint(),
    }
}

/// Why a request failed before anything was started.
pub fn not_sent(error: &LinkError) -> Unreached {
    match error {
        LinkError::Transport(error) => unreached(error),
        LinkError::Stalled(_) => Unreached::new(UnreachableKind::NoAnswer, error.to_string()),
        LinkError::Reply(_) | LinkError::Cut(_) => Unreached::new(UnreachableKind::Protocol, error.to_string()),
    }
}

/// Translates a refusal of the host.
pub fn refusal_kind(refusal: Refusal) -> RefusalKind {
    match refusal {
        Refusal::Busy => RefusalKind::Busy,
        Refusal::Epoch => RefusalKind::Epoch,
        Refusal::Machine => RefusalKind::Machine,
        Refusal::DiskFull => RefusalKind::DiskFull,
        Refusal::ReadOnly => RefusalKind::ReadOnly,
        Refusal::NoStateDir => RefusalKind::NoStateDir,
        Refusal::Exists => RefusalKind::Exists,
        Refusal::Transfer => RefusalKind::Transfer,
        Refusal::NoTool => RefusalKind::NoTool,
    }
}

/// What a person can do about how an ad-hoc command ended. Hosts can't be asked after one, and it has no resource.
pub fn command_hint(outcome: &Outcome) -> Option<&str> {
    match outcome {
        // Its output says why.
        Outcome::Failed { .. } => None,
        Outcome::TimedOut { .. } => Some("look for it on the host and end it there, or raise --timeout"),
        Outcome::Unknown { .. } => Some("it may still be running on the host; look there before you run it again"),
        other => other.hint(),
    }
}
