//! A step that waits until the test lets it go on, and counts its runs: for local hosts ([`crate::local`]).

use crate::project::Project;
use crate::slow::wait_until;
use std::fs;
use std::path::PathBuf;

/// A step per host that waits until [`let_go`]; `version` makes it due again.
fn blueprint(version: u32) -> String {
    format!(
        r#"
[script.slow]
env = {{ ROOT = "{{{{root}}}}" }}
timeout = "100s"
check = 'test -e "$ROOT/done{version}"'
apply = '''
echo run >>"$ROOT/runs{version}"
until [ -e "$ROOT/go{version}" ]; do sleep 0.1; done
touch "$ROOT/done{version}"
'''
"#
    )
}

/// Asks for the slow step.
pub fn want(project: &Project, version: u32) {
    project.blueprint(&blueprint(version));
}

/// Waits until the slow step runs on a host.
pub fn wait_for_step(project: &Project, host: &str, version: u32) {
    let runs = project.path(&format!("hosts/{host}/runs{version}"));
    wait_until("the slow step runs", || runs.exists());
}

/// Lets the slow step of a host end.
pub fn let_go(project: &Project, host: &str, version: u32) {
    project.write(&format!("hosts/{host}/go{version}"), "");
}

/// Counts how often the slow step ran on a host.
pub fn runs(project: &Project, host: &str, version: u32) -> usize {
    let runs = fs::read_to_string(project.path(&format!("hosts/{host}/runs{version}")));
    runs.unwrap_or_default().lines().count()
}

/// Lists the jobs on a host.
pub fn jobs(project: &Project, host: &str) -> Vec<PathBuf> {
    let jobs = fs::read_dir(project.path(&format!("hosts/{host}/state/jobs")));
    jobs.into_iter().flatten().flatten().map(|job| job.path()).collect()
}

/// Waits until every job on a host has said its last word.
pub fn wait_for_end(project: &Project, host: &str) {
    wait_until("the job is over", || {
        jobs(project, host).iter().all(|job| job.join("rc").exists())
    });
}
