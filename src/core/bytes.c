/*
 * Readers and writers of fixed layouts. Every access goes through take() or give(), the only two places that compare
 * a position with the end; the values are put together byte by byte, which gcc and clang turn into one load or store.
 */
#include "core/bytes.h"

#include <string.h>

/* The next `bytes` bytes, or NULL when there are not so many (or were not before). */
static const uint8_t *take(struct xk_reader *r, size_t bytes)
{
    if (r->bad || bytes > r->size - r->at) {
        r->bad = true;
        return NULL;
    }
    const size_t at = r->at;
    r->at += bytes;
    return bytes > 0 ? r->data + at : r->data; /* data is NULL for nothing at all */
}

uint8_t xk_u8(struct xk_reader *r)
{
    const uint8_t *p = take(r, 1);
    return p ? p[0] : 0;
}

uint16_t xk_be16(struct xk_reader *r)
{
    const uint8_t *p = take(r, 2);
    return (uint16_t)(p ? p[0] << 8 | p[1] : 0);
}

uint32_t xk_be32(struct xk_reader *r)
{
    const uint8_t *p = take(r, 4);
    return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

uint64_t xk_be64(struct xk_reader *r)
{
    const uint8_t *p = take(r, 8);
    return p ? (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 | (uint64_t)p[3] << 32 |
                   (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 | (uint64_t)p[6] << 8 | p[7]
             : 0;
}

uint16_t xk_le16(struct xk_reader *r)
{
    return __builtin_bswap16(xk_be16(r));
}

uint32_t xk_le32(struct xk_reader *r)
{
    return __builtin_bswap32(xk_be32(r));
}

uint64_t xk_le64(struct xk_reader *r)
{
    return __builtin_bswap64(xk_be64(r));
}

void xk_skip(struct xk_reader *r, size_t bytes)
{
    (void)take(r, bytes);
}

void xk_seek(struct xk_reader *r, size_t at)
{
    if (r->bad || at > r->size)
        r->bad = true;
    else
        r->at = at;
}

void xk_take_bytes(struct xk_reader *r, void *ret, size_t bytes)
{
    const uint8_t *p = take(r, bytes);
    if (bytes == 0)
        return;
    if (p)
        memcpy(ret, p, bytes);
    else
        memset(ret, 0, bytes);
}

size_t xk_left(const struct xk_reader *r)
{
    return r->bad ? 0 : r->size - r->at;
}

static uint8_t *give(struct xk_writer *w, size_t bytes)
{
    if (w->bad || bytes > w->size - w->at) {
        w->bad = true;
        return NULL;
    }
    const size_t at = w->at;
    w->at += bytes;
    return bytes > 0 ? w->data + at : w->data;
}

void xk_write_u8(struct xk_writer *w, uint8_t v)
{
    uint8_t *p = give(w, 1);
    if (p)
        p[0] = v;
}

void xk_write_be16(struct xk_writer *w, uint16_t v)
{
    const uint8_t bytes[] = {(uint8_t)(v >> 8), (uint8_t)v};
    xk_write_raw(w, bytes, sizeof(bytes));
}

void xk_write_be32(struct xk_writer *w, uint32_t v)
{
    const uint8_t bytes[] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    xk_write_raw(w, bytes, sizeof(bytes));
}

void xk_write_be64(struct xk_writer *w, uint64_t v)
{
    const uint8_t bytes[] = {(uint8_t)(v >> 56), (uint8_t)(v >> 48), (uint8_t)(v >> 40), (uint8_t)(v >> 32),
                             (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),  (uint8_t)v};
    xk_write_raw(w, bytes, sizeof(bytes));
}

void xk_write_le16(struct xk_writer *w, uint16_t v)
{
    xk_write_be16(w, __builtin_bswap16(v));
}

void xk_write_le32(struct xk_writer *w, uint32_t v)
{
    xk_write_be32(w, __builtin_bswap32(v));
}

void xk_write_le64(struct xk_writer *w, uint64_t v)
{
    xk_write_be64(w, __builtin_bswap64(v));
}

void xk_write_raw(struct xk_writer *w, const void *bytes, size_t count)
{
    uint8_t *p = give(w, count);
    if (p && count > 0)
        memcpy(p, bytes, count);
}

void xk_write_zeros(struct xk_writer *w, size_t count)
{
    uint8_t *p = give(w, count);
    if (p && count > 0)
        memset(p, 0, count);
}
