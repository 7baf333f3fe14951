//! Carries out a run: does what the state machine says, records what happened, and tells it.
//!
//! Decides nothing. An event is durable before anything acts on it; a panic in one host's work is that host's loss.
//!
//! ```text
//! Run::handle ─> Task ─> record the intent ─> spawn: connect, start, follow, ack ─> Input ─> Run::handle
//! ```

use crate::fleet::Fleet;
use crate::link::{self, Exchange, Parts};
use crate::observe::job_events;
use crate::output::{Collected, CommandHandler, Output};
use crate::store::{LEASE_HEARTBEAT_MS, LEASE_TTL_MS, Lease, Store, StoreError};
use crate::transport::{Session, Target, TransportError};
use crate::view::progress::Progress;
use crate::{SystemIds, now, outcomes};
use dashmap::DashMap;
use holdfast_agent::program::{self, AckRequest, FollowRequest, Part, StartRequest};
use holdfast_agent::reply::{JobState as HostJobState, Record, Refusal};
use holdfast_inventory::HostName;
use holdfast_plan::change::{Action, HostPlan};
use holdfast_plan::content::Content;
use holdfast_plan::event::{Event, Intent};
use holdfast_plan::ids::{AttemptId, MachineId, PlanId, RunId};
use holdfast_plan::job::JobBody;
use holdfast_plan::observation::{JobReport, JobState};
use holdfast_plan::outcome::{FailureKind, Outcome};
use holdfast_plan::report::Report;
use holdfast_plan::run::{Input, Run, RunSpec, Task};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How long one exchange that follows a job may last before it is begun anew. Steps have their own timeouts on the
/// host; this only bounds a connection that looks alive and says nothing.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(6 * 3600);
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
    });
    let mut run = Run::new(spec, Box::new(SystemIds));
    let mut queue: VecDeque<Task> = run.handle(Input::Begin).into();
    let mut work: JoinSet<()> = JoinSet::new();
    let mut owners: HashMap<tokio::task::Id, (HostName, AttemptId)> = HashMap::new();
    let mut interrupts = 0u32;
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
            _ = tokio::signal::ctrl_c() => {
                interrupts += 1;
                shared.execution.progress.print(if interrupts == 1 {
                    "Interrupted: no further host is started; waiting for those under way. Once more stops waiting (their jobs go on)."
                } else {
                    "Stopped waiting. The next command asks the hosts how their jobs ended."
                });
                Some(if interrupts == 1 { Input::Cancel } else { Input::Abandon })
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
        if outcome.is_bad() {
            let text = crate::view::sanitize::one_line(&outcome.message());
            self.execution.progress.print(&format!("{host}: {text}"));
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

    async fn session(&self, host: &HostName) -> Result<Box<dyn Session>, TransportError> {
        match self.sessions.remove(host) {
            Some((_, session)) => Ok(unlocked(session)),
            None => self.execution.fleet.open(&self.work(host).target).await,
        }
    }

    async fn start(self: Arc<Self>, host: HostName, attempt: AttemptId) {
        let Assignment::Job(job) = &self.work(&host).assignment else {
            return;
        };
        let mut session = match self.session(&host).await {
            Ok(session) => session,
            Err(error) => {
                let kind = outcomes::unreachable_kind(&error);
                let detail = format!("{error}; {}", error.hint());
                return self
                    .say(Input::NotSent {
                        host,
                        attempt,
                        kind,
                        detail,
                    })
                    .await;
            }
        };
        let nonce = link::nonce();
        let contents: Vec<Content> = job.parts.iter().map(|(_, bytes)| Content::of(bytes)).collect();
        let parts: Vec<Part<'_>> = contents
            .iter()
            .map(|content| Part {
                sha256: &content.sha256,
                crc: content.crc,
                bytes: content.bytes,
            })
            .collect();
        let (step, blobs) = parts.split_last().expect("the step file is always a part");
        let ack: Vec<&str> = job.ack.iter().map(AttemptId::as_str).collect();
        let program = program::start(
            &nonce,
            &StartRequest {
                state_dir: self.work(&host).target.state_dir.as_deref(),
                attempt: attempt.as_str(),
                epoch: job.epoch,
                machine: job.plan.machine.as_ref().map(MachineId::as_str),
                machine_new: job.machine.as_str(),
                ack: &ack,
                blobs,
                step: *step,
            },
        );
        let mut watch = self.watch(&host, &attempt);
        let exchange = link::exchange(
            session.as_mut(),
            &nonce,
            program,
            job.parts.clone(),
            FOLLOW_TIMEOUT,
            &mut watch,
        )
        .await;
        self.followed(host, attempt, session, exchange).await;
    }

    async fn attach(self: Arc<Self>, host: HostName, attempt: AttemptId) {
        let mut session = match self.session(&host).await {
            Ok(session) => session,
            Err(error) => {
                return self
                    .say(Input::Lost {
                        host,
                        attempt,
                        why: error.to_string(),
                    })
                    .await;
            }
        };
        let nonce = link::nonce();
        let request = FollowRequest {
            state_dir: self.work(&host).target.state_dir.as_deref(),
            attempt: attempt.as_str(),
        };
        let program = program::follow(&nonce, &request);
        let mut watch = self.watch(&host, &attempt);
        let exchange = link::exchange(
            session.as_mut(),
            &nonce,
            program,
            Vec::new(),
            FOLLOW_TIMEOUT,
            &mut watch,
        )
        .await;
        self.followed(host, attempt, session, exchange).await;
    }

    /// Shows progress, and tells as soon as the job is known to run.
    fn watch(&self, host: &HostName, attempt: &AttemptId) -> impl FnMut(&Record, &link::Reply) + Send + use<> {
        let names: BTreeMap<u32, String> = match &self.work(host).assignment {
            Assignment::Job(job) => job
                .body
                .steps
                .iter()
                .map(|step| (step.index, step.address.to_string()))
                .collect(),
            Assignment::Command | Assignment::Collect => BTreeMap::new(),
        };
        let (inputs, progress) = (self.inputs.clone(), Arc::clone(&self.execution.progress));
        let (host, attempt, mut told) = (host.clone(), attempt.clone(), false);
        move |record, _| {
            let runs = matches!(
                record,
                Record::Begin { .. }
                    | Record::Job {
                        state: HostJobState::Running,
                        ..
                    }
            );
            if runs && !told {
                // A full queue drops it: the end of the job says as much.
                told = inputs
                    .try_send(Input::Started {
                        host: host.clone(),
                        attempt: attempt.clone(),
                    })
                    .is_ok();
            }
            if let Record::Begin { index, .. } = record {
                progress.say(&host, names.get(index).map_or("working", String::as_str));
            }
        }
    }

    /// Translates what came of a start or a follow.
    async fn followed(&self, host: HostName, attempt: AttemptId, session: Box<dyn Session>, exchange: Exchange) {
        let Exchange {
            reply, spoke, failed, ..
        } = exchange;
        if matches!(failed, Some(link::LinkError::Transport(_))) {
            self.execution.fleet.close(session).await;
        } else {
            self.sessions.insert(host.clone(), Mutex::new(session));
        }
        if let Some((refusal, detail)) = reply.refused
            && refusal != Refusal::Exists
        {
            let kind = outcomes::refusal_kind(refusal);
            return self
                .say(Input::Refused {
                    host,
                    attempt,
                    kind,
                    detail,
                })
                .await;
        }
        let job = reply.jobs.get(attempt.as_str());
        let report = job.and_then(|job| job.report(attempt.as_str()));
        match (report, failed) {
            (Some(report), _) if report.state != JobState::Running => self.say(Input::JobOver { host, report }).await,
            // The host answered in full and knows no such job: it never began.
            (None, None) => {
                let report = JobReport {
                    attempt,
                    state: JobState::Untransferred,
                    end: None,
                    steps: Vec::new(),
                };
                self.say(Input::JobOver { host, report }).await;
            }
            (_, Some(error)) if !spoke => {
                let (kind, detail) = outcomes::not_sent(&error);
                self.say(Input::NotSent {
                    host,
                    attempt,
                    kind,
                    detail,
                })
                .await;
            }
            (_, error) => {
                let why = error.map_or_else(|| "the host stopped telling".to_owned(), |error| error.to_string());
                self.say(Input::Lost { host, attempt, why }).await;
            }
        }
    }

    async fn acknowledge(self: Arc<Self>, host: HostName, attempt: AttemptId) {
        if let Ok(mut session) = self.session(&host).await {
            let nonce = link::nonce();
            let epoch = match &self.work(&host).assignment {
                Assignment::Job(job) => job.epoch,
                Assignment::Command | Assignment::Collect => 0,
            };
            let request = AckRequest {
                state_dir: self.work(&host).target.state_dir.as_deref(),
                epoch,
                attempts: &[attempt.as_str()],
            };
            let program = program::ack(&nonce, &request);
            let exchange = link::exchange(
                session.as_mut(),
                &nonce,
                program,
                Vec::new(),
                ACK_TIMEOUT,
                &mut |_, _| {},
            )
            .await;
            if exchange.reply.acked.iter().any(|acked| acked == attempt.as_str()) {
                // Not recorded is not lost: the next start asks the host to remove it again.
                let _ = self.execution.store.mark_acked(std::slice::from_ref(&attempt)).await;
            }
            self.execution.fleet.close(session).await;
        }
        self.say(Input::Acknowledged { host, attempt }).await;
    }

    async fn exec(self: Arc<Self>, host: HostName, attempt: AttemptId) {
        let (Some(command), Some(output)) = (&self.execution.command, &self.execution.output) else {
            return;
        };
        let mut session = match self.session(&host).await {
            Ok(session) => session,
            Err(error) => {
                let kind = outcomes::unreachable_kind(&error);
                let detail = format!("{error}; {}", error.hint());
                return self
                    .say(Input::NotSent {
                        host,
                        attempt,
                        kind,
                        detail,
                    })
                    .await;
            }
        };
        let nonce = link::nonce();
        let program = program::run(&nonce, &command.command);
        let mut handler = CommandHandler::new(&host, &nonce, Arc::clone(output));
        let deadline = tokio::time::Instant::now() + command.timeout;
        let ended = session.run(program, &mut handler, deadline).await;
        let began = handler.began();
        let collected = handler.finish();
        let input = match ended {
            Ok(end) if began || end.exit == Some(0) => {
                let outcome = match (end.exit, end.signal) {
                    (Some(0), _) => Outcome::Ok,
                    (Some(code), _) => Outcome::Failed {
                        kind: FailureKind::Exit { code },
                        address: None,
                    },
                    (None, name) => Outcome::Failed {
                        kind: FailureKind::Signal {
                            name: name.unwrap_or_else(|| "unknown".to_owned()),
                        },
                        address: None,
                    },
                };
                output.over(&host, &outcome, collected);
                Input::CommandOver {
                    host: host.clone(),
                    attempt,
                    outcome,
                }
            }
            Ok(_) => Input::NotSent {
                host: host.clone(),
                attempt,
                kind: holdfast_plan::outcome::UnreachableKind::Protocol,
                detail: "the host ended the session before the command began".to_owned(),
            },
            Err(TransportError::Deadline { .. }) => {
                let outcome = Outcome::TimedOut {
                    address: None,
                    survivors: Vec::new(),
                };
                output.over(&host, &outcome, collected);
                Input::CommandOver {
                    host: host.clone(),
                    attempt,
                    outcome,
                }
            }
            Err(error)
                if !began && error.unreachable()
                    || matches!(
                        error,
                        TransportError::SudoRefused { .. } | TransportError::ProgramMissing { .. }
                    ) =>
            {
                Input::NotSent {
                    host: host.clone(),
                    attempt,
                    kind: outcomes::unreachable_kind(&error),
                    detail: format!("{error}; {}", error.hint()),
                }
            }
            Err(error) => {
                let outcome = Outcome::Unknown { why: error.to_string() };
                output.over(&host, &outcome, collected);
                Input::Lost {
                    host: host.clone(),
                    attempt,
                    why: error.to_string(),
                }
            }
        };
        self.execution.fleet.close(session).await;
        self.say(input).await;
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

/// Keeps leases while it lives; drop it when the run is over.
pub struct Heartbeat(tokio::task::JoinHandle<()>);

impl Heartbeat {
    /// Starts to extend the leases.
    pub fn start(store: Store, leases: Vec<Lease>) -> Self {
        Self(tokio::spawn(async move {
            let mut leases = leases;
            loop {
                tokio::time::sleep(Duration::from_millis(LEASE_HEARTBEAT_MS)).await;
                match store.heartbeat(&leases, LEASE_TTL_MS, now()).await {
                    // What is lost stays lost: the host refuses our epoch from then on.
                    Ok(answers) => leases = answers.into_iter().filter_map(Result::ok).collect(),
                    Err(error) => tracing::warn!("can't extend the leases: {error}"),
                }
            }
        }))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a command left on a host, for views.
pub type CommandOutput = Collected;
