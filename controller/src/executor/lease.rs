//! Keeps the leases of a run alive, and knows which were lost. What may be sent under a lost lease (nothing) is decided
//! by the store and by the hosts.

use crate::now;
use crate::store::{LEASE_HEARTBEAT_MS, LEASE_TTL_MS, Lease, LeaseLost, Store};
use holdfast_inventory::HostName;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Keeps leases while it lives; drop it when the run is over.
pub struct Heartbeat {
    lost: LostLeases,
    task: tokio::task::JoinHandle<()>,
}

/// The leases of a run that were taken over or broken.
#[derive(Debug, Clone, Default)]
pub struct LostLeases(Arc<Mutex<BTreeMap<HostName, LeaseLost>>>);

impl LostLeases {
    /// Notes that one is lost.
    pub fn note(&self, lost: LeaseLost) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(lost.host.clone(), lost);
    }

    /// Finds how the lease of a host was lost.
    pub fn of(&self, host: &HostName) -> Option<LeaseLost> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }
}

impl Heartbeat {
    /// Starts to extend the leases; `tell` is called once for each that is lost.
    pub fn start(store: Store, leases: Vec<Lease>, tell: impl Fn(&LeaseLost) + Send + 'static) -> Self {
        let lost = LostLeases::default();
        let noted = lost.clone();
        let task = tokio::spawn(async move {
            let mut leases = leases;
            while !leases.is_empty() {
                tokio::time::sleep(Duration::from_millis(LEASE_HEARTBEAT_MS)).await;
                match store.heartbeat(&leases, LEASE_TTL_MS, now()).await {
                    Ok(answers) => {
                        leases.clear();
                        for answer in answers {
                            match answer {
                                Ok(lease) => leases.push(lease),
                                // What is lost stays lost: the host refuses our epoch from then on.
                                Err(lost) => {
                                    tell(&lost);
                                    noted.note(lost);
                                }
                            }
                        }
                    }
                    Err(error) => tracing::warn!("can't extend the leases: {error}"),
                }
            }
        });
        Self { lost, task }
    }

    /// The leases that were lost so far; it grows while this lives.
    pub fn lost(&self) -> LostLeases {
        self.lost.clone()
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}
