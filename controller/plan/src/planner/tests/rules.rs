//! Each rule stands in what it decided, so that a plan can be explained: one case for each of them.

use super::*;
use crate::explain::{ExplainInput, explain};
use crate::rule::Rule;

/// The rules that decided about a resource, of its changes and its refusals.
fn rules(plan: &HostPlan, address: &str) -> Vec<Rule> {
    let address: Address = address.parse().expect("an address");
    let changes = plan.changes.iter().filter(|change| change.address == address);
    let refusals = plan
        .refusals
        .iter()
        .filter(|one| one.address.as_ref() == Some(&address));
    let refused = refusals.map(|refusal| refusal.rule.expect("it is about a resource"));
    changes.map(|change| change.rule).chain(refused).collect()
}

fn applied(wanted: &[DesiredResource], blobs: &Blobs) -> Host {
    let mut host = Host::new();
    host.blobs = blobs.clone();
    host.apply(&host.plan(wanted, Mode::Converge), None, false);
    host
}

fn set_phase(host: &mut Host, address: &str, phase: Phase) {
    let address: Address = address.parse().expect("an address");
    host.ledger.entries.get_mut(&address).expect("it was applied").phase = phase;
}

// Issue 8, "Done when" 9.
#[test]
fn what_is_desired_is_decided_by_a_rule_that_stands_in_the_change() {
    let mut blobs = Blobs::default();
    let x = file(&mut blobs, "/x", "one\n");
    let bare = Host::new();
    let plan = |host: &Host, wanted: &[DesiredResource]| host.plan(wanted, Mode::Converge);

    assert_eq!(
        rules(&plan(&bare, std::slice::from_ref(&x)), "file./x"),
        [Rule::Differs]
    );
    let mut there = Host::new();
    there.found.insert(group().address, attributes(&[("exists", "yes")]));
    assert_eq!(rules(&plan(&there, &[group()]), "group.www"), [Rule::Adopt]);
    assert_eq!(rules(&plan(&bare, &[service(&[])]), "service.web"), [Rule::CannotTell]);
    let after = plan(&bare, &[package(), service(&[])]);
    assert_eq!(rules(&after, "service.web"), [Rule::KnownAfter]);
    let script = script(&mut blobs, true, &["package.web"]);
    let after = plan(&bare, &[package(), script]);
    assert_eq!(rules(&after, "script.join"), [Rule::WaitsForItsNeeds]);
    let mut in_the_way = Host::new();
    let full = attributes(&[("type", "directory"), ("empty", "no")]);
    in_the_way.found.insert(x.address.clone(), full);
    assert_eq!(
        rules(&plan(&in_the_way, std::slice::from_ref(&x)), "file./x"),
        [Rule::Refused]
    );

    let mut host = applied(std::slice::from_ref(&x), &blobs);
    assert_eq!(
        rules(&plan(&host, std::slice::from_ref(&x)), "file./x"),
        [Rule::NothingToDo]
    );
    let pinned = DesiredResource {
        prevent_undo: true,
        ..x.clone()
    };
    assert_eq!(rules(&plan(&host, &[pinned]), "file./x"), [Rule::EntryIsOutdated]);
    let mut gone = x.clone();
    if let Resource::File(file) = &mut gone.resource {
        (file.ensure, file.content, file.mode) = (Ensure::Absent, None, None);
    }
    assert_eq!(rules(&plan(&host, &[gone]), "file./x"), [Rule::BecameAnother]);
    let needing = DesiredResource {
        needs: vec![package().address],
        ..x.clone()
    };
    assert_eq!(
        rules(&plan(&host, &[package(), needing]), "file./x"),
        [Rule::LookedAtAgain]
    );
    let ready = Ready {
        check: "true".to_owned(),
        timeout_ms: 1_000,
        every_ms: 1_000,
    };
    let checked = DesiredResource {
        ready: Some(ready),
        ..x.clone()
    };
    set_phase(&mut host, "file./x", Phase::Failed);
    assert_eq!(rules(&plan(&host, &[checked]), "file./x"), [Rule::NotReadyYet]);
    set_phase(&mut host, "file./x", Phase::Tainted);
    assert_eq!(
        rules(&plan(&host, std::slice::from_ref(&x)), "file./x"),
        [Rule::Tainted]
    );
    set_phase(&mut host, "file./x", Phase::Stuck);
    assert_eq!(rules(&plan(&host, std::slice::from_ref(&x)), "file./x"), [Rule::Stuck]);
    assert_eq!(rules(&plan(&host, &[]), "file./x"), [Rule::LeftBlueprint, Rule::Stuck]);
}

