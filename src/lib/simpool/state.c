/*
 * The state file: a line of text, then frames.
 *
 *     frame   le32 magic, le32 kind, le64 bytes, le64 number (each one more than the last), le64 XXH3 of the content,
 *             le64 XXH3 of the 32 bytes before; then the content, see state-code.c
 *
 * First come the frames of a snapshot, of which the last is marked; they are written to a new file that takes the old
 * one's place when it is whole. Then one frame for each write group, appended with one write before anybody is told. A
 * killed process loses nothing that it has told: what it wrote is the kernel's. A power failure may lose the last
 * seconds, but the file stays readable. When the groups have grown larger than the snapshot, a new one is made.
 *
 * A last frame whose head is good, but of which the end is missing, was never told of, and is cut off; so are zeros at
 * the end, which a power failure leaves. Anything else that is wrong is damage: the file is not touched, and not used.
 *
 * SQLite was weighed: each group would be a transaction with its own syncs (or none at all), 10,000 objects would be
 * 60,000 rows to read, and what is wanted of a database here is nothing but this log.
 */
#include "lib/simpool/keep.h"
#include "lib/simpool/state.h"

#include "lib/simpool/disk.h"

#include "core/bytes.h"
#include "core/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <xxhash.h>
#pragma GCC diagnostic pop

#define FIRST_LINE     "xenkit sim state 1\n"
#define MAGIC          UINT32_C(0x31676b78) /* "xkg1" */
#define HEAD_BYTES     40
#define HASHED_BYTES   32                  /* of a head */
#define COMPACT_MIN    (4u << 20)          /* groups smaller than that are left as they are */
#define GENERATION_GAP (UINT64_C(1) << 32) /* past what was told but not kept: sessions and tasks */

enum kind { PART = 1, LAST_PART = 2, GROUP = 3 };

struct sim_state {
    const struct xk_fs *fs;
    char *path;
    struct xk_file file;
    struct xk_buf frame;                                       /* being built: head and content */
    struct event *timer;                                       /* to write what nobody asked for */
    uint64_t end, number;                                      /* of the last good frame */
    uint64_t snapshot_bytes;                                   /* where the groups begin */
    uint64_t written;                                          /* generation up to which all is in the file */
    uint64_t deleted_count;                                    /* of the pool, up to there */
    unsigned hosts;                                            /* as they stand in the file */
    const struct http_identity *identities[SIMPOOL_HOSTS_MAX]; /* only ever compared */
    bool loaded, tell; /* tell: of the generation, though nothing else has changed */
    bool broken_tail;  /* a write that failed may have left bytes behind the end */
};

/* ---- frames ---- */

static void frame_begin(struct sim_state *s)
{
    static const char zeros[HEAD_BYTES];

    xk_buf_reset(&s->frame);
    xk_buf_add(&s->frame, zeros, sizeof(zeros));
}

/* Write what was built to `file` at `*end`, which moves on only when all of it is there. */
static int frame_write(struct sim_state *s, const struct xk_file *file, enum kind kind, uint64_t *end, uint64_t number,
                       struct xk_err *err)
{
    if (s->frame.error)
        return s->frame.error == -ENOMEM ? xk_fail_memory(err)
                                         : xk_fail(err, s->frame.error, "%s: a group of more than %u MiB", s->path,
                                                   SIM_STATE_FRAME_MAX >> 20);
    struct xk_writer w = xk_writer(s->frame.data, HEAD_BYTES);
    xk_write_le32(&w, MAGIC);
    xk_write_le32(&w, kind);
    xk_write_le64(&w, s->frame.len - HEAD_BYTES);
    xk_write_le64(&w, number);
    xk_write_le64(&w, XXH3_64bits(s->frame.data + HEAD_BYTES, s->frame.len - HEAD_BYTES));
    xk_write_le64(&w, XXH3_64bits(s->frame.data, HASHED_BYTES));
    if (s->frame.len > SIM_STATE_BYTES_MAX - *end)
        return xk_fail(err, -EFBIG, "%s: the state would be larger than %s", s->path, xk_size(SIM_STATE_BYTES_MAX).s);
    const int code = xk_file_write(file, s->frame.data, s->frame.len, *end, err);
    if (code == 0)
        *end += s->frame.len;
    return code;
}

