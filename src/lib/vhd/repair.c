/*
 * The footers are all that can be rebuilt without a choice; everything else needs a plan that somebody looks at.
 */
#include "lib/vhd/repair.h"

#include "lib/vhd/modify.h"

static void make_uuid(uint8_t ret[16], struct xk_random *random)
{
    xk_random_bytes(random, ret, 16);
    ret[6] = (uint8_t)((ret[6] & 0x0f) | 0x40);
    ret[8] = (uint8_t)((ret[8] & 0x3f) | 0x80);
}

int vhd_repair_footers(struct vhd *v, bool from_copy, struct xk_random *random, struct xk_err *err)
{
    struct vhd_footer f = v->footer;

    if (from_copy && v->copy_state != VHD_GOOD)
        return xk_fail(err, -EINVAL, "%s: the copy of the footer is not good", v->path);
    if (from_copy)
        f = v->copy_footer;
    if (vhd_uuid_is_null(f.uuid))
        make_uuid(f.uuid, random);
    return vhd_rewrite_footers(v, &f, err);
}
