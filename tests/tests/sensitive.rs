//! What a blueprint calls sensitive is told nowhere: not in a plan, its sh, its JSON, the log or the record of steps.

use holdfast_tests::project::Project;

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
    let runs: serde_json::Value = serde_json::from_str(&runs.stdout).expect("json");
    let mut outputs = 0;
    for run in runs["runs"].as_array().expect("a list") {
        let shown = project.run(&["runs", "show", run["run"].as_str().expect("an id"), "--json"]);
        assert!(
            !shown.stdout.contains(TOKEN) && !shown.stdout.contains(LINE),
            "{shown:?}"
        );
        let document: serde_json::Value = serde_json::from_str(&shown.stdout).expect("json");
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
