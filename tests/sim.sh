# A simulated pool for a test script, and calls to it with curl. To be read after tests/tap.sh:
#
#     . "$XENKIT_SOURCE/tests/tap.sh"
#     . "$XENKIT_SOURCE/tests/sim.sh"
#     start --hosts 2                         # its master's address is in $url, its first slave's in $slave
#     session=$(login)                        # as JSON, with its quotes
#     is "a VM" "$(result VM.get_name_label "$session" "$vm")" '"web-01"'
#     stop                                    # its exit status is in $sim_status, what it complained of in $tmp/sim.err
# shellcheck shell=sh disable=SC2034,SC2154
requires curl jq
mkfifo "$tmp/never"
pid=
on_exit eval '[ -z "$pid" ] || kill -KILL $pid 2>/dev/null || :'

# a moment in which nothing happens, of 0.05 or as many seconds as are said
# shellcheck disable=SC2120
pause() {
    read -rt "${1:-0.05}" _ <>"$tmp/never" || :
}
# start ARGS…: a pool of our own
start() {
    rm -f "$tmp/sim.out"
    "$XENKIT" sim --plain --login-delay 0s "$@" >"$tmp/sim.out" 2>"$tmp/sim.err" &
    pid=$!
    tries=0
    until [ -s "$tmp/sim.out" ] || [ $tries = 1200 ]; do
        tries=$((tries + 1))
        kill -0 $pid 2>/dev/null || break
        pause
    done
    url=$(sed -n '1s/\t.*//p' "$tmp/sim.out")
    slave=$(sed -n '2s/\t.*//p' "$tmp/sim.out")
}
stop() {
    kill -TERM $pid && wait $pid
    sim_status=$?
    pid=
}
# ask URL METHOD [JSON PARAMETER]…: the reply as JSON-RPC 2; call: of the master; $curl: more options
ask() {
    to=$1 method=$2
    shift 2
    # shellcheck disable=SC2086
    printf '%s\n' "$@" | jq -cs --arg m "$method" '{jsonrpc: "2.0", id: 7, method: $m, params: .}' |
        curl -s -m 60 ${curl:-} -H 'Content-Type: application/json' --data-binary @- "$to/jsonrpc"
}
call() {
    ask "$url" "$@"
}
result() {
    call "$@" | jq -c '.result'
}
failure() {
    call "$@" | jq -c '[.error.message] + .error.data'
}
# login [USER [PASSWORD [ORIGINATOR]]]: a session, as a JSON text
login() {
    result session.login_with_password "\"${1:-root}\"" "\"${2:-xenkit}\"" '"1.0"' "\"${3:-test}\""
}
# soon COMMAND…: until it succeeds, at most a minute or so
soon() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 1200 ] || return 1
        pause
    done
}
# status CURL-ARGUMENTS…: of a reply
status() {
    # shellcheck disable=SC2086
    curl -s -m 60 ${curl:-} -o /dev/null -w '%{http_code}' "$@"
}
