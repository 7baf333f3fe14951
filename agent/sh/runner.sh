# Start, follow and ack: how a job comes to a host, is told, and goes. The job itself is in job.sh.

# KiB that a start leaves free beyond its payload: for the journal, the step's outputs and the file system itself.
hf_reserve_kib=256
# Seconds in which a wrapper must have begun: a host under load, a scanner or NFS takes its time with every exec.
hf_launch_limit=60

# hf_try COMMAND...: runs it; if it fails, gives back what was claimed and refuses with the reason.
hf_try() {
  hf_said=$("$@" 2>&1) || hf_refuse_because "$hf_said"
}

# hf_why MESSAGE: sets hf_kind to the kind of a tool's message.
hf_why() {
  case $1 in
  *'o space left'* | *'uota exceeded'* | *'o free inodes'*) hf_kind=disk-full ;;
  *'ead-only file system'* | *'ead-only filesystem'*) hf_kind=read-only ;;
  *) hf_kind=no-state-dir ;;
  esac
}

hf_refuse_because() {
  case $1 in
  *'I/O error'*)
    # All that the printf of some shells says of a full disk, too; dd says why.
    hf_refuse_because_said=$(dd if=/dev/zero of="$hf_state/why" bs=1024 count=8 2>&1) || set -- "$hf_refuse_because_said"
    rm -f "$hf_state/why"
    ;;
  esac
  hf_why "$1"
  [ -z "$hf_claimed" ] || rm -rf "$hf_claimed"
  hf_refuse "$hf_kind" "${1%%$hf_nl*}"
}
hf_claimed=''

# hf_write FILE LINE: replaces a file by one line, at once.
hf_write() {
  hf_said=$({ hf_say "$2" >"$1.new" && mv "$1.new" "$1"; } 2>&1) || hf_refuse_because "$hf_said"
}

