//! The ledger: what Holdfast put on a machine, with what was there before. A projection of the events.

use crate::address::{Address, ResourceType};
use crate::change::Action;
use crate::event::{Event, IntendedStep, Intent, Resolution, StepLifeKind};
use crate::ids::{AttemptId, LifeId, Timestamp};
use crate::lifecycle::{Phase, Transition, next_phase};
use crate::observation::{Attributes, StepReport, StepStatus};
use crate::resource::{Comparison, DesiredResource, Undoing};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The ledger of one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Its entries.
    pub entries: BTreeMap<Address, LedgerEntry>,
    /// Services that are owed a restart, with the addresses that changed. A service may be owed one before it
    /// has an entry of its own.
    pub owed: BTreeMap<Address, Vec<Address>>,
}

/// How a resource came into the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Holdfast changed the host: *before* was captured.
    Applied,
    /// It was already as desired: leaving the blueprint forgets it.
    Adopted,
}

/// What was there before Holdfast changed it, in this life of the resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The life that it belongs to, and its name on the host.
    pub life: LifeId,
    /// What the probe found.
    pub attributes: Attributes,
    /// The digest of what was captured on the host, compared when it is used.
    pub digest: Option<String>,
}

/// One resource of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The resource as it was last desired.
    pub desired: DesiredResource,
    /// Where it is in its life.
    pub phase: Phase,
    /// What was there before its life began; `None`: it was adopted, and Holdfast has changed nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// What Holdfast put there in this life, by attribute, whatever the blueprint says by now: an undo gives back
    /// these and no others.
    #[serde(default)]
    pub put: Attributes,
    /// What the probe found when it was last applied or adopted.
    pub applied: Attributes,
    /// The order in which it entered; undo runs in reverse.
    pub sequence: u64,
    /// When its life began, or it was adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When its phase was last told by what somebody saw; a report of an agent that is older says nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Timestamp>,
}

impl LedgerEntry {
    fn new(desired: &DesiredResource, sequence: u64) -> Self {
        Self {
            desired: desired.clone(),
            phase: Phase::Absent,
            before: None,
            put: Attributes::default(),
            applied: Attributes::default(),
            sequence,
            since: None,
            seen: None,
        }
    }

    /// Tells how it came into the ledger.
    pub fn origin(&self) -> Origin {
        match self.before {
            Some(_) => Origin::Applied,
            None => Origin::Adopted,
        }
    }

    /// Says what becomes of it once it leaves the blueprints, as things stand.
    pub fn undoing(&self) -> Undoing {
        let resource = self.desired.resource.lifecycle();
        match (&self.before, resource.kept_because()) {
            (None, _) => Undoing::keeps("forgets it: Holdfast found it so, and changed nothing of it"),
            (Some(_), Some(why)) => Undoing::keeps(format!("forgets it, and leaves it where it is: {why}")),
            (Some(_), None) if self.desired.prevent_undo => {
                Undoing::keeps("keeps it (prevent_undo): a plan that would undo it is refused")
            }
            (Some(before), None) => resource.undoing(&before.attributes, &self.put),
        }
    }

    /// Says in words what was there before its life began; `None`: it was adopted.
    pub fn was(&self) -> Option<String> {
        let before = self.before.as_ref()?;
        Some(self.desired.resource.lifecycle().describe(&before.attributes))
    }
}

impl Ledger {
    /// Lists the entries in the order in which they entered.
    pub fn in_order(&self) -> Vec<&LedgerEntry> {
        let mut entries: Vec<_> = self.entries.values().collect();
        entries.sort_by_key(|entry| entry.sequence);
        entries
    }

    fn next_sequence(&self) -> u64 {
        self.entries
            .values()
            .map(|entry| entry.sequence)
            .max()
            .map_or(1, |last| last + 1)
    }
}

/// Carries events into ledgers.
///
/// It holds what the ledger itself does not: the jobs that have not ended, without whose intent a step's report
/// can't be understood. A store that keeps ledgers as tables keeps these beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerFold {
    /// The jobs that have not ended.
    pub open: BTreeMap<AttemptId, OpenJob>,
}

/// A job that was intended and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenJob {
    /// What was intended.
    pub intent: Intent,
    /// How far its steps are known to have come.
    pub progress: Progress,
}

/// How far the steps of a job are known to have come. A journal is read from its start at every attach, so reports
/// come again; one that counted twice could owe a restart that was just done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The steps that were changing something and have not ended.
    pub changing: BTreeSet<u32>,
    /// The steps that ended.
    pub ended: BTreeSet<u32>,
}

