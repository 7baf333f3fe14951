//! Ctrl-C, SIGTERM and SIGHUP in every phase of every command that works on hosts: what was received is told, what is left
//! is said, leases are given back, runs are ended, and the exit code names the signal.

#[path = "../src/skip.rs"]
mod skip;

use holdfast_tests::bed::must;
use holdfast_tests::project::{Project, Running};
use holdfast_tests::slow::wait_until;
use holdfast_tests::waiting::{let_go, runs, wait_for_end, wait_for_step, want};
use rustix::process::Signal;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SIGNALS: [(Signal, i32); 3] = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];

/// What must hold after every command, however it was stopped.
fn nothing_is_left_open(project: &Project) {
    project.run(&["unlock", "-y", "all"]).exits(0).says("Nothing is locked");
    project.run(&["runs"]).exits(0).says_not("has not ended");
    let listed = project.run(&["runs", "--json"]).exits(0).json();
    for run in listed["runs"].as_array().expect("runs") {
        assert!(!run["ended"].is_null(), "{run}");
    }
}

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
    let commands: [&[&str]; 8] = [
        &["facts"],
        &["plan"],
        &["drift"],
        &["apply", "-y"],
        &["run", "all", "--no-input", "--", "true"],
        &["collect"],
        &["agent", "status"],
        &["agent", "remove", "all", "-y"],
    ];
    for (signal, code) in SIGNALS {
        for command in commands {
            let project = Project::new();
            project.write(
                "inventory.toml",
                format!("[hosts.mute]\naddress = \"127.0.0.1\"\nport = {port}\nuser = \"nobody\"\n"),
            );
            let key = project.path("home/.ssh/id_ed25519");
            let key = key.to_str().expect("UTF-8");
            must("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key]);
            let before = taken.load(Ordering::SeqCst);
            let running = project.start(command);
            wait_until(&format!("it connects: {command:?}"), || {
                taken.load(Ordering::SeqCst) > before
            });
            running.signal(signal);
            let ended = running.wait().exits(code);
            assert!(ended.took.as_secs() < 30, "it did not wait for the host: {ended}");
            let said = ended.stdout.clone() + &ended.stderr;
            assert!(said.contains("mute") && said.contains("interrupted"), "{ended}");
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
            std::thread::sleep(std::time::Duration::from_millis(500));
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

fn interrupted_once(
    project: &Project,
    running: Running,
    signal: Signal,
    version: u32,
) -> holdfast_tests::project::Ended {
    wait_for_step(project, "one", version);
    running.signal(signal);
    // It is heard before the step ends.
    std::thread::sleep(std::time::Duration::from_millis(500));
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
            std::thread::sleep(std::time::Duration::from_millis(500));
            running.signal(signal);
            running.wait().exits(code).says_once("Stopped waiting for one.")
        };
        let apply = project.start(&["apply", "-y", "-f", "1"]);
        wait_for_step(&project, "one", 1);
        twice(apply).says("2 hosts: 1 unknown, 1 cancelled");
        nothing_is_left_open(&project);

        // Once more while the job of the first run is followed.
        let apply = project.start(&["apply", "-y", "-l", "one"]);
        std::thread::sleep(std::time::Duration::from_millis(1500));
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
        let project = Project::of_local(&["one", "two"]);
        let mark = project.path("mark");
        let command = format!("echo said; touch {}; sleep 20", mark.display());
        let run = project.start(&["run", "all", "--no-input", "-f", "1", "--", &command]);
        wait_until("the command runs", || mark.exists());
        run.signal(signal);
        std::thread::sleep(std::time::Duration::from_millis(500));
        run.signal(signal);
        run.wait()
            .exits(code)
            .says("said")
            .says_once("Stopped waiting for one: the command may still be running there.")
            .says("2 hosts: 1 unknown, 1 cancelled");
        nothing_is_left_open(&project);
    }
}

// REVIEW C2
#[test]
fn a_signal_while_a_person_is_asked_is_a_no() {
    if Command::new("script").arg("--version").output().is_err() {
        skip::skip("script is not on this machine");
        return;
    }
    for (signal, code) in SIGNALS {
        let project = Project::of_local(&["one"]);
        want(&project, 1);
        let holdfast = project.command(&["apply"]);
        let program = holdfast.get_program().to_str().expect("UTF-8").to_owned();
        let said = project.path("said");
        // `script` gives it a terminal; the code comes back by a file.
        let line = format!("trap : INT; {program} apply; echo $? >code");
        let mut terminal = project.command(&[]);
        let mut terminal = {
            let mut script = Command::new("script");
            script.args(["-qfc", &line]).arg(&said);
            script
                .current_dir(project.path(""))
                .stdin(Stdio::piped())
                .stdout(Stdio::null());
            script
                .env_clear()
                .envs(terminal.get_envs().filter_map(|(key, value)| Some((key, value?))));
            let _ = &mut terminal;
            script.spawn().expect("script starts")
        };
        let asked = || fs::read_to_string(&said).unwrap_or_default().contains("Only 'yes'");
        wait_until("it asks", asked);
        if signal == Signal::INT {
            // As the key does.
            let keys = terminal.stdin.as_mut().expect("piped");
            keys.write_all(&[3]).expect("the terminal reads");
            keys.flush().expect("the terminal reads");
        } else {
            rustix::process::kill_process(of_program(&program, &project), signal).expect("it is ours");
        }
        wait_until("it ended", || {
            fs::read_to_string(project.path("code")).is_ok_and(|code| code.ends_with('\n'))
        });
        let _ = terminal.kill();
        let _ = terminal.wait();
        let ended = fs::read_to_string(project.path("code")).expect("just read");
        let said = fs::read_to_string(&said).expect("the terminal");
        assert_eq!(ended.trim(), code.to_string(), "{said}");
        assert!(said.contains("interrupted; nothing was changed"), "{said}");
        assert_eq!(runs(&project, "one", 1), 0);
        nothing_is_left_open(&project);
    }
}

/// Finds the process of a program that works in the project's folder.
fn of_program(program: &str, project: &Project) -> rustix::process::Pid {
    let folder = project.path("").canonicalize().expect("it is there");
    let pid = fs::read_dir("/proc")
        .expect("proc")
        .flatten()
        .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder))
        .filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line.starts_with(program.as_bytes())
        })
        .find_map(|entry| entry.file_name().to_str()?.parse().ok());
    pid.and_then(rustix::process::Pid::from_raw).expect("it runs")
}
