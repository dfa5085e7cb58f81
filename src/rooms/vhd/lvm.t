#!/bin/bash
# vhd-util scan -l on volumes that the real LVM made, on a file behind a loop device. LVM works without the kernel's
# device mapper here (activation = 0): the volumes are never activated, which is when a storage manager scans this way.
# Their images are made through loop devices over the volumes' extents, under the names that active volumes have.
# Where the original vhd-util is present (VHD_UTIL), its answers are the expectation; else what it answered.
. "$XENKIT_SOURCE/tests/tap.sh"

requires losetup pvcreate vgcreate lvcreate vgs lvs
[ "$(id -u)" = 0 ] || skip_all "loop devices need root"

group=xenkit-test-$$
mapped=mapper/${group//-/--}-VHD
loops=()

detach() {
    for loop in "${loops[@]}"; do losetup -d "$loop"; done
}
on_exit detach
# attach OPTIONS…: the device's name in $loop
attach() {
    loop=$(losetup -f --show "$@" 2>"$tmp/why") || skip_all "no loop device: $(cat "$tmp/why")"
    loops+=("$loop")
}

truncate -s 128M pv.img
attach pv.img
mkdir mapper lvm
cat >lvm/lvm.conf <<EOF
global { activation = 0 }
devices {
    filter = [ "a|^$loop\$|", "r|.*|" ]
    use_devicesfile = 0
    obtain_device_list_from_udev = 0
    external_device_info_source = "none"
}
backup { backup = 0 archive = 0 }
EOF
export LVM_SYSTEM_DIR=$PWD/lvm LVM_SUPPRESS_FD_WARNINGS=1
{
    pvcreate "$loop" && vgcreate "$group" "$loop" && lvcreate -an -Zn -Wn -L 12M -n VHD-base "$group" &&
        lvcreate -an -Zn -Wn -L 16M -n VHD-leaf "$group" && lvcreate -an -Zn -Wn -L 8M -n LV-other "$group"
} >"$tmp/why" 2>&1 || skip_all "LVM makes no volumes here: $(tail -n 1 "$tmp/why")"

# The extents lie one after the other from 1 MiB on; lvs says so below.
volume() {
    attach -o "$2" --sizelimit "$3" pv.img
    # shellcheck disable=SC2046
    mknod "$mapped--$1" b $(stat -c '%Hr %Lr' "$loop") || skip_all "no device node can be made"
}
mib=$((1 << 20))
is "volumes lie where this test writes" \
    "$(lvs "$group" --noheadings --nosuffix --units=b --options=lv_name,lv_size,devices 2>/dev/null | awk '{ print $1, $2, $3 }')" \
    "LV-other $((8 * mib)) ${loops[0]}(7)
VHD-base $((12 * mib)) ${loops[0]}(0)
VHD-leaf $((16 * mib)) ${loops[0]}(3)"
volume base $mib $((12 * mib))
volume leaf $((13 * mib)) $((16 * mib))
run "$XENKIT" vhd-util create -n "$mapped--base" -s 8 -S 64
check "an image on a volume" 0
run "$XENKIT" vhd-util snapshot -n "$mapped--leaf" -p "$mapped--base" -S 64 -e
check "a snapshot on another one" 0
run "$XENKIT" vhd-util set -n "$mapped--base" -f hidden -v 1
check "the base is hidden" 0
run "$XENKIT" vhd-util check -n "$mapped--leaf"
check "the leaf is sound on its device" 0 "$mapped--leaf is valid"
detach_volumes=("${loops[@]:1}")
for loop in "${detach_volumes[@]}"; do losetup -d "$loop"; done
loops=("${loops[0]}")

base="vhd=VHD-base capacity=8388608 size=12582912 hidden=1"
leaf="vhd=VHD-leaf capacity=8388608 size=16777216 hidden=0"
# scans EXPECTED OPTIONS…
scans() {
    expected=$1
    shift
    if [ -n "${VHD_UTIL:-}" ]; then
        theirs=$("$VHD_UTIL" scan -l "$group" "$@" 2>/dev/null)
        is "the original's answer to $* is what was recorded" "$theirs" "$expected"
    fi
    run "$XENKIT" vhd-util scan -l "$group" "$@"
    check "scan -l GROUP $*" 0 "$expected" -
}
scans "$base parent=none
$leaf parent=VHD-base" -f -m 'VHD-*'
scans "$base parent=none
$leaf parent=VHD-base" -m 'VHD-*'
scans "$base parent=none
   $leaf parent=VHD-base" -p -m 'VHD-*'
scans "$leaf parent=VHD-base" -f -m '*leaf'
scans "$leaf parent=VHD-base (not found in scan)" -p -m '*leaf'
scans "$leaf parent=VHD-base
$base parent=none" -f -a -m '*leaf'
scans "$base marker=0 keyhash= parent=none
$leaf marker=0 keyhash= parent=VHD-base" -f -M -m 'VHD-*'
scans "" -f -m 'nothing*'

done_testing
