//! SSH and the agent carry the same thing: twin hosts, one reached by each, have the same plans, outcomes and ledgers,
//! and a job that one of them started is collected by the other.
//!
//! Needs the test bed and a static agent binary; without either it is skipped. A gate in front of each host's shell
//! sees to it that what is said to go through the agent can go no other way.

use holdfast_tests::bed::{Bed, BedHost, HostSpec, Kind};
use holdfast_tests::project::{Ended, Project, has_static_agent};
use holdfast_tests::slow::{ask_for_two, converge_at_one, ran_once, wait_for_the_step, wait_until};
use holdfast_tests::snapshot::Snapshot;
use holdfast_tests::{fleet, gate};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The twins: what follows the carrier's name in theirs.
const KINDS: [(&str, Kind); 3] = [("sys", Kind::Systemd), ("old", Kind::Sysv), ("red", Kind::Dnf)];

/// Keys of JSON whose values differ by themselves: ids, moments and durations, and words of the package manager.
const THEIR_OWN: [&str; 13] = [
    "host", "life", "machine", "attempt", "run", "plan", "epoch", "at", "seconds", "output", "sequence", "kept",
    "since",
];

fn prepare(root: &Path) {
    fleet::put_old_things(root);
    gate::put(root);
}

/// Takes out what differs between any two hosts.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| !THEIR_OWN.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), normal(value)))
            .collect(),
        Value::Array(list) => list.iter().map(normal).collect(),
        other => other.clone(),
    }
}

fn rows<'a>(document: &'a Value, list: &str) -> &'a [Value] {
    document[list].as_array().map_or(&[], Vec::as_slice)
}

/// Gives the one entry of a list that is about a host.
fn of<'a>(list: &'a [Value], host: &str) -> &'a Value {
    list.iter()
        .find(|row| row["host"] == host)
        .unwrap_or_else(|| panic!("nothing about {host}: {list:#?}"))
}

/// Asserts that a list says the same of both twins of each kind, and gives what it says of those over SSH.
#[track_caller]
fn twins<'a>(what: &str, list: &'a [Value]) -> BTreeMap<&'static str, &'a Value> {
    KINDS
        .iter()
        .map(|(kind, _)| {
            let over_ssh = of(list, &format!("ssh-{kind}"));
            let through_agent = of(list, &format!("agt-{kind}"));
            assert_eq!(normal(over_ssh), normal(through_agent), "{what} of {kind}");
            (*kind, over_ssh)
        })
        .collect()
}

/// Plans, and compares what both twins are told.
#[track_caller]
fn same_plans(project: &Project, what: &str, code: i32) -> Value {
    let plan = project
        .run(&["plan", "--json", "--detailed-exitcode"])
        .exits(code)
        .json();
    assert_eq!(plan["unobserved"], serde_json::json!([]), "{what}");
    twins(what, rows(&plan["plan"], "hosts"));
    plan
}

/// Counts the changes of a host's plan by action.
fn actions(plan: &Value, host: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for change in rows(of(rows(&plan["plan"], "hosts"), host), "changes") {
        *counts
            .entry(change["action"].as_str().expect("a word").to_owned())
            .or_default() += 1;
    }
    counts
}

/// Applies, and compares how it went: the recap of each twin, and every event of the run.
#[track_caller]
fn same_outcomes(project: &Project, what: &str) -> Value {
    let applied = project.run(&["apply", "-y", "--json"]).exits(0).json();
    twins(what, rows(&applied, "hosts"));
    let run = applied["run"].as_str().expect("an id");
    let shown = project.run(&["runs", "show", run, "--json"]).exits(0).json();
    let machines = project.run(&["machines", "--json"]).exits(0).json();
    let host_of: BTreeMap<&str, &str> = rows(&machines, "machines")
        .iter()
        .filter_map(|row| Some((row["machine"].as_str()?, row["host"].as_str()?)))
        .collect();
    let mut by_host: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for record in rows(&shown, "events") {
        let event = &record["event"];
        let host = event["host"]
            .as_str()
            .or_else(|| host_of.get(event["machine"].as_str()?).copied());
        if let Some(host) = host {
            by_host.entry(host).or_default().push(normal(event));
        }
    }
    for (kind, _) in KINDS {
        let (over_ssh, through_agent) = (&by_host[&*format!("ssh-{kind}")], &by_host[&*format!("agt-{kind}")]);
        assert_eq!(over_ssh, through_agent, "events of {what} of {kind}");
        let row = of(rows(&applied, "hosts"), &format!("ssh-{kind}"));
        let steps = |status: &str| {
            let of_kind = over_ssh.iter().filter(|event| event["kind"] == "step_reported");
            let count = of_kind
                .filter(|event| event["report"]["status"]["status"] == status)
                .count();
            u64::try_from(count).expect("a few")
        };
        assert_eq!(row["changed"], steps("changed"), "{what}: {over_ssh:#?}");
        // What needed no step is ok, too.
        assert!(row["ok"].as_u64() >= Some(steps("unchanged")), "{what}: {over_ssh:#?}");
    }
    applied
}

