//! Reads the end of a job: which outcome it is for the host.

use crate::observation::{JobEnd, JobReport, JobState, StepStatus};
use crate::outcome::{FailureKind, Outcome, RefusalKind};

/// Reads how a job that is over went, and whether the host took the plan (so that its adopts and forgets hold).
pub(crate) fn outcome_of(report: &JobReport) -> (Outcome, bool) {
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
        // Nothing was done yet: as if the start had been refused.
        Some(JobEnd::Stopped { step: 0, why }) if why == DISK_FULL => {
            let (kind, detail) = (RefusalKind::DiskFull, "before the first step".to_owned());
            return (Outcome::Refused { kind, detail }, false);
        }
        Some(JobEnd::Completed | JobEnd::Stopped { .. } | JobEnd::Reverted) | None => {}
    }
    let bad = report.steps.iter().find_map(|step| match &step.status {
        StepStatus::Unchanged | StepStatus::Changed | StepStatus::Left { .. } => None,
        StepStatus::Begun => Some(failed(FailureKind::Interrupted)),
        StepStatus::Failed { code } => Some(failed(failure(*code, &step.output))),
        StepStatus::NotConverged { missing } => Some(failed(FailureKind::NotConverged {
            missing: missing.clone(),
        })),
        StepStatus::TimedOut { survivors } => Some(Outcome::TimedOut {
            address: None,
            survivors: survivors.clone(),
        }),
        StepStatus::NotReady => Some(failed(FailureKind::NotReady)),
        StepStatus::NotCaptured { why } => Some(failed(FailureKind::NotCaptured { why: why.clone() })),
        StepStatus::Reverted { why, cause } => Some(failed(FailureKind::Reverted {
            why: why.clone(),
            cause: cause.clone(),
        })),
        StepStatus::BeforeLost { why } => Some(failed(FailureKind::BeforeLost { why: why.clone() })),
    });
    if let Some(bad) = bad {
        return (bad, true);
    }
    if let Some(JobEnd::Stopped { step, why }) = &report.end {
        let why = format!("step {step} did not begin: {why}");
        return (failed(FailureKind::NotCaptured { why }), true);
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

/// The host's word for a journal or lock that could not be written.
const DISK_FULL: &str = "disk-full";

/// How many of the last lines of a failed step tell why. Ours end with what the system said and what was being done.
const TELLING_LINES_MAX: usize = 4;

/// Tells a full disk and a read-only mount from other failures, by the system's own words.
fn failure(code: i32, output: &[u8]) -> FailureKind {
    let words = String::from_utf8_lossy(output);
    let said = |text: &str| {
        words
            .lines()
            .rev()
            .take(TELLING_LINES_MAX)
            .any(|line| line.contains(text))
    };
    if said("No space left on device") || said("Disk quota exceeded") {
        FailureKind::DiskFull { code }
    } else if said("Read-only file system") {
        FailureKind::ReadOnly { code }
    } else {
        FailureKind::Exit { code }
    }
}

fn failed(kind: FailureKind) -> Outcome {
    Outcome::Failed { kind, address: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REVIEW A8
    #[test]
    fn a_job_that_stopped_before_its_first_step_says_why() {
        let stopped = |step, why: &str| JobReport {
            attempt: crate::ids::AttemptId("a".to_owned()),
            state: JobState::Done,
            end: Some(JobEnd::Stopped {
                step,
                why: why.to_owned(),
            }),
            steps: Vec::new(),
        };
        let (outcome, took) = outcome_of(&stopped(0, "disk-full"));
        assert!(
            matches!(
                outcome,
                Outcome::Refused {
                    kind: RefusalKind::DiskFull,
                    ..
                }
            ),
            "{outcome:?}"
        );
        assert!(!took);
        let (outcome, _) = outcome_of(&stopped(1, "disk-full"));
        let why = "step 1 did not begin: disk-full".to_owned();
        assert_eq!(outcome, failed(FailureKind::NotCaptured { why }));
    }

    #[test]
    fn a_full_disk_and_a_read_only_mount_are_told_from_other_failures() {
        let full = b"cat: write error: No space left on device\ncannot write /srv/x\n";
        assert_eq!(failure(1, full), FailureKind::DiskFull { code: 1 });
        let mount = b"step: 814: cannot create /srv/x: Read-only file system\ncannot write /srv/x\n";
        assert_eq!(failure(2, mount), FailureKind::ReadOnly { code: 2 });
        let before = [full.as_slice(), b"1\n2\n3\n4\n"].concat();
        assert_eq!(
            failure(7, &before),
            FailureKind::Exit { code: 7 },
            "it went on after that"
        );
    }
}
