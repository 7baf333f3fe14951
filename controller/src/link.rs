//! Speaks the host protocol over a session: sends a program, decodes the reply, folds its records.
//!
//! Knows the protocol and no plan; what a reply means is decided by the core.

use crate::transport::{Handler, Payload, Reaction, Session, Stream, TransportError};
use bytes::Bytes;
use holdfast_agent::program::{self, Nonce};
use holdfast_agent::reply::{self, Decoder, Record, Refusal, ReplyError};
use holdfast_plan::ids::AttemptId;
use holdfast_plan::observation::{Attributes, Facts, JobEnd, JobReport, JobState, StepReport, StepStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long one observe may take. Probes are short; user checks are the exception, and a minute each is generous.
pub const OBSERVE_TIMEOUT: Duration = Duration::from_secs(300);

/// Bytes of stderr kept of a program that did not answer: enough for sudo's or a shell's complaint.
const COMPLAINT_BYTES_MAX: usize = 4 * 1024;

/// Why a request had no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The carrier failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The host broke the protocol.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// The reply ended before `done`.
    #[error("the reply of the host was cut{}", said(.0))]
    Cut(String),
}

fn said(complaint: &str) -> String {
    if complaint.is_empty() {
        String::new()
    } else {
        format!("; it said: {complaint}")
    }
}

/// Makes a fresh nonce.
pub fn nonce() -> Nonce {
    Nonce::new(crate::random_bytes())
}

/// Folds the records of one reply.
#[derive(Debug, Default)]
pub struct Reply {
    /// What the host says of itself.
    pub facts: Facts,
    /// Its machine id.
    pub machine: Option<String>,
    /// The highest epoch it has seen.
    pub epoch: u64,
    /// Processes it made meanwhile.
    pub forks: Option<u64>,
    /// Attributes by number of the resource.
    pub attributes: BTreeMap<u32, Attributes>,
    /// Old texts by number of the resource.
    pub texts: BTreeMap<u32, Vec<u8>>,
    /// Jobs and how far they came.
    pub jobs: BTreeMap<String, JobFold>,
    /// Why the request was refused.
    pub refused: Option<(Refusal, String)>,
    /// Jobs whose folder is gone.
    pub acked: Vec<String>,
    /// What was decided of the guarded change that was asked about.
    pub decided: Option<reply::Decision>,
}

/// One job, folded from its journal lines.
#[derive(Debug, Clone, Default)]
pub struct JobFold {
    state: Option<reply::JobState>,
    end: Option<JobEnd>,
    steps: BTreeMap<u32, StepReport>,
}

impl JobFold {
    /// Makes the report; `None` if the host knows no such job.
    pub fn report(&self, attempt: &str) -> Option<JobReport> {
        let state = match self.state {
            _ if self.end.is_some() => JobState::Done,
            Some(reply::JobState::Done) => JobState::Done,
            Some(reply::JobState::Interrupted) => JobState::Interrupted,
            Some(reply::JobState::Unstarted) => JobState::Unstarted,
            Some(reply::JobState::Untransferred) => JobState::Untransferred,
            Some(reply::JobState::Gone) => return None,
            Some(reply::JobState::Running) | None => JobState::Running,
        };
        Some(JobReport {
            attempt: AttemptId(attempt.to_owned()),
            state,
            end: self.end.clone(),
            steps: self.steps.values().cloned().collect(),
        })
    }

    fn step(&mut self, index: u32) -> &mut StepReport {
        self.steps.entry(index).or_insert_with(|| StepReport {
            index,
            status: StepStatus::Begun,
            changing: false,
            before: Attributes::default(),
            after: Attributes::default(),
            before_digest: None,
            output: Vec::new(),
            seconds: 0,
        })
    }
}

