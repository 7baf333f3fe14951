//! The sh of packages for apt and dpkg.

/// What all parts share. apt asks nothing, keeps configuration files that were changed, waits a minute for its lock
/// (unattended upgrades hold it for so long on a healthy host), and removes nothing beyond what it is told, whatever the
/// host's own apt.conf says. `$hf_state/unfinished` is there as long as dpkg may be left half-way by us: it names what
/// the install brings, whose mark as automatic apt writes only at its end.
pub(super) const LIBRARY: &str = r#"
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
apt_get() {
  [ -e "$hf_state/unfinished" ] || : >"$hf_state/unfinished" || hf_die "cannot write $hf_state/unfinished"
  apt-get -y -q -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=60 \
    -o APT::Get::AutomaticRemove=false "$@"
  code=$?
  if [ "$code" -eq 0 ] || [ -z "$(half_done)" ]; then
    rm -f "$hf_state/unfinished"
  fi
  return "$code"
}
half_done() {
  dpkg-query -W -f '${Status} ${Package}\n' | awk '$3 ~ /^half-/ || $3 == "unpacked" || $2 != "ok" { print $4 }'
  ls /var/lib/dpkg/updates 2>/dev/null | grep '^[0-9]'
}
settle() {
  if [ -e "$hf_state/unfinished" ]; then
    [ -z "$(half_done)" ] || dpkg --force-confdef --force-confold --configure -a
    [ ! -s "$hf_state/unfinished" ] || apt-mark auto $(cat "$hf_state/unfinished") >/dev/null
    rm -f "$hf_state/unfinished"
    return 0
  fi
  tries=0
  while half=$(half_done) && [ -n "$half" ]; do
    tries=$((tries + 1))
    [ "$tries" -le 12 ] || hf_die "dpkg is at work, or was interrupted, at $(printf '%s' "$half" | tr '\n' ' '): \
run \`dpkg --configure -a\` on the host, then apply again"
    sleep 5
  done
}
listed() {
  dpkg-query -W -f '${binary:Package} ${Status}\n' | sort -u
}
is_there() {
  dpkg-query -W -f '${Status}\n' -- "$1" 2>/dev/null | grep ' installed$' >/dev/null
}
owned() {
  dpkg -L -- "$@" 2>/dev/null
}
# Reads a simulation; prints what would go.
removals() {
  awk '$1 == "Remv" || $1 == "Purg" { print $2 }'
}
# Prints those lines of its input that are not among the words given, whatever the architecture.
except() {
  words="$*" awk 'BEGIN { n = split(ENVIRON["words"], list); for (i = 1; i <= n; i++) { sub(/:.*/, "", list[i]); has[list[i]] = 1 } }
    { bare = $0; sub(/:.*/, "", bare); if (!(bare in has)) print }'
}
only() {
  words="$*" awk 'BEGIN { n = split(ENVIRON["words"], list); for (i = 1; i <= n; i++) { sub(/:.*/, "", list[i]); has[list[i]] = 1 } }
    { bare = $0; sub(/:.*/, "", bare); if (bare in has) print }'
}
# What goes with an undone install: apt is asked what nothing needs any more, in a world where only what we brought and
# nobody asked for since is automatic, and all else is wanted by a person. Sets going, strangers (not ours, and would
# have to go too) and kept (ours, and needed by others by now).
foresee() {
  auto=/var/lib/apt/extended_states
  [ -r "$auto" ] || auto=/dev/null
  ours="$(cat "$hf_before/added" 2>/dev/null)" spared="$spared" awk 'BEGIN {
      RS = ""; ORS = "\n\n"
      n = split(ENVIRON["ours"], list); for (i = 1; i <= n; i++) { sub(/:.*/, "", list[i]); mine[list[i]] = 1 }
      n = split(ENVIRON["spared"], list); for (i = 1; i <= n; i++) { sub(/:.*/, "", list[i]); delete mine[list[i]] }
    }
    /Auto-Installed: 1/ {
      n = split($0, line, "\n")
      for (i = 1; i <= n; i++) if (line[i] ~ /^Package: / && substr(line[i], 10) in mine) { print; break }
    }' "$auto" >"$hf_before/states" || return 1
  mine=$(sed -n 's/^Package: //p' "$hf_before/states")
  if is_there "$name"; then set -- remove -- "$name"; else set -- autoremove; fi
  would=$(apt-get -s -o "Dir::State::extended_states=$hf_before/states" -o APT::AutoRemove::SuggestsImportant=false \
    -o APT::Get::AutomaticRemove=true "$@" 2>&1)
  code=$?
  rm -f "$hf_before/states"
  if [ "$code" -ne 0 ]; then
    printf '%s\n' "$would" >&2
    return 1
  fi
  going=$(printf '%s\n' "$would" | removals)
  strangers=$(printf '%s\n' "$going" | except "$name" $mine | tr '\n' ' ')
  kept=$(for package in $mine; do if is_there "$package"; then printf '%s\n' "$package"; fi; done | except "$name" $going)
}
foresee_absent() {
  would=$(apt-get -s -o APT::Get::AutomaticRemove=false remove -- "$name" 2>&1) || return 1
  going=$(printf '%s\n' "$would" | removals)
  strangers=$(printf '%s\n' "$going" | except "$name" | tr '\n' ' ')
  kept=
}
"#;

