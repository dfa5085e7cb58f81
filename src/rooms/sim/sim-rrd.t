# Metrics over HTTP: read with Python's own XML and JSON parsers, and compared with each other and with the records.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3

cat >rrd.py <<'PYTHON'
import json
import math
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
import xmlrpc.client

url, slave = sys.argv[1:3]
proxy = xmlrpc.client.ServerProxy(url)
session = proxy.session.login_with_password("root", "xenkit", "1.0", "rrd")["Value"]
ROWS = {5: 120, 60: 120, 3600: 168, 86400: 366}
done = 0


def ok(name, truth, *why):
    global done
    done += 1
    print("%s %d - %s" % ("ok" if truth else "not ok", done, name))
    if not truth:
        print("#", *why)


def api(method, *args):
    reply = getattr(proxy, method)(session, *args)
    if reply["Status"] != "Success":
        raise RuntimeError(reply["ErrorDescription"])
    return reply["Value"]


def error(method, *args):
    reply = getattr(proxy, method)(session, *args)
    return reply.get("ErrorDescription", [None])


def get(path, base=url, auth=True, accept=None, **query):
    if auth:
        query["session_id"] = session
    request = urllib.request.Request(base + path + "?" + urllib.parse.urlencode(query))
    if accept:
        request.add_header("Accept", accept)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return reply.headers, reply.read()


def status(path, base=url, auth=True, **query):
    try:
        get(path, base, auth, **query)
        return 200
    except urllib.error.HTTPError as wrong:
        return wrong.code


class Updates:
    def __init__(self, base=url, **query):
        self.headers, body = get("/rrd_updates", base, **query)
        if self.headers["Content-Type"] == "application/json":
            doc = json.loads(body)
            self.meta = {k: v if k == "legend" else int(v) for k, v in doc["meta"].items()}
            self.legend = doc["meta"]["legend"]
            self.rows = [(int(r["t"]), [float(v) for v in r["values"]]) for r in doc["data"]]
            self.raw = doc
        else:
            root = ET.fromstring(body)
            assert root.tag == "xport" and [c.tag for c in root] == ["meta", "data"]
            assert [c.tag for c in root[0]] == ["start", "step", "end", "rows", "columns", "legend"]
            self.meta = {c.tag: int(c.text) for c in root[0] if c.tag != "legend"}
            self.legend = [e.text for e in root[0].find("legend")]
            self.rows = [(int(r[0].text), [float(v.text) for v in r[1:]]) for r in root[1]]
            self.texts = [v.text for r in root[1] for v in r[1:]]
            self.body = body

    def column(self, name):
        place = [i for i, entry in enumerate(self.legend) if entry.endswith(name)]
        assert len(place) == 1, (name, place)
        return [values[place[0]] for _, values in self.rows]


def same(a, b, part=1e-9):
    return all(math.isclose(x, y, rel_tol=part, abs_tol=1e-9) or (math.isnan(x) and math.isnan(y)) for x, y in zip(a, b))


now = int(time.time())
hosts = api("host.get_all_records")
master = next(r for r, h in hosts.items() if h["address"] == "127.0.0.1")
second = next(r for r, h in hosts.items() if h["address"] == "127.0.0.2")
vms = api("VM.get_all_records")
metrics = api("VM_metrics.get_all_records")
mine = {r: v for r, v in vms.items() if v["resident_on"] == master}
guests = {r: v for r, v in mine.items() if not v["is_control_domain"]}

# ---- form ----
for step, rows in ROWS.items():
    u = Updates(start=now - 20 * step, interval=step, host="true")
    m = u.meta
    ok("interval=%d is answered by its archive" % step, m["step"] == step, m)
    ok("%d: start and end" % step, now - 20 * step <= m["start"] <= now - 19 * step and
       m["end"] == u.rows[0][0] and time.time() - m["end"] < step + 15, m, now)
    ok("%d: rows are counted, evenly spaced, newest first" % step, m["rows"] == len(u.rows) and
       [t for t, _ in u.rows] == list(range(m["end"], m["end"] - step * len(u.rows), -step)) and
       m["start"] <= u.rows[-1][0] and u.rows[-1][0] % step == 0, m)
    ok("%d: every row has every column" % step, m["columns"] == len(u.legend) > 50 and
       all(len(v) == m["columns"] for _, v in u.rows))
    ok("%d: numbers all the way back" % step, not any(math.isnan(x) for _, v in u.rows for x in v))
