//! `symlink`: a symbolic link.

use crate::resource::Ensure;
use serde::{Deserialize, Serialize};

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symlink {
    /// Absolute path.
    pub path: String,
    /// Whether it shall be there.
    pub ensure: Ensure,
    /// What it points to, as written.
    pub target: String,
}
