//! Carries out a plan on the fleet: asks first, takes the leases, runs it, tells how it ended. `apply` and `agent` share it.

use crate::cli::error::{CliError, CliResult};
use crate::cli::planning::{self, Planned, Wanted};
use crate::cli::{agent, store_error, typed};
use crate::executor::{Assignment, Execution, Heartbeat, HostWork, JobAssignment, execute};
use crate::fleet::Fleet;
use crate::load::login_name;
use crate::probes;
use crate::store::{LEASE_TTL_MS, Lease, Store};
use crate::transport::{Target, Via};
use crate::view::plan::{PlanView, render};
use crate::view::progress::Progress;
use crate::view::recap;
use crate::view::terminal::{ask, can_ask, data, data_line, note};
use crate::{SystemIds, now};
use holdfast_agent::program::job_step;
use holdfast_inventory::HostName;
use holdfast_plan::change::HostPlan;
use holdfast_plan::content::sha256_hex;
use holdfast_plan::event::{Event, HoldReason, RunKind};
use holdfast_plan::ids::{AttemptId, MachineId, PlanId, RunId};
use holdfast_plan::job::job_body;
use holdfast_plan::observation::JobState;
use holdfast_plan::outcome::{Outcome, RefusalKind};
use holdfast_plan::report::Report;
use holdfast_plan::run::{HostTask, Limits, RunSpec, Work};
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    if follow_running(store, fleet, wanted, &planned).await? {
        planned = planning::make(store, fleet, wanted).await?;
    }
    if !options.json {
        data(&render(&planned.plan, view));
        // Who is asked must know what is left out; else the recap tells it.
        if !options.yes {
            planning::tell_unobserved(&planned.unobserved);
        }
    }
    run(store, fleet, wanted.targets.clone(), planned, options).await
}

/// Follows the jobs that an earlier run left running, so that the plan is made of what they did.
async fn follow_running(store: &Store, fleet: &Fleet, wanted: &Wanted, planned: &Planned) -> CliResult<bool> {
    let mut hosts = HashMap::new();
    let mut tasks = Vec::new();
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
            if ours.is_none() {
                continue;
            }
            note(&format!(
                "{}: a job of an earlier run is still running; waiting for it to end",
                target.name
            ));
            hosts.insert(
                target.name.clone(),
                HostWork {
                    target: target.clone(),
                    assignment: Assignment::Collect,
                },
            );
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
        output: None,
    };
    execute(execution, RunSpec { hosts: tasks, limits }, started)
        .await
        .map_err(|error| store_error(&error))?;
    Ok(true)
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
    if changing > 0 && !options.yes && !confirmed(changing)? {
        return Err(CliError::new("not confirmed; nothing was changed"));
    }
    let doing = |error| store_error(&error);
    store.put_blobs(&planned.blobs, now()).await.map_err(doing)?;
    store.save_plan(&planned.plan, now()).await.map_err(doing)?;
    let (leases, refused) = take_leases(store, &planned).await?;
    let epochs: HashMap<HostName, u64> = leases.iter().map(|lease| (lease.host.clone(), lease.epoch)).collect();
    let _heartbeat = Heartbeat::start(store.clone(), leases.clone());

    let run = RunId::new(&mut SystemIds);
    let told = if options.json {
        BTreeSet::new()
    } else {
        told(&planned, options.yes)
    };
    let mut unobserved: BTreeMap<HostName, Outcome> = planned.unobserved.iter().cloned().collect();
    let plans: HashMap<&HostName, &HostPlan> = planned.plan.hosts.iter().map(|host| (&host.host, host)).collect();
    let changed: Vec<Target> = targets
        .iter()
        .filter(|target| plans.get(&target.name).is_some_and(|plan| is_changed(plan)))
        .cloned()
        .collect();
    let mut hosts = HashMap::new();
    let mut tasks = Vec::new();
    for target in targets {
        let host = target.name.clone();
        let work = if let Some(outcome) = unobserved.remove(&host).or_else(|| refused.get(&host).cloned()) {
            Work::Settled { outcome }
        } else if let Some(why) = held(store, &planned, &host).await? {
            let outcome = Outcome::Held { why: why.to_string() };
            Work::Settled { outcome }
        } else if let Some(outcome) = outdated(store, &planned, &host).await? {
            Work::Settled { outcome }
        } else if let Some(plan) = plans.get(&host) {
            match work_of(plan) {
                Work::Job => {
                    let job = assignment(store, &planned, plan, epochs.get(&host).copied().unwrap_or(0)).await?;
                    hosts.insert(
                        host.clone(),
                        HostWork {
                            target,
                            assignment: Assignment::Job(Box::new(job)),
                        },
                    );
                    Work::Job
                }
                settled => {
                    // Adopts and forgets of a known machine are recorded without sending anything.
                    let job = assignment(store, &planned, plan, 0).await?;
                    hosts.insert(
                        host.clone(),
                        HostWork {
                            target,
                            assignment: Assignment::Job(Box::new(job)),
                        },
                    );
                    settled
                }
            }
        } else {
            continue;
        };
        tasks.push(HostTask { host, work });
    }
    let names = tasks.iter().map(|task| task.host.clone()).collect();
    let started = run_started(&run, RunKind::Apply, Some(&planned.plan.id), names);
    let limits = Limits {
        forks: fleet.forks(),
        max_failures: options.max_failures,
        ..Limits::default()
    };
    let execution = Execution {
        store: store.clone(),
        fleet: fleet.clone(),
        run: run.clone(),
        plan: planned.plan.id.clone(),
        progress: Arc::new(Progress::new("applying", tasks.len())),
        hosts,
        command: None,
        output: None,
    };
    let mut report = execute(execution, RunSpec { hosts: tasks, limits }, started)
        .await
        .map_err(doing)?;
    store.release(&leases).await.map_err(doing)?;
    report.count_as_desired(&planned.plan);
    tell(&run, &report, &told, options.json);
    if options.push_probes {
        push_probes(store, fleet, changed).await?;
    }
    Ok(i32::from(report.exit_code().0))
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

