/*
 * vhd-util create and snapshot. The library makes the image under a temporary name; a size or a chain that cannot be is
 * refused before anything is written. Where the original leaves with a number only, a sentence goes to stderr.
 */
#include "rooms/vhd/classic-image.h"

#include "lib/vhd/canon.h"
#include "lib/vhd/create.h"

#include <limits.h>
#include <string.h>

static int failed(struct vhd_classic *c, const char *name, int code, const struct xk_err *err)
{
    code = vhd_classic_code(c, code, err);
    if (code != -EINVAL) /* of which the original says nothing */
        vhd_classic_complain(c, "%s: failed to create: %d\n", name, code);
    return code;
}

static int64_t now_s(const struct vhd_classic *c)
{
    return c->app->clock->utc_ns(c->app->clock) / (int64_t)XK_NS_PER_S;
}

static int create_usage(struct vhd_classic *c)
{
    vhd_classic_say(c, "options: <-n name> <-s size (MB)> [-r reserve] [-h help] "
                       "[<-S size (MB) for metadata preallocation "
                       "(see vhd-util resize)>]\n");
    return -EINVAL;
}

int vhd_classic_create(struct vhd_classic *c, int argc, char **argv)
{
    struct vhd_create how = {.type = VHD_DYNAMIC,
                             .preallocate = true,
                             .overwrite = true,
                             .unix_seconds = now_s(c),
                             .random = c->app->random};
    struct xk_err err = {0};
    bool sized = false, numbers = true;
    int letter;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:s:S:rh");
    while ((letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'n':
            how.path = o.value;
            break;
        case 's':
            sized = true;
            numbers = vhd_classic_mib(&how.bytes, o.value) && numbers;
            break;
        case 'S':
            sized = true;
            numbers = vhd_classic_mib(&how.reserve_bytes, o.value) && numbers;
            break;
        case 'r':
            how.type = VHD_FIXED;
            break;
        default:
            return create_usage(c);
        }
    }
    if (!sized || !numbers || !how.path || o.operand_count > 0)
        return create_usage(c);
    if (how.reserve_bytes && how.reserve_bytes < how.bytes) {
        vhd_classic_say(c, "Error: <-S size> must be greater than <-s size>\n");
        return -EINVAL;
    }
    const int code = vhd_create(c->app->fs, &how, &err);
    return code < 0 ? failed(c, how.path, code, &err) : 0;
}

/* ---- snapshot ---- */

struct snapshot {
    const char *name, *parent;
    uint64_t reserve_bytes;
    int64_t limit;
    bool raw, even_empty;
};

static bool has_blocks(const struct vhd_classic_image *i)
{
    for (uint32_t n = 0; n < i->blocks; n++) {
        if (i->bat[n] != VHD_BAT_FREE)
            return true;
    }
    return false;
}

/*
 * What the new image will stand on: the named parent, or, while that is an empty differencing image, its parent.
 * ret_path   the caller frees it.
 */
static int find_base(struct vhd_classic *c, const char *parent, char **ret_path, bool *ret_raw)
{
    xk_autofree char *path = xk_strdup(parent);

    for (unsigned depth = 0; path && depth < VHD_CLASSIC_DEPTH_MAX; depth++) {
        struct vhd_classic_image i;
        char *next = NULL;
        int code = vhd_classic_image_open(&i, c, path, VHD_CLASSIC_READ);
        if (code < 0)
            return code;
        const bool below = i.footer.type == VHD_DIFFERENCING;
        if (below)
            code = vhd_classic_image_read_bat(&i);
        const bool found = !below || has_blocks(&i);
        const bool raw = below && vhd_classic_raw_parent(&i);
        if (code == 0 && !found)
            code = vhd_classic_parent(&i, true, &next);
        vhd_classic_image_close(&i);
        if (code < 0)
            return code;
        if (!found) {
            free(path);
            path = next;
        }
        if (found || raw) {
            *ret_raw = raw && !found;
            *ret_path = XK_TAKE(path);
            return 0;
        }
    }
    return path ? -ELOOP : -ENOMEM;
}

static int check_limit(struct vhd_classic *c, const char *base, int64_t limit)
{
    struct vhd_classic_image i;
    unsigned depth = 0;

    int code = vhd_classic_image_open(&i, c, base, VHD_CLASSIC_READ);
    if (code == 0) {
        code = vhd_classic_depth(&i, &depth);
        vhd_classic_image_close(&i);
    }
    if (code < 0) {
        vhd_classic_say(c, "error checking snapshot depth: %d\n", code);
    } else if ((int64_t)depth + 1 > limit) {
        code = -ENOSPC;
        vhd_classic_say(c, "snapshot depth exceeded: current depth: %u, limit: %d\n", depth, (int)limit);
    }
    return code;
}

static int make_snapshot(struct vhd_classic *c, const struct snapshot *s)
{
    struct vhd_snapshot how = {
        .path = s->name,
        .parent = s->parent,
        .parent_raw = s->raw,
        .keep_empty = s->even_empty,
        .reserve_bytes = s->reserve_bytes,
        .overwrite = true,
        .unix_seconds = now_s(c),
        .random = c->app->random,
    };
    struct vhd_snapshot_made made = {0};
    struct xk_err err = {0};
    bool raw = s->raw;

    xk_autofree char *parent = vhd_canonical_path(s->parent);
    if (!parent)
        return -errno;
    xk_autofree char *base = xk_strdup(parent);
    if (!base)
        return -ENOMEM;
    if (!s->raw && !s->even_empty) {
        free(XK_TAKE(base));
        const int code = find_base(c, parent, &base, &raw);
        if (code < 0)
            return code;
    }
    if (s->limit && !raw) {
        const int code = check_limit(c, base, s->limit);
        if (code < 0)
            return code;
    }
    const int code = vhd_snapshot(c->app->fs, &how, &made, &err);
    free(made.parent);
    return code < 0 ? failed(c, s->name, code, &err) : 0;
}

static int snapshot_usage(struct vhd_classic *c, int result)
{
    vhd_classic_say(c, "options: <-n name> <-p parent name> [-l snapshot depth limit]"
                       " [-m parent_is_raw] [-S size (MB) for metadata preallocation "
                       "(see vhd-util resize)] [-e link to supplied parent name even "
                       "if it's empty] [-h help]\n");
    return result;
}

int vhd_classic_snapshot(struct vhd_classic *c, int argc, char **argv)
{
    struct snapshot s = {0};
    bool numbers = true;
    int letter;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:p:S:l:meh");
    while ((letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'n':
            s.name = o.value;
            break;
        case 'p':
            s.parent = o.value;
            break;
        case 'S':
            numbers = vhd_classic_mib(&s.reserve_bytes, o.value) && numbers;
            break;
        case 'l':
            numbers =
                vhd_classic_signed_number(&s.limit, o.value) && s.limit >= INT_MIN && s.limit <= INT_MAX && numbers;
            break;
        case 'm':
            s.raw = true;
            break;
        case 'e':
            s.even_empty = true;
            break;
        case 'h':
            return snapshot_usage(c, 0);
        default:
            return snapshot_usage(c, -EINVAL);
        }
    }
    if (!s.name || !s.parent || !numbers || o.operand_count > 0)
        return snapshot_usage(c, -EINVAL);
    return make_snapshot(c, &s);
}
