# Meshes of hosts in networks of their own: what is planted between them is named, and nothing else.

. "$XENKIT_SOURCE/tests/tap.sh"
requires jq

# ---- without a network ----

run xenkit net mesh
check "a mesh of nobody" 2 "" "~two hosts"
run xenkit net mesh a a
check "a host twice" 2 "" "~named twice"
run xenkit net mesh a -- -oProxyCommand=x
check "a name that would be an option of ssh" 2 "" "~no host's name"
run xenkit net mesh a b --pattern ring
check "a pattern that is none" 2 "" "~no pattern"
run xenkit net mesh a=127.0.0.1 b=127.0.0.1 --shell "false"
check "nobody answers" 4 "" "~none of 2 agents"
run xenkit net mesh a=127.0.0.1 b=127.0.0.1 --shell /no/such/program
check "a command that is not there" 4 "" "~No such file"
for plan in '' '[]' '{"hosts":3}' '{"hosts":[{}]}' '{"hosts":[{"name":"a"}]}' '{"hosts":[{"name":"a","command":"x"}]}' \
    '{"hosts":[{"name":"a","command":["x"],"agent":"a:1"},{"name":"b","command":["x"]}]}' \
    '{"hosts":[{"name":"a","command":["x"]},{"name":"b","command":["x"]}],"second":2}' \
    '{"hosts":[{"name":"a","command":["x"]},{"name":"b","command":["x"]}],"seconds":0}' \
    '{"hosts":[{"name":"a","command":["x"]},{"name":"b","command":["x"]}],"patterns":["round"]}'; do
    echo "$plan" >plan.json
    run xenkit net mesh --plan plan.json
    check "no plan: $plan" 2 "" "~."
done
run xenkit net agent --listen 127.0.0.1:0
check "an agent does not listen without a key" 2 "" "~would serve anybody"
echo short >key
chmod 600 key
run xenkit net agent --listen 127.0.0.1:0 --key-file key
check "a key that is too short" - "" "~less than 16 characters"
printf '{"mesh":"clock","number":7}\n' | "$XENKIT" net agent >agent.out
is "an agent says who it is, then what time it is" "$(jq -sc '[.[0].mesh, .[0].version, (.[] | select(.mesh == "clock") | .number)]' agent.out)" \
    '["hello",2,7]'
for line in garbage '{}' '{"mesh":"dance"}' '{"mesh":"run","port":70000}' '{"mesh":"result"}'; do
    run sh -c "echo '$line' | '$XENKIT' net agent"
    check "an agent hears $line" 5 - "~."
done
run sh -c "head -c 100000 /dev/zero | tr '\\0' x | '$XENKIT' net agent"
check "an agent hears a line without an end" 5 - "~no message"
# An agent whose input ends goes: it is held open until the answer is there.
told="for _ in \$(seq 1200); do ! grep -q failed '$out' || break; sleep 0.05; done"
run sh -c "echo '{\"mesh\":\"serve\",\"number\":3,\"host\":\"127.0.0.1\",\"clients\":1}' | (cat; $told) | '$XENKIT' net agent"
like "no server without a secret" "$(cat "$out")" '"failed".*"number":3.*open to anybody'
run sh -c "echo '{\"mesh\":\"run\",\"number\":3,\"secret\":\"abcdefghijklmnopqrstuv\",\"host\":\"127.0.0.1\",\"port\":1,\"seconds\":1,\"streams\":1}' | (cat; $told) | '$XENKIT' net agent"
like "a test against nobody fails with its number" "$(cat "$out")" '"failed".*"number":3.*Connection refused'

# A server's port is for those who know its secret.
secret=abcdefghijklmnopqrstuv
mkfifo told
"$XENKIT" net agent <told >secret.out 2>/dev/null &
agent=$!
on_exit kill "$agent"
exec 7>told
tell() {
    echo "$1" >&7
}
said() {
    await grep -q "$1" secret.out
}
tell '{"mesh":"serve","number":1,"host":"127.0.0.1","clients":1,"secret":"'$secret'"}'
ok "a server stands" said serving
port=$(jq -r 'select(.mesh == "serving").port' secret.out)
run xenkit net run --seconds 1 --send "127.0.0.1:$port"
check "a stranger is shown the door" 4 - "~closed unexpectedly"
if command -v iperf3 >/dev/null; then
    run iperf3 -c 127.0.0.1 -p "$port" -t 1
    check "and so is iperf3" 1 - "~closed unexpectedly"
