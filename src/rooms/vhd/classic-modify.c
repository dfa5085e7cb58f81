/*
 * vhd-util set, modify and repair: small changes of one image. The original's own way of opening decides whether it is
 * opened at all; the library then makes the change in an order that may be cut off anywhere.
 */
#include "rooms/vhd/classic-image.h"

#include "lib/vhd/modify.h"
#include "lib/vhd/repair.h"

#include <inttypes.h>
#include <string.h>

/*
 * Open for a change.
 * ret_end_code  0, or why the original cannot tell where the data end; it does not write footers then.
 * returns       0; a negative errno value after the original's message.
 */
static int open_for_change(struct vhd *ret, struct vhd_classic *c, const char *name, unsigned flags, int *ret_end_code)
{
    struct vhd_classic_image image;
    struct xk_err err = {0};
    uint64_t end;

    int code = vhd_classic_image_open(&image, c, name, VHD_CLASSIC_WRITE | flags);
    if (code == 0) {
        *ret_end_code = vhd_classic_end_of_data(&image, &end);
        vhd_classic_image_close(&image);
        code = vhd_open(ret, c->app->fs, name, VHD_WRITE | VHD_DEVICES | VHD_BACKUP_OK | VHD_LENIENT, &err);
    }
    if (code < 0) {
        code = vhd_classic_code(c, code, &err);
        vhd_classic_say(c, "error opening %s: %d\n", name, code);
    }
    return code;
}

/* ---- set ---- */

static int set_usage(struct vhd_classic *c)
{
    vhd_classic_say(c, "options: <-n name> <-f field> <-v value> [-h help]\n");
    return -EINVAL;
}

static bool check_field(struct vhd_classic *c, const char *field, const char *word, int64_t *ret_value)
{
    enum { FIELD_BYTES_MAX = 25 };

    if (strlen(field) >= FIELD_BYTES_MAX) {
        vhd_classic_say(c, "invalid field\n");
        return false;
    }
    if (strcmp(field, "hidden") != 0 && strcmp(field, "marker") != 0) {
        vhd_classic_say(c, "invalid field %s\n", field);
        return false;
    }
    if (!vhd_classic_signed_number(ret_value, word) || *ret_value < 0 || *ret_value > UINT8_MAX) {
        vhd_classic_say(c, "invalid value %s\n", word);
        return false;
    }
    return true;
}

int vhd_classic_set(struct vhd_classic *c, int argc, char **argv)
{
    const char *name = NULL, *field = NULL, *word = NULL;
    struct xk_err err = {0};
    struct vhd v;
    int64_t value;
    int letter, end_code;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:f:v:h");
    while ((letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'n':
            name = o.value;
            break;
        case 'f':
            field = o.value;
            break;
        case 'v':
            word = o.value;
            break;
        default:
            return set_usage(c);
        }
    }
    if (!name || !field || !word || o.operand_count > 0 || !check_field(c, field, word, &value))
        return set_usage(c);

    int code = open_for_change(&v, c, name, 0, &end_code);
    if (code < 0)
        return code;
    if (strcmp(field, "hidden") == 0)
        code = end_code < 0 ? end_code : vhd_set_hidden(&v, (uint8_t)value, &err);
    else
        code = vhd_set_marker(&v, (uint8_t)value, &err);
    vhd_close(&v);
    return vhd_classic_code(c, code, &err);
}

/* ---- modify ---- */

struct modify {
    const char *name, *parent;
    int64_t bytes;
    bool resize, raw, discard;
};

static int before_commit(void *context)
{
    return vhd_classic_fails_at(context, "VHD_UTIL_TEST_FAIL_REPARENT_LOCATOR") ? -ECANCELED : 0;
}

