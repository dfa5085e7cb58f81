/*
 * Machines that leave for another pool.
 *
 * The other pool is asked through its xenops service, the URL that its host.migrate_receive gave: one document has the
 * records of the machine, of its snapshots and of all their devices and disks, with the storage and the networks that
 * they are mapped to. It is sent twice: first only to be checked, and when the time that a move takes is over, to be
 * taken. Then go, to the other URL that migrate_receive gave, those bytes of its disks that are not zeros, piece by
 * piece; when one is not taken, the machine there goes again. What real hosts say to each other at these URLs no client
 * speaks. The machine here goes when all of it is there.
 * Facts: xapi_vm_migrate.ml of xapi (2026-08).
 */
#include "lib/simpool/migrate.h"
#include "lib/simpool/peer.h"

#define DOCUMENT_BYTES_MAX (256u << 10) /* less than a request may have */
#define MOVE_NS            (4 * XK_NS_PER_S)

bool sim_migrate_leaves(const struct sim_call *c)
{
    return !sim_find(c->pool, sim_option(&c->args[SIM_MIGRATE_DEST], "host"), xapi_class_find("host"));
}

static bool option(const struct sim_call *c, const char *key)
{
    const char *const text = sim_option(&c->args[SIM_MIGRATE_OPTIONS], key);

    return text && sim_same(text, "true");
}

/* ---- where everything goes ---- */

static struct sim_object *vdi_of(const struct simpool *p, const struct sim_object *vbd)
{
    return sim_is(vbd, "type", "CD") ? NULL : sim_follow(p, vbd, "VDI");
}

/* The SR that a disk is mapped to: its own entry, or that of the disk that it is a snapshot of. NULL: none. */
static const char *sr_of(const struct sim_call *c, const struct sim_object *vdi)
{
    const struct xapi_value *const map = &c->args[SIM_MIGRATE_VDIS];
    const char *const own = sim_option(map, vdi->ref);

    if (own)
        return own;
    const char *const parent = sim_option(map, sim_text(vdi, "snapshot_of"));
    return parent ? parent : sim_bool(vdi, "is_a_snapshot") && map->count ? xapi_value_text(&map->items[1]) : NULL;
}

/* The network that a device is mapped to, or one with its address is. NULL: none. */
static const char *network_of(const struct sim_call *c, const struct sim_object *vif)
{
    const struct xapi_value *const map = &c->args[SIM_MIGRATE_VIFS];
    const char *const own = sim_option(map, vif->ref);

    for (size_t i = 0; !own && i < map->count; i++) {
        const struct sim_object *const other = sim_find(c->pool, map->items[2 * i].text, xapi_class_find("VIF"));
        if (other && sim_is(other, "MAC", sim_text(vif, "MAC")))
            return xapi_value_text(&map->items[2 * i + 1]);
    }
    return own;
}

static bool disk_may_leave(const struct simpool *p, const struct sim_object *vdi, struct sim_why *why)
{
    const struct sim_object *const sr = sim_follow(p, vdi, "SR");

    if (sim_is(vdi, "on_boot", "reset"))
        return sim_deny(why, "VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION", vdi->ref, NULL);
    if (sim_bool(vdi, "cbt_enabled"))
        return sim_deny(why, "VDI_CBT_ENABLED", vdi->ref, NULL);
    if (!sr || !sim_sr_has_feature(p, sr, "VDI_SNAPSHOT") || !sim_sr_has_feature(p, sr, "VDI_MIRROR"))
        return sim_deny(why, "SR_DOES_NOT_SUPPORT_MIGRATION", sim_text(vdi, "SR"), "VDI_SNAPSHOT,VDI_MIRROR", NULL);
    return true;
}

/* What this side can tell. */
static bool may_leave(const struct sim_call *c, const struct sim_object *vm, struct sim_why *why)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *device;

    for (size_t at = 0; (device = sim_member(p, vm, "VBDs", &at));) {
        const struct sim_object *const vdi = vdi_of(p, device);
        if (vdi && !sr_of(c, vdi))
            return sim_deny(why, "VDI_NOT_IN_MAP", vdi->ref, NULL);
        if (vdi && !disk_may_leave(p, vdi, why))
            return false;
    }
    for (size_t at = 0; (device = sim_member(p, vm, "VIFs", &at));)
        if (!network_of(c, device))
            return sim_deny(why, "VIF_NOT_IN_MAP", device->ref, NULL);
    if (option(c, "copy") && !option(c, "force") && !sim_vm_has_power(vm, SIM_IS_HALTED, "halted", why))
        return false;
    return true;
}

/* ---- the document ---- */

static void put_text(struct xk_buf *b, const char *name, const char *text)
{
    const struct xapi_value v = xapi_str(text);

    xk_buf_printf(b, "\"%s\":", name);
    xapi_json_value(b, &v);
    xk_buf_add_char(b, ',');
}

