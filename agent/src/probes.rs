//! The kept probes: their file, one run of them, and what of a reply counts as a change.
//!
//! What a probe finds is not understood here; replies are compared record by record, without what changes by itself.

use crate::paths::{PathError, Paths, read_if_there, write_durably};
use holdfast_agent::program::Nonce;
use holdfast_agent::reply::{Decoder, Record, ReplyError};
use holdfast_agent::wire::{PROBES_BYTES_MAX, REPORT_BYTES_MAX, ReportKind, SetProbes};
use prost::Message as _;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// How long a run may take if the controller did not say: a full package database on a slow disk takes a minute.
const DEADLINE_S_DEFAULT: u32 = 300;

/// Last words of standard error that go into a failure report.
const LAST_WORDS_BYTES: usize = 1024;

/// How long output is awaited after the program's end, in case something it left behind holds the pipe open.
const DRAIN: Duration = Duration::from_secs(1);

/// Facts that change by themselves. The runner tells none of them now; a later controller's might.
const VOLATILE_FACTS: [&str; 3] = ["uptime", "time", "load"];

/// Why probes were not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbesError {
    #[error("a program of {0} bytes is more than the {PROBES_BYTES_MAX} that probes may have")]
    TooLong(usize),
    #[error("an interval of 0 seconds; the least is 1")]
    NoInterval,
    #[error("probes whose nonce is not 32 hex digits; their reply could not be told from noise")]
    NoNonce,
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Keeps probes durably; an empty program forgets them.
pub(crate) fn keep(paths: &Paths, probes: &SetProbes) -> Result<(), ProbesError> {
    if probes.program.len() > PROBES_BYTES_MAX {
        return Err(ProbesError::TooLong(probes.program.len()));
    }
    if !probes.program.is_empty() && probes.interval_s == 0 {
        return Err(ProbesError::NoInterval);
    }
    if !probes.program.is_empty() && Nonce::parse(&probes.nonce).is_none() {
        return Err(ProbesError::NoNonce);
    }
    paths.create()?;
    Ok(write_durably(&paths.probes(), &probes.encode_to_vec())?)
}

/// Reads the kept probes; `None` if there are none (or the file is not ours to understand).
pub(crate) fn kept(paths: &Paths) -> Result<Option<SetProbes>, PathError> {
    let bytes = read_if_there(&paths.probes())?;
    let probes = bytes.and_then(|bytes| SetProbes::decode(bytes.as_slice()).ok());
    Ok(probes.filter(|probes| !probes.program.is_empty()))
}

/// What one run of the probes gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Whether the reply is whole.
    pub(crate) kind: ReportKind,
    /// The reply, or why there is none.
    pub(crate) bytes: Vec<u8>,
}

impl Findings {
    fn failed(why: impl Into<String>) -> Self {
        Self {
            kind: ReportKind::ProbesFailed,
            bytes: why.into().into_bytes(),
        }
    }
}

/// A child whose process group is killed when the run is given up.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = pid.and_then(rustix::process::Pid::from_raw) {
            // Gone already is as good.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// Runs the probes once. Never an error: what goes wrong is a finding. Dropping it kills what it started.
pub(crate) async fn run(probes: &SetProbes) -> Findings {
    let deadline_s = match probes.deadline_s {
        0 => DEADLINE_S_DEFAULT,
        given => given,
    };
    let deadline = Duration::from_secs(deadline_s.into());
    tokio::time::timeout(deadline, run_to_end(probes))
        .await
        .unwrap_or_else(|_| Findings::failed(format!("the probes did not end within {deadline_s} s")))
}

async fn run_to_end(probes: &SetProbes) -> Findings {
    let child = Command::new("/bin/sh")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = match child {
        Ok(child) => Group(child),
        Err(error) => return Findings::failed(format!("failed to start /bin/sh: {error}")),
    };
    let mut stdin = child.0.stdin.take().expect("stdin was piped");
    let mut stdout = child.0.stdout.take().expect("stdout was piped");
    let mut stderr = child.0.stderr.take().expect("stderr was piped");
    let mut reply = Vec::new();
    let mut words = Vec::new();
    let mut too_long = false;
    let feed = async move {
        // A program that ended early does not read the rest; its reply tells.
        let _ = stdin.write_all(&probes.program).await;
    };
    let drain = async {
        tokio::join!(
            async { too_long = read_head(&mut stdout, &mut reply, REPORT_BYTES_MAX).await },
            read_tail(&mut stderr, &mut words),
        );
    };
    let status = {
        let work = async { tokio::join!(feed, drain) };
        tokio::pin!(work);
        tokio::select! {
            _ = &mut work => child.0.wait().await,
            status = child.0.wait() => {
                let _ = tokio::time::timeout(DRAIN, work).await;
                status
            }
        }
    };
    if too_long {
        return Findings::failed(format!("the probes replied more than {REPORT_BYTES_MAX} bytes"));
    }
    match stable(&probes.nonce, &reply) {
        Ok(Some(_)) => Findings {
            kind: ReportKind::Observation,
            bytes: reply,
        },
        Ok(None) => {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            let words = String::from_utf8_lossy(&words);
            Findings::failed(format!("the reply was cut ({status}): {}", words.trim()))
        }
        Err(error) => Findings::failed(error.to_string()),
    }
}

