//! Root works in a user's home while that user swaps every name there (REVIEW H5).
//!
//! Attackers run as an ordinary user and replace files by links, links by directories, folders by links to root's
//! folders, and whatever Holdfast makes beside its places by links to root's files. However the races go: nothing outside
//! the home changes in mode, owner or content, nothing appears there, and what only root may read never comes within the
//! user's reach.

use holdfast_plan::content::Content;
use holdfast_plan::observation::{Attributes, Init, PackageManager, Platform};
use holdfast_plan::resource::{Directory, Ensure, File, Line, Resource, Symlink};
use holdfast_plan::sh::{Sh, quote};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[path = "../../../tests/src/skip.rs"]
mod skip;

const USER: u32 = 65534;
/// What only root may read.
const SECRET: &str = "for root alone";
/// How often each resource is captured, applied and undone: the attacks won 20 of 20 before there was a defence.
const ROUNDS: usize = 40;

/// Each attacker is a loop of system calls. `$home` is his, `$outside` is root's.
const ATTACKERS: [&str; 4] = [
    // Names: a link to a secret, a link to a folder, a directory, another name of a secret, a file of his own.
    r#"
    for my $name (qw(f l d s)) {
        my $path = "$home/$name";
        unlink $path; rmdir $path;
        my $kind = int rand 6;
        if ($kind == 0) { symlink "$outside/shadow", $path }
        elsif ($kind == 1) { symlink $outside, $path }
        elsif ($kind == 2) { mkdir $path }
        elsif ($kind == 3) { link "$outside/shadow", $path }
        else { open my $file, '>', "$path.mine"; print $file "mine\n"; close $file; rename "$path.mine", $path }
    }"#,
    // What others make in his folder: taken away, and a link in its place.
    r#"
    opendir my $folder, $home; my @names = grep { /^\.holdfast/ } readdir $folder; closedir $folder;
    for my $name (@names) {
        rename "$home/$name", "$home/stolen" . $count++ or next;
        symlink rand() < 0.5 ? "$outside/shadow" : $outside, "$home/$name";
    }"#,
    // The folder on the way.
    r#"
    rename "$home/sub", "$home/sub.real"; symlink $outside, "$home/sub";
    unlink "$home/sub"; rename "$home/sub.real", "$home/sub"; mkdir "$home/sub";
    if (rand() < 0.1) { unlink "$home/sub/f" }
    select undef, undef, undef, 0.0002;"#,
    // He reads what he can.
    r#"
    for my $path (glob("$home/* $home/.h* $home/*/* $home/.h*/*")) {
        -l $path and next;
        open my $file, '<', $path or next; local $/; my $text = <$file>;
        print "$path: $text\n" if defined $text && $text =~ /for root alone/;
    }"#,
];

struct Attackers(Vec<Child>);

impl Attackers {
    fn begin(home: &Path, outside: &Path) -> Self {
        let run = |body: &str| {
            let program = format!("my ($home, $outside) = @ARGV; my $count = 0; $| = 1; while (1) {{ {body} }}");
            Command::new("perl")
                .args(["-e", &program])
                .args([home, outside])
                .uid(USER)
                .gid(USER)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .expect("perl runs")
        };
        Self(ATTACKERS.into_iter().map(run).collect())
    }

    /// Ends them; gives what they could read.
    fn end(mut self) -> String {
        let mut read = String::new();
        for mut child in self.0.drain(..) {
            child.kill().expect("a child of ours");
            let output = child.wait_with_output().expect("its words");
            read.push_str(&String::from_utf8_lossy(&output.stdout));
        }
        read
    }
}

/// `MODE OWNER GROUP CONTENT` of all that is not the user's.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("root reads") {
        let path = entry.expect("an entry").path();
        let meta = fs::symlink_metadata(&path).expect("stat");
        let content = if meta.is_file() {
            fs::read_to_string(&path).expect("text")
        } else {
            String::new()
        };
        found.insert(
            path.display().to_string(),
            format!("{:o} {} {} {content}", meta.mode(), meta.uid(), meta.gid()),
        );
        if meta.is_dir() {
            found.extend(tree(&path));
        }
    }
    found
}

fn resources(home: &str, content: &Content) -> Vec<Resource> {
    let file = |path: String, mode: &str| {
        Resource::File(File {
            path,
            ensure: Ensure::Present,
            content: Some(content.clone()),
            mode: Some(mode.to_owned()),
            owner: Some(USER.to_string()),
            group: Some(USER.to_string()),
            sensitive: false,
            validate: None,
        })
    };
    vec![
        file(format!("{home}/f"), "0644"),
        Resource::Line(Line {
            path: format!("{home}/l"),
            ensure: Ensure::Present,
            line: "a line".to_owned(),
            validate: None,
        }),
        Resource::Directory(Directory {
            path: format!("{home}/d"),
            ensure: Ensure::Present,
            mode: Some("0755".to_owned()),
            owner: Some(USER.to_string()),
            group: None,
        }),
        Resource::Symlink(Symlink {
            path: format!("{home}/s"),
            ensure: Ensure::Present,
            target: "somewhere".to_owned(),
        }),
        file(format!("{home}/sub/f"), "0600"),
    ]
}