/* {"record":…, and with a name: where it goes. */
static void put_object(struct xk_buf *b, struct sim_object *o, const char *name, const char *where)
{
    struct xapi_raw raw;

    if (sim_record_as(&raw, o, true) < 0) {
        b->error = -ENOMEM;
        return;
    }
    xk_buf_add_char(b, '{');
    put_text(b, "ref", o->ref);
    if (name)
        put_text(b, name, where);
    xk_buf_add_str(b, "\"record\":");
    xk_buf_add(b, raw.json, raw.json_bytes);
    xk_buf_add_char(b, '}');
}

static void put_devices(struct xk_buf *b, const struct sim_call *c, const struct sim_object *vm)
{
    const struct simpool *const p = c->pool;
    const char *between = "";
    struct sim_object *o;

    xk_buf_add_str(b, ",\"VBDs\":[");
    for (size_t at = 0; (o = sim_member(p, vm, "VBDs", &at)); between = ",") {
        xk_buf_add_str(b, between);
        put_object(b, o, NULL, NULL);
    }
    xk_buf_add_str(b, "],\"VIFs\":[");
    between = "";
    for (size_t at = 0; (o = sim_member(p, vm, "VIFs", &at)); between = ",") {
        const char *const network = network_of(c, o);
        xk_buf_add_str(b, between);
        put_object(b, o, "to", network ? network : "");
    }
    xk_buf_add_str(b, "],\"VDIs\":[");
    between = "";
    for (size_t at = 0; (o = sim_member(p, vm, "VBDs", &at));) {
        struct sim_object *const vdi = vdi_of(p, o);
        if (!vdi)
            continue;
        const char *const sr = sr_of(c, vdi);
        xk_buf_add_str(b, between);
        put_object(b, vdi, "to", sr ? sr : "");
        between = ",";
    }
    struct sim_object *const image = sim_vm_power(vm) == SIM_IS_SUSPENDED ? sim_follow(p, vm, "suspend_VDI") : NULL;
    if (image) {
        const char *const sr = sr_of(c, image), *const any = c->args[SIM_MIGRATE_VDIS].count
                                                                 ? xapi_value_text(&c->args[SIM_MIGRATE_VDIS].items[1])
                                                                 : "";
        xk_buf_add_str(b, between);
        put_object(b, image, "to", sr ? sr : any);
    }
    xk_buf_add_char(b, ']');
}

static void put_machine(struct xk_buf *b, const struct sim_call *c, struct sim_object *vm)
{
    struct sim_object *const guest = sim_follow(c->pool, vm, "guest_metrics");

    put_object(b, vm, NULL, NULL);
    b->len -= !b->error; /* its closing bracket: more of it follows */
    put_devices(b, c, vm);
    if (guest) {
        xk_buf_add_str(b, ",\"guest\":");
        put_object(b, guest, NULL, NULL);
    }
    xk_buf_add_char(b, '}');
}

static enum sim_outcome hand_over(struct sim_call *c, struct sim_object *vm, bool check, sim_peer_done *done)
{
    const struct simpool *const p = c->pool;
    struct xk_buf b = XK_BUF_INIT(DOCUMENT_BYTES_MAX);
    const struct sim_object *const host = sim_master(p);
    struct sim_object *snapshot;

    xk_buf_printf(&b, "{\"check\":%s,\"copy\":%s,\"force\":%s,", check ? "true" : "false",
                  option(c, "copy") ? "true" : "false", option(c, "force") ? "true" : "false");
    put_text(&b, "host", sim_option(&c->args[SIM_MIGRATE_DEST], "host"));
    const char *const version = host ? sim_pair(host, "software_version", "platform_version") : NULL;
    put_text(&b, "platform_version", version ? version : "");
    xk_buf_add_str(&b, "\"VMs\":[");
    put_machine(&b, c, vm);
    for (size_t at = 0; (snapshot = sim_member(p, vm, "snapshots", &at));) {
        xk_buf_add_char(&b, ',');
        put_machine(&b, c, snapshot);
    }
    xk_buf_add_str(&b, "]}");
    if (b.error == -E2BIG || b.error == -EFBIG) {
        xk_buf_done(&b);
        return sim_fail(c, "VM_MIGRATE_FAILED", vm->ref, "", sim_option(&c->args[SIM_MIGRATE_DEST], "host"),
                        "its records are more than one request can hold", NULL);
    }
    return sim_peer_post(c, sim_option(&c->args[SIM_MIGRATE_DEST], "xenops"), &b, done);
}

static enum sim_outcome refused(struct sim_call *c, const struct sim_peer_reply *reply)
{
    return sim_peer_refuse(c, reply, sim_option(&c->args[SIM_MIGRATE_DEST], "xenops"));
}

/* ---- the steps ---- */

static enum sim_outcome asked(struct sim_call *c, const struct sim_peer_reply *reply)
{
    return reply->code < 0 || reply->reply.failed ? refused(c, reply) : SIM_DONE;
}

enum sim_outcome sim_migrate_ask(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, SIM_MIGRATE_VM);
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    return may_leave(c, vm, &why) ? hand_over(c, vm, true, asked) : sim_refuse(c, &why);
}

