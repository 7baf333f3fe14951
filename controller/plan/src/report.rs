//! The report of a run: a fold of its events, the same for a live run, an old one and the dashboard.

use crate::address::Address;
use crate::change::{Action, Plan};
use crate::event::{Event, RunKind};
use crate::exit_code::ExitCode;
use crate::ids::{AttemptId, RunId};
use crate::observation::{JobReport, StepReport, StepStatus};
use crate::outcome::{Outcome, Tally};
use crate::run::outcome_of;
use holdfast_inventory::HostName;
use std::collections::{BTreeMap, BTreeSet};

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Which run.
    pub run: Option<RunId>,
    /// What it was for.
    pub kind: Option<RunKind>,
    /// One row per host, by name.
    pub hosts: BTreeMap<HostName, HostReport>,
    /// How the hosts ended, counted. A host that has not ended is in none of the counts.
    pub tally: Tally,
    /// Whether the run ended (else it is going on, or its controller died).
    pub ended: bool,
    attempts: BTreeMap<AttemptId, Job>,
    /// Whether each step is kept: a run of many hosts has no use for them while it goes on.
    detailed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    host: HostName,
    steps: BTreeMap<u32, (Address, Action)>,
    reported: BTreeSet<u32>,
}

/// What came of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRow {
    /// Its number in the job, from 1.
    pub index: u32,
    /// Which resource.
    pub address: Address,
    /// What was to be done.
    pub action: Action,
    /// How it went.
    pub status: StepStatus,
    /// How long it took, in whole seconds.
    pub seconds: u64,
}

/// What came of a run on one host: resources counted as `ok changed failed skipped`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostReport {
    /// Steps that had nothing to do; with [`Report::count_as_desired`] the resources that needed no step, too.
    pub ok: u32,
    /// Steps that changed something.
    pub changed: u32,
    /// Steps that failed in any way.
    pub failed: u32,
    /// Steps that did not run, because an earlier one failed.
    pub skipped: u32,
    /// How the host ended; `None` while it is going on.
    pub outcome: Option<Outcome>,
    /// The step that failed, with its last words (raw).
    pub last_words: Option<(Address, Vec<u8>)>,
    /// What steps left where it was.
    pub left: Vec<(Address, String)>,
    /// The steps that were reported, in the order of their reports; only of a [detailed](Report::detailed) report.
    pub steps: Vec<StepRow>,
    /// Whether the outcome was not known when the run ended, and was told by a later command.
    pub learned: bool,
}

impl Report {
    /// Folds the events of one run; events of other runs are passed over.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut report = Self::default();
        for event in events {
            report.apply(event);
        }
        report
    }

    /// Begins a report that keeps each step.
    pub fn detailed() -> Self {
        let detailed = true;
        Self {
            detailed,
            ..Self::default()
        }
    }

    /// Takes one more event.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::RunStarted { run, kind, hosts, .. } if self.run.is_none() => {
                self.run = Some(run.clone());
                self.kind = Some(*kind);
                self.hosts = hosts.iter().map(|host| (host.clone(), HostReport::default())).collect();
            }
            Event::AttemptIntended(intent) if self.is_ours(&intent.run) => {
                let steps = intent.steps.iter();
                let job = Job {
                    host: intent.host.clone(),
                    steps: steps
                        .map(|step| (step.index, (step.address.clone(), step.action)))
                        .collect(),
                    reported: BTreeSet::new(),
                };
                self.attempts.entry(intent.attempt.clone()).or_insert(job);
            }
            Event::StepReported { attempt, report, .. } => self.step(attempt, report),
            Event::AttemptEnded {
                run,
                host,
                attempt,
                result,
                ..
            } if self.is_ours(run) => self.ended(host, attempt.as_ref(), result),
            Event::RunEnded { run, .. } if self.is_ours(run) => self.ended = true,
            _ => {}
        }
    }

    fn is_ours(&self, run: &RunId) -> bool {
        self.run.as_ref() == Some(run)
    }

    /// Counts what a plan found as desired: it needs no step, so no event tells of it.
    pub fn count_as_desired(&mut self, plan: &Plan) {
        for host in &plan.hosts {
            let as_desired = host
                .changes
                .iter()
                .filter(|change| matches!(change.action, Action::NoOp | Action::Adopt))
                .count();
            let row = self.hosts.get_mut(&host.host);
            // Of the others nothing is known by now.
            if let Some(row) = row.filter(|row| row.outcome.as_ref().is_some_and(Outcome::went_through)) {
                row.ok += u32::try_from(as_desired).unwrap_or(u32::MAX);
            }
        }
    }

    fn step(&mut self, attempt: &AttemptId, report: &StepReport) {
        let Some(job) = self.attempts.get_mut(attempt) else {
            return;
        };
        let Some((address, action)) = job.steps.get(&report.index) else {
            return;
        };
        let row = self.hosts.entry(job.host.clone()).or_default();
        // A journal is read from its start at every attach.
        if !job.reported.insert(report.index) {
            return;
        }
        if self.detailed {
            row.steps.push(StepRow {
                index: report.index,
                address: address.clone(),
                action: *action,
                status: report.status.clone(),
                seconds: report.seconds,
            });
        }
        match &report.status {
            StepStatus::Unchanged => row.ok += 1,
            StepStatus::Changed => row.changed += 1,
            StepStatus::Left { what } => {
                row.changed += 1;
                row.left.push((address.clone(), what.clone()));
            }
            StepStatus::Begun
            | StepStatus::Failed { .. }
            | StepStatus::NotConverged { .. }
            | StepStatus::TimedOut { .. }
            | StepStatus::NotReady
            | StepStatus::NotCaptured { .. }
            | StepStatus::Reverted { .. }
            | StepStatus::BeforeLost { .. } => {
                row.failed += 1;
                row.last_words = Some((address.clone(), report.output.clone()));
            }
        }
    }

    fn ended(&mut self, host: &HostName, attempt: Option<&AttemptId>, result: &Outcome) {
        let row = self.hosts.entry(host.clone()).or_default();
        if row.outcome.is_some() {
            return;
        }
        let steps = attempt.and_then(|attempt| self.attempts.get(attempt));
        let steps = steps.map_or(0, |job| u32::try_from(job.steps.len()).unwrap_or(u32::MAX));
        row.skipped = steps.saturating_sub(row.ok + row.changed + row.failed);
        let result = with_address(result, row);
        self.tally.count(&result);
        row.outcome = Some(result);
    }

    /// Takes how a job ended that was told by a later command: of a host whose end this run does not know.
    pub fn learn(&mut self, job: &JobReport) {
        let Some(known) = self.attempts.get(&job.attempt) else {
            return;
        };
        let (host, steps) = (known.host.clone(), known.steps.len());
        let row = self.hosts.entry(host).or_default();
        if !matches!(row.outcome, None | Some(Outcome::Unknown { .. })) {
            return;
        }
        let (outcome, _) = outcome_of(job);
        row.outcome = Some(with_address(&outcome, row));
        row.skipped = u32::try_from(steps)
            .unwrap_or(u32::MAX)
            .saturating_sub(row.ok + row.changed + row.failed);
        row.learned = true;
        self.count();
    }

    /// Leaves out all hosts but these, also from the counts.
    pub fn keep_only(&mut self, hosts: &BTreeSet<HostName>) {
        self.hosts.retain(|host, _| hosts.contains(host));
        self.count();
    }

    fn count(&mut self) {
        self.tally = Tally::default();
        for outcome in self.hosts.values().filter_map(|row| row.outcome.as_ref()) {
            self.tally.count(outcome);
        }
    }

    /// Gives the exit code of `run` and `apply`.
    pub fn exit_code(&self) -> ExitCode {
        exit_code(&self.tally)
    }
}

