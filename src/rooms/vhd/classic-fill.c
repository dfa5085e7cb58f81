/*
 * vhd-util fill and copy. The original's `fill -b` leaves the footer overwritten; here the image stays whole, and
 * blocks that have data keep it.
 */
#include "rooms/vhd/classic-image.h"

#include "lib/vhd/copy.h"
#include "lib/vhd/fill.h"
#include "lib/vhd/key.h"

#include <inttypes.h>
#include <string.h>

static int fill_usage(struct vhd_classic *c)
{
    vhd_classic_say(c,
                    "options: <-n name> [-h help] [-b initialise the BAT and bitmaps, don't write to the data blocks "
                    "(much faster)] [-f start intialisation from this sector, only usable with -b] [-t intialise up "
                    "to this sector (inclusive), only usable with -b] [-B ignore the 2 TB limit, only usable with "
                    "-b]\n");
    return -EINVAL;
}

struct fill_words {
    const char *name, *from, *to;
    bool tables_only, past_2tb;
};

/* The range of sectors, or the original's complaint. */
static bool fill_range(struct vhd_classic *c, const struct fill_words *w, struct vhd_fill *how)
{
    if ((w->from || w->to) && !w->tables_only) {
        vhd_classic_say(c, "-f/-t can only be used with -b\n");
        return false;
    }
    how->last = UINT64_MAX;
    if ((w->from && !vhd_classic_number(&how->first, w->from)) || (w->to && !vhd_classic_number(&how->last, w->to)))
        return false;
    if (w->from && w->to && how->last < how->first) {
        vhd_classic_say(c, "invalid sector range %" PRIu64 "-%" PRIu64 "\n", how->first, how->last);
        return false;
    }
    if (w->past_2tb && !w->tables_only) {
        vhd_classic_say(c, "-B can only be used with -b\n");
        return false;
    }
    return true;
}

int vhd_classic_fill(struct vhd_classic *c, int argc, char **argv)
{
    struct fill_words w = {0};
    struct vhd_fill how = {.open_flags = VHD_DEVICES | VHD_BACKUP_OK};
    struct vhd_filled filled = {0};
    struct xk_err err = {0};
    int letter;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:f:t:bBh");
    while ((letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'n':
            w.name = o.value;
            break;
        case 'f':
            w.from = o.value;
            break;
        case 't':
            w.to = o.value;
            break;
        case 'b':
            w.tables_only = true;
            break;
        case 'B':
            w.past_2tb = true;
            break;
        default:
            return fill_usage(c);
        }
    }
    if (!w.name || o.operand_count > 0 || !fill_range(c, &w, &how))
        return fill_usage(c);
    if (w.past_2tb) {
        /* Sector numbers in the table have 32 bits: what the original writes there is another place. */
        vhd_classic_complain(c, "vhd-util: fill -B: a block table cannot name places past 2 TiB\n");
        return -EOPNOTSUPP;
    }
    int code = vhd_classic_image_try(c, w.name, VHD_CLASSIC_WRITE);
    if (code == 0)
        code = vhd_classic_image_mend(c, w.name, &err);
    if (code < 0) {
        code = vhd_classic_code(c, code, &err);
        vhd_classic_say(c, "error opening %s: %d\n", w.name, code);
        return code;
    }
    how.tables_only = w.tables_only;
    code = vhd_fill(&filled, c->app->fs, w.name, &how, &err);
    return code == 0 && filled.stopped ? -EINTR : vhd_classic_code(c, code, &err);
}

/* ---- copy ---- */

struct copy_words {
    const char *name, *target;
    uint8_t key[VHD_KEY_BYTES_MAX];
    size_t key_bytes;
};

static int copy_usage(struct vhd_classic *c)
{
    vhd_classic_say(c, "options: -n <name> -N <new VHD name> [-k <keyfile> | -E (pass encryption key on stdin)] "
                       "[-h help] \n");
    return -EINVAL;
}

static int read_key(struct vhd_classic *c, struct copy_words *w, const char *path)
{
    struct xk_err err = {0};

    if (w->key_bytes) {
        vhd_classic_complain(c, "Only supply -E or -k once\n");
        return -EPERM;
    }
    const int got = vhd_key_load(w->key, c->app->fs, path, &err);
    if (got == -EINVAL) {
        vhd_classic_complain(c, "Unsupported keysize, use either 256 bit or 512 bit key\n");
        return -EPERM;
    }
    if (got < 0) {
        vhd_classic_say(c, "Failed to open key file %s: %d\n", path, -got);
        return got;
    }
    w->key_bytes = (size_t)got;
    return 0;
}

static int copy(struct vhd_classic *c, const struct copy_words *w)
{
    enum { OPEN_FLAGS = VHD_DEVICES | VHD_BACKUP_OK };
    struct vhd_copied copied;
    struct xk_err err = {0};
    struct vhd v;

    int code = vhd_classic_image_try(c, w->name, VHD_CLASSIC_READ);
    if (code == 0)
        code = vhd_open(&v, c->app->fs, w->name, OPEN_FLAGS, &err);
    if (code < 0) {
        code = vhd_classic_code(c, code, &err);
        vhd_classic_say(c, "error opening %s: %d\n", w->name, code);
        return code;
    }
    const uint64_t bytes = v.footer.current_bytes;
    const uint32_t type = v.footer.type;
    vhd_close(&v);
    if (access(w->target, F_OK) == 0) {
        vhd_classic_say(c, "VHD file %s already exists, chose a different name\n", w->target);
        return -EINVAL;
    }
    if (type != VHD_DYNAMIC) {
        vhd_classic_say(c, "error creating %s: %d\n", w->target, -EINVAL);
        return -EINVAL;
    }
    const struct vhd_copy how = {
        .from = w->name,
        .to = w->target,
        .reserve_bytes = bytes,
        .whole_blocks = true,
        .key = w->key_bytes ? w->key : NULL,
        .key_bytes = w->key_bytes,
        .unix_seconds = c->app->clock->utc_ns(c->app->clock) / (int64_t)XK_NS_PER_S,
        .random = c->app->random,
        .open_flags = OPEN_FLAGS,
    };
    return vhd_classic_code(c, vhd_copy(&copied, c->app->fs, &how, &err), &err);
}

int vhd_classic_copy(struct vhd_classic *c, int argc, char **argv)
{
    struct copy_words w = {0};
    int code = 0;
    int letter;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:N:k:Eh");
    while (code == 0 && (letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'n':
            w.name = o.value;
            break;
        case 'N':
            w.target = o.value;
            break;
        case 'k':
            code = read_key(c, &w, o.value);
            break;
        case 'E':
            code = read_key(c, &w, "/dev/stdin");
            break;
        default:
            code = copy_usage(c);
        }
    }
    if (code == 0 && (!w.name || !w.target)) {
        vhd_classic_complain(c, "Must supply both existing and new VHD names\n");
        code = copy_usage(c);
    }
    if (code == 0)
        code = copy(c, &w);
    explicit_bzero(w.key, sizeof(w.key));
    return code;
}
