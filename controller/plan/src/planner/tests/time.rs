//! How long the job of a plan may take, worked by hand.

use super::*;
use crate::job::TimeLimit;

// REVIEW C4
#[test]
fn a_job_may_take_what_its_steps_may_take_and_tells_something_in_between() {
    let mut host = Host::new();
    let wanted = [file(&mut host.blobs, "/etc/web.conf", "port 80\n")];
    let mut plan = host.plan(&wanted, Mode::Converge);
    // Slack 120; begin 60 and probe all 600, and 30 until they are stopped; probe 120 + 30 and capture 600 + 30; the
    // step's own 2 + 30 and its probe 120 + 30.
    assert_eq!(plan.changes[0].steps[0].timeout_s, 2);
    assert_eq!(
        TimeLimit::of(&plan),
        TimeLimit {
            whole_s: 120 + 690 + 780 + 182,
            quiet_s: 120 + 780
        }
    );
    // A step of an hour is waited for.
    plan.changes[0].steps[0].timeout_s = 3600;
    assert_eq!(
        TimeLimit::of(&plan),
        TimeLimit {
            whole_s: 120 + 690 + 780 + 3780,
            quiet_s: 120 + 3780
        }
    );
    // Whatever a blueprint says, it is a number.
    plan.changes[0].steps[0].timeout_s = u64::MAX;
    assert_eq!(TimeLimit::of(&plan).whole_s, u64::MAX);
}
