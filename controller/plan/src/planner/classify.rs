//! Which action a desired resource needs, and why: an ordered table of rules, the first that matches wins.

use super::Mode;
use crate::address::{Address, ResourceType};
use crate::change::{Action, Change, Reason, StepLife};
use crate::ledger::LedgerEntry;
use crate::lifecycle::Phase;
use crate::observation::{Attributes, Observed};
use crate::resource::{Claim, ClaimKind, Comparison, DesiredResource, Difference, Resource};
use crate::rule::Rule;

/// What is said of a stuck resource.
pub(super) const STUCK: &str = "its undo failed, and what was there before could not be put back";

/// What the rules look at.
pub(super) struct Case<'a> {
    pub(super) desired: &'a DesiredResource,
    pub(super) entry: Option<&'a LedgerEntry>,
    pub(super) comparison: Comparison,
    /// What the probe found.
    pub(super) observed: Attributes,
    /// Whether the host is held against the ledger, and nothing will be changed.
    pub(super) drift: bool,
    /// What this plan undoes first at the same place.
    pub(super) displaced: Vec<Address>,
    /// What it rests on and this plan changes first: its needs, and what holds its path.
    pub(super) pending_needs: Vec<Address>,
    /// All that this plan changes first.
    pub(super) pending: Vec<Address>,
}

/// What a rule says.
#[derive(Debug)]
pub(super) enum Verdict {
    Do(Action, Reason),
    Refuse(String),
}

