#!/bin/sh
# Raw to VHD and back, by us and by qemu-img: a dense disk of 1 GiB (at most 0.9 times qemu-img's time is asked for) and
# one of 4 GiB with 0.9 GiB of data in pieces (0.7 times). Both leave the file to the page
# cache, as they do by themselves, or both wait until the disk has it. Ours that waits beside cp and sync is shown
# without a limit.
# Run by bench/run.sh in an empty folder, with XENKIT and PAIR.
set -eu

command -v qemu-img >/dev/null || {
    echo "skipped: qemu-img is not installed"
    exit 0
}
rounds=${ROUNDS:-7}

# pieces of noise: of BYTES every STEP, COUNT times
noise() {
    head -c "$2" /dev/urandom >piece
    i=0
    while [ "$i" -lt "$4" ]; do
        dd if=piece of="$1" bs=64K seek=$((i * $3 / 65536)) conv=notrunc status=none
        i=$((i + 1))
    done
    rm piece
}
noise dense.raw $((64 << 20)) $((64 << 20)) 16
truncate -s 4G sparse.raw
noise sparse.raw $((912 << 10)) $((4 << 20)) 1024
sync

# compare NAME LIMIT SOURCE TARGET THEIRS COMMAND…
compare() {
    name=$1 limit=$2 source=$3 target=$4 theirs=$5
    shift 5
    # shellcheck disable=SC2016
    "$PAIR" -n "$rounds" -w 1 ${limit:+-x "$limit"} "xenkit, $name" \
        sh -c 'rm -f "$2"; exec "$0" vhd convert -q $3 "$1" "$2"' "$XENKIT" "$source" "$target" "$sync" -- "$theirs" "$@"
}
# both DISK LIMIT HOW-OURS NAME-OF-THEIRS HOW-THEIRS: to a VHD and back
both() {
    disk=$1 limit=$2 sync=$3 theirs=$4 cache=$5
    compare "$disk raw to VHD $sync" "$limit" "$disk.raw" ours.vhd "$theirs" \
        sh -c "rm -f theirs.vhd; exec qemu-img convert $cache -f raw -O vpc -o force_size $disk.raw theirs.vhd" || missed=1
    rm -f ours.vhd theirs.vhd
    compare "$disk VHD to raw $sync" "$limit" "$disk.vhd" ours.raw "$theirs" \
        sh -c "rm -f theirs.raw; exec qemu-img convert $cache -f vpc -O raw $disk.vhd theirs.raw" || missed=1
    cmp ours.raw "$disk.raw"
    rm -f ours.raw theirs.raw
}
missed=0
for disk in dense sparse; do
    limit=0.9
    [ $disk = dense ] || limit=0.7
    "$XENKIT" vhd convert -q -o /dev/null $disk.raw $disk.vhd
    both $disk "$limit" '' qemu-img ''
    both $disk "$limit" --sync "qemu-img -t writeback" "-t writeback"
    compare "$disk raw to raw" '' $disk.raw ours.raw "cp and sync" \
        sh -c "rm -f theirs.raw; cp --sparse=auto $disk.raw theirs.raw && sync theirs.raw"
    rm -f ours.raw theirs.raw
done
exit $missed
