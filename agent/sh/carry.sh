# What belongs to a file beside its bytes, owner and mode: ACL, extended attributes, capabilities, SELinux label; and
# whether its bytes are on the disk. Where GNU cp is, it carries them; else the tools made for them; where neither can,
# the step ends before anything was changed.

# hf_more FILE: sets hf_more_found to what a plain copy would lose, as text that is equal for equal things.
hf_more() {
  hf_more_found=
  # shellcheck disable=SC2012
  case $(ls -ld "$1" 2>/dev/null) in
  ??????????+*)
    hf_more_found='an ACL'
    # What the mode says of owner, group and mask may well differ.
    ! hf_have getfacl || hf_more_found=$(getfacl -pcE "$1" 2>/dev/null | grep '^[a-z]*:[^:]')
    ;;
  esac
  if hf_have getfattr; then
    hf_more_found=$hf_more_found$(hf_more_attributes "$1")
  elif hf_have getcap; then
    hf_more_caps "$1"
    hf_more_found=$hf_more_found$hf_caps_of
  fi
}

# hf_more_attributes FILE: its attributes, those of the user and the capabilities, one a line.
hf_more_attributes() {
  getfattr -d -e hex -m '^user[.]|^security[.]capability$' --absolute-names "$1" 2>/dev/null | grep -v '^#'
}

# hf_more_caps FILE: sets hf_caps_of to its capabilities as setcap wants them. Older tools write ` = ` behind the name.
hf_more_caps() {
  hf_caps_of=$(getcap "$1" 2>/dev/null)
  hf_caps_of=${hf_caps_of#"$1"}
  hf_caps_of=${hf_caps_of#' = '}
  hf_caps_of=${hf_caps_of# }
}

# hf_copy FROM TO: a copy with all that belongs to the file, holes included. Fails if not all can be kept.
hf_copy() {
  cp --preserve=mode,ownership,timestamps,xattr "$1" "$2" 2>/dev/null && return 0
  # No GNU cp, or one that could not: then a plain copy will do if it loses nothing.
  rm -f "$2"
  cp -p "$1" "$2" && hf_same_more "$1" "$2"
}

# hf_same_more FROM TO: tells whether nothing was lost.
hf_same_more() {
  hf_more "$1"
  [ -n "$hf_more_found" ] || return 0
  hf_more_wanted=$hf_more_found
  hf_more "$2"
  [ "$hf_more_found" != "$hf_more_wanted" ] || return 0
  hf_say "the tools of this host cannot keep what belongs to $1 beside its bytes: $hf_more_wanted" >&2
  return 1
}

# hf_carry_access FROM TO MODE: gives TO the mode, the ACL and the SELinux label of FROM, before it has any bytes.
hf_carry_access() {
  if [ -e /sys/fs/selinux/enforce ] && hf_have chcon; then
    chcon --reference="$1" "$2" || return 1
  fi
  cp --attributes-only --preserve=mode "$1" "$2" 2>/dev/null && return 0
  chmod "$3" "$2" || return 1
  hf_have getfacl && hf_have setfacl || return 0
  # shellcheck disable=SC2012
  case $(ls -ld "$1") in
  ??????????+*) getfacl -p "$1" 2>/dev/null | setfacl --set-file=- "$2" ;;
  esac
}

# hf_carry_more FROM TO: gives TO the attributes and capabilities of FROM, after its bytes: a write takes them away.
hf_carry_more() {
  cp --attributes-only --preserve=xattr "$1" "$2" 2>/dev/null && return 0
  if hf_have getfattr && hf_have setfattr; then
    hf_carry_more_to=$2
    hf_lines hf_carry_one "$(hf_more_attributes "$1")"
  elif hf_have getcap && hf_have setcap; then
    hf_more_caps "$1"
    [ -z "$hf_caps_of" ] || setcap "$hf_caps_of" "$2" || return 1
  fi
  hf_same_more "$1" "$2"
}

hf_carry_one() {
  setfattr -n "${1%%=*}" -v "${1#*=}" "$hf_carry_more_to"
}

# hf_label FILE PATH: a new file gets the SELinux label of its place.
hf_label() {
  [ -e /sys/fs/selinux/enforce ] && hf_have matchpathcon && hf_have chcon || return 0
  hf_label_is=$(matchpathcon -n "$2" 2>/dev/null) && chcon "$hf_label_is" "$1" 2>/dev/null
  return 0
}

# hf_sync PATH...: onto the disk, before anything rests on it: a rename that outlives a power cut before the bytes do
# leaves an empty file. Where sync takes no names it would write out every disk of the host, and hang on a dead one.
hf_sync() {
  if [ -z "${hf_sync_can:-}" ]; then
    hf_sync_can=no
    if [ -z "${hf_job:-}" ] || ! hf_first_line "$hf_job/sync"; then
      case $(sync --help 2>&1) in
      *FILE*) hf_sync_can=yes ;;
      esac
      [ -z "${hf_job:-}" ] || hf_say "$hf_sync_can" >"$hf_job/sync"
    else
      hf_sync_can=$hf_got
    fi
  fi
  [ "$hf_sync_can" = no ] || sync "$@" 2>/dev/null
  return 0
}
