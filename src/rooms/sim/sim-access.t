# Who may do what in the simulated pool: users and their roles, whose tasks, which sessions.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"

cat >users <<'USERS'
# a directory
alice:a password:read-only
bob:b:vm-operator
carol:c:vm-admin
olga:o:pool-operator
dave:d
erin:e::staff
USERS
start --users users --login-delay 0s
root=$(login)
alice=$(login alice 'a password')
bob=$(login 'SIM\\bob' b)
carol=$(login carol@sim.example c)
olga=$(login olga o)
vm=$(result VM.get_by_name_label "$root" '"web-01"' | jq '.[0]')

# ---- roles ----

is "a user reads" "$(result VM.get_name_label "$alice" "$vm")" '"web-01"'
is "what the role does not allow is denied, with the roles that do" "$(failure VM.start "$alice" "$vm" false false)" \
    '["RBAC_PERMISSION_DENIED","vm.start","No permission in user session. (Roles with this permission: vm-power-admin, vm-admin, vm-operator, pool-admin, pool-operator)"]'
is "with Async, too" "$(result task.get_error_info "$alice" "$(result Async.VM.clean_reboot "$alice" "$vm")" | jq -r '.[0]')" \
    RBAC_PERMISSION_DENIED
is "an operator may start, but not rename" "$(failure VM.set_name_label "$bob" "$vm" '"x"' | jq -c '.[:2]')" \
    '["RBAC_PERMISSION_DENIED","vm.set_name_label"]'
is "a key of a map has roles of its own" "$(call VM.add_to_other_config "$bob" "$vm" '"folder"' '"/x"' | jq .result)" '""'
is "as has what its wildcard means" \
    "$(failure VM.add_to_other_config "$alice" "$vm" '"XenCenter.CustomFields.a"' '""' | jq -r '.[1]')" \
    'vm.add_to_other_config/key:xencenter.customfields.*'
is "another key has those of the message" "$(failure VM.add_to_other_config "$bob" "$vm" '"k"' '""' | jq -r '.[1]')" \
    vm.add_to_other_config
is "a key may need more" "$(failure VM.add_to_other_config "$carol" "$vm" '"pci"' '""')" \
    '["RBAC_PERMISSION_DENIED","vm.add_to_other_config/key:pci","No permission in user session. (Roles with this permission: pool-admin)"]'
is "root may all" "$(call VM.add_to_other_config "$root" "$vm" '"pci"' '""' | jq .result)" '""'
is "but not what only hosts say to each other" "$(failure host.tickle_heartbeat "$root" '""' '{}')" \
    '["INTERNAL_ERROR","Internal API \"host.tickle_heartbeat\" call attempted with non-pool (external) session"]'

# The references of roles are the same in every pool: https://docs.xenserver.com lists them.
is "the roles of a pool" "$(result role.get_all_records_where "$root" '"subroles<>[]"' | jq -c '[.[] | select(.is_internal | not) | .uuid + " " + .name_label] | sort')" \
    '["0165f154-ba3e-034e-6b27-5d271af109ba pool-admin","7233b8e3-eacb-d7da-2c95-f2e581cdbf4e read-only","7955168d-7bec-10ed-105f-c6a7e6e63249 vm-power-admin","aaa00ab5-7340-bfbc-0d1b-7cf342639a6e vm-admin","b9ce9791-0604-50cd-0649-09b3284c7dfd pool-operator","fb8d4ff9-310c-a959-0613-54101535d3d5 vm-operator"]'
permission=$(result role.get_by_name_label "$root" '"vm.start"' | jq '.[0]')
is "a permission is a role without others below it" "$(result role.get_record "$root" "$permission" | jq -c '[.name_label, .subroles, .is_internal]')" \
    '["vm.start",[],true]'
is "and knows whose it is" "$(result role.get_by_permission "$root" "$permission" | jq length)" 5
reader=$(result role.get_by_name_label "$root" '"read-only"' | jq '.[0]')
is "a session tells its permissions" "$(result session.get_rbac_permissions "$alice" "$alice" | jq -c 'map(select(. == "vm.start" or . == "vm.get_all"))')" \
    '["vm.get_all"]'
is "a reference that is no role's" "$(failure role.get_name_label "$root" "$vm" | jq -c '.[:2]')" '["HANDLE_INVALID","role"]'

# ---- subjects ----

is "a wrong password" "$(failure session.login_with_password '"bob"' '"x"' '"1.0"' '""' | jq -c '.[:2]')" \
    '["SESSION_AUTHENTICATION_FAILED","bob"]'
is "somebody whom nobody knows" "$(failure session.login_with_password '"mallory"' '"x"' '"1.0"' '""' | jq -c '.[:2]')" \
    '["SESSION_AUTHENTICATION_FAILED","mallory"]'
