# Time servers: a real chronyd, and ones that lie.

network=own
. "$XENKIT_SOURCE/tests/tap.sh"
requires jq python3
mkfifo "$tmp/never"
nap() {
    read -rt 0.05 _ <>"$tmp/never" || :
}

kinds='good ahead=2 ahead=-2 ahead=60 ahead=5000000000 forged race replay twice late zero zero-received unsynchronised stratum=1 stratum=16 kiss deny distant mode short empty long silent deaf-twice'
# shellcheck disable=SC2086
python3 "$XENKIT_SOURCE/src/rooms/net/ntp-server.py" $kinds >"$tmp/ports" 2>"$tmp/server.err" &
liar=$!
on_exit kill "$liar"
tries=0
until [ "$(wc -l <"$tmp/ports")" = "$(echo "$kinds" | wc -w)" ] || [ $tries = 1200 ]; do
    tries=$((tries + 1))
    nap
done
# at KIND: the address of that server
at() {
    # shellcheck disable=SC2086
    number=$(printf '%s\n' $kinds | grep -nxF -e "$1" | cut -d : -f 1)
    echo "127.0.0.1:$(sed -n "${number}p" "$tmp/ports")"
}
ask() {
    server_kind=$1
    shift
    run xenkit net ntp --json "$@" "$(at "$server_kind")"
}
cell() {
    jq -r ".servers[0].$1" "$out"
}

ask good
is "a good server: in sync" "$status" 0
is "the document has these members" "$(jq -c '.servers[0] | [has("host", "offset_s", "delay_s", "stratum", "error")] | unique' "$out")" '[true]'
is "stratum and error" "$(jq -c '.servers[0] | [.stratum, .error, .samples]' "$out")" '[2,null,4]'
# near SECONDS: the offset, to half of the way there and back, which is as much as anybody can know of it
near() {
    jq -e --argjson want "$1" '.servers[0] | (.offset_s - $want | fabs) <= .delay_s / 2 + 0.01 and .delay_s > 0 and .delay_s < 4' "$out"
}
ok "an offset of nearly nothing, to half of a delay that is possible" near 0
ask good --samples 8
is "eight samples" "$(cell samples)" 8
ask ahead=2
is "two seconds are a warning" "$status" 1
ok "with their sign" near 2
ask ahead=-2
ok "and the other" near -2
ask ahead=2 --warn 3s
is "not when they are allowed" "$status" 0
ask ahead=2 --warn 1 --crit 1.5
is "critical when that was said" "$status" 2
ask ahead=60
is "a minute is critical" "$status" 2
ask ahead=5000000000
ok "a server behind the wrap of its seconds is taken in the era nearest to this clock" \
    jq -e '.servers[0].offset_s | . > 705032703 and . < 705032705' "$out"

refused() {
    ask "$1" --timeout "${3:-2s}"
    is "$1: no answer" "$status $(jq -c '.servers[0] | [.offset_s, .delay_s, .stratum]' "$out")" '2 [null,null,null]'
    like "$1: why" "$(cell error)" "$2"
}
refused forged 'answer none of our questions'
refused zero 'answers without a time'
refused zero-received 'answers without a time'
refused unsynchronised 'not synchronised itself \(stratum 2\)'
refused stratum=16 'not synchronised itself \(stratum 16\)'
refused kiss 'kiss code RATE'
refused deny 'kiss code DENY'
refused distant 'wrong by 1\.6 s itself'
refused mode 'answer none of our questions'
refused short 'answer none of our questions'
refused empty 'answer none of our questions'
refused silent 'does not answer' 500ms
ask race
ok "a forger who is quicker does not win" near 0
is "nor spoils the true answer" "$status $(cell samples)" "0 4"
ask replay --timeout 2500ms
is "an answer that is sent again is none" "$(cell samples)" 1
ok "and does not move the offset" near 0
ask twice
ok "an answer that comes twice counts once, the second time with another time" eval 'near 0 && [ "$(cell samples)" = 4 ]'
ask late
ok "an answer to an earlier question, which comes late, is none" eval 'near 0 && [ "$(cell samples)" = 4 ]'
ask stratum=1
is "a reference clock's stratum" "$(cell stratum)" 1
ask long
is "what follows the packet does not matter" "$status" 0
ask deaf-twice
is "two lost packets are survived" "$status $(cell samples)" "0 2"

run xenkit net ntp --json "$(at silent)" "$(at good)" "$(at kiss)"
is "one good server among others is enough" "$status" 0
is "all are listed" "$(jq -c '[.servers[].error == null]' "$out")" '[false,true,false]'

begin=$(date +%s)
run xenkit net ntp --json no-such-name.invalid "$(at silent)" 127.0.0.1:1
is "no server at all" "$status" 2
ok "takes eight seconds, or some more when the machine is busy" test $(($(date +%s) - begin)) -lt 20
is "each has its reason" "$(jq -c '[.servers[] | .error | type]' "$out")" '["string","string","string"]'
like "a port where nobody listens" "$(jq -r '.servers[2].error' "$out")" 'refused'

run xenkit net ntp
check "no server is bad usage" 2 "" "~SERVER"
run xenkit net ntp --timeout 11s x
check "so is too long a time" 2 "" "~--timeout"
run xenkit net ntp --warn 2s --crit 1s x
check "and limits in the wrong order" 2 "" "~--crit"
run xenkit net ntp --samples 3 x
check "and too few samples" 2 "" "~samples"
run xenkit net ntp 'a b'
check "and a name that is none" 2 "~no host's name" -
run xenkit net ntp "$(at ahead=2)"
check "people read it as well" 1 "~clock is wrong: it is 2\.[0-9]+ s behind" ""

# ---- a real server ----

if command -v chronyd >/dev/null; then
    port=$(python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >chrony.conf <<EOF
local stratum 7
allow 127.0.0.1
bindaddress 127.0.0.1
port $port
cmdport 0
bindcmdaddress /
pidfile $PWD/chronyd.pid
driftfile $PWD/drift
EOF
    chronyd -x -n -U -u "$(id -un)" -f "$PWD/chrony.conf" >chrony.log 2>&1 &
    chrony=$!
    on_exit kill "$chrony"
    await xenkit net ntp --timeout 1s "127.0.0.1:$port" >/dev/null 2>&1
    run xenkit net ntp --json "127.0.0.1:$port"
    is "chronyd with a local clock" "$status $(cell stratum) $(cell samples)" "0 7 4"
    ok "runs on the same clock" jq -e '.servers[0] | (.offset_s | fabs) <= .delay_s' "$out"
    kill $chrony
    wait $chrony 2>/dev/null
    sed -i '/^local/d' chrony.conf
    chronyd -x -n -U -u "$(id -un)" -f "$PWD/chrony.conf" >chrony.log 2>&1 &
    chrony=$!
    on_exit kill "$chrony"
    answers() {
        xenkit net ntp --timeout 1s "127.0.0.1:$port" 2>&1 | grep -q synchronised
    }
    await answers
    run xenkit net ntp --json "127.0.0.1:$port"
    is "chronyd without a source" "$status" 2
    like "says that it is not synchronised" "$(cell error)" 'not synchronised'
else
    skip "chronyd with a local clock" "chronyd is not installed"
fi
done_testing
