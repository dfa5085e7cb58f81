/* `xenkit vhd set`: the two marks that a storage manager puts on images. */
#include "rooms/vhd/room.h"
#include "rooms/vhd/several.h"

#include "lib/vhd/modify.h"

#define MARKER_MAX 255
#define UNSET      (-1)

struct set {
    int hidden; /* index in no_yes, or UNSET */
    uint64_t marker;
    bool dry_run;
};

static const char *const no_yes[] = {"no", "yes", NULL};

static const struct xk_opt set_opts[] = {
    XK_OPT_CHOICE(0, "hidden", struct set, hidden, "YES|NO", no_yes, "yes: no disk uses it by itself; no: one does"),
    XK_OPT_U64(0, "marker", struct set, marker, "N", 0, MARKER_MAX, "a byte for the storage manager, 0 to 255"),
    XK_OPT_FLAG(0, "dry-run", struct set, dry_run, "say what would be set, write nothing"),
    XK_OPT_END,
};

static int set_marks(struct vhd *v, const struct set *opts, struct xk_err *err)
{
    int code = 0;

    if (opts->dry_run)
        return 0;
    if (opts->hidden != UNSET)
        code = vhd_set_hidden(v, (uint8_t)opts->hidden, err);
    if (code == 0 && opts->marker <= MARKER_MAX)
        code = vhd_set_marker(v, (uint8_t)opts->marker, err);
    return code;
}

static int set_image(struct xk_app *app, const char *path, const void *context, struct xk_err *err)
{
    const struct set *const opts = context;
    struct xk_out *out = app->out;
    struct vhd v;
    uint8_t had_marker;

    int code = vhd_open(&v, app->fs, path, (opts->dry_run ? VHD_READ : VHD_WRITE) | VHD_DEVICES, err);
    if (code < 0)
        return code;
    const bool had_mark = v.footer.hidden;
    (void)vhd_get_marker(&had_marker, &v);
    code = set_marks(&v, opts, err);
    vhd_close(&v);
    if (code < 0)
        return code;
    xk_row(out);
    xk_put_str(out, "path", path);
    xk_put_bool(out, "hidden", opts->hidden == UNSET ? had_mark : opts->hidden == 1);
    xk_put_bool(out, "was_hidden", had_mark);
    xk_put_u64(out, "marker", opts->marker > MARKER_MAX ? had_marker : opts->marker);
    xk_put_bool(out, "written", !opts->dry_run);
    return 0;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    static const struct vhd_each each = {.section = "images", .one = set_image};
    const struct set *opts = args->opts;

    if (opts->hidden == UNSET && opts->marker > MARKER_MAX)
        return xk_fail(err, -EINVAL, "there is nothing to set: --hidden YES|NO, --marker N");
    return vhd_each_image(app, args, &each, err);
}

static const struct set defaults = {.hidden = UNSET, .marker = UINT64_MAX};
static const char *const example[] = {"--hidden", "yes", "--dry-run", "sample.vhd", NULL};

const struct xk_command vhd_cmd_set = {
    .name = "set",
    .summary = "hide or show images, mark them for the storage manager",
    .operands = "FILE…",
    .min_operands = 1,
    .max_operands = -1,
    .opts = set_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct set),
    .run = run,
    .example = example,
};
