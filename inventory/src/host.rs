//! A host: one entry of the inventory, a name and how to reach it.

use crate::diagnostic::Location;
use crate::settings::HostSettings;
use crate::vars::Vars;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The longest name: that of a DNS name (RFC 1035), and well below the 255 bytes of a file name.
pub const NAME_BYTES_MAX: usize = 253;

/// The name of a host in the inventory. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostName(Arc<str>);

impl HostName {
    /// Takes a name as it is; the readers check that it can be one.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Shows the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for HostName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for HostName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// One host: its name, how to reach it, and what it says about itself in the inventory.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// The name.
    pub name: HostName,
    /// Where it is declared; if by a range and by its name, where its name stands.
    pub declared_at: Location,
    /// How to reach it, all layers merged.
    pub settings: HostSettings,
    /// The host's own variables alone; [`crate::Inventory::vars_of`] merges the layers.
    pub vars: Vars,
}

/// Why a word can't name a host or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing.
    #[error("the name is empty")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("the name is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// `-x`, `.x`.
    #[error("the name begins with `{0}`")]
    Start(char),
    /// A character that a shell, a path or a pattern reads as its own.
    #[error("the name has {}", show_character(*.0))]
    Character(char),
    /// `all`.
    #[error("`all` is the group that every host is in")]
    Reserved,
}

fn show_character(character: char) -> String {
    match character {
        ' ' => "a space".to_owned(),
        control if control.is_control() => format!("a control character ({})", control.escape_default()),
        other => format!("a `{other}`"),
    }
}

/// Checks that a word can name a host or a group: letters, digits, `.`, `_`, `-` and `+`, and a letter, a digit or
/// `_` first. What looks otherwise (an IPv6 address) goes to `address`.
///
/// # Errors
/// Says what is wrong with the name.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name == "all" {
        return Err(NameError::Reserved);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    let first = name.chars().next().ok_or(NameError::Empty)?;
    if let Some(character) = name
        .chars()
        .find(|c| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-' | '+'))
    {
        return Err(NameError::Character(character));
    }
    if !first.is_alphanumeric() && first != '_' {
        return Err(NameError::Start(first));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_flag_a_path_or_a_pattern_could_be_are_refused() {
        for name in ["web01", "db-1.dc1.example.net", "10.0.0.7", "_x", "höhe", "g++"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for (name, error) in [
            ("", NameError::Empty),
            ("all", NameError::Reserved),
            ("-oProxyCommand=x", NameError::Character('=')),
            ("-x", NameError::Start('-')),
            ("..", NameError::Start('.')),
            ("a/b", NameError::Character('/')),
            ("a b", NameError::Character(' ')),
            ("a\u{1b}[2J", NameError::Character('\u{1b}')),
            ("web*", NameError::Character('*')),
            ("a:b", NameError::Character(':')),
            ("!a", NameError::Character('!')),
            ("$(x)", NameError::Character('$')),
        ] {
            assert_eq!(check_name(name), Err(error), "{name:?}");
        }
        assert_eq!(check_name(&"x".repeat(254)), Err(NameError::TooLong));
    }
}
