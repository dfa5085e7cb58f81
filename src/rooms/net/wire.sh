#!/bin/bash
# Two networks of its own joined by an emulated wire; the instruments at both ends measure it. Results go into a folder:
# NAME.json is what the client said, NAME.truth.json what was done to its packets.
#
#   wire.sh XENKIT FOLDER        run as root of a network namespace (unshare -n, unshare -rn)
set -eu
xenkit=$1 to=$2
ln -s "$xenkit" "$to/iperf3"

. "$XENKIT_SOURCE/tests/net.sh"
far
right=$far

at_right() {
    at "$right" "$@"
}

# The emulator is to be on time also beside others.
soon=
if chrt -f 10 true 2>/dev/null; then
    soon="chrt -f 10"
fi

# wire OPTIONS…: a new one, with these faults.
wire() {
    rm -f "$to/truth"
    $soon "$LINK_EMULATOR" "$@" /proc/$$/ns/net /proc/$right/ns/net >"$to/truth" &
    emulator=$!
    started="$started $emulator"
    until grep -q ready "$to/truth"; do sleep 0.05; done
    ip link set wire txqueuelen 20000 up
    ip addr add 192.0.2.1/30 dev wire
    at_right ip link set wire txqueuelen 20000 up
    at_right ip addr add 192.0.2.2/30 dev wire
}

# serve: an iperf3 server for one test at the right end.
serve() {
    at_right "${theirs:-$to/iperf3}" -s -1 >"$to/server.txt" 2>&1 &
    server=$!
    until at_right ss -Hltn "sport = :5201" | grep -q 5201; do sleep 0.05; done
}

# measure NAME OPTIONS…: one test over the wire, which ends with it.
measure() {
    name=$1
    shift
    serve
    "$to/iperf3" -c 192.0.2.2 -J "$@" >"$to/$name.json" || true
    wait $server || true
    kill -TERM $emulator
    wait $emulator || true
    tail -n 1 "$to/truth" >"$to/$name.truth.json"
}

# surely NAME FILTER WIRE-OPTIONS -- OPTIONS…: a test over a wire of its own, whose results and what was done are as the
# filter wants them; where the machine had no time for all of it (a socket ran over, a packet was late), once more.
surely() {
    name=$1 filter=$2 on_wire=()
    shift 2
    while [ "$1" != -- ]; do
        on_wire+=("$1")
        shift
    done
    shift
    for _ in 1 2 3 4; do
        wire "${on_wire[@]}"
        measure "$name" "$@"
        ! jq -es "$filter" "$to/$name.json" "$to/$name.truth.json" >"$to/filter" 2>&1 || break
    done
}
exact='(.[0].xenkit.streams[0] | [.lost_packets, .duplicate_packets, .reordered_packets, .reorder_distance_max]) ==
    (.[1] | [.lost, .duplicates, .reordered, .distance_max]) and .[0].end.streams[0].udp.packets == .[1].packets'

# A sound wire: nothing is found on it.
surely sound "$exact" --delay 2ms --back-delay 2ms -- -u -b 16M -l 1000 -t 1
surely lost "$exact" --delay 5ms --loss 0.02 --seed 3 -- -u -b 16M -l 1000 -t 1
surely duplicated "$exact" --delay 5ms --duplicate 0.03 --seed 4 -- -u -b 16M -l 1000 -t 1
surely reordered "$exact" --delay 5ms --reorder 0.02 --hold 4ms --seed 5 -- -u -b 16M -l 1000 -t 1
surely all "$exact" --delay 5ms --loss 0.01 --duplicate 0.01 --reorder 0.01 --seed 6 -- -u -b 16M -l 1000 -t 1

# A server that does not tell what it knows of duplicates.
if theirs=$(command -v iperf3); then
    wire --delay 5ms --duplicate 0.03 --seed 4
    measure untold -u -b 16M -l 1000 -t 1
    theirs=
fi

# Slow enough that what is spread in time stays in its order.
surely jitter "$exact"' and (.[0].end.sum.jitter_ms / .[1].jitter_ms - 1 | fabs) <= 0.1' --delay 5ms --jitter 8ms --seed 7 -- \
    -u -b 800K -l 1000 -t 2
surely delay '.[0].end.streams[0].sender.min_rtt / 40000 - 1 | fabs <= 0.1' --delay 30ms --back-delay 10ms -- -b 2M -l 10000 -t 1

# A real bottleneck, the kernel's: 100 Mbit/s of Ethernet frames.
ip link add left type veth peer name right netns $right
ip addr add 192.0.2.5/30 dev left
ip link set left up
at_right ip addr add 192.0.2.6/30 dev right
at_right ip link set right up
if tc qdisc add dev left root tbf rate 100mbit burst 64k latency 50ms 2>/dev/null; then
    # Whatever else the machine does can only make it slower.
    for _ in 1 2 3; do
        serve
        "$to/iperf3" -c 192.0.2.6 -J -t 2 -C cubic >"$to/tbf.json" || true
        wait $server || true
        ! jq -e '.end.sum_received.bits_per_second > 93.5e6' "$to/tbf.json" >/dev/null || break
    done
    # Datagrams faster than the link: the sender has to wait for it, not to lose them in its own host's queue.
    for rate in 200M 0; do
        for _ in 1 2 3; do
            serve
            "$to/iperf3" -c 192.0.2.6 -J -t 1 -u -l 1448 -b $rate >"$to/tbf-udp-$rate.json" || true
            wait $server || true
            ! jq -e '.end.sum.lost_packets == 0' "$to/tbf-udp-$rate.json" >"$to/filter" || break
        done
    done
fi
