# An ad-hoc command: in the user's own environment and home; all that follows the marks is its own. Its input, if it
# has any, is sent only after the mark on stdout: this shell may have read ahead until there.
cd "${HOME:-/}" 2>/dev/null || cd /
printf '\n%s run\n' "$hf_nonce" >&2
printf '\n%s run\n' "$hf_nonce"
[ "$hf_input" = 1 ] && exec ${HOLDFAST_SH:-/bin/sh} -c "$hf_command"
exec ${HOLDFAST_SH:-/bin/sh} -c "$hf_command" </dev/null
