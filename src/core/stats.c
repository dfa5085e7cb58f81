/*
 * Robust statistics.
 *
 * Bootstrap of the median: the middle of n draws from the sorted samples is the sample at a random place, and the law
 * of that place is known: the k-th smallest of n uniform numbers has a Beta(k, n - k + 1) distribution. So a resample
 * costs one number instead of n, with exactly the distribution of drawing them all, and a million samples take no
 * longer than ten. Resampling and selecting was weighed; it takes seconds for a million.
 *
 * Mann-Whitney: for up to EXACT_MAX samples in all, p comes from the permutation distribution of the rank sum itself,
 * counted by dynamic programming over mid-ranks times two (integers), so ties are exact too. Published recurrences for
 * U know no ties, and measured durations tie often. Counts stay below 2^53, where a double is an exact integer.
 */
#include "core/stats.h"

#include <assert.h>
#include <errno.h>
#include <math.h>

/* C(50, 25) is 1.3e14, below 2^53; the table is then half a megabyte. */
#define EXACT_MAX 50

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void xk_sort_doubles(double *samples, size_t count)
{
    if (count > 1)
        qsort(samples, count, sizeof(*samples), compare_doubles);
}

static double *sorted_copy(const double *samples, size_t count)
{
    double *copy = xk_array_alloc(count, sizeof(*copy));
    if (!copy)
        return NULL;
    for (size_t i = 0; i < count; i++)
        copy[i] = samples[i];
    xk_sort_doubles(copy, count);
    return copy;
}

double xk_mean(const double *samples, size_t count)
{
    if (count == 0)
        return 0;
    long double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += samples[i];
    return (double)(sum / (long double)count);
}

double xk_stddev(const double *samples, size_t count)
{
    if (count < 2)
        return 0;
    const double mean = xk_mean(samples, count);
    long double squares = 0, rest = 0;
    for (size_t i = 0; i < count; i++) {
        const long double d = (long double)samples[i] - mean;
        squares += d * d;
        rest += d; /* what rounding of the mean left over */
    }
    squares -= rest * rest / (long double)count;
    return squares > 0 ? (double)sqrtl(squares / (long double)(count - 1)) : 0;
}

double xk_percentile_sorted(const double *sorted, size_t count, double fraction)
{
    if (count == 0)
        return 0;
    if (!(fraction > 0))
        return sorted[0];
    if (fraction >= 1)
        return sorted[count - 1];
    const double at = fraction * (double)(count - 1);
    const size_t below = (size_t)at;
    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

double xk_median_sorted(const double *sorted, size_t count)
{
    return xk_percentile_sorted(sorted, count, 0.5);
}

int xk_mad(double *ret, const double *samples, size_t count)
{
    xk_autofree double *work = sorted_copy(samples, count);
    if (!work)
        return -ENOMEM;
    const double median = xk_median_sorted(work, count);
    for (size_t i = 0; i < count; i++)
        work[i] = fabs(work[i] - median);
    xk_sort_doubles(work, count);
    *ret = xk_median_sorted(work, count);
    return 0;
}

static double normal_number(struct xk_random *random)
{
    const double radius = sqrt(-2 * log1p(-xk_random_unit(random)));
    return radius * cos(2 * M_PI * xk_random_unit(random));
}

/* Gamma distribution, shape >= 1: Marsaglia and Tsang, "A simple method for generating gamma variables" (2000). */
static double gamma_number(struct xk_random *random, double shape)
{
    const double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        const double x = normal_number(random), root = 1 + c * x, v = root * root * root;
        if (v > 0 && log1p(-xk_random_unit(random)) < x * x / 2 + d - d * v + d * log(v))
            return d * v;
    }
}

/* The median of as many draws as there are samples. */
static double resampled_median(const double *sorted, size_t count, struct xk_random *random)
{
    const size_t below = (count - 1) / 2, above = count - 1 - below; /* draws on either side of the lower middle one */
    const double x = gamma_number(random, (double)below + 1), y = gamma_number(random, (double)above + 1);
    const double place = x / (x + y);
    const double low = sorted[XK_MIN((size_t)(place * (double)count), count - 1)];
    if (count % 2)
        return low;
    /* The upper middle one is the smallest of those above. */
    const double step = -expm1(log1p(-xk_random_unit(random)) / (double)above);
    const double next = place + (1 - place) * step;
    const double high = sorted[XK_MIN((size_t)(next * (double)count), count - 1)];
    return low + (high - low) / 2;
}

