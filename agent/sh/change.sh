# What steps do to paths: capture, replace, own, edit, remove. Only jobs carry this file; probes never do. Every function
# ends the step (hf_die) rather than go on after a failure. Those named hf_X_here work where hf_go went.

# hf_keep PATH: captures what stands at a path into $hf_before: `meta`, and `content` if it is a file. It has to be what
# the probe saw: else what is captured here and what was reported there would be put together at an undo.
hf_keep() {
  hf_go "$1"
  hf_digest='' hf_target=''
  case $hf_type in
  file)
    hf_hold
    hf_copy "$hf_held" "$hf_before/content" || hf_fail "cannot keep a copy of $1 in $hf_before"
    hf_digest_one "$hf_before/content"
    hf_keep_same mode "$hf_mode" "$hf_mode"
    hf_keep_same owner "$hf_owner" "$hf_uid"
    hf_keep_same group "$hf_group" "$hf_gid"
    hf_keep_same digest "$hf_digest" "$hf_digest"
    ;;
  symlink) hf_link_one "$hf_here" ;;
  esac
  printf '%s\n' "type $hf_type" "mode $hf_mode" "owner $hf_owner" "group $hf_group" "uid $hf_uid" \
    "gid $hf_gid" "digest $hf_digest" "target $hf_target" >"$hf_before/meta" || hf_fail "cannot write $hf_before/meta"
  hf_leave
}

# hf_keep_same KEY VALUE OTHER-FORM: against what the step's probe reported, where it reported that.
hf_keep_same() {
  [ -n "${hf_shown:-}" ] || return 0
  hf_escaped "$2"
  set -- "$1" "$hf_escaped" "$3"
  case "$hf_nl$hf_shown" in
  *"${hf_nl}$1 $2$hf_nl"* | *"${hf_nl}$1 $3$hf_nl"*) ;;
  *"${hf_nl}$1 "*) hf_fail "$hf_go_path was changed by others while it was looked at: $1 is $2 now; nothing was changed" ;;
  esac
}

# hf_own PATH MODE OWNER GROUP: sets what is given (empty: leave it), and only where it differs.
hf_own() {
  hf_go "$1"
  hf_own_here "$2" "$3" "$4"
  hf_leave
}

hf_own_from=

hf_own_here() {
  hf_own_mode=$1 hf_own_owner=$2 hf_own_group=$3
  case $hf_own_mode in
  ???) hf_own_mode=0$hf_own_mode ;;
  esac
  case $hf_own_owner in
  "$hf_owner" | "$hf_uid") hf_own_owner= ;;
  esac
  case $hf_own_group in
  "$hf_group" | "$hf_gid") hf_own_group= ;;
  esac
  if [ "$hf_own_mode" = "$hf_mode" ] && [ -z "$hf_own_owner$hf_own_group" ]; then
    hf_own_mode=
  fi
  [ -n "$hf_own_mode$hf_own_owner$hf_own_group" ] || return 0
  case $hf_go_way,$hf_type in
  shared,file)
    # Whoever has it open for writing would write into what is not his any more: so it becomes a file of its own. What a
    # user calls his may be another name of a file that is not: where we have the bytes they are ours, else his own.
    hf_hold
    [ -n "$hf_own_from" ] || [ "$hf_uid" = "$hf_go_user" ] ||
      hf_fail "$hf_go_path belongs to $hf_owner, in a folder that ${hf_go_owner:-others} can write; set its owner and mode by hand"
    hf_put_here "${hf_own_from:-$hf_held}" "$hf_own_mode" "$hf_own_owner" "$hf_own_group"
    ;;
  shared,directory)
    hf_own_enter
    hf_own_one . "$hf_go_path"
    ;;
  own,*) hf_own_one "$hf_here" "$hf_go_path" ;;
  *) hf_fail "$hf_go_path is a $hf_type: it has no mode and owner to set" ;;
  esac
}

# hf_own_enter: a directory in a folder of others is entered, and then changed as `.`.
hf_own_enter() {
  cd -P "$hf_here" || hf_fail "cannot enter $hf_go_path"
  hf_pwd
  [ "$hf_real" = "$hf_go_path" ] || hf_fail "$hf_go_path was replaced by others while its owner and mode were to be set; nothing was changed"
}

