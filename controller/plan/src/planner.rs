//! The planner: what has to be done on a host, from what is desired, what the ledger says and what was observed.
//!
//! It decides everything; carrying out a plan leaves no meaningful choice. It changes nothing and reads no clock.
//!
//! ```text
//! what leaves its place ── deletes, forgets, ends of old lives ────┐
//! desired, in order ── compare ── rules ── compile ────────────────┼──> HostPlan
//! changed dependencies, owed restarts ── restarts ─────────────────┘
//! ```
//!
//! All that leaves a place comes first (planner/leaving.rs). A path may pass from one resource to another (a file becomes a
//! symlink under a new address, two addresses trade places): the old one has to be undone before the new one captures
//! *before*, or it would capture what Holdfast itself put there.

mod classify;
mod compile;
mod diff;
mod leaving;
#[cfg(test)]
mod tests;
mod undo;
mod unknown;

use crate::address::Address;
use crate::change::{Action, Change, HostPlan, Reason, Refusal, Step, StepGuard, StepLife};
use crate::content::Blobs;
use crate::event::HoldReason;
use crate::ids::MachineId;
use crate::ledger::{Before, Ledger};
use crate::observation::{Attributes, JobState, Observation, Platform};
use crate::resource::{DesiredResource, Lifecycle, Resource, Service, Unsupported};
use crate::rule::Rule;
use crate::sh::Sh;
use classify::{Case, Verdict};
use holdfast_inventory::HostName;
use leaving::Undone;
use std::collections::{BTreeMap, BTreeSet};

/// All that the plan of one host follows from.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// What the blueprints want of this host, in the order in which it is applied. Not looked at in [`Mode::Drift`].
    pub desired: &'a [DesiredResource],
    /// The ledger of the machine behind the host (empty for a new one).
    pub ledger: &'a Ledger,
    /// The machine that was behind this host's name when it was last observed, as the store knows it.
    pub machine: Option<&'a MachineId>,
    /// As which user of the host that machine was last seen: where nothing else is said, its state folder is that user's.
    pub was_user: Option<&'a str>,
    /// Why the machine is held, if it is.
    pub held: Option<&'a HoldReason>,
    /// What the host said, without the jobs that are recorded already: any job left makes the plan refuse.
    pub observation: &'a Observation,
    /// The bytes behind the contents, for diffs.
    pub blobs: &'a Blobs,
    /// Against what the host is compared.
    pub mode: Mode,
    /// The user that logs in, if it is known.
    pub login: Option<&'a str>,
    /// Within how many seconds a change of what carries us has to be confirmed.
    pub confirm_s: u64,
}

/// Against what a host is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Against the blueprints: what `plan` and `apply` do.
    Converge,
    /// Against the ledger, whatever the blueprints say by now: what `drift` does.
    Drift,
}

/// A resource that is probed before a host is planned.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// Which.
    pub desired: &'a DesiredResource,
    /// The sh that foretells what goes along with the change that may come.
    pub foretell: Option<Sh>,
    /// The sh that shows the text that comes back, if it is undone.
    pub kept: Option<Sh>,
}

impl<'a> From<&'a DesiredResource> for Asked<'a> {
    fn from(desired: &'a DesiredResource) -> Self {
        let (foretell, kept) = (None, None);
        Self {
            desired,
            foretell,
            kept,
        }
    }
}

/// Lists what has to be probed on a host before it can be planned: what is desired, and what the ledger holds
/// beyond that.
pub fn to_observe<'a>(desired: &'a [DesiredResource], ledger: &'a Ledger, mode: Mode) -> Vec<Asked<'a>> {
    let in_ledger = ledger.in_order().into_iter();
    match mode {
        Mode::Drift => in_ledger.map(|entry| Asked::from(&entry.desired)).collect(),
        Mode::Converge => {
            let wanted: BTreeSet<&Address> = desired.iter().map(|resource| &resource.address).collect();
            let mut managed = Some(undo::managed(desired));
            let mut foretell = |what: &DesiredResource, before: Option<&Before>| {
                let sh = what.resource.lifecycle().foretell(before)?;
                // All read one list, which the first brings.
                let managed = managed.take().unwrap_or_default();
                Some(managed.then(&undo::sparing(what, desired)).then(&sh))
            };
            let mut asked = Vec::new();
            for resource in desired {
                asked.push(Asked {
                    desired: resource,
                    foretell: foretell(resource, None),
                    kept: None,
                });
            }
            for entry in in_ledger.filter(|entry| !wanted.contains(&entry.desired.address)) {
                let before = entry.before.as_ref();
                asked.push(Asked {
                    desired: &entry.desired,
                    foretell: before.and_then(|before| foretell(&entry.desired, Some(before))),
                    kept: before.and_then(|before| entry.desired.resource.lifecycle().show_kept(before)),
                });
            }
            asked
        }
    }
}

