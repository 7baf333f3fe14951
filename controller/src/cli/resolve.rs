//! `holdfast resolve`: a person decides about a stuck resource or a held machine.

use crate::cli::args::{Global, ResolveArgs};
use crate::cli::error::{CliError, CliResult};
use crate::cli::{fleet, open_store, store_error};
use crate::executor::{Leftover, clear};
use crate::fleet::Fleet;
use crate::load::{Project, Scope, login_name};
use crate::now;
use crate::observe::{Known, ask, observe};
use crate::older;
use crate::store::{LEASE_TTL_MS, Store};
use crate::transport::Target;
use crate::view::terminal::data_line;
use crate::view::words::counted;
use holdfast_inventory::HostName;
use holdfast_plan::address::Address;
use holdfast_plan::event::{Event, HoldReason, Resolution};
use holdfast_plan::ids::{AttemptId, MachineId};
use holdfast_plan::observation::JobState;
use holdfast_plan::planner::Mode;
use std::collections::BTreeMap;

/// The word for taking off a job that this store knows nothing of.
const DROP_JOB: &str = "drop-job";

/// Runs the command.
pub async fn run(global: &Global, args: &ResolveArgs) -> CliResult<i32> {
    let project = Project::load(global, Scope::Inventory)?;
    let host = HostName::from(args.host.as_str());
    if let Some(limit) = project.limit_hosts()?.filter(|limit| !limit.contains(&host)) {
        return Err(CliError::hinted(
            format!("`{host}` is not among the {} of -l", counted(limit.len(), "host")),
            "leave -l out: `resolve` names its one host",
        ));
    }
    let store = open_store(&project).await?;
    let doing = |error| store_error(&error);
    if args.what.len() == 1 && args.what[0] == DROP_JOB {
        return drop_job(global, &project, &store, &host).await;
    }
    let known = store.host(&host).await.map_err(doing)?;
    let Some((machine, held)) = known.and_then(|known| Some((known.machine?, known.held))) else {
        return Err(CliError::hinted(
            format!("nothing is known of a machine behind `{host}`"),
            "`holdfast machines` lists those that are",
        ));
    };
    let (address, how) = match args.what.as_slice() {
        [word] if word == "accept" => {
            let how = match held {
                None | Some(HoldReason::StoreOlder { .. }) => {
                    as_found(global, &project, &store, &host, &machine).await?
                }
                // The id differs: what we put there is gone with the old system.
                Some(HoldReason::MachineDiffers { .. }) => Resolution::NewMachine,
                Some(_) => Resolution::Accept,
            };
            (None, how)
        }
        [address, word] => {
            let address: Address = address
                .parse()
                .map_err(|error| CliError::doing("read the address", &error))?;
            let ledger = store.ledger(&machine).await.map_err(doing)?;
            if !ledger.entries.contains_key(&address) {
                return Err(CliError::hinted(
                    format!("the ledger of {host} has no {address}"),
                    format!("`holdfast machines {host}` lists what it has"),
                ));
            }
            let how = match word.as_str() {
                "retry" => Resolution::Retry,
                "accept" => Resolution::Accept,
                "taint" => Resolution::Taint,
                "skip" => Resolution::Skip {
                    reason: args.because.clone().ok_or_else(|| {
                        CliError::hinted("skip needs a reason", "say why: --because 'removed by hand'")
                    })?,
                },
                other => {
                    return Err(CliError::hinted(
                        format!("`{other}` is no decision"),
                        "use retry, skip, accept or taint",
                    ));
                }
            };
            (Some(address), how)
        }
        _ => return Err(CliError::hinted("that is no decision", "see `holdfast resolve --help`")),
    };
    let said = address
        .as_ref()
        .map_or_else(|| host.to_string(), |address| format!("{host} {address}"));
    let event = Event::Resolved {
        host: host.clone(),
        machine,
        address,
        how,
        by: login_name().unwrap_or_else(|| "unknown".to_owned()),
    };
    let follows = follows(&event);
    store.append(now(), vec![event]).await.map_err(doing)?;
    data_line(&format!("{said}: recorded; {follows}"));
    Ok(0)
}

/// What follows from a decision.
fn follows(event: &Event) -> &'static str {
    let Event::Resolved { how, address, .. } = event else {
        return "the next plan goes by it";
    };
    match how {
        Resolution::Retry => "the next plan tries it again",
        Resolution::Skip { .. } => {
            "it is out of the ledger, and stays on the host as it is; if a blueprint still declares it, the next plan has \
             it again, as something that was there before: take it out, or narrow it with `on`"
        }
        Resolution::Taint => "the next apply undoes it and makes it anew",
        Resolution::Accept if address.is_some() => "what is on the host now counts as applied",
        Resolution::Accept => "the machine is let go on",
        Resolution::NewMachine => {
            "the ledger of the machine before is void: nothing of it will be undone, and the next plan begins anew"
        }
        Resolution::AsFound { .. } => "what is there counts as found, and leaving the blueprint leaves it there",
        Resolution::JobDropped { .. } => "the next plan shows how the host is",
    }
}

