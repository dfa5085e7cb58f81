# Every message of the simulated pool is called wrongly in each way there is, and with objects that exist: no answer may
# be a success that cannot be one, an error that the tables do not have, or the end of the pool.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3

cat >sweep.py <<'PYTHON'
import json, socket, sys
address, data = sys.argv[1], sys.argv[2]
host, port = address[len("http://"):].split(":")
wire = socket.create_connection((host, int(port)), timeout=60)
stream = wire.makefile("rb")

def table(name):
    rows = [line.rstrip("\n").split("\t") for line in open("%s/%s.tsv" % (data, name))]
    return [dict(zip([c.lstrip("#") for c in rows[0]], row)) for row in rows[1:]]

def call(method, *params):
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    # By hand: thousands of calls in a few seconds.
    wire.sendall(("POST /jsonrpc HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                  % (len(body), body)).encode())
    status, length = stream.readline().split()[1].decode(), 0
    for line in iter(stream.readline, b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    text = stream.read(length)
    if status != "200":
        return ["HTTP", status], None
    reply = json.loads(text)
    return ([reply["error"]["message"]] + reply["error"]["data"], None) if "error" in reply else (None, reply["result"])

failed, counts = [], {}
def check(what, good, *why):
    counts[what] = counts.get(what, 0) + 1
    if not good:
        failed.append("%s: %s" % (what, " ".join(map(str, why))))

session = call("session.login_with_password", "root", "xenkit", "1.0", "sweep")[1]
errors = {row["code"]: row["params"] for row in table("errors")}
enums = {row["enum"]: row["values"].split(",") for row in table("enums")}

# Calls that end the session or hosts, or wait, or are other tests' business.
SKIPPED = {"session", "event", "host", "pool", "Cluster", "Cluster_host", "Repository", "pool_update", "pool_patch",
           "Diagnostics", "task", "Observer", "Host_driver", "Driver_variant", "Certificate"}
messages = {}
for row in table("messages"):
    if "notclient" not in row["flags"] and row["session"] == "y":
        messages[row["class"] + "." + row["message"]] = row # the later row of two is the one that clients see

def params_of(row):
    found = []
    for word in [] if row["params"] == "-" else row["params"].split(";"):
        name, kind = word.split(":", 1)
        kind, _, default = kind.partition("=")
        found.append((name, kind, "=" in word))
    return found

def wrong(kind):
    return {} if kind.startswith(("set(", "string", "secretstring", "enum", "datetime")) else [[]]

def good(kind, refs):
    if kind.startswith("ref:"):
        return refs.get(kind[4:], "OpaqueRef:NULL")
    if kind.startswith("enum:"):
        return enums[kind[5:]][0]
    if kind.startswith("set("):
        inner = good(kind[4:-1], refs)
        return [inner] if kind.startswith("set(ref:") and not str(inner).endswith("NULL") else []
    if kind.startswith(("map(", "record:")):
        return {}
    return {"int": 1, "float": 1.0, "bool": False, "datetime": "20260101T00:00:00Z"}.get(kind, "word")

nobody = "OpaqueRef:00000000-0000-4000-8000-000000000000"
for name, row in sorted(messages.items()):
    params = params_of(row)
    required = sum(not optional for _, _, optional in params)
    if row["state"] == "removed":
        check("a removed message says so", call(name, session)[0] == ["MESSAGE_REMOVED"], name)
        continue
    if row["class"] in SKIPPED:
        continue
    if required:
        check("too few are counted", call(name, session)[0] == ["MESSAGE_PARAMETER_COUNT_MISMATCH", name, str(required), "0"],
              name, call(name, session))
    if required == len(params):
        error = call(name, session, *["x"] * (required + 1))[0]
        check("too many are counted", error == ["MESSAGE_PARAMETER_COUNT_MISMATCH", name, str(required), str(required + 1)],
              name, error)
    words = [good(kind, {}) for _, kind, _ in params]
    for i, (_, kind, _) in enumerate(params):
        if kind.startswith(("record:", "ref:")):
            continue
        error = call(name, session, *words[:i] + [wrong(kind)] + words[i + 1:])[0]
        check("a wrong type is refused", error and error[0] in ("INTERNAL_ERROR", "INVALID_VALUE"), name, i, error)
    # The roles that hold a permission nobody knows are none.
    if params and params[0][1].startswith("ref:") and name not in ("VM.set_protection_policy", "role.get_by_permission"):
        error = call(name, session, *[nobody if kind.startswith("ref:") else word for (_, kind, _), word in zip(params, words)])[0]
        check("a reference to nobody is no success", error, name, error)
        if error and len([1 for _, kind, _ in params if kind.startswith("ref:")]) == 1 and "poolinternal" not in row["flags"] \
                and name not in ("VMSS.set_last_run_time",):
            check("and is named", error[:3] == ["HANDLE_INVALID", params[0][1][4:], nobody] or
                  error[0] in ("NOT_IMPLEMENTED", "MESSAGE_DEPRECATED", "RBAC_PERMISSION_DENIED"), name, error)

# With what exists: the first object of each class, looked up anew since calls destroy and make some.
def objects():
    found = {}
    for kind in ("VM", "VBD", "VIF", "VDI", "SR", "PBD", "PIF", "network", "host", "SM", "console", "pool", "VM_metrics",
                 "VM_guest_metrics", "VM_appliance", "VMSS", "VM_group", "Bond", "VLAN", "tunnel", "blob", "secret",
                 "PVS_site", "PVS_server", "PVS_proxy", "USB_group", "GPU_group", "VTPM", "SDN_controller", "DR_task"):
        refs = call(kind + ".get_all", session)[1] or []
        if kind == "VM":
            refs = call("VM.get_all_records_where", session, 'field "is_a_template" = "false" and field "is_control_domain" = "false"')[1]
            refs = sorted(refs, key=lambda r: refs[r]["power_state"] != "Halted")
        if refs:
            found[kind] = refs[0]
    return found

LAST = ("destroy", "forget", "db_forget")
SLOW = ("VM.copy", "VM.migrate_send", "VM.pool_migrate", "VDI.copy", "VDI.pool_migrate") # in sim-vm.t
for name, row in sorted(messages.items(), key=lambda item: (item[1]["message"] in LAST, item[0])):
    if row["class"] in SKIPPED or row["state"] == "removed" or name in SLOW:
        continue
    error, result = call(name, session, *[good(kind, objects() if "ref:" in kind else {}) for _, kind, _ in params_of(row)])
    if error:
        code = error[0]
        check("an error is one of the table", code in errors or code.startswith("SR_BACKEND_FAILURE_"), name, error)
        if errors.get(code, "?") != "?":
            wanted = 0 if errors[code] == "-" else len(errors[code].split(","))
            listed = code in ("PIF_ALREADY_BONDED", "NETWORK_CONTAINS_VIF", "NETWORK_CONTAINS_PIF", "OPERATION_PARTIALLY_FAILED",
                              "INTERNAL_ERROR", "MESSAGE_DEPRECATED")
            bare = name == "message.get" and len(error) == 1 # as the real server says it
            check("with the table's parameters", len(error) - 1 == wanted or listed or bare, name, error, errors[code])
    check("and the pool lives", call("pool.get_all", session)[0] is None, name)

# What only hosts say to each other, with a session of theirs.
secret = call("pool.initial_auth", session)[1]
pool_session = call("session.slave_login", call("host.get_all", session)[1][0], secret)[1]
ELSEWHERE = ("host.commit_new_master", "host.update_pool_secret", "VM.hard_reboot_internal") # one ends sessions
for name, row in sorted(messages.items()):
    if "poolinternal" not in row["flags"] or name in ELSEWHERE:
        continue
    error, result = call(name, pool_session, *[good(kind, objects() if "ref:" in kind else {}) for _, kind, _ in params_of(row)])
    check("what hosts say is answered", not error or error[0] in errors, name, error)
    check("and the pool lives", call("pool.get_all", session)[0] is None, name)

for line in failed[:60]:
    print("# " + line)
for what in sorted(counts):
    print("%s: %d" % (what, counts[what]))
print("failed: %d" % len(failed))
PYTHON

start --hosts 2 --vms 6 --speed 20
run timeout 300 python3 sweep.py "$url" "$XENKIT_SOURCE/data/xenapi"
sed -n 's/^# //p' "$out" | while read -r line; do diag "$line"; done
is "every message answers as it may" "$(tail -n 1 "$out") $status" "failed: 0 0"
ok "and there were thousands" test "$(awk -F ': ' '{ n += $2 } END { print n }' "$out")" -gt 4000
stop
is "the pool ends, with nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0
done_testing
