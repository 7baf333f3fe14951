//! The only way to build shell: static text that we wrote, and words that went through one quoting function.
//!
//! A value never becomes part of sh text; it becomes a variable (`path='/etc/motd'`) or an argument, quoted.
//! The user's own sh (`check`, `apply`, `undo`) travels as a quoted word or as a blob, never as our text.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A piece of shell text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sh(String);

/// A value cannot be written in sh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value for sh contains a NUL byte")]
pub struct NulByte;

impl Sh {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends text that stands in this program's source, as lines.
    #[must_use]
    pub fn code(mut self, text: &'static str) -> Self {
        self.0.push_str(text);
        if !text.ends_with('\n') {
            self.0.push('\n');
        }
        self
    }

    /// Appends `name='value'`.
    #[must_use]
    pub fn set(mut self, name: &'static str, value: &str) -> Self {
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&quote(value));
        self.0.push('\n');
        self
    }

    /// Appends `export NAME; NAME='value'` for a variable the user named; the name must be a sh name.
    #[must_use]
    pub fn export(mut self, name: &VariableName, value: &str) -> Self {
        self.0
            .push_str(&format!("{}={}; export {}\n", name.0, quote(value), name.0));
        self
    }

    /// Appends a command of ours with quoted arguments.
    #[must_use]
    pub fn call<'a>(mut self, command: &'static str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.push_str(command);
        for argument in arguments {
            self.0.push(' ');
            self.0.push_str(&quote(argument));
        }
        self.0.push('\n');
        self
    }

    /// Appends another piece.
    #[must_use]
    pub fn then(mut self, other: &Sh) -> Self {
        self.0.push_str(&other.0);
        self
    }

    /// Wraps a piece as the function `PREFIX_NUMBER`.
    #[must_use]
    pub fn function(mut self, prefix: &'static str, number: u32, body: &Sh) -> Self {
        self.0.push_str(&format!("{prefix}_{number}() {{\n{}:\n}}\n", body.0));
        self
    }

    /// Wraps a piece as the function `PREFIX_NUMBER` whose exit status is that of the piece's last command.
    #[must_use]
    pub fn function_with_status(mut self, prefix: &'static str, number: u32, body: &Sh) -> Self {
        self.0.push_str(&format!("{prefix}_{number}() {{\n:\n{}}}\n", body.0));
        self
    }

    /// Shows the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Sh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that sh takes as a variable: letters, digits, underscores, no digit first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VariableName(String);

impl VariableName {
    /// Checks a name.
    pub fn new(name: &str) -> Option<Self> {
        let mut letters = name.chars();
        let first = letters.next()?;
        let fits =
            (first.is_ascii_alphabetic() || first == '_') && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
        fits.then(|| Self(name.to_owned()))
    }

    /// Shows the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Quotes a value as one sh word.
///
/// Values with NUL are refused when they are loaded ([`check`]); a NUL that came here all the same is dropped,
/// because sh can't hold one.
pub fn quote(value: &str) -> String {
    // Always single quotes: posh, csh history and old ash differ on what is safe bare.
    format!("'{}'", value.replace('\0', "").replace('\'', "'\\''"))
}

/// Checks that a value can be written in sh.
pub fn check(value: &str) -> Result<(), NulByte> {
    if value.contains('\0') { Err(NulByte) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_value_stays_a_quote() {
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(Sh::new().set("path", "$(id)").as_str(), "path='$(id)'\n");
    }
}
