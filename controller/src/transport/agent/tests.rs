//! Against the real `holdfast-agent`, over `local` and over streams that are no agent.

use super::super::{Context, HostKeyPolicy, Memory, Via, connect};
use super::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Builds the agent of this workspace, once for all tests: its package is another one, so Cargo hands us no path.
fn agent_binary() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT
        .get_or_init(|| {
            let built = std::process::Command::new(env!("CARGO"))
                .args(["build", "--quiet", "--package", "holdfast-agent", "--bins"])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .status();
            assert!(built.is_ok_and(|status| status.success()), "the agent builds");
            let test = std::env::current_exe().expect("a path");
            let folder = test.ancestors().nth(2).expect("target/PROFILE");
            folder.join("holdfast-agent")
        })
        .clone()
}

async fn open(state: &Path, program: &str) -> Result<AgentSession, TransportError> {
    let mut target = Target::new("here", "127.0.0.1", "nobody");
    target.via = Via::Local;
    target.host_keys = HostKeyPolicy::Strict;
    target.state_dir = Some(state.display().to_string());
    let context = Context {
        home: None,
        known_hosts: state.join("known_hosts"),
        known_hosts_read: Vec::new(),
        agent_socket: None,
        secrets: Arc::new(|_| None),
        memory: Memory::default(),
    };
    let below = connect(&target, &context).await?;
    AgentSession::open(below, program, &target).await
}

/// Keeps the output and sends a payload after `ready`.
#[derive(Default)]
struct Answering {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    payload: Option<Payload>,
    stop_at_bytes: Option<usize>,
}

impl Handler for Answering {
    fn chunk(&mut self, stream: Stream, bytes: &[u8]) -> Reaction {
        match stream {
            Stream::Stdout => self.stdout.extend_from_slice(bytes),
            Stream::Stderr => self.stderr.extend_from_slice(bytes),
        }
        if self.stop_at_bytes.is_some_and(|limit| self.stdout.len() >= limit) {
            return Reaction::Stop;
        }
        match self.payload.take() {
            Some(payload) => Reaction::Send(payload),
            None => Reaction::Continue,
        }
    }
}

fn soon() -> Patience {
    Patience::of(Duration::from_secs(60))
}

#[tokio::test]
async fn the_agent_carries_programs_payloads_and_exit_codes_as_ssh_does() {
    let state = tempfile::tempdir().expect("a folder");
    let agent = agent_binary();
    let mut session = open(state.path(), &agent.display().to_string())
        .await
        .expect("a session");
    let payload: Vec<u8> = (0u32..3_000_000)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let (first, second) = payload.split_at(1_000_000);
    let mut handler = Answering {
        payload: Some(Payload(vec![
            Bytes::copy_from_slice(first),
            Bytes::copy_from_slice(second),
        ])),
        ..Answering::default()
    };
    let program = b"{ echo ready; cat; echo bad >&2; exit 5; }\n".to_vec();
    let end = session.run(program, &mut handler, soon()).await.expect("it ran");
    assert_eq!((end.exit, end.signal, end.stopped), (Some(5), None, false));
    assert!(handler.stdout.strip_prefix(b"ready\n") == Some(payload.as_slice()));
    assert_eq!(handler.stderr, b"bad\n");
    let mut handler = Answering::default();
    let end = session
        .run(b"{ kill -9 $$; }\n".to_vec(), &mut handler, soon())
        .await
        .expect("it ran");
    assert_eq!((end.exit, end.signal.as_deref()), (None, Some("KILL")));
    let traffic = session.traffic();
    assert_eq!(traffic.execs, 2);
    assert!(traffic.bytes_in > 3_000_000 && traffic.bytes_out > 3_000_000);
    (Box::new(session) as Box<dyn Session>).close().await;
}

