//! `holdfast-agent daemon`: what it finds while nobody listens is collected once, in order, after any kill.

mod common;

use common::{Carrier, NONCE, PATIENCE, agent};
use holdfast_agent::wire::{Body, ReportKind};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Child;

fn start(state: &Path) -> Child {
    agent("daemon", state)
        .kill_on_drop(true)
        .spawn()
        .expect("the agent starts")
}

/// Waits until so many reports wait.
async fn pending(carrier: &mut Carrier, count: u64) {
    let began = Instant::now();
    while carrier.status().await.pending != count {
        assert!(began.elapsed() < PATIENCE, "{:?}", carrier.status().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the daemon has probed once more, begun after now.
async fn probed_again(carrier: &mut Carrier) {
    for _ in 0..2 {
        let before = carrier.status().await.last_probe_at_ms;
        let began = Instant::now();
        while carrier.status().await.last_probe_at_ms == before {
            assert!(began.elapsed() < PATIENCE, "no probe");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn contents(reports: &[holdfast_agent::wire::Report]) -> Vec<String> {
    let content = |report: &holdfast_agent::wire::Report| {
        let reply = String::from_utf8_lossy(&report.bytes).into_owned();
        let line = reply
            .lines()
            .find(|line| line.starts_with(NONCE) && line.contains(" attr "))
            .expect("an attribute");
        line.rsplit(' ').next().expect("a value").to_owned()
    };
    reports.iter().map(content).collect()
}

#[tokio::test]
async fn a_file_changed_by_hand_gives_one_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let (state, file) = (folder.path().join("state"), folder.path().join("file"));
    std::fs::write(&file, "one").expect("written");
    let _daemon = start(&state);
    let mut carrier = Carrier::open(&state).await;
    carrier.watch_file(&file, "d1").await;
    pending(&mut carrier, 1).await;
    probed_again(&mut carrier).await;
    assert_eq!(carrier.status().await.pending, 1, "uptime alone is no change");
    std::fs::write(&file, "two").expect("written");
    pending(&mut carrier, 2).await;
    probed_again(&mut carrier).await;
    let status = carrier.status().await;
    assert_eq!((status.pending, status.probes_digest.as_str()), (2, "d1"));
    let (reports, end) = carrier.collect("", 0).await;
    assert_eq!(contents(&reports), ["one", "two"]);
    assert_eq!((reports[0].seq, reports[1].seq, end.lost, end.newest_seq), (1, 2, 0, 2));
    assert!(matches!(carrier.ack(&end.spool, 2).await, Body::Acked(acked) if acked.seq == 2));
    let (reports, end) = carrier.collect(&end.spool, 2).await;
    assert_eq!((reports.len(), end.lost), (0, 0));
    assert_eq!(carrier.status().await.pending, 0);
}

#[tokio::test]
async fn kills_at_any_point_neither_repeat_nor_lose_a_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let (state, file) = (folder.path().join("state"), folder.path().join("file"));
    std::fs::write(&file, "v0").expect("written");
    let mut carrier = Carrier::open(&state).await;
    carrier.watch_file(&file, "d1").await;
    for version in 1..=12u32 {
        // Killed at another point each time: before, in and after the first probe and its spooling.
        let mut daemon = start(&state);
        tokio::time::sleep(Duration::from_millis(u64::from(version) * 7)).await;
        daemon.kill().await.expect("killed");
        std::fs::write(&file, format!("v{version}")).expect("written");
    }
    let _daemon = start(&state);
    probed_again(&mut carrier).await;
    let (reports, end) = carrier.collect("", 0).await;
    let found = contents(&reports);
    let mut expected = found.clone();
    expected.sort_by_key(|version| version[1..].parse::<u32>().expect("a number"));
    expected.dedup();
    assert_eq!(found, expected, "in order, each once");
    assert_eq!(found.last().map(String::as_str), Some("v12"));
    let numbers: Vec<u64> = reports.iter().map(|report| report.seq).collect();
    assert_eq!(numbers, (1..=found.len() as u64).collect::<Vec<_>>());
    assert_eq!(end.lost, 0);
}

#[tokio::test]
async fn an_acknowledged_state_is_not_reported_again_after_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let (state, file) = (folder.path().join("state"), folder.path().join("file"));
    std::fs::write(&file, "one").expect("written");
    let mut daemon = start(&state);
    let mut carrier = Carrier::open(&state).await;
    carrier.watch_file(&file, "d1").await;
    pending(&mut carrier, 1).await;
    let spool = carrier.status().await.spool;
    carrier.ack(&spool, 1).await;
    daemon.kill().await.expect("killed");
    let _daemon = start(&state);
    probed_again(&mut carrier).await;
    assert_eq!(carrier.status().await.pending, 0);
    std::fs::write(&file, "two").expect("written");
    pending(&mut carrier, 1).await;
    let (reports, end) = carrier.collect(&spool, 1).await;
    assert_eq!((reports.len(), reports[0].seq, end.lost), (1, 2, 0));
}

#[tokio::test]
async fn probes_that_fail_are_reported_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let _daemon = start(&state);
    let mut carrier = Carrier::open(&state).await;
    carrier
        .send(Body::SetProbes(holdfast_agent::wire::SetProbes {
            program: format!("{{ echo '{NONCE} attr 1 x y'; echo gone $$ >&2; exit 3; }}\n").into(),
            interval_s: 1,
            digest: "d".to_owned(),
            nonce: NONCE.to_owned(),
            deadline_s: 0,
        }))
        .await;
    assert!(matches!(carrier.next().await, Body::ProbesStatus(_)));
    pending(&mut carrier, 1).await;
    probed_again(&mut carrier).await;
    let (reports, _) = carrier.collect("", 0).await;
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].kind(), ReportKind::ProbesFailed);
    let why = String::from_utf8_lossy(&reports[0].bytes).into_owned();
    assert!(why.contains("exit status: 3") && why.contains("gone"), "{why}");
}

#[tokio::test]
async fn a_second_daemon_is_refused_and_the_first_ends_on_sigterm() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = start(folder.path());
    let mut carrier = Carrier::open(folder.path()).await;
    let began = Instant::now();
    while carrier.status().await.daemon_pid != first.id() {
        assert!(began.elapsed() < PATIENCE, "the daemon does not show");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let second = agent("daemon", folder.path())
        .stderr(Stdio::piped())
        .output()
        .await
        .expect("ran");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(
        !second.status.success() && said.contains("another holdfast-agent daemon"),
        "{said}"
    );
    let pid = first.id().expect("running").to_string();
    std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .expect("kill runs");
    let ended = tokio::time::timeout(PATIENCE, first.wait())
        .await
        .expect("in time")
        .expect("waited");
    assert_eq!(ended.code(), Some(0));
    assert_eq!(carrier.status().await.daemon_pid, None);
}
