/*
 * The wire of iperf 2.
 *
 * A header is a chain of optional parts: the flags in its first word say which of them there are, and since 2.0.14 how
 * long it is. Parts that an older peer left out stay zero; words behind those that are known here are skipped. A peer
 * that sends no header at all sends its pattern, digits, in which some flag bits are set by chance; so a header counts
 * as one only when its flags are a combination that a client makes.
 *
 * Source: bytes captured from 2.1.8, and its include/payloads.h for the names of the fields.
 */
#include "lib/iperf/iperf2-wire.h"

#include "core/bytes.h"

#include <math.h>
#include <string.h>

#define FLAG_VERSION1     0x80000000u /* dual or tradeoff test */
#define FLAG_EXTEND       0x40000000u
#define FLAG_UDP_TESTS    0x20000000u
#define FLAG_KEY          0x10000000u
#define FLAG_WIDE         0x08000000u
#define FLAG_VERSION2     0x04000000u
#define FLAG_PEER_DETECT  0x02000000u
#define FLAG_BOUNCE_BACK  0x00800000u
#define FLAG_LENGTH       0x00010000u
#define FLAG_RUN_NOW      0x00000001u
#define LENGTH_MASK       0x000001feu
#define FLAGS_UNKNOWN     0x017e0000u /* no client of this protocol sets one of these */
#define SMALL_TRIP        0x0002u     /* the upper half of a short datagram's flags, which has no lower one */

#define UPPER_ISOCHRONOUS 0x0001u
#define UPPER_LAYER2      0x0004u
#define UPPER_NO_FIN      0x0008u
#define UPPER_TRIP_TIMES  0x0010u
#define UPPER_PACKETS     0x0080u
#define UPPER_PACING      0x0200u
#define UPPER_REVERSE     0x0400u
#define UPPER_FULL_DUPLEX 0x0800u
#define UPPER_START       0x1000u
#define UPPER_PERIODIC    0x2000u
#define UPPER_PREFETCH    0x4000u
#define UPPER_QUICK_ACK   0x8000u

#define BASE_BYTES        24u
#define EXTEND_BYTES      36u
#define START_BYTES       20u
#define ISOCHRONOUS_BYTES 32u /* in datagrams, between the extension and the start */
#define TYPE_ACK          2u
#define REPORT_VERSION1   0x80000000u
#define REPORT_EXTEND     0x40000000u
#define BURST_MAX         (1u << 30)

static bool is_header(uint32_t flags)
{
    return !(flags & FLAGS_UNKNOWN) && (flags & (FLAG_VERSION1 | FLAG_EXTEND | FLAG_VERSION2));
}

/* Where the parts that the flags name end, or where the header says that it does. */
static size_t length_of(uint32_t flags)
{
    if (flags & FLAG_LENGTH)
        return (flags & LENGTH_MASK) >> 1;
    return BASE_BYTES + (flags & (FLAG_EXTEND | FLAG_VERSION2) ? EXTEND_BYTES : 0);
}

int iperf2_header_need(const uint8_t *data, size_t have)
{
    struct xk_reader r = xk_reader(data, have);
    const uint32_t flags = xk_be32(&r);

    if (r.bad)
        return 4;
    if (flags & FLAG_BOUNCE_BACK && !(flags & ~FLAG_BOUNCE_BACK))
        return 4;
    if (!is_header(flags))
        return 0;
    const size_t bytes = length_of(flags);
    if (bytes < BASE_BYTES)
        return -EBADMSG;
    if (!(flags & FLAG_KEY))
        return (int)bytes;
    if (bytes < BASE_BYTES + 2)
        return -EBADMSG;
    if (have < bytes)
        return (int)bytes;
    r = xk_reader(data + bytes - 2, 2);
    const uint16_t key_bytes = xk_be16(&r);
    if (key_bytes < IPERF2_KEY_MIN || key_bytes > IPERF2_KEY_MAX)
        return -EBADMSG;
    return (int)bytes + key_bytes;
}

