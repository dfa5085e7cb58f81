/*
 * Noise with an exact mean over any span of time.
 *
 * A series is 1 plus a daily and a weekly wave plus steps of thirteen lengths from five seconds to half a week. Steps
 * come in pairs of one height up and the same down, so that the integral up to any second is known without adding up
 * what was before. Therefore a row of the archive of days costs as much as one of seconds and is exactly the mean of
 * its 17,280 parts. A random walk looks more natural but would have to be walked.
 */
#include "lib/simpool/rrd.h"

#include <math.h>
#include <string.h>

#define DAY_S  86400.0
#define WEEK_S (7 * DAY_S)

static const int64_t lengths_s[] = {5, 15, 30, 60, 150, 300, 900, 1800, 3600, 10800, 43200, 86400, 302400};
#define STEP_SHARE 0.05
#define DAY_SHARE  0.2
#define WEEK_SHARE 0.05

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

/* The integral of the steps of one length from the beginning of the pair that `t` lies in. */
static double steps_until(uint64_t key, int64_t length_s, int64_t t)
{
    const int64_t pair = t / (2 * length_s), in = t % (2 * length_s);
    const double height = 2 * sim_series_share(key ^ mix((uint64_t)pair * 16 + (uint64_t)length_s)) - 1;

    return height * (double)(in < length_s ? in : 2 * length_s - in);
}

/* The integral of a wave. */
static double wave_until(double period_s, double phase_s, int64_t t)
{
    const double turn = 2 * M_PI / period_s;

    return -cos(turn * (fmod((double)t, period_s) - phase_s)) / turn;
}

double sim_series_mean(uint64_t key, double depth, int64_t from, int64_t to)
{
    const double span = (double)(to - from), lag_s = (sim_series_share(key) - 0.5) * 14400;
    double sum = 0;

    for (size_t i = 0; i < XK_COUNT(lengths_s); i++)
        sum += STEP_SHARE * (steps_until(key, lengths_s[i], to) - steps_until(key, lengths_s[i], from));
    /* Busiest at two in the afternoon, and in the middle of the week (1970 began on a Thursday). */
    sum += DAY_SHARE * (wave_until(DAY_S, 8 * 3600 + lag_s, to) - wave_until(DAY_S, 8 * 3600 + lag_s, from));
    sum += WEEK_SHARE * (wave_until(WEEK_S, 3.5 * DAY_S, to) - wave_until(WEEK_S, 3.5 * DAY_S, from));
    return 1 + depth * sum / span;
}
