//! Steps that can't do their work: full disks, read-only mounts, steps that fail, hang or do nothing. Each host says
//! what happened and what to do, is counted by its kind, and the host beside them is converged.

use holdfast_tests::bed::{Bed, HostSpec, Kind};
use holdfast_tests::project::Project;

/// A host, what is wrong with it, and what it must say.
struct Case {
    host: &'static str,
    /// sh that makes it bad.
    spoil: &'static str,
    /// sh that mends it, if the next apply shall succeed.
    mend: Option<&'static str>,
    /// How it is counted, and the kind within that in JSON.
    counted: (&'static str, &'static str),
    message: &'static str,
    hint: &'static str,
}

const CASES: [Case; 9] = [
    Case {
        host: "full",
        spoil: "mkdir -p /srv/app; mount -t tmpfs -o size=64k tmpfs /srv/app; head -c 60000 /dev/zero >/srv/app/filler",
        mend: Some("rm /srv/app/filler"),
        counted: ("failed", "disk_full"),
        message: "file./srv/app/conf: no space left on the host (ended with code 1)",
        hint: "free space or inodes where it writes, then apply again",
    },
    Case {
        host: "packed",
        spoil: "mkdir -p /var/lib/holdfast; mount -t tmpfs -o size=64k,mode=700 tmpfs /var/lib/holdfast; head -c 60000 /dev/zero >/var/lib/holdfast/filler",
        mend: Some("umount /var/lib/holdfast"),
        counted: ("refused", "disk_full"),
        message: "no space left on the host: dd: error writing '/var/lib/holdfast/",
        hint: "free space or inodes where `state_dir` lies",
    },
    Case {
        host: "tight",
        spoil: "mkdir -p /var/lib/holdfast; mount -t tmpfs -o size=200k,mode=700 tmpfs /var/lib/holdfast",
        mend: Some("mount -o remount,size=10m /var/lib/holdfast"),
        counted: ("refused", "disk_full"),
        message: "KiB are free in /var/lib/holdfast, ",
        hint: "free space or inodes where `state_dir` lies",
    },
    Case {
        host: "readonly",
        spoil: "mkdir -p /srv/app; mount -t tmpfs tmpfs /srv/app; mount -o remount,ro /srv/app",
        mend: Some("mount -o remount,rw /srv/app"),
        counted: ("failed", "read_only"),
        message: "file./srv/app/conf: a file system is mounted read-only (ended with code 1)",
        hint: "remount it read-write, then apply again",
    },
    Case {
        host: "sealed",
        spoil: "mount -t tmpfs tmpfs /var/lib; mount -o remount,ro /var/lib",
        mend: Some("mount -o remount,rw /var/lib"),
        counted: ("refused", "read_only"),
        message: "a file system of the host is mounted read-only: mkdir: cannot create directory '/var/lib/holdfast'",
        hint: "remount it read-write, or set another `state_dir` in the inventory",
    },
    Case {
        host: "idle",
        spoil: "touch /srv/idle",
        mend: None,
        counted: ("failed", "not_converged"),
        message: "script.idle: apply ended well, but its check still fails",
        hint: "the step does not do what its probe looks for, or something changes it back: mend one of them",
    },
    Case {
        host: "broken",
        spoil: "touch /srv/broken",
        mend: None,
        counted: ("failed", "exit"),
        message: "script.broken: ended with code 7",
        hint: "mend the cause, then apply again: it goes on from this step",
    },
    Case {
        host: "slow",
        spoil: "touch /srv/slow",
        mend: None,
        counted: ("timed out", ""),
        message: "script.slow: ran out of time and was stopped",
        hint: "raise `timeout` of the resource, or find out why it hangs",
    },
    Case {
        host: "clumsy",
        spoil: "mkdir -p /var/lib; echo not a folder >/var/lib/holdfast",
        mend: Some("rm /var/lib/holdfast"),
        counted: ("refused", "no_state_dir"),
        message: "the state folder can't be used: mkdir: cannot create directory '/var/lib/holdfast': File exists",
        hint: "it has to be a folder of the user's own with mode 0700; see `state_dir`",
    },
];

