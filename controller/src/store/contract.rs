//! What any store must do, as functions over its API: another database runs the same list.
//!
//! Each function gets two openings of one fresh store, as the processes of two controllers have them.

use super::leases::Holder;
use super::{AttemptState, HeldBy, Store, StoreError};
use holdfast_inventory::HostName;
use holdfast_plan::address::{Address, ResourceType};
use holdfast_plan::change::{Action, Plan};
use holdfast_plan::content::Blobs;
use holdfast_plan::event::{Event, HoldReason, IntendedStep, Intent, JobEnded, Resolution, RunKind, StepLifeKind};
use holdfast_plan::ids::{AttemptId, IdSource, MachineId, PlanId, RunId, SeededIds, Timestamp};
use holdfast_plan::ledger::{Ledger, LedgerFold};
use holdfast_plan::observation::{Attributes, Facts, JobEnd, StepReport, StepStatus};
use holdfast_plan::outcome::{Outcome, Tally};
use holdfast_plan::resource::{DesiredResource, Directory, Ensure, Resource};
use std::collections::BTreeMap;

pub(super) const NOW: Timestamp = Timestamp(1_000_000);

/// A process of which nobody here can tell whether it is gone.
fn holder(pid: u32) -> Holder {
    Holder {
        controller: "c".to_owned(),
        place: "another machine".to_owned(),
        pid,
        started: 1,
    }
}

/// Makes a list of tests that open a store twice and hand it to the functions of that name.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    let folder = tempfile::tempdir().expect("a folder");
                    let path = folder.path().join(".holdfast/holdfast.db");
                    let one = super::Store::open_as(&path, Some(super::holder(1))).await.expect("a new store");
                    let two = super::Store::open_as(&path, Some(super::holder(2))).await.expect("the same store");
                    super::$name(one, two).await;
                }
            )*
        }
    };
}

contract!(
    what_is_appended_is_read_by_the_other_process,
    two_processes_append_to_one_unbroken_chain,
    many_hosts_append_at_once,
    projections_are_what_the_fold_of_the_events_says,
    a_refused_append_leaves_nothing_and_harms_no_neighbour,
    what_comes_again_is_recorded_once,
    a_step_that_was_never_intended_enters_nothing,
    an_unknown_end_leaves_the_job_to_be_asked_for,
    a_host_is_bound_held_and_renewed,
    a_lease_is_held_expires_and_grows,
    a_stopped_process_finds_its_lease_lost,
    a_broken_lease_is_void_for_its_holder,
    the_lease_of_a_process_that_is_gone_is_taken_at_once,
    an_intent_under_an_older_epoch_is_refused,
    plans_and_contents_come_back_as_they_were,
    contents_in_use_are_kept,
    contents_of_a_plan_that_ended_are_dropped,
    reports_of_agents_are_listed_in_order,
);

async fn what_is_appended_is_read_by_the_other_process(one: Store, two: Store) {
    let seqs = one
        .append(NOW, vec![started("r1"), ended("r1")])
        .await
        .expect("appended");
    assert_eq!(seqs, [1, 2]);
    let read = two.events(0, 10).await.expect("events");
    assert_eq!(read.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(read[0].record.event, started("r1"));
    assert_eq!(read[0].record.at, NOW);
    assert_eq!(two.events(1, 10).await.expect("events").len(), 1);
    assert_eq!(
        two.events_of_run(&RunId("r1".to_owned())).await.expect("events").len(),
        2
    );
    let runs = two.runs(5).await.expect("runs");
    assert_eq!((runs[0].by.as_str(), runs[0].ended), ("ann", Some(NOW)));
    assert!(two.run("r").await.expect("by the beginning of its id").is_some());
    assert!(two.run("x").await.expect("no such run").is_none());
}

async fn two_processes_append_to_one_unbroken_chain(one: Store, two: Store) {
    let append = |store: Store, name: &'static str| async move {
        for number in 0..20 {
            store
                .append(NOW, vec![started(&format!("{name}{number}"))])
                .await
                .expect("appended");
        }
    };
    tokio::join!(append(one.clone(), "a"), append(two.clone(), "b"));
    assert_eq!(one.verify_chain().await.expect("readable"), Ok(40));
    assert_eq!(two.verify_tail(7).await.expect("readable"), Ok(7));
}

