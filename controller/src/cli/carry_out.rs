//! Carries out a plan on the fleet: asks first, takes the leases, runs it, tells how it ended. `apply` and `agent` share it.

use crate::cancel::Cancel;
use crate::cli::error::{CliError, CliResult};
use crate::cli::planning::{self, Planned, Wanted};
use crate::cli::{agent, store_error, typed};
use crate::executor::{
    Assignment, Execution, Heartbeat, HostWork, JobAssignment, Leftover, LostLeases, clear, execute,
};
use crate::fleet::Fleet;
use crate::load::login_name;
use crate::observe::Known;
use crate::probes;
use crate::store::{Attempt, LEASE_TTL_MS, Lease, Store};
use crate::transport::{Target, Via};
use crate::view::plan::{PlanView, render};
use crate::view::progress::Progress;
use crate::view::recap;
use crate::view::terminal::{ask, can_ask, data, data_line, note};
use crate::view::words::counted;
use crate::{SystemIds, now};
use holdfast_agent::program::job_step;
use holdfast_inventory::HostName;
use holdfast_plan::change::HostPlan;
use holdfast_plan::content::sha256_hex;
use holdfast_plan::event::{Event, HoldReason, RunKind};
use holdfast_plan::ids::{AttemptId, MachineId, PlanId, RunId};
use holdfast_plan::job::{TimeLimit, job_body};
use holdfast_plan::observation::JobState;
use holdfast_plan::outcome::{Outcome, RefusalKind};
use holdfast_plan::report::Report;
use holdfast_plan::run::{HostTask, Limits, RunSpec, Work};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// How a plan is carried out.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Do not ask.
    pub yes: bool,
    /// Start no further host once this many failed.
    pub max_failures: Option<u32>,
    /// Tell it as JSON.
    pub json: bool,
    /// Afterwards give agents the probes of the new ledger.
    pub push_probes: bool,
}

/// Plans, shows the plan, and carries it out.
pub async fn plan_and_run(
    store: &Store,
    fleet: &Fleet,
    wanted: &Wanted,
    view: PlanView,
    options: Options,
) -> CliResult<i32> {
    let mut planned = planning::make(store, fleet, wanted).await?;
    let followed = !fleet.cancel().is_stopped() && follow_running(store, fleet, wanted, &planned).await?;
    if followed && !fleet.cancel().is_stopped() {
        planned = planning::make(store, fleet, wanted).await?;
    }
    if !options.json {
        data(&render(&planned.plan, view));
        // Who is asked must know what is left out; else the recap tells it.
        if !options.yes || fleet.cancel().is_stopped() {
            planning::tell_unobserved(&planned.unobserved);
        }
    }
    run(store, fleet, wanted.targets.clone(), planned, options).await
}

/// Follows the jobs that an earlier run left running, so that the plan is made of what they did.
async fn follow_running(store: &Store, fleet: &Fleet, wanted: &Wanted, planned: &Planned) -> CliResult<bool> {
    let mut hosts = HashMap::new();
    let (mut tasks, mut followed) = (Vec::new(), Vec::new());
    for target in &wanted.targets {
        let Some(known) = planned.known.get(&target.name) else {
            continue;
        };
        for job in known
            .observation
            .jobs
            .iter()
            .filter(|job| job.state == JobState::Running)
        {
            let ours = store.attempt(&job.attempt).await.map_err(|error| store_error(&error))?;
            let Some(ours) = ours else { continue };
            let limit = time_limit(store, &target.name, ours).await?;
            note(&format!(
                "{}: a job of an earlier run is still running; waiting for it to end",
                target.name
            ));
            hosts.insert(
                target.name.clone(),
                HostWork {
                    target: target.clone(),
                    assignment: Assignment::Collect(limit),
                },
            );
            followed.push((target.name.clone(), job.attempt.clone()));
            tasks.push(HostTask {
                host: target.name.clone(),
                work: Work::Collect {
                    attempt: job.attempt.clone(),
                },
            });
        }
    }
    if tasks.is_empty() {
        return Ok(false);
    }
    let run = RunId::new(&mut SystemIds);
    let names = tasks.iter().map(|task| task.host.clone()).collect();
    let started = run_started(&run, RunKind::Collect, None, names);
    let limits = Limits {
        forks: fleet.forks(),
        ..Limits::default()
    };
    let execution = Execution {
        store: store.clone(),
        fleet: fleet.clone(),
        run,
        plan: planned.plan.id.clone(),
        progress: Arc::new(Progress::new("following", tasks.len())),
        hosts,
        command: None,
        lost: LostLeases::default(),
        output: None,
    };
    execute(execution, RunSpec { hosts: tasks, limits }, started)
        .await
        .map_err(|error| store_error(&error))?;
    planning::tell_recorded(store, followed.iter().map(|(host, attempt)| (host, attempt))).await?;
    Ok(true)
}

