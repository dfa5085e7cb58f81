/*
 * Storage repositories and what their drivers can do. The ways of hosts to them: pbd.c.
 *
 * What an SR allows follows from the features of its type's SM object, as on the real server: a pool that was loaded
 * from a dump keeps the abilities that its drivers had.
 */
#include "lib/simpool/ops.h"

#define CREATE_NS          (XK_NS_PER_S / 2)
#define METADATA_VDI_BYTES (256 * SIM_MIB)

static const char *const none[] = {NULL};

/* ---- drivers ---- */

bool sim_sr_has_feature(const struct simpool *p, const struct sim_object *sr, const char *feature)
{
    for (const struct sim_object *sm = sim_first(p, "SM"); sm; sm = sm->class_next)
        if (sim_is(sm, "type", sim_text(sr, "type")))
            return xapi_map_get(sim_get(sm, "features"), feature) != NULL;
    return false;
}

const struct sim_object *sim_sr_driver(const struct simpool *p, const char *type)
{
    for (const struct sim_object *sm = sim_first(p, "SM"); sm; sm = sm->class_next)
        if (sim_is(sm, "type", type))
            return sm;
    return NULL;
}

/* ---- may it? ---- */

struct operation {
    const char *name, *feature; /* of the driver; NULL: none needed */
    bool offered;
};

/* In the order of the enum storage_operations. */
static const struct operation operations[] = {
    {"scan", NULL, true},
    {"destroy", NULL, true},
    {"forget", NULL, true},
    {"plug", NULL, true},
    {"unplug", NULL, true},
    {"update", "SR_UPDATE", true},
    {"vdi_create", "VDI_CREATE", true},
    {"vdi_introduce", "VDI_INTRODUCE", true},
    {"vdi_destroy", "VDI_DELETE", true},
    {"vdi_resize", "VDI_RESIZE", true},
    {"vdi_clone", NULL, true}, /* without the feature the server copies */
    {"vdi_snapshot", "VDI_SNAPSHOT", true},
    {"vdi_mirror", "VDI_MIRROR", true},
    {"vdi_enable_cbt", "VDI_CONFIG_CBT", true},
    {"vdi_disable_cbt", "VDI_CONFIG_CBT", true},
    {"vdi_data_destroy", "VDI_CONFIG_CBT", true},
    {"vdi_list_changed_blocks", "VDI_CONFIG_CBT", true},
    {"vdi_set_on_boot", "VDI_RESET_ON_BOOT", true},
    {"vdi_blocked", NULL, false},
    {"vdi_copy", NULL, false},
    {"vdi_force_unlock", NULL, false},
    {"vdi_forget", NULL, false},
    {"vdi_generate_config", NULL, false},
    {"vdi_resize_online", NULL, false},
    {"vdi_update", NULL, false},
    {"vdi_revert", "VDI_REVERT", true},
    {"pbd_create", NULL, true},
    {"pbd_destroy", NULL, true},
};

static bool has_managed_disks(const struct simpool *p, const struct sim_object *sr)
{
    const struct sim_object *vdi;

    for (size_t at = 0; (vdi = sim_member(p, sr, "VDIs", &at));)
        if (sim_bool(vdi, "managed") && !sim_is(vdi, "type", "rrd"))
            return true;
    return false;
}

static bool may(const struct simpool *p, const struct sim_object *sr, const struct operation *op, struct sim_why *why)
{
    const struct xapi_value *const now = sim_get(sr, "current_operations");
    const bool destroy = sim_same(op->name, "destroy");
    const bool volumes = sim_same(op->name, "vdi_create") || sim_same(op->name, "vdi_destroy");

    if ((op->feature && !sim_sr_has_feature(p, sr, op->feature)) || (volumes && sim_bool(sr, "is_tools_sr")))
        return sim_deny(why, "SR_OPERATION_NOT_SUPPORTED", sr->ref, NULL);
    if ((destroy || sim_same(op->name, "forget")) && sim_sr_pbd(p, sr, NULL))
        return sim_deny(why, "SR_HAS_PBD", sr->ref, NULL);
    if (destroy && sim_get(sr, "PBDs")->count == 0)
        return sim_deny(why, "SR_HAS_NO_PBDS", sr->ref, NULL);
    if (destroy && has_managed_disks(p, sr))
        return sim_deny(why, "SR_NOT_EMPTY", NULL);
    for (size_t i = 0; i < now->count; i++)
        if (!sim_same(op->name, "plug") || !sim_same(xapi_value_text(&now->items[2 * i + 1]), "plug"))
            return sim_deny_busy(why, sr, i);
    return true;
}

