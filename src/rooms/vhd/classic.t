# The classic vhd-util: every row of classic.cases against a real one (named by VHD_UTIL) or what was recorded of it,
# then what the original gets wrong.
# shellcheck shell=bash disable=SC2154
. "$XENKIT_SOURCE/tests/tap.sh"
room=$XENKIT_SOURCE/src/rooms/vhd
. "$room/classic-fixtures.sh"
. "$room/classic-runs.sh"

fixtures=$tmp/fixtures
mkdir "$fixtures"
(cd "$fixtures" && make_fixtures) || {
    fail 'the images are made'
    done_testing
}

# ---- rows ----

mkdir "$tmp/want"
[ -n "${VHD_UTIL-}" ] || awk -v dir="$tmp/want" '/^= / { close(file); file = dir "/" ++n; print >file; next } { print >file }' \
    "$room/classic.expected"

number=0
while read -r kind words <&3; do
    case $kind in
    [rws]) number=$((number + 1)) ;;
    *) continue ;;
    esac
    if [ -n "${VHD_UTIL-}" ]; then
        {
            echo "= $kind $words"
            # It writes memory that it never set behind a table that it moves.
            run_row "$kind" "$words" "$fixtures" "$tmp/folder" env -u MALLOC_PERTURB_ "$VHD_UTIL"
        } >"$tmp/want/$number"
        [ "$kind" = w ] || cp "$tmp/folder.out" "$tmp/want/out"
    fi
    {
        echo "= $kind $words"
        run_row "$kind" "$words" "$fixtures" "$tmp/folder" "$XENKIT" vhd-util
    } >"$tmp/got"
    if ! cmp -s "$tmp/want/$number" "$tmp/got"; then
        fail "vhd-util $words"
        diff "$tmp/want/$number" "$tmp/got" | head -n 20 | sed 's/^/#   /'
    elif [ -n "${VHD_UTIL-}" ] && [ "$kind" != w ] && ! cmp -s "$tmp/want/out" "$tmp/folder.out"; then
        fail "vhd-util $words" 'the bytes on stdout differ'
    else
        pass "vhd-util $words"
    fi
done 3<"$room/classic.cases"

# ---- where the original crashes, hangs, corrupts or runs a shell ----

cp -a "$fixtures/." .
vhdutil() { "$XENKIT" vhd-util "$@"; }

run vhdutil read -n blocks.vhd -R 3 -c 20
check 'bytes that begin inside a sector' 0 "@$(head -c 23 <(vhdutil read -n blocks.vhd -r 0) | tail -c 20 >want && echo want)"
run vhdutil read -n blocks.vhd -R 2097155 -c 7
check 'bytes of a block that is not there' 0 "@$(head -c 7 /dev/zero >want && echo want)"
run vhdutil check -n short.vhd -b
check 'data of an image with a footer of 511 bytes' 0 'short.vhd is valid'
# Every block of 256 GiB has a place, and the file a hole there: data is looked for where the file has some.
vhdutil create -n holes.vhd -s 262144
python3 - holes.vhd <<'EOF'
import struct, sys
blocks, block_sectors, first = 131072, 4104, 16384
with open(sys.argv[1], "r+b") as image:
    footer = image.read(512)
    image.seek(512 + 16)
    table = struct.unpack(">Q", image.read(8))[0]
    image.seek(table)
    image.write(b"".join(struct.pack(">I", first + n * block_sectors) for n in range(blocks)))
    image.seek((first + blocks * block_sectors) * 512)
    image.write(footer)
EOF
run bash -c 'ulimit -t 60 && exec "$@"' - "$XENKIT" vhd-util check -n holes.vhd -b
check 'data of blocks that are holes of the file is not read' 0 'holes.vhd is valid'
run timeout -s TERM --preserve-status 0.1 "$XENKIT" vhd-util check -n holes.vhd -s
is 'a check that is stopped has found nothing' "$(grep -c invalid "$out")" 0
rm holes.vhd
vhdutil read -n short.vhd -r 0 -c 20480 >short.out
vhdutil read -n blocks.vhd -r 0 -c 20480 >blocks.out
ok 'reading an image with a footer of 511 bytes' cmp short.out blocks.out
vhdutil read -n onfixed.vhd -r 0 -c 8192 >onfixed.out
ok 'a child of a fixed image reads as its parent' cmp onfixed.out <(head -c 4194304 fixed.vhd)

