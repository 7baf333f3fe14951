//! Asks hosts what they are: one connection and one exec per host carries facts, identity, jobs and every probe.
//!
//! What jobs of earlier runs did is recorded here, whatever command asked: the ledger that a plan is made from holds
//! all that hosts know. Nothing is written on any host. So nothing can be said here of a job that has not begun: its
//! transfer may be under way this very moment. That it never will is for who keeps it from beginning (`executor`).

use crate::fleet::Fleet;
use crate::link::{self, Limits};
use crate::now;
use crate::older;
use crate::outcomes;
use crate::redact;
use crate::store::{Store, StoreError};
use crate::transport::{Target, TransportError};
use crate::view::progress::Progress;
use holdfast_agent::program::{self, ObserveRequest};
use holdfast_inventory::HostName;
use holdfast_plan::content::sha256_hex;
use holdfast_plan::event::{Event, HoldReason, JobEnded, Resolution};
use holdfast_plan::ids::{AttemptId, LifeId, MachineId};
use holdfast_plan::job::observe_body;
use holdfast_plan::ledger::Ledger;
use holdfast_plan::observation::{JobReport, JobState, Observation, Observed};
use holdfast_plan::outcome::Outcome;
use holdfast_plan::planner::{Asked, Mode, to_observe};
use holdfast_plan::resource::DesiredResource;
use holdfast_plan::run::CONNECT_RETRIES;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of one host after it was asked.
#[derive(Debug)]
pub struct Known {
    /// What the host said.
    pub observation: Observation,
    /// The machine that the store has behind this name.
    pub machine: Option<MachineId>,
    /// Whether it had it before this observation: a name that is new claims only.
    pub was_bound: bool,
    /// As which user of the host it was last seen, before this observation.
    pub was_user: Option<String>,
    /// The name that it had until now, and that the inventory has no more.
    pub renamed_from: Option<HostName>,
    /// Jobs of earlier runs that this observation recorded.
    pub recorded: Vec<AttemptId>,
    /// Its ledger, with all that its jobs said.
    pub ledger: Ledger,
    /// Why the machine is held.
    pub held: Option<HoldReason>,
    /// Jobs of ours on the host that ended and are recorded: the next start may remove them.
    pub ended: Vec<AttemptId>,
    /// Jobs on the host that had not begun: the next start sees to it that they never do, and removes them.
    pub unbegun: Vec<AttemptId>,
}

impl Known {
    /// Tells whether another user of the host was asked than before.
    pub fn is_asked_as_another(&self) -> bool {
        let now = self.observation.facts.get("user");
        self.was_user.is_some() && now.is_some() && self.was_user.as_deref() != now
    }
}

/// Jobs whose end is not known, with the host and the machine that each was sent to: no other can tell of it.
type OpenJobs = BTreeMap<AttemptId, (HostName, MachineId)>;

/// Why a host could not be observed.
#[derive(Debug)]
pub enum Unobserved {
    /// The host: data.
    Host(Outcome),
    /// Our own store: the controller can't go on.
    Store(StoreError),
}

/// How often a host is asked again because its jobs told of resources that were not asked for.
const ROUNDS_MAX: usize = 2;

