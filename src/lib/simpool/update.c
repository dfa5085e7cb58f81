/*
 * Updates, patches and crash dumps of hosts.
 *
 * A simulated host reaches no repository and no disk of it holds an update, so nothing can be applied; what is known to
 * the pool (of a loaded database) can be looked at and forgotten. Facts: repository.ml, xapi_pool_update.ml (2026-08).
 */
#include "lib/simpool/hosts.h"

#include "core/text.h"

#include <string.h>

static bool is_url(const char *url)
{
    return xk_has_prefix(url, "http://") || xk_has_prefix(url, "https://");
}

static struct sim_object *repository_with(const struct simpool *p, const char *field, const char *text)
{
    struct sim_object *o = sim_first(p, "Repository");

    while (o && strcmp(sim_text(o, field), text) != 0)
        o = o->class_next;
    return o;
}

static enum sim_outcome repository_create(struct sim_call *c, const char *origin, const char *url)
{
    struct simpool *const p = c->pool;
    const struct sim_object *other = repository_with(p, "name_label", sim_arg_text(c, 0));

    if (!other && *url)
        other = repository_with(p, "binary_url", url);
    if (other)
        return sim_fail(c, "REPOSITORY_ALREADY_EXISTS", other->ref, NULL);
    struct sim_object *const o = sim_create(p, "Repository");
    if (!o)
        return sim_no_memory(c);
    sim_put(p, o, "name_label", c->args[0]);
    sim_put(p, o, "name_description", c->args[1]);
    sim_put_text(p, o, "binary_url", url);
    sim_put_bool(p, o, "update", true);
    sim_put_text(p, o, "origin", origin);
    c->result = xapi_str(o->ref);
    return SIM_DONE;
}

static enum sim_outcome introduce(struct sim_call *c)
{
    const char *const path = sim_arg_text(c, 5);

    for (unsigned i = 2; i <= 3; i++)
        if (!is_url(sim_arg_text(c, i)))
            return sim_fail(c, "INVALID_BASE_URL", sim_arg_text(c, i), NULL);
    if (strchr(path, '/'))
        return sim_fail(c, "INVALID_GPGKEY_PATH", path, NULL);
    const enum sim_outcome outcome = repository_create(c, "remote", sim_arg_text(c, 2));
    struct sim_object *const o = outcome == SIM_DONE ? sim_find(c->pool, c->result.text, NULL) : NULL;
    if (o) {
        sim_put(c->pool, o, "source_url", c->args[3]);
        sim_put(c->pool, o, "update", c->args[4]);
        sim_put(c->pool, o, "gpgkey_path", c->args[5]);
    }
    return outcome;
}

static enum sim_outcome introduce_bundle(struct sim_call *c)
{
    const struct sim_object *const other = repository_with(c->pool, "origin", "bundle");

    if (other && strcmp(sim_text(other, "name_label"), sim_arg_text(c, 0)) != 0)
        return sim_fail(c, "BUNDLE_REPOSITORY_ALREADY_EXISTS", other->ref, NULL);
    return repository_create(c, "bundle", "");
}

static enum sim_outcome introduce_pool(struct sim_call *c)
{
    if (!xk_has_prefix(sim_arg_text(c, 2), "https://"))
        return sim_fail(c, "INVALID_BASE_URL", sim_arg_text(c, 2), NULL);
    const enum sim_outcome outcome = repository_create(c, "remote_pool", sim_arg_text(c, 2));
    struct sim_object *const o = outcome == SIM_DONE ? sim_find(c->pool, c->result.text, NULL) : NULL;
    if (o)
        sim_put(c->pool, o, "certificate", c->args[3]);
    return outcome;
}

static enum sim_outcome forget(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    if (xapi_list_has(sim_get(sim_first(c->pool, "pool"), "repositories"), o->ref))
        return sim_fail(c, "REPOSITORY_IS_IN_USE", NULL);
    sim_delete(c->pool, o);
    return SIM_DONE;
}

/* ---- updates from disks ---- */

static enum sim_outcome update_introduce(struct sim_call *c)
{
    const struct sim_object *const vdi = sim_arg(c, 0);

    if (!vdi)
        return SIM_FAILED;
    if (strcmp(sim_text(vdi, "type"), "cbt_metadata") == 0)
        return sim_fail(c, "VDI_INCOMPATIBLE_TYPE", vdi->ref, "cbt_metadata", NULL);
    return sim_fail(c, "INVALID_UPDATE", "missing update document (update.xml) in the package.", NULL);
}

