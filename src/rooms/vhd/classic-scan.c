/*
 * vhd-util scan: one line for each image, in the order they are named, parents (with -a) behind them, or all as a tree.
 *
 * It reads 1536 bytes of an image with -f, three pieces otherwise, and never syncs what it only reads. A batch of
 * images is looked at by as many threads as there are processors, then told in order. Names that were seen are kept in
 * a hash table; the original compares each with all.
 */
#include "rooms/vhd/classic-scan-parts.h"

#include "core/crew.h"

#include <fnmatch.h>
#include <glob.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_BYTES_MAX 1024
#define TEXT_BYTES_MAX (512u * XK_MIB)
#define BATCH          512u
#define THREADS_MAX    4u
#define PER_THREAD     32u /* images for which a thread is worth making */

/* ---- targets ---- */

static struct vhd_scan_target *new_target(struct vhd_scan *s)
{
    if (s->target_count == s->target_room) {
        const size_t room = s->target_room ? s->target_room * 2 : 64;
        struct vhd_scan_target *targets = xk_realloc(s->targets, room * sizeof(*targets));
        if (!targets)
            return NULL;
        s->targets = targets;
        s->target_room = room;
    }
    struct vhd_scan_target *t = &s->targets[s->target_count];
    *t = (struct vhd_scan_target){.kind = VHD_SCAN_NOTHING, .name = "", .device = ""};
    return t;
}

static int fill_file(struct vhd_scan *s, struct vhd_scan_target *t, const char *path, enum vhd_scan_kind kind)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return -errno;
    if (strlen(path) >= NAME_BYTES_MAX)
        return -ENAMETOOLONG;
    t->name = t->device = xk_arena_strdup(&s->arena, path);
    if (!t->name) {
        t->name = t->device = "";
        return -ENOMEM;
    }
    t->kind = kind;
    t->bytes = t->end = (uint64_t)st.st_size;
    return 0;
}

static int fill_volume(struct vhd_scan_target *t, const struct vhd_classic_volume *v, enum vhd_scan_kind kind)
{
    if (!v->linear)
        return -ENOSYS;
    *t = (struct vhd_scan_target){
        .kind = kind,
        .name = v->name,
        .device = v->device,
        .bytes = v->bytes,
        .start = v->start,
        .end = v->start + XK_MIN(v->segment_bytes, UINT64_MAX - v->start),
    };
    return 0;
}

/* A target that was asked for; one that cannot be had is told, and with -c counts as nothing. */
static int add_target(struct vhd_scan *s, const char *path, const struct vhd_classic_volume *v)
{
    struct vhd_scan_target *t = new_target(s);
    if (!t)
        return -ENOMEM;
    const int code = v ? fill_volume(t, v, VHD_SCAN_VHD_VOLUME) : fill_file(s, t, path, VHD_SCAN_VHD_FILE);
    if (code < 0) {
        vhd_scan_tell_failure(s, v ? v->name : path, code);
        if (!s->go_on)
            return code;
    }
    s->target_count++;
    return 0;
}

/* glob(3) gives its callback no context. Set only while it runs. */
static _Thread_local struct vhd_scan *globbing;

static int glob_failed(const char *path, int error)
{
    return vhd_scan_tell_failure(globbing, path, error);
}

static int find_matching_files(struct vhd_scan *s)
{
    glob_t found = {0};

    globbing = s;
    errno = 0;
    int code = glob(s->filter, (s->fast ? GLOB_NOSORT : 0) | GLOB_BRACE, glob_failed, &found);
    const int why = errno;
    globbing = NULL;
    switch (code) {
    case 0:
        break;
    case GLOB_NOSPACE:
        code = -ENOMEM;
        break;
    case GLOB_ABORTED:
        code = -EIO;
        break;
    default:
        code = -why; /* 0: the folder is there and nothing in it matches */
        break;
    }
    if (code < 0)
        vhd_scan_tell_failure(s, s->filter, code);
    for (size_t n = 0; n < found.gl_pathc && code == 0; n++)
        code = add_target(s, found.gl_pathv[n], NULL);
    globfree(&found);
    return code;
}

static int find_files(struct vhd_scan *s, char **names, int count)
{
    int code = s->filter ? find_matching_files(s) : 0;
    for (int n = 0; n < count && code == 0; n++)
        code = add_target(s, names[n], NULL);
    return code;
}

