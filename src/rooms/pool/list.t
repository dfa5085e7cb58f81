# A pool as tables, against the simulated one.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
export XDG_STATE_HOME="$tmp/state"
printf 'xenkit\n' >password
pool() {
    verb=$1
    shift
    run xenkit pool "$verb" --json --password-file password "$@"
}

start --hosts 5 --vms 6 --fault host=2,dead --fault host=3,skew=-30s --fault host=4,version=old --fault task=stuck
session=$(login)
pool hosts "$url"
is "hosts, their role and life" "$status $(jq -c '[.hosts[] | [.name, .role, .live]] | sort' "$out")" \
    '0 [["host-1","master",true],["host-2","slave",false],["host-3","slave",true],["host-4","slave",true],["host-5","slave",true]]'
is "with their memory" "$(jq '[.hosts[] | select(.memory_bytes > 0)] | length' "$out")" 5
pool versions "$url"
is "versions that differ are status 1" "$status" 1
is "product_version is one of them" "$(jq -c '.versions[] | select(.component == "product_version") | [.differs, (.hosts | length), ([.hosts[]] | unique | length)]' "$out")" '[true,5,2]'
is "a component that all share" "$(jq -c '.versions[] | select(.component == "product_brand") | .differs' "$out")" false
run xenkit pool versions --password-file password "$url"
check "side by side for people" 1 "~COMPONENT +DIFFERS +HOSTS[. ]HOST-1|component +differs" ""
pool vms "$url"
is "machines without templates and the hosts' own" "$status $(jq '.vms | length' "$out")" \
    "0 $(result VM.get_all_records "$session" | jq '[.[] | select((.is_a_template or .is_control_domain or .is_a_snapshot) | not)] | length')"
pool srs "$url"
is "storage" "$(jq '.srs | length' "$out")" "$(result SR.get_all "$session" | jq length)"
pool clock "$url"
is "a clock that is off is status 1" "$status" 1
ok "by thirty seconds, behind" jq -e '.clocks[] | select(.host == "host-3") | (.skew_s + 30 | fabs) <= .bound_s + 0.5 and .bound_s < 12' "$out"
is "a dead host has no clock" "$(jq -r '.clocks[] | select(.host == "host-2") | [.skew_s, .error] | join(" ")' "$out")" " the host is not live"
ok "the others are right" jq -e '[.clocks[] | select(.host | test("1|4|5")) | (.skew_s | fabs) <= .bound_s + 1] | all' "$out"
is "the two that differ most" "$(jq -c '.spread | [.behind, (.ahead != "host-3"), (.spread_s | . > 18 and . < 42)]' "$out")" '["host-3",true,true]'
is "how each clock is kept" "$(jq -c '[.clocks[] | select(.host != "host-2") | [.ntp_mode, .synchronised]] | unique' "$out")" '[["Factory",true]]'
is "a host that is dead does not say" "$(jq -c '.clocks[] | select(.host == "host-2") | [.ntp_mode, .synchronised, .certificate]' "$out")" '[null,null,null]'
host=$(result host.get_all_records "$session" | jq -c 'to_entries[] | select(.value.name_label == "host-4").key')
call host.set_ntp_custom_servers "$session" "$host" '["192.0.2.1","192.0.2.2"]' >/dev/null
call host.set_ntp_mode "$session" "$host" '"Custom"' >/dev/null
pool clock "$url"
like "its own servers" "$(jq -r '.clocks[] | select(.host == "host-4") | [.ntp_mode, .ntp_servers] | join(": ")' "$out")" '^Custom: .*192\.0\.2\.1.*192\.0\.2\.2'
pool clock --warn 1m "$url"
is "unless that much is allowed" "$status" 0
pool tasks --watch 200ms "$url"
is "the task that is stuck does not move" "$(jq -c '[.tasks[] | select(.age_ns > 19 * 3600e9) | [.status, .moves]]' "$out")" '[["pending",false]]'
stop

# ---- certificates against the clocks ----

start --tls --hosts 4 --fault host=2,certificate=expired --fault host=3,skew=-3d
pool clock --insecure --warn 9d "$url"
is "a certificate that has ended, one that has not begun for its host" "$status $(jq -c '[.clocks[] | .certificate]' "$out")" \
    '1 ["valid","has ended","has not begun by the host'"'"'s clock","valid"]'
ok "with its dates" jq -e '[.clocks[] | .certificate_from < .certificate_until] | all' "$out"
curl=-k
session=$(login)
call host.call_plugin "$session" "$(result host.get_all "$session" | jq '.[0]')" '"xenkit"' '"heal"' '{"id": "all"}' >/dev/null
pool clock --insecure "$url"
is "when all is well again" "$status $(jq -c '[.clocks[] | .certificate] | unique' "$out")" '0 ["valid"]'
curl=
stop

# A copy takes ten seconds here, and tells how far it is every 0.8 s.
start --hosts 1 --vms 3 --speed 0.3
session=$(login)
vm=$(result VM.get_all_records "$session" | jq '[to_entries[] | select(.value.power_state == "Halted" and (.value.is_a_template | not))][0].key')
task=$(result Async.VM.copy "$session" "$vm" '"copy"' '"OpaqueRef:NULL"')
uuid=$(result task.get_uuid "$session" "$task" | jq -r .)
pool tasks --watch 2s "$url"
is "a copy moves" "$(jq -c ".tasks[] | select(.uuid == \"$uuid\") | [.status, .moves, .cancellable]" "$out")" '["pending",true,true]'
pool tasks "$url" cancel "$uuid"
is "it is cancelled" "$status $(jq -c .cancelled "$out")" "0 [{\"uuid\":\"$uuid\",\"cancelled\":true}]"
like "and the pool knows" "$(result task.get_status "$session" "$task")" 'cancel'
pool tasks "$url" --cancel 00000000-0000-0000-0000-000000000000
is "a task that is not there" "$status $(jq -c '.cancelled' "$out")" '4 []'
run xenkit pool tasks --password-file password "$url" extra
check "a word too many" 2 "" "~extra"
pool versions "$url"
is "one host has one version" "$status" 0
port=${url##*:}
pool ports --ports "$port" "$url"
is "the port of every host" "$status $(jq -c '[.ports[] | [.host, .proto, .state]]' "$out")" '0 [["host-1","tcp","open"]]'
pool ports "$url"
is "what this machine needs, when nothing is said" "$status $(jq -c "[.ports[] | [.port == $port, .proto, .state]]" "$out")" '0 [[true,"tcp","open"]]'
pool ports --ports 1 --wait 5s "$url"
is "one that is closed" "$status $(jq -c '[.ports[].state]' "$out")" '1 ["closed"]'
pool ports --role ha --wait 200ms "$url"
is "a role" "$(jq -c '[.ports[] | [.port, .proto]]' "$out")" '[[694,"udp"]]'
run xenkit pool ports --ports x "$url"
check "a list that is none" 2 "" "~no list of ports"
pool hosts http://127.0.0.1:1
check "a pool that is not there" 4 - "~127.0.0.1"
stop
done_testing
