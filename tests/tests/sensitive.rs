//! What a blueprint calls sensitive is told nowhere: not in a plan, its sh, its JSON, the log or the record of steps.

#[path = "../src/skip.rs"]
mod skip;

use holdfast_tests::project::Project;
use holdfast_tests::waiting::{jobs, wait_for_end};
use serde_json::Value;

const TOKEN: &str = "tok-hunter2-4711";
const LINE: &str = "password = opensesame99";

// REVIEW D7, H17
#[test]
fn what_is_sensitive_is_shown_by_no_command() {
    let project = Project::new();
    let place = project.path("inventory.toml");
    let place = place.parent().expect("the project").display();
    project.write(
        "inventory.toml",
        format!("[hosts.here]\nvia = \"local\"\nstate_dir = \"{place}/state\"\nvars = {{ token = \"{TOKEN}\" }}\n"),
    );
    project.blueprint(&format!(
        r#"on = "here"
[line.password]
path = "{place}/app.conf"
line = "{LINE}"
sensitive = true
[script.login]
sensitive = true
env = {{ TOKEN = "{{{{token}}}}" }}
check = "test -e {place}/done"
apply = "echo \"logging in with $TOKEN\"; touch {place}/done; exit 3"
"#
    ));
    for arguments in [
        &["plan", "--show-script"][..],
        &["plan", "--json"],
        &["plan", "-vvv"],
        &["apply", "-y", "-vvv"],
        &["plan", "--show-script", "--all"],
        &["machines", "here"],
        &["machines", "here", "--json"],
        &["drift", "--json"],
        &["runs"],
    ] {
        let ended = project.run(arguments);
        let shown = format!("{}{}", ended.stdout, ended.stderr);
        for secret in [TOKEN, LINE] {
            assert!(!shown.contains(secret), "{arguments:?}: {shown}");
        }
    }
    assert!(project.path("done").exists(), "its sh ran");
    let runs = project.run(&["runs", "--json"]);
    let runs: Value = serde_json::from_str(&runs.stdout).expect("json");
    let mut outputs = 0;
    for run in runs["runs"].as_array().expect("a list") {
        let shown = project.run(&["runs", "show", run["run"].as_str().expect("an id"), "--json"]);
        assert!(
            !shown.stdout.contains(TOKEN) && !shown.stdout.contains(LINE),
            "{shown:?}"
        );
        let document: Value = serde_json::from_str(&shown.stdout).expect("json");
        for event in document["events"].as_array().expect("a list") {
            let output = &event["event"]["report"]["output"];
            let Some(output) = output.as_str().filter(|output| !output.is_empty()) else {
                continue;
            };
            assert_eq!(output, "logging in with (sensitive)\n");
            outputs += 1;
        }
    }
    assert!(outputs > 0, "the step printed, and that was recorded");
}

/// All texts of a JSON value, those that are lists of bytes too.
fn texts(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) if list.len() > 1 && list.iter().all(Value::is_u64) => {
            let bytes: Vec<u8> = list.iter().filter_map(Value::as_u64).map(|byte| byte as u8).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        Value::Array(list) => list.iter().map(texts).collect::<Vec<_>>().join("\n"),
        Value::Object(map) => map.values().map(texts).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// The events as they lie in the store, without those that must hold a desire whole; `None`: there is no `sqlite3`.
fn recorded(project: &Project) -> Option<Vec<Value>> {
    let read = std::process::Command::new("sqlite3")
        .arg(project.path(".holdfast/holdfast.db"))
        .arg("SELECT CAST(json AS TEXT) FROM events")
        .output();
    let Ok(read) = read else {
        skip::skip("sqlite3 is not installed");
        return None;
    };
    let events = String::from_utf8(read.stdout).expect("JSON");
    let events = events.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let whole = |event: &Value| {
        let kind = event["event"]["kind"].as_str().expect("each has its kind");
        ["attempt_intended", "adopted"].contains(&kind)
    };
    Some(events.filter(|event| !whole(event)).collect())
}

// REVIEW D7, H17
#[test]
fn what_is_sensitive_is_recorded_by_no_command_however_it_was_come_by() {
    let project = Project::of_local(&["here"]);
    let content = "[main]\npassword = correct-horse-1\n";
    project.write("blueprints/secret.conf", content);
    let tokens = ["", TOKEN, "tok-swordfish-0815"];
    let script = |version: usize| {
        let token = tokens[version];
        format!(
            r#"
[script.login]
sensitive = true
env = {{ TOKEN = "{token}", ROOT = "{{{{root}}}}" }}
check = "test -e $ROOT/done{version}"
apply = 'touch "$ROOT/begun{version}"; until test -e "$ROOT/go{version}"; do sleep 0.1; done; echo "in with $TOKEN"; touch "$ROOT/done{version}"'
"#
        )
    };
    // A saved plan, which knows of no blueprint.
    project.blueprint(&script(1));
    project.write("hosts/here/go1", "");
    project.run(&["plan", "-o", "login.plan"]).exits(0);
    project.run(&["apply", "-y", "login.plan"]).exits(0).says_not(TOKEN);

    // A job whose controller dies, recorded by a command that reads no blueprint.
    project.blueprint(&script(2));
    let apply = project.start(&["apply", "-y"]);
    holdfast_tests::slow::wait_until("the step runs", || project.path("hosts/here/begun2").exists());
    apply.kill();
    project.write("hosts/here/go2", "");
    wait_for_end(&project, "here");
    assert_eq!(jobs(&project, "here").len(), 1);
    project.run(&["facts"]).exits(0).says_not(tokens[2]);

    // A file whose check quotes it.
    project.blueprint(&format!(
        "{}[file.conf]\npath = \"{{{{root}}}}/secret.conf\"\nsource = \"secret.conf\"\nsensitive = true\n\
         validate = 'echo \"bad line:\"; cat \"$FILE\"; false'\n",
        script(2)
    ));
    project
        .run(&["apply", "-y"])
        .exits(2)
        .says("bad line:")
        .says("[main]")
        .says_not("correct-horse");

    let Some(events) = recorded(&project) else { return };
    let outputs = events.iter().map(texts).collect::<Vec<_>>().join("\n");
    assert_eq!(outputs.matches("in with (sensitive)").count(), 2, "{outputs}");
    assert!(outputs.contains("bad line:\n[main]\n(sensitive)"), "{outputs}");
    for secret in [tokens[1], tokens[2], "correct-horse"] {
        assert!(!outputs.contains(secret), "{outputs}");
    }
}
