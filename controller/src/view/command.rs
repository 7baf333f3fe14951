//! Shows the output of ad-hoc commands: gathered with equal ones folded, streamed line by line, or as NDJSON. Into
//! files of their own goes it in [`super::outdir`].
//!
//! What a host prints never stands where Holdfast speaks: it is indented, or has its host in front of each line. Bytes
//! go out as they are only to what is no terminal.

use crate::outcomes::command_hint;
use crate::output::{Collected, Output};
use crate::transport::Stream;
use crate::view::fold::{Case, fold, fold_cases};
use crate::view::progress::Progress;
use crate::view::recap::{case_of, word};
use crate::view::sanitize::{one_line, visible};
use crate::view::terminal::{BOLD, DIM, data, data_line, note, paint, stderr_is_terminal, stdout_is_terminal};
use holdfast_inventory::HostName;
use holdfast_plan::outcome::Outcome;
use holdfast_plan::report::Report;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of an unfinished line kept while streaming; a longer line is shown in pieces.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// What is in front of each line of output under the name of its hosts.
const INDENT: &str = "  ";

/// Keeps what every host printed, and shows equal ones once.
#[derive(Debug, Default)]
pub struct Gathered(Mutex<GatheredState>);

#[derive(Debug, Default)]
struct GatheredState {
    texts: BTreeMap<HostName, String>,
    /// Bytes that were not kept.
    cut: Vec<(HostName, u64)>,
}

impl Output for Gathered {
    fn chunk(&self, _: &HostName, _: Stream, _: &[u8]) {}

    fn over(&self, host: &HostName, _: &Outcome, collected: Collected) {
        let mut text = String::new();
        for line in visible(&collected.stdout.bytes()).lines() {
            text.push_str(&format!("{INDENT}{line}\n"));
        }
        for line in visible(&collected.stderr.bytes()).lines() {
            text.push_str(&format!("{INDENT}{} {line}\n", paint(DIM, "stderr:")));
        }
        let cut = collected.stdout.left_out() + collected.stderr.left_out();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.texts.insert(host.clone(), text);
        if cut > 0 {
            state.cut.push((host.clone(), cut));
        }
    }

    fn ended(&self, _: &HostName, _: &Outcome) {}
}

/// How a command ended badly, and what to do.
pub(super) fn ending(outcome: &Outcome) -> String {
    ending_with(outcome, &outcome.message())
}

/// How a command that `said` something ended badly, as a case that hosts have in common.
pub(super) fn ending_case(host: &HostName, said: &str, outcome: &Outcome) -> Case {
    let text = format!("{said}{}", ending(outcome));
    match case_of(host, outcome) {
        Some((shape, message)) => Case {
            shape: format!("{said}{shape}"),
            sample: format!("{said}{}", ending_with(outcome, &message)),
            text,
        },
        None => Case::plain(text),
    }
}

fn ending_with(outcome: &Outcome, message: &str) -> String {
    let mut text = format!("{}: {}\n", word(outcome), one_line(message));
    if let Some(hint) = command_hint(outcome) {
        text.push_str(&format!("    {}\n", paint(DIM, one_line(hint))));
    }
    text
}

impl Gathered {
    /// Shows everything: each different output under the hosts that gave it.
    pub fn show(&self, report: &Report) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = report.hosts.iter().map(|(host, row)| {
            let said = state.texts.get(host).cloned().unwrap_or_default();
            let Some(outcome) = row.outcome.as_ref().filter(|outcome| !matches!(outcome, Outcome::Ok)) else {
                return (host.clone(), Case::plain(said));
            };
            (host.clone(), ending_case(host, &said, outcome))
        });
        for block in fold_cases(blocks) {
            data(&format!("{}\n{}", paint(BOLD, block.title()), block.text));
        }
        for (host, bytes) in &state.cut {
            note(&format!(
                "{host}: {bytes} bytes in the middle of its output are not shown; --outdir DIR keeps all of it"
            ));
        }
    }
}

/// Shows output as it comes: each line with its host in front, or of one host alone just as it is.
pub struct Streamed {
    progress: Arc<Progress>,
    width: usize,
    /// Without it there is but one host.
    prefixed: bool,
    rests: Mutex<HashMap<(HostName, Stream), Vec<u8>>>,
}

impl Streamed {
    /// Sets up; without `prefixed` (one host) lines stand alone.
    pub fn new(progress: Arc<Progress>, width: usize, prefixed: bool) -> Self {
        Self {
            progress,
            width,
            prefixed,
            rests: Mutex::default(),
        }
    }

