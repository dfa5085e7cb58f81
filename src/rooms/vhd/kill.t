#!/bin/bash
# Every verb that writes, killed with SIGKILL at random moments: afterwards the image is the old one or the new one, or
# revert or repair makes it one of them, and nothing that the disk held has changed.
# XENKIT_KILLS: how many times each verb is killed. XENKIT_KILL_ONLY: only what matches this pattern of the shell.
. "$XENKIT_SOURCE/tests/tap.sh"

kills=${XENKIT_KILLS:-5}
only=${XENKIT_KILL_ONLY:-*}
requires timeout

vhd_util() {
    "$XENKIT" vhd-util "$@"
}

content() {
    "$XENKIT" vhd hash --format vhd --plain "$1" 2>/dev/null | cut -f 1,3
}

# ---- what is there before ----

mkdir before
# noise FROM MIB: what the disk holds from there on becomes something else
noise() {
    head -c "$2M" /dev/urandom | dd of=disk.raw bs=1M seek="$1" conv=notrunc status=none
}
vhd() {
    (cd before && "$XENKIT" vhd "$@" >/dev/null) || skip_all "no images to begin with"
}
truncate -s 24M disk.raw
noise 0 9
noise 12 10
vhd convert -q ../disk.raw base.vhd
cp before/base.vhd before/other.vhd
noise 3 4
noise 10 1
vhd export-delta -q --from base.vhd ../disk.raw top.vhd
noise 5 6
vhd export-delta -q --from top.vhd ../disk.raw upper.vhd
vhd create -q --fixed --size 8M fixed.vhd
# A resize that stopped half-way, with its journal; a damaged header.
cp before/base.vhd before/half.vhd
(cd before && VHD_UTIL_TEST_FAIL_RESIZE_END=1 "$XENKIT" vhd-util resize -n half.vhd -s 600 -j half.journal >/dev/null)
[ -s before/half.journal ] || skip_all "no journal of a resize"
cp before/base.vhd before/bad.vhd
dd if=/dev/zero of=before/bad.vhd bs=512 seek=1 count=2 conv=notrunc status=none

# wanted NAME
wanted() {
    # shellcheck disable=SC2254
    case $1 in $only) ;; *) return 1 ;; esac
}

# kill_at_random COMMAND…: in the folder `now`, a fresh copy of `before`; killed after a random part of its usual time.
prepare() {
    rm -rf now && cp -a before now
}
micros() {
    # The whole clock in microseconds.
    echo "${EPOCHREALTIME/[.,]/}"
}
usual() {
    prepare
    tap_from=$(micros)
    (cd now && "$@") >/dev/null 2>&1
    usual_us=$(($(micros) - tap_from))
}
killed() {
    prepare
    delay=$(awk -v max="$usual_us" -v seed="$1" 'BEGIN { srand(seed); printf "%.6f", rand() * max * 1.1 / 1000000 }')
    shift
    # The shell's own word about the kill goes nowhere, too.
    { (cd now && exec timeout -s KILL "$delay" "$@") >/dev/null 2>&1; } 2>/dev/null
}

# What a person does next: revert when there is a journal, repair when the check asks for it.
journal=journal
recover() {
    [ ! -e "now/$journal" ] || vhd_util revert -n "now/$1" -j "now/$journal" >/dev/null || return 1
    "$XENKIT" vhd check -q --only vhd --no-parents "now/$1" >/dev/null 2>&1 && return 0
    vhd_util repair -n "now/$1" >/dev/null 2>&1
    "$XENKIT" vhd check -q --only vhd --skip vhd.batmap --no-parents "now/$1" >"$tmp/why" 2>&1
}

# survives NAME FILE COMMAND…: FILE may be absent when it was not there before.
survives() {
    name=$1 file=$2
    wanted "$name" || return 0
    shift 2
    usual "$@"
    new=$(content "now/$file")
    old=$([ ! -e "before/$file" ] || content "before/$file")
    bad=
    for ((round = 0; round < kills; round++)); do
        killed "$round" "$@"
        if [ ! -e "now/$file" ]; then
            [ -z "$old" ] || bad="round $round: $file is gone"
        elif ! recover "$file"; then
            bad="round $round: $(head -n 3 "$tmp/why")"
        else
            got=$(content "now/$file")
            [ "$got" = "$old" ] || [ "$got" = "$new" ] || bad="round $round: the disk holds something else"
        fi
        [ -z "$bad" ] || break
    done
    if [ -z "$bad" ]; then pass "$name, killed $kills times"; else fail "$name" "$bad"; fi
}

