/*
 * Bytes from any server as the reply to a request.
 *
 * The first byte says in which pieces the rest arrives and what was asked for; the same bytes in one piece have to give
 * the same reply.
 */
#include "lib/http/reader.h"

#include <assert.h>
#include <string.h>

#define BODY_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* returns   0: a whole reply; a negative errno value. */
static int feed(struct http_reader *r, const char *bytes, size_t count, size_t piece, uint8_t how)
{
    http_reader_init(r, BODY_MAX, how & 0x40, how & 0x80);
    for (size_t at = 0; at < count && !http_reader_whole(r);) {
        struct xk_err err = {0};
        const size_t now = XK_MIN(piece, count - at);
        const ssize_t used = http_reader_feed(r, bytes + at, now, &err);
        if (used < 0) {
            assert(err.code == used && *err.text);
            return (int)used;
        }
        assert((size_t)used == now || http_reader_whole(r));
        at += (size_t)used;
    }
    return http_reader_whole(r) ? 0 : http_reader_end(r, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_reader pieces, whole;

    if (size == 0)
        return 0;
    const char *const bytes = (const char *)data + 1;
    const int a = feed(&pieces, bytes, size - 1, (data[0] & 0x1f) + 1u, data[0]);
    const int b = feed(&whole, bytes, size - 1, size, data[0]);
    assert(a == b);
    if (a == 0) {
        assert(http_reader_status(&pieces) == http_reader_status(&whole) && pieces.close == whole.close);
        assert(pieces.body.len == whole.body.len && pieces.body.len <= BODY_MAX);
        assert(pieces.body.len == 0 || memcmp(pieces.body.data, whole.body.data, pieces.body.len) == 0);
        assert(pieces.header_count == whole.header_count);
        const char *const type = http_reader_header(&pieces, "content-type");
        assert(!type == !http_reader_header(&whole, "Content-Type"));
    }
    http_reader_done(&pieces);
    http_reader_done(&whole);
    return 0;
}
