# Machines of the simulated pool: what may be done in which state, what changes, what is left behind.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3

cat >machines.py <<'PYTHON'
import sys
from poolclient import *
api = Pool(sys.argv[1])
none = "OpaqueRef:NULL"
vms = api("VM.get_all_records")
plain = {r: v for r, v in vms.items() if not v["is_a_template"] and not v["is_control_domain"]}
halted = [r for r, v in plain.items() if v["power_state"] == "Halted"]
running = [r for r, v in plain.items() if v["power_state"] == "Running"]
template = next(r for r, v in vms.items() if v["is_a_template"])
dom0 = next(r for r, v in vms.items() if v["is_control_domain"])
hosts = api("host.get_all")
vm = halted[0]

def memory_free(h): return int(api("host_metrics.get_record", api.get("host", h, "metrics"))["memory_free"])
def state(): return api.get("VM", vm, "power_state")
def allowed(kind, ref): return set(api.get(kind, ref, "allowed_operations"))

# ---- states ----
same("a halted machine cannot be stopped", api.error("VM.hard_shutdown", vm),
     ["VM_BAD_POWER_STATE", vm, "paused, suspended, running", "halted"])
same("nor cleanly", api.error("VM.clean_shutdown", vm), ["VM_BAD_POWER_STATE", vm, "running", "halted"])
same("nor resumed", api.error("VM.resume", vm, False, False), ["VM_BAD_POWER_STATE", vm, "suspended", "halted"])
same("nor checkpointed", api.error("VM.checkpoint", vm, "c"), ["VM_BAD_POWER_STATE", vm, "paused, suspended, running", "halted"])
same("a running one cannot be destroyed", api.error("VM.destroy", running[0]),
     ["VM_BAD_POWER_STATE", running[0], "halted, suspended", "running"])
same("nor cloned", api.error("VM.clone", running[0], "c"), ["VM_BAD_POWER_STATE", running[0], "halted", "running"])
same("nor moved while halted", api.error("VM.pool_migrate", vm, hosts[0], {}), ["VM_BAD_POWER_STATE", vm, "running", "halted"])
same("a template does not start", api.error("VM.start", template, False, False), ["VM_IS_TEMPLATE", template])
same("state comes before kind", api.error("VM.suspend", template), ["VM_BAD_POWER_STATE", template, "running", "halted"])
same("a control domain does not stop", api.error("VM.hard_shutdown", dom0),
     ["OPERATION_NOT_ALLOWED", "This operation is not allowed on a control domain"])
same("only templates are provisioned", api.error("VM.provision", vm), ["PROVISION_ONLY_ALLOWED_ON_TEMPLATE"])
same("only snapshots are reverted to", api.error("VM.revert", vm), ["REVERT_ONLY_ALLOWED_ON_SNAPSHOT"])
same("halted: allowed", allowed("VM", vm), {
    "changing_dynamic_range", "changing_static_range", "changing_shadow_memory", "changing_NVRAM", "clone", "copy", "create_vtpm",
    "destroy", "export", "make_into_template", "metadata_export", "migrate_send", "snapshot", "start", "start_on"})
same("running: allowed", allowed("VM", running[0]), {
    "changing_VCPUs_live", "changing_dynamic_range", "checkpoint", "clean_reboot", "clean_shutdown", "hard_reboot", "hard_shutdown",
    "metadata_export", "migrate_send", "pause", "pool_migrate", "snapshot", "suspend", "sysprep"})
same("of a template", allowed("VM", template), {
    "changing_dynamic_range", "changing_static_range", "changing_shadow_memory", "changing_NVRAM", "clone", "copy", "export",
    "metadata_export", "provision"})
api("VM.add_to_blocked_operations", vm, "start", "because")
same("what was blocked says why", api.error("VM.start", vm, False, False), ["OPERATION_BLOCKED", vm, "because"])
ok("and is not offered", "start" not in allowed("VM", vm), allowed("VM", vm))
api("VM.remove_from_blocked_operations", vm, "start")

# ---- a life ----
disk = api.get("VM", vm, "VBDs")[0]
free = {h: memory_free(h) for h in hosts}
with api.held("VM.start"):
    task = api("Async.VM.start", vm, False, False)
    busy = api("VM.get_record", vm)
    same("an operation is named while it goes on", list(busy["current_operations"].items()), [(task, "start")])
    same("and keeps others out", api.error("VM.start", vm, False, False), ["OTHER_OPERATION_IN_PROGRESS", "VM", vm, "start", task])