/// Observes hosts. `desired` gives the resources of each (empty for facts alone).
pub async fn observe(
    store: &Store,
    fleet: &Fleet,
    targets: Vec<Target>,
    desired: &BTreeMap<HostName, Vec<DesiredResource>>,
    mode: Mode,
) -> Result<Vec<(HostName, Result<Known, Outcome>)>, StoreError> {
    let progress = Arc::new(Progress::new("observing", targets.len()));
    let desired: Arc<BTreeMap<HostName, Arc<[DesiredResource]>>> = Arc::new(
        desired
            .iter()
            .map(|(host, list)| (host.clone(), Arc::from(list.as_slice())))
            .collect(),
    );
    let unfinished = store.unfinished_attempts().await?;
    // What their jobs printed may be recorded here, and the ledger does not know of their resources yet.
    let intended = unfinished.iter().flat_map(|attempt| &attempt.intent);
    redact::keep(intended.flat_map(|intent| &intent.steps).map(|step| &step.desired));
    let open: Arc<OpenJobs> = Arc::new(
        unfinished
            .into_iter()
            .filter_map(|attempt| Some((attempt.attempt, (attempt.host, attempt.intent?.machine))))
            .collect(),
    );
    let bound: Arc<BTreeMap<MachineId, HostName>> = Arc::new(
        store
            .hosts()
            .await?
            .into_iter()
            .filter_map(|view| Some((view.machine?, view.host)))
            .collect(),
    );
    let store_of = store.clone();
    let results = fleet
        .each(targets, move |fleet, target| {
            let (store, desired, progress) = (store_of.clone(), Arc::clone(&desired), Arc::clone(&progress));
            let (open, bound) = (Arc::clone(&open), Arc::clone(&bound));
            async move {
                let host = target.name.clone();
                progress.begin(&host);
                let list = desired.get(&host).cloned().unwrap_or_else(|| Arc::from([]));
                let known = observe_host(&store, &fleet, &target, &list, mode, &open, &bound).await;
                progress.end(&host);
                Ok(known)
            }
        })
        .await;
    let seen: Vec<HostName> = results
        .iter()
        .filter(|(_, result)| matches!(result, Ok(Ok(_))))
        .map(|(host, _)| host.clone())
        .collect();
    store.mark_seen(&seen, now()).await?;
    results
        .into_iter()
        .map(|(host, result)| match result {
            Ok(Ok(known)) => Ok((host, Ok(known))),
            Ok(Err(Unobserved::Host(outcome))) => Ok((host, Err(outcome))),
            Ok(Err(Unobserved::Store(error))) => Err(error),
            Err(error) => Ok((host, Err(outcomes::unreachable(&error)))),
        })
        .collect()
}

