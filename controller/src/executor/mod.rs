//! Carries out a run: does what the state machine says, records what happened, and tells it.
//!
//! Decides nothing. An event is durable before anything acts on it; a panic in one host's work is that host's loss.
//!
//! ```text
//! Run::handle ─> Task ─> record the intent ─> spawn: connect, start, follow, ack ─> Input ─> Run::handle
//! ```

mod clear;
mod confirm;
mod host;
mod interrupt;
mod lease;
#[cfg(test)]
mod tests;

pub use clear::{Leftover, clear};
pub use lease::{Heartbeat, LostLeases};

use crate::fleet::Fleet;
use crate::link::Parts;
use crate::observe::job_events;
use crate::output::Output;
use crate::store::{Store, StoreError};
use crate::transport::{Session, Target};
use crate::view::progress::Progress;
use crate::{SystemIds, now};
use bytes::Bytes;
use dashmap::DashMap;
use holdfast_inventory::HostName;
use holdfast_plan::change::{Action, HostPlan};
use holdfast_plan::event::{Event, Intent};
use holdfast_plan::ids::{AttemptId, MachineId, PlanId, RunId};
use holdfast_plan::job::{JobBody, TimeLimit};
use holdfast_plan::observation::{JobReport, JobState};
use holdfast_plan::outcome::{Outcome, RefusalKind};
use holdfast_plan::report::Report;
use holdfast_plan::run::{Input, Run, RunSpec, Task, Work};
use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long abandoned commands may take to hand over what they printed: it is there already.
const FAREWELL: Duration = Duration::from_millis(200);
/// Inputs waiting to be handled: a few per host that is worked on. A full queue makes hosts wait, not memory grow.
const INPUTS_MAX: usize = 1024;

/// What is to be sent to one host.
pub enum Assignment {
    /// The job of a plan.
    Job(Box<JobAssignment>),
    /// An ad-hoc command.
    Command,
    /// Nothing: follow what an earlier run left, which may take so long.
    Collect(TimeLimit),
}

/// The job of a host's plan.
pub struct JobAssignment {
    /// The plan.
    pub plan: HostPlan,
    /// Its machine, or the id that a new one shall take.
    pub machine: MachineId,
    /// Under which epoch it is sent.
    pub epoch: u64,
    /// The step file and what it means.
    pub body: JobBody,
    /// The blobs it reads.
    pub parts: Parts,
    /// Jobs that were collected earlier and go first.
    pub ack: Vec<AttemptId>,
    /// Jobs that are not known to have begun: they go first, and never begin any more.
    pub void: Vec<AttemptId>,
}

/// One host of a run.
pub struct HostWork {
    /// How it is reached.
    pub target: Target,
    /// What is sent.
    pub assignment: Assignment,
}

/// The ad-hoc command of a run.
#[derive(Debug, Clone)]
pub struct CommandSpec {
    /// The command, as the host's `/bin/sh` reads it.
    pub command: String,
    /// How long a host may take.
    pub timeout: Duration,
    /// What it reads on its stdin, the same on every host; `None`: nothing.
    pub input: Option<Bytes>,
}

/// A run and all it needs.
pub struct Execution {
    /// Where it is recorded.
    pub store: Store,
    /// How hosts are reached.
    pub fleet: Fleet,
    /// Which run.
    pub run: RunId,
    /// The plan it carries out.
    pub plan: PlanId,
    /// Its hosts.
    pub hosts: HashMap<HostName, HostWork>,
    /// The command, if it is one.
    pub command: Option<CommandSpec>,
    /// The leases that were lost meanwhile; nothing is sent under them.
    pub lost: LostLeases,
    /// Where the output of commands goes.
    pub output: Option<Arc<dyn Output>>,
    /// What people see meanwhile.
    pub progress: Arc<Progress>,
}

struct Shared {
    execution: Execution,
    // A session is used by one task at a time; the mutex only makes it shareable, and is never waited for.
    sessions: DashMap<HostName, Mutex<Box<dyn Session>>>,
    /// The attempts of this run that came to nothing: what their transfers left goes before the next try.
    voided: DashMap<HostName, Vec<AttemptId>>,
    /// When the job of a host is no longer waited for.
    due: DashMap<HostName, Instant>,
    inputs: mpsc::Sender<Input>,
    /// Cancelled when commands are no longer waited for, once that was said.
    abandoned: CancellationToken,
}

