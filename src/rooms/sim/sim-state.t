# A pool that is kept in a file: it comes back, whatever ended it. XENKIT_KILLS=N says how often it is killed.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3

start --state pool.state --tls --hosts 2 --vms 5
curl=-k
fingerprints=$(cut -f 3 "$tmp/sim.out" | head -n 2)
session=$(login)
vm=$(result VM.get_all_records "$session" | jq 'to_entries | map(select(.value.power_state == "Halted" and (.value.is_a_template | not))) | .[0].key')
uuid=$(result VM.get_uuid "$session" "$vm")
call VM.set_name_label "$session" "$vm" '"kept"' >/dev/null
call VM.start "$session" "$vm" false false >/dev/null
token=$(result event.from "$session" '["vm"]' '""' 0.0 | jq .token)
before=$(result VM.get_all_records "$session" | jq -S .)
run xenkit sim --state pool.state
check "one pool at a time" 3 "" "~another simulated pool has this state open" "~end that one first"
stop
is "it ends" "$sim_status$(cat "$tmp/sim.err")" 0

start --state pool.state --tls
is "the same hosts with the same keys" "$(cut -f 3 "$tmp/sim.out" | head -n 2)" "$fingerprints"
is "sessions are gone, as after a restart of a real pool" "$(failure VM.get_all "$session" | jq -r '.[0]')" SESSION_INVALID
session=$(login)
is "every VM is as it was" "$(result VM.get_all_records "$session" | jq -S .)" "$before"
is "it is found by its uuid" "$(result VM.get_by_uuid "$session" "$uuid")" "$vm"
call VM.set_name_description "$session" "$vm" '"after"' >/dev/null
is "events go on from a token of before" \
    "$(result event.from "$session" '["vm"]' "$token" 0.0 | jq -c "[.events[] | select(.ref == $vm) | [.operation, .snapshot.name_description]]")" \
    '[["mod","after"]]'
stop
start --state pool.state --tls --listen 127.0.9.1
like "at other addresses there are other certificates" "$(cat "$tmp/sim.err")" 'host host-2 has a new certificate'
moved=$(cut -f 3 "$tmp/sim.out" | head -n 2)
nok "they are new" test "$moved" = "$fingerprints"
stop
start --state pool.state --tls --listen 127.0.9.1
is "and they are kept" "$(cut -f 3 "$tmp/sim.out" | head -n 2)" "$moved"
stop
start --state pool.state
curl=
is "the same pool without TLS" "$(session=$(login); result VM.get_name_label "$session" "$vm")" '"kept"'
stop

is "nobody else may read it" "$(stat -c %a pool.state)" 600
run xenkit sim --state pool.state --hosts 3
check "as many hosts as there are" 2 "" "~2 hosts, not 3"
run xenkit sim --state pool.state --vms 3
check "and as many VMs" 2 "" "~how many VMs"
cp pool.state good
size=$(stat -c %s pool.state)
printf 'x' | dd of=pool.state bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
cp pool.state bad
run xenkit sim --state pool.state
check "damage is said" 5 "" "~damaged at byte"
ok "and left alone" cmp bad pool.state
cp good pool.state
printf 'xkg' >>pool.state
start --state pool.state
like "a group that was never whole is cut off, and said" "$(cat "$tmp/sim.err")" 'the last 3 bytes were never completely written'
stop
echo '{}' >other
run xenkit sim --state other
check "another file" 5 "" "~no state of a simulated pool"
is "is not touched" "$(cat other)" '{}'
run xenkit sim --state missing/pool.state
check "a folder that is missing" 6 "" "~missing/pool.state"
run xenkit sim --state .
check "a folder" 6 "" -

# ---- killed at any moment, under a mixed load ----

# Four clients, each on a connection of its own: one counts up in a VM's description, one in its other_config, one starts
# and stops another VM, one logs in and out. What a client was told last is in KIND.told, what it asked for in KIND.tried.
cat >load.py <<'SCRIPT'
import http.client, json, sys, threading

