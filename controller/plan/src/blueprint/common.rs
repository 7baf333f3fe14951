//! The keys that every type has: `on`, `needs`, `env`, `ready`, `timeout`, `on_failure`, `sensitive`, `prevent_undo`,
//! `critical`, `crlf`; and `restart_on` of services.

use super::reader::Reader;
use super::text::{LineEnds, Text};
use super::{Need, Pattern, ReadySpec, Span, check};
use crate::address::{Address, AddressError, ResourceType};
use crate::sh::VariableName;
use holdfast_inventory::diagnostic::suggest;
use holdfast_inventory::document::{Kind, Table, Value};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// How long a step may take by default: installing a large package over a slow line takes minutes, and a step that
/// hangs must not hold its host for an hour.
const TIMEOUT_MS_DEFAULT: u64 = 10 * 60 * 1000;

/// What a step's time may be: the host counts whole seconds, and what takes longer than a day is no step.
const TIMEOUT_MS: RangeInclusive<u64> = 1000..=24 * 60 * 60 * 1000;

/// How long a service may take to be ready by default: a JVM on old hardware needs most of a minute.
const READY_TIMEOUT_MS_DEFAULT: u64 = 60 * 1000;

/// How long between two tries by default: often enough to feel prompt, and no load.
const READY_EVERY_MS_DEFAULT: u64 = 2 * 1000;

/// The words of `on_failure`; only the first is built.
const ON_FAILURE: [&str; 5] = ["halt", "retry", "taint", "rollback", "continue"];

/// Variables that a shell keeps for itself: setting one ends the shell in bash or mksh, or breaks the step.
const KEPT_BY_SHELLS: [&str; 9] = [
    "BASHOPTS",
    "BASH_VERSINFO",
    "EUID",
    "IFS",
    "LC_ALL",
    "PATH",
    "PPID",
    "SHELLOPTS",
    "UID",
];

/// The keys that every type has.
pub(super) struct Common {
    pub(super) on: Option<Pattern>,
    pub(super) needs: Vec<Need>,
    pub(super) restart_on: Vec<Need>,
    pub(super) env: Vec<(VariableName, Text)>,
    pub(super) ready: Option<ReadySpec>,
    pub(super) timeout_ms: u64,
    pub(super) sensitive: bool,
    pub(super) prevent_undo: bool,
    pub(super) line_ends: LineEnds,
    pub(super) critical: Option<bool>,
}

/// Reads them.
pub(super) fn read(reader: &mut Reader<'_>, kind: ResourceType) -> Common {
    let on = reader.keys.string("on", reader.problems).map(|on| Pattern {
        at: reader.location(&on.span()),
        text: on.into_inner(),
    });
    let needs = read_needs(reader, "needs");
    let restart_on = if kind == ResourceType::Service {
        read_needs(reader, "restart_on")
    } else {
        refuse_restart_on(reader);
        Vec::new()
    };
    let env = read_env(reader);
    let ready = read_ready(reader);
    let timeout_ms = read_duration(reader, "timeout", TIMEOUT_MS_DEFAULT);
    // A file reads it among its own keys: it stands beside the content.
    let sensitive = kind != ResourceType::File && reader.boolean("sensitive").unwrap_or(false);
    let prevent_undo = reader.boolean("prevent_undo").unwrap_or(false);
    let critical = reader.boolean("critical");
    read_on_failure(reader);
    let line_ends = read_line_ends(reader);
    Common {
        on,
        needs,
        restart_on,
        env,
        ready,
        timeout_ms,
        sensitive,
        prevent_undo,
        critical,
        line_ends,
    }
}

fn read_line_ends(reader: &mut Reader<'_>) -> LineEnds {
    let Some(word) = reader.keys.string("crlf", reader.problems) else {
        return LineEnds::RefuseCr;
    };
    match word.get_ref().as_str() {
        "refuse" => LineEnds::RefuseCr,
        "strip" => LineEnds::StripCr,
        other => {
            let message = format!("{} can't be \"{}\"", reader.what("crlf"), other.escape_debug());
            reader.problem(&word.span(), message, "use \"strip\", or leave the key out");
            LineEnds::RefuseCr
        }
    }
}

fn refuse_restart_on(reader: &mut Reader<'_>) {
    if reader.has("restart_on") {
        reader.keys.value("restart_on");
        let span = reader.key_span("restart_on");
        let message = format!("{} has no meaning", reader.what("restart_on"));
        reader.problem(&span, message, "only services restart; use `needs` for the order");
    }
}

fn read_duration(reader: &mut Reader<'_>, key: &'static str, default_ms: u64) -> u64 {
    match reader.keys.duration_ms(key, reader.problems) {
        Some(given) if TIMEOUT_MS.contains(&given) => given,
        Some(_) => {
            let span = reader.key_span(key);
            let message = format!("{} is out of range", reader.what(key));
            reader.problem(&span, message, "use 1s to 24h");
            default_ms
        }
        None => default_ms,
    }
}

