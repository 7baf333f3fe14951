//! Probes on odd hosts: tools that fail or hang, bytes beyond ASCII, many resources in any order, eyes on /proc.

#[expect(dead_code, reason = "the other tests use the rest of the test host")]
mod host;

use holdfast_agent::program::{self, ObserveRequest};
use holdfast_agent::reply::{JobEnd, Record, StepStatus};
use host::{Host, Job, SHELLS, skip, under_every_shell};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

fn quote(path: &Path) -> String {
    format!("'{}'", path.display())
}

/// Puts a program before the real ones; gives the line of a body that finds it first.
fn fake(host: &Host, name: &str, text: &str) -> String {
    let folder = host.path("fakes");
    std::fs::create_dir_all(&folder).expect("the folder is ours");
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("the folder is ours");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    format!("PATH={}:$PATH\n", quote(&folder))
}

/// The attributes that an observe brings: `ID KEY VALUE`.
fn attributes(host: &Host, body: &str) -> Vec<String> {
    let reply = host.observe(body);
    assert!(reply.done, "{reply:?}");
    reply
        .records
        .into_iter()
        .filter_map(|record| match record {
            Record::Attr { id, key, value } => Some(format!("{id} {key} {value}")),
            _ => None,
        })
        .collect()
}

// REVIEW H28
#[test]
fn a_tool_that_fails_does_not_make_things_absent() {
    let cases = [
        (
            "hf_pm=apt",
            "dpkg-query",
            "echo 'dpkg-query: error: parsing file status' >&2; exit 2",
            "package",
            "unreadable dpkg-query ended with 2",
        ),
        ("hf_pm=apt", "dpkg-query", "exit 1", "package", "installed no"),
        (
            "hf_pm=dnf",
            "rpm",
            "echo 'error: cannot open Packages database' >&2; echo 'package x is not installed'; exit 1",
            "package",
            "unreadable rpm can't read its database: cannot open Packages database",
        ),
        (
            "hf_pm=dnf",
            "rpm",
            "echo 'package x is not installed'; exit 1",
            "package",
            "installed no",
        ),
        (
            "hf_init=systemd",
            "systemctl",
            "echo 'Failed to connect to bus: No such file' >&2; exit 1",
            "service",
            "unreadable systemctl tells nothing of it: Failed to connect to bus: No such file",
        ),
        (
            "hf_init=systemd",
            "systemctl",
            "printf 'Id=x.service\\nLoadState=not-found\\nActiveState=inactive\\nUnitFileState=\\n'",
            "service",
            "unit missing",
        ),
        (":", "getent", "exit 3", "user", "unreadable getent passwd ended with 3"),
        (":", "getent", "exit 2", "user", "exists no"),
        (
            ":",
            "getent",
            "exit 126",
            "group",
            "unreadable getent group ended with 126",
        ),
    ];
    under_every_shell(|shell| {
        // busybox runs its own rpm, whatever PATH says.
        let own = |tool| shell.starts_with("busybox") && tool == "rpm";
        for (setting, tool, text, kind, expected) in cases.into_iter().filter(|case| !own(case.1)) {
            let host = Host::new(shell);
            let path = fake(&host, tool, text);
            for collect in [format!("hf_collect_{kind} x\nhf_collect\n"), String::new()] {
                let body = format!("{path}{setting}\n{collect}hf_begin 7\nhf_probe_{kind} x no name\n");
                assert_eq!(
                    attributes(&host, &body),
                    [format!("7 {expected}")],
                    "{shell}: {tool}: {text}: {collect}"
                );
            }
        }
    });
}

// REVIEW U8
#[test]
fn a_check_that_hangs_is_named_after_its_time_and_the_others_are_told() {
    under_every_shell(|shell| {
        for timeout in ["hf_timeout_kind=", "hf_timeout_kind=none"] {
            let host = Host::new(shell);
            let body = format!(
                "{timeout}\nhf_check_env() {{\n:\n}}\n\
                 hf_begin 1 1\nhf_check='sleep 300'\nhf_probe_check\n\
                 hf_begin 2 60\nhf_check='exit 124'\nhf_probe_check\n\
                 hf_begin 3 60\nhf_check='test -z \"${{hf_check-}}\"'\nhf_probe_check\n"
            );
            assert_eq!(
                attributes(&host, &body),
                [
                    "1 unreadable its check did not end within 1 seconds",
                    "2 check failed",
                    "3 check passed"
                ],
                "{shell}: {timeout}"
            );
        }
    });
}

