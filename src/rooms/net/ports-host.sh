#!/bin/bash
# In a network of its own: a host behind a firewall, asked about its ports. Results go into the folder that is named.
#
#   ports-host.sh XENKIT FOLDER
set -eu
xenkit=$1 to=$2

ip link set lo up
ip link add name left type veth peer name right
ip addr add 192.0.2.1/24 dev left
ip -6 addr add 2001:db8::1/64 dev left nodad
ip link set left up
ip link set right up
nft -f - <<'EOF'
table inet t {
    chain in {
        type filter hook input priority 0;
        ip daddr 127.0.0.2 tcp dport 81 reject with icmp type host-prohibited
        ip daddr 127.0.0.2 tcp dport 82 drop
        ip daddr 127.0.0.2 tcp dport 83 reject with tcp reset
        ip daddr 127.0.0.2 tcp dport 84 reject with icmp type port-unreachable
        ip daddr 127.0.0.2 tcp dport 85 reject with icmp type admin-prohibited
        ip daddr 127.0.0.2 udp dport 91 reject with icmp type host-prohibited
        ip daddr 127.0.0.2 udp dport 92 drop
        ip daddr 127.0.0.3 reject with icmp type host-prohibited
        ip daddr 127.0.0.4 drop
        ip daddr 127.0.0.5 reject with icmp type host-unreachable
        ip6 daddr ::1 tcp dport 81 reject with icmpv6 type admin-prohibited
        ip6 daddr ::1 udp dport 91 reject with icmpv6 type admin-prohibited
    }
}
EOF
python3 - "$to/ready" <<'EOF' &
import select, socket, sys
def tcp(family, host):
    s = socket.socket(family); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((host, 80)); s.listen(64); return s
def udp(family, host, port):
    s = socket.socket(family, socket.SOCK_DGRAM); s.bind((host, port)); return s
keep = [tcp(socket.AF_INET, "0.0.0.0"), tcp(socket.AF_INET6, "::1"), udp(socket.AF_INET, "127.0.0.2", 93)]
echo = udp(socket.AF_INET, "127.0.0.2", 90)
ntp = udp(socket.AF_INET, "127.0.0.2", 123)
twice = udp(socket.AF_INET, "127.0.0.2", 94)
seen = 0
open(sys.argv[1], "w").close()
while True:
    for s in select.select([echo, ntp, twice], [], [])[0]:
        data, peer = s.recvfrom(2000)
        seen += s is twice
        if s is echo or (s is ntp and len(data) == 48 and data[0] == 0x23) or (s is twice and seen == 2):
            s.sendto(data or b"x", peer)
EOF
trap 'kill $!' EXIT
until [ -e "$to/ready" ]; do sleep 0.05; done

# ask NAME ARGS…
ask() {
    name=$1
    shift
    begin=$(date +%s%N)
    status=0
    "$xenkit" net ports --json "$@" >"$to/$name.json" 2>"$to/$name.err" || status=$?
    echo $status >"$to/$name.status"
    echo $((($(date +%s%N) - begin) / 1000000)) >"$to/$name.ms"
}
ask kinds --timeout 1500ms 127.0.0.2 --ports 80,81,82,83,84,85,86,udp/90,udp/91,udp/92,udp/93,udp/94,udp/95,udp/123
ask open --ports tcp/80,udp/90 127.0.0.2
ask six --timeout 1500ms ::1 --ports 80,81,86,udp/91,udp/95
ask prohibited 127.0.0.3 --ports 80,81
# quick NAME ARGS…: asked again when it took five seconds, in which a busy machine may have had no time for it
quick() {
    for _ in 1 2 3; do
        ask "$@"
        [ "$(cat "$to/$1.ms")" -ge 5000 ] || break
    done
}
quick dropped 127.0.0.4 --ports 1-1024
ask few 127.0.0.4 --parallel 2 --timeout 200ms --ports 1-6
ask router 127.0.0.5 --ports 80,81
ask nobody 192.0.2.9 --ports 80,81,udp/53
ask nowhere 198.51.100.1 --ports 80
quick many 127.0.0.2 --ports tcp/1-1024
