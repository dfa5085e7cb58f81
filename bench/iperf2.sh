#!/bin/sh
# iperf 2 by us and by the real one on loopback, in turn: what arrives, and the processor time of both ends for a GB of
# it. Run by bench/run.sh in an empty folder, with XENKIT.
set -eu

command -v iperf >/dev/null || {
    echo "skipped: iperf is not installed"
    exit 0
}
rounds=${ROUNDS:-5}
ln -s "$XENKIT" iperf
ours=$PWD/iperf
stock=$(command -v iperf)

# The processor time of all children in a file that `times` has written, in seconds.
spent() {
    awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); s += t[1] * 60 + t[2] } print s }' "$1"
}

# measure PROGRAM FILE STREAMS OPTIONS…: one test, the program at both ends. A line "Gbit/s CPU-seconds-per-GB
# server's-MiB" is added to the file. What counts is what the server says that it has received.
measure() {
    program=$1 file=$2 streams=$3
    shift 3
    port=$((20000 + $$ % 20000))
    udp=
    case " $* " in *" -u "*) udp=-u ;; esac
    times >before
    # shellcheck disable=SC2086 # no word when it is TCP
    "$program" -s $udp -P "$streams" -p $port -f k >server.txt 2>&1 &
    pid=$!
    sleep 0.3
    timeout -s KILL 20 "$program" -c 127.0.0.1 -p $port -P "$streams" -t 2 "$@" >client.txt 2>&1 &
    client=$!
    sleep 1
    memory=$(awk '/VmHWM/ { print $2 / 1024 }' /proc/$pid/status)
    wait $client || true
    sleep 0.4
    kill $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    times >after
    awk -v cpu="$(echo "$(spent before) $(spent after)" | awk '{ print $2 - $1 }')" -v streams="$streams" \
        -v memory="$memory" '
        / sec / && (streams == 1 || /SUM/) {
            for (i = 2; i <= NF; i++) {
                if ($i == "KBytes") kib = $(i - 1)
                if ($i == "Kbits/sec") rate = $(i - 1)
            }
        }
        END { if (kib) print rate / 1e6, cpu / (kib * 1024 / 1e9), memory }' server.txt >>"$file"
}

median() {
    cut -d ' ' -f "$2" "$1" | sort -g | awk '{ v[NR] = $1 } END { print NR ? v[int((NR + 1) / 2)] : 0 }'
}

# compare NAME STREAMS OPTIONS…
compare() {
    name=$1 streams=$2
    shift 2
    : >ours.txt
    : >stock.txt
    i=0
    while [ $i -lt "$rounds" ]; do
        measure "$ours" ours.txt "$streams" "$@"
        measure "$stock" stock.txt "$streams" "$@"
        i=$((i + 1))
    done
    awk -v name="$name" -v or="$(median ours.txt 1)" -v sr="$(median stock.txt 1)" -v oc="$(median ours.txt 2)" \
        -v sc="$(median stock.txt 2)" -v om="$(median ours.txt 3)" -v sm="$(median stock.txt 3)" 'BEGIN {
        printf "%-28s %6.2f : %6.2f Gbit/s = %.2f  %6.2f : %6.2f CPU s/GB = %.2f  %4.1f : %4.1f MiB\n", name, or, sr,
            sr ? or / sr : 0, oc, sc, sc ? oc / sc : 0, om, sm
    }'
}

echo "xenkit : $("$stock" -v 2>&1 | cut -d ' ' -f 1-3), medians of $rounds rounds"
compare "TCP, one stream" 1
compare "TCP, 4 streams" 4
compare "UDP, 1470 bytes, unlimited" 1 -u -b 100g
compare "UDP, 200 bytes, unlimited" 1 -u -b 100g -l 200
