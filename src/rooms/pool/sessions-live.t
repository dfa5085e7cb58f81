# The sessions of a pool that is asked for its logs, against what its clients did.
# shellcheck disable=SC2154

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires tar
export XDG_STATE_HOME="$tmp/state"
printf 'xenkit\n' >password
live() {
    run xenkit pool sessions --json --password-file password --live "$url"
}

mkdir logs
printf 'reader:r1:read-only\noperator:o1:pool-operator\n' >users
start --hosts 3 --vms 2 --log "$PWD/logs" --log-size 4K --users users
for i in 1 2 3 4 5 6 7 8; do
    session=$(login root xenkit "client-$i")
    bare=$(echo "$session" | tr -d '"')
    printf %s "$bare" | md5sum | cut -d ' ' -f 1 >>"track-$((i % 2))"
    [ $((i % 2)) = 0 ] && call session.logout "$session" >/dev/null
done
operator=$(login operator o1)
ok "the master has rotated its log" test -s logs/host-1/xensource.log.1
live
is "all hosts gave their logs" "$status $(jq -c '[.logs[] | [.host, .read]]' "$out")" '0 [["host-1",true],["host-2",true],["host-3",true]]'
is "those that are open" "$(jq -r '.sessions[] | select(.originator | startswith("client-")) | select(.fate == "open").trackid' "$out" | sort | tr '\n' ' ')" "$(sort track-1 | tr '\n' ' ')"
is "those that logged out" "$(jq -r '.sessions[] | select(.originator | startswith("client-")) | select(.fate == "logout").trackid' "$out" | sort | tr '\n' ' ')" "$(sort track-0 | tr '\n' ' ')"
is "who is logged in from a directory" "$(jq '.subjects | length' "$out")" 1
xenkit pool sessions --json logs >told.json
is "the same as the files say" "$(jq -S -c '[.sessions[] | select(.originator | startswith("xenkit") | not)]' "$out")" \
    "$(jq -S -c '[.sessions[] | select(.originator | startswith("xenkit") | not)]' told.json)"
xenkit pool sessions --json --password-file password --live "$url" logs >both.json
is "a log that is named, too, counts once" "$(jq -c '[.sessions[] | select(.originator | startswith("client-"))] | length' both.json)" 8
printf 'r1\n' >reader
run xenkit pool sessions --json --user reader --password-file reader --live "$url"
is "who may not read logs is told so" "$status $(jq -r .error.exit "$out")" "4 4"
like "and what that needs" "$(cat "$err")" 'HTTP status 403'
is "curl may not, either" "$(status "$url/host_logs_download")" 401
key=$(echo "$operator" | tr -d '"')
curl -s "$url/host_logs_download?session_id=$key" >archive
is "an archive like that of a host" "$(tar -tzf archive | head -n 2 | tr '\n' ' ')" "var/log/xensource.log var/log/xensource.log.1 "
run xenkit pool sessions --json archive
is "which can be read as a file" "$status $(jq -c '[.sessions[] | select(.originator | startswith("client-"))] | length' "$out")" "0 8"
run xenkit pool sessions --json --live "$url" --follow
check "nothing to follow there" 2 - "~--follow"
run xenkit pool sessions --json --user x archive
check "how a pool is reached is of no effect without one" 2 - "~--live"
run xenkit pool sessions
check "nothing at all" 2 "" "~--live POOL"
call host.call_plugin "$(login)" "$(result host.get_all "$(login)" | jq '.[0]')" '"xenkit"' '"fault"' '{"fault": "path=/host_logs_download,host=2,truncate=40"}' >/dev/null
live
is "one that is cut is named, the others count" "$status $(jq -c '[.logs[] | [.host, .read]]' "$out") $(jq -c '[.sessions[] | select(.originator | startswith("client-"))] | length' "$out")" \
    '0 [["host-1",true],["host-2",false],["host-3",true]] 8'
stop
start --hosts 2
live
is "a pool without logs" "$status $(jq -c '[.sessions, .restarts]' "$out")" '0 [[],0]'
stop
done_testing
