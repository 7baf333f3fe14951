//! What people are told of a way back, for each type: in words that say what the sh does.

use holdfast_plan::observation::Attributes;
use holdfast_plan::resource::{
    Cron, Directory, Ensure, File, Group, Lifecycle, Line, OnUndo, Package, Script, Service, Symlink, UndoKind, User,
};

fn attributes(words: &str) -> Attributes {
    let pairs = words.split(", ").filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once(' ').expect("a key and a value");
        (key.to_owned(), value.to_owned())
    });
    Attributes(pairs.collect())
}

fn file() -> File {
    File {
        path: "/etc/motd".to_owned(),
        ensure: Ensure::Present,
        content: None,
        mode: None,
        owner: None,
        group: None,
        sensitive: false,
        validate: None,
    }
}

fn directory() -> Directory {
    Directory {
        path: "/srv/x".to_owned(),
        ensure: Ensure::Present,
        mode: None,
        owner: None,
        group: None,
    }
}

fn symlink() -> Symlink {
    Symlink {
        path: "/srv/x".to_owned(),
        ensure: Ensure::Present,
        target: "a".to_owned(),
    }
}

fn line() -> Line {
    Line {
        path: "/etc/hosts".to_owned(),
        ensure: Ensure::Present,
        line: "10.0.0.1 ntp".to_owned(),
        validate: None,
    }
}

fn package(undo: OnUndo) -> Package {
    Package {
        name: "nginx".to_owned(),
        ensure: Ensure::Present,
        undo,
    }
}

fn service() -> Service {
    Service {
        name: "nginx".to_owned(),
        running: Some(true),
        enabled: Some(true),
    }
}

fn user() -> User {
    User {
        name: "sam".to_owned(),
        ensure: Ensure::Present,
        uid: None,
        group: None,
        groups: None,
        home: None,
        shell: None,
        comment: None,
        system: false,
    }
}

fn group() -> Group {
    Group {
        name: "www".to_owned(),
        ensure: Ensure::Present,
        gid: None,
        system: false,
    }
}

fn cron() -> Cron {
    Cron {
        name: "rotate".to_owned(),
        ensure: Ensure::Present,
        user: None,
        schedule: "@daily".to_owned(),
        command: "true".to_owned(),
    }
}

