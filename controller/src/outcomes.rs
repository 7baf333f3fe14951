//! Turns what the carrier and the protocol say into the core's outcomes. The messages and hints are the core's and
//! the transport's own.

use crate::link::LinkError;
use crate::transport::TransportError;
use holdfast_agent::reply::Refusal;
use holdfast_plan::outcome::{Outcome, RefusalKind, UnreachableKind};
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
        TransportError::HandshakeTimeout { .. }
        | TransportError::NotSsh { .. }
        | TransportError::Negotiation { .. } => UnreachableKind::Handshake,
        TransportError::HostKeyUnknown { .. }
        | TransportError::HostKeyNotRecorded { .. }
        | TransportError::KnownHosts { .. } => UnreachableKind::HostKeyUnknown,
        TransportError::HostKeyChanged { .. } | TransportError::HostKeyRevoked { .. } => {
            UnreachableKind::HostKeyChanged
        }
        TransportError::AuthRefused { .. }
        | TransportError::NoCredentials { .. }
        | TransportError::AuthTimeout { .. }
        | TransportError::Identity { .. }
        | TransportError::IdentityEncrypted { .. }
        | TransportError::AgentUnavailable { .. }
        | TransportError::PasswordMissing { .. } => UnreachableKind::AuthRefused,
        TransportError::SudoRefused { .. } => UnreachableKind::SudoRefused,
        TransportError::ConnectionLost { .. } | TransportError::Deadline { .. } => UnreachableKind::ConnectionLost,
        TransportError::AgentMissing { .. } | TransportError::Agent { .. } => UnreachableKind::Agent,
        TransportError::ProgramMissing { .. }
        | TransportError::ExecRefused { .. }
        | TransportError::Spawn { .. }
        | TransportError::Panicked { .. } => UnreachableKind::Other,
    }
}

/// The outcome of a host whose carrier failed before anything was sent.
pub fn unreachable(error: &TransportError) -> Outcome {
    Outcome::Unreachable {
        kind: unreachable_kind(error),
        detail: format!("{error}; {}", error.hint()),
    }
}

/// The kind and detail of a request that failed before anything was started.
pub fn not_sent(error: &LinkError) -> (UnreachableKind, String) {
    match error {
        LinkError::Transport(error) => (unreachable_kind(error), format!("{error}; {}", error.hint())),
        LinkError::Reply(_) | LinkError::Cut(_) => (UnreachableKind::Protocol, error.to_string()),
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

/// What a person can do about an outcome. The detail of an unreachable host already ends with it, in the carrier's
/// own and more exact words.
pub fn hint(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Unreachable { .. } => None,
        other => other.hint(),
    }
}
