//! While hosts are reached, observed and worked on, and while stdin or the tour goes on.

use crate::asked::Overheard;
use crate::{Phase, SIGNALS, calls, nothing_is_left_open};
use holdfast_tests::bed::must;
use holdfast_tests::project::{Ended, Project, Running, has_static_agent};
use holdfast_tests::slow::wait_until;
use holdfast_tests::waiting::{let_go, runs, wait_for_end, wait_for_step, want};
use rustix::process::Signal;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// So long a signal may take to be heard: the next one then comes to a command that knows of the first.
const HEARD: Duration = Duration::from_millis(500);

/// A server that takes connections and says nothing; counts them.
fn mute() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().flatten() {
            kept.push(stream);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, taken)
}

// REVIEW C2
#[test]
fn a_signal_while_connecting_ends_every_command_at_once() {
    let (port, taken) = mute();
    for (signal, code) in SIGNALS {
        for call in calls(Phase::Connect) {
            if call.contains(&"install") && !has_static_agent() {
                continue;
            }
            let project = Project::new();
            project.write(
                "inventory.toml",
                format!("[hosts.two]\naddress = \"127.0.0.1\"\nport = {port}\nuser = \"nobody\"\n"),
            );
            let key = project.path("home/.ssh/id_ed25519");
            let key = key.to_str().expect("UTF-8");
            must("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key]);
            let before = taken.load(Ordering::SeqCst);
            let running = project.start(call);
            wait_until(&format!("it connects: {call:?}"), || {
                taken.load(Ordering::SeqCst) > before
            });
            running.signal(signal);
            // A second one changes nothing: the first ended it.
            running.signal(signal);
            let ended = running.wait().exits(code);
            assert!(ended.took.as_secs() < 30, "it did not wait for the host: {ended}");
            ended.says("two").says("interrupted");
            nothing_is_left_open(&project);
        }
    }
}

/// Two hosts; the check of one does not come to its end.
fn stuck_check() -> Project {
    let project = Project::of_local(&["one", "two"]);
    project.blueprint(
        "[script.stuck]\nenv = { ROOT = \"{{root}}\" }\n\
         check = 'case $ROOT in */two) touch \"$ROOT/asked\"; sleep 50 ;; esac; test -e \"$ROOT/done\"'\n\
         apply = 'touch \"$ROOT/done\"'\n",
    );
    project
}

// REVIEW C2
#[test]
fn a_signal_while_observing_keeps_what_the_others_said() {
    for (signal, code) in SIGNALS {
        for command in [&["plan", "-o", "half.plan"][..], &["apply", "-y"], &["apply"]] {
            let project = stuck_check();
            let running = project.start(command);
            let asked = project.path("hosts/two/asked");
            wait_until("the check runs", || asked.exists());
            // The other host has answered by then, or nearly.
            std::thread::sleep(HEARD);
            running.signal(signal);
            let ended = running.wait().exits(code);
            assert!(ended.took.as_secs() < 30, "{ended}");
            let ended = ended.says("script.stuck").says("not observed:").says("interrupted");
            if command[0] == "plan" {
                assert!(!project.path("half.plan").exists(), "{ended}");
                ended.says("the plan was not saved");
            } else {
                ended.says("interrupted; nothing was changed");
            }
            assert!(!project.path("hosts/one/done").exists());
            nothing_is_left_open(&project);
        }
    }
}

fn interrupted_once(project: &Project, running: Running, signal: Signal, version: u32) -> Ended {
    wait_for_step(project, "one", version);
    running.signal(signal);
    // It is heard before the step ends.
    std::thread::sleep(HEARD);
    let_go(project, "one", version);
    running.wait()
}

// REVIEW C2
#[test]
fn a_signal_during_an_apply_begins_nothing_more_and_follows_what_runs() {
    for (signal, code) in SIGNALS {
        let project = Project::of_local(&["one", "two"]);
        want(&project, 1);
        let apply = project.start(&["apply", "-y", "-f", "1"]);
        interrupted_once(&project, apply, signal, 1)
            .exits(code)
            .says_once("Interrupted: no further host is started; waiting for one.")
            .says("2 hosts: 1 changed, 1 cancelled");
        assert_eq!(runs(&project, "two", 1), 0);
        nothing_is_left_open(&project);
        let_go(&project, "two", 1);
        project.run(&["apply", "-y"]).exits(0).says("2 hosts: 1 ok, 1 changed");

        // All was done all the same: then nothing was cut short.
        want(&project, 2);
        let_go(&project, "two", 2);
        let apply = project.start(&["apply", "-y"]);
        interrupted_once(&project, apply, signal, 2)
            .exits(0)
            .says("2 hosts: 2 changed");
        nothing_is_left_open(&project);
    }
}

// REVIEW C2
#[test]
fn a_second_signal_stops_waiting_and_still_ends_the_run() {
    for (signal, code) in SIGNALS {
        let project = Project::of_local(&["one", "two"]);
        want(&project, 1);
        let twice = |running: Running| {
            running.signal(signal);
            std::thread::sleep(HEARD);
            running.signal(signal);
            running.wait().exits(code).says_once("Stopped waiting for one.")
        };
        let apply = project.start(&["apply", "-y", "-f", "1"]);
        wait_for_step(&project, "one", 1);
        twice(apply).says("2 hosts: 1 unknown, 1 cancelled");
        nothing_is_left_open(&project);

        // Once more while the job of the first run is followed.
        let apply = project.start(&["apply", "-y", "-l", "one"]);
        std::thread::sleep(Duration::from_millis(1500));
        twice(apply);
        nothing_is_left_open(&project);

        let_go(&project, "one", 1);
        let_go(&project, "two", 1);
        wait_for_end(&project, "one");
        project.run(&["apply", "-y"]).exits(0);
        assert_eq!(runs(&project, "one", 1), 1);
    }
}

// REVIEW C2
#[test]
fn a_signal_during_a_command_keeps_what_it_printed() {
    for (signal, code) in SIGNALS {
        for call in calls(Phase::Exec) {
            let project = Project::of_local(&["one", "two"]);
            let run = project.start(&[&["-f", "1"], call].concat());
            wait_until("the command runs", || project.path("home/mark").exists());
            run.signal(signal);
            std::thread::sleep(HEARD);
            run.signal(signal);
            run.wait()
                .exits(code)
                .says("said")
                .says_once("Stopped waiting for one: the command may still be running there.")
                .says("2 hosts: 1 unknown, 1 cancelled");
            nothing_is_left_open(&project);

            // Once: it is waited for, and nothing more is begun.
            let project = Project::of_local(&["one", "two"]);
            let short = "echo said; touch \"$HOME/mark\"; until test -e \"$HOME/go\"; do sleep 0.1; done";
            let run = project.start(&["-f", "1", "run", "all", "--no-input", "--", short]);
            wait_until("the command runs", || project.path("home/mark").exists());
            run.signal(signal);
            std::thread::sleep(HEARD);
            project.write("home/go", "");
            run.wait().exits(code).says("said").says("2 hosts: 1 ok, 1 cancelled");
            nothing_is_left_open(&project);
        }
    }
}

// REVIEW C2
#[test]
fn a_signal_while_an_earlier_job_is_followed_changes_nothing_and_loses_nothing() {
    for (signal, code) in SIGNALS {
        for call in calls(Phase::Follow) {
            let project = Project::of_local(&["one", "two"]);
            want(&project, 1);
            let first = project.start(&["apply", "-y", "-l", "one"]);
            wait_for_step(&project, "one", 1);
            first.interrupt();
            std::thread::sleep(HEARD);
            first.interrupt();
            first.wait().exits(130);
            let next = Overheard::start(&project, call);
            next.wait_for("one: a job of an earlier run is still running");
            std::thread::sleep(HEARD);
            next.signal(signal);
            next.wait_for("no further host is started; waiting for one");
            let_go(&project, "one", 1);
            let (said, ended) = next.end();
            assert_eq!(ended, Some(code), "{said}");
            assert!(said.contains("interrupted; nothing was changed"), "{said}");
            assert_eq!((runs(&project, "one", 1), runs(&project, "two", 1)), (1, 0));
            nothing_is_left_open(&project);
            // What the job did is recorded: it has not to be done again.
            project
                .run(&["plan", "--detailed-exitcode", "-l", "one"])
                .exits(0)
                .says("Nothing to do");
        }
    }
}

// REVIEW C2
#[test]
fn a_signal_while_stdin_is_read_runs_nothing_anywhere() {
    for (signal, code) in SIGNALS {
        for call in calls(Phase::Input) {
            let project = Project::of_local(&["one", "two"]);
            let run = Overheard::start(&project, call);
            run.wait_for("reading stdin to its end");
            run.signal(signal);
            let (said, ended) = run.end();
            assert_eq!(ended, Some(code), "{said}");
            assert!(said.contains("interrupted; nothing was run"), "{said}");
            nothing_is_left_open(&project);
        }
    }
}

// REVIEW C2
#[test]
fn a_signal_ends_the_tour_and_its_hosts() {
    for (signal, code) in SIGNALS {
        for call in calls(Phase::Walk) {
            let project = Project::new();
            let folder = project.path("tour");
            let folder = folder.to_str().expect("UTF-8");
            let arguments = [call, &["--hosts", "2", "--folder", folder]].concat();
            let demo = Overheard::start(&project, &arguments);
            let keeps = call.contains(&"--keep");
            demo.wait_for(if keeps {
                "stay up until Ctrl-C"
            } else {
                "$ holdfast apply -y"
            });
            demo.signal(signal);
            let (said, ended) = demo.end();
            if keeps {
                // It came to its end, and that is how one ends it.
                assert_eq!(ended, Some(0), "{said}");
            } else {
                assert_eq!(ended, Some(code), "{said}");
                assert!(said.contains("interrupted; the demo's hosts are gone"), "{said}");
            }
            let inventory = std::fs::read_to_string(project.path("tour/project/inventory.toml")).expect("it wrote it");
            let port = inventory.lines().find_map(|line| line.strip_prefix("port = "));
            let port: u16 = port.expect("each host has one").parse().expect("a number");
            let gone = std::net::TcpStream::connect(("127.0.0.1", port)).is_err();
            assert!(gone, "its hosts are gone: {said}");
            let there = ["-C", "tour/project"];
            project
                .run(&[&there[..], &["unlock", "-y", "all"]].concat())
                .exits(0)
                .says("Nothing is locked");
            project
                .run(&[&there[..], &["runs"]].concat())
                .exits(0)
                .says_not("has not ended");
        }
    }
}
