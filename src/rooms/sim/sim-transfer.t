# Machines of the simulated pool as files: archives with records and disks.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3

cat >transfer.py <<'PYTHON'
import io
import sys
import tarfile
import urllib.error
import urllib.request
import xmlrpc.client
from poolclient import *
from xxh64 import xxh64
url = sys.argv[1]
api = Pool(url)
none = "OpaqueRef:NULL"
key = "&session_id=" + api.session
vms = api("VM.get_all_records")
plain = [r for r, v in vms.items() if not v["is_a_template"] and not v["is_control_domain"]]
halted = next(r for r in plain if vms[r]["power_state"] == "Halted")
running = next(r for r in plain if vms[r]["power_state"] == "Running")

def ask(path, data=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, data, method="PUT" if data else "GET")) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as e:
        return e.code, b""
def records(archive):
    text = archive.extractfile("ova.xml").read()
    return xmlrpc.client.loads("<params><param>%s</param></params>" % text.decode())[0][0]
def refs(value):
    if isinstance(value, str):
        return [value] if value.startswith(("OpaqueRef:", "Ref:")) else []
    return [r for v in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else []) for r in refs(v)]

# ---- records ----
snapshot = api("VM.snapshot", halted, "before")
status, body = ask("/export_metadata?ref=" + halted + key)
archive = tarfile.open(fileobj=io.BytesIO(body))
same("the records are one file of an archive", [status, archive.getnames()], [200, ["ova.xml"]])
content = records(archive)
objects = {o["id"]: o for o in content["objects"]}
same("of a version", [content["version"]["export_vsn"], content["version"]["product_brand"]], ["2", "XenServer"])
same("each has a name of its own", [len(objects) == len(content["objects"]), all(i.startswith("Ref:") for i in objects)], [True, True])
kinds = [o["class"] for o in content["objects"]]
same("the machine, its snapshot and what they need", [sorted(set(kinds)), kinds.count("VM")],
     [["SR", "VBD", "VDI", "VIF", "VM", "VM_metrics", "network"] if vms[halted]["affinity"] == none else sorted(set(kinds)), 2])
same("references lead into the archive or nowhere", {r for o in content["objects"] for r in refs(o["snapshot"])} - set(objects) - {none}, set())
machine = next(o["snapshot"] for o in objects.values() if o["class"] == "VM" and not o["snapshot"]["is_a_snapshot"])
same("the record is the machine's", [machine[f] for f in ("uuid", "name_label", "power_state", "allowed_operations")],
     [vms[halted]["uuid"], vms[halted]["name_label"], "Halted", []])
disk = objects[machine["VBDs"][0]]["snapshot"]
same("there and back", [objects[disk["VM"]]["snapshot"]["uuid"], objects[disk["VDI"]]["class"]], [vms[halted]["uuid"], "VDI"])
status, body = ask("/export_metadata?export_snapshots=false&uuid=" + vms[halted]["uuid"] + key)
content = records(tarfile.open(fileobj=io.BytesIO(body)))
same("without its snapshots", [o["snapshot"]["snapshots"] for o in content["objects"] if o["class"] == "VM"], [[]])
status, body = ask("/export_metadata?export_snapshots=false&excluded_device_types=VBD,vif&uuid=" + vms[halted]["uuid"] + key)
kinds = {o["class"] for o in records(tarfile.open(fileobj=io.BytesIO(body)))["objects"]}
same("without disks and interfaces", [status, kinds & {"VBD", "VDI", "VIF", "network"}, "VM" in kinds], [200, set(), True])
status, body = ask("/export_metadata?excluded_device_types=floppy&uuid=" + vms[halted]["uuid"] + key)
same("types of devices that are none are refused", status, 500)
own = api("VM.get_VBDs", halted)
disk = next(d for d in (api("VBD.get_VDI", b) for b in own) if d != none)
base = api("VDI.snapshot", disk)
api("VDI.add_to_sm_config", disk, "vhd-parent", api("VDI.get_uuid", base))
counts = []
for parents in "false", "true":
    status, body = ask("/export_metadata?export_snapshots=false&include_vhd_parents=" + parents + "&uuid=" + vms[halted]["uuid"] + key)
    counts.append(sum(o["class"] == "VDI" for o in records(tarfile.open(fileobj=io.BytesIO(body)))["objects"]))
same("with what its disk lies on", counts[1] - counts[0], 1)
api("VDI.remove_from_sm_config", disk, "vhd-parent")
status, body = ask("/export_metadata?all=true&include_dom0=false" + key)
content = records(tarfile.open(fileobj=io.BytesIO(body)))
same("all machines but templates", {o["snapshot"]["uuid"] for o in content["objects"] if o["class"] == "VM"} >= {vms[r]["uuid"] for r in plain}, True)
same("running ones run", next(o["snapshot"]["power_state"] for o in content["objects"] if o["snapshot"]["uuid"] == vms[running]["uuid"]), "Running")

# ---- disks ----
task = api("task.create", "export", "")
status, body = ask("/export?uuid=" + vms[halted]["uuid"] + key + "&task_id=" + task)
archive = tarfile.open(fileobj=io.BytesIO(body))
content = records(archive)
objects = {o["id"]: o for o in content["objects"]}
names = archive.getnames()
disks = [i for i, o in objects.items() if o["class"] == "VDI"]
last = {i: "%s/%08d" % (i, (int(objects[i]["snapshot"]["virtual_size"]) - 1) >> 20) for i in disks}
same("the pieces of zeros at both ends", sorted(names), sorted(["ova.xml"] + [n + s for i in disks for n in (i + "/00000000", last[i]) for s in ("", ".xxhash")]))
piece = archive.extractfile(last[disks[0]]).read()
same("with their sums", [set(piece), archive.extractfile(last[disks[0]] + ".xxhash").read().decode()], [{0}, xxh64(piece)])
record = api("task.get_record", task)
same("its task is over", [record["status"], record["progress"], record["error_info"]], ["success", 1, []])

# ---- what cannot be ----
same("a running machine is not exported", ask("/export?ref=" + running + key)[0], 500)
task = api("task.create", "export", "")
ask("/export?ref=" + running + key + "&task_id=" + task)
same("its task tells why", api.get("task", task, "error_info"), ["VM_BAD_POWER_STATE", running, "halted, suspended", "running"])
same("but its records are", ask("/export_metadata?ref=" + running + key)[0], 200)
task = api("task.create", "export", "")
same("a machine that is none", [ask("/export_metadata?uuid=none" + key + "&task_id=" + task)[0], api.get("task", task, "error_info")], [500, ["UUID_INVALID", "VM", "none"]])
same("nobody may ask", [ask("/export?ref=" + halted)[0], ask("/export_metadata?ref=" + halted)[0], ask("/import", b"x")[0]], [401, 401, 401])
api("VM.destroy", snapshot)
done()
PYTHON

start
PYTHONPATH="$XENKIT_SOURCE/src/rooms/sim" PYTHONDONTWRITEBYTECODE=1 run timeout 280 python3 transfer.py "$url"
sed -n 's/^not ok [0-9]* - //p; s/^# /  /p' "$out" | while read -r line; do diag "$line"; done
is "the statements hold" "$(grep -c '^not ok' "$out") $status $(cat "$err")" "0 0 "
ok "and there are many" test "$(grep -c '^ok' "$out")" -ge 18
stop
is "the pool ends, with nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0
done_testing
