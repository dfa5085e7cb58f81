#!/bin/bash
# The classic iperf3 beside the real one: each plays client and server against each, and what they print, how they end
# and what their JSON is made of must be the same.

network=own
. "$XENKIT_SOURCE/tests/tap.sh"
requires iperf3 python3
ln -s "$XENKIT" "$tmp/iperf3"
ours=$tmp/iperf3
stock=$(command -v iperf3)

# A port that nobody listens at, TCP and UDP, and that no client is given by chance.
free_port() {
    python3 -c '
import random, socket
while True:
    port = random.randrange(20000, 32000)
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            socket.socket(socket.AF_INET6, kind).bind(("::", port))
        print(port)
        break
    except OSError:
        pass'
}

# Somebody listens there, who does not say so.
listens() { [ -n "$(ss -Hlnt "sport = :$1")" ]; }

# serve PROGRAM NAME: a server on a free port, which is in $port.
serve() {
    port=$(free_port)
    "$1" -s -p "$port" --forceflush >"$2" 2>"$2.err" </dev/null &
    server=$!
    on_exit kill "$server"
    await grep -q listening "$2"
}
serve "$stock" stock.txt
stock_port=$port
serve "$ours" ours.txt
our_port=$port
our_server=$server

# ---- wrong options ----

# Each has its own help, but on the same stream.
said() {
    sed 's|^[^ ]*/iperf3:|iperf3:|; /^Usage: iperf3 \[-s|-c host\] \[options\]$/,$ c HELP' "$@"
}
bad() {
    "$stock" "$@" >want 2>want.err </dev/null
    wanted=$?
    "$ours" "$@" >got 2>got.err </dev/null
    is "refused alike: $*" "$? $(said got) $(said got.err)" "$wanted $(said want) $(said want.err)"
}
bad
bad -c
bad --unknown
bad -s -c x
bad -c x -s
bad -c x -D
bad -c x -1
bad -s -t 3
bad -s -u
bad -s -R
bad -c x -P 999
bad -c x -l 2M
bad -c x -u -l 8
bad -c x -u -l 70000
bad -c x -i 0.01
bad -c x -i 61
bad -c x -R --bidir
bad -c x --bidir -R
bad -c x -t 99999999
bad -c x -n 1 -k 2
bad -c x -t 5 -n 1
bad -c x -w 1G
bad -c x -M 99999
bad -c x -O 700
bad -c x -f x
bad -s -p 0
bad -c x -p 99999
bad -c x -b 1M/9999
bad -c x -S 300
bad -c x -S y
bad -c x --rcv-timeout 5
bad -c x --rcv-timeout 500
bad -c x --username u
bad -s --rsa-private-key-path x
bad -s --authorized-users-path x
bad -c x -A 2000
bad -s --idle-timeout 0
bad -c x -L 0
bad -c x --time-skew-threshold 0
bad -c x --rev --bidi
bad -c x --parallel=999
bad -P999 -cx
bad -cx -RP999
bad -uRl8 -c x
bad extra -c x -p 0
bad -c x -s -- -p 0
bad -c x --version4=5
bad -c x --json=5
bad -c x -d=3
bad -c x -f kk -p 0
bad -c x -t 1.5 -p 0
bad -c x --cport 0
bad -c x --cport 70000
bad -c x --dscp 64
bad -c x --dscp af44
bad -c x -S 0x100
bad -c x -A -1
bad -c x --snd-timeout -1
bad -c x -R --rcv-timeout 86400001
bad -c x -b 1M/0
bad -c x --no-fq-socket-pacing -p 0
bad -s -I
bad -s --cport
bad -s -C
bad -s --server-bitrate-limit
bad -s --time-skew-threshold 0
bad -s -B 192.0.2.1
bad -s --bind-dev nosuch
bad -s --logfile /nonexistent/log
bad -c x --logfile /nonexistent/log
bad -c 127.0.0.1 -p 1
bad -c 127.0.0.1 -p 1 -V
bad -c 127.0.0.1 -p 1 -B 192.0.2.1
bad -c 127.0.0.1 -p 1 --bind-dev nosuch
bad -c 127.0.0.1%nosuch -p 1
for program in "$stock" "$ours"; do
    rm -f log
    run "$program" -c 127.0.0.1 -p 1 --logfile log
    is "an error goes to the log: $program" "$status $(cat "$out" "$err")$(cat log)" \
        "1 iperf3: error - unable to connect to server: Connection refused"
