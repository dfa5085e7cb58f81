#!/bin/sh
# bench/run.sh BUILD-FOLDER [NAME…]: all bench scripts, or the named ones. Each says what it compares and what it found.
# Peers that no package has are named by path: VHD_UTIL. ROUNDS=N asks for other numbers of rounds than a script's own.
# Exit status 1 when a ratio was not met.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- startup scan vhd convert sim client xe sessions iperf iperf2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
XENKIT=$build/xenkit PAIR=$build/bench/pair IMAGE=$build/bench/vhd-image CLIENT=$build/bench/pool-client LOGIN_RATE=$build/bench/login-rate
export XENKIT PAIR IMAGE CLIENT LOGIN_RATE

missed=0
for name; do
    echo "== $name"
    mkdir "$work/$name"
    (cd "$work/$name" && sh "$here/$name.sh") || missed=1
done
exit $missed