# A start that is itself the time of a row: what is asked for is what came after it.
edge = now - now % 60 - 600
u = Updates(start=edge, interval=60)
ok("rows begin behind a start that is a row's own time", u.meta["start"] == u.rows[-1][0] == edge + 60, u.meta)
u = Updates(start=now - 365 * 86400)
ok("a year is there", u.meta["step"] == 86400 and len(u.rows) >= 365 and
   not any(math.isnan(x) for _, v in u.rows for x in v), u.meta)
ok("the newest row is at most 15 seconds old", time.time() - Updates(start=-30).meta["end"] <= 15)
for back, step in ((500, 5), (3600, 60), (86400, 3600), (30 * 86400, 86400), (3 * 366 * 86400, 86400)):
    ok("without interval the finest archive that reaches back %d s" % back,
       Updates(start=now - back, vm_uuid="none", host="true").meta["step"] == step)
# By a clock that goes on between two requests, and stands still for as long as the machine is busy.
begun = int(time.time())
r = Updates(start=-300, vm_uuid="none", host="true")
ok("a start below zero counts from now", begun - 310 <= r.meta["start"] <= time.time() - 290, r.meta, begun)
ok("the legend says kind, uuid and source", all(
    e.split(":")[:2] in (["AVERAGE", "vm"], ["AVERAGE", "host"]) and len(e.split(":")) == 4 for e in u.legend))
ok("XML begins with its declaration", Updates(start=-30).body.startswith(
    b'<?xml version="1.0" encoding="UTF-8"?>\n<xport><meta><start>'))
ok("numbers have at most 15 digits, zero is 0.0", all(
    t == "0.0" if float(t) == 0 else t == "%.15g" % float(t) for t in Updates(start=-60, host="true").texts))
connection = get("/rrd_updates", start=-30)[0]
ok("the connection ends", connection["Connection"] == "close" and connection["Access-Control-Allow-Origin"] == "*")
ok("a start is needed", status("/rrd_updates") == 400)
ok("a session is needed", status("/rrd_updates", auth=False, start=-30) == 401)
ok("nothing asked for is an error", status("/rrd_updates", start=-30, vm_uuid="none") == 500)
ok("archives hold averages", status("/rrd_updates", start=-30, cf="MAX") == 500 and
   status("/rrd_updates", start=-30, cf="AVERAGE") == 200)

# ---- JSON ----
x, j = Updates(start=now - 3600, interval=60), Updates(start=now - 3600, interval=60, json="true")
ok("JSON says the same as XML", x.legend == j.legend and x.meta["step"] == j.meta["step"] and
   all(same(dict(x.rows)[t], v) for t, v in j.rows if t in dict(x.rows)))
ok("its numbers are texts", isinstance(j.raw["data"][0]["values"][0], str) and isinstance(j.raw["meta"]["end"], str))
ok("Accept asks for it, too", get("/rrd_updates", accept="application/json", start=-30)[0]["Content-Type"] ==
   "application/json")

# ---- what agrees with what ----
one, two = Updates(start=now - 3600, interval=60, host="true"), Updates(start=now - 3600, interval=60, host="true")
ok("two requests agree", all(same(dict(one.rows)[t], v, 0) for t, v in two.rows if t in dict(one.rows)))
recent = int(time.time()) - 480
fine, coarse = Updates(start=recent, host="true"), Updates(start=recent, interval=60, host="true")
seconds = dict(fine.rows)
checked = 0
for t, values in coarse.rows:
    parts = [seconds[s] for s in range(t - 55, t + 1, 5) if s in seconds]
    for i, name in enumerate(coarse.legend):
        if len(parts) == 12 and not name.endswith(("_latency", "_xvda_latency")) and "latency" not in name:
            mean = sum(p[i] for p in parts) / 12
            checked += 1
            if not math.isclose(mean, values[i], rel_tol=1e-6, abs_tol=1e-6):
                ok("a minute is the mean of its seconds", False, name, mean, values[i])
