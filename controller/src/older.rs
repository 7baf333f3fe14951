//! Tells when a host knows more than the store: the store was put back in time, or is another than the one that put things
//! there. Then what is there must not be taken for what was always there: what was there before would be lost.

use crate::now;
use crate::observe::{Unobserved, release};
use crate::store::{Store, StoreError};
use holdfast_inventory::HostName;
use holdfast_plan::event::{Event, HoldReason};
use holdfast_plan::ids::MachineId;
use holdfast_plan::observation::Observation;
use std::collections::BTreeMap;

/// Tells whether the last job of ours that a host took is in no record.
pub async fn is_older(store: &Store, observation: &Observation) -> Result<bool, StoreError> {
    match &observation.last {
        Some(last) => Ok(!store.knows(last).await?),
        None => Ok(false),
    }
}

/// Leaves in an observation only those lives that this store has no record of. Of a host without a machine id nothing is
/// known: who took its id away (a clone's) has decided that it begins anew.
pub async fn keep_unknown(store: &Store, observation: &mut Observation) -> Result<(), StoreError> {
    let lives = std::mem::take(&mut observation.lives);
    observation.lives = match &observation.machine {
        Some(machine) => store.unknown_lives(machine, lives).await?,
        None => BTreeMap::new(),
    };
    Ok(())
}

/// Holds a machine whose last job of ours the store has no record of, and no longer once a store is back that has.
pub async fn hold(
    store: &Store,
    host: &HostName,
    machine: Option<&MachineId>,
    held: Option<HoldReason>,
    observation: &Observation,
) -> Result<Option<HoldReason>, Unobserved> {
    let older = is_older(store, observation).await.map_err(Unobserved::Store)?;
    let why = observation
        .last
        .clone()
        .filter(|_| older)
        .map(|attempt| HoldReason::StoreOlder {
            attempt,
            lives: observation.lives.len(),
        });
    match (why, held) {
        (Some(why), None | Some(HoldReason::StoreOlder { .. })) => {
            let known = store.host(host).await.map_err(Unobserved::Store)?;
            if known.and_then(|known| known.held).as_ref() != Some(&why) {
                let event = Event::MachineHeld {
                    host: host.clone(),
                    machine: machine.cloned(),
                    why: why.clone(),
                };
                store.append(now(), vec![event]).await.map_err(Unobserved::Store)?;
            }
            Ok(Some(why))
        }
        (None, Some(HoldReason::StoreOlder { .. })) => {
            release(store, host, machine, "a store that knows its jobs").await?;
            Ok(None)
        }
        (_, held) => Ok(held),
    }
}
