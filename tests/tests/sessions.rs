//! What `sshd` sees of a run: sessions that are closed when their host is done, and answers of what is not our shell.

use holdfast_tests::bed::{Bed, HostSpec, Kind};
use holdfast_tests::project::Project;
use holdfast_tests::slow::wait_until;
use std::fmt::Write as _;

/// Connections to port 22 that are open on a host.
fn open_connections(host: &holdfast_tests::bed::BedHost) -> usize {
    // Field 2 is the local address, 0016 its port; 01 is ESTABLISHED.
    let table = host.inside("cat /proc/net/tcp");
    let is_ours = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() > 3 && fields[1].ends_with(":0016") && fields[3] == "01"
    };
    table.lines().filter(is_ours).count()
}

// REVIEW C3
#[test]
fn sessions_of_refused_hosts_are_closed_before_the_run_is_over() {
    let Some(bed) = Bed::start(&[HostSpec::new("one", Kind::Sysv)]) else {
        return;
    };
    let one = bed.host("one");
    let project = Project::of(&bed);
    // Twelve names for it; eleven can't use their state folder and are refused when their job comes.
    let mut inventory = String::new();
    for number in 1..=12 {
        writeln!(
            inventory,
            "[hosts.h{number:02}]\naddress = \"{}\"\nstate_dir = \"/srv/state{number}\"",
            one.address
        )
        .expect("a String takes it");
    }
    project.write("inventory.toml", inventory);
    one.inside("for n in 1 2 3 4 5 6 7 8 9 10 11; do echo a file >/srv/state$n; done");
    project.blueprint(
        "[script.wait]\ncheck = 'test -e /srv/never'\napply = 'touch /srv/begun; until test -e /srv/go; do sleep 0.1; done'\n",
    );
    let apply = project.start(&["apply", "-y", "-f", "2"]);
    wait_until("the last host's step runs", || one.path("/srv/begun").exists());
    wait_until("only its session is open", || open_connections(one) <= 1);
    std::fs::write(one.path("/srv/go"), "").expect("the host's file");
    apply.wait().exits(2).says("11 refused");
}

// REVIEW C8
#[test]
fn a_command_that_never_ran_is_not_ok_and_the_hosts_words_are_kept() {
    let specs = ["forced", "closed"].map(|name| HostSpec::new(name, Kind::Sysv));
    let Some(bed) = Bed::start(&specs) else { return };
    let project = Project::of(&bed);
    bed.host("forced")
        .inside("sed -i 's/^/command=\"echo back at nine\" /' /root/.ssh/authorized_keys");
    bed.host("closed").inside("usermod -s /usr/sbin/nologin root");
    let run = project
        .run(&["run", "all", "--no-input", "--", "touch /srv/ran"])
        .exits(4);
    run.says("before the command began; it said: back at nine")
        .says("it said: This account is currently not available.")
        .says("2 hosts: 2 unreachable");
    for host in &bed.hosts {
        assert!(!host.path("/srv/ran").exists());
    }
}