/// Compares the ledgers of the twins but for the agent itself, and gives the sizes.
#[track_caller]
fn same_ledgers(project: &Project, what: &str, phase: &str) -> Vec<usize> {
    let mut machines = project.run(&["machines", "--json"]).exits(0).json();
    for machine in machines["machines"].as_array_mut().expect("a list") {
        machine
            .as_object_mut()
            .expect("a row")
            .retain(|key, _| key != "first_seen" && key != "last_seen");
        let ledger = machine["ledger"].as_object_mut().expect("a ledger");
        ledger.retain(|address, _| !address.contains("holdfast-agent"));
        // The agent's own resources came first: what follows them is compared by its rank.
        let mut orders: Vec<u64> = ledger.values().filter_map(|entry| entry["order"].as_u64()).collect();
        orders.sort_unstable();
        for entry in ledger.values_mut() {
            let rank = orders.iter().position(|order| entry["order"] == *order);
            entry["order"] = serde_json::json!(rank);
        }
    }
    let rows = twins(what, rows(&machines, "machines"));
    rows.values()
        .map(|row| {
            assert_eq!(row["phase"], phase, "{what}: {row:#}");
            row["ledger"].as_object().expect("a ledger").len()
        })
        .collect()
}

/// Asserts that every host was asked something since the last time, by its carrier alone.
fn each_by_its_carrier(bed: &Bed) {
    for host in &bed.hosts {
        let commands = gate::commands(host);
        let wanted = if host.name.starts_with("agt") {
            "/usr/local/bin/holdfast-agent stdio"
        } else {
            "/bin/sh"
        };
        assert!(!commands.is_empty(), "{} was asked nothing", host.name);
        assert!(
            commands.iter().all(|command| command == wanted),
            "{}: {commands:?}",
            host.name
        );
    }
}

