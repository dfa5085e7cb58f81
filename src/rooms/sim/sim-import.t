# Machines that come into the simulated pool as archives: made by others, damaged, cut off, cancelled, kept.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3

cat >records.py <<'PYTHON'
from transferclient import *
vms = api("VM.get_all_records")
source = next(r for r, v in vms.items() if not v["is_a_template"] and not v["is_control_domain"] and v["power_state"] == "Halted")
sr = api("pool.get_default_SR", api("pool.get_all")[0])

# ---- an archive that nobody but this script made ----
version = {"hostname": "elsewhere", "date": "2019-06-01", "product_version": "8.0.0", "product_brand": "XenServer", "build_number": "1",
           "xapi_major": 1, "xapi_minor": 160, "export_vsn": 2}
machine = {"uuid": "11111111-2222-3333-4444-555555555555", "name_label": "made elsewhere", "name_description": "by hand", "power_state": "Halted",
           "user_version": 1, "is_a_template": False, "is_default_template": False, "is_a_snapshot": False, "is_control_domain": False,
           "memory_static_max": 512 << 20, "memory_static_min": 256 << 20, "memory_dynamic_max": 512 << 20, "memory_dynamic_min": 512 << 20,
           "memory_target": 0, "memory_overhead": 0, "VCPUs_max": 2, "VCPUs_at_startup": 1, "VCPUs_params": {}, "PV_bootloader": "", "PV_kernel": "",
           "PV_ramdisk": "", "PV_args": "", "PV_bootloader_args": "", "PV_legacy_args": "", "HVM_boot_policy": "BIOS order",
           "HVM_boot_params": {"order": "cd"}, "HVM_shadow_multiplier": "1.0", "platform": {"acpi": "1", "apic": "true"}, "PCI_bus": "",
           "actions_after_shutdown": "destroy", "actions_after_reboot": "restart", "actions_after_crash": "restart", "affinity": none,
           "other_config": {"mac_seed": "22222222-2222-2222-2222-222222222222", "colour": "blue"}, "recommendations": "", "xenstore_data": {},
           "ha_always_run": False, "ha_restart_priority": "", "tags": ["imported"], "blocked_operations": {}, "VBDs": ["Ref:2", "Ref:4"], "VIFs": ["Ref:6"],
           "parent": none, "snapshot_of": none, "children": [], "protection_policy": none, "start_delay": 0, "shutdown_delay": 0, "order": 0,
           "suspend_SR": none, "suspend_VDI": none, "version": 0, "generation_id": "12:34", "hardware_platform_version": 0, "has_vendor_device": False,
           "appliance": none, "metrics": none, "guest_metrics": none, "resident_on": none, "domain_type": "hvm", "last_booted_record": "",
           "last_boot_CPU_flags": {}, "snapshot_schedule": none, "is_vmss_snapshot": False, "bios_strings": {}}
drive = {"uuid": "", "VM": "Ref:1", "VDI": "Ref:3", "device": "xvda", "userdevice": "0", "bootable": True, "mode": "RW", "type": "Disk", "unpluggable": True,
         "empty": False, "other_config": {"owner": ""}, "qos_algorithm_type": "", "qos_algorithm_params": {}, "currently_attached": False}
disk = {"uuid": "", "name_label": "a disk", "name_description": "of the archive", "SR": "Ref:7", "VBDs": ["Ref:2"], "virtual_size": (9 << 20) + 512,
        "physical_utilisation": 0, "type": "user", "sharable": False, "read_only": False, "other_config": {"k": "v"}, "location": "", "xenstore_data": {},
        "sm_config": {}, "tags": [], "is_a_snapshot": False, "snapshot_of": none}
nic = {"uuid": "", "device": "0", "network": "Ref:8", "VM": "Ref:1", "MAC": "0a:00:00:00:00:01", "MTU": 1500, "other_config": {}, "qos_algorithm_type": "",
       "qos_algorithm_params": {}, "locking_mode": "network_default", "ipv4_allowed": [], "ipv6_allowed": [], "currently_attached": False}
