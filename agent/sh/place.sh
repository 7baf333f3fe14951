# Where a step works on a path, so that nobody else can turn its hand. Who can write a folder can replace every name in
# it, at any time: by a link, or by another folder. So names are used only where every folder on the way is ours alone.
# Elsewhere the folder is entered and its way compared, by the kernel's word; what is new is made in a room: a folder
# that nobody else can enter, rename or replace; and it goes to its place by one link or rename, which follow nothing.
#
#   hf_go PATH         hf_fresh -> hf_new          hf_hold -> hf_held          hf_move           hf_leave
#   own:     the path  .holdfast-KEY beside it     the path                    mv                -
#   shared:  ./NAME    ROOM/hf.new                 ROOM/hf.old, a hard link    link or rename    the room goes, cd /

# Links followed on the way to a folder: what Linux follows before it calls it a loop is 40; a way has one or two.
hf_go_links_max=8

# hf_fail MESSAGE: ends the step, with nothing of ours left beside the path.
hf_fail() {
  hf_clear
  hf_die "$1"
}

# hf_go PATH: goes to the place of a path. Sets what hf_stat_one sets; hf_here, the name by which it is changed;
# hf_go_way: own, shared, or missing if its folder is.
hf_go() {
  [ -n "${hf_caps_done:-}" ] || hf_caps
  hf_go_path=$1 hf_go_links=0 hf_room='' hf_new='' hf_held=''
  hf_go_key=${hf_before##*/}
  case $hf_go_key in
  scratch.*) hf_go_key=${hf_attempt:-}-${hf_go_key#scratch.} ;;
  esac
  hf_go_walk
  while [ -n "$hf_go_link" ]; do
    hf_go_links=$((hf_go_links + 1))
    [ "$hf_go_links" -le "$hf_go_links_max" ] || hf_die "$1 is behind too many links, the last of them $hf_go_link"
    hf_go_follow
    hf_go_walk
  done
  [ -z "$hf_go_bad" ] || hf_die "$hf_go_bad"
  hf_here=$hf_go_path
  if [ "$hf_go_seen" != "${hf_go_folder:-/}" ]; then
    [ -z "$hf_go_trouble" ] || hf_die "cannot look at $1: $hf_go_trouble"
    hf_go_way=missing
    hf_stat_read ''
  elif [ "$hf_go_way" = own ]; then
    hf_trouble=$hf_go_trouble
    hf_stat_read "$hf_go_target"
  else
    hf_go_way=shared
    hf_go_enter
  fi
  [ "$hf_type" != unknown ] || hf_die "cannot look at $1: $hf_trouble"
}

# hf_go_walk: looks at every folder from / down to that of hf_go_path, and at what stands there.
hf_go_walk() {
  hf_go_folder=${hf_go_path%/*} hf_go_rest=$hf_go_folder
  hf_go_way=own hf_go_seen='' hf_go_user='' hf_go_owner='' hf_go_room='' hf_go_room_device='' hf_go_mine=''
  hf_go_target='' hf_go_trouble='' hf_go_link='' hf_go_bad=''
  set -- "$hf_go_path"
  while [ -n "$hf_go_rest" ]; do
    set -- "$hf_go_rest" "$@"
    hf_go_rest=${hf_go_rest%/*}
  done
  set -- "$hf_state" / "$@"
  if [ "$hf_stat_kind" = ls ]; then
    for hf_go_each; do
      hf_stat_ls "$hf_go_each"
      if [ -n "$hf_line" ]; then
        hf_go_one "$hf_go_each" - "$hf_line"
      else
        hf_go_trouble=$hf_trouble
      fi
    done
    return 0
  fi
  if ! hf_go_said=$(stat "-$hf_stat_kind" "%d$hf_tab$hf_stat_format" "$@" 2>/dev/null); then
    hf_go_trouble=nothing
  fi
  hf_lines hf_go_line "$hf_go_said"
  if [ -n "$hf_go_trouble" ]; then
    hf_lines hf_go_gap "$(stat "-$hf_stat_kind" "$hf_stat_format" "$@" 2>&1 >/dev/null)"
    # It said that something is not there: then all is well.
    [ "$hf_go_trouble" != nothing ] || hf_go_trouble='the tool that looks at files said nothing'
  fi
}

hf_go_gap() {
  case $hf_go_trouble in
  nothing | '')
    hf_stat_failed "$1"
    hf_go_trouble=$hf_trouble
    ;;
  esac
}

# hf_go_line LINE: the device, the fields of hf_stat_format, the name.
hf_go_line() {
  hf_go_fields=${1#*"$hf_tab"}
  hf_go_name=${hf_go_fields#*"$hf_tab"*"$hf_tab"*"$hf_tab"*"$hf_tab"*"$hf_tab"*"$hf_tab"*"$hf_tab"*"$hf_tab"}
  hf_go_one "$hf_go_name" "${1%%"$hf_tab"*}" "${hf_go_fields%"$hf_tab$hf_go_name"}"
}

# hf_go_one NAME DEVICE FIELDS: the state folder says who we are; then come the folders; then what stands at the path.
hf_go_one() {
  if [ -z "$hf_go_mine" ]; then
    [ "$1" = "$hf_state" ] || hf_die "cannot look at $hf_state"
    hf_stat_read "$3"
    hf_go_mine=$hf_uid
  elif [ "$1" = "$hf_go_path" ]; then
    hf_go_target=$3
  elif [ -z "$hf_go_link$hf_go_bad" ]; then
    hf_stat_read "$3"
    hf_go_step "$1" "$2"
  fi
}

# hf_go_step FOLDER DEVICE: what a folder on the way means for those below: once one is shared, all are.
hf_go_step() {
  hf_go_theirs=no
  case $hf_uid in
  0 | "$hf_go_mine") ;;
  *) hf_go_theirs=yes ;;
  esac
  case $hf_type in
  directory) ;;
  symlink)
    # A link can be replaced by its owner, and by who can write the folder.
    if [ "$hf_go_way" = shared ] || [ "$hf_go_theirs" = yes ]; then
      hf_go_bad="$1 is a symlink that ${hf_go_owner:-$hf_owner} can replace; declare $hf_go_path below the folder it points to"
    else
      hf_go_link=$1
    fi
    return 0
    ;;
  *) return 0 ;;
  esac
  hf_go_seen=$1
  if [ "$hf_go_theirs" = yes ]; then
    hf_go_way=shared
    if [ "${hf_go_user:-$hf_uid}" != "$hf_uid" ]; then
      hf_go_bad="$1 belongs to $hf_owner, and lies in a folder that $hf_go_owner can write: neither is safe from the other"
    fi
    hf_go_user=$hf_uid hf_go_owner=$hf_owner
  fi
  hf_go_room_fits=no
  if [ "$hf_go_way" != shared ]; then
    hf_go_way=own
    case $hf_mode in
    ??[2367]? | ???[2367])
      # In a sticky folder nobody else can rename or remove what is ours.
      hf_go_way=shared
      case $hf_mode in
      [1357]*) hf_go_way=sticky ;;
      esac
      ;;
    esac
    [ "$hf_go_way" = shared ] || hf_go_room=$1 hf_go_room_device=$2
  fi
  [ "$hf_go_room_device" = "$2" ] || hf_go_room=
}

# hf_go_follow: the way on behind hf_go_link, which nobody else can replace; what follows is looked at again from /.
hf_go_follow() {
  hf_link_one "$hf_go_link"
  hf_go_rest=${hf_go_path#"$hf_go_link"}
  hf_go_base=${hf_go_link%/*}
  case $hf_target in
  /*) hf_go_base= ;;
  esac
  hf_target=${hf_target#/}
  while :; do
    case $hf_target in
    ../*) hf_go_base=${hf_go_base%/*} hf_target=${hf_target#../} ;;
    ..) hf_go_base=${hf_go_base%/*} hf_target= ;;
    ./*) hf_target=${hf_target#./} ;;
    */) hf_target=${hf_target%/} ;;
    *) break ;;
    esac
  done
  case /$hf_target/ in
  */../* | */./* | *//?*) hf_die "$hf_go_link points to $hf_target; declare $hf_go_path by its own folder" ;;
  esac
  hf_go_path=$hf_go_base${hf_target:+/$hf_target}$hf_go_rest
}

