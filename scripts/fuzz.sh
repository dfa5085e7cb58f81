#!/bin/sh
# scripts/fuzz.sh SECONDS [TARGET…]: each libFuzzer target for so long, two at a time. New inputs are kept in
# build-fuzz/corpus-NAME; an input that crashes a target is named and belongs into fuzz/corpus/NAME once it is mended.
set -eu
cd "$(dirname "$0")/.."

seconds=$1
shift
CC=clang-14 scripts/setup.sh build-fuzz -Dfuzz=true -Dtests=false -Dstatic_file=false -Dbuildtype=debugoptimized \
    -Db_sanitize=address,undefined -Db_lundef=false
ninja -C build-fuzz --quiet
if [ $# -eq 0 ]; then
    for program in build-fuzz/fuzz/fuzz-*; do
        [ ! -f "$program" ] || set -- "$@" "${program#build-fuzz/fuzz/fuzz-}"
    done
fi
[ $# -gt 0 ] || {
    echo "fuzz: there is no target" >&2
    exit 3
}

fuzz_one() {
    name=$1
    mkdir -p "build-fuzz/corpus-$name"
    if "build-fuzz/fuzz/fuzz-$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
        -artifact_prefix="build-fuzz/$name-" "build-fuzz/corpus-$name" "fuzz/corpus/$name" \
        >"build-fuzz/$name.log" 2>&1; then
        echo "ok      $name: $(sed -n 's/^Done //p' "build-fuzz/$name.log")"
    else
        echo "FAILED  $name: see build-fuzz/$name.log"
        grep -E 'ERROR|SUMMARY|Test unit written' "build-fuzz/$name.log" || true
        return 1
    fi
}

failed=0
while [ $# -gt 0 ]; do
    fuzz_one "$1" &
    first=$!
    second=
    shift
    if [ $# -gt 0 ]; then
        fuzz_one "$1" &
        second=$!
        shift
    fi
    wait "$first" || failed=1
    [ -z "$second" ] || wait "$second" || failed=1
done
exit $failed
