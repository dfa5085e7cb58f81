/*
 * Each thread takes the next unit of the disk, reads it, looks for zeros, waits for its turn to get a place in the
 * target (so that the layout does not depend on who was quicker), and writes it. Taking and placing have a lock each: a
 * slow input does not hold up those who write.
 *
 * A file that the disk must have before it gets its name is written past the page cache where that can be done
 * (reserve.c). Otherwise its pages are given to the disk in pieces of some MiB while the work goes on: the fsync then
 * has little left to wait for, and the memory of the page cache is used again instead of growing by the size of the
 * disk. Mapping the target would turn a full disk into a signal.
 */
#include "lib/convert/inner.h"

#include "core/bytes.h"
#include "core/crew.h"
#include "lib/volume/compare.h"

#include <assert.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>

const char *const convert_format_names[] = {"raw", "vhd", "vhd-fixed", "qcow2", NULL};

#define BEHIND_BYTES (16u << 20)  /* given to the disk at once */
#define BEHIND_LAG   3            /* pieces on their way before we wait for the oldest */
#define CACHE_SHARE  4            /* a target larger than this part of the memory is not kept in the page cache */
#define CACHED_BYTES (512u << 10) /* written through the page cache at once */
#define ZEROS_BYTES  65536u

struct range {
    uint64_t from, to;
};

struct engine {
    const struct convert *how;
    struct convert_target *target;
    bool cloning;
    bool keep_cached;

    pthread_mutex_t taking;
    struct convert_cursor cursor;
    uint64_t pulled; /* bytes of a pulled input */
    bool ended;      /* it has no more */
    uint64_t next_ticket;
    atomic_bool hole_seen;

    pthread_mutex_t turning;
    pthread_cond_t turned[CONVERT_THREADS_MAX]; /* tickets that wait differ by less than that */
    uint64_t turn;                              /* the ticket that may be placed */
    uint64_t data_bytes;
    atomic_bool failed;
    int code;
    struct xk_err err;

    pthread_mutex_t trailing;
    uint64_t begun, waiting_bytes;
    struct range behind[BEHIND_LAG]; /* [0] is the oldest */
};

struct worker {
    struct engine *engine;
    struct convert_unit unit;
    uint8_t *memory;
};

/* ---- what targets use ---- */

/*
 * In pieces of less than 2 MiB, at their natural places: what the kernel copies then comes out of the processor's
 * cache, and it goes into pages that are in use already. An aligned write of 2 MiB gets a huge page, and in a virtual
 * machine that gives its free huge pages back to the host each one comes with a fault there: measured ten times as
 * slow.
 */
static int write_cached(struct convert_target *t, const uint8_t *buf, size_t bytes, uint64_t offset, struct xk_err *err)
{
    int code = 0;

    pthread_mutex_lock(&t->writing);
    while (bytes && code == 0) {
        const size_t part = XK_MIN(bytes, (size_t)(CACHED_BYTES - offset % CACHED_BYTES));
        code = xk_file_write(t->file, buf, part, offset, err);
        buf += part;
        offset += part;
        bytes -= part;
    }
    pthread_mutex_unlock(&t->writing);
    return code;
}

int convert_write(struct convert_target *t, const void *buf, size_t bytes, uint64_t offset, struct xk_err *err)
{
    int code = -EINVAL;

    if (atomic_load(&t->direct)) {
        code = xk_file_write(t->file, buf, bytes, offset, err);
        if (code != -EINVAL)
            return code;
        xk_err_clear(err); /* it has rules that ours do not meet */
        convert_direct_end(t);
    }
    return write_cached(t, buf, bytes, offset, err);
}

/* The head, and the pages that are filled. */
static int put_pages(struct convert_target *t, const struct convert_unit *u, struct xk_err *err)
{
    const uint64_t offset = u->place + t->head_bytes;
    size_t head = t->head_bytes; /* of the first piece */

    for (size_t from = 0; from < CONVERT_PAGES;) {
        size_t to = from;
        while (to < CONVERT_PAGES && convert_page_filled(u, to))
            to++;
        if (to > from || head) {
            const size_t at = from * CONVERT_PAGE;
            /* Behind the last page's bytes are zeros; a file that grew by them is cut when it is finished. */
            const size_t end = atomic_load(&t->direct) ? to * CONVERT_PAGE : XK_MIN(to * CONVERT_PAGE, u->bytes);
            const int code = convert_write(t, u->data + at - head, end - at + head, offset + at - head, err);
            if (code < 0)
                return code;
            head = 0;
        }
        from = to + 1;
    }
    return 0;
}