struct head {
    uint32_t magic, kind;
    uint64_t bytes, number, hash;
    bool good;
};

static struct head head_decode(const char bytes[HEAD_BYTES])
{
    struct xk_reader r = xk_reader(bytes, HEAD_BYTES);
    struct head h;

    h.magic = xk_le32(&r);
    h.kind = xk_le32(&r);
    h.bytes = xk_le64(&r);
    h.number = xk_le64(&r);
    h.hash = xk_le64(&r);
    h.good = xk_le64(&r) == XXH3_64bits(bytes, HASHED_BYTES) && h.magic == MAGIC;
    return h;
}

/* ---- reading ---- */

static int busy(const struct sim_state *s, struct xk_err *err)
{
    xk_fail(err, -EBUSY, "%s: another simulated pool has this state open", s->path);
    xk_err_hint(err, "end that one first, or use another file");
    xk_err_exit(err, XK_EXIT_CANNOT);
    return -EBUSY;
}

static int lock(const struct sim_state *s, int fd, struct xk_err *err)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return errno == EWOULDBLOCK ? busy(s, err) : xk_fail_sys(err, -errno, "%s: locking", s->path);
}

/* A file that was replaced between being opened and being locked belongs to nobody any more. */
static int check_name(const struct sim_state *s, struct xk_err *err)
{
    struct stat mine, named;

    if (fstat(s->file.fd, &mine) < 0 || stat(s->path, &named) < 0)
        return xk_fail_sys(err, -errno, "%s: looking at it", s->path);
    return mine.st_ino == named.st_ino && mine.st_dev == named.st_dev ? 0 : busy(s, err);
}

/* Only zeros from there on? That is what a file looks like whose size was kept by a crash and whose bytes were not. */
static int rest_is_empty(const struct sim_state *s, uint64_t from, uint64_t size, bool *ret, struct xk_err *err)
{
    char bytes[4096];

    *ret = true;
    while (from < size && *ret) {
        const size_t count = (size_t)XK_MIN(size - from, (uint64_t)sizeof(bytes));
        const int code = xk_file_read(&s->file, bytes, count, from, err);
        if (code < 0)
            return code;
        for (size_t i = 0; i < count && *ret; i++)
            *ret = bytes[i] == 0;
        from += count;
    }
    return 0;
}

static int damaged(const struct sim_state *s, struct xk_err *err, const char *what)
{
    xk_fail(err, -EBADMSG, "%s: the state is damaged at byte %llu: %s", s->path, (unsigned long long)s->end, what);
    if (s->loaded)
        xk_err_hint(err, "what stands before that is good: after a copy was made, truncate -s %llu goes on from there",
                    (unsigned long long)s->end);
    return -EBADMSG;
}

/* The frame at s->end. returns 1: taken; 0: the file ends there, maybe with a frame that was never whole. */
static int frame_read(struct sim_state *s, struct simpool *p, struct sim_schema *schema, uint64_t size,
                      struct xk_err *err)
{
    char head[HEAD_BYTES];
    bool empty;

    if (size - s->end < HEAD_BYTES)
        return 0;
    int code = xk_file_read(&s->file, head, sizeof(head), s->end, err);
    if (code < 0)
        return code;
    const struct head h = head_decode(head);
    code = rest_is_empty(s, s->end, XK_MIN(s->end + HEAD_BYTES, size), &empty, err);
    if (code == 0 && empty)
        code = rest_is_empty(s, s->end, size, &empty, err);
    if (code < 0 || empty)
        return code;
    if (!h.good || h.number != s->number + 1 || h.bytes > SIM_STATE_FRAME_MAX ||
        !(s->loaded ? h.kind == GROUP : h.kind == PART || h.kind == LAST_PART))
        return damaged(s, err, "no group begins there");
    if (h.bytes > size - s->end - HEAD_BYTES)
        return 0;
    xk_autofree char *content = xk_alloc((size_t)h.bytes + 1);
    if (!content)
        return xk_fail_memory(err);
    code = xk_file_read(&s->file, content, (size_t)h.bytes, s->end + HEAD_BYTES, err);
    if (code < 0)
        return code;
    if (XXH3_64bits(content, (size_t)h.bytes) != h.hash)
        return damaged(s, err, "the checksum of a group is wrong");
    struct xk_err why = {0};
    code = sim_state_take(p, schema, content, (size_t)h.bytes, &why);
    if (code == -EBADMSG)
        return damaged(s, err, why.text);
    if (code < 0)
        return xk_fail(err, code, "%s: %s", s->path, why.text);
    s->end += HEAD_BYTES + h.bytes;
    s->number = h.number;
    if (h.kind != GROUP)
        s->snapshot_bytes = s->end;
    s->loaded = s->loaded || h.kind == LAST_PART;
    return 1;
}

