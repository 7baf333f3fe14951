//! One open wire to an agent: a greeted stream of frames, and the judgement of how it ended.

use super::super::watch::shown;
use super::super::{Become, ExecEnd, ExecStream, TransportError};
use holdfast_agent::wire::{self, Body, WireError, WireReader};
use std::time::Duration;
use tokio::io::{DuplexStream, ReadHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How long sudo, a slow login shell and the agent's start may take together, as for an SSH login.
const GREETING_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the exec's end is awaited once its stream ended, only to tell why.
const END_TIMEOUT: Duration = Duration::from_secs(5);

type End = oneshot::Receiver<Result<(ExecEnd, Vec<u8>), TransportError>>;

/// A greeted wire. Dropping it ends the agent's process on the host.
pub(super) struct Wire {
    reader: WireReader<ReadHalf<DuplexStream>>,
    // Unbounded, but what is sent is bounded: standard input by the agent's window, grants by what was read.
    queue: mpsc::UnboundedSender<Body>,
    writing: JoinHandle<()>,
    end: Option<End>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

impl Wire {
    /// Skips a login shell's noise and greets the agent.
    pub(super) async fn open(stream: ExecStream, r#become: Become, command: &str) -> Result<Self, TransportError> {
        let ExecStream { io, end } = stream;
        let (mut source, sink) = tokio::io::split(io);
        let greeting = async {
            wire::skip_noise(&mut source).await?;
            let mut reader = wire::reader(source);
            let mut writer = wire::writer(sink);
            wire::greet(&mut reader, &mut writer, &[]).await?;
            Ok((reader, writer))
        };
        let (reader, mut writer) = match tokio::time::timeout(GREETING_TIMEOUT, greeting).await {
            Ok(Ok(both)) => both,
            Ok(Err(error)) => return Err(not_greeted(error, end, r#become, command).await),
            Err(_) => {
                return Err(TransportError::Agent {
                    detail: format!("`{command}` did not answer within {} s", GREETING_TIMEOUT.as_secs()),
                });
            }
        };
        let (queue, mut bodies) = mpsc::unbounded_channel();
        let writing = tokio::spawn(async move {
            while let Some(body) = bodies.recv().await {
                // The reader's side sees the end and tells it.
                if writer.send(body).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            reader,
            queue,
            writing,
            end: Some(end),
        })
    }

    /// Sends a message.
    pub(super) fn send(&mut self, body: Body) -> Result<(), TransportError> {
        self.queue.send(body).map_err(|_| TransportError::ConnectionLost {
            during: "writing to the agent",
            detail: "the agent's connection ended".to_owned(),
        })
    }

    /// Waits for the next message that we know. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Body, TransportError> {
        loop {
            match self.reader.next().await {
                Ok(Some(message)) => match message.body {
                    Some(Body::Ping(ping)) => self.send(Body::Pong(wire::Pong { id: ping.id }))?,
                    Some(body) => return Ok(body),
                    // From a later version: tolerated.
                    None => {}
                },
                Ok(None) => return Err(self.lost("it ended").await),
                Err(WireError::Io(error)) if error.kind() != std::io::ErrorKind::InvalidData => {
                    return Err(self.lost(&error.to_string()).await);
                }
                Err(error) => {
                    return Err(TransportError::Agent {
                        detail: with_source(&error),
                    });
                }
            }
        }
    }

    /// Waits for the answer to a question, passing over what belongs to programs that have ended.
    pub(super) async fn answer(&mut self, timeout: Duration) -> Result<Body, TransportError> {
        let answer = async {
            loop {
                match self.next().await? {
                    Body::Window(_) | Body::Output(_) | Body::Exit(_) => {}
                    other => return Ok(other),
                }
            }
        };
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError::Deadline { after: timeout }),
        }
    }

    async fn lost(&mut self, detail: &str) -> TransportError {
        let mut detail = detail.to_owned();
        if let Some(end) = self.end.take() {
            match ended(end).await {
                Some(Err(error)) => return error,
                Some(Ok((_, said))) if !said.is_empty() => detail = last_line(&said),
                _ => {}
            }
        }
        TransportError::ConnectionLost {
            during: "talking to the agent",
            detail,
        }
    }
}

async fn ended(end: End) -> Option<Result<(ExecEnd, Vec<u8>), TransportError>> {
    tokio::time::timeout(END_TIMEOUT, end).await.ok()?.ok()
}

/// Tells a missing agent from a refusing sudo, a lost connection and a strange answer.
async fn not_greeted(error: WireError, end: End, r#become: Become, command: &str) -> TransportError {
    let program = command.split(' ').next().unwrap_or(command);
    let (exit, said) = match ended(end).await {
        Some(Err(error)) => return error,
        Some(Ok((end, said))) => (end.exit, said),
        None => (None, Vec::new()),
    };
    let text = String::from_utf8_lossy(&said);
    let not_there = ["not found", "No such file", "no such file"]
        .iter()
        .any(|words| text.contains(words));
    // 127: not found; 126: there, but for another machine or not executable. sudo ends with 1 for both.
    if matches!(exit, Some(126 | 127)) || (not_there && text.contains(program)) {
        return TransportError::AgentMissing {
            program: program.to_owned(),
            said: last_line(&said),
        };
    }
    if r#become == Become::Sudo && exit == Some(1) && text.contains("sudo:") {
        return TransportError::SudoRefused { said: last_line(&said) };
    }
    let mut detail = with_source(&error);
    if !said.is_empty() {
        detail = format!("{detail}; it said: {}", last_line(&said));
    }
    TransportError::Agent { detail: shown(&detail) }
}

fn last_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    shown(line.unwrap_or("nothing"))
}

fn with_source(error: &WireError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
