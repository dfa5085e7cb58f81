#!/bin/bash
# The native verbs: what they print, refuse, and leave behind.
. "$XENKIT_SOURCE/tests/tap.sh"

# value KEY…: the last run's JSON without a JSON parser: the first "KEY":VALUE.
value() {
    sed -n "s/.*\"$1\":\(\"[^\"]*\"\|[^,}]*\).*/\1/p" "$out" | head -n 1
}

# ---- create ----

run xenkit vhd create --size 10M a.vhd
check "create says what it made" 0 "path:    a.vhd
type:    dynamic
size:    10 MiB
written: yes"
run xenkit vhd create --size 10M a.vhd
check "an image is not overwritten" 6 "" "~a.vhd: is there already"
run xenkit vhd create --size 12M --force a.vhd
check "unless told" 0 "~size: +12 MiB"
run xenkit vhd create --size 5M --dry-run b.vhd
check "a dry run rounds up and writes nothing" 0 "~size: +6 MiB"
nok "there is no b.vhd" test -e b.vhd
run xenkit vhd create --size 1025k --exact --json b.vhd
check "an exact size is kept" 0 "~size_bytes\":1049600,"
run xenkit vhd create --size 1000 --exact c.vhd
check "half a sector is refused" 2 "" "~not a whole number"
run xenkit vhd create --size 2041G c.vhd
check "2041 GiB are refused" 2 "" "~2040 GiB"
run xenkit vhd create c.vhd
check "the size is needed" 2 "" "~--size SIZE"
run xenkit vhd create --size 4M --preallocate c.vhd
check "preallocation is for fixed images" 2 "" "~goes with --fixed"
run xenkit vhd create --size 4M --fixed fixed.vhd
check "a fixed image" 0 "~type: +fixed"
is "has its size and a footer" "$(stat -c %s fixed.vhd)" $((4 * 1048576 + 512))
run xenkit vhd create --size 4M --fixed --preallocate full.vhd
check "a fixed image with its space" 0 "-"
ok "its space is taken" test "$(stat -c %b full.vhd)" -ge 8192
run xenkit vhd create --size 4M --reserve 1G r.vhd
check "tables for growth" 0 "-"
run xenkit vhd query --json r.vhd
check "the tables hold 1 GiB" 0 "~\"max_bytes\":1073741824"
run xenkit vhd create --size 4M /nowhere/x.vhd
check "a missing folder is named" 6 "" "~/nowhere"

# ---- snapshot, query, chain ----

run xenkit vhd snapshot --parent a.vhd s1.vhd
check "a snapshot" 0 "~depth: +2"
run xenkit vhd snapshot --parent s1.vhd s2.vhd
check "of an empty snapshot stands on its parent" 0 "~parent: .*/a.vhd"
run xenkit vhd snapshot --parent s1.vhd --keep-empty s3.vhd
check "unless told" 0 "~depth: +3"
run xenkit vhd snapshot --parent s3.vhd --keep-empty --depth-limit 3 s4.vhd
check "the depth limit holds" 6 "" "~3 images already, the limit is 3"
run xenkit vhd snapshot x.vhd
check "a parent is needed" 2 "" "~--parent FILE"
truncate -s 3M raw
run xenkit vhd snapshot --parent raw --raw onraw.vhd
check "a snapshot of a raw disk" 0 "~size: +3 MiB"
run xenkit vhd query --plain s3.vhd
check "query follows the chain" 0 "s3.vhd	12582912	5120	12582912	0	false	0	3	$PWD/s1.vhd"
mkdir away && mv s1.vhd away/
run xenkit vhd query --json s3.vhd
check "query tells of a missing parent, and gives the rest" 0 "~\"depth\":null,\"parent\":null" "~parent is missing"
run xenkit vhd chain s3.vhd
check "chain names a missing parent" 1 "~s3.vhd .* parent missing"
mv away/s1.vhd .
mkdir tree && xenkit vhd create -q --size 4M tree/root.vhd >/dev/null
for name in left right; do
    xenkit vhd snapshot --parent tree/root.vhd "tree/$name.vhd" >/dev/null
