# The client when things go wrong: lost connections, replies that are none, sessions that end, masters that change,
# tasks that do not end. Whatever happens, the pool's log shows every session ended.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"

XDG_STATE_HOME=$tmp/state
printf 'xenkit\n' >"$tmp/password"
XENKIT_PASSWORD_FILE=$tmp/password
export XDG_STATE_HOME XENKIT_PASSWORD_FILE
unset XENKIT_POOL
api() {
    "$XENKIT" api "$@"
}
sessions() {
    sed -n "s/.*Session\.$1 trackid=\([0-9a-f]*\).*/\1/p" "$tmp/sim.log" | sort
}
leaked() {
    sessions create >"$tmp/created"
    sessions destroy >"$tmp/destroyed"
    comm -23 "$tmp/created" "$tmp/destroyed"
}
# with FAULT…: a pool in which these things go wrong
with() {
    for fault; do
        set -- "$@" --fault "$fault"
        shift
    done
    rm -f "$tmp/sim.log"
    start --log "$tmp/sim.log" "$@"
}
halted() {
    api call "$url" VM.get_all_records --json |
        jq -r '[.result | to_entries[] | select(.value.power_state == "Halted" and (.value.is_a_template | not)) | .key][0]'
}
count() {
    api call "$url" VM.get_by_name_label "$1" --json | jq '.result | length'
}

# ---- connections that are lost ----

with 'method=pool.get_all,nth=1,reset' 'method=SR.get_all,nth=1,drop,executed' 'method=VM.set_name_description,nth=1,drop,executed' \
    'method=VM.clone,drop,executed' 'method=host.get_all,truncate=20' 'method=network.get_all,http=500' \
    'method=VM.get_name_label,wrong-type' 'method=VM.get_uuid,slow=2/s' 'method=session.logout,nth=3,reset' \
    'method=PIF.get_all,nth=1,error=SESSION_INVALID;OpaqueRef:x' 'method=event.from,error=MESSAGE_METHOD_UNKNOWN;event.from' \
    'method=VBD.get_all,delay=30s' 'task=stuck,method=VM.snapshot' 'method=Async.VM.hard_shutdown,drop,executed'
vm=$(halted)
run api call "$url" pool.get_all
check "a question is asked again over a new connection" 0 "~^OpaqueRef" ""
run api call "$url" SR.get_all
check "also when it had been answered" 0 "~^OpaqueRef" ""
run api call "$url" VM.set_name_description "$vm" again
check "setting a field twice is setting it once" 0 "" ""
run api call "$url" VM.clone "$vm" once
check "what is done twice is not repeated" 4 "" '~it had been sent: it may have been done or not'
is "it was done once" "$(count once)" 1
run api call "$url" host.get_all
check "a reply that is cut, each time" 4 "" '~the connection ended in the middle of the reply'
run api call "$url" network.get_all
check "an HTTP error" 4 "" '~answers a call with HTTP status 500'
run api call "$url" VM.get_name_label "$vm" --json
check "a value of another type is shown as it is" 0 '~"result"' ""
run api call "$url" VM.get_uuid "$vm" --timeout 500ms
check "a reply that drips is bounded" 124 "" '~no answer in time'
run api call "$url" VBD.get_all --timeout 500ms
check "as is one that does not come" 124 "" '~no answer in time'
run api call "$url" PIF.get_all
check "a session that has ended is opened again" 0 "~^OpaqueRef" ""

# ---- tasks ----

run api call "$url" VM.start "$vm" false false --async
check "without events a task is polled" 0 "" ""
is "and has its effect" "$(api call "$url" VM.get_power_state "$vm")" Running
run api call "$url" VM.hard_shutdown "$vm" --async
check "a task whose ref was lost" 4 "" '~it had been sent'
run api call "$url" VM.snapshot name:web-02 late --async --deadline 300ms --grace 300ms
check "a task that cannot be cancelled is named" 124 "" '~does not end although it was cancelled'
stuck=$(api call "$url" task.get_all_records --json | jq -r '.result[] | select(.name_label == "Async.VM.snapshot") | .uuid')
like "by its uuid" "$(cat "$err")" "the uuid $stuck\$"
is "no session is left behind" "$(leaked)" ""
stop

