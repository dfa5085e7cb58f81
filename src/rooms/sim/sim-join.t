# A host of one simulated pool joins another one: pool.join, what comes with it, and pool.eject of it again.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3
export PYTHONPATH="$XENKIT_SOURCE/src/rooms/sim" PYTHONDONTWRITEBYTECODE=1
master_pid=
on_exit eval '[ -z "$master_pid" ] || kill -KILL $master_pid 2>/dev/null || :'

cat >join.py <<'PYTHON'
from poolclient import *
here, there_url = sys.argv[1], sys.argv[2]
mine, theirs = Pool(here), Pool(there_url)
port = here.split(":")[-1]

def body(url, method, path, session, data=None, **words):
    host, at = url[len("http://"):].split(":")
    c = http.client.HTTPConnection(host, int(at), timeout=60)
    c.request(method, path + "?" + "&".join("%s=%s" % pair for pair in dict(words, session_id=session).items()), data)
    r = c.getresponse()
    return r.status, r.read()
def join(address="127.0.0.1", password="xenkit"):
    return mine.error("pool.join", address, "root", password)
def records(pool, kind):
    return pool(kind + ".get_all_records")

# ---- what keeps a host from joining ----
same("a wrong password", join(password="x"), ["SESSION_AUTHENTICATION_FAILED", "root", "Authentication failure"])
same("at a slave", join("127.0.0.2"), ["HOST_IS_SLAVE", "127.0.0.1"])
same("where nobody is", join("127.0.0.77")[0], "INTERNAL_ERROR")
same("what is no address", join("[::1")[0], "INVALID_VALUE")
same("machines run", join(), ["JOINING_HOST_CANNOT_HAVE_RUNNING_VMS"])
for ref, vm in records(mine, "VM").items():
    if vm["power_state"] == "Running" and not vm["is_control_domain"]:
        mine("VM.hard_shutdown", ref)
same("there is shared storage", join(), ["JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS"])
for ref, sr in records(mine, "SR").items():
    if sr["shared"]:
        for pbd in sr["PBDs"]:
            mine("PBD.unplug", pbd)
        mine("SR.forget", ref)
eth1 = next(r for r, p in records(mine, "PIF").items() if p["device"] == "eth1")
network = mine("network.create", {"name_label": "tagged", "other_config": {}})
vlan = mine("VLAN.create", eth1, 7, network)
same("it has a VLAN", join(), ["POOL_JOINING_HOST_HAS_NON_MANAGEMENT_VLANS"])
mine("VLAN.destroy", vlan)
same("it has hosts of its own", theirs.error("pool.join", "127.0.0.9", "root", "xenkit"), ["JOINING_HOST_CANNOT_BE_MASTER_OF_OTHER_HOSTS"])

# ---- what comes with it ----
uuid = mine.get("host", mine("host.get_all")[0], "uuid")
local = next(r for r, s in records(mine, "SR").items() if s["type"] == "ext")
disk = mine("VDI.create", {"name_label": "kept", "SR": local, "virtual_size": 8 << 20, "type": "user", "sharable": False, "read_only": False, "other_config": {"k": "v"}})
disk_uuid = mine.get("VDI", disk, "uuid")
data = bytes(range(256)) * 1000 + bytes(1 << 20) + b"end of it" * 1000
data += bytes((8 << 20) - len(data))
same("a disk holds something", body(here, "PUT", "/import_raw_vdi", mine.session, data, vdi=disk)[0], 200)
mine.until(lambda: body(here, "GET", "/export_raw_vdi", mine.session, vdi=disk)[1] == data)
vm = mine("VM.clone", next(r for r, v in records(mine, "VM").items() if v["is_default_template"]), "moves along")
mine("VM.set_is_a_template", vm, False)
device = {"VM": vm, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}}
mine("VBD.create", dict(device, VDI=disk, userdevice="5", bootable=False, mode="RW", type="Disk", unpluggable=True, empty=False))
mine("VIF.create", dict(device, network=network, device="5", MAC="", MTU=1500))
vm_uuid = mine.get("VM", vm, "uuid")
snapshot_uuid = mine.get("VM", mine("VM.snapshot", vm, "before"), "uuid")
uuids = {k: {v["uuid"] for v in records(mine, k).values()} for k in ("SR", "VDI", "PBD", "PIF", "VBD", "VIF")}
uuids["VM"] = {v["uuid"] for v in records(mine, "VM").values() if not v["is_default_template"]}
all_refs = {r for k in uuids for r in records(mine, k)}
hosts, templates = len(theirs("host.get_all")), len([v for v in records(theirs, "VM").values() if v["is_default_template"]])
token = theirs("event.from", ["host", "vm"], "", 0.0)["token"]

same("it joins", join(), None)
def answer():
    try:
        Pool("http://127.0.0.9:" + port)
    except AssertionError as wrong:
        return str(wrong)
    except OSError:
        return "nobody"
