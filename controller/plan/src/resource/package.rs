//! `package`: a package of the host's package manager.

use crate::resource::Ensure;
use serde::{Deserialize, Serialize};

/// A package of the host's package manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Whether it shall be installed.
    pub ensure: Ensure,
}
