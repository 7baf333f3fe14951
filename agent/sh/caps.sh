# What the host's tools can do, found out once, and what is built on them: the digest and the stat of one path.
# Nothing here writes; a here-document would (some shells keep them in files), so there is none.

hf_nl='
'
hf_tab='	'
# The SHA-256 of no bytes: a tool that can't say this is not the tool we take it for.
hf_sha_of_nothing=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855

hf_have() {
  command -v "$1" >/dev/null 2>&1
}

# hf_caps: sets hf_digest_kind, hf_stat_kind, hf_stat_format, hf_init, hf_pm.
hf_caps() {
  hf_caps_done=1
  hf_digest_kind=cksum
  if hf_have sha256sum; then
    hf_digest_kind=sha256sum
  else
    for hf_c in shasum sha256 digest openssl; do
      hf_have "$hf_c" || continue
      hf_digest_kind=$hf_c
      hf_sha_stream </dev/null
      if [ "$hf_sha" = "$hf_sha_of_nothing" ]; then
        break
      fi
      hf_digest_kind=cksum
    done
  fi
  hf_t=$hf_tab
  # GNU stat takes -f for something else and prints before it fails, so -c is tried first and the answer is read.
  hf_stat_kind=ls
  if hf_have stat; then
    case $(stat -c '%a %n' / 2>/dev/null) in
    [0-7]*' /')
      hf_stat_kind=c
      hf_stat_format="%a$hf_t%U$hf_t%G$hf_t%u$hf_t%g$hf_t%s$hf_t%h$hf_t%F$hf_t%n"
      ;;
    *)
      case $(stat -f '%Lp %N' / 2>/dev/null) in
      [0-7]*' /')
        hf_stat_kind=f
        hf_stat_format="%Mp%Lp$hf_t%Su$hf_t%Sg$hf_t%u$hf_t%g$hf_t%z$hf_t%l$hf_t%HT$hf_t%N"
        ;;
      esac
      ;;
    esac
  fi
  # The init that runs, not the one whose folders exist: systemd makes this folder when it boots (sd_booted(3)).
  if [ -d /run/systemd/system ]; then
    hf_init=systemd
  else
    hf_init=none
    hf_c=
    if [ -r /proc/1/comm ]; then
      read -r hf_c </proc/1/comm || :
    fi
    case $hf_c in
    init | '')
      if [ -d /etc/init.d ]; then
        hf_init=sysv
      fi
      ;;
    esac
  fi
  # Debian packages dnf and rpm too: what counts is which database is in use.
  hf_pm=none
  if hf_have apt-get && hf_have dpkg-query && [ -s /var/lib/dpkg/status ]; then
    hf_pm=apt
  elif hf_have rpm; then
    if hf_have dnf || hf_have yum; then
      hf_pm=dnf
    fi
  fi
}

# Digests stdin with the tool found: sets hf_sha.
hf_sha_stream() {
  case $hf_digest_kind in
  sha256sum) hf_sha=$(sha256sum 2>/dev/null) ;;
  shasum) hf_sha=$(shasum -a 256 2>/dev/null) ;;
  sha256) hf_sha=$(sha256 2>/dev/null) ;;
  digest) hf_sha=$(digest -a sha256 2>/dev/null) ;;
  openssl) hf_sha=$(openssl dgst -sha256 2>/dev/null) ;;
  cksum) hf_sha=$(cksum 2>/dev/null) ;;
  esac
  case $hf_digest_kind in
  sha256sum | shasum) hf_sha=${hf_sha%% *} ;;
  openssl) hf_sha=${hf_sha##* } ;;
  esac
}

# hf_digest_one FILE: sets hf_digest to sha256:HEX, cksum:CRC:BYTES or unreadable.
hf_digest_one() {
  [ -n "${hf_caps_done:-}" ] || hf_caps
  hf_sha=
  { hf_sha_stream <"$1"; } 2>/dev/null
  hf_digest_set
}

# Makes hf_digest of what the tool said in hf_sha.
hf_digest_set() {
  case $hf_sha in
  '') hf_digest=unreadable ;;
  *)
    if [ "$hf_digest_kind" = cksum ]; then
      hf_rest=${hf_sha#* }
      hf_digest=cksum:${hf_sha%% *}:${hf_rest%% *}
    else
      hf_digest=sha256:$hf_sha
    fi
    ;;
  esac
}

# hf_stat_one PATH: sets hf_type (file directory symlink other absent unknown), hf_mode (4 digits), hf_owner, hf_group,
# hf_uid, hf_gid, hf_size, hf_links. Links are not followed. Of what can't be looked at hf_trouble says why.
hf_stat_one() {
  [ -n "${hf_caps_done:-}" ] || hf_caps
  hf_trouble=
  case $hf_stat_kind in
  c | f)
    if ! hf_line=$(stat "-$hf_stat_kind" "$hf_stat_format" "$1" 2>&1); then
      hf_stat_failed "$hf_line"
      hf_line=
    fi
    ;;
  *) hf_stat_ls "$1" ;;
  esac
  hf_stat_read "$hf_line"
}

