//! Whether a plan kept its word: its actions, differences and diffs against what the journal reports of each step.

use holdfast_plan::change::{Action, Change, HostPlan, Reason};
use holdfast_plan::observation::{JobReport, StepReport, StepStatus};
use holdfast_plan::resource::{Difference, Resource};

/// Tells how a plan broke its word; `job` is what became of it, whole.
pub fn broken(plan: &HostPlan, job: Option<&JobReport>) -> Option<String> {
    let steps: Vec<_> = plan.steps().collect();
    let reports = job.map(|job| job.steps.as_slice()).unwrap_or_default();
    if steps.len() != reports.len() {
        let last = reports
            .last()
            .map(|report| (&report.status, String::from_utf8_lossy(&report.output)));
        let about = steps
            .get(reports.len().saturating_sub(1))
            .map(|(_, change, _)| &change.address);
        return Some(format!(
            "{} steps were planned and {} done; {about:?}: {last:?}",
            steps.len(),
            reports.len()
        ));
    }
    for ((number, change, _), report) in steps.into_iter().zip(reports) {
        let last = change.steps.last().is_some_and(|step| step.number == number);
        if number != report.index {
            return Some(format!("step {number} came as {}", report.index));
        }
        if let Some(why) = last.then(|| step_broken(change, report)).flatten() {
            return Some(format!("{}, {:?}: {why}: {report:?}", change.address, change.action));
        }
    }
    None
}

fn step_broken(change: &Change, report: &StepReport) -> Option<String> {
    let changed = matches!(report.status, StepStatus::Changed | StepStatus::Left { .. });
    let unchanged = report.status == StepStatus::Unchanged;
    if !changed && !unchanged {
        return Some("it did not end well".to_owned());
    }
    let differences = differences(&change.reason);
    match change.action {
        // A place is given back even if it looks as before.
        Action::Delete | Action::Unknown => None,
        Action::NoOp | Action::Adopt | Action::Forget => Some("it has a step".to_owned()),
        Action::Create | Action::Update if !changed => Some("nothing was changed".to_owned()),
        Action::Create if there(change, report) => Some("something was there".to_owned()),
        Action::Update | Action::Replace if differences.iter().any(|said| !shows(change, said, report)) => {
            Some(format!("it said {differences:?}"))
        }
        Action::Create | Action::Update | Action::Replace | Action::Restart => None,
    }
}

fn there(change: &Change, report: &StepReport) -> bool {
    let before = |key| report.before.get(key);
    match change.desired.resource {
        Resource::Line(_) => before("line") == Some("present"),
        Resource::Script(_) => before("check") == Some("passed"),
        Resource::User(_) | Resource::Group(_) | Resource::Cron(_) => before("exists") == Some("yes"),
        _ => before("type") != Some("absent"),
    }
}

fn shows(change: &Change, said: &Difference, report: &StepReport) -> bool {
    let before = report.before.get(&said.attribute).unwrap_or_default();
    let after = report.after.get(&said.attribute).unwrap_or_default();
    // What was undone first is not what the plan was made of.
    (change.steps.len() > 1 || before == said.observed) && after == said.desired
}

fn differences(reason: &Reason) -> &[Difference] {
    match reason {
        Reason::DiffersFromBlueprint { differences }
        | Reason::BlueprintChanged { differences }
        | Reason::Drifted { differences }
        | Reason::LastAttemptFailed { differences } => differences,
        _ => &[],
    }
}

/// Reads the old and the new text out of a diff that shows a short file whole.
pub fn texts_of(diff: &str) -> (String, String) {
    let (mut old, mut new) = (String::new(), String::new());
    for line in diff.lines() {
        let (mark, text) = line.split_at(1.min(line.len()));
        match mark {
            _ if line.starts_with("---") || line.starts_with("+++") || line.starts_with("@@") => {}
            "-" => old.push_str(&format!("{text}\n")),
            "+" => new.push_str(&format!("{text}\n")),
            " " => {
                old.push_str(&format!("{text}\n"));
                new.push_str(&format!("{text}\n"));
            }
            _ => {}
        }
    }
    (old, new)
}
