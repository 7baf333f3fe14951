//! What the types share: attributes that are wanted, how they are compared, and how *before* is handed to sh.
//!
//! Comparison and the host's own check read the same list, so that they cannot disagree.

use crate::observation::Attributes;
use crate::resource::{Comparison, Difference};
use crate::sh::Sh;

/// Attributes that the probe has to show, in the probe's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted(Vec<(&'static str, String)>);

impl Wanted {
    /// Starts with one attribute.
    pub(super) fn one(key: &'static str, value: impl Into<String>) -> Self {
        Self(vec![(key, value.into())])
    }

    /// Adds one.
    #[must_use]
    pub(super) fn and(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.push((key, value.into()));
        self
    }

    /// Adds one if it is given.
    #[must_use]
    pub(super) fn maybe(self, key: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.and(key, value),
            None => self,
        }
    }

    /// Adds those of `before` that it has, so that an undo is checked against what was there.
    #[must_use]
    pub(super) fn matching(mut self, before: &Attributes, keys: &[&'static str]) -> Self {
        for key in keys {
            if let Some(value) = before.get(key) {
                self.0.push((key, value.to_owned()));
            }
        }
        self
    }

    /// Adds those of `before` that Holdfast put another value for.
    #[must_use]
    pub(super) fn matching_put(self, before: &Attributes, put: &Attributes, keys: &[&'static str]) -> Self {
        let ours: Vec<_> = keys.iter().copied().filter(|key| put.get(key).is_some()).collect();
        self.matching(before, &ours)
    }

    /// Writes the lines that the host looks for.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(key, value)| format!("{key} {value}")).collect()
    }

    /// Lists what does not show.
    pub(super) fn differences(&self, observed: &Attributes) -> Vec<Difference> {
        self.0
            .iter()
            .filter(|(key, value)| observed.get(key) != Some(value))
            .map(|(key, value)| Difference {
                attribute: (*key).to_owned(),
                observed: observed.get(key).unwrap_or_default().to_owned(),
                desired: value.clone(),
            })
            .collect()
    }

    /// Compares, where nothing special stands in the way.
    pub(super) fn compare(&self, observed: &Attributes) -> Comparison {
        let differences = self.differences(observed);
        if differences.is_empty() {
            Comparison::Same
        } else {
            Comparison::Differs(differences)
        }
    }
}

/// Tells whether owner or group is given as a number: the probe then reports numbers.
pub(super) fn form(owner: Option<&str>) -> &'static str {
    match owner {
        Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => "number",
        _ => "name",
    }
}

/// Writes a mode as the probe does: four octal digits.
pub(super) fn four_digits(mode: &str) -> String {
    format!("{mode:0>4}")
}

/// Shows an optional value to sh: empty is "not given".
pub(super) fn or_empty(value: Option<&str>) -> &str {
    value.unwrap_or_default()
}

/// Begins the sh of a step with what has to pass before a file's content is moved in.
pub(super) fn validated(validate: Option<&str>) -> Sh {
    match validate {
        Some(sh) => Sh::new().set("hf_validate", sh),
        None => Sh::new(),
    }
}

/// Tells whether a probe that is asked for `asked` reports in the form of `value`: an undo can't wait for a name where the
/// resource is declared by number by now.
pub(super) fn same_form(asked: Option<&str>, value: Option<&str>) -> bool {
    form(asked) == form(value)
}

/// What shows at a path once *before* is back, asked by `owner` and `group`. Mode and owner of what was there all the
/// time are checked only where Holdfast set them.
pub(super) fn path_restored(before: &Attributes, put: &Attributes, owner: Option<&str>, group: Option<&str>) -> Wanted {
    let wanted = Wanted::default().matching(before, &["type", "digest", "target"]);
    let mut owners = vec!["mode"];
    for (key, asked) in [("owner", owner), ("group", group)] {
        if same_form(asked, before.get(key)) {
            owners.push(key);
        }
    }
    if before.get("type") == put.get("type") {
        wanted.matching_put(before, put, &owners)
    } else {
        wanted.matching(before, &owners)
    }
}

/// The sh that puts back what stood at `path`; `ours` is the content that Holdfast put there: `SHA256 CRC:BYTES`.
pub(super) fn path_back(path: &str, before: &Attributes, put: &Attributes, ours: &str) -> Sh {
    let was = |key| before.get(key).unwrap_or_default();
    let put = |key| put.get(key).unwrap_or_default();
    Sh::new()
        .set("hf_put_type", put("type"))
        .set("hf_put_mode", put("mode"))
        .set("hf_put_owner", put("owner"))
        .set("hf_put_group", put("group"))
        .set("hf_was_type", was("type"))
        .set("hf_was_mode", was("mode"))
        .set("hf_was_owner", was("owner"))
        .set("hf_was_group", was("group"))
        .set("hf_was_digest", was("digest"))
        .set("hf_was_target", was("target"))
        .set("hf_ours", ours)
        .call("hf_back", [path])
}

/// What to say when a probe came back without what it always reports.
pub(super) fn nothing_said() -> Comparison {
    Comparison::CannotTell("the probe reported nothing".to_owned())
}

/// What to say where the probe found nothing to compare with: it said nothing, could not look, or found a device, socket
/// or pipe. What can't be looked at may well be there, so it never counts as absent.
pub(super) fn unclear(path: &str, observed: &Attributes) -> Option<Comparison> {
    match observed.get("type") {
        None => Some(nothing_said()),
        Some("unknown") => Some(Comparison::Refused(format!(
            "{path} can't be looked at, so nobody knows what is there: {}",
            observed.get("unreadable").unwrap_or("the host does not say why")
        ))),
        Some("other") => Some(Comparison::Refused(format!(
            "{path} is a device, socket or pipe; move it away by hand, or take the resource out"
        ))),
        Some(_) => None,
    }
}

/// What to say of what is not there: it can be made, unless its folder is missing.
pub(super) fn absent(path: &str, observed: &Attributes) -> Comparison {
    match (observed.get("folder"), path.rsplit_once('/')) {
        (Some("missing"), Some((folder, _))) if !folder.is_empty() => Comparison::NoFolder(folder.to_owned()),
        _ => Comparison::Absent,
    }
}
