# A host may go down before a guarded change is decided, and its guard with it. So the guard leaves word with the host's
# init, before anything is changed: what nobody has confirmed by the next boot is taken back then.
#
#   STATE/at-boot <-- /etc/systemd/system/holdfast-guard.service, or a line @reboot in /etc/cron.d
#
# Both are gone with the decision. Where neither systemd nor cron is at work a boot takes nothing back.

# hf_boot_say: leaves word. That it can't is no reason to let the change be: the guard is there.
hf_boot_say() {
  # Other letters would have to be quoted in three languages.
  case $hf_state in
  *[!A-Za-z0-9/._-]*) return 0 ;;
  esac
  hf_boot_unit=$hf_etc/systemd/system/holdfast-guard.service
  if [ "$hf_init" = systemd ] && [ -w "$hf_etc/systemd/system" ]; then
    hf_boot_hook=$hf_boot_unit
  elif [ -w "$hf_etc/cron.d" ] && { hf_have cron || hf_have crond; }; then
    hf_boot_hook=$hf_etc/cron.d/holdfast-guard
  else
    return 0
  fi
  hf_say "#!$hf_sh
# Written by Holdfast: takes back a change that nobody confirmed before the host went down.
[ -f '$hf_job/step' ] && exec $hf_sh '$hf_job/step' '$hf_state' '$hf_attempt' boot
rm -f '$hf_etc/systemd/system/multi-user.target.wants/holdfast-guard.service' '$hf_boot_hook' '$hf_state/at-boot'" \
    >"$hf_state/at-boot.new" && mv "$hf_state/at-boot.new" "$hf_state/at-boot" || return 0
  if [ "$hf_boot_hook" = "$hf_boot_unit" ]; then
    mkdir -p "$hf_etc/systemd/system/multi-user.target.wants" &&
      hf_say "# Written by Holdfast for as long as a change waits to be confirmed.
[Unit]
Description=Take back a change that nobody confirmed
[Service]
Type=oneshot
ExecStart=$hf_sh $hf_state/at-boot" >"$hf_boot_hook" &&
      ln -sf ../holdfast-guard.service "$hf_etc/systemd/system/multi-user.target.wants/holdfast-guard.service"
  else
    hf_say "# Written by Holdfast for as long as a change waits to be confirmed.
@reboot root $hf_sh $hf_state/at-boot >/dev/null 2>&1" >"$hf_boot_hook"
  fi
  # Newer tools sync these files, older ones everything: both will do.
  sync "$hf_job/step" "$hf_state/at-boot" "$hf_boot_hook" 2>/dev/null
  return 0
}

# hf_boot_main: the guard's part after a boot: its job, and whoever decided it, died with the host.
hf_boot_main() {
  if [ ! -d "$hf_job/guard" ] || [ -e "$hf_job/rc" ]; then
    hf_sweep_hook "$hf_attempt"
    exit 0
  fi
  hf_boot_id
  hf_start_of "$$"
  # From here on the job is at work again, and nobody takes it off.
  hf_say "$$ $hf_start $hf_boot" >"$hf_job/guard/pid.new" && mv "$hf_job/guard/pid.new" "$hf_job/guard/pid" || exit 1
  hf_caps
  hf_guard_setsid
  # Of a line that the crash cut nobody knows the rest.
  if [ -n "$(tail -c 1 "$hf_job/journal")" ]; then
    sed '$d' "$hf_job/journal" >"$hf_job/journal.new" && mv "$hf_job/journal.new" "$hf_job/journal"
  fi
  hf_guard_cause='failed: the host booted before anybody confirmed'
  if [ -d "$hf_job/decided" ] && [ ! -e "$hf_job/decided/confirmed" ] && [ ! -e "$hf_job/guard/done" ]; then
    # It was being taken back when the host went down: once more, and whole.
    rm -rf "$hf_job/decided"
  fi
  [ -e "$hf_job/guard/done" ] || hf_guard_settle
  hf_first_line "$hf_job/guard/done"
  hf_guard_how=$hf_got
  hf_sweep_hook "$hf_attempt"
  hf_guarded=0
  if [ "$hf_guard_how" = reverted ]; then
    hf_end reverted -
  elif hf_first_line "$hf_job/guard/over" && [ "$hf_got" = completed ]; then
    hf_end completed -
  fi
  # Confirmed before it was over is nothing that a controller does: the next plan looks.
  exit 0
}