survives "create" made.vhd "$XENKIT" vhd-util create -n made.vhd -s 64
survives "create of a fixed image" made.vhd "$XENKIT" vhd-util create -n made.vhd -s 16 -r
survives "snapshot" made.vhd "$XENKIT" vhd-util snapshot -n made.vhd -p base.vhd
survives "set" base.vhd "$XENKIT" vhd-util set -n base.vhd -f hidden -v 1
survives "modify" top.vhd "$XENKIT" vhd-util modify -n top.vhd -p other.vhd
survives "repair" base.vhd "$XENKIT" vhd-util repair -n base.vhd
survives "resize that moves blocks" base.vhd "$XENKIT" vhd-util resize -n base.vhd -s 600 -j journal
survives "resize of a child" top.vhd "$XENKIT" vhd-util resize -n top.vhd -s 600 -j journal
survives "resize of a fixed image" fixed.vhd "$XENKIT" vhd-util resize -n fixed.vhd -s 12 -j journal
journal=half.journal
survives "revert" half.vhd "$XENKIT" vhd-util revert -n half.vhd -j half.journal
journal=journal
survives "fill" top.vhd "$XENKIT" vhd-util fill -n top.vhd
survives "copy" made.vhd "$XENKIT" vhd-util copy -n base.vhd -N made.vhd
survives "convert" made.vhd "$XENKIT" vhd convert -q upper.vhd made.vhd
survives "convert over another" base.vhd "$XENKIT" vhd convert -q --force upper.vhd base.vhd
survives "export-delta" made.vhd "$XENKIT" vhd export-delta -q --from top.vhd upper.vhd made.vhd

# A merge changes the parent's own disk; what must not change is the disk on top.
# merges NAME TOP COMMAND…
merges() {
    name=$1 top=$2
    wanted "$name" || return 0
    shift 2
    usual "$@"
    old=$(content "before/$top")
    bad=
    [ "$(content now/base.vhd)" = "$old" ] && [ "$(content before/base.vhd)" != "$old" ] || bad="it merges nothing"
    for ((round = 0; round < kills; round++)); do
        killed "$round" "$@"
        recover base.vhd || bad="round $round: $(head -n 3 "$tmp/why")"
        [ "$(content "now/$top")" = "$old" ] || bad="round $round: the disk on top holds something else"
        (cd now && "$@" >/dev/null)
        [ "$(content now/base.vhd)" = "$old" ] || bad="round $round: merging again does not complete it"
        [ -z "$bad" ] || break
    done
    if [ -z "$bad" ]; then pass "$name, killed $kills times"; else fail "$name" "$bad"; fi
}
merges "coalesce" top.vhd "$XENKIT" vhd-util coalesce -n top.vhd
merges "coalesce of a chain" upper.vhd "$XENKIT" vhd coalesce -q --chain upper.vhd

# A repair that was cut off is taken back by its undo file, and then done again.
mends() {
    name="repair by a plan"
    wanted "$name" || return 0
    usual "$@"
    new=$(content now/bad.vhd)
    bad=
    [ "$new" = "$(content before/base.vhd)" ] || bad="it does not repair"
    for ((round = 0; round < kills; round++)); do
        killed "$round" "$@"
        if [ -e now/bad.vhd.undo ]; then
            "$XENKIT" vhd repair -q --undo now/bad.vhd.undo now/bad.vhd >/dev/null 2>"$tmp/why" ||
                bad="round $round: not undone: $(head -n 3 "$tmp/why")"
        fi
        cmp -s now/bad.vhd before/bad.vhd || bad="round $round: not as it was before"
        (cd now && "$@" >/dev/null 2>"$tmp/why") || bad="round $round: repair again: $(head -n 3 "$tmp/why")"
        [ "$(content now/bad.vhd)" = "$new" ] || bad="round $round: the disk holds something else"
        [ -z "$bad" ] || break
    done
    if [ -z "$bad" ]; then pass "$name, killed $kills times"; else fail "$name" "$bad"; fi
}
mends "$XENKIT" vhd repair -q --apply bad.vhd

done_testing
