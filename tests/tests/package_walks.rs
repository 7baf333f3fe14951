//! Random walks over packages and services on real hosts: blueprints that come and go, people at work, jobs that are
//! killed; and then the empty blueprint. What is installed and what runs is then as people left it.

use holdfast_tests::bed::{Bed, BedHost, HostSpec, Kind};
use holdfast_tests::packages::{DATABASE, offer};
use holdfast_tests::project::Project;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The seeds that the tests walk; `HOLDFAST_WALK_SEED` takes another one, to look at a failure or to walk further.
const SEEDS: [u64; 2] = [1, 2];

/// Moves of a walk before the end: each is an apply on both hosts, some three seconds.
const MOVES: u32 = 8;

/// What a walk declares and people install, and what each needs.
const PACKAGES: [(&str, &str); 4] = [
    ("beddb", "libbed"),
    ("libbed", ""),
    ("bedtool", "libbed"),
    ("lonely", ""),
];

/// A small generator (splitmix64): the same walk for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// What people want of a host, whatever Holdfast does meanwhile.
#[derive(Debug, Clone, Default)]
struct People {
    packages: BTreeSet<&'static str>,
    /// Whether cron runs and starts at boot.
    cron: (bool, bool),
}

impl People {
    /// What is installed if only people were here.
    fn installed(&self) -> BTreeSet<&'static str> {
        let needs: BTreeMap<_, _> = PACKAGES.into_iter().collect();
        let needed = self
            .packages
            .iter()
            .map(|name| needs[name])
            .filter(|name| !name.is_empty());
        self.packages.iter().copied().chain(needed).collect()
    }
}

fn offer_debs(root: &Path) {
    offer(root, Kind::Systemd, &DATABASE);
}

fn offer_rpms(root: &Path) {
    offer(root, Kind::Dnf, &DATABASE);
}

fn installed(host: &BedHost) -> BTreeSet<&'static str> {
    let list = if host.name == "red" {
        host.inside("rpm -qa --qf '%{NAME} installed\\n'")
    } else {
        host.inside("dpkg-query -W -f '${Package} ${db:Status-Status}\\n'")
    };
    let there: BTreeSet<&str> = list
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .collect();
    PACKAGES
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| there.contains(name))
        .collect()
}

/// Whether what dpkg has is whole: nothing half installed, and configuration left behind only by the one that has some.
fn odd_states(host: &BedHost) -> Vec<String> {
    if host.name == "red" {
        return Vec::new();
    }
    let list = host.inside("dpkg-query -W -f '${Package} ${db:Status-Status}\\n'");
    let odd = list
        .lines()
        .filter(|line| !line.ends_with(" installed") && !line.ends_with(" not-installed"));
    odd.filter(|line| *line != "beddb config-files")
        .map(str::to_owned)
        .collect()
}

fn cron(host: &BedHost) -> (bool, bool) {
    let said = host.inside("systemctl is-active cron || :; systemctl is-enabled cron || :");
    let mut lines = said.lines();
    (lines.next() == Some("active"), lines.next() == Some("enabled"))
}

fn by_hand(host: &BedHost, what: &str, package: &str) {
    let program = if host.name == "red" {
        "dnf -y -q"
    } else {
        "DEBIAN_FRONTEND=noninteractive apt-get -y -q --auto-remove"
    };
    host.inside(&format!("{program} {what} {package} >/dev/null 2>&1"));
    if host.name == "red" && what == "install" {
        // Of what is there already dnf notes only so that a person wants it.
        host.inside(&format!("dnf -y -q mark install {package} >/dev/null 2>&1"));
    }
}

/// What one blueprint declares: packages, each present or absent, and services.
fn blueprint(dice: &mut Dice) -> (String, BTreeSet<&'static str>, bool) {
    let (mut text, mut declared) = (String::new(), BTreeSet::new());
    for (name, _) in PACKAGES {
        if dice.one_in(2) {
            continue;
        }
        declared.insert(name);
        // What others need can't be absent: that is refused, and another test's matter.
        let absent = name != "libbed" && dice.one_in(4);
        let ensure = if absent { "ensure = \"absent\"\n" } else { "" };
        write!(text, "[package.{name}]\n{ensure}").expect("a String takes it");
        if name == "beddb" && !absent && dice.one_in(2) {
            let (running, enabled) = (dice.one_in(2), dice.one_in(2));
            write!(
                text,
                "[service.beddb]\nneeds = [\"package.beddb\"]\nrunning = {running}\nenabled = {enabled}\n"
            )
            .expect("a String takes it");
        }
    }
    let declares_cron = dice.one_in(2);
    if declares_cron {
        let (running, enabled) = (dice.one_in(2), dice.one_in(2));
        write!(text, "[service.cron]\nrunning = {running}\nenabled = {enabled}\n").expect("a String takes it");
    }
    (text, declared, declares_cron)
}