mine.until(lambda: "HOST_IS_SLAVE" in (answer() or ""))
ok("its own server sends clients to the master", "['HOST_IS_SLAVE', '127.0.0.1']" in answer(), answer())
host = theirs("host.get_by_uuid", uuid)
same("its record", [theirs.get("host", host, f) for f in ("address", "enabled", "hostname")], ["127.0.0.9", True, "host-1"])
same("it is live", theirs.get("host_metrics", theirs.get("host", host, "metrics"), "live"), True)
ok("events tell of it", any(e["class"] == "host" and e["ref"] == host for e in theirs("event.from", ["host", "vm"], token, 5.0)["events"]))
for kind in sorted(uuids):
    ok("each %s comes with its uuid" % kind, uuids[kind] <= {v["uuid"] for v in records(theirs, kind).values()})
    ok("and a ref of the pool's", not all_refs & set(records(theirs, kind)))
same("default templates do not come twice", len([v for v in records(theirs, "VM").values() if v["is_default_template"]]), templates)
networks = records(theirs, "network")
same("cards are on the pool's networks of their bridges", sorted(networks[p["network"]]["bridge"] for p in records(theirs, "PIF").values() if p["host"] == host), ["xenbr0", "xenbr1"])
same("of which there is one", [n["bridge"] for n in networks.values()].count("xenbr0"), 1)
moved = theirs("VM.get_by_uuid", vm_uuid)
same("a network of the host's own is made", "tagged" in [networks[theirs.get("VIF", v, "network")]["name_label"] for v in theirs.get("VM", moved, "VIFs")], True)
same("bridges are none's twice", len({n["bridge"] for n in networks.values()}), len(networks))
vdi = theirs("VDI.get_by_uuid", disk_uuid)
ok("the disk is on its SR", theirs.get("SR", theirs.get("VDI", vdi, "SR"), "uuid") in uuids["SR"])
ok("and in the machine", vdi in [theirs.get("VBD", b, "VDI") for b in theirs.get("VM", moved, "VBDs")])
ok("with what it held", body("http://127.0.0.9:" + port, "GET", "/export_raw_vdi", theirs.session, vdi=vdi) == (200, data))
same("its snapshot knows it", theirs.get("VM", theirs("VM.get_by_uuid", snapshot_uuid), "snapshot_of"), moved)
known = {r for k in list(uuids) + ["host", "network"] for r in records(theirs, k)} | {"OpaqueRef:NULL", ""}
lost = [(k, f, v[f]) for k in uuids for v in records(theirs, k).values()
        for f in ("SR", "VDI", "VM", "host", "network", "resident_on", "affinity", "snapshot_of", "suspend_VDI") if f in v and v[f] not in known]
same("whatever refers to something refers to what is there", lost, [])
same("dom0 runs on it", [v["is_control_domain"] for v in records(theirs, "VM").values() if v["resident_on"] == host], [True])

# ---- a host like any other ----
same("machines start there", theirs.error("VM.start_on", moved, host, False, False), None)
same("and are there", theirs.get("VM", moved, "resident_on"), host)
same("it is not ejected while they run", theirs.error("pool.eject", host), ["OPERATION_NOT_ALLOWED", "VM resident on host"])
theirs("VM.hard_shutdown", moved)
same("who joined cannot join again", theirs.error("pool.join", "127.0.0.9", "root", "xenkit"), ["HOST_IS_SLAVE", "127.0.0.1"])
open("joined", "w").write(host)
done()
PYTHON

cat >eject.py <<'PYTHON'
from poolclient import *
theirs, host = Pool(sys.argv[2]), open("joined").read()
uuid = theirs.get("host", host, "uuid")
local = {s["uuid"] for s in theirs("SR.get_all_records").values() if [theirs.get("PBD", b, "host") for b in s["PBDs"]] == [host]}
same("it has storage of its own", len(local), 1)
hosts = len(theirs("host.get_all"))
same("it is ejected", theirs.error("pool.eject", host), None)
def again():
    try:
        return Pool(sys.argv[1])
    except (AssertionError, OSError):
        return None
theirs.until(again)
fresh = again()
same("and is a pool of its own again", [fresh.get("host", h, "address") for h in fresh("host.get_all")], ["127.0.0.9"])
ok("a new one", fresh.get("host", fresh("host.get_all")[0], "uuid") != uuid)
same("the other one has the hosts that it had", [len(theirs("host.get_all")), uuid in {h["uuid"] for h in theirs("host.get_all_records").values()}], [hosts - 1, False])
ok("its own storage went with it", not local & {s["uuid"] for s in theirs("SR.get_all_records").values()})
done()
PYTHON
# Only the join itself, to be made at an address: short.py JOINING MASTER ADDRESS
cat >short.py <<'PYTHON'
from poolclient import *
mine, theirs = Pool(sys.argv[1]), Pool(sys.argv[2])
for ref, vm in mine("VM.get_all_records").items():
    if vm["power_state"] == "Running" and not vm["is_control_domain"]:
        mine("VM.hard_shutdown", ref)
