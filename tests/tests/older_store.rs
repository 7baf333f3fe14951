//! The store is not what it was: put back in time, lost, or another project's. What Holdfast put on a host is never taken
//! for what was always there, because what was there before would be lost.

use holdfast_tests::project::Project;
use std::fs;
use std::path::Path;

const FIRST: &str = "[file.motd]\npath = \"{{root}}/motd\"\ncontent = \"ours\\n\"\n";
const SECOND: &str = "[file.conf]\npath = \"{{root}}/conf\"\ncontent = \"ours\\n\"\n";

/// A host with two files of people.
fn project() -> Project {
    let project = Project::of_local(&["one"]);
    project.write("hosts/one/motd", "theirs\n");
    project.write("hosts/one/conf", "theirs\n");
    project
}

fn read(project: &Project, name: &str) -> String {
    fs::read_to_string(project.path(&format!("hosts/one/{name}"))).expect("a text")
}

/// Copies the store as people do: the one file.
fn copy_store(project: &Project, to: &str) {
    fs::copy(project.path(".holdfast/holdfast.db"), project.path(to)).expect("copied");
}

fn put_store(project: &Project, from: &str) {
    let _ = fs::remove_dir_all(project.path(".holdfast"));
    fs::create_dir(project.path(".holdfast")).expect("a folder");
    fs::copy(project.path(from), project.path(".holdfast/holdfast.db")).expect("copied");
}

// REVIEW H7
#[test]
fn a_store_that_was_put_back_in_time_is_told_and_nothing_is_adopted() {
    let project = project();
    project.blueprint(FIRST);
    project.run(&["apply", "-y"]).exits(0);
    copy_store(&project, "old.db");
    project.blueprint(&format!("{FIRST}{SECOND}"));
    project.run(&["apply", "-y"]).exits(0);
    copy_store(&project, "new.db");

    put_store(&project, "old.db");
    project
        .run(&["plan"])
        .exits(1)
        .says("the store is older than what this host knows")
        .says("and 1 thing it put there")
        .says("`holdfast resolve one accept`");
    project.run(&["apply", "-y"]).exits(2).says("1 host: 1 held");
    let ledger = project.run(&["machines", "one"]).exits(0);
    ledger.says("file.motd").says_not("file.conf");

    // The newer store is back: nothing holds the host any more, and what was there before comes back.
    put_store(&project, "new.db");
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("Nothing to do");
    project.blueprint(FIRST);
    project.run(&["apply", "-y"]).exits(0);
    assert_eq!(read(&project, "conf"), "theirs\n");
}

// REVIEW H7
#[test]
fn a_person_may_go_on_with_an_older_store_and_what_is_there_counts_as_found() {
    let project = project();
    project.blueprint(FIRST);
    project.run(&["apply", "-y"]).exits(0);
    copy_store(&project, "old.db");
    project.blueprint(&format!("{FIRST}{SECOND}"));
    project.run(&["apply", "-y"]).exits(0);
    put_store(&project, "old.db");
    project.run(&["plan"]).exits(1);
    project
        .run(&["resolve", "one", "accept"])
        .exits(0)
        .says("one file.conf: counts as found there; what was there before it stays in before/");
    project
        .run(&["resolve", "one", "accept"])
        .exits(1)
        .says("there is nothing to accept");
    project.run(&["apply", "-y"]).exits(0);
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("Nothing to do");
    project.blueprint("");
    project.run(&["apply", "-y"]).exits(0);
    assert_eq!(read(&project, "motd"), "theirs\n", "that life is in the record");
    assert_eq!(read(&project, "conf"), "ours\n", "that one is a person's now");
}