ok("a minute is the mean of its seconds", checked > 500, checked)
u = Updates(start=now - 3600, interval=60, host="true")
cpus = [u.column("host:%s:cpu%d" % (hosts[master]["uuid"], i)) for i in range(32)]
average = u.column("host:%s:cpu_avg" % hosts[master]["uuid"])
ok("processors are between 0 and 1", all(0 <= x <= 1 for c in cpus for x in c))
ok("cpu_avg is their average", same([sum(c[i] for c in cpus) / 32 for i in range(len(average))], average, 1e-6))
use = [sum(v[i] for i, e in enumerate(u.legend) if e.split(":")[1] == "vm" and e.split(":")[3][:3] == "cpu" and
           e.split(":")[3][3:].isdigit()) for _, v in u.rows]
ok("and carry what the VMs use", same([x / 32 for x in use], average, 1e-6), use[0] / 32, average[0])
ok("it goes up and down", max(average) > 1.01 * min(average) > 0)
traffic = [sum(v[i] for i, e in enumerate(u.legend) if e.endswith(":vif_0_rx")) for _, v in u.rows]
ok("the network interface carries the VMs'", all(
    p >= t > 0 for p, t in zip(u.column(":pif_eth0_rx"), traffic)) and same(
        u.column(":pif_aggr_rx"), [a + b for a, b in zip(u.column(":pif_eth0_rx"), u.column(":pif_eth1_rx"))], 1e-6))
hm = api("host_metrics.get_record", hosts[master]["metrics"])
ok("memory is that of the records", u.column(":memory_total_kib")[0] == int(hm["memory_total"]) / 1024 and
   u.column(":memory_free_kib")[0] == int(hm["memory_free"]) / 1024)
for ref, vm in list(guests.items())[:3]:
    ok("memory of %s, too" % vm["name_label"], set(u.column("vm:%s:memory" % vm["uuid"])) ==
       {float(metrics[vm["metrics"]]["memory_actual"])})
    ok("%s has a column for each of its processors" % vm["name_label"], sum(
        1 for e in u.legend if vm["uuid"] in e and e.split(":")[3] in ("cpu0", "cpu1", "cpu2", "cpu3")) ==
       int(vm["VCPUs_at_startup"]))
ok("a host tells of its own VMs only", {e.split(":")[2] for e in u.legend if e.split(":")[1] == "vm"} ==
   {v["uuid"] for v in mine.values()})
s = Updates(base=slave, start=-60, host="true")
ok("a slave of its own", {e.split(":")[2] for e in s.legend if e.split(":")[1] == "vm"} ==
   {v["uuid"] for v in vms.values() if v["resident_on"] == second} and
   any(e.split(":")[2] == hosts[second]["uuid"] for e in s.legend))
vm = next(iter(guests.values()))
ok("one VM alone", {e.split(":")[2] for e in Updates(start=-60, vm_uuid=vm["uuid"]).legend} == {vm["uuid"]})
srs = api("SR.get_all_records")
nfs = next(s for s in srs.values() if s["type"] == "nfs")
u = Updates(start=-60, vm_uuid="all", sr_uuid=nfs["uuid"], host="true")
ok("one SR", {e.split(":")[2] for e in u.legend if e.split(":")[1] == "sr"} == {nfs["uuid"]})
ok("it carries the disks", same(u.column("sr:%s:io_throughput_total" % nfs["uuid"]), [
    sum(v[i] for i, e in enumerate(u.legend) if e.endswith(":vbd_xvda_io_throughput_total")) for _, v in u.rows], 1e-6))
ok("under the host's name for it, too", same(u.column(":io_throughput_total_" + nfs["uuid"][:8]),
   u.column("sr:%s:io_throughput_total" % nfs["uuid"])))

# ---- whole archives ----
def whole(path, **query):
    head, body = get(path, **query)
    root = ET.fromstring(body)
    assert root.find("version").text == "0003" and root.find("step").text == "5"
    names = [d.find("name").text for d in root.findall("ds")]
    archives = {}
    for rra in root.findall("rra"):
        rows = [[float(v.text) for v in row] for row in rra.find("database")]
        assert rra.find("cf").text == "AVERAGE" and len(rra.find("cdp_prep")) == len(names)
        archives[5 * int(rra.find("pdp_per_row").text)] = rows
    return root, names, archives

root, names, archives = whole("/host_rrd")
ok("the host's archives have their rows", {s: len(r) for s, r in archives.items()} == ROWS)
ok("and a column for each source", all(len(v) == len(names) for r in archives.values() for v in r))
ok("sources have types", {d.find("name").text: d.find("type").text for d in root.findall("ds")}["cpu0"] == "DERIVE" and
   {d.find("name").text: d.find("type").text for d in root.findall("ds")}["memory_total_kib"] == "GAUGE")
