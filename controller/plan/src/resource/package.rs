//! `package`: a package of the host's package manager.
//!
//! An install may bring other packages along. Which ones is found out by comparing the list of installed packages
//! before and after, so that the undo takes away exactly those, and none that something else needs by now.

use super::compare::{Wanted, nothing_said};
use super::{Claim, ClaimKind, Collect, Comparison, Ensure, Lifecycle, Unsupported};
use crate::address::ResourceType;
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
}

impl Package {
    fn wanted_attributes(&self) -> Wanted {
        Wanted::one(
            "installed",
            match self.ensure {
                Ensure::Present => "yes",
                Ensure::Absent => "no",
            },
        )
    }

    /// The sh for the host's package manager: what both share, then the part given.
    fn with_manager(&self, platform: &Platform, apt: &'static str, dnf: &'static str) -> Result<Sh, Unsupported> {
        let (library, part) = match platform.package_manager {
            PackageManager::Apt => (APT, apt),
            PackageManager::Dnf => (DNF, dnf),
            PackageManager::None => return Err(Unsupported::NoPackageManager),
        };
        if !platform.root {
            return Err(Unsupported::NeedsRoot("package"));
        }
        Ok(Sh::new().set("name", &self.name).code(library).code(part))
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
        match (self.ensure, observed.get("installed")) {
            (_, None) => nothing_said(),
            (Ensure::Present, Some("no")) => Comparison::Absent,
            _ => self.wanted_attributes().compare(observed),
        }
    }

    fn wanted(&self, _observed: &Attributes) -> Vec<String> {
        self.wanted_attributes().lines()
    }

    fn capture(&self) -> Sh {
        Sh::new().code(CAPTURE)
    }

    fn apply(&self, platform: &Platform) -> Result<Sh, Unsupported> {
        match self.ensure {
            Ensure::Present => self.with_manager(platform, APT_INSTALL, DNF_INSTALL),
            Ensure::Absent => self.with_manager(platform, APT_REMOVE, DNF_REMOVE),
        }
    }

    fn restore(&self, before: &Attributes, _put: &Attributes, platform: &Platform) -> Result<Sh, Unsupported> {
        let sh = match before.get("installed") {
            Some("yes") => self.with_manager(platform, APT_UNDO_REMOVE, DNF_UNDO_REMOVE)?,
            _ => self.with_manager(platform, APT_UNDO_INSTALL, DNF_UNDO_INSTALL)?,
        };
        Ok(Sh::new()
            .set("was_installed", before.get("installed").unwrap_or_default())
            .set("was_version", before.get("version").unwrap_or_default())
            .then(&sh))
    }

    fn restored(&self, before: &Attributes, _put: &Attributes) -> Vec<String> {
        // One that was not there may stay because something else needs it by now: the undo reports that as left, and
        // the host would take a wanted line that does not show for a failure. Not the version either: the repository
        // may no longer have the one that was there.
        if before.get("installed") != Some("yes") {
            return Vec::new();
        }
        Wanted::default().matching(before, &["installed"]).lines()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::whole(ClaimKind::Package, &self.name)]
    }

    fn identity(&self) -> String {
        self.ensure.after(&self.name)
    }
}

// `packages` holds one `NAME STATE` a line, sorted: the whole database, some ten kilobytes.
const CAPTURE: &str = r#"
case $hf_pm in
apt) dpkg-query -W -f '${binary:Package} ${Status}\n' ;;
dnf) rpm -qa --qf '%{NAME}.%{ARCH} install ok installed\n' ;;
*) hf_die "the host has neither apt nor dnf" ;;
esac >"$hf_before/listed" || hf_die "cannot list the packages of the host"
sort -u "$hf_before/listed" >"$hf_before/packages" && rm -f "$hf_before/listed" ||
  hf_die "cannot write $hf_before/packages"
hf_digest_one "$hf_before/packages"
printf '%s\n' "packages $hf_digest" >"$hf_before/meta" || hf_die "cannot write $hf_before/meta"
"#;

// What both parts of apt share. dpkg asks nothing, keeps configuration files that were changed, and waits a minute for
// its lock, because unattended upgrades hold it for so long on a healthy host.
const APT: &str = r#"
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
apt_get() {
  apt-get -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=60 "$@"
}
listed() {
  dpkg-query -W -f '${binary:Package} ${Status}\n' | sort -u
}
going() {
  apt-get -s "$@" | awk '$1 == "Remv" || $1 == "Purg" { print $2 }'
}
others() {
  going "$@" | awk '
    BEGIN { while ((getline text < ENVIRON["ours"]) > 0) { sub(/:.*/, "", text); mine[text] = 1 } }
    { sub(/:.*/, ""); if (!($0 in mine)) printf " %s", $0 }'
}
"#;