# hf_own_one NAME PATH: sets hf_own_owner, hf_own_group and hf_own_mode, as far as they are given.
hf_own_one() {
  hf_own_caps=
  if [ -n "$hf_own_owner$hf_own_group" ]; then
    # The kernel takes a file's capabilities away when its owner changes.
    if [ "$hf_type" = file ] && hf_have getcap && hf_have setcap; then
      hf_more_caps "$1"
      hf_own_caps=$hf_caps_of
    fi
    chown -h "$hf_own_owner${hf_own_group:+:$hf_own_group}" "$1" || hf_fail "cannot make $hf_own_owner${hf_own_group:+:$hf_own_group} the owner of $2"
    [ -z "$hf_own_caps" ] || setcap "$hf_own_caps" "$1" || hf_fail "cannot give $2 its capabilities back: $hf_own_caps"
    # chown took setuid and setgid away.
    [ -n "$hf_own_mode" ] || hf_own_mode=$hf_mode
  fi
  [ -n "$hf_own_mode" ] || return 0
  # chmod by number keeps these on directories.
  case $hf_type,$hf_mode in
  directory,0*) ;;
  directory,*) chmod u-s,g-s "$1" || hf_fail "cannot set the mode of $2" ;;
  esac
  chmod "$hf_own_mode" "$1" || hf_fail "cannot set the mode of $2"
}

# hf_file SHA256 CRC:BYTES PATH MODE OWNER GROUP: makes PATH a file with the content of a blob. The same bytes stay where
# they are: then only mode and owner are set, and hard links do not matter.
hf_file() {
  hf_go "$3"
  hf_digest=
  if [ "$hf_type" = file ]; then
    hf_hold
    hf_digest_one "$hf_held"
  fi
  case $hf_digest in
  "sha256:$1" | "cksum:$2")
    hf_own_from=$hf_blobs/$1
    hf_own_here "$4" "$5" "$6"
    hf_own_from=
    ;;
  *) hf_put_here "$hf_blobs/$1" "$4" "$5" "$6" ;;
  esac
  hf_leave
}

# hf_put SOURCE PATH MODE OWNER GROUP: makes PATH a copy of SOURCE. What is not given stays as it is; a new file is
# 0644. The file appears at once and whole. $hf_validate, if it is set, is sh that has to content itself with it first.
hf_put() {
  hf_go "$2"
  hf_put_here "$1" "$3" "$4" "$5"
  hf_leave
}

hf_put_here() {
  hf_put_here_from=$1 hf_put_here_mode=$2 hf_put_here_owner=$3 hf_put_here_group=$4 hf_put_here_like=${hf_put_like:-}
  hf_parent
  case $hf_type in
  file | symlink) hf_hold ;;
  esac
  case $hf_type in
  file)
    [ "$hf_links" -le 1 ] ||
      hf_fail "$hf_go_path has $hf_links hard links; replacing it would leave its other names as they are"
    : "${hf_put_here_mode:=$hf_mode}" "${hf_put_here_owner:=$hf_uid}" "${hf_put_here_group:=$hf_gid}"
    : "${hf_put_here_like:=$hf_held}"
    ;;
  absent | directory | symlink) : "${hf_put_here_mode:=0644}" ;;
  *) hf_fail "$hf_go_path is neither file, directory nor symlink; move it away first" ;;
  esac
  hf_fresh
  hf_put_here_write
  hf_put_here_validate
  [ -n "$hf_put_here_like" ] || hf_label "$hf_new" "$hf_go_path"
  hf_sync "$hf_new"
  hf_move
  hf_sync "${hf_here%/*}/."
}

# hf_put_here_write: makes hf_new. It has its owner and mode before it has any bytes, so that nobody reads what he may
# not; noclobber opens with O_EXCL, so that nobody's link is written through.
hf_put_here_write() {
  (
    umask 077
    set -C
    : >"$hf_new"
  ) || hf_fail "cannot make $hf_new"
  if [ -n "$hf_put_here_owner$hf_put_here_group" ]; then
    chown -h "$hf_put_here_owner${hf_put_here_group:+:$hf_put_here_group}" "$hf_new" ||
      hf_fail "cannot set the owner of $hf_go_path"
  fi
  if [ -n "$hf_put_here_like" ]; then
    hf_carry_access "$hf_put_here_like" "$hf_new" "$hf_put_here_mode" ||
      hf_fail "cannot carry the ACL or label of $hf_go_path over"
  fi
  # Its owner has to be able to write it until it is written.
  case $hf_put_here_mode in
  ?[2367]??) chmod "$hf_put_here_mode" "$hf_new" ;;
  *) chmod "$hf_put_here_mode" "$hf_new" && chmod u+w "$hf_new" ;;
  esac || hf_fail "cannot set the mode of $hf_go_path"
  cp "$hf_put_here_from" "$hf_new" || hf_fail "cannot write $hf_new"
  if [ -n "$hf_put_here_like" ]; then
    hf_carry_more "$hf_put_here_like" "$hf_new" || hf_fail "cannot carry the attributes of $hf_go_path over"
  fi
  # A write takes setuid and setgid away, unless it is root's.
  case $hf_put_here_mode in
  0[2367]??) ;;
  *) chmod "$hf_put_here_mode" "$hf_new" || hf_fail "cannot set the mode of $hf_go_path" ;;
  esac
  [ -z "${hf_put_times:-}" ] || touch -r "$hf_put_times" "$hf_new" || :
}

