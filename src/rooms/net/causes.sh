#!/bin/bash
# Networks in which something holds a test up, each with the cause planted, and the same without it. Results go into a
# folder, NAME.json each.
#
#   causes.sh XENKIT FOLDER      run as root of a network namespace (unshare -n, unshare -rn)
set -eu
xenkit=$1 to=$2
. "$XENKIT_SOURCE/tests/net.sh"
ip link set lo up

at_right() {
    at "$right" "$@"
}

# A server at the right end, for all that follow. serve PREFIX…: how it is started.
serve() {
    nsenter -t $right -n "$@" "$xenkit" net serve --bind any --port 5201 --plain >"$to/server.txt" 2>&1 &
    server=$!
    started="$started $server"
    until at_right ss -Hltn "sport = :5201" | grep -q 5201; do sleep 0.05; done
}

# measure NAME OPTIONS…
measure() {
    name=$1
    shift
    "$xenkit" net run --seconds 1 --json "$@" >"$to/$name.json" 2>"$to/$name.err" || echo "status $?" >>"$to/$name.err"
}

# A router behind which packets have to be smaller; first it says so, then nobody hears it. Beside the rest: it has
# namespaces of its own.
behind_a_router() {
    started=
    trap 'kill $started 2>/dev/null' EXIT
    far
    router=$far
    far
    behind=$far
    at_router() {
        nsenter -t $router -n "$@"
    }
    ip link add near type veth peer name near netns $router
    at_router ip link add above type veth peer name below netns $behind
    ip addr add 198.51.100.1/30 dev near
    ip link set near up
    at_router ip addr add 198.51.100.2/30 dev near
    at_router ip link set near up
    at_router ip addr add 198.51.100.5/30 dev above
    at_router ip link set above mtu 1300 up
    at_router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    nsenter -t $behind -n ip addr add 198.51.100.6/30 dev below
    nsenter -t $behind -n ip link set below up
    nsenter -t $behind -n ip route add default via 198.51.100.5
    ip route add 198.51.100.4/30 via 198.51.100.2
    right=$behind
    serve
    measure small-mtu --send --rate 20M 198.51.100.6
    if nft add table ip t 2>/dev/null; then
        nft 'add chain ip t c { type filter hook input priority 0; }'
        nft add rule ip t c icmp type destination-unreachable drop
        ip route flush cache
        measure mtu-black-hole --send 198.51.100.6
        ip link set near mtu 1300
        measure same-mtu --send --rate 20M 198.51.100.6
    fi
}
behind_a_router &
routers=$!

# A wire of the kernel's, and one with a round trip of 20 ms.
far
right=$far
ip link add left type veth peer name right netns $right
ip addr add 192.0.2.5/30 dev left
ip link set left up
at_right ip addr add 192.0.2.6/30 dev right
at_right ip link set right up

# The emulator is to be on time also beside others.
soon=
if chrt -f 10 true 2>/dev/null; then
    soon="chrt -f 10"
fi

# wire OPTIONS…: a new one in place of the last.
emulator=
wire() {
    [ -z "$emulator" ] || kill -TERM $emulator
    [ -z "$emulator" ] || wait $emulator || true
    [ ! -f "$to/truth" ] || tail -n 1 "$to/truth" >"$to/truth.last"
    : >"$to/truth" # the last one's "ready" is not this one's
    $soon "$LINK_EMULATOR" "$@" /proc/$$/ns/net /proc/$right/ns/net >"$to/truth" &
    emulator=$!
    started="$started $emulator"
    until grep -q ready "$to/truth"; do sleep 0.05; done
    ip link set wire txqueuelen 20000 up
    ip addr add 192.0.2.1/30 dev wire
    at_right ip link set wire txqueuelen 20000 up
    at_right ip addr add 192.0.2.2/30 dev wire
}

wire --delay 30ms --back-delay 10ms --rate 20M --queue 150ms --from-bytes 200
serve
# The queue is only full when the sender gets as much of a processor as it takes to fill it.
for _ in 1 2 3 4; do
    measure latency --send --latency --udp --rate 60M --block 1000 192.0.2.2
    ! jq -e '.results[-1] | .lost > .packets / 2' "$to/latency.json" >/dev/null || break
done
wire --delay 5ms --loss 0.02 --duplicate 0.02 --reorder 0.02 --seed 6
measure datagrams --send --udp --rate 16M --block 1000 192.0.2.2
# Segments that are lost, and hardly any.
wire --delay 5ms --back-delay 5ms --tcp --loss 0.02 --seed 7
mv "$to/truth.last" "$to/datagrams.truth.json"
measure lossy --send --seconds 2 --congestion reno 192.0.2.2
wire --delay 5ms --back-delay 5ms --tcp --loss 0.0001 --seed 8
mv "$to/truth.last" "$to/lossy.truth.json"
measure hardly-lossy --send --rate 20M 192.0.2.2
wire --delay 10ms --back-delay 10ms