#[tokio::test]
async fn after_a_stop_or_a_deadline_the_session_goes_on() {
    let state = tempfile::tempdir().expect("a folder");
    let mut session = open(state.path(), &agent_binary().display().to_string())
        .await
        .expect("a session");
    let mut handler = Answering {
        stop_at_bytes: Some(1_000_000),
        ..Answering::default()
    };
    let endless = b"{ while :; do echo 0123456789012345678901234567890123456789; done; }\n".to_vec();
    let end = session.run(endless, &mut handler, soon()).await.expect("it ran");
    assert!(end.stopped);
    let mut handler = Answering::default();
    let deadline = Patience::of(Duration::from_millis(300));
    let late = session.run(b"{ sleep 5; }\n".to_vec(), &mut handler, deadline).await;
    assert!(matches!(late, Err(TransportError::Deadline { .. })), "{late:?}");
    let end = session
        .run(b"{ exit 3; }\n".to_vec(), &mut handler, soon())
        .await
        .expect("it ran");
    assert_eq!(end.exit, Some(3));
}

#[tokio::test]
async fn what_the_daemon_spooled_is_collected_and_acknowledged() {
    let state = tempfile::tempdir().expect("a folder");
    let agent = agent_binary();
    let mut session = open(state.path(), &agent.display().to_string())
        .await
        .expect("a session");
    let mut nothing = session.collect(None).await.expect("asked");
    assert!(nothing.next().await.expect("answered").is_none());
    assert_eq!(nothing.end().map(|end| end.spool.as_str()), Some(""));
    drop(nothing);
    let nonce = "0123456789abcdef0123456789abcdef";
    let probes = SetProbes {
        program: format!("{{ echo '{nonce} attr 1 mode 0644'; echo '{nonce} done'; exit 0; }}\n").into(),
        interval_s: 1,
        digest: "d".to_owned(),
        nonce: nonce.to_owned(),
        deadline_s: 0,
    };
    assert_eq!(session.set_probes(probes).await.expect("kept").digest, "d");
    let mut daemon = tokio::process::Command::new(&agent)
        .args(["daemon", "--state-dir"])
        .arg(state.path())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    while session.status().await.expect("a status").pending == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    daemon.kill().await.expect("killed");
    let mut collection = session.collect(None).await.expect("asked");
    let report = collection.next().await.expect("answered").expect("a report");
    assert_eq!((report.seq, report.probes_digest.as_str()), (1, "d"));
    assert!(collection.next().await.expect("answered").is_none());
    let end = collection.end().expect("the end").clone();
    assert_eq!((end.newest_seq, end.lost), (1, 0));
    drop(collection);
    session.ack(&end.spool, 1).await.expect("acknowledged");
    assert_eq!(session.status().await.expect("a status").pending, 0);
    let other = session.ack("another", 1).await.expect_err("no such spool");
    assert_eq!(other.kind(), "agent");
}

#[tokio::test]
async fn a_host_without_the_agent_is_told_apart_from_one_that_answers_otherwise() {
    let state = tempfile::tempdir().expect("a folder");
    let missing = open(state.path(), "/nonexistent/holdfast-agent")
        .await
        .err()
        .expect("no agent");
    assert_eq!(missing.kind(), "agent-missing");
    assert!(missing.hint().contains("holdfast agent install"), "{}", missing.hint());
    let other = open(state.path(), "/bin/echo").await.err().expect("no agent");
    assert_eq!(other.kind(), "agent");
}

// REVIEW H18
#[tokio::test]
async fn an_agent_that_cannot_use_its_files_is_not_installed_again_for_it() {
    let state = tempfile::tempdir().expect("a folder");
    let spool = state.path().join("agent/spool");
    std::fs::create_dir_all(spool.join("acked")).expect("a folder where a file belongs");
    std::fs::write(spool.join("id"), "s\n").expect("written");
    let mut session = open(state.path(), &agent_binary().display().to_string())
        .await
        .expect("a session");
    let error = session.ack("s", 1).await.expect_err("it can't read what was recorded");
    assert_eq!(error.kind(), "agent-storage");
    assert!(
        error.to_string().contains("spool/acked")
            && error.hint().contains("free space")
            && !error.hint().contains("install"),
        "{error}: {}",
        error.hint()
    );
}
