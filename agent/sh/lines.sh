# Lines of text files: ours come and go in any order, and what stood there before comes back where it stood.
#
# The life of a line keeps in its folder of *before*: `of` (the path), `context` (the file, if the line stood in it), and in
# `owed` (captured) and `debts` (later) what the file is owed when the lines of Holdfast leave it:
#
#   made         the file was not there
#   bare TEXT    TEXT was its last line, without a newline
#
# Who leaves pays what can be paid and hands the rest on to the lives of that file that stay; and where its line comes
# back, it tells those whose line has yet to come back, for that one's place may be beside it.

# hf_line_keep PATH: captures.
hf_line_keep() {
  hf_go "$1"
  hf_say "$1" >"$hf_before/of" && { :; } >"$hf_before/owed" || hf_fail "cannot write in $hf_before"
  case $hf_type in
  absent) hf_say made >"$hf_before/owed" || hf_fail "cannot write in $hf_before" ;;
  file)
    hf_hold
    hf_has_line "$hf_held" "$line"
    case $? in
    0)
      (umask 077 && exec cat "$hf_held" >"$hf_before/context") || hf_fail "cannot keep a copy of $1 in $hf_before"
      hf_line_owe "$hf_held" owed mine
      ;;
    1) hf_line_owe "$hf_held" owed any ;;
    *) hf_fail "cannot read $1" ;;
    esac
    ;;
  esac
  hf_leave
}

# hf_line_owe FILE NAME mine|any: notes in $hf_before/NAME that the file's last line (if it is ours, or any) has no newline.
hf_line_owe() {
  ! hf_final "$1" || return 0
  (
    hf_line_whose=$3
    export line hf_line_whose
    awk '{ last = $0 } END { if (ENVIRON["hf_line_whose"] == "any" || last "" == ENVIRON["line"] "") print "bare " last }' \
      "$1" >>"$hf_before/$2"
  ) || hf_fail "cannot read $1"
}

# hf_line_append PATH: brings the line. A file that others took away meanwhile is made by us now.
hf_line_append() {
  rm -f "$hf_before/ended"
  hf_stat_one "$1"
  if [ "$hf_type" = absent ]; then
    hf_say made >>"$hf_before/debts" || hf_die "cannot write in $hf_before"
    (export line && awk 'BEGIN { print ENVIRON["line"] }' </dev/null >"$hf_before/edited") ||
      hf_die "cannot write $hf_before/edited"
    hf_put "$hf_before/edited" "$1" '' '' ''
    rm -f "$hf_before/edited"
  elif ! hf_has_line "$1" "$line"; then
    [ "$hf_type" != file ] || hf_line_owe "$1" debts any
    hf_edit "$1" '{ print } END { print ENVIRON["line"] }'
  fi
}

# hf_line_remove PATH: takes every such line away. The last line stays as it is if it has no newline; if that one goes, the
# one before it keeps its own.
hf_line_remove() {
  rm -f "$hf_before/ended"
  hf_stat_one "$1"
  [ "$hf_type" != absent ] && hf_has_line "$1" "$line" || return 0
  [ "$hf_type" != file ] || hf_line_owe "$1" debts mine
  final=yes
  hf_final "$1" || final=no
  hf_edit "$1" '
    $0 "" == ENVIRON["line"] "" { gone = NR; next }
    { if (have) print last; last = $0; have = 1 }
    END { if (ENVIRON["final"] == "no" && gone != NR) ORS = ""; if (have) print last }'
}

# hf_line_back PATH take|put: the way back: our line goes, or theirs comes.
hf_line_back() {
  hf_line_path=$1 hf_line_how=$2
  hf_stat_one "$1"
  case $hf_type,$2 in
  file,*) hf_line_back_file ;;
  *,take) [ "$hf_type" = absent ] || hf_left "$1 is a $hf_type now, which others put there: it is kept" ;;
  absent,*) hf_left "$1 is gone; the line that was in it is not put back" ;;
  *) hf_left "$1 is a $hf_type now, which others put there: the line that was in the file is not put back" ;;
  esac
  if [ "${hf_life_name:+$hf_state/before/$hf_life_name}" = "$hf_before" ] || [ -z "${hf_life_name:-}" ]; then
    { :; } >"$hf_before/ended" || hf_die "cannot write in $hf_before"
  else
    # A guard took the step back: the life goes on.
    rm -f "$hf_state/before/$hf_life_name/ended"
  fi
}

hf_line_back_file() {
  hf_line_find_others
  hf_line_here=no
  ! hf_has_line "$hf_line_path" "$line" || hf_line_here=yes
  if [ "$hf_line_how$hf_line_others" = take ] && hf_line_made && hf_line_alone; then
    hf_gone "$hf_line_path" file
    return 0
  fi
  final=yes
  hf_final "$hf_line_path" || final=no
  hf_line_context=$hf_before/context hf_line_rest=$hf_before/rest
  [ ! -f "$hf_before/now" ] || hf_line_context=$hf_before/now
  { :; } >"$hf_line_rest" || hf_die "cannot write in $hf_before"
  if [ "$hf_line_how" = put ] || [ "$hf_line_here" = yes ] || [ -s "$hf_before/owed" ] || [ -s "$hf_before/debts" ]; then
    hf_edit "$hf_line_path" "$hf_line_awk"
  fi
  hf_line_hand_on
  if [ "$hf_line_how,$hf_line_here" = take,yes ] && hf_has_line "$hf_line_path" "$line"; then
    hf_left "the line stands in $hf_line_path once more: others wrote it there too"
  fi
}

