//! The ledger: what Holdfast put on a machine, with what was there before. A projection of the events.

use crate::address::{Address, ResourceType};
use crate::change::Action;
use crate::event::{Event, IntendedStep, Intent, Resolution};
use crate::ids::{AttemptId, Timestamp};
use crate::lifecycle::{Phase, Transition, next_phase};
use crate::observation::{Attributes, StepReport, StepStatus};
use crate::resource::{Comparison, DesiredResource};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// One resource of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The resource as it was last desired.
    pub desired: DesiredResource,
    /// Where it is in its life.
    pub phase: Phase,
    /// How it came here.
    pub origin: Origin,
    /// What the probe found before Holdfast changed it first (empty for adopted ones).
    pub before: Attributes,
    /// The digest of what was captured on the host.
    pub before_digest: Option<String>,
    /// What the probe found when it was last applied or adopted.
    pub applied: Attributes,
    /// The order in which it entered; undo runs in reverse.
    pub sequence: u64,
    /// When its phase was last told by what somebody saw; a report of an agent that is older says nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Timestamp>,
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
    /// The highest step that is known to have ended (0: none). A journal is read from its start at every attach, so
    /// reports come again; one that counted twice could owe a restart that was just done.
    pub ended: u32,
}

impl LedgerFold {
    /// Takes one event that was recorded `at` a time; `ledger` is the one of [`Event::machine`]. Total: an event that
    /// says nothing about a ledger, or comes twice, changes nothing.
    pub fn apply(&mut self, ledger: &mut Ledger, at: Timestamp, event: &Event) {
        match event {
            Event::AttemptIntended(intent) => {
                self.open.entry(intent.attempt.clone()).or_insert_with(|| OpenJob {
                    intent: intent.clone(),
                    ended: 0,
                });
            }
            Event::StepReported { attempt, report, .. } => self.step(ledger, at, attempt, report),
            Event::JobEnded { attempt, .. } => {
                self.open.remove(attempt);
            }
            Event::Adopted { desired, applied, .. } => {
                adopt(ledger, desired, applied);
                seen(ledger, &desired.address, at);
            }
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
        if report.index <= job.ended {
            return;
        }
        if report.status != StepStatus::Begun {
            job.ended = report.index;
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
                apply_reported(ledger, step, report);
                seen(ledger, &step.address, at);
            }
            // These have no step; a log that says otherwise changes nothing.
            Action::Adopt | Action::Forget | Action::NoOp => return,
        }
        if may_have_changed(&report.status) {
            for (service, steps) in &job.intent.restarts {
                if steps.contains(&report.index) {
                    owe(ledger, service, &step.address);
                }
            }
        }
    }
}

/// Tells whether a step may have changed the host. A failed one may have done its part: its retry would find
/// nothing to do, and nobody would restart the service any more.
fn may_have_changed(status: &StepStatus) -> bool {
    match status {
        StepStatus::Begun
        | StepStatus::Changed
        | StepStatus::Left { .. }
        | StepStatus::Failed { .. }
        | StepStatus::NotConverged { .. }
        | StepStatus::TimedOut { .. }
        | StepStatus::NotReady => true,
        StepStatus::Unchanged | StepStatus::NotCaptured { .. } => false,
    }
}

fn apply_reported(ledger: &mut Ledger, step: &IntendedStep, report: &StepReport) {
    match &report.status {
        // Nothing was changed, and nothing is known that was not known before.
        StepStatus::NotCaptured { .. } => {}
        StepStatus::Unchanged => {
            let applied = if report.after.0.is_empty() {
                &report.before
            } else {
                &report.after
            };
            adopt(ledger, &step.desired, applied);
        }
        StepStatus::Begun => begin_apply(ledger, step, report),
        StepStatus::Changed | StepStatus::Left { .. } => {
            begin_apply(ledger, step, report);
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
        | StepStatus::NotReady => {
            begin_apply(ledger, step, report);
            go(ledger, &step.address, Transition::ApplyFailed);
        }
    }
}

/// Enters a resource that a step was begun on. *Before* is written once: by the first step that may have changed it.
fn begin_apply(ledger: &mut Ledger, step: &IntendedStep, report: &StepReport) {
    let sequence = ledger.next_sequence();
    let entry = ledger
        .entries
        .entry(step.address.clone())
        .or_insert_with(|| LedgerEntry {
            desired: step.desired.clone(),
            phase: Phase::Absent,
            origin: Origin::Adopted,
            before: Attributes::default(),
            before_digest: None,
            applied: Attributes::default(),
            sequence,
            seen: None,
        });
    let Ok(next) = next_phase(entry.phase, Transition::ApplyBegun) else {
        return;
    };
    entry.phase = next;
    entry.desired = step.desired.clone();
    if entry.origin == Origin::Adopted {
        entry.origin = Origin::Applied;
        entry.before = report.before.clone();
    }
    if entry.before_digest.is_none() {
        entry.before_digest.clone_from(&report.before_digest);
    }
}

fn undo_reported(ledger: &mut Ledger, step: &IntendedStep, report: &StepReport) {
    match &report.status {
        StepStatus::Begun => {
            go(ledger, &step.address, Transition::UndoBegun);
        }
        StepStatus::Unchanged | StepStatus::Changed | StepStatus::Left { .. } => {
            go(ledger, &step.address, Transition::UndoBegun);
            if go(ledger, &step.address, Transition::UndoDone) {
                ledger.owed.remove(&step.address);
            }
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

fn adopt(ledger: &mut Ledger, desired: &DesiredResource, applied: &Attributes) {
    let sequence = ledger.next_sequence();
    let entry = ledger
        .entries
        .entry(desired.address.clone())
        .or_insert_with(|| LedgerEntry {
            desired: desired.clone(),
            phase: Phase::Absent,
            origin: Origin::Adopted,
            before: Attributes::default(),
            before_digest: None,
            applied: Attributes::default(),
            sequence,
            seen: None,
        });
    if let Ok(next) = next_phase(entry.phase, Transition::Adopted) {
        entry.phase = next;
        entry.desired = desired.clone();
        entry.applied = applied.clone();
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
        Comparison::Absent | Comparison::Differs(_) | Comparison::Replace(_) => Transition::SeenToDiffer,
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
        (None, Resolution::Retry | Resolution::Skip { .. } | Resolution::Accept | Resolution::Taint) => {}
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
