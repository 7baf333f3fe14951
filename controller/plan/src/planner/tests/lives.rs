//! Lives and what they mean for plans: what becomes another thing, what is looked at again, what is undone and in which
//! order. The numbers are those of the review that found what each test holds.

use super::*;
use crate::resource::{Directory, User};

fn apply_all(host: &mut Host, wanted: &[DesiredResource]) {
    let plan = host.plan(wanted, Mode::Converge);
    host.apply(&plan, None, false);
}

fn reason_of<'a>(plan: &'a HostPlan, address: &str) -> &'a Reason {
    let change = plan.changes.iter().find(|change| change.address.to_string() == address);
    &change.expect("it is in the plan").reason
}

fn lives(plan: &HostPlan) -> Vec<&'static str> {
    plan.steps()
        .map(|(_, _, step)| match &step.life {
            StepLife::None => "none",
            StepLife::Begins { .. } => "begins",
            StepLife::GoesOn { .. } => "goes on",
            StepLife::Ends { .. } => "ends",
        })
        .collect()
}

fn absent(path: &str, needs: &[&str]) -> DesiredResource {
    let resource = Resource::File(File {
        path: path.to_owned(),
        ensure: Ensure::Absent,
        content: None,
        mode: None,
        owner: None,
        group: None,
        sensitive: false,
        validate: None,
    });
    DesiredResource {
        needs: needs.iter().map(|a| a.parse().expect("an address")).collect(),
        ..desired(&format!("file.{path}"), resource)
    }
}

fn user(name: &str) -> DesiredResource {
    let resource = Resource::User(User {
        name: name.to_owned(),
        ensure: Ensure::Present,
        uid: None,
        group: None,
        groups: None,
        home: None,
        shell: None,
        comment: None,
        system: true,
    });
    desired(&format!("user.{name}"), resource)
}

fn directory(path: &str) -> DesiredResource {
    let resource = Resource::Directory(Directory {
        path: path.to_owned(),
        ensure: Ensure::Present,
        mode: None,
        owner: None,
        group: None,
    });
    desired(&format!("directory.{path}"), resource)
}

// REVIEW A1: nginx's default site comes with the package, after the plan was made.
#[test]
fn what_is_as_desired_before_its_needs_are_applied_is_looked_at_again_at_its_turn() {
    let host = Host::new();
    let site = absent("/etc/web/default", &["package.web"]);
    let plan = host.plan(&[package(), site], Mode::Converge);
    assert_eq!(
        actions(&plan),
        named(&[
            ("package.web", Action::Create),
            ("file./etc/web/default", Action::Unknown)
        ])
    );
    let after = vec![package().address];
    assert_eq!(
        *reason_of(&plan, "file./etc/web/default"),
        Reason::LookedAtAgain { after }
    );
    let (_, _, step) = plan.steps().last().expect("it has a step");
    assert!(!step.always, "it is done only if it has to be");
}

// REVIEW A2: a bad file must not reach a restart past the check that stands between them.
#[test]
fn a_check_between_a_change_and_a_restart_runs_between_them() {
    let mut host = Host::new();
    let check = |blobs: &mut Blobs| script(blobs, false, &["file./etc/web.conf"]);
    let good = [
        package(),
        file(&mut host.blobs, "/etc/web.conf", "good\n"),
        check(&mut host.blobs),
        DesiredResource {
            needs: vec!["script.join".parse().expect("an address")],
            ..service(&["file./etc/web.conf"])
        },
    ];
    apply_all(&mut host, &good);
    assert_eq!(actions(&host.plan(&good, Mode::Converge)), []);
    let mut bad = good;
    bad[1] = file(&mut host.blobs, "/etc/web.conf", "bad\n");
    let plan = host.plan(&bad, Mode::Converge);
    assert_eq!(
        actions(&plan),
        named(&[
            ("file./etc/web.conf", Action::Update),
            ("script.join", Action::Unknown),
            ("service.web", Action::Unknown),
            ("service.web", Action::Restart),
        ])
    );
}

