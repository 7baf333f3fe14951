//! The work on one host: connect, send, follow, acknowledge; and what came of it as an input for the state machine.
//!
//! Records nothing: that is the loop's duty, so that the order of the record is the order of the decisions.

use super::confirm::confirm;
use super::{Assignment, JobAssignment, Shared, unlocked};
use crate::link::{self, Exchange, Limits};
use crate::outcomes;
use crate::output::CommandHandler;
use crate::transport::{ExecEnd, Patience, SLOWEST_BYTES_S, Session, Silence, TransportError, Via};
use holdfast_agent::program::{self, FollowRequest, Part, StartRequest};
use holdfast_agent::reply::{JobState as HostJobState, Record, Refusal};
use holdfast_inventory::HostName;
use holdfast_plan::content::Content;
use holdfast_plan::ids::{AttemptId, MachineId};
use holdfast_plan::job::{TimeLimit, stale_in_words};
use holdfast_plan::observation::{JobEnd, JobReport, JobState};
use holdfast_plan::outcome::{FailureKind, Outcome, UnreachableKind, Unreached};
use holdfast_plan::run::Input;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

impl Shared {
    /// Opens the session over which something is to be begun; none any more once a person has stopped the run.
    async fn session_to_begin(&self, host: &HostName) -> Result<Box<dyn Session>, TransportError> {
        let cancel = self.execution.fleet.cancel();
        let session = tokio::select! {
            biased;
            () = cancel.stopped() => return Err(TransportError::Interrupted),
            session = self.session(host) => session?,
        };
        if cancel.is_stopped() {
            self.execution.fleet.close(session).await;
            return Err(TransportError::Interrupted);
        }
        Ok(session)
    }

    async fn session(&self, host: &HostName) -> Result<Box<dyn Session>, TransportError> {
        match self.sessions.remove(host) {
            Some((_, session)) => Ok(unlocked(session)),
            None => self.execution.fleet.open(&self.work(host).target).await,
        }
    }

