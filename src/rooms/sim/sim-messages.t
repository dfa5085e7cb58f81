# Messages that few clients send, and those that hosts send each other: what they change, and what they are refused with.

. "$XENKIT_SOURCE/tests/tap.sh"
. "$XENKIT_SOURCE/tests/sim.sh"
requires python3 openssl

# A key and a certificate of an authority, of a host, and those that a host must not take.
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=host.example -sha256 2>/dev/null
openssl req -x509 -newkey rsa:1024 -nodes -keyout small.pem -out smallcert.pem -days 30 -subj /CN=small 2>/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ec.pem -out eccert.pem -days 30 -subj /CN=ec 2>/dev/null
openssl req -x509 -key key.pem -out weak.pem -days 30 -subj /CN=weak -sha384 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -keyout other.pem -out ca.pem -days 30 -subj /CN=authority 2>/dev/null

cat >messages.py <<'PYTHON'
import hashlib, http.client, sys
from poolclient import *

api = Pool(sys.argv[1])
read = lambda name: open(name).read()
pool, hosts = api("pool.get_all")[0], api("host.get_all")
host = hosts[1]

# ---- callers and rate limits ----
caller = api("Caller.create", {"name_label": "backup", "name_description": "", "user_agent": "backup*", "client_ip": ""})
same("a caller is known by his pattern", api("Caller.create", {"name_label": "new", "name_description": "", "user_agent": "backup*", "client_ip": ""}), caller)
same("and renamed", api.get("Caller", caller, "name_label"), "new")
same("a pattern of nobody", api.error("Caller.create", {"name_label": "", "name_description": "", "user_agent": "", "client_ip": ""}), ["INVALID_VALUE", "user_agent/client_ip", "at least one of user_agent or client_ip must be set"])
same("a pattern of everybody", api.error("Caller.create", {"name_label": "", "name_description": "", "user_agent": "*", "client_ip": ""}), ["INVALID_VALUE", "user_agent/client_ip", "all-wildcard pattern not allowed"])
api("Caller.add_group", caller, "night")
same("a group", api.get("Caller", caller, "groups"), ["night"])
same("its name has letters only", api.error("Caller.add_group", caller, "a b"), ["INVALID_VALUE", "group", "group name may only contain alphanumerics and '_', '-' or '.' characters"])
same("nobody is counted", [api("Caller.query_call_count", caller), api("Caller.query_group_token_usage", "night"), api("Caller.query_all_usage")[0][1:]], [0, 0, ["new", "0.000", "0"]])
same("a limit above nothing", api.error("Rate_limit.create", {"name_label": "", "name_description": "", "burst_size": 5.0, "fill_rate": 0.0}), ["INVALID_VALUE", "fill_rate", "0."])
limit = api("Rate_limit.create", {"name_label": "l", "name_description": "", "burst_size": 5.0, "fill_rate": 1.5})
api("Rate_limit.add_caller", limit, caller)
same("a caller that is held back", api.get("Rate_limit", limit, "callers"), [caller])
api("Rate_limit.destroy", limit)
same("and is free again", api.get("Caller", caller, "rate_limit"), "OpaqueRef:NULL")

# ---- observers ----
record = {"name_label": "o", "name_description": "", "hosts": [host], "attributes": {"a.b": "c"}, "endpoints": ["bugtool"], "components": ["xapi"], "enabled": True}
observer = api("Observer.create", record)
same("an observer of nothing that there is", api.error("Observer.set_components", observer, ["cloud"]), ["INVALID_VALUE", "component", "cloud"])
same("traces go to no URL", api.error("Observer.set_endpoints", observer, ["http://192.0.2.1/"]), ["INVALID_VALUE", "endpoint", "http://192.0.2.1/"])
same("an attribute is a word", api.error("Observer.create", dict(record, attributes={"A": "b"})), ["INVALID_VALUE", "attributes", "A:b"])
api("Observer.register", observer, host)

