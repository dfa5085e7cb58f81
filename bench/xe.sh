#!/bin/sh
# What `xe vm-list` costs against a pool of 20 VMs: ours, with its kept session, and the original client ($XENKIT_XE, or
# xe in the path), which logs in each time and has the server do the work. At most 10 ms is asked for.
# Run by bench/run.sh in an empty folder, with XENKIT and PAIR.
set -eu

HOME=$PWD XDG_STATE_HOME=$PWD/state
export HOME XDG_STATE_HOME
"$XENKIT" sim --hosts 1 --plain >sim.out 2>sim.err &
pid=$!
trap 'kill $pid 2>/dev/null || :' EXIT
tries=0
until [ -s sim.out ] || [ $tries = 100 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
port=$(sed -n '1s/.*:\([0-9]*\)\t.*/\1/p' sim.out)
ln -s "$XENKIT" xe
set -- -s 127.0.0.1 -p "$port" -u root -pw xenkit vm-list
./xe "$@" >first
[ -s first ] || exit 1

# The median of single runs, in milliseconds.
python3 - ./xe "$@" <<'PY'
import statistics, subprocess, sys, time
times = []
for _ in range(60):
    began = time.perf_counter()
    subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
    times.append((time.perf_counter() - began) * 1000)
median = statistics.median(times)
print(f"xe vm-list: median {median:.2f} ms of {len(times)} runs, wanted below 10 ms")
sys.exit(median >= 10)
PY

real=${XENKIT_XE:-$(command -v xe || :)}
if [ -z "$real" ]; then
    echo "the original xe is not here: XENKIT_XE names it"
    exit 0
fi
"$PAIR" -n "${ROUNDS:-60}" -w 5 "xenkit's xe" ./xe "$@" -- "the original xe" "$real" "$@"