// REVIEW A3: the plan tells of a folder that nobody brings; one that the plan itself brings leaves a create a create.
#[test]
fn a_missing_folder_is_told_by_the_plan_unless_the_plan_brings_it() {
    let mut host = Host::new();
    let wanted = [
        directory("/srv/site"),
        file(&mut host.blobs, "/srv/site/page", "one\n"),
        file(&mut host.blobs, "/opt/none/page", "one\n"),
    ];
    let no_folder = attributes(&[("type", "absent"), ("folder", "missing")]);
    for page in &wanted[1..] {
        host.found.insert(page.address.clone(), no_folder.clone());
    }
    let plan = host.plan(&wanted, Mode::Converge);
    assert_eq!(
        actions(&plan),
        named(&[
            ("directory./srv/site", Action::Create),
            ("file./srv/site/page", Action::Create),
            ("file./opt/none/page", Action::Unknown),
        ])
    );
    // With nothing else in the plan nothing may bring it.
    let plan = host.plan(&wanted[2..], Mode::Converge);
    let [refusal] = plan.refusals.as_slice() else {
        panic!("{:?}", plan.refusals)
    };
    assert_eq!(
        refusal.message,
        "its folder /opt/none is missing, and nothing in the blueprint brings it"
    );
}

// REVIEW A4.
#[test]
fn a_refused_service_is_refused_once_and_not_restarted() {
    let mut host = Host::new();
    let wanted = [
        file(&mut host.blobs, "/etc/web.conf", "one\n"),
        service(&["file./etc/web.conf"]),
    ];
    host.found.insert(
        wanted[1].address.clone(),
        attributes(&[("unit", "masked"), ("running", "no"), ("enabled", "no")]),
    );
    let plan = host.plan(&wanted, Mode::Converge);
    assert_eq!(plan.refusals.len(), 1, "{:?}", plan.refusals);
    assert_eq!(actions(&plan), named(&[("file./etc/web.conf", Action::Create)]));
}

// REVIEW A5.
#[test]
fn a_tainted_resource_is_undone_and_made_anew_in_a_life_of_its_own() {
    let mut host = Host::new();
    let wanted = [file(&mut host.blobs, "/x", "one\n")];
    apply_all(&mut host, &wanted);
    let address = wanted[0].address.clone();
    let first = host.ledger.entries[&address]
        .before
        .clone()
        .expect("it was applied")
        .life;
    host.ledger.entries.get_mut(&address).expect("it was applied").phase = Phase::Tainted;
    let plan = host.plan(&wanted, Mode::Converge);
    assert_eq!(actions(&plan), named(&[("file./x", Action::Replace)]));
    assert_eq!(lives(&plan), ["ends", "begins"]);
    host.apply(&plan, None, false);
    let second = host.ledger.entries[&address]
        .before
        .clone()
        .expect("it was applied")
        .life;
    assert_ne!(first, second);
    assert_eq!(actions(&host.plan(&wanted, Mode::Converge)), []);
}

// REVIEW A5: what the type refuses stays refused, whoever asks.
#[test]
fn a_tainted_resource_that_must_not_be_touched_is_refused() {
    let mut host = Host::new();
    let wanted = [package(), service(&[])];
    apply_all(&mut host, &wanted);
    let address = wanted[1].address.clone();
    host.ledger.entries.get_mut(&address).expect("it was applied").phase = Phase::Tainted;
    host.found.insert(
        address,
        attributes(&[("unit", "masked"), ("running", "no"), ("enabled", "no")]),
    );
    assert_eq!(host.plan(&wanted, Mode::Converge).refusals.len(), 1);
}

// REVIEW A6.
#[test]
fn a_unit_that_vanished_is_drift() {
    let mut host = Host::new();
    let wanted = [package(), service(&[])];
    apply_all(&mut host, &wanted);
    host.found
        .insert(wanted[1].address.clone(), attributes(&[("unit", "missing")]));
    let plan = host.plan(&[], Mode::Drift);
    assert_eq!(plan.refusals, []);
    assert_eq!(actions(&plan), named(&[("service.web", Action::Update)]));
}

// REVIEW A11: what was found as desired is forgotten when it leaves, and nobody is told that something was there.
#[test]
fn what_was_found_as_desired_is_forgotten_in_words_that_hold_for_what_is_absent_too() {
    let mut host = Host::new();
    let wanted = [
        absent("/etc/old.conf", &[]),
        script(&mut host.blobs, false, &[]),
        package(),
        service(&[]),
    ];
    host.found
        .insert(wanted[1].address.clone(), attributes(&[("check", "passed")]));
    // The package brings the service, which runs by the time it is looked at.
    let found = attributes(&[("unit", "found"), ("running", "yes"), ("enabled", "yes")]);
    host.found.insert(wanted[3].address.clone(), found);
    apply_all(&mut host, &wanted);
    let plan = host.plan(&wanted[2..3], Mode::Converge);
    assert_eq!(
        actions(&plan),
        named(&[
            ("service.web", Action::Forget),
            ("script.join", Action::Forget),
            ("file./etc/old.conf", Action::Forget),
        ])
    );
    for change in &plan.changes {
        let why = "Holdfast found it so, and changed nothing of it".to_owned();
        if change.action == Action::Forget {
            assert_eq!(change.reason, Reason::NothingToUndo { why }, "{}", change.address);
        }
    }
}

