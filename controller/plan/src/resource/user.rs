//! `user`: a user account.

use crate::resource::Ensure;
use serde::{Deserialize, Serialize};

/// A user account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Whether it shall be there.
    pub ensure: Ensure,
    /// User number.
    pub uid: Option<u32>,
    /// Primary group.
    pub group: Option<String>,
    /// Supplementary groups: exactly these.
    pub groups: Option<Vec<String>>,
    /// Home directory.
    pub home: Option<String>,
    /// Login shell.
    pub shell: Option<String>,
    /// GECOS field.
    pub comment: Option<String>,
    /// A system account when it is made.
    pub system: bool,
}
