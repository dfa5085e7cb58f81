# Faults that are wished for, each as a client sees it.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"

# plugin FUNCTION ARGUMENTS: the reply of the control call; faulty TEXT: the number of a new fault
plugin() {
    call host.call_plugin "$session" "$master" '"xenkit"' "\"$1\"" "$2"
}
faulty() {
    plugin fault "{\"fault\":\"$1\"}" | jq -r .result
}
heal() {
    plugin heal "{\"id\":\"$1\"}" | jq -r .result
}
# code [CURL OPTION]…: the status of a call that lists hosts, and how curl ended
code() {
    rm -f "$tmp/body"
    curl -s -m 60 -o "$tmp/body" -w '%{http_code}' -d "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"host.get_all\",\"params\":[$session]}" \
        "$@" "$url/jsonrpc"
    echo " $?"
}
# ms COMMAND…: how long it takes
ms() {
    begun=$(date +%s%3N)
    "$@" >/dev/null 2>&1
    echo $(($(date +%s%3N) - begun))
}
whoami() {
    session=$(login)
    hosts=$(result host.get_all_records "$session")
    master=$(echo "$hosts" | jq 'to_entries | map(select(.value.address == "127.0.0.1")) | .[0].key')
    second=$(echo "$hosts" | jq 'to_entries | map(select(.value.address == "127.0.0.2")) | .[0].key')
    vms=$(result VM.get_all_records "$session")
    vm=$(echo "$vms" | jq 'to_entries | map(select(.value.power_state == "Halted" and (.value.is_a_template | not))) | .[0].key')
}

# ---- calls ----

start --fault 'method=VM.start,nth=3,error=HOST_NOT_ENOUGH_FREE_MEMORY;1024;512' --fault 'method=VM.pause,error=VM_LACKS_FEATURE'
whoami
for _ in 1 2 3 4; do
    failure VM.start "$session" "$vm" false false
    call VM.hard_shutdown "$session" "$vm" >/dev/null
done | tr '\n' ' ' >starts
is "the third call fails, with its parameters" "$(cat starts)" '[null] [null] ["HOST_NOT_ENOUGH_FREE_MEMORY","1024","512"] [null] '
call VM.start "$session" "$vm" false false >/dev/null
is "parameters that were not given are empty" "$(failure VM.pause "$session" "$vm")" '["VM_LACKS_FEATURE",""]'
task=$(result Async.VM.pause "$session" "$vm")
is "a task fails with it" "$(result task.get_error_info "$session" "$task")" '["VM_LACKS_FEATURE",""]'
is "what is not allowed anyway fails as always" "$(failure VM.pause '"OpaqueRef:none"' "$vm" | jq -r '.[0]')" SESSION_INVALID
is "others do not meet it" "$(result VM.get_power_state "$session" "$vm")" '"Running"'
like "the list of faults" "$(plugin list '{}' | jq -r .result)" '^2	method=VM.pause,error=VM_LACKS_FEATURE	on	met 3	struck 3$'

id=$(faulty 'method=host.*,every=2,http=503')
is "every second call" "$(for _ in 1 2 3 4; do code; done | tr '\n' ' ')" '200 0 503 0 200 0 503 0 '
is "healed, none" "$(heal "$id") $(code) $(code)" '1 200 0 200 0'
id=$(faulty 'method=host.get_all,drop')
is "a connection that ends" "$(code)" '000 52'
heal "$id" >/dev/null
id=$(faulty 'method=host.get_all,reset')
is "a connection that is reset" "$(code)" '000 56'
heal "$id" >/dev/null
id=$(faulty 'method=host.get_all,truncate=10')
is "a reply that is cut" "$(code) $(wc -c <"$tmp/body")" '200 18 10'
heal "$id" >/dev/null
id=$(faulty 'method=host.get_all,truncate=0')
is "before its first byte" "$(code) $(cat "$tmp/body" 2>/dev/null)" '200 18 '
heal "$id" >/dev/null
id=$(faulty 'method=host.get_all,wrong-type')
is "a list that is a text" "$(code) $(jq -r '.result | type' "$tmp/body")" '200 0 string'
heal "$id" >/dev/null
id=$(faulty 'method=VM.get_name_label,wrong-type')
is "a text that is a list" "$(result VM.get_name_label "$session" "$vm")" '[]'
heal "$id" >/dev/null
id=$(faulty 'method=host.get_all,delay=700ms')
ok "a reply that is late" test "$(ms code)" -ge 700
is "and right" "$(code) $(jq '.result | length' "$tmp/body")" '200 0 3'
code -m 0.1 >/dev/null
heal "$id" >/dev/null
id=$(faulty 'method=host.get_all,delay=40s')
code >late &
late=$!
begun() {
    plugin list '{}' | grep -q 'delay=40s.*met 1'
}
soon begun
is "others are not disturbed" "$(result VM.get_all "$session" | jq 'length > 0') $(cat late)" 'true '
heal "$id" >/dev/null
kill $late
id=$(faulty 'method=host.get_all,slow=200/s')
ok "a reply that is slow" test "$(ms code)" -ge 300
is "and right in the end" "$(code) $(jq '.result | length' "$tmp/body")" '200 0 3'
heal "$id" >/dev/null
id=$(faulty 'method=VM.clean_shutdown,drop,executed')
call VM.clean_shutdown "$session" "$vm" >/dev/null
is "a call that was carried out though its reply is lost" "$(result VM.get_power_state "$session" "$vm")" '"Halted"'
heal "$id" >/dev/null
id=$(faulty 'method=VM.start,drop')
call VM.start "$session" "$vm" false false >/dev/null
is "and one that was not" "$(result VM.get_power_state "$session" "$vm")" '"Halted"'
heal "$id" >/dev/null
id=$(faulty 'method=session.login_with_password,host=2,http=500')
is "at one host" "$(for u in "$url" "$slave"; do
    curl -s -o /dev/null -w '%{http_code} ' -d '{"id":1,"method":"session.login_with_password","params":["root","xenkit"]}' "$u/jsonrpc"
