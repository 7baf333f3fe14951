//! The bodies of requests: the sh that observes a host's resources, and the step file of a job.
//!
//! docs/design/0001-host-protocol.md says what the runner on the host does with them.

mod limit;

pub use limit::TimeLimit;

use crate::address::{Address, ResourceType};
use crate::change::{Action, Change, HostPlan, Step, StepGuard, StepLife};
use crate::event::{IntendedStep, StepLifeKind};
use crate::ids::MachineId;
use crate::planner::Asked;
use crate::resource::{Collect, Resource};
use crate::sh::Sh;
use std::collections::{BTreeMap, BTreeSet};

/// Seconds that a check may take when it is only asked, whatever its resource's step may: a user's check is short, and a
/// minute leaves room for several that hang before an observe gives up.
const CHECK_LIMIT_S: u64 = 60;

/// The step file of a job, and what is needed to understand its reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobBody {
    /// The sh.
    pub text: Sh,
    /// Its steps, by number from 1.
    pub steps: Vec<IntendedStep>,
    /// For each service that restarts on something: the steps that make it owed a restart.
    pub restarts: BTreeMap<Address, Vec<u32>>,
    /// SHA-256 of the blobs that the steps read.
    pub blobs: BTreeSet<String>,
}

/// The body of an observe request, and of what its answers tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObserveBody {
    /// The sh.
    pub text: Sh,
    /// The resources; the place of each, from 0, is the ID of its attributes and its text.
    pub addresses: Vec<Address>,
    /// For each of them the ID under which the text comes that its undo would bring back, if one is asked for.
    pub kept: Vec<Option<u32>>,
}

/// Writes the body of an observe request.
pub fn observe_body(resources: &[Asked<'_>]) -> ObserveBody {
    let addresses: Vec<Address> = resources.iter().map(|asked| asked.desired.address.clone()).collect();
    let mut text = probe_all(resources.iter().cloned());
    let mut ids = (0u32..).skip(addresses.len());
    let mut kept = Vec::with_capacity(addresses.len());
    for asked in resources {
        kept.push(asked.kept.as_ref().and_then(|show| {
            let id = ids.next()?;
            // After all probes: what stands on the host is shown first, if there is more than a reply may bring.
            let begun = std::mem::take(&mut text).call("hf_begin", [id.to_string().as_str()]);
            text = begun.then(show);
            Some(id)
        }));
    }
    ObserveBody { text, addresses, kept }
}

/// Writes the step file of a host's plan. `machine` is the id that the host shall take if it has none.
pub fn job_body(plan: &HostPlan, machine: &MachineId) -> JobBody {
    let steps: Vec<_> = plan.steps().collect();
    let mut text = Sh::new();
    for (number, change, step) in &steps {
        text = step_functions(text, *number, change, step);
    }
    let probes = planned(plan).into_iter().map(|change| Asked::from(&change.desired));
    let text = text
        .code("hf_prologue() {\n:")
        .then(&probe_all(probes))
        .code("}")
        .set("hf_steps", &steps.len().to_string())
        .set("hf_fingerprint", &as_reported(&plan.fingerprint))
        .set("hf_confirm_limit", &plan.confirm_s.to_string())
        .set("hf_machine_new", machine.as_str());
    JobBody {
        text,
        restarts: restarts(plan),
        blobs: steps
            .iter()
            .flat_map(|(_, _, step)| step.blobs.iter().cloned())
            .collect(),
        steps: steps
            .iter()
            .map(|(index, change, step)| intended(*index, change, step))
            .collect(),
    }
}

fn intended(index: u32, change: &Change, step: &Step) -> IntendedStep {
    let (action, life, desired) = match &step.life {
        StepLife::None => (change.action, StepLifeKind::None, &change.desired),
        StepLife::Begins { .. } => (change.action, StepLifeKind::Begins, &change.desired),
        StepLife::GoesOn { life } => (
            change.action,
            StepLifeKind::GoesOn { life: life.clone() },
            &change.desired,
        ),
        StepLife::Ends { life, was, .. } => (Action::Delete, StepLifeKind::Ends { life: life.clone() }, &**was),
    };
    IntendedStep {
        index,
        address: change.address.clone(),
        action,
        life,
        desired: desired.clone(),
    }
}

/// Lists the resources that the prologue probes again, each once: those with a step. Their places are the IDs of the
/// fingerprint.
pub(crate) fn planned(plan: &HostPlan) -> Vec<&Change> {
    let mut seen = BTreeSet::new();
    plan.steps()
        .map(|(_, change, _)| change)
        .filter(|change| seen.insert(&change.address))
        .collect()
}

/// Writes attributes as the host reports them, one a line: it compares letter by letter.
fn as_reported(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| crate::sh::as_reported(line)).collect();
    lines.join("\n")
}

