//! Any walk through blueprints, people's hands, killed jobs and killed controllers, ended by the empty blueprint, gives the
//! host back as people left it. `HOLDFAST_SEED=N` walks one; `HOLDFAST_WALKS=N` walks so many.

use holdfast_plan::resource::DesiredResource;
use holdfast_tests::walk::accounts::Accounts;
use holdfast_tests::walk::controller::{Controller, Fate, Went};
use holdfast_tests::walk::dice::Dice;
use holdfast_tests::walk::host::Host;
use holdfast_tests::walk::paths::Paths;
use holdfast_tests::walk::{tree, word};
use std::fmt::Write as _;
use std::fs;

#[path = "../src/skip.rs"]
mod skip;

/// Walks over paths in the tests, and over accounts: two hundred in all, about a second of a processor each. `just walk` takes
/// its time.
const WALKS: (u64, u64) = (143, 57);

/// How often an apply may be needed before a blueprint is whole: each retry meets nothing that kills it.
const APPLIES_MAX: usize = 4;

fn may() -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        skip::skip("owners, accounts and mounts need root");
    }
    may
}

/// Walks the seeds of a test; those that fail are told together.
fn walk_all(walks: u64, of: u64, walk: fn(u64) -> Result<(), String>) {
    let seed = std::env::var("HOLDFAST_SEED")
        .ok()
        .map(|seed| seed.parse::<u64>().expect("a number"));
    let all = std::env::var("HOLDFAST_WALKS")
        .ok()
        .map(|all| all.parse::<u64>().expect("a number"));
    // Of as many as are asked for, this test has its part.
    let walks = all.map_or(walks, |all| (all * walks).div_ceil(of));
    let seeds = seed.map_or(0..walks, |seed| seed..seed + 1);
    let mut failed = Vec::new();
    for seed in seeds {
        if let Err(story) = walk(seed) {
            tell(&format!("HOLDFAST_SEED={seed}\n{story}\n"));
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "walks that failed, by HOLDFAST_SEED: {failed:?}");
}

/// Tells the story of a walk, which a failed test shows.
#[expect(clippy::print_stderr, reason = "a test's own words, told before all walks are over")]
fn tell(story: &str) {
    eprintln!("{story}");
}

fn fate(dice: &mut Dice) -> Fate {
    match dice.below(8) {
        0 | 1 => Fate::WrapperDies(u32::try_from(1 + dice.below(30)).expect("small")),
        2 => Fate::StepDies(u32::try_from(1 + dice.below(24)).expect("small")),
        3 => match dice.below(2) {
            0 => Fate::DiesBeforeSending,
            _ => Fate::DiesFollowing(dice.below(4)),
        },
        _ => Fate::Whole,
    }
}

fn named(list: &[DesiredResource]) -> String {
    let mut text = String::new();
    for resource in list {
        let needs: Vec<String> = resource.needs.iter().map(ToString::to_string).collect();
        let _ = write!(
            text,
            "\n    {} = {:?} needs {needs:?}",
            resource.address, resource.resource
        );
    }
    text
}

/// One walk in the making.
struct Walk {
    host: Host,
    controller: Controller,
    dice: Dice,
    story: String,
}

impl Walk {
    fn new(seed: u64, accounts: bool) -> Self {
        Self {
            host: Host::new(accounts),
            controller: Controller::default(),
            dice: Dice::new(seed),
            story: String::new(),
        }
    }

    fn tell(&mut self, words: &str) {
        let _ = writeln!(self.story, "{words}");
    }

    /// Applies, as it may go; tells whether all is as the blueprint says (`None`: it was refused).
    fn apply(&mut self, list: &[DesiredResource], fate: Fate) -> Result<Option<bool>, String> {
        self.tell(&format!("  apply, {fate:?}:{}", named(list)));
        match self.controller.apply(&self.host, list, fate) {
            Went::Refused(words) => {
                self.tell(&format!("  refused: {words}"));
                Ok(None)
            }
            Went::Cut => Ok(Some(false)),
            Went::Done(plan, job) => {
                if let Some(why) = word::broken(&plan, job.as_ref()) {
                    return Err(format!("{}  the plan broke its word: {why}", self.story));
                }
                Ok(Some(true))
            }
        }
    }

    fn apply_to_the_end(&mut self, list: &[DesiredResource]) -> Result<(), String> {
        for _ in 0..APPLIES_MAX {
            match self.apply(list, Fate::Whole)? {
                None => return Err(format!("{}  it was refused", self.story)),
                Some(true) => return self.nothing_is_left_to_do(list),
                Some(false) => {}
            }
        }
        Err(format!("{}  it does not come to an end", self.story))
    }

    fn nothing_is_left_to_do(&mut self, list: &[DesiredResource]) -> Result<(), String> {
        let plan = self.controller.plan(&self.host, list);
        let work: Vec<_> = plan.changes.iter().filter(|change| !change.steps.is_empty()).collect();
        if plan.has_changes() || !plan.refusals.is_empty() {
            return Err(format!(
                "{}  the next plan is not empty: {work:?} {:?}",
                self.story, plan.refusals
            ));
        }
        Ok(())
    }

    /// The end of every walk: nothing is declared, nothing is kept.
    fn leave(&mut self) -> Result<(), String> {
        self.apply_to_the_end(&[])?;
        self.controller.clear(&self.host);
        let kept = names(&self.host, "state/before");
        let entries = &self.controller.ledger.entries;
        if !entries.is_empty() || !kept.is_empty() || !names(&self.host, "state/jobs").is_empty() {
            return Err(format!("{}  something is kept: {kept:?} {entries:?}", self.story));
        }
        if self.controller.folded_anew() != self.controller.ledger {
            return Err(format!("{}  the log tells another ledger", self.story));
        }
        Ok(())
    }
}

fn names(host: &Host, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(host.path(folder)).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn over_paths(seed: u64) -> Result<(), String> {
    let mut walk = Walk::new(seed, false);
    let mut paths = Paths::furnish(&mut walk.dice, &walk.host.root());
    walk.tell(&format!("  at first: {:?}", paths.model));
    let mut whole: Option<Vec<DesiredResource>> = Some(Vec::new());
    for _ in 0..2 + walk.dice.below(3) {
        if let Some(list) = &whole {
            for _ in 0..walk.dice.below(3) {
                let did = paths.people_at_work(&mut walk.dice, list);
                let _ = writeln!(walk.story, "  by hand: {did}");
            }
            if !list.is_empty() && walk.dice.one_in(6) {
                let address = walk.dice.of(list).address;
                walk.tell(&format!("  tainted: {address}"));
                walk.controller.taint(&address);
            }
        }
        let list = paths.blueprint(&mut walk.dice, &mut walk.controller.blobs);
        let fate = fate(&mut walk.dice);
        let went = walk.apply(&list, fate)?;
        match went {
            None => continue,
            Some(true) => {}
            Some(false) if walk.dice.one_in(2) => {
                whole = None;
                continue;
            }
            Some(false) => walk.apply_to_the_end(&list)?,
        }
        if walk.dice.one_in(3) {
            walk.nothing_is_left_to_do(&list)?;
        }
        paths.converged(&list);
        whole = Some(list);
    }
    walk.leave()?;
    if std::env::var_os("HOLDFAST_SEED").is_some() {
        tell(&walk.story);
    }
    let found = tree::read(&walk.host.root());
    if found != paths.model {
        return Err(format!(
            "{}  people had {:?}\n  and find {found:?}",
            walk.story, paths.model
        ));
    }
    Ok(())
}

fn over_accounts(seed: u64) -> Result<(), String> {
    let mut walk = Walk::new(seed, true);
    let mut accounts = Accounts::furnish(&mut walk.dice, &walk.host);
    let mut whole: Option<Vec<DesiredResource>> = Some(Vec::new());
    for _ in 0..2 + walk.dice.below(2) {
        if let Some(list) = &whole
            && walk.dice.one_in(2)
        {
            let did = accounts.people_at_work(&mut walk.dice, &walk.host, list);
            walk.tell(&format!("  by hand: {did}"));
        }
        let list = accounts.blueprint(&mut walk.dice);
        let fate = fate(&mut walk.dice);
        let went = walk.apply(&list, fate)?;
        match went {
            None => continue,
            Some(true) => {}
            Some(false) if walk.dice.one_in(2) => {
                whole = None;
                continue;
            }
            Some(false) => walk.apply_to_the_end(&list)?,
        }
        whole = Some(list);
    }
    walk.leave()?;
    let found = accounts.read(&walk.host);
    if found != accounts.model {
        return Err(format!(
            "{}  people had {:#?}\n  and find {found:#?}",
            walk.story, accounts.model
        ));
    }
    Ok(())
}

// Issue 8, done when 1 and 3; REVIEW B2, B3, H19, H22, F2
#[test]
fn any_walk_over_paths_gives_the_host_back_as_people_left_it() {
    if may() {
        walk_all(WALKS.0, WALKS.0 + WALKS.1, over_paths);
    }
}

// Issue 8, done when 1 and 3; REVIEW H19, H22
#[test]
fn any_walk_over_accounts_gives_the_host_back_as_people_left_it() {
    if may() {
        walk_all(WALKS.1, WALKS.0 + WALKS.1, over_accounts);
    }
}
