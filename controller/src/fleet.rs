//! Works on many hosts at once: a bounded number of tasks, each contained, so that one host's trouble is its own.

use crate::cancel::Cancel;
use crate::outcomes;
use crate::transport::agent::{AGENT_PATH, AgentSession};
use crate::transport::{Context, Session, Target, Traffic, TransportError, Via, connect, connect_agent};
use holdfast_inventory::HostName;
use holdfast_plan::backoff::connect_pause_ms;
use holdfast_plan::run::CONNECT_RETRIES;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections to the fleet, and what went over them.
#[derive(Clone)]
pub struct Fleet {
    context: Context,
    traffic: Arc<Mutex<Traffic>>,
    forks: usize,
    cancel: Cancel,
    /// The hosts of the inventory.
    names: Arc<BTreeSet<HostName>>,
}

impl Fleet {
    /// Sets up; nothing is contacted.
    pub fn new(context: Context, forks: usize) -> Self {
        Self {
            context,
            traffic: Arc::default(),
            forks,
            cancel: Cancel::default(),
            names: Arc::default(),
        }
    }

    /// Tells it which hosts the inventory has.
    pub fn knowing(self, names: BTreeSet<HostName>) -> Self {
        let names = Arc::new(names);
        Self { names, ..self }
    }

    /// Tells whether a name is that of a host no more: the inventory is known and does not have it.
    pub fn is_gone(&self, host: &HostName) -> bool {
        !self.names.is_empty() && !self.names.contains(host)
    }

    /// Makes it heed what stops the command.
    pub fn heeding(self, cancel: Cancel) -> Self {
        Self { cancel, ..self }
    }

    /// What stops the work on hosts.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// How many hosts are worked on at a time.
    pub fn forks(&self) -> usize {
        self.forks
    }

    /// Opens a session by the carrier that the target names, in one try: for a run, which has its own way to wait
    /// ([`holdfast_plan::run`]). All others [`reach`](Self::reach).
    pub async fn open(&self, target: &Target) -> Result<Box<dyn Session>, TransportError> {
        connect(target, &self.context).await
    }

    /// Opens a session by the carrier that the target names; what may pass in seconds is waited for.
    pub async fn reach(&self, target: &Target) -> Result<Box<dyn Session>, TransportError> {
        self.patiently(target, || self.open(target)).await
    }

    /// Opens a session to the agent of a host, whatever carries programs to it; what may pass is waited for.
    pub async fn reach_agent(&self, target: &Target) -> Result<AgentSession, TransportError> {
        self.patiently(target, || self.open_agent(target)).await
    }

    /// Tries again as often as the way in which it failed is worth, with growing pauses.
    async fn patiently<T, F>(&self, target: &Target, mut open: impl FnMut() -> F) -> Result<T, TransportError>
    where
        F: Future<Output = Result<T, TransportError>>,
    {
        let mut tries = 0;
        loop {
            let error = match open().await {
                Ok(session) => {
                    tracing::info!(host = %target.name, address = %target.address, "reached");
                    return Ok(session);
                }
                Err(error) => error,
            };
            tries += 1;
            if tries > outcomes::unreachable_kind(&error).retries(CONNECT_RETRIES) {
                return Err(error);
            }
            let pause = Duration::from_millis(connect_pause_ms(&target.name, tries));
            tracing::debug!(host = %target.name, %error, ?pause, "tries again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn open_agent(&self, target: &Target) -> Result<AgentSession, TransportError> {
        let session = match target.via {
            Via::Agent => return connect_agent(target, &self.context).await,
            Via::Ssh | Via::Local => connect(target, &self.context).await?,
        };
        AgentSession::open(session, AGENT_PATH, target).await
    }

    /// Closes a session and counts what went over it.
    pub async fn close(&self, session: Box<dyn Session>) {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner) += session.traffic();
        session.close().await;
    }

    /// What went over all closed sessions.
    pub fn traffic(&self) -> Traffic {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` for every target, at most `forks` at a time, and gives the results in the order of the targets.
    ///
    /// A panic in the work of one host becomes its `TransportError::Panicked`; the others go on. When a person stops the
    /// command, hosts that are not done are left (`TransportError::Interrupted`) and what the others gave is kept: the
    /// work must be such that it may be dropped at any moment.
    pub async fn each<T, F, W>(&self, targets: Vec<Target>, work: W) -> Vec<(HostName, Result<T, TransportError>)>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, TransportError>> + Send + 'static,
        W: Fn(Self, Target) -> F,
    {
        let _heeding = self.cancel.heed();
        let permits = Arc::new(Semaphore::new(self.forks));
        let mut tasks = JoinSet::new();
        let mut places = std::collections::HashMap::new();
        let mut results: Vec<(HostName, Option<Result<T, TransportError>>)> =
            targets.iter().map(|target| (target.name.clone(), None)).collect();
        for (place, target) in targets.into_iter().enumerate() {
            let permits = Arc::clone(&permits);
            let future = work(self.clone(), target);
            let cancel = self.cancel.clone();
            let handle = tasks.spawn(async move {
                let done = async {
                    let _permit = permits.acquire_owned().await.expect("the semaphore is never closed");
                    future.await
                };
                // Not even begun, if it is stopped already; and what is done counts, though it is.
                if !cancel.is_stopped() {
                    tokio::select! {
                        biased;
                        result = done => return (place, result),
                        () = cancel.stopped() => {}
                    }
                }
                cancel.cut_short();
                (place, Err(TransportError::Interrupted))
            });
            places.insert(handle.id(), place);
        }
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok((place, result)) => results[place].1 = Some(result),
                Err(error) => {
                    if let Some(place) = places.get(&error.id()) {
                        results[*place].1 = Some(Err(TransportError::Panicked {
                            detail: error.to_string(),
                        }));
                    }
                }
            }
        }
        results
            .into_iter()
            .map(|(host, result)| (host, result.expect("every task was joined")))
            .collect()
    }
}

/// Raises the limit of open files to what the system allows, and says how many hosts then fit at a time.
///
/// A session takes one descriptor; the store, the terminal and the known_hosts files need a few dozen.
pub fn raise_descriptor_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const OURS: u64 = 64;
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    let open = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(open.saturating_sub(OURS).max(1)).unwrap_or(usize::MAX)
}
