/*
 * A measurement is one record: {tool, version, started, parameters, environment, summary, samples}. `--save FILE.json`
 * writes it, the notebook keeps it, the report draws it, two of them can be compared.
 *
 *     struct measure m;
 *     measure_init(&m, "net throughput", app->clock->utc_ns(app->clock));
 *     environment_read(&m.environment, app->root, NULL);
 *     xk_json_u64(&m.parameters, "streams", 4);
 *     for (…) {
 *         xk_json_object(&m.samples, NULL);
 *         xk_json_u64(&m.samples, "offset_ns", …);
 *         xk_json_u64(&m.samples, "rate_bps", …);
 *         xk_json_end(&m.samples);
 *     }
 *     measure_statistics(&m.summary, "rate", "bps", rates, count, app->random, err);
 *     int rc = measure_save(&m, app->fs, path, err);
 *     measure_done(&m);
 *
 * Names follow xenkit-formats(5): the unit is the last word.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include "core/fs.h"
#include "core/stats.h"
#include "lib/environment/environment.h"

#define MEASURE_PARAMETERS_BYTES_MAX XK_MIB
#define MEASURE_SUMMARY_BYTES_MAX    (16 * XK_MIB)
#define MEASURE_SAMPLES_BYTES_MAX    (256 * XK_MIB)
/* What measure_text() can come to. */
#define MEASURE_BYTES_MAX                                                                                              \
    (MEASURE_PARAMETERS_BYTES_MAX + MEASURE_SUMMARY_BYTES_MAX + MEASURE_SAMPLES_BYTES_MAX + XK_MIB)

/* Stays where it was initialised: the writers point into it. */
struct measure {
    /* Open writers: add members to the first two (they are objects), objects or numbers to the third (an array). */
    struct xk_json parameters, summary, samples;
    struct environment environment;             /* unknown until the caller fills it */
    struct environment_file_system file_system; /* where measured files lie; path "": none */

    const char *tool; /* borrowed: "net throughput" */
    int64_t started_utc_ns;
    struct xk_buf texts[3]; /* behind the writers */
    bool ended;
};

void measure_init(struct measure *ret, const char *tool, int64_t started_utc_ns);
/* Accepts a zeroed one. */
void measure_done(struct measure *m);

/*
 * Add {count, min, median, mean, max, stddev, mad, p05, p25, p75, p95, p99, median_low, median_high}: the last two are
 * the 95 % bootstrap interval of the median.
 *
 * unit      ends each name but count ("median_ns"); NULL: none.
 * samples   finite, in any order; nothing but the count is written when there are none.
 * returns   0; -ENOMEM.
 */
int measure_statistics(struct xk_json *j, const char *key, const char *unit, const double *samples, size_t count,
                       struct xk_random *random, struct xk_err *err);
/*
 * Add {count, min, p50, p90, p99, p999, max, mean, buckets}; buckets are [low, high, count] of those that are not
 * empty, so that histograms of several records can be added up.
 */
void measure_histogram(struct xk_json *j, const char *key, const char *unit, const struct xk_hist *h);

/*
 * Append the record as one JSON document, ended by a newline. Nothing can be added to the measurement afterwards.
 * returns   0; -EFBIG: a part or `ret` is past its maximum; -ENOMEM.
 */
int measure_text(struct measure *m, struct xk_buf *ret, struct xk_err *err);
/* The same into a file that is replaced at once or not at all. returns as measure_text() and xk_file_replace(). */
int measure_save(struct measure *m, const struct xk_fs *fs, const char *path, struct xk_err *err);

#endif