/* Move the volumes that match to the front, as the original does: the others change their order. */
static int gather(struct vhd_scan *s, size_t from, const char *pattern, size_t *ret_matches)
{
    struct vhd_classic_volume *volumes = s->group.volumes + from;
    const size_t count = s->group.count - from;

    for (size_t n = 0; n < count; n++) {
        const int result = fnmatch(pattern, volumes[n].name, FNM_PATHNAME | FNM_EXTMATCH);
        if (result == FNM_NOMATCH)
            continue;
        if (result != 0) {
            vhd_scan_tell_failure(s, volumes[n].name, result);
            if (!s->go_on)
                return result;
            continue;
        }
        const struct vhd_classic_volume match = volumes[n];
        volumes[n] = volumes[*ret_matches];
        volumes[(*ret_matches)++] = match;
    }
    return 0;
}

static int find_volumes(struct vhd_scan *s, char **names, int count)
{
    size_t total = 0;

    int code = vhd_classic_group_open(&s->group, s->classic, s->group_name);
    if (code < 0) {
        vhd_classic_complain(s->classic, "lvm_scan_vg failed %d\n", code);
        return code;
    }
    if (s->filter)
        code = gather(s, 0, s->filter, &total);
    if (code != 0) {
        vhd_classic_complain(s->classic, "vhd_util_scan_sort_volumes failed %d\n", code);
        return code;
    }
    for (int n = 0; n < count && code == 0; n++) {
        size_t matches = 0;
        code = gather(s, total, names[n], &matches);
        total += matches;
    }
    for (size_t n = 0; n < total && code == 0; n++)
        code = add_target(s, NULL, &s->group.volumes[n]);
    return code;
}

/* ---- parents as further targets ---- */

static int volume_called(struct vhd_scan *s, const char *pattern, const struct vhd_classic_volume **ret)
{
    for (size_t n = 0; n < s->group.count; n++) {
        const int result = fnmatch(pattern, s->group.volumes[n].name, FNM_PATHNAME | FNM_EXTMATCH);
        if (result == FNM_NOMATCH)
            continue;
        *ret = &s->group.volumes[n];
        return result;
    }
    return -ENOENT;
}

