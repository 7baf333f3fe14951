//! This machine as a host: `/bin/sh` as a child process, fed and read like an SSH channel.
//!
//! The child is killed when its session gives up on it; jobs that it detached live on, as they do over SSH.

use super::patience::Wait;
use super::watch::Watch;
use super::{
    Become, ExecEnd, ExecStream, Handler, Patience, Payload, Reaction, Session, Stream, Target, Traffic, TransportError,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// Read at once from a pipe, whose own buffer is 64 KiB on Linux.
const CHUNK_BYTES: usize = 64 * 1024;

/// After the process ended, output that a background child holds open is read until it pauses this long, and
/// for `DRAIN_MAX` in all.
const DRAIN_PAUSE_MAX: Duration = Duration::from_secs(1);
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Last words of stderr that an [`ExecStream`] keeps.
const STDERR_TAIL_BYTES_MAX: usize = 4096;

/// What a program on this machine gets of our environment: what a login by SSH would give it. All else stays here: it
/// may hold the password of another host.
const ENVIRONMENT: [&str; 9] = [
    "HOME",
    "LANG",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TMPDIR",
    "TZ",
    "USER",
    "HOLDFAST_SH",
];

struct LocalSession {
    r#become: Become,
    traffic: Traffic,
}

/// Opens the session; there is nothing that could fail yet.
pub(super) fn connect(target: &Target) -> Box<dyn Session> {
    Box::new(LocalSession {
        r#become: target.r#become,
        traffic: Traffic::default(),
    })
}

fn spawn(words: &[&str]) -> Result<Child, TransportError> {
    let (program, arguments) = words.split_first().expect("every command of ours has a program");
    let kept = ENVIRONMENT
        .iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(kept)
        .current_dir("/")
        // Ctrl-C in the terminal is for the controller, which decides what becomes of its hosts.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| TransportError::Spawn {
            program: (*program).to_owned(),
            source,
        })
}

fn ended(status: ExitStatus) -> ExecEnd {
    ExecEnd {
        exit: status.code(),
        signal: status.signal().map(signal_name),
        stopped: false,
    }
}

/// Names a signal as SSH does; the numbers are those that POSIX fixes.
pub(super) fn signal_name(number: i32) -> String {
    match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        6 => "ABRT",
        9 => "KILL",
        14 => "ALRM",
        15 => "TERM",
        other => return other.to_string(),
    }
    .to_owned()
}

/// Writes pieces, then closes stdin if `eof`. A program that reads no further ends it, and that is its right.
async fn send(mut stdin: ChildStdin, pieces: Vec<Bytes>, eof: bool, wait: &Wait) -> Option<ChildStdin> {
    for piece in pieces {
        for part in piece.chunks(CHUNK_BYTES) {
            if stdin.write_all(part).await.is_err() {
                return None;
            }
            wait.sent(part.len());
        }
    }
    if eof || stdin.flush().await.is_err() {
        return None;
    }
    Some(stdin)
}