# hf_line_find_others: sets hf_line_others to the lives of the same file that stay.
hf_line_find_others() {
  hf_line_others=
  for hf_line_folder in "$hf_state"/before/*; do
    case ${hf_line_folder##*/} in
    *.new | "${hf_before##*/}" | "${hf_life_name:-}") continue ;;
    esac
    [ -f "$hf_line_folder/of" ] && [ ! -e "$hf_line_folder/ended" ] || continue
    hf_line_of=
    IFS= read -r hf_line_of <"$hf_line_folder/of"
    [ "$hf_line_of" != "$hf_line_path" ] || hf_line_others="$hf_line_others ${hf_line_folder##*/}"
  done
}

# hf_line_made: tells whether the file was not there.
hf_line_made() {
  for hf_line_debts in "$hf_before/owed" "$hf_before/debts"; do
    [ -f "$hf_line_debts" ] || continue
    while IFS= read -r hf_line_debt; do
      [ "$hf_line_debt" != made ] || return 0
    done <"$hf_line_debts"
  done
  return 1
}

# hf_line_alone: tells whether nothing is left of the file when our line goes.
hf_line_alone() {
  hf_line_count=$(awk 'END { print NR }' "$hf_line_path")
  case $hf_line_count,$hf_line_here in
  1,yes | 0,*) return 0 ;;
  esac
  return 1
}

# hf_line_hand_on: what could not be paid goes to the lives that stay, and so does the place of what came back.
hf_line_hand_on() {
  for hf_line_other in $hf_line_others; do
    hf_line_folder=$hf_state/before/$hf_line_other
    cat "$hf_line_rest" >>"$hf_line_folder/debts" || hf_die "cannot write in $hf_line_folder"
    [ "$hf_line_how" = put ] && [ -f "$hf_line_folder/context" ] || continue
    hf_line_from=$hf_line_folder/context
    [ ! -f "$hf_line_folder/now" ] || hf_line_from=$hf_line_folder/now
    (
      final=yes hf_before=/nonexistent hf_line_rest=/dev/null
      hf_line_make "$hf_line_awk" "$hf_line_from"
    ) >"$hf_line_folder/now.new" && mv "$hf_line_folder/now.new" "$hf_line_folder/now" || hf_die "cannot write in $hf_line_folder"
  done
  if [ -z "$hf_line_others" ] && hf_line_made; then
    hf_left "$hf_line_path is kept: there are lines in it that others wrote"
  fi
  rm -f "$hf_line_rest"
}

# hf_line_make PROGRAM FILE: what a program makes of a file.
hf_line_make() {
  hf_line_owed=$hf_before/owed hf_line_debts=$hf_before/debts
  export line final hf_line_how hf_line_context hf_line_owed hf_line_debts hf_line_rest
  awk "$1" "$2"
}

# Ours is the last of equal lines: it was appended. Theirs comes right behind the line that stood before it, or right before
# the one that stood behind it, or between those nearest to it that still stand.
# shellcheck disable=SC2016
hf_line_awk='
  function same(one, other) { return one "" == other "" }
  function put(text, ours) { if (have) print last; last = text; have = 1; mine = ours }
  function load(file,  row) {
    while ((getline row < file) > 0) if (same(row, line)) stood[++times] = refs; else ref[++refs] = row
    close(file)
  }
  function align(  p, s, h, w, i, j, k) {
    for (p = 0; p < refs && p < n && same(ref[p + 1], now[p + 1]); p++) at[p + 1] = p + 1
    for (s = 0; s < refs - p && s < n - p && same(ref[refs - s], now[n - s]); s++) at[refs - s] = n - s
    h = refs - p - s; w = n - p - s
    if (h * w > 40000) {
      for (i = p + 1; i <= p + h; i++) for (k = p + j + 1; k <= p + w; k++) if (same(ref[i], now[k])) { at[i] = k; j = k - p; break }
      return
    }
    for (i = h; i >= 1; i--) for (j = w; j >= 1; j--) {
      if (same(ref[p + i], now[p + j])) len[i, j] = len[i + 1, j + 1] + 1
      else len[i, j] = len[i + 1, j] + 0 > len[i, j + 1] + 0 ? len[i + 1, j] : len[i, j + 1] + 0
    }
    for (i = j = 1; i <= h && j <= w; ) {
      if (same(ref[p + i], now[p + j])) { at[p + i] = p + j; i++; j++ }
      else if (len[i + 1, j] + 0 >= len[i, j + 1] + 0) i++
      else j++
    }
  }
  function place(q,  i, j) {
    for (i = q; i > 0 && !at[i]; i--) ;
    for (j = q + 1; j <= refs && !at[j]; j++) ;
    if (i < q && j == q + 1 && j <= refs) return at[j] - 1
    return at[i] + 0
  }
  function pay(file,  row, text) {
    while ((getline row < file) > 0) {
      text = substr(row, 6)
      if (substr(row, 1, 5) == "bare " && have && same(text, last)) bare = 1
      else print row > ENVIRON["hf_line_rest"]
    }
    close(file)
  }
  { now[++n] = $0 }
  END {
    n += 0; line = ENVIRON["line"]; take = ENVIRON["hf_line_how"] == "take"
    for (i = 1; i <= n; i++) if (same(now[i], line)) has = i
    if (!take && !has) { load(ENVIRON["hf_line_context"]); align() }
    for (k = 1; k <= times; k++) behind[place(stood[k])]++
    for (i = 0; i <= n; i++) {
      if (i > 0 && !(take && i == has)) put(now[i], 0)
      for (k = 1; k <= behind[i]; k++) put(line, 1)
    }
    bare = ENVIRON["final"] == "no" && !mine && !(take && has == n)
    pay(ENVIRON["hf_line_owed"]); pay(ENVIRON["hf_line_debts"])
    if (bare) ORS = ""
    if (have) print last
  }'
