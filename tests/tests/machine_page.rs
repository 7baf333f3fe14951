//! What a machine's page tells of each resource (what was there before, where it is kept, what undo would do), and that
//! the plan of an undo says the same, shows what comes back, and is kept.

use holdfast_tests::project::Project;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// What `printf 'hello\n' | sha256sum` prints.
const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

const BLUEPRINT: &str = r#"
[file.motd]
path = "{{root}}/motd"
content = "ours\n"
mode = "0644"

[file.new]
path = "{{root}}/new"
content = "new\n"

[file.found]
path = "{{root}}/found"
content = "hello\n"

[directory.spool]
path = "{{root}}/spool"

[file.pinned]
path = "{{root}}/pinned"
content = "x\n"
prevent_undo = true

[line.ntp]
path = "{{root}}/hosts"
line = "10.0.0.1 ntp"

[script.join]
check = 'test -e "$ROOT/joined"'
apply = 'touch "$ROOT/joined"'
env = { ROOT = "{{root}}" }

[script.leave]
check = 'test -e "$ROOT/left"'
apply = 'touch "$ROOT/left"'
undo = 'rm "$ROOT/left"'
env = { ROOT = "{{root}}" }
"#;

fn project() -> Project {
    let project = Project::of_local(&["w1"]);
    project.blueprint(BLUEPRINT);
    project.write("hosts/w1/motd", "hello\n");
    fs::set_permissions(project.path("hosts/w1/motd"), fs::Permissions::from_mode(0o640)).expect("ours");
    project.write("hosts/w1/found", "hello\n");
    project.run(&["apply", "-y"]).exits(0);
    project
}

/// Who owns what this test writes, as the host names them.
fn owner(project: &Project) -> String {
    let path = project.path("hosts/w1/found");
    let output = Command::new("stat").args(["-c", "%U:%G"]).arg(path).output();
    let output = output.expect("stat is on every Linux").stdout;
    String::from_utf8(output).expect("a name").trim().to_owned()
}

