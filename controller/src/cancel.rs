//! How a person stops a command: one token per process, made once, for Ctrl-C, SIGTERM and SIGHUP.
//!
//! ```text
//! first signal ──> stopped: nothing new is begun, what runs is followed to its end
//! second       ──> abandoned: nothing is waited for; what was received is told, leases are given back, the run is ended
//! third        ──> the process ends at once
//! ```
//!
//! Whoever waits for something says so ([`Cancel::heed`]) and looks at the token. Where nobody does, the first signal ends
//! the process as it would without us, after a moment in which somebody might begin to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long nobody has to heed a signal before the process ends: between two waits there is a plan to be made or a
/// table to be printed, and that takes less.
const UNHEEDED: Duration = Duration::from_secs(2);
/// How long an abandoned command may take to give its leases back and end its run: the store may have to wait for a
/// writer of another process.
const FAREWELL_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody heeds.
const LOOK: Duration = Duration::from_millis(100);

/// The token. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Default)]
struct Inner {
    stopped: CancellationToken,
    abandoned: CancellationToken,
    heeding: AtomicUsize,
    /// The first signal's number.
    signal: AtomicU8,
    cut_short: AtomicBool,
}

/// Says that a signal is heeded, while it lives.
pub struct Heeding(Arc<Inner>);

impl Drop for Heeding {
    fn drop(&mut self) {
        self.0.heeding.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Cancel {
    /// Begins to listen, for the whole process. SIGHUP stays ignored if it was when the process began (`nohup`).
    pub fn listen() -> Self {
        let cancel = Self::default();
        let (sender, receiver) = mpsc::channel(4);
        for (kind, number) in [
            (SignalKind::interrupt(), 2),
            (SignalKind::terminate(), 15),
            (SignalKind::hangup(), 1),
        ] {
            if number == 1 && hangup_is_ignored() {
                continue;
            }
            // What can't be listened to ends the process as ever, and the next command asks the hosts: nothing is lost.
            if let Ok(mut signals) = signal(kind) {
                let sender = sender.clone();
                tokio::spawn(
                    async move { while signals.recv().await.is_some() && sender.send(number).await.is_ok() {} },
                );
            }
        }
        tokio::spawn(cancel.clone().attend(receiver));
        cancel
    }

    async fn attend(self, mut signals: mpsc::Receiver<u8>) {
        let Some(first) = signals.recv().await else { return };
        self.0.signal.store(first, Ordering::SeqCst);
        self.0.stopped.cancel();
        let mut unheeded = Duration::ZERO;
        loop {
            tokio::select! {
                _ = signals.recv() => break,
                () = tokio::time::sleep(LOOK) => {
                    unheeded = match self.0.heeding.load(Ordering::SeqCst) {
                        0 => unheeded + LOOK,
                        _ => Duration::ZERO,
                    };
                    if unheeded >= UNHEEDED {
                        std::process::exit(code(first));
                    }
                }
            }
        }
        self.0.abandoned.cancel();
        let _ = tokio::time::timeout(FAREWELL_MAX, signals.recv()).await;
        std::process::exit(code(first));
    }

    /// Says that whoever calls looks at the token, until the guard is dropped.
    pub fn heed(&self) -> Heeding {
        self.0.heeding.fetch_add(1, Ordering::SeqCst);
        Heeding(Arc::clone(&self.0))
    }

    /// Tells whether nothing new shall be begun.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.is_cancelled()
    }

    /// Waits until nothing new shall be begun.
    pub async fn stopped(&self) {
        self.0.stopped.cancelled().await;
    }

    /// Tells whether nothing shall be waited for any more.
    pub fn is_abandoned(&self) -> bool {
        self.0.abandoned.is_cancelled()
    }

    /// Waits until nothing shall be waited for any more.
    pub async fn abandoned(&self) {
        self.0.abandoned.cancelled().await;
    }

    /// Notes that something was left out because of it: the exit code tells.
    pub fn cut_short(&self) {
        self.0.cut_short.store(true, Ordering::SeqCst);
    }

    /// Gives the exit code of a command that a signal cut short, as a shell would report it.
    pub fn exit_code(&self) -> Option<u8> {
        let signal = self.0.signal.load(Ordering::SeqCst);
        let cut = self.0.cut_short.load(Ordering::SeqCst) && signal != 0;
        cut.then(|| holdfast_plan::exit_code::ExitCode::of_signal(signal).0)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel").field("stopped", &self.is_stopped()).finish()
    }
}

fn code(signal: u8) -> i32 {
    i32::from(holdfast_plan::exit_code::ExitCode::of_signal(signal).0)
}

/// Reads it from the mask of ignored signals, whose lowest bit is SIGHUP; it is not where `/proc` can't tell.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_cut_short_ends_with_the_code_of_the_signal() {
        let cancel = Cancel::default();
        cancel.cut_short();
        assert_eq!(cancel.exit_code(), None, "no signal came");
        let cancel = Cancel::default();
        cancel.0.signal.store(15, Ordering::SeqCst);
        assert_eq!(cancel.exit_code(), None, "all was done all the same");
        cancel.cut_short();
        assert_eq!(cancel.exit_code(), Some(143));
    }
}