done
run "$ours" -c 127.0.0.1 -p 1 --timestamps=T
check "with the time" 1 "" "Tiperf3: error - unable to connect to server: Connection refused"
cp "$XENKIT_SOURCE/README.md" no-key.pem
run "$ours" -s --rsa-private-key-path no-key.pem --authorized-users-path no-key.pem
check "a key that is none" 1 - "~you must specify a path to a valid RSA private key"
run "$ours" -c 127.0.0.1 -p 1 -B nosuch.invalid
check "an own address that is not known" 1 "" "~^iperf3: error - unable to connect to server: .*nosuch.invalid"
bad -s --sctp
bad -s --nstreams 2
bad -c 127.0.0.1 -p 1 --sctp -X 127.0.0.1 -X ::1 --nstreams 3

# ---- both as both ----

# Numbers become N and units U, so that only the shape is left; rows of the same shape count once, and so do intervals
# of several rows: on a busy machine there is one more.
shape() {
    sed -E 's/[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?/N/g; s/ +/ /g; s/[KMGT]?(bits|Bytes)/U/g; s/Cookie: .*/Cookie/' | uniq |
        awk 'function flush() {
                 if (rows == "" || substr(last, length(last) - length(rows) + 1) != rows) {
                     printf "%s%s", line, rows
                     last = rows
                 }
             }
             /^- - -/ { flush(); line = $0 "\n"; rows = ""; next }
             { rows = rows $0 "\n" }
             END { flush() }'
}

# The part of a server's transcript since the last look, once its test is over. The real one loses its only interval
# when a test is very short, so intervals are not looked at here.
transcript() {
    listens_anew() {
        tail -n +"$(($2 + 1))" "$1" >"$1.new"
        grep -q listening "$1.new"
    }
    await listens_anew "$1" "$2"
    shape <"$1.new" | awk '!/^- - -|Interval/ && (!/ sec / || /sender|receiver/)'
}

# Without a server's lines between two tests.
own_words() {
    awk '/^-----|^Server listening/ { next } 1'
}

compare() {
    want_of "$@"
    for pair in "ours to ours" "ours to stock" "stock to ours"; do
        # What differs by chance is the same the next time.
        for _ in 1 2 3; do
            got_of "$@"
            [ "$got_status $got_client $got_server" != "$want_status $want_client $want_server" ] || break
            want_of "$@"
        done
        if [ "$got_status $got_client $got_server" = "$want_status $want_client $want_server" ]; then
            pass "$pair: $*"
        else
            fail "$pair: $*" "status $got_status, should be $want_status"
            diff <(printf '%s\n' "$want_client") <(printf '%s\n' "$got_client") | sed 's/^/#   client /' | head -n 12
            diff <(printf '%s\n' "$want_server") <(printf '%s\n' "$got_server") | sed 's/^/#   server /' | head -n 12
            head -n 3 e1 e2 | sed 's/^/#   /'
        fi
    done
}
want_of() {
    before=$(wc -l <stock.txt)
    timeout 60 "$stock" -c 127.0.0.1 -p "$stock_port" "$@" >c1 2>e1 </dev/null
    want_status=$?
    want_client=$(shape <c1 | own_words)
    want_server=$(transcript stock.txt "$before")
}
got_of() {
    client=$stock target=$our_port file=ours.txt
    [ "${pair% to *}" = stock ] || client=$ours
    [ "${pair#* to }" = ours ] || target=$stock_port file=stock.txt
    before=$(wc -l <$file)
    timeout 60 "$client" -c 127.0.0.1 -p "$target" "$@" >c2 2>e2 </dev/null
    got_status=$?
    got_client=$(shape <c2 | own_words)
    got_server=$(transcript $file "$before")
}
while read -r options; do
    # shellcheck disable=SC2086 # words of options
    compare $options