bool sim_sr_may(const struct simpool *p, const struct sim_object *sr, const char *op, struct sim_why *why)
{
    size_t i = 0;

    while (i + 1 < XK_COUNT(operations) && !sim_same(operations[i].name, op))
        i++;
    return may(p, sr, &operations[i], why);
}

void sim_sr_allowed(struct simpool *p, struct sim_object *sr)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < XK_COUNT(operations); i++)
        if (operations[i].offered && may(p, sr, &operations[i], NULL))
            mask |= UINT64_C(1) << i;
    sim_put_allowed(p, sr, mask);
}

bool sim_sr_has_room(const struct sim_object *sr, int64_t bytes, struct sim_why *why)
{
    const int64_t size = sim_int(sr, "physical_size"), used = sim_int(sr, "physical_utilisation");

    /* What takes nothing at first, such as a thin disk, still needs a file that does not fit on what is full. */
    const bool full = size > 0 && used >= size;
    if (size < 0 || bytes < 0 || (bytes == 0 ? !full : bytes <= size - used))
        return true;
    return sim_deny(why, "SR_BACKEND_FAILURE_44", "", "There is insufficient space", "", NULL);
}

void sim_sr_take(struct simpool *p, struct sim_object *sr, int64_t bytes)
{
    if (sr && bytes)
        sim_put_int(p, sr, "physical_utilisation", XK_MAX(sim_int(sr, "physical_utilisation") + bytes, 0));
}

void sim_sr_refresh(struct simpool *p, struct sim_object *sr)
{
    struct sim_object *vdi;

    sim_sr_allowed(p, sr);
    for (size_t at = 0; (vdi = sim_member(p, sr, "VDIs", &at));)
        sim_vdi_allowed(p, vdi);
}

/* ---- SRs: making ---- */

/* What the drivers ask of a configuration; their codes and texts. */
static const struct {
    const char *types, *key, *code, *text;
} needed[] = {
    {"nfs", "server", "SR_BACKEND_FAILURE_102", "The request is missing the server parameter"},
    {"nfs", "serverpath", "SR_BACKEND_FAILURE_101", "The request is missing the serverpath parameter"},
    {"smb", "server", "SR_BACKEND_FAILURE_102", "The request is missing the server parameter"},
    {"ext lvm", "device", "SR_BACKEND_FAILURE_90", "The request is missing the device parameter"},
    {"lvmoiscsi", "target", "SR_BACKEND_FAILURE_95", "The request is missing the target parameter"},
    {"lvmoiscsi", "targetIQN", "SR_BACKEND_FAILURE_96",
     "The request is missing or has an incorrect target IQN parameter"},
    {"lvmoiscsi lvmohba", "SCSIid", "SR_BACKEND_FAILURE_107", "The SCSIid parameter is missing or incorrect"},
    {"file udev", "location", "SR_BACKEND_FAILURE_94", "The request is missing the location parameter"},
    {"iso", "location", "SR_BACKEND_FAILURE_220", "'Location' parameter must be specified in Device Configuration"},
};