# hf_state_make: the state folder, ours alone.
hf_state_make() {
  if [ ! -d "$hf_state" ]; then
    hf_state_make_folder=${hf_state%/*}
    [ -d "${hf_state_make_folder:-/}" ] || hf_try mkdir -p "$hf_state_make_folder"
    hf_try mkdir "$hf_state"
  fi
  set -- $(ls -ldn "$hf_state/." 2>/dev/null)
  if [ "${3:-}" != "$hf_uid_own" ]; then
    hf_refuse no-state-dir "$hf_state belongs to user ${3:-unknown}, not to $hf_uid_own"
  fi
  case $1 in
  d???------*) ;;
  *) hf_try chmod 700 "$hf_state" ;;
  esac
  hf_state_safe
  if [ "${hf_host_is##* }" != "$hf_boot" ] || [ "$hf_boot" = - ]; then
    hf_write "$hf_state/host" "$(uname -n) $hf_boot"
  fi
  for hf_state_make_folder in jobs blobs before controllers; do
    [ -d "$hf_state/$hf_state_make_folder" ] || hf_try mkdir "$hf_state/$hf_state_make_folder"
  done
}

# hf_state_safe: refuses a state folder that others could swap for another while a job runs, by what it lies in: each
# folder above it must be ours or root's, and writable by nobody else unless it is sticky. One ls tells of them all.
hf_state_safe() {
  hf_state_safe_up=..
  set -- ..
  hf_state_safe_at=$(cd -P "$hf_state" 2>/dev/null && pwd -P)
  while hf_state_safe_at=${hf_state_safe_at%/*} && [ -n "$hf_state_safe_at" ]; do
    hf_state_safe_up=../$hf_state_safe_up
    set -- "$@" "$hf_state_safe_up"
  done
  hf_state_safe_lines=$(cd -P "$hf_state" && ls -ldn "$@" 2>/dev/null)
  hf_state_safe_ifs=$IFS
  IFS=$hf_nl
  set -- $hf_state_safe_lines
  IFS=$hf_state_safe_ifs
  [ $# -gt 0 ] || hf_refuse no-state-dir "can't see the folders above $hf_state"
  for hf_state_safe_line; do
    hf_state_safe_one $hf_state_safe_line
  done
}

# hf_state_safe_one MODE LINKS OWNER GROUP ... NAME: refuses one folder above the state folder.
hf_state_safe_one() {
  hf_state_safe_why=
  case $3 in
  0 | "$hf_uid_own") ;;
  *) hf_state_safe_why="belongs to user $3" ;;
  esac
  case $1 in
  d????????[tT]*) ;;
  d???????w*) hf_state_safe_why='can be written by everybody' ;;
  d????w*)
    case $4 in
    0 | "$hf_gid_own") ;;
    *) hf_state_safe_why="can be written by group $4" ;;
    esac
    ;;
  esac
  [ -n "$hf_state_safe_why" ] || return 0
  hf_state_safe_at=$(cd -P "$hf_state/${hf_state_safe_line##* }" 2>/dev/null && pwd -P)
  hf_refuse no-state-dir \
    "${hf_state_safe_at:-a folder above it} $hf_state_safe_why, so others could put a folder of theirs in the place of $hf_state: set another state_dir"
}

# hf_epoch_check: an older epoch than the host has seen is a controller whose lease is over.
hf_epoch_check() {
  if hf_first_line "$hf_state/epoch" && [ "$hf_got" -gt "$hf_epoch" ]; then
    [ -z "$hf_claimed" ] || rm -rf "$hf_claimed"
    hf_refuse epoch "$hf_got"
  fi
}

# hf_machine_check: the machine must be the one that was planned for. One that was new then may have got its id by an
# earlier try of the same run, whose answer was lost.
hf_machine_check() {
  hf_got=
  hf_first_line "$hf_state/machine"
  if [ -z "$hf_machine" ] && [ "$hf_got" = "$hf_machine_new" ]; then
    hf_machine=$hf_got
  fi
  if [ "$hf_got" != "$hf_machine" ]; then
    hf_refuse machine "${hf_got:-none}"
  fi
}

# hf_void ATTEMPT: keeps a job that has not begun from ever beginning, and looks at it. The file `go` can be made only
# where there is no folder `go` yet, and the other way round: either the wrapper had it, or we have. Only who has it may
# say that the job never started.
hf_void() {
  hf_job_look "$1"
  case $hf_job_state in
  unstarted | untransferred)
    [ -f "$hf_job/go" ] || hf_said=$({
      set -C
      hf_say "$1" >"$hf_job/go"
    } 2>&1)
    hf_job_look "$1"
    # Neither of us made it: the disk is full, or the like.
    [ -d "$hf_job/go" ] || [ -f "$hf_job/go" ] || [ ! -d "$hf_job" ] || hf_refuse_because "$hf_said"
    ;;
  esac
}

# hf_remove ATTEMPT: takes its folder away; the rename makes it go in one piece.
hf_remove() {
  if [ "$hf_job_state" != gone ]; then
    hf_drop_lives "$1"
    hf_sweep_temporaries "$hf_job"
    [ ! -d "$hf_job/guard" ] || hf_sweep_hook "$1"
    rm -rf "$hf_state/jobs/.gone.$1"
    hf_try mv "$hf_job" "$hf_state/jobs/.gone.$1"
    rm -rf "$hf_state/jobs/.gone.$1"
  fi
  hf_emit "acked $1"
}

# hf_ack_all: removes the jobs of hf_acks, which are recorded, and those of hf_voids if they never began.
hf_ack_all() {
  for hf_ack_all_one in $hf_acks; do
    hf_good_name "$hf_ack_all_one" || continue
    hf_void "$hf_ack_all_one"
    [ "$hf_job_state" != running ] || hf_refuse busy "$hf_ack_all_one"
    hf_remove "$hf_ack_all_one"
  done
  for hf_ack_all_one in $hf_voids; do
    hf_good_name "$hf_ack_all_one" || continue
    hf_void "$hf_ack_all_one"
    case $hf_job_state in
    gone | unstarted | untransferred) ;;
    # It began after all, and what it did is not recorded.
    *) hf_refuse busy "$hf_ack_all_one" ;;
    esac
    hf_emit "job $hf_ack_all_one $hf_job_state"
    hf_remove "$hf_ack_all_one"
  done
}
hf_acks='' hf_voids=''

# hf_drop_lives ATTEMPT: takes away the *before* of each life that the job in hf_job ended. Only now: until the end is
# acknowledged, nobody else knows that it was put back. What was captured for a life that never changed anything goes too.
hf_drop_lives() {
  for hf_drop_lives_one in "$hf_state/before/$1"-*; do
    hf_drop_lives_step=${hf_drop_lives_one##*-}
    [ -d "$hf_drop_lives_one" ] && [ "${hf_drop_lives_one##*/}" = "$1-$hf_drop_lives_step" ] || continue
    grep -e "^applying $1 $hf_drop_lives_step " "$hf_job/journal" >/dev/null 2>&1 || rm -rf "$hf_drop_lives_one"
  done
  [ -f "$hf_job/drops" ] && [ -f "$hf_job/journal" ] || return 0
  while read -r hf_drop_lives_life hf_drop_lives_step; do
    hf_good_name "$hf_drop_lives_life" || continue
    if grep -e "^step $1 $hf_drop_lives_step changed " -e "^step $1 $hf_drop_lives_step left " -e "^step $1 $hf_drop_lives_step unchanged " \
      "$hf_job/journal" >/dev/null; then
      rm -rf "$hf_state/before/$hf_drop_lives_life"
    fi
  done <"$hf_job/drops"
}

