//! The work on one host: connect, send, follow, acknowledge; and what came of it as an input for the state machine.
//!
//! Records nothing: that is the loop's duty, so that the order of the record is the order of the decisions.

use super::{ACK_TIMEOUT, Assignment, FOLLOW_TIMEOUT, Shared, unlocked};
use crate::link::{self, Exchange};
use crate::outcomes;
use crate::output::CommandHandler;
use crate::transport::{Session, TransportError};
use holdfast_agent::program::{self, AckRequest, FollowRequest, Part, StartRequest};
use holdfast_agent::reply::{JobState as HostJobState, Record, Refusal};
use holdfast_inventory::HostName;
use holdfast_plan::content::Content;
use holdfast_plan::ids::{AttemptId, MachineId};
use holdfast_plan::job::stale_in_words;
use holdfast_plan::observation::{JobEnd, JobReport, JobState};
use holdfast_plan::outcome::{FailureKind, Outcome, UnreachableKind, Unreached};
use holdfast_plan::run::Input;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

impl Shared {
    async fn session(&self, host: &HostName) -> Result<Box<dyn Session>, TransportError> {
        match self.sessions.remove(host) {
            Some((_, session)) => Ok(unlocked(session)),
            None => self.execution.fleet.open(&self.work(host).target).await,
        }
    }

    pub(super) async fn start(self: Arc<Self>, host: HostName, attempt: AttemptId) {
        let Assignment::Job(job) = &self.work(&host).assignment else {
            return;
        };
        let mut session = match self.session(&host).await {
            Ok(session) => session,
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

    pub(super) async fn attach(self: Arc<Self>, host: HostName, attempt: AttemptId) {
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
            (_, Some(error)) if !spoke => {
                let why = outcomes::not_sent(&error);
                self.say(Input::NotSent { host, attempt, why }).await;
            }
            (_, error) => {
                let why = error.map_or_else(|| "the host stopped telling".to_owned(), |error| error.to_string());
                self.say(Input::Lost { host, attempt, why }).await;
            }
        }
    }

    pub(super) async fn acknowledge(self: Arc<Self>, host: HostName, attempt: AttemptId) {
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

    pub(super) async fn exec(self: Arc<Self>, host: HostName, attempt: AttemptId) {
        let (Some(command), Some(output)) = (&self.execution.command, &self.execution.output) else {
            return;
        };
        let mut session = match self.session(&host).await {
            Ok(session) => session,
            Err(error) => {
                let why = outcomes::unreached(&error);
                return self.say(Input::NotSent { host, attempt, why }).await;
            }
        };
        let nonce = link::nonce();
        let program = program::run(&nonce, &command.command, command.input.is_some());
        let mut handler = CommandHandler::new(&host, &nonce, command.input.clone(), Arc::clone(output));
        let deadline = tokio::time::Instant::now() + command.timeout;
        let mut abandoned = self.abandoned.subscribe();
        let ended = tokio::select! {
            ended = session.run(program, &mut handler, deadline) => Some(ended),
            _ = abandoned.wait_for(|abandoned| *abandoned) => None,
        };
        let began = handler.began();
        let collected = handler.finish();
        let Some(ended) = ended else {
            // What came until now is kept, and there is no time for farewells.
            let why = "it was left running".to_owned();
            output.over(&host, &Outcome::Unknown { why: why.clone() }, collected);
            return self.say(Input::Lost { host, attempt, why }).await;
        };
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
                why: Unreached::new(
                    UnreachableKind::Protocol,
                    "the host ended the session before the command began",
                ),
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
