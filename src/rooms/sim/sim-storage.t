# Storage of the simulated pool: disks, devices of machines, storage repositories and the ways to them.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3

cat >storage.py <<'PYTHON'
import sys
from poolclient import *
api = Pool(sys.argv[1])
none = "OpaqueRef:NULL"
M, G = 1 << 20, 1 << 30
hosts = api("host.get_all")
srs = api("SR.get_all_records")
nfs = next(s for s, v in srs.items() if v["type"] == "nfs")
local = next(s for s, v in srs.items() if v["type"] == "ext" and any(api.get("PBD", b, "host") == hosts[0] for b in v["PBDs"]))
isos = next(s for s, v in srs.items() if v["type"] == "iso" and not v["is_tools_sr"])
vms = api("VM.get_all_records")
plain = [r for r, v in vms.items() if not v["is_a_template"] and not v["is_control_domain"]]
halted = next(r for r in plain if vms[r]["power_state"] == "Halted")
running = next(r for r in plain if vms[r]["power_state"] == "Running")

def allowed(kind, ref): return set(api.get(kind, ref, "allowed_operations"))
def disk(**more):
    return dict({"SR": nfs, "virtual_size": str(3 * G), "type": "user", "sharable": False, "read_only": False, "other_config": {}}, **more)
def vbd(vm, vdi, **more):
    return dict({"VM": vm, "VDI": vdi, "userdevice": "autodetect", "bootable": False, "mode": "RW", "type": "Disk", "unpluggable": True,
                 "empty": False, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}}, **more)
def number(kind, ref, field): return int(api.get(kind, ref, field))
def allocated(): return number("SR", nfs, "virtual_allocation")

# ---- disks: making ----
before = allocated()
vdi = api("VDI.create", disk(name_label="one"))
record = api("VDI.get_record", vdi)
same("a new disk", [record[f] for f in ("name_label", "SR", "type", "managed", "is_a_snapshot", "VBDs", "on_boot", "cbt_enabled")],
     ["one", nfs, "user", True, False, [], "persist", False])
same("it is on its SR", [vdi in api.get("SR", nfs, "VDIs"), allocated() - before], [True, 3 * G])
same("what it allows", allowed("VDI", vdi), {"clone", "copy", "resize", "snapshot", "destroy", "forget", "update", "generate_config"})
odd = api("VDI.create", disk(virtual_size=str(3 * M + 1)))
same("sizes are rounded up", number("VDI", odd, "virtual_size"), 4 * M)
same("a size too large", api.error("VDI.create", disk(virtual_size=str(1 << 60)))[0], "SR_BACKEND_FAILURE_79")
same("a size below zero", api.error("VDI.create", disk(virtual_size="-1"))[0], "SR_BACKEND_FAILURE_79")
same("an SR of ISOs", api.error("VDI.create", disk(SR=isos))[0], "SR_OPERATION_NOT_SUPPORTED")
same("an SR that is none", api.error("VDI.create", disk(SR="OpaqueRef:none")), ["HANDLE_INVALID", "SR", "OpaqueRef:none"])
same("a type that is none", api.error("VDI.create", disk(type="odd"))[0], "INTERNAL_ERROR")
same("no fields", api.error("VDI.create", {}), ["INTERNAL_ERROR", 'Server_helpers.Dispatcher_FieldNotFound("SR")'])
same("larger than the storage is fine where it is thin", api.error("VDI.create", disk(virtual_size=str(2000 * G))), None)

