# Hosts of the simulated pool: emptied, stopped, lost and back; another master; high availability; messages.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"

# field METHOD REF: of the master, without quotes
field() {
    result "$1" "$session" "$2" | jq -r .
}
until_is() {
    [ "$(eval "$1")" = "$2" ]
}
# becomes COMMAND VALUE: soon
becomes() {
    soon until_is "$1" "$2"
}

start --hosts 3 --speed 30x
session=$(login)
third=$(sed -n '3s/\t.*//p' "$tmp/sim.out")
hosts=$(result host.get_all "$session")
one=$(echo "$hosts" | jq '.[0]') two=$(echo "$hosts" | jq '.[1]') three=$(echo "$hosts" | jq '.[2]')

# ---- emptying ----

is "a host that serves may not be restarted" "$(failure host.reboot "$session" "$two")" '["HOST_NOT_DISABLED"]'
is "and does not offer it" "$(result host.get_allowed_operations "$session" "$two" | jq -c 'sort')" \
    '["enable","evacuate","provision","vm_migrate","vm_resume","vm_start"]'
call host.disable "$session" "$two" >/dev/null
is "one that does not serve may" "$(result host.get_allowed_operations "$session" "$two" | jq -c 'map(select(. == "reboot" or . == "shutdown"))')" \
    '["shutdown","reboot"]'
count=$(result host.get_resident_VMs "$session" "$two" | jq length)
ok "it has VMs" test "$count" -gt 2
is "nothing keeps them there" "$(result host.get_vms_which_prevent_evacuation "$session" "$two")" '{}'
before=$(result VM.get_all_records "$session" | jq '[.[] | select(.power_state == "Running")] | length')
task=$(result Async.host.evacuate "$session" "$two")
becomes 'field task.get_status "$task"' success
is "an evacuation ends well" "$(field task.get_status "$task")" success
is "and leaves only its own domain" "$(result host.get_resident_VMs "$session" "$two" | jq length)" 1
is "the others run on" "$(result VM.get_all_records "$session" | jq '[.[] | select(.power_state == "Running")] | length')" "$before"
is "somewhere" "$(result VM.get_all_records "$session" | jq -c '[.[] | select(.power_state == "Running") | .resident_on] | unique | length')" 3
call host.disable "$session" "$three" >/dev/null
call host.disable "$session" "$one" >/dev/null
is "without another host that serves" \
    "$(result host.get_vms_which_prevent_evacuation "$session" "$one" | jq -c '[.[] | .[0]] | unique')" '["NO_HOSTS_AVAILABLE"]'
like "nobody can go" "$(failure host.evacuate "$session" "$one" | jq -r '.[0]')" NO_HOSTS_AVAILABLE
like "and it says so" "$(failure host.assert_can_evacuate "$session" "$one" | jq -r '.[1]')" '^NO_HOSTS_AVAILABLE,OpaqueRef'
call host.enable "$session" "$one" >/dev/null
call host.enable "$session" "$three" >/dev/null

# ---- stopping ----

metrics=$(result host.get_metrics "$session" "$two")
# forgets COMMAND…: after it the host answers, and knows its sessions no more; how long it is away nobody can rely on
forgot() {
    ask "$slave" host.get_all "$local" | jq -r .error.message | grep -q SESSION_INVALID
}
forgets() {
    local=$(ask "$slave" session.slave_local_login_with_password '"root"' '"xenkit"' | jq .result)
    call "$@" >/dev/null
    soon forgot
}
ok "a host that starts anew has forgotten its sessions" forgets host.reboot "$session" "$two"
becomes 'field host_metrics.get_live "$metrics"' true
is "it comes back" "$(field host_metrics.get_live "$metrics")" true
is "serving" "$(field host.get_enabled "$two")" true
is "at its address" "$(ask "$slave" session.login_with_password '"root"' '"xenkit"' | jq -r .error.message)" HOST_IS_SLAVE
call host.disable "$session" "$two" false >/dev/null
forgets host.reboot "$session" "$two"
becomes 'field host_metrics.get_live "$metrics"' true
is "one that shall not serve does not" "$(field host.get_enabled "$two")" false
is "a host without a switch is not switched on" "$(failure host.power_on "$session" "$two")" "[\"HOST_IS_LIVE\",$two]"
call host.set_power_on_mode "$session" "$two" '"wake-on-lan"' '{}' >/dev/null
call host.shutdown "$session" "$two" >/dev/null
becomes 'field host_metrics.get_live "$metrics"' false
is "then the host is gone" "$(curl -s -m 60 "$slave/" >/dev/null; echo $?)" 7
is "and is no place for calls" "$(failure host.get_servertime "$session" "$two")" "[\"HOST_OFFLINE\",$two]"
is "it can be switched on now" "$(result host.get_allowed_operations "$session" "$two" | jq -c 'map(select(. == "power_on"))')" '["power_on"]'
call host.power_on "$session" "$two" >/dev/null
becomes 'field host_metrics.get_live "$metrics"' true
is "and is back" "$(field host_metrics.get_live "$metrics")" true
call host.enable "$session" "$two" >/dev/null
ok "so has an agent that starts anew" forgets host.restart_agent "$session" "$two"
is "its VMs did not notice" "$(field host_metrics.get_live "$metrics")" true

