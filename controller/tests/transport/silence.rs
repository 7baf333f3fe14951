//! Hosts that are there and say nothing: the wait for them has an end, and what moves moves that end (REVIEW C4, H13).

use crate::support::{Collect, context, target};
use bytes::Bytes;
use holdfast::demo::server::{DemoHosts, DemoKey};
use holdfast::transport::{Patience, Payload, Session, Silence, Target, Via, connect};
use std::time::Duration;

/// Long enough for a busy machine to print a line.
const SILENCE: Duration = Duration::from_secs(3);

fn patience() -> Patience {
    Patience::of(Duration::from_secs(120)).silent(Silence::AtMost(SILENCE))
}

fn program(text: &str) -> Vec<u8> {
    format!("{{\n{text}\nexit 0; }}\n").into_bytes()
}

/// A session by SSH and one on this machine, and what must live as long as they do.
async fn sessions() -> (Vec<(&'static str, Box<dyn Session>)>, DemoHosts, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = DemoKey::create(&folder.path().join("key")).expect("a key");
    let hosts = DemoHosts::start(folder.path(), &["web01".to_owned()], &key.public)
        .await
        .expect("a host");
    let ssh = target(hosts.hosts[0].address, "demo", Some(&key.private));
    let mut here = Target::new("here", "localhost", "nobody");
    here.via = Via::Local;
    let context = context(folder.path());
    let mut sessions = Vec::new();
    for (name, target) in [("ssh", ssh), ("local", here)] {
        sessions.push((name, connect(&target, &context).await.expect("a session")));
    }
    (sessions, hosts, folder)
}

#[tokio::test]
async fn a_program_that_falls_silent_is_given_up_and_the_session_goes_on() {
    let (sessions, _hosts, _folder) = sessions().await;
    for (name, mut session) in sessions {
        let mut seen = Collect::default();
        let hangs = program("echo here; sleep 77");
        let error = session.run(hangs, &mut seen, patience()).await.expect_err("it hangs");
        assert_eq!(error.kind(), "silent", "{name}: {error}");
        assert_eq!(seen.out(), "here\n", "{name}");
        let mut seen = Collect::default();
        let again = session.run(program("echo again"), &mut seen, patience()).await;
        assert!(again.is_ok(), "{name}: {again:?}");
        assert_eq!(seen.out(), "again\n", "{name}");
        session.close().await;
    }
}

#[tokio::test]
async fn each_byte_begins_the_silence_anew() {
    let (sessions, _hosts, _folder) = sessions().await;
    for (name, mut session) in sessions {
        let mut seen = Collect::default();
        let slow = program("for n in 1 2 3 4 5 6 7 8 9; do echo $n; sleep 0.5; done");
        let end = session.run(slow, &mut seen, patience()).await;
        assert_eq!(end.expect("it speaks all the time").exit, Some(0), "{name}");
        assert_eq!(seen.out().lines().count(), 9, "{name}");
        session.close().await;
    }
}

#[tokio::test]
async fn a_host_that_takes_what_is_sent_is_not_silent() {
    let (sessions, _hosts, _folder) = sessions().await;
    for (name, mut session) in sessions {
        let mut seen = Collect {
            payload: Some(Payload(vec![Bytes::from(vec![7; 2 * 1024 * 1024])])),
            ..Collect::default()
        };
        // It says nothing for twice as long as it may, and reads.
        let reads = program(
            "echo READY\nhere=0\nwhile [ $here -lt 10 ]; do dd bs=65536 count=1 2>/dev/null | wc -c >/dev/null; \
             here=$((here + 1)); sleep 0.6; done\ncat | wc -c",
        );
        let end = session.run(reads, &mut seen, patience()).await;
        assert_eq!(
            end.unwrap_or_else(|error| panic!("{name}: {error}")).exit,
            Some(0),
            "{name}"
        );
        session.close().await;
    }
}

#[tokio::test]
async fn a_program_that_never_answers_is_given_up_and_one_that_did_may_be_silent() {
    let (sessions, _hosts, _folder) = sessions().await;
    let patience = || Patience::of(Duration::from_secs(120)).silent(Silence::OnceItAnswered(SILENCE));
    for (name, mut session) in sessions {
        let mut mute = Answers(false);
        let error = session.run(program("echo motd; sleep 77"), &mut mute, patience()).await;
        assert_eq!(error.expect_err("it hangs").kind(), "silent", "{name}");
        let mut answers = Answers(true);
        let end = session
            .run(program("echo begun; sleep 6"), &mut answers, patience())
            .await;
        assert_eq!(end.expect("a command may be silent").exit, Some(0), "{name}");
        session.close().await;
    }
}

/// Takes every chunk for an answer, or none.
struct Answers(bool);

impl holdfast::transport::Handler for Answers {
    fn chunk(&mut self, _: holdfast::transport::Stream, _: &[u8]) -> holdfast::transport::Reaction {
        holdfast::transport::Reaction::Continue
    }

    fn answered(&self) -> bool {
        self.0
    }
}