async fn many_hosts_append_at_once(one: Store, two: Store) {
    let tasks: Vec<_> = (0..300)
        .map(|number| {
            let store = one.clone();
            tokio::spawn(async move { store.append(NOW, vec![started(&format!("r{number}"))]).await })
        })
        .collect();
    let mut seqs = Vec::new();
    for task in tasks {
        seqs.extend(task.await.expect("no panic").expect("appended"));
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=300).collect::<Vec<_>>());
    one.close().await;
    assert!(matches!(
        one.append(NOW, vec![started("late")]).await,
        Err(StoreError::Closed)
    ));
    assert_eq!(two.verify_chain().await.expect("readable"), Ok(300));
}

async fn projections_are_what_the_fold_of_the_events_says(one: Store, two: Store) {
    for seed in 0..4 {
        let mut random = Random(SeededIds(seed));
        let events = random.history(seed);
        let mut rest = events.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(random.below(rest.len().min(7)) + 1);
            one.append(NOW, now.to_vec()).await.expect("appended");
            rest = later;
        }
        let live = dump(&one).await;
        two.rebuild().await.expect("rebuilt");
        assert_eq!(dump(&one).await, live, "seed {seed}");
        // The ledgers against the pure fold, which never saw a table.
        let (mut fold, mut ledgers) = (LedgerFold::default(), BTreeMap::<MachineId, Ledger>::new());
        for event in &events {
            if let Some(machine) = event.machine() {
                fold.apply(ledgers.entry(machine.clone()).or_default(), NOW, event);
            }
        }
        for (machine, ledger) in ledgers {
            assert_eq!(one.ledger(&machine).await.expect("a ledger"), ledger, "seed {seed}");
        }
    }
    one.verify_chain().await.expect("readable").expect("unbroken");
}

async fn a_refused_append_leaves_nothing_and_harms_no_neighbour(one: Store, _two: Store) {
    one.append(NOW, vec![started("r1")]).await.expect("appended");
    let (good, bad) = tokio::join!(
        one.append(NOW, vec![started("r2")]),
        one.append(NOW, vec![started("r3"), started("r1")]),
    );
    good.expect("not harmed by its neighbour");
    assert!(matches!(bad, Err(StoreError::Duplicate { what: "run", .. })), "{bad:?}");
    assert_eq!(one.verify_chain().await.expect("readable"), Ok(2));
    assert!(one.run("r3").await.expect("readable").is_none());
}

async fn what_comes_again_is_recorded_once(one: Store, two: Store) {
    let report = report("s", 1);
    let events = vec![
        started("r1"),
        intended("r1", "a1", 1),
        step("a1", 1, StepStatus::Begun),
        step("a1", 1, StepStatus::Changed),
        job_ended("a1"),
        report.clone(),
    ];
    let first = one.append(NOW, events).await.expect("appended");
    let again = vec![
        step("a1", 1, StepStatus::Begun),
        step("a1", 1, StepStatus::Changed),
        job_ended("a1"),
        report,
    ];
    let second = two.append(NOW, again).await.expect("appended");
    assert_eq!(second, [first[3], first[3], first[4], first[5]]);
    assert_eq!(one.verify_chain().await.expect("readable"), Ok(6));
    let used = one.append(NOW, vec![intended("r1", "a1", 1)]).await;
    assert!(
        matches!(used, Err(StoreError::Duplicate { what: "attempt", .. })),
        "{used:?}"
    );
    assert_eq!(
        one.events_of_run(&RunId("r1".to_owned())).await.expect("events").len(),
        5
    );
}

// REVIEW D4
async fn a_step_that_was_never_intended_enters_nothing(one: Store, two: Store) {
    let lease = one
        .acquire(&["web".into()], 1_000, NOW)
        .await
        .expect("answered")
        .remove(0)
        .expect("free");
    let begun = one
        .append(NOW, vec![started("r"), intended("r", "a", lease.epoch)])
        .await
        .expect("recorded");
    // Its intent has one step. A host that says it still runs could tell of new ones at each plan.
    for index in [2, 3, u32::MAX] {
        let event = step("a", index, StepStatus::Begun);
        assert_eq!(two.append(NOW, vec![event]).await.expect("answered"), [begun[1]]);
    }
    assert_eq!(two.events(begun[1], 10).await.expect("read"), []);
    two.append(NOW, vec![step("a", 1, StepStatus::Begun)])
        .await
        .expect("recorded");
    assert_eq!(two.events(begun[1], 10).await.expect("read").len(), 1);
}

