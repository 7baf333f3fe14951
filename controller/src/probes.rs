//! The probes that an agent runs by itself: one observe of everything that the ledger has of its machine.
//!
//! ```text
//! ledger -> observe program (fixed nonce) -> agent -> report (digest, numbers) -> addresses, by the digest
//! ```
//!
//! A report numbers resources; what the numbers stand for is kept in the store under the probes' digest, so that a
//! report can be read after the ledger has changed. When to push and what a report means is for the commands.

use crate::fleet::Fleet;
use crate::link;
use crate::now;
use crate::store::{Store, StoreError};
use crate::transport::agent::AgentSession;
use crate::transport::{Target, TransportError};
use holdfast_agent::program::{self, Nonce, ObserveRequest};
use holdfast_agent::wire::{PROBES_BYTES_MAX, SetProbes, Status};
use holdfast_inventory::HostName;
use holdfast_plan::address::Address;
use holdfast_plan::content::{Blobs, sha256_hex};
use holdfast_plan::job::observe_body;
use holdfast_plan::ledger::Ledger;
use holdfast_plan::planner::Asked;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Seconds between two runs of an agent that nobody gave a time: half of what a person takes to notice, and 20 forks
/// on the host every five minutes are nothing.
pub const EVERY_S_DEFAULT: u32 = 300;

/// The probes of one machine.
#[derive(Debug, Clone)]
pub struct Probes {
    /// What they are known by, here and on the host.
    pub digest: String,
    /// The blob that maps the numbers of reports to addresses; its SHA-256 is the digest.
    mapping: Vec<u8>,
    program: Vec<u8>,
    nonce: Nonce,
}

/// What the numbers of a report stand for. The digest of the program makes it differ whenever the probes do.
#[derive(Serialize, Deserialize)]
struct Mapping {
    program: String,
    addresses: Vec<Address>,
}

/// Makes the probes of a ledger: every resource, in the order in which they entered.
pub fn make(ledger: &Ledger, state_dir: Option<&str>) -> Probes {
    let resources: Vec<_> = ledger
        .in_order()
        .into_iter()
        .map(|entry| Asked::from(&entry.desired))
        .collect();
    let body = observe_body(&resources);
    let request = ObserveRequest {
        state_dir,
        facts: true,
        body: body.text.as_str(),
        ..ObserveRequest::default()
    };
    // The digest must not depend on the nonce: the same probes keep their name.
    let unnamed = sha256_hex(&program::observe(&Nonce::new([0; 16]), &request));
    let nonce = link::nonce();
    let program = program::observe(&nonce, &request);
    let mapping = serde_json::to_vec(&Mapping {
        program: unnamed,
        addresses: body.addresses,
    })
    .expect("addresses are written as strings");
    Probes {
        digest: sha256_hex(&mapping),
        mapping,
        program,
        nonce,
    }
}

/// Finds what the numbers of reports of these probes stand for; `None` if the store has forgotten.
pub async fn addresses(store: &Store, digest: &str) -> Result<Option<Vec<Address>>, StoreError> {
    let Some(bytes) = store.blob(digest).await? else {
        return Ok(None);
    };
    Ok(serde_json::from_slice::<Mapping>(&bytes)
        .ok()
        .map(|mapping| mapping.addresses))
}

/// Makes the probes of each host whose machine is known, and keeps their mappings. It must come before a push: a
/// report that nobody can read is worth nothing.
pub async fn prepare(store: &Store, targets: &[Target]) -> Result<BTreeMap<HostName, Probes>, StoreError> {
    let mut made = BTreeMap::new();
    let mut blobs = Blobs::default();
    for target in targets {
        let Some(machine) = store.machine_of(&target.name).await? else {
            continue;
        };
        let ledger = store.ledger(&machine).await?;
        let probes = make(&ledger, target.state_dir.as_deref());
        blobs.insert(probes.mapping.clone());
        made.insert(target.name.clone(), probes);
    }
    store.put_blobs(&blobs, now()).await?;
    Ok(made)
}

/// Gives an agent its probes, unless it has just these. `every_s`: `None` keeps the time it has.
pub async fn push(
    session: &mut AgentSession,
    status: &Status,
    probes: &Probes,
    every_s: Option<u32>,
) -> Result<(), TransportError> {
    let kept = if status.interval_s == 0 {
        EVERY_S_DEFAULT
    } else {
        status.interval_s
    };
    let interval_s = every_s.unwrap_or(kept);
    if status.probes_digest == probes.digest && status.interval_s == interval_s {
        return Ok(());
    }
    if probes.program.len() > PROBES_BYTES_MAX {
        return Err(TransportError::Agent {
            detail: format!(
                "the probes of its ledger have {} bytes, and an agent takes {PROBES_BYTES_MAX}; \
                 `holdfast drift` asks the host itself",
                probes.program.len()
            ),
        });
    }
    let probes = SetProbes {
        program: probes.program.clone().into(),
        interval_s,
        digest: probes.digest.clone(),
        nonce: probes.nonce.as_str().to_owned(),
        deadline_s: 0,
    };
    session.set_probes(probes).await.map(drop)
}

/// Gives the agents of hosts the probes of their ledgers; hosts that could not take them come back with the reason.
pub async fn push_probes(
    store: &Store,
    fleet: &Fleet,
    targets: Vec<Target>,
    every_s: Option<u32>,
) -> Result<Vec<(HostName, TransportError)>, StoreError> {
    let made = prepare(store, &targets).await?;
    let results = fleet
        .each(targets, move |fleet, target| {
            let probes = made.get(&target.name).cloned();
            async move {
                let Some(probes) = probes else { return Ok(()) };
                let mut session = fleet.reach_agent(&target).await?;
                let pushed = async {
                    let status = session.status().await?;
                    push(&mut session, &status, &probes, every_s).await
                };
                let pushed = pushed.await;
                fleet.close(Box::new(session)).await;
                pushed
            }
        })
        .await;
    Ok(results
        .into_iter()
        .filter_map(|(host, result)| Some((host, result.err()?)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_ledger_gives_probes_of_the_same_name_and_a_new_nonce() {
        let (first, second) = (make(&Ledger::default(), None), make(&Ledger::default(), None));
        assert_eq!(first.digest, second.digest);
        assert_ne!(first.nonce, second.nonce);
        assert_ne!(first.digest, make(&Ledger::default(), Some("/elsewhere")).digest);
    }
}
