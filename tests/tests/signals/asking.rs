//! While a person is asked: a signal is a no.

use crate::asked::Asked;
use crate::{Phase, SIGNALS, calls, nothing_is_left_open};
use holdfast_tests::project::Project;
use holdfast_tests::waiting::{let_go, runs, wait_for_step, want};

// REVIEW C2
#[test]
fn a_signal_while_a_person_is_asked_is_a_no() {
    for (signal, code) in SIGNALS {
        // Those of agents need hosts of their own.
        for call in calls(Phase::Ask).filter(|call| call[0] != "agent") {
            let project = Project::of_local(&["one", "two"]);
            want(&project, 1);
            let holder = (call[0] == "unlock").then(|| project.start(&["apply", "-y", "-l", "one"]));
            if holder.is_some() {
                wait_for_step(&project, "one", 1);
            }
            let Some(asked) = Asked::start(&project, call) else {
                return;
            };
            let (said, ended) = asked.stopped_by(signal);
            assert_eq!(ended, code.to_string(), "{call:?}: {said}");
            let nothing = if call[0] == "unlock" { "unlocked" } else { "changed" };
            assert!(said.contains(&format!("interrupted; nothing was {nothing}")), "{said}");
            if let Some(holder) = holder {
                project.run(&["unlock", "one"]).exits(1).says("one: held by");
                let_go(&project, "one", 1);
                holder.wait().exits(0);
            } else {
                assert_eq!(runs(&project, "one", 1), 0);
            }
            nothing_is_left_open(&project);
        }
    }
}