done
xenkit vhd snapshot --parent tree/left.vhd --keep-empty tree/leaf.vhd >/dev/null
run xenkit vhd chain --csv tree
check "chain as CSV" 0 "~^tree/leaf.vhd,3,4194304,.*,tree/left.vhd,"
run xenkit vhd chain tree
like "chain draws the tree" "$(cut -c 1-16 "$out")" "^└─ right.vhd|^├─ left.vhd"
like "with the grandchild below" "$(cat "$out")" "^(│  |   )└─ leaf.vhd"

# ---- read ----

if command -v qemu-io >/dev/null 2>&1; then
    qemu-img create -q -f vpc -o subformat=dynamic,force_size=on q.vhd 20M
    qemu-io -f vpc -c 'write -P 0xa5 1M 3M' -c 'write -P 0x5a 19M 64k' q.vhd >/dev/null
    qemu-img convert -f vpc -O raw q.vhd q.raw
    run xenkit vhd read q.vhd
    check "reads what qemu-io wrote" 0 "@q.raw"
    run xenkit vhd read --offset 2M --length 1000000 q.vhd
    dd if=q.raw of=part bs=4096 skip=512 count=1000000 iflag=count_bytes status=none
    check "reads a part" 0 "@part"
    run xenkit vhd read --offset 1049000 --length 77 q.vhd
    dd if=q.raw of=part bs=1 skip=1049000 count=77 status=none
    check "reads an odd part" 0 "@part"
    run xenkit vhd check q.vhd
    check "a qemu image is healthy" 0 "~^0 critical, 0 warnings"
    qemu-img create -q -f vpc -o subformat=dynamic,force_size=on huge.vhd 200G
    run xenkit vhd check huge.vhd
    check "so is one of maximal geometry" 0 "-"
    ok "qemu reads what we create" qemu-img info -f vpc a.vhd
    is "with the size we gave" "$(qemu-img info -f vpc --output=json a.vhd | sed -n 's/.*"virtual-size": \([0-9]*\).*/\1/p')" 12582912
    ok "and compares a fixed one equal to zeros" \
        sh -c 'truncate -s 4M zeros && qemu-img compare -f raw -F vpc zeros fixed.vhd'
else
    skip "qemu images" "qemu-img is not installed"
fi
if command -v vhdiinfo >/dev/null 2>&1; then
    like "vhdiinfo knows a snapshot" "$(vhdiinfo s3.vhd)" "Differential"
    like "and the disk's size" "$(vhdiinfo a.vhd)" "Media size.*12582912"
else
    skip "vhdiinfo" "vhdiinfo is not installed"
fi
if [ -n "${VHD_UTIL:-}" ]; then
    for image in a.vhd s1.vhd s3.vhd r.vhd onraw.vhd b.vhd; do
        ok "vhd-util finds $image valid" "$VHD_UTIL" check -n $image
    done
else
    skip "vhd-util on our images" "VHD_UTIL does not name one"
fi
run xenkit vhd read --offset 1T a.vhd
check "an offset past the end" 2 "" "~past the end of the disk"
run xenkit vhd read --json a.vhd
check "bytes are not records" 2 "~\"error\"" "-"
run xenkit vhd read -o copy.raw fixed.vhd
check "read into a file" 0
is "has the disk's size" "$(stat -c %s copy.raw)" 4194304
run xenkit vhd read --chain-root away s3.vhd
check "parents outside the chain root are refused" 6 "" "~outside the chain root"

# ---- info, scan, check ----

run xenkit vhd info s3.vhd
check "info names the parent" 0 "~path: +.*/s1.vhd"
run xenkit vhd info --json a.vhd s3.vhd
check "info of two images is one document" 0 '~^\{"images":\[\{.*\},\{.*\}\]\}$'
run xenkit vhd info missing.vhd
check "a missing file" 6 "" "~missing.vhd"
run xenkit vhd info tree
check "a folder is no image" 6 "" "~is a folder"
while read -r words; do
    read -ra line <<<"$words"
    run xenkit vhd "${line[@]//EMPTY/}"
    check "an empty name is the user's slip: $words" 2 "" "~a file's name is empty"
