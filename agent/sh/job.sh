# The wrapper of a job: detached, under the host lock, step by step, with every line of the journal written before
# what it speaks of. The step file is this library, the job's body, and hf_job_main STATE-DIR ATTEMPT.

# Seconds for a probe, a capture, and the prologue's probes together: a host under load is slow, not dead.
hf_probe_limit=120
hf_capture_limit=600
hf_prologue_limit=600

hf_journal() {
  hf_say "$*" >>"$hf_job/journal"
}

# hf_end HOW DETAIL: the last word, into room that was made before anything was done, and at once by rename.
hf_end() {
  if [ "$hf_guarded" = 1 ]; then
    hf_guard_wait "$1" "${hf_ended_how:-}"
    [ "$hf_guard_how" != reverted ] || set -- reverted -
  fi
  hf_a=${2%%$hf_nl*}
  [ "${#hf_a}" -le 800 ] || hf_a='(too long to tell)'
  hf_say "end $hf_attempt $1 $hf_a" | dd of="$hf_job/rc.new" conv=notrunc 2>/dev/null
  if [ "$hf_locked" = 1 ]; then
    rm -rf "$hf_state/lock"
  fi
  mv "$hf_job/rc.new" "$hf_job/rc"
  exit 0
}
hf_locked=0

# hf_lock: the host lock. A dead owner's is taken over: moved away first, so that only one can do it, and looked at
# again, in case another was faster.
hf_lock() {
  hf_tries=0
  while ! mkdir "$hf_state/lock" 2>/dev/null; do
    hf_tries=$((hf_tries + 1))
    [ "$hf_tries" -le 5 ] || hf_end locked "${hf_holder:-unknown}"
    hf_holder=
    if hf_first_line "$hf_state/lock/owner"; then
      hf_holder=$hf_got
      hf_alive $hf_holder && hf_end locked "$hf_holder"
    elif [ "$hf_tries" -lt 3 ]; then
      # Its owner is about to write its name, or died before it could.
      sleep 1
      continue
    fi
    if mv "$hf_state/lock" "$hf_state/lock.$hf_attempt" 2>/dev/null; then
      hf_got=
      hf_first_line "$hf_state/lock.$hf_attempt/owner"
      if [ "$hf_got" != "$hf_holder" ]; then
        mv "$hf_state/lock.$hf_attempt" "$hf_state/lock"
        hf_end locked "$hf_got"
      fi
      rm -rf "$hf_state/lock.$hf_attempt"
    fi
  done
  hf_locked=1
  hf_say "$hf_self $hf_attempt" >"$hf_state/lock/owner" || hf_end stopped "0 disk-full"
}

# hf_probe FUNCTION MODE LIMIT: runs probes in a subshell; sets hf_shown to their lines. Fails if they were stopped
# (hf_stopped=1) or their words could not be written down.
hf_probe() {
  (
    hf_asked=$2 hf_prefix=
    "$1"
    [ "$hf_attr_failed" = 0 ]
    exit
  ) 3>"$hf_job/attrs" </dev/null >/dev/null 2>&1 &
  hf_wait "$!" "$3"
  [ "$hf_stopped" = 0 ] && [ "$hf_code" = 0 ] || return 1
  hf_shown=
  while IFS= read -r hf_more; do
    hf_shown=$hf_shown$hf_more$hf_nl
  done <"$hf_job/attrs"
}