else
    skip "and so is iperf3" "iperf3 is not installed"
fi
tell '{"mesh":"run","number":2,"host":"127.0.0.1","port":'"$port"',"seconds":1,"streams":1,"secret":"zbcdefghijklmnopqrstuv"}'
ok "and who has another secret" said '"failed","number":2.*closed unexpectedly'
tell '{"mesh":"run","number":3,"host":"127.0.0.1","port":'"$port"',"seconds":1,"streams":1,"rate_bps":10000000,"secret":"'$secret'"}'
ok "who knows it is let in" said '"ready","number":3'
tell '{"mesh":"go","number":3,"at_ns":1}'
ok "and measures" said '"result","number":3'
ok "round trips are those of echoes" jq -es 'map(select(.mesh == "result"))[0] | .echoes > 0 and .rtt_p99_ms >= .rtt_p50_ms and .rtt_p50_ms > 0' secret.out
tell '{"mesh":"end","number":1}'
tell '{"mesh":"clock","number":9}'
said '"clock"'
run xenkit net run --seconds 1 --send "127.0.0.1:$port"
check "the port is closed after the step" 4 - "~Connection refused"
exec 7>&-
wait "$agent"
is "the agent ends with its coordinator" "$?" 0

# ---- through a real sshd ----

sshd=$(command -v sshd || ls /usr/sbin/sshd 2>/dev/null)
if [ -n "$sshd" ] && command -v ssh ssh-keygen >/dev/null; then
    [ ! -w /run ] || mkdir -p /run/sshd
    cp "$XENKIT" own-agent
    for key in host user stranger; do
        ssh-keygen -q -t ed25519 -N '' -f ssh.$key
    done
    cp ssh.user.pub ssh.authorized
    chmod 600 ssh.authorized
    sshport=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$sshd" -D -e -f /dev/null -p "$sshport" -h "$PWD/ssh.host" -o ListenAddress=127.0.0.1 -o PidFile=none -o StrictModes=no \
        -o UsePAM=no -o PasswordAuthentication=no -o AuthorizedKeysFile="$PWD/ssh.authorized" 2>ssh.log &
    on_exit kill $!
    # over KEY: what starts an agent; the names of the hosts do not matter to it.
    over() {
        echo "ssh -T -i $PWD/ssh.$1 -p $sshport -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=no" \
            "-o UserKnownHostsFile=$PWD/ssh.known 127.0.0.1 $PWD/own-agent net agent"
    }
    # shellcheck disable=SC2046
    if await $(over user) </dev/null >/dev/null 2>&1; then
        run xenkit net mesh a=127.0.0.1 b=127.0.0.1 --shell "$(over user)" -t 1 -b 20M --probe-rate 0 --json
        check "agents over ssh" 0 - ""
        ok "measured each other" jq -e '[.links[].rate_bps > 10e6] == [true, true]' "$out"
        run xenkit net mesh a=127.0.0.1 b=127.0.0.1 --shell "$(over stranger)" -t 1
        check "whose key ssh does not know" 4 "" "~Permission denied"
        "$XENKIT" net mesh a=127.0.0.1 b=127.0.0.1 --shell "$(over user)" -t 30 -b 1M >/dev/null 2>&1 &
        coordinator=$!
        ok "agents stand" await sh -c "[ \$(ps -eo args | grep -c '^$PWD/own-agent net agent') -ge 2 ]"
        kill -9 $coordinator
        ok "and are gone when their coordinator was killed" await sh -c "[ \$(ps -eo args | grep -c '^$PWD/own-agent net agent') -eq 0 ]"
    else
        skip "agents over ssh" "sshd lets nobody in here"
    fi
else
    skip "agents over ssh" "sshd is not installed"
fi

# ---- in networks of their own ----

for program in ip nsenter nft; do
    command -v $program >/dev/null || {
        skip "meshes in networks of their own" "$program is not installed"
        done_testing
    }
done
requires_network
mkdir results
run $apart bash "$XENKIT_SOURCE/src/rooms/net/mesh-net.sh" "$XENKIT" "$PWD/results"
check "the hosts stood" 0 - -
cd results || exit 99
findings='[.findings[] | [.check, .object]] | sort'

