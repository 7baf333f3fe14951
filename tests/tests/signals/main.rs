//! Ctrl-C, SIGTERM and SIGHUP in every phase of every command: what was received is told, what is left is said, leases
//! are given back, runs are ended, and the exit code names the signal.
//!
//! [`TABLE`] has a row for each command of `--help`, and for each way of calling it what it waits for; the tests of a
//! phase go through all of the table's calls that have it.

mod agents;
mod asked;
mod asking;
mod running;
#[path = "../../src/skip.rs"]
mod skip;

use Phase::{Apply, Ask, Collect, Connect, Exec, Follow, Input, Observe, Push, Walk};
use holdfast_tests::project::Project;
use rustix::process::Signal;

/// What a command waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// For the end of its stdin.
    Input,
    /// For a host to take it in.
    Connect,
    /// For a host to say what it is.
    Observe,
    /// For a person.
    Ask,
    /// For jobs that it started.
    Apply,
    /// For a job that another run started.
    Follow,
    /// For an agent to take its probes.
    Push,
    /// For an agent to say how it is, or what it saw.
    Collect,
    /// For an ad-hoc command.
    Exec,
    /// For the commands of the tour, or for a person to end it.
    Walk,
}

/// A way to call a command, and what it waits for then.
type Call = (&'static [&'static str], &'static [Phase]);

/// Every command. Those without a call wait for nothing but their own files.
const TABLE: [(&str, &[Call]); 17] = [
    ("init", &[]),
    ("validate", &[]),
    ("hosts", &[]),
    ("facts", &[(&["facts"], &[Connect, Observe])]),
    ("plan", &[(&["plan", "-o", "half.plan"], &[Connect, Observe])]),
    (
        "apply",
        &[
            (&["apply", "-y"], &[Connect, Observe, Apply, Follow, Push]),
            (&["apply"], &[Connect, Observe, Ask]),
        ],
    ),
    ("drift", &[(&["drift"], &[Connect, Observe])]),
    (
        "run",
        &[
            (&["run", "all", "--no-input", "--", "true"], &[Connect]),
            (&["run", "all", "--no-input", "--", COMMAND], &[Exec]),
            (&["run", "all", "--", "cat"], &[Input]),
        ],
    ),
    ("resolve", &[(&["resolve", HOST, "drop-job"], &[Connect, Observe])]),
    ("unlock", &[(&["unlock", "all"], &[Ask])]),
    // Their new probes are pushed over the session by which the reports came, and are given up with it.
    ("collect", &[(&["collect"], &[Connect, Collect])]),
    (
        "agent",
        &[
            (&["agent", "status"], &[Connect, Collect]),
            (&["agent", "install", "all", "-y"], &[Connect, Observe, Apply, Push]),
            (&["agent", "install", "all"], &[Connect, Observe, Ask]),
            (&["agent", "remove", "all", "-y"], &[Connect, Collect, Apply]),
            (&["agent", "remove", "all"], &[Connect, Collect, Ask]),
        ],
    ),
    ("machines", &[]),
    ("runs", &[]),
    ("store", &[]),
    ("demo", &[(&["demo"], &[Walk]), (&["demo", "--keep"], &[Walk])]),
    ("completions", &[]),
];

/// The host whose name commands that take one are given.
const HOST: &str = "two";

/// What is run on hosts: it says something and takes its time.
const COMMAND: &str = "echo said; touch \"$HOME/mark\"; sleep 20";

const SIGNALS: [(Signal, i32); 3] = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];

/// The calls that wait for something.
fn calls(phase: Phase) -> impl Iterator<Item = &'static [&'static str]> {
    let all = TABLE.iter().flat_map(|(_, calls)| calls.iter());
    all.filter(move |(_, phases)| phases.contains(&phase))
        .map(|(call, _)| *call)
}

/// What must hold after every command, however it was stopped.
fn nothing_is_left_open(project: &Project) {
    project.run(&["unlock", "-y", "all"]).exits(0).says("Nothing is locked");
    project.run(&["runs"]).exits(0).says_not("has not ended");
    let listed = project.run(&["runs", "--json"]).exits(0).json();
    for run in listed["runs"].as_array().expect("runs") {
        assert!(!run["ended"].is_null(), "{run}");
    }
}

/// The names that `--help` lists below `Commands:`.
fn commands_of(help: &str) -> Vec<String> {
    let below = help.split_once("Commands:\n").expect("it lists commands").1;
    let lines = below.lines().take_while(|line| line.starts_with("  "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

// Issue 8, "done when" 8
#[test]
fn every_command_has_its_row() {
    let project = Project::new();
    let help = project.run(&["--help"]).exits(0);
    let rows: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    assert_eq!(commands_of(&help.stdout), rows, "in the order of --help");
    let help = project.run(&["agent", "--help"]).exits(0);
    for name in commands_of(&help.stdout) {
        let calls = TABLE.iter().flat_map(|(_, calls)| calls.iter());
        let called = |(call, _): &Call| call[0] == "agent" && call[1] == name;
        assert!(calls.into_iter().any(called), "agent {name} has no call");
    }
    for (name, calls) in TABLE {
        assert!(calls.iter().all(|(call, phases)| call[0] == name && !phases.is_empty()));
    }
}