// REVIEW U8
#[test]
fn a_directory_service_that_does_not_answer_is_told_for_each_account() {
    let host = Host::new("dash");
    let path = fake(&host, "getent", "sleep 300");
    let body = format!(
        "{path}hf_tool_limit=1 hf_patience=1\n\
         hf_collect_user a\nhf_collect_user b\nhf_collect_group g\nhf_collect\n\
         hf_begin 1\nhf_probe_user a no name\nhf_begin 2\nhf_probe_user b no name\nhf_begin 3\nhf_probe_group g\n"
    );
    assert_eq!(
        attributes(&host, &body),
        [
            "1 unreadable getent did not end within 1 seconds",
            "2 unreadable getent did not end within 1 seconds",
            "3 unreadable getent was not asked: what did not answer before it took too long"
        ]
    );
}

// REVIEW A7
#[test]
fn a_package_may_be_named_with_its_architecture() {
    let name = |format: &str| {
        let asked = Command::new("dpkg-query").args(["-W", "-f", format, "libc6"]).output();
        asked
            .ok()
            .filter(|asked| asked.status.success())
            .map(|asked| String::from_utf8_lossy(&asked.stdout).into_owned())
    };
    let Some(architecture) = name("${Architecture}") else {
        skip::skip("there is no dpkg with libc6");
        return;
    };
    let version = name("${Version}").expect("dpkg just answered");
    let host = Host::new("dash");
    let other = if architecture == "i386" { "arm64" } else { "i386" };
    let names = [
        "libc6".to_owned(),
        format!("libc6:{architecture}"),
        format!("libc6:{other}"),
    ];
    let collects: String = names
        .iter()
        .map(|name| format!("hf_collect_package {name}\n"))
        .collect();
    let probes: String = names
        .iter()
        .enumerate()
        .map(|(id, name)| format!("hf_begin {id}\nhf_probe_package {name}\n"))
        .collect();
    for body in [format!("{collects}hf_collect\n{probes}"), probes] {
        assert_eq!(
            attributes(&host, &body),
            [
                "0 installed yes".to_owned(),
                format!("0 version {version}"),
                "0 brought no".to_owned(),
                "1 installed yes".to_owned(),
                format!("1 version {version}"),
                "1 brought no".to_owned(),
                "2 installed no".to_owned(),
            ]
        );
    }
}

// REVIEW H27
#[test]
fn bytes_beyond_ascii_come_as_they_are_and_make_no_plan_stale() {
    // yash keeps text as characters of its locale and so can't hold such bytes.
    for shell in SHELLS.into_iter().filter(|shell| *shell != "yash") {
        let host = Host::new(shell);
        std::fs::create_dir(host.path("d")).expect("the folder is ours");
        // Latin-1, UTF-8, a backslash, a newline at the end.
        let target: &[u8] = b"caf\xe9 M\xc3\xbcller \\351\n";
        let link = host.path("d/link");
        std::os::unix::fs::symlink(OsStr::from_bytes(target), &link).expect("the folder is ours");
        let probe = format!("hf_probe_symlink {}", quote(&link));
        let found = attributes(&host, &format!("hf_begin 1\n{probe}\n"));
        // What readlink's newline and the target's can't be told apart by is the end.
        assert_eq!(
            found,
            ["1 type symlink", "1 target caf\u{10ffe9} M\u{fc}ller \\351"],
            "{shell}"
        );
        let body = format!(
            "hf_prologue() {{\nhf_begin 1\n{probe}\n}}\n\
             hf_fingerprint='1 type symlink\n1 target caf\\351 M\\303\\274ller \\134351'\n\
             hf_meta_1() {{\nhf_wanted='target caf\\351 M\\303\\274ller \\134351'\n}}\n\
             hf_probe_1() {{\n{probe}\n}}\nhf_apply_1() {{\nfalse\n}}\nhf_steps=1\n"
        );
        let reply = host.start("a1", &Job { body, ..Job::default() });
        assert_eq!(reply.end(), Some((JobEnd::Completed, "-")), "{shell}: {reply:?}");
        assert_eq!(reply.steps(), [(StepStatus::Unchanged, "")], "{shell}");
    }
}