static void read_base(struct iperf2_header *h, struct xk_reader *r, uint32_t flags)
{
    h->threads = xk_be32(r);
    h->port = xk_be32(r);
    h->block_bytes = xk_be32(r);
    xk_skip(r, 4); /* window or bandwidth, of versions before 2 */
    const uint32_t amount = xk_be32(r);
    h->timed = amount & 0x80000000u;
    h->amount = h->timed ? 0u - amount : amount;
    h->wide = flags & FLAG_WIDE;
    if (flags & FLAG_VERSION1 && !(flags & FLAG_VERSION2)) {
        h->dual = flags & FLAG_RUN_NOW;
        h->tradeoff = !h->dual;
    }
}

static uint32_t read_extension(struct iperf2_header *h, struct xk_reader *r, uint32_t flags)
{
    xk_skip(r, 8); /* type and length, which nobody fills in */
    const uint32_t upper = xk_be16(r);
    xk_skip(r, 2);
    h->version_upper = xk_be32(r);
    h->version_lower = xk_be32(r);
    xk_skip(r, 2);
    h->tos = (uint8_t)xk_be16(r);
    h->rate = xk_be32(r);
    h->rate |= (uint64_t)(xk_be32(r) >> 8) << 32;
    h->packets = upper & UPPER_PACKETS;
    const uint32_t prefetch = xk_be32(r);
    h->prefetch_bytes = upper & UPPER_PREFETCH ? prefetch : 0;
    h->quick_ack = upper & UPPER_QUICK_ACK;
    h->isochronous = upper & UPPER_ISOCHRONOUS;
    h->periodic = upper & UPPER_PERIODIC;
    h->layer2 = upper & UPPER_LAYER2;
    h->no_fin = upper & UPPER_NO_FIN;
    h->trip_times = upper & UPPER_TRIP_TIMES;
    h->starts_later = upper & UPPER_START;
    if (flags & FLAG_VERSION2) {
        h->full_duplex = upper & UPPER_FULL_DUPLEX;
        h->reverse = (upper & UPPER_REVERSE) && !h->full_duplex;
    }
    return upper;
}

static void read_start(struct iperf2_header *h, struct xk_reader *r, uint32_t upper)
{
    xk_skip(r, 4);
    h->start_s = xk_be32(r);
    h->start_us = xk_be32(r);
    const uint64_t low = xk_be32(r), high = xk_be32(r);
    h->pacing_bytes = upper & UPPER_PACING ? high << 32 | low : 0;
}

int iperf2_header_decode(struct iperf2_header *ret, const uint8_t *data, size_t bytes, bool datagram,
                         struct xk_err *err)
{
    struct iperf2_header h = {0};
    const size_t from = datagram ? IPERF2_DATAGRAM_BYTES : 0;
    struct xk_reader r = xk_reader(data, bytes);

