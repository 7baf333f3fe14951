//! Against the embedded server of the demo.

use crate::support::{Collect, context, peak_resident_bytes, run, run_within, target};
use bytes::Bytes;
use holdfast::demo::server::{DemoHosts, DemoKey};
use holdfast::transport::{Context, Handler, HostKeyPolicy, Payload, Reaction, Session, Stream, Target, connect};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Bed {
    hosts: DemoHosts,
    key: DemoKey,
    folder: tempfile::TempDir,
}

impl Bed {
    async fn start(count: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = DemoKey::create(&folder.path().join("key")).expect("a key");
        let names: Vec<String> = (1..=count).map(|n| format!("web{n:02}")).collect();
        let hosts = DemoHosts::start(folder.path(), &names, &key.public)
            .await
            .expect("hosts");
        Self { hosts, key, folder }
    }

    fn target(&self) -> Target {
        target(self.hosts.hosts[0].address, "demo", Some(&self.key.private))
    }

    fn context(&self) -> Context {
        context(self.folder.path())
    }

    async fn session(&self) -> Box<dyn Session> {
        connect(&self.target(), &self.context()).await.expect("a session")
    }
}

/// Counts and forgets.
#[derive(Default)]
struct Count(u64);

impl Handler for Count {
    fn chunk(&mut self, _: Stream, bytes: &[u8]) -> Reaction {
        self.0 += bytes.len() as u64;
        Reaction::Continue
    }
}

#[tokio::test]
async fn a_program_runs_in_the_hosts_own_folder_and_its_exit_status_comes_back() {
    let bed = Bed::start(1).await;
    let mut session = bed.session().await;
    let mut seen = Collect::default();
    let end = run(&mut session, "pwd; echo $HOME; echo oops >&2; exit 7", &mut seen)
        .await
        .expect("an end");
    let root = bed.hosts.hosts[0].root.display().to_string();
    assert_eq!(seen.out(), format!("{root}\n{root}\n"));
    assert_eq!(seen.err(), "oops\n");
    assert_eq!(end.exit, Some(7));
    assert_eq!((session.traffic().execs, session.traffic().connections), (1, 1));
    session.close().await;
}

#[tokio::test]
async fn three_megabytes_with_nul_bytes_arrive_intact() {
    let bed = Bed::start(1).await;
    let mut session = bed.session().await;
    let piece: Vec<u8> = (0..1024 * 1024)
        .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut seen = Collect {
        payload: Some(Payload(vec![Bytes::from(piece.clone()); 3])),
        ..Collect::default()
    };
    let end = run(&mut session, "echo READY\ncat > blob", &mut seen)
        .await
        .expect("an end");
    assert_eq!(end.exit, Some(0));
    let arrived = std::fs::read(bed.hosts.hosts[0].root.join("blob")).expect("the blob");
    assert!(arrived == piece.repeat(3));
    assert_eq!(
        session.traffic().bytes_out,
        3 * 1024 * 1024 + "{\necho READY\ncat > blob\nexit 0; }\n".len() as u64
    );
}

#[tokio::test]
async fn output_of_any_size_costs_no_memory() {
    let bed = Bed::start(1).await;
    let mut session = bed.session().await;
    let before = peak_resident_bytes();
    let mut seen = Count::default();
    let end = run(&mut session, "head -c 50000000 /dev/zero", &mut seen)
        .await
        .expect("an end");
    assert_eq!((end.exit, seen.0), (Some(0), 50_000_000));
    let grown = peak_resident_bytes() - before;
    // Client and server share this process; both windows and queues are a few MiB.
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes more than before");
}

#[tokio::test]
async fn many_execs_go_over_one_connection() {
    let bed = Bed::start(1).await;
    let mut session = bed.session().await;
    for n in 0..50 {
        let mut seen = Collect::default();
        run(&mut session, &format!("echo {n}"), &mut seen)
            .await
            .expect("an end");
        assert_eq!(seen.out(), format!("{n}\n"));
    }
    assert_eq!((session.traffic().execs, session.traffic().connections), (50, 1));
}