/// Gives what a rule says of a case that it is for.
type Test = fn(&Case<'_>) -> Option<Verdict>;

/// The rules; each has its name and its why. The order is part of them.
const RULES: [(Rule, Test); 14] = [
    (Rule::Stuck, stuck),
    (Rule::PlaceIsFreedFirst, place_is_freed_first),
    (Rule::Refused, refused),
    (Rule::BecameAnother, became_another),
    (Rule::Tainted, tainted),
    (Rule::WaitsForItsNeeds, waits_for_its_needs),
    (Rule::KnownAfter, known_after),
    (Rule::Vanished, vanished),
    (Rule::CannotTell, cannot_tell),
    (Rule::LookedAtAgain, looked_at_again),
    (Rule::Adopt, adopt),
    (Rule::NotReadyYet, not_ready_yet),
    (Rule::EntryIsOutdated, entry_is_outdated),
    (Rule::NothingToDo, nothing_to_do),
];

/// Compares, or says that nothing was reported.
pub(super) fn compare(desired: &DesiredResource, found: Option<&Observed>) -> Comparison {
    match found {
        // Whatever the type: what could not be looked at is not absent.
        Some(found) if let Some(why) = found.attributes.get("unreadable") => {
            Comparison::Refused(format!("{why}; what can't be looked at is not touched"))
        }
        Some(found) => desired.resource.lifecycle().compare(&found.attributes),
        None => Comparison::CannotTell("the host reported nothing about it".to_owned()),
    }
}

/// Says of what has no folder whether it can be made: this plan brings the folder, or nobody does. (Against the ledger,
/// what is gone together with its folder is gone.)
pub(super) fn with_folder(comparison: Comparison, mode: Mode, earlier: &[Change]) -> Comparison {
    let Comparison::NoFolder(folder) = comparison else {
        return comparison;
    };
    let place = Claim::whole(ClaimKind::Path, &folder);
    let brings = |change: &Change| {
        matches!(change.action, Action::Create | Action::Replace)
            && !change.steps.is_empty()
            && change.desired.resource.lifecycle().claims().contains(&place)
    };
    if mode == Mode::Drift || earlier.iter().any(brings) {
        Comparison::Absent
    } else {
        Comparison::Missing(format!("its folder {folder} is missing"))
    }
}

/// Finds the first rule that matches; if none does, something differs.
pub(super) fn decide(case: &Case<'_>) -> (Rule, Verdict) {
    RULES
        .iter()
        .find_map(|(rule, test)| Some((*rule, test(case)?)))
        .unwrap_or_else(|| (Rule::Differs, differs(case)))
}

fn stuck(case: &Case<'_>) -> Option<Verdict> {
    let entry = case.entry.filter(|entry| entry.phase == Phase::Stuck)?;
    let address = &entry.desired.address;
    Some(Verdict::Refuse(format!(
        "{STUCK}; `holdfast resolve HOST {address}` decides"
    )))
}

fn place_is_freed_first(case: &Case<'_>) -> Option<Verdict> {
    let after = case.displaced.clone();
    (!after.is_empty()).then(|| known_after_these(after, "its place is freed first"))
}

fn refused(case: &Case<'_>) -> Option<Verdict> {
    let Comparison::Refused(message) = &case.comparison else {
        return None;
    };
    Some(match case.pending_needs.is_empty() {
        true => Verdict::Refuse(message.clone()),
        false => known_after_these(case.pending_needs.clone(), message),
    })
}

fn became_another(case: &Case<'_>) -> Option<Verdict> {
    let entry = case.entry.filter(|entry| entry.before.is_some())?;
    let another = is_another(entry, case.desired) && case.tells();
    if another && let Some(message) = case.refused_once_back(entry) {
        return Some(Verdict::Refuse(message));
    }
    another.then(|| {
        let was = entry.desired.resource.lifecycle().identity();
        let is = case.desired.resource.lifecycle().identity();
        Verdict::Do(Action::Replace, Reason::BecameAnother { was, is })
    })
}

fn tainted(case: &Case<'_>) -> Option<Verdict> {
    case.entry.filter(|entry| is_tainted(entry) && case.tells())?;
    Some(Verdict::Do(Action::Replace, Reason::Tainted))
}

fn waits_for_its_needs(case: &Case<'_>) -> Option<Verdict> {
    // Of a script that nobody ran a failing check tells nothing; of the other types the difference is worth showing.
    let waits = case.desired.address.kind == ResourceType::Script
        && matches!(case.comparison, Comparison::Differs(_))
        && !case.pending_needs.is_empty();
    waits.then(|| known_after_these(case.pending_needs.clone(), "its check does not pass yet"))
}

fn known_after(case: &Case<'_>) -> Option<Verdict> {
    let (Comparison::CannotTell(why) | Comparison::Missing(why)) = &case.comparison else {
        return None;
    };
    let after = if case.pending_needs.is_empty() {
        &case.pending
    } else {
        &case.pending_needs
    };
    (!after.is_empty()).then(|| known_after_these(after.clone(), why))
}

fn vanished(case: &Case<'_>) -> Option<Verdict> {
    let Comparison::Missing(why) = &case.comparison else {
        return None;
    };
    let differences = vec![Difference {
        attribute: "there".to_owned(),
        observed: why.clone(),
        desired: "yes".to_owned(),
    }];
    (case.drift && case.entry.is_some()).then_some(Verdict::Do(Action::Update, Reason::Drifted { differences }))
}

fn cannot_tell(case: &Case<'_>) -> Option<Verdict> {
    let (Comparison::CannotTell(why) | Comparison::Missing(why)) = &case.comparison else {
        return None;
    };
    Some(Verdict::Refuse(format!(
        "{why}, and nothing in the blueprint brings it"
    )))
}

fn looked_at_again(case: &Case<'_>) -> Option<Verdict> {
    // Asking for drift changes nothing that anything could rest on.
    let again = case.comparison == Comparison::Same && !case.pending_needs.is_empty() && !case.drift;
    again.then(|| {
        let after = case.pending_needs.clone();
        Verdict::Do(Action::Unknown, Reason::LookedAtAgain { after })
    })
}

fn adopt(case: &Case<'_>) -> Option<Verdict> {
    let new = case.comparison == Comparison::Same && case.entry.is_none();
    new.then_some(Verdict::Do(Action::Adopt, Reason::AlreadyAsDesired))
}

fn not_ready_yet(case: &Case<'_>) -> Option<Verdict> {
    let entry = case.entry.filter(|_| case.comparison == Comparison::Same)?;
    let open = entry.phase.is_unfinished() && case.desired.ready.is_some();
    let differences = Vec::new();
    open.then_some(Verdict::Do(Action::Update, Reason::LastAttemptFailed { differences }))
}

fn entry_is_outdated(case: &Case<'_>) -> Option<Verdict> {
    let entry = case.entry.filter(|_| case.comparison == Comparison::Same)?;
    let outdated = entry.phase.is_unfinished()
        || spec_changed(entry, case.desired)
        // The order in which things are undone follows them.
        || entry.desired.needs != case.desired.needs
        || entry.desired.prevent_undo != case.desired.prevent_undo
        || entry.desired.critical != case.desired.critical;
    outdated.then_some(Verdict::Do(Action::Adopt, Reason::AlreadyAsDesired))
}

fn nothing_to_do(case: &Case<'_>) -> Option<Verdict> {
    (case.comparison == Comparison::Same).then_some(Verdict::Do(Action::NoOp, Reason::AlreadyAsDesired))
}

/// What is left after the rules: it is absent, differs, or something else is in its place.
fn differs(case: &Case<'_>) -> Verdict {
    let (action, differences) = match &case.comparison {
        Comparison::Absent => (Action::Create, Vec::new()),
        Comparison::Replace(differences) => (Action::Replace, differences.clone()),
        Comparison::Differs(differences) => (Action::Update, differences.clone()),
        Comparison::Same | Comparison::CannotTell(_) | Comparison::Missing(_) | Comparison::Refused(_) => {
            unreachable!("the rules before take every one of these")
        }
        Comparison::NoFolder(_) => unreachable!("`with_folder` made it absent or missing"),
    };
    // A script's check tells only whether it passes; what nobody has run yet is not there, as far as anybody knows.
    let never_ran = case.entry.is_none() && case.desired.address.kind == ResourceType::Script;
    let action = if never_ran { Action::Create } else { action };
    let reason = match case.entry {
        None if action == Action::Create => Reason::NotThere,
        None => Reason::DiffersFromBlueprint { differences },
        Some(entry) if entry.phase.is_unfinished() => Reason::LastAttemptFailed { differences },
        Some(entry) if spec_changed(entry, case.desired) => Reason::BlueprintChanged { differences },
        Some(_) => Reason::Drifted { differences },
    };
    Verdict::Do(action, reason)
}

impl Case<'_> {
    /// Tells whether the probe could say anything.
    fn tells(&self) -> bool {
        !matches!(self.comparison, Comparison::CannotTell(_) | Comparison::Missing(_))
    }

    /// Why the new thing must not be, once what was there before is back at the same place: a symlink took the place of a
    /// file, and shall now be absent.
    fn refused_once_back(&self, entry: &LedgerEntry) -> Option<String> {
        let before = &entry.before.as_ref()?.attributes;
        let comes_back = same_place(&entry.desired.resource, &self.desired.resource)
            && before.get("type").is_some()
            && before.get("type") != self.observed.get("type");
        match self.desired.resource.lifecycle().compare(before) {
            Comparison::Refused(message) if comes_back => {
                Some(format!("once what was there before is back, {message}"))
            }
            _ => None,
        }
    }

    /// Tells whether the step has to run even if the probe is content with what it finds.
    pub(super) fn must_run(&self, reason: &Reason) -> bool {
        match reason {
            Reason::LastAttemptFailed { .. } => self.desired.ready.is_some(),
            _ => self.entry.is_some_and(is_tainted),
        }
    }

    /// Tells what its step means for *before*, whatever it waits for.
    pub(super) fn life(&self) -> StepLife {
        let begins = || StepLife::Begins {
            capture: self.desired.resource.lifecycle().capture(),
        };
        let Some(entry) = self.entry else { return begins() };
        match &entry.before {
            // What was undone before it is over, and so is what is kept when another thing comes.
            Some(_) if is_another(entry, self.desired) || life_is_over(entry, self.desired) => begins(),
            Some(before) => StepLife::GoesOn {
                life: before.life.clone(),
            },
            None if is_tainted(entry) => begins(),
            // What was there before was as desired: putting that back is nothing of our own, and leaving the
            // blueprint forgets it as ever.
            None if !spec_changed(entry, self.desired) => StepLife::None,
            None => begins(),
        }
    }
}