static int read_all(struct sim_state *s, struct simpool *p, struct xk_err *err)
{
    xk_auto(sim_schema_done) struct sim_schema schema = {0};
    char first[sizeof(FIRST_LINE)] = "";
    uint64_t size;

    int code = xk_file_size(&size, &s->file, err);
    if (code < 0)
        return code;
    if (size > SIM_STATE_BYTES_MAX)
        return xk_fail(err, -EFBIG, "%s: more than %s are no state", s->path, xk_size(SIM_STATE_BYTES_MAX).s);
    const ssize_t got = xk_file_read_some(&s->file, first, strlen(FIRST_LINE), 0, err);
    if (got < 0)
        return (int)got;
    if (strncmp(first, FIRST_LINE, strlen("xenkit sim state ")) != 0)
        return xk_fail(err, -EBADMSG, "%s: this is no state of a simulated pool", s->path);
    if (strcmp(first, FIRST_LINE) != 0)
        return xk_fail(err, -ENOTSUP, "%s: a state in another format than 1", s->path);
    s->end = strlen(FIRST_LINE);
    while ((code = frame_read(s, p, &schema, size, err)) == 1)
        ;
    if (code == 0 && !s->loaded)
        return damaged(s, err, "the snapshot is not whole");
    if (code == 0 && sim_restore_end(p) < 0)
        return xk_fail_memory(err);
    /* What was cut off in writing goes away, so that nothing of it can ever follow a later group. */
    if (code == 0 && size > s->end) {
        code = xk_file_truncate(&s->file, s->end, err);
        sim_note(p, "%s: the last %llu bytes were never completely written, and are cut off", s->path,
                 (unsigned long long)(size - s->end));
    }
    if (code == 0 && schema.unknown_classes + schema.unknown_fields > 0)
        sim_note(p, "%s: %u classes and %u fields of another release are left out", s->path, schema.unknown_classes,
                 schema.unknown_fields);
    return code;
}

/* ---- taking over ---- */

/* Nobody works on anything after a start. */
static void operations_end(struct simpool *p)
{
    const struct xapi_value none = xapi_map(NULL, 0);

    for (unsigned i = 0; i < xapi_class_count; i++) {
        const struct xapi_field *const field = xapi_field_find(&xapi_classes[i], "current_operations");
        if (!field)
            continue;
        const unsigned place = (unsigned)(field - xapi_fields) - xapi_classes[i].first_field;
        for (struct sim_object *o = p->classes[i].first; o; o = o->class_next) {
            if (o->fields[place]->value.count == 0)
                continue;
            sim_put_at(p, o, place, &none);
            sim_allowed(p, o);
        }
    }
}

static unsigned master_number(const struct simpool *p)
{
    const struct sim_object *const pool = sim_first(p, "pool");

    for (unsigned i = 0; pool && i < p->settings.hosts; i++)
        if (strcmp(p->host_refs[i], sim_text(pool, "master")) == 0)
            return i;
    return SIMPOOL_HOSTS_MAX;
}