done)" '200 500 '
heal "$id" >/dev/null
id=$(faulty 'path=/rrd_*,http=500')
is "a path" "$(for p in rrd_updates?start=-30 host_rrd; do curl -s -u root:xenkit -o /dev/null -w '%{http_code} ' "$url/$p"; done)" '500 200 '
heal "$id" >/dev/null
id=$(faulty 'path=/host_rrd,truncate=100,delay=300ms')
ok "its reply is late" test "$(ms curl -s -u root:xenkit "$url/host_rrd")" -ge 300
is "and cut" "$(curl -s -u root:xenkit "$url/host_rrd" | wc -c)" 100
heal "$id" >/dev/null
heal all >/dev/null
is "all are healed" "$(plugin list '{}' | jq -r .result)" ''

# ---- time ----

# What it is before, while, and after; a machine that stood still in between missed the one or the other.
begun() {
    during=$(code)
    [ "$during" = '503 0' ] || gone
}
gone() {
    [ -z "$(plugin list '{}' | jq -r .result)" ]
}
for seconds in 1 5 15; do
    faulty "method=host.get_all,http=503,after=${seconds}s,for=$((2 * seconds))s" >/dev/null
    before=$(code)
    soon begun
    soon gone
    [ "$before $during" != '200 0 503 0' ] || break
done
is "a fault that begins later and ends by itself" "$before $during $(code)" '200 0 503 0 200 0'

# ---- the control call ----

is "an unknown key is called by its name" "$(failure host.call_plugin "$session" "$master" '"xenkit"' '"fault"' '{"fault":"method=VM.start,fly"}' | jq -c '.[0,3]')" \
    '"XENAPI_PLUGIN_FAILURE"
"fault '"'method=VM.start,fly': 'fly' is not known"'"'
is "so is a fault that is none" "$(plugin heal '{"id":"77"}' | jq -r '.error.data[2]')" 'there is no fault 77'
is "and a number that is none" "$(plugin heal '{"id":"x"}' | jq -r '.error.data[2]')" "id='x': the number of a fault is needed, or all"
is "another plugin is missing" "$(failure host.call_plugin "$session" "$master" '"other"' '"x"' '{}')" '["XENAPI_MISSING_PLUGIN","other"]'
is "another function, too" "$(failure host.call_plugin "$session" "$master" '"xenkit"' '"x"' '{}')" '["UNKNOWN_XENAPI_PLUGIN_FUNCTION","x"]'
is "a slave does not take it" "$(ask "$slave" host.call_plugin "$session" "$master" '"xenkit"' '"list"' '{}' | jq -r .error.message)" HOST_IS_SLAVE
stop
is "it ends well" "$sim_status $(cat "$tmp/sim.err")" '0 '

set --
for _ in $(seq 64); do set -- "$@" --fault 'method=none,drop'; done
start --hosts 1 "$@"
whoami
is "there are not endlessly many" "$(plugin fault '{"fault":"method=none,drop"}' | jq -r '.error.data[2]')" "fault 'method=none,drop': there are 64 already"
stop

