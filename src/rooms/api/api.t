# `xenkit api` against the simulated pool; after everything, the pool's log has to show each of its sessions ended.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"

XDG_STATE_HOME=$tmp/state
export XDG_STATE_HOME
unset XENKIT_POOL XENKIT_PASSWORD_FILE
printf 'xenkit\n' >"$tmp/password"
api() {
    verb=$1
    shift
    "$XENKIT" api "$verb" --password-file "$tmp/password" "$@"
}
sessions() {
    sed -n "s/.*Session\.$1 trackid=\([0-9a-f]*\).*/\1/p" "$tmp/sim.log" | sort
}
# The sessions that somebody opened and nobody ended, by their trackid.
leaked() {
    sessions create >"$tmp/created"
    sessions destroy >"$tmp/destroyed"
    comm -23 "$tmp/created" "$tmp/destroyed"
}

start --log "$tmp/sim.log"

# ---- calls ----

run api call "$url" VM.get_by_name_label web-01
check "a list is a line for each item" 0 "~^OpaqueRef:[0-9a-f-]{36}$"
ref=$(cat "$out")
is "one line" "$(wc -l <"$out")" 1
run api call "$url" VM.get_memory_static_max "$ref" --json
check "numbers are numbers in JSON" 0 '~^\{"result":[0-9]+\}$'
run api call "$url" VM.get_memory_static_max "$ref" --json --protocol xml
check "also where they came as text, with XML-RPC" 0 '~^\{"result":[0-9]+\}$'
run api call "$url" VM.get_is_a_template "$ref"
check "a truth is a word" 0 false
for protocol in json1 json2 xml; do
    api call "$url" VM.get_record "$ref" --json --protocol $protocol >"$tmp/$protocol.json" 2>"$tmp/$protocol.err"
done
ok "records are the same in JSON-RPC 1 and 2" cmp "$tmp/json1.json" "$tmp/json2.json"
ok "and in XML-RPC" cmp "$tmp/xml.json" "$tmp/json2.json"
is "without a word" "$(cat "$tmp"/*.err | grep -v '^$')" ""
is "with numbers, times and truths of their kind" \
    "$(jq -c '.result | [.VCPUs_max, .memory_static_max, .HVM_shadow_multiplier, .is_a_snapshot | type]' "$tmp/xml.json")" \
    '["number","number","number","boolean"]'
run api call "$url" VM.get_all_records --json
check "a map of records" 0 -
is "as the XenAPI has it" "$(jq -r --arg r "$ref" '.result[$r].name_label' "$out")" web-01
run api call "$url" pool.get_all_records
check "cards on a terminal" 0 "~^master: "
run api call "$url" VM.get_all_records --csv
check "rows in CSV" 0 "~^ref,"
is "one for each" "$(grep -c '^OpaqueRef' "$out")" "$(api call "$url" VM.get_all --json | jq '.result | length')"
run api call "$url" VM.set_name_description "$ref" 'a "b", {c}'
check "a call that returns nothing says nothing" 0 "" ""
run api call "$url" VM.get_name_description "$ref"
check "and has worked" 0 'a "b", {c}'
run api call "$url" VM.set_tags name:web-01 'one,two'
check "a set in words; a ref by its name" 0 "" ""
uuid=$(api call "$url" VM.get_uuid "$ref")
run api call "$url" VM.get_tags "$uuid" --json
check "a ref by its uuid" 0 '{"result":["one","two"]}'
run api call "$url" VM.set_other_config "$ref" '{"a":"1"}'
check "a map as JSON" 0 "" ""
run api call "$url" VM.get_other_config "$ref"
check "a map is shown by its keys" 0 "a: 1"
run api call "$url" network.create 'name_label=lab,other_config={},MTU=1400'
check "a record in words" 0 "~^OpaqueRef:"
run api call "$url" system.listMethods --plain
check "system.listMethods needs no session" 0 "~^VM.start$"
run api call --pool "$url" VM.get_name_label "$ref"
check "the pool as an option" 0 web-01
XENKIT_POOL=$url run api call VM.get_name_label "$ref"
check "or from the environment" 0 web-01
XENKIT_PASSWORD_FILE=$tmp/password run xenkit api call "$url" VM.get_name_label "$ref"
check "the password's file, too" 0 web-01
status=0
printf 'xenkit' | "$XENKIT" api call "$url" --password-file - VM.get_name_label "$ref" >"$out" 2>"$err" || status=$?
check "or from standard input" 0 web-01

# ---- mistakes, before anything is sent ----

