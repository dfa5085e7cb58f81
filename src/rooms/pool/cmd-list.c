/* `xenkit pool hosts`, `versions`, `vms`, `srs`: a pool as tables. */
#include "rooms/pool/list.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

static const struct xk_opt list_opts[] = {
    CLIENT_ACCESS_OPTS(struct pool_list, access),
    XK_OPT_END,
};
static const struct pool_list defaults = {.access = CLIENT_ACCESS_DEFAULTS};
static const char *const example[] = {NULL};

int pool_list_take(struct poolview *ret, struct xk_app *app, const char *url, const struct client_access *access,
                   unsigned classes, unsigned asks, struct xk_err *err)
{
    const struct poolview_wanted wanted = {.classes = classes, .asks = asks};
    const int code = poolview_take(ret, app, url, access, &wanted, err);

    if (code < 0 || ret->reached)
        return code;
    *err = ret->why;
    return err->code;
}

/* ---- hosts ---- */

static void put_host(struct xk_out *out, const struct poolview *v, uint32_t i)
{
    const struct xapi_value *const host = poolview_record(v, POOLVIEW_HOST, i);
    const struct xapi_value *const m = poolview_find(v, POOLVIEW_HOST_METRICS, poolview_text(host, "metrics"));
    const struct xapi_value *const vms = xapi_map_get(host, "resident_VMs");
    const bool lives = poolview_host_lives(v, host);

    xk_row(out);
    xk_put_str(out, "name", poolview_text(host, "name_label"));
    xk_put_str(out, "address", poolview_text(host, "address"));
    xk_put_str(out, "role", poolview_host_is_master(v, poolview_ref(v, POOLVIEW_HOST, i)) ? "master" : "slave");
    xk_put_bool(out, "live", lives);
    xk_out_color(out, lives ? XK_COLOR_GOOD : XK_COLOR_BAD);
    xk_put_bool(out, "enabled", poolview_truth(host, "enabled"));
    xk_put_u64(out, "vms", vms && vms->shape == XAPI_LIST ? vms->count : 0);
    xk_put_bytes(out, "memory", (uint64_t)XK_MAX(poolview_int(m, "memory_total"), INT64_C(0)));
    xk_put_bytes(out, "memory_free", (uint64_t)XK_MAX(poolview_int(m, "memory_free"), INT64_C(0)));
    xk_put_str(out, "version", poolview_text(xapi_map_get(host, "software_version"), "product_version"));
    xk_put_str(out, "uuid", poolview_text(host, "uuid"));
}

static int run_list(struct xk_app *app, const struct xk_args *args, const char *section, enum poolview_class class,
                    unsigned more, void (*put)(struct xk_out *out, const struct poolview *v, uint32_t i),
                    struct xk_err *err)
{
    const struct pool_list *const opts = args->opts;
    struct poolview v = {0};

    int code =
        pool_list_take(&v, app, args->count ? args->operands[0] : NULL, &opts->access, 1u << class | more, 0, err);
    if (code == 0) {
        xk_out_rows(app->out, section);
        for (uint32_t i = 0; i < poolview_count(&v, class); i++)
            put(app->out, &v, i);
        xk_out_end(app->out);
    }
    poolview_done(&v);
    return code;
}

static int run_hosts(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    return run_list(app, args, "hosts", POOLVIEW_HOST, POOL_CLASS(POOL) | POOL_CLASS(HOST_METRICS), put_host, err);
}

/* ---- machines and storage ---- */

static void put_vm(struct xk_out *out, const struct poolview *v, uint32_t i)
{
    const struct xapi_value *const vm = poolview_record(v, POOLVIEW_VM, i);
    const struct xapi_value *const host = poolview_find(v, POOLVIEW_HOST, poolview_text(vm, "resident_on"));

    if (poolview_truth(vm, "is_a_template") || poolview_truth(vm, "is_a_snapshot") ||
        poolview_truth(vm, "is_control_domain"))
        return;
    xk_row(out);
    xk_put_str(out, "name", poolview_text(vm, "name_label"));
    xk_put_str(out, "state", poolview_text(vm, "power_state"));
    xk_put_str(out, "host", host ? poolview_text(host, "name_label") : NULL);
    xk_put_i64(out, "vcpus", poolview_int(vm, "VCPUs_max"));
    xk_put_bytes(out, "memory", (uint64_t)XK_MAX(poolview_int(vm, "memory_dynamic_max"), INT64_C(0)));
    const struct xapi_value *const snapshots = xapi_map_get(vm, "snapshots");
    xk_put_u64(out, "snapshots", snapshots && snapshots->shape == XAPI_LIST ? snapshots->count : 0);
    xk_put_str(out, "uuid", poolview_text(vm, "uuid"));
}

static int run_vms(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    return run_list(app, args, "vms", POOLVIEW_VM, POOL_CLASS(HOST), put_vm, err);
}