is "a user whom the pool does not let in" "$(failure session.login_with_password '"dave"' '"d"' '"1.0"' '""' | jq -c '.[:2]')" \
    '["SESSION_AUTHORIZATION_FAILED","dave"]'
sid=$(result auth.get_subject_identifier "$root" '"dave"')
dave=$(result subject.create "$root" "{\"subject_identifier\":$sid,\"other_config\":{}}")
is "the directory says who it is" "$(result subject.get_other_config "$root" "$dave" | jq -r '."subject-upn"')" dave@sim.example
is "a subject exists once" "$(failure subject.create "$root" "{\"subject_identifier\":$sid,\"other_config\":{}}")" '["SUBJECT_ALREADY_EXISTS"]'
is "one without roles does not get in" "$(failure session.login_with_password '"dave"' '"d"' '"1.0"' '""' | jq -r '.[0]')" RBAC_PERMISSION_DENIED
call subject.add_to_roles "$root" "$dave" "$reader" >/dev/null
session=$(login dave d)
is "one with a role does" "$(result VM.get_name_label "$session" "$vm")" '"web-01"'
is "a role is had once" "$(failure subject.add_to_roles "$root" "$dave" "$reader")" '["ROLE_ALREADY_EXISTS"]'
is "a permission is no role" "$(failure subject.add_to_roles "$root" "$dave" "$permission")" '["ROLE_NOT_FOUND"]'
staff=$(result auth.get_group_membership "$root" "$(result auth.get_subject_identifier "$root" '"erin"')" | jq '.[0]')
group=$(result subject.create "$root" "{\"subject_identifier\":$staff,\"other_config\":{}}")
call subject.add_to_roles "$root" "$group" "$reader" >/dev/null
like "a group lets its members in" "$(login erin e)" OpaqueRef
is "those who are logged in" "$(result session.get_all_subject_identifiers "$root" | jq length)" 7
call session.logout_subject_identifier "$root" "$sid" >/dev/null
is "and one is sent away" "$(failure VM.get_all "$session" | jq -r '.[0]')" SESSION_INVALID
is "the others stay" "$(result VM.get_name_label "$alice" "$vm")" '"web-01"'
is "who is not root changes no password" "$(failure session.change_password "$olga" '"xenkit"' '"y"' | jq -r '.[0]')" RBAC_PERMISSION_DENIED

# ---- tasks ----

task=$(result task.create "$alice" '"mine"' '""')
is "one's own task" "$(call task.set_progress "$alice" "$task" 0.5 | jq .result)" '""'
is "is nobody else's" "$(failure task.set_progress "$bob" "$task" 0.6 | jq -c '.[:2]')" '["RBAC_PERMISSION_DENIED","task.destroy/any"]'
is "but a pool operator's" "$(call task.set_progress "$olga" "$task" 0.7 | jq .result)" '""'
call task.cancel "$alice" "$task" >/dev/null
is "a cancel is written down" "$(result task.get_current_operations "$alice" "$task" | jq -c '[.[]]')" '["cancel"]'
is "for its owner to heed" "$(result task.get_status "$alice" "$task")" '"pending"'
call task.destroy "$alice" "$task" >/dev/null
is "a task that runs is not gone" "$(result task.get_progress "$alice" "$task")" 0.7
call task.set_status "$alice" "$task" '"success"' >/dev/null
call task.destroy "$alice" "$task" >/dev/null
is "until it is over" "$(failure task.get_status "$alice" "$task" | jq -r '.[0]')" HANDLE_INVALID

# ---- without the directory ----

second=$(result host.get_all "$root" | jq '.[1]')
call host.disable_external_auth "$root" "$second" '{}' >/dev/null
call pool.detect_nonhomogeneous_external_auth "$root" "$(result pool.get_all "$root" | jq '.[0]')" >/dev/null
is "a host that differs is told of" "$(result message.get_all_records "$root" | jq -c "[.[] | select(.obj_uuid == $(result host.get_uuid "$root" "$second")) | .name]")" \
    '["EXTAUTH_IN_POOL_IS_NON_HOMOGENEOUS"]'

pool=$(result pool.get_all "$root" | jq '.[0]')
call pool.disable_external_auth "$root" "$pool" '{}' >/dev/null
is "a pool without a directory lets only root in" "$(failure VM.get_all "$alice" | jq -r '.[0]')" SESSION_INVALID
is "and has nobody to ask" "$(failure auth.get_subject_identifier "$root" '"dave"')" '["AUTH_IS_DISABLED"]'
is "another domain is not found" \
    "$(failure pool.enable_external_auth "$root" "$pool" '{"user":"olga","pass":"o"}' '"other.example"' '"AD"' | jq -r '.[0]')" \
    POOL_AUTH_ENABLE_FAILED_DOMAIN_LOOKUP_FAILED
