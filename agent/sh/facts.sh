# Observe: the host's identity, its jobs, its facts, and what the probes find. Writes nothing, forks little.

hf_fact() {
  [ -n "$2" ] || return 0
  hf_escaped "$2"
  hf_emit "fact $1 $hf_escaped"
}

# hf_os_release: id, version and name without running the file.
hf_os_release() {
  hf_os_id= hf_os_version= hf_os_name=
  for hf_file in /etc/os-release /usr/lib/os-release; do
    [ -r "$hf_file" ] || continue
    while IFS='=' read -r hf_key hf_val; do
      case $hf_val in
      \"*) hf_val=${hf_val#\"} hf_val=${hf_val%\"} ;;
      \'*) hf_val=${hf_val#\'} hf_val=${hf_val%\'} ;;
      esac
      case $hf_key in
      ID) hf_os_id=$hf_val ;;
      VERSION_ID) hf_os_version=$hf_val ;;
      PRETTY_NAME) hf_os_name=$hf_val ;;
      esac
    done <"$hf_file"
    return 0
  done
  # Before os-release (RHEL 6, SLES 11, Debian 6) and beside it (AIX, Solaris).
  if hf_first_line /etc/redhat-release; then
    hf_os_id=rhel hf_os_name=$hf_got
  elif hf_first_line /etc/SuSE-release; then
    hf_os_id=sles hf_os_name=$hf_got
  elif hf_first_line /etc/debian_version; then
    hf_os_id=debian hf_os_version=$hf_got hf_os_name="Debian $hf_got"
  fi
}

# hf_count_forks: sets hf_forks to the processes made since boot, on Linux.
hf_count_forks() {
  hf_forks=
  [ -r /proc/stat ] || return 0
  hf_forks=$(sed -n 's/^processes //p' /proc/stat)
}

hf_tell_facts() {
  set -- $(uname -snrm)
  hf_fact hostname "${2:-}"
  hf_fact kernel "${1:-} ${3:-}"
  hf_fact arch "${4:-}"
  hf_os_release
  hf_fact os.id "${hf_os_id:-${1:-unknown}}"
  hf_fact os.version "$hf_os_version"
  hf_fact os.name "$hf_os_name"
  hf_fact init "$hf_init"
  hf_fact package_manager "$hf_pm"
  hf_fact uid "$hf_uid_own"
  hf_fact user "$hf_user"
  hf_fact boot_id "$hf_boot"
  hf_fact digest "$hf_digest_kind"
  hf_fact stat "$hf_stat_kind"
  if hf_have setsid; then
    hf_fact setsid yes
  else
    hf_fact setsid no
  fi
  hf_fact cpus "$(getconf _NPROCESSORS_ONLN 2>/dev/null)"
  if [ -r /proc/meminfo ]; then
    read -r hf_key hf_val hf_unit </proc/meminfo
    hf_fact memory_kib "$hf_val"
  fi
}

hf_observe_main() {
  hf_say ''
  hf_count_forks
  hf_forks_before=$hf_forks
  hf_whoami
  hf_state_dir
  hf_boot_id
  if hf_first_line "$hf_state/machine"; then
    hf_emit "machine $hf_got"
  fi
  if hf_first_line "$hf_state/epoch"; then
    hf_emit "epoch $hf_got"
  fi
  if hf_good_name "$hf_controller" && hf_first_line "$hf_state/controllers/$hf_controller"; then
    hf_emit "last $hf_got"
  fi
  [ "$hf_lives" = 0 ] || hf_tell_lives
  hf_tell_jobs
  hf_caps
  if [ "$hf_facts" = 1 ]; then
    hf_tell_facts
  fi
  # What a probe's tools print goes nowhere: a line without its end would swallow the next of ours.
  hf_asked=observe hf_id=0
  hf_body 3>&1 >/dev/null 2>&1 </dev/null
  if [ -n "$hf_forks_before" ]; then
    hf_count_forks
    hf_emit "forks $((hf_forks - hf_forks_before))"
  fi
  hf_emit done
}
