//! `user`: a user account.

use super::compare::{Wanted, form, nothing_said, or_empty, same_form};
use super::undoing::{Undoing, fields_back};
use super::{Claim, ClaimKind, Collect, Comparison, Ensure, Lifecycle, Unsupported};
use crate::address::ResourceType;
use crate::observation::{Attributes, Platform};
use crate::sh::Sh;
use serde::{Deserialize, Serialize};

/// A user account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Whether it shall be there.
    pub ensure: Ensure,
    /// User number.
    pub uid: Option<u32>,
    /// Primary group.
    pub group: Option<String>,
    /// Supplementary groups: exactly these.
    pub groups: Option<Vec<String>>,
    /// Home directory.
    pub home: Option<String>,
    /// Login shell.
    pub shell: Option<String>,
    /// GECOS field.
    pub comment: Option<String>,
    /// A system account when it is made.
    pub system: bool,
}

impl User {
    /// The supplementary groups as the probe reports them: sorted by bytes, without the primary one.
    fn supplementary(&self) -> Option<String> {
        let mut groups: Vec<&str> = self
            .groups
            .as_ref()?
            .iter()
            .map(String::as_str)
            .filter(|group| Some(*group) != self.group.as_deref())
            .collect();
        groups.sort_unstable();
        groups.dedup();
        Some(groups.join(","))
    }

    /// Naming the groups takes processes, so they are reported where they matter: for one that is to go, they have to be known
    /// to bring it back.
    fn with_groups(&self) -> bool {
        self.groups.is_some() || self.ensure == Ensure::Absent
    }

    fn wanted_attributes(&self) -> Wanted {
        if self.ensure == Ensure::Absent {
            return Wanted::one("exists", "no");
        }
        Wanted::one("exists", "yes")
            .maybe("uid", self.uid.map(|uid| uid.to_string()))
            .maybe("group", self.group.as_deref())
            .maybe("home", self.home.as_deref())
            .maybe("shell", self.shell.as_deref())
            .maybe("comment", self.comment.as_deref())
            .maybe("groups", self.supplementary())
    }

    /// Variables of apply and undo: `given` lists the attributes to set, since an empty one may be meant.
    fn variables(&self, values: &Attributes) -> Sh {
        let value = |key| values.get(key).unwrap_or_default();
        let given: Vec<&str> = ["uid", "group", "home", "shell", "comment", "groups"]
            .into_iter()
            .filter(|key| values.get(key).is_some())
            .collect();
        Sh::new()
            .set("name", &self.name)
            .set("uid", value("uid"))
            .set("group", value("group"))
            .set("groups", value("groups"))
            .set("home", value("home"))
            .set("shell", value("shell"))
            .set("comment", value("comment"))
            .set("given", &format!(" {} ", given.join(" ")))
            .set("system", if self.system { "yes" } else { "" })
    }

    fn desired(&self) -> Attributes {
        let mut attributes = Vec::new();
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                attributes.push((key.to_owned(), value));
            }
        };
        add("uid", self.uid.map(|uid| uid.to_string()));
        add("group", self.group.clone());
        add("groups", self.supplementary());
        add("home", self.home.clone());
        add("shell", self.shell.clone());
        add("comment", self.comment.clone());
        Attributes(attributes)
    }
}

impl Lifecycle for User {
    fn kind(&self) -> ResourceType {
        ResourceType::User
    }

    fn collect(&self) -> Vec<Collect> {
        vec![Collect::User(self.name.clone())]
    }

    fn probe(&self) -> Sh {
        let with_groups = if self.with_groups() { "yes" } else { "no" };
        Sh::new().call(
            "hf_probe_user",
            [self.name.as_str(), with_groups, form(self.group.as_deref())],
        )
    }

    fn compare(&self, observed: &Attributes) -> Comparison {
        match (self.ensure, observed.get("exists")) {
            (_, None) => nothing_said(),
            (Ensure::Present, Some("no")) => Comparison::Absent,
            (Ensure::Absent, Some("yes")) if observed.get("uid") == Some("0") => Comparison::Refused(format!(
                "user {} has the number 0; Holdfast removes no root account",
                self.name
            )),
            _ => self.wanted_attributes().compare(observed),
        }
    }