record = api.wait(task)
same("its task ends well", [record["name_label"], record["status"], record["progress"], record["error_info"], record["result"]],
     ["Async.VM.start", "success", 1, [], ""])
record = api("VM.get_record", vm)
host = record["resident_on"]
same("it runs somewhere", [record["power_state"], host in hosts, int(record["domid"]) > 0, len(record["consoles"])], ["Running", True, True, 1])
taken = free[host] - memory_free(host)
same("with its memory and what Xen needs for it", taken, int(record["memory_dynamic_max"]) + int(record["memory_overhead"]))
same("its disk is attached", [api.get("VBD", disk, "currently_attached"), api.get("VBD", disk, "device")], [True, "xvda"])
ok("its guest tells of itself", api.get("VM_guest_metrics", record["guest_metrics"], "PV_drivers_version").get("major"))
same("a disk in use is not destroyed", api.error("VDI.destroy", api.get("VBD", disk, "VDI"))[0], "VDI_IN_USE")
ok("somebody was told", any(m["name"] == "VM_STARTED" and m["obj_uuid"] == record["uuid"]
                            for m in api("message.get_all_records").values()))
api("VM.suspend", vm)
image = api.get("VM", vm, "suspend_VDI")
same("asleep its memory is on a disk", [state(), api.get("VDI", image, "type"), api.get("VM", vm, "resident_on")], ["Suspended", "suspend", none])
same("and its host has it back", memory_free(host), free[host])
api("VM.resume_on", vm, hosts[1], False, False)
same("it wakes where it is told", [state(), api.get("VM", vm, "resident_on"), api.get("VM", vm, "suspend_VDI")], ["Running", hosts[1], none])
same("the disk of its memory is gone", api.error("VDI.get_uuid", image)[0], "HANDLE_INVALID")
api("VM.pause", vm)
same("paused", [state(), allowed("VM", vm)], ["Paused", {"checkpoint", "hard_reboot", "hard_shutdown", "metadata_export", "snapshot", "unpause"}])
api("VM.unpause", vm)
before = api.get("VM", vm, "domid")
api("VM.clean_reboot", vm)
ok("a reboot is another domain", api.get("VM", vm, "domid") != before)
record = api.wait(api("Async.VM.pool_migrate", vm, hosts[2], {"live": "true"}))
same("it moves", [record["status"], api.get("VM", vm, "resident_on")], ["success", hosts[2]])
# How far the clean one gets is up to the machine: it may be over before the hard one comes, which then comes too late.
for _ in range(20):
    clean = api("Async.VM.clean_shutdown", vm)
    late = api.error("VM.hard_shutdown", vm)
    if not late:
        break
    api("VM.start_on", vm, hosts[2], False, False)
same("a hard stop ends a clean one", [late, api.wait(clean)["status"], state()], [None, "cancelled", "Halted"])
same("and detaches all", [api.get("VBD", disk, "currently_attached"), api.get("VM", vm, "consoles"), api.get("VM", vm, "domid")], [False, [], -1])
with api.held("VM.start"):
    task = api("Async.VM.start", vm, True, False)
    api("task.cancel", task)
record = api.wait(task)
same("a start can be cancelled", [record["status"], record["error_info"], state()], ["cancelled", ["TASK_CANCELLED", task], "Halted"])
api("VM.set_VCPUs_max", vm, 64)
same("more processors than a host has", api.error("VM.start", vm, False, False), ["NO_HOSTS_AVAILABLE"])
same("with the reason for one host", api.error("VM.start_on", vm, hosts[0], False, False), ["HOST_NOT_ENOUGH_PCPUS", "64", "32"])
api("VM.set_VCPUs_max", vm, 3)
api("host.disable", hosts[0])
same("a host that is disabled", api.error("VM.start_on", vm, hosts[0], False, False), ["HOST_DISABLED", hosts[0]])
ok("is no possible one", hosts[0] not in api("VM.get_possible_hosts", vm) and hosts[1] in api("VM.get_possible_hosts", vm))
api("host.enable", hosts[0])

