//! The planner's rules, one test each, and properties over them.

mod lives;
mod packages;
mod places;
mod rules;
mod time;

use super::*;
use crate::change::StepLife;
use crate::event::{Event, Intent, JobEnded};
use crate::ids::{AttemptId, PlanId, RunId, Timestamp};
use crate::job::job_body;
use crate::ledger::{LedgerFold, Origin};
use crate::lifecycle::Phase;
use crate::observation::{Facts, JobReport, Observed, StepReport, StepStatus};
use crate::resource::{Ensure, File, Group, Line, OnUndo, Package, Ready, Script, Service, Symlink};
use proptest::prelude::*;

/// A host as the probes see it, without any sh: a step sets the attributes that it is wanted to show.
#[derive(Clone)]
struct Host {
    found: BTreeMap<Address, Attributes>,
    ledger: Ledger,
    fold: LedgerFold,
    blobs: Blobs,
    jobs: u32,
    restarts: u32,
}

fn attributes(pairs: &[(&str, &str)]) -> Attributes {
    Attributes(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

fn machine() -> MachineId {
    MachineId("m1".to_owned())
}

fn root() -> Facts {
    let facts = [("init", "systemd"), ("package_manager", "apt"), ("uid", "0")];
    Facts(facts.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

impl Host {
    fn new() -> Self {
        Self {
            found: BTreeMap::new(),
            ledger: Ledger::default(),
            fold: LedgerFold::default(),
            blobs: Blobs::default(),
            jobs: 0,
            restarts: 0,
        }
    }

    fn observation(&self, desired: &[DesiredResource], mode: Mode) -> Observation {
        let resources = to_observe(desired, &self.ledger, mode).into_iter().map(|asked| {
            let resource = asked.desired;
            let observed = Observed {
                attributes: self.probe(resource),
                text: None,
                kept: None,
            };
            (resource.address.clone(), observed)
        });
        Observation {
            host: "web01".into(),
            at: Timestamp(0),
            machine: Some(machine()),
            epoch: 0,
            facts: root(),
            jobs: Vec::new(),
            last: None,
            lives: BTreeMap::new(),
            resources: resources.collect(),
            forks: None,
        }
    }

    /// What a bare host shows: nothing is there; a unit comes with its package, running.
    fn probe(&self, resource: &DesiredResource) -> Attributes {
        if let Some(found) = self.found.get(&resource.address) {
            return found.clone();
        }
        match &resource.resource {
            Resource::Package(_) => attributes(&[("installed", "no")]),
            Resource::Service(_) => {
                let package: Address = "package.web".parse().expect("an address");
                let there = self.found.get(&package).and_then(|found| found.get("installed")) == Some("yes");
                if there {
                    attributes(&[("unit", "found"), ("running", "yes"), ("enabled", "no")])
                } else {
                    attributes(&[("unit", "missing")])
                }
            }
            Resource::User(_) | Resource::Group(_) | Resource::Cron(_) => attributes(&[("exists", "no")]),
            Resource::Line(_) => attributes(&[("type", "file"), ("line", "absent")]),
            Resource::Script(_) => attributes(&[("check", "failed")]),
            Resource::File(_) | Resource::Directory(_) | Resource::Symlink(_) => attributes(&[("type", "absent")]),
        }
    }

    fn plan(&self, desired: &[DesiredResource], mode: Mode) -> HostPlan {
        let observation = self.observation(desired, mode);
        plan_host(&PlanInput {
            desired,
            ledger: &self.ledger,
            machine: Some(&machine()),
            was_user: None,
            held: None,
            observation: &observation,
            blobs: &self.blobs,
            mode,
            login: None,
            confirm_s: 60,
        })
    }

    fn record(&mut self, event: &Event) {
        self.fold.apply(&mut self.ledger, Timestamp(0), event);
    }

    /// Carries out a plan as the runner does, up to and without step `dies_before`; the one before it ends unheard of
    /// if `half` says so.
    fn apply(&mut self, plan: &HostPlan, dies_before: Option<u32>, half: bool) {
        assert_eq!(plan.refusals, []);
        self.jobs += 1;
        let attempt = AttemptId(format!("attempt{}", self.jobs));
        let body = job_body(plan, &machine());
        self.record(&Event::AttemptIntended(Intent {
            run: RunId("r".to_owned()),
            host: plan.host.clone(),
            machine: machine(),
            attempt: attempt.clone(),
            epoch: 1,
            plan: PlanId("p".to_owned()),
            steps: body.steps,
            restarts: body.restarts,
        }));
        let mut changed = BTreeSet::new();
        for (number, change, step) in plan.steps() {
            if dies_before.is_some_and(|dies| number >= dies) {
                break;
            }
            let report = self.step(number, change, step, &mut changed);
            let unheard = half && dies_before == Some(number + 1) && report.status == StepStatus::Changed;
            let report = StepReport {
                status: if unheard { StepStatus::Begun } else { report.status },
                ..report
            };
            self.record(&Event::StepReported {
                machine: machine(),
                attempt: attempt.clone(),
                report,
            });
        }
        self.record(&Event::JobEnded {
            machine: machine(),
            attempt,
            ended: JobEnded::Interrupted,
        });
        for change in &plan.changes {
            let (host, machine) = (plan.host.clone(), machine());
            match change.action {
                Action::Adopt => self.record(&Event::Adopted {
                    host,
                    machine,
                    desired: change.desired.clone(),
                    applied: change.observed.clone(),
                }),
                Action::Forget => self.record(&Event::Forgotten {
                    host,
                    machine,
                    address: change.address.clone(),
                }),
                _ => {}
            }
        }
    }

    fn step(&mut self, number: u32, change: &Change, step: &Step, changed: &mut BTreeSet<u32>) -> StepReport {
        let (about, undoes) = match &step.life {
            StepLife::Ends { was, .. } => (&**was, true),
            _ => (&change.desired, false),
        };
        let before = self.probe(about);
        let lines: Vec<String> = before.lines().collect();
        let shows = step.wanted.iter().all(|line| lines.contains(line));
        let held_back = !step.only_if_changed.is_empty() && !step.only_if_changed.iter().any(|n| changed.contains(n));
        let status = if (shows && !step.always) || held_back {
            StepStatus::Unchanged
        } else {
            changed.insert(number);
            if change.action == Action::Restart {
                self.restarts += 1;
            }
            let mut after = before.clone();
            for line in &step.wanted {
                let (key, value) = line.split_once(' ').expect("a line has a key and a value");
                match after.0.iter_mut().find(|(k, _)| k == key) {
                    Some(pair) => value.clone_into(&mut pair.1),
                    None => after.0.push((key.to_owned(), value.to_owned())),
                }
            }
            let (old, new) = (
                about.resource.lifecycle().claims(),
                change.desired.resource.lifecycle().claims(),
            );
            let another = !old.iter().any(|claim| new.iter().any(|other| claim.meets(other)));
            if undoes && another {
                // What is at the place of the new one is not what was at that of the old one.
                self.found.remove(&change.address);
            } else {
                self.found.insert(change.address.clone(), after);
            }
            StepStatus::Changed
        };
        StepReport {
            index: number,
            changing: status == StepStatus::Changed,
            status,
            before,
            after: self.probe(about),
            before_digest: None,
            output: Vec::new(),
            seconds: 0,
        }
    }
}

fn desired(address: &str, resource: Resource) -> DesiredResource {
    DesiredResource {
        address: address.parse().expect("an address"),
        resource,
        needs: Vec::new(),
        restart_on: Vec::new(),
        env: Vec::new(),
        ready: None,
        timeout_ms: 1_500,
        sensitive: false,
        prevent_undo: false,
        critical: None,
        declared_at: String::new(),
    }
}

fn file(blobs: &mut Blobs, path: &str, text: &str) -> DesiredResource {
    let resource = Resource::File(File {
        path: path.to_owned(),
        ensure: Ensure::Present,
        content: Some(blobs.insert(text.as_bytes())),
        mode: Some("0644".to_owned()),
        owner: None,
        group: None,
        sensitive: false,
        validate: None,
    });
    desired(&format!("file.{path}"), resource)
}

fn package() -> DesiredResource {
    let name = "web".to_owned();
    desired(
        "package.web",
        Resource::Package(Package {
            name,
            ensure: Ensure::Present,
            undo: OnUndo::Remove,
        }),
    )
}

fn service(restart_on: &[&str]) -> DesiredResource {
    let resource = Resource::Service(Service {
        name: "web".to_owned(),
        running: Some(true),
        enabled: Some(true),
    });
    DesiredResource {
        restart_on: restart_on.iter().map(|a| a.parse().expect("an address")).collect(),
        ..desired("service.web", resource)
    }
}

fn line(name: &str, text: &str) -> DesiredResource {
    let resource = Resource::Line(Line {
        path: "/etc/hosts".to_owned(),
        ensure: Ensure::Present,
        line: text.to_owned(),
        validate: None,
    });
    desired(&format!("line.{name}"), resource)
}

fn group() -> DesiredResource {
    let resource = Resource::Group(Group {
        name: "www".to_owned(),
        ensure: Ensure::Present,
        gid: None,
        system: true,
    });
    desired("group.www", resource)
}

fn script(blobs: &mut Blobs, undo: bool, needs: &[&str]) -> DesiredResource {
    let resource = Resource::Script(Script {
        name: "join".to_owned(),
        check: "test -e /joined".to_owned(),
        apply: blobs.insert(&b"touch /joined"[..]),
        undo: undo.then(|| blobs.insert(&b"rm /joined"[..])),
        env: Vec::new(),
    });
    DesiredResource {
        needs: needs.iter().map(|a| a.parse().expect("an address")).collect(),
        ..desired("script.join", resource)
    }
}

/// The blueprint of a web server, in order.
fn web(blobs: &mut Blobs) -> Vec<DesiredResource> {
    vec![
        package(),
        group(),
        file(blobs, "/etc/web.conf", "port 80\n"),
        line("ntp", "10.0.0.1 ntp"),
        service(&["file./etc/web.conf"]),
        script(blobs, true, &["service.web"]),
    ]
}

fn actions(plan: &HostPlan) -> Vec<(String, Action)> {
    let work = plan.changes.iter().filter(|change| change.action != Action::NoOp);
    work.map(|change| (change.address.to_string(), change.action)).collect()
}

fn named(expected: &[(&str, Action)]) -> Vec<(String, Action)> {
    expected.iter().map(|(a, action)| ((*a).to_owned(), *action)).collect()
}

#[test]
fn a_bare_host_gets_everything_in_order_and_then_there_is_nothing_to_do() {
    let mut host = Host::new();
    let wanted = web(&mut host.blobs);
    let plan = host.plan(&wanted, Mode::Converge);
    assert_eq!(
        actions(&plan),
        named(&[
            ("package.web", Action::Create),
            ("group.www", Action::Create),
            ("file./etc/web.conf", Action::Create),
            ("line.ntp", Action::Update),
            ("service.web", Action::Unknown),
            ("service.web", Action::Restart),
            ("script.join", Action::Unknown),
        ])
    );
    let restart = plan.steps().find(|(_, change, _)| change.action == Action::Restart);
    let (_, _, step) = restart.expect("it is in the plan");
    assert_eq!(step.only_if_changed, [3], "the file is the third step");
    host.apply(&plan, None, false);
    assert_eq!(host.restarts, 1);
    for mode in [Mode::Converge, Mode::Drift] {
        let again = host.plan(&wanted, mode);
        assert_eq!(actions(&again), [], "{mode:?}");
        assert!(!again.has_changes() && !again.needs_job());
    }
}

#[test]
fn what_leaves_the_blueprint_is_deleted_in_reverse() {
    let mut host = Host::new();
    let wanted = web(&mut host.blobs);
    host.apply(&host.plan(&wanted, Mode::Converge), None, false);
    let plan = host.plan(&wanted[..1], Mode::Converge);
    assert_eq!(
        actions(&plan),
        named(&[
            ("script.join", Action::Delete),
            ("line.ntp", Action::Delete),
            ("file./etc/web.conf", Action::Delete),
            // It ran before: the package brought it.
            ("service.web", Action::Restart),
            ("service.web", Action::Delete),
            ("group.www", Action::Delete),
        ])
    );
    host.apply(&plan, None, false);
    assert_eq!(
        host.ledger.entries.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["package.web"]
    );
    assert_eq!(actions(&host.plan(&wanted[..1], Mode::Converge)), []);
}

#[test]
fn adopted_resources_and_those_without_undo_are_forgotten() {
    let mut host = Host::new();
    let there = package();
    host.found.insert(
        there.address.clone(),
        attributes(&[("installed", "yes"), ("brought", "no")]),
    );
    let wanted = [there, script(&mut host.blobs, false, &[])];
    let plan = host.plan(&wanted, Mode::Converge);
    assert_eq!(
        actions(&plan),
        named(&[("package.web", Action::Adopt), ("script.join", Action::Create)])
    );
    host.apply(&plan, None, false);
    let plan = host.plan(&[], Mode::Converge);
    assert_eq!(
        actions(&plan).iter().map(|(_, action)| *action).collect::<Vec<_>>(),
        [Action::Forget; 2]
    );
    assert!(plan.has_changes() && !plan.needs_job());
    host.apply(&plan, None, false);
    assert!(host.ledger.entries.is_empty());
}

#[test]
fn drift_a_changed_blueprint_and_a_failed_attempt_are_told_apart() {
    let mut host = Host::new();
    let wanted = [file(&mut host.blobs, "/x", "one\n")];
    host.apply(&host.plan(&wanted, Mode::Converge), None, false);
    let reason = |host: &Host, wanted: &[DesiredResource]| host.plan(wanted, Mode::Converge).changes[0].reason.clone();
    let address = wanted[0].address.clone();

    let changed = [file(&mut host.blobs, "/x", "two\n")];
    assert!(matches!(reason(&host, &changed), Reason::BlueprintChanged { differences } if differences.len() == 1));
    assert_eq!(
        actions(&host.plan(&changed, Mode::Drift)),
        [],
        "drift is about the ledger, not the blueprint"
    );

    let mode = host
        .found
        .get_mut(&address)
        .and_then(|found| found.0.iter_mut().find(|(key, _)| key == "mode"));
    mode.expect("it has a mode").1 = "0600".to_owned();
    assert!(matches!(reason(&host, &wanted), Reason::Drifted { .. }));
    assert_eq!(
        actions(&host.plan(&[], Mode::Drift)),
        named(&[("file./x", Action::Update)])
    );

    host.ledger.entries.get_mut(&address).expect("it was applied").phase = Phase::Failed;
    assert!(matches!(reason(&host, &wanted), Reason::LastAttemptFailed { .. }));
}

#[test]
fn drift_counts_what_differs_and_not_what_follows_from_it() {
    let mut host = Host::new();
    let wanted = [
        package(),
        file(&mut host.blobs, "/etc/web.conf", "one\n"),
        service(&["file./etc/web.conf"]),
    ];
    host.apply(&host.plan(&wanted, Mode::Converge), None, false);
    let address = &wanted[1].address;
    let found = host.found.get_mut(address).expect("it was applied");
    let mode = found.0.iter_mut().find(|(key, _)| key == "mode");
    mode.expect("it has a mode").1 = "0600".to_owned();
    assert_eq!(
        actions(&host.plan(&wanted, Mode::Converge)),
        named(&[("file./etc/web.conf", Action::Update), ("service.web", Action::Restart)])
    );
    assert_eq!(
        actions(&host.plan(&[], Mode::Drift)),
        named(&[("file./etc/web.conf", Action::Update)])
    );

    // A run that failed after its work was done leaves nothing that differs.
    let mut host = Host::new();
    let wanted = [file(&mut host.blobs, "/x", "one\n")];
    host.apply(&host.plan(&wanted, Mode::Converge), None, false);
    host.ledger
        .entries
        .get_mut(&wanted[0].address)
        .expect("it was applied")
        .phase = Phase::Failed;
    assert_eq!(actions(&host.plan(&[], Mode::Drift)), []);
}

#[test]
fn a_changed_blueprint_that_the_host_meets_already_keeps_before() {
    let mut host = Host::new();
    let wanted = [file(&mut host.blobs, "/x", "one\n")];
    host.apply(&host.plan(&wanted, Mode::Converge), None, false);
    let before = host.ledger.entries[&wanted[0].address].before.clone();
    let mut looser = wanted;
    if let Resource::File(file) = &mut looser[0].resource {
        file.mode = None;
    }
    let plan = host.plan(&looser, Mode::Converge);
    assert_eq!(actions(&plan), named(&[("file./x", Action::Adopt)]));
    host.apply(&plan, None, false);
    let entry = &host.ledger.entries[&looser[0].address];
    assert_eq!((&entry.before, entry.origin()), (&before, Origin::Applied));
    assert_eq!(actions(&host.plan(&looser, Mode::Converge)), []);
}

#[test]
fn a_path_that_passes_to_another_resource_is_freed_first() {
    let mut host = Host::new();
    let old = [file(&mut host.blobs, "/x", "one\n")];
    host.apply(&host.plan(&old, Mode::Converge), None, false);
    let link = Resource::Symlink(Symlink {
        path: "/x".to_owned(),
        ensure: Ensure::Present,
        target: "/y".to_owned(),
    });
    let new = [desired("symlink./x", link)];
    host.found.insert(
        new[0].address.clone(),
        attributes(&[("type", "file"), ("mode", "0644")]),
    );
    let plan = host.plan(&new, Mode::Converge);
    assert_eq!(
        actions(&plan),
        named(&[("file./x", Action::Delete), ("symlink./x", Action::Unknown)])
    );
    assert!(matches!(plan.changes[1].steps[0].life, StepLife::Begins { .. }));
}

#[test]
fn a_renamed_resource_is_not_adopted_and_then_deleted() {
    let mut host = Host::new();
    host.apply(&host.plan(&[package()], Mode::Converge), None, false);
    let renamed = DesiredResource {
        address: "package.server".parse().expect("an address"),
        ..package()
    };
    host.found
        .insert(renamed.address.clone(), attributes(&[("installed", "yes")]));
    let plan = host.plan(&[renamed], Mode::Converge);
    assert_eq!(
        actions(&plan),
        named(&[("package.web", Action::Delete), ("package.server", Action::Unknown)])
    );
}

#[test]
fn what_the_probe_cannot_tell_is_refused_when_nothing_is_pending() {
    let host = Host::new();
    let plan = host.plan(&[service(&[])], Mode::Converge);
    assert_eq!(plan.refusals.len(), 1);
    assert!(
        plan.refusals[0].message.contains("no unit web"),
        "{:?}",
        plan.refusals[0].message
    );
}

#[test]
fn a_service_that_failed_its_ready_check_is_not_adopted_as_done() {
    let mut host = Host::new();
    let ready = Ready {
        check: "curl localhost".to_owned(),
        timeout_ms: 60_000,
        every_ms: 2_000,
    };
    let wanted = [
        package(),
        DesiredResource {
            ready: Some(ready),
            ..service(&[])
        },
    ];
    host.apply(&host.plan(&wanted, Mode::Converge), None, false);
    let service = wanted[1].address.clone();
    host.ledger.entries.get_mut(&service).expect("it was applied").phase = Phase::Failed;
    let plan = host.plan(&wanted, Mode::Converge);
    assert_eq!(actions(&plan), named(&[("service.web", Action::Update)]));
    let (_, _, step) = plan.steps().next().expect("one step");
    assert!(step.always);
    assert_eq!(
        step.ready.as_ref().map(|ready| (ready.timeout_s, ready.every_s)),
        Some((60, 2))
    );
}

#[test]
fn another_machine_under_the_name_is_refused() {
    let host = Host::new();
    let mut observation = host.observation(&[], Mode::Converge);
    for found in [None, Some(MachineId("m2".to_owned()))] {
        observation.machine = found;
        let plan = plan_host(&PlanInput {
            desired: &[],
            ledger: &host.ledger,
            machine: Some(&machine()),
            was_user: None,
            held: None,
            observation: &observation,
            blobs: &host.blobs,
            mode: Mode::Converge,
            login: None,
            confirm_s: 60,
        });
        assert!(plan.refusals[0].message.contains("re-imaged"), "{:?}", plan.refusals);
    }
    let mut two = [host.plan(&[], Mode::Converge), host.plan(&[], Mode::Converge)];
    refuse_shared_machines(&mut two, &BTreeMap::new());
    assert!(two.iter().all(|plan| plan.refusals.len() == 1));
}

// REVIEW U7
#[test]
fn another_user_of_the_host_is_named_as_the_cause_of_another_state_folder() {
    let host = Host::new();
    let mut observation = host.observation(&[], Mode::Converge);
    observation.facts.0.insert("user".to_owned(), "ops".to_owned());
    let messages = |found: Option<MachineId>, was_user: Option<&str>| -> Vec<String> {
        let mut observation = observation.clone();
        observation.machine = found;
        let plan = plan_host(&PlanInput {
            desired: &[],
            ledger: &host.ledger,
            machine: Some(&machine()),
            was_user,
            held: None,
            observation: &observation,
            blobs: &host.blobs,
            mode: Mode::Converge,
            login: None,
            confirm_s: 60,
        });
        plan.refusals.into_iter().map(|refusal| refusal.message).collect()
    };
    for found in [None, Some(MachineId("m2".to_owned()))] {
        let said = messages(found.clone(), Some("root"));
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].starts_with("steps run as ops here, and ran as root before"),
            "{said:?}"
        );
        assert!(messages(found.clone(), Some("ops"))[0].contains("re-imaged"));
        assert!(
            messages(found, None)[0].contains("re-imaged"),
            "nothing is known of who it was"
        );
    }
    assert!(
        messages(Some(machine()), Some("root")).is_empty(),
        "the folder may be shared"
    );
}

// REVIEW H12
#[test]
fn a_host_that_claims_the_machine_of_another_one_is_refused_alone() {
    let host = Host::new();
    let mut two = [host.plan(&[], Mode::Converge), host.plan(&[], Mode::Converge)];
    two[0].host = "owner".into();
    two[1].host = "claimant".into();
    let before = two.clone().map(|plan| plan.refusals.len());
    let bound = BTreeMap::from([("owner".into(), machine())]);
    refuse_shared_machines(&mut two, &bound);
    assert_eq!(two[0].refusals.len(), before[0], "{:?}", two[0].refusals);
    assert_eq!(two[1].refusals.len(), before[1] + 1, "{:?}", two[1].refusals);
}

#[test]
fn an_uncollected_job_is_refused() {
    let host = Host::new();
    let mut observation = host.observation(&[], Mode::Converge);
    let job = |state| JobReport {
        attempt: AttemptId("a".to_owned()),
        state,
        end: None,
        steps: Vec::new(),
    };
    observation.jobs = vec![
        job(JobState::Running),
        job(JobState::Done),
        job(JobState::Interrupted),
        job(JobState::Unstarted),
    ];
    let plan = plan_host(&PlanInput {
        desired: &[],
        ledger: &host.ledger,
        machine: None,
        was_user: None,
        held: None,
        observation: &observation,
        blobs: &host.blobs,
        mode: Mode::Converge,
        login: None,
        confirm_s: 60,
    });
    assert_eq!(plan.refusals.len(), 3);
}

#[test]
fn a_diff_is_shown_for_text_and_never_for_secrets() {
    let mut host = Host::new();
    let mut wanted = [file(&mut host.blobs, "/x", "one\n")];
    let plan = host.plan(&wanted, Mode::Converge);
    assert!(
        plan.changes[0]
            .diff
            .as_ref()
            .is_some_and(|diff| diff.ends_with("@@ -0,0 +1 @@\n+one\n"))
    );
    wanted[0].sensitive = true;
    assert_eq!(host.plan(&wanted, Mode::Converge).changes[0].diff, None);
}

// REVIEW H17
#[test]
fn a_stale_plan_tells_no_value_of_what_is_sensitive() {
    let host = Host::new();
    let mut wanted = [line("password", "password = old")];
    let differs = "0 line password = old -> 0 line password = new";
    let open = host.plan(&wanted, Mode::Converge);
    let told = crate::job::stale_in_words(&open, differs);
    assert_eq!(told, "line.password: line password = old -> line password = new");
    wanted[0].sensitive = true;
    let told = crate::job::stale_in_words(&host.plan(&wanted, Mode::Converge), differs);
    assert_eq!(told, "line.password is not what it was");
}

#[test]
fn the_step_file_is_sh_and_says_what_the_protocol_asks() {
    let mut host = Host::new();
    let wanted = web(&mut host.blobs);
    let body = job_body(&host.plan(&wanted, Mode::Converge), &machine());
    let text = body.text.as_str();
    for part in [
        "hf_meta_1() {\nhf_address='package.web'\n",
        "hf_timeout='2'\n",
        "hf_only_if='3'\n",
        "hf_always='1'\n",
        "hf_prologue() {\n:\nhf_collect_path '/etc/hosts'\n",
        "hf_begin '0' '2'\n",
        "hf_steps='7'\n",
        "hf_machine_new='m1'\n",
        "hf_fingerprint='0 installed no\n1 exists no\n2 type absent\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert_eq!(body.restarts[&wanted[4].address], [3]);
    assert_eq!(body.blobs.len(), 2, "the file and the script");
    let checked = std::process::Command::new("/bin/sh")
        .args(["-n", "-c", text])
        .output()
        .expect("there is a /bin/sh");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

proptest! {
    #[test]
    fn a_job_that_died_anywhere_is_finished_by_the_next_plans(
        picks in proptest::collection::vec(any::<bool>(), 6),
        dies in 1_u32..8,
        half in any::<bool>(),
        dies_again in proptest::option::of(1_u32..8),
    ) {
        let mut host = Host::new();
        let all = web(&mut host.blobs);
        // The service comes with its package; without it, the blueprint is refused.
        let wanted: Vec<DesiredResource> = all
            .into_iter()
            .zip(&picks)
            .filter(|(resource, pick)| **pick && (picks[0] || resource.address.kind.word() != "service"))
            .map(|(resource, _)| resource)
            .collect();
        host.apply(&host.plan(&wanted, Mode::Converge), Some(dies), half);
        host.apply(&host.plan(&wanted, Mode::Converge), dies_again, half);
        host.apply(&host.plan(&wanted, Mode::Converge), None, false);
        let after = host.plan(&wanted, Mode::Converge);
        prop_assert_eq!(actions(&after), vec![]);
        prop_assert_eq!(host.ledger.entries.len(), wanted.len());
        prop_assert!(host.ledger.owed.is_empty());
        if picks[0] && picks[2] && picks[4] {
            prop_assert!(host.restarts >= 1, "the file changed and the service was not restarted");
        }
        // And all of it goes again, wherever that job dies.
        host.apply(&host.plan(&[], Mode::Converge), Some(dies), half);
        host.apply(&host.plan(&[], Mode::Converge), None, false);
        prop_assert!(host.ledger.entries.is_empty(), "{:?}", host.ledger.entries.keys());
        prop_assert!(host.ledger.owed.is_empty());
    }

    #[test]
    fn a_plan_over_a_fleet_in_sync_is_empty(picks in proptest::collection::vec(any::<bool>(), 6), adopted in any::<bool>()) {
        let mut host = Host::new();
        let mut wanted = web(&mut host.blobs);
        let mut pick = picks.iter();
        wanted.retain(|resource| *pick.next().expect("six of each") || resource.address.kind.word() == "package");
        let plan = host.plan(&wanted, Mode::Converge);
        host.apply(&plan, None, false);
        if adopted {
            // Another controller that knows nothing of it.
            host.ledger = Ledger::default();
            let plan = host.plan(&wanted, Mode::Converge);
            prop_assert!(plan.changes.iter().all(|change| change.action == Action::Adopt));
            host.apply(&plan, None, false);
        }
        prop_assert_eq!(actions(&host.plan(&wanted, Mode::Converge)), vec![]);
    }
}