#[test]
fn twin_hosts_are_the_same_over_ssh_and_through_the_agent() {
    let names: Vec<(String, Kind)> = ["ssh", "agt"]
        .iter()
        .flat_map(|carrier| {
            KINDS
                .iter()
                .map(move |(kind, image)| (format!("{carrier}-{kind}"), *image))
        })
        .collect();
    let specs: Vec<HostSpec<'_>> = names
        .iter()
        .map(|(name, kind)| HostSpec {
            prepare: Some(&prepare),
            ..HostSpec::new(name, *kind)
        })
        .collect();
    if !has_static_agent() {
        return;
    }
    let Some(bed) = Bed::start(&specs) else { return };
    bed.hosts.iter().for_each(BedHost::wait_until_booted);
    let untouched: Vec<Snapshot> = bed.hosts.iter().map(Snapshot::take).collect();
    let entry = |host: &BedHost| {
        let (carrier, twin) = host.name.split_once('-').expect("CARRIER-KIND");
        let via = if carrier == "agt" { "agent" } else { "ssh" };
        format!("via = \"{via}\"\nvars = {{ twin = \"{twin}\" }}")
    };
    let project = Project::with_hosts(&bed, entry);
    // No byte may differ between twins: not the host's name, but what both are called.
    let blueprint = |text: &str| {
        project.write("blueprints/bedweb.conf.hbs", "port={{port}} on {{twin}}");
        project.blueprint(text);
    };

    // The agent comes to its hosts over plain SSH; from then on the gate lets nothing else in.
    blueprint("");
    project.run(&["agent", "install", "agt-*", "-y"]).exits(0);
    let with_agent: Vec<Snapshot> = bed.hosts.iter().map(Snapshot::take).collect();
    for host in &bed.hosts {
        gate::let_in_agent_alone(host, host.name.starts_with("agt"));
        gate::commands(host);
    }

    // What a machine is asked to become.
    blueprint(fleet::BLUEPRINT);
    let plan = same_plans(&project, "the first plan", 2);
    // Every resource, and the restart that the file asks for.
    let asked = actions(&plan, "agt-sys");
    assert_eq!(asked.values().sum::<usize>(), fleet::RESOURCES + 1, "{asked:?}");
    each_by_its_carrier(&bed);
    let applied = same_outcomes(&project, "the first apply");
    assert_eq!(applied["recap"]["changed"], 6, "{applied:#}");
    assert_eq!(same_ledgers(&project, "the ledger", "converged"), [fleet::RESOURCES; 3]);
    each_by_its_carrier(&bed);
    for host in &bed.hosts {
        let twin = host.name.split_once('-').map_or("", |(_, twin)| twin);
        assert_eq!(host.read("/etc/bedweb.conf"), fleet::conf(twin), "{}", host.name);
        assert_eq!(host.read("/var/lib/counter/runs"), "run\n", "{}", host.name);
    }

    // Nothing to do, for anybody.
    same_plans(&project, "the second plan", 0);
    let applied = same_outcomes(&project, "the second apply");
    assert_eq!(applied["recap"]["ok"], 6, "{applied:#}");
    project.run(&["drift", "--detailed-exitcode"]).exits(0).says("No drift");

    // A change by hand is drift, with the same words, and it alone is mended.
    for host in &bed.hosts {
        fs::write(host.path("/etc/bedweb.conf"), "port=9999 by hand\n").expect("the host's file");
    }
    let drift = project.run(&["drift", "--json", "--detailed-exitcode"]).exits(2).json();
    // The agent's own resources are in the ledger, and as they shall be.
    let mut hosts = drift["plan"]["hosts"].clone();
    for host in hosts.as_array_mut().expect("a list") {
        without_agent(host);
    }
    let found = twins("the drift", hosts.as_array().expect("a list"));
    for host in found.values() {
        let changed: Vec<&Value> = rows(host, "changes")
            .iter()
            .filter(|row| row["action"] != "no-op")
            .collect();
        assert_eq!(changed[0]["address"], "file./etc/bedweb.conf", "{host:#}");
    }
    same_ledgers(&project, "the ledger of what drifted", "drifted");
    same_plans(&project, "the plan of what drifted", 2);
    let applied = same_outcomes(&project, "the mending");
    assert_eq!(applied["recap"]["changed"], 6, "{applied:#}");
    for host in rows(&applied, "hosts") {
        assert_eq!(host["changed"], 2, "the file and the restart: {host}");
        assert_eq!(host["failed"], 0, "{host}");
    }
    same_ledgers(&project, "the ledger of what was mended", "converged");
    each_by_its_carrier(&bed);

    // What leaves the blueprint is put back.
    blueprint("");
    let plan = same_plans(&project, "the plan of the removal", 2);
    assert!(actions(&plan, "agt-red")["delete"] >= fleet::RESOURCES - 1, "{plan:#}");
    let applied = same_outcomes(&project, "the removal");
    assert_eq!(applied["recap"]["changed"], 6, "{applied:#}");
    same_plans(&project, "the plan after the removal", 0);
    each_by_its_carrier(&bed);
    as_before(&bed, &with_agent);

    // Without its agent, a host is as it came.
    for host in &bed.hosts {
        gate::let_in_agent_alone(host, false);
    }
    // The probes of the new ledger may still be running on a host; what they say has to be collected, too.
    wait_until("all agents are collected and removed", || {
        project.run(&["collect", "agt-*"]).exits(0);
        let removed = project.run(&["agent", "remove", "agt-*", "-y"]);
        removed.code == Some(0) || removed.exits(2).says("holdfast collect").code == Some(0)
    });
    as_before(&bed, &untouched);
}