is "with a wrong password it is not joined" \
    "$(failure pool.enable_external_auth "$root" "$pool" '{"user":"olga","pass":"x"}' '"sim.example"' '"AD"' | jq -r '.[0]')" \
    POOL_AUTH_ENABLE_FAILED_WRONG_CREDENTIALS
is "nor when it is of no kind" \
    "$(failure pool.enable_external_auth "$root" "$pool" '{"user":"olga","pass":"o"}' '"sim.example"' '"x"')" '["AUTH_UNKNOWN_TYPE","x"]'
call pool.enable_external_auth "$root" "$pool" '{"user":"olga","pass":"o"}' '"sim.example"' '"AD"' >/dev/null
like "then it is on again" "$(login alice 'a password')" OpaqueRef
is "once" "$(failure pool.enable_external_auth "$root" "$pool" '{"user":"olga","pass":"o"}' '"sim.example"' '"AD"' | jq -r '.[0]')" \
    POOL_AUTH_ALREADY_ENABLED
stop
is "nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0

# ---- sessions ----

start --login-delay 4s --log log
since=$(date +%s%N)
(failure session.login_with_password '"root"' '"x"' '"1.0"' '""' >"$tmp/bad"; date +%s%N >"$tmp/late") &
soon grep -q 'Failed to locally' log
login >/dev/null
quick=$(date +%s%N)
wait $!
is "a wrong password" "$(jq -r '.[0]' "$tmp/bad")" SESSION_AUTHENTICATION_FAILED
ok "has to wait" test $(($(cat "$tmp/late") - since)) -ge 4000000000
ok "and keeps nobody else waiting" test "$quick" -lt "$(cat "$tmp/late")"
stop

start --limit 2 --gc-interval 100ms
root=$(login root xenkit keep)
busy=$(login root xenkit crowd)
result task.create "$busy" '"t"' '""' >/dev/null
first=$(login root xenkit crowd)
for _ in 1 2; do last=$(login root xenkit crowd); done
gone() {
    failure VM.get_all "$first" | grep -q SESSION_INVALID
}
ok "the oldest of a group goes" soon gone
is "but not one with a task that is not over" "$(result VM.get_all "$busy" | jq length)" 27
is "nor the newest" "$(result VM.get_all "$last" | jq length)" 27
secret=$(result pool.initial_auth "$root")
host=$(result host.get_all "$root" | jq '.[1]')
like "a host that knows the pool's secret logs in" "$(result session.slave_login "$host" "$secret")" OpaqueRef
is "one that does not is refused" "$(failure session.slave_login "$host" '"x"')" \
    "[\"SESSION_AUTHENTICATION_FAILED\",$host,\"Pool credentials invalid\"]"
local=$(ask "$slave" session.slave_local_login "$secret" | jq .result)
is "a local session by the secret" "$(ask "$slave" host.get_all "$local" | jq '.result | length')" 3
ask "$slave" session.logout "$local" >/dev/null
is "logout is for other sessions" "$(ask "$slave" host.get_all "$local" | jq '.result | length')" 3
ask "$slave" session.local_logout "$local" >/dev/null
is "local_logout ends it" "$(ask "$slave" host.get_all "$local" | jq -r .error.message)" SESSION_INVALID
call session.change_password "$root" '"ignored"' '"other"' >/dev/null
like "a changed password holds" "$(login root other)" OpaqueRef
is "the old one no more" "$(failure session.login_with_password '"root"' '"xenkit"' '"1.0"' '""' | jq -r '.[0]')" SESSION_AUTHENTICATION_FAILED
is "a database's file that the host does not have" "$(failure session.create_from_db_file "$root" '"/x"')" \
    '["INTERNAL_ERROR","Unix.Unix_error(Unix.ENOENT, \"open\", \"/x\")"]'
stop

start --speed 3600x --gc-interval 1h --login-delay 0s
root=$(login)
task=$(result task.create "$root" '"old"' '""')
call task.set_status "$root" "$task" '"success"' >/dev/null
forgotten() {
    failure task.get_status "$root" "$task" | grep -q HANDLE_INVALID
}
ok "a task that is over is forgotten" soon forgotten
stop

for line in ':p' 'a' 'a:' 'a:p:king' 'root:p' 'a:p
a:q' 'a:p::b
b:q'; do
    echo "$line" >wrong
    run xenkit sim --users wrong
    check "no directory: $(echo "$line" | tr '\n' ' ')" 2 "" "~line [12]:"
done
run xenkit sim --users missing
check "a directory that is missing" 6 "" "~missing"
done_testing
