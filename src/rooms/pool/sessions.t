# Sessions from logs: a day of each release with its truth beside it, and the ways that logs come in.

. "$XENKIT_SOURCE/tests/tap.sh"
requires python3 jq gzip tar bzip2
day() {
    python3 "$XENKIT_SOURCE/src/rooms/pool/sessions-day.py" "$@"
}

# The truth and what was told, in one form.
# shellcheck disable=SC2016
true_form='[.sessions | to_entries[] | .value + {trackid: .key}] | sort_by(.trackid)'
told_form='[.sessions[] | {user, originator, via, user_agent, pool, fate, created, trackid}] | sort_by(.trackid)'
agree() {
    jq -S "{s: ($true_form), u: (.destroyed_unseen | sort), r: .restarts}" "$2/truth.json" >"$tmp/truth"
    jq -S "{s: ($told_form), u: (.destroyed_unseen | sort), r: .restarts}" "$3" >"$tmp/told"
    ok "$1" cmp "$tmp/truth" "$tmp/told"
    diff "$tmp/truth" "$tmp/told" | head -n 10 | sed 's/^/# /'
}

for era in 6.0 6.1 6.2 6.5 7 8 8.3; do
    day $era 11 10000 "$tmp/$era"
    run xenkit pool sessions --json "$tmp/$era/log"
    agree "a day of 10,000 sessions, release $era" "$tmp/$era" "$out"
done
for seed in 1 2 3; do
    day 8.3 $seed 200 "$tmp/s$seed"
    day 6.0 $seed 200 "$tmp/o$seed"
    xenkit pool sessions --json "$tmp/s$seed/log" >"$tmp/s.json"
    agree "a short day, seed $seed" "$tmp/s$seed" "$tmp/s.json"
    xenkit pool sessions --json "$tmp/o$seed/log" >"$tmp/s.json"
    agree "a short day of old, seed $seed" "$tmp/o$seed" "$tmp/s.json"
done
is "days have every fate" "$(cat "$tmp"/*/truth.json | jq -rs '[.[].sessions[].fate] | unique | join(" ")')" \
    "gc-age gc-limit logout open restart"

# ---- the same logs, handed over in other ways ----

d=$tmp/s3
xenkit pool sessions --json "$d/log" | jq -S 'del(.summary)' >"$tmp/want"
same() {
    jq -S 'del(.summary)' "$out" >"$tmp/got"
    ok "$1" cmp "$tmp/want" "$tmp/got"
}
# shellcheck disable=SC2046
run xenkit pool sessions --json $(find "$d/log" -type f | sort -r)
same "one by one, in another order"
# shellcheck disable=SC2046
run xenkit pool sessions --json "$d/log" $(find "$d/log" -type f)
same "named twice"
cp -r "$d/log" "$tmp/copy"
run xenkit pool sessions --json "$d/log" "$tmp/copy"
same "with a copy of each"
tar -C "$d" -cf status.tar log
run xenkit pool sessions --json status.tar
same "from a tar archive"
tar -C "$d" -czf status.tar.gz log
run xenkit pool sessions --json status.tar.gz
same "from a compressed one"
tar -C "$d" -cjf status.tar.bz2 log
run xenkit pool sessions --json status.tar.bz2
same "from one packed with bzip2, as status reports are"
head -c 3000 status.tar.bz2 >cut.tar.bz2
run xenkit pool sessions --json cut.tar.bz2
check "which is cut" 0 - "~cut.tar.bz2: the (archive is|compressed data are) cut"
mkdir report && cp status.tar.gz report/
run xenkit pool sessions --json report
same "that lies in a folder"
# shellcheck disable=SC2024
xenkit pool sessions --json - <status.tar.gz >"$out"
same "from standard input"
head -c 2000 status.tar.gz >cut.tar.gz
run xenkit pool sessions --json cut.tar.gz
check "an archive that is cut is told, and read so far" 0 - "~cut.tar.gz: the (archive is|compressed data are) cut"
ok "and is a document" jq -e '.sessions | type == "array"' "$out"

