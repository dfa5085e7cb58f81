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

# again FILTER NAME OPTIONS…: measured until the result is as the filter wants it; where the machine has no time for the
# test, that is what holds it up. main LIMIT NAME OPTIONS…: until that is it.
again() {
    filter=$1
    shift
    for _ in 1 2 3 4 5 6; do
        measure "$@"
        ! jq -e "$filter" "$to/$1.json" >"$to/filter-$1" 2>&1 || break
    done
}
main() {
    limit=$1
    shift
    again "[.limits[] | select(.main).limit] == [\"$limit\"]" "$@"
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
    main rate small-mtu --send --rate 20M 198.51.100.6
    if nft add table ip t 2>/dev/null; then
        nft 'add chain ip t c { type filter hook input priority 0; }'
        nft add rule ip t c icmp type destination-unreachable drop
        ip route flush cache
        main mtu-black-hole mtu-black-hole --send 198.51.100.6
        ip link set near mtu 1300
        main rate same-mtu --send --rate 20M 198.51.100.6
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

# unwire: it ends, and what it did is in the file truth.last
emulator=
unwire() {
    kill -TERM $emulator
    wait $emulator || true
    emulator=
    tail -n 1 "$to/truth" >"$to/truth.last"
}

# wire OPTIONS…: a new one in place of the last.
wire() {
    [ -z "$emulator" ] || unwire
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

# (Slow enough for a sender with little of a processor to fill it.)
wire --delay 30ms --back-delay 10ms --rate 8M --queue 150ms --from-bytes 200
serve
# The queue is only full when the sender gets as much of a processor as it takes to fill it.
again '(.results[-1] | .lost > .packets / 2) and (.latency[] | select(.path == "round-trip" and .state == "idle") |
    (.p50_ms / 40 - 1 | fabs) < 0.1 and (.rpm / 1500 - 1 | fabs) < 0.1) and
    (.bufferbloat | (map(select(.path == "up"))[0].added_ms / 150 - 1 | fabs) < 0.1 and
        (map(select(.path == "down"))[0].added_ms | fabs) < 15)' \
    latency --send --latency --udp --rate 24M --block 1000 192.0.2.2
for _ in 1 2 3 4 5 6; do
    wire --delay 5ms --loss 0.02 --duplicate 0.02 --reorder 0.02 --seed 6
    measure datagrams --send --udp --rate 16M --block 1000 192.0.2.2
    unwire
    mv "$to/truth.last" "$to/datagrams.truth.json"
    ! jq -es '(.[0].results[-1] | [.packets + 2, .lost, .duplicates, .reordered, .reorder_distance]) ==
        (.[1] | [.packets, .lost, .duplicates, .reordered, .distance_max]) and
        (.[1] | .lost > 5 and .duplicates > 5 and .reordered > 5)' "$to/datagrams.json" "$to/datagrams.truth.json" \
        >"$to/filter" 2>&1 || break
done
# Segments that are lost, and hardly any.
for _ in 1 2 3 4 5 6; do
    wire --delay 5ms --back-delay 5ms --tcp --loss 0.02 --seed 7
    measure lossy --send --seconds 2 --congestion reno 192.0.2.2
    unwire
    mv "$to/truth.last" "$to/lossy.truth.json"
    ! jq -es '(.[0] | [.limits[] | select(.main).limit]) == ["loss"] and .[1].lost > 10 and
        (.[0].accounts[] | select(.sending).retransmits) <= .[1].lost * 1.6 + 20' "$to/lossy.json" "$to/lossy.truth.json" \
        >"$to/filter" 2>&1 || break
done
wire --delay 5ms --back-delay 5ms --tcp --loss 0.0001 --seed 8
main rate hardly-lossy --send --rate 20M 192.0.2.2
wire --delay 10ms --back-delay 10ms

main rate rate --send --rate 20M 192.0.2.6
main pacing pacing --send --pace 20M 192.0.2.6

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
# trickling PIPE MODE NAME OPTIONS…: what comes or goes slowly is what holds it up
trickling() {
    for _ in 1 2 3 4 5 6; do
        python3 -c "$trickle" "$to/$1" "$2" &
        trickler=$!
        started="$started $trickler"
        measure "${@:3}" --file "$to/$1" 192.0.2.6
        kill $trickler 2>/dev/null || true
        wait $trickler 2>/dev/null || true
        ! jq -e --arg limit "$3" '[.limits[] | select(.main).limit] == [$limit]' "$to/$3.json" >"$to/filter" || break
    done
}
trickling source wb application --send
trickling sink rb slow-receiver --reverse

# Small buffers at one end of a long way; first as the system has them, at a rate that fits.
main rate long-way --send --rate 8M 192.0.2.2
at_right sh -c 'cat /proc/sys/net/ipv4/tcp_rmem >"$1" && echo 4096 16384 16384 >/proc/sys/net/ipv4/tcp_rmem' - "$to/rmem"
main receive-window receive-window --send 192.0.2.2
at_right sh -c 'cat "$1" >/proc/sys/net/ipv4/tcp_rmem' - "$to/rmem"
cat /proc/sys/net/ipv4/tcp_wmem >"$to/wmem"
echo 4096 16384 16384 >/proc/sys/net/ipv4/tcp_wmem
main send-buffer send-buffer --send 192.0.2.2
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
main receiving-socket receiving-socket --send --udp --rate 100G --block 1400 --window 4K 192.0.2.6

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
main rate interface-drops --send --rate 20M 192.0.2.6
kill $unread
if tc qdisc add dev left root tbf rate 50mbit burst 32k limit 60k 2>/dev/null; then
    # What is dropped in a socket for want of time, too, would not be the queue's.
    again '([.limits[] | select(.main).limit] == ["loss"]) and .results[-1].lost_in_socket == 0 and
        ([.limits[] | select(.limit == "queue-discipline").evidence | capture("dropped (?<n>[0-9]+)").n | tonumber] == [.results[-1].lost])' \
        queue-discipline --send --udp --rate 100M 192.0.2.6
    tc qdisc replace dev left root tbf rate 50mbit burst 32k latency 100ms
    main path-capacity path-capacity --send 192.0.2.6
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
for _ in 1 2 3 4 5 6; do
    measure processor --send 192.0.2.6
    ! jq -e '[.limits[].limit] | contains(["processor", "offloads-off"])' "$to/processor.json" >/dev/null || break
done
main rate offloads-unnoticed --send --rate 5M 192.0.2.6
