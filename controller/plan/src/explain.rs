//! Why a plan does with a resource what it does: which rule decided, what was compared, and what it waits for.
//!
//! Nothing is decided here, and nothing is worked out a second time: the rule stands in the change or the refusal.

use crate::address::Address;
use crate::change::{Action, Change, HostPlan, Reason};
use crate::ledger::{Ledger, Origin};
use crate::lifecycle::Phase;
use crate::observation::Attributes;
use crate::resource::{DesiredResource, Undoing};
use crate::rule::Rule;
use serde::Serialize;
use std::collections::BTreeSet;

/// All that an explanation follows from.
#[derive(Debug, Clone, Copy)]
pub struct ExplainInput<'a> {
    /// The plan of the host.
    pub plan: &'a HostPlan,
    /// What the blueprints want of this host.
    pub desired: &'a [DesiredResource],
    /// The ledger that the plan was made from.
    pub ledger: &'a Ledger,
    /// What the probe found of the resource.
    pub observed: &'a Attributes,
}

/// Why a plan does with one resource of one host what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Which resource.
    pub address: Address,
    /// Where it is declared, or was.
    pub declared_at: String,
    /// Whether a blueprint declares it for this host.
    pub declared: bool,
    /// Whether its values are never shown.
    pub sensitive: bool,
    /// What was decided: a service may have a change and a restart, and be refused for two reasons.
    pub decided: Vec<Decided>,
    /// What keeps the whole host from being changed.
    pub host_refused: Vec<String>,
    /// What was compared, attribute by attribute.
    pub compared: Vec<Compared>,
    /// What the ledger says.
    pub ledger: Option<InLedger>,
    /// What comes before it, and whether that changes in this plan.
    pub waits_for: Vec<Waits>,
}

/// What was decided, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// What is done; `None`: it is refused.
    pub action: Option<Action>,
    /// The rule.
    pub rule: Option<Rule>,
    /// Its name.
    pub name: &'static str,
    /// Why there is such a rule.
    pub why: &'static str,
    /// The reason of the change.
    pub reason: Option<Reason>,
    /// What stands in the way, if it is refused.
    pub refusal: Option<String>,
    /// Whether the host takes it back by itself unless it is confirmed.
    pub guarded: bool,
}

/// One attribute, from the three that are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Which.
    pub attribute: String,
    /// What the probe found.
    pub observed: Option<String>,
    /// What is desired (or, where the resource leaves, what comes back).
    pub desired: Option<String>,
    /// What the ledger has: as it was last applied.
    pub ledger: Option<String>,
    /// Whether it is not as desired.
    pub differs: bool,
}

/// What the ledger says of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InLedger {
    /// Where it is in its life.
    pub phase: Phase,
    /// How it came there.
    pub origin: Origin,
    /// What was there before, in words; `None`: it was adopted.
    pub was: Option<String>,
    /// What would become of it if it left the blueprints.
    pub undo: Undoing,
    /// What changed since it owes a restart to it.
    pub restart_owed_since: Vec<Address>,
}

/// What comes before a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waits {
    /// What.
    pub address: Address,
    /// Why it comes before: `needs` or `restart_on` of the blueprint, or `place` (it holds its place, or the planner can't
    /// tell before it is done).
    pub because: &'static str,
    /// What this plan does with it, if it does anything.
    pub action: Option<Action>,
}

