//! What `plan`, `apply`, `drift` and `agent` share: observe hosts, plan each, tell which could not be observed.

use crate::agent_blueprint::DECLARED_AT;
use crate::cli::error::CliResult;
use crate::cli::store_error;
use crate::fleet::Fleet;
use crate::observe::{Known, observe};
use crate::redact;
use crate::store::Store;
use crate::transport::Target;
use crate::view::fold::{self, Case};
use crate::view::recap;
use crate::view::sanitize::one_line;
use crate::view::terminal::{DIM, RED, note, paint};
use crate::view::words;
use crate::{SystemIds, now};
use holdfast_inventory::HostName;
use holdfast_plan::change::{Action, Change, Note, Plan, Reason};
use holdfast_plan::content::Blobs;
use holdfast_plan::event::Event;
use holdfast_plan::exit_code::ExitCode;
use holdfast_plan::ids::{AttemptId, PlanId};
use holdfast_plan::ledger::{Ledger, LedgerEntry};
use holdfast_plan::lifecycle::Phase;
use holdfast_plan::observation::{Attributes, StepStatus};
use holdfast_plan::outcome::Outcome;
use holdfast_plan::planner::{Mode, PlanInput, plan_host, refuse_shared_machines};
use holdfast_plan::resource::DesiredResource;
use std::collections::BTreeMap;

/// Which part of a ledger a plan is about. The agent is put on hosts by a built-in blueprint, which a project's
/// blueprints know nothing of and must not remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What the project's blueprints declare.
    Project,
    /// What the built-in blueprint of the agent declares.
    Agent,
    /// Everything.
    All,
}

impl Scope {
    fn holds(self, entry: &LedgerEntry) -> bool {
        let built_in = entry.desired.declared_at == DECLARED_AT;
        match self {
            Scope::Project => !built_in,
            Scope::Agent => built_in,
            Scope::All => true,
        }
    }

    /// The part of a ledger that is in scope.
    pub fn of(self, ledger: &Ledger) -> Ledger {
        let mut part = ledger.clone();
        part.entries.retain(|_, entry| self.holds(entry));
        part
    }
}

/// What is asked for.
pub struct Wanted {
    /// How hosts are reached.
    pub targets: Vec<Target>,
    /// What each shall have.
    pub desired: BTreeMap<HostName, Vec<DesiredResource>>,
    /// The bytes behind the contents.
    pub blobs: Blobs,
    /// Against what hosts are compared.
    pub mode: Mode,
    /// Which part of the ledgers counts.
    pub scope: Scope,
    /// Targets that could not be asked a moment ago: they are not asked again, and are told as unobserved.
    pub unasked: Vec<(HostName, Outcome)>,
}

/// A plan and what it was made from.
pub struct Planned {
    /// The plan of every host that could be observed.
    pub plan: Plan,
    /// The others.
    pub unobserved: Vec<(HostName, Outcome)>,
    /// What is known of each observed host.
    pub known: BTreeMap<HostName, Known>,
    /// The bytes behind the contents, those of the ledgers included.
    pub blobs: Blobs,
    /// Processes that the hosts made while they were asked.
    pub forks: Option<u64>,
}

/// Observes and plans.
pub async fn make(store: &Store, fleet: &Fleet, wanted: &Wanted) -> CliResult<Planned> {
    let is_asked = |target: &&Target| !wanted.unasked.iter().any(|(host, _)| *host == target.name);
    let asked = wanted.targets.iter().filter(is_asked).cloned().collect();
    let observed = observe(store, fleet, asked, &wanted.desired, wanted.mode)
        .await
        .map_err(|error| store_error(&error))?;
    let mut known = BTreeMap::new();
    let mut unobserved = wanted.unasked.clone();
    for (host, result) in observed {
        match result {
            Ok(found) => {
                known.insert(host, found);
            }
            Err(outcome) => unobserved.push((host, outcome)),
        }
    }
    tell_recorded(
        store,
        known
            .iter()
            .flat_map(|(host, found)| found.recorded.iter().map(move |job| (host, job))),
    )
    .await?;
    let mut blobs = wanted.blobs.clone();
    add_ledger_blobs(store, &known, &mut blobs).await?;
    let mut hosts = Vec::new();
    for target in &wanted.targets {
        let Some(found) = known.get(&target.name) else { continue };
        let ledger = wanted.scope.of(&found.ledger);
        let input = PlanInput {
            desired: wanted.desired.get(&target.name).map_or(&[], Vec::as_slice),
            ledger: &ledger,
            machine: found.machine.as_ref(),
            was_user: found.was_user.as_deref(),
            held: found.held.as_ref(),
            observation: &found.observation,
            blobs: &blobs,
            mode: wanted.mode,
            login: Some(&target.user),
            confirm_s: target.confirm_timeout.as_secs().max(1),
        };
        let mut plan = plan_host(&input);
        plan.notes.extend(found.renamed_from.as_ref().map(|was| {
            Note::tells(format!(
                "this machine was `{was}`, which the inventory has no more: its ledger goes on under this name"
            ))
        }));
        hosts.push(plan);
    }
    let bound = known
        .iter()
        .filter(|(_, found)| found.was_bound)
        .filter_map(|(host, found)| Some((host.clone(), found.machine.clone()?)))
        .collect();
    refuse_shared_machines(&mut hosts, &bound);
    let forks = known
        .values()
        .filter_map(|found| found.observation.forks)
        .reduce(u64::saturating_add);
    let plan = Plan {
        id: PlanId::new(&mut SystemIds),
        at: now(),
        hosts,
    };
    record_drift(store, &plan, &known).await?;
    Ok(Planned {
        plan,
        unobserved,
        known,
        blobs,
        forks,
    })
}

