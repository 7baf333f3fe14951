//! The ledger's fold, event by event and at every prefix.

use super::*;
use crate::event::JobEnded;
use crate::ids::{MachineId, PlanId, RunId};
use crate::observation::JobEnd;
use crate::resource::{Directory, Ensure, File, Resource, Service};
use proptest::prelude::*;

fn machine() -> MachineId {
    MachineId("m".to_owned())
}

fn attempt(name: &str) -> AttemptId {
    AttemptId(name.to_owned())
}

fn attributes(pairs: &[(&str, &str)]) -> Attributes {
    Attributes(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

fn desired(resource: Resource, address: &str) -> DesiredResource {
    DesiredResource {
        address: address.parse().expect("an address"),
        resource,
        needs: Vec::new(),
        restart_on: Vec::new(),
        env: Vec::new(),
        ready: None,
        timeout_ms: 1_000,
        sensitive: false,
        prevent_undo: false,
        critical: None,
        declared_at: String::new(),
    }
}

fn file(path: &str) -> DesiredResource {
    let resource = Resource::File(File {
        path: path.to_owned(),
        ensure: Ensure::Present,
        content: None,
        mode: None,
        owner: None,
        group: None,
        sensitive: false,
        validate: None,
    });
    desired(resource, &format!("file.{path}"))
}

fn service() -> DesiredResource {
    let resource = Resource::Service(Service {
        name: "web".to_owned(),
        running: Some(true),
        enabled: None,
    });
    desired(resource, "service.web")
}

fn intent(name: &str, steps: Vec<(Action, DesiredResource)>, restarts: &[u32]) -> Event {
    let steps = (1..).zip(steps);
    Event::AttemptIntended(Intent {
        run: RunId("r".to_owned()),
        host: "h".into(),
        machine: machine(),
        attempt: attempt(name),
        epoch: 1,
        plan: PlanId("p".to_owned()),
        steps: steps
            .map(|(index, (action, desired))| IntendedStep {
                index,
                address: desired.address.clone(),
                action,
                life: match action {
                    Action::Delete => StepLifeKind::Ends {
                        life: LifeId("l".to_owned()),
                    },
                    Action::Restart => StepLifeKind::None,
                    _ => StepLifeKind::Begins,
                },
                desired,
            })
            .collect(),
        restarts: [(service().address, restarts.to_vec())].into(),
    })
}

fn report(name: &str, index: u32, status: StepStatus, before: &[(&str, &str)], after: &[(&str, &str)]) -> Event {
    Event::StepReported {
        machine: machine(),
        attempt: attempt(name),
        report: StepReport {
            index,
            changing: !matches!(
                status,
                StepStatus::Unchanged | StepStatus::NotCaptured { .. } | StepStatus::BeforeLost { .. }
            ),
            status,
            before: attributes(before),
            after: attributes(after),
            before_digest: Some(format!("digest of {name}")),
            output: Vec::new(),
            seconds: 0,
        },
    }
}

fn ended(name: &str, ended: JobEnded) -> Event {
    Event::JobEnded {
        machine: machine(),
        attempt: attempt(name),
        ended,
    }
}

/// When everything is recorded, where a test says nothing else.
const NOW: Timestamp = Timestamp(1_000);

fn fold(events: &[Event]) -> (Ledger, LedgerFold) {
    let (mut ledger, mut fold) = (Ledger::default(), LedgerFold::default());
    for event in events {
        fold.apply(&mut ledger, NOW, event);
    }
    (ledger, fold)
}

const ABSENT: &[(&str, &str)] = &[("type", "absent")];
const THERE: &[(&str, &str)] = &[("type", "file")];
const DIRECTORY: &[(&str, &str)] = &[("type", "directory")];
const RUNNING: &[(&str, &str)] = &[("running", "yes")];

#[test]
fn before_is_written_once_and_a_retry_keeps_it() {
    let events = [
        intent("a", vec![(Action::Create, file("/x"))], &[]),
        report("a", 1, StepStatus::Failed { code: 1 }, ABSENT, &[]),
        ended(
            "a",
            JobEnded::Ended {
                end: JobEnd::Stopped {
                    step: 1,
                    why: "failed".to_owned(),
                },
            },
        ),
        intent("b", vec![(Action::Update, file("/x"))], &[]),
        report("b", 1, StepStatus::Changed, &[("type", "directory")], THERE),
    ];
    let (ledger, _) = fold(&events);
    let entry = &ledger.entries[&file("/x").address];
    let before = Before {
        life: LifeId("a-1".to_owned()),
        attributes: attributes(ABSENT),
        digest: Some("digest of a".to_owned()),
    };
    assert_eq!(entry.before, Some(before));
    assert_eq!(entry.applied, attributes(THERE));
    assert_eq!(entry.phase, Phase::Ready);
}

#[test]
fn an_adopted_resource_gets_its_before_when_it_is_first_changed() {
    let adopted = Event::Adopted {
        host: "h".into(),
        machine: machine(),
        desired: file("/x"),
        applied: attributes(THERE),
    };
    let (ledger, _) = fold(std::slice::from_ref(&adopted));
    assert_eq!(ledger.entries[&file("/x").address].origin(), Origin::Adopted);
    let events = [
        adopted,
        intent("a", vec![(Action::Update, file("/x"))], &[]),
        report("a", 1, StepStatus::Changed, &[("mode", "0600")], THERE),
    ];
    let (ledger, _) = fold(&events);
    let entry = &ledger.entries[&file("/x").address];
    let before = entry.before.as_ref().expect("a life began");
    assert_eq!(before.attributes.get("mode"), Some("0600"));
}

#[test]
fn a_step_that_could_not_capture_enters_nothing() {
    let events = [
        intent("a", vec![(Action::Create, file("/x"))], &[]),
        report(
            "a",
            1,
            StepStatus::NotCaptured {
                why: "disk full".to_owned(),
            },
            ABSENT,
            &[],
        ),
    ];
    assert!(fold(&events).0.entries.is_empty());
}

#[test]
fn a_restart_is_owed_from_the_change_until_the_restart() {
    let steps = vec![(Action::Update, file("/x")), (Action::Restart, service())];
    let mut events = vec![
        intent("a", steps.clone(), &[1]),
        report("a", 1, StepStatus::Changed, ABSENT, THERE),
        ended("a", JobEnded::Interrupted),
    ];
    let owed = fold(&events).0.owed;
    assert_eq!(owed[&service().address], vec![file("/x").address]);
    events.push(intent("b", vec![(Action::Restart, service())], &[]));
    events.push(report("b", 1, StepStatus::NotReady, RUNNING, RUNNING));
    assert!(
        !fold(&events).0.owed.is_empty(),
        "a restart that did not end well is still owed"
    );
    events.push(intent("c", vec![(Action::Restart, service())], &[]));
    events.push(report("c", 1, StepStatus::Changed, RUNNING, RUNNING));
    assert!(fold(&events).0.owed.is_empty());
}

#[test]
fn a_step_begun_when_the_host_died_owes_a_restart() {
    let events = [
        intent("a", vec![(Action::Update, file("/x"))], &[1]),
        report("a", 1, StepStatus::Begun, ABSENT, &[]),
        ended("a", JobEnded::Interrupted),
    ];
    let (ledger, _) = fold(&events);
    assert!(ledger.owed.contains_key(&service().address));
    assert_eq!(ledger.entries[&file("/x").address].phase, Phase::Creating);
}

#[test]
fn a_start_is_as_good_as_a_restart() {
    let steps = vec![(Action::Update, file("/x")), (Action::Update, service())];
    let events = [
        intent("a", steps, &[1]),
        report("a", 1, StepStatus::Changed, ABSENT, THERE),
        report("a", 2, StepStatus::Changed, &[("running", "no")], RUNNING),
    ];
    assert!(fold(&events).0.owed.is_empty());
}

#[test]
fn a_failed_undo_is_stuck_until_a_person_decides() {
    let mut events = vec![
        intent("a", vec![(Action::Create, file("/x"))], &[]),
        report("a", 1, StepStatus::Changed, ABSENT, THERE),
        intent("b", vec![(Action::Delete, file("/x"))], &[]),
        report("b", 1, StepStatus::Failed { code: 1 }, THERE, THERE),
        intent("c", vec![(Action::Delete, file("/x"))], &[]),
        report("c", 1, StepStatus::Changed, THERE, ABSENT),
    ];
    assert_eq!(fold(&events).0.entries[&file("/x").address].phase, Phase::Stuck);
    events.push(Event::Resolved {
        host: "h".into(),
        machine: machine(),
        address: Some(file("/x").address),
        how: Resolution::Retry,
        by: "ops".to_owned(),
    });
    events.push(intent("d", vec![(Action::Delete, file("/x"))], &[]));
    events.push(report("d", 1, StepStatus::Unchanged, ABSENT, ABSENT));
    assert!(fold(&events).0.entries.is_empty());
}

/// A report of a step that was begun and did not come to change anything.
fn only_begun(name: &str, index: u32, status: StepStatus) -> Event {
    let Event::StepReported {
        machine,
        attempt,
        report,
    } = report(name, index, status, &[], &[])
    else {
        unreachable!("it makes one")
    };
    let report = StepReport {
        changing: false,
        ..report
    };
    Event::StepReported {
        machine,
        attempt,
        report,
    }
}

// REVIEW B1, H1: what is seen of a job between a step's beginning and its capture says nothing of what was there.
#[test]
fn a_step_seen_before_it_captured_enters_nothing_and_takes_nothing_away() {
    let events = [
        intent("a", vec![(Action::Create, file("/x"))], &[1]),
        only_begun("a", 1, StepStatus::Begun),
        report("a", 1, StepStatus::Changed, ABSENT, THERE),
    ];
    assert!(fold(&events[..2]).0.entries.is_empty());
    let (ledger, _) = fold(&events);
    let before = ledger.entries[&file("/x").address]
        .before
        .as_ref()
        .expect("a life began");
    assert_eq!(before.attributes, attributes(ABSENT));
    let died = [&events[..2], &[ended("a", JobEnded::Interrupted)]].concat();
    let (ledger, _) = fold(&died);
    assert!(ledger.entries.is_empty() && ledger.owed.is_empty());
}

// REVIEW B9: a full disk or a hanging probe is no failed undo.
#[test]
fn an_undo_before_which_nothing_happened_is_tried_again() {
    for status in [
        StepStatus::NotCaptured {
            why: "disk full".to_owned(),
        },
        StepStatus::TimedOut { survivors: Vec::new() },
    ] {
        let events = [
            intent("a", vec![(Action::Create, file("/x"))], &[]),
            report("a", 1, StepStatus::Changed, ABSENT, THERE),
            intent("b", vec![(Action::Delete, file("/x"))], &[]),
            only_begun("b", 1, status),
        ];
        assert_eq!(fold(&events).0.entries[&file("/x").address].phase, Phase::Ready);
    }
}

#[test]
fn what_was_there_before_and_is_lost_waits_for_a_person() {
    let events = [
        intent("a", vec![(Action::Create, file("/x"))], &[]),
        report("a", 1, StepStatus::Changed, ABSENT, THERE),
        intent("b", vec![(Action::Delete, file("/x"))], &[]),
        report("b", 1, StepStatus::BeforeLost { why: "gone".to_owned() }, THERE, &[]),
    ];
    assert_eq!(fold(&events).0.entries[&file("/x").address].phase, Phase::Stuck);
}

// REVIEW B10.
#[test]
fn a_step_that_changed_nothing_owes_nothing() {
    let events = [
        intent("a", vec![(Action::Update, file("/x"))], &[1]),
        only_begun("a", 1, StepStatus::Begun),
        report("a", 1, StepStatus::Unchanged, THERE, &[]),
        ended("a", JobEnded::Ended { end: JobEnd::Completed }),
    ];
    for cut in 0..=events.len() {
        assert!(fold(&events[..cut]).0.owed.is_empty(), "{cut}");
    }
}

// REVIEW B10.
#[test]
fn what_is_owed_to_a_service_that_nobody_has_is_forgotten() {
    let mut events = vec![
        intent("a", vec![(Action::Update, file("/x"))], &[1]),
        report("a", 1, StepStatus::Changed, ABSENT, THERE),
        ended("a", JobEnded::Ended { end: JobEnd::Completed }),
    ];
    assert!(!fold(&events).0.owed.is_empty());
    let Event::AttemptIntended(mut without) = intent("b", vec![(Action::Delete, file("/x"))], &[]) else {
        unreachable!("it makes one")
    };
    without.restarts.clear();
    events.push(Event::AttemptIntended(without));
    assert!(fold(&events).0.owed.is_empty());
}

// REVIEW A12, H19: what a life put there is remembered after the blueprint stopped saying so.
#[test]
fn what_holdfast_put_there_is_kept_by_attribute_through_a_life() {
    let with_mode = |mode: Option<&str>| {
        let mut desired = directory("/x");
        if let Resource::Directory(directory) = &mut desired.resource {
            directory.mode = mode.map(str::to_owned);
        }
        desired
    };
    let events = [
        intent("a", vec![(Action::Create, with_mode(Some("0700")))], &[]),
        report("a", 1, StepStatus::Changed, ABSENT, DIRECTORY),
        intent("b", vec![(Action::Update, with_mode(None))], &[]),
        report("b", 1, StepStatus::Changed, DIRECTORY, DIRECTORY),
    ];
    let (ledger, _) = fold(&events);
    let put = &ledger.entries[&directory("/x").address].put;
    assert_eq!(
        (put.get("type"), put.get("mode"), put.get("owner")),
        (Some("directory"), Some("0700"), None)
    );
}

// REVIEW H19: a person's chmod of what no blueprint spoke of is what comes back.
#[test]
fn what_a_life_sets_for_the_first_time_was_peoples_until_then() {
    let mut with_mode = directory("/x");
    if let Resource::Directory(directory) = &mut with_mode.resource {
        directory.mode = Some("0700".to_owned());
    }
    let file = &[("type", "file"), ("mode", "0600")];
    for (first, back) in [
        (&[("type", "directory"), ("mode", "0755")], Some("0711")),
        // What stood there was another thing: its mode was its own.
        (file, Some("0600")),
    ] {
        let events = [
            intent("a", vec![(Action::Create, directory("/x"))], &[]),
            report("a", 1, StepStatus::Changed, first, DIRECTORY),
            intent("b", vec![(Action::Update, with_mode.clone())], &[]),
            report(
                "b",
                1,
                StepStatus::Changed,
                &[("type", "directory"), ("mode", "0711")],
                DIRECTORY,
            ),
            intent("c", vec![(Action::Update, with_mode.clone())], &[]),
            report(
                "c",
                1,
                StepStatus::Changed,
                &[("type", "directory"), ("mode", "0777")],
                DIRECTORY,
            ),
        ];
        let (ledger, _) = fold(&events);
        let before = ledger.entries[&with_mode.address].before.as_ref().expect("a life");
        assert_eq!(before.attributes.get("mode"), back);
    }
}

fn any_status() -> impl Strategy<Value = StepStatus> {
    prop_oneof![
        Just(StepStatus::Begun),
        Just(StepStatus::Unchanged),
        Just(StepStatus::Changed),
        Just(StepStatus::Left { what: "x".to_owned() }),
        Just(StepStatus::Failed { code: 1 }),
        Just(StepStatus::NotReady),
        Just(StepStatus::NotCaptured { why: String::new() }),
    ]
}

/// Jobs of three steps on two files and a service, with any statuses.
fn any_log() -> impl Strategy<Value = Vec<Event>> {
    let job = (
        any::<bool>(),
        proptest::collection::vec(any_status(), 0..4),
        any::<bool>(),
    );
    proptest::collection::vec(job, 0..6).prop_map(|jobs| {
        let mut events = Vec::new();
        for (number, (undo, statuses, interrupted)) in jobs.into_iter().enumerate() {
            let name = format!("job{number}");
            let action = if undo { Action::Delete } else { Action::Update };
            let steps = vec![
                (action, file("/x")),
                (Action::Create, file("/y")),
                (Action::Restart, service()),
            ];
            events.push(intent(&name, steps, &[1, 2]));
            for (index, status) in (1..).zip(statuses) {
                events.push(report(&name, index, status, ABSENT, THERE));
            }
            let how = if interrupted {
                JobEnded::Interrupted
            } else {
                JobEnded::Ended { end: JobEnd::Completed }
            };
            events.push(ended(&name, how));
        }
        events
    })
}

fn directory(path: &str) -> DesiredResource {
    let resource = Resource::Directory(Directory {
        path: path.to_owned(),
        ensure: Ensure::Present,
        mode: None,
        owner: None,
        group: None,
    });
    desired(resource, &format!("directory.{path}"))
}

/// A report of an agent about the directory `/x`.
fn agent_report(seq: u64, observed_at: i64, found: &[(&str, &str)]) -> Event {
    Event::ReportRecorded {
        host: "web01".into(),
        machine: machine(),
        spool: "s".to_owned(),
        seq,
        digest: String::new(),
        observed_at: Timestamp(observed_at),
        resources: BTreeMap::from([(directory("/x").address, attributes(found))]),
    }
}

#[test]
fn what_an_agent_saw_is_drift_until_somebody_saw_it_in_order_later() {
    let address = directory("/x").address;
    let phase_after = |events: &[(i64, Event)]| {
        let (mut ledger, mut fold) = (Ledger::default(), LedgerFold::default());
        let applied = [
            intent("a", vec![(Action::Create, directory("/x"))], &[]),
            report("a", 1, StepStatus::Changed, ABSENT, DIRECTORY),
            ended("a", JobEnded::Ended { end: JobEnd::Completed }),
        ];
        for event in &applied {
            fold.apply(&mut ledger, NOW, event);
        }
        for (at, event) in events {
            fold.apply(&mut ledger, Timestamp(*at), event);
        }
        ledger.entries[&address].phase
    };
    let gone = |seq, at| (9_000, agent_report(seq, at, ABSENT));
    let there = |seq, at| (9_000, agent_report(seq, at, DIRECTORY));
    let mended = |at| {
        let event = Event::DriftSeen {
            host: "web01".into(),
            machine: machine(),
            drifted: BTreeMap::new(),
            mended: vec![address.clone()],
        };
        (at, event)
    };
    let cases = [
        (vec![gone(1, 2_000)], Phase::Drifted, "seen after the apply"),
        (
            vec![gone(1, 500)],
            Phase::Ready,
            "seen before the apply, collected after it",
        ),
        (
            vec![gone(1, 2_000), there(2, 3_000)],
            Phase::Ready,
            "the agent itself saw it in order",
        ),
        (
            vec![gone(1, 2_000), mended(3_000)],
            Phase::Ready,
            "a later plan saw it in order",
        ),
        (
            vec![gone(1, 2_000), mended(3_000), gone(2, 2_500)],
            Phase::Ready,
            "an older report came late",
        ),
        (
            vec![gone(1, 2_000), mended(3_000), gone(2, 3_500)],
            Phase::Drifted,
            "it drifted again",
        ),
    ];
    for (events, phase, why) in cases {
        assert_eq!(phase_after(&events), phase, "{why}");
    }
}

proptest! {
    #[test]
    fn a_log_cut_at_every_prefix_recovers(events in any_log()) {
        let whole = fold(&events);
        for cut in 0..=events.len() {
            let (mut ledger, before_crash) = fold(&events[..cut]);
            // What survives a crash is the stored form.
            let open = serde_json::to_string(&before_crash.open).expect("it can be stored");
            let mut rest = LedgerFold { open: serde_json::from_str(&open).expect("it was stored") };
            // Delivery is at least once: the last event may come again.
            for event in &events[cut.saturating_sub(1)..] {
                rest.apply(&mut ledger, NOW, event);
            }
            prop_assert_eq!(&(ledger, rest), &whole, "cut at {}", cut);
        }
    }

    #[test]
    fn every_event_delivered_twice_changes_nothing(events in any_log()) {
        let twice: Vec<Event> = events.iter().flat_map(|event| [event.clone(), event.clone()]).collect();
        prop_assert_eq!(fold(&twice), fold(&events));
    }

    #[test]
    fn only_a_restart_or_a_person_clears_what_is_owed(events in any_log()) {
        let (mut ledger, mut fold) = (Ledger::default(), LedgerFold::default());
        for event in &events {
            let owed = ledger.owed.len();
            fold.apply(&mut ledger, NOW, event);
            if ledger.owed.len() < owed {
                let restarted = matches!(
                    event,
                    Event::StepReported { report, .. } if report.index == 3 && report.status == StepStatus::Changed
                );
                prop_assert!(restarted, "{event:?}");
            }
        }
    }
}
