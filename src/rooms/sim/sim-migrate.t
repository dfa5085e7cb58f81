# Machines that go from one simulated pool to another: two servers, and the calls that XenCenter or Xen Orchestra make.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3

cat >migrate.py <<'PYTHON'
import base64, hashlib, http.client, json, random, sys, time
from poolclient import *
here, there = Pool(sys.argv[1]), Pool(sys.argv[2])
machines = {r: v for r, v in here("VM.get_all_records").items() if not v["is_a_template"] and not v["is_control_domain"]}
running, halted = ([r for r, v in machines.items() if v["power_state"] == p] for p in ("Running", "Halted"))
host = there("host.get_all")[1]
sr = [r for r, s in there("SR.get_all_records").items() if s["type"] == "nfs"][0]
management = there.get("PIF", [r for r, p in there("PIF.get_all_records").items() if p["host"] == host and p["management"]][0], "network")

def disks(api, vm): return [b["VDI"] for b in api("VBD.get_all_records").values() if b["VM"] == vm and b["type"] == "Disk"]
def dest(): return there("host.migrate_receive", host, management, {})
def maps(vm): return {d: sr for d in disks(here, vm)}, {v: management for v in here.get("VM", vm, "VIFs")}
def look(api, vm):
    """What a machine is, without what each pool calls it."""
    r = api("VM.get_record", vm)
    kept = {k: r[k] for k in ("uuid", "name_label", "memory_static_max", "VCPUs_max", "power_state", "other_config", "platform", "HVM_boot_params")}
    kept["disks"] = sorted((api.get("VDI", d, "virtual_size"), api.get("VDI", d, "name_label")) for d in disks(api, vm))
    kept["MACs"] = sorted(api.get("VIF", v, "MAC") for v in r["VIFs"])
    return kept
def counts(api): return [len(api(k + ".get_all")) for k in ("VM", "VDI", "VBD", "VIF", "VM_metrics")]

vm = running[0]
vdis, vifs = maps(vm)
send = lambda *args: here.error("VM.migrate_send", *args)
same("a disk that goes nowhere", send(vm, dest(), True, {}, vifs, {}), ["VDI_NOT_IN_MAP", disks(here, vm)[0]])
same("a card that goes nowhere", send(vm, dest(), True, vdis, {}, {}), ["VIF_NOT_IN_MAP", here.get("VM", vm, "VIFs")[0]])
same("storage that is not there", send(vm, dest(), True, {d: "OpaqueRef:x" for d in vdis}, vifs, {}), ["HANDLE_INVALID", "SR", "OpaqueRef:x"])
same("a network that is not there", here.error("VM.assert_can_migrate", vm, dest(), True, vdis, {v: "OpaqueRef:x" for v in vifs}, {}), ["HANDLE_INVALID", "network", "OpaqueRef:x"])
same("a copy of what runs", send(vm, dest(), True, vdis, vifs, {"copy": "true"}), ["VM_BAD_POWER_STATE", vm, "halted", "running"])
local = [r for r, s in there("SR.get_all_records").items() if s["name_label"] == "Local storage 1"][0]
same("storage that the host does not see", here.error("VM.assert_can_migrate", vm, dest(), True, {d: local for d in vdis}, vifs, {}), ["HOST_CANNOT_SEE_SR", host, local])
same("a session of nobody", send(vm, dict(dest(), xenops=dest()["xenops"].rsplit("=", 1)[0] + "=OpaqueRef:none"), True, vdis, vifs, {})[0], "CANNOT_CONTACT_HOST")
same("a pool that is not there", send(vm, dict(dest(), xenops="http://127.0.0.1:9/services/xenops"), True, vdis, vifs, {}), ["CANNOT_CONTACT_HOST", "127.0.0.1"])
there("host.disable", host)
same("a host that takes none", send(vm, dest(), True, vdis, vifs, {}), ["HOST_DISABLED", host])
there("host.enable", host)
same("what may go may go", here.error("VM.assert_can_migrate", vm, dest(), True, vdis, vifs, {}), None)

before, was = counts(there), look(here, vm)
with here.held("VM.migrate_send"):
    task = here.ask("Async.VM.migrate_send", here.session, vm, dest(), True, vdis, vifs, {})
    here.until(lambda: "cancel" in here.get("task", task, "allowed_operations"))
    here("task.cancel", task)
same("a move that is given up", here.wait(task)["status"], "cancelled")
same("leaves nothing there", counts(there), before)
same("and the machine here", here.get("VM", vm, "power_state"), "Running")

