//! Speaks the host protocol over a session: sends a program, decodes the reply, folds its records. Silence has an end.
//!
//! Knows the protocol and no plan; what a reply means is decided by the core.

use crate::transport::{Handler, Patience, Payload, Reaction, Session, Silence, Stream, TransportError};
use bytes::Bytes;
use holdfast_agent::program::{self, Nonce};
use holdfast_agent::reply::{self, Decoder, Record, Refusal, ReplyError};
use holdfast_plan::ids::AttemptId;
use holdfast_plan::observation::{Attributes, Facts, JobEnd, JobReport, JobState, StepReport, StepStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long one exchange may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub whole: Duration,
    /// Without a byte, in either direction.
    pub silence: Duration,
    /// Without a record: a host may say that it is there for ever, and nothing more.
    pub stall: Duration,
}

/// Without a byte from a host that follows a job, or does one small thing: six of the empty lines that a follower sends
/// every ten seconds, and what keepalives need to find a dead connection.
pub const SILENCE: Duration = Duration::from_secs(60);

impl Limits {
    /// An observe: 300 s in all, since the host itself stops what takes 200; and of silence what one check may take (60 s,
    /// and five until it is killed), for before each question an empty line comes.
    pub const OBSERVE: Self = Self {
        whole: Duration::from_secs(300),
        silence: Duration::from_secs(75),
        stall: Duration::from_secs(300),
    };

    /// Something that takes the host a moment, such as removing a folder.
    pub const MOMENT: Self = Self {
        whole: SILENCE,
        silence: SILENCE,
        stall: SILENCE,
    };

    /// A job: as long as its plan allows.
    pub fn of_job(whole: Duration, stall: Duration) -> Self {
        let silence = SILENCE;
        Self { whole, silence, stall }
    }
}

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
    /// The host went on talking, and told nothing.
    #[error("the host told nothing new for {} s", .0.as_secs())]
    Stalled(Duration),
}

impl LinkError {
    /// Tells whether nothing came for too long over a connection that is open.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Transport(TransportError::Silent { .. }))
    }

    /// Tells whether the host took more time than what was asked of it can take.
    pub fn is_overdue(&self) -> bool {
        matches!(
            self,
            Self::Stalled(_) | Self::Transport(TransportError::Deadline { .. })
        )
    }
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
    /// The last job of ours that the host took.
    pub last: Option<String>,
    /// The lives of which it keeps what was there before, with their addresses.
    pub lives: BTreeMap<String, String>,
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
            Record::Last { attempt } => self.last = Some(attempt),
            Record::Life { life, address } => {
                self.lives.insert(life, address);
            }
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
    /// When the last record came.
    told: Instant,
    stall: Duration,
    stalled: bool,
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
                if !records.is_empty() {
                    self.told = Instant::now();
                } else if self.told.elapsed() > self.stall {
                    self.stalled = true;
                    return Reaction::Stop;
                }
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
    limits: Limits,
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
        told: Instant::now(),
        stall: limits.stall,
        stalled: false,
        watch,
    };
    let patience = Patience::of(limits.whole).silent(Silence::AtMost(limits.silence));
    let ended = session.run(program, &mut handler, patience).await;
    let complaint = crate::view::sanitize::one_line(&String::from_utf8_lossy(&handler.complaint));
    let failed = match (ended, handler.error) {
        (_, Some(error)) => Some(LinkError::Reply(error)),
        (Err(error), None) => Some(LinkError::Transport(error)),
        (Ok(_), None) if handler.stalled => Some(LinkError::Stalled(limits.stall)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{ExecEnd, ExecStream, Traffic};
    use futures_util::future::BoxFuture;

    /// A host that says its words and then only that it is there.
    struct Babbles(Vec<u8>);

    impl Session for Babbles {
        fn run<'a>(
            &'a mut self,
            _: Vec<u8>,
            handler: &'a mut dyn Handler,
            patience: Patience,
        ) -> BoxFuture<'a, Result<ExecEnd, TransportError>> {
            Box::pin(async move {
                handler.chunk(Stream::Stdout, &self.0);
                while Instant::now() < patience.deadline {
                    if matches!(handler.chunk(Stream::Stdout, b"\n"), Reaction::Stop) {
                        let stopped = true;
                        return Ok(ExecEnd {
                            stopped,
                            ..ExecEnd::default()
                        });
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let after = Duration::ZERO;
                Err(TransportError::Deadline { after })
            })
        }

        fn open_stream<'a>(&'a mut self, _: &'a str) -> BoxFuture<'a, Result<ExecStream, TransportError>> {
            unreachable!("no stream is asked for")
        }

        fn traffic(&self) -> Traffic {
            Traffic::default()
        }

        fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
            Box::pin(async {})
        }
    }

    // REVIEW C4, H13
    #[tokio::test]
    async fn a_job_that_says_begin_and_then_only_that_it_is_there_is_overdue() {
        let nonce = nonce();
        let said = format!("{0} job a1 running\n{0} begin a1 1\n", nonce.as_str());
        let mut host = Babbles(said.into_bytes());
        let limits = Limits {
            stall: Duration::from_millis(50),
            ..Limits::of_job(Duration::from_secs(60), Duration::ZERO)
        };
        let exchange = exchange(&mut host, &nonce, Vec::new(), Vec::new(), limits, &mut |_, _| {}).await;
        let failed = exchange.failed.expect("it never comes to its end");
        assert!(failed.is_overdue(), "{failed}");
        assert!(matches!(failed, LinkError::Stalled(_)), "{failed}");
        let report = exchange.reply.jobs["a1"].report("a1").expect("what it said is kept");
        assert_eq!((report.state, report.steps.len()), (JobState::Running, 1));
    }
}
