/*
 * The audit goes from the outside in: footers, header, locators, table, batmap, blocks. What one part says is believed
 * by the next only as far as it can be true; each part is asked even when an earlier one is bad, as long as there is
 * something to ask.
 */
#include "lib/vhd/audit-parts.h"

#include <stdio.h>
#include <string.h>

void vhd_place_add(struct vhd_places *p, const char *format, ...)
{
    if (p->count++ >= VHD_PLACES_NAMED)
        return;
    if (p->length)
        p->length += (size_t)snprintf(p->text + p->length, sizeof(p->text) - p->length, ", ");
    va_list args;
    va_start(args, format);
    const int added = vsnprintf(p->text + p->length, sizeof(p->text) - p->length, format, args);
    va_end(args);
    /* Cut, it leaves room for the next comma. */
    p->length = XK_MIN(p->length + (added > 0 ? (size_t)added : 0), sizeof(p->text) - 3);
}

const char *vhd_places_rest(const struct vhd_places *p)
{
    return p->count > VHD_PLACES_NAMED ? ", …" : "";
}

void vhd_problem_add(struct vhd_problems *list, enum vhd_problem_kind kind, enum xk_severity severity, uint64_t count,
                     const char *evidence, ...)
{
    if (list->count >= VHD_PROBLEMS_MAX)
        return;
    /* One at a time: a sound image has none, a damaged one a few. */
    struct vhd_problem *const items = xk_realloc(list->items, (list->count + 1) * sizeof(*items));
    if (!items) {
        list->error = -ENOMEM;
        return;
    }
    list->items = items;
    struct vhd_problem *const p = &items[list->count++];
    *p = (struct vhd_problem){.kind = kind, .severity = severity, .count = count};
    va_list args;
    va_start(args, evidence);
    vsnprintf(p->evidence, sizeof(p->evidence), evidence, args);
    va_end(args);
}

void vhd_problems_done(struct vhd_problems *list)
{
    free(list->items);
    *list = (struct vhd_problems){0};
}

static int audit_sparse(struct vhd_auditing *a)
{
    const struct vhd *v = a->v;

    if (!vhd_audit_header(a))
        return 0;
    a->block_file_bytes = v->header.block_bytes + (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
    vhd_audit_locators(a);
    const int code = vhd_audit_layout(a);
    return code == 0 && v->bat ? vhd_audit_content(a) : code;
}

int vhd_audit(struct vhd_problems *ret, const struct vhd *v, const struct vhd_audit_options *options,
              struct xk_err *err)
{
    const struct vhd_audit_options none = {0};
    struct vhd_auditing a = {.v = v, .options = options ? options : &none, .found = ret, .err = err};

    a.end = v->end_state == VHD_GOOD ? v->end_offset : v->file_bytes;
    vhd_audit_footers(&a);
    const int code = vhd_is_sparse(v) ? audit_sparse(&a) : 0;
    if (a.options->progress && code == 0)
        a.options->progress(a.options->context, v->file_bytes);
    if (code == 0 && ret->error)
        return xk_fail_memory(err);
    return code;
}