/// The lines under one resource on a machine's page.
fn block(page: &str, address: &str) -> String {
    let begins = |line: &&str| line.starts_with(&format!("{address}  "));
    let lines: Vec<&str> = page.lines().skip_while(|line| !begins(line)).collect();
    let (first, rest) = lines.split_first().unwrap_or_else(|| panic!("no {address}: {page}"));
    let below = rest.iter().take_while(|line| line.starts_with("    "));
    std::iter::once(first)
        .chain(below)
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn a_machine_tells_of_each_resource_what_was_there_where_it_is_kept_and_what_undo_does() {
    let project = project();
    let page = project.run(&["machines", "w1"]).exits(0).stdout;
    let document = project.run(&["machines", "w1", "--json"]).exits(0).json();
    let ledger = &document["machines"][0]["ledger"];

    let motd = block(&page, "file.motd");
    let owner = owner(&project);
    let was = format!("file, 0640 {owner}, 6 bytes, sha256:{}...", &HELLO[..12]);
    assert!(motd.starts_with("file.motd  ready, ours since 20"), "{motd}");
    assert!(motd.contains(&format!("    before  {was}\n")), "{motd}");
    assert!(
        motd.contains("    undo    puts back the file that was there\n"),
        "{motd}"
    );
    assert_eq!(ledger["file.motd"]["was"], was.as_str());
    assert_eq!(ledger["file.motd"]["undo"]["kind"], "restore");
    assert_eq!(ledger["file.motd"]["origin"], "applied");

    // Where it says that it is kept, it is.
    let kept = ledger["file.motd"]["kept"].as_str().expect("a path");
    assert!(
        motd.contains(&format!("    kept    {kept} in the state folder")),
        "{motd}"
    );
    let content = project.path(&format!("hosts/w1/state/{kept}/content"));
    assert_eq!(fs::read(content).expect("it is kept there"), b"hello\n");

    let new = block(&page, "file.new");
    assert!(new.contains("    before  absent\n    kept "), "{new}");
    assert!(new.ends_with("    undo    removes it\n"), "{new}");
    let spool = block(&page, "directory.spool");
    assert!(
        spool.contains("    undo    removes it\n    left    it stays if there is something in it"),
        "{spool}"
    );
    assert_eq!(ledger["directory.spool"]["undo"]["kind"], "remove");

    let found = block(&page, "file.found");
    assert!(found.starts_with("file.found  ready, adopted since 20"), "{found}");
    assert!(!found.contains("before ") && !found.contains("kept "), "{found}");
    assert!(
        found.contains("    undo    forgets it: Holdfast found it so"),
        "{found}"
    );
    assert_eq!(ledger["file.found"]["kept"], serde_json::Value::Null);

    let pinned = block(&page, "file.pinned");
    assert!(pinned.contains("    undo    keeps it (prevent_undo)"), "{pinned}");
    let ntp = block(&page, "line.ntp");
    assert!(ntp.contains("    before  no file\n"), "{ntp}");
    assert!(
        ntp.contains("    undo    takes the line out, and the file with it\n"),
        "{ntp}"
    );
    let join = block(&page, "script.join");
    assert!(
        join.contains("    undo    forgets it, and leaves it where it is: it has no undo\n"),
        "{join}"
    );
    let leave = block(&page, "script.leave");
    assert!(leave.contains("    before  its check did not pass\n"), "{leave}");
    assert!(leave.contains("    undo    runs its undo script\n"), "{leave}");
}

// REVIEW U, "Texts to better": a delete that puts back what was before is a restore, and shows what returns.
#[test]
fn the_plan_of_an_undo_shows_what_comes_back_and_does_it() {
    let project = project();
    project.blueprint(&BLUEPRINT.replace(&BLUEPRINT[..BLUEPRINT.find("[file.found]").expect("there")], ""));
    let plan = project.run(&["plan"]).exits(0);
    let was = format!(
        "comes back: file, 0640 {}, 6 bytes, sha256:{}...",
        owner(&project),
        &HELLO[..12]
    );
    plan.says("< file.motd                                restore  no blueprint declares it any more; puts back the file that was there\n")
        .says(&was)
        .says("        mode: 0644 -> 0640\n")
        .says("        -ours\n        +hello\n")
        .says("- file.new                                 delete  no blueprint declares it any more; removes it\n")
        .says("Plan: 0 to create, 0 to update, 0 to replace, 1 to delete, 1 to restore on 1 host")
        .says_not("-new");
    let document = project.run(&["plan", "--json"]).exits(0).json();
    let changes = document["plan"]["hosts"][0]["changes"]
        .as_array()
        .expect("a list")
        .clone();
    let motd = changes
        .iter()
        .find(|change| change["address"] == "file.motd")
        .expect("it is planned");
    assert_eq!(motd["action"], "delete");
    assert_eq!(motd["reason"]["undoing"]["kind"], "restore");

    // What somebody wrote meanwhile stands in the diff as what goes.
    project.write("hosts/w1/motd", "by hand\n");
    project
        .run(&["plan"])
        .exits(0)
        .says("        -by hand\n        +hello\n");
    fs::remove_file(project.path("hosts/w1/motd")).expect("it was there");
    project
        .run(&["plan"])
        .exits(0)
        .says("        +hello\n")
        .says_not("-by hand");
    project.write("hosts/w1/motd", "ours\n");
    project.run(&["apply", "-y"]).exits(0).says("1 host: 1 changed");
    assert_eq!(fs::read(project.path("hosts/w1/motd")).expect("it is back"), b"hello\n");
    let mode = fs::metadata(project.path("hosts/w1/motd"))
        .expect("it is back")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(!project.path("hosts/w1/new").exists());
}

// REVIEW H17: of what is sensitive neither page nor plan shows what was there.
#[test]
fn what_was_before_a_sensitive_resource_is_not_shown() {
    let project = Project::of_local(&["w1"]);
    project.write("hosts/w1/key", "hello\n");
    project.blueprint("[file.key]\npath = \"{{root}}/key\"\ncontent = \"quite secret\\n\"\nsensitive = true\n");
    project.run(&["apply", "-y"]).exits(0);
    let digest = &HELLO[..12];
    project
        .run(&["machines", "w1"])
        .exits(0)
        .says("    before  (sensitive)\n")
        .says_not(digest);
    project.run(&["machines", "w1", "--json"]).exits(0).says_not(digest);
    project.blueprint("");
    project
        .run(&["plan"])
        .exits(0)
        .says("< file.key")
        .says("comes back: (sensitive)")
        .says_not("hello")
        .says_not(digest);
    project
        .run(&["plan", "--json"])
        .exits(0)
        .says_not(digest)
        .says_not("hello");
}