address, session, vm, other = sys.argv[1:]

def note(name, number):
    with open(name, "w") as file:
        file.write("%d\n" % number)

def client(kind):
    connection = http.client.HTTPConnection(address, timeout=60)
    def call(method, *params):
        connection.request("POST", "/jsonrpc", json.dumps({"id": 1, "method": method, "params": params}))
        reply = json.loads(connection.getresponse().read())
        if reply["error"] is not None:
            raise RuntimeError(kind + str(reply["error"]))
        return reply["result"]
    i = int(open(kind + ".told").read())
    try:
        while True:
            i += 1
            note(kind + ".tried", i)
            if kind == "description":
                call("VM.set_name_description", session, vm, str(i))
            elif kind == "config":
                call("VM.set_other_config", session, vm, {"n": str(i)})
            elif kind == "logins":
                call("session.logout", call("session.login_with_password", "root", "xenkit"))
            elif i % 2:
                call("VM.start", session, other, False, False)
            else:
                call("VM.hard_shutdown", session, other)
            note(kind + ".told", i)
            note("begun", 1)
    except (OSError, http.client.HTTPException):
        pass  # it was killed

threads = [threading.Thread(target=client, args=[kind]) for kind in ("description", "config", "power", "logins")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
SCRIPT
# between KIND FOUND: not older than told, not newer than tried
between() {
    [ "$2" -ge "$(cat "$1.told")" ] || lost="$lost $1:$2<$(cat "$1.told")"
    [ "$2" -le "$(cat "$1.tried")" ] || lost="$lost $1:$2>$(cat "$1.tried")"
}
rm -f pool.state
for kind in description config power logins; do
    echo 0 >$kind.told
    echo 0 >$kind.tried
done
lost='' kills=0
while [ $kills -lt "${XENKIT_KILLS:-6}" ]; do
    kills=$((kills + 1))
    start --state pool.state --speed 100x
    session=$(login | jq -r .)
    records=$(result VM.get_all_records "\"$session\"")
    if [ $kills = 1 ]; then
        vm=$(echo "$records" | jq -r 'keys[0]')
        other=$(echo "$records" | jq -r --arg vm "$vm" 'to_entries | map(select(.value.power_state == "Halted" and
            (.value.is_a_template | not) and .key != $vm)) | .[0].key')
    else
        between description "$(echo "$records" | jq -r --arg vm "$vm" '.[$vm].name_description')"
        between config "$(echo "$records" | jq -r --arg vm "$vm" '.[$vm].other_config.n // "0"')"
        # How often it was started and stopped cannot be seen, but in which state it is.
        power=$(echo "$records" | jq -r --arg vm "$other" '.[$vm].power_state')
        told=$(cat power.told)
        tried=$(cat power.tried)
        case $power in Running) odd=1 ;; *) odd=0 ;; esac
        [ $((told % 2)) = $odd ] || [ $((tried % 2)) = $odd ] || lost="$lost power:$power"
        case $power in Running | Halted) ;; *) lost="$lost power:$power" ;; esac
        # What was asked for and not answered may have been done.
        if [ $((tried % 2)) = $odd ]; then echo "$tried"; else echo "$told"; fi >power.new
        mv power.new power.told
    fi
    rm -f begun
    python3 load.py "${url#http://}" "$session" "$vm" "$other" 2>>load.err &
    clients=$!
    # The first time when all of them have been answered; later at any moment.
    soon test -e begun
    for kind in description config power logins; do
        [ $kills != 1 ] || soon grep -q '[1-9]' $kind.told
    done
    pause 0.$((kills * 37 % 41 + 10))
    kill -KILL $pid
    wait $pid 2>/dev/null
    pid=
    wait $clients
done
is "no call was refused" "$(cat load.err)" ""
is "killed $kills times, it never lost what it had told" "$lost" ""
for kind in description config power logins; do
    ok "$(cat $kind.told) times there was an answer: $kind" test "$(cat $kind.told)" -gt 0
done
done_testing