int convert_put(struct convert_target *t, struct convert_unit *u, struct xk_err *err)
{
    if (u->clone) {
        if (xk_file_clone(t->file, u->place + t->head_bytes, u->clone, u->clone_offset, u->bytes) == 0)
            return t->head_bytes ? convert_write(t, u->data - t->head_bytes, t->head_bytes, u->place, err) : 0;
        const int code = xk_file_read(u->clone, u->data, u->bytes, u->clone_offset, err);
        if (code < 0)
            return code;
    }
    return t->in_place ? convert_write(t, u->data - t->head_bytes, t->head_bytes + u->bytes, u->place, err)
                       : put_pages(t, u, err);
}

int convert_push_bytes(struct convert_target *t, const void *buf, size_t bytes, struct xk_err *err)
{
    const int code = t->how->push(t->how->push_context, buf, bytes, err);

    t->pushed += bytes;
    return code;
}

int convert_push_zeros_to(struct convert_target *t, uint64_t position, struct xk_err *err)
{
    static const uint8_t zeros[ZEROS_BYTES];
    int code = 0;

    assert(position >= t->pushed);
    while (code == 0 && t->pushed < position) {
        code = convert_push_bytes(t, zeros, (size_t)XK_MIN((uint64_t)ZEROS_BYTES, position - t->pushed), err);
        if (code == 0 && xk_stop_signal())
            code = xk_fail(err, -EINTR, "stopped at byte %llu of the output", (unsigned long long)t->pushed);
    }
    return code;
}

int convert_zero_device(struct convert_target *t, uint64_t from, uint64_t to, struct xk_err *err)
{
    static const uint8_t zeros[ZEROS_BYTES];
    const struct xk_fs *const fs = t->file->fs;
    int code = 0;

    if (from >= to || fs->ops->allocate(fs, t->file->fd, FALLOC_FL_ZERO_RANGE, from, to - from) == 0)
        return 0;
    while (code == 0 && from < to) {
        const size_t bytes = (size_t)XK_MIN((uint64_t)ZEROS_BYTES, to - from);
        code = convert_write(t, zeros, bytes, from, err);
        from += bytes;
        if (code == 0 && xk_stop_signal())
            code = xk_fail(err, -EINTR, "stopped at byte %llu of %s", (unsigned long long)from, t->how->path);
    }
    return code;
}

/* ---- reading ---- */

struct reading {
    const struct engine *engine;
    struct convert_unit *unit;
    struct xk_err *err;
};

static void touch(struct convert_unit *u, size_t from, size_t to)
{
    for (size_t page = from / CONVERT_PAGE; page < XK_DIV_UP(to, CONVERT_PAGE); page++)
        u->taken[page / 64] |= UINT64_C(1) << (page % 64);
}

static bool can_clone(const struct reading *r, const struct volume_extent *e)
{
    return r->engine->cloning && e->file && e->bytes == CONVERT_UNIT && e->file_offset % CONVERT_PAGE == 0;
}

/* The parts of pages at both ends of a hole: data may lie beside them. Pages in between are nobody's yet. */
static void clear_edges(struct convert_unit *u, size_t from, size_t to)
{
    const size_t head = XK_MIN(XK_ROUND_UP(from, (size_t)CONVERT_PAGE), to);
    const size_t tail = XK_MAX(to / CONVERT_PAGE * CONVERT_PAGE, head);

    memset(u->data + from, 0, head - from);
    memset(u->data + tail, 0, to - tail);
}

