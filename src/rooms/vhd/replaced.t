#!/bin/bash
# Every verb that writes, while another process renames its own file over the one that the verb works on, at each moment
# of the verb's run: a restored copy of the very same image, which nothing but the file's identity tells apart. The verb
# ends with an error, or it was through before; what came is not written to and not removed.
# XENKIT_SWAPS: at how many moments of each verb's run, spread over it. XENKIT_SWAP_ONLY: only what matches this pattern.
. "$XENKIT_SOURCE/tests/tap.sh"

swaps=${XENKIT_SWAPS:-6}
only=${XENKIT_SWAP_ONLY:-*}
# Memory that is not freed cannot be looked for by a process that is traced itself.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"
"$SWAP_AT" "$tmp/report" 0 a b true || skip_all "processes cannot be traced here"

mkdir before
vhd() {
    (cd before && "$XENKIT" vhd "$@" >/dev/null) || skip_all "no images to begin with"
}
# noise MIB: something else at that place of the disk
noise() {
    head -c 65536 /dev/urandom | dd of=disk.raw bs=1M seek="$1" conv=notrunc status=none
}
truncate -s 12M disk.raw
noise 0
noise 2
noise 5
vhd convert -q ../disk.raw base.vhd
cp disk.raw before/disk.raw
noise 2
noise 7
vhd export-delta -q --from base.vhd ../disk.raw top.vhd
noise 9
vhd export-delta -q --from top.vhd ../disk.raw upper.vhd
vhd export-delta -q --from disk.raw ../disk.raw onraw.vhd
cp before/base.vhd before/other.vhd
vhd create -q --fixed --size 4M fixed.vhd
vhd create -q --size 8M empty.vhd
cp before/base.vhd before/half.vhd
(cd before && VHD_UTIL_TEST_FAIL_RESIZE_END=1 "$XENKIT" vhd-util resize -n half.vhd -s 3000 -j half.journal >/dev/null)
cp before/base.vhd before/undone.vhd
dd if=/dev/zero of=before/undone.vhd bs=512 seek=1 count=2 conv=notrunc status=none
cp before/undone.vhd before/bad.vhd
vhd repair -q --apply undone.vhd
head -c 32 /dev/urandom >before/key

prepare() {
    rm -rf now
    cp -a before now
    cp -p "now/$1" now/stranger
    ln "now/$1" now/kept
}

# at K FILE COMMAND…: sets $status, and of the report $count, $touched, $changed, $reopened.
at() {
    prepare "$2"
    (cd now && exec "$SWAP_AT" report "$1" stranger "$2" "${@:3}") >"$out" 2>"$err" </dev/null
    status=$?
    read -r count touched changed reopened <now/report
}

# is_sound FILE 0|1: a check passes, or is known not to.
is_sound() {
    "$XENKIT" vhd check -q --only vhd --skip vhd.batmap --no-parents "$1" >/dev/null || (($2))
}

# What is wrong with the state after a swap, if anything.
verdict() {
    if ((status >= 126)); then
        echo "ended by signal or not at all: $status"
    elif ((status > 0)); then
        cmp -s "now/$1" "before/$1" || echo "failed ($status), and the new file was changed: $(cat "$out" "$err")"
        [ -s "$out" ] || [ -s "$err" ] || ((status == 116)) || echo "failed ($status) without a word"
    elif ! cmp -s "now/$1" "before/$1"; then
        # Everything was done to the new file: fine, when nothing was done to the old one.
        { cmp -s now/kept "before/$1" && is_sound "now/$1" "$sound_after"; } ||
            echo "is said to be done of a file that was replaced half-way"
    elif ((touched > 0 || (changed > 0 && reopened == 0))); then
        echo "is said to be done, after $touched and $changed calls behind the swap: $(cat "$out")"
    fi
}

# whole FILE: the old file is no worse than a kill would leave it.
whole() {
    [ ! -e now/journal ] || "$XENKIT" vhd-util revert -n now/kept -j now/journal >/dev/null
    is_sound now/kept "$((sound_before || sound_after))" || echo "left a broken image"
}

