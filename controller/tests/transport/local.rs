//! This machine as a host.

use crate::support::{Collect, context, run, run_within};
use bytes::Bytes;
use holdfast::transport::{Become, Payload, Session, Target, Via, connect};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn session() -> Box<dyn Session> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut target = Target::new("here", "localhost", "nobody");
    target.via = Via::Local;
    connect(&target, &context(folder.path())).await.expect("a session")
}

#[tokio::test]
async fn a_local_program_gives_its_outputs_and_its_exit_status() {
    let mut session = session().await;
    let mut seen = Collect::default();
    let end = run(&mut session, "echo out; echo err >&2; exit 5", &mut seen)
        .await
        .expect("an end");
    assert_eq!(
        (seen.out().as_str(), seen.err().as_str(), end.exit),
        ("out\n", "err\n", Some(5))
    );
    let end = run(&mut session, "kill -TERM $$", &mut seen).await.expect("an end");
    assert_eq!((end.exit, end.signal.as_deref()), (None, Some("TERM")));
    assert_eq!(session.traffic().execs, 2);
}

#[tokio::test]
async fn a_local_program_gets_its_payload() {
    let mut session = session().await;
    let blob = vec![7_u8; 1_000_000];
    let mut seen = Collect {
        payload: Some(Payload(vec![Bytes::from(blob.clone()), Bytes::from(blob)])),
        ..Collect::default()
    };
    run(&mut session, "echo READY\nwc -c", &mut seen).await.expect("an end");
    assert_eq!(seen.out().split_whitespace().last(), Some("2000000"));
}

#[tokio::test]
async fn a_local_deadline_ends_the_program_and_a_background_child_does_not_delay() {
    let mut session = session().await;
    let mut seen = Collect::default();
    let error = run_within(&mut session, "sleep 60", &mut seen, Duration::from_millis(200))
        .await
        .expect_err("late");
    assert_eq!(error.kind(), "deadline");
    let started = std::time::Instant::now();
    run(&mut session, "sleep 20 & echo done", &mut seen)
        .await
        .expect("an end");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_local_stream_carries_both_ways() {
    let mut session = session().await;
    let mut stream = session.open_stream("tr a-z A-Z; exit 4").await.expect("a stream");
    stream.io.write_all(b"hello").await.expect("written");
    stream.io.shutdown().await.expect("shut down");
    let mut got = String::new();
    stream.io.read_to_string(&mut got).await.expect("read");
    assert_eq!(got, "HELLO");
    let (end, _) = stream.end.await.expect("a report").expect("an end");
    assert_eq!(end.exit, Some(4));
}

#[tokio::test]
async fn the_shell_is_started_by_these_very_words() {
    assert_eq!(Become::No.shell(), "/bin/sh");
    assert_eq!(Become::Sudo.shell(), "sudo -n /bin/sh");
}

// REVIEW D5
#[test]
fn a_local_program_gets_no_variable_that_may_hold_a_password() {
    // A process of its own, whose environment this test decides about.
    let variables = [
        ("HOME", "/root"),
        ("TZ", "UTC"),
        ("DB_PASSWORD", "hunter2"),
        ("SSH_AUTH_SOCK", "/run/agent"),
    ];
    let here = std::env::current_exe().expect("this test");
    let seen = std::process::Command::new(here)
        .args([
            "--exact",
            "local::shows_the_environment_of_local_programs",
            "--ignored",
            "--nocapture",
        ])
        .env_clear()
        .envs(variables)
        .env("PATH", "/usr/bin:/bin")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&seen.stdout);
    assert!(
        said.contains("run HOME=/root\n") && said.contains("stream HOME=/root\n"),
        "{said}"
    );
    assert!(said.contains("run TZ=UTC\n"), "{said}");
    assert!(!said.contains("hunter2") && !said.contains("SSH_AUTH_SOCK"), "{said}");
}

#[tokio::test]
#[ignore = "run by the test above, in an environment of its own"]
async fn shows_the_environment_of_local_programs() {
    let mut session = session().await;
    let mut seen = Collect::default();
    run(&mut session, "env", &mut seen).await.expect("an end");
    let mut stream = session.open_stream("env").await.expect("a stream");
    let mut got = String::new();
    stream.io.read_to_string(&mut got).await.expect("read");
    for (way, text) in [("run", seen.out()), ("stream", got)] {
        for line in text.lines() {
            let line = format!("{way} {line}\n");
            std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).expect("stdout is open");
        }
    }
}
