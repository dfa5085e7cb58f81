#!/bin/bash
# SCTP and Multipath TCP beside the real iperf3, in an emulated machine whose kernel has both: the one that runs here
# seldom does. XENKIT_KERNEL is a folder with what a package linux-image-… holds; without it that is /.

. "$XENKIT_SOURCE/tests/tap.sh"
requires iperf3 jq qemu-system-x86_64 cpio gzip ldd insmod ip
folder=${XENKIT_KERNEL:-}
kernel=$(find "$folder/boot" -name 'vmlinuz-*' 2>/dev/null | sort -V | tail -n 1)
modules=$folder/lib/modules/${kernel##*/vmlinuz-}/kernel
[ -r "$modules/net/sctp/sctp.ko" ] || skip_all "no kernel with SCTP below ${folder:-/}; XENKIT_KERNEL names another folder"
stock=$(readlink -f "$(command -v iperf3)")
[ "$stock" != "$(readlink -f "$XENKIT")" ] || skip_all "the iperf3 that is installed is this one"

# ---- the machine: these programs, their libraries, the modules, and nothing else ----

root=$tmp/root
mkdir -p "$root"/{bin,dev,proc,sys,tmp,etc}
install_program() { # NAME FILE
    cp "$2" "$root/bin/$1"
    ldd "$2" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root/${library%/*}"
        cp -Ln "$library" "$root$library"
    done
}
install_program ours "$XENKIT"
install_program stock "$stock"
for program in bash mount insmod ip sleep jq timeout grep; do
    install_program "$program" "$(readlink -f "$(command -v "$program")")"
done
for module in lib/libcrc32c net/ipv4/udp_tunnel net/ipv6/ip6_udp_tunnel net/sctp/sctp; do
    [ -r "$modules/$module.ko" ] && cp "$modules/$module.ko" "$root/tmp"
done
ln -s ours "$root/bin/iperf3"

cat >"$root/init" <<'INIT'
#!/bin/bash
mount -t proc proc /proc
mount -t devtmpfs dev /dev
exec >/dev/ttyS1 2>&1
for module in libcrc32c udp_tunnel ip6_udp_tunnel sctp; do
    [ ! -e /tmp/$module.ko ] || insmod /tmp/$module.ko
done
ip link set lo up
cd /tmp || exit
stock -s -p 5301 &
iperf3 -s -p 5302 &
iperf3 -s -p 5303 -X 127.0.0.1 -X 127.0.0.2 &
sleep 2

# try NAME CLIENT PORT OPTIONS: "NAME STATUS | error, protocol, streams, whether bytes came"
try() {
    local name=$1 client=$2 port=$3
    shift 3
    timeout 60 "$client" -c 127.0.0.1 -p "$port" -J "$@" >json 2>error
    echo "$name $? | $(jq -Mc "[.error, .start.test_start.protocol, (.start.connected | length),
        .end.sum_received.bytes > 0, (.end.sum_received_bidir_reverse.bytes // 1) > 0]" json)"
}
keys() {
    jq -Mc '[paths(scalars) | map(if type == "number" then "#" else . end) | join(".")] | unique' json
}
for options in "-t 1" "-n 100K -R" "-t 1 --bidir" "-n 100K -P 2 -w 64K -N -M 1000"; do
    try "stock stock $options" stock 5301 --sctp $options
    echo "keys stock $options | $(keys)"
    try "ours stock $options" iperf3 5301 --sctp $options
    echo "keys ours $options | $(keys)"
    try "stock ours $options" stock 5302 --sctp $options
    try "ours ours $options" iperf3 5302 --sctp $options
done
iperf3 -c 127.0.0.1 -p 5302 --sctp -n 256K -J >json
echo "bytes | $(jq -Mc '[.end.sum_sent.bytes, .end.sum_received.bytes]' json)"

# What the kernel has of an association while it lasts: its addresses, its outgoing streams.
iperf3 -c 127.0.0.2 -p 5303 --sctp -t 4 -X 127.0.0.1 -X 127.0.0.3 --nstreams 5 >/dev/null &
for look in 1 2 3 4 5 6 7 8; do
    sleep 0.5
    grep ' 5303 ' /proc/net/sctp/assocs >associations && break
done
while read -r line; do
    echo "association | $line"
done <associations
wait $!
timeout 20 iperf3 -c 127.0.0.3 -p 5303 --sctp -t 1 >/dev/null 2>error
echo "elsewhere $? | $(<error)"
timeout 20 iperf3 -c 127.0.0.1 -p 5302 --sctp -t 1 -X 192.0.2.1 >/dev/null 2>error
echo "foreign $? | $(<error)"

for options in "-n 1M" "-n 1M -R" "-t 1 --bidir -w 64K"; do
    try "multipath $options" iperf3 5302 -m $options
done
try "plain afterwards" iperf3 5302 -n 1M
echo "handshakes | $(jq -MRsc 'split("\n") | map(select(startswith("MPTcpExt")) | split(" ")) | transpose |
    map(select(.[0] == "MPCapableSYNACKRX")) | .[0][1] | tonumber' /proc/net/netstat)"
echo "the end"
echo o >/proc/sysrq-trigger
sleep 60
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >initrd

timeout 400 qemu-system-x86_64 -accel tcg,thread=multi -cpu qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+rdrand -m 1024 \
    -smp 2 -nodefaults -nic none -display none -no-reboot -serial file:console -serial file:transcript \
    -kernel "$kernel" -initrd initrd -append "console=ttyS0 quiet mitigations=off panic=-1 rdinit=/init"
tr -d '\r' <transcript >lines
is "the machine ran to its end" "$(tail -n 1 lines)" "the end" || diag "$(tail -n 5 console lines)"

told() { # NAME: what stands behind it
    sed -n "s/^$1 | //p" lines
}
for options in "-t 1" "-n 100K -R" "-t 1 --bidir" "-n 100K -P 2 -w 64K -N -M 1000"; do
    case $options in *-P* | *bidir*) count=2 ;; *) count=1 ;; esac
    for pair in "ours stock" "stock ours" "ours ours"; do
        is "SCTP, $pair: $options" "$(told "$pair $options 0")" "[null,\"SCTP\",$count,true,true]"
    done
    is "the JSON has what the real one's has: $options" "$(jq -nc --argjson a "$(told "keys stock $options")" \
        --argjson b "$(told "keys ours $options")" '$a - $b' 2>&1)" "[]"
done
is "what was asked for is sent and arrives" "$(told bytes)" "[262144,262144]"
associations=$(told association)
like "-X: an association has the client's addresses" "$associations" '127.0.0.1 127.0.0.3 <-> '
like "and the server's" "$associations" '<-> \*127.0.0.2 127.0.0.1'
like "--nstreams: and so many streams" "$associations" ' 5 +10 '
is "only at these addresses" "$(told "elsewhere 1")" "iperf3: error - unable to connect stream: Connection refused"
is "an address that this machine has not" "$(told "foreign 1")" \
    "iperf3: error - int_errno=139: Cannot assign requested address"
for options in "-n 1M" "-n 1M -R" "-t 1 --bidir -w 64K"; do
    case $options in *bidir*) count=2 ;; *) count=1 ;; esac
    is "Multipath TCP: $options" "$(told "multipath $options 0")" "[null,\"TCP\",$count,true,true]"
done
is "plain TCP after it" "$(told "plain afterwards 0")" '[null,"TCP",1,true,true]'
is "streams that both ends made so" "$(told handshakes)" 4
done_testing
