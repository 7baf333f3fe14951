//! What one run did: the recap that its command printed, with each step, what was done, and how long it took.

use crate::view::fold;
use crate::view::plan::action_word;
use crate::view::recap::{self, Words, fleet_line, host_text};
use crate::view::sanitize::one_line;
use crate::view::terminal::{BOLD, DIM, GREEN, RED, YELLOW, paint};
use anstyle::Style;
use holdfast_inventory::HostName;
use holdfast_plan::change::Action;
use holdfast_plan::observation::StepStatus;
use holdfast_plan::report::{HostReport, Report, StepRow};
use serde_json::{Value, json};

/// Hosts of which the same is said, but for how long each step took.
struct Block {
    head: String,
    steps: Vec<String>,
    hosts: Vec<HostName>,
    /// The shortest and the longest time of each step, in seconds.
    seconds: Vec<(u64, u64)>,
}

/// Renders the report of a run from its record.
pub fn render(report: &Report) -> String {
    let mut blocks: Vec<Block> = Vec::new();
    for (host, row) in &report.hosts {
        let head = head(row);
        let steps: Vec<String> = row.steps.iter().map(step).collect();
        let seconds = row.steps.iter().map(|step| step.seconds);
        match blocks
            .iter_mut()
            .find(|block| block.head == head && block.steps == steps)
        {
            Some(block) => {
                block.hosts.push(host.clone());
                for ((shortest, longest), seconds) in block.seconds.iter_mut().zip(seconds) {
                    (*shortest, *longest) = ((*shortest).min(seconds), (*longest).max(seconds));
                }
            }
            None => blocks.push(Block {
                head,
                steps,
                hosts: vec![host.clone()],
                seconds: seconds.map(|seconds| (seconds, seconds)).collect(),
            }),
        }
    }
    blocks.sort_by_key(|block| block.hosts.len());
    let mut text = String::new();
    for block in blocks {
        text.push_str(&format!("{} {}\n", paint(BOLD, fold::title(&block.hosts)), block.head));
        for (line, seconds) in block.steps.iter().zip(block.seconds) {
            text.push_str(&match took(seconds) {
                none if none.is_empty() => format!("    {}\n", line.trim_end()),
                took => format!("    {line}{}\n", paint(DIM, took)),
            });
        }
    }
    text.push_str(&fleet_line(&report.tally));
    text.push('\n');
    text
}

fn head(row: &HostReport) -> String {
    let mut head = host_text(row, None, false, Words::All);
    if row.learned {
        head.push_str(&format!(
            "\n    {}",
            paint(DIM, "not known when the run ended; a later command recorded it")
        ));
    }
    head
}

fn step(step: &StepRow) -> String {
    // What could not be known when it was planned has shown by now.
    let action = match step.action {
        Action::Unknown => "",
        action => action_word(action),
    };
    format!(
        "{} {:<40} {action:<7}",
        paint(style(&step.status), format!("{:<9}", step.status.word())),
        one_line(&step.address.to_string()),
    )
}

fn took((shortest, longest): (u64, u64)) -> String {
    match (shortest, longest) {
        (0, 0) => String::new(),
        (one, other) if one == other => format!(" {one} s"),
        (one, other) => format!(" {one} to {other} s"),
    }
}

fn style(status: &StepStatus) -> Style {
    match status {
        StepStatus::Unchanged => GREEN,
        StepStatus::Changed | StepStatus::Left { .. } => YELLOW,
        _ => RED,
    }
}

/// The hosts of a run as JSON, each with its steps.
pub fn document(report: &Report) -> Vec<Value> {
    let hosts = report.hosts.iter();
    hosts
        .map(|(host, row)| {
            let steps = row.steps.iter().map(|step| {
                json!({
                    "address": step.address, "action": step.action, "status": step.status, "seconds": step.seconds,
                })
            });
            let mut document = recap::document(host, row);
            document["learned"] = json!(row.learned);
            document["steps"] = steps.collect();
            document
        })
        .collect()
}

/// Makes the words of steps readable in the JSON of events, where they are bytes.
pub fn with_words(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(output) = map.get_mut("output") {
                let bytes = output
                    .as_array()
                    .map(|bytes| bytes.iter().filter_map(as_byte).collect::<Vec<u8>>());
                if let Some(bytes) = bytes {
                    *output = json!(String::from_utf8_lossy(&bytes));
                }
            }
            map.values_mut().for_each(with_words);
        }
        Value::Array(values) => values.iter_mut().for_each(with_words),
        _ => {}
    }
}

fn as_byte(value: &Value) -> Option<u8> {
    value.as_u64().and_then(|byte| u8::try_from(byte).ok())
}
