/*
 * Between the parts of the library: the lines of a stream, and the pieces that the log is made of. Nobody else includes
 * this.
 */
#ifndef SESSIONLOG_PIECES_H
#define SESSIONLOG_PIECES_H

#include "lib/sessionlog/stream.h"
#include "lib/sessionlog/track.h"

#define LINES_BYTES (1u << 20)

/* Cuts bytes into lines. What stands behind the last newline waits for more. */
struct lines {
    char *buf; /* LINES_BYTES */
    size_t have;
    bool skipping; /* the rest of a line that is too long */
    int (*line)(void *context, const char *line, size_t bytes);
    void *context;
};
int lines_init(struct lines *ret, int (*line)(void *context, const char *line, size_t bytes), void *context);
void lines_done(struct lines *l);
/* Where the next bytes go, *ret_room of them; then lines_added() says how many came. */
char *lines_room(struct lines *l, size_t *ret_room);
int lines_added(struct lines *l, size_t bytes);
/* The last line needs no newline. */
int lines_end(struct lines *l);

enum piece_kind {
    PIECE_PLAIN,
    PIECE_GZIP,
    PIECE_SPOOLED, /* lines that count, from an archive or a pipe, in the spool */
};

struct piece {
    enum piece_kind kind;
    char *path;                          /* of a member: ARCHIVE(MEMBER) */
    uint64_t from, to;                   /* in the spool */
    int64_t mtime_s;                     /* 0: unknown */
    uint64_t number;                     /* in the name: xensource.log.12.gz has 12 */
    size_t order;                        /* as it was added */
    struct sessionlog_stamp first, last; /* month 0: no line has one */
    int64_t first_s, last_s;             /* with a year; see pieces_sort() */
    dev_t device;
    ino_t inode;
};

struct sessionlog {
    struct sessionlog_settings settings;
    struct track track;
    struct piece *pieces;
    size_t piece_count, piece_capacity;
    struct ids seen;      /* files by device and inode */
    struct xk_file spool; /* unnamed; open once it is needed */
    uint64_t spool_bytes;
    struct lines lines;
    size_t current; /* the piece that follows on */
};

/* ---- order.c ---- */

/* Give every piece its year, and bring them into the order of time. now_s: no log is younger. */
void pieces_sort(struct piece *pieces, size_t count, int64_t now_s);

/* ---- sessionlog.c ---- */

/* What concerns one path is told and forgotten: returns 0 then; else the code. */
int sessionlog_complain(const struct sessionlog *log, int code, struct xk_err *err);

#endif