done <<'EOF'
-n 2M
-n 2M -R
-n 2M --bidir
-k 20
-k 20 -R
-n 2M -P 2
-n 4M -P 4 -R
-n 4M -P 3 --bidir
-n 2M -i 0
-n 2M -V
-n 2M -V -R
-n 2M -V --bidir
-n 2M -P 2 -V
-n 2M -f k
-n 2M -f m
-n 2M -f g
-n 2M -f K
-n 2M -f M
-n 2M -l 1000
-n 2M -l 1M
-n 2M -l 1000 -N
-n 2M -w 64K
-n 2M -w 256K -R
-n 2M -M 1000
-n 2M -M 1000 -R
-n 2M -C cubic
-n 2M -C reno -R
-n 2M -Z
-n 2M -Z -R
-n 2M -S 16
-n 2M -S 0x20 -R
-n 2M --dscp ef
-n 2M --dscp 46
-n 2M -T a-title
-n 2M -b 200M
-n 2M -b 200M/4
-n 2M --fq-rate 400M
-n 2M --repeating-payload
-n 2M --extra-data word
-n 2M --connect-timeout 2000
-n 2M --snd-timeout 5000
-n 2M -R --rcv-timeout 3000
-n 2M -A 0
-n 2M -A 0,0
-n 2M -4
-n 2M -B 127.0.0.1
-n 2M --forceflush
-n 2M --timestamps
-n 500K --sctp
-n 500K --sctp -R
-n 500K -u -b 50M
-n 500K -u -b 50M -R
-n 500K -u -b 50M --bidir
-n 500K -u -b 50M -P 2
-n 500K -u -b 50M -V
-k 30 -u -b 50M
-n 200K -u -b 50M -l 1000
-n 200K -u -b 50M -l 1000 -R
-n 200K -u -b 50M -l 500 --udp-counters-64bit
-n 200K -u -b 50M -l 500 --udp-counters-64bit -R
-n 200K -u -b 50M/5 -l 1000
-n 200K -u -b 50M -l 1000 --repeating-payload
-n 200K -u -b 50M -l 1000 --dont-fragment
-t 1 -u -O 1
-t 1 -i 0.4 -R
-t 1 -i 0.4 --bidir
-t 1 -P 2 -O 1
-t 1 -i 0.4 -u -b 5M --bidir
-t 1 -P 2 -R
-t 1 -u
EOF
# Last: the real server gives its output to every later client, too, and sometimes with the lines before it.
while read -r options; do
    # shellcheck disable=SC2086
    compare $options
done <<'EOF'
-t 1 --get-server-output
-t 1 -R --get-server-output
-t 1 -u --get-server-output
EOF

# What a verbose server says. The real one does not know its segment size.
for options in "-n 2M" "-n 2M -R" "-n 200K -u -b 50M"; do
    for server in "$stock" "$ours"; do
        name=verbose.$([ "$server" = "$ours" ] && echo got || echo want)
        port=$(free_port)
        timeout 90 "$server" -s -V -1 -p "$port" --forceflush >"$name" 2>"$name.err" &
        await grep -q listening "$name"
        # shellcheck disable=SC2086
        run timeout 60 "$stock" -c 127.0.0.1 -p "$port" $options
        wait $!
        # Whether so short a test has an interval is chance.
        sed -i "s/MSS: [0-9]*/MSS: 0/; s/^Time: .*/Time:/; /^Starting Test/,/^- - -/{/^\[/d}" "$name"
    done
    is "a verbose server: $options" "$(shape <verbose.got)" "$(shape <verbose.want)"
done

# ---- JSON ----

cat >keys.py <<'EOF'
import json, sys
# Every key of the real one's document must be in ours, of the same type and in the same order; more may be there.
def kind(v):
    return 'number' if isinstance(v, (int, float)) and not isinstance(v, bool) else type(v).__name__
def walk(want, got, path, bad):
    if kind(want) != kind(got):
        bad.append('%s is %s, should be %s' % (path, kind(got), kind(want)))
    elif isinstance(want, dict):
        missing = [k for k in want if k not in got]
        if missing:
            bad.append('%s lacks %s' % (path, missing))
        if [k for k in got if k in want] != [k for k in want if k in got]:
            bad.append('%s has another order: %s' % (path, list(got)))
        for k in want:
            if k in got:
                walk(want[k], got[k], path + '.' + k, bad)
    elif isinstance(want, list) and want:
        if not got:
            bad.append('%s is empty' % path)
        else:
            walk(want[0], got[0], path + '[]', bad)
bad = []
walk(json.load(open(sys.argv[1])), json.load(open(sys.argv[2])), '', bad)
print('\n'.join(bad[:8]))
EOF
while read -r options; do
    # shellcheck disable=SC2086
    timeout 60 "$stock" -c 127.0.0.1 -p "$stock_port" -J $options >want.json
    for target in "$our_port" "$stock_port"; do
        # shellcheck disable=SC2086
        timeout 60 "$ours" -c 127.0.0.1 -p "$target" -J $options >got.json
        is "JSON of $options, $([ "$target" = "$our_port" ] && echo ours to ours || echo ours to stock)" \
            "$(python3 keys.py want.json got.json 2>&1)" ""
    done
