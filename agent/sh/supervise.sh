# How the wrapper of a job runs something with a limit: one watchdog beside it, who counts seconds and stops what is
# over its time, and a drain per step, which keeps its output bounded whatever holds the pipe open.
#
#   wrapper --- watch: "NUMBER PID LIMIT" ---> watchdog --- TERM, KILL, then USR1 ---> wrapper's wait ends

# Seconds between TERM and KILL: long enough for a package manager to clean up its lock.
hf_grace=5
# Seconds in which a killed process must be gone; one that is not hangs in the kernel (a dead disk or NFS server).
hf_last_grace=3

# hf_now: sets hf_time to seconds of a clock that nobody sets back, where there is one.
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
}

# hf_processes: sets hf_table to "PID PARENT SESSION" lines of what is alive.
hf_processes() {
  hf_table=
  if [ -r /proc/self/stat ]; then
    for hf_entry in /proc/[0-9]*; do
      hf_first_line "$hf_entry/stat" || continue
      set -- ${hf_got##*"$hf_brace"}
      case $1 in
      Z | X) continue ;;
      esac
      hf_table="$hf_table${hf_entry#/proc/} $2 $4$hf_nl"
    done
  else
    hf_table=$(ps -A -o pid= -o ppid= -o pgid= 2>/dev/null)$hf_nl
  fi
}

# hf_kin ROOT: adds to hf_members every live process that descends from ROOT or is in its session.
hf_kin() {
  hf_processes
  hf_grew=1
  while [ "$hf_grew" = 1 ]; do
    hf_grew=0
    hf_todo=$hf_table
    while [ -n "$hf_todo" ]; do
      set -- ${hf_todo%%$hf_nl*}
      hf_todo=${hf_todo#*"$hf_nl"}
      [ "$#" -ge 3 ] || continue
      case " $hf_members " in
      *" $1 "*) continue ;;
      esac
      if [ "$1" = "$hf_root" ] || [ "$3" = "$hf_root" ]; then
        hf_members="$hf_members $1"
        hf_grew=1
        continue
      fi
      case " $hf_members " in
      *" $2 "*)
        hf_members="$hf_members $1"
        hf_grew=1
        ;;
      esac
    done
  done
  return 0
}

# hf_still: sets hf_living to those of hf_members who live.
hf_still() {
  hf_living=
  for hf_a in $hf_members; do
    if hf_start_of "$hf_a"; then
      hf_living="$hf_living $hf_a"
    fi
  done
  [ -n "$hf_living" ]
}

# hf_signal_all NAME SECONDS: signals the family, and waits until it is gone.
hf_signal_all() {
  hf_kin
  for hf_a in $hf_members; do
    kill -s "$1" "$hf_a" 2>/dev/null
  done
  hf_waited=0
  while hf_kin && hf_still && [ "$hf_waited" -lt "$2" ]; do
    sleep 1
    hf_waited=$((hf_waited + 1))
  done
}

# hf_stop ROOT NUMBER: ends a family; the file survivors.NUMBER says that it was stopped, and who would not go.
hf_stop() {
  # The root itself even where no table of processes can be had.
  hf_root=$1 hf_members=" $1"
  { :; } >"$hf_job/stopping.$2"
  hf_signal_all TERM "$hf_grace"
  if hf_still; then
    hf_signal_all KILL "$hf_last_grace"
  fi
  hf_left_alive=
  if hf_still; then
    for hf_a in $hf_living; do
      hf_name=
      if hf_first_line "/proc/$hf_a/comm"; then
        hf_name=$hf_got
      fi
      hf_left_alive="$hf_left_alive${hf_left_alive:+; }$hf_a${hf_name:+ $hf_name}"
    done
  fi
  hf_say "$hf_left_alive" >"$hf_job/survivors.new"
  mv "$hf_job/survivors.new" "$hf_job/survivors.$2"
}

