#!/bin/bash
# Hosts of a mesh: network namespaces on a bridge, their agents, and what is done to them. Results go into a folder:
# NAME.json is what the mesh said, NAME.status how it ended.
#
#   mesh-net.sh XENKIT FOLDER        run as root of a network namespace (unshare -n, unshare -rn)
set -eu
xenkit=$1 to=$2
export xenkit to

. "$XENKIT_SOURCE/tests/net.sh"

# The number of the process that holds hN's network stands in a file of that name.
host() {
    far
    echo "$far" >"$to/h$1"
    ip link add "v$1" type veth peer name eth0 netns "$far"
    ip link set "v$1" master br0 up
    at "$far" ip addr add "192.0.2.$1/24" dev eth0
    at "$far" ip link set eth0 up
}

at_host() {
    at "$(cat "$to/$1")" "${@:2}"
}

mesh() {
    name=$1
    shift
    status=0
    "$xenkit" net mesh --json --shell "$to/agent {}" "$@" >"$to/$name.json" 2>"$to/$name.err" || status=$?
    echo $status >"$to/$name.status"
}

# again NAME FILTER OPTIONS…: a mesh whose result is as expected; where the machine stood still for a while it is slow, or
# flows do not begin together, and then it is measured once more.
again() {
    filter=$2
    set -- "$1" "${@:3}"
    for _ in 1 2 3 4 5; do
        mesh "$@"
        ! jq -e "$filter" "$to/$1.json" >"$to/filter" 2>&1 || break
    done
}

hosts() {
    for i; do
        printf 'h%s=192.0.2.%s ' "$i" "$i"
    done
}

cat >"$to/agent" <<'EOF'
#!/bin/sh
exec nsenter -t "$(cat "$to/$1")" -n "$xenkit" net agent
EOF
chmod +x "$to/agent"
ip link set lo up
ip link add name br0 type bridge
ip link set br0 up
for i in 1 2 3 4 5 6 7 8; do
    host $i
done

# shellcheck disable=SC2046
again sound '.findings == [] and ([.links[] | select(.pattern == "pairs") | .rate_bps | . > 15e6 and . < 23e6] | all) and
    .start.spread_ns < 2e9' $(hosts 1 2 3 4) -t 1 -b 20M --pattern pairs --pattern incast --pattern outcast --pattern all \
    --html "$to/sound.html" --prometheus "$to/sound.prom"

# One link that drops, one that is slow; both only in one direction and between two hosts that are fine otherwise.
at_host h5 nft -f - <<'EOF'
table ip t {
    chain in {
        type filter hook input priority 0;
        ip saddr 192.0.2.2 numgen random mod 1000 < 30 drop
    }
}
EOF
at_host h7 nft -f - <<'EOF'
table ip t {
    chain in {
        type filter hook input priority 0;
        ip saddr 192.0.2.1 tcp dport 1024-65535 limit rate over 600 kbytes/second burst 64 kbytes drop
    }
}
EOF
# shellcheck disable=SC2046
again links '.findings | length == 2' $(hosts 1 2 3 4 5 6 7 8) -t 1 -b 20M
at_host h5 nft flush ruleset
at_host h7 nft flush ruleset

# A host that is slow with everybody.
if at_host h3 tc qdisc add dev eth0 root tbf rate 8mbit burst 16k latency 20ms 2>/dev/null; then
    tc qdisc add dev v3 root tbf rate 8mbit burst 16k latency 20ms
    # shellcheck disable=SC2046
    again host '[.findings[].check | select(. == "mesh.link-bad" or . == "mesh.spread")] == []' $(hosts 1 2 3 4 5 6) \
        -t 1 -b 20M --probe-rate 0
    at_host h3 tc qdisc del dev eth0 root
    tc qdisc del dev v3 root
fi

# A smaller MTU.
at_host h2 ip link set eth0 mtu 1400
# shellcheck disable=SC2046
again mtu '.findings | length == 1' $(hosts 1 2) -t 1 -b 20M --probe-rate 0
at_host h2 ip link set eth0 mtu 1500

# An agent that dies in the middle, one that never starts, one that is none.
cat >"$to/dying" <<'EOF'
#!/bin/sh
case $1 in
h2)
    nsenter -t "$(cat "$to/$1")" -n "$xenkit" net agent &
    agent=$!
    sleep 2.5
    kill -9 $agent
    ;;
h4) echo "no such host" >&2; exit 255 ;;
h5) echo hello; sleep 5 ;;
h6) yes | tr -d '\n' ;;
*) exec "$to/agent" "$1" ;;
esac
EOF
chmod +x "$to/dying"
# shellcheck disable=SC2046
mesh dying $(hosts 1 2 3 4 5 6) --shell "$to/dying {}" -t 1 -b 20M --probe-rate 0

# Agents that listen: with the key, with another one, and with none at all.
(umask 077 && echo "one key for all of us" >"$to/key" && echo "another key for another" >"$to/other")
cp "$to/key" "$to/open"
chmod 644 "$to/open"
for i in 1 2; do
    nsenter -t "$(cat "$to/h$i")" -n "$xenkit" net agent --listen 192.0.2.$i:5299 --key-file "$to/key" >"$to/listen$i" &
    started="$started $!"
    until grep -q listening "$to/listen$i"; do sleep 0.05; done
done
ip addr add 192.0.2.100/24 dev br0
# shellcheck disable=SC2046
again listening '.findings == [] and ([.links[].rate_bps > 1e6] | all)' $(hosts 1 2) --agent-port 5299 --key-file "$to/key" -t 1 -b 20M --probe-rate 0
# shellcheck disable=SC2046
mesh stranger $(hosts 1 2) --agent-port 5299 --key-file "$to/other" -t 1
# shellcheck disable=SC2046
mesh readable $(hosts 1 2) --agent-port 5299 --key-file "$to/open" -t 1
# shellcheck disable=SC2046
mesh keyless $(hosts 1 2) --agent-port 5299 -t 1
exec 3<>/dev/tcp/192.0.2.1/5299
echo '{"mesh":"clock","number":1}' >&3
timeout 5 cat <&3 >"$to/plain.answer" || true
exec 3>&-

# The ranks of an MPI job, whose agents are in the namespaces; one of them cannot start.
if [ -n "${XENKIT_MPI:-}" ] && command -v mpirun >/dev/null; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
    ranks() {
        job=
        for i in 1 2 3 "$1"; do
            job="$job${job:+ : }-np 1 $XENKIT_MPI --json --address 192.0.2.$i --shell $to/rank --pattern pairs --pattern incast --pattern outcast -t 1 -b 20M"
        done
        # shellcheck disable=SC2086
        timeout 120 mpirun --oversubscribe $job
    }
    cat >"$to/rank" <<'EOF'
#!/bin/sh
exec "$to/agent" "h$((OMPI_COMM_WORLD_RANK + 1))"
EOF
    chmod +x "$to/rank"
    export to
    for _ in 1 2 3 4 5; do
        ranks 4 >"$to/ranks.json" 2>"$to/ranks.err" || true
        ! jq -e '.findings == [] and ([.links[].rate_bps > 15e6] | all)' "$to/ranks.json" >"$to/filter" || break
    done
    rm "$to/h4"
    ranks 4 >"$to/orphan.json" 2>"$to/orphan.err" || true
fi
