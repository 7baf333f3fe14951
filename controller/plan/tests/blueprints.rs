//! Blueprints from text to desired resources: every kind of bad input, and what good input becomes.
//!
//! A case in `bad_input/` is a blueprint, perhaps more files behind lines `#--- NAME` (`.toml`: more blueprints; others:
//! files they name), and at the end of the last the expected lines, written by hand, each behind `#> `.

use holdfast_inventory::diagnostic::{Problems, SourceFile};
use holdfast_inventory::{HostName, Inventory, SshSettings, vars};
use holdfast_plan::address::Address;
use holdfast_plan::blueprint::{self, Blueprint};
use holdfast_plan::content::Content;
use holdfast_plan::desired::{Desired, DesiredInput, Files};
use holdfast_plan::resource::{DesiredResource, Ensure, Resource};
use std::path::Path;
use std::time::{Duration, Instant};

const INVENTORY: &str = r#"
[all]
vars = { ntp = "10.0.0.1", tier = "all", site = "all" }
[hosts."web[01-02]"]
[hosts.db01]
vars = { role = "primary", uid = 1500, sizes = [1, 2] }
[groups.web]
hosts = ["web[01-02]"]
vars = { http_port = 8080, tier = "web" }
[groups.db]
hosts = ["db01"]
"#;

/// Reads files of a project and works out what all hosts shall have: problems, warnings.
fn build(texts: &[(&str, &str)], extra: &[&str]) -> (Problems, Option<Desired>) {
    let (mut inventory, found) =
        Inventory::read(&[SourceFile::new("inventory.toml", INVENTORY)], &SshSettings::default());
    assert_eq!(found.to_string(), "");
    let mut problems = Problems::new();
    inventory.set_extra(vars::read_extra(extra.iter().copied(), &mut problems));
    let is_blueprint = |name: &str| Path::new(name).extension().is_some_and(|ending| ending == "toml");
    let blueprints: Vec<Blueprint> = texts
        .iter()
        .filter(|(name, _)| is_blueprint(name))
        .map(|(name, text)| blueprint::parse(&SourceFile::new(name, *text), &mut problems))
        .collect();
    let mut files = Files::new();
    for reference in blueprints.iter().flat_map(Blueprint::references) {
        let found = texts.iter().find(|(name, _)| Path::new(name) == reference.path);
        let bytes = found
            .map(|(_, text)| text.as_bytes().into())
            .ok_or_else(|| "no such file".to_owned());
        files.insert(reference.path, bytes);
    }
    let input = DesiredInput {
        blueprints: &blueprints,
        inventory: &inventory,
        files: &files,
    };
    let hosts: Vec<HostName> = inventory.hosts().iter().map(|host| host.name.clone()).collect();
    match Desired::build(input, &hosts) {
        Ok(desired) => (problems, Some(desired)),
        Err(found) => {
            problems.extend(found);
            (problems, None)
        }
    }
}

fn good(text: &str) -> Desired {
    let (problems, desired) = build(&[("b.toml", text)], &[]);
    assert_eq!(problems.to_string(), "");
    desired.expect("no problem")
}

fn of<'a>(desired: &'a Desired, host: &str) -> &'a [DesiredResource] {
    &desired.hosts[&HostName::from(host)]
}

fn addresses(desired: &Desired, host: &str) -> Vec<String> {
    of(desired, host).iter().map(|one| one.address.to_string()).collect()
}

