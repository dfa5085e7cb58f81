# The simulated pool, asked by curl as anybody would, and by real clients in sim-clients.t.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"

start
like "it prints the address of its master" "$url" '^http://127\.0\.0\.1:[0-9]+$'
like "and of its slaves" "$slave" '^http://127\.0\.0\.2:[0-9]+$'

session=$(result session.login_with_password '"root"' '"xenkit"' '"1.0"' '"test"')
like "login gives a session" "$session" '^"OpaqueRef:[0-9a-f-]{36}"$'
is "a reply has version and id" "$(call session.get_uuid "$session" "$session" | jq -c '[.jsonrpc, .id]')" '["2.0",7]'
is "a wrong password is refused" "$(failure session.login_with_password '"root"' '"no"' '"1.0"' '"t"')" \
    '["SESSION_AUTHENTICATION_FAILED","root","Authentication failure"]'
is "a slave names its master" \
    "$(ask "$slave" session.login_with_password '"root"' '"xenkit"' '"1.0"' '"t"' | jq -c '[.error.message] + .error.data')" \
    '["HOST_IS_SLAVE","127.0.0.1"]'
is "a slave names its master for the pool's sessions, too" \
    "$(ask "$slave" VM.get_all "$session" | jq -c '[.error.message] + .error.data')" '["HOST_IS_SLAVE","127.0.0.1"]'
local=$(ask "$slave" session.slave_local_login_with_password '"root"' '"xenkit"' | jq -c .result)
is "a local session works at its host" "$(ask "$slave" host.get_all "$local" | jq '.result | length')" 3
is "and at no other" "$(failure host.get_all "$local" | jq -r '.[0]')" SESSION_INVALID
is "until it ends" "$(ask "$slave" session.local_logout "$local" >/dev/null
    ask "$slave" host.get_all "$local" | jq -r .error.message)" SESSION_INVALID

# ---- what the table answers ----

is "an unknown message is called by its name" "$(failure VM.fly "$session")" '["MESSAGE_METHOD_UNKNOWN","VM.fly"]'
is "a wrong session comes first" "$(failure VM.fly '"OpaqueRef:none"')" '["SESSION_INVALID","OpaqueRef:none"]'
is "too few arguments are counted without the session" "$(failure VM.get_name_label "$session")" \
    '["MESSAGE_PARAMETER_COUNT_MISMATCH","VM.get_name_label","1","0"]'
is "a removed message says so" "$(failure VMPP.get_all "$session")" '["MESSAGE_REMOVED"]'
is "a bad reference names its class" "$(failure VM.get_name_label "$session" '"OpaqueRef:none"')" \
    '["HANDLE_INVALID","VM","OpaqueRef:none"]'
is "a bad uuid, too" "$(failure VM.get_by_uuid "$session" '"none"')" '["UUID_INVALID","VM","none"]'
like "a wrong type is an internal error" "$(failure VM.set_user_version "$session" '"x"' '[]')" '^\["INTERNAL_ERROR","Failure'
is "what no real server does either says so" "$(failure host.get_log "$session" "$(result host.get_all "$session" | jq '.[0]')")" '["NOT_IMPLEMENTED","get_log"]'
is "the other spelling of a message" "$(result VM_get_by_name_label "$session" '"web-01"' | jq length)" 1
is "parameters by name" "$(curl -s -d "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"VM.get_by_name_label\",\"params\":{\"label\":\"web-01\",\"session_id\":$session}}" "$url/jsonrpc" | jq -c '[.id, (.result | length)]')" '["a",1]'

records=$(result VM.get_all_records "$session")
is "23 VMs and 4 templates" "$(echo "$records" | jq length)" 27
is "unique names" "$(echo "$records" | jq '[.[].name_label] | length == (unique | length)')" true
ok "halted and running ones" test "$(echo "$records" | jq -c '[.[] | select(.is_control_domain or .is_a_template | not) | .power_state] | unique')" = '["Halted","Running"]'
ok "each with a disk" test "$(echo "$records" | jq '[.[] | select((.is_control_domain or .is_a_template | not) and (.VBDs | length != 1))] | length')" = 0
fields=$(awk -F '\t' '$1 == "VM" && $9 !~ /internal/ { print $2 }' "$XENKIT_SOURCE/data/xenapi/fields.tsv" | sort)
is "a record has the table's fields" "$(echo "$records" | jq -r '[.[]][0] | keys[]' | LC_ALL=C sort)" "$(echo "$fields" | LC_ALL=C sort)"
is "records that meet an expression" \
    "$(result VM.get_all_records_where "$session" '"field \"name__label\" = \"web-01\" and not field \"power__state\" = \"Halted\""' | jq length)" 1
