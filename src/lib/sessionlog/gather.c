/*
 * From what the user names to pieces: files are opened once to see what they are and when they begin; folders are
 * walked; of an archive or a pipe, which cannot be read a second time in another order, the lines that count are copied
 * into a spool, an unnamed temporary file.
 *
 * What a file is, its first bytes say. Names are not asked: logs get renamed, and a file that is no log costs only the
 * time to read it.
 */
#include "lib/sessionlog/pieces.h"

#include "core/text.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define TAR_BLOCK        512
#define TAR_NAME_MAX     4096 /* of a long name in a block of its own */
#define TAR_MEMBERS_MAX  1000000
#define PROBE_BYTES      STREAM_AHEAD_BYTES
#define SPOOL_MODE       0600
#define SPOOL_WRITE_SIZE (256 * 1024)

/* ---- stamps at both ends ---- */

static void look_at_line(struct piece *p, const char *line, size_t bytes)
{
    struct sessionlog_stamp stamp;

    if (!sessionlog_line_stamp(&stamp, line, bytes))
        return;
    if (!p->first.month)
        p->first = stamp;
    p->last = stamp;
}

/* The first stamp of these bytes, or with `all` the last one, too. */
static void look_at_bytes(struct piece *p, const char *at, size_t bytes, bool all)
{
    const char *const end = at + bytes;

    while (at < end && (all || !p->first.month)) {
        const char *const newline = memchr(at, '\n', (size_t)(end - at));
        const char *const stop = newline ? newline : end;
        while (at < stop && *at == '\0')
            at++;
        look_at_line(p, at, (size_t)(stop - at));
        at = stop + 1;
    }
    if (!all)
        p->last = (struct sessionlog_stamp){0};
}

static int probe_end(struct piece *p, const struct xk_file *file, struct xk_err *err)
{
    xk_autofree char *tail = xk_alloc(PROBE_BYTES);
    uint64_t bytes = 0;

    if (!tail)
        return xk_fail_memory(err);
    int code = xk_file_size(&bytes, file, err);
    if (code < 0)
        return code;
    const uint64_t from = bytes > PROBE_BYTES ? bytes - PROBE_BYTES : 0;
    const ssize_t n = xk_file_read_some(file, tail, PROBE_BYTES, from, err);
    if (n < 0)
        return (int)n;
    const struct sessionlog_stamp first = p->first;
    look_at_bytes(p, tail, (size_t)n, true);
    if (first.month)
        p->first = first;
    return 0;
}

/* ---- pieces ---- */

/* "xensource.log.12.gz" → 12 */
static uint64_t number_of(const char *path)
{
    const char *name = xk_base_name(path);
    uint64_t number = 0;

    while ((name = strchr(name, '.'))) {
        name++;
        if (isdigit((unsigned char)*name))
            number = strtoull(name, NULL, 10);
    }
    return number;
}

/* Takes p->path. */
static int add_piece(struct sessionlog *log, struct piece *p, struct xk_err *err)
{
    if (log->piece_count == SESSIONLOG_PIECES_MAX) {
        free(p->path);
        return xk_fail(err, -EFBIG, "there are more than %d logs", SESSIONLOG_PIECES_MAX);
    }
    if (log->piece_count == log->piece_capacity) {
        const size_t capacity = log->piece_capacity ? log->piece_capacity * 2 : 16;
        struct piece *const bigger = xk_realloc(log->pieces, capacity * sizeof(*bigger));
        if (!bigger) {
            free(p->path);
            return xk_fail_memory(err);
        }
        log->pieces = bigger;
        log->piece_capacity = capacity;
    }
    p->number = number_of(p->path);
    p->order = log->piece_count;
    log->pieces[log->piece_count++] = *p;
    return 0;
}

/* ---- the spool ---- */

static int open_spool(struct sessionlog *log, struct xk_err *err)
{
    const char *const dir = log->settings.temp_dir ? log->settings.temp_dir : "/tmp";

    if (log->spool.open)
        return 0;
    const int code = xk_file_open(&log->spool, log->settings.fs, dir, O_RDWR | O_TMPFILE, SPOOL_MODE, err);
    if (code == 0)
        log->spool.path = "temporary file";
    return code;
}

struct spooling {
    struct sessionlog *log;
    struct piece *piece;
    struct xk_buf buf;
    struct xk_err *err;
};

