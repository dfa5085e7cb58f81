#!/bin/bash
# The classic iperf (2.x) among peers that mean it no good, and what its options do, seen from outside. No other iperf is
# needed.

network=own
. "$XENKIT_SOURCE/tests/tap.sh"
requires python3 ss
mkdir "$tmp/bin"
ln -s "$XENKIT" "$tmp/bin/iperf"
iperf=$tmp/bin/iperf

free_port() {
    python3 -c '
import random, socket
while True:
    port = random.randrange(12000, 32000)
    try:
        held = [socket.socket(socket.AF_INET6, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
        for s in held:
            s.bind(("::", port))
        print(port)
        break
    except OSError:
        pass'
}

# serve NAME OPTIONS…: a server on a free port, which is in $port; its process in $server.
serve() {
    name=$1
    port=$(free_port)
    shift
    "$iperf" -s -p "$port" "$@" >"$name" 2>"$name.err" </dev/null &
    server=$!
    on_exit kill "$server"
    await grep -q '^Server listening' "$name"
}

# stops NAME SECONDS PID: the process ends by itself in that time.
stops() {
    if timeout "$2" tail --pid="$3" -f /dev/null; then
        pass "$1"
    else
        fail "$1" "it still runs after $2 s"
        kill -9 "$3"
    fi
}

# ---- peers that mean no good ----

serve tcp.txt
tcp_port=$port tcp_server=$server
serve udp.txt -u
udp_port=$port udp_server=$server

# A client that is killed in the middle; the sender of datagrams is missed after ten seconds, and is looked at below.
"$iperf" -c 127.0.0.1 -p "$udp_port" -u -b 1m -t 60 >/dev/null 2>&1 &
killed=$!
await grep -q connected udp.txt
kill -9 $killed
"$iperf" -c 127.0.0.1 -p "$tcp_port" -t 60 >/dev/null 2>&1 &
killed=$!
await grep -q connected tcp.txt
kill -9 $killed
ok "a TCP client that is killed ends its stream" await grep -q '^\[  1\] .* sec ' tcp.txt

cat >hostile.py <<'PY'
import os, random, resource, socket, struct, sys
tcp, udp = int(sys.argv[1]), int(sys.argv[2])
limit = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limit[1]), limit[1]))
random.seed(7)
held = []
for _ in range(1000):                                   # 1,000 that say nothing
    held.append(socket.create_connection(("127.0.0.1", tcp)))
def header(flags, rest=b""):
    return struct.pack(">I", flags) + rest
cases = [b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 400, os.urandom(700),
         header(0x40010078), header(0x40010000), header(0x400101fe), header(0x50010078, b"\0" * 56 + b"\xff\xff"),
         header(0x5001007c, b"\0" * 56 + b"\0\x03abc"), header(0xc0010079, b"\0" * 56),
         header(0x44010078, struct.pack(">5I", 1, 5001, 0xffffffff, 0, 0xffffffff) + b"\0" * 8 +
                struct.pack(">H", 0x0400) + b"\0" * 26)]
for case in cases + [os.urandom(random.randrange(1, 90)) for _ in range(40)]:
    c = socket.create_connection(("127.0.0.1", tcp))
    c.sendall(case)
    if random.random() < 0.5:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
half = socket.create_connection(("127.0.0.1", tcp))     # half a header
half.sendall(header(0x40010078, b"\0" * 20))
held.append(half)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for case in cases + [os.urandom(random.randrange(1, 900)) for _ in range(40)]:
    if case:
        u.sendto(case, ("127.0.0.1", udp))
# The last datagram of a test that never was is not answered.
u2 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u2.settimeout(0.7)
u2.sendto(struct.pack(">iIIi", -5, 0, 0, -1) + b"\0" * 100, ("127.0.0.1", udp))
try:
    print("answered", len(u2.recv(2000)))
except OSError:
    print("silent")
print("ready", flush=True)
sys.stdin.read()
PY
mkfifo hold
python3 hostile.py "$tcp_port" "$udp_port" <hold >hostile.txt 2>hostile.err &
exec 9>hold
await grep -q ready hostile.txt
is "what is no test is not answered" "$(head -n 1 hostile.txt)" silent
run timeout 60 "$iperf" -c 127.0.0.1 -p "$tcp_port" -n 1M
check "beside 1,000 silent connections and garbage a client is served: TCP" 0 "~ 1.00 MBytes "
run timeout 60 "$iperf" -c 127.0.0.1 -p "$udp_port" -u -n 50K -b 10m
check "and UDP" 0 "~ Server Report:"
# Half open and silent ones are let go after four seconds.
gone() {
    [ "$(ss -Htn state established "sport = :$tcp_port" | wc -l)" -eq 0 ]
}
ok "silent connections are ended" await gone
exec 9>&-
like "and told" "$(sort -u tcp.txt.err)" '^read tcp flags \((runt|peer close)\) failed$'
kill -TERM "$tcp_server"
stops "the TCP server ends when it is asked to" 60 "$tcp_server"

