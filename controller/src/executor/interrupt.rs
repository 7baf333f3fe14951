//! Ctrl-C during a run: once ends the starting, twice ends the waiting. What a person is told of it.

use crate::view::fold::title;
use holdfast_inventory::HostName;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The interrupts of a run.
pub(super) struct Interrupts {
    signal: Option<Signal>,
    heard: bool,
}

impl Interrupts {
    /// Begins to listen; from then on an interrupt no longer ends the program.
    pub(super) fn listen() -> Self {
        // Without it Ctrl-C ends the program, and the next command asks the hosts: nothing is lost.
        Self {
            signal: signal(SignalKind::interrupt()).ok(),
            heard: false,
        }
    }

    /// Waits for the next; gives true for the first.
    pub(super) async fn next(&mut self) -> bool {
        match &mut self.signal {
            Some(signal) => signal.recv().await,
            None => std::future::pending().await,
        };
        !std::mem::replace(&mut self.heard, true)
    }
}

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
