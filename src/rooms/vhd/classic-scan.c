/*
 * vhd-util scan: one line for each image, in the order they are named, parents (with -a) behind them, or all as a tree.
 *
 * It reads 1536 bytes of an image with -f, three pieces otherwise, and never syncs what it only reads. A batch of
 * images is looked at by as many threads as there are processors, then told in order. Names that were seen are kept in
 * a hash table; the original compares each with all.
 */
#include "rooms/vhd/classic-scan.h"

#include "core/crew.h"
#include "core/text.h"
#include "lib/vhd/canon.h"
#include "rooms/vhd/classic-image.h"

#include <fnmatch.h>
#include <glob.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_BYTES_MAX 1024
#define TEXT_BYTES_MAX (512u * XK_MIB)
#define BATCH          512u
#define THREADS_MAX    4u
#define PER_THREAD     32u /* images for which a thread is worth making */

enum kind {
    NOTHING, /* a target that could not be looked at; the original prints a line for it, too */
    RAW_FILE,
    VHD_FILE,
    RAW_VOLUME,
    VHD_VOLUME,
};

struct target {
    enum kind kind;
    const char *name, *device;
    uint64_t bytes, start, end;
};

/* What a line says. */
struct entry {
    const char *name, *parent; /* parent NULL: none */
    uint64_t capacity_bytes, file_bytes;
    uint8_t hidden, marker;
    bool keyhash_set;
    uint8_t hash[32];
    int error;
    const char *message;
    /* in the tree; indices, NO_ENTRY ends */
    size_t first_child, last_child, next_sibling;
    bool has_parent, printed;
};

#define NO_ENTRY SIZE_MAX

/* A set of texts; open addressing, at most half full. */
struct names {
    const char **slots;
    size_t size, count;
};

struct scan {
    struct vhd_classic *classic;
    const char *filter, *group_name;
    bool fast, go_on, tree, parents, verbose, markers;
    struct vhd_classic_group group;
    struct xk_arena arena;
    struct target *targets;
    size_t target_count, target_room;
    struct names known;    /* what is a target already: base names of files, names of volumes */
    struct entry *entries; /* for the tree */
    size_t entry_count, entry_room;
    struct names entry_names;
};

/* ---- names ---- */

static size_t slot_of(const struct names *set, const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const char *c = text; *c; c++)
        hash = (hash ^ (uint8_t)*c) * UINT64_C(1099511628211);
    size_t at = (size_t)(hash & (set->size - 1));
    while (set->slots[at] && strcmp(set->slots[at], text) != 0)
        at = (at + 1) & (set->size - 1);
    return at;
}

/* returns 1: added; 0: it was there; -ENOMEM. The text must stay. */
static int add_name(struct names *set, const char *text)
{
    if (set->count * 2 >= set->size) {
        struct names larger = {.size = set->size ? set->size * 2 : 64, .count = set->count};
        larger.slots = xk_array_alloc(larger.size, sizeof(*larger.slots));
        if (!larger.slots)
            return -ENOMEM;
        for (size_t n = 0; n < set->size; n++) {
            if (set->slots[n])
                larger.slots[slot_of(&larger, set->slots[n])] = set->slots[n];
        }
        free(set->slots);
        *set = larger;
    }
    const size_t at = slot_of(set, text);
    if (set->slots[at])
        return 0;
    set->slots[at] = text;
    set->count++;
    return 1;
}

/* As basename(3). */
static const char *base_of(const char *path)
{
    return *path ? xk_base_name(path) : ".";
}

static bool is_volume(enum kind kind)
{
    return kind == RAW_VOLUME || kind == VHD_VOLUME;
}

static bool is_vhd(enum kind kind)
{
    return kind == VHD_FILE || kind == VHD_VOLUME;
}

/* ---- lines ---- */

