//! What a newcomer does first: the demo, a project of `init`, and what the README shows.

#[path = "../src/skip.rs"]
mod skip;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program, beside the folder of this test's executable.
fn holdfast() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let program = test
        .parent()
        .and_then(Path::parent)
        .expect("target/debug/deps")
        .join("holdfast");
    assert!(
        program.is_file(),
        "{} is missing; build it: cargo build -p holdfast",
        program.display()
    );
    program
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(holdfast())
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .output()
        .expect("it starts")
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_demo_runs_to_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("demo");
    let output = run(
        folder.path(),
        &["demo", "--hosts", "5", "--folder", target.to_str().expect("UTF-8")],
    );
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("demo[01-05] (5)"), "{shown}");
    assert!(shown.contains("Nothing to do: 5 hosts are as desired"), "{shown}");
    // The walk takes the line away again, and keeps the file.
    assert!(!target.join("hosts/demo03/etc/hosts").exists(), "{shown}");
    let motd = fs::read_to_string(target.join("hosts/demo05/etc/motd")).expect("the demo's file");
    assert_eq!(
        motd,
        "This host asks 10.0.0.1 for the time. Holdfast keeps this file; changes by hand will not last.\n"
    );
}

#[test]
fn a_new_project_is_valid_and_init_overwrites_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(run(folder.path(), &["init", "fleet"]).status.code(), Some(0));
    let project = folder.path().join("fleet");
    let output = run(&project, &["validate"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let again = run(folder.path(), &["init", "fleet"]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    assert!(text(&again).contains("already has holdfast.toml"), "{}", text(&again));
}

/// The fenced blocks of a language in a Markdown text.
fn blocks(markdown: &str, language: &str) -> Vec<String> {
    markdown
        .split(&format!("```{language}\n"))
        .skip(1)
        .filter_map(|rest| rest.split("```").next().map(str::to_owned))
        .collect()
}

fn readme() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    fs::read_to_string(readme).expect("the README")
}

#[test]
fn the_session_of_the_readme_is_what_the_demo_prints() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(folder.path(), &["demo", "--folder", "demo"]);
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let mut printed = shown.lines();
    let session = blocks(&readme(), "text").remove(0);
    assert!(session.lines().count() > 40, "a whole session: {session}");
    for line in session.lines().filter(|line| !line.is_empty()) {
        // In the same order: what was printed before is not looked at again.
        assert!(
            printed.any(|it| it == line),
            "the demo does not print, or not in this order: {line}\n{shown}"
        );
    }
}

#[test]
fn the_examples_of_the_readme_are_valid() {
    let examples = blocks(&readme(), "toml");
    assert_eq!(examples.len(), 2, "an inventory and a blueprint");
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("blueprints")).expect("a folder");
    fs::write(folder.path().join("holdfast.toml"), "").expect("written");
    fs::write(folder.path().join("inventory.toml"), &examples[0]).expect("written");
    fs::write(folder.path().join("blueprints/web.toml"), &examples[1]).expect("written");
    let output = run(folder.path(), &["validate"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(text(&output), "Valid: 20 hosts, 1 blueprint, 60 resources in all\n");
}

/// A page of the book.
fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    fs::read_to_string(path).expect("the book")
}

// REVIEW U, "Newcomers stumble": no page for the keys of holdfast.toml and inventory.toml.
#[test]
fn the_examples_of_the_configuration_page_are_valid_and_have_every_key_of_it() {
    let page = page("configuration.md");
    let examples = blocks(&page, "toml");
    assert!(examples.len() >= 3, "{examples:?}");
    for example in &examples {
        let name = example
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# "))
            .expect("it names its file");
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("blueprints")).expect("a folder");
        for file in ["holdfast.toml", "inventory.toml", "blueprints/web.toml"] {
            fs::write(folder.path().join(file), "").expect("written");
        }
        fs::write(folder.path().join(name), example).expect("written");
        let output = run(folder.path(), &["validate"]);
        assert_eq!(output.status.code(), Some(0), "{example}\n{}", text(&output));
        let output = run(folder.path(), &["hosts", "--json"]);
        let empty = text(&output).contains("the inventory has no host");
        assert!(output.status.success() || empty, "{example}\n{}", text(&output));
    }
    let all = examples.concat();
    let keys = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    let keys: Vec<&str> = keys
        .flat_map(|cell| cell.split('`').step_by(2))
        .filter(|key| {
            !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.') && *key != ", "
        })
        .collect();
    assert!(keys.len() >= 17, "{keys:?}");
    for key in keys {
        let key = key.rsplit('.').next().expect("a word");
        assert!(
            all.contains(&format!("{key} ")) || all.contains(&format!("[{key}]")),
            "no example has `{key}`"
        );
    }
}