    fn is_terminal(stream: Stream) -> bool {
        match stream {
            Stream::Stdout => stdout_is_terminal(),
            Stream::Stderr => stderr_is_terminal(),
        }
    }

    fn line(&self, host: &HostName, stream: Stream, line: &[u8]) {
        let prefix = if self.prefixed {
            format!("{:<1$} ", format!("{host}:"), self.width + 1)
        } else {
            String::new()
        };
        if !Self::is_terminal(stream) {
            return self.progress.raw(stream, &[prefix.as_bytes(), line, b"\n"].concat());
        }
        let text = format!("{}{}", paint(BOLD, prefix), visible(line));
        match stream {
            Stream::Stdout => self.progress.data(&format!("{text}\n")),
            Stream::Stderr => self.progress.print(&text),
        }
    }

    /// Shows lines that never ended, and the hosts whose turn never came.
    pub fn finish(&self, report: &Report) {
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left: Vec<_> = rests.drain().filter(|(_, rest)| !rest.is_empty()).collect();
        left.sort_by(|((a, _), _), ((b, _), _)| a.cmp(b));
        drop(rests);
        for ((host, stream), rest) in left {
            self.line(&host, stream, &rest);
        }
        self.progress.finish();
        let unstarted = report.hosts.iter().filter_map(|(host, row)| {
            let outcome = row.outcome.as_ref()?;
            matches!(outcome, Outcome::Skipped { .. } | Outcome::Cancelled).then(|| (host.clone(), ending(outcome)))
        });
        for block in fold(unstarted) {
            note(format!("{}: {}", block.title(), block.text).trim_end());
        }
    }

    /// Takes the lines that are whole out of what came.
    fn whole_lines(&self, host: &HostName, stream: Stream, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = rests.entry((host.clone(), stream)).or_default();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") || rest.len() >= LINE_BYTES_MAX {
                let mut line = std::mem::take(rest);
                if line.ends_with(b"\n") {
                    line.pop();
                }
                whole.push(line);
            }
        }
        whole
    }
}

impl Output for Streamed {
    fn chunk(&self, host: &HostName, stream: Stream, bytes: &[u8]) {
        if !self.prefixed && !Self::is_terminal(stream) {
            return self.progress.raw(stream, bytes);
        }
        for line in self.whole_lines(host, stream, bytes) {
            self.line(host, stream, &line);
        }
    }

    fn over(&self, _: &HostName, _: &Outcome, _: Collected) {}

    fn ended(&self, host: &HostName, outcome: &Outcome) {
        if outcome.is_bad() {
            self.progress.print(format!("{host}: {}", ending(outcome)).trim_end());
        }
    }
}

/// One JSON document a line: each host as it ends, then the recap.
pub struct NdJson {
    progress: Arc<Progress>,
    /// Hosts whose line is out, with their output.
    told: Mutex<BTreeSet<HostName>>,
}

impl NdJson {
    /// Sets up.
    pub fn new(progress: Arc<Progress>) -> Self {
        Self {
            progress,
            told: Mutex::default(),
        }
    }

    /// Writes the recap.
    pub fn finish(&self, report: &Report) {
        self.progress.finish();
        data_line(&serde_json::json!({ "schema": 1, "recap": report.tally }).to_string());
    }
}

impl Output for NdJson {
    fn chunk(&self, _: &HostName, _: Stream, _: &[u8]) {}

    fn over(&self, host: &HostName, outcome: &Outcome, collected: Collected) {
        let line = serde_json::json!({
            "schema": 1,
            "host": host,
            "outcome": outcome,
            "message": outcome.message(),
            "hint": command_hint(outcome),
            "stdout": String::from_utf8_lossy(&collected.stdout.bytes()),
            "stderr": String::from_utf8_lossy(&collected.stderr.bytes()),
            "left_out_bytes": collected.stdout.left_out() + collected.stderr.left_out(),
        });
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(host.clone());
        self.progress.data(&format!("{line}\n"));
    }

    fn ended(&self, host: &HostName, outcome: &Outcome) {
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).contains(host) {
            return;
        }
        let line = serde_json::json!({
            "schema": 1, "host": host, "outcome": outcome, "message": outcome.message(), "hint": command_hint(outcome),
        });
        self.progress.data(&format!("{line}\n"));
    }
}
