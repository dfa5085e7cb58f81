/*
 * `xenkit vhd coalesce`: merge an image into its parent, or several links at once. The upper images are not touched, so
 * a run that was stopped goes on from its checkpoint: a small file beside the image, which is believed only while both
 * images are still the ones it was written for.
 */
#include "rooms/vhd/room.h"

#include "core/text.h"
#include "lib/vhd/merge.h"
#include "lib/volume/volume.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define CHECKPOINT_SUFFIX    ".coalesce"
#define CHECKPOINT_BYTES_MAX 4096

struct coalesce {
    uint64_t links, bandwidth;
    bool whole, verify, online_safe, resume, force, dry_run;
    const char *chain_root;
};

static const struct xk_opt coalesce_opts[] = {
    XK_OPT_U64(0, "links", struct coalesce, links, "N", 1, VHD_DEPTH_MAX, "merge N images in one pass [1]"),
    XK_OPT_FLAG(0, "chain", struct coalesce, whole, "merge the whole chain into its root"),
    XK_OPT_RATE(0, "bandwidth", struct coalesce, bandwidth, "RATE", "write no faster than RATE, such as 400Mbit"),
    XK_OPT_FLAG(0, "verify", struct coalesce, verify, "compare the target with the chain afterwards"),
    XK_OPT_FLAG(0, "online-safe", struct coalesce, online_safe,
                "refuse when a process has one of the images open for writing"),
    XK_OPT_ON(0, "resume", struct coalesce, resume, "do not use the checkpoint of a run that was stopped"),
    VHD_OPT_CHAIN_ROOT(struct coalesce),
    XK_OPT_FLAG(0, "force", struct coalesce, force, "merge although other images stand on the target"),
    XK_OPT_FLAG(0, "dry-run", struct coalesce, dry_run, "say what would be merged, write nothing"),
    XK_OPT_END,
};

/* ---- who else is there ---- */

/* A read lease is refused while anybody has the file open for writing. */
static int check_no_writer(const char *path, struct xk_err *err)
{
    xk_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return xk_fail_sys(err, -errno, "%s", path);
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
        (void)fcntl(fd, F_SETLEASE, F_UNLCK);
        return 0;
    }
    if (errno == EAGAIN) {
        const int code = xk_fail(err, -EBUSY, "%s: a process has it open for writing", path);
        xk_err_hint(err, "`fuser -v %s` names it; stop the guest, or coalesce through its tapdisk", path);
        return code;
    }
    return xk_fail_sys(err, -errno, "%s: cannot be asked who has it open", path);
}

static int check_nobody_writes(const struct vhd_chain *chain, size_t links, struct xk_err *err)
{
    int code = 0;
    for (size_t i = 0; i < links && code == 0; i++)
        code = check_no_writer(chain->layers[i].path, err);
    return code < 0 ? code : check_no_writer(vhd_merge_target(chain, links), err);
}

static bool is_in_chain(const struct vhd_chain *chain, size_t links, const struct vhd_survey_image *image)
{
    for (size_t i = 0; i < links; i++) {
        if (chain->layers[i].dev == image->dev && chain->layers[i].ino == image->ino)
            return true;
    }
    return false;
}

/* Other children of the target, or of an image in between, would see the merged data as theirs. */
static int check_no_siblings(struct xk_app *app, const struct vhd_chain *chain, size_t links, struct xk_err *err)
{
    const struct vhd_survey_options options = {0};
    const char *target = vhd_merge_target(chain, links);
    xk_autofree char *dir = xk_dir_name(target);
    struct vhd_survey survey;
    struct stat st;

    if (!dir)
        return xk_fail_memory(err);
    if (stat(target, &st) != 0)
        return xk_fail_sys(err, -errno, "%s", target);
    const char *const targets[] = {dir};
    int code = vhd_survey_run(&survey, app->fs, targets, 1, &options, err);
    if (code < 0)
        return code;
    for (size_t i = 0; i < survey.count && code == 0; i++) {
        const struct vhd_survey_image *image = &survey.images[i];
        if (image->parent == VHD_NO_IMAGE || is_in_chain(chain, links, image))
            continue;
        const struct vhd_survey_image *parent = &survey.images[image->parent];
        if (parent->dev == st.st_dev && parent->ino == st.st_ino) {
            code = xk_fail(err, -EBUSY, "%s stands on %s, too, and would see the merged data", image->path, target);
            xk_err_hint(err, "merge only into an image with one child; --force does it all the same");
        }
    }
    vhd_survey_done(&survey);
    return code;
}