storage = {"uuid": "0", "name_label": "their storage", "content_type": "user", "type": "lvm"}
network = {"uuid": "0", "name_label": "their network", "name_description": "", "bridge": "xapi77", "MTU": 1500, "other_config": {}, "tags": []}
def header(**changes):
    objects = {"Ref:1": ("VM", machine), "Ref:2": ("VBD", drive), "Ref:3": ("VDI", disk),
               "Ref:4": ("VBD", dict(drive, VDI="Ref:5", userdevice="1", bootable=False)), "Ref:5": ("VDI", dict(disk, virtual_size=3 << 20)),
               "Ref:6": ("VIF", nic), "Ref:7": ("SR", storage), "Ref:8": ("network", network)}
    for name, fields in changes.items():
        if name.startswith("Ref_"):
            ref = name.replace("_", ":")
            objects[ref] = (objects[ref][0], dict(objects[ref][1], **fields))
    return {"version": dict(version, **changes.get("version", {})),
            "objects": [{"class": c, "id": i, "snapshot": s} for i, (c, s) in objects.items()]}
first = {0: randomness.randbytes(PIECE), 4: randomness.randbytes(100) + bytes(PIECE - 100), 9: b"\x07" * 512}
second = {0: bytes(PIECE), 1: randomness.randbytes(PIECE), 2: randomness.randbytes(PIECE)}
def archive(kind="xxhash", form=tarfile.USTAR_FORMAT, content=None, **changes):
    a = xva.Archive(form).add("ova.xml", xva.ova(content or header(**changes)))
    return a.disk("Ref:3", first, kind).disk("Ref:5", second, kind)
wanted = [digests(first), digests(second)]

before = counts()
whole = archive().bytes()
status, refs = given(whole, sr_id=sr)
same("it comes in", [status, refs if status == "failure" else []], ["success", []])
vm = refs[0]
record = api("VM.get_record", vm)
same("as it was", [record[f] for f in ("name_label", "name_description", "memory_static_max", "VCPUs_max", "tags", "platform", "power_state", "current_operations")],
     ["made elsewhere", "by hand", 512 << 20, 2, ["imported"], dict(record["platform"], acpi="1", apic="true"), "Halted", {}])
same("but as one of its own", [record["uuid"] != machine["uuid"], record["other_config"]["colour"], record["other_config"]["mac_seed"] != machine["other_config"]["mac_seed"],
     record["generation_id"] not in ("", "12:34")], [True, "blue", True, True])
ok("which may start", "start" in record["allowed_operations"], record["allowed_operations"])
vbds = [api("VBD.get_record", r) for r in record["VBDs"]]
same("with two drives, the first of which boots", sorted((v["userdevice"], v["bootable"]) for v in vbds), [("0", True), ("1", False)])
vdi = api("VDI.get_record", next(v["VDI"] for v in vbds if v["userdevice"] == "0"))
same("a disk where the request wanted it", [vdi["SR"], vdi["name_label"], vdi["virtual_size"] >= disk["virtual_size"], vdi["other_config"]["k"]], [sr, "a disk", True, "v"])
vif = api("VIF.get_record", record["VIFs"][0])
same("a card of its own on a network that was made for it", [vif["MAC"] != nic["MAC"], api("network.get_name_label", vif["network"])], [True, "their network"])
same("every byte of the disks is there", content(vm), wanted)
same("packed, too", [given(gzip.compress(whole), sr_id=sr)[0], given(get("/export", ref=vm, use_compression="zstd")[1], sr_id=sr)[0]], ["success"] * 2)
old = given(archive("checksum", tarfile.PAX_FORMAT).bytes(), sr_id=sr)
same("with the older kind of checksums", [old[0], content(old[1][0])], ["success", wanted])
ancient = xva.Archive().add("ova.xml", xva.ova(header(version={"export_vsn": 0}))).disk("Ref:3", first, None).disk("Ref:5", second, None)
sums = {"%s/%08d" % (d, n): hashlib.sha1(b).hexdigest() for d, c in (("Ref:3", first), ("Ref:5", second)) for n, b in c.items()}
start = ancient.file.getvalue()
table = xva.Archive().add("checksum.xml", xva.ova(sums)).bytes()
ancient = given(start + table, sr_id=sr)
same("with a table of them at the end", [ancient[0], ancient[0] == "success" and content(ancient[1][0])], ["success", wanted])
same("a table that says something else", given(start + xva.Archive().add("checksum.xml", xva.ova(dict(sums, **{"Ref:3/00000000": "0"}))).bytes(), sr_id=sr),
     ("failure", ["IMPORT_ERROR_SOME_CHECKSUMS_FAILED"]))

