//! `holdfast-agent stdio` with the real `/bin/sh`: what an SSH exec would do, and its bounds.

mod common;

use common::{Carrier, agent};
use holdfast_agent::wire::{
    Body, Exec, Failure, FailureKind, Ping, SetProbes, Stdin, Stream, VERSION_MAX, WINDOW_BYTES, Window,
};
use std::process::Stdio;
use std::time::Duration;

#[tokio::test]
async fn programs_run_one_after_the_other_with_their_output_and_exit_code() {
    let state = tempfile::tempdir().expect("a folder");
    let mut carrier = Carrier::open(state.path()).await;
    let (stdout, stderr, exit) = carrier.run(1, "{ echo out; echo err >&2; exit 7; }\n", b"").await;
    assert_eq!((stdout.as_slice(), stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!((exit.code, exit.signal), (Some(7), None));
    let (_, _, exit) = carrier.run(2, "{ kill -9 $$; exit 0; }\n", b"").await;
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    assert_eq!(
        std::fs::read_dir(state.path()).expect("there").count(),
        0,
        "an exec writes nothing"
    );
}

#[tokio::test]
async fn a_payload_of_three_megabytes_arrives_intact() {
    let state = tempfile::tempdir().expect("a folder");
    let mut carrier = Carrier::open(state.path()).await;
    // Every byte value and no short period.
    let payload: Vec<u8> = (0u32..3_000_000)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let (stdout, _, exit) = carrier.run(1, "{ echo ready; cat; exit 0; }\n", &payload).await;
    assert_eq!(exit.code, Some(0));
    let echoed = stdout.strip_prefix(b"ready\n").expect("the program said ready");
    assert!(echoed == payload, "{} bytes came back", echoed.len());
}

#[tokio::test]
async fn output_beyond_the_window_waits_in_its_pipe() {
    let state = tempfile::tempdir().expect("a folder");
    let mut carrier = Carrier::open(state.path()).await;
    let program = "{ head -c 100000000 /dev/zero; exit 0; }\n";
    let program = program.as_bytes().to_vec().into();
    carrier.send(Body::Exec(Exec { id: 1, program })).await;
    let mut received = 0;
    while let Ok(message) = tokio::time::timeout(Duration::from_millis(500), carrier.reader.next()).await {
        let Some(Body::Output(output)) = message.expect("a message").expect("no end").body else {
            panic!("only output is due");
        };
        received += output.bytes.len() as u64;
        // What is granted beyond the window is ignored.
        let window = Window {
            id: 1,
            stream: Stream::Stdout as i32,
            bytes: 0,
        };
        carrier.send(Body::Window(window)).await;
    }
    assert!(received <= WINDOW_BYTES, "{received} bytes came without a grant");
    // The connection serves other requests meanwhile.
    carrier.send(Body::Ping(Ping { id: 5 })).await;
    assert!(matches!(carrier.next().await, Body::Pong(pong) if pong.id == 5));
    let pid = carrier.child.id().expect("running");
    let window = Window {
        id: 1,
        stream: Stream::Stdout as i32,
        bytes: received,
    };
    carrier.send(Body::Window(window)).await;
    loop {
        match carrier.next().await {
            Body::Output(output) => {
                received += output.bytes.len() as u64;
                carrier.grant(&output).await;
            }
            Body::Exit(exit) => break assert_eq!(exit.code, Some(0)),
            other => panic!("unexpected {}", other.name()),
        }
    }
    assert_eq!(received, 100_000_000);
    // 100 MB went through; a debug build of the agent starts at 6 MB.
    assert!(resident_peak_kib(pid) < 20_000, "{} KiB", resident_peak_kib(pid));
}

fn resident_peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number")
}

#[tokio::test]
async fn a_background_process_that_holds_the_pipe_does_not_hold_the_exec() {
    let state = tempfile::tempdir().expect("a folder");
    let mut carrier = Carrier::open(state.path()).await;
    let began = std::time::Instant::now();
    let (stdout, _, exit) = carrier.run(1, "{ sleep 30 & echo $!; exit 0; }\n", b"").await;
    assert_eq!(exit.code, Some(0));
    assert!(began.elapsed() < Duration::from_secs(20));
    let pid = String::from_utf8(stdout).expect("a pid");
    std::process::Command::new("kill")
        .arg(pid.trim())
        .status()
        .expect("kill runs");
}

#[tokio::test]
async fn a_lost_connection_ends_the_carrier_but_not_a_detached_job() {
    let state = tempfile::tempdir().expect("a folder");
    let mark = state.path().join("mark");
    let mut carrier = Carrier::open(state.path()).await;
    let program = format!(
        "{{ ( sleep 1; echo done >{0} ) </dev/null >/dev/null 2>&1 & echo started; sleep 20; exit 0; }}\n",
        mark.display()
    );
    let program = program.into_bytes().into();
    carrier.send(Body::Exec(Exec { id: 1, program })).await;
    assert!(matches!(carrier.next().await, Body::Output(output) if output.bytes == "started\n"));
    let Carrier {
        mut child,
        reader,
        writer,
    } = carrier;
    drop((reader, writer));
    let ended = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
    ended.expect("the carrier ends with its connection").expect("waited");
    let mut tries = 0;
    while !mark.exists() {
        tries += 1;
        assert!(tries < 200, "the detached job died");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn requests_that_cannot_be_are_refused_by_kind_and_the_connection_goes_on() {
    let state = tempfile::tempdir().expect("a folder");
    let mut carrier = Carrier::open(state.path()).await;
    let sleep: bytes::Bytes = "{ read line; exit 0; }\n".into();
    carrier
        .send(Body::Exec(Exec {
            id: 1,
            program: sleep.clone(),
        }))
        .await;
    carrier.send(Body::Exec(Exec { id: 2, program: sleep })).await;
    expect_failure(&mut carrier, 2, FailureKind::Busy).await;
    let eof = Stdin {
        id: 1,
        eof: true,
        ..Stdin::default()
    };
    carrier.send(Body::Stdin(eof)).await;
    assert!(matches!(carrier.next().await, Body::Exit(exit) if exit.id == 1));
    let probes = SetProbes {
        program: "x".into(),
        nonce: "n".to_owned(),
        ..SetProbes::default()
    };
    carrier.send(Body::SetProbes(probes)).await;
    expect_failure(&mut carrier, 0, FailureKind::Invalid).await;
    assert!(matches!(
        carrier.ack("00000000-0000-4000-8000-000000000000", 1).await,
        Body::Failure(Failure { kind, .. }) if kind == FailureKind::OtherSpool as i32
    ));
}

async fn expect_failure(carrier: &mut Carrier, id: u64, kind: FailureKind) {
    match carrier.next().await {
        Body::Failure(failure) => assert_eq!((failure.id, failure.kind), (id, kind as i32), "{}", failure.text),
        other => panic!("unexpected {}", other.name()),
    }
}

#[tokio::test]
async fn a_controller_without_a_common_version_is_told_so() {
    let state = tempfile::tempdir().expect("a folder");
    let child = agent("stdio", state.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("the agent starts");
    let mut writer = holdfast_agent::wire::writer(child.stdin.take().expect("piped"));
    let hello = holdfast_agent::wire::Hello {
        version_min: VERSION_MAX + 1,
        version_max: VERSION_MAX + 2,
        ..Default::default()
    };
    writer.send(Body::Hello(hello)).await.expect("sent");
    let output = child.wait_with_output().await.expect("ended");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no common version"), "{said}");
}
