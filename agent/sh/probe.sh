# The probes, one function per type of resource, and the batch that collects for all of them with a few forks.
# A probe reads what was collected, or asks for its one thing; it reports through hf_attr and writes nothing.

# How many names go to one process: a hundred of the longest usual paths stay below the 128 KiB of old kernels.
hf_chunk=100

# hf_forget: drops what was collected; probes ask anew.
hf_forget() {
  hf_n_path=0 hf_n_package=0 hf_n_service=0 hf_n_user=0 hf_n_group=0 hf_n_crontab=0
  hf_c_path=0 hf_c_package=0 hf_c_service=0 hf_c_user=0 hf_c_group=0 hf_c_crontab=0
  hf_collected=0
}
hf_forget

hf_collect_path() { hf_add path "$1"; }
hf_collect_package() { hf_add_once package "$1"; }
hf_collect_service() { hf_add_once service "$1"; }
hf_collect_user() { hf_add_once user "$1"; }
hf_collect_group() { hf_add_once group "$1"; }
hf_collect_crontab() { hf_add_once crontab "$1"; }

# hf_add LIST VALUE: appends to a list of numbered variables (sh has no arrays).
hf_add() {
  eval "hf_count=\$((hf_n_$1 + 1))"
  eval "hf_n_$1=\$hf_count hf_v_$1_$hf_count=\$2 hf_r_$1_$hf_count= hf_d_$1_$hf_count="
}

hf_add_once() {
  hf_find "$1" "$2" || hf_add "$1" "$2"
}

# hf_find LIST VALUE: sets hf_at to its number. It goes on where it last found something, because probes come in
# the order in which they were collected.
hf_find() {
  eval "hf_count=\$hf_n_$1 hf_look=\$hf_c_$1"
  hf_tries=0
  while [ "$hf_tries" -lt "$hf_count" ]; do
    hf_tries=$((hf_tries + 1))
    eval "hf_value=\$hf_v_$1_$((hf_look + 1))"
    hf_look=$(((hf_look + 1) % hf_count))
    if [ "$hf_value" = "$2" ]; then
      hf_at=$hf_look
      [ "$hf_at" -gt 0 ] || hf_at=$hf_count
      # The same value may be asked for again: the search begins with the one found.
      eval "hf_c_$1=$((hf_at - 1))"
      return 0
    fi
  done
  return 1
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
    [ "$hf_tab_is" != unreadable ] || hf_tab=$hf_tab_why
    eval "hf_r_crontab_$hf_each=\$hf_tab_is:\$hf_tab"
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

# Paths. The tools answer in the order of their arguments and leave out what is not there.
hf_stat_many() {
  hf_lines hf_stat_line "$(stat "-$hf_stat_kind" "$hf_stat_format" "$@" 2>/dev/null)"
}

hf_stat_line() {
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
    if hf_cached path "$1"; then
      hf_looked=$hf_at
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
  hf_attr type "$hf_type"
  case $hf_type in
  file)
    hf_probe_owner "$2" "$3"
    [ "$hf_links" -le 1 ] || hf_attr links "$hf_links"
    hf_look_digest "$1"
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

# hf_probe_symlink PATH
hf_probe_symlink() {
  hf_probe_path "$1" name name
}

# hf_probe_directory PATH WITH-EMPTY OWNER-FORM GROUP-FORM: whether it is empty is reported when it shall go.
hf_probe_directory() {
  hf_look "$1"
  hf_attr type "$hf_type"
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
  hf_attr type "$hf_type"
  case $hf_type in
  file)
    [ "$hf_links" -le 1 ] || hf_attr links "$hf_links"
    grep -Fx -e "$2" "$1" >/dev/null 2>&1
    case $? in
    0) hf_attr line present ;;
    1) hf_attr line absent ;;
    *) hf_attr line unreadable ;;
    esac
    ;;
  absent) hf_attr line absent ;;
  esac
}

# Packages.
hf_package_many() {
  case $hf_pm in
  apt)
    # shellcheck disable=SC2016
    hf_lines hf_package_line "$(dpkg-query -W -f '${Package}\t${Status}\t${Version}\n' -- "$@" 2>/dev/null)"
    ;;
  dnf)
    hf_lines hf_package_line "$(rpm -q --qf '%{NAME}\tinstall ok installed\t%{VERSION}-%{RELEASE}\n' -- "$@" 2>/dev/null)"
    ;;
  esac
}

