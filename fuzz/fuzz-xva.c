/*
 * An archive from anybody, in pieces of any size: two disks are expected behind whatever records there are. The first
 * byte says how it is cut and what is expected; what comes out of a sound one depends on the bytes only, not on the
 * cuts.
 */
#include "lib/xva/xva.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct xva_reader *reader;
    bool inline_sums, table;
    uint64_t sum, last[2];
    enum xva_state state;
    enum xva_fault fault;
};

static void note(struct seen *s, uint64_t v)
{
    s->sum = (s->sum ^ v) * UINT64_C(0x100000001b3);
}

static int on_metadata(void *context, const char *xml, size_t bytes)
{
    static const struct xva_disk disks[] = {{"Ref:1", 3u << 20}, {"Ref:2", 700}};
    struct seen *const s = context;

    assert(bytes <= XVA_METADATA_MAX && xml[bytes] == '\0');
    note(s, bytes);
    return xva_reader_expect(s->reader, disks, XK_COUNT(disks), s->inline_sums, s->table);
}

static int on_data(void *context, size_t disk, uint64_t start, const void *bytes, size_t count)
{
    struct seen *const s = context;

    assert(disk < 2 && start >= s->last[disk] && count <= XVA_PIECE_MAX && start <= INT64_MAX - count);
    s->last[disk] = start + count;
    note(s, start);
    for (size_t i = 0; i < count; i += 997)
        note(s, ((const uint8_t *)bytes)[i]);
    return 0;
}

static int on_table(void *context, const char *xml, size_t bytes)
{
    const struct seen *const s = context;

    assert(xva_reader_sums(s->reader) <= XVA_SUMS_MAX);
    (void)xva_reader_sum(s->reader, "Ref:1/00000000");
    return bytes % 2 ? -1 : 0;
}

static void read_in(struct seen *s, const uint8_t *data, size_t size, size_t cut, uint8_t flags)
{
    const struct xva_settings settings = {.metadata = on_metadata,
                                          .data = on_data,
                                          .table = on_table,
                                          .context = s,
                                          .metadata_only = (flags & 1) != 0,
                                          .force = (flags & 2) != 0};
    size_t at = 0, taken;

    *s = (struct seen){.reader = xva_reader_new(&settings), .inline_sums = (flags & 4) != 0, .table = (flags & 8) != 0};
    assert(s->reader);
    s->state = XVA_MORE;
    while (at < size && (s->state == XVA_MORE || s->state == XVA_AGAIN)) {
        const size_t part = XK_MIN(cut, size - at);
        s->state = xva_reader_feed(s->reader, data + at, part, &taken);
        assert(taken <= part && (s->state != XVA_MORE || taken == part));
        at += taken;
    }
    while (s->state == XVA_MORE || s->state == XVA_AGAIN)
        s->state = xva_reader_end(s->reader);
    s->fault = xva_reader_told(s->reader)->fault;
    assert((s->state == XVA_FAILED) == (s->fault != XVA_FINE));
    xva_reader_free(s->reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole, cut;

    if (size < 2)
        return 0;
    read_in(&whole, data + 1, size - 1, SIZE_MAX, data[0]);
    read_in(&cut, data + 1, size - 1, (size_t)(data[0] >> 4) * 97 + 1, data[0]);
    /* How much of a damaged packing comes out before the damage depends on how it was asked for. */
    const bool packed = data[1] == 0x1f || data[1] == 0x28;
    if (!packed || (whole.state == XVA_DONE && cut.state == XVA_DONE))
        assert(whole.state == cut.state && whole.fault == cut.fault && whole.sum == cut.sum);
    return 0;
}