# ---- disks: size ----
api("VDI.resize", vdi, str(5 * G))
same("it grows", number("VDI", vdi, "virtual_size"), 5 * G)
same("it does not shrink", api.error("VDI.resize", vdi, str(G))[:1], ["SR_BACKEND_FAILURE_79"])
same("and did not", number("VDI", vdi, "virtual_size"), 5 * G)
same("no driver resizes a disk in use", api.error("VDI.resize_online", vdi, str(9 * G)), ["SR_OPERATION_NOT_SUPPORTED", nfs])
used = api.get("VBD", next(b for b in vms[running]["VBDs"] if api.get("VBD", b, "type") == "Disk"), "VDI")
same("a disk in use is not resized", api.error("VDI.resize", used, str(99 * G)), ["VDI_IN_USE", used, "resize"])
same("nor destroyed", api.error("VDI.destroy", used), ["VDI_IN_USE", used, "destroy"])
same("but snapshots can be made", "snapshot" in allowed("VDI", used), True)

# ---- disks: copies ----
snapshot = api("VDI.snapshot", vdi, {})
record = api("VDI.get_record", snapshot)
same("a snapshot", [record["is_a_snapshot"], record["snapshot_of"], record["name_label"], record["virtual_size"]], [True, vdi, "one", 5 * G])
same("its disk knows it", api.get("VDI", vdi, "snapshots"), [snapshot])
clone = api("VDI.clone", snapshot, {})
same("a clone is none", [api.get("VDI", clone, "is_a_snapshot"), api.get("VDI", clone, "snapshot_of")], [False, none])
with api.held("VDI.copy"):
    task = api("Async.VDI.copy", vdi, local, none, none)
    same("a copy is seen", list(api.get("VDI", vdi, "current_operations").values()), ["copy"])
record = api.wait(task)
copy = record["result"][len("<value>"):-len("</value>")]
same("and is on the other SR", [record["status"], api.get("VDI", copy, "SR"), api.get("VDI", vdi, "current_operations")], ["success", local, {}])
small = api("VDI.create", disk(virtual_size=str(G)))
same("into a smaller disk", api.error("VDI.copy", vdi, none, none, small), ["VDI_TOO_SMALL", small, str(5 * G)])
same("into one that is large enough", api("VDI.copy", small, none, none, vdi), vdi)
same("to an SR that takes none", api.error("VDI.copy", small, isos, none, none)[0], "SR_OPERATION_NOT_SUPPORTED")
same("a disk without a machine does not move", api.error("VDI.pool_migrate", small, local, {}), ["VDI_NEEDS_VM_FOR_MIGRATE", small])
count = len(api("VDI.get_all"))
with api.held("VDI.copy"):
    task = api("Async.VDI.copy", vdi, local, none, none)
    api("task.cancel", task)
same("a cancelled copy leaves nothing", [api.wait(task)["status"], len(api("VDI.get_all"))], ["cancelled", count])

# ---- changed blocks ----
same("a disk that is not tracked", api.error("VDI.list_changed_blocks", snapshot, vdi)[0], "SR_BACKEND_FAILURE_460")
api("VDI.enable_cbt", vdi)
same("is tracked", [api.get("VDI", vdi, "cbt_enabled"), "copy" in allowed("VDI", vdi)], [True, True])
tracked = api("VDI.snapshot", vdi, {})
same("so are its snapshots", api.get("VDI", tracked, "cbt_enabled"), True)
same("nothing was written since", set(api("VDI.list_changed_blocks", tracked, vdi).rstrip("=")), {"A"})
same("the other way round", api.error("VDI.list_changed_blocks", tracked, small)[0], "SR_BACKEND_FAILURE_460")
same("only of snapshots the data may go", api.error("VDI.data_destroy", vdi), ["OPERATION_NOT_ALLOWED", "VDI is not a snapshot: " + vdi])
same("that are tracked", api.error("VDI.data_destroy", snapshot), ["VDI_NO_CBT_METADATA", snapshot])
api("VDI.data_destroy", tracked)
same("then the map is left", api.get("VDI", tracked, "type"), "cbt_metadata")
same("which is no disk", [api.error("VDI.clone", tracked, {}), api.error("VBD.create", vbd(halted, tracked))],
     [["VDI_INCOMPATIBLE_TYPE", tracked, "cbt_metadata"]] * 2)
