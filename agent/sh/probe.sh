# The probes, one function per type of resource, and the batch that collects for all of them with a few forks.
# A probe reads what was collected, or asks for its one thing; it reports through hf_attr and writes nothing.

# How many names go to one process: a hundred of the longest usual paths stay below the 128 KiB of old kernels.
hf_chunk=100

# Seconds that one question to the host's tools may take: a package database on a slow disk needs ten, a directory
# service that is gone never answers. The five kinds together stay below what a whole observe may take.
hf_tool_limit=45
# Seconds of a check whose resource sets no time of its own.
hf_check_limit=60
# Seconds that all which does not answer may cost one observe, so that it is told before the controller gives up.
hf_patience=200

# hf_forget: drops what was collected; probes ask anew.
hf_forget() {
  hf_n_path=0 hf_n_package=0 hf_n_service=0 hf_n_user=0 hf_n_group=0 hf_n_crontab=0
  hf_c_path=0 hf_c_package=0 hf_c_service=0 hf_c_user=0 hf_c_group=0 hf_c_crontab=0
  # How many of each are in the index.
  hf_x_path=0 hf_x_package=0 hf_x_service=0 hf_x_user=0 hf_x_group=0 hf_x_crontab=0
  hf_collected=0
}
hf_forget

# Each is called once for a value.
hf_collect_path() { hf_add path "$1"; }
hf_collect_package() { hf_add package "$1"; }
hf_collect_service() { hf_add service "$1"; }
hf_collect_user() { hf_add user "$1"; }
hf_collect_group() { hf_add group "$1"; }
hf_collect_crontab() { hf_add crontab "$1"; }

# hf_add LIST VALUE: appends to a list of numbered variables (sh has no arrays).
hf_add() {
  eval "hf_count=\$((hf_n_$1 + 1))"
  eval "hf_n_$1=\$hf_count hf_v_$1_$hf_count=\$2 hf_r_$1_$hf_count= hf_d_$1_$hf_count="
}

# hf_find LIST VALUE: sets hf_at to its number. It looks where it last found something and right after, because probes
# mostly come in the order in which they were collected, and in an index for all others.
hf_find() {
  eval "hf_count=\$hf_n_$1 hf_at=\$hf_c_$1"
  hf_find_tries=2
  while [ "$hf_find_tries" -gt 0 ] && [ "$hf_at" -lt "$hf_count" ]; do
    hf_find_tries=$((hf_find_tries - 1)) hf_at=$((hf_at + 1))
    eval "hf_value=\$hf_v_$1_$hf_at"
    if [ "$hf_value" = "$2" ]; then
      eval "hf_c_$1=$((hf_at - 1))"
      return 0
    fi
  done
  hf_index "$1"
  hf_key "$2"
  eval "hf_find_numbers=\${hf_b_$1_$hf_key:-}"
  for hf_find_number in $hf_find_numbers; do
    # An index of what was forgotten since may name too many.
    [ "$hf_find_number" -le "$hf_count" ] || continue
    eval "hf_value=\$hf_v_$1_$hf_find_number"
    if [ "$hf_value" = "$2" ]; then
      # Not by the loop's own variable: yash keeps that in the function.
      hf_at=$hf_find_number
      eval "hf_c_$1=$((hf_at - 1))"
      return 0
    fi
  done
  return 1
}

# hf_index LIST: puts what is not in the index yet there: a variable for each key, with the numbers of its values.
hf_index() {
  eval "hf_index_done=\$hf_x_$1"
  while [ "$hf_index_done" -lt "$hf_count" ]; do
    hf_index_done=$((hf_index_done + 1))
    eval "hf_key \"\$hf_v_$1_$hf_index_done\""
    eval "hf_b_$1_$hf_key=\"\${hf_b_$1_$hf_key:-} $hf_index_done\""
  done
  eval "hf_x_$1=\$hf_count"
}

# hf_key VALUE: sets hf_key to what may end the name of a variable; different values may have the same.
hf_key() {
  hf_key=
  hf_key_rest=$1
  while :; do
    case $hf_key_rest in
    *[!0-9A-Za-z_]*)
      hf_key=$hf_key${hf_key_rest%%[!0-9A-Za-z_]*}_
      hf_key_rest=${hf_key_rest#*[!0-9A-Za-z_]}
      ;;
    *) break ;;
    esac
  done
  hf_key=$hf_key$hf_key_rest
}

# hf_bounded SECONDS COMMAND...: runs a command that must end in that time: fails with 124 if it was stopped.
hf_bounded() {
  [ -n "${hf_timeout_kind:-}" ] || hf_bounded_kind
  hf_bounded_seconds=$1
  shift
  case $hf_timeout_kind in
  posix) timeout -k 5 "$hf_bounded_seconds" "$@" ;;
  old) timeout -t "$hf_bounded_seconds" "$@" ;;
  *) hf_bounded_by_us "$@" ;;
  esac
  hf_bounded_code=$?
  # busybox's timeout, and ours, tell by the signal that the command died of.
  [ "$hf_bounded_code" -le 128 ] || hf_bounded_code=124
  return "$hf_bounded_code"
}