static int spool_out(struct spooling *s)
{
    struct sessionlog *const log = s->log;

    if (s->buf.error)
        return xk_fail_memory(s->err);
    const int code = xk_file_write(&log->spool, s->buf.data, s->buf.len, log->spool_bytes, s->err);
    if (code < 0)
        return code;
    log->spool_bytes += s->buf.len;
    xk_buf_reset(&s->buf);
    return 0;
}

static int spool_line(void *context, const char *line, size_t bytes)
{
    struct spooling *const s = context;
    struct sessionlog_line parsed;

    look_at_line(s->piece, line, bytes);
    s->log->track.sum.lines++;
    if (!sessionlog_line_parse(&parsed, line, bytes))
        return 0;
    s->log->track.sum.lines--; /* it comes again */
    xk_buf_add(&s->buf, line, XK_MIN(bytes, (size_t)SESSIONLOG_LINE_MAX));
    xk_buf_add_char(&s->buf, '\n');
    return s->buf.len >= SPOOL_WRITE_SIZE || s->buf.error ? spool_out(s) : 0;
}

static int spool_all(struct spooling *s, struct lines *lines, struct stream *from)
{
    for (;;) {
        size_t room;
        char *const at = lines_room(lines, &room);
        const ssize_t n = stream_read_some(from, at, room, s->err);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return lines_end(lines);
        s->log->track.sum.bytes += (uint64_t)n;
        const int code = lines_added(lines, (size_t)n);
        if (code < 0)
            return code;
        if (xk_stop_signal())
            return xk_fail(s->err, -EINTR, "stopped");
    }
}

/* The lines of a stream as a piece of its own. Takes p->path. */
static int spool_stream(struct sessionlog *log, struct piece *p, struct stream *from, struct xk_err *err)
{
    struct lines lines = {0};
    struct spooling s = {.log = log, .piece = p, .buf = XK_BUF_INIT(2 * SPOOL_WRITE_SIZE), .err = err};

    int code = open_spool(log, err);
    p->kind = PIECE_SPOOLED;
    p->from = log->spool_bytes;
    if (code == 0 && lines_init(&lines, spool_line, &s) < 0)
        code = xk_fail_memory(err);
    if (code == 0)
        code = spool_all(&s, &lines, from);
    if (code == 0)
        code = spool_out(&s);
    p->to = log->spool_bytes;
    lines_done(&lines);
    xk_buf_done(&s.buf);
    if (code == 0 && p->first.month)
        return add_piece(log, p, err);
    free(p->path);
    return code;
}

/* ---- archives ---- */

static bool is_tar(const uint8_t *head, size_t bytes)
{
    return bytes >= TAR_BLOCK && memcmp(head + 257, "ustar", 5) == 0;
}

static bool is_gzip(const uint8_t *head, size_t bytes)
{
    return bytes >= 3 && head[0] == 0x1f && head[1] == 0x8b && head[2] == 8;
}

static bool is_bzip2(const uint8_t *head, size_t bytes)
{
    static const uint8_t block[] = {0x31, 0x41, 0x59, 0x26, 0x53, 0x59}; /* pi */

    return bytes >= 10 && memcmp(head, "BZh", 3) == 0 && head[3] >= '1' && head[3] <= '9' &&
           memcmp(head + 4, block, sizeof(block)) == 0;
}

/* What is packed in a way that is not understood: its name; NULL: none. Read as text it would hold no session. */
static const char *foreign_packing(const uint8_t *head, size_t bytes)
{
    static const struct {
        const char *name, *magic;
        size_t bytes;
    } packings[] = {{"xz",
                     "\xfd"
                     "7zXZ",
                     6},
                    {"zstd", "\x28\xb5\x2f\xfd", 4},
                    {"zip", "PK\x03\x04", 4}};

    for (size_t i = 0; i < XK_COUNT(packings); i++) {
        if (bytes >= packings[i].bytes && memcmp(head, packings[i].magic, packings[i].bytes) == 0)
            return packings[i].name;
    }
    return NULL;
}

static int refuse_packing(const char *path, const char *packing, struct xk_err *err)
{
    const int code = xk_fail(err, -ENOTSUP, "%s is packed with %s: gzip and bzip2 are understood", path, packing);

    xk_err_hint(err, "unpack it first");
    return code;
}

