/*
 * Statistics against values from textbooks and tables, and against slower ways to the same number.
 */
#include "core/stats.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void assert_near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("got %.17g, want %.17g within %g", got, want, tolerance);
}

static void percentiles_are_type_7(void **state)
{
    const double five[] = {15, 20, 35, 40, 50}, four[] = {1, 2, 3, 4};
    double ten[10];
    for (size_t i = 0; i < 10; i++)
        ten[i] = (double)(i + 1);
    /* R: quantile(c(15,20,35,40,50), .4), quantile(1:4), quantile(1:10, .9) */
    assert_near(xk_percentile_sorted(five, 5, 0.4), 29, 1e-12);
    assert_near(xk_percentile_sorted(four, 4, 0.25), 1.75, 1e-12);
    assert_near(xk_percentile_sorted(four, 4, 0.75), 3.25, 1e-12);
    assert_near(xk_percentile_sorted(ten, 10, 0.9), 9.1, 1e-12);
    assert_near(xk_percentile_sorted(five, 5, 0), 15, 0);
    assert_near(xk_percentile_sorted(five, 5, 1), 50, 0);
    assert_near(xk_percentile_sorted(five, 5, -1), 15, 0);
    assert_near(xk_percentile_sorted(five, 5, 2), 50, 0);
    assert_near(xk_percentile_sorted(five, 1, 0.7), 15, 0);
    assert_near(xk_percentile_sorted(five, 0, 0.5), 0, 0);
    assert_near(xk_median_sorted(five, 5), 35, 0);
    assert_near(xk_median_sorted(four, 4), 2.5, 0);
}

static void moments(void **state)
{
    const double textbook[] = {2, 4, 4, 4, 5, 5, 7, 9};
    assert_near(xk_mean(textbook, 8), 5, 0);
    assert_near(xk_stddev(textbook, 8), sqrt(32.0 / 7), 1e-15);
    /* A large offset must not eat the variance, which is 30. */
    const double far[] = {1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16};
    assert_near(xk_stddev(far, 4), sqrt(30), 1e-12);
    assert_near(xk_stddev(far, 1), 0, 0);
    assert_near(xk_mean(far, 0), 0, 0);

    const double spread[] = {9, 1, 6, 1, 4, 2, 2};
    double mad = -1;
    assert_int_equal(xk_mad(&mad, spread, 7), 0);
    assert_near(mad, 1, 0);
    assert_int_equal(xk_mad(&mad, spread, 0), 0);
    assert_near(mad, 0, 0);
}

static void sorting(void **state)
{
    double samples[] = {3, -1, 2, -0.5, 1e300, 2};
    const double want[] = {-1, -0.5, 2, 2, 3, 1e300};
    xk_sort_doubles(samples, XK_COUNT(samples));
    assert_memory_equal(samples, want, sizeof(want));
    xk_sort_doubles(NULL, 0);
}

/* ---- Mann-Whitney ---- */

/* Two samples without ties in which U of a is `u`: each of a's values stands above c of b's, and the c add up to u. */
static void with_u(double *a, size_t a_count, double *b, size_t b_count, size_t u)
{
    for (size_t j = 0; j < b_count; j++)
        b[j] = (double)(j + 1);
    for (size_t i = a_count; i-- > 0;) {
        const size_t c = XK_MIN(u, b_count);
        u -= c;
        a[i] = (double)c + 0.25 + 0.5 * (double)i / (double)a_count;
    }
    assert_int_equal(u, 0);
}

/* The critical values of the printed table: two-sided, 0.05. U at the value is significant, one more is not. */
static void mann_whitney_agrees_with_the_table(void **state)
{
    const struct {
        size_t a, b, critical;
    } rows[] = {{4, 4, 0},  {5, 5, 2},    {5, 8, 6},    {6, 6, 5},    {7, 9, 12},
                {8, 8, 13}, {10, 10, 23}, {12, 15, 49}, {15, 15, 64}, {20, 20, 127}};
    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        double a[20], b[20];
        struct xk_rank_test t;
        with_u(a, rows[i].a, b, rows[i].b, rows[i].critical);
        assert_int_equal(xk_mann_whitney(&t, a, rows[i].a, b, rows[i].b), 0);
        assert_near(t.u, (double)rows[i].critical, 0);
        assert_true(t.p <= 0.05);
        assert_near(t.effect, t.u / (double)(rows[i].a * rows[i].b), 1e-15);
        with_u(a, rows[i].a, b, rows[i].b, rows[i].critical + 1);
        assert_int_equal(xk_mann_whitney(&t, a, rows[i].a, b, rows[i].b), 0);
        assert_true(t.p > 0.05);
    }
}

