//! A project that somebody else put into a folder above ours: nothing of it may run as us.

#[path = "../src/skip.rs"]
mod skip;

use holdfast_tests::project::Project;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

/// A project of this machine alone whose check leaves a mark.
fn planted() -> Project {
    let project = Project::new();
    let place = project.path("");
    let place = place.display();
    project.write(
        "inventory.toml",
        format!("[hosts.here]\nvia = \"local\"\nstate_dir = \"{place}/state\"\n"),
    );
    project.blueprint(&format!(
        "on = \"here\"\n[script.trap]\ncheck = \"touch {place}/sprung\"\napply = \"true\"\n"
    ));
    project
}

// REVIEW D1
#[test]
fn a_project_of_another_user_runs_nothing_unless_it_is_named() {
    if !rustix::process::geteuid().is_root() {
        skip::skip("only root can give files away");
        return;
    }
    let project = planted();
    let root = project.path("").canonicalize().expect("it is there");
    for (given, name) in [
        ("", "the folder"),
        ("holdfast.toml", "the file"),
        ("blueprints/fleet.toml", "a blueprint"),
        ("inventory.toml", "the inventory"),
    ] {
        let path = project.path(given);
        chown(&path, Some(65_534), None).expect("root may");
        let ended = project.run(&["plan"]);
        assert_eq!(ended.code, Some(1), "{name}: {ended:?}");
        assert!(ended.stderr.contains("belongs to user 65534"), "{name}: {ended:?}");
        assert!(
            ended.stderr.contains(&format!("holdfast -C {}", root.display())),
            "{name}: {ended:?}"
        );
        assert!(!project.path("sprung").exists(), "{name}: its check ran");
        chown(&path, Some(0), None).expect("root may");
    }
    chown(&root, Some(65_534), None).expect("root may");
    let named = project.run(&["plan", "-C", root.to_str().expect("UTF-8")]);
    assert!(project.path("sprung").exists(), "it was named: {named:?}");
}

// REVIEW D1
#[test]
fn a_project_that_everybody_can_write_runs_nothing() {
    let project = planted();
    for name in ["", "blueprints"] {
        let path = project.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("ours");
        let ended = project.run(&["plan"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("can be written by everybody"), "{ended:?}");
        assert!(!project.path("sprung").exists(), "its check ran");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    }
    let ended = project.run(&["plan"]);
    assert!(project.path("sprung").exists(), "it is ours again: {ended:?}");
}

// REVIEW H23
#[test]
fn a_new_project_keeps_all_it_touches_below_its_own_folder() {
    let project = Project::new();
    let made = project.run(&["init", "fleet"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let own = project.path("fleet");
    let folder = own.to_str().expect("UTF-8");
    let applied = project.run(&["-C", folder, "apply", "-y"]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(own.join("first/etc/greeting").is_file(), "{applied:?}");
    assert!(own.join("first/state/machine").is_file(), "{applied:?}");
    for name in ["inventory.toml", "blueprints/first.toml"] {
        let text = fs::read_to_string(own.join(name)).expect("init wrote it");
        let outside = text.replace(folder, "");
        assert!(!outside.contains("/tmp"), "{name}: {text}");
    }
}