/* The pages that were not read but go out with those that were. */
static void clear_gaps(struct convert_unit *u, size_t grain_bytes)
{
    const size_t pages = XK_MAX(grain_bytes / CONVERT_PAGE, (size_t)1);

    for (size_t first = 0; pages > 1 && first < CONVERT_PAGES; first += pages) {
        bool any = false;
        for (size_t page = first; page < first + pages; page++)
            any |= convert_page_filled(u, page);
        for (size_t page = first; any && page < first + pages; page++) {
            if (!convert_page_taken(u, page))
                memset(u->data + page * CONVERT_PAGE, 0, CONVERT_PAGE);
        }
    }
}

static int read_extent(void *context, const struct volume_extent *e)
{
    struct reading *const r = context;
    struct convert_unit *const u = r->unit;
    const size_t at = (size_t)(e->start - u->start);

    if (e->kind != VOLUME_DATA) {
        clear_edges(u, at, at + (size_t)e->bytes);
        return 0;
    }
    u->promised = true;
    if (can_clone(r, e)) {
        u->clone = e->file;
        u->clone_offset = e->file_offset;
        return 0;
    }
    touch(u, at, at + (size_t)e->bytes);
    if (e->file)
        return xk_file_read(e->file, u->data + at, (size_t)e->bytes, e->file_offset, r->err);
    return volume_read(r->engine->how->source, u->data + at, (size_t)e->bytes, e->start, r->err);
}

/* Of the pages that were taken, those that hold something else than zeros. */
static void find_filled(struct convert_unit *u)
{
    u->any = false;
    for (size_t i = 0; i < XK_COUNT(u->filled); i++) {
        u->filled[i] = 0;
        for (uint64_t left = u->taken[i]; left; left &= left - 1) {
            const size_t page = i * 64 + (size_t)__builtin_ctzll(left);
            if (!xk_is_zero(u->data + page * CONVERT_PAGE, CONVERT_PAGE))
                u->filled[i] |= left & -left;
        }
        u->any |= u->filled[i] != 0;
    }
}

static int read_unit(struct engine *e, struct convert_unit *u, struct xk_err *err)
{
    struct reading r = {.engine = e, .unit = u, .err = err};

    u->clone = NULL;
    u->promised = false;
    memset(u->taken, 0, sizeof(u->taken));
    memset(u->data + u->bytes, 0, CONVERT_UNIT - u->bytes);
    const int code = volume_map(e->how->source, u->start, u->bytes, read_extent, &r, err);
    if (code < 0)
        return code;
    if (!u->promised)
        atomic_store(&e->hole_seen, true);
    if (u->clone) {
        memset(u->filled, 0xff, sizeof(u->filled));
        u->any = true;
    } else {
        find_filled(u);
        clear_gaps(u, e->target->grain_bytes);
    }
    return 0;
}

/* ---- taking ---- */

static int pull_all(struct engine *e, uint8_t *buf, size_t bytes, size_t *ret_got, struct xk_err *err)
{
    *ret_got = 0;
    while (*ret_got < bytes && !e->ended) {
        const ssize_t got = e->how->pull(e->how->pull_context, buf + *ret_got, bytes - *ret_got, err);
        /* The signal may have cut the read itself short. */
        if (got < 0 && !(got == -EINTR && xk_stop_signal()))
            return (int)got;
        e->ended = got == 0;
        *ret_got += got > 0 ? (size_t)got : 0;
        if (xk_stop_signal())
            return xk_fail(err, -EINTR, "stopped at byte %llu of the input",
                           (unsigned long long)(e->pulled + *ret_got));
    }
    return 0;
}

static int pull_unit(struct engine *e, struct convert_unit *u, struct xk_err *err)
{
    const uint64_t wanted = e->how->pull_bytes;
    uint8_t more;
    size_t got;

    u->start = e->pulled;
    const size_t room = wanted ? (size_t)XK_MIN(wanted - e->pulled, (uint64_t)CONVERT_UNIT) : CONVERT_UNIT;
    int code = pull_all(e, u->data, room, &u->bytes, err);
    if (code < 0)
        return code;
    e->pulled += u->bytes;
    memset(u->data + u->bytes, 0, CONVERT_UNIT - u->bytes);
    if (wanted && e->pulled == wanted) {
        code = pull_all(e, &more, 1, &got, err);
        if (code == 0 && got)
            code = xk_fail(err, -EFBIG, "the input has more than the %llu bytes that were announced",
                           (unsigned long long)wanted);
        e->ended = true;
    }
    return code < 0 ? code : u->bytes > 0;
}

