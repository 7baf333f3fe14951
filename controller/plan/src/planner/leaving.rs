//! What leaves its place: entries that no blueprint declares any more, and the old lives of those that became another
//! thing or shall be made anew. All of it is undone before anything comes, in one order ([`super::undo`]): what comes would
//! else capture Holdfast's own work as what was there before.

use super::classify::{self, touches};
use super::{Draft, Leaving, compile, diff, undo};
use crate::address::Address;
use crate::change::{Action, Change, Reason, Step};
use crate::ledger::{LedgerEntry, Origin};
use crate::lifecycle::Phase;
use crate::observation::Attributes;
use crate::resource::{DesiredResource, Difference, Resource, UndoKind, Undoing, Unsupported};
use crate::rule::Rule;
use std::collections::BTreeMap;

/// What is undone before anything comes.
pub(super) struct Undone<'a> {
    /// The resource, as the ledger has it.
    pub(super) was: &'a DesiredResource,
    observed: Attributes,
}

impl Undone<'_> {
    /// Tells whether its undo may change what a probe of `later` finds.
    pub(super) fn moves(&self, later: &Resource) -> bool {
        touches(later, &self.was.resource, true) || classify::disturbs(later, &self.was.resource, &self.observed)
    }
}

impl<'a> Draft<'a> {
    /// Plans what leaves, in the order in which it is undone.
    pub(super) fn plan_leaving(&mut self) {
        let wanted: BTreeMap<&Address, &DesiredResource> = self
            .input
            .desired
            .iter()
            .map(|resource| (&resource.address, resource))
            .collect();
        let stays = |entry: &LedgerEntry| wanted.get(&entry.desired.address).copied();
        let mut leaving = self.input.ledger.in_order();
        leaving.retain(|entry| stays(entry).is_none_or(|desired| classify::life_is_over(entry, desired)));
        let runs_on: Vec<bool> = leaving
            .iter()
            .map(|entry| stays(entry).is_none() && self.runs_on(entry))
            .collect();
        for at in undo::order(&leaving, &runs_on) {
            let entry = leaving[at];
            match stays(entry) {
                Some(desired) => self.plan_end(entry, desired),
                None => {
                    if runs_on[at] {
                        self.plan_restart(&entry.desired, Leaving::Yes);
                    }
                    self.plan_delete(entry);
                }
            }
        }
    }

    /// Tells whether a service that leaves goes on running, as it did before Holdfast: then it has to learn that the
    /// files it read are back as they were.
    fn runs_on(&self, entry: &LedgerEntry) -> bool {
        let Resource::Service(service) = &entry.desired.resource else {
            return false;
        };
        let was = match &entry.before {
            Some(before) if entry.put.get("running").is_some() => before.attributes.get("running") == Some("yes"),
            Some(_) | None => self.observed(&entry.desired.address).get("running") == Some("yes"),
        };
        was && service.running != Some(false)
    }

    fn plan_delete(&mut self, entry: &'a LedgerEntry) {
        let address = &entry.desired.address;
        let host = &self.input.observation.host;
        if entry.phase == Phase::Stuck {
            let message = format!("{}; `holdfast resolve {host} {address}` decides", classify::STUCK);
            self.refuse(address, Rule::Stuck, message);
        }
        match self.undo(entry) {
            Ok(None) => {
                let why = match entry.origin() {
                    Origin::Adopted => "Holdfast found it so, and changed nothing of it",
                    Origin::Applied => entry.desired.resource.lifecycle().kept_because().unwrap_or_default(),
                };
                let reason = Reason::NothingToUndo { why: why.to_owned() };
                let because = (Rule::NothingToUndo, reason);
                let change = self.change(&entry.desired, Action::Forget, because, None);
                self.push(change, Ok(Vec::new()));
            }
            step => {
                if entry.desired.prevent_undo {
                    let message = "it left the blueprint, and `prevent_undo` keeps it from being undone: declare it again \
                                   without `prevent_undo`, apply that, and take it out then";
                    self.refuse(address, Rule::PreventUndo, message);
                }
                let found = self.input.observation.resources.get(address);
                let reason = returning(entry, &self.observed(address), step.as_ref().ok());
                let diff = diff::of_return(entry, found, self.input.blobs);
                let because = (Rule::LeftBlueprint, reason);
                let change = self.change(&entry.desired, Action::Delete, because, diff);
                self.push(change, step.map(|step| step.into_iter().collect()));
                self.undone(entry);
            }
        }
    }

    /// Plans the end of the old life of a resource that stays declared; the change of the new one takes its step up.
    fn plan_end(&mut self, entry: &'a LedgerEntry, desired: &DesiredResource) {
        let address = &entry.desired.address;
        if entry.desired.prevent_undo {
            let message = "the change undoes what stands there first, and `prevent_undo` keeps it from being undone: take \
                           `prevent_undo` out, apply that, and change it then";
            self.refuse(address, Rule::PreventUndo, message);
        }
        let because = (Rule::LeftBlueprint, returning(entry, &self.observed(address), None));
        let same = entry.desired.resource.lifecycle().identity() == desired.resource.lifecycle().identity();
        let change = Change {
            // What was observed is the new thing's place.
            observed: if same {
                self.observed(address)
            } else {
                entry.applied.clone()
            },
            ..self.change(&entry.desired, Action::Delete, because, None)
        };
        let step = self.undo(entry).map(|step| step.into_iter().collect());
        match step.and_then(|steps| self.guarded(&change, steps)) {
            Ok(steps) => {
                let steps = self.numbered(&change, steps);
                self.ends.insert(address.clone(), steps);
                self.undone(entry);
            }
            Err(unsupported) => self.refuse(address, Rule::Unsupported, unsupported.to_string()),
        }
    }

    fn undone(&mut self, entry: &'a LedgerEntry) {
        let observed = self.observed(&entry.desired.address);
        let was = &entry.desired;
        self.undone.push(Undone { was, observed });
    }

    /// Compiles the way back, past what others have.
    fn undo(&self, entry: &LedgerEntry) -> Result<Option<Step>, Unsupported> {
        let step = compile::undo(entry, &self.platform)?;
        let sparing = undo::sparing(&entry.desired, self.input.desired);
        Ok(step.map(|step| Step {
            apply: sparing.then(&step.apply),
            ..step
        }))
    }

    /// Lists what this plan undoes first at the very place that `desired` is to take.
    pub(super) fn displaced(&self, desired: &DesiredResource) -> Vec<Address> {
        let others = self
            .undone
            .iter()
            .filter(|undone| undone.was.address != desired.address);
        others
            .filter(|undone| classify::same_place(&undone.was.resource, &desired.resource))
            .map(|undone| undone.was.address.clone())
            .collect()
    }
}

/// Says what was there, what its undo does, and in what the host differs from what comes back.
fn returning(entry: &LedgerEntry, observed: &Attributes, step: Option<&Option<Step>>) -> Reason {
    let resource = entry.desired.resource.lifecycle();
    let undoing = match &entry.before {
        Some(before) => resource.undoing(&before.attributes, &entry.put),
        None => Undoing::keeps(""),
    };
    let wanted = step.into_iter().flatten().flat_map(|step| &step.wanted);
    let differences = wanted.filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        let found = observed.get(key).unwrap_or_default();
        (undoing.kind == UndoKind::Restore && found != value).then(|| Difference {
            attribute: key.to_owned(),
            observed: found.to_owned(),
            desired: value.to_owned(),
        })
    });
    Reason::LeftBlueprint {
        differences: differences.collect(),
        was: entry.was().unwrap_or_default(),
        undoing,
    }
}
