//! What the file engine promises beside the resource cases: validators, what is swept, what of others is kept.

use holdfast_plan::sh::Sh;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[path = "../../../tests/src/skip.rs"]
mod skip;

const LIBRARY: &str = concat!(
    r#"
LC_ALL=C; export LC_ALL; cd /; umask 022
hf_attr() { :; }
hf_first_line() { read -r hf_got <"$1"; } 2>/dev/null
hf_say() { printf '%s\n' "$*"; }
hf_left() { printf 'left %s\n' "$1"; }
hf_die() { printf '%s\n' "$1" >&2; exit 1; }
"#,
    include_str!("../../../agent/sh/caps.sh"),
    include_str!("../../../agent/sh/probe.sh"),
    include_str!("../../../agent/sh/sweep.sh"),
    include_str!("../../../agent/sh/place.sh"),
    include_str!("../../../agent/sh/carry.sh"),
    include_str!("../../../agent/sh/change.sh"),
    include_str!("../../../agent/sh/back.sh"),
    include_str!("../../../agent/sh/lines.sh"),
);

struct Host(tempfile::TempDir);

struct Said {
    ok: bool,
    stdout: String,
    stderr: String,
}

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().expect("a folder"));
        for folder in ["state", "state/before", "state/before/key", "state/jobs", "fakes", "d"] {
            fs::create_dir(host.path(folder)).expect("made");
        }
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, content: &str, mode: u32) -> String {
        fs::write(self.path(name), content).expect("written");
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("chmod");
        self.text(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a text")
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).expect("there").mode() & 0o7777
    }

    /// Runs sh with the library, as a step does; `fakes` stands first in its PATH.
    fn run(&self, body: &Sh) -> Said {
        let program = Sh::new()
            .code(LIBRARY)
            .set("hf_state", &self.text("state"))
            .set("hf_job", &self.text("state/jobs"))
            .set("hf_before", &self.text("state/before/key"))
            .code(r#"PATH="${hf_state%/*}/fakes:$PATH:/usr/sbin:/sbin"; export PATH; hf_caps"#)
            .then(body);
        let output = Command::new("sh")
            .args(["-c", program.as_str()])
            .stdin(Stdio::null())
            .output()
            .expect("sh runs");
        Said {
            ok: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn fake(&self, name: &str, text: &str) {
        self.write(&format!("fakes/{name}"), &format!("#!/bin/sh\n{text}\n"), 0o755);
    }

    /// What is in a folder, by name.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("readable");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("proc").uid() == 0
}

fn has(tool: &str) -> bool {
    let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(tool).exists());
    if !found {
        skip::skip(&format!("{tool} is not on this machine"));
    }
    found
}

/// What a file was before Holdfast, as the ledger has it.
fn was(host: &Host, path: &str, mode: &str) -> Sh {
    let digest = Command::new("sha256sum").arg(path).output().expect("sha256sum runs");
    let digest = String::from_utf8_lossy(&digest.stdout);
    let owner = fs::metadata(path).expect("there").uid().to_string();
    let _ = host;
    Sh::new()
        .set("hf_was_type", "file")
        .set("hf_was_mode", mode)
        .set("hf_was_owner", &owner)
        .set("hf_was_group", &owner)
        .set(
            "hf_was_digest",
            &format!("sha256:{}", digest.split(' ').next().expect("a digest")),
        )
        .set("hf_put_type", "file")
        .set("hf_put_mode", "")
        .set("hf_put_owner", "")
        .set("hf_put_group", "")
        .set("hf_ours", "")
}

/// Tells whether sshd finds nothing wrong with an empty configuration here; makes its host key.
fn sshd_can_test(host: &Host, key: &str) -> bool {
    let empty = host.write("empty", "", 0o600);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", key])
        .status();
    let tested = Command::new("/usr/sbin/sshd")
        .args(["-t", "-h", key, "-f", &empty])
        .output();
    let can = made.is_ok_and(|made| made.success()) && tested.as_ref().is_ok_and(|tested| tested.status.success());
    if !can {
        skip::skip(&format!("sshd -t finds fault with an empty configuration: {tested:?}"));
    }
    can
}

#[test]
fn a_bad_sudoers_or_sshd_config_never_comes_to_its_place() {
    let host = Host::new();
    let key = host.text("key");
    let sshd = format!(r#"/usr/sbin/sshd -t -h {key} -f "$FILE""#);
    let cases = [
        (
            "visudo",
            r#"visudo -cf "$FILE""#,
            "root ALL=(ALL:ALL) ALL\n",
            "root ALL=(ALL ALL\n",
            "syntax error",
        ),
        (
            "sshd",
            &sshd,
            "PermitRootLogin no\n",
            "PermitRotLogin no\n",
            "Bad configuration option",
        ),
    ];
    for (tool, validate, good, bad, words) in cases {
        if !has(tool) || (tool == "sshd" && !sshd_can_test(&host, &key)) {
            continue;
        }
        let _ = fs::remove_file(host.path("d/conf"));
        let path = host.write("d/conf", good, 0o440);
        let new = host.write("new", bad, 0o600);
        let put = Sh::new()
            .set("hf_validate", validate)
            .call("hf_put", [new.as_str(), &path, "", "", ""]);
        let said = host.run(&put);
        assert!(!said.ok, "{tool}");
        assert!(
            said.stderr.contains(words) && said.stderr.contains("stays as it is"),
            "{tool}: {}",
            said.stderr
        );
        assert_eq!((host.read("d/conf"), host.mode("d/conf")), (good.to_owned(), 0o440));
        assert_eq!(host.names("d"), ["conf"], "nothing stays beside it");
        // An edit is checked as a whole, and a good one passes.
        let edit = |line: &str| {
            Sh::new()
                .set("hf_validate", validate)
                .set("line", line)
                .call("hf_edit", [path.as_str(), "{ print } END { print ENVIRON[\"line\"] }"])
        };
        assert!(!host.run(&edit(bad.trim_end())).ok, "{tool}");
        assert_eq!(host.read("d/conf"), good);
        let said = host.run(&edit("# good"));
        assert!(said.ok, "{tool}: {}", said.stderr);
        assert_eq!(host.read("d/conf"), format!("{good}# good\n"));
    }
}

#[test]
fn what_was_there_before_has_to_pass_too() {
    let host = Host::new();
    let path = host.write("d/conf", "broken by hand\n", 0o644);
    let before = was(&host, &path, "0644");
    let kept = host.run(&Sh::new().call("hf_keep", [path.as_str()]));
    assert!(kept.ok, "{}", kept.stderr);
    let new = host.write("new", "good\n", 0o600);
    let validate = Sh::new().set("hf_validate", r#"grep good "$FILE" || { echo "not good"; exit 3; }"#);
    let said = host.run(&validate.clone().call("hf_put", [new.as_str(), &path, "", "", ""]));
    assert!(said.ok, "{}", said.stderr);
    let said = host.run(&validate.then(&before).call("hf_back", [path.as_str()]));
    assert!(!said.ok && said.stderr.contains("not good"), "{}", said.stderr);
    assert_eq!(host.read("d/conf"), "good\n");
}

#[test]
fn the_validator_sees_mode_and_owner_and_nobody_else_its_text() {
    let host = Host::new();
    let path = host.write("d/conf", "old\n", 0o640);
    let new = host.write("new", "new\n", 0o600);
    let validate = r#"
        [ "$(stat -c %a "$FILE")" = 640 ] && [ "$(cat "$FILE")" = new ] && [ "$(pwd)" = / ] &&
        ! tr '\0' ' ' <"/proc/$$/cmdline" | grep -F cmdline && ! env | grep -F hf_validate"#;
    let said = host.run(
        &Sh::new()
            .set("hf_validate", validate)
            .call("hf_put", [new.as_str(), &path, "", "", ""]),
    );
    assert!(said.ok, "{}", said.stderr);
    assert_eq!(host.read("d/conf"), "new\n");
}

// REVIEW H9
#[test]
fn what_a_killed_step_left_is_swept_with_its_job() {
    let host = Host::new();
    let path = host.write("d/f", "old\n", 0o644);
    let new = host.write("new", "new\n", 0o600);
    // The step dies in the middle, as by KILL.
    host.fake("cp", r#"kill -s KILL "$PPID""#);
    let put = Sh::new().call("hf_put", [new.as_str(), &path, "", "", ""]);
    assert!(!host.run(&put).ok);
    assert_eq!(host.names("d"), [".holdfast-key", "f"]);
    let said = host.run(&Sh::new().code(r#"hf_sweep_temporaries "$hf_job""#));
    assert!(said.ok, "{}", said.stderr);
    assert_eq!(host.names("d"), ["f"]);
    if !is_root() {
        skip::skip("only root can make folders of others");
        return;
    }
    // In a folder of another it is the room that stays; what else is called so is left alone.
    chown(host.path("d"), Some(65534), Some(65534)).expect("chown");
    assert!(!host.run(&put).ok);
    assert_eq!(host.names("d"), ["f"]);
    assert!(host.names("").contains(&".holdfast-key".to_owned()));
    fs::remove_file(host.path("fakes/cp")).expect("removed");
    host.run(&Sh::new().code(r#"hf_sweep_temporaries "$hf_job""#));
    assert!(!host.names("").contains(&".holdfast-key".to_owned()));
    fs::create_dir(host.path(".holdfast-theirs")).expect("made");
    fs::write(
        host.path("state/jobs/temporaries"),
        format!("{}\n", host.text(".holdfast-theirs")),
    )
    .expect("written");
    fs::write(host.path(".holdfast-theirs/work"), "").expect("written");
    host.run(&Sh::new().code(r#"hf_sweep_temporaries "$hf_job""#));
    assert_eq!(host.names(".holdfast-theirs"), ["work"]);
}

// REVIEW H19
#[test]
fn a_mode_that_a_person_changed_since_is_kept_and_told() {
    let host = Host::new();
    // (put, now, after the undo, what is left); it was 0644 before.
    for (put, now, after, left) in [
        ("0600", 0o600, 0o644, ""),
        ("0600", 0o444, 0o444, "the mode of "),
        ("0600", 0o644, 0o644, ""),
        ("", 0o700, 0o700, ""),
    ] {
        let path = host.write("d/f", "same\n", 0o644);
        let before = was(&host, &path, "0644");
        let _ = fs::remove_file(host.path("state/before/key/content"));
        assert!(host.run(&Sh::new().call("hf_keep", [path.as_str()])).ok);
        for content in ["same\n", "others'\n"] {
            host.write("d/f", content, now);
            let said = host.run(&before.clone().set("hf_put_mode", put).call("hf_back", [path.as_str()]));
            assert!(said.ok, "{}", said.stderr);
            assert_eq!(
                (host.read("d/f"), host.mode("d/f")),
                ("same\n".to_owned(), after),
                "{put} {now:o}"
            );
            assert_eq!(
                said.stdout.contains("left the mode of "),
                !left.is_empty(),
                "{}",
                said.stdout
            );
        }
    }
}

// REVIEW H22
#[test]
fn what_others_wrote_is_kept_each_time_and_its_place_is_told() {
    let host = Host::new();
    let path = host.write("d/f", "before\n", 0o644);
    let before = was(&host, &path, "0644");
    assert!(host.run(&Sh::new().call("hf_keep", [path.as_str()])).ok);
    let back = before.call("hf_back", [path.as_str()]);
    for (content, kept) in [("first\n", "state/left/key.1"), ("second\n", "state/left/key.2")] {
        host.write("d/f", content, 0o644);
        let said = host.run(&back);
        assert!(
            said.ok && said.stdout.contains(&host.text(kept)),
            "{} {}",
            said.stdout,
            said.stderr
        );
    }
    assert_eq!(host.read("state/left/key.1"), "first\n");
    assert_eq!(host.read("state/left/key.2"), "second\n");
    assert_eq!(host.read("d/f"), "before\n");
}

/// What getfattr, getcap, getfacl and du say of a file.
fn more(path: &str) -> String {
    let script = r#"
        PATH=$PATH:/usr/sbin:/sbin
        getfattr -d -m '^user' --absolute-names "$1"; getcap "$1"; getfacl -pc "$1"
        [ "$(du -k "$1" | cut -f1)" -lt 100 ] && echo sparse"#;
    let output = Command::new("sh")
        .args(["-c", script, "sh", path])
        .output()
        .expect("sh runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

// REVIEW H21
#[test]
fn attributes_capabilities_acls_and_holes_survive_apply_and_undo() {
    if !is_root()
        || !["getfattr", "setfattr", "setcap", "getcap", "setfacl"]
            .iter()
            .all(|tool| has(tool))
    {
        skip::skip("attributes need root and their tools");
        return;
    }
    // GNU cp carries them, and so do their own tools where cp can't.
    for cp in ["", r#"case "$*" in *--preserve*) exit 1 ;; esac; exec /bin/cp "$@""#] {
        let host = Host::new();
        let path = host.write("d/tool", "", 0o755);
        let dress = r#"truncate -s 1M "$1" && setfattr -n user.note -v 'a "b"' "$1" && setfacl -m u:daemon:rx "$1" &&
            PATH=$PATH:/usr/sbin setcap cap_net_bind_service=ep "$1""#;
        let dressed = Command::new("sh")
            .args(["-c", dress, "sh", &path])
            .status()
            .expect("sh runs");
        assert!(dressed.success());
        let at_first = more(&path);
        assert!(at_first.contains("user.note") && at_first.contains("cap_net") && at_first.contains("daemon"));
        if !cp.is_empty() {
            host.fake("cp", cp);
        }
        let before = was(&host, &path, "0755");
        let said = host.run(&Sh::new().call("hf_keep", [path.as_str()]));
        if !said.ok {
            // A plain copy can't keep them: nothing was changed, and it says what would be lost.
            assert!(!cp.is_empty() && said.stderr.contains("cannot keep"), "{}", said.stderr);
            assert_eq!(more(&path), at_first);
            continue;
        }
        let new = host.write("new", "#!/bin/sh\n", 0o600);
        let said = host.run(&Sh::new().call("hf_put", [new.as_str(), &path, "", "", ""]));
        assert!(said.ok, "{}", said.stderr);
        assert_eq!(host.read("d/tool"), "#!/bin/sh\n");
        assert_eq!(more(&path), at_first, "{cp}: applied");
        let said = host.run(&before.call("hf_back", [path.as_str()]));
        assert!(said.ok, "{}", said.stderr);
        assert_eq!(more(&path), at_first, "{cp}: undone");
        assert_eq!(fs::metadata(&path).expect("there").len(), 1 << 20);
    }
}

#[test]
fn capabilities_outlive_a_change_of_owner() {
    if !is_root() || !["setcap", "getcap"].iter().all(|tool| has(tool)) {
        skip::skip("capabilities need root and their tools");
        return;
    }
    let host = Host::new();
    let path = host.write("d/tool", "x", 0o755);
    let given = Command::new("sh")
        .args(["-c", r#"PATH=$PATH:/usr/sbin setcap cap_net_raw=ep "$1""#, "sh", &path])
        .status();
    assert!(given.expect("sh runs").success());
    let at_first = more(&path);
    let said = host.run(&Sh::new().call("hf_own", [path.as_str(), "", "daemon", ""]));
    assert!(said.ok, "{}", said.stderr);
    assert_eq!(more(&path).replace("daemon", "root"), at_first);
    assert_eq!(fs::metadata(&path).expect("there").uid(), 1);
}

// REVIEW H32
#[test]
fn new_bytes_are_on_the_disk_before_they_have_the_name() {
    let host = Host::new();
    let path = host.write("d/f", "old\n", 0o644);
    let new = host.write("new", "new\n", 0o600);
    let log = host.text("log");
    for tool in ["sync", "mv"] {
        host.fake(
            tool,
            &format!(
                r#"case $1 in --help) ;; *) echo "{tool} $*" >>{log} ;; esac; PATH=/bin:/usr/bin exec {tool} "$@""#
            ),
        );
    }
    let said = host.run(&Sh::new().call("hf_put", [new.as_str(), &path, "", "", ""]));
    assert!(said.ok, "{}", said.stderr);
    let d = host.text("d");
    assert_eq!(
        host.read("log"),
        format!("sync {d}/.holdfast-key\nmv -f {d}/.holdfast-key {d}/f\nsync {d}/.\n")
    );
}
