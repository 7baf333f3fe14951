//! The user that steps run as, changed in the inventory: the state folder moves with it, and the cause is named.

use holdfast_tests::bed::{Bed, HostSpec, Kind};
use holdfast_tests::project::Project;

// REVIEW U7
#[test]
fn a_changed_become_is_named_and_not_taken_for_another_machine() {
    let Some(bed) = Bed::start(&[HostSpec::new("old", Kind::Sysv)]) else {
        return;
    };
    let user = |lines: &'static str| move |_: &holdfast_tests::bed::BedHost| lines.to_owned();
    let project = Project::with_hosts(&bed, user("user = \"ops\"\nbecome = \"sudo\"\n"));
    project.blueprint("[file.\"/tmp/made\"]\ncontent = \"made\\n\"\n");
    project.run(&["apply", "-y"]).exits(0);

    project.inventory(&bed, user("user = \"ops\"\n"));
    let named = "steps run as ops here, and ran as root before, whose state folder has the machine id";
    for _ in 0..2 {
        // The second time no less than the first.
        project
            .run(&["plan"])
            .exits(1)
            .says(named)
            .says("`become` or `user` of the host changed")
            .says_not("re-imaged")
            .says_not("resolve");
    }
    let apply = project.run(&["apply", "-y"]).exits(2);
    apply.says(named).says("1 host: 1 held").says_not("re-imaged");

    // By another way to the same user all is as it was.
    project.inventory(&bed, user("user = \"root\"\n"));
    project
        .run(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("Nothing to do");
    project.run(&["machines"]).exits(0).says("converged");
}
