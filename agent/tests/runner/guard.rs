//! The guard of jobs that change what carries us (LEGACY L10): confirmed they stay, unconfirmed they come back, whoever
//! is killed meanwhile.

use super::host::{Host, Job, Reply, lines, nonce, under_every_shell, wait_for};
use super::quote;
use holdfast_agent::program::{self, ConfirmRequest};
use holdfast_agent::reply::{Decision, JobEnd, JobState, Record, StepStatus};
use std::process::Command;
use std::thread;

/// A file and the service that reads it: its restart is counted. Nobody has longer than `seconds` to confirm.
fn file_and_restart(host: &Host, seconds: u32) -> Job {
    std::fs::write(host.path("file"), "good\n").expect("the folder is ours");
    // No init of this machine is told anything: what would be is looked at by the test.
    std::fs::create_dir_all(host.path("etc/cron.d")).expect("the folder is ours");
    let etc = quote(&host.path("etc"));
    let (file, restarts) = (quote(&host.path("file")), quote(&host.path("restarts")));
    let body = format!(
        r#"
hf_prologue() {{
  :
}}
hf_fingerprint=''
hf_confirm_limit={seconds}
hf_etc={etc}
hf_have() {{
  command -v "$1" >/dev/null 2>&1 || [ "$1" = cron ]
}}
hf_meta_1() {{
  hf_address='file./etc/ssh/sshd_config' hf_life=begins hf_wanted='text bad' hf_guard=restore
}}
hf_probe_1() {{
  read -r text <{file}
  hf_attr text "$text"
}}
hf_capture_1() {{
  cp {file} "$hf_before/content"
}}
hf_snapshot_1() {{
  cp {file} "$hf_before/content"
}}
hf_apply_1() {{
  echo bad >{file}
}}
hf_revert_1() {{
  cp "$hf_before/content" {file}
}}
hf_meta_2() {{
  hf_address='service.ssh' hf_always=1 hf_only_if=1 hf_guard=again
}}
hf_probe_2() {{
  hf_attr running yes
}}
hf_apply_2() {{
  cat {file} >>{restarts}
}}
hf_steps=2
"#
    );
    Job { body, ..Job::default() }
}

fn confirm(host: &Host, attempt: &str) -> Option<Decision> {
    let state = host.state_text();
    let request = ConfirmRequest {
        state_dir: Some(&state),
        attempt,
    };
    let nonce = nonce();
    let reply = host.exec(&nonce, &program::confirm(&nonce, &request), |_| None);
    reply.records.iter().find_map(|record| match record {
        Record::Decided { decision, .. } => Some(*decision),
        _ => None,
    })
}

fn text(host: &Host) -> String {
    std::fs::read_to_string(host.path("file")).expect("it is there")
}

fn guarded(reply: &Reply) -> bool {
    reply
        .records
        .iter()
        .any(|record| matches!(record, Record::Guarded { .. }))
}

#[test]
fn what_nobody_confirms_comes_back_and_restarts_once_more() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let reply = host.start("a1", &file_and_restart(&host, 2));
        assert!(guarded(&reply), "{shell}: {reply:?}");
        assert_eq!(reply.end(), Some((JobEnd::Reverted, "-")), "{shell}: {reply:?}");
        assert_eq!(
            reply.steps(),
            [(StepStatus::Reverted, ""), (StepStatus::Reverted, "")],
            "{shell}: {reply:?}"
        );
        assert_eq!(text(&host), "good\n", "{shell}");
        let restarts = std::fs::read_to_string(host.path("restarts")).expect("it was restarted");
        assert_eq!(restarts, "bad\ngood\n", "{shell}");
        assert_eq!(confirm(&host, "a1"), Some(Decision::Reverted), "{shell}");
        assert_eq!(text(&host), "good\n", "{shell}");
        assert!(host.ack("a1", 0).done);
    });
}

#[test]
fn what_is_confirmed_stays() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        // Far longer than the test: it ends because it is confirmed.
        let job = file_and_restart(&host, 600);
        let reply = thread::scope(|scope| {
            scope.spawn(|| {
                wait_for(&host.state().join("jobs/a1/guard/over"));
                while confirm(&host, "a1") == Some(Decision::Early) {
                    thread::yield_now();
                }
            });
            host.start("a1", &job)
        });
        assert_eq!(reply.end(), Some((JobEnd::Completed, "-")), "{shell}: {reply:?}");
        assert_eq!(
            reply.steps(),
            [(StepStatus::Changed, ""), (StepStatus::Changed, "")],
            "{shell}: {reply:?}"
        );
        assert_eq!(text(&host), "bad\n", "{shell}");
        assert_eq!(lines(&host.path("restarts")), 1, "{shell}");
        assert_eq!(confirm(&host, "a1"), Some(Decision::Confirmed), "{shell}");
    });
}

/// Kills a process of a job by the file that names it.
fn kill(host: &Host, file: &str) {
    let path = host.state().join(file);
    wait_for(&path);
    let pid = std::fs::read_to_string(&path).expect("it is there");
    let pid = pid.split(' ').next().expect("a number").to_owned();
    let killed = Command::new("kill").args(["-KILL", &pid]).status().expect("kill runs");
    assert!(killed.success(), "{file}: {pid}");
}

