//! `wanted` and `compare` are two readings of one thing: the host checks the lines, the core compares.

use holdfast_plan::content::Content;
use holdfast_plan::observation::Attributes;
use holdfast_plan::resource::{
    Comparison, Cron, Directory, Ensure, File, Group, Line, OnUndo, Package, Resource, Service, Symlink, User,
};
use proptest::prelude::*;

fn ensure() -> impl Strategy<Value = Ensure> {
    prop_oneof![Just(Ensure::Present), Just(Ensure::Absent)]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just(String::new())]
}

fn maybe() -> impl Strategy<Value = Option<String>> {
    prop_oneof![Just(None), text().prop_map(Some)]
}

/// Any resource, over few values, so that observations often match.
fn resource() -> impl Strategy<Value = Resource> {
    let mode = || prop_oneof![Just(None), Just(Some("0644".to_owned())), Just(Some("600".to_owned()))];
    let boolean = || prop_oneof![Just(None), Just(Some(true)), Just(Some(false))];
    prop_oneof![
        (ensure(), mode(), maybe()).prop_map(|(ensure, mode, owner)| Resource::File(File {
            path: "/f".to_owned(),
            ensure,
            content: (ensure == Ensure::Present).then(|| Content::of(b"x")),
            mode,
            owner,
            group: None,
            sensitive: false,
            validate: None,
        })),
        (ensure(), mode(), maybe()).prop_map(|(ensure, mode, group)| Resource::Directory(Directory {
            path: "/d".to_owned(),
            ensure,
            mode,
            owner: None,
            group,
        })),
        (ensure(), text()).prop_map(|(ensure, target)| Resource::Symlink(Symlink {
            path: "/l".to_owned(),
            ensure,
            target,
        })),
        ensure().prop_map(|ensure| Resource::Line(Line {
            path: "/t".to_owned(),
            ensure,
            line: "a".to_owned(),
            validate: None,
        })),
        ensure().prop_map(|ensure| Resource::Package(Package {
            name: "p".to_owned(),
            ensure,
            undo: OnUndo::Remove,
        })),
        (boolean(), boolean()).prop_map(|(running, enabled)| Resource::Service(Service {
            name: "s".to_owned(),
            running,
            enabled,
        })),
        (ensure(), maybe(), maybe()).prop_map(|(ensure, shell, group)| Resource::User(User {
            name: "u".to_owned(),
            ensure,
            uid: None,
            group,
            groups: None,
            home: None,
            shell,
            comment: None,
            system: false,
        })),
        (ensure(), prop_oneof![Just(None), Just(Some(7))]).prop_map(|(ensure, gid)| Resource::Group(Group {
            name: "g".to_owned(),
            ensure,
            gid,
            system: false,
        })),
        (ensure(), text()).prop_map(|(ensure, command)| Resource::Cron(Cron {
            name: "c".to_owned(),
            ensure,
            user: None,
            schedule: "@daily".to_owned(),
            command,
        })),
    ]
}

fn observed() -> impl Strategy<Value = Attributes> {
    let digest = Content::of(b"x");
    let values: Vec<(&str, Vec<String>)> = vec![
        (
            "type",
            ["file", "directory", "symlink", "other", "absent"]
                .map(str::to_owned)
                .to_vec(),
        ),
        ("mode", ["0644", "0600"].map(str::to_owned).to_vec()),
        ("owner", ["a", "b"].map(str::to_owned).to_vec()),
        ("group", ["a", "b"].map(str::to_owned).to_vec()),
        (
            "digest",
            vec![
                format!("sha256:{}", digest.sha256),
                format!("cksum:{}:{}", digest.crc, digest.bytes),
                "cksum:1:1".to_owned(),
            ],
        ),
        ("target", ["a", "b"].map(str::to_owned).to_vec()),
        ("empty", ["yes", "no"].map(str::to_owned).to_vec()),
        (
            "line",
            ["present", "absent", "unreadable", "@daily a"]
                .map(str::to_owned)
                .to_vec(),
        ),
        ("installed", ["yes", "no"].map(str::to_owned).to_vec()),
        (
            "unit",
            ["found", "missing", "masked", "static"].map(str::to_owned).to_vec(),
        ),
        ("running", ["yes", "no"].map(str::to_owned).to_vec()),
        ("enabled", ["yes", "no"].map(str::to_owned).to_vec()),
        ("exists", ["yes", "no"].map(str::to_owned).to_vec()),
        ("shell", ["a", "b"].map(str::to_owned).to_vec()),
        ("gid", ["7", "8"].map(str::to_owned).to_vec()),
    ];
    values
        .into_iter()
        .map(|(key, values)| proptest::sample::select(values).prop_map(move |value| (key.to_owned(), value)))
        .collect::<Vec<_>>()
        .prop_map(Attributes)
}

proptest! {
    #[test]
    fn what_compares_as_same_shows_every_wanted_line(resource in resource(), observed in observed()) {
        let shows = resource.lifecycle().wanted(&observed).iter().all(|line| observed.lines().any(|shown| shown == *line));
        match resource.lifecycle().compare(&observed) {
            Comparison::Same => prop_assert!(shows),
            Comparison::Absent | Comparison::Differs(_) | Comparison::Replace(_) => prop_assert!(!shows),
            // Refusals and open questions come before any comparison.
            Comparison::Refused(_)
            | Comparison::CannotTell(_)
            | Comparison::Missing(_)
            | Comparison::NoFolder(_) => {}
        }
    }
}