async fn an_unknown_end_leaves_the_job_to_be_asked_for(one: Store, two: Store) {
    let unknown = Outcome::Unknown { why: "cut".to_owned() };
    one.append(
        NOW,
        vec![
            started("r1"),
            intended("r1", "a1", 1),
            attempt_ended("r1", "a1", unknown.clone()),
        ],
    )
    .await
    .expect("appended");
    let unfinished = two.unfinished_attempts().await.expect("attempts");
    assert_eq!(unfinished.len(), 1);
    assert_eq!(
        (unfinished[0].state, unfinished[0].result.as_ref()),
        (AttemptState::Intended, Some(&unknown))
    );
    assert!(unfinished[0].intent.is_some());

    two.append(NOW, vec![step("a1", 1, StepStatus::Changed), job_ended("a1")])
        .await
        .expect("appended");
    assert!(one.unfinished_attempts().await.expect("attempts").is_empty());
    let unacked = one.unacked_attempts(&"web".into()).await.expect("attempts");
    assert_eq!((unacked.len(), unacked[0].steps.len()), (1, 1));
    one.mark_acked(&[AttemptId("a1".to_owned())]).await.expect("noted");
    assert!(two.unacked_attempts(&"web".into()).await.expect("attempts").is_empty());
    let attempt = two
        .attempt(&AttemptId("a1".to_owned()))
        .await
        .expect("readable")
        .expect("there");
    assert_eq!(attempt.state, AttemptState::Acked);

    let command = Event::CommandIntended {
        run: RunId("r1".to_owned()),
        host: "web".into(),
        attempt: AttemptId("c1".to_owned()),
    };
    one.append(NOW, vec![command]).await.expect("appended");
    assert!(
        one.unfinished_attempts().await.expect("attempts").is_empty(),
        "a command leaves no job"
    );
}

async fn a_host_is_bound_held_and_renewed(one: Store, two: Store) {
    let (host, other, m) = (HostName::from("web"), HostName::from("www"), MachineId("m".to_owned()));
    let facts = Facts(BTreeMap::from([("os.id".to_owned(), "debian".to_owned())]));
    let observed = Event::HostObserved {
        host: host.clone(),
        machine: None,
        facts_digest: "d".to_owned(),
        facts: facts.clone(),
    };
    one.append(NOW, vec![observed]).await.expect("appended");
    assert_eq!(two.machine_of(&host).await.expect("readable"), None);
    assert_eq!(two.facts(&host).await.expect("readable"), Some(facts));
    one.append(NOW, vec![seen("m", "web")]).await.expect("appended");
    assert_eq!(two.machine_of(&host).await.expect("readable"), Some(m.clone()));

    one.append(NOW, vec![seen("m", "www")]).await.expect("appended");
    assert_eq!(
        two.machine_of(&host).await.expect("readable"),
        None,
        "one machine, one host"
    );
    assert_eq!(two.machine_of(&other).await.expect("readable"), Some(m.clone()));

    let why = HoldReason::MachineDiffers { observed: None };
    let held = Event::MachineHeld {
        host: other.clone(),
        machine: Some(m.clone()),
        why: why.clone(),
    };
    one.append(NOW, vec![held]).await.expect("appended");
    assert_eq!(two.machines().await.expect("machines")[0].held, Some(why));
    let resolved = Event::Resolved {
        host: other.clone(),
        machine: m,
        address: None,
        how: Resolution::NewMachine,
        by: "ann".to_owned(),
    };
    one.append(NOW, vec![resolved]).await.expect("appended");
    let view = two.host(&other).await.expect("readable").expect("met");
    assert_eq!((view.held, view.machine), (None, None));

    one.mark_seen(std::slice::from_ref(&other), NOW.plus_ms(5))
        .await
        .expect("noted");
    let view = two.host(&other).await.expect("readable").expect("met");
    assert_eq!((view.first_seen, view.last_seen), (NOW, NOW.plus_ms(5)));
    assert_eq!(
        two.events(0, 100).await.expect("events").len(),
        5,
        "being seen is no event"
    );
}