impl LedgerFold {
    /// Takes one event that was recorded `at` a time; `ledger` is the one of [`Event::machine`]. Total: an event that
    /// says nothing about a ledger, or comes twice, changes nothing.
    pub fn apply(&mut self, ledger: &mut Ledger, at: Timestamp, event: &Event) {
        match event {
            Event::AttemptIntended(intent) => {
                forget_owed_to_nobody(ledger, intent);
                self.open.entry(intent.attempt.clone()).or_insert_with(|| OpenJob {
                    intent: intent.clone(),
                    progress: Progress::default(),
                });
            }
            Event::StepReported { attempt, report, .. } => self.step(ledger, at, attempt, report),
            Event::JobEnded { attempt, .. } => self.job_over(ledger, attempt),
            Event::Adopted { desired, applied, .. } => {
                adopt(ledger, at, desired, applied);
                seen(ledger, &desired.address, at);
            }
            // A service that is still owed a restart stays: the next plan has it, and forgets it then.
            Event::Forgotten { address, .. } if ledger.owed.contains_key(address) => {}
            Event::Forgotten { address, .. } => drop_entry(ledger, address),
            Event::DriftSeen { drifted, mended, .. } => {
                for address in drifted.keys() {
                    go(ledger, address, Transition::SeenToDiffer);
                    seen(ledger, address, at);
                }
                for address in mended {
                    go(ledger, address, Transition::SeenInOrder);
                    seen(ledger, address, at);
                }
            }
            Event::ReportRecorded {
                observed_at, resources, ..
            } => {
                for (address, attributes) in resources {
                    agent_saw(ledger, *observed_at, address, attributes);
                }
            }
            Event::Resolved { address, how, .. } => {
                resolve(ledger, address.as_ref(), how);
                if let Some(address) = address {
                    seen(ledger, address, at);
                }
            }
            Event::RunStarted { .. }
            | Event::RunEnded { .. }
            | Event::PlanSaved { .. }
            | Event::HostObserved { .. }
            | Event::MachineSeen { .. }
            | Event::MachineHeld { .. }
            | Event::CommandIntended { .. }
            | Event::JobStarted { .. }
            | Event::AttemptEnded { .. }
            | Event::LeaseBroken { .. } => {}
        }
    }

    fn step(&mut self, ledger: &mut Ledger, at: Timestamp, attempt: &AttemptId, report: &StepReport) {
        let Some(job) = self.open.get_mut(attempt) else { return };
        if !job.progress.take(report) {
            return;
        }
        let Some(step) = job.intent.steps.iter().find(|step| step.index == report.index) else {
            return;
        };
        match step.action {
            Action::Restart => {
                if report.status == StepStatus::Changed {
                    ledger.owed.remove(&step.address);
                }
            }
            Action::Delete => undo_reported(ledger, step, report),
            Action::Create | Action::Update | Action::Replace | Action::Unknown => {
                apply_reported(ledger, at, attempt, step, report);
                seen(ledger, &step.address, at);
            }
            // These have no step; a log that says otherwise changes nothing.
            Action::Adopt | Action::Forget | Action::NoOp => return,
        }
        let taken_back = matches!(report.status, StepStatus::Begun | StepStatus::Reverted { .. });
        if report.changing && !taken_back {
            owe_all(ledger, &job.intent, step);
        }
    }

    /// Ends a job. A step of it that was changing something and never ended may have done its part: its retry would
    /// find nothing to do, and nobody would restart the service any more.
    fn job_over(&mut self, ledger: &mut Ledger, attempt: &AttemptId) {
        let Some(job) = self.open.remove(attempt) else { return };
        for step in &job.intent.steps {
            if job.progress.changing.contains(&step.index) {
                owe_all(ledger, &job.intent, step);
            }
        }
    }
}

impl Progress {
    /// Takes a report; tells whether it says anything new.
    fn take(&mut self, report: &StepReport) -> bool {
        if self.ended.contains(&report.index) {
            return false;
        }
        if report.status != StepStatus::Begun {
            self.changing.remove(&report.index);
            self.ended.insert(report.index);
            return true;
        }
        report.changing && self.changing.insert(report.index)
    }
}

