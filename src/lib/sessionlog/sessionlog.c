/*
 * The run: pieces in the order of time, each from its front to its end, into one tracker; then, when asked, what is
 * appended to the newest file.
 *
 * A rotated log is followed by its path: the old file is read to its end once more after the path has become another
 * file, since the logger may write to it until it is told to reopen. Weighed: inotify. It reports no writes of other
 * hosts on network file systems, and a look five times a second costs nothing.
 */
#include "lib/sessionlog/pieces.h"

#include "core/text.h"

#include <string.h>

#define FOLLOW_EVERY_NS (200 * XK_NS_PER_MS)

/* ---- lifetime ---- */

static int track_one(void *context, const char *line, size_t bytes)
{
    return track_line(context, line, bytes);
}

int sessionlog_open(struct sessionlog **ret, const struct sessionlog_settings *settings, struct xk_err *err)
{
    struct sessionlog *const log = xk_zalloc(sizeof(*log));
    struct xk_random seed;

    if (!log)
        return xk_fail_memory(err);
    log->settings = *settings;
    xk_random_seed_system(&seed);
    log->seen.seed = xk_random_u64(&seed);
    track_init(&log->track, &log->settings, xk_random_u64(&seed));
    if (lines_init(&log->lines, track_one, &log->track) < 0) {
        sessionlog_close(log);
        return xk_fail_memory(err);
    }
    *ret = log;
    return 0;
}

void sessionlog_close(struct sessionlog *log)
{
    if (!log)
        return;
    for (size_t i = 0; i < log->piece_count; i++)
        free(log->pieces[i].path);
    free(log->pieces);
    xk_file_close(&log->spool);
    ids_done(&log->seen);
    lines_done(&log->lines);
    track_done(&log->track);
    free(log);
}

int sessionlog_complain(const struct sessionlog *log, int code, struct xk_err *err)
{
    if (code >= 0 || code == -ENOMEM || code == -EINTR || !log->settings.unreadable)
        return code;
    log->settings.unreadable(log->settings.context, err);
    xk_err_clear(err);
    return 0;
}

/* ---- running ---- */

/* A callback's error has its own sentence or none. */
static int fail_line(int code, struct xk_err *err)
{
    if (code == -ENOMEM)
        return xk_fail_memory(err);
    if (err && err->code != code)
        return xk_fail_sys(err, code, "the sessions could not be told");
    return code;
}

static int read_through(struct sessionlog *log, struct stream *from, bool count_bytes, struct xk_err *err)
{
    for (;;) {
        size_t room;
        char *const at = lines_room(&log->lines, &room);
        const ssize_t n = stream_read_some(from, at, room, err);
        if (n <= 0)
            return (int)n;
        log->track.sum.bytes += count_bytes ? (uint64_t)n : 0;
        const int code = lines_added(&log->lines, (size_t)n);
        if (code < 0)
            return fail_line(code, err);
        if (xk_stop_signal())
            return xk_fail(err, -EINTR, "stopped");
    }
}

static int read_piece_file(struct sessionlog *log, const struct piece *p, const struct xk_file *file, uint64_t *ret_at,
                           struct xk_err *err)
{
    struct stream_file plain;
    struct stream_gzip gzip;

    stream_from_file(&plain, file, p->from, p->kind == PIECE_SPOOLED ? p->to : UINT64_MAX);
    if (p->kind != PIECE_GZIP) {
        const int code = read_through(log, &plain.stream, p->kind == PIECE_PLAIN, err);
        *ret_at = plain.at;
        return code;
    }
    int code = stream_from_gzip(&gzip, &plain.stream, err);
    if (code < 0)
        return code;
    code = read_through(log, &gzip.stream, true, err);
    if (code == 0 && gzip.damaged)
        code = sessionlog_complain(
            log,
            xk_fail(err, -EBADMSG, "%s: the compressed data are cut or damaged; what came before is read", p->path),
            err);
    stream_done(&gzip.stream);
    return code;
}

static int read_piece(struct sessionlog *log, size_t index, struct xk_err *err)
{
    struct piece *const p = &log->pieces[index];
    struct xk_file file = {0};
    int code = 0;

    track_begin_piece(&log->track, index, p->first_s);
    if (p->kind != PIECE_SPOOLED)
        code = xk_file_open(&file, log->settings.fs, p->path, O_RDONLY, 0, err);
    if (code == 0)
        code = read_piece_file(log, p, p->kind == PIECE_SPOOLED ? &log->spool : &file, &p->to, err);
    xk_file_close(&file);
    if (code < 0)
        return code == -EBADMSG || code == -ENOENT || code == -EACCES || code == -EIO
                   ? sessionlog_complain(log, code, err)
                   : code;
    if (p->kind == PIECE_PLAIN && p->first.month)
        log->current = index;
    if (p->kind == PIECE_PLAIN && log->settings.follow && index + 1 == log->piece_count)
        return 0; /* its last line may not be whole yet */
    code = lines_end(&log->lines);
    return code < 0 ? fail_line(code, err) : 0;
}