/* Octal digits, or a big-endian number when the first bit is set. */
static uint64_t tar_number(const uint8_t *field, size_t bytes)
{
    uint64_t n = 0;

    if (field[0] & 0x80) {
        for (size_t i = bytes - 8; i < bytes; i++)
            n = n << 8 | field[i];
        return n;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (field[i] >= '0' && field[i] <= '7')
            n = n << 3 | (uint64_t)(field[i] - '0');
    }
    return n;
}

static bool is_checksum_right(const uint8_t block[TAR_BLOCK])
{
    uint64_t sum = 0;

    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : block[i];
    return sum == tar_number(block + 148, 8);
}

static int unpack(struct sessionlog *log, struct stream *from, const char *name, int64_t mtime_s, unsigned depth,
                  struct xk_err *err);

static int unpack_gzip(struct sessionlog *log, struct stream *from, const char *name, int64_t mtime_s, unsigned depth,
                       struct xk_err *err)
{
    struct stream_gzip gzip;

    int code = stream_from_gzip(&gzip, from, err);
    if (code < 0)
        return code;
    code = unpack(log, &gzip.stream, name, mtime_s, depth + 1, err);
    if (code == 0 && gzip.damaged)
        code = sessionlog_complain(log, xk_fail(err, -EBADMSG, "%s: the compressed data are cut", name), err);
    stream_done(&gzip.stream);
    return code;
}

static int unpack_bzip2(struct sessionlog *log, struct stream *from, const char *name, int64_t mtime_s, unsigned depth,
                        struct xk_err *err)
{
    struct stream_bzip2 bzip2;

    int code = stream_from_bzip2(&bzip2, from, err);
    if (code < 0)
        return code;
    code = unpack(log, &bzip2.stream, name, mtime_s, depth + 1, err);
    if (code == 0 && bzip2.damaged)
        code = sessionlog_complain(log, xk_fail(err, -EBADMSG, "%s: the compressed data are cut", name), err);
    stream_done(&bzip2.stream);
    return code;
}

/* One member of an archive. returns 1 when the archive ends in it. */
static int unpack_member(struct sessionlog *log, struct stream *from, const uint8_t block[TAR_BLOCK],
                         const char *archive, const char *long_name, struct xk_err *err)
{
    const uint64_t bytes = tar_number(block + 124, 12);
    struct stream_part part;
    char short_name[300];

    snprintf(short_name, sizeof(short_name), "%.155s%s%.100s", (const char *)block + 345, block[345] ? "/" : "",
             (const char *)block);
    xk_autofree char *name = xk_asprintf("%s(%s)", archive, *long_name ? long_name : short_name);
    if (!name)
        return xk_fail_memory(err);
    stream_from_part(&part, from, bytes, name);
    int code = 0;
    if (block[156] == '0' || block[156] == '\0')
        code = unpack(log, &part.stream, name, (int64_t)tar_number(block + 136, 12), 1, err);
    if (code == 0)
        code = stream_part_skip(&part, err);
    if (code == 0) {
        struct stream_part padding;
        stream_from_part(&padding, from, -bytes % TAR_BLOCK, name);
        code = stream_part_skip(&padding, err);
    }
    const bool cut = part.left > 0;
    stream_done(&part.stream);
    return code == 0 && cut ? 1 : code;
}

/* The name of the next member, too long for its header. */
static int read_long_name(struct stream *from, const uint8_t block[TAR_BLOCK], char ret[TAR_NAME_MAX],
                          struct xk_err *err)
{
    const uint64_t bytes = tar_number(block + 124, 12);
    struct stream_part rest;
    uint64_t padded;

    if (bytes >= TAR_NAME_MAX)
        return xk_fail(err, -EBADMSG, "%s: a member's name is longer than %d bytes", from->name, TAR_NAME_MAX - 1);
    padded = XK_ROUND_UP(bytes, (uint64_t)TAR_BLOCK);
    const ssize_t n = stream_read(from, ret, (size_t)bytes, err);
    if (n < 0)
        return (int)n;
    ret[n] = '\0';
    stream_from_part(&rest, from, padded - bytes, from->name);
    return stream_part_skip(&rest, err);
}

