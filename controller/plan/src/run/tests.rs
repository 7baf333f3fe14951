//! The run's state machine, tried step by step and at random.

use super::*;
use crate::ids::SeededIds;
use crate::observation::{JobEnd, JobState};
use crate::outcome::{SkipReason, UnreachableKind, Unreached};

fn run(hosts: &[(&str, Work)], limits: Limits) -> Run {
    let hosts = hosts.iter().map(|(host, work)| HostTask {
        host: (*host).into(),
        work: work.clone(),
    });
    let spec = RunSpec {
        hosts: hosts.collect(),
        limits,
    };
    Run::new(spec, Box::new(SeededIds(1)))
}

fn host() -> HostName {
    "web01".into()
}

/// Brings a run of one host to where its job is being sent.
fn sent(work: Work) -> (Run, AttemptId) {
    let mut run = run(&[("web01", work)], Limits::default());
    let tasks = run.handle(Input::Begin);
    let [Task::Intend { attempt, .. }] = tasks.as_slice() else {
        panic!("{tasks:?}");
    };
    let attempt = attempt.clone();
    let input = Input::Intended {
        host: host(),
        attempt: attempt.clone(),
    };
    assert_eq!(run.handle(input).len(), 1);
    (run, attempt)
}

fn over(attempt: &AttemptId, state: JobState, end: Option<JobEnd>) -> Input {
    Input::JobOver {
        host: host(),
        report: JobReport {
            attempt: attempt.clone(),
            state,
            end,
            steps: Vec::new(),
        },
    }
}

fn lost(attempt: &AttemptId) -> Input {
    Input::Lost {
        host: host(),
        attempt: attempt.clone(),
        why: "reset".to_owned(),
    }
}

fn not_sent(attempt: &AttemptId, kind: UnreachableKind) -> Input {
    Input::NotSent {
        host: host(),
        attempt: attempt.clone(),
        why: Unreached::new(kind, ""),
    }
}

fn outcomes(tasks: &[Task]) -> Vec<&str> {
    let ends = tasks.iter().filter_map(|task| match task {
        Task::End { outcome, .. } => Some(outcome.word()),
        _ => None,
    });
    ends.collect()
}

#[test]
fn a_lost_connection_leads_to_asking_the_host_and_never_to_a_second_start() {
    let (mut run, attempt) = sent(Work::Job);
    let tasks = run.handle(lost(&attempt));
    let [Task::Wait { serial, .. }] = tasks.as_slice() else {
        panic!("{tasks:?}");
    };
    let (serial, name) = (*serial, host());
    assert_eq!(run.handle(lost(&attempt)), [], "the same loss told twice is one loss");
    let tasks = run.handle(Input::Timer {
        host: name.clone(),
        serial,
    });
    assert_eq!(
        tasks,
        [Task::Attach {
            host: name.clone(),
            attempt: attempt.clone()
        }]
    );
    assert_eq!(run.handle(Input::Timer { host: name, serial }), []);
    let tasks = run.handle(over(&attempt, JobState::Done, Some(JobEnd::Completed)));
    assert_eq!(outcomes(&tasks), ["ok"]);
    assert!(matches!(tasks[1], Task::Acknowledge { .. }));
}

#[test]
fn an_ad_hoc_command_that_was_sent_is_never_sent_again() {
    let (mut run, attempt) = sent(Work::Command);
    let tasks = run.handle(lost(&attempt));
    assert_eq!(outcomes(&tasks), ["unknown"]);
    assert!(run.is_over());
}

#[test]
fn a_refused_key_is_not_tried_again_and_a_refused_connection_is() {
    let (mut run, attempt) = sent(Work::Job);
    let tasks = run.handle(not_sent(&attempt, UnreachableKind::AuthRefused));
    assert_eq!(outcomes(&tasks), ["unreachable"]);
    assert!(
        matches!(tasks[0], Task::Void { .. }),
        "nothing came of the intent: {tasks:?}"
    );

    let (mut run, attempt) = sent(Work::Job);
    for serial in 1..=2 {
        let tasks = run.handle(not_sent(&attempt, UnreachableKind::ConnectRefused));
        assert!(matches!(tasks.as_slice(), [Task::Wait { .. }]), "{tasks:?}");
        let tasks = run.handle(Input::Timer { host: host(), serial });
        assert!(matches!(tasks.as_slice(), [Task::Start { .. }]), "{tasks:?}");
    }
    let tasks = run.handle(not_sent(&attempt, UnreachableKind::ConnectRefused));
    assert_eq!(outcomes(&tasks), ["unreachable"], "the default is two more tries");
}

#[test]
fn a_host_that_stays_away_is_left_as_unknown() {
    let (mut run, attempt) = sent(Work::Job);
    let mut tasks = run.handle(lost(&attempt));
    let mut attaches = 0;
    while let [Task::Wait { serial, .. }] = tasks.as_slice() {
        let serial = *serial;
        attaches += run.handle(Input::Timer { host: host(), serial }).len();
        tasks = run.handle(not_sent(&attempt, UnreachableKind::ConnectTimeout));
    }
    assert_eq!(attaches, 8, "as many as the limits say");
    assert_eq!(outcomes(&tasks), ["unknown"]);
}

fn silent(attempt: &AttemptId) -> Input {
    Input::Silent {
        host: host(),
        attempt: attempt.clone(),
        why: "the host said nothing for 60 s".to_owned(),
    }
}