/// Asks the host what it knows and this store does not: from now on that counts as found there.
async fn as_found(
    global: &Global,
    project: &Project,
    store: &Store,
    host: &HostName,
    machine: &MachineId,
) -> CliResult<Resolution> {
    let target = project.targets(std::slice::from_ref(host))?.remove(0);
    let fleet = fleet(project, global);
    let mut session = fleet
        .reach(&target)
        .await
        .map_err(|error| CliError::hinted(format!("{host}: {error}"), error.hint()))?;
    let observation = ask(session.as_mut(), &target, &[], store.chain(), true).await;
    fleet.close(session).await;
    let mut observation = observation.map_err(|outcome| {
        let what = format!("{host}: {}", outcome.message());
        CliError::hinted(what, outcome.hint().unwrap_or("look at the host"))
    })?;
    if observation.machine.as_ref() != Some(machine) {
        return Err(another_machine(host));
    }
    let doing = |error| store_error(&error);
    let older = older::is_older(store, &observation).await.map_err(doing)?;
    older::keep_unknown(store, &mut observation).await.map_err(doing)?;
    if !older && observation.lives.is_empty() {
        return Err(CliError::hinted(
            format!("nothing holds the machine behind `{host}`: there is nothing to accept"),
            format!("`holdfast plan {host}` shows what stands in the way, if anything does"),
        ));
    }
    for (life, address) in &observation.lives {
        data_line(&format!(
            "{host} {address}: counts as found there; what was there before it stays in before/{life} of the state_dir"
        ));
    }
    Ok(Resolution::AsFound {
        attempt: observation.last.filter(|_| older),
        lives: observation.lives.into_keys().collect(),
    })
}

/// Takes the jobs of another controller off a host, under our own lease; one that runs is left alone.
async fn drop_job(global: &Global, project: &Project, store: &Store, host: &HostName) -> CliResult<i32> {
    let doing = |error| store_error(&error);
    let target = project.targets(std::slice::from_ref(host))?.remove(0);
    let fleet = fleet(project, global);
    let (machine, known) = look(store, &fleet, &target).await?;
    let foreign = droppable(host, &known)?;
    store.raise_epoch(host, known.observation.epoch).await.map_err(doing)?;
    let answers = store.acquire(std::slice::from_ref(host), LEASE_TTL_MS, now()).await;
    let lease = answers.map_err(doing)?.remove(0).map_err(|held| {
        CliError::hinted(
            held.to_string(),
            "wait for it; `holdfast unlock` breaks the lease of a dead one",
        )
    })?;
    let leftover = Leftover {
        target,
        machine: machine.clone(),
        epoch: lease.epoch,
        ack: foreign.clone(),
        void: Vec::new(),
    };
    let cleared = clear(store, &fleet, vec![leftover]).await;
    store.release(&[lease]).await.map_err(doing)?;
    let gone = match cleared.into_iter().next() {
        Some((_, Ok(gone))) => gone,
        Some((_, Err(error))) => return Err(CliError::hinted(format!("{host}: {error}"), error.hint())),
        None => Vec::new(),
    };
    let by = login_name().unwrap_or_else(|| "unknown".to_owned());
    let dropped = gone.iter().map(|attempt| Event::Resolved {
        host: host.clone(),
        machine: machine.clone(),
        address: None,
        how: Resolution::JobDropped {
            attempt: attempt.clone(),
        },
        by: by.clone(),
    });
    store.append(now(), dropped.collect()).await.map_err(doing)?;
    for attempt in &gone {
        data_line(&format!(
            "{host}: job {attempt} was taken off; what it did is in no ledger here, and the next plan shows how the host is"
        ));
    }
    if gone.len() < foreign.len() {
        let what = format!("{host} did not take off every job");
        return Err(CliError::hinted(what, "run it again with -v"));
    }
    Ok(0)
}

/// Asks the host, which must be the machine that the store has behind its name.
async fn look(store: &Store, fleet: &Fleet, target: &Target) -> CliResult<(MachineId, Known)> {
    let host = &target.name;
    let observed = observe(store, fleet, vec![target.clone()], &BTreeMap::new(), Mode::Converge)
        .await
        .map_err(|error| store_error(&error))?;
    let known = match observed.into_iter().next() {
        Some((_, Ok(known))) => known,
        Some((_, Err(outcome))) => {
            let what = format!("{host}: {}", outcome.message());
            return Err(CliError::hinted(what, outcome.hint().unwrap_or("look at the host")));
        }
        None => return Err(CliError::new(format!("{host} was not asked"))),
    };
    match known.machine.clone() {
        Some(machine) if known.observation.machine.as_ref() == Some(&machine) => Ok((machine, known)),
        _ => Err(another_machine(host)),
    }
}

fn another_machine(host: &HostName) -> CliError {
    CliError::hinted(
        format!("the host behind `{host}` is not the machine that is known by this name, or has no id yet"),
        format!("`holdfast plan {host}` shows what stands in the way"),
    )
}

/// Lists the jobs that can be taken off: over, and in no store of ours.
fn droppable(host: &HostName, known: &Known) -> CliResult<Vec<AttemptId>> {
    let jobs = &known.observation.jobs;
    if let Some(job) = jobs.iter().find(|job| job.state == JobState::Running) {
        return Err(CliError::hinted(
            format!("job {} is still running on {host}; nothing was taken off", job.attempt),
            "wait until it has ended; its steps have time limits",
        ));
    }
    if jobs.is_empty() {
        return Err(CliError::hinted(
            format!("no job of another controller lies on {host}"),
            format!("`holdfast plan {host}` shows what stands in the way, if anything does"),
        ));
    }
    Ok(jobs.iter().map(|job| job.attempt.clone()).collect())
}
