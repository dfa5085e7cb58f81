# The simulated pool, used by the clients that people use: two XenAPI.py, fence_xenapi, npm xen-api in its three transports.
# All of it over HTTP, then over HTTPS with the pool's certificates as the only ones that the clients trust.

. "$XENKIT_SOURCE/tests/tap.sh"
on_exit eval 'kill $pid'
mkfifo "$tmp/never"
printf 'reader:r:read-only\noperator:o:vm-operator\nkeeper:k:pool-operator\n' >"$tmp/users"

for scheme in http https; do
rm -f "$tmp/sim.out"
set --
[ $scheme = http ] || {
    set -- --tls --certificates "$tmp/pool.pem"
    export SSL_CERT_FILE="$tmp/pool.pem" NODE_EXTRA_CA_CERTS="$tmp/pool.pem"
}
"$XENKIT" sim --plain --hosts 3 --users "$tmp/users" --login-delay 100ms --limit 6 --gc-interval 300ms "$@" >"$tmp/sim.out" 2>"$tmp/sim.err" &
pid=$!
tries=0
until [ -s "$tmp/sim.out" ] || [ $tries = 1200 ]; do
    tries=$((tries + 1))
    kill -0 $pid 2>/dev/null || break
    read -rt 0.05 _ <>"$tmp/never" || :
done
url=$(sed -n '1s/\t.*//p' "$tmp/sim.out")
slave=$(sed -n '2s/\t.*//p' "$tmp/sim.out")
like "$scheme: the pool is there" "$url" "^$scheme://"

cat >scenario.py <<'PYTHON'
import sys
import time
import xmlrpc.client
url, slave, where = sys.argv[1:4]
if where == "os_xenapi":
    from os_xenapi.client import XenAPI
else:
    sys.path.insert(0, where)
    import XenAPI

def failure(call, *args):
    try:
        call(*args)
    except XenAPI.Failure as wrong:
        return wrong.details
    return None

session = XenAPI.Session(url)
assert failure(session.login_with_password, "root", "wrong", "1.0", "test")[0] == "SESSION_AUTHENTICATION_FAILED"
session.login_with_password("root", "xenkit", "1.0", "test")
api = session.xenapi
assert failure(XenAPI.Session(slave).login_with_password, "root", "xenkit") == ["HOST_IS_SLAVE", "127.0.0.1"]

records = api.VM.get_all_records()
vms = {r: v for r, v in records.items() if not v["is_a_template"] and not v["is_control_domain"]}
assert len(vms) == 20, len(vms)
record = next(iter(vms.values()))
assert isinstance(record["memory_static_max"], str) and record["memory_static_max"].isdigit()
assert isinstance(record["is_a_template"], bool) and isinstance(record["HVM_shadow_multiplier"], float)
assert str(record["snapshot_time"]) == "19700101T00:00:00Z"

vm = next(r for r, v in vms.items() if v["power_state"] == "Halted")
events_from = getattr(api.event, "from")
token = events_from(["VM", "task"], "", 0.0)["token"]
api.VM.start(vm, False, False)
assert api.VM.get_power_state(vm) == "Running"
events = events_from(["VM", "task"], token, 10.0)
assert any(e["ref"] == vm and e["class"] == "vm" and e["operation"] == "mod" and e["snapshot"]["power_state"] == "Running"
           for e in events["events"]), events
assert events["valid_ref_counts"]["vm"] == len(records)
assert failure(api.VM.start, vm, False, False) == ["VM_BAD_POWER_STATE", vm, "halted", "running"]
# Counted without the session; some copies of the client take off one more, as for servers of old.
assert failure(api.VM.start, vm) == ["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.start"] + (
    ["3", "1"] if where == "os_xenapi" else ["2", "0"]), failure(api.VM.start, vm)
api.VM.clean_shutdown(vm)

task = api.Async.VM.snapshot(vm, 'a "name" <&> with ü')
while api.task.get_status(task) == "pending":
    time.sleep(0.05)
snapshot = api.task.get_result(task)[len("<value>"):-len("</value>")]
assert api.VM.get_name_label(snapshot) == 'a "name" <&> with ü'
api.task.destroy(task)
assert failure(api.task.get_status, task) == ["HANDLE_INVALID", "task", task]
task = api.Async.VM.copy(vm, "copy", "OpaqueRef:NULL")
assert api.task.get_allowed_operations(task) == ["cancel"]
api.task.cancel(task)
while api.task.get_status(task) in ("pending", "cancelling"):
    time.sleep(0.05)