async fn observe_host(
    store: &Store,
    fleet: &Fleet,
    target: &Target,
    desired: &[DesiredResource],
    mode: Mode,
    open: &OpenJobs,
    bound: &BTreeMap<MachineId, HostName>,
) -> Result<Known, Unobserved> {
    let host = &target.name;
    let known = store.host(host).await.map_err(Unobserved::Store)?;
    let mut machine = known.as_ref().and_then(|known| known.machine.clone());
    let was_bound = machine.is_some();
    let mut held = known.as_ref().and_then(|known| known.held.clone());
    let (was_facts, facts_digest) = known.map_or((None, None), |known| (known.facts, known.facts_digest));
    let was_user = was_facts.and_then(|facts| facts.get("user").map(str::to_owned));
    let (mut renamed_from, mut recorded) = (None, Vec::new());
    let mut ledger = ledger_of(store, machine.as_ref()).await?;
    let mut session = match fleet.reach(target).await {
        Ok(session) => session,
        Err(error) => return Err(unreachable_host(store, host, machine, held.is_some(), &error).await),
    };
    if held == Some(HoldReason::HostKeyChanged) {
        // That it shows a key of known_hosts is a person's decision: that file is where keys are decided about.
        release(store, host, machine.as_ref(), "known_hosts").await?;
        held = None;
    }
    let (mut rounds, mut losses) = (0, 0);
    let mut lives = false;
    let result = loop {
        rounds += 1;
        let asked = to_observe(desired, &ledger, mode);
        // What comes to be taken for ours must not be what a store that is gone has put there.
        lives |= mode == Mode::Converge && desired.iter().any(|one| !ledger.entries.contains_key(&one.address));
        let observation = match ask(session.as_mut(), target, &asked, store.chain(), lives).await {
            Ok(observation) => observation,
            Err(Outcome::Unreachable(why)) if losses < why.kind.retries(CONNECT_RETRIES) => {
                // Looking changes nothing: a connection lost meanwhile is no reason to give the host up.
                (losses, rounds) = (losses + 1, rounds - 1);
                fleet.close(session).await;
                session = match fleet.reach(target).await {
                    Ok(session) => session,
                    Err(error) => return Err(unreachable_host(store, host, machine, held.is_some(), &error).await),
                };
                continue;
            }
            Err(outcome) => break Err(Unobserved::Host(outcome)),
        };
        if machine.is_none()
            && let Some(found) = &observation.machine
        {
            // An id that nobody has yet (an apply that was killed before it could say so, or another controller), or
            // that of a host which the inventory has under another name now.
            if let Some(other) = bound.get(found).filter(|other| *other != host) {
                if !fleet.is_gone(other) {
                    break Err(Unobserved::Host(Outcome::Held {
                        why: format!(
                            "this is the machine of host `{other}`: two names for one host; remove one of them from the inventory"
                        ),
                    }));
                }
                renamed_from = Some(other.clone());
            }
            let event = Event::MachineSeen {
                machine: found.clone(),
                host: host.clone(),
            };
            if let Err(error) = store.append(now(), vec![event]).await {
                break Err(Unobserved::Store(error));
            }
            machine = Some(found.clone());
        }
        let told = |attempt: &AttemptId| tells(fleet, &observation, machine.as_ref(), open, attempt);
        match record(store, machine.as_ref(), facts_digest.as_deref(), told, &observation).await {
            Ok(jobs) => recorded.extend(jobs),
            Err(error) => break Err(Unobserved::Store(error)),
        }
        ledger = match ledger_of(store, machine.as_ref()).await {
            Ok(ledger) => ledger,
            Err(error) => break Err(error),
        };
        let complete = to_observe(desired, &ledger, mode)
            .iter()
            .all(|asked| observation.resources.contains_key(&asked.desired.address));
        let older = match older::is_older(store, &observation).await {
            Ok(older) => older,
            Err(error) => break Err(Unobserved::Store(error)),
        };
        // Of what is in no record, people are told how much it is.
        let counted = lives || !older;
        lives |= older;
        if (complete && counted) || rounds == ROUNDS_MAX {
            break Ok(observation);
        }
    };
    fleet.close(session).await;
    let mut observation = result?;
    tracing::info!(%host, resources = observation.resources.len(), jobs = observation.jobs.len(), rounds, "observed");
    older::keep_unknown(store, &mut observation)
        .await
        .map_err(Unobserved::Store)?;
    let held = hold_another(store, host, machine.as_ref(), held, &observation).await?;
    let held = older::hold(store, host, machine.as_ref(), held, &observation).await?;
    let (ended, unbegun) = set_aside(store, &mut observation).await.map_err(Unobserved::Store)?;
    Ok(Known {
        observation,
        machine,
        was_bound,
        was_user,
        renamed_from,
        recorded,
        ledger,
        held,
        ended,
        unbegun,
    })
}

