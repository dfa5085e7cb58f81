#!/bin/bash
# What is in a disk: map, diff, compare, hash, export-delta, over all formats.
. "$XENKIT_SOURCE/tests/tap.sh"
requires qemu-img qemu-io jq

digest() {
    xenkit vhd hash --plain "$@" | cut -f 1
}

truncate -s 30M a.raw
qemu-io -f raw -c 'write -P 1 1M 5M' -c 'write -P 2 20M 4k' a.raw >/dev/null
qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on a.raw a.vhd
cp --sparse=never a.raw dense.raw
qemu-img convert -f raw -O qcow2 a.raw a.qcow2
qemu-img convert -f raw -O vhdx a.raw a.vhdx
qemu-img convert -f raw -O qcow2 -c a.raw packed.qcow2

# ---- hash ----

is "a digest does not depend on format or holes" \
    "$(digest a.vhd a.raw dense.raw a.qcow2 a.vhdx packed.qcow2 | sort -u | wc -l)" 1
is "nor does a fast one" "$(digest -a xxh3 a.vhd a.raw dense.raw a.qcow2 a.vhdx | sort -u | wc -l)" 1
is "nor on the number of threads" "$(for n in 1 2 7; do digest --threads $n a.vhd; done | sort -u | wc -l)" 1
is "it is the documented one" "$(truncate -s 0 empty; digest -b 4k empty)" \
    "$( { printf '\002xenkit disk 1\0\0\0\0\0\0\0\0\0\0\020\0'; printf '\0' | sha256sum | cut -c 1-64 | sed 's/../\\x&/g' |
        { read -r hex; printf "%b" "$hex"; }; } | sha256sum | cut -c 1-64)"
run xenkit vhd hash --json --blocks a.vhd
check "blocks that hold something are listed" 0 -
is "and no others" "$(jq -r '[.blocks[] | .start / 1048576] | map(tostring) | join(" ")' "$out")" "1 2 3 4 5 20"
run xenkit vhd hash --block 3M a.vhd
check "a block has to be a power of two" 2 "" "~power of two"
run xenkit vhd hash --algorithm md5 a.vhd
check "other algorithms are refused" 2 "" "~sha256"

# ---- compare ----

run xenkit vhd compare a.vhd a.qcow2
check "equal disks" 0 "~equal: +yes"
cp dense.raw other.raw
printf x | dd of=other.raw bs=1 seek=7654321 conv=notrunc status=none
run xenkit vhd compare --json a.vhdx other.raw
check "disks that differ" 1 "~\"first_difference\":7654321"
truncate -s 31M larger.raw
dd if=a.raw of=larger.raw conv=notrunc status=none
run xenkit vhd compare -F raw a.vhd larger.raw
check "zeros behind the end are nothing" 0 -
run xenkit vhd compare --strict a.vhd larger.raw
check "unless sizes count" 1 "~first difference: -"
printf x | dd of=larger.raw bs=1 seek=32505855 conv=notrunc status=none
run xenkit vhd compare --json a.vhd larger.raw
check "a byte behind the end is something" 1 "~\"first_difference\":32505855"
run xenkit vhd compare a.vhd missing
check "a missing file is no difference" 6 "" "~missing"
printf 'QFI\373junk' >junk.qcow2
run xenkit vhd compare a.vhd junk.qcow2
check "nor is a damaged one" 5 "" "-"

# ---- map ----

for name in b c; do
    xenkit vhd snapshot --parent a.vhd $name.vhd >/dev/null
done
run xenkit vhd map --json b.vhd
check "map of a snapshot without data" 0 -
is "all comes from the parent" "$(jq -c '[.extents[] | select(.layer != null) | .layer] | unique' "$out")" "[1]"
is "extents go from end to end" \
    "$(jq -c 'reduce .extents[] as $e (0; if . == $e.start then . + $e.length_bytes else error("gap") end)' "$out")" 31457280
is "the totals are those of the extents" \
    "$(jq '[.layers[] | .data_bytes + .zero_bytes + .hole_bytes] | add' "$out")" 31457280
