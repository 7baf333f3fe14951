//! The controller dies or the connection is cut in the middle of a step: no step runs twice, and nothing is lost.

use holdfast_tests::bed::{Bed, BedHost, HostSpec, Kind};
use holdfast_tests::project::Project;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The file first, so that a restart is owed; then a step that counts its runs and takes its time; then the restart.
const BLUEPRINT: &str = r#"
[package.bedweb]

[file."/etc/bedweb.conf"]
content = "VERSION"

[script.slow]
env = { VERSION = "VERSION" }
check = 'test "$(cat /var/lib/slow.done 2>/dev/null)" = "$VERSION"'
apply = '''
echo "$VERSION" >>/var/lib/slow.runs
sleep 4
echo "$VERSION" >/var/lib/slow.done
'''

[service.bedweb]
needs = ["script.slow"]
running = true
restart_on = ["file./etc/bedweb.conf"]
"#;

/// How long the slow step may take to begin or end: some seconds on a busy machine, with a margin.
const PATIENCE: Duration = Duration::from_secs(40);

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn text(host: &BedHost, path: &str) -> String {
    fs::read_to_string(host.path(path)).unwrap_or_default()
}

fn converged_at_one(project: &Project) {
    project.blueprint(
        &BLUEPRINT
            .replace("VERSION", "one")
            .replace("$one", "$VERSION")
            .replace("one =", "VERSION ="),
    );
    project.run(&["apply", "-y"]).exits(0);
}

/// Raises the version, so that the file, the slow step and the restart are due.
fn ask_for_two(project: &Project) {
    project.blueprint(
        &BLUEPRINT
            .replace("VERSION", "two")
            .replace("$two", "$VERSION")
            .replace("two =", "VERSION ="),
    );
}

fn starts_with_two(host: &BedHost) -> usize {
    text(host, "/var/log/bedweb.log")
        .lines()
        .filter(|line| *line == "started with two")
        .count()
}

/// What must hold in the end, whatever happened: one run of the step, one restart, and nothing left to do.
fn ran_once(host: &BedHost, project: &Project) {
    assert_eq!(
        text(host, "/var/lib/slow.runs"),
        "one\ntwo\n",
        "{}: the step ran twice, or never",
        host.name
    );
    assert_eq!(text(host, "/var/lib/slow.done"), "two\n", "{}", host.name);
    wait_until("the service was restarted", || starts_with_two(host) > 0);
    assert_eq!(
        starts_with_two(host),
        1,
        "{}: {}",
        host.name,
        text(host, "/var/log/bedweb.log")
    );
    project.run(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn a_killed_controller_is_taken_over_while_its_job_still_runs() {
    let Some(bed) = Bed::start(&[HostSpec::new("sys", Kind::Systemd), HostSpec::new("old", Kind::Sysv)]) else {
        return;
    };
    let project = Project::of(&bed);
    converged_at_one(&project);
    ask_for_two(&project);
    let apply = project.start(&["apply", "-y"]);
    for host in &bed.hosts {
        wait_until("the slow step runs", || {
            text(host, "/var/lib/slow.runs").contains("two")
        });
    }
    assert_eq!(apply.kill().code, None);
    project.run(&["apply", "-y"]).exits(0).says("still running");
    bed.hosts.iter().for_each(|host| ran_once(host, &project));
}

#[test]
fn a_killed_controllers_job_is_collected_after_its_end() {
    let Some(bed) = Bed::start(&[HostSpec::new("sys", Kind::Systemd)]) else {
        return;
    };
    let project = Project::of(&bed);
    let host = &bed.hosts[0];
    converged_at_one(&project);
    ask_for_two(&project);
    let apply = project.start(&["apply", "-y"]);
    wait_until("the slow step runs", || {
        text(host, "/var/lib/slow.runs").contains("two")
    });
    apply.kill();
    wait_until("the service was restarted", || starts_with_two(host) == 1);
    // The very next command, a plan, finds the job over and has what it did.
    wait_until("the job is over", || job_ended(host));
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("Nothing to do");
    ran_once(host, &project);
    project.run(&["apply", "-y"]).exits(0);
    let machines = project.run(&["machines", "--json"]).exits(0).json();
    assert_eq!(machines["machines"][0]["phase"], "converged", "{machines}");
}

fn job_ended(host: &BedHost) -> bool {
    let jobs = fs::read_dir(host.path("/var/lib/holdfast/jobs"))
        .into_iter()
        .flatten()
        .flatten();
    jobs.into_iter().all(|job| job.path().join("rc").exists())
}

#[test]
fn a_restart_that_was_owed_when_the_job_died_still_happens() {
    let Some(bed) = Bed::start(&[HostSpec::new("sys", Kind::Systemd)]) else {
        return;
    };
    let project = Project::of(&bed);
    let host = &bed.hosts[0];
    converged_at_one(&project);
    ask_for_two(&project);
    let apply = project.start(&["apply", "-y"]);
    wait_until("the slow step runs", || {
        text(host, "/var/lib/slow.runs").contains("two")
    });
    apply.kill();
    // The job itself dies, with the file written and the service not restarted.
    host.inside("for job in /var/lib/holdfast/jobs/*; do read -r pid rest <$job/pid; kill -9 $pid; done; pkill -9 -x sleep || :; sleep 1");
    host.inside("pkill -9 -f '[/]var/lib/holdfast/jobs' || :");
    assert_eq!(starts_with_two(host), 0, "the job was to die before the restart");
    fs::write(host.path("/var/lib/slow.done"), "two\n").expect("as if the step had come to its end");
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(2)
        .says("service.bedweb")
        .says("restart");
    project.run(&["apply", "-y"]).exits(0);
    ran_once(host, &project);
}

#[test]
fn a_cut_connection_loses_nothing() {
    let Some(bed) = Bed::start(&[
        HostSpec::new("cut", Kind::Systemd),
        HostSpec::new("well", Kind::Systemd),
    ]) else {
        return;
    };
    let project = Project::of(&bed);
    converged_at_one(&project);
    ask_for_two(&project);
    let cut = bed.host("cut");
    let apply = project.start(&["apply", "-y"]);
    wait_until("the slow step runs", || text(cut, "/var/lib/slow.runs").contains("two"));
    // sshd ends the connection, as a firewall that forgets it does; the job must not notice.
    cut.inside("pkill -9 -f '[s]shd: root' || :");
    cut.set_network(false);
    std::thread::sleep(Duration::from_secs(2));
    cut.set_network(true);
    let ended = apply.wait();
    // Either it attached again in time, or it says that it does not know; never that the step failed.
    assert!(matches!(ended.code, Some(0 | 4)), "{ended}");
    wait_until("the job is over", || job_ended(cut));
    project.run(&["apply", "-y"]).exits(0);
    bed.hosts.iter().for_each(|host| ran_once(host, &project));
    assert!(Path::new(&cut.path("/var/lib/slow.done")).exists());
}
