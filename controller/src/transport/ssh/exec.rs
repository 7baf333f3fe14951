//! One exec on a channel of its own: the program in, chunks out, always closed.
//!
//! ```text
//! open -> exec -> write program ---------> (Send) write payload, EOF
//!                 read chunks -> Handler --^          ... exit status, EOF, CLOSE -> ExecEnd
//! ```

use super::connect::Client;
use crate::transport::patience::Wait;
use crate::transport::watch::{Watch, shown};
use crate::transport::{ExecEnd, ExecStream, Payload, Reaction, Stream, TransportError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use russh::client::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// After the exit status, output that a background child holds open is read until it pauses this long.
const DRAIN_PAUSE_MAX: Duration = Duration::from_secs(1);

/// And for this long in all, so that a child that never stops printing ends too; a slow line needs a while for
/// the last window of 1 MiB.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// How long we wait until CLOSE is on its way; a connection that can't even take that is cut.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// With `MaxSessions 1`, the server frees the last exec's place a moment after its CLOSE, and only when its
/// process is gone: it is asked again after this pause and twice as long ones, for 3 s in all.
const OPEN_RETRY_PAUSE_FIRST: Duration = Duration::from_millis(5);
const OPEN_RETRY_PAUSE_MAX: Duration = Duration::from_millis(200);
const OPEN_RETRY_MAX: Duration = Duration::from_secs(3);

/// Written at once: one packet, which a line of 64 kbit/s carries in four seconds.
const SEND_BYTES: usize = 32 * 1024;

/// Between the pump of an [`ExecStream`] and its owner: two packets.
const STREAM_BUFFER_BYTES: usize = 64 * 1024;

/// Last words of stderr that an [`ExecStream`] keeps.
const STDERR_TAIL_BYTES_MAX: usize = 4096;

/// SSH_EXTENDED_DATA_STDERR of RFC 4254.
const STDERR: u32 = 1;

/// Why an exec did not end by itself.
pub(super) enum Trouble {
    /// Ours to report as it is.
    Failed(TransportError),
    /// The connection is gone; the session knows the reason.
    Lost { during: &'static str },
    /// It was waited for as long as it may be. `usable` tells whether the connection took the CLOSE.
    WaitOver { usable: bool },
}

/// Opens a channel and starts `command` in it. `again`: there was an exec on this connection before.
pub(super) async fn open(
    handle: &Handle<Client>,
    command: &str,
    again: bool,
    wait: &Wait,
) -> Result<Channel<Msg>, Trouble> {
    let until = Instant::now() + OPEN_RETRY_MAX;
    let mut pause = OPEN_RETRY_PAUSE_FIRST;
    let channel = loop {
        match timeout_at(wait.until(), handle.channel_open_session()).await {
            Err(_) => return Err(Trouble::WaitOver { usable: false }),
            Ok(Ok(channel)) => break channel,
            Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                if !again || Instant::now() > until {
                    return Err(Trouble::Failed(TransportError::ExecRefused {
                        detail: format!("it opens no session ({reason:?})"),
                    }));
                }
                if timeout_at(wait.until(), sleep(pause)).await.is_err() {
                    return Err(Trouble::WaitOver { usable: true });
                }
                pause = (pause * 2).min(OPEN_RETRY_PAUSE_MAX);
            }
            Ok(Err(_)) => {
                return Err(Trouble::Lost {
                    during: "opening a channel",
                });
            }
        }
    };
    wait.moved();
    match timeout_at(wait.until(), channel.exec(true, command)).await {
        Ok(Ok(())) => {
            wait.moved();
            Ok(channel)
        }
        Ok(Err(_)) => Err(Trouble::Lost {
            during: "starting a program",
        }),
        Err(_) => Err(Trouble::WaitOver { usable: false }),
    }
}

/// Runs a program on an opened channel. Gives the end and the bytes written.
pub(super) async fn run(
    channel: Channel<Msg>,
    program: Vec<u8>,
    watch: &mut Watch<'_>,
    wait: &Wait,
) -> (Result<ExecEnd, Trouble>, u64) {
    let (mut read, write) = channel.split();
    let mut sent = 0;
    let result = converse(&mut read, &write, program, watch, wait, &mut sent).await;
    let closed = close(read, &write).await;
    let result = match result {
        Err(Trouble::WaitOver { .. }) => Err(Trouble::WaitOver { usable: closed }),
        other => other,
    };
    (result, sent)
}

/// Sends CLOSE whatever happened: a channel that is only dropped keeps its place on the server. The read half
/// goes first, so that output nobody reads can't hold up russh's task.
async fn close(read: ChannelReadHalf, write: &ChannelWriteHalf<Msg>) -> bool {
    drop(read);
    matches!(timeout(CLOSE_TIMEOUT, write.close()).await, Ok(Ok(())))
}

async fn converse(
    read: &mut ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    program: Vec<u8>,
    watch: &mut Watch<'_>,
    wait: &Wait,
    sent: &mut u64,
) -> Result<ExecEnd, Trouble> {
    let mut end = ExecEnd::default();
    let mut ending = Ending::default();
    *sent += program.len() as u64;
    let mut writing: Option<BoxFuture<'_, ()>> = Some(Box::pin(send(write, vec![Bytes::from(program)], false, wait)));
    let mut queued: Option<Payload> = None;
    loop {
        let message = tokio::select! {
            message = read.wait() => message,
            () = async { if let Some(writing) = writing.as_mut() { writing.await } }, if writing.is_some() => {
                writing = queued
                    .take()
                    .map(|payload| -> BoxFuture<'_, ()> { Box::pin(send(write, payload.0, true, wait)) });
                continue;
            }
            () = tokio::time::sleep_until(ending.until(wait.until())) => match ending.exited {
                Some(_) => return Ok(end),
                None if wait.is_over() => return Err(Trouble::WaitOver { usable: false }),
                None => continue,
            },
        };
        ending.touch();
        wait.moved();
        let (stream, data) = match message {
            Some(ChannelMsg::Data { data }) => (Stream::Stdout, data),
            Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => (Stream::Stderr, data),
            Some(ChannelMsg::Close) => return Ok(end),
            None if ending.exited.is_some() => return Ok(end),
            None => {
                return Err(Trouble::Lost {
                    during: "a program ran",
                });
            }
            Some(other) => {
                note(other, &mut end, &mut ending)?;
                if ending.complete() {
                    return Ok(end);
                }
                continue;
            }
        };
        let reaction = watch.chunk(stream, &data);
        wait.heard(watch.answered());
        match reaction {
            Reaction::Continue => {}
            Reaction::Send(payload) => {
                *sent += payload.bytes();
                if writing.is_some() {
                    queued = Some(payload);
                } else {
                    writing = Some(Box::pin(send(write, payload.0, true, wait)));
                }
            }
            Reaction::Stop => {
                end.stopped = true;
                return Ok(end);
            }
        }
    }
}

/// Writes pieces as far as the server's window allows, in parts, so that a slow line is told from a silent host. A
/// failure is not reported: the read side sees the same end.
async fn send(write: &ChannelWriteHalf<Msg>, pieces: Vec<Bytes>, eof: bool, wait: &Wait) {
    for mut piece in pieces {
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(SEND_BYTES));
            let bytes = part.len();
            if write.data_bytes(part).await.is_err() {
                return;
            }
            wait.sent(bytes);
        }
    }
    if eof {
        let _ = write.eof().await;
    }
}

