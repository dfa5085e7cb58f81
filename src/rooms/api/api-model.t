# What `xenkit api` knows without a pool, and what it tells of a whole pool: describe, watch, dump.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"

XDG_STATE_HOME=$tmp/state
printf 'xenkit\n' >"$tmp/password"
XENKIT_PASSWORD_FILE=$tmp/password
export XDG_STATE_HOME XENKIT_PASSWORD_FILE
unset XENKIT_POOL
tables=$XENKIT_SOURCE/data/xenapi

# ---- describe: against the tables ----

run xenkit api describe --plain
check "all classes" 0 "~^VM	"
is "as many as the table has" "$(wc -l <"$out")" "$(grep -vc '^#' "$tables/classes.tsv")"
run xenkit api describe VM.start --json
check "a message" 0 -
is "its parameters" "$(jq -c '[.parameters[] | [.parameter, .type]]' "$out")" \
    '[["vm","ref VM"],["start_paused","bool"],["force","bool"]]'
is "its errors" "$(jq -r '[.errors[].error] | join(",")' "$out")" \
    "$(awk -F '\t' '$1 == "VM" && $2 == "start" { print $5 }' "$tables/messages.tsv")"
is "since when" "$(jq -r .message.since "$out")" "rio (XenServer 4.0, API 1.1)"
is "who may" "$(jq -r .message.roles "$out")" "pool-admin, pool-operator, vm-power-admin, vm-admin, vm-operator"
run xenkit api describe session.login_with_password --json
is "defaults" "$(jq -c '[.parameters[] | .default]' "$out")" '[null,null,"\"1.1\"","\"\""]'
run xenkit api describe vm.Power_state
check "a class may be in any case, a field not" 2 "" "~did you mean"
run xenkit api describe vm.power_state --json
check "a field" 0 -
is "its words" "$(jq -r '[.words[].word] | join(",")' "$out")" \
    "$(awk -F '\t' '$1 == "vm_power_state" { print $3 }' "$tables/enums.tsv")"
is "its messages" "$(jq -r '[.messages[].message] | join(",")' "$out")" VM.get_power_state
run xenkit api describe VM.migrate_send --json
is "keys of maps that no document has" "$(jq -r '.undocumented_keys[] | select(.map == "options") | .keys' "$out")" \
    "$(awk -F '\t' '$1 == "VM.migrate_send" && $2 == "options" { print $3 }' "$tables/map_options.tsv")"
run xenkit api describe VM.platform --json
like "of fields, too" "$(jq -r '.undocumented_keys[].keys' "$out")" 'viridian'
run xenkit api describe VBD.unplug --json
is "nothing is made up where nothing is known" "$(jq -r .undocumented_keys "$out")" null
run xenkit api describe VM --json
is "a class has the table's fields" "$(jq -r '.fields[].field' "$out" | sort)" \
    "$(awk -F '\t' '$1 == "VM" && $9 !~ /internal/ && $7 != "removed" { print $2 }' "$tables/fields.tsv" | sort)"
shown=$(jq '.messages | length' "$out")
run xenkit api describe VM --all --json
ok "--all has more messages" test "$(jq '.messages | length' "$out")" -gt "$shown"
run xenkit api describe VM_BAD_POWER_STATE
check "an error" 0 '~^meaning: +the machine is <actual>, and it has to be <expected> for this$'
run xenkit api describe on_boot
check "an enum" 0 "~persist"
run xenkit api describe VM.strat
check "a wrong name" 2 "" "~did you mean VM.start\?"

# ---- completion ----

is "messages" "$(xenkit --complete -- api call VM.sta)" "VM.start
VM.start_on"
is "classes before their dot" "$(xenkit --complete -- api call VM_g)" "VM_group.
VM_guest_metrics."
like "fields and messages" "$(xenkit --complete -- api describe VM.power)" '^VM.power_state$'
like "classes" "$(xenkit --complete -- api watch netw)" "^network$"
is "options all the same" "$(xenkit --complete -- api call --asy)" --async