// REVIEW H33
#[test]
fn resources_in_any_order_cost_no_more_than_in_order() {
    // Commands that dash runs, as it traces them: twice the resources are twice the commands, and not four times.
    let commands = |count: usize, in_order: bool| {
        let host = Host::new("dash");
        let name = |number: usize| host.path(&format!("file{number}")).display().to_string();
        let mut order: Vec<usize> = (0..count).collect();
        if !in_order {
            // A fixed shuffle: 37 has no factor in common with the counts.
            order.sort_by_key(|number| number * 37 % count);
        }
        let collects: String = (0..count)
            .map(|number| format!("hf_collect_path {}\n", name(number)))
            .collect();
        let probes: String = order
            .iter()
            .map(|number| format!("hf_begin {number}\nhf_probe_path {} name name\n", name(*number)))
            .collect();
        let state = host.state_text();
        let nonce = host::nonce();
        let body = format!("{collects}hf_collect\n{probes}");
        let request = ObserveRequest {
            state_dir: Some(&state),
            body: &body,
            ..ObserveRequest::default()
        };
        let mut child = Command::new("dash")
            .arg("-x")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("dash is there");
        let program = String::from_utf8(program::observe(&nonce, &request)).expect("programs are text");
        // The body's own errors go nowhere, and so would its trace.
        let program = program.replace("3>&1 >/dev/null 2>&1 </dev/null", "3>&1 >/dev/null </dev/null");
        child
            .stdin
            .take()
            .expect("stdin is piped")
            .write_all(program.as_bytes())
            .expect("the program is read");
        let output = child.wait_with_output().expect("it ends");
        output.stderr.iter().filter(|byte| **byte == b'\n').count()
    };
    let (some, twice) = (commands(100, false), commands(200, false));
    assert!(some > 1000, "the trace went wrong: {some}");
    assert!(
        twice < some * 5 / 2,
        "{some} commands for 100 resources, {twice} for 200"
    );
    let sorted = commands(200, true);
    assert!(twice < sorted * 3, "{sorted} commands in order, {twice} in another");
}

// REVIEW H24
#[test]
fn no_line_and_no_check_is_an_argument_of_a_process() {
    under_every_shell(|shell| {
        let host = Host::with_wrapper(shell, "printf '%s\\n' \"$*\" >>\"$0.log\"; exec /bin/sh \"$@\"");
        let log = host.path("wrapper.log");
        let real = Command::new("sh")
            .args(["-c", "command -v awk"])
            .output()
            .expect("sh is everywhere");
        let real = String::from_utf8_lossy(&real.stdout).trim().to_owned();
        let path = fake(
            &host,
            "awk",
            &format!("printf '%s\\n' \"$*\" >>{}; exec {real} \"$@\"", quote(&log)),
        );
        let file = host.path("file");
        std::fs::write(&file, "one\nPASSWORD=geheim\n").expect("the folder is ours");
        let body = format!(
            "{path}hf_check_env() {{\n:\n}}\n\
             hf_begin 1\nhf_probe_line {0} PASSWORD=geheim\nhf_begin 2\nhf_probe_line {0} PASSWORD=other\n\
             hf_begin 3\nhf_check='[ geheim = geheim ]'\nhf_probe_check\n",
            quote(&file)
        );
        assert_eq!(
            attributes(&host, &body),
            [
                "1 type file",
                "1 line present",
                "2 type file",
                "2 line absent",
                "3 check passed"
            ],
            "{shell}"
        );
        let seen = std::fs::read_to_string(&log).expect("the fakes were called");
        // busybox runs its own awk.
        assert!(seen.lines().count() >= 1, "{shell}: {seen}");
        assert!(!seen.contains("geheim") && !seen.contains("other"), "{shell}: {seen}");
    });
}

// REVIEW U, "Texts to better": a plan shows what an undo brings back.
#[test]
fn the_text_that_comes_back_is_shown_whole_and_only_if_it_is_text_and_there() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let texts = |lives: &[&str]| -> Vec<(u32, Vec<u8>)> {
            let ask = |(id, life): (usize, &&str)| format!("hf_begin {id}\nhf_kept_text {life}\n");
            let body: String = lives.iter().enumerate().map(ask).collect();
            let reply = host.observe(&body);
            assert!(reply.done, "{shell}: {reply:?}");
            let text = |record| match record {
                Record::Text { id, bytes } => Some((id, bytes)),
                _ => None,
            };
            reply.records.into_iter().filter_map(text).collect()
        };
        let keep = |life: &str, content: &[u8]| {
            let folder = host.state().join("before").join(life);
            std::fs::create_dir_all(&folder).expect("the state folder is ours");
            std::fs::write(folder.join("content"), content).expect("it is ours");
        };
        keep("a-1", b"was\nthere\n\n");
        // A shell that takes a NUL into a variable shows it.
        let takes_nul = shell.starts_with("zsh");
        keep("a-2", if takes_nul { &[b'x'; 70_000] } else { b"with a \0 in it" });
        keep("a-3", &vec![b'x'; 64 * 1024 + 1]);
        keep("a-4", b"");
        std::fs::create_dir_all(host.state().join("before/a-5")).expect("the state folder is ours");
        let shown = texts(&["a-1", "a-2", "a-3", "a-4", "a-5", "gone"]);
        assert_eq!(shown, [(0, b"was\nthere\n\n".to_vec()), (3, Vec::new())], "{shell}");
    });
}