done <<'EOF'
info EMPTY
check EMPTY
check a.vhd EMPTY
scan EMPTY
chain EMPTY
create --size 10M EMPTY
snapshot --parent EMPTY new.vhd
snapshot --parent a.vhd EMPTY
query EMPTY
read EMPTY
read --out EMPTY a.vhd
map EMPTY
hash EMPTY
repair --dry-run EMPTY
repair --apply EMPTY
set --hidden yes EMPTY
resize --size 20M EMPTY
fill EMPTY
coalesce EMPTY
coalesce --chain EMPTY
modify --parent a.vhd EMPTY
revert EMPTY
key EMPTY
copy EMPTY c.vhd
copy a.vhd EMPTY
convert EMPTY c.raw
convert a.vhd EMPTY
diff a.vhd EMPTY
compare EMPTY a.vhd
serve --once EMPTY
serve --once --socket EMPTY a.vhd
map --chain-root EMPTY a.vhd
chain --html EMPTY a.vhd
EOF
mkdir latin
cp a.vhd "latin/$(printf '\351')"
run xenkit vhd snapshot --parent "latin/$(printf '\351')" latin/child.vhd
check "a parent whose name is not UTF-8 cannot be stored" 3 "" "~is not UTF-8 and cannot be stored as a parent"
mkfifo fifo
run timeout 5 "$XENKIT" vhd info fifo
check "a FIFO is refused at once" - "" "~not a regular file"
run xenkit vhd scan tree
check "scan lists a folder" 0 "~tree/leaf.vhd +differencing"
run xenkit vhd scan --jsonl tree
is "one line an image" "$(wc -l <"$out")" 4
mkdir -p tree/below && cp a.vhd tree/below/
run xenkit vhd scan --jsonl --recurse tree
is "and below" "$(wc -l <"$out")" 5
cp a.vhd broken.vhd && printf x | dd of=broken.vhd bs=1 seek=3584 conv=notrunc status=none
cp a.vhd hurt.vhd && printf x | dd of=hurt.vhd bs=1 seek=600 conv=notrunc status=none
run xenkit vhd check hurt.vhd
check "a damaged header is critical" 1 "~^critical .*vhd.header"
run xenkit vhd check --json hurt.vhd
is "and in the summary" "$(value healthy)" false
run xenkit vhd check --only vhd.footer hurt.vhd
check "only what was asked for" 0 "~nothing was found"
run xenkit vhd check --skip vhd.header hurt.vhd
nok "the skipped finding is not there" grep -q vhd.header "$out"
run xenkit vhd check --recurse a.vhd s3.vhd tree
check "a copy has the same UUID" 1 "~vhd.duplicate-uuid"
rm -r tree/below
run xenkit vhd check a.vhd s3.vhd tree
check "are healthy" 0 "~all is well"
truncate -s 100 tiny.vhd
run xenkit vhd check tiny.vhd
check "100 bytes are no image" 1 "~critical"
run xenkit vhd check /dev/null
check "a device is no image" 1 "~critical"

# ---- coalesce ----

xenkit vhd create --size 8M --fixed base.vhd >/dev/null
xenkit vhd snapshot --parent base.vhd top.vhd >/dev/null
run xenkit vhd coalesce --dry-run top.vhd
check "a dry run of an empty image" 0 "~written: +0 B"
run xenkit vhd coalesce top.vhd
check "an empty image merges" 0 "~complete: +yes"
run xenkit vhd coalesce base.vhd
check "a root has no parent" 2 "" "~no parent"
run xenkit vhd coalesce --links 2 top.vhd
check "too many links" 2 "" "~there are 1 images below it"
xenkit vhd snapshot --parent base.vhd other.vhd >/dev/null
run xenkit vhd coalesce top.vhd
check "another child would see the data" 6 "" "~other.vhd stands on"
run xenkit vhd coalesce --force top.vhd
check "unless told" 0 "-"
rm other.vhd
exec 9<>base.vhd
run xenkit vhd coalesce --online-safe top.vhd
check "somebody has the target open for writing" 6 "" "~open for writing"
exec 9<&-
run xenkit vhd coalesce --online-safe --verify --bandwidth 1Gbit top.vhd
check "now nobody has" 0 "~verified: +yes"

# ---- a target that is replaced underneath ----

