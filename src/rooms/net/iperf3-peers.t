# Peers of the classic iperf3 that lie, go silent or die, at every step and in both roles: it always ends, and says why.

network=own
. "$XENKIT_SOURCE/tests/tap.sh"
requires python3
ln -s "$XENKIT" "$tmp/iperf3"
peers=$XENKIT_SOURCE/src/rooms/net/iperf3-peers.py

timeout 200 python3 "$peers" "$tmp/iperf3" server 30 >server.txt 2>server.err &
server=$!
run timeout 200 python3 "$peers" "$tmp/iperf3" client 30
check "a client meets lying servers" 0 -
sort "$out" >client.txt
is "all of them" "$(grep -c . client.txt)" 74
is "none holds it up" "$(grep hangs client.txt)" ""
# A server that is gone when everything has been said is none of the client's concern; one that breaks off is.
is "each is an error but a server that is done" "$(grep -v '^done: ' client.txt | grep -v ': 1 iperf3: error - [a-z]')" ""
is "which may go as it likes" "$(grep '^done: ' client.txt | grep -v ': 0 $\|: 1 iperf3: error - [a-z]')" ""
for case in "results: sends 4 GiB: 1 iperf3: error - unable to receive results: Message too long" \
    "results: sends another stream: 1 iperf3: error - stream has an invalid id" \
    "running: says 0xff: 1 iperf3: error - the server is busy running a test. try again later" \
    "running: says 11: 1 iperf3: error - the server has terminated" \
    "params: says 77: 1 iperf3: error - received an unknown control message"; do
    ok "${case%%: 1 *}" grep -qxF "$case" client.txt
done
# Bytes that nobody took any more make of the close a reset.
ok "end: closes" grep -Eqx 'end: closes: 1 iperf3: error - (control socket has closed unexpectedly|.*: Connection reset by peer)' \
    client.txt
wait $server
is "a server meets lying clients" "$? $(cat server.err)" "0 "
is "and serves the next one after each" "$(grep -c 'serves on$' server.txt) $(grep -v 'serves on$\|hears' server.txt)" "37 ends with 0"
is "a client that knows no end is told one" "$(grep hears server.txt | sort)" \
    "$(printf '%s\n' 'does not read: hears [-2, 144, 0]' 'does not send: hears [-2, 144, 0]' 'says no more when all has come: hears [-2, 160, 110]')"
done_testing
