//! `script`: the user's own sh: a check, what to do, and how to undo it.

use crate::content::Content;
use crate::sh::VariableName;
use serde::{Deserialize, Serialize};

/// The user's own sh: a check, what to do, and how to undo it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Its name.
    pub name: String,
    /// Exits 0 when all is as desired.
    pub check: String,
    /// The sh to run when it is not.
    pub apply: Content,
    /// The sh that takes it back.
    pub undo: Option<Content>,
    /// Variables of all three.
    pub env: Vec<(VariableName, String)>,
}