assert api.task.get_status(task) == "cancelled" and api.task.get_error_info(task)[0] == "TASK_CANCELLED"
assert api.VM.get_is_a_template(snapshot) and api.VM.get_is_a_snapshot(snapshot)
assert failure(api.VM.start, snapshot, False, False) == ["VM_IS_SNAPSHOT", snapshot, "start"]
api.VM.set_name_description(vm, "changed")
api.VM.set_VCPUs_at_startup(vm, "1")
api.VM.revert(snapshot)
assert [api.VM.get_name_description(vm), api.VM.get_VCPUs_at_startup(vm)] == [
    vms[vm]["name_description"], vms[vm]["VCPUs_at_startup"]], api.VM.get_record(vm)
assert failure(api.VM.hard_shutdown, vm) == ["VM_BAD_POWER_STATE", vm, "paused, suspended, running", "halted"]
assert failure(api.VM.set_memory_static_max, vm, "1") == ["MEMORY_CONSTRAINT_VIOLATION_ORDER"]
vdi = api.VDI.create({"SR": next(r for r, v in api.SR.get_all_records().items() if v["type"] == "nfs"), "virtual_size": "8388608",
                      "type": "user", "sharable": False, "read_only": False, "other_config": {}})
api.VDI.resize(vdi, str(1 << 30))
assert api.VDI.get_virtual_size(vdi) == str(1 << 30) and failure(api.VDI.resize, vdi, "1")[0] == "SR_BACKEND_FAILURE_79"
api.VDI.destroy(vdi)
assert failure(api.VDI.get_uuid, vdi) == ["HANDLE_INVALID", "VDI", vdi]
api.VM.destroy(snapshot)

network = api.network.create({"name_label": "n", "name_description": "", "other_config": {}, "MTU": "1500", "tags": ["t"]})
assert api.network.get_record(network)["MTU"] == "1500" and api.network.get_tags(network) == ["t"]
api.network.destroy(network)
assert failure(api.network.get_uuid, network) == ["HANDLE_INVALID", "network", network]
assert len(session.system.listMethods()) > 2000

# What a role does not allow is denied, synchronously and in a task; what it allows is done.
reader = XenAPI.Session(url)
reader.login_with_password("reader", "r", "1.0", "roles")
denied = failure(reader.xenapi.VM.clean_reboot, vm)
assert denied[:2] == ["RBAC_PERMISSION_DENIED", "vm.clean_reboot"] and "vm-operator" in denied[2], denied
task = reader.xenapi.Async.VM.clean_reboot(vm)
while reader.xenapi.task.get_status(task) == "pending":
    time.sleep(0.05)
assert reader.xenapi.task.get_error_info(task)[0] == "RBAC_PERMISSION_DENIED"
assert reader.xenapi.VM.get_uuid(vm) == records[vm]["uuid"]
operator = XenAPI.Session(url)
operator.login_with_password("operator", "o", "1.0", "roles")
assert failure(operator.xenapi.task.cancel, task)[:2] == ["RBAC_PERMISSION_DENIED", "task.destroy/any"]
operator.xenapi.VM.start(vm, False, False)
operator.xenapi.VM.hard_shutdown(vm)
reader.xenapi.session.logout()
operator.xenapi.session.logout()

# The old events: who has not registered gets none, who has gets the next one, and a logout ends the wait.
assert failure(api.event.next)[0] == "SESSION_NOT_REGISTERED"
api.event.register(["vm"])
text = "changed through " + where
api.VM.set_name_description(vm, text)
assert any(e["ref"] == vm and e["snapshot"]["name_description"] == text for e in api.event.next())
api.event.unregister(["vm"])

# Too many sessions of one group: the oldest is thrown out, the newest not, and this client opens another for itself.
crowd = [XenAPI.Session(url) for _ in range(8)]
for one in crowd:
    one.login_with_password("root", "xenkit", "1.0", "crowd")
first, last = crowd[0]._session, crowd[-1]._session
plain = xmlrpc.client.ServerProxy(url)
until = time.time() + 60
while plain.host.get_all(first)["Status"] == "Success" and time.time() < until:
    time.sleep(0.1)
assert plain.host.get_all(first)["ErrorDescription"][0] == "SESSION_INVALID"
assert plain.host.get_all(last)["Status"] == "Success"
assert len(crowd[0].xenapi.host.get_all()) == 3 and crowd[0]._session != first
for one in crowd:
    one.xenapi.session.logout()

# A session that was ended elsewhere is opened again without a word.
other = XenAPI.Session(url)
other.login_with_password("root", "xenkit", "1.0", "other")
xmlrpc.client.ServerProxy(url).session.logout(other._session)
assert len(other.xenapi.host.get_all()) == 3
other.xenapi.session.logout()
api.session.logout()
print("all well")
PYTHON

