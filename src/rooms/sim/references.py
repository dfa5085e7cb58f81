"""What has to hold of a pool's records at any quiet moment: refs lead somewhere, and relations have both ends."""
import os
import re

NULL = "OpaqueRef:NULL"

# Each of these belongs to one object, and goes with it.
OWNED = {
    "VM_metrics": ("VM", "metrics"), "VM_guest_metrics": ("VM", "guest_metrics"),
    "host_metrics": ("host", "metrics"), "PIF_metrics": ("PIF", "metrics"),
}


def table(name):
    path = os.path.join(os.environ["XENKIT_SOURCE"], "data", "xenapi", name)
    with open(path, encoding="utf-8") as lines:
        return [line.rstrip("\n").split("\t") for line in lines if not line.startswith("#")]


FIELDS = {(row[0], row[1]): row[2] for row in table("fields.tsv") if "internal" not in row[8]}
RELATIONS = [row[:4] for row in table("relations.tsv") if row[:2] != row[2:4]]  # role.subroles has one end


def refs(type_name, value):
    """The refs that a value of a type has, each with its class."""
    plain = re.fullmatch(r"ref:(\w+)", type_name)
    if plain:
        return [] if value == NULL else [(plain[1], value)]
    inside = re.fullmatch(r"set\(ref:(\w+)\)", type_name)
    if inside:
        return [(inside[1], ref) for ref in value]
    inside = re.fullmatch(r"map\(string,ref:(\w+)\)", type_name)
    if inside:
        return [(inside[1], ref) for ref in value.values()]
    inside = re.fullmatch(r"map\(ref:(\w+),.*\)", type_name)
    return [(inside[1], ref) for ref in value] if inside else []


def records(pool):
    """Of one moment: read again for as long as anything changes meanwhile."""
    kinds = [k for k in sorted({kind for kind, _ in FIELDS}) if not pool.error(k + ".get_all_records")]
    while True:
        token = pool("event.from", ["*"], "", 30.0)["token"]
        found = {kind: pool(kind + ".get_all_records") for kind in kinds}
        changed = {e["class"] for e in pool("event.from", ["*"], token, 0.0)["events"]}
        if not changed - {"message"}:
            return found


def lost(found):
    """Refs to what is not there."""
    wrong = []
    for kind, objects in found.items():
        for ref, record in objects.items():
            for field, value in record.items():
                for other, to in refs(FIELDS[kind, field], value):
                    if other in found and to not in found[other]:
                        wrong.append("%s %s (%s) %s: no %s %s" % (
                            kind, ref, record.get("name_label", ""), field, other, to))
                if FIELDS[kind, field].startswith("set(ref:") and len(value) != len(set(value)):
                    wrong.append("%s %s %s: twice the same" % (kind, ref, field))
    return wrong


def one_sided(found):
    """Of each relation of the data model, what only one of its ends knows."""
    wrong = []
    for kind, field, other, back in RELATIONS:
        if not {kind, other} <= set(found) or not {(kind, field), (other, back)} <= set(FIELDS):
            continue  # one of its ends is nobody's to see
        there = {(a, b) for a, r in found[kind].items() for _, b in refs(FIELDS[kind, field], r[field]) if b in found[other]}
        here = {(a, b) for b, r in found[other].items() for _, a in refs(FIELDS[other, back], r[back]) if a in found[kind]}
        wrong += ["%s %s.%s has %s, whose %s.%s has it not" % (kind, a, field, b, other, back) for a, b in there - here]
        wrong += ["%s %s.%s has %s, whose %s.%s has it not" % (other, b, back, a, kind, field) for a, b in here - there]
    return wrong


def states(found):
    """What a machine's state says of where it is, and of what it has."""
    wrong = []
    for ref, vm in found["VM"].items():
        lives = vm["power_state"] in ("Running", "Paused")
        name = "VM %s (%s, %s)" % (ref, vm["name_label"], vm["power_state"])
        if lives != (vm["resident_on"] != NULL):
            wrong.append("%s: on %s" % (name, vm["resident_on"]))
        if vm["current_operations"]:
            wrong.append("%s: %s" % (name, vm["current_operations"]))
        if str(vm["domid"]) == "-1" and lives:
            wrong.append("%s: no domain" % name)
        if vm["VBDs"] and not lives and vm["power_state"] != "Suspended":
            for vbd in vm["VBDs"]:
                if found["VBD"].get(vbd, {}).get("currently_attached"):
                    wrong.append("%s: %s is attached" % (name, vbd))
        if not lives and vm["power_state"] != "Suspended":
            for vif in vm["VIFs"]:
                if found["VIF"].get(vif, {}).get("currently_attached"):
                    wrong.append("%s: %s is attached" % (name, vif))
        if not lives and vm["consoles"]:
            wrong.append("%s: consoles %s" % (name, vm["consoles"]))
    return wrong


def owned(found):
    """What belongs to one object and is nobody's, or two objects'."""
    wrong = []
    for kind, (owner, field) in OWNED.items():
        # What is upon a PIF, a VLAN or a tunnel, shares those of it.
        owners = [r[field] for r in found[owner].values() if r[field] != NULL and not r.get("tunnel_access_PIF_of")
                  and r.get("VLAN_master_of", NULL) == NULL]
        wrong += ["%s %s is of %d" % (kind, ref, owners.count(ref)) for ref in found[kind] if owners.count(ref) != 1]
    return wrong


def uuids(found):
    wrong = []
    for kind, objects in found.items():
        all_uuids = [r["uuid"] for r in objects.values() if "uuid" in r]
        wrong += ["%s: uuid %s twice" % (kind, u) for u in set(all_uuids) if all_uuids.count(u) > 1]
    return wrong


def wrong(pool):
    """All that is wrong, as lines."""
    found = records(pool)
    return lost(found) + one_sided(found) + states(found) + owned(found) + uuids(found)
