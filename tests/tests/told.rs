//! What people are told, and in which words: of runs that are over, of hosts that were renamed or are reached otherwise, of
//! what failed and why.

#[path = "../src/skip.rs"]
mod skip;

use holdfast_tests::project::Project;
use holdfast_tests::slow::wait_until;
use holdfast_tests::waiting::{let_go, wait_for_end, wait_for_step, want};
use std::fs;
use std::process::{Command, Stdio};

/// Two resources that are made, one that is there, one that fails if the file `fails` is there.
const BLUEPRINT: &str = r#"
[file.made]
path = "{{root}}/made"
content = "made\n"

[file.there]
path = "{{root}}/there"
content = "there\n"

[script.last]
needs = ["file.made"]
env = { ROOT = "{{root}}" }
check = 'test -e "$ROOT/last"'
apply = '''
sleep 1
if [ -e "$ROOT/fails" ]; then
  n=0
  while [ $n -lt 40 ]; do n=$((n + 1)); echo "working at $n"; done
  echo "the reason" >&2
  exit 3
fi
touch "$ROOT/last"
'''
"#;

fn project(hosts: &[&str]) -> Project {
    let project = Project::of_local(hosts);
    project.blueprint(BLUEPRINT);
    for host in hosts {
        project.write(&format!("hosts/{host}/there"), "there\n");
    }
    project
}

/// The latest run.
fn latest(project: &Project) -> String {
    let runs = project.run(&["runs", "--json"]).exits(0).json();
    runs["runs"][0]["run"].as_str().expect("an id").to_owned()
}

// REVIEW U6
#[test]
fn a_run_is_shown_as_its_command_told_it_with_each_step_and_its_time() {
    let project = project(&["w1", "w2"]);
    let recap = "w[1-2] (2) changed ok=1 changed=2 failed=0 skipped=0\n";
    project.run(&["apply", "-y"]).exits(0).says(recap);
    let run = latest(&project);
    let shown = project.run(&["runs", "show", &run]).exits(0);
    let shown = shown
        .says(recap)
        .says("    changed   file.made                                create")
        .says("2 hosts: 2 changed\n")
        .says("ended    20");
    let slow = shown
        .stdout
        .lines()
        .find(|line| line.contains("script.last"))
        .expect("its line");
    // It sleeps a second; what else it takes is the machine's.
    assert!(
        slow.trim_start().starts_with("changed ") && slow.ends_with(" s"),
        "{slow}"
    );
    let document = project.run(&["runs", "show", &run, "--json"]).exits(0).json();
    assert_eq!(document["recap"]["changed"], 2);
    let host = &document["hosts"][0];
    assert_eq!(
        (&host["host"], &host["ok"], &host["changed"]),
        (&"w1".into(), &1.into(), &2.into())
    );
    assert_eq!(host["steps"][1]["address"], "script.last");
    assert_eq!(host["steps"][1]["status"]["status"], "changed");
    assert!(host["steps"][1]["seconds"].as_u64().expect("a number") >= 1, "{host}");
}

// REVIEW U6
#[test]
fn what_a_later_command_recorded_of_a_run_is_shown_with_it() {
    let project = Project::of_local(&["one"]);
    want(&project, 1);
    let apply = project.start(&["apply", "-y"]);
    wait_for_step(&project, "one", 1);
    apply.kill();
    let run = latest(&project);
    project.run(&["runs", "show", &run]).exits(0).says("one not ended");
    let_go(&project, "one", 1);
    wait_for_end(&project, "one");
    // REVIEW U, "Texts to better": after a recovery there is nothing to do, and it is said why.
    let short: String = run.chars().take(8).collect();
    project
        .run(&["plan"])
        .exits(0)
        .says("Nothing to do")
        .says_once(&format!("one: recorded from run {short}: script.slow changed"));
    project.run(&["plan"]).exits(0).says_not("recorded from run");
    project
        .run(&["runs", "show", &run])
        .exits(0)
        .says("one changed ok=0 changed=1 failed=0 skipped=0\n")
        .says("    not known when the run ended; a later command recorded it\n")
        .says("    changed   script.slow ")
        .says("1 host: 1 changed")
        .says_not("run the command again");
}