/// Takes the jobs for which nothing has to wait out of the observation: those that are over and recorded, and those that
/// had not begun. What stays are jobs that run, and those of another controller.
async fn set_aside(
    store: &Store,
    observation: &mut Observation,
) -> Result<(Vec<AttemptId>, Vec<AttemptId>), StoreError> {
    let (mut ended, mut unbegun, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for job in std::mem::take(&mut observation.jobs) {
        match job.state {
            JobState::Unstarted | JobState::Untransferred => unbegun.push(job.attempt),
            JobState::Done | JobState::Interrupted if is_recorded(store, observation, &job.attempt).await? => {
                ended.push(job.attempt);
            }
            JobState::Running | JobState::Done | JobState::Interrupted => others.push(job),
        }
    }
    observation.jobs = others;
    Ok((ended, unbegun))
}

/// Tells whether all that a job did is recorded, and it was sent to this host or machine.
async fn is_recorded(store: &Store, observation: &Observation, attempt: &AttemptId) -> Result<bool, StoreError> {
    let known = store.attempt(attempt).await?;
    Ok(known.is_some_and(|known| {
        let machine = known.intent.map(|intent| intent.machine);
        let ours = known.host == observation.host || machine.is_some() && machine == observation.machine;
        ours && known.ended.is_some()
    }))
}

async fn ledger_of(store: &Store, machine: Option<&MachineId>) -> Result<Ledger, Unobserved> {
    match machine {
        Some(machine) => {
            let ledger = store.ledger(machine).await.map_err(Unobserved::Store)?;
            redact::keep(ledger.entries.values().map(|entry| &entry.desired));
            Ok(ledger)
        }
        None => Ok(Ledger::default()),
    }
}

/// A changed host key holds the machine (LEGACY S17); any other failure to connect is only data.
async fn unreachable_host(
    store: &Store,
    host: &HostName,
    machine: Option<MachineId>,
    already_held: bool,
    error: &TransportError,
) -> Unobserved {
    let changed = matches!(
        error,
        TransportError::HostKeyChanged { .. } | TransportError::HostKeyRevoked { .. }
    );
    if changed && !already_held {
        let event = Event::MachineHeld {
            host: host.clone(),
            machine,
            why: HoldReason::HostKeyChanged,
        };
        if let Err(error) = store.append(now(), vec![event]).await {
            return Unobserved::Store(error);
        }
    }
    Unobserved::Host(outcomes::unreachable(error))
}

/// Records that what a machine was held for is over.
pub(crate) async fn release(
    store: &Store,
    host: &HostName,
    machine: Option<&MachineId>,
    by: &str,
) -> Result<(), Unobserved> {
    let Some(machine) = machine else { return Ok(()) };
    let event = Event::Resolved {
        host: host.clone(),
        machine: machine.clone(),
        address: None,
        how: Resolution::Accept,
        by: by.to_owned(),
    };
    store
        .append(now(), vec![event])
        .await
        .map(drop)
        .map_err(Unobserved::Store)
}

/// Holds a machine when another one, or one without an id, answers under its name; and no longer when it is back.
async fn hold_another(
    store: &Store,
    host: &HostName,
    machine: Option<&MachineId>,
    held: Option<HoldReason>,
    observation: &Observation,
) -> Result<Option<HoldReason>, Unobserved> {
    let differs = machine.filter(|machine| observation.machine.as_ref() != Some(machine));
    match (differs, held) {
        (Some(machine), None | Some(HoldReason::MachineDiffers { .. })) => {
            let why = HoldReason::MachineDiffers {
                observed: observation.machine.clone(),
            };
            let known = store.host(host).await.map_err(Unobserved::Store)?;
            if known.and_then(|known| known.held).as_ref() != Some(&why) {
                let event = Event::MachineHeld {
                    host: host.clone(),
                    machine: Some(machine.clone()),
                    why: why.clone(),
                };
                store.append(now(), vec![event]).await.map_err(Unobserved::Store)?;
            }
            Ok(Some(why))
        }
        (None, Some(HoldReason::MachineDiffers { .. })) => {
            release(store, host, machine, "the machine's own id").await?;
            Ok(None)
        }
        (_, held) => Ok(held),
    }
}

/// Sends one observe over an open session, in the name of a controller; with `lives`, what the host keeps of what was there
/// before is asked for too.
pub async fn ask(
    session: &mut dyn crate::transport::Session,
    target: &Target,
    resources: &[Asked<'_>],
    controller: &str,
    lives: bool,
) -> Result<Observation, Outcome> {
    let body = observe_body(resources);
    let nonce = link::nonce();
    let request = ObserveRequest {
        state_dir: target.state_dir.as_deref(),
        facts: true,
        controller: Some(controller),
        lives,
        body: body.text.as_str(),
    };
    let program = program::observe(&nonce, &request);
    let exchange = link::exchange(session, &nonce, program, Vec::new(), Limits::OBSERVE, &mut |_, _| {}).await;
    if let Some(error) = &exchange.failed {
        return Err(Outcome::Unreachable(outcomes::not_sent(error)));
    }
    let mut reply = exchange.reply;
    if let Some((refusal, detail)) = reply.refused {
        return Err(Outcome::Refused {
            kind: outcomes::refusal_kind(refusal),
            detail,
        });
    }
    let jobs = reply.job_reports();
    let ids = body.addresses.into_iter().zip(body.kept).zip(0u32..);
    let resources = ids
        .map(|((address, kept), id)| {
            let observed = Observed {
                attributes: reply.attributes.remove(&id).unwrap_or_default(),
                text: reply.texts.remove(&id),
                kept: kept.and_then(|id| reply.texts.remove(&id)),
            };
            (address, observed)
        })
        .collect();
    Ok(Observation {
        host: target.name.clone(),
        at: now(),
        machine: reply.machine.map(MachineId),
        epoch: reply.epoch,
        facts: reply.facts,
        jobs,
        last: reply.last.map(AttemptId),
        lives: reply
            .lives
            .into_iter()
            .filter_map(|(life, address)| Some((LifeId(life), address.parse().ok()?)))
            .collect(),
        resources,
        forks: reply.forks,
    })
}

/// Facts that differ at every observation and say nothing about the host having changed.
const VOLATILE_FACTS: [&str; 4] = ["uptime", "loadavg", "memory_free_kib", "boot_id"];

/// Records what is new: the machine, its facts, and what its jobs say. An observation without change is no event. Gives the
/// jobs whose end was recorded; `told` tells of which of them the host may tell.
async fn record(
    store: &Store,
    machine: Option<&MachineId>,
    known_digest: Option<&str>,
    told: impl Fn(&AttemptId) -> bool,
    observation: &Observation,
) -> Result<Vec<AttemptId>, StoreError> {
    let host = &observation.host;
    let (mut events, mut ended) = (Vec::new(), Vec::new());
    let mut facts = observation.facts.clone();
    facts.0.retain(|key, _| !VOLATILE_FACTS.contains(&key.as_str()));
    let lines: String = facts.0.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    let facts_digest = sha256_hex(lines.as_bytes());
    // What another system, or another user's state folder, says is not said of the machine that is known.
    let of_known = machine.is_none() || observation.machine.as_ref() == machine;
    if of_known && known_digest != Some(facts_digest.as_str()) {
        events.push(Event::HostObserved {
            host: host.clone(),
            machine: observation.machine.clone(),
            facts_digest,
            facts,
        });
    }
    if let Some(machine) = machine {
        let begun = |job: &&JobReport| !matches!(job.state, JobState::Unstarted | JobState::Untransferred);
        for job in observation.jobs.iter().filter(begun).filter(|job| told(&job.attempt)) {
            events.extend(job_events(machine, job));
            if job.state != JobState::Running {
                ended.push(job.attempt.clone());
            }
        }
    }
    if !events.is_empty() {
        store.append(now(), events).await?;
    }
    Ok(ended)
}

/// Tells whether what an observation says of a job counts: its end is not recorded yet, and it was sent to this host (under
/// this name, or under one that is gone) and to the machine that answers. A host may have read the id of another one's job
/// somewhere.
fn tells(
    fleet: &Fleet,
    observation: &Observation,
    machine: Option<&MachineId>,
    open: &OpenJobs,
    attempt: &AttemptId,
) -> bool {
    let ours = open
        .get(attempt)
        .is_some_and(|(host, of)| Some(of) == machine && (*host == observation.host || fleet.is_gone(host)));
    ours && observation.machine.as_ref() == machine
}

/// The events that a job's report stands for; a job that still runs has not ended.
pub fn job_events(machine: &MachineId, job: &JobReport) -> Vec<Event> {
    let mut events: Vec<Event> = job
        .steps
        .iter()
        .map(|report| Event::StepReported {
            machine: machine.clone(),
            attempt: job.attempt.clone(),
            report: report.clone(),
        })
        .collect();
    let ended = match job.state {
        JobState::Running => {
            events.iter_mut().for_each(redact::event);
            return events;
        }
        JobState::Done => match &job.end {
            Some(end) => JobEnded::Ended { end: end.clone() },
            None => JobEnded::Interrupted,
        },
        JobState::Interrupted => JobEnded::Interrupted,
        JobState::Unstarted | JobState::Untransferred => JobEnded::NeverStarted,
    };
    events.push(Event::JobEnded {
        machine: machine.clone(),
        attempt: job.attempt.clone(),
        ended,
    });
    events.iter_mut().for_each(redact::event);
    events
}
