# The way back: what stood at a path before, and what of others is found there meanwhile.

# hf_back PATH: puts back what stood at a path: $hf_was_type, _mode, _owner, _group, _digest, _target say what,
# $hf_before/content holds a file's bytes. $hf_ours is the digest (or `>` and the target) of what Holdfast put;
# $hf_put_type, _mode, _owner and _group are what it set (empty: it set none): what shows otherwise is somebody else's.
hf_back() {
  hf_go "$1"
  case $hf_was_type in
  absent) hf_back_absent ;;
  file) hf_back_file ;;
  symlink)
    hf_parent
    hf_aside_here
    hf_link_here "$hf_was_target"
    ;;
  directory) hf_back_directory ;;
  *) hf_fail "nothing is known of what was at $1 before; its owner has to decide" ;;
  esac
  hf_leave
}

hf_back_absent() {
  case $hf_type in
  directory)
    rmdir "$hf_here" 2>/dev/null ||
      hf_left "$hf_go_path is kept: it is in use, or there is something in it that Holdfast did not put there"
    ;;
  file | symlink)
    hf_aside_here
    hf_remove_here
    ;;
  other) hf_left "$hf_go_path is kept: it is neither file, directory nor symlink" ;;
  esac
}

hf_back_file() {
  hf_parent
  hf_back_now=
  if [ "$hf_type" = file ]; then
    hf_hold
    hf_digest_one "$hf_held"
    hf_back_now=$hf_digest
  fi
  if [ "$hf_back_now,$hf_go_way" = "$hf_was_digest,own" ]; then
    hf_back_access
    hf_own_here "$hf_back_mode" "$hf_back_owner" "$hf_back_group"
    return 0
  fi
  hf_digest_one "$hf_before/content"
  [ "$hf_digest" = "$hf_was_digest" ] || hf_fail "what was at $hf_go_path before is lost or damaged: $hf_before/content"
  hf_back_same mode "$hf_was_mode" mode
  hf_back_same owner "$hf_was_owner" uid
  hf_back_same group "$hf_was_group" gid
  if [ "$hf_back_now" = "$hf_was_digest" ]; then
    hf_back_access
    hf_own_from=$hf_before/content
    hf_own_here "$hf_back_mode" "$hf_back_owner" "$hf_back_group"
    hf_own_from=
    return 0
  fi
  hf_aside_here
  hf_back_access
  hf_put_times=$hf_before/content hf_put_like=$hf_before/content
  hf_put_here "$hf_before/content" "$hf_back_mode" "$hf_back_owner" "$hf_back_group"
  hf_put_times='' hf_put_like=''
}

# hf_back_same KEY WAS OTHER-KEY: bytes go back only under the owner and mode that they were taken under: a user could
# have shown the probe a file of his own, and the capture another name of one that is root's.
hf_back_same() {
  hf_meta "$1"
  [ "$hf_value" != "$2" ] || return 0
  hf_meta "$3"
  [ "$hf_value" = "$2" ] ||
    hf_fail "what was captured of $hf_go_path does not have the $1 that was reported of it: it is not put back; it lies in $hf_before"
}

hf_back_directory() {
  case $hf_type in
  file | symlink)
    hf_aside_here
    hf_remove_here
    hf_type=absent
    ;;
  esac
  hf_back_access
  hf_make_here "$hf_back_mode" "$hf_back_owner" "$hf_back_group"
}

# hf_back_access: sets hf_back_mode, _owner and _group to what has to be put back: all of it where something else stands
# or stood, else what Holdfast set and nobody changed since.
hf_back_access() {
  hf_back_mode=$hf_was_mode hf_back_owner=$hf_was_owner hf_back_group=$hf_was_group
  [ "$hf_type,$hf_put_type" = "$hf_was_type,$hf_was_type" ] || return 0
  hf_back_one mode "$hf_was_mode" "$hf_put_mode" "$hf_mode" "$hf_mode"
  hf_back_mode=$hf_back_value
  hf_back_one owner "$hf_was_owner" "$hf_put_owner" "$hf_owner" "$hf_uid"
  hf_back_owner=$hf_back_value
  hf_back_one group "$hf_was_group" "$hf_put_group" "$hf_group" "$hf_gid"
  hf_back_group=$hf_back_value
}

# hf_back_one WHAT WAS PUT NOW NOW-IN-THE-OTHER-FORM: sets hf_back_value to what to put back; empty: leave it.
hf_back_one() {
  hf_back_value=$2
  case $2 in
  "$4" | "$5") return 0 ;;
  esac
  case $3 in
  "$4" | "$5") return 0 ;;
  esac
  hf_back_value=
  [ -z "$3" ] || hf_left "the $1 of $hf_go_path is $4, which others set: it is kept; it was $2 before"
}

# hf_aside PATH: keeps a copy of what is neither ours nor what was before, so that nobody's work is destroyed.
hf_aside() {
  hf_go "$1"
  hf_aside_here
  hf_leave
}

hf_aside_here() {
  [ "$hf_type" = file ] || return 0
  hf_hold
  hf_digest_one "$hf_held"
  case $hf_digest in
  "${hf_was_digest:-none}" | "sha256:${hf_ours%% *}" | "cksum:${hf_ours##* }") return 0 ;;
  esac
  hf_kept=$hf_state/left
  [ -d "$hf_kept" ] || (umask 077 && mkdir "$hf_kept") || hf_fail "cannot make $hf_kept"
  # What was kept of an earlier life stays.
  hf_kept=$hf_kept/${hf_before##*/} hf_kept_number=1
  while [ -e "$hf_kept.$hf_kept_number" ]; do
    hf_kept_number=$((hf_kept_number + 1))
  done
  hf_kept=$hf_kept.$hf_kept_number
  hf_copy "$hf_held" "$hf_kept" || hf_fail "cannot keep a copy of $hf_go_path in $hf_kept"
  hf_left "$hf_go_path was changed by others; what they wrote is kept in $hf_kept"
}

# hf_meta KEY: sets hf_value to what was captured under a key.
hf_meta() {
  [ -r "$hf_before/meta" ] || hf_die "what was there before is lost: $hf_before/meta"
  hf_value=
  while IFS= read -r hf_line; do
    case $hf_line in
    "$1 "*) hf_value=${hf_line#"$1 "} ;;
    esac
  done <"$hf_before/meta"
}
