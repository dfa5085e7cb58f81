# What lies on a way is found, and how it was found is said.

. "$XENKIT_SOURCE/tests/tap.sh"
requires jq ip nsenter python3 ss
requires_network

run xenkit net path --max-hops 65 127.0.0.1
check "refused: too many hops" 2 - "~--max-hops"
run xenkit net path --timeout 1ms 127.0.0.1
check "refused: no patience" 2 - "~--timeout"
run xenkit net path -4 -6 127.0.0.1
check "refused: two families" 2 - "~exclude"

mkdir results
run $apart bash "$XENKIT_SOURCE/src/rooms/net/path.sh" "$XENKIT" "$PWD/results"
check "the networks stood" 0 - -
cd results || exit 99

# found NAME STATUS FILTER WANT
found() {
    if [ -f "$1.json" ]; then
        is "$1: status" "$(cat "$1.status")" "$2"
        is "$1: $3" "$(jq -c "$3" "$1.json")" "$4"
    else
        skip "$1: $3" "the kernel has no means to plant it"
    fi
}

found sound 0 '[.hops[] | [.address, .answered, .what]]' \
    '[["198.51.100.2",3,"router"],["198.51.100.6",3,"router"],["198.51.100.10",3,"target"]]'
found sound 0 '[.round_trip.by, .round_trip.answered, .mtu.by, .mtu.largest, .mtu.told, .mtu.vanish]' '["icmp",5,"icmp",1500,null,false]'
found told 0 '[.mtu.largest, .mtu.told, .mtu.told_by, .mtu.vanish]' '[1300,1300,"198.51.100.2",false]'
found vanish 1 '[.mtu.largest, .mtu.told, .mtu.known_to_kernel, .mtu.vanish]' '[1300,null,1500,true]'
found vanish 1 '[.hops[] | .large_packets]' '["pass","vanish","vanish"]'
found told 0 '[.hops[] | .large_packets]' '["pass","told","told"]'
found sound 0 '[.hops[] | has("large_packets")] | any' false
found quiet 0 '[.round_trip.by, .round_trip.answered, .mtu.by, .mtu.largest]' '["tcp",5,null,null]'
found served 0 '[.round_trip.by, .mtu.by, .mtu.largest, .mtu.largest_back]' '["tcp","xenkit net serve",1300,1300]'
found barrier 0 '.hops[-1] | [.hop, .address, .what]' '[3,"198.51.100.6","barrier"]'
found no-hops 0 '.hops' null
found slow 0 '.round_trip.p50_ms >= 40 and .round_trip.p50_ms <= 44 and .hops[-1].best_ms >= 40' true
if [ -f queue.json ]; then
    found queue 0 '[.queues[0].kind, .queues[0].drops > 5]' '["tbf",true]'
    is "the drops are those that tc tells" "$(jq '.queues[0].drops' queue.json)" "$(head -n 1 drops)"
else
    skip queue "the kernel has no tbf"
fi

done_testing