mkdir links && ln -s "$d"/log/piece.* links/ && ln -s .. links/round && ln -s nowhere links/nothing
[ ! -d "$d/log/deep" ] || ln -s "$d"/log/deep/* links/
run xenkit pool sessions --json links
same "from a folder of links"
printf '\375\067zXZ\000rest' >report/packed.xz
run xenkit pool sessions --json report
same "beside a file that is packed in another way"
like "which is told" "$(cat "$err")" 'report/packed\.xz is packed with xz'
run xenkit pool sessions report/packed.xz
check "and refused when it is all there is" 3 - "~unpack it first"

# ---- shape ----

: >empty
run xenkit pool sessions --json empty
is "an empty log gives empty lists" "$(jq -c '[.sessions, .destroyed_unseen, .restarts]' "$out")" '[[],[],0]'
is "with status 0" "$status" 0
head -c 100000 /dev/urandom >random
run xenkit pool sessions --json random
check "so do random bytes" 0 - ""
run xenkit pool sessions --json missing
check "a log that is not there" 6 - "~missing"
run xenkit pool sessions
check "no log" 2 "" "~LOG"

cat >one.log <<'EOF'
Dec 31 23:59:58 h xapi: [ info|h|7 INET 0.0.0.0:80|session.login_with_password D:000000000001|xapi] Session.create trackid=00000000000000000000000000000001 pool=false uname=root originator= is_local_superuser=true auth_user_sid= parent=trackid=9834f5af41c964e225f24279aefe4e49
Jan  1 00:00:02 h xapi: [ info|h|8 UNIX /var/lib/xcp/xapi|x D:000000000002|xapi] Session.create trackid=00000000000000000000000000000002 pool=true uname= originator= is_local_superuser=true auth_user_sid= parent=trackid=00000000000000000000000000000001
Jan  1 00:10:00 h xapi: [ info|h|8 INET 0.0.0.0:80|x D:000000000003|xapi] Session.destroy trackid=00000000000000000000000000000001
EOF
touch -d '2024-01-01 00:10:00' one.log
run xenkit pool sessions --json one.log
is "the year comes from the file" "$(jq -c '[.sessions[] | [.created, .last_seen, .ended, .via, .pool, .user, .originator, .user_agent, .parent]]' "$out")" \
    '[["2023-12-31T23:59:58Z","2024-01-01T00:10:00Z","2024-01-01T00:10:00Z","INET",false,"root","",null,"9834f5af41c964e225f24279aefe4e49"],["2024-01-01T00:00:02Z","2024-01-01T00:00:02Z",null,"UNIX",true,"","",null,"00000000000000000000000000000001"]]'
run xenkit pool sessions --csv one.log
is "CSV has one row a session" "$(sed -n '2s/,.*//p' "$out")" 00000000000000000000000000000001
run xenkit pool sessions --list one.log
check "a table lists them when asked" 0 "~00000000000000000000000000000002" ""
run xenkit pool sessions one.log
check "and otherwise not" 0 "~Nobody leaves sessions behind" ""
nok "no trackid is in it" grep -q 00000000000000000000000000000002 "$out"

# Another host's restart ends nobody's sessions but its own.
sed -n '1,2p' one.log >two.log
echo "Jan  1 00:20:00 other xapi: [ info|other|0|| xapi] (Re)starting xapi, pid: 7" >>two.log
echo "Jan  1 00:20:00 other xapi: [ info|other|0||xapi] (Re)starting xapi, pid: 7" >>two.log
run xenkit pool sessions --json two.log
is "a restart of another host" "$(jq -c '[.restarts, [.sessions[].fate]]' "$out")" '[2,["open","open"]]'

# ---- the diagnosis: what is planted is found, near misses are not ----

# login N HOUR ORIGINATOR; logout N
login() {
    printf 'Mar  9 %02d:%02d:00 h xapi: [ info|h|7 INET :::80|s D:%012x|xapi_session] Success: local auth, user root from HTTP request from Internet with User-Agent: tool/1\n' \
        $(($2 % 24)) $(($1 % 60)) "$1"
    printf 'Mar  9 %02d:%02d:00 h xapi: [ info|h|7 INET :::80|s D:%012x|xapi_session] Session.create trackid=%032x pool=false uname=root originator=%s is_local_superuser=true auth_user_sid= parent=trackid=9834f5af41c964e225f24279aefe4e49\n' \
        $(($2 % 24)) $(($1 % 60)) "$1" "$1" "$3"
}
logout() {
    printf 'Mar  9 %02d:59:59 h xapi: [ info|h|7 INET :::80|s D:%012x|xapi_session] Session.destroy trackid=%032x\n' $(($2 % 24)) "$1" "$1"
}
for i in $(seq 9); do login "$i" 1 nine; done >near.log
for i in $(seq 100 199); do
    login "$i" 1 busy
    [ "$i" -lt 119 ] || logout "$i" 1
done >>near.log
login 500 23 last >>near.log
run xenkit pool sessions --json near.log
is "nine that are left, and 19 of 100, are nobody's leak" "$(jq -c '.diagnosis' "$out")" '[]'
{
    grep -v "originator=last" near.log
    login 10 1 nine
    login 200 1 busy
    logout 118 22
    login 500 23 last
} >leak.log
run xenkit pool sessions --json leak.log
is "the tenth is" "$(jq -r '.diagnosis[].about' "$out")" "originator nine, user root, user agent tool/1"
like "with its numbers" "$(jq -r '.diagnosis[0].evidence' "$out")" "opened 10 sessions .* logged out of 0; 10 are open, 10 of them for more than an hour"
like "and what to change" "$(jq -r '.diagnosis[0].advice' "$out")" "call session.logout"
run xenkit pool sessions leak.log
check "people read it, too" 0 "~originator nine, user root, user agent tool/1: leaks sessions" ""

for i in $(seq 300); do login "$i" $((1 + i / 60)) ""; done >full.log
run xenkit pool sessions --json full.log
is "three quarters of a limit, and when it is reached" \
    "$(jq -c '.limits[0] | [.group, .open, .limit, .limit_from, .share_percent, (.eviction_in_ns / 60e9 | round)]' "$out")" \
    '["external",300,400,"release",75,100]'