#[test]
fn every_bad_input_is_shown_with_its_place_and_what_to_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_input");
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 20, "only {} cases were found", cases.len());
    let mut wrong = String::new();
    for case in cases {
        let text = std::fs::read_to_string(&case).expect("a case");
        let name = case.file_name().and_then(|name| name.to_str()).expect("a name");
        let (source, expected): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| !line.starts_with("#> "));
        let expected: Vec<&str> = expected.iter().map(|line| &line[3..]).collect();
        let mut files: Vec<(&str, String)> = vec![(name, String::new())];
        for line in source {
            match line.strip_prefix("#--- ") {
                Some(other) => files.push((other, String::new())),
                None => {
                    let (_, text) = files.last_mut().expect("never empty");
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let (problems, desired) = build(&files, &[]);
        let mut lines: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
        if let Some(desired) = desired {
            lines.extend(desired.warnings.0.iter().map(|warning| format!("warning: {warning}")));
        }
        if lines != expected {
            wrong.push_str(&format!("== {name}\n{}\n", lines.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "other lines than expected:\n{wrong}");
}

#[test]
fn the_order_is_as_written_and_only_needs_move_things() {
    let desired = good(
        r#"
[service.nginx]
running = true
restart_on = ["file./etc/nginx.conf"]
[package.nginx]
[user.www]
needs = ["package.nginx"]
[file."/etc/nginx.conf"]
content = "x"
needs = ["package.nginx"]
[package.curl]
"#,
    );
    assert_eq!(
        addresses(&desired, "db01"),
        [
            "package.nginx",
            "file./etc/nginx.conf",
            "service.nginx",
            "user.www",
            "package.curl"
        ]
    );
}

#[test]
fn blueprints_come_in_the_order_given_and_on_narrows() {
    let first = ("a.toml", "on = 'web'\n[package.b]\n[package.a]\non = 'web01:db'\n");
    let second = ("b.toml", "[package.c]\n");
    let (problems, desired) = build(&[first, second], &[]);
    assert_eq!(problems.to_string(), "");
    let desired = desired.expect("no problem");
    assert_eq!(addresses(&desired, "web01"), ["package.b", "package.a", "package.c"]);
    assert_eq!(addresses(&desired, "web02"), ["package.b", "package.c"]);
    assert_eq!(addresses(&desired, "db01"), ["package.c"]);
}

#[test]
fn variables_are_taken_from_the_strongest_layer() {
    let text = "[vars]\nsite = 'blueprint'\nown = 'blueprint'\n[file.f]\npath = '/f'\n\
                content = '{{name}} {{tier}} {{site}} {{own}} {{ntp}}'\n";
    let (problems, desired) = build(&[("b.toml", text)], &["ntp=extra"]);
    assert_eq!(problems.to_string(), "");
    let desired = desired.expect("no problem");
    let content = |host: &str| match &of(&desired, host)[0].resource {
        Resource::File(file) => {
            let content: &Content = file.content.as_ref().expect("it has a content");
            String::from_utf8(desired.blobs.get(&content.sha256).expect("a blob").to_vec()).expect("text")
        }
        other => panic!("not a file: {other:?}"),
    };
    assert_eq!(content("web01"), "web01 web all blueprint extra");
    assert_eq!(content("db01"), "db01 all all blueprint extra");
}

#[test]
fn a_resource_carries_all_that_was_written() {
    let desired = good(
        r#"
[script.join]
on = "web"
env = { SITE = "{{site}}", PORT = 80 }
check = 'test -e "/$SITE"'
apply = "join '{x}'"
undo = "leave"
timeout = "5m"
[user.deploy]
on = "db"
uid = "{{uid}}"
groups = ["adm", "{{role}}"]
shell = "/bin/sh"
[cron.rotate]
ensure = "absent"
user = "root"
[service.nginx]
enabled = false
restart_on = ["cron.rotate"]
ready = { check = "true", timeout = "30s" }
"#,
    );
    let [script, ..] = of(&desired, "web01") else {
        panic!("nothing")
    };
    assert_eq!((script.timeout_ms, script.declared_at.as_str()), (300_000, "b.toml:2"));
    let env: Vec<(&str, &str)> = script
        .env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(env, [("SITE", "all"), ("PORT", "80")]);
    let Resource::Script(inner) = &script.resource else {
        panic!("not a script")
    };
    assert_eq!(inner.check, "test -e \"/$SITE\"");
    assert_eq!(inner.apply, Content::of(b"join '{x}'"));
    assert_eq!(inner.env, script.env);
    let [user, cron, service] = of(&desired, "db01") else {
        panic!("not three")
    };
    let Resource::User(user) = &user.resource else {
        panic!("not a user")
    };
    assert_eq!((user.name.as_str(), user.uid), ("deploy", Some(1500)));
    assert_eq!(
        user.groups.as_deref(),
        Some(&["adm".to_owned(), "primary".to_owned()][..])
    );
    let Resource::Cron(cron) = &cron.resource else {
        panic!("not a cron")
    };
    assert_eq!((cron.name.as_str(), cron.ensure), ("rotate", Ensure::Absent));
    let ready = service.ready.as_ref().expect("a ready check");
    assert_eq!((ready.timeout_ms, ready.every_ms), (30_000, 2_000));
    assert_eq!(
        service.restart_on,
        ["cron.rotate".parse::<Address>().expect("an address")]
    );
}

#[test]
fn files_are_relative_to_the_blueprint_and_source_is_verbatim() {
    let text = "[file.'/a']\ntemplate = 'a.hbs'\n[file.'/b']\nsource = 'a.hbs'\n[script.s]\ncheck = 'c'\n\
                apply = { file = 'x/s.sh' }\n";
    let files = [
        ("blueprints/w.toml", text),
        ("blueprints/a.hbs", "{{name}}\n"),
        ("blueprints/x/s.sh", "echo {{name}}\n"),
    ];
    let (problems, desired) = build(&files, &[]);
    assert_eq!(problems.to_string(), "");
    let desired = desired.expect("no problem");
    let contents: Vec<Option<&Content>> = of(&desired, "web02")
        .iter()
        .map(|one| match &one.resource {
            Resource::File(file) => file.content.as_ref(),
            Resource::Script(script) => Some(&script.apply),
            _ => None,
        })
        .collect();
    let expected = [&b"web02\n"[..], b"{{name}}\n", b"echo {{name}}\n"].map(Content::of);
    assert_eq!(contents, expected.iter().map(Some).collect::<Vec<_>>());
    assert_eq!(
        desired.warnings.to_string(),
        "blueprints/x/s.sh:1:6: `{{` in the sh of script.s: sh text is never templated; \
         pass the value in: env = { SITE = \"{{site}}\" }, and use \"$SITE\""
    );
}

#[test]
fn fifty_resources_on_three_hundred_hosts_are_worked_out_within_seconds() {
    let hosts = SourceFile::new("i.toml", "[hosts.'h[001-300]']\nvars = { port = 80 }\n");
    let (inventory, found) = Inventory::read(&[hosts], &SshSettings::default());
    assert_eq!(found.to_string(), "");
    let mut text = String::from("[vars]\nsite = 'x'\n");
    for index in 0..50 {
        text.push_str(&format!(
            "[file.'/etc/f{index}']\ncontent = '''{index} {}{{{{name}}}}:{{{{port}}}} {{{{site}}}}'''\nmode = '0644'\n",
            "line\n".repeat(50)
        ));
    }
    let mut problems = Problems::new();
    let blueprints = [blueprint::parse(&SourceFile::new("b.toml", text), &mut problems)];
    assert_eq!(problems.to_string(), "");
    let hosts: Vec<HostName> = inventory.hosts().iter().map(|host| host.name.clone()).collect();
    let started = Instant::now();
    let input = DesiredInput {
        blueprints: &blueprints,
        inventory: &inventory,
        files: &Files::new(),
    };
    let desired = Desired::build(input, &hosts).expect("no problem");
    assert_eq!(desired.blobs.0.len(), 300 * 50);
    // About a second without optimisation; quadratic growth would take minutes.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn the_examples_of_the_book_are_read_without_a_problem() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/blueprints.md");
    let book = std::fs::read_to_string(book).expect("the page is there");
    let mut types = std::collections::BTreeSet::new();
    let mut examples = 0;
    for part in book.split("```toml\n").skip(1) {
        let example = part.split("```").next().expect("the fence is closed");
        let files = [
            ("b.toml", example),
            ("site.conf.hbs", "{{site}} {{#if (eq tier \"web\")}}x{{/if}}\n"),
            ("logo.png", "\u{0}png"),
            ("join.sh", "true\n"),
        ];
        let (problems, desired) = build(&files, &["root=/srv", "http_port=80"]);
        assert_eq!(problems.to_string(), "", "in the example\n{example}");
        let desired = desired.expect("no problem");
        assert_eq!(desired.warnings.to_string(), "", "in the example\n{example}");
        types.extend(desired.hosts.values().flatten().map(|one| one.address.kind));
        examples += 1;
    }
    assert!(examples >= 10, "only {examples} examples were found");
    assert_eq!(types.len(), 10, "only {types:?} have examples");
}

// REVIEW U5
#[test]
fn a_script_with_crlf_is_refused_with_its_place_and_the_way_out() {
    let script = "[script.app]\ncheck = \"test -e /x\"\napply = { file = \"app.sh\" }\n";
    let (problems, _) = build(&[("a.toml", script), ("app.sh", "set -e\r\ntouch /x\r\n")], &[]);
    assert_eq!(
        problems.to_string().trim(),
        "app.sh:1:7: a line of sh ends with CR LF: sh would take the CR for a part of its last word \
         (on web01 and 2 more hosts); save it with LF alone, or write crlf = \"strip\" in the resource"
    );
    // So in the blueprint itself, and in `ready`.
    let inline = "[service.app]\r\nrunning = true\r\nready = { check = \'\'\'\r\ntrue\r\ncurl x\'\'\' }\r\n";
    let (problems, _) = build(&[("a.toml", inline)], &[]);
    assert!(
        problems.to_string().contains("a line of sh ends with CR LF"),
        "{problems}"
    );
}

// REVIEW U5
#[test]
fn crlf_strip_takes_the_cr_of_every_line_end_and_no_other() {
    let script = "[script.app]\ncrlf = \"strip\"\ncheck = \"test -e /x\"\napply = { file = \"app.sh\" }\n";
    let (problems, desired) = build(&[("a.toml", script), ("app.sh", "printf \"a\rb\"\r\ntouch /x\r")], &[]);
    assert_eq!(problems.to_string(), "");
    let desired = desired.expect("no problem");
    let resource = &desired.hosts[&HostName::from("db01")][0].resource;
    let Resource::Script(script) = resource else {
        panic!("{resource:?}")
    };
    let bytes = desired.blobs.get(&script.apply.sha256).expect("it is kept");
    assert_eq!(bytes.as_ref(), b"printf \"a\rb\"\ntouch /x");
}
