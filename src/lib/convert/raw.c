/*
 * Raw disks, and fixed VHDs, which are raw disks with a footer behind them.
 */
#include "lib/convert/vhd-parts.h"

struct raw_target {
    struct convert_target target; /* first */
    uint64_t zeroed_to;           /* on a device: everything before is what it has to be */
};

static int raw_begin(struct convert_target *t, uint64_t disk_bytes, struct xk_err *err)
{
    const bool fixed = t->how->to == CONVERT_VHD_FIXED;

    if (disk_bytes == UINT64_MAX)
        return 0;
    const int code = fixed ? convert_check_vhd_size(disk_bytes, err) : 0;
    if (code < 0 || !t->file)
        return code;
    const uint64_t needed = disk_bytes + (fixed ? VHD_FOOTER_BYTES : 0);
    if (t->in_place && needed > t->device_bytes)
        return convert_too_small(t, needed, err);
    return t->in_place ? 0 : xk_file_truncate(t->file, disk_bytes, err);
}

static int raw_place(struct convert_target *t, struct convert_unit *u, struct xk_err *err)
{
    struct raw_target *const self = (struct raw_target *)t;
    int code = 0;

    if (!t->file) {
        code = convert_push_zeros_to(t, u->start, err);
        if (code == 0 && u->any)
            code = convert_push_bytes(t, u->data, u->bytes, err);
        return code;
    }
    u->place = u->start;
    if (t->in_place && u->any) {
        if (u->start + u->bytes > t->device_bytes)
            return convert_too_small(t, u->start + u->bytes, err);
        code = convert_zero_device(t, self->zeroed_to, u->start, err);
        self->zeroed_to = u->start + u->bytes;
    }
    return code;
}

static uint64_t raw_foresee(const struct convert_target *t, uint64_t start, size_t nth)
{
    return start;
}

static int raw_finish(struct convert_target *t, uint64_t disk_bytes, struct xk_err *err)
{
    const struct raw_target *const self = (const struct raw_target *)t;
    uint8_t footer[VHD_FOOTER_BYTES];
    int code = 0;

    if (t->how->to != CONVERT_VHD_FIXED) {
        t->file_bytes = disk_bytes;
        if (!t->file)
            return convert_push_zeros_to(t, disk_bytes, err);
        return t->in_place ? convert_zero_device(t, self->zeroed_to, disk_bytes, err)
                           : xk_file_truncate(t->file, disk_bytes, err);
    }
    code = convert_check_vhd_size(disk_bytes, err);
    if (code < 0)
        return code;
    convert_vhd_footer(footer, t->how, VHD_FIXED, disk_bytes);
    t->file_bytes = disk_bytes + sizeof(footer);
    if (!t->file) {
        code = convert_push_zeros_to(t, disk_bytes, err);
        return code < 0 ? code : convert_push_bytes(t, footer, sizeof(footer), err);
    }
    if (t->in_place) {
        /* A reader looks for the footer at the end of the device. */
        code = convert_zero_device(t, self->zeroed_to, disk_bytes, err);
        t->file_bytes = t->device_bytes;
    }
    if (code == 0)
        code = xk_file_write(t->file, footer, sizeof(footer), t->file_bytes - sizeof(footer), err);
    return code < 0 || t->in_place ? code : xk_file_truncate(t->file, t->file_bytes, err);
}

static void raw_done(struct convert_target *t)
{
    free(t);
}

int convert_raw_target(struct convert_target **ret, struct xk_err *err)
{
    static const struct convert_target_ops ops = {.begin = raw_begin,
                                                  .place = raw_place,
                                                  .foresee = raw_foresee,
                                                  .write = convert_put,
                                                  .finish = raw_finish,
                                                  .done = raw_done};
    struct raw_target *const self = xk_zalloc(sizeof(*self));

    if (!self)
        return xk_fail_memory(err);
    self->target.ops = &ops;
    *ret = &self->target;
    return 0;
}
