//! `package`: a package of the host's package manager.
//!
//! An install may bring other packages along. What each transaction of ours brings is written down by that transaction,
//! in the folder of the life, so that the undo takes away those alone, and none that a person asked for or that something
//! else needs by now. Configuration and data stay, unless the blueprint says `undo = "purge"`.

mod apt;
mod dnf;

use super::compare::{Wanted, nothing_said};
use super::undoing::Undoing;
use super::{Claim, ClaimKind, Collect, Comparison, Ensure, Lifecycle, Unsupported};
use crate::address::ResourceType;
use crate::change::Note;
use crate::ledger::Before;
use crate::observation::{Attributes, PackageManager, Platform};
use crate::sh::Sh;
use serde::{Deserialize, Serialize};

/// A package of the host's package manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Whether it shall be installed.
    pub ensure: Ensure,
    /// What is done with it when it leaves the blueprint.
    #[serde(default)]
    pub undo: OnUndo,
}

/// What becomes of an installed package once it leaves the blueprint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUndo {
    /// It is removed; its configuration and data stay.
    #[default]
    Remove,
    /// It is removed with its configuration, and whatever its own scripts take along: of a database, the data.
    Purge,
    /// It stays, and is forgotten.
    Keep,
}

/// Packages that one undo may take along before the plan warns: what a service of its own brings is rarely more.
const GOING_MAX: usize = 20;

/// Packages that a note names: a line that wraps tells less.
const NAMED_MAX: usize = 6;

impl Package {
    fn wanted_attributes(&self) -> Wanted {
        match self.ensure {
            // What came along with another package of ours is not as desired yet: it is to stand for itself, and to go
            // when this resource does.
            Ensure::Present => Wanted::one("installed", "yes").and("brought", "no"),
            Ensure::Absent => Wanted::one("installed", "no"),
        }
    }

    /// The sh for the host's package manager: what both share, then the part given.
    fn with_manager(&self, platform: &Platform, apt: &'static str, dnf: &'static str) -> Result<Sh, Unsupported> {
        let (library, part) = match platform.package_manager {
            PackageManager::Apt => (apt::LIBRARY, apt),
            PackageManager::Dnf => (dnf::LIBRARY, dnf),
            PackageManager::None => return Err(Unsupported::NoPackageManager),
        };
        if !platform.root {
            return Err(Unsupported::NeedsRoot("package"));
        }
        Ok(Sh::new()
            .set("name", &self.name)
            .code(library)
            .code(HAND_OVER)
            .code(part))
    }

    /// Tells whether it was there before Holdfast: what an earlier install of ours brought along was not.
    fn was_installed(&self, before: &Attributes) -> bool {
        let ours = self.ensure == Ensure::Present && before.get("brought") == Some("yes");
        before.get("installed") == Some("yes") && !ours
    }

    /// Says in words what dpkg was doing when it was interrupted, unless it was Holdfast's own doing: that one goes on.
    fn half_done(&self, observed: &Attributes) -> Option<String> {
        let state = observed.get("installed")?;
        if matches!(state, "yes" | "no") || observed.get("unfinished").is_some() {
            return None;
        }
        let name = &self.name;
        Some(format!(
            "package {name} is `{state}`: dpkg is at work on the host, or was interrupted; run `dpkg --configure -a` there \
             (and `apt-get -f install`, if that does not help), then plan again"
        ))
    }
}

impl Lifecycle for Package {
    fn kind(&self) -> ResourceType {
        ResourceType::Package
    }

    fn collect(&self) -> Vec<Collect> {
        vec![Collect::Package(self.name.clone())]
    }

    fn probe(&self) -> Sh {
        Sh::new().call("hf_probe_package", [self.name.as_str()])
    }