/// Reads the next chunk; `None` at the end.
async fn next(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> Option<usize> {
    match pipe {
        Some(open) => match open.read(buffer).await {
            Ok(0) | Err(_) => {
                *pipe = None;
                None
            }
            Ok(count) => Some(count),
        },
        None => std::future::pending().await,
    }
}

impl LocalSession {
    async fn run_program(
        &mut self,
        program: Vec<u8>,
        handler: &mut dyn Handler,
        patience: Patience,
    ) -> Result<ExecEnd, TransportError> {
        let wait = Wait::begin(patience);
        let mut child = match self.r#become {
            Become::No => spawn(&["/bin/sh"])?,
            Become::Sudo => spawn(&["sudo", "-n", "/bin/sh"])?,
        };
        self.traffic.execs += 1;
        self.traffic.round_trips += 1;
        self.traffic.bytes_out += program.len() as u64;
        let mut watch = Watch::new(handler);
        let result = self.converse(&mut child, program, &mut watch, &wait).await;
        self.traffic.bytes_in += watch.bytes_in();
        match result {
            Some(end) => watch.judge(end, self.r#become),
            None => {
                // Waited for, so that no zombie stays; SIGKILL leaves no choice to anything but the kernel.
                let _ = child.start_kill();
                let _ = tokio::time::timeout(DRAIN_PAUSE_MAX, child.wait()).await;
                Err(wait.error())
            }
        }
    }

    /// Gives `None` when it was waited for as long as it may be.
    async fn converse(
        &mut self,
        child: &mut Child,
        program: Vec<u8>,
        watch: &mut Watch<'_>,
        wait: &Wait,
    ) -> Option<ExecEnd> {
        let mut stdout = child.stdout.take();
        let mut stderr = child.stderr.take();
        let stdin = child.stdin.take().expect("stdin was piped at spawn");
        let mut writing: Option<BoxFuture<'_, Option<ChildStdin>>> =
            Some(Box::pin(send(stdin, vec![Bytes::from(program)], false, wait)));
        let mut idle_stdin: Option<ChildStdin> = None;
        let mut queued: Option<Payload> = None;
        let (mut out, mut err) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
        let mut end: Option<(ExecEnd, Instant)> = None;
        let mut last = Instant::now();
        loop {
            let until = match &end {
                Some((_, exited)) => (last + DRAIN_PAUSE_MAX).min(*exited + DRAIN_MAX).min(wait.until()),
                None => wait.until(),
            };
            if let Some((end, _)) = end.take_if(|_| stdout.is_none() && stderr.is_none()) {
                return Some(end);
            }
            let (stream, chunk) = tokio::select! {
                count = next(&mut stdout, &mut out) => (Stream::Stdout, count.map(|count| &out[..count])),
                count = next(&mut stderr, &mut err) => (Stream::Stderr, count.map(|count| &err[..count])),
                stdin = async { writing.as_mut().expect("guarded by the condition").await }, if writing.is_some() => {
                    writing = None;
                    match (stdin, queued.take()) {
                        (Some(stdin), Some(payload)) => writing = Some(Box::pin(send(stdin, payload.0, true, wait))),
                        (stdin, _) => idle_stdin = stdin,
                    }
                    continue;
                }
                status = child.wait(), if end.is_none() => {
                    last = Instant::now();
                    end = Some((status.map(ended).unwrap_or_default(), last));
                    continue;
                }
                () = sleep_until(until) => match end {
                    None if !wait.is_over() => continue,
                    end => return end.map(|(end, _)| end),
                },
            };
            last = Instant::now();
            wait.moved();
            let Some(chunk) = chunk else { continue };
            let reaction = watch.chunk(stream, chunk);
            wait.heard(watch.answered());
            match reaction {
                Reaction::Continue => {}
                Reaction::Send(payload) => {
                    self.traffic.bytes_out += payload.bytes();
                    self.traffic.round_trips += 1;
                    match idle_stdin.take() {
                        Some(stdin) => writing = Some(Box::pin(send(stdin, payload.0, true, wait))),
                        None => queued = Some(payload),
                    }
                }
                Reaction::Stop => {
                    let _ = child.start_kill();
                    let _ = tokio::time::timeout(DRAIN_PAUSE_MAX, child.wait()).await;
                    return Some(ExecEnd {
                        stopped: true,
                        ..ExecEnd::default()
                    });
                }
            }
        }
    }

    fn start_stream(&mut self, command: &str) -> Result<ExecStream, TransportError> {
        let mut child = match self.r#become {
            Become::No => spawn(&["/bin/sh", "-c", command])?,
            Become::Sudo => spawn(&["sudo", "-n", "/bin/sh", "-c", command])?,
        };
        self.traffic.execs += 1;
        self.traffic.round_trips += 1;
        let (near, far) = tokio::io::duplex(CHUNK_BYTES);
        let (report, end) = oneshot::channel();
        tokio::spawn(async move {
            let (mut from_owner, mut to_owner) = tokio::io::split(far);
            let mut stdin = child.stdin.take().expect("stdin was piped at spawn");
            let mut stdout = child.stdout.take().expect("stdout was piped at spawn");
            let mut stderr = child.stderr.take().expect("stderr was piped at spawn");
            let mut said = Vec::new();
            let inward = async {
                let _ = tokio::io::copy(&mut from_owner, &mut stdin).await;
                drop(stdin);
                std::future::pending::<()>().await;
            };
            let outward = async {
                let _ = tokio::io::copy(&mut stdout, &mut to_owner).await;
            };
            let errors = async {
                let mut buffer = vec![0; STDERR_TAIL_BYTES_MAX];
                while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
                    said.extend_from_slice(&buffer[..count]);
                    let surplus = said.len().saturating_sub(STDERR_TAIL_BYTES_MAX);
                    said.drain(..surplus);
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = inward => {}
                () = outward => {}
                () = errors => {}
            }
            let status = match tokio::time::timeout(DRAIN_PAUSE_MAX, child.wait()).await {
                Ok(status) => status.map(ended).unwrap_or_default(),
                Err(_) => ExecEnd {
                    stopped: true,
                    ..ExecEnd::default()
                },
            };
            // The owner may not care any more.
            let _ = report.send(Ok((status, said)));
        });
        Ok(ExecStream { io: near, end })
    }
}

impl Session for LocalSession {
    fn run<'a>(
        &'a mut self,
        program: Vec<u8>,
        handler: &'a mut dyn Handler,
        patience: Patience,
    ) -> BoxFuture<'a, Result<ExecEnd, TransportError>> {
        Box::pin(self.run_program(program, handler, patience))
    }

    fn open_stream<'a>(&'a mut self, command: &'a str) -> BoxFuture<'a, Result<ExecStream, TransportError>> {
        Box::pin(async move { self.start_stream(command) })
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