static void mann_whitney_known_values(void **state)
{
    struct xk_rank_test t, mirrored;
    const double low[] = {1, 2, 3, 4}, high[] = {5, 6, 7, 8};
    assert_int_equal(xk_mann_whitney(&t, low, 3, high, 3), 0);
    assert_near(t.p, 2.0 / 20, 1e-15); /* 2 of C(6,3) */
    assert_int_equal(xk_mann_whitney(&t, low, 4, high, 4), 0);
    assert_near(t.p, 2.0 / 70, 1e-15);
    assert_near(t.u, 0, 0);
    assert_near(t.effect, 0, 0);
    assert_int_equal(xk_mann_whitney(&mirrored, high, 4, low, 4), 0);
    assert_near(mirrored.p, t.p, 1e-15);
    assert_near(mirrored.effect, 1, 0);

    /* The example of SciPy's manual for mannwhitneyu: U1 = 17, exact p = 0.1111. */
    const double males[] = {19, 22, 16, 29, 24}, females[] = {20, 11, 17, 12};
    assert_int_equal(xk_mann_whitney(&t, males, 5, females, 4), 0);
    assert_near(t.u, 3, 0);
    assert_near(t.effect, 17.0 / 20, 1e-15);
    assert_near(t.p, 1.0 / 9, 1e-12);

    const double same[60] = {0};
    assert_int_equal(xk_mann_whitney(&t, same, 5, same, 6), 0);
    assert_near(t.p, 1, 1e-15);
    assert_near(t.effect, 0.5, 0);
    assert_int_equal(xk_mann_whitney(&t, same, 60, same, 60), 0);
    assert_near(t.p, 1, 0);
    assert_int_equal(xk_mann_whitney(&t, same, 0, same, 6), -EINVAL);
    assert_int_equal(xk_mann_whitney(&t, same, 6, same, 0), -EINVAL);
}

/* U of the samples that `mask` chooses as a, counted pair by pair. */
static double u_by_pairs(const double *all, size_t count, unsigned mask)
{
    double u = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            if ((mask >> i & 1) && !(mask >> j & 1))
                u += all[i] > all[j] ? 1 : all[i] < all[j] ? 0 : 0.5;
    return u;
}

static void mann_whitney_equals_enumeration_with_ties(void **state)
{
    struct xk_random random;
    xk_random_seed(&random, 7);
    for (unsigned trial = 0; trial < 40; trial++) {
        enum { COUNT_MAX = 10 };
        const size_t count = 4 + xk_random_below(&random, COUNT_MAX - 3);
        const size_t a_count = 1 + xk_random_below(&random, count - 1);
        double all[COUNT_MAX];
        for (size_t i = 0; i < count; i++)
            all[i] = (double)xk_random_below(&random, 5);
        const double middle = (double)(a_count * (count - a_count)) / 2;
        const double seen = fabs(u_by_pairs(all, count, (1u << a_count) - 1) - middle);
        unsigned far = 0, total = 0;
        for (unsigned mask = 0; mask < 1u << count; mask++) {
            if ((size_t)__builtin_popcount(mask) != a_count)
                continue;
            total++;
            far += fabs(u_by_pairs(all, count, mask) - middle) >= seen;
        }
        struct xk_rank_test t;
        assert_int_equal(xk_mann_whitney(&t, all, a_count, all + a_count, count - a_count), 0);
        assert_near(t.p, (double)far / total, 1e-12);
    }
}

