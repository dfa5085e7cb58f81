# The log of the simulated pool, in each of its eras, against what its clients know of their sessions.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3
for era in 6.0 6.1 6.2 6.5 7.0 7.3 8.0 8.1 8.2 2023 2024; do
    start --era $era --log "$PWD/$era.log" --limit 15 --gc-interval 200ms --vms 0 --hosts 1
    python3 "$XENKIT_SOURCE/src/rooms/pool/sessions-sim.py" "$url" xenkit 600 $era >truth.json 2>"$tmp/python.err"
    stop
    xenkit pool sessions --json $era.log >told.json
    # Originators are logged from 2013 on; what the pool ended is one word to the client and two to the log.
    case $era in 6.0 | 6.1) logged=false ;; *) logged=true ;; esac
    jq -S --argjson logged $logged '[to_entries[] | {trackid: .key, user: .value.user, user_agent: .value.user_agent,
        originator: (if $logged then .value.originator else "" end), fate: .value.fate}] | sort_by(.trackid)' truth.json >want
    jq -S --slurpfile truth truth.json '[.sessions[] | select($truth[0][.trackid]) | {trackid, user, user_agent, originator,
        fate: (if .fate == "gc-limit" or .fate == "gc-age" then "gone" else .fate end)}] | sort_by(.trackid)' told.json >got
    ok "600 sessions of release $era" cmp want got
    diff want got | head -n 12 | sed 's/^/# /'
    is "some of each fate, release $era" "$(jq -c '[.[].fate] | unique' want)" '["gone","logout","open"]'
done
done_testing
