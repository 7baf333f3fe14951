//! The address of a resource: `type.name`, unique on a host.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The types of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// One line of a file.
    Line,
    /// A package of the host's package manager.
    Package,
    /// A service of the host's init.
    Service,
    /// A user account.
    User,
    /// A group.
    Group,
    /// A marked line in a user's crontab.
    Cron,
    /// The user's own sh.
    Script,
}

impl ResourceType {
    /// All of them, in the order of the book.
    pub const ALL: [ResourceType; 10] = [
        ResourceType::File,
        ResourceType::Directory,
        ResourceType::Symlink,
        ResourceType::Line,
        ResourceType::Package,
        ResourceType::Service,
        ResourceType::User,
        ResourceType::Group,
        ResourceType::Cron,
        ResourceType::Script,
    ];

    /// Gives the word used in blueprints and addresses.
    pub fn word(self) -> &'static str {
        match self {
            ResourceType::File => "file",
            ResourceType::Directory => "directory",
            ResourceType::Symlink => "symlink",
            ResourceType::Line => "line",
            ResourceType::Package => "package",
            ResourceType::Service => "service",
            ResourceType::User => "user",
            ResourceType::Group => "group",
            ResourceType::Cron => "cron",
            ResourceType::Script => "script",
        }
    }

    /// Finds the type of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// `type.name`: everything after the first dot is the name, verbatim.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The type.
    pub kind: ResourceType,
    /// The name.
    pub name: String,
}

impl Address {
    /// Makes an address.
    pub fn new(kind: ResourceType, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind.word(), self.name)
    }
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no dot, or nothing after it.
    #[error("`{0}` is not an address; write type.name, such as package.nginx")]
    NoDot(String),
    /// The word before the dot is no type.
    #[error("`{0}` is not a resource type")]
    UnknownType(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (word, name) = text
            .split_once('.')
            .filter(|(_, name)| !name.is_empty())
            .ok_or_else(|| AddressError::NoDot(text.to_owned()))?;
        let kind = ResourceType::from_word(word).ok_or_else(|| AddressError::UnknownType(word.to_owned()))?;
        Ok(Self::new(kind, name))
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_after_the_first_dot_is_the_name() {
        let address: Address = "file./etc/conf.d/a.conf".parse().expect("an address");
        assert_eq!(address.kind, ResourceType::File);
        assert_eq!(address.name, "/etc/conf.d/a.conf");
        assert_eq!(address.to_string(), "file./etc/conf.d/a.conf");
        assert!("nothing".parse::<Address>().is_err());
        assert!("fil.x".parse::<Address>().is_err());
    }
}
