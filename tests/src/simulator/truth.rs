//! What must hold at the end of a simulation, checked against what the fake hosts know.

use super::World;
use holdfast_plan::outcome::{Outcome, Tally};

impl World {
    /// Compares what the run says of each host with what happened there.
    pub(super) fn check_truth(&self) {
        for (name, host) in &self.hosts {
            let outcome = host.outcome.as_ref();
            self.check(outcome.is_some(), "a host has no end");
            let untouched = match outcome.expect("checked above") {
                Outcome::Unreachable { .. } | Outcome::Skipped { .. } | Outcome::Cancelled => true,
                Outcome::Ok | Outcome::Changed { .. } | Outcome::Failed { .. } | Outcome::TimedOut { .. } => {
                    self.check(
                        host.touched,
                        &format!("{name} is said to be done and was never touched"),
                    );
                    false
                }
                // Busy is not told here: a second start is refused while the first one runs.
                Outcome::Refused { .. } => true,
                Outcome::Unknown { .. } | Outcome::Held { .. } => false,
            };
            self.check(
                !untouched || !host.touched,
                &format!("{name} is said to be untouched ({outcome:?}) and something ran there"),
            );
            let running = host.jobs.values().filter(|job| job.begun > 0).count();
            self.check(running <= 1, &format!("{name} had two jobs"));
        }
        let mut recount = Tally::default();
        for outcome in self.history.outcomes.values() {
            recount.count(outcome);
        }
        self.check(recount == self.history.recap, "the counts do not add up");
        self.check(recount.hosts() == self.scenario.hosts, "a host is not counted");
    }
}
