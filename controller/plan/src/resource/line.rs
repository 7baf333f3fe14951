//! `line`: one line of a text file; other lines are not touched.

use crate::resource::Ensure;
use serde::{Deserialize, Serialize};

/// One line of a text file; other lines are not touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Absolute path of the file.
    pub path: String,
    /// Whether the line shall be there.
    pub ensure: Ensure,
    /// The line, without its newline.
    pub line: String,
}