static void print_line(struct scan *s, const struct entry *e, int indent)
{
    struct vhd_classic *c = s->classic;
    const char *name = s->verbose ? e->name : base_of(e->name);
    const char *parent = !e->parent ? "none" : s->verbose ? e->parent : base_of(e->parent);

    if (e->error) {
        vhd_classic_say(c, "%*svhd=%s scan-error=%d error-message='%s'\n", indent, "", vhd_classic_clean(c, e->name),
                        e->error, e->message);
        return;
    }
    vhd_classic_say(c, "%*svhd=%s capacity=%" PRIu64 " size=%" PRIu64 " hidden=%u ", indent, "",
                    vhd_classic_clean(c, name), e->capacity_bytes, e->file_bytes, e->hidden);
    if (s->markers) {
        vhd_classic_say(c, "marker=%u keyhash=", e->marker);
        for (size_t n = 0; e->keyhash_set && n < sizeof(e->hash); n++)
            vhd_classic_say(c, "%02x", e->hash[n]);
        vhd_classic_say(c, " ");
    }
    vhd_classic_say(c, "parent=%s%s\n", vhd_classic_clean(c, parent),
                    s->tree && e->parent && !e->has_parent ? " (not found in scan)" : "");
}

static int print_failure(struct scan *s, const char *name, int code)
{
    const struct entry e = {.name = name, .error = code, .message = "failure scanning target"};
    print_line(s, &e, 0);
    return code;
}

/* ---- the tree ---- */

/* Keep a copy for the tree; a name that is there already is dropped. */
static int keep_entry(struct scan *s, const struct entry *e)
{
    if (s->entry_count == s->entry_room) {
        const size_t room = s->entry_room ? s->entry_room * 2 : 64;
        struct entry *entries = xk_realloc(s->entries, room * sizeof(*entries));
        if (!entries)
            return -ENOMEM;
        s->entries = entries;
        s->entry_room = room;
    }
    struct entry *copy = &s->entries[s->entry_count];
    *copy = *e;
    copy->name = xk_arena_strdup(&s->arena, e->name);
    copy->parent = e->parent ? xk_arena_strdup(&s->arena, e->parent) : NULL;
    copy->first_child = copy->last_child = copy->next_sibling = NO_ENTRY;
    if (!copy->name || (e->parent && !copy->parent))
        return -ENOMEM;
    const int added = add_name(&s->entry_names, copy->name);
    if (added > 0)
        s->entry_count++;
    return XK_MIN(added, 0);
}

static int by_entry_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void link_entries(struct scan *s)
{
    if (s->entry_count == 0)
        return;
    qsort(s->entries, s->entry_count, sizeof(*s->entries), by_entry_name);
    for (size_t n = 0; n < s->entry_count; n++) {
        struct entry *e = &s->entries[n];
        const struct entry key = {.name = e->parent};
        struct entry *parent =
            e->parent ? bsearch(&key, s->entries, s->entry_count, sizeof(*s->entries), by_entry_name) : NULL;
        if (!parent)
            continue;
        e->has_parent = true;
        if (parent->last_child == NO_ENTRY)
            parent->first_child = n;
        else
            s->entries[parent->last_child].next_sibling = n;
        parent->last_child = n;
    }
}

struct step {
    size_t entry;
    int depth;
};

/* Push an entry's children with this hidden state so that the first one comes off first. */
static void push_children(const struct scan *s, const struct entry *e, int depth, bool hidden, struct step *stack,
                          size_t *top)
{
    const size_t from = *top;
    for (size_t n = e->first_child; n != NO_ENTRY; n = s->entries[n].next_sibling) {
        if ((s->entries[n].hidden != 0) == hidden && !s->entries[n].printed)
            stack[(*top)++] = (struct step){n, depth};
    }
    for (size_t a = from, b = *top; a + 1 < b; a++) {
        const struct step swap = stack[a];
        stack[a] = stack[--b];
        stack[b] = swap;
    }
}

/* An explicit stack: a chain may be as deep as there are images. Each image is pushed once, by its one parent. */
static void print_tree(struct scan *s, size_t root, struct step *stack)
{
    size_t top = 0;

    stack[top++] = (struct step){root, 0};
    while (top > 0) {
        const struct step at = stack[--top];
        struct entry *e = &s->entries[at.entry];
        if (e->printed)
            continue;
        e->printed = true;
        print_line(s, e, at.depth * 3);
        push_children(s, e, at.depth + 1, true, stack, &top);
        push_children(s, e, at.depth + 1, false, stack, &top);
    }
}