/// Plans one host.
pub fn plan_host(input: &PlanInput<'_>) -> HostPlan {
    let mut draft = Draft::new(input);
    draft.refuse_host();
    draft.refuse_unknown();
    let desired: Vec<&DesiredResource> = match input.mode {
        Mode::Converge => input.desired.iter().collect(),
        Mode::Drift => {
            let asked = to_observe(&[], input.ledger, Mode::Drift);
            asked.into_iter().map(|asked| asked.desired).collect()
        }
    };
    if input.mode == Mode::Converge {
        draft.plan_leaving();
    }
    let mut later = Vec::new();
    for (place, resource) in desired.iter().enumerate() {
        draft.plan_desired(resource);
        let needs_later = desired[place + 1..]
            .iter()
            .any(|other| resource.restart_on.contains(&other.address));
        if needs_later {
            later.push(*resource);
        } else {
            draft.plan_restart(resource, Leaving::No);
        }
    }
    for resource in later {
        draft.plan_restart(resource, Leaving::No);
    }
    draft.finish()
}

/// Refuses hosts that turned out to be one machine under two names. A machine that is known to be behind one of them
/// (`bound`: by host) is that one's: the others claim it, and they alone are refused.
pub fn refuse_shared_machines(hosts: &mut [HostPlan], bound: &BTreeMap<HostName, MachineId>) {
    let mut names: BTreeMap<MachineId, Vec<HostName>> = BTreeMap::new();
    for host in &*hosts {
        if let Some(machine) = &host.machine {
            names.entry(machine.clone()).or_default().push(host.host.clone());
        }
    }
    for host in hosts {
        let Some(machine) = &host.machine else { continue };
        let shared = names.get(machine).filter(|shared| shared.len() > 1);
        let Some(shared) = shared else { continue };
        if bound.get(&host.host) == Some(machine) {
            continue;
        }
        let shared: Vec<&str> = shared.iter().map(HostName::as_str).collect();
        host.refusals.push(Refusal {
            address: None,
            rule: None,
            message: format!(
                "{} are one machine under {} names; leave one of them in the inventory, or, if one was cloned \
                 from the other, remove `machine` from the state_dir of the clone and `holdfast resolve` it with `accept`",
                shared.join(" and "),
                shared.len()
            ),
        });
    }
}

/// Whether a service leaves the blueprints with this plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Yes,
    No,
}

/// A host plan in the making.
struct Draft<'a> {
    input: &'a PlanInput<'a>,
    platform: Platform,
    changes: Vec<Change>,
    refusals: Vec<Refusal>,
    /// What is undone before anything comes: what left the blueprints, and old lives.
    undone: Vec<Undone<'a>>,
    /// The steps that end the old lives of what stays declared, until its own change takes them up.
    ends: BTreeMap<Address, Vec<Step>>,
    /// The numbers of the steps of each address that changes. A restart is no change of its service.
    steps_of: BTreeMap<Address, Vec<u32>>,
    steps: u32,
    /// The numbers of the steps that change what carries us.
    guarded_steps: BTreeSet<u32>,
}

impl<'a> Draft<'a> {
    fn new(input: &'a PlanInput<'a>) -> Self {
        Self {
            input,
            platform: input.observation.facts.platform(),
            changes: Vec::new(),
            refusals: Vec::new(),
            undone: Vec::new(),
            ends: BTreeMap::new(),
            steps_of: BTreeMap::new(),
            steps: 0,
            guarded_steps: BTreeSet::new(),
        }
    }