    fn wanted(&self, _observed: &Attributes) -> Vec<String> {
        self.wanted_attributes().lines()
    }

    fn capture(&self) -> Sh {
        Sh::new()
            .set("name", &self.name)
            .set("home", or_empty(self.home.as_deref()))
            .code(CAPTURE)
    }

    fn apply(&self, platform: &Platform) -> Result<Sh, Unsupported> {
        if !platform.root {
            return Err(Unsupported::NeedsRoot("user"));
        }
        Ok(self.variables(&self.desired()).code(LIBRARY).code(match self.ensure {
            Ensure::Present => APPLY_PRESENT,
            Ensure::Absent => APPLY_ABSENT,
        }))
    }

    fn restore(&self, before: &Attributes, put: &Attributes, platform: &Platform) -> Result<Sh, Unsupported> {
        if !platform.root {
            return Err(Unsupported::NeedsRoot("user"));
        }
        if before.get("exists") != Some("yes") {
            return Ok(self.variables(before).code(LIBRARY).code(UNDO_CREATE));
        }
        if put.get("exists") == Some("no") {
            return Ok(self.variables(before).code(LIBRARY).code(UNDO_ABSENT));
        }
        // Only what Holdfast set is set back, and only where it still shows.
        let ours = before.0.iter().filter(|(key, _)| put.get(key).is_some());
        let ours = Attributes(ours.cloned().collect());
        let put = |key| put.get(key).unwrap_or_default();
        let with_groups = if put("groups").is_empty() && ours.get("groups").is_none() {
            "no"
        } else {
            "yes"
        };
        Ok(self
            .variables(&ours)
            .set("put_uid", put("uid"))
            .set("put_group", put("group"))
            .set("put_groups", put("groups"))
            .set("put_home", put("home"))
            .set("put_shell", put("shell"))
            .set("put_comment", put("comment"))
            .set("with_groups", with_groups)
            .set("form", form(Some(put("group"))))
            .code(LIBRARY)
            .code(UNDO_CHANGE))
    }

    fn restored(&self, before: &Attributes, put: &Attributes) -> Vec<String> {
        // An account that came or went takes its home, its group or its password along: these may be half done where it
        // shows as before.
        if before.get("exists") != put.get("exists") {
            return Vec::new();
        }
        let mut fields = vec!["uid", "home", "shell", "comment"];
        // What the probe is not asked for by now, or not in this form, can't be waited for.
        if same_form(self.group.as_deref(), before.get("group")) {
            fields.push("group");
        }
        if self.with_groups() {
            fields.push("groups");
        }
        Wanted::default()
            .matching(before, &["exists"])
            .matching_put(before, put, &fields)
            .lines()
    }

    fn spares(&self) -> Option<ClaimKind> {
        Some(ClaimKind::Group)
    }

    fn describe(&self, found: &Attributes) -> String {
        match found.get("exists") {
            None => "nothing is known of it".to_owned(),
            Some("yes") => {
                let known = ["uid", "group", "groups", "home", "shell"].iter().filter_map(|key| {
                    let value = found.get(key).filter(|value| !value.is_empty())?;
                    Some(format!("{key} {value}"))
                });
                known.fold("there".to_owned(), |words, one| format!("{words}, {one}"))
            }
            Some(_) => "absent".to_owned(),
        }
    }

    fn undoing(&self, before: &Attributes, put: &Attributes) -> Undoing {
        match (before.get("exists"), put.get("exists")) {
            (Some("yes"), Some("no")) => {
                Undoing::restores("makes the account again, with the numbers, groups and password that it had")
            }
            (Some("yes"), _) => fields_back(before, put, &["uid", "group", "groups", "home", "shell", "comment"]),
            (_, Some("no")) => Undoing::nothing(),
            (_, _) => {
                Undoing::removes("removes the account").leaving("its home stays if there is something in it by then")
            }
        }
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::whole(ClaimKind::User, &self.name)]
    }

    fn identity(&self) -> String {
        self.ensure.after(&self.name)
    }
}

