# Is the pool whole? The classic plugin and `pool check`, against the simulated pool, and inside a real Nagios.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
export XDG_STATE_HOME="$tmp/state"
printf 'xenkit\n' >password

plugin() {
    run "$XENKIT" check_xenpool "$@"
}
# one STATUS REGEX NAME: exactly one line that matches, nothing on stderr
one() {
    is "$3: status" "$status" "$1"
    is "$3: one line" "$(wc -l <"$out") $(wc -c <"$err")" "1 0"
    like "$3" "$(cat "$out")" "$2"
}
perf="\\| 'live'=3;;;0;3 'dead'=0;;0;0;3 'time'=[0-9.]+s;;;0;\$"

start --log "$PWD/sim.log"
plugin -H "$url" -l root -p xenkit
one 0 "^XENPOOL OK - live hosts \\[[^]]+, [^]]+, [^]]+\\] dead hosts \\[\\] $perf" "all hosts are live"
plugin -H "${url#http://}" -p xenkit
one 0 '^XENPOOL OK' "HOST:PORT of this machine"
plugin -H"$url" --password-file=password -t 60
one 0 '^XENPOOL OK' "the password from a file"
plugin -H "$slave" -p xenkit
one 1 "\\(http://127\\.0\\.0\\.2:[0-9]+ is not the master\\), ask 127\\.0\\.0\\.1 \\|" "a slave was asked"
plugin -H "$url" -l root -p hunter2
one 3 '^XENPOOL UNKNOWN - ' "a wrong password"
nok "the password is not told" grep -q hunter2 "$out"
plugin -H "$url" -p xenkit --bogus
one 3 'no option --bogus' "an option that is none"
plugin -H "$url" -p
one 3 'needs a value' "a value that is missing"
plugin -H "$url" -p xenkit -w x
one 3 '\-w x is not understood' "a range that is none"
plugin -H "$url" -p xenkit extra
one 3 'no option extra' "a word too many"
plugin
one 3 '\-H HOST' "nothing"
plugin -h
one 3 'check_xenpool -H HOST' "help"
plugin -H 127.0.0.1:1 -p xenkit
one 3 'UNKNOWN' "nobody there"
plugin -H no-such-host.invalid -p xenkit
one 3 'no-such-host.invalid' "a name that is none"
plugin -H "https://${url#http://}" -p xenkit
one 3 'UNKNOWN' "TLS where there is none"
name=$(result session.login_with_password '"root"' '"xenkit"' '"1.0"' '"t"')
host=$(result host.get_all "$name" | jq '.[2]')
call host.set_name_label "$name" "$host" '"evil | x=1\nXENPOOL OK"' >/dev/null
plugin -H "$url" -p xenkit
one 0 'evil \? x=1\\x0aXENPOOL OK' "a name with a bar and a newline"
is "only one bar" "$(tr -cd '|' <"$out" | wc -c)" 1
is "nobody stays logged in" "$(xenkit pool sessions --json sim.log | jq -r '[.sessions[] | select(.originator == "xenkit-check") | .fate] | unique | .[]')" logout

run sh -c '"$0" check_xenpool -H "$1" -p xenkit >/dev/full' "$XENKIT" "$url"
is "what cannot be said is no OK" "$status" 3

run xenkit pool check --password-file password "$url"
check "the native verb says the same" 0 "~^XENPOOL OK - live hosts" ""
run xenkit pool check --json --password-file password "$slave"
is "and as JSON" "$status $(jq -r .check.status "$out")" "1 warning"
run xenkit pool check --password-file password 127.0.0.1:1
check "and when it cannot" 3 "~^XENPOOL UNKNOWN" ""
run xenkit pool check --json --password-file password 127.0.0.1:1
is "with a document" "$(jq -c '[.check.status, .error.exit]' "$out")" '["unknown",3]'
run xenkit pool check --warn 3:1 "$url"
check "a range that is none is bad usage there" 2 "" "~--warn"
stop