// REVIEW C4, H13
#[test]
fn a_host_that_falls_silent_again_and_again_is_left_after_three_silences() {
    for says_that_it_runs in [false, true] {
        let (mut run, attempt) = sent(Work::Job);
        let (mut tasks, mut silences) = (Vec::new(), 0);
        for serial in 1..=10 {
            silences += 1;
            tasks = run.handle(silent(&attempt));
            if !matches!(tasks.as_slice(), [Task::Wait { .. }]) {
                break;
            }
            let tasks = run.handle(Input::Timer { host: host(), serial });
            assert!(matches!(tasks.as_slice(), [Task::Attach { .. }]), "{tasks:?}");
            if says_that_it_runs {
                // That is all it says, each time.
                let attempt = attempt.clone();
                run.handle(Input::Started { host: host(), attempt });
            }
        }
        assert_eq!(silences, 3);
        assert_eq!(outcomes(&tasks), ["unknown"]);
        assert!(run.is_over());
    }
}

// REVIEW C4
#[test]
fn a_job_that_takes_longer_than_its_plan_allows_is_left_at_once() {
    let (mut run, attempt) = sent(Work::Job);
    run.handle(Input::Started {
        host: host(),
        attempt: attempt.clone(),
    });
    let why = "the host told nothing new for 1800 s".to_owned();
    let tasks = run.handle(Input::Overdue {
        host: host(),
        attempt,
        why,
    });
    assert_eq!(outcomes(&tasks), ["unknown"]);
    assert!(run.is_over());
}

#[test]
fn an_echo_of_the_first_word_does_not_make_a_run_wait_for_ever() {
    let (mut run, attempt) = sent(Work::Job);
    let started = Input::Started {
        host: host(),
        attempt: attempt.clone(),
    };
    run.handle(started.clone());
    run.handle(lost(&attempt));
    run.handle(Input::Timer {
        host: host(),
        serial: 1,
    });
    // Found by the simulator: the echo, then the news that the second connection failed.
    run.handle(started);
    let tasks = run.handle(not_sent(&attempt, UnreachableKind::ConnectTimeout));
    assert!(matches!(tasks.as_slice(), [Task::Wait { serial: 2, .. }]), "{tasks:?}");
}

#[test]
fn a_start_that_the_host_knows_already_is_followed() {
    let (mut run, attempt) = sent(Work::Job);
    let tasks = run.handle(Input::Refused {
        host: host(),
        attempt,
        kind: RefusalKind::Exists,
        detail: String::new(),
    });
    assert!(matches!(tasks.as_slice(), [Task::Attach { .. }]), "{tasks:?}");
}

#[test]
fn a_transfer_that_died_is_tried_under_a_new_attempt() {
    let (mut run, attempt) = sent(Work::Job);
    run.handle(lost(&attempt));
    run.handle(Input::Timer {
        host: host(),
        serial: 1,
    });
    let tasks = run.handle(over(&attempt, JobState::Untransferred, None));
    let [Task::Void { attempt: old, .. }, Task::Intend { attempt: new, .. }] = tasks.as_slice() else {
        panic!("{tasks:?}");
    };
    assert_eq!(old, &attempt);
    assert_ne!(new, &attempt);
}

#[test]
fn cancel_starts_nothing_new_and_follows_what_runs() {
    let work = || Work::Job;
    let limits = Limits {
        forks: 1,
        ..Limits::default()
    };
    let mut run = run(&[("web01", work()), ("web02", work())], limits);
    let Some(Task::Intend { attempt, .. }) = run.handle(Input::Begin).pop() else {
        panic!("it starts one");
    };
    run.handle(Input::Intended {
        host: host(),
        attempt: attempt.clone(),
    });
    assert_eq!(outcomes(&run.handle(Input::Cancel)), ["cancelled"]);
    assert_eq!(run.in_flight(), [&host()]);
    let tasks = run.handle(over(&attempt, JobState::Done, Some(JobEnd::Completed)));
    assert_eq!(outcomes(&tasks), ["ok"]);
    let tasks = run.handle(Input::Acknowledged { host: host(), attempt });
    assert!(matches!(tasks.as_slice(), [Task::Finish { recap }] if recap.ok == 1 && recap.cancelled == 1));
}

#[test]
fn a_second_cancel_leaves_what_runs_as_unknown() {
    let (mut run, _) = sent(Work::Job);
    assert_eq!(run.handle(Input::Cancel), []);
    let tasks = run.handle(Input::Abandon);
    assert_eq!(outcomes(&tasks), ["unknown"]);
    assert!(run.is_over());
}

#[test]
fn too_many_failures_stop_the_run() {
    let bad = Work::Settled {
        outcome: Outcome::Refused {
            kind: RefusalKind::Plan,
            detail: String::new(),
        },
    };
    let limits = Limits {
        max_failures: Some(0),
        ..Limits::default()
    };
    let mut run = run(&[("web01", Work::Job), ("web02", bad)], limits);
    let tasks = run.handle(Input::Begin);
    assert_eq!(outcomes(&tasks), ["refused", "skipped"]);
    assert_eq!(
        tasks[1],
        Task::End {
            host: host(),
            attempt: None,
            outcome: Outcome::Skipped {
                why: SkipReason::MaxFailures
            },
            settle: false,
        }
    );
}

#[test]
fn a_run_without_hosts_is_over_at_once() {
    let mut run = run(&[], Limits::default());
    assert_eq!(run.handle(Input::Begin).len(), 1);
    assert!(run.is_over());
    assert_eq!(run.handle(Input::Begin), []);
}