like "are told" "$(jq -r '.diagnosis[].evidence' "$out")" 'growing by 60\.[0-9] an hour the limit is reached in 1 h 40 m'
like "and an originator is advised" "$(jq -r '.diagnosis[0].advice' "$out")" 'originator'

# Before 2013 a user had no limit.
for i in $(seq 49); do login "$i" 1 "" | sed 's/uname=root originator= /uname=eve /;s/xapi_session/xapi/;s/^.*Success.*$//'; done >old.log
run xenkit pool sessions --json old.log
is "a release without limits for users" "$(jq -c '[.limits[] | [.group, .open, .limit, .share_percent]]' "$out")" '[["username:eve",49,null,null]]'
sed 's/uname=eve /uname=eve originator= /' old.log >later.log
run xenkit pool sessions --json later.log
is "and one with them" "$(jq -c '[.limits[] | [.group, .open, .limit, .share_percent]]' "$out")" '[["username:eve",49,50,98]]'

# Evicted in use: last used 14 minutes before; used again afterwards; 16 minutes before is not in use.
evict() {
    printf 'Mar  9 09:00:00 h xapi: [debug|h|3|DB GC D:1|db_gc_util] Session.destroy _ref=%s uuid=u trackid=%s (last active 20260309T08:%s:00Z): Timed out session in group '\''external'\'' because max number of sessions was exceeded\n' \
        "$1" "$(printf %s "$1" | md5sum | cut -c 1-32)" "$2"
}
create_ref() {
    login 1 1 "" | sed -n "2s/trackid=[0-9a-f]* pool/trackid=$(printf %s "$1" | md5sum | cut -c 1-32) pool/p"
}
{
    for ref in OpaqueRef:a OpaqueRef:b OpaqueRef:c; do create_ref $ref; done
    evict OpaqueRef:a 46
    evict OpaqueRef:b 43
    evict OpaqueRef:c 43
    echo "Mar  9 09:00:05 h xapi: [ info|h|3|x D:2|xapi_session] Session check failed: the client used an illegal or expired session ref 'OpaqueRef:c'"
    echo "Mar  9 09:00:06 h xapi: [ info|h|3|x D:2|xapi_session] Session check failed: the client used an illegal or expired session ref 'OpaqueRef:c'"
    echo "Mar  9 09:00:06 h xapi: [ info|h|3|x D:2|xapi_session] Session check failed: the client used an illegal or expired session ref 'OpaqueRef:d'"
} >evicted.log
run xenkit pool sessions --json evicted.log
is "sessions that were evicted in use" "$(jq -c '[.summary.evicted_in_use, .summary.refused_after_end, [.sessions[].in_use]]' "$out")" \
    '[2,2,[true,false,false]]'
is "the collector's year counts" "$(jq -r '.sessions[0].created' "$out")" "2026-03-09T01:01:00Z"

# ---- follow ----

: >live.log
head -n 1 one.log >>live.log
"$XENKIT" pool sessions --follow --jsonl live.log >"$tmp/live" 2>"$tmp/live.err" &
pid=$!
on_exit eval 'kill $pid'
mkfifo "$tmp/never"
# wait_for N: until N events are told
wait_for() {
    tries=0
    until [ "$(wc -l <"$tmp/live")" -ge "$1" ] || [ $tries = 1200 ]; do
        tries=$((tries + 1))
        read -rt 0.05 _ <>"$tmp/never" || :
    done
}
# What is there at the beginning is not told: it has to be read before the next line comes.
# is_read: it has live.log open and sleeps, which it does where nothing is left to read
is_read() {
    for fd in "/proc/$pid/fd/"*; do
        if [ "$(readlink "$fd")" = "$PWD/live.log" ]; then
            grep -q "^State:[^A-Z]*S" "/proc/$pid/status"
            return
        fi
    done
    return 1
}
await is_read
sed -n 2p one.log | head -c 100 >>live.log
sed -n 2p one.log | tail -c +101 >>live.log
wait_for 1
is "a line that comes in two parts" "$(sed -n 1p "$tmp/live" | jq -c '[.event, .trackid, .open]')" '["create","00000000000000000000000000000002",2]'
mv live.log live.log.1
sed -n 3p one.log >>live.log.1
wait_for 2
sed 's/00000001 pool/00000003 pool/;1!d' one.log >live.log
wait_for 3
is "the end of the old log, and the new log" "$(sed -n '2,3p' "$tmp/live" | jq -c '[.event, .trackid[-1:], .open]' | paste -sd ' ')" \
    '["logout","1",1] ["create","3",2]'
: >live.log
read -rt 0.5 _ <>"$tmp/never" || :
echo "Jan  1 00:20:00 h xapi: [ info|h|0||xapi] (Re)starting xapi..." >>live.log
wait_for 6
is "a log that was cut in place" "$(sed -n '4,$p' "$tmp/live" | jq -r .event | sort | paste -sd ' ')" "restart restart restart"
kill -TERM $pid
wait $pid
is "it ends when it is told to" "$?" 143
run xenkit pool sessions --follow status.tar
check "an archive cannot be followed" 2 - "~no plain file"
done_testing
