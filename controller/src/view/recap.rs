//! The end of a run: a row per host with equal ones folded, then one line for the fleet.

use crate::view::fold;
use crate::view::sanitize::{one_line, visible};
use crate::view::terminal::{BOLD, DIM, GREEN, RED, YELLOW, paint};
use holdfast_inventory::HostName;
use holdfast_plan::outcome::{Outcome, Tally};
use holdfast_plan::report::{HostReport, Report};
use std::collections::BTreeSet;

/// Renders the recap of an apply. Of the hosts in `told` it was said already what to do; the reason is said again,
/// since the plan may be pages up.
pub fn render(report: &Report, told: &BTreeSet<HostName>) -> String {
    let mut text = String::new();
    let rows = report
        .hosts
        .iter()
        .map(|(host, row)| (host.clone(), host_text(row, told.contains(host))));
    for block in fold::fold(rows) {
        text.push_str(&format!("{} {}\n", paint(BOLD, block.title()), block.text));
    }
    text.push_str(&fleet_line(&report.tally));
    text.push('\n');
    text
}

fn host_text(row: &HostReport, told: bool) -> String {
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
        text.push_str(&format!("\n    {}", one_line(&outcome.message())));
    }
    if let Some((_, words)) = &row.last_words {
        for line in visible(words).trim_end().lines() {
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