# hf_watchdog: counts seconds for what `watch` names, as long as the wrapper lives. PID `!` only ends a wait.
hf_watchdog() {
  trap - USR1
  hf_seen= hf_ticks=0
  hf_start_of "$$"
  hf_own_start=$hf_start
  while sleep 1 && hf_start_of "$$" && [ "$hf_start" = "$hf_own_start" ]; do
    hf_first_line "$hf_job/watch" || continue
    set -- $hf_got
    if [ "$1" != "$hf_seen" ]; then
      hf_seen=$1 hf_ticks=0
    fi
    hf_ticks=$((hf_ticks + 1))
    [ -n "${3:-}" ] && [ "$hf_ticks" -ge "$3" ] || continue
    [ "$2" = '!' ] || hf_stop "$2" "$1"
    # It may have ended meanwhile; the number says which wait is meant.
    hf_say "$1" >"$hf_job/bell"
    kill -s USR1 "$$"
    hf_ticks=0
  done
}

# hf_wait PID LIMIT [!]: waits for a child, at most LIMIT seconds (and the graces). Sets hf_code; and hf_stopped to 1 if
# it had to be stopped, with hf_survivors. With `!` it only stops waiting: hf_rung says so.
hf_number=0
hf_wait() {
  hf_number=$((hf_number + 1))
  hf_stopped=0 hf_survivors= hf_rung=0
  if [ "${3:-}" = '!' ]; then
    hf_say "$hf_number ! $2" >"$hf_job/watch"
  else
    hf_say "$hf_number $1 $2" >"$hf_job/watch"
  fi
  wait "$1"
  hf_code=$?
  # posh now and then refuses with 1 to wait at all, over an option that nobody gave. A child that was waited for
  # answers 127 the next time, or the same again; five tries are more than were ever needed.
  hf_tries=0
  while [ "$hf_code" = 1 ] && [ "$hf_rung" = 0 ] && [ "$hf_tries" -lt 5 ]; do
    hf_tries=$((hf_tries + 1))
    wait "$1" 2>/dev/null
    hf_a=$?
    [ "$hf_a" != 127 ] || break
    hf_code=$hf_a
  done
  while [ "$hf_rung" = 1 ]; do
    if hf_first_line "$hf_job/bell" && [ "$hf_got" = "$hf_number" ]; then
      break
    fi
    # The bell of an earlier wait that came late.
    hf_rung=0
    wait "$1"
    hf_a=$?
    [ "$hf_a" = 127 ] || hf_code=$hf_a
  done
  hf_say "$hf_number" >"$hf_job/watch"
  if [ -e "$hf_job/stopping.$hf_number" ]; then
    hf_stopped=1
    hf_polls=0
    while [ ! -e "$hf_job/survivors.$hf_number" ] && [ "$hf_polls" -lt $((hf_grace + hf_last_grace + 5)) ]; do
      sleep 1
      hf_polls=$((hf_polls + 1))
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
  hf_into=$1/head hf_block=4096 hf_count=16 hf_rounds=0
  while hf_said=$(dd bs="$hf_block" count="$hf_count" 2>&1 >>"$hf_into"); do
    case $hf_said in
    '0+0 '*) exit 0 ;;
    esac
    if [ "$hf_into" = "$1/head" ]; then
      hf_into=$1/tail.new hf_block=65536 hf_count=8
      continue
    fi
    hf_rounds=$((hf_rounds + 1))
    if [ "$hf_rounds" -ge 8 ]; then
      hf_rounds=0
      mv "$1/tail.new" "$1/tail.old" 2>/dev/null
    fi
  done
  exec cat >/dev/null
}

# hf_keep_output FOLDER FILE: makes FILE of what was drained: all of it up to 4 KiB, else the first KiB and the last
# words. Fails if there is nothing.
hf_keep_output() {
  [ -s "$1/head" ] || return 1
  cat "$1/head" "$1/tail.old" "$1/tail.new" 2>/dev/null | tail -c 4096 >"$2" || return 1
  set -- "$1" "$2" "$(wc -c <"$1/head")"
  if [ -s "$1/tail.new" ] || [ -s "$1/tail.old" ] || [ "$3" -gt 4096 ]; then
    {
      dd if="$1/head" bs=1024 count=1 2>/dev/null
      hf_say "${hf_nl}[...]"
      tail -c 3000 "$2"
    } >"$2.new" && mv "$2.new" "$2"
  fi
}
