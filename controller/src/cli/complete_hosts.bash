
# Hosts and groups, where a pattern of them is meant; behind the last `:` of it.
_holdfast_and_hosts() {
    _holdfast "$@"
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" word command= sub=
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$word" in
            -*) ;;
            *) if [ -z "$command" ]; then command="$word"; elif [ -z "$sub" ]; then sub="$word"; fi ;;
        esac
    done
    case "$prev,$command,$sub" in
        -l,* | --limit,*) ;;
        *,plan, | *,drift, | *,run, | *,hosts, | *,facts, | *,collect, | *,unlock, | *,machines, | *,resolve,) ;;
        *,agent,install | *,agent,status | *,agent,remove) ;;
        *) return 0 ;;
    esac
    case "$cur" in
        -*) return 0 ;;
    esac
    local before= names
    case "$cur" in
        *:* | *,*) before="${cur%"${cur##*[:,]}"}" ;;
    esac
    case "${cur#"$before"}" in
        [\&!]*) before="$before${cur:${#before}:1}" ;;
    esac
    names="$(holdfast hosts 2>/dev/null; holdfast hosts --graph 2>/dev/null | sed -n 's/^ *@\([^ ]*\).*/\1/p')"
    COMPREPLY=($(compgen -P "$before" -W "$names" -- "${cur#"$before"}"))
    # Bash takes what stands before a colon for another word.
    if [ -n "$before" ] && declare -F __ltrim_colon_completions >/dev/null; then
        __ltrim_colon_completions "$cur"
    fi
}

if [ "$(type -t compopt)" = builtin ]; then
    complete -F _holdfast_and_hosts -o nosort -o bashdefault -o default holdfast
else
    complete -F _holdfast_and_hosts -o bashdefault -o default holdfast
fi
