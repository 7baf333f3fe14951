//! `-l` limits every command, or is refused by it: what it names and nothing else is changed, listed or counted.

use holdfast_tests::project::Project;
use std::fs;

/// Three hosts that are this machine, each with a folder of its own, and one file for each.
fn project() -> Project {
    let project = Project::of_local(&["web1", "web2", "db1"]);
    let mut inventory = fs::read_to_string(project.path("inventory.toml")).expect("it was written");
    inventory.push_str("[groups.web]\nhosts = [\"web1\", \"web2\"]\n[groups.db]\nhosts = [\"db1\"]\n");
    project.write("inventory.toml", inventory);
    project.blueprint("[file.motd]\npath = \"{{root}}/motd\"\ncontent = \"hello\\n\"\n");
    project
}

fn has_motd(project: &Project, host: &str) -> bool {
    project.path(&format!("hosts/{host}/motd")).exists()
}

// REVIEW U1
#[test]
fn a_saved_plan_changes_only_the_hosts_of_the_limit() {
    let project = project();
    project.run(&["plan", "-o", "all.plan"]).exits(0);
    project
        .run(&["apply", "-y", "all.plan", "-l", "web1"])
        .exits(0)
        .says("1 host: 1 changed");
    assert!(has_motd(&project, "web1"));
    assert!(!has_motd(&project, "web2"), "nobody asked for web2");
    assert!(!has_motd(&project, "db1"), "nobody asked for db1");
    // The rest of the same plan can still be carried out.
    project.run(&["apply", "-y", "all.plan", "-l", "db"]).exits(0);
    assert!(has_motd(&project, "db1") && !has_motd(&project, "web2"));
}

// REVIEW U1
#[test]
fn a_limit_that_leaves_nothing_of_a_saved_plan_is_said() {
    let project = project();
    project.run(&["plan", "-l", "web1", "-o", "web1.plan"]).exits(0);
    project
        .run(&["apply", "-y", "web1.plan", "-l", "db1"])
        .exits(1)
        .says("has nothing for the hosts of -l");
    assert!(!has_motd(&project, "web1") && !has_motd(&project, "db1"));
}

// REVIEW U1
#[test]
fn lists_show_only_the_hosts_of_the_limit() {
    let project = project();
    project.run(&["apply", "-y", "-l", "web"]).exits(0);
    project.run(&["apply", "-y", "-l", "db"]).exits(0);
    project.run(&["machines"]).exits(0).says("web1").says("db1");
    project
        .run(&["machines", "-l", "db"])
        .exits(0)
        .says("db1")
        .says_not("web1");
    let rows = project.run(&["machines", "-l", "db", "--json"]).exits(0).json();
    assert_eq!(rows["machines"].as_array().expect("a list").len(), 1, "{rows}");

    let graph = project.run(&["hosts", "--graph", "-l", "db"]).exits(0);
    assert_eq!(graph.stdout, "@all\n  @db\n    db1\n", "{graph}");
    let graph = project.run(&["hosts", "--graph"]).exits(0);
    assert_eq!(
        graph.stdout, "@all\n  @db\n    db1\n  @web\n    web[1-2] (2)\n",
        "{graph}"
    );

    let runs = project.run(&["runs", "-l", "db", "--json"]).exits(0).json();
    let runs = runs["runs"].as_array().expect("a list").clone();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0]["hosts"], serde_json::json!(["db1"]));

    project
        .run(&["validate"])
        .exits(0)
        .says("Valid: 3 hosts, 1 blueprint, 3 resources");
    project
        .run(&["validate", "-l", "web"])
        .exits(0)
        .says("Valid: 2 hosts, 1 blueprint, 2 resources");
}

// REVIEW U1
#[test]
fn the_hosts_of_one_run_are_limited() {
    let project = project();
    project.run(&["apply", "-y"]).exits(0);
    let id = project.run(&["runs", "--json"]).exits(0).json()["runs"][0]["run"]
        .as_str()
        .expect("an id")
        .to_owned();
    project
        .run(&["runs", "show", &id, "-l", "web1"])
        .exits(0)
        .says("1 host: 1 changed")
        // The name alone may stand in the run's id, which is in hex.
        .says_not("db1 changed");
}

// REVIEW U1
#[test]
fn commands_that_have_no_hosts_refuse_a_limit() {
    let project = project();
    for command in [&["init", "x"][..], &["demo"], &["completions", "bash"]] {
        let mut words = command.to_vec();
        words.extend(["-l", "web1"]);
        project.run(&words).exits(1).says("--limit does nothing for");
    }
    project
        .run(&["resolve", "db1", "accept", "-l", "web"])
        .exits(1)
        .says("`db1` is not among the 2 hosts of -l");
    for command in [
        &["plan"][..],
        &["machines"],
        &["runs"],
        &["validate"],
        &["hosts", "--graph"],
    ] {
        let mut words = command.to_vec();
        words.extend(["-l", "wbe"]);
        project.run(&words).exits(1).says("wbe");
    }
}

#[test]
fn hosts_in_place_of_a_saved_plan_are_explained() {
    let project = project();
    project
        .run(&["apply", "web"])
        .exits(1)
        .says("there is no saved plan `web`")
        .says("holdfast apply -l web");
}

// REVIEW U13
#[test]
fn an_inventory_that_is_not_there_is_told_of_the_flag() {
    let project = project();
    project
        .run(&["hosts", "-i", "gone.toml"])
        .exits(1)
        .says("--inventory")
        .says("`gone.toml` matches no file")
        .says_not("holdfast.toml:1:1");
}

// REVIEW U13
#[test]
fn the_graph_is_json_when_asked_for() {
    let project = project();
    let graph = project.run(&["hosts", "--graph", "--json"]).exits(0).json();
    assert_eq!(graph["schema"], 1);
    assert_eq!(graph["graph"]["name"], "all");
    assert_eq!(
        graph["graph"]["groups"][1]["hosts"],
        serde_json::json!(["web1", "web2"])
    );
}