#[tokio::test]
async fn a_handler_that_has_enough_ends_the_exec_and_not_the_session() {
    let bed = Bed::start(1).await;
    let mut session = bed.session().await;
    let mut seen = Collect {
        stop_after_bytes: Some(100_000),
        ..Collect::default()
    };
    let end = run(&mut session, "while :; do echo yes; done", &mut seen)
        .await
        .expect("an end");
    assert!(end.stopped);
    let mut seen = Collect::default();
    run(&mut session, "echo still here", &mut seen).await.expect("an end");
    assert_eq!(seen.out(), "still here\n");
}

#[tokio::test]
async fn a_deadline_ends_the_waiting_and_the_session_goes_on() {
    let bed = Bed::start(1).await;
    let mut session = bed.session().await;
    let error = run_within(
        &mut session,
        "sleep 3; touch late",
        &mut Collect::default(),
        Duration::from_millis(300),
    )
    .await
    .expect_err("a deadline");
    assert_eq!(error.kind(), "deadline");
    let mut seen = Collect::default();
    run(&mut session, "echo again", &mut seen).await.expect("an end");
    assert_eq!(seen.out(), "again\n");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(
        bed.hosts.hosts[0].root.join("late").exists(),
        "the process was not killed"
    );
}

#[tokio::test]
async fn a_background_child_does_not_hold_up_the_end() {
    let bed = Bed::start(1).await;
    let mut session = bed.session().await;
    let started = std::time::Instant::now();
    let mut seen = Collect::default();
    let end = run(&mut session, "sleep 30 & echo done", &mut seen)
        .await
        .expect("an end");
    assert_eq!((end.exit, seen.out().as_str()), (Some(0), "done\n"));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_unknown_key_is_refused_unless_new_ones_are_accepted() {
    let bed = Bed::start(1).await;
    let mut strict = bed.target();
    strict.host_keys = HostKeyPolicy::Strict;
    let error = connect(&strict, &bed.context()).await.err().expect("a refusal");
    assert_eq!(error.kind(), "host-key-unknown");
    assert!(!bed.context().known_hosts.exists());

    std::fs::write(bed.context().known_hosts, &bed.hosts.hosts[0].known_hosts_line).expect("a file");
    connect(&strict, &bed.context()).await.expect("now it is known");
}

#[tokio::test]
async fn another_key_than_the_known_one_is_refused_with_its_place() {
    let bed = Bed::start(2).await;
    let (first, second) = (&bed.hosts.hosts[0], &bed.hosts.hosts[1]);
    let (_, other_key) = second.known_hosts_line.split_once(' ').expect("a line");
    let line = format!("# ours\n[127.0.0.1]:{} {other_key}", first.address.port());
    std::fs::write(bed.context().known_hosts, line).expect("a file");
    let error = connect(&bed.target(), &bed.context()).await.err().expect("a refusal");
    assert_eq!(error.kind(), "host-key-changed");
    assert!(error.hint().contains("in place of line 2"), "{}", error.hint());
}

#[tokio::test]
async fn a_hundred_first_contacts_at_once_are_all_written_down() {
    let bed = Bed::start(100).await;
    let mut tasks = tokio::task::JoinSet::new();
    for host in &bed.hosts.hosts {
        let (target, context) = (target(host.address, "demo", Some(&bed.key.private)), bed.context());
        tasks.spawn(async move { connect(&target, &context).await.map(drop) });
    }
    for result in tasks.join_all().await {
        result.expect("a session");
    }
    let written = std::fs::read_to_string(bed.context().known_hosts).expect("the file");
    for host in &bed.hosts.hosts {
        assert!(written.contains(&host.known_hosts_line));
    }
    assert_eq!(written.lines().count(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_hosts_are_spoken_to_at_once_within_bounds() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit needs no right");
    // A listener, both ends of a connection and the pipes of a shell, at both ends.
    if limit.maximum.is_some_and(|maximum| maximum < 300 * 8) {
        crate::support::skip("the hard limit of open files is too low for 300 hosts");
        return;
    }
    let bed = Bed::start(300).await;
    let before = peak_resident_bytes();
    let mut tasks = tokio::task::JoinSet::new();
    for host in &bed.hosts.hosts {
        let (target, context) = (target(host.address, "demo", Some(&bed.key.private)), bed.context());
        let root = host.root.display().to_string();
        tasks.spawn(async move {
            let mut session = connect(&target, &context).await.expect("a session");
            let mut seen = Collect::default();
            run(&mut session, "pwd", &mut seen).await.expect("an end");
            assert_eq!(seen.out().trim(), root);
            session
        });
    }
    let sessions = tasks.join_all().await;
    assert_eq!(sessions.len(), 300);
    let grown = peak_resident_bytes().saturating_sub(before);
    // Client and server side of a session, idle after an exec, and the handshakes under way.
    assert!(grown < 300 * 600 * 1024, "{} KiB a host", grown / 300 / 1024);
}

#[tokio::test]
async fn a_key_that_the_host_does_not_know_is_refused_for_good() {
    let bed = Bed::start(1).await;
    let other = DemoKey::create(&bed.folder.path().join("other")).expect("a key");
    let target = target(bed.hosts.hosts[0].address, "demo", Some(&other.private));
    let error = connect(&target, &bed.context()).await.err().expect("a refusal");
    assert_eq!(error.kind(), "auth-refused");
    assert!(error.to_string().contains("other"), "{error}");
}

#[tokio::test]
async fn a_missing_sudo_or_shell_is_named() {
    let bed = Bed::start(1).await;
    let mut target = bed.target();
    target.identities = vec!["/nowhere/key".into()];
    let error = connect(&target, &bed.context()).await.err().expect("a refusal");
    assert_eq!(
        error.to_string(),
        "can't use the key /nowhere/key: there is no such file"
    );
    target.identities = Vec::new();
    let error = connect(&target, &bed.context()).await.err().expect("a refusal");
    assert_eq!(error.kind(), "no-credentials");
    target.password_env = Some("NOT_SET".to_owned());
    let error = connect(&target, &bed.context()).await.err().expect("a refusal");
    assert_eq!(error.kind(), "password-missing");
}

#[tokio::test]
async fn a_stream_carries_both_ways_and_tells_its_end() {
    let bed = Bed::start(1).await;
    let mut session = bed.session().await;
    let mut stream = session
        .open_stream("cat; echo bye >&2; exit 3")
        .await
        .expect("a stream");
    let sent: Vec<u8> = (0..500_000_u32).map(|n| n as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(&mut stream.io);
    let mut got = Vec::new();
    let (written, read) = tokio::join!(
        async {
            writer.write_all(&sent).await?;
            writer.shutdown().await
        },
        reader.read_to_end(&mut got)
    );
    written.expect("written");
    read.expect("read");
    assert!(got == sent);
    let (end, stderr) = stream.end.await.expect("a report").expect("an end");
    assert_eq!((end.exit, stderr.as_slice()), (Some(3), b"bye\n".as_slice()));
    let mut seen = Collect::default();
    run(&mut session, "echo next", &mut seen).await.expect("an end");
    assert_eq!(seen.out(), "next\n");
}

#[tokio::test]
async fn a_panic_in_a_handler_is_that_hosts_error() {
    struct Broken;
    impl Handler for Broken {
        fn chunk(&mut self, _: Stream, _: &[u8]) -> Reaction {
            panic!("a bug of ours")
        }
    }
    let bed = Bed::start(1).await;
    let mut session = bed.session().await;
    let error = run(&mut session, "echo x", &mut Broken).await.expect_err("an error");
    assert_eq!(error.kind(), "panicked");
    assert!(error.to_string().contains("a bug of ours"));
}
