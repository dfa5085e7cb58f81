#!/bin/bash
# Every verb that writes, killed with SIGKILL at random moments: afterwards the image is the old one or the new one, or
# revert or repair makes it one of them, and nothing that the disk held has changed.
# XENKIT_KILLS: how many times each verb is killed.
. "$XENKIT_SOURCE/tests/tap.sh"

kills=${XENKIT_KILLS:-5}
requires timeout

vhd_util() {
    "$XENKIT" vhd-util "$@"
}

content() {
    "$XENKIT" vhd read --use-copy "$1" 2>/dev/null | md5sum
}

# ---- what is there before ----

mkdir before
"$XENKIT" vhd create -q --size 24M before/base.vhd >/dev/null
"$XENKIT" vhd create -q --size 24M before/other.vhd >/dev/null
head -c 24M /dev/urandom >disk.raw
"$XENKIT" vhd convert -q --force disk.raw before/base.vhd >/dev/null || skip_all "no image with data could be made"
cp before/base.vhd before/other.vhd
"$XENKIT" vhd snapshot -q --parent before/base.vhd before/top.vhd >/dev/null
vhd_util fill -n before/top.vhd >/dev/null || skip_all "no child with data could be made"
"$XENKIT" vhd create -q --fixed --size 8M before/fixed.vhd >/dev/null

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
recover() {
    [ ! -e now/journal ] || vhd_util revert -n "now/$1" -j now/journal >/dev/null || return 1
    "$XENKIT" vhd check -q --only vhd --no-parents "now/$1" >/dev/null 2>&1 && return 0
    vhd_util repair -n "now/$1" >/dev/null 2>&1
    "$XENKIT" vhd check -q --only vhd --skip vhd.batmap --no-parents "now/$1" >"$tmp/why" 2>&1
}

# survives NAME FILE COMMAND…: FILE may be absent when it was not there before.
survives() {
    name=$1 file=$2
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
survives "fill" top.vhd "$XENKIT" vhd-util fill -n top.vhd
survives "copy" made.vhd "$XENKIT" vhd-util copy -n base.vhd -N made.vhd
survives "convert" made.vhd "$XENKIT" vhd convert -q base.vhd made.vhd

# A merge changes the parent's own disk; what must not change is the disk on top.
usual "$XENKIT" vhd-util coalesce -n top.vhd
old=$(content before/top.vhd)
bad=
for ((round = 0; round < kills; round++)); do
    killed "$round" "$XENKIT" vhd-util coalesce -n top.vhd
    recover base.vhd || bad="round $round: $(head -n 3 "$tmp/why")"
    [ "$(content now/top.vhd)" = "$old" ] || bad="round $round: the disk on top holds something else"
    (cd now && vhd_util coalesce -n top.vhd >/dev/null)
    [ "$(content now/base.vhd)" = "$old" ] || bad="round $round: merging again does not complete it"
    [ -z "$bad" ] || break
done
if [ -z "$bad" ]; then pass "coalesce, killed $kills times"; else fail "coalesce" "$bad"; fi

done_testing