#[test]
fn the_guard_outlives_the_wrapper() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let job = file_and_restart(&host, 3);
        let reply = thread::scope(|scope| {
            scope.spawn(|| {
                wait_for(&host.state().join("jobs/a1/guard/over"));
                kill(&host, "jobs/a1/pid");
            });
            host.start("a1", &job)
        });
        assert_eq!(reply.end(), Some((JobEnd::Reverted, "-")), "{shell}: {reply:?}");
        assert_eq!(text(&host), "good\n", "{shell}");
        // A service that read the bad one has to read the good one, whoever is left to tell it.
        let restarts = std::fs::read_to_string(host.path("restarts")).expect("it was restarted");
        assert_eq!(restarts, "bad\ngood\n", "{shell}");
        assert_eq!(host.observe("").job(), Some(JobState::Done), "{shell}");
    });
}

#[test]
fn the_wrapper_is_the_guard_when_the_guard_is_killed() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let job = file_and_restart(&host, 3);
        let reply = thread::scope(|scope| {
            scope.spawn(|| {
                wait_for(&host.state().join("jobs/a1/guard/over"));
                kill(&host, "jobs/a1/guard/pid");
            });
            host.start("a1", &job)
        });
        assert_eq!(reply.end(), Some((JobEnd::Reverted, "-")), "{shell}: {reply:?}");
        assert_eq!(text(&host), "good\n", "{shell}");
    });
}

#[test]
fn a_failed_step_is_taken_back_too_with_all_before_it() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let mut job = file_and_restart(&host, 2);
        job.body = job.body.replace("hf_apply_2() {\n", "hf_apply_2() {\n  ! grep bad ");
        job.body = job.body.replace("grep bad   cat", "grep bad");
        job.body = job.body.replace(" >>", " # ");
        let reply = host.start("a1", &job);
        assert_eq!(reply.end(), Some((JobEnd::Reverted, "-")), "{shell}: {reply:?}");
        // What failed is the news, not that nobody confirmed.
        let steps = reply.steps();
        assert_eq!(
            steps[0],
            (StepStatus::Reverted, "failed: service.ssh: failed, 1"),
            "{shell}: {reply:?}"
        );
        assert_eq!(text(&host), "good\n", "{shell}");
    });
}

// The host goes down with the wrapper and the guard, and what it left word of runs at the next boot.
#[test]
fn a_boot_takes_back_what_was_not_decided_before_it() {
    under_every_shell(|shell| {
        let host = Host::plain(shell);
        let job = file_and_restart(&host, 600);
        let hook = host.path("etc/cron.d/holdfast-guard");
        let state = host.state();
        thread::scope(|scope| {
            scope.spawn(|| host.start("a1", &job));
            wait_for(&state.join("jobs/a1/guard/over"));
            let line = std::fs::read_to_string(&hook).expect("the init is told");
            assert!(
                line.contains("@reboot root ") && line.contains("/at-boot"),
                "{shell}: {line}"
            );
            kill(&host, "jobs/a1/guard/pid");
            kill(&host, "jobs/a1/pid");
        });
        assert_eq!(text(&host), "bad\n", "{shell}");
        // The crash cut a line of the journal.
        let journal = state.join("jobs/a1/journal");
        let mut cut = std::fs::read_to_string(&journal).expect("it is there");
        cut.push_str("step a1 2 cha");
        std::fs::write(&journal, cut).expect("it is ours");

        let boot = Command::new("/bin/sh")
            .arg(state.join("at-boot"))
            .env("HOLDFAST_SH", shell)
            .status();
        assert!(boot.expect("it runs").success(), "{shell}");
        assert_eq!(text(&host), "good\n", "{shell}");
        let restarts = std::fs::read_to_string(host.path("restarts")).expect("it was restarted");
        assert_eq!(restarts, "bad\ngood\n", "{shell}");
        assert!(!hook.exists() && !state.join("at-boot").exists(), "{shell}");
        let reply = host.follow("a1");
        assert_eq!(reply.end(), Some((JobEnd::Reverted, "-")), "{shell}: {reply:?}");
        let why = "failed: the host booted before anybody confirmed";
        assert_eq!(
            reply.steps(),
            [(StepStatus::Reverted, why), (StepStatus::Reverted, why)],
            "{shell}: {reply:?}"
        );
        assert!(host.ack("a1", 0).done);
    });
}

#[test]
fn word_left_for_a_boot_is_gone_once_it_is_decided() {
    under_every_shell(|shell| {
        let host = Host::plain(shell);
        let reply = host.start("a1", &file_and_restart(&host, 1));
        assert_eq!(reply.end(), Some((JobEnd::Reverted, "-")), "{shell}: {reply:?}");
        let told = std::fs::read_dir(host.path("etc/cron.d")).expect("the folder is ours");
        assert_eq!(told.count(), 0, "{shell}");
        assert!(!host.state().join("at-boot").exists(), "{shell}");
    });
}