    fn refuse(&mut self, address: &Address, rule: Rule, message: impl Into<String>) {
        self.refusals.push(Refusal {
            address: Some(address.clone()),
            rule: Some(rule),
            message: message.into(),
        });
    }

    fn refuse_all(&mut self, message: impl Into<String>) {
        self.refusals.push(Refusal {
            address: None,
            rule: None,
            message: message.into(),
        });
    }

    /// Looks at what concerns the host as a whole.
    fn refuse_host(&mut self) {
        let seen = self.input.observation;
        let now = seen.facts.get("user");
        let moved = self.input.was_user.filter(|was| now.is_some_and(|now| now != *was));
        match (self.input.machine, &seen.machine, moved) {
            (Some(known), found, Some(was)) if found.as_ref() != Some(known) => {
                let message = format!(
                    "steps run as {} here, and ran as {was} before, whose state folder has the machine id {known} and what \
                     was there before: `become` or `user` of the host changed; set it back, or set `state_dir` to that \
                     folder if it may be used",
                    now.unwrap_or_default()
                );
                self.refuse_all(message);
            }
            (Some(known), Some(found), _) if known != found => {
                let message = format!(
                    "machine {found} answers under this name, and it was {known}: re-imaged, or two names for one \
                     host; if it was re-imaged, `holdfast resolve {} accept` begins anew, else check its `address`",
                    seen.host
                );
                self.refuse_all(message);
            }
            (Some(known), None, _) => {
                let message = format!(
                    "the host has no machine id any more, and it was {known}: re-imaged, or its state_dir was \
                     removed; `holdfast resolve {} accept` begins anew",
                    seen.host
                );
                self.refuse_all(message);
            }
            (Some(_), Some(_), _) | (None, _, _) => {}
        }
        // That another machine answers was said above; that the store is older is said by `refuse_unknown`.
        let why = self
            .input
            .held
            .filter(|why| !matches!(why, HoldReason::MachineDiffers { .. } | HoldReason::StoreOlder { .. }));
        if let Some(why) = why {
            let message = format!(
                "held: {why}; when you are sure of the host, `holdfast resolve {} accept` lets it go on",
                seen.host
            );
            self.refuse_all(message);
        }
        for job in &seen.jobs {
            let (job, state, host) = (&job.attempt, &job.state, &seen.host);
            self.refuse_all(match state {
                JobState::Running => format!(
                    "job {job} of an earlier run is still running; `holdfast apply -l {host}` waits for its own \
                         jobs and records them"
                ),
                // What ended of our own is recorded by the observation, and not among these.
                JobState::Done | JobState::Interrupted => format!(
                    "job {job} of another controller, or of a store that is gone, is over and was never collected; \
                         let that one collect it, or take it off: `holdfast resolve {host} drop-job`"
                ),
                // Nothing ever ran of it: the next start clears it away.
                JobState::Unstarted | JobState::Untransferred => continue,
            });
        }
    }

    fn observed(&self, address: &Address) -> Attributes {
        let found = self.input.observation.resources.get(address);
        found.map(|found| found.attributes.clone()).unwrap_or_default()
    }

    fn plan_desired(&mut self, desired: &DesiredResource) {
        let entry = self.input.ledger.entries.get(&desired.address);
        let found = self.input.observation.resources.get(&desired.address);
        let case = Case {
            desired,
            entry,
            comparison: classify::with_folder(classify::compare(desired, found), self.input.mode, &self.changes),
            observed: self.observed(&desired.address),
            drift: self.input.mode == Mode::Drift,
            displaced: self.displaced(desired),
            pending_needs: self.rests_on(desired),
            pending: self.pending_before(desired),
        };
        let (rule, verdict) = classify::decide(&case);
        match verdict {
            Verdict::Refuse(message) => self.refuse(&desired.address, rule, message),
            // The ledger's words are behind, the host is not: no drift.
            Verdict::Do(Action::Adopt, reason) if self.input.mode == Mode::Drift => {
                self.push(self.change(desired, Action::NoOp, (rule, reason), None), Ok(Vec::new()));
            }
            Verdict::Do(action, reason) => {
                let diff = match action {
                    Action::Create | Action::Update | Action::Replace => {
                        diff::of_file(desired, found, &case.comparison, self.input.blobs)
                    }
                    _ => None,
                };
                let steps = match action {
                    Action::Adopt | Action::Forget | Action::NoOp => Ok(Vec::new()),
                    Action::Create | Action::Update | Action::Replace | Action::Unknown => self.steps(&case, &reason),
                    Action::Delete | Action::Restart => unreachable!("no rule for a desired resource gives these"),
                };
                self.push(self.change(desired, action, (rule, reason), diff), steps);
            }
        }
    }

