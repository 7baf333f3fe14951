//! One program under `/bin/sh`, between the wire and three pipes, as sshd would run it.
//!
//! Output waits in its pipe while the controller grants nothing: at most one chunk per stream and one window are held
//! here. The program outlives a lost connection as far as it lives without its pipes: a detached job does.

use bytes::{Bytes, BytesMut};
use holdfast_agent::wire::{
    Body, CHUNK_BYTES_MAX, Exec, Exit, Failure, FailureKind, Output, Stdin, Stream, WINDOW_BYTES, Window,
};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

/// How long output is awaited after the program's end when something it left behind holds a pipe open.
const DRAIN: Duration = Duration::from_secs(1);

/// Where answers go.
pub(crate) type Answers = mpsc::Sender<Body>;

/// A running program, as the connection sees it.
pub(crate) struct Running {
    id: u64,
    ended: Arc<AtomicBool>,
    stdin: mpsc::UnboundedSender<Stdin>,
    stdin_waiting: Arc<AtomicU64>,
    output_credit: Arc<Semaphore>,
}

impl Running {
    /// Starts a program; its output and its end go to `answers`.
    pub(crate) fn start(exec: Exec, answers: Answers) -> Self {
        // Unbounded, but `feed` refuses what the window does not allow.
        let (stdin, pieces) = mpsc::unbounded_channel();
        let running = Self {
            id: exec.id,
            ended: Arc::default(),
            stdin,
            stdin_waiting: Arc::default(),
            output_credit: Arc::new(Semaphore::new(
                usize::try_from(WINDOW_BYTES).expect("the window fits into memory"),
            )),
        };
        let carrier = Carrier {
            id: exec.id,
            answers,
            ended: Arc::clone(&running.ended),
            stdin_waiting: Arc::clone(&running.stdin_waiting),
            output_credit: Arc::clone(&running.output_credit),
        };
        tokio::spawn(carrier.run(exec.program, pieces));
        running
    }

    /// Tells whether the program's end was sent.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Passes on standard input. Input for a program that has ended is dropped: it was on the way.
    pub(crate) fn feed(&self, piece: Stdin) -> Result<(), Failure> {
        if piece.id != self.id {
            return Ok(());
        }
        let bytes = piece.bytes.len() as u64;
        if self.stdin_waiting.fetch_add(bytes, Ordering::AcqRel) + bytes > WINDOW_BYTES {
            let text = format!("standard input beyond the window of {WINDOW_BYTES} bytes");
            return Err(Failure::new(self.id, FailureKind::TooMuch, text));
        }
        // A send fails only after the end.
        let _ = self.stdin.send(piece);
        Ok(())
    }

    /// Takes a grant for output; what exceeds the window is ignored.
    pub(crate) fn grant(&self, window: &Window) {
        if window.id == self.id {
            let full = usize::try_from(WINDOW_BYTES).expect("the window fits into memory");
            let room = full.saturating_sub(self.output_credit.available_permits());
            let bytes = usize::try_from(window.bytes).unwrap_or(usize::MAX);
            self.output_credit.add_permits(bytes.min(room));
        }
    }
}

/// The task that moves the bytes. An answer that can't be sent means that the connection is gone, and the task's end
/// closes the pipes.
struct Carrier {
    id: u64,
    answers: Answers,
    ended: Arc<AtomicBool>,
    stdin_waiting: Arc<AtomicU64>,
    output_credit: Arc<Semaphore>,
}

impl Carrier {
    async fn run(self, program: Bytes, pieces: mpsc::UnboundedReceiver<Stdin>) {
        let last = match self.carry(program, pieces).await {
            Ok(status) => Body::Exit(Exit {
                id: self.id,
                code: status.code(),
                signal: status.signal(),
            }),
            Err(error) => {
                let text = format!("failed to run /bin/sh: {error}");
                Body::Failure(Failure::new(self.id, FailureKind::NoShell, text))
            }
        };
        // Before the answer: who reads it may start the next program at once.
        self.ended.store(true, Ordering::Release);
        let _ = self.answers.send(last).await;
    }

    async fn carry(&self, program: Bytes, pieces: mpsc::UnboundedReceiver<Stdin>) -> std::io::Result<ExitStatus> {
        let mut child = Command::new("/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().expect("stdin was piped");
        let stdout = child.stdout.take().expect("stdout was piped");
        let stderr = child.stderr.take().expect("stderr was piped");
        let (exited, has_exited) = watch::channel(false);
        let end = async move {
            let status = child.wait().await;
            // Both pumps hold a receiver until they are done.
            let _ = exited.send(true);
            status
        };
        let input = self.feed(stdin, program, pieces);
        let work = async {
            tokio::join!(
                end,
                self.pump(stdout, Stream::Stdout, has_exited.clone()),
                self.pump(stderr, Stream::Stderr, has_exited.clone()),
            )
            .0
        };
        tokio::pin!(work, input);
        tokio::select! {
            status = &mut work => status,
            // Input ends long before the program does, or never.
            () = &mut input => work.await,
        }
    }

    /// Writes standard input, and grants as much again as the program has taken.
    async fn feed(&self, mut stdin: ChildStdin, program: Bytes, mut pieces: mpsc::UnboundedReceiver<Stdin>) {
        // A program that closed its stdin lets the rest go to nowhere, as a pipe would.
        let mut open = stdin.write_all(&program).await.is_ok();
        drop(program);
        while let Some(piece) = pieces.recv().await {
            if open {
                open = stdin.write_all(&piece.bytes).await.is_ok();
            }
            let bytes = piece.bytes.len() as u64;
            if bytes > 0 {
                self.stdin_waiting.fetch_sub(bytes, Ordering::AcqRel);
                let window = Window {
                    id: self.id,
                    stream: Stream::Stdin as i32,
                    bytes,
                };
                if self.answers.send(Body::Window(window)).await.is_err() {
                    return;
                }
            }
            if piece.eof {
                return;
            }
        }
    }

    /// Sends one stream of output, as far as the controller grants it, until its end.
    async fn pump(&self, mut source: impl AsyncRead + Unpin, stream: Stream, mut exited: watch::Receiver<bool>) {
        let mut patience = DRAIN;
        loop {
            let mut room = BytesMut::with_capacity(CHUNK_BYTES_MAX);
            let began = Instant::now();
            let read = tokio::select! {
                read = source.read_buf(&mut room) => read,
                () = run_out(&mut exited, patience) => return,
            };
            if !matches!(read, Ok(1..)) {
                return;
            }
            if *exited.borrow() {
                patience = patience.saturating_sub(began.elapsed());
            }
            let bytes = room.freeze();
            let count = u32::try_from(bytes.len()).expect("a chunk is small");
            let Ok(credit) = self.output_credit.acquire_many(count).await else {
                return;
            };
            credit.forget();
            let output = Output {
                id: self.id,
                stream: stream as i32,
                bytes,
            };
            if self.answers.send(Body::Output(output)).await.is_err() {
                return;
            }
        }
    }
}

/// Waits until the program has exited and `patience` is over after that.
async fn run_out(exited: &mut watch::Receiver<bool>, patience: Duration) {
    // The sender goes only after it has told.
    let _ = exited.wait_for(|exited| *exited).await;
    tokio::time::sleep(patience).await;
}