/// How long a job of an earlier run may take, by the plan that it was made of.
async fn time_limit(store: &Store, host: &HostName, attempt: Attempt) -> CliResult<TimeLimit> {
    let Some(intent) = attempt.intent else {
        return Ok(TimeLimit::OF_UNKNOWN);
    };
    let plan = store
        .load_plan(&intent.plan)
        .await
        .map_err(|error| store_error(&error))?;
    let of_host = plan.and_then(|plan| plan.hosts.into_iter().find(|plan| plan.host == *host));
    Ok(of_host.map_or(TimeLimit::OF_UNKNOWN, |plan| TimeLimit::of(&plan)))
}

/// The event that begins a run.
pub fn run_started(run: &RunId, kind: RunKind, plan: Option<&PlanId>, hosts: Vec<HostName>) -> Event {
    Event::RunStarted {
        run: run.clone(),
        kind,
        plan: plan.cloned(),
        hosts,
        by: login_name().unwrap_or_else(|| "unknown".to_owned()),
        command: typed(),
    }
}

/// Carries a plan out, after asking.
pub async fn run(
    store: &Store,
    fleet: &Fleet,
    targets: Vec<Target>,
    planned: Planned,
    options: Options,
) -> CliResult<i32> {
    let changing = planned
        .plan
        .hosts
        .iter()
        .filter(|host| is_changed(host) && host.refusals.is_empty())
        .count();
    let cancel = fleet.cancel();
    let _heeding = cancel.heed();
    if cancel.is_stopped() {
        return Err(interrupted(cancel));
    }
    if changing > 0 && !options.yes && !confirmed(changing, cancel).await? {
        return Err(CliError::new("not confirmed; nothing was changed"));
    }
    let doing = |error| store_error(&error);
    store.put_blobs(&planned.blobs, now()).await.map_err(doing)?;
    store.save_plan(&planned.plan, now()).await.map_err(doing)?;
    let (leases, refused) = take_leases(store, &planned).await?;
    // Whatever comes of it, the leases are given back.
    let done = run_leased(store, fleet, &targets, &planned, options, (&leases, &refused)).await;
    let released = store.release(&leases).await.map_err(doing);
    let (run, mut report) = done?;
    released?;
    store.prune_blobs(now()).await.map_err(doing)?;
    report.count_as_desired(&planned.plan);
    let told = if options.json {
        BTreeSet::new()
    } else {
        told(&planned, options.yes)
    };
    tell(&run, &report, &told, options.json);
    if options.push_probes {
        let is_changed = |target: &Target| plan_of(&planned, &target.name).is_some_and(is_changed);
        push_probes(store, fleet, targets.into_iter().filter(is_changed).collect()).await?;
    }
    Ok(i32::from(report.exit_code().0))
}