# ---- there and back ----
status, data = get("/export", ref=vm)
again = given(data)
same("what was exported comes in again, to the default SR", [again[0], content(again[1][0])], ["success", wanted])
clone = api("VM.clone", vm, "a clone")
same("a clone holds the same", content(clone), wanted)
snapshot = api("VM.snapshot", vm, "before")
same("restored it keeps its names", given(data, restore="true"),
     ("failure", ["VM_TO_IMPORT_IS_NOT_NEWER_VERSION", vm, "0", "0"]))
api("VM.destroy", snapshot)
restored = given(data, restore="true", force="true")
same("forced, it takes the place of the machine", [restored[0], restored[0] == "success" and api("VM.get_uuid", restored[1][0]), restored[0] == "success" and api("VM.get_version", restored[1][0])],
     ["success", record["uuid"], 1])
same("with its addresses", api("VIF.get_MAC", api("VM.get_VIFs", restored[1][0])[0]), vif["MAC"])
running = next(r for r, v in vms.items() if v["power_state"] == "Running" and not v["is_control_domain"])
api("VM.suspend", running)
status, data = get("/export", ref=running, preserve_power_state="true")
asleep = given(data)
same("a suspended machine comes with its memory", [api("VM.get_power_state", asleep[1][0]), api("VM.get_suspend_VDI", asleep[1][0]) != none], ["Suspended", True])
status, data = get("/export", ref=running)
same("or without", api("VM.get_power_state", given(data)[1][0]), "Halted")

# ---- records only ----
status, data = get("/export_metadata", ref=source, export_snapshots="false")
here = given(data, "/import_metadata")
same("records find their disks", [here[0], sorted(api("VBD.get_VDI", r) for r in api("VM.get_VBDs", here[1][0]))],
     ["success", sorted(api("VBD.get_VDI", r) for r in vms[source]["VBDs"])])
before = counts()
same("a rehearsal makes nothing", [given(data, "/import_metadata", dry_run="true"), counts() == before], [("success", []), True])
lost = xva.Archive().add("ova.xml", xva.ova(header())).bytes()
same("disks that are not here", given(lost, "/import_metadata")[1][:1], ["VDI_CONTENT_ID_MISSING"])
other = api("VDI.get_uuid", api("VBD.get_VDI", api("VM.get_VBDs", clone)[0]))
mapped = xva.Archive().add("ova.xml", xva.ova(header(Ref_3={"uuid": "x-3"}, Ref_5={"uuid": "x-5"}))).bytes()
same("the request says which to take instead", given(mapped, "/import_metadata", **{"vdi:x-3": other, "vdi:x-5": other})[0], "success")
same("or that none will do", [given(lost, "/import_metadata", force="true")[0]], ["success"])

