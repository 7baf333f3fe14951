//! The runner under faults: processes that are killed alone, shells that begin late, clocks that go back.

#[expect(dead_code, reason = "the other tests use the rest of the test host")]
mod host;

use holdfast_agent::reply::{JobEnd, JobState, Record, Refusal};
use host::{Host, Job, lines, under_every_shell};
use std::path::Path;
use std::process::Command;

fn quote(path: &Path) -> String {
    format!("'{}'", path.display())
}

/// A step that counts its runs, says that it began, and waits until it may end.
fn waiting_step(host: &Host) -> Job {
    Job::of(&[&format!(
        "echo run >>{}; : >{}; until [ -e {} ]; do sleep 1; done",
        quote(&host.path("count")),
        quote(&host.path("begun")),
        quote(&host.path("may end"))
    )])
}

fn open(gate: &Path) {
    std::fs::write(gate, "").expect("the folder is ours");
}

// REVIEW H6
#[test]
fn a_step_that_outlives_its_wrapper_keeps_the_job_running_and_is_not_run_beside_itself() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let job = waiting_step(&host);
        let mut child = host.begin(&job, &host.path("begun"));
        host.kill_wrapper();
        assert_eq!(host.observe("").job(), Some(JobState::Running), "{shell}");
        assert_eq!(host.ack("a1", 0).refused(), Some((Refusal::Busy, "a1")), "{shell}");
        let mut next = waiting_step(&host);
        assert_eq!(
            host.start("a2", &next).refused(),
            Some((Refusal::Busy, "a1")),
            "{shell}"
        );
        next.acks.push("a1");
        assert_eq!(
            host.start("a2", &next).refused(),
            Some((Refusal::Busy, "a1")),
            "{shell}"
        );
        assert_eq!(lines(&host.path("count")), 1, "{shell}");
        open(&host.path("may end"));
        assert_eq!(host.follow("a1").job(), Some(JobState::Interrupted), "{shell}");
        let _ = child.wait();
        assert_eq!(host.observe("").job(), Some(JobState::Interrupted), "{shell}");
        assert_eq!(host.start("a2", &next).end(), Some((JobEnd::Completed, "-")), "{shell}");
    });
}

// REVIEW H6
#[test]
fn the_time_of_a_step_is_kept_when_its_wrapper_was_killed() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let begun = host.path("begun");
        let mut job = Job::of(&[&format!("echo $$ >{0}.new; mv {0}.new {0}; sleep 300", begun.display())]);
        job.body = job.body.replace("hf_timeout=60", "hf_timeout=4");
        let mut child = host.begin(&job, &begun);
        host.kill_wrapper();
        assert_eq!(host.observe("").job(), Some(JobState::Running), "{shell}");
        let reply = host.follow("a1");
        let _ = child.wait();
        assert!(reply.done, "{shell}: {reply:?}");
        assert_eq!(host.observe("").job(), Some(JobState::Interrupted), "{shell}");
        let pid = std::fs::read_to_string(&begun).expect("the step wrote it");
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{shell}: it lives: {stat}");
    });
}

// REVIEW H6
#[test]
fn a_step_whose_wrapper_is_dead_does_not_begin() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let count = host.path("count");
        let job = Job::of(&[&format!("echo run >>{}", quote(&count))]);
        assert_eq!(host.start("a1", &job).end(), Some((JobEnd::Completed, "-")), "{shell}");
        let mut words = shell.split(' ');
        let late = Command::new(words.next().expect("a split has a first part"))
            .args(words)
            .arg(host.state().join("jobs/a1/step"))
            .args([&host.state_text(), "a1", "apply", "1"])
            .status()
            .expect("the shell is there");
        assert_eq!(late.code(), Some(1), "{shell}");
        assert_eq!(lines(&count), 1, "{shell}");
    });
}

// REVIEW H26
#[test]
fn a_clock_that_goes_back_costs_a_step_its_time_and_nothing_else() {
    if !host::may_mount() {
        return;
    }
    let host = Host::bare("dash");
    let mut job = Job::of(&[":"]);
    // Without /proc/uptime the date is all there is; it goes back an hour between any two looks.
    let past = quote(&host.path("past"));
    job.body.push_str(&format!(
        "date() {{\nhour=$(cat {past} 2>/dev/null)\nhour=$((${{hour:-100}} - 1))\necho $hour >{past}\necho $((hour * 3600))\n}}\n"
    ));
    let reply = host.start("a1", &job);
    assert_eq!(reply.end(), Some((JobEnd::Completed, "-")), "{reply:?}");
    assert!(lines(&host.path("past")) == 1, "the clock was looked at");
    let told = reply
        .records
        .iter()
        .any(|record| matches!(record, Record::Step { seconds: 0, .. }));
    assert!(told, "{reply:?}");
}

/// Observes a resource on a host where some tool is a function of the test's.
fn probed_with(host: &Host, tool: &str, body: &str) -> Vec<(String, String)> {
    let reply = host.observe(&format!("{tool}\n{body}"));
    assert!(reply.done, "{reply:?}");
    reply
        .records
        .into_iter()
        .filter_map(|record| match record {
            Record::Attr { key, value, .. } => Some((key, value)),
            _ => None,
        })
        .collect()
}

