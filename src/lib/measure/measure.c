/*
 * The three parts that grow while measuring are written as JSON at once, each into a buffer of its own, and joined when
 * the record is saved: the summary stands before the samples but is known after them. Keeping samples as a table of
 * typed columns was weighed; it saves memory and costs every instrument a schema.
 */
#include "lib/measure/measure.h"

#include "core/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { PARAMETERS, SUMMARY, SAMPLES };

#define CONFIDENCE       0.95
#define BOOTSTRAP_ROUNDS 1000

void measure_init(struct measure *ret, const char *tool, int64_t started_utc_ns)
{
    *ret = (struct measure){.tool = tool, .started_utc_ns = started_utc_ns};
    environment_init(&ret->environment);
    xk_buf_init(&ret->texts[PARAMETERS], MEASURE_PARAMETERS_BYTES_MAX);
    xk_buf_init(&ret->texts[SUMMARY], MEASURE_SUMMARY_BYTES_MAX);
    xk_buf_init(&ret->texts[SAMPLES], MEASURE_SAMPLES_BYTES_MAX);
    xk_json_init(&ret->parameters, &ret->texts[PARAMETERS], 0);
    xk_json_init(&ret->summary, &ret->texts[SUMMARY], 0);
    xk_json_init(&ret->samples, &ret->texts[SAMPLES], 0);
    xk_json_object(&ret->parameters, NULL);
    xk_json_object(&ret->summary, NULL);
    xk_json_array(&ret->samples, NULL);
}

void measure_done(struct measure *m)
{
    for (size_t i = 0; i < XK_COUNT(m->texts); i++)
        xk_buf_done(&m->texts[i]);
}

struct name {
    char s[64];
};

/* "median" and "ns" make "median_ns". */
static struct name with_unit(const char *word, const char *unit)
{
    struct name name;
    const int length = snprintf(name.s, sizeof(name.s), unit ? "%s_%s" : "%s", word, unit);
    assert(length > 0 && (size_t)length < sizeof(name.s));
    return name;
}

int measure_statistics(struct xk_json *j, const char *key, const char *unit, const double *samples, size_t count,
                       struct xk_random *random, struct xk_err *err)
{
    static const struct {
        const char *name;
        double fraction;
    } percentiles[] = {{"min", 0},    {"p05", 0.05}, {"p25", 0.25}, {"median", 0.5},
                       {"p75", 0.75}, {"p95", 0.95}, {"p99", 0.99}, {"max", 1}};

    xk_autofree double *sorted = xk_array_alloc(count, sizeof(*sorted));
    double mad;
    struct xk_interval interval;
    if (!sorted || xk_mad(&mad, samples, count) < 0)
        return xk_fail_memory(err);
    if (count > 0 && xk_bootstrap_median(&interval, samples, count, CONFIDENCE, BOOTSTRAP_ROUNDS, random) < 0)
        return xk_fail_memory(err);

    xk_json_object(j, key);
    xk_json_u64(j, "count", count);
    if (count > 0) {
        memcpy(sorted, samples, count * sizeof(*sorted));
        xk_sort_doubles(sorted, count);
        for (size_t i = 0; i < XK_COUNT(percentiles); i++)
            xk_json_double(j, with_unit(percentiles[i].name, unit).s,
                           xk_percentile_sorted(sorted, count, percentiles[i].fraction));
        xk_json_double(j, with_unit("mean", unit).s, xk_mean(samples, count));
        xk_json_double(j, with_unit("stddev", unit).s, xk_stddev(samples, count));
        xk_json_double(j, with_unit("mad", unit).s, mad);
        xk_json_double(j, with_unit("median_low", unit).s, interval.low);
        xk_json_double(j, with_unit("median_high", unit).s, interval.high);
    }
    xk_json_end(j);
    return 0;
}

void measure_histogram(struct xk_json *j, const char *key, const char *unit, const struct xk_hist *h)
{
    static const struct {
        const char *name;
        double fraction;
    } percentiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

    xk_json_object(j, key);
    xk_json_u64(j, "count", h->count);
    if (h->count > 0) {
        xk_json_u64(j, with_unit("min", unit).s, h->min);
        for (size_t i = 0; i < XK_COUNT(percentiles); i++)
            xk_json_u64(j, with_unit(percentiles[i].name, unit).s, xk_hist_percentile(h, percentiles[i].fraction));
        xk_json_u64(j, with_unit("max", unit).s, h->max);
        xk_json_double(j, with_unit("mean", unit).s, xk_hist_mean(h));
    }
    xk_json_array(j, "buckets");
    for (unsigned i = 0; i < XK_HIST_BUCKETS; i++) {
        if (h->bucket[i] == 0)
            continue;
        xk_json_array(j, NULL);
        xk_json_u64(j, NULL, xk_hist_bucket_low(i));
        xk_json_u64(j, NULL, xk_hist_bucket_high(i));
        xk_json_u64(j, NULL, h->bucket[i]);
        xk_json_end(j);
    }
    xk_json_end(j);
    xk_json_end(j);
}

static void end_parts(struct measure *m)
{
    struct xk_json *const parts[] = {&m->parameters, &m->summary, &m->samples};
    for (size_t i = 0; i < XK_COUNT(parts) && !m->ended; i++) {
        assert(parts[i]->depth == 1); /* every object that was begun has been ended */
        xk_json_end(parts[i]);
    }
    m->ended = true;
}

static void put_part(struct xk_json *j, const char *key, const struct xk_buf *part)
{
    xk_json_raw(j, key, part->data, part->len);
}

int measure_text(struct measure *m, struct xk_buf *ret, struct xk_err *err)
{
    end_parts(m);
    for (size_t i = 0; i < XK_COUNT(m->texts); i++) {
        if (m->texts[i].error == -ENOMEM)
            return xk_fail_memory(err);
        if (m->texts[i].error < 0)
            return xk_fail(err, m->texts[i].error, "the record of %s is larger than %s", m->tool,
                           xk_size(m->texts[i].max).s);
    }
    struct xk_json j;
    xk_json_init(&j, ret, 1);
    xk_json_object(&j, NULL);
    xk_json_str(&j, "tool", m->tool);
    xk_json_str(&j, "version", XK_VERSION);
    xk_json_str(&j, "started", xk_iso_time(m->started_utc_ns / (int64_t)XK_NS_PER_S).s);
    put_part(&j, "parameters", &m->texts[PARAMETERS]);
    environment_json(&j, "environment", &m->environment, m->file_system.path[0] != '\0' ? &m->file_system : NULL);
    put_part(&j, "summary", &m->texts[SUMMARY]);
    put_part(&j, "samples", &m->texts[SAMPLES]);
    xk_json_end(&j);
    xk_buf_add_char(ret, '\n');
    if (ret->error == -ENOMEM)
        return xk_fail_memory(err);
    return ret->error < 0
               ? xk_fail(err, ret->error, "the record of %s does not fit into %s", m->tool, xk_size(ret->max).s)
               : 0;
}

int measure_save(struct measure *m, const struct xk_fs *fs, const char *path, struct xk_err *err)
{
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(MEASURE_BYTES_MAX);
    const int rc = measure_text(m, &text, err);
    return rc < 0 ? rc : xk_file_replace(fs, path, text.data, text.len, 0644, err);
}
