# Ports of hosts that this machine needs: a firewall in a namespace shuts one of each host in its own way.
# shellcheck disable=SC2154

. "$XENKIT_SOURCE/tests/tap.sh"
requires unshare ip nft curl jq python3
unshare -n nft list ruleset >/dev/null 2>&1 || skip_all "namespaces with a firewall cannot be made here"
export XDG_STATE_HOME="$tmp/state"
cat >inside.sh <<'END'
ip link set lo up
mkfifo never
python3 -c '
import socket, time
keep = []
for host in (1, 2, 3, 4, 5, 7, 8):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.%d" % host, 22)); s.listen(); keep.append(s)
open("ready", "w").close()
time.sleep(600)' &
shell=$!
"$XENKIT" sim --plain --hosts 8 --vms 3 --tls --port 443 >sim 2>sim.err &
pool=$!
trap 'kill $shell $pool' EXIT
until [ -s sim ] && [ -e ready ]; do read -rt 0.05 _ <>never; done
call() {
    curl -sk https://127.0.0.1/jsonrpc -H 'Content-Type: application/json' \
        -d "{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"$1\",\"params\":$2}" | jq -c .result
}
session=$(call session.login_with_password '["root","xenkit"]')
seven=$(call host.get_by_name_label "[$session,\"host-7\"]" | jq '.[0]')
call host.disable_ssh "[$session,$seven]" >disabled
look() {
    "$XENKIT" checkup --json --insecure --password-file password https://127.0.0.1 >"$1" 2>"$1.err"
    echo $? >"$1.status"
}
look healthy
nft -f - <<'EOF'
table inet t {
    chain in {
        type filter hook input priority 0;
        ip daddr 127.0.0.2 tcp dport 443 reject with tcp reset
        ip daddr 127.0.0.3 tcp dport 443 drop
        ip daddr 127.0.0.4 tcp dport 443 reject with icmp type host-prohibited
        ip daddr 127.0.0.5 tcp dport 22 reject with icmp type host-prohibited
        ip daddr 127.0.0.7 tcp dport 22 drop
        ip daddr 127.0.0.8 tcp dport 80 drop
    }
}
EOF
look shut
"$XENKIT" pool ports --json --insecure --password-file password https://127.0.0.1 >ports 2>ports.err
echo $? >ports.status
END
printf 'xenkit\n' >password
unshare -n bash inside.sh 2>inside.err
[ -s shut ] && [ -s ports ] || diag "$(cat sim.err inside.err ./*.err)"
found() {
    jq -c '[.findings[] | [.check, .object, .severity]] | sort' "$1"
}
evidence() {
    jq -r --arg o "$1" '.findings[] | select(.check == "pool.port" and .object == $o) | .evidence' shut
}
is "a host where no shell listens is a note; one that is told to let none in is nothing" "$(cat healthy.status) $(found healthy)" \
    '0 [["pool.port","host-6","note"]]'
is "each host that is shut, and no other" "$(cat shut.status) $(found shut)" \
    '1 [["pool.port","host-2","warning"],["pool.port","host-3","warning"],["pool.port","host-4","warning"],["pool.port","host-5","note"],["pool.port","host-6","note"]]'
like "refused" "$(evidence host-2)" '^port tcp/443 at 127\.0\.0\.2 is closed from this machine: XenAPI over TLS'
like "swallowed" "$(evidence host-3)" '^port tcp/443 at 127\.0\.0\.3 is filtered from this machine'
like "prohibited" "$(evidence host-4)" '^port tcp/443 at 127\.0\.0\.4 is filtered from this machine'
like "the shell's" "$(evidence host-5)" '^port tcp/22 at 127\.0\.0\.5 is filtered from this machine: shell'
is "the same by pool ports" "$(cat ports.status) $(jq -c '[.ports[] | select(.state != "open") | [.host, .port, .state]] | sort' ports)" \
    '1 [["host-2",443,"closed"],["host-3",443,"filtered"],["host-4",443,"filtered"],["host-5",22,"filtered"],["host-6",22,"closed"]]'
is "which asks no shell that is not there" "$(jq -c '[.ports[] | select(.host == "host-7").port]' ports)" '[443]'
done_testing