static void put_sr(struct xk_out *out, const struct poolview *v, uint32_t i)
{
    const struct xapi_value *const sr = poolview_record(v, POOLVIEW_SR, i);
    const int64_t size = poolview_int(sr, "physical_size"), used = poolview_int(sr, "physical_utilisation");
    const struct xapi_value *const disks = xapi_map_get(sr, "VDIs");

    xk_row(out);
    xk_put_str(out, "name", poolview_text(sr, "name_label"));
    xk_put_str(out, "type", poolview_text(sr, "type"));
    xk_put_bool(out, "shared", poolview_truth(sr, "shared"));
    xk_put_u64(out, "disks", disks && disks->shape == XAPI_LIST ? disks->count : 0);
    if (size > 0) {
        xk_put_bytes(out, "size", (uint64_t)size);
        xk_put_bytes(out, "used", (uint64_t)XK_MAX(used, INT64_C(0)));
        xk_put_pct(out, "share", 100.0 * (double)used / (double)size);
    } else {
        xk_put_none(out, "size_bytes");
        xk_put_none(out, "used_bytes");
        xk_put_none(out, "share_percent");
    }
    xk_put_str(out, "uuid", poolview_text(sr, "uuid"));
}

static int run_srs(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    return run_list(app, args, "srs", POOLVIEW_SR, 0, put_sr, err);
}

/* ---- versions: a row for each component, a column for each host ---- */

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every component that any host names, sorted, each once. returns how many; -ENOMEM. */
static ssize_t collect_components(const char ***ret, const struct poolview *v)
{
    size_t count = 0, most = 0;

    for (uint32_t i = 0; i < poolview_count(v, POOLVIEW_HOST); i++) {
        const struct xapi_value *const s = xapi_map_get(poolview_record(v, POOLVIEW_HOST, i), "software_version");
        most += s && s->shape == XAPI_MAP ? s->count : 0;
    }
    const char **const words = xk_array_alloc(most + 1, sizeof(*words));
    if (!words)
        return -ENOMEM;
    for (uint32_t i = 0; i < poolview_count(v, POOLVIEW_HOST); i++) {
        const struct xapi_value *const s = xapi_map_get(poolview_record(v, POOLVIEW_HOST, i), "software_version");
        for (uint32_t k = 0; s && s->shape == XAPI_MAP && k < s->count; k++)
            words[count++] = xapi_value_text(&s->items[2 * k]);
    }
    if (count)
        qsort(words, count, sizeof(*words), compare_words);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (!kept || strcmp(words[kept - 1], words[i]) != 0)
            words[kept++] = words[i];
    }
    *ret = words;
    return (ssize_t)kept;
}

static bool differs(const struct poolview *v, const char *component)
{
    const char *first = NULL;

    for (uint32_t i = 0; i < poolview_count(v, POOLVIEW_HOST); i++) {
        const struct xapi_value *const s = xapi_map_get(poolview_record(v, POOLVIEW_HOST, i), "software_version");
        const char *const word = poolview_text(s, component);
        if (first && strcmp(first, word) != 0)
            return true;
        first = word;
    }
    return false;
}

/* One row for each component and host in the formats for programs; for people the hosts stand side by side. */
static int tell_versions(struct xk_app *app, const struct poolview *v, struct xk_err *err)
{
    struct xk_out *const out = app->out;
    xk_autofree const char **words = NULL;

    const ssize_t count = collect_components(&words, v);
    if (count < 0)
        return xk_fail_memory(err);
    bool any = false;
    xk_out_rows(out, "versions");
    for (ssize_t k = 0; k < count; k++) {
        const bool different = differs(v, words[k]);
        any |= different && strcmp(words[k], "hostname") != 0;
        xk_row(out);
        xk_put_str(out, "component", words[k]);
        xk_put_bool(out, "differs", different);
        xk_out_color(out, different ? XK_COLOR_WARN : XK_COLOR_NONE);
        xk_put_record(out, "hosts");
        for (uint32_t i = 0; i < poolview_count(v, POOLVIEW_HOST); i++) {
            const struct xapi_value *const host = poolview_record(v, POOLVIEW_HOST, i);
            xk_put_str(out, poolview_text(host, "name_label"),
                       poolview_text(xapi_map_get(host, "software_version"), words[k]));
        }
        xk_put_end(out);
    }
    xk_out_end(out);
    return any ? XK_EXIT_BAD : XK_EXIT_OK;
}

static int run_versions(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct pool_list *const opts = args->opts;
    struct poolview v = {0};

    int code = pool_list_take(&v, app, args->count ? args->operands[0] : NULL, &opts->access, POOL_CLASS(HOST), 0, err);
    if (code == 0)
        code = tell_versions(app, &v, err);
    poolview_done(&v);
    return code;
}

static const struct xk_exit_row version_exits[] = {
    {XK_EXIT_OK, "all hosts have the same"},
    {XK_EXIT_BAD, "hosts differ"},
    {0, NULL},
};

#define LIST_COMMAND(verb, words, with_exits)                                                                          \
    {                                                                                                                  \
        .name = #verb, .summary = words, .operands = "[POOL]", .max_operands = 1, .opts = list_opts,                   \
        .defaults = &defaults, .opts_bytes = sizeof(struct pool_list), .run = run_##verb, .exits = with_exits,         \
        .example = example                                                                                             \
    }

const struct xk_command pool_cmd_hosts = LIST_COMMAND(hosts, "list the hosts of a pool", NULL);
const struct xk_command pool_cmd_vms = LIST_COMMAND(vms, "list the virtual machines of a pool", NULL);
const struct xk_command pool_cmd_srs = LIST_COMMAND(srs, "list the storage of a pool", NULL);
const struct xk_command pool_cmd_versions = LIST_COMMAND(versions, "compare the versions of hosts", version_exits);
