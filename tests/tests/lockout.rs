//! Real hosts whose sshd, keys or network a blueprint breaks: they come back by themselves (LEGACY L10), also when the
//! controller is killed meanwhile; and a good change is confirmed over a new connection.

use holdfast_tests::bed::{Bed, BedHost, HostSpec, Kind};
use holdfast_tests::project::Project;
use holdfast_tests::slow::wait_until;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// How long nobody may confirm before a host takes a change back: short, so that the tests are.
const CONFIRM: &str = "confirm_timeout = \"6s\"\n";

/// The service that runs sshd, which these blueprints restart.
const SSH: &str = "[service.ssh]\nrunning = true\nrestart_on = [\"file./etc/ssh/sshd_config\"]\n";

/// A blueprint that breaks the way in, by what it breaks. GOOD is the host's own sshd_config.
const BREAKS: [(&str, &str); 5] = [
    (
        "a config that sshd refuses",
        "[file.\"/etc/ssh/sshd_config\"]\ncontent = '''\nGOODNoSuchKeyword yes\n'''\nSSH",
    ),
    (
        "a port where nobody knocks",
        "[file.\"/etc/ssh/sshd_config\"]\ncontent = '''\nPort 2222\nGOOD'''\nSSH",
    ),
    (
        "keys that are not ours",
        "[file.\"/root/.ssh/authorized_keys\"]\ncontent = \"# nobody\\n\"\n",
    ),
    ("an sshd that does not run", "[service.ssh]\nrunning = false\n"),
    (
        "a way back that is gone",
        "[script.drop]\ncritical = true\ncheck = 'ip route show type blackhole | grep -q .'\n\
         apply = 'ip route add blackhole BACK/32'\nundo = 'ip route del blackhole BACK/32 2>/dev/null || :'\n",
    ),
];

fn blueprint(text: &str, host: &BedHost) -> String {
    // Who speaks to a host is the bridge's own address: the first of its network.
    let [a, b, c, _] = host.address.octets();
    text.replace("SSH", SSH)
        .replace("GOOD", &host.read("/etc/ssh/sshd_config"))
        .replace("BACK", &format!("{a}.{b}.{c}.1"))
}

/// The end of every job on a host, as it lies there.
fn ends(host: &BedHost) -> Vec<String> {
    let Ok(jobs) = fs::read_dir(host.path("/var/lib/holdfast/jobs")) else {
        return Vec::new();
    };
    jobs.filter_map(|job| fs::read_to_string(job.ok()?.path().join("rc")).ok())
        .collect()
}

fn each_break(kind: Kind) {
    let names: Vec<String> = (1..=BREAKS.len()).map(|n| format!("host{n}")).collect();
    let specs: Vec<HostSpec<'_>> = names.iter().map(|name| HostSpec::new(name, kind)).collect();
    let Some(bed) = Bed::start(&specs) else { return };
    let project = Project::with_hosts(&bed, |_| CONFIRM.to_owned());
    let files = |host: &BedHost| {
        let read = |path: &str| (host.read(path), host.inside(&format!("stat -c '%a %u %g' {path}")));
        (read("/etc/ssh/sshd_config"), read("/root/.ssh/authorized_keys"))
    };
    let before: Vec<_> = bed.hosts.iter().map(files).collect();
    for ((what, text), host) in BREAKS.iter().zip(&bed.hosts) {
        let text = format!("on = \"{}\"\n{}", host.name, blueprint(text, host));
        project.write(&format!("blueprints/{}.toml", host.name), &text);
        assert!(!text.contains("BACK"), "{what}");
    }
    project.run(&["plan"]).exits(0).says("guarded");
    let applied = project.run(&["apply", "-y"]);
    assert!(matches!(applied.code, Some(2 | 4 | 6)), "{applied}");
    for (((what, _), host), before) in BREAKS.iter().zip(&bed.hosts).zip(&before) {
        let door = SocketAddr::from((host.address, 22));
        wait_until(what, || {
            files(host) == *before && TcpStream::connect_timeout(&door, Duration::from_secs(1)).is_ok()
        });
    }
    // Whoever they were, they can be reached again, and say what happened.
    for ((what, _), host) in BREAKS.iter().zip(&bed.hosts) {
        let reached = project.run(&["run", &host.name, "--", "echo", "here"]);
        assert_eq!(reached.code, Some(0), "{what}: {reached}");
    }
    project.blueprint("");
    for name in &names {
        project.write(&format!("blueprints/{name}.toml"), "");
    }
    project.run(&["apply", "-y"]).exits(0);
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("Nothing to do");
}

#[test]
fn a_systemd_host_that_a_blueprint_locks_out_comes_back_by_itself() {
    each_break(Kind::Systemd);
}

#[test]
fn a_sysv_host_that_a_blueprint_locks_out_comes_back_by_itself() {
    each_break(Kind::Sysv);
}

