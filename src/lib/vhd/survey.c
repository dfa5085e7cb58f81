/*
 * The survey: collect files (walk.c), examine each in a small pool of threads, add parents that lie elsewhere in
 * rounds until none is new, sort, and link (tree.c).
 *
 * Threads share the list of images but write only to the one they took; the lock guards the arena and the counters.
 * More than four threads bring nothing: opening an image is four system calls on cached data, and one disk arm is kept
 * busy by four readers.
 */
#include "lib/vhd/survey-parts.h"

#include "core/crew.h"
#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define ARENA_BYTES_MAX   (512 * XK_MIB)
#define MAP_BYTES_MAX     (64 * XK_MIB) /* of all allocation maps: 20,000 disks of 50 GiB */
#define SOUND_TABLE_BYTES (8 * XK_MIB)  /* twice the table of the largest disk */
#define IMAGES_PER_THREAD 8             /* fewer are not worth a thread */

int survey_add(struct survey_work *w, const char *path, const struct survey_link *link, struct xk_err *err)
{
    struct vhd_survey *const s = w->s;

    if (s->count >= VHD_SURVEY_IMAGES_MAX)
        return xk_fail(err, -E2BIG, "more than %d images", VHD_SURVEY_IMAGES_MAX);
    if (s->count == w->capacity) {
        const size_t capacity = w->capacity ? 2 * w->capacity : 64;
        struct vhd_survey_image *const images = xk_realloc(s->images, capacity * sizeof(*images));
        if (!images)
            return xk_fail_memory(err);
        s->images = images;
        struct survey_link *const links = xk_realloc(w->links, capacity * sizeof(*links));
        if (!links)
            return xk_fail_memory(err);
        w->links = links;
        w->capacity = capacity;
    }
    s->images[s->count] = (struct vhd_survey_image){
        .path = (char *)(uintptr_t)path, /* lives in our own arena */
        .name = xk_base_name(path),
        .parent = VHD_NO_IMAGE,
        .first_child = VHD_NO_IMAGE,
        .next_sibling = VHD_NO_IMAGE,
        .from_folder = !link->named,
    };
    w->links[s->count] = *link;
    s->count++;
    return 0;
}

/* ---- one image ---- */

static char *keep_locked(struct survey_work *w, const char *text)
{
    pthread_mutex_lock(&w->lock);
    char *const kept = survey_keep(w, text);
    pthread_mutex_unlock(&w->lock);
    return kept;
}

static int describe_broken(struct survey_work *w, size_t n, int code, const struct xk_err *why)
{
    struct vhd_survey_image *const image = &w->s->images[n];
    struct stat st;

    /* What can still be told: it takes part in sorting out doubles and in sums. */
    if (stat(image->path, &st) == 0) {
        image->dev = st.st_dev;
        image->ino = st.st_ino;
        image->mtime = st.st_mtime;
        image->file_bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
        image->used_bytes = (uint64_t)st.st_blocks * 512;
        if (S_ISDIR(st.st_mode))
            vhd_problem_add(image->problems, VHD_P_UNREADABLE, XK_CRITICAL, 1, "the folder cannot be listed");
    }
    if (image->problems->count == 0)
        vhd_problem_add(image->problems, code == -EBADMSG ? VHD_P_NOT_VHD : VHD_P_UNREADABLE, XK_CRITICAL, 1, "%s",
                        why->text);
    return image->problems->error;
}

/* What the image says of its parent, when that is not to be found: the name it looks for. */
static int keep_parent_name(struct survey_work *w, struct vhd_survey_image *image, const struct vhd *v)
{
    xk_autofree char *text = NULL;
    int code = -ENOENT;

    for (int i = 0; i < VHD_LOCATORS && code < 0 && code != -ENOMEM; i++)
        code = vhd_locator_text(&text, v, i, NULL);
    if (code < 0 && code != -ENOMEM)
        code = vhd_parent_name(&text, v, NULL);
    if (code == -ENOMEM)
        return code;
    image->parent_text = keep_locked(w, code < 0 ? "" : text);
    return image->parent_text ? 0 : -ENOMEM;
}

