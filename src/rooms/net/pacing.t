# Datagrams leave at their times: at the rate that was asked for, and one by one where that is not too fast for it.

network=own
. "$XENKIT_SOURCE/tests/tap.sh"
requires jq python3

# pace RATE BLOCK: what came is in came.json, what the sender says of itself in sent.json.
pace() {
    rm -f came.json
    python3 "$XENKIT_SOURCE/src/rooms/net/pacing.py" >came.txt 2>came.err &
    receiver=$!
    await test -s came.txt
    "$XENKIT" net run --send --udp --seconds 1 --rate "$1" --block "$2" --json "127.0.0.1:$(head -n 1 came.txt)" >sent.json
    wait "$receiver"
    sed -n 2p came.txt >came.json
}

# What a busy neighbour takes from the sender is no fault of its: the kernel tells how long that was.
busy() {
    jq -e '[.accounts[] | select(.sending) | .thread_waited_percent > 0.5] | any' sent.json
}

# exact RATE BLOCK FILTER NAME
exact() {
    for _ in 1 2 3; do
        pace "$1" "$2"
        ! jq -e "$3" came.json >/dev/null || break
    done
    if jq -e "$3" came.json >/dev/null || ! busy >/dev/null; then
        ok "$4: $(cat came.json)" jq -e "$3" came.json
    else
        skip "$4" "the machine is busy: $(cat came.json)"
    fi
}

rate='(.came_bps / .asked_bps - 1 | fabs) <= 0.005'
gap='(.gap_ns / .gap_asked_ns - 1 | fabs) <= 0.01'
exact 1M 1200 "$rate and $gap" "1 Mbit/s, each datagram at its time"
exact 10M 1200 "$rate and $gap" "10 Mbit/s, each datagram at its time"
exact 100M 1200 "$rate and $gap" "100 Mbit/s, each datagram at its time"
exact 1G 8000 "$rate" "1 Gbit/s"

done_testing