# ---- watch ----

start --log "$tmp/sim.log"
"$XENKIT" api watch "$url" VM network --jsonl --records >"$tmp/events" 2>"$tmp/events.err" &
watch=$!
until [ "$(grep -c 'Session.create' "$tmp/sim.log")" -ge 1 ]; do pause; done
web=$(xenkit api call "$url" VM.get_by_name_label web-01)
until [ -s "$tmp/events" ]; do # what happens before the watch began is not told
    xenkit api call "$url" VM.set_name_description "$web" "one $((n = ${n:-0} + 1))"
    pause
done
xenkit api call "$url" VM.add_tags "$web" blue
xenkit api call "$url" SR.get_all >/dev/null
net=$(xenkit api call "$url" network.create 'name_label=lab,other_config={}')
await grep -q '"operation":"add"' "$tmp/events" # what is gone before anybody looked was never there
xenkit api call "$url" network.destroy "$net"
await grep -q '"operation":"del"' "$tmp/events"
kill -TERM $watch
wait $watch
is "it ends well when it is stopped" "$? $(cat "$tmp/events.err")" "0 "
ok "each line is an object" jq -es 'all(.[]; .time and .ref)' "$tmp/events"
jq -s '[.[] | select(.class == "VM")]' "$tmp/events" >"$tmp/vm"
ok "a change has before and after" jq -e '.[0].changes[0] | .field == "name_description" and (.after | startswith("one "))' "$tmp/vm"
ok "a set as well" jq -e 'any(.[].changes[]; .field == "tags" and (.after - .before) == ["blue"])' "$tmp/vm"
ok "with the whole record" jq -e '.[0].record.name_label == "web-01"' "$tmp/vm"
ok "what comes and goes" jq -es '[.[] | select(.class == "network") | .operation] | . == ["add", "del"]' "$tmp/events"
run xenkit api watch "$url" --initial --jsonl --for 300ms SR
check "--initial begins with what there is" 0 '~"operation":"add"'
is "all of it" "$(wc -l <"$out")" "$(xenkit api call "$url" SR.get_all --json | jq '.result | length')"
run xenkit api watch "$url" --initial --jsonl -n 2 VM
check "-n ends it after so many" 0 -
is "exactly" "$(wc -l <"$out")" 2
run xenkit api watch "$url" netwrok
check "a wrong class" 2 "" "~did you mean network"
run xenkit api watch "$url" VM --records --for 10ms
check "--records without JSON is refused" 2 "" "~--json"
"$XENKIT" api watch "$url" VM >"$tmp/table" 2>"$tmp/table.err" &
watch=$!
until grep -q "name_description: " "$tmp/table"; do
    xenkit api call "$url" VM.set_name_description "$web" "two $((n = n + 1))"
    pause
done
xenkit api call "$url" VM.add_tags "$web" green
await grep -q green "$tmp/table"
kill -TERM $watch
wait $watch
is "it runs until it is stopped" "$? $(cat "$tmp/table.err")" "0 "
like "a change is from -> to" "$(cat "$tmp/table")" 'name_description: .* -> two [0-9]+'
like "of a set what came" "$(cat "$tmp/table")" 'tags: \+green( |$)'

# ---- get ----

run xenkit api get "$url" '/rrd_updates?start=-60&json=true'
check "metrics" 0 '~"meta"'
run xenkit api get "$url" /no/such/thing
check "what is not there" 4 "" "~HTTP status 404"
run xenkit api get "$url" 'rrd updates'
check "what is no path" 2 "" "~no path"
nok "the session is in no log" grep -qE 'session_id=|OpaqueRef.*rrd' "$tmp/sim.log"

# ---- dump ----