static int find_parent(struct survey_work *w, size_t n, const struct vhd *v)
{
    struct vhd_survey_image *const image = &w->s->images[n];
    struct survey_link *const link = &w->links[n];
    xk_autofree char *path = NULL;
    struct xk_err why;
    struct stat st;

    const int code = vhd_find_parent(&path, v, &w->options->search, &why);
    if (code == -ENOMEM)
        return code;
    if (code < 0) {
        vhd_problem_add(image->problems, VHD_P_PARENT_MISSING, XK_CRITICAL, 1, "%s", why.text);
        return keep_parent_name(w, image, v);
    }
    image->parent_text = keep_locked(w, path);
    if (!image->parent_text)
        return -ENOMEM;
    if (stat(path, &st) < 0 || S_ISDIR(st.st_mode)) {
        vhd_problem_add(image->problems, VHD_P_PARENT_MISSING, XK_CRITICAL, 1, "the parent %s is no file", path);
        return 0;
    }
    image->parent_found = true;
    link->has_parent = true;
    link->parent_dev = st.st_dev;
    link->parent_ino = st.st_ino;
    link->parent_mtime = st.st_mtime;
    return 0;
}

/* Which blocks are there, for the overlap with the parent's. Left out when memory for it is used up. */
static int keep_map(struct survey_work *w, size_t n, const struct vhd *v)
{
    const size_t bytes = XK_DIV_UP((size_t)v->blocks, 8);

    if (!v->bat || bytes == 0)
        return 0;
    pthread_mutex_lock(&w->lock);
    const bool room = w->map_bytes + bytes <= MAP_BYTES_MAX;
    w->map_bytes += room ? bytes : 0;
    pthread_mutex_unlock(&w->lock);
    if (!room)
        return 0;
    uint8_t *const map = xk_zalloc(bytes);
    if (!map)
        return -ENOMEM;
    for (uint32_t b = 0; b < v->blocks; b++) {
        if (v->bat[b] != VHD_BAT_FREE)
            vhd_bit_set(map, b);
    }
    w->links[n].map = map;
    return 0;
}

static int describe(struct survey_work *w, size_t n, const struct vhd *v, bool tables, struct xk_err *err)
{
    struct vhd_survey_image *const image = &w->s->images[n];
    struct stat st;

    image->usable = v->header_state == VHD_GOOD || v->footer.type == VHD_FIXED;
    image->file_bytes = v->file_bytes;
    image->dev = v->dev;
    image->ino = v->ino;
    image->mtime = v->mtime;
    image->footer = v->footer;
    if (v->header_state == VHD_GOOD || v->header_state == VHD_DAMAGED)
        image->header = v->header;
    if (v->file.fs->ops->fstat(v->file.fs, v->file.fd, &st) == 0)
        image->used_bytes = (uint64_t)st.st_blocks * 512;
    image->blocks = v->blocks;
    int code = 0;
    if (tables) {
        image->allocated = vhd_allocated(v);
        image->data_end = vhd_data_end(v);
        code = vhd_audit(image->problems, v, &w->options->audit, err);
        if (code == 0)
            code = keep_map(w, n, v);
    }
    if (code == 0 && v->footer.type == VHD_DIFFERENCING && image->usable)
        code = find_parent(w, n, v);
    return code;
}

/* Tables larger than any sound disk's are read by one thread at a time, or four hostile images would take 1 GiB. */
static int open_and_describe(struct survey_work *w, size_t n, struct xk_err *err)
{
    struct vhd_survey_image *const image = &w->s->images[n];
    const bool tables = w->options->tables && (!image->outside || w->options->follow_parents);
    const unsigned flags = VHD_LENIENT | (w->links[n].named ? (unsigned)VHD_DEVICES : 0);
    struct vhd v;

    int code = vhd_open(&v, w->fs, image->path, flags | VHD_NO_TABLES, err);
    if (code == -ENOMEM)
        return code;
    if (code < 0)
        return describe_broken(w, n, code, err);
    bool large = false;
    if (tables) {
        large = v.blocks * sizeof(uint32_t) > SOUND_TABLE_BYTES;
        if (large)
            pthread_mutex_lock(&w->large);
        vhd_close(&v);
        code = vhd_open(&v, w->fs, image->path, flags, err);
        if (code < 0 && code != -ENOMEM)
            code = describe_broken(w, n, code, err);
        else if (code == 0)
            code = describe(w, n, &v, true, err);
    } else {
        code = describe(w, n, &v, false, err);
    }
    vhd_close(&v);
    if (large)
        pthread_mutex_unlock(&w->large);
    return code;
}