/* returns 1: there is a unit; 0: no more; a negative errno value. */
static int take(struct engine *e, struct convert_unit *u, struct xk_err *err)
{
    int code;

    pthread_mutex_lock(&e->taking);
    if (atomic_load(&e->failed)) {
        code = 0;
    } else if (e->how->source) {
        if (atomic_exchange(&e->hole_seen, false))
            e->cursor.scanning = true;
        code = convert_cursor_next(&e->cursor, &u->start, err);
        if (code > 0)
            u->bytes = (size_t)XK_MIN(e->how->source->size_bytes - u->start, (uint64_t)CONVERT_UNIT);
    } else {
        code = e->ended ? 0 : pull_unit(e, u, err);
    }
    if (code > 0)
        u->ticket = e->next_ticket++;
    pthread_mutex_unlock(&e->taking);
    return code;
}

/* ---- placing and writing ---- */

static void fail(struct engine *e, int code, const struct xk_err *err)
{
    pthread_mutex_lock(&e->turning);
    if (!e->code) {
        e->code = code;
        e->err = *err;
    }
    atomic_store(&e->failed, true);
    for (size_t i = 0; i < CONVERT_THREADS_MAX; i++)
        pthread_cond_broadcast(&e->turned[i]);
    pthread_mutex_unlock(&e->turning);
}

static uint64_t filled_bytes(const struct convert_unit *u)
{
    uint64_t pages = 0;

    for (size_t i = 0; i < XK_COUNT(u->filled); i++)
        pages += (unsigned)__builtin_popcountll(u->filled[i]);
    return pages * CONVERT_PAGE;
}

/* returns 1: placed; 0: another thread failed; a negative errno value. */
static int place_in_turn(struct engine *e, struct convert_unit *u, struct xk_err *err)
{
    const struct convert *const how = e->how;
    int code = 0;

    pthread_mutex_lock(&e->turning);
    while (e->turn != u->ticket && !e->code)
        pthread_cond_wait(&e->turned[u->ticket % CONVERT_THREADS_MAX], &e->turning);
    if (!e->code) {
        convert_reserve(e->target, u->start);
        code = e->target->ops->place(e->target, u, err);
        if (u->place == CONVERT_NOWHERE && u->promised)
            atomic_store(&e->target->reserve.shifted, true);
        e->data_bytes += filled_bytes(u);
        if (code == 0 && how->progress)
            how->progress(how->progress_context, u->start + u->bytes);
        e->turn++;
        pthread_cond_signal(&e->turned[e->turn % CONVERT_THREADS_MAX]);
        code = code < 0 ? code : 1;
    }
    pthread_mutex_unlock(&e->turning);
    return code;
}

/* Everything up to `to` was written, but for what other threads have in hand; that will go with the fsync. */
static void write_behind(struct engine *e, uint64_t to, uint64_t bytes)
{
    struct range next = {0};
    struct range oldest = {0};

    if (!convert_waits(e->how))
        return;
    pthread_mutex_lock(&e->trailing);
    e->waiting_bytes += bytes;
    if (e->waiting_bytes >= BEHIND_BYTES && to > e->begun) {
        next = (struct range){e->begun, to};
        oldest = e->behind[0];
        memmove(e->behind, e->behind + 1, sizeof(e->behind) - sizeof(e->behind[0]));
        e->behind[BEHIND_LAG - 1] = next;
        e->begun = to;
        e->waiting_bytes = 0;
    }
    pthread_mutex_unlock(&e->trailing);
    if (next.to > next.from)
        xk_file_write_behind(e->target->file, next.from, next.to - next.from, false);
    if (!e->keep_cached && oldest.to > oldest.from)
        xk_file_write_behind(e->target->file, oldest.from, oldest.to - oldest.from, true);
}

