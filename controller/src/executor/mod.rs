//! Carries out a run: does what the state machine says, records what happened, and tells it.
//!
//! Decides nothing. An event is durable before anything acts on it; a panic in one host's work is that host's loss.
//!
//! ```text
//! Run::handle ─> Task ─> record the intent ─> spawn: connect, start, follow, ack ─> Input ─> Run::handle
//! ```

mod host;
mod interrupt;
mod lease;

pub use lease::Heartbeat;

use self::interrupt::Interrupts;
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
use holdfast_plan::job::JobBody;
use holdfast_plan::observation::{JobReport, JobState};
use holdfast_plan::outcome::Outcome;
use holdfast_plan::report::Report;
use holdfast_plan::run::{Input, Run, RunSpec, Task};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How long one exchange that follows a job may last before it is begun anew. Steps have their own timeouts on the
/// host; this only bounds a connection that looks alive and says nothing.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(6 * 3600);
/// How long abandoned commands may take to hand over what they printed: it is there already.
const FAREWELL: Duration = Duration::from_millis(200);
/// How long the host may take to remove the folders of a job.
const ACK_TIMEOUT: Duration = Duration::from_secs(60);
/// Inputs waiting to be handled: a few per host that is worked on. A full queue makes hosts wait, not memory grow.
const INPUTS_MAX: usize = 1024;

/// What is to be sent to one host.
pub enum Assignment {
    /// The job of a plan.
    Job(Box<JobAssignment>),
    /// An ad-hoc command.
    Command,
    /// Nothing: follow what an earlier run left.
    Collect,
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
    /// Where the output of commands goes.
    pub output: Option<Arc<dyn Output>>,
    /// What people see meanwhile.
    pub progress: Arc<Progress>,
}

struct Shared {
    execution: Execution,
    // A session is used by one task at a time; the mutex only makes it shareable, and is never waited for.
    sessions: DashMap<HostName, Mutex<Box<dyn Session>>>,
    inputs: mpsc::Sender<Input>,
    /// Becomes true when ad-hoc commands are no longer waited for.
    abandoned: watch::Sender<bool>,
}

/// Carries the run out to its end and gives its report.
pub async fn execute(execution: Execution, spec: RunSpec, started: Event) -> Result<Report, StoreError> {
    let store = execution.store.clone();
    let mut report = Report::default();
    report.apply(&started);
    store.append(now(), vec![started]).await?;
    let (inputs, mut received) = mpsc::channel(INPUTS_MAX);
    let shared = Arc::new(Shared {
        execution,
        sessions: DashMap::new(),
        inputs,
        abandoned: watch::Sender::new(false),
    });
    let mut run = Run::new(spec, Box::new(SystemIds));
    let mut queue: VecDeque<Task> = run.handle(Input::Begin).into();
    let mut work: JoinSet<()> = JoinSet::new();
    let mut owners: HashMap<tokio::task::Id, (HostName, AttemptId)> = HashMap::new();
    // Listened to from now to the end: an interrupt that comes while something is recorded is not lost.
    let mut interrupts = Interrupts::listen();
    loop {
        while let Some(task) = queue.pop_front() {
            match task {
                Task::Intend { .. } => {
                    // All intents that stand in a row become durable in one transaction.
                    let mut intents = vec![task];
                    while matches!(queue.front(), Some(Task::Intend { .. })) {
                        intents.extend(queue.pop_front());
                    }
                    for input in shared.intend(intents, &mut report).await? {
                        queue.extend(run.handle(input));
                    }
                }
                Task::End {
                    host,
                    attempt,
                    outcome,
                    settle,
                } => {
                    shared.end(host, attempt, outcome, settle, &mut report).await?;
                }
                Task::Void { host, attempt } => shared.void(&host, attempt, &mut report).await?,
                Task::Finish { recap } => {
                    let ended = Event::RunEnded {
                        run: shared.execution.run.clone(),
                        recap,
                    };
                    report.apply(&ended);
                    store.append(now(), vec![ended]).await?;
                    shared.close_all().await;
                    work.abort_all();
                    return Ok(report);
                }
                Task::Wait { host, serial, pause_ms } => {
                    let inputs = shared.inputs.clone();
                    work.spawn(async move {
                        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                        let _ = inputs.send(Input::Timer { host, serial }).await;
                    });
                }
                Task::Start { host, attempt } => {
                    let owner = (host.clone(), attempt.clone());
                    let handle = work.spawn(Arc::clone(&shared).start(host, attempt));
                    owners.insert(handle.id(), owner);
                }
                Task::Attach { host, attempt } => {
                    let owner = (host.clone(), attempt.clone());
                    let handle = work.spawn(Arc::clone(&shared).attach(host, attempt));
                    owners.insert(handle.id(), owner);
                }
                Task::Exec { host, attempt } => {
                    let owner = (host.clone(), attempt.clone());
                    let handle = work.spawn(Arc::clone(&shared).exec(host, attempt));
                    owners.insert(handle.id(), owner);
                }
                Task::Acknowledge { host, attempt } => {
                    let owner = (host.clone(), attempt.clone());
                    let handle = work.spawn(Arc::clone(&shared).acknowledge(host, attempt));
                    owners.insert(handle.id(), owner);
                }
            }
        }
        let input = tokio::select! {
            Some(input) = received.recv() => Some(input),
            Some(joined) = work.join_next_with_id() => match joined {
                Ok((id, ())) => { owners.remove(&id); None }
                Err(error) => owners.remove(&error.id()).map(|(host, attempt)| Input::Lost {
                    host,
                    attempt,
                    why: format!("an internal error: {error}"),
                }),
            },
            first = interrupts.next() => {
                let under_way: Vec<HostName> = run.in_flight().into_iter().cloned().collect();
                shared.execution.progress.print(&interrupt::message(first, &under_way, shared.execution.command.is_some()));
                if !first && !shared.abandoned.send_replace(true) && shared.execution.command.is_some() {
                    // Those that have begun hand over what they printed, and end; then the rest is left.
                    let inputs = shared.inputs.clone();
                    work.spawn(async move {
                        tokio::time::sleep(FAREWELL).await;
                        let _ = inputs.send(Input::Abandon).await;
                    });
                    None
                } else {
                    Some(if first { Input::Cancel } else { Input::Abandon })
                }
            }
        };
        if let Some(input) = input {
            if let Input::JobOver { host, report: job } = &input {
                shared.record_job(host, job, &mut report).await?;
            }
            queue.extend(run.handle(input));
        }
    }
}

