//! What an undo gives back is what was there before: over every type and every pair of specs that follow each other, and with
//! the job cut at every line of its journal.

use holdfast_plan::observation::Attributes;
use holdfast_plan::resource::{
    Cron, DesiredResource, Directory, Ensure, File, Group, Line, Resource, Script, Symlink, User,
};
use holdfast_tests::walk::controller::{Controller, Fate, Went};
use holdfast_tests::walk::host::Host;
use holdfast_tests::walk::paths::desired;
use holdfast_tests::walk::tree::{self, Node};
use std::path::Path;

#[path = "../src/skip.rs"]
mod skip;

/// One pair in so many is tried, unless `HOLDFAST_WALKS` asks for more: a pair costs a fifth of a second of a processor.
const EVERY: usize = 3;

fn may() -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        skip::skip("owners, accounts and mounts need root");
    }
    may
}

fn every() -> usize {
    if std::env::var_os("HOLDFAST_WALKS").is_some() {
        1
    } else {
        EVERY
    }
}

/// Applies whole; every step has to end well, and nothing is left to do.
fn apply(controller: &mut Controller, host: &Host, list: &[DesiredResource]) {
    match controller.apply(host, list, Fate::Whole) {
        Went::Done(plan, job) => {
            let word = holdfast_tests::walk::word::broken(&plan, job.as_ref());
            assert_eq!(word, None);
        }
        other => panic!("{other:?}"),
    }
    let next = controller.plan(host, list);
    assert!(!next.has_changes() && next.refusals.is_empty(), "{:?}", next.refusals);
}

/// What the probes show, to a controller that knows nothing.
fn shown(host: &Host, list: &[DesiredResource]) -> Vec<(String, Attributes)> {
    let plan = Controller::default().plan(host, list);
    let found = plan
        .changes
        .into_iter()
        .map(|change| (change.address.to_string(), change.observed));
    found.collect()
}

/// Applies each first spec, then each second one, then nothing.
fn there_and_back(host: &Host, mut controller: Controller, firsts: &[DesiredResource], seconds: &[DesiredResource]) {
    let before = (shown(host, firsts), shown(host, seconds));
    apply(&mut controller, host, firsts);
    apply(&mut controller, host, seconds);
    apply(&mut controller, host, &[]);
    assert!(controller.ledger.entries.is_empty());
    assert_eq!((shown(host, firsts), shown(host, seconds)), before);
}

fn path_specs(controller: &mut Controller, path: &str) -> Vec<Resource> {
    let mut file = |text: Option<&str>, mode: Option<&str>, owner: Option<&str>| {
        Resource::File(File {
            path: path.to_owned(),
            ensure: if text.is_some() {
                Ensure::Present
            } else {
                Ensure::Absent
            },
            content: text.map(|text| controller.blobs.insert(text.as_bytes().to_vec())),
            mode: mode.map(str::to_owned),
            owner: owner.map(str::to_owned),
            group: owner.map(str::to_owned),
            sensitive: false,
            validate: None,
        })
    };
    let files = [
        file(Some("one\n"), None, None),
        file(Some("two\n"), Some("0600"), Some("1")),
        file(Some("two\n"), None, Some("daemon")),
        file(None, None, None),
    ];
    let directory = |ensure, mode: Option<&str>, owner: Option<&str>| {
        Resource::Directory(Directory {
            path: path.to_owned(),
            ensure,
            mode: mode.map(str::to_owned),
            owner: owner.map(str::to_owned),
            group: owner.map(str::to_owned),
        })
    };
    let link = |ensure, target: &str| {
        Resource::Symlink(Symlink {
            path: path.to_owned(),
            ensure,
            target: target.to_owned(),
        })
    };
    let others = [
        directory(Ensure::Present, None, None),
        directory(Ensure::Present, Some("0700"), Some("1")),
        directory(Ensure::Absent, None, None),
        link(Ensure::Present, "/nowhere"),
        link(Ensure::Present, "/etc"),
        link(Ensure::Absent, ""),
    ];
    files.into_iter().chain(others).collect()
}

