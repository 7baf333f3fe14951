//! The empty lines by which the sh on a host says that it is at it: who reads gives up on silence.

#[expect(dead_code, reason = "the other tests use the rest of the test host")]
mod host;

use holdfast_agent::program::{self, FollowRequest, ObserveRequest};
use host::{Host, Job, under_every_shell};
use std::io::{BufRead, BufReader, Read, Write};

/// Sends a program and gives what it says, to be read as it comes.
fn send(host: &Host, program: &str) -> (std::process::Child, BufReader<std::process::ChildStdout>) {
    let mut child = host.spawn();
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(program.as_bytes()).expect("the program is read");
    let stdout = child.stdout.take().expect("stdout is piped");
    (child, BufReader::new(stdout))
}

// REVIEW C4
#[test]
fn who_follows_a_quiet_job_hears_an_empty_line_every_ten_seconds() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let (begun, go) = (host.path("begun"), host.path("go"));
        let wait = format!(
            "touch '{}'; until test -e '{}'; do sleep 0.05; done",
            begun.display(),
            go.display()
        );
        let mut first = host.begin(&Job::of(&[&wait]), &begun);
        let (nonce, state) = (host::nonce(), host.state_text());
        let request = FollowRequest {
            state_dir: Some(&state),
            attempt: "a1",
        };
        let program = String::from_utf8(program::follow(&nonce, &request)).expect("programs are text");
        // Its seconds are counted and not waited for.
        let hurried = program.replace("\nsleep 1\n", "\nhf_say a second\nsleep 0.01\n");
        assert_ne!(hurried, program);
        let (mut child, stdout) = send(&host, &hurried);
        let (mut seconds, mut heard) = (0, 0);
        for line in stdout.lines() {
            match line.expect("stdout can be read").as_str() {
                "a second" => seconds += 1,
                "" if seconds > 0 => heard += 1,
                _ => {}
            }
            assert!(seconds <= 10 * (heard + 1), "{shell}: {heard} in {seconds} seconds");
            if heard == 3 {
                break;
            }
        }
        assert_eq!(heard, 3, "{shell}");
        std::fs::write(&go, "").expect("the folder is ours");
        let _ = child.wait();
        let _ = first.wait();
    });
}

// REVIEW C4, H13
#[test]
fn who_observes_hears_an_empty_line_before_each_question_that_may_take_its_time() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let (nonce, state) = (host::nonce(), host.state_text());
        let mut body = String::from("hf_check_env() {\n:\n}\n");
        for id in 0..4 {
            body.push_str(&format!("hf_begin {id} 5\nhf_check='test {id} = 1'\nhf_probe_check\n"));
        }
        let request = ObserveRequest {
            state_dir: Some(&state),
            facts: false,
            controller: None,
            lives: false,
            body: &body,
        };
        let program = String::from_utf8(program::observe(&nonce, &request)).expect("programs are text");
        let (mut child, mut stdout) = send(&host, &program);
        let mut said = String::new();
        stdout.read_to_string(&mut said).expect("stdout can be read");
        let _ = child.wait();
        let mut quiet = true;
        for line in said.lines() {
            assert!(!line.contains(" attr ") || quiet, "{shell}: {said}");
            quiet = line.is_empty();
        }
        assert_eq!(said.matches(" attr ").count(), 4, "{shell}: {said}");
    });
}
