# The guard of a job that changes what carries us (sshd, network, sudo, keys): a process beside the wrapper that puts
# back what stood there, unless somebody confirms over a new connection. It outlives the wrapper and the connection.
#
#   wrapper: snapshot, apply, ... over --> guard: "guarded ATTEMPT SECONDS" --> decided by mkdir, once:
#     the controller, over a new connection: confirmed --> what the steps had to say becomes final
#     nobody, in time:                       reverted  --> last change first, then what restarts on it once more

# Seconds for one step to be taken back: a package manager may be slow.
hf_guard_step_limit=600

# hf_guard_pause: a fifth of a second, or a second where sleep knows no fractions.
hf_guard_pause() {
  sleep 0.2 2>/dev/null || sleep 1
}

# hf_guard_from_now: begins a wait that hf_guard_over ends.
hf_guard_from_now() {
  hf_now
  hf_guard_since=$hf_time hf_guard_polls=0
}

# hf_guard_over SECONDS: waits a moment; tells whether the time is over, by the clock, and by our own count where the clock
# can't be trusted.
hf_guard_over() {
  hf_guard_pause
  hf_now
  hf_guard_polls=$((hf_guard_polls + 1))
  [ $((hf_time - hf_guard_since)) -ge "$1" ] || [ "$hf_guard_polls" -ge $(($1 * 5)) ]
}

# hf_guard_hold: before a guarded step changes anything: the guard is up, and what stands there is kept.
hf_guard_hold() {
  [ -n "$hf_guard" ] || return 0
  hf_guard_start
  if [ "$hf_guard" = restore ]; then
    hf_capture_into "$hf_job/snap.$hf_step" "hf_snapshot_$hf_step"
  fi
}

# hf_guard_start: starts the guard, once; a job that can't have it changes nothing.
hf_guard_start() {
  [ "$hf_guarded" = 0 ] || return 0
  mkdir "$hf_job/guard" 2>>"$hf_job/said" || hf_ended not-captured "no room for the guard; the disk may be full"
  if [ -n "$hf_setsid" ]; then
    $hf_setsid $hf_sh "$hf_job/step" "$hf_state" "$hf_attempt" guard </dev/null >/dev/null 2>&1 &
  else
    (
      trap '' HUP
      exec $hf_sh "$hf_job/step" "$hf_state" "$hf_attempt" guard
    ) </dev/null >/dev/null 2>&1 &
  fi
  hf_boot_say
  hf_guard_polls=0
  until hf_first_line "$hf_job/guard/pid"; do
    hf_guard_polls=$((hf_guard_polls + 1))
    [ "$hf_guard_polls" -le 50 ] || hf_ended not-captured "the guard that would take the change back did not start"
    hf_guard_pause
  done
  hf_guarded=1
}
hf_guarded=0

# hf_guard_main: the guard's own process.
hf_guard_main() {
  # What stops the wrapper does not stop us.
  trap '' HUP TERM INT
  hf_boot_id
  hf_start_of "$$"
  hf_caps
  hf_guard_setsid
  hf_say "$$ $hf_start $hf_boot" >"$hf_job/guard/pid.new" && mv "$hf_job/guard/pid.new" "$hf_job/guard/pid" || exit 1
  hf_first_line "$hf_job/pid"
  hf_guard_wrapper=$hf_got
  while [ ! -e "$hf_job/guard/over" ] && hf_alive $hf_guard_wrapper; do
    hf_guard_pause
  done
  hf_guard_decide
  # The wrapper waits for us; where it is gone, the last word is ours.
  if [ "$hf_guard_how" = reverted ] && ! hf_alive $hf_guard_wrapper; then
    hf_guarded=0
    hf_end reverted -
  fi
}

hf_guard_setsid() {
  hf_setsid=
  if setsid true </dev/null >/dev/null 2>&1; then
    hf_setsid=setsid
  fi
}