static int examine(struct survey_work *w, size_t n, struct xk_err *err)
{
    struct vhd_survey_image *const image = &w->s->images[n];

    if (w->links[n].probe && !vhd_probe(w->fs, image->path)) {
        w->links[n].drop = true;
        return 0;
    }
    pthread_mutex_lock(&w->lock);
    image->problems = xk_arena_alloc(&w->s->arena, sizeof(*image->problems));
    pthread_mutex_unlock(&w->lock);
    if (!image->problems)
        return xk_fail_memory(err);
    xk_autofree char *real = realpath(image->path, NULL);
    image->real_path = keep_locked(w, real ? real : image->path);
    if (!image->real_path)
        return xk_fail_memory(err);

    int code = open_and_describe(w, n, err);
    if (code == 0)
        code = image->problems->error;
    return code == -ENOMEM ? xk_fail_memory(err) : code;
}

/* ---- the pool ---- */

static void work(void *context, unsigned which)
{
    struct survey_work *const w = context;
    struct xk_err err;

    pthread_mutex_lock(&w->lock);
    while (w->next < w->s->count && w->code == 0) {
        const size_t n = w->next++;
        pthread_mutex_unlock(&w->lock);
        xk_err_clear(&err);
        int code = examine(w, n, &err);
        if (code == 0 && xk_stop_signal())
            code = xk_fail(&err, -EINTR, "stopped");
        pthread_mutex_lock(&w->lock);
        if (code < 0 && w->code == 0) {
            w->code = code;
            if (w->err)
                *w->err = err;
        }
        w->done++;
        if (w->options->progress)
            xk_prog_set(w->options->progress, w->done);
    }
    pthread_mutex_unlock(&w->lock);
}

static unsigned thread_count(const struct survey_work *w)
{
    const size_t asked = w->options->threads ? w->options->threads : VHD_SURVEY_THREADS_MAX;
    const size_t useful = 1 + (w->s->count - w->next) / IMAGES_PER_THREAD;
    const size_t most = XK_MIN(asked, (size_t)VHD_SURVEY_THREADS_MAX);
    return (unsigned)XK_MIN(most, useful);
}

/* Examine every image from w->next on. */
static int examine_all(struct survey_work *w)
{
    if (w->options->progress)
        w->options->progress->total = w->s->count;
    xk_crew_run(thread_count(w), XK_CREW_STACK_BYTES, work, w);
    return w->code;
}

/* ---- identities ---- */

int survey_index_make(struct survey_index *ret, size_t images, struct xk_err *err)
{
    size_t slots = 16;

    while (slots < 2 * images)
        slots *= 2;
    *ret = (struct survey_index){.slots = xk_array_alloc(slots, sizeof(*ret->slots)), .mask = slots - 1};
    return ret->slots ? 0 : xk_fail_memory(err);
}

size_t survey_index_find(struct survey_index *index, const struct vhd_survey *s, dev_t dev, ino_t ino, size_t add)
{
    uint64_t hash = ((uint64_t)ino ^ (uint64_t)dev << 32) * UINT64_C(0x9e3779b97f4a7c15);

    hash ^= hash >> 29;
    for (size_t i = (size_t)hash & index->mask;; i = (i + 1) & index->mask) {
        const size_t n = index->slots[i];
        if (n == 0) {
            if (add != VHD_NO_IMAGE)
                index->slots[i] = add + 1;
            return VHD_NO_IMAGE;
        }
        if (s->images[n - 1].dev == dev && s->images[n - 1].ino == ino)
            return n - 1;
    }
}

void survey_index_done(struct survey_index *index)
{
    free(index->slots);
    *index = (struct survey_index){0};
}

/* ---- order ---- */

struct order {
    struct vhd_survey_image image;
    struct survey_link link;
};

static int by_path(const void *one, const void *other)
{
    const struct order *const a = one;
    const struct order *const b = other;
    return strcmp(a->image.path, b->image.path);
}

static void release(struct vhd_survey_image *image, struct survey_link *link)
{
    if (image->problems)
        vhd_problems_done(image->problems);
    free(XK_TAKE(link->map));
}

/* Leave out what is dropped, and sort the rest by path. */
static int sort_images(struct survey_work *w, struct xk_err *err)
{
    struct vhd_survey *const s = w->s;
    xk_autofree struct order *items = xk_array_alloc(s->count, sizeof(*items));
    size_t count = 0;

    if (!items)
        return xk_fail_memory(err);
    for (size_t i = 0; i < s->count; i++) {
        if (w->links[i].drop)
            release(&s->images[i], &w->links[i]);
        else
            items[count++] = (struct order){.image = s->images[i], .link = w->links[i]};
    }
    qsort(items, count, sizeof(*items), by_path);
    for (size_t i = 0; i < count; i++) {
        s->images[i] = items[i].image;
        w->links[i] = items[i].link;
    }
    s->count = count;
    return 0;
}

