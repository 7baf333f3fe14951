//! The controller dies or the connection is cut in the middle of a step: no step runs twice, and nothing is lost.

use holdfast_tests::bed::{Bed, HostSpec, Kind};
use holdfast_tests::project::Project;
use holdfast_tests::slow::{
    ask_for_two, converge_at_one, job_ended, ran_once, starts_with_two, wait_for_the_step, wait_until,
};
use std::fs;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_killed_controller_is_taken_over_while_its_job_still_runs() {
    let Some(bed) = Bed::start(&[HostSpec::new("sys", Kind::Systemd), HostSpec::new("old", Kind::Sysv)]) else {
        return;
    };
    let project = Project::of(&bed);
    converge_at_one(&project);
    ask_for_two(&project);
    let apply = project.start(&["apply", "-y"]);
    for host in &bed.hosts {
        wait_for_the_step(host);
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
    converge_at_one(&project);
    ask_for_two(&project);
    let apply = project.start(&["apply", "-y"]);
    wait_for_the_step(host);
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

#[test]
fn a_restart_that_was_owed_when_the_job_died_still_happens() {
    let Some(bed) = Bed::start(&[HostSpec::new("sys", Kind::Systemd)]) else {
        return;
    };
    let project = Project::of(&bed);
    let host = &bed.hosts[0];
    converge_at_one(&project);
    ask_for_two(&project);
    let apply = project.start(&["apply", "-y"]);
    wait_for_the_step(host);
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
    converge_at_one(&project);
    ask_for_two(&project);
    let cut = bed.host("cut");
    let apply = project.start(&["apply", "-y"]);
    wait_for_the_step(cut);
    // sshd ends the connection, as a firewall that forgets it does; the job must not notice.
    cut.inside("pkill -9 -f '[s]shd: root' || :");
    cut.set_network(false);
    std::thread::sleep(Duration::from_secs(2));
    cut.set_network(true);
    let ended = apply.wait();
    // Either it attached again in time, or it says that it does not know; never that the step failed.
    assert!(matches!(ended.code, Some(0 | 4)), "{ended}");
    // REVIEW U, "Texts to better": a cut cable showed a progress line alone for minutes.
    let ended = ended.says("cut: connection lost (").says("), trying again");
    assert_eq!(ended.stderr.matches("well: connection lost").count(), 0, "{ended}");
    wait_until("the job is over", || job_ended(cut));
    project.run(&["apply", "-y"]).exits(0);
    bed.hosts.iter().for_each(|host| ran_once(host, &project));
    assert!(Path::new(&cut.path("/var/lib/slow.done")).exists());
}