// REVIEW U, "Newcomers stumble": completion offered files, and neither hosts nor groups.
#[test]
fn bash_completes_hosts_and_groups_where_hosts_are_meant() {
    if Command::new("bash").arg("--version").output().is_err() {
        skip::skip("bash is not on this machine");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("holdfast.toml"), "").expect("written");
    fs::create_dir(folder.path().join("blueprints")).expect("a folder");
    fs::write(folder.path().join("blueprints/a.toml"), "").expect("written");
    fs::write(
        folder.path().join("inventory.toml"),
        "[hosts.web1]\n[hosts.web2]\n[hosts.db1]\n[groups.webs]\nhosts = [\"web1\"]\n",
    )
    .expect("written");
    fs::write(folder.path().join("web.plan"), "").expect("written");
    let completed = |words: &[&str]| {
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let script = format!(
            "set -u; source <(holdfast completions bash); COMP_WORDS=({}); COMP_CWORD={}; COMPREPLY=()\n\
             _holdfast_and_hosts holdfast '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]-}}\"",
            quoted.join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let program = holdfast();
        let path = format!("{}:{}", program.parent().expect("a folder").display(), "/usr/bin:/bin");
        let output = Command::new("bash")
            .args(["--norc", "-c", &script])
            .env("PATH", path)
            .env("HOME", folder.path())
            .current_dir(folder.path())
            .output()
            .expect("bash starts");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let words = String::from_utf8(output.stdout).expect("UTF-8");
        words
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(completed(&["holdfast", "plan", "w"]), ["web1", "web2", "webs"]);
    assert_eq!(completed(&["holdfast", "apply", "-l", "d"]), ["db1"]);
    assert_eq!(
        completed(&["holdfast", "run", "web1:w"]),
        ["web1:web1", "web1:web2", "web1:webs"]
    );
    assert_eq!(completed(&["holdfast", "machines", "db"]), ["db1"]);
    assert!(completed(&["holdfast", "pl"]).contains(&"plan".to_owned()));
    assert_eq!(
        completed(&["holdfast", "apply", "w"]),
        Vec::<String>::new(),
        "files, by bash itself"
    );
}

#[test]
fn every_command_has_help_with_an_example() {
    let help = text(&run(Path::new("/"), &["--help"]));
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| !["help", "agent"].contains(word))
        .collect();
    assert!(commands.len() > 12, "{commands:?}");
    let silent: Vec<&&str> = commands
        .iter()
        .filter(|command| !text(&run(Path::new("/"), &[command, "--help"])).contains("Example"))
        .collect();
    assert!(silent.is_empty(), "no example in the help of {silent:?}");
}

/// The words in backquotes of a piece of Markdown, but for those in brackets.
fn words(markdown: &str) -> Vec<String> {
    let mut outside = String::new();
    let mut depth = 0_u32;
    for letter in markdown.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => outside.push(letter),
            _ => {}
        }
    }
    outside.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn keys(object: &serde_json::Value) -> BTreeSet<String> {
    object.as_object().expect("an object").keys().cloned().collect()
}

#[test]
fn the_json_documents_are_as_the_book_says() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(run(folder.path(), &["init", "fleet"]).status.code(), Some(0));
    let project = folder.path().join("fleet");
    let applied = run(&project, &["apply", "-y"]);
    assert_eq!(applied.status.code(), Some(0), "{}", text(&applied));

    let book = page("json.md");
    let rows = book.lines().filter_map(|line| {
        let (command, told) = line.strip_prefix("| `holdfast ")?.split_once("` | ")?;
        Some((command.to_owned(), told.to_owned()))
    });
    let mut seen = 0;
    for (command, told) in rows {
        let arguments: Vec<&str> = command.split(' ').collect();
        let output = run(&project, &arguments);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{command}: {error}: {}", text(&output)));
        assert_eq!(document["schema"], 1, "{command}");
        let mut expected = BTreeSet::from(["schema".to_owned()]);
        for part in told.split(';') {
            let (top, of_each) = part.split_once(": list of").unwrap_or((part, ""));
            let top = words(top.split(':').next().unwrap_or_default());
            let listed = top.last().map(|name| &document[name]);
            if let Some(first) = listed.and_then(|list| list.get(0)).filter(|_| !of_each.is_empty()) {
                let always = of_each.split("and with").next().unwrap_or_default();
                assert_eq!(keys(first), words(always).into_iter().collect(), "{command}: {first}");
            }
            expected.extend(top);
        }
        assert_eq!(keys(&document), expected, "{command}");
        seen += 1;
    }
    assert!(seen >= 11, "only {seen} documents are described");
}
