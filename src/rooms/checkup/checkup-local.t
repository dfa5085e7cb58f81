# A host of a pool examines the pool through its own socket. In namespaces of its own, where the simulated pool has the
# socket and the ports that a real one has.
# shellcheck disable=SC2154

. "$XENKIT_SOURCE/tests/tap.sh"
requires unshare ip curl jq
unshare -mn true 2>/dev/null || skip_all "namespaces cannot be made here"
export XDG_STATE_HOME="$tmp/state"
cat >inside.sh <<'EOF'
ip link set lo up
mount -t tmpfs none /var/lib && mkdir -p /var/lib/xcp
mkfifo ready
"$XENKIT" sim --plain --hosts 4 --tls --port 443 --socket /var/lib/xcp/xapi --log log --fault host=2,skew=90s --fault host=3,cpu=97% >ready 2>sim.err &
pid=$!
read -r _ <ready
stat -c %a /var/lib/xcp/xapi >mode
cat ready >/dev/null &
"$XENKIT" checkup --json --skip machine >found </dev/null 2>errors
echo $? >status
"$XENKIT" checkup --skip machine --json unix:/var/lib/xcp/xapi >named 2>&1 </dev/null
curl -sk https://127.0.0.1/jsonrpc -d '{"id":1,"method":"session.login_with_password","params":["root","wrong"]}' --max-time 20 >refused
"$XENKIT" pool sessions --json --live /var/lib/xcp/xapi >sessions 2>&1
"$XENKIT" pool clock --json >clock 2>&1 </dev/null
kill $pid
wait $pid
ls /var/lib/xcp >left
EOF
unshare -mn sh inside.sh
[ -s found ] || diag "$(cat sim.err errors)"
is "only its owner may open the socket" "$(cat mode)" 600
is "without a target, the pool of this host is asked" "$(cat status) $(jq -c '[.findings[] | [.check, .object]]' found)" '1 [["pool.clock-skew","host-2"],["pool.cpu","host-3"]]'
is "nobody is told of certificates that the master vouches for" "$(grep -c 'first connection' errors)" 0
is "the same by its name" "$(jq -c '[.findings[] | .object]' named)" '["host-2","host-3"]'
like "over the network the password counts" "$(cat refused)" 'SESSION_AUTHENTICATION_FAILED'
is "the log knows which way" "$(jq -r '[.sessions[] | select(.originator | startswith("xenkit")) | .via] | unique | join(" ")' sessions)" UNIX
is "the logs of every host, by their own ports" "$(jq -c '[.logs[].read] | unique' sessions)" '[true]'
is "clocks and certificates" "$(jq -c '[.clocks[] | .certificate] | unique' clock)" '["valid"]'
is "the socket is gone in the end" "$(cat left)" ""
done_testing
