//! What leaves a place and what comes to it: addresses that trade places, and lives that end though the new thing waits.

use super::*;

/// Each step of a plan: what it is about, and what it means for *before*.
fn steps(plan: &HostPlan) -> Vec<(String, &'static str)> {
    plan.steps()
        .map(|(_, change, step)| {
            let life = match &step.life {
                StepLife::None => "none",
                StepLife::Begins { .. } => "begins",
                StepLife::GoesOn { .. } => "goes on",
                StepLife::Ends { .. } => "ends",
            };
            (change.address.to_string(), life)
        })
        .collect()
}

fn expected(steps: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    steps.iter().map(|(a, life)| ((*a).to_owned(), *life)).collect()
}

fn named_file(blobs: &mut Blobs, name: &str, path: &str) -> DesiredResource {
    DesiredResource {
        address: format!("file.{name}").parse().expect("an address"),
        ..file(blobs, path, name)
    }
}

fn apply_all(host: &mut Host, wanted: &[DesiredResource]) {
    let plan = host.plan(wanted, Mode::Converge);
    host.apply(&plan, None, false);
}

// REVIEW B2, F2: what comes first would capture what the other put there, and put it back for ever.
#[test]
fn addresses_that_trade_places_both_leave_before_either_comes() {
    let mut host = Host::new();
    let at = |blobs: &mut Blobs, a: &str, b: &str| [named_file(blobs, "a", a), named_file(blobs, "b", b)];
    let first = at(&mut host.blobs, "/x", "/y");
    apply_all(&mut host, &first);
    let traded = at(&mut host.blobs, "/y", "/x");
    let plan = host.plan(&traded, Mode::Converge);
    assert_eq!(
        steps(&plan),
        expected(&[
            ("file.b", "ends"),
            ("file.a", "ends"),
            ("file.a", "begins"),
            ("file.b", "begins")
        ])
    );
    let numbers: Vec<u32> = plan.steps().map(|(number, _, _)| number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let body = job_body(&plan, &machine());
    let undone: Vec<_> = body.steps.iter().map(|step| (step.index, step.action)).collect();
    assert_eq!(undone[..2], [(1, Action::Delete), (2, Action::Delete)]);
}

// REVIEW B2: a changed identity went on in the old life when its change waited for another.
#[test]
fn a_life_ends_though_the_new_thing_has_to_wait() {
    let mut host = Host::new();
    let first = [
        named_file(&mut host.blobs, "a", "/x"),
        named_file(&mut host.blobs, "b", "/y"),
    ];
    apply_all(&mut host, &first);
    let moved = [named_file(&mut host.blobs, "a", "/y")];
    let plan = host.plan(&moved, Mode::Converge);
    assert_eq!(
        actions(&plan),
        named(&[("file.b", Action::Delete), ("file.a", Action::Unknown)])
    );
    assert_eq!(
        steps(&plan),
        expected(&[("file.b", "ends"), ("file.a", "ends"), ("file.a", "begins")])
    );
    host.apply(&plan, None, false);
    let life = host.ledger.entries[&moved[0].address].before.clone();
    assert_ne!(life.expect("it began").life.as_str(), "attempt1-1");
}

#[test]
fn what_lies_where_an_old_life_ends_is_looked_at_again() {
    let mut host = Host::new();
    let link = |target: &str, path: &str| {
        desired(
            "symlink.a",
            Resource::Symlink(Symlink {
                path: path.to_owned(),
                ensure: Ensure::Present,
                target: target.to_owned(),
            }),
        )
    };
    let inner = named_file(&mut host.blobs, "inner", "/data/f");
    let mut wanted = [inner.clone(), link("/srv", "/data")];
    apply_all(&mut host, &wanted);
    wanted[1] = link("/srv", "/other");
    let plan = host.plan(&wanted, Mode::Converge);
    let change = &plan.changes[0];
    assert_eq!(
        (change.address.clone(), change.action),
        (inner.address, Action::Unknown)
    );
}

#[test]
fn a_restart_follows_from_the_end_of_the_old_life_as_from_the_new() {
    let mut host = Host::new();
    let on = |blobs: &mut Blobs, path: &str| [package(), named_file(blobs, "conf", path), service(&["file.conf"])];
    let first = on(&mut host.blobs, "/etc/a.conf");
    apply_all(&mut host, &first);
    let second = on(&mut host.blobs, "/etc/b.conf");
    let plan = host.plan(&second, Mode::Converge);
    let (_, _, restart) = plan.steps().last().expect("a restart");
    assert_eq!(restart.only_if_changed, [1, 2]);
    assert_eq!(job_body(&plan, &machine()).restarts[&second[2].address], [1, 2]);
}

// REVIEW A3: nothing is undone for the sake of what can't come.
#[test]
fn a_thing_whose_new_place_is_missing_is_refused_and_not_undone() {
    let mut host = Host::new();
    let first = [named_file(&mut host.blobs, "a", "/x")];
    apply_all(&mut host, &first);
    let moved = [named_file(&mut host.blobs, "a", "/nowhere/x")];
    host.found.insert(
        moved[0].address.clone(),
        attributes(&[("type", "absent"), ("folder", "missing")]),
    );
    let plan = host.plan(&moved, Mode::Converge);
    assert_eq!(plan.refusals.len(), 1, "{:?}", plan.refusals);
    assert!(plan.refusals[0].message.contains("/nowhere"), "{:?}", plan.refusals);
}

#[test]
fn prevent_undo_refuses_what_would_become_another_thing() {
    let mut host = Host::new();
    let mut first = [named_file(&mut host.blobs, "a", "/x")];
    first[0].prevent_undo = true;
    apply_all(&mut host, &first);
    let moved = [named_file(&mut host.blobs, "a", "/y")];
    let plan = host.plan(&moved, Mode::Converge);
    assert!(plan.refusals[0].message.contains("prevent_undo"), "{:?}", plan.refusals);
}

// Issue 8, point 5: the guard would take the attributes of the new place for those of the old one.
#[test]
fn the_guard_of_an_old_life_puts_back_what_stood_at_the_old_place() {
    let mut host = Host::new();
    let first = [named_file(&mut host.blobs, "a", "/etc/ssh/sshd_config")];
    apply_all(&mut host, &first);
    let moved = [named_file(&mut host.blobs, "a", "/etc/ssh/other")];
    host.found
        .insert(moved[0].address.clone(), attributes(&[("type", "absent")]));
    let plan = host.plan(&moved, Mode::Converge);
    let (_, _, step) = plan.steps().next().expect("the old life ends");
    let Some(StepGuard::Restore { revert, .. }) = &step.guard else {
        panic!("{:?} is guarded", step.guard)
    };
    let revert = revert.as_str();
    assert!(
        revert.contains("hf_was_type='file'") && revert.contains("sshd_config"),
        "{revert}"
    );
}

// A symlink took the place of a file; once it is to be absent, the file is back, and nobody said that it shall go.
#[test]
fn what_comes_back_at_the_same_place_is_not_taken_for_what_shall_go() {
    let mut host = Host::new();
    let link = |ensure| {
        desired(
            "symlink./x",
            Resource::Symlink(Symlink {
                path: "/x".to_owned(),
                ensure,
                target: "/y".to_owned(),
            }),
        )
    };
    let there = link(Ensure::Present);
    host.found
        .insert(there.address.clone(), attributes(&[("type", "file")]));
    apply_all(&mut host, &[there]);
    let plan = host.plan(&[link(Ensure::Absent)], Mode::Converge);
    assert!(plan.refusals[0].message.contains("is a file"), "{:?}", plan.refusals);
}

// REVIEW H24: what a check says is no argument of a process.
#[test]
fn the_text_of_a_ready_check_is_for_nobody_else_to_see() {
    let host = Host::new();
    let wanted = DesiredResource {
        ready: Some(Ready {
            check: "[ geheim = geheim ] && exit 7".to_owned(),
            timeout_ms: 1_000,
            every_ms: 1_000,
        }),
        ..group()
    };
    let plan = host.plan(&[wanted], Mode::Converge);
    let (_, _, step) = plan.steps().next().expect("a step");
    let check = step.ready.as_ref().expect("it has one").check.as_str();
    let program = format!("hf_nl='\n'\nhf_sh=shell\nshell() {{\necho \"$*\"\nsh \"$@\"\n}}\n{check}");
    let said = std::process::Command::new("sh")
        .args(["-c", &program])
        .output()
        .expect("sh runs");
    let words = String::from_utf8_lossy(&said.stdout);
    assert_eq!(said.status.code(), Some(7), "{words}");
    assert!(words.contains("hf_check") && !words.contains("geheim"), "{words}");
}
