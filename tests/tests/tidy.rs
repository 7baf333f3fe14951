//! Style as a test: module docs, file lengths, the dependencies of the pure crates, words we do not use.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the project")
        .to_path_buf()
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["inventory", "controller", "agent", "tests"]
        .iter()
        .map(|room| root().join(room))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the project can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 20, "the search for sources went wrong: {found:?}");
    found
}

/// Files of tests alone may be as long as their cases.
fn is_test(path: &Path) -> bool {
    let name = path
        .file_stem()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let in_tests = path
        .strip_prefix(root())
        .expect("below the root")
        .components()
        .any(|part| part.as_os_str() == "tests");
    in_tests || name.ends_with("tests") || ["contract", "faults"].contains(&name.as_str())
}

/// The lines of a file before its tests.
fn code_lines(text: &str) -> usize {
    text.lines()
        .position(|line| line.trim() == "#[cfg(test)]")
        .unwrap_or_else(|| text.lines().count())
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|path| !fs::read_to_string(path).expect("UTF-8").starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "no `//!` at the top of: {silent:#?}");
}

#[test]
fn no_file_is_past_six_hundred_lines_without_its_tests() {
    let long: Vec<(PathBuf, usize)> = sources()
        .into_iter()
        .map(|path| {
            let lines = code_lines(&fs::read_to_string(&path).expect("UTF-8"));
            (path, lines)
        })
        .filter(|(path, lines)| *lines > 600 && !is_test(path))
        .collect();
    assert!(long.is_empty(), "split what is past 600 lines: {long:#?}");
}

/// The names under `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(manifest)).expect("a manifest");
    let table: toml::Table = text.parse().expect("TOML");
    table["dependencies"]
        .as_table()
        .expect("a table")
        .keys()
        .cloned()
        .collect()
}

#[test]
fn the_pure_crates_and_the_agent_depend_on_nothing_else() {
    let allowed = [
        ("inventory/Cargo.toml", &["serde", "strsim", "thiserror", "toml"][..]),
        (
            "controller/plan/Cargo.toml",
            &[
                "handlebars",
                "holdfast-inventory",
                "serde",
                "serde_json",
                "sha2",
                "shlex",
                "similar",
                "strsim",
                "thiserror",
                "toml",
            ][..],
        ),
        (
            "agent/Cargo.toml",
            &[
                "bytes",
                "futures-util",
                "getrandom",
                "prost",
                "rustix",
                "sha2",
                "shlex",
                "thiserror",
                "tokio",
                "tokio-util",
            ][..],
        ),
    ];
    for (manifest, allowed) in allowed {
        let allowed: BTreeSet<String> = allowed.iter().map(ToString::to_string).collect();
        let extra: Vec<String> = dependencies(manifest).difference(&allowed).cloned().collect();
        assert!(
            extra.is_empty(),
            "{manifest} depends on {extra:?}; argue for it in the allow-list of this test"
        );
    }
}

#[test]
fn one_word_per_concept() {
    // The right word stands in the table of ARCHITECTURE.md.
    let banned = ["Manager", "Helper", "Playbook", "Manifest", "Util"];
    let mut found = Vec::new();
    for path in sources().into_iter().filter(|path| !path.ends_with("tidy.rs")) {
        for (number, line) in fs::read_to_string(&path).expect("UTF-8").lines().enumerate() {
            for keyword in ["struct ", "enum ", "trait ", "mod "] {
                let Some((_, name)) = line.split_once(keyword) else {
                    continue;
                };
                let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
                // The one that is the field's own term.
                if name != "PackageManager" && banned.iter().any(|word| name.ends_with(word)) {
                    found.push(format!("{}:{}: {name}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_the_sh_module_makes_shell_text() {
    // `Sh` has no constructor from a String: only its own module could make one.
    let module = fs::read_to_string(root().join("controller/plan/src/sh.rs")).expect("the module");
    assert!(
        !module.contains("impl From<String> for Sh"),
        "a String must not become sh"
    );
    assert!(
        !module.contains("pub fn raw"),
        "sh comes from static text and quoted words"
    );
}

#[test]
fn no_two_sh_files_of_a_host_define_one_function() {
    let mut seen = std::collections::BTreeMap::new();
    for entry in fs::read_dir(root().join("agent/sh")).expect("the runner's files") {
        let path = entry.expect("an entry").path();
        for line in fs::read_to_string(&path).expect("UTF-8").lines() {
            let Some((name, _)) = line.split_once("() {") else {
                continue;
            };
            let before = seen.insert(name.to_owned(), path.clone());
            assert!(before.is_none(), "{name} is defined in {path:?} and in {before:?}");
        }
    }
    assert!(seen.len() > 50, "the search went wrong: {seen:?}");
}