# hf_stale: tells how what was found differs from the fingerprint, in one line.
hf_stale() {
  hf_a=$hf_fingerprint hf_b=$hf_shown
  while [ "${hf_a%%$hf_nl*}" = "${hf_b%%$hf_nl*}" ] && [ -n "$hf_a$hf_b" ]; do
    hf_a=${hf_a#*"$hf_nl"} hf_b=${hf_b#*"$hf_nl"}
  done
  hf_a=${hf_a%%$hf_nl*} hf_b=${hf_b%%$hf_nl*}
  hf_end stale "${hf_a:-nothing} -> ${hf_b:-nothing}"
}

# hf_shows: tells whether every wanted line was found; sets hf_lacking to those that were not, joined by "; ".
hf_shows() {
  hf_lacking=
  hf_todo=$hf_wanted$hf_nl
  while [ -n "$hf_todo" ]; do
    hf_more=${hf_todo%%$hf_nl*}
    hf_todo=${hf_todo#*"$hf_nl"}
    [ -n "$hf_more" ] || continue
    case "$hf_nl$hf_shown" in
    *"$hf_nl$hf_more$hf_nl"*) ;;
    *) hf_lacking=$hf_lacking${hf_lacking:+; }$hf_more ;;
    esac
  done
  [ -z "$hf_lacking" ]
}

# hf_tell_found before|after: the lines of a probe, into the journal.
hf_tell_found() {
  hf_todo=$hf_shown
  while [ -n "$hf_todo" ]; do
    hf_journal "stepattr $hf_attempt $hf_step $1 ${hf_todo%%$hf_nl*}"
    hf_todo=${hf_todo#*"$hf_nl"}
  done
}

# hf_ended STATUS DETAIL: the step's last line.
hf_ended() {
  hf_now
  hf_a=${2%%$hf_nl*}
  [ "${#hf_a}" -le 16384 ] || hf_a='(too long to tell)'
  # Of a guarded step the last word is said when it is decided.
  hf_into=$hf_job/journal
  [ "$hf_changing" = 0 ] || [ -z "$hf_guard" ] || hf_into=$hf_job/pending
  if ! hf_say "step $hf_attempt $hf_step $1 $((hf_time - hf_began)) $hf_before_digest $hf_a" >>"$hf_into"; then
    hf_end stopped "$hf_step disk-full"
  fi
  case $1 in
  unchanged) ;;
  changed | left) hf_changed="$hf_changed$hf_step " ;;
  *)
    hf_ended_how="$hf_address: $1${hf_a:+, $hf_a}"
    hf_end stopped "$hf_step $1"
    ;;
  esac
}

# hf_defined NAME: tells whether the body has that function.
hf_defined() {
  command -v "$1" >/dev/null 2>&1
}

# hf_hold_before: what a step's life asks for before anything is changed; sets hf_before_digest. A life that begins has
# its *before* captured, one that ends has it looked over, whole.
hf_hold_before() {
  case $hf_life in
  begins) hf_capture_into "$hf_before" "hf_capture_$hf_step" ;;
  ends)
    hf_before_whole || hf_ended before-lost "$hf_said"
    ;;
  none) mkdir "$hf_before" 2>>"$hf_job/said" || hf_ended not-captured "no room in the job's folder; the disk may be full" ;;
  esac
  if [ "$hf_life" != none ] && [ -f "$hf_before/meta" ]; then
    hf_digest_one "$hf_before/meta"
    hf_before_digest=$hf_digest
  fi
}

