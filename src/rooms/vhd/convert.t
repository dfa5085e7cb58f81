#!/bin/bash
# `xenkit vhd convert` against qemu-img, which reads and writes the same formats, and against the map of what was asked.
. "$XENKIT_SOURCE/tests/tap.sh"

# ---- without another program ----

printf 'hello' >small.raw
truncate -s 5M small.raw
printf 'world' | dd of=small.raw bs=1 seek=4194304 conv=notrunc status=none

run xenkit vhd convert small.raw a.vhd
check "a raw disk becomes a VHD" 0 "~target format: +vhd$"
run xenkit vhd convert small.raw a.vhd
check "an existing target stays" 6 "" "~a.vhd is there already"
run xenkit vhd convert --force --compare --json small.raw a.vhd
check "unless told, and compared" 0 '~"compared":true'
ok "the disk is the same" xenkit vhd compare small.raw a.vhd
ok "the image is sound" xenkit vhd check a.vhd
run xenkit vhd convert --dry-run --json a.vhd b.raw
check "a dry run tells sizes" 0 '~"size_bytes":5242880,'
nok "and writes nothing" test -e b.raw
run xenkit vhd convert a.vhd b.raw
check "and back" 0 "~target format: +raw$"
ok "to the same bytes" cmp small.raw b.raw
ok "with the holes" test "$(stat -c %b b.raw)" -le 64
run xenkit vhd convert --to raw a.vhd back
check "--to overrules the name" 0 "~target format: +raw$"
run xenkit vhd convert --fixed a.vhd f.vhd
check "a fixed VHD" 0 "~target format: +vhd-fixed$"
is "has the disk and a footer" "$(stat -c %s f.vhd)" $((5 * 1048576 + 512))
run xenkit vhd convert --fixed a.vhd f.raw
check "--fixed is for VHDs" 2 "" "~--fixed is for a VHD target"
run xenkit vhd convert a.vhd x.vhdx
check "a VHDX is not written" 2 "" "~can be read, not written"
run xenkit vhd convert a.vhd a.vhd --force
check "not onto itself" 2 "" "~part of the source"
run xenkit vhd convert --from qcow2 small.raw q.raw
check "what is not of the format is refused" 5 "" "~not a qcow2"
run xenkit vhd convert nothing.vhd q.raw
check "a source that is not there" 6 "" "~nothing.vhd"
mkfifo fifo
run xenkit vhd convert fifo q.raw
check "a FIFO does not hang" 3 "" "~neither a regular file"
nok "no temporary file stays" sh -c 'ls -A | grep "\.xk-"'

# One thread or many: the same file but for the UUID.
xenkit vhd convert --threads 1 small.raw t1.qcow2 >/dev/null
xenkit vhd convert --threads 4 small.raw t4.qcow2 >/dev/null
ok "the layout does not depend on the threads" cmp t1.qcow2 t4.qcow2

# ---- chains ----

xenkit vhd create --size 10M root.vhd >/dev/null
xenkit vhd snapshot --parent root.vhd top.vhd >/dev/null
mkdir away && cp root.vhd away/root.vhd && (cd away && "$XENKIT" vhd snapshot --parent root.vhd ../outside.vhd >/dev/null)
run xenkit vhd convert --json top.vhd flat.qcow2
check "a chain is flattened" 0 '~"layers":2,'
run xenkit vhd convert --chain-root away outside.vhd o.raw
check "a parent inside the chain root" 0 -
run xenkit vhd convert --chain-root away top.vhd o2.raw
check "a parent outside of it is refused" - "" "~outside the chain root"
mv root.vhd gone.vhd
run xenkit vhd convert top.vhd o3.raw
check "a missing parent is named, not taken for zeros" 6 "" "~root.vhd"
nok "no target either" test -e o3.raw
mv gone.vhd root.vhd

# ---- pipes ----