same("a snapshot has no switch for it", api.error("VDI.enable_cbt", snapshot), ["OPERATION_NOT_ALLOWED", "VDI is a snapshot: " + snapshot])
api("VDI.disable_cbt", vdi)
same("nobody serves disks by network", api("VDI.get_nbd_info", vdi), [])

# ---- what only drivers do ----
for name, value in (("managed", True), ("read_only", True), ("virtual_size", "1"), ("sharable", True)):
    same("not for clients: " + name, api.error("VDI.set_" + name, vdi, value), ["PERMISSION_DENIED", ""])
same("a volume nobody has", api.error("VDI.introduce", "", "x", "", nfs, "user", False, False, {}, "nowhere", {}, {}, True, "0", "0", none, False, "19700101T00:00:00Z", none)[0],
     "SR_OPERATION_NOT_SUPPORTED")

# ---- devices ----
one = api("VBD.create", vbd(halted, vdi))
same("a device of a halted machine", [api.get("VBD", one, "currently_attached"), api.get("VDI", vdi, "VBDs"), one in api.get("VM", halted, "VBDs")], [False, [one], True])
same("cannot be plugged", api.error("VBD.plug", one), ["VM_BAD_POWER_STATE", halted, "running", "halted"])
device = api.get("VBD", one, "userdevice")
same("one place for one device", api.error("VBD.create", vbd(halted, small, userdevice=device)), ["DEVICE_ALREADY_EXISTS", device])
same("a place that is none", api.error("VBD.create", vbd(halted, small, userdevice="sausage")), ["INVALID_DEVICE", "sausage"])
same("places left", device in api("VM.get_allowed_VBD_devices", halted), False)
same("a CD is read only", api.error("VBD.create", vbd(halted, small, type="CD")), ["VBD_CDS_MUST_BE_READONLY"])
same("a disk is there", api.error("VBD.create", vbd(halted, none, empty=True)), ["VBD_NOT_REMOVABLE_MEDIA", "in constructor"])
iso = api.get("SR", isos, "VDIs")
same("an ISO is not written to", api.error("VBD.create", vbd(halted, iso[0])), ["VDI_READONLY", iso[0]])
cd = api("VBD.create", vbd(halted, none, empty=True, type="CD", mode="RO"))
same("an empty drive", [api.get("VBD", cd, "empty"), api.error("VBD.eject", cd)], [True, ["VBD_IS_EMPTY", cd]])
api("VBD.insert", cd, iso[0])
same("takes a disc", [api.get("VBD", cd, "VDI"), api.get("VBD", cd, "empty")], [iso[0], False])
same("only one", api.error("VBD.insert", cd, iso[1]), ["VBD_NOT_EMPTY", cd])
api("VBD.eject", cd)
same("and gives it back", [api.get("VBD", cd, "VDI"), api.get("VBD", cd, "empty"), api.get("VDI", iso[0], "VBDs")], [none, True, []])
same("a disk does not come out", api.error("VBD.eject", one), ["VBD_NOT_REMOVABLE_MEDIA", one])
live = api("VBD.create", vbd(running, small))
api("VBD.plug", live)
same("a device is plugged", [api.get("VBD", live, "currently_attached"), allowed("VBD", live) >= {"unplug"}, "plug" in allowed("VBD", live)], [True, True, False])
same("once", api.error("VBD.plug", live), ["DEVICE_ALREADY_ATTACHED", live])
same("and stays", api.error("VBD.destroy", live)[0], "OPERATION_NOT_ALLOWED")
same("its disk, too", api.error("VDI.destroy", small), ["VDI_IN_USE", small, "destroy"])
second = api("VBD.create", vbd(halted, small))
same("another machine may not start with it", api.error("VM.start", halted, False, False), ["VDI_IN_USE", small, "attach"])
api("VBD.destroy", second)
api("VBD.unplug", live)
same("it is unplugged", api.get("VBD", live, "currently_attached"), False)
same("not twice", api.error("VBD.unplug", live), ["DEVICE_ALREADY_DETACHED", live])
api("VBD.destroy", live)
api("VDI.set_on_boot", vdi, "reset")
same("a disk that is reset at each start", [api.get("VDI", vdi, "on_boot"), "snapshot" in allowed("VDI", vdi)], ["reset", False])
api("VBD.destroy", one)
api("VBD.destroy", cd)
api("VDI.destroy", vdi)
same("a destroyed disk is gone", [api.error("VDI.get_record", vdi), vdi in api.get("SR", nfs, "VDIs")], [["HANDLE_INVALID", "VDI", vdi], False])
same("its snapshots are not", api.get("VDI", snapshot, "is_a_snapshot"), True)
api("VDI.forget", small)
same("a forgotten one is", api.error("VDI.get_uuid", small)[0], "HANDLE_INVALID")