# hf_capture_into FOLDER FUNCTION: takes what is there into a new folder (its complaints go over the blocks that `said`
# already has) and gives it its name when it is whole and on disk. No two lives have one name, so a folder that is there
# is another's.
hf_capture_into() {
  [ ! -e "$1" ] || hf_ended not-captured "$1 is there already"
  rm -rf "$1.new"
  (
    hf_before=$1.new
    mkdir "$hf_before" || exit 1
    if hf_defined "$2"; then
      "$2" || exit 1
    fi
    hf_capture_meta >"$hf_before/found" || exit 1
    if [ -f "$hf_before/meta" ]; then
      cat "$hf_before/meta" >>"$hf_before/found" || exit 1
    fi
    mv "$hf_before/found" "$hf_before/meta" || exit 1
    # Newer tools sync these files, older ones everything: both will do.
    sync "$hf_before"/* "$hf_before" 2>/dev/null
    exit 0
  ) </dev/null 1<>"$hf_job/said" 2>&1 &
  hf_wait "$!" "$hf_capture_limit"
  if [ "$hf_stopped" = 1 ]; then
    hf_ended not-captured "it took longer than $hf_capture_limit seconds"
  fi
  if [ "$hf_code" != 0 ] || ! mv "$1.new" "$1" 2>>"$hf_job/said"; then
    rm -rf "$1.new"
    hf_first_line "$hf_job/said"
    hf_ended not-captured "${hf_got:-exit code $hf_code; the disk may be full}"
  fi
}

# hf_before_whole: tells whether *before* is there as it was captured; sets hf_said to what is wrong.
hf_before_whole() {
  hf_said="$hf_before is gone"
  [ -f "$hf_before/meta" ] || return 1
  if [ -n "$hf_before_wanted" ]; then
    hf_digest_one "$hf_before/meta"
    hf_said="$hf_before/meta was changed"
    [ "$hf_digest" = "$hf_before_wanted" ] || return 1
  fi
  while read -r hf_word hf_name hf_wanted_digest hf_rest; do
    [ "$hf_word" = captured ] || continue
    hf_digest_one "$hf_before/$hf_name"
    hf_said="$hf_before/$hf_name is gone or was changed"
    [ "$hf_digest" = "$hf_wanted_digest" ] || return 1
  done <"$hf_before/meta"
  # The acknowledgement takes it away, once the controller has it in writing that it was put back.
  hf_said="$hf_job/drops can't be written; the disk may be full"
  hf_say "$hf_life_name $hf_step" >>"$hf_job/drops"
}

# hf_capture_meta: what *before* is: the attributes found, and the digest of each file captured. What the capture
# itself wrote into `meta` follows, so that its words win over equal ones of the probe.
hf_capture_meta() {
  hf_say "address ${hf_address:-}" || return 1
  [ -z "$hf_shown" ] || hf_say "${hf_shown%"$hf_nl"}" || return 1
  for hf_b in "$hf_before"/*; do
    case ${hf_b##*/} in
    meta | found) continue ;;
    esac
    [ -f "$hf_b" ] || continue
    hf_digest_one "$hf_b"
    hf_say "captured ${hf_b##*/} $hf_digest" || return 1
  done
}

# hf_apply: runs the step in a session of its own where there is setsid, with its output drained; sets hf_code.
hf_apply() {
  hf_pipes=$hf_job/s.$hf_step
  if ! { mkdir "$hf_pipes" && mkfifo "$hf_pipes/pipe"; } 2>/dev/null; then
    hf_ended not-captured "no room for the step's output; the disk may be full"
  fi
  hf_drain "$hf_pipes" 2>/dev/null &
  hf_drainer=$!
  $hf_setsid $hf_sh "$hf_job/step" "$hf_state" "$hf_attempt" apply "$hf_step" </dev/null >"$hf_pipes/pipe" 2>&1 &
  hf_wait "$!" "$hf_timeout"
  hf_apply_code=$hf_code hf_apply_stopped=$hf_stopped hf_apply_survivors=$hf_survivors
  # One second for the rest of the output, whatever a background child holds open.
  hf_wait "$hf_drainer" 1 !
  if hf_keep_output "$hf_pipes" "$hf_job/out.$hf_step" 2>/dev/null; then
    hf_tell_output
  fi
  rm -rf "$hf_pipes"
}