/// What was seen of the end so far.
#[derive(Default)]
struct Ending {
    exited: Option<Instant>,
    eof: bool,
    last_message: Option<Instant>,
}

impl Ending {
    fn touch(&mut self) {
        self.last_message = Some(Instant::now());
    }

    fn until(&self, deadline: Instant) -> Instant {
        match (self.exited, self.last_message) {
            (Some(exited), Some(last)) => (last + DRAIN_PAUSE_MAX).min(exited + DRAIN_MAX).min(deadline),
            _ => deadline,
        }
    }

    /// The exit status can come before EOF or after it.
    fn complete(&self) -> bool {
        self.exited.is_some() && self.eof
    }
}

fn note(message: ChannelMsg, end: &mut ExecEnd, ending: &mut Ending) -> Result<(), Trouble> {
    match message {
        ChannelMsg::ExitStatus { exit_status } => {
            end.exit = Some(exit_status as i32);
            ending.exited.get_or_insert_with(Instant::now);
        }
        ChannelMsg::ExitSignal { signal_name, .. } => {
            end.signal = Some(shown(&format!("{signal_name:?}")));
            ending.exited.get_or_insert_with(Instant::now);
        }
        ChannelMsg::Eof => ending.eof = true,
        ChannelMsg::Failure => {
            return Err(Trouble::Failed(TransportError::ExecRefused {
                detail: "it does not start programs".to_owned(),
            }));
        }
        _ => {}
    }
    Ok(())
}

/// Turns a channel into a stream with a task that pumps both ways until the program or its owner ends.
pub(super) fn stream(channel: Channel<Msg>) -> ExecStream {
    let (near, far) = tokio::io::duplex(STREAM_BUFFER_BYTES);
    let (report, end) = oneshot::channel();
    tokio::spawn(async move {
        let result = pump(channel, far).await;
        // The owner may not care any more.
        let _ = report.send(result);
    });
    ExecStream { io: near, end }
}

async fn pump(channel: Channel<Msg>, far: DuplexStream) -> Result<(ExecEnd, Vec<u8>), TransportError> {
    let (mut read, write) = channel.split();
    let (mut from_owner, mut to_owner) = tokio::io::split(far);
    let mut end = ExecEnd::default();
    let mut ending = Ending::default();
    let mut stderr = Vec::new();
    let forever = Instant::now() + Duration::from_secs(86_400 * 365);
    let inward = async {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match from_owner.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    if write
                        .data_bytes(Bytes::copy_from_slice(&buffer[..count]))
                        .await
                        .is_err()
                    {
                        break;
                    }
                }
            }
        }
        let _ = write.eof().await;
        std::future::pending::<()>().await;
    };
    let outward = async {
        loop {
            let message = tokio::select! {
                message = read.wait() => message,
                () = tokio::time::sleep_until(ending.until(forever)) => return Ok(()),
            };
            ending.touch();
            match message {
                Some(ChannelMsg::Data { data }) => {
                    if to_owner.write_all(&data).await.is_err() {
                        end.stopped = true;
                        return Ok(());
                    }
                }
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => {
                    stderr.extend_from_slice(&data);
                    let surplus = stderr.len().saturating_sub(STDERR_TAIL_BYTES_MAX);
                    stderr.drain(..surplus);
                }
                Some(ChannelMsg::Close) => return Ok(()),
                None if ending.exited.is_some() => return Ok(()),
                None => {
                    return Err(TransportError::ConnectionLost {
                        during: "the agent was spoken to",
                        detail: "the connection ended".to_owned(),
                    });
                }
                Some(other) => match note(other, &mut end, &mut ending) {
                    Ok(()) if ending.complete() => return Ok(()),
                    Ok(()) => {}
                    Err(Trouble::Failed(error)) => return Err(error),
                    Err(_) => return Ok(()),
                },
            }
        }
    };
    let result = tokio::select! {
        result = outward => result,
        () = inward => Ok(()),
    };
    close(read, &write).await;
    result.map(|()| (end, stderr))
}
