/*
 * vm-migrate inside the pool. Storage migration to another pool needs a second pool to talk to, which this library has
 * no way to; it is refused by name.
 */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

struct migration {
    const char *host;
    struct xapi_value options;
};

static void migrate_one(struct xe *x, struct xe_object *vm, void *context)
{
    const struct migration *const m = context;

    (void)xe_do(x, "VM.pool_migrate", xapi_str(vm->ref), xapi_str(m->host), m->options);
}

static bool is_storage_migration(const struct xe *x)
{
    static const char *const words[] = {
        "remote-master", "remote-username", "vif", "remote-password", "remote-network", "vdi", "vgpu", "image-format"};

    for (size_t i = 0; i < x->param_count; i++)
        for (size_t j = 0; j < XK_COUNT(words); j++)
            if (xk_has_prefix(x->params[i].name, words[j]))
                return true;
    return false;
}

/* "true", "false" and their kin, as the options of the call want them. */
static const char *truth(struct xe *x, const char *name)
{
    return xe_param_bool(x, name, false) ? "true" : "false";
}

static void vm_migrate(struct xe *x)
{
    static const char *const own[] = {"host", "host-uuid", "host-name", "live", "compress", NULL};
    static const char *const truths[] = {"force", "live", "copy"};
    struct xapi_value pairs[8];
    struct migration m = {0};
    size_t count = 0;

    for (size_t i = 0; i < x->param_count; i++)
        if (strcmp(x->params[i].name, "host-uuid") == 0 || strcmp(x->params[i].name, "host-name") == 0)
            x->params[i].name = "host";
    if (xe_param(x, "compress")) {
        pairs[2 * count] = xapi_str("compress");
        pairs[2 * count++ + 1] = xapi_str(xe_param(x, "compress"));
    }
    for (size_t i = 0; i < XK_COUNT(truths); i++) {
        pairs[2 * count] = xapi_str(truths[i]);
        pairs[2 * count++ + 1] = xapi_str(truth(x, truths[i]));
    }
    m.options = xapi_map(pairs, count);
    if (xe_fine(x) && is_storage_migration(x)) {
        xe_say(x, "Performing a storage live migration. Your VM's VDIs will be migrated with the VM.");
        if (!xe_param(x, "remote-master") || !xe_param(x, "remote-username") || !xe_param(x, "remote-password"))
            return xe_fail(x,
                           "Storage live migration requires remote-master, remote-username, and remote-password to be "
                           "specified. Please see 'xe help vm-migrate' for help.");
        return xe_fail(x, "vm-migrate: a migration to another pool is not served here");
    }
    if (!xe_param(x, "host"))
        return xe_fail(x, "No destination host specified");
    m.host = xe_host_by_name(x, xe_param(x, "host"));
    if (xe_fine(x))
        (void)xe_each(x, XE_SELECTS_VMS, XE_ALSO_CONTROL, own, migrate_one, &m);
}

const struct xe_row xe_migrate_rows[] = {
    {"vm-migrate", vm_migrate},
    {NULL, NULL},
};