static int know_targets(struct vhd_scan *s)
{
    for (size_t n = 0; n < s->target_count; n++) {
        const char *name = s->group_name ? s->targets[n].name : vhd_scan_base_name(s->targets[n].name);
        if (vhd_scan_names_add(&s->known, name) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int add_parent(struct vhd_scan *s, const char *parent, enum vhd_scan_kind kind)
{
    const struct vhd_classic_volume *volume = NULL;
    const char *name = vhd_scan_is_volume(kind) ? parent : vhd_scan_base_name(parent);

    if (vhd_scan_names_have(&s->known, name))
        return 0;
    struct vhd_scan_target *t = new_target(s);
    if (!t)
        return -ENOMEM;
    int code = vhd_scan_is_volume(kind) ? volume_called(s, parent, &volume) : fill_file(s, t, parent, kind);
    if (code == 0 && volume)
        code = fill_volume(t, volume, kind);
    if (code == 0)
        code =
            XK_MIN(vhd_scan_names_add(&s->known, vhd_scan_is_volume(kind) ? t->name : vhd_scan_base_name(t->name)), 0);
    if (code == 0)
        s->target_count++;
    return code;
}

/* ---- all of them ---- */

/* What one target turned out to be. */
struct found {
    struct vhd_scan_entry entry;
    char *own_name, *parent; /* memory of the names in the entry; may be NULL */
    bool raw_parent;
};

struct batch {
    const struct vhd_scan *scan;
    size_t first, count; /* of the targets */
    atomic_size_t next;
    struct found found[BATCH];
};

static void examine_some(void *context, unsigned which)
{
    struct batch *const b = context;
    size_t n;

    while ((n = atomic_fetch_add(&b->next, 1)) < b->count) {
        struct found *const f = &b->found[n];
        vhd_scan_image_look(&f->entry, b->scan, &b->scan->targets[b->first + n], &f->own_name, &f->parent,
                            &f->raw_parent);
    }
}

static int tell(struct vhd_scan *s, enum vhd_scan_kind target_kind, struct found *f)
{
    const int result = f->entry.error;

    vhd_scan_tell(s, &f->entry);
    if (s->parents && f->parent) {
        const enum vhd_scan_kind kind = vhd_scan_is_volume(target_kind)
                                            ? (f->raw_parent ? VHD_SCAN_RAW_VOLUME : VHD_SCAN_VHD_VOLUME)
                                            : (f->raw_parent ? VHD_SCAN_RAW_FILE : VHD_SCAN_VHD_FILE);
        const int code = add_parent(s, f->parent, kind);
        if (code)
            vhd_scan_tell_failure(s, f->parent, code);
    }
    return result;
}

static int scan_batch(struct vhd_scan *s, struct batch *b)
{
    int code = 0;

    atomic_store(&b->next, 0);
    xk_crew_run(XK_MIN(XK_MIN(xk_processors(), THREADS_MAX), 1 + (unsigned)b->count / PER_THREAD), XK_CREW_STACK_BYTES,
                examine_some, b);
    for (size_t n = 0; n < b->count; n++) {
        struct found *const f = &b->found[n];
        if (code == 0 || s->go_on)
            code = tell(s, s->targets[b->first + n].kind, f);
        free(f->own_name);
        free(f->parent);
    }
    return code;
}

static int scan_all(struct vhd_scan *s)
{
    xk_autofree struct batch *b = xk_alloc(sizeof(*b));
    int code = b ? 0 : -ENOMEM;

    if (code == 0 && s->parents)
        code = know_targets(s);
    /* Parents that are found become targets, too. */
    for (size_t n = 0; code == 0 && n < s->target_count; n += b->count) {
        b->scan = s;
        b->first = n;
        b->count = XK_MIN(s->target_count - n, (size_t)BATCH);
        code = xk_stop_signal() ? -EINTR : scan_batch(s, b);
        if (code < 0 && code != -EINTR && s->go_on)
            code = 0;
    }
    if (s->tree && vhd_scan_tell_tree(s) < 0)
        vhd_classic_complain(s->classic, "scan failed: no memory\n");
    return code;
}

/* ---- the command ---- */

static int usage(struct vhd_classic *c, int result)
{
    vhd_classic_say(c, "usage: [OPTIONS] FILES\n"
                       "options: [-m match filter] [-f fast] [-c continue on failure] "
                       "[-l LVM volume] [-p pretty print] [-a scan parents] "
                       "[-v verbose] [-h help] [-M show markers]\n");
    return result;
}

static void scan_done(struct vhd_scan *s)
{
    vhd_classic_group_close(&s->group);
    xk_arena_done(&s->arena);
    free(s->targets);
    free(s->known.slots);
    free(s->entries);
    free(s->entry_names.slots);
}

int vhd_classic_scan(struct vhd_classic *c, int argc, char **argv)
{
    xk_auto(scan_done) struct vhd_scan s = {.classic = c, .arena = XK_ARENA_INIT(TEXT_BYTES_MAX)};
    int letter;

    struct vhd_classic_options o = vhd_classic_options(c, argc, argv, "m:fcl:pavMh");
    while ((letter = vhd_classic_option(&o)) != -1) {
        switch (letter) {
        case 'm':
            s.filter = o.value;
            break;
        case 'f':
            s.fast = true;
            break;
        case 'c':
            s.go_on = true;
            break;
        case 'l':
            s.group_name = o.value;
            break;
        case 'p':
            s.tree = true;
            break;
        case 'a':
            s.parents = true;
            break;
        case 'v':
            s.verbose = true;
            break;
        case 'M':
            s.markers = true;
            break;
        case 'h':
            return usage(c, 0);
        default:
            return usage(c, -EINVAL);
        }
    }
    if (!s.filter && o.operand_count == 0)
        return usage(c, -EINVAL);
    if (s.tree)
        s.fast = false;

    const int code =
        s.group_name ? find_volumes(&s, o.operands, o.operand_count) : find_files(&s, o.operands, o.operand_count);
    if (code != 0) {
        vhd_classic_complain(c, "scan failed: %d. Check syslog for details\n", code);
        return code;
    }
    return scan_all(&s);
}