impl Reply {
    /// Takes one record.
    pub fn take(&mut self, record: Record) {
        match record {
            Record::Fact { key, value } => {
                self.facts.0.insert(key, value);
            }
            Record::Machine { id } => self.machine = Some(id),
            Record::Epoch { epoch } => self.epoch = epoch,
            Record::Forks { count } => self.forks = Some(count),
            Record::Attr { id, key, value } => self.attributes.entry(id).or_default().0.push((key, value)),
            Record::Text { id, bytes } => {
                self.texts.insert(id, bytes);
            }
            Record::Job { attempt, state } => self.jobs.entry(attempt).or_default().state = Some(state),
            Record::Begin { attempt, index } => {
                self.jobs.entry(attempt).or_default().step(index);
            }
            Record::Applying {
                attempt,
                index,
                before_digest,
            } => {
                let step = self.jobs.entry(attempt).or_default().step(index);
                step.changing = true;
                step.before_digest = before_digest;
            }
            Record::StepAttr {
                attempt,
                index,
                when,
                key,
                value,
            } => {
                let step = self.jobs.entry(attempt).or_default().step(index);
                let attributes = match when {
                    reply::When::Before => &mut step.before,
                    reply::When::After => &mut step.after,
                };
                attributes.0.push((key, value));
            }
            Record::Step {
                attempt,
                index,
                status,
                seconds,
                before_digest,
                detail,
            } => {
                let step = self.jobs.entry(attempt).or_default().step(index);
                step.status = step_status(status, detail);
                step.seconds = seconds;
                step.before_digest = before_digest;
            }
            Record::Output { attempt, index, bytes } => {
                self.jobs.entry(attempt).or_default().step(index).output = bytes;
            }
            Record::End { attempt, end, detail } => {
                self.jobs.entry(attempt).or_default().end = Some(match end {
                    reply::JobEnd::Completed => JobEnd::Completed,
                    reply::JobEnd::Stopped => stopped(&detail),
                    reply::JobEnd::Reverted => JobEnd::Reverted,
                    reply::JobEnd::Stale => JobEnd::Stale { what: detail },
                    reply::JobEnd::Locked => JobEnd::Locked { by: detail },
                });
            }
            Record::Refused { kind, detail } => self.refused = Some((kind, detail)),
            Record::Acked { attempt } => self.acked.push(attempt),
            Record::Decided { decision, .. } => self.decided = Some(decision),
            // What is not understood says nothing: a resource without its attributes, a step that only began.
            Record::Odd { .. } | Record::Guarded { .. } | Record::Ready | Record::Have { .. } | Record::Done => {}
        }
    }

    /// Reports every job on the host.
    pub fn job_reports(&self) -> Vec<JobReport> {
        self.jobs
            .iter()
            .filter_map(|(attempt, job)| job.report(attempt))
            .collect()
    }
}

/// Reads `STEP WHY`.
fn stopped(detail: &str) -> JobEnd {
    let (step, why) = detail.split_once(' ').unwrap_or((detail, ""));
    JobEnd::Stopped {
        step: step.parse().unwrap_or(0),
        why: why.to_owned(),
    }
}

/// Reads `failed: WHAT; WHAT DID NOT COME BACK`, of which each part may be missing.
fn reverted(detail: &str) -> StepStatus {
    let Some(rest) = detail.strip_prefix("failed: ") else {
        return StepStatus::Reverted {
            why: detail.to_owned(),
            cause: None,
        };
    };
    let (cause, why) = match rest
        .rfind("; did not come back: ")
        .or_else(|| rest.rfind("; it has no undo"))
    {
        Some(at) => (&rest[..at], &rest[at + 2..]),
        None => (rest, ""),
    };
    StepStatus::Reverted {
        why: why.to_owned(),
        cause: Some(cause.to_owned()),
    }
}

fn step_status(status: reply::StepStatus, detail: String) -> StepStatus {
    let list = |text: &str| {
        text.split("; ")
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    match status {
        reply::StepStatus::Unchanged => StepStatus::Unchanged,
        reply::StepStatus::Changed => StepStatus::Changed,
        reply::StepStatus::Left => StepStatus::Left { what: detail },
        // A code that is not a number is a host that breaks the protocol; the step failed all the same.
        reply::StepStatus::Failed => StepStatus::Failed {
            code: detail.trim().parse().unwrap_or(-1),
        },
        reply::StepStatus::NotConverged => StepStatus::NotConverged { missing: list(&detail) },
        reply::StepStatus::TimedOut => StepStatus::TimedOut {
            survivors: list(&detail),
        },
        reply::StepStatus::NotReady => StepStatus::NotReady,
        reply::StepStatus::NotCaptured => StepStatus::NotCaptured { why: detail },
        reply::StepStatus::Reverted => reverted(&detail),
        reply::StepStatus::BeforeLost => StepStatus::BeforeLost { why: detail },
    }
}

/// Blobs for a start: the parts in the order of the request, the step file last.
pub type Parts = Vec<(String, Arc<[u8]>)>;

/// Decodes a reply while it comes in.
struct ReplyHandler<'a> {
    decoder: Decoder,
    reply: Reply,
    parts: Parts,
    have: BTreeSet<String>,
    complaint: Vec<u8>,
    spoke: bool,
    sent: bool,
    error: Option<ReplyError>,
    watch: &'a mut (dyn FnMut(&Record, &Reply) + Send),
}

