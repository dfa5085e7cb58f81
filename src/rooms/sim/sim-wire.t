# The wire of the simulated pool: HTTPS, certificates, addresses, hostile clients.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires openssl

# ---- HTTPS ----

start --tls --certificates pool.pem --hosts 2
curl="--cacert pool.pem"
like "HTTPS is announced" "$url" '^https://127\.0\.0\.1:[0-9]+$'
session=$(login)
like "a client that checks certificates gets in" "$session" OpaqueRef
is "at the slave, too" "$(ask "$slave" session.login_with_password '"root"' '"xenkit"' '"1.0"' '"t"' | jq -c '[.error.message] + .error.data')" \
    '["HOST_IS_SLAVE","127.0.0.1"]'
is "a client that does not trust them does not" "$(curl='' status "$url/")" 000
like "who speaks HTTP is told" "$(curl -s "http${url#https}/")" 'This port speaks HTTPS'
is "TLS 1.1 is refused" "$(status --tls-max 1.1 "$url/")" 000
is "TLS 1.2 is not" "$(status --tls-max 1.2 "$url/")" 200
printed=$(cut -f 3 "$tmp/sim.out" | head -n 2 | tr '\n' ' ')
shown=
for host in "$url" "$slave"; do
    shown="$shown$(openssl s_client -connect "${host#https://}" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256 | sed 's/.*=//') "
done
is "the printed fingerprints are those that are shown" "$printed" "$shown"
records=$(result Certificate.get_all_records "$session" | jq -c '[.[]] | sort_by(.fingerprint_sha256)')
is "so are those of the records" "$(echo "$records" | jq -r '.[].fingerprint_sha256' | sort | tr '\n' ' ')" \
    "$(echo "$shown" | tr ' ' '\n' | sed '/^$/d' | sort | tr '\n' ' ')"
is "each of a host" "$(echo "$records" | jq -c '[.[].type]')" '["host","host"]'
master=$(result pool.get_all_records "$session" | jq -c '[.[]][0].master')
is "which knows it" "$(result host.get_certificates "$session" "$master" | jq length)" 1
pem=$(result host.get_server_certificate "$session" "$master" | jq -r .)
is "and gives it away" "$(echo "$pem" | openssl x509 -noout -fingerprint -sha256 | sed 's/.*=//') " "${shown%% *} "
like "for its address and its names" "$(echo "$pem" | openssl x509 -noout -ext subjectAltName)" \
    'IP Address:127.0.0.1, DNS:host-1, DNS:localhost'
thumbprint() {
    curl -si $curl -H "x-xenapi-request-host-certificate-thumbprint: $1" \
        -d '{"id":1,"method":"session.login_with_password","params":["root","'"${3:-xenkit}"'"]}' "$2/jsonrpc" |
        tr -d '\r' | sed -n 's/^x-xenapi-response-host-certificate-thumbprint: //p'
}
is "a slave names its master's fingerprint when asked" "$(thumbprint sha-256:master "$slave")" "${shown%% *}"
is "in SHA-1, too" "$(thumbprint sha-1:master "$slave")" \
    "$(echo "$pem" | openssl x509 -noout -fingerprint -sha1 | sed 's/.*=//')"
is "not in another digest" "$(thumbprint md5:master "$slave")" ""
is "the master has no reason to" "$(thumbprint sha-256:master "$url")" ""
is "not even with another error" "$(thumbprint sha-256:master "$url" wrong)" ""
stop
is "and it ends" "$sim_status$(cat "$tmp/sim.err")" 0
curl=

# ---- addresses ----

start --listen 127.0.7.1 --hosts 2
is "hosts at addresses of our choice" "${url%:*} ${slave%:*}" "http://127.0.7.1 http://127.0.7.2"
is "that their records have" "$(session=$(login); result host.get_all_records "$session" | jq -c '[.[].address] | sort')" \
    '["127.0.7.1","127.0.7.2"]'
stop
start --listen 127.0.8.9,127.0.3.4 --hosts 2
is "or each at its own" "${url%:*} ${slave%:*}" "http://127.0.8.9 http://127.0.3.4"
stop
run xenkit sim --listen 192.0.2.1 --hosts 1
check "an address that others can reach needs a password" 2 "" "~everybody knows the default password"
printf 'secret\n' >password
run xenkit sim --listen 192.0.2.1 --hosts 1 --password-file password
check "and has to be there" 3 "" "~192.0.2.1"
run xenkit sim --listen 127.255.255.255 --hosts 2
check "the hosts that follow count, too" 2 "" -
for wrong in "" 127.0.0 127.0.0.1,127.0.0.1 1.2.3.4,,5.6.7.8 localhost 0.0.0.0 224.0.0.1 :: '[::]' '[::1' ff02::1 fe80::1 \
    ::ffff:127.0.0.1 '::1,[::1],127.0.0.1' '[127.0.0.1]' ::1%lo; do
    run xenkit sim --listen "$wrong" --hosts 3 --password-file password
    check "no addresses: '$wrong'" 2 "" "~--listen"
done
run xenkit sim --listen 127.0.0.1,127.0.0.2 --hosts 3
check "an address for some hosts only" 2 "" "~2 addresses were given for 3 hosts"
run xenkit sim --certificates x.pem
check "certificates without TLS" 2 "" "~--certificates"
run xenkit sim --tls --certificates missing/x.pem
check "certificates that cannot be written" 6 "" "~missing"

run xenkit sim --listen ::1 --hosts 2
check "behind ::1 there is no other address of the machine alone" 2 "" "~not enough addresses"
run xenkit sim --listen fd00::1 --hosts 1
check "IPv6 addresses that others can reach need a password, too" 2 "" "~everybody knows the default password"

# ---- IPv6 ----

if [ -s /proc/net/if_inet6 ]; then
    start --listen ::1,127.0.0.2 --hosts 2 --tls --certificates pool.pem --log log
    curl="--cacert pool.pem"
    like "IPv6 stands in brackets" "$url" '^https://\[::1\]:[0-9]+$'
    session=$(login)
    like "a client that checks certificates gets in by IPv6" "$session" OpaqueRef
    is "the record has the bare address" "$(result host.get_all_records "$session" | jq -c '[.[].address] | sort')" \
        '["127.0.0.2","::1"]'
    is "the slave names it bare, as the real one" \
        "$(ask "$slave" session.login_with_password '"root"' '"xenkit"' | jq -c '[.error.message] + .error.data')" \
        '["HOST_IS_SLAVE","::1"]'
    printf xenkit >password
    run xenkit api call --password-file password --ca pool.pem "$slave" host.get_all --json
    check "our own client follows it" 0 - "~::1"
    is "its management interface says IPv6" "$(result PIF.get_all_records "$session" | jq -c '[.[] | select(.management) |
        [.primary_address_type, .IPv6[], .IP, .ip_configuration_mode, .ipv6_configuration_mode]] | sort')" \
        '[["IPv4","127.0.0.2","Static","None"],["IPv6","::1/64","","None","Static"]]'
    like "consoles are in brackets" "$(result console.get_all_records "$session" | jq -r '.[].location')" '^https://\[::1\]/console'
    running=$(result VM.get_all_records "$session" | jq -r --arg h "$(result host.get_by_name_label "$session" '"host-1"' | jq -r '.[0]')" \
        '[.[] | select(.resident_on == $h and .domid != "0")][0].uuid')
    like "who asks the wrong host is sent to brackets" "$(curl -si $curl "$slave/vm_rrd?uuid=$running&session_id=$(echo "$session" | tr -d '"')")" \
        "^Location: https://\\[::1\\]:${url##*:}/vm_rrd\\?"
    call session.login_with_password '"root"' '"xenkit"' >/dev/null
    like "the log knows its clients" "$(cat log)" '::1->'
    stop
    is "and it ends" "$sim_status$(cat "$tmp/sim.err")" 0
    curl=
else
    skip "IPv6" "there is none here"
fi

# ---- texts that are no UTF-8 ----

start --hosts 1 --vms 2
session=$(login)
vm=$(result VM.get_all "$session" | jq '.[0]')
want='["INVALID_VALUE","Invalid UTF-8 string in parameter","a\ufffdb"]'
printf '{"jsonrpc":"2.0","id":1,"method":"VM.set_name_label","params":[%s,%s,"a\377b"]}' "$session" "$vm" >bytes
is "in JSON it is an error of the parameter" "$(curl -s --data-binary @bytes "$url/jsonrpc" | jq -c '[.error.message] + .error.data')" \
    "$(echo "$want" | jq -c .)"
printf '{"id":1,"method":"VM.add_to_other_config","params":[%s,%s,"k",{"x":["a\377b"]}]}' "$session" "$vm" >bytes
is "however deep it is" "$(curl -s --data-binary @bytes "$url/jsonrpc" | jq -c .error)" "$(echo "$want" | jq -c .)"
printf '<?xml version="1.0"?><methodCall><methodName>VM.set_name_label</methodName><params><param><value>%s</value></param><param><value>%s</value></param><param><value>a\377b</value></param></params></methodCall>' \
    "$(echo "$session" | jq -r .)" "$(echo "$vm" | jq -r .)" >bytes
like "in XML, too" "$(curl -s --data-binary @bytes "$url/")" \
    '<value>INVALID_VALUE</value><value>Invalid UTF-8 string in parameter</value><value>a.b</value>'
printf '{"id":1,"method":"VM.get_all","params":[%s],"x\377":1' "$session" >bytes
is "what is no document for other reasons stays none" "$(status --data-binary @bytes "$url/jsonrpc")" 500
is "the name is what it was" "$(result VM.get_name_label "$session" "$vm" | grep -c 'a.b')" 0
is "a command of more than 200 KiB is refused from its head" \
    "$(printf 'POST /cli HTTP/1.0\r\nContent-Length: 204801\r\n\r\n' | timeout 60 curl -s "telnet://${url#http://}" | head -n 1 | tr -d '\r')" \
    "HTTP/1.1 500 Internal Server Error"
stop

# ---- pages ----

start
session=$(login)
vm=$(result VM.get_by_name_label "$session" '"web-01"' | jq '.[0]')
call VM.set_name_label "$session" "$vm" '"<script>alert(1)</script>&"' >/dev/null
call task.create "$session" '"a <task>"' '""' >/dev/null
curl -s "$url/services" >page
like "the pool as a page" "$(cat page)" '<dt>Sessions</dt><dd>1</dd>'
like "names are escaped" "$(cat page)" '&lt;script&gt;alert\(1\)&lt;/script&gt;&amp;'
nok "all of them" grep -q '<script>alert' page
like "tasks, too" "$(cat page)" '>a &lt;task&gt;</th><td>pending</td>'
is "a slave has it" "$(status "$slave/")" 200
stop

# ---- clients that mean harm, or are only slow ----

cat >hostile.py <<'PYTHON'
import json, os, resource, socket, ssl, sys, time
url, pid = sys.argv[1], sys.argv[2]
# A sanitizer keeps what was freed, and puts much around what was not.
scale = 4 if b"__asan_init" in open(os.environ["XENKIT"], "rb").read() else 1
scheme, rest = url.split("://")
host, port = rest.split(":")
tls = ssl.create_default_context(cafile="pool.pem") if scheme == "https" else None
resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)

