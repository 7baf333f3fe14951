//! How the agent of this host is: for people (`holdfast-agent status`) and for the wire.

use crate::daemon;
use crate::paths::{PathError, Paths, read_if_there};
use crate::probes;
use crate::spool::Spool;
use holdfast_agent::wire::Status;
use std::fmt::Write as _;

/// Looks at the agent's files. Writes nothing.
pub(crate) fn gather(paths: &Paths) -> Result<Status, PathError> {
    let probes = probes::kept(paths)?.unwrap_or_default();
    let last_probe_at_ms =
        read_if_there(&paths.probed())?.and_then(|bytes| String::from_utf8_lossy(&bytes).trim().parse().ok());
    let mut status = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        daemon_pid: daemon::running_pid(paths),
        last_probe_at_ms,
        probes_digest: probes.digest,
        interval_s: probes.interval_s,
        state_dir: paths.state.display().to_string(),
        now_ms: Some(daemon::now_ms()),
        ..Status::default()
    };
    if let Some(spool) = Spool::open(&paths.spool())? {
        let acked = spool.acked()?;
        let waiting: Vec<u64> = spool.list()?.into_iter().filter(|seq| *seq > acked).collect();
        spool.id().clone_into(&mut status.spool);
        status.pending = waiting.len() as u64;
        if let Some(oldest) = waiting.first() {
            status.oldest_at_ms = spool.read(*oldest)?.map(|report| report.at_ms);
        }
    }
    Ok(status)
}

/// Shows the status for people.
pub(crate) fn text(paths: &Paths) -> Result<String, PathError> {
    let status = gather(paths)?;
    let now_ms = daemon::now_ms();
    let ago = |at: Option<i64>| {
        at.map_or("never".to_owned(), |at| {
            format!("{} s ago", (now_ms - at).max(0) / 1000)
        })
    };
    let or_none = |text: &str| if text.is_empty() { "none" } else { text }.to_owned();
    let daemon = status
        .daemon_pid
        .map_or("not running".to_owned(), |pid| format!("pid {pid}"));
    let mut text = String::new();
    let lines = [
        ("release", status.version),
        ("state", status.state_dir),
        ("daemon", daemon),
        ("probes", or_none(&status.probes_digest)),
        ("interval", format!("{} s", status.interval_s)),
        ("probed", ago(status.last_probe_at_ms)),
        ("spool", or_none(&status.spool)),
        ("waiting", status.pending.to_string()),
        ("oldest", ago(status.oldest_at_ms)),
    ];
    for (key, value) in lines {
        writeln!(text, "{key:9} {value}").expect("a string takes all");
    }
    Ok(text)
}
