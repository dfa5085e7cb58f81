# What iperf3 says of a wire, beside what was done to the packets on it.

. "$XENKIT_SOURCE/tests/tap.sh"
requires jq ip nsenter
[ -c /dev/net/tun ] || skip_all "no /dev/net/tun"
requires_network
mkdir results
run $apart bash "$XENKIT_SOURCE/src/rooms/net/wire.sh" "$XENKIT" "$PWD/results"
check "the wires stood" 0 - -
cd results || exit 99

# exactly NAME: lost, doubled and reordered packets as the wire counted them.
exactly() {
    is "$1: all that was sent came to the wire" "$(jq '.end.streams[0].udp.packets' "$1.json")" "$(jq .packets "$1.truth.json")"
    is "$1: lost, doubled, reordered, by how much at most" \
        "$(jq -c '.xenkit.streams[0] | [.lost_packets, .duplicate_packets, .reordered_packets, .reorder_distance_max]' "$1.json")" \
        "$(jq -c '[.lost, .duplicates, .reordered, .distance_max]' "$1.truth.json")"
    is "$1: iperf3's own members agree" "$(jq -c '.end.streams[0].udp | [.lost_packets, .out_of_order]' "$1.json")" \
        "$(jq -c '[.lost, .reordered]' "$1.truth.json")"
}

# near NAME GOT WANT: within a tenth.
near() {
    ok "$1: $2 is $3 within a tenth" awk -v got="$2" -v want="$3" 'BEGIN { exit !(want > 0 && got >= want * 0.9 && got <= want * 1.1) }'
}

for name in sound lost duplicated reordered all jitter; do
    exactly $name
done
is "nothing was done to the sound wire" "$(jq -c '[.lost, .duplicates, .reordered]' sound.truth.json)" '[0,0,0]'
for name in lost duplicates reordered; do
    ok "a wire had packets $name" jq -e ".$name >= 5" all.truth.json
done
if [ -f untold.json ]; then
    is "what the receiver does not tell is not made up" \
        "$(jq -c '.xenkit.streams[0] | [.duplicate_packets, .late_packets, .reorder_distance_max, .lost_in_own_socket_packets]' untold.json)" \
        '[null,null,null,null]'
else
    skip "what the receiver does not tell is not made up" "iperf3 is not installed"
fi
near "jitter in ms" "$(jq '.end.sum.jitter_ms' jitter.json)" "$(jq .jitter_ms jitter.truth.json)"
near "round trip in ms" "$(jq '.end.streams[0].sender.min_rtt / 1000' delay.json)" 40
if [ -f tbf.json ]; then
    # 1,448 of the 1,514 bytes of a frame are TCP's payload.
    rate=$(jq '.end.sum_received.bits_per_second / 1e6' tbf.json)
    ok "a link of 100 Mbit/s: $rate is 95.6 within 3 %" awk -v got="$rate" 'BEGIN { want = 100 * 1448 / 1514; exit !(got >= want * 0.97 && got <= want * 1.03) }'
    for udp in tbf-udp-*.json; do
        is "$udp: the sender waits for the link, and nothing is lost" "$(jq .end.sum.lost_packets "$udp")" 0
        rate=$(jq '.end.sum_sent.bits_per_second / 1e6' "$udp")
        ok "at no more than its rate: $rate" awk -v got="$rate" 'BEGIN { exit !(got > 10 && got <= 101) }'
    done
else
    skip "a link of 100 Mbit/s" "the kernel has no tbf"
fi

done_testing
