//! The agent on real hosts, from its installation to its removal, under both inits.
//!
//! Needs the test bed and a static agent binary (`holdfast-agent` built with the profile `agent`, see
//! `tests/agent-size`); without either it is skipped.

use holdfast_tests::bed::{Bed, BedHost, HostSpec, Kind};
use holdfast_tests::project::{Project, has_static_agent};
use holdfast_tests::slow::wait_until;
use serde_json::Value;
use std::thread::sleep;
use std::time::{Duration, Instant};

const BLUEPRINT: &str = r#"
[file.motd]
path = "/etc/motd"
content = "kept by holdfast\n"
mode = "0644"
"#;

fn via(carrier: &str) -> impl Fn(&BedHost) -> String {
    move |_| format!("via = \"{carrier}\"")
}

fn agents(project: &Project) -> Vec<Value> {
    let status = project.run(&["agent", "status", "--json"]).json();
    status["agents"].as_array().expect("a list").clone()
}

/// Waits until every agent satisfies a condition.
fn wait_for(project: &Project, what: &str, holds: impl Fn(&Value) -> bool) {
    let began = Instant::now();
    loop {
        let agents = agents(project);
        if agents.iter().all(&holds) {
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "not in 30 s: {what}: {agents:#?}"
        );
        sleep(Duration::from_millis(200));
    }
}

/// How many reports a collect recorded of each host.
fn collected(project: &Project) -> Vec<u64> {
    let collected = project.run(&["collect", "--json"]).exits(0).json();
    let rows = collected["collected"].as_array().expect("a list");
    rows.iter()
        .map(|row| row["recorded"].as_u64().unwrap_or_else(|| panic!("{row}")))
        .collect()
}

/// What a plan says of each host but for its id, its time and facts that differ by themselves.
fn changes(project: &Project) -> Value {
    let mut plan = project.run(&["plan", "--json"]).exits(0).json()["plan"]["hosts"].take();
    for host in plan.as_array_mut().expect("hosts") {
        let host = host.as_object_mut().expect("an object");
        host.retain(|key, _| ["host", "machine", "changes", "refusals"].contains(&key.as_str()));
    }
    plan
}

fn exists(host: &BedHost, path: &str) -> bool {
    host.inside(&format!("if test -e {path}; then echo yes; else echo no; fi")) == "yes\n"
}