# hf_ready: asks until it is ready or its time is over; then the step's output ends with what the check said and how it
# ended.
hf_ready() {
  hf_defined "hf_ready_$hf_step" || return 0
  hf_ready_pipes=$hf_job/r.$hf_step
  { mkdir "$hf_ready_pipes" && mkfifo "$hf_ready_pipes/pipe"; } 2>/dev/null || return 1
  hf_drain "$hf_ready_pipes" 2>/dev/null &
  hf_ready_drainer=$!
  (
    while :; do
      ("hf_ready_$hf_step") 2>&1 && exit 0
      hf_say "ready check ended with $?"
      sleep "${hf_ready_every:-1}"
    done
    # What a shell says of its own end (mksh: "Terminated") is nothing that the check said.
  ) </dev/null >"$hf_ready_pipes/pipe" 2>/dev/null &
  hf_wait "$!" "${hf_ready_timeout:-60}"
  hf_ready_stopped=$hf_stopped hf_ready_code=$hf_code
  hf_wait "$hf_ready_drainer" 1 !
  [ "$hf_ready_stopped" = 0 ] && [ "$hf_ready_code" = 0 ]
  hf_ready_code=$?
  if [ "$hf_ready_code" != 0 ] && hf_keep_output "$hf_ready_pipes" "$hf_ready_pipes/said" 2>/dev/null; then
    # Half of what an output line may bring is for the step, half for the check.
    {
      [ ! -f "$hf_job/out.$hf_step" ] || tail -c 2000 "$hf_job/out.$hf_step"
      tail -c 2000 "$hf_ready_pipes/said"
    } >"$hf_ready_pipes/out" && mv "$hf_ready_pipes/out" "$hf_job/out.$hf_step" && hf_tell_output
  fi
  rm -rf "$hf_ready_pipes"
  return "$hf_ready_code"
}

# hf_tell_output: the line that announces the last words of the step.
hf_tell_output() {
  hf_size=$(wc -c <"$hf_job/out.$hf_step")
  hf_journal "output $hf_attempt $hf_step $((hf_size))"
}

# hf_wanted_by_others: tells whether one of the steps in hf_only_if changed something, and the service has not been
# started since: a start after the change is as good as a restart.
hf_wanted_by_others() {
  [ -n "$hf_only_if" ] || return 0
  hf_since=0
  case $hf_started in
  *" $hf_address "*)
    hf_since=${hf_started##*" $hf_address "}
    hf_since=${hf_since%% *}
    ;;
  esac
  for hf_a in $hf_only_if; do
    case $hf_changed in
    *" $hf_a "*) [ "$hf_a" -lt "$hf_since" ] || return 0 ;;
    esac
  done
  return 1
}

# hf_runs: tells whether a probe found a service running.
hf_runs() {
  case "$hf_nl$hf_shown" in
  *"${hf_nl}running yes$hf_nl"*) return 0 ;;
  esac
  return 1
}

# hf_read_step N: reads what the body says of a step.
hf_read_step() {
  hf_step=$1
  hf_address='' hf_life=none hf_life_name='' hf_before_wanted='' hf_timeout=300 hf_always=0 hf_only_if='' hf_guard='' hf_wanted=''
  hf_ready_timeout=60 hf_ready_every=1
  "hf_meta_$1"
  hf_left_file=$hf_job/left.$1
  case $hf_life in
  # Nothing is kept of it; what its sh needs room for goes with the job.
  none) hf_before=$hf_job/scratch.$1 ;;
  begins)
    hf_life_name=$hf_attempt-$1
    hf_before=$hf_state/before/$hf_life_name
    ;;
  *) hf_before=$hf_state/before/$hf_life_name ;;
  esac
}