static int work_on(struct engine *e, struct convert_unit *u, struct xk_err *err)
{
    struct convert_target *const t = e->target;
    int code = 0;

    if (e->how->source) {
        code = read_unit(e, u, err);
    } else {
        memset(u->taken, 0xff, sizeof(u->taken));
        find_filled(u);
    }
    u->place = CONVERT_NOWHERE;
    if (code == 0)
        code = place_in_turn(e, u, err);
    if (code <= 0 || !t->file)
        return code < 0 ? code : 0;
    convert_release(t, u);
    if (!u->any)
        return 0;
    code = t->ops->write(t, u, err);
    if (code == 0 && !atomic_load(&t->direct))
        write_behind(e, u->place + CONVERT_UNIT, filled_bytes(u));
    return code;
}

static void work(void *context, unsigned which)
{
    struct worker *const w = &((struct worker *)context)[which];
    struct xk_err err;
    int code;

    while ((code = take(w->engine, &w->unit, &err)) > 0) {
        code = work_on(w->engine, &w->unit, &err);
        if (code < 0)
            break;
    }
    if (code < 0)
        fail(w->engine, code, &err);
}

/* All memory is taken before the first thread begins. */
static int run_crew(struct engine *e, struct xk_err *err)
{
    const unsigned threads = convert_thread_count(e->how->threads);
    struct worker workers[CONVERT_THREADS_MAX] = {0};
    bool enough = true;

    for (unsigned i = 0; i < threads && enough; i++) {
        struct worker *const w = &workers[i];
        w->engine = e;
        w->memory = xk_alloc(CONVERT_UNIT + 2 * CONVERT_PAGE);
        enough = w->memory != NULL;
        if (enough) {
            uint8_t *const aligned = w->memory + (CONVERT_PAGE - (uintptr_t)w->memory % CONVERT_PAGE) % CONVERT_PAGE;
            w->unit.data = aligned + CONVERT_PAGE;
        }
    }
    if (enough)
        xk_crew_run(threads, VOLUME_STACK_BYTES, work, workers);
    for (unsigned i = 0; i < threads; i++)
        free(workers[i].memory);
    if (!enough)
        return xk_fail_memory(err);
    if (e->code && err)
        *err = e->err;
    return e->code;
}

/* ---- the whole ---- */

static int check_combination(const struct convert *how, struct xk_err *err)
{
    const char *wrong = NULL;

    if (!how->path && how->to == CONVERT_QCOW2)
        wrong = "a qcow2 cannot be written to a pipe: its tables would have to go back";
    else if (!how->path && !how->source && how->to == CONVERT_VHD)
        wrong = "a dynamic VHD cannot go from a pipe to a pipe: its tables come first";
    else if (how->compare && (!how->path || !how->source))
        wrong = "only a file that was made from a file can be compared";
    return wrong ? xk_fail(err, -EINVAL, "%s", wrong) : 0;
}

static int make_target(struct convert_target **ret, const struct convert *how, struct xk_err *err)
{
    const int code = how->to == CONVERT_QCOW2 ? convert_qcow2_target(ret, err)
                     : how->to == CONVERT_VHD ? convert_vhd_target(ret, err)
                                              : convert_raw_target(ret, err);
    if (code == 0) {
        (*ret)->how = how;
        (void)pthread_mutex_init(&(*ret)->writing, NULL);
    }
    return code;
}

/* Look at what stands under the target's name, if anything does. */
static int look_at_target(const struct convert *how, bool *ret_device, struct xk_err *err)
{
    struct stat st, layer;

    *ret_device = false;
    const int fd = how->fs->ops->open(how->fs, how->path, O_PATH, 0);
    if (fd == -ENOENT)
        return 0;
    int code = fd < 0 ? fd : how->fs->ops->fstat(how->fs, fd, &st);
    if (fd >= 0)
        (void)how->fs->ops->close(how->fs, fd);
    if (code < 0)
        return xk_fail_sys(err, code, "cannot look at %s", how->path);
    *ret_device = S_ISBLK(st.st_mode);
    if (!*ret_device && !S_ISREG(st.st_mode))
        return xk_fail(err, S_ISDIR(st.st_mode) ? -EISDIR : -ENOTSUP, "%s is neither a regular file nor a block device",
                       how->path);
    if (!how->overwrite)
        return xk_fail(err, -EEXIST, "%s is %s", how->path, *ret_device ? "a block device" : "there already");
    for (size_t i = 0; how->source && i < how->source->layers; i++) {
        if (stat(volume_layer_path(how->source, (int)i), &layer) == 0 &&
            (*ret_device ? S_ISBLK(layer.st_mode) && layer.st_rdev == st.st_rdev
                         : layer.st_dev == st.st_dev && layer.st_ino == st.st_ino))
            return xk_fail(err, -EINVAL, "%s is part of the source", how->path);
    }
    return 0;
}

