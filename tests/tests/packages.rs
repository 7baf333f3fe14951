//! Packages on real hosts: what an undo takes, what it leaves, and what the plan says of both.

use holdfast_tests::bed::{Bed, BedHost, HostSpec, Kind};
use holdfast_tests::packages::{DATABASE, offer};
use holdfast_tests::project::Project;
use std::path::Path;

const WITH_DATABASE: &str = "[package.beddb]\n[service.beddb]\nrunning = true\nneeds = [\"package.beddb\"]\n";

fn offer_debs(root: &Path) {
    offer(root, Kind::Systemd, &DATABASE);
}

fn offer_rpms(root: &Path) {
    offer(root, Kind::Dnf, &DATABASE);
}

/// A host of each package manager, with the packages of the test on offer.
fn start() -> Option<(Bed, Project)> {
    let bed = Bed::start(&[
        HostSpec {
            prepare: Some(&offer_debs),
            ..HostSpec::new("sys", Kind::Systemd)
        },
        HostSpec {
            prepare: Some(&offer_rpms),
            ..HostSpec::new("red", Kind::Dnf)
        },
    ])?;
    bed.hosts.iter().for_each(BedHost::wait_until_booted);
    let project = Project::of(&bed);
    Some((bed, project))
}

/// The host's own list of what is installed, as the tools of its people show it.
fn installed(host: &BedHost) -> Vec<String> {
    let list = if host.name == "red" {
        host.inside("rpm -qa --qf '%{NAME}\\n' | sort")
    } else {
        host.inside("dpkg-query -W -f '${Package} ${Status}\\n' | awk '$4 == \"installed\" { print $1 }'")
    };
    list.lines().map(str::to_owned).collect()
}

fn has(host: &BedHost, package: &str) -> bool {
    installed(host).iter().any(|name| name == package)
}

fn by_hand(host: &BedHost, what: &str, packages: &str) {
    if host.name == "red" {
        host.inside(&format!("dnf -y -q {what} {packages}"));
    } else {
        host.inside(&format!(
            "DEBIAN_FRONTEND=noninteractive apt-get -y -q {what} {packages}"
        ));
    }
}

// REVIEW B5; issue 8, done when 6.
#[test]
fn a_database_that_leaves_the_blueprint_leaves_its_data_says_so_and_is_found_again() {
    let Some((bed, project)) = start() else { return };
    let before: Vec<_> = bed.hosts.iter().map(installed).collect();
    project.blueprint(WITH_DATABASE);
    project.run(&["apply", "-y"]).exits(0);
    project.run(&["plan", "--detailed-exitcode"]).exits(0);
    for host in &bed.hosts {
        host.inside("echo rows >/var/lib/beddb/rows; echo 'port = 2' >/etc/beddb.conf");
    }

    project.blueprint("");
    let plan = project.run(&["plan", "--detailed-exitcode"]).exits(2);
    plan.says("beddb")
        .says("configuration and data stay")
        .says("in use")
        .says("beddbd (1)");
    let json = project.run(&["plan", "--json"]).exits(0).stdout;
    assert!(json.contains("configuration and data stay"), "{json}");
    project
        .run(&["apply", "-y"])
        .exits(0)
        .says("configuration and data stay of beddb");
    for (host, before) in bed.hosts.iter().zip(&before) {
        assert_eq!(installed(host), *before, "{}", host.name);
        assert_eq!(host.read("/var/lib/beddb/rows"), "rows\n", "{}", host.name);
    }
    assert_eq!(bed.host("sys").read("/etc/beddb.conf"), "port = 2\n");
    project.run(&["plan", "--detailed-exitcode"]).exits(0);

    project.blueprint(WITH_DATABASE);
    project.run(&["apply", "-y"]).exits(0);
    for host in &bed.hosts {
        assert!(has(host, "beddb"), "{}", host.name);
        assert_eq!(host.read("/var/lib/beddb/rows"), "rows\n", "{}", host.name);
    }

    // Told to, it purges; what had left its configuration behind before the install is removed only, so this host has
    // to forget first.
    project.blueprint("");
    project.run(&["apply", "-y", "-l", "sys"]).exits(0);
    by_hand(bed.host("sys"), "purge", "beddb");
    project.blueprint("[package.beddb]\nundo = \"purge\"\n");
    project.run(&["apply", "-y", "-l", "sys"]).exits(0);
    project.blueprint("");
    project
        .run(&["plan", "-l", "sys"])
        .exits(0)
        .says("with their configuration and data");
    project.run(&["apply", "-y", "-l", "sys"]).exits(0);
    assert!(!bed.host("sys").path("/var/lib/beddb").exists());
    assert!(!bed.host("sys").path("/etc/beddb.conf").exists());
}

