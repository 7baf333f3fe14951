//! A signal during a run: the first ends the starting, the second the waiting. What a person is told of it.

use crate::view::fold::title;
use holdfast_inventory::HostName;

/// What is said. `command`: it is an ad-hoc command, which no later command can ask after.
pub(super) fn message(first: bool, under_way: &[HostName], command: bool) -> String {
    let hosts = title(under_way);
    match (under_way.is_empty(), first, command) {
        (true, ..) => "Interrupted: no further host is started.".to_owned(),
        (false, true, false) => format!(
            "Interrupted: no further host is started; waiting for {hosts}.\n\
             Interrupt once more to stop waiting: jobs go on on their hosts, and the next command records how they ended."
        ),
        (false, true, true) => format!(
            "Interrupted: no further host is started; waiting for {hosts}.\n\
             Interrupt once more to stop waiting: the command may go on there, unseen."
        ),
        (false, false, false) => format!("Stopped waiting for {hosts}."),
        (false, false, true) => format!("Stopped waiting for {hosts}: the command may still be running there."),
    }
}
