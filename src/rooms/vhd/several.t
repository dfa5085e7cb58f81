#!/bin/bash
# Several images at once, one of them bad; what a dry run says beside what then happens; files that are not what their
# names say.
. "$XENKIT_SOURCE/tests/tap.sh"

vhd() {
    "$XENKIT" vhd "$@"
}

# ---- what there is ----

truncate -s 12M disk.raw
head -c 3M /dev/urandom | dd of=disk.raw bs=1M seek=1 conv=notrunc status=none
vhd convert disk.raw base.vhd >"$tmp/made" && head -c 1M /dev/urandom | dd of=disk.raw bs=1M seek=9 conv=notrunc status=none
vhd export-delta --from base.vhd disk.raw top.vhd >"$tmp/made"
vhd create --size 8M dyn.vhd >"$tmp/made"
vhd create --size 2M --fixed fixed.vhd >"$tmp/made"
head -c 4096 /dev/urandom >junk.vhd

# ---- one bad among several ----

paths() {
    grep -o '"path":"[a-z]*\.vhd"' "$out" | cut -d : -f 2 | tr -d '"\n'
}
for verb in info query key hash "set --marker 3" "fill --dry-run"; do
    # shellcheck disable=SC2086
    run xenkit vhd $verb --json dyn.vhd junk.vhd missing.vhd top.vhd
    check "${verb%% *}: a bad image has its status" 5 "~\"error\":\{.*\"2 of 4 images failed\"" "~junk.vhd: .*"
    like "${verb%% *}: and the next one is told of, too" "$(cat "$err")" "missing.vhd: No such file"
    is "${verb%% *}: the others are done" "$(paths)" "dyn.vhdtop.vhdjunk.vhdmissing.vhd"
    like "${verb%% *}: scripts see which failed" "$(cat "$out")" '"failures":\[\{"path":"junk.vhd","exit":5,.*\{"path":"missing.vhd","exit":6'
    # shellcheck disable=SC2086
    run xenkit vhd $verb --json junk.vhd
    check "${verb%% *}: one alone fails by itself" 5 "~\"message\":\"junk.vhd: " "~^xenkit: junk.vhd: "
done
cp base.vhd first.vhd && printf x | dd of=first.vhd bs=1 seek=600 conv=notrunc status=none
cp first.vhd last.vhd
run xenkit vhd repair --apply first.vhd missing.vhd last.vhd
check "repair: the status is that of the missing one" 6 "~^last.vhd +header .* done$" "~^xenkit: 1 of 3 images failed"
ok "the first is repaired" vhd compare -q first.vhd base.vhd -o /dev/null
ok "the last is, too" vhd compare -q last.vhd base.vhd -o /dev/null
rm -f first.vhd* last.vhd*
for verb in scan check chain; do
    run xenkit vhd $verb --json dyn.vhd missing.vhd top.vhd
    like "$verb goes on behind a file that is missing" "$status $(cat "$out")" '^1 .*missing.vhd'
    nok "$verb has no error then" grep -q '"error"' "$out"
done
run xenkit vhd scan missing.vhd
check "a missing file alone is an error" 6 "" "~missing.vhd: No such file"
run xenkit vhd scan --json junk.vhd
check "scan says why an image is damaged, and keeps its keys" 1 '~"size_bytes":null,.*"problem":"junk.vhd: not a VHD'
run xenkit vhd chain --json junk.vhd
check "chain keeps its keys" 1 '~"size_bytes":null'
run xenkit vhd query --json fixed.vhd
check "query, too" 0 '~"max_bytes":null'

# ---- what is not what it is called ----

for verb in hash map "convert out.raw"; do
    # shellcheck disable=SC2086
    set -- $verb
    run xenkit vhd "$1" junk.vhd ${2+"$2"}
    check "$1 does not take a broken .vhd for a raw disk" 5 "-" "~junk.vhd: is called .vhd, but no format"
done
run xenkit vhd hash -f raw junk.vhd
check "unless told" 0 "~junk.vhd"

# ---- parents are part of being whole ----

mkdir away && mv base.vhd away/
run xenkit vhd repair top.vhd
check "repair does not call an image whole without its parent" 1 "~vhd.parent-missing" ""
mv away/base.vhd .
run xenkit vhd repair top.vhd
check "with it, it does" 0 "~Nothing needs repair"
run xenkit vhd repair --chain-root away top.vhd
check "nor one outside the chain root" 1 "~outside the chain root"

# ---- markers ----

if run xenkit vhd set --marker 9 fixed.vhd && [ "$status" = 0 ]; then
    run xenkit vhd query --json fixed.vhd
    check "the marker of a fixed image is read where it was written" 0 '~"marker":9,'
else
    skip "a fixed image's marker" "no extended attributes here"
fi

# ---- a dry run says what will be ----

# Dry and real, each on a fresh copy: nothing is written by the first, and both tell the same, but for what only the
# doing knows.
unknown='"\(written\|complete\|verified\|duration_ns\|file_bytes\|uuid\|size_bytes\)":[^,}]*'
dry() {
    local name="$*"
    for now in dry real; do
        rm -rf now && mkdir now && cp -- *.vhd disk.raw now/
        cd now || exit 99
        if [ "$now" = dry ]; then
            sha256sum -- * >"$tmp/before"
            "$XENKIT" vhd "$@" --json --dry-run >"$out" 2>"$err"
            echo "status $?" >>"$out"
            sha256sum -- * | cmp -s - "$tmp/before" || name="$name (the dry run wrote)"
            sed "s/$unknown//g" "$out" >"$tmp/said"
        else
            "$XENKIT" vhd "$@" --json >"$out" 2>"$err"
            echo "status $?" >>"$out"
            sed "s/$unknown//g" "$out" >"$tmp/done"
        fi
        cd .. || exit 99
    done
    is "dry run: $name" "$name $(cat "$tmp/said")" "$* $(cat "$tmp/done")"
}
dry create --size 5M new.vhd
dry snapshot --parent base.vhd new.vhd
dry snapshot --parent base.vhd top.vhd
dry coalesce top.vhd
dry set --hidden yes --marker 7 base.vhd dyn.vhd
dry modify --parent dyn.vhd top.vhd
dry modify --file-end 60M base.vhd
dry modify --discard --yes top.vhd
dry resize --size 6000M base.vhd
dry resize --size 2M base.vhd
dry resize --size 2M --yes base.vhd
dry fill top.vhd
dry fill --tables-only top.vhd
dry copy top.vhd new.vhd
dry key --set --hash "$(printf '%064d' 7)" dyn.vhd
dry convert top.vhd new.qcow2
dry convert --force disk.raw base.vhd
dry export-delta --from base.vhd disk.raw new.vhd

done_testing