    xk_seek(&r, from);
    if (datagram && xk_left(&r) >= 2 && xk_left(&r) < BASE_BYTES) {
        h.small_trip_times = h.trip_times = xk_be16(&r) == SMALL_TRIP;
        h.wide = h.small_trip_times;
        *ret = h;
        return 0;
    }
    const uint32_t flags = xk_be32(&r);
    if (datagram && flags >> 16 == SMALL_TRIP) {
        h.small_trip_times = h.trip_times = h.wide = true;
        *ret = h;
        return 0;
    }
    h.bounce_back = !datagram && flags == FLAG_BOUNCE_BACK;
    if (r.bad || h.bounce_back || !is_header(flags)) {
        *ret = h;
        return 0;
    }
    if (datagram && flags & FLAG_LENGTH && length_of(flags) > bytes)
        return xk_fail(err, -EBADMSG, "a header of %zu bytes in a datagram of %zu", length_of(flags), bytes);
    read_base(&h, &r, flags);
    const uint32_t upper = flags & FLAG_EXTEND ? read_extension(&h, &r, flags) : 0;
    if (r.bad)
        return xk_fail(err, -EBADMSG, "a header that ends after %zu bytes", bytes);
    h.peer_detect = !datagram && (flags & FLAG_PEER_DETECT);
    h.wants_ack = !datagram && (h.peer_detect || (!(flags & FLAG_VERSION2) && (flags & FLAG_EXTEND)));
    if (upper & (UPPER_TRIP_TIMES | UPPER_START | UPPER_PACING)) {
        if (datagram)
            xk_skip(&r, ISOCHRONOUS_BYTES);
        read_start(&h, &r, upper);
        if (r.bad)
            return xk_fail(err, -EBADMSG, "a header without the times that it promises");
    }
    if (!datagram && flags & FLAG_KEY) {
        const int whole = iperf2_header_need(data, bytes);
        if (whole < 0 || (size_t)whole > bytes)
            return xk_fail(err, -EBADMSG, "a header whose key has no valid length");
        const size_t at = length_of(flags);
        if (memchr(data + at, '\0', (size_t)whole - at))
            return xk_fail(err, -EBADMSG, "a key that is no text");
        h.has_key = true;
        memcpy(h.key, data + at, (size_t)whole - at);
    }
    *ret = h;
    return 0;
}

static uint32_t upper_of(const struct iperf2_header *h)
{
    return (h->no_fin ? UPPER_NO_FIN : 0) | (h->trip_times ? UPPER_TRIP_TIMES : 0) | (h->packets ? UPPER_PACKETS : 0) |
           (h->pacing_bytes ? UPPER_PACING : 0) | (h->reverse ? UPPER_REVERSE : 0) |
           (h->full_duplex ? UPPER_FULL_DUPLEX : 0) | (h->starts_later ? UPPER_START : 0) |
           (h->prefetch_bytes ? UPPER_PREFETCH : 0) | (h->quick_ack ? UPPER_QUICK_ACK : 0);
}

static uint32_t flags_of(const struct iperf2_header *h, bool datagram)
{
    uint32_t flags = FLAG_EXTEND | FLAG_LENGTH;

    if (h->dual || h->tradeoff)
        flags |= FLAG_VERSION1 | (h->dual ? FLAG_RUN_NOW : 0);
    if (h->reverse || h->full_duplex)
        flags |= FLAG_VERSION2;
    if (datagram) {
        flags |= FLAG_WIDE;
        if (h->reverse || h->full_duplex || h->no_fin || h->trip_times || h->starts_later || h->pacing_bytes)
            flags |= FLAG_UDP_TESTS;
    } else {
        flags |= h->peer_detect ? FLAG_PEER_DETECT | (h->dual || h->tradeoff ? 0 : FLAG_VERSION2) : 0;
        flags |= h->has_key ? FLAG_KEY : 0;
    }
    return flags;
}

static void write_parts(struct xk_writer *w, const struct iperf2_header *h, uint32_t flags, bool starts, bool datagram)
{
    xk_write_be32(w, flags);
    xk_write_be32(w, h->threads);
    xk_write_be32(w, h->port);
    xk_write_be32(w, h->block_bytes);
    xk_write_be32(w, 0);
    xk_write_be32(w, h->timed ? 0u - h->amount : h->amount);
    xk_write_zeros(w, 8);
    xk_write_be16(w, (uint16_t)upper_of(h));
    xk_write_be16(w, 0);
    xk_write_be32(w, h->version_upper);
    xk_write_be32(w, h->version_lower);
    xk_write_be16(w, 0);
    xk_write_be16(w, h->tos);
    xk_write_be32(w, (uint32_t)h->rate);
    xk_write_be32(w, (uint32_t)(h->rate >> 32) << 8);
    xk_write_be32(w, h->prefetch_bytes);
    if (!starts)
        return;
    xk_write_zeros(w, (datagram ? ISOCHRONOUS_BYTES : 0) + 4);
    xk_write_be32(w, h->start_s);
    xk_write_be32(w, h->start_us);
    xk_write_be32(w, (uint32_t)h->pacing_bytes);
    xk_write_be32(w, (uint32_t)(h->pacing_bytes >> 32));
}

