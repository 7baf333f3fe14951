//! Keeps the leases of a run alive. What happens to a lost lease is decided by the store and by the hosts.

use crate::now;
use crate::store::{LEASE_HEARTBEAT_MS, LEASE_TTL_MS, Lease, Store};
use std::time::Duration;

/// Keeps leases while it lives; drop it when the run is over.
pub struct Heartbeat(tokio::task::JoinHandle<()>);

impl Heartbeat {
    /// Starts to extend the leases.
    pub fn start(store: Store, leases: Vec<Lease>) -> Self {
        Self(tokio::spawn(async move {
            let mut leases = leases;
            loop {
                tokio::time::sleep(Duration::from_millis(LEASE_HEARTBEAT_MS)).await;
                match store.heartbeat(&leases, LEASE_TTL_MS, now()).await {
                    // What is lost stays lost: the host refuses our epoch from then on.
                    Ok(answers) => leases = answers.into_iter().filter_map(Result::ok).collect(),
                    Err(error) => tracing::warn!("can't extend the leases: {error}"),
                }
            }
        }))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}
