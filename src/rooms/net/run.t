# xenkit net run and net serve on one machine, and beside stock iperf3; what needs a network of its own is in causes.t.

network=own
. "$XENKIT_SOURCE/tests/tap.sh"
requires jq python3

# serve NAME OPTIONS…: a server of ours on a port of its own, which is in $port.
serve() {
    log=$1
    shift
    "$XENKIT" net serve --port 0 --jsonl "$@" >"$log" 2>"$log.err" &
    server=$!
    on_exit kill "$server"
    await grep -q '"listening"' "$log"
    port=$(jq -r 'select(.event == "listening").detail | capture("port (?<p>[0-9]+)").p' "$log")
}

result() {
    jq -r "$1" "$out"
}

serve serve.log
first=$port
run xenkit net run --seconds 1 --json --title 'a <title>' --save saved.json --html page.html 127.0.0.1:"$first"
check "a test each way" 0 - ""
is "both ways are told" "$(result '[.results[] | .test] | join(" ")')" "send receive"
ok "what arrived was sent, and no more" \
    jq -e '[.results[] | .received_bytes > 1000000 and .received_bytes <= .sent_bytes] | all' "$out"
ok "a line for each second" jq -e '.intervals | length >= 2 and length <= 6' "$out"
ok "each way has one that held it up, with its numbers" \
    jq -e '[.limits[] | select(.main)] | length == 2 and all(.evidence | test("[0-9]"))' "$out"
is "the server says who it is" "$(result .server.program)" "xenkit $(cat "$XENKIT_SOURCE/VERSION")"
ok "the record holds parameters, environment, both ways and the samples" \
    jq -e '.tool == "net throughput" and .parameters.protocol == "tcp" and .parameters.title == "a <title>" and
        (.environment | type == "object") and .summary.send.rate_bps > 0 and .summary.receive.rates.median_bps > 0 and
        (.samples | length >= 10)' saved.json
ok "the page is whole" grep -q '</html>' page.html
ok "what is foreign in it is escaped" grep -q 'a &lt;title&gt;' page.html
nok "and only so" grep -q 'a <title>' page.html

run xenkit net run --seconds 1 --send --streams 3 127.0.0.1:"$first"
check "a table for people" 0 "~^send +all " ""
like "each stream has its row" "$(cat "$out")" '^send +4 '
like "and what to do" "$(cat "$out")" '^advice: '

# Only a machine that stands still is slower than that, or sends no echoes; then once more.
again() {
    for _ in 1 2 3 4 5; do
        run xenkit net run --seconds 1 --json "$@" 127.0.0.1:"$first"
        ! jq -e "$wanted" "$out" >"$tmp/wanted" || break
    done
}
wanted='[.results[] | .rate_bps > 15e6 and .rate_bps < 22e6] | all'
again --udp --both --rate 20M
check "datagrams both ways at once" 0 - ""
ok "none is made up" jq -e '[.results[] | .packets > 10 and .duplicates == 0 and .reordered == 0] | all' "$out"
ok "what is under way at the end is not lost" jq -e '[.results[] | .lost == 0] | all' "$out"
ok "at the rate asked for" jq -e "$wanted" "$out"

wanted='(.latency | length == 6) and ([.latency[] | .answered > 20 and .p50_ms <= .p90_ms and .p90_ms <= .p99_ms and
    .p99_ms <= .p999_ms and .p999_ms <= .max_ms] | all)'
again --send --latency --rate 10M
check "with echoes" 0 - ""
ok "percentiles, idle and loaded, round trip and both ways" jq -e "$wanted" "$out"
ok "two clocks that are one: no offset beyond the error that is told" \
    jq -e '.clock[0] | .one_way_error_ms > 0 and (.offset_ms | fabs) <= .one_way_error_ms' "$out"
ok "round trips a minute are what the delays say" \
    jq -e '[.latency[] | select(.path == "round-trip") | .rpm >= 60000 / .max_ms * 0.99 and
        .rpm <= 60000 / .p50_ms * 1.5] | all' "$out"

ok "the server told of each test" await grep -q '"result"' serve.log
is "and of none that failed" "$(grep -c '"failed"' serve.log)" 0

# ---- nobody is let in by accident ----

run python3 -c '
import sys
port = ":%04X" % int(sys.argv[1])
lines = [line.split() for name in ("tcp", "udp", "tcp6", "udp6") for line in open("/proc/net/" + name)]
print(sorted({line[1].split(":")[0] for line in lines if line[1].endswith(port) and line[3] in ("0A", "07")}))
' "$first"
check "without --bind only this machine is heard" 0 "['0100007F']"

cat >echoes.py <<'EOF'
import json, socket, struct, sys, time
at = ("127.0.0.1", int(sys.argv[1]))
COOKIE = b"abcdefghijklmnopqrstuvwxyz234" + b"-xenkit"