    /// Compiles what a desired resource needs. If its old life ends, the step that ends it is there already.
    fn steps(&self, case: &Case<'_>, reason: &Reason) -> Result<Vec<Step>, Unsupported> {
        let observed = self.observed(&case.desired.address);
        let (life, always) = (case.life(), case.must_run(reason));
        compile::apply(case.desired, life, &observed, &self.platform, always).map(|step| vec![step])
    }

    fn pending(&self, addresses: &[Address]) -> Vec<Address> {
        let pending = addresses.iter().filter(|address| self.steps_of.contains_key(*address));
        pending.cloned().collect()
    }

    /// Lists all that this plan changes before it is the turn of `desired`.
    fn pending_before(&self, desired: &DesiredResource) -> Vec<Address> {
        let steps = self.changes.iter().filter(|change| !change.steps.is_empty());
        let ends = self.ends.keys().filter(|address| **address != desired.address);
        steps.map(|change| &change.address).chain(ends).cloned().collect()
    }

    /// Lists what this plan changes first of all that a resource rests on: its needs, and what holds its place.
    fn rests_on(&self, desired: &DesiredResource) -> Vec<Address> {
        let mut on = self.pending(&desired.needs);
        let undone = self
            .undone
            .iter()
            .filter(|undone| undone.moves(&desired.resource))
            .map(|undone| &undone.was.address);
        let places = self
            .changes
            .iter()
            .filter(|change| !matches!(change.action, Action::Restart | Action::Delete) && !change.steps.is_empty())
            .filter(|change| classify::rests_on(&desired.resource, change))
            .map(|change| &change.address);
        for address in undone.chain(places) {
            if !on.contains(address) && *address != desired.address {
                on.push(address.clone());
            }
        }
        on
    }

    /// Plans the restart of a service: right after the service itself, or, where it leaves, before it does.
    fn plan_restart(&mut self, service: &DesiredResource, leaving: Leaving) {
        let Resource::Service(what) = &service.resource else {
            return;
        };
        let refused = |refusal: &Refusal| refusal.address.as_ref() == Some(&service.address);
        // A restart follows from what drifted; nothing of the service itself has. What is refused is not touched.
        if self.input.mode == Mode::Drift
            || what.running == Some(false)
            || self.starts(&service.address)
            || self.refusals.iter().any(refused)
        {
            return;
        }
        let restart = match leaving {
            Leaving::No => service.resource.lifecycle().restart(&self.platform),
            // Nobody wants it to run any more: it learns of its files if it runs.
            Leaving::Yes => Service {
                running: None,
                ..what.clone()
            }
            .restart(&self.platform),
        };
        let Some(restart) = restart else {
            return;
        };
        // What it restarted on before the blueprint changed still counts: that dependency may be deleted right now.
        let before = self.input.ledger.entries.get(&service.address);
        let before = before
            .map(|entry| entry.desired.restart_on.as_slice())
            .unwrap_or_default();
        let mut on = service.restart_on.clone();
        on.extend(before.iter().filter(|a| !service.restart_on.contains(a)).cloned());
        let on = self.pending(&on);
        let owed = self
            .input
            .ledger
            .owed
            .get(&service.address)
            .filter(|owed| !owed.is_empty());
        let (because, only_if) = match owed {
            Some(owed) => {
                let reason = Reason::RestartOwed { on: owed.clone() };
                ((Rule::RestartOwed, reason), Vec::new())
            }
            None if on.is_empty() => return,
            None => {
                let mut numbers: Vec<u32> = on.iter().flat_map(|address| &self.steps_of[address]).copied().collect();
                numbers.sort_unstable();
                ((Rule::DependencyChanges, Reason::DependencyChanges { on }), numbers)
            }
        };
        let change = self.change(service, Action::Restart, because, None);
        let step = restart.map(|sh| {
            let mut step = compile::restart(service, &change.observed, sh, only_if);
            if leaving == Leaving::Yes {
                step.wanted.clear();
                step.ready = None;
            }
            vec![step]
        });
        self.push(change, step);
    }