ok("lastupdate is now", abs(int(root.find("lastupdate").text) - time.time()) < 15)
last = int(root.find("lastupdate").text) // 3600 * 3600
u = Updates(start=now - 100 * 3600, interval=3600, host="true", vm_uuid="none")
ok("they hold what updates tell", same([r[names.index("cpu_avg")] for r in reversed(archives[3600])][:90],
                                       u.column(":cpu_avg")[:90]) or last != u.meta["end"])
doc = json.loads(get("/host_rrd", json="true")[1])
ok("as JSON", [d["name"] for d in doc["ds"]] == names and len(doc["rra"][3]["database"]) == 366 and
   isinstance(doc["rra"][3]["database"][0][0], str) and doc["step"] == "5")
for name in ("cpu0", "cpu_avg", "memory_total_kib", "memory_free_kib", "pif_eth0_rx", "pif_eth0_tx", "pif_aggr_rx",
             "loadavg", "xapi_memory_usage_kib", "xapi_free_memory_kib", "xapi_live_memory_kib", "xapi_allocation_kib",
             "xapi_open_fds", "hostload", "running_vcpus", "running_domains"):
    ok("a host has " + name, name in names)
_, names, archives = whole("/vm_rrd", uuid=vm["uuid"])
for name in ("cpu0", "memory", "memory_internal_free", "memory_target", "vif_0_rx", "vif_0_tx", "vbd_xvda_read",
             "vbd_xvda_write", "vbd_xvda_read_latency", "vbd_xvda_iowait", "vbd_xvda_inflight"):
    ok("a VM has " + name, name in names)
_, names, archives = whole("/sr_rrd", uuid=nfs["uuid"])
for name in ("io_throughput_read", "io_throughput_write", "iops_total", "latency"):
    ok("an SR has " + name, name in names)
elsewhere = next(v for v in vms.values() if v["resident_on"] == second and not v["is_control_domain"])

class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None

try:
    urllib.request.build_opener(Stay).open(url + "/vm_rrd?session_id=%s&uuid=%s" % (session, elsewhere["uuid"]))
    where = None
except urllib.error.HTTPError as wrong:
    where = wrong.code, wrong.headers["Location"]
ok("a VM of another host is sent there", where == (302, slave + "/vm_rrd?session_id=%s&uuid=%s" % (
    session, elsewhere["uuid"])), where)
ok("where it is", len(whole("/vm_rrd", uuid=elsewhere["uuid"])[1]) > 10)
ok("which VM has to be said", status("/vm_rrd") == 400)
ok("none of that uuid", status("/vm_rrd", uuid="none") == 500)
halted = next(v for v in vms.values() if v["power_state"] == "Halted" and not v["is_a_template"])
ok("a VM that never ran has nothing", status("/vm_rrd", uuid=halted["uuid"]) == 404)

# ---- calls ----
sources = {s["name_label"]: s for s in api("host.get_data_sources", master)}
ok("sources of a host", sources["cpu_avg"]["enabled"] and sources["cpu_avg"]["units"] == "(fraction)" and
   sources["cpu0"]["name_description"] == "Physical cpu usage for cpu 0" and sources["cpu0"]["max"] == 1.0)
ok("not all are recorded", not sources["pif_eth0_rx_errors"]["enabled"] and not sources["pif_eth0_rx_errors"]["standard"])
before = Updates(start=-30, vm_uuid="none", host="true")
value = api("host.query_data_source", master, "cpu_avg")
after = Updates(start=-30, vm_uuid="none", host="true")
ok("a query gives the newest row", any(math.isclose(value, u.column(":cpu_avg")[0]) for u in (before, after)))
ok("an unknown source", error("host.query_data_source", master, "nothing")[0] == "INTERNAL_ERROR")
api("host.record_data_source", master, "pif_eth0_rx_errors")
u = Updates(start=now - 300, vm_uuid="none", host="true")
ok("recording begins now", math.isnan(u.column("pif_eth0_rx_errors")[-1]) and
   {s["name_label"]: s for s in api("host.get_data_sources", master)}["pif_eth0_rx_errors"]["enabled"])