# A server that is killed, or never answers.
serve dies.txt
"$iperf" -c 127.0.0.1 -p "$port" -t 60 >dies.c 2>dies.ce &
client=$!
await grep -q connected dies.txt
kill -9 "$server"
stops "a client ends when its server is killed" 60 $client
wait $client
is "and says so" "$? $(grep -c 'failed: ' dies.ce)" "1 1"
serve dies2.txt
"$iperf" -c 127.0.0.1 -p "$port" -t 60 -R >dies.c 2>dies.ce &
client=$!
await grep -q connected dies2.txt
kill -9 "$server"
stops "when it receives, too" 60 $client
wait $client
is "and says so, too" "$? $(cat dies.ce)" "1 recv failed: Connection reset by peer"
serve dies3.txt -u
"$iperf" -c 127.0.0.1 -p "$port" -u -t 2 -R >dies3.c 2>dies3.ce &
receiver=$!
await grep -q connected dies3.txt
kill -9 "$server"
serve dies4.txt -u
"$iperf" -c 127.0.0.1 -p "$port" -u -t 2 -i 0.5 -R >dies4.c 2>dies4.ce &
late_receiver=$!
await grep -q '1.0000-1.5000 sec' dies4.c
kill -9 "$server"

cat >mute.py <<'PY'
# Takes connections and datagrams, and says nothing.
import socket, sys, time
t = socket.socket(); t.bind(("127.0.0.1", 0)); t.listen()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0))
print(t.getsockname()[1], u.getsockname()[1], flush=True)
held = []
while True:
    held.append(t.accept()[0])
PY
python3 mute.py >mute.txt &
on_exit kill $!
await test -s mute.txt
read -r mute_tcp mute_udp <mute.txt
run timeout 60 "$iperf" -c 127.0.0.1 -p "$mute_udp" -u -t 0.1
check "a server that never acknowledges is told" 1 - "~did not receive ack of last datagram after 10 tries"
run timeout 60 "$iperf" -c 127.0.0.1 -p "$mute_tcp" -t 0.2 -R
check "one that never sends ends with the time" 0 "~^\[ \*1\] .* sec  0.000 Bytes"
# One that reads nothing: what was written is told, and that nobody took it.
run timeout 60 "$iperf" -c 127.0.0.1 -p "$mute_tcp" -t 0.2
check "one that never reads" 1 "~^\[  1\] " "client await server close failed: Connection timed out"

wait $receiver
is "a server of datagrams that is gone is told in the end" "$? $(cat dies3.ce)" "1 recvmsg failed: Connection timed out"
wait $late_receiver
is "also one that went near the end" "$? $(cat dies4.ce)" "1 recvmsg failed: Connection timed out"

# ---- stops ----

serve stop.txt
"$iperf" -c 127.0.0.1 -p "$port" -t 60 -i 60 >stop.c 2>&1 &
client=$!
await grep -q connected stop.txt
kill -TERM $client
wait $client
is "a client that is stopped tells what there was" "$? $(grep -c ' sec ' stop.c)" "0 1"
"$iperf" -c 127.0.0.1 -p "$port" -t 60 >stop2.c 2>&1 &
client=$!
await grep -q '^\[  2\]' stop.txt
kill -TERM "$server"
stops "a server that is stopped ends" 60 "$server"
stops "and with it its client" 60 $client
is "and says that it does" "$(cat stop.txt.err)" "Waiting for server threads to complete. Interrupt again to force quit."
is "and what there was" "$(grep -c ' sec ' stop.txt)" 2

# ---- options ----

serve once.txt -P 1
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -n 128K
stops "-P 1: the server ends after one connection" 60 "$server"
serve time.txt -t 1
stops "-t: it ends after its time" 60 "$server"
port=$(free_port)
run "$iperf" -s -p "$port" -D
check "-D: in the background" 0 "" "Running Iperf Server as a daemon"
listens() {
    [ -n "$(ss -Hlnt "sport = :$port")" ]
}
await listens
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -n 128K
check "which serves" 0 "~ sec "
daemon=$(ss -Hlntp "sport = :$port" | grep -o 'pid=[0-9]*')
kill "${daemon#pid=}"
port=$(free_port)
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -n 128K -o out.txt
check "-o: the output goes to a file" 1 "Output from stdout and stderr will be redirected to file out.txt"
like "with its errors" "$(cat out.txt)" "tcp connect failed: Connection refused"

serve key.txt --permit-key=open-sesame
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -n 4M --permit-key=open-barley
check "a wrong key" 1 - -
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -n 4M
check "no key" 1 - -
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -n 128K --permit-key=open-sesame
check "the right key" 0 "~^\[open-sesame\(1\)\] .* sec "
await grep -q ' sec ' key.txt
is "the server has taken one" "$(grep -c '^\[drop\] .*(permit key fail)$' key.txt) $(grep -c ' sec ' key.txt)" "2 1"