/// Leaves out what `drift`, which looks at whole ledgers, says of the agent itself.
fn without_agent(host: &mut Value) {
    let changes = host["changes"].as_array_mut().expect("a list");
    let ids: Vec<usize> = (0..changes.len())
        .filter(|index| {
            !changes[*index]["address"]
                .as_str()
                .expect("an address")
                .contains("holdfast-agent")
        })
        .collect();
    let kept: Vec<Value> = ids.iter().map(|index| changes[*index].clone()).collect();
    *changes = kept;
    host.as_object_mut().expect("an object").remove("fingerprint");
}

fn as_before(bed: &Bed, before: &[Snapshot]) {
    let differences: Vec<String> = bed
        .hosts
        .iter()
        .zip(before)
        .flat_map(|(host, before)| before.differences(host))
        .collect();
    assert!(differences.is_empty(), "not as before:\n{}", differences.join("\n"));
}

/// Two hosts with the gate and the agent, at version one of the slow blueprint.
fn hosts_with_agents() -> Option<(Bed, Project)> {
    if !has_static_agent() {
        return None;
    }
    let specs = [("sys", Kind::Systemd), ("old", Kind::Sysv)].map(|(name, kind)| HostSpec {
        prepare: Some(&gate::put as &dyn Fn(&Path)),
        ..HostSpec::new(name, kind)
    });
    let bed = Bed::start(&specs)?;
    let project = Project::of(&bed);
    project.run(&["agent", "install", "all", "-y"]).exits(0);
    converge_at_one(&project);
    Some((bed, project))
}

/// Switches the carrier of all hosts, and asserts in the end that nothing else was used.
fn reach(bed: &Bed, project: &Project, via: &str) {
    project.inventory(bed, |_| format!("via = \"{via}\""));
    for host in &bed.hosts {
        gate::commands(host);
        gate::let_in_agent_alone(host, via == "agent");
    }
}

fn only(bed: &Bed, command: &str) {
    for host in &bed.hosts {
        let commands = gate::commands(host);
        assert!(
            !commands.is_empty() && commands.iter().all(|found| found == command),
            "{}: {commands:?}",
            host.name
        );
    }
}

/// Starts the slow job by one carrier and kills the controller in the middle of its step.
fn start_and_die(bed: &Bed, project: &Project) -> Ended {
    ask_for_two(project);
    let apply = project.start(&["apply", "-y"]);
    bed.hosts.iter().for_each(wait_for_the_step);
    let killed = apply.kill();
    assert_eq!(killed.code, None, "{killed}");
    killed
}

#[test]
fn a_job_started_over_ssh_is_collected_through_the_agent() {
    let Some((bed, project)) = hosts_with_agents() else {
        return;
    };
    reach(&bed, &project, "ssh");
    start_and_die(&bed, &project);
    only(&bed, "/bin/sh");
    reach(&bed, &project, "agent");
    project.run(&["apply", "-y"]).exits(0).says("still running");
    bed.hosts.iter().for_each(|host| ran_once(host, &project));
    only(&bed, "/usr/local/bin/holdfast-agent stdio");
}

#[test]
fn a_job_started_through_the_agent_is_collected_over_ssh() {
    let Some((bed, project)) = hosts_with_agents() else {
        return;
    };
    reach(&bed, &project, "agent");
    start_and_die(&bed, &project);
    only(&bed, "/usr/local/bin/holdfast-agent stdio");
    // The agent's process goes with the connection; the job that it carried does not.
    for host in &bed.hosts {
        wait_until("the agent's end of the connection is gone", || {
            host.inside("pgrep -f 'holdfast-agent [s]tdio' || echo none") == "none\n"
        });
        assert!(!host.path("/var/lib/slow.done").exists() || host.read("/var/lib/slow.done") == "one\n");
    }
    reach(&bed, &project, "ssh");
    project.run(&["apply", "-y"]).exits(0).says("still running");
    bed.hosts.iter().for_each(|host| ran_once(host, &project));
    only(&bed, "/bin/sh");
}