#[test]
fn a_host_comes_back_when_the_controller_is_killed_meanwhile() {
    let Some(bed) = Bed::start(&[HostSpec::new("sys", Kind::Systemd), HostSpec::new("old", Kind::Sysv)]) else {
        return;
    };
    let project = Project::with_hosts(&bed, |_| CONFIRM.to_owned());
    let good: Vec<String> = bed.hosts.iter().map(|host| host.read("/etc/ssh/sshd_config")).collect();
    // Nobody could ever confirm this one, whoever lives.
    change_sshd(&project, &bed, "Port 2222");
    let apply = project.start(&["apply", "-y"]);
    for host in &bed.hosts {
        wait_until("the change is on its way", || {
            Path::new(&host.path("/var/lib/holdfast/jobs")).exists()
                && host
                    .inside("ls -d /var/lib/holdfast/jobs/*/guard 2>/dev/null || :")
                    .contains("guard")
        });
    }
    apply.kill();
    for (host, good) in bed.hosts.iter().zip(&good) {
        wait_until("it is taken back", || !ends(host).is_empty());
        let ends = ends(host);
        assert!(
            ends.iter().all(|end| end.contains(" reverted ")),
            "{}: {ends:?}",
            host.name
        );
        assert_eq!(host.read("/etc/ssh/sshd_config"), *good, "{}", host.name);
        let address = SocketAddr::from((host.address, 22));
        wait_until("it answers where we knock", || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        });
    }
    // A later command learns of it; what is good is confirmed.
    change_sshd(&project, &bed, "# ours");
    project.run(&["apply", "-y"]).exits(0);
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("Nothing to do");
}

// LEGACY L10. The guard dies with its host: what it left word of is done at the next boot, before anybody could come.
#[test]
fn a_host_that_goes_down_before_it_is_decided_takes_the_change_back_when_it_boots() {
    let Some(mut bed) = Bed::start(&[HostSpec::new("sys", Kind::Systemd), HostSpec::new("old", Kind::Sysv)]) else {
        return;
    };
    bed.hosts.iter().for_each(BedHost::wait_until_booted);
    // Longer than the test: no guard's time is over.
    let project = Project::with_hosts(&bed, |_| "confirm_timeout = \"10m\"\n".to_owned());
    let good: Vec<String> = bed.hosts.iter().map(|host| host.read("/etc/ssh/sshd_config")).collect();
    change_sshd(&project, &bed, "Port 2222");
    let apply = project.start(&["apply", "-y"]);
    for host in &mut bed.hosts {
        wait_until("the change is made, and waits", || {
            host.inside("ls -d /var/lib/holdfast/jobs/*/guard/over 2>/dev/null || :")
                .contains("over")
        });
        host.cut_power();
    }
    apply.kill();
    bed.hosts.iter_mut().for_each(BedHost::boot_again);
    for (host, good) in bed.hosts.iter().zip(&good) {
        let address = SocketAddr::from((host.address, 22));
        wait_until("it answers where we knock", || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        });
        wait_until("it is over", || !ends(host).is_empty());
        let ends = ends(host);
        assert!(
            ends.iter().all(|end| end.contains(" reverted ")),
            "{}: {ends:?}",
            host.name
        );
        assert_eq!(host.read("/etc/ssh/sshd_config"), *good, "{}", host.name);
        for told in [
            "/etc/cron.d/holdfast-guard",
            "/etc/systemd/system/holdfast-guard.service",
            "/etc/systemd/system/multi-user.target.wants/holdfast-guard.service",
        ] {
            assert!(host.path(told).symlink_metadata().is_err(), "{}: {told}", host.name);
        }
    }
    change_sshd(&project, &bed, "# ours");
    let next = project.run(&["apply", "-y"]);
    next.exits(0);
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("Nothing to do");
}

/// Declares the host's own sshd_config with a line before it, and the restart that follows.
fn change_sshd(project: &Project, bed: &Bed, line: &str) {
    for host in &bed.hosts {
        let text = format!(
            "on = \"{}\"\n[file.\"/etc/ssh/sshd_config\"]\ncontent = '''\n{line}\nGOOD'''\nSSH",
            host.name
        );
        project.write(&format!("blueprints/{}.toml", host.name), blueprint(&text, host));
    }
}

#[test]
fn a_good_change_is_confirmed_and_stays() {
    let Some(bed) = Bed::start(&[HostSpec::new("sys", Kind::Systemd), HostSpec::new("old", Kind::Sysv)]) else {
        return;
    };
    // Nobody waits ten minutes here: it ends because it is confirmed.
    let project = Project::with_hosts(&bed, |_| "confirm_timeout = \"10m\"\n".to_owned());
    change_sshd(&project, &bed, "# ours");
    project.run(&["apply", "-y"]).exits(0);
    for host in &bed.hosts {
        assert!(host.read("/etc/ssh/sshd_config").contains("# ours"), "{}", host.name);
    }
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("Nothing to do");
}
