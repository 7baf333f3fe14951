//! The end of a run: a row per host with equal ones folded, then one line for the fleet.

use crate::view::fold::{self, Case};
use crate::view::sanitize::{one_line, visible};
use crate::view::terminal::{BOLD, DIM, GREEN, RED, YELLOW, paint};
use crate::view::words::counted;
use holdfast_inventory::HostName;
use holdfast_plan::outcome::{Outcome, Tally, UnreachableKind};
use holdfast_plan::report::{HostReport, Report};
use std::collections::BTreeSet;

/// Renders the recap of an apply. Of the hosts in `told` it was said already what to do; the reason is said again,
/// since the plan may be pages up.
pub fn render(report: &Report, told: &BTreeSet<HostName>) -> String {
    let mut text = String::new();
    let rows = report.hosts.iter().map(|(host, row)| {
        let text = |sample: Option<&str>| host_text(row, sample, told.contains(host), Words::Last);
        let case = match row.outcome.as_ref().and_then(|outcome| case_of(host, outcome)) {
            Some((shape, message)) => Case {
                shape,
                text: text(None),
                sample: text(Some(&message)),
            },
            None => Case::plain(text(None)),
        };
        (host.clone(), case)
    });
    for block in fold::fold_cases(rows) {
        text.push_str(&format!("{} {}\n", paint(BOLD, block.title()), block.text));
    }
    text.push_str(&fleet_line(&report.tally));
    text.push('\n');
    text
}

/// How much of a failed step's last words is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// The end of it, where the reason is.
    Last,
    /// All that is kept.
    All,
}

/// Lines of a step's output under its reason: what a package manager says while it works fills screens.
const WORDS_LINES_MAX: usize = 10;

/// The case that a host is in whose carrier said it in words of its own (with its address), and the message that stands for
/// others in the same case.
pub fn case_of(host: &HostName, outcome: &Outcome) -> Option<(String, String)> {
    let Outcome::Unreachable(why) = outcome else {
        return None;
    };
    // Each of these keys has to be compared by a person.
    if why.kind == UnreachableKind::HostKeyChanged {
        return None;
    }
    let shape = [why.kind.message(), why.message(), why.hint()]
        .map(|words| nobodys(words, host))
        .join("\n");
    Some((shape, format!("{}; on {host}: {}", why.kind.message(), why.message())))
}

/// Takes out of a text what may be one host's own: its name, what stands in quotes, and every word with a digit in it, as
/// addresses, ports and keys have.
fn nobodys(text: &str, host: &HostName) -> String {
    let own =
        |word: &str| word.contains(|c: char| c.is_ascii_digit()) || word.contains('`') || word.contains(host.as_str());
    let words = text.split(' ').map(|word| if own(word) { "#" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// What is said of one host, with its own message or with one that is a sample for others.
pub fn host_text(row: &HostReport, sample: Option<&str>, told: bool, words: Words) -> String {
    let mut text = row.outcome.as_ref().map_or_else(|| "not ended".to_owned(), word);
    if row.ok + row.changed + row.failed + row.skipped > 0 {
        text.push_str(&format!(
            " ok={} changed={} failed={} skipped={}",
            row.ok, row.changed, row.failed, row.skipped
        ));
    }
    let bad = row
        .outcome
        .as_ref()
        .filter(|outcome| !matches!(outcome, Outcome::Ok | Outcome::Changed { .. }));
    if let Some(outcome) = bad {
        let message = sample.map_or_else(|| outcome.message(), str::to_owned);
        text.push_str(&format!("\n    {}", one_line(&message)));
    }
    if let Some((_, said)) = &row.last_words {
        let said = visible(said);
        let lines: Vec<&str> = said.trim_end().lines().collect();
        let left_out = match words {
            Words::Last => lines.len().saturating_sub(WORDS_LINES_MAX),
            Words::All => 0,
        };
        if left_out > 0 {
            let note = format!("({} before these: holdfast runs show)", counted(left_out, "line"));
            text.push_str(&format!("\n    | {}", paint(DIM, note)));
        }
        for line in &lines[left_out..] {
            text.push_str(&format!("\n    | {line}"));
        }
    }
    if let Some(hint) = bad.and_then(Outcome::hint).filter(|_| !told) {
        text.push_str(&format!("\n    {}", paint(DIM, one_line(hint))));
    }
    for (address, what) in &row.left {
        text.push_str(&format!(
            "\n    left by {}: {}",
            one_line(&address.to_string()),
            one_line(what)
        ));
    }
    text
}

/// How a host ended, as JSON.
pub fn document(host: &HostName, row: &HostReport) -> serde_json::Value {
    serde_json::json!({
        "host": host, "outcome": row.outcome, "message": row.outcome.as_ref().map(Outcome::message),
        "hint": row.outcome.as_ref().and_then(Outcome::hint), "ok": row.ok, "changed": row.changed,
        "failed": row.failed, "skipped": row.skipped,
    })
}

/// The outcome's word in its colour.
pub fn word(outcome: &Outcome) -> String {
    let style = match outcome {
        Outcome::Ok => GREEN,
        Outcome::Changed { .. } => YELLOW,
        _ => RED,
    };
    paint(style, outcome.word())
}

/// The line of the fleet: only counts that are not 0, and of how many hosts.
pub fn fleet_line(tally: &Tally) -> String {
    let counts = [
        (tally.ok, "ok"),
        (tally.changed, "changed"),
        (tally.failed, "failed"),
        (tally.unreachable, "unreachable"),
        (tally.timed_out, "timed out"),
        (tally.unknown, "unknown"),
        (tally.refused, "refused"),
        (tally.held, "held"),
        (tally.skipped, "skipped"),
        (tally.cancelled, "cancelled"),
    ];
    let parts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let hosts = tally.hosts();
    format!(
        "{hosts} host{}: {}",
        if hosts == 1 { "" } else { "s" },
        parts.join(", ")
    )
}
