# Each check of a pool with its cause planted, beside a near miss that has to stay silent; and the numbers that it gives.
# shellcheck disable=SC2154

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
. "$XENKIT_SOURCE/src/rooms/checkup/look.sh"
found() {
    jq -c '[.findings[] | [.check, .object]]' "$out"
}
host() {
    result host.get_all_records "$session" | jq -c "to_entries[] | select(.value.name_label == \"$1\").key"
}

# ---- by faults and calls ----

start --hosts 7 --vms 9 --log "$PWD/log" --fault host=2,cpu=97% --fault host=3,cpu=85% --fault 'sr=NFS*,latency=80ms' \
    --fault 'sr=Local storage*,latency=20ms' --fault vm=web-01,no-tools \
    --fault 'method=pool.get_all,host=4,error=HOST_IS_SLAVE;10.9.9.9' \
    --fault 'method=pool.get_all,host=5,error=SESSION_INVALID;OpaqueRef:x' \
    --fault 'path=/rrd_updates,host=6,http=500'
session=$(login)
six=$(host host-6) seven=$(host host-7)
call host.set_ntp_mode "$session" "$seven" '"Disabled"' >/dev/null
call host.set_ntp_custom_servers "$session" "$six" '["192.0.2.1"]' >/dev/null
call host.set_ntp_mode "$session" "$six" '"Custom"' >/dev/null
uuid=$(result host.get_uuid "$session" "$seven")
for priority in 1 2 3 5; do
    call message.create "$session" "\"PLANTED_$priority\"" $priority '"Host"' "$uuid" '"body"' >/dev/null
done
look "$url"
# At how many hosts machines use the storage is the pool's own choice.
is "what is planted is found, and nothing else" "$status $(found | jq -c 'reduce .[] as $f ([]; if .[-1] == $f then . else . + [$f] end)')" '1 [["pool.master","host-4"],["pool.master","host-5"],["pool.alert","PLANTED_1"],["pool.alert","PLANTED_2"],["pool.cpu","host-2"],["pool.latency","NFS storage"],["pool.metrics","host-6"],["pool.ntp","host-7"],["pool.tools","web-01"]]'
like "processors: how busy, in which time" "$(evidence pool.cpu)" 'busy for 97\.0 % of the time \(97\.0 % to 97\.0 % in the minute\) over (9|10) minutes until 20'
is "storage: once for a host" "$(evidence pool.latency | cut -d ' ' -f 2 | sort | uniq -d)" ""
like "storage: how slow, where, with how much to do" "$(evidence pool.latency)" '^at host-[1-57] a request takes 8[0-9] ms on average \(up to 8[0-9] ms in a minute\), with [0-9]+ requests a second, over (9|10) minutes until 20'
like "another master" "$(evidence pool.master host-4)" '^it follows 10\.9\.9\.9; the pool.s master is 127\.0\.0\.1$'
like "another database" "$(evidence pool.master host-5)" 'SESSION_INVALID'
like "metrics that are not given" "$(evidence pool.metrics)" 'HTTP status 500'
like "NTP that is off" "$(evidence pool.ntp)" '^ntp_mode is Disabled$'
like "an alert: how urgent, when, about what" "$(evidence pool.alert PLANTED_1)" "^priority 1 at 20.*, about Host $(echo "$uuid" | tr -d '"')"
like "no tools: since when" "$(evidence pool.tools)" '^it runs since (1 h|59 m|1 h .*), and there are no guest metrics \('
stop

# ---- two masters ----

start --hosts 3 --vms 3
session=$(login)
one=$(host host-1)
call host.call_plugin "$session" "$one" '"xenkit"' '"fault"' '{"fault": "host=1,hung,for=3s"}' >/dev/null
local=$(ask "$slave" session.slave_local_login_with_password '"root"' '"xenkit"' | jq -c .result)
taken() {
    ask "$slave" pool.emergency_transition_to_master "$local" | jq -e '.result != null' >/dev/null
}
soon taken
soon call pool.get_all "$session"
look "$url"
like "two masters" "$status $(evidence pool.master)" '^1 it takes itself for the master; that is 127\.0\.0\.|^1 it is the master'
stop

# ---- by records: a dump that was changed ----

