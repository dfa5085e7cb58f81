# Time that runs faster or stands elsewhere, and what releases do differently on the wire and with sessions.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"

host() {
    result host.get_all "$1" | jq '.[0]'
}
# seconds TIME: of a time as the API has it
seconds() {
    date -u -d "$(echo "$1" | tr -d '"' | sed 's/\(....\)\(..\)\(..\)T/\1-\2-\3 /')" +%s
}
servertime() {
    seconds "$(result host.get_servertime "$session" "$host")"
}

start --now 1700000000
session=$(login)
host=$(host "$session")
now=$(servertime)
ok "--now: it is then" test "$now" -ge 1700000000 -a "$now" -lt 1700000060
is "what is made is stamped so" "$(result session.get_last_active "$session" "$session" | cut -c2-9)" 20231114
stop

start --now 1700000000 --speed 3600x
session=$(login)
host=$(host "$session")
an_hour_on() {
    [ "$(servertime)" -ge $((now + 3600)) ]
}
now=$(servertime)
begun=$(date +%s)
ok "--speed: an hour" soon an_hour_on
ok "in some seconds" test $(($(date +%s) - begun)) -lt 60
stop
start --speed 20x
session=$(login)
vm=$(result VM.get_all_records "$session" | jq 'to_entries | map(select(.value.power_state == "Halted" and (.value.is_a_template | not))) | .[0].key')
task=$(result Async.VM.copy "$session" "$vm" '"copy"' '"OpaqueRef:NULL"')
ended() {
    [ "$(result task.get_status "$session" "$task")" = '"success"' ]
}
ok "tasks end sooner" soon ended
took=$(($(seconds "$(result task.get_finished "$session" "$task")") - $(seconds "$(result task.get_created "$session" "$task")")))
ok "though they take as long" test $took -ge 3
stop

start --speed 86400x --log log
login root xenkit forgotten >/dev/null
ok "a session that nobody uses for a day ends" soon grep -q "Timed out session in group 'originator:forgotten' because of its age" log
stop

# ---- releases ----

# many N: so many sessions of one originator
many() {
    i=0
    while [ $i -lt "$1" ]; do
        i=$((i + 1))
        [ $i = 1 ] || echo next
        echo 'url = "'"$url"'/jsonrpc"'
        echo 'data = "{\"id\":1,\"method\":\"session.login_with_password\",\"params\":[\"root\",\"xenkit\",\"1.0\",\"many\"]}"'
        echo 'output = "/dev/null"'
    done >many.conf
    curl -s -K many.conf
}
rm -f log
start --era 6.2 --log log --gc-interval 300ms
many 53
ok "6.2: fifty sessions for one originator" soon grep -q 'exceeds limit (50): will delete the oldest' log
ended() {
    [ "$(grep -c 'db_gc.*Session.destroy trackid' log)" = 3 ]
}
ok "the others end" soon ended
session=$(login root xenkit me)
is "hosts tell their release" "$(curl -s -d "{\"id\":1,\"method\":\"host.get_all_records\",\"params\":[$session]}" "$url/jsonrpc" |
    jq -c '.result | to_entries[0].value | [.API_version_major, .API_version_minor, .software_version.product_version]')" '[2,0,"6.2.0"]'
stop
rm -f log
start --era 6.1 --log log --gc-interval 300ms
many 53
passes() {
    [ "$(grep -c 'Session.create' log)" = 53 ]
}
soon passes
pause
pause
is "6.1: no limit but the one for all" "$(grep -c 'exceeds limit' log)" 0
stop

# touched ERA: by how many simulated seconds a call brings a session's last_active forward, within ten minutes of them; a
# machine that stands still for longer shows nothing, and time has to run slower
touched() {
    for speed in 100 10 2; do
        touched_at "$1" $speed >touched
        [ "$past" -ge 600 ] || break
    done
    cat touched
}
touched_at() {
    start --era "$1" --speed "${2}x"
    session=$(login)
    before=$(seconds "$(result session.get_last_active "$session" "$session")")
    host=$(host "$session")
    now=$(servertime)
    two_minutes_on() {
        [ "$(servertime)" -ge $((now + 120)) ]
    }
    soon two_minutes_on
    echo $(($(seconds "$(result session.get_last_active "$session" "$session")") - before))
    past=$(($(servertime) - before))
    stop
}
ok "until 2023 a call refreshes last_active" test "$(touched 2023)" -ge 120
is "since then not before ten minutes" "$(touched 2024)" 0

start --era 7.0
is "before 7.3 JSON-RPC 2.0 is answered as 1.0" "$(call session.login_with_password '"root"' '"xenkit"' | jq -c '[has("jsonrpc"), .error, (.result | type)]')" \
    '[false,null,"string"]'
is "so are its errors" "$(call session.logout '"none"' | jq -c '[.result, .error]')" '[null,["SESSION_INVALID","none"]]'
stop
start --era 7.3
is "since then in its own form" "$(call session.logout '"none"' | jq -c '[.jsonrpc, .error.message]')" '["2.0","SESSION_INVALID"]'
stop

# ---- a disk that is full ----

start --fault 'sr=NFS*,full'
session=$(login)
sr=$(result SR.get_all_records "$session" | jq 'to_entries | map(select(.value.type == "nfs")) | .[0].key')
disk="{\"name_label\":\"d\",\"name_description\":\"\",\"SR\":$sr,\"virtual_size\":1073741824,\"type\":\"user\",\"sharable\":false,\"read_only\":false,\"other_config\":{}}"
is "no disk fits on full storage" "$(failure VDI.create "$session" "$disk")" '["SR_BACKEND_FAILURE_44","","There is insufficient space",""]'
call host.call_plugin "$session" "$(host "$session")" '"xenkit"' '"heal"' '{"id":"all"}' >/dev/null
like "until there is room again" "$(result VDI.create "$session" "$disk")" OpaqueRef
stop
done_testing