/// Carries the run out to its end and gives its report.
pub async fn execute(execution: Execution, mut spec: RunSpec, started: Event) -> Result<Report, StoreError> {
    for task in &mut spec.hosts {
        if !matches!(task.work, Work::Settled { .. }) && !execution.hosts.contains_key(&task.host) {
            let outcome = Outcome::Unreachable(host::nothing_to_send());
            task.work = Work::Settled { outcome };
        }
    }
    let mut report = Report::default();
    report.apply(&started);
    execution.store.append(now(), vec![started]).await?;
    let (inputs, mut received) = mpsc::channel(INPUTS_MAX);
    let shared = Arc::new(Shared {
        execution,
        sessions: DashMap::new(),
        voided: DashMap::new(),
        due: DashMap::new(),
        inputs,
        abandoned: CancellationToken::new(),
    });
    let cancel = shared.execution.fleet.cancel().clone();
    let _heeding = cancel.heed();
    let mut conductor = Conductor {
        shared: Arc::clone(&shared),
        run: Run::new(spec, Box::new(SystemIds)),
        report,
        work: JoinSet::new(),
        owners: HashMap::new(),
        ended: HashSet::new(),
    };
    // Both are told once each.
    let (mut stop, mut abandon) = (false, false);
    if !cancel.is_stopped() {
        conductor.take(Input::Begin).await?;
    }
    while !conductor.report.ended {
        let input = tokio::select! {
            Some(input) = received.recv() => Some(input),
            Some(joined) = conductor.work.join_next_with_id() => conductor.joined(joined),
            () = cancel.stopped(), if !stop => {
                stop = true;
                conductor.interrupted(true)
            }
            () = cancel.abandoned(), if !abandon => {
                abandon = true;
                conductor.interrupted(false)
            }
        };
        if let Some(input) = input {
            conductor.take(input).await?;
        }
    }
    if cancel.is_stopped() && !stop {
        // What was left was withdrawn before it could be said.
        let _ = conductor.interrupted(true);
    }
    if conductor.report.tally.cancelled > 0 || abandon {
        cancel.cut_short();
    }
    conductor.work.abort_all();
    shared.close_all().await;
    Ok(conductor.report)
}

/// Hands what happened to the state machine, and does what it says.
struct Conductor {
    shared: Arc<Shared>,
    run: Run,
    report: Report,
    work: JoinSet<()>,
    /// For which host and attempt each task works.
    owners: HashMap<tokio::task::Id, (HostName, AttemptId)>,
    /// Hosts that ended and whose session may still be open.
    ended: HashSet<HostName>,
}

impl Conductor {
    async fn take(&mut self, input: Input) -> Result<(), StoreError> {
        match &input {
            Input::JobOver { host, report: job } => self.shared.record_job(host, job, &mut self.report).await?,
            // An ad-hoc command is not asked after.
            Input::Lost { host, why, .. } if self.shared.execution.command.is_none() => {
                self.shared.execution.progress.trying_again(host, why);
            }
            _ => {}
        }
        let mut queue: VecDeque<Task> = self.run.handle(input).into();
        while let Some(task) = queue.pop_front() {
            match task {
                Task::Intend { .. } => {
                    // All intents that stand in a row become durable in one transaction.
                    let mut intents = vec![task];
                    while matches!(queue.front(), Some(Task::Intend { .. })) {
                        intents.extend(queue.pop_front());
                    }
                    for input in self.shared.intend(intents, &mut self.report).await? {
                        queue.extend(self.run.handle(input));
                    }
                }
                task => self.carry_out(task).await?,
            }
        }
        self.close_idle();
        Ok(())
    }