    fn compare(&self, observed: &Attributes) -> Comparison {
        if observed.get("manager") == Some("none") {
            return Comparison::Refused(Unsupported::NoPackageManager.to_string());
        }
        if let Some(message) = self.half_done(observed) {
            return Comparison::Refused(message);
        }
        match (self.ensure, observed.get("installed")) {
            (Ensure::Absent, Some("yes")) if observed.get("held").is_some() => Comparison::Refused(format!(
                "package {name} is on hold; run `apt-mark unhold {name}` on the host if it may go, or take the resource out",
                name = self.name
            )),
            (_, None) => nothing_said(),
            (Ensure::Present, Some("no")) => Comparison::Absent,
            _ => self.wanted_attributes().compare(observed),
        }
    }

    fn wanted(&self, _observed: &Attributes) -> Vec<String> {
        self.wanted_attributes().lines()
    }

    fn capture(&self) -> Sh {
        Sh::new().set("name", &self.name).code(CAPTURE)
    }

    fn apply(&self, platform: &Platform) -> Result<Sh, Unsupported> {
        match self.ensure {
            Ensure::Present => self.with_manager(platform, apt::INSTALL, dnf::INSTALL),
            Ensure::Absent => self.with_manager(platform, apt::REMOVE, dnf::REMOVE),
        }
    }

    fn restore(&self, before: &Attributes, _put: &Attributes, platform: &Platform) -> Result<Sh, Unsupported> {
        let sh = if self.was_installed(before) {
            self.with_manager(platform, apt::UNDO_REMOVE, dnf::UNDO_REMOVE)?
        } else {
            self.with_manager(platform, apt::UNDO_INSTALL, dnf::UNDO_INSTALL)?
        };
        Ok(Sh::new()
            .set("on_undo", self.undo.word())
            .set("was_version", before.get("version").unwrap_or_default())
            .then(&sh))
    }

    fn restored(&self, before: &Attributes, _put: &Attributes) -> Vec<String> {
        // One that was not there may stay because something else needs it by now: the undo reports that as left, and
        // the host would take a wanted line that does not show for a failure. Not the version either: the repository
        // may no longer have the one that was there.
        if !self.was_installed(before) {
            return Vec::new();
        }
        Wanted::default().matching(before, &["installed"]).lines()
    }

