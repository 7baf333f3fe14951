//! From a blueprint to ten converged hosts and back: plan, apply, nothing to do, drift, mend, undo.

use holdfast_tests::bed::{Bed, BedHost, HostSpec, Kind};
use holdfast_tests::fleet::{self, RESOURCES};
use holdfast_tests::project::Project;
use holdfast_tests::snapshot::Snapshot;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// On one host of each kind, a file, a link and a folder are in the way.
fn more_old_things(root: &Path) {
    fleet::put_old_things(root);
    fs::write(root.join("etc/bedweb.conf"), "by hand\n").expect("a file");
    fs::set_permissions(root.join("etc/bedweb.conf"), fs::Permissions::from_mode(0o600)).expect("a mode");
    std::os::unix::fs::symlink("elsewhere", root.join("srv/current")).expect("a link");
    fs::create_dir(root.join("srv/bedweb")).expect("a folder");
    fs::write(root.join("srv/bedweb/keep"), "mine\n").expect("a file in it");
}

fn starts(host: &BedHost) -> Vec<String> {
    host.read("/var/log/bedweb.log").lines().map(str::to_owned).collect()
}

/// Waits for the daemon's note of a start: a service manager returns before the daemon has written it.
fn wait_for_start(host: &BedHost, with: &str) {
    let began = Instant::now();
    while starts(host).last().map(String::as_str) != Some(&format!("started with {with}")) {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{}: {:?}",
            host.name,
            starts(host)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Change time and inode of what the blueprint manages: nothing may touch them without need.
fn touched(host: &BedHost) -> Vec<(u64, i64, i64)> {
    [
        "/etc/bedweb.conf",
        "/etc/legacy.conf",
        "/srv/bedweb",
        "/srv/current",
        "/etc/passwd",
        "/var/lib/counter/port",
    ]
    .iter()
    .map(|path| fs::symlink_metadata(host.path(path)).unwrap_or_else(|error| panic!("{}:{path}: {error}", host.name)))
    .map(|meta| (meta.ino(), meta.ctime(), meta.ctime_nsec()))
    .collect()
}

fn has_everything(host: &BedHost) {
    let name = &host.name;
    assert_eq!(host.read("/etc/bedweb.conf"), fleet::conf(name));
    assert_eq!(
        fs::metadata(host.path("/etc/bedweb.conf")).expect("it is there").mode() & 0o7777,
        0o640,
        "{name}"
    );
    assert_eq!(
        fs::metadata(host.path("/srv/bedweb")).expect("it is there").mode() & 0o7777,
        0o750,
        "{name}"
    );
    assert_eq!(
        fs::read_link(host.path("/srv/current")).expect("a link"),
        Path::new("bedweb"),
        "{name}"
    );
    assert_eq!(
        host.read("/etc/legacy.conf"),
        "zero = 0\nlast = 9\nfirst = 1\nsecond = 2\n",
        "{name}"
    );
    assert_eq!(
        fs::metadata(host.path("/etc/legacy.conf")).expect("it is there").mode() & 0o7777,
        0o604,
        "{name}"
    );
    assert!(
        host.read("/etc/passwd")
            .lines()
            .any(|line| line.starts_with("deploy:") && line.ends_with(":/bin/sh")),
        "{name}"
    );
    assert!(
        host.read("/var/spool/cron/crontabs/root")
            .contains("\n5 3 * * * /usr/bin/true rotate"),
        "{name}"
    );
    assert_eq!(host.read("/var/lib/counter/runs"), "run\n", "{name}");
    assert!(
        host.path("/usr/share/bedweb/words").exists(),
        "{name} lacks the dependency"
    );
}

#[test]
fn ten_hosts_converge_drift_are_mended_and_are_put_back() {
    let names: Vec<(String, Kind)> = (1..=5)
        .map(|number| (format!("sys{number:02}"), Kind::Systemd))
        .chain((1..=3).map(|number| (format!("old{number:02}"), Kind::Sysv)))
        .chain((1..=2).map(|number| (format!("red{number:02}"), Kind::Dnf)))
        .collect();
    let specs: Vec<HostSpec<'_>> = names
        .iter()
        .map(|(name, kind)| {
            let prepare: &dyn Fn(&Path) = if name.ends_with('1') {
                &more_old_things
            } else {
                &fleet::put_old_things
            };
            HostSpec {
                prepare: Some(prepare),
                ..HostSpec::new(name, *kind)
            }
        })
        .collect();
    let Some(bed) = Bed::start(&specs) else { return };
    bed.hosts.iter().for_each(BedHost::wait_until_booted);
    let project = Project::of(&bed);
    fleet::write(&project);
    let before: Vec<Snapshot> = bed.hosts.iter().map(Snapshot::take).collect();

    // A plan shows everything and writes nothing.
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(2)
        .says("package.bedweb")
        .says("+port=8080 on sys02")
        .says("on 10 of 10 hosts");
    for host in &bed.hosts {
        assert!(
            !host.path("/var/lib/holdfast").exists(),
            "{}: a plan made a state folder",
            host.name
        );
    }

    project.run(&["apply", "-y"]).exits(0).says("10 hosts: 10 changed");
    for host in &bed.hosts {
        has_everything(host);
        wait_for_start(host, &fleet::conf(&host.name));
    }
    let started: Vec<Vec<String>> = bed.hosts.iter().map(starts).collect();
    for (host, started) in bed.hosts.iter().zip(&started) {
        let with_ours = started.iter().filter(|line| line.contains("port=8080")).count();
        assert_eq!(with_ours, 1, "{} was restarted without need: {started:?}", host.name);
    }

    // Nothing to do, twice, and nothing is touched by it.
    let untouched: Vec<_> = bed.hosts.iter().map(touched).collect();
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("Nothing to do: 10 hosts are as desired");
    project
        .run(&["apply", "-y"])
        .exits(0)
        .says("(10) ok ok=10 changed=0 failed=0 skipped=0")
        .says("10 hosts: 10 ok");
    project.run(&["drift", "--detailed-exitcode"]).exits(0).says("No drift");

    // A change by hand is found, and only it is mended.
    let drifted = bed.host("sys03");
    fs::write(drifted.path("/etc/bedweb.conf"), "port=9999 by hand\n").expect("the host's file");
    let found = project.run(&["drift", "--detailed-exitcode"]).exits(2);
    let found = found
        .says("file./etc/bedweb.conf")
        .says("-port=9999 by hand")
        .says("+port=8080 on sys03");
    found
        .says("sys03")
        .says_not("sys02")
        .says("Drift: 1 resource on 1 of 10 hosts");
    project
        .run(&["apply", "-y"])
        .exits(0)
        .says("sys03 changed ok=9 changed=2 failed=0 skipped=0")
        .says("10 hosts: 9 ok, 1 changed");
    wait_for_start(drifted, &fleet::conf("sys03"));
    for ((host, untouched), started) in bed.hosts.iter().zip(&untouched).zip(&started) {
        if host.name == "sys03" {
            assert_eq!(touched(host)[1..], untouched[1..], "more than the file was touched");
            assert_eq!(
                starts(host).len(),
                started.len() + 1,
                "one restart for one change: {:?}",
                starts(host)
            );
        } else {
            assert_eq!(touched(host), *untouched, "{} was touched", host.name);
            assert_eq!(starts(host), *started, "{} was restarted", host.name);
        }
    }
    assert_eq!(drifted.read("/etc/bedweb.conf"), fleet::conf("sys03"));

    // What leaves the blueprint is taken back in reverse order, to what was there before.
    project.blueprint("");
    let plan = project.run(&["plan", "--detailed-exitcode", "-l", "red02"]).exits(2);
    let place = |address: &str| {
        // `-` takes away what was not there, `<` brings back what was.
        let taken_back = ["- ", "< "].map(|sign| plan.stdout.find(&format!("{sign}{address} ")));
        let place = taken_back.into_iter().flatten().next();
        place.unwrap_or_else(|| panic!("{address} is not taken back: {plan}"))
    };
    // On Debian the package started the service itself, so it was adopted, and goes with its package.
    project.run(&["plan", "-l", "sys02"]).exits(0).says("x service.bedweb");
    let order = [
        "script.counter",
        "service.bedweb",
        "cron.rotate",
        "user.deploy",
        "line.second",
        "line.first",
    ];
    let order = order.into_iter().chain([
        "symlink./srv/current",
        "file./etc/bedweb.conf",
        "directory./srv/bedweb",
        "package.bedweb",
    ]);
    let places: Vec<usize> = order.map(place).collect();
    assert!(places.is_sorted(), "not in reverse order: {plan}");
    assert_eq!(places.len(), RESOURCES);
    project.run(&["apply", "-y"]).exits(0).says("10 hosts: 10 changed");
    project.run(&["plan", "--detailed-exitcode"]).exits(0);
    let differences: Vec<String> = bed
        .hosts
        .iter()
        .zip(&before)
        .flat_map(|(host, before)| before.differences(host))
        .collect();
    assert!(differences.is_empty(), "not as before:\n{}", differences.join("\n"));
    for host in &bed.hosts {
        let crontab = fs::read_to_string(host.path("/var/spool/cron/crontabs/root")).unwrap_or_default();
        assert!(!crontab.contains("rotate"), "{}: {crontab}", host.name);
    }
}