/// Drops restarts that are owed to services which neither the ledger nor the plan knows any more: nobody would do
/// them, and one that comes back years later must not be restarted for their sake.
fn forget_owed_to_nobody(ledger: &mut Ledger, intent: &Intent) {
    let entries = &ledger.entries;
    ledger.owed.retain(|service, _| {
        entries.contains_key(service)
            || intent.restarts.contains_key(service)
            || intent.steps.iter().any(|step| step.address == *service)
    });
}

/// Owes a restart to every service that restarts on what a step changed. One that no ledger and no blueprint has any
/// more has gone with its last step.
fn owe_all(ledger: &mut Ledger, intent: &Intent, step: &IntendedStep) {
    for (service, steps) in &intent.restarts {
        if steps.contains(&step.index) && *service != step.address {
            owe(ledger, service, &step.address);
        }
    }
}

fn apply_reported(ledger: &mut Ledger, at: Timestamp, attempt: &AttemptId, step: &IntendedStep, report: &StepReport) {
    match &report.status {
        StepStatus::Unchanged => {
            let applied = if report.after.0.is_empty() {
                &report.before
            } else {
                &report.after
            };
            adopt(ledger, at, &step.desired, applied);
        }
        // Nothing was changed, and nothing is known that was not known before.
        _ if !report.changing => {}
        StepStatus::Begun => begin_apply(ledger, at, attempt, step, report),
        StepStatus::Changed | StepStatus::Left { .. } => {
            begin_apply(ledger, at, attempt, step, report);
            if go(ledger, &step.address, Transition::ApplyDone)
                && let Some(entry) = ledger.entries.get_mut(&step.address)
            {
                entry.applied = report.after.clone();
            }
            // A start after the change is as good as a restart.
            if step.address.kind == ResourceType::Service
                && report.before.get("running") != Some("yes")
                && report.after.get("running") == Some("yes")
            {
                ledger.owed.remove(&step.address);
            }
        }
        StepStatus::Failed { .. }
        | StepStatus::NotConverged { .. }
        | StepStatus::TimedOut { .. }
        | StepStatus::NotReady
        | StepStatus::Reverted { .. }
        | StepStatus::NotCaptured { .. }
        | StepStatus::BeforeLost { .. } => {
            begin_apply(ledger, at, attempt, step, report);
            go(ledger, &step.address, Transition::ApplyFailed);
        }
    }
}

/// Enters a resource that a step is changing. *Before* is written once in a life: by the step that begins it.
fn begin_apply(ledger: &mut Ledger, at: Timestamp, attempt: &AttemptId, step: &IntendedStep, report: &StepReport) {
    let sequence = ledger.next_sequence();
    let entry = ledger
        .entries
        .entry(step.address.clone())
        .or_insert_with(|| LedgerEntry::new(&step.desired, sequence));
    let Ok(next) = next_phase(entry.phase, Transition::ApplyBegun) else {
        return;
    };
    entry.phase = next;
    // What is kept rather than undone still stands in the entry when another thing begins its life there.
    let another = entry.desired.resource.lifecycle().identity() != step.desired.resource.lifecycle().identity();
    entry.desired = step.desired.clone();
    if step.life == StepLifeKind::Begins && (another || entry.before.is_none()) {
        entry.before = Some(Before {
            life: LifeId::begun_by(attempt, step.index),
            attributes: report.before.clone(),
            digest: report.before_digest.clone(),
        });
        entry.put = Attributes::default();
        entry.since = Some(at);
    }
    entry.since.get_or_insert(at);
    if let Some(before) = &mut entry.before {
        let there = ["type", "exists"];
        for line in step.desired.resource.lifecycle().wanted(&report.before) {
            let Some((key, value)) = line.split_once(' ') else {
                continue;
            };
            // What a life sets for the first time was people's until now, whatever it was when the life began.
            if let Some(theirs) = report.before.get(key).filter(|_| entry.put.get(key).is_none())
                && there
                    .iter()
                    .all(|key| before.attributes.get(key) == report.before.get(key))
            {
                before.attributes.set(key, theirs);
            }
            entry.put.set(key, value);
        }
    }
}