/// Carries a plan out under leases, and takes off the hosts what earlier runs left there.
async fn run_leased(
    store: &Store,
    fleet: &Fleet,
    targets: &[Target],
    planned: &Planned,
    options: Options,
    (leases, refused): (&[Lease], &HashMap<HostName, Outcome>),
) -> CliResult<(RunId, Report)> {
    let doing = |error| store_error(&error);
    let epochs: HashMap<&HostName, u64> = leases.iter().map(|lease| (&lease.host, lease.epoch)).collect();
    let progress = Arc::new(Progress::new("applying", targets.len()));
    let above = Arc::clone(&progress);
    let heartbeat = Heartbeat::start(store.clone(), leases.to_vec(), move |lost| {
        above.print(&format!("{}: {lost}", lost.host));
    });
    let open = store.unfinished_attempts().await.map_err(doing)?;
    let mut hosts = HashMap::new();
    let mut tasks = Vec::new();
    for target in targets {
        let host = &target.name;
        let work = if let Some(outcome) = settled_already(store, planned, refused, host).await? {
            Work::Settled { outcome }
        } else if let Some(plan) = plan_of(planned, host) {
            // Adopts and forgets of a known machine are recorded without sending anything.
            let epoch = epochs.get(host).copied().unwrap_or(0);
            let job = Box::new(assignment(store, planned, plan, epoch, &open).await?);
            let assignment = Assignment::Job(job);
            let target = target.clone();
            hosts.insert(host.clone(), HostWork { target, assignment });
            work_of(plan)
        } else {
            continue;
        };
        let host = host.clone();
        tasks.push(HostTask { host, work });
    }
    let run = RunId::new(&mut SystemIds);
    let names = tasks.iter().map(|task| task.host.clone()).collect();
    let started = run_started(&run, RunKind::Apply, Some(&planned.plan.id), names);
    let limits = Limits {
        forks: fleet.forks(),
        max_failures: options.max_failures,
        ..Limits::default()
    };
    let left = leftovers(targets, planned, &epochs, &tasks);
    let execution = Execution {
        store: store.clone(),
        fleet: fleet.clone(),
        run: run.clone(),
        plan: planned.plan.id.clone(),
        progress,
        hosts,
        command: None,
        lost: heartbeat.lost(),
        output: None,
    };
    let report = execute(execution, RunSpec { hosts: tasks, limits }, started)
        .await
        .map_err(doing)?;
    let left = if fleet.cancel().is_stopped() { Vec::new() } else { left };
    for (host, result) in clear(store, fleet, left).await {
        if let Err(error) = result {
            tracing::info!("jobs are left on {host}: {error}");
        }
    }
    Ok((run, report))
}

fn plan_of<'p>(planned: &'p Planned, host: &HostName) -> Option<&'p HostPlan> {
    planned.plan.hosts.iter().find(|plan| plan.host == *host)
}

/// How a host ends without anything being sent to it, if it is clear before.
async fn settled_already(
    store: &Store,
    planned: &Planned,
    refused: &HashMap<HostName, Outcome>,
    host: &HostName,
) -> CliResult<Option<Outcome>> {
    let unobserved = planned.unobserved.iter().find(|(name, _)| name == host);
    if let Some(outcome) = unobserved.map(|(_, outcome)| outcome).or_else(|| refused.get(host)) {
        return Ok(Some(outcome.clone()));
    }
    if let Some(why) = held(store, planned, host).await? {
        // That the machine is another one would be misleading: it is looked for in another place.
        let moved = planned.known.get(host).is_some_and(Known::is_asked_as_another);
        let refused = plan_of(planned, host).and_then(|plan| plan.refusals.iter().find(|one| one.address.is_none()));
        let why = match (&why, refused) {
            (HoldReason::MachineDiffers { .. }, Some(refusal)) if moved => refusal.message.clone(),
            _ => why.to_string(),
        };
        return Ok(Some(Outcome::Held { why }));
    }
    outdated(store, planned, host).await
}

/// What earlier runs left on hosts to which this one sends no job.
fn leftovers(
    targets: &[Target],
    planned: &Planned,
    epochs: &HashMap<&HostName, u64>,
    tasks: &[HostTask],
) -> Vec<Leftover> {
    let sent = |host: &HostName| tasks.iter().any(|task| task.host == *host && task.work == Work::Job);
    let quiet = targets.iter().filter(|target| !sent(&target.name));
    quiet
        .filter_map(|target| {
            let known = planned.known.get(&target.name).filter(|known| has_leftovers(known))?;
            Some(Leftover {
                target: target.clone(),
                machine: known.machine.clone()?,
                epoch: *epochs.get(&target.name)?,
                ack: known.ended.clone(),
                void: known.unbegun.clone(),
            })
        })
        .collect()
}

/// Tells whether jobs lie on a host that nobody needs there any more. What belongs to another machine is left alone.
fn has_leftovers(known: &Known) -> bool {
    let same = known.machine.is_some() && known.machine == known.observation.machine;
    same && !(known.ended.is_empty() && known.unbegun.is_empty())
}

/// Gives the agents among hosts the probes of their new ledgers. It is never a failure of the run.
async fn push_probes(store: &Store, fleet: &Fleet, changed: Vec<Target>) -> CliResult<()> {
    let doing = |error| store_error(&error);
    let mut with_agent = Vec::new();
    for target in changed {
        let machine = store.machine_of(&target.name).await.map_err(doing)?;
        let installed = match &machine {
            Some(machine) => !planning::Scope::Agent
                .of(&store.ledger(machine).await.map_err(doing)?)
                .entries
                .is_empty(),
            None => false,
        };
        if installed || target.via == Via::Agent {
            with_agent.push(target);
        }
    }
    if !with_agent.is_empty() {
        let failed = probes::push_probes(store, fleet, with_agent, None)
            .await
            .map_err(doing)?;
        agent::tell_unpushed(failed.iter().map(|(host, error)| (host, error)));
    }
    Ok(())
}

