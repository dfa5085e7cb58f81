#!/bin/bash
# The classic iperf (2.x) beside the real one: each plays client and server against each, and what they print must have
# the same shape: the same lines, columns and units, with the digits masked.

network=own
. "$XENKIT_SOURCE/tests/tap.sh"
requires iperf python3
case $(iperf -v 2>&1) in
*"iperf version 2"*) ;;
*) skip_all "the iperf that is installed is no iperf 2" ;;
esac
mkdir "$tmp/bin"
ln -s "$XENKIT" "$tmp/bin/iperf"
ours=$tmp/bin/iperf
stock=$(command -v iperf)
case $("$stock" -v 2>&1) in
*xenkit*) skip_all "the iperf that is installed is this one" ;;
esac

# Ports that nobody listens at, and that no client is given by chance; each is taken once.
mapfile -t ports < <(python3 -c '
import random, socket
found = set()
while len(found) < 2000:
    port = random.randrange(12000, 32000)
    try:
        held = [socket.socket(socket.AF_INET6, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
        for s in held:
            s.bind(("::", port))
        found.add(port)
    except OSError:
        pass
print(*sorted(found), sep="\n")')

# ---- wrong options ----

# Where no name server can be reached the real one asks for one all the same, before it says so of a name that never is.
bad() {
    timeout -s KILL 20 "$stock" "$@" 2>&1 >want.out </dev/null | sed 's|/[^ `]*/iperf|iperf|g; s/Host name lookup failure/Unknown host/' >want
    wanted=${PIPESTATUS[0]}
    timeout -s KILL 20 "$ours" "$@" >got.out 2>got </dev/null
    is "refused alike: $*" "$? $(cat got)" "$wanted $(cat want)"
}
bad
bad --bogus
bad -c
bad -p
bad --port
bad -K
bad -d
bad -r
bad -F x
bad -L 5
bad -v
bad -c 127.0.0.1 -b 5pps
bad -c 127.0.0.1 -n 0
bad -c 127.0.0.1 -i x
bad -c 127.0.0.1 -i 99999
bad -c 127.0.0.1 -t x
bad -c 127.0.0.1 -R -d
bad -c 127.0.0.1 -R --full-duplex
bad -c 127.0.0.1 -r --full-duplex
bad -c 127.0.0.1 -D
bad -c 127.0.0.1 -u -b 10
bad -c 127.0.0.1 -u -X
bad -c 127.0.0.1 -u --connect-only
bad -c 127.0.0.1 -u --connect-retries 3
bad -c 127.0.0.1 -u -b 1m --ipg 5
bad -c 127.0.0.1 -u --permit-key=abcdef
bad -c 127.0.0.1 --permit-key
bad -c 127.0.0.1 --permit-key=abc
bad -c 127.0.0.1 -b 8000
bad -c 127.0.0.1 --no-udp-fin
bad -c 127.0.0.1 --ipg 3
bad -c 127.0.0.1 -T 300
bad -c 127.0.0.1 -C -R
bad -c 127.0.0.1 -C -e
bad -c 127.0.0.1 -Z cubic -R
bad -c 127.0.0.1 --incr-srcip
bad -c 127.0.0.1 --txdelay-time 3 --txstart-time 9999999999
bad -s -p 7-5
bad -s --permit-key=abc
bad -c nosuch.invalid
run "$ours" -c 127.0.0.1 --isochronous
check "what is not there is refused by name" 1 "" "iperf: option --isochronous is not supported"
run "$ours" -c 127.0.0.1 -u -b 10m,1m
check "a load that varies is refused by name" 1 "" "~varies .* is not supported"
bad -c 239.1.1.1 -u -R
bad -c 239.1.1.1 -u -d
bad -c 239.1.1.1 -u --full-duplex
bad -c 239.1.1.1 -u -P 2
run "$ours" -c 239.1.1.1
check "a group is sent datagrams only" 1 "" "Multicast requires -u option  failed"
run "$ours" -s -B 239.1.1.1
check "and hears datagrams only" 1 "" "Multicast requires -u option  failed"
run "$ours" -s -u -B 239.1.1.1%nosuch
check "on a device that there is" 1 - -

# A test that failed is told with the status; the real one ends with 0.
nobody=${ports[-1]} && unset 'ports[-1]'
run "$ours" -c 127.0.0.1 -p "$nobody"
check "nobody listens: TCP" 1 - "tcp connect failed: Connection refused"
run "$ours" -c 127.0.0.1 -p "$nobody" -u -t 0.1
check "nobody listens: UDP" 1 "~ Sent " "~did not receive ack of last datagram after 10 tries"

# ---- both as both ----

# Numbers become N and units U. What comes in an order of its own, or by chance, is put into one order or left out; the
# real one shows a heading again when its streams happen to end apart.
shape() {
    grep -v -e 'CPU bound' -e 'out-of-order' -e '^Waiting' -e '^Barrier' |
        sed -E 's/[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?/N/g; s/ +/ /g; s/size: -N/size: N/; s/([[KMGT]?bits|[KMGT]?Bytes?)/U/g; s/-?nan/N/g; s/ on N-.*//' |
        sed -E 's/-N([,%])/N\1/g; s/N pkts (NAN|N)/N pkts N/' | awk '/^\[ ID\]|^\[SUM-cnt/ && seen[$0]++ { next } 1' | sort
}

# pair NAME CLIENT SERVER STREAMS PORT SERVER-OPTIONS -- CLIENT-OPTIONS: one test; its transcripts are NAME.c and NAME.s.
# The real one hangs or crashes once in a while where it runs both ways; that tells nothing, and it is tried again.
pair() {
    for try in 0 1 2; do
        pair_once "$@" "$try"
        case $1 in own) break ;; esac
        [ "$(sort -n "$1.status" | tail -n 1)" -lt 124 ] && break
    done
}

pair_once() {
    try=${*: -1}
    set -- "${@:1:$#-1}"
    name=$1 client=$2 server=$3 streams=$4 port=${ports[$5 + 2 * try]} back=${ports[$5 + 2 * try + 1]} options=()
    shift 5
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    case " $* " in *" -u "*) options+=(-u) ;; esac
    timeout -s KILL 15 "$server" -s -P "$streams" -p "$port" "${options[@]}" >"$name.s" 2>"$name.se" </dev/null &
    peer=$!
    listening() {
        [ -n "$(ss -Hlntu "sport = :$port" 2>/dev/null)" ]
    }
    await listening || return
    arguments=("$@")
    case " $* " in *" -d "* | *" -r "*) arguments+=(-L "$back") ;; esac
    timeout -s KILL 15 "$client" -c 127.0.0.1 -p "$port" "${arguments[@]}" >"$name.c" 2>"$name.ce" </dev/null
    echo $? >"$name.status"
    wait $peer
    echo $? >>"$name.status"
}