/// Reads up to `bytes_max` and throws the rest away; tells whether there was a rest.
async fn read_head(source: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>, bytes_max: usize) -> bool {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let read = (&mut *source).take(limit).read_to_end(into).await;
    if read.is_err() || into.len() < bytes_max {
        return false;
    }
    tokio::io::copy(source, &mut tokio::io::sink()).await.unwrap_or(0) > 0
}

async fn read_tail(source: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) {
    let mut buffer = [0; LAST_WORDS_BYTES];
    while let Ok(count @ 1..) = source.read(&mut buffer).await {
        into.extend_from_slice(&buffer[..count]);
        let surplus = into.len().saturating_sub(LAST_WORDS_BYTES);
        into.drain(..surplus);
    }
}

/// Tells whether two replies say the same but for what changes by itself.
pub(crate) fn same(kinds: (ReportKind, ReportKind), nonces: (&str, &str), replies: (&[u8], &[u8])) -> bool {
    match kinds {
        (ReportKind::Observation, ReportKind::Observation) => {
            let (first, second) = (stable(nonces.0, replies.0), stable(nonces.1, replies.1));
            matches!((first, second), (Ok(Some(first)), Ok(Some(second))) if first == second)
        }
        // One failure is told once, however its words vary.
        (ReportKind::ProbesFailed, ReportKind::ProbesFailed) => true,
        _ => false,
    }
}

/// What a reply says but for what changes by itself; `None` if it is not whole. Facts have no order.
struct Stable {
    records: Vec<Record>,
    facts: BTreeMap<String, String>,
}

impl PartialEq for Stable {
    fn eq(&self, other: &Self) -> bool {
        self.records == other.records && self.facts == other.facts
    }
}

fn stable(nonce: &str, reply: &[u8]) -> Result<Option<Stable>, ReplyError> {
    let Some(nonce) = Nonce::parse(nonce) else {
        return Ok(None);
    };
    let mut decoder = Decoder::new(&nonce);
    let mut records = decoder.push(reply)?;
    if let Some(error) = decoder.failed() {
        return Err(error.clone());
    }
    let mut facts = BTreeMap::new();
    records.retain(|record| match record {
        Record::Fact { key, value } => {
            if !VOLATILE_FACTS.contains(&key.as_str()) {
                facts.insert(key.clone(), value.clone());
            }
            false
        }
        // Process counts; the text of a file, which its digest stands for.
        Record::Forks { .. } | Record::Text { .. } => false,
        // Applies in progress, whose results the controller collects by its own way.
        Record::Epoch { .. }
        | Record::Job { .. }
        | Record::Begin { .. }
        | Record::StepAttr { .. }
        | Record::Step { .. }
        | Record::Output { .. }
        | Record::End { .. } => false,
        _ => true,
    });
    Ok(decoder.is_done().then_some(Stable { records, facts }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "11111111111111111111111111111111";
    const SECOND: &str = "22222222222222222222222222222222";

    fn same_observation(first: &str, second: &str) -> bool {
        let (first, second) = (first.replace("N1", FIRST), second.replace("N2", SECOND));
        let kind = ReportKind::Observation;
        same((kind, kind), (FIRST, SECOND), (first.as_bytes(), second.as_bytes()))
    }

    #[test]
    fn forks_uptime_and_noise_are_no_change() {
        assert!(same_observation(
            "hello\nN1 fact uptime 5\nN1 fact os.id debian\nN1 attr 1 mode 0644\nN1 forks 3\nN1 done\n",
            "N2 fact os.id debian\nN2 fact uptime 9\nN2 epoch 4\nN2 attr 1 mode 0644\nN2 forks 7\nN2 done\n",
        ));
    }

    #[test]
    fn an_attribute_or_another_fact_is_a_change() {
        assert!(!same_observation(
            "N1 attr 1 mode 0644\nN1 done\n",
            "N2 attr 1 mode 0600\nN2 done\n"
        ));
        assert!(!same_observation(
            "N1 fact kernel 5\nN1 done\n",
            "N2 fact kernel 6\nN2 done\n"
        ));
    }

    #[test]
    fn a_line_in_an_old_text_is_no_record() {
        let reply = format!("{FIRST} text 1 8\n{} x\n\n{FIRST} done\n", &FIRST[..6]);
        let stable = stable(FIRST, reply.as_bytes()).expect("decodes").expect("whole");
        assert_eq!(stable.records, [Record::Done]);
    }

    #[test]
    fn a_reply_without_done_is_not_whole() {
        let reply = format!("{FIRST} attr 1 mode 0644\n");
        assert!(stable(FIRST, reply.as_bytes()).expect("decodes").is_none());
    }
}