# ---- recovered ----
uuid, held = api("VM.get_uuid", clone), content(clone)
same("what is there is not recovered", api.error("VM.recover", clone, api.session, False), ["VM_TO_IMPORT_IS_NOT_NEWER_VERSION", clone, "0", "0"])
same("nor by a session that is none", api.error("VM.recover", clone, none, True), ["SESSION_INVALID", none])
api("VM.recover", clone, api.session, True)
back = api("VM.get_by_uuid", uuid)
same("forced, it comes anew, with its disks", [back != clone, api("VM.get_version", back), content(back)], [True, 1, held])
appliance = api("VM_appliance.create", {"name_label": "a group", "name_description": ""})
api("VM.set_appliance", back, appliance)
api("VM_appliance.recover", appliance, api.session, True)
same("so does a group of machines", [api("VM.get_uuid", r) for r in api("VM_appliance.get_VMs", appliance)], [uuid])

# ---- what is refused leaves nothing ----
before = counts()
held = api("SR.get_physical_utilisation", sr)
def broken(what, data, error, **words):
    got = given(data, sr_id=sr, **words)
    same(what, [got[0], got[1][:len(error)], counts() == before], ["failure", error, True])
generic = "INTERNAL_ERROR: [ "
broken("an archive that ends early", whole[:len(whole) // 2], ["IMPORT_ERROR_PREMATURE_EOF"])
broken("in its records", whole[:700], ["IMPORT_ERROR_PREMATURE_EOF"])
broken("or is none", b"no archive " * 200, ["IMPORT_ERROR_PREMATURE_EOF"])
broken("an empty one", b"", ["IMPORT_ERROR_PREMATURE_EOF"])
broken("a cut gzip", gzip.compress(whole)[:90000], ["IMPORT_ERROR_PREMATURE_EOF"])
broken("the wrong file first", gzip.compress(xva.Archive().add("other.xml", b"x").bytes()), ["IMPORT_ERROR_UNEXPECTED_FILE", "ova.xml", "other.xml"])
sum4 = xva.xxh64(first[4]).encode()
broken("a wrong checksum", whole.replace(sum4, b"0" * 16),
       ["IMPORT_ERROR", generic + 'Stream_vdi.Invalid_checksum("Block Ref:3/00000004 checksum failed: original = %s; recomputed = %s") ]' % ("0" * 16, sum4.decode())])
same("which force forgives", given(whole.replace(sum4, b"0" * 16), sr_id=sr, force="true")[0], "success")
before = counts()
held = api("SR.get_physical_utilisation", sr)
broken("no checksum behind a piece", archive(None).bytes(), ["IMPORT_ERROR", generic + 'Stream_vdi.Failure("Found unsupported checksum file: Ref:3/00000004") ]'])
broken("the end before the last piece", xva.Archive().add("ova.xml", xva.ova(header())).disk("Ref:3", first).bytes(), ["IMPORT_ERROR", generic + "Tar.Header.End_of_stream ]"])
broken("pieces out of order", xva.Archive().add("ova.xml", xva.ova(header())).disk("Ref:5", second).bytes(), ["IMPORT_ERROR", generic + 'Stream_vdi.Failure("Invalid XVA file") ]'])
broken("a newer server's", archive(version={"xapi_major": 99}).bytes(), ["IMPORT_INCOMPATIBLE_VERSION"])
broken("a drive of a machine that is not there", archive(Ref_2={"VM": "Ref:99"}).bytes(), ["IMPORT_ERROR_FAILED_TO_FIND_OBJECT", "Ref:99"])
broken("a drive of a disk that is not there, in use", archive(Ref_2={"VDI": "Ref:99", "currently_attached": True}).bytes(), ["IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND"])
broken("a disk larger than any", archive(Ref_3={"virtual_size": 1 << 60}).bytes(), ["SR_BACKEND_FAILURE_79"])
broken("records that are no XML", xva.Archive().add("ova.xml", b"<value><struct>").bytes(), ["IMPORT_ERROR"])
bomb = b'<!DOCTYPE a [<!ENTITY a "%s">%s]><value>&z;</value>' % (b"a" * 100, b"".join(b'<!ENTITY %c "%s">' % (c, b"&%c;" % (c - 1) * 100) for c in b"bcdefghijz"))
broken("a bomb of entities", xva.Archive().add("ova.xml", bomb).bytes(), ["IMPORT_ERROR"])
broken("records nested without end", xva.Archive().add("ova.xml", b"<value><array><data>" * 100000).bytes(), ["IMPORT_ERROR"])
huge = bytearray(xva.Archive().add("ova.xml", b"x").bytes())
huge[124:136] = b"\x80" + (1 << 50).to_bytes(11, "big")
huge[148:156] = b"        "
huge[148:156] = b"%06o\0 " % sum(huge[:512])
broken("records of a petabyte", bytes(huge), ["IMPORT_ERROR", generic + "metadata of more than 64 MiB ]"])
inflated = archive().file.getvalue()
zeros = gzip.compress(inflated[:inflated.index(b"Ref:3/00000000")] + bytes(256 << 20))
got = given(zeros, sr_id=sr)
same("a bomb of zeros is over at once", [got[0], counts() == before, len(zeros) < 400000], ["failure", True, True])
same("the storage has nothing of any of them", api("SR.get_physical_utilisation", sr), held)
iso = next(r for r, v in api("SR.get_all_records").items() if v["content_type"] == "iso")
task = api("task.create", "t", "")
same("a library of media is no place", [put("/import", whole, sr_id=iso, task_id=task), api.wait(task)["error_info"]], [400, ["SR_OPERATION_NOT_SUPPORTED"]])
task = api("task.create", "t", "")
same("an SR that is none", [put("/import", whole, sr_uuid="none", task_id=task), api.wait(task)["error_info"]], [500, ["UUID_INVALID", "SR", "none"]])
task = api("task.create", "t", "")
c = connect()
c.putrequest("PUT", path_of("/import", api.session, task_id=task))
c.putheader("Transfer-Encoding", "chunked")
c.endheaders()
same("chunks are not taken", [c.getresponse().status, api.wait(task)["error_info"]], [403, ["IMPORT_ERROR_CANNOT_HANDLE_CHUNKED"]])

# ---- cancelled, and left ----
def half(task, part):
    c = connect()
    c.putrequest("PUT", path_of("/import", api.session, task_id=task, sr_id=sr))
    c.putheader("Content-Length", str(len(whole)))
    c.endheaders()
    c.send(whole[:part])
    return c
def until(what):
    for _ in range(1200):
        if what():
            return True
        time.sleep(0.05)
    return False
task = api("task.create", "t", "")
c = half(task, len(whole) - 2 * PIECE)
ok("half way the machine is there, and busy", until(lambda: api("task.get_allowed_operations", task) == ["cancel"]) and len(api("VM.get_all")) == before[0] + 1)
new = next(r for r, v in api("VM.get_all_records").items() if "import" in v["current_operations"].values())
same("nobody starts it now", api.error("VM.start", new, False, False)[0], "OTHER_OPERATION_IN_PROGRESS")
ok("how far it got, the task tells", until(lambda: 0 < api("task.get_progress", task) < 1), api("task.get_progress", task))
same("what could be seen is seen", api("task.get_other_config", task), {"object_creation": "complete"})
api("task.cancel", task)
record = api.wait(task)
same("cancelled", [record["status"], record["error_info"], counts() == before], ["cancelled", ["TASK_CANCELLED", task], True])
c.close()
task = api("task.create", "t", "")
c = half(task, len(whole) // 2)
until(lambda: len(api("VM.get_all")) == before[0] + 1)
c.close()
record = api.wait(task)
same("whose client goes leaves nothing", [record["status"], record["error_info"], counts() == before], ["failure", ["IMPORT_ERROR_PREMATURE_EOF"], True])
# ---- from a URL ----
import http.server
import threading
gate = threading.Event()
asked = []
class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append((self.path, self.headers["Host"]))
        at = self.path.split("?")[0]
        if at == "/rude":
            return self.wfile.write(b"what?\r\n\r\n")
        if at == "/silent":
            return None
        self.send_response({"/archive": 200, "/packed": 200, "/half": 200, "/slow": 200, "/wrong": 200, "/away": 302, "/round": 302, "/nowhere": 301}.get(at, 404))
        if at in ("/away", "/round"):
            self.send_header("Location", "http://127.0.0.1:%d%s" % (files.server_port, {"/away": "/archive?x=1", "/round": "/round"}[at]))
        self.end_headers()
        body = {"/packed": gzip.compress(whole), "/half": whole[:len(whole) // 2], "/wrong": b"x" * 2000}.get(at, whole)
        if at == "/slow":
            self.wfile.write(whole[:len(whole) // 2])
            gate.wait(60)
            body = whole[len(whole) // 2:]
        try:
            self.wfile.write(body if at != "/away" else b"")
        except OSError:
            pass
    def log_message(self, *words): pass
files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=files.serve_forever, daemon=True).start()
place = "http://127.0.0.1:%d" % files.server_port
def fetched(path, restore=False, force=False, at=None): return api.error("VM.import", (at or place) + path, sr, restore, force)
before = counts()
refs = api("VM.import", place + "/archive?a=b", sr, False, False)
same("a machine comes from a URL", [len(refs), content(refs[0])], [1, wanted])
same("which was asked as it stands", asked[-1], ("/archive?a=b", "127.0.0.1:%d" % files.server_port))
task = api("Async.VM.import", place + "/packed", sr, False, False)
record = api.wait(task)
same("as a task", [record["status"], record["name_label"]], ["success", "Async.VM.import"])
refs.append(xmlrpc.client.loads("<params><param>%s</param></params>" % record["result"])[0][0][0])
refs += api("VM.import", place + "/away", sr, False, False)
same("it is followed to where it is", asked[-1][0], "/archive?x=1")
for ref in refs:
    for vbd in api("VM.get_VBDs", ref):
        api("VDI.destroy", api("VBD.get_VDI", vbd))
    api("VM.destroy", ref)
api.until(lambda: counts()[:2] == before[:2])
before = counts()
busy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
busy.server_close()
for what, got, wanted_error in [
    ("not there", fetched("/none"), ["IMPORT_ERROR", "404 Not Found"]),
    ("a circle", fetched("/round"), ["IMPORT_ERROR", "Maximum redirect limit reached"]),
    ("elsewhere, but not where", fetched("/nowhere"), ["IMPORT_ERROR", "Redirect with no new location"]),
    ("no HTTP", fetched("/rude")[:1], ["IMPORT_ERROR"]),
    ("no answer", fetched("/silent"), ["IMPORT_ERROR_PREMATURE_EOF"]),
    ("nobody is there", fetched("/", at="http://127.0.0.1:%d" % busy.server_port), ["INTERNAL_ERROR", 'Unix.Unix_error(Unix.ECONNREFUSED, "connect", "")']),
    ("no name", fetched("/", at="http://no..body"), ["INTERNAL_ERROR", "Not_found"]),
    ("another scheme", fetched("", at="ftp://127.0.0.1/x"), ["INTERNAL_ERROR", 'Failure("Unsupported URI scheme: ftp")']),
    ("no scheme", fetched("", at="archive"), ["INTERNAL_ERROR", 'Failure("Failed to parse URI: archive")']),
    ("no host", fetched("", at="http:///x"), ["INTERNAL_ERROR", 'Failure("Failed to parse host and port from URI: http:///x")']),
    ("a socket that is not there", fetched("", at="file:///nowhere/socket"), ["INTERNAL_ERROR", 'Unix.Unix_error(Unix.ENOENT, "connect", "")']),
    ("half of it", fetched("/half"), ["INTERNAL_ERROR", "End_of_file"]),
    ("something else", fetched("/wrong"), ["INTERNAL_ERROR", "End_of_file"]),
    ("no storage", api.error("VM.import", place + "/archive", none, False, False), ["HANDLE_INVALID", "SR", none]),
]:
    same("from a URL: " + what, got, wanted_error)
same("asked six times, not for ever", sum(a[0] == "/round" for a in asked), 6)
task = api("Async.VM.import", place + "/slow", sr, False, False)
ok("the machine is there while it comes", until(lambda: len(api("VM.get_all")) == before[0] + 1))
same("its task can be cancelled", api("task.get_allowed_operations", task), ["cancel"])
api("task.cancel", task)
record = api.wait(task)
same("cancelled it leaves nothing", [record["status"], record["error_info"], counts() == before], ["cancelled", ["TASK_CANCELLED", task], True])
gate.set()
made = len(api("task.get_all"))
same("nor does any of these a task", [fetched("/none")[0], len(api("task.get_all"))], ["IMPORT_ERROR", made])
made = len(api("task.get_all"))
same("without a task it has one of its own", [put("/import", b"x"), len(api("task.get_all"))], [200, made + 1])
done()
PYTHON

start
PYTHONPATH="$XENKIT_SOURCE/src/rooms/sim" PYTHONDONTWRITEBYTECODE=1 run timeout 280 python3 records.py "$url"
sed -n 's/^not ok [0-9]* - //p; s/^# /  /p' "$out" | while read -r line; do diag "$line"; done
is "the statements hold" "$(grep -c '^not ok' "$out") $status $(cat "$err")" "0 0 "
ok "and there are many" test "$(grep -c '^ok' "$out")" -ge 50

# ---- xe ----
xe() {
    run xenkit xe -s 127.0.0.1 -p "${url##*:}" -u root -pw xenkit "$@"
}
xe vm-list name-label="made elsewhere" --minimal
vm=$(cut -d, -f1 "$out")
xe vm-export uuid="$vm" filename=one.xva compress=zstd
check "xe exports" 0 "Export succeeded"
xe vm-import filename=one.xva
ok "and imports" test "$status" = 0
xe vm-param-get uuid="$(cat "$out")" param-name=name-label
check "the machine" 0 "made elsewhere"
xe vm-export uuid="$vm" filename=records.xva metadata=true
xe vm-import filename=records.xva metadata=true dry-run=true
check "or would" 0 xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx
head -c 1000 one.xva >cut.xva
xe vm-import filename=cut.xva
ok "and says what is wrong" test "$status" = 1
like "by its name" "$(cat "$out" "$err")" 'the end of the file was reached prematurely'
stop
is "the pool ends, with nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0

start --tls --hosts 1
curl=-k
session=$(login)
sr=$(result pool.get_default_SR "$session" "$(result pool.get_all "$session" | jq '.[0]')")
is "a certificate that nobody vouches for" "$(failure VM.import "$session" "\"$url/none\"" "$sr" false false)" \
    '["INTERNAL_ERROR","Connection failed: certificate verify failed."]'
stop
# The pool ends while somebody does not answer.
python3 -c 'import socket, time
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
time.sleep(60)' >"$tmp/deaf" &
deaf=$!
start --hosts 1
session=$(login)
sr=$(result pool.get_default_SR "$session" "$(result pool.get_all "$session" | jq '.[0]')")
soon test -s "$tmp/deaf"
task=$(result Async.VM.import "$session" "\"http://127.0.0.1:$(cat "$tmp/deaf")/x\"" "$sr" false false)
is "a fetch that gets no answer goes on" "$(result task.get_status "$session" "$task")" '"pending"'
stop
kill $deaf
is "and ends with the pool" "$sim_status$(cat "$tmp/sim.err")" 0
done_testing