int xk_bootstrap_median(struct xk_interval *ret, const double *samples, size_t count, double confidence,
                        unsigned rounds, struct xk_random *random)
{
    if (count == 0 || rounds == 0 || !(confidence > 0 && confidence < 1))
        return -EINVAL;
    xk_autofree double *sorted = sorted_copy(samples, count);
    xk_autofree double *medians = xk_array_alloc(rounds, sizeof(*medians));
    if (!sorted || !medians)
        return -ENOMEM;
    for (unsigned round = 0; round < rounds; round++)
        medians[round] = resampled_median(sorted, count, random);
    xk_sort_doubles(medians, rounds);
    const double tail = (1 - confidence) / 2;
    ret->low = xk_percentile_sorted(medians, rounds, tail);
    ret->high = xk_percentile_sorted(medians, rounds, 1 - tail);
    return 0;
}

struct ranked {
    double value;
    bool of_a;
    uint64_t rank_twice; /* mid-rank times two, from 2 */
};

static int compare_ranked(const void *a, const void *b)
{
    return compare_doubles(&((const struct ranked *)a)->value, &((const struct ranked *)b)->value);
}

/* Give mid-ranks to sorted samples. Returns the sum of t^3 - t over all groups of t equal ones. */
static double give_ranks(struct ranked *all, size_t count)
{
    double ties = 0;
    for (size_t first = 0, end; first < count; first = end) {
        end = first + 1;
        while (end < count && all[end].value <= all[first].value)
            end++;
        for (size_t i = first; i < end; i++)
            all[i].rank_twice = first + 1 + end;
        const double t = (double)(end - first);
        ties += t * t * t - t;
    }
    return ties;
}

/*
 * The share of all choices of `chosen` from the ranks whose sum is at least as far from the expected one as
 * `sum_twice`. ways[k * width + s] counts the choices of k ranks with the (doubled) sum s among the ranks seen so far.
 */
static int exact_p(double *ret, const struct ranked *all, size_t count, size_t chosen, uint64_t sum_twice)
{
    assert(count <= EXACT_MAX && chosen <= count);
    const size_t width = count * (count + 1) + 1;
    xk_autofree double *ways = xk_array_alloc((chosen + 1) * width, sizeof(*ways));
    if (!ways)
        return -ENOMEM;
    ways[0] = 1;
    for (size_t i = 0; i < count; i++) {
        const size_t rank = (size_t)all[i].rank_twice;
        for (size_t k = XK_MIN(i + 1, chosen); k > 0; k--) {
            double *with = ways + k * width;
            const double *without = ways + (k - 1) * width;
            for (size_t s = rank; s < width; s++)
                with[s] += without[s - rank];
        }
    }
    const int64_t expected = (int64_t)(chosen * (count + 1));
    const int64_t distance = llabs((int64_t)sum_twice - expected);
    double far = 0, total = 0;
    for (size_t s = 0; s < width; s++) {
        const double n = ways[chosen * width + s];
        total += n;
        if (llabs((int64_t)s - expected) >= distance)
            far += n;
    }
    *ret = far / total;
    return 0;
}

int xk_mann_whitney(struct xk_rank_test *ret, const double *a, size_t a_count, const double *b, size_t b_count)
{
    size_t count;
    if (a_count == 0 || b_count == 0 || xk_add(a_count, b_count, &count))
        return -EINVAL;
    xk_autofree struct ranked *all = xk_array_alloc(count, sizeof(*all));
    if (!all)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        all[i] = i < a_count ? (struct ranked){.value = a[i], .of_a = true} : (struct ranked){.value = b[i - a_count]};
    qsort(all, count, sizeof(*all), compare_ranked);
    const double ties = give_ranks(all, count);

    uint64_t a_sum_twice = 0, b_sum_twice = 0;
    for (size_t i = 0; i < count; i++)
        *(all[i].of_a ? &a_sum_twice : &b_sum_twice) += all[i].rank_twice;

    const double na = (double)a_count, nb = (double)b_count, n = na + nb;
    const double pairs = na * nb;
    const double a_wins = (double)a_sum_twice / 2 - na * (na + 1) / 2; /* U of a: pairs that a wins, ties half */
    double p;
    if (count <= EXACT_MAX) {
        const bool a_smaller = a_count <= b_count;
        const int rc = exact_p(&p, all, count, a_smaller ? a_count : b_count, a_smaller ? a_sum_twice : b_sum_twice);
        if (rc < 0)
            return rc;
    } else {
        const double variance = pairs / 12 * (n + 1 - ties / (n * (n - 1)));
        const double distance = fabs(a_wins - pairs / 2) - 0.5;
        p = variance > 0 && distance > 0 ? erfc(distance / sqrt(2 * variance)) : 1;
    }
    *ret = (struct xk_rank_test){.u = fmin(a_wins, pairs - a_wins), .p = p, .effect = a_wins / pairs};
    return 0;
}
