//! What becomes of jobs when their controller dies, is overtaken, or is looked over the shoulder: nothing of what they did
//! is lost, nobody ends another's, and nothing is left behind.

#[path = "../src/skip.rs"]
mod skip;

use holdfast_tests::project::Project;
use holdfast_tests::waiting::{jobs, let_go, runs, wait_for_end, wait_for_step, want};
use std::fs;
use std::path::Path;

/// Begins the slow step on a host and kills the controller; gives the job's folder.
fn orphan(project: &Project, host: &str, version: u32) -> std::path::PathBuf {
    let apply = project.start(&["apply", "-y", "-l", host]);
    wait_for_step(project, host, version);
    apply.kill();
    jobs(project, host).pop().expect("the job is there")
}

fn attempt_of(job: &Path) -> String {
    job.file_name().expect("a name").to_str().expect("UTF-8").to_owned()
}

/// Asserts that the ledger has the step as applied, and that nothing is left to do.
fn is_converged(project: &Project, host: &str) {
    project
        .run(&["plan", "--detailed-exitcode", "-l", host])
        .exits(0)
        .says("Nothing to do");
    let ledger = project.run(&["machines", host]).exits(0);
    ledger.says("script.slow").says_not("adopted");
}

// REVIEW H2
#[test]
fn an_observation_during_a_transfer_ends_nobodys_attempt() {
    let project = Project::of_local(&["one"]);
    want(&project, 1);
    let job = orphan(&project, "one", 1);
    // To who looks now, the job is one that has not arrived yet.
    let aside = project.path("aside");
    fs::create_dir(&aside).expect("a folder");
    let parts = ["go", "pid", "journal", "step"];
    for part in parts {
        fs::rename(job.join(part), aside.join(part)).expect("the job's own");
    }
    for command in [&["drift"][..], &["facts"], &["plan"]] {
        let _ = project.run(command);
    }
    for part in parts {
        fs::rename(aside.join(part), job.join(part)).expect("the job's own");
    }
    let_go(&project, "one", 1);
    wait_for_end(&project, "one");
    is_converged(&project, "one");
    assert_eq!(runs(&project, "one", 1), 1);
}

// REVIEW H14, H8
#[test]
fn a_host_ends_no_other_hosts_attempt_and_what_it_shows_is_taken_off_by_a_person() {
    let project = Project::of_local(&["one", "two"]);
    project.blueprint("[directory.made]\npath = \"{{root}}/made\"\n");
    project.run(&["apply", "-y"]).exits(0);
    want(&project, 1);
    let ours = orphan(&project, "one", 1);
    let attempt = attempt_of(&ours);
    // Another host shows a job of that name, ended.
    let theirs = project.path(&format!("hosts/two/state/jobs/{attempt}"));
    fs::create_dir_all(theirs.join("go")).expect("the host's own");
    fs::write(theirs.join("rc"), format!("end {attempt} completed -\n")).expect("the host's own");
    fs::write(theirs.join("journal"), "").expect("the host's own");
    let _ = project.run(&["facts", "two"]);
    project
        .run(&["plan", "-l", "two"])
        .exits(1)
        .says("`holdfast resolve two drop-job`");
    let_go(&project, "one", 1);
    wait_for_end(&project, "one");
    is_converged(&project, "one");

    project
        .run(&["resolve", "two", "drop-job"])
        .exits(0)
        .says(&format!("job {attempt} was taken off"));
    assert!(jobs(&project, "two").is_empty());
    project
        .run(&["resolve", "two", "drop-job"])
        .exits(1)
        .says("no job of another controller lies on two");
    let_go(&project, "two", 1);
    project.run(&["apply", "-y"]).exits(0);
    is_converged(&project, "two");
    project.run(&["unlock", "-y", "all"]).exits(0).says("Nothing is locked");
}

// REVIEW H8
#[test]
fn a_job_of_a_store_that_is_gone_can_be_taken_off_once_it_is_over() {
    let project = Project::of_local(&["one"]);
    want(&project, 1);
    orphan(&project, "one", 1);
    fs::rename(project.path(".holdfast"), project.path("gone")).expect("the project's own");
    project
        .run(&["plan"])
        .exits(1)
        .says("of an earlier run is still running");
    project
        .run(&["resolve", "one", "drop-job"])
        .exits(1)
        .says("is still running on one; nothing was taken off");
    let_go(&project, "one", 1);
    wait_for_end(&project, "one");
    project
        .run(&["apply", "-y"])
        .exits(2)
        .says("is over and was never collected");
    project.run(&["resolve", "one", "drop-job"]).exits(0);
    // What that job put there is in no record either (REVIEW H7).
    project.run(&["apply", "-y"]).exits(2).says("put this there");
    project.run(&["resolve", "one", "accept"]).exits(0);
    project.run(&["apply", "-y"]).exits(0);
    assert_eq!(runs(&project, "one", 1), 1);
}

