/*
 * The log is a ring of entries, each of whole 4 KiB sectors: a header, descriptors, and the sectors that they tell of.
 * An entry counts when its checksum, its GUID and every descriptor agree; entries that follow each other with ascending
 * numbers form a sequence, and the one that reaches the highest number and still has its tail is replayed. Instead of
 * writing, the sectors are kept as patches in the order of replay, and laid over whatever is read from the file.
 *
 * Entries can be made to overlap, so what is summed in all is limited to a few times the log.
 */
#include "lib/vhdx/inner.h"

#include "core/bytes.h"
#include "core/text.h"

#include <string.h>

#define SECTOR             4096u
#define ENTRY_HEADER_BYTES 64u
#define DESCRIPTOR_BYTES   32u
#define DATA_BYTES         4084u /* of a data sector, between its marks */
#define SUMMED_LOGS_MAX    8     /* how often the log may be summed over */

struct patch {
    uint64_t offset, bytes;
    uint32_t data; /* 1 + number of its sector in vhdx_log.sectors; 0: zeros */
};

struct vhdx_log {
    struct patch *patches; /* in order of replay */
    size_t count, capacity;
    uint8_t *sectors; /* SECTOR bytes each */
    size_t sector_count, sector_capacity;
    uint64_t low, high; /* all patches lie in here */
};

struct entry {
    uint32_t at, bytes, tail; /* in the ring */
    uint32_t descriptors;
    uint64_t sequence, flushed_bytes, last_bytes;
};

struct ring {
    const uint8_t *bytes;
    uint32_t size;
    const uint8_t *guid;
    uint64_t summed; /* bytes so far */
    struct xk_err *err;
};

/* A sector of the ring; positions go round. */
static const uint8_t *sector_at(const struct ring *r, uint64_t at)
{
    return r->bytes + at % r->size;
}

static uint32_t entry_checksum(const struct ring *r, uint32_t at, uint32_t bytes)
{
    static const uint8_t no_checksum[4];
    const uint8_t *first = sector_at(r, at);

    uint32_t crc = vhdx_crc32c(0, first, 4);
    crc = vhdx_crc32c(crc, no_checksum, 4);
    crc = vhdx_crc32c(crc, first + 8, SECTOR - 8);
    for (uint32_t done = SECTOR; done < bytes; done += SECTOR)
        crc = vhdx_crc32c(crc, sector_at(r, (uint64_t)at + done), SECTOR);
    return crc;
}

/* Descriptors stand in the sectors at the front, right after the header. */
static struct xk_reader descriptor(const struct ring *r, const struct entry *e, uint32_t n)
{
    const uint64_t at = ENTRY_HEADER_BYTES + (uint64_t)n * DESCRIPTOR_BYTES;

    return xk_reader(sector_at(r, e->at + at / SECTOR * SECTOR) + at % SECTOR, DESCRIPTOR_BYTES);
}

static uint32_t front_bytes(uint32_t descriptors)
{
    return (uint32_t)XK_ROUND_UP(ENTRY_HEADER_BYTES + (uint64_t)descriptors * DESCRIPTOR_BYTES, (uint64_t)SECTOR);
}

/* Do the descriptors and the data sectors belong to this entry, and fill it? */
static bool parts_agree(const struct ring *r, const struct entry *e)
{
    uint32_t at = front_bytes(e->descriptors);

    for (uint32_t i = 0; i < e->descriptors; i++) {
        char mark[4];
        struct xk_reader d = descriptor(r, e, i);
        xk_take_bytes(&d, mark, 4);
        xk_skip(&d, 4);
        const uint64_t length = xk_le64(&d);
        const uint64_t offset = xk_le64(&d);
        const uint64_t sequence = xk_le64(&d);
        if (sequence != e->sequence || offset % SECTOR)
            return false;
        if (memcmp(mark, "zero", 4) == 0) {
            uint64_t end;
            if (length % SECTOR || xk_add(offset, length, &end))
                return false;
            continue;
        }
        if (memcmp(mark, "desc", 4) != 0 || at >= e->bytes || offset > UINT64_MAX - SECTOR)
            return false;
        struct xk_reader data = xk_reader(sector_at(r, (uint64_t)e->at + at), SECTOR);
        xk_take_bytes(&data, mark, 4);
        const uint64_t high = xk_le32(&data);
        xk_skip(&data, DATA_BYTES);
        if (memcmp(mark, "data", 4) != 0 || (high << 32 | xk_le32(&data)) != e->sequence)
            return false;
        at += SECTOR;
    }
    return at == e->bytes;
}