# hf_bounded_by_us COMMAND...: the same where there is no timeout.
hf_bounded_by_us() {
  "$@" &
  hf_bounded_child=$!
  # Nothing of ours stays open in who counts: its sleep may outlive the command.
  (
    exec </dev/null >/dev/null 2>&1 3>&-
    sleep "$hf_bounded_seconds"
    kill -s TERM "$hf_bounded_child" && sleep 5 && kill -s KILL "$hf_bounded_child"
  ) &
  hf_bounded_guard=$!
  wait "$hf_bounded_child"
  hf_bounded_code=$?
  kill -s TERM "$hf_bounded_guard" 2>/dev/null
  return "$hf_bounded_code"
}

# hf_bounded_kind: sets hf_timeout_kind to how timeout wants its words.
hf_bounded_kind() {
  hf_timeout_kind=none
  hf_have timeout || return 0
  if timeout -k 5 5 true </dev/null >/dev/null 2>&1; then
    hf_timeout_kind=posix
  elif timeout -t 5 true </dev/null >/dev/null 2>&1; then
    hf_timeout_kind=old
  fi
}

# hf_asking TOOL: tells whether there is patience left to ask; sets hf_asking_limit. hf_answered CODE tells after it whether
# the tool answered in time. Both set hf_unread to why not. Who observes hears an empty line before each question, since it
# gives up on a host that says nothing for longer than one question may take.
hf_asking() {
  [ "$hf_asked" != observe ] || hf_say '' >&3
  hf_asking_limit=${2:-$hf_tool_limit} hf_asking_tool=$1 hf_unread=
  [ "$hf_asking_limit" -le "$hf_patience" ] || hf_asking_limit=$hf_patience
  [ "$hf_asking_limit" -gt 0 ] && return 0
  hf_unread="$1 was not asked: what did not answer before it took too long"
  return 1
}

hf_answered() {
  case $1 in
  124) ;;
  *) return 0 ;;
  esac
  hf_patience=$((hf_patience - hf_asking_limit))
  hf_unread="$hf_asking_tool did not end within $hf_asking_limit seconds"
  return 1
}

# hf_unread_all LIST VALUE...: what was not found there is not absent: it could not be looked at, and hf_unread says why.
hf_unread_all() {
  hf_unread_all_list=$1
  shift
  for hf_unread_all_value; do
    hf_find "$hf_unread_all_list" "$hf_unread_all_value" || continue
    eval "[ -n \"\$hf_r_${hf_unread_all_list}_$hf_at\" ] || hf_r_${hf_unread_all_list}_$hf_at=!\$hf_unread"
  done
}

# hf_readable: tells whether hf_found was found out; if not, reports that.
hf_readable() {
  case $hf_found in
  '!'*)
    hf_attr unreadable "${hf_found#?}"
    return 1
    ;;
  esac
}

# hf_cached LIST VALUE: sets hf_found to what was collected of it; fails if it was not collected.
hf_cached() {
  [ "$hf_collected" = 1 ] || return 1
  hf_find "$1" "$2" || return 1
  eval "hf_found=\$hf_r_$1_$hf_at"
}

# hf_collect: asks for everything on the lists.
hf_collect() {
  [ -n "${hf_caps_done:-}" ] || hf_caps
  if [ "$hf_stat_kind" != ls ]; then
    hf_chunks path hf_stat_many
  else
    hf_each=0
    while [ "$hf_each" -lt "$hf_n_path" ]; do
      hf_each=$((hf_each + 1))
      eval "hf_stat_ls \"\$hf_v_path_$hf_each\""
      eval "hf_r_path_$hf_each=\$hf_line"
      [ -z "$hf_trouble" ] || hf_stat_doubt=1
    done
  fi
  case $hf_digest_kind in
  sha256sum | shasum | cksum) hf_digest_all ;;
  esac
  hf_chunks package hf_package_many
  hf_chunks service hf_service_many
  hf_chunks user hf_user_many
  hf_chunks group hf_group_many
  hf_each=0
  while [ "$hf_each" -lt "$hf_n_crontab" ]; do
    hf_each=$((hf_each + 1))
    eval "hf_crontab_one \"\$hf_v_crontab_$hf_each\""
    [ "$hf_crontab_is" != unreadable ] || hf_crontab_text=$hf_crontab_why
    eval "hf_r_crontab_$hf_each=\$hf_crontab_is:\$hf_crontab_text"
  done
  hf_collected=1
}

