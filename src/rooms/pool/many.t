# 64 hosts, of which one is dead, one is deaf, one is slow, and some lie: the others are asked all the same, in time.
# shellcheck disable=SC2154

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
export XDG_STATE_HOME="$tmp/state"
printf 'xenkit\n' >password
# ask_pool COMMAND…: $took says how many seconds it was at it; one question has ten, and without an end they would be many
ask_pool() {
    begin=$(date +%s)
    run xenkit "$@" --json --password-file password "$url"
    took=$(($(date +%s) - begin))
}

start --hosts 64 --vms 64 --fault host=2,dead --fault host=3,skew=90s --fault 'path=/rrd_updates,host=5,slow=50/s' \
    --fault 'path=/rrd_updates,host=6,truncate=300' --fault 'method=host.get_servertime,nth=9,wrong-type' --fault host=7,version=old
session=$(login)
# clocks: how many, how many without a time, how many whose answer is none
clocks() {
    jq -c '[(.clocks | length), ([.clocks[] | select(.skew_s == null)] | length), ([.clocks[] | select(.error == "its answer is no time")] | length)]' "$out"
}

# Which host's call is the ninth to arrive is chance: before one of them is deaf, each of them answers.
ask_pool pool clock
is "clock: all but the dead one, and one that is no time" "$status $(clocks)" '1 [64,2,1]'
call host.call_plugin "$session" "$(result host.get_all "$session" | jq '.[0]')" '"xenkit"' '"fault"' '{"fault": "host=4,hung"}' >/dev/null
ask_pool pool check
is "check: one is dead" "$status $(jq -r .check.line "$out" | grep -oE "'(live|dead)'=[0-9]+" | tr '\n' ' ')" "2 'live'=63 'dead'=1 "
ask_pool pool versions
is "versions: all are there, one differs" "$status $(jq -c '.versions[] | select(.component == "product_version") | [(.hosts | length), ([.hosts[]] | unique | length)]' "$out")" '1 [64,2]'
ask_pool pool clock
is "clock: all but the dead one and the deaf one" "$status $(clocks)" '1 [64,2,0]'
is "clock: the one that is off" "$(jq -r '.spread.ahead' "$out")" host-3
ok "clock: in time" test $took -lt 60
ask_pool checkup
is "checkup: each of them, and nothing else" "$status $(jq -c '[.findings[] | [.check, .object]] | sort' "$out")" \
    '1 [["pool.clock-skew","host-3"],["pool.host-dead","host-2"],["pool.host-silent","host-4"],["pool.metrics","host-5"],["pool.metrics","host-6"],["pool.version","host-7"]]'
ok "checkup: in time" test $took -lt 120
diag "the check-up took $took s"
stop
done_testing
