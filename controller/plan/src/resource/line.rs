//! `line`: one line of a text file; other lines are not touched.
//!
//! A line is matched whole and byte by byte. What is captured: whether the file was there, whether it ended with a
//! newline, and the whole file if the line stood in it, so that it comes back beside its neighbours. Several lines of
//! one file give back its bytes in whatever order they leave (`agent/sh/lines.sh`).

use super::compare::{Wanted, absent, unclear, validated};
use super::undoing::{Undoing, path_words};
use super::{Claim, ClaimKind, Collect, Comparison, Ensure, Lifecycle, Unsupported};
use crate::address::ResourceType;
use crate::observation::{Attributes, Platform};
use crate::sh::Sh;
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
    /// The user's sh that must pass before the edited file is moved in; `$FILE` names that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<String>,
}

impl Line {
    fn wanted_attributes(&self) -> Wanted {
        match self.ensure {
            Ensure::Present => Wanted::one("type", "file").and("line", "present"),
            Ensure::Absent => Wanted::one("line", "absent"),
        }
    }

    fn variables(&self) -> Sh {
        validated(self.validate.as_deref())
            .set("path", &self.path)
            .set("line", &self.line)
    }
}

impl Lifecycle for Line {
    fn kind(&self) -> ResourceType {
        ResourceType::Line
    }

    fn collect(&self) -> Vec<Collect> {
        vec![Collect::Path(self.path.clone())]
    }

    fn probe(&self) -> Sh {
        Sh::new().call("hf_probe_line", [self.path.as_str(), &self.line])
    }

    fn compare(&self, observed: &Attributes) -> Comparison {
        let path = &self.path;
        if let Some(comparison) = unclear(path, observed) {
            return comparison;
        }
        let wanted = self.wanted_attributes();
        match (observed.get("type"), self.ensure) {
            (Some("directory"), _) => Comparison::Refused(format!("{path} is a directory, not a text file")),
            (Some("symlink"), _) => Comparison::Refused(format!(
                "{path} is a symlink; set path to the file it points to, or declare the link"
            )),
            (Some("absent"), Ensure::Present) => absent(path, observed),
            _ if observed.get("line") == Some("unreadable") => Comparison::Refused(format!(
                "{path} can't be read by the user that steps run as; set become = \"sudo\" for the host"
            )),
            _ => match (observed.get("links"), wanted.compare(observed)) {
                (Some(links), Comparison::Differs(_)) => Comparison::Refused(format!(
                    "{path} has {links} hard links; replacing it would leave its other names with the old content: \
                     remove those names first"
                )),
                (_, comparison) => comparison,
            },
        }
    }

    fn wanted(&self, _observed: &Attributes) -> Vec<String> {
        self.wanted_attributes().lines()
    }

    fn capture(&self) -> Sh {
        self.variables().code("hf_line_keep \"$path\"")
    }

    fn apply(&self, _platform: &Platform) -> Result<Sh, Unsupported> {
        Ok(self.variables().code(match self.ensure {
            Ensure::Present => "hf_line_append \"$path\"",
            Ensure::Absent => "hf_line_remove \"$path\"",
        }))
    }

    fn restore(&self, before: &Attributes, _put: &Attributes, _platform: &Platform) -> Result<Sh, Unsupported> {
        Ok(self.variables().code(match before.get("line") {
            Some("present") => "hf_line_back \"$path\" put",
            _ => "hf_line_back \"$path\" take",
        }))
    }

    fn restored(&self, _before: &Attributes, _put: &Attributes) -> Vec<String> {
        // Even if the line shows as before, the file may be owed something: a last newline that is not its own, or that
        // it was not there.
        Vec::new()
    }

    fn describe(&self, found: &Attributes) -> String {
        match (found.get("type"), found.get("line")) {
            (None, _) => "nothing is known of it".to_owned(),
            (Some("absent"), _) => "no file".to_owned(),
            (Some("file"), Some("present")) => "a file with the line".to_owned(),
            (Some("file"), Some("absent")) => "a file without the line".to_owned(),
            (Some(_), _) => path_words(found),
        }
    }

    fn undoing(&self, before: &Attributes, put: &Attributes) -> Undoing {
        let present = |attributes: &Attributes| attributes.get("line") == Some("present");
        match (present(before), present(put)) {
            (true, true) | (false, false) => Undoing::nothing(),
            (true, false) => Undoing::restores("puts the line back where it stood")
                .leaving("if the file is gone by then, the line is not put back"),
            (false, true) if before.get("type") == Some("absent") => {
                Undoing::removes("takes the line out, and the file with it")
                    .leaving("the file stays if others wrote lines in it")
            }
            (false, true) => {
                Undoing::removes("takes the line out").leaving("where others wrote the same line too, theirs stays")
            }
        }
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::part(ClaimKind::Path, &self.path, &self.line)]
    }

    fn identity(&self) -> String {
        self.ensure.after(&format!("`{}` in {}", self.line, self.path))
    }
}
