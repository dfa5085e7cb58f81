/*
 * The image is made as an empty snapshot of A under a name of its own in the target's folder (its locators are relative
 * to the folder, so they stay right), filled, committed, and given its name. Weighed: laying the whole file out first
 * from a list of differences, which would save the commits but needs memory for a list without a limit.
 */
#include "lib/volume/delta.h"

#include "core/text.h"
#include "lib/vhd/write.h"

#include <string.h>

struct filling {
    const struct volume_delta *how;
    struct vhd_writer *writer; /* NULL: a dry run */
    struct volume_delta_made *made;
    struct xk_err *err;
};

static int write_difference(void *context, const struct volume_difference *d)
{
    const struct filling *const f = context;
    const uint64_t whole = d->bytes / VHD_SECTOR, rest = d->bytes % VHD_SECTOR;
    const uint64_t sector = d->start / VHD_SECTOR;
    uint8_t last[VHD_SECTOR] = {0};
    int code = 0;

    f->made->data_bytes += XK_ROUND_UP(d->bytes, VHD_SECTOR);
    if (!f->writer)
        return 0;
    if (whole)
        code = vhd_writer_write(f->writer, d->data, sector, whole, f->err);
    if (code == 0 && rest) { /* the end of a raw disk */
        memcpy(last, d->data + whole * VHD_SECTOR, (size_t)rest);
        code = vhd_writer_write(f->writer, last, sector + whole, 1, f->err);
    }
    return code;
}

static void pass_progress(void *context, uint64_t done)
{
    const struct filling *const f = context;

    if (f->how->progress)
        f->how->progress(f->how->context, done);
}

static int compare_into(struct filling *f)
{
    struct volume_compared compared;

    return volume_compare_run(
        &compared, f->how->from, f->how->to,
        &(struct volume_compare){.visit = write_difference, .progress = pass_progress, .context = f}, f->err);
}

static int fill(struct filling *f, const struct xk_fs *fs, const char *path)
{
    struct vhd image;
    struct vhd_writer writer;

    int code = vhd_open(&image, fs, path, VHD_WRITE | VHD_ANY_SIZE, f->err);
    if (code < 0)
        return code;
    code = vhd_writer_begin(&writer, &image, f->err);
    f->writer = &writer;
    if (code == 0)
        code = compare_into(f);
    if (code == 0)
        code = vhd_writer_commit(&writer, f->err);
    vhd_writer_done(&writer);
    if (code == 0)
        code = xk_file_sync(&image.file, f->err);
    vhd_close(&image);
    return code;
}

static int write_image(struct filling *f, const struct xk_fs *fs, const struct vhd_snapshot *snapshot)
{
    const struct volume_delta *const how = f->how;
    struct vhd_snapshot_made made = {0};
    struct vhd_snapshot whole = *snapshot;
    struct xk_newfile n;

    int code = xk_newfile_begin(&n, fs, how->target, 0644, !how->overwrite, f->err);
    if (code < 0)
        return code;
    n.only_old = true;
    whole.into = &n.file;
    whole.dry_run = false;
    code = vhd_snapshot(fs, &whole, &made, f->err);
    free(made.parent);
    if (code == 0)
        code = fill(f, fs, n.temp);
    if (code == 0)
        code = volume_check_names(how->from, f->err);
    if (code == 0)
        code = volume_check_names(how->to, f->err);
    if (code == 0)
        code = xk_newfile_commit(&n, f->err);
    xk_newfile_abort(&n);
    return code;
}

/* What stands at the target may be replaced only when it is a plain file that the new image does not stand on. */
static int check_target(const struct xk_fs *fs, const struct volume_delta *how, struct xk_err *err)
{
    struct stat target;

    if (stat(how->target, &target) != 0)
        return 0;
    if (!S_ISREG(target.st_mode))
        return xk_fail(err, -ENOTSUP, "%s: a delta is written to a new file, this is something else", how->target);
    for (int i = 0; (size_t)i < how->from->layers; i++) {
        const char *const path = volume_layer_path(how->from, i);
        if (xk_path_check_identity(fs, path, target.st_dev, target.st_ino, NULL) == 0)
            return xk_fail(err, -EINVAL, "%s: the delta would replace %s, which it stands on", how->target, path);
    }
    return 0;
}

int volume_delta_write(struct volume_delta_made *ret, const struct xk_fs *fs, const struct volume_delta *how,
                       struct xk_err *err)
{
    const char *const parent = volume_layer_path(how->from, 0);
    const struct vhd_snapshot snapshot = {
        .path = how->target,
        .parent = parent,
        .parent_raw = how->from->format == VOLUME_RAW,
        .keep_empty = true,
        .bytes = XK_ROUND_UP(how->to->size_bytes, VHD_SECTOR),
        .overwrite = how->overwrite,
        .dry_run = true,
        .unix_seconds = how->unix_seconds,
        .random = how->random,
        .search = {.root = how->chain_root},
    };
    struct vhd_snapshot_made made = {0};
    struct filling f = {.how = how, .made = ret, .err = err};

    *ret = (struct volume_delta_made){0};
    if (how->from->format != VOLUME_VHD && how->from->format != VOLUME_RAW)
        return xk_fail(err, -ENOTSUP, "%s: a VHD stands on a VHD or a raw disk, not on a %s image", parent,
                       volume_format_names[how->from->format]);
    if (how->to->size_bytes < how->from->size_bytes)
        return xk_fail(err, -EINVAL, "%s: its disk (%s) is smaller than that of %s (%s)", volume_layer_path(how->to, 0),
                       xk_size(how->to->size_bytes).s, parent, xk_size(how->from->size_bytes).s);
    /* Whatever would be refused is refused before the work begins. */
    int code = check_target(fs, how, err);
    if (code == 0)
        code = vhd_snapshot(fs, &snapshot, &made, err);
    free(made.parent);
    if (code < 0)
        return code;
    ret->bytes = made.bytes;
    ret->depth = made.depth;
    return how->dry_run ? compare_into(&f) : write_image(&f, fs, &snapshot);
}
