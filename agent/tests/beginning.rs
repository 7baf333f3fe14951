//! Whether a job began: said only by who made sure of it, and true from then on.

#[expect(dead_code, reason = "the other tests use the rest of the test host")]
mod host;

use holdfast_agent::reply::{JobEnd, JobState, Record, Refusal};
use host::{Host, Job, lines, under_every_shell, wait_for};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin};

fn counting(host: &Host) -> Job {
    Job::of(&[&format!("echo run >>'{}'", host.path("count").display())])
}

/// Sends the program of a start and none of its payload, as a transfer that is cut does; gives the shell, which waits.
fn send_program(host: &Host, attempt: &str, job: &Job) -> (Child, ChildStdin, Vec<u8>) {
    let nonce = host::nonce();
    let (program, mut payload) = host.prepare(&nonce, attempt, job);
    let mut child = host.spawn();
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(&program).expect("the program is read");
    let mut said = Vec::new();
    let stdout = child.stdout.as_mut().expect("stdout is piped");
    while !String::from_utf8_lossy(&said).contains(" ready\n") {
        let mut bytes = [0; 256];
        let count = stdout.read(&mut bytes).expect("stdout can be read");
        assert!(count > 0, "not ready: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&bytes[..count]);
    }
    (child, stdin, payload(&[]))
}

// REVIEW H3
#[test]
fn a_wrapper_that_begins_late_is_waited_for() {
    under_every_shell(|shell| {
        let mut host = Host::new(shell);
        host.begin_late();
        let begin = host.path("begin");
        std::thread::scope(|scope| {
            // Longer than any exec takes that nothing delays; the limit is a minute.
            scope.spawn(|| {
                wait_for(&host.state().join("jobs/a1/step"));
                std::thread::sleep(std::time::Duration::from_secs(5));
                std::fs::write(&begin, "").expect("the folder is ours");
            });
            let reply = host.start("a1", &counting(&host));
            assert_eq!(reply.end(), Some((JobEnd::Completed, "-")), "{shell}: {reply:?}");
        });
        assert_eq!(lines(&host.path("count")), 1, "{shell}");
    });
}

// REVIEW H3
#[test]
fn what_is_said_never_to_have_started_never_starts() {
    under_every_shell(|shell| {
        let mut host = Host::new(shell);
        host.begin_late();
        let job = counting(&host);
        let nonce = host::nonce();
        let (program, mut payload) = host.prepare(&nonce, "a1", &job);
        let hurried = String::from_utf8(program)
            .expect("programs are text")
            .replace("hf_launch_limit=60", "hf_launch_limit=1");
        let reply = host.exec(&nonce, hurried.as_bytes(), |have| Some(payload(have)));
        assert_eq!(reply.job(), Some(JobState::Untransferred), "{shell}: {reply:?}");
        // Now the wrapper comes, and finds that it may not.
        std::fs::write(host.path("begin"), "").expect("the folder is ours");
        wait_for(&host.state().join("jobs/a1/pid"));
        assert_eq!(host.follow("a1").job(), Some(JobState::Untransferred), "{shell}");
        let mut next = counting(&host);
        next.voids.push("a1");
        assert_eq!(host.start("a2", &next).end(), Some((JobEnd::Completed, "-")), "{shell}");
        assert_eq!(lines(&host.path("count")), 1, "{shell}: only the second one ran");
    });
}

// REVIEW C12
#[test]
fn a_transfer_that_died_does_not_stand_in_the_way_of_the_next_one_and_never_runs() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let job = counting(&host);
        let (mut first, mut stdin, payload) = send_program(&host, "a1", &job);
        assert_eq!(host.start("a2", &job).refused(), Some((Refusal::Busy, "a1")), "{shell}");
        let mut next = counting(&host);
        next.voids.push("a1");
        let reply = host.start("a2", &next);
        let told = Record::Job {
            attempt: "a1".to_owned(),
            state: JobState::Untransferred,
        };
        assert!(reply.records.contains(&told), "{shell}: {reply:?}");
        assert_eq!(reply.end(), Some((JobEnd::Completed, "-")), "{shell}: {reply:?}");
        // The first one's payload arrives after all.
        let _ = stdin.write_all(&payload);
        drop(stdin);
        let _ = first.stdout.take().expect("piped").read_to_end(&mut Vec::new());
        let _ = first.wait();
        assert_eq!(lines(&host.path("count")), 1, "{shell}");
    });
}

