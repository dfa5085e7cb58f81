# TAP for shell scripts. A command test is a script NAME.t that begins with
#
#     . "$XENKIT_SOURCE/tests/tap.sh"
#
# and ends with `done_testing`. It then stands in an empty folder of its own, which is removed at the end, and has:
#
#     xenkit ARGS…            the binary under test
#     run CMD ARGS…           run it; $status, and its output in the files $out and $err
#     check NAME STATUS [STDOUT [STDERR]]
#                             one test over the last run: all three must be as said. What is left out must be empty.
#                             An expectation is the exact text (final newlines aside), or one of
#                               -          anything          @FILE      exactly this file's bytes
#                               ~REGEX     some line matches this extended regular expression
#     ok NAME CMD ARGS…       passes when CMD succeeds           is NAME GOT WANT       passes when the texts are equal
#     nok NAME CMD ARGS…      passes when CMD fails              like NAME GOT REGEX    passes when some line matches
#     pass NAME               fail NAME [WHY]                    skip NAME WHY          diag TEXT
#     await CMD ARGS…         run CMD until it succeeds, for a minute (a busy machine has every right to be late); fails
#                             when it did not
#     network=own             said before this file is read: the script runs in a network of its own, where it can be had;
#                             nobody else takes its ports
#     requires PROG…          skips the whole script by name when a program is missing
#     requires_network        sets $apart: what runs a command in a network of its own; skips the rest without one
#     skip_all WHY            skips the whole script, or what is left of it
#     on_exit CMD ARGS…       run at the end, however it comes; the last one said goes first
#     $tmp                    the folder above the test's own: for files that a scan of the own folder must not meet
#
# A script that ends without done_testing has failed. Works in sh and bash; run one by hand with
# XENKIT=build/xenkit XENKIT_SOURCE=. sh tests/house.t
# shellcheck shell=sh disable=SC2034

set -u
: "${XENKIT:?the path of the xenkit binary}"
: "${XENKIT_SOURCE:?the path of the source tree}"
XENKIT=$(readlink -f "$XENKIT")
XENKIT_SOURCE=$(readlink -f "$XENKIT_SOURCE")
: "${XENKIT_TESTDATA:=$XENKIT_SOURCE/../shared}"
if [ "${network:-}" = own ] && [ -z "${XENKIT_OWN_NETWORK:-}" ]; then
    for apart in "unshare -n" "unshare -rn"; do
        $apart ip link set lo up 2>/dev/null || continue
        export XENKIT_OWN_NETWORK=1
        # shellcheck disable=SC2016,SC2093 # the inner shell's words; the rest is for who can have no network
        exec $apart sh -c 'ip link set lo up && exec bash "$@"' - "$0" "$@"
    done
fi
LC_ALL=C.UTF-8 TZ=UTC
export XENKIT XENKIT_SOURCE XENKIT_TESTDATA LC_ALL TZ
unset NO_COLOR COLUMNS POSIXLY_CORRECT

tap_count=0
tap_failed=0
tap_ended=no
tap_on_exit=
tmp=$(mktemp -d "${TMPDIR:-/tmp}/xenkit-test.XXXXXX") || exit 99
out=$tmp/stdout
err=$tmp/stderr
status=
: >"$out"
: >"$err"
mkdir "$tmp/own" && cd "$tmp/own" || exit 99

# At the end, of a process that ended long ago: its number may be another one's by then, or that of a thread.
tap_kill_child() {
    tap_signal=-TERM
    for tap_word; do
        case $tap_word in
        -*) tap_signal=$tap_word ;;
        *) ! grep -qs "^PPid:[^0-9]*$$\$" "/proc/$tap_word/status" || command kill "$tap_signal" "$tap_word" ;;
        esac
    done
}

tap_leave() {
    tap_status=$?
    kill() { tap_kill_child "$@"; }
    eval "$tap_on_exit" >/dev/null 2>&1
    cd / && rm -rf "$tmp"
    if [ "$tap_ended" = no ]; then
        tap_count=$((tap_count + 1))
        echo "not ok $tap_count - the script ended before done_testing (status $tap_status)"
        exit 1
    fi
}
trap tap_leave EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

xenkit() {
    "$XENKIT" "$@"
}

diag() {
    printf '%s\n' "$*" | sed 's/^/# /'
}