/// The hosts of which it was said already why they are left out: by the plan's refusals, or before the question.
fn told(planned: &Planned, yes: bool) -> BTreeSet<HostName> {
    let refused = planned.plan.hosts.iter().filter(|plan| !plan.refusals.is_empty());
    let unobserved = planned.unobserved.iter().filter(|_| !yes);
    refused
        .map(|plan| &plan.host)
        .chain(unobserved.map(|(host, _)| host))
        .cloned()
        .collect()
}

/// Why the machine behind a host is held. A saved plan was made before; what the store says now counts.
async fn held(store: &Store, planned: &Planned, host: &HostName) -> CliResult<Option<HoldReason>> {
    if let Some(known) = planned.known.get(host) {
        return Ok(known.held.clone());
    }
    let known = store.host(host).await.map_err(|error| store_error(&error))?;
    Ok(known.and_then(|known| known.held))
}

/// A saved plan is for the machine that was there when it was made. The host would refuse it too, but not know why.
async fn outdated(store: &Store, planned: &Planned, host: &HostName) -> CliResult<Option<Outcome>> {
    let plan = planned.plan.hosts.iter().find(|plan| plan.host == *host);
    let Some(plan) = plan.filter(|_| !planned.known.contains_key(host)) else {
        return Ok(None);
    };
    let machine = store.machine_of(host).await.map_err(|error| store_error(&error))?;
    if machine == plan.machine {
        return Ok(None);
    }
    let detail = match &plan.machine {
        None => "this plan, or another one, was applied to it since".to_owned(),
        Some(machine) => format!("the plan is for machine {machine}, which is no longer behind this name"),
    };
    let kind = RefusalKind::Stale;
    Ok(Some(Outcome::Refused { kind, detail }))
}

fn is_changed(host: &HostPlan) -> bool {
    host.changes.iter().any(planning::counts)
}

/// What has to be sent for a host's plan. A machine that has no id yet gets one by its first job, even if that job
/// has no step: without an id there is no ledger to adopt into.
fn work_of(plan: &HostPlan) -> Work {
    if let Some(refusal) = plan.refusals.first() {
        let subject = refusal
            .address
            .as_ref()
            .map_or(String::new(), |address| format!("{address}: "));
        let more = plan.refusals.len() - 1;
        let rest = if more == 0 {
            String::new()
        } else {
            format!(" (and {more} more)")
        };
        return Work::Settled {
            outcome: Outcome::Refused {
                kind: RefusalKind::Plan,
                detail: format!("{subject}{}{rest}", refusal.message),
            },
        };
    }
    let steps = plan.changes.iter().any(|change| !change.steps.is_empty());
    if steps || (is_changed(plan) && plan.machine.is_none()) {
        Work::Job
    } else {
        Work::Settled { outcome: Outcome::Ok }
    }
}

async fn assignment(
    store: &Store,
    planned: &Planned,
    plan: &HostPlan,
    epoch: u64,
    open: &[Attempt],
) -> CliResult<JobAssignment> {
    let machine = match &plan.machine {
        Some(machine) => machine.clone(),
        None => MachineId::new(&mut SystemIds),
    };
    let body = job_body(plan, &machine);
    let mut parts = Vec::new();
    for sha256 in &body.blobs {
        let bytes = match planned.blobs.get(sha256) {
            Some(bytes) => Arc::clone(bytes),
            None => store
                .blob(sha256)
                .await
                .map_err(|error| store_error(&error))?
                .ok_or_else(|| {
                    CliError::hinted(
                        format!("the store no longer has the content {sha256} that {} needs", plan.host),
                        "restore a backup of the store, or drop the resource: holdfast resolve HOST ADDRESS skip",
                    )
                })?,
        };
        parts.push((sha256.clone(), bytes));
    }
    let step: Arc<[u8]> = job_step(body.text.as_str()).into_bytes().into();
    parts.push((sha256_hex(&step), step));
    let ack = ended_jobs(store, planned, &plan.host).await?;
    let void = unbegun_jobs(planned, plan, open);
    Ok(JobAssignment {
        plan: plan.clone(),
        machine,
        epoch,
        body,
        parts,
        ack,
        void,
    })
}

