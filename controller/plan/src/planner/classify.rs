//! Which action a desired resource needs, and why: an ordered table of rules, the first that matches wins.

use crate::address::{Address, ResourceType};
use crate::change::{Action, Reason};
use crate::ledger::{LedgerEntry, Origin};
use crate::lifecycle::Phase;
use crate::observation::Observed;
use crate::resource::{Comparison, DesiredResource, Difference, Resource};

/// What is said of a stuck resource.
pub(super) const STUCK: &str = "its undo failed, and what was there before could not be put back";

/// What the rules look at.
pub(super) struct Case<'a> {
    pub(super) desired: &'a DesiredResource,
    pub(super) entry: Option<&'a LedgerEntry>,
    pub(super) comparison: Comparison,
    /// What this plan deletes from the same place.
    pub(super) displaced: Vec<Address>,
    /// What it needs and this plan changes first.
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

type Rule = fn(&Case<'_>) -> Option<Verdict>;

/// The rules, each with its why. The order is part of them.
const RULES: [(Rule, &str); 13] = [
    (
        stuck,
        "what could not be put back waits for a person, whatever is desired now",
    ),
    (
        another_thing,
        "the old thing would stay on the host for ever if its entry went over to the new one",
    ),
    (
        place_is_freed_first,
        "what was observed will not be there any more when it is this one's turn",
    ),
    (tainted, "a person said so"),
    (
        script_waits_for_its_needs,
        "a check that fails before its needs are applied says nothing",
    ),
    (known_after, "an earlier change may bring what the probe missed"),
    (cannot_tell, "nothing in this plan will make the probe wiser"),
    (refused, "the type itself says that it must not be touched"),
    (adopt, "it is as desired: the ledger learns of it"),
    (
        not_ready_yet,
        "the last attempt did not come to its end: the probe is content, the ready check has yet to pass",
    ),
    (
        old_line_remains,
        "the new line is there, and the old one that Holdfast put there still is",
    ),
    (entry_is_outdated, "the host is as desired, the ledger does not say so"),
    (nothing_to_do, "as desired and in the ledger"),
];

/// Compares, or says that nothing was reported.
pub(super) fn compare(desired: &DesiredResource, found: Option<&Observed>) -> Comparison {
    match found {
        Some(found) => desired.resource.lifecycle().compare(&found.attributes),
        None => Comparison::CannotTell("the host reported nothing about it".to_owned()),
    }
}

/// Finds the first rule that matches; if none does, something differs.
pub(super) fn decide(case: &Case<'_>) -> Verdict {
    RULES
        .iter()
        .find_map(|(rule, _why)| rule(case))
        .unwrap_or_else(|| differs(case))
}

fn stuck(case: &Case<'_>) -> Option<Verdict> {
    let entry = case.entry.filter(|entry| entry.phase == Phase::Stuck)?;
    let address = &entry.desired.address;
    Some(Verdict::Refuse(format!(
        "{STUCK}; `holdfast resolve HOST {address}` decides"
    )))
}

fn another_thing(case: &Case<'_>) -> Option<Verdict> {
    let was = thing(&case.entry?.desired.resource);
    let is = thing(&case.desired.resource);
    (was != is).then(|| {
        Verdict::Refuse(format!(
            "it meant {was} when it was applied and means {is} now; give the new one another name, then the old one \
             is put back"
        ))
    })
}

fn place_is_freed_first(case: &Case<'_>) -> Option<Verdict> {
    let after = case.displaced.clone();
    (!after.is_empty()).then(|| known_after_these(after, "its place is freed first"))
}

fn tainted(case: &Case<'_>) -> Option<Verdict> {
    case.entry.filter(|entry| entry.phase == Phase::Tainted)?;
    Some(Verdict::Do(Action::Replace, Reason::Tainted))
}

fn script_waits_for_its_needs(case: &Case<'_>) -> Option<Verdict> {
    let waits = case.desired.address.kind == ResourceType::Script
        && case.comparison != Comparison::Same
        && !case.pending_needs.is_empty();
    waits.then(|| known_after_these(case.pending_needs.clone(), "its check does not pass yet"))
}

fn known_after(case: &Case<'_>) -> Option<Verdict> {
    let Comparison::CannotTell(why) = &case.comparison else {
        return None;
    };
    let after = if case.pending_needs.is_empty() {
        &case.pending
    } else {
        &case.pending_needs
    };
    (!after.is_empty()).then(|| known_after_these(after.clone(), why))
}

fn cannot_tell(case: &Case<'_>) -> Option<Verdict> {
    let Comparison::CannotTell(why) = &case.comparison else {
        return None;
    };
    Some(Verdict::Refuse(format!(
        "{why}, and nothing in the blueprint brings it"
    )))
}

fn refused(case: &Case<'_>) -> Option<Verdict> {
    let Comparison::Refused(message) = &case.comparison else {
        return None;
    };
    Some(Verdict::Refuse(message.clone()))
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

fn old_line_remains(case: &Case<'_>) -> Option<Verdict> {
    let same = case.comparison == Comparison::Same;
    let old = case.entry.and_then(|entry| old_line(entry, case.desired))?;
    same.then(|| {
        let differences = vec![Difference {
            attribute: "line".to_owned(),
            observed: old.to_owned(),
            desired: "absent".to_owned(),
        }];
        Verdict::Do(Action::Update, Reason::BlueprintChanged { differences })
    })
}

fn entry_is_outdated(case: &Case<'_>) -> Option<Verdict> {
    let entry = case.entry.filter(|_| case.comparison == Comparison::Same)?;
    let outdated = entry.phase.is_unfinished() || spec_changed(entry, case.desired);
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
        Comparison::Same | Comparison::CannotTell(_) | Comparison::Refused(_) => {
            unreachable!("the rules before take every one of these")
        }
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
    /// Tells whether the step has to run even if the probe is content with what it finds.
    pub(super) fn must_run(&self, reason: &Reason) -> bool {
        match reason {
            Reason::Tainted => true,
            Reason::LastAttemptFailed { .. } => self.desired.ready.is_some(),
            Reason::BlueprintChanged { .. } => self.entry.and_then(|entry| old_line(entry, self.desired)).is_some(),
            _ => false,
        }
    }
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

/// Gives the line that Holdfast put there and that the blueprint no longer has under this address.
pub(super) fn old_line<'a>(entry: &'a LedgerEntry, desired: &DesiredResource) -> Option<&'a str> {
    match (&entry.desired.resource, &desired.resource) {
        (Resource::Line(was), Resource::Line(is)) if was.line != is.line && entry.origin == Origin::Applied => {
            Some(&was.line)
        }
        _ => None,
    }
}

/// Names the thing on the host that a resource is about.
fn thing(resource: &Resource) -> String {
    match (path(resource), resource) {
        (Some(path), _) => path.to_owned(),
        (None, Resource::Package(package)) => package.name.clone(),
        (None, Resource::Service(service)) => service.name.clone(),
        (None, Resource::User(user)) => user.name.clone(),
        (None, Resource::Group(group)) => group.name.clone(),
        (None, Resource::Script(script)) => script.name.clone(),
        (None, Resource::Cron(cron)) => match &cron.user {
            Some(user) => format!("{} of {user}", cron.name),
            None => cron.name.clone(),
        },
        (None, Resource::File(_) | Resource::Directory(_) | Resource::Symlink(_) | Resource::Line(_)) => {
            unreachable!("these have a path")
        }
    }
}

fn path(resource: &Resource) -> Option<&str> {
    match resource {
        Resource::File(file) => Some(&file.path),
        Resource::Directory(directory) => Some(&directory.path),
        Resource::Symlink(symlink) => Some(&symlink.path),
        Resource::Line(line) => Some(&line.path),
        Resource::Package(_)
        | Resource::Service(_)
        | Resource::User(_)
        | Resource::Group(_)
        | Resource::Cron(_)
        | Resource::Script(_) => None,
    }
}

/// Tells whether undoing `leaving` changes what `coming` is about.
pub(super) fn same_place(leaving: &Resource, coming: &Resource) -> bool {
    match (leaving, coming) {
        (Resource::Line(leaving), Resource::Line(coming)) => leaving.path == coming.path && leaving.line == coming.line,
        _ => match (path(leaving), path(coming)) {
            (Some(leaving), Some(coming)) => leaving == coming,
            (None, None) => leaving.lifecycle().kind() == coming.lifecycle().kind() && thing(leaving) == thing(coming),
            _ => false,
        },
    }
}
