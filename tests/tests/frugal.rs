//! What a plan may cost, and what output may cost: connections, execs and memory, counted by the hosts and the kernel.

use holdfast_tests::bed::{Bed, HostSpec, Kind};
use holdfast_tests::project::{Ended, Project};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// What the controller may take in memory for one host that prints a gigabyte: an idle controller takes some 30 MiB
/// in a debug build; a hundredth of the output on top of that would be growth.
const MEMORY_KIB_MAX: u64 = 64 * 1024;

/// How much the noisy host prints.
const OUTPUT_MIB: u64 = 1024;

fn log_sessions(root: &Path) {
    fs::write(root.join("etc/ssh/sshd_config.d/log.conf"), "LogLevel VERBOSE\n").expect("a line of configuration");
    // Runs sshd with a log file of its own: the journal may lag behind.
    let folder = root.join("etc/systemd/system/ssh.service.d");
    fs::create_dir_all(&folder).expect("a folder for the unit");
    fs::write(
        folder.join("log.conf"),
        "[Service]\nExecStart=\nExecStart=/usr/sbin/sshd -D -E /var/log/sshd.log\nType=simple\n",
    )
    .expect("the unit");
}

#[test]
fn a_plan_of_fifty_resources_takes_one_connection_and_one_exec() {
    let spec = HostSpec {
        prepare: Some(&log_sessions),
        ..HostSpec::new("sys", Kind::Systemd)
    };
    let Some(bed) = Bed::start(&[spec]) else { return };
    let project = Project::of(&bed);
    let mut blueprint =
        String::from("[package.bedweb]\n[service.bedweb]\nrunning = true\n[user.deploy]\n[group.metrics]\n");
    blueprint.push_str("[cron.rotate]\nuser = \"root\"\nschedule = \"@daily\"\ncommand = \"true\"\n");
    blueprint.push_str("[script.check]\ncheck = \"test -e /etc/checked\"\napply = \"touch /etc/checked\"\n");
    for number in 0..44 {
        writeln!(
            blueprint,
            "[file.\"/srv/file{number:02}\"]\ncontent = \"number {number}\\n\""
        )
        .expect("a String takes it");
    }
    project.blueprint(&blueprint);
    project.run(&["apply", "-y"]).exits(0).says("ok=1 changed=49");

    let log = bed.hosts[0].path("/var/log/sshd.log");
    let offset = fs::metadata(&log).expect("sshd logs").size();
    let plan = project.run(&["-v", "plan", "--detailed-exitcode"]).exits(0);
    let plan = plan
        .says("traffic: 1 connections, 1 execs")
        .says("processes made on the hosts");
    let logged = fs::read_to_string(&log)
        .expect("sshd logs")
        .split_off(usize::try_from(offset).expect("a small log"));
    let count = |words: &str| logged.lines().filter(|line| line.contains(words)).count();
    assert_eq!(count("Connection from "), 1, "{logged}{plan}");
    assert_eq!(count("Starting session: "), 1, "{logged}{plan}");
    assert!(plan.number_after("execs, ") <= 8, "round trips: {plan}");

    // And a plan that finds something brings the texts in the same exec.
    fs::write(bed.hosts[0].path("/srv/file07"), "by hand\n").expect("the host's file");
    let offset = fs::metadata(&log).expect("sshd logs").size();
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(2)
        .says("-by hand")
        .says("+number 7");
    let logged = fs::read_to_string(&log)
        .expect("sshd logs")
        .split_off(usize::try_from(offset).expect("a small log"));
    assert_eq!(
        logged
            .lines()
            .filter(|line| line.contains("Starting session: "))
            .count(),
        1,
        "{logged}"
    );
}

fn bounded(ended: Ended) -> Ended {
    assert!(ended.memory_kib > 0, "its memory was never seen: {}", ended.typed);
    assert!(
        ended.memory_kib < MEMORY_KIB_MAX,
        "{}: {} KiB resident",
        ended.typed,
        ended.memory_kib
    );
    assert!(
        ended.stdout.len() < 4 * 1024 * 1024,
        "{} showed {} bytes",
        ended.typed,
        ended.stdout.len()
    );
    ended
}