# ---- drivers and devices ----
api("Host_driver.rescan", host)
driver = [r for r, d in api("Host_driver.get_all_records").items() if d["name"] == "intel-ixgbe"][0]
variants = {v["name"]: r for r, v in api("Driver_variant.get_all_records").items() if v["driver"] == driver}
api("Host_driver.select", driver, variants["oem"])
same("another variant for the next start", [api.get("Host_driver", driver, f) for f in ("selected_variant", "active_variant")], [variants["oem"], variants["generic"]])
api("Host_driver.rescan", host)
same("a second look keeps it", api.get("Host_driver", driver, "selected_variant"), variants["oem"])
absent = [r for r, v in api("Driver_variant.get_all_records").items() if not v["hardware_present"]][0]
same("a variant without its card", api.error("Driver_variant.select", absent), ["HOST_DRIVER_NO_HARDWARE", absent])
same("a variant of another driver", api.error("Host_driver.select", driver, absent), ["INVALID_VALUE", "variant", absent])
cards = {r: d for r, d in api("PCI.get_all_records").items() if d["host"] == host}
card = [r for r, d in cards.items() if d["driver_name"] == "ixgbe"][0]
disk = [r for r, d in cards.items() if d["driver_name"] == "ahci"][0]
same("a device that dom0 gives up", [api("PCI.disable_dom0_access", card), api("PCI.get_dom0_access_status", card)], ["disable_on_reboot"] * 2)
same("not the one that the host starts from", api.error("PCI.disable_dom0_access", disk), ["BOOT_DEVICE_PASSTHROUGH_DISALLOWED", "/dev/sda1"])
api("host.disable", host)
api("host.reboot", host)
api.until(lambda: api("PCI.get_dom0_access_status", card) == "disabled")
same("the start makes it so", api("PCI.enable_dom0_access", card), "enable_on_reboot")
api.until(lambda: api.get("host_metrics", api.get("host", host, "metrics"), "live"))

# ---- certificates ----
same("a key that is none", api.error("host.install_server_certificate", host, read("cert.pem"), "x"), ["SERVER_CERTIFICATE_KEY_INVALID"])
same("a short one", api.error("host.install_server_certificate", host, read("smallcert.pem"), read("small.pem")), ["SERVER_CERTIFICATE_KEY_RSA_LENGTH_NOT_SUPPORTED", "1024"])
same("one of another kind", api.error("host.install_server_certificate", host, read("eccert.pem"), read("ec.pem"))[0], "SERVER_CERTIFICATE_KEY_ALGORITHM_NOT_SUPPORTED")
same("another's", api.error("host.install_server_certificate", host, read("ca.pem"), read("key.pem")), ["SERVER_CERTIFICATE_KEY_MISMATCH"])
same("a certificate that is none", api.error("host.install_server_certificate", host, "x", read("key.pem")), ["SERVER_CERTIFICATE_INVALID"])
same("a signature that is not taken", api.error("host.install_server_certificate", host, read("weak.pem"), read("key.pem")), ["SERVER_CERTIFICATE_SIGNATURE_NOT_SUPPORTED"])
same("a chain without links", api.error("host.install_server_certificate", host, read("cert.pem"), read("key.pem"), "x"), ["SERVER_CERTIFICATE_CHAIN_INVALID"])
api("host.install_server_certificate", host, read("cert.pem"), read("key.pem"), read("ca.pem"))
same("a good one is the host's", api("host.get_server_certificate", host), read("cert.pem"))
own = [c for c in api("Certificate.get_all_records").values() if c["host"] == host and c["type"] == "host"]
same("with one record", [c["fingerprint_sha256"] for c in own], [sys.argv[2]])
api("host.reset_server_certificate", host)
ok("another takes its place", api("host.get_server_certificate", host) != read("cert.pem"))
api("host.refresh_server_certificate", host)
same("one that only hosts see", len([c for c in api("Certificate.get_all_records").values() if c["type"] == "host_internal"]), 1)
api("pool.install_ca_certificate", "ca.pem", read("ca.pem"))
authority = [r for r, c in api("Certificate.get_all_records").items() if c["name"] == "ca.pem"][0]
same("what two pools trust", api("pool.exchange_ca_certificates_on_join", {"b.pem": read("cert.pem")}, [authority]), {"ca.pem": read("ca.pem")})
same("both know now", sorted(api("pool.certificate_list")), ["b.pem", "ca.pem"])
api("pool.install_trusted_certificate", pool, False, read("weak.pem"), ["licensing"])
pinned = [r for r, c in api("Certificate.get_all_records").items() if c["type"] == "pinned"]
same("and what they trust for a purpose", api("pool.exchange_trusted_certificates_on_join", pool, False, {}, pinned), {read("weak.pem"): ["licensing"]})