static int unpack_tar(struct sessionlog *log, struct stream *from, const char *name, struct xk_err *err)
{
    uint8_t block[TAR_BLOCK];
    char long_name[TAR_NAME_MAX] = "";

    for (unsigned i = 0; i < TAR_MEMBERS_MAX; i++) {
        int code = 0;
        const ssize_t n = stream_read(from, block, sizeof(block), err);
        if (n < 0)
            return (int)n;
        if (n == 0 || (n == TAR_BLOCK && block[0] == '\0'))
            return 0;
        if (n < TAR_BLOCK || !is_checksum_right(block)) {
            code = 1;
        } else if (block[156] == 'L') {
            code = read_long_name(from, block, long_name, err);
        } else {
            code = unpack_member(log, from, block, name, long_name, err);
            if (block[156] != 'x' && block[156] != 'g')
                long_name[0] = '\0';
        }
        if (code < 0)
            return code;
        if (code > 0)
            return sessionlog_complain(log, xk_fail(err, -EBADMSG, "%s: the archive is cut or damaged", name), err);
    }
    return xk_fail(err, -EFBIG, "%s: an archive of more than %d members", name, TAR_MEMBERS_MAX);
}

/* A gzip of a tar of gzips is as deep as it gets. */
#define UNPACK_DEPTH_MAX 3

static int unpack(struct sessionlog *log, struct stream *from, const char *name, int64_t mtime_s, unsigned depth,
                  struct xk_err *err)
{
    const uint8_t *head;
    size_t bytes;

    const int code = stream_peek(from, &head, TAR_BLOCK, &bytes, err);
    if (code < 0 || bytes == 0)
        return code;
    if (depth < UNPACK_DEPTH_MAX && is_gzip(head, bytes))
        return unpack_gzip(log, from, name, mtime_s, depth, err);
    if (depth < UNPACK_DEPTH_MAX && is_bzip2(head, bytes))
        return unpack_bzip2(log, from, name, mtime_s, depth, err);
    if (depth < UNPACK_DEPTH_MAX - 1 && is_tar(head, bytes))
        return unpack_tar(log, from, name, err);
    const char *const packing = foreign_packing(head, bytes);
    if (packing) {
        const int refused = refuse_packing(name, packing, err);
        return depth == 0 ? refused : sessionlog_complain(log, refused, err);
    }
    struct piece p = {.path = xk_strdup(name), .mtime_s = mtime_s};
    return p.path ? spool_stream(log, &p, from, err) : xk_fail_memory(err);
}

/* ---- files ---- */

/* returns 1 when the file is an archive, of which all that counts is in the spool now; 0 when it is a log. */
static int sniff(struct sessionlog *log, struct piece *p, const struct xk_file *file, struct xk_err *err)
{
    struct stream_file plain;
    struct stream_gzip gzip = {0};
    const uint8_t *head;
    size_t bytes;

    stream_from_file(&plain, file, 0, UINT64_MAX);
    struct stream *top = &plain.stream;
    int code = stream_peek(top, &head, PROBE_BYTES, &bytes, err);
    if (code == 0 && is_gzip(head, bytes)) {
        p->kind = PIECE_GZIP;
        code = stream_from_gzip(&gzip, top, err);
        if (code == 0) {
            top = &gzip.stream;
            code = stream_peek(top, &head, PROBE_BYTES, &bytes, err);
        }
    }
    if (code == 0 && is_bzip2(head, bytes)) {
        code = unpack_bzip2(log, top, p->path, p->mtime_s, 0, err);
        code = code < 0 ? code : 1;
    } else if (code == 0 && is_tar(head, bytes)) {
        code = unpack_tar(log, top, p->path, err);
        if (code == 0 && gzip.damaged)
            code = sessionlog_complain(log, xk_fail(err, -EBADMSG, "%s: the compressed data are cut", p->path), err);
        code = code < 0 ? code : 1;
    } else if (code == 0 && foreign_packing(head, bytes)) {
        code = refuse_packing(p->path, foreign_packing(head, bytes), err);
    } else if (code == 0) {
        look_at_bytes(p, (const char *)head, bytes, false);
    }
    stream_done(&gzip.stream);
    stream_done(&plain.stream);
    return code;
}

/* The same file under two names, or named twice, is read once. */
static int is_seen(struct sessionlog *log, const struct stat *st, bool *ret)
{
    uint8_t id[IDS_BYTES] = {0};

    memcpy(id, &st->st_dev, sizeof(st->st_dev));
    memcpy(id + 8, &st->st_ino, sizeof(st->st_ino));
    *ret = ids_find(&log->seen, id, NULL);
    return *ret ? 0 : ids_put(&log->seen, id, 0);
}