is "an expression that is none" "$(failure VM.get_all_records_where "$session" '"field name"' | jq -c '.[:2]')" '["INVALID_VALUE","field name"]'

# Every class answers get_all_records, and its records are those of the table; removed ones say that they are removed.
awk -F '\t' '$2 == "get_all_records" { print $1, $10 }' "$XENKIT_SOURCE/data/xenapi/messages.tsv" >"$tmp/classes"
while read -r class state; do
    reply=$(call "$class.get_all_records" "$session")
    if [ "$state" = removed ]; then
        echo "$reply" | jq -e '.error.message == "MESSAGE_REMOVED"' >/dev/null || echo "$class"
    else
        want=$(awk -F '\t' -v c="$class" '$1 == c && $9 !~ /internal/ { print $2 }' "$XENKIT_SOURCE/data/xenapi/fields.tsv" | LC_ALL=C sort)
        got=$(echo "$reply" | jq -r '.result | [.[]][0] // empty | keys[]' | LC_ALL=C sort)
        echo "$reply" | jq -e '.result | type == "object"' >/dev/null || echo "$class"
        [ -z "$got" ] || [ "$got" = "$want" ] || echo "$class: $got"
    fi
done <"$tmp/classes" >"$tmp/wrong"
is "every class answers with the table's fields" "$(cat "$tmp/wrong")" ""

pool=$(result pool.get_all "$session" | jq '.[0]')
call pool.add_to_other_config "$session" "$pool" '"k"' '"v"' >/dev/null
is "a map gets a key once" "$(failure pool.add_to_other_config "$session" "$pool" '"k"' '"w"' | jq -c '[.[0], .[1], .[2], .[4]]')" \
    '["MAP_DUPLICATE_KEY","pool","other_config","k"]'
is "and keeps it" "$(result pool.get_other_config "$session" "$pool")" '{"k":"v"}'
call pool.remove_from_other_config "$session" "$pool" '"k"' >/dev/null
is "until it is removed" "$(result pool.get_other_config "$session" "$pool")" '{}'

# ---- machines, tasks, events ----

vm=$(echo "$records" | jq 'to_entries | map(select(.value.power_state == "Halted" and (.value.is_a_template | not))) | .[0].key')
token=$(result event.from "$session" '["vm"]' '""' 0.0 | jq .token)
like "a token" "$token" '^"[0-9]{20},[0-9]{20}"$'
call VM.start "$session" "$vm" false false >/dev/null
is "a VM starts" "$(result VM.get_power_state "$session" "$vm")" '"Running"'
is "an event tells of it" \
    "$(result event.from "$session" '["vm"]' "$token" 5.0 | jq -c "[.events[] | select(.ref == $vm) | [.class, .operation, .snapshot.power_state]] | unique")" \
    '[["vm","mod","Running"]]'
is "it cannot be started twice" "$(failure VM.start "$session" "$vm" false false)" \
    "[\"VM_BAD_POWER_STATE\",$vm,\"halted\",\"running\"]"