# ---- storage repositories ----
def sr(kind, config, shared=True): return [hosts[0], config, str(100 * G), "new", "", kind, "user", shared, {}]
same("a driver that is none", api.error("SR.create", *sr("punchcards", {})), ["SR_UNKNOWN_DRIVER", "punchcards"])
for kind, config, code in (("nfs", {}, 102), ("nfs", {"server": "a"}, 101), ("ext", {}, 90), ("lvm", {}, 90), ("lvmoiscsi", {}, 95),
                           ("lvmoiscsi", {"target": "a"}, 96), ("lvmoiscsi", {"target": "a", "targetIQN": "b"}, 107), ("iso", {}, 220)):
    same("a configuration that lacks something: %s %d" % (kind, code), api.error("SR.create", *sr(kind, config))[0], "SR_BACKEND_FAILURE_%d" % code)
    same("also to a probe: %s %d" % (kind, code), api.error("SR.probe", hosts[0], config, kind, {})[0], "SR_BACKEND_FAILURE_%d" % code)
config = {"server": "filer", "serverpath": "/vol", "cifspassword": "sesame"}
count = len(api("secret.get_all"))
new = api("SR.create", *sr("NFS", config))
pbds = api.get("SR", new, "PBDs")
same("a shared one is everywhere", [len(pbds), all(api.get("PBD", b, "currently_attached") for b in pbds), api.get("SR", new, "type")], [len(hosts), True, "nfs"])
same("passwords become secrets", ["cifspassword" in api.get("PBD", pbds[0], "device_config"),
     api.get("secret", api("secret.get_by_uuid", api.get("PBD", pbds[0], "device_config")["cifspassword_secret"]), "value")], [False, "sesame"])
same("a probe finds it", api.get("SR", new, "uuid") in api("SR.probe", hosts[0], {"server": "filer", "serverpath": "/vol"}, "nfs", {}), True)
same("but not elsewhere", api.get("SR", new, "uuid") in api("SR.probe", hosts[0], {"server": "filer", "serverpath": "/no"}, "nfs", {}), False)
same("it has the types of the pool", set(api("SR.get_supported_types")), {v["type"] for v in api("SM.get_all_records").values()})
inside = api("VDI.create", disk(SR=new))
same("plugged it stays", [api.error("SR.destroy", new), api.error("SR.forget", new)], [["SR_HAS_PBD", new]] * 2)
same("a PBD for a host is one", api.error("PBD.create", {"host": hosts[0], "SR": new, "device_config": {}})[0:3], ["PBD_EXISTS", new, hosts[0]])
same("a plugged one stays", api.error("PBD.destroy", pbds[0])[0], "OPERATION_NOT_ALLOWED")
used_by = api("VBD.create", vbd(running, inside))
api("VBD.plug", used_by)
where = next(b for b in pbds if api.get("PBD", b, "host") == api.get("VM", running, "resident_on"))
same("one with disks in use, too", api.error("PBD.unplug", where), ["VDI_IN_USE", inside, "unplug"])
api("VBD.unplug", used_by)
for b in pbds:
    api("PBD.unplug", b)