    /// Tells whether this plan starts a service: that is as good as a restart. (A service of which nothing is known
    /// yet may have been started by its package, before its files were changed: it needs the restart.)
    fn starts(&self, service: &Address) -> bool {
        let own = self.changes.iter().find(|change| change.address == *service);
        own.is_some_and(|change| {
            !change.steps.is_empty()
                && matches!(change.action, Action::Create | Action::Update)
                && change.observed.get("running") == Some("no")
                && matches!(&change.desired.resource, Resource::Service(what) if what.running == Some(true))
        })
    }

    fn change(
        &self,
        desired: &DesiredResource,
        action: Action,
        (rule, reason): (Rule, Reason),
        diff: Option<String>,
    ) -> Change {
        let observed = self.observed(&desired.address);
        let notes = match action {
            Action::Adopt | Action::Forget | Action::Restart | Action::NoOp => Vec::new(),
            _ => desired.resource.lifecycle().foretold(&observed),
        };
        Change {
            address: desired.address.clone(),
            action,
            reason,
            rule,
            desired: desired.clone(),
            observed,
            diff,
            notes,
            steps: Vec::new(),
        }
    }

    fn push(&mut self, mut change: Change, steps: Result<Vec<Step>, Unsupported>) {
        match steps.and_then(|steps| self.guarded(&change, steps)) {
            Ok(steps) => {
                change.steps = self.ends.remove(&change.address).unwrap_or_default();
                change.steps.extend(self.numbered(&change, steps));
            }
            Err(unsupported) => self.refuse(&change.address, Rule::Unsupported, unsupported.to_string()),
        }
        self.changes.push(change);
    }

    /// Gives steps the next numbers of the job.
    fn numbered(&mut self, change: &Change, mut steps: Vec<Step>) -> Vec<Step> {
        for step in &mut steps {
            self.steps += 1;
            step.number = self.steps;
            if change.action != Action::Restart {
                self.steps_of
                    .entry(change.address.clone())
                    .or_default()
                    .push(step.number);
                if step.guard.is_some() {
                    self.guarded_steps.insert(step.number);
                }
            }
        }
        steps
    }

    /// Guards the steps of a change to what carries us. A restart is guarded with what it follows from.
    fn guarded(&self, change: &Change, mut steps: Vec<Step>) -> Result<Vec<Step>, Unsupported> {
        let critical = |resource| crate::critical::carries_us(resource, self.input.login);
        for step in &mut steps {
            let about = match &step.life {
                StepLife::Ends { was, .. } => was,
                _ => &change.desired,
            };
            if change.action == Action::Restart {
                let follows = |number: &u32| self.guarded_steps.contains(number);
                if critical(about) || step.only_if_changed.iter().any(follows) {
                    step.guard = Some(StepGuard::Again);
                }
            } else if critical(about) {
                let guard = compile::guard(about, &step.wanted, &change.observed, &self.platform)?;
                let contents = about.resource.lifecycle().undo_contents();
                let contents: Vec<String> = contents.iter().map(|content| content.sha256.clone()).collect();
                step.blobs.extend(contents);
                step.guard = Some(guard);
            }
        }
        Ok(steps)
    }

    fn finish(self) -> HostPlan {
        let mut plan = HostPlan {
            host: self.input.observation.host.clone(),
            machine: self.input.observation.machine.clone(),
            platform: self.platform,
            changes: self.changes,
            fingerprint: Vec::new(),
            confirm_s: self.input.confirm_s,
            notes: Vec::new(),
            refusals: self.refusals,
        };
        plan.fingerprint = crate::job::planned(&plan)
            .iter()
            .enumerate()
            .flat_map(|(id, change)| {
                // What was foretold is asked for once, and a process more or less makes no plan stale.
                let found = change.observed.lines().filter(|line| !line.starts_with("undo."));
                found.map(move |line| format!("{id} {line}"))
            })
            .collect();
        plan
    }
}
