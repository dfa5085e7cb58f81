# What holds a test up is named when it was planted, with its numbers, and is not when it was not.

. "$XENKIT_SOURCE/tests/tap.sh"
requires jq ip nsenter python3 ss taskset
[ -c /dev/net/tun ] || skip_all "no /dev/net/tun"
requires_network
mkdir results
run $apart bash "$XENKIT_SOURCE/src/rooms/net/causes.sh" "$XENKIT" "$PWD/results"
check "the networks stood" 0 - -
cd results || exit 99

# main NAME LIMIT REGEX: what held the test up, and the numbers that say so.
main() {
    if [ ! -f "$1.json" ]; then
        skip "$1" "the kernel has no means to plant it, or XENKIT_ALONE is not set"
        return
    fi
    is "$1: what held it up" "$(jq -r '[.limits[] | select(.main) | .limit] | join(" ")' "$1.json")" "$2"
    like "$1: the numbers that say so" "$(jq -r '.limits[] | select(.main) | .evidence' "$1.json")" "$3"
}

# beside NAME LIMIT REGEX: what else is told; "" for nothing of that kind.
beside() {
    if [ ! -f "$1.json" ]; then
        skip "$1: $2" "the kernel has no means to plant it, or XENKIT_ALONE is not set"
        return
    fi
    got=$(jq -r --arg limit "$2" '.limits[] | select(.limit == $limit and (.main | not)) | .evidence' "$1.json")
    if [ -n "$3" ]; then
        like "$1: $2 is told" "$got" "$3"
    else
        is "$1: $2 is not told" "$got" ""
    fi
}

# near WHAT GOT WANT: within a tenth.
near() {
    ok "$1: $2 is $3 within a tenth" awk -v got="$2" -v want="$3" 'BEGIN { exit !(got >= want * 0.9 && got <= want * 1.1) }'
}

# of PATH STATE KEY: from the latencies.
of() {
    jq --arg path "$1" --arg state "$2" ".latency[] | select(.path == \$path and .state == \$state) | $3" latency.json
}
near "the idle round trip in ms" "$(of round-trip idle .p50_ms)" 40
ok "one-way delays are right to the error that is told" \
    jq -e '(.latency[] | select(.path == "up" and .state == "idle").p50_ms) as $up | .clock[0].one_way_error_ms as $error |
        ($up - 30 | fabs) <= $error and $error < 30' latency.json
near "the full queue's delay in ms, the way that is loaded" "$(jq '.bufferbloat[] | select(.path == "up").added_ms' latency.json)" 150
ok "the other way has none" jq -e '.bufferbloat[] | select(.path == "down") | .added_ms < 15 and .added_ms > -15' latency.json
is "and the grades" "$(jq -c '[.bufferbloat[].grade]' latency.json | sed 's/A+/A/')" '["C","A"]'
near "round trips a minute, idle" "$(of round-trip idle .rpm)" 1500
is "datagrams: lost, doubled, overtaken, by how many" \
    "$(jq -c '.results[-1] | [.lost, .duplicates, .reordered, .reorder_distance]' datagrams.json)" \
    "$(jq -c '[.lost, .duplicates, .reordered, .distance_max]' datagrams.truth.json)"
is "all that were sent came to the wire, and two that looked for its MTU" "$(jq '.results[-1].packets' datagrams.json)" \
    "$(jq '.packets - 2' datagrams.truth.json)"
ok "there were some of each" jq -e '.lost > 5 and .duplicates > 5 and .reordered > 5' datagrams.truth.json

main rate rate '(2.|19).* Mbit/s of the 20 Mbit/s asked for'
main pacing pacing 'Mbit/s of the 20 Mbit/s that the socket was limited to'
main application application 'for [0-9]+ % of the time this host had nothing to send'
main slow-receiver slow-receiver 'MiB on average had come to this host without being taken'
main long-way rate 'of the 8 Mbit/s asked for'
main receive-window receive-window 'KiB at most .* round trip of [0-9.]+ ms no more than [0-9.]+ Mbit/s'
main send-buffer send-buffer 'too small: 16 KiB, with a round trip of [2-9][0-9.]+ ms'
# What asks for both ends is both: which one is full longer is chance.
for which in small-window small-window-back; do
    limit=$(jq -r '.limits[] | select(.main) | .limit' $which.json)
    like "$which: one of the two" "$limit" '^(receive-window|send-buffer)$'
    main $which "$limit" '(KiB at most|32 KiB,) .*round trip of 2[0-9.]* ms'
done
main lossy loss '\([0-9.]+ %\) were sent again, .*: no queue'
ok "lossy: as much as the wire lost, within what TCP sends again for nothing" \
    jq -es '(.[0].accounts[] | select(.sending) | .retransmits) as $again | .[1].lost as $lost |
        $lost > 10 and $again >= $lost * 0.6 - 5 and $again <= $lost * 1.6 + 20' lossy.json lossy.truth.json
main hardly-lossy rate Mbit/s
beside hardly-lossy loss ''
beside soft-interrupts soft-interrupts '[1-9][0-9]+ rounds of soft interrupts ended with packets left'
beside receiving-socket soft-interrupts ''
main receiving-socket receiving-socket '[1-9][0-9]+ of [0-9]+ lost datagrams had arrived'
is "what the socket dropped is told apart from the rest" \
    "$(jq '.results[-1] | .lost_in_socket > 100 and .lost_in_socket + .lost_in_network == .lost' receiving-socket.json)" true
main interface-drops rate Mbit/s
beside interface-drops interface-drops 'unread dropped [1-9][0-9]+ outgoing packets'
beside rate interface-drops ''
main queue-discipline loss '[1-9][0-9]+ of [0-9]+ datagrams .* and 0 in the receiver.s socket'
beside queue-discipline queue-discipline 'tbf of left dropped [1-9][0-9]+ packets'
if [ -f queue-discipline.json ]; then
    is "the queue counted what the receiver missed" \
        "$(jq -r '.limits[] | select(.limit == "queue-discipline").evidence | capture("dropped (?<n>[0-9]+)").n' queue-discipline.json)" \
        "$(jq '.results[-1].lost' queue-discipline.json)"
fi
main path-capacity path-capacity 'round trip grew from [0-9.]+ to [0-9.]+ ms'
main small-mtu rate Mbit/s
is "a smaller packet on the way is found" "$(jq -c '.path | [.mtu, .largest_up]' small-mtu.json)" '[1500,1300]'
main mtu-black-hole mtu-black-hole 'packets of 1300 bytes pass, larger ones vanish'
main same-mtu rate Mbit/s
main processor processor 'thread had [0-9]+ % of (one, and had to leave it to others [0-9]+ times|a processor)'
beside processor offloads-off 'off on left: tso, gso'
main offloads-unnoticed rate Mbit/s
beside offloads-unnoticed offloads-off ''

done_testing