size_t iperf2_header_encode(uint8_t *ret, size_t room, const struct iperf2_header *h, bool datagram)
{
    const size_t from = datagram ? IPERF2_DATAGRAM_BYTES : 0;
    const bool starts = h->trip_times || h->starts_later || h->pacing_bytes;
    uint8_t whole[IPERF2_HEADER_MAX + IPERF2_DATAGRAM_BYTES] = {0};

    if (datagram && h->small_trip_times) {
        const uint8_t small[2] = {SMALL_TRIP >> 8, SMALL_TRIP & 0xff};
        if (room >= IPERF2_SMALL_TRIP_BYTES)
            memcpy(ret + from, small, sizeof(small));
        return IPERF2_SMALL_TRIP_BYTES;
    }
    const size_t key_bytes = h->has_key && !datagram ? strnlen(h->key, IPERF2_KEY_MAX) : 0;
    size_t bytes = from + BASE_BYTES + EXTEND_BYTES + (starts ? START_BYTES + (datagram ? ISOCHRONOUS_BYTES : 0) : 0);
    bytes += key_bytes ? 2 : 0;
    /* As the real one counts, which forgets the last part of a datagram's. */
    const size_t told = bytes - (datagram && starts ? START_BYTES : 0);
    struct xk_writer w = xk_writer(whole + from, sizeof(whole) - from);
    write_parts(&w, h, flags_of(h, datagram) | ((uint32_t)told << 1 & LENGTH_MASK), starts, datagram);
    if (key_bytes) {
        xk_write_be16(&w, (uint16_t)key_bytes);
        xk_write_raw(&w, h->key, key_bytes);
        bytes += key_bytes;
    }
    if (room > from)
        memcpy(ret + from, whole + from, XK_MIN(room, bytes) - from);
    return bytes;
}

bool iperf2_datagram_decode(struct iperf2_datagram *ret, const uint8_t *data, size_t bytes, bool wide)
{
    struct xk_reader r = xk_reader(data, bytes);
    const uint32_t low = xk_be32(&r);

    ret->s = xk_be32(&r);
    ret->us = xk_be32(&r);
    if (r.bad)
        return false;
    const uint32_t high = wide ? xk_be32(&r) : 0;
    ret->number = wide ? (int64_t)((uint64_t)high << 32 | low) : (int32_t)low;
    return !r.bad && ret->number != INT64_MIN;
}

void iperf2_datagram_encode(uint8_t ret[IPERF2_DATAGRAM_BYTES], const struct iperf2_datagram *d)
{
    struct xk_writer w = xk_writer(ret, IPERF2_DATAGRAM_BYTES);

    xk_write_be32(&w, (uint32_t)(uint64_t)d->number);
    xk_write_be32(&w, d->s);
    xk_write_be32(&w, d->us);
    xk_write_be32(&w, (uint32_t)((uint64_t)d->number >> 32));
}

/* ---- the report ---- */

void iperf2_spread_add(struct iperf2_spread *s, double value)
{
    const double off = value - s->mean;

    s->min = s->count == 0 || value < s->min ? value : s->min;
    s->max = s->count == 0 || value > s->max ? value : s->max;
    s->count++;
    s->sum += value;
    s->mean += off / (double)s->count;
    s->m2 += off * (value - s->mean);
}

double iperf2_spread_deviation(const struct iperf2_spread *s)
{
    return s->count < 2 ? 0 : sqrt(s->m2 / (double)(s->count - 1));
}