async fn a_lease_is_held_expires_and_grows(one: Store, two: Store) {
    let hosts = [HostName::from("web"), HostName::from("db")];
    let taken = one.acquire(&hosts[..1], 1_000, NOW).await.expect("readable");
    assert_eq!(taken[0].as_ref().map(|lease| lease.epoch), Ok(1));
    let refused = two.acquire(&hosts, 1_000, NOW.plus_ms(999)).await.expect("readable");
    assert!(
        matches!(&refused[0], Err(HeldBy { holder, left_ms: 1, .. }) if holder.pid == 1),
        "{refused:?}"
    );
    assert_eq!(refused[1].as_ref().map(|lease| lease.epoch), Ok(1));
    assert_eq!(two.leases(NOW).await.expect("leases").len(), 2);
    let expired = two
        .acquire(&hosts[..1], 1_000, NOW.plus_ms(1_000))
        .await
        .expect("readable");
    assert_eq!(expired[0].as_ref().map(|lease| lease.epoch), Ok(2));
    two.release(&[expired[0].clone().expect("taken")])
        .await
        .expect("released");
    one.raise_epoch(&hosts[0], 40).await.expect("raised");
    let after = one
        .acquire(&hosts[..1], 1_000, NOW.plus_ms(1_001))
        .await
        .expect("readable");
    assert_eq!(after[0].as_ref().map(|lease| lease.epoch), Ok(41));
}

async fn a_stopped_process_finds_its_lease_lost(one: Store, two: Store) {
    let hosts = [HostName::from("web")];
    let first = one
        .acquire(&hosts, 1_000, NOW)
        .await
        .expect("readable")
        .remove(0)
        .expect("free");
    let kept = one
        .heartbeat(std::slice::from_ref(&first), 1_000, NOW.plus_ms(900))
        .await
        .expect("readable");
    assert_eq!(kept[0].as_ref().map(|lease| lease.expires), Ok(NOW.plus_ms(1_900)));
    let second = two
        .acquire(&hosts, 1_000, NOW.plus_ms(1_900))
        .await
        .expect("readable")
        .remove(0)
        .expect("expired");
    let lost = one
        .heartbeat(std::slice::from_ref(&first), 1_000, NOW.plus_ms(2_000))
        .await
        .expect("readable");
    assert_eq!(lost[0].as_ref().map_err(|lost| lost.epoch), Err(1));
    one.release(&[first]).await.expect("does nothing");
    assert_eq!(
        two.leases(NOW.plus_ms(2_000)).await.expect("leases")[0].epoch,
        second.epoch
    );
}

async fn a_broken_lease_is_void_for_its_holder(one: Store, two: Store) {
    let hosts = [HostName::from("web")];
    let lease = one
        .acquire(&hosts, 1_000, NOW)
        .await
        .expect("readable")
        .remove(0)
        .expect("free");
    let had = two.break_lease(&hosts[0]).await.expect("broken");
    assert_eq!(had.map(|holder| holder.pid), Some(1));
    assert!(one.heartbeat(&[lease], 1_000, NOW).await.expect("readable")[0].is_err());
    assert_eq!(two.break_lease(&"never".into()).await.expect("nothing to break"), None);
    let next = two
        .acquire(&hosts, 1_000, NOW)
        .await
        .expect("readable")
        .remove(0)
        .expect("free");
    assert_eq!(next.epoch, 3, "the broken one is passed over");
}