measure rate --send --rate 20M 192.0.2.6
measure pacing --send --pace 20M 192.0.2.6

# Data that come slower than they could go; data that are taken slower than they come.
mkfifo "$to/source" "$to/sink"
trickle='
import sys, time
f = open(sys.argv[1], sys.argv[2], buffering=0)
end = time.time() + 8
try:
    while time.time() < end:
        f.write(bytes(20000)) if sys.argv[2] == "wb" else f.read(20000)
        time.sleep(0.02)
except BrokenPipeError:
    pass
'
python3 -c "$trickle" "$to/source" wb &
started="$started $!"
measure application --send --file "$to/source" 192.0.2.6
python3 -c "$trickle" "$to/sink" rb &
started="$started $!"
measure slow-receiver --reverse --file "$to/sink" 192.0.2.6

# Small buffers at one end of a long way; first as the system has them, at a rate that fits.
measure long-way --send --rate 8M 192.0.2.2
at_right sh -c 'cat /proc/sys/net/ipv4/tcp_rmem >"$1" && echo 4096 16384 16384 >/proc/sys/net/ipv4/tcp_rmem' - "$to/rmem"
measure receive-window --send 192.0.2.2
at_right sh -c 'cat "$1" >/proc/sys/net/ipv4/tcp_rmem' - "$to/rmem"
cat /proc/sys/net/ipv4/tcp_wmem >"$to/wmem"
echo 4096 16384 16384 >/proc/sys/net/ipv4/tcp_wmem
measure send-buffer --send 192.0.2.2
cat "$to/wmem" >/proc/sys/net/ipv4/tcp_wmem

# The same by what is asked for at the one end, for both.
measure small-window --send --window 16K 192.0.2.2
measure small-window-back --reverse --window 16K 192.0.2.2

# Soft interrupts that may take two packets at a time. That is a setting of the whole machine: for a moment, and only on
# one that is there for tests.
if [ -n "${XENKIT_ALONE:-}" ] && budget=$(cat /proc/sys/net/core/netdev_budget) &&
    echo 2 2>/dev/null >/proc/sys/net/core/netdev_budget; then
    trap 'echo "$budget" >/proc/sys/net/core/netdev_budget; kill $started 2>/dev/null' EXIT
    measure soft-interrupts --send --udp --rate 100M 192.0.2.6
    echo "$budget" >/proc/sys/net/core/netdev_budget
fi

# A socket that holds two datagrams.
measure receiving-socket --send --udp --rate 100G --block 1400 --window 4K 192.0.2.6

# Interfaces that throw away: one at which nobody reads, and one that lets less through than is sent.
python3 -c '
import fcntl, socket, struct, subprocess, sys, time
tun = open("/dev/net/tun", "rb+", buffering=0)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", b"unread", 0x1001))
for words in ("link set unread txqueuelen 10 up", "addr add 192.0.2.9/30 dev unread"):
    subprocess.check_call(["ip"] + words.split())
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
open(sys.argv[1], "w").close()
while True:
    try:
        s.sendto(bytes(100), ("192.0.2.10", 9))
    except OSError:
        pass
    time.sleep(0.002)
' "$to/unread" &
unread=$!
started="$started $unread"
until [ -e "$to/unread" ]; do sleep 0.05; done
measure interface-drops --send --rate 20M 192.0.2.6
kill $unread
if tc qdisc add dev left root tbf rate 50mbit burst 32k limit 60k 2>/dev/null; then
    measure queue-discipline --send --udp --rate 100M 192.0.2.6
    tc qdisc replace dev left root tbf rate 50mbit burst 32k latency 100ms
    measure path-capacity --send 192.0.2.6
    tc qdisc del dev left root
fi

wait $routers

# Both ends on one processor, without offloads that save it work; and the same at a rate that it does not notice.
offloads_off='
import ctypes, fcntl, socket, struct, sys
s = socket.socket()
for request in (0x1f, 0x24, 0x2c):  # TSO, GSO, GRO off
    value = bytearray(struct.pack("II", request, 0))
    buffer = (ctypes.c_char * 8).from_buffer(value)
    try:
        fcntl.ioctl(s, 0x8946, struct.pack("16sP16x", sys.argv[1].encode(), ctypes.addressof(buffer)))
    except OSError:
        pass
'
python3 -c "$offloads_off" left
at_right python3 -c "$offloads_off" right
kill $server
wait $server || true
serve taskset -c 0
printf '#!/bin/sh\nexec taskset -c 0 "%s" "$@"\n' "$xenkit" >"$to/one-processor"
chmod +x "$to/one-processor"
xenkit=$to/one-processor
# Beside others its share of the processor may be too small to blame it.
for _ in 1 2 3 4; do
    measure processor --send 192.0.2.6
    ! jq -e '[.limits[].limit] | contains(["processor", "offloads-off"])' "$to/processor.json" >/dev/null || break
done
measure offloads-unnoticed --send --rate 5M 192.0.2.6