static bool is_one_of(const char *words, const char *word)
{
    const size_t len = strlen(word);

    for (const char *at = words; (at = strstr(at, word)); at++)
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

static bool is_complete(const char *type, const struct xapi_value *config, struct sim_why *why)
{
    for (size_t i = 0; i < XK_COUNT(needed); i++)
        if (is_one_of(needed[i].types, type) && !sim_option(config, needed[i].key))
            return sim_deny(why, needed[i].code, "", needed[i].text, "", NULL);
    return true;
}

static const char *lower(struct sim_call *c, const char *text)
{
    char *const copy = xk_arena_strdup(&c->arena, text);

    for (char *at = copy; at && *at; at++)
        *at = *at >= 'A' && *at <= 'Z' ? (char)(*at | 0x20) : *at;
    return copy ? copy : "";
}

/* The record alone, as SR.introduce makes it. */
static struct sim_object *record_create(struct simpool *p, const char *uuid, const char *name, const char *description,
                                        const char *type, const char *content, bool shared,
                                        const struct xapi_value *sm_config)
{
    struct sim_object *const sr = sim_create(p, "SR");

    if (!sr)
        return NULL;
    if (*uuid)
        sim_put_uuid(p, sr, uuid);
    sim_put_text(p, sr, "name_label", name);
    sim_put_text(p, sr, "name_description", description);
    sim_put_text(p, sr, "type", type);
    sim_put_text(p, sr, "content_type", content);
    sim_put_bool(p, sr, "shared", shared);
    sim_put_bool(p, sr, "default_vdi_visibility", true);
    sim_put_int(p, sr, "physical_size", -1);
    sim_put_int(p, sr, "physical_utilisation", -1);
    sim_put(p, sr, "sm_config", *sm_config);
    sim_sr_allowed(p, sr);
    return sr;
}

/* Parameters of SR.create. */
enum { HOST, CONFIG, SIZE, LABEL, DESCRIPTION, TYPE, CONTENT, SHARED, SM_CONFIG };

static enum sim_outcome create_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_arg(c, HOST);
    const bool shared = c->args[SHARED].truth;
    const struct xapi_value config = sim_pbd_config(c, &c->args[CONFIG]);

    if (!host)
        return SIM_FAILED;
    struct sim_object *const sr =
        record_create(p, "", sim_arg_text(c, LABEL), sim_arg_text(c, DESCRIPTION), lower(c, sim_arg_text(c, TYPE)),
                      sim_arg_text(c, CONTENT), shared, &c->args[SM_CONFIG]);
    if (!sr)
        return sim_no_memory(c);
    sim_put_int(p, sr, "physical_size", c->args[SIZE].integer > 0 ? c->args[SIZE].integer : SIM_DEVICE_BYTES);
    sim_put_int(p, sr, "physical_utilisation", 0);
    for (const struct sim_object *h = sim_first(p, "host"); h; h = h->class_next) {
        struct sim_object *const pbd = shared || h == host ? sim_pbd_create(p, sr, h, &config) : NULL;
        if (pbd)
            sim_put_bool(p, pbd, "currently_attached", true);
    }
    sim_sr_allowed(p, sr);
    return sim_done_ref(c, sr);
}

static enum sim_outcome create(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const char *const type = lower(c, sim_arg_text(c, TYPE));
    struct sim_why why;

    if (!sim_arg(c, HOST))
        return SIM_FAILED;
    if (!sim_sr_driver(p, type))
        return sim_fail(c, "SR_UNKNOWN_DRIVER", type, NULL);
    if (!is_complete(type, &c->args[CONFIG], &why))
        return sim_refuse(c, &why);
    return sim_work(c, CREATE_NS, create_end, NULL, NULL, false);
}

static enum sim_outcome introduce(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const uuid = sim_arg_text(c, 0);

    if (*uuid && sim_find_uuid(p, uuid, xapi_class_find("SR")))
        return sim_fail(c, "SR_UUID_EXISTS", uuid, NULL);
    return sim_done_ref(c, record_create(p, uuid, sim_arg_text(c, 1), sim_arg_text(c, 2), lower(c, sim_arg_text(c, 3)),
                                         sim_arg_text(c, 4), c->args[5].truth, &c->args[6]));
}

static enum sim_outcome make(struct sim_call *c)
{
    return sim_arg(c, 0) ? sim_fail(c, "MESSAGE_DEPRECATED", NULL) : SIM_FAILED;
}

/* ---- SRs: ending ---- */

