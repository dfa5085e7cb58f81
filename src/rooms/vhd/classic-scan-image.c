/*
 * One image of a classic scan: 1536 bytes of it with -f, three pieces otherwise; of an inactive volume what lies in its
 * first extent. Called by several threads at once.
 */
#include "rooms/vhd/classic-scan-parts.h"

#include "lib/vhd/canon.h"

#include <string.h>

/* ---- one image ---- */

static int open_volume(struct vhd_scan_entry *e, const struct vhd_scan *s, const struct vhd_scan_target *t,
                       struct vhd_classic_image *i)
{
    uint8_t buf[VHD_FOOTER_BYTES + VHD_HEADER_BYTES];

    if (t->end - t->start < 4096) {
        e->message = "device too small";
        return -EINVAL;
    }
    e->message = "opening device";
    int code = vhd_classic_image_open_file(i, s->classic, t->device, VHD_CLASSIC_READ);
    if (code < 0 || !vhd_scan_is_vhd(t->kind))
        return code;
    i->start = t->start;
    e->message = "reading headers";
    code = vhd_classic_image_read(i, buf, sizeof(buf), 0);
    if (code < 0)
        return code;
    e->message = "invalid footer";
    memcpy(i->footer_sector, buf, VHD_FOOTER_BYTES);
    vhd_footer_decode(&i->footer, i->footer_sector);
    code = vhd_classic_footer_validate(&i->footer);
    e->message = code < 0 ? e->message : "reading header";
    return code == 0 && vhd_classic_is_sparse(i) ? vhd_classic_image_read_header(i) : code;
}

/* *ret_own: memory of the name in the tree, which is a real path; the caller frees it. */
static int open_target(struct vhd_scan_entry *e, const struct vhd_scan *s, const struct vhd_scan_target *t,
                       struct vhd_classic_image *i, char **ret_own)
{
    e->name = t->name;
    if (!vhd_scan_is_volume(t->kind) && s->tree) {
        *ret_own = vhd_canonical_path(t->name);
        if (!*ret_own) {
            e->message = "resolving name";
            return -errno;
        }
        e->name = *ret_own;
    }
    if (vhd_scan_is_volume(t->kind))
        return open_volume(e, s, t, i);
    e->message = "opening file";
    return vhd_scan_is_vhd(t->kind)
               ? vhd_classic_image_open(i, s->classic, e->name, VHD_CLASSIC_POISONED | (s->fast ? VHD_CLASSIC_FAST : 0))
               : 0;
}

/* The locator to believe: the Mac URL, else the last relative Windows path, else the first one that is not empty. */
static const struct vhd_locator *best_locator(const struct vhd_header *h)
{
    const struct vhd_locator *best = NULL;
    for (int n = 0; n < VHD_LOCATORS; n++) {
        const struct vhd_locator *l = &h->locators[n];
        if (l->code == VHD_LOCATOR_MACX)
            return l;
        if (l->code == VHD_LOCATOR_W2RU || (!best && l->code != VHD_LOCATOR_NONE))
            best = l;
    }
    return best;
}

/* /dev/mapper/GROUP-VOLUME names GROUP/VOLUME with dashes doubled: keep the volume, in place. */
static int volume_of_path(char *path)
{
    char *out = path;

    const char *const slash = strrchr(path, '/');
    for (const char *in = slash ? slash : path; *in; in++) {
        if (*in == '-' && in[1] == '-') {
            *out++ = '-';
            in++;
        } else {
            *out++ = *in == '-' ? '/' : *in;
        }
    }
    *out = '\0';
    const char *const name = strrchr(path, '/');
    if (!name)
        return -EINVAL;
    memmove(path, name + 1, strlen(name + 1) + 1);
    return 0;
}

static int find_parent(const struct vhd_scan *s, const struct vhd_scan_target *t, const struct vhd_classic_image *i,
                       char **ret)
{
    int code = -EINVAL;

    if (s->fast)
        code = vhd_classic_parent_name(i, ret);
    else if (!vhd_scan_is_volume(t->kind))
        code = vhd_classic_parent(i, true, ret); /* only when it can be read */
    if (code < 0) {
        const struct vhd_locator *l = best_locator(&i->header);
        code = l ? vhd_classic_locator_text(i, l, ret) : -EINVAL;
    }
    return code == 0 && vhd_scan_is_volume(t->kind) ? volume_of_path(*ret) : code;
}

static int look(struct vhd_scan_entry *e, const struct vhd_scan *s, const struct vhd_scan_target *t,
                struct vhd_classic_image *i, char **ret_parent)
{
    int code = 0;

    e->file_bytes = t->bytes;
    e->capacity_bytes = vhd_scan_is_vhd(t->kind) ? i->footer.current_bytes : t->bytes;
    e->message = "checking 'hidden' field";
    e->hidden = 1; /* a raw parent */
    if (vhd_scan_is_vhd(t->kind))
        code = vhd_classic_image_hidden(i, &e->hidden);
    if (code == 0 && s->markers && vhd_scan_is_vhd(t->kind)) {
        struct vhd_batmap keyhash;
        e->message = "checking markers";
        code = vhd_classic_image_marker(i, &e->marker);
        if (code == 0)
            code = vhd_classic_image_keyhash(i, &keyhash);
        if (code == 0) {
            e->keyhash_set = keyhash.keyhash_set;
            memcpy(e->hash, keyhash.hash, sizeof(e->hash));
        }
    }
    if (code == 0 && i->footer.type == VHD_DIFFERENCING) {
        e->message = "getting parent";
        code = find_parent(s, t, i, ret_parent);
        e->parent = *ret_parent;
    }
    return code;
}

void vhd_scan_image_look(struct vhd_scan_entry *ret, const struct vhd_scan *s, const struct vhd_scan_target *t,
                         char **ret_name, char **ret_parent, bool *ret_raw_parent)
{
    struct vhd_classic_image image = {.file.fd = -1};

    *ret = (struct vhd_scan_entry){0};
    *ret_name = *ret_parent = NULL;
    ret->error = open_target(ret, s, t, &image, ret_name);
    if (ret->error == 0)
        ret->error = look(ret, s, t, &image, ret_parent);
    *ret_raw_parent = vhd_classic_raw_parent(&image);
    vhd_classic_image_close(&image);
}