async fn the_lease_of_a_process_that_is_gone_is_taken_at_once(one: Store, two: Store) {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
    let there = Holder::of_process("c", child.id());
    let third = Store::open_as(one.path(), Some(there)).await.expect("the same store");
    let hosts = [HostName::from("web")];
    third
        .acquire(&hosts, 60_000, NOW)
        .await
        .expect("readable")
        .remove(0)
        .expect("free");
    assert!(
        two.acquire(&hosts, 1_000, NOW).await.expect("readable")[0].is_err(),
        "it lives"
    );
    child.kill().expect("killed");
    // Not waited for yet: a zombie holds nothing either.
    let mut taken = false;
    for _ in 0..500 {
        taken = two.acquire(&hosts, 1_000, NOW).await.expect("readable")[0].is_ok();
        if taken {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    child.wait().expect("waited for");
    assert!(taken, "the lease of a killed process was not given up");
}

async fn an_intent_under_an_older_epoch_is_refused(one: Store, two: Store) {
    let hosts = [HostName::from("web")];
    let first = one
        .acquire(&hosts, 1, NOW)
        .await
        .expect("readable")
        .remove(0)
        .expect("free");
    two.acquire(&hosts, 1, NOW.plus_ms(1))
        .await
        .expect("readable")
        .remove(0)
        .expect("expired");
    let refused = one
        .append(NOW, vec![started("r1"), intended("r1", "a1", first.epoch)])
        .await;
    assert!(
        matches!(
            refused,
            Err(StoreError::Fenced {
                ours: 1,
                current: 2,
                ..
            })
        ),
        "{refused:?}"
    );
    assert!(one.events(0, 10).await.expect("events").is_empty());
    two.append(NOW, vec![started("r1"), intended("r1", "a1", 2)])
        .await
        .expect("appended");
}

async fn plans_and_contents_come_back_as_they_were(one: Store, two: Store) {
    let plan = Plan {
        id: PlanId("p".to_owned()),
        at: NOW,
        hosts: Vec::new(),
    };
    one.save_plan(&plan, NOW).await.expect("kept");
    one.save_plan(&plan, NOW).await.expect("kept already");
    assert_eq!(two.load_plan(&plan.id).await.expect("readable"), Some(plan));
    assert_eq!(two.load_plan(&PlanId("q".to_owned())).await.expect("readable"), None);
    assert_eq!(two.verify_chain().await.expect("readable"), Ok(1), "recorded once");

    let mut blobs = Blobs::default();
    let content = blobs.insert([0_u8, 255, 10, 0].as_slice());
    one.put_blobs(&blobs, NOW).await.expect("kept");
    assert_eq!(
        two.blob(&content.sha256).await.expect("readable").as_deref(),
        Some(&[0_u8, 255, 10, 0][..])
    );
    assert_eq!(two.blob("00").await.expect("readable"), None);
}

async fn contents_in_use_are_kept(one: Store, _two: Store) {
    let mut blobs = Blobs::default();
    let used = blobs.insert(b"used".as_slice());
    let free = blobs.insert(b"free".as_slice());
    one.put_blobs(&blobs, NOW).await.expect("kept");
    let adopted = Event::Adopted {
        host: "web".into(),
        machine: MachineId("m".to_owned()),
        desired: DesiredResource {
            address: Address::new(ResourceType::File, "/f"),
            resource: Resource::File(holdfast_plan::resource::File {
                path: "/f".to_owned(),
                ensure: Ensure::Present,
                content: Some(used.clone()),
                mode: None,
                owner: None,
                group: None,
                sensitive: false,
                validate: None,
            }),
            ..directory("/x")
        },
        applied: Attributes::default(),
    };
    one.append(NOW, vec![adopted]).await.expect("appended");
    assert_eq!(one.prune_blobs(NOW).await.expect("pruned"), 0, "both are young");
    let later = NOW.plus_ms(super::blobs::BLOB_KEEP_MS + 1);
    assert_eq!(one.prune_blobs(later).await.expect("pruned"), 1);
    assert!(one.blob(&used.sha256).await.expect("readable").is_some());
    assert!(one.blob(&free.sha256).await.expect("readable").is_none());
}

// REVIEW H17
async fn contents_of_a_plan_that_ended_are_dropped(one: Store, _two: Store) {
    let mut blobs = Blobs::default();
    let secret = blobs.insert(b"a replaced password".as_slice()).sha256;
    one.put_blobs(&blobs, NOW).await.expect("kept");
    let plan = serde_json::json!({ "id": "p", "at": NOW, "hosts": [{
        "host": "web", "machine": "m", "platform": { "init": "none", "package_manager": "none", "root": true },
        "fingerprint": [], "confirm_s": 120, "refusals": [], "changes": [{
            "address": "directory./srv", "action": "create", "reason": { "reason": "not_there" }, "rule": "differs",
            "desired": directory("/srv"), "observed": [], "steps": [{
                "number": 1, "probe": "", "wanted": [], "always": false, "life": { "kind": "none" }, "apply": "", "ready": null,
                "timeout_s": 1, "blobs": [secret], "only_if_changed": [],
            }],
        }],
    }]});
    let plan: Plan = serde_json::from_value(plan).expect("a plan");
    one.save_plan(&plan, NOW).await.expect("kept");
    let later = NOW.plus_ms(super::blobs::BLOB_KEEP_MS + 1);
    assert_eq!(
        one.prune_blobs(later).await.expect("pruned"),
        0,
        "it may still be applied"
    );
    let mut begun = started("r");
    if let Event::RunStarted { plan: of, .. } = &mut begun {
        *of = Some(plan.id.clone());
    }
    one.append(NOW, vec![begun]).await.expect("recorded");
    assert_eq!(one.prune_blobs(later).await.expect("pruned"), 0, "it is being applied");
    one.append(NOW, vec![ended("r")]).await.expect("recorded");
    assert_eq!(one.prune_blobs(later).await.expect("pruned"), 1);
    assert!(one.blob(&secret).await.expect("readable").is_none());
}

async fn reports_of_agents_are_listed_in_order(one: Store, two: Store) {
    one.append(NOW, vec![report("s", 1), report("s", 2), report("t", 1)])
        .await
        .expect("appended");
    let reports = two.reports(&"web".into()).await.expect("reports");
    let numbers: Vec<_> = reports
        .iter()
        .map(|report| (report.spool.as_str(), report.number))
        .collect();
    assert_eq!(numbers, [("s", 1), ("s", 2), ("t", 1)]);
    assert_eq!(reports[0].recorded, NOW);
}

/// Everything that the projections say, through the API.
async fn dump(store: &Store) -> String {
    let mut text = String::new();
    let hosts = store.hosts().await.expect("hosts");
    let machines = store.machines().await.expect("machines");
    for machine in &machines {
        let ledger = store.ledger(&machine.machine).await.expect("a ledger");
        text.push_str(&format!("{ledger:?}\n"));
    }
    for run in store.runs(u32::MAX).await.expect("runs") {
        text.push_str(&format!("{:?}\n", store.run(run.run.as_str()).await.expect("a run")));
    }
    for host in &hosts {
        text.push_str(&format!("{:?}\n", store.reports(&host.host).await.expect("reports")));
    }
    let unfinished = store.unfinished_attempts().await.expect("attempts");
    text.push_str(&format!("{hosts:?}\n{machines:?}\n{unfinished:?}\n"));
    text
}

pub(super) fn started(run: &str) -> Event {
    Event::RunStarted {
        run: RunId(run.to_owned()),
        kind: RunKind::Apply,
        plan: None,
        hosts: vec!["web".into()],
        by: "ann".to_owned(),
        command: "apply -y".to_owned(),
    }
}

fn ended(run: &str) -> Event {
    Event::RunEnded {
        run: RunId(run.to_owned()),
        recap: Tally::default(),
    }
}

fn seen(machine: &str, host: &str) -> Event {
    Event::MachineSeen {
        machine: MachineId(machine.to_owned()),
        host: host.into(),
    }
}

fn directory(path: &str) -> DesiredResource {
    DesiredResource {
        address: Address::new(ResourceType::Directory, path),
        resource: Resource::Directory(Directory {
            path: path.to_owned(),
            ensure: Ensure::Present,
            mode: None,
            owner: None,
            group: None,
        }),
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

fn intended(run: &str, attempt: &str, epoch: u64) -> Event {
    intent_for("web", "m", run, attempt, epoch, &["/srv"])
}

fn intent_for(host: &str, machine: &str, run: &str, attempt: &str, epoch: u64, paths: &[&str]) -> Event {
    Event::AttemptIntended(Intent {
        run: RunId(run.to_owned()),
        host: host.into(),
        machine: MachineId(machine.to_owned()),
        attempt: AttemptId(attempt.to_owned()),
        epoch,
        plan: PlanId("p".to_owned()),
        steps: (1..)
            .zip(paths)
            .map(|(index, path)| IntendedStep {
                index,
                address: Address::new(ResourceType::Directory, *path),
                action: Action::Create,
                life: StepLifeKind::Begins,
                desired: directory(path),
            })
            .collect(),
        restarts: BTreeMap::from([(Address::new(ResourceType::Service, "web"), vec![1])]),
    })
}

fn step_on(machine: &str, attempt: &str, index: u32, status: StepStatus) -> Event {
    Event::StepReported {
        machine: MachineId(machine.to_owned()),
        attempt: AttemptId(attempt.to_owned()),
        report: StepReport {
            index,
            changing: status != StepStatus::Unchanged,
            status,
            before: Attributes(vec![("type".to_owned(), "absent".to_owned())]),
            after: Attributes(vec![("type".to_owned(), "directory".to_owned())]),
            before_digest: Some("d".to_owned()),
            output: vec![0xff, 0],
            seconds: 1,
        },
    }
}

fn step(attempt: &str, index: u32, status: StepStatus) -> Event {
    step_on("m", attempt, index, status)
}

fn job_ended_on(machine: &str, attempt: &str) -> Event {
    Event::JobEnded {
        machine: MachineId(machine.to_owned()),
        attempt: AttemptId(attempt.to_owned()),
        ended: JobEnded::Ended { end: JobEnd::Completed },
    }
}

fn job_ended(attempt: &str) -> Event {
    job_ended_on("m", attempt)
}

fn attempt_ended(run: &str, attempt: &str, result: Outcome) -> Event {
    Event::AttemptEnded {
        run: RunId(run.to_owned()),
        host: "web".into(),
        attempt: Some(AttemptId(attempt.to_owned())),
        result,
    }
}

fn report(spool: &str, seq: u64) -> Event {
    Event::ReportRecorded {
        host: "web".into(),
        machine: MachineId("m".to_owned()),
        spool: spool.to_owned(),
        seq,
        digest: "d".to_owned(),
        observed_at: Timestamp(5),
        resources: BTreeMap::new(),
    }
}

/// Histories from a seed.
struct Random(SeededIds);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        usize::from(u16::from_be_bytes([self.0.next_bytes()[0], self.0.next_bytes()[1]])) % limit
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Two runs over three hosts: jobs that end, die or are told twice, drift, decisions, reports.
    fn history(&mut self, seed: u64) -> Vec<Event> {
        let mut events = Vec::new();
        for run in 0..2 {
            let run = format!("r{seed}-{run}");
            events.push(started(&run));
            for host in 0..3 {
                let (host, machine) = (format!("h{host}"), format!("m{seed}-{host}"));
                let attempt = format!("{run}-{host}");
                events.push(seen(&machine, &host));
                events.push(intent_for(&host, &machine, &run, &attempt, 1, &["/a", "/b", "/c"]));
                for index in 1..=u32::try_from(self.below(4)).expect("small") {
                    let ends = [
                        StepStatus::Begun,
                        StepStatus::Unchanged,
                        StepStatus::Changed,
                        StepStatus::Failed { code: 1 },
                        StepStatus::NotReady,
                    ];
                    let event = step_on(&machine, &attempt, index, self.pick(&ends));
                    events.extend(std::iter::repeat_n(event, self.below(2) + 1));
                }
                if self.below(3) > 0 {
                    events.push(job_ended_on(&machine, &attempt));
                }
                events.extend(self.decision(&host, &machine));
            }
            events.push(ended(&run));
        }
        events
    }

    fn decision(&mut self, host: &str, machine: &str) -> Option<Event> {
        let (host, machine) = (HostName::from(host), MachineId(machine.to_owned()));
        let address = Address::new(ResourceType::Directory, self.pick(&["/a", "/b", "/d"]));
        match self.below(6) {
            0 => Some(Event::Adopted {
                host,
                machine,
                desired: directory("/d"),
                applied: Attributes::default(),
            }),
            1 => Some(Event::Forgotten { host, machine, address }),
            2 => Some(Event::DriftSeen {
                host,
                machine,
                drifted: BTreeMap::from([(address, Attributes::default())]),
                mended: Vec::new(),
            }),
            3 => Some(Event::Resolved {
                host,
                machine,
                address: Some(address),
                how: self.pick(&[Resolution::Retry, Resolution::Accept, Resolution::Taint]),
                by: "ann".to_owned(),
            }),
            4 => Some(Event::ReportRecorded {
                host,
                machine,
                // Two reports of one spool and number would be one.
                spool: format!("s{}", self.below(usize::from(u16::MAX))),
                seq: 1,
                digest: "d".to_owned(),
                observed_at: Timestamp(NOW.0 + [-1, 1][self.below(2)]),
                resources: BTreeMap::from([(address, Attributes(vec![("type".to_owned(), "absent".to_owned())]))]),
            }),
            _ => None,
        }
    }
}