static void disks_go(struct simpool *p, const struct sim_object *vm)
{
    struct sim_object *vbd;

    for (size_t at = 0; (vbd = sim_member(p, vm, "VBDs", &at));) {
        struct sim_object *const vdi = vdi_of(p, vbd);
        if (vdi) {
            sim_vdi_destroy(p, vdi); /* and its VBDs */
            at = 0;
        }
    }
}

void sim_migrate_forget(struct simpool *p, struct sim_object *vm)
{
    struct sim_object *snapshot;

    for (size_t at = 0; (snapshot = sim_member(p, vm, "snapshots", &at)) && p->error == 0; at = 0) {
        disks_go(p, snapshot);
        sim_vm_destroy(p, snapshot);
    }
    if (sim_vm_power(vm) != SIM_IS_HALTED)
        sim_vm_halt(p, vm);
    disks_go(p, vm);
    sim_vm_destroy(p, vm);
}

/* ---- what the disks hold ---- */

/* How far the bytes have gone, and what the far side answered. */
struct sim_leaving {
    struct xapi_value reply; /* {"VM": its ref there, "VDIs": what the disks are called there} */
    struct sim_disks_going disks;
};

static enum sim_outcome next_piece(struct sim_call *c);

static enum sim_outcome undone(struct sim_call *c, const struct sim_peer_reply *reply)
{
    return SIM_FAILED; /* why, was recorded before */
}

/* The error is recorded; the machine there has to go. */
static enum sim_outcome undo(struct sim_call *c)
{
    const struct xapi_value wrong = c->error;
    struct xk_buf b = XK_BUF_INIT(1024);

    xk_buf_add_str(&b, "{\"undo\":");
    xapi_json_value(&b, xapi_map_get(&c->leaving->reply, "VM"));
    xk_buf_add_char(&b, '}');
    const enum sim_outcome outcome = sim_peer_post(c, sim_option(&c->args[SIM_MIGRATE_DEST], "xenops"), &b, undone);
    c->error = wrong;
    return outcome;
}

static enum sim_outcome piece_sent(struct sim_call *c, const struct sim_peer_reply *reply)
{
    if (reply->code == 0 && !reply->reply.failed)
        return next_piece(c);
    (void)sim_peer_refuse(c, reply, sim_option(&c->args[SIM_MIGRATE_DEST], "SM"));
    return undo(c);
}

static enum sim_outcome arrived(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, SIM_MIGRATE_VM);

    if (vm && !option(c, "copy"))
        sim_migrate_forget(c->pool, vm);
    c->result = *xapi_map_get(&c->leaving->reply, "VM");
    return SIM_DONE;
}

static enum sim_outcome next_piece(struct sim_call *c)
{
    struct xk_buf b;
    const int code = sim_disks_next(c, &c->leaving->disks, &b);

    if (code <= 0)
        return code < 0 ? undo(c) : arrived(c);
    return sim_peer_post(c, sim_option(&c->args[SIM_MIGRATE_DEST], "SM"), &b, piece_sent);
}

static enum sim_outcome sent(struct sim_call *c, const struct sim_peer_reply *reply)
{
    if (reply->code < 0 || reply->reply.failed)
        return refused(c, reply);
    const struct xapi_value *const vm = xapi_map_get(&reply->reply.value, "VM");
    c->leaving = xk_arena_alloc(&c->arena, sizeof(*c->leaving));
    if (!c->leaving)
        return sim_no_memory(c);
    if (!vm || vm->shape != XAPI_TEXT)
        return refused(c, &(struct sim_peer_reply){.code = -EPROTO});
    const struct xapi_value *const vdis = xapi_map_get(&reply->reply.value, "VDIs");
    *c->leaving = (struct sim_leaving){.reply = reply->reply.value};
    if (vdis)
        c->leaving->disks.vdis = *vdis;
    return next_piece(c);
}

static enum sim_outcome moved(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, SIM_MIGRATE_VM);
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    return may_leave(c, vm, &why) ? hand_over(c, vm, false, sent) : sim_refuse(c, &why);
}

static enum sim_outcome may_begin(struct sim_call *c, const struct sim_peer_reply *reply)
{
    struct sim_object *const vm = sim_arg(c, SIM_MIGRATE_VM);
    struct sim_why why;

    if (reply->code < 0 || reply->reply.failed)
        return refused(c, reply);
    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_may(c->pool, vm, "migrate_send", true, &why))
        return sim_refuse(c, &why);
    return sim_work(c, MOVE_NS, moved, vm, "migrate_send", true);
}

enum sim_outcome sim_migrate_away(struct sim_call *c)
{
    struct sim_object *const vm = sim_arg(c, SIM_MIGRATE_VM);
    struct sim_why why;

    if (!vm)
        return SIM_FAILED;
    if (!sim_vm_may(c->pool, vm, "migrate_send", true, &why) || !may_leave(c, vm, &why))
        return sim_refuse(c, &why);
    return hand_over(c, vm, true, may_begin);
}