head -c 6M /dev/urandom >want.raw
truncate -s 8M want.raw
xenkit vhd create --size 8M old.vhd >/dev/null
xenkit vhd export-delta --from old.vhd want.raw young.vhd >/dev/null
xenkit vhd create --size 8M stranger.vhd >/dev/null
cp stranger.vhd copy.vhd
ln old.vhd kept.vhd
"$XENKIT" vhd coalesce --bandwidth 8Mbit young.vhd >coalesce.out 2>coalesce.err &
await sh -c 'test "$(stat -c %s kept.vhd)" -gt 1000000'
mv stranger.vhd old.vhd
wait $!
is "is an error" "$? $(grep -c 'old.vhd was replaced by another file' coalesce.err)" "6 1"
ok "the other file stays as it is" cmp old.vhd copy.vhd
run xenkit vhd check kept.vhd
check "the one before is sound" 0 -
ok "and holds the disk" xenkit vhd compare kept.vhd want.raw

# ---- what is read is not replaced by what comes of it ----

mkdir ground
cp want.raw ground/raw
xenkit vhd convert -q ground/raw ground/root.vhd >/dev/null
for names in "mid root" "top mid" "onraw raw"; do
    # shellcheck disable=SC2086
    set -- $names
    printf '%s' "$1" | dd of=want.raw bs=512 seek=9 conv=notrunc status=none
    xenkit vhd export-delta -q --from "$(echo ground/"$2"*)" want.raw "ground/$1.vhd" >/dev/null
done
ln -s mid.vhd ground/link
(cd ground && sha256sum -- *) >ground.sums
stands() { # NAME STATUS TEXT WORDS…
    name=$1 want=$2 text=$3
    shift 3
    run env -C ground "$XENKIT" "$@"
    check "$name" "$want" - "~$text"
    ok "$name: nothing is lost" sh -c '(cd ground && sha256sum -- *) | cmp -s - ground.sums'
}
on="which it stands on"
stands "a snapshot over its parent" 2 "$on" vhd snapshot --force --parent top.vhd top.vhd
stands "over its parent's root" 2 "$on" vhd snapshot --force --parent top.vhd root.vhd
stands "over what a link leads to" 2 "$on" vhd snapshot --force --parent top.vhd link
stands "over the raw disk below" 2 "$on" vhd snapshot --force --parent onraw.vhd raw
stands "over the raw parent itself" 2 "$on" vhd snapshot --force --raw --parent raw raw
stands "a dry run of it" 2 "$on" vhd snapshot --force --dry-run --parent top.vhd mid.vhd
stands "vhd-util snapshot over its parent" 40 "failed to create: -40" vhd-util snapshot -n top.vhd -p top.vhd
stands "over its root" 40 "failed to create: -40" vhd-util snapshot -n root.vhd -p top.vhd
stands "over a raw parent" 40 "failed to create: -40" vhd-util snapshot -n raw -p raw -m
stands "a copy over its parent" 2 "$on" vhd copy --force top.vhd mid.vhd
stands "over itself" 2 "is the image itself" vhd copy --force top.vhd top.vhd
stands "a conversion over a parent" 2 "part of the source" vhd convert --force top.vhd root.vhd
stands "a delta over what it stands on" 2 "$on" vhd export-delta --force --from mid.vhd top.vhd root.vhd
stands "bytes over their image" 2 "made from" vhd read -o top.vhd top.vhd
stands "over its parent" 2 "made from" vhd read -o root.vhd top.vhd
stands "over the raw disk below it" 2 "made from" vhd read -o raw onraw.vhd
stands "a report over the second image" 2 "made from" vhd info -o link root.vhd mid.vhd
stands "a document over its image" 2 "made from" vhd info --json -o top.vhd top.vhd
run xenkit vhd snapshot --force --parent ground/mid.vhd ground/top.vhd
check "another child may be replaced" 0 -
run xenkit vhd read -o ground/raw ground/top.vhd
check "and a file that nobody reads" 0
ok "with the disk" xenkit vhd compare -q ground/raw ground/mid.vhd

# ---- what the original does with an image that has only the copy of its footer ----

