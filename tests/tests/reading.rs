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

/// A fleet whose hosts share two files; a third has the host's name in it.
fn fleet(names: &[&str]) -> Project {
    let project = Project::of_local(names);
    project.blueprint(
        "[file.a]\npath = \"{{root}}/a\"\ncontent = \"same\\n\"\n\
         [file.b]\npath = \"{{root}}/b\"\ncontent = \"same\\n\"\n\
         [file.own]\npath = \"{{root}}/own\"\ncontent = \"I am {{name}}\\n\"\n",
    );
    project
}

// REVIEW A10
#[test]
fn a_plan_shows_what_hosts_have_in_common_once_though_they_differ_elsewhere() {
    let project = fleet(&["w1", "w2"]);
    project
        .run(&["plan"])
        .exits(0)
        .says_once("+ file.a ")
        .says_once("+ file.b ")
        .says("w[1-2] (2)\n  + file.a ")
        .says_once("+I am w1")
        .says_once("+I am w2");
}

// REVIEW U12
#[test]
fn a_name_in_a_file_does_not_stop_a_plan_from_folding() {
    let project = fleet(&["w1", "w2", "w3", "w4", "w5"]);
    let plan = project.run(&["plan"]).exits(0);
    assert_eq!(plan.stdout.matches("+I am ").count(), 1, "one sample: {plan}");
    plan.says("(so on w1; 4 other texts are alike: -l HOST or --no-fold shows them)");
    project.run(&["plan", "-l", "w4"]).exits(0).says("+I am w4");
    let every = project.run(&["plan", "--no-fold"]).exits(0);
    assert_eq!(every.stdout.matches("+I am ").count(), 5, "{every}");
}

// REVIEW U11
#[test]
fn drift_of_hosts_that_are_all_down_is_not_called_none() {
    let project = fleet(&["w1"]);
    project.run(&["apply", "-y"]).exits(0);
    project
        .run(&["drift"])
        .exits(0)
        .says("No drift: 1 host is what Holdfast made it\n");
    project.write("hosts/w1/a", "by hand\n");
    project
        .run(&["drift"])
        .exits(0)
        .says("Drift: 1 resource on 1 host; `holdfast apply` mends it\n");
    project.write("inventory.toml", "[hosts.w1]\naddress = \"127.0.0.1\"\nport = 1\n");
    project
        .run(&["drift", "--detailed-exitcode"])
        .exits(4)
        .says("Nothing is known: no host could be observed")
        .says_not("No drift");
}

// REVIEW U13
#[test]
fn a_host_that_is_down_has_another_exit_code_than_a_typo() {
    let project = fleet(&["w1"]);
    project.write(
        "inventory.toml",
        "[hosts.w1]\naddress = \"127.0.0.1\"\nport = 1\nvars = { root = \"/x\" }\n",
    );
    project.run(&["plan"]).exits(4);
    project.blueprint("[fiel.a]\n");
    project.run(&["plan"]).exits(1);
}

// REVIEW U9
#[test]
fn what_will_not_happen_on_a_refused_host_is_in_no_count() {
    let project = Project::of_local(&["w1", "w2"]);
    project.blueprint(
        "[file.a]\npath = \"{{root}}/a\"\ncontent = \"x\"\n[file.b]\npath = \"{{root}}/b\"\ncontent = \"x\"\n",
    );
    // A folder with something in it stands where the file of w2 shall be.
    project.write("hosts/w2/b/other", "not ours");
    let plan = project.run(&["plan"]).exits(1);
    plan.says("Plan: 2 to create, 0 to update, 0 to replace, 0 to delete on 1 of 2 hosts; 1 of 2 hosts refused")
        .says_once("  ! file.b: ")
        .says_once("+ file.b ")
        .says("nothing is done until then; waiting: 1 change");
    let apply = project.run(&["apply", "-y"]).exits(2);
    apply.says("2 hosts: 1 changed, 1 refused").says_not("see above");
}