# ---- settings ----
rule = "VCPU values must satisfy: 0 < VCPUs_at_startup \u2264 VCPUs_max"
same("no processors", api.error("VM.set_VCPUs_max", vm, 0), ["INVALID_VALUE", rule, "0"])
same("more at the start than at most", api.error("VM.set_VCPUs_at_startup", vm, 4), ["INVALID_VALUE", rule, "4"])
same("not while it runs", api.error("VM.set_VCPUs_max", running[0], 2), ["VM_BAD_POWER_STATE", running[0], "halted", "running"])
G = 1 << 30
api("VM.set_memory_limits", vm, G, 4 * G, 2 * G, 3 * G)
same("all of its memory at once", [int(api.get("VM", vm, "memory_" + f)) // G for f in ("static_min", "static_max", "dynamic_min", "dynamic_max", "target")],
     [1, 4, 2, 3, 2])
same("out of order", api.error("VM.set_memory_limits", vm, G, 2 * G, 3 * G, G), ["MEMORY_CONSTRAINT_VIOLATION_ORDER"])
same("a limit alone, too", api.error("VM.set_memory_static_max", vm, G), ["MEMORY_CONSTRAINT_VIOLATION_ORDER"])
api("VM.set_memory", vm, G)
same("one number for all", [int(api.get("VM", vm, "memory_" + f)) // G for f in ("dynamic_min", "dynamic_max", "static_max")], [1, 1, 1])
same("too much for any host", api.error("VM.set_memory_limits", vm, G, 999 * G, 999 * G, 999 * G) or api.error("VM.start", vm, False, False)[0],
     "HOST_NOT_ENOUGH_FREE_MEMORY")
api("VM.set_memory", vm, G)
api("VM.set_domain_type", vm, "pv")
same("a type has its policy", api.get("VM", vm, "HVM_boot_policy"), "")
api("VM.set_HVM_boot_policy", vm, "BIOS order")
same("and the other way round", api.get("VM", vm, "domain_type"), "hvm")
same("an order is not negative", api.error("VM.set_order", vm, -1), ["INVALID_VALUE", "order must be non-negative", "-1"])
same("a priority is one of three", api.error("VM.set_ha_restart_priority", vm, "soon"), ["INVALID_VALUE", "ha_restart_priority", "soon"])
same("strings of a BIOS are set once", [api.error("VM.set_bios_strings", vm, {"bios-vendor": "x"}), api.get("VM", vm, "bios_strings")["bios-vendor"]],
     [["VM_BIOS_STRINGS_ALREADY_SET"], "Xen"])
same("a plugin that is none", api.error("VM.call_plugin", running[0], "x", "y", {}), ["XENAPI_MISSING_PLUGIN", "x"])
same("what no server does", api.error("VM.send_sysrq", running[0], "b"), ["NOT_IMPLEMENTED", "send_sysrq"])

# ---- copies ----
snapshot = api("VM.snapshot", vm, "s", [])
record, parent = api("VM.get_record", snapshot), api("VM.get_record", vm)
same("a snapshot is a template of its machine",
     [record["is_a_template"], record["is_a_snapshot"], record["snapshot_of"], parent["snapshots"], parent["parent"], record["power_state"]],
     [True, True, vm, [snapshot], snapshot, "Halted"])
same("and tells how it was made", record["snapshot_info"], {"power-state-at-snapshot": "Halted", "disk-snapshot-type": "crash_consistent"})
shot = api.get("VBD", record["VBDs"][0], "VDI")
old = api.get("VBD", disk, "VDI")
same("its disk is a snapshot of the disk", [api.get("VDI", shot, "snapshot_of"), api.get("VDI", shot, "is_a_snapshot")], [old, True])
same("its address is the same", api.get("VIF", record["VIFs"][0], "MAC"), api.get("VIF", parent["VIFs"][0], "MAC"))
same("it does not start", api.error("VM.start", snapshot, False, False)[0], "VM_IS_SNAPSHOT")
same("of a snapshot: allowed", allowed("VM", snapshot), {"clone", "copy", "destroy", "export", "metadata_export", "revert"})
same("without a disk that is not wanted", api.get("VM", api("VM.snapshot", vm, "bare", [old]), "VBDs"), [])
clone = api("VM.clone", snapshot, "from a snapshot")
record = api("VM.get_record", clone)
same("a clone is a template as that was", [record["is_a_template"], record["is_a_snapshot"], record["snapshot_of"], record["parent"]], [True, False, none, none])
ok("with an address of its own", api.get("VIF", record["VIFs"][0], "MAC") != api.get("VIF", parent["VIFs"][0], "MAC"))
api("VM.provision", clone)
same("until it is provisioned", api.get("VM", clone, "is_a_template"), False)
api("VM.start", clone, False, False)
api("VM.hard_shutdown", clone)

# Back to the snapshot: fields, disk, name; a disk that came later stays.
sr = api.get("VDI", old, "SR")
later = api("VDI.create", {"SR": sr, "virtual_size": G, "type": "user", "sharable": False, "read_only": False, "other_config": {}})
api("VBD.create", {"VM": vm, "VDI": later, "userdevice": "autodetect", "bootable": False, "mode": "RW", "type": "Disk", "empty": False,
                   "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}})
name = api.get("VM", vm, "name_label")
api("VM.set_name_label", vm, "renamed 'x'")
api("VM.set_VCPUs_max", vm, 5)
api("VM.start", vm, False, False)
api("VM.revert", snapshot)
record = api("VM.get_record", vm)
same("back to what it was", [record["name_label"], int(record["VCPUs_max"]), record["power_state"], len(record["VBDs"]), record["snapshots"] != []],
     [name, 3, "Halted", 1, True])
new = api.get("VBD", record["VBDs"][0], "VDI")
same("with another disk of the same kind", [api.get("VDI", shot, "snapshot_of"), new != old, api.error("VDI.get_uuid", old)[0]], [new, True, "HANDLE_INVALID"])
same("and the later one is kept", api.get("VDI", later, "VBDs"), [])
api("VDI.destroy", later)

api("VM.start", vm, False, False)
point = api("VM.checkpoint", vm, "c")
record = api("VM.get_record", point)
same("a checkpoint is asleep, the machine is not", [record["power_state"], record["suspend_VDI"] != none, state()], ["Suspended", True, "Running"])
api("VM.hard_shutdown", vm)
api("VM.revert", point)
same("going back to it is asleep, too", [state(), api.get("VM", vm, "suspend_VDI") != none], ["Suspended", True])
same("a sleeping machine is not cloned", api.error("VM.clone", vm, "x"), ["VM_BAD_POWER_STATE", vm, "halted", "suspended"])
pool = api("pool.get_all")[0]
api("pool.add_to_other_config", pool, "allow_clone_suspended_vm", "true")
both = api("VM.clone", vm, "asleep, too")
same("unless the pool says so", [api.get("VM", both, "power_state"), api.get("VM", both, "suspend_VDI") != none], ["Suspended", True])
api("pool.remove_from_other_config", pool, "allow_clone_suspended_vm")
api("VM.hard_shutdown", both)
api("VM.resume", vm, False, False)
api("VM.clean_shutdown", vm)

before = len(api("VM.get_all")), len(api("VDI.get_all"))
begun = time.time()
with api.held("VM.copy"):
    task = api("Async.VM.copy", vm, "copy", none)
    same("a copy lists cancel", api.get("task", task, "allowed_operations"), ["cancel"])
    same("and names itself", list(api.get("VM", vm, "current_operations").values()), ["copy"])
    same("another copy may go on beside it", api.error("VM.assert_operation_valid", vm, "clone"), None)
    same("a start may not", api.error("VM.assert_operation_valid", vm, "start")[0], "OTHER_OPERATION_IN_PROGRESS")
copy = api.wait(task)
ok("it takes its time", time.time() - begun >= 2.9, time.time() - begun)
ref = copy["result"][len("<value>"):-len("</value>")]
same("and is there then", [len(api("VM.get_all")), len(api("VDI.get_all"))], [before[0] + 1, before[1] + 1])
for _ in range(20):
    task = api("Async.VM.copy", vm, "copy", none)
    api.until(lambda: api.get("task", task, "progress") > 0)
    progress = api.get("task", task, "progress")
    api.error("task.cancel", task)
    record = api.wait(task)
    if record["status"] != "success":
        break
    api("VM.destroy", record["result"][len("<value>"):-len("</value>")])
    before = before[0], before[1] + 1 # a machine leaves its disks
same("a cancelled one leaves nothing", [record["status"], record["error_info"], len(api("VM.get_all")), len(api("VDI.get_all"))],
     ["cancelled", ["TASK_CANCELLED", task], before[0] + 1, before[1] + 1])
ok("though it had begun", 0 < progress < 1, progress)
api("VM.destroy", ref)

# ---- templates, new machines ----
api("VM.set_is_a_template", clone, True)
same("a template has no metrics", api.get("VM", clone, "metrics"), none)
api("VM.set_is_a_template", clone, False)
api("VM.destroy", clone)
same("a default template stays", api.error("VM.destroy", template), ["VM_IS_TEMPLATE", template])
made = api("VM.create", {"name_label": "made", "user_version": 1, "is_a_template": True, "affinity": none, "memory_static_max": str(G),
    "memory_dynamic_max": str(G), "memory_dynamic_min": str(G), "memory_static_min": str(G), "VCPUs_params": {}, "VCPUs_max": 1,
    "VCPUs_at_startup": 1, "actions_after_shutdown": "destroy", "actions_after_reboot": "restart", "actions_after_crash": "restart",
    "PV_bootloader": "", "PV_kernel": "", "PV_ramdisk": "", "PV_args": "", "PV_bootloader_args": "", "PV_legacy_args": "",
    "HVM_boot_policy": "BIOS order", "HVM_boot_params": {}, "platform": {}, "PCI_bus": "", "other_config": {
        "disks": '<provision><disk device="0" size="%d" sr="%s" bootable="true" type="system"/></provision>' % (8 * G, api.get("SR", sr, "uuid"))},
    "recommendations": ""})
record = api("VM.get_record", made)
same("a new machine is halted", [record["power_state"], record["domid"], record["domain_type"], "mac_seed" in record["other_config"]], ["Halted", -1, "hvm", True])
same("a record without its fields", api.error("VM.create", {"name_label": "x"}),
     ["INTERNAL_ERROR", 'Server_helpers.Dispatcher_FieldNotFound("user_version")'])
api("VM.provision", made)
record = api("VM.get_record", made)
same("provisioning makes the disks it asks for",
     [int(api.get("VDI", api.get("VBD", b, "VDI"), "virtual_size")) // G for b in record["VBDs"]] + ["disks" in record["other_config"], record["is_a_template"]],
     [8, False, False])
api("VM.add_to_other_config", template, "disks", '<provision><disk device="0" size="1" sr="nowhere" bootable="true"/></provision>')
fresh = api("VM.clone", template, "fresh")
same("but not on an SR that is none", api.error("VM.provision", fresh), ["UUID_INVALID", "sr", "nowhere"])
same("and then it is a template still", api.get("VM", fresh, "is_a_template"), True)
api("VM.remove_from_other_config", template, "disks")
same("the clone knows its template", api.get("VM", fresh, "other_config")["base_template_name"], api.get("VM", template, "name_label"))

# ---- appliances and schedules ----
app = api("VM_appliance.create", {"name_label": "app", "name_description": ""})
same("an appliance without machines", [api.error("VM_appliance.start", app, False), api.get("VM_appliance", app, "allowed_operations")],
     [["OPERATION_NOT_ALLOWED", "Appliance has no VMs."], []])
for member in (vm, made):
    api("VM.set_appliance", member, app)
same("with halted ones may start", api.get("VM_appliance", app, "allowed_operations"), ["start"])
api("VM_appliance.start", app, False)
same("all of them run", {api.get("VM", m, "power_state") for m in (vm, made)}, {"Running"})
same("then it may stop", allowed("VM_appliance", app), {"clean_shutdown", "hard_shutdown", "shutdown"})
api("VM_appliance.clean_shutdown", app)
same("and does", {api.get("VM", m, "power_state") for m in (vm, made)}, {"Halted"})
api("VM.set_VCPUs_max", made, 64)
same("who cannot start is named", api.error("VM_appliance.start", app, False), ["OPERATION_PARTIALLY_FAILED", "VM_appliance.start", made])
api("VM_appliance.hard_shutdown", app)
same("a template has no appliance", api.error("VM.set_appliance", template, app)[0], "OPERATION_NOT_ALLOWED")
api("VM_appliance.destroy", app)
same("without it they are free", api.get("VM", vm, "appliance"), none)
plan = {"name_label": "nightly", "type": "snapshot", "frequency": "daily", "schedule": {"hour": "3", "min": "30"}, "retained_snapshots": 2}
same("a schedule of odd minutes", api.error("VMSS.create", dict(plan, schedule={"min": "7"})), ["INVALID_VALUE", "min", "7"])
same("that keeps too many", api.error("VMSS.create", dict(plan, retained_snapshots=11)), ["INVALID_VALUE", "retained_snapshots", "11"])
plan = api("VMSS.create", plan)
api("VM.set_snapshot_schedule", vm, plan)
for _ in range(3):
    api("VMSS.snapshot_now", plan)
same("a schedule keeps as many as it says", sum(api.get("VM", s, "is_vmss_snapshot") for s in api.get("VM", vm, "snapshots")), 2)
same("and is needed", api.error("VMSS.destroy", plan), ["VMSS_HAS_VM"])
group = api("VM_group.create", {"name_label": "apart", "name_description": "", "placement": "anti_affinity"})
trio = [api("VM.clone", vm, "apart-%d" % i) for i in range(3)]
for member in trio:
    api("VM.set_groups", member, [group])
    api("VM.start", member, False, False)
same("those who are to be apart are", len({api.get("VM", m, "resident_on") for m in trio}), 3)

# ---- disks that move, and resets ----
local = next(s for s, v in api("SR.get_all_records").items() if v["type"] == "ext" and
             any(api.get("PBD", b, "host") == hosts[0] for b in v["PBDs"]))
network = next(n for n, v in api("network.get_all_records").items() if v["bridge"] == "xenbr0")
dest = api("host.migrate_receive", hosts[0], network, {})
mover = trio[0]
vdi = api.get("VBD", api.get("VM", mover, "VBDs")[0], "VDI")
same("a disk without a place to go", api.error("VM.migrate_send", mover, dest, True, {}, {}, {}), ["VDI_NOT_IN_MAP", vdi])
same("a network is not changed inside of a pool", api.error("VM.assert_can_migrate", mover, dest, True, {vdi: local}, {api.get("VM", mover, "VIFs")[0]: network}, {})[0],
     "OPERATION_NOT_ALLOWED")
record = api.wait(api("Async.VM.migrate_send", mover, dest, True, {vdi: local}, {}, {}))
now = api.get("VBD", api.get("VM", mover, "VBDs")[0], "VDI")
same("it moves with its disk", [record["status"], api.get("VM", mover, "resident_on"), api.get("VDI", now, "SR")], ["success", hosts[0], local])
same("which then binds it to its host", api.error("VM.pool_migrate", mover, hosts[1], {}), ["VM_REQUIRES_SR", mover, local])
same("and is local", api.error("VM.assert_agile", mover), ["HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", local])
same("another is not", api.error("VM.assert_agile", vm), None)
same("a machine that lives is not reset", api.error("VM.power_state_reset", mover)[0] in ("HOST_IS_LIVE", "DOMAIN_EXISTS"), True)
api("VM.hard_shutdown", mover)
same("one that does not is", api.error("VM.power_state_reset", mover), None)
same("a control domain never", api.error("VM.power_state_reset", dom0), ["CANNOT_RESET_CONTROL_DOMAIN", dom0])
tpm = api("VTPM.create", vm, False)
same("a machine has one TPM", api.error("VTPM.create", vm, False), ["VTPM_MAX_AMOUNT_REACHED", "1"])
api("VTPM.set_contents", tpm, "aGk=")
same("with contents", api("VTPM.get_contents", tpm), "aGk=")
api("VTPM.destroy", tpm)

token = api.post("event.from", [api.session, ["vm"], "", 0.0])["result"]["token"]
same("nothing changes while nobody acts", api.post("event.from", [api.session, ["vm", "vbd", "vif", "vdi", "sr"], token, 1.5])["result"]["events"], [])
done()
PYTHON

start
PYTHONPATH="$XENKIT_SOURCE/src/rooms/sim" PYTHONDONTWRITEBYTECODE=1 run timeout 280 python3 machines.py "$url"
sed -n 's/^not ok [0-9]* - //p; s/^# /  /p' "$out" | while read -r line; do diag "$line"; done
is "the statements about machines hold" "$(grep -c '^not ok' "$out") $status $(cat "$err")" "0 0 "
ok "and there are many" test "$(grep -c '^ok' "$out")" -gt 110
stop
is "the pool ends, with nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0
done_testing
