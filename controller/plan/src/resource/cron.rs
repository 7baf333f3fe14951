//! `cron`: a line in a user's crontab, marked with the resource's name.
//!
//! The mark is a line of its own above it, `# holdfast: NAME`, because cron hands what follows a command to sh.

use super::compare::{Wanted, nothing_said, or_empty};
use super::undoing::Undoing;
use super::{Claim, ClaimKind, Collect, Comparison, Ensure, Lifecycle, Unsupported};
use crate::address::ResourceType;
use crate::observation::{Attributes, Platform};
use crate::sh::Sh;
use serde::{Deserialize, Serialize};

/// A line in a user's crontab, marked with the resource's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cron {
    /// The name in the mark.
    pub name: String,
    /// Whether it shall be there.
    pub ensure: Ensure,
    /// Whose crontab; `None`: of the user that steps run as.
    pub user: Option<String>,
    /// Five cron fields or `@word`.
    pub schedule: String,
    /// The command, one line.
    pub command: String,
}

impl Cron {
    fn line(&self) -> String {
        format!("{} {}", self.schedule, self.command)
    }

    fn wanted_attributes(&self) -> Wanted {
        match self.ensure {
            Ensure::Absent => Wanted::one("exists", "no"),
            Ensure::Present => Wanted::one("exists", "yes").and("line", self.line()),
        }
    }

    fn change(&self, line: Option<&str>, platform: &Platform) -> Result<Sh, Unsupported> {
        if self.user.is_some() && !platform.root {
            return Err(Unsupported::NeedsRoot("crontab of another user"));
        }
        Ok(self
            .variables()
            .set("line", or_empty(line))
            .set("keep", if line.is_some() { "yes" } else { "no" })
            .code(EDIT))
    }

    fn variables(&self) -> Sh {
        Sh::new()
            .set("user", or_empty(self.user.as_deref()))
            .set("mark", &format!("# holdfast: {}", self.name))
            .code(LIBRARY)
    }
}

impl Lifecycle for Cron {
    fn kind(&self) -> ResourceType {
        ResourceType::Cron
    }

    fn collect(&self) -> Vec<Collect> {
        vec![Collect::Crontab(self.user.clone().unwrap_or_default())]
    }

    fn probe(&self) -> Sh {
        Sh::new().call("hf_probe_cron", [or_empty(self.user.as_deref()), self.name.as_str()])
    }

    fn compare(&self, observed: &Attributes) -> Comparison {
        if observed.get("crontab") == Some("missing") {
            return Comparison::CannotTell("no crontab command".to_owned());
        }
        match (self.ensure, observed.get("exists")) {
            (_, None) => nothing_said(),
            (Ensure::Present, Some("no")) => Comparison::Absent,
            _ => self.wanted_attributes().compare(observed),
        }
    }

    fn wanted(&self, _observed: &Attributes) -> Vec<String> {
        self.wanted_attributes().lines()
    }

    fn capture(&self) -> Sh {
        self.variables().code(CAPTURE)
    }

    fn apply(&self, platform: &Platform) -> Result<Sh, Unsupported> {
        match self.ensure {
            Ensure::Present => self.change(Some(&self.line()), platform),
            Ensure::Absent => self.change(None, platform),
        }
    }

    fn restore(&self, before: &Attributes, _put: &Attributes, platform: &Platform) -> Result<Sh, Unsupported> {
        let line = before.get("line").filter(|_| before.get("exists") == Some("yes"));
        Ok(self.change(line, platform)?.code(DROP_IF_EMPTY))
    }

    fn restored(&self, _before: &Attributes, _put: &Attributes) -> Vec<String> {
        // Even if the line shows as before, an empty crontab may have to go.
        Vec::new()
    }

    fn describe(&self, found: &Attributes) -> String {
        match (found.get("exists"), found.get("line")) {
            (None, _) => "nothing is known of it".to_owned(),
            (Some("yes"), Some(line)) => format!("there: {line}"),
            (Some("yes"), None) => "there".to_owned(),
            (Some(_), _) => "absent".to_owned(),
        }
    }

    fn undoing(&self, before: &Attributes, put: &Attributes) -> Undoing {
        let same = |key| before.get(key) == put.get(key);
        match before.get("exists") {
            Some("yes") if same("exists") && same("line") => Undoing::nothing(),
            Some("yes") => Undoing::restores("puts back the line that was there"),
            _ if same("exists") => Undoing::nothing(),
            _ => Undoing::removes("takes its line out of the crontab"),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::part(ClaimKind::Cron, or_empty(self.user.as_deref()), &self.name)]
    }

    fn identity(&self) -> String {
        let whose = self.user.as_deref().map_or(String::new(), |user| format!(" of {user}"));
        self.ensure.after(&format!("{}{whose}", self.name))
    }
}

// What can't be read is not taken for empty: people's jobs would be replaced by ours.
const LIBRARY: &str = r#"
readable() {
  [ "$hf_crontab_is" != unreadable ] || hf_die "the crontab of ${user:-this user} can't be read: $hf_crontab_why; nothing was changed"
}
"#;

// The whole crontab is kept too, for a person; the undo takes out its own two lines and leaves the others alone.
const CAPTURE: &str = r#"
hf_crontab_file "$user" "$hf_before/crontab"
readable
was=yes
[ "$hf_crontab_is" = some ] || was=no
hf_digest_one "$hf_before/crontab"
printf '%s\n' "crontab $was" "digest $hf_digest" >"$hf_before/meta" || hf_die "cannot write $hf_before/meta"
"#;

// The line under the mark is replaced where it stands, or both are taken out, or both are appended. Before the new crontab goes
// in, both are stripped of the two lines and have to be equal: whatever went wrong, nobody else's line is lost.
const EDIT: &str = r#"
hf_crontab_file "$user" "$hf_before/now"
readable
export mark line keep
awk '
  under { under = 0; if (ENVIRON["keep"] == "yes") print ENVIRON["line"]; next }
  $0 "" == ENVIRON["mark"] "" { under = 1; found = 1; if (ENVIRON["keep"] == "yes") print; next }
  { print }
  END {
    if (ENVIRON["keep"] != "yes") exit
    if (!found) print ENVIRON["mark"]
    if (!found || under) print ENVIRON["line"]
  }' "$hf_before/now" >"$hf_before/new" || hf_die "cannot write $hf_before/new"
for half in now new; do
  awk 'under { under = 0; next } $0 "" == ENVIRON["mark"] "" { under = 1; next } { print }' "$hf_before/$half" \
    >"$hf_before/$half.others" || hf_die "cannot write $hf_before/$half.others"
done
cmp -s "$hf_before/now.others" "$hf_before/new.others" ||
  hf_die "the new crontab would lose lines of others; is $hf_before full?"
if ! cmp -s "$hf_before/now" "$hf_before/new"; then
  hf_crontab "$user" "$hf_before/new" || hf_die "crontab refused the new crontab${user:+ of $user}"
fi
rm -f "$hf_before/now" "$hf_before/new" "$hf_before/now.others" "$hf_before/new.others"
"#;

// Whichever of our lines is the last to leave, and whenever its undo was cut off: a crontab that holds nothing any more goes,
// unless people had an empty one.
const DROP_IF_EMPTY: &str = r#"
hf_meta crontab
if [ "$hf_value" = no ] || [ -s "$hf_before/crontab" ]; then
  hf_crontab_one "$user"
  if [ "$hf_crontab_is" = some ] && [ -z "$hf_crontab_text" ]; then
    hf_crontab "$user" -r 2>/dev/null || :
  fi
fi
"#;