static int print_entries(struct scan *s)
{
    link_entries(s);
    xk_autofree struct step *stack = xk_array_alloc(s->entry_count + 1, sizeof(*stack));
    if (!stack)
        return -ENOMEM;
    /* Hidden roots, other roots, and what is in a loop. */
    for (int pass = 0; pass < 3; pass++) {
        for (size_t n = 0; n < s->entry_count; n++) {
            const struct entry *e = &s->entries[n];
            if (e->printed || (pass < 2 && e->has_parent) || (pass == 0 && !e->hidden))
                continue;
            print_tree(s, n, stack);
        }
    }
    return 0;
}

static void put(struct scan *s, struct entry *e)
{
    if (!e->error && s->tree) {
        e->error = keep_entry(s, e);
        if (!e->error)
            return;
        e->message = "allocating memory";
    }
    print_line(s, e, 0);
}

/* ---- targets ---- */

static struct target *new_target(struct scan *s)
{
    if (s->target_count == s->target_room) {
        const size_t room = s->target_room ? s->target_room * 2 : 64;
        struct target *targets = xk_realloc(s->targets, room * sizeof(*targets));
        if (!targets)
            return NULL;
        s->targets = targets;
        s->target_room = room;
    }
    struct target *t = &s->targets[s->target_count];
    *t = (struct target){.kind = NOTHING, .name = "", .device = ""};
    return t;
}

static int fill_file(struct scan *s, struct target *t, const char *path, enum kind kind)
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

