# How the wrapper of a job runs something with a limit: one watchdog beside it, who counts seconds and stops what is
# over its time, and a drain per step, which keeps its output bounded whatever holds the pipe open.
#
#   wrapper --- watch: "NUMBER PID LIMIT START BOOT" ---> watchdog --- TERM, KILL, then USR1 ---> wrapper's wait ends
#
# The watchdog outlives a wrapper that was killed for as long as what it waited for lives, and keeps its time.

# Seconds between TERM and KILL: long enough for a package manager to clean up its lock.
hf_grace=5
# Seconds in which a killed process must be gone; one that is not hangs in the kernel (a dead disk or NFS server).
hf_last_grace=3

# hf_now: sets hf_time to seconds of a clock that nobody sets back, where there is one; elsewhere it never goes back
# from one call to the next.
hf_now_last=0
hf_now() {
  hf_time=
  if hf_first_line /proc/uptime; then
    hf_time=${hf_got%%.*}
  else
    hf_time=$(date +%s 2>/dev/null)
  fi
  case $hf_time in
  '' | *[!0-9]*) hf_time=0 ;;
  esac
  [ "$hf_time" -ge "$hf_now_last" ] || hf_time=$hf_now_last
  hf_now_last=$hf_time
}

# hf_processes: sets hf_table to "PID PARENT SESSION START" lines of what is alive.
hf_processes() {
  hf_table=
  if [ -r /proc/self/stat ]; then
    for hf_processes_entry in /proc/[0-9]*; do
      hf_first_line "$hf_processes_entry/stat" || continue
      set -- ${hf_got##*"$hf_brace"}
      case $1 in
      Z | X) continue ;;
      esac
      hf_table="$hf_table${hf_processes_entry#/proc/} $2 $4 ${20:-}$hf_nl"
    done
  else
    hf_table=$(ps -A -o pid= -o ppid= -o pgid= -o lstart= 2>/dev/null || ps -A -o pid= -o ppid= -o pgid= 2>/dev/null)$hf_nl
  fi
}

# hf_kin: adds to hf_members ("PID START", each after a newline) every live process that descends from hf_root or is in
# its session.
hf_kin() {
  hf_processes
  hf_kin_grew=1
  while [ "$hf_kin_grew" = 1 ]; do
    hf_kin_grew=0
    hf_kin_todo=$hf_table
    while [ -n "$hf_kin_todo" ]; do
      hf_kin_line=${hf_kin_todo%%$hf_nl*}
      hf_kin_todo=${hf_kin_todo#*"$hf_nl"}
      set -- $hf_kin_line
      [ "$#" -ge 3 ] || continue
      case $hf_members in
      *"$hf_nl$1 "*) continue ;;
      esac
      [ "$3" = "$hf_root" ] || case $hf_members in
      *"$hf_nl$2 "*) ;;
      *) continue ;;
      esac
      hf_kin_pid=$1
      shift 3
      # As hf_start_of says it: ps writes some words, or has no such column.
      hf_words_joined "$@"
      hf_members="$hf_members$hf_nl$hf_kin_pid ${hf_joined:--}$hf_nl"
      hf_kin_grew=1
    done
  done
  return 0
}