/* A number as its whole part and millionths. */
static void write_split(struct xk_writer *w, double value)
{
    const double whole = trunc(value);

    xk_write_be32(w, (uint32_t)(int64_t)fmax(fmin(whole, 4e9), -2e9));
    xk_write_be32(w, (uint32_t)(int32_t)((value - whole) * 1e6));
}

static double read_split(struct xk_reader *r)
{
    const double whole = (int32_t)xk_be32(r);

    return whole + (double)(int32_t)xk_be32(r) / 1e6;
}

void iperf2_report_encode(uint8_t ret[IPERF2_REPORT_BYTES], const struct iperf2_report *r)
{
    struct xk_writer w = xk_writer(ret, IPERF2_REPORT_BYTES);

    xk_write_zeros(&w, IPERF2_DATAGRAM_BYTES);
    xk_write_be32(&w, REPORT_VERSION1 | FLAG_WIDE | (r->has_transit ? REPORT_EXTEND : 0));
    xk_write_be64(&w, r->bytes);
    write_split(&w, r->seconds);
    xk_write_be32(&w, (uint32_t)r->errors);
    xk_write_be32(&w, (uint32_t)r->out_of_order);
    xk_write_be32(&w, (uint32_t)r->datagrams);
    write_split(&w, r->jitter_s);
    write_split(&w, r->transit.min);
    write_split(&w, r->transit.max);
    write_split(&w, r->transit.sum);
    write_split(&w, r->transit.mean);
    write_split(&w, r->transit.m2 * 1e12);
    write_split(&w, 0); /* the last deviation, which nobody reads */
    xk_write_be32(&w, (uint32_t)r->transit.count);
    xk_write_be32(&w, r->packets_per_s);
    xk_write_be32(&w, 1); /* of as many seconds */
    xk_write_be32(&w, (uint32_t)(r->errors >> 32));
    xk_write_be32(&w, (uint32_t)(r->out_of_order >> 32));
    xk_write_be32(&w, (uint32_t)(r->datagrams >> 32));
    xk_write_zeros(&w, IPERF2_REPORT_BYTES - w.at);
}

static int64_t join(uint32_t low, uint32_t high)
{
    return (int64_t)((uint64_t)(high & 0x7fffffffu) << 32 | low);
}

int iperf2_report_decode(struct iperf2_report *ret, const uint8_t *data, size_t bytes, struct xk_err *err)
{
    struct xk_reader r = xk_reader(data, bytes);
    struct iperf2_report p = {0};

    xk_skip(&r, IPERF2_DATAGRAM_BYTES);
    const uint32_t flags = xk_be32(&r);
    p.bytes = xk_be64(&r);
    p.seconds = read_split(&r);
    const uint32_t errors = xk_be32(&r), out_of_order = xk_be32(&r), datagrams = xk_be32(&r);
    p.jitter_s = read_split(&r);
    if (r.bad || !(flags & REPORT_VERSION1))
        return xk_fail(err, -EBADMSG, "a server's report that is none");
    p.has_transit = flags & REPORT_EXTEND;
    p.transit.min = read_split(&r);
    p.transit.max = read_split(&r);
    p.transit.sum = read_split(&r);
    p.transit.mean = read_split(&r);
    p.transit.m2 = read_split(&r) * 1e-12;
    xk_skip(&r, 8);
    p.transit.count = xk_be32(&r);
    p.packets_per_s = xk_be32(&r);
    xk_skip(&r, 4);
    if (r.bad && p.has_transit)
        return xk_fail(err, -EBADMSG, "a server's report that ends after %zu bytes", bytes);
    const bool has_upper = flags & FLAG_WIDE && xk_left(&r) >= 12 && !r.bad;
    p.errors = join(errors, has_upper ? xk_be32(&r) : 0);
    p.out_of_order = join(out_of_order, has_upper ? xk_be32(&r) : 0);
    p.datagrams = join(datagrams, has_upper ? xk_be32(&r) : 0);
    *ret = p;
    return 0;
}