/// Explains what a plan does with a resource; `None` if neither blueprint nor ledger has it on this host.
pub fn explain(input: &ExplainInput<'_>, address: &Address) -> Option<Explanation> {
    let plan = input.plan;
    let declared = input.desired.iter().find(|desired| desired.address == *address);
    let entry = input.ledger.entries.get(address);
    let desired = declared.or(entry.map(|entry| &entry.desired))?;
    let changes: Vec<&Change> = plan
        .changes
        .iter()
        .filter(|change| change.address == *address)
        .collect();
    let refusals = plan
        .refusals
        .iter()
        .filter(|refusal| refusal.address.as_ref() == Some(address));
    let mut decided: Vec<Decided> = changes.iter().map(|change| of_change(change)).collect();
    decided.extend(refusals.map(|refusal| Decided {
        action: None,
        rule: refusal.rule,
        name: refusal.rule.map_or("", Rule::name),
        why: refusal.rule.map_or("", Rule::why),
        reason: None,
        refusal: Some(refusal.message.clone()),
        guarded: false,
    }));
    let others = plan
        .refusals
        .iter()
        .filter(|refusal| refusal.address.as_ref() != Some(address));
    let host_refused = others.map(|refusal| match &refusal.address {
        Some(other) => format!("{other}: {}", refusal.message),
        None => refusal.message.clone(),
    });
    Some(Explanation {
        address: address.clone(),
        declared_at: desired.declared_at.clone(),
        declared: declared.is_some(),
        sensitive: desired.sensitive,
        decided,
        host_refused: host_refused.collect(),
        compared: compared(
            input.observed,
            &wanted(desired, &changes, input.observed),
            entry.map(|entry| &entry.applied),
        ),
        ledger: entry.map(|entry| InLedger {
            phase: entry.phase,
            origin: entry.origin(),
            was: entry.was(),
            undo: entry.undoing(),
            restart_owed_since: input.ledger.owed.get(address).cloned().unwrap_or_default(),
        }),
        waits_for: waits(desired, declared.is_some(), &changes, plan),
    })
}

fn of_change(change: &Change) -> Decided {
    Decided {
        action: Some(change.action),
        rule: Some(change.rule),
        name: change.rule.name(),
        why: change.rule.why(),
        reason: Some(change.reason.clone()),
        refusal: None,
        guarded: change.steps.iter().any(|step| step.guard.is_some()),
    }
}

/// The lines that the probe has to show: of what leaves those of its undo.
fn wanted(desired: &DesiredResource, changes: &[&Change], observed: &Attributes) -> Attributes {
    let lines = match changes.iter().find(|change| change.action == Action::Delete) {
        Some(change) => change.steps.iter().flat_map(|step| step.wanted.clone()).collect(),
        None => desired.resource.lifecycle().wanted(observed),
    };
    let pairs = lines.iter().filter_map(|line| line.split_once(' '));
    Attributes(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

fn compared(observed: &Attributes, desired: &Attributes, ledger: Option<&Attributes>) -> Vec<Compared> {
    let none = Attributes::default();
    let ledger = ledger.unwrap_or(&none);
    let mut seen = BTreeSet::new();
    // What was foretold is no attribute of the resource.
    let keys = [desired, observed, ledger]
        .into_iter()
        .flat_map(|attributes| &attributes.0);
    let keys = keys
        .map(|(key, _)| key)
        .filter(|key| !key.starts_with("undo.") && seen.insert(key.as_str()));
    let value = |of: &Attributes, key: &str| of.get(key).map(str::to_owned);
    keys.map(|key| Compared {
        attribute: key.clone(),
        observed: value(observed, key),
        desired: value(desired, key),
        ledger: value(ledger, key),
        differs: desired.get(key).is_some() && desired.get(key) != observed.get(key),
    })
    .collect()
}

/// Lists what comes before a resource: what it declares, and what the planner said besides.
fn waits(desired: &DesiredResource, declared: bool, changes: &[&Change], plan: &HostPlan) -> Vec<Waits> {
    let action_of = |address: &Address| {
        let change = plan
            .changes
            .iter()
            .find(|change| change.address == *address && !change.steps.is_empty())?;
        Some(change.action)
    };
    let mut waits: Vec<Waits> = Vec::new();
    let mut add = |address: &Address, because: &'static str| {
        if waits.iter().all(|known| known.address != *address) {
            waits.push(Waits {
                address: address.clone(),
                because,
                action: action_of(address),
            });
        }
    };
    if declared {
        desired.needs.iter().for_each(|need| add(need, "needs"));
        desired.restart_on.iter().for_each(|on| add(on, "restart_on"));
    }
    for change in changes {
        match &change.reason {
            Reason::KnownAfter { after, .. } | Reason::LookedAtAgain { after } => {
                after.iter().for_each(|after| add(after, "place"));
            }
            Reason::DependencyChanges { on } | Reason::RestartOwed { on } => {
                on.iter().for_each(|on| add(on, "restart_on"));
            }
            _ => {}
        }
    }
    waits
}
