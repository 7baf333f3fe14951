//! On real hosts: while they are observed, and in every phase of what has to do with agents.

use crate::asked::Asked;
use crate::{Phase, SIGNALS, calls, nothing_is_left_open};
use holdfast_tests::bed::{Bed, BedHost, HostSpec, Kind};
use holdfast_tests::gate::{self, Hangs};
use holdfast_tests::project::{Ended, Project, has_static_agent};
use holdfast_tests::slow::wait_until;
use rustix::process::Signal;
use std::fs;
use std::time::Duration;

/// Two hosts with a gate each, of which the second can be made to hang.
fn two_hosts() -> Option<(Bed, Project)> {
    let spec = |name| HostSpec {
        prepare: Some(&gate::put),
        ..HostSpec::new(name, Kind::Sysv)
    };
    let bed = Bed::start(&[spec("one"), spec("two")])?;
    let project = Project::of(&bed);
    Some((bed, project))
}

/// Starts a call while a host hangs, and sends the signal when only that one is waited for.
fn stopped(bed: &Bed, project: &Project, call: &[&str], hangs: Hangs, signal: Signal) -> Ended {
    let (one, two) = (bed.host("one"), bed.host("two"));
    gate::hang(two, hangs);
    for host in [one, two] {
        let _ = gate::commands(host);
    }
    let running = project.start(call);
    wait_until(&format!("two hangs: {call:?}"), || gate::is_hanging(two));
    // `resolve` asks its own host alone.
    if call[0] != "resolve" {
        wait_until("one has answered", || {
            !gate::commands_so_far(one).is_empty() && sessions(one) == 0
        });
    }
    running.signal(signal);
    let ended = running.wait();
    assert!(
        ended.took < Duration::from_secs(60),
        "it did not wait for the host: {ended}"
    );
    gate::hang(two, Hangs::Nothing);
    ended
}

/// Logins that are open on a host.
fn sessions(host: &BedHost) -> usize {
    let table = host.inside("cat /proc/net/tcp");
    let is_ours = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() > 3 && fields[1].ends_with(":0016") && fields[3] == "01"
    };
    table.lines().filter(is_ours).count()
}

fn needs_an_agent(call: &[&str]) -> bool {
    call[0] == "agent" || call[0] == "collect"
}

// REVIEW C2
#[test]
fn a_signal_while_any_command_observes_keeps_what_the_others_said() {
    let Some((bed, project)) = two_hosts() else { return };
    let with_agent = has_static_agent();
    project.blueprint("[file.\"/etc/app\"]\ncontent = \"ours\"\n");
    for (signal, code) in SIGNALS {
        for call in calls(Phase::Observe) {
            if needs_an_agent(call) && !with_agent {
                continue;
            }
            let ended = stopped(&bed, &project, call, Hangs::All, signal).exits(code);
            let ended = ended.says("two").says("interrupted");
            match call[0] {
                "facts" => drop(ended.says("one").says("kernel")),
                "plan" => drop(ended.says("file./etc/app").says("the plan was not saved")),
                "apply" => drop(ended.says("file./etc/app").says("nothing was changed")),
                "drift" => drop(ended.says("No drift: 1 host")),
                _ => {}
            }
            assert!(!bed.host("one").path("/etc/app").exists());
            assert!(!bed.host("one").path("/usr/local/bin/holdfast-agent").exists());
            nothing_is_left_open(&project);
        }
    }
}

fn install(project: &Project, every: &str) {
    project
        .run(&["agent", "install", "all", "-y", "--every", every])
        .exits(0);
}

/// Installs agents that have nothing more to tell, so that they may be removed.
fn install_for_removal(project: &Project) {
    install(project, "1h");
    wait_for_reports(project);
    project.run(&["collect"]).exits(0);
}

/// Waits until both agents have a report to be collected.
fn wait_for_reports(project: &Project) {
    wait_until("both agents have a report", || {
        let status = project.run(&["agent", "status", "--json"]).json();
        let agents = status["agents"].as_array().expect("a list").clone();
        agents.iter().all(|agent| agent["pending"].as_u64() > Some(0))
    });
}

