//! A TOML document as an owned tree in which every key and value knows its place, in the order written.
//!
//! serde stops at the first error and loses places, so the readers of Holdfast's formats walk this tree and
//! report all problems at once. This module knows TOML, and no format.

use crate::diagnostic::{Location, Problem, Problems, SourceFile, suggest};
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table: entries in the order written.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Where the table (or its header) stands.
    pub span: Range<usize>,
    /// Its entries.
    pub entries: Vec<Entry>,
}

/// One `key = value`.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key, unquoted.
    pub key: String,
    /// Where the key stands.
    pub key_span: Range<usize>,
    /// The value.
    pub value: Value,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Value {
    /// Where it stands.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A string.
    String(String),
    /// An integer that fits 64 bits.
    Integer(i64),
    /// A float, as written.
    Float(String),
    /// A boolean.
    Boolean(bool),
    /// A date or time, as written.
    Datetime(String),
    /// An array.
    Array(Vec<Value>),
    /// A table.
    Table(Table),
}

impl Kind {
    /// Names the type as a user knows it.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::String(_) => "string",
            Kind::Integer(_) => "integer",
            Kind::Float(_) => "float",
            Kind::Boolean(_) => "boolean",
            Kind::Datetime(_) => "date-time",
            Kind::Array(_) => "array",
            Kind::Table(_) => "table",
        }
    }
}

impl Table {
    /// Finds an entry.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// Parses a document; syntax errors go to `problems`, and what could be read is returned.
pub fn parse(file: &Arc<SourceFile>, problems: &mut Problems) -> Table {
    let (table, errors) = DeTable::parse_recoverable(&file.text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        problems.push(Problem::at(Location::new(file, span), message));
    }
    let span = table.span();
    convert_table(file, problems, table.into_inner(), span)
}

fn convert_table(file: &Arc<SourceFile>, problems: &mut Problems, table: DeTable<'_>, span: Range<usize>) -> Table {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            key_span: key.span(),
            key: key.into_inner().into_owned(),
            value: convert(file, problems, value),
        })
        .collect();
    // A header written twice, or a dotted key, can put an entry behind a later one: the place decides.
    entries.sort_by_key(|entry| entry.key_span.start);
    Table { span, entries }
}

fn convert(file: &Arc<SourceFile>, problems: &mut Problems, value: Spanned<DeValue<'_>>) -> Value {
    let span = value.span();
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::String(text.into_owned()),
        DeValue::Integer(number) => {
            if let Ok(number) = i64::from_str_radix(number.as_str(), number.radix()) {
                Kind::Integer(number)
            } else {
                problems.push(Problem::at(
                    Location::new(file, span.clone()),
                    "integer does not fit 64 bits",
                ));
                Kind::Integer(0)
            }
        }
        DeValue::Float(number) => Kind::Float(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Kind::Boolean(flag),
        DeValue::Datetime(time) => Kind::Datetime(time.to_string()),
        DeValue::Array(items) => Kind::Array(items.into_iter().map(|item| convert(file, problems, item)).collect()),
        DeValue::Table(table) => Kind::Table(convert_table(file, problems, table, span.clone())),
    };
    Value { span, kind }
}

/// Reads one table key by key, and reports what is missing, of a wrong type, or unknown.
///
/// Call the typed getters, then [`TableReader::finish`], which reports each key nobody asked for.
#[derive(Debug)]
pub struct TableReader<'a> {
    file: &'a Arc<SourceFile>,
    table: &'a Table,
    what: String,
    asked: Vec<&'static str>,
}

impl<'a> TableReader<'a> {
    /// Starts to read `table`; `what` names it in messages ("host `web01`").
    pub fn new(file: &'a Arc<SourceFile>, table: &'a Table, what: impl Into<String>) -> Self {
        Self {
            file,
            table,
            what: what.into(),
            asked: Vec::new(),
        }
    }

    /// Makes the location of a span in this file.
    pub fn location(&self, span: &Range<usize>) -> Location {
        Location::new(self.file, span.clone())
    }