/* Can files of this target share blocks with the source? Tried with the first page of the source's own file. */
static bool try_cloning(const struct convert *how, const struct convert_target *t)
{
    struct xk_file from;
    bool can = false;

    if (!how->source || !t->file || t->in_place ||
        xk_file_open(&from, how->fs, volume_layer_path(how->source, 0), O_RDONLY | O_NONBLOCK, 0, NULL) < 0)
        return false;
    if (xk_file_clone(t->file, 0, &from, 0, CONVERT_PAGE) == 0)
        can = xk_file_truncate(t->file, 0, NULL) == 0;
    xk_file_close(&from);
    return can;
}

static int fill(struct engine *e, uint64_t disk_bytes, struct xk_err *err)
{
    struct convert_target *const t = e->target;

    if (!t->file || t->in_place)
        t->grain_bytes = CONVERT_UNIT;
    int code = t->ops->begin(t, disk_bytes, err);
    if (code == 0 && t->file && !e->cloning)
        convert_direct_begin(t);
    if (code == 0)
        code = run_crew(e, err);
    convert_direct_end(t);
    if (code < 0)
        return code;
    if (disk_bytes == UINT64_MAX)
        disk_bytes = e->how->to == CONVERT_RAW ? e->pulled : XK_ROUND_UP(e->pulled, UINT64_C(512));
    code = t->ops->finish(t, disk_bytes, err);
    return code == 0 && e->how->source ? volume_check_names(e->how->source, err) : code;
}

struct comparing {
    const struct convert *how;
    uint64_t *first;
};

#define DIFFERS 1

static int keep_first(void *context, const struct volume_difference *d)
{
    const struct comparing *const c = context;

    *c->first = d->first;
    return DIFFERS;
}

static void pass_progress(void *context, uint64_t done_bytes)
{
    const struct comparing *const c = context;

    if (c->how->progress)
        c->how->progress(c->how->progress_context, done_bytes);
}

static int compare_made(const struct convert *how, const char *path, struct xk_err *err)
{
    static const enum volume_format formats[] = {VOLUME_RAW, VOLUME_VHD, VOLUME_VHD, VOLUME_QCOW2};
    const struct volume_options options = {.format = formats[how->to]};
    struct volume *made = NULL;
    struct volume_compared compared;
    uint64_t first = 0;
    struct comparing context = {.how = how, .first = &first};
    const struct volume_compare comparison = {.visit = keep_first, .progress = pass_progress, .context = &context};

    if (how->comparing)
        how->comparing(how->progress_context);
    int code = volume_open(&made, how->fs, path, &options, err);
    if (code == 0 && how->to == CONVERT_RAW) /* a device may be larger; what lies behind is nobody's */
        made->size_bytes = XK_MIN(made->size_bytes, how->source->size_bytes);
    if (code == 0)
        code = volume_compare_run(&compared, how->source, made, &comparison, err);
    if (code == DIFFERS)
        code = xk_fail(err, -EBADMSG, "%s: differs from its source at byte %llu of the disk", how->path,
                       (unsigned long long)first);
    volume_close(made);
    return code;
}