/* A drive without its disk is an empty one; other devices go with what they were for. */
static void drives_empty(struct simpool *p, struct sim_object *vdi)
{
    struct sim_object *vbd;

    for (size_t at = 0; (vbd = sim_member(p, vdi, "VBDs", &at)) && p->error == 0; at = 0) {
        if (sim_is(vbd, "type", "CD")) {
            sim_put_text(p, vbd, "VDI", SIM_NULL);
            sim_put_bool(p, vbd, "empty", true);
            continue;
        }
        sim_device_delete(p, vbd);
    }
}

void sim_sr_forget(struct simpool *p, struct sim_object *sr)
{
    struct sim_object *part;

    for (size_t at = 0; (part = sim_member(p, sr, "PBDs", &at)) && p->error == 0; at = 0)
        sim_pbd_destroy(p, part);
    for (size_t at = 0; (part = sim_member(p, sr, "VDIs", &at)) && p->error == 0; at = 0) {
        drives_empty(p, part);
        if (!sim_is(part, "type", "user")) /* those, only devices have */
            sim_let_go(p, part);
        sim_delete(p, part);
    }
    sim_let_go(p, sr);
    sim_delete(p, sr);
}

static enum sim_outcome destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const sr = sim_arg(c, 0);
    struct sim_why why;

    if (!sr)
        return SIM_FAILED;
    if (!sim_sr_may(p, sr, "destroy", &why))
        return sim_refuse(c, &why);
    const char *const kept = sim_pair(sr, "other_config", "indestructible");
    if (kept && sim_same(kept, "true"))
        return sim_fail(c, "SR_INDESTRUCTIBLE", sr->ref, NULL);
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        if (sim_is(host, "local_cache_sr", sr->ref))
            return sim_fail(c, "SR_IS_CACHE_SR", host->ref, NULL);
    sim_sr_forget(p, sr);
    return SIM_DONE;
}

static enum sim_outcome forget(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const sr = sim_arg(c, 0);
    struct sim_why why;

    if (!sr)
        return SIM_FAILED;
    if (!sim_sr_may(p, sr, "forget", &why))
        return sim_refuse(c, &why);
    sim_sr_forget(p, sr);
    return SIM_DONE;
}

/* ---- SRs: looking ---- */

static enum sim_outcome scan_as(struct sim_call *c, bool scan)
{
    struct simpool *const p = c->pool;
    struct sim_object *const sr = sim_arg(c, 0);
    struct sim_object *vdi;
    int64_t bytes = 0;
    struct sim_why why;

    if (!sr)
        return SIM_FAILED;
    if ((scan && !sim_sr_may(p, sr, "scan", &why)) || !sim_sr_pbd(p, sr, &why))
        return sim_refuse(c, &why);
    for (size_t at = 0; scan && (vdi = sim_member(p, sr, "VDIs", &at));)
        bytes += sim_int(vdi, "virtual_size");
    if (scan) {
        sim_put_int(p, sr, "virtual_allocation", bytes);
        sim_put_pair(p, sr, "other_config", "dirty", NULL);
    }
    return SIM_DONE;
}

static enum sim_outcome scan(struct sim_call *c)
{
    return scan_as(c, true);
}

static enum sim_outcome update(struct sim_call *c)
{
    return scan_as(c, false);
}

