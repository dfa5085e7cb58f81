# What disks of the simulated pool hold: raw and VHD, in and out, shared by snapshots, kept beside the state; and who may.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3
export PYTHONPATH="$XENKIT_SOURCE/src/rooms/sim" PYTHONDONTWRITEBYTECODE=1

cat >disks.py <<'PYTHON'
from transferclient import *
import base64
import hashlib
import io
import os
import re
import shutil
import struct
import subprocess
import tarfile
import uuid
import xml.dom.minidom
sr = api("pool.get_default_SR", api("pool.get_all")[0])
MIB = 1 << 20
size = 12 * MIB
def new(bytes=size, **more):
    return api("VDI.create", dict({"name_label": "x", "SR": sr, "virtual_size": str(bytes), "type": "user", "sharable": False, "read_only": False, "other_config": {}}, **more))
def write(vdi, data, **words):
    task = api("task.create", "t", "")
    status = put("/import_raw_vdi", data, vdi=vdi, task_id=task, **words)
    record = api.wait(task)
    return [status, record["error_info"] or record["status"]]
def read(vdi, **words):
    return get("/export_raw_vdi", vdi=vdi, **words)[1]
def vhd(disk, blocks, kind=3):
    """A dynamic image made by nothing but this function: blocks {number: (bitmap, data)}."""
    def sealed(raw, at):
        return raw[:at] + struct.pack(">I", ~sum(raw) & 0xffffffff) + raw[at + 4:]
    footer = sealed(struct.pack(">8sIIQI4sI4sQQHBBII16sB427x", b"conectix", 2, 0x10000, 512, 0, b"test", 1, b"test", disk, disk, 100, 4, 17, kind, 0,
                                uuid.uuid4().bytes, 0), 64)
    entries = -(-disk // (2 * MIB))
    table = -(-entries * 4 // 512) * 512
    at, bat = (512 + 1024 + table) // 512, []
    for n in range(entries):
        bat.append(at if n in blocks else 0xffffffff)
        at += 1 + 4096 if n in blocks else 0
    header = sealed(struct.pack(">8sQQIIII16sII512s192x256x", b"cxsparse", 2 ** 64 - 1, 1536, 0x10000, entries, 2 * MIB, 0, b"", 0, 0, b""), 36)
    body = b"".join(bitmap + data for n, (bitmap, data) in sorted(blocks.items()))
    return footer + header + struct.pack(">%dI" % entries, *bat).ljust(table, b"\xff") + body + footer

# ---- raw ----
data = bytearray(size)
data[100:5000] = randomness.randbytes(4900)
data[5 * MIB + 7:5 * MIB + 300000] = randomness.randbytes(299993)
data[-512:] = b"z" * 512
data = bytes(data)
disk = new()
same("a new disk is zeros", read(disk) == bytes(size), True)
same("raw bytes go in", write(disk, data), [200, "success"])
ok("and come out", read(disk) == data)
used = api("VDI.get_physical_utilisation", disk)
ok("holes take no space", 0 < used < 2 * MIB, used)
same("a shorter one changes only its own", write(disk, b"y" * 1000), [200, "success"])
ok("and nothing else", read(disk) == b"y" * 1000 + data[1000:])
write(disk, data)
same("one that is too long does not fit", write(disk, data + b"x" * 4096), [200, ["VDI_IO_ERROR", "Device I/O errors"]])
pieces = b"".join(struct.pack("<QI", at, len(b)) + b for at, b in ((8 * MIB + 3, b"later"), (MIB, b"earlier" * 9000), (2 * MIB, b"")))
same("pieces with their places", write(disk, pieces + bytes(12), chunked="true"), [200, "success"])
changed = bytearray(data)
changed[8 * MIB + 3:8 * MIB + 8] = b"later"
changed[MIB:MIB + 63000] = b"earlier" * 9000
ok("land there", read(disk) == bytes(changed))
same("without an end they are broken off", write(disk, pieces, chunked="true"), [200, ["VDI_IO_ERROR", "Device I/O errors"]])
write(disk, data)

# ---- VHD ----
image = read(disk, format="vhd")
open("out.vhd", "wb").write(image)
open("out.raw", "wb").write(data)
other = new()
same("a VHD comes back", [write(other, image, format="vhd"), read(other) == data], [[200, "success"], True])
full = b"\xff" * 512
made = {1: (full, randomness.randbytes(2 * MIB)), 4: (b"\x80" + bytes(510) + b"\x01", b"A" * 512 + b"B" * (2 * MIB - 1024) + b"C" * 512)}
same("a foreign one, too", write(other, vhd(size, made), format="vhd"), [200, "success"])
wanted = bytearray(data)
wanted[2 * MIB:4 * MIB] = made[1][1]
wanted[8 * MIB:8 * MIB + 512] = b"A" * 512
wanted[10 * MIB - 512:10 * MIB] = b"C" * 512
ok("what it does not have stays", read(other) == bytes(wanted))
same("the size of a disk is its limit", write(other, vhd(size + 2 * MIB, {}), format="vhd"), [200, ["VDI_IO_ERROR", "Device I/O errors"]])
same("a cut one", write(other, image[:len(image) // 2], format="vhd"), [200, ["VDI_IO_ERROR", "Device I/O errors"]])
same("none at all", write(other, b"no image" * 100, format="vhd"), [200, ["VDI_IO_ERROR", "Device I/O errors"]])
snapshot = api("VDI.snapshot", disk, {})
new_data = bytearray(data)
new_data[3 * MIB:3 * MIB + 5] = b"delta"
new_data[100:600] = bytes(500)
write(disk, bytes(new_data))
ok("a snapshot keeps what was", read(snapshot) == data)
delta = read(disk, format="vhd", base=snapshot)
same("the difference is a differencing image", struct.unpack(">I", delta[60:64])[0], 4)
copy = api("VDI.copy", snapshot, sr)
same("which on a copy of the snapshot", write(copy, delta, format="vhd"), [200, "success"])
ok("gives the disk", read(copy) == bytes(new_data))
big = new(1 << 40)
ok("a disk of a terabyte is quickly told", len(read(big, format="vhd")) < 4 * MIB)

# ---- tar: pieces of a megabyte with their checksums, as in an XVA ----
archive = read(disk, format="tar")
members = tarfile.open(fileobj=io.BytesIO(archive)).getmembers()
same("only pieces that are not zeros, the first and the last", [m.name for m in members],
     [n for i in (0, 3, 5, 11) for n in ("vdi/%08d" % i, "vdi/%08d.xxhash" % i)])
target = new()
write(target, b"n" * size)
same("an archive comes back", [write(target, archive, format="TAR"), read(target)[:MIB] == bytes(new_data)[:MIB]], [[200, "success"], True])
ok("what it leaves out stays", read(target)[MIB:3 * MIB] == b"n" * 2 * MIB)
def tar(parts, sums=True, folder="vdi"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as t:
        for number, content in parts:
            digest = hashlib.sha1(content).hexdigest().encode()
            for name, text in (("%s/%08d" % (folder, number), content), ("%s/%08d.checksum" % (folder, number), digest if sums else b"0" * 40)):
                info = tarfile.TarInfo(name)
                info.size = len(text)
                t.addfile(info, io.BytesIO(text))
    return out.getvalue()
pieces = [(0, b"a" * MIB), (7, randomness.randbytes(MIB)), (11, b"e" * MIB)]
target = new()
same("a foreign one, with SHA-1", write(target, tar(pieces), format="tar"), [200, "success"])
ok("has its pieces in their places", read(target) == pieces[0][1] + bytes(6 * MIB) + pieces[1][1] + bytes(3 * MIB) + pieces[2][1])
same("a wrong checksum", write(target, tar(pieces, sums=False), format="tar")[1][0], "IMPORT_ERROR")
same("the name of another folder", write(target, tar(pieces, folder="xyz"), format="tar")[1],
     ["IMPORT_ERROR", "INTERNAL_ERROR: [ Stream_vdi.Failure(\"Invalid XVA file\") ]"])
same("more than the disk", write(target, tar([(0, b"a" * MIB), (12, b"b" * MIB)]), format="tar"), [200, ["VDI_IO_ERROR", "Device I/O errors"]])
same("one that is cut", write(target, tar(pieces)[:3 * MIB], format="tar")[1][0][:8], "INTERNAL")
same("none at all", write(target, b"no archive" * 1000, format="tar")[1][0][:8], "INTERNAL")

# ---- qcow2, as qemu-img makes and reads it ----
if shutil.which("qemu-img"):
    def qemu(*words):
        subprocess.run(("qemu-img",) + words, check=True, stdout=subprocess.DEVNULL)
    open("new.raw", "wb").write(bytes(new_data))
    open("ours.qcow2", "wb").write(read(disk, format="qcow2"))
    qemu("check", "-q", "ours.qcow2")
    qemu("compare", "-q", "-f", "qcow2", "-F", "raw", "ours.qcow2", "new.raw")
    ok("a qcow2 is what QEMU takes for the disk, and has no holes in it", os.path.getsize("ours.qcow2") < 3 * MIB)
    for what, options in (("a plain one", ("-f", "qcow2", "new.raw")), ("a compressed one", ("-f", "qcow2", "-c", "new.raw")),
                          ("one of version 2 with small clusters", ("-f", "qcow2", "-o", "compat=0.10,cluster_size=512", "new.raw")),
                          ("one with subclusters", ("-f", "qcow2", "-o", "extended_l2=on,cluster_size=2M", "new.raw"))):
        qemu("convert", "-O", "qcow2", *options[2:-1], options[-1], "theirs.qcow2")
        target = new()
        same(what, [write(target, open("theirs.qcow2", "rb").read(), format="qcow2"), read(target) == bytes(new_data)], [[200, "success"], True])
    qemu("create", "-q", "-f", "qcow2", "zeros.qcow2", str(size))
    subprocess.run(("qemu-io", "-c", "write -z 5M 1M", "zeros.qcow2"), check=True, stdout=subprocess.DEVNULL)
    same("zeros that are said are written", write(target, open("zeros.qcow2", "rb").read(), format="qcow2"), [200, "success"])
    ok("what is not said stays", read(target) == bytes(new_data[:5 * MIB]) + bytes(MIB) + bytes(new_data[6 * MIB:]))
    copy = api("VDI.copy", snapshot, sr)
    delta = read(disk, format="qcow2", base=snapshot)
    same("a difference goes on top of a copy", [write(copy, delta, format="qcow2"), read(copy) == bytes(new_data)], [[200, "success"], True])
    ok("and is small", len(delta) < MIB)
    qemu("create", "-q", "-f", "qcow2", "big.qcow2", str(size + MIB))
    same("one that is larger than the disk", write(target, open("big.qcow2", "rb").read(), format="qcow2"), [200, ["VDI_IO_ERROR", "Device I/O errors"]])
    image = open("theirs.qcow2", "rb").read()
    same("one that is cut", write(target, image[:len(image) // 3], format="qcow2"), [200, ["VDI_IO_ERROR", "Device I/O errors"]])
same("none at all", write(target, b"no image" * 100, format="qcow2"), [200, ["VDI_IO_ERROR", "Device I/O errors"]])
same("not a byte", write(target, b"", format="qcow2"), [200, ["VDI_IO_ERROR", "Device I/O errors"]])
ok("a terabyte is told as qcow2, too", len(read(big, format="qcow2")) < MIB)
api("VDI.destroy", target)

# ---- what cannot be ----
def refused(what, error, status, **words):
    task = api("task.create", "t", "")
    got = put("/import_raw_vdi", b"x", task_id=task, **words)
    same(what, [got, api.wait(task)["error_info"]], [status, error])
refused("a format that nobody knows", ["INTERNAL_ERROR", "Unknown format foo"], 404, vdi=disk, format="foo")
refused("a qcow2 without a disk", ["INTERNAL_ERROR", "Importing a QCOW2 directly into an SR not yet supported"], 400, sr_id=sr, format="qcow2")
refused("an archive without a disk", ["INTERNAL_ERROR", "Not enough info supplied to import"], 400, sr_id=sr, format="tar")
refused("a qcow2 in chunks", ["INTERNAL_ERROR", "Cannot handle chunked VHD"], 404, vdi=disk, format="qcow2", chunked="1")
refused("a VHD in chunks", ["INTERNAL_ERROR", "Cannot handle chunked VHD"], 404, vdi=disk, format="vhd", chunked="true")
refused("a VHD without a disk", ["INTERNAL_ERROR", "Importing a VHD directly into an SR not yet supported"], 400, sr_id=sr, format="vhd")
refused("neither disk nor SR", ["VDI_MISSING"], 400)
refused("a disk that is none", ["UUID_INVALID", "VDI", "none"], 500, vdi="none")
busy = next(r for r, v in api("VBD.get_all_records").items() if v["currently_attached"] and v["type"] == "Disk" and v["mode"] == "RW")
refused("a disk in use", ["VDI_IN_USE", api("VBD.get_VDI", busy), "attach"], 500, vdi=api("VBD.get_VDI", busy))
same("is not read, either", get("/export_raw_vdi", vdi=api("VBD.get_VDI", busy))[0], 500)
task = api("task.create", "t", "")
same("into an SR a disk is made", put("/import_raw_vdi", b"q" * 5000, sr_id=sr, task_id=task), 200)
ref = xmlrpc.client.loads("<params><param>%s</param></params>" % api.wait(task)["result"])[0][0]
ok("with the bytes in it", read(ref)[:5000] == b"q" * 5000)
before = len(api("VDI.get_all"))
task = api("task.create", "t", "")
c = connect()
c.putrequest("PUT", path_of("/import_raw_vdi", api.session, sr_id=sr, task_id=task))
c.putheader("Content-Length", str(8 * MIB))
c.endheaders()
c.send(b"p" * MIB)
while api("task.get_allowed_operations", task) != ["cancel"]:
    time.sleep(0.05)
api("task.cancel", task)
same("cancelled it is gone again", [api.wait(task)["status"], len(api("VDI.get_all"))], ["cancelled", before])
gone = api("VDI.get_uuid", other)
api("VDI.destroy", other)

# ---- who may ----
def login(user, password):
    return api.ask("session.login_with_password", user, password, "1.0", "test")
reader, admin = login("alice", "a"), login("carol", "c")
task = api("task.create", "t", "")
paths = ("/export?ref=x", "/export_metadata?ref=x", "/export_raw_vdi?vdi=x")
def status(method, path, session, **headers):
    c = connect()
    c.request(method, path + ("&session_id=" + session if session else ""), headers=dict(headers, **({"Content-Length": "0"} if method == "PUT" else {})))
    return c.getresponse().status
same("a reader may not have machines and disks", [status("GET", p, reader) for p in paths], [403] * 3)
same("nor give any", [status("PUT", p + "?task_id=" + task, reader) for p in ("/import", "/import_metadata", "/import_raw_vdi")], [403] * 3)
same("the task tells who might", api("task.get_error_info", task),
     ["RBAC_PERMISSION_DENIED", "http/put_import", "No permission in user session. (Roles with this permission: vm-power-admin, vm-admin, pool-admin, pool-operator)"])
same("an administrator of machines may", [status("GET", "/export_raw_vdi?vdi=" + ref, admin)], [200])
basic = lambda user, password: "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()
same("Basic has roles, too", [status("GET", "/export_raw_vdi?vdi=" + ref, "", Authorization=basic(*w)) for w in (("carol", "c"), ("alice", "a"), ("carol", "x"))], [200, 403, 401])
same("nobody may not", [status(m, p, "") for m, p in (("GET", "/export?ref=x"), ("PUT", "/import?x="), ("PUT", "/import_raw_vdi?x="))], [401] * 3)
task = api("task.create", "t", "")
same("what no simulated host has is said to be none", [status("GET", "/host_backup?task_id=" + task, api.session), api("task.get_error_info", task)],
     [501, ["NOT_IMPLEMENTED", "host_backup"]])
same("to those who might have it", [status("GET", "/host_backup?x=", admin), status("PUT", "/pool_patch_upload?x=", "")], [403, 401])
same("who may not open databases recovers nothing", api.error("VM.recover", api("VM.get_all")[0], reader, True)[:2], ["RBAC_PERMISSION_DENIED", "VM.recover"])
same("metrics are for every reader", status("GET", "/host_rrd?x=", reader), 200)

# ---- a host's report, and what needs more than a host has ----
def plain_get(path, session=api.session, **words):
    c = connect()
    c.request("GET", path_of(path, session, **words))
    r = c.getresponse()
    return r.status, r.getheader("Content-Type"), r.read()
api("secret.create", {"value": "sesame", "other_config": {}})
status_, kind, data = plain_get("/system-status")
report = tarfile.open(fileobj=io.BytesIO(data))
names = report.getnames()
same("a report is a tar", [status_, kind, [n.split("/", 1)[1] for n in names]], [200, "appliation/x-tar", ["xapi-db.xml", "var/log/xensource.log"]])
ok("in a folder that tells its time", re.fullmatch("bug-report-20[0-9]{12}", names[0].split("/")[0]), names)
database = xml.dom.minidom.parseString(report.extractfile(names[0]).read())
same("with the database, but no secrets", [len([r for t in database.getElementsByTagName("table") if t.getAttribute("name") == n for r in t.getElementsByTagName("row")])
     for n in ("VM", "secret")], [len(api("VM.get_all")), 0])
ok("and the log", b"Session.create" in report.extractfile(names[1]).read())
only = lambda e: [n.split("/", 1)[1] for n in tarfile.open(fileobj=io.BytesIO(plain_get("/system-status", entries=e, output="tar")[2])).getnames()]
same("or what is asked for", [only("xenserver-databases,other"), only("xenserver-logs"), only("other")], [["xapi-db.xml"], ["var/log/xensource.log"], []])
same("what it can hold, everybody may ask", [plain_get("/system-status", "", list="true")[:2], plain_get("/system-status", "")[0], status("GET", "/system-status?x=", admin)],
     [(200, "application/xml"), 401, 403])
def fails(path, **words):
    task = api("task.create", "t", "")
    return plain_get(path, task_id=task, **words)[0], api("task.get_status", task), api("task.get_error_info", task)
same("no other form", fails("/system-status", output="zip"), (500, "failure", ["SYSTEM_STATUS_RETRIEVAL_FAILED", "xen-bugtool failed: a simulated host writes tar only"]))
same("nobody balances", [fails("/wlb_report", report="x"), fails("/wlb_diagnostics"), plain_get("/wlb_report")[0]], [(500, "failure", ["WLB_NOT_INITIALIZED"])] * 2 + [500])
vm = api("VM.get_all")[0]
same("no guest has a screen", [fails("/vncsnapshot", ref=vm), fails("/vncsnapshot", uuid=api.get("VM", vm, "uuid")), fails("/vncsnapshot", ref="none")],
     [(404, "success", [])] * 2 + [(500, "failure", ["INTERNAL_ERROR", "Console.Failure"])])

# ---- for the next run ----
keep = api("VDI.clone", disk, {})
open("kept", "w").write(" ".join([disk, api("VDI.get_uuid", disk), keep, api("VDI.get_uuid", keep), gone]))
open("kept.raw", "wb").write(bytes(new_data))
done()
PYTHON

cat >again.py <<'PYTHON'
from transferclient import *
disk, disk_uuid, clone, clone_uuid, gone = open("kept").read().split()
data = open("kept.raw", "rb").read()
def read(vdi):
    return get("/export_raw_vdi", vdi=vdi)[1]
ok("a killed pool kept what its disks hold", read(disk) == data)
ok("and their clones", read(clone) == data)
put("/import_raw_vdi", b"first" * 100, vdi=disk)
ok("each has its own", read(disk)[:500] == b"first" * 100 and read(clone) == data)
files = os.listdir("state.disks")
ok("each is a file", disk_uuid in files and clone_uuid in files, files)
ok("a disk that was destroyed left none", gone not in files, files)
ok("nor does anything that is no disk", "11111111-1111-1111-1111-111111111111" not in files, files)
held = sum(os.stat("state.disks/" + f).st_blocks * 512 for f in files)
ok("sparse", held < 40 << 20, held)
api("VDI.destroy", clone)
ok("destroyed, its file goes", clone_uuid not in os.listdir("state.disks"))
done()
PYTHON

verdict() {
    sed -n 's/^not ok [0-9]* - //p; s/^# /  /p' "$out" | cut -c 1-400 | while read -r line; do diag "$line"; done
    is "the statements hold$1" "$(grep -c '^not ok' "$out") $status $(cat "$err")" "0 0 "
    ok "and there are many" test "$(grep -c '^ok' "$out")" -ge "$2"
}
printf 'alice:a:read-only\ncarol:c:vm-admin\n' >users
start --users users --log disk.log
run timeout 280 python3 disks.py "$url"
verdict " in memory" 42
if command -v qemu-img >/dev/null; then
    run qemu-img compare -f vpc -F raw out.vhd out.raw
    ok "qemu-img reads the same" test "$status" = 0
else
    skip "qemu-img reads the same" "qemu-img is missing"
fi
run xenkit vhd check out.vhd
ok "nothing is wrong with the image" test "$status" = 0
stop
is "the pool ends, with nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0

start --users users --state state --log disk.log
run timeout 280 python3 disks.py "$url"
verdict " in files" 42
kill -KILL $pid
{ wait $pid; } 2>/dev/null
: >state.disks/11111111-1111-1111-1111-111111111111
start --users users --state state
run timeout 280 python3 again.py "$url"
verdict " after a crash" 8
stop
is "and so does the one with files" "$sim_status$(cat "$tmp/sim.err")" 0
done_testing
