//! A controller's end of the wire, for tests that run the real binary.

#![expect(dead_code, reason = "every test file compiles this module and uses a part of it")]

use holdfast_agent::wire::{
    self, Ack, Body, Collect, CollectEnd, Exec, Exit, GetStatus, Output, Report, SetProbes, Status, Stdin, Stream,
    Window, WireReader, WireWriter,
};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Anything that takes longer on an idle machine has gone wrong; a loaded one gets its share.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The nonce of every reply in these tests.
pub(crate) const NONCE: &str = "0123456789abcdef0123456789abcdef";

/// A `holdfast-agent stdio` and our end of it.
pub(crate) struct Carrier {
    pub(crate) child: Child,
    pub(crate) reader: WireReader<ChildStdout>,
    pub(crate) writer: WireWriter<ChildStdin>,
}

pub(crate) fn agent(command: &str, state: &Path) -> Command {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_holdfast-agent"));
    agent.arg(command).arg("--state-dir").arg(state);
    agent
}

impl Carrier {
    pub(crate) async fn open(state: &Path) -> Self {
        let mut child = agent("stdio", state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the agent starts");
        let mut stdout = child.stdout.take().expect("piped");
        wire::skip_noise(&mut stdout).await.expect("a preamble");
        let mut reader = wire::reader(stdout);
        let mut writer = wire::writer(child.stdin.take().expect("piped"));
        wire::greet(&mut reader, &mut writer, &[]).await.expect("a greeting");
        Self { child, reader, writer }
    }

    pub(crate) async fn send(&mut self, body: Body) {
        self.writer.send(body).await.expect("the agent reads");
    }

    pub(crate) async fn next(&mut self) -> Body {
        let message = tokio::time::timeout(PATIENCE, self.reader.next()).await;
        let message = message.expect("an answer in time").expect("a message");
        message.expect("no end yet").body.expect("a known body")
    }

    /// Runs a program, sends a payload after its first output (before that the shell would read ahead into it), and
    /// grants output as it comes.
    pub(crate) async fn run(&mut self, id: u64, program: &str, payload: &[u8]) -> (Vec<u8>, Vec<u8>, Exit) {
        self.send(Body::Exec(Exec {
            id,
            program: program.as_bytes().to_vec().into(),
        }))
        .await;
        let mut pieces: Vec<&[u8]> = payload.chunks(wire::CHUNK_BYTES_MAX).rev().collect();
        let mut window = wire::WINDOW_BYTES;
        let mut ended = false;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let ready = payload.is_empty() || !stdout.is_empty();
            while ready && pieces.last().is_some_and(|piece| piece.len() as u64 <= window) {
                let piece = pieces.pop().expect("just seen");
                window -= piece.len() as u64;
                let bytes = piece.to_vec().into();
                self.send(Body::Stdin(Stdin { id, bytes, eof: false })).await;
            }
            if pieces.is_empty() && !ended {
                ended = true;
                self.send(Body::Stdin(Stdin {
                    id,
                    eof: true,
                    ..Stdin::default()
                }))
                .await;
            }
            match self.next().await {
                Body::Output(output) => {
                    let into = if output.stream() == Stream::Stderr {
                        &mut stderr
                    } else {
                        &mut stdout
                    };
                    into.extend_from_slice(&output.bytes);
                    self.grant(&output).await;
                }
                Body::Window(granted) => window += granted.bytes,
                Body::Exit(exit) => return (stdout, stderr, exit),
                other => panic!("unexpected {}", other.name()),
            }
        }
    }

    pub(crate) async fn grant(&mut self, output: &Output) {
        self.send(Body::Window(Window {
            id: output.id,
            stream: Stream::Stdout as i32,
            bytes: output.bytes.len() as u64,
        }))
        .await;
    }

    pub(crate) async fn collect(&mut self, spool: &str, after_seq: u64) -> (Vec<Report>, CollectEnd) {
        let spool = spool.to_owned();
        self.send(Body::Collect(Collect { spool, after_seq })).await;
        let mut reports = Vec::new();
        loop {
            match self.next().await {
                Body::Report(report) => reports.push(report),
                Body::CollectEnd(end) => return (reports, end),
                other => panic!("unexpected {}", other.name()),
            }
        }
    }

    pub(crate) async fn ack(&mut self, spool: &str, seq: u64) -> Body {
        let spool = spool.to_owned();
        self.send(Body::Ack(Ack { spool, seq })).await;
        self.next().await
    }

    pub(crate) async fn status(&mut self) -> Status {
        self.send(Body::GetStatus(GetStatus {})).await;
        match self.next().await {
            Body::Status(status) => status,
            other => panic!("unexpected {}", other.name()),
        }
    }

    /// Sets probes that report the content of one file.
    pub(crate) async fn watch_file(&mut self, file: &Path, digest: &str) {
        let file = file.display();
        let program = format!(
            "{{ echo noise; echo \"{NONCE} fact uptime $(cat /proc/uptime)\"\n\
             echo \"{NONCE} attr 1 content $(cat {file})\"; echo '{NONCE} done'; exit 0; }}\n"
        );
        self.send(Body::SetProbes(SetProbes {
            program: program.into_bytes().into(),
            interval_s: 1,
            digest: digest.to_owned(),
            nonce: NONCE.to_owned(),
            deadline_s: 10,
        }))
        .await;
        match self.next().await {
            Body::ProbesStatus(status) => assert_eq!(status.digest, digest),
            other => panic!("unexpected {}", other.name()),
        }
    }
}