/// The run knows steps by number only; the one that failed is known here.
fn with_address(outcome: &Outcome, row: &HostReport) -> Outcome {
    let mut outcome = outcome.clone();
    if let Outcome::Failed { address, .. } | Outcome::TimedOut { address, .. } = &mut outcome
        && address.is_none()
    {
        *address = row.last_words.as_ref().map(|(address, _)| address.clone());
    }
    outcome
}

/// Gives the exit code for how the hosts of a run ended.
///
/// What was not even tried because others failed adds nothing; a run that was cancelled before it did anything else
/// worth telling is an error.
pub fn exit_code(tally: &Tally) -> ExitCode {
    let failed = tally.failed + tally.timed_out + tally.refused + tally.held > 0;
    let unreachable = tally.unreachable + tally.unknown > 0;
    match (failed, unreachable) {
        (true, true) => ExitCode::HOST_FAILED_AND_UNREACHABLE,
        (true, false) => ExitCode::HOST_FAILED,
        (false, true) => ExitCode::HOST_UNREACHABLE,
        (false, false) if tally.cancelled > 0 => ExitCode::ERROR,
        (false, false) => ExitCode::OK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RunKind;
    use crate::outcome::{RefusalKind, UnreachableKind, Unreached};

    #[test]
    fn hosts_are_counted_once_and_by_kind() {
        let run = RunId("r".to_owned());
        let ended = |host: &str, result: Outcome| Event::AttemptEnded {
            run: run.clone(),
            host: host.into(),
            attempt: None,
            result,
        };
        let unreachable = Outcome::Unreachable(Unreached::new(UnreachableKind::ConnectTimeout, ""));
        let mut events = vec![
            Event::RunStarted {
                run: run.clone(),
                kind: RunKind::Apply,
                plan: None,
                hosts: ["a", "b", "c"].map(HostName::from).to_vec(),
                by: "ops".to_owned(),
                command: "apply".to_owned(),
            },
            ended("a", Outcome::Ok),
            ended("a", Outcome::Ok),
            ended("b", unreachable),
        ];
        let report = Report::fold(&events);
        assert_eq!(
            (report.tally.hosts(), report.tally.ok, report.tally.unreachable),
            (2, 1, 1)
        );
        assert_eq!(report.exit_code(), ExitCode(4));
        assert_eq!(report.hosts.len(), 3, "a host that has not ended has a row");
        assert!(!report.ended);
        events.push(ended(
            "c",
            Outcome::Refused {
                kind: RefusalKind::DiskFull,
                detail: String::new(),
            },
        ));
        assert_eq!(Report::fold(&events).exit_code(), ExitCode(6));
    }

    #[test]
    fn skipped_hosts_alone_are_no_failure_and_cancelled_ones_are_an_error() {
        let tally = |skipped, cancelled| Tally {
            skipped,
            cancelled,
            ..Tally::default()
        };
        assert_eq!(exit_code(&tally(1, 0)), ExitCode(0));
        assert_eq!(exit_code(&tally(0, 1)), ExitCode(1));
    }
}