// REVIEW U6
#[test]
fn the_list_of_runs_counts_what_is_known_by_now() {
    let project = Project::of_local(&["one"]);
    want(&project, 1);
    let apply = project.start(&["apply", "-y"]);
    wait_for_step(&project, "one", 1);
    apply.interrupt();
    std::thread::sleep(std::time::Duration::from_millis(500));
    apply.interrupt();
    apply.wait().exits(130).says("1 host: 1 unknown");
    project.run(&["runs"]).exits(0).says("1 host: 1 unknown");
    let_go(&project, "one", 1);
    wait_for_end(&project, "one");
    project.run(&["plan"]).exits(0).says("recorded from run ");
    project
        .run(&["runs"])
        .exits(0)
        .says("1 host: 1 changed")
        .says_not("unknown");
}

// REVIEW U6
#[test]
fn an_apply_that_waits_for_an_earlier_job_says_what_became_of_it() {
    let project = Project::of_local(&["one"]);
    want(&project, 1);
    let apply = project.start(&["apply", "-y"]);
    wait_for_step(&project, "one", 1);
    apply.kill();
    let run: String = latest(&project).chars().take(8).collect();
    let apply = project.start(&["apply", "-y"]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    let_go(&project, "one", 1);
    apply
        .wait()
        .exits(0)
        .says_once(&format!("one: recorded from run {run}: script.slow changed"));
}

// REVIEW U, "Texts to better": forty lines of apt before the reason.
#[test]
fn of_a_long_output_the_end_is_shown_where_the_reason_is_and_runs_show_has_more() {
    let project = project(&["w1"]);
    project.write("hosts/w1/fails", "");
    let apply = project.run(&["apply", "-y"]).exits(2);
    apply
        .says("script.last: ended with code 3")
        .says("    | (31 lines before these: holdfast runs show)\n    | working at 32\n")
        .says("    | the reason\n")
        .says_not("working at 31\n");
    let run = latest(&project);
    let shown = project.run(&["runs", "show", &run]).exits(0);
    shown
        .says("    | working at 1\n")
        .says("    | the reason\n")
        .says("    failed    script.last ");
    // Bytes are words there too.
    let json = project.run(&["runs", "show", &run, "--json"]).exits(0);
    assert!(!json.stdout.contains("\"output\":["), "{json}");
}

// REVIEW U, "Texts to better"
#[test]
fn a_step_that_does_not_make_its_check_pass_is_told_in_words() {
    let project = Project::of_local(&["w1"]);
    project.blueprint("[script.idle]\ncheck = \"false\"\napply = \"true\"\n");
    project
        .run(&["apply", "-y"])
        .exits(2)
        .says("script.idle: apply ended well, but its check still fails")
        .says_not("check passed");
}

// REVIEW U2
#[test]
fn a_host_that_was_renamed_keeps_its_machine_and_the_plan_says_so() {
    let project = project(&["w1", "w2"]);
    project.run(&["apply", "-y"]).exits(0);
    let machine = project.run(&["machines", "w1", "--json"]).exits(0).json()["machines"][0]["machine"].clone();
    let rename = |from: &str, to: &str| {
        let inventory = fs::read_to_string(project.path("inventory.toml")).expect("it was written");
        project.write(
            "inventory.toml",
            inventory.replace(&format!("[hosts.{from}]"), &format!("[hosts.{to}]")),
        );
    };
    rename("w1", "web1");
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("web1\n  * this machine was `w1`, which the inventory has no more: its ledger goes on under this name\n")
        .says("Nothing to do: 2 hosts are as desired");
    let now = project.run(&["machines", "web1", "--json"]).exits(0).json()["machines"][0].clone();
    assert_eq!(now["machine"], machine);
    assert_eq!(
        now["ledger"]["file.made"]["origin"], "applied",
        "what was there before goes on"
    );
    project.run(&["plan"]).exits(0).says_not("w1`");
    project.write("hosts/w1/made", "by hand");
    project.run(&["apply", "-y"]).exits(0).says("web1 changed");

    // By another inventory nobody was renamed.
    let inventory = fs::read_to_string(project.path("inventory.toml")).expect("it was written");
    project.write("other.toml", inventory.replace("[hosts.web1]", "[hosts.other]"));
    project
        .run(&["plan", "-i", "other.toml", "-l", "other"])
        .says("two names for one host");

    // Two names for one host are two names, as long as the inventory has both.
    let inventory = fs::read_to_string(project.path("inventory.toml")).expect("it was written");
    let entry = inventory
        .split("[hosts.")
        .find(|entry| entry.starts_with("web1]"))
        .expect("its entry");
    project.write(
        "inventory.toml",
        format!("{inventory}\n[hosts.{}", entry.replacen("web1]", "twin]", 1)),
    );
    project.run(&["plan"]).says("two names for one host");
}

// REVIEW U2
#[test]
fn a_job_that_was_sent_under_the_old_name_is_recorded_under_the_new_one() {
    let project = Project::of_local(&["one"]);
    project.blueprint("[file.made]\npath = \"{{root}}/made\"\ncontent = \"x\"\n");
    project.run(&["apply", "-y"]).exits(0);
    want(&project, 1);
    let apply = project.start(&["apply", "-y"]);
    wait_for_step(&project, "one", 1);
    apply.kill();
    let inventory = fs::read_to_string(project.path("inventory.toml")).expect("it was written");
    project.write("inventory.toml", inventory.replace("[hosts.one]", "[hosts.uno]"));
    // It still runs when the new name is first asked.
    project
        .run(&["plan"])
        .exits(1)
        .says("of an earlier run is still running");
    let_go(&project, "one", 1);
    wait_for_end(&project, "one");
    project
        .run(&["apply", "-y"])
        .exits(0)
        .says("uno: recorded from run ")
        .says("script.slow changed");
    let ledger = project.run(&["machines", "uno", "--json"]).exits(0).json()["machines"][0]["ledger"].clone();
    assert_eq!(ledger["script.slow"]["phase"], "ready", "{ledger}");
    assert_eq!(ledger["script.slow"]["origin"], "applied", "{ledger}");
}

// REVIEW U8
#[test]
fn a_check_that_hangs_is_named_after_the_time_of_its_resource() {
    let project = Project::of_local(&["w1"]);
    project.blueprint("[script.hangs]\ncheck = \"sleep 3000\"\napply = \"true\"\ntimeout = \"1s\"\n");
    let plan = project.run(&["plan"]).exits(1);
    plan.says("script.hangs: ")
        .says("did not end within 1 second")
        .says_not("--timeout");
}

// REVIEW U11
#[test]
fn one_host_is_not_one_of_one_hosts() {
    let project = project(&["w1"]);
    let plan = project.run(&["plan"]).exits(0);
    plan.says(" on 1 host\n").says_not("1 of 1");
}

// REVIEW U12
#[test]
fn hosts_that_are_down_for_one_reason_are_one_block() {
    let project = Project::new();
    let hosts: Vec<String> = (1..=20)
        .map(|n| format!("[hosts.web{n:02}]\naddress = \"127.0.0.{n}\"\nport = {n}\nconnect_timeout = \"2s\"\npassword = {{ env = \"PASSWORD\" }}\n"))
        .collect();
    project.write("inventory.toml", hosts.concat());
    project.blueprint("[file.made]\npath = \"/nonexistent/x\"\ncontent = \"x\"\n");
    let plan = project.run_with(&["plan"], &[("PASSWORD", "x")]).exits(4);
    let plan = plan
        .says_once("not observed:")
        .says("web[01-20] (20): connection refused; on web01: ");
    assert!(plan.stderr.lines().count() < 6, "{plan}");
    let apply = project.run_with(&["apply", "-y"], &[("PASSWORD", "x")]).exits(4);
    let apply = apply.says("web[01-20] (20) unreachable\n    connection refused; on web01: ");
    assert!(apply.stdout.lines().count() < 8, "{apply}");
    let run = project
        .run_with(&["run", "all", "--", "true"], &[("PASSWORD", "x")])
        .exits(4);
    let run = run.says("web[01-20] (20)\nunreachable: connection refused; on web01: ");
    assert!(run.stdout.lines().count() < 6, "{run}");
    let collect = project.run_with(&["collect"], &[("PASSWORD", "x")]).exits(4);
    // REVIEW U13: the message, and below it what to do.
    let collect = collect
        .says_once("not collected: web[01-20] (20): connection refused; on web01: ")
        .says("\n    check that sshd runs");
    assert_eq!(collect.stdout, "", "{collect}");
}

// REVIEW U13
#[test]
fn very_verbose_says_more_than_verbose() {
    let project = project(&["w1"]);
    let lines = |flag: &str| project.run(&["plan", flag]).exits(0).stderr.lines().count();
    let (one, two) = (lines("-v"), lines("-vv"));
    assert!(two > one, "-v {one} lines, -vv {two}");
    project.run(&["plan", "-vv"]).exits(0).says("observed").says("w1");
}

// REVIEW U, "Texts to better"
#[test]
fn apply_check_names_the_command_that_looks_only() {
    let project = project(&["w1"]);
    for flag in ["--check", "--dry-run"] {
        project
            .run(&["apply", flag])
            .exits(1)
            .says("`holdfast plan` shows what would change");
    }
    assert!(!project.path("hosts/w1/made").exists());
}

// REVIEW U, "Texts to better"
#[test]
fn the_words_of_resolve_are_explained_where_one_looks_and_where_one_decides() {
    let project = project(&["w1"]);
    project.run(&["apply", "-y"]).exits(0);
    let help = project.run(&["resolve", "--help"]).exits(0);
    help.says("  retry    try again what failed")
        .says("  skip     drop it from the ledger")
        .says("  accept   what is on the host now counts as applied")
        .says("  taint    undo it and make it anew");
    project
        .run(&["resolve", "w1", "file.made", "taint"])
        .exits(0)
        .says("the next apply undoes it and makes it anew");
    project.run(&["plan"]).exits(0).says("-/+ file.made");
    project
        .run(&["resolve", "w1", "file.made", "skip", "--because", "not ours"])
        .exits(0)
        .says("if a blueprint still declares it, the next plan has it again");
    project.run(&["plan"]).exits(0).says("= file.made");
}

// REVIEW U, "Texts to better"
#[test]
fn a_command_without_its_dashes_is_explained() {
    let project = project(&["w1"]);
    project
        .run(&["run", "w1", "uptime"])
        .exits(1)
        .says("`uptime` stands before `--`")
        .says("holdfast run w1 -- uptime");
}

/// What a terminal shows in the end of what was written to it, line by line: a cleared line starts anew.
fn on_screen(written: &str) -> Vec<String> {
    let line = |line: &str| line.rsplit("\u{1b}[2K").next().unwrap_or_default().to_owned();
    written.lines().map(line).collect()
}

// REVIEW U13
#[test]
fn no_progress_line_stays_among_streamed_lines() {
    if Command::new("script").arg("--version").output().is_err() {
        skip::skip("script is not on this machine");
        return;
    }
    let project = Project::of_local(&["w1", "w2"]);
    for words in ["run all --stream", "run w1"] {
        let holdfast = project.command(&[]);
        let line = format!(
            "{} {words} -n -- 'echo first; sleep 1; echo second'",
            holdfast.get_program().to_str().expect("UTF-8")
        );
        let written = project.path("written");
        let mut script = Command::new("script");
        script.args(["-qfc", &line]).arg(&written).current_dir(project.path(""));
        script
            .env_clear()
            .envs(holdfast.get_envs().filter_map(|(key, value)| Some((key, value?))));
        script.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::null());
        assert!(script.status().expect("script starts").success());
        let written = fs::read_to_string(&written).expect("the terminal");
        assert!(written.contains("running"), "somebody watches: {written:?}");
        let shown = on_screen(&written);
        assert!(shown.iter().any(|line| line.ends_with("second")), "{shown:?}");
        assert!(!shown.iter().any(|line| line.contains("running")), "{shown:?}");
    }
}