static int fill_volume(struct target *t, const struct vhd_classic_volume *v, enum kind kind)
{
    if (!v->linear)
        return -ENOSYS;
    *t = (struct target){
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
static int add_target(struct scan *s, const char *path, const struct vhd_classic_volume *v)
{
    struct target *t = new_target(s);
    if (!t)
        return -ENOMEM;
    const int code = v ? fill_volume(t, v, VHD_VOLUME) : fill_file(s, t, path, VHD_FILE);
    if (code < 0) {
        print_failure(s, v ? v->name : path, code);
        if (!s->go_on)
            return code;
    }
    s->target_count++;
    return 0;
}

/* glob(3) gives its callback no context. Set only while it runs. */
static _Thread_local struct scan *globbing;

static int glob_failed(const char *path, int error)
{
    return print_failure(globbing, path, error);
}

static int find_matching_files(struct scan *s)
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
        print_failure(s, s->filter, code);
    for (size_t n = 0; n < found.gl_pathc && code == 0; n++)
        code = add_target(s, found.gl_pathv[n], NULL);
    globfree(&found);
    return code;
}

static int find_files(struct scan *s, char **names, int count)
{
    int code = s->filter ? find_matching_files(s) : 0;
    for (int n = 0; n < count && code == 0; n++)
        code = add_target(s, names[n], NULL);
    return code;
}

/* Move the volumes that match to the front, as the original does: the others change their order. */
static int gather(struct scan *s, size_t from, const char *pattern, size_t *ret_matches)
{
    struct vhd_classic_volume *volumes = s->group.volumes + from;
    const size_t count = s->group.count - from;

    for (size_t n = 0; n < count; n++) {
        const int result = fnmatch(pattern, volumes[n].name, FNM_PATHNAME | FNM_EXTMATCH);
        if (result == FNM_NOMATCH)
            continue;
        if (result != 0) {
            print_failure(s, volumes[n].name, result);
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

static int find_volumes(struct scan *s, char **names, int count)
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

static int volume_called(struct scan *s, const char *pattern, const struct vhd_classic_volume **ret)
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

static int know_targets(struct scan *s)
{
    for (size_t n = 0; n < s->target_count; n++) {
        const char *name = s->group_name ? s->targets[n].name : base_of(s->targets[n].name);
        if (add_name(&s->known, name) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int add_parent(struct scan *s, const char *parent, enum kind kind)
{
    const struct vhd_classic_volume *volume = NULL;
    const char *name = is_volume(kind) ? parent : base_of(parent);

    if (s->known.size > 0 && s->known.slots[slot_of(&s->known, name)])
        return 0;
    struct target *t = new_target(s);
    if (!t)
        return -ENOMEM;
    int code = is_volume(kind) ? volume_called(s, parent, &volume) : fill_file(s, t, parent, kind);
    if (code == 0 && volume)
        code = fill_volume(t, volume, kind);
    if (code == 0)
        code = XK_MIN(add_name(&s->known, is_volume(kind) ? t->name : base_of(t->name)), 0);
    if (code == 0)
        s->target_count++;
    return code;
}

/* ---- one image ---- */

static int open_volume(struct entry *e, const struct scan *s, const struct target *t, struct vhd_classic_image *i)
{
    uint8_t buf[VHD_FOOTER_BYTES + VHD_HEADER_BYTES];

    if (t->end - t->start < 4096) {
        e->message = "device too small";
        return -EINVAL;
    }
    e->message = "opening device";
    int code = vhd_classic_image_open_file(i, s->classic, t->device, VHD_CLASSIC_READ);
    if (code < 0 || !is_vhd(t->kind))
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
static int open_target(struct entry *e, const struct scan *s, const struct target *t, struct vhd_classic_image *i,
                       char **ret_own)
{
    e->name = t->name;
    if (!is_volume(t->kind) && s->tree) {
        *ret_own = vhd_canonical_path(t->name);
        if (!*ret_own) {
            e->message = "resolving name";
            return -errno;
        }
        e->name = *ret_own;
    }
    if (is_volume(t->kind))
        return open_volume(e, s, t, i);
    e->message = "opening file";
    return is_vhd(t->kind)
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

static int find_parent(const struct scan *s, const struct target *t, const struct vhd_classic_image *i, char **ret)
{
    int code = -EINVAL;

    if (s->fast)
        code = vhd_classic_parent_name(i, ret);
    else if (!is_volume(t->kind))
        code = vhd_classic_parent(i, true, ret); /* only when it can be read */
    if (code < 0) {
        const struct vhd_locator *l = best_locator(&i->header);
        code = l ? vhd_classic_locator_text(i, l, ret) : -EINVAL;
    }
    return code == 0 && is_volume(t->kind) ? volume_of_path(*ret) : code;
}

static int look(struct entry *e, const struct scan *s, const struct target *t, struct vhd_classic_image *i,
                char **ret_parent)
{
    int code = 0;

    e->file_bytes = t->bytes;
    e->capacity_bytes = is_vhd(t->kind) ? i->footer.current_bytes : t->bytes;
    e->message = "checking 'hidden' field";
    e->hidden = 1; /* a raw parent */
    if (is_vhd(t->kind))
        code = vhd_classic_image_hidden(i, &e->hidden);
    if (code == 0 && s->markers && is_vhd(t->kind)) {
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

/* What one target turned out to be. */
struct found {
    struct entry entry;
    char *own_name, *parent; /* memory of the names in the entry; may be NULL */
    bool raw_parent;
};

struct batch {
    const struct scan *scan;
    size_t first, count; /* of the targets */
    atomic_size_t next;
    struct found found[BATCH];
};

static void examine(const struct scan *s, const struct target *t, struct found *ret)
{
    struct vhd_classic_image image = {.file.fd = -1};
    struct entry *const e = &ret->entry;

    *ret = (struct found){0};
    e->error = open_target(e, s, t, &image, &ret->own_name);
    if (e->error == 0)
        e->error = look(e, s, t, &image, &ret->parent);
    ret->raw_parent = vhd_classic_raw_parent(&image);
    vhd_classic_image_close(&image);
}

static void examine_some(void *context, unsigned which)
{
    struct batch *const b = context;
    size_t n;

    while ((n = atomic_fetch_add(&b->next, 1)) < b->count)
        examine(b->scan, &b->scan->targets[b->first + n], &b->found[n]);
}

static int tell(struct scan *s, enum kind target_kind, struct found *f)
{
    const int result = f->entry.error;

    put(s, &f->entry);
    if (s->parents && f->parent) {
        const enum kind kind =
            is_volume(target_kind) ? (f->raw_parent ? RAW_VOLUME : VHD_VOLUME) : (f->raw_parent ? RAW_FILE : VHD_FILE);
        const int code = add_parent(s, f->parent, kind);
        if (code)
            print_failure(s, f->parent, code);
    }
    return result;
}

static int scan_batch(struct scan *s, struct batch *b)
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

static int scan_all(struct scan *s)
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
    if (s->tree && print_entries(s) < 0)
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

static void scan_done(struct scan *s)
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
    xk_auto(scan_done) struct scan s = {.classic = c, .arena = XK_ARENA_INIT(TEXT_BYTES_MAX)};
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