# replaced NAME FILE COMMAND…: FILE is the one that is replaced.
replaced() {
    # shellcheck disable=SC2254
    case $1 in $only) ;; *) return ;; esac
    at 0 "${@:2}"
    ((status == 0)) || { fail "$1" "does not work undisturbed: $(cat "$out" "$err")"; return; }
    is_sound "before/$2" 0
    sound_before=$?
    is_sound "now/$2" 0
    sound_after=$?
    total=$count step=$((count > swaps ? swaps : count)) bad='' refused=0 k=''
    for ((n = 1; n <= step && ${#bad} == 0; n++)); do
        k=$((total * n / step))
        at "$k" "${@:2}"
        bad=$(verdict "$2")
        ((status == 0)) || refused=$((refused + 1))
        case $2 in *.vhd) [ "$bad" ] || bad=$(whole "$2") ;; esac
    done
    ((refused > 0)) || bad=${bad:-"it never notices"}
    if [ -z "$bad" ]; then pass "$1: $step of $total moments, $refused refused"; else fail "$1" "moment $k of $total: $bad"; fi
}

X=$XENKIT
replaced "set" base.vhd "$X" vhd set --hidden yes --marker 7 base.vhd
replaced "vhd-util set hidden" base.vhd "$X" vhd-util set -n base.vhd -f hidden -v 1
replaced "vhd-util set marker" base.vhd "$X" vhd-util set -n base.vhd -f marker -v 7
replaced "modify, another parent" top.vhd "$X" vhd modify --parent other.vhd top.vhd
replaced "modify, the parent" other.vhd "$X" vhd modify --parent other.vhd top.vhd
replaced "modify, discard" base.vhd "$X" vhd modify --discard --yes base.vhd
replaced "modify, the file's end" base.vhd "$X" vhd modify --file-end 64M base.vhd
replaced "vhd-util modify -p" top.vhd "$X" vhd-util modify -n top.vhd -p other.vhd
replaced "vhd-util modify -p, the parent" other.vhd "$X" vhd-util modify -n top.vhd -p other.vhd
replaced "vhd-util modify -z" base.vhd "$X" vhd-util modify -n base.vhd -z
replaced "vhd-util modify -s" base.vhd "$X" vhd-util modify -n base.vhd -s 67108864
replaced "resize inside the tables" base.vhd "$X" vhd resize --size 4M --yes base.vhd
replaced "resize with a journal" base.vhd "$X" vhd resize --size 3000M --journal journal base.vhd
replaced "resize of a fixed image" fixed.vhd "$X" vhd resize --size 6M --journal journal fixed.vhd
replaced "vhd-util resize -j" base.vhd "$X" vhd-util resize -n base.vhd -s 3000 -j journal
replaced "revert" half.vhd "$X" vhd revert --journal half.journal half.vhd
replaced "vhd-util revert" half.vhd "$X" vhd-util revert -n half.vhd -j half.journal
replaced "fill" top.vhd "$X" vhd fill top.vhd
replaced "fill, the parent" base.vhd "$X" vhd fill top.vhd
replaced "vhd-util fill" top.vhd "$X" vhd-util fill -n top.vhd
replaced "vhd-util fill -b" top.vhd "$X" vhd-util fill -n top.vhd -b
replaced "repair by a plan" bad.vhd "$X" vhd repair --apply bad.vhd
replaced "repair --undo" undone.vhd "$X" vhd repair --undo undone.vhd.undo undone.vhd
replaced "vhd-util repair" base.vhd "$X" vhd-util repair -n base.vhd
replaced "coalesce, the target" base.vhd "$X" vhd coalesce --force top.vhd
replaced "coalesce, the child" top.vhd "$X" vhd coalesce --force top.vhd
replaced "coalesce, a raw target" disk.raw "$X" vhd coalesce --force onraw.vhd
replaced "coalesce --chain, the target" base.vhd "$X" vhd coalesce --force --chain upper.vhd
replaced "coalesce --chain, in between" top.vhd "$X" vhd coalesce --force --chain upper.vhd
replaced "vhd-util coalesce, the target" base.vhd "$X" vhd-util coalesce -n top.vhd
replaced "vhd-util coalesce, the child" top.vhd "$X" vhd-util coalesce -n top.vhd
replaced "key" empty.vhd "$X" vhd key --set --key-file key empty.vhd
replaced "vhd-util key" empty.vhd "$X" vhd-util key -n empty.vhd -s -H "$(printf '%064d' 7)"
replaced "create --force, the old file" other.vhd "$X" vhd create --force --size 8M other.vhd
replaced "vhd-util create, the old file" other.vhd "$X" vhd-util create -n other.vhd -s 8
replaced "snapshot, the parent" base.vhd "$X" vhd snapshot -p base.vhd made.vhd
replaced "snapshot, a raw parent" disk.raw "$X" vhd snapshot --raw -p disk.raw made.vhd
replaced "snapshot --force, the old file" other.vhd "$X" vhd snapshot --force -p base.vhd other.vhd
replaced "vhd-util snapshot, the parent" base.vhd "$X" vhd-util snapshot -n made.vhd -p base.vhd
replaced "vhd-util snapshot, the old file" other.vhd "$X" vhd-util snapshot -n other.vhd -p base.vhd
replaced "copy, the source" base.vhd "$X" vhd copy base.vhd made.vhd
replaced "copy of a child, its parent" base.vhd "$X" vhd copy top.vhd made.vhd
replaced "copy --force, the old file" other.vhd "$X" vhd copy --force base.vhd other.vhd
replaced "vhd-util copy, the source" base.vhd "$X" vhd-util copy -n base.vhd -N made.vhd
replaced "convert, the source" top.vhd "$X" vhd convert top.vhd made.vhd
replaced "convert, its parent" base.vhd "$X" vhd convert --to raw top.vhd made.raw
replaced "convert, a raw source" disk.raw "$X" vhd convert disk.raw made.vhd
replaced "convert to a pipe, the source" top.vhd "$X" vhd convert --to raw top.vhd -
replaced "convert --force, the old file" other.vhd "$X" vhd convert --force top.vhd other.vhd
replaced "export-delta, one image" base.vhd "$X" vhd export-delta --from base.vhd upper.vhd made.vhd
replaced "export-delta, the other" upper.vhd "$X" vhd export-delta --from base.vhd upper.vhd made.vhd
replaced "export-delta --force, the old file" other.vhd "$X" vhd export-delta --force --from base.vhd upper.vhd other.vhd

# served NAME FILE: a server for writers notices whichever file is replaced, and what came is left alone.
served() {
    # shellcheck disable=SC2254
    case $1 in $only) ;; *) return ;; esac
    rm -rf now && cp -a before now
    (cd now && exec "$XENKIT" vhd serve --socket sock --writable --overlay new.vhd top.vhd) >"$out" 2>"$err" &
    server=$!
    await grep -q '^writable' "$out"
    address="nbd+unix:///?socket=$PWD/now/sock"
    qemu-io -f raw -c 'write -P 1 1M 64k' -c flush "$address" >/dev/null || diag "$1: the client could not write"
    cp -p "now/$2" stranger && ln "now/$2" now/kept && cp stranger "now/stranger" && mv now/stranger "now/$2"
    qemu-io -f raw -c 'write -P 2 1M 4k' -c flush "$address" >/dev/null 2>&1
    kill "$server"
    wait "$server"
    is "$1: it ends with an error" "$?" 6
    like "$1: that names the file" "$(cat "$err")" "$2 was replaced by another file"
    ok "$1: what came is as it came" cmp "now/$2" stranger
    ok "$1: what was there is sound" "$XENKIT" vhd check -q --only vhd --no-parents now/kept
}
if command -v qemu-io >/dev/null 2>&1; then
    served "serve --writable, the overlay" new.vhd
    served "serve --writable, the image" top.vhd
    served "serve --writable, its parent" base.vhd
else
    skip "serve --writable" "qemu-io is not installed"
fi

done_testing
