/*
 * Readers and writers of fixed binary layouts, with a sticky error.
 *
 * A read past the end gives zero and sets `bad` for good, so a record is decoded straight down and asked once.
 * A write past the end writes nothing and sets `bad`.
 */
#ifndef XK_BYTES_H
#define XK_BYTES_H

#include "core/base.h"

struct xk_reader {
    const uint8_t *data;
    size_t size, at;
    bool bad;
};

struct xk_writer {
    uint8_t *data;
    size_t size, at;
    bool bad;
};

static inline struct xk_reader xk_reader(const void *data, size_t bytes)
{
    return (struct xk_reader){.data = data, .size = bytes};
}
static inline struct xk_writer xk_writer(void *data, size_t bytes)
{
    return (struct xk_writer){.data = data, .size = bytes};
}

/* Whether `count` bytes are all zero; true for none. At the speed of memory. */
bool xk_is_zero(const void *bytes, size_t count);

uint8_t xk_u8(struct xk_reader *r);
uint16_t xk_be16(struct xk_reader *r);
uint32_t xk_be32(struct xk_reader *r);
uint64_t xk_be64(struct xk_reader *r);
uint16_t xk_le16(struct xk_reader *r);
uint32_t xk_le32(struct xk_reader *r);
uint64_t xk_le64(struct xk_reader *r);
void xk_skip(struct xk_reader *r, size_t bytes);
/* Absolute position; past the end sets bad. */
void xk_seek(struct xk_reader *r, size_t at);
/* Copy bytes out; zero filled when there are not enough. */
void xk_take_bytes(struct xk_reader *r, void *ret, size_t bytes);
size_t xk_left(const struct xk_reader *r);

void xk_write_u8(struct xk_writer *w, uint8_t v);
void xk_write_be16(struct xk_writer *w, uint16_t v);
void xk_write_be32(struct xk_writer *w, uint32_t v);
void xk_write_be64(struct xk_writer *w, uint64_t v);
void xk_write_le16(struct xk_writer *w, uint16_t v);
void xk_write_le32(struct xk_writer *w, uint32_t v);
void xk_write_le64(struct xk_writer *w, uint64_t v);
void xk_write_raw(struct xk_writer *w, const void *bytes, size_t count);
void xk_write_zeros(struct xk_writer *w, size_t count);

#endif