stream() {
    status=0
    sh -c "$1" >"$out" 2>"$err" || status=$?
    tap_command=$1
}
stream "\"$XENKIT\" vhd convert a.vhd - | cmp - small.raw"
check "a raw disk to a pipe" 0
stream "\"$XENKIT\" vhd convert --to vhd a.vhd - | cat >p.vhd && \"$XENKIT\" vhd check -q p.vhd && \"$XENKIT\" vhd compare -q p.vhd small.raw"
check "a dynamic VHD to a pipe" 0 -
stream "\"$XENKIT\" vhd convert --to vhd --fixed a.vhd - | cat >pf.vhd && \"$XENKIT\" vhd compare -q pf.vhd small.raw"
check "a fixed VHD to a pipe" 0 -
stream "cat small.raw | \"$XENKIT\" vhd convert - in.vhd && \"$XENKIT\" vhd compare in.vhd small.raw"
check "a raw disk from a pipe" 0 "~equal: +yes"
stream "cat small.raw | \"$XENKIT\" vhd convert --size 7M - in.qcow2 && \"$XENKIT\" vhd compare in.qcow2 small.raw"
check "with its size announced" 0 "~size: +7 MiB"
stream "cat small.raw | \"$XENKIT\" vhd convert --size 4M - long.qcow2"
check "more than was announced is refused" 5 "" "~more than the 4194304 bytes"
nok "and leaves nothing" test -e long.qcow2
stream "cat small.raw | \"$XENKIT\" vhd convert --to vhd --fixed - - | cat >pp.vhd && \"$XENKIT\" vhd compare pp.vhd small.raw"
check "from a pipe to a pipe" 0 "~equal: +yes"
stream "cat small.raw | \"$XENKIT\" vhd convert --to vhd - -"
check "but no tables before the data" 2 "" "~its tables come first"
stream "cat a.vhd | \"$XENKIT\" vhd convert - x.raw"
check "an image in a pipe is not taken for a raw disk" 2 "" "~is a disk image, not a raw disk"
# A fixed VHD through a pipe: its footer stands behind the disk, and is none of it. How the pieces come must not matter.
patch_byte() {
    printf "%b" "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
stream "cat f.vhd | \"$XENKIT\" vhd convert - pipe.raw && cmp pipe.raw small.raw"
check "a fixed VHD from a pipe is known by its end" 0 "~source format: +vhd$" "~its footer was left away"
stream "cat f.vhd | \"$XENKIT\" vhd convert --from vhd --to vhd --fixed - - | head -c -512 | cmp - small.raw"
check "and from a pipe to a pipe, said to be one" 0 "" ""
stream "cat f.vhd | \"$XENKIT\" vhd convert --size 5M --json - pipe.qcow2 && \"$XENKIT\" vhd compare -q pipe.qcow2 small.raw"
check "with the size of its disk announced" 0 '~"source_format":"vhd"' -
for at in 100 $((5 * 1048576 - 1)) $((5 * 1048576)) $((5 * 1048576 + 1)) $((5 * 1048576 + 511)); do
    stream "{ head -c $at f.vhd; sleep 0.1; tail -c +$((at + 1)) f.vhd; } | \"$XENKIT\" vhd convert -q --force - pipe.raw && cmp pipe.raw small.raw"
    check "in two pieces, the second from byte $at" 0 "~format: +vhd$" ""
done
stream "cat f.vhd | \"$XENKIT\" vhd convert --from raw - asis.raw && cmp asis.raw f.vhd"
check "--from raw keeps the footer" 0 "~source format: +raw$" ""
(head -c -512 f.vhd && tail -c 512 f.vhd | head -c 511) >short.vhd
patch_byte short.vhd $((5 * 1048576 + 510)) '\0'
run xenkit vhd check short.vhd
check "(a footer of 511 bytes is one)" - -
stream "cat short.vhd | \"$XENKIT\" vhd convert - short.raw && cmp short.raw small.raw"
check "a fixed VHD with a footer of 511 bytes" 0 "~source format: +vhd$" "~left away"
for size in 0 1 511 512 513 1024; do
    head -c "$size" /dev/urandom >tiny.raw
    stream "cat tiny.raw | \"$XENKIT\" vhd convert -q --force - made.raw && cmp tiny.raw made.raw"
    check "a raw disk of $size bytes is all there" 0 "~format: +raw$" ""
done

# Near misses: what is no footer, or the footer of another disk, belongs to the disk.
cp f.vhd miss.img
patch_byte miss.img $((5 * 1048576 + 90)) 'x'
stream "cat miss.img | \"$XENKIT\" vhd convert - miss.raw && cmp miss.raw miss.img"
check "a wrong checksum: a raw disk" 0 "~source format: +raw$" ""
stream "cat miss.img | \"$XENKIT\" vhd convert --from vhd - no.raw"
check "said to be a VHD, it is refused" 5 "" "~does not end in the footer of a fixed VHD"
nok "and nothing is left" test -e no.raw
(cat f.vhd && printf '%512s' '') >miss.img
stream "cat miss.img | \"$XENKIT\" vhd convert --force - miss.raw && cmp miss.raw miss.img"
check "a footer that is not at the end: a raw disk" 0 "~source format: +raw$" ""
(printf '%512s' '' && cat f.vhd) >miss.img
stream "cat miss.img | \"$XENKIT\" vhd convert --force - miss.raw && cmp miss.raw miss.img"
check "another disk's footer at the end: a raw disk" 0 "~source format: +raw$" "~of a fixed VHD of 5242880 bytes, and 5243392 came before it: taken for a raw disk"
stream "cat miss.img | \"$XENKIT\" vhd convert --from vhd - no.raw"
check "said to be a VHD, that is refused, too" 5 "" "~of a fixed VHD of 5242880 bytes, and 5243392 came"
(cat small.raw && tail -c 512 a.vhd) >miss.img
stream "cat miss.img | \"$XENKIT\" vhd convert --force - miss.raw && cmp miss.raw miss.img"
check "the footer of a dynamic image: a raw disk" 0 "~source format: +raw$" "~of a dynamic VHD"
stream "cat a.vhd | \"$XENKIT\" vhd convert --from vhd - x.raw"
check "a dynamic image in a pipe is refused by name" 2 "" "~only a raw disk or a fixed VHD"
stream "\"$XENKIT\" vhd convert - x.raw <a.vhd && cmp x.raw small.raw"
check "a redirected file is a file" 0 "~source format: +vhd$"
stream "\"$XENKIT\" vhd convert --json a.vhd -"
check "no JSON between the bytes" 2 - -
stream "\"$XENKIT\" vhd convert --compare a.vhd -"
check "no comparing with a pipe" 2 "" "~cannot be read"
stream "\"$XENKIT\" vhd convert a.vhd - | head -c 1000 | wc -c"
check "a reader that leaves ends it" 0 1000

# ---- a stop ----

truncate -s 2T endless.raw
stream "cat /dev/zero | timeout -s INT 2 \"$XENKIT\" vhd convert - stopped.raw"
check "a signal stops it" 124 "" "~stopped at byte"
nok "what was stopped leaves nothing" test -e stopped.raw
nok "no temporary file either" sh -c 'ls -A | grep "\.xk-"'

# ---- little memory ----

if grep -qa __asan_init "$XENKIT"; then
    skip "512 MiB of address space are enough" "a sanitizer's own memory counts, too"
else
    stream "ulimit -v 524288 && \"$XENKIT\" vhd convert --threads 16 --compare a.vhd lim.vhd"
    check "512 MiB of address space are enough" 0 "~compared: +yes"
fi

# ---- with qemu-img ----

command -v qemu-img >/dev/null && command -v qemu-io >/dev/null || skip_all "qemu-img is not installed"

head -c 300000 /dev/urandom >disk.raw
truncate -s 9437696 disk.raw # 9 MiB and a sector: no multiple of anything
dd if=/dev/urandom of=disk.raw bs=1024 seek=5000 count=700 conv=notrunc status=none
dd if=/dev/zero of=disk.raw bs=1M seek=7 count=1 conv=notrunc status=none
yes compressible | dd of=disk.raw bs=65536 seek=100 count=20 conv=notrunc iflag=fullblock status=none

# from NAME FORMAT OPTIONS…: qemu-img writes, both read.
from() {
    name=$1
    format=$2
    shift 2
    if ! qemu-img convert -f raw -O "$format" "$@" disk.raw from.img >/dev/null 2>&1; then
        skip "from $name" "this qemu-img cannot write it"
        return
    fi
    rm -f from.raw
    qemu-img convert -f "$format" -O raw from.img want.raw
    xenkit vhd convert --compare from.img from.raw >/dev/null
    ok "from $name" cmp want.raw from.raw
    rm -f from.img
}
from "dynamic VHD" vpc -o force_size
from "fixed VHD" vpc -o force_size,subformat=fixed
for options in subformat=fixed force_size,subformat=fixed; do
    qemu-img convert -f raw -O vpc -o "$options" disk.raw from.img
    qemu-img convert -f vpc -O raw from.img want.raw
    stream "cat from.img | \"$XENKIT\" vhd convert -q - from.raw --force && cmp want.raw from.raw"
    check "what qemu-img writes with $options, through a pipe" 0 "~format: +vhd$"
done
from "VHD rounded up to cylinders" vpc
from "VHDX" vhdx
from "fixed VHDX" vhdx -o subformat=fixed
from "VHDX of 1 MiB blocks" vhdx -o block_size=1M
from "qcow2 version 3" qcow2
from "qcow2 version 2" qcow2 -o compat=0.10
from "qcow2, zlib" qcow2 -c
from "qcow2, zstd" qcow2 -c -o compression_type=zstd
from "qcow2 of 512-byte clusters" qcow2 -c -o cluster_size=512
from "qcow2 of 2 MiB clusters" qcow2 -c -o cluster_size=2M
from "qcow2 with subclusters" qcow2 -o extended_l2=on
from "qcow2, preallocated" qcow2 -o preallocation=metadata
qemu-img create -q -f qcow2 --object secret,id=s,data=x -o encrypt.format=luks,encrypt.key-secret=s secret.qcow2 1M 2>/dev/null
if [ -e secret.qcow2 ]; then
    run xenkit vhd convert secret.qcow2 secret.raw
    check "an encrypted image is refused by name" 3 "" "~LUKS"
else
    skip "an encrypted image is refused by name" "this qemu-img cannot make one"
fi
qemu-img create -q -f qcow2 -o data_file=outside.bin,data_file_raw=on ext.qcow2 1M
run xenkit vhd convert ext.qcow2 ext.raw
check "an external data file is refused by name" 3 "" "~external data file"

# to FORMAT OF-QEMU OPTIONS…: we write, qemu-img reads and checks.
to() {
    format=$1
    shift
    for source in disk.raw small.raw; do
        rm -f to.img
        xenkit vhd convert "$@" "$source" to.img >/dev/null
        ok "to $* ($source)" qemu-img compare -f raw -F "$format" "$source" to.img
        is "of the same size ($source)" "$(qemu-img info -f "$format" --output json to.img | grep -c "\"virtual-size\": $(stat -c %s "$source"),")" 1
    done
}
to raw --to raw
to vpc --to vhd
to vpc --to vhd --fixed
to qcow2 --to qcow2
ok "qemu-img finds nothing wrong" qemu-img check -f qcow2 to.img
truncate -s 0 empty.raw
printf 'odd' >odd.raw
for source in empty odd; do
    xenkit vhd convert --compare $source.raw $source.qcow2 >/dev/null
    xenkit vhd convert --compare $source.raw $source.vhd >/dev/null
    ok "$source: qemu-img finds nothing wrong" qemu-img check -f qcow2 $source.qcow2
    ok "$source: a VHD" xenkit vhd check $source.vhd
