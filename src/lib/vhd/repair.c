/*
 * The footers are all that can be rebuilt without a choice; everything else needs a plan that somebody looks at.
 */
#include "lib/vhd/repair.h"

#include "lib/vhd/create.h"
#include "lib/vhd/modify.h"

int vhd_repair_footers(struct vhd *v, bool from_copy, struct xk_random *random, struct xk_err *err)
{
    struct vhd_footer f = v->footer;

    if (from_copy && v->copy_state != VHD_GOOD)
        return xk_fail(err, -EINVAL, "%s: the copy of the footer is not good", v->path);
    if (from_copy)
        f = v->copy_footer;
    if (vhd_uuid_is_null(f.uuid))
        vhd_make_uuid(f.uuid, random);
    return vhd_rewrite_footers(v, &f, err);
}