# hf_sweep: removes blobs that are not in hf_parts, unless a job that is not acked may need them.
hf_sweep() {
  for hf_sweep_one in "$hf_state"/jobs/*; do
    if [ -d "$hf_sweep_one" ] && [ "$hf_sweep_one" != "$hf_claimed" ]; then
      return 0
    fi
  done
  set --
  for hf_sweep_one in "$hf_blobs"/*; do
    [ -f "$hf_sweep_one" ] || continue
    case "$hf_nl$hf_parts" in
    *"$hf_nl${hf_sweep_one##*/} "*) ;;
    *) set -- "$@" "$hf_sweep_one" ;;
    esac
  done
  [ "$#" -eq 0 ] || rm -f "$@"
}
hf_parts=''

hf_ack_main() {
  hf_say ''
  hf_whoami
  hf_state_dir
  if [ -d "$hf_state" ]; then
    hf_epoch_check
    hf_ack_all
    hf_sweep
  else
    for hf_ack_main_one in $hf_voids; do
      hf_emit "job $hf_ack_main_one gone"
    done
    for hf_ack_main_one in $hf_acks $hf_voids; do
      hf_emit "acked $hf_ack_main_one"
    done
  fi
  hf_emit done
}

# hf_one_job: refuses if any other job is there.
hf_one_job() {
  for hf_one_job_folder in "$hf_state"/jobs/*; do
    if [ -d "$hf_one_job_folder" ] && [ "$hf_one_job_folder" != "$hf_state/jobs/$hf_attempt" ]; then
      [ -z "$hf_claimed" ] || rm -rf "$hf_claimed"
      hf_refuse busy "${hf_one_job_folder##*/}"
    fi
  done
}

# hf_claim: the folder is the claim. Others are looked for before and after: of two starts at once at most one stays.
hf_claim() {
  hf_one_job
  if ! hf_said=$(mkdir "$hf_state/jobs/$hf_attempt" 2>&1); then
    if [ -d "$hf_state/jobs/$hf_attempt" ]; then
      hf_job_look "$hf_attempt"
      hf_refuse exists "$hf_job_state"
    fi
    hf_refuse_because "$hf_said"
  fi
  hf_claimed=$hf_state/jobs/$hf_attempt
  hf_job=$hf_claimed
  hf_one_job
  hf_epoch_check
  hf_write "$hf_state/epoch" "$hf_epoch"
  hf_boot_id
  hf_write "$hf_job/boot" "$hf_boot"
  if [ -z "$hf_machine" ]; then
    hf_machine=$hf_machine_new
    hf_write "$hf_state/machine" "$hf_machine"
  fi
  if hf_good_name "$hf_controller"; then
    # By this a controller whose store was put back in time learns that it was.
    hf_write "$hf_state/controllers/$hf_controller" "$hf_attempt"
  fi
  hf_emit "machine $hf_machine"
}

# hf_matches FILE SHA256 CRC BYTES: tells whether the file is that.
hf_matches() {
  hf_digest_one "$1"
  case $hf_digest in
  "sha256:$2" | "cksum:$3:$4") return 0 ;;
  esac
  return 1
}

# hf_find_missing: what the payload must bring: sets hf_missing (lines) and hf_blocks (512 bytes each).
hf_find_missing() {
  hf_missing='' hf_blocks=0
  hf_todo=$hf_parts
  while [ -n "$hf_todo" ]; do
    hf_part_line=${hf_todo%%$hf_nl*}
    hf_todo=${hf_todo#*"$hf_nl"}
    set -- $hf_part_line
    # To read what is there may take a while: the reader hears that we are at it.
    hf_say ''
    # The last part is the step file, which is never there.
    if [ -n "$hf_todo" ] && [ -f "$hf_blobs/$1" ] && hf_matches "$hf_blobs/$1" "$@"; then
      hf_emit "have $1"
    else
      hf_missing=$hf_missing$hf_part_line$hf_nl
      hf_blocks=$((hf_blocks + ($3 + 511) / 512))
    fi
  done
}

# hf_preflight: refuses when the payload can't fit: it is there twice while it is cut.
hf_preflight() {
  hf_preflight_said=$(df -Pk "$hf_state" 2>/dev/null) || return 0
  hf_preflight_free=
  for hf_preflight_word in ${hf_preflight_said##*"$hf_nl"}; do
    case $hf_preflight_word in
    *%) break ;;
    esac
    hf_preflight_free=$hf_preflight_word
  done
  case $hf_preflight_free in
  '' | *[!0-9]*) return 0 ;;
  esac
  # Ten digits are terabytes, and more than some shells count to.
  [ "${#hf_preflight_free}" -le 9 ] || return 0
  if [ "$hf_preflight_free" -lt $((hf_blocks + hf_reserve_kib)) ]; then
    rm -rf "$hf_claimed"
    hf_refuse disk-full "$hf_preflight_free KiB are free in $hf_state, $((hf_blocks + hf_reserve_kib)) KiB are needed"
  fi
}

