# The shipped file needs nothing on the host: no library, no loader, no file but /proc and /dev.

. "$XENKIT_SOURCE/tests/tap.sh"
[ "${XENKIT_STATIC:-0}" = 1 ] || skip_all "this build is dynamic"
requires file ldd readelf

like "file says so" "$(file -b "$XENKIT")" '(statically|static-pie) linked'
like "ldd finds no library" "$(ldd "$XENKIT" 2>&1)" '(statically linked|not a dynamic executable)$'
is "no library is asked for" "$(readelf -d "$XENKIT" | grep NEEDED)" ""
is "no loader is asked for" "$(readelf -l "$XENKIT" | grep INTERP)" ""
is "it is hardened: relocations read-only, stack not executable" \
    "$(readelf -lW "$XENKIT" | awk '$1 == "GNU_RELRO" { relro = 1 } $1 == "GNU_STACK" && $0 !~ /E/ { stack = 1 } END { print relro + stack }')" 2

# The rest happens in a mount and process namespace of its own; without privilege, in one of our own user.
inside() {
    if [ "$(id -u)" = 0 ]; then
        unshare --mount --pid --fork -- "$@"
    else
        unshare --map-root-user --mount --pid --fork -- "$@"
    fi
}

cat >"$tmp/enter" <<'END'
set -e
root=$1
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" "$@"
END
root=$tmp/own
mkdir "$root/proc" "$root/dev"
cp "$XENKIT" "$root/xenkit"
empty() {
    inside sh "$tmp/enter" "$root" "$@"
}

if ! inside sh -c 'mount -t proc proc "$1" && mount --rbind /dev "$2" && chroot / true' sh "$root/proc" "$root/dev" >/dev/null 2>&1; then
    skip "in an empty chroot" "mounting in a namespace is not allowed here"
    done_testing
fi

run empty /xenkit --version
check "it starts in an empty chroot" 0 "~^xenkit $(cat "$XENKIT_SOURCE/VERSION")"
run empty /xenkit vhd create --size 64M /disk.vhd
check "it makes a disk there" 0 -
run empty /xenkit vhd info --json /disk.vhd
check "it reads the disk there" 0 '~"size_bytes": ?67108864'
run empty /xenkit vhd check /disk.vhd
check "it checks the disk there" 0 -
run empty /xenkit checkup --json localhost
like "it examines the machine there: 0 or 1" "$status" '^[01]$'
like "and says so in JSON" "$(cat "$out")" '"findings"'
done_testing
