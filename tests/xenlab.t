# The shipped file in the dom0 of a real Xen: an old, small Linux without any of our libraries.

. "$XENKIT_SOURCE/tests/tap.sh"
[ "${XENKIT_STATIC:-0}" = 1 ] || skip_all "this build is dynamic"
lab=$XENKIT_TESTDATA/xen/lab
[ -d "$lab" ] || skip_all "there is no Xen lab: $lab"
requires qemu-system-x86_64 cpio depmod gcc strip python3 apt-get

# Made once for all builds, about 230 MB. A lab that somebody else started is left alone.
XENLAB_DIR=$XENKIT_SOURCE/build-xenlab
export XENLAB_DIR
"$lab/make-lab.sh" "$XENLAB_DIR" >"$tmp/make.log" 2>&1 || {
    diag "$(tail -n 5 "$tmp/make.log")"
    skip_all "the lab's packages could not be had"
}
[ ! -f "$XENLAB_DIR/qemu.pid" ] || ! kill -0 "$(cat "$XENLAB_DIR/qemu.pid")" 2>/dev/null || skip_all "the lab is in use"

on_exit "$lab/run-lab.sh" stop
run "$lab/run-lab.sh" start
check "Xen and its dom0 start" 0 - -
[ "$status" = 0 ] || done_testing

# Copied in once: the way in is a slow one.
run "$lab/run-lab.sh" install "$XENKIT" xenkit
check "the file is taken in" 0 - -
dom0() {
    "$lab/run-lab.sh" run "$*"
}

run dom0 /opt/bin/xenkit --version
check "xenkit starts in dom0" 0 "~^xenkit $(cat "$XENKIT_SOURCE/VERSION")"
run dom0 /opt/bin/xenkit checkup --json localhost
like "checkup examines dom0: 0 or 1" "$status" '^[01]$'
like "its result is JSON with findings" "$(cat "$out")" '"findings"'
like "it sees that it runs on Xen" "$(cat "$out")" '[Xx]en '
run dom0 /opt/bin/xenkit vhd create --size 64M /tmp/disk.vhd
check "it makes a disk there" 0 - -
run dom0 /opt/bin/xenkit vhd check /tmp/disk.vhd
check "it checks the disk there" 0 - -
done_testing