/// Resources that are named of a recorded job, at most: a line that wraps tells less.
const NAMED_MAX: usize = 4;

/// Notes what became of jobs of earlier runs that was recorded only now.
pub async fn tell_recorded(store: &Store, jobs: impl Iterator<Item = (&HostName, &AttemptId)>) -> CliResult<()> {
    let mut texts = Vec::new();
    for (host, job) in jobs {
        let Some(attempt) = store.attempt(job).await.map_err(|error| store_error(&error))? else {
            continue;
        };
        let name = |index: u32| {
            let steps = attempt.intent.iter().flat_map(|intent| &intent.steps);
            steps
                .into_iter()
                .find(|step| step.index == index)
                .map(|step| step.address.to_string())
        };
        let done = attempt.steps.iter().filter(|step| step.status != StepStatus::Unchanged);
        let mut done: Vec<String> = done
            .filter_map(|step| Some(format!("{} {}", name(step.index)?, step.status.word())))
            .collect();
        if done.len() > NAMED_MAX {
            let more = done.len() - (NAMED_MAX - 1);
            done.truncate(NAMED_MAX - 1);
            done.push(format!("{more} more"));
        }
        let done = if done.is_empty() {
            "nothing changed".to_owned()
        } else {
            done.join(", ")
        };
        let run = attempt.run.short();
        texts.push((host.clone(), format!("recorded from run {run}: {}", one_line(&done))));
    }
    for block in fold::fold(texts) {
        note(&format!("{}: {}", block.title(), block.text));
    }
    Ok(())
}

/// Records what newly differs though no blueprint changed, and what is in order again. Seeing the same twice is no
/// event.
async fn record_drift(store: &Store, plan: &Plan, known: &BTreeMap<HostName, Known>) -> CliResult<()> {
    let mut events = Vec::new();
    for host in &plan.hosts {
        let (Some(machine), Some(known)) = (&host.machine, known.get(&host.host)) else {
            continue;
        };
        let phase = |address| known.ledger.entries.get(address).map(|entry| entry.phase);
        let mut drifted = BTreeMap::new();
        let mut mended = Vec::new();
        for change in &host.changes {
            match (&change.reason, phase(&change.address)) {
                (Reason::Drifted { .. }, Some(Phase::Ready)) => {
                    drifted.insert(
                        change.address.clone(),
                        recorded(&change.observed, change.desired.sensitive),
                    );
                }
                (Reason::AlreadyAsDesired, Some(Phase::Drifted)) => mended.push(change.address.clone()),
                _ => {}
            }
        }
        if !drifted.is_empty() || !mended.is_empty() {
            events.push(Event::DriftSeen {
                host: host.host.clone(),
                machine: machine.clone(),
                drifted,
                mended,
            });
        }
    }
    if !events.is_empty() {
        store.append(now(), events).await.map_err(|error| store_error(&error))?;
    }
    Ok(())
}

/// What the record keeps of the attributes of one drifted resource: the ledger needs none of them, people the first.
const DRIFT_BYTES_MAX: usize = 4 * 1024;