// REVIEW H4: the second install of the same life found more on the host than the first one.
#[test]
fn what_others_installed_since_stays_and_so_does_what_they_need() {
    let Some((bed, project)) = start() else { return };
    project.blueprint("[package.beddb]\n");
    project.run(&["apply", "-y"]).exits(0);
    for host in &bed.hosts {
        by_hand(host, "install", "bedtool lonely");
        by_hand(host, "remove", "beddb");
    }
    project.run(&["apply", "-y"]).exits(0);
    bed.hosts
        .iter()
        .for_each(|host| assert!(has(host, "beddb"), "{}", host.name));
    project.blueprint("");
    project.run(&["apply", "-y"]).exits(0).says("libbed");
    for host in &bed.hosts {
        assert!(!has(host, "beddb"), "{}", host.name);
        for kept in ["bedtool", "lonely", "libbed"] {
            assert!(has(host, kept), "{}: {kept} is gone", host.name);
        }
    }
}

// One that others need by now stays; the last of ours that needs it takes it along.
#[test]
fn what_two_packages_need_goes_with_the_last_of_them() {
    let Some((bed, project)) = start() else { return };
    let before: Vec<_> = bed.hosts.iter().map(installed).collect();
    project.blueprint("[package.libbed]\n[package.beddb]\n");
    project.run(&["apply", "-y"]).exits(0);
    project.blueprint("[package.beddb]\n[package.bedtool]\n");
    let plan = project.run(&["plan"]).exits(0);
    plan.says("libbed stays: needed by");
    project
        .run(&["apply", "-y"])
        .exits(0)
        .says("package libbed is kept: needed by");
    project.blueprint("[package.bedtool]\n");
    project.run(&["apply", "-y"]).exits(0);
    for host in &bed.hosts {
        assert!(!has(host, "beddb"), "{}", host.name);
        assert!(has(host, "libbed"), "{}", host.name);
    }
    project.blueprint("");
    project.run(&["apply", "-y"]).exits(0);
    for (host, before) in bed.hosts.iter().zip(&before) {
        assert_eq!(installed(host), *before, "{}", host.name);
    }
}

// What came along is adopted by nobody: it goes with the resource that declares it, and not before.
#[test]
fn what_an_install_brought_along_goes_when_the_resource_that_declares_it_later_leaves() {
    let Some((bed, project)) = start() else { return };
    let before: Vec<_> = bed.hosts.iter().map(installed).collect();
    project.blueprint("[package.beddb]\n");
    project.run(&["apply", "-y"]).exits(0);
    project.blueprint("[package.libbed]\n");
    project.run(&["plan"]).exits(0).says("brought: yes -> no");
    project.run(&["apply", "-y"]).exits(0);
    project.run(&["plan", "--detailed-exitcode"]).exits(0);
    for host in &bed.hosts {
        assert!(!has(host, "beddb") && has(host, "libbed"), "{}", host.name);
    }
    project.blueprint("");
    project.run(&["apply", "-y"]).exits(0);
    for (host, before) in bed.hosts.iter().zip(&before) {
        assert_eq!(installed(host), *before, "{}", host.name);
    }

    // Declared together, and one leaves after the other.
    project.blueprint("[package.beddb]\n[package.libbed]\n");
    project.run(&["apply", "-y"]).exits(0);
    project.run(&["plan", "--detailed-exitcode"]).exits(0);
    project.blueprint("[package.libbed]\n");
    project.run(&["apply", "-y"]).exits(0);
    bed.hosts
        .iter()
        .for_each(|host| assert!(has(host, "libbed"), "{}", host.name));
    project.blueprint("");
    project.run(&["apply", "-y"]).exits(0);
    for (host, before) in bed.hosts.iter().zip(&before) {
        assert_eq!(installed(host), *before, "{}", host.name);
    }

    // What a person asks for while it is there stays, once the package manager knows.
    project.blueprint("[package.beddb]\n");
    project.run(&["apply", "-y"]).exits(0);
    bed.host("sys").inside("apt-mark manual libbed >/dev/null");
    bed.host("red").inside("dnf -q -y mark install libbed");
    project.blueprint("");
    project.run(&["apply", "-y"]).exits(0);
    for host in &bed.hosts {
        assert!(!has(host, "beddb") && has(host, "libbed"), "{}", host.name);
        by_hand(host, "remove", "libbed");
    }

    // A person's own stays a person's.
    for host in &bed.hosts {
        by_hand(host, "install", "libbed");
    }
    project.blueprint("[package.beddb]\n");
    project.run(&["apply", "-y"]).exits(0);
    project.blueprint("[package.libbed]\n");
    project.run(&["apply", "-y"]).exits(0).says("= package.libbed");
    project.blueprint("");
    project.run(&["apply", "-y"]).exits(0);
    for host in &bed.hosts {
        assert!(has(host, "libbed"), "{}", host.name);
    }
}

