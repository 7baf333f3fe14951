//! `plan --explain ADDRESS`: which rule decided, what was compared, what is waited for, and where each value comes from.

use holdfast_tests::project::{Ended, Project};
use std::fs;

const BLUEPRINT: &str = r#"[vars]
port = 80
site = "intranet"

[file.base]
path = "{{root}}/base"
content = "base\n"

[file.conf]
path = "{{root}}/conf"
template = "conf.hbs"
mode = "0644"
needs = ["file.base"]

[script.check]
check = 'test -e "$ROOT/checked"'
apply = 'touch "$ROOT/checked"'
env = { ROOT = "{{root}}" }
needs = ["file.conf"]
"#;

/// Three hosts; two of them are in a group that sets a variable.
fn project() -> Project {
    let project = Project::of_local(&["w1", "w2", "w3"]);
    let mut inventory = fs::read_to_string(project.path("inventory.toml")).expect("it was written");
    inventory.push_str("[groups.web]\nhosts = [\"w1\", \"w2\"]\nvars = { port = 8080 }\n");
    project.write("inventory.toml", inventory);
    project.blueprint(BLUEPRINT);
    project.write(
        "blueprints/conf.hbs",
        "listen {{port}}\nname {{site}}{{default extra \"\"}}\n",
    );
    project
}

fn one(ended: &Ended) -> serde_json::Value {
    let document = ended.json();
    let list = document["explained"].as_array().expect("a list").clone();
    assert_eq!(list.len(), 1, "{document}");
    list[0].clone()
}

// Issue 8, "Done when" 9.
#[test]
fn a_plan_explains_by_which_rule_and_from_which_values() {
    let project = project();
    let explained = project.run(&["plan", "--explain", "file.conf"]).exits(0);
    // What two hosts have in common stands once.
    assert_eq!(explained.stdout.matches("  file.conf\n").count(), 2, "{explained}");
    explained
        .says("w[1-2] (2)\n")
        .says("w3\n")
        .says("    create     not there\n")
        .says("    rule       differs: it is not as desired")
        .says("    declared   ")
        .says("blueprints/fleet.toml:9\n")
        .says("    from file  ")
        .says("blueprints/conf.hbs\n")
        .says("    variable   port = 8080  from group web, ")
        .says("    variable   port = 80  from blueprint, ")
        .says("    variable   site = \"intranet\"  from blueprint, ")
        .says("blueprints/fleet.toml:3:1\n")
        .says("    variable   extra = (not defined)  from nowhere\n")
        .says("    ledger     does not have it\n")
        .says("    waits for  file.base (needs; create in this plan)\n")
        .says("             ~ type       absent    file                    -\n")
        .says("(so on w1; 1 other text is alike")
        .says_not("script.check")
        .says_not("Plan:");
    let forced = project
        .run(&["plan", "--explain", "file.conf", "-e", "port=1", "-l", "w1"])
        .exits(0);
    forced.says("    variable   port = 1  from extra, -e:1:1\n");
}