#[test]
fn a_job_that_began_after_all_is_not_removed_as_one_that_did_not() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        assert!(host.start("a1", &counting(&host)).done, "{shell}");
        let mut next = counting(&host);
        next.voids.push("a1");
        assert_eq!(
            host.start("a2", &next).refused(),
            Some((Refusal::Busy, "a1")),
            "{shell}"
        );
        assert_eq!(host.follow("a1").end(), Some((JobEnd::Completed, "-")), "{shell}");
        // One of which the host never heard is none, and says so.
        next.voids = vec!["a0"];
        next.acks = vec!["a1"];
        let reply = host.start("a2", &next);
        assert_eq!(reply.job(), Some(JobState::Gone), "{shell}: {reply:?}");
        assert_eq!(reply.end(), Some((JobEnd::Completed, "-")), "{shell}: {reply:?}");
    });
}

// REVIEW H11
#[test]
fn a_start_that_is_tried_again_on_first_contact_finds_the_id_that_it_gave() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let mut job = counting(&host);
        job.first_contact = true;
        let (mut first, stdin, _) = send_program(&host, "a1", &job);
        let mut again = counting(&host);
        again.first_contact = true;
        again.voids.push("a1");
        assert_eq!(
            host.start("a2", &again).end(),
            Some((JobEnd::Completed, "-")),
            "{shell}"
        );
        drop(stdin);
        let _ = first.wait();
        // Another id than the one that was to be given is another machine, on first contact too.
        std::fs::write(host.state().join("machine"), "11111111-2222-4333-8444-555555555555\n").expect("ours");
        again.voids = Vec::new();
        again.acks.push("a2");
        let refused = host.start("a3", &again);
        assert_eq!(
            refused.refused(),
            Some((Refusal::Machine, "11111111-2222-4333-8444-555555555555")),
            "{shell}"
        );
        assert_ne!(host::MACHINE_NEW, "11111111-2222-4333-8444-555555555555");
    });
}

#[test]
fn an_observation_takes_nothing_from_a_job_that_is_on_its_way() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let (mut child, mut stdin, payload) = send_program(&host, "a1", &counting(&host));
        assert_eq!(host.observe("").job(), Some(JobState::Untransferred), "{shell}");
        stdin.write_all(&payload).expect("the payload is read");
        drop(stdin);
        let mut said = String::new();
        let _ = child.stdout.take().expect("piped").read_to_string(&mut said);
        let _ = child.wait();
        assert!(said.contains("end a1 completed"), "{shell}: {said}");
        assert_eq!(lines(&host.path("count")), 1, "{shell}");
    });
}

// REVIEW H18
#[test]
fn a_job_folder_that_vanished_under_its_transfer_is_told_as_that() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let (mut child, mut stdin, payload) = send_program(&host, "a1", &counting(&host));
        let (first, rest) = payload.split_at(payload.len() / 2);
        stdin.write_all(first).expect("the payload is read");
        let job = host.state().join("jobs/a1");
        wait_for(&job.join("incoming"));
        std::fs::remove_dir_all(&job).expect("ours");
        let _ = stdin.write_all(rest);
        drop(stdin);
        let mut said = String::new();
        let _ = child.stdout.take().expect("piped").read_to_string(&mut said);
        let _ = child.wait();
        assert!(said.contains("refused no-state-dir "), "{shell}: {said}");
        assert!(said.contains("was removed"), "{shell}: {said}");
        assert!(!said.contains("space"), "{shell}: {said}");
    });
}

// REVIEW H7
#[test]
fn a_host_tells_which_job_was_a_controllers_last_and_what_it_keeps_of_before() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let told = |record| host.observe("").records.contains(&record);
        let last = |attempt: &str| Record::Last {
            attempt: attempt.to_owned(),
        };
        assert!(host.start("a1", &counting(&host)).done, "{shell}");
        assert!(told(last("a1")), "{shell}");
        assert!(host.ack("a1", 9).done, "{shell}");
        assert!(told(last("a1")), "{shell}: also when it is long gone");
        let mut next = counting(&host);
        next.epoch = 9;
        assert!(host.start("a2", &next).done, "{shell}");
        assert!(told(last("a2")), "{shell}");
        // Another controller's is none of ours.
        std::fs::write(host.state().join("controllers/c2"), "a3\n").expect("ours");
        assert!(!told(last("a3")), "{shell}");
        for (life, meta) in [
            ("a1-7", "address file./etc/caf\u{e9} b\ntype file\n"),
            ("a1-8.new", "address file./half\n"),
            ("a1-9", "garbage\n"),
        ] {
            let folder = host.state().join("before").join(life);
            std::fs::create_dir_all(&folder).expect("ours");
            std::fs::write(folder.join("meta"), meta).expect("ours");
        }
        let lives: Vec<_> = host
            .observe("")
            .records
            .into_iter()
            .filter(|record| matches!(record, Record::Life { .. }))
            .collect();
        let whole = Record::Life {
            life: "a1-7".to_owned(),
            address: "file./etc/caf\u{e9} b".to_owned(),
        };
        assert_eq!(lives, [whole], "{shell}");
    });
}