# hf_chunks LIST FUNCTION: calls FUNCTION with the list's values, a chunk at a time.
hf_chunks() {
  hf_list=$1 hf_function=$2 hf_each=0 hf_mark=0
  eval "hf_all=\$hf_n_$1"
  set --
  while [ "$hf_each" -lt "$hf_all" ]; do
    hf_each=$((hf_each + 1))
    eval "set -- \"\$@\" \"\$hf_v_${hf_list}_$hf_each\""
    if [ "$#" -ge "$hf_chunk" ]; then
      "$hf_function" "$@"
      set --
    fi
  done
  if [ "$#" -gt 0 ]; then
    "$hf_function" "$@"
  fi
}

# hf_lines FUNCTION TEXT: calls FUNCTION with each non-empty line.
hf_lines() {
  hf_line_function=$1
  hf_ifs=$IFS
  IFS=$hf_nl
  set -f
  # shellcheck disable=SC2086
  set -- $2
  set +f
  IFS=$hf_ifs
  for hf_line; do
    "$hf_line_function" "$hf_line"
  done
}

# Paths. The tools answer in the order of their arguments and leave out what is not there. When fewer answers come
# than were asked for, hf_stat_doubt makes each probe that would say "absent" look for itself.
hf_stat_many() {
  hf_stat_many_n=0
  if hf_stat_many_said=$(stat "-$hf_stat_kind" "$hf_stat_format" "$@" 2>/dev/null); then
    hf_stat_many_n=$#
  else
    hf_lines hf_stat_gap "$(stat "-$hf_stat_kind" "$hf_stat_format" "$@" 2>&1 >/dev/null)"
  fi
  hf_lines hf_stat_line "$hf_stat_many_said"
  [ "$hf_stat_many_n" -ge "$#" ] || hf_stat_doubt=1
}
hf_stat_doubt=0

# hf_stat_gap WORDS: counts what is said not to be there.
hf_stat_gap() {
  hf_stat_failed "$1"
  [ -n "$hf_trouble" ] || hf_stat_many_n=$((hf_stat_many_n + 1))
}

hf_stat_line() {
  hf_stat_many_n=$((hf_stat_many_n + 1))
  hf_name=${1#*"$hf_tab/"}
  hf_place path "/$hf_name" && eval "hf_r_path_$hf_mark=\${1%\"\$hf_tab/\$hf_name\"}"
}

# hf_place LIST VALUE: moves hf_mark on to the number of VALUE; leaves it alone if there is none further on (a name
# with a newline or a tab: its probe asks for itself).
hf_place() {
  hf_next=$hf_mark
  eval "hf_count=\$hf_n_$1"
  while [ "$hf_next" -lt "$hf_count" ]; do
    hf_next=$((hf_next + 1))
    eval "hf_value=\$hf_v_$1_$hf_next"
    if [ "$hf_value" = "$2" ]; then
      hf_mark=$hf_next
      return 0
    fi
  done
  return 1
}

hf_digest_all() {
  hf_mark=0 hf_each=0
  set --
  while [ "$hf_each" -lt "$hf_n_path" ]; do
    hf_each=$((hf_each + 1))
    eval "hf_line=\$hf_r_path_$hf_each hf_value=\$hf_v_path_$hf_each"
    case $hf_line in
    *"$hf_tab"[rR]egular*) ;;
    *) continue ;;
    esac
    # Digest tools escape such names in their output.
    case $hf_value in
    *\\* | *"$hf_nl"*) continue ;;
    esac
    set -- "$@" "$hf_value"
    if [ "$#" -ge "$hf_chunk" ]; then
      hf_digest_many "$@"
      set --
    fi
  done
  if [ "$#" -gt 0 ]; then
    hf_digest_many "$@"
  fi
}

hf_digest_many() {
  case $hf_digest_kind in
  sha256sum) hf_lines hf_digest_line "$(sha256sum "$@" 2>/dev/null)" ;;
  shasum) hf_lines hf_digest_line "$(shasum -a 256 "$@" 2>/dev/null)" ;;
  cksum) hf_lines hf_digest_line "$(cksum "$@" 2>/dev/null)" ;;
  esac
}

hf_digest_line() {
  hf_name=/${1#*" /"}
  hf_sha=${1%" $hf_name"}
  hf_sha=${hf_sha%" "}
  hf_digest_set
  hf_place path "$hf_name" && eval "hf_d_path_$hf_mark=\$hf_digest"
}

# hf_look PATH: as hf_stat_one, from what was collected if it was.
hf_look() {
  hf_looked=0
  case $1 in
  *"$hf_tab"* | *"$hf_nl"*) hf_stat_one "$1" ;;
  *)
    if hf_cached path "$1" && { [ -n "$hf_found" ] || [ "$hf_stat_doubt" = 0 ]; }; then
      hf_looked=$hf_at hf_trouble=
      hf_stat_read "$hf_found"
    else
      hf_stat_one "$1"
    fi
    ;;
  esac
}