    fn kept_because(&self) -> Option<&'static str> {
        (self.undo == OnUndo::Keep).then_some("its `undo` is \"keep\"")
    }

    fn spares(&self) -> Option<ClaimKind> {
        Some(ClaimKind::Package)
    }

    fn foretell(&self, undone: Option<&Before>) -> Option<Sh> {
        let (life, question) = match undone {
            Some(before) if self.was_installed(&before.attributes) => return None,
            Some(_) if self.undo == OnUndo::Keep => return None,
            Some(before) => (before.life.as_str(), "foresee || exit 0"),
            None if self.ensure == Ensure::Absent => ("", "foresee_absent || exit 0"),
            None => return None,
        };
        // In a shell of its own: what it names must not meet the names of others.
        Some(
            Sh::new()
                .code("(")
                .set("name", &self.name)
                .set("life", life)
                .code("hf_before=$hf_state/before/$life")
                .code("case $hf_pm in\napt)")
                .code(apt::LIBRARY)
                .code(";;\ndnf)")
                .code(dnf::LIBRARY)
                .code(";;\n*) exit 0 ;;\nesac")
                .code(FORETELL)
                .code(question)
                .code("tell\n)"),
        )
    }

    fn disturbs(&self, observed: &Attributes, claim: &Claim) -> bool {
        // Files that it owns go with it; what its scripts wipe when it is purged is known to nobody.
        let purges = self.undo == OnUndo::Purge && self.ensure == Ensure::Present;
        let owns = || {
            let shares = observed.0.iter().filter(|(key, _)| key.starts_with("undo.shares."));
            shares.into_iter().any(|(_, path)| *path == claim.name)
        };
        claim.kind == ClaimKind::Path && (purges || owns())
    }

    fn foretold(&self, observed: &Attributes) -> Vec<Note> {
        let said = |key: &str| observed.get(key).unwrap_or_default();
        let going: Vec<&str> = said("undo.going").split_whitespace().collect();
        let mut notes = Vec::new();
        if !said("undo.strangers").is_empty() {
            let needed = some_of(&said("undo.strangers").split_whitespace().collect::<Vec<_>>());
            return vec![Note::tells(format!("{} stays: needed by {needed}", self.name))];
        }
        if going.is_empty() {
            return notes;
        }
        notes.push(Note::tells(match self.undo {
            OnUndo::Purge if self.ensure == Ensure::Present => {
                format!("purges {}, with their configuration and data", some_of(&going))
            }
            _ => format!("removes {}; configuration and data stay", some_of(&going)),
        }));
        if !said("undo.kept").is_empty() {
            let kept: Vec<&str> = said("undo.kept").split_whitespace().collect();
            notes.push(Note::tells(format!(
                "{} came with it and stay: needed by others",
                some_of(&kept)
            )));
        }
        if going.len() > GOING_MAX {
            notes.push(Note::warns(format!("{} packages go", going.len())));
        }
        if !said("undo.running").is_empty() {
            notes.push(Note::warns(format!(
                "in use, processes run from it: {}",
                said("undo.running")
            )));
        }
        if said("undo.sshd") == "yes" {
            notes.push(Note::warns(
                "the SSH server that runs on the host belongs to it: the host may be out of reach afterwards",
            ));
        }
        notes
    }

    fn describe(&self, found: &Attributes) -> String {
        match (found.get("installed"), found.get("version")) {
            (None, _) => "nothing is known of it".to_owned(),
            (Some("no"), _) => "not installed".to_owned(),
            (Some("yes"), Some(version)) if found.get("brought") == Some("yes") => {
                format!("installed, {version}, brought along by an install of ours")
            }
            (Some("yes"), Some(version)) => format!("installed, {version}"),
            (Some("yes"), None) => "installed".to_owned(),
            (Some(half), _) => half.to_owned(),
        }
    }

    fn undoing(&self, before: &Attributes, put: &Attributes) -> Undoing {
        match (self.was_installed(before), put.get("installed")) {
            (true, Some("yes")) => Undoing::nothing(),
            (true, _) => {
                let version = before
                    .get("version")
                    .map(|version| format!(", {version} if it can be had"));
                Undoing::restores(format!("installs it again{}", version.unwrap_or_default()))
            }
            (false, Some("no")) => Undoing::nothing(),
            (false, _) => match self.undo {
                OnUndo::Purge => Undoing::removes("purges it and what came with it, with their configuration and data")
                    .leaving("what others need by then, or people asked for"),
                OnUndo::Remove | OnUndo::Keep => Undoing::removes("removes it and what came with it")
                    .leaving("configuration and data; what others need by then, or people asked for"),
            },
        }
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::whole(ClaimKind::Package, &self.name)]
    }

    fn identity(&self) -> String {
        self.ensure.after(&self.name)
    }
}

impl OnUndo {
    fn word(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Purge => "purge",
            Self::Keep => "keep",
        }
    }
}

fn some_of(names: &[&str]) -> String {
    if names.len() <= NAMED_MAX {
        return names.join(", ");
    }
    format!("{} and {} more", names[..NAMED_MAX].join(", "), names.len() - NAMED_MAX)
}

// `packages` holds one `NAME STATE` a line, sorted: the whole database, some ten kilobytes. `marks` names the package if it
// is there as a dependency of others only.
const CAPTURE: &str = r#"
case $hf_pm in
apt)
  dpkg-query -W -f '${binary:Package} ${Status}\n'
  apt-mark showauto "$name" >"$hf_before/marks" 2>/dev/null
  ;;