// Issue 8, "Done when" 9.
#[test]
fn each_type_says_what_its_undo_does() {
    use UndoKind::{Remove, Restore};
    let (remove, purge) = (package(OnUndo::Remove), package(OnUndo::Purge));
    let so = "changes nothing: it was so before";
    let cases: &[(&dyn Lifecycle, &str, &str, UndoKind, &str)] = &[
        (
            &file(),
            "type absent",
            "type file, digest sha256:a",
            Remove,
            "removes it",
        ),
        (&file(), "type absent", "type absent", Restore, so),
        (
            &file(),
            "type file, digest sha256:b",
            "type file, digest sha256:a",
            Restore,
            "puts back the file that was there",
        ),
        (
            &file(),
            "type file, digest sha256:b",
            "type absent",
            Restore,
            "puts back the file that was there",
        ),
        (
            &file(),
            "type symlink, target /b",
            "type file",
            Restore,
            "puts back the symlink that was there",
        ),
        (
            &file(),
            "type directory",
            "type file",
            Restore,
            "puts back the directory that was there",
        ),
        (
            &file(),
            "type file, mode 0600, owner sam, digest sha256:a",
            "type file, mode 0644, owner root, digest sha256:a",
            Restore,
            "sets mode to `0600`, owner to `sam` again",
        ),
        (
            &file(),
            "type file, mode 0600, digest sha256:a",
            "type file, digest sha256:a",
            Restore,
            so,
        ),
        (&directory(), "type absent", "type directory", Remove, "removes it"),
        (
            &directory(),
            "type directory, mode 0700",
            "type directory, mode 0755",
            Restore,
            "sets mode to `0700` again",
        ),
        (
            &directory(),
            "type directory, mode 0700",
            "type absent",
            Restore,
            "puts back the directory that was there",
        ),
        (
            &symlink(),
            "type absent",
            "type symlink, target a",
            Remove,
            "removes it",
        ),
        (
            &symlink(),
            "type symlink, target b",
            "type symlink, target a",
            Restore,
            "puts back the symlink that was there",
        ),
        (
            &symlink(),
            "type symlink, target a",
            "type symlink, target a",
            Restore,
            so,
        ),
        (
            &line(),
            "type absent, line absent",
            "type file, line present",
            Remove,
            "takes the line out, and the file with it",
        ),
        (
            &line(),
            "type file, line absent",
            "type file, line present",
            Remove,
            "takes the line out",
        ),
        (
            &line(),
            "type file, line present",
            "line absent",
            Restore,
            "puts the line back where it stood",
        ),
        (
            &line(),
            "type file, line present",
            "type file, line present",
            Restore,
            so,
        ),
        (
            &remove,
            "installed no",
            "installed yes",
            Remove,
            "removes it and what came with it",
        ),
        (
            &purge,
            "installed no",
            "installed yes",
            Remove,
            "purges it and what came with it, with their configuration and data",
        ),
        (
            &remove,
            "installed yes, version 1.2",
            "installed no",
            Restore,
            "installs it again, 1.2 if it can be had",
        ),
        (&remove, "installed yes, version 1.2", "installed yes", Restore, so),
        (
            &remove,
            "installed yes, version 1.2, brought yes",
            "installed yes",
            Remove,
            "removes it and what came with it",
        ),
        (
            &service(),
            "unit found, running no, enabled no",
            "running yes, enabled yes",
            Restore,
            "stops and disables it, and removes nothing",
        ),
        (
            &service(),
            "unit found, running yes, enabled no",
            "running yes, enabled yes",
            Restore,
            "disables it, and removes nothing",
        ),
        (
            &service(),
            "unit found, running yes, enabled yes",
            "running no",
            Restore,
            "starts it, and removes nothing",
        ),
        (
            &service(),
            "unit found, running yes, enabled static",
            "running yes",
            Restore,
            so,
        ),
        (&user(), "exists no", "exists yes", Remove, "removes the account"),
        (
            &user(),
            "exists yes, uid 1001, shell /bin/sh",
            "exists yes, shell /bin/bash",
            Restore,
            "sets shell to `/bin/sh` again",
        ),
        (
            &user(),
            "exists yes, uid 1001",
            "exists no",
            Restore,
            "makes the account again, with the numbers, groups and password that it had",
        ),
        (&group(), "exists no", "exists yes, gid 70", Remove, "removes the group"),
        (
            &group(),
            "exists yes, gid 7",
            "exists yes, gid 70",
            Restore,
            "sets gid to `7` again",
        ),
        (
            &group(),
            "exists yes, gid 7",
            "exists no",
            Restore,
            "makes the group again, with its number and members",
        ),
        (
            &cron(),
            "exists no",
            "exists yes, line @daily true",
            Remove,
            "takes its line out of the crontab",
        ),
        (
            &cron(),
            "exists yes, line @daily x",
            "exists yes, line @daily true",
            Restore,
            "puts back the line that was there",
        ),
        (
            &cron(),
            "exists yes, line @daily true",
            "exists yes, line @daily true",
            Restore,
            so,
        ),
    ];
    for (resource, before, put, kind, does) in cases {
        let undoing = resource.undoing(&attributes(before), &attributes(put));
        assert_eq!(
            (undoing.kind, undoing.does.as_str()),
            (*kind, *does),
            "{:?}: {before} -> {put}",
            resource.kind()
        );
    }
}

// Issue 8, "Done when" 9.
#[test]
fn each_type_says_what_was_there() {
    let script = Script {
        name: "join".to_owned(),
        check: "true".to_owned(),
        apply: holdfast_plan::content::Blobs::default().insert(&b"true"[..]),
        undo: None,
        env: Vec::new(),
    };
    let sha = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let file_words = format!("type file, mode 0644, owner root, group wheel, size 120, digest sha256:{sha}");
    let cases: &[(&dyn Lifecycle, &str, &str)] = &[
        (&file(), "type absent", "absent"),
        (
            &file(),
            &file_words,
            "file, 0644 root:wheel, 120 bytes, sha256:5891b5b522d5...",
        ),
        (
            &file(),
            "type file, mode 0644, owner a, group b, size 1, digest cksum:7:1",
            "file, 0644 a:b, 1 byte, cksum:7:1",
        ),
        (&file(), "type symlink, target /b", "symlink to /b"),
        (
            &directory(),
            "type directory, mode 1777, owner root, group root",
            "directory, 1777 root:root",
        ),
        (&symlink(), "", "nothing is known of it"),
        (&line(), "type file, line absent", "a file without the line"),
        (&line(), "type absent, line absent", "no file"),
        (&package(OnUndo::Remove), "installed no", "not installed"),
        (
            &package(OnUndo::Remove),
            "installed yes, version 1.22.1-9",
            "installed, 1.22.1-9",
        ),
        (&package(OnUndo::Remove), "installed half-configured", "half-configured"),
        (
            &service(),
            "unit found, running yes, enabled no",
            "running, not enabled",
        ),
        (&service(), "unit masked, running no, enabled no", "not running, masked"),
        (&service(), "unit missing", "no unit"),
        (&user(), "exists no", "absent"),
        (
            &user(),
            "exists yes, uid 7, group g, home /h, shell /s",
            "there, uid 7, group g, home /h, shell /s",
        ),
        (&group(), "exists yes, gid 7", "there, gid 7"),
        (&cron(), "exists yes, line @daily x", "there: @daily x"),
        (&script, "check failed", "its check did not pass"),
    ];
    for (resource, found, words) in cases {
        assert_eq!(resource.describe(&attributes(found)), *words, "{found}");
    }
}
