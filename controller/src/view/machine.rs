//! What a machine's page shows of each resource of its ledger: what was there before, where that is kept, and what undo
//! would do. The words are the types' own.

use crate::redact;
use crate::view::sanitize::{Untrusted, one_line};
use crate::view::terminal::{BOLD, DIM, RED, YELLOW, paint};
use crate::view::time::{ago, moment};
use holdfast_plan::ids::{LifeId, Timestamp};
use holdfast_plan::ledger::{Ledger, LedgerEntry, Origin};
use holdfast_plan::lifecycle::Phase;
use serde_json::{Map, Value, json};

/// Where what was there before a life is kept on the host, below its state folder.
fn kept_at(life: &LifeId) -> String {
    format!("before/{}", life.as_str())
}

/// The resources of a ledger for people, in the order in which they entered it.
pub fn resources(ledger: &Ledger, now: Timestamp) -> String {
    ledger
        .in_order()
        .into_iter()
        .map(|entry| resource(entry, now))
        .collect()
}

fn resource(entry: &LedgerEntry, now: Timestamp) -> String {
    let since = entry.since.map_or(String::new(), |since| {
        paint(DIM, format!(" since {} ({})", moment(since), ago(since, now)))
    });
    let style = match entry.phase {
        Phase::Ready => None,
        Phase::Stuck | Phase::Failed => Some(RED),
        _ => Some(YELLOW),
    };
    let word = entry.phase.word();
    let mut text = format!(
        "{}  {}, {}{since}\n",
        paint(BOLD, Untrusted(&entry.desired.address.to_string())),
        style.map_or_else(|| word.to_owned(), |style| paint(style, word)),
        origin(entry.origin()),
    );
    let mut row = |name: &str, words: &str| text.push_str(&format!("    {name:<7} {}\n", one_line(words)));
    if let Some(was) = entry.was() {
        row("before", if entry.desired.sensitive { redact::HIDDEN } else { &was });
    }
    if let Some(before) = &entry.before {
        row(
            "kept",
            &format!("{} in the state folder of the host", kept_at(&before.life)),
        );
    }
    let undoing = entry.undoing();
    row("undo", &undoing.does);
    if let Some(leaves) = &undoing.leaves {
        row("left", leaves);
    }
    text
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Adopted => "adopted",
        Origin::Applied => "ours",
    }
}

/// The ledger as JSON. What the blueprint calls sensitive is told without its attributes.
pub fn document(ledger: &Ledger) -> Map<String, Value> {
    let row = |entry: &LedgerEntry| {
        let before = entry.before.as_ref();
        let mut row = json!({
            "phase": entry.phase, "origin": entry.origin(), "order": entry.sequence, "since": entry.since,
            "declared_at": entry.desired.declared_at,
            "life": before.map(|before| &before.life),
            "kept": before.map(|before| kept_at(&before.life)),
            "before_digest": before.and_then(|before| before.digest.as_ref()),
            "undo": entry.undoing(),
        });
        if !entry.desired.sensitive {
            row["was"] = json!(entry.was());
            row["before"] = json!(before.map(|before| &before.attributes));
            row["applied"] = json!(entry.applied);
        }
        row
    };
    ledger
        .entries
        .iter()
        .map(|(address, entry)| (address.to_string(), row(entry)))
        .collect()
}