# ---- what a host tells of itself ----
api("Diagnostics.gc_compact", host)
stats = api("Diagnostics.gc_stats", host)
ok("memory", int(stats["compactions"]) == 1 and int(stats["live_blocks"]) > 100, stats)
served = api("Diagnostics.network_stats", host, {"method": "post", "uri": "/jsonrpc", "params": "requests"})
api("pool.get_all")
same("requests are counted", int(api("Diagnostics.network_stats", host, {"method": "post", "uri": "/jsonrpc", "params": "requests"})[0][0]) - int(served[0][0]), 2)
same("who logged in", api("host.get_tracked_user_agents", hosts[0]), {})
running = [r for r, v in api("VM.get_all_records").items() if v["power_state"] == "Running" and not v["is_control_domain"]]
vdi = [b for b in api("VBD.get_all_records").values() if b["VM"] == running[0] and b["type"] == "Disk"][0]["VDI"]
home = api.get("VM", running[0], "resident_on")
ok("open disks", api.get("VDI", vdi, "location") in api("host.get_sm_diagnostics", home))
ok("reports", "system-status-capabilities" in api("host.get_system_status_capabilities", host))

# ---- hosts among themselves ----
same("a client may not", api.error("host.set_localdb_key", host, "k", "v"), ["INTERNAL_ERROR", 'Internal API "host.set_localdb_key" call attempted with non-pool (external) session'])
secret = api("pool.initial_auth")
inner = Pool(sys.argv[1])
inner.session = inner.ask("session.slave_login", host, secret)
inner("host.install_ca_certificate", host, "x.pem", read("ca.pem"))
same("a host may have more", [sorted(inner("host.certificate_list", h)) for h in (host, hosts[0])], [["b.pem", "ca.pem", "x.pem"], ["b.pem", "ca.pem"]])
inner("host.uninstall_ca_certificate", host, "b.pem")
same("or less", sorted(inner("host.certificate_list", host)), ["ca.pem", "x.pem"])
inner("host.certificate_sync", host)
same("until it takes over the pool's", sorted(inner("host.certificate_list", host)), ["b.pem", "ca.pem"])
api("host.notify_accept_new_pool_secret", host, secret, "fresh")
same("while the secret changes, both are good", [bool(inner.ask("session.slave_login", host, s)) for s in (secret, "fresh")], [True, True])
api("host.notify_send_new_pool_secret", host, secret, "fresh")
api("host.cleanup_pool_secret", host, secret, "fresh")
same("then only the new one", inner.post("session.slave_login", [host, secret])["error"]["message"], "SESSION_AUTHENTICATION_FAILED")
same("an extension that is not there", api.error("LVHD.enable_thin_provisioning", host, api("SR.get_all")[0], 1, 1), ["MESSAGE_METHOD_UNKNOWN", "LVHD.enable_thin_provisioning"])
inner.session = inner.ask("session.slave_login", host, "fresh")
net = api("network.create", {"name_label": "n", "name_description": "", "MTU": 1500, "other_config": {}, "bridge": "", "managed": True, "tags": []})
pif = [r for r, p in api("PIF.get_all_records").items() if p["host"] == hosts[0] and p["device"] == "eth1"][0]
api("VLAN.create", pif, 7, net)
inner("host.sync_vlans", host)
same("a host takes over its master's VLANs", sorted(p["host"] for p in api("PIF.get_all_records").values() if p["network"] == net), sorted([host, hosts[0]]))
fresh = api("host.create", "00000000-1111-2222-3333-444444444444", "joiner", "", "joiner", "192.0.2.9")
same("a host that will join", [api.get("host", fresh, "uuid"), api.get("host", fresh, "enabled")], ["00000000-1111-2222-3333-444444444444", False])
same("is one", api.error("host.create", "00000000-1111-2222-3333-444444444444", "joiner", "", "joiner", "192.0.2.9"), ["UUID_INVALID", "host", "00000000-1111-2222-3333-444444444444"])
api("host.destroy", fresh)
vm = running[-1]
api("VM.set_uefi_mode", vm, "user")
api("VM.set_HVM_boot_params", vm, {"firmware": "uefi"})
api("VM.add_to_platform", vm, "secureboot", "true")
same("firmware with the pool's keys", api("VM.get_secureboot_readiness", vm), "ready")
api("VM.set_uefi_mode", vm, "setup")
same("or with none", api("VM.get_secureboot_readiness", vm), "setup_mode")
shared = [r for r, s in api("SR.get_all_records").items() if s["type"] == "nfs"]
for sr in shared[:1]:
    vdi = [d for d in api.get("SR", sr, "VDIs") if not any(b["currently_attached"] for b in api("VBD.get_all_records").values() if b["VDI"] == d)][0]
    ok("a disk that is attached without the toolstack", api.get("VDI", vdi, "uuid") in api("VDI.generate_config", host, vdi))