# half SEED: which of 40 calls fail
half() {
    start --seed "$1" --hosts 1 --fault 'method=host.get_all,probability=50%,http=500'
    session=$(login)
    for _ in $(seq 40); do code; done | cut -c1 | tr -d '\n'
    stop
}
one=$(half 3)
is "chance is the seed's" "$(half 3)" "$one"
ok "and about a half" test "$(echo "$one" | tr -cd 5 | wc -c)" -gt 8 -a "$(echo "$one" | tr -cd 5 | wc -c)" -lt 32

# ---- states from the start ----

start --fault host=2,dead --fault host=3,skew=-90s --fault task=stuck --fault 'sr=NFS*,full' --fault host=1,version=8.0
whoami
is "a dead host refuses" "$(curl -s -o /dev/null -w '%{http_code}' "$slave/")$?" 0007
is "it is known to be dead" "$(result host.get_metrics "$session" "$second" | xargs -I{} true)$(result host_metrics.get_live "$session" "$(result host.get_metrics "$session" "$second")")" false
is "the others live" "$(result host_metrics.get_all_records "$session" | jq '[.[].live] | sort')" "$(printf '[\n  false,\n  true,\n  true\n]')"
there=$(echo "$vms" | jq --argjson h "$second" 'to_entries | map(select(.value.resident_on == $h and (.value.is_control_domain | not))) | .[0].key')
is "its VMs are said to run" "$(result VM.get_power_state "$session" "$there")" '"Running"'
is "and cannot be reached" "$(failure VM.clean_shutdown "$session" "$there")" "[\"HOST_OFFLINE\",$second]"
third=$(echo "$hosts" | jq 'to_entries | map(select(.value.address == "127.0.0.3")) | .[0].key')
at() {
    date -u -d "$(result host.get_servertime "$session" "$1" | tr -d '"' | sed 's/\(....\)\(..\)\(..\)T/\1-\2-\3 /')" +%s
}
first=$(at "$master") behind=$(at "$third") last=$(at "$master")
ok "a clock that is behind" test $((first - behind)) -le 91 -a $((last - behind)) -ge 89
task=$(result task.get_all_records "$session" | jq -c '[.[] | select(.name_label == "Async.VM.clean_shutdown") | [.status, .progress]]')
is "a task that hangs" "$task" '[["pending",0.3]]'
copy=$(result Async.VM.clone "$session" "$vm" '"c"')
pause
call task.cancel "$session" "$copy" >/dev/null
is "so do those of calls, also when they are cancelled" "$(result task.get_status "$session" "$copy" | grep -E 'pending|cancelling' -c)" 1
is "a full SR" "$(result SR.get_all_records "$session" | jq -c '[.[] | select(.type == "nfs") | .physical_size == .physical_utilisation]')" '[true]'
is "an old host" "$(result host.get_software_version "$session" "$master" | jq -r .product_version) $(result host.get_API_version_minor "$session" "$master")" '8.0.0 12'
is "is an upgrade in progress" "$(result pool.get_other_config "$session" "$(result pool.get_all "$session" | jq '.[0]')")" '{"rolling_upgrade_in_progress":"true"}'
is "two states of one kind do not go together" "$(plugin fault '{"fault":"host=2,hung"}' | jq -r '.error.data[2]')" "fault 'host=2,hung': does not go with fault 1, 'host=2,dead'"
is "all end" "$(heal all)" 5
is "the host is back" "$(curl -s -o /dev/null -w '%{http_code}' "$slave/") $(result host_metrics.get_all_records "$session" | jq -c '[.[].live] | unique')" '200 [true]'
finished() {
    ! result task.get_status "$session" "$copy" | grep -qE 'pending|cancelling'
}
ok "what hung goes on" soon finished
is "records are as they were" "$(result host.get_software_version "$session" "$master" | jq -r .product_version) $(result pool.get_other_config "$session" "$(result pool.get_all "$session" | jq '.[0]')") $(result SR.get_all_records "$session" | jq -c '[.[] | select(.type == "nfs") | .physical_size == .physical_utilisation]')" '8.4.0 {} [false]'

# ---- states that begin ----

id=$(faulty host=2,hung)
is "a host that hangs takes connections and says nothing" "$(curl -s -m 1 -o /dev/null -w '%{http_code}' "$slave/")$?" 00028
heal "$id" >/dev/null
is "until it wakes" "$(curl -s -m 60 -o /dev/null -w '%{http_code}' "$slave/")" 200
faulty master=2 >/dev/null
moved() {
    [ "$(ask "$url" session.login_with_password '"root"' '"xenkit"' | jq -r .error.message)" = HOST_IS_SLAVE ]
}
ok "another master" soon moved
is "who is told" "$(ask "$url" session.login_with_password '"root"' '"xenkit"' | jq -c .error.data)" '["127.0.0.2"]'
like "and takes logins" "$(ask "$slave" session.login_with_password '"root"' '"xenkit"' | jq -r .result)" OpaqueRef
is "sessions of before are gone" "$(ask "$slave" host.get_all "$session" | jq -r .error.message)" SESSION_INVALID
stop

