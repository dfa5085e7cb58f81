/*
 * Noise with an exact mean over any span of time.
 *
 * A series is 1 plus a daily and a weekly wave plus steps of thirteen lengths from five seconds to half a week. Steps
 * come in pairs of one height up and the same down, so that the integral up to any second is known without adding up
 * what was before. Therefore a row of the archive of days costs as much as one of seconds and is exactly the mean of
 * its 17,280 parts. A random walk looks more natural but would have to be walked.
 *
 * What depends on the second alone is computed once for all series of a row.
 */
#include "lib/simpool/rrd.h"

#include <math.h>
#include <string.h>

#define DAY_S      86400.0
#define WEEK_S     (7 * DAY_S)
#define STEP_SHARE 0.05
/* A whole number of weeks: the year before a pool that begins in 1970 is as any other. */
#define EARLIER_S  (5200 * INT64_C(604800))
#define DAY_SHARE  0.25
#define WEEK_SHARE 0.05
/* Seconds after the beginning of a period at which its wave begins: busiest at two in the afternoon, and in the middle
 * of the week (1970 began on a Thursday). */
#define DAY_BEGIN_S  7200.0
#define WEEK_BEGIN_S (3 * DAY_S)

static const uint32_t lengths_s[SIM_SERIES_STEPS] = {5,    15,   30,    60,    150,   300,   900,
                                                     1800, 3600, 10800, 43200, 86400, 302400};

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t mix_text(uint64_t key, const char *text)
{
    for (; *text; text++)
        key = mix(key ^ (uint8_t)*text);
    return mix(key);
}

uint64_t sim_series_key(const char *object, const char *what)
{
    return mix_text(mix_text(0, object), what);
}

double sim_series_share(uint64_t key)
{
    return (double)(mix(key) >> 11) * 0x1p-53;
}

/* The integral of 30 x² (1-x)² - 1, which is 0 over a period; x is the part of the period that is over. */
static double wave_until(double period_s, double begin_s, int64_t t)
{
    const double x = fmod((double)t - begin_s, period_s) / period_s;

    return period_s * (x * x * x * (10 - 15 * x + 6 * x * x) - x);
}

void sim_instant_at(struct sim_instant *ret, int64_t t)
{
    ret->t = t;
    t += EARLIER_S;
    ret->wave = DAY_SHARE * wave_until(DAY_S, DAY_BEGIN_S, t) + WEEK_SHARE * wave_until(WEEK_S, WEEK_BEGIN_S, t);
    for (unsigned i = 0; i < SIM_SERIES_STEPS; i++) {
        const uint64_t length = lengths_s[i], pair = (uint64_t)t / (2 * length), in = (uint64_t)t % (2 * length);
        ret->pairs[i] = mix(pair * 16 + i);
        ret->parts[i] = STEP_SHARE * (double)(in < length ? in : 2 * length - in);
    }
}

/* How high a pair of steps goes, from -1 to 1. */
static double height(uint64_t key, uint64_t pair)
{
    return 2 * sim_series_share(key ^ pair) - 1;
}

double sim_series_between(uint64_t key, double depth, const struct sim_instant *from, const struct sim_instant *to)
{
    double sum = to->wave - from->wave;

    for (unsigned i = 0; i < SIM_SERIES_STEPS; i++)
        sum += height(key, to->pairs[i]) * to->parts[i] - height(key, from->pairs[i]) * from->parts[i];
    return 1 + depth * sum / (double)(to->t - from->t);
}

double sim_series_mean(uint64_t key, double depth, int64_t from, int64_t to)
{
    struct sim_instant begin, end;

    sim_instant_at(&begin, from);
    sim_instant_at(&end, to);
    return sim_series_between(key, depth, &begin, &end);
}