/// Bounds three hundred hosts with the servers that the demo runs for them in the same process: at most 145 MiB was
/// seen, and what is kept per host may not grow unnoticed.
const FLEET_KIB_MAX: u64 = 224 * 1024;

#[test]
fn three_hundred_hosts_take_little_memory() {
    let project = Project::new();
    // About a minute alone on two cores; the other tests want them too.
    let ended = project
        .start(&["demo", "--hosts", "300", "--folder", "demo", "-v"])
        .wait_at_most(Duration::from_secs(600));
    let ended = ended
        .exits(0)
        .says("300 hosts: 300 changed")
        .says("Nothing to do: 300 hosts are as desired")
        .says("100 hosts at a time");
    assert!(
        ended.memory_kib > 0 && ended.memory_kib < FLEET_KIB_MAX,
        "{} KiB: {ended}",
        ended.memory_kib
    );
    // What -v says is what the kernel says; the largest comes last.
    let (_, said) = ended.stderr.rsplit_once("memory: ").expect("-v tells the memory");
    let said: u64 = said
        .split(' ')
        .next()
        .and_then(|mib| mib.parse().ok())
        .expect("a number");
    assert!(
        said.abs_diff(ended.memory_kib / 1024) <= 8,
        "{said} MiB and {} KiB",
        ended.memory_kib
    );
}

#[test]
fn a_gigabyte_of_output_takes_no_memory_of_the_controller() {
    let Some(bed) = Bed::start(&[
        HostSpec::new("loud", Kind::Systemd),
        HostSpec::new("calm", Kind::Systemd),
    ]) else {
        return;
    };
    let project = Project::of(&bed);
    let command = format!(
        "if [ $(hostname) = loud ]; then yes 0123456789abcde | head -c {}; fi; echo the end",
        OUTPUT_MIB << 20
    );
    let ended = bounded(project.run(&["-v", "run", "all", "--", &command]));
    let ended = ended.exits(0).says("the end").says("calm\n  the end");
    assert!(
        ended.number_after("KiB out, ") >= OUTPUT_MIB * 1024,
        "the gigabyte did not come: {}",
        ended.stderr
    );
}

#[test]
fn equal_output_is_shown_once_with_its_hosts_and_exit_codes_add_up() {
    let specs = ["web01", "web02", "web03", "db01"].map(|name| HostSpec::new(name, Kind::Systemd));
    let Some(bed) = Bed::start(&specs) else { return };
    let project = Project::of(&bed);
    let ended = project.run(&[
        "run",
        "all",
        "--",
        "case $(hostname) in web*) echo same;; *) echo other; echo odd >&2; exit 7;; esac",
    ]);
    let ended = ended
        .exits(2)
        .says("web[01-03] (3)\n  same\n")
        .says("db01\n  other\n")
        .says("odd")
        .says("ended with code 7");
    assert_eq!(ended.stdout.matches("same").count(), 1, "{ended}");
    project
        .run(&["run", "-S", "all", "--", "test $(hostname) != db01 || exit 7"])
        .exits(7);
    project.run(&["run", "web*", "--", "true"]).exits(0);
    bed.host("web02").set_network(false);
    let project = Project::with_hosts(&bed, |_| "connect_timeout = \"2s\"".to_owned());
    project
        .run(&["run", "all", "--", "true"])
        .exits(4)
        .says("web02")
        .says("3 ok, 1 unreachable");
    project
        .run(&["run", "all", "--", "test $(hostname) != db01"])
        .exits(6)
        .says("2 ok, 1 failed, 1 unreachable");
    // What hosts print can't steer the terminal.
    project
        .run(&["run", "db01,web01", "--", "printf 'a\\033[2Jb\\n'"])
        .exits(0)
        .says("a\\u{1b}[2Jb");
    let json = project.run(&["--json", "run", "web01", "--", "echo hello"]).exits(0);
    for line in json.stdout.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {json}"));
    }
}