done

# Backing files: qcow2 over qcow2 over each format.
for below in raw vpc vhdx; do
    qemu-img convert -f raw -O $below disk.raw base.$below
    qemu-img create -q -f qcow2 -b base.$below -F $below mid.qcow2 12M
    qemu-io -c "write -P 7 1M 100k" -c "write -z 3M 1M" mid.qcow2 >/dev/null
    qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 leaf.qcow2
    qemu-io -c "write -P 8 1050k 1536" -c "write -P 9 11M 64k" leaf.qcow2 >/dev/null
    qemu-img convert -O raw leaf.qcow2 want.raw
    run xenkit vhd convert --json --force leaf.qcow2 got.raw
    check "backing files down to $below" 0 '~"layers":3,'
    ok "flattened as qemu-img does" cmp want.raw got.raw
done
qemu-img create -q -f qcow2 one.qcow2 1M
qemu-img create -q -f qcow2 -b one.qcow2 -F qcow2 two.qcow2
qemu-img rebase -u -b two.qcow2 -F qcow2 one.qcow2
run xenkit vhd convert two.qcow2 loop.raw
check "a loop of backing files ends" 5 "" "~its own ancestor"
qemu-img create -q -u -f qcow2 -b nbd://host/disk -F raw far.qcow2 1M
run xenkit vhd convert far.qcow2 far.raw
check "a backing file that is none is refused" 3 "" "~is no file"
qemu-img create -q -u -f qcow2 -b /etc/hostname -F raw leak.qcow2 1M
run xenkit vhd convert --chain-root . leak.qcow2 leak.raw
check "a backing file outside the chain root is refused" - "" "~outside the chain root"

