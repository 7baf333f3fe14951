//! What can't be looked at is not absent (REVIEW H28), and a missing folder is told by the plan (REVIEW A3).

use holdfast_plan::content::Content;
use holdfast_plan::observation::Attributes;
use holdfast_plan::resource::{Comparison, Directory, Ensure, File, Line, Resource, Symlink};
use holdfast_plan::sh::Sh;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

const LIBRARY: &str = concat!(
    r#"
LC_ALL=C; export LC_ALL; cd /
hf_text() { :; }
hf_attr() { printf '%s %s\n' "$1" "$2"; }
"#,
    include_str!("../../../agent/sh/caps.sh"),
    include_str!("../../../agent/sh/probe.sh"),
);

/// A resource of each type that is a path.
fn resources(path: &str) -> Vec<Resource> {
    let path = path.to_owned();
    let ensure = Ensure::Present;
    let (mode, owner, group) = (None, None, None);
    vec![
        serde_json::from_value(serde_json::json!({
            "type": "file", "path": path, "ensure": "present", "content": Content::of(b"x"), "sensitive": false,
        }))
        .map(|file: File| Resource::File(file))
        .expect("a file"),
        Resource::Directory(Directory {
            path: path.clone(),
            ensure,
            mode,
            owner,
            group,
        }),
        Resource::Symlink(Symlink {
            path: path.clone(),
            ensure,
            target: "x".to_owned(),
        }),
        serde_json::from_value(serde_json::json!({ "path": path, "ensure": "present", "line": "x" }))
            .map(|line: Line| Resource::Line(line))
            .expect("a line"),
    ]
}

/// What a probe finds as a user who is not root: alone, and in a batch with what is there and what is not.
fn observed(resource: &Resource, path: &str, tools: &str) -> [Attributes; 2] {
    let probe = resource.lifecycle().probe();
    let batch = Sh::new()
        .call("hf_collect_path", ["/"])
        .call("hf_collect_path", ["/nonexistent"])
        .call("hf_collect_path", [path])
        .code("hf_collect")
        .then(&probe);
    [probe, batch].map(|body| {
        let program = format!("{LIBRARY}\nhf_asked=observe\nhf_caps\n{tools}\n{}", body.as_str());
        let mut command = Command::new("sh");
        command.args(["-c", &program]);
        if fs::metadata("/proc/self").expect("proc").uid() == 0 {
            command.uid(65534).gid(65534);
        }
        let output = command.output().expect("sh runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Attributes(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    })
}

#[test]
fn what_cannot_be_looked_at_is_refused_and_not_absent() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).expect("made");
    fs::write(closed.join("f"), "somebody's").expect("written");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("chmod");
    let paths = [
        (closed.join("f").display().to_string(), "Permission denied"),
        (format!("/tmp/{}", "x".repeat(300)), "File name too long"),
    ];
    for (path, why) in &paths {
        for resource in resources(path) {
            for tools in ["", "hf_stat_kind=ls"] {
                for found in observed(&resource, path, tools) {
                    match resource.lifecycle().compare(&found) {
                        Comparison::Refused(message) if message.contains(why) => {}
                        other => panic!("{resource:?} {tools:?}: {other:?} of {found:?}"),
                    }
                }
            }
        }
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).expect("chmod");
}

#[test]
fn what_has_no_folder_is_missing_and_names_it() {
    for path in ["/nonexistent/x/f", "/etc/passwd/f"] {
        for resource in resources(path) {
            for tools in ["", "hf_stat_kind=ls"] {
                for found in observed(&resource, path, tools) {
                    let folder = path.strip_suffix("/f").expect("written so");
                    assert_eq!(
                        resource.lifecycle().compare(&found),
                        Comparison::NoFolder(folder.to_owned()),
                        "{found:?}"
                    );
                }
            }
        }
    }
    for found in observed(&resources("/nonexistent")[0], "/nonexistent", "") {
        assert_eq!(
            resources("/nonexistent")[0].lifecycle().compare(&found),
            Comparison::Absent
        );
    }
}
