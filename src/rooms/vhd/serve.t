#!/bin/bash
# The NBD server with real clients: what they see, copy and write must be the disk.
# Words for jq and for later evaluation stay in single quotes; what junk() is given is a format.
# shellcheck disable=SC2016,SC2059
. "$XENKIT_SOURCE/tests/tap.sh"
requires nbdinfo nbdcopy qemu-img qemu-io

# start ARGS…: a server; $uri, and its process in $server. It listens when the URI is there to be read.
start() {
    rm -f said
    mkfifo said
    "$XENKIT" vhd serve --plain "$@" >said 2>log &
    server=$!
    exec 3<said
    uri=
    IFS='	' read -r -t 30 uri _ <&3
}

# finish NAME [SIGNAL]: the server ends well.
finish() {
    [ $# -lt 2 ] || kill "-$2" "$server"
    wait "$server"
    is "$1" $? 0
    exec 3<&-
}
on_exit eval 'kill $server'

# A chain of three: a root with data, a snapshot that overwrites some, one that is the top.
truncate -s 24M root.raw
qemu-io -f raw -c 'write -P 0x11 1M 5M' -c 'write -P 0x12 23M 64k' root.raw >/dev/null
qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on root.raw root.vhd
cp root.vhd plain.vhd
xenkit vhd snapshot --parent root.vhd mid.vhd >/dev/null
start --socket mid.sock --writable --overlay top.vhd mid.vhd
qemu-io -f raw -c 'write -P 0x21 2M 1M' -c 'write -P 0x22 4097 777' -c flush "$uri" >/dev/null
finish "a chain is made through a server" TERM
xenkit vhd read -o want.raw top.vhd
is "its content is what was written" "$(xenkit vhd hash --plain mid.vhd plain.vhd | cut -f 1 | uniq | wc -l)" 1

# ---- Unix socket ----

start --socket disk.sock --name "a disk" top.vhd
is "the URI names socket and export" "$uri" "nbd+unix:///a%20disk?socket=$PWD/disk.sock"
is "only the owner may connect" "$(stat -c %a disk.sock)" 600
run nbdinfo "$uri"
check "nbdinfo knows the export" 0 "~export-size: 25165824" -
like "it is read-only" "$(cat "$out")" "is_read_only: true"
like "several connections may be used" "$(cat "$out")" "can_multi_conn: true"
run nbdinfo --list "nbd+unix:///?socket=$PWD/disk.sock"
check "exports can be listed" 0 "~export=.a disk." -
ok "nbdcopy copies it" timeout 60 nbdcopy "$uri" got.raw
ok "as it is" cmp got.raw want.raw
ok "also with other sizes of requests" nbdcopy --request-size=32768 --connections=4 --requests=64 "$uri" got2.raw
ok "as it is, too" cmp got2.raw want.raw
ok "qemu-img converts it" qemu-img convert -f raw -O qcow2 "$uri" got.qcow2
ok "to the same disk" qemu-img compare -f qcow2 -F raw got.qcow2 want.raw
ok "qemu-img compares it" qemu-img compare -f raw -F raw "$uri" want.raw

# What is told of blocks, by them and by map.
mine() {
    xenkit vhd map --jsonl top.vhd | jq -s -r "$1"
}
ours=$(mine '[.[] | {s: .start, l: .length_bytes, h: (.kind == "hole")}]
    | reduce .[] as $e ([]; if length > 0 and .[-1].h == $e.h then .[-1].l += $e.l else . + [$e] end)
    | .[] | "\(.s) \(.l) \(if .h then 3 else 0 end)"')
is "nbdinfo --map agrees with map" "$(nbdinfo --map --json "$uri" | jq -r '.[] | "\(.offset) \(.length) \(.type)"')" "$ours"
theirs=$(qemu-img map -f raw --output=json "$uri" | jq -r '.[] | "\(.start) \(.length) \(if .zero then 3 else 0 end)"')
is "qemu-img map agrees, too" "$theirs" "$ours"
layers=$(mine '[.[] | {s: .start, l: .length_bytes, n: ((.layer // -1) + 1)}]
    | reduce .[] as $e ([]; if length > 0 and .[-1].n == $e.n then .[-1].l += $e.l else . + [$e] end)
    | .[] | "\(.s) \(.l) \(.n)"')
is "layers are told in their own context" \
    "$(nbdinfo --map=xenkit:layer --json "$uri" | jq -r '.[] | "\(.offset) \(.length) \(.type)"')" "$layers"
like "all of the chain is there" "$(printf '%s\n' "$layers" | cut -d ' ' -f 3 | sort -u | tr '\n' ' ')" "^0 1 3 $"

run qemu-io -f raw -c 'write 0 512' "$uri"
check "who wants to write is refused" 1 - -
run xenkit vhd serve --socket disk.sock top.vhd
check "a socket in use is not taken over" 3 "" "~is in use"
finish "TERM ends it" TERM
nok "its socket is gone" test -e disk.sock

# ---- a port ----

start --port 0 top.vhd
like "any free port is told" "$uri" "^nbd://127\\.0\\.0\\.1:[1-9][0-9]*/$"
ok "nbdcopy reads it" nbdcopy "$uri" got3.raw
ok "as it is there, too" cmp got3.raw want.raw
port=${uri##*:}
port=${port%/}

# Whoever sends anything else is disconnected, and the others do not notice.
junk() {
    exec 4<>"/dev/tcp/127.0.0.1/$port" && { printf "$@" >&4; } 2>/dev/null
    timeout 20 cat <&4 >/dev/null 2>&1
    exec 4<&- 4>&-
}
junk 'GET / HTTP/1.1\r\n\r\n'
junk '\0\0\0\3IHAVEOPT\0\0\0\7\377\377\377\377'
junk '\0\0\0\1IHAVEOPT\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
exec 4<>"/dev/tcp/127.0.0.1/$port"
printf '\0\0\0\3IHAVEOPT\0\0' >&4
exec 4<&- 4>&-
ok "it serves on after all that" nbdcopy "$uri" got4.raw
ok "as before" cmp got4.raw want.raw
like "what was wrong with them is said" "$(cat log)" "client [0-9]+: it answered with the unknown flags"
like "for each" "$(cat log)" "client [0-9]+: it announced 4294967295 bytes"
like "of them" "$(cat log)" "client [0-9]+: it sent 00000000 where a request begins"
finish "HUP ends it" HUP

# ---- many ----

# A thousand clients that say nothing, each a descriptor of this shell.
# A test runner's MALLOC_PERTURB_ would fill, and so touch, every buffer.
unset MALLOC_PERTURB_
if ulimit -n 2048 2>/dev/null; then
    start --port 0 --connections 1050 top.vhd
    port=${uri##*:}
    port=${port%/}
    fds=()
    for _ in $(seq 1050); do
        exec {fd}<>"/dev/tcp/127.0.0.1/$port" && read -r -N 8 -t 30 hello <&"$fd"
        fds+=("$fd")
    done
    is "the last of 1050 clients is greeted" "$hello" NBDMAGIC
    nok "the next one is refused" timeout 30 nbdinfo "$uri"
    rss=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$server/status")
    if grep -qa __asan_init "$XENKIT"; then
        skip "they take less than 64 MiB" "a sanitizer's own memory counts, too"
    else
        ok "they take less than 64 MiB" test "$rss" -lt 65536
    fi
    for fd in "${fds[@]:0:20}"; do
        exec {fd}>&-
    done
    until timeout 30 nbdinfo "$uri" >info 2>&1; do
        kill -0 "$server" || break
    done
    like "when some have gone, others may come" "$(cat info)" "export-size: 25165824"
    finish "a thousand connections are no reason not to end" TERM
    for fd in "${fds[@]:20}"; do
        exec {fd}>&-
    done
else
    skip "a thousand clients" "this shell may not open so many files"
fi

# ---- writing ----

truncate -s 20M base.raw
head -c 20M want.raw >first.raw
start --socket w.sock --format raw --writable --overlay new.vhd base.raw
like "a writable export says so" "$(nbdinfo "$uri")" "is_read_only: false"
ok "a disk is written through it" timeout 60 qemu-img convert -n -f raw -O raw first.raw "$uri"
ok "and reads back at once" timeout 60 qemu-img compare -f raw -F raw first.raw "$uri"
ok "zeros can be written" timeout 60 qemu-io -f raw -c 'write -z 1M 3M' -c 'discard 6M 1M' -c 'write -P 9 777 999' -c flush "$uri"
timeout 60 nbdcopy "$uri" seen.raw
finish "it ends" TERM
run xenkit vhd read new.vhd
check "the new image has it all" 0 "@seen.raw"
run xenkit vhd check new.vhd
check "and is sound" 0 -
is "the base was not touched" "$(xenkit vhd hash -f raw --plain base.raw | cut -f 6,7)" "20	20"
run xenkit vhd serve --writable --overlay new.vhd base.raw
check "an overlay is always a new one" 6 "" "~is there already"

# Killed without warning, after a flush: what was flushed is there.
start --socket k.sock --format raw --writable --overlay killed.vhd --commit 1h base.raw
ok "something is written and flushed" timeout 60 qemu-io -f raw -c 'write -P 5 1M 3M' -c flush -c 'write -P 6 9M 3M' "$uri"
kill -KILL "$server"
wait "$server" 2>/dev/null
exec 3<&-
run xenkit vhd read --offset 1M --length 3M killed.vhd
is "what was flushed before a kill is there" "$(tr -d '\005' <"$out" | wc -c) $(wc -c <"$out")" "0 3145728"
start --socket k.sock --once top.vhd
pass "the socket of a killed server is taken over"
ok "a client with --once" timeout 60 nbdcopy "$uri" got5.raw
finish "ends it"

# Which clients count for --once is what it is with qemu-nbd: those that opened the export, whatever they did then.
# ended_by PROGRAM…: "ends" or "stays", of the server $server at $uri. It is ended.
ended_by() {
    timeout 30 "$@" "$uri" >/dev/null 2>&1
    for _ in $(seq 20); do
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    kill "$server" 2>/dev/null && echo stays || echo ends
}
hang_up() { # a client that leaves before it has said anything: bash has no Unix sockets
    python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1].split("=")[1])
s.recv(18)' "$1"
}
export -f hang_up
command -v qemu-nbd >/dev/null || skip_all "qemu-nbd is not installed"
for client in "nbdinfo --size" "nbdinfo" "nbdinfo --map" "nbdinfo --list" "hang_up"; do
    uri="nbd+unix:///?socket=$PWD/q.sock"
    rm -f q.sock
    qemu-nbd -f raw -r -k "$PWD/q.sock" want.raw &
    server=$!
    until [ -S q.sock ]; do sleep 0.05; done
    theirs=$(ended_by bash -c "$client \"\$0\"")
    wait "$server" 2>/dev/null
    start --socket once.sock --once top.vhd
    ours=$(ended_by bash -c "$client \"\$0\"")
    is "--once after $client: as qemu-nbd" "$ours" "$theirs"
    finish "the status is 0 all the same"
done
start --socket once.sock --once top.vhd
nbdinfo --list "$uri" >/dev/null
ok "who only lists does not end it before another has opened the export" nbdinfo --size "$uri"
finish "who has opened it does"

# ---- requests that are smaller than what a format stores at once ----

xenkit vhd convert -q want.raw small.qcow2 >/dev/null
qemu-img convert -f raw -O vhdx want.raw small.vhdx
qemu-img convert -c -f raw -O qcow2 want.raw compressed.qcow2
for image in small.qcow2 small.vhdx compressed.qcow2 want.raw; do
    start --socket small.sock "$image"
    rm -f got.raw
    ok "$image in requests of 4 KiB" nbdcopy --request-size=4096 "$uri" got.raw
    ok "is the disk" cmp got.raw want.raw
    finish "and it ends" TERM
done

# ---- usage ----

run xenkit vhd serve --writable top.vhd
check "--writable needs --overlay" 2 "" "~--overlay NEW"
run xenkit vhd serve --overlay x.vhd top.vhd
check "--overlay needs --writable" 2 "" "~goes with --writable"
run xenkit vhd serve --socket s --port 1 top.vhd
check "one address is enough" 2 "" "~choose one"
touch file
run xenkit vhd serve --socket file top.vhd
check "a file is not replaced by a socket" 6 "" "~is no socket"
run xenkit vhd serve --writable --overlay x.vhd got.qcow2
check "an overlay cannot stand on qcow2" 3 "" "~qcow2"

done_testing