# ---- logins ----

with 'method=session.login_with_password,every=2,http=503' 'method=session.logout,every=2,reset'
run api call "$url" VM.get_by_name_label web-01 --protocol json2
check "a login that gets through" 0 "~^OpaqueRef" ""
run api call "$url" VM.get_by_name_label web-01 --protocol json2
check "one that does not: the toolstack is away" 4 "" '~HTTP status 503'
like "with what that means" "$(cat "$err")" 'toolstack is not running'
run api call "$url" VM.get_by_name_label web-01 --protocol json2
check "and a third one" 0 "~^OpaqueRef" -
stop

with 'method=session.login_with_password,nth=1,drop,executed'
run api call "$url" VM.get_by_name_label web-01
check "a login whose reply was lost is not repeated" 4 "" '~the connection ended without a reply'
like "what may be left is named" "$(cat "$err")" "has a session of root \\(originator xenkit-api\\) that nobody can end"
is "one session, not two" "$(sessions create | wc -l)" 1
stop

# After the time for a call both are waited for a second more: the answers come in the first half of it.
with 'method=session.login_with_password,delay=400ms' 'method=session.logout,delay=400ms'
run api call "$url" VM.get_all --timeout 200ms
check "a login whose answer comes too late" 124 "" '~logging in as root at .*: no answer in time'
is "and a logout that takes longer than a call may: the session ends" "$(sessions create | wc -l) $(leaked)" "1 "
stop

# ---- commands that are killed ----

with
"$XENKIT" api call "$url" event.from VM/OpaqueRef:none "" 60 >"$tmp/null" 2>&1 &
victim=$!
until [ -n "$(find "$tmp/state" -name '*.open' -size +0)" ]; do pause; done
kill -KILL $victim
wait $victim 2>"$tmp/null"
is "a killed command leaves its session" "$(leaked | wc -l)" 1
is "and its ref where only its owner can read it" "$(find "$tmp/state" -name '*.open' -printf '%m')" 600
XDG_STATE_HOME=$tmp/elsewhere run api call "$url" VM.get_by_name_label web-01
check "another user" 0 "~^OpaqueRef" ""
is "knows nothing of it" "$(leaked | wc -l)" 1
"$XENKIT" api call "$url" event.from VM/OpaqueRef:none "" 60 >"$tmp/null" 2>&1 &
living=$!
until [ "$(find "$tmp/state" -name '*.open' | wc -l)" = 1 ] && [ "$(sessions create | wc -l)" = 3 ] && [ "$(leaked | wc -l)" = 1 ]; do pause; done
run api call "$url" VM.get_by_name_label web-01 -v
check "the next command there ends it" 0 "~^OpaqueRef" -
is "and not those that live" "$(leaked | wc -l)" 1
ok "which go on" kill -0 $living
kill -TERM $living
wait $living
is "until they end by themselves" "$(leaked)$(find "$tmp/state" -name '*.open')" ""
stop

# The stop comes while the login waits for its answer: that is awaited, and the session ended.
with 'method=session.login_with_password,delay=2s'
"$XENKIT" api call "$url" VM.get_all >"$out" 2>"$err" &
waiting=$!
until grep -q "HTTP 127" "$tmp/sim.log" || ss -tn 2>/dev/null | grep -q "127.0.0.1:${url##*:} " || [ $((i = ${i:-0} + 1)) -gt 6 ]; do pause; done
kill -TERM $waiting
wait $waiting
is "a stop in the middle of a login" "$?" 143
is "leaves no session behind" "$(leaked)" ""
stop

# ---- sessions that the pool ends ----