// REVIEW H7
#[test]
fn a_store_that_is_gone_makes_nothing_of_ours_a_thing_that_was_there_before() {
    let project = project();
    project.blueprint(FIRST);
    project.run(&["apply", "-y"]).exits(0);
    copy_store(&project, "kept.db");
    fs::remove_dir_all(project.path(".holdfast")).expect("removed");
    project
        .run(&["plan"])
        .exits(1)
        .says("file.motd")
        .says("another project, or a store that is gone, put this there");
    project.run(&["apply", "-y"]).exits(2).says("1 host: 1 refused");
    // What is not its own it may put there.
    project.blueprint(SECOND);
    project.run(&["apply", "-y"]).exits(0);
    put_store(&project, "kept.db");
    project.blueprint("");
    project.run(&["apply", "-y"]).exits(0);
    assert_eq!(read(&project, "motd"), "theirs\n");
}

// REVIEW H7, H10
#[test]
fn two_projects_may_share_a_host_and_each_keeps_its_own() {
    let (ours, theirs) = (project(), Project::new());
    let inventory = fs::read_to_string(ours.path("inventory.toml")).expect("a text");
    theirs.write("inventory.toml", inventory);
    for round in 0..2 {
        ours.blueprint(&FIRST.replace("ours", &format!("round {round}")));
        ours.run(&["apply", "-y"]).exits(0);
        theirs.blueprint(&SECOND.replace("ours", &format!("round {round}")));
        theirs.run(&["apply", "-y"]).exits(0);
    }
    // One file of both is a quarrel, and told as one.
    theirs.blueprint(FIRST);
    theirs.run(&["plan"]).exits(1).says("put this there");
    for project in [&ours, &theirs] {
        project.blueprint("");
        project.run(&["apply", "-y"]).exits(0);
    }
    assert_eq!(
        (read(&ours, "motd"), read(&ours, "conf")),
        ("theirs\n".to_owned(), "theirs\n".to_owned())
    );
}

// REVIEW H7
#[test]
fn after_a_clean_exit_the_store_is_one_file() {
    let project = project();
    project.blueprint(FIRST);
    project.run(&["apply", "-y"]).exits(0);
    let log = project.path(".holdfast/holdfast.db-wal");
    assert!(!log.exists() || fs::metadata(&log).expect("there").len() == 0);
    let runs = project.run(&["runs"]).exits(0).stdout;
    copy_store(&project, "copy.db");
    put_store(&project, "copy.db");
    assert_eq!(project.run(&["runs"]).exits(0).stdout, runs);
    assert!(Path::new(&project.path("copy.db")).exists());
}

// REVIEW H7, H18
#[test]
fn the_store_is_backed_up_verified_and_mended_by_commands() {
    let project = project();
    project.blueprint(FIRST);
    project.run(&["apply", "-y"]).exits(0);
    let backup = project.path("backup.db").display().to_string();
    // A broken inventory is no reason to have no backup.
    let inventory = fs::read_to_string(project.path("inventory.toml")).expect("a text");
    project.write("inventory.toml", "[hosts");
    project.run(&["store", "backup", &backup]).exits(0).says("backed up to");
    project.write("inventory.toml", inventory);
    project.run(&["store", "backup", &backup]).exits(1).says("File exists");
    project
        .run(&["store", "verify"])
        .exits(0)
        .says("all as they were written");
    put_store(&project, "backup.db");
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("Nothing to do");

    // One letter, in a file that SQLite finds whole.
    let path = project.path(".holdfast/holdfast.db");
    let mut bytes = fs::read(&path).expect("the store");
    // Who and what stand side by side in the row; in the event they are fields of JSON.
    let row = b"testerholdfast apply";
    let at = bytes.windows(row.len()).position(|window| window == row);
    bytes[at.expect("the row of the run") + 6] = b'H';
    fs::write(&path, bytes).expect("written");
    project.run(&["runs"]).exits(1).says("`holdfast store verify`");
    project
        .run(&["store", "verify"])
        .exits(1)
        .says("1 row of table runs is not what the events say")
        .says("`holdfast store rebuild`");
    project.run(&["store", "rebuild"]).exits(0).says("made anew from");
    project.run(&["runs"]).exits(0).says("holdfast apply --yes");
    project
        .run(&["store", "verify", "-l", "one"])
        .exits(1)
        .says("--limit does nothing");
}
