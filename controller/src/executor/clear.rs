//! Takes jobs off hosts that nobody needs there any more: those whose end is recorded, and those that never began.
//!
//! A run does it for the hosts it sends jobs to; [`clear`] does it for the others, so that no content stays there and no
//! other controller waits. Under the host's lease alone. What could not be done is asked for by the next start.

use crate::fleet::Fleet;
use crate::link::{self, Limits, Reply};
use crate::now;
use crate::store::{Store, StoreError};
use crate::transport::{Session, Target, TransportError};
use holdfast_agent::program::{self, AckRequest};
use holdfast_inventory::HostName;
use holdfast_plan::event::{Event, JobEnded};
use holdfast_plan::ids::{AttemptId, MachineId};

/// What is to be taken off one host.
#[derive(Debug, Clone)]
pub struct Leftover {
    /// How the host is reached.
    pub target: Target,
    /// Which machine it is.
    pub machine: MachineId,
    /// The epoch of its lease.
    pub epoch: u64,
    /// Jobs whose end is recorded.
    pub ack: Vec<AttemptId>,
    /// Jobs that had not begun.
    pub void: Vec<AttemptId>,
}

/// Takes jobs off hosts, as many hosts at a time as the fleet works on, and tells which are gone from each.
pub async fn clear(
    store: &Store,
    fleet: &Fleet,
    leftovers: Vec<Leftover>,
) -> Vec<(HostName, Result<Vec<AttemptId>, TransportError>)> {
    let targets = leftovers.iter().map(|leftover| leftover.target.clone()).collect();
    let store = store.clone();
    let work = move |fleet: Fleet, target: Target| {
        let leftover = leftovers
            .iter()
            .find(|leftover| leftover.target.name == target.name)
            .cloned();
        let store = store.clone();
        async move {
            let Some(leftover) = leftover else {
                return Ok(Vec::new());
            };
            let session = fleet.reach(&target).await?;
            let (session, gone) = take_off(&store, session, &leftover).await;
            fleet.close(session).await;
            Ok(gone)
        }
    };
    fleet.each(targets, work).await
}

/// Takes jobs off a host over an open session; gives the session back, and which are gone.
pub(super) async fn take_off(
    store: &Store,
    mut session: Box<dyn Session>,
    leftover: &Leftover,
) -> (Box<dyn Session>, Vec<AttemptId>) {
    let nonce = link::nonce();
    let ack: Vec<&str> = leftover.ack.iter().map(AttemptId::as_str).collect();
    let void: Vec<&str> = leftover.void.iter().map(AttemptId::as_str).collect();
    let request = AckRequest {
        state_dir: leftover.target.state_dir.as_deref(),
        epoch: leftover.epoch,
        attempts: &ack,
        void: &void,
    };
    let program = program::ack(&nonce, &request);
    let exchange = link::exchange(
        session.as_mut(),
        &nonce,
        program,
        Vec::new(),
        Limits::MOMENT,
        &mut |_, _| {},
    )
    .await;
    let cleared = Cleared::of(&exchange.reply, &leftover.void);
    let gone = cleared.gone.clone();
    if let Err(error) = cleared.record(store, &leftover.machine).await {
        // Not recorded is not lost: the next start asks the host to remove it again.
        tracing::warn!("can't record which jobs {} removed: {error}", leftover.target.name);
    }
    (session, gone)
}

/// The jobs that a host said to have removed.
pub(super) struct Cleared {
    gone: Vec<AttemptId>,
    /// Those of them that never began, and now never will: the host made sure of that before it removed them.
    never: Vec<AttemptId>,
}

impl Cleared {
    /// Reads a reply to a request in which `void` were to be kept from beginning.
    pub(super) fn of(reply: &Reply, void: &[AttemptId]) -> Self {
        let gone: Vec<AttemptId> = reply.acked.iter().cloned().map(AttemptId).collect();
        let never = void.iter().filter(|attempt| gone.contains(attempt)).cloned().collect();
        Self { gone, never }
    }

    /// Records it, for the attempts that this store knows.
    pub(super) async fn record(self, store: &Store, machine: &MachineId) -> Result<(), StoreError> {
        let mut events = Vec::new();
        for attempt in self.never {
            let known = store.attempt(&attempt).await?;
            let sent_there = known
                .and_then(|known| known.intent)
                .filter(|intent| intent.machine == *machine);
            if sent_there.is_some() {
                events.push(Event::JobEnded {
                    machine: machine.clone(),
                    attempt,
                    ended: JobEnded::NeverStarted,
                });
            }
        }
        store.append(now(), events).await?;
        if self.gone.is_empty() {
            return Ok(());
        }
        store.mark_acked(&self.gone).await
    }
}