int sim_state_open(struct simpool *p, const struct xk_fs *fs, const char *path, struct xk_err *err)
{
    struct sim_state *const s = xk_zalloc(sizeof(*s));

    if (!s)
        return xk_fail_memory(err);
    p->state = s;
    s->fs = fs;
    s->frame = XK_BUF_INIT(SIM_STATE_FRAME_MAX);
    s->path = xk_strdup(path);
    if (!s->path)
        return xk_fail_memory(err);
    int code = xk_file_open(&s->file, fs, s->path, O_RDWR, 0, err);
    if (code == -ENOENT) {
        xk_err_clear(err);
        return 0;
    }
    if (code == 0)
        code = lock(s, s->file.fd, err);
    if (code == 0)
        code = check_name(s, err);
    if (code == 0)
        code = read_all(s, p, err);
    if (code < 0)
        return code;
    p->master = master_number(p);
    if (p->master >= p->settings.hosts)
        return damaged(s, err, "its pool has no master");
    s->written = p->generation;
    s->hosts = p->settings.hosts;
    s->deleted_count = p->deleted_count;
    for (unsigned i = 0; i < SIMPOOL_HOSTS_MAX; i++)
        s->identities[i] = p->identities[i];
    p->generation += GENERATION_GAP;
    operations_end(p);
    return 1;
}

void sim_state_close(struct simpool *p)
{
    struct sim_state *const s = p->state;

    if (!s)
        return;
    if (s->timer)
        event_free(s->timer);
    xk_file_close(&s->file);
    xk_buf_done(&s->frame);
    free(s->path);
    free(s);
    p->state = NULL;
}

/* ---- writing ---- */

static struct sim_object *oldest_after(const struct simpool *p, uint64_t generation)
{
    struct sim_object *o = p->newest;

    if (!o || o->modified <= generation)
        return NULL;
    while (o->older && o->older->modified > generation)
        o = o->older;
    return o;
}

static void flushed(struct sim_state *s, struct simpool *p)
{
    s->written = p->generation;
    s->deleted_count = p->deleted_count;
    s->hosts = p->settings.hosts;
    s->tell = false;
    for (unsigned i = 0; i < SIMPOOL_HOSTS_MAX; i++)
        s->identities[i] = p->identities[i];
    sim_disks_settle(p);
}

static int put_identities(struct sim_state *s, const struct simpool *p, bool all, struct xk_err *err)
{
    int code = 0;

    for (unsigned i = 0; i < SIMPOOL_HOSTS_MAX && code == 0; i++)
        if (p->identities[i] && (all || s->identities[i] != p->identities[i]))
            code = sim_state_put_identity(&s->frame, p->identities[i], i, err);
    return code;
}

/* Files that changed since s->written. returns whether there are any. */
static bool put_kept(struct sim_state *s, const struct simpool *p)
{
    bool any = false;

    for (const struct sim_kept *k = p->kept; k; k = k->next)
        if (k->modified > s->written) {
            sim_state_put_kept(&s->frame, k);
            any = true;
        }
    return any;
}

static int write_parts(struct sim_state *s, const struct simpool *p, const struct xk_file *file, uint64_t *end,
                       uint64_t *number, struct xk_err *err)
{
    int code = xk_file_write(file, FIRST_LINE, strlen(FIRST_LINE), 0, err);

    *end = strlen(FIRST_LINE);
    *number = 0;
    frame_begin(s);
    sim_state_put_schema(&s->frame);
    if (code == 0)
        code = put_identities(s, p, true, err);
    for (const struct sim_kept *k = p->kept; k; k = k->next)
        if (k->text)
            sim_state_put_kept(&s->frame, k);
    for (const struct sim_object *o = oldest_after(p, 0); o && code == 0; o = o->newer) {
        if (sim_state_keeps(o->class_row))
            sim_state_put_object(&s->frame, p, o);
        if (s->frame.len >= SIM_STATE_PART || s->frame.error) {
            code = frame_write(s, file, PART, end, ++*number, err);
            frame_begin(s);
        }
    }
    sim_state_put_pool(&s->frame, p);
    return code < 0 ? code : frame_write(s, file, LAST_PART, end, ++*number, err);
}