    async fn carry_out(&mut self, task: Task) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        match task {
            Task::Intend { .. } => unreachable!("these are taken together, by the caller"),
            Task::End {
                host,
                attempt,
                outcome,
                settle,
            } => {
                self.ended.insert(host.clone());
                shared.end(host, attempt, outcome, settle, &mut self.report).await?;
            }
            Task::Void { host, attempt } => shared.void(&host, attempt, &mut self.report).await?,
            Task::Finish { recap } => {
                let ended = Event::RunEnded {
                    run: shared.execution.run.clone(),
                    recap,
                };
                self.report.apply(&ended);
                shared.execution.store.append(now(), vec![ended]).await?;
            }
            Task::Wait { host, serial, pause_ms } => {
                self.work.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                    shared.say(Input::Timer { host, serial }).await;
                });
            }
            Task::Start { host, attempt } => {
                tracing::info!(%host, %attempt, "job is sent");
                self.own(&host, &attempt, Shared::start);
            }
            Task::Attach { host, attempt } => {
                tracing::info!(%host, %attempt, "job is asked after");
                self.own(&host, &attempt, Shared::attach);
            }
            Task::Exec { host, attempt } => {
                tracing::info!(%host, %attempt, "command is sent");
                self.own(&host, &attempt, Shared::exec);
            }
            Task::Acknowledge { host, attempt } => self.own(&host, &attempt, Shared::acknowledge),
        }
        Ok(())
    }

    /// Lets a task work for a host; if it panics, the attempt is lost and nothing else.
    fn own<F>(&mut self, host: &HostName, attempt: &AttemptId, work: impl FnOnce(Arc<Shared>, HostName, AttemptId) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let future = work(Arc::clone(&self.shared), host.clone(), attempt.clone());
        let handle = self.work.spawn(future);
        self.owners.insert(handle.id(), (host.clone(), attempt.clone()));
    }

    fn joined(&mut self, joined: Result<(tokio::task::Id, ()), JoinError>) -> Option<Input> {
        match joined {
            Ok((id, ())) => {
                self.owners.remove(&id);
                self.close_idle();
                None
            }
            Err(error) => {
                let (host, attempt) = self.owners.remove(&error.id())?;
                let why = format!("an internal error: {error}");
                Some(Input::Lost { host, attempt, why })
            }
        }
    }

    /// Closes the sessions of hosts that ended and for which nobody works any more. (An acknowledgement that follows the
    /// end uses the session once more.)
    fn close_idle(&mut self) {
        let owners = &self.owners;
        let idle = self
            .ended
            .extract_if(|host| !owners.values().any(|(busy, _)| busy == host));
        for host in idle {
            self.work.spawn(Arc::clone(&self.shared).close(host));
        }
    }

    fn interrupted(&mut self, first: bool) -> Option<Input> {
        let shared = &self.shared;
        let command = shared.execution.command.is_some();
        let under_way: Vec<HostName> = self.run.in_flight().into_iter().cloned().collect();
        shared
            .execution
            .progress
            .print(&interrupt::message(first, &under_way, command));
        if first {
            return Some(Input::Cancel);
        }
        if !command {
            return Some(Input::Abandon);
        }
        shared.abandoned.cancel();
        // Those that have begun hand over what they printed, and end; then the rest is left.
        let inputs = shared.inputs.clone();
        self.work.spawn(async move {
            tokio::time::sleep(FAREWELL).await;
            let _ = inputs.send(Input::Abandon).await;
        });
        None
    }
}

impl Shared {
    fn work(&self, host: &HostName) -> &HostWork {
        &self.execution.hosts[host]
    }

    /// Makes intents durable; from then on the jobs may have been started, whatever we hear. A host whose lease is no
    /// longer ours is refused by itself: it ends nobody else's run.
    async fn intend(&self, intents: Vec<Task>, report: &mut Report) -> Result<Vec<Input>, StoreError> {
        let mut inputs = Vec::new();
        let mut intended = Vec::new();
        for task in intents {
            let Task::Intend { host, attempt } = task else { continue };
            self.execution.progress.begin(&host);
            match self.execution.lost.of(&host) {
                Some(lost) => inputs.push(fenced(host, attempt, lost.to_string())),
                None => intended.push((self.intent(&host, &attempt), host, attempt)),
            }
        }
        loop {
            let events: Vec<Event> = intended.iter().map(|(event, ..)| event.clone()).collect();
            match self.execution.store.append(now(), events).await {
                Ok(_) => break,
                Err(error) => {
                    let StoreError::Fenced { host: of, .. } = &error else {
                        return Err(error);
                    };
                    // None of them is recorded: the others once more, without this one.
                    let place = intended.iter().position(|(_, host, _)| host == of);
                    let Some(place) = place else { return Err(error) };
                    let (_, host, attempt) = intended.remove(place);
                    inputs.push(fenced(host, attempt, error.to_string()));
                }
            }
        }
        for (event, host, attempt) in intended {
            report.apply(&event);
            inputs.push(Input::Intended { host, attempt });
        }
        Ok(inputs)
    }

