//! What people read of a fleet: equal things once, the odd ones by name, and each message with what to do.

use holdfast_tests::project::Project;

// REVIEW U12
#[test]
fn one_undefined_variable_of_many_hosts_is_one_problem() {
    let project = Project::new();
    project.write(
        "inventory.toml",
        "[hosts.\"web[001-200]\"]\naddress = \"{{name}}.{{dmain}}\"\n",
    );
    let ended = project
        .run(&["plan"])
        .exits(1)
        .says("1 problem found")
        .says("on web001 and 199 more hosts");
    assert!(ended.stderr.lines().count() < 12, "{ended}");
}