// Issue 8, "Done when" 9.
#[test]
fn what_leaves_restarts_or_vanished_has_its_rule_too() {
    let mut blobs = Blobs::default();
    let x = file(&mut blobs, "/x", "one\n");
    let pinned = DesiredResource {
        prevent_undo: true,
        ..file(&mut blobs, "/pinned", "x")
    };
    let wanted = [x, pinned, script(&mut blobs, false, &[])];
    let host = applied(&wanted, &blobs);
    let leaving = host.plan(&[], Mode::Converge);
    assert_eq!(rules(&leaving, "file./x"), [Rule::LeftBlueprint]);
    assert_eq!(
        rules(&leaving, "file./pinned"),
        [Rule::LeftBlueprint, Rule::PreventUndo]
    );
    assert_eq!(rules(&leaving, "script.join"), [Rule::NothingToUndo]);
    let link = Resource::Symlink(Symlink {
        path: "/x".to_owned(),
        ensure: Ensure::Present,
        target: "/y".to_owned(),
    });
    let moved = host.plan(&[desired("symlink./x", link)], Mode::Converge);
    assert_eq!(rules(&moved, "symlink./x"), [Rule::PlaceIsFreedFirst]);

    let wanted = |text: &str, blobs: &mut Blobs| {
        let conf = file(blobs, "/etc/web.conf", text);
        [package(), conf, service(&["file./etc/web.conf"])]
    };
    let first = wanted("one\n", &mut blobs);
    let mut host = applied(&first, &blobs);
    let second = wanted("two\n", &mut blobs);
    let restart = host.plan(&second, Mode::Converge);
    assert_eq!(
        rules(&restart, "service.web"),
        [Rule::NothingToDo, Rule::DependencyChanges]
    );
    let on = first[1].address.clone();
    host.ledger.owed.insert(first[2].address.clone(), vec![on]);
    let owed = host.plan(&first, Mode::Converge);
    assert_eq!(rules(&owed, "service.web"), [Rule::NothingToDo, Rule::RestartOwed]);
    host.found
        .insert(first[2].address.clone(), attributes(&[("unit", "missing")]));
    assert_eq!(rules(&host.plan(&[], Mode::Drift), "service.web"), [Rule::Vanished]);

    let mut observation = Host::new().observation(&[package()], Mode::Converge);
    observation.facts.0.insert("uid".to_owned(), "1000".to_owned());
    let (ledger, desired) = (Ledger::default(), [package()]);
    let unsupported = plan_host(&PlanInput {
        desired: &desired,
        ledger: &ledger,
        machine: None,
        was_user: None,
        held: None,
        observation: &observation,
        blobs: &blobs,
        mode: Mode::Converge,
        login: None,
        confirm_s: 60,
    });
    assert_eq!(rules(&unsupported, "package.web"), [Rule::Differs, Rule::Unsupported]);
}

// Issue 8, "Done when" 9.
#[test]
fn an_explanation_takes_the_rule_from_the_plan_and_compares_the_three() {
    let mut blobs = Blobs::default();
    let wanted = [package(), file(&mut blobs, "/x", "one\n")];
    let mut host = applied(&wanted, &blobs);
    let found = host.found.get_mut(&wanted[1].address).expect("it was applied");
    found.set("mode", "0600");
    let found = found.clone();
    let needing = DesiredResource {
        needs: vec![package().address],
        ..wanted[1].clone()
    };
    let desired = [package(), needing];
    let mut plan = host.plan(&desired, Mode::Converge);
    // Whatever stands there is told: it is not worked out again.
    let change = plan
        .changes
        .iter_mut()
        .find(|change| change.address == wanted[1].address);
    change.expect("it is planned").rule = Rule::Vanished;
    let input = ExplainInput {
        plan: &plan,
        desired: &desired,
        ledger: &host.ledger,
        observed: &found,
    };
    let explained = explain(&input, &wanted[1].address).expect("it is known");
    assert_eq!(explained.decided[0].rule, Some(Rule::Vanished));
    assert_eq!(explained.decided[0].name, "vanished");
    let mode = explained.compared.iter().find(|row| row.attribute == "mode");
    let mode = mode.expect("it is compared");
    let cells = [&mode.observed, &mode.desired, &mode.ledger].map(|cell| cell.as_deref());
    assert_eq!(
        (cells, mode.differs),
        ([Some("0600"), Some("0644"), Some("0644")], true)
    );
    assert_eq!(explained.waits_for[0].address, package().address);
    assert_eq!(explained.waits_for[0].action, None, "the package is there already");
    let nobody: Address = "file./y".parse().expect("an address");
    assert_eq!(explain(&input, &nobody), None);
}