run vhdutil set -n marked.vhd -f marker -v 255
check 'a marker' 0
run vhdutil check -n marked.vhd
check 'a marker leaves the batmap whole' 0 'marked.vhd is valid'
run vhdutil query -n marked.vhd -m
check 'a marker is signed' 0 'marker: -1'

vhdutil snapshot -n loop-a.vhd -p blocks.vhd -e
vhdutil snapshot -n loop-b.vhd -p loop-a.vhd -e
# loop-a's parent becomes loop-b, whose name is as long as that of blocks.vhd.
name=$(printf loop-b.vhd | od -An -v -tx1 | tr -d ' \n')
wide=$(printf %s "$name" | sed 's/../&00/g')
put loop-a.vhd $((3072 + 9)) "$name"
put loop-a.vhd $((3584 + 4)) "$wide"
put loop-a.vhd $((4096 + 4)) "$wide"
header loop-a.vhd 64 "00${wide%00}"
header loop-a.vhd 40 "$(od -An -v -tx1 -j68 -N16 loop-b.vhd | tr -d ' \n')"
run timeout 10 "$XENKIT" vhd-util query -n loop-a.vhd -d
check 'a loop of parents ends a query' 40 'error checking chain depth: -40'
run timeout 10 "$XENKIT" vhd-util read -n loop-a.vhd -r 0
check 'a loop of parents ends a read' 40
run timeout 10 "$XENKIT" vhd-util check -n loop-a.vhd -p
check 'a loop of parents ends a check' 40 '~^error checking parents: -40$'
run timeout 10 "$XENKIT" vhd-util scan -p -a loop-a.vhd
check 'a loop of parents is drawn once' 0 '~^   vhd=loop-b.vhd '
is 'each image of the loop has one line' "$(wc -l <"$out")" 2
for verb in read map hash 'compare blocks.vhd' 'convert --to raw' 'fill --dry-run' query; do
    to=
    [ "${verb%% *}" != convert ] || to=loop.raw
    # shellcheck disable=SC2086
    run timeout 10 "$XENKIT" vhd $verb loop-a.vhd $to
    check "a loop of parents is damage to xenkit vhd ${verb%% *}" 5 - '~is its own ancestor'
done

run timeout 5 "$XENKIT" vhd-util query -n header-cookie.vhd -v
check 'a damaged header is not waited for' 22 'error opening header-cookie.vhd: -22'
mkfifo pipe.vhd
run timeout 5 "$XENKIT" vhd-util query -n pipe.vhd -v
check 'a pipe does not hold a query' 29 'error opening pipe.vhd: -29'
run timeout 5 "$XENKIT" vhd-util scan -c pipe.vhd dyn.vhd
check 'a pipe does not hold a scan' 0 '~^vhd=dyn.vhd '