# hf_look_digest PATH: sets hf_digest; after hf_look of the same path.
hf_look_digest() {
  hf_digest=
  if [ "$hf_looked" -gt 0 ]; then
    eval "hf_digest=\$hf_d_path_$hf_looked"
  fi
  [ -n "$hf_digest" ] || hf_digest_one "$1"
}

# hf_probe_path PATH OWNER-FORM GROUP-FORM: what stands at a path. The forms are `name` or `number`, as the
# blueprint has it.
hf_probe_path() {
  hf_look "$1"
  hf_probe_type "$1"
  case $hf_type in
  file)
    hf_probe_owner "$2" "$3"
    [ "$hf_links" -le 1 ] || hf_attr links "$hf_links"
    hf_look_digest "$1"
    hf_attr size "$hf_size"
    hf_attr digest "$hf_digest"
    return 0
    ;;
  directory)
    hf_probe_owner "$2" "$3"
    if hf_empty "$1"; then
      hf_attr empty yes
    else
      hf_attr empty no
    fi
    ;;
  symlink)
    hf_link_one "$1"
    hf_attr target "$hf_target"
    ;;
  esac
  # Tells the controller in which form to expect the digest once the file is there.
  [ "$hf_digest_kind" != cksum ] || hf_attr digests cksum
}