/// Lets people do something with what the blueprint does not declare, or take away what Holdfast put there.
fn people_at_work(
    dice: &mut Dice,
    host: &BedHost,
    people: &mut People,
    declared: &BTreeSet<&'static str>,
    cron_is_ours: bool,
) -> String {
    let (name, _) = PACKAGES[usize::try_from(dice.below(4)).expect("small")];
    match dice.below(4) {
        0 if !declared.contains(name) && !people.packages.contains(name) => {
            by_hand(host, "install", name);
            people.packages.insert(name);
            format!("install {name}")
        }
        1 if !declared.contains(name) && people.packages.contains(name) && name != "libbed" => {
            by_hand(host, "remove", name);
            people.packages.remove(name);
            format!("remove {name}")
        }
        2 if name == "lonely" && declared.contains(name) && !people.packages.contains(name) => {
            by_hand(host, "remove", name);
            "remove lonely, which is Holdfast's".to_owned()
        }
        3 if !cron_is_ours => {
            let (verb, state): (&str, (bool, bool)) = match dice.below(4) {
                0 => ("start", (true, people.cron.1)),
                1 => ("stop", (false, people.cron.1)),
                2 => ("enable -q", (people.cron.0, true)),
                _ => ("disable -q", (people.cron.0, false)),
            };
            host.inside(&format!("systemctl {verb} cron 2>/dev/null"));
            people.cron = state;
            format!("{verb} cron")
        }
        _ => "nothing".to_owned(),
    }
}

/// The lines that the journals of a host's jobs have.
fn journal_lines(host: &BedHost) -> usize {
    let jobs = fs::read_dir(host.path("/var/lib/holdfast/jobs"))
        .into_iter()
        .flatten()
        .flatten();
    jobs.map(|job| {
        fs::read_to_string(job.path().join("journal"))
            .unwrap_or_default()
            .lines()
            .count()
    })
    .sum()
}

/// Applies, and kills the job of each host, and what the package manager runs for it, once its journal has some lines.
fn apply_and_kill(project: &Project, bed: &Bed, lines: usize) {
    let apply = project.start(&["apply", "-y"]);
    let began = Instant::now();
    for host in &bed.hosts {
        // A job that is over before, or never was one, is not killed.
        while journal_lines(host) < lines && began.elapsed() < Duration::from_secs(4) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // The host has a process namespace of its own: no process of others is meant.
        host.inside(
            "for file in /var/lib/holdfast/jobs/*/pid; do
                [ -e \"$file\" ] || continue
                read -r pid rest <\"$file\"
                for name in apt-get dpkg dnf; do
                    for child in $(pgrep -x $name); do kill -9 \"$child\" 2>/dev/null; done
                done
                kill -9 \"$pid\" 2>/dev/null
            done; :",
        );
    }
    apply.wait();
}

/// Applies until it is done: what was killed is found, recorded and gone on with.
fn apply_to_the_end(project: &Project, story: &str) {
    let mut said = Vec::new();
    for _ in 0..4 {
        let ended = project.run(&["apply", "-y"]);
        if ended.code == Some(0) {
            project.run(&["plan", "--detailed-exitcode"]).exits(0);
            return;
        }
        said.push(ended.to_string());
    }
    panic!("{story}\ndoes not come to an end: {}", said.join("\n"));
}

fn walk(seed: u64) {
    let specs = [
        HostSpec {
            prepare: Some(&offer_debs),
            ..HostSpec::new("sys", Kind::Systemd)
        },
        HostSpec {
            prepare: Some(&offer_rpms),
            ..HostSpec::new("red", Kind::Dnf)
        },
    ];
    let Some(bed) = Bed::start(&specs) else { return };
    bed.hosts.iter().for_each(BedHost::wait_until_booted);
    let project = Project::of(&bed);
    let mut dice = Dice(seed);
    let mut people: Vec<People> = bed
        .hosts
        .iter()
        .map(|host| People {
            packages: BTreeSet::new(),
            cron: cron(host),
        })
        .collect();
    let mut story = format!("HOLDFAST_WALK_SEED={seed}");
    let (mut declared, mut cron_is_ours) = (BTreeSet::new(), false);
    for _ in 0..MOVES {
        if dice.one_in(2) {
            for (host, people) in bed.hosts.iter().zip(&mut people) {
                let done = people_at_work(&mut dice, host, people, &declared, cron_is_ours);
                write!(story, "\nby hand on {}: {done}", host.name).expect("a String takes it");
            }
        }
        let text;
        (text, declared, cron_is_ours) = blueprint(&mut dice);
        write!(story, "\nblueprint:\n{text}").expect("a String takes it");
        project.blueprint(&text);
        if dice.one_in(3) {
            let lines = usize::try_from(dice.below(12)).expect("small");
            write!(story, "killed at line {lines}").expect("a String takes it");
            apply_and_kill(&project, &bed, lines);
        }
        apply_to_the_end(&project, &story);
        for host in &bed.hosts {
            write!(story, "\nthen on {}: {:?}", host.name, installed(host)).expect("a String takes it");
        }
    }
    project.blueprint("");
    apply_to_the_end(&project, &story);
    for (host, people) in bed.hosts.iter().zip(&people) {
        let found = (installed(host), cron(host), odd_states(host));
        assert_eq!(
            found,
            (people.installed(), people.cron, Vec::new()),
            "{}: {story}",
            host.name
        );
    }
}

// Issue 8, done when 1, for packages and services.
#[test]
fn any_walk_over_packages_and_services_gives_the_host_back_as_people_left_it() {
    let one = std::env::var("HOLDFAST_WALK_SEED")
        .ok()
        .map(|seed| seed.parse().expect("a number"));
    match one {
        Some(seed) => walk(seed),
        None => SEEDS.into_iter().for_each(walk),
    }
}