# Where flows do not begin together, the machine stood still for a while.
is "a sound mesh: status, findings" "$(cat sound.status) $(jq -c "$findings | map(select(.[0] != \"mesh.spread\"))" sound.json)" '0 []'
is "each pair in each direction, and every step of the others" \
    "$(jq -c '[.links[] | .pattern] | group_by(.) | map([.[0], length])' sound.json)" '[["all",12],["incast",12],["outcast",12],["pairs",12]]'
is "nobody has two partners in a round" \
    "$(jq -c '[.links[] | select(.pattern == "pairs")] | group_by(.step) | map([.[] | .from, .to] | length == (unique | length)) | all' sound.json)" true
ok "flows of a step began together" jq -e '.start.spread_ns > 0 and .start.spread_ns < 2000000000' sound.json
ok "rates are those that were asked for" jq -e '[.links[] | select(.pattern == "pairs") | .rate_bps | . > 15e6 and . < 23e6] | all' sound.json
is "four hosts with their interfaces" "$(jq -c '[.hosts[] | [.host, .interface, .mtu, .alive]]' sound.json)" \
    '[["h1","eth0",1500,true],["h2","eth0",1500,true],["h3","eth0",1500,true],["h4","eth0",1500,true]]'
is "metrics for every flow" "$(grep -c '^xenkit_mesh_rate_bits_per_second{' sound.prom)" 48
is "a page with its heat maps" "$(grep -c '<table class="heat">' sound.html)" 3

is "one lossy and one slow link are named, and nothing else" "$(cat links.status) $(jq -c "[.findings[] | [.check, .object, (.evidence | split(\":\")[0])]] | sort" links.json)" \
    '1 [["mesh.link-bad","h1 to h7","rate"],["mesh.link-bad","h2 to h5","loss"]]'
ok "the loss is the planted one" jq -e '.links[] | select(.from == "h2" and .to == "h5") | .loss_percent | . > 1 and . < 6' links.json
like "the numbers are said" "$(jq -r '.findings[].evidence' links.json)" 'rate: [0-9.]+ Mbit/s; all 56 links have a median of (19|2[0-9])'
if [ -f host.json ]; then
    is "a slow host is named, not its links" "$(jq -c '[.findings[] | select(.check != "mesh.different") | [.check, .object]] | unique' host.json)" '[["mesh.host-bad","h3"]]'
    is "and its queue differs" "$(jq -c '[.findings[] | select(.check == "mesh.different") | .object]' host.json)" '["queue discipline"]'
else
    skip "a slow host" "the kernel has no tbf"
fi
is "another MTU is named" "$(cat mtu.status) $(jq -c "$findings" mtu.json)" '1 [["mesh.different","MTU"]]'
is "hosts without an agent are named" "$(cat dying.status) $(jq -c '[.findings[] | select(.check == "mesh.host-gone") | .object] | sort' dying.json)" '1 ["h2","h4","h5","h6"]'
like "with what their command said" "$(jq -r '.hosts[] | select(.host == "h4") | .error' dying.json)" 'no such host'
is "the others were measured to the end" "$(jq -c '[.links[] | select((.from == "h1" or .from == "h3") and (.to == "h1" or .to == "h3")) | .rate_bps > 1e6]' dying.json)" '[true,true]'
is "agents that listen" "$(cat listening.status) $(jq '[.links[] | select(.rate_bps > 1e6)] | length' listening.json)" '0 2'
is "another key" "$(cat stranger.status)" 4
like "another key: why" "$(cat stranger.err stranger.json)" 'does not have the same key'
like "a key that others may read" "$(cat readable.status readable.err readable.json)" 'others than its owner'
like "no key" "$(cat keyless.status keyless.err keyless.json)" 'key-file'
if [ -f ranks.json ]; then
    is "ranks of an MPI job" "$(jq -c '[.links[] | select(.rate_bps > 15e6) | .pattern] | group_by(.) | map([.[0], length])' ranks.json)" \
        '[["incast",12],["outcast",12],["pairs",12]]'
    is "nothing is wrong between them" "$(jq -c '[.findings[].check] - ["mesh.spread"]' ranks.json)" '[]'
    is "a rank without an agent is named, the others are measured" \
        "$(jq -c '[[.findings[] | select(.check == "mesh.host-gone") | .object[-2:]], ([.links[] | select(.pattern == "pairs" and .rate_bps > 1e6)] | length)]' orphan.json)" \
        '[["-3"],6]'
else
    skip "ranks of an MPI job" "xenkit-mpi was not built, or mpirun is not installed"
fi
is "who has no TLS gets nothing" "$(tr -d '\000-\037\025\003' <plain.answer | grep -c mesh)" 0

done_testing
