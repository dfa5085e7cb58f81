/*
 * The sample images: a healthy storage repository in small, and one folder for each kind of damage with a chain of its
 * own whose top image is broken. The check-up must then find each planted fault, and nothing else below the folder.
 */
#include "rooms/checkup/checkup.h"

#include "core/text.h"
#include "lib/vhd/checks.h"
#include "lib/vhd/create.h"
#include "lib/vhd/damage.h"
#include "lib/vhd/write.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DISK_BYTES        (64 * XK_MIB)
#define HEALTHY_SNAPSHOTS 3

/* Kinds that a look without --data finds, and that have no second consequence. */
static const char *const planted[] = {
    "footer", "footer-copy", "footers-differ", "short-footer", "poisoned",    "geometry",    "hidden-leaf",
    "header", "bat-outside", "bat-short",      "bat-past-end", "bat-overlap", "trailing",    "misaligned",
    "batmap", "locator",     "parent-missing", "parent-uuid",  "parent-loop", "parent-size", "duplicate-uuid",
};

struct checkup_plant {
    const struct vhd_damage_kind *kind;
    char *path;
    bool found;
};

void checkup_demo_done(struct checkup_demo *demo)
{
    for (size_t i = 0; demo->plants && i < demo->count; i++)
        free(demo->plants[i].path);
    free(demo->plants);
    free(demo->dir);
    *demo = (struct checkup_demo){0};
}

/* A pattern that differs from disk to disk, so that a wrong layer shows. */
static int write_pattern(const struct xk_fs *fs, const char *path, uint64_t sector, uint64_t sectors, unsigned seed,
                         struct xk_err *err)
{
    struct vhd image;
    struct vhd_writer w = {0};
    xk_autofree uint8_t *data = xk_alloc((size_t)sectors * VHD_SECTOR);

    if (!data)
        return xk_fail_memory(err);
    for (size_t i = 0; i < sectors * VHD_SECTOR; i++)
        data[i] = (uint8_t)(i * 31 + i / VHD_SECTOR + seed * 7 + 1);
    int code = vhd_open(&image, fs, path, VHD_WRITE, err);
    if (code < 0)
        return code;
    code = vhd_writer_begin(&w, &image, err);
    if (code == 0)
        code = vhd_writer_write(&w, data, sector, sectors, err);
    if (code == 0)
        code = vhd_writer_commit(&w, err);
    vhd_writer_done(&w);
    vhd_close(&image);
    return code;
}

static int make_disk(struct xk_app *app, const char *path, const char *parent, unsigned seed, struct xk_err *err)
{
    const int64_t now = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S;
    int code;

    if (parent) {
        struct vhd_snapshot_made made = {0};
        code = vhd_snapshot(
            app->fs, &(struct vhd_snapshot){.path = path, .parent = parent, .unix_seconds = now, .random = app->random},
            &made, err);
        free(made.parent);
    } else {
        code = vhd_create(
            app->fs,
            &(struct vhd_create){
                .path = path, .bytes = DISK_BYTES, .type = VHD_DYNAMIC, .unix_seconds = now, .random = app->random},
            err);
    }
    /* One whole block, and a piece in the middle of the next two. */
    if (code == 0)
        code = write_pattern(app->fs, path, 0, VHD_BLOCK_BYTES / VHD_SECTOR, seed, err);
    if (code == 0)
        code = write_pattern(app->fs, path, 7000 + seed * 64, 3000, seed, err);
    return code;
}

static int make_folder(char **ret, const char *parent, const char *name, struct xk_err *err)
{
    *ret = xk_path_join(parent, name);
    if (!*ret)
        return xk_fail_memory(err);
    return mkdir(*ret, 0755) == 0 ? 0 : xk_fail_sys(err, -errno, "%s", *ret);
}

/* `dir`/base.vhd and a child of it, disk.vhd, whose path is handed over. */
static int make_chain(char **ret_disk, struct xk_app *app, const char *dir, unsigned seed, struct xk_err *err)
{
    xk_autofree char *base = xk_path_join(dir, "base.vhd");
    xk_autofree char *disk = xk_path_join(dir, "disk.vhd");

    if (!base || !disk)
        return xk_fail_memory(err);
    int code = make_disk(app, base, NULL, seed, err);
    if (code == 0)
        code = make_disk(app, disk, base, seed + 1, err);
    *ret_disk = XK_TAKE(disk);
    return code;
}