# A "#" in a test's name would start a directive.
tap_line() {
    tap_count=$((tap_count + 1))
    printf '%s %d - %s\n' "$1" "$tap_count" "$(printf '%s' "$2" | tr '#\n' '  ')${3:-}"
}

pass() {
    tap_line ok "$1"
}

fail() {
    tap_failed=$((tap_failed + 1))
    tap_line 'not ok' "$1"
    [ $# -lt 2 ] || diag "$2"
}

skip() {
    tap_line ok "$1" " # SKIP $2"
}

skip_all() {
    if [ "$tap_count" -gt 0 ]; then
        skip "the rest" "$1"
        done_testing
    fi
    echo "1..0 # SKIP $1"
    tap_ended=yes
    exit 0
}

await() {
    tap_until=$(($(date +%s) + 60))
    until "$@"; do
        [ "$(date +%s)" -lt $tap_until ] || return 1
        sleep 0.02
    done
}

requires() {
    for tap_program; do
        command -v "$tap_program" >/dev/null 2>&1 || skip_all "$tap_program is not installed"
    done
}

requires_network() {
    for apart in "unshare -n" "unshare -rn"; do
        ! $apart true 2>/dev/null || return 0
    done
    skip_all "no network namespaces here"
}

done_testing() {
    echo "1..$tap_count"
    tap_ended=yes
    [ "$tap_failed" -eq 0 ] || exit 1
    exit 0
}

# The words are quoted once more, so that they come out of eval as they were.
on_exit() {
    tap_words=
    for tap_word; do
        tap_words="$tap_words '$(printf '%s' "$tap_word" | sed "s/'/'\\\\''/g")'"
    done
    tap_on_exit="$tap_words; $tap_on_exit"
}

run() {
    tap_command=$*
    status=0
    "$@" >"$out" 2>"$err" </dev/null || status=$?
}

ok() {
    tap_name=$1
    shift
    if "$@" >"$tmp/ok.log" 2>&1 </dev/null; then
        pass "$tap_name"
    else
        tap_status=$?
        fail "$tap_name" "status $tap_status from: $*"
        sed 's/^/#   /' "$tmp/ok.log" | head -n 20
    fi
}

nok() {
    tap_name=$1
    shift
    if "$@" >"$tmp/ok.log" 2>&1 </dev/null; then
        fail "$tap_name" "should have failed: $*"
    else
        pass "$tap_name"
    fi
}

is() {
    if [ "$2" = "$3" ]; then
        pass "$1"
    else
        fail "$1"
        diag "got:  $2"
        diag "want: $3"
    fi
}

like() {
    if printf '%s\n' "$2" | grep -Eq -e "$3"; then
        pass "$1"
    else
        fail "$1"
        diag "got:  $2"
        diag "no line matches: $3"
    fi
}

# tap_compare WHAT FILE EXPECTATION: explains the difference on stdout and fails when there is one.
tap_compare() {
    case $3 in
    -)
        return 0
        ;;
    '~'*)
        grep -Eq -e "${3#'~'}" "$2" && return 0
        echo "# no line of $1 matches: ${3#'~'}"
        ;;
    @*)
        cmp -s "$2" "${3#@}" && return 0
        echo "# $1 is not the same as ${3#@}"
        ;;
    *)
        [ "$(cat "$2")" = "$3" ] && return 0
        echo "# $1 should be:"
        printf '%s\n' "$3" | sed 's/^/#   /' | head -n 20
        ;;
    esac
    echo "# $1 was:"
    head -c 4000 "$2" | tr -d '\000' | sed 's/^/#   /' | head -n 40
    return 1
}

check() {
    tap_bad=$(
        tap_same=yes
        if [ "$2" != - ] && [ "$status" != "$2" ]; then
            echo "# exit status $status, should be $2"
            tap_same=no
        fi
        tap_compare stdout "$out" "${3-}" || tap_same=no
        tap_compare stderr "$err" "${4-}" || tap_same=no
        [ "$tap_same" = yes ] && exit 0
        echo "# from: $tap_command"
        # What was not asked for explains most failures.
        [ "${4-}" != - ] || sed 's/^/# stderr: /' "$err" | head -n 5
        exit 1
    )
    case $? in
    0)
        pass "$1"
        ;;
    *)
        fail "$1"
        printf '%s\n' "$tap_bad"
        ;;
    esac
}
