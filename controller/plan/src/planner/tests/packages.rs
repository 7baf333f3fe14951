//! Packages: what is kept, what is spared, and what a plan foretells.

use super::*;

fn package_with(name: &str, ensure: Ensure, undo: OnUndo) -> DesiredResource {
    let name = name.to_owned();
    let address = format!("package.{name}");
    desired(&address, Resource::Package(Package { name, ensure, undo }))
}

fn apply_all(host: &mut Host, wanted: &[DesiredResource]) {
    let plan = host.plan(wanted, Mode::Converge);
    host.apply(&plan, None, false);
}

fn change<'a>(plan: &'a HostPlan, address: &str) -> &'a Change {
    let change = plan.changes.iter().find(|change| change.address.to_string() == address);
    change.expect("it is in the plan")
}

#[test]
fn a_package_that_is_kept_is_forgotten_and_the_plan_says_why() {
    let mut host = Host::new();
    let kept = package_with("web", Ensure::Present, OnUndo::Keep);
    apply_all(&mut host, std::slice::from_ref(&kept));
    let plan = host.plan(&[], Mode::Converge);
    let change = change(&plan, "package.web");
    assert_eq!((change.action, change.steps.len()), (Action::Forget, 0));
    let why = "its `undo` is \"keep\"".to_owned();
    assert_eq!(change.reason, Reason::NothingToUndo { why });
}

#[test]
fn what_takes_the_place_of_a_kept_package_has_a_before_of_its_own() {
    let mut host = Host::new();
    let kept = package_with("web", Ensure::Present, OnUndo::Keep);
    apply_all(&mut host, std::slice::from_ref(&kept));
    let first = host.ledger.entries[&kept.address]
        .before
        .clone()
        .expect("it was applied");
    let Resource::Package(was) = &kept.resource else {
        unreachable!("it is one")
    };
    let other = DesiredResource {
        resource: Resource::Package(Package {
            name: "other".to_owned(),
            ..was.clone()
        }),
        ..kept.clone()
    };
    host.found
        .insert(kept.address.clone(), attributes(&[("installed", "no")]));
    apply_all(&mut host, std::slice::from_ref(&other));
    let second = host.ledger.entries[&kept.address]
        .before
        .clone()
        .expect("it was applied");
    assert_ne!(first.life, second.life);
}

#[test]
fn the_undo_of_a_package_spares_what_other_resources_declare() {
    let mut host = Host::new();
    let web = package_with("web", Ensure::Present, OnUndo::Remove);
    let library = package_with("libweb", Ensure::Present, OnUndo::Remove);
    apply_all(&mut host, &[web.clone(), library.clone()]);
    let plan = host.plan(std::slice::from_ref(&library), Mode::Converge);
    let undo = &change(&plan, "package.web").steps[0].apply;
    assert!(undo.as_str().starts_with("spared='libweb'\n"), "{undo}");
    let both = host.plan(&[], Mode::Converge);
    let undo = &change(&both, "package.web").steps[0].apply;
    assert!(undo.as_str().starts_with("spared=''\n"), "{undo}");
}

#[test]
fn what_would_go_along_is_asked_for_only_where_something_may_go() {
    let mut host = Host::new();
    let web = package_with("web", Ensure::Present, OnUndo::Remove);
    let telnet = package_with("telnet", Ensure::Absent, OnUndo::Remove);
    apply_all(&mut host, std::slice::from_ref(&web));
    let asked = |desired: &[DesiredResource]| -> Vec<(String, bool)> {
        let asked = to_observe(desired, &host.ledger, Mode::Converge).into_iter();
        asked
            .map(|asked| (asked.desired.address.to_string(), asked.foretell.is_some()))
            .collect()
    };
    assert_eq!(asked(std::slice::from_ref(&web)), [("package.web".to_owned(), false)]);
    assert_eq!(
        asked(std::slice::from_ref(&telnet)),
        [("package.telnet".to_owned(), true), ("package.web".to_owned(), true)]
    );
}