# hf_probe_type PATH: the type; why it is not known; whether the folder of what is not there is there.
hf_probe_type() {
  hf_attr type "$hf_type"
  case $hf_type in
  unknown) hf_attr unreadable "$hf_trouble" ;;
  absent)
    hf_probe_type_folder=${1%/*}
    [ -d "${hf_probe_type_folder:-/}" ] || hf_attr folder missing
    ;;
  esac
}

hf_probe_owner() {
  hf_attr mode "$hf_mode"
  if [ "$1" = number ]; then
    hf_attr owner "$hf_uid"
  else
    hf_attr owner "$hf_owner"
  fi
  if [ "$2" = number ]; then
    hf_attr group "$hf_gid"
  else
    hf_attr group "$hf_group"
  fi
}

# hf_probe_file PATH WANTED-SHA256 WANTED-CRC:BYTES SENSITIVE OWNER-FORM GROUP-FORM
hf_probe_file() {
  hf_probe_path "$1" "$5" "$6"
  [ "$hf_type" = file ] || return 0
  case $hf_digest in
  "sha256:$2" | "cksum:$3" | unreadable) return 0 ;;
  esac
  # 64 KiB: more text than that is no diff that a person reads.
  if [ "$4" = no ] && [ "$hf_size" -le 65536 ]; then
    hf_text "$1" "$hf_size"
  fi
}

# hf_kept_text LIFE: brings the text that a file had before a life.
hf_kept_text() {
  hf_stat_one "$hf_state/before/$1/content"
  [ "$hf_type" = file ] || return 0
  hf_text "$hf_state/before/$1/content" "$hf_size"
}

# hf_probe_symlink PATH
hf_probe_symlink() {
  hf_probe_path "$1" name name
}

# hf_probe_directory PATH WITH-EMPTY OWNER-FORM GROUP-FORM: whether it is empty is reported when it shall go.
hf_probe_directory() {
  hf_look "$1"
  hf_probe_type "$1"
  [ "$hf_type" = directory ] || return 0
  hf_probe_owner "$3" "$4"
  [ "$2" = yes ] || return 0
  if hf_empty "$1"; then
    hf_attr empty yes
  else
    hf_attr empty no
  fi
}

# hf_probe_line PATH LINE
hf_probe_line() {
  hf_look "$1"
  hf_probe_type "$1"
  case $hf_type in
  file)
    [ "$hf_links" -le 1 ] || hf_attr links "$hf_links"
    hf_has_line "$1" "$2"
    case $? in
    0) hf_attr line present ;;
    1) hf_attr line absent ;;
    *) hf_attr line unreadable ;;
    esac
    ;;
  absent) hf_attr line absent ;;
  esac
}

# hf_has_line PATH LINE: tells whether a file has that line; 2 if it can't be read. The line goes to awk by its environment:
# arguments of processes are for everybody to see.
hf_has_line() {
  (
    hf_has_line_wanted=$2
    export hf_has_line_wanted
    awk '$0 "" == ENVIRON["hf_has_line_wanted"] "" { found = 1; exit } END { exit found ? 10 : 11 }' "$1" >/dev/null 2>&1
  )
  case $? in
  10) return 0 ;;
  11) return 1 ;;
  esac
  return 2
}

# hf_check_passes: runs $hf_check, the sh of a user, with the variables that the body's hf_check_env exports; 124 if it had
# to be stopped. Its text is nobody
# else's to see, so it goes by the environment and not as an argument, and what it calls does not get it. In a process
# of its own, so that its own exit code can't be taken for a stop.
hf_check_passes() {
  (
    umask 022
    exec </dev/null >/dev/null 2>&1 3>&-
    hf_check_env
    # The newline keeps a check that begins with `-` from being an option.
    hf_check=$hf_nl$hf_check
    export hf_check
    # shellcheck disable=SC2016
    hf_bounded "$hf_asking_limit" ${hf_sh:-/bin/sh} -c \
      'hf_checked=$hf_check; unset hf_check; (eval "$hf_checked"); [ "$?" = 0 ] && exit 0; exit 1'
  )
}

# hf_probe_check: reports whether $hf_check passes.
hf_probe_check() {
  if hf_asking 'its check' "${hf_limit:-$hf_check_limit}"; then
    hf_check_passes
    case $? in
    0) hf_attr check passed ;;
    124) hf_answered 124 || hf_attr unreadable "$hf_unread" ;;
    *) hf_attr check failed ;;
    esac
  else
    hf_attr unreadable "$hf_unread"
  fi
}

# Packages.
hf_package_many() {
  case $hf_pm in
  apt) hf_package_tool=dpkg-query ;;
  dnf) hf_package_tool=rpm ;;
  *) return 0 ;;
  esac
  if ! hf_asking "$hf_package_tool"; then
    hf_unread_all package "$@"
    return 0
  fi
  # shellcheck disable=SC2016
  case $hf_pm in
  apt) hf_package_said=$(hf_bounded "$hf_asking_limit" dpkg-query -W \
    -f '${binary:Package}\t${Package}:${Architecture}\t${Status}\t${Version}\n' -- "$@" 2>/dev/null) ;;
  dnf) hf_package_said=$(hf_bounded "$hf_asking_limit" rpm -q \
    --qf '%{NAME}\t%{NAME}.%{ARCH}\tinstall ok installed\t%{VERSION}-%{RELEASE}\n' -- "$@" 2>&1) ;;
  esac
  hf_package_code=$?
  hf_lines hf_package_line "$hf_package_said"
  if hf_answered "$hf_package_code"; then
    # dpkg-query: 1 if something was not found, 2 if it could not look. rpm: how many were not found, and `error:` besides.
    case $hf_pm,$hf_package_code in
    apt,[01]) ;;
    dnf,12[67] | apt,*) hf_unread="$hf_package_tool ended with $hf_package_code" ;;
    *)
      case $hf_nl$hf_package_said in
      *"${hf_nl}error: "*) hf_unread="rpm can't read its database: ${hf_package_said#*error: }" ;;
      esac
      hf_unread=${hf_unread%%"$hf_nl"*}
      ;;
    esac
  fi
  [ -z "$hf_unread" ] || hf_unread_all package "$@"
}

hf_package_line() {
  case $1 in
  *"$hf_tab"*"$hf_tab"*"$hf_tab"*) ;;
  *) return 0 ;;
  esac
  hf_package_line_own=${1%%"$hf_tab"*}
  hf_package_line_rest=${1#*"$hf_tab"}
  hf_package_line_full=${hf_package_line_rest%%"$hf_tab"*}
  hf_package_line_rest=${hf_package_line_rest#*"$hf_tab"}
  # dpkg's own name has the architecture where it needs one (libc6:i386); it may be asked for with it or without.
  # dpkg before 1.16.2 does not know that name.
  set -- "$hf_package_line_own" "${hf_package_line_full%%:*}" "$hf_package_line_full"
  for hf_package_line_name; do
    hf_find package "$hf_package_line_name" || continue
    eval "hf_found=\$hf_r_package_$hf_at"
    # One line per architecture: an installed one counts.
    case $hf_found in
    *" ok installed$hf_tab"*) continue ;;
    esac
    eval "hf_r_package_$hf_at=\$hf_package_line_rest"
  done
}

# hf_probe_package NAME
hf_probe_package() {
  if ! hf_cached package "$1"; then
    hf_one package hf_package_many "$1"
  fi
  case $hf_pm in
  none)
    hf_attr manager none
    return 0
    ;;
  esac
  hf_readable || return 0
  case $hf_found in
  *" ok installed$hf_tab"*)
    hf_attr installed yes
    hf_attr version "${hf_found#*"$hf_tab"}"
    case $hf_found in
    hold*) hf_attr held yes ;;
    esac
    if hf_brought_along "$1"; then
      hf_attr brought yes
    else
      hf_attr brought no
    fi
    ;;
  *" config-files$hf_tab"*)
    hf_attr installed no
    hf_attr residual yes
    ;;
  '' | *" not-installed$hf_tab"*)
    hf_attr installed no
    ;;
  *)
    # Half installed, unpacked, waiting for triggers: not as desired, and worth showing. What our own install left so,
    # it goes on with.
    hf_probe_package_state=${hf_found%%"$hf_tab"*}
    hf_attr installed "${hf_probe_package_state##* }"
    [ ! -e "${hf_state:-}/unfinished" ] || hf_attr unfinished yes
    ;;
  esac
}

# hf_brought_along NAME: tells whether an installed package is there for no other reason than that an install of ours brought
# it: a list of ours has it, and the package manager says itself that nobody asked for it. No answer is no.
hf_brought_along() {
  if [ -z "${hf_brought_read:-}" ]; then
    hf_brought_read=yes hf_brought=
    for hf_brought_along_list in "${hf_state:-}"/before/*/added "${hf_state:-}/brought"; do
      [ -s "$hf_brought_along_list" ] || continue
      # The package that a life is about heads its list, and came for its own sake.
      hf_first_line "${hf_brought_along_list%/added}/meta" || hf_got=
      hf_brought=$hf_brought$hf_nl$(own=${hf_got#address package.} pm=$hf_pm awk '
        BEGIN { arch = ENVIRON["pm"] == "apt" ? ":[^:]*$" : "[.][^.]*$"; own = ENVIRON["own"]; if (ENVIRON["pm"] == "apt") sub(arch, "", own) }
        { bare = $0; sub(arch, "", bare) }
        $0 != own && bare != own' "$hf_brought_along_list" 2>/dev/null)
    done
    hf_brought=$hf_brought$hf_nl
  fi
  case $hf_pm in
  apt)
    case $hf_brought in
    *"$hf_nl${1%%:*}$hf_nl"* | *"$hf_nl${1%%:*}:"*) ;;
    *) return 1 ;;
    esac
    [ -n "$(hf_bounded "$hf_asking_limit" apt-mark showauto "$1" 2>/dev/null)" ]
    ;;
  dnf)
    case $hf_brought in
    *"$hf_nl$1$hf_nl"* | *"$hf_nl$1."*) ;;
    *) return 1 ;;
    esac
    if hf_have dnf; then
      hf_brought_along_why=$(hf_bounded "$hf_asking_limit" dnf -C -q repoquery --installed --qf '%{reason}' "$1" 2>/dev/null)
    else
      hf_brought_along_why=$(cat /var/lib/yum/yumdb/*/*-"$1"-[0-9]*/reason 2>/dev/null)
    fi
    case $hf_brought_along_why in
    dep | dependency | weak-dependency) ;;
    *) return 1 ;;
    esac
    ;;
  *) return 1 ;;
  esac
}

