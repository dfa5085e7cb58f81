# For tests that look at a simulated pool: sourced behind tests/sim.sh.
#
#     look ARGS…               run `checkup --json`
#     evidence CHECK [OBJECT]  what its findings of that check go by
# shellcheck shell=sh disable=SC2154
export XDG_STATE_HOME="$tmp/state"
printf 'xenkit\n' >password
look() {
    run xenkit checkup --json --password-file password "$@"
}
evidence() {
    jq -r --arg c "$1" --arg o "${2:-}" '.findings[] | select(.check == $c and ($o == "" or .object == $o)) | .evidence' "$out"
}
