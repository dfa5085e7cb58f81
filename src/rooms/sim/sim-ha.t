# High availability when hosts fail: which machines start again, where, in which order and when; in simulated time.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3

cat >ha.py <<'PYTHON'
import sys
import time
from poolclient import *

def fault(api, text): return api("host.call_plugin", api("host.get_all")[0], "xenkit", "fault", {"fault": text})
def state(api, vm): return api.get("VM", vm, "power_state")
def runs_off(api, vm, host):
    """It runs, and elsewhere: seen in one look."""
    record = api("VM.get_record", vm)
    return record["power_state"] == "Running" and record["resident_on"] != host
def started(api, vm):
    """When it last started: seconds of simulated time, of which sixty are one here: a machine that stands still adds many."""
    return time.mktime(time.strptime(api.get("VM_metrics", api.get("VM", vm, "metrics"), "start_time"), "%Y%m%dT%H:%M:%SZ"))
def machines(api, power):
    return [r for r, v in api("VM.get_all_records").items()
            if v["power_state"] == power and not v["is_a_template"] and not v["is_control_domain"]]
def alerts(api): return [(m["name"], m["obj_uuid"], m["body"]) for m in api("message.get_all_records").values()]
def host_of(api, n): return [r for r, h in api("host.get_all_records").items() if h["address"] == "127.0.0.%d" % n][0]
def uuid(api, kind, ref): return api.get(kind, ref, "uuid")

def order(api):
    pool, two = api("pool.get_all")[0], host_of(api, 2)
    for vm in machines(api, "Running"):
        api("VM.hard_shutdown", vm)
    vms = machines(api, "Halted")[:6]
    first, second, third, spare, plain, last = vms
    for vm in vms:
        api("VM.start_on", vm, two, False, True)
    api("VM.set_ha_restart_priority", spare, "best-effort")
    for vm, number, delay in ((first, 1, 40), (second, 2, 0), (third, 2, 20), (last, 3, 0)):
        api("VM.set_ha_restart_priority", vm, "restart")
        api("VM.set_order", vm, number)
        api("VM.set_start_delay", vm, delay)
    api("pool.enable_ha", [], {})
    api("pool.set_ha_host_failures_to_tolerate", pool, 1)
    same("a plan for one host", [api.get("pool", pool, f) for f in ("ha_plan_exists_for", "ha_overcommitted")], [1, False])
    fault(api, "host=2,dead")
    api.until(lambda: runs_off(api, spare, two))
    ok("a host has failed", ("HA_HOST_FAILED", uuid(api, "host", two), "Server 'host-2' has failed") in alerts(api), alerts(api))
    same("it is not live", api.get("host_metrics", api.get("host", two, "metrics"), "live"), False)
    same("what is protected runs again", [state(api, vm) for vm in (first, second, third, last)], ["Running"] * 4)
    same("elsewhere", [vm for vm in vms if api.get("VM", vm, "resident_on") == two], [])
    same("the rest does not", state(api, plain), "Halted")
    ok("the second waits until the first has had its time", 40 <= started(api, second) - started(api, first) <= 400, started(api, first), started(api, second))
    ok("the same number starts at the same time", abs(started(api, third) - started(api, second)) < 20)
    ok("the third waits in turn", 20 <= started(api, last) - started(api, third) <= 400, started(api, third), started(api, last))
    ok("whom no plan counts comes behind all others", started(api, spare) >= started(api, last))

def crowd(api):
    """Two machines of which only one finds room."""
    pool, one, two = api("pool.get_all")[0], host_of(api, 1), host_of(api, 2)
    for vm in machines(api, "Running"):
        api("VM.hard_shutdown", vm)
    free = int(api("host.compute_free_memory", one))
    filler, late, early = machines(api, "Halted")[:3]
    for vm, host in ((filler, one), (late, two), (early, two)):
        api("VM.set_memory", vm, free * 2 // 5)
        api("VM.start_on", vm, host, False, True)
    api("pool.enable_ha", [], {})
    for vm, number in ((late, 5), (early, 4)):
        api("VM.set_ha_restart_priority", vm, "restart")
        api("VM.set_order", vm, number)
    same("no host may fail", api("pool.ha_compute_max_host_failures_to_tolerate"), 0)
    api("pool.set_ha_host_failures_to_tolerate", pool, 1)
    same("who wants it all the same has promised too much", [api.get("pool", pool, f) for f in ("ha_plan_exists_for", "ha_overcommitted")], [0, True])
    same("and is told so once", len([a for a in alerts(api) if a[0] == "HA_POOL_OVERCOMMITTED"]), 1)
    fault(api, "host=2,dead")
    failed = lambda: [a for a in alerts(api) if a[0] == "HA_PROTECTED_VM_RESTART_FAILED"]
    api.until(failed)
    same("the order decides who gets the room", [state(api, early), state(api, late)], ["Running", "Halted"])
    same("and an alert names the other", [a[1] for a in failed()], [uuid(api, "VM", late)])

def master(api, second):
    """The master fails: another one takes over and starts what ran there."""
    for vm in machines(api, "Running"):
        api("VM.hard_shutdown", vm)
    vm = machines(api, "Halted")[0]
    api("VM.start_on", vm, host_of(api, 1), False, True)
    api("VM.set_ha_restart_priority", vm, "restart")
    api("pool.enable_ha", [], {})
    fault(api, "host=1,dead")
    def again():
        try:
            return Pool(second)
        except Exception:
            return None
    api.until(again)
    new = again()
    same("another host is the master", new.get("pool", new("pool.get_all")[0], "master"), host_of(new, 2))
    new.until(lambda: runs_off(new, vm, host_of(new, 1)))
    ok("and the machine of the old one runs elsewhere", True)

name, url = sys.argv[1:3]
api = Pool(url)
{"order": order, "crowd": crowd}[name](api) if name != "master" else master(api, sys.argv[3])
done()
PYTHON

export PYTHONPATH="$XENKIT_SOURCE/src/rooms/sim" PYTHONDONTWRITEBYTECODE=1
for story in order crowd master; do
    hosts=3
    [ $story != crowd ] || hosts=2
    start --hosts $hosts --vms 12 --speed 60 --gc-interval 5s
    run timeout 250 python3 ha.py $story "$url" "$slave"
    sed -n 's/^not ok [0-9]* - //p; s/^# /  /p' "$out" | while read -r line; do diag "$line"; done
    is "$story: the statements hold" "$(grep -c '^not ok' "$out") $status $(cat "$err")" "0 0 "
    stop
    is "$story: the pool ends, with nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0
done
done_testing
