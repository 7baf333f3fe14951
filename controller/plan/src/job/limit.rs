//! How long a job may take: the limits that the runner keeps, added up for the steps of a plan.

use crate::change::{HostPlan, StepLife};

/// Seconds that the runner gives the probes of one step; these and the next four are its own numbers (`agent/sh`).
const PROBE_LIMIT_S: u64 = 120;
/// Seconds of a capture: of what was *before*, and of what a guard would put back.
const CAPTURE_LIMIT_S: u64 = 600;
/// Seconds in which a job must have begun.
const LAUNCH_LIMIT_S: u64 = 60;
/// Seconds of all probes together, before the first step.
const PROLOGUE_LIMIT_S: u64 = 600;
/// Seconds of one step that a guard takes back.
const REVERT_LIMIT_S: u64 = 600;
/// Seconds that the runner takes to stop what is over its time, and to see that it is gone.
const STOP_S: u64 = 30;
/// Seconds that a job may take beyond its limits before it is believed to be lost: hosts under load count slowly.
const SLACK_S: u64 = 120;

/// How long a job may take by the limits that the host itself keeps. What goes on longer is no job of ours any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimit {
    /// In all, from its start, without what it takes to send it.
    pub whole_s: u64,
    /// Between two lines of its journal.
    pub quiet_s: u64,
}

impl TimeLimit {
    /// For a job whose plan is not known any more: what a dozen steps take that take the time they may by default.
    pub const OF_UNKNOWN: Self = Self {
        whole_s: 2 * 3600,
        quiet_s: 1800,
    };

    /// Adds up what the steps of a plan may take.
    pub fn of(plan: &HostPlan) -> Self {
        let mut limit = Self {
            whole_s: SLACK_S,
            quiet_s: 0,
        };
        limit.then(LAUNCH_LIMIT_S + PROLOGUE_LIMIT_S + STOP_S);
        let mut reverts_s: u64 = 0;
        for (_, _, step) in plan.steps() {
            let probe_s = PROBE_LIMIT_S + STOP_S;
            let mut before_s = probe_s;
            if matches!(step.life, StepLife::Begins { .. }) {
                before_s += CAPTURE_LIMIT_S + STOP_S;
            }
            if step.guard.is_some() {
                before_s += CAPTURE_LIMIT_S + STOP_S;
                reverts_s = reverts_s.saturating_add(REVERT_LIMIT_S + STOP_S);
            }
            // `applying` stands between the two.
            limit.then(before_s);
            let ready_s = step
                .ready
                .as_ref()
                .map_or(0, |ready| ready.timeout_s.saturating_add(STOP_S));
            let apply_s = step.timeout_s.saturating_add(STOP_S + probe_s);
            limit.then(apply_s.saturating_add(ready_s));
        }
        if plan.is_guarded() {
            limit.then(plan.confirm_s.saturating_add(reverts_s));
        }
        limit.quiet_s = limit.quiet_s.saturating_add(SLACK_S);
        limit
    }

    fn then(&mut self, seconds: u64) {
        self.whole_s = self.whole_s.saturating_add(seconds);
        self.quiet_s = self.quiet_s.max(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REVIEW C4
    #[test]
    fn the_limits_are_those_of_the_runner() {
        let job = include_str!("../../../../agent/sh/job.sh");
        let guard = include_str!("../../../../agent/sh/guard.sh");
        let runner = include_str!("../../../../agent/sh/runner.sh");
        for (text, name, seconds) in [
            (job, "hf_probe_limit", PROBE_LIMIT_S),
            (job, "hf_capture_limit", CAPTURE_LIMIT_S),
            (job, "hf_prologue_limit", PROLOGUE_LIMIT_S),
            (guard, "hf_guard_step_limit", REVERT_LIMIT_S),
            (runner, "hf_launch_limit", LAUNCH_LIMIT_S),
        ] {
            let line = format!("{name}={seconds}");
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }
}