start --hosts 4 --vms 9
run xenkit api dump --password-file password -o dump.json "$url"
stop
jq '
    def ago(s): now - s | strftime("%Y%m%dT%H:%M:%SZ");
    def chain($vdi; $name; $length): . as $all | reduce range($length) as $i (.;
        .classes.VDI["OpaqueRef:\($name)-\($i)"] = ($all.classes.VDI[$vdi] + {uuid: "\($name)-\($i)", name_label: "\($name)-\($i)",
            managed: ($i == 0), is_a_snapshot: false, VBDs: [], snapshots: [],
            sm_config: (if $i + 1 < $length then {"vhd-parent": "\($name)-\($i + 1)"} else {} end)}));
    def certificate($name; $from; $until): .classes.Certificate["OpaqueRef:" + $name] =
        {uuid: $name, name: $name, type: "ca", host: "OpaqueRef:NULL", not_before: ago($from), not_after: ago($until), fingerprint: "", fingerprint_sha256: "", fingerprint_sha1: "", purpose: []};
    def message($name; $priority; $age): .classes.message["OpaqueRef:" + $name] =
        {uuid: $name, name: $name, priority: $priority, cls: "Pool", obj_uuid: "p", timestamp: ago($age), body: ""};
    def vm_of($name): .classes.VM | to_entries[] | select(.value.name_label == $name).value;
    def free($host; $share): (.classes.host[] | select(.name_label == $host).metrics) as $m
        | .classes.host_metrics[$m].memory_free = ((.classes.host_metrics[$m].memory_total | tonumber) * $share | floor | tostring);
    (.classes.VDI | keys[0]) as $vdi
    | chain($vdi; "deep"; 25) | chain($vdi; "flat"; 24)
    | certificate("soon"; 86400; -29 * 86400) | certificate("later"; 86400; -31 * 86400)
    | certificate("over"; 9 * 86400; 86400) | certificate("early"; -86400; -99 * 86400)
    | message("YESTERDAY"; 1; 23 * 3600) | message("BEFORE"; 1; 25 * 3600)
    | (vm_of("web-01")) as $web | (vm_of("db-01")) as $db | (vm_of("mail-01")) as $mail
    | .classes.VM_guest_metrics[$web.guest_metrics].PV_drivers_version = {}
    | .classes.VM_guest_metrics[$db.guest_metrics].PV_drivers_up_to_date = false
    | .classes.VM_guest_metrics[$mail.guest_metrics].PV_drivers_version = {}
    | .classes.VM_metrics[$mail.metrics].start_time = ago(300)
    | free("host-2"; 0.01) | free("host-3"; 0.03)
    | (.classes.pool[] |= (.ha_enabled = true | .ha_host_failures_to_tolerate = "1" | .ha_plan_exists_for = $plan))
    | (.classes.SR[] | select(.name_label == "NFS storage")) |= (.physical_utilisation = ((.physical_size | tonumber) * 0.91 | floor | tostring))
    | ([.classes.SR | to_entries[] | select(.value.name_label | startswith("Local"))][0].key) as $local
    | .classes.SR[$local] |= (.physical_utilisation = ((.physical_size | tonumber) * 0.89 | floor | tostring))
' --arg plan 0 dump.json >changed.json
start --load changed.json
look "$url"
is "what was changed is found, and nothing that was changed less" "$status $(found)" \
    '1 [["pool.certificate","early"],["pool.certificate","over"],["pool.alert","YESTERDAY"],["pool.certificate","soon"],["pool.chain","deep-0"],["pool.ha","simulated"],["pool.space","NFS storage"],["pool.tools","web-01"],["pool.memory","host-2"],["pool.old-tools","db-01"]]'
like "a certificate's times" "$(evidence pool.certificate over)" 'on record \(ca\) has ended: it is for 20[-0-9T:]+Z to 20[-0-9T:]+Z, and it is 20'
like "one that has not begun" "$(evidence pool.certificate early)" 'has not begun'
like "one that ends soon" "$(evidence pool.certificate soon)" 'ends within 30 days'
like "how deep a chain is" "$(evidence pool.chain)" '^a chain of 25 images'
like "a plan that falls short" "$(evidence pool.ha)" '^a plan exists for 0 failing hosts, 1 are to be tolerated'
like "space" "$(evidence pool.space)" 'are in use \(91\.0 %\)'
like "memory now and before" "$(evidence pool.memory)" 'are free \(1\.0 %\); on average .* in (9|10) minutes before, .* at least'
like "no drivers" "$(evidence pool.tools)" 'its guest metrics name no drivers'
like "old drivers" "$(evidence pool.old-tools)" '^its drivers are 8\.4\.0-1, and PV_drivers_up_to_date is false'
stop
jq '.classes.pool[] |= (.ha_enabled = true | .ha_host_failures_to_tolerate = "1" | .ha_plan_exists_for = "1")' dump.json >planned.json
start --load planned.json
look "$url"
is "a plan for as many as are to be tolerated" "$status $(found)" '0 []'
stop
jq '.classes.pool[] |= (.ha_enabled = true | .ha_host_failures_to_tolerate = "1" | .ha_plan_exists_for = "1" | .ha_overcommitted = true)' dump.json >over.json
start --load over.json
look "$url"
like "overcommitted all the same" "$status $(evidence pool.ha)" '^1 .*it is overcommitted$'
stop
done_testing