# hf_still: sets hf_living to the pids of those of hf_members who live: a pid whose process started at another time has
# gone to somebody else.
hf_still() {
  hf_living=
  hf_still_todo=$hf_members
  while [ -n "$hf_still_todo" ]; do
    hf_still_line=${hf_still_todo%%$hf_nl*}
    hf_still_todo=${hf_still_todo#*"$hf_nl"}
    [ -n "$hf_still_line" ] || continue
    if hf_start_of "${hf_still_line%% *}" && [ "$hf_start" = "${hf_still_line#* }" ]; then
      hf_living="$hf_living ${hf_still_line%% *}"
    fi
  done
  [ -n "$hf_living" ]
}

# hf_signal_all NAME SECONDS: signals the family, and waits until it is gone.
hf_signal_all() {
  hf_kin
  hf_still || return 0
  for hf_signal_all_pid in $hf_living; do
    kill -s "$1" "$hf_signal_all_pid" 2>/dev/null
  done
  hf_signal_all_waited=0
  while hf_kin && hf_still && [ "$hf_signal_all_waited" -lt "$2" ]; do
    sleep 1
    hf_signal_all_waited=$((hf_signal_all_waited + 1))
  done
}

# hf_stop ROOT START NUMBER: ends a family; the file survivors.NUMBER says that it was stopped, and who would not go.
hf_stop() {
  # The root itself even where no table of processes can be had.
  hf_root=$1 hf_members="$hf_nl$1 $2$hf_nl"
  { :; } >"$hf_job/stopping.$3"
  hf_signal_all TERM "$hf_grace"
  if hf_still; then
    hf_signal_all KILL "$hf_last_grace"
  fi
  hf_stop_alive=
  if hf_still; then
    for hf_stop_pid in $hf_living; do
      hf_stop_name=
      if hf_first_line "/proc/$hf_stop_pid/comm"; then
        hf_stop_name=$hf_got
      fi
      hf_stop_alive="$hf_stop_alive${hf_stop_alive:+; }$hf_stop_pid${hf_stop_name:+ $hf_stop_name}"
    done
  fi
  hf_say "$hf_stop_alive" >"$hf_job/survivors.new"
  mv "$hf_job/survivors.new" "$hf_job/survivors.$3"
}

# hf_watchdog: counts seconds for what `watch` names, as long as the wrapper lives or what it waited for does. PID `!`
# only ends a wait.
hf_watchdog() {
  trap - USR1
  hf_watchdog_seen= hf_watchdog_ticks=0
  hf_start_of "$$"
  hf_watchdog_start=$hf_start
  while sleep 1; do
    hf_watchdog_orphans=1
    if hf_start_of "$$" && [ "$hf_start" = "$hf_watchdog_start" ]; then
      hf_watchdog_orphans=0
    elif ! hf_job_works; then
      break
    fi
    hf_first_line "$hf_job/watch" || continue
    set -- $hf_got
    if [ "$1" != "$hf_watchdog_seen" ]; then
      hf_watchdog_seen=$1 hf_watchdog_ticks=0
    fi
    hf_watchdog_ticks=$((hf_watchdog_ticks + 1))
    [ -n "${3:-}" ] && [ "$hf_watchdog_ticks" -ge "$3" ] || continue
    [ "$2" = '!' ] || hf_stop "$2" "${4:-}" "$1"
    hf_watchdog_ticks=0
    [ "$hf_watchdog_orphans" = 0 ] || continue
    # It may have ended meanwhile; the number says which wait is meant.
    hf_say "$hf_watchdog_seen" >"$hf_job/bell"
    kill -s USR1 "$$"
  done
}

# hf_step_own: the first thing a step does, in its own process: it says who runs, and goes on only for a wrapper that
# lives. So whoever looks after that wrapper died finds either the step at work, or none that will begin.
hf_step_own() {
  hf_boot_id
  hf_start_of "$$"
  # Over blocks that are there already: a full disk can't keep it back, and no reader finds it empty.
  hf_say "$$ $hf_start $hf_boot" 1<>"$hf_job/runs" || exit 1
  hf_first_line "$hf_job/pid" && hf_alive $hf_got || exit 1
}

# hf_wait PID LIMIT [!]: waits for a child, at most LIMIT seconds (and the graces). Sets hf_code; and hf_stopped to 1 if
# it had to be stopped, with hf_survivors. With `!` it only stops waiting: hf_rung says so.
hf_number=0
hf_wait() {
  hf_number=$((hf_number + 1))
  hf_stopped=0 hf_survivors= hf_rung=0
  if [ "${3:-}" = '!' ]; then
    hf_say "$hf_number ! $2" 1<>"$hf_job/watch"
  else
    # A child that is gone already has no start; nobody will have to stop it.
    hf_start_of "$1"
    hf_say "$hf_number $1 $2 ${hf_start:--} ${hf_boot:--}" 1<>"$hf_job/watch"
  fi
  wait "$1"
  hf_code=$?
  # posh now and then refuses with 1 to wait at all, over an option that nobody gave. A child that was waited for
  # answers 127 the next time, or the same again; five tries are more than were ever needed.
  hf_wait_tries=0
  while [ "$hf_code" = 1 ] && [ "$hf_rung" = 0 ] && [ "$hf_wait_tries" -lt 5 ]; do
    hf_wait_tries=$((hf_wait_tries + 1))
    wait "$1" 2>/dev/null
    hf_wait_again=$?
    [ "$hf_wait_again" != 127 ] || break
    hf_code=$hf_wait_again
  done
  while [ "$hf_rung" = 1 ]; do
    if hf_first_line "$hf_job/bell" && [ "$hf_got" = "$hf_number" ]; then
      break
    fi
    # The bell of an earlier wait that came late.
    hf_rung=0
    wait "$1"
    hf_wait_again=$?
    [ "$hf_wait_again" = 127 ] || hf_code=$hf_wait_again
  done
  hf_say "$hf_number" 1<>"$hf_job/watch"
  if [ -e "$hf_job/stopping.$hf_number" ]; then
    hf_stopped=1
    hf_wait_polls=0
    while [ ! -e "$hf_job/survivors.$hf_number" ] && [ "$hf_wait_polls" -lt $((hf_grace + hf_last_grace + 5)) ]; do
      sleep 1
      hf_wait_polls=$((hf_wait_polls + 1))
    done
    hf_first_line "$hf_job/survivors.$hf_number" && hf_survivors=$hf_got
  fi
  return 0
}

# hf_drain FOLDER: reads FOLDER/pipe to its end. Kept: the first 64 KiB (head) and the last 4 to 8 MiB at a flood, the
# last 64 reads or more at a trickle (tail.old, tail.new). When a write fails or the folder is gone it reads on and
# keeps nothing, so that no writer ever gets SIGPIPE or blocks.
hf_drain() {
  exec <"$1/pipe"
  hf_drain_into=$1/head hf_drain_block=4096 hf_drain_count=16 hf_drain_rounds=0
  while hf_drain_said=$(dd bs="$hf_drain_block" count="$hf_drain_count" 2>&1 >>"$hf_drain_into"); do
    case $hf_drain_said in
    '0+0 '*) exit 0 ;;
    esac
    if [ "$hf_drain_into" = "$1/head" ]; then
      hf_drain_into=$1/tail.new hf_drain_block=65536 hf_drain_count=8
      continue
    fi
    hf_drain_rounds=$((hf_drain_rounds + 1))
    if [ "$hf_drain_rounds" -ge 8 ]; then
      hf_drain_rounds=0
      mv "$1/tail.new" "$1/tail.old" 2>/dev/null
    fi
  done
  exec cat >/dev/null
}

# hf_keep_output FOLDER FILE: makes FILE of what was drained: all of it up to 4 KiB, else the first KiB and the last
# words. Fails if there is nothing.
hf_keep_output() {
  [ -s "$1/head" ] || return 1
  # One byte more tells whether there is more: a trickle fills head and tail with little.
  cat "$1/head" "$1/tail.old" "$1/tail.new" 2>/dev/null | tail -c 4097 >"$2" || return 1
  if [ "$(wc -c <"$2")" -gt 4096 ]; then
    {
      dd if="$1/head" bs=1024 count=1 2>/dev/null
      hf_say "${hf_nl}[...]"
      tail -c 3000 "$2"
    } >"$2.new" && mv "$2.new" "$2"
  fi
}
