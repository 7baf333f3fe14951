//! `symlink`: a symbolic link.

use super::compare::{Wanted, absent, path_back, path_restored, unclear};
use super::undoing::{Undoing, path_undoing, path_words};
use super::{Claim, ClaimKind, Collect, Comparison, Ensure, Lifecycle, Unsupported};
use crate::address::ResourceType;
use crate::observation::{Attributes, Platform};
use crate::sh::Sh;
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

impl Symlink {
    fn wanted_attributes(&self) -> Wanted {
        match self.ensure {
            Ensure::Absent => Wanted::one("type", "absent"),
            Ensure::Present => Wanted::one("type", "symlink").and("target", &self.target),
        }
    }
}

impl Lifecycle for Symlink {
    fn kind(&self) -> ResourceType {
        ResourceType::Symlink
    }

    fn collect(&self) -> Vec<Collect> {
        vec![Collect::Path(self.path.clone())]
    }

    fn probe(&self) -> Sh {
        Sh::new().call("hf_probe_symlink", [self.path.as_str()])
    }

    fn compare(&self, observed: &Attributes) -> Comparison {
        let path = &self.path;
        if let Some(comparison) = unclear(path, observed) {
            return comparison;
        }
        let differences = self.wanted_attributes().differences(observed);
        match (self.ensure, observed.get("type")) {
            (Ensure::Present, Some("absent")) => absent(path, observed),
            (Ensure::Present, Some("directory")) if observed.get("empty") != Some("yes") => Comparison::Refused(
                format!("{path} is a directory with something in it; move it away first"),
            ),
            (Ensure::Present, Some("file" | "directory")) => Comparison::Replace(differences),
            (Ensure::Absent, Some(kind @ ("file" | "directory"))) => Comparison::Refused(format!(
                "{path} is a {kind}, not a symlink; to remove it declare {kind}.{path} with ensure = \"absent\""
            )),
            _ => self.wanted_attributes().compare(observed),
        }
    }

    fn wanted(&self, _observed: &Attributes) -> Vec<String> {
        self.wanted_attributes().lines()
    }

    fn capture(&self) -> Sh {
        Sh::new().call("hf_keep", [self.path.as_str()])
    }

    fn apply(&self, _platform: &Platform) -> Result<Sh, Unsupported> {
        Ok(match self.ensure {
            Ensure::Absent => Sh::new().call("hf_gone", [self.path.as_str(), "symlink"]),
            Ensure::Present => Sh::new().call("hf_link", [self.target.as_str(), &self.path]),
        })
    }

    fn restore(&self, before: &Attributes, put: &Attributes, _platform: &Platform) -> Result<Sh, Unsupported> {
        Ok(path_back(&self.path, before, put, ""))
    }

    fn restored(&self, before: &Attributes, put: &Attributes) -> Vec<String> {
        path_restored(before, put, None, None).lines()
    }

    fn describe(&self, found: &Attributes) -> String {
        path_words(found)
    }

    fn undoing(&self, before: &Attributes, put: &Attributes) -> Undoing {
        path_undoing(before, put)
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::whole(ClaimKind::Path, &self.path)]
    }

    fn identity(&self) -> String {
        self.ensure.after(&self.path)
    }
}