/* The parent as the original opens it, for its errors. */
static int try_parent(struct vhd_classic *c, const struct vhd *v, const struct modify *m)
{
    struct vhd_classic_image parent;
    struct stat st;

    if (m->raw || v->footer.type != VHD_DIFFERENCING || stat(m->parent, &st) < 0 ||
        (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
        return 0; /* or an error that the library finds first */
    const int code = vhd_classic_image_open(&parent, c, m->parent, VHD_CLASSIC_READ);
    if (code == 0)
        vhd_classic_image_close(&parent);
    return code;
}

static int change_parent(struct vhd_classic *c, struct vhd *v, const struct modify *m)
{
    const struct vhd_reparent how = {.parent = m->parent, .raw = m->raw, .before_commit = before_commit, .context = c};
    struct xk_err err = {0};

    if (vhd_classic_fails_at(c, "VHD_UTIL_TEST_FAIL_REPARENT_BEGIN"))
        return -EINVAL;
    int code = try_parent(c, v, m);
    if (code == 0) {
        code = vhd_reparent(v, &how, &err);
        if (code == -ECANCELED)
            return -EINVAL;
        code = vhd_classic_code(c, code, &err);
    }
    if (code < 0)
        vhd_classic_say(c, "failed to set parent to '%s': %d\n", m->parent, code);
    else if (vhd_classic_fails_at(c, "VHD_UTIL_TEST_FAIL_REPARENT_END"))
        code = -EINVAL;
    return code;
}

static int change(struct vhd_classic *c, struct vhd *v, const struct modify *m, int end_code)
{
    struct xk_err err = {0};
    int code = 0;

    if (m->discard) {
        code = end_code < 0 && vhd_is_sparse(v) ? end_code : vhd_classic_code(c, vhd_discard(v, &err), &err);
        if (code < 0)
            vhd_classic_say(c, "failed to zero VHD: %d\n", code);
    }
    if (m->resize) {
        code = end_code < 0   ? end_code
               : m->bytes < 0 ? -EINVAL
                              : vhd_classic_code(c, vhd_set_file_end(v, (uint64_t)m->bytes, &err), &err);
        if (code < 0)
            vhd_classic_say(c, "failed to set physical size to %" PRId64 ": %d\n", m->bytes, code);
    }
    if (m->parent)
        code = change_parent(c, v, m);
    return code;
}

static int modify_usage(struct vhd_classic *c)
{
    vhd_classic_say(c, "*** Dangerous operations, use with care ***\n");
    vhd_classic_say(c, "options: <-n name> [-p NEW_PARENT set parent [-m raw]] "
                       "[-s NEW_SIZE set size] [-z zero (kill data)] "
                       "[-h help]\n");
    return -EINVAL;
}

int vhd_classic_modify(struct vhd_classic *c, int argc, char **argv)
{
    struct modify m = {0};
    struct vhd v;
    int letter, end_code;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:s:p:mzh");
    while ((letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'n':
            m.name = o.value;
            break;
        case 's':
            m.resize = true;
            if (!vhd_classic_signed_number(&m.bytes, o.value)) {
                vhd_classic_complain(c, "Invalid size '%s'\n", o.value);
                return modify_usage(c);
            }
            break;
        case 'p':
            m.parent = o.value;
            break;
        case 'm':
            m.raw = true;
            break;
        case 'z':
            m.discard = true;
            break;
        default:
            return modify_usage(c);
        }
    }
    if (!m.name || o.operand_count > 0)
        return modify_usage(c);

    int code = open_for_change(&v, c, m.name, 0, &end_code);
    if (code < 0)
        return code;
    code = change(c, &v, &m, end_code);
    vhd_close(&v);
    return code;
}

/* ---- repair ---- */

static int repair_usage(struct vhd_classic *c)
{
    vhd_classic_say(c, "options: <-n name> <-b use the back-up footer> [-h help]\n");
    return -EINVAL;
}

int vhd_classic_repair(struct vhd_classic *c, int argc, char **argv)
{
    const char *name = NULL;
    struct xk_err err = {0};
    bool from_copy = false;
    struct vhd v;
    int letter, end_code;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "n:bh");
    while ((letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'n':
            name = o.value;
            break;
        case 'b':
            from_copy = true;
            break;
        default:
            return repair_usage(c);
        }
    }
    if (!name || o.operand_count > 0)
        return repair_usage(c);

    int code = open_for_change(&v, c, name, from_copy ? VHD_CLASSIC_COPY : 0, &end_code);
    if (code < 0)
        return code;
    code = end_code < 0 ? end_code : vhd_classic_code(c, vhd_repair_footers(&v, from_copy, c->app->random, &err), &err);
    if (code < 0)
        vhd_classic_say(c, "error writing footer: %d\n", code);
    vhd_close(&v);
    return code;
}