static int make_healthy(struct xk_app *app, const char *root, struct xk_err *err)
{
    xk_autofree char *dir = NULL;
    xk_autofree char *previous = NULL;
    xk_autofree char *fixed = NULL;

    int code = make_folder(&dir, root, "healthy", err);
    if (code == 0)
        code = make_chain(&previous, app, dir, 100, err);
    for (unsigned i = 1; code == 0 && i <= HEALTHY_SNAPSHOTS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "snapshot-%u.vhd", i);
        char *next = xk_path_join(dir, name);
        code = next ? make_disk(app, next, previous, 100 + i, err) : xk_fail_memory(err);
        free(previous);
        previous = next;
    }
    if (code < 0)
        return code;
    fixed = xk_path_join(dir, "fixed.vhd");
    if (!fixed)
        return xk_fail_memory(err);
    return vhd_create(app->fs,
                      &(struct vhd_create){.path = fixed,
                                           .bytes = 4 * XK_MIB,
                                           .type = VHD_FIXED,
                                           .preallocate = true,
                                           .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S,
                                           .random = app->random},
                      err);
}

static int plant(struct checkup_demo *demo, struct xk_app *app, const struct vhd_damage_kind *kind, unsigned seed,
                 struct xk_err *err)
{
    xk_autofree char *dir = NULL;
    struct checkup_plant *p = &demo->plants[demo->count++];

    p->kind = kind;
    int code = make_folder(&dir, demo->dir, kind->name, err);
    if (code == 0)
        code = make_chain(&p->path, app, dir, seed, err);
    return code < 0 ? code : vhd_damage_apply(kind, app->fs, p->path, err);
}

static int make_root(struct checkup_demo *demo, struct xk_app *app, const char *dir, struct xk_err *err)
{
    if (dir) {
        demo->dir = xk_strdup(dir);
        if (!demo->dir)
            return xk_fail_memory(err);
        return mkdir(dir, 0755) == 0 || errno == EEXIST ? 0 : xk_fail_sys(err, -errno, "%s", dir);
    }
    const char *tmp = xk_env(app, "TMPDIR");
    demo->dir = xk_asprintf("%s/xenkit-demo-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    if (!demo->dir)
        return xk_fail_memory(err);
    return mkdtemp(demo->dir) ? 0 : xk_fail_sys(err, -errno, "making a folder for the sample images (%s)", demo->dir);
}

int checkup_demo_build(struct checkup_demo *ret, struct xk_app *app, const char *dir, struct xk_err *err)
{
    struct xk_prog progress;

    *ret = (struct checkup_demo){0};
    ret->plants = xk_array_alloc(XK_COUNT(planted), sizeof(*ret->plants));
    if (!ret->plants)
        return xk_fail_memory(err);
    int code = make_root(ret, app, dir, err);
    if (code == 0)
        code = make_healthy(app, ret->dir, err);
    xk_prog_begin(&progress, app->log, app->clock, "making samples", XK_COUNT(planted), false);
    for (size_t i = 0; code == 0 && i < XK_COUNT(planted); i++) {
        code = plant(ret, app, vhd_damage_find(planted[i]), (unsigned)i, err);
        xk_prog_set(&progress, i);
    }
    xk_prog_end(&progress);
    if (code < 0)
        checkup_demo_done(ret);
    return code;
}

static struct checkup_plant *plant_of(const struct checkup_demo *demo, const struct xk_finding *f)
{
    for (size_t i = 0; i < demo->count; i++) {
        struct checkup_plant *p = &demo->plants[i];
        if (strcmp(p->kind->check_id, f->check->id) == 0 && strcmp(p->path, f->object) == 0)
            return p;
    }
    return NULL;
}

int checkup_demo_verify(const struct checkup_demo *demo, const struct checkup *c, struct xk_buf *ret_text)
{
    int wrong = 0;

    for (size_t i = 0; i < c->findings.count; i++) {
        const struct xk_finding *f = &c->findings.items[i];
        /* Room on the file system is the machine's affair, not the images'. */
        if (!xk_has_prefix(f->check->id, "vhd.") || f->check->detail == VHD_P_SPACE)
            continue;
        struct checkup_plant *p = plant_of(demo, f);
        if (p && !p->found) {
            p->found = true;
            continue;
        }
        wrong++;
        xk_buf_printf(ret_text, "  not planted, but found: %s in ", f->check->id);
        xk_add_clean(ret_text, f->object);
        xk_buf_add_char(ret_text, '\n');
    }
    for (size_t i = 0; i < demo->count; i++) {
        const struct checkup_plant *p = &demo->plants[i];
        if (p->found)
            continue;
        wrong++;
        xk_buf_printf(ret_text, "  planted, but not found: %s (%s) in %s\n", p->kind->check_id, p->kind->what, p->path);
    }
    return ret_text->error ? ret_text->error : wrong;
}
