/*
 * The records of an archive from anybody, taken into a small pool as the first byte says: whole or only the records,
 * restored, forced, rehearsed. What fails leaves nothing, and what was made can be taken back.
 */
#include "lib/simpool/import.h"
#include "lib/simpool/disk.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const kinds[] = {
    "VM",      "VDI",       "VBD",  "VIF",       "VM_metrics", "VM_guest_metrics", "VBD_metrics", "VIF_metrics",
    "network", "GPU_group", "VGPU", "VGPU_type", "VTPM",       "PVS_proxy"};

static uint64_t count(const struct simpool *p)
{
    uint64_t n = 0;

    for (size_t i = 0; i < XK_COUNT(kinds); i++)
        n = n * 251 + p->classes[xapi_class_index(xapi_class_find(kinds[i]))].count;
    return n;
}

static void run(struct simpool *p, uint8_t flags, const char *xml, size_t bytes)
{
    const struct sim_object *const sr = sim_follow(p, sim_first(p, "pool"), "default_SR");
    struct sim_import m = {.pool = p,
                           .sr = flags & 1 ? sr->ref : NULL,
                           .task = "OpaqueRef:task",
                           .restore = (flags & 2) != 0,
                           .force = (flags & 4) != 0,
                           .dry_run = (flags & 8) != 0,
                           .live = (flags & 16) != 0};
    const uint64_t before = count(p);
    const struct sim_part *disks[64];
    struct xapi_value refs;

    const bool good = sim_import_read(&m, xml, bytes) && sim_import_make(&m);
    assert(good || m.error.count > 0);
    if (m.dry_run || (!good && !m.force && !m.restore)) /* a machine that is replaced is gone */
        assert(count(p) == before);
    if (good) {
        assert(sim_import_disks(&m, disks, XK_COUNT(disks)) <= XK_COUNT(disks));
        sim_import_complete(&m, &refs);
        for (size_t i = 0; i < refs.count; i++) {
            struct xapi_raw raw;
            struct sim_object *const vm = sim_find(p, xapi_value_text(&refs.items[i]), xapi_class_find("VM"));
            assert(vm && sim_record(&raw, vm) == 0);
        }
        m.force = false;
        sim_import_undo(&m);
        assert(m.restore || count(p) == before);
    }
    sim_import_done(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct simpool *const p = xk_zalloc(sizeof(*p));
    int64_t now = INT64_C(1700000000) * (int64_t)XK_NS_PER_S;
    const struct xk_clock clock = xk_clock_frozen(&now);
    struct xk_random random;

    assert(p);
    if (size > 0) {
        char *const xml = xk_strndup((const char *)data + 1, size - 1);
        xk_random_seed(&random, 1);
        p->settings = (struct simpool_settings){.random = &random, .clock = &clock, .hosts = 1, .vms = 2, .speed = 1};
        p->started_utc_ns = now;
        assert(xml && sim_db_open(p, NULL) == 0 && sim_seed(p, NULL) == 0 && sim_behaviours_open(p, NULL) == 0);
        run(p, data[0], xml, strlen(xml));
        sim_allowed_close(p);
        sim_db_close(p);
        free(p->behaviours);
        free(xml);
    }
    free(p);
    return 0;
}
