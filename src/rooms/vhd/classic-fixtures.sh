# Images for the comparison of the classic commands: sound ones of every kind, and each kind of damage once.
# Sourced by classic.t and tests/record-classic.sh; make_fixtures builds them in the current folder with $XENKIT.
# shellcheck shell=bash

vu() { "$XENKIT" vhd-util "$@"; }

# put FILE OFFSET HEX: overwrite bytes.
put() {
    local hex=$3 text=
    while [ -n "$hex" ]; do
        text+="\\x${hex:0:2}"
        hex=${hex:2}
    done
    printf "$text" | dd of="$1" bs=1M seek="$2" oflag=seek_bytes conv=notrunc status=none
}

# copy_bytes FILE FROM COUNT TO
copy_bytes() {
    dd if="$1" bs=1M iflag=skip_bytes,count_bytes skip="$2" count="$3" status=none >copy.tmp
    dd if=copy.tmp of="$1" bs=1M oflag=seek_bytes seek="$4" conv=notrunc status=none
    rm copy.tmp
}

size_of() { stat -c %s "$1"; }

# sum FILE OFFSET BYTES FIELD: renew the checksum at OFFSET + FIELD.
sum() {
    put "$1" $(($2 + $4)) 00000000
    put "$1" $(($2 + $4)) "$(dd if="$1" bs=1M iflag=skip_bytes,count_bytes skip="$2" count="$3" status=none |
        od -An -v -tu1 | awk '{ for (i = 1; i <= NF; i++) s += $i } END { printf "%08x", 4294967295 - s }')"
}

# footer FILE OFFSET HEX: change a field of both footers of a sparse image, and their checksums.
footer() {
    local end=$(($(size_of "$1") - 512))
    put "$1" "$2" "$3"
    sum "$1" 0 512 64
    copy_bytes "$1" 0 512 $end
}

# end_footer FILE OFFSET HEX: only the footer at the end.
end_footer() {
    local end=$(($(size_of "$1") - 512))
    put "$1" $((end + $2)) "$3"
    sum "$1" $end 512 64
}

# header FILE OFFSET HEX
header() {
    put "$1" $((512 + $2)) "$3"
    sum "$1" 512 1024 36
}

# bat FILE BLOCK SECTOR
bat() { put "$1" $((1536 + 4 * $2)) "$(printf %08x "$3")"; }

# block FILE BLOCK BITMAP-HEX DATA-SECTOR…: a new block at the end; the data sectors get recognisable bytes.
block() {
    local file=$1 number=$2 bits=$3 end start sector
    end=$(($(size_of "$file") - 512))
    start=$((end / 512))
    while [ $(((start + 1) % 8)) -ne 0 ]; do start=$((start + 1)); done
    copy_bytes "$file" 0 512 $(((start + 1 + 4096) * 512))
    dd if=/dev/zero of="$file" bs=512 seek=$((end / 512)) count=$((start - end / 512 + 1)) conv=notrunc status=none
    put "$file" $((end)) "$(printf '%01024d' 0)"
    put "$file" $((start * 512)) "$bits"
    shift 3
    for sector; do
        printf 'block %d sector %d of %s' "$number" "$sector" "$file" |
            dd of="$file" bs=1M seek=$(((start + 1 + sector) * 512)) oflag=seek_bytes conv=notrunc status=none
    done
    bat "$file" "$number" "$start"
}

# same FROM TO: a copy to be damaged.
same() { cp -a "$1" "$2"; }

