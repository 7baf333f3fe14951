# What steps do to paths: capture, replace, own, put back. Only jobs carry this file; probes never do.
# Every function ends the step (hf_die) rather than go on after a failure.

# hf_keep PATH: captures what stands at a path into $hf_before: `meta`, and `content` if it is a file.
hf_keep() {
  hf_stat_one "$1"
  hf_digest= hf_target=
  case $hf_type in
  file)
    cp -p "$1" "$hf_before/content" || hf_die "cannot keep a copy of $1 in $hf_before"
    hf_digest_one "$hf_before/content"
    ;;
  symlink) hf_link_one "$1" ;;
  esac
  printf '%s\n' "type $hf_type" "mode $hf_mode" "owner $hf_owner" "group $hf_group" "digest $hf_digest" \
    "target $hf_target" >"$hf_before/meta" || hf_die "cannot write $hf_before/meta"
}

# hf_parent PATH: the folder it lies in has to be there.
hf_parent() {
  hf_folder=${1%/*}
  [ -n "$hf_folder" ] || hf_folder=/
  [ -d "$hf_folder" ] || hf_die "parent directory $hf_folder is missing; declare directory.$hf_folder"
}

# hf_own PATH MODE OWNER GROUP: sets what is given (empty: leave it), and only where it differs.
hf_own() {
  hf_stat_one "$1"
  case $3 in
  '' | "$hf_owner" | "$hf_uid") ;;
  *) chown "$3" "$1" || hf_die "cannot make $3 the owner of $1" ;;
  esac
  case $4 in
  '' | "$hf_group" | "$hf_gid") ;;
  *) chgrp "$4" "$1" || hf_die "cannot make $4 the group of $1" ;;
  esac
  [ -n "$2" ] || return 0
  # chown takes setuid and setgid away, so the mode comes last; chmod by number keeps them on directories.
  [ "$hf_type" != directory ] || chmod u-s,g-s "$1" || hf_die "cannot set the mode of $1"
  chmod "$2" "$1" || hf_die "cannot set the mode of $1"
}

# hf_put SOURCE PATH MODE OWNER GROUP: makes PATH a copy of SOURCE. What is not given stays as it is; a new file is
# 0644. The file appears at once and whole: it is written beside PATH and moved over it.
hf_put() {
  hf_parent "$2"
  hf_stat_one "$2"
  hf_put_mode=${3:-0644} hf_put_owner=$4 hf_put_group=$5 hf_put_old=
  case $hf_type in
  file)
    [ "$hf_links" -le 1 ] || hf_die "$2 has $hf_links hard links; replacing it would leave its other names as they are"
    hf_put_old=$2
    [ -n "$3" ] || hf_put_mode=$hf_mode
    [ -n "$4" ] || hf_put_owner=$hf_uid
    [ -n "$5" ] || hf_put_group=$hf_gid
    ;;
  other) hf_die "$2 is neither file, directory nor symlink; move it away first" ;;
  esac
  # One name per resource: what a killed step left is found and cleared away.
  hf_put_new=$hf_folder/.holdfast-${hf_before##*/}
  [ "$hf_folder" != / ] || hf_put_new=/.holdfast-${hf_before##*/}
  rm -f "$hf_put_new" || hf_die "cannot clear $hf_put_new away"
  # noclobber opens with O_EXCL: nobody's link is written through.
  (
    umask 077
    set -C
    cat "$1" >"$hf_put_new"
  ) || hf_put_fail "cannot write $hf_put_new"
  (hf_own "$hf_put_new" '' "$hf_put_owner" "$hf_put_group") || hf_put_fail "cannot set the owner of $2"
  if [ -n "$hf_put_old" ]; then
    hf_put_labels "$hf_put_old" "$hf_put_new"
  fi
  (hf_own "$hf_put_new" "$hf_put_mode" '' '') || hf_put_fail "cannot set the mode of $2"
  if [ -n "${hf_put_times:-}" ]; then
    touch -r "$hf_put_times" "$hf_put_new" || :
  fi
  # mv would move into a directory, and into the one behind a link.
  if [ "$hf_type" = directory ]; then
    rmdir "$2" || hf_put_fail "$2 is a directory with something in it; move it away first"
  elif [ -h "$2" ] && [ -d "$2" ]; then
    rm -f "$2" || hf_put_fail "cannot remove the symlink $2"
  fi
  mv -f "$hf_put_new" "$2" || hf_put_fail "cannot replace $2; if it is a mount point of its own, change what is mounted there"
  if [ -z "$hf_put_old" ] && [ -e /sys/fs/selinux/enforce ] && hf_have restorecon; then
    restorecon -F "$2" || :
  fi
}

hf_put_fail() {
  rm -f "$hf_put_new"
  hf_die "$1"
}

# hf_put_labels OLD NEW: carries ACL and SELinux label over, where the host has such.
hf_put_labels() {
  if hf_have getfacl && hf_have setfacl; then
    case $(ls -ld "$1") in
    ??????????+*) getfacl -p "$1" 2>/dev/null | setfacl --set-file=- "$2" || hf_put_fail "cannot carry the ACL of $1 over" ;;
    esac
  fi
  if [ -e /sys/fs/selinux/enforce ] && hf_have chcon; then
    chcon --reference="$1" "$2" || hf_put_fail "cannot carry the SELinux label of $1 over"
  fi
}

