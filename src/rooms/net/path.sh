#!/bin/bash
# A way of three hops whose middle link changes: what `xenkit net path` finds on it goes into a folder.
#
#   path.sh XENKIT FOLDER        run as root of a network namespace (unshare -n, unshare -rn)
set -eu
xenkit=$1 to=$2
. "$XENKIT_SOURCE/tests/net.sh"

measure() {
    name=$1
    shift
    status=0
    "$xenkit" net path --count 5 --timeout 500ms --json "$@" >"$to/$name.json" 2>"$to/$name.err" || status=$?
    echo $status >"$to/$name.status"
}

ip link set lo up
far
one=$far
far
two=$far
far
last=$far
ip link add near type veth peer name back netns "$one"
at "$one" ip link add middle type veth peer name middle netns "$two"
at "$two" ip link add forth type veth peer name end netns "$last"
ip addr add 198.51.100.1/30 dev near
ip link set near up
ip route add default via 198.51.100.2
at "$one" ip addr add 198.51.100.2/30 dev back
at "$one" ip addr add 198.51.100.5/30 dev middle
at "$one" ip link set back up
at "$one" ip link set middle up
at "$one" ip route add default via 198.51.100.6
at "$two" ip addr add 198.51.100.6/30 dev middle
at "$two" ip addr add 198.51.100.9/30 dev forth
at "$two" ip link set middle up
at "$two" ip link set forth up
at "$two" ip route add default via 198.51.100.5
at "$last" ip addr add 198.51.100.10/30 dev end
at "$last" ip link set end up
at "$last" ip route add default via 198.51.100.9
at "$last" sh -c 'echo 0 >/proc/sys/net/ipv4/icmp_ratelimit'
for router in $one $two; do
    at "$router" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    # One complaint a second would be less than is asked for here.
    at "$router" sh -c 'echo 0 >/proc/sys/net/ipv4/icmp_ratelimit'
done

for _ in 1 2 3; do
    measure sound 198.51.100.10
    ! jq -e '[.hops[].answered] == [3, 3, 3] and .round_trip.answered == 5' "$to/sound.json" >"$to/filter" || break
done
at "$one" ip link set middle mtu 1300
at "$two" ip link set middle mtu 1300
measure told 198.51.100.10
ip route flush cache
if nft add table ip t 2>/dev/null; then
    nft 'add chain ip t c { type filter hook input priority 0; }'
    nft add rule ip t c icmp type destination-unreachable icmp code 4 drop
    measure vanish 198.51.100.10
    nft delete table ip t
fi

# A host that does not answer ICMP, first without and then with a server of ours.
at "$last" sh -c 'echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all'
ip route flush cache
measure quiet 198.51.100.10
nsenter -t "$last" -n "$xenkit" net serve --bind any --plain >"$to/server.txt" 2>&1 &
started="$started $!"
until at "$last" ss -Hltn "sport = :5201" | grep -q 5201; do sleep 0.05; done
ip route flush cache
measure served 198.51.100.10
at "$last" sh -c 'echo 0 >/proc/sys/net/ipv4/icmp_echo_ignore_all'

if at "$two" nft add table ip t 2>/dev/null; then
    at "$two" nft 'add chain ip t c { type filter hook forward priority 0; }'
    at "$two" nft add rule ip t c udp dport 33434-33700 reject with icmp type admin-prohibited
    measure barrier 198.51.100.10
    at "$two" nft delete table ip t
fi
measure no-hops --max-hops 0 198.51.100.10

if tc qdisc add dev near root tbf rate 1mbit burst 2k limit 3k 2>/dev/null; then
    python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(50):
    try:
        s.sendto(bytes(1000), ("198.51.100.10", 9))
    except OSError:
        pass'
    tc -s qdisc show dev near | sed -n 's/.*dropped \([0-9]*\).*/\1/p' >"$to/drops"
    measure queue --max-hops 0 198.51.100.10
fi

if [ -c /dev/net/tun ]; then
    "$LINK_EMULATOR" --delay 30ms --back-delay 10ms /proc/$$/ns/net "/proc/$last/ns/net" >"$to/truth" &
    started="$started $!"
    until grep -q ready "$to/truth"; do sleep 0.05; done
    ip link set wire up
    ip addr add 192.0.2.1/30 dev wire
    at "$last" ip link set wire up
    at "$last" ip addr add 192.0.2.2/30 dev wire
    # Only a machine that has no time makes it slower.
    for _ in 1 2 3 4 5; do
        measure slow 192.0.2.2
        ! jq -e '.round_trip.p50_ms <= 44' "$to/slow.json" >"$to/filter" || break
    done
fi
