# A pool that is kept in a file: it comes back, whatever ended it. XENKIT_KILLS=N says how often it is killed.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"

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

# ---- killed at any moment ----

# One client counts up; what it was told last is in the file `told`.
cat >count.sh <<'SCRIPT'
i=$(cat told)
while :; do
    i=$((i + 1))
    echo $i >tried
    reply=$(curl -s -m 5 "$url/jsonrpc" -d "{\"id\":1,\"method\":\"VM.set_name_description\",\"params\":[\"$session\",\"$vm\",\"$i\"]}")
    [ "$reply" = '{"result":"","error":null,"id":1}' ] || exit 0
    echo $i >told
done
SCRIPT
rm -f pool.state
echo 0 >told
lost=0 ahead=0 kills=0
while [ $kills -lt "${XENKIT_KILLS:-6}" ]; do
    kills=$((kills + 1))
    start --state pool.state
    session=$(login | jq -r .)
    vm=$(result VM.get_all "\"$session\"" | jq -r '.[0]')
    found=$(result VM.get_name_description "\"$session\"" "\"$vm\"" | jq -r .)
    [ $kills = 1 ] || [ "$found" -ge "$(cat told)" ] || lost=$((lost + 1))
    [ $kills = 1 ] || [ "$found" -le "$(cat tried)" ] || ahead=$((ahead + 1))
    url=$url session=$session vm=$vm sh count.sh 2>/dev/null &
    counter=$!
    pause 0.$((kills * 37 % 41 + 10))
    kill -KILL $pid
    wait $pid 2>/dev/null
    pid=
    wait $counter
done
is "killed $kills times, it never lost what it had told" "$lost $ahead" "0 0"
ok "and it did something in between" test "$(cat told)" -gt "$kills"
done_testing
