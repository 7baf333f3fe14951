//! The sh of packages for rpm, dnf and yum.

/// What all parts share. yum knows the same words; weak dependencies came with dnf. `$hf_before/then` is there as long
/// as an install may be half-way: the list from right before it.
pub(super) const LIBRARY: &str = r#"
if hf_have dnf; then
  dnf_do() { dnf -y -q --setopt=install_weak_deps=False --setopt=clean_requirements_on_remove=False "$@"; }
else
  dnf_do() { yum -y -q --setopt=clean_requirements_on_remove=0 "$@"; }
fi
listed() {
  rpm -qa --qf '%{NAME}.%{ARCH} install ok installed\n' | sort -u
}
owned() {
  rpm -ql -- "$@" 2>/dev/null
}
is_there() {
  rpm -q -- "$1" >/dev/null 2>&1
}
# Notes what the last install brought.
account() {
  [ -e "$hf_before/then" ] || return 0
  listed | comm -13 "$hf_before/then" - | awk '{ print $1 }' >>"$hf_before/added" || hf_die "cannot write $hf_before/added"
  rm -f "$hf_before/then"
}
# What people asked for by name, whoever brought it first. No answer is not "nothing".
wanted_by_people() {
  if hf_have dnf; then
    dnf -C -q repoquery --userinstalled --qf '%{name}.%{arch}'
  else
    grep -l '^user$' /var/lib/yum/yumdb/*/*/reason 2>/dev/null | sed 's:/reason$::; s:.*/[0-9a-f]*-::; s:-[^-]*-[^-]*-\([^-]*\)$:.\1:'
  fi
}
# What goes with an undone install: what we brought, nobody asked for since, and rpm lets go together. Sets going,
# strangers (in rpm's words: not ours, and in the way) and kept (ours, and needed by others by now).
foresee() {
  going= kept= strangers=
  people=$(wanted_by_people) || return 1
  own=$(rpm -q --qf '%{NAME}.%{ARCH}\n' -- "$name" 2>/dev/null | grep -v ' ')
  now=$(rpm -qa --qf '%{NAME}.%{ARCH}\n')
  mine=$({
    printf '%s\n' $own
    people=$people now=$now spared=$spared awk 'BEGIN {
        n = split(ENVIRON["now"], list); for (i = 1; i <= n; i++) there[list[i]] = 1
        n = split(ENVIRON["people"], list); for (i = 1; i <= n; i++) delete there[list[i]]
        n = split(ENVIRON["spared"], list); for (i = 1; i <= n; i++) spare[list[i]] = 1
      }
      { bare = $0; sub(/\.[^.]*$/, "", bare) }
      $0 in there && !($0 in spare) && !(bare in spare)' "$hf_before/added" /dev/null
  } | sort -u)
  if [ -n "$own" ]; then
    # With all that is ours it may go: what is in the way then belongs to others.
    strangers=$(rpm -e --test -- $mine 2>&1 | own="$own" awk '/ is needed by \(installed\) / { print $NF }' | sort -u | tr '\n' ' ')
  fi
  going=$mine
  while [ -n "$going" ] && ! said=$(rpm -e --test -- $going 2>&1); do
    needed=$(printf '%s\n' "$said" | sed -n 's/^[[:space:]]*\([^ ]*\).* is needed by (installed) .*/\1/p' | while read -r what; do
      rpm -q --whatprovides --qf '%{NAME}.%{ARCH}\n' -- "$what" 2>/dev/null
    done)
    left_over=$(printf '%s\n' $going | needed=$needed awk 'BEGIN { n = split(ENVIRON["needed"], list); for (i = 1; i <= n; i++) no[list[i]] = 1 } !($0 in no)')
    [ "$left_over" != "$going" ] || left_over=
    going=$left_over
  done
  kept=$(printf '%s\n' $mine | own=$own going=$going awk 'BEGIN {
      n = split(ENVIRON["own"], list); for (i = 1; i <= n; i++) no[list[i]] = 1
      n = split(ENVIRON["going"], list); for (i = 1; i <= n; i++) no[list[i]] = 1
    } !($0 in no)')
  for package in $own; do
    case " $(printf '%s ' $going)" in
    *" $package "*) strangers= ;;
    *) going= ;;
    esac
  done
}
foresee_absent() {
  kept=
  going=$(rpm -q --qf '%{NAME}.%{ARCH}\n' -- "$name" 2>/dev/null | grep -v ' ')
  strangers=$(rpm -e --test -- "$name" 2>&1 | awk '/ is needed by / { print $NF }' | sort -u | tr '\n' ' ')
}
"#;

pub(super) const INSTALL: &str = r#"
account
was_there=
if is_there "$name"; then was_there=yes; fi
listed >"$hf_before/then.new" && mv "$hf_before/then.new" "$hf_before/then" || hf_die "cannot write $hf_before/then"
dnf_do install "$name" || hf_die "dnf install $name failed; is a repository that has it enabled?"
account
# Of what is there already dnf does not note that it is wanted for its own sake, and may take it away with what needed it.
if [ -n "$was_there" ] && hf_have dnf; then
  dnf -q -y mark install "$name" >/dev/null 2>&1 || dnf -q -y mark user "$name" >/dev/null 2>&1
fi
let_go "$name"
"#;

pub(super) const UNDO_INSTALL: &str = r#"
[ -e "$hf_before/packages" ] || hf_die "what was installed before is lost: $hf_before/packages"
account
foresee || hf_die "dnf can't tell which packages people asked for"
if [ -n "$strangers" ]; then
  hand_over $own $(cat "$hf_before/added" 2>/dev/null)
  dnf -q -y mark remove "$name" >/dev/null 2>&1
  hf_left "package $name is kept: needed by ${strangers% }"
  exit 0
fi
left=
if [ -n "$going" ]; then
  said=$(dnf_do remove $going 2>&1)
  code=$?
  printf '%s\n' "$said"
  [ "$code" -eq 0 ] || hf_die "dnf remove failed"
  let_go $going
  left=$(printf '%s\n' "$said" | sed -n 's/^warning: \(.* saved as .*\)/\1/p' | tr '\n' ' ')
fi
if [ -n "$kept" ]; then
  hand_over $kept
  left="${left}came with $name, and is kept, since others need it or it is declared by itself:$(printf ' %s' $kept)"
fi
[ -z "$left" ] || hf_left "$left"
"#;

pub(super) const REMOVE: &str = r#"
foresee_absent
[ -z "$strangers" ] || hf_die "removing $name would break ${strangers}; declare those absent first"
dnf_do remove "$name" || hf_die "dnf remove $name failed"
"#;

pub(super) const UNDO_REMOVE: &str = r#"
dnf_do install "$name-$was_version" || dnf_do install "$name" || hf_die "dnf install $name failed"
"#;