// The lines of the account files (0600, as all of *before*), whether a group of its name was there, and what stood at
// the home. Without shadow (not root) the password can't come back.
const CAPTURE: &str = r#"
export name
for database in passwd shadow group gshadow; do
  [ -r "/etc/$database" ] || continue
  awk -F: '
    $1 "" == ENVIRON["name"] "" { print; next }
    FILENAME ~ /group$|gshadow$/ && index("," $4 ",", "," ENVIRON["name"] ",") { print }' \
    "/etc/$database" >"$hf_before/$database" || hf_die "cannot write $hf_before/$database"
done
if [ -z "$home" ]; then
  home=$(useradd -D 2>/dev/null | sed -n 's/^HOME=//p')
  home=${home:-/home}/$name
fi
hf_stat_one "$home"
hf_digest_one "$hf_before/passwd"
printf '%s\n' "home $hf_type" "home_at $home" "passwd $hf_digest" >"$hf_before/meta" || hf_die "cannot write $hf_before/meta"
"#;

const LIBRARY: &str = r#"
has() {
  case $given in
  *" $1 "*) return 0 ;;
  esac
  return 1
}
account() {
  if hf_have getent; then
    getent "$1" "$2" >/dev/null 2>&1
  else
    grep -e "^$2:" "/etc/$1" >/dev/null
  fi
}
change() {
  hf_have usermod || hf_die "the host has no usermod"
  set --
  ! has uid || set -- "$@" -u "$uid"
  ! has group || set -- "$@" -g "$group"
  ! has groups || set -- "$@" -G "$groups"
  ! has home || set -- "$@" -d "$home"
  ! has shell || set -- "$@" -s "$shell"
  ! has comment || set -- "$@" -c "$comment"
  [ "$#" -eq 0 ] || usermod "$@" -- "$name" || hf_die "usermod $name failed; does it have running processes?"
}
remove() {
  hf_have userdel || hf_die "the host has no userdel"
  busy=$(ps -u "$name" -o pid= 2>/dev/null | tr '\n' ' ')
  [ -z "$busy" ] || hf_die "user $name has running processes: $busy; stop them first"
  userdel -- "$name" || hf_die "userdel $name failed"
}
# userdel takes a group of the same name along; one that was there before comes back. It leaves the group that useradd made
# if that is not the account's own any more.
group_back() {
  if [ -e "$hf_before/own_group" ] && account group "$name"; then
    case " ${spared:-} " in
    *" $name "*) return 0 ;;
    esac
    hf_forget
    hf_one group hf_group_many "$name"
    if [ -n "${hf_found##*:}" ] || ! groupdel -- "$name"; then
      hf_left "group $name is kept: there is somebody in it"
    fi
    return 0
  fi
  own_group=
  if grep -e "^$name:" "$hf_before/group" >/dev/null 2>&1; then
    own_group=$(grep -e "^$name:" "$hf_before/group")
  fi
  if [ -n "$own_group" ] && ! account group "$name"; then
    gid=${own_group#*:*:}
    groupadd -g "${gid%%:*}" -- "$name" || hf_die "cannot put group $name back"
  fi
}
"#;

const APPLY_PRESENT: &str = r#"
if account passwd "$name"; then
  change
else
  hf_have useradd || hf_die "the host has no useradd"
  set --
  [ -z "$system" ] || set -- "$@" -r
  # A system account gets no home; for others useradd makes one from /etc/skel.
  if [ -n "$system" ]; then set -- "$@" -M; else set -- "$@" -m; fi
  ! has uid || set -- "$@" -u "$uid"
  if has group; then
    set -- "$@" -g "$group"
  elif account group "$name"; then
    set -- "$@" -g "$name"
  fi
  ! has groups || [ -z "$groups" ] || set -- "$@" -G "$groups"
  ! has home || set -- "$@" -d "$home"
  ! has shell || set -- "$@" -s "$shell"
  ! has comment || set -- "$@" -c "$comment"
  if ! account group "$name"; then { :; } >"$hf_before/own_group" || hf_die "cannot write in $hf_before"; fi
  useradd "$@" -- "$name" || hf_die "useradd $name failed"
