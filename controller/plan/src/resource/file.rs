//! `file`: a regular file with a content.

use crate::content::Content;
use crate::resource::Ensure;
use serde::{Deserialize, Serialize};

/// A regular file with a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Absolute path.
    pub path: String,
    /// Whether it shall be there.
    pub ensure: Ensure,
    /// What it shall hold (`None` when absent).
    pub content: Option<Content>,
    /// Four octal digits; `None` keeps what is there, 0644 for a new one.
    pub mode: Option<String>,
    /// Owner name or number.
    pub owner: Option<String>,
    /// Group name or number.
    pub group: Option<String>,
    /// Never bring its text back from the host.
    pub sensitive: bool,
}
