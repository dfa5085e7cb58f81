# Running one command line over a folder of images, and telling what came of it in a text that is the same every time.
# Sourced by classic.t and tests/record-classic.sh.
# shellcheck shell=bash

# Times, checksums and UUIDs differ with every folder that is made; the folder's own name, too.
normalise() {
    sed -E -e "s|$1|FOLDER|g" \
        -e 's/0{8}-0{4}-0{4}-0{4}-0{12}/NO-UUID/g' \
        -e 's/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/UUID/g' \
        -e 's/^(Timestamp|Parent timestamp)( +: ).*/\1\2TIME/' \
        -e 's/^(Checksum +: )0x[0-9a-f]+\|0x[0-9a-f]+/\1SUM|SUM/'
}

# tell WORD FILE FOLDER: the file as lines that begin with WORD; of a long one the beginning, its size and digest.
tell() {
    local lines
    [ -s "$2" ] || return 0
    if [ "$(tr -d '\11\12\40-\176' <"$2" | wc -c)" -gt 0 ]; then
        echo "$1 bytes $(wc -c <"$2") $(sha256sum <"$2" | cut -c1-16)"
        return
    fi
    normalise "$3" <"$2" >"$3.told"
    lines=$(wc -l <"$3.told")
    if [ "$lines" -le 8 ]; then
        sed "s/^/$1|/" "$3.told"
    else
        head -n 4 "$3.told" | sed "s/^/$1|/"
        echo "$1 lines $lines $(sha256sum <"$3.told" | cut -c1-16)"
    fi
    [ -z "$(tail -c1 "$2")" ] || echo "$1 ends without a newline"
}

# image_digest FILE: without times, checksums and UUIDs, also those of a footer left behind in the middle.
image_digest() {
    local at
    cp -- "$1" digest.tmp
    for at in $(grep -abo conectix "$1" | cut -d: -f1); do
        wipe $((at + 24)) 4
        wipe $((at + 64)) 20
        [ "$at" -ne 0 ] || wipe $((512 + 36)) 24
    done
    echo "$(stat -c %s digest.tmp) $(sha256sum <digest.tmp | cut -c1-16)"
    rm digest.tmp
}

wipe() { dd if=/dev/zero of=digest.tmp bs=1M count="$2" iflag=count_bytes seek="$1" oflag=seek_bytes conv=notrunc status=none; }

# run_row KIND WORDS FIXTURES FOLDER PROGRAM…: what the program says, its status, and the files that changed; FOLDER is a
# copy of FIXTURES again afterwards.
run_row() {
    local kind=$1 words=$2 fixtures=$3 folder=$4 status=0
    shift 4
    [ -d "$folder" ] || cp -a "$fixtures" "$folder"
    # A moment ago: times of files have the grain of the kernel's clock.
    [ "$kind" != w ] || touch -d '-1 sec' "$folder.mark"
    set -f
    # shellcheck disable=SC2086
    (cd "$folder" && PATH=$folder/bin:$PATH && export PATH && exec "$@" $words) >"$folder.out" 2>"$folder.err" </dev/null || status=$?
    set +f
    echo "status $status"
    tell out "$folder.out" "$folder"
    tell err "$folder.err" "$folder"
    [ "$kind" = w ] || return 0
    (cd "$folder" && find . -type f -cnewer "$folder.mark" | LC_ALL=C sort) | while read -r file; do
        cmp -s "$folder/$file" "$fixtures/$file" && continue
        echo "file $file $(cd "$folder" && image_digest "$file")"
        rm "$folder/$file"
        [ ! -e "$fixtures/$file" ] || cp -a "$fixtures/$file" "$folder/$file"
    done
}