# A chain of our own with a raw root, which qemu-img does not follow: compare with what it is made of.
cp disk.raw rawroot.raw
truncate -s 10M rawroot.raw
xenkit vhd snapshot --parent rawroot.raw --raw child.vhd >/dev/null
xenkit vhd convert child.vhd child.raw >/dev/null
ok "a VHD over a raw disk" cmp rawroot.raw child.raw

if [ -n "${VHD_UTIL:-}" ]; then
    for source in disk small odd; do
        rm -f u.vhd
        xenkit vhd convert $source.raw u.vhd >/dev/null
        ok "vhd-util accepts $source" "$VHD_UTIL" check -n u.vhd
        ok "with its bitmaps" "$VHD_UTIL" check -b -n u.vhd
    done
else
    skip "vhd-util accepts what we write" "VHD_UTIL is not set"
fi

# What is new is left to the page cache, as qemu-img leaves it; what may replace something is on the disk before that.
if command -v strace >/dev/null && ! grep -qa __asan_init "$XENKIT"; then
    waits() {
        rm -f waited.vhd
        [ "$2" = new ] || cp a.vhd waited.vhd
        # shellcheck disable=SC2086
        strace -f -e trace=fsync,fdatasync -o trace "$XENKIT" vhd convert $1 small.raw waited.vhd >/dev/null
        grep -c '^[0-9]* *f.*sync(' trace
    }
    is "a new file" "$(waits "" new)" 0
    ok "one that --sync was said for" test "$(waits --sync new)" -ge 2
    ok "one that replaces another" test "$(waits --force old)" -ge 2
else
    skip "waiting for the disk" "strace is not here, or a sanitizer"
fi

# An image that an unfinished resize disabled must not pass for a raw disk.
xenkit vhd create -q --size 24M half.vhd >/dev/null
VHD_UTIL_TEST_FAIL_RESIZE_END=1 xenkit vhd-util resize -n half.vhd -s 600 -j half.journal >/dev/null
run xenkit vhd convert half.vhd half.raw
check "a disabled image is no raw disk" 5 "" "~unfinished resize"
run sh -c '"$XENKIT" vhd convert - half.raw <half.vhd'
check "nor from a file on standard input" 5 "" "~unfinished resize"
run sh -c 'cat half.vhd | "$XENKIT" vhd convert - half.raw'
check "nor from a pipe" 2 "" "~standard input is a disk image"

done_testing