fn undo_reported(ledger: &mut Ledger, step: &IntendedStep, report: &StepReport) {
    match &report.status {
        StepStatus::Unchanged => undone(ledger, &step.address),
        // Waits for a person: what was there can't be put back by anybody else.
        StepStatus::BeforeLost { .. } => {
            go(ledger, &step.address, Transition::UndoFailed);
        }
        // Nothing was changed: it is as it was, and the next plan undoes it.
        _ if !report.changing => {}
        StepStatus::Begun => {
            go(ledger, &step.address, Transition::UndoBegun);
        }
        StepStatus::Changed | StepStatus::Left { .. } => undone(ledger, &step.address),
        // What Holdfast put there is back, and the life goes on.
        StepStatus::Reverted { .. } => {
            go(ledger, &step.address, Transition::UndoBegun);
            go(ledger, &step.address, Transition::ApplyFailed);
        }
        StepStatus::Failed { .. }
        | StepStatus::NotConverged { .. }
        | StepStatus::TimedOut { .. }
        | StepStatus::NotReady
        | StepStatus::NotCaptured { .. } => {
            go(ledger, &step.address, Transition::UndoFailed);
        }
    }
}

/// What is undone leaves the ledger, and nobody is owed anything for its sake.
fn undone(ledger: &mut Ledger, address: &Address) {
    go(ledger, address, Transition::UndoBegun);
    if go(ledger, address, Transition::UndoDone) {
        ledger.owed.remove(address);
    }
}

fn adopt(ledger: &mut Ledger, at: Timestamp, desired: &DesiredResource, applied: &Attributes) {
    let sequence = ledger.next_sequence();
    let entry = ledger
        .entries
        .entry(desired.address.clone())
        .or_insert_with(|| LedgerEntry::new(desired, sequence));
    if let Ok(next) = next_phase(entry.phase, Transition::Adopted) {
        entry.phase = next;
        entry.desired = desired.clone();
        entry.applied = applied.clone();
        entry.since.get_or_insert(at);
    }
}

/// Notes when somebody saw a resource, or decided about it.
fn seen(ledger: &mut Ledger, address: &Address, at: Timestamp) {
    if let Some(entry) = ledger.entries.get_mut(address) {
        entry.seen = Some(at);
    }
}

/// Takes what an agent saw, unless somebody looked after it.
fn agent_saw(ledger: &mut Ledger, at: Timestamp, address: &Address, found: &Attributes) {
    let Some(entry) = ledger.entries.get(address).filter(|entry| entry.seen <= Some(at)) else {
        return;
    };
    let transition = match entry.desired.resource.lifecycle().compare(found) {
        Comparison::Same => Transition::SeenInOrder,
        Comparison::Absent
        | Comparison::Differs(_)
        | Comparison::Replace(_)
        | Comparison::Missing(_)
        | Comparison::NoFolder(_) => Transition::SeenToDiffer,
        Comparison::CannotTell(_) | Comparison::Refused(_) => return,
    };
    go(ledger, address, transition);
    seen(ledger, address, at);
}

fn drop_entry(ledger: &mut Ledger, address: &Address) {
    go(ledger, address, Transition::Dropped);
    ledger.owed.remove(address);
}

fn owe(ledger: &mut Ledger, service: &Address, because: &Address) {
    let on = ledger.owed.entry(service.clone()).or_default();
    if !on.contains(because) {
        on.push(because.clone());
    }
}

fn resolve(ledger: &mut Ledger, address: Option<&Address>, how: &Resolution) {
    match (address, how) {
        (Some(address), Resolution::Retry) => {
            go(ledger, address, Transition::RetryAllowed);
        }
        (Some(address), Resolution::Skip { .. }) => drop_entry(ledger, address),
        (Some(address), Resolution::Accept) => {
            go(ledger, address, Transition::Accepted);
        }
        (Some(address), Resolution::Taint) => {
            go(ledger, address, Transition::Tainted);
        }
        // The machine that this ledger is about is gone.
        (_, Resolution::NewMachine) => *ledger = Ledger::default(),
        // The machine is let go on; its resources are as they were.
        (_, Resolution::JobDropped { .. } | Resolution::AsFound { .. })
        | (None, Resolution::Retry | Resolution::Skip { .. } | Resolution::Accept | Resolution::Taint) => {}
    }
}

/// Moves an entry on and removes it when it is absent. Tells whether the transition was possible: what is stuck stays
/// stuck, what is not there stays away.
fn go(ledger: &mut Ledger, address: &Address, transition: Transition) -> bool {
    let Some(entry) = ledger.entries.get_mut(address) else {
        return false;
    };
    let Ok(next) = next_phase(entry.phase, transition) else {
        return false;
    };
    entry.phase = next;
    if next == Phase::Absent {
        ledger.entries.remove(address);
    }
    true
}

#[cfg(test)]
mod tests;