/* One entry a file: the first by path that is no link. */
static int drop_doubles(struct survey_work *w, struct xk_err *err)
{
    struct vhd_survey *const s = w->s;
    struct survey_index index;

    int code = sort_images(w, err);
    if (code < 0)
        return code;
    code = survey_index_make(&index, s->count, err);
    if (code < 0)
        return code;
    for (int links = 0; links < 2; links++) {
        for (size_t i = 0; i < s->count; i++) {
            const struct vhd_survey_image *const image = &s->images[i];
            if (w->links[i].symlink != (links == 1) || image->ino == 0)
                continue;
            const size_t first = survey_index_find(&index, s, image->dev, image->ino, i);
            w->links[i].drop = first != VHD_NO_IMAGE;
            /* Found in a folder is the stronger word: its neighbours are known. */
            if (first != VHD_NO_IMAGE && image->from_folder)
                s->images[first].from_folder = true;
        }
    }
    survey_index_done(&index);
    return sort_images(w, err);
}

/* Add the parents that are not there yet, as the images [s->count before, after). */
static int add_parents(struct survey_work *w, size_t from, struct survey_index *index, struct xk_err *err)
{
    struct vhd_survey *const s = w->s;
    const size_t to = s->count;

    for (size_t i = from; i < to; i++) {
        const struct survey_link link = w->links[i];
        if (!link.has_parent || vhd_uuid_is_null(s->images[i].header.parent_uuid))
            continue;
        /* The identity must be in the new image before the next one asks for it. */
        const size_t n = survey_index_find(index, s, link.parent_dev, link.parent_ino, s->count);
        if (n != VHD_NO_IMAGE)
            continue;
        const struct survey_link parent = {.named = true};
        const int code = survey_add(w, s->images[i].parent_text, &parent, err);
        if (code < 0)
            return code;
        struct vhd_survey_image *const added = &s->images[s->count - 1];
        added->outside = true;
        added->dev = link.parent_dev;
        added->ino = link.parent_ino;
    }
    return 0;
}

/* Parents of parents …: each round examines what the last one added. */
static int gather_parents(struct survey_work *w, struct xk_err *err)
{
    struct vhd_survey *const s = w->s;
    size_t from = 0;

    for (;;) {
        struct survey_index index;
        /* At most one new parent for each image of this round. */
        int code = survey_index_make(&index, s->count + (s->count - from), err);
        if (code < 0)
            return code;
        for (size_t i = 0; i < s->count; i++)
            (void)survey_index_find(&index, s, s->images[i].dev, s->images[i].ino, i);
        const size_t before = s->count;
        code = add_parents(w, from, &index, err);
        survey_index_done(&index);
        if (code < 0)
            return code;
        if (s->count == before)
            return 0;
        from = before;
        w->next = before;
        code = examine_all(w);
        if (code < 0)
            return code;
    }
}

static int run(struct survey_work *w, const char *const *targets, size_t count, struct xk_err *err)
{
    for (size_t i = 0; i < count; i++) {
        const int code = survey_walk(w, targets[i], err);
        if (code < 0)
            return code;
    }
    int code = examine_all(w);
    if (code == 0)
        code = drop_doubles(w, err);
    if (code == 0)
        code = gather_parents(w, err);
    if (code == 0)
        code = sort_images(w, err);
    if (code == 0)
        code = survey_link_trees(w, err);
    return code;
}

int vhd_survey_run(struct vhd_survey *ret, const struct xk_fs *fs, const char *const *targets, size_t count,
                   const struct vhd_survey_options *options, struct xk_err *err)
{
    const struct vhd_survey_options none = {0};
    struct survey_work w = {
        .s = ret,
        .fs = fs,
        .options = options ? options : &none,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .large = PTHREAD_MUTEX_INITIALIZER,
        .err = err,
    };

    *ret = (struct vhd_survey){.arena = XK_ARENA_INIT(ARENA_BYTES_MAX)};
    const int code = run(&w, targets, count, err);
    for (size_t i = 0; i < w.capacity && i < ret->count; i++)
        free(w.links[i].map);
    free(w.links);
    pthread_mutex_destroy(&w.lock);
    pthread_mutex_destroy(&w.large);
    if (code < 0)
        vhd_survey_done(ret);
    return code;
}

void vhd_survey_done(struct vhd_survey *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->images[i].problems)
            vhd_problems_done(s->images[i].problems);
    }
    free(s->images);
    free(s->file_systems);
    xk_arena_done(&s->arena);
    *s = (struct vhd_survey){0};
}
