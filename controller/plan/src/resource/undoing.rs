//! What people are told of a way back: what it does, and what it leaves.

use crate::observation::Attributes;
use serde::{Deserialize, Serialize};

/// What becomes of a resource once it leaves the blueprints, in words whose subject is Holdfast: "removes it".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undoing {
    /// What becomes of the thing.
    pub kind: UndoKind,
    /// What is done.
    pub does: String,
    /// What would be left where it is, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<String>,
}

/// What becomes of a thing when it is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UndoKind {
    /// It goes: it was not there before.
    Remove,
    /// What was there before comes back.
    Restore,
    /// The undo of its author runs, and what that does only they know.
    Run,
    /// Nothing is done on the host.
    Keep,
}

impl Undoing {
    /// It goes.
    pub fn removes(does: impl Into<String>) -> Self {
        Self::new(UndoKind::Remove, does)
    }

    /// What was there comes back.
    pub fn restores(does: impl Into<String>) -> Self {
        Self::new(UndoKind::Restore, does)
    }

    /// The undo of its author runs.
    pub fn runs(does: impl Into<String>) -> Self {
        Self::new(UndoKind::Run, does)
    }

    /// Nothing is done.
    pub fn keeps(does: impl Into<String>) -> Self {
        Self::new(UndoKind::Keep, does)
    }

    fn new(kind: UndoKind, does: impl Into<String>) -> Self {
        let (does, leaves) = (does.into(), None);
        Self { kind, does, leaves }
    }

    /// Says what would be left.
    #[must_use]
    pub fn leaving(self, what: impl Into<String>) -> Self {
        let leaves = Some(what.into());
        Self { leaves, ..self }
    }

    /// It was as Holdfast wants it already.
    pub(super) fn nothing() -> Self {
        Self::restores("changes nothing: it was so before")
    }
}

/// Hex digits of a digest that are told: enough to tell two apart, and nobody compares more by eye.
const DIGEST_LETTERS: usize = 12;

/// Shortens a digest; other text is given as it is.
pub fn short_digest(digest: &str) -> String {
    match digest.strip_prefix("sha256:") {
        Some(digits) if digits.len() > DIGEST_LETTERS && digits.is_ascii() => {
            format!("sha256:{}...", &digits[..DIGEST_LETTERS])
        }
        _ => digest.to_owned(),
    }
}

/// Says in words what stood at a path.
pub(super) fn path_words(found: &Attributes) -> String {
    let get = |key| found.get(key);
    let owner = [get("owner"), get("group")].map(|name| name.unwrap_or("?")).join(":");
    let with_owner = |kind: &str| match get("mode") {
        Some(mode) => format!("{kind}, {mode} {owner}"),
        None => kind.to_owned(),
    };
    match get("type") {
        None => "nothing is known of it".to_owned(),
        Some("file") => {
            let mut words = with_owner("file");
            match get("size") {
                Some("1") => words.push_str(", 1 byte"),
                Some(size) => words.push_str(&format!(", {size} bytes")),
                None => {}
            }
            if let Some(digest) = get("digest") {
                words.push_str(&format!(", {}", short_digest(digest)));
            }
            words
        }
        Some("directory") => with_owner("directory"),
        Some("symlink") => format!("symlink to {}", get("target").unwrap_or("?")),
        Some("unknown") => "could not be looked at".to_owned(),
        Some("other") => "a device, socket or pipe".to_owned(),
        Some(other) => other.to_owned(),
    }
}

/// Says what [`super::compare::path_back`] does.
pub(super) fn path_undoing(before: &Attributes, put: &Attributes) -> Undoing {
    let same = |key| before.get(key) == put.get(key);
    match (before.get("type"), put.get("type")) {
        (Some("absent"), Some("directory")) => {
            Undoing::removes("removes it").leaving("it stays if there is something in it by then")
        }
        (Some("absent"), Some("absent")) => Undoing::nothing(),
        (Some("absent"), _) => Undoing::removes("removes it"),
        (Some("file"), Some("file")) if same("digest") => fields_back(before, put, &["mode", "owner", "group"]),
        (Some("file"), _) => Undoing::restores("puts back the file that was there"),
        (Some("symlink"), Some("symlink")) if same("target") => Undoing::nothing(),
        (Some("symlink"), _) => Undoing::restores("puts back the symlink that was there"),
        (Some("directory"), Some("directory")) => fields_back(before, put, &["mode", "owner", "group"]),
        (Some("directory"), _) => Undoing::restores("puts back the directory that was there"),
        (Some(_) | None, _) => {
            Undoing::keeps("does nothing: nothing is known of what was there, a person has to decide")
        }
    }
}

/// Says which fields go back to what they were: those that Holdfast put and that were otherwise.
pub(super) fn fields_back(before: &Attributes, put: &Attributes, keys: &[&str]) -> Undoing {
    let changed = keys.iter().filter_map(|key| {
        let was = before
            .get(key)
            .filter(|was| put.get(key).is_some_and(|put| put != *was))?;
        Some(format!("{key} to `{was}`"))
    });
    let changed: Vec<String> = changed.collect();
    if changed.is_empty() {
        return Undoing::nothing();
    }
    Undoing::restores(format!("sets {} again", changed.join(", ")))
        .leaving("what others set otherwise by then stays so")
}