/* ---- the checkpoint ---- */

struct checkpoint {
    char *path;
    char identity[400]; /* what the images were when it was written */
    const struct xk_fs *fs;
    struct xk_err *err;
    struct xk_prog progress;
};

static int checkpoint_init(struct checkpoint *c, const struct vhd_chain *chain, size_t links, struct xk_app *app,
                           struct xk_err *err)
{
    const struct vhd *top = &chain->layers[0];
    struct stat st;

    c->fs = app->fs;
    c->err = err;
    c->path = xk_asprintf("%s" CHECKPOINT_SUFFIX, top->path);
    if (!c->path)
        return xk_fail_memory(err);
    if (fstat(top->file.fd, &st) != 0)
        return xk_fail_sys(err, -errno, "%s", top->path);
    snprintf(
        c->identity, sizeof(c->identity), "xenkit coalesce 1\nimage %s %llu %lld.%09ld\nlinks %zu into %s\nsector ",
        xk_uuid_text(top->footer.uuid).s, (unsigned long long)top->file_bytes, (long long)st.st_mtim.tv_sec,
        st.st_mtim.tv_nsec, links, links < chain->count ? xk_uuid_text(chain->layers[links].footer.uuid).s : "raw");
    return 0;
}

/* The sector to go on from; 0 when there is no checkpoint for these images. */
static uint64_t checkpoint_read(const struct checkpoint *c)
{
    xk_autofree char *text = NULL;
    uint64_t sector;

    if (xk_slurp(&text, "", c->path, CHECKPOINT_BYTES_MAX, NULL) < 0 || !xk_has_prefix(text, c->identity))
        return 0;
    char *number = text + strlen(c->identity);
    number[strcspn(number, "\n")] = '\0';
    return xk_parse_u64(&sector, number) < 0 ? 0 : sector;
}

static int checkpoint_write(void *context, uint64_t sector)
{
    const struct checkpoint *c = context;
    char text[sizeof(c->identity) + 32];

    const int bytes = snprintf(text, sizeof(text), "%s%llu\n", c->identity, (unsigned long long)sector);
    return xk_file_replace(c->fs, c->path, text, (size_t)bytes, 0644, c->err);
}

static void show_progress(void *context, uint64_t done, uint64_t total)
{
    struct checkpoint *c = context;
    xk_prog_set(&c->progress, done * VHD_SECTOR);
}

/* ---- after it ---- */

/* The target by itself must now read like the chain on top of it. */
static int verify(const struct xk_fs *fs, const char *top_path, const char *target_path, enum volume_format format,
                  struct xk_err *err)
{
    xk_autofree uint8_t *a = xk_alloc(VHD_BLOCK_BYTES);
    xk_autofree uint8_t *b = xk_alloc(VHD_BLOCK_BYTES);
    struct volume *top = NULL, *target = NULL;

    if (!a || !b)
        return xk_fail_memory(err);
    int code = volume_open(&top, fs, top_path, &(struct volume_options){.format = VOLUME_VHD}, err);
    if (code == 0)
        code = volume_open(&target, fs, target_path, &(struct volume_options){.format = format}, err);
    for (uint64_t at = 0; code == 0 && at < top->size_bytes; at += VHD_BLOCK_BYTES) {
        const size_t part = (size_t)XK_MIN(top->size_bytes - at, (uint64_t)VHD_BLOCK_BYTES);
        const size_t below = at < target->size_bytes ? (size_t)XK_MIN(target->size_bytes - at, (uint64_t)part) : 0;
        memset(b, 0, part);
        code = volume_read(top, a, part, at, err);
        if (code == 0 && below)
            code = volume_read(target, b, below, at, err);
        if (code == 0 && memcmp(a, b, part) != 0)
            code = xk_fail(err, -EBADMSG, "%s and %s differ between byte %llu and %llu after the merge", target_path,
                           top_path, (unsigned long long)at, (unsigned long long)(at + part));
    }
    volume_close(top);
    volume_close(target);
    return code;
}