done <<'EOF'
-n 1M
-n 1M -R
-n 1M --bidir
-n 1M -P 2
-n 1M -P 2 -R
-n 1M -P 2 --bidir
-n 1M -M 1000
-n 200K -u -b 50M
-n 200K -u -b 50M -R
-n 200K -u -b 50M --bidir
-n 200K -u -b 50M -P 2
-n 1M -T title --extra-data more
-n 1M --get-server-output
-t 1 -O 1
EOF
# The server's document, too.
while read -r options; do
    for server in "$stock" "$ours"; do
        name=server.$([ "$server" = "$ours" ] && echo got || echo want)
        port=$(free_port)
        "$server" -s -J -1 -p "$port" >"$name" 2>&1 &
        await listens "$port"
        # shellcheck disable=SC2086
        run timeout 60 "$stock" -c 127.0.0.1 -p "$port" $options
        wait $!
    done
    is "JSON of a server of $options" "$(python3 keys.py server.want server.got 2>&1)" ""
done <<'EOF'
-n 1M
-n 1M -R
-n 1M --bidir
-n 200K -u -b 50M
-n 200K -u -b 50M -R
EOF
run "$ours" -c 127.0.0.1 -p "$our_port" -n 1M --json-stream
check "a JSON object a line" 0 -
is "in order" "$(jq -r .event <"$out" 2>/dev/null | uniq | tr '\n' ' ')" "start interval end "
run "$ours" -c 127.0.0.1 -p 1 -J
check "an error stands in the document" 1 '~"error":	"unable to connect to server: Connection refused"'
is "laid out as cJSON does" "$(head -n 5 got.json | cat -A)" "$(head -n 5 want.json | cat -A)"

# ---- options that only the far side or the kernel can show ----

own=$(free_port)
run "$ours" -c 127.0.0.1 -p "$stock_port" -n 100K -B 127.0.0.1 --cport "$own"
check "own ports" 0 "~local 127.0.0.1 port $own connected"
ok "as the server sees them" grep -q "connected to 127.0.0.1 port $own" stock.txt

