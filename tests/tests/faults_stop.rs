//! What stops a run, or keeps it from starting: plans that are no longer true, machines that are not the same, other
//! controllers, limits, and Ctrl-C. Nothing is lost by it, and every host's state is told.

use holdfast_tests::bed::{Bed, BedHost, HostSpec, Kind};
use holdfast_tests::project::{Project, Running};
use std::fs;
use std::time::{Duration, Instant};

/// How long a step may take to begin on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

fn wait_for(host: &BedHost, path: &str) {
    let began = Instant::now();
    while !host.path(path).exists() {
        assert!(began.elapsed() < PATIENCE, "{}:{path} does not appear", host.name);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn app(content: &str) -> String {
    format!("[file.\"/etc/app\"]\ncontent = \"{content}\"\n")
}

/// A step that says when it begins, takes its time, and counts its runs.
fn slow(version: u32) -> String {
    format!(
        "[script.slow]\ncheck = 'test -e /srv/done{version}'\n\
         apply = 'echo run >>/srv/runs{version}; touch /srv/begun{version}; sleep 3; touch /srv/done{version}'\n"
    )
}

fn bed_of(names: &[&str]) -> Option<(Bed, Project)> {
    let specs: Vec<HostSpec<'_>> = names.iter().map(|name| HostSpec::new(name, Kind::Sysv)).collect();
    let bed = Bed::start(&specs)?;
    let project = Project::of(&bed);
    Some((bed, project))
}

#[test]
fn plans_that_are_no_longer_true_change_nothing() {
    let Some((bed, project)) = bed_of(&["one", "two", "well"]) else {
        return;
    };
    let plan = ["plan", "--no-diff", "-o", "fleet.plan"];
    let apply = ["apply", "-y", "--no-diff", "fleet.plan"];
    project.blueprint(&app("first"));
    project
        .run(&plan)
        .exits(0)
        .says("To carry out exactly this plan: holdfast apply fleet.plan");

    // Without a terminal nobody can be asked, and nothing is done.
    project
        .run(&["apply", "fleet.plan"])
        .exits(1)
        .says_once("there is no terminal to ask on; nothing was changed")
        .says("look at the plan, then use -y");

    // Changed by hand since: that host refuses, and is as the hand left it.
    fs::write(bed.host("one").path("/etc/app"), "by hand\n").expect("the host's file");
    let stale = project.run(&apply).exits(2);
    stale
        .says_once("the host changed since it was planned: file./etc/app: type absent -> type file")
        .says("look at a new plan, then apply that: holdfast plan")
        .says("one refused ok=0 changed=0 failed=0 skipped=1")
        .says("3 hosts: 2 changed, 1 refused");
    assert_eq!(bed.host("one").read("/etc/app"), "by hand\n");
    assert_eq!(bed.host("well").read("/etc/app"), "first");

    // Carried out twice: nothing is done a second time.
    let twice = project.run(&["apply", "-y", "--json", "fleet.plan"]).exits(2).json();
    assert_eq!(twice["recap"]["refused"], 3, "{twice}");
    assert_eq!(twice["hosts"][2]["outcome"]["kind"], "stale", "{twice}");
    assert_eq!(
        twice["hosts"][2]["message"],
        "the host changed since it was planned: this plan, or another one, was applied to it since"
    );
    assert_eq!(bed.host("one").read("/etc/app"), "by hand\n");
    project.run(&["apply", "-y"]).exits(0).says("3 hosts: 2 ok, 1 changed");

    // A plan is carried out as it was shown, whatever the blueprints say by now; the second time it is stale.
    project.blueprint(&app("second"));
    project.run(&plan).exits(0);
    project.blueprint(&app("third"));
    project.run(&apply).exits(0).says("3 hosts: 3 changed");
    assert_eq!(bed.host("two").read("/etc/app"), "second");
    project
        .run(&apply)
        .exits(2)
        .says("one,two,well (3) refused")
        .says_once("the host changed since it was planned: file./etc/app: size 5 -> size 6");
    project.run(&["apply", "-y"]).exits(0);
    assert_eq!(bed.host("two").read("/etc/app"), "third");

    // No plan at all, and half of one.
    project
        .run(&["apply", "-y", "missing.plan"])
        .exits(1)
        .says("failed to read missing.plan: No such file");
    let half = fs::read(project.path("fleet.plan")).expect("it was written");
    project.write("half.plan", &half[..half.len() / 2]);
    project
        .run(&["apply", "-y", "half.plan"])
        .exits(1)
        .says_once("half.plan is not a plan of this version")
        .says("make it anew: holdfast plan -o FILE");

    // Too many failures: the others are left as they are, and say so.
    project.blueprint(&format!(
        "{}[script.bad]\ncheck = \"test -e /srv/good\"\napply = 'test $(hostname) != one && touch /srv/good'\n",
        app("third")
    ));
    let stopped = project.run(&["apply", "-y", "-f", "1", "--max-failures", "0"]).exits(2);
    stopped
        .says_once("script.bad: ended with code 1")
        .says_once("not started: too many hosts failed")
        .says("mend the failed hosts, or raise --max-failures")
        .says("two,well (2) skipped")
        .says("3 hosts: 1 failed, 2 skipped");
    assert!(!bed.host("two").path("/srv/good").exists());
    let command = [
        "run",
        "all",
        "-f",
        "1",
        "--max-failures",
        "0",
        "--",
        "test $(hostname) != one",
    ];
    project
        .run(&command)
        .exits(2)
        .says_once("not started: too many hosts failed")
        .says("3 hosts: 1 failed, 2 skipped");
}

#[test]
fn another_machine_or_another_controller_is_told_and_waits_for_a_person() {
    let Some((bed, project)) = bed_of(&["anew", "other", "well"]) else {
        return;
    };
    project.blueprint(&app("ours"));
    project.run(&["apply", "-y"]).exits(0);

    // Nothing to accept: an `accept` out of turn must not forget a ledger.
    project
        .run(&["resolve", "well", "accept"])
        .exits(1)
        .says_once("nothing holds the machine behind `well`: there is nothing to accept");

    // One was installed anew, behind the other's name another machine answers.
    bed.host("anew").inside("rm -r /var/lib/holdfast /etc/app");
    let kept = bed.host("other").read("/var/lib/holdfast/machine");
    bed.host("other")
        .inside("echo 11111111-2222-4333-8444-555555555555 >/var/lib/holdfast/machine; rm /etc/app");
    fs::remove_file(bed.host("well").path("/etc/app")).expect("drift to mend");
    let plan = project.run(&["plan", "--detailed-exitcode"]).exits(1);
    plan.says_once("the host has no machine id any more")
        .says("re-imaged, or its state_dir was removed; `holdfast resolve anew accept` begins anew")
        .says_once("machine 11111111-2222-4333-8444-555555555555 answers under this name")
        .says("`holdfast resolve other accept` begins anew, else check its `address`");
    let apply = project.run(&["apply", "-y"]).exits(2);
    apply
        .says_once("the host has no machine id any more")
        .says_once("machine 11111111-2222-4333-8444-555555555555 answers under this name")
        .says("anew held\n    held: its machine id is gone")
        .says("3 hosts: 1 changed, 2 held");
    assert!(!bed.host("anew").path("/etc/app").exists());
    assert!(!bed.host("other").path("/etc/app").exists());
    assert_eq!(bed.host("well").read("/etc/app"), "ours");
    let json = project.run(&["apply", "-y", "--json"]).exits(2).json();
    assert_eq!(
        (&json["recap"]["ok"], &json["recap"]["held"]),
        (&1.into(), &2.into()),
        "{json}"
    );
    assert_eq!(json["hosts"][0]["message"], "held: its machine id is gone", "{json}");

    // A person says that one is new; the other turns out to be itself again.
    project
        .run(&["resolve", "anew", "accept"])
        .exits(0)
        .says("anew: recorded");
    fs::write(bed.host("other").path("/var/lib/holdfast/machine"), kept).expect("the host's file");
    project.run(&["apply", "-y"]).exits(0).says("3 hosts: 1 ok, 2 changed");
    let machines = project.run(&["machines", "--json"]).exits(0).json();
    let held = machines["machines"].as_array().expect("machines").iter();
    assert_eq!(
        held.filter(|machine| machine["phase"] == "held").count(),
        0,
        "{machines}"
    );

    // Another controller has a lease: it is named, nothing is sent, and the others are changed.
    project.blueprint(&slow(1));
    project.run(&["plan", "--no-diff", "-o", "fleet.plan"]).exits(0);
    let first = project.start(&["apply", "-y", "-l", "anew"]);
    wait_for(bed.host("anew"), "/srv/begun1");
    let second = project.run(&["apply", "-y", "fleet.plan"]).exits(2);
    second
        .says_once("another controller is at work on this host: controller ")
        .says(" has the lease of anew for ")
        .says("wait for it; `holdfast unlock` breaks the lease of a dead one")
        .says("3 hosts: 2 changed, 1 refused");
    first.wait().exits(0).says("1 host: 1 changed");
    assert_eq!(bed.host("anew").read("/srv/runs1"), "run\n");

    // It hangs: whoever unlocks is told by whom, and goes on.
    project.blueprint(&slow(2));
    let hung = project.start(&["apply", "-y", "-l", "anew"]);
    wait_for(bed.host("anew"), "/srv/begun2");
    hung.stop();
    project
        .run(&["unlock", "anew"])
        .exits(1)
        .says("anew: held by controller ")
        .says_once("there is no terminal to ask on; nothing was unlocked");
    project.run(&["unlock", "-y", "anew"]).exits(0).says("anew: unlocked");
    project
        .run(&["unlock", "-y", "anew"])
        .exits(0)
        .says("Nothing is locked");
    project.run(&["apply", "-y"]).exits(0).says("3 hosts: 1 ok, 2 changed");
    hung.kill();
    assert_eq!(bed.host("anew").read("/srv/runs2"), "run\n", "no step runs twice");
    project.run(&["plan", "--detailed-exitcode"]).exits(0);
}

/// Interrupts once the step runs on `host`.
fn interrupt(running: &Running, host: &BedHost, path: &str) {
    wait_for(host, path);
    running.interrupt();
}

#[test]
fn an_interrupt_says_what_each_host_was_left_in_and_loses_nothing() {
    let Some((bed, project)) = bed_of(&["one", "two"]) else {
        return;
    };
    let one = bed.host("one");

    // Once: what runs is waited for, what has not begun is not begun.
    project.blueprint(&slow(1));
    let apply = project.start(&["apply", "-y", "-f", "1"]);
    interrupt(&apply, one, "/srv/begun1");
    apply
        .wait()
        .exits(130)
        .says_once("Interrupted: no further host is started; waiting for one.")
        .says_once("Interrupt once more to stop waiting: jobs go on on their hosts")
        .says("one changed ok=0 changed=1")
        .says("two cancelled")
        .says_once("not started: the run was interrupted before its turn")
        .says("2 hosts: 1 changed, 1 cancelled");
    assert!(one.path("/srv/done1").exists());
    assert!(!bed.host("two").path("/srv/runs1").exists());

    // Twice: nothing is waited for, and the next commands know.
    project.blueprint(&slow(2));
    let apply = project.start(&["apply", "-y", "-f", "1"]);
    interrupt(&apply, one, "/srv/begun2");
    std::thread::sleep(Duration::from_millis(300));
    apply.interrupt();
    let ended = apply.wait().exits(130);
    assert!(!one.path("/srv/done2").exists(), "it did not wait: {ended}");
    ended
        .says_once("Stopped waiting for one.")
        .says_once("how it ended is not known: it was left running")
        .says("run the command again: it asks the host first, and nothing is started twice")
        .says("2 hosts: 1 unknown, 1 cancelled");
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(1)
        .says("of an earlier run is still running; `holdfast apply -l one` waits for its own jobs and records them");
    project
        .run(&["apply", "-y"])
        .exits(0)
        .says_once("one: a job of an earlier run is still running; waiting for it to end")
        .says("2 hosts: 1 ok, 1 changed");
    assert_eq!(one.read("/srv/runs2"), "run\n");
    project.run(&["plan", "--detailed-exitcode"]).exits(0);

    // An ad-hoc command: no job, so nothing is promised, and what it printed is kept.
    let command = "echo said; touch /srv/heard; sleep 3";
    let run = project.start(&["run", "all", "-f", "1", "--", command]);
    interrupt(&run, one, "/srv/heard");
    run.wait()
        .exits(130)
        .says_once("Interrupted: no further host is started; waiting for one.")
        .says_once("Interrupt once more to stop waiting: the command may go on there, unseen.")
        .says("one\n  said\n")
        .says_once("not started: the run was interrupted before its turn")
        .says("2 hosts: 1 ok, 1 cancelled");
    for mode in ["-S", "--stream", "--json"] {
        one.inside("rm /srv/heard; sleep 0.1");
        let run = project.start(&["run", "all", mode, "-f", "1", "--", command]);
        interrupt(&run, one, "/srv/heard");
        std::thread::sleep(Duration::from_millis(300));
        run.interrupt();
        let ended = run.wait().exits(130);
        ended
            .says_once("Stopped waiting for one: the command may still be running there.")
            .says_once("said")
            .says_once("it may still be running on the host; look there before you run it again")
            .says_once("not started: the run was interrupted before its turn")
            .says_not("job");
    }
}
