//! `group`: a group.

use super::compare::{Wanted, nothing_said};
use super::undoing::{Undoing, fields_back};
use super::{Claim, ClaimKind, Collect, Comparison, Ensure, Lifecycle, Unsupported};
use crate::address::ResourceType;
use crate::observation::{Attributes, Platform};
use crate::sh::Sh;
use serde::{Deserialize, Serialize};

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Whether it shall be there.
    pub ensure: Ensure,
    /// Group number.
    pub gid: Option<u32>,
    /// A system group when it is made.
    pub system: bool,
}

impl Group {
    fn wanted_attributes(&self) -> Wanted {
        match self.ensure {
            Ensure::Absent => Wanted::one("exists", "no"),
            Ensure::Present => Wanted::one("exists", "yes").maybe("gid", self.gid.map(|gid| gid.to_string())),
        }
    }

    fn change(&self, gid: &str, platform: &Platform, part: &'static str) -> Result<Sh, Unsupported> {
        if !platform.root {
            return Err(Unsupported::NeedsRoot("group"));
        }
        Ok(Sh::new()
            .set("name", &self.name)
            .set("gid", gid)
            .set("system", if self.system { "yes" } else { "" })
            .code(LIBRARY)
            .code(part))
    }
}

impl Lifecycle for Group {
    fn kind(&self) -> ResourceType {
        ResourceType::Group
    }

    fn collect(&self) -> Vec<Collect> {
        vec![Collect::Group(self.name.clone())]
    }

    fn probe(&self) -> Sh {
        Sh::new().call("hf_probe_group", [self.name.as_str()])
    }

    fn compare(&self, observed: &Attributes) -> Comparison {
        match (self.ensure, observed.get("exists")) {
            (_, None) => nothing_said(),
            (Ensure::Present, Some("no")) => Comparison::Absent,
            (Ensure::Absent, Some("yes")) if observed.get("gid") == Some("0") => Comparison::Refused(format!(
                "group {} has the number 0; Holdfast does not remove it",
                self.name
            )),
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
        let gid = self.gid.map(|gid| gid.to_string()).unwrap_or_default();
        self.change(
            &gid,
            platform,
            match self.ensure {
                Ensure::Present => "make",
                Ensure::Absent => "remove",
            },
        )
    }

    fn restore(&self, before: &Attributes, put: &Attributes, platform: &Platform) -> Result<Sh, Unsupported> {
        let gid = before.get("gid").unwrap_or_default();
        let part = match (before.get("exists"), put.get("exists")) {
            (Some("yes"), Some("no")) => "make\nmembers",
            (Some("yes"), _) => "gid_back",
            _ => "remove",
        };
        let put = put.get("gid").unwrap_or_default();
        Ok(Sh::new().set("put", put).then(&self.change(gid, platform, part)?))
    }

    fn restored(&self, before: &Attributes, put: &Attributes) -> Vec<String> {
        // Its members may be half done where it shows as before.
        if put.get("exists") == Some("no") {
            return Vec::new();
        }
        Wanted::default()
            .matching(before, &["exists"])
            .matching_put(before, put, &["gid"])
            .lines()
    }

    fn describe(&self, found: &Attributes) -> String {
        match (found.get("exists"), found.get("gid")) {
            (None, _) => "nothing is known of it".to_owned(),
            (Some("yes"), Some(gid)) => format!("there, gid {gid}"),
            (Some("yes"), None) => "there".to_owned(),
            (Some(_), _) => "absent".to_owned(),
        }
    }

    fn undoing(&self, before: &Attributes, put: &Attributes) -> Undoing {
        match (before.get("exists"), put.get("exists")) {
            (Some("yes"), Some("no")) => Undoing::restores("makes the group again, with its number and members")
                .leaving("members that are gone by then"),
            (Some("yes"), _) => fields_back(before, put, &["gid"]),
            (_, Some("no")) => Undoing::nothing(),
            (_, _) => Undoing::removes("removes the group"),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::whole(ClaimKind::Group, &self.name)]
    }

    fn identity(&self) -> String {
        self.ensure.after(&self.name)
    }
}

const CAPTURE: &str = r#"
export name
awk -F: '$1 "" == ENVIRON["name"] ""' /etc/group >"$hf_before/group" || hf_die "cannot write $hf_before/group"
hf_digest_one "$hf_before/group"
printf '%s\n' "group $hf_digest" >"$hf_before/meta" || hf_die "cannot write $hf_before/meta"
"#;

const LIBRARY: &str = r#"
account() {
  if hf_have getent; then
    getent group "$name" >/dev/null 2>&1
  else
    grep -e "^$name:" /etc/group >/dev/null
  fi
}
make() {
  set --
  [ -z "$gid" ] || set -- -g "$gid"
  hf_forget
  hf_one group hf_group_many "$name"
  case $hf_found in
  '!'*) hf_die "cannot tell whether there is a group $name: ${hf_found#?}" ;;
  esac
  if [ -n "$hf_found" ]; then
    hf_rest=${hf_found#*:*:}
    [ -z "$gid" ] || [ "${hf_rest%%:*}" = "$gid" ] || groupmod "$@" -- "$name" || hf_die "groupmod $name failed"
  else
    [ -z "$system" ] || set -- "$@" -r
    groupadd "$@" -- "$name" || hf_die "groupadd $name failed"
  fi
}
# The number goes back where ours still shows.
gid_back() {
  hf_forget
  hf_one group hf_group_many "$name"
  hf_rest=${hf_found#*:*:}
  hf_rest=${hf_rest%%:*}
  case ${hf_found:-gone},$hf_rest in
  '!'*) hf_die "cannot tell whether there is a group $name: ${hf_found#?}" ;;
  gone,*) hf_left "group $name is gone, which others removed: it is not made again" ;;
  *,"$gid") ;;
  *,"$put") groupmod -g "$gid" -- "$name" || hf_die "groupmod $name failed" ;;
  *) [ -z "$put" ] || hf_left "the number of group $name is $hf_rest, which others set: it is kept; it was $gid before" ;;
  esac
}
remove() {
  if account; then
    groupdel -- "$name" || hf_die "groupdel $name failed; is it the primary group of a user?"
  fi
}
members() {
  [ -r "$hf_before/group" ] || hf_die "what was there before is lost: $hf_before/group"
  IFS=: read -r _ _ _ list <"$hf_before/group"
  IFS=,
  for member in $list; do
    gpasswd -a "$member" "$name" >/dev/null || hf_left "$member is not put back into group $name"
  done
}
"#;
