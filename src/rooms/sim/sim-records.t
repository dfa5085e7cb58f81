# A pool's records hang together whatever is done to it: refs lead somewhere, relations have both ends, and a machine
# has what its state says, after a host with all that hangs on it has gone, and after a crowd did everything at once.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3
export PYTHONPATH="$XENKIT_SOURCE/src/rooms/sim" PYTHONDONTWRITEBYTECODE=1

cat >host.py <<'PYTHON'
from poolclient import *
api = Pool(sys.argv[1])
none = "OpaqueRef:NULL"
device = {"other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}}
pool = api("pool.get_all")[0]
master = api.get("pool", pool, "master")
host, other = [h for h in api("host.get_all") if h != master][:2]
plain = {r: v for r, v in api("VM.get_all_records").items() if not v["is_a_template"] and not v["is_control_domain"]}
halted = [r for r, v in plain.items() if v["power_state"] == "Halted"]
local = next(r for r, s in api("SR.get_all_records").items()
             if not s["shared"] and [api.get("PBD", b, "host") for b in s["PBDs"]] == [host])

# ---- a disk that a machine has twice ----
twice = next(v["VDI"] for v in api("VBD.get_all_records").values() if v["VM"] == halted[3] and v["type"] == "Disk")
api("VBD.create", dict(device, VM=halted[3], VDI=twice, userdevice="6", bootable=False, mode="RO", type="Disk", empty=False))
snapshot = api("VM.snapshot", halted[3], "of one disk twice")
same("it is reverted to what it was", [api.error("VM.revert", snapshot), len(api.get("VM", halted[3], "VBDs"))], [None, len(api.get("VM", snapshot, "VBDs"))])
same("the old disk is gone", api.error("VDI.get_uuid", twice), ["HANDLE_INVALID", "VDI", twice])
api("VM.destroy", snapshot)
hangs_together(api)

# ---- all that can name a host and its storage ----
for field in ("default_SR", "suspend_image_SR", "crash_dump_SR"):
    api("pool.set_" + field, pool, local)
for field in ("suspend_image_sr", "crash_dump_sr"):
    api("host.set_" + field, master, local)
for vm in plain:
    api("VM.set_affinity", vm, host)
api("VM.set_suspend_SR", halted[0], local)
disk = api("VDI.create", {"name_label": "there", "SR": local, "virtual_size": 8 << 20, "type": "user", "sharable": False, "read_only": True, "other_config": {}})
api("VBD.create", dict(device, VM=halted[0], VDI=disk, userdevice="7", bootable=False, mode="RO", type="Disk", empty=False))
drive = api("VBD.create", dict(device, VM=halted[1], VDI=disk, userdevice="8", bootable=False, mode="RO", type="CD", empty=False))
api("VM.snapshot", halted[0], "with that disk")
sleeper = api("VM.clone", halted[2], "sleeper")
api("VM.start", sleeper, False, False)
api("VM.suspend", sleeper)
same("its memory is there", api.get("VDI", api.get("VM", sleeper, "suspend_VDI"), "SR"), local)
api("host.evacuate", host)
pifs = [r for r, p in api("PIF.get_all_records").items() if p["host"] == host and p["physical"]]
def network(name): return api("network.create", {"name_label": name, "other_config": {}})
bond = api("Bond.create", network("both"), pifs, "", "balance-slb", {})
above = api.get("Bond", bond, "master")
api("pool.create_VLAN_from_PIF", above, network("tagged"), 77)
site = api("PVS_site.introduce", "site", "", "uuid")
api("host.create_new_blob", host, "blob", "", False)
hangs_together(api)

# ---- it goes ----
same("it is ejected", api.error("pool.eject", host), None)
same("no pool's default is lost", [api.get("pool", pool, f) for f in ("default_SR", "suspend_image_SR", "crash_dump_SR")], [none] * 3)
same("no host's either", [api.get("host", master, f) for f in ("suspend_image_sr", "crash_dump_sr")], [none] * 2)
same("nor a machine's", {api.get("VM", v, "affinity") for v in plain} | {api.get("VM", halted[0], "suspend_SR"), api.get("VM", sleeper, "suspend_VDI")}, {none})
same("the drive is empty", [api.get("VBD", drive, f) for f in ("empty", "VDI")], [True, none])
same("its bond is gone", api("Bond.get_all"), [])
hangs_together(api)

# ---- so does what it was on, one by one ----
for sr, record in api("SR.get_all_records").items():
    if record["type"] in ("nfs", "lvmoiscsi") and record["VDIs"]:
        for vm in plain:
            if api.get("VM", vm, "power_state") == "Running":
                api("VM.hard_shutdown", vm)
        for pbd in record["PBDs"]:
            api.error("PBD.unplug", pbd)
        same("storage is forgotten", api.error("SR.forget", sr), None)
        hangs_together(api)
done()
PYTHON

cat >crowd.py <<'PYTHON'
import random, threading
from poolclient import *
CLIENTS, CALLS = 200, 8
api = Pool(sys.argv[1])
none = "OpaqueRef:NULL"
device = {"other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}}
clients = [Pool(sys.argv[1]) for _ in range(CLIENTS)]
odd, answers = [], []

def one(client, random):
    vms, vdis, vbds, vifs, srs, networks, hosts, tasks, snapshots = ([], ) * 9
    for number in range(CALLS):
        if number % 4 == 0:
            everything = client("VM.get_all_records")
            vms = [r for r, v in everything.items() if not v["is_control_domain"]]
            snapshots = [r for r, v in everything.items() if v["is_a_snapshot"]] or vms
            vdis, vbds, vifs, srs, networks, hosts, tasks = (client(k + ".get_all") for k in ("VDI", "VBD", "VIF", "SR", "network", "host", "task"))
        one_of = random.choice
        vm = one_of(vms)
        method, *params = one_of([
            ("VM.start", vm, False, True), ("VM.hard_shutdown", vm), ("VM.clean_reboot", vm), ("VM.suspend", vm),
            ("VM.resume", vm, False, True), ("VM.pause", vm), ("VM.unpause", vm), ("VM.snapshot", vm, "s"), ("VM.checkpoint", vm, "c"),
            ("VM.revert", one_of(snapshots)), ("VM.clone", vm, "clone"), ("VM.copy", vm, "copy", one_of(srs)), ("VM.destroy", vm),
            ("VM.destroy", one_of(snapshots)), ("VM.pool_migrate", vm, one_of(hosts), {"live": "true"}), ("VM.provision", vm),
            ("VM.power_state_reset", vm), ("VM.set_is_a_template", vm, random.random() < 0.5), ("VDI.destroy", one_of(vdis)),
            ("VDI.snapshot", one_of(vdis), {}), ("VDI.clone", one_of(vdis), {}), ("VDI.copy", one_of(vdis), one_of(srs)),
            ("VBD.create", dict(device, VM=vm, VDI=one_of(vdis), userdevice="autodetect", bootable=False, mode="RW", type="Disk", empty=False)),
            ("VIF.create", dict(device, VM=vm, network=one_of(networks), device=str(random.randint(0, 6)), MAC="", MTU=1500)),
            ("VBD.plug", one_of(vbds)), ("VBD.unplug", one_of(vbds)), ("VBD.destroy", one_of(vbds)), ("VIF.unplug", one_of(vifs)),
            ("VIF.destroy", one_of(vifs)), ("VTPM.create", vm, False), ("VM.create_new_blob", vm, "b", "", False),
            ("task.cancel", one_of(tasks or [none])), ("host.disable", one_of(hosts)), ("host.enable", one_of(hosts)), ("host.evacuate", one_of(hosts)),
        ])
        wait = random.random() < 0.3 or method in ("task.cancel", "VBD.create", "VIF.create")
        answers.append(client.error(method if wait else "Async." + method, *params))

def guarded(*args):
    try:
        one(*args)
    except Exception as e:
        odd.append(repr(e))

threads = [threading.Thread(target=guarded, args=(c, random.Random(n))) for n, c in enumerate(clients)]
for t in threads:
    t.start()
for t in threads:
    t.join()
same("each call is answered", [len(answers), odd], [CLIENTS * CALLS, []])
ok("not by refusals alone", answers.count(None) > len(answers) // 4, answers.count(None))
api.until(lambda: all(t["status"] not in ("pending", "cancelling") for t in api("task.get_all_records").values()))
done()
PYTHON
statements() {
    run timeout 120 python3 "$1" "$url"
    grep -v '^ok' "$out" "$err" | cut -c 1-2000 | head -n 30 | while read -r line; do diag "$line"; done
    is "$2" "$status $(grep -c '^not ok' "$out")" "0 0"
}

start --hosts 4 --vms 12 --speed 20
statements host.py "a host goes, and nothing names it"
stop
is "the pool ends, with nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0
start --hosts 3 --vms 20 --speed 20
statements crowd.py "200 clients change machines at once"
stop
is "so does that of the crowd" "$sim_status$(cat "$tmp/sim.err")" 0
done_testing
