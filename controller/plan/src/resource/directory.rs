//! `directory`: a directory.

use super::compare::{Wanted, absent, form, four_digits, or_empty, path_back, path_restored, unclear};
use super::undoing::{Undoing, path_undoing, path_words};
use super::{Claim, ClaimKind, Collect, Comparison, Ensure, Lifecycle, Unsupported};
use crate::address::ResourceType;
use crate::observation::{Attributes, Platform};
use crate::sh::Sh;
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

impl Directory {
    fn wanted_attributes(&self) -> Wanted {
        match self.ensure {
            Ensure::Absent => Wanted::one("type", "absent"),
            Ensure::Present => Wanted::one("type", "directory")
                .maybe("mode", self.mode.as_deref().map(four_digits))
                .maybe("owner", self.owner.as_deref())
                .maybe("group", self.group.as_deref()),
        }
    }
}

impl Lifecycle for Directory {
    fn kind(&self) -> ResourceType {
        ResourceType::Directory
    }

    fn collect(&self) -> Vec<Collect> {
        vec![Collect::Path(self.path.clone())]
    }

    fn probe(&self) -> Sh {
        // Whether it is empty would change all the time; it matters only to one that shall go.
        let with_empty = match self.ensure {
            Ensure::Present => "no",
            Ensure::Absent => "yes",
        };
        Sh::new().call(
            "hf_probe_directory",
            [
                self.path.as_str(),
                with_empty,
                form(self.owner.as_deref()),
                form(self.group.as_deref()),
            ],
        )
    }

    fn compare(&self, observed: &Attributes) -> Comparison {
        let path = &self.path;
        if let Some(comparison) = unclear(path, observed) {
            return comparison;
        }
        match (self.ensure, observed.get("type")) {
            (_, Some(kind @ ("file" | "symlink"))) => Comparison::Refused(format!(
                "{path} is a {kind}, not a directory; move it away first, or declare {kind}.{path}"
            )),
            (Ensure::Present, Some("absent")) => absent(path, observed),
            (Ensure::Absent, Some("directory")) if observed.get("empty") != Some("yes") => {
                Comparison::Refused(format!(
                    "{path} has something in it; empty it first, Holdfast removes no content that it did not put there"
                ))
            }
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
            Ensure::Absent => Sh::new().call("hf_gone", [self.path.as_str(), "directory"]),
            Ensure::Present => Sh::new().call(
                "hf_make",
                [
                    self.path.as_str(),
                    or_empty(self.mode.as_deref()),
                    or_empty(self.owner.as_deref()),
                    or_empty(self.group.as_deref()),
                ],
            ),
        })
    }

    fn restore(&self, before: &Attributes, put: &Attributes, _platform: &Platform) -> Result<Sh, Unsupported> {
        Ok(path_back(&self.path, before, put, ""))
    }

    fn restored(&self, before: &Attributes, put: &Attributes) -> Vec<String> {
        // One that was not there stays if others put something in it: the undo reports that as left, and the host
        // would take a wanted line that does not show for a failure.
        if before.get("type") == Some("absent") {
            return Vec::new();
        }
        path_restored(before, put, self.owner.as_deref(), self.group.as_deref()).lines()
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