hf_package_line() {
  case $1 in
  *"$hf_tab"*"$hf_tab"*) ;;
  *) return 0 ;;
  esac
  hf_name=${1%%"$hf_tab"*}
  hf_find package "$hf_name" || return 0
  eval "hf_found=\$hf_r_package_$hf_at"
  # One line per architecture: an installed one counts.
  case $hf_found in
  "install ok installed$hf_tab"*) return 0 ;;
  esac
  eval "hf_r_package_$hf_at=\${1#*\"\$hf_tab\"}"
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
  case $hf_found in
  *" ok installed$hf_tab"*)
    hf_attr installed yes
    hf_version=${hf_found#*"$hf_tab"}
    hf_attr version "$hf_version"
    ;;
  *" config-files$hf_tab"*)
    hf_attr installed no
    hf_attr residual yes
    ;;
  '' | *" not-installed$hf_tab"*)
    hf_attr installed no
    ;;
  *)
    # Half installed, unpacked, waiting for triggers: not as desired, and worth showing.
    hf_version=${hf_found%%"$hf_tab"*}
    hf_attr installed "$hf_version"
    ;;
  esac
}

# hf_one LIST FUNCTION VALUE: collects a single value; sets hf_found.
hf_one() {
  [ -n "${hf_caps_done:-}" ] || hf_caps
  hf_find "$1" "$3" || {
    hf_add "$1" "$3"
    eval "hf_at=\$hf_n_$1"
  }
  hf_single=$hf_at
  eval "hf_r_$1_$hf_single="
  "$2" "$3"
  eval "hf_found=\$hf_r_$1_$hf_single"
}

# Services.
hf_service_many() {
  [ "$hf_init" = systemd ] || return 0
  hf_blocks=$(systemctl show -p Id -p LoadState -p ActiveState -p UnitFileState -- "$@" 2>/dev/null)
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
    [ "$#" -gt 1 ] || return 0
    for hf_unit; do
      hf_service_many "$hf_unit"
    done
    return 0
  fi
  for hf_unit; do
    if hf_find service "$hf_unit"; then
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
  hf_attr unit found
  if "/etc/init.d/$1" status </dev/null >/dev/null 2>&1; then
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
  if hf_have getent; then
    hf_lines hf_account_line "$(getent "$hf_database" "$@" 2>/dev/null)"
  else
    while IFS= read -r hf_line || [ -n "$hf_line" ]; do
      hf_account_line "$hf_line"
    done <"/etc/$hf_database"
  fi
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

# hf_crontab_one USER: sets hf_tab to the user's crontab and hf_tab_is to some, none or unreadable (hf_tab_why says why).
hf_crontab_one() {
  hf_tab='' hf_tab_is=none hf_tab_why=
  if ! hf_have crontab; then
    hf_tab_is=unreadable hf_tab_why='there is no crontab command'
  elif hf_tab=$(hf_crontab "$1" -l 2>/dev/null); then
    hf_tab_is=some
  else
    # Asked again for the words alone: mixed with the jobs they could not be told from them.
    hf_tab_why=$(hf_crontab "$1" -l 2>&1 >/dev/null)
    hf_crontab_none "$1" "$hf_tab_why" || hf_tab_is=unreadable
    hf_tab=
  fi
  hf_tab_why=${hf_tab_why%%"$hf_nl"*}
}

# hf_crontab_file USER FILE: as hf_crontab_one, but into a file, byte by byte. Only for steps.
hf_crontab_file() {
  hf_tab_is=some hf_tab_why=
  if ! hf_crontab "$1" -l >"$2" 2>"$2.why"; then
    hf_tab_is=none
    IFS= read -r hf_tab_why <"$2.why" || :
    hf_crontab_none "$1" "$hf_tab_why" || hf_tab_is=unreadable
    { :; } >"$2" || hf_tab_is=unreadable
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
    hf_tab=${hf_found#*:} hf_tab_is=${hf_found%%:*}
    hf_tab_why=$hf_tab
  else
    hf_crontab_one "$1"
  fi
  if [ "$hf_tab_is" = unreadable ]; then
    hf_attr unreadable "the crontab can't be read: $hf_tab_why"
    return 0
  fi
  hf_probe_cron_mark="# holdfast: $2"
  hf_probe_cron_rest=$hf_nl$hf_tab$hf_nl
  case $hf_probe_cron_rest in
  *"$hf_nl$hf_probe_cron_mark$hf_nl"*)
    hf_probe_cron_rest=${hf_probe_cron_rest#*"$hf_nl$hf_probe_cron_mark$hf_nl"}
    hf_attr exists yes
    hf_attr line "${hf_probe_cron_rest%%"$hf_nl"*}"
    ;;
  *) hf_attr exists no ;;
  esac
}