// REVIEW C2
#[test]
fn a_signal_while_agents_are_asked_or_collected_loses_no_report() {
    if !has_static_agent() {
        return;
    }
    let Some((bed, project)) = two_hosts() else { return };
    project.blueprint("[file.motd]\npath = \"/etc/motd\"\ncontent = \"ours\"\n");
    project.run(&["apply", "-y"]).exits(0);
    install(&project, "1s");
    let (mut expected, mut odd) = ((0, 0), false);
    for (signal, code) in SIGNALS {
        for call in calls(Phase::Collect) {
            wait_for_reports(&project);
            let ended = stopped(&bed, &project, call, Hangs::Agent, signal).exits(code);
            let ended = ended.says("two").says("interrupted");
            match call {
                ["collect"] => {
                    let told = ended.stdout.lines().find_map(|line| line.strip_prefix("one: "));
                    let count = told
                        .and_then(|line| line.split_once(" report"))
                        .map(|(count, _)| count.parse::<u64>());
                    let Some(Ok(count)) = count else { panic!("{ended}") };
                    assert!(count > 0, "{ended}");
                    expected.0 += count;
                }
                [_, "status"] => drop(ended.says("one").says("pid")),
                _ => drop(ended.says("nothing was changed")),
            }
            for host in &bed.hosts {
                assert!(
                    host.path("/usr/local/bin/holdfast-agent").exists(),
                    "nothing is removed"
                );
            }
            nothing_is_left_open(&project);
            // What one had is recorded already, what two has is still there.
            let rest = project.run(&["collect", "--json"]).exits(0).json();
            let recorded = |at: usize| rest["collected"][at]["recorded"].as_u64().expect("a number");
            expected = (expected.0 + recorded(0), expected.1 + recorded(1));
            assert!(recorded(1) > 0, "{call:?}: {rest}");
            odd = !odd;
            for host in &bed.hosts {
                host.inside(if odd {
                    "chmod 0600 /etc/motd"
                } else {
                    "chmod 0644 /etc/motd"
                });
            }
        }
    }
    for (host, expected) in [("one", expected.0), ("two", expected.1)] {
        assert_eq!(recorded_of(&project, host), expected, "{host}: each report once");
    }
}

/// How many reports of a host are in the record.
fn recorded_of(project: &Project, host: &str) -> u64 {
    let sql = format!(
        "SELECT count(*) FROM events WHERE CAST(json AS TEXT) LIKE '%report_recorded%' \
         AND CAST(json AS TEXT) LIKE '%\"host\":\"{host}\"%'"
    );
    let counted = std::process::Command::new("sqlite3")
        .arg(project.path(".holdfast/holdfast.db"))
        .arg(sql)
        .output()
        .expect("sqlite3 is in the bed's tools");
    String::from_utf8_lossy(&counted.stdout)
        .trim()
        .parse()
        .expect("a number")
}

// REVIEW C2
#[test]
fn a_signal_while_probes_are_pushed_takes_nothing_from_what_was_applied() {
    if !has_static_agent() {
        return;
    }
    let Some((bed, project)) = two_hosts() else { return };
    install(&project, "1h");
    let mut version = 0;
    for (signal, code) in SIGNALS {
        for call in calls(Phase::Push) {
            version += 1;
            project.blueprint(&format!("[file.\"/etc/app\"]\ncontent = \"{version}\"\n"));
            let every = format!("{}s", 100 + version);
            let more: &[&str] = match call[0] {
                "agent" => &["--every", &every],
                _ => &[],
            };
            let ended = stopped(&bed, &project, &[call, more].concat(), Hangs::Agent, signal).exits(code);
            let ended = ended
                .says("two: the agent did not get its new probes")
                .says("interrupted");
            if call[0] == "apply" {
                ended.says("2 hosts: 2 changed");
                for host in &bed.hosts {
                    assert_eq!(host.read("/etc/app"), version.to_string());
                }
                project.run(&["plan", "--detailed-exitcode"]).exits(0);
            }
            nothing_is_left_open(&project);
        }
    }
}

/// A `setsid` that lets a step's own sh wait: every job begins its steps by it.
const SETSID: &str = r#"#!/bin/sh
case "$*" in
*' apply '*)
    : >/var/log/stepping
    until [ -e /var/log/step ]; do sleep 0.1; done
    ;;