    pub(super) async fn start(self: Arc<Self>, host: HostName, attempt: AttemptId) {
        let Assignment::Job(job) = &self.work(&host).assignment else {
            let why = nothing_to_send();
            return self.say(Input::NotSent { host, attempt, why }).await;
        };
        let mut session = match self.session_to_begin(&host).await {
            Ok(session) => session,
            Err(TransportError::Interrupted) => return self.say(Input::Withdrawn { host, attempt }).await,
            Err(error) => {
                let why = outcomes::unreached(&error);
                return self.say(Input::NotSent { host, attempt, why }).await;
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
        let void = self.void_first(&host, job);
        let voids: Vec<&str> = void.iter().map(AttemptId::as_str).collect();
        let program = program::start(
            &nonce,
            &StartRequest {
                state_dir: self.work(&host).target.state_dir.as_deref(),
                attempt: attempt.as_str(),
                epoch: job.epoch,
                controller: self.execution.store.chain(),
                machine: job.plan.machine.as_ref().map(MachineId::as_str),
                machine_new: job.machine.as_str(),
                ack: &ack,
                void: &voids,
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
            self.limits_of_start(&host, job),
            &mut watch,
        )
        .await;
        let acked = super::clear::Cleared::of(&exchange.reply, &void);
        if let Err(error) = acked.record(&self.execution.store, &job.machine).await {
            // Not recorded is not lost: the next start asks the host again.
            tracing::warn!("can't record which jobs {host} removed: {error}");
        }
        self.followed(host, attempt, session, exchange, Asked::ToBegin).await;
    }

    /// How long the job may take from now on: to be sent, and to run as its plan says.
    fn limits_of_start(&self, host: &HostName, job: &JobAssignment) -> Limits {
        let limit = TimeLimit::of(&job.plan);
        let bytes: usize = job.parts.iter().map(|(_, bytes)| bytes.len()).sum();
        let sending = Duration::from_secs(bytes as u64 / SLOWEST_BYTES_S);
        let whole = sending.saturating_add(Duration::from_secs(limit.whole_s));
        self.due.insert(host.clone(), soon(whole));
        // Being sent tells nothing either.
        Limits::of_job(whole, sending.saturating_add(Duration::from_secs(limit.quiet_s)))
    }

    /// How long the job may still take; `None`: it is over its time.
    fn limits_of_rest(&self, host: &HostName) -> Option<Limits> {
        let limit = match &self.work(host).assignment {
            Assignment::Job(job) => TimeLimit::of(&job.plan),
            Assignment::Collect(limit) => *limit,
            Assignment::Command => TimeLimit::OF_UNKNOWN,
        };
        let due = *self
            .due
            .entry(host.clone())
            .or_insert_with(|| soon(Duration::from_secs(limit.whole_s)));
        let rest = due
            .checked_duration_since(Instant::now())
            .filter(|rest| !rest.is_zero())?;
        Some(Limits::of_job(rest, Duration::from_secs(limit.quiet_s)))
    }

    /// The jobs that are not known to have begun and go before a start: those of earlier runs, and this run's own tries.
    fn void_first(&self, host: &HostName, job: &JobAssignment) -> Vec<AttemptId> {
        let mut void = job.void.clone();
        if let Some(ours) = self.voided.get(host) {
            void.extend(ours.iter().cloned());
        }
        void
    }

    pub(super) async fn attach(self: Arc<Self>, host: HostName, attempt: AttemptId) {
        let Some(limits) = self.limits_of_rest(&host) else {
            let why = "it takes longer than its plan allows".to_owned();
            return self.say(Input::Overdue { host, attempt, why }).await;
        };
        let mut session = match self.session(&host).await {
            Ok(session) => session,
            Err(error) => {
                let why = error.to_string();
                let silent = outcomes::unreachable_kind(&error) == UnreachableKind::NoAnswer;
                return self.say(gone(host, attempt, why, silent)).await;
            }
        };
        let nonce = link::nonce();
        let request = FollowRequest {
            state_dir: self.work(&host).target.state_dir.as_deref(),
            attempt: attempt.as_str(),
        };
        let program = program::follow(&nonce, &request);
        let mut watch = self.watch(&host, &attempt);
        let exchange = link::exchange(session.as_mut(), &nonce, program, Vec::new(), limits, &mut watch).await;
        self.followed(host, attempt, session, exchange, Asked::ToTell).await;
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
            Assignment::Command | Assignment::Collect(_) => BTreeMap::new(),
        };
        let (inputs, progress) = (self.inputs.clone(), Arc::clone(&self.execution.progress));
        let (fleet, target) = (self.execution.fleet.clone(), self.work(host).target.clone());
        let (host, attempt, mut told) = (host.clone(), attempt.clone(), false);
        let mut confirming = false;
        move |record, _| {
            // Once a job, and no longer than we ourselves said: the host says these words.
            if let Record::Guarded { attempt: guarded, .. } = record
                && *guarded == attempt.0
                && !confirming
            {
                confirming = true;
                progress.say(&host, "confirming over a new connection");
                tokio::spawn(confirm(fleet.clone(), target.clone(), guarded.clone()));
            }
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
    async fn followed(
        &self,
        host: HostName,
        attempt: AttemptId,
        session: Box<dyn Session>,
        exchange: Exchange,
        asked: Asked,
    ) {
        let Exchange {
            reply, spoke, failed, ..
        } = exchange;
        if matches!(
            failed,
            Some(link::LinkError::Transport(_) | link::LinkError::Stalled(_))
        ) {
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
            (Some(mut report), _) if report.state != JobState::Running => {
                if let (Some(JobEnd::Stale { what }), Assignment::Job(job)) =
                    (&mut report.end, &self.work(&host).assignment)
                {
                    *what = stale_in_words(&job.plan, what);
                }
                self.say(Input::JobOver { host, report }).await;
            }
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
            (_, Some(error)) if !spoke && (asked == Asked::ToBegin || !error.is_silence()) => {
                let why = outcomes::not_sent(&error);
                self.say(Input::NotSent { host, attempt, why }).await;
            }
            (_, Some(error)) if error.is_overdue() => {
                let why = error.to_string();
                self.say(Input::Overdue { host, attempt, why }).await;
            }
            (_, error) => {
                let silent = error.as_ref().is_some_and(link::LinkError::is_silence);
                let why = error.map_or_else(|| "the host stopped telling".to_owned(), |error| error.to_string());
                self.say(gone(host, attempt, why, silent)).await;
            }
        }
    }

    /// Lets the host remove a job. Only under the lease that it was sent with: a job of an earlier run, which was only
    /// followed, is removed by the start that comes next.
    pub(super) async fn acknowledge(self: Arc<Self>, host: HostName, attempt: AttemptId) {
        if let Assignment::Job(job) = &self.work(&host).assignment
            && let Ok(session) = self.session(&host).await
        {
            let leftover = super::Leftover {
                target: self.work(&host).target.clone(),
                machine: job.machine.clone(),
                epoch: job.epoch,
                ack: vec![attempt.clone()],
                void: Vec::new(),
            };
            let (session, _) = super::clear::take_off(&self.execution.store, session, &leftover).await;
            self.execution.fleet.close(session).await;
        }
        self.say(Input::Acknowledged { host, attempt }).await;
    }

    pub(super) async fn exec(self: Arc<Self>, host: HostName, attempt: AttemptId) {
        let (Some(command), Some(output)) = (&self.execution.command, &self.execution.output) else {
            let why = nothing_to_send();
            return self.say(Input::NotSent { host, attempt, why }).await;
        };
        let mut session = match self.session_to_begin(&host).await {
            Ok(session) => session,
            Err(TransportError::Interrupted) => return self.say(Input::Withdrawn { host, attempt }).await,
            Err(error) => {
                let why = outcomes::unreached(&error);
                return self.say(Input::NotSent { host, attempt, why }).await;
            }
        };
        let nonce = link::nonce();
        let program = program::run(&nonce, &command.command, command.input.is_some());
        let mut handler = CommandHandler::new(&host, &nonce, command.input.clone(), Arc::clone(output));
        // A command may be silent for as long as it likes, but that it begins is told at once.
        let patience = Patience::of(command.timeout).silent(Silence::OnceItAnswered(link::SILENCE));
        let ended = tokio::select! {
            ended = session.run(program, &mut handler, patience) => Some(ended),
            () = self.abandoned.cancelled() => None,
        };
        let (began, said_before) = (handler.began(), handler.said_before());
        let collected = handler.finish();
        let Some(ended) = ended else {
            // What came until now is kept, and there is no time for farewells.
            let why = "it was left running".to_owned();
            output.over(&host, &Outcome::Unknown { why: why.clone() }, collected);
            return self.say(Input::Lost { host, attempt, why }).await;
        };
        let input = match ended {
            Ok(end) if began => {
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
            Ok(end) => Input::NotSent {
                host: host.clone(),
                attempt,
                why: Unreached::new(UnreachableKind::Protocol, never_began(&end, &said_before)),
            },
            Err(TransportError::Deadline { .. }) => {
                // A connection takes no process with it, except that of this machine itself, which its carrier ends.
                let goes_on = self.work(&host).target.via != Via::Local;
                let outcome = Outcome::TimedOut {
                    address: None,
                    survivors: goes_on.then(|| "the command".to_owned()).into_iter().collect(),
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
                    why: outcomes::unreached(&error),
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

/// What a host was asked over a session that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// To begin a job.
    ToBegin,
    /// To tell of a job.
    ToTell,
}

/// The end of a wait; one that can't be told as a moment is far enough away.
fn soon(wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(86_400 * 365);
    Instant::now() + wait.min(FAR)
}

/// Tells that a host is no longer heard: its connection ended, or it is open and silent.
fn gone(host: HostName, attempt: AttemptId, why: String, silent: bool) -> Input {
    match silent {
        true => Input::Silent { host, attempt, why },
        false => Input::Lost { host, attempt, why },
    }
}

/// The run asks for something that the host's assignment does not hold: nothing is sent, and the host ends with it.
pub(super) fn nothing_to_send() -> Unreached {
    Unreached::new(UnreachableKind::Other, "an internal error: there is nothing to send")
}

/// Says what happened instead of the command: a forced command, or an account without a shell, answers for it.
fn never_began(end: &ExecEnd, said: &str) -> String {
    let how = match (end.exit, &end.signal) {
        (Some(code), _) => format!(" (code {code})"),
        (None, Some(signal)) => format!(" (signal {signal})"),
        (None, None) => String::new(),
    };
    let words = if said.is_empty() {
        String::new()
    } else {
        format!("; it said: {said}")
    };
    format!("the host ended the session{how} before the command began{words}")
}