secret=$(xenkit api call "$url" secret.create 'value=hidden-1,other_config={}')
xenkit api call "$url" VM.add_to_other_config "$web" admin-password hidden-2
xenkit api call "$url" VM.add_to_other_config "$web" mirror https://me:hidden-3@example.com/x
# Where pools keep them: storage logins, fencing, external authentication, cloud-init, kernel arguments, notes of people.
n=3
sr=$(xenkit api call "$url" SR.get_all | head -n 1)
store=$(xenkit api call "$url" SR.introduce 11111111-2222-3333-4444-555555555555 dump-sr '' smb user true '{}')
hide() {
    n=$((n + 1))
    xenkit api call "$url" "$@" || echo "not planted: $*"
}
{
    hide VM.add_to_xenstore_data "$web" vm-data/userdata '#cloud-config chpasswd: hidden-u'
    hide VM.add_to_xenstore_data "$web" vm-data/note 'the Password is: hidden-n'
    hide VM.add_to_xenstore_data "$web" vm-data/pem '{-----BEGIN RSA PRIVATE KEY----- hidden-p'
    hide VM.set_PV_args "$web" 'ks=http://example.com/ks rootpw=hidden-r quiet'
    hide VM.set_name_description name:web-02 '<user>x</user><password>hidden-x</password>'
    hide SR.add_to_sm_config "$sr" api-key hidden-k
    hide SR.add_to_other_config "$sr" chapuser hidden-c
    hide VDI.set_xenstore_data "$(xenkit api call "$url" VDI.get_all | head -n 1)" '{"psk":"hidden-s"}'
    hide network.add_to_other_config "$(xenkit api call "$url" network.get_all | head -n 1)" wlan.pass hidden-w
    hide host.set_power_on_mode name:host-2 DRAC '{"power_on_ip":"10.0.0.9","power_on_user":"root","power_on_password_secret":"hidden-d"}'
    hide pool.add_to_other_config "$(xenkit api call "$url" pool.get_all)" urls 'see http://a/ and ftp://me:hidden-f@b/c'
    hide PBD.create "$(jq -cn --arg h "$(xenkit api call "$url" host.get_all | head -n 1)" --arg s "$store" \
        '{host: $h, SR: $s, device_config: {username: "me", cifspassword: "hidden-b"}}')" >"$tmp/null" # makes a secret
} >"$tmp/planted" 2>&1
is "secrets are planted" "$(cat "$tmp/planted")" ""
xenkit api call "$url" VM.add_to_other_config "$web" monkey 'no password: '
xenkit api call "$url" VM.add_to_other_config "$web" harmless shown-1
xenkit api call "$url" VM.add_to_other_config "$web" link https://example.com/a:b@c
run xenkit api dump "$url" -v
check "a dump" 0 - -
like "tells how many secrets it left out" "$(cat "$err")" "$((n + 1)) secrets were left empty"
cp "$out" "$tmp/dump.json"
is "is one document" "$(jq -c '[keys[]]' "$tmp/dump.json")" '["classes","xenkit_dump"]'
nok "without secrets" grep -q hidden- "$tmp/dump.json"
is "but with all else" "$(jq -r --arg r "$web" '.classes.VM[$r].other_config | [.harmless, .link, .mirror, .monkey] | @csv' "$tmp/dump.json")" \
    '"shown-1","https://example.com/a:b@c","","no password: "'
is "the secret is there, and empty" "$(jq -r --arg r "$secret" '.classes.secret[$r].value' "$tmp/dump.json")" ""
is "each record is what the pool says" \
    "$(jq -S '.classes.PIF' "$tmp/dump.json")" "$(xenkit api call "$url" PIF.get_all_records --json | jq -S .result)"
awk -F '\t' '$2 == "get_all_records" && $10 != "removed" { print $1 }' "$tables/messages.tsv" | LC_ALL=C sort >"$tmp/want"
jq -r '.classes | keys[]' "$tmp/dump.json" | LC_ALL=C sort >"$tmp/got"
is "every class is there" "$(comm -3 "$tmp/want" "$tmp/got")" ""
run xenkit api dump "$url" --json
check "it has one format" 2 - -
run xenkit api dump "$url" -o pool.json
check "into a file" 0 "" ""
ok "whole" jq -e .xenkit_dump pool.json
stop
done_testing