/* returns 1: a valid entry; 0: none; a negative errno value. */
static int decode_entry(struct entry *ret, struct ring *r, uint32_t at)
{
    char mark[4];
    uint8_t guid[16];
    struct xk_reader h = xk_reader(sector_at(r, at), ENTRY_HEADER_BYTES);

    xk_take_bytes(&h, mark, 4);
    const uint32_t checksum = xk_le32(&h);
    *ret = (struct entry){.at = at, .bytes = xk_le32(&h), .tail = xk_le32(&h), .sequence = xk_le64(&h)};
    ret->descriptors = xk_le32(&h);
    xk_skip(&h, 4);
    xk_take_bytes(&h, guid, 16);
    ret->flushed_bytes = xk_le64(&h);
    ret->last_bytes = xk_le64(&h);

    if (memcmp(mark, "loge", 4) != 0 || memcmp(guid, r->guid, 16) != 0 || ret->sequence == 0)
        return 0;
    if (ret->bytes == 0 || ret->bytes % SECTOR || ret->bytes > r->size || ret->tail % SECTOR || ret->tail >= r->size)
        return 0;
    if (ret->descriptors > ret->bytes / DESCRIPTOR_BYTES || front_bytes(ret->descriptors) > ret->bytes)
        return 0;
    r->summed += ret->bytes;
    if (r->summed > (uint64_t)r->size * SUMMED_LOGS_MAX)
        return xk_fail(r->err, -EBADMSG, "the entries of the log overlap each other");
    return entry_checksum(r, at, ret->bytes) == checksum && parts_agree(r, ret);
}

/* A run of entries with ascending numbers. */
struct sequence {
    uint32_t first_at; /* where its first entry begins */
    struct entry head; /* its last one */
    uint32_t count;
};

/* The sequence that begins at `at`; count 0: none does. */
static int follow(struct sequence *ret, struct ring *r, uint32_t at)
{
    uint64_t walked = 0;

    *ret = (struct sequence){.first_at = at};
    while (walked < r->size) {
        struct entry e;
        const int code = decode_entry(&e, r, at);
        if (code < 0)
            return code;
        if (code == 0 || (ret->count && e.sequence != ret->head.sequence + 1) || walked + e.bytes > r->size)
            return 0;
        ret->head = e;
        ret->count++;
        walked += e.bytes;
        at = (uint32_t)(((uint64_t)at + e.bytes) % r->size);
    }
    return 0;
}

/* Find the sequence to replay: from its tail to the highest number there is. */
static int find_active(struct sequence *ret, struct ring *r)
{
    *ret = (struct sequence){0};
    for (uint32_t at = 0; at < r->size;) {
        struct sequence s;
        int code = follow(&s, r, at);
        if (code < 0)
            return code;
        if (s.count && s.head.sequence > ret->head.sequence) {
            /* What was run through may begin before the tail or, where the ring closes, in the middle. */
            struct sequence whole;
            code = follow(&whole, r, s.head.tail);
            if (code < 0)
                return code;
            if (whole.count && whole.head.sequence == s.head.sequence)
                *ret = whole;
        }
        const uint64_t next = s.count ? (uint64_t)s.head.at + s.head.bytes : (uint64_t)at + SECTOR;
        if (next <= at)
            break;
        at = (uint32_t)XK_MIN(next, (uint64_t)r->size);
        if (s.count && s.head.at < s.first_at)
            break; /* it went round the end: everything was seen */
    }
    return 0;
}

static int grow(void **items, size_t *capacity, size_t count, size_t item_bytes, struct xk_err *err)
{
    if (count < *capacity)
        return 0;
    const size_t more = *capacity ? *capacity * 2 : 64;
    void *const bigger = xk_realloc(*items, more * item_bytes);
    if (!bigger)
        return xk_fail_memory(err);
    *items = bigger;
    *capacity = more;
    return 0;
}

static int add_patch(struct vhdx_log *log, struct patch p, struct xk_err *err)
{
    if (p.bytes == 0)
        return 0;
    if (log->count == VHDX_LOG_PATCHES_MAX)
        return xk_fail(err, -EFBIG, "the log names more than %u places", VHDX_LOG_PATCHES_MAX);
    const int code = grow((void **)&log->patches, &log->capacity, log->count, sizeof(p), err);
    if (code < 0)
        return code;
    log->patches[log->count++] = p;
    log->low = XK_MIN(log->low, p.offset);
    log->high = XK_MAX(log->high, p.offset + p.bytes);
    return 0;
}

/* The first 8 and the last 4 bytes of a logged sector stand in its descriptor, the rest in a data sector. */
static int add_sector(struct vhdx_log *log, const uint8_t *leading, const uint8_t *data, const uint8_t *trailing,
                      struct xk_err *err)
{
    const int code = grow((void **)&log->sectors, &log->sector_capacity, log->sector_count, SECTOR, err);
    if (code < 0)
        return code;
    uint8_t *const to = log->sectors + log->sector_count * SECTOR;
    memcpy(to, leading, 8);
    memcpy(to + 8, data + 8, DATA_BYTES);
    memcpy(to + 8 + DATA_BYTES, trailing, 4);
    log->sector_count++;
    return 0;
}

