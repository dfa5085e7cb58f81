#!/bin/bash
# The verbs that write: fill, copy, key, set, modify, resize, revert, repair, and chain's pictures. What they make is read
# again, checked by ourselves and, where VHD_UTIL names the original, by that.
. "$XENKIT_SOURCE/tests/tap.sh"

# content FILE: the SHA-256 of the disk inside.
content() {
    xenkit vhd read "$1" | sha256sum | cut -c 1-64
}

# sound FILE: no finding of severity warning or more, for us and for the original.
sound() {
    xenkit vhd check --data --no-parents "$1" >"$tmp/sound.log" || {
        cat "$tmp/sound.log"
        return 1
    }
    [ -z "${VHD_UTIL:-}" ] || "$VHD_UTIL" check -n "$1" >/dev/null
}

# hurt FILE OFFSET: overwrite eight bytes.
hurt() {
    printf 'XXXXXXXX' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# A raw disk with data, holes, and an odd end; an image on top of it that holds nothing yet.
truncate -s 17M raw
head -c 3000000 /dev/urandom | dd of=raw bs=4096 conv=notrunc status=none
head -c 70000 /dev/urandom | dd of=raw bs=1M seek=9 conv=notrunc status=none
want=$(sha256sum raw | cut -c 1-64)
xenkit vhd snapshot --parent raw --raw top.vhd >/dev/null
is "a snapshot of a raw disk reads like it" "$(content top.vhd)" "$want"

# ---- fill ----

run xenkit vhd fill --dry-run top.vhd
check "a dry run of fill counts blocks" 0 "~^top.vhd +9 +17 MiB +no +no"
run xenkit vhd query --plain top.vhd
like "and writes nothing" "$(cut -f 5 "$out")" "^0$"
cp top.vhd some.vhd
run xenkit vhd fill --offset 2M --length 3M --json some.vhd
check "a part is filled" 0 "~\"new_blocks\":2,\"data_bytes\":4194304"
is "and reads the same" "$(content some.vhd)" "$want"
ok "and is sound" sound some.vhd
cp top.vhd marked.vhd
run xenkit vhd fill --tables-only marked.vhd
check "tables alone" 0 "~^marked.vhd +9 "
is "read the same" "$(content marked.vhd)" "$want"
ok "take no space for zeros" test "$(stat -c %b marked.vhd)" -lt 16000
ok "and are sound" sound marked.vhd
run xenkit vhd fill top.vhd
check "fill" 0 "~^top.vhd +9 +17 MiB +yes"
is "reads the same" "$(content top.vhd)" "$want"
ok "is dense" test "$(stat -c %b top.vhd)" -ge 34816
ok "and sound" sound top.vhd
run xenkit vhd fill top.vhd
check "a second time there is nothing to do" 0 "~^top.vhd +0 +0 B"
run xenkit vhd fill --offset 1G top.vhd
check "past the end" 2 "" "~past the end"
xenkit vhd create --size 4M --fixed fixed.vhd >/dev/null
run xenkit vhd fill fixed.vhd
check "a fixed image is full" 2 "" "~full by nature"

# ---- copy ----

run xenkit vhd copy --dry-run some.vhd copy.vhd
check "a dry run of copy" 0 "~data: +4 MiB"
nok "makes nothing" test -e copy.vhd
run xenkit vhd copy some.vhd copy.vhd
check "a copy of a child" 0 "~written: +yes"
is "has the same content" "$(content copy.vhd)" "$want"
ok "and is sound" sound copy.vhd
run xenkit vhd info --json some.vhd copy.vhd
like "it has an identity of its own" "$(grep -o '"uuid":"[^"]*"' "$out" | sort -u | wc -l)" "^[2-9]"
run xenkit vhd copy some.vhd copy.vhd
check "nothing is overwritten" 6 "" "~is there already"
run xenkit vhd copy --force copy.vhd copy.vhd
check "least of all itself" 2 "" "~the image itself"
xenkit vhd create --size 30M dyn.vhd >/dev/null
run xenkit vhd copy --reserve 1G dyn.vhd big.vhd
check "with larger tables" 0 "-"
run xenkit vhd query --json big.vhd
check "that hold what was asked for" 0 "~\"max_bytes\":1073741824"
run xenkit vhd copy fixed.vhd fixed2.vhd
check "a fixed image" 0 "-"
is "is copied whole" "$(content fixed2.vhd)" "$(content fixed.vhd)"
run xenkit vhd copy --whole-blocks some.vhd c3.vhd
check "whole blocks are for dynamic images" 2 "" "~only a dynamic image"

# ---- key ----

head -c 64 /dev/urandom >k64
head -c 33 /dev/urandom >k33
zeros=$(printf '%064d' 0)
run xenkit vhd key dyn.vhd
check "no key" 0 "~^dyn.vhd +no +- +-"
run xenkit vhd key --key-file k64 --nonce "$zeros"
like "the hash is SHA-256 of nonce and key" "$(cat "$out")" \
    "^hash: +$( (head -c 32 /dev/zero && cat k64) | sha256sum | cut -c 1-64)$"
run xenkit vhd key --set --key-file k33 dyn.vhd
check "a key of 33 bytes" 2 "" "~32 or 64 bytes"
run xenkit vhd key --set --dry-run --key-file k64 dyn.vhd
check "a dry run" 0 "~written: no"
run xenkit vhd key --set --key-file k64 dyn.vhd
check "a key is set" 0 "~written: yes"
run xenkit vhd key --check --key-file k64 dyn.vhd
check "and found right" 0 "~matches: yes"
head -c 64 /dev/urandom >other
run xenkit vhd key --check --key-file other dyn.vhd
check "another one is not" 1 "~matches: no"
run xenkit vhd key --set --key-file k64 top.vhd
check "an image with data takes no key" 2 "" "~holds data already"
run xenkit vhd key --set --hash xyz dyn.vhd
check "a bad hash" 2 "" "~hexadecimal"
run xenkit vhd key --set dyn.vhd
check "a key is needed" 2 "" "~--key-file or --hash"
xenkit vhd create --size 4M plain.vhd >/dev/null
run xenkit vhd copy --key-file k64 plain.vhd secret.vhd
check "an encrypted copy" 0 "~encrypted: yes"
run xenkit vhd key --check --key-file k64 secret.vhd
check "knows its key" 0 "~matches: yes"

# ---- set ----

run xenkit vhd set --hidden yes --marker 7 dyn.vhd plain.vhd
check "marks" 0 "~^plain.vhd +yes +no +7 +yes"
run xenkit vhd query --plain plain.vhd
like "are read again" "$(cat "$out")" "	true	7	"
run xenkit vhd set --hidden no --dry-run plain.vhd
check "a dry run of set" 0 "~^plain.vhd +no +yes +7 +no"
run xenkit vhd query --plain plain.vhd
like "changes nothing" "$(cat "$out")" "	true	7	"
run xenkit vhd set plain.vhd
check "nothing to set" 2 "" "~nothing to set"
run xenkit vhd set --marker 256 plain.vhd
check "a marker is a byte" 2 "" "~256"
ok "marked images are sound" sound plain.vhd

# ---- modify ----

xenkit vhd create --size 8M base.vhd >/dev/null
xenkit vhd snapshot --parent base.vhd leaf.vhd >/dev/null
mkdir below && mv base.vhd below/moved.vhd
run xenkit vhd modify --dry-run --parent below/moved.vhd leaf.vhd
check "a dry run of another parent" 0 "~written: +no"
nok "it is not found yet" xenkit vhd read leaf.vhd
run xenkit vhd modify --parent below/moved.vhd leaf.vhd
check "another parent" 0 "~parent: +below/moved.vhd"
ok "is found" xenkit vhd read -o leaf.raw leaf.vhd
ok "and the image is sound" sound leaf.vhd
run xenkit vhd modify --parent leaf.vhd leaf.vhd
check "not itself" 2 "" "~the image itself"
cp some.vhd gone.vhd
run xenkit vhd modify --discard gone.vhd
check "data are not thrown away by mistake" 2 "" "~throws the data"
run xenkit vhd modify --discard --yes gone.vhd
check "but when told" 0 "~discarded blocks: +2"
is "then the parent shows" "$(content gone.vhd)" "$want"
ok "and the image is sound" sound gone.vhd
end=$(($(stat -c %s gone.vhd) + 4096))
run xenkit vhd modify --file-end $end gone.vhd
check "the footer where a file of that size ends" 0 "~written: +yes"
is "is there" "$(stat -c %s gone.vhd)" "$end"
run xenkit vhd modify --file-end 1k gone.vhd
check "not on the data" 2 "" "~need"
run xenkit vhd modify gone.vhd
check "one change is needed" 2 "" "~one change is needed"

# ---- resize and revert ----

xenkit vhd create --size 16M --reserve 64M room.vhd >/dev/null
run xenkit vhd resize --dry-run --size 1G room.vhd
check "a dry run of resize" 0 "~^size: +1 GiB"
is "changes nothing" "$(xenkit vhd query --plain room.vhd | cut -f 2)" 16777216
run xenkit vhd resize --size 60M room.vhd
check "inside the tables no journal is needed" 0 "~^journal: +-"
cp top.vhd grow.vhd
run xenkit vhd resize --size 3G --json grow.vhd
check "past them one is" 0 '~"moved_blocks":1,"dropped_blocks":0,"journal":"grow.vhd.journal","written":true'
nok "which goes" test -e grow.vhd.journal
ok "the larger image is sound" sound grow.vhd
is "its beginning is as it was" "$(xenkit vhd read --length 17M grow.vhd | sha256sum | cut -c 1-64)" "$want"
run xenkit vhd resize --size 4M grow.vhd
check "a shrink that loses data" 6 "" "~hold data"
run xenkit vhd resize --size 4M --yes grow.vhd
check "when told" 0 "~dropped blocks: +7"
ok "is sound" sound grow.vhd
is "and holds what is left" "$(content grow.vhd)" "$(head -c 4194304 raw | sha256sum | cut -c 1-64)"
run xenkit vhd resize --size 3T grow.vhd
check "too large" 2 "" "~2040 GiB"
run xenkit vhd revert grow.vhd
check "no journal" 6 "" "~grow.vhd.journal"
cp raw no.journal
run xenkit vhd revert --journal no.journal grow.vhd
check "not a journal" 2 "" "-"
for point in BEGIN DATA_MOVED METADATA_MOVED END; do
    cp top.vhd cut.vhd
    env "VHD_UTIL_TEST_FAIL_RESIZE_$point=1" "$XENKIT" vhd-util resize -n cut.vhd -s 5000 -j cut.journal >/dev/null
    nok "stopped at $point nobody opens it" xenkit vhd read -o /dev/null cut.vhd
    run xenkit vhd revert --dry-run --journal cut.journal cut.vhd
    check "a dry run says what would be done" 0 "~^resize: +undone"
    if [ -n "${VHD_UTIL:-}" ]; then
        cp cut.vhd theirs.vhd
        cp cut.journal theirs.journal
        ok "vhd-util undoes our journal at $point" "$VHD_UTIL" revert -n theirs.vhd -j theirs.journal
        is "the disk is as it was" "$(content theirs.vhd)" "$want"
        ok "and sound" sound theirs.vhd
    fi
    run xenkit vhd revert --journal cut.journal cut.vhd
    check "revert at $point" 0 "~^resize: +undone"
    is "brings the disk back" "$(content cut.vhd)" "$want"
    ok "sound" sound cut.vhd
    if [ -n "${VHD_UTIL:-}" ]; then
        cp top.vhd cut.vhd
        rm -f cut.journal
        env "VHD_UTIL_TEST_FAIL_RESIZE_$point=1" "$VHD_UTIL" resize -n cut.vhd -s 5000 -j cut.journal >/dev/null
        run xenkit vhd revert --journal cut.journal cut.vhd
        check "we follow vhd-util's journal at $point" 0 "~^resize: +(undone|finished)"
        is "the data are there" "$(xenkit vhd read --length 17M cut.vhd | sha256sum | cut -c 1-64)" "$want"
        ok "in a sound image" sound cut.vhd
    fi
    rm -f cut.journal
done
[ -n "${VHD_UTIL:-}" ] || skip "journals of vhd-util, and its revert on ours" "VHD_UTIL does not name one"
reverted=0
for delay in 1 2 3 5 8 12 17 25 40 60; do
    cp top.vhd killed.vhd
    rm -f killed.vhd.journal
    { timeout -s KILL "0.0$(printf %02d $delay)" "$XENKIT" vhd resize --size 1T killed.vhd; } >/dev/null 2>&1
    if [ -e killed.vhd.journal ]; then
        xenkit vhd revert killed.vhd >/dev/null || break
        reverted=$((reverted + 1))
    fi
    [ "$(xenkit vhd read --length 17M killed.vhd | sha256sum | cut -c 1-64)" = "$want" ] && sound killed.vhd || break
done
is "killed at any moment, the disk is whole after a revert" "$delay" 60
diag "$reverted of 10 had to be reverted"

# ---- repair ----

run xenkit vhd repair top.vhd
check "a sound image needs none" 0 "~Nothing needs repair"
cp top.vhd bad.vhd
hurt bad.vhd $(($(stat -c %s bad.vhd) - 512))
hurt bad.vhd 1200
cp bad.vhd asitwas.vhd
run xenkit vhd repair bad.vhd
check "the plan of two steps" 0 "~^bad.vhd +footer +no valid footer"
ok "is not carried out" cmp bad.vhd asitwas.vhd
run xenkit vhd repair --apply --json bad.vhd
check "until asked" 0 '~"undo_files":\[\{"image":"bad.vhd","undo_file":"bad.vhd.undo"\}\]'
is "then the disk is back" "$(content bad.vhd)" "$want"
ok "sound" sound bad.vhd
run xenkit vhd repair --apply bad.vhd
check "again there is nothing to do" 0 "~Nothing needs repair"
run xenkit vhd repair --undo bad.vhd.undo --dry-run bad.vhd
check "a dry run of the undo" 0 "~written: +no"
run xenkit vhd repair --undo bad.vhd.undo bad.vhd
check "the undo" 0 "~written: +yes"
ok "brings the damage back" cmp bad.vhd asitwas.vhd
nok "and is used up" test -e bad.vhd.undo
head -c $(($(stat -c %s top.vhd) - 2000000)) top.vhd >cut.vhd
run xenkit vhd repair --apply cut.vhd
check "a file that was cut off cannot be repaired" 1 "~only a whole copy of the file"
nok "nothing was written" test -e cut.vhd.undo
cp raw notvhd
run xenkit vhd repair notvhd
check "nor what is no image" 1 "~neither footer nor header"
mv below/moved.vhd below/again.vhd
run xenkit vhd repair --apply --parent below/again.vhd leaf.vhd
check "a parent that moved is named again" 0 "~locators"
ok "and found" xenkit vhd read -o leaf2.raw leaf.vhd
ok "and the same" cmp leaf.raw leaf2.raw
cp dyn.vhd twin.vhd
run xenkit vhd repair --apply --new-uuid twin.vhd
check "another identity" 0 "~UUID"
run xenkit vhd repair --apply --dry-run twin.vhd
check "one or the other" 2 "" "~two things"
if [ -n "${VHD_UTIL:-}" ]; then
    for offset in 0 8 40 60 520 540 600 700 900 1024 1400 1540 3100; do
        "$VHD_UTIL" create -n fresh.vhd -s 40
        hurt fresh.vhd $offset
        rm -f fresh.vhd.undo
        xenkit vhd repair --apply fresh.vhd >"$tmp/repair.log" || true
        if "$VHD_UTIL" check -n fresh.vhd >"$tmp/check.log"; then
            pass "after our repair of byte $offset vhd-util finds it valid"
        else
            fail "after our repair of byte $offset vhd-util finds it valid" "$(head -n 1 "$tmp/check.log") $(cat "$tmp/repair.log")"
        fi
        rm -f fresh.vhd
    done
fi

# ---- pictures of chains ----

run xenkit vhd chain --svg tree.svg --html tree.html top.vhd leaf.vhd
check "chains with pictures" 0 "~EXCLUSIVE +SHARED"
like "an SVG" "$(head -c 200 tree.svg)" '^<svg xmlns="http://www.w3.org/2000/svg"'
like "a page" "$(head -c 200 tree.html)" "<!DOCTYPE html>"
ok "which names the images" grep -q leaf.vhd tree.html tree.svg
if command -v xmllint >/dev/null 2>&1; then
    ok "the SVG is well formed" xmllint --noout tree.svg
else
    skip "the SVG is well formed" "xmllint is not installed"
fi
run xenkit vhd chain --dot leaf.vhd
check "Graphviz text" 0 "~n[0-9] -> n[0-9] \[label=\"coalesce frees"
run xenkit vhd chain --dot --json leaf.vhd
check "which is no JSON" 2 "~error" "-"
run xenkit vhd chain --html /nowhere/x.html leaf.vhd
check "a folder that is not there" 6 "" "~/nowhere"

# ---- blocks that lie on each other ----

head -c 8M /dev/urandom >over.raw
xenkit vhd convert -q over.raw over.vhd >/dev/null
xenkit vhd snapshot -q -p over.vhd over-child.vhd >/dev/null
# The second block begins in the middle of the first one.
over_at=$((0x$(od -An -tx1 -j1536 -N4 over.vhd | tr -d ' ') + 8))
printf '%b' "$(printf '\\x%02x' $((over_at >> 24)) $((over_at >> 16 & 255)) $((over_at >> 8 & 255)) $((over_at & 255)))" |
    dd of=over.vhd bs=1 seek=1540 conv=notrunc status=none
cp over.vhd over.copy
for words in "vhd fill over.vhd" "vhd resize --size 16M over.vhd" "vhd resize --size 4M --yes over.vhd" \
    "vhd-util fill -n over.vhd" "vhd-util fill -n over.vhd -b" "vhd-util resize -n over.vhd -s 16 -j over.journal"; do
    # shellcheck disable=SC2086
    nok "refused where blocks overlap: $words" "$XENKIT" $words
done
nok "refused where blocks overlap: coalesce" xenkit vhd coalesce --force over-child.vhd
ok "nothing was written" cmp over.vhd over.copy
ok "what writes no block does its work there" "$XENKIT" vhd-util set -n over.vhd -f hidden -v 1

done_testing
