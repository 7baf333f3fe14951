//! The agent on real hosts, from its installation to its removal, under both inits.
//!
//! Needs the test bed and a static agent binary (`holdfast-agent` built with the profile `agent`, see
//! `tests/agent-size`); without either it is skipped.

use holdfast_tests::bed::{Bed, BedHost, HostSpec, Kind};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The program under test, on a project of its own.
struct Project {
    folder: tempfile::TempDir,
    program: PathBuf,
}

const BLUEPRINT: &str = r#"
on = "all"

[file.motd]
path = "/etc/motd"
content = "kept by holdfast\n"
mode = "0644"
"#;

impl Project {
    #[expect(clippy::print_stderr, reason = "a test that skips says why")]
    fn new(bed: &Bed) -> Option<Self> {
        let target = target_folder()?;
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        if !target.join(triple).join("agent/holdfast-agent").is_file() {
            eprintln!("skipped: there is no static holdfast-agent; tests/agent-size builds one");
            return None;
        }
        let project = Self {
            folder: tempfile::tempdir().expect("a folder"),
            program: target.join("debug/holdfast"),
        };
        project.write(
            "holdfast.toml",
            "inventory = [\"inventory.toml\"]\nblueprints = [\"blueprints/*.toml\"]\n",
        );
        project.write("blueprints/motd.toml", BLUEPRINT);
        fs::create_dir_all(project.path(".holdfast")).expect("a folder");
        fs::copy(&bed.known_hosts, project.path(".holdfast/known_hosts")).expect("known_hosts");
        project.inventory(bed, "ssh");
        Some(project)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("in the project")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    fn inventory(&self, bed: &Bed, via: &str) {
        let mut text = String::new();
        for host in &bed.hosts {
            text.push_str(&format!(
                "[hosts.{}]\naddress = \"{}\"\nuser = \"root\"\nvia = \"{via}\"\nidentity = \"{}\"\n\n",
                host.name,
                host.address,
                bed.key.display()
            ));
        }
        self.write("inventory.toml", &text);
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.arg("-C").arg(self.folder.path()).args(arguments);
        command
            .env_remove("SSH_AUTH_SOCK")
            .output()
            .expect("the program starts")
    }

    /// Runs a command that must end with a code, and gives what it said.
    fn told(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.status.code(), Some(code), "holdfast {arguments:?}:\n{text}");
        text
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "holdfast {arguments:?}: {error}: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    fn agents(&self) -> Vec<serde_json::Value> {
        self.json(&["agent", "status"])["agents"]
            .as_array()
            .expect("a list")
            .clone()
    }