    /// Takes an entry of any type.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.push(key);
        self.table.get(key).map(|entry| &entry.value)
    }

    fn wrong_type(&self, key: &str, wanted: &str, value: &Value, problems: &mut Problems) {
        problems.push(
            Problem::at(
                self.location(&value.span),
                format!(
                    "`{key}` of {} must be {wanted}, not {}",
                    self.what,
                    with_article(value.kind.name())
                ),
            )
            .label(format!("expected {wanted}")),
        );
    }

    /// Takes a string.
    pub fn string(&mut self, key: &'static str, problems: &mut Problems) -> Option<Spanned<String>> {
        let value = self.value(key)?;
        match &value.kind {
            Kind::String(text) => Some(Spanned::new(value.span.clone(), text.clone())),
            _ => {
                self.wrong_type(key, "a string", value, problems);
                None
            }
        }
    }

    /// Takes a boolean.
    pub fn boolean(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        let value = self.value(key)?;
        match value.kind {
            Kind::Boolean(flag) => Some(flag),
            _ => {
                self.wrong_type(key, "true or false", value, problems);
                None
            }
        }
    }

    /// Takes an integer within a range.
    pub fn integer(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<i64>,
        problems: &mut Problems,
    ) -> Option<Spanned<i64>> {
        let value = self.value(key)?;
        match value.kind {
            Kind::Integer(number) if range.contains(&number) => Some(Spanned::new(value.span.clone(), number)),
            Kind::Integer(number) => {
                problems.push(
                    Problem::at(
                        self.location(&value.span),
                        format!("`{key}` of {} is {number}, out of range", self.what),
                    )
                    .help(format!("use {} to {}", range.start(), range.end())),
                );
                None
            }
            _ => {
                self.wrong_type(key, "an integer", value, problems);
                None
            }
        }
    }

    /// Takes an array of strings.
    pub fn strings(&mut self, key: &'static str, problems: &mut Problems) -> Option<Vec<Spanned<String>>> {
        let value = self.value(key)?;
        let Kind::Array(items) = &value.kind else {
            self.wrong_type(key, "an array of strings", value, problems);
            return None;
        };
        let mut strings = Vec::new();
        for item in items {
            match &item.kind {
                Kind::String(text) => strings.push(Spanned::new(item.span.clone(), text.clone())),
                _ => self.wrong_type(key, "an array of strings", item, problems),
            }
        }
        Some(strings)
    }

    /// Takes a table.
    pub fn table(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'a Table> {
        let value = self.value(key)?;
        match &value.kind {
            Kind::Table(table) => Some(table),
            _ => {
                self.wrong_type(key, "a table", value, problems);
                None
            }
        }
    }

    /// Takes a duration such as `"500ms"`, `"10s"`, `"5m"`, `"2h"`, in milliseconds.
    pub fn duration_ms(&mut self, key: &'static str, problems: &mut Problems) -> Option<u64> {
        let text = self.string(key, problems)?;
        let parsed = parse_duration_ms(text.get_ref());
        if parsed.is_none() {
            problems.push(
                Problem::at(
                    self.location(&text.span()),
                    format!("`{key}` of {} is not a duration", self.what),
                )
                .help("write a number and a unit: \"500ms\", \"10s\", \"5m\" or \"2h\""),
            );
        }
        parsed
    }

    /// Takes one word of a list.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        let text = self.string(key, problems)?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| word == text.get_ref()) {
            return Some(*choice);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        problems.push(
            Problem::at(
                self.location(&text.span()),
                format!("`{key}` of {} can't be \"{}\"", self.what, text.get_ref()),
            )
            .help(format!("use one of: {}", words.join(", "))),
        );
        None
    }

    /// Reports keys of the format that this version refuses by name, and every key nobody asked for.
    pub fn finish(self, not_built: &[&'static str], problems: &mut Problems) {
        for entry in &self.table.entries {
            if self.asked.contains(&entry.key.as_str()) {
                continue;
            }
            let location = self.location(&entry.key_span);
            if not_built.contains(&entry.key.as_str()) {
                problems.push(
                    Problem::at(location, format!("`{}` of {} is not built yet", entry.key, self.what))
                        .help("remove the key: this version refuses it rather than ignore it"),
                );
                continue;
            }
            let mut problem = Problem::at(location, format!("unknown key `{}` in {}", entry.key, self.what));
            problem = match suggest(&entry.key, self.asked.iter().copied()) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help(format!("known keys: {}", self.asked.join(", "))),
            };
            problems.push(problem);
        }
    }
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}

/// Reads `"500ms"`, `"10s"`, `"5m"`, `"2h"` as milliseconds.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Table, Problems) {
        let mut problems = Problems::new();
        let file = SourceFile::new("t.toml", text);
        (parse(&file, &mut problems), problems)
    }

    #[test]
    fn entries_keep_the_order_written() {
        let (table, problems) = read("[b.y]\n[a.x]\n[b.w]\n");
        assert!(problems.is_empty());
        let keys: Vec<&str> = table.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["b", "a"]);
    }

    #[test]
    fn every_wrong_key_is_reported_at_once() {
        let file = SourceFile::new("t.toml", "adress = 'x'\nport = 'no'\njump = []\nextra = 1\n");
        let mut problems = Problems::new();
        let table = parse(&file, &mut problems);
        let mut reader = TableReader::new(&file, &table, "host `h`");
        reader.string("address", &mut problems);
        reader.integer("port", 1..=65535, &mut problems);
        reader.finish(&["jump"], &mut problems);
        let lines: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "t.toml:2:8: `port` of host `h` must be an integer, not a string (expected an integer)",
                "t.toml:1:1: unknown key `adress` in host `h`; did you mean `address`?",
                "t.toml:3:1: `jump` of host `h` is not built yet; remove the key: this version refuses it rather than ignore it",
                "t.toml:4:1: unknown key `extra` in host `h`; known keys: address, port",
            ]
        );
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration_ms("10s"), Some(10_000));
        assert_eq!(parse_duration_ms("10"), None);
        assert_eq!(parse_duration_ms("s"), None);
    }
}