// REVIEW A12.
#[test]
fn an_adopted_resource_that_is_put_in_order_again_stays_adopted() {
    let mut host = Host::new();
    let wanted = [service(&[])];
    let running = attributes(&[("unit", "found"), ("running", "yes"), ("enabled", "yes")]);
    host.found.insert(wanted[0].address.clone(), running);
    apply_all(&mut host, &wanted);
    host.found.insert(
        wanted[0].address.clone(),
        attributes(&[("unit", "found"), ("running", "no"), ("enabled", "yes")]),
    );
    let plan = host.plan(&wanted, Mode::Converge);
    assert_eq!(lives(&plan), ["none"]);
    host.apply(&plan, None, false);
    assert_eq!(
        actions(&host.plan(&[], Mode::Converge)),
        named(&[("service.web", Action::Forget)])
    );
}

#[test]
fn an_adopted_resource_whose_blueprint_changed_begins_a_life() {
    let mut host = Host::new();
    let wanted = [file(&mut host.blobs, "/x", "one\n")];
    let found = wanted[0].resource.lifecycle().wanted(&Attributes::default());
    let found = found.iter().filter_map(|line| line.split_once(' '));
    host.found.insert(
        wanted[0].address.clone(),
        Attributes(found.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()),
    );
    apply_all(&mut host, &wanted);
    assert_eq!(host.ledger.entries[&wanted[0].address].origin(), Origin::Adopted);
    let changed = [file(&mut host.blobs, "/x", "two\n")];
    let plan = host.plan(&changed, Mode::Converge);
    assert_eq!(lives(&plan), ["begins"]);
}

// REVIEW B3, and an `ensure` that turns.
#[test]
fn a_line_that_becomes_another_is_undone_first_and_begins_a_life() {
    let mut host = Host::new();
    apply_all(&mut host, &[line("ntp", "old")]);
    let plan = host.plan(&[line("ntp", "new")], Mode::Converge);
    assert_eq!(actions(&plan), named(&[("line.ntp", Action::Replace)]));
    assert_eq!(lives(&plan), ["ends", "begins"]);
    let texts: Vec<&str> = plan.steps().map(|(_, _, step)| step.apply.as_str()).collect();
    assert!(
        texts[0].contains("line='old'") && texts[1].contains("line='new'"),
        "{texts:?}"
    );
    host.apply(&plan, None, false);
    assert_eq!(actions(&host.plan(&[line("ntp", "new")], Mode::Converge)), []);

    let mut gone = line("ntp", "new");
    if let Resource::Line(line) = &mut gone.resource {
        line.ensure = Ensure::Absent;
    }
    assert_eq!(lives(&host.plan(&[gone], Mode::Converge)), ["ends", "begins"]);
}

#[test]
fn a_replacement_that_dies_between_its_halves_is_finished_by_the_next_plan() {
    let mut host = Host::new();
    apply_all(&mut host, &[line("ntp", "old")]);
    let plan = host.plan(&[line("ntp", "new")], Mode::Converge);
    host.apply(&plan, Some(2), false);
    assert!(
        host.ledger.entries.is_empty(),
        "the old life is over, the new one has not begun"
    );
    let plan = host.plan(&[line("ntp", "new")], Mode::Converge);
    assert_eq!(lives(&plan), ["begins"]);
}

#[test]
fn an_adopted_address_that_becomes_another_thing_leaves_the_old_one_alone() {
    let mut host = Host::new();
    let old = [line("ntp", "old")];
    host.found.insert(
        old[0].address.clone(),
        attributes(&[("type", "file"), ("line", "present")]),
    );
    apply_all(&mut host, &old);
    host.found.clear();
    let plan = host.plan(&[line("ntp", "new")], Mode::Converge);
    assert_eq!(lives(&plan), ["begins"]);
}