# ---- losing ----

is "nobody gives up a host that is alive" "$(failure host.declare_dead "$session" "$two")" "[\"HOST_IS_LIVE\",$two]"
is "nor forgets it" "$(failure host.destroy "$session" "$two")" "[\"HOST_IS_LIVE\",$two]"
vm=$(result VM.get_all_records "$session" | jq "[to_entries[] | select(.value.resident_on == $three and (.value.is_control_domain | not))][0].key")
call host.disable "$session" "$three" >/dev/null
call host.shutdown "$session" "$three" >/dev/null
becomes 'field host_metrics.get_live "$(result host.get_metrics "$session" "$three")"' false
is "a host that is shut down takes its VMs with it" "$(field VM.get_power_state "$vm")" Halted
call host.declare_dead "$session" "$three" >/dev/null
pifs=$(result PIF.get_all_records "$session" | jq "[.[] | select(.host != $three)] | length")
call host.destroy "$session" "$three" >/dev/null
is "a host that is gone may be forgotten" "$(result host.get_all "$session" | jq length)" 2
is "with what was its own" "$(result PIF.get_all "$session" | jq length)" "$pifs"
is "its address is silent" "$(curl -s -m 5 "$third/" >/dev/null; echo $?)" 7

# ---- messages ----

uuid=$(result host.get_uuid "$session" "$one")
message=$(result message.create "$session" '"NAME"' 3 '"Host"' "$uuid" '"body"')
is "a message about a host" "$(result message.get "$session" '"Host"' "$uuid" '"19700101T00:00:00Z"' | jq -c '[.[] | [.name, .priority, .body]]')" \
    '[["NAME",3,"body"]]'
is "about none" "$(failure message.create "$session" '"N"' 3 '"Host"' '"none"' '""')" '["UUID_INVALID","Host","none"]'
is "not in the future" "$(result message.get_since "$session" '"20991231T00:00:00Z"')" '{}'
result message.create "$session" '"OTHER"' 5 '"Host"' "$uuid" '""' >/dev/null
call message.destroy_all "$session" '{"priority":"5"}' >/dev/null
is "those of one priority go" "$(result message.get_all_records "$session" | jq -c '[.[] | select(.obj_uuid == '"$uuid"') | .name]')" '["NAME"]'
call message.destroy_many "$session" "[$message]" >/dev/null
is "those that are named, too" "$(failure message.get_record "$session" "$message" | jq -r '.[0]')" HANDLE_INVALID
stop
is "nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0

start --hosts 3 --vms 3 --speed 30x --state "$tmp/state"
session=$(login)
call pool.eject "$session" "$(result host.get_all "$session" | jq '.[2]')" >/dev/null
stop
start --state "$tmp/state"
session=$(login)
third=$(sed -n '3s/\t.*//p' "$tmp/sim.out")
is "a pool that lost a host can be kept" "$(result host.get_all "$session" | jq length)" 2
is "and the host stays away" "$(curl -s -m 5 "$third/" >/dev/null; echo $?)" 7
stop

start --hosts 2 --vms 2
session=$(login)
two=$(result host.get_all "$session" | jq '.[1]')
call host.disable "$session" "$two" >/dev/null
call host.reboot "$session" "$two" >/dev/null
is "a restart is under way" "$(result host.get_current_operations "$session" "$two" | jq -c '[.[]]')" '["shutdown"]'
is "no VM may come meanwhile" "$(result host.get_allowed_operations "$session" "$two" | jq -c 'map(select(. == "provision" or . == "vm_migrate"))')" '[]'
stop

# ---- another master ----

start --hosts 3 --speed 20x
session=$(login)
two=$(result host.get_all "$session" | jq '.[1]')
is "a pool that a host would join" "$(failure pool.join "$session" '"127.0.0.1"' '"root"' '"xenkit"')" \
    '["OPERATION_NOT_ALLOWED","Host is already part of a pool"]'