hf_one_step() {
  hf_read_step "$1"
  hf_before_digest=- hf_changing=0
  hf_now
  hf_began=$hf_time
  hf_journal "begin $hf_attempt $hf_step" || hf_end stopped "$hf_step disk-full"
  if ! hf_probe "hf_probe_$hf_step" step "$hf_probe_limit"; then
    [ "$hf_stopped" = 0 ] || hf_ended timed-out "$hf_survivors"
    hf_ended not-captured "the probe's findings could not be written; the disk may be full"
  fi
  hf_tell_found before
  case "$hf_nl$hf_shown" in
  *"${hf_nl}unreadable "*)
    # What can't be looked at is not touched.
    hf_unread=${hf_shown#*unreadable }
    hf_ended not-captured "${hf_unread%%"$hf_nl"*}"
    ;;
  esac
  hf_ran=0
  if hf_runs; then
    hf_ran=1
  fi
  # Nothing wanted is nothing to compare with, so the step has to run.
  if [ "$hf_always" = 0 ] && [ -n "$hf_wanted" ] && hf_shows; then
    if [ "$hf_life" = ends ]; then
      hf_say "$hf_life_name $hf_step" >>"$hf_job/drops"
    fi
    hf_ended unchanged ''
    return 0
  fi
  if ! hf_wanted_by_others; then
    hf_ended unchanged ''
    return 0
  fi
  hf_hold_before
  hf_guard_hold
  # From here on the host may be changed: what it takes to put it back is on disk, and this line says so.
  hf_journal "applying $hf_attempt $hf_step $hf_before_digest" || hf_end stopped "$hf_step disk-full"
  hf_changing=1
  sync "$hf_state/before" "$hf_job/journal" 2>/dev/null
  hf_apply
  if [ "$hf_apply_stopped" = 1 ]; then
    hf_ended timed-out "$hf_apply_survivors"
  fi
  if [ "$hf_apply_code" != 0 ]; then
    hf_ended failed "$hf_apply_code"
  fi
  if ! hf_probe "hf_probe_$hf_step" step "$hf_probe_limit"; then
    [ "$hf_stopped" = 0 ] || hf_ended timed-out "$hf_survivors"
    hf_ended not-converged "the probe's findings could not be written; the disk may be full"
  fi
  hf_tell_found after
  if [ "$hf_ran" = 0 ] && hf_runs; then
    hf_started="$hf_started$hf_address $hf_step "
  fi
  # An undo that left what belongs to others is done all the same: what is left is why not all shows.
  if [ "$hf_life" != ends ] || ! hf_first_line "$hf_left_file"; then
    hf_shows || hf_ended not-converged "$hf_lacking"
  fi
  hf_ready || hf_ended not-ready "not within $hf_ready_timeout seconds"
  if hf_first_line "$hf_left_file"; then
    hf_ended left "$hf_got"
  else
    hf_ended changed ''
  fi
}

# hf_job_apply N: the other side of hf_apply, in a process of its own.
hf_job_apply() {
  hf_step_own
  hf_read_step "$1"
  umask 022
  "hf_apply_$1"
  exit
}

# hf_job_revert N: takes a guarded step back, from what stood there right before it.
hf_job_revert() {
  hf_read_step "$1"
  hf_before=$hf_job/snap.$1
  umask 022
  "hf_revert_$1"
  exit
}

# hf_job_again N: a restart once more, on what is back; for a guard, which may have outlived the wrapper.
hf_job_again() {
  hf_read_step "$1"
  umask 022
  "hf_apply_$1"
  exit
}

hf_job_main() {
  hf_state=$1 hf_attempt=$2
  hf_job=$hf_state/jobs/$2
  hf_blobs=$hf_state/blobs
  case ${3:-} in
  apply) hf_job_apply "$4" ;;
  revert) hf_job_revert "$4" ;;
  again) hf_job_again "$4" ;;
  guard)
    hf_guard_main
    exit 0
    ;;
  boot) hf_boot_main ;;
  esac
  trap 'hf_rung=1' USR1
  hf_rung=0
  hf_boot_id
  hf_start_of "$$"
  hf_self="$$ $hf_start $hf_boot"
  # Who we are first; `go` after it is what makes the job run at most once.
  hf_say "$hf_self" >"$hf_job/pid.new" && mv "$hf_job/pid.new" "$hf_job/pid" || exit 1
  mkdir "$hf_job/go" || exit 1
  hf_guard_setsid
  hf_changed=' ' hf_started=' '
  hf_watchdog </dev/null >/dev/null 2>&1 &
  hf_lock
  hf_caps
  if ! hf_probe hf_prologue prologue "$hf_prologue_limit"; then
    hf_end stale 'the probes could not be run again'
  fi
  hf_fingerprint=${hf_fingerprint%"$hf_nl"}${hf_fingerprint:+$hf_nl}
  [ "$hf_shown" = "$hf_fingerprint" ] || hf_stale
  hf_each_step=1
  while [ "$hf_each_step" -le "$hf_steps" ]; do
    hf_one_step "$hf_each_step"
    hf_each_step=$((hf_each_step + 1))
  done
  hf_end completed -
}
