#!/bin/sh
# A thousand disk images, 100 chains of 10: one `xenkit vhd check` or `vhd scan` of all, and the loop over
# `qemu-img info` that scripts use. Ours reads more: every table, and who is whose parent. At least 20 times faster
# is asked for. With the path of the original vhd-util in VHD_UTIL its own scan is compared, too, at 1,000 images (half
# the time is asked for) and 20,000 (a tenth).
# Run by bench/run.sh in an empty folder, with XENKIT and PAIR.
set -eu

command -v qemu-img >/dev/null || {
    echo "skipped: qemu-img is not installed"
    exit 0
}
mkdir images
for chain in $(seq 100); do
    parent=images/$chain-0.vhd
    "$XENKIT" vhd create --size 8G "$parent" >/dev/null
    for depth in $(seq 9); do
        child=images/$chain-$depth.vhd
        "$XENKIT" vhd snapshot --parent "$parent" "$child" >/dev/null
        parent=$child
    done
done

# shellcheck disable=SC2016
loop='for image in images/*.vhd; do qemu-img info -f vpc "$image" || exit 1; done'
"$PAIR" -n "${ROUNDS:-3}" -w 0 -x 0.05 "xenkit vhd check, 1,000 images" "$XENKIT" vhd check images/*.vhd -- \
    "a loop of qemu-img info" sh -c "$loop"
"$PAIR" -n "${ROUNDS:-3}" -w 0 -x 0.05 "xenkit vhd scan, 1,000 images" "$XENKIT" vhd scan images -- \
    "a loop of qemu-img info" sh -c "$loop"
[ -n "${VHD_UTIL:-}" ] || exit 0
"$XENKIT" vhd-util scan -f -m "$PWD/images/*.vhd" | sort >ours
"$VHD_UTIL" scan -f -m "$PWD/images/*.vhd" | sort >theirs
cmp ours theirs
"$PAIR" -n "${ROUNDS:-20}" -x 0.5 "xenkit vhd-util scan -f -m" "$XENKIT" vhd-util scan -f -m "$PWD/images/*.vhd" -- \
    "the original vhd-util scan -f -m" "$VHD_UTIL" scan -f -m "$PWD/images/*.vhd"

# 20,000: twenty folders with copies.
for copy in $(seq 19); do
    cp -r images "images-$copy"
done
"$PAIR" -n "${ROUNDS:-5}" -x 0.1 "vhd-util scan -f -m, 20,000 images" "$XENKIT" vhd-util scan -f -m "$PWD/images*/*.vhd" -- \
    "the original" "$VHD_UTIL" scan -f -m "$PWD/images*/*.vhd"
"$PAIR" -n "${ROUNDS:-3}" -x 0.1 "vhd-util scan -m, 20,000 images" "$XENKIT" vhd-util scan -m "$PWD/images*/*.vhd" -- \
    "the original" "$VHD_UTIL" scan -m "$PWD/images*/*.vhd"
