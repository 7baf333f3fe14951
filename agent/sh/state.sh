# What Holdfast keeps on a host: where it is, who is alive, where a job stands, and how a job is told.

# hf_whoami: sets hf_uid_own, hf_gid_own and hf_user from one fork.
hf_whoami() {
  hf_uid_own=$(id)
  hf_gid_own=${hf_uid_own#* gid=}
  hf_gid_own=${hf_gid_own%%[!0-9]*}
  hf_uid_own=${hf_uid_own#uid=}
  hf_user=${hf_uid_own#*\(}
  hf_user=${hf_user%%\)*}
  hf_uid_own=${hf_uid_own%%[!0-9]*}
}

# hf_state_dir: makes hf_state an absolute path.
hf_state_dir() {
  case $hf_state in
  '')
    if [ "$hf_uid_own" = 0 ]; then
      hf_state=/var/lib/holdfast
    elif [ -n "${HOME:-}" ]; then
      # Homes are on NFS in many places: one folder for each host.
      hf_state=$HOME/.holdfast/$(uname -n)
    fi
    ;;
  [~]) hf_state=${HOME:-} ;;
  [~]/*) hf_state=${HOME:+$HOME/${hf_state#??}} ;;
  esac
  case $hf_state in
  /*) ;;
  *) hf_refuse no-state-dir "the path is not absolute, or HOME is not set" ;;
  esac
  hf_blobs=$hf_state/blobs
  hf_boot_id
  hf_host_check
}

# hf_host_check: refuses a state folder that belongs to another host: what lives there would look dead from here, its
# lock would be taken and its job removed. `host` holds NAME BOOT: the same boot is the same host whatever its name,
# and so is the same name after another boot. hf_host_is tells whether that is what is written there.
hf_host_check() {
  hf_host_is=
  hf_first_line "$hf_state/host" || return 0
  hf_host_is=$hf_got
  [ "${hf_host_is##* }" != "$hf_boot" ] || [ "$hf_boot" = - ] || return 0
  hf_host_check_name=$(uname -n)
  [ "${hf_host_is% *}" = "$hf_host_check_name" ] ||
    hf_refuse no-state-dir "$hf_state is the state folder of host ${hf_host_is% *}, and this is $hf_host_check_name: give each a state_dir of its own; if this host was renamed, remove $hf_state/host there"
}

# hf_first_line FILE: sets hf_got to its first line; fails if there is none.
hf_first_line() {
  hf_got=
  { read -r hf_got <"$1"; } 2>/dev/null
  [ -n "$hf_got" ]
}

# hf_boot_id: sets hf_boot, which another boot changes.
hf_boot_id() {
  hf_boot=-
  if hf_first_line /proc/sys/kernel/random/boot_id; then
    hf_boot=$hf_got
  else
    hf_words_joined $(sysctl -n kern.boottime 2>/dev/null || who -b 2>/dev/null)
    hf_boot=${hf_joined:--}
  fi
}

hf_words_joined() {
  hf_joined=
  for hf_words_joined_one; do
    hf_joined=$hf_joined${hf_joined:+_}$hf_words_joined_one
  done
}

# hf_start_of PID: sets hf_start to when the process started; fails if there is none, or only its corpse.
hf_brace=') '
hf_start_of() {
  hf_start=
  if [ -r /proc/self/stat ]; then
    hf_first_line "/proc/$1/stat" || return 1
    # The name in brackets may hold anything; what follows the last bracket are numbers, the 20th of them the start.
    set -- ${hf_got##*"$hf_brace"}
    case $1 in
    Z | X) return 1 ;;
    esac
    hf_start=${20:-}
    [ -n "$hf_start" ]
  else
    kill -0 "$1" 2>/dev/null || return 1
    hf_words_joined $(ps -o lstart= -p "$1" 2>/dev/null)
    hf_start=${hf_joined:--}
  fi
}

# hf_alive PID START BOOT: tells whether that very process lives.
hf_alive() {
  [ -n "${hf_boot:-}" ] || hf_boot_id
  [ "${3:-}" = "$hf_boot" ] && hf_start_of "$1" && [ "$hf_start" = "$2" ]
}

# hf_job_works: tells whether anything of a job lives: its wrapper, the step that the wrapper began, or what the wrapper
# was waiting for. A wrapper that was killed alone leaves its step behind, and while that runs the job does.
hf_job_works() {
  # shellcheck disable=SC2154
  for hf_job_works_file in pid runs; do
    if hf_first_line "$hf_job/$hf_job_works_file" && hf_alive $hf_got; then
      return 0
    fi
  done
  hf_first_line "$hf_job/watch" || return 1
  # NUMBER PID LIMIT START BOOT, or only the number while it waits for nothing.
  set -- $hf_got
  [ -n "${5:-}" ] && hf_alive "$2" "$4" "$5"
}

# hf_job_look ATTEMPT: sets hf_job to its folder and hf_job_state. `go` is a folder of the wrapper that began, or a file
# of whoever saw to it that it never begins (hf_void).
hf_job_look() {
  hf_job=$hf_state/jobs/$1
  hf_job_state=gone
  [ -d "$hf_job" ] || return 0
  [ -n "${hf_boot:-}" ] || hf_boot_id
  hf_job_state=interrupted
  if [ -f "$hf_job/go" ]; then
    hf_job_state=untransferred
  elif [ -d "$hf_job/go" ]; then
    if hf_job_works; then
      hf_job_state=running
    # The wrapper is gone, and it is not decided yet whether what it did stays.
    elif hf_first_line "$hf_job/guard/pid" && hf_alive $hf_got; then
      hf_job_state=running
    fi
  elif hf_first_line "$hf_job/boot" && [ "$hf_got" != "$hf_boot" ]; then
    # What a crash left of the folder does not tell how far it came.
    :
  elif [ -f "$hf_job/step" ]; then
    hf_job_state=unstarted
  else
    hf_job_state=untransferred
  fi
  # Last, because the wrapper may have ended while we looked.
  [ ! -f "$hf_job/rc" ] || hf_job_state=done
}

# hf_tell_line LINE: a journal line as a line of the reply, with the blob that an output line speaks of.
hf_tell_line() {
  case $1 in
  output\ *)
    hf_tell_line_said=$1
    set -- $1
    hf_tell_line_size=$(wc -c <"$hf_job/out.$3" 2>/dev/null) || return 0
    [ "$hf_tell_line_size" -eq "$4" ] || return 0
    hf_emit "$hf_tell_line_said"
    cat "$hf_job/out.$3"
    hf_say ''
    ;;
  *) hf_emit "$1" ;;
  esac
}

# hf_tell_end: the end of a job that is done.
hf_tell_end() {
  hf_first_line "$hf_job/rc" && hf_emit "$hf_got"
}

# hf_tell_new: what stands in descriptor 4 (the journal) and was not told yet; counts lines in hf_told. A line that
# is not whole yet is kept for the next time.
hf_tell_new() {
  while IFS= read -r hf_more <&4; do
    hf_tell_line "$hf_part$hf_more" || exit 0
    hf_part=
    hf_told=$((hf_told + 1))
  done
  hf_part=$hf_part$hf_more
}
hf_part='' hf_told=0

# hf_good_name NAME: tells whether it is a plain name.
hf_good_name() {
  case $1 in
  '' | *[!0-9A-Za-z_-]*) return 1 ;;
  esac
}

# hf_tell_lives: what was kept of what was there before, each life with its address.
hf_tell_lives() {
  for hf_tell_lives_one in "$hf_state"/before/*; do
    hf_good_name "${hf_tell_lives_one##*/}" && hf_first_line "$hf_tell_lives_one/meta" || continue
    case $hf_got in
    'address '?*)
      hf_escaped "${hf_got#address }"
      hf_emit "life ${hf_tell_lives_one##*/} $hf_escaped"
      ;;
    esac
  done
}

# hf_tell_jobs: all jobs with their journals.
hf_tell_jobs() {
  for hf_tell_jobs_one in "$hf_state"/jobs/*; do
    [ -d "$hf_tell_jobs_one" ] || continue
    hf_job_look "${hf_tell_jobs_one##*/}"
    hf_emit "job ${hf_tell_jobs_one##*/} $hf_job_state"
    if [ -f "$hf_job/journal" ]; then
      hf_part=''
      hf_tell_new 4<"$hf_job/journal"
    fi
    if [ "$hf_job_state" = done ]; then
      hf_tell_end
    fi
  done
}
