# What the simulated hosts log, in the words of each release.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"

trackid() {
    printf %s "$1" | tr -d '"' | md5sum | cut -d' ' -f1
}
null=$(trackid OpaqueRef:NULL)

# scenario ERA: three logins, of which the collector ends one, a logout, a wrong password, a wrong session, a task
scenario() {
    rm -f log
    start --era "$1" --log log --limit 2 --gc-interval 300ms --now 1700000000 --seed 7
    a=$(login root xenkit leak) b=$(login root xenkit leak) c=$(login root xenkit leak)
    login root wrong leak >/dev/null
    soon grep -q 'Session.destroy trackid' log
    call session.logout "$c" >/dev/null
    call VM.get_all '"OpaqueRef:gone"' >/dev/null
    vm=$(result VM.get_all_records "$b" | jq 'to_entries | map(select(.value.power_state == "Running" and (.value.is_control_domain | not))) | .[0].key')
    call VM.start "$b" "$vm" false false >/dev/null
    result Async.VM.clone "$b" "$vm" '"x"' >/dev/null
    stop
}

# form NAME ERA REGEX…: each is the whole of some line
form() {
    name=$1 era=$2
    shift 2
    scenario "$era"
    for line; do
        like "$name: $(echo "$line" | sed 's/.*\] //; s/\\//g' | cut -c1-60)" "$(cat log)" "^$line\$"
    done
    is "$name: no session that lives is named" "$(grep -c "$(echo "$b" | tr -d '"')" log)" 0
}

inside='\[20231114T22:13:2[0-9]\.[0-9]{3}Z\|'
prefix='Nov 14 22:13:2[0-9] host-1 xapi: \['
task='D:[0-9a-f]{12}'
agent='HTTP request from Internet with User-Agent: curl/[0-9.]+'
ref='OpaqueRef:[0-9a-f-]{36}'
id='[0-9a-f]{32}'
form 6.0 6.0 \
    "$inside info\|host-1\|[0-9]+ \|server_init $task\|xapi\] \(Re\)starting xapi\.\.\." \
    "${inside}debug\|host-1\|[0-9]+ INET 0\.0\.0\.0:80\|session\.login_with_password $task\|xapi\] Successful local authentication user root from $agent" \
    "$inside info\|host-1\|[0-9]+ INET 0\.0\.0\.0:80\|session\.login_with_password $task\|xapi\] Session\.create trackid=$id pool=false uname=root is_local_superuser=true auth_user_sid= parent=trackid=$null" \
    "${inside}debug\|host-1\|[0-9]+ db_gc\|DB GC $task\|db_gc\] Number of disposable sessions in database \(3/3\) exceeds limit \(2\): will delete the oldest" \
    "${inside}debug\|host-1\|[0-9]+ db_gc\|DB GC $task\|db_gc\] Session\.destroy _ref=$ref uuid=[0-9a-f-]{36} trackid=$id \(last active 20231114T22:13:2[0-9]Z\): Timed out session because max number of sessions was exceeded" \
    "$inside info\|host-1\|[0-9]+ db_gc\|DB GC $task\|xapi\] Session\.destroy trackid=$id"
is "what the collector ends is the oldest" "$(sed -n 's/.*Session.destroy _ref=\([^ ]*\).* trackid=\([^ ]*\).*/\1 \2/p' log)" \
    "$(echo "$a" | tr -d '"') $(trackid "$a")"
is "a logout is told by its trackid" "$(grep -c "session.logout .*Session.destroy trackid=$(trackid "$c")" log)" 1
form 6.1 6.1 "$prefix info\|host-1\|[0-9]+ INET 0\.0\.0\.0:80\|session\.login_with_password $task\|xapi\] Session\.create trackid=$id pool=false uname=root is_local_superuser=true auth_user_sid= parent=trackid=$null"
form 6.2 6.2 \
    "$prefix info\|host-1\|[0-9]+ INET 0\.0\.0\.0:80\|session\.login_with_password $task\|xapi\] Session\.create trackid=$id pool=false uname=root originator=leak is_local_superuser=true auth_user_sid= parent=trackid=$null" \
    "${prefix}debug\|host-1\|[0-9]+ db_gc\|DB GC $task\|db_gc\] Number of disposable sessions in database \(3/3\) exceeds limit \(2\): will delete the oldest"
form 6.5 6.5 \
    "${prefix}debug\|host-1\|[0-9]+ db_gc\|DB GC $task\|db_gc\] Number of disposable sessions in group 'originator:leak' in database \(3/3\) exceeds limit \(2\): will delete the oldest" \
    "${prefix}debug\|host-1\|[0-9]+ db_gc\|DB GC $task\|db_gc\] session_log: active_sessions=[0-3] \(0 pool, 0 anon, [0-3] named - [01] groups\)" \
    "${prefix}debug\|host-1\|[0-9]+ INET 0\.0\.0\.0:80\|session\.login_with_password $task\|xapi\] Success: local auth, user root from $agent" \
    "${prefix}error\|host-1\|[0-9]+ INET 0\.0\.0\.0:80\|VM\.start $task\|backtrace\] Raised Server_error\(VM_BAD_POWER_STATE, \[ $ref; halted; running \]\)"
