/*
 * Most logs have stamps without a year, so the order of pieces is one on a circle. It begins behind the widest gap:
 * logs reach back some weeks, and the rest of the year is empty. When every piece was written last at about the time
 * that its last stamp says, the times of the files give the years instead, and the log may be as long as it likes. The
 * year of the newest piece is the latest in which it was not written after its file, nor after now.
 */
#include "lib/sessionlog/pieces.h"

#include <stdlib.h>
#include <string.h>

#define DAY_S    INT64_C(86400)
#define HALF_S   (183 * DAY_S)
#define YEAR_S   (366 * DAY_S)
#define LEAP     2000 /* a year with every day in it */
#define TRUST_S  (2 * DAY_S)
#define EARLIEST INT64_C(946684800) /* 2000-01-01: files older than the product have no true time */

static bool has_stamp(const struct piece *p)
{
    return p->first.month != 0;
}

static const struct sessionlog_stamp *last_of(const struct piece *p)
{
    return p->last.month ? &p->last : &p->first;
}

/* Place on the circle of the year. */
static int64_t angle(const struct piece *p)
{
    return sessionlog_stamp_s(&p->first, LEAP);
}

static int by_angle(const void *a, const void *b)
{
    const int64_t x = angle(*(struct piece *const *)a), y = angle(*(struct piece *const *)b);

    return x < y ? -1 : x > y;
}

/* The latest year in which the stamp is not after `until_s`. */
static int latest_year(const struct sessionlog_stamp *stamp, int64_t until_s)
{
    const int year = sessionlog_year_of(until_s + DAY_S);

    return sessionlog_stamp_s(stamp, year) <= until_s + DAY_S ? year : year - 1;
}

static int64_t written_until(const struct piece *p, int64_t now_s)
{
    return p->mtime_s >= EARLIEST ? XK_MIN(p->mtime_s, now_s) : now_s;
}

/* The first stamp's year, when the last one's is known. */
static int first_year(const struct piece *p, int last_year)
{
    return angle(p) > sessionlog_stamp_s(last_of(p), LEAP) + HALF_S ? last_year - 1 : last_year;
}

static bool agrees_with_file(const struct piece *p, int64_t now_s)
{
    if (p->mtime_s < EARLIEST || !p->last.month)
        return false;
    const int64_t until_s = written_until(p, now_s);
    return until_s - sessionlog_stamp_s(&p->last, latest_year(&p->last, until_s)) <= TRUST_S;
}

static void set_times(struct piece *p, int year)
{
    p->first_s = sessionlog_stamp_s(&p->first, year);
    p->last_s = sessionlog_stamp_s(last_of(p), year);
    if (p->last_s < p->first_s - HALF_S)
        p->last_s = sessionlog_stamp_s(last_of(p), year + 1);
}

static void place_on_circle(struct piece **ring, size_t count, int64_t now_s)
{
    size_t start = 0;
    int64_t widest_s = -1;

    qsort(ring, count, sizeof(*ring), by_angle);
    for (size_t i = 0; i < count; i++) {
        const size_t before = (i + count - 1) % count;
        const int64_t gap_s = angle(ring[i]) - angle(ring[before]) + (i ? 0 : YEAR_S);
        if (gap_s > widest_s) {
            widest_s = gap_s;
            start = i;
        }
    }
    const struct piece *const newest = ring[(start + count - 1) % count];
    int year = first_year(newest, latest_year(last_of(newest), written_until(newest, now_s)));
    if (start > 0) /* the ring passes the new year between its start and the newest piece */
        year--;
    for (size_t i = 0; i < count; i++) {
        const size_t at = (start + i) % count;
        if (i && at == 0)
            year++;
        set_times(ring[at], year);
    }
}

static int by_time(const void *a, const void *b)
{
    const struct piece *const x = a, *const y = b;

    if (has_stamp(x) != has_stamp(y))
        return has_stamp(x) ? -1 : 1;
    if (x->first_s != y->first_s)
        return x->first_s < y->first_s ? -1 : 1;
    if (x->last_s != y->last_s)
        return x->last_s < y->last_s ? -1 : 1;
    if (x->number != y->number) /* the higher, the older */
        return x->number > y->number ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

void pieces_sort(struct piece *pieces, size_t count, int64_t now_s)
{
    xk_autofree struct piece **ring = xk_array_alloc(count + 1, sizeof(struct piece *));
    size_t in_ring = 0;
    bool trusted = true;

    for (size_t i = 0; i < count; i++) {
        struct piece *const p = &pieces[i];
        if (!has_stamp(p))
            continue;
        if (p->first.year) {
            set_times(p, p->first.year);
            if (p->last.year)
                p->last_s = sessionlog_stamp_s(&p->last, p->last.year);
            continue;
        }
        trusted &= agrees_with_file(p, now_s);
        /* Good enough when there is no memory for the ring. */
        set_times(p, first_year(p, latest_year(last_of(p), written_until(p, now_s))));
        if (ring)
            ring[in_ring++] = p;
    }
    if (in_ring && !trusted)
        place_on_circle(ring, in_ring, now_s);
    if (count)
        qsort(pieces, count, sizeof(*pieces), by_time);
}