    fn intent(&self, host: &HostName, attempt: &AttemptId) -> Event {
        let run = self.execution.run.clone();
        match &self.work(host).assignment {
            Assignment::Job(job) => Event::AttemptIntended(Intent {
                run,
                host: host.clone(),
                machine: job.machine.clone(),
                attempt: attempt.clone(),
                epoch: job.epoch,
                plan: self.execution.plan.clone(),
                steps: job.body.steps.clone(),
                restarts: job.body.restarts.clone(),
            }),
            Assignment::Command | Assignment::Collect(_) => Event::CommandIntended {
                run,
                host: host.clone(),
                attempt: attempt.clone(),
            },
        }
    }

    async fn record_job(&self, host: &HostName, job: &JobReport, report: &mut Report) -> Result<(), StoreError> {
        let machine = match &self.work(host).assignment {
            Assignment::Job(assignment) => Some(assignment.machine.clone()),
            Assignment::Command | Assignment::Collect(_) => self.execution.store.machine_of(host).await?,
        };
        let Some(machine) = machine else { return Ok(()) };
        let mut events = Vec::new();
        let began = !matches!(job.state, JobState::Unstarted | JobState::Untransferred);
        if began && self.execution.store.machine_of(host).await?.as_ref() != Some(&machine) {
            events.push(Event::MachineSeen {
                machine: machine.clone(),
                host: host.clone(),
            });
        }
        events.extend(job_events(&machine, job));
        for event in &events {
            report.apply(event);
        }
        self.execution.store.append(now(), events).await.map(drop)
    }

    /// Records how a host ended, and with it what needed no step: adopts and forgets.
    async fn end(
        &self,
        host: HostName,
        attempt: Option<AttemptId>,
        outcome: Outcome,
        settle: bool,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let mut events = Vec::new();
        if settle
            && let Some(HostWork {
                assignment: Assignment::Job(job),
                ..
            }) = self.execution.hosts.get(&host)
        {
            events.extend(settled(&host, job));
        }
        tracing::info!(%host, outcome = outcome.word(), "ended");
        self.execution.progress.end(&host);
        match &self.execution.output {
            Some(output) => output.ended(&host, &outcome),
            // Only for who watches: the recap tells why.
            None if outcome.is_bad() => self.execution.progress.mark(&host, outcome.word()),
            None => {}
        }
        events.push(Event::AttemptEnded {
            run: self.execution.run.clone(),
            host: host.clone(),
            attempt,
            result: outcome,
        });
        for event in &events {
            report.apply(event);
        }
        self.execution.store.append(now(), events).await.map(drop)
    }

    async fn void(&self, host: &HostName, attempt: AttemptId, report: &mut Report) -> Result<(), StoreError> {
        let job = JobReport {
            attempt,
            state: JobState::Untransferred,
            end: None,
            steps: Vec::new(),
        };
        self.voided.entry(host.clone()).or_default().push(job.attempt.clone());
        self.record_job(host, &job, report).await
    }

    /// Closes the sessions of hosts.
    async fn close(self: Arc<Self>, host: HostName) {
        if let Some((_, session)) = self.sessions.remove(&host) {
            self.execution.fleet.close(unlocked(session)).await;
        }
    }

    async fn close_all(self: Arc<Self>) {
        let hosts: Vec<HostName> = self.sessions.iter().map(|entry| entry.key().clone()).collect();
        let mut closing: JoinSet<()> = hosts.into_iter().map(|host| Arc::clone(&self).close(host)).collect();
        while closing.join_next().await.is_some() {}
    }

    async fn say(&self, input: Input) {
        // The loop that receives is gone only when the run is over.
        let _ = self.inputs.send(input).await;
    }
}

/// What the run is told of a host whose lease is no longer ours.
fn fenced(host: HostName, attempt: AttemptId, detail: String) -> Input {
    Input::Refused {
        host,
        attempt,
        kind: RefusalKind::Epoch,
        detail,
    }
}

fn unlocked(session: Mutex<Box<dyn Session>>) -> Box<dyn Session> {
    session.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The events of what a plan does without a step.
fn settled(host: &HostName, job: &JobAssignment) -> Vec<Event> {
    job.plan
        .changes
        .iter()
        .filter_map(|change| match change.action {
            Action::Adopt => Some(Event::Adopted {
                host: host.clone(),
                machine: job.machine.clone(),
                desired: change.desired.clone(),
                applied: change.observed.clone(),
            }),
            Action::Forget => Some(Event::Forgotten {
                host: host.clone(),
                machine: job.machine.clone(),
                address: change.address.clone(),
            }),
            _ => None,
        })
        .collect()
}