# Four tests of one set of options, in a folder of their own.
run_case() {
    first=$2 streams=1
    mkdir -p "case$1" && cd "case$1" || exit
    shift 2
    case " $* " in *" -P 2 "*) streams=2 ;; esac
    pair stock "$stock" "$stock" $streams "$first" "$@" &
    pair own "$ours" "$ours" $streams $((first + 6)) "$@" &
    pair client "$ours" "$stock" $streams $((first + 12)) "$@" &
    pair server "$stock" "$ours" $streams $((first + 18)) "$@" &
    wait
}

# The shapes of one of the four, client and server. With -i, rows of one shape count once: a busy machine is late.
shapes() {
    case $2 in
    *-i*) printf '%s\n' "$(head -n 1 "$1.status")" client "$(shape <"$1.c" | uniq)" server "$(shape <"$1.s" | uniq)" ;;
    *) printf '%s\n' "$(head -n 1 "$1.status")" client "$(shape <"$1.c")" server "$(shape <"$1.s")" ;;
    esac
}

alike() {
    [ "$(shapes "case$1/$3" "$2")" = "$(shapes "case$1/stock" "$2")" ]
}

# What differs by chance, or since the real one has stumbled, is the same the next time.
judge() {
    for _ in 1 2 3; do
        alike "$1" "$2" own && alike "$1" "$2" client && alike "$1" "$2" server && break
        [ $((spare + 24)) -le ${#ports[@]} ] || break
        # shellcheck disable=SC2086 # words of options
        (run_case "$1" "$spare" $2) 2>/dev/null
        spare=$((spare + 24))
    done
    for kind in own client server; do
        if alike "$1" "$2" $kind; then
            pass "$kind: $2"
        else
            fail "$kind: $2" "< is the real one's"
            diff <(shapes "case$1/stock" "$2") <(shapes "case$1/$kind" "$2") | sed 's/^/#   /' | head -n 20
            head -n 3 "case$1/$kind.ce" "case$1/$kind.se" | sed 's/^/#   /'
        fi
    done
}

mapfile -t cases <<'END'
-- -n 2M
-- -t 0.3 -P 2
-- -n 2M -R
-- -t 0.3 -R -P 2
-- -n 2M --full-duplex
-- -t 0.3 --full-duplex -P 2
-- -n 2M -d
-- -n 2M -r
-i 0.4 -- -t 0.6 -i 0.4
-i 0.4 -- -t 0.6 -i 0.4 -R
-i 0.4 -- -t 0.6 -i 0.4 --full-duplex
-e -- -n 2M -e
-e -- -t 0.3 -e -P 2
-e -- -n 2M -e -R
-e -- -n 2M -e --full-duplex
-e -i 0.4 -- -t 0.6 -e -i 0.4
-- -n 2M -e --trip-times
-- -n 2M -e --tcp-write-times
-- -n 2M -X
-- -n 2M -C
-- -n 2M -M 1000 -N -w 64K
-- -n 2M -m
-- -n 2M -S ef -Z cubic
-- -n 2M -f k
-- -n 2M -f M
-- -n 2M --hide-ips
-- -t 0.3 --sum-only -P 2
--sum-only -e -- -t 0.3 -P 2 -e --sum-only
-- -n 2M -l 1000
-- -n 2M -b 100m
-- -n 2M -B 127.0.0.1
-- -n 2M -x CS
-- -n 2M --fq-rate 800m
-- -n 2M -F /etc/passwd
-- -n 2M -y C
--permit-key=abcdef -- -n 2M --permit-key=abcdef
-V -- -n 2M
-1 -- -n 2M
-- -u -n 100K -b 20m
-- -u -t 0.2 -b 5m -P 2
-- -u -n 100K -b 20m -R
-- -u -t 0.2 -b 5m -R -P 2
-- -u -t 0.2 -b 5m --full-duplex
-- -u -n 100K -b 20m -d
-- -u -n 100K -b 20m -r
-i 0.4 -- -u -t 0.6 -b 5m -i 0.4
-e -- -u -n 100K -b 20m -e
-e -- -u -t 0.2 -b 5m -e -P 2
-e -- -u -t 0.2 -b 5m -e --full-duplex
-- -u -n 100K -b 20m --trip-times
-- -u -n 100K -b 1000pps -l 200
-- -u -n 100K -b 20m --no-udp-fin
-- -u -t 0.2 -b 5m --sum-only -P 2
-- -u -n 100K -b 20m -y C
END
# "own" is ours to ours, "client" our client to the real server, "server" the other way round.
for i in "${!cases[@]}"; do
    # shellcheck disable=SC2086 # words of options
    run_case "$i" $((i * 24)) ${cases[i]} 2>/dev/null &
    [ $((i % 4)) -ne 3 ] || wait
done
wait
spare=$((${#cases[@]} * 24))
for i in "${!cases[@]}"; do
    judge "$i" "${cases[i]}"
done

# ---- groups ----

cat >group.sh <<'END'
# group.sh CLIENT SERVER NAME: a group in a network of its own.
ip link set lo up
ip link add g0 type veth peer name g1
ip addr add 192.0.2.1/24 dev g0
ip link set g0 up
ip link set g1 up
ip route add 224.0.0.0/4 dev g0
timeout -s KILL 30 "$2" -s -u -B 239.1.1.1 -P 1 -e >"$3.s" 2>"$3.se" &
for _ in $(seq 1500); do
    ! grep -q 'buffer size: .*default' "$3.s" || break
    sleep 0.02
done
timeout -s KILL 30 "$1" -c 239.1.1.1 -u -n 100K -b 20m -T 3 -e >"$3.c" 2>"$3.ce"
echo $? >"$3.status"
wait
END
apart=
for way in "unshare -n" "unshare -rn"; do
    if $way ip link show >/dev/null 2>&1; then
        apart=$way
        break
    fi
done
if [ -n "$apart" ]; then
    for pair in "stock $stock $stock" "own $ours $ours" "client $ours $stock" "server $stock $ours"; do
        read -r name client server <<<"$pair"
        # shellcheck disable=SC2086 # words of options
        $apart bash group.sh "$client" "$server" "group.$name"
    done
    # The real server's rate may be less than nothing over so short a time.
    told() {
        shape <"group.$1.c"
        shape <"group.$1.s" | sed 's/-N pps/N pps/'
        cat "group.$1.status"
    }
    for name in own client server; do
        is "$name: a group" "$(told $name)" "$(told stock)"
    done
    is "loses nothing" "$(grep -c ' 0/[0-9]* (0%)' group.own.s)" 1
else
    skip "a group" "no network namespaces here"
fi

done_testing