run vhdutil check -n block-wraps.vhd
check 'a block whose end wraps around' 22 '~^block 1 .offset 0xfffffff0. clobbers footer$'
run vhdutil check -n reserved-first.vhd
check 'the first reserved byte counts, too' 22 "~^primary footer invalid: invalid 'reserved' bits$"
run vhdutil check -n batmap-size.vhd
check 'a batmap without sectors does not abort' 22 '~^error calculating end of metadata: -22$'
run vhdutil query -n batmap-size.vhd -s
check 'nor does a query of it' 22 'failed to get physical size: -22'
same dyn.vhd small-blocks.vhd
header small-blocks.vhd 32 00000200
run vhdutil check -n small-blocks.vhd
check 'a table too short for its block size' 22 '~^error reading bat: -22$'
same dyn.vhd over.vhd
footer over.vhd 48 000001fe00200000
run vhdutil check -n over.vhd
check 'a disk above 2040 GiB' 22 '~^primary footer invalid: '
same dyn.vhd table-on-header.vhd
header table-on-header.vhd 16 0000000000000400
run vhdutil check -n table-on-header.vhd
check 'a table that lies on the header' 22 '~^header is invalid: invalid table offset$'
same child.vhd loc-overlap.vhd
header loc-overlap.vhd 616 0000000000000c00
run vhdutil check -n loc-overlap.vhd
check 'two locators in one place' 22 '~^invalid parent locator 1: invalid data offset$'
same child.vhd loc-long.vhd
header loc-long.vhd 584 00000300
run vhdutil check -n loc-long.vhd
check 'a locator longer than its space' 22 '~^error reading parent locator 0: -22$'
same grows.vhd spare.vhd
bat spare.vhd 9 77
run vhdutil check -n spare.vhd
check 'a table entry behind the end of the disk' 22 '~^block 9 .offset 0x4d. lies behind the end of the disk$'
same blocks.vhd half-full.vhd
put half-full.vhd 2560 90
put half-full.vhd 2072 ffffff6f
run vhdutil check -n half-full.vhd -b
check 'a batmap that shows a partly written block full' 22 '~^batmap shows partly written block 0 full$'
same grows.vhd spare-bit.vhd
put spare-bit.vhd 2561 01
put spare-bit.vhd 2072 fffffffe
run vhdutil check -n spare-bit.vhd
check 'a batmap bit behind the end of the disk' 22 '~^batmap shows unallocated block 15 full$'
same dyn.vhd batmap-older.vhd
put batmap-older.vhd 2068 00008001
run vhdutil check -n batmap-older.vhd
check 'a batmap of a version that never was' 22 '~^batmap is invalid: invalid batmap version$'
same fixed.vhd fixed-cut.vhd
end_footer fixed-cut.vhd 48 0000000000800000
run vhdutil check -n fixed-cut.vhd
check 'a fixed image larger than its file' 22 '~^primary footer invalid: invalid size$'

for words in '-s abc' '-s -1' '-s 10M' '-s' '-s 99999999999999999999' '-s 10 -S x'; do
    # shellcheck disable=SC2086
    run vhdutil create -n new.vhd $words
    check "create $words is refused" 22 '~^options: ' -
    nok "create $words leaves nothing" test -e new.vhd
done
run vhdutil create -n new.vhd -s 2088961
check 'create above 2040 GiB is refused' 27 '' 'new.vhd: failed to create: -27'
run vhdutil set -n dyn.vhd -f hidden -v abc
check 'set of no number is refused' 22 '~^invalid value abc$'
run vhdutil read -n blocks.vhd -b x
check 'read of no number is refused' 22 '~^options:$'
run vhdutil read -n blocks.vhd -b 18446744073709551615
check 'a block number that wraps around' 34 '' '~past end of file$'
run vhdutil read -n grows.vhd -m 5
check 'a bitmap behind the end of the disk' 0 'block 5 not allocated'
run vhdutil read -n grows.vhd -b 30
check 'a table entry behind the end of the disk reads as free' 0 'block: 30: offset: not allocated'

run vhdutil scan -l 'x; touch pwned' -m '*'
check 'the name of a volume group is no shell text' 22 '' -
nok 'nothing was run' test -e pwned
run vhdutil scan -l '--version' -m '*'
check 'the name of a volume group is no option' 22 '' -
PATH=$PWD/bin:$PATH
export PATH
run vhdutil scan -M -f -l VG_a VHD-middle
check 'markers of an inactive volume' 0 '~ marker=42 '

# A write is the old state or the new one, also when it is stopped at the points that the storage manager asks for.
for point in BEGIN LOCATOR END; do
    same child.vhd "point.vhd"
    run env "VHD_UTIL_TEST_FAIL_REPARENT_$point=1" "$XENKIT" vhd-util modify -n point.vhd -p dyn.vhd
    check "reparent stopped at $point" 22 "Failing at VHD_UTIL_TEST_FAIL_REPARENT_$point"
    run vhdutil check -n point.vhd
    check "reparent stopped at $point leaves a sound image" 0 'point.vhd is valid'
done
run vhdutil modify -n child.vhd -p grand.vhd
check 'a descendant as parent is refused' 40 "failed to set parent to 'grand.vhd': -40"
same foreign.vhd foreign-zero.vhd
run vhdutil modify -n foreign-zero.vhd -z
check 'throwing away the data of an image without a batmap' 0
run vhdutil check -n foreign-zero.vhd
check 'leaves a sound image' 0 'foreign-zero.vhd is valid'