/// Whether the type takes what people have there, by the words of docs/resources.md.
fn is_taken(node: Option<&Node>, resource: &Resource) -> bool {
    match (node, resource) {
        (None, _) => true,
        (Some(Node::Directory { .. }), Resource::Directory(_)) => true,
        (Some(Node::Directory { .. }), Resource::File(file)) => file.ensure == Ensure::Present,
        (Some(_), Resource::File(_)) => true,
        (Some(Node::Symlink(_)), Resource::Symlink(_)) => true,
        (Some(_), Resource::Symlink(link)) => link.ensure == Ensure::Present,
        _ => false,
    }
}

fn address(resource: &Resource, name: &str) -> String {
    format!("{}.{name}", resource.lifecycle().kind().word())
}

// Issue 8, done when 2
#[test]
fn every_pair_of_specs_of_a_path_gives_back_what_was_there() {
    if !may() {
        return;
    }
    let (host, mut controller) = (Host::new(false), Controller::default());
    let first: [Option<Node>; 4] = [
        None,
        Some(Node::File {
            text: "theirs".to_owned(),
            mode: 0o640,
            owner: 1,
        }),
        Some(Node::Symlink("/theirs".to_owned())),
        Some(Node::Directory { mode: 0o711, owner: 1 }),
    ];
    let (mut firsts, mut seconds, mut count) = (Vec::new(), Vec::new(), 0);
    for node in &first {
        let all = path_specs(&mut controller, "").len();
        for (one, other) in (0..all).flat_map(|one| (0..all).map(move |other| (one, other))) {
            let name = format!("p{count}");
            let path = host.root().join(&name);
            let specs = path_specs(&mut controller, &path.display().to_string());
            if !is_taken(node.as_ref(), &specs[one]) || !is_taken(node.as_ref(), &specs[other]) {
                continue;
            }
            count += 1;
            if count % every() != 0 {
                continue;
            }
            if let Some(node) = node {
                tree::put(&path, node);
            }
            firsts.push(desired(&address(&specs[one], &name), specs[one].clone()));
            seconds.push(desired(&address(&specs[other], &name), specs[other].clone()));
        }
    }
    let before = tree::read(&host.root());
    there_and_back(&host, controller, &firsts, &seconds);
    assert_eq!(tree::read(&host.root()), before);
}

// Issue 8, done when 2; REVIEW H19, H22
#[test]
fn every_pair_of_specs_of_an_account_or_crontab_gives_back_what_was_there() {
    if !may() {
        return;
    }
    let (host, controller) = (Host::new(true), Controller::default());
    let user = |name: &str, which: usize| {
        let some = |at: &[usize], value: &str| at.contains(&which).then(|| value.to_owned());
        Resource::User(User {
            name: name.to_owned(),
            ensure: if which == 3 { Ensure::Absent } else { Ensure::Present },
            uid: None,
            group: some(&[1], "staff").or(some(&[2], "50")),
            groups: (which == 2).then(|| vec!["www".to_owned()]),
            home: None,
            shell: some(&[2], "/bin/false"),
            comment: some(&[1], "One"),
            system: which == 0,
        })
    };
    let group = |name: &str, which: usize| {
        Resource::Group(Group {
            name: name.to_owned(),
            ensure: if which == 3 { Ensure::Absent } else { Ensure::Present },
            gid: None,
            system: which == 1,
        })
    };
    let cron = |name: &str, which: usize| {
        Resource::Cron(Cron {
            name: name.to_owned(),
            ensure: if which == 3 { Ensure::Absent } else { Ensure::Present },
            user: None,
            schedule: "@daily".to_owned(),
            command: format!("echo {which}"),
        })
    };
    let (mut firsts, mut seconds, mut count) = (Vec::new(), Vec::new(), 0);
    for there in [false, true] {
        for (one, other) in (0..4).flat_map(|one| (0..4).map(move |other| (one, other))) {
            count += 1;
            if count % every() != 0 {
                continue;
            }
            let (person, people, job) = (format!("u{count}"), format!("g{count}"), format!("c{count}"));
            if there {
                host.by_hand(&format!(
                    "useradd -m -s /bin/sh -G www {person} && echo '{person}:$6$h{count}' | chpasswd -e && groupadd {people} &&
                     gpasswd -a root {people} >/dev/null"
                ));
            }
            for (list, which) in [(&mut firsts, one), (&mut seconds, other)] {
                list.push(desired(&format!("user.{person}"), user(&person, which)));
                list.push(desired(&format!("group.{people}"), group(&people, which)));
                list.push(desired(&format!("cron.{job}"), cron(&job, which)));
            }
        }
    }
    host.by_hand("echo '1 1 * * * theirs' | crontab -");
    let accounts = |host: &Host| {
        let files = ["etc/passwd", "etc/shadow", "etc/group", "crontabs/root"];
        files.map(|file| {
            let text = std::fs::read_to_string(host.path(file)).expect("it is there");
            let mut lines: Vec<String> = text
                .lines()
                .filter(|line| !line.starts_with("# DO NOT") && !line.starts_with("# ("))
                .map(|line| match line.rsplit_once(':') {
                    Some((front, members)) => {
                        let mut names: Vec<&str> = members.split(',').collect();
                        names.sort_unstable();
                        format!("{front}:{}", names.join(","))
                    }
                    None => line.to_owned(),
                })
                .collect();
            lines.sort();
            lines
        })
    };
    let before = accounts(&host);
    there_and_back(&host, controller, &firsts, &seconds);
    assert_eq!(accounts(&host), before);
}