// REVIEW B4: what was installed before is never taken away, whatever was desired in between.
#[test]
fn a_package_that_was_there_stays_whatever_was_desired_in_between() {
    let mut host = Host::new();
    let mut gone = package();
    if let Resource::Package(package) = &mut gone.resource {
        package.ensure = Ensure::Absent;
    }
    host.found.insert(
        gone.address.clone(),
        attributes(&[("installed", "yes"), ("version", "1.2")]),
    );
    apply_all(&mut host, &[gone]);
    assert_eq!(host.found[&package().address].get("installed"), Some("no"));
    apply_all(&mut host, &[package()]);
    let plan = host.plan(&[], Mode::Converge);
    for (_, _, step) in plan.steps() {
        assert!(!step.apply.as_str().contains("purge"), "{}", step.apply);
    }
    host.apply(&plan, None, false);
    assert_eq!(host.found[&package().address].get("installed"), Some("yes"));
}

// REVIEW B6.
#[test]
fn a_script_whose_check_fails_is_undone_all_the_same() {
    let mut host = Host::new();
    let wanted = [script(&mut host.blobs, true, &[])];
    apply_all(&mut host, &wanted);
    host.found
        .insert(wanted[0].address.clone(), attributes(&[("check", "failed")]));
    let plan = host.plan(&[], Mode::Converge);
    let (_, _, step) = plan.steps().next().expect("it has an undo");
    assert!(step.always && step.wanted.is_empty());
}

// REVIEW B7: sshd was there before, and has to learn that its file is as it was.
#[test]
fn a_service_that_was_there_before_is_restarted_when_its_files_are_undone() {
    let mut host = Host::new();
    let wanted = [
        file(&mut host.blobs, "/etc/web.conf", "one\n"),
        service(&["file./etc/web.conf"]),
    ];
    let running = attributes(&[("unit", "found"), ("running", "yes"), ("enabled", "yes")]);
    host.found.insert(wanted[1].address.clone(), running);
    apply_all(&mut host, &wanted);
    let restarts = host.restarts;
    let plan = host.plan(&[], Mode::Converge);
    assert_eq!(
        actions(&plan),
        named(&[
            ("file./etc/web.conf", Action::Delete),
            ("service.web", Action::Restart),
            ("service.web", Action::Forget),
        ])
    );
    // The job dies before the restart: it stays owed, and the next plan has it.
    host.apply(&plan, Some(2), false);
    assert_eq!(host.restarts, restarts);
    let plan = host.plan(&[], Mode::Converge);
    assert_eq!(actions(&plan)[0].1, Action::Restart);
    host.apply(&plan, None, false);
    assert_eq!(host.restarts, restarts + 1);
    assert!(host.ledger.entries.is_empty() && host.ledger.owed.is_empty());
}

// REVIEW B8.
#[test]
fn what_is_undone_goes_by_needs_and_paths_and_not_by_entry() {
    let mut host = Host::new();
    let inner = file(&mut host.blobs, "/srv/web/index", "hello\n");
    // They entered when nothing needed anything yet.
    apply_all(&mut host, std::slice::from_ref(&service(&[])).get(..0).expect("none"));
    let mut early = [package(), service(&[]), inner.clone()];
    apply_all(&mut host, &early);
    early[1].needs = vec![user("www").address];
    let wanted = [
        early[0].clone(),
        user("www"),
        early[1].clone(),
        directory("/srv/web"),
        inner,
    ];
    apply_all(&mut host, &wanted);
    let order: Vec<String> = actions(&host.plan(&[], Mode::Converge))
        .into_iter()
        .map(|(a, _)| a)
        .collect();
    let place = |address: &str| order.iter().position(|a| a == address).expect("it is undone");
    assert!(place("service.web") < place("user.www"), "{order:?}");
    assert!(place("file./srv/web/index") < place("directory./srv/web"), "{order:?}");
}

#[test]
fn prevent_undo_refuses_to_undo() {
    let mut host = Host::new();
    let mut wanted = [file(&mut host.blobs, "/x", "one\n")];
    wanted[0].prevent_undo = true;
    apply_all(&mut host, &wanted);
    let plan = host.plan(&[], Mode::Converge);
    assert!(plan.refusals[0].message.contains("prevent_undo"), "{:?}", plan.refusals);
    wanted[0].prevent_undo = false;
    apply_all(&mut host, &wanted);
    assert_eq!(host.plan(&[], Mode::Converge).refusals, []);
}