#[test]
fn a_package_is_kept_when_told_on_hold_or_half_installed() {
    let Some((bed, project)) = start() else { return };
    let sys = bed.host("sys");
    project.blueprint("[package.lonely]\nundo = \"keep\"\n[package.bedtool]\n");
    project.run(&["apply", "-y"]).exits(0);
    sys.inside("apt-mark hold bedtool");
    project.blueprint("");
    let plan = project.run(&["plan"]).exits(0);
    plan.says("x package.lonely").says("its `undo` is \"keep\"");
    let apply = project.run(&["apply", "-y"]).exits(0);
    apply.says("package bedtool is kept: on hold");
    for host in &bed.hosts {
        assert!(has(host, "lonely"), "{}", host.name);
    }
    assert!(has(sys, "bedtool"));
    assert!(!has(bed.host("red"), "bedtool"));
    project.blueprint("[package.bedtool]\nensure = \"absent\"\n");
    project.run(&["plan", "-l", "sys"]).says("package bedtool is on hold");

    // An interrupted dpkg is for a person; the way out is said.
    sys.inside("apt-get -y -q install libbed >/dev/null; dpkg --unpack /srv/repo/beddb.deb >/dev/null");
    project.blueprint("[package.beddb]\n");
    let refused = project.run(&["plan", "-l", "sys"]);
    refused.says("package beddb is `unpacked`").says("dpkg --configure -a");
    sys.inside("dpkg --configure -a >/dev/null");
    project
        .run(&["plan", "-l", "sys", "--detailed-exitcode"])
        .says("= package.beddb");
}

#[test]
fn a_plan_that_would_take_the_running_sshd_away_warns() {
    let Some((_bed, project)) = start() else { return };
    project.blueprint("[package.openssh-server]\nensure = \"absent\"\n");
    let plan = project.run(&["plan", "-l", "sys"]);
    plan.says("the SSH server that runs on the host belongs to it");
}

// REVIEW A7.
#[test]
fn a_package_named_with_its_architecture_converges() {
    let Some((_bed, project)) = start() else { return };
    project.blueprint("[package.\"libc6:amd64\"]\n[package.\"bash:amd64\"]\n");
    project
        .run(&["plan", "-l", "sys"])
        .exits(0)
        .says("= package.libc6:amd64")
        .says("= package.bash:amd64");
    project.blueprint("[package.\"libbed.noarch\"]\n");
    project.run(&["apply", "-y", "-l", "red"]).exits(0);
    project.run(&["plan", "-l", "red", "--detailed-exitcode"]).exits(0);
}

// REVIEW U10: a file of the package, with another content by a resource, goes with the package, and comes back with the
// same apply.
#[test]
fn a_managed_file_that_leaves_with_its_package_is_back_after_the_same_apply() {
    let Some((bed, project)) = start() else { return };
    let words = "[file.\"/usr/share/lonely/words\"]\ncontent = \"ours\"\n";
    let folder = "[directory.\"/usr/share/lonely\"]\n";
    project.blueprint(&format!("[package.lonely]\n{folder}{words}"));
    project.run(&["apply", "-y"]).exits(0);
    project.blueprint(&format!("{folder}{words}"));
    project
        .run(&["plan"])
        .exits(0)
        .says("looked at again after package.lonely");
    project.run(&["apply", "-y"]).exits(0);
    for host in &bed.hosts {
        assert!(!has(host, "lonely"), "{}", host.name);
        assert_eq!(host.read("/usr/share/lonely/words"), "ours", "{}", host.name);
    }
    project.run(&["plan", "--detailed-exitcode"]).exits(0);
}