fi
"#;

const APPLY_ABSENT: &str = r#"
if account passwd "$name"; then remove; fi
"#;

// The home that useradd made goes if nothing but the skeleton is in it; one that was there before stays. An undo that was cut
// off goes on from wherever it came to.
const UNDO_CREATE: &str = r#"
hf_meta home; was_home=$hf_value
hf_meta home_at; home=$hf_value
if account passwd "$name"; then remove; fi
group_back
spool=/var/mail/$name
[ ! -f "$spool" ] || [ -s "$spool" ] || rm -f "$spool"
hf_stat_one "$home"
if [ "$hf_type,$was_home" = directory,absent ]; then
  if hf_empty "$home"; then
    rmdir "$home" || hf_left "home $home is kept: it could not be removed"
  elif diff -r /etc/skel "$home" >/dev/null 2>&1; then
    rm -rf "$home" || hf_left "home $home is kept: it could not be removed"
  else
    hf_left "home $home is kept: there is something in it"
  fi
fi
"#;

// What a person set since stays.
const UNDO_CHANGE: &str = r#"
if account passwd "$name"; then
  shown=$(hf_attr() { hf_say "$1 $2"; }; hf_probe_user "$name" "$with_groups" "$form")
  for key in uid group groups home shell comment; do
    has "$key" || continue
    eval "was=\$$key put=\$put_$key"
    now=
    case "$hf_nl$shown$hf_nl" in
    *"$hf_nl$key "*)
      now=$hf_nl$shown$hf_nl
      now=${now#*"$hf_nl$key "}
      now=${now%%"$hf_nl"*}
      ;;
    esac
    [ "$now" != "$put" ] || [ "$now" = "$was" ] || continue
    given=${given%%" $key "*}" "${given#*" $key "}
    [ "$now" = "$was" ] || hf_left "the $key of user $name is $now, which others set: it is kept; it was $was before"
  done
  change
else
  hf_left "user $name is gone, which others removed: it is not made again"
fi
"#;

// The account with the numbers it had, so that its files are its own again; the home was never taken away. The
// password's hash goes in by stdin.
const UNDO_ABSENT: &str = r#"
if account passwd "$name" && [ ! -e "$hf_before/making" ]; then
  hf_left "user $name is there again, made by others: it is kept"
else
  [ -r "$hf_before/passwd" ] || hf_die "what was there before is lost: $hf_before/passwd"
  IFS=: read -r _ _ _ gid _ <"$hf_before/passwd"
  if ! account group "$group"; then
    groupadd -o -g "$gid" -- "$group" || hf_die "cannot put group $group back"
  fi
  { :; } >"$hf_before/making" || hf_die "cannot write in $hf_before"
  set -- -M -N -o -u "$uid" -g "$gid" -d "$home" -s "$shell" -c "$comment"
  [ -z "$groups" ] || set -- "$@" -G "$groups"
  account passwd "$name" || useradd "$@" -- "$name" || hf_die "useradd $name failed"
  if [ -s "$hf_before/shadow" ]; then
    IFS=: read -r _ hash changed least most warn inactive expires _ <"$hf_before/shadow"
    (umask 077; hf_say "$name:$hash" >"$hf_before/hash") && chpasswd -e <"$hf_before/hash" ||
      hf_left "the password of $name is not put back"
    rm -f "$hf_before/hash"
    if hf_have chage; then
      chage -d "${changed:--1}" -m "${least:--1}" -M "${most:--1}" -W "${warn:--1}" -I "${inactive:--1}" \
        -E "${expires:--1}" "$name" || hf_left "the password ages of $name are not put back"
    fi
  fi
fi
"#;