#[test]
fn an_agent_is_installed_probes_reports_and_leaves_without_a_trace() {
    let specs = [HostSpec::new("sys", Kind::Systemd), HostSpec::new("old", Kind::Sysv)];
    let Some(bed) = Bed::start(&specs) else { return };
    if !has_static_agent() {
        return;
    }
    let project = Project::of(&bed);
    project.blueprint(BLUEPRINT);

    // Installing twice is installing once, and the project's own resources are left alone by it.
    project.run(&["apply", "-y"]).exits(0);
    project
        .run(&["agent", "install", "all", "--every", "1s", "-y"])
        .exits(0);
    let again = project
        .run(&["agent", "install", "all", "--every", "1s", "-y"])
        .exits(0);
    again
        .says("Nothing to do: 2 hosts are as desired")
        .says("2 hosts: 2 ok");
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says_not("holdfast-agent");
    wait_for(&project, "a first report", |agent| {
        agent["pending"] == 1 && agent["daemon_pid"].is_u64()
    });

    // A host that does not answer is unreachable, not refused, and the other one goes on; `remove` says the same.
    bed.host("old").inside("/etc/init.d/ssh stop >/dev/null 2>&1");
    for command in [
        &["agent", "install", "all", "--every", "1s", "-y"][..],
        &["agent", "remove", "old", "-y"],
    ] {
        let ended = project.run(command).exits(4);
        ended
            .says("old unreachable")
            .says("1 unreachable")
            .says_not("refused: old");
    }
    bed.host("old").inside("/etc/init.d/ssh start >/dev/null 2>&1");

    // The same hosts look the same through their agents.
    for host in &bed.hosts {
        host.inside("chmod 0600 /etc/motd");
    }
    let over_ssh = changes(&project);
    project.inventory(&bed, via("agent"));
    assert_eq!(changes(&project), over_ssh);
    for host in over_ssh.as_array().expect("hosts") {
        assert_eq!(host["changes"][0]["action"], "update", "{host}");
    }

    // What was seen is collected in order and once, though the daemon died meanwhile.
    wait_for(&project, "the change is seen", |agent| agent["pending"] == 2);
    let killed: Vec<_> = agents(&project)
        .iter()
        .map(|agent| agent["daemon_pid"].clone())
        .collect();
    for host in &bed.hosts {
        host.inside("kill -9 $(pidof holdfast-agent | tr ' ' '\\n' | sort -n | head -1)");
    }
    assert_eq!(collected(&project), [2, 2]);
    assert_eq!(collected(&project), [0, 0]);
    let drift = project.run(&["drift", "--recorded", "--detailed-exitcode"]).exits(2);
    assert_eq!(drift.stdout.matches("file.motd").count(), 2, "{drift}");
    drift.says("0644 -> 0600");

    // A daemon that was killed is there again, by systemd at once, by hand under SysV.
    bed.host("old")
        .inside("/etc/init.d/holdfast-agent start >/dev/null 2>&1");
    wait_for(&project, "a daemon again", |agent| {
        agent["daemon_pid"].is_u64() && !killed.contains(&agent["daemon_pid"])
    });

    // Trouble is told where people look, and once: here nothing can be written where a folder is in the way.
    let trouble = "failed to write /var/lib/holdfast/agent/probed";
    for host in &bed.hosts {
        host.inside("rm -f /var/lib/holdfast/agent/probed; mkdir /var/lib/holdfast/agent/probed");
    }
    let told = |host: &BedHost| {
        if host.name == "sys" {
            host.inside("journalctl --no-pager -u holdfast-agent")
                .matches(trouble)
                .count()
        } else {
            host.read("/var/log/holdfast-agent.log").matches(trouble).count()
        }
    };
    for host in &bed.hosts {
        wait_until("the trouble is told", || told(host) > 0);
    }
    sleep(Duration::from_secs(2));
    for host in &bed.hosts {
        assert_eq!(told(host), 1, "{} tells the same again and again", host.name);
        host.inside("rmdir /var/lib/holdfast/agent/probed");
    }

    // What somebody saw in order later is drift no more, whether a person mended it or an apply; no collect is needed.
    bed.host("sys").inside("chmod 0644 /etc/motd");
    project.run(&["plan", "-l", "sys"]).exits(0).says("Nothing to do");
    let drift = project.run(&["drift", "--recorded", "--detailed-exitcode"]).exits(2);
    drift.says("old").says_not("sys");
    project.run(&["apply", "-y"]).exits(0).says("2 hosts: 1 ok, 1 changed");
    let drift = project.run(&["drift", "--recorded", "--detailed-exitcode"]).exits(0);
    drift.says("No drift");

    // What is uncollected is not thrown away.
    wait_for(&project, "the mending is seen", |agent| {
        agent["pending"].as_u64() > Some(0)
    });
    let refused = project.run(&["agent", "remove", "all", "-y"]).exits(2);
    refused.says("holdfast collect");
    assert!(
        bed.hosts
            .iter()
            .all(|host| exists(host, "/usr/local/bin/holdfast-agent"))
    );

    // What was collected late says of what was mended that it is in order.
    project.run(&["collect"]).exits(0);
    project
        .run(&["drift", "--recorded", "--detailed-exitcode"])
        .exits(0)
        .says("No drift");

    // Removed, nothing of the agent is left, and what the project put there is.
    project.run(&["agent", "remove", "all", "-y"]).exits(0);
    for host in &bed.hosts {
        for path in [
            "/usr/local/bin/holdfast-agent",
            "/var/lib/holdfast/agent",
            "/etc/init.d/holdfast-agent",
            "/var/log/holdfast-agent.log",
            "/etc/systemd/system/holdfast-agent.service",
        ] {
            assert!(!exists(host, path), "{} still has {path}", host.name);
        }
        assert_eq!(host.inside("pidof holdfast-agent || echo none"), "none\n");
        assert_eq!(host.read("/etc/motd"), "kept by holdfast\n");
    }
    assert!(agents(&project).iter().all(|agent| agent["installed"] == false));
}