is "nor destroyed" "$(failure VM.destroy "$session" "$vm" | jq -r '.[0]')" VM_BAD_POWER_STATE
call VM.suspend "$session" "$vm" >/dev/null
is "it is suspended" "$(result VM.get_power_state "$session" "$vm")" '"Suspended"'
call VM.resume "$session" "$vm" false false >/dev/null
call VM.pause "$session" "$vm" >/dev/null
is "paused" "$(result VM.get_power_state "$session" "$vm")" '"Paused"'
call VM.unpause "$session" "$vm" >/dev/null
call VM.clean_reboot "$session" "$vm" >/dev/null
snapshot=$(result VM.snapshot "$session" "$vm" '"s"')
is "a snapshot is a template" "$(result VM.get_is_a_template "$session" "$snapshot")" true
is "and its VM knows it" "$(result VM.get_snapshots "$session" "$vm")" "[$snapshot]"
call VM.destroy "$session" "$snapshot" >/dev/null
is "until it is gone" "$(result VM.get_snapshots "$session" "$vm")" '[]'
call VM.hard_shutdown "$session" "$vm" >/dev/null
is "it is halted again" "$(result VM.get_power_state "$session" "$vm")" '"Halted"'
is "and cannot be more" "$(failure VM.hard_shutdown "$session" "$vm" | jq -r '.[0]')" VM_BAD_POWER_STATE
template=$(echo "$records" | jq 'to_entries | map(select(.value.is_a_template)) | .[0].key')
is "a template does not start" "$(failure VM.start "$session" "$template" false false)" "[\"VM_IS_TEMPLATE\",$template]"

# wait_task TASK: until it is over, by events
wait_task() {
    t=
    while :; do
        reply=$(result event.from "$session" "[\"task/$(echo "$1" | jq -r .)\"]" "\"$t\"" 10.0)
        t=$(echo "$reply" | jq -r .token)
        result task.get_status "$session" "$1" | grep -qE 'pending|cancelling' || return 0
    done
}
before=$(result VM.get_all "$session" | jq length)
task=$(result Async.VM.clone "$session" "$vm" '"clone"')
wait_task "$task"
is "a task ends well" "$(result task.get_record "$session" "$task" | jq -c '[.name_label, .status, .progress, .error_info]')" \
    '["Async.VM.clone","success",1,[]]'
like "its result is a value in XML" "$(result task.get_result "$session" "$task")" '^"<value>OpaqueRef:[0-9a-f-]*</value>"$'
task=$(result Async.VM.copy "$session" "$vm" '"copy"' '"OpaqueRef:NULL"')
is "a copy can be cancelled" "$(result task.get_allowed_operations "$session" "$task")" '["cancel"]'
call task.cancel "$session" "$task" >/dev/null
wait_task "$task"
is "and then is" "$(result task.get_record "$session" "$task" | jq -c '[.status, .error_info[0]]')" '["cancelled","TASK_CANCELLED"]'
is "and leaves no VM" "$(result VM.get_all "$session" | jq length)" $((before + 1))
is "some messages have no task" "$(failure Async.VM.get_all "$session")" \
    '["Fault","No async mode for this operation (rpc: Async.VM.get_all)"]'
is "a token that is none" "$(failure event.from "$session" '["*"]' '"x"' 0.0)" '["EVENT_FROM_TOKEN_PARSE_FAILURE","x"]'

call event.from "$session" '["vm"]' "$(result event.from "$session" '["vm"]' '""' 0.0 | jq .token)" 30.0 >"$tmp/blocked" &
blocked=$!
until call session.logout "$session" >/dev/null; do :; done
wait $blocked
like "logout ends a call that waits" "$(cat "$tmp/blocked")" SESSION_INVALID
is "and the session" "$(failure VM.get_all "$session" | jq -r '.[0]')" SESSION_INVALID

# ---- the wire ----

head -c 307200 /dev/zero | tr '\0' ' ' >"$tmp/full"
is "300 KiB are taken" "$(curl -s -o /dev/null -w '%{http_code}' --data-binary @"$tmp/full" "$url/")" 500
head -c 307201 /dev/zero >"$tmp/over"
is "more is refused" "$(curl -s -o /dev/null -w '%{http_code}' -H 'Expect:' --data-binary @"$tmp/over" "$url/")" 500
is "chunks are refused" "$(curl -s -o /dev/null -w '%{http_code}' -H 'Transfer-Encoding: chunked' -d x "$url/")" 500
is "a head without end is refused" \
    "$(curl -s -o /dev/null -w '%{http_code}' -H "X: $(head -c 20000 /dev/zero | tr '\0' a)" -d x "$url/")" 431