/* The recurrence of Mann and Whitney for the number of arrangements with a given U. */
static double exact_two_sided(unsigned n, unsigned m, unsigned u)
{
    static double ways[28][28][27 * 27 + 1];
    assert_true(n < 28 && m < 28);
    for (unsigned i = 0; i <= n; i++)
        for (unsigned j = 0; j <= m; j++)
            for (unsigned k = 0; k <= i * j; k++)
                ways[i][j][k] = i == 0 || j == 0 ? k == 0
                                                 : (k >= j && k - j <= (i - 1) * j ? ways[i - 1][j][k - j] : 0) +
                                                       (k <= i * (j - 1) ? ways[i][j - 1][k] : 0);
    double tail = 0, total = 0;
    for (unsigned k = 0; k <= n * m; k++) {
        total += ways[n][m][k];
        tail += k <= u ? ways[n][m][k] : 0;
    }
    return fmin(1, 2 * tail / total);
}

static void mann_whitney_exact_and_approximate_meet(void **state)
{
    for (unsigned n = 24; n <= 27; n++) { /* exact up to 25 + 25, approximate above */
        for (unsigned u = n * n / 4; u < n * n / 2; u += 17) {
            double a[40], b[40];
            struct xk_rank_test t;
            with_u(a, n, b, n, u);
            assert_int_equal(xk_mann_whitney(&t, a, n, b, n), 0);
            assert_near(t.p, exact_two_sided(n, n, u), n <= 25 ? 1e-9 : 5e-3);
        }
    }
}

static void mann_whitney_large_with_ties(void **state)
{
    double a[40], b[40];
    for (size_t i = 0; i < 40; i++) {
        a[i] = (double)(i % 7);
        b[i] = (double)(i % 7) + (i % 2 ? 1 : 0);
    }
    struct xk_rank_test t;
    assert_int_equal(xk_mann_whitney(&t, a, 40, b, 40), 0);
    /* Worked out from the formula with tie and continuity correction in exact arithmetic elsewhere. */
    assert_near(t.u, 691.5, 0);
    assert_near(t.p, 0.29398143354797546, 1e-9);
}

/* ---- bootstrap ---- */

static void bootstrap_is_repeatable(void **state)
{
    double samples[31];
    struct xk_random random;
    xk_random_seed(&random, 1);
    for (size_t i = 0; i < 31; i++)
        samples[i] = xk_random_unit(&random);
    struct xk_interval first, again, other, wide;
    xk_random_seed(&random, 42);
    assert_int_equal(xk_bootstrap_median(&first, samples, 31, 0.95, 1000, &random), 0);
    assert_int_equal(xk_bootstrap_median(&other, samples, 31, 0.95, 1000, &random), 0);
    xk_random_seed(&random, 42);
    assert_int_equal(xk_bootstrap_median(&again, samples, 31, 0.95, 1000, &random), 0);
    assert_memory_equal(&first, &again, sizeof(first));
    xk_random_seed(&random, 42);
    assert_int_equal(xk_bootstrap_median(&wide, samples, 31, 0.999, 1000, &random), 0);
    assert_true(wide.low < first.low && wide.high > first.high);
    xk_sort_doubles(samples, 31);
    assert_true(first.low <= xk_median_sorted(samples, 31) && first.high >= xk_median_sorted(samples, 31));
    assert_near(other.low, first.low, 0.2);

    const double constant[] = {5, 5, 5, 5};
    assert_int_equal(xk_bootstrap_median(&first, constant, 4, 0.95, 100, &random), 0);
    assert_true(first.low >= 5 && first.high <= 5);
    assert_int_equal(xk_bootstrap_median(&first, constant, 0, 0.95, 100, &random), -EINVAL);
    assert_int_equal(xk_bootstrap_median(&first, constant, 4, 0.95, 0, &random), -EINVAL);
    assert_int_equal(xk_bootstrap_median(&first, constant, 4, 1, 100, &random), -EINVAL);
}

/* Two values: a resample's median is exactly low, middle or high with 1/4, 1/2, 1/4. */
static void bootstrap_resamples_fairly(void **state)
{
    struct xk_random random;
    xk_random_seed(&random, 3);
    const double two[] = {10, 20};
    struct xk_interval half, most;
    assert_int_equal(xk_bootstrap_median(&half, two, 2, 0.4, 4000, &random), 0); /* 30 % … 70 % */
    assert_near(half.low, 15, 0);
    assert_near(half.high, 15, 0);
    assert_int_equal(xk_bootstrap_median(&most, two, 2, 0.6, 4000, &random), 0); /* 20 % … 80 % */
    assert_near(most.low, 10, 0);
    assert_near(most.high, 20, 0);
}

