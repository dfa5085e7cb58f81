#!/bin/bash
# Runs a unit test program in an empty folder that is its TMPDIR, too, and is removed afterwards. XENKIT_UNDER may name a
# program and options to run it under. cmocka writes a skipped test as "not ok 3 # SKIP name", which means a failure in
# TAP: it is put right here.
set -uo pipefail

program=$(readlink -f "$1")
shift
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/xenkit-unit.XXXXXX") || exit 99
export TMPDIR
trap 'cd / && chmod -R u+rwX "$TMPDIR" && rm -rf "$TMPDIR"' EXIT
cd "$TMPDIR" || exit 99

# shellcheck disable=SC2086
${XENKIT_UNDER:-} "$program" "$@" | sed -u 's/^not ok \([0-9]*\) # SKIP \(.*\)/ok \1 - \2 # SKIP it said so/'