async fn assignment(store: &Store, planned: &Planned, plan: &HostPlan, epoch: u64) -> CliResult<JobAssignment> {
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
    Ok(JobAssignment {
        plan: plan.clone(),
        machine,
        epoch,
        body,
        parts,
        ack,
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

/// Takes the lease of every host that will be changed. A host that has seen a higher epoch than ours raises ours.
async fn take_leases(store: &Store, planned: &Planned) -> CliResult<(Vec<Lease>, HashMap<HostName, Outcome>)> {
    let doing = |error| store_error(&error);
    let mut wanted = Vec::new();
    for host in &planned.plan.hosts {
        if !is_changed(host) || !host.refusals.is_empty() {
            continue;
        }
        if let Some(known) = planned.known.get(&host.host) {
            store
                .raise_epoch(&host.host, known.observation.epoch)
                .await
                .map_err(doing)?;
        }
        wanted.push(host.host.clone());
    }
    let mut leases = Vec::new();
    let mut refused = HashMap::new();
    let answers = store.acquire(&wanted, LEASE_TTL_MS, now()).await.map_err(doing)?;
    for (host, answer) in wanted.into_iter().zip(answers) {
        match answer {
            Ok(lease) => leases.push(lease),
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

fn confirmed(hosts: usize) -> CliResult<bool> {
    if !can_ask() {
        return Err(CliError::hinted(
            "there is no terminal to ask on; nothing was changed",
            "look at the plan, then use -y",
        ));
    }
    let question = format!("\nChange {hosts} host{}?", if hosts == 1 { "" } else { "s" });
    ask(&question).map_err(|error| CliError::doing("read the answer", &error))
}

fn tell(run: &RunId, report: &Report, told: &BTreeSet<HostName>, json: bool) {
    if json {
        let hosts: Vec<_> = report
            .hosts
            .iter()
            .map(|(host, row)| {
                serde_json::json!({
                    "host": host, "outcome": row.outcome, "message": row.outcome.as_ref().map(Outcome::message),
                    "hint": row.outcome.as_ref().and_then(Outcome::hint), "ok": row.ok, "changed": row.changed,
                    "failed": row.failed, "skipped": row.skipped,
                })
            })
            .collect();
        data_line(&serde_json::json!({ "schema": 1, "run": run, "hosts": hosts, "recap": report.tally }).to_string());
        return;
    }
    data(&recap::render(report, told));
}
