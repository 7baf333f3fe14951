//! What a newcomer does first: the demo, a project of `init`, and what the README shows.

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

#[test]
fn the_examples_of_the_readme_are_valid() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let examples = blocks(&fs::read_to_string(readme).expect("the README"), "toml");
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
