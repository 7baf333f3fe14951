//! `directory`: a directory.

use crate::resource::Ensure;
use serde::{Deserialize, Serialize};

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Absolute path.
    pub path: String,
    /// Whether it shall be there.
    pub ensure: Ensure,
    /// Four octal digits; `None` keeps what is there, 0755 for a new one.
    pub mode: Option<String>,
    /// Owner name or number.
    pub owner: Option<String>,
    /// Group name or number.
    pub group: Option<String>,
}