/// More than the small disks hold.
fn blueprint() -> String {
    let content = "x".repeat(20_000);
    format!(
        r#"
[directory."/srv/app"]

[file."/srv/app/conf"]
content = "{content}"

[script.idle]
on = "idle"
check = "test -e /nowhere"
apply = "echo said by idle"

[script.broken]
on = "broken"
check = "test -e /nowhere"
apply = 'echo said by broken; printf "and\033[2J why\n" >&2; exit 7'

[script.never]
on = "broken"
check = "test -e /srv/never"
apply = "touch /srv/never"

[script.slow]
on = "slow"
check = "test -e /nowhere"
apply = "echo said by slow; sleep 60"
timeout = "1s"
"#
    )
}

#[test]
fn a_step_that_fails_is_told_with_its_kind_and_leaves_the_others_alone() {
    let names = CASES.iter().map(|case| case.host).chain(["well"]);
    let specs: Vec<HostSpec<'_>> = names.map(|name| HostSpec::new(name, Kind::Sysv)).collect();
    let Some(bed) = Bed::start(&specs) else { return };
    for case in &CASES {
        bed.host(case.host).inside(case.spoil);
    }
    let project = Project::of(&bed);
    project.blueprint(&blueprint());

    let mut apply = project.run(&["apply", "-y", "--no-diff"]).exits(2);
    for case in &CASES {
        apply = apply.says_once(case.message).says(case.hint);
        apply = apply.says(&format!("{} {} ok=", case.host, case.counted.0));
    }
    apply = apply.says_once("10 hosts: 1 changed, 4 failed, 1 timed out, 4 refused");
    // The last words stand between what happened and what to do; control bytes are shown, not obeyed.
    apply = apply.says("    | said by idle\n").says("    | said by slow\n");
    apply = apply
        .says("script.broken: ended with code 7\n    | said by broken\n    | and\\u{1b}[2J why\n    mend the cause");
    apply.says("broken failed ok=0 changed=2 failed=1 skipped=1");
    assert_eq!(bed.host("well").read("/srv/app/conf").len(), 20_000);
    assert!(
        !bed.host("broken").path("/srv/never").exists(),
        "what comes after a failed step does not run"
    );

    // The same in JSON; what was converged stays so.
    let json = project.run(&["apply", "-y", "--json"]).exits(2).json();
    assert_eq!(json["recap"]["ok"], 1, "{json}");
    assert_eq!(json["recap"]["failed"], 4, "{json}");
    assert_eq!(json["recap"]["timed_out"], 1, "{json}");
    assert_eq!(json["recap"]["refused"], 4, "{json}");
    for case in &CASES {
        let rows = json["hosts"].as_array().expect("rows");
        let row = rows
            .iter()
            .find(|row| row["host"] == case.host)
            .expect("each has a row");
        assert_eq!(row["outcome"]["outcome"], case.counted.0.replace(' ', "_"), "{row}");
        let kind = &row["outcome"]["kind"];
        let kind = kind.get("kind").unwrap_or(kind).as_str().unwrap_or_default();
        assert_eq!(kind, case.counted.1, "{row}");
        assert!(row["message"].as_str().expect("text").contains(case.message), "{row}");
        assert!(row["hint"].as_str().expect("text").contains(case.hint), "{row}");
    }

    // Mended hosts go on by themselves, with nothing to clear away.
    let mut mended = Vec::new();
    for case in &CASES {
        if let Some(mend) = case.mend {
            bed.host(case.host).inside(mend);
            mended.push(case.host);
        }
    }
    let pattern = mended.join(",");
    let changed = format!("{0} hosts: {0} changed", mended.len());
    project
        .run(&["apply", "-y", "--no-diff", "-l", &pattern])
        .exits(0)
        .says(&changed);
    project.run(&["plan", "--detailed-exitcode", "-l", &pattern]).exits(0);
    for host in mended {
        // Some of it lies on mounts that only the host sees.
        assert_eq!(bed.host(host).inside("wc -c </srv/app/conf").trim(), "20000", "{host}");
    }
}