# hf_one LIST FUNCTION VALUE: collects a single value; sets hf_found.
hf_one() {
  [ -n "${hf_caps_done:-}" ] || hf_caps
  hf_find "$1" "$3" || {
    hf_add "$1" "$3"
    eval "hf_at=\$hf_n_$1"
  }
  hf_one_at=$hf_at
  eval "hf_r_$1_$hf_one_at="
  "$2" "$3"
  eval "hf_found=\$hf_r_$1_$hf_one_at"
}

# Services.
hf_service_many() {
  [ "$hf_init" = systemd ] || return 0
  if ! hf_asking systemctl; then
    hf_unread_all service "$@"
    return 0
  fi
  hf_blocks=$(hf_bounded "$hf_asking_limit" systemctl show -p Id -p LoadState -p ActiveState -p UnitFileState -- "$@" 2>/dev/null)
  if ! hf_answered "$?"; then
    hf_unread_all service "$@"
    return 0
  fi
  # One block per name, in their order, with an empty line between them. Anything else: ask one by one.
  hf_left_over=$hf_blocks
  hf_blocks_n=0
  while [ -n "$hf_left_over" ]; do
    hf_blocks_n=$((hf_blocks_n + 1))
    case $hf_left_over in
    *"$hf_nl$hf_nl"*) hf_left_over=${hf_left_over#*"$hf_nl$hf_nl"} ;;
    *) hf_left_over= ;;
    esac
  done
  if [ "$hf_blocks_n" -ne "$#" ]; then
    if [ "$#" -le 1 ]; then
      hf_unread="systemctl tells nothing of it: $(hf_bounded "$hf_asking_limit" systemctl show -p Id -- "$1" 2>&1 >/dev/null)"
      hf_unread=${hf_unread%%"$hf_nl"*}
      hf_unread_all service "$1"
      return 0
    fi
    for hf_service_many_unit; do
      hf_service_many "$hf_service_many_unit"
    done
    return 0
  fi
  for hf_service_many_unit; do
    if hf_find service "$hf_service_many_unit"; then
      eval "hf_r_service_$hf_at=\${hf_blocks%%\"\$hf_nl\$hf_nl\"*}"
    fi
    hf_blocks=${hf_blocks#*"$hf_nl$hf_nl"}
  done
}

# hf_probe_service NAME: `unit` is found, missing, static or masked.
hf_probe_service() {
  if ! hf_cached service "$1"; then
    hf_one service hf_service_many "$1"
  fi
  hf_readable || return 0
  case $hf_init in
  systemd) hf_probe_systemd "$1" ;;
  sysv) hf_probe_sysv "$1" ;;
  *) hf_attr init none ;;
  esac
}

