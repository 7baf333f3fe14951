//! A job that takes its time: what the tests of interrupted runs interrupt, and what must hold in the end.
//!
//! The file comes first, so that a restart is owed; then a step that counts its runs and takes four seconds; then the
//! restart.

use crate::bed::BedHost;
use crate::project::Project;
use std::fs;
use std::time::{Duration, Instant};

const BLUEPRINT: &str = r#"
[package.bedweb]

[file."/etc/bedweb.conf"]
content = "@VERSION@"

[script.slow]
env = { VERSION = "@VERSION@" }
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

/// Waits until something is so, for 40 seconds at most.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Reads a file of a host; empty if it is missing.
pub fn text(host: &BedHost, path: &str) -> String {
    fs::read_to_string(host.path(path)).unwrap_or_default()
}

/// Brings the hosts to version one.
pub fn converge_at_one(project: &Project) {
    project.blueprint(&BLUEPRINT.replace("@VERSION@", "one"));
    project.run(&["apply", "-y"]).exits(0);
}

/// Raises the version, so that the file, the slow step and the restart are due.
pub fn ask_for_two(project: &Project) {
    project.blueprint(&BLUEPRINT.replace("@VERSION@", "two"));
}

/// Waits until the slow step of version two has begun.
pub fn wait_for_the_step(host: &BedHost) {
    wait_until("the slow step runs", || {
        text(host, "/var/lib/slow.runs").contains("two")
    });
}

/// Counts how often the service was started with version two.
pub fn starts_with_two(host: &BedHost) -> usize {
    text(host, "/var/log/bedweb.log")
        .lines()
        .filter(|line| *line == "started with two")
        .count()
}

/// Asserts what must hold in the end, whatever happened: one run of the step, one restart, and nothing left to do.
pub fn ran_once(host: &BedHost, project: &Project) {
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

/// Tells whether every job on a host has ended.
pub fn job_ended(host: &BedHost) -> bool {
    let jobs = fs::read_dir(host.path("/var/lib/holdfast/jobs"))
        .into_iter()
        .flatten()
        .flatten();
    jobs.into_iter().all(|job| job.path().join("rc").exists())
}