impl Shared {
    fn work(&self, host: &HostName) -> &HostWork {
        &self.execution.hosts[host]
    }

    /// Makes intents durable; from then on the jobs may have been started, whatever we hear.
    async fn intend(&self, intents: Vec<Task>, report: &mut Report) -> Result<Vec<Input>, StoreError> {
        let run = &self.execution.run;
        let mut events = Vec::new();
        let mut inputs = Vec::new();
        for task in intents {
            let Task::Intend { host, attempt } = task else { continue };
            self.execution.progress.begin(&host);
            events.push(match &self.work(&host).assignment {
                Assignment::Job(job) => Event::AttemptIntended(Intent {
                    run: run.clone(),
                    host: host.clone(),
                    machine: job.machine.clone(),
                    attempt: attempt.clone(),
                    epoch: job.epoch,
                    plan: self.execution.plan.clone(),
                    steps: job.body.steps.clone(),
                    restarts: job.body.restarts.clone(),
                }),
                Assignment::Command | Assignment::Collect => Event::CommandIntended {
                    run: run.clone(),
                    host: host.clone(),
                    attempt: attempt.clone(),
                },
            });
            inputs.push(Input::Intended { host, attempt });
        }
        for event in &events {
            report.apply(event);
        }
        self.execution.store.append(now(), events).await?;
        Ok(inputs)
    }

    async fn record_job(&self, host: &HostName, job: &JobReport, report: &mut Report) -> Result<(), StoreError> {
        let machine = match &self.work(host).assignment {
            Assignment::Job(assignment) => Some(assignment.machine.clone()),
            Assignment::Command | Assignment::Collect => self.execution.store.machine_of(host).await?,
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
        // The session stays open: the acknowledgement that follows uses it, and closes it.
        self.execution.store.append(now(), events).await.map(drop)
    }

    async fn void(&self, host: &HostName, attempt: AttemptId, report: &mut Report) -> Result<(), StoreError> {
        let job = JobReport {
            attempt,
            state: JobState::Untransferred,
            end: None,
            steps: Vec::new(),
        };
        self.record_job(host, &job, report).await
    }

    async fn close(&self, host: &HostName) {
        if let Some((_, session)) = self.sessions.remove(host) {
            self.execution.fleet.close(unlocked(session)).await;
        }
    }

    async fn close_all(&self) {
        let hosts: Vec<HostName> = self.sessions.iter().map(|entry| entry.key().clone()).collect();
        for host in hosts {
            self.close(&host).await;
        }
    }

    async fn say(&self, input: Input) {
        // The loop that receives is gone only when the run is over.
        let _ = self.inputs.send(input).await;
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
