//! Lines of one file that come and leave in any order, with people at work in between: the file is given back.
//!
//! What the file shall be is worked out by hand, from what people did alone.

use holdfast_plan::observation::{Attributes, Init, PackageManager, Platform};
use holdfast_plan::resource::{Ensure, Line, Resource};
use holdfast_plan::sh::{Sh, quote};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Move {
    /// The line shall be there, or not.
    Comes(&'static str, Ensure),
    /// It leaves the blueprint.
    Leaves(&'static str, Ensure),
    /// A person adds a line at the end, as an editor does.
    Appends(&'static str),
}
use Move::{Appends, Comes, Leaves};

fn comes(line: &'static str) -> Move {
    Comes(line, Ensure::Present)
}
fn leaves(line: &'static str) -> Move {
    Leaves(line, Ensure::Present)
}
fn goes(line: &'static str) -> Move {
    Comes(line, Ensure::Absent)
}
fn returns(line: &'static str) -> Move {
    Leaves(line, Ensure::Absent)
}

struct Host(tempfile::TempDir);

impl Host {
    fn new(text: Option<&str>) -> Self {
        let host = Self(tempfile::tempdir().expect("a folder"));
        for folder in ["state", "state/before", "state/jobs", "d"] {
            fs::create_dir(host.path(folder)).expect("made");
        }
        if let Some(text) = text {
            fs::write(host.path("d/f"), text).expect("written");
        }
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn read(&self) -> Option<String> {
        fs::read_to_string(self.path("d/f")).ok()
    }

    /// Does it all in one shell; each life has a folder of its own.
    fn walk(&self, moves: &[Move]) -> String {
        let platform = Platform {
            init: Init::None,
            package_manager: PackageManager::None,
            root: true,
        };
        let mut program = String::from(LIBRARY);
        writeln!(
            program,
            "hf_state={0} hf_job={0}/jobs\nhf_caps",
            quote(&self.text("state"))
        )
        .expect("text");
        for step in moves {
            let (Comes(text, ensure) | Leaves(text, ensure)) = step else {
                let Appends(text) = step else {
                    unreachable!("the other two are above")
                };
                let (file, text) = (quote(&self.text("d/f")), quote(text));
                writeln!(
                    program,
                    "[ ! -s {file} ] || hf_final {file} || echo >>{file}\nprintf '%s\\n' {text} >>{file}"
                )
                .expect("text");
                continue;
            };
            let line = Resource::Line(Line {
                path: self.text("d/f"),
                ensure: *ensure,
                line: (*text).to_owned(),
                validate: None,
            });
            let (line, name) = (line.lifecycle(), format!("{text}-{ensure:?}").replace(' ', "_"));
            let mut before = Attributes::default();
            before.set(
                "line",
                if *ensure == Ensure::Present {
                    "absent"
                } else {
                    "present"
                },
            );
            let before_folder = quote(&self.text(&format!("state/before/{name}")));
            let sh: Sh = match step {
                Comes(..) => line.capture().then(&line.apply(&platform).expect("it compiles")),
                _ => line
                    .restore(&before, &Attributes::default(), &platform)
                    .expect("it compiles"),
            };
            let make = if matches!(step, Comes(..)) {
                format!("mkdir {before_folder} || exit 1\n")
            } else {
                String::new()
            };
            write!(
                program,
                "{make}(\nhf_before={before_folder}\n{sh}\n) </dev/null || exit 1\n"
            )
            .expect("text");
            if matches!(step, Leaves(..)) {
                // As the acknowledgement of the job does, later.
                writeln!(program, "[ -e {before_folder}/ended ] || exit 9").expect("text");
            }
        }
        let file = self.path("program");
        fs::write(&file, program).expect("written");
        let output = Command::new("sh")
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .expect("sh runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && stderr.is_empty(),
            "{moves:?}: {:?} {stderr}",
            output.status
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn gives(first: Option<&str>, moves: &[Move], last: Option<&str>) {
    let host = Host::new(first);
    let left = host.walk(moves);
    assert_eq!(host.read().as_deref(), last, "{first:?} {moves:?}: {left}");
}

// REVIEW B3: the first of our lines made the file, and left before the others.
#[test]
fn a_file_that_we_made_goes_with_the_last_of_our_lines_whichever_that_is() {
    for moves in [
        [comes("a"), comes("b"), leaves("a"), leaves("b")],
        [comes("a"), comes("b"), leaves("b"), leaves("a")],
    ] {
        gives(None, &moves, None);
        gives(Some(""), &moves, Some(""));
    }
    // Somebody else's line keeps it.
    gives(
        None,
        &[comes("a"), comes("b"), Appends("theirs"), leaves("a"), leaves("b")],
        Some("theirs\n"),
    );
}

// REVIEW B3
#[test]
fn a_last_newline_that_we_added_goes_with_the_last_of_our_lines() {
    for moves in [
        [comes("a"), comes("b"), leaves("a"), leaves("b")],
        [comes("a"), comes("b"), leaves("b"), leaves("a")],
        [comes("a"), leaves("a"), comes("b"), leaves("b")],
    ] {
        gives(Some("one\ntwo"), &moves, Some("one\ntwo"));
    }
    gives(
        Some("one"),
        &[comes("a"), Appends("theirs"), comes("b"), leaves("a"), leaves("b")],
        Some("one\ntheirs\n"),
    );
    // Ours and one of theirs that went away.
    for moves in [
        [comes("a"), goes("x"), leaves("a"), returns("x")],
        [comes("a"), goes("x"), returns("x"), leaves("a")],
        [goes("x"), comes("a"), leaves("a"), returns("x")],
        [goes("x"), comes("a"), returns("x"), leaves("a")],
    ] {
        gives(Some("one\nx"), &moves, Some("one\nx"));
        gives(Some("one\nx\n"), &moves, Some("one\nx\n"));
        gives(Some("x"), &moves, Some("x"));
    }
}

// REVIEW B3: the numbers of lines mean nothing once others came and went.
#[test]
fn a_line_comes_back_beside_its_neighbours_whatever_came_and_went() {
    let text = "head\n\none\nx\n\ntwo\ny\n\nx\nend\n";
    for (first, last) in [
        ("x", "y"),
        ("y", "x"),
        ("one", "x"),
        ("x", "one"),
        ("head", "one"),
        ("end", "x"),
    ] {
        for moves in [
            [goes(first), goes(last), returns(first), returns(last)],
            [goes(first), goes(last), returns(last), returns(first)],
            [comes("ours"), goes(first), returns(first), leaves("ours")],
            [goes(first), comes("ours"), leaves("ours"), returns(first)],
        ] {
            gives(Some(text), &moves, Some(text));
        }
    }
    gives(
        Some("a\nx\nb\n"),
        &[goes("x"), Appends("c"), comes("ours"), returns("x"), leaves("ours")],
        Some("a\nx\nb\nc\n"),
    );
    gives(Some("x\n"), &[goes("x"), Appends("c"), returns("x")], Some("x\nc\n"));
}

/// A small generator (splitmix64): the same walk for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("small")
    }
}

// REVIEW B3
#[test]
fn lines_that_come_and_leave_in_any_order_give_the_file_back() {
    let seeds = match std::env::var("HOLDFAST_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (0..120).collect(),
    };
    for seed in seeds {
        let mut dice = Dice(seed);
        // What people wrote, with blank and equal lines among it.
        let theirs = ["p", "q", "r", "", "end"];
        let mut text: Vec<&str> = (0..dice.below(9)).map(|_| theirs[dice.below(theirs.len())]).collect();
        let bare = dice.below(2) == 0;
        let there = !text.is_empty() || dice.below(2) == 0;
        let written = |text: &[&str], bare: bool| {
            let joined = text.join("\n");
            if text.is_empty() || (bare && !text.last().is_some_and(|last| last.is_empty())) {
                joined
            } else {
                joined + "\n"
            }
        };
        let first = there.then(|| written(&text, bare));
        let (mut moves, mut alive, mut bare) = (Vec::new(), Vec::<Move>::new(), bare);
        let mut ended = Vec::new();
        for _ in 0..dice.below(10) {
            let ours = ["our 1", "our 2", "our 3"][dice.below(3)];
            let gone = ["p", "q", "r"][dice.below(3)];
            let pick = match dice.below(8) {
                0..3 => comes(ours),
                3..5 if text.contains(&gone) => goes(gone),
                5..7 if !alive.is_empty() => {
                    let at = dice.below(alive.len());
                    let Comes(line, ensure) = alive.remove(at) else {
                        unreachable!("only those are alive")
                    };
                    ended.push(Comes(line, ensure));
                    moves.push(Leaves(line, ensure));
                    continue;
                }
                // A person, in a file that is his.
                7 if there && !text.is_empty() && ended.is_empty() && alive.is_empty() => {
                    text.push("by hand");
                    bare = false;
                    moves.push(Appends("by hand"));
                    continue;
                }
                _ => continue,
            };
            if !alive.contains(&pick) && !ended.contains(&pick) {
                alive.push(pick.clone());
                moves.push(pick);
            }
        }
        while !alive.is_empty() {
            let Comes(line, ensure) = alive.remove(dice.below(alive.len())) else {
                unreachable!("only those are alive")
            };
            moves.push(Leaves(line, ensure));
        }
        let last = there.then(|| written(&text, bare));
        let host = Host::new(first.as_deref());
        host.walk(&moves);
        assert_eq!(host.read(), last, "HOLDFAST_SEED={seed}: {first:?} {moves:?}");
    }
}
