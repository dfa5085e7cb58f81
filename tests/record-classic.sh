#!/bin/bash
# Record what the original vhd-util says to the command lines of src/rooms/vhd/classic.cases:
#
#     VHD_UTIL=/usr/bin/vhd-util XENKIT=build/xenkit tests/record-classic.sh >src/rooms/vhd/classic.expected
#
# $XENKIT makes the images. Takes some minutes: the original sleeps over damaged headers.
set -eu
: "${VHD_UTIL:?the path of the original vhd-util}" "${XENKIT:?the path of xenkit, which makes the images}"
VHD_UTIL=$(readlink -f "$VHD_UTIL") XENKIT=$(readlink -f "$XENKIT")
export XENKIT LC_ALL=C.UTF-8 TZ=UTC
room=$(dirname "$(readlink -f "$0")")/../src/rooms/vhd
# shellcheck source=/dev/null
. "$room/classic-fixtures.sh"
# shellcheck source=/dev/null
. "$room/classic-runs.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/fixtures"
(cd "$work/fixtures" && make_fixtures)
while read -r kind words; do
    case $kind in
    [rws])
        echo "= $kind $words"
        run_row "$kind" "$words" "$work/fixtures" "$work/folder" "$VHD_UTIL"
        ;;
    esac
done <"$room/classic.cases"