def connect(plain=False):
    s = socket.create_connection((host, int(port)), timeout=60)
    return tls.wrap_socket(s, server_hostname=host) if tls and not plain else s

def head(s):
    got = b""
    while b"\r\n\r\n" not in got:
        piece = s.recv(4096)
        if not piece:
            break
        got += piece
    return got.split(b"\r\n")[0].decode()

def request(path, body, extra=b""):
    return b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n%s\r\n%s" % (path, len(body), extra, body)

def call(s, method, *params):
    s.sendall(request(b"/jsonrpc", json.dumps({"id": 1, "method": method, "params": params}).encode()))
    got = b""
    while b"\r\n\r\n" not in got:
        got += s.recv(65536)
    top, body = got.split(b"\r\n\r\n", 1)
    length = int([l for l in top.split(b"\r\n") if l.lower().startswith(b"content-length")][0].split(b":")[1])
    while len(body) < length:
        body += s.recv(1 << 20)
    return json.loads(body)["result"]

def memory_mib():
    return [int(l.split()[1]) for l in open("/proc/%s/status" % pid) if l.startswith("VmRSS")][0] // 1024

good = connect()
session = call(good, "session.login_with_password", "root", "xenkit")
def others():
    begun = time.monotonic()
    assert len(call(good, "host.get_all", session)) == 3
    return time.monotonic() - begun