static void put_result(struct xk_app *app, const struct vhd_chain *chain, size_t links, const struct coalesce *opts,
                       const struct vhd_merged *merged, uint64_t from_sector)
{
    struct xk_out *out = app->out;

    xk_out_record(out, "merged");
    xk_put_str(out, "image", chain->layers[0].path);
    xk_put_str(out, "target", vhd_merge_target(chain, links));
    xk_put_u64(out, "links", links);
    xk_put_bytes(out, "written", merged->sectors * VHD_SECTOR);
    xk_put_bytes(out, "resumed_from", from_sector * VHD_SECTOR);
    xk_put_bool(out, "complete", !merged->stopped && !opts->dry_run);
    xk_put_bool(out, "verified", opts->verify && !merged->stopped && !opts->dry_run);
    xk_out_end(out);
    if (!merged->stopped && !opts->dry_run)
        xk_say(out,
               "\nThe target now holds everything. Once nothing uses the merged images, delete them, or give their "
               "children the target as parent.\n");
}

static int add_bytes(void *context, const struct vhd_extent *e)
{
    struct vhd_merged *merged = context;
    if (e->layer != VHD_LAYER_ZERO)
        merged->sectors += e->sectors;
    return 0;
}

static int merge(struct xk_app *app, const struct coalesce *opts, const struct vhd_chain *chain, size_t links,
                 struct xk_err *err)
{
    struct checkpoint point = {0};
    struct vhd_merged merged = {0};

    int code = checkpoint_init(&point, chain, links, app, err);
    if (code < 0)
        return code;
    xk_autofree char *owned = point.path;
    const uint64_t from = opts->resume ? checkpoint_read(&point) : 0;
    if (opts->dry_run) {
        const struct vhd_chain upper = {.layers = chain->layers, .count = links, .raw.fd = -1};
        code = vhd_chain_map(&upper, from, vhd_sectors(&chain->layers[0]) - from, add_bytes, &merged, err);
        if (code == 0)
            put_result(app, chain, links, opts, &merged, from);
        return code;
    }
    if (from)
        xk_log(app->log, XK_LOG_WARN, "going on from the checkpoint %s at %s", point.path,
               xk_size(from * VHD_SECTOR).s);
    xk_prog_begin(&point.progress, app->log, app->clock, "merging", vhd_chain_bytes(chain), true);
    code = vhd_merge_run(&merged, chain, app->fs,
                         &(struct vhd_merge){.links = links,
                                             .start_sector = from,
                                             .bandwidth_bps = opts->bandwidth,
                                             .clock = app->clock,
                                             .progress = show_progress,
                                             .checkpoint = checkpoint_write,
                                             .context = &point},
                         err);
    xk_prog_end(&point.progress);
    if (code == 0 && !merged.stopped) {
        (void)app->fs->ops->unlink(app->fs, point.path);
        if (opts->verify)
            code = verify(app->fs, chain->layers[0].path, vhd_merge_target(chain, links),
                          links < chain->count ? VOLUME_VHD : VOLUME_RAW, err);
    }
    if (code == 0)
        put_result(app, chain, links, opts, &merged, from);
    return code;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct coalesce *opts = args->opts;
    const struct vhd_chain_options options = {.search = {.root = opts->chain_root}, .open_flags = VHD_DEVICES};
    struct vhd_chain chain;

    int code = vhd_chain_open(&chain, app->fs, args->operands[0], &options, err);
    if (code < 0)
        return code;
    const size_t below = chain.count - 1 + chain.raw.open;
    const size_t links = opts->whole ? below : (size_t)opts->links;
    if (below == 0)
        code = xk_fail(err, -EINVAL, "%s: a %s image has no parent to be merged into", args->operands[0],
                       vhd_type_name(chain.layers[0].footer.type));
    else if (links > below)
        code = xk_fail(err, -EINVAL, "%s: there are %zu images below it, not %zu", args->operands[0], below, links);
    if (code == 0 && opts->online_safe)
        code = check_nobody_writes(&chain, links, err);
    if (code == 0 && !opts->force)
        code = check_no_siblings(app, &chain, links, err);
    if (code == 0)
        code = merge(app, opts, &chain, links, err);
    vhd_chain_close(&chain);
    return code;
}

static const struct coalesce defaults = {.links = 1, .resume = true};
static const char *const example[] = {"--dry-run", "snapshot.vhd", NULL};

const struct xk_command vhd_cmd_coalesce = {
    .name = "coalesce",
    .summary = "merge an image into its parent, or a chain into its root",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .opts = coalesce_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct coalesce),
    .run = run,
    .example = example,
};
