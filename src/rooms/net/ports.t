# Ports of hosts behind a real firewall, in a network of their own.

. "$XENKIT_SOURCE/tests/tap.sh"
requires jq

run xenkit net ports --json 127.0.0.1 --ports tcp/1,tcp/3-4,udp/9,tcp/3
is "every port that was asked is listed once, in its order" "$(jq -c '[.host, [.ports[] | "\(.proto)/\(.port)"]]' "$out")" \
    '["127.0.0.1",["tcp/1","tcp/3","tcp/4","udp/9"]]'
is "closed ports are status 1" "$status $(jq -c '[.ports[].state] | unique' "$out")" '1 ["closed"]'
is "members of a row" "$(jq -c '.ports[0] | keys' "$out")" '["port","proto","purpose","rtt_ms","state"]'
ok "a closed port's answer took some time" jq -e '.ports[0].rtt_ms | . > 0 and . < 1000' "$out"
run xenkit net ports --json 127.0.0.1
rows=$(awk -F '\t' '!/^#/ {
    split($3, range, "-"); to = range[2] ? range[2] : range[1] + 0
    for (port = range[1] + 0; port <= to; port++) {
        if ($2 ~ /tcp/) print "tcp/" port
        if ($2 ~ /udp/) print "udp/" port
    }
}' "$XENKIT_SOURCE/data/net/ports.tsv" | sort)
is "without a list all ports of the table" "$(jq -r '.ports[] | "\(.proto)/\(.port)"' "$out" | sort)" "$rows"
is "each with its purpose" "$(jq '[.ports[] | select(.purpose == null)] | length' "$out")" 0
if [ -f "$XENKIT_TESTDATA/xenapi/ports.tsv" ]; then
    awk -F '\t' '!/^#/ {
        n = split($3, ports, ",")
        for (i = 1; i <= n; i++) {
            split(ports[i], range, "-"); to = range[2] ? range[2] : range[1] + 0
            for (port = range[1] + 0; port <= to; port++) {
                if ($2 ~ /tcp/) print "tcp/" port
                if ($2 ~ /udp/) print "udp/" port
            }
        }
    }' "$XENKIT_TESTDATA/xenapi/ports.tsv" | sort >"$tmp/known"
    is "the table has every known port" "$(jq -r '.ports[] | "\(.proto)/\(.port)"' "$out" | sort | comm -13 - "$tmp/known")" ""
else
    skip "the table has every known port" "no test data"
fi
run xenkit net ports --json 127.0.0.1 --role ha --role backup
is "the ports of roles" "$(jq -c '[.ports[].port] | sort' "$out")" '[694,10809]'
run xenkit net ports --json 127.0.0.1 --role ha --ports 1
is "and a list beside them" "$(jq -c '[.ports[].port] | sort' "$out")" '[1,694]'
for list in '' ',' '80,' 0 65536 9-8 x/1 'tcp/'; do
    run xenkit net ports 127.0.0.1 --ports "$list"
    check "\"$list\" is no list" 2 "" "~no list of ports"
done
run xenkit net ports 127.0.0.1 --role nobody
check "a role that is none" 2 "" "~nobody"
run xenkit net ports
check "no host" 2 "" "~HOST"
run xenkit net ports --timeout 1ms 127.0.0.1
check "too short a time" 2 "" "~--timeout"
run xenkit net ports --json no-such-name.invalid --ports 80
is "a host that has no address" "$status $(jq -c '[.host, .error.exit, [.ports[] | [.port, .state]]]' "$out")" '2 ["no-such-name.invalid",2,[[80,"unreachable"]]]'

if ! command -v nft >/dev/null || ! command -v ip >/dev/null || ! command -v python3 >/dev/null; then
    skip "a host behind a firewall" "nft, ip or python3 is not installed"
    done_testing
fi
requires_network
mkdir net
if ! $apart bash -c 'nft add table inet t && ip link add xa type veth peer name xb' 2>"$tmp/why"; then
    skip "a host behind a firewall" "$(head -n 1 "$tmp/why")"
    done_testing
fi
$apart bash "$XENKIT_SOURCE/src/rooms/net/ports-host.sh" "$XENKIT" "$PWD/net" >"$tmp/host.log" 2>&1
# told NAME: its status, and each port's state
told() {
    echo "$(cat "net/$1.status") $(jq -r '[.ports[]? | "\(if .proto == "udp" then "u" else "" end)\(.port)=\(.state)"] | join(" ")' "net/$1.json")"
}
is "each kind of refusal" "$(told kinds)" \
    "1 80=open 81=filtered 82=filtered 83=closed 84=filtered 85=filtered 86=closed u90=open u91=filtered u92=open|filtered u93=open|filtered u94=open u95=closed u123=open"
is "only open ones" "$(told open)" "0 80=open u90=open"
is "over IPv6" "$(told six)" "1 80=open 81=filtered 86=closed u91=filtered u95=closed"
is "a host that refuses everything is there" "$(told prohibited)" "1 80=filtered 81=filtered"
is "a host that swallows everything" "$(told dropped | tr ' ' '\n' | sed 's/^[0-9]*=//' | sort | uniq -c | tr -s ' ' | paste -sd ,)" " 1 1, 1024 filtered"
ok "1,024 silent ports take less than five seconds" test "$(cat net/dropped.ms)" -lt 5000
is "two at a time take longer" "$(told few)" "1 1=filtered 2=filtered 3=filtered 4=filtered 5=filtered 6=filtered"
ok "as told" test "$(cat net/few.ms)" -ge 600
is "a router that knows no way" "$(told router)" "2 80=unreachable 81=unreachable"
is "a neighbour that is not there" "$(told nobody)" "2 80=unreachable 81=unreachable u53=unreachable"
is "no route" "$(told nowhere)" "2 80=unreachable"
like "is told" "$(cat net/nowhere.err)" "198.51.100.1 cannot be reached"
is "the error stands beside the ports" "$(jq -c '[.error.exit, (.ports | length)]' net/nobody.json)" "[2,3]"
ok "1,024 closed ports take less than five seconds" test "$(cat net/many.ms)" -lt 5000
ok "with times of the network, not of the crowd" jq -e '[.ports[].rtt_ms | select(. != null)] | sort | .[length / 2 | floor] < 50' net/many.json
done_testing