# The interpreter that Debian's modules belong to.
python=/usr/bin/python3
if $python -c 'import os_xenapi.client.XenAPI' 2>/dev/null; then
    run timeout 120 $python scenario.py "$url" "$slave" os_xenapi
    check "$scheme: python3-os-xenapi" 0 "all well"
else
    skip "$scheme: python3-os-xenapi" "python3-os-xenapi is not installed"
fi
if [ -f /usr/share/fence/XenAPI.py ] && [ -x $python ]; then
    run timeout 120 $python scenario.py "$url" "$slave" /usr/share/fence
    check "$scheme: XenAPI.py of fence-agents" 0 "all well"
else
    skip "$scheme: XenAPI.py of fence-agents" "fence-agents is not installed"
fi
if command -v fence_xenapi >/dev/null; then
    run fence_xenapi -s "$url" -l root -p xenkit -n web-01 -o status
    check "$scheme: fence_xenapi sees a VM that runs" 0 "~ON" -
    run fence_xenapi -s "$url" -l root -p xenkit -n web-01 -o off
    check "$scheme: switches it off" 0 - -
    run fence_xenapi -s "$url" -l root -p xenkit -n web-01 -o status
    check "$scheme: sees that" 2 "~OFF" -
    run fence_xenapi -s "$url" -l root -p xenkit -n web-01 -o on
    check "$scheme: and on again" 0 - -
else
    skip "$scheme: fence_xenapi" "fence-agents is not installed"
fi

cat >scenario.mjs <<'NODE'
import assert from 'node:assert'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
const [url, slave, folder] = process.argv.slice(2)
const { createClient } = await import(pathToFileURL(createRequire(folder + '/').resolve('xen-api')))
const auth = { user: 'root', password: 'xenkit' }
for (const transport of ['auto', 'json-rpc', 'xml-rpc']) {
  const xapi = createClient({ url, auth, transport, debounce: 10 })
  await xapi.connect()
  await xapi.objectsFetched
  const all = Object.values(xapi.objects.all).filter(o => o.$type === 'VM')
  const [one, two] = all.filter(o => o.power_state === 'Halted' && !o.is_a_template)
  await xapi.callAsync('VM.start', one.$ref, false, false)
  await xapi.barrier()
  assert.strictEqual(xapi.getObject(one.$ref).power_state, 'Running')
  await assert.rejects(xapi.call('VM.start', one.$ref, false, false), { code: 'VM_BAD_POWER_STATE' })
  const ref = await xapi.callAsync('VM.clone', two.$ref, 'cloned ü')
  await xapi.barrier(ref)
  assert.strictEqual(xapi.getObject(ref).name_label, 'cloned ü')
  await xapi.setFieldEntry('VM', ref, 'other_config', 'k', 'v')
  assert.strictEqual((await xapi.getRecord('VM', ref)).other_config.k, 'v')
  await xapi.callAsync('VM.destroy', ref)
  await xapi.callAsync('VM.clean_shutdown', one.$ref)
  await assert.rejects(xapi.callAsync('VM.hard_shutdown', one.$ref), { code: 'VM_BAD_POWER_STATE' })
  await xapi.disconnect()
  console.log(transport)
}
// Not with a lower role: this client reads all classes, and says on stderr that one has secrets.
const limited = createClient({ url, auth: { user: 'keeper', password: 'k' }, debounce: 10 })
await limited.connect()
await limited.objectsFetched
const [host] = await limited.call('host.get_all')
await assert.rejects(limited.call('host.send_debug_keys', host, 'q'), { code: 'RBAC_PERMISSION_DENIED' })
await assert.rejects(limited.callAsync('pool.rotate_secret'), { code: 'RBAC_PERMISSION_DENIED' })
await limited.disconnect()
console.log('roles')
const redirected = createClient({ url: slave, auth, watchEvents: false })
await redirected.connect()
assert.strictEqual((await redirected.call('host.get_all')).length, 3)
await redirected.disconnect()
await assert.rejects(createClient({ url, auth: { user: 'root', password: 'no' }, watchEvents: false }).connect(),
  { code: 'SESSION_AUTHENTICATION_FAILED' })
console.log('redirect')
NODE
modules=${XENKIT_NODE_MODULES:-$XENKIT_SOURCE/build-clients}
if command -v node >/dev/null && [ -d "$modules/node_modules/xen-api" ]; then
    run timeout 120 node scenario.mjs "$url" "$slave" "$modules"
    check "$scheme: npm xen-api: each transport, and a redirect" 0 "auto
json-rpc
xml-rpc
roles
redirect"
else
    skip "$scheme: npm xen-api" "npm's xen-api is not in build-clients (scripts/deps.sh test)"
fi
kill -TERM $pid && wait $pid
is "$scheme: the pool ends, with nothing to complain of" "$?$(cat "$tmp/sim.err")" 0
done
done_testing