const APT_INSTALL: &str = r#"
set -- /var/lib/apt/lists/*_Packages*
[ -e "$1" ] || apt_get -q update || hf_die "apt-get update failed and the host has no package lists"
apt_get -q --no-install-recommends install -- "$name"
code=$?
if [ "$code" -ne 0 ]; then
  if ! apt-cache show -- "$name" >/dev/null 2>&1; then
    hf_die "apt knows no package $name; if the package lists are old, run apt-get update first, as a script resource"
  fi
  hf_die "apt-get install $name ended with $code"
fi
listed >"$hf_before/now" && comm -13 "$hf_before/packages" "$hf_before/now" |
  awk '$NF == "installed" { print $1 }' >>"$hf_before/added" || hf_die "cannot write $hf_before/added"
rm -f "$hf_before/now"
"#;

// Known by now and needed by nothing else: purged, except what had left configuration behind before we came.
const APT_UNDO_INSTALL: &str = r#"
[ -e "$hf_before/packages" ] || hf_die "what was installed before is lost: $hf_before/packages"
: >>"$hf_before/added"
dpkg-query -W -f '${binary:Package} ${Status}\n' | awk '$NF == "installed" { print $1 }' | sort -u >"$hf_before/now"
# dpkg names some with their architecture. The install may have died before it wrote down what it added.
export name
awk '{ bare = $0; sub(/:.*/, "", bare) } bare "" == ENVIRON["name"] "" || $0 "" == ENVIRON["name"] ""' \
  "$hf_before/now" >>"$hf_before/added"
sort -u "$hf_before/added" | comm -12 - "$hf_before/now" >"$hf_before/ours" || hf_die "cannot write $hf_before/ours"
ours=$hf_before/ours
export ours
set -f
set -- $(cat "$ours")
[ "$#" -gt 0 ] || exit 0
blocked=$(others remove -- "$@")
if [ -n "$blocked" ]; then
  printf '%s\n' "$name" >"$hf_before/ours"
  blocked=$(others remove -- "$name")
  if [ -n "$blocked" ]; then
    hf_left "package $name is kept: needed by$blocked"
    exit 0
  fi
  hf_left "packages that came with $name are kept: others need them by now"
  set -- "$name"
fi
residual=
for package; do
  if grep -F -x -e "$package deinstall ok config-files" "$hf_before/packages" >/dev/null; then
    residual="$residual $package"
  fi
done
if [ -n "$residual" ]; then
  apt_get -q remove -- $residual || hf_die "apt-get remove$residual failed"
fi
purge=
for package; do
  case " $residual " in
  *" $package "*) ;;
  *) purge="$purge $package" ;;
  esac
done
[ -z "$purge" ] || apt_get -q purge -- $purge || hf_die "apt-get purge$purge failed"
"#;

const APT_REMOVE: &str = r#"
printf '%s\n' "$name" >"$hf_before/ours"
ours=$hf_before/ours
export ours
blocked=$(others remove -- "$name")
[ -z "$blocked" ] || hf_die "removing $name would remove$blocked too; declare those absent first"
apt_get -q remove -- "$name" || hf_die "apt-get remove $name failed"
"#;

const APT_UNDO_REMOVE: &str = r#"
if [ "$was_installed" = yes ]; then
  apt_get -q --no-install-recommends --allow-downgrades install -- "$name=$was_version" ||
    apt_get -q --no-install-recommends install -- "$name" || hf_die "apt-get install $name failed"
fi
"#;

// yum knows the same words; weak dependencies came with dnf.
const DNF: &str = r#"
if hf_have dnf; then
  dnf_do() { dnf -y -q --setopt=install_weak_deps=False --setopt=clean_requirements_on_remove=False "$@"; }
else
  dnf_do() { yum -y -q --setopt=clean_requirements_on_remove=0 "$@"; }
fi
listed() {
  rpm -qa --qf '%{NAME}.%{ARCH} install ok installed\n' | sort -u
}
"#;

const DNF_INSTALL: &str = r#"
dnf_do install "$name" || hf_die "dnf install $name failed; is a repository that has it enabled?"
listed >"$hf_before/now" && comm -13 "$hf_before/packages" "$hf_before/now" |
  awk '{ print $1 }' >>"$hf_before/added" || hf_die "cannot write $hf_before/added"
rm -f "$hf_before/now"
"#;

const DNF_UNDO_INSTALL: &str = r#"
[ -e "$hf_before/packages" ] || hf_die "what was installed before is lost: $hf_before/packages"
: >>"$hf_before/added"
rpm -q --qf '%{NAME}.%{ARCH}\n' -- "$name" 2>/dev/null | grep -F -v ' ' >>"$hf_before/added"
listed | awk '{ print $1 }' >"$hf_before/now"
sort -u "$hf_before/added" | comm -12 - "$hf_before/now" >"$hf_before/ours" || hf_die "cannot write $hf_before/ours"
set -f
set -- $(cat "$hf_before/ours")
[ "$#" -gt 0 ] || exit 0
if ! rpm -e --test -- "$@" >/dev/null 2>&1; then
  if ! blocked=$(rpm -e --test -- "$name" 2>&1); then
    hf_left "package $name is kept: $(printf '%s' "$blocked" | tr '\n' ' ')"
    exit 0
  fi
  hf_left "packages that came with $name are kept: others need them by now"
  set -- "$name"
fi
dnf_do remove "$@" || hf_die "dnf remove $* failed"
"#;

const DNF_REMOVE: &str = r#"
blocked=$(rpm -e --test -- "$name" 2>&1) ||
  hf_die "removing $name would break others; declare those absent first: $(printf '%s' "$blocked" | tr '\n' ' ')"
dnf_do remove "$name" || hf_die "dnf remove $name failed"
"#;

const DNF_UNDO_REMOVE: &str = r#"
if [ "$was_installed" = yes ]; then
  dnf_do install "$name-$was_version" || dnf_do install "$name" || hf_die "dnf install $name failed"
fi
"#;