static enum sim_outcome get_supported_types(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    xapi_build_open(&b, XAPI_LIST);
    for (const struct sim_object *sm = sim_first(c->pool, "SM"); sm; sm = sm->class_next)
        xapi_build_text(&b, sim_text(sm, "type"));
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* Whether a PBD leads to where that configuration does. */
static bool leads_there(const struct sim_object *pbd, const struct xapi_value *config)
{
    for (size_t i = 0; i < config->count; i++) {
        const char *const text = sim_pair(pbd, "device_config", config->items[2 * i].text);
        if (!text || !sim_same(text, xapi_value_text(&config->items[2 * i + 1])))
            return false;
    }
    return true;
}

/* The SRs that are there, in the notation of the drivers. */
static enum sim_outcome probe(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const char *const type = lower(c, sim_arg_text(c, 2));
    struct xk_buf xml = XK_BUF_INIT(SIM_CALL_BYTES_MAX);
    struct sim_why why;

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    if (!sim_sr_driver(p, type))
        return sim_fail(c, "SR_UNKNOWN_DRIVER", type, NULL);
    if (!is_complete(type, &c->args[1], &why))
        return sim_refuse(c, &why);
    xk_buf_add_str(&xml, "<?xml version=\"1.0\" ?>\n<SRlist>\n");
    for (const struct sim_object *sr = sim_first(p, "SR"); sr; sr = sr->class_next) {
        size_t at = 0;
        const struct sim_object *const pbd = sim_is(sr, "type", type) ? sim_member(p, sr, "PBDs", &at) : NULL;
        if (pbd && leads_there(pbd, &c->args[1]))
            xk_buf_printf(&xml, "\t<SR>\n\t\t<UUID>\n\t\t\t%s\n\t\t</UUID>\n\t</SR>\n", sim_text(sr, "uuid"));
    }
    xk_buf_add_str(&xml, "</SRlist>\n");
    const char *const text = xml.error ? NULL : xk_arena_strdup(&c->arena, xk_buf_str(&xml));
    xk_buf_done(&xml);
    if (!text)
        return sim_no_memory(c);
    c->result = xapi_str(text);
    return SIM_DONE;
}

/* Only drivers of the third generation answer in records, and none of these is one. */
static enum sim_outcome probe_ext(struct sim_call *c)
{
    const char *const type = lower(c, sim_arg_text(c, 2));

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    if (!sim_sr_driver(c->pool, type))
        return sim_fail(c, "SR_UNKNOWN_DRIVER", type, NULL);
    return sim_fail(c, "SR_OPERATION_NOT_SUPPORTED", NULL);
}

static bool is_everywhere(const struct simpool *p, const struct sim_object *sr, struct sim_why *why)
{
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next)
        if (!sim_host_sees_sr(p, host, sr->ref))
            return sim_deny(why, "SR_HAS_NO_PBDS", sr->ref, NULL);
    return true;
}

static bool can_hold(const struct simpool *p, const struct sim_object *sr, const char *feature, struct sim_why *why)
{
    if (!is_everywhere(p, sr, why))
        return false;
    return sim_sr_has_feature(p, sr, feature) || sim_deny(why, "SR_OPERATION_NOT_SUPPORTED", sr->ref, NULL);
}

static enum sim_outcome assert_can_hold(struct sim_call *c, const char *feature)
{
    const struct sim_object *const sr = sim_arg(c, 0);
    struct sim_why why;

    if (!sr)
        return SIM_FAILED;
    return can_hold(c->pool, sr, feature, &why) ? SIM_DONE : sim_refuse(c, &why);
}

static enum sim_outcome assert_can_host_ha_statefile(struct sim_call *c)
{
    return assert_can_hold(c, "VDI_GENERATE_CONFIG");
}

static enum sim_outcome assert_supports_database_replication(struct sim_call *c)
{
    return assert_can_hold(c, "SR_METADATA");
}

static struct sim_object *metadata_disk(const struct simpool *p, const struct sim_object *sr)
{
    struct sim_object *vdi;

    for (size_t at = 0; (vdi = sim_member(p, sr, "VDIs", &at));)
        if (sim_is(vdi, "type", "metadata") && sim_is(vdi, "metadata_of_pool", sim_pool_object(p)->ref))
            return vdi;
    return NULL;
}

static enum sim_outcome enable_database_replication(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const sr = sim_arg(c, 0);
    struct sim_why why;

    if (!sr)
        return SIM_FAILED;
    if (!can_hold(p, sr, "SR_METADATA", &why) || !sim_sr_has_room(sr, METADATA_VDI_BYTES, &why))
        return sim_refuse(c, &why);
    if (metadata_disk(p, sr))
        return SIM_DONE;
    struct sim_object *const vdi = sim_vdi_create(p, sr, METADATA_VDI_BYTES, "metadata");
    if (!vdi)
        return sim_no_memory(c);
    sim_put_text(p, vdi, "name_label", "Metadata for DR");
    sim_put_text(p, vdi, "name_description", "Used for disaster recovery");
    sim_put_text(p, vdi, "metadata_of_pool", sim_pool_object(p)->ref);
    sim_put_bool(p, vdi, "metadata_latest", true);
    sim_sr_refresh(p, sr);
    return SIM_DONE;
}