hf_probe_systemd() {
  hf_unit=found hf_running=no hf_enabled=no
  case $hf_found in
  '' | *LoadState=not-found*)
    hf_attr unit missing
    return 0
    ;;
  *LoadState=masked*) hf_unit=masked ;;
  esac
  case $hf_found in
  *UnitFileState=static*) hf_unit=static ;;
  *UnitFileState=enabled* | *UnitFileState=alias*) hf_enabled=yes ;;
  *UnitFileState=generated* | *UnitFileState="$hf_nl"* | *UnitFileState=)
    if hf_rc_linked "$1"; then
      hf_enabled=yes
    fi
    ;;
  esac
  case $hf_found in
  *ActiveState=active* | *ActiveState=reloading*) hf_running=yes ;;
  esac
  hf_attr unit "$hf_unit"
  hf_attr running "$hf_running"
  hf_attr enabled "$hf_enabled"
}

hf_probe_sysv() {
  if ! [ -f "/etc/init.d/$1" ]; then
    hf_attr unit missing
    return 0
  fi
  if hf_asking "/etc/init.d/$1 status"; then
    hf_bounded "$hf_asking_limit" "/etc/init.d/$1" status </dev/null >/dev/null 2>&1 3>&-
    hf_probe_sysv_code=$?
    hf_answered "$hf_probe_sysv_code" || :
  fi
  if [ -n "$hf_unread" ]; then
    hf_attr unreadable "$hf_unread"
    return 0
  fi
  hf_attr unit found
  if [ "$hf_probe_sysv_code" = 0 ]; then
    hf_attr running yes
  else
    hf_attr running no
  fi
  if hf_rc_linked "$1"; then
    hf_attr enabled yes
  else
    hf_attr enabled no
  fi
}

# Whether SysV starts a service in one of the usual runlevels. Red Hat has the folders in /etc/rc.d, linked or not.
hf_rc_linked() {
  for hf_c in /etc/rc[2-5].d/S??"$1" /etc/rc.d/rc[2-5].d/S??"$1"; do
    if [ -e "$hf_c" ] || [ -h "$hf_c" ]; then
      return 0
    fi
  done
  return 1
}

# Accounts. Without getent, the files are all there is.
hf_user_many() {
  hf_accounts user passwd "$@"
}

hf_group_many() {
  hf_accounts group group "$@"
}

hf_accounts() {
  hf_list=$1 hf_database=$2
  shift 2
  hf_unread=
  if hf_have getent; then
    if hf_asking getent; then
      hf_accounts_said=$(hf_bounded "$hf_asking_limit" getent "$hf_database" "$@" 2>/dev/null)
      hf_accounts_code=$?
      hf_lines hf_account_line "$hf_accounts_said"
      # 2: some are not there.
      if hf_answered "$hf_accounts_code"; then
        case $hf_accounts_code in
        0 | 2) ;;
        *) hf_unread="getent $hf_database ended with $hf_accounts_code" ;;
        esac
      fi
    fi
  elif [ -r "/etc/$hf_database" ]; then
    while IFS= read -r hf_line || [ -n "$hf_line" ]; do
      hf_account_line "$hf_line"
    done <"/etc/$hf_database"
  else
    hf_unread="/etc/$hf_database can't be read"
  fi
  [ -z "$hf_unread" ] || hf_unread_all "$hf_list" "$@"
}

hf_account_line() {
  if hf_find "$hf_list" "${1%%:*}"; then
    eval "hf_r_${hf_list}_$hf_at=\$1"
  fi
}