    /// Waits until every agent satisfies a condition.
    fn wait_for(&self, what: &str, holds: impl Fn(&serde_json::Value) -> bool) {
        let began = Instant::now();
        loop {
            let agents = self.agents();
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
    fn collected(&self) -> Vec<u64> {
        let collected = self.json(&["collect"]);
        let rows = collected["collected"].as_array().expect("a list");
        rows.iter()
            .map(|row| row["recorded"].as_u64().unwrap_or_else(|| panic!("{row}")))
            .collect()
    }

    /// What a plan says of each host but for its id, its time and facts that differ by themselves.
    fn changes(&self) -> serde_json::Value {
        let mut plan = self.json(&["plan"])["plan"]["hosts"].take();
        for host in plan.as_array_mut().expect("hosts") {
            let host = host.as_object_mut().expect("an object");
            host.retain(|key, _| ["host", "machine", "changes", "refusals"].contains(&key.as_str()));
        }
        plan
    }
}

/// The build folder that this test was built in.
fn target_folder() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    test.parent()
        .and_then(Path::parent)
        .and_then(Path::parent)
        .map(Path::to_owned)
}

fn exists(host: &BedHost, path: &str) -> bool {
    host.inside(&format!("if test -e {path}; then echo yes; else echo no; fi")) == "yes\n"
}

#[test]
fn an_agent_is_installed_probes_reports_and_leaves_without_a_trace() {
    let specs = [HostSpec::new("sys", Kind::Systemd), HostSpec::new("old", Kind::Sysv)];
    let Some(bed) = Bed::start(&specs) else { return };
    let Some(project) = Project::new(&bed) else { return };

    // Installing twice is installing once, and the project's own resources are left alone by it.
    project.told(0, &["apply", "-y"]);
    project.told(0, &["agent", "install", "all", "--every", "1s", "-y"]);
    let again = project.told(0, &["agent", "install", "all", "--every", "1s", "-y"]);
    assert!(again.contains("on 0 of 2 hosts"), "{again}");
    let of_project = project.told(0, &["plan", "--detailed-exitcode"]);
    assert!(!of_project.contains("holdfast-agent"), "{of_project}");
    project.wait_for("a first report", |agent| {
        agent["pending"] == 1 && agent["daemon_pid"].is_u64()
    });

    // The same hosts look the same through their agents.
    for host in &bed.hosts {
        host.inside("chmod 0600 /etc/motd");
    }
    let over_ssh = project.changes();
    project.inventory(&bed, "agent");
    assert_eq!(project.changes(), over_ssh);
    for host in over_ssh.as_array().expect("hosts") {
        assert_eq!(host["changes"][0]["action"], "update", "{host}");
    }

    // What was seen is collected in order and once, though the daemon died meanwhile.
    project.wait_for("the change is seen", |agent| agent["pending"] == 2);
    let killed: Vec<_> = project
        .agents()
        .iter()
        .map(|agent| agent["daemon_pid"].clone())
        .collect();
    for host in &bed.hosts {
        host.inside("kill -9 $(pidof holdfast-agent | tr ' ' '\\n' | sort -n | head -1)");
    }
    assert_eq!(project.collected(), [2, 2]);
    assert_eq!(project.collected(), [0, 0]);
    let drift = project.told(2, &["drift", "--recorded", "--detailed-exitcode"]);
    assert_eq!(drift.matches("file.motd").count(), 2, "{drift}");
    assert!(drift.contains("0644") && drift.contains("0600"), "{drift}");

    // A daemon that was killed is there again, by systemd at once, by hand under SysV.
    bed.host("old")
        .inside("/etc/init.d/holdfast-agent start >/dev/null 2>&1");
    project.wait_for("a daemon again", |agent| {
        agent["daemon_pid"].is_u64() && !killed.contains(&agent["daemon_pid"])
    });

    // What is uncollected is not thrown away.
    project.told(0, &["apply", "-y"]);
    project.wait_for("the mending is seen", |agent| agent["pending"].as_u64() > Some(0));
    let refused = project.told(2, &["agent", "remove", "all", "-y"]);
    assert!(refused.contains("holdfast collect"), "{refused}");
    assert!(
        bed.hosts
            .iter()
            .all(|host| exists(host, "/usr/local/bin/holdfast-agent"))
    );

    // What was mended is no drift any more.
    project.told(0, &["collect"]);
    let drift = project.told(0, &["drift", "--recorded", "--detailed-exitcode"]);
    assert!(drift.contains("No drift"), "{drift}");

    // Removed, nothing of the agent is left, and what the project put there is.
    project.told(0, &["agent", "remove", "all", "-y"]);
    for host in &bed.hosts {
        for path in [
            "/usr/local/bin/holdfast-agent",
            "/var/lib/holdfast/agent",
            "/etc/init.d/holdfast-agent",
            "/etc/systemd/system/holdfast-agent.service",
        ] {
            assert!(!exists(host, path), "{} still has {path}", host.name);
        }
        assert_eq!(host.inside("pidof holdfast-agent || echo none"), "none\n");
        assert_eq!(host.read("/etc/motd"), "kept by holdfast\n");
    }
    assert!(project.agents().iter().all(|agent| agent["installed"] == false));
}