impl Handler for ReplyHandler<'_> {
    fn chunk(&mut self, stream: Stream, bytes: &[u8]) -> Reaction {
        if stream == Stream::Stderr {
            let room = COMPLAINT_BYTES_MAX.saturating_sub(self.complaint.len());
            self.complaint.extend_from_slice(&bytes[..bytes.len().min(room)]);
            return Reaction::Continue;
        }
        let mut reaction = Reaction::Continue;
        match self.decoder.push(bytes) {
            Ok(records) => {
                for record in records {
                    self.spoke = true;
                    match &record {
                        Record::Have { sha256 } => {
                            self.have.insert(sha256.clone());
                        }
                        // A host that asks twice gets nothing the second time.
                        Record::Ready if !self.sent => {
                            self.sent = true;
                            reaction = Reaction::Send(payload(&self.parts, &self.have));
                        }
                        _ => {}
                    }
                    (self.watch)(&record, &self.reply);
                    self.reply.take(record);
                }
            }
            Err(error) => self.error = Some(error),
        }
        if self.error.is_some() || self.decoder.failed().is_some() {
            self.error = self.error.take().or_else(|| self.decoder.failed().cloned());
            return Reaction::Stop;
        }
        reaction
    }

    fn answered(&self) -> bool {
        self.spoke
    }
}

/// Joins the parts the host lacks, each padded; the last (the step file) always goes.
fn payload(parts: &Parts, have: &BTreeSet<String>) -> Payload {
    let mut pieces = Vec::new();
    for (place, (sha256, bytes)) in parts.iter().enumerate() {
        if place + 1 < parts.len() && have.contains(sha256) {
            continue;
        }
        pieces.push(Bytes::from_owner(Arc::clone(bytes)));
        pieces.push(Bytes::from_static(program::padding(bytes.len() as u64)));
    }
    Payload(pieces)
}

/// What a request left behind, whether it was answered whole or not.
#[derive(Debug)]
pub struct Exchange {
    /// What was said.
    pub reply: Reply,
    /// Whether the host took the payload or began to answer: from then on something may have happened there.
    pub spoke: bool,
    /// Whether the payload was asked for.
    pub sent: bool,
    /// How the exchange failed, if it did.
    pub failed: Option<LinkError>,
}

/// Runs one request over a session. `watch` sees every record as it comes.
pub async fn exchange(
    session: &mut dyn Session,
    nonce: &Nonce,
    program: Vec<u8>,
    parts: Parts,
    timeout: Duration,
    watch: &mut (dyn FnMut(&Record, &Reply) + Send),
) -> Exchange {
    let mut handler = ReplyHandler {
        decoder: Decoder::new(nonce),
        reply: Reply::default(),
        parts,
        have: BTreeSet::new(),
        complaint: Vec::new(),
        spoke: false,
        sent: false,
        error: None,
        watch,
    };
    let ended = session.run(program, &mut handler, Instant::now() + timeout).await;
    let complaint = crate::view::sanitize::one_line(&String::from_utf8_lossy(&handler.complaint));
    let failed = match (ended, handler.error) {
        (_, Some(error)) => Some(LinkError::Reply(error)),
        (Err(error), None) => Some(LinkError::Transport(error)),
        (Ok(_), None) if handler.decoder.is_done() => None,
        (Ok(_), None) => Some(LinkError::Cut(complaint.trim().to_owned())),
    };
    Exchange {
        reply: handler.reply,
        spoke: handler.spoke,
        sent: handler.sent,
        failed,
    }
}