like "a browser gets a page" "$(curl -s "$url/")" '<th scope="row">web-01</th><td>Running</td><td>host-1</td>'
is "and nothing else" "$(curl -s -o /dev/null -w '%{http_code}' "$url/none")" 404
bare=$(result session.login_with_password '"root"' '"xenkit"' '"1.0"' '"wire"' | jq -r .)
like "what needs a session asks for a password" "$(curl -si "$url/services/SM" | tr -d '\r')" \
    '^WWW-Authenticate: Basic realm="get_services"$'
is "a session in the query opens it" "$(status "$url/services/SM?session_id=$bare")" 404
is "so does one with its colon escaped" "$(status "$url/services/SM?session_id=$(echo "$bare" | sed 's/:/%3A/')")" 404
is "or in a cookie" "$(status -b "a=b; session_id=$bare" "$url/services/SM")" 404
is "or at a slave" "$(status "$slave/services/SM?session_id=$bare")" 404
is "or a password" "$(status -u root:xenkit "$url/services/SM")" 404
is "not a wrong one" "$(status -u root:wrong "$url/services/SM")" 401
is "nor a session that is none" "$(status "$url/services/SM?session_id=OpaqueRef:none")" 401
is "nor a good password with a bad session" "$(status -u root:xenkit "$url/services/SM?session_id=OpaqueRef:none")" 401
is "another scheme is an error" "$(status -H 'Authorization: Bearer x' "$url/services/SM")" 500
is "HEAD has no body" "$(curl -sI -w '%{size_download}' -o /dev/null "$url/")" 0
like "OPTIONS allows any origin" "$(curl -si -X OPTIONS "$url/jsonrpc")" '^Access-Control-Allow-Origin: \*'
xml='<?xml version="1.0"?><methodCall><methodName>session.logout</methodName><params><param><value>none</value></param></params></methodCall>'
curl -si -d "$xml" "$url/RPC2" >"$tmp/xml"
like "XML replies say so exactly" "$(tr -d '\r' <"$tmp/xml")" '^Content-Type: text/xml$'
is "and have no space between tags" "$(tail -n 1 "$tmp/xml")" \
    '<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Failure</value></member><member><name>ErrorDescription</name><value><array><data><value>SESSION_INVALID</value><value>none</value></data></array></value></member></struct></value></param></params></methodResponse>'
bomb='<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><methodCall><methodName>&a;</methodName></methodCall>'
is "a document type is refused" "$(curl -s -o /dev/null -w '%{http_code}' -d "$bomb" "$url/")" 500
printf '%60000s' '' | tr ' ' '[' >"$tmp/deep"
is "so is depth" "$(curl -s -o /dev/null -w '%{http_code}' --data-binary @"$tmp/deep" "$url/jsonrpc")" 500

stop
is "TERM ends it" "$sim_status" 0
is "with nothing to complain of" "$(cat "$tmp/sim.err")" ""

# ---- sessions that are too many ----

printf 'a secret\n' >password
start --limit 3 --gc-interval 100ms --password-file password
first=$(result session.login_with_password '"root"' '"a secret"' '"1.0"' '"leak"')
like "the password from a file" "$first" OpaqueRef
for _ in 1 2 3; do
    last=$(result session.login_with_password '"root"' '"a secret"' '"1.0"' '"leak"')
done
other=$(result session.login_with_password '"root"' '"a secret"' '"1.0"' '"other"')
thrown_out() {
    failure VM.get_all "$first" | grep -q SESSION_INVALID
}
soon thrown_out
is "the oldest session of a group is thrown out" "$(failure VM.get_all "$first" | jq -r '.[0]')" SESSION_INVALID
is "the newest is not" "$(result VM.get_all "$last" | jq length)" 27
is "nor that of another group" "$(result VM.get_all "$other" | jq length)" 27
stop

run xenkit sim --hosts 65
check "too many hosts" 2 "" -
run xenkit sim --speed 0
check "time that stands still" 2 "" "~--speed 0"
run xenkit sim --password-file missing
check "a missing password file" 6 "" "~missing"
: >empty
run xenkit sim --password-file empty
check "an empty password" 2 "" "~empty"
run xenkit sim --coverage --csv
is "every message is in the list" "$(wc -l <"$out")" "$(wc -l <"$XENKIT_SOURCE/data/xenapi/messages.tsv")"
is "what is always refused has its reason" "$(grep -c ",refused,.*,$" "$out")" 0
done_testing
