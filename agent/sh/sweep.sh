# What a step that was killed left beside the paths it worked on: noted before it is made, cleared away with its job.

# hf_pwd: sets hf_real to where we are, by the kernel's word; what shells know of it is what they believe.
hf_pwd() {
  if [ -x /bin/pwd ]; then
    hf_real=$(/bin/pwd -P)
  else
    hf_real=$(pwd -P)
  fi
}

# hf_sweep_temporaries JOB-FOLDER: clears away what its steps noted and did not clear away themselves.
hf_sweep_temporaries() {
  [ -f "$1/temporaries" ] || return 0
  while IFS= read -r hf_sweep_path; do
    hf_sweep_one "$hf_sweep_path"
  done <"$1/temporaries"
}

# hf_sweep_one PATH: removes one, if it still is what we made. In a folder of ours nobody else can make anything, and
# only the names that we use there are removed.
hf_sweep_one() {
  case ${1##*/} in
  .holdfast-*) ;;
  *) return 0 ;;
  esac
  if [ -h "$1" ] || [ ! -d "$1" ]; then
    [ ! -h "$1" ] && [ ! -e "$1" ] || rm -f "$1"
    return 0
  fi
  (
    cd -P "$1" 2>/dev/null || exit 0
    hf_pwd
    [ "$hf_real" = "$1" ] && hf_sweep_ours . || exit 0
    rm -f ./hf.new ./hf.old ./hf.text
  )
  hf_sweep_ours "$1" && rmdir "$1" 2>/dev/null
  return 0
}

# hf_sweep_ours FOLDER: tells whether a folder belongs to whom the state folder belongs to, and to nobody else.
hf_sweep_ours() {
  # shellcheck disable=SC2046
  set -- "$1" $(ls -ldn "$hf_state/." 2>/dev/null)
  hf_sweep_mine=${4:-none}
  # shellcheck disable=SC2046
  set -- $(ls -ldn "$1" 2>/dev/null)
  case ${1:-} in
  drwx------*) ;;
  *) return 1 ;;
  esac
  [ "${3:-}" = "$hf_sweep_mine" ]
}

# Where the host's init is told of a guard (hf_boot_say).
hf_etc=/etc

# hf_sweep_hook ATTEMPT: takes that back: it is decided, or its job is gone.
hf_sweep_hook() {
  if grep -e "'$1' boot\$" "$hf_state/at-boot" >/dev/null 2>&1; then
    rm -f "$hf_etc/systemd/system/multi-user.target.wants/holdfast-guard.service" \
      "$hf_etc/systemd/system/holdfast-guard.service" "$hf_etc/cron.d/holdfast-guard" "$hf_state/at-boot"
  fi
}
