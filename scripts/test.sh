#!/bin/sh
# Builds and tests, each kind of build in a folder of its own:
#
#   gcc        build-gcc       the static file as it is shipped, warnings are errors: every test
#   sanitize   build-sanitize  gcc with ASan and UBSan: units, commands, corpora
#   clang      build-clang     clang, warnings are errors: units
#   valgrind   build-valgrind  units under valgrind (not part of the usual run)
#
#   scripts/test.sh [gcc|sanitize|clang|valgrind]…      (the first three when nothing is said)
#
# Many tests wait for peers and clocks more than they compute: two more run at a time than there are processors.
# Ends with "N passed, N failed, N skipped", counted from the results that meson wrote; not 0 when something failed.
#
# Lists of words are split on purpose.
# shellcheck disable=SC2046,SC2048,SC2086
set -u
cd "$(dirname "$0")/.." || exit 2

lost=0 # builds that did not come to testing
logs=

# What meson leaves in its log only: the lines that say why a subtest failed; of each program the first 40.
explain() {
    awk '/^test: / { name = $0; shown = 0 }
         /^not ok/ { if (!shown) print name; on = 1 }
         on && /^(not ok|#)/ { if (shown++ < 40) print; next }
         { on = 0 }' "$1"
}

# attempt FOLDER COMPILER OPTIONS… -- TEST-OPTIONS…
attempt() {
    folder=$1
    compiler=$2
    shift 2
    options=
    while [ "$1" != -- ]; do
        options="$options $1"
        shift
    done
    shift
    echo "== $folder"
    rm -f "$folder"/meson-logs/testlog.*
    if CC=$compiler scripts/setup.sh "$folder" $options && ninja -C "$folder" --quiet -k 0 all meson-test-prereq; then
        env --default-signal=HUP,INT meson test -C "$folder" --no-rebuild --print-errorlogs --num-processes $(($(nproc) + 2)) "$@" || explain "$folder/meson-logs/testlog.txt"
    fi
    if [ -f "$folder/meson-logs/testlog.junit.xml" ]; then
        logs="$logs $folder/meson-logs/testlog.junit.xml $folder/meson-logs/testlog.json"
    else
        echo "== $folder came to no test" >&2
        lost=$((lost + 1))
    fi
}

dynamic='-Dstatic_file=false -Dbuildtype=debugoptimized'
for kind in ${*:-gcc sanitize clang}; do
    case $kind in
    gcc) attempt build-gcc gcc -Dwerror=true -- ;;
    sanitize)
        attempt build-sanitize gcc $dynamic -Db_sanitize=address,undefined -Db_lundef=false -- \
            --suite unit --suite command --suite corpus --timeout-multiplier 3
        ;;
    clang) attempt build-clang clang-14 $dynamic -Dwerror=true -- --suite unit ;;
    valgrind)
        XENKIT_UNDER='valgrind --quiet --leak-check=full --error-exitcode=99'
        export XENKIT_UNDER
        attempt build-valgrind gcc $dynamic -- --suite unit --timeout-multiplier 20
        unset XENKIT_UNDER
        ;;
    *)
        echo "test.sh: no build '$kind'; there are gcc, sanitize, clang, valgrind" >&2
        exit 2
        ;;
    esac
done

set -- 0 0 0
[ -z "$logs" ] || set -- $(awk -f scripts/count.awk $logs)
failed=$(($2 + lost))
echo "$1 passed, $failed failed, $3 skipped"
[ "$failed" -eq 0 ] && [ "$1" -gt 0 ]
