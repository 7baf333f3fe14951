//! `service`: a service of the host's init.

use serde::{Deserialize, Serialize};

/// A service of the host's init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, without `.service`.
    pub name: String,
    /// Whether it shall run; `None`: not our concern.
    pub running: Option<bool>,
    /// Whether it shall start at boot; `None`: not our concern.
    pub enabled: Option<bool>,
}