dnf) rpm -qa --qf '%{NAME}.%{ARCH} install ok installed\n' ;;
*) hf_die "the host has neither apt nor dnf" ;;
esac >"$hf_before/listed" || hf_die "cannot list the packages of the host"
sort -u "$hf_before/listed" >"$hf_before/packages" && rm -f "$hf_before/listed" ||
  hf_die "cannot write $hf_before/packages"
hf_digest_one "$hf_before/packages"
printf '%s\n' "packages $hf_digest" >"$hf_before/meta" || hf_die "cannot write $hf_before/meta"
"#;

// hand_over NAMES: what we brought and others need by now goes with the last of ours that needs it: every other life of a
// package learns of it. `$hf_state/brought` keeps it for one that has no life yet: what is declared by itself from now on.
// let_go NAMES: what is gone, or stands for itself from now on, is no other life's to take along.
const HAND_OVER: &str = r#"
let_go() {
  for list in "$hf_state"/before/*/added "$hf_state/brought"; do
    [ -s "$list" ] && [ "$list" != "$hf_before/added" ] || continue
    gone="$*" pm=$hf_pm awk '
      BEGIN {
        arch = ENVIRON["pm"] == "apt" ? ":[^:]*$" : "[.][^.]*$"
        n = split(ENVIRON["gone"], list)
        for (i = 1; i <= n; i++) { has[list[i]] = 1; if (ENVIRON["pm"] == "apt") { sub(arch, "", list[i]); has[list[i]] = 1 } }
      }
      { bare = $0; sub(arch, "", bare) }
      !($0 in has) && !(bare in has) && !seen[$0]++' "$list" >"$list.new" && mv "$list.new" "$list"
  done
}
hand_over() {
  printf '%s\n' "$@" >>"$hf_state/brought"
  for other in "$hf_state"/before/*/packages; do
    other=${other%/packages}
    if [ -d "$other" ] && [ "$other" != "$hf_before" ]; then
      printf '%s\n' "$@" >>"$other/added"
    fi
  done
}
"#;

// tell: reports what was foreseen, and which programs of it run. Programs are compared without /usr, since /bin may be a
// link into it.
const FORETELL: &str = r#"
tell() {
  [ -n "$going$strangers" ] || return 0
  hf_attr undo.going "$(printf '%s ' $going)"
  [ -z "$strangers" ] || hf_attr undo.strangers "$strangers"
  [ -z "$kept" ] || hf_attr undo.kept "$(printf '%s ' $kept)"
  running=$({
    owned $going
    ls -l /proc/[0-9]*/exe 2>/dev/null | sed -n 's:.*/proc/\([0-9]*\)/exe -> \(.*\):\1 \2:p'
  } | awk '
    /^\// { sub(/^\/usr/, ""); has[$0] = 1; next }
    { sub(/^[0-9]* /, ""); sub(/ \(deleted\)$/, ""); sub(/^\/usr/, "") }
    $0 != "" && $0 in has { if (!count[$0]++) order[++n] = $0 }
    END { for (i = 1; i <= n && i <= 6; i++) { p = order[i]; sub(/.*\//, "", p); printf "%s%s (%d)", (i > 1 ? ", " : ""), p, count[order[i]] } }')
  shares=$(owned $going | managed=$managed awk '
    BEGIN { n = split(ENVIRON["managed"], list, "\n"); for (i = 1; i <= n; i++) if (list[i] != "") has[list[i]] = 1 }
    $0 in has && !seen[$0]++')
  number=0
  while [ -n "$shares" ]; do
    number=$((number + 1))
    hf_attr "undo.shares.$number" "${shares%%"$hf_nl"*}"
    case $shares in
    *"$hf_nl"*) shares=${shares#*"$hf_nl"} ;;
    *) shares= ;;
    esac
  done
  [ -z "$running" ] || hf_attr undo.running "$running"
  case ", $running" in
  *", sshd ("* | *", dropbear ("*) hf_attr undo.sshd yes ;;
  esac
}
"#;
