/*
 * Robust statistics and a mergeable latency histogram.
 */
#ifndef XK_STATS_H
#define XK_STATS_H

#include "core/base.h"
#include "core/clock.h"

/* All take `count` finite samples; 0 samples give 0. Those that say "sorted" need ascending order. */
void xk_sort_doubles(double *samples, size_t count);
double xk_mean(const double *samples, size_t count);
double xk_stddev(const double *samples, size_t count); /* of a sample: n-1 */
/* Linear interpolation between closest ranks (type 7, as R and NumPy default). fraction in 0…1. */
double xk_percentile_sorted(const double *sorted, size_t count, double fraction);
double xk_median_sorted(const double *sorted, size_t count);
/* Median absolute deviation, not scaled. -ENOMEM or 0. */
int xk_mad(double *ret, const double *samples, size_t count);

struct xk_interval {
    double low, high;
};
/*
 * Percentile bootstrap interval of the median.
 * confidence   such as 0.95;  rounds  resamples, 1000 is usual.  returns 0; -ENOMEM; -EINVAL for no samples.
 */
int xk_bootstrap_median(struct xk_interval *ret, const double *samples, size_t count, double confidence,
                        unsigned rounds, struct xk_random *random);

struct xk_rank_test {
    double u;      /* the smaller U */
    double p;      /* two-sided; normal approximation with tie and continuity correction, exact for small samples */
    double effect; /* probability that a sample of a is greater than one of b; 0.5: no difference */
};
/* Mann-Whitney U of two samples. returns 0; -ENOMEM; -EINVAL when one is empty. */
int xk_mann_whitney(struct xk_rank_test *ret, const double *a, size_t a_count, const double *b, size_t b_count);

/*
 * Log-linear histogram of uint64 values: 64 sub-buckets for each power of two, so a value is known to 1/64 (1.6 %);
 * values below 64 exactly. Fixed size, no allocation; histograms of threads are added up afterwards.
 */
#define XK_HIST_SUB     64
#define XK_HIST_BUCKETS (XK_HIST_SUB * (64 - 6 + 1))

struct xk_hist {
    uint64_t count, min, max; /* min is UINT64_MAX while empty */
    double sum;
    uint64_t bucket[XK_HIST_BUCKETS];
};

void xk_hist_init(struct xk_hist *h);
void xk_hist_add(struct xk_hist *h, uint64_t value);
void xk_hist_add_many(struct xk_hist *h, uint64_t value, uint64_t times);
void xk_hist_merge(struct xk_hist *into, const struct xk_hist *from);
/* The upper edge of the bucket that holds the fraction (0…1), never above max; 0 when empty. */
uint64_t xk_hist_percentile(const struct xk_hist *h, double fraction);
double xk_hist_mean(const struct xk_hist *h);
unsigned xk_hist_bucket_of(uint64_t value);
uint64_t xk_hist_bucket_low(unsigned bucket);
uint64_t xk_hist_bucket_high(unsigned bucket); /* inclusive */

#endif