serve many.txt -i 1
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -P 8 -t 0.3
check "eight streams" 0 "~^\[SUM\] "
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" --connect-only=3
is "--connect-only" "$status $(grep -c ' (ct=.* ms) on ' "$out")" "0 3"
run timeout 60 "$iperf" -c localhost -p "$port" -n 128K --txdelay-time 0.3
check "--txdelay-time" 0 "~ Client traffic to start in 1 seconds at "
run timeout 60 env IPERF_PORT="$port" IPERF_NUM=128K IPERF_CLIENT=127.0.0.1 "$iperf"
check "options from the environment" 0 "~  128 KBytes "
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -n 128K -x S
nok "-x S" grep -q '^Client connecting' "$out"
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -n 128K -x D
nok "-x D" grep -q ' sec ' "$out"
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -t 0.3 -P 2 -x M
nok "-x M" grep -q SUM "$out"
head -c 300000 /dev/urandom >bytes
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -F bytes -y C
is "-F: all bytes and the header" "$(cut -d , -f 8 "$out")" 300060
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -I -y C
is "-I: nothing on standard input" "$(cut -d , -f 8 "$out")" 60
like "-y C has the time of day" "$(cut -d , -f 1 "$out")" "^$(date +%Y%m%d)"
serve udp2.txt -u
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -u -n 50K -b 10m -x V
nok "-x V" grep -q 'Server Report' "$out"
serve six.txt -V
run timeout 60 "$iperf" -c ::1 -V -p "$port" -n 128K
check "IPv6" 0 "~ local ::1 port .* connected with ::1 port "
run timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -n 128K
check "the same server by IPv4" 0 "~ sec "
serve six6.txt -V -u
run timeout 60 "$iperf" -c ::1 -V -u -p "$port" -n 50K -b 10m
check "datagrams over IPv6 are shorter" 0 "~^Sending 1450 byte datagrams"
like "and reported" "$(cat "$out")" "Server Report:"

# Several clients of a UDP server at the same time, the next as soon as one ends: none is lost, none counts for another.
serve crowd.txt -u
crowd=()
for i in 1 2 3 4 5 6; do
    for j in 1 2 3; do
        timeout 60 "$iperf" -c 127.0.0.1 -p "$port" -u -n 30K -b 4m >"crowd$i.$j" 2>&1
        echo $? >>crowd.status
    done &
    crowd+=($!)
done
wait "${crowd[@]}"
is "18 clients of a UDP server" "$(sort crowd.status | uniq -c | xargs)" "18 0"
is "lose nothing" "$(grep -hA 2 'Server Report' crowd?.? | grep -c ' 0/22 (0%)')" 18

# ---- rates ----

cat >rate.py <<'PY'
# What a client sends, by its own stamps: its rate, the median gap in microseconds, how many, and what share of the time
# it waited for a processor, in percent.
import os, socket, struct, subprocess, sys
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
u.bind(("127.0.0.1", 0))
u.settimeout(60)
client = subprocess.Popen([sys.argv[1], "-c", "127.0.0.1", "-u", "-p", str(u.getsockname()[1])] + sys.argv[2:],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
at, sizes = [], []
while True:
    d = u.recv(65536)
    number, s, us = struct.unpack(">iII", d[:12])
    if number < 0:
        break
    at.append(s * 1000000 + us)
    sizes.append(len(d))
# How long it had to leave its processor to others, of the whole time.
waited = sum(int(open("/proc/%d/task/%s/schedstat" % (client.pid, t)).read().split()[1]) for t in os.listdir("/proc/%d/task" % client.pid))
client.kill()
gaps = sorted(b - a for a, b in zip(at, at[1:]))
print(sum(sizes[1:]) * 8e6 / (at[-1] - at[0]), gaps[len(gaps) // 2], len(at), waited / 1e4 / (at[-1] - at[0]))
PY
# rate NAME WANTED-BPS WANTED-GAP-US OPTIONS…: within 0.5 %. What a busy neighbour takes from the sender is no fault of its:
# the kernel tells how long that was.
rate() {
    name=$1 want=$2 gap=$3
    shift 3
    for try in $(seq 20); do
        [ "$try" -lt 6 ] || sleep 0.5 # what a host takes from this machine shows nowhere in it, and passes
        python3 rate.py "$iperf" "$@" >rate.txt 2>&1
        awk -v want="$want" -v gap="$gap" '{ e = $1 / want - 1; g = $2 / gap - 1 }
            END { exit !(NR == 1 && e < 0.005 && e > -0.005 && g < 0.01 && g > -0.01) }' rate.txt && {
            pass "$name"
            return
        }
    done
    if awk '{ exit !($4 > 0.5) }' rate.txt; then
        skip "$name" "this machine is too busy for it: $(cat rate.txt)"
        return
    fi
    fail "$name" "bits a second, median gap, datagrams, % of the time without a processor: $(cat rate.txt); wanted $want, $gap"
}
rate "1 Mbit/s" 1000000 11760 -b 1m -t 0.7
rate "20 Mbit/s" 20000000 588 -b 20m -t 0.5
rate "100 Mbit/s" 100000000 118 -b 100m -t 0.5
rate "1,000 datagrams a second" 1600000 1000 -b 1000pps -l 200 -t 0.5

# By now its ten seconds are over.
ok "a sender of datagrams that was killed is missed" await grep -q '^\[  1\] .* sec ' udp.txt
kill -TERM "$udp_server"
stops "the UDP server ends when it is asked to" 60 "$udp_server"

done_testing
