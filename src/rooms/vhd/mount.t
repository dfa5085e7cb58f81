#!/bin/bash
# A disk as a file in a folder: what is read there is the disk, nothing can be written, and it goes away cleanly.
. "$XENKIT_SOURCE/tests/tap.sh"
requires mountpoint umount

xenkit vhd create -q --size 4M probe.vhd >/dev/null
mkdir folder
run xenkit vhd mount probe.vhd nowhere
case $(cat "$err") in
*"built without FUSE 3"*)
    check "a build without FUSE says so" 3 "" "~built without FUSE 3"
    skip "the disk as a file" "this build has no FUSE 3"
    done_testing
    exit
    ;;
*/dev/fuse*) skip_all "/dev/fuse cannot be opened here" ;;
esac
check "the folder must be there" 6 "" "~nowhere: No such file"

# start ARGS…: mounted when its record is there to be read.
start() {
    rm -f said
    mkfifo said
    "$XENKIT" vhd mount "$@" >said 2>log &
    server=$!
    exec 3<said
    file=
    read -r -t 30 _ file <&3
}
# ends NAME: and leaves nothing; what it told at the end is in the file `totals`.
ends() {
    cat <&3 >totals
    wait "$server"
    is "$1" $? 0
    exec 3<&-
    nok "and the folder is free again" mountpoint -q folder
}
on_exit eval 'kill $server; umount -l "$tmp/own/folder"'

start probe.vhd folder
[ -n "$file" ] || skip_all "mounting is not allowed here: $(cat log)"
kill -TERM "$server"
ends "an empty disk, stopped at once"

# A chain of three over a raw disk.
truncate -s 24M root.raw
head -c 5M /dev/urandom | dd of=root.raw bs=1M seek=3 conv=notrunc status=none
cp root.raw want.raw
xenkit vhd convert -q root.raw root.vhd >/dev/null
head -c 777 /dev/urandom | dd of=want.raw bs=1 seek=4194305 conv=notrunc status=none
xenkit vhd export-delta -q --from root.vhd want.raw mid.vhd >/dev/null
head -c 1M /dev/urandom | dd of=want.raw bs=1M seek=23 conv=notrunc status=none
xenkit vhd export-delta -q --from mid.vhd want.raw 'top, of 3.vhd' >/dev/null
xenkit vhd convert -q want.raw want.qcow2 >/dev/null

for image in 'top, of 3.vhd' want.raw want.qcow2; do
    start "$image" folder
    is "$image: the file is named" "$file" folder/disk.raw
    ok "$image: it is the disk" cmp "$file" want.raw
    ok "$image: also in small pieces" sh -c 'dd if="$1" bs=4096 iflag=direct status=none | cmp - want.raw' sh "$file"
    is "$image: its size" "$(stat -c '%s %A' "$file")" "25165824 -r--r--r--"
    kill -TERM "$server"
    ends "$image: TERM ends it"
done

start --name "the disk" --threads 1 "$PWD/top, of 3.vhd" folder
is "a name of its own" "$(ls folder)" "the disk"
like "the mount names the image" "$(cat /proc/mounts)" 'top,.040of.0403\.vhd .*/folder fuse.xenkit ro,'
is "holes are holes" "$(stat -c %b "$file")" "$((6 * 2048))"
ok "a copy that seeks them" cp --sparse=always "$file" copy.raw
ok "is the disk" cmp copy.raw want.raw
is "and as small" "$(stat -c %b copy.raw)" "$((6 * 2048))"
nok "nothing can be written" sh -c 'echo >>"$1"' sh "$file"
nok "nor made" touch folder/other
nok "nor removed" rm -f "$file"
nok "there is nothing else" cat folder/disk.raw
exec 4<"$file"
ok "somebody else may unmount it, in use or not" umount -l folder
exec 4<&-
ends "then it ends"
is "and tells what was read" "$(awk '/^(opened|reads|failed):/ { print $1 ($2 > 0) }' totals | xargs)" "opened:1 reads:1 failed:0"

# Somebody holds the file when the end is asked for.
start want.raw folder
exec 4<folder/disk.raw
kill -HUP "$server"
ends "HUP ends it while the file is open"
exec 4<&-

run xenkit vhd mount want.raw want.raw
check "a file is no folder" 6 "" "~is no folder"
run xenkit vhd mount --name a/b want.raw folder
check "a name with a slash is refused" 2 "" "~cannot be the name of a file"
run xenkit vhd mount gone.vhd folder
check "a missing image" 6 "" "~gone.vhd"
mv mid.vhd away.vhd
run xenkit vhd mount 'top, of 3.vhd' folder
check "a missing parent" - "" "~mid.vhd"
nok "leaves no mount behind" mountpoint -q folder

done_testing
