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
is "a client that does not trust them does not" "$(curl= status "$url/")" 000
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
for wrong in "" 127.0.0 127.0.0.1,127.0.0.1 1.2.3.4,,5.6.7.8 ::1 localhost 0.0.0.0 224.0.0.1; do
    run xenkit sim --listen "$wrong" --hosts 3 --password-file password
    check "no addresses: '$wrong'" 2 "" "~--listen"
done
run xenkit sim --listen 127.0.0.1,127.0.0.2 --hosts 3
check "an address for some hosts only" 2 "" "~2 addresses were given for 3 hosts"
run xenkit sim --certificates x.pem
check "certificates without TLS" 2 "" "~--certificates"
run xenkit sim --tls --certificates missing/x.pem
check "certificates that cannot be written" 6 "" "~missing"
done_testing
