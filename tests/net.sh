# Networks beside the one that a script runs in; it runs as root of a network namespace (unshare -n, unshare -rn).
#
#     far                     another namespace; the process that holds it is in $far, and ends with the script
#     at PROCESS CMD ARGS…    run a command there
#
# A script adds what else has to end with it to $started.
# shellcheck shell=bash
started=
trap 'kill $started 2>/dev/null' EXIT

far() {
    unshare -n sleep 600 &
    far=$!
    started="$started $far"
    until [ "$(readlink /proc/$far/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
    nsenter -t $far -n ip link set lo up
}

at() {
    nsenter -t "$1" -n "${@:2}"
}
