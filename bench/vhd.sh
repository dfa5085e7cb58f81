#!/bin/sh
# What vhd-util is slow at: checking a large table, reading dense and deep images, merging. Ours beside `cat` and, with
# its path in VHD_UTIL, beside the original vhd-util on the same images.
# Run by bench/run.sh in an empty folder, with XENKIT, PAIR and IMAGE (bench/vhd-image).
set -eu

rounds=${ROUNDS:-3}
image() {
    "$IMAGE" "$@"
}

# ---- check: every block of 2040 GiB has a place ----

"$XENKIT" vhd create --size 2040G full.vhd >/dev/null
image full full.vhd
"$PAIR" -n "$rounds" "vhd check --no-bitmaps, 1,044,480 blocks" "$XENKIT" vhd check -q --no-bitmaps full.vhd -- \
    "reading the table" dd if=full.vhd of=/dev/null bs=1M count=5 status=none
cp --sparse=always full.vhd lost.vhd
dd if=/dev/zero of=lost.vhd bs=512 seek=1 count=2 conv=notrunc status=none
"$PAIR" -n "$rounds" "vhd repair of it without a header" "$XENKIT" vhd repair -q --dry-run -o /dev/null lost.vhd -- \
    "reading the table" dd if=lost.vhd of=/dev/null bs=1M count=5 status=none
if [ -n "${VHD_UTIL:-}" ]; then
    "$XENKIT" vhd create --size 64G big.vhd >/dev/null
    image full big.vhd
    "$PAIR" -n "$rounds" -x 0.1 "vhd-util check, 32,768 blocks" "$XENKIT" vhd-util check -n big.vhd -- \
        "the original" "$VHD_UTIL" check -n big.vhd
fi

# ---- read: a dense GiB, and the same at the top of 30 images ----

"$XENKIT" vhd create --size 1G dense.vhd >/dev/null
image dense dense.vhd 1024
"$PAIR" -n "$rounds" -x 1.1 "vhd read, dense 1 GiB" "$XENKIT" vhd read -o /dev/null dense.vhd -- \
    "cat" sh -c 'exec cat dense.vhd >/dev/null'
parent=dense.vhd
for depth in $(seq 2 30); do
    "$XENKIT" vhd snapshot --keep-empty --parent "$parent" "deep-$depth.vhd" >/dev/null
    [ $((depth % 10)) -ne 0 ] || image dense "deep-$depth.vhd" 2
    parent=deep-$depth.vhd
done
if [ -n "${VHD_UTIL:-}" ]; then
    "$PAIR" -n "$rounds" -x 0.2 "vhd read, depth 30" "$XENKIT" vhd read -o /dev/null "$parent" -- \
        "the original's read" "$VHD_UTIL" read -n "$parent" -r 0 -c 2097152
fi

# ---- coalesce: the target is put back before each run, and the copy is timed for both ----

[ -n "${VHD_UTIL:-}" ] || exit 0
"$XENKIT" vhd create --size 1G base.vhd >/dev/null
"$XENKIT" vhd snapshot --parent base.vhd --keep-empty dense-child.vhd >/dev/null
image dense dense-child.vhd 1024
"$XENKIT" vhd snapshot --parent base.vhd --keep-empty pieces-child.vhd >/dev/null
image pieces pieces-child.vhd 16384 16
cp base.vhd base.saved
merge() { # NAME CHILD MAXIMUM
    "$PAIR" -n "$rounds" -x "$3" "$1" sh -c "cp base.saved base.vhd && exec '$XENKIT' vhd-util coalesce -n $2" -- \
        "the original" sh -c "cp base.saved base.vhd && exec '$VHD_UTIL' coalesce -n $2"
}
merge "coalesce, dense 1 GiB" dense-child.vhd 0.67
merge "coalesce, 16,384 pieces of 16 KiB" pieces-child.vhd 0.1
