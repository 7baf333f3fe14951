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
        Self::every(Duration::from_millis(LEASE_HEARTBEAT_MS), store, leases, tell)
    }

    fn every(pause: Duration, store: Store, leases: Vec<Lease>, tell: impl Fn(&LeaseLost) + Send + 'static) -> Self {
        let lost = LostLeases::default();
        let noted = lost.clone();
        let task = tokio::spawn(async move {
            let mut leases = leases;
            while !leases.is_empty() {
                tokio::time::sleep(pause).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    // REVIEW C1
    #[tokio::test]
    async fn a_lease_that_was_broken_is_told_once_and_the_others_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path().join("holdfast.db")).await.expect("a store");
        let hosts = ["one", "two"].map(HostName::from);
        let answers = store
            .acquire(&hosts, LEASE_TTL_MS, now())
            .await
            .expect("the store works");
        let leases: Vec<Lease> = answers
            .into_iter()
            .map(|answer| answer.expect("nobody has them"))
            .collect();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let pause = Duration::from_millis(10);
        let heartbeat = Heartbeat::every(pause, store.clone(), leases, move |lost| {
            let _ = tell.send(lost.host.clone());
        });
        store.break_lease(&hosts[1]).await.expect("the store works");
        let first = tokio::time::timeout(Duration::from_secs(60), told.recv()).await;
        assert_eq!(first.expect("it is told"), Some(hosts[1].clone()));
        for _ in 0..20 {
            tokio::time::sleep(pause).await;
        }
        assert!(told.try_recv().is_err(), "once");
        assert!(heartbeat.lost().of(&hosts[0]).is_none());
        let said = heartbeat.lost().of(&hosts[1]).expect("it is noted").to_string();
        assert!(
            said.contains("the lease of two") && said.contains("nothing more is sent to it"),
            "{said}"
        );
        let held = store.leases(now()).await.expect("the store works");
        assert_eq!(held.len(), 1, "{held:?}");
    }
}