/// The jobs on a host that are recorded, so that the next start may remove them.
async fn ended_jobs(store: &Store, planned: &Planned, host: &HostName) -> CliResult<Vec<AttemptId>> {
    let recorded = store
        .unacked_attempts(host)
        .await
        .map_err(|error| store_error(&error))?;
    let mut ended: Vec<AttemptId> = recorded.into_iter().map(|attempt| attempt.attempt).collect();
    if let Some(known) = planned.known.get(host) {
        ended.extend(
            known
                .ended
                .iter()
                .filter(|attempt| !ended.contains(attempt))
                .cloned()
                .collect::<Vec<_>>(),
        );
    }
    Ok(ended)
}

/// The jobs of a machine that are not known to have begun: those that lay there unbegun when it was asked, and those that
/// were intended and of which nothing was ever heard. The host tells which of them it kept from beginning.
fn unbegun_jobs(planned: &Planned, plan: &HostPlan, open: &[Attempt]) -> Vec<AttemptId> {
    let known = planned.known.get(&plan.host);
    let mut void = known.map(|known| known.unbegun.clone()).unwrap_or_default();
    let began = |attempt: &AttemptId| {
        known.is_some_and(|known| {
            let seen = known.observation.jobs.iter().map(|job| &job.attempt);
            seen.chain(&known.ended).any(|seen| seen == attempt)
        })
    };
    for attempt in open {
        let machine = attempt.intent.as_ref().map(|intent| &intent.machine);
        // Whatever its name was then.
        let sent_there = machine.is_some() && machine == plan.machine.as_ref();
        if sent_there && !began(&attempt.attempt) && !void.contains(&attempt.attempt) {
            void.push(attempt.attempt.clone());
        }
    }
    void
}

/// Takes the lease of every host that will be changed, or cleared of what an earlier run left. A host that has seen a higher epoch than ours raises ours.
async fn take_leases(store: &Store, planned: &Planned) -> CliResult<(Vec<Lease>, HashMap<HostName, Outcome>)> {
    let doing = |error| store_error(&error);
    let (mut wanted, mut changing) = (Vec::new(), Vec::new());
    for host in &planned.plan.hosts {
        let known = planned.known.get(&host.host);
        let changes = is_changed(host) && host.refusals.is_empty();
        if !changes && !known.is_some_and(has_leftovers) {
            continue;
        }
        if let Some(known) = known {
            store
                .raise_epoch(&host.host, known.observation.epoch)
                .await
                .map_err(doing)?;
        }
        wanted.push(host.host.clone());
        changing.push(changes);
    }
    let mut leases = Vec::new();
    let mut refused = HashMap::new();
    let answers = store.acquire(&wanted, LEASE_TTL_MS, now()).await.map_err(doing)?;
    for ((host, changes), answer) in wanted.into_iter().zip(changing).zip(answers) {
        match answer {
            Ok(lease) => leases.push(lease),
            // Whoever has it clears the host.
            Err(_) if !changes => {}
            Err(held) => {
                refused.insert(
                    host,
                    Outcome::Refused {
                        kind: RefusalKind::Leased,
                        detail: held.to_string(),
                    },
                );
            }
        }
    }
    Ok((leases, refused))
}

/// Nothing was begun yet when a person stopped the command.
fn interrupted(cancel: &Cancel) -> CliError {
    cancel.cut_short();
    CliError::new("interrupted; nothing was changed")
}

async fn confirmed(hosts: usize, cancel: &Cancel) -> CliResult<bool> {
    if !can_ask() {
        return Err(CliError::hinted(
            "there is no terminal to ask on; nothing was changed",
            "look at the plan, then use -y",
        ));
    }
    let question = format!("\nChange {}?", counted(hosts, "host"));
    // The thread that reads is left behind: it ends with the process.
    tokio::select! {
        biased;
        () = cancel.stopped() => {
            note("");
            Err(interrupted(cancel))
        }
        answer = tokio::task::spawn_blocking(move || ask(&question)) => answer
            .map_err(|error| CliError::doing("ask", &error))?
            .map_err(|error| CliError::doing("read the answer", &error)),
    }
}

fn tell(run: &RunId, report: &Report, told: &BTreeSet<HostName>, json: bool) {
    if json {
        let hosts = report.hosts.iter();
        let hosts: Vec<_> = hosts.map(|(host, row)| recap::document(host, row)).collect();
        data_line(&serde_json::json!({ "schema": 1, "run": run, "hosts": hosts, "recap": report.tally }).to_string());
        return;
    }
    data(&recap::render(report, told));
}