before=$(sessions create | wc -l)
run api call "$url" VM.get_name_lable "$ref"
check "an unknown message" 2 "" '~did you mean VM.get_name_label\?'
run api call "$url" VM.start "$ref"
check "too few arguments" 2 "" '~VM.start takes 3 arguments, and 1 was given'
run api call "$url" VM.start "$ref" no false
check "a wrong type" 2 "" '~argument 2 \(start_paused\) has to be of type bool'
run api call "$url" VM.start web-01 false false --json
check "an error is a document as well" 2 '~"error":\{"code":"EINVAL"' -
run api call "$url" session.login_with_password root x
check "a login by hand is refused" 2 "" '~a session that nobody ends'
run api call "$url" VM.get_all --deadline 1s
check "a deadline without a task is refused" 2 "" '~--async'
run api call "$url" VM.get_all --async
check "a task of a message that has none is refused" 2 "" '~VM.get_all cannot be called as a task'
run api call "$url" VM.get_all --ca "$tmp/password"
check "trust without TLS is refused" 2 "" '~--ca has no effect'
run api call "ftp://x" VM.get_all
check "a pool by another protocol is refused" 2 "" '~https, http or unix'
run api call "http://root:secret@127.0.0.1" VM.get_all
check "a password in a URL is refused" 2 "" '~--password-file'
nok "and is not repeated" grep -q secret "$err"
is "for none of these anybody logged in" "$(sessions create | wc -l)" "$before"
run xenkit api call VM.get_all </dev/null
check "no pool at all" 2 "" '~XENKIT_POOL'

# ---- errors of the pool ----

run api call "$url" VM.get_by_uuid nothing
check "its code, its parameters, a sentence" 4 "" '~there is no VM with the uuid nothing \(UUID_INVALID: type VM, uuid nothing\)'
run api call "$url" VM.start "$ref" false false
check "a wrong state, with what to do" 4 "" '~VM_BAD_POWER_STATE'
printf 'wrong\n' >"$tmp/wrong"
run xenkit api call "$url" --password-file "$tmp/wrong" VM.get_all
check "a wrong password" 4 "" '~logging in as root at .*the user or the password is wrong \(SESSION_AUTHENTICATION_FAILED'
run api call "${url#http://}" VM.get_all
check "https where only http is spoken" 4 "" "~does not speak TLS"
like "says so" "$(cat "$err")" "$url is the way without encryption"
run api call http://127.0.0.1:1 VM.get_all
check "nobody there" 4 "" '~127.0.0.1 port 1: Connection refused'

# ---- slaves ----

run api call "$slave" VM.get_name_label "$ref"
check "a slave's master is asked, and that is said" 0 web-01 '~is a slave of its pool; going on with its master 127.0.0.1'
run api call "$slave" VM.get_name_label "$ref" -q
check "unless nobody wants to hear it" 0 web-01 ""
before=$(sessions create | wc -l)
run api call "$slave" host.get_all --emergency --plain
check "--emergency logs in at the slave itself" 0 - ""
is "which knows its hosts" "$(wc -l <"$out")" 3
is "without a session of the pool" "$(sessions create | wc -l)" "$before"

# ---- tasks ----

db=$(api call "$url" VM.get_all_records --json |
    jq -r '[.result | to_entries[] | select(.value.power_state == "Halted" and (.value.is_a_template | not)) | .key][0]')
run api call "$url" VM.clone "$db" twin --async
check "a task's result is that of its message" 0 "~^OpaqueRef:"
is "and the new machine is there" "$(api call "$url" VM.get_name_label "$(cat "$out")")" twin
is "no task is left behind" "$(api call "$url" task.get_all_records --json |
    jq '[.result[] | select(.name_label == "Async.VM.clone")] | length')" 0
run api call "$url" VM.start "$ref" false false --async
check "a task's error is that of its message" 4 "" '~^xenkit: VM.start: .*VM_BAD_POWER_STATE'
run api call "$url" VM.copy "$db" late OpaqueRef:NULL --async --deadline 1500ms
check "a deadline cancels the task" 124 "" '~VM.copy: it was not done in time, and its task was cancelled'
is "and no machine is left" "$(api call "$url" VM.get_by_name_label late --json)" '{"result":[]}'

"$XENKIT" api call --password-file "$tmp/password" "$url" VM.copy "$db" stopped OpaqueRef:NULL --async >"$out" 2>"$err" &
copy=$!
until api call "$url" task.get_all_records --json | grep -q Async.VM.copy; do pause; done
kill -TERM $copy
wait $copy
status=$?
check "a stop cancels it, too" 143 "" '~VM.copy: a stop was asked for, and its task was cancelled'
is "and leaves no machine" "$(api call "$url" VM.get_by_name_label stopped --json)" '{"result":[]}'

# A stop in the middle of a call that waits.
"$XENKIT" api call --password-file "$tmp/password" "$url" event.from VM/OpaqueRef:none "" 60 >"$out" 2>"$err" &
waiting=$!
until [ "$(sessions create | wc -l)" -gt "$(sessions destroy | wc -l)" ]; do pause; done
kill -TERM $waiting
wait $waiting
status=$?
check "a stop ends a call that waits" 143 "" "~stopped"
is "no session is left behind, by errors, deadlines and stops" "$(leaked)" ""

# ---- kept sessions ----

