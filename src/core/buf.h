/*
 * A growable buffer with a maximum and a sticky error, and an arena for many small objects with one lifetime.
 */
#ifndef XK_BUF_H
#define XK_BUF_H

#include "core/base.h"

#include <stdarg.h>

/*
 * Bytes that grow. Appending past `max` or without memory sets `error` (-EFBIG, -ENOMEM) for good and changes
 * nothing more, so a text is built straight down and asked once. `data` always ends in a NUL that `len` leaves out.
 */
struct xk_buf {
    char *data; /* NULL until the first append */
    size_t len, capacity, max;
    int error;
};

#define XK_BUF_INIT(max_bytes) ((struct xk_buf){.max = (max_bytes)})

void xk_buf_init(struct xk_buf *b, size_t max_bytes);
void xk_buf_done(struct xk_buf *b);
/* Forget the content and the error, keep the memory. */
void xk_buf_reset(struct xk_buf *b);
void xk_buf_add(struct xk_buf *b, const void *bytes, size_t count);
void xk_buf_add_str(struct xk_buf *b, const char *text);
void xk_buf_add_char(struct xk_buf *b, char c);
void xk_buf_add_u64(struct xk_buf *b, uint64_t v); /* decimal */
void xk_buf_add_i64(struct xk_buf *b, int64_t v);
void xk_buf_add_repeat(struct xk_buf *b, char c, size_t count);
void xk_buf_printf(struct xk_buf *b, const char *format, ...) XK_PRINTF(2, 3);
void xk_buf_vprintf(struct xk_buf *b, const char *format, va_list args) XK_PRINTF(2, 0);
/* The content as text, never NULL. */
const char *xk_buf_str(const struct xk_buf *b);
/* Hand the memory over (free() it); NULL when the buffer is in error. The buffer is empty afterwards. */
char *xk_buf_take(struct xk_buf *b) XK_MUST_USE;

/* An arena: allocations live until xk_arena_done(). At most `max` bytes in all. */
struct xk_arena {
    struct xk_arena_block *blocks;
    size_t used, max;
};

#define XK_ARENA_INIT(max_bytes) ((struct xk_arena){.max = (max_bytes)})

/* Zero filled, aligned for any type; NULL when memory or the maximum is out. */
void *xk_arena_alloc(struct xk_arena *a, size_t bytes) XK_MUST_USE;
char *xk_arena_strdup(struct xk_arena *a, const char *text) XK_MUST_USE;
char *xk_arena_strndup(struct xk_arena *a, const char *text, size_t bytes) XK_MUST_USE;
char *xk_arena_printf(struct xk_arena *a, const char *format, ...) XK_PRINTF(2, 3) XK_MUST_USE;
void xk_arena_done(struct xk_arena *a);

#endif
