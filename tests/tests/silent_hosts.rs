//! Hosts whose sshd lets in and whose shell never says a word: no command waits for them for long, and the others go on.

use holdfast_tests::bed::{Bed, HostSpec, Kind};
use holdfast_tests::project::Project;

// REVIEW H13, C4
#[test]
fn a_host_that_hangs_after_the_login_is_told_and_holds_nobody() {
    let specs = ["hangs", "well"].map(|name| HostSpec::new(name, Kind::Sysv));
    let Some(bed) = Bed::start(&specs) else { return };
    let hangs = bed.host("hangs");
    hangs.inside("printf '#!/bin/sh\\nexec sleep 1000\\n' >/bin/hang; chmod 755 /bin/hang; usermod -s /bin/hang root");
    let project = Project::of(&bed);
    project.blueprint("[file.\"/etc/app\"]\ncontent = \"ours\"\n");
    let commands: [&[&str]; 4] = [
        &["facts"],
        &["plan", "--detailed-exitcode"],
        &["apply", "-y"],
        &["run", "all", "--no-input", "--", "echo here"],
    ];
    // At once: each waits for the silence of its own.
    let running = commands.map(|command| project.start(command));
    let [facts, plan, apply, run] = running.map(|command| command.wait().exits(4));
    let silent = "though the connection is open";
    facts.says_once(silent).says("well");
    plan.says_once(silent)
        .says("look at its load, its disks and its mounts")
        .says("file./etc/app");
    apply.says_once(silent).says("2 hosts: 1 changed, 1 unreachable");
    run.says(silent).says("here").says("2 hosts: 1 ok, 1 unknown");
    assert_eq!(bed.host("well").read("/etc/app"), "ours");
}
