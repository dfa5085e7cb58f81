# Both sides of the limits that the checks of a pool go by: what is just over them is found, what is just under is not.
# shellcheck disable=SC2154

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
. "$XENKIT_SOURCE/src/rooms/checkup/look.sh"
requires openssl
found() {
    jq -c '[.findings[] | [.check, .object, .severity]]' "$out"
}
host() {
    result host.get_by_name_label "$session" "\"$1\"" | jq -c '.[0]'
}

# ---- clocks ----

start --hosts 4 --fault host=2,skew=1s --fault host=3,skew=4s --fault host=4,skew=-62s
look "$url"
is "a clock that is off by a second, by four, by a minute" "$status $(found)" \
    '1 [["pool.clock-skew","host-4","critical"],["pool.clock-skew","host-3","warning"]]'
like "how far, and how sure" "$(evidence pool.clock-skew host-4)" '^its clock is 6[0-4]\.[0-9] s behind this machine.s \(± [0-9]+\.[0-9] s\)$'
stop
# The whole pool lives in another hour. What is young there is young.
start --hosts 1 --now $(($(date +%s) - 8 * 3600))
session=$(login)
call task.create "$session" '"young"' '""' >/dev/null
look "$url"
is "ages are by the pool's own clock" "$(found)" '[["pool.clock-skew","host-1","critical"]]'
run xenkit pool tasks --json --password-file password --watch 0s "$url"
ok "also in its list of tasks" jq -e '.tasks[0] | .name == "young" and .age_ns < 600e9' "$out"
stop

# ---- slow is not silent, and storage without work is not slow ----

start --hosts 4 --fault 'method=pool.get_all,host=4,delay=1s' --fault 'path=/rrd_updates,host=3,delay=1s' \
    --fault 'sr=ISO*,latency=500ms' --fault 'sr=Local storage*,latency=500ms'
look "$url"
is "slow answers, and storage that nobody uses" "$status $(found)" '0 []'
stop

# ---- certificates that hosts show ----

start --tls --hosts 4 --fault host=2,certificate=expired
curl=-k
session=$(login)
for host in 3 4; do
    days=$((23 + 2 * host)) # 29, 31
    openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out $days.pem -days $days -subj /CN=host 2>"$tmp/openssl.err"
    call host.install_server_certificate "$session" "$(host host-$host)" \
        "$(jq -Rs . $days.pem)" "$(jq -Rs . key.pem)" '""' >/dev/null
done
look --insecure "$url"
is "one that has ended, one that ends in less than thirty days, one that ends later" "$status $(found)" \
    '1 [["pool.certificate","host-2","critical"],["pool.certificate","host-3","warning"]]'
like "when it ends" "$(evidence pool.certificate host-3)" '^the certificate that it shows ends in 28 days: it is for 20[-0-9T:]+Z to 20[-0-9T:]+Z; here it is 20[-0-9T:]+Z, there 20'
like "when it ended" "$(evidence pool.certificate host-2)" '^the certificate that it shows has ended: it is for 20'
curl=
stop

# ---- tasks ----

start --hosts 1 --vms 0
session=$(login)
call task.create "$session" '"task"' '"text"' >/dev/null
run xenkit api dump --password-file password -o dump.json "$url"
stop
jq 'def ago(s): now - s | strftime("%Y%m%dT%H:%M:%SZ");
    ([.classes.task[]][0]) as $t
    | .classes.task = ({"OpaqueRef:old": ($t + {uuid: "old", name_label: "old", created: ago(6.5 * 3600)}),
        "OpaqueRef:young": ($t + {uuid: "young", name_label: "young", created: ago(5.5 * 3600)}),
        "OpaqueRef:done": ($t + {uuid: "done", name_label: "done", created: ago(7 * 3600), status: "success", progress: 1})})' dump.json >tasks.json
start --load tasks.json
session=$(login)
if [ "$(result task.get_all "$session" | jq length)" = 0 ]; then
    skip "tasks of six hours and less" "a pool that is loaded has no tasks"
else
    look "$url"
    is "tasks of six hours and less, and one that has ended" "$status $(found)" '1 [["pool.task-stuck","old","warning"]]'
    like "since when" "$(evidence pool.task-stuck)" '^task old has been pending for 6 h 3[0-9] m, progress '
fi
stop

# ---- sessions ----

# logins COUNT ORIGINATOR: by one connection
logins() {
    printf '{"id":1,"jsonrpc":"2.0","method":"session.login_with_password","params":["root","xenkit","1.0","%s"]}' "$2" >body
    curl -s -o "$tmp/answers" -H 'Content-Type: application/json' --data-binary @body "$url/jsonrpc?[1-$1]"
}
start --hosts 1 --vms 0 --log "$PWD/xensource.log"
logins 399 near
look "$url"
is "399 sessions of 500" "$status $(found)" '0 []'
logins 1 near
look "$url"
is "400" "$status $(found)" '1 [["pool.sessions","originator:near","warning"]]'
like "of how many, by which log" "$(evidence pool.sessions)" \
    '^400 of 500 sessions are open, none was thrown out; the log is from 20[-0-9T:]+Z to 20[-0-9T:]+Z$'
stop

# evicted DAY HOUR LAST-ACTIVE-HOUR; quiet DAY: a line of that day
evicted() {
    printf 'Mar %2d %02d:00:00 h xapi: [debug|h|3|DB GC D:1|db_gc_util] Session.destroy _ref=OpaqueRef:%s uuid=u trackid=%s (last active 202603%02dT%02d:55:00Z): Timed out session in group '\''external'\'' because max number of sessions was exceeded\n' \
        "$1" "$2" "$1$2" "$(printf 'OpaqueRef:%s' "$1$2" | md5sum | cut -c 1-32)" "$1" "$3"
}
opened() {
    printf 'Mar %2d %02d:00:00 h xapi: [ info|h|7 INET :::80|s D:%012x|xapi_session] Session.create trackid=%s pool=false uname=root originator= is_local_superuser=true auth_user_sid= parent=trackid=9834f5af41c964e225f24279aefe4e49\n' \
        "$1" "$3" 7 "$(printf 'OpaqueRef:%s' "$1$2" | md5sum | cut -c 1-32)"
}
quiet() {
    printf 'Mar %2d 10:00:00 h xapi: [ info|h|7 INET :::80|s D:1|xapi_session] Session.destroy trackid=%032x\n' "$1" 1
}
{ opened 9 12 1 && evicted 9 12 5 && quiet 10; } >xensource.log.2
look xensource.log.2
is "sessions thrown out today" "$status $(found)" '1 [["sessions.limit","external","critical"]]'
like "when" "$(evidence sessions.limit)" '^0 of 400 sessions are open, 1 were thrown out, the last at 2026-03-09T12:00:00Z; the log is from'
{ opened 9 12 1 && evicted 9 12 5 && quiet 11; } >xensource.log.3
look xensource.log.3
is "or the day before yesterday" "$status $(found)" '0 [["sessions.limit","external","note"]]'
{ opened 9 12 1 && evicted 9 12 11 && quiet 11; } >xensource.log.4
look xensource.log.4
is "while they were used" "$status $(found)" '1 [["sessions.evicted-in-use","sessions","critical"],["sessions.limit","external","note"]]'
like "how many" "$(evidence sessions.evicted-in-use)" '^1 had been used in the 15 minutes before'
done_testing