static enum sim_outcome disable_database_replication(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const sr = sim_arg(c, 0), *const vdi = sr ? metadata_disk(p, sr) : NULL;

    if (!sr)
        return SIM_FAILED;
    if (vdi)
        sim_vdi_destroy(p, vdi);
    return SIM_DONE;
}

static enum sim_outcome get_live_hosts(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const sr = sim_arg(c, 0);
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    if (!sr)
        return SIM_FAILED;
    xapi_build_open(&b, XAPI_LIST);
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next) {
        const struct sim_object *const metrics = sim_follow(p, host, "metrics");
        if (sim_host_sees_sr(p, host, sr->ref) && metrics && sim_bool(metrics, "live"))
            xapi_build_value(&b, xapi_str(host->ref));
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome set_shared(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const sr = sim_arg(c, 0);
    size_t at = 0;

    if (!sr)
        return SIM_FAILED;
    if (!c->args[1].truth && sim_get(sr, "PBDs")->count > 1) {
        const struct sim_object *const first = sim_member(p, sr, "PBDs", &at), *const second =
                                                                                   sim_member(p, sr, "PBDs", &at);
        return sim_fail(c, "SR_HAS_MULTIPLE_PBDS", first ? first->ref : "", second ? second->ref : NULL, NULL);
    }
    sim_put(p, sr, "shared", c->args[1]);
    return SIM_DONE;
}

/* ---- the drivers that are there at the start ---- */

void sim_seed_drivers(struct simpool *p)
{
    static const struct {
        const char *type, *label, *description;
        const char *features; /* besides attaching and detaching */
    } drivers[] = {
        {"ext", "Local EXT3 VHD", "SR plugin which represents disks as VHD files stored on a local EXT3 filesystem",
         "SR_PROBE SR_UPDATE SR_SUPPORTS_LOCAL_CACHING THIN_PROVISIONING VDI_CREATE VDI_DELETE VDI_CLONE VDI_SNAPSHOT "
         "VDI_RESIZE VDI_UPDATE VDI_MIRROR VDI_GENERATE_CONFIG VDI_RESET_ON_BOOT VDI_CONFIG_CBT VDI_READ_CACHING"},
        {"file", "File VHD", "SR plugin which represents disks as VHD files on a local filesystem",
         "SR_UPDATE THIN_PROVISIONING VDI_CREATE VDI_DELETE VDI_CLONE VDI_SNAPSHOT VDI_RESIZE VDI_UPDATE VDI_MIRROR "
         "VDI_GENERATE_CONFIG VDI_RESET_ON_BOOT VDI_CONFIG_CBT"},
        {"iso", "ISO", "Handles CD images stored as files in iso format", ""},
        {"lvm", "Local VHD on LVM",
         "SR plugin which represents disks as VHD disks on Logical Volumes within a "
         "locally-attached Volume Group",
         "SR_PROBE SR_UPDATE SR_TRIM VDI_CREATE VDI_DELETE VDI_CLONE VDI_SNAPSHOT VDI_RESIZE VDI_UPDATE VDI_MIRROR "
         "VDI_RESET_ON_BOOT VDI_CONFIG_CBT"},
        {"lvmohba", "LVM over FC", "SR plugin which represents disks as VHDs on Logical Volumes created on an HBA LUN",
         "SR_PROBE SR_UPDATE SR_METADATA SR_TRIM VDI_CREATE VDI_DELETE VDI_CLONE VDI_SNAPSHOT VDI_RESIZE VDI_UPDATE "
         "VDI_MIRROR VDI_GENERATE_CONFIG VDI_RESET_ON_BOOT VDI_CONFIG_CBT"},
        {"lvmoiscsi", "LVHD over iSCSI",
         "SR plugin which represents disks as Logical Volumes within a Volume Group "
         "created on an iSCSI LUN",
         "SR_PROBE SR_UPDATE SR_METADATA SR_TRIM VDI_CREATE VDI_DELETE VDI_CLONE VDI_SNAPSHOT VDI_RESIZE VDI_UPDATE "
         "VDI_MIRROR VDI_GENERATE_CONFIG VDI_RESET_ON_BOOT VDI_CONFIG_CBT"},
        {"nfs", "NFS VHD", "SR plugin which stores disks as VHD files on a remote NFS filesystem",
         "SR_PROBE SR_UPDATE THIN_PROVISIONING VDI_CREATE VDI_DELETE VDI_CLONE VDI_SNAPSHOT VDI_RESIZE VDI_UPDATE "
         "VDI_MIRROR VDI_GENERATE_CONFIG VDI_RESET_ON_BOOT VDI_CONFIG_CBT VDI_READ_CACHING"},
        {"smb", "SMB VHD", "SR plugin which stores disks as VHD files on a remote SMB filesystem",
         "SR_PROBE SR_UPDATE THIN_PROVISIONING VDI_CREATE VDI_DELETE VDI_CLONE VDI_SNAPSHOT VDI_RESIZE VDI_UPDATE "
         "VDI_MIRROR VDI_GENERATE_CONFIG VDI_RESET_ON_BOOT VDI_CONFIG_CBT"},
        {"udev", "udev", "SR plugin which represents devices plugged in via udev as VDIs",
         "SR_UPDATE VDI_INTRODUCE VDI_UPDATE"},
    };

    for (size_t i = 0; i < XK_COUNT(drivers); i++) {
        struct sim_object *const sm = sim_create(p, "SM");
        xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(1u << 16);
        xk_auto(xapi_build_done) struct xapi_build names = XAPI_BUILD_INIT(&arena), features = XAPI_BUILD_INIT(&arena);
        char words[512], *rest = words;
        struct xapi_value v;
        if (!sm)
            return;
        snprintf(words, sizeof(words), "VDI_ATTACH VDI_DETACH %s", drivers[i].features);
        sim_put_text(p, sm, "type", drivers[i].type);
        sim_put_text(p, sm, "name_label", drivers[i].label);
        sim_put_text(p, sm, "name_description", drivers[i].description);
        sim_put_text(p, sm, "vendor", "Citrix Systems Inc");
        sim_put_text(p, sm, "copyright", "(C) 2008 Citrix Systems Inc");
        sim_put_text(p, sm, "version", "1.0");
        sim_put_text(p, sm, "required_api_version", "1.0");
        xapi_build_open(&names, XAPI_LIST);
        xapi_build_open(&features, XAPI_MAP);
        for (const char *word; (word = strsep(&rest, " "));) {
            if (!*word)
                continue;
            xapi_build_text(&names, word);
            xapi_build_text(&features, word);
            xapi_build_int(&features, sim_same(word, "VDI_RESET_ON_BOOT") ? 2 : 1);
        }
        xapi_build_close(&names);
        xapi_build_close(&features);
        if (xapi_build_end(&names, &v) == 0)
            sim_put(p, sm, "capabilities", v);
        if (xapi_build_end(&features, &v) == 0)
            sim_put(p, sm, "features", v);
        sim_put_map(p, sm, "other_config", none);
    }
}

const struct sim_row sim_sr_rows[] = {
    {"SR.create", create},
    {"SR.introduce", introduce},
    {"SR.make", make},
    {"SR.destroy", destroy},
    {"SR.forget", forget},
    {"SR.scan", scan},
    {"SR.update", update},
    {"SR.get_supported_types", get_supported_types},
    {"SR.probe", probe},
    {"SR.probe_ext", probe_ext},
    {"SR.set_shared", set_shared},
    {"SR.set_physical_size", sim_for_drivers_only},
    {"SR.set_virtual_allocation", sim_for_drivers_only},
    {"SR.set_physical_utilisation", sim_for_drivers_only},
    {"SR.assert_can_host_ha_statefile", assert_can_host_ha_statefile},
    {"SR.assert_supports_database_replication", assert_supports_database_replication},
    {"SR.enable_database_replication", enable_database_replication},
    {"SR.disable_database_replication", disable_database_replication},
    {"SR.get_live_hosts", get_live_hosts},
    {NULL, NULL},
};