form 7.0 7.0 "$prefix info\|host-1\|[0-9]+ INET :::80\|session\.logout $task\|xapi\] Session\.destroy trackid=$id"
form 8.0 8.0 "${prefix}debug\|host-1\|[0-9]+ db_gc\|DB GC $task\|db_gc_util\] Session\.destroy _ref=$ref uuid=[0-9a-f-]{36} trackid=$id \(last active 20231114T22:13:2[0-9]Z\): Timed out session in group 'originator:leak' because max number of sessions was exceeded"
form 8.2 8.2 "$prefix info\|\|[0-9]+ INET :::80\|session\.logout $task\|xapi_session\] Session\.destroy trackid=$id"
is "no words about wrong sessions yet" "$(grep -c 'Session check' log)" 0
form 2024 2024 \
    "${prefix}debug\|\|[0-9]+ \|server_init $task\|xapi\] \(Re\)starting xapi, pid: [0-9]+" \
    "$prefix info\|\|[0-9]+ HTTP 127\.0\.0\.1->:::80\|session\.login_with_password $task\|xapi_session\] Session\.create trackid=$id pool=false uname=root originator=leak is_local_superuser=true auth_user_sid= parent=trackid=$null" \
    "$prefix info\|\|[0-9]+ HTTP 127\.0\.0\.1->:::80\|session\.login_with_password $task\|xapi_session\] Failed to locally authenticate user root from $agent: Authentication failure" \
    "$prefix info\|\|[0-9]+ HTTP 127\.0\.0\.1->:::80\|VM\.get_all $task\|session_check\] Session check failed: the client used an illegal or expired session ref 'OpaqueRef:gone'" \
    "$prefix info\|\|[0-9]+ HTTP 127\.0\.0\.1->:::80\|Async\.VM\.clone R:[0-9a-f]{12}\|dispatcher\] spawning a new thread to handle the current task \(trackid=$(trackid "$b")\)"

# ---- foreign text in a line ----

# injected ERA: the lines that a user agent with a line feed and an originator with one leave
injected() {
    rm -f log
    start --era "$1" --log log --hosts 1
    login 'x\nJan  1 00:00:00 h xapi: [ info||1 ||xapi] Session.destroy trackid=evil\u0001\\' no >/dev/null
    stop
    grep -A1 'Failed to locally' log
}
is "6.0: a line feed makes a line" "$(injected 6.0 | sed -n 2p | cut -c1-22)" 'Jan  1 00:00:00 h xapi'
like "6.2: it makes a line behind the prefix of the syslog" "$(injected 6.2 | sed -n 2p)" '^[A-Z][a-z]{2} .. ..:..:.. host-1 xapi: Jan  1 00:00:00 h xapi: \[ info'
like "7.3: the syslog writes its number" "$(injected 7.3)" 'user x#012Jan  1.*trackid=evil#001\\ from'
like "2024: the server escapes it" "$(injected 2024)" 'user x\\x0AJan  1.*trackid=evil\\x01\\\\ from'

# ---- who it was ----

printf 'ann:secret:pool-operator\n' >users
start --tls --users users --log tls-log --hosts 1
curl -sk -d '{"id":1,"method":"session.login_with_password","params":["ann","secret"]}' "$url/jsonrpc" >/dev/null
curl -sk -u root:xenkit "$url/host_rrd" >/dev/null
stop
like "HTTPS is said so, and so is a user of the directory" "$(cat tls-log)" \
    'HTTPS 127\.0\.0\.1->:::80\|session\.login_with_password D:[0-9a-f]*\|xapi_session\] Successful external authentication user ann \(subject_identifier, S-[0-9-]+ from HTTP request from Internet with User-Agent: curl'
like "whose session is none of root's" "$(cat tls-log)" 'Session\.create .* uname=ann originator= is_local_superuser=false auth_user_sid=S-[0-9-]+ parent='
is "a password for one request makes a session and ends it" "$(grep -c "$(sed -n 's/.*Session.create \(trackid=[^ ]*\) .*using Basic auth.*/\1/p' tls-log)" tls-log)" 2

# ---- files ----

mkdir dir
start --log dir --hosts 2
master=$(login)
new=$(result host.get_all_records "$master" | jq 'to_entries | map(select(.value.name_label == "host-2")) | .[0].key')
call pool.designate_new_master "$master" "$new" >/dev/null
stop
is "a folder has a log for each host" "$(ls dir)" 'host-1
host-2'
is "each starts again with another master" "$(cat dir/*/xensource.log | grep -c 'Re)starting')" 4
is "sessions end without a line" "$(cat dir/*/xensource.log | grep -c 'Session.destroy')" 0

mkdir small
cd small || exit
start --log log --log-size 4k --hosts 1
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    echo '{"id":1,"method":"session.login_with_password","params":["nobody","no"]}'
done >logins
for _ in 1 2 3; do
    while read -r body; do curl -s -d "$body" "$url/jsonrpc"; done <logins >/dev/null
done
stop
is "nothing is lost when logs are rotated" "$({
    cat log log.1
    gzip -dc log.*.gz
} | grep -c 'Failed to locally')" 60
ok "the first old log is plain, the next are packed" test -f log.1 -a -f log.2.gz -a ! -f log.2 -a ! -f log.1.gz
is "none is larger than was said" "$(find . -name 'log*' -size +4096c)" ''
before=$(cat log log.1 | wc -l)
start --log log --hosts 1
stop
ok "another start goes on with the same file" test "$(cat log log.1 | wc -l)" -gt "$before"
cd .. || exit

run xenkit sim --log missing/log
check "a log that cannot be written" 6 "" "~missing/log"
run xenkit sim --era 5
check "an era that is none" 2 "" "~era"
run xenkit sim --log x --log-size 1k
check "a log that is rotated too often" 2 "" "~--log-size"
run xenkit sim --seed x
check "a seed that is none" 2 "" "~--seed"
done_testing