fn is_tainted(entry: &LedgerEntry) -> bool {
    entry.phase == Phase::Tainted
}

fn is_another(entry: &LedgerEntry, desired: &DesiredResource) -> bool {
    entry.desired.resource.lifecycle().identity() != desired.resource.lifecycle().identity()
}

/// Tells whether the old life of a resource that stays declared has to be undone first: another thing stands under its
/// address now, or a person said that it shall be made anew.
pub(super) fn life_is_over(entry: &LedgerEntry, desired: &DesiredResource) -> bool {
    entry.before.is_some()
        && entry.phase != Phase::Stuck
        && entry.desired.resource.lifecycle().kept_because().is_none()
        && (is_tainted(entry) || is_another(entry, desired))
}

fn known_after_these(after: Vec<Address>, why: &str) -> Verdict {
    let why = why.to_owned();
    Verdict::Do(Action::Unknown, Reason::KnownAfter { after, why })
}

/// Tells whether the blueprint changed in what concerns the host. Where it is written and how long it may take do not.
fn spec_changed(entry: &LedgerEntry, desired: &DesiredResource) -> bool {
    let was = &entry.desired;
    was.resource != desired.resource
        || was.env != desired.env
        || was.ready != desired.ready
        || was.restart_on != desired.restart_on
        || was.sensitive != desired.sensitive
}

/// Tells whether undoing `leaving` changes what `coming` is about: one has what the other claims, or holds its path.
pub(super) fn same_place(leaving: &Resource, coming: &Resource) -> bool {
    let coming = coming.lifecycle().claims();
    let leaving = leaving.lifecycle().claims();
    leaving
        .iter()
        .any(|claim| coming.iter().any(|other| claim.meets(other)))
}

/// Tells whether a change of `earlier` may change what a probe of `later` finds: it is at the same place, `later`
/// lies below it, or `earlier` takes along what it does not claim itself. What comes and goes inside a folder that stays does not.
pub(super) fn rests_on(later: &Resource, earlier: &Change) -> bool {
    let resource = &earlier.desired.resource;
    let moves = earlier.action == Action::Replace || matches!(resource, Resource::Symlink(_));
    touches(later, resource, moves)
        || (earlier.action != Action::Create && disturbs(later, resource, &earlier.observed))
}

/// Tells whether `earlier` is at a place of `later`, or (if it `moves`) above one.
pub(super) fn touches(later: &Resource, earlier: &Resource, moves: bool) -> bool {
    let later = later.lifecycle().claims();
    let meets = |claim: &Claim| {
        later
            .iter()
            .any(|other| claim.meets(other) || (moves && claim.holds(other)))
    };
    earlier.lifecycle().claims().iter().any(meets)
}

/// Tells whether `earlier`, of which that was observed, takes along what `later` has.
pub(super) fn disturbs(later: &Resource, earlier: &Resource, observed: &Attributes) -> bool {
    let later = later.lifecycle().claims();
    later.iter().any(|claim| earlier.lifecycle().disturbs(observed, claim))
}