// REVIEW U13
#[test]
fn the_demo_that_was_kept_says_that_it_is_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = Project::new();
    let demo = folder.path().join("demo");
    let kept = project.start(&[
        "demo",
        "--hosts",
        "1",
        "--keep",
        "--folder",
        demo.to_str().expect("UTF-8"),
    ]);
    let root = demo.join("project");
    let root = root.to_str().expect("UTF-8");
    wait_until("the walk is over", || {
        let runs = project.run(&["-C", root, "runs", "--json"]);
        let Ok(runs) = serde_json::from_str::<serde_json::Value>(&runs.stdout) else {
            return false;
        };
        let last = &runs["runs"][0];
        last["for"] == "run" && !last["ended"].is_null()
    });
    std::thread::sleep(std::time::Duration::from_secs(1));
    kept.interrupt();
    kept.wait()
        .says("The hosts stay up until Ctrl-C")
        .says_once("The demo's hosts are gone; the project stays in ");
}

// REVIEW U, "Texts to better": two whole digests with --no-diff.
#[test]
fn a_digest_is_shown_as_far_as_anybody_compares_it() {
    let project = Project::of_local(&["w1"]);
    project.write("hosts/w1/made", "hello\n");
    project.blueprint("[file.made]\npath = \"{{root}}/made\"\ncontent = \"made\\n\"\n");
    // What `printf 'hello\n' | sha256sum` and `printf 'made\n' | sha256sum` begin with.
    project
        .run(&["plan", "--no-diff"])
        .exits(0)
        .says("        digest: sha256:5891b5b522d5... -> sha256:9ccbd3f1b19a...\n");
}
