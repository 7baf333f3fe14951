//! Runs every case in `resources/*.toml` under each shell: probe, apply, probe, apply again, undo, probe.
//!
//! What is on disk is read by this test and compared with the case and with what was there at first; the code under
//! test is not asked. A shell that is not installed is named as skipped.

use holdfast_plan::content::Content;
use holdfast_plan::observation::{Attributes, Init, PackageManager, Platform};
use holdfast_plan::resource::{Collect, Comparison, Resource};
use holdfast_plan::sh::{Sh, quote};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "../../../tests/src/skip.rs"]
mod skip;

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows.
    #[expect(dead_code, reason = "it is for the reader of the case")]
    about: String,
    /// Chowns need root.
    #[serde(default)]
    root_only: bool,
    /// What is there at first.
    #[serde(default)]
    tree: Vec<Entry>,
    /// What is declared, in order; undone in reverse.
    resource: Vec<toml::Table>,
    /// What is there once all is applied.
    #[serde(default)]
    after: BTreeMap<String, String>,
    /// What a person does before the undo.
    #[serde(default)]
    by_hand: Vec<Entry>,
    /// What is there after the undo, if not exactly what was there at first.
    undone: Option<BTreeMap<String, String>>,
    /// A part of each `left` line that is expected.
    #[serde(default)]
    left: Vec<String>,
    /// Not in a folder of others.
    #[serde(default)]
    own_folder_only: bool,
    /// The root's `etc`, `home` and `crontabs` stand in for the machine's in a mount namespace of its own.
    #[serde(default)]
    sandbox: bool,
    /// Programs that stand before the real ones, as sh; `$FAKE` is the root.
    #[serde(default)]
    fakes: BTreeMap<String, String>,
    /// Not under these shells, such as busybox, which runs its own programs before those in `PATH`.
    #[serde(default)]
    not_under: Vec<String>,
    /// `systemd` or `sysv`.
    #[serde(default)]
    init: String,
    /// The exact commands that the fakes saw from capture, apply and undo.
    commands: Option<Vec<String>>,
    /// A part of the message with which it is refused or fails; then nothing was changed.
    fails: Option<String>,
}

/// Something in a tree.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: String,
    content: Option<String>,
    target: Option<String>,
    /// Another name of this one.
    same_as: Option<String>,
    mode: Option<String>,
    owner: Option<u32>,
    /// Take it away.
    #[serde(default)]
    gone: bool,
}

struct Host {
    shell: Vec<&'static str>,
    /// Overrides what the host can do.
    tools: &'static str,
    folder: tempfile::TempDir,
    sandbox: bool,
    place: Place,
    init: Init,
}

/// Whose folder it all happens in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// That of the user who runs the steps.
    Own,
    /// Another user's, who can replace every name in it.
    OfAnother,
    /// One that everybody can write, with the sticky bit.
    Sticky,
    /// Another user's, and a file system of its own, so that nothing above can be used.
    MountOfAnother,
}

/// A user who is not root, as far as the folders are concerned.
const ANOTHER: u32 = 65534;