# server OPTIONS…: one of ours for what follows, on port $other_port.
other_port=$(free_port)
server() {
    "$ours" -s -p "$other_port" "$@" >other.txt 2>other.err &
    other=$!
    on_exit kill $other
    await grep -qs listening other.txt
}
stop_server() {
    kill $other 2>/dev/null
    wait $other
}
server --multi 2
"$ours" -c 127.0.0.1 -p "$other_port" -t 2 >first.txt 2>&1 &
first=$!
await grep -q Accepted other.txt
run "$ours" -c 127.0.0.1 -p "$other_port" -n 1M
check "two tests at the same time" 0 -
run "$stock" -c 127.0.0.1 -p "$other_port" -n 1M
check "by the real client, too" 0 -
wait $first
is "the first one goes on" $? 0
stop_server
server
"$ours" -c 127.0.0.1 -p "$other_port" -t 60 >first.txt 2>&1 &
first=$!
await grep -q Accepted other.txt
run "$ours" -c 127.0.0.1 -p "$other_port" -n 1M
check "else the second one hears that the server is busy" 1 "" "~the server is busy running a test. try again later"
kill $first
wait $first
stop_server
server --server-max-duration 2
run "$ours" -c 127.0.0.1 -p "$other_port" -t 3
check "a longer test than the server allows" 1 - "~exceeds the server's maximum permitted limit"
run "$ours" -c 127.0.0.1 -p "$other_port" -t 1
check "a shorter one" 0 -
stop_server
server --server-bitrate-limit 10M/0.5
run "$ours" -c 127.0.0.1 -p "$other_port" -b 20M -t 1
check "a rate above the limit is refused at once" 1 - "~total required bandwidth is larger than server limit"
run "$ours" -c 127.0.0.1 -p "$other_port" -t 5
check "and one that turns out to be above ends" 1 - "~total required bandwidth is larger than server limit"
run "$ours" -c 127.0.0.1 -p "$other_port" -b 2M -n 100K
check "one below is served" 0 -
stop_server
server --rcv-timeout 300
python3 - "$other_port" <<'EOF' >idle.txt 2>&1 &
import json, socket, struct, sys
c = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
cookie = b'c' * 36 + b'\0'
c.sendall(cookie)
c.recv(1)
params = json.dumps({'tcp': True, 'time': 9, 'parallel': 1, 'len': 1000}).encode()
c.sendall(struct.pack('>I', len(params)) + params)
c.recv(1)
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.sendall(cookie)
print(c.recv(2, socket.MSG_WAITALL), struct.unpack('>bi', c.recv(5, socket.MSG_WAITALL)))
EOF
wait $!
is "a client that sends nothing is left after the time" "$(cat idle.txt)" "b'\x01\x02' (-2, 144)"
stop_server
server --idle-timeout 1
inode() { readlink /proc/$other/fd/* | grep socket | sort | tr '\n' ' '; }
before=$(inode)
anew() { [ "$(inode)" != "$before" ]; }
ok "an idle server listens anew" await anew
stop_server

run "$ours" -s -p "$other_port" -D -1 -I pid --logfile log
check "a daemon leaves at once" 0 ""
await grep -qs listening log
is "its number is in the file, with a NUL as ever" "$(tr -d '\0' <pid) $(wc -c <pid)" "$(pgrep -f -- "-p $other_port -D -1") $(($(tr -d '\0' <pid | wc -c) + 1))"
run "$ours" -c 127.0.0.1 -p "$other_port" -n 1M --logfile client.log
check "a log takes what would be printed" 0 ""
like "all of it" "$(cat client.log)" "^iperf Done"
await test ! -e pid
like "the daemon's, too" "$(cat log)" "receiver"

run "$ours" -c 127.0.0.1 -p "$our_port" -n 1M --timestamps='T%s '
check "times before lines" 0 "~^T[0-9]{10} iperf Done"
run "$ours" -c 127.0.0.1 -p "$our_port" -n 1M -d
check "what goes over the wire is shown" 0 '~^	"xenkit_version":	1$'
if grep -qa __asan_init "$XENKIT"; then
    skip "options for the kernel" "a sanitizer cannot look for leaks under strace"
elif command -v strace >/dev/null; then
    run strace -f -o trace "$ours" -c 127.0.0.1 -p "$our_port" -n 100K -N -M 900 -C cubic -S 32 -w 50K --fq-rate 1G \
        --snd-timeout 7000 --cntl-ka=30/5/2 --dont-fragment --bind-dev lo
    check "options for the kernel" 0 -
    for option in TCP_NODELAY.*1 TCP_MAXSEG.*900 TCP_CONGESTION.*cubic IP_TOS.*32 SO_SNDBUF.*51200 SO_RCVBUF.*51200 \
        '0x2f.*125000000\|SO_MAX_PACING_RATE' TCP_USER_TIMEOUT.*7000 TCP_KEEPIDLE.*30 TCP_KEEPINTVL.*5 TCP_KEEPCNT.*2 \
        'IP_MTU_DISCOVER.*\(2\|IP_PMTUDISC_DO\)' SO_BINDTODEVICE.*lo; do
        ok "reach it: $option" grep -q "setsockopt.*\($option\)" trace
    done
    run strace -f -o trace "$ours" -c 127.0.0.1 -p "$our_port" -n 100K -R --fast
    check "without copying" 0 -
    ok "by MSG_TRUNC" grep -q "recvfrom.*MSG_TRUNC" trace
    run strace -f -o trace "$ours" -c 127.0.0.1 -p "$our_port" -n 100K -Z
    ok "a file in memory is sent" grep -q sendfile trace
    for options in "" "-A 0" "-b 1G" "-R"; do
        # shellcheck disable=SC2086
        run strace -f -o trace "$ours" -c 127.0.0.1 -p "$our_port" -n 10M $options
        placed=$(grep -c 'sched_setscheduler.*SCHED_BATCH' trace)
        followed=$(grep -c 'getsockopt.*\(SO_INCOMING_CPU\|0x31\)' trace)
        is "both ends here, ${options:-no options}: placed, followed" "$placed $((followed > 0))" \
            "$(case $options in '') echo "1 0" ;; -R) echo "1 1" ;; *) echo "0 0" ;; esac)"
    done
    run strace -f -o trace "$ours" -c 127.0.0.1 -p "$our_port" -n 100K -m
    ok "MPTCP is asked for" grep -q IPPROTO_MPTCP trace
else
    skip "options for the kernel" "strace is not installed"
fi

run "$ours" -c 127.0.0.1 -p "$our_port" -n 10M -R --fast -J
is "what is not copied counts all the same" "$(jq -c '[.end.sum_received.bytes, .xenkit.rx_copy]' <"$out")" '[10485760,false]'

# ---- exact ----

head -c 3333333 /dev/urandom >sent.bin
own=$(free_port)
"$ours" -s -1 -p "$own" -F received.bin >/dev/null 2>&1 &
receiver=$!
await "$ours" -c 127.0.0.1 -p "$own" -F sent.bin >/dev/null 2>&1
wait "$receiver"
ok "a file arrives whole" cmp sent.bin received.bin
run "$ours" -c 127.0.0.1 -p "$our_port" -n 10M -J
is "the receiver counts what the sender sent" "$(jq '.end.sum_sent.bytes == .end.sum_received.bytes' <"$out")" true

# Held up for 200 ms in the middle, a stream sends what was asked for all the same.
# (Who is held up at the end, too, by others, has no time left for it: then once more.)
is_kept() {
    jq -e '.end.sum_sent | (.bytes * 8 / .seconds / 20e6 - 1 | fabs) < 0.05' held.json
}
for _ in 1 2 3 4 5; do
    "$ours" -c 127.0.0.1 -p "$our_port" -u -b 20M -l 1000 -t 2 --forceflush -J >held.json &
    held=$!
    sleep 0.5
    kill -STOP $held
    sleep 0.2
    kill -CONT $held
    wait $held
    ! is_kept >is-kept || break
done
ok "a rate is kept through an interruption" is_kept

# ---- where the real one is wrong ----

# A file, both ways and with the real one at the other end: its last bytes are there, and no more than it has.
files() {
    own=$(free_port)
    rm -f received.bin
    if [ "$3" = -R ]; then
        server_file=sent.bin client_file=received.bin
    else
        server_file=received.bin client_file=sent.bin
    fi
    "$2" -s -1 -p "$own" -F $server_file >/dev/null 2>&1 &
    receiver=$!
    await listens "$own"
    # shellcheck disable=SC2086 # no word at all
    timeout 60 "$1" -c 127.0.0.1 -p "$own" -F $client_file $3 >/dev/null 2>&1
    wait "$receiver"
    cmp -s sent.bin received.bin
}
ok "a file arrives whole: ours to ours, -R" files "$ours" "$ours" -R
ok "a file arrives whole: the real client to our server" files "$stock" "$ours" ""
if cmp -s sent.bin received.bin; then
    pass "to its last byte"
else
    fail "to its last byte" "$(cmp sent.bin received.bin)"
fi

# Three datagrams of which one is lost and one came twice; the first two come while the beginning is left out.
cat >counts.py <<'EOF'
import json, socket, struct, sys, time
port, omit = int(sys.argv[1]), int(sys.argv[2])
def frame(d):
    b = json.dumps(d).encode()
    return struct.pack('>I', len(b)) + b
def take(n):
    got = b''
    while len(got) < n:
        more = c.recv(n - len(got))
        assert more
        got += more
    return got
c = socket.create_connection(('127.0.0.1', port), 60)
cookie = b'd' * 36 + b'\0'
c.sendall(cookie)
assert take(1) == b'\x09'
c.sendall(frame({'udp': True, 'omit': omit, 'time': 1, 'num': 0, 'blockcount': 0, 'parallel': 1, 'len': 1000,
                 'bandwidth': 1000000, 'client_version': '3.12'}))
assert take(1) == b'\x0a'
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.settimeout(60)
u.connect(('127.0.0.1', port))
u.send(b'9876')
assert u.recv(10) == b'6789'
assert take(2) == b'\x01\x02'
def data(n):
    u.send(struct.pack('>III', 0, 0, n) + b'x' * 988)
if omit:
    data(1), data(4)                                # two lost while it does not count
    time.sleep(omit + 1.5)
    first = 5
else:
    first = 1
for n in [first, first + 2, first + 2, first + 3]:  # one lost, one twice
    data(n)
time.sleep(1)
c.sendall(b'\x04')
assert take(1) == b'\x0d'
own = {'cpu_util_total': 1, 'cpu_util_user': 1, 'cpu_util_system': 0, 'sender_has_retransmits': 0, 'streams': [
    {'id': 1, 'bytes': 3000, 'retransmits': -1, 'jitter': 0, 'errors': 0, 'packets': first + 3, 'start_time': 0, 'end_time': 1}]}
if sys.argv[3] == 'new':
    own['streams'][0].update(omitted_errors=0, omitted_packets=4 if omit else 0)
c.sendall(frame(own))
r = json.loads(take(struct.unpack('>I', take(4))[0]))['streams'][0]
print(r['errors'] - r.get('omitted_errors', 0), r['packets'] - r.get('omitted_packets', 0), 'omitted_errors' in r)
c.sendall(b'\x10')
EOF
run python3 counts.py "$our_port" 0 new
check "a duplicate does not hide what is lost" 0 "1 4 True" -
run python3 counts.py "$our_port" 1 new
check "what is lost while the beginning is left out does not count" 0 "1 4 True" -
run python3 counts.py "$our_port" 1 old
check "and one that does not know of that hears the errors that count" 0 "1 8 False" -

# From one test to the next it listens to the same socket, and nobody meets a closed door.
own=$(free_port)
"$ours" -s -p "$own" >/dev/null 2>&1 &
server=$!
on_exit kill $server
await listens "$own"
before=$(ss -Hlnte "sport = :$own" | grep -o 'ino:[0-9]*')
for _ in 1 2 3 4 5; do
    "$ours" -c 127.0.0.1 -p "$own" -n 10K >>doors.txt 2>&1 || echo "status $?" >>doors.txt
done
is "no test meets a closed door" "$(grep -c '^iperf Done' doors.txt) $(grep -c 'refused\|status' doors.txt)" "5 0"
is "and the listener is the same" "$(ss -Hlnte "sport = :$own" | grep -o 'ino:[0-9]*')" "$before"
kill $server

# The newest iperf3, where somebody has built one: IPERF3_NEWEST=/path/to/iperf3.
if [ -n "${IPERF3_NEWEST:-}" ]; then
    serve "$IPERF3_NEWEST" newest.txt
    newest_port=$port
    while read -r options; do
        # shellcheck disable=SC2086
        run timeout 60 "$ours" -c 127.0.0.1 -p "$newest_port" $options
        check "to the newest server: $options" 0 -
        # shellcheck disable=SC2086
        run timeout 60 "$IPERF3_NEWEST" -c 127.0.0.1 -p "$our_port" $options
        check "from the newest client: $options" 0 -
        # shellcheck disable=SC2086
        run timeout 60 "$IPERF3_NEWEST" -c 127.0.0.1 -p "$newest_port" -J $options
        cp "$out" want.json
        # shellcheck disable=SC2086
        run timeout 60 "$ours" -c 127.0.0.1 -p "$our_port" -J $options
        is "and its JSON: $options" "$(python3 keys.py want.json "$out" 2>&1)" ""
    done <<'EOF'
-n 2M
-n 2M -R
-n 2M --bidir
-n 2M -P 4
-n 2M -Z
-n 2M -R --skip-rx-copy
-n 2M -m
-n 500K --sctp
-n 500K --sctp -R
-n 500K -u -b 50M
-n 500K -u -b 50M -R
-n 500K -u -b 50M --bidir
-n 500K -u -b 50M --gsro
-n 500K -u -b 50M --udp-counters-64bit
-t 1 -O 1
-t 1 -u -O 1
-n 2M --get-server-output
EOF
else
    skip "the newest iperf3" "IPERF3_NEWEST names none"
fi

# ---- who asks whom ----

cat >numbers.py <<'EOF'
import socket, struct, subprocess, sys
# A server that answers a client's cookie with an error's number: what does the client say?
listener = socket.socket()
listener.bind(('127.0.0.1', 0))
listener.listen(5)
port = str(listener.getsockname()[1])
for number in [int(n) for n in sys.argv[2].split(',')]:
    for system in (0, 111, -1, 99999) if number in (103, 142) else (0,):
        p = subprocess.Popen([sys.argv[1], '-c', '127.0.0.1', '-p', port], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        c, _ = listener.accept()
        c.recv(37)
        c.sendall(b'\xfe' + struct.pack('>ii', number, system))
        p.wait(60)
        print(number, system, p.returncode, p.stderr.read())
        c.close()
EOF
known=$(echo {0..27} 29 30 31 32 33 {100..138} {140..147} {200..208} 300 301 -1 -2147483648 2147483647 | tr ' ' ,)
python3 numbers.py "$stock" "$known" >numbers.want 2>&1
python3 numbers.py "$ours" "$known" >numbers.got 2>&1
ok "every error's number has the same words" diff numbers.want numbers.got

# ---- keys ----

if command -v openssl >/dev/null; then
    openssl genrsa -out private.pem 2048 2>/dev/null
    openssl rsa -in private.pem -pubout -out public.pem 2>/dev/null
    echo "mario,$(printf '{mario}secret' | sha256sum | cut -d ' ' -f 1)" >users
    export IPERF3_PASSWORD=secret
    for server in "$ours" "$stock"; do
        own=$(free_port)
        "$server" -s -p "$own" --forceflush --rsa-private-key-path private.pem --authorized-users-path users >auth.txt 2>&1 &
        auth_server=$!
        on_exit kill $auth_server
        await grep -q listening auth.txt
        for client in "$ours" "$stock"; do
            name="$([ "$client" = "$ours" ] && echo ours || echo stock) to $([ "$server" = "$ours" ] && echo ours || echo stock)"
            # Before 3.17 the padding was another one: ours reads both, and writes the old one when asked.
            padding=
            [ "$client" = "$stock" ] || padding=--use-pkcs1-padding
            run timeout 60 "$client" -c 127.0.0.1 -p "$own" -n 1M --username mario --rsa-public-key-path public.pem $padding
            check "a user with the right password, $name" 0 -
            IPERF3_PASSWORD=wrong run timeout 60 "$client" -c 127.0.0.1 -p "$own" -n 1M --username mario \
                --rsa-public-key-path public.pem $padding
            check "a wrong one, $name" 1 - "~test authorization failed"
        done
        kill $auth_server
        wait $auth_server 2>/dev/null
    done
    own=$(free_port)
    "$ours" -s -1 -p "$own" --rsa-private-key-path private.pem --authorized-users-path users >auth.txt 2>&1 &
    auth_server=$!
    await grep -q listening auth.txt
    IPERF3_PASSWORD=wrong run "$ours" -c 127.0.0.1 -p "$own" -n 1M --username mario --rsa-public-key-path public.pem
    check "a wrong password" 1 - "~test authorization failed"
    run "$ours" -c 127.0.0.1 -p "$own" -n 1M --username mario --rsa-public-key-path public.pem
    check "is not the one test that a server was to serve" 0 -
    wait $auth_server
    is "which this was" $? 0
    unset IPERF3_PASSWORD
else
    skip "authentication" "openssl is not installed"
fi

# ---- strangers ----

cat >strangers.py <<'EOF'
import socket, struct, sys, os, time, random
port = int(sys.argv[1])
def connect():
    return socket.create_connection(('127.0.0.1', port), 60)
def reply(data, more=b''):
    c = connect()
    c.sendall(data)
    got = c.recv(1)
    if more:
        try:
            c.sendall(more)
            c.settimeout(60)
            while c.recv(100):
                pass
        except OSError:
            pass
    c.close()
    return got
cookie = b'a' * 36 + b'\0'
random.seed(5)
silent = [connect() for _ in range(1000)]
for body in (b'', b'\0\0\0\5hello', b'\xff\xff\xff\xff', b'\0\0\0\2[]', b'\0\0\x20\1' + b'{' * 8193,
             struct.pack('>I', 40) + b'{"tcp":true,"parallel":999,"len":131072}',
             struct.pack('>I', 18) + b'{"tcp":1,"len":-1}', bytes(random.randrange(256) for _ in range(300))):
    assert reply(cookie, body or b'\0') == b'\x09', 'parameters are asked for'
first = connect()
first.sendall(cookie)
assert first.recv(1) == b'\x09'
assert reply(b'b' * 37) == b'\xff', 'busy'
first.close()
print('fine', len(silent))
EOF
ulimit -n 4096
run timeout 120 python3 strangers.py "$our_port"
check "a thousand silent connections and nonsense disturb nobody" 0 "fine 1000" -
run "$ours" -c 127.0.0.1 -p "$our_port" -n 1M
check "the next test goes as always" 0 - -

if grep -qa __asan_init "$XENKIT"; then
    skip "memory for many large blocks" "a sanitizer takes its own"
else
    serve "$ours" large.txt
    for options in "-l 1M -n 256M" "-l 1M -n 256M -R" "-l 60000 -u -b 0 -n 64M"; do
        # shellcheck disable=SC2086
        run "$ours" -c 127.0.0.1 -p "$port" -P 128 $options
        check "128 streams of the largest blocks: $options" 0 -
    done
    memory=$(awk '/VmHWM/ { print $2 }' /proc/$server/status)
    ok "take no more than 64 MiB: $memory KiB" test "$memory" -lt 65536
    kill $server
fi

# ---- the end ----

"$ours" -c 127.0.0.1 -p "$our_port" -t 30 --forceflush >cut.txt 2>cut.err &
cut=$!
await grep -q sec cut.txt
kill -TERM $cut
wait $cut
is "an interrupted client tells what there was" "$? $(grep -c sender cut.txt) $(cat cut.err)" \
    "0 1 iperf3: interrupt - the client has terminated"
kill -TERM "$our_server"
wait "$our_server"
is "a server that is stopped says so" "$? $(tail -n 1 ours.txt.err)" "0 iperf3: interrupt - the server has terminated"
done_testing