for ref, sr in mine("SR.get_all_records").items():
    if sr["shared"]:
        for pbd in sr["PBDs"]:
            mine("PBD.unplug", pbd)
        mine("SR.forget", ref)
uuid = mine.get("host", mine("host.get_all")[0], "uuid")
wrong = mine.error("pool.join", sys.argv[3], "root", "xenkit")
if len(sys.argv) > 4:
    same("it does not join", wrong[0], sys.argv[4])
    same("and is what it was", Pool(sys.argv[1])("host.get_by_uuid", uuid) in mine("host.get_all"), True)
else:
    same("it joins", wrong, None)
    def led():
        try:
            return Pool(sys.argv[1]) and None
        except AssertionError as e:
            return "['HOST_IS_SLAVE', '%s']" % sys.argv[3].strip("[]").split("]")[0] in str(e)
        except OSError:
            return None
    mine.until(led)
    host = theirs("host.get_by_uuid", uuid)
    same("and is there", [theirs.get("host", host, "address"), theirs.get("host", host, "enabled")], ["127.0.0.9", True])
done()
PYTHON
# both NAME MASTER'S-WORDS -- JOINING-WORDS: two pools of a host each, on one port, in $master and $url
both() {
    masters='' what=$1
    shift
    while [ "$1" != -- ]; do
        masters="$masters $1"
        shift
    done
    shift
    # shellcheck disable=SC2086
    start --hosts 1 --vms 1 $masters
    master_pid=$pid master=$url
    [ -n "$url" ] || diag "the master: $(cat "$tmp/sim.err")"
    mv "$tmp/sim.err" "$tmp/master.err"
    start --hosts 1 --vms 1 --listen 127.0.0.9 --port "${url##*:}" "$@"
    [ -n "$url" ] || diag "the joining one: $(cat "$tmp/sim.err")"
}
# shortly ADDRESS [ERROR]: the join
shortly() {
    run timeout 100 python3 short.py "$url" "$master" "$@"
    grep -v '^ok' "$out" "$err" | head -n 30 | while read -r line; do diag "$line"; done
    is "$what" "$status $(grep -c '^not ok' "$out")" "0 0"
}
end_both() {
    stop
    kill -TERM $master_pid && wait $master_pid
    is "$what: both end well" "$sim_status $? $(cat "$tmp/master.err")" "0 0 "
    master_pid=
}
statements() {
    run timeout 250 python3 "$1" "$url" "$master"
    grep -v '^ok' "$out" "$err" | head -n 30 | while read -r line; do diag "$line"; done
    is "$2" "$status $(grep -c '^not ok' "$out")" "0 0"
}

# A pool in $master, and one of a single host in $url, on one port.
start --hosts 2 --vms 4
master_pid=$pid master=$url
mv "$tmp/sim.err" "$tmp/master.err"
start --hosts 1 --vms 5 --listen 127.0.0.9 --port "${url##*:}"
statements join.py "a host joins"
statements eject.py "and is ejected"
statements join.py "it joins once more"
like "the new pool is told of" "$(cat "$tmp/sim.err")" '^xenkit: ejected: a new pool at http://127\.0\.0\.9:'
# The program that it was is gone: so is the host.
kill -KILL $pid
wait $pid 2>/dev/null
pid=
url=$master
session=$(login)
host=$(jq -R . joined)
died() {
    [ "$(failure host.get_servertime "$session" "$host" | jq -r '.[0]')" = CANNOT_CONTACT_HOST ]
}
ok "when its program is killed the host has died" soon died
kill -TERM $master_pid && wait $master_pid
is "the master's program ends well" "$?$(cat "$tmp/master.err")" 0
master_pid=

# ---- over TLS, over IPv6, and with what is kept ----

both "over TLS, both kept in files" --tls --state there.state -- --tls --state here.state
ok "each keeps its own" test -s here.state -a -s there.state
shortly 127.0.0.1
ok "who joined keeps nothing any more" soon test ! -e here.state
end_both
url=$master
start --tls --listen 127.0.0.1,127.0.0.9 --state there.state
cat >kept.py <<'PYTHON'
from poolclient import *
pool = Pool(sys.argv[1])
same("the pool that was joined still has it", sorted(h["address"] for h in pool("host.get_all_records").values()), ["127.0.0.1", "127.0.0.9"])
done()
PYTHON
run timeout 100 python3 kept.py "$url"
grep -v '^ok' "$out" "$err" | while read -r line; do diag "$line"; done
is "it is there after a restart" "$status $(grep -c '^not ok' "$out")" "0 0"
stop
both "over IPv6" --listen ::1 --
shortly ::1
end_both
both "TLS at the master only" --tls --
shortly 127.0.0.1 INTERNAL_ERROR
end_both
both "TLS at the joining host only" -- --tls
shortly 127.0.0.1 JOINING_HOST_SERVICE_FAILED
end_both
done_testing
