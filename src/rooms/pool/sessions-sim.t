# The log of the simulated pool, in each form that its eras give it, against the table of sessions that the pool itself
# has: a day of 10,000 sessions at random, with a restart in it. (8.0 logs as 7.3 does.)

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3
# Originators are logged from 2013 on; what the pool ended is one word to the client and two to the log.
# shellcheck disable=SC2016
compare='def fates: if . == "gc-limit" or . == "gc-age" then "gone" else . end;
    ($truth[0] | with_entries(if $logged then . else .value.originator = "" end)) as $want
    | ($told[0].sessions | map({key: .trackid, value: {user, originator, user_agent, via, fate: (.fate | fates)}}) | from_entries) as $got
    | {same: ($want == $got), other: [$want + $got | keys[] | select($want[.] != $got[.])][:3] | map({want: $want[.], got: $got[.]}),
       kinds: [([$want[].fate] | unique), ([$want[].via] | unique), ($want | length) >= 10000],
       rest: [$told[0].restarts, $told[0].destroyed_unseen]}'
for era in 6.0 6.1 6.2 6.5 7.0 7.3 8.1 8.2 2023 2024; do
    start --era $era --log "$PWD/$era.log" --socket pool --gc-interval 15m --speed 20000 --vms 0 --hosts 1
    python3 "$XENKIT_SOURCE/src/rooms/pool/sessions-sim.py" $pid "${url##*:}" pool 10000 $era >truth.json 2>"$tmp/python.err"
    wait $pid
    pid=
    sed 's/^/# /' "$tmp/python.err"
    xenkit pool sessions --json $era.log* >told.json
    case $era in 6.0 | 6.1) logged=false ;; *) logged=true ;; esac
    jq -n --argjson logged $logged --slurpfile truth truth.json --slurpfile told told.json "$compare" >compared
    is "10,000 sessions of release $era" "$(jq -c '[.same, .other]' compared)" '[true,[]]'
    is "of each fate some, by each way, release $era" "$(jq -c .kinds compared)" '[["gone","logout","open","restart"],["INET","UNIX"],true]'
    is "two starts, release $era" "$(jq -c .rest compared)" '[2,[]]'
    rm -f $era.log*
done
done_testing