xenkit vhd convert -q want.raw ends.vhd >/dev/null
for damage in zeros "a wrong sum" "a byte less"; do
    cp ends.vhd cut.vhd
    case $damage in
    zeros) dd if=/dev/zero of=cut.vhd bs=512 count=1 seek=$(($(stat -c %s cut.vhd) / 512 - 1)) conv=notrunc status=none ;;
    "a wrong sum") printf x | dd of=cut.vhd bs=1 seek=$(($(stat -c %s cut.vhd) - 400)) conv=notrunc status=none ;;
    *) truncate -s -100 cut.vhd ;;
    esac
    rm -f new.vhd
    run xenkit vhd-util copy -n cut.vhd -N new.vhd
    check "footer of $damage: it is copied" 0
    ok "with the disk" xenkit vhd compare -q new.vhd want.raw
    run xenkit vhd-util snapshot -n upon.vhd -p cut.vhd
    check "it gets a child" 0
    xenkit vhd export-delta -q --from ends.vhd ground/raw upon-it.vhd >/dev/null
    cp cut.vhd ends.vhd.cut && mv ends.vhd whole.vhd && mv ends.vhd.cut ends.vhd
    run xenkit vhd-util coalesce -n upon-it.vhd
    check "a child is merged into it" 0 -
    ok "with its data" xenkit vhd compare -q ends.vhd ground/raw
    run xenkit vhd-util check -n ends.vhd
    check "and it is sound again" 0 -
    mv whole.vhd ends.vhd
    run xenkit vhd-util fill -n cut.vhd
    check "it is filled" 0
    run xenkit vhd-util check -n cut.vhd
    check "and is sound" 0 -
    ok "and has its data" xenkit vhd compare -q cut.vhd want.raw
done
xenkit vhd export-delta -q --from ends.vhd ground/raw upon-it.vhd >/dev/null
xenkit vhd create -q --size 8M stranger.vhd >/dev/null
dd if=/dev/zero of=stranger.vhd bs=512 count=1 seek=$(($(stat -c %s stranger.vhd) / 512 - 1)) conv=notrunc status=none
mv ends.vhd whole.vhd && cp stranger.vhd ends.vhd
run xenkit vhd-util coalesce -n upon-it.vhd
check "a stranger in the parent's place is refused" 22 -
ok "and its damaged footer is none of our business" cmp stranger.vhd ends.vhd
mv whole.vhd ends.vhd

# ---- a small file that claims to be full of blocks ----

xenkit vhd create -q --size 2040G crowd.vhd >/dev/null
python3 - <<'EOF'
import struct
f = open("crowd.vhd", "r+b")
head = f.read(4096)
(table,), (entries,) = struct.unpack(">Q", head[528:536]), struct.unpack(">I", head[540:544])
at = f.seek(0, 2) // 4096 * 4096 + 4096 - 512
f.seek(at)
f.write(b"\xff" * 512 + b"A" * (2 << 20) + head[:512])
f.seek(table)
f.write(struct.pack(">I", at // 512) * entries)
EOF
for words in "map crowd.vhd" "hash crowd.vhd" "compare crowd.vhd crowd.vhd" "convert crowd.vhd crowd.qcow2"; do
    # shellcheck disable=SC2086
    run timeout 20 "$XENKIT" vhd $words
    check "${words%% *} of blocks that lie on each other" 5 "" "~its table has 1044480 blocks in a file of"
done

# ---- a block that lies on the image's own header ----

xenkit vhd create --size 2040G wide.vhd >/dev/null
dd if=/dev/zero of=wide.vhd bs=512 seek=3 count=8160 conv=notrunc status=none
for verb in map hash "read --length 1M"; do
    # shellcheck disable=SC2086
    run timeout 20 "$XENKIT" vhd $verb wide.vhd
    check "$verb of a table of zeros" 5 "" "~block 0 at sector 0 lies on the image's own tables"
done

# ---- the grammar ----

run xenkit vhd chek a.vhd
check "an unknown verb gets the nearest one" 2 "" "~check"
run xenkit vhd che a.vhd
check "an abbreviation is not run" 2 "" "-"
run xenkit vhd check --onyl x a.vhd
check "an unknown option gets the nearest one" 2 "" "~--only"

done_testing