# ---- who called what ----
def audit(since=""):
    wire = http.client.HTTPConnection(sys.argv[1][len("http://"):])
    wire.request("GET", "/audit_log?session_id=%s&since=%s" % (api.session, since))
    return wire.getresponse().read().decode().splitlines()
def tail(line): return line.split("|audit] ", 1)[1]
trackid = hashlib.md5(api.session.encode()).hexdigest()
api("VM.set_name_description", vm, "it's")
uuid = api.get("VM", vm, "uuid")
name = api.get("VM", vm, "name_label")
same("a call of root", tail(audit()[-1]), "('trackid=%s' 'LOCAL_SUPERUSER' 'root' 'ALLOWED' 'OK' 'API' 'VM.set_name_description' (('self' '%s' '%s' '%s') ('value' '' '' '')))".replace(" ('value' '' '' '')", "") % (trackid, name, uuid, vm))
api.error("VM.start", vm, False, False)
ok("one that failed", "'ALLOWED' 'ERROR:VM_BAD_POWER_STATE: [ %s; halted; running ]' 'API' 'VM.start'" % vm in audit()[-1], audit()[-1])
bob = Pool(sys.argv[1], "bob", "pw")
ok("a user of the directory comes", "'session.create' (('uname' 'bob' '' '') ('originator' 'test' '' ''))" in audit()[-1], audit()[-1])
bob.error("VM.destroy", vm)
ok("and may not", "'DENIED' '' 'API' 'VM.destroy' (('self' '%s' '%s' '%s'))" % (name, uuid, vm) in audit()[-1], audit()[-1])
before = len(audit())
bob("VM.get_all")
same("reading is not told", len(audit()), before)
stamp = audit()[-1][1:audit()[-1].index("Z|")]
ok("as of a time", 0 < len(audit(stamp)) < before and all(l[1:] >= stamp for l in audit(stamp)))
inner.ask("pool.audit_log_append", inner.session, "[20300101T00:00:00.000Z|audit|elsewhere] ('x')")
ok("what another host tells", "('x')" in "".join(audit("2030-01-01")))
bob.ask("session.logout", bob.session)
ok("and goes", "'session.destroy' (('originator' 'test' '' ''))" in audit()[-1], audit()[-1])
api("host.prepare_for_poweroff", host)
same("a host that goes has no storage", [p["currently_attached"] for p in api("PBD.get_all_records").values() if p["host"] == host], [False] * len(api.get("host", host, "PBDs")))
done()
PYTHON
echo "bob:pw:read-only" >users
mkdir log
start --hosts 2 --vms 6 --speed 50 --users users --log log
export PYTHONPATH="$XENKIT_SOURCE/src/rooms/sim" PYTHONDONTWRITEBYTECODE=1
run timeout 200 python3 messages.py "$url" "$(openssl x509 -in cert.pem -noout -fingerprint -sha256 | sed 's/.*=//')"
sed -n 's/^not ok [0-9]* - //p; s/^# /  /p' "$out" | while read -r line; do diag "$line"; done
is "the statements about messages hold" "$(grep -c '^not ok' "$out") $status $(cat "$err")" "0 0 "
ok "and there are many" test "$(grep -c '^ok' "$out")" -gt 50
ok "the audit log is a file of the master, too" grep -q "'VM.destroy' " log/host-1/audit.log
stop
is "the pool ends, with nothing to complain of" "$sim_status$(cat "$tmp/sim.err")" 0
done_testing
