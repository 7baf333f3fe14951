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
    let text = format!("'{}'", value.replace('\0', "").replace('\'', "'\\''"));
    if !text.chars().any(|letter| raw_byte(letter).is_some()) {
        return text;
    }
    // sh text is UTF-8, so a byte that is not goes in as what printf makes of it, outside of the single quotes.
    text.chars().fold(String::new(), |mut word, letter| {
        match raw_byte(letter) {
            Some(byte) => word.push_str(&format!("'\"$(printf '\\{byte:03o}')\"'")),
            None => word.push(letter),
        }
        word
    })
}

/// The byte beyond UTF-8 that a letter stands for, in what a host reported: U+10FF80 to U+10FFFF, which nobody uses, stand
/// for the bytes 0x80 to 0xFF (`holdfast_agent::reply` makes them).
fn raw_byte(letter: char) -> Option<u8> {
    u8::try_from(u32::from(letter).checked_sub(RAW_BYTES)?)
        .ok()
        .filter(|byte| !byte.is_ascii())
}

/// What is added to a byte to make the letter that stands for it.
const RAW_BYTES: u32 = 0x10_FF00;

/// Writes an attribute as the host reports it, in letters of ASCII that can be printed: every other byte, and the backslash,
/// is a backslash and three octal digits.
pub fn as_reported(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut bytes = [0; 4];
    for letter in value.chars() {
        match raw_byte(letter) {
            _ if matches!(letter, ' '..='~') && letter != '\\' => text.push(letter),
            Some(byte) => text.push_str(&format!("\\{byte:03o}")),
            None => {
                for byte in letter.encode_utf8(&mut bytes).bytes() {
                    text.push_str(&format!("\\{byte:03o}"));
                }
            }
        }
    }
    text
}

/// Checks that a value can be written in sh.
pub fn check(value: &str) -> Result<(), NulByte> {
    if value.contains('\0') { Err(NulByte) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REVIEW H27
    #[test]
    fn bytes_beyond_utf8_are_written_as_they_were() {
        let name = "it's caf\u{10ffe9}";
        assert_eq!(quote(name), r#"'it'\''s caf'"$(printf '\351')"''"#);
        assert_eq!(as_reported(name), r"it's caf\351");
        assert_eq!(as_reported("M\u{fc}\\\n~ "), r"M\303\274\134\012~ ");
    }

    #[test]
    fn a_quote_in_a_value_stays_a_quote() {
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(Sh::new().set("path", "$(id)").as_str(), "path='$(id)'\n");
    }
}
