#!/bin/sh
# iperf3 by us and by the real one on loopback, in turn: what arrives, and the processor time of both ends for a GB of
# it. Ours is asked for at least 0.95 times the throughput of a TCP stream at no more than 0.75 times the processor
# time, 1.2 times the messages of 1 KiB, and 10 times the small datagrams that arrive; as the client of the real one 2
# times the datagrams that leave, and as its server 1.2 times those that arrive. What arrives at the real server is told
# as well: it takes datagrams one by one, so its own processor is full long before our client is.
# Run by bench/run.sh in an empty folder, with XENKIT.
set -eu

for program in iperf3 jq; do
    command -v $program >/dev/null || {
        echo "skipped: $program is not installed"
        exit 0
    }
done
rounds=${ROUNDS:-5}
ln -s "$XENKIT" iperf3
ours=$PWD/iperf3
stock=$(command -v iperf3)

# measure CLIENT SERVER FILE OPTIONS…: one test; a line "Gbit/s CPU-seconds-per-GB Gbit/s-sent server's-processor-%" is
# added to the file.
measure() {
    client=$1 server=$2 file=$3
    shift 3
    port=$((20000 + $$ % 20000))
    "$server" -s -1 -p $port >server.txt 2>&1 &
    pid=$!
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        sleep 0.1
        if "$client" -c 127.0.0.1 -p $port -J -t 2 "$@" >run.json 2>/dev/null && ! jq -e .error run.json >/dev/null; then
            break
        fi
    done
    wait $pid || true
    jq -r '.end | (.sum_received // .sum) as $r | (.sum_sent // .sum) as $s | .cpu_utilization_percent as $cpu
        | (((.sum_received_bidir_reverse.bytes // 0) + $r.bytes) / 1e9) as $gb
        | [$gb * 8 / $r.seconds, ($cpu.host_total + $cpu.remote_total) / 100 * $r.seconds / $gb, $s.bytes * 8e-9 / $s.seconds, $cpu.remote_total]
        | join(" ")' run.json >>"$file"
}

median() {
    cut -d ' ' -f "$2" "$1" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

missed=0
client_of_ours=$ours server_of_ours=$ours column=1
# compare NAME LEAST-RATE MOST-CPU OPTIONS…   (- for a limit that is not asked for)
compare() {
    name=$1 least=$2 most=$3
    shift 3
    rm -f ours.txt stock.txt
    i=0
    while [ $i -lt "$rounds" ]; do
        # shellcheck disable=SC2086
        measure "$client_of_ours" "$server_of_ours" ours.txt $extra "$@"
        measure "$stock" "$stock" stock.txt "$@"
        i=$((i + 1))
    done
    awk -v name="$name" -v least="$least" -v most="$most" -v or="$(median ours.txt $column)" -v sr="$(median stock.txt $column)" \
        -v oc="$(median ours.txt 2)" -v sc="$(median stock.txt 2)" 'BEGIN {
        printf "%-34s %7.2f : %7.2f Gbit/s = %.2f   %6.2f : %6.2f CPU s/GB = %.2f\n", name, or, sr, or / sr, oc, sc, oc / sc
        exit (least != "-" && or / sr < least) || (most != "-" && oc / sc > most)
    }' || {
        echo "  missed: at least ${least} times the throughput, at most ${most} times the processor time"
        missed=1
    }
}

echo "xenkit : iperf3 $("$stock" -v | awk 'NR == 1 { print $2 }'), medians of $rounds rounds"
extra=
compare "TCP, one stream" 0.95 0.75
compare "TCP, 4 streams" 0.95 - -P 4
compare "TCP, 8 streams" 0.95 - -P 8
compare "TCP, reverse" 0.95 - -R
compare "TCP, both ways" 0.95 - --bidir
compare "TCP, messages of 1 KiB" 1.2 - -l 1K -N
extra=--fast
compare "TCP, one stream, --fast" 0.95 0.6
extra=
compare "UDP, 1448 bytes, unlimited" 10 0.1 -u -b 0 -l 1448
compare "UDP, 200 bytes, unlimited" 10 - -u -b 0 -l 200
server_of_ours=$stock column=3
compare "UDP, 1448 bytes, leaves ours" 2 - -u -b 0 -l 1448
column=1
awk -v or="$(median ours.txt 1)" -v sr="$(median stock.txt 1)" -v ob="$(median ours.txt 4)" -v sb="$(median stock.txt 4)" 'BEGIN {
    printf "  of that the real server takes    %7.2f : %7.2f Gbit/s = %.2f, its processor busy %.0f : %.0f %%\n", or, sr, or / sr, ob, sb }'
client_of_ours=$stock server_of_ours=$ours
compare "UDP, 1448 bytes, the real to ours" 1.2 - -u -b 0 -l 1448
exit $missed
