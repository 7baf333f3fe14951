//! The agent as a carrier: programs run through `holdfast-agent stdio`, and its spool is collected.
//!
//! ```text
//! Session (run a program) --+
//! set_probes, collect, ack,  +-> AgentSession -> Wire (frames) -> ExecStream of the session below (ssh, local)
//! status --------------------+
//! ```
//!
//! One request at a time. A wire that a request was given up on is dropped and opened anew by the next one: that ends
//! the program's pipes on the host, as closing an SSH channel does. Nothing here knows what a program or a report means.

mod wire;

use super::patience::Wait;
use super::{
    Become, ExecEnd, ExecStream, Handler, Patience, Payload, Reaction, Session, Stream, Target, Traffic, TransportError,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use holdfast_agent::wire as protocol;
use holdfast_agent::wire::{
    Ack, Body, CHUNK_BYTES_MAX, Collect, CollectEnd, Exec, Exit, Failure, FailureKind, GetStatus, PROBES_BYTES_MAX,
    ProbesStatus, Report, SetProbes, Status, Stdin, WINDOW_BYTES, Window,
};
use std::collections::VecDeque;
use std::time::Duration;
use wire::Wire;

/// Where the built-in blueprint puts the agent on a host.
pub const AGENT_PATH: &str = "/usr/local/bin/holdfast-agent";

/// How long an answer of the agent itself may take: it does nothing slower than an fsync on a busy disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A session through the agent of a host, and what else can be asked of it.
pub struct AgentSession {
    below: Box<dyn Session>,
    command: String,
    r#become: Become,
    wire: Option<Wire>,
    last_id: u64,
    bytes_out: u64,
    bytes_in: u64,
    round_trips: u64,
    execs: u64,
}

impl AgentSession {
    /// Opens a session through the agent at `program`, over a session to the same host.
    ///
    /// A host without the agent gives [`TransportError::AgentMissing`].
    pub async fn open(below: Box<dyn Session>, program: &str, target: &Target) -> Result<Self, TransportError> {
        let mut command = format!("{program} stdio");
        if let Some(state_dir) = &target.state_dir {
            command.push_str(" --state-dir ");
            command.push_str(&holdfast_plan::sh::quote(state_dir));
        }
        let mut session = Self {
            below,
            command,
            r#become: target.r#become,
            wire: None,
            last_id: 0,
            bytes_out: 0,
            bytes_in: 0,
            round_trips: 0,
            execs: 0,
        };
        let wire = session.connected().await?;
        session.wire = Some(wire);
        Ok(session)
    }

    /// Gives the agent the probes to run from now on; an empty program ends its probing.
    pub async fn set_probes(&mut self, probes: SetProbes) -> Result<ProbesStatus, TransportError> {
        if probes.program.len() > PROBES_BYTES_MAX {
            return Err(TransportError::Agent {
                detail: format!(
                    "the probes have {} bytes, and an agent takes {PROBES_BYTES_MAX}",
                    probes.program.len()
                ),
            });
        }
        match self.ask(Body::SetProbes(probes)).await? {
            Body::ProbesStatus(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks for the spooled reports after `(spool, seq)`; `None`, or a spool that is no more, gives all that are there.
    ///
    /// Record each report (unique by spool and number), then [`AgentSession::ack`].
    pub async fn collect(&mut self, after: Option<(&str, u64)>) -> Result<Collection<'_>, TransportError> {
        let mut wire = self.connected().await?;
        let (spool, after_seq) = after.unwrap_or(("", 0));
        let spool = spool.to_owned();
        wire.send(Body::Collect(Collect { spool, after_seq }))?;
        self.round_trips += 1;
        Ok(Collection {
            session: self,
            wire: Some(wire),
            end: None,
        })
    }

    /// Tells the agent that everything up to a number is recorded and can go.
    pub async fn ack(&mut self, spool: &str, seq: u64) -> Result<(), TransportError> {
        let spool = spool.to_owned();
        match self.ask(Body::Ack(Ack { spool, seq })).await? {
            Body::Acked(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks how the agent is.
    pub async fn status(&mut self) -> Result<Status, TransportError> {
        match self.ask(Body::GetStatus(GetStatus {})).await? {
            Body::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes the wire out, opened anew if there is none. Who is done with it in good order puts it back.
    async fn connected(&mut self) -> Result<Wire, TransportError> {
        match self.wire.take() {
            Some(wire) => Ok(wire),
            None => {
                let stream = self.below.open_stream(&self.command).await?;
                Wire::open(stream, self.r#become, &self.command).await
            }
        }
    }

    async fn ask(&mut self, question: Body) -> Result<Body, TransportError> {
        let mut wire = self.connected().await?;
        wire.send(question)?;
        self.round_trips += 1;
        let answer = wire.answer(ANSWER_TIMEOUT).await?;
        self.wire = Some(wire);
        match answer {
            Body::Failure(failure) => Err(refused(&failure)),
            answer => Ok(answer),
        }
    }

    async fn run_program(
        &mut self,
        program: Vec<u8>,
        handler: &mut dyn Handler,
        patience: Patience,
    ) -> Result<ExecEnd, TransportError> {
        let wait = Wait::begin(patience);
        let mut wire = self.connected().await?;
        self.last_id += 1;
        self.execs += 1;
        self.round_trips += 1;
        self.bytes_out += program.len() as u64;
        let mut input = Input::new(self.last_id, Bytes::from(program));
        wire.send(Body::Exec(Exec {
            id: self.last_id,
            program: input.first(),
        }))?;
        loop {
            while let Some(piece) = input.next() {
                wait.sent(piece.bytes.len());
                wire.send(Body::Stdin(piece))?;
            }
            // A window that is granted is a sign of life too: what was sent is taken.
            let Ok(message) = tokio::time::timeout_at(wait.until(), wire.next()).await else {
                return Err(wait.error());
            };
            wait.moved();
            match message? {
                Body::Output(output) if output.id == self.last_id => {
                    self.bytes_in += output.bytes.len() as u64;
                    let stream = match output.stream() {
                        protocol::Stream::Stderr => Stream::Stderr,
                        _ => Stream::Stdout,
                    };
                    let reaction = handler.chunk(stream, &output.bytes);
                    wait.heard(handler.answered());
                    match reaction {
                        Reaction::Continue => {}
                        Reaction::Send(payload) => {
                            self.bytes_out += payload.bytes();
                            self.round_trips += 1;
                            input.payload(payload);
                        }
                        Reaction::Stop => {
                            return Ok(ExecEnd {
                                stopped: true,
                                ..ExecEnd::default()
                            });
                        }
                    }
                    wire.send(Body::Window(Window {
                        id: self.last_id,
                        stream: protocol::Stream::Stdout as i32,
                        bytes: output.bytes.len() as u64,
                    }))?;
                }
                Body::Window(window) if window.id == self.last_id => input.granted(window.bytes),
                Body::Exit(exit) if exit.id == self.last_id => {
                    self.wire = Some(wire);
                    return Ok(ended(&exit));
                }
                Body::Failure(failure) => return Err(refused(&failure)),
                Body::Output(_) | Body::Window(_) | Body::Exit(_) | Body::Pong(_) => {}
                other => return Err(unexpected(&other)),
            }
        }
    }
}

/// The reports that an agent sends, one at a time: only one is in memory.
pub struct Collection<'a> {
    session: &'a mut AgentSession,
    wire: Option<Wire>,
    end: Option<CollectEnd>,
}

impl Collection<'_> {
    /// Waits for the next report, in order; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Report>, TransportError> {
        let Some(wire) = &mut self.wire else {
            return Ok(None);
        };
        match wire.answer(ANSWER_TIMEOUT).await? {
            Body::Report(report) => {
                self.session.bytes_in += report.bytes.len() as u64;
                Ok(Some(report))
            }
            Body::CollectEnd(end) => {
                self.end = Some(end);
                self.session.wire = self.wire.take();
                Ok(None)
            }
            Body::Failure(failure) => Err(refused(&failure)),
            other => Err(unexpected(&other)),
        }
    }

    /// Tells the spool, the highest number and how many reports were lost, once the last was read.
    pub fn end(&self) -> Option<&CollectEnd> {
        self.end.as_ref()
    }
}

impl Session for AgentSession {
    fn run<'a>(
        &'a mut self,
        program: Vec<u8>,
        handler: &'a mut dyn Handler,
        patience: Patience,
    ) -> BoxFuture<'a, Result<ExecEnd, TransportError>> {
        Box::pin(self.run_program(program, handler, patience))
    }

    fn open_stream<'a>(&'a mut self, command: &'a str) -> BoxFuture<'a, Result<ExecStream, TransportError>> {
        // One command channel per connection: the wire makes room, and the next program opens it again.
        self.wire = None;
        self.below.open_stream(command)
    }

    fn traffic(&self) -> Traffic {
        let below = self.below.traffic();
        Traffic {
            bytes_out: self.bytes_out,
            bytes_in: self.bytes_in,
            // The channel of the wire serves every program; a program through it is a process all the same.
            execs: self.execs,
            connections: below.connections,
            round_trips: below.round_trips + self.round_trips,
        }
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.wire = None;
            self.below.close().await;
        })
    }
}

/// Standard input of a program: what is left to send, as far as the agent grants it.
struct Input {
    id: u64,
    pieces: VecDeque<Bytes>,
    window_bytes: u64,
    /// Whether a payload was given, so that the end of the pieces is the end of the input.
    complete: bool,
    closed: bool,
}

impl Input {
    fn new(id: u64, program: Bytes) -> Self {
        Self {
            id,
            pieces: VecDeque::from([program]),
            window_bytes: WINDOW_BYTES,
            complete: false,
            closed: false,
        }
    }

    /// Takes what goes with the `Exec` itself, outside the window.
    fn first(&mut self) -> Bytes {
        let Some(program) = self.pieces.front_mut() else {
            return Bytes::new();
        };
        let first = program.split_to(program.len().min(PROBES_BYTES_MAX));
        self.drop_empty();
        first
    }

    fn payload(&mut self, payload: Payload) {
        assert!(!self.complete, "a handler sends one payload in an exec");
        self.pieces.extend(payload.0);
        self.complete = true;
        self.drop_empty();
    }

    fn granted(&mut self, bytes: u64) {
        // An agent that grants more than it may has only itself to hurt; ours must not overflow.
        self.window_bytes = self.window_bytes.saturating_add(bytes).min(WINDOW_BYTES);
    }

    /// Gives the next message that may be sent now.
    fn next(&mut self) -> Option<Stdin> {
        let bytes = match self.pieces.front_mut() {
            Some(piece) => {
                let room = usize::try_from(self.window_bytes).unwrap_or(usize::MAX);
                let count = piece.len().min(CHUNK_BYTES_MAX).min(room);
                if count == 0 {
                    return None;
                }
                self.window_bytes -= count as u64;
                piece.split_to(count)
            }
            None if self.complete && !self.closed => Bytes::new(),
            None => return None,
        };
        self.drop_empty();
        let eof = self.complete && self.pieces.is_empty();
        self.closed = eof;
        Some(Stdin {
            id: self.id,
            bytes,
            eof,
        })
    }

    fn drop_empty(&mut self) {
        while self.pieces.front().is_some_and(Bytes::is_empty) {
            self.pieces.pop_front();
        }
    }
}

fn ended(exit: &Exit) -> ExecEnd {
    ExecEnd {
        exit: exit.code,
        signal: exit.signal.map(super::local::signal_name),
        stopped: false,
    }
}

fn unexpected(body: &Body) -> TransportError {
    TransportError::Agent {
        detail: format!("it answered `{}` where that has no meaning", body.name()),
    }
}

fn refused(failure: &Failure) -> TransportError {
    let said = super::watch::shown(&failure.text);
    match failure.kind() {
        FailureKind::NoShell => TransportError::ProgramMissing {
            program: "/bin/sh".to_owned(),
            said,
        },
        FailureKind::Storage => TransportError::AgentStorage { detail: said },
        _ => TransportError::Agent { detail: said },
    }
}

#[cfg(test)]
mod tests;