# hf_make PATH MODE OWNER GROUP: makes a directory, or brings the one there to what is given.
hf_make() {
  hf_stat_one "$1"
  case $hf_type in
  absent)
    hf_parent "$1"
    if [ -n "$2" ]; then
      (umask 077 && mkdir "$1") || hf_die "cannot make $1"
    else
      (umask 022 && mkdir "$1") || hf_die "cannot make $1"
    fi
    ;;
  directory) ;;
  *) hf_die "$1 is a $hf_type, not a directory; move it away first" ;;
  esac
  hf_own "$1" "$2" "$3" "$4"
}

# hf_link TARGET PATH: makes a symlink, in place of a file, another symlink or an empty directory.
hf_link() {
  hf_parent "$2"
  hf_stat_one "$2"
  case $hf_type in
  symlink)
    hf_link_one "$2"
    [ "$hf_target" != "$1" ] || return 0
    rm -f "$2" || hf_die "cannot remove the symlink $2"
    ;;
  file) rm -f "$2" || hf_die "cannot remove $2" ;;
  directory) rmdir "$2" || hf_die "$2 is a directory with something in it; move it away first" ;;
  other) hf_die "$2 is neither file, directory nor symlink; move it away first" ;;
  esac
  # A target may begin with a dash.
  ln -s -- "$1" "$2" || hf_die "cannot make the symlink $2"
}

# hf_gone PATH: removes a file, a symlink or an empty directory.
hf_gone() {
  hf_stat_one "$1"
  case $hf_type in
  absent) ;;
  file | symlink) rm -f "$1" || hf_die "cannot remove $1" ;;
  directory) rmdir "$1" || hf_die "$1 is a directory with something in it; move that away first" ;;
  other) hf_die "$1 is neither file, directory nor symlink; remove it by hand" ;;
  esac
}

# hf_back PATH: puts back what stood at a path: $hf_was_type, _mode, _owner, _group, _digest, _target say what,
# $hf_before/content holds a file's bytes. $hf_ours is the digest (or `>` and the target) of what Holdfast put.
hf_back() {
  hf_stat_one "$1"
  case $hf_was_type in
  absent)
    case $hf_type in
    directory)
      rmdir "$1" 2>/dev/null || hf_left "$1 is kept: it is in use, or there is something in it that Holdfast did not put there"
      ;;
    file | symlink)
      hf_aside "$1"
      rm -f "$1" || hf_die "cannot remove $1"
      ;;
    other) hf_left "$1 is kept: it is neither file, directory nor symlink" ;;
    esac
    ;;
  file)
    hf_now=
    if [ "$hf_type" = file ]; then
      hf_digest_one "$1"
      hf_now=$hf_digest
    fi
    if [ "$hf_now" = "$hf_was_digest" ]; then
      hf_own "$1" "$hf_was_mode" "$hf_was_owner" "$hf_was_group"
      return 0
    fi
    hf_digest_one "$hf_before/content"
    [ "$hf_digest" = "$hf_was_digest" ] || hf_die "what was at $1 before is lost or damaged: $hf_before/content"
    hf_aside "$1"
    hf_put_times=$hf_before/content
    hf_put "$hf_before/content" "$1" "$hf_was_mode" "$hf_was_owner" "$hf_was_group"
    ;;
  symlink)
    hf_aside "$1"
    hf_link "$hf_was_target" "$1"
    ;;
  directory)
    case $hf_type in
    file | symlink)
      hf_aside "$1"
      rm -f "$1" || hf_die "cannot remove $1"
      ;;
    esac
    hf_make "$1" "$hf_was_mode" "$hf_was_owner" "$hf_was_group"
    ;;
  *) hf_die "nothing is known of what was at $1 before; its owner has to decide" ;;
  esac
}

# hf_aside PATH: keeps a copy of what is neither ours nor what was before, so that nobody's work is destroyed.
hf_aside() {
  hf_stat_one "$1"
  case $hf_type in
  file)
    hf_digest_one "$1"
    case $hf_digest in
    "${hf_was_digest:-none}" | "sha256:${hf_ours%% *}" | "cksum:${hf_ours##* }") return 0 ;;
    esac
    ;;
  *) return 0 ;;
  esac
  hf_kept=$hf_state/left
  [ -d "$hf_kept" ] || (umask 077 && mkdir "$hf_kept") || hf_die "cannot make $hf_kept"
  hf_kept=$hf_kept/${hf_before##*/}
  cp -p "$1" "$hf_kept" || hf_die "cannot keep a copy of $1 in $hf_kept"
  hf_left "$1 was changed by others; what they wrote is kept in $hf_kept"
}

# hf_edit PATH PROGRAM: replaces a text file by what an awk program makes of it; it reads $line and $numbers by
# ENVIRON, so that nothing in them is taken for awk. awk's comparison is forced to text by appending "".
hf_edit() {
  hf_stat_one "$1"
  case $hf_type in
  file) ;;
  symlink) hf_die "$1 is a symlink; name the file it points to" ;;
  *) hf_die "$1 is a $hf_type, not a file" ;;
  esac
  # awk cuts text at a NUL.
  [ "$(tr -d '\000' <"$1" | wc -c)" -eq "$hf_size" ] || hf_die "$1 is no text file: it has NUL bytes in it"
  hf_edited=$hf_before/edited
  (
    export line numbers final
    awk "$2" "$1" >"$hf_edited"
  ) || hf_die "cannot write $hf_edited"
  hf_put "$hf_edited" "$1" '' '' ''
  rm -f "$hf_edited"
}

# hf_final PATH: tells whether a file ends with a newline (or is empty).
hf_final() {
  [ -z "$(tail -c 1 "$1")" ]
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
