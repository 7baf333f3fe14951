//! `cron`: a line in a user's crontab, marked with the resource's name.

use crate::resource::Ensure;
use serde::{Deserialize, Serialize};

/// A line in a user's crontab, marked with the resource's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cron {
    /// The name in the mark.
    pub name: String,
    /// Whether it shall be there.
    pub ensure: Ensure,
    /// Whose crontab; `None`: of the user that steps run as.
    pub user: Option<String>,
    /// Five cron fields or `@word`.
    pub schedule: String,
    /// The command, one line.
    pub command: String,
}