# A volume group on one physical volume: programs that say what LVM would, and the volumes where they say.
make_volumes() {
    local at=1 name
    mkdir bin volumes
    (
        cd volumes || exit
        vu create -n VG_a-VHD--base -s 8
        block VG_a-VHD--base 0 ff 0
        vu snapshot -n VG_a-VHD--middle -p VG_a-VHD--base
        block VG_a-VHD--middle 1 ff 0
        vu snapshot -n VG_a-VHD--leaf -p VG_a-VHD--middle
        printf 'raw' >VG_a-LV--raw
        truncate -s 4M VG_a-LV--raw
        vu snapshot -n VG_a-VHD--onraw -p VG_a-LV--raw -m
        vu create -n VG_a-VHD--hidden -s 4 -S 16
        footer VG_a-VHD--hidden 85 01
        printf 'nothing to see' >VG_a-VHD--text
        put VG_a-VHD--middle $((2048 + 28)) 2a
    )
    truncate -s 80M volume.img
    {
        echo '#!/bin/sh'
        echo '[ "$1" = VG_a ] || exit 5'
        echo 'cat <<END'
    } | tee bin/vgs >bin/lvs
    echo '  VG_a 4194304 9 1 volume.img 1048576' >>bin/vgs
    for name in VHD--base VHD--middle VHD--leaf LV--raw VHD--onraw VHD--hidden VHD--text; do
        dd if="volumes/VG_a-$name" of=volume.img bs=1M seek=$((1048576 + at * 4194304)) oflag=seek_bytes conv=notrunc,sparse status=none
        echo "  ${name/--/-} 8388608 linear 1 0 8388608 volume.img($at)" >>bin/lvs
        at=$((at + 2))
    done
    {
        echo '  VHD-base 8388608 linear 2 4194304 4194304 volume.img(90)'
        echo '  striped 8388608 striped 1 0 8388608 volume.img(16),volume.img(17)'
        echo '  tiny 8388608 linear 1 0 2048 volume.img(1)'
    } >>bin/lvs
    echo END | tee -a bin/vgs >>bin/lvs
    chmod +x bin/vgs bin/lvs
    rm -r volumes
}