def begin(echo):
    control = socket.create_connection(at)
    control.sendall(COOKIE + b"\0")
    first = control.recv(1)
    if first == b"\xff":  # busy: it has not seen yet that the last one went
        time.sleep(0.05)
        return begin(echo)
    assert first == b"\x40"  # the greeting
    size, = struct.unpack(">I", control.recv(4, socket.MSG_WAITALL))
    greeting = json.loads(control.recv(size, socket.MSG_WAITALL))
    assert control.recv(1) == b"\x09"
    params = {"tcp": True, "omit": 0, "time": 1, "num": 0, "blockcount": 0, "parallel": 1, "len": 1000,
              "client_version": "3.21"}
    if echo:
        params["xenkit_echo"] = 1
    text = json.dumps(params).encode()
    control.sendall(struct.pack(">I", len(text)) + text)
    assert control.recv(1) == b"\x0a"
    return control, greeting

def ask(token, kind=1, size=56, source="127.0.0.1", patience=0.2):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((source, 0))
    s.settimeout(patience)
    s.sendto(struct.pack(">II16sQQQQ", 0x584b4531, kind, token, 7, 1, 0, 0).ljust(size, b"\0"), at)
    try:
        answer = s.recv(2000)
        return "%d bytes, kind %d, number %d" % (len(answer), *struct.unpack(">I16xQ", answer[4:32]))
    except TimeoutError:
        return "silent"

print("outside a test:", ask(COOKIE[:16]))
control, greeting = begin(False)
print("not asked for:", ask(COOKIE[:16]))
control.close()
control, greeting = begin(True)
print("a wrong token:", ask(b"b" * 16))
print("from elsewhere:", ask(COOKIE[:16], source="127.0.0.2"))
print("an answer:", ask(COOKIE[:16], kind=3))
print("as agreed:", ask(COOKIE[:16], patience=60))
print("place:", greeting["place"])
EOF
run python3 echoes.py "$first"
check "echoes only where they were asked for, to whom, and by whom" 0 "outside a test: silent
not asked for: silent
a wrong token: silent
from elsewhere: silent
an answer: silent
as agreed: 56 bytes, kind 3, number 7
place: 0"

# ---- a line, and several at once ----

# A machine that stands still for longer than the first one takes sees nobody wait: then the first one takes longer.
for seconds in 2 10 40; do
    serve queue.log --queue 1
    xenkit net run --seconds $seconds --send --rate 1M --json 127.0.0.1:"$port" >one.json 2>one.err &
    one=$!
    await grep -q '"test"' queue.log
    xenkit net run --seconds 1 --send --rate 1M --json 127.0.0.1:"$port" >two.json 2>two.err &
    two=$!
    waits() {
        grep -q '"waiting"' queue.log || ! kill -0 $two 2>/dev/null
    }
    await waits
    run xenkit net run --seconds 1 --send 127.0.0.1:"$port"
    ! kill -0 $one 2>/dev/null || break
    wait $one $two
    kill "$server"
done
check "when the line is full the server is busy" 4 - "~busy running a test"
ok "the next one waits" grep -q '"waiting"' queue.log
wait $one
is "the first one is done" $? 0
wait $two
is "then the second one" $? 0
is "which was told its place" "$(cat two.err)" "xenkit: 127.0.0.1 is busy: we are number 1 in line"
ok "and measured all of its time" jq -e '.results[-1].seconds > 0.9' two.json

serve multi.log --multi 2
xenkit net run --seconds 1 --send --rate 1M --json 127.0.0.1:"$port" >one.json 2>one.err &
one=$!
xenkit net run --seconds 1 --send --rate 1M --json 127.0.0.1:"$port" >two.json 2>two.err &
two=$!
wait $one
is "two at once: the first" $? 0
wait $two
is "and the second" $? 0
is "nobody waited or was refused" "$(jq -r .event multi.log | sort | uniq -c | tr -s ' \n' ' ')" " 1 listening 2 result 2 test "

serve once.log --once --max-seconds 1s
run xenkit net run --seconds 2 --send 127.0.0.1:"$port"
check "longer tests are refused" 4 - "~exceeds the server's maximum"
wait "$server"
is "that was its one test" $? 0

# ---- IPv6 ----

if "$XENKIT" net ports --ports 1 ::1 >/dev/null 2>&1 || [ $? -eq 1 ]; then
    serve six.log --ipv6
    run xenkit net run --seconds 1 --send --json "[::1]:$port"
    check "IPv6" 0 - ""
    is "by it" "$(result .server.address)" ::1
    is "packets larger than any datagram do not vanish" "$(result '[.limits[] | select(.limit == "mtu-black-hole")] | length')" 0
else
    skip "IPv6" "there is none here"
