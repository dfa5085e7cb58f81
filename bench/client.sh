#!/bin/sh
# Our client of the XenAPI against a simulated pool of 4,000 machines: the processor time to fetch and take in all their
# records, compared with the same by XenAPI.py; and how often a second it can log in and out.
# At most a tenth of the processor time, and at least 5,000 pairs a second, are asked for.
# Run by bench/run.sh in an empty folder, with XENKIT and LOGIN_RATE.
set -eu

"$XENKIT" sim --hosts 1 --vms "${VMS:-4000}" --plain >sim.out &
sim=$!
trap 'kill $sim' EXIT
until [ -s sim.out ]; do sleep 0.1; done
url=$(sed -n '1s/\t.*//p' sim.out)
echo xenkit >password
XDG_STATE_HOME=$PWD XENKIT_PASSWORD_FILE=password
export XDG_STATE_HOME XENKIT_PASSWORD_FILE

missed=0
"$LOGIN_RATE" "$url" password "${SECONDS_EACH:-5}" 5000 || missed=1

module=/usr/lib/python3/dist-packages/os_xenapi/client
[ -f "$module/XenAPI.py" ] || {
    echo "skipped: python3-os-xenapi is not installed"
    exit $missed
}
cat >fetch.py <<'END'
import resource, sys
sys.path.insert(0, sys.argv[1])
import XenAPI

def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

session = XenAPI.Session(sys.argv[2])
session.login_with_password("root", "xenkit")
before = cpu()
records = session.xenapi.VM.get_all_records()
print(cpu() - before)
session.xenapi.session.logout()
END
# Ours is the whole program, with its start and the count of what came; theirs is the call alone.
ours() {
    "$XENKIT" api call "$url" VM.get_all_records --protocol "$1" --plain -v 2>&1 >/dev/null |
        sed -n 's/.*elapsed, \([0-9.]*\) \(ms\|s\) of processor time, \(.*\) of memory.*/\1 \2 \3/p' |
        awk '{ print ($2 == "ms" ? $1 / 1000 : $1), $3, $4 }'
}
median() {
    sort -n | awk '{ a[NR] = $0 } END { print a[int((NR + 1) / 2)] }'
}
for _ in $(seq "${ROUNDS:-3}"); do
    ours json2 >>json2
    ours xml >>xml
    python3 fetch.py "$module" "$url" >>theirs
done
theirs=$(median <theirs)
for protocol in json2 xml; do
    median <$protocol | awk -v theirs="$theirs" -v p=$protocol '{
        printf "records of all machines, %s: ours %.3f s of processor time (%s %s at most), XenAPI.py %.3f s: ratio %.3f\n", p, $1, $2, $3, theirs, $1 / theirs
        exit !($1 <= theirs * 0.1)
    }' || missed=1
done
exit $missed