start --fault host=2,dead
plugin -H "$url" -p xenkit
one 2 "^XENPOOL CRITICAL - live hosts \\[[^],]+, [^],]+\\] dead hosts \\[[^],]+\\] \\| 'live'=2;;;0;3 'dead'=1;;0;0;3" "a dead host"
plugin -H "$url" -p xenkit -w 0 -c 1
one 1 "^XENPOOL WARNING .*'dead'=1;0;1;0;3" "one dead host is allowed to be a warning"
plugin -H "$url" -p xenkit -w 1
one 0 '^XENPOOL OK' "or nothing"
plugin -H "$url" -p xenkit -c @1:1
one 2 '^XENPOOL CRITICAL' "a range that alerts inside"
plugin -H "$slave" -p xenkit -t 30
one 3 '^XENPOOL UNKNOWN' "the dead host itself"
stop

start --fault host=1,hung
begin=$(date +%s)
plugin -H "$url" -p xenkit -t 2
one 3 '^XENPOOL UNKNOWN' "a master that hangs"
ok "within its time, which is not the ten seconds of others" test $(($(date +%s) - begin)) -lt 10
stop

# ---- inside Nagios ----

nagios=$(command -v nagios4 || command -v nagios || :)
if [ -z "$nagios" ]; then
    skip "a service of a real Nagios" "nagios4 is not installed"
    done_testing
fi
start
ln -s "$XENKIT" "$tmp/check_xenpool"
mkdir -p nagios/spool nagios/results
chmod -R 777 . "$tmp" 2>/dev/null
sed "s|/usr/lib/nagios/plugins/check_xenpool|$tmp/check_xenpool|; s|/etc/nagios4/xenpool.password|$PWD/password|
    s|pool.example.com|$url|" "$XENKIT_SOURCE/docs/nagios-xenpool.cfg" >nagios/objects.cfg
cat >>nagios/objects.cfg <<EOF
define timeperiod {
 timeperiod_name 24x7
 alias always
 monday 00:00-24:00
 tuesday 00:00-24:00
 wednesday 00:00-24:00
 thursday 00:00-24:00
 friday 00:00-24:00
 saturday 00:00-24:00
 sunday 00:00-24:00
}
define command {
 command_name alive
 command_line /bin/true
}
define contact {
 contact_name nobody
 host_notification_period 24x7
 service_notification_period 24x7
 host_notification_commands alive
 service_notification_commands alive
}
define host {
 host_name pool
 alias pool
 address $url
 check_command alive
 max_check_attempts 1
 check_period 24x7
 contacts nobody
 notification_period 24x7
}
EOF
cat >nagios/nagios.cfg <<EOF
log_file=$PWD/nagios/log
cfg_file=$PWD/nagios/objects.cfg
object_cache_file=$PWD/nagios/cache
precached_object_file=$PWD/nagios/precache
status_file=$PWD/nagios/status
status_update_interval=1
nagios_user=$(id -un)
nagios_group=$(id -gn)
command_file=$PWD/nagios/cmd
query_socket=$PWD/nagios/qh
lock_file=$PWD/nagios/lock
temp_file=$PWD/nagios/temp
temp_path=$PWD/nagios
check_result_path=$PWD/nagios/results
state_retention_file=$PWD/nagios/retention
check_external_commands=0
execute_service_checks=1
service_check_timeout=30
service_inter_check_delay_method=n
max_service_check_spread=1
check_for_updates=0
enable_notifications=0
EOF
run "$nagios" -v nagios/nagios.cfg
check "Nagios takes the service definition" 0 - -
[ "$status" = 0 ] || grep -E "Error|Warning" "$out" | head -n 5 | sed "s/^/# /"
"$nagios" nagios/nagios.cfg >nagios/out 2>&1 &
daemon=$!
on_exit eval 'kill $daemon'
# seen FIELD=REGEX: until the status file says so
seen() {
    tries=0
    until sed -n '/^servicestatus/,/}/p' nagios/status 2>/dev/null | grep -Eq "$1" || [ $tries = 2400 ]; do
        tries=$((tries + 1))
        pause
    done
    sed -n '/^servicestatus/,/}/p' nagios/status 2>/dev/null
}
seen 'plugin_output=XENPOOL' >"$tmp/service"
like "its state is OK" "$(cat "$tmp/service")" 'current_state=0$'
like "the line is what it shows" "$(cat "$tmp/service")" 'plugin_output=XENPOOL OK - live hosts \['
like "and the numbers are apart from it" "$(cat "$tmp/service")" "performance_data='live'=3;;;0;3"
kill $daemon
wait $daemon 2>/dev/null
stop
done_testing