static int add_file(struct sessionlog *log, const char *path, struct xk_err *err)
{
    struct xk_file file;
    struct stat st;
    bool seen;

    int code = xk_file_open(&file, log->settings.fs, path, O_RDONLY, 0, err);
    if (code < 0)
        return code;
    struct piece p = {.path = xk_strdup(path)};
    code = log->settings.fs->ops->fstat(log->settings.fs, file.fd, &st);
    if (code < 0)
        code = xk_fail_sys(err, code, "cannot read %s", path);
    else if (!p.path || is_seen(log, &st, &seen) < 0)
        code = xk_fail_memory(err);
    else if (seen)
        code = 1;
    p.mtime_s = code < 0 ? 0 : st.st_mtime;
    if (code == 0)
        code = sniff(log, &p, &file, err);
    if (code == 0 && p.kind == PIECE_PLAIN)
        code = probe_end(&p, &file, err);
    xk_file_close(&file);
    if (code != 0) {
        free(p.path);
        return code < 0 ? code : 0;
    }
    p.device = st.st_dev;
    p.inode = st.st_ino;
    return add_piece(log, &p, err);
}

static int add_pipe(struct sessionlog *log, const char *path, struct xk_err *err)
{
    const bool standard = strcmp(path, "-") == 0;
    const int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stream_pipe pipe;

    if (fd < 0)
        return xk_fail_sys(err, -errno, "cannot read %s", path);
    stream_from_pipe(&pipe, fd, standard ? "standard input" : path);
    const int code = unpack(log, &pipe.stream, pipe.stream.name, 0, 0, err);
    stream_done(&pipe.stream);
    if (!standard)
        (void)close(fd);
    return code;
}

int sessionlog_add_stream(struct sessionlog *log, const char *name,
                          ssize_t (*read)(void *context, void *bytes, size_t count, struct xk_err *err), void *context,
                          struct xk_err *err)
{
    struct stream_call call;

    stream_from_call(&call, name, read, context);
    const int code = unpack(log, &call.stream, name, 0, 0, err);
    stream_done(&call.stream);
    return code;
}

static int add_folder(struct sessionlog *log, const char *path, unsigned depth, struct xk_err *err);

/* What is found in a folder and cannot be read is told, and does not end it. */
static int add_found(struct sessionlog *log, const char *dir, const struct dirent *entry, unsigned depth,
                     struct xk_err *err)
{
    struct stat st;
    xk_autofree char *path = xk_path_join(dir, entry->d_name);

    if (!path)
        return xk_fail_memory(err);
    if (lstat(path, &st) < 0)
        return sessionlog_complain(log, xk_fail_sys(err, -errno, "cannot read %s", path), err);
    if (S_ISDIR(st.st_mode))
        return add_folder(log, path, depth + 1, err);
    if (S_ISLNK(st.st_mode) && stat(path, &st) < 0) /* it leads nowhere */
        return 0;
    if (!S_ISREG(st.st_mode)) /* a link to a folder could lead round in circles */
        return 0;
    return sessionlog_complain(log, add_file(log, path, err), err);
}

static int add_folder(struct sessionlog *log, const char *path, unsigned depth, struct xk_err *err)
{
    int code = 0;

    if (depth > SESSIONLOG_DEPTH_MAX)
        return xk_fail(err, -ELOOP, "%s: more than %d folders below each other", path, SESSIONLOG_DEPTH_MAX);
    DIR *const dir = opendir(path);
    if (!dir)
        return sessionlog_complain(log, xk_fail_sys(err, -errno, "cannot read %s", path), err);
    for (const struct dirent *entry; code == 0 && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            code = add_found(log, path, entry, depth, err);
    }
    (void)closedir(dir);
    return code;
}

int sessionlog_add(struct sessionlog *log, const char *path, struct xk_err *err)
{
    struct stat st;

    if (strcmp(path, "-") == 0)
        return add_pipe(log, path, err);
    if (stat(path, &st) < 0)
        return xk_fail_sys(err, -errno, "cannot read %s", path);
    if (S_ISDIR(st.st_mode))
        return add_folder(log, path, 0, err);
    return S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ? add_file(log, path, err) : add_pipe(log, path, err);
}