/* ---- the acknowledgement ---- */

static void write_time(struct xk_writer *w, double s)
{
    xk_write_be32(w, (uint32_t)s);
    xk_write_be32(w, (uint32_t)((s - floor(s)) * 1e6));
}

size_t iperf2_ack_encode(uint8_t ret[IPERF2_ACK_TIMED_BYTES], const struct iperf2_ack *a)
{
    const size_t bytes = a->timed ? IPERF2_ACK_TIMED_BYTES : IPERF2_ACK_BYTES;
    struct xk_writer w = xk_writer(ret, bytes);

    xk_write_be32(&w, TYPE_ACK);
    xk_write_be32(&w, (uint32_t)bytes);
    xk_write_be32(&w, 0);
    xk_write_be32(&w, a->version_upper);
    xk_write_be32(&w, a->version_lower);
    xk_write_zeros(&w, 8);
    if (a->timed) {
        write_time(&w, a->sent_s);
        write_time(&w, a->arrived_s);
        write_time(&w, a->acknowledged_s);
    }
    return bytes;
}

static double read_time(struct xk_reader *r)
{
    const double s = xk_be32(r);

    return s + (double)xk_be32(r) / 1e6;
}

int iperf2_ack_decode(struct iperf2_ack *ret, const uint8_t *data, size_t bytes, struct xk_err *err)
{
    struct xk_reader r = xk_reader(data, bytes);
    const uint32_t type = xk_be32(&r), length = xk_be32(&r);

    xk_skip(&r, 4);
    *ret = (struct iperf2_ack){.version_upper = xk_be32(&r), .timed = length >= IPERF2_ACK_TIMED_BYTES};
    ret->version_lower = xk_be32(&r);
    xk_skip(&r, 8);
    if (ret->timed) {
        ret->sent_s = read_time(&r);
        ret->arrived_s = read_time(&r);
        ret->acknowledged_s = read_time(&r);
    }
    return r.bad || type != TYPE_ACK ? xk_fail(err, -EBADMSG, "an acknowledgement that is none") : 0;
}

/* ---- bursts ---- */

void iperf2_burst_encode(uint8_t ret[IPERF2_BURST_BYTES], const struct iperf2_burst *b)
{
    struct xk_writer w = xk_writer(ret, IPERF2_BURST_BYTES);

    xk_write_zeros(&w, 12); /* flags, type, length */
    xk_write_be32(&w, b->start_s);
    xk_write_be32(&w, b->start_us);
    xk_write_be32(&w, b->sent_s);
    xk_write_be32(&w, b->sent_us);
    xk_write_zeros(&w, 16); /* when it was read, reserved, period */
    xk_write_be32(&w, b->id);
    xk_write_be32(&w, b->bytes);
    xk_write_be32(&w, (uint32_t)b->number);
    xk_write_be32(&w, (uint32_t)(b->number >> 32));
    xk_write_zeros(&w, IPERF2_BURST_BYTES - w.at);
}

int iperf2_burst_decode(struct iperf2_burst *ret, const uint8_t data[IPERF2_BURST_BYTES], struct xk_err *err)
{
    struct xk_reader r = xk_reader(data, IPERF2_BURST_BYTES);
    struct iperf2_burst b = {0};

    xk_skip(&r, 12);
    b.start_s = xk_be32(&r);
    b.start_us = xk_be32(&r);
    b.sent_s = xk_be32(&r);
    b.sent_us = xk_be32(&r);
    xk_skip(&r, 16);
    b.id = xk_be32(&r);
    b.bytes = xk_be32(&r);
    b.number = xk_be32(&r);
    b.number |= (uint64_t)xk_be32(&r) << 32;
    if (b.bytes < IPERF2_BURST_BYTES || b.bytes > BURST_MAX)
        return xk_fail(err, -EBADMSG, "a burst of %u bytes", b.bytes);
    *ret = b;
    return 0;
}