#[test]
fn what_was_foretold_is_told_and_makes_no_plan_stale() {
    let mut host = Host::new();
    let web = package_with("web", Ensure::Present, OnUndo::Purge);
    apply_all(&mut host, std::slice::from_ref(&web));
    let names: Vec<String> = (1..=21).map(|number| format!("p{number}")).collect();
    let found = attributes(&[
        ("installed", "yes"),
        ("undo.going", &names.join(" ")),
        ("undo.running", "sshd (2)"),
        ("undo.sshd", "yes"),
    ]);
    host.found.insert(web.address, found);
    let plan = host.plan(&[], Mode::Converge);
    let notes: Vec<(bool, &str)> = change(&plan, "package.web")
        .notes
        .iter()
        .map(|note| (note.warning, note.text.as_str()))
        .collect();
    assert_eq!(
        notes,
        [
            (
                false,
                "purges p1, p2, p3, p4, p5, p6 and 15 more, with their configuration and data"
            ),
            (true, "21 packages go"),
            (true, "in use, processes run from it: sshd (2)"),
            (
                true,
                "the SSH server that runs on the host belongs to it: the host may be out of reach afterwards"
            ),
        ]
    );
    assert_eq!(plan.fingerprint, ["0 installed yes"]);
}

#[test]
fn an_interrupted_dpkg_is_refused_unless_it_was_our_own_install() {
    let web = package_with("web", Ensure::Present, OnUndo::Remove);
    let mut host = Host::new();
    host.found
        .insert(web.address.clone(), attributes(&[("installed", "half-configured")]));
    let plan = host.plan(std::slice::from_ref(&web), Mode::Converge);
    assert!(
        plan.refusals[0].message.contains("dpkg --configure -a"),
        "{:?}",
        plan.refusals
    );
    let ours = attributes(&[("installed", "half-configured"), ("unfinished", "yes")]);
    host.found.insert(web.address.clone(), ours);
    let plan = host.plan(&[web], Mode::Converge);
    assert_eq!(actions(&plan), named(&[("package.web", Action::Update)]));
}

// REVIEW U10: the next plan said "drifted" of a file that the undo of a package had taken along.
#[test]
fn what_a_leaving_package_may_take_along_is_looked_at_again() {
    let mut host = Host::new();
    let web = package_with("web", Ensure::Present, OnUndo::Remove);
    let owned = file(&mut host.blobs, "/usr/share/web/theme", "ours\n");
    let own = file(&mut host.blobs, "/etc/web.conf", "ours\n");
    apply_all(&mut host, &[web.clone(), owned.clone(), own.clone()]);
    let found = attributes(&[
        ("installed", "yes"),
        ("undo.going", "web"),
        ("undo.shares.1", "/usr/share/web/theme"),
    ]);
    host.found.insert(web.address.clone(), found);
    let stays = [owned, own];
    assert_eq!(
        actions(&host.plan(&stays, Mode::Converge)),
        named(&[
            ("package.web", Action::Delete),
            ("file./usr/share/web/theme", Action::Unknown)
        ])
    );
    // What a purge takes along is known to nobody.
    let purged = package_with("web", Ensure::Present, OnUndo::Purge);
    host.ledger
        .entries
        .get_mut(&web.address)
        .expect("it was applied")
        .desired = purged;
    assert_eq!(
        actions(&host.plan(&stays, Mode::Converge)),
        named(&[
            ("package.web", Action::Delete),
            ("file./usr/share/web/theme", Action::Unknown),
            ("file./etc/web.conf", Action::Unknown)
        ])
    );
}

// What Holdfast brought along with another package was not there before: as a resource of its own it goes when it leaves.
#[test]
fn a_package_that_came_along_with_another_begins_a_life_that_ends_with_its_removal() {
    let mut host = Host::new();
    let library = package_with("lib", Ensure::Present, OnUndo::Remove);
    let along = attributes(&[("installed", "yes"), ("version", "1"), ("brought", "yes")]);
    host.found.insert(library.address.clone(), along);
    let plan = host.plan(std::slice::from_ref(&library), Mode::Converge);
    assert_eq!(actions(&plan), named(&[("package.lib", Action::Update)]));
    host.apply(&plan, None, false);
    let plan = host.plan(&[], Mode::Converge);
    let step = &change(&plan, "package.lib").steps[0];
    assert!(step.wanted.is_empty(), "{:?}", step.wanted);
    let undo = step.apply.as_str();
    assert!(undo.contains("apt-get can't tell what goes with"), "{undo}");

    // A person's own is adopted.
    let mut host = Host::new();
    let found = attributes(&[("installed", "yes"), ("brought", "no")]);
    host.found.insert(library.address.clone(), found);
    let plan = host.plan(std::slice::from_ref(&library), Mode::Converge);
    assert_eq!(actions(&plan), named(&[("package.lib", Action::Adopt)]));
}
