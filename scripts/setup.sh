#!/bin/sh
# scripts/setup.sh FOLDER [meson options]: makes a build folder, or brings one to other options. Quick when it is so already.
set -eu

folder=$1
shift
asked="${CC:-cc} $*"
[ "$(cat "$folder/options.asked" 2>/dev/null)" != "$asked" ] || [ ! -f "$folder/build.ninja" ] || exit 0

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A compiler is chosen once for a folder; options can change.
if [ -f "$folder/build.ninja" ] && [ "$(cut -d ' ' -f 1 "$folder/options.asked" 2>/dev/null)" = "${CC:-cc}" ]; then
    set -- --reconfigure "$folder" "$@"
else
    rm -rf "$folder"
    set -- "$folder" "$@"
fi
meson setup "$@" >"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    exit 1
}
printf '%s' "$asked" >"$folder/options.asked"