impl Place {
    fn furnish(self, root: &Path) {
        match self {
            Place::Own => {}
            Place::OfAnother => std::os::unix::fs::chown(root, Some(ANOTHER), Some(ANOTHER)).expect("chown"),
            Place::Sticky => fs::set_permissions(root, fs::Permissions::from_mode(0o1777)).expect("chmod"),
            Place::MountOfAnother => {
                let mounted = Command::new("mount")
                    .args(["-t", "tmpfs", "-o", "uid=65534,mode=0755", "none"])
                    .arg(root)
                    .status();
                assert!(mounted.is_ok_and(|status| status.success()), "a tmpfs is mounted");
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.place == Place::MountOfAnother {
            let _ = Command::new("umount").arg(self.root()).status();
        }
    }
}

#[derive(Debug)]
struct Said {
    attributes: Attributes,
    left: Vec<String>,
    texts: Vec<String>,
    ok: bool,
    stderr: String,
}

const PRELUDE: &str = r#"
LC_ALL=C; export LC_ALL; cd /; umask 022
hf_say() { printf '%s\n' "$*"; }
hf_begin() { :; }
hf_attr() { printf '@attr %s %s\n' "$1" "$2"; }
hf_text() { printf '@text %s\n' "$2"; }
hf_left() { printf '@left %s\n' "$1"; }
hf_die() { printf '%s\n' "$1" >&2; exit 1; }
"#;

// Mounts only in its own namespace; the machine's accounts and crontabs are not touched.
const SANDBOX: &str = r#"
mount --bind "$1/etc" /etc && mount --bind "$1/home" /home && mount --bind "$1/crontabs" /var/spool/cron/crontabs || exit 99
shift
exec "$@"
"#;

fn platform(init: Init) -> Platform {
    Platform {
        init,
        package_manager: PackageManager::Apt,
        root: true,
    }
}

impl Host {
    fn root(&self) -> PathBuf {
        self.folder.path().join("ro ot's")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What the fakes saw since it was last asked.
    fn commands(&self) -> Vec<String> {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let _ = fs::remove_file(self.log());
        text.lines().map(str::to_owned).collect()
    }

    fn run(&self, before: &str, body: &Sh) -> Said {
        let mut program = String::from("{\n");
        program.push_str(PRELUDE);
        for library in [
            include_str!("../../../agent/sh/caps.sh"),
            include_str!("../../../agent/sh/probe.sh"),
            include_str!("../../../agent/sh/sweep.sh"),
            include_str!("../../../agent/sh/place.sh"),
            include_str!("../../../agent/sh/carry.sh"),
            include_str!("../../../agent/sh/change.sh"),
            include_str!("../../../agent/sh/back.sh"),
            include_str!("../../../agent/sh/lines.sh"),
        ] {
            program.push_str(library);
        }
        let state = self.state();
        let state = state.to_str().expect("test paths are text");
        program.push_str(&format!(
            "hf_state={}\nhf_blobs=\"$hf_state/blobs\"\nhf_before={}\nhf_caps\n{}\n: \"${{hf_sync_can:=no}}\"\n",
            quote(state),
            quote(before),
            self.tools
        ));
        program.push_str(match self.init {
            Init::Systemd => "hf_init=systemd\n",
            Init::Sysv => "hf_init=sysv\n",
            Init::None => "hf_init=none\n",
        });
        program.push_str(&format!(
            "FAKE={}; FAKE_LOG={}; PATH={}:/usr/sbin:/sbin:$PATH; export FAKE FAKE_LOG PATH\n",
            quote(self.root().to_str().expect("text")),
            quote(self.log().to_str().expect("text")),
            quote(self.folder.path().join("fakes").to_str().expect("text")),
        ));
        program.push_str(body.as_str());
        program.push_str("\nexit 0; }\n");
        let file = self.folder.path().join("program");
        fs::write(&file, program).expect("the program is written");
        let mut command = Command::new("unshare");
        if self.sandbox {
            command.args(["-m", "--propagation", "private", "sh", "-c", SANDBOX, "sh"]);
            command.arg(self.root()).args(&self.shell);
        } else {
            command = Command::new(self.shell[0]);
            command.args(&self.shell[1..]);
        }
        let output = command
            .arg(&file)
            // yash reads no program with names beyond ASCII unless it is started in a locale that has them.
            .env("LC_ALL", "C.UTF-8")
            // The sandbox covers /home, and posh dies at its start in a folder that it can't find the way to.
            .current_dir("/")
            .stdin(std::process::Stdio::null())
            .output()
            .expect("the shell runs");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let mut said = Said {
            attributes: Attributes::default(),
            left: Vec::new(),
            texts: Vec::new(),
            ok: output.status.success(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        for line in stdout.lines() {
            if let Some(rest) = line.strip_prefix("@attr ") {
                let (key, value) = rest.split_once(' ').expect("key and value");
                said.attributes.0.push((key.to_owned(), value.to_owned()));
            } else if let Some(rest) = line.strip_prefix("@left ") {
                said.left.push(rest.to_owned());
            } else if let Some(rest) = line.strip_prefix("@text ") {
                said.texts.push(rest.to_owned());
            }
        }
        said
    }

    /// Probes by the batch and alone, which have to agree.
    fn probe(&self, resource: &Resource) -> Result<Attributes, String> {
        let life = resource.lifecycle();
        let mut batch = Sh::new();
        for collect in life.collect() {
            batch = match &collect {
                Collect::Path(path) => batch.call("hf_collect_path", [path.as_str()]),
                Collect::Package(name) => batch.call("hf_collect_package", [name.as_str()]),
                Collect::Service(name) => batch.call("hf_collect_service", [name.as_str()]),
                Collect::User(name) => batch.call("hf_collect_user", [name.as_str()]),
                Collect::Group(name) => batch.call("hf_collect_group", [name.as_str()]),
                Collect::Crontab(user) => batch.call("hf_collect_crontab", [user.as_str()]),
            };
        }
        let batch = batch
            .call("hf_collect_path", ["/nonexistent"])
            .code("hf_collect")
            .then(&life.probe());
        let log = fs::read(self.log()).unwrap_or_default();
        let first = self.run("/nonexistent", &batch);
        let alone = self.run("/nonexistent", &life.probe());
        if first.attributes != alone.attributes || !first.stderr.is_empty() {
            return Err(format!("batch and single probe disagree: {first:?} {alone:?}"));
        }
        // Only what changes something is compared.
        fs::write(self.log(), log).expect("written");
        Ok(first.attributes)
    }

    /// `TYPE MODE OWNER GROUP CONTENT` of everything, by path below the root.
    fn tree(&self, with_inode: bool) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        walk(&self.root(), &self.root(), with_inode, &mut found);
        found
    }

    fn put(&self, entries: &[Entry]) {
        for entry in entries {
            let path = self.root().join(&entry.path);
            if entry.gone {
                fs::remove_file(&path).expect("removed");
                continue;
            }
            if let Some(target) = &entry.target {
                symlink(target, &path).expect("symlink");
                continue;
            }
            if let Some(other) = &entry.same_as {
                fs::hard_link(self.root().join(other), &path).expect("link");
                continue;
            }
            match &entry.content {
                Some(content) => fs::write(&path, content).expect("written"),
                None => fs::create_dir(&path).expect("made"),
            }
            if let Some(owner) = entry.owner {
                std::os::unix::fs::chown(&path, Some(owner), Some(owner)).expect("chown");
            }
            let default = if entry.content.is_some() { "0644" } else { "0755" };
            let mode = u32::from_str_radix(entry.mode.as_deref().unwrap_or(default), 8).expect("octal");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        }
    }
}

fn walk(root: &Path, folder: &Path, with_inode: bool, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("an entry").path();
        let meta = fs::symlink_metadata(&path).expect("stat");
        let (kind, content) = if meta.is_symlink() {
            ("symlink", fs::read_link(&path).expect("link").display().to_string())
        } else if meta.is_dir() {
            ("directory", String::new())
        } else {
            (
                "file",
                String::from_utf8_lossy(&fs::read(&path).expect("read")).into_owned(),
            )
        };
        let mode = if meta.is_symlink() { 0 } else { meta.mode() & 0o7777 };
        let mut line = format!("{kind} {mode:04o} {} {} {content}", meta.uid(), meta.gid());
        if with_inode {
            line.push_str(&format!(" inode {}", meta.ino()));
        }
        let name = path.strip_prefix(root).expect("below the root").display().to_string();
        // Backups and locks of the account tools.
        if ["etc/.pwd.lock", "crontabs/cron.update"].contains(&name.as_str())
            || (name.starts_with("etc/") && name.ends_with('-'))
        {
            continue;
        }
        found.insert(name, line);
        if meta.is_dir() {
            walk(root, &path, with_inode, found);
        }
    }
}

/// Makes a resource of a table: `{root}` becomes the root, a content is staged as a blob.
fn resource(host: &Host, table: &toml::Table) -> Resource {
    let root = host.root().display().to_string();
    let mut value = serde_json::to_value(table).expect("a table is JSON");
    let fields = value.as_object_mut().expect("a table");
    for field in fields.values_mut() {
        if let Some(inner) = field.as_object_mut() {
            for value in inner.values_mut() {
                if let Some(text) = value.as_str() {
                    *value = text.replace("{root}", &root).into();
                }
            }
        } else if let Some(text) = field.as_str() {
            *field = text.replace("{root}", &root).into();
        }
    }
    let stage = |text: &str| {
        let content = Content::of(text.as_bytes());
        fs::write(host.state().join("blobs").join(&content.sha256), text).expect("staged");
        serde_json::to_value(content).expect("JSON")
    };
    let kind = fields["type"].as_str().expect("a type").to_owned();
    let contents: &[&str] = if kind == "script" {
        &["apply", "undo"]
    } else {
        &["content"]
    };
    for key in contents {
        if let Some(text) = fields.get(*key).and_then(|text| text.as_str()).map(str::to_owned) {
            fields.insert((*key).to_owned(), stage(&text));
        }
    }
    fields.entry("ensure").or_insert("present".into());
    fields.entry("sensitive").or_insert(false.into());
    fields.entry("system").or_insert(false.into());
    if kind == "symlink" {
        fields.entry("target").or_insert("".into());
    }
    if kind == "script" {
        let env = fields.remove("env").unwrap_or_else(|| serde_json::json!({}));
        let pairs: Vec<_> = env
            .as_object()
            .expect("a table")
            .iter()
            .map(|(k, v)| serde_json::json!([k, v]))
            .collect();
        fields.insert("env".to_owned(), pairs.into());
    }
    serde_json::from_value(value).expect("a resource")
}

fn expect_tree(found: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>, when: &str) -> Result<(), String> {
    for (path, line) in wanted {
        let shows = match found.get(path) {
            None => line == "absent",
            // Owner and group are left out of the cases' lines unless they are written in.
            Some(is) => {
                let mut words = is.splitn(5, ' ');
                let mut word = || words.next().unwrap_or_default();
                let (kind, mode, owner, group, content) = (word(), word(), word(), word(), word());
                let short = if kind == "symlink" {
                    format!("{kind} {content}")
                } else {
                    format!("{kind} {mode} {content}")
                };
                short.trim_end_matches(' ') == line || format!("{kind} {mode} {owner}:{group} {content}") == *line
            }
        };
        if !shows {
            return Err(format!("{when}: {path} is {:?}, wanted {line:?}", found.get(path)));
        }
    }
    Ok(())
}

fn shows(attributes: &Attributes, wanted: &[String]) -> Result<(), String> {
    for line in wanted {
        if !attributes.lines().any(|shown| shown == *line) {
            return Err(format!("wanted {line:?}, the probe shows {attributes:?}"));
        }
    }
    Ok(())
}

// The least that the tools for accounts need, with a few accounts of known content.
const FURNISH: &str = r#"
umask 022
mkdir "$1/etc" "$1/home" "$1/crontabs" "$1/etc/skel" "$1/etc/default" && cd "$1/etc" &&
cp -a /etc/login.defs /etc/pam.d /etc/nsswitch.conf . && cp -a /etc/security . && mkdir alternatives && cp -a /etc/alternatives/awk alternatives/ &&
printf 'skeleton\n' >skel/.profile &&
printf 'root:x:0:0:root:/root:/bin/sh\nold:x:1500:1500:Old, one:/home/old:/bin/sh\n' >passwd &&
printf 'root:*:19000:0:99999:7:::\nold:$6$x$y:19001:1:90:7:14::\n' >shadow &&
printf 'root:x:0:\nold:x:1500:\nstaff:x:50:old\nempty:x:60:\nwww:x:33:root,old\n' >group &&
printf 'root:*::\nold:!::\nstaff:!::old\nempty:!::\nwww:!::root,old\n' >gshadow &&
printf 'old:100000:65536\n' >subuid && cp subuid subgid &&
chmod 640 shadow gshadow && chgrp shadow shadow gshadow 2>/dev/null
# The setgid crontab command writes here.
chgrp crontab "$1/crontabs" && chmod 1730 "$1/crontabs"
"#;

/// What is in one tree and not in the other.
fn difference(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for path in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
        if one.get(path) != other.get(path) {
            text.push_str(&format!("\n  {path}: {:?} -> {:?}", one.get(path), other.get(path)));
        }
    }
    text
}

fn run_case(host: &Host, case: &Case) -> Result<(), String> {
    for folder in ["blobs", "before"] {
        fs::create_dir_all(host.state().join(folder)).expect("made");
    }
    fs::create_dir(host.root()).expect("made");
    host.place.furnish(&host.root());
    fs::create_dir(host.folder.path().join("fakes")).expect("made");
    for (name, text) in &case.fakes {
        let path = host.folder.path().join("fakes").join(name);
        fs::write(
            &path,
            format!("#!/bin/sh\nprintf '%s\\n' \"{name} $*\" >>\"$FAKE_LOG\"\n{text}\n"),
        )
        .expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    if case.sandbox {
        let made = Command::new("sh")
            .args(["-c", FURNISH, "sh"])
            .arg(host.root())
            .status()
            .expect("sh runs");
        assert!(made.success(), "the sandbox is furnished");
    }
    host.put(&case.tree);
    let at_first = host.tree(false);
    let resources: Vec<Resource> = case.resource.iter().map(|table| resource(host, table)).collect();
    let folder = |index: usize| {
        host.state()
            .join("before")
            .join(format!("key{index}"))
            .display()
            .to_string()
    };
    let mut befores = Vec::new();
    for (index, resource) in resources.iter().enumerate() {
        let life = resource.lifecycle();
        let before = host.probe(resource)?;
        let refusal = match life.compare(&before) {
            Comparison::Refused(message)
            | Comparison::CannotTell(message)
            | Comparison::Missing(message)
            | Comparison::NoFolder(message) => Some(message),
            Comparison::Same => return Err(format!("resource {index} is as desired already: {before:?}")),
            _ => None,
        };
        fs::create_dir(folder(index)).expect("made");
        let captured = host.run(&folder(index), &life.capture());
        if !captured.ok && case.fails.is_none() {
            return Err(format!("capture: {}", captured.stderr));
        }
        let applied = host.run(
            &folder(index),
            &Sh::new()
                .code("(")
                .then(&life.apply(&platform(host.init)).map_err(|e| e.to_string())?)
                .code(") </dev/null || exit 1"),
        );
        if let Some(fails) = &case.fails {
            let message = refusal.unwrap_or_default();
            let words = format!("{}{}", captured.stderr, applied.stderr);
            if (applied.ok && message.is_empty()) || !format!("{message}\n{words}").contains(fails) {
                return Err(format!("refused with {message:?}, failed with {words:?}"));
            }
            if applied.ok {
                return Err("what is refused must fail on the host too".to_owned());
            }
            return if host.tree(false) == at_first {
                Ok(())
            } else {
                Err(format!("changed: {:?}", host.tree(false)))
            };
        }
        if let Some(message) = refusal {
            return Err(format!("refused: {message}"));
        }
        if !applied.ok || !applied.stderr.is_empty() {
            return Err(format!("apply: {}", applied.stderr));
        }
        let now = host.probe(resource)?;
        shows(&now, &life.wanted(&before))?;
        if life.compare(&now) != Comparison::Same {
            return Err(format!("after apply: {:?}", life.compare(&now)));
        }
        befores.push(before);
    }
    let commands = host.commands();
    let applied = host.tree(true);
    expect_tree(&host.tree(false), &case.after, "applied")?;
    for (index, resource) in resources.iter().enumerate() {
        if matches!(resource, Resource::Script(_)) {
            continue;
        }
        let again = host.run(
            &folder(index),
            &resource
                .lifecycle()
                .apply(&platform(host.init))
                .expect("compiled above"),
        );
        if !again.ok || host.tree(true) != applied {
            return Err(format!(
                "applied twice: {} {}",
                again.stderr,
                difference(&applied, &host.tree(true))
            ));
        }
    }
    host.put(&case.by_hand);
    host.commands();
    let mut left = Vec::new();
    for (index, resource) in resources.iter().enumerate().rev() {
        let life = resource.lifecycle();
        let before = &befores[index];
        let mut put = Attributes::default();
        for line in life.wanted(before) {
            let (key, value) = line.split_once(' ').expect("a key and a value");
            put.set(key, value);
        }
        let undone = host.run(
            &folder(index),
            &Sh::new()
                .code("(")
                .then(&life.restore(before, &put, &platform(host.init)).expect("compiles"))
                .code(") </dev/null || exit 1"),
        );
        if !undone.ok || !undone.stderr.is_empty() {
            return Err(format!("undo: {}", undone.stderr));
        }
        if undone.left.is_empty() {
            shows(&host.probe(resource)?, &life.restored(before, &put)).map_err(|e| format!("after undo: {e}"))?;
        }
        left.extend(undone.left);
    }
    if left.len() != case.left.len() || !left.iter().zip(&case.left).all(|(is, wanted)| is.contains(wanted)) {
        return Err(format!("left: {left:?}"));
    }
    let commands: Vec<String> = commands
        .into_iter()
        .chain(["--".to_owned()])
        .chain(host.commands())
        .collect();
    if let Some(wanted) = &case.commands
        && *wanted != commands
    {
        return Err(format!("commands: {commands:#?}"));
    }
    match &case.undone {
        Some(wanted) => expect_tree(&host.tree(false), wanted, "undone"),
        None if host.tree(false) == at_first => Ok(()),
        None => Err(format!(
            "undone is not what was there:{}",
            difference(&at_first, &host.tree(false))
        )),
    }
}

fn run_all(shell: &[&'static str], tools: &'static str) {
    run_all_in(shell, tools, Place::Own);
}

fn run_all_in(shell: &[&'static str], tools: &'static str, place: Place) {
    if Command::new(shell[0]).arg("-c").arg(":").output().is_err()
        && Command::new("which").arg(shell[0]).output().is_err()
    {
        skip::skip(&format!("{} is not on this machine", shell[0]));
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/resources");
    let mut failures = Vec::new();
    let mut count = 0;
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let is_root = fs::metadata("/proc/self").expect("proc").uid() == 0;
    let can_unshare = Command::new("unshare")
        .args(["-m", "--propagation", "private", "mount", "--bind", "/tmp", "/tmp"])
        .output()
        .is_ok_and(|output| output.status.success());
    for file in files {
        let case: Case = toml::from_str(&fs::read_to_string(&file).expect("readable"))
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if (case.root_only && !is_root) || (case.sandbox && !can_unshare) {
            skip::skip(&format!(
                "{} needs root or a mount namespace of its own",
                file.file_name().expect("a name").display()
            ));
            continue;
        }
        // The machine's own folders are nobody else's.
        if case.not_under.iter().any(|name| name == shell[0])
            || ((case.sandbox || case.own_folder_only) && place != Place::Own)
        {
            continue;
        }
        count += 1;
        let host = Host {
            shell: shell.to_vec(),
            tools,
            folder: tempfile::tempdir().expect("a folder"),
            sandbox: case.sandbox,
            place,
            init: match case.init.as_str() {
                "" | "systemd" => Init::Systemd,
                "sysv" => Init::Sysv,
                other => panic!("{}: no init {other}", file.display()),
            },
        };
        if let Err(problem) = run_case(&host, &case) {
            failures.push(format!("{}: {problem}", file.file_name().expect("a name").display()));
        }
    }
    assert!(count > 10, "the cases are there");
    assert!(failures.is_empty(), "{shell:?}:\n{}", failures.join("\n"));
}

macro_rules! shells {
    ($($name:ident: $shell:expr, $tools:expr;)*) => {
        $(
            #[test]
            fn $name() {
                run_all(&$shell, $tools);
            }
        )*
    };
}

shells! {
    every_case_holds_under_dash: ["dash"], "";
    every_case_holds_under_bash: ["bash", "--posix"], "";
    every_case_holds_under_busybox: ["busybox", "sh"], "";
    every_case_holds_under_mksh: ["mksh"], "";
    every_case_holds_under_posh: ["posh"], "";
    every_case_holds_under_yash: ["yash"], "";
    every_case_holds_under_ksh93: ["ksh93"], "";
    every_case_holds_under_zsh: ["zsh", "--emulate", "sh"], "";
    every_case_holds_with_ls_and_cksum_alone: ["dash"], "hf_stat_kind=ls hf_digest_kind=cksum";
    every_case_holds_with_openssl: ["dash"], "hf_digest_kind=openssl";
    every_case_holds_with_shasum: ["dash"], "hf_digest_kind=shasum";
}

/// Root in folders of others: the same cases, by the way that does not trust names (REVIEW H5).
macro_rules! places {
    ($($name:ident: $shell:expr, $tools:expr, $place:expr;)*) => {
        $(
            #[test]
            fn $name() {
                if fs::metadata("/proc/self").expect("proc").uid() != 0 {
                    skip::skip("only root can make folders of others");
                    return;
                }
                run_all_in(&$shell, $tools, $place);
            }
        )*
    };
}

places! {
    every_case_holds_in_a_folder_of_another_under_dash: ["dash"], "", Place::OfAnother;
    every_case_holds_in_a_folder_of_another_under_busybox: ["busybox", "sh"], "", Place::OfAnother;
    every_case_holds_in_a_folder_of_another_under_yash: ["yash"], "", Place::OfAnother;
    every_case_holds_in_a_folder_of_another_with_ls_and_cksum_alone: ["dash"], "hf_stat_kind=ls hf_digest_kind=cksum", Place::OfAnother;
    every_case_holds_in_a_sticky_folder: ["mksh"], "", Place::Sticky;
    every_case_holds_in_a_mount_of_another_under_bash: ["bash", "--posix"], "", Place::MountOfAnother;
    every_case_holds_in_a_mount_of_another_under_posh: ["posh"], "", Place::MountOfAnother;
    every_case_holds_in_a_mount_of_another_under_zsh: ["zsh", "--emulate", "sh"], "", Place::MountOfAnother;
    every_case_holds_in_a_mount_of_another_under_ksh93: ["ksh93"], "", Place::MountOfAnother;
}