// Issue 8, "Done when" 9.
#[test]
fn each_rule_is_told_by_its_own_words() {
    let project = project();
    let rule = |address: &str, more: &[&str]| {
        let mut words = vec!["plan", "--json", "-l", "w1", "--explain", address];
        words.extend(more);
        one(&project.run(&words))
    };
    let script = rule("script.check", &[]);
    assert_eq!(script["decided"][0]["rule"], "waits_for_its_needs");
    assert_eq!(script["decided"][0]["action"], "unknown");
    assert_eq!(script["waits_for"][0]["address"], "file.conf");
    assert_eq!(script["waits_for"][0]["action"], "create");

    project.run(&["apply", "-y"]).exits(0);
    let conf = rule("file.conf", &[]);
    assert_eq!(conf["decided"][0]["rule"], "nothing_to_do");
    assert_eq!(conf["decided"][0]["why"], "as desired and in the ledger");
    assert_eq!(conf["ledger"]["phase"], "ready");
    assert_eq!(conf["ledger"]["was"], "absent");
    assert_eq!(conf["waits_for"][0]["action"], serde_json::Value::Null);

    project.write("hosts/w1/conf", "by hand\n");
    let conf = rule("file.conf", &[]);
    assert_eq!(conf["decided"][0]["rule"], "differs");
    assert_eq!(conf["decided"][0]["reason"]["reason"], "drifted");
    let digest = conf["compared"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|row| row["attribute"] == "digest");
    let digest = digest.expect("files have one");
    assert_eq!(digest["differs"], true);
    assert_eq!(digest["desired"], digest["ledger"], "the ledger has what was applied");
    assert_ne!(digest["observed"], digest["desired"]);
    let script = rule("script.check", &[]);
    assert_eq!(script["decided"][0]["rule"], "looked_at_again");

    // What stands in the way is told with its rule, and holds the others back.
    fs::remove_file(project.path("hosts/w1/base")).expect("it is ours");
    project.write("hosts/w1/base/other", "not ours");
    let base = rule("file.base", &[]);
    assert_eq!(base["decided"][0]["rule"], "refused");
    assert_eq!(base["decided"][0]["action"], serde_json::Value::Null);
    assert!(
        base["decided"][0]["refusal"]
            .as_str()
            .expect("a message")
            .contains("something in it")
    );
    let conf = rule("file.conf", &[]);
    assert!(
        conf["host_refused"][0]
            .as_str()
            .expect("a message")
            .starts_with("file.base: ")
    );
    fs::remove_dir_all(project.path("hosts/w1/base")).expect("it is ours");

    // What left is explained from the ledger.
    project.blueprint("[file.base]\npath = \"{{root}}/base\"\ncontent = \"base\\n\"\n");
    let conf = rule("file.conf", &[]);
    assert_eq!(conf["decided"][0]["rule"], "left_blueprint");
    assert_eq!(conf["declared"], false);
    assert_eq!(conf["files"], serde_json::Value::Null);
    let script = rule("script.check", &[]);
    assert_eq!(script["decided"][0]["rule"], "nothing_to_undo");
    let told = project.run(&["plan", "-l", "w1", "--explain", "file.conf"]).exits(0);
    told.says("nowhere any more; it was at ")
        .says("rule       left the blueprint: ");
}

// Issue 8, "Done when" 9.
#[test]
fn an_address_that_nobody_has_is_an_error_before_any_host_is_asked() {
    let project = project();
    project
        .run(&["plan", "--explain", "file.cnof"])
        .exits(1)
        .says("neither a blueprint nor a ledger of these hosts has `file.cnof`")
        .says("did you mean `file.conf`?");
    project
        .run(&["plan", "--explain", "conf"])
        .exits(1)
        .says("an address is type.name");
    // One that another host has is no error, and said.
    project.blueprint(
        &BLUEPRINT
            .replace("[file.base]\n", "[file.base]\non = \"w1\"\n")
            .replace("needs = [\"file.base\"]\n", ""),
    );
    project
        .run(&["plan", "--explain", "file.base"])
        .exits(0)
        .says("w1\n  file.base\n")
        .says("w[2-3] (2): neither blueprint nor ledger has file.base there");
}

// REVIEW H17
#[test]
fn an_explanation_of_what_is_sensitive_shows_no_value() {
    let project = Project::of_local(&["w1"]);
    project.blueprint(
        "[vars]\npassword = \"correct horse\"\n[file.key]\npath = \"{{root}}/key\"\ncontent = \"{{password}}\\n\"\nsensitive = true\n",
    );
    project.write("hosts/w1/key", "battery staple\n");
    for more in [&[][..], &["--json"]] {
        let mut words = vec!["plan", "--explain", "file.key"];
        words.extend(more);
        project
            .run(&words)
            .exits(0)
            .says("password")
            .says("(sensitive)")
            .says_not("horse")
            .says_not("staple")
            .says_not("sha256:");
    }
}