# hf_vanished: refuses if somebody removed the job's folder meanwhile.
hf_vanished() {
  [ -d "$hf_job" ] || hf_refuse no-state-dir "$hf_job was removed while its payload arrived; nothing was done"
}

# hf_receive: all of stdin into one file, whole or not at all. A failed write still reads on, so that the sender is
# not cut off before it can read why.
hf_receive() {
  hf_said=$({ cat >"$hf_job/incoming"; } 2>&1) || {
    cat >/dev/null
    hf_refuse_because "$hf_said"
  }
  hf_vanished
  hf_receive_bytes=$(wc -c <"$hf_job/incoming")
  if [ "$hf_receive_bytes" -ne $((hf_blocks * 512)) ]; then
    rm -rf "$hf_claimed"
    hf_refuse transfer "$((hf_receive_bytes)) of $((hf_blocks * 512)) bytes arrived"
  fi
}

# hf_cut SKIP BYTES FILE: cuts a part out of the payload, from block SKIP on.
hf_cut() {
  hf_whole=$(($2 / 512))
  # Not `: >`: a special builtin that can't redirect ends the shell.
  { :; } >"$3" 2>/dev/null || return 1
  if [ "$hf_whole" -gt 0 ]; then
    dd if="$hf_job/incoming" bs=512 skip="$1" count="$hf_whole" >>"$3" 2>"$hf_job/dd" || return 1
  fi
  if [ $(($2 % 512)) -gt 0 ]; then
    dd if="$hf_job/incoming" bs=1 skip=$((($1 + hf_whole) * 512)) count=$(($2 % 512)) >>"$3" 2>"$hf_job/dd" ||
      return 1
  fi
}

# hf_unpack: cuts every part, checks it, and moves it to its place.
hf_unpack() {
  hf_at_block=0
  hf_todo=$hf_missing
  while [ -n "$hf_todo" ]; do
    hf_part_line=${hf_todo%%$hf_nl*}
    hf_todo=${hf_todo#*"$hf_nl"}
    set -- $hf_part_line
    hf_say ''
    if ! hf_cut "$hf_at_block" "$3" "$hf_job/part"; then
      hf_vanished
      hf_said=$(cat "$hf_job/dd" 2>/dev/null)
      case $hf_said in
      *pace\ left*) ;;
      *) [ -s "$hf_job/dd" ] || hf_said='no space left' ;;
      esac
      hf_refuse_because "$hf_said"
    fi
    if ! hf_matches "$hf_job/part" "$@"; then
      rm -rf "$hf_claimed"
      hf_refuse transfer "$1 arrived as $hf_digest"
    fi
    hf_at_block=$((hf_at_block + ($3 + 511) / 512))
    if [ -n "$hf_todo" ]; then
      hf_try mv "$hf_job/part" "$hf_blobs/$1"
    else
      # Room for the job's last word, its first, and why it could not go on, before anything is done.
      hf_said=$({ dd if=/dev/zero of="$hf_job/rc.new" bs=1024 count=1 &&
        dd if=/dev/zero of="$hf_job/said" bs=1024 count=1 && hf_say 0 >"$hf_job/watch" && hf_say 0 >"$hf_job/runs" &&
        : >"$hf_job/journal"; } 2>&1) || hf_refuse_because "$hf_said"
      rm -f "$hf_job/incoming" "$hf_job/dd"
      hf_try mv "$hf_job/part" "$hf_job/step"
    fi
  done
}