/// Collects for all resources together, then probes each.
fn probe_all<'a>(resources: impl Iterator<Item = Asked<'a>>) -> Sh {
    let resources: Vec<_> = resources.collect();
    let collects: BTreeSet<Collect> = resources
        .iter()
        .flat_map(|asked| asked.desired.resource.lifecycle().collect())
        .collect();
    let mut body = Sh::new();
    for collect in &collects {
        body = match collect {
            Collect::Path(path) => body.call("hf_collect_path", [path.as_str()]),
            Collect::Package(name) => body.call("hf_collect_package", [name.as_str()]),
            Collect::Service(name) => body.call("hf_collect_service", [name.as_str()]),
            Collect::User(name) => body.call("hf_collect_user", [name.as_str()]),
            Collect::Group(name) => body.call("hf_collect_group", [name.as_str()]),
            Collect::Crontab(user) => body.call("hf_collect_crontab", [user.as_str()]),
        };
    }
    if !collects.is_empty() {
        body = body.code("hf_collect");
    }
    for (id, asked) in resources.iter().enumerate() {
        let resource = asked.desired;
        let limit_s = (resource.timeout_ms.div_ceil(1000)).clamp(1, CHECK_LIMIT_S);
        body = body
            .call("hf_begin", [id.to_string().as_str(), limit_s.to_string().as_str()])
            .then(&resource.resource.lifecycle().probe());
        if let Some(foretell) = &asked.foretell {
            body = body.then(foretell);
        }
    }
    body
}

fn step_functions(text: Sh, number: u32, change: &Change, step: &Step) -> Sh {
    let yes_no = |yes: bool| if yes { "1" } else { "0" };
    let only_if: Vec<String> = step.only_if_changed.iter().map(u32::to_string).collect();
    // The name of a life that begins is made on the host, of the attempt and the step.
    let (life, name, digest) = match &step.life {
        StepLife::None => ("none", "", ""),
        StepLife::Begins { .. } => ("begins", "", ""),
        StepLife::GoesOn { life } => ("goes-on", life.as_str(), ""),
        StepLife::Ends { life, digest, .. } => ("ends", life.as_str(), digest.as_deref().unwrap_or_default()),
    };
    let mut meta = Sh::new()
        .set("hf_address", &change.address.to_string())
        .set("hf_life", life)
        .set("hf_life_name", name)
        .set("hf_before_wanted", digest)
        .set("hf_timeout", &step.timeout_s.to_string())
        .set("hf_always", yes_no(step.always))
        .set("hf_only_if", &only_if.join(" "))
        .set(
            "hf_guard",
            match &step.guard {
                None => "",
                Some(StepGuard::Restore { .. }) => "restore",
                Some(StepGuard::Again) => "again",
            },
        )
        .set("hf_wanted", &as_reported(&step.wanted));
    if let Some(ready) = &step.ready {
        meta = meta
            .set("hf_ready_timeout", &ready.timeout_s.to_string())
            .set("hf_ready_every", &ready.every_s.to_string());
    }
    let mut text = text
        .function("hf_meta", number, &meta)
        .function("hf_probe", number, &step.probe);
    if let StepLife::Begins { capture } = &step.life
        && !capture.is_empty()
    {
        text = text.function_with_status("hf_capture", number, capture);
    }
    text = text.function_with_status("hf_apply", number, &step.apply);
    if let Some(StepGuard::Restore { capture, revert }) = &step.guard {
        if !capture.is_empty() {
            text = text.function_with_status("hf_snapshot", number, capture);
        }
        if !revert.is_empty() {
            text = text.function_with_status("hf_revert", number, revert);
        }
    }
    match &step.ready {
        Some(ready) => text.function_with_status("hf_ready", number, &ready.check),
        None => text,
    }
}

/// Works out which steps make which service owed a restart, whether or not the plan restarts it.
fn restarts(plan: &HostPlan) -> BTreeMap<Address, Vec<u32>> {
    let mut numbers_of: BTreeMap<&Address, Vec<u32>> = BTreeMap::new();
    for (number, change, _) in plan.steps().filter(|(_, change, _)| change.action != Action::Restart) {
        numbers_of.entry(&change.address).or_default().push(number);
    }
    let mut restarts: BTreeMap<Address, Vec<u32>> = BTreeMap::new();
    for change in &plan.changes {
        let stays = change.address.kind == ResourceType::Service
            && !matches!(change.action, Action::Delete | Action::Forget)
            && !matches!(&change.desired.resource, Resource::Service(service) if service.running == Some(false));
        if !stays {
            continue;
        }
        let declared = change
            .desired
            .restart_on
            .iter()
            .filter_map(|on| numbers_of.get(on))
            .flatten()
            .copied();
        let waited_for = change
            .steps
            .iter()
            .flat_map(|step| step.only_if_changed.iter().copied());
        let numbers: BTreeSet<u32> = declared.chain(waited_for).collect();
        if !numbers.is_empty() {
            let known = restarts.entry(change.address.clone()).or_default();
            known.extend(numbers);
            known.sort_unstable();
            known.dedup();
        }
    }
    restarts
}

/// Says in words how a host differs from the fingerprint of its plan: the job knows resources by number only. Of what is
/// sensitive no value is told, be it ours or another.
pub fn stale_in_words(plan: &HostPlan, what: &str) -> String {
    let changes = planned(plan);
    let side = |text: &str| {
        let (id, attribute) = text.split_once(' ')?;
        let change = changes.get(id.parse::<usize>().ok()?)?;
        let told = (!change.desired.sensitive).then(|| attribute.to_owned());
        Some((change.address.to_string(), told))
    };
    let Some((was, is)) = what.split_once(" -> ") else {
        return what.to_owned();
    };
    match (side(was), side(is)) {
        (Some((address, Some(was))), Some((other, Some(is)))) if address == other => {
            format!("{address}: {was} -> {is}")
        }
        (Some((address, _)), _) | (None, Some((address, _))) => format!("{address} is not what it was"),
        (None, None) => what.to_owned(),
    }
}