same blocks.vhd under.vhd
vhdutil snapshot -n over-it.vhd -p under.vhd -e
block over-it.vhd 0 ff 0
bat under.vhd 0 1
cp under.vhd under.saved
run vhdutil coalesce -n over-it.vhd
check 'merging into a block that lies on the header is refused' 22 -
ok 'and the header is what it was' cmp under.vhd under.saved

# ---- names in any alphabet ----

vhdutil create -n "größe 磁盘.vhd" -s 4
run vhdutil snapshot -n "τέκνο.vhd" -p "größe 磁盘.vhd"
check 'a parent whose name is not ASCII' 0
run vhdutil check -n "τέκνο.vhd"
check 'is found again' 0 'τέκνο.vhd is valid'
run vhdutil query -n "τέκνο.vhd" -p
check 'and told' 0 "$(readlink -f "größe 磁盘.vhd")"

# ---- logical volumes: a parent is called as it will be after the next activation ----

cat >"$tmp/volumes.sh" <<'END'
mount --bind "$1" /dev && cd / || exit 99
xenkit=$2
: >/dev/dm-0
: >/dev/dm-1
ln -s ../dm-0 /dev/mapper/VG--x-base
ln -s ../dm-1 /dev/mapper/VG--x-leaf--a
ln -s ../dm-0 /dev/VG-x/base
ln -s ../dm-1 /dev/VG-x/leaf-a
"$xenkit" vhd-util create -n /dev/VG-x/base -s 4
"$xenkit" vhd-util snapshot -n /dev/VG-x/leaf-a -p /dev/VG-x/base -e
"$xenkit" vhd-util query -n /dev/VG-x/leaf-a -p
"$xenkit" vhd-util query -n /dev/dm-1 -pu
"$xenkit" vhd-util scan -f /dev/VG-x/leaf-a
END
mkdir -p "$tmp/dev/mapper" "$tmp/dev/VG-x"
cp -a /dev/null /dev/urandom "$tmp/dev/" 2>/dev/null
if unshare -m mount --bind "$tmp/dev" /dev 2>/dev/null; then
    run unshare -m sh "$tmp/volumes.sh" "$tmp/dev" "$XENKIT"
    check 'volumes keep their lasting names' 0 '/dev/mapper/VG--x-base
./VG--x-base
vhd=leaf-a capacity=4194304 size=5120 hidden=0 parent=VG--x-base'
else
    skip 'volumes keep their lasting names' 'needs a mount namespace'
fi

# ---- the storage manager: the command lines of its vhdutil.py, and what it makes of the answers ----