static enum sim_outcome update_destroy(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    if (sim_get(o, "hosts")->count)
        return sim_fail(c, "UPDATE_IS_APPLIED", NULL);
    sim_delete(c->pool, o);
    return SIM_DONE;
}

/* The disk that it came from is not to be had. */
static enum sim_outcome update_apply(struct sim_call *c)
{
    const struct sim_object *const o = sim_arg(c, 0);
    const struct sim_object *const host = o && c->message->params > 1 ? sim_arg(c, 1) : NULL;

    if (!o || (c->message->params > 1 && !host))
        return SIM_FAILED;
    if (host && xapi_list_has(sim_get(o, "hosts"), host->ref))
        return sim_fail(c, "UPDATE_ALREADY_APPLIED", o->ref, NULL);
    if (!host && sim_get(o, "hosts")->count == c->pool->classes[xapi_class_index(xapi_class_find("host"))].count)
        return sim_fail(c, "UPDATE_ALREADY_APPLIED_IN_POOL", o->ref, NULL);
    return sim_fail(c, "CANNOT_FIND_UPDATE", NULL);
}

static enum sim_outcome update_clean(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    sim_put_text(c->pool, o, "vdi", SIM_NULL);
    return SIM_DONE;
}

static enum sim_outcome resync(struct sim_call *c)
{
    return sim_host_arg(c, 0) ? SIM_DONE : SIM_FAILED; /* what is applied and what the record says is one thing here */
}

/* ---- patches of old ---- */

static enum sim_outcome patch_destroy(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    if (sim_get(o, "host_patches")->count)
        return sim_fail(c, "PATCH_IS_APPLIED", NULL);
    sim_delete(c->pool, o);
    return SIM_DONE;
}

static enum sim_outcome patch_gone(struct sim_call *c)
{
    return sim_arg(c, 0) ? sim_fail(c, "CANNOT_FIND_PATCH", NULL) : SIM_FAILED;
}

static enum sim_outcome plain_destroy(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    sim_delete(c->pool, o);
    return SIM_DONE;
}

/* Whoever attaches it finds no package on its disk. */
static enum sim_outcome update_attach(struct sim_call *c)
{
    const struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    return sim_follow(c->pool, o, "vdi") ? sim_fail(c, "INVALID_UPDATE", "Please upload a valid package.", NULL)
                                         : sim_fail(c, "CANNOT_FIND_UPDATE", NULL);
}

static enum sim_outcome update_detach(struct sim_call *c)
{
    return sim_arg(c, 0) ? SIM_DONE : SIM_FAILED; /* it is attached nowhere */
}

static enum sim_outcome repository_apply(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, 0);

    return host ? sim_fail(c, "APPLY_UPDATES_FAILED", host->ref, NULL) : SIM_FAILED;
}

static enum sim_outcome livepatch_apply(struct sim_call *c)
{
    return sim_host_arg(c, 0) ? sim_fail(c, "APPLY_LIVEPATCH_FAILED", sim_arg_text(c, 1), NULL) : SIM_FAILED;
}

const struct sim_row sim_update_rows[] = {
    {"Repository.introduce", introduce},
    {"Repository.introduce_bundle", introduce_bundle},
    {"Repository.introduce_remote_pool", introduce_pool},
    {"Repository.forget", forget},
    {"pool_update.introduce", update_introduce},
    {"pool_update.destroy", update_destroy},
    {"pool_update.apply", update_apply},
    {"pool_update.pool_apply", update_apply},
    {"pool_update.precheck", update_apply},
    {"pool_update.pool_clean", update_clean},
    {"pool_update.resync_host", resync},
    {"pool_update.attach", update_attach},
    {"pool_update.detach", update_detach},
    {"Repository.apply", repository_apply},
    {"Repository.apply_livepatch", livepatch_apply},
    {"pool_patch.destroy", patch_destroy},
    {"pool_patch.apply", patch_gone},
    {"pool_patch.pool_apply", patch_gone},
    {"pool_patch.precheck", patch_gone},
    {"pool_patch.clean", patch_gone},
    {"pool_patch.pool_clean", patch_gone},
    {"pool_patch.clean_on_host", patch_gone},
    {"host_patch.apply", patch_gone},
    {"host_patch.destroy", plain_destroy},
    {"host_crashdump.destroy", plain_destroy},
    {NULL, NULL},
};
