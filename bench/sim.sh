#!/bin/sh
# What the simulated pool costs: starting, ten thousand VMs, a large reply beside a server written in Python, and how
# soon five hundred blocked clients learn of a change. Run by bench/run.sh in an empty folder, with XENKIT, PAIR and
# CLIENT (bench/pool-client).
set -eu

rounds=${ROUNDS:-15}
missed=0
server='' peer=''
trap 'kill $server $peer 2>/dev/null || :' EXIT

# start ARGS…: a pool; its port in $port, its process in $server
start() {
    rm -f out && mkfifo out
    "$XENKIT" sim --plain "$@" >out &
    server=$!
    { read -r line; cat >/dev/null & } <out
    port=${line%%	*}
    port=${port##*:}
}
stop() {
    kill $server
    wait $server || :
    server=
}
rpc() { # METHOD [ARGUMENTS, AS JSON]
    curl -s "http://127.0.0.1:$port/jsonrpc" -d "{\"id\":1,\"method\":\"$1\",\"params\":[${2:-}]}"
}
login() {
    rpc session.login_with_password '"root","xenkit"' | sed 's/.*"\(OpaqueRef:[^"]*\)".*/\1/'
}
# most WHAT VALUE LIMIT UNIT
most() {
    echo "$1: $2 $4 (asked for: at most $3 $4)"
    [ "$(printf '%.0f' "$2")" -le "$3" ] || missed=1
}

# ---- starting: until the first line, then it is told to end ----

cat >start.sh <<'SCRIPT'
# start.sh XENKIT ARGS…: until its first line is there
rm -f line.$$ && mkfifo line.$$
"$@" >line.$$ &
read -r first <line.$$
rm line.$$
kill $! 2>/dev/null || :
SCRIPT
"$PAIR" -n "$rounds" "sim, 3 hosts, 20 VMs" sh start.sh "$XENKIT" sim --plain -- "an empty command in its place" sh start.sh echo
"$PAIR" -n "$rounds" "sim --tls" sh start.sh "$XENKIT" sim --plain --tls -- "sim" sh start.sh "$XENKIT" sim --plain

# ---- ten thousand VMs ----

cat >load.sh <<'SCRIPT'
# load.sh XENKIT ARGS…: seconds until its first line, and its memory in MiB then
begun=$(date +%s%N)
rm -f line && mkfifo line
"$@" >line &
read -r first <line
echo "$((($(date +%s%N) - begun) / 1000000)) $(($(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' /proc/$!/status) / 1024))"
kill $! 2>/dev/null || :
SCRIPT
# shellcheck disable=SC2046
set -- $(sh load.sh "$XENKIT" sim --plain --vms 10000)
most "10,000 VMs made up: time" "$1" 2000 ms
most "10,000 VMs made up: memory" "$2" 300 MiB
start --vms 10000
session=$(login)
{
    printf '{"xenkit_dump":1,"classes":{'
    comma=
    for class in pool host host_metrics VM VM_metrics VM_guest_metrics VBD VDI VIF SR PBD PIF network console; do
        printf '%s"%s":' "$comma" $class
        rpc "$class.get_all_records" "\"$session\"" | sed 's/^{"result"://; s/,"error":null,"id":1}$//'
        comma=,
    done
    printf '}}'
} >dump.json
stop
# shellcheck disable=SC2046
set -- $(sh load.sh "$XENKIT" sim --plain --load dump.json)
most "10,000 VMs loaded from $(($(stat -c %s dump.json) >> 20)) MiB of JSON: time" "$1" 2000 ms
most "10,000 VMs loaded: memory" "$2" 300 MiB

# ---- VM.get_all_records of 100 VMs ----

start --vms 96 --hosts 4
session=$(login)
rpc VM.get_all_records "\"$session\"" | sed 's/^{"result"://; s/,"error":null,"id":1}$//' >records.json
python3 "$(dirname "$0")/pool-peer.py" records.json >peer.port &
peer=$!
while [ ! -s peer.port ]; do sleep 0.05; done
printf '<?xml version="1.0"?><methodCall><methodName>VM.get_all_records</methodName><params><param><value>%s</value></param></params></methodCall>' "$session" >call.xml
printf '{"id":1,"method":"VM.get_all_records","params":["%s"]}' "$session" >call.json
# So often that the start of the client, about a millisecond, does not count: Python's JSON is written in C.
for form in "XML-RPC / call.xml 20" "JSON-RPC /jsonrpc call.json 200"; do
    # shellcheck disable=SC2086
    set -- $form
    "$PAIR" -n 5 -x 0.05 "$1, $4 times all records of 104 VMs" "$CLIENT" repeat 127.0.0.1 "$port" "$2" "$4" "$3" -- \
        "a server in Python" "$CLIENT" repeat 127.0.0.1 "$(cat peer.port)" "$2" "$4" "$3" || missed=1
done
kill $peer
peer=

# ---- five hundred that wait ----

"$CLIENT" wake 127.0.0.1 "$port" root xenkit 500 40 5 || missed=1
stop
exit $missed