/// Intent first: what the transaction will bring is written down before anything of it is there.
pub(super) const INSTALL: &str = r#"
settle
set -- /var/lib/apt/lists/*_Packages*
[ -e "$1" ] || apt-get -q update || hf_die "apt-get update failed and the host has no package lists"
would=$(apt-get -s -o APT::Get::AutomaticRemove=false --no-install-recommends install -- "$name" 2>&1)
if [ "$?" -ne 0 ]; then
  printf '%s\n' "$would"
  if ! apt-cache show -- "$name" >/dev/null 2>&1; then
    hf_die "apt knows no package $name; if the package lists are old, run apt-get update first, as a script resource"
  fi
  hf_die "apt-get can't install $name"
fi
strangers=$(printf '%s\n' "$would" | removals | tr '\n' ' ')
[ -z "$strangers" ] || hf_die "installing $name would remove ${strangers}too; declare those absent first"
printf '%s\n' "$would" | awk '$1 == "Inst" && $3 !~ /^\[/ { print $2 }' >>"$hf_before/added" &&
  printf '%s\n' "$would" | awk '$1 == "Inst" && $3 !~ /^\[/ { print $2 }' | except "$name" >"$hf_state/unfinished" ||
  hf_die "cannot write down what comes with $name; the disk may be full"
apt_get --no-install-recommends install -- "$name" || hf_die "apt-get install $name ended with $code"
let_go "$name"
"#;

pub(super) const UNDO_INSTALL: &str = r#"
[ -e "$hf_before/packages" ] || hf_die "what was installed before is lost: $hf_before/packages"
settle
foresee || hf_die "apt-get can't tell what goes with $name"
residual=$(awk '$NF == "config-files" { print $1 }' "$hf_before/packages")
held=$(dpkg-query -W -f '${Status} ${Package}\n' | awk '$1 == "hold" { print $4 }' | only $going | tr '\n' ' ')
if [ -n "$held" ]; then
  hf_left "package $name is kept: on hold are ${held% }"
  exit 0
fi
if [ -n "$strangers" ]; then
  # What needs it keeps it now: the mark says so, and whoever of ours leaves last takes it along.
  hand_over "$name" $(cat "$hf_before/added" 2>/dev/null)
  apt-mark auto "$name" >/dev/null
  hf_left "package $name is kept: needed by ${strangers% }"
  exit 0
fi
printf '%s\n' $going >>"$hf_before/goes" || hf_die "cannot write $hf_before/goes"
[ -z "$going" ] || apt_get remove -- $going || hf_die "apt-get remove failed"
let_go $going
left=
if [ -n "$kept" ]; then
  hand_over $kept
  left="came with $name, and is kept, since others need it or it is declared by itself:$(printf ' %s' $kept)"
fi
remains=$(dpkg-query -W -f '${Status} ${Package}\n' | awk '$3 == "config-files" { print $4 }' |
  only $(cat "$hf_before/goes") | except $residual)
if [ -n "$remains" ]; then
  if [ "$on_undo" = purge ]; then
    apt_get purge -- $remains || hf_die "apt-get purge failed"
  else
    left="$left${left:+; }configuration and data stay of$(printf ' %s' $remains) (dpkg --purge would take them)"
  fi
fi
[ -z "$left" ] || hf_left "$left"
"#;

pub(super) const REMOVE: &str = r#"
settle
foresee_absent || hf_die "apt-get can't tell what goes with $name: $would"
[ -z "$strangers" ] || hf_die "removing $name would remove ${strangers}too; declare those absent first"
apt_get remove -- "$name" || hf_die "apt-get remove $name failed"
"#;

pub(super) const UNDO_REMOVE: &str = r#"
settle
apt_get --no-install-recommends --allow-downgrades install -- "$name=$was_version" ||
  apt_get --no-install-recommends install -- "$name" || hf_die "apt-get install $name failed"
[ ! -s "$hf_before/marks" ] || apt-mark auto "$name" >/dev/null
"#;
