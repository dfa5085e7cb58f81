/*
 * Log-linear histogram: bucket number = six bits below the leading one, behind the number of the power of two. Finding
 * it is a count of leading zeros and a shift, so a value can be added in the hot path of a measurement. HDR histograms
 * with a settable precision were weighed: they need allocation and a pass over their settings to merge.
 */
#include "core/stats.h"

#include <assert.h>
#include <math.h>

#define SUB_BITS 6

_Static_assert(XK_HIST_SUB == 1 << SUB_BITS, "sub-buckets are a power of two");
_Static_assert(XK_HIST_BUCKETS == XK_HIST_SUB * (64 - SUB_BITS + 1), "one block a power of two, and the exact values");

/* A count stays at its largest value rather than start over. */
static void count_up(uint64_t *count, uint64_t by)
{
    if (xk_add(*count, by, count))
        *count = UINT64_MAX;
}

void xk_hist_init(struct xk_hist *h)
{
    *h = (struct xk_hist){.min = UINT64_MAX};
}

unsigned xk_hist_bucket_of(uint64_t value)
{
    if (value < XK_HIST_SUB)
        return (unsigned)value;
    const unsigned shift = 63u - (unsigned)__builtin_clzll(value) - SUB_BITS;
    return XK_HIST_SUB * shift + (unsigned)(value >> shift); /* the leading one adds the first, exact block */
}

uint64_t xk_hist_bucket_low(unsigned bucket)
{
    assert(bucket < XK_HIST_BUCKETS);
    if (bucket < XK_HIST_SUB)
        return bucket;
    const unsigned shift = bucket / XK_HIST_SUB - 1;
    return (uint64_t)(XK_HIST_SUB + bucket % XK_HIST_SUB) << shift;
}

uint64_t xk_hist_bucket_high(unsigned bucket)
{
    return bucket + 1 < XK_HIST_BUCKETS ? xk_hist_bucket_low(bucket + 1) - 1 : UINT64_MAX;
}

void xk_hist_add(struct xk_hist *h, uint64_t value)
{
    xk_hist_add_many(h, value, 1);
}

void xk_hist_add_many(struct xk_hist *h, uint64_t value, uint64_t times)
{
    if (times == 0)
        return;
    count_up(&h->count, times);
    count_up(&h->bucket[xk_hist_bucket_of(value)], times);
    h->min = XK_MIN(h->min, value);
    h->max = XK_MAX(h->max, value);
    h->sum += (double)value * (double)times;
}

void xk_hist_merge(struct xk_hist *into, const struct xk_hist *from)
{
    count_up(&into->count, from->count);
    for (unsigned i = 0; i < XK_HIST_BUCKETS; i++)
        count_up(&into->bucket[i], from->bucket[i]);
    into->min = XK_MIN(into->min, from->min);
    into->max = XK_MAX(into->max, from->max);
    into->sum += from->sum;
}

uint64_t xk_hist_percentile(const struct xk_hist *h, double fraction)
{
    if (h->count == 0)
        return 0;
    if (fraction >= 1)
        return h->max;
    /* One step down, so that 0.07 of 100 is the 7th value although 0.07 * 100 is a little more than 7. */
    const double rank = fraction > 0 ? ceil(nextafter(fraction, 0) * (double)h->count) : 1;
    uint64_t seen = 0;
    for (unsigned i = 0; i < XK_HIST_BUCKETS; i++) {
        count_up(&seen, h->bucket[i]);
        if (seen > 0 && (double)seen >= rank)
            return XK_MIN(xk_hist_bucket_high(i), h->max);
    }
    return h->max;
}

double xk_hist_mean(const struct xk_hist *h)
{
    return h->count ? h->sum / (double)h->count : 0;
}