mkdir sr && cd sr || exit
run vhdutil create --debug -n base.vhd -s 40 -S 2088960
check 'sm: create with space for growth' 0
run vhdutil create --debug -n thick.vhd -s 4 -r
check 'sm: create thick' 0
block base.vhd 0 ff 0
run vhdutil snapshot --debug -n snap.vhd -p base.vhd -S 2088960
check 'sm: snapshot' 0
run vhdutil snapshot --debug -n empty.vhd -p snap.vhd -e
check 'sm: snapshot of an empty parent' 0
printf 'raw' >raw
truncate -s 4M raw
run vhdutil snapshot --debug -n onraw.vhd -p raw -m
check 'sm: snapshot of a raw parent' 0
run vhdutil query --debug -vsaf -n base.vhd
is 'sm: four answers to -vsaf' "$(tr '\n' ' ' <"$out")" "40 $(stat -c %s base.vhd) hidden: 0 1 "
run vhdutil query --debug -vsafp -n snap.vhd
is 'sm: five answers to -vsafp' "$(tr '\n' ' ' <"$out")" "40 $(stat -c %s snap.vhd) $(readlink -f base.vhd) hidden: 0 0 "
run vhdutil query --debug -n base.vhd -p
check 'sm: no parent' 0 '~has no parent$'
run vhdutil query --debug -n snap.vhd -d
check 'sm: depth' 0 'chain depth: 2'
run vhdutil query --debug -n base.vhd -S
check 'sm: largest size' 0 2088960
run vhdutil set --debug -n base.vhd -f hidden -v 1
check 'sm: hide' 0
run vhdutil query --debug -n base.vhd -f
check 'sm: hidden' 0 'hidden: 1'
run vhdutil check --debug -n base.vhd
check 'sm: check' 0 'base.vhd is valid'
run vhdutil check --debug -i -n base.vhd
check 'sm: check without primary footer' 0 'base.vhd is valid'
run vhdutil check --debug -t -n snap.vhd
check 'sm: check without time stamps' 0 'snap.vhd is valid'
run vhdutil check --debug -B -n base.vhd
check 'sm: quick check' 0 'base.vhd is valid'
run vhdutil repair --debug -n base.vhd
check 'sm: repair' 0
run vhdutil read --debug -p -n snap.vhd
like 'sm: kind of disk' "$(sed -n 's/^Disk type  *: \([^ ]*\) hard disk$/\1/p' "$out")" '^Differencing$'
is 'sm: parent locators' "$(sed -n 's/^ *decoded name : //p' "$out" | tr '\n' ' ')" './base.vhd ./base.vhd ./base.vhd '
run vhdutil read --debug -B -n base.vhd
is 'sm: blocks as bits' "$(od -An -tx1 "$out")" ' 80 00 00'
run vhdutil modify --debug -p thick.vhd -n snap.vhd
check 'sm: another parent' 0
run vhdutil modify --debug -p raw -m -n snap.vhd
check 'sm: a raw parent' 0
run vhdutil query --debug -n snap.vhd -p
check 'sm: its path' 0 "$(readlink -f raw)"
run vhdutil modify --debug -p base.vhd -n snap.vhd
check 'sm: and back' 0
run vhdutil modify --debug -s "$(($(stat -c %s base.vhd) + 4194304))" -n base.vhd
check 'sm: physical size' 0
run vhdutil modify --debug -z -n onraw.vhd
check 'sm: throw data away' 0
run vhdutil scan --debug -f -c -m '*.vhd'
check 'sm: scan' 0 '~^vhd=base.vhd capacity=41943040 size=[0-9]+ hidden=1 parent=none$'
is 'sm: every line is key=value' "$(grep -v scan-error "$out" | tr ' ' '\n' | grep -vc '^[a-z]*=')" 0
run vhdutil scan --debug -f -m '*.vhd'
check 'sm: scan without -c stops at a fixed image' 22 '~^vhd=thick.vhd scan-error=-22 error-message=.opening file.$'
run vhdutil scan --debug -a -m 'snap.vhd'
check 'sm: scan with parents' 0 '~^vhd=base.vhd .* parent=none$'

# ---- what the storage manager's own calls showed: the original leaves these images damaged ----

cd .. || exit
vhdutil create -n room.vhd -s 8 -S 64
run vhdutil resize --debug -s 40 -n room.vhd -j room.journal
check 'sm: growing an image with space for growth, with a journal' 0
is 'sm: gives the size that was asked for' "$(vhdutil query -v -n room.vhd; vhdutil query -S -n room.vhd)" "40
64"
truncate -s 5000000 odd.raw
run vhdutil snapshot --debug -n onodd.vhd -p odd.raw -m
check 'sm: a raw parent that ends within a sector' 0
is 'sm: the disk has all of it' "$(vhdutil scan -f -m onodd.vhd)" \
    'vhd=onodd.vhd capacity=5000192 size=5120 hidden=0 parent=odd.raw'
vhdutil snapshot -n again.vhd -p blocks.vhd -e
cp blocks.vhd blocks2.vhd
cp again.vhd again.old
run env VHD_UTIL_TEST_FAIL_REPARENT_LOCATOR=1 "$XENKIT" vhd-util modify --debug -p blocks2.vhd -n again.vhd
check 'sm: a new parent fails half-way' 22 'Failing at VHD_UTIL_TEST_FAIL_REPARENT_LOCATOR'
run vhdutil check -n again.vhd
check 'sm: the image is sound' 0 'again.vhd is valid'
is 'sm: and has its old parent' "$(vhdutil query -p -n again.vhd)" "$(readlink -f blocks.vhd)"
long=$(printf 'n%.0s' {1..200})/$(printf 'm%.0s' {1..200})
mkdir -p "$long"
cp blocks.vhd "$long/p.vhd"
run vhdutil modify --debug -p "$long/p.vhd" -n again.vhd
check 'sm: no room for the name of a new parent' 36 - -
run vhdutil check -n again.vhd
check 'sm: the image is as sound as before' 0 'again.vhd is valid'

done_testing
