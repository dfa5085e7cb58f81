# The check-up of a pool: each planted fault is found with its numbers, and a healthy pool shows nothing.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
. "$XENKIT_SOURCE/src/rooms/checkup/look.sh"
found() {
    jq -c '[.findings[] | [.check, .object]]' "$out"
}

start --hosts 5 --log "$PWD/xensource.log"
look "$url"
is "a healthy pool: nothing" "$status $(found)" '0 []'
look "$slave"
is "its slave: a note where the master is" "$status $(found)" "0 [[\"pool.not-master\",\"$slave\"]]"
session=$(login)
host=$(result host.get_all "$session" | jq '.[1]')
call host.disable "$session" "$host" >/dev/null
look "$url"
like "a disabled host" "$(found)" '^\[\["pool.host-disabled","host-'
call host.enable "$session" "$host" >/dev/null
stop
look "$url"
is "a pool that is not there: critical, and the run goes on" "$status $(found)" "1 [[\"pool.unreachable\",\"$url\"]]"
look "$PWD/xensource.log"
is "its log is a target as well" "$status $(found)" '0 []'

start --hosts 6 --log "$PWD/xensource.log" --fault host=2,dead --fault host=3,skew=90s --fault host=4,version=old --fault task=stuck \
    --fault 'client=leak,rate=200,originator=backup-script'
tries=0
until [ "$(grep -c 'Session.create.*originator=backup-script' xensource.log 2>/dev/null)" -ge 520 ] || [ $tries = 1200 ]; do
    tries=$((tries + 1))
    pause
done
begin=$(date +%s)
look "$url" xensource.log
ok "a dead host keeps nobody waiting" test $(($(date +%s) - begin)) -lt 90
is "each planted fault, and nothing else" "$(jq -r '[.findings[].check] | unique | join(" ")' "$out")" \
    "pool.clock-skew pool.host-dead pool.sessions pool.task-stuck pool.version sessions.limit"
is "status" "$status" 1
is "one host each" "$(jq -c '[.findings[] | select(.check | test("host-dead|clock|version")) | .object] | sort' "$out")" '["host-2","host-3","host-4"]'
like "how far the clock is off" "$(evidence pool.clock-skew)" 'its clock is (89|90)\.[0-9] s ahead of this machine'
like "what is older" "$(evidence pool.version)" 'product_version .*, the master '
like "how long the task has waited" "$(evidence pool.task-stuck)" 'pending for (19|20) h'
like "whose sessions fill the limit" "$(found)" '"sessions.limit","originator:backup-script"'
stop

start --hosts 1 --fault 'sr=Local*,full'
look "$url"
is "a full repository" "$(jq -c '[.findings[] | [.check, .severity]] | unique' "$out")" '[["pool.space","critical"]]'
stop

# ---- the log's own findings ----

for i in $(seq 30); do
    printf 'Mar  9 %02d:00:00 h xapi: [ info|h|7 INET :::80|s D:%012x|xapi_session] Session.create trackid=%032x pool=false uname=root originator=backup is_local_superuser=true auth_user_sid= parent=trackid=9834f5af41c964e225f24279aefe4e49\n' $((i / 3)) "$i" "$i"
done >xensource.log.1
look xensource.log.1
is "a leak in a log" "$status $(found)" '1 [["sessions.leak","originator backup, user root"]]'
like "with its numbers" "$(evidence sessions.leak)" 'of 30 sessions 0 were logged out of, 30 are open'
run xenkit checkup --list --json
is "the checks are listed" "$(jq -r '.checks[].id' "$out" | grep -cE '^(pool|sessions)\.')" 26
done_testing
