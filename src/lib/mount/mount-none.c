/* A build without libfuse3: says so. */
#include "lib/mount/mount.h"

int mount_begin(struct mount **ret, const struct mount_settings *settings, struct xk_err *err)
{
    const int code = xk_fail(err, -ENOTSUP, "this xenkit was built without FUSE 3, it cannot mount");

    xk_err_hint(err, "`xenkit vhd serve` offers the disk over NBD; `xenkit vhd convert` makes a raw disk");
    return code;
}

int mount_run(struct mount *m, struct xk_err *err)
{
    return -ENOTSUP;
}

struct mount_totals mount_totals(const struct mount *m)
{
    return (struct mount_totals){0};
}

void mount_end(struct mount *m)
{
}