jq -r '.extents[] | select(.kind == "data") | "\(.start) \(.length_bytes) \(.path) \(.file_offset)"' "$out" |
    while read -r start length path offset; do
        cmp -n "$length" -i "$start:$offset" a.raw "$path" || echo "$start"
    done >wrong
is "the bytes are where map says" "$(cat wrong)" ""
run xenkit vhd map --offset 1M --length 4096 --csv b.vhd
check "a part of the map" 0 "~^1048576,4096,data,1,"
run xenkit vhd map --offset 1T b.vhd
check "past the end there is none" 2 "" "~past the end"

# ---- diff ----

run xenkit vhd diff --json b.vhd c.vhd
check "snapshots of one image do not differ" 0 -
is "and nothing is read to know that" "$(jq -c '[.changed, .totals.compared_bytes]' "$out")" "[[],0]"
run xenkit vhd diff --json a.raw other.raw
check "one byte is one sector" 0 -
is "where it is" "$(jq -c '.changed' "$out")" '[{"start":7653888,"length_bytes":512,"kind":"data"}]'
run xenkit vhd diff --json other.raw a.raw
check "the other way round" 0 -
is "there are zeros instead" "$(jq -c '[.changed[] | .kind]' "$out")" '["zero"]'
run xenkit vhd diff --json --places dense.raw a.raw
check "by places, copies differ" 0 -
is "in all that is stored" "$(jq '.totals.changed_bytes' "$out")" 31457280

# ---- export-delta ----

qemu-img convert -f raw -O qcow2 other.raw b.qcow2
qemu-io -f qcow2 -c 'write -P 7 9M 3M' -c 'write -z 2M 1M' b.qcow2 >/dev/null
qemu-img convert -f qcow2 -O raw b.qcow2 b.raw
run xenkit vhd export-delta --from a.vhd b.qcow2 d.vhd
check "a delta from a VHD to a qcow2" 0 "~depth: +2"
run xenkit vhd read d.vhd
check "shows the second disk" 0 "@b.raw"
run xenkit vhd check d.vhd
check "and is sound" 0 "-"
is "it holds what differs alone" "$(xenkit vhd map --totals --jsonl d.vhd | jq -s '.[0].data_bytes')" \
    "$(xenkit vhd diff --json a.vhd b.raw | jq '.totals.changed_bytes')"
run xenkit vhd export-delta --from a.vhd b.raw d.vhd
check "an existing file is not replaced" 6 "" "~is there already"
run xenkit vhd export-delta --from a.vhd --force --verify b.raw d.vhd
check "unless told" 0 "~verified: +yes"
run xenkit vhd export-delta --from a.raw --dry-run b.raw e.vhd
check "a dry run" 0 "~written: +no"
nok "writes nothing" test -e e.vhd
run xenkit vhd export-delta --from a.raw --verify b.raw e.vhd
check "from a raw disk" 0 -
run xenkit vhd compare e.vhd d.vhd
check "it is the same disk" 0 -
run xenkit vhd diff --json d.vhd e.vhd
check "also when every sector is looked at" 0 "~\"changed\":\\[\\]"
run xenkit vhd export-delta --from a.qcow2 b.raw f.vhd
check "a VHD cannot stand on qcow2" 3 "" "~qcow2"
run xenkit vhd export-delta b.raw f.vhd
check "a delta begins somewhere" 2 "" "~--from A"
run xenkit vhd export-delta --from a.vhd --force b.raw a.vhd
check "it does not replace what it stands on" 2 "" "~which it stands on"
truncate -s 20M small.raw
run xenkit vhd export-delta --from a.vhd small.raw f.vhd
check "a smaller disk is refused" 2 "" "~smaller"
is "nothing half done is left" "$(find . -name '*.part')" ""
if [ -n "${VHD_UTIL:-}" ]; then
    ok "vhd-util finds the delta valid" "$VHD_UTIL" check -n d.vhd
else
    skip "vhd-util on the delta" "VHD_UTIL does not name one"
fi

done_testing
