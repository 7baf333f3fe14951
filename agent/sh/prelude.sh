# The first lines of every program: a known environment, how things are said, and what bodies may call.
# Every name of ours begins with hf_; bodies may set any other.

unset ENV BASH_ENV CDPATH GREP_OPTIONS
# The host's own PATH comes last: for tools that its admin put elsewhere. xpg4 is where Solaris keeps POSIX tools.
PATH=/usr/xpg4/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin${PATH:+:$PATH}
LC_ALL=C
export PATH LC_ALL
umask 077
cd / || exit 1
IFS=' 	
'
hf_nl='
'
# Another POSIX shell where /bin/sh is none.
hf_sh=${HOLDFAST_SH:-/bin/sh}

# hf_say WORDS: one line. Where printf is no builtin it costs a process a line, and everybody may read its arguments: mksh has
# print, and posh's echo takes a backslash and a leading dash for more than they are.
case ${KSH_VERSION-},${POSH_VERSION-} in
*MIRBSD*) hf_say() { print -r -- "$*"; } ;;
,?*)
  hf_say() {
    hf_say_rest=$* hf_say_text=
    while :; do
      case $hf_say_rest in
      *\\*) hf_say_text=$hf_say_text${hf_say_rest%%\\*}'\\' hf_say_rest=${hf_say_rest#*\\} ;;
      *) break ;;
      esac
    done
    hf_say_text=$hf_say_text$hf_say_rest
    case $hf_say_text in
    -*) hf_say_text='\055'${hf_say_text#-} ;;
    esac
    echo "$hf_say_text"
  }
  ;;
*) hf_say() { printf '%s\n' "$*"; } ;;
esac

# hf_emit WORDS: one line of the reply.
hf_emit() {
  hf_say "$hf_nonce $*"
}

# hf_refuse KIND DETAIL: says so and ends the program.
hf_refuse() {
  hf_emit "refused $*"
  hf_emit done
  exit 0
}

# hf_begin ID SECONDS: the attributes that follow are those of resource ID, whose check may take so long. hf_asked is
# observe, prologue or step.
hf_begin() {
  hf_id=$1 hf_limit=${2:-}
  case $hf_asked in
  observe) hf_prefix="$hf_nonce attr $1 " ;;
  prologue) hf_prefix="$1 " ;;
  esac
}

# hf_escaped VALUE: sets hf_escaped to the value in letters of ASCII that can be printed: every other byte, and the
# backslash, is a backslash and three octal digits. So one value is one line, whatever bytes are in it, and nothing is lost.
hf_escaped() {
  case $1 in
  *[!\ -~]*)
    hf_escaped=$(hf_say "$1" | od -An -v -to1 | awk '
      BEGIN { for (n = 32; n < 127; n++) plain[sprintf("%03o", n)] = sprintf("%c", n); plain["134"] = "\\134" }
      { for (i = 1; i <= NF; i++) { if (last) text = text (last in plain ? plain[last] : "\\" last); last = $i } }
      END { print text }')
    ;;
  *\\*)
    hf_escaped= hf_escaped_rest=$1
    while :; do
      case $hf_escaped_rest in
      *\\*) hf_escaped=$hf_escaped${hf_escaped_rest%%\\*}'\134' hf_escaped_rest=${hf_escaped_rest#*\\} ;;
      *) break ;;
      esac
    done
    hf_escaped=$hf_escaped$hf_escaped_rest
    ;;
  *) hf_escaped=$1 ;;
  esac
}

# hf_attr KEY VALUE: reports an attribute on descriptor 3.
hf_attr() {
  hf_escaped "$2"
  # Longer than any path, shorter than the reader's limit.
  [ "${#hf_escaped}" -le 16384 ] || hf_escaped="(${#hf_escaped} bytes)"
  hf_say "$hf_prefix$1 $hf_escaped" >&3 || hf_attr_failed=1
}
hf_attr_failed=0

# hf_text PATH BYTES: brings old text for the diff: at most 64 KiB a file and 1 MiB a host, and no binary: a NUL does
# not fit into a variable, and then the length is not the one the file has.
hf_text_left=1048576
hf_text() {
  [ "$hf_asked" = observe ] || return 0
  [ "$2" -le 65536 ] && [ "$2" -le "$hf_text_left" ] || return 0
  { hf_text_old=$(cat "$1" && echo .); } 2>/dev/null || return 0
  hf_text_old=${hf_text_old%.}
  [ "${#hf_text_old}" -eq "$2" ] || return 0
  hf_text_left=$((hf_text_left - $2))
  hf_say "$hf_nonce text $hf_id $2" >&3
  hf_say "$hf_text_old" >&3
}

# hf_left WHAT: records what was left because it belongs to others.
hf_left() {
  hf_say "$*" >>"$hf_left_file"
}

# hf_die MESSAGE: ends the step.
hf_die() {
  hf_say "$*" >&2
  exit 1
}
