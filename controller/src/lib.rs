//! The controller: the shell around the core. It loads, connects, stores and shows; what is done is decided in
//! `holdfast-plan`.

pub mod agent_blueprint;
pub mod cancel;
pub mod cli;
pub mod config;
pub mod demo;
pub mod executor;
pub mod fleet;
pub mod link;
pub mod load;
pub mod observe;
pub mod older;
pub mod outcomes;
pub mod output;
pub mod probes;
pub mod redact;
pub mod store;
pub mod transport;
pub mod trust;
pub mod view;

use holdfast_plan::ids::{IdSource, Timestamp};

/// Ids from the system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl IdSource for SystemIds {
    fn next_bytes(&mut self) -> [u8; 16] {
        random_bytes()
    }
}

/// Sixteen random bytes of the system.
fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes
}

/// The time now. A clock before 1970 counts as 1970.
fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