here("VM.snapshot", vm, "before")
began = time.monotonic()
task = here.ask("Async.VM.migrate_send", here.session, vm, dest(), True, vdis, vifs, {})
record = here.wait(task)
ok("a move takes its time", 3 <= (time.monotonic() - began) * 2, time.monotonic() - began)
same("and is done", [record["status"], record["error_info"]], ["success", []])
new = record["result"][len("<value>"):-len("</value>")]
same("the machine is there as it was", look(there, new), was)
same("and runs", there.get("VM", new, "resident_on"), host)
same("its disks on their storage", [there.get("VDI", d, "SR") for d in disks(there, new)], [sr] * len(vdis))
same("with its snapshot", [there.get("VM", s, "name_label") for s in there.get("VM", new, "snapshots")], ["before"])
snapshot = there.get("VM", new, "snapshots")[0]
same("whose disks are those of its disks", sorted(there.get("VDI", d, "snapshot_of") for d in disks(there, snapshot)), sorted(disks(there, new)))
same("nothing of it is left here", [here.error("VM.get_record", vm), here.error("VDI.get_record", list(vdis)[0])], [["HANDLE_INVALID", "VM", vm], ["HANDLE_INVALID", "VDI", list(vdis)[0]]])
there("VM.hard_shutdown", new)
there("VM.start", new, False, False)

vm = halted[0]
vdis, vifs = maps(vm)
copy = here("VM.migrate_send", vm, dest(), True, vdis, vifs, {"copy": "true"})
same("a copy is another machine", there.get("VM", copy, "uuid") != here.get("VM", vm, "uuid"), True)
same("of the same kind", {k: v for k, v in look(there, copy).items() if k != "uuid"}, {k: v for k, v in look(here, vm).items() if k != "uuid"})
there.ask("VM.migrate_send", there.session, copy, here("host.migrate_receive", here("host.get_all")[0], here.get("PIF", [r for r, p in here("PIF.get_all_records").items() if p["management"]][0], "network"), {}), True, {d: [r for r, s in here("SR.get_all_records").items() if s["type"] == "nfs"][0] for d in disks(there, copy)}, {v: here("network.get_all")[0] for v in there.get("VM", copy, "VIFs")}, {})
same("and comes back", len(here("VM.get_by_name_label", here.get("VM", vm, "name_label"))), 2)
vm = halted[1]
record = dict(here("VDI.get_record", disks(here, vm)[0]), name_label="data", virtual_size=3 << 20)
disk = here("VDI.create", record)
bytes = random.Random(1).randbytes(1 << 20) + b"\0" * (1 << 20) + b"end" * 1000
put = http.client.HTTPConnection(sys.argv[1][len("http://"):])
for at in range(0, len(bytes), 150000):
    piece = base64.b64encode(bytes[at:at + 150000]).decode()
    put.request("POST", "/services/SM?session_id=" + here.session, json.dumps({"VDI": disk, "start": at, "data": piece}))
    reply = put.getresponse()
    reply.read()
same("a disk that holds something", reply.status, 200)
sum = hashlib.md5(bytes.ljust(int(here.get("VDI", disk, "virtual_size")), b"\0")).hexdigest()
same("has its sum", here("VDI.checksum", disk), sum)
here("VBD.create", {"VM": vm, "VDI": disk, "userdevice": "7", "bootable": False, "mode": "RW", "type": "Disk", "empty": False, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}})
vdis, vifs = maps(vm)
here("VM.migrate_send", vm, dest(), True, vdis, vifs, {})
same("one that is halted goes, too", [len(p("VM.get_by_uuid", machines[vm]["uuid"]) if not p.error("VM.get_by_uuid", machines[vm]["uuid"]) else "") > 0 for p in (here, there)], [False, True])
same("with what its disks hold", [there("VDI.checksum", d) for d in disks(there, there("VM.get_by_uuid", machines[vm]["uuid"])) if there.get("VDI", d, "name_label") == "data"], [sum])
done()
PYTHON

export PYTHONPATH="$XENKIT_SOURCE/src/rooms/sim" PYTHONDONTWRITEBYTECODE=1
start --hosts 2 --vms 6 --speed 2
first=$pid away=$url
on_exit kill -KILL "$first"
start --hosts 2 --vms 0 --speed 2
run timeout 280 python3 migrate.py "$away" "$url"
sed -n 's/^not ok [0-9]* - //p; s/^# /  /p' "$out" | while read -r line; do diag "$line"; done
is "the statements about moves hold" "$(grep -c '^not ok' "$out") $status $(cat "$err")" "0 0 "
ok "and there are many" test "$(grep -c '^ok' "$out")" -gt 20
is "a document that is none" "$(status -X POST --data-binary '{' "$url/services/xenops?session_id=$(login | tr -d '"')")" 400
is "nobody asks without a session" "$(status -X POST --data-binary '{}' "$url/services/xenops")" 401
stop
is "the one pool ends, with nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0
kill -TERM "$first" && wait "$first"
is "and so does the other" $? 0
done_testing