int sessionlog_run(struct sessionlog *log, struct xk_err *err)
{
    struct sessionlog_summary *const sum = &log->track.sum;
    int code = 0;

    pieces_sort(log->pieces, log->piece_count, log->settings.clock->utc_ns(log->settings.clock) / (int64_t)XK_NS_PER_S);
    log->current = SIZE_MAX;
    sum->pieces = log->piece_count;
    for (size_t i = 0; code == 0 && i < log->piece_count; i++) {
        const struct piece *const p = &log->pieces[i];
        if (p->first.month && !sum->first_s)
            sum->first_s = p->first_s;
        if (p->first.month)
            sum->last_s = XK_MAX(sum->last_s, p->last_s);
        code = read_piece(log, i, err);
        sum->last_s = XK_MAX(sum->last_s, log->track.time_s);
    }
    return code;
}

int sessionlog_finish(struct sessionlog *log, struct sessionlog_summary *ret, struct xk_err *err)
{
    struct track *const t = &log->track;
    const int code = track_finish(t);

    if (code < 0)
        return fail_line(code, err);
    *ret = t->sum;
    return 0;
}

/* ---- following ---- */

struct follower {
    struct xk_file file;
    uint64_t at;
    const char *path;
    bool replaced; /* the path is another file now */
};

/* Read what is there. returns 1 when there was something. */
static int read_news(struct sessionlog *log, struct follower *f, struct xk_err *err)
{
    const uint64_t before = f->at;
    struct stream_file news;

    stream_from_file(&news, &f->file, f->at, UINT64_MAX);
    const int code = read_through(log, &news.stream, true, err);
    f->at = news.at;
    return code < 0 ? code : f->at > before;
}

static int reopen(struct sessionlog *log, struct follower *f, struct xk_err *err)
{
    int code = lines_end(&log->lines);

    if (code < 0)
        return fail_line(code, err);
    xk_file_close(&f->file);
    code = xk_file_open(&f->file, log->settings.fs, f->path, O_RDONLY, 0, err);
    f->at = 0;
    f->replaced = false;
    return code;
}

/* There was nothing new: has the file been cut, or has another one taken its name? */
static int look_around(struct sessionlog *log, struct follower *f, struct xk_err *err)
{
    struct stat now, ours;

    int code = log->settings.fs->ops->fstat(log->settings.fs, f->file.fd, &ours);
    if (code < 0)
        return xk_fail_sys(err, code, "cannot read %s", f->path);
    if ((uint64_t)ours.st_size < f->at) {
        code = lines_end(&log->lines);
        f->at = 0;
        return code < 0 ? fail_line(code, err) : 0;
    }
    if (f->replaced)
        return reopen(log, f, err);
    f->replaced = stat(f->path, &now) == 0 && (now.st_dev != ours.st_dev || now.st_ino != ours.st_ino);
    return 0;
}

int sessionlog_follow(struct sessionlog *log, struct xk_err *err)
{
    struct follower f = {0};
    struct stat st;

    if (log->current == SIZE_MAX || log->current + 1 != log->piece_count)
        return xk_fail(err, -EINVAL, "the newest log is no plain file, so there is nothing to follow");
    f.path = log->pieces[log->current].path;
    f.at = log->pieces[log->current].to;
    int code = xk_file_open(&f.file, log->settings.fs, f.path, O_RDONLY, 0, err);
    if (code == 0)
        code = log->settings.fs->ops->fstat(log->settings.fs, f.file.fd, &st);
    if (code == 0 && (st.st_dev != log->pieces[log->current].device || st.st_ino != log->pieces[log->current].inode))
        f.at = 0; /* rotated since it was read */
    while (code >= 0 && !xk_stop_signal()) {
        code = read_news(log, &f, err);
        if (code == 0)
            code = look_around(log, &f, err);
        if (code == 0)
            log->settings.clock->sleep_ns(log->settings.clock, FOLLOW_EVERY_NS);
    }
    xk_file_close(&f.file);
    return code == -EINTR || code > 0 ? 0 : code;
}
