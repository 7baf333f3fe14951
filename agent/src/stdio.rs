//! `holdfast-agent stdio`: the wire protocol over standard input and output, for as long as the carrier lives.
//!
//! ```text
//! stdin -> messages -> one at a time: exec, probes, collect, ack, status, ping
//! stdout <- one writer <- answers of the requests and of the running program
//! ```
//!
//! One program runs at a time. The end of the input ends the process, and with it the program's pipes, but no job that
//! the program detached.

use crate::exec::{Answers, Running};
use crate::paths::{PathError, Paths};
use crate::probes::{self, ProbesError};
use crate::spool::Spool;
use crate::status;
use holdfast_agent::wire::{
    self, Ack, Acked, Body, Collect, CollectEnd, Exec, Failure, FailureKind, PREAMBLE, Pong, ProbesStatus, SetProbes,
    WireError, WireWriter,
};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Answers between the requests and the writer: more would only be memory, since the carrier has its own buffers.
const ANSWERS_MAX: usize = 2;

/// Why the carrier ended other than by the end of its input.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StdioError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("failed to write to the controller")]
    Write(#[from] std::io::Error),
}

/// The connection is gone: there is nobody to tell.
struct Gone;

/// Serves one controller until its connection ends.
pub(crate) async fn run(paths: Paths) -> Result<(), StdioError> {
    let mut stdout = tokio::io::stdout();
    stdout.write_all(PREAMBLE).await?;
    let mut reader = wire::reader(tokio::io::stdin());
    let mut writer = wire::writer(stdout);
    wire::greet(&mut reader, &mut writer, &[]).await?;
    let (answers, queue) = mpsc::channel(ANSWERS_MAX);
    let writing = tokio::spawn(write(writer, queue));
    let mut connection = Connection {
        paths,
        answers,
        running: None,
    };
    while let Some(message) = reader.next().await? {
        // `message.order` is not looked at: this carrier was opened by the controller (see the field).
        if connection.serve(message.body).await.is_err() {
            break;
        }
    }
    // What is still to be written has no reader.
    writing.abort();
    Ok(())
}

async fn write<W: AsyncWrite + Unpin>(mut writer: WireWriter<W>, mut queue: mpsc::Receiver<Body>) {
    while let Some(answer) = queue.recv().await {
        if writer.send(answer).await.is_err() {
            return;
        }
    }
}

struct Connection {
    paths: Paths,
    answers: Answers,
    running: Option<Running>,
}

impl Connection {
    async fn serve(&mut self, body: Option<Body>) -> Result<(), Gone> {
        let answer = match body {
            Some(Body::Exec(exec)) => return self.exec(exec).await,
            Some(Body::Collect(collect)) => return self.collect(&collect).await,
            Some(Body::Stdin(piece)) => match self.running.as_ref().map(|running| running.feed(piece)) {
                None | Some(Ok(())) => return Ok(()),
                Some(Err(failure)) => Body::Failure(failure),
            },
            Some(Body::Window(window)) => {
                if let Some(running) = &self.running {
                    running.grant(&window);
                }
                return Ok(());
            }
            Some(Body::SetProbes(probes)) => self.set_probes(&probes),
            Some(Body::Ack(ack)) => or_failure(self.ack(&ack)),
            Some(Body::GetStatus(_)) => or_failure(status::gather(&self.paths).map(Body::Status)),
            Some(Body::Ping(ping)) => Body::Pong(Pong { id: ping.id }),
            Some(Body::Pong(_)) => return Ok(()),
            Some(other) => {
                let text = format!("a controller does not send `{}`", other.name());
                Body::Failure(Failure::new(0, FailureKind::Invalid, text))
            }
            None => {
                let text = format!("this agent ({}) does not know the request", env!("CARGO_PKG_VERSION"));
                Body::Failure(Failure::new(0, FailureKind::Unknown, text))
            }
        };
        self.answer(answer).await
    }

    async fn answer(&self, body: Body) -> Result<(), Gone> {
        self.answers.send(body).await.map_err(|_| Gone)
    }

    async fn exec(&mut self, exec: Exec) -> Result<(), Gone> {
        if self.running.as_ref().is_some_and(|running| !running.has_ended()) {
            let text = "another program is still running on this connection";
            let failure = Failure::new(exec.id, FailureKind::Busy, text);
            return self.answer(Body::Failure(failure)).await;
        }
        self.running = Some(Running::start(exec, self.answers.clone()));
        Ok(())
    }

    fn set_probes(&self, probes: &SetProbes) -> Body {
        match probes::keep(&self.paths, probes) {
            Ok(()) => Body::ProbesStatus(ProbesStatus {
                digest: probes.digest.clone(),
                interval_s: probes.interval_s,
            }),
            Err(ProbesError::Path(error)) => storage_failure(&error),
            Err(error) => Body::Failure(Failure::new(0, FailureKind::Invalid, error.to_string())),
        }
    }

    async fn collect(&self, collect: &Collect) -> Result<(), Gone> {
        // One report at a time is in memory; the carrier's backpressure holds the rest on disk.
        match self.send_reports(collect).await {
            Ok(sent) => sent,
            Err(error) => self.answer(storage_failure(&error)).await,
        }
    }

    async fn send_reports(&self, collect: &Collect) -> Result<Result<(), Gone>, PathError> {
        let Some(spool) = Spool::open(&self.paths.spool())? else {
            return Ok(self.answer(Body::CollectEnd(CollectEnd::default())).await);
        };
        let after_seq = if collect.spool == spool.id() {
            collect.after_seq
        } else {
            0
        };
        let newest_seq = spool.newest()?;
        let acked = spool.acked()?;
        let mut wanted = 0;
        for seq in spool
            .list()?
            .into_iter()
            .filter(|seq| *seq > after_seq && *seq <= newest_seq)
        {
            let Some(report) = spool.read(seq)? else {
                continue;
            };
            wanted += u64::from(seq > acked);
            if self.answer(Body::Report(report)).await.is_err() {
                return Ok(Err(Gone));
            }
        }
        let due = newest_seq.saturating_sub(after_seq.max(acked));
        let end = CollectEnd {
            spool: spool.id().to_owned(),
            lost: due.saturating_sub(wanted),
            newest_seq,
        };
        Ok(self.answer(Body::CollectEnd(end)).await)
    }

    fn ack(&self, ack: &Ack) -> Result<Body, PathError> {
        let spool = Spool::open(&self.paths.spool())?.filter(|spool| spool.id() == ack.spool);
        let Some(spool) = spool else {
            let text = format!("there is no spool {} here; the agent was reinstalled", ack.spool);
            return Ok(Body::Failure(Failure::new(0, FailureKind::OtherSpool, text)));
        };
        let newest = spool.newest()?;
        if ack.seq > newest {
            let text = format!("report {} was never made; the newest is {newest}", ack.seq);
            return Ok(Body::Failure(Failure::new(0, FailureKind::Invalid, text)));
        }
        spool.ack(ack.seq)?;
        Ok(Body::Acked(Acked {
            spool: ack.spool.clone(),
            seq: ack.seq,
        }))
    }
}

fn or_failure(answer: Result<Body, PathError>) -> Body {
    answer.unwrap_or_else(|error| storage_failure(&error))
}

fn storage_failure(error: &PathError) -> Body {
    Body::Failure(Failure::new(0, FailureKind::Storage, crate::chain(error)))
}