static int into_device(struct engine *e, uint64_t disk_bytes, struct xk_err *err)
{
    const struct convert *const how = e->how;
    struct convert_target *const t = e->target;
    struct xk_file device;

    /* Exclusive: not one that is mounted or part of a volume group in use. */
    int code = xk_file_open(&device, how->fs, how->path, O_RDWR | O_EXCL, 0, err);
    if (code < 0)
        return code;
    t->file = &device;
    t->in_place = true;
    code = xk_file_size(&t->device_bytes, &device, err);
    if (code == 0)
        code = fill(e, disk_bytes, err);
    if (code == 0)
        code = xk_file_sync(&device, err);
    if (code == 0)
        code = xk_file_check_name(&device, err);
    xk_file_close(&device);
    return code == 0 && how->compare ? compare_made(how, how->path, err) : code;
}

static int into_file(struct engine *e, uint64_t disk_bytes, struct xk_err *err)
{
    const struct convert *const how = e->how;
    struct xk_newfile made;

    int code = xk_newfile_begin(&made, how->fs, how->path, 0644, !how->overwrite, err);
    if (code < 0)
        return code;
    made.no_sync = !convert_waits(how);
    made.only_old = true;
    e->target->file = &made.file;
    e->cloning = try_cloning(how, e->target);
    code = fill(e, disk_bytes, err);
    if (code == 0 && how->compare)
        code = compare_made(how, made.temp, err);
    /* A signal to the whole pipeline ends the writer of the pipe, too: its end of input is not the end of a disk. */
    if (code == 0 && xk_stop_signal())
        code = xk_fail(err, -EINTR, "stopped before %s was complete", how->path);
    if (code == 0)
        code = xk_newfile_commit(&made, err);
    xk_newfile_abort(&made);
    return code;
}

static uint64_t memory_bytes(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page_bytes = sysconf(_SC_PAGESIZE);

    return pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
}

static void engine_init(struct engine *e, const struct convert *how)
{
    *e = (struct engine){.how = how};
    (void)pthread_mutex_init(&e->taking, NULL);
    (void)pthread_mutex_init(&e->turning, NULL);
    (void)pthread_mutex_init(&e->trailing, NULL);
    for (size_t i = 0; i < CONVERT_THREADS_MAX; i++)
        (void)pthread_cond_init(&e->turned[i], NULL);
    e->keep_cached = how->source && how->source->size_bytes < memory_bytes() / CACHE_SHARE;
    e->cursor = (struct convert_cursor){.volume = how->source, .scanning = true};
}

static void engine_done(struct engine *e)
{
    if (e->target) {
        (void)pthread_mutex_destroy(&e->target->writing);
        e->target->ops->done(e->target);
    }
    (void)pthread_mutex_destroy(&e->taking);
    (void)pthread_mutex_destroy(&e->turning);
    (void)pthread_mutex_destroy(&e->trailing);
    for (size_t i = 0; i < CONVERT_THREADS_MAX; i++)
        (void)pthread_cond_destroy(&e->turned[i]);
}

int convert(struct convert_made *ret, const struct convert *how, struct xk_err *err)
{
    const uint64_t source_bytes = how->source       ? how->source->size_bytes
                                  : how->pull_bytes ? how->pull_bytes
                                                    : UINT64_MAX;
    uint64_t disk_bytes = source_bytes;
    bool device = false;

    if (how->to != CONVERT_RAW && source_bytes != UINT64_MAX)
        disk_bytes = XK_ROUND_UP(source_bytes, UINT64_C(512));
    int code = check_combination(how, err);
    if (code == 0 && how->path)
        code = look_at_target(how, &device, err);
    if (code < 0)
        return code;

    xk_auto(engine_done) struct engine e;
    engine_init(&e, how);
    code = make_target(&e.target, how, err);
    if (code == 0)
        code = !how->path ? fill(&e, disk_bytes, err)
               : device   ? into_device(&e, disk_bytes, err)
                          : into_file(&e, disk_bytes, err);
    if (code < 0)
        return code;
    if (disk_bytes == UINT64_MAX)
        disk_bytes = how->to == CONVERT_RAW ? e.pulled : XK_ROUND_UP(e.pulled, UINT64_C(512));
    *ret = (struct convert_made){
        .disk_bytes = disk_bytes, .data_bytes = e.data_bytes, .file_bytes = e.target->file_bytes, .cloned = e.cloning};
    return 0;
}
