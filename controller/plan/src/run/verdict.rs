//! Reads the end of a job: which outcome it is for the host.

use crate::observation::{JobEnd, JobReport, JobState, StepStatus};
use crate::outcome::{FailureKind, Outcome, RefusalKind};

/// Reads how a job that is over went, and whether the host took the plan (so that its adopts and forgets hold).
pub(super) fn outcome_of(report: &JobReport) -> (Outcome, bool) {
    if report.state == JobState::Interrupted {
        return (failed(FailureKind::Interrupted), false);
    }
    match &report.end {
        Some(JobEnd::Stale { what }) => {
            let (kind, detail) = (RefusalKind::Stale, what.clone());
            return (Outcome::Refused { kind, detail }, false);
        }
        Some(JobEnd::Locked { by }) => {
            let (kind, detail) = (RefusalKind::Locked, by.clone());
            return (Outcome::Refused { kind, detail }, false);
        }
        Some(JobEnd::Completed | JobEnd::Stopped) | None => {}
    }
    let bad = report.steps.iter().find_map(|step| match &step.status {
        StepStatus::Unchanged | StepStatus::Changed | StepStatus::Left { .. } => None,
        StepStatus::Begun => Some(failed(FailureKind::Interrupted)),
        StepStatus::Failed { code } => Some(failed(FailureKind::Exit { code: *code })),
        StepStatus::NotConverged { missing } => Some(failed(FailureKind::NotConverged {
            missing: missing.clone(),
        })),
        StepStatus::TimedOut { survivors } => Some(Outcome::TimedOut {
            address: None,
            survivors: survivors.clone(),
        }),
        StepStatus::NotReady => Some(failed(FailureKind::NotReady)),
        StepStatus::NotCaptured { why } => Some(failed(FailureKind::NotCaptured { why: why.clone() })),
    });
    if let Some(bad) = bad {
        return (bad, true);
    }
    if report.end != Some(JobEnd::Completed) {
        let why = "the job ended without saying how".to_owned();
        return (Outcome::Unknown { why }, false);
    }
    let changed =
        |step: &&crate::observation::StepReport| matches!(step.status, StepStatus::Changed | StepStatus::Left { .. });
    let changed = report.steps.iter().filter(changed).count();
    let outcome = match u32::try_from(changed).unwrap_or(u32::MAX) {
        0 => Outcome::Ok,
        steps => Outcome::Changed { steps },
    };
    (outcome, true)
}

fn failed(kind: FailureKind) -> Outcome {
    Outcome::Failed { kind, address: None }
}