# hf_guard_decide: waits for the word, and acts by it; sets hf_guard_how.
hf_guard_decide() {
  # A job that did not come to its end is taken back at once: half a change of what carries us is none to stay with.
  hf_guard_cause=
  if hf_first_line "$hf_job/guard/over" && [ "$hf_got" != completed ]; then
    hf_guard_cause="failed: ${hf_got#stopped }"
    hf_guard_settle
    return 0
  fi
  hf_journal "guarded $hf_attempt $hf_confirm_limit"
  hf_guard_from_now
  until [ -d "$hf_job/decided" ] || hf_guard_over "$hf_confirm_limit"; do
    :
  done
  hf_guard_settle
}

# hf_guard_settle: what nobody has confirmed by now is taken back.
hf_guard_settle() {
  if mkdir "$hf_job/decided" 2>/dev/null; then
    hf_guard_how=reverted
    { :; } >"$hf_job/decided/reverted"
    hf_guard_revert
  else
    hf_guard_how=confirmed
    [ ! -f "$hf_job/pending" ] || cat "$hf_job/pending" >>"$hf_job/journal"
  fi
  hf_say "$hf_guard_how" >"$hf_job/guard/done.new"
  mv "$hf_job/guard/done.new" "$hf_job/guard/done"
  hf_sweep_hook "$hf_attempt"
}

# hf_guard_revert: the last change first; then what restarts on what is back, in the order of the job.
hf_guard_revert() {
  hf_guard_n=$hf_steps
  while [ "$hf_guard_n" -gt 0 ]; do
    hf_guard_one restore "$hf_guard_n"
    hf_guard_n=$((hf_guard_n - 1))
  done
  hf_guard_n=1
  while [ "$hf_guard_n" -le "$hf_steps" ]; do
    hf_guard_one again "$hf_guard_n"
    hf_guard_n=$((hf_guard_n + 1))
  done
}

# hf_guard_one KIND N: takes back one step that was changing something.
hf_guard_one() {
  hf_read_step "$2"
  [ "$hf_guard" = "$1" ] || return 0
  grep -e "^applying $hf_attempt $2 " "$hf_job/journal" >/dev/null || return 0
  hf_guard_why=
  if [ "$1" = again ]; then
    hf_guard_run again "$2"
  elif hf_defined "hf_revert_$2"; then
    hf_guard_run revert "$2"
  else
    hf_guard_why='it has no undo, and stays'
  fi
  hf_journal "step $hf_attempt $2 reverted 0 - $hf_guard_cause${hf_guard_cause:+${hf_guard_why:+; }}$hf_guard_why"
}

# hf_guard_run WORD N: runs the step file for it, in a process of its own, with a limit; sets hf_guard_why if it failed.
hf_guard_run() {
  $hf_setsid $hf_sh "$hf_job/step" "$hf_state" "$hf_attempt" "$1" "$2" </dev/null >"$hf_job/guard/out.$2" 2>&1 &
  hf_guard_pid=$!
  hf_guard_from_now
  while hf_start_of "$hf_guard_pid"; do
    if hf_guard_over "$hf_guard_step_limit"; then
      kill -s KILL "-$hf_guard_pid" 2>/dev/null || kill -s KILL "$hf_guard_pid"
      hf_guard_why="stopped after $hf_guard_step_limit seconds"
      break
    fi
  done
  wait "$hf_guard_pid"
  hf_guard_code=$?
  if [ "$hf_guard_code" != 0 ] && [ -z "$hf_guard_why" ]; then
    hf_guard_why=$(tail -n 1 "$hf_job/guard/out.$2" 2>/dev/null)
    hf_guard_why="did not come back: ${hf_guard_why:-exit code $hf_guard_code}"
  fi
}

# hf_guard_wait HOW WHY: the wrapper's part at its end, which is completed, or not and why; sets hf_guard_how. If the guard
# was killed, the wrapper is the guard.
hf_guard_wait() {
  hf_say "$1${2:+ $2}" >"$hf_job/guard/over.new" && mv "$hf_job/guard/over.new" "$hf_job/guard/over"
  while ! hf_first_line "$hf_job/guard/done"; do
    if ! hf_first_line "$hf_job/guard/pid" || ! hf_alive $hf_got; then
      hf_first_line "$hf_job/guard/done" || hf_guard_decide
      break
    fi
    hf_guard_pause
  done
  hf_first_line "$hf_job/guard/done"
  hf_guard_how=$hf_got
}
