/*
 * vhd-util resize and revert. The failure points leave image and journal as a kill at that moment would; a storage
 * manager's tests then call revert.
 */
#include "rooms/vhd/classic-image.h"

#include "lib/vhd/resize.h"

#include <inttypes.h>
#include <string.h>

static int resize_usage(struct vhd_classic *c)
{
    vhd_classic_say(c,
                    "options: <-n name> <-s size (in MB)> (<-j journal>|<-f fast>) [-h help]\n\n"
                    "The resize operation can only be performed offline and must be journaled because resizing the "
                    "metadata might require moving data blocks. However, if a VHD was created with -S <msize> option "
                    "(during vhd-util create/snapshot), which preallocates the metadata for growing the VHD up to "
                    "size <msize>, then resizing such a VHD up to <msize> can be performed online without journaling "
                    "(-f option).\n");
    return -EINVAL;
}

struct stages {
    struct vhd_classic *classic;
    bool begun; /* a failure is no longer one of making the journal */
};

static int at_stage(void *context, enum vhd_resize_stage stage)
{
    struct stages *const s = context;
    static const char *const points[] = {
        [VHD_RESIZE_BEGUN] = "VHD_UTIL_TEST_FAIL_RESIZE_BEGIN",
        [VHD_RESIZE_DATA_MOVED] = "VHD_UTIL_TEST_FAIL_RESIZE_DATA_MOVED",
        [VHD_RESIZE_METADATA_MOVED] = "VHD_UTIL_TEST_FAIL_RESIZE_METADATA_MOVED",
        [VHD_RESIZE_ENDED] = "VHD_UTIL_TEST_FAIL_RESIZE_END",
    };
    s->begun = true;
    return vhd_classic_fails_at(s->classic, points[stage]) ? -ECANCELED : 0;
}

/* The image as it is before; closed again. */
static int look(struct vhd_footer *ret, uint64_t *ret_most, struct vhd_classic *c, const char *name)
{
    struct vhd v;
    struct xk_err err = {0};

    int code = vhd_classic_image_try(c, name, VHD_CLASSIC_READ);
    if (code == 0)
        code = vhd_open(&v, c->app->fs, name, VHD_DEVICES | VHD_NO_TABLES | VHD_BACKUP_OK, &err);
    if (code < 0) {
        code = vhd_classic_code(c, code, &err);
        vhd_classic_say(c, "error opening %s: %d\n", name, code);
        return code;
    }
    *ret = v.footer;
    *ret_most = (uint64_t)v.header.max_entries * v.header.block_bytes;
    vhd_close(&v);
    if (memcmp(ret->creator, "tap", 3) == 0)
        return 0;
    vhd_classic_say(c, "%s not created by xen; resize not supported\n", name);
    return -EINVAL;
}

static int resize_fast(struct vhd_classic *c, const char *name, const struct vhd_footer *old, uint64_t most,
                       uint64_t bytes)
{
    struct vhd_resized resized;
    struct xk_err err = {0};
    const uint64_t rounded = XK_ROUND_UP(bytes, (uint64_t)VHD_BLOCK_BYTES);

    if (old->type == VHD_FIXED)
        return -EINVAL;
    if (rounded < old->current_bytes) {
        vhd_classic_say(c, "%s: size (%" PRIu64 ") < curr size (%" PRIu64 ")\n", name, rounded, old->current_bytes);
        return -EINVAL;
    }
    if (rounded == old->current_bytes)
        return 0;
    if (rounded > most)
        return -EINVAL;
    const int code = vhd_resize(&resized, c->app->fs, name, &(struct vhd_resize){.bytes = rounded}, &err);
    return vhd_classic_code(c, code, &err);
}

/* What the original's journal is to keep must be whole: both footers, the header, the table, the batmap. */
static int check_metadata(struct vhd_classic *c, const char *name)
{
    struct vhd v;

    if (vhd_open(&v, c->app->fs, name, VHD_DEVICES, NULL) < 0)
        return -EINVAL;
    const bool whole =
        v.copy_state == VHD_GOOD && !v.short_footer && (v.batmap_state == VHD_GOOD || v.batmap_state == VHD_ABSENT);
    vhd_close(&v);
    return whole ? 0 : -EINVAL;
}

static int resize_journaled(struct vhd_classic *c, const char *name, const char *journal, const struct vhd_footer *old,
                            uint64_t bytes)
{
    struct vhd_resized resized;
    struct stages stages = {.classic = c};
    struct xk_err err = {0};
    struct stat st;

    /* The original's journals are of sparse images only; a fixed one is resized by `xenkit vhd resize`. */
    int code = old->type == VHD_FIXED ? -EINVAL : 0;
    if (stat(journal, &st) == 0 && !S_ISBLK(st.st_mode))
        code = -EEXIST;
    if (code == 0)
        code = check_metadata(c, name);
    if (code < 0) {
        vhd_classic_say(c, "creating journal failed: %d\n", code);
        return code;
    }
    if (bytes == old->current_bytes)
        return 0;
    if (bytes < old->current_bytes) {
        vhd_classic_say(c, "dynamic shrink not fully implemented\n");
        stages.begun = true; /* the original's journal is there by now */
        code = -ENOSYS;
    } else {
        const struct vhd_resize how = {.bytes = bytes, .journal = journal, .stage = at_stage, .context = &stages};
        code = vhd_resize(&resized, c->app->fs, name, &how, &err);
        if (code == -ECANCELED)
            return -EINVAL;
        code = vhd_classic_code(c, code, &err);
    }
    if (code < 0)
        vhd_classic_say(c, "%s failed: %d\n", stages.begun ? "resize" : "creating journal", code);
    return code;
}

int vhd_classic_resize(struct vhd_classic *c, int argc, char **argv)
{
    const char *name = NULL, *journal = NULL, *word = NULL;
    struct vhd_footer old;
    uint64_t bytes, most;
    bool fast = false;
    int letter;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:s:j:fh");
    while ((letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'n':
            name = o.value;
            break;
        case 'j':
            journal = o.value;
            break;
        case 'f':
            fast = true;
            break;
        case 's':
            word = o.value;
            break;
        default:
            return resize_usage(c);
        }
    }
    if (!name || !word || (!journal && !fast) || (journal && fast) || o.operand_count > 0 ||
        !vhd_classic_mib(&bytes, word))
        return resize_usage(c);
    const int code = look(&old, &most, c, name);
    if (code < 0)
        return code;
    return fast ? resize_fast(c, name, &old, most, bytes) : resize_journaled(c, name, journal, &old, bytes);
}

int vhd_classic_revert(struct vhd_classic *c, int argc, char **argv)
{
    const char *name = NULL, *journal = NULL;
    enum vhd_revert outcome;
    struct xk_err err = {0};
    bool wrong = false;
    int letter;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:j:h");
    while (!wrong && (letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'n':
            name = o.value;
            break;
        case 'j':
            journal = o.value;
            break;
        default:
            wrong = true;
        }
    }
    if (wrong || !name || !journal || o.operand_count > 0) {
        vhd_classic_say(c, "options: <-n name> <-j journal> [-h help]\n");
        return -EINVAL;
    }
    struct stat st;
    int code = vhd_classic_code(c, vhd_revert(&outcome, c->app->fs, name, journal, NULL, &err), &err);
    if (code == -EINVAL && stat(journal, &st) == 0 && st.st_size < VHD_SECTOR)
        code = -EPIPE; /* as the original's short read */
    if (code < 0)
        vhd_classic_say(c, "opening journal failed: %d\n", code);
    return code;
}