run api sessions
check "none is kept so far" 0 "No session is kept."
run api login "$url"
check "login keeps one" 0 "~^trackid: [0-9a-f]{32}$"
track=$(sed -n 's/trackid: //p' "$out")
is "by the name that the pool's log has" "$(leaked)" "$track"
is "nobody else can read it" "$(find "$tmp/state" -type f -name '*.session' -printf '%m ')" "600 "
nok "its ref is in no message" grep -rq OpaqueRef "$out" "$err"
before=$(sessions create | wc -l)
run xenkit api call VM.get_name_label "$ref"
check "the next call needs neither pool nor password" 0 web-01 ""
run xenkit api login "$url"
check "a second login finds the first" 0 "~$track"
run xenkit api sessions --check --plain
check "it is listed" 0 "~^$url.*root.*$track.*alive$"
is "all with one login" "$(sessions create | wc -l)" "$before"
run api call "$url" --no-session-cache VM.get_name_label "$ref"
check "unless it is not wanted" 0 web-01
is "then there is another" "$(($(sessions create | wc -l) - before))" 1
call session.logout "\"$(sed -n 's/^session //p' "$tmp"/state/xenkit/sessions/*.session)\"" >/dev/null
run api call "$url" VM.get_name_label "$ref"
check "one that has ended is replaced" 0 web-01 ""
run xenkit api call VM.get_name_label "$ref"
check "and the new one is kept" 0 web-01 ""
run xenkit api logout "$url"
check "logout ends it" 0 "~^trackid:"
run xenkit api logout "$url"
check "once" 3 "" "~no session of root at $url is kept"
is "no file is left" "$(find "$tmp/state" -name '*.session')" ""
is "no session is left" "$(leaked)" ""

# Commands that start together share one session, instead of forgetting all but one.
for i in 1 2 3 4 5 6; do
    api login "$url" >"$tmp/login.$i" 2>&1 &
    eval "login$i=\$!"
done
for i in 1 2 3 4 5 6; do eval "wait \$login$i"; done
is "six logins at once keep one session" "$(cat "$tmp"/login.* | grep -c trackid) $(leaked | wc -l)" "6 1"
chmod 644 "$tmp"/state/xenkit/sessions/*.session
run api call "$url" VM.get_name_label "$ref"
check "one that others could read is not used" 0 web-01 "~others may have read"
chmod 600 "$tmp"/state/xenkit/sessions/*.session
api logout "$url" >/dev/null
is "and at the end none is left" "$(leaked)" ""
nok "no ref of a session was ever shown" grep -qE 'OpaqueRef' "$err"
stop
is "the pool had nothing to complain of" "$sim_status" 0

# ---- TLS ----

rm -f "$tmp/sim.log"
start --tls --certificates "$tmp/hosts.pem" --log "$tmp/sim.log"
like "a pool with TLS" "$url" '^https://'
host=${url#https://}
pin=$(openssl x509 -in "$tmp/hosts.pem" -noout -fingerprint -sha256 | sed 's/.*=//')
run api call "$host" VM.get_by_name_label web-01
check "a first connection is told, with the fingerprint" 0 "~^OpaqueRef" \
    "~first connection to .*$(echo "$pin" | tr -d : | tr A-F a-f)"
run api call "$host" VM.get_by_name_label web-01
check "the second one is not" 0 "~^OpaqueRef" ""
is "nobody else can write that file" "$(find "$tmp/state" -name certificates -printf '%m')" 600
run api call "$host" --cert-sha256 "$pin" VM.get_by_name_label web-01
check "by fingerprint" 0 "~^OpaqueRef" ""
run api call "$host" --cert-sha256 "$(echo "$pin" | tr 0-9 1-90)" VM.get_by_name_label web-01
check "by a wrong one" 4 "" "~shows the certificate"
run api call "$host" --ca "$tmp/hosts.pem" VM.get_by_name_label web-01
check "by authorities" 0 "~^OpaqueRef" ""
run api call "$host" --insecure VM.get_by_name_label web-01
check "by nothing at all, when that is typed" 0 "~^OpaqueRef" ""
run api call "$slave" --cert-sha256 "$(openssl crl2pkcs7 -nocrl -certfile "$tmp/hosts.pem" | openssl pkcs7 -print_certs |
    awk '/BEGIN/ { n++ } n == 2' | openssl x509 -noout -fingerprint -sha256 | sed 's/.*=//')" VM.get_by_name_label web-01
check "a trusted slave vouches for its master" 0 "~^OpaqueRef" "~going on with its master"
run api call "http://$host" VM.get_all
check "plain HTTP to it fails with a way out" 4 "" "~https://"
sed -i 's/ [0-9a-f]*$/ 0000000000000000000000000000000000000000000000000000000000000000/' "$tmp/state/xenkit/certificates"
run api call "$host" VM.get_by_name_label web-01
check "a certificate that has changed is refused" 4 "" "~HAS CHANGED"
is "no session is left with TLS, either" "$(leaked)" ""
stop
done_testing
