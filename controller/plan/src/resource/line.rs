//! `line`: one line of a text file; other lines are not touched.
//!
//! A line is matched whole and byte by byte. What is captured is small: whether the file was there, whether it ended
//! with a newline, and at which numbers the line stood if it is to go. Undone in reverse, several lines of one file
//! give back its bytes.

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
        self.variables().code(CAPTURE)
    }

    fn apply(&self, _platform: &Platform) -> Result<Sh, Unsupported> {
        Ok(self.variables().code(match self.ensure {
            Ensure::Present => APPLY_PRESENT,
            Ensure::Absent => APPLY_ABSENT,
        }))
    }

    fn restore(&self, _before: &Attributes, _put: &Attributes, _platform: &Platform) -> Result<Sh, Unsupported> {
        Ok(self.variables().code(match self.ensure {
            Ensure::Present => UNDO_PRESENT,
            Ensure::Absent => UNDO_ABSENT,
        }))
    }

    fn restored(&self, before: &Attributes, _put: &Attributes) -> Vec<String> {
        Wanted::default().matching(before, &["line"]).lines()
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

const CAPTURE: &str = r#"
hf_stat_one "$path"
final=yes
numbers=
if [ "$hf_type" = file ]; then
hf_final "$path" || final=no
export line
numbers=$(awk '$0 "" == ENVIRON["line"] "" { n = n "," NR } END { print substr(n, 2) }' "$path") ||
  hf_die "cannot read $path"
fi
printf '%s\n' "type $hf_type" "final $final" "numbers $numbers" >"$hf_before/meta" ||
  hf_die "cannot write $hf_before/meta"
"#;

const APPLY_PRESENT: &str = r#"
hf_stat_one "$path"
if [ "$hf_type" = absent ]; then
  (export line; awk 'BEGIN { print ENVIRON["line"] }' </dev/null >"$hf_before/edited") ||
    hf_die "cannot write $hf_before/edited"
  hf_put "$hf_before/edited" "$path" '' '' ''
  rm -f "$hf_before/edited"
elif ! hf_has_line "$path" "$line"; then
  hf_edit "$path" '{ print } END { print ENVIRON["line"] }'
fi
"#;

// Keeps the last line as it is when it has no newline; if that one goes, the one before it keeps its newline.
const APPLY_ABSENT: &str = r#"
hf_stat_one "$path"
if [ "$hf_type" != absent ] && hf_has_line "$path" "$line"; then
  final=yes
  hf_final "$path" || final=no
  hf_edit "$path" '
    $0 "" == ENVIRON["line"] "" { gone = NR; next }
    { if (have) print last; last = $0; have = 1 }
    END { if (ENVIRON["final"] == "no" && gone != NR) ORS = ""; if (have) print last }'
fi
"#;

// Takes the last of the equal lines: it was appended. The newline that was appended with it goes too.
const UNDO_PRESENT: &str = r#"
hf_meta type; was_type=$hf_value
hf_meta final; final=$hf_value
hf_stat_one "$path"
if [ "$hf_type" = file ] && hf_has_line "$path" "$line"; then
  numbers=$(export line; awk '$0 "" == ENVIRON["line"] "" { n = NR } END { print n "," NR }' "$path")
  if [ "$was_type,$numbers" = absent,1,1 ]; then
    hf_gone "$path"
  else
    [ "${numbers%,*}" = "${numbers#*,}" ] || {
      final=yes
      hf_final "$path" || final=no
    }
    numbers=${numbers%,*}
    hf_edit "$path" '
      NR == ENVIRON["numbers"] + 0 { next }
      { if (have) print last; last = $0; have = 1 }
      END { if (ENVIRON["final"] == "no") ORS = ""; if (have) print last }'
    [ "$was_type" != absent ] || hf_left "$path is kept: there are lines in it that others wrote"
    ! hf_has_line "$path" "$line" || hf_left "the line stands in $path once more: others wrote it there too"
  fi
fi
"#;

// Puts the line back at the numbers where it stood, as far as the file still has so many lines.
const UNDO_ABSENT: &str = r#"
hf_meta type; was_type=$hf_value
hf_meta final; was_final=$hf_value
hf_meta numbers; numbers=$hf_value
hf_stat_one "$path"
if [ -z "$numbers" ]; then
  :
elif [ "$hf_type" = absent ]; then
  hf_left "$path is gone; the line that was in it is not put back"
elif ! hf_has_line "$path" "$line"; then
  final=yes
  hf_final "$path" || final=no
  export was_final
  hf_edit "$path" '
    function put(text, mine) { if (have) print last; last = text; have = 1; lastmine = mine; out++ }
    BEGIN { n = split(ENVIRON["numbers"], at, ","); i = 1 }
    { while (i <= n && at[i] == out + 1) { put(ENVIRON["line"], 1); i++ } put($0, 0) }
    END {
      while (i <= n) { put(ENVIRON["line"], 1); i++ }
      if (ENVIRON[lastmine ? "was_final" : "final"] == "no") ORS = ""
      if (have) print last
    }'
fi
"#;