same("without a way", [api.error("SR.scan", new), api.error("VDI.create", disk(SR=new)), api.error("VDI.clone", inside, {})], [["SR_HAS_NO_PBDS", new]] * 3)
same("a machine does not start without its disk", (api("VBD.create", vbd(halted, inside)), api.error("VM.start", halted, False, False))[1][0], "NO_HOSTS_AVAILABLE")
same("with disks it is not destroyed", api.error("SR.destroy", new), ["SR_NOT_EMPTY"])
uuid = api.get("SR", new, "uuid")
api("SR.forget", new)
same("but forgotten", [api.error("SR.get_uuid", new)[0], api.error("VDI.get_uuid", inside)[0], len(api("secret.get_all"))], ["HANDLE_INVALID", "HANDLE_INVALID", count])
again = api("SR.introduce", uuid, "again", "", "nfs", "user", True, {})
same("and introduced", [api.get("SR", again, "uuid"), api.get("SR", again, "physical_size")], [uuid, -1])
same("once", api.error("SR.introduce", uuid, "again", "", "nfs", "user", True, {}), ["SR_UUID_EXISTS", uuid])
same("without PBDs it is not destroyed", api.error("SR.destroy", again), ["SR_HAS_NO_PBDS", again])
way = api("PBD.create", {"host": hosts[1], "SR": again, "device_config": {"server": "filer", "serverpath": "/vol"}})
same("a PBD is not plugged yet", api.get("PBD", way, "currently_attached"), False)
api("PBD.plug", way)
same("a shared one is held by all or it is not", [api.error("SR.assert_supports_database_replication", again), api("SR.get_live_hosts", again)], [["SR_HAS_NO_PBDS", again], [hosts[1]]])
api("SR.scan", again)
api("PBD.unplug", way)
api("SR.destroy", again)
same("an empty one is destroyed, with its PBDs", api.error("PBD.get_uuid", way)[0], "HANDLE_INVALID")
one = api("SR.create", *sr("ext", {"device": "/dev/sdz"}, False))
same("a local one has one way", len(api.get("SR", one, "PBDs")), 1)
way = api("PBD.create", {"host": hosts[1], "SR": one, "device_config": {}})
same("and no more", api.error("PBD.plug", way), ["SR_NOT_SHARABLE", one, hosts[0]])
thick = api("SR.create", *sr("lvm", {"device": "/dev/sdy"}, False))
fat = api("VDI.create", disk(SR=thick, virtual_size=str(60 * G)))
same("a thick disk takes all of its size", number("SR", thick, "physical_utilisation"), 60 * G)
same("and there is no room for two", api.error("VDI.create", disk(SR=thick, virtual_size=str(60 * G)))[0], "SR_BACKEND_FAILURE_44")
same("nor to grow", api.error("VDI.resize", fat, str(120 * G))[0], "SR_BACKEND_FAILURE_44")
api("VDI.destroy", fat)
same("destroyed it gives it back", number("SR", thick, "physical_utilisation"), 0)
same("answers in records", api.error("SR.probe_ext", hosts[0], {}, "nfs", {})[0], "SR_OPERATION_NOT_SUPPORTED")
done()
PYTHON

start
PYTHONPATH="$XENKIT_SOURCE/src/rooms/sim" PYTHONDONTWRITEBYTECODE=1 run timeout 280 python3 storage.py "$url"
sed -n 's/^not ok [0-9]* - //p; s/^# /  /p' "$out" | while read -r line; do diag "$line"; done
is "the statements hold" "$(grep -c '^not ok' "$out") $status $(cat "$err")" "0 0 "
ok "and there are many" test "$(grep -c '^ok' "$out")" -ge 110
stop
is "the pool ends, with nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0
done_testing