fi

# ---- errors ----

run xenkit net run 127.0.0.1:1
check "nobody there" 4 - "~unable to connect to server: Connection refused"
like "what to do" "$(cat "$err")" 'xenkit net serve'
for words in "--send --reverse" "--send --both" "--seconds 0.5" "--seconds 2d" "--ipv4 --ipv6" "--interval 1ms" \
    "--udp --nodelay" "--udp --block 8" "--block 2M" "--dont-fragment" "--file x" "--window 1G" "--omit 1h"; do
    # shellcheck disable=SC2086
    run xenkit net run $words 127.0.0.1:1
    check "refused: $words" 2 - "~^xenkit: "
done
run xenkit net serve --max-seconds 1.5
check "refused: a part of a second" 2 - "~whole seconds"
run xenkit net run --send --seconds 1 --congestion none 127.0.0.1:"$first"
check "an algorithm that is not here" 3 - "~congestion control algorithm not supported"

# ---- beside iperf3 ----

if command -v iperf3 >/dev/null; then
    run iperf3 -c 127.0.0.1 -p "$first" -t 1 -J
    check "iperf3 tests against net serve" 0 - ""
    stock=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    iperf3 -s -B 127.0.0.1 -p "$stock" --forceflush >stock.txt 2>&1 &
    on_exit kill $!
    await grep -q listening stock.txt
    run xenkit net run --seconds 1 --latency --json 127.0.0.1:"$stock"
    check "net run tests against iperf3" 0 - ""
    ok "both ways" jq -e '[.results[] | .received_bytes > 1000000] | all' "$out"
    like "what sends there does not tell what limits it" \
        "$(result '.limits[] | select(.test == "receive" and .main).limit')" '^(unknown|processor)$'
    is "the latency is TCP's own" "$(result '[.latency[].path] | unique | join(" ")')" tcp
    ok "of the way that we send" jq -e '.latency[] | select(.test == "send" and .state == "loaded") | .p50_ms > 0' "$out"
    run xenkit net run --seconds 1 --send 127.0.0.1:"$stock"
    check "and says that it is told less" 0 "~The server is no xenkit" ""
    run xenkit net run --seconds 1 --send --udp --rate 5M --json 127.0.0.1:"$stock"
    check "datagrams against iperf3" 0 - ""
    is "what it does not tell is not made up" \
        "$(jq -c '.results[] | select(.test == "send") | [.duplicates, .lost_in_socket, .reorder_distance]' "$out")" '[null,null,null]'
else
    skip "beside iperf3" "iperf3 is not installed"
fi

# ---- a picture on a terminal ----

cat >terminal.py <<'EOF'
import os, pty, re, sys
pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[1], [sys.argv[1], "net", "run", "--seconds", "1", "--send", "--streams", "2", "127.0.0.1:" + sys.argv[2]])
seen = b""
try:
    while chunk := os.read(fd, 65536):
        seen += chunk
except OSError:
    pass
text = seen.decode()
print(os.waitpid(pid, 0)[1], "send 1" in text, "send 3" in text, bool(re.search("[▁▂▃▄▅▆▇█]{3}", text)), "\033[J" in text,
      "START" in text, bool(re.search(r"send +all ", text)))
EOF
run python3 terminal.py "$XENKIT" "$first"
check "streams and their course in the place of lines; then the results" 0 "0 True True True True False True"

cat >widths.py <<'EOF'
import fcntl, os, pty, re, struct, sys, termios
for columns in (200, 80, 60, 40, 12):
    pid, fd = pty.fork()
    if pid == 0:
        os.read(0, 1)
        os.environ["TERM"] = "xterm"
        os.execv(sys.argv[1], [sys.argv[1], "net", "run", "-o", "/dev/null", "--seconds", "1", "--send", "127.0.0.1:" + sys.argv[2]])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.write(fd, b"\n")
    seen = b""
    try:
        while chunk := os.read(fd, 65536):
            seen += chunk
    except OSError:
        pass
    os.waitpid(pid, 0)
    lines = re.sub("\033\\[[0-9]*[A-Z]", "", seen.decode()).split("\n")
    print(columns, any("  send" in line for line in lines), max(len(line.strip("\r\n")) for line in lines) < columns)
EOF
run python3 widths.py "$XENKIT" "$first"
check "the picture is no wider than the terminal" 0 "200 True True
80 True True
60 True True
40 True True
12 True True"

# ---- the end ----

"$XENKIT" net serve --port 0 --json >last.json 2>last.err &
server=$!
await grep -q listening last.json
kill -TERM $server
wait $server
is "a server that is asked to stop has done its work" "$? $(cat last.err)" "0 "
ok "its JSON is whole" jq -e '.events[0].event == "listening" and (has("error") | not)' last.json

done_testing
