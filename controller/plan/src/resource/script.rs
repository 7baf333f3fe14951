//! `script`: the user's own sh: a check, what to do, and how to undo it.
//!
//! The user's text is never part of ours: the check travels as a quoted word, apply and undo as blobs.

use super::compare::{Wanted, nothing_said};
use super::undoing::Undoing;
use super::{Claim, Collect, Comparison, Lifecycle, Unsupported};
use crate::address::ResourceType;
use crate::content::Content;
use crate::observation::{Attributes, Platform};
use crate::sh::{Sh, VariableName};
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

impl Script {
    fn exports(&self) -> Sh {
        self.env
            .iter()
            .fold(Sh::new(), |sh, (name, value)| sh.export(name, value))
    }

    fn run(&self, content: &Content) -> Sh {
        // Never executed directly: the state folder may be mounted noexec.
        self.exports()
            .set("hf_script", &content.sha256)
            .code(r#"${hf_sh:-/bin/sh} "$hf_blobs/$hf_script""#)
    }
}

impl Lifecycle for Script {
    fn kind(&self) -> ResourceType {
        ResourceType::Script
    }

    fn collect(&self) -> Vec<Collect> {
        Vec::new()
    }

    fn probe(&self) -> Sh {
        Sh::new()
            .code("hf_check_env() {\n:")
            .then(&self.exports())
            .code("}")
            .set("hf_check", &self.check)
            .code("hf_probe_check")
    }

    fn compare(&self, observed: &Attributes) -> Comparison {
        match observed.get("check") {
            None => nothing_said(),
            Some(_) => Wanted::one("check", "passed").compare(observed),
        }
    }

    fn wanted(&self, _observed: &Attributes) -> Vec<String> {
        Wanted::one("check", "passed").lines()
    }

    fn capture(&self) -> Sh {
        // Only its own undo knows what to put back.
        Sh::new()
    }

    fn apply(&self, _platform: &Platform) -> Result<Sh, Unsupported> {
        Ok(self.run(&self.apply))
    }

    fn restore(&self, _before: &Attributes, _put: &Attributes, _platform: &Platform) -> Result<Sh, Unsupported> {
        Ok(self.undo.as_ref().map(|undo| self.run(undo)).unwrap_or_default())
    }

    fn restored(&self, _before: &Attributes, _put: &Attributes) -> Vec<String> {
        // A check that fails says "not as desired", never "as before": the undo always runs.
        Vec::new()
    }

    fn describe(&self, found: &Attributes) -> String {
        match found.get("check") {
            None => "nothing is known of it",
            Some("passed") => "its check passed",
            Some(_) => "its check did not pass",
        }
        .to_owned()
    }

    fn undoing(&self, _before: &Attributes, _put: &Attributes) -> Undoing {
        Undoing::runs("runs its undo script")
    }

    fn claims(&self) -> Vec<Claim> {
        // Its name is its address.
        Vec::new()
    }

    fn identity(&self) -> String {
        self.name.clone()
    }

    fn kept_because(&self) -> Option<&'static str> {
        self.undo.is_none().then_some("it has no undo")
    }

    fn contents(&self) -> Vec<&Content> {
        vec![&self.apply]
    }

    fn undo_contents(&self) -> Vec<&Content> {
        self.undo.iter().collect()
    }
}
