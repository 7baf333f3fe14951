//! `holdfast-agent daemon`: runs the kept probes on their schedule and spools what changed, while nobody listens.
//!
//! ```text
//! probes file changed -+
//! interval over -------+-> run once -> same as the newest report? -> nothing
//!                                                               `--> spool it
//! SIGTERM, SIGINT -> end (a running probe is killed)
//! ```
//!
//! A plain foreground process: the host's init restarts it, and only one runs per state folder.

use crate::paths::{PathError, Paths, write_cheaply};
use crate::probes::{self, Findings};
use crate::spool::{Limits, Spool};
use crate::{chain, say};
use holdfast_agent::wire::{Report, ReportKind, SetProbes};
use rustix::fs::FlockOperation;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// How often the probes file is looked at: one `stat`, and new probes run soon after they were set.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Tries for the lock, since `status` holds it for a moment to find out whether a daemon does.
const LOCK_TRIES: u32 = 5;

/// Between two tries.
const LOCK_RETRY: Duration = Duration::from_millis(100);

/// Why the daemon can't run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error("another holdfast-agent daemon (pid {pid}) runs with the state folder {state}")]
    Running { pid: String, state: String },
    #[error("failed to lock {path}")]
    Lock { path: String, source: io::Error },
    #[error("failed to listen for signals")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(paths: Paths) -> Result<(), DaemonError> {
    paths.create()?;
    let _lock = lock(&paths).await?;
    let spool = Spool::open_or_create(&paths.spool())?;
    spool.sweep()?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signals)?;
    let mut watch = tokio::time::interval(WATCH_EVERY);
    watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = None;
    let mut probes = None;
    let mut next_at = Instant::now();
    let mut complaint = Complaint::default();
    loop {
        tokio::select! {
            () = ended(&mut terminate, &mut interrupt) => return Ok(()),
            _ = watch.tick() => {
                let now = stamp(&paths);
                if now != seen {
                    seen = now;
                    probes = complaint.about(probes::kept(&paths)).flatten();
                    next_at = Instant::now();
                }
            }
            () = tokio::time::sleep_until(next_at), if probes.is_some() => {
                let Some(probes) = &probes else { continue };
                next_at = Instant::now() + Duration::from_secs(probes.interval_s.max(1).into());
                tokio::select! {
                    () = ended(&mut terminate, &mut interrupt) => return Ok(()),
                    findings = probes::run(probes) => {
                        // A full disk is told and tried again at the next run, which finds the change again.
                        complaint.about(record(&paths, &spool, probes, findings));
                    }
                }
            }
        }
    }
}

async fn ended(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// What identifies a version of the probes file: a rename always brings another inode or time.
fn stamp(paths: &Paths) -> Option<(u64, i64, i64)> {
    let metadata = std::fs::metadata(paths.probes()).ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

/// The trouble that people were told of last. What lasts is told once: a log that nobody rotates must not fill up with it.
#[derive(Default)]
struct Complaint(Option<String>);

impl Complaint {
    /// Tells an error unless it is the last one still, and gives the value.
    fn about<T>(&mut self, result: Result<T, PathError>) -> Option<T> {
        match result {
            Ok(value) => {
                self.0 = None;
                Some(value)
            }
            Err(error) => {
                let text = chain(&error);
                if self.0.as_ref() != Some(&text) {
                    say(&text);
                    self.0 = Some(text);
                }
                None
            }
        }
    }
}

/// Spools findings that are not what the newest report says.
fn record(paths: &Paths, spool: &Spool, probes: &SetProbes, findings: Findings) -> Result<(), PathError> {
    let at_ms = now_ms();
    write_cheaply(&paths.probed(), format!("{at_ms}\n").as_bytes())?;
    let last = spool.read(spool.newest()?)?;
    if last.is_some_and(|last| says_the_same(&last, probes, &findings)) {
        return Ok(());
    }
    let report = Report {
        at_ms,
        kind: findings.kind as i32,
        probes_digest: probes.digest.clone(),
        nonce: probes.nonce.clone(),
        bytes: findings.bytes.into(),
        ..Report::default()
    };
    spool.append(report, Limits::DEFAULT)?;
    Ok(())
}

fn says_the_same(last: &Report, probes: &SetProbes, findings: &Findings) -> bool {
    // Other probes: their first reply is what later ones are compared with.
    last.probes_digest == probes.digest
        && ReportKind::try_from(last.kind).is_ok_and(|kind| {
            probes::same(
                (kind, findings.kind),
                (&last.nonce, &probes.nonce),
                (&last.bytes, &findings.bytes),
            )
        })
}

/// Takes the lock of the state folder for as long as the file is open, and writes the pid into it.
async fn lock(paths: &Paths) -> Result<File, DaemonError> {
    let path = paths.lock();
    let fail = |source: io::Error| DaemonError::Lock {
        path: path.display().to_string(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(fail)?;
    let mut tries = 0;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) if tries < LOCK_TRIES => {
                tries += 1;
                tokio::time::sleep(LOCK_RETRY).await;
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(DaemonError::Running {
                    pid: io::read_to_string(&file).unwrap_or_default().trim().to_owned(),
                    state: paths.state.display().to_string(),
                });
            }
            Err(errno) => return Err(fail(errno.into())),
        }
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(fail)?;
    Ok(file)
}

/// Finds the running daemon's pid by asking for its lock.
pub(crate) fn running_pid(paths: &Paths) -> Option<u32> {
    let file = File::open(paths.lock()).ok()?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => io::read_to_string(&file).ok()?.trim().parse().ok(),
        // Nobody holds it; ours ends with the file.
        _ => None,
    }
}

/// Reads the clock: milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