// REVIEW H10
#[test]
fn a_recovering_apply_takes_the_job_off_the_host() {
    let project = Project::of_local(&["one"]);
    want(&project, 1);
    orphan(&project, "one", 1);
    let_go(&project, "one", 1);
    wait_for_end(&project, "one");
    project.run(&["plan"]).exits(0);
    assert_eq!(jobs(&project, "one").len(), 1, "a plan changes nothing on hosts");
    project.run(&["apply", "-y"]).exits(0);
    assert!(jobs(&project, "one").is_empty(), "{:?}", jobs(&project, "one"));

    // The same when the job was still running and had to be followed.
    want(&project, 2);
    orphan(&project, "one", 2);
    let apply = project.start(&["apply", "-y"]);
    let_go(&project, "one", 2);
    apply.wait().exits(0);
    assert!(jobs(&project, "one").is_empty(), "{:?}", jobs(&project, "one"));
    is_converged(&project, "one");
}

#[test]
fn a_transfer_that_died_with_its_controller_is_cleared_by_the_next_apply() {
    let project = Project::of_local(&["one"]);
    want(&project, 1);
    let_go(&project, "one", 1);
    project.run(&["apply", "-y"]).exits(0);
    // What is left where the transfer was cut: this store's or another's, it never began.
    let dead = project.path("hosts/one/state/jobs/019abcde-0000-7000-8000-000000000000");
    fs::create_dir(&dead).expect("the host's own");
    project.run(&["apply", "-y"]).exits(0);
    assert!(!dead.exists());
    fs::create_dir(&dead).expect("the host's own");
    want(&project, 2);
    let_go(&project, "one", 2);
    project.run(&["apply", "-y"]).exits(0);
    assert!(jobs(&project, "one").is_empty(), "{:?}", jobs(&project, "one"));
}

// REVIEW H12
#[test]
fn a_host_that_claims_anothers_machine_is_refused_alone() {
    let project = Project::of_local(&["one", "two"]);
    for host in ["one", "two"] {
        let_go(&project, host, 1);
        let_go(&project, host, 2);
    }
    want(&project, 1);
    project.run(&["apply", "-y"]).exits(0);
    let id = fs::read_to_string(project.path("hosts/one/state/machine")).expect("it was applied to");
    fs::write(project.path("hosts/two/state/machine"), &id).expect("the host's own");
    want(&project, 2);
    project
        .run(&["apply", "-y"])
        .exits(2)
        .says("2 hosts: 1 changed, 1 held");
    assert_eq!((runs(&project, "one", 2), runs(&project, "two", 2)), (1, 0));
}

// REVIEW C1, C13
#[test]
fn a_fenced_host_ends_nobody_elses_run_and_no_lease_is_left() {
    let project = Project::of_local(&["one", "two"]);
    want(&project, 1);
    let_go(&project, "two", 1);
    let apply = project.start(&["apply", "-y", "-f", "1"]);
    wait_for_step(&project, "one", 1);
    project.run(&["unlock", "-y", "two"]).exits(0).says("two: unlocked");
    let_go(&project, "one", 1);
    apply
        .wait()
        .exits(2)
        .says("a newer controller has taken the host over")
        .says("2 hosts: 1 changed, 1 refused");
    assert_eq!((runs(&project, "one", 1), runs(&project, "two", 1)), (1, 0));
    project.run(&["unlock", "-y", "all"]).exits(0).says("Nothing is locked");
    project.run(&["runs"]).exits(0).says_not("not ended");
    project.run(&["apply", "-y"]).exits(0).says("2 hosts: 1 ok, 1 changed");
}

// REVIEW C13
#[test]
fn a_run_that_our_own_store_ends_gives_its_leases_back() {
    let project = Project::of_local(&["one", "two"]);
    want(&project, 1);
    let_go(&project, "one", 1);
    let_go(&project, "two", 1);
    project.run(&["plan"]).exits(0);
    let sql = |text: &str| {
        let done = std::process::Command::new("sqlite3")
            .arg(project.path(".holdfast/holdfast.db"))
            .arg(text)
            .status();
        done.is_ok_and(|status| status.success())
    };
    if !sql("CREATE TRIGGER full BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'no room for a run'); END") {
        skip::skip("sqlite3 is not installed");
        return;
    }
    project.run(&["apply", "-y"]).exits(1).says("no room for a run");
    assert!(sql("DROP TRIGGER full"));
    project.run(&["unlock", "-y", "all"]).exits(0).says("Nothing is locked");
    project.run(&["apply", "-y"]).exits(0).says("2 hosts: 2 changed");
}

// REVIEW C10
#[test]
fn max_failures_of_one_stops_after_one() {
    let project = Project::of_local(&["one", "two", "three"]);
    project.blueprint("[script.bad]\ncheck = \"false\"\napply = \"exit 3\"\n");
    project
        .run(&["apply", "-y", "-f", "1", "--max-failures", "1"])
        .exits(2)
        .says("3 hosts: 1 failed, 2 skipped");
}