api("host.forget_data_source_archives", master, "pif_eth0_rx_errors")
ok("until it is forgotten", not any("rx_errors" in e for e in Updates(start=-60, host="true").legend))
ref = next(r for r, v in guests.items() if v == vm)
api("VM.forget_data_source_archives", ref, "cpu0")
u = Updates(start=now - 300, vm_uuid=vm["uuid"])
ok("what everybody records begins anew", math.isnan(u.column(":cpu0")[-1]) and not math.isnan(u.column(":memory")[-1]))
ok("a VM that does not run has none", error("VM.get_data_sources", next(r for r, v in vms.items() if v == halted))[0] ==
   "VM_BAD_POWER_STATE")
ok("sources of an SR", "iops_total" in {s["name_label"] for s in api(
    "SR.get_data_sources", next(r for r, s in srs.items() if s == nfs))})

# ---- what changes ----
recent = int(time.time()) - 480
before = Updates(start=recent, host="true")
api("VM.hard_shutdown", ref)
u = Updates(start=recent, host="true")
ok("a VM that ends is gone", not any(vm["uuid"] in e for e in u.legend))
known = dict(before.rows)
place = before.legend.index("AVERAGE:host:%s:cpu_avg" % hosts[master]["uuid"])
ok("what the host measured stays", all(known[t][place] == v for (t, _), v in zip(u.rows, u.column(":cpu_avg"))
                                       if t in known and t < time.time() - 60))
ok("its archives stay with the master", len(whole("/vm_rrd", uuid=vm["uuid"])[1]) > 10)
other = next(r for r, v in guests.items() if r != ref)
api("VM.pause", other)
for _ in range(300):
    u = Updates(start=-600, vm_uuid=vms[other]["uuid"])
    if u.column(":cpu0")[0] == 0:
        break
    time.sleep(0.2)
ok("a paused VM is flat", u.column(":cpu0")[0] == 0.0 and u.column(":memory")[0] == u.column(":memory")[5] and
   u.column(":vbd_xvda_read")[0] == 0.0 and u.column(":cpu0")[60] > 0, u.column(":cpu0")[:4])
print("1..%d" % done)
PYTHON

start
run python3 rrd.py "$url" "$slave"
sed -n 's/^not ok [0-9]* - //p; s/^# /  /p' "$out" | while read -r line; do diag "$line"; done
is "the statements about metrics hold" "$(grep -c '^not ok' "$out") $status" "0 0"
diag "$(tail -n 2 "$err")"
diag "$(grep -c '^ok' "$out") statements"
ok "there are many" test "$(grep -c '^ok' "$out")" -gt 90
session=$(login | tr -d '"')
is "a password will do" "$(curl -s -u root:xenkit -o /dev/null -w '%{http_code}' "$url/host_rrd")" 200
is "a cookie, too" "$(curl -s -b "session_id=$session" -o /dev/null -w '%{http_code}' "$slave/host_rrd")" 200
is "a wrong password not" "$(curl -s -u root:no -o /dev/null -w '%{http_code}' "$url/host_rrd")" 401
stop
is "nothing to complain of" "$(cat "$tmp/sim.err")" ""

# ---- the same again ----

# first SEED: the master's uuid, and its first row
first() {
    start --seed "$1" --now 1700000000
    curl -s -u root:xenkit "$url/rrd_updates?start=1699000000&interval=86400&host=true&vm_uuid=none" | sed 's/<\/row>.*//'
    stop
}
is "the same seed gives the same series" "$(first 5)" "$(first 5)"
nok "another gives others" test "$(first 5)" = "$(first 6)"

# ---- releases, and time that runs faster ----

start --era 8.2
like "before 2024 JSON has numbers" "$(curl -s -u root:xenkit "$url/rrd_updates?start=-30&json=true&host=true" | jq -c '[.meta.step, (.data[0].values[0] | type)]')" '^\[5,"number"\]$'
like "and XML four digits behind the point" "$(curl -s -u root:xenkit "$url/rrd_updates?start=-30&host=true")" '<v>0\.[0-9]{4}</v>'
stop
start --speed 3600x --now 1700000000
newest() {
    curl -s -u root:xenkit "$url/rrd_updates?start=-30&host=true&json=1" | jq -r .meta.end
}
before=$(newest)
later() {
    [ $(($(newest) - before)) -ge 3600 ]
}
ok "an hour in a second" soon later
stop
done_testing