/// A job of each type of path, with a script.
fn all_sorts(controller: &mut Controller, root: &Path) -> Vec<DesiredResource> {
    let path = |name: &str| root.join(name).display().to_string();
    let mut list = Vec::new();
    let file = &path_specs(controller, &path("f"))[1];
    list.push(desired("file.f", file.clone()));
    for (text, ensure) in [("ours", Ensure::Present), ("two", Ensure::Absent)] {
        let line = Line {
            path: path("t"),
            ensure,
            line: text.to_owned(),
            validate: None,
        };
        list.push(desired(&format!("line.{text}"), Resource::Line(line)));
    }
    let script = Script {
        name: "s".to_owned(),
        check: format!("test -e '{}'", path("s")),
        apply: controller
            .blobs
            .insert(format!("echo done >'{}'\n", path("s")).into_bytes()),
        undo: Some(controller.blobs.insert(format!("rm -f '{}'\n", path("s")).into_bytes())),
        env: Vec::new(),
    };
    list.push(desired("script.s", Resource::Script(script)));
    list
}

/// Cuts the job of an apply (or of the undo of all of it) at a line of its journal, and goes on; tells whether the journal had so
/// many lines.
fn cut_at(line: u32, undo: bool) -> bool {
    let (host, mut controller) = (Host::new(false), Controller::default());
    let root = host.root();
    std::fs::write(root.join("f"), "theirs\n").expect("written");
    std::fs::write(root.join("t"), "one\ntwo").expect("written");
    let before = tree::read(&root);
    let all = all_sorts(&mut controller, &root);
    let mut list = all.as_slice();
    if undo {
        apply(&mut controller, &host, list);
        list = &[];
    }
    let cut = match controller.apply(&host, list, Fate::WrapperDies(line)) {
        Went::Cut => true,
        Went::Done(..) => false,
        other => panic!("line {line}: {other:?}"),
    };
    if cut {
        apply(&mut controller, &host, list);
        assert_eq!(controller.folded_anew(), controller.ledger, "line {line}");
    }
    if !undo {
        apply(&mut controller, &host, &[]);
    }
    assert!(controller.ledger.entries.is_empty(), "line {line}");
    assert_eq!(tree::read(&root), before, "line {line}, undo {undo}");
    cut
}

// Issue 8, done when 1; REVIEW B1, B11
#[test]
fn a_journal_cut_at_every_line_is_folded_and_gone_on_from() {
    if !may() {
        return;
    }
    for (undo, lines_min) in [(false, 24), (true, 20)] {
        let last = (1..).find(|line| !cut_at(*line, undo)).expect("a journal ends");
        assert!(last > lines_min, "the journal had only {last} lines");
    }
}