/// Leaves out what would let a host fill the store by differing in another way each time, and what is sensitive: another
/// password than ours is one too.
fn recorded(observed: &Attributes, sensitive: bool) -> Attributes {
    let mut bytes = 0;
    let fits = |(key, value): &&(String, String)| {
        bytes += key.len() + value.len();
        bytes <= DRIFT_BYTES_MAX
    };
    let mut kept: Vec<_> = observed.0.iter().take_while(fits).cloned().collect();
    if sensitive {
        for (_, value) in &mut kept {
            redact::HIDDEN.clone_into(value);
        }
    }
    let left_out = observed.0.len() - kept.len();
    if left_out > 0 {
        kept.push(("left_out".to_owned(), words::counted(left_out, "attribute")));
    }
    Attributes(kept)
}

/// Adds the bytes that ledgers refer to: undo scripts, and what drift is compared with.
async fn add_ledger_blobs(store: &Store, known: &BTreeMap<HostName, Known>, blobs: &mut Blobs) -> CliResult<()> {
    for found in known.values() {
        for entry in found.ledger.entries.values() {
            let resource = entry.desired.resource.lifecycle();
            for content in resource.contents().into_iter().chain(resource.undo_contents()) {
                if blobs.get(&content.sha256).is_none()
                    && let Some(bytes) = store.blob(&content.sha256).await.map_err(|error| store_error(&error))?
                {
                    blobs.insert(bytes);
                }
            }
        }
    }
    Ok(())
}

/// Tells whether a change is one that somebody has to know of.
pub fn counts(change: &Change) -> bool {
    change.action != Action::NoOp
}

/// Shows the hosts that could not be observed, equal ones folded.
pub fn tell_unobserved(unobserved: &[(HostName, Outcome)]) {
    tell_cases("not observed:", unobserved);
}

/// Shows hosts of which nothing is known, those in the same case in one block.
pub fn tell_cases(what: &str, hosts: &[(HostName, Outcome)]) {
    let cases = hosts.iter().map(|(host, outcome)| {
        let text = |message: &str| match outcome.hint() {
            Some(hint) => format!("{}\n    {}", one_line(message), paint(DIM, one_line(hint))),
            None => one_line(message),
        };
        let case = match recap::case_of(host, outcome) {
            Some((shape, message)) => Case {
                shape,
                text: text(&outcome.message()),
                sample: text(&message),
            },
            None => Case::plain(text(&outcome.message())),
        };
        (host.clone(), case)
    });
    for block in fold::fold_cases(cases) {
        note(&format!("{} {}: {}", paint(RED, what), block.title(), block.text));
    }
}

/// The exit code of `plan` and `drift`: 0 and 2 only if every selected host was observed; 4 tells a host that can't be
/// reached from a mistake in what was written.
pub fn exit_code(planned: &Planned, detailed: bool) -> i32 {
    let unreached = |outcome: &Outcome| matches!(outcome, Outcome::Unreachable(_) | Outcome::Unknown { .. });
    if planned.unobserved.iter().any(|(_, outcome)| unreached(outcome)) {
        return i32::from(ExitCode::HOST_UNREACHABLE.0);
    }
    if !planned.unobserved.is_empty() || planned.plan.hosts.iter().any(|host| !host.refusals.is_empty()) {
        return 1;
    }
    let changes = planned.plan.hosts.iter().any(|host| host.changes.iter().any(counts));
    if detailed && changes { 2 } else { 0 }
}

/// The JSON document of a plan.
pub fn document(planned: &Planned) -> serde_json::Value {
    let mut document = serde_json::json!({ "schema": 1, "plan": planned.plan, "unobserved": unobserved(planned) });
    redact::document(&mut document);
    document
}

/// The hosts that could not be observed, as JSON.
pub fn unobserved(planned: &Planned) -> serde_json::Value {
    let unobserved = planned.unobserved.iter();
    unobserved
        .map(|(host, outcome)| serde_json::json!({ "host": host, "outcome": outcome, "message": outcome.message(), "hint": outcome.hint() }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // REVIEW D4
    #[test]
    fn a_host_that_differs_in_much_enters_the_record_with_little() {
        let attribute = |n: usize| (format!("k{n}"), "v".repeat(1000));
        let small = Attributes((0..3).map(attribute).collect());
        assert_eq!(recorded(&small, false), small);
        let large = recorded(&Attributes((0..100).map(attribute).collect()), false);
        assert_eq!(large.0.len(), 5, "four, and that there is more: {large:?}");
        assert_eq!(large.get("left_out"), Some("96 attributes"));
        let one = recorded(&Attributes(vec![("line".to_owned(), "v".repeat(60_000))]), false);
        assert_eq!(one.get("left_out"), Some("1 attribute"));
        // REVIEW H17
        let hidden = recorded(&small, true);
        assert_eq!((hidden.0.len(), hidden.get("k1")), (3, Some(redact::HIDDEN)));
    }
}