is "with a wrong password" "$(failure pool.join "$session" '"127.0.0.1"' '"root"' '"x"' | jq -r '.[0]')" SESSION_AUTHENTICATION_FAILED
is "at a slave" "$(failure pool.join "$session" '"127.0.0.2"' '"root"' '"xenkit"')" '["HOST_IS_SLAVE","127.0.0.1"]'
is "at nobody's address" "$(failure pool.join "$session" '"127.9.9.9"' '"root"' '"xenkit"' | jq -r '.[0]')" INTERNAL_ERROR
call pool.designate_new_master "$session" "$two" >/dev/null
old_master() {
    failure session.login_with_password '"root"' '"xenkit"' | grep -q HOST_IS_SLAVE
}
ok "the old master names the new one" soon old_master
is "by its address" "$(failure session.login_with_password '"root"' '"xenkit"')" '["HOST_IS_SLAVE","127.0.0.2"]'
is "its sessions are gone" "$(failure VM.get_all "$session" | jq -r '.[0]')" SESSION_INVALID
first=$url url=$slave
session=$(login)
is "the new one serves" "$(result VM.get_all "$session" | jq length)" 27
pool=$(result pool.get_all "$session" | jq '.[0]')
is "and says so" "$(result pool.get_master "$session" "$pool")" "$two"
is "the master is not thrown out" "$(failure pool.eject "$session" "$two")" '["INTERNAL_ERROR","Xapi_pool.Cannot_eject_master"]'
local=$(ask "$first" session.slave_local_login_with_password '"root"' '"xenkit"' | jq .result)
is "a slave with its master is in no emergency" "$(ask "$first" host.is_in_emergency_mode "$local" | jq .result)" false
call host.disable "$session" "$two" >/dev/null
call host.shutdown "$session" "$two" >/dev/null
emergency() {
    ask "$first" host.is_in_emergency_mode "$local" | jq -e '.result == true'
}
ok "one without is" soon emergency
is "and does little" "$(ask "$first" VM.get_all "$local" | jq -r .error.message)" HOST_STILL_BOOTING
ask "$first" pool.emergency_transition_to_master "$local" >/dev/null
url=$first
session=$(login)
like "until it is made the master" "$session" OpaqueRef
is "it finds who follows it" "$(result pool.recover_slaves "$session" | jq length)" 1
third=$(sed -n '3s/\t.*//p' "$tmp/sim.out")
is "they name it" "$(ask "$third" session.login_with_password '"root"' '"xenkit"' | jq -c .error.data)" '["127.0.0.1"]'
three=$(result host.get_all "$session" | jq '.[2]')
halted=$(result VM.get_all_records "$session" | jq '[to_entries[] | select(.value.power_state == "Halted" and (.value.is_a_template | not))][0].key')
call VM.start_on "$session" "$halted" "$three" false false >/dev/null
is "a host with VMs is not thrown out" "$(failure pool.eject "$session" "$three")" '["OPERATION_NOT_ALLOWED","VM resident on host"]'
call host.evacuate "$session" "$three" >/dev/null
call pool.eject "$session" "$three" >/dev/null
is "an empty one is" "$(result host.get_all "$session" | jq length)" 2
is "and its own storage with it" "$(result SR.get_by_name_label "$session" '"Local storage 3"')" '[]'
stop

# ---- high availability ----

start --hosts 3 --vms 10 --speed 100x --gc-interval 10s
session=$(login)
pool=$(result pool.get_all "$session" | jq '.[0]')
local=$(result SR.get_by_name_label "$session" '"Local storage 1"' | jq '.[0]')
is "storage of one host is not enough" "$(failure pool.enable_ha "$session" "[$local]" '{}')" "[\"SR_HAS_NO_PBDS\",$local]"
is "what is off is not switched off" "$(failure pool.disable_ha "$session")" '["HA_NOT_ENABLED"]'
call pool.enable_ha "$session" '[]' '{}' >/dev/null
is "it is on" "$(result pool.get_ha_enabled "$session" "$pool")" true
is "once" "$(failure pool.enable_ha "$session" '[]' '{}')" '["HA_IS_ENABLED"]'
is "with a disk to beat on" "$(result VDI.get_all_records "$session" | jq '[.[] | select(.type == "ha_statefile")] | length')" 1
is "two of three hosts may fail" "$(result pool.ha_compute_max_host_failures_to_tolerate "$session")" 2
is "not three" "$(result pool.ha_failover_plan_exists "$session" 3)" false
call pool.set_ha_host_failures_to_tolerate "$session" "$pool" 1 >/dev/null
is "the plan is for one" "$(result pool.get_ha_plan_exists_for "$session" "$pool")" 1
is "never for fewer than none" "$(failure pool.set_ha_host_failures_to_tolerate "$session" "$pool" -1)" \
    '["INVALID_VALUE","ha_host_failures_to_tolerate","-1"]'
is "no host leaves meanwhile" "$(failure pool.designate_new_master "$session" "$(result host.get_all "$session" | jq '.[1]')")" '["HA_IS_ENABLED"]'
is "a word that is no priority" "$(failure pool.ha_compute_hypothetical_max_host_failures_to_tolerate "$session" \
    "{$(result VM.get_by_name_label "$session" '"web-01"' | jq '.[0]'):\"x\"}")" '["INVALID_VALUE","ha_restart_priority","x"]'
three=$(result host.get_all "$session" | jq '.[1]')
vms=$(result VM.get_all_records "$session" | jq "[to_entries[] | select(.value.resident_on == $three and (.value.is_control_domain | not))] | map(.key)")
plan=$(result pool.ha_compute_vm_failover_plan "$session" "[$three]" "$vms")
is "a plan has a host for each VM" "$(echo "$plan" | jq -c '[.[] | keys[0]] | unique')" '["host"]'
is "not the one that fails" "$(echo "$plan" | jq "[.[] | select(.host == $three)] | length")" 0
call pool.disable_ha "$session" >/dev/null
is "it is off again" "$(result pool.get_ha_enabled "$session" "$pool")" false
stop
is "and nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0
done_testing
