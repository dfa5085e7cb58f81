#!/bin/sh
# What it costs to start: `xenkit --version` and an empty program that is linked with the C library in the usual,
# dynamic way. Ours is a larger file, but static: there is nothing to look up. At most 1.1 times is asked for.
# Run by bench/run.sh in an empty folder, with XENKIT and PAIR.
set -eu

echo 'int main(void) { return 0; }' >empty.c
"${CC:-cc}" -O2 -o empty empty.c
"$PAIR" -n "${ROUNDS:-200}" -w 20 -x 1.1 "xenkit --version" "$XENKIT" --version -- "an empty dynamic program" ./empty