# hf_put_here_validate: $FILE names the new content, beside its place and on its file system. The sh of a user goes by the
# environment, since arguments are for everybody to see; and from /, since the folder may be somebody else's.
hf_put_here_validate() {
  [ -n "$hf_validate" ] || return 0
  hf_validate_said=$(
    FILE=$hf_new
    export FILE hf_validate
    umask 022
    cd /
    # shellcheck disable=SC2016
    exec ${hf_sh:-/bin/sh} -c 'hf_validated=$hf_validate; unset hf_validate; eval "$hf_validated"' </dev/null 2>&1
  ) && return 0
  hf_fail "validate refused the new content of $hf_go_path, which stays as it is${hf_validate_said:+: }$hf_validate_said"
}
hf_validate='' hf_put_like='' hf_put_times=''

# hf_make PATH MODE OWNER GROUP: makes a directory, or brings the one there to what is given.
hf_make() {
  hf_go "$1"
  hf_make_here "$2" "$3" "$4"
  hf_leave
}

hf_make_here() {
  case $hf_type in
  absent)
    hf_parent
    hf_make_here_umask=077
    [ -n "$1" ] || hf_make_here_umask=022
    (umask "$hf_make_here_umask" && mkdir "$hf_here") || hf_fail "cannot make $hf_go_path"
    [ -n "$1$2$3" ] || return 0
    hf_stat_one "$hf_here"
    if [ "$hf_go_way" = shared ]; then
      hf_own_enter
      hf_stat_one .
      [ "$hf_uid" = "$hf_go_mine" ] && hf_empty . ||
        hf_fail "$hf_go_path was replaced by others as soon as it was made; theirs was not changed"
      hf_here=.
    fi
    hf_own_mode=$1 hf_own_owner=$2 hf_own_group=$3
    hf_own_one "$hf_here" "$hf_go_path"
    ;;
  directory) hf_own_here "$1" "$2" "$3" ;;
  *) hf_fail "$hf_go_path is a $hf_type, not a directory; move it away first" ;;
  esac
}

# hf_link TARGET PATH: makes a symlink, in place of a file, another symlink or an empty directory.
hf_link() {
  hf_go "$2"
  hf_link_here "$1"
  hf_leave
}

hf_link_here() {
  hf_parent
  case $hf_type in
  symlink)
    hf_link_one "$hf_here"
    [ "$hf_target" != "$1" ] || return 0
    hf_hold
    ;;
  file) hf_hold ;;
  other) hf_fail "$hf_go_path is neither file, directory nor symlink; move it away first" ;;
  esac
  hf_fresh
  # A target may begin with a dash.
  ln -s -- "$1" "$hf_new" || hf_fail "cannot make the symlink $hf_go_path"
  hf_move
}

# hf_gone PATH KINDS: removes what is of one of these kinds: file, symlink, directory (an empty one). What else stands
# there by now was not meant.
hf_gone() {
  hf_go "$1"
  case " $2 absent other " in
  *" $hf_type "*) ;;
  *) hf_fail "$1 is a $hf_type; to remove it declare $hf_type.$1 with ensure = \"absent\"" ;;
  esac
  case $hf_type in
  absent) ;;
  file | symlink) hf_remove_here ;;
  directory) rmdir "$hf_here" || hf_fail "$1 is a directory with something in it; move that away first" ;;
  *) hf_fail "$1 is neither file, directory nor symlink; remove it by hand" ;;
  esac
  hf_leave
}

hf_remove_here() {
  rm -f "$hf_here" || hf_fail "cannot remove $hf_go_path"
}

# hf_edit PATH PROGRAM: replaces a text file by what an awk program makes of it; it reads $line and
# what else it needs by ENVIRON, so that nothing in them is taken for awk. awk's comparison is forced to text by appending "".
hf_edit() {
  hf_go "$1"
  case $hf_type in
  file) ;;
  symlink) hf_fail "$1 is a symlink; name the file it points to" ;;
  *) hf_fail "$1 is a $hf_type, not a file" ;;
  esac
  hf_hold
  hf_edit_from=$hf_held
  if [ "$hf_go_way" = shared ]; then
    # Its owner may go on writing it.
    hf_edit_from=$hf_room/hf.text
    (umask 077 && exec cp "$hf_held" "$hf_edit_from") || hf_fail "cannot read $1"
    hf_size=$(wc -c <"$hf_edit_from")
  fi
  # awk cuts text at a NUL.
  [ "$(tr -d '\000' <"$hf_edit_from" | wc -c)" -eq "$hf_size" ] || hf_fail "$1 is no text file: it has NUL bytes in it"
  hf_edited=$hf_before/edited
  (hf_line_make "$2" "$hf_edit_from" >"$hf_edited") || hf_fail "cannot write $hf_edited"
  hf_put_here "$hf_edited" '' '' ''
  rm -f "$hf_edited"
  hf_leave
}

# hf_final PATH: tells whether a file ends with a newline (or is empty).
hf_final() {
  [ -z "$(tail -c 1 "$1")" ]
}
