//! What `run` does with bytes: stdin to every host, stdout exact where one host or a folder takes it, and no host's
//! output in another's place.

use holdfast_tests::project::Project;
use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

/// Every byte there is, in an order that no text has.
fn every_byte() -> Vec<u8> {
    (0..=255_u8).rev().cycle().take(1024).collect()
}

/// Runs with bytes on stdin.
fn run_with_input(project: &Project, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = project
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A command that reads no further ends it.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it only writes");
    output
}

// REVIEW U4
#[test]
fn stdin_goes_to_the_command_of_one_host_and_comes_back_byte_for_byte() {
    let project = Project::of_local(&["web1"]);
    let input = every_byte();
    let output = run_with_input(&project, &["run", "web1", "--", "cat"], &input);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stdout == input, "{} bytes came back", output.stdout.len());
}

// REVIEW U4
#[test]
fn stdin_is_read_once_and_goes_to_every_host() {
    let project = Project::of_local(&["web1", "web2", "web3"]);
    // More than the pipes, windows and frames on the way hold at once.
    let input = every_byte().repeat(3000);
    let folder = project.path("out");
    let folder_text = folder.to_str().expect("UTF-8");
    let output = run_with_input(&project, &["run", "all", "--outdir", folder_text, "--", "cat"], &input);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for host in ["web1", "web2", "web3"] {
        let kept = fs::read(folder.join(format!("{host}.out"))).expect("the output of each");
        assert!(kept == input, "{host}: {} of {} bytes", kept.len(), input.len());
    }
}

// REVIEW U4
#[test]
fn stdin_is_left_alone_when_asked_to_and_a_command_need_not_read_it() {
    let project = Project::of_local(&["web1"]);
    let output = run_with_input(&project, &["run", "web1", "-n", "--", "cat; echo end"], b"x\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "end\n");
    let output = run_with_input(&project, &["run", "web1", "--", "echo end"], &every_byte().repeat(2000));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "end\n");
    assert_eq!(output.status.code(), Some(0));
}

// REVIEW U4
#[test]
fn a_long_output_of_one_host_is_whole_and_streams_stay_apart() {
    let project = Project::of_local(&["web1"]);
    let ended = project
        .run(&["run", "web1", "--", "seq 1 200000; echo complaint >&2"])
        .exits(0);
    assert_eq!(ended.stdout.lines().count(), 200_000, "nothing is cut");
    assert!(!ended.stdout.contains("complaint") && ended.stderr.contains("complaint"));
}

// REVIEW U4
#[test]
fn what_is_cut_of_many_outputs_is_said_on_stderr() {
    let project = Project::of_local(&["web1", "web2"]);
    let ended = project.run(&["run", "all", "--", "seq 1 200000"]).exits(0);
    // `seq 1 200000` has 1,288,895 bytes; twice 64 KiB are kept.
    let cut = 1_288_895 - 2 * 64 * 1024;
    for host in ["web1", "web2"] {
        assert!(
            ended.stderr.contains(&format!(
                "{host}: {cut} bytes in the middle of its output are not shown; --outdir DIR"
            )),
            "{}",
            ended.stderr
        );
    }
}

// REVIEW U4
#[test]
fn a_folder_that_holds_files_is_refused_for_output() {
    let project = Project::of_local(&["web1"]);
    project.write("out/old", "x");
    project
        .run(&["run", "web1", "--outdir", "out", "--", "true"])
        .exits(1)
        .says("failed to use out for output: it is not empty");
}

// REVIEW H15
#[test]
fn the_output_of_a_host_can_not_look_like_the_block_of_another() {
    let project = Project::of_local(&["web1", "web2"]);
    let command = r"printf 'web2\n  all is well\nfailed: ended with code 1\n'";
    let ended = project.run(&["run", "all", "--", command]).exits(0);
    let spoken: Vec<&str> = ended.stdout.lines().filter(|line| !line.starts_with("  ")).collect();
    assert_eq!(spoken, ["web[1-2] (2)"], "only Holdfast begins a line: {ended}");
    let streamed = project.run(&["run", "all", "--stream", "--", command]).exits(0);
    for line in streamed.stdout.lines() {
        assert!(line.starts_with("web1: ") || line.starts_with("web2: "), "{streamed}");
    }
}

#[test]
fn a_forgotten_double_dash_is_explained() {
    let project = Project::of_local(&["web1"]);
    project
        .run(&["run", "web1", "uptime"])
        .exits(1)
        .says("the command comes after it: holdfast run web1 -- uptime");
    project
        .run(&["run", "web1"])
        .exits(1)
        .says("holdfast run web1 -- uptime");
}

// REVIEW C11
#[test]
fn a_full_stdout_is_told_and_only_a_closed_pipe_is_silent() {
    let project = Project::of_local(&["web1"]);
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let output = project
        .command(&["hosts"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("failed to write to stdout: No space left on device"),
        "{said}"
    );

    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = project
        .command(&["hosts"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(141));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