/* Everything into a new file, which then takes the place of the old one. */
static int snapshot(struct sim_state *s, struct simpool *p, struct xk_err *err)
{
    struct xk_newfile n = {0};
    uint64_t end = 0, number = 0;

    /* 0600: it holds keys, and whatever secrets the pool has. A file that is new must not take another's place. */
    int code = xk_newfile_begin(&n, s->fs, s->path, 0600, !s->file.open, err);
    if (code == 0)
        code = write_parts(s, p, &n.file, &end, &number, err);
    /* Opened before it has its name: it and its lock are ours from the first moment. */
    struct xk_file again = {0};
    if (code == 0)
        code = xk_file_open(&again, s->fs, n.temp, O_RDWR, 0, err);
    if (code == 0)
        code = lock(s, again.fd, err);
    if (code == 0)
        code = xk_newfile_commit(&n, err);
    xk_newfile_abort(&n);
    if (code < 0) {
        xk_file_close(&again);
        return code;
    }
    again.path = s->path;
    xk_file_close(&s->file);
    s->file = again;
    s->end = s->snapshot_bytes = end;
    s->number = number;
    s->loaded = true;
    s->broken_tail = false;
    flushed(s, p);
    return 0;
}

/* Everything that changed since s->written, as one group. returns whether there is anything to write. */
static bool group(struct sim_state *s, const struct simpool *p, struct xk_err *err, int *ret)
{
    bool any = s->tell || p->settings.hosts != s->hosts;

    *ret = 0;
    frame_begin(s);
    for (unsigned i = 0; i < SIMPOOL_HOSTS_MAX; i++)
        any |= p->identities[i] && s->identities[i] != p->identities[i];
    if (any)
        *ret = put_identities(s, p, false, err);
    any |= put_kept(s, p);
    for (uint64_t i = s->deleted_count; i < p->deleted_count; i++) {
        const struct sim_deleted *const d = &p->deleted[i % SIM_DELETED_MAX];
        /* What was made and deleted since was never in the file. */
        if (d->created > s->written || !sim_state_keeps(d->class_row))
            continue;
        sim_state_put_gone(&s->frame, d->class_row, d->ref);
        any = true;
    }
    for (const struct sim_object *o = oldest_after(p, s->written); o; o = o->newer) {
        if (!sim_state_keeps(o->class_row))
            continue;
        sim_state_put_object(&s->frame, p, o);
        any = true;
    }
    sim_state_put_pool(&s->frame, p);
    return any;
}

static int snapshot_told(struct sim_state *s, struct simpool *p, struct xk_err *err)
{
    const int code = snapshot(s, p, err);

    if (code == 0)
        sim_kept_told(p);
    return code;
}

int sim_state_flush(struct simpool *p, struct xk_err *err)
{
    struct sim_state *const s = p->state;
    int code;

    if (!s || !s->file.open || (!s->tell && p->generation == s->written && p->settings.hosts == s->hosts))
        return 0;
    /* More was deleted than is remembered, or the groups have outgrown the snapshot. */
    if (p->deleted_count - s->deleted_count > SIM_DELETED_MAX ||
        s->end - s->snapshot_bytes > XK_MAX(s->snapshot_bytes, (uint64_t)COMPACT_MIN))
        return snapshot_told(s, p, err);
    const bool any = group(s, p, err, &code);
    if (code == 0 && s->broken_tail)
        code = xk_file_truncate(&s->file, s->end, err);
    if (code < 0)
        return code;
    s->broken_tail = false;
    if (any) {
        code = frame_write(s, &s->file, GROUP, &s->end, s->number + 1, err);
        /* What a failed write left must not stand behind a shorter one that succeeds. */
        if (code < 0 && xk_file_truncate(&s->file, s->end, NULL) < 0)
            s->broken_tail = true;
        if (code < 0)
            return code;
        s->number++;
    }
    flushed(s, p);
    sim_kept_told(p);
    return 0;
}

static void on_changed(evutil_socket_t fd, short what, void *pool)
{
    /* An error shows in the next reply, which tries again, or at the end. */
    (void)sim_state_flush(pool, NULL);
}

void sim_state_changed(struct simpool *p)
{
    const struct timeval now = {0};
    struct sim_state *const s = p->state;

    if (!s || !p->base)
        return;
    if (!s->timer)
        s->timer = evtimer_new(p->base, on_changed, p);
    if (s->timer && !evtimer_pending(s->timer, NULL))
        (void)event_add(s->timer, &now);
}

int sim_state_begin(struct simpool *p, struct xk_err *err)
{
    struct sim_state *const s = p->state;

    if (!s)
        return 0;
    s->tell = true;
    return s->file.open ? sim_state_flush(p, err) : snapshot_told(s, p, err);
}