rm -f "$tmp/sim.log"
start --log "$tmp/sim.log" --limit 1 --gc-interval 200ms
"$XENKIT" api watch "$url" VM --jsonl >"$tmp/events" 2>"$tmp/events.err" &
watch=$!
until [ "$(sessions create | wc -l)" -ge 1 ]; do pause; done
vm=$(halted)
# Somebody comes who stays: whoever watches is the oldest, loses its session once, and then that one is the oldest. It is
# lost more often than the client would log in for one call, while nothing happens.
for i in 1 2 3 4; do
    before=$(sessions create | wc -l)
    login root xenkit xenkit-api >/dev/null
    until [ -s "$tmp/events.err" ] || { [ "$(sessions create | wc -l)" -ge $((before + 2)) ] && [ "$(leaked | wc -l)" = 1 ]; }; do pause; done
done
until [ -s "$tmp/events.err" ] || grep -q name_description "$tmp/events"; do
    api call "$url" VM.set_name_description "$vm" "seen $((n = ${n:-0} + 1))"
    pause 0.1
done
kill -TERM $watch
wait $watch
is "whoever watches goes on when the pool ends the session" "$? $(cat "$tmp/events.err")" "0 "
is "and leaves none" "$(leaked)" ""
stop

with 'method=event.from,delay=100ms,error=SESSION_INVALID;OpaqueRef:x'
run api watch "$url" VM --for 30s --no-session-cache
check "but not for ever when the pool takes none" 4 - "~SESSION_INVALID"
is "it logged in three times" "$(sessions create | wc -l) $(leaked)" "3 "
stop

# ---- masters that change ----

with 'master=2'
run api call "$url" VM.get_by_name_label web-01
check "the first host is a slave now" 0 "~^OpaqueRef" '~going on with its master 127.0.0.2'
stop

with 'host=1,dead,after=6s' 'master=2,after=6s'
api login "$slave" -q >/dev/null
until ! "$XENKIT" api call "$url" VM.get_all --no-session-cache --connect-timeout 1s >/dev/null 2>&1; do pause 0.2; done
run api call "$slave" VM.get_by_name_label web-01
check "a kept session at a master that is gone: the host that was named is asked again" 0 "~^OpaqueRef" ""
run api call "$slave" VM.get_by_name_label web-01
check "and its session is kept" 0 "~^OpaqueRef" ""
api logout "$slave" >/dev/null
stop

with 'host=1,dead'
run api call "$slave" VM.get_all --connect-timeout 2s
check "a slave without its master" 4 "" "~refused|HOST_STILL_BOOTING|HOST_IN_EMERGENCY_MODE"
run api call "$slave" host.is_in_emergency_mode --emergency
check "answers in an emergency" 0 "~^(true|false)$" ""
stop

with 'host=1,hung'
run api call "$url" VM.get_all --timeout 500ms
check "a host that takes connections and says nothing" 124 "" '~no answer in time'
stop

# ---- certificates ----

rm -f "$tmp/sim.log"
start --tls --hosts 1 --fault 'host=1,certificate=expired' --log "$tmp/sim.log"
run api call "$url" VM.get_all
check "an expired certificate is not taken at the first use" 4 "" "~has expired at .*this machine's clock says"
pin=$(sed -n 's/.*--cert-sha256 \([0-9a-f]*\).*/\1/p' "$err")
run api call "$url" VM.get_by_name_label web-01 --cert-sha256 "$pin"
check "but by its fingerprint, which the error tells" 0 "~^OpaqueRef" ""
stop

# ---- releases ----

for era in 6.0 7.3 8.2; do
    rm -f "$tmp/sim.log"
    start --era $era --log "$tmp/sim.log"
    run api call "$url" VM.get_by_name_label web-01
    check "a pool of release $era" 0 "~^OpaqueRef" ""
    is "which has no session left" "$(sed -n 's/.*Session\.create trackid=\([0-9a-f]*\).*/\1/p' "$tmp/sim.log" | while read -r t; do
        grep -q "Session.destroy trackid=$t" "$tmp/sim.log" || echo "$t"
    done)" ""
    stop
done
done_testing