# hf_probe_user NAME WITH-GROUPS PRIMARY-FORM
hf_probe_user() {
  if ! hf_cached user "$1"; then
    hf_one user hf_user_many "$1"
  fi
  hf_readable || return 0
  if [ -z "$hf_found" ]; then
    hf_attr exists no
    return 0
  fi
  hf_attr exists yes
  hf_rest=${hf_found#*:*:}
  hf_attr uid "${hf_rest%%:*}"
  hf_rest=${hf_rest#*:}
  hf_gid=${hf_rest%%:*}
  hf_rest=${hf_rest#*:}
  if [ "$3" = number ]; then
    hf_attr group "$hf_gid"
  else
    hf_attr group "$(id -gn -- "$1" 2>/dev/null)"
  fi
  hf_comment=${hf_rest%%:*}
  hf_rest=${hf_rest#*:}
  hf_attr home "${hf_rest%%:*}"
  hf_attr shell "${hf_rest#*:}"
  hf_attr comment "$hf_comment"
  if [ "$2" = yes ]; then
    hf_groups_of "$1"
    hf_attr groups "$hf_groups"
  fi
}

# hf_groups_of USER: sets hf_groups to the supplementary groups, sorted, with commas.
hf_groups_of() {
  hf_primary=$(id -gn -- "$1" 2>/dev/null)
  hf_groups=
  hf_lines hf_groups_line "$(id -Gn -- "$1" 2>/dev/null | tr ' ' '\n' | sort -u)"
}

hf_groups_line() {
  if [ "$1" != "$hf_primary" ]; then
    hf_groups=${hf_groups:+$hf_groups,}$1
  fi
}

# hf_probe_group NAME
hf_probe_group() {
  if ! hf_cached group "$1"; then
    hf_one group hf_group_many "$1"
  fi
  hf_readable || return 0
  if [ -z "$hf_found" ]; then
    hf_attr exists no
    return 0
  fi
  hf_attr exists yes
  hf_rest=${hf_found#*:*:}
  hf_attr gid "${hf_rest%%:*}"
}

# hf_crontab USER ARGUMENTS: the crontab command for a user (an empty one: who runs this).
hf_crontab() {
  if [ -n "$1" ]; then
    hf_crontab_user=$1
    shift
    crontab -u "$hf_crontab_user" "$@"
  else
    shift
    crontab "$@"
  fi
}

# hf_crontab_none USER MESSAGE: tells whether a failing `crontab -l` means that there is no crontab. Only its own words
# say so; any other failure (a disk that can't be read, a user that may not) may hide people's jobs.
hf_crontab_none() {
  case $2 in
  # Vixie's cron and its kin: Debian, Red Hat, SUSE, the BSDs, macOS. fcron. busybox, which knows errno's words.
  *'no crontab for '* | *' has no fcrontab'* | *"can't open '"*"': No such file or directory") return 0 ;;
  # Solaris and HP-UX say this of every failure; AIX has a number for it. The folder tells, if it can be read.
  *"can't open your crontab file"* | *0481-103*)
    ls /var/spool/cron/crontabs/. >/dev/null 2>&1 || return 1
    hf_crontab_none_user=$1
    if [ -z "$hf_crontab_none_user" ]; then
      hf_whoami
      hf_crontab_none_user=$hf_user
    fi
    [ ! -e "/var/spool/cron/crontabs/$hf_crontab_none_user" ]
    return
    ;;
  esac
  return 1
}

# hf_crontab_one USER: sets hf_crontab_text to the user's crontab and hf_crontab_is to some, none or unreadable (hf_crontab_why says why).
hf_crontab_one() {
  hf_crontab_text='' hf_crontab_is=none hf_crontab_why=
  if ! hf_have crontab; then
    hf_crontab_is=unreadable hf_crontab_why='there is no crontab command'
  elif hf_crontab_text=$(hf_crontab "$1" -l 2>/dev/null); then
    hf_crontab_is=some
  else
    # Asked again for the words alone: mixed with the jobs they could not be told from them.
    hf_crontab_why=$(hf_crontab "$1" -l 2>&1 >/dev/null)
    hf_crontab_none "$1" "$hf_crontab_why" || hf_crontab_is=unreadable
    hf_crontab_text=
  fi
  hf_crontab_why=${hf_crontab_why%%"$hf_nl"*}
}

# hf_crontab_file USER FILE: as hf_crontab_one, but into a file, byte by byte. Only for steps.
hf_crontab_file() {
  hf_crontab_is=some hf_crontab_why=
  if ! hf_crontab "$1" -l >"$2" 2>"$2.why"; then
    hf_crontab_is=none
    IFS= read -r hf_crontab_why <"$2.why" || :
    hf_crontab_none "$1" "$hf_crontab_why" || hf_crontab_is=unreadable
    { :; } >"$2" || hf_crontab_is=unreadable
  fi
  rm -f "$2.why"
}

# hf_probe_cron USER NAME: the line under the mark.
hf_probe_cron() {
  if ! hf_have crontab; then
    hf_attr crontab missing
    return 0
  fi
  if hf_cached crontab "$1"; then
    hf_crontab_text=${hf_found#*:} hf_crontab_is=${hf_found%%:*}
    hf_crontab_why=$hf_crontab_text
  else
    hf_crontab_one "$1"
  fi
  if [ "$hf_crontab_is" = unreadable ]; then
    hf_attr unreadable "the crontab can't be read: $hf_crontab_why"
    return 0
  fi
  hf_probe_cron_mark="# holdfast: $2"
  hf_probe_cron_rest=$hf_nl$hf_crontab_text$hf_nl
  case $hf_probe_cron_rest in
  *"$hf_nl$hf_probe_cron_mark$hf_nl"*)
    hf_probe_cron_rest=${hf_probe_cron_rest#*"$hf_nl$hf_probe_cron_mark$hf_nl"}
    hf_attr exists yes
    hf_attr line "${hf_probe_cron_rest%%"$hf_nl"*}"
    ;;
  *) hf_attr exists no ;;
  esac
}