static int replay_entry(struct vhdx_log *log, const struct ring *r, const struct entry *e)
{
    uint32_t at = front_bytes(e->descriptors);

    for (uint32_t i = 0; i < e->descriptors; i++) {
        uint8_t mark[4], trailing[4], leading[8];
        struct xk_reader d = descriptor(r, e, i);
        xk_take_bytes(&d, mark, 4);
        xk_take_bytes(&d, trailing, 4);
        xk_take_bytes(&d, leading, 8);
        struct patch p = {.offset = xk_le64(&d)};
        int code = 0;
        if (memcmp(mark, "zero", 4) == 0) {
            struct xk_reader length = xk_reader(leading, 8);
            p.bytes = xk_le64(&length);
        } else {
            code = add_sector(log, leading, sector_at(r, (uint64_t)e->at + at), trailing, r->err);
            p.bytes = SECTOR;
            p.data = (uint32_t)log->sector_count;
            at += SECTOR;
        }
        if (code == 0)
            code = add_patch(log, p, r->err);
        if (code < 0)
            return code;
    }
    return 0;
}

static int replay(struct vhdx_log *log, struct ring *r, const struct sequence *s)
{
    uint32_t at = s->first_at;

    r->summed = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        struct entry e;
        int code = decode_entry(&e, r, at);
        if (code <= 0)
            return code < 0 ? code : xk_fail(r->err, -EBADMSG, "the log changes while it is read");
        code = replay_entry(log, r, &e);
        if (code < 0)
            return code;
        at = (uint32_t)(((uint64_t)at + e.bytes) % r->size);
    }
    return 0;
}

static int read_ring(struct vhdx_log *log, struct ring *r, uint64_t *file_bytes, const char *path)
{
    struct sequence s;

    int code = find_active(&s, r);
    if (code < 0)
        return code;
    if (s.count == 0)
        return xk_fail(r->err, -EBADMSG, "no entry of the log is whole");
    if (s.head.flushed_bytes > *file_bytes)
        return xk_fail(r->err, -EBADMSG, "the log says that the file had %llu bytes, it has %llu",
                       (unsigned long long)s.head.flushed_bytes, (unsigned long long)*file_bytes);
    *file_bytes = XK_MAX(*file_bytes, s.head.last_bytes);
    return replay(log, r, &s);
}

int vhdx_log_read(struct vhdx_log **ret, const struct xk_file *file, uint64_t *file_bytes,
                  const struct vhdx_log_place *place, struct xk_err *err)
{
    struct xk_err why;

    *ret = NULL;
    if (vhdx_guid_is_null(place->guid))
        return 0;
    if (place->bytes > VHDX_LOG_BYTES_MAX)
        return xk_fail(err, -EFBIG, "%s: the log has %s, more than the limit of %s", file->path,
                       xk_size(place->bytes).s, xk_size(VHDX_LOG_BYTES_MAX).s);
    if (place->bytes == 0 || place->bytes % VHDX_UNIT || place->offset % VHDX_UNIT || place->offset < VHDX_UNIT ||
        place->offset > *file_bytes || *file_bytes - place->offset < place->bytes)
        return xk_fail(err, -EBADMSG, "%s: the log at byte %llu with %u bytes does not fit into the file", file->path,
                       (unsigned long long)place->offset, place->bytes);
    xk_autofree uint8_t *bytes = xk_alloc(place->bytes);
    struct vhdx_log *const log = bytes ? xk_zalloc(sizeof(*log)) : NULL;
    if (!log)
        return xk_fail_memory(err);
    log->low = UINT64_MAX;
    int code = xk_file_read(file, bytes, place->bytes, place->offset, err);
    if (code == 0) {
        struct ring r = {.bytes = bytes, .size = place->bytes, .guid = place->guid, .err = &why};
        code = read_ring(log, &r, file_bytes, file->path);
        if (code < 0)
            xk_fail(err, code, "%s: the image was not closed, and %s", file->path, why.text);
    }
    if (code < 0) {
        vhdx_log_free(log);
        return code;
    }
    *ret = log;
    return 0;
}

void vhdx_log_free(struct vhdx_log *log)
{
    if (!log)
        return;
    free(log->patches);
    free(log->sectors);
    free(log);
}

void vhdx_log_apply(const struct vhdx_log *log, uint8_t *buf, size_t bytes, uint64_t offset)
{
    if (!log || offset >= log->high || log->low >= offset + bytes)
        return;
    for (size_t i = 0; i < log->count; i++) {
        const struct patch *const p = &log->patches[i];
        const uint64_t from = XK_MAX(p->offset, offset);
        const uint64_t to = XK_MIN(p->offset + p->bytes, offset + bytes);
        if (from >= to)
            continue;
        if (p->data)
            memcpy(buf + (from - offset), log->sectors + (size_t)(p->data - 1) * SECTOR + (from - p->offset),
                   (size_t)(to - from));
        else
            memset(buf + (from - offset), 0, (size_t)(to - from));
    }
}

bool vhdx_log_touches(const struct vhdx_log *log, uint64_t offset, uint64_t bytes)
{
    if (!log || offset >= log->high || log->low >= offset + bytes)
        return false;
    for (size_t i = 0; i < log->count; i++) {
        const struct patch *const p = &log->patches[i];
        if (p->offset < offset + bytes && offset < p->offset + p->bytes)
            return true;
    }
    return false;
}