# hf_stat_failed WORDS: only these two mean that nothing is there; a closed folder or a dead disk hides what is.
hf_stat_failed() {
  case $1 in
  *': No such file or directory' | *': Not a directory') hf_trouble= ;;
  *) hf_trouble=${1:-the tool that looks at files said nothing} ;;
  esac
}

# Reads one line of hf_stat_format into the variables; an empty line means absent, or unknown if there was trouble.
hf_stat_read() {
  hf_type=absent hf_mode= hf_owner= hf_group= hf_uid= hf_gid= hf_size= hf_links=
  if [ -n "$1" ]; then
    hf_split "$hf_tab" "$1"
  elif [ -n "$hf_trouble" ]; then
    hf_type=unknown
  fi
}
hf_trouble=

# hf_split SEPARATOR LINE: splits and hands the fields to hf_stat_fields.
hf_split() {
  hf_ifs=$IFS
  IFS=$1
  set -f
  # shellcheck disable=SC2086
  set -- $2
  set +f
  IFS=$hf_ifs
  hf_stat_fields "$@"
}

hf_stat_fields() {
  case $1 in
  ?) hf_mode=000$1 ;;
  ??) hf_mode=00$1 ;;
  ???) hf_mode=0$1 ;;
  *) hf_mode=$1 ;;
  esac
  hf_owner=$2 hf_group=$3 hf_uid=$4 hf_gid=$5 hf_size=$6 hf_links=$7
  [ "$hf_owner" != UNKNOWN ] || hf_owner=$hf_uid
  [ "$hf_group" != UNKNOWN ] || hf_group=$hf_gid
  case $8 in
  [rR]egular*) hf_type=file ;;
  [dD]irectory) hf_type=directory ;;
  [sS]ymbolic*) hf_type=symlink ;;
  *) hf_type=other ;;
  esac
}

# The same line from ls, where stat is missing or of an unknown kind.
hf_stat_ls() {
  hf_trouble=
  if ! hf_line=$(ls -ldn "$1" 2>&1); then
    hf_stat_failed "$hf_line"
    hf_line=
    return 0
  fi
  hf_names=$(ls -ld "$1" 2>/dev/null) || hf_names=$hf_line
  hf_ifs=$IFS
  IFS=" $hf_tab$hf_nl"
  set -f
  # shellcheck disable=SC2086
  set -- $hf_line
  hf_perms=$1 hf_links=$2 hf_uid=$3 hf_gid=$4 hf_size=$5
  # shellcheck disable=SC2086
  set -- $hf_names
  set +f
  IFS=$hf_ifs
  case $hf_perms in
  -*) hf_kind=regular ;;
  d*) hf_kind=directory ;;
  l*) hf_kind=symbolic ;;
  *) hf_kind=other ;;
  esac
  hf_perms_octal "$hf_perms"
  hf_line=$hf_octal$hf_tab$3$hf_tab$4$hf_tab$hf_uid$hf_tab$hf_gid$hf_tab$hf_size$hf_tab$hf_links$hf_tab$hf_kind
}

# hf_perms_octal -rwsr-xr-t: sets hf_octal to 5755.
hf_perms_octal() {
  hf_p=${1#?} hf_special=0 hf_octal= hf_bit=4
  for hf_c in u g o; do
    hf_digit=0
    case $hf_p in r*) hf_digit=4 ;; esac
    hf_p=${hf_p#?}
    case $hf_p in w*) hf_digit=$((hf_digit + 2)) ;; esac
    hf_p=${hf_p#?}
    case $hf_p in [xst]*) hf_digit=$((hf_digit + 1)) ;; esac
    case $hf_p in [sStT]*) hf_special=$((hf_special + hf_bit)) ;; esac
    hf_p=${hf_p#?}
    hf_bit=$((hf_bit / 2))
    hf_octal=$hf_octal$hf_digit
  done
  hf_octal=$hf_special$hf_octal
}

# hf_link_one PATH: sets hf_target to what a symlink points to.
hf_link_one() {
  if hf_have readlink; then
    hf_target=$(readlink "$1" 2>/dev/null)
  else
    hf_target=$(ls -ld "$1" 2>/dev/null)
    hf_target=${hf_target#*" $1 -> "}
  fi
}

# hf_empty PATH: tells whether a directory holds nothing, without a fork.
hf_empty() {
  for hf_c in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    if [ -e "$hf_c" ] || [ -h "$hf_c" ]; then
      return 1
    fi
  done
  return 0
}
