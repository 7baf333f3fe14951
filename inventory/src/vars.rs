//! Variables: their values, and for each value the layer and the place it comes from.
//!
//! Values are literal. Rendering them into a resource is the core's duty, not this module's.

use crate::diagnostic::{Location, Problem, Problems, SourceFile, suggest};
use crate::document::{Kind, Table, Value};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Names of variables that Holdfast gives itself: `name` is the host's name.
pub const BUILT_IN: [&str; 1] = ["name"];

/// The value of a variable.
#[derive(Debug, Clone, PartialEq)]
pub enum VarValue {
    /// A string; a date or time is one too, as written.
    String(String),
    /// An integer.
    Integer(i64),
    /// A float as written, so that `1.10` stays `1.10` in a file.
    Float(String),
    /// A boolean.
    Boolean(bool),
    /// An array.
    Array(Vec<VarValue>),
    /// A table, in the order written.
    Table(Vec<(String, VarValue)>),
}

impl VarValue {
    /// Takes a value out of a document.
    pub fn read(value: &Value) -> Self {
        match &value.kind {
            Kind::String(text) | Kind::Datetime(text) => VarValue::String(text.clone()),
            Kind::Integer(number) => VarValue::Integer(*number),
            Kind::Float(text) => VarValue::Float(text.clone()),
            Kind::Boolean(flag) => VarValue::Boolean(*flag),
            Kind::Array(items) => VarValue::Array(items.iter().map(VarValue::read).collect()),
            Kind::Table(table) => VarValue::Table(
                table
                    .entries
                    .iter()
                    .map(|entry| (entry.key.clone(), VarValue::read(&entry.value)))
                    .collect(),
            ),
        }
    }

    /// Shows a float as a number; `None` for what JSON has no word for (`inf`, `nan`).
    pub fn float(text: &str) -> Option<f64> {
        let number: f64 = text.replace('_', "").parse().ok()?;
        number.is_finite().then_some(number)
    }
}

impl Serialize for VarValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            VarValue::String(text) => serializer.serialize_str(text),
            VarValue::Integer(number) => serializer.serialize_i64(*number),
            VarValue::Float(text) => match Self::float(text) {
                Some(number) => serializer.serialize_f64(number),
                None => serializer.serialize_str(text),
            },
            VarValue::Boolean(flag) => serializer.serialize_bool(*flag),
            VarValue::Array(items) => serializer.collect_seq(items),
            VarValue::Table(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// The layer a value comes from, weakest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `[vars]` of a blueprint: defaults. The core adds this layer.
    Blueprint,
    /// `[all]` of the inventory.
    All,
    /// A group.
    Group(Arc<str>),
    /// The host itself.
    Host,
    /// `-e KEY=VALUE`.
    Extra,
    /// Given by Holdfast: the host's name.
    BuiltIn,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Blueprint => f.write_str("blueprint"),
            Origin::All => f.write_str("all"),
            Origin::Group(name) => write!(f, "group {name}"),
            Origin::Host => f.write_str("host"),
            Origin::Extra => f.write_str("extra"),
            Origin::BuiltIn => f.write_str("built in"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A variable as one layer sets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Var {
    /// The value. A table replaces a weaker one whole.
    pub value: VarValue,
    /// The layer.
    pub origin: Origin,
    /// The place; `None` for what is built in.
    pub at: Option<Location>,
}

/// The variables of a host, or of a layer, by name.
pub type Vars = BTreeMap<String, Var>;

/// Reads a table of variables as one layer. The core reads `[vars]` of a blueprint with it too.
pub fn read(file: &Arc<SourceFile>, table: &Table, origin: &Origin, problems: &mut Problems) -> Vars {
    let mut vars = Vars::new();
    for entry in &table.entries {
        let at = Location::new(file, entry.key_span.clone());
        if let Err(reason) = check_name(&entry.key) {
            problems.push(Problem::at(at, reason.message(&entry.key)).help(reason.help()));
            continue;
        }
        vars.insert(
            entry.key.clone(),
            Var {
                value: VarValue::read(&entry.value),
                origin: origin.clone(),
                at: Some(at),
            },
        );
    }
    vars
}

/// Why a word can't name a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BadName {
    BuiltIn,
    Characters,
}

impl BadName {
    fn message(self, name: &str) -> String {
        match self {
            BadName::BuiltIn => format!("`{name}` is the host's name and can't be set"),
            BadName::Characters => format!("`{}` can't name a variable", name.escape_debug()),
        }
    }

    fn help(self) -> &'static str {
        match self {
            BadName::BuiltIn => "choose another name",
            BadName::Characters => "use letters, digits and `_`, and begin with a letter or `_`",
        }
    }
}

