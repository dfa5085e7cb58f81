/*
 * Bytes from a file, a pipe, a gzip stream or a member of an archive, read from the front.
 */
#ifndef SESSIONLOG_STREAM_H
#define SESSIONLOG_STREAM_H

#include "core/err.h"
#include "core/fs.h"

struct stream {
    /* returns the count, 0 at the end; a negative errno value with err filled. */
    ssize_t (*read)(struct stream *s, void *buf, size_t bytes, struct xk_err *err);
    void (*done)(struct stream *s); /* NULL: owns nothing */
    const char *name;               /* for messages; lives as long as the stream */
    uint8_t *ahead;                 /* bytes read before they were wanted */
    size_t ahead_at, ahead_bytes;
};

#define STREAM_AHEAD_BYTES 65536

/* As many as asked for unless the end comes first. */
ssize_t stream_read(struct stream *s, void *buf, size_t bytes, struct xk_err *err);
/* At least one byte unless the end is reached: what is there. */
ssize_t stream_read_some(struct stream *s, void *buf, size_t bytes, struct xk_err *err);
/* Look at the next bytes, at most STREAM_AHEAD_BYTES, and leave them there. *ret_bytes is less only at the end. */
int stream_peek(struct stream *s, const uint8_t **ret, size_t bytes, size_t *ret_bytes, struct xk_err *err);
void stream_done(struct stream *s);

/* A part of an open file; UINT64_MAX: to its end, wherever that is by then. The file stays the caller's. */
struct stream_file {
    struct stream stream;
    const struct xk_file *file;
    uint64_t at, end;
};
void stream_from_file(struct stream_file *ret, const struct xk_file *file, uint64_t from, uint64_t to);

/* A descriptor without positions, the caller's. */
struct stream_pipe {
    struct stream stream;
    int fd;
};
void stream_from_pipe(struct stream_pipe *ret, int fd, const char *name);

/* What a function gives. */
struct stream_call {
    struct stream stream;
    ssize_t (*read)(void *context, void *bytes, size_t count, struct xk_err *err);
    void *context;
};
void stream_from_call(struct stream_call *ret, const char *name,
                      ssize_t (*read)(void *context, void *bytes, size_t count, struct xk_err *err), void *context);

/* The next `bytes` of another stream. */
struct stream_part {
    struct stream stream;
    struct stream *from;
    uint64_t left;
};
void stream_from_part(struct stream_part *ret, struct stream *from, uint64_t bytes, const char *name);
/* Read over what is left of it. */
int stream_part_skip(struct stream_part *p, struct xk_err *err);

/*
 * What another stream, gzip, unpacks to; with several gzip members all of them. A stream that is cut or damaged ends
 * there: `damaged` is set. returns 0; -ENOMEM.
 */
struct stream_gzip {
    struct stream stream;
    struct stream *from;
    void *inflate; /* z_stream */
    uint8_t *in;
    bool members; /* one was unpacked to its end */
    bool damaged, ended;
};
int stream_from_gzip(struct stream_gzip *ret, struct stream *from, struct xk_err *err);

/* The same for bzip2. */
struct stream_bzip2 {
    struct stream stream;
    struct stream *from;
    void *decompress; /* bz_stream */
    uint8_t *in;
    bool between; /* a stream was unpacked to its end, and no other one begun */
    bool damaged, ended;
};
int stream_from_bzip2(struct stream_bzip2 *ret, struct stream *from, struct xk_err *err);

#endif
