//! The stdin of `run`: read once, whole, and given to every host.

use crate::cancel::Cancel;
use crate::cli::error::{CliError, CliResult};
use crate::view::terminal::{DIM, note, paint};
use bytes::Bytes;
use std::io::{IsTerminal, Read};
use std::time::Duration;

/// The most that is read: it is kept in memory for the run, once for all hosts. Larger things are files, which a
/// `file` resource brings.
const INPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// After how long it is said that stdin is waited for: a pipe that nobody closes looks like a hang.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads what is piped in; `None` if stdin is a terminal, or closed. Nothing was begun when a person stops it.
pub async fn read(cancel: &Cancel) -> CliResult<Option<Bytes>> {
    let _heeding = cancel.heed();
    tokio::select! {
        biased;
        () = cancel.stopped() => {
            cancel.cut_short();
            Err(CliError::new("interrupted; nothing was run"))
        }
        // The thread that reads is left behind: it ends with the process.
        read = read_all() => read,
    }
}

async fn read_all() -> CliResult<Option<Bytes>> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Ok(None);
    }
    let mut reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        stdin.lock().take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    });
    let read = tokio::select! {
        read = &mut reading => read,
        () = tokio::time::sleep(PATIENCE) => {
            note(&paint(DIM, "reading stdin to its end, for every host; -n leaves it alone"));
            reading.await
        }
    };
    let bytes = match read {
        Ok(Ok(bytes)) => bytes,
        // EBADF and its like: there is no stdin.
        Ok(Err(_)) => return Ok(None),
        Err(error) => return Err(CliError::doing("read stdin", &error)),
    };
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(CliError::hinted(
            format!("stdin has more than {} MiB", INPUT_BYTES_MAX / (1024 * 1024)),
            "bring large content with a `file` resource, or leave stdin alone with -n",
        ));
    }
    Ok(Some(bytes.into()))
}