fn read_on_failure(reader: &mut Reader<'_>) {
    let Some(word) = reader.keys.string("on_failure", reader.problems) else {
        return;
    };
    let span = word.span();
    let word = word.into_inner();
    if word == ON_FAILURE[0] {
        return;
    }
    let what = reader.what("on_failure");
    if ON_FAILURE.contains(&word.as_str()) {
        let message = format!("{what}: \"{word}\" is not built yet");
        reader.problem(
            &span,
            message,
            "use \"halt\", or leave the key out: the first failure stops the host",
        );
        return;
    }
    let help = match suggest(&word, ON_FAILURE) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "use \"halt\"".to_owned(),
    };
    reader.problem(&span, format!("{what} can't be \"{}\"", word.escape_debug()), &help);
}

fn read_needs(reader: &mut Reader<'_>, key: &'static str) -> Vec<Need> {
    let Some(value) = reader.keys.value(key) else {
        return Vec::new();
    };
    let what = reader.what(key);
    let Kind::Array(items) = &value.kind else {
        let message = format!(
            "{what} must be an array of addresses, not of type {}",
            value.kind.name()
        );
        reader.problem(&value.span, message, "write [\"package.nginx\"]");
        return Vec::new();
    };
    items.iter().filter_map(|item| read_need(reader, item, &what)).collect()
}

fn read_need(reader: &mut Reader<'_>, item: &Value, what: &str) -> Option<Need> {
    match &item.kind {
        Kind::String(text) => match text.parse::<Address>() {
            Ok(address) => Some(Need {
                address,
                at: reader.location(&item.span),
            }),
            Err(error) => {
                let help = match &error {
                    AddressError::UnknownType(word) => {
                        suggest(word, ResourceType::ALL.into_iter().map(ResourceType::word))
                            .map(|near| format!("did you mean `{near}`?"))
                    }
                    AddressError::NoDot(_) => None,
                };
                let help = help.unwrap_or_else(|| "an address is type.name, verbatim".to_owned());
                reader.problem(&item.span, format!("{error}, in {what}"), &help);
                None
            }
        },
        Kind::Table(table) if table.get("on").is_some() => {
            let message = format!("{what}: a need on another host is not built yet");
            reader.problem(
                &item.span,
                message,
                "remove it: this version refuses it rather than ignore it",
            );
            None
        }
        other => {
            let message = format!("{what} holds a value of type {}", other.name());
            reader.problem(&item.span, message, "write addresses as strings: \"package.nginx\"");
            None
        }
    }
}

fn read_env(reader: &mut Reader<'_>) -> Vec<(VariableName, Text)> {
    let Some(table) = reader.keys.table("env", reader.problems) else {
        return Vec::new();
    };
    let what = reader.what("env");
    let mut env = Vec::new();
    for entry in &table.entries {
        let name = read_variable_name(reader, &entry.key, &entry.key_span, &what);
        let value_what: Arc<str> = format!("`{}` in {what}", entry.key).into();
        let text = match &entry.value.kind {
            Kind::String(text) => text.clone(),
            Kind::Integer(number) => number.to_string(),
            Kind::Boolean(flag) => flag.to_string(),
            other => {
                let message = format!("{value_what} is of type {}", other.name());
                reader.problem(&entry.value.span, message, "a variable of sh is a text; write a string");
                continue;
            }
        };
        let value = reader.compile(&text, &entry.value.span, value_what, check::no_nul);
        env.extend(name.zip(value));
    }
    env
}

fn read_variable_name(reader: &mut Reader<'_>, key: &str, span: &Span, what: &str) -> Option<VariableName> {
    let (message, help) = match VariableName::new(key) {
        None => (
            "can't name a variable",
            "use letters, digits and `_`, and begin with a letter or `_`",
        ),
        Some(_) if key.starts_with("hf_") => ("is kept for Holdfast", "choose a name that does not begin with `hf_`"),
        Some(_) if KEPT_BY_SHELLS.contains(&key) => ("is kept by the shell", "choose another name"),
        Some(name) => return Some(name),
    };
    reader.problem(span, format!("`{}` in {what} {message}", key.escape_debug()), help);
    None
}

fn read_ready(reader: &mut Reader<'_>) -> Option<ReadySpec> {
    let table: &Table = reader.keys.table("ready", reader.problems)?;
    let span = reader.key_span("ready");
    let address_what = reader.what("ready");
    let mut inner = reader.inside(table, &address_what, span);
    let check = inner.required_sh("check", "give sh that exits 0 when it is ready");
    let timeout_ms = read_duration(&mut inner, "timeout", READY_TIMEOUT_MS_DEFAULT);
    let every_ms = read_duration(&mut inner, "every", READY_EVERY_MS_DEFAULT);
    inner.finish(&[]);
    Some(ReadySpec {
        check: check?,
        timeout_ms,
        every_ms,
    })
}