/* The interval of the resampling done by hand, draw by draw. */
static void bootstrap_equals_drawing_all(void **state)
{
    struct xk_random random;
    xk_random_seed(&random, 8);
    for (size_t count = 1; count <= 12; count++) {
        enum { ROUNDS = 20000 };
        double samples[12], draws[12];
        static double medians[ROUNDS];
        for (size_t i = 0; i < count; i++)
            samples[i] = (double)(i * i);
        for (size_t round = 0; round < ROUNDS; round++) {
            for (size_t i = 0; i < count; i++)
                draws[i] = samples[xk_random_below(&random, count)];
            xk_sort_doubles(draws, count);
            medians[round] = xk_median_sorted(draws, count);
        }
        xk_sort_doubles(medians, ROUNDS);
        for (double confidence = 0.2; confidence < 1; confidence += 0.2) {
            /* A step of the distribution may lie within chance of the quantile: allow 1.5 % on either side. */
            const double tail = (1 - confidence) / 2;
            struct xk_interval interval;
            assert_int_equal(xk_bootstrap_median(&interval, samples, count, confidence, ROUNDS, &random), 0);
            assert_true(interval.low >= xk_percentile_sorted(medians, ROUNDS, tail - 0.015) &&
                        interval.low <= xk_percentile_sorted(medians, ROUNDS, tail + 0.015));
            assert_true(interval.high >= xk_percentile_sorted(medians, ROUNDS, 1 - tail - 0.015) &&
                        interval.high <= xk_percentile_sorted(medians, ROUNDS, 1 - tail + 0.015));
        }
    }
}

static void bootstrap_covers_the_median(void **state)
{
    struct xk_random random;
    xk_random_seed(&random, 2026);
    unsigned covered = 0;
    for (unsigned trial = 0; trial < 300; trial++) {
        double samples[25];
        for (size_t i = 0; i < 25; i++)
            samples[i] = xk_random_unit(&random);
        struct xk_interval interval;
        assert_int_equal(xk_bootstrap_median(&interval, samples, 25, 0.95, 400, &random), 0);
        covered += interval.low <= 0.5 && 0.5 <= interval.high;
    }
    assert_in_range(covered, 270, 298); /* 95 % of 300 is 285 */
}

/* ---- histogram ---- */

/* Values of every magnitude, and both sides of every power of two. */
static uint64_t any_value(struct xk_random *random)
{
    const uint64_t v = xk_random_u64(random) >> xk_random_below(random, 64);
    switch (xk_random_below(random, 4)) {
    case 0:
        return UINT64_C(1) << xk_random_below(random, 64);
    case 1:
        return (UINT64_C(1) << xk_random_below(random, 64)) - 1;
    default:
        return v;
    }
}