start --speed 120x
whoami
faulty host=2,dead >/dev/null
is "nobody knows at once" "$(result host_metrics.get_all_records "$session" | jq -c '[.[].live] | unique')" '[true]'
known() {
    [ "$(result host_metrics.get_all_records "$session" | jq -c '[.[].live] | unique')" = '[false,true]' ]
}
ok "after ten minutes they do" soon known
stop

start --fault 'client=leak,rate=20,originator=bad app,user-agent=Leak/9' --log log --limit 5 --gc-interval 500ms
leaks() {
    [ "$(grep -c 'Session.create .* originator=bad app ' log)" -gt 10 ]
}
ok "a client that leaks" soon leaks
like "the log has its name" "$(cat log)" 'Success: local auth, user root from HTTP request from Internet with User-Agent: Leak/9$'
ok "the collector ends its sessions" soon grep -q "Timed out session in group 'originator:bad app' because max number of sessions was exceeded" log
is "it never logs out" "$(grep -c 'session.logout' log)" 0
stop

start --tls --fault host=1,certificate=expired --fault host=2,delay=1s,method=none
like "a certificate that is expired" "$(curl -sv "$url/" --cacert /dev/null 2>&1 -k | grep -i 'expire date')" "$(date -u -d '30 days ago' +%b)"
ok "the database says so, too" test "$(curl -sk -d '{"id":1,"jsonrpc":"2.0","method":"session.login_with_password","params":["root","xenkit"]}' "$url/jsonrpc" | jq .result | {
    read -r s
    curl -sk -d "{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"Certificate.get_all_records\",\"params\":[$s]}" "$url/jsonrpc" | jq -r '[.result[].not_after] | min' | cut -c1-8
})" -lt "$(date -u +%Y%m%d)"
stop

# ---- what is refused ----

# refused TEXT REGEX
refused() {
    run xenkit sim --fault "$1"
    check "refused: $1" 2 "" "~$2"
}
refused 'method=VM.start,eror=HOST_OFFLINE' "'eror' is not known"
refused 'method=VM.start,error=NONE' 'there is no error NONE'
refused 'method=VM.start,error=HOST_OFFLINE;a;b' 'HOST_OFFLINE has 1 parameters, not 2'
refused 'method=VM.start' 'nothing that would happen'
refused 'error=HOST_OFFLINE' "'method' is missing"
refused 'method=VM.start,drop=1' "'drop' takes no value"
refused 'method=VM.start,delay' "'delay' needs a value"
refused 'method=VM.start,delay=never' 'delay=never is not possible'
refused 'method=VM.start,drop,drop' "'drop' is there twice"
refused 'method=VM.start,drop,reset' "'reset' does not go with 'drop'"
refused 'method=VM.start,nth=2,every=3,drop' "'every' does not go with 'nth'"
refused 'method=VM.start,path=/x,drop' "'path' does not go with 'method'"
refused 'path=/x,error=HOST_OFFLINE' "'error' does not go with 'path'"
refused 'method=VM.start,error=HOST_OFFLINE,executed' "'executed' goes with drop, reset and http only"
refused 'method=VM.start,nth=0,drop' 'nth=0 is not possible'
refused 'method=VM.start,http=200' 'http=200 is not possible'
refused 'method=VM.start,probability=2,drop' 'probability=2 is not possible'
refused 'host=2,dead,nth=2' "'nth' does not go with 'dead'"
refused 'host=2,dead,hung' "'hung' does not go with 'dead'"
refused 'dead' "'host' is missing"
refused 'host=4,dead' 'the pool has 3 hosts'
refused 'host=65,dead' 'host=65 is not possible'
refused 'master=4' 'the pool has fewer hosts'
refused 'host=1,certificate=expired' 'with --tls only'
refused 'host=1,version=1.0' 'version=1.0 is not known'
refused 'task=slow' 'task=slow is not known'
refused 'client=leak' "'rate' is missing"
refused 'client=leak,rate=0' 'rate=0 is not possible'
refused 'sr=none,full' 'there is no such SR'
refused 'sr=NFS*' "'full' or 'latency' is missing"
refused 'sr=NFS*,full,latency=1s' "'latency' does not go with 'full'"
refused 'vm=nobody,no-tools' 'there is no such VM'
refused 'vm=web-01' "'no-tools' is missing"
refused 'host=1,cpu=2' 'cpu=2 is not possible'
refused '' "'' is not known"
refused 'host=2,,dead' "'' is not known"
done_testing