# hf_launch: detaches the wrapper, with nothing of this connection open in it, and waits until it has begun. Meanwhile an
# empty line now and then tells the reader that we are there.
hf_launch() {
  if setsid true </dev/null >/dev/null 2>&1; then
    setsid $hf_sh "$hf_job/step" "$hf_state" "$hf_attempt" </dev/null >/dev/null 2>&1 &
  else
    (
      trap '' HUP
      exec $hf_sh "$hf_job/step" "$hf_state" "$hf_attempt"
    ) </dev/null >/dev/null 2>&1 &
  fi
  hf_launch_pid=$! hf_launch_polls=0
  while [ ! -d "$hf_job/go" ] && [ ! -f "$hf_job/go" ] && [ "$hf_launch_polls" -lt $((hf_launch_limit + 50)) ]; do
    hf_launch_polls=$((hf_launch_polls + 1))
    if [ "$hf_launch_polls" -le 50 ]; then
      sleep 0.02 2>/dev/null || sleep 1
      continue
    fi
    # A wrapper that is gone will not begin any more; of one that was handed on by a fork the last seconds tell.
    hf_start_of "$hf_launch_pid" || [ "$hf_launch_polls" -ge $((hf_launch_limit + 45)) ] || hf_launch_polls=$((hf_launch_limit + 45))
    hf_say ''
    sleep 1
  done
}

hf_start_main() {
  hf_say ''
  command -v dd >/dev/null 2>&1 || hf_refuse no-tool dd
  command -v mkfifo >/dev/null 2>&1 || hf_refuse no-tool mkfifo
  hf_whoami
  hf_state_dir
  hf_state_make
  hf_epoch_check
  hf_machine_check
  hf_ack_all
  hf_claim
  hf_caps
  hf_sweep
  hf_find_missing
  hf_preflight
  hf_emit ready
  hf_receive
  hf_unpack
  hf_launch
  hf_follow
  hf_emit done
}

# hf_follow: tells the journal of hf_attempt as it grows, until the job ended or is found dead. One that has not begun
# never will: before that is said, it is seen to. Of a start that may still be on its way, a folder keeps the place.
hf_follow() {
  hf_job_look "$hf_attempt"
  if [ "$hf_job_state" = gone ] && [ -d "$hf_state/jobs" ]; then
    hf_said=$(mkdir "$hf_job" 2>&1) || [ -d "$hf_job" ] || hf_refuse_because "$hf_said"
  fi
  hf_void "$hf_attempt"
  case $hf_job_state in
  gone | unstarted | untransferred)
    hf_emit "job $hf_attempt $hf_job_state"
    return 0
    ;;
  esac
  if [ ! -f "$hf_job/journal" ]; then
    hf_emit "job $hf_attempt $hf_job_state"
    return 0
  fi
  hf_follow_journal 4<"$hf_job/journal"
}

hf_follow_journal() {
  hf_quiet=0
  while :; do
    # Looked at first, told after: what was written before the end is told before it.
    hf_job_look "$hf_attempt"
    hf_told=0
    hf_tell_new
    case $hf_job_state in
    done)
      hf_tell_end
      break
      ;;
    running) ;;
    *)
      hf_emit "job $hf_attempt $hf_job_state"
      break
      ;;
    esac
    if [ "$hf_told" -gt 0 ]; then
      hf_quiet=0
    fi
    hf_quiet=$((hf_quiet + 1))
    # Quick while things happen, slow when they take long; where sleep knows whole seconds only, slow.
    if [ "$hf_quiet" -lt 5 ]; then
      sleep 0.05 2>/dev/null || sleep 1
    elif [ "$hf_quiet" -lt 20 ]; then
      sleep 0.2 2>/dev/null || sleep 1
    else
      sleep 1
    fi
    # An empty line every ten seconds is noise to the reader, tells that we are there (the reader gives up after a minute
    # of silence), and ends us when nobody reads any more.
    if [ $((hf_quiet % 10)) -eq 9 ]; then
      hf_say '' || exit 0
    fi
  done
}

# hf_confirm_main: says for a job that it can stay as it is: whoever says so came over a connection that was made after
# the change. Decided once, by mkdir, between us and the job's guard.
hf_confirm_main() {
  hf_say ''
  hf_whoami
  hf_state_dir
  hf_job=$hf_state/jobs/$hf_attempt
  if [ ! -d "$hf_job/guard" ]; then
    hf_emit "decided $hf_attempt gone"
  elif ! grep -e "^guarded $hf_attempt " "$hf_job/journal" >/dev/null 2>&1; then
    hf_emit "decided $hf_attempt early"
  elif mkdir "$hf_job/decided" 2>/dev/null; then
    { :; } >"$hf_job/decided/confirmed"
    hf_emit "decided $hf_attempt confirmed"
  elif [ -e "$hf_job/decided/confirmed" ]; then
    hf_emit "decided $hf_attempt confirmed"
  else
    hf_emit "decided $hf_attempt reverted"
  fi
  hf_emit done
}

hf_follow_main() {
  hf_say ''
  hf_whoami
  hf_state_dir
  hf_follow
  hf_emit done
}