static void buckets_tile_all_values(void **state)
{
    assert_int_equal(xk_hist_bucket_low(0), 0);
    for (unsigned b = 0; b + 1 < XK_HIST_BUCKETS; b++) {
        assert_true(xk_hist_bucket_low(b) <= xk_hist_bucket_high(b));
        assert_true(xk_hist_bucket_high(b) + 1 == xk_hist_bucket_low(b + 1));
        assert_int_equal(xk_hist_bucket_of(xk_hist_bucket_low(b)), b);
        assert_int_equal(xk_hist_bucket_of(xk_hist_bucket_high(b)), b);
    }
    assert_int_equal(xk_hist_bucket_of(UINT64_MAX), XK_HIST_BUCKETS - 1);
    assert_true(xk_hist_bucket_high(XK_HIST_BUCKETS - 1) == UINT64_MAX);
    struct xk_random random;
    xk_random_seed(&random, 11);
    for (unsigned i = 0; i < 100000; i++) {
        const uint64_t v = any_value(&random);
        const unsigned b = xk_hist_bucket_of(v);
        const uint64_t width = xk_hist_bucket_high(b) - xk_hist_bucket_low(b);
        assert_true(xk_hist_bucket_low(b) <= v && v <= xk_hist_bucket_high(b));
        assert_true(v < 64 ? width == 0 : width < v / 64 + 1);
    }
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void percentiles_of_a_histogram_are_near(void **state)
{
    enum { COUNT = 1000 };
    static struct xk_hist h;
    uint64_t values[COUNT];
    struct xk_random random;
    xk_random_seed(&random, 5);
    xk_hist_init(&h);
    assert_int_equal(xk_hist_percentile(&h, 0.5), 0);
    assert_near(xk_hist_mean(&h), 0, 0);
    double sum = 0;
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = xk_random_u64(&random) >> (20 + xk_random_below(&random, 44));
        sum += (double)values[i];
        xk_hist_add(&h, values[i]);
    }
    qsort(values, COUNT, sizeof(values[0]), compare_u64);
    assert_near(xk_hist_mean(&h), sum / COUNT, sum * 1e-12);
    assert_int_equal(h.count, COUNT);
    assert_int_equal(h.min, values[0]);
    assert_int_equal(h.max, values[COUNT - 1]);
    for (unsigned permille = 1; permille <= 1000; permille++) {
        const uint64_t exact = values[permille - 1], got = xk_hist_percentile(&h, permille / 1000.0);
        assert_true(got >= exact && got <= exact + exact / 64 && got <= h.max);
    }
    assert_int_equal(xk_hist_percentile(&h, 1), values[COUNT - 1]);

    xk_hist_init(&h);
    for (uint64_t v = 1; v <= 100; v++)
        xk_hist_add(&h, v);
    assert_int_equal(xk_hist_percentile(&h, 0.07), 7); /* although 0.07 * 100 > 7 in floating point */
    xk_hist_init(&h);
    for (size_t i = 0; i < COUNT; i++)
        xk_hist_add(&h, values[i]);
    assert_true(xk_hist_percentile(&h, 0) <= values[0] + values[0] / 64);
}

static void merged_histograms_are_the_union(void **state)
{
    static struct xk_hist a, b, both;
    struct xk_random random;
    xk_random_seed(&random, 13);
    xk_hist_init(&a);
    xk_hist_init(&b);
    xk_hist_init(&both);
    xk_hist_merge(&a, &b); /* empty into empty */
    assert_true(a.min == UINT64_MAX && a.max == 0 && a.count == 0);
    for (unsigned i = 0; i < 5000; i++) {
        const uint64_t v = xk_random_u64(&random) >> (32 + xk_random_below(&random, 32)); /* the sum stays exact */
        xk_hist_add(i % 3 ? &a : &b, v);
        xk_hist_add(&both, v);
    }
    xk_hist_merge(&a, &b);
    assert_memory_equal(&a, &both, sizeof(a));
}

static void counts_do_not_wrap(void **state)
{
    static struct xk_hist h;
    xk_hist_init(&h);
    xk_hist_add_many(&h, 9, 0);
    assert_true(h.min == UINT64_MAX);
    xk_hist_add_many(&h, 9, UINT64_MAX - 1);
    xk_hist_add_many(&h, 9, 5);
    xk_hist_add_many(&h, UINT64_MAX, 5);
    assert_true(h.count == UINT64_MAX && h.bucket[9] == UINT64_MAX);
    assert_int_equal(xk_hist_percentile(&h, 0.5), 9);
    assert_true(xk_hist_percentile(&h, 1) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_type_7),
        cmocka_unit_test(moments),
        cmocka_unit_test(sorting),
        cmocka_unit_test(mann_whitney_agrees_with_the_table),
        cmocka_unit_test(mann_whitney_known_values),
        cmocka_unit_test(mann_whitney_equals_enumeration_with_ties),
        cmocka_unit_test(mann_whitney_exact_and_approximate_meet),
        cmocka_unit_test(mann_whitney_large_with_ties),
        cmocka_unit_test(bootstrap_is_repeatable),
        cmocka_unit_test(bootstrap_resamples_fairly),
        cmocka_unit_test(bootstrap_equals_drawing_all),
        cmocka_unit_test(bootstrap_covers_the_median),
        cmocka_unit_test(buckets_tile_all_values),
        cmocka_unit_test(percentiles_of_a_histogram_are_near),
        cmocka_unit_test(merged_histograms_are_the_union),
        cmocka_unit_test(counts_do_not_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