/// What was there before, as a user would have it: what is captured has to fit, or the undo is refused.
fn before(content: &Content) -> Attributes {
    let pairs = [
        ("type", "file"),
        ("mode", "0644"),
        ("owner", "65534"),
        ("group", "65534"),
    ];
    let mut attributes: Vec<(String, String)> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    attributes.push(("digest".to_owned(), format!("sha256:{}", content.sha256)));
    Attributes(attributes)
}

/// What Holdfast set, from the lines that it wants to see.
fn put(wanted: &[String]) -> Attributes {
    let pair = |line: &String| {
        line.split_once(' ')
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
    };
    Attributes(wanted.iter().filter_map(pair).collect())
}

/// Captures, applies and undoes every resource, in processes of their own, as jobs do. What is refused is refused.
fn program(state: &Path, home: &str, ours: &Content, theirs: &Content, secret: &Content) -> String {
    let platform = Platform {
        init: Init::None,
        package_manager: PackageManager::None,
        root: true,
    };
    let mut text = String::from(LIBRARY);
    text.push_str(&format!(
        "hf_state={}\nhf_blobs=$hf_state/blobs\nhf_sync_can=no\nhf_caps\n",
        quote(&state.display().to_string())
    ));
    for round in 0..ROUNDS {
        for (number, resource) in resources(home, ours).iter().enumerate() {
            let life = resource.lifecycle();
            // Whether the capture took the user's own file or one that he was not to reach: both ways back are tried.
            let was = before(if round % 2 == 0 { theirs } else { secret });
            let put = put(&life.wanted(&was));
            let capture = Sh::new().code("(").then(&life.capture()).code(") 2>/dev/null");
            let apply = Sh::new()
                .code("(")
                .then(&life.apply(&platform).expect("compiles"))
                .code(") 2>/dev/null && done=$((done + 1))");
            let undo = Sh::new()
                .code("(")
                .then(&life.restore(&was, &put, &platform).expect("compiles"))
                .code(") 2>/dev/null");
            text.push_str(&format!(
                "hf_before=$hf_state/before/key{number}; rm -rf \"$hf_before\"; mkdir \"$hf_before\"\n{capture}{apply}{undo}"
            ));
        }
    }
    text.push_str("echo $done\n");
    text
}

const LIBRARY: &str = concat!(
    r#"
LC_ALL=C; export LC_ALL; cd /; umask 022; done=0
hf_say() { printf '%s\n' "$*"; }
hf_attr() { :; }
hf_left() { :; }
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

#[test]
fn whatever_a_user_swaps_in_his_home_root_touches_nothing_else() {
    if fs::metadata("/proc/self").expect("proc").uid() != 0 {
        skip::skip("only root can be led astray in another's home");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("chmod");
    let (state, home, outside) = (root.join("state"), root.join("home"), root.join("outside"));
    for made in [
        &state,
        &state.join("blobs"),
        &state.join("before"),
        &home,
        &home.join("sub"),
        &outside,
    ] {
        fs::create_dir(made).expect("made");
    }
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("chmod");
    for his in [&home, &home.join("sub")] {
        chown(his, Some(USER), Some(USER)).expect("chown");
    }
    // Names of root's that fit those of the user's.
    for name in ["shadow", "f", "l", "d", "s", "new"] {
        fs::write(outside.join(name), format!("{SECRET}\n")).expect("written");
        fs::set_permissions(outside.join(name), fs::Permissions::from_mode(0o600)).expect("chmod");
    }
    let (ours, theirs) = (Content::of(b"ours\n"), Content::of(b"mine\n"));
    let secret = Content::of(format!("{SECRET}\n").as_bytes());
    fs::write(state.join("blobs").join(&ours.sha256), "ours\n").expect("staged");
    let at_first = tree(&outside);

    let attackers = Attackers::begin(&home, &outside);
    let text = program(&state, &home.display().to_string(), &ours, &theirs, &secret);
    let file = state.join("program");
    fs::write(&file, text).expect("written");
    let output = Command::new("sh")
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .expect("sh runs");
    let read = attackers.end();

    let said = String::from_utf8_lossy(&output.stdout);
    let applied: usize = said.trim().parse().unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(read, "", "the user read what only root may");
    assert_eq!(tree(&outside), at_first, "root's files are as they were");
    assert!(applied > ROUNDS, "most steps come to their end all the same: {applied}");
    let rooms: Vec<_> = fs::read_dir(root)
        .expect("readable")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().starts_with(".holdfast"))
        .collect();
    assert!(rooms.is_empty(), "nothing of ours stays: {rooms:?}");
}
