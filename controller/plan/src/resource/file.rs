//! `file`: a regular file with a content.

use super::compare::{Wanted, absent, form, four_digits, or_empty, path_back, path_restored, unclear, validated};
use super::undoing::{Undoing, path_undoing, path_words};
use super::{Claim, ClaimKind, Collect, Comparison, Ensure, Lifecycle, Unsupported};
use crate::address::ResourceType;
use crate::content::Content;
use crate::ledger::Before;
use crate::observation::{Attributes, Platform};
use crate::sh::Sh;
use serde::{Deserialize, Serialize};

/// A regular file with a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Absolute path.
    pub path: String,
    /// Whether it shall be there.
    pub ensure: Ensure,
    /// What it shall hold (`None` when absent).
    pub content: Option<Content>,
    /// Four octal digits; `None` keeps what is there, 0644 for a new one.
    pub mode: Option<String>,
    /// Owner name or number.
    pub owner: Option<String>,
    /// Group name or number.
    pub group: Option<String>,
    /// Never bring its text back from the host.
    pub sensitive: bool,
    /// The user's sh that must pass before a content is moved in; `$FILE` names that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<String>,
}

impl File {
    fn wanted_attributes(&self, observed: &Attributes) -> Wanted {
        let Some(content) = self.content.as_ref().filter(|_| self.ensure == Ensure::Present) else {
            return Wanted::one("type", "absent");
        };
        Wanted::one("type", "file")
            .maybe("mode", self.mode.as_deref().map(four_digits))
            .maybe("owner", self.owner.as_deref())
            .maybe("group", self.group.as_deref())
            .and("digest", in_the_hosts_form(content, observed))
    }

    /// `SHA256 CRC:BYTES`, by which the host knows the content again; empty when it shall be absent.
    fn ours(&self) -> String {
        self.content
            .as_ref()
            .map(|content| format!("{} {}:{}", content.sha256, content.crc, content.bytes))
            .unwrap_or_default()
    }
}

/// Writes a digest as the host does: hosts without any SHA-256 tool say so by `digest cksum:...` or `digests cksum`.
fn in_the_hosts_form(content: &Content, observed: &Attributes) -> String {
    let by_cksum = match observed.get("digest") {
        Some(digest) => digest.starts_with("cksum:"),
        None => observed.get("digests") == Some("cksum"),
    };
    if by_cksum {
        format!("cksum:{}:{}", content.crc, content.bytes)
    } else {
        format!("sha256:{}", content.sha256)
    }
}

impl Lifecycle for File {
    fn kind(&self) -> ResourceType {
        ResourceType::File
    }

    fn collect(&self) -> Vec<Collect> {
        vec![Collect::Path(self.path.clone())]
    }

    fn probe(&self) -> Sh {
        let (sha256, cksum) = self.content.as_ref().map_or_else(Default::default, |content| {
            (content.sha256.clone(), format!("{}:{}", content.crc, content.bytes))
        });
        let sensitive = if self.sensitive || self.content.is_none() {
            "yes"
        } else {
            "no"
        };
        Sh::new().call(
            "hf_probe_file",
            [
                self.path.as_str(),
                &sha256,
                &cksum,
                sensitive,
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
        let kind = observed.get("type").unwrap_or_default();
        let differences = self.wanted_attributes(observed).differences(observed);
        match (self.ensure, kind) {
            (Ensure::Absent, "directory") => Comparison::Refused(format!(
                "{path} is a directory; to remove it declare directory.{path} with ensure = \"absent\""
            )),
            (Ensure::Present, "directory") if observed.get("empty") != Some("yes") => Comparison::Refused(format!(
                "{path} is a directory with something in it; move it away first"
            )),
            (Ensure::Present, "absent") => absent(path, observed),
            (Ensure::Present, "file") if observed.get("digest") == Some("unreadable") => Comparison::Refused(format!(
                "{path} can't be read by the user that steps run as, or its disk is broken; nobody could put it back"
            )),
            (Ensure::Present, "symlink" | "directory") => Comparison::Replace(differences),
            (Ensure::Present, _) => {
                let content_differs = differences.iter().any(|difference| difference.attribute == "digest");
                match observed.get("links") {
                    Some(links) if content_differs => Comparison::Refused(format!(
                        "{path} has {links} hard links; replacing it would leave its other names with the old content: \
                         remove those names, or declare the file under each of them"
                    )),
                    _ => self.wanted_attributes(observed).compare(observed),
                }
            }
            (Ensure::Absent, _) => self.wanted_attributes(observed).compare(observed),
        }
    }

    fn wanted(&self, observed: &Attributes) -> Vec<String> {
        self.wanted_attributes(observed).lines()
    }

    fn capture(&self) -> Sh {
        Sh::new().call("hf_keep", [self.path.as_str()])
    }

    fn apply(&self, _platform: &Platform) -> Result<Sh, Unsupported> {
        let Some(content) = self.content.as_ref().filter(|_| self.ensure == Ensure::Present) else {
            return Ok(Sh::new().call("hf_gone", [self.path.as_str(), "file symlink"]));
        };
        let cksum = format!("{}:{}", content.crc, content.bytes);
        Ok(validated(self.validate.as_deref()).call(
            "hf_file",
            [
                content.sha256.as_str(),
                &cksum,
                &self.path,
                or_empty(self.mode.as_deref()),
                or_empty(self.owner.as_deref()),
                or_empty(self.group.as_deref()),
            ],
        ))
    }

    fn restore(&self, before: &Attributes, put: &Attributes, _platform: &Platform) -> Result<Sh, Unsupported> {
        Ok(validated(self.validate.as_deref()).then(&path_back(&self.path, before, put, &self.ours())))
    }

    fn restored(&self, before: &Attributes, put: &Attributes) -> Vec<String> {
        path_restored(before, put, self.owner.as_deref(), self.group.as_deref()).lines()
    }

    fn show_kept(&self, before: &Before) -> Option<Sh> {
        let is_text = before.attributes.get("type") == Some("file");
        (is_text && !self.sensitive).then(|| Sh::new().call("hf_kept_text", [before.life.as_str()]))
    }

    fn contents(&self) -> Vec<&Content> {
        self.content.iter().collect()
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
