# A pool for a test: sourced behind tap.sh.
# shellcheck shell=bash disable=SC2034,SC2154
requires curl jq

# start ARGS…: a pool of our own; its address in $url, of its first slave in $slave
start() {
    rm -f "$tmp/sim.out"
    "$XENKIT" sim --plain --login-delay 0s "$@" >"$tmp/sim.out" 2>"$tmp/sim.err" &
    pid=$!
    tries=0
    until [ -s "$tmp/sim.out" ] || [ $tries = 400 ]; do
        tries=$((tries + 1))
        kill -0 $pid 2>/dev/null || break
        nap
    done
    url=$(sed -n '1s/\t.*//p' "$tmp/sim.out")
    slave=$(sed -n '2s/\t.*//p' "$tmp/sim.out")
}
mkfifo "$tmp/never"
nap() {
    read -rt 0.05 _ <>"$tmp/never" || :
}
stop() {
    kill -TERM $pid && wait $pid
    sim_status=$?
}
on_exit 'kill $pid'

# call METHOD [JSON PARAMETER]…: the reply of the master, as JSON-RPC 2; ask URL METHOD …: of any host
call() {
    ask "$url" "$@"
}
ask() {
    to=$1 method=$2
    shift 2
    printf '%s\n' "$@" | jq -cs --arg m "$method" '{jsonrpc: "2.0", id: 7, method: $m, params: .}' |
        curl -s -m 20 -H 'Content-Type: application/json' --data-binary @- "$to/jsonrpc"
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
# soon COMMAND…: until it succeeds, at most 20 seconds
soon() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 400 ] || return 1
        nap
    done
}
