# Rules of the source tree that a reader would otherwise have to watch.

. "$XENKIT_SOURCE/tests/tap.sh"
cd "$XENKIT_SOURCE" || exit 1

# Every file of the project; the build folders and whatever version control keeps are none.
find . \( -name .git -o -name 'build' -o -name 'build-*' \) -prune -o -type f -print | sed 's|^\./||' | sort >"$tmp/files"
ok "files were found at all" test "$(wc -l <"$tmp/files")" -gt 50

# Folders of somebody's own: the project has to work, and its examples have to be true, everywhere.
xargs grep -InE '(^|[^[:alnum:]_.$}])/(home|root|Users|work)/[a-z]' <"$tmp/files" | grep -v '^tests/house\.t:' >"$tmp/bad"
is "no path of anybody's machine" "$(cat "$tmp/bad")" ""
xargs grep -IlwE 'TODO|FIXME|XXX|HACK' <"$tmp/files" | grep -v '^tests/house\.t$' >"$tmp/bad"
is "nothing is left for later" "$(cat "$tmp/bad")" ""
xargs grep -IlP '\r$|[ \t]+$' <"$tmp/files" | grep -vE '^fuzz/corpus/|\.expected$' >"$tmp/bad"
is "no space at the end of a line" "$(cat "$tmp/bad")" ""

is "completions are short: at most 40 lines each" \
    "$(find completions -type f ! -name meson.build -exec awk 'END { if (NR > 40) print FILENAME, NR }' {} \;)" ""

if command -v shellcheck >/dev/null; then
    # SC1090, SC1091: tap.sh is found at run time. SC2088: "~/x" is a pattern of ours, no home.
    # shellcheck disable=SC2046
    ok "shellcheck is content with every script" shellcheck -x -e SC1090,SC1091,SC2088 -s bash -S warning \
        $(grep -E '\.(sh|t)$' "$tmp/files") .ci/run
else
    skip "shellcheck is content with every script" "shellcheck is not installed"
fi

if command -v clang-format-14 >/dev/null; then
    # shellcheck disable=SC2046
    clang-format-14 --dry-run $(grep -E '^(src|tests|fuzz|bench|scripts)/.*\.[ch]$' "$tmp/files") 2>&1 |
        sed -n 's/^\([^:]*\):\([0-9]*\):.*/\1:\2/p' | head -n 20 >"$tmp/bad"
    is "every C file is as clang-format writes it" "$(cat "$tmp/bad")" ""
else
    skip "every C file is as clang-format writes it" "clang-format-14 is not installed"
fi

# A room: one folder, its tables in room.c, its man page beside them, its name in the list.
for room in src/rooms/*/; do
    name=$(basename "$room")
    for file in "$room/room.c" "$room/xenkit-$name.1.scd" "$room/meson.build"; do
        [ -f "$file" ] || echo "$file is missing"
    done
    grep -q "^rooms = .*'$name'" src/rooms/meson.build || echo "$name is not in the list of rooms"
    [ -n "$(find "$room" -name '*.t' -o -name 'test-*.c')" ] || echo "$room has no test"
done >"$tmp/bad"
is "every room has the same files" "$(sed 's|//|/|g' "$tmp/bad")" ""

# What stands in the tree is built: a test or a fuzz target that no meson.build names would never run.
find src tests fuzz -name meson.build -exec cat {} + >"$tmp/meson"
# shellcheck disable=SC2013
for file in $(grep -E '/test-[^/]*\.c$|\.t$' "$tmp/files"); do
    case $file in
    tests/*.t) name=$(basename "$file" .t) ;;
    src/core/test-*.c) name=$(basename "$file" .c | sed 's/^test-//') ;;
    *) name=$(basename "$file") ;;
    esac
    grep -qF "'$name'" "$tmp/meson" || grep -qF "$name" "$tmp/meson" || echo "$file"
done >"$tmp/bad"
for file in $(grep '^fuzz/fuzz-.*\.c$' "$tmp/files"); do
    name=$(basename "$file" .c | sed 's/^fuzz-//')
    grep -qF "'$name'" "$tmp/meson" || echo "$file is not listed"
    [ -n "$(ls "fuzz/corpus/$name" 2>/dev/null)" ] || echo "fuzz/corpus/$name is empty"
done >>"$tmp/bad"
is "every test and fuzz target is built" "$(cat "$tmp/bad")" ""

if [ "${XENKIT_STATIC:-0}" != 1 ]; then
    skip "state is handed in" "a sanitizer adds variables of its own"
    done_testing
fi
requires nm strings

# d and b: variables that can be written. Tables of pointers are const but relocated (.data.rel.ro): nm calls these d
# too, so the section decides. The exceptions: what a signal handler sets, and glob(3), whose callback is given no context.
find "$XENKIT_BUILD/src" "$XENKIT_BUILD/xenkit.p" -name '*.o' ! -path '*/embed.p/*' ! -path '*/libfault.a.p/*' | sort |
    while read -r object; do
        objdump -t "$object" | awk -v object="${object##*/}" '
            $0 ~ /[ \t]\.(data|bss|tdata|tbss)(\.[^ \t]*)?[ \t]/ && $0 !~ /\.data\.rel\.ro/ && $0 !~ / d  ?\.|[ \t]d[ \t]/ {
                print object ": " $NF
            }'
    done | grep -vE '^clock\.c\.o: stop_|^src_rooms_vhd_classic-scan\.c\.o: globbing$' >"$tmp/bad"
is "state is handed in: no variable at file scope" "$(cat "$tmp/bad")" ""
is "the shipped file names no folder of the machine that built it" "$(strings -a "$XENKIT" | grep -F "$XENKIT_SOURCE" | head -n 5)" ""
done_testing