# hf_go_enter: from here on names are those in the folder itself, wherever it may be moved.
hf_go_enter() {
  cd -P "$hf_go_folder" || hf_die "cannot enter $hf_go_folder"
  hf_pwd
  [ "$hf_real" = "$hf_go_folder" ] ||
    hf_fail "$hf_go_folder was replaced by ${hf_go_owner:-others} while $hf_go_path was looked for; nothing was changed"
  hf_here=./${hf_go_path##*/}
  hf_stat_one "$hf_here"
}

# hf_parent: the folder has to be there.
hf_parent() {
  [ "$hf_go_way" != missing ] || hf_die "parent directory ${hf_go_path%/*} is missing; declare directory.${hf_go_path%/*}"
}

# hf_leave: the end of what hf_go began.
hf_leave() {
  hf_clear
  [ "$hf_go_way" != shared ] || cd / || exit 1
}

# hf_clear: nothing of ours stays beside the path.
hf_clear() {
  case ${hf_room:-} in
  '')
    [ -z "${hf_new:-}" ] || rm -f "$hf_new"
    ;;
  *)
    rm -f "$hf_room/hf.new" "$hf_room/hf.old" "$hf_room/hf.text"
    rmdir "$hf_room_name" 2>/dev/null
    case $hf_room in
    /proc/*/fd/9) exec 9<&- ;;
    esac
    ;;
  esac
  hf_room= hf_new= hf_held=
}

# hf_note PATH: what is made beside a path is known to its job before it is there.
hf_note() {
  [ -n "${hf_job:-}" ] || return 0
  hf_say "$1" >>"$hf_job/temporaries" || hf_die "cannot note $1 in $hf_job; the disk may be full"
}

# hf_fresh: sets hf_new to a name where something new can be made. One name per resource: what a killed step left there
# is found and cleared away.
hf_fresh() {
  if [ "$hf_go_way" = own ]; then
    hf_new=$hf_go_folder/.holdfast-$hf_go_key
    hf_note "$hf_new"
    hf_sweep_one "$hf_new"
  else
    hf_room_make
    hf_new=$hf_room/hf.new
  fi
}

# hf_room_make: makes the room, in the nearest folder above that is ours, of the same file system.
hf_room_make() {
  [ -z "$hf_room" ] || return 0
  if [ -z "$hf_go_room" ]; then
    hf_room_inside
    return 0
  fi
  hf_room_base=${hf_go_room%/}/.holdfast-$hf_go_key
  hf_room_tries=0
  while :; do
    # In a sticky folder others can take the name first.
    hf_room_name=$hf_room_base
    [ "$hf_room_tries" -le 1 ] || hf_room_name=$hf_room_base.$hf_room_tries
    hf_note "$hf_room_name"
    if hf_room_said=$(umask 077 && mkdir -m 700 "$hf_room_name" 2>&1); then
      break
    fi
    hf_sweep_one "$hf_room_name"
    hf_room_tries=$((hf_room_tries + 1))
    [ "$hf_room_tries" -le 9 ] || hf_fail "cannot make a folder of our own in $hf_go_room: $hf_room_said"
  done
  hf_room=$hf_room_name
}

# hf_room_inside: no folder above is of this file system. The room is in the folder itself then, where it can be renamed
# but not entered, and is used through an open descriptor, which holds the folder and not its name.
hf_room_inside() {
  hf_room_name=./.holdfast-$hf_go_key
  hf_note "$hf_go_folder/${hf_room_name#./}"
  [ ! -d "$hf_room_name" ] || hf_sweep_one "$hf_go_folder/${hf_room_name#./}"
  [ -r /proc/self/stat ] || hf_fail "others can write $hf_go_folder, and this host has no way to change $hf_go_path safely there"
  (umask 077 && mkdir -m 700 "$hf_room_name") || hf_fail "cannot make a folder of our own in $hf_go_folder"
  # A redirection that fails would end the shell.
  (exec 9<"$hf_room_name") 2>/dev/null ||
    hf_fail "this shell cannot hold a folder open, so $hf_go_path cannot be changed safely in $hf_go_folder, which others can write"
  exec 9<"$hf_room_name"
  # In a subshell $$ is another process.
  read -r hf_room_pid hf_room_rest </proc/self/stat
  hf_room=/proc/$hf_room_pid/fd/9
  # By the descriptor too: the step may enter the directory that it changes.
  hf_room_name=$hf_room/../${hf_room_name#./}
  if ! hf_sweep_ours "$hf_room/." || ! hf_empty "$hf_room"; then
    hf_room= hf_new=
    hf_die "others replaced a folder of ours in $hf_go_folder while it was made; nothing was changed"
  fi
}

# hf_hold: sets hf_held to a name that nobody else can replace for what stands there, and looks at it by that name. A
# hard link is what stands there, and shows besides that room and place are of one mount, where a rename is a rename.
hf_hold() {
  if [ "$hf_go_way" = own ]; then
    hf_held=$hf_here
    return 0
  fi
  [ -z "$hf_held" ] || return 0
  hf_room_make
  hf_held=$hf_room/hf.old
  if ! hf_hold_said=$(ln -P "$hf_here" "$hf_held" 2>&1); then
    hf_hold_plain
  fi
  hf_hold_type=$hf_type
  hf_stat_one "$hf_held"
  [ "$hf_type" = "$hf_hold_type" ] || hf_fail "$hf_go_path was replaced by others while it was looked at; nothing was changed"
  hf_links=$((hf_links - 1))
}

# hf_hold_plain: where ln has no -P, it must be seen not to follow links.
hf_hold_plain() {
  if ln -s /nonexistent "$hf_room/hf.text" && ln "$hf_room/hf.text" "$hf_held" 2>/dev/null && [ -h "$hf_held" ]; then
    rm -f "$hf_room/hf.text" "$hf_held"
    hf_hold_said=$(ln "$hf_here" "$hf_held" 2>&1) && return 0
  fi
  hf_fail "cannot take hold of $hf_go_path in a folder that ${hf_go_owner:-others} can write; nothing was changed: $hf_hold_said"
}

# hf_move: moves hf_new to its place, at once and whole. What stands there was looked at by hf_go.
hf_move() {
  if [ "$hf_type" = directory ]; then
    rmdir "$hf_here" 2>/dev/null || hf_fail "$hf_go_path is a directory with something in it; move it away first"
    hf_type=absent
  fi
  case $hf_go_way,$hf_type in
  own,*)
    # mv would move into the directory behind a link.
    if [ -h "$hf_here" ] && [ -d "$hf_here" ]; then
      rm -f "$hf_here" || hf_fail "cannot remove the symlink $hf_go_path"
    fi
    mv -f "$hf_new" "$hf_here" ||
      hf_fail "cannot replace $hf_go_path; if it is a mount point of its own, change what is mounted there"
    ;;
  *,absent) hf_move_link ;;
  *) hf_move_over ;;
  esac
  [ -n "$hf_room" ] || hf_new=
}

# hf_move_link: link(2) follows nothing and replaces nothing.
hf_move_link() {
  if [ -h "$hf_new" ]; then
    # Some systems make the link to what a symlink points to.
    link "$hf_new" "$hf_room/hf.text" 2>/dev/null
    [ -h "$hf_room/hf.text" ] || hf_fail "this host cannot place the symlink $hf_go_path safely in a folder that others can write"
  fi
  if hf_have link; then
    hf_move_said=$(link "$hf_new" "$hf_here" 2>&1) && return 0
  else
    # shellcheck disable=SC2016
    hf_move_said=$(perl -e 'link($ARGV[0], $ARGV[1]) or die "$!\n"' "$hf_new" "$hf_here" 2>&1) && return 0
  fi
  hf_fail "cannot put $hf_go_path into a folder that ${hf_go_owner:-others} can write: $hf_move_said"
}

# hf_move_over: a rename, by a tool that does not take a directory for a place to move into.
hf_move_over() {
  hf_move_said=$(mv -fT "$hf_new" "$hf_here" 2>&1) && return 0
  # shellcheck disable=SC2016
  perl -e 'rename($ARGV[0], $ARGV[1]) or die "$!\n"' "$hf_new" "$hf_here" 2>/dev/null && return 0
  hf_fail "cannot replace $hf_go_path in a folder that ${hf_go_owner:-others} can write: $hf_move_said"
}