/// A template must be able to say the name, so it is an identifier.
fn check_name(name: &str) -> Result<(), BadName> {
    if BUILT_IN.contains(&name) {
        return Err(BadName::BuiltIn);
    }
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(BadName::Characters);
    }
    Ok(())
}

/// Reads the `KEY=VALUE` of `-e` flags as the strongest layer; the last of two wins.
///
/// A value spelled exactly as TOML spells a boolean or a decimal integer is one, so that `{{#if}}` and comparisons
/// work; everything else is a string.
pub fn read_extra<'a>(flags: impl IntoIterator<Item = &'a str>, problems: &mut Problems) -> Vars {
    let mut vars = Vars::new();
    for flag in flags {
        let file = SourceFile::new("-e", flag);
        let Some((key, text)) = flag.split_once('=') else {
            let at = Location::new(&file, 0..flag.len());
            problems.push(Problem::at(at, "`-e` has no `=`").help("write -e KEY=VALUE"));
            continue;
        };
        let at = Location::new(&file, 0..key.len());
        if let Err(reason) = check_name(key) {
            problems.push(Problem::at(at, reason.message(key)).help(reason.help()));
            continue;
        }
        let value = match (text, text.parse::<i64>()) {
            ("true", _) => VarValue::Boolean(true),
            ("false", _) => VarValue::Boolean(false),
            (_, Ok(number)) if number.to_string() == text => VarValue::Integer(number),
            _ => VarValue::String(text.to_owned()),
        };
        let origin = Origin::Extra;
        vars.insert(
            key.to_owned(),
            Var {
                value,
                origin,
                at: Some(at),
            },
        );
    }
    vars
}

/// Finds the variable that `word` was probably meant to be.
pub fn suggest_var<'a>(word: &str, vars: &'a Vars) -> Option<&'a str> {
    suggest(word, vars.keys().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;

    fn read_text(text: &str) -> (Vars, Problems) {
        let mut problems = Problems::new();
        let file = SourceFile::new("t.toml", text);
        let table = document::parse(&file, &mut problems);
        (read(&file, &table, &Origin::All, &mut problems), problems)
    }

    #[test]
    fn a_float_keeps_its_digits_and_a_date_is_text() {
        let (vars, problems) = read_text("version = 1.10\nsince = 2024-05-01\nsizes = [1, 'a', { x = true }]\n");
        assert!(problems.is_empty());
        assert_eq!(vars["version"].value, VarValue::Float("1.10".to_owned()));
        assert_eq!(vars["since"].value, VarValue::String("2024-05-01".to_owned()));
        assert_eq!(
            vars["sizes"].value,
            VarValue::Array(vec![
                VarValue::Integer(1),
                VarValue::String("a".to_owned()),
                VarValue::Table(vec![("x".to_owned(), VarValue::Boolean(true))]),
            ])
        );
        assert_eq!(vars["since"].at.as_ref().expect("a place").to_string(), "t.toml:2:1");
    }

    #[test]
    fn a_name_that_no_template_can_say_is_refused() {
        let (vars, problems) = read_text("name = 'x'\nhttp-port = 1\n\"\" = 1\nok_1 = 1\n");
        assert_eq!(vars.keys().collect::<Vec<_>>(), ["ok_1"]);
        let lines: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "t.toml:1:1: `name` is the host's name and can't be set; choose another name",
                "t.toml:2:1: `http-port` can't name a variable; use letters, digits and `_`, and begin with a letter or `_`",
                "t.toml:3:1: `` can't name a variable; use letters, digits and `_`, and begin with a letter or `_`",
            ]
        );
    }

    #[test]
    fn extra_values_are_typed_only_when_that_loses_nothing() {
        let mut problems = Problems::new();
        let vars = read_extra(["a=1", "b=007", "c=true", "d=x=y", "e=", "a=2"], &mut problems);
        assert!(problems.is_empty());
        let string = |text: &str| VarValue::String(text.to_owned());
        assert_eq!(vars["a"].value, VarValue::Integer(2));
        assert_eq!(vars["b"].value, string("007"));
        assert_eq!(vars["c"].value, VarValue::Boolean(true));
        assert_eq!(vars["d"].value, string("x=y"));
        assert_eq!(vars["e"].value, string(""));
        read_extra(["novalue", "name=x"], &mut problems);
        assert_eq!(problems.0.len(), 2);
    }
}