kept = []
for number in range(1000):
    s = connect(plain=number % 10 == 9)  # with TLS, one of ten never shakes hands
    if number % 10 < 3:
        s.sendall(b"POST / HTTP/1.1\r\nX: ")
    elif number % 10 < 6:
        s.sendall(b"POST /jsonrpc HTTP/1.1\r\nContent-Length: 300000\r\n\r\n{")
    kept.append(s)
assert others() < 30, "a thousand connections disturb others"
print("a thousand connections: %s" % ("bounded" if memory_mib() < 200 * scale else "%d MiB" % memory_mib()))

for text, status in [
    (b"POST / HTTP/1.1\r\nContent-Length: 307201\r\n\r\n", "500"),
    (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "400"),
    (b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", "400"),
    (b"POST / HTTP/1.1\r\nContent-Length: 5, 6\r\n\r\n", "400"),
    (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "400"),
    (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
    (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "500"),
    (b"POST / HTTP/1.1\r\n\r\n", "500"),
    (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100 + b"\r\n", "431"),
    (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", "431"),
    (b"GET / HTTP/2.0\r\n\r\n", "505"),
    (b"\0\0\0\0\r\n\r\n", "400"),
    (b"GET / HTTP/1.0\r\n\r\n", "200"),
    (request(b"/jsonrpc", b"[" * 50000), "500"),
    (request(b"/", b"<a>" * 50000), "500"),
    (request(b"/", b"<!DOCTYPE a [<!ENTITY b '" + b"c" * 1000 + b"'>]><a>&b;</a>"), "500"),
]:
    s = connect()
    s.sendall(text)
    line = head(s)
    assert line.split()[1] == status, (text[:60], line)
    rest = s.recv(1 << 20)
    while rest:
        rest = s.recv(1 << 20)
    s.close()
print("what is wrong is refused, and the connection ends")

s = connect()
s.sendall(b"".join(request(b"/jsonrpc", b'{"id":%d,"method":"host.get_all","params":["%s"]}' % (i, session.encode())) for i in range(50)))
got = b""
while got.count(b'"id":') < 50:
    got += s.recv(65536)
assert [int(p.split(b"}")[0]) for p in got.split(b'"id":')[1:]] == list(range(50))
print("fifty requests at once are answered in order")

slow = []
body = json.dumps({"id": 1, "method": "VM.get_all_records", "params": [session]}).encode()
for number in range(int(sys.argv[3])):
    s = connect()
    s.sendall(request(b"/jsonrpc", body))
    slow.append(s)
    if number % 20 == 0:
        assert others() < 30, "slow readers disturb others"
others()
print("slow readers of large replies: %s" % ("bounded" if memory_mib() < 600 * scale else "%d MiB" % memory_mib()))
assert len(call(good, "VM.get_all_records", session)) > 1500
PYTHON
if command -v python3 >/dev/null; then
    for scheme in http https; do
        set --
        [ $scheme = http ] || set -- --tls --certificates pool.pem
        start --vms 1500 "$@"
        run timeout 280 python3 hostile.py "$url" $pid 150
        check "$scheme: clients that mean harm" 0 "a thousand connections: bounded
what is wrong is refused, and the connection ends
fifty requests at once are answered in order
slow readers of large replies: bounded"
        stop
        is "$scheme: and all of it ends well" "$sim_status$(cat "$tmp/sim.err")" 0
    done
else
    skip "clients that mean harm" "python3 is not installed"
fi
done_testing