// REVIEW H20
#[test]
fn only_the_words_of_a_crontab_command_say_that_there_is_no_crontab() {
    let body = "hf_begin 1\nhf_probe_cron old x";
    let batch = "hf_collect_crontab old\nhf_collect\nhf_begin 1\nhf_probe_cron old x";
    // As Debian's and Red Hat's cron and busybox say it, and what a broken disk and a closed folder look like.
    let words = [
        ("no crontab for old", true),
        ("crontab: can't open 'old': No such file or directory", true),
        ("crontab: crontabs/old: Input/output error", false),
        ("crontab: can't open 'old': Input/output error", false),
        (
            "crontab: can't change directory to '/var/spool/cron/crontabs': No such file or directory",
            false,
        ),
        ("You (old) are not allowed to use this program (crontab)", false),
        ("", false),
    ];
    under_every_shell(|shell| {
        let host = Host::new(shell);
        for (said, none) in words {
            let tool = format!(
                "crontab() {{\nprintf '%s\\n' {} >&2\nreturn 1\n}}",
                quote(Path::new(&said.replace('\'', "'\\''")))
            );
            for body in [body, batch] {
                let found = probed_with(&host, &tool, body);
                let expected = if none { "exists" } else { "unreadable" };
                assert_eq!(found.len(), 1, "{shell}: {said}: {found:?}");
                assert_eq!(found[0].0, expected, "{shell}: {said}: {found:?}");
                assert!(none || found[0].1.ends_with(said), "{shell}: {found:?}");
            }
        }
    });
}

// REVIEW H25
#[test]
fn two_hosts_that_share_a_home_leave_each_other_alone() {
    let host = Host::new("dash");
    let job = waiting_step(&host);
    let mut child = host.begin(&job, &host.path("begun"));
    let ours = std::fs::read_to_string(host.state().join("host")).expect("the start wrote it");
    let (name, boot) = ours.trim_end().split_once(' ').expect("name and boot");
    let uname = Command::new("uname").arg("-n").output().expect("uname is everywhere");
    assert_eq!(name, String::from_utf8_lossy(&uname.stdout).trim_end());
    let written = |text: String| std::fs::write(host.state().join("host"), text).expect("it is ours");
    // As another host sees it: another name, another boot.
    written("elsewhere 6b6f7a3c-0000-4000-8000-00000000000b\n".to_owned());
    for refused in [
        host.observe("").refused(),
        host.follow("a1").refused(),
        host.ack("a1", 0).refused(),
        host.start("a2", &job).refused(),
    ] {
        let (kind, why) = refused.expect("it is another host's");
        assert_eq!(kind, Refusal::NoStateDir);
        assert!(why.contains("is the state folder of host elsewhere"), "{why}");
    }
    assert!(host.state().join("jobs/a1").exists());
    // A renamed host that did not boot, and one that did under its old name.
    for same in [format!("elsewhere {boot}\n"), format!("{name} 0-0\n"), ours.clone()] {
        written(same);
        assert_eq!(host.observe("").job(), Some(JobState::Running));
    }
    open(&host.path("may end"));
    let _ = child.wait();
    assert_eq!(host.follow("a1").end(), Some((JobEnd::Completed, "-")));
}

// REVIEW H25
#[test]
fn the_state_folder_in_a_home_is_one_for_each_host() {
    let program = format!(
        "{}\n{}\nhf_uid_own=1000 hf_state='' HOME=/home/ops\nhf_state_dir\necho \"$hf_state\"",
        include_str!("../sh/prelude.sh"),
        include_str!("../sh/state.sh")
    );
    let said = Command::new("sh")
        .args(["-c", &program])
        .output()
        .expect("sh is everywhere");
    let uname = Command::new("uname").arg("-n").output().expect("uname is everywhere");
    assert_eq!(
        String::from_utf8_lossy(&said.stdout),
        format!("/home/ops/.holdfast/{}", String::from_utf8_lossy(&uname.stdout))
    );
}

// REVIEW A9
#[test]
fn what_a_ready_check_said_and_how_it_ended_is_told() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let mut job = Job::of(&["echo started"]);
        job.body = job
            .body
            .replace("hf_always=1", "hf_always=1 hf_ready_timeout=3 hf_ready_every=1");
        job.body
            .push_str("hf_ready_1() {\necho 'connection refused by 127.0.0.1' >&2\nreturn 7\n}\n");
        let reply = host.start("a1", &job);
        assert_eq!(
            reply.end(),
            Some((JobEnd::Stopped, "1 not-ready")),
            "{shell}: {reply:?}"
        );
        // Asked again, since a follower may have been told of the step's own words before the check ended.
        let output = host.follow("a1");
        let output = String::from_utf8_lossy(output.output(1).expect("there was output")).into_owned();
        let mut said = output.lines();
        assert_eq!(said.next(), Some("started"), "{shell}: {output}");
        // The time may be over between a check's words and its code, and these two are all that is said.
        let whole = ["connection refused by 127.0.0.1", "ready check ended with 7"];
        // posh tells now and then that the time was over in the middle of a pause.
        let said: Vec<&str> = said.filter(|line| line.trim() != "Terminated").collect();
        assert!(said.len() >= 2, "{shell}: {output}");
        for (at, line) in said.iter().enumerate() {
            assert_eq!(*line, whole[at % 2], "{shell}: {output}");
        }
    });
}
