# Events of the simulated pool: event.from with tokens and filters, event.inject, and the older event.next.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"

# describe TEXT: give the VM a description of 280 kB
describe() {
    printf '{"id":7,"method":"VM.set_name_description","params":[%s,%s,"%s%280000s"]}' "$session" "$vm" "$1" '' |
        curl -s --data-binary @- "$url/jsonrpc" >/dev/null
}
start --gc-interval 400ms
session=$(login)
vm=$(result VM.get_by_name_label "$session" '"web-01"' | jq '.[0]')
other=$(result VM.get_by_name_label "$session" '"db-01"' | jq '.[0]')

# token [CLASSES]: of now
token() {
    result event.from "$session" "${1:-[\"*\"]}" '""' 0.0 | jq .token
}
# told CLASSES TOKEN [TIMEOUT]: what happened, as "operation class" lines
told() {
    result event.from "$session" "$1" "$2" "${3:-0.0}" | jq -r '.events[] | .operation + " " + .class'
}

# ---- event.from ----

everything=$(result event.from "$session" '["*"]' '""' 0.0)
is "all there is comes as new" "$(echo "$everything" | jq -c '[.events[].operation] | unique')" '["add"]'
is "in lower case" "$(echo "$everything" | jq -c '[.events[].class | select(test("[A-Z]"))]')" '[]'
is "no session among it" "$(echo "$everything" | jq '[.events[] | select(.class == "session")] | length')" 0
is "counts of every class, wanted or not" \
    "$(result event.from "$session" '["task"]' '""' 0.0 | jq -c '.valid_ref_counts | [.vm, .host, .task, .session, .message]')" '[27,3,0,1,null]'
t=$(token)
is "nothing happened" "$(told '["*"]' "$t")" ""
call VM.set_name_description "$session" "$vm" '"one"' >/dev/null
call VM.set_name_description "$session" "$vm" '"two"' >/dev/null
is "two changes of one object are one event" "$(result event.from "$session" '["*"]' "$t" 0.0 | jq -c '[.events[] | [.operation, .class, .snapshot.name_description, .timestamp]]')" \
    '[["mod","vm","two","0.0"]]'
network=$(result network.create "$session" '{"name_label":"n","name_description":"","other_config":{}}')
call network.set_name_label "$session" "$network" '"m"' >/dev/null
is "new and changed is new" "$(told '["network"]' "$t")" "add network"
call network.destroy "$session" "$network" >/dev/null
is "new and gone was never there" "$(told '["network"]' "$t")" ""
network=$(result network.create "$session" '{"name_label":"n","name_description":"","other_config":{}}')
t=$(token)
call network.destroy "$session" "$network" >/dev/null
is "what is gone has no record" "$(result event.from "$session" '["*"]' "$t" 0.0 | jq -c "[.events[] | [.operation, .ref == $network, has(\"snapshot\")]]")" \
    '[["del",true,false]]'
t=$(token)
call VM.set_name_description "$session" "$vm" '"three"' >/dev/null
is "of one class" "$(told '["VM"]' "$t")" "mod vm"
is "not of another" "$(told '["host"]' "$t")" ""
is "of one object" "$(told "[\"vm/$(echo "$vm" | jq -r .)\"]" "$t")" "mod vm"
is "not of another object" "$(told "[\"vm/$(echo "$other" | jq -r .)\"]" "$t")" ""
is "nor of that object in another class" "$(told "[\"host/$(echo "$vm" | jq -r .)\"]" "$t")" ""
is "a class that nobody knows is none" "$(told '["none"]' "$t")" ""
is "a short token" "$(told '["vm"]' '"0,0"' | sort -u)" "add vm"
for bad in '"x"' '"1"' '"1,2,3"' '",1"'; do
    is "no token: $bad" "$(failure event.from "$session" '["*"]' "$bad" 0.0)" "[\"EVENT_FROM_TOKEN_PARSE_FAILURE\",$bad]"
done
injected=$(result event.inject "$session" '"VM"' "$other")
is "an injected event comes after its token" "$(told '["vm"]' "$injected")" "mod vm"
is "and before the next" "$(told '["vm"]' "$(token '["vm"]')")" ""
is "of nothing" "$(failure event.inject "$session" '"VM"' '"OpaqueRef:none"')" '["HANDLE_INVALID","VM","OpaqueRef:none"]'
t=$(token)
(pause 0.3 && call VM.set_name_description "$session" "$vm" '"four"' >/dev/null) &
is "a call waits for what it wants" "$(told '["vm"]' "$t" 10.0)" "mod vm"
wait $!
started=$(date +%s%N)
is "and gives up in time" "$(told '["vm"]' "$(token '["vm"]')" 0.3)" ""
ok "not before" test $(($(date +%s%N) - started)) -ge 300000000

# ---- event.next ----

trackid=$(printf %s "$(echo "$session" | jq -r .)" | md5sum | cut -d ' ' -f 1)
is "who has not registered gets nothing" "$(failure event.next "$session")" "[\"SESSION_NOT_REGISTERED\",\"trackid=$trackid\"]"
call event.register "$session" '["vm"]' >/dev/null
id=$(result event.get_current_id "$session")
call VM.set_name_description "$session" "$vm" '"five"' >/dev/null
reply=$(result event.next "$session")
is "an event" "$(echo "$reply" | jq -c '[.[] | [.operation, .class, .snapshot.name_description]]')" '[["mod","vm","five"]]'
ok "its id is not below the one foretold" test "$(echo "$reply" | jq -r '.[0].id')" -ge "$id"
like "its time is one" "$(echo "$reply" | jq -r '.[0].timestamp')" '^[0-9]{10}\.$'
call event.register "$session" '["pool"]' >/dev/null
is "the collector's pass tells of the pool" "$(result event.next "$session" | jq -c '[.[] | [.operation, .class]]')" '[["mod","pool"]]'
t=$(token '["pool"]')
is "though nothing changed" "$(told '["pool"]' "$t" 0.6)" ""
call event.unregister "$session" '["pool"]' >/dev/null
(pause 0.6 && call VM.set_name_description "$session" "$vm" '"six"' >/dev/null) &
is "no more of it after unregister" "$(result event.next "$session" | jq -c '[.[] | .snapshot.name_description]')" '["six"]'
wait $!
i=0
while [ $i -lt 30 ]; do
    i=$((i + 1))
    describe $i
done
is "a few large events are kept" "$(result event.next "$session" | jq -r '.[0].snapshot.name_description' | tr -d ' ')" 30
while [ $i -lt 80 ]; do
    i=$((i + 1))
    describe $i
done
is "ten megabytes are too many" "$(failure event.next "$session")" '["EVENTS_LOST"]'
call VM.set_name_description "$session" "$vm" '"seven"' >/dev/null
is "it goes on from there" "$(result event.next "$session" | jq -c '[.[] | .snapshot.name_description]')" '["seven"]'
keeper=$(login)
call event.next "$session" >"$tmp/blocked" &
blocked=$!
pause 0.2
call session.logout "$session" >/dev/null
wait $blocked
is "logout ends a call that waits" "$(jq -r .error.message "$tmp/blocked")" SESSION_INVALID
is "others go on" "$(result VM.get_name_description "$keeper" "$vm")" '"seven"'
stop
is "nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0
done_testing
