/*
 * Buffer: one block that doubles. Arena: a list of blocks, each at least twice as large as the one before up to a
 * limit, so a parse of n bytes costs few allocations; what is larger than a block gets one to itself.
 */
#include "core/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BUF_FIRST_BYTES 64

void xk_buf_init(struct xk_buf *b, size_t max_bytes)
{
    *b = XK_BUF_INIT(max_bytes);
}

void xk_buf_done(struct xk_buf *b)
{
    if (!b)
        return;
    free(b->data);
    *b = XK_BUF_INIT(b->max);
}

void xk_buf_reset(struct xk_buf *b)
{
    b->len = 0;
    b->error = 0;
    if (b->data)
        b->data[0] = '\0';
}

/* Make room for `count` more bytes and the NUL. False: the buffer is in error. */
static bool buf_reserve(struct xk_buf *b, size_t count)
{
    if (b->error)
        return false;
    assert(b->len <= b->max);
    if (count > b->max - b->len || b->len + count == SIZE_MAX) {
        b->error = -EFBIG;
        return false;
    }
    const size_t need = b->len + count + 1;
    if (need <= b->capacity)
        return true;
    size_t capacity = XK_MAX(b->capacity, (size_t)BUF_FIRST_BYTES);
    while (capacity < need)
        capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    if (b->max < SIZE_MAX && capacity > b->max + 1)
        capacity = b->max + 1;
    char *data = xk_realloc(b->data, capacity);
    if (!data) {
        b->error = -ENOMEM;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    b->data[b->len] = '\0';
    return true;
}

void xk_buf_add(struct xk_buf *b, const void *bytes, size_t count)
{
    if (!buf_reserve(b, count))
        return;
    if (count > 0)
        memcpy(b->data + b->len, bytes, count);
    b->len += count;
    b->data[b->len] = '\0';
}

void xk_buf_add_str(struct xk_buf *b, const char *text)
{
    xk_buf_add(b, text, strlen(text));
}

void xk_buf_add_char(struct xk_buf *b, char c)
{
    if (!buf_reserve(b, 1))
        return;
    b->data[b->len++] = c;
    b->data[b->len] = '\0';
}

void xk_buf_add_u64(struct xk_buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    xk_buf_add(b, digits + at, sizeof(digits) - at);
}

void xk_buf_add_i64(struct xk_buf *b, int64_t v)
{
    if (v < 0)
        xk_buf_add_char(b, '-');
    xk_buf_add_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void xk_buf_add_repeat(struct xk_buf *b, char c, size_t count)
{
    if (!buf_reserve(b, count))
        return;
    memset(b->data + b->len, c, count);
    b->len += count;
    b->data[b->len] = '\0';
}

void xk_buf_printf(struct xk_buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    xk_buf_vprintf(b, format, args);
    va_end(args);
}

void xk_buf_vprintf(struct xk_buf *b, const char *format, va_list args)
{
    if (!buf_reserve(b, 0))
        return;
    va_list again;
    va_copy(again, args);
    const size_t room = b->capacity - b->len;
    const int wanted = vsnprintf(b->data + b->len, room, format, args);
    if (wanted < 0) {
        b->error = -ENOMEM; /* no wide characters here, so glibc has no other reason */
    } else if ((size_t)wanted >= room) {
        b->data[b->len] = '\0';
        if (buf_reserve(b, (size_t)wanted)) {
            const int written = vsnprintf(b->data + b->len, (size_t)wanted + 1, format, again);
            assert(written == wanted);
        }
    }
    va_end(again);
    if (b->error)
        b->data[b->len] = '\0';
    else
        b->len += (size_t)wanted;
}

const char *xk_buf_str(const struct xk_buf *b)
{
    return b->data ? b->data : "";
}

char *xk_buf_take(struct xk_buf *b)
{
    char *data = buf_reserve(b, 0) ? XK_TAKE(b->data) : NULL;
    xk_buf_done(b);
    return data;
}

/* ---- arena ---- */

#define ARENA_FIRST_BYTES     4096
#define ARENA_BLOCK_BYTES_MAX (256 * (size_t)1024)
#define ARENA_ALIGN           _Alignof(max_align_t)

struct xk_arena_block {
    struct xk_arena_block *next;
    size_t used, size;
    _Alignas(max_align_t) char data[];
};

static struct xk_arena_block *arena_block(struct xk_arena *a, size_t bytes)
{
    size_t size = a->blocks ? XK_MIN(a->blocks->size * 2, ARENA_BLOCK_BYTES_MAX) : ARENA_FIRST_BYTES;
    const bool alone = bytes > size / 2;
    if (alone)
        size = bytes;
    size_t total;
    if (xk_add(size, sizeof(struct xk_arena_block), &total))
        return NULL;
    struct xk_arena_block *block = xk_alloc(total);
    if (!block)
        return NULL;
    block->size = size;
    block->used = 0;
    /* A block of one large object goes behind the first, which still has room for small ones. */
    struct xk_arena_block **where = alone && a->blocks ? &a->blocks->next : &a->blocks;
    block->next = *where;
    *where = block;
    return block;
}

/* Memory that nobody has written to. */
static void *arena_take(struct xk_arena *a, size_t bytes)
{
    assert(a->used <= a->max);
    const size_t wanted = XK_MAX(bytes, (size_t)1);
    if (wanted > a->max - a->used)
        return NULL;
    size_t padded;
    if (xk_add(wanted, ARENA_ALIGN - 1, &padded))
        return NULL;
    padded -= padded % ARENA_ALIGN;
    struct xk_arena_block *block = a->blocks;
    if (!block || block->size - block->used < padded)
        block = arena_block(a, padded);
    if (!block)
        return NULL;
    void *memory = block->data + block->used;
    block->used += padded;
    a->used += wanted;
    return memory;
}

void *xk_arena_alloc(struct xk_arena *a, size_t bytes)
{
    void *memory = arena_take(a, bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

char *xk_arena_strdup(struct xk_arena *a, const char *text)
{
    return xk_arena_strndup(a, text, strlen(text));
}

char *xk_arena_strndup(struct xk_arena *a, const char *text, size_t bytes)
{
    const size_t length = strnlen(text, bytes);
    char *copy = arena_take(a, length + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *xk_arena_printf(struct xk_arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : xk_arena_alloc(a, (size_t)length + 1);
    if (text) {
        const int written = vsnprintf(text, (size_t)length + 1, format, again);
        assert(written == length);
    }
    va_end(again);
    va_end(args);
    return text;
}

void xk_arena_done(struct xk_arena *a)
{
    if (!a)
        return;
    while (a->blocks) {
        struct xk_arena_block *block = a->blocks;
        a->blocks = block->next;
        free(block);
    }
    a->used = 0;
}
