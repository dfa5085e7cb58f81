#!/bin/sh
# Installs what a make target needs, through apt.
#
#   scripts/deps.sh [build|demo|test|bench|sanitize|fuzz|valgrind|lab]…     (build when nothing is said)
#
# Says what is missing and installs only that; with everything there it asks dpkg once and is done. Uses sudo when it
# is not run by root. Where there is no apt it names the packages and stops.
#
# Lists of package names are split into words on purpose.
# shellcheck disable=SC2086
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
data=${XENKIT_TESTDATA:-$root/../shared}

build='gcc libc6-dev make meson ninja-build pkg-config scdoc libjs-dygraphs zlib1g-dev libbz2-dev libzstd-dev libssl-dev libxxhash-dev
    libevent-dev libhttp-parser-dev libexpat1-dev libjson-c-dev liburing-dev libfuse3-dev'
peers='qemu-utils libvhdi-utils libnbd-bin lvm2 chrony nftables iproute2 nagios4-core iperf3 iperf libopenmpi-dev openmpi-bin openssh-server'
# Clients of the XenAPI that the simulated pool is tried with; npm and its several hundred packages only where no npm is.
clients="python3-os-xenapi fence-agents curl"
command -v npm >/dev/null || clients="$clients nodejs npm"
tests="libcmocka-dev bzip2 python3 clang-14 clang-format-14 binutils file jq openssl shellcheck zsh fish util-linux $peers $clients"
lab='qemu-system-x86 qemu-utils binutils cpio kmod python3'

packages_of() {
    case $1 in
    build | demo) echo $build ;;
    test)
        echo $build $tests
        # The real Xen dom0 that the static file is tried in: only where its recipe lies.
        [ ! -d "$data/xen/lab" ] || echo $lab
        ;;
    sanitize) echo $build $tests ;;
    bench) echo $build $peers ;;
    fuzz) echo $build clang-14 libclang-rt-14-dev llvm-14 ;;
    valgrind) echo $build $tests valgrind ;;
    lab) echo $lab ;;
    *)
        echo "deps: no group '$1'; there are build, demo, test, bench, sanitize, fuzz, valgrind, lab" >&2
        exit 2
        ;;
    esac
}

# xen-api is in no Debian: into a folder of its own, from where its test takes it. Without it that test skips by name.
client_modules() {
    case " $* " in *' test '* | *' sanitize '*) ;; *) return 0 ;; esac
    modules=$root/build-clients
    [ ! -d "$modules/node_modules/xen-api" ] && command -v npm >/dev/null || return 0
    echo "deps: installing npm's xen-api 4.7.6"
    npm install --prefix "$modules" --no-audit --no-fund --ignore-scripts --silent xen-api@4.7.6 </dev/null >/dev/null 2>&1 ||
        echo "deps: npm could not install xen-api; its test will be skipped" >&2
}

wanted=
for group in "${@:-build}"; do
    wanted="$wanted $(packages_of "$group")"
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    {
        echo "deps: this is no Debian system, so nothing was installed. Needed are what Debian 12 calls"
        printf '  %s\n' $wanted | sort -u
        echo "Install your distribution's packages for these, then run the commands that the Makefile runs."
    } >&2
    exit 3
fi

# Only a package whose status is "installed" is whole; dpkg-query complains about the ones it never heard of.
# shellcheck disable=SC2016
have=" $(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $wanted 2>/dev/null | sed -n 's/ installed$//p' | tr '\n' ' ') "
missing=
for package in $(printf '%s\n' $wanted | sort -u); do
    case $have in
    *" $package "*) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || {
    client_modules "$@"
    exit 0
}

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "deps: run this as root, or install sudo, then try again. Missing:$missing" >&2
        exit 3
    }
    as_root=sudo
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@" >"$log" 2>&1 </dev/null
}

echo "deps: installing$missing"
# A list of packages that is too old names files that are gone: fetch a new one, and only then.
apt install --no-install-recommends $missing ||
    { apt update && apt install --no-install-recommends $missing; } || {
    tail -n 20 "$log" >&2
    echo "deps: apt could not install all of:$missing" >&2
    exit 6
}
client_modules "$@"
