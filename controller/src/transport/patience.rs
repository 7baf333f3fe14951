//! How long a program on a host is waited for: until a deadline, and only as long as something moves.
//!
//! A living connection proves nothing about what runs behind it: a server answers keepalives while the shell hangs on a
//! dead disk. So whoever knows that a program speaks (the runner does, every ten seconds) bounds its silence too.

use super::TransportError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a program is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// When the waiting ends, whatever comes.
    pub deadline: Instant,
    /// Whether the program may be silent.
    pub silence: Silence,
}

/// How long nothing may come from a program, and nothing of ours be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// As long as it likes.
    May,
    /// As long as it likes once it has answered ([`Handler::answered`](super::Handler::answered)): a command of a user.
    OnceItAnswered(Duration),
    /// So long.
    AtMost(Duration),
}

impl Patience {
    /// Waits until then, be it in silence.
    pub fn until(deadline: Instant) -> Self {
        let silence = Silence::May;
        Self { deadline, silence }
    }

    /// Waits so long, be it in silence.
    pub fn of(whole: Duration) -> Self {
        Self::until(Instant::now() + whole)
    }

    /// Bounds the silence.
    pub fn silent(self, silence: Silence) -> Self {
        Self { silence, ..self }
    }
}

/// Bytes a second of the slowest line that is waited for: 64 kbit/s.
pub const SLOWEST_BYTES_S: u64 = 8 * 1024;

/// Bytes that may be on their way when we believe to have sent them: the window of a server and the buffers of both
/// systems. A host can't answer before they came.
const UNDER_WAY_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// One wait: what was begun when, and when something moved last.
#[derive(Debug)]
pub(super) struct Wait {
    patience: Patience,
    began: Instant,
    // Written by who reads and by who writes, which are two futures of one task: it is never waited for.
    moved: Mutex<Instant>,
    answered: AtomicBool,
}

impl Wait {
    pub(super) fn begin(patience: Patience) -> Self {
        let began = Instant::now();
        Self {
            patience,
            began,
            moved: Mutex::new(began),
            answered: AtomicBool::new(false),
        }
    }

    /// Notes that something came.
    pub(super) fn moved(&self) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Notes that something of ours was taken: the silence begins when it can have arrived.
    pub(super) fn sent(&self, bytes: usize) {
        self.sent_at(Instant::now(), bytes);
    }

    fn sent_at(&self, now: Instant, bytes: usize) {
        let travels = |bytes: u64| Duration::from_millis(bytes.saturating_mul(1000) / SLOWEST_BYTES_S);
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let arrives = (*moved).max(now) + travels((bytes as u64).min(UNDER_WAY_BYTES_MAX));
        *moved = arrives.min(now + travels(UNDER_WAY_BYTES_MAX));
    }

    /// Notes that something came, and whether the program itself has answered.
    pub(super) fn heard(&self, answered: bool) {
        self.moved();
        self.answered.fetch_or(answered, Ordering::Relaxed);
    }

    fn silence(&self) -> Option<Duration> {
        match self.patience.silence {
            Silence::May => None,
            Silence::OnceItAnswered(_) if self.answered.load(Ordering::Relaxed) => None,
            Silence::OnceItAnswered(silence) | Silence::AtMost(silence) => Some(silence),
        }
    }

    /// Tells when the waiting ends, if nothing moves meanwhile.
    pub(super) fn until(&self) -> Instant {
        let moved = *self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = self.silence().map(|silence| moved + silence);
        silent.map_or(self.patience.deadline, |silent| silent.min(self.patience.deadline))
    }

    /// Tells whether the waiting is over: asked when the time came that [`Wait::until`] gave, since something may have
    /// moved in between.
    pub(super) fn is_over(&self) -> bool {
        self.is_over_at(Instant::now())
    }

    fn is_over_at(&self, now: Instant) -> bool {
        now >= self.until()
    }

    /// Says which limit was reached.
    pub(super) fn error(&self) -> TransportError {
        self.error_at(Instant::now())
    }

    fn error_at(&self, now: Instant) -> TransportError {
        match self.silence() {
            Some(after) if now < self.patience.deadline => TransportError::Silent { after },
            _ => TransportError::Deadline {
                after: rounded(now.saturating_duration_since(self.began)),
            },
        }
    }
}

/// Whole seconds read better in a message than the microseconds of a clock.
fn rounded(duration: Duration) -> Duration {
    match duration.as_millis() {
        0..1000 => Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(0)),
        _ => Duration::from_secs((duration + Duration::from_millis(500)).as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REVIEW C4
    #[test]
    fn what_moves_moves_the_end_of_silence_and_not_the_deadline() {
        let second = Duration::from_secs(1);
        let patience = Patience::of(100 * second).silent(Silence::AtMost(60 * second));
        let wait = Wait::begin(patience);
        let began = wait.began;
        let deadline = patience.deadline;
        assert_eq!(wait.until(), began + 60 * second);
        assert!(wait.is_over_at(began + 60 * second) && !wait.is_over_at(began + 59 * second));
        let error = wait.error_at(began + 60 * second);
        assert!(
            matches!(error, TransportError::Silent { after } if after == 60 * second),
            "{error}"
        );

        *wait.moved.lock().expect("nobody else has it") = began + 50 * second;
        assert_eq!(wait.until(), deadline, "it is nearer than the end of the silence now");
        assert!(!wait.is_over_at(began + 99 * second));
        let error = wait.error_at(deadline);
        assert!(
            matches!(error, TransportError::Deadline { after } if after == 100 * second),
            "{error}"
        );
    }

    // REVIEW C4
    #[test]
    fn what_is_still_under_way_on_a_slow_line_is_no_silence_of_the_host() {
        let second = Duration::from_secs(1);
        let wait = Wait::begin(Patience::of(86_400 * second).silent(Silence::AtMost(60 * second)));
        let began = wait.began;
        // Half a minute's worth, in two parts; then more than can be under way, of which 256 seconds' worth is.
        wait.sent_at(began, 120 * 1024);
        wait.sent_at(began, 120 * 1024);
        assert_eq!(wait.until(), began + 90 * second);
        wait.sent_at(began + 10 * second, 64 * 1024 * 1024);
        assert_eq!(wait.until(), began + (10 + 256 + 60) * second);
        // The host has it all: that is what its answer says.
        wait.heard(true);
        assert!(wait.until() <= Instant::now() + 60 * second);
    }

    // REVIEW C4
    #[test]
    fn a_command_may_be_silent_once_it_runs() {
        let second = Duration::from_secs(1);
        let patience = Patience::of(86_400 * second).silent(Silence::OnceItAnswered(60 * second));
        let (command, mute) = (Wait::begin(patience), Wait::begin(patience));
        command.heard(true);
        mute.heard(false);
        assert_eq!(command.until(), patience.deadline);
        assert!(
            mute.is_over_at(mute.began + 61 * second),
            "a login message is no answer"
        );
    }
}