make_fixtures() {
    local full
    full=$(printf '%01024d' 0)
    full=${full//0/f}

    vu create -n dyn.vhd -s 10
    vu create -n fixed.vhd -s 3 -r
    vu create -n blocks.vhd -s 10
    block blocks.vhd 0 ff00000000000000000000000ffff0 0 7 101
    block blocks.vhd 3 "$full" 0 1 4095
    # block 3 is full: bit 3 of the batmap, whose checksum is that of one byte
    put blocks.vhd 2560 10
    put blocks.vhd $((2048 + 24)) ffffffef
    vu create -n grows.vhd -s 8 -S 64
    block grows.vhd 2 80 0
    vu snapshot -n child.vhd -p blocks.vhd
    block child.vhd 0 f0 0 3
    block child.vhd 1 0f 4
    vu snapshot -n grand.vhd -p child.vhd
    block grand.vhd 4 01 7
    vu snapshot -n empty.vhd -p grand.vhd -e
    vu snapshot -n leaf.vhd -p empty.vhd -e
    vu snapshot -n reserve.vhd -p blocks.vhd -S 100
    printf 'raw data' >raw.img
    truncate -s 4M raw.img
    vu snapshot -n onraw.vhd -p raw.img -m
    block onraw.vhd 1 80 0
    vu snapshot -n onfixed.vhd -p fixed.vhd
    mkdir sub
    vu snapshot -n sub/below.vhd -p blocks.vhd
    vu snapshot -n above.vhd -p sub/below.vhd -e
    vu snapshot -n gone.vhd -p dyn.vhd
    vu snapshot -n orphan.vhd -p gone.vhd -e
    rm gone.vhd
    same dyn.vhd hidden.vhd
    footer hidden.vhd 85 01
    vu snapshot -n onhidden.vhd -p hidden.vhd
    same blocks.vhd marked.vhd
    put marked.vhd $((2048 + 28)) 2a
    put marked.vhd $((2048 + 29)) "01$(printf '11%.0s' {1..32})$(printf 'ab%.0s' {1..32})"
    vu snapshot -n onmarked.vhd -p marked.vhd
    same blocks.vhd short.vhd
    truncate -s -1 short.vhd
    same blocks.vhd foreign.vhd
    footer foreign.vhd 28 77696e2000060002
    same fixed.vhd sparse-fixed.vhd
    end_footer sparse-fixed.vhd 85 01

    # what is wrong with each is its name
    : >nothing.vhd
    head -c 100 dyn.vhd >tiny.vhd
    head -c 700 dyn.vhd >half-header.vhd
    head -c 1600 dyn.vhd >half-table.vhd
    printf 'no image at all' >text.vhd
    head -c 8192 /dev/zero >zeros.vhd
    same blocks.vhd no-footer.vhd
    truncate -s -512 no-footer.vhd
    same blocks.vhd bad-footer.vhd
    put bad-footer.vhd $(($(size_of bad-footer.vhd) - 500)) 99
    same blocks.vhd bad-copy.vhd
    put bad-copy.vhd 12 99
    same blocks.vhd differ.vhd
    end_footer differ.vhd 84 01
    same blocks.vhd odd-size.vhd
    printf '123' >>odd-size.vhd
    same blocks.vhd trailing.vhd
    head -c 5120 /dev/zero >>trailing.vhd
    copy_bytes trailing.vhd 0 512 $(($(size_of trailing.vhd) - 512))
    local name
    for name in poison:0:765f706f69736f6e features:8:00000000 more-features:8:00000006 version:12:00020000 \
        future:24:ffffff00 tap-version:32:00010004 geometry:56:ffff10ff type:60:00000007 saved:84:02 hidden-two:85:02 \
        reserved:200:01 reserved-first:86:01 null-uuid:68:00000000000000000000000000000000 \
        huge:48:0000080000000000 larger:48:0000000001400000 zero-size:48:0000000000000000; do
        same blocks.vhd "${name%%:*}.vhd"
        footer "${name%%:*}.vhd" "$(echo "$name" | cut -d: -f2)" "${name##*:}"
    done
    same blocks.vhd header-cookie.vhd
    header header-cookie.vhd 0 58
    same blocks.vhd table-zero.vhd
    header table-zero.vhd 16 0000000000000000
    same blocks.vhd table-odd.vhd
    header table-odd.vhd 16 0000000000000601
    same blocks.vhd table-far.vhd
    header table-far.vhd 16 0000000100000000
    same blocks.vhd header-reserved.vhd
    header header-reserved.vhd 60 01
    same blocks.vhd with-name.vhd
    header with-name.vhd 64 0041
    same blocks.vhd with-locator.vhd
    header with-locator.vhd 580 01
    same blocks.vhd with-parent.vhd
    header with-parent.vhd 40 01
    same blocks.vhd with-time.vhd
    header with-time.vhd 56 01
    same blocks.vhd block-on-header.vhd
    bat block-on-header.vhd 1 2
    same blocks.vhd block-past-end.vhd
    bat block-past-end.vhd 1 100000
    same blocks.vhd block-wraps.vhd
    bat block-wraps.vhd 1 4294967280
    same blocks.vhd overlap.vhd
    bat overlap.vhd 1 "$(($(od -An -tu1 -j1548 -N4 blocks.vhd | awk '{ print (($1 * 256 + $2) * 256 + $3) * 256 + $4 }') - 8))"
    same blocks.vhd twice.vhd
    copy_bytes twice.vhd 1536 4 1544
    same blocks.vhd batmap-cookie.vhd
    put batmap-cookie.vhd 2048 58
    same blocks.vhd batmap-sum.vhd
    put batmap-sum.vhd 2072 00
    same blocks.vhd batmap-full.vhd
    put batmap-full.vhd 2560 30
    put batmap-full.vhd 2072 ffffffcf
    same blocks.vhd batmap-size.vhd
    put batmap-size.vhd 2064 00000000
    same blocks.vhd batmap-version.vhd
    put batmap-version.vhd 2068 00020000
    same blocks.vhd data-unset.vhd
    put data-unset.vhd $(($(od -An -tu1 -j1536 -N4 blocks.vhd | awk '{ print (($1 * 256 + $2) * 256 + $3) * 256 + $4 }') * 512 + 512 * 51 + 9)) 42
    for name in space:4:00000000 length:8:00000000 reserved:12:00000001 offset:16:0000000000000000 \
        far:16:0000000100000000 odd:4:00000201 double:24:57326b75; do
        same child.vhd "loc-${name%%:*}.vhd"
    done
    header loc-space.vhd 580 00000000
    header loc-length.vhd 584 00000000
    header loc-reserved.vhd 588 00000001
    header loc-offset.vhd 592 0000000000000000
    header loc-far.vhd 592 0000000100000000
    header loc-odd.vhd 580 00000201
    header loc-double.vhd 600 4d616358
    same child.vhd loc-none.vhd
    header loc-none.vhd 576 "$(printf '%0144d' 0)"
    same child.vhd loc-text.vhd
    put loc-text.vhd 3079 78
    same child.vhd loc-name.vhd
    header loc-name.vhd 65 43
    same child.vhd loc-uuid.vhd
    header loc-uuid.vhd 40 0101
    same child.vhd loc-future.vhd
    header loc-future.vhd 56 ffffff00
    same child.vhd loc-old.vhd
    header loc-old.vhd 576 57693272
    same child.vhd name-bad.vhd
    header name-bad.vhd 64 d800
    make_volumes
}
