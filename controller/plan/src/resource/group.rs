//! `group`: a group.

use crate::resource::Ensure;
use serde::{Deserialize, Serialize};

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Whether it shall be there.
    pub ensure: Ensure,
    /// Group number.
    pub gid: Option<u32>,
    /// A system group when it is made.
    pub system: bool,
}