esac
exec /usr/bin/setsid "$@"
"#;

// REVIEW C2
#[test]
fn a_signal_while_an_agent_is_put_on_a_host_or_taken_off_leaves_no_half_of_it_unsaid() {
    if !has_static_agent() {
        return;
    }
    let Some((bed, project)) = two_hosts() else { return };
    let one = bed.host("one");
    let stub = one.path("/usr/local/sbin/setsid");
    let (stepping, step) = (one.path("/var/log/stepping"), one.path("/var/log/step"));
    let hold = |holds: bool| {
        let _ = (fs::remove_file(&stepping), fs::remove_file(&step));
        if !holds {
            fs::write(&step, "").expect("the host's file");
        }
    };
    hold(false);
    fs::write(&stub, SETSID).expect("the host's file");
    one.inside("chmod 755 /usr/local/sbin/setsid");
    let agent_of = |name: &str| bed.host(name).path("/usr/local/bin/holdfast-agent").exists();
    for (signal, code) in SIGNALS {
        for call in calls(Phase::Apply).filter(|call| call[0] == "agent") {
            let installs = call[1] == "install";
            let one_by_one = [&["-f", "1"], call].concat();
            if !installs {
                install_for_removal(&project);
            }
            // Once: what runs is followed to its end, and the other host is left as it is.
            hold(true);
            let running = project.start(&one_by_one);
            wait_until("a step runs", || stepping.exists());
            running.signal(signal);
            std::thread::sleep(Duration::from_millis(500));
            fs::write(&step, "").expect("the host's file");
            running
                .wait()
                .exits(code)
                .says("Interrupted: no further host is started; waiting for one.")
                .says("2 hosts: 1 changed, 1 cancelled");
            assert_eq!((agent_of("one"), agent_of("two")), (installs, !installs));
            nothing_is_left_open(&project);
            project.run(call).exits(0).says("2 hosts: 1 ok, 1 changed");

            // And back; twice, Ctrl-C waits for nothing, and the next command knows.
            let back: &[&str] = match installs {
                true => &["-f", "1", "agent", "remove", "all", "-y"],
                false => &["-f", "1", "agent", "install", "all", "-y"],
            };
            if installs {
                wait_for_reports(&project);
                project.run(&["collect"]).exits(0);
            }
            if signal == Signal::INT {
                hold(true);
                let running = project.start(back);
                wait_until("a step runs", || stepping.exists());
                running.signal(signal);
                std::thread::sleep(Duration::from_millis(500));
                running.signal(signal);
                running
                    .wait()
                    .exits(code)
                    .says("Stopped waiting for one.")
                    .says("2 hosts: 1 unknown, 1 cancelled");
                nothing_is_left_open(&project);
            }
            hold(false);
            project.run(back).exits(0);
            assert_eq!((agent_of("one"), agent_of("two")), (!installs, !installs));
            if !installs {
                wait_for_reports(&project);
                project.run(&["collect"]).exits(0);
                project.run(&["agent", "remove", "all", "-y"]).exits(0);
            }
        }
    }
}

// REVIEW C2
#[test]
fn a_signal_while_a_person_is_asked_about_agents_is_a_no() {
    if !has_static_agent() {
        return;
    }
    let Some((bed, project)) = two_hosts() else { return };
    for (signal, code) in SIGNALS {
        for call in calls(Phase::Ask).filter(|call| call[0] == "agent") {
            let installs = call[1] == "install";
            if !installs {
                install_for_removal(&project);
            }
            let Some(asked) = Asked::start(&project, call) else {
                return;
            };
            let (said, ended) = asked.stopped_by(signal);
            assert_eq!(ended, code.to_string(), "{call:?}: {said}");
            assert!(said.contains("interrupted; nothing was changed"), "{said}");
            for host in &bed.hosts {
                assert_eq!(host.path("/usr/local/bin/holdfast-agent").exists(), !installs);
            }
            nothing_is_left_open(&project);
            if !installs {
                project.run(&["agent", "remove", "all", "-y"]).exits(0);
            }
        }
    }
}
