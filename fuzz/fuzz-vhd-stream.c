/* An image from anybody as a stream, whole and in pieces: what comes out lies on the disk, and is the same both times.
 */
#include "lib/vhd/stream.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t bytes, sum;
    int code;
};

static int on_size(void *context, uint64_t bytes)
{
    struct seen *const s = context;

    s->bytes = bytes;
    return 0;
}

static int on_data(void *context, uint64_t start, const void *bytes, size_t count)
{
    struct seen *const s = context;

    assert(start < s->bytes && count <= s->bytes - start && count % VHD_SECTOR == 0);
    s->sum = (s->sum ^ start ^ ((const uint8_t *)bytes)[count - 1]) * UINT64_C(0x100000001b3);
    return 0;
}

static void run(struct seen *ret, const uint8_t *data, size_t size, size_t cut)
{
    const struct vhd_stream_settings settings = {.size = on_size, .data = on_data, .context = ret};
    struct vhd_stream *const s = vhd_stream_new(&settings);
    struct xk_err err = {0};

    assert(s);
    *ret = (struct seen){0};
    for (size_t at = 0; at < size && ret->code == 0; at += cut)
        ret->code = vhd_stream_feed(s, data + at, XK_MIN(cut, size - at), &err);
    assert(ret->code >= 0 || err.text[0]);
    vhd_stream_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole, cut;

    if (size == 0)
        return 0;
    run(&whole, data, size, size);
    run(&cut, data, size, 517);
    assert(whole.code == cut.code && whole.sum == cut.sum);
    return 0;
}
