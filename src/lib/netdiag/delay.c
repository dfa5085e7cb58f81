/*
 * Round trips, one-way delays and the two clocks.
 *
 * The clocks' offset comes from exchanges of four times, as NTP does it: the quickest exchange of each stretch of the
 * test, and of these such as are near the quickest of all, because what delays a packet delays it on one side. A
 * straight line through them gives offset and drift. What no exchange can tell is whether the way there and the way
 * back differ when idle; so half of the least round trip is how wrong a one-way delay may be. What a load adds to it is
 * free of that.
 */
#include "lib/netdiag/netdiag.h"

#include "core/stats.h"

#include <errno.h>
#include <math.h>

#define STRETCHES    32u
#define NEAR_FACTOR  1.25
#define NEAR_NS      30000.0
#define DRIFT_MAX    500e-6 /* more than any oscillator in use */
#define DRIFT_SPAN_S 1.0    /* below it a slope is noise */
#define ANSWERS_MIN  3
#define BEST_SHARE   0.95 /* the draft of the IPPM group leaves out the worst 5 % */

struct point {
    double at_s, offset_ns, rtt_ns;
};

static double offset_of(const struct netdiag_sample *s)
{
    return ((double)s->up_ns - (double)s->down_ns) / 2;
}

/* The quickest exchange of each stretch. returns how many there are. */
static unsigned quickest(struct point ret[STRETCHES], const struct netdiag_sample *s, size_t count, uint64_t begin,
                         uint64_t span)
{
    unsigned used = 0;
    size_t i = 0;

    for (unsigned k = 0; k < STRETCHES; k++) {
        const struct netdiag_sample *best = NULL;
        for (; i < count && (s[i].asked_ns - begin) / (span / STRETCHES + 1) <= k; i++) {
            if (s[i].rtt_ns && (!best || s[i].rtt_ns < best->rtt_ns))
                best = &s[i];
        }
        if (best)
            ret[used++] = (struct point){(double)(best->asked_ns - begin) / 1e9, offset_of(best), (double)best->rtt_ns};
    }
    return used;
}

struct line {
    double middle_s, offset_ns, slope; /* ns of offset in a second */
    double least_rtt_ns, residual_ns;
};

static struct line fit(struct point *p, unsigned count)
{
    struct line l = {.least_rtt_ns = INFINITY};
    double xx = 0, xy = 0;
    unsigned kept = 0;

    for (unsigned i = 0; i < count; i++)
        l.least_rtt_ns = fmin(l.least_rtt_ns, p[i].rtt_ns);
    for (unsigned i = 0; i < count; i++) {
        if (p[i].rtt_ns <= l.least_rtt_ns * NEAR_FACTOR + NEAR_NS)
            p[kept++] = p[i];
    }
    for (unsigned i = 0; i < kept; i++) {
        l.middle_s += p[i].at_s / kept;
        l.offset_ns += p[i].offset_ns / kept;
    }
    for (unsigned i = 0; i < kept; i++) {
        xx += (p[i].at_s - l.middle_s) * (p[i].at_s - l.middle_s);
        xy += (p[i].at_s - l.middle_s) * (p[i].offset_ns - l.offset_ns);
    }
    if (kept >= ANSWERS_MIN && p[kept - 1].at_s - p[0].at_s >= DRIFT_SPAN_S && xx > 0)
        l.slope = fmax(-DRIFT_MAX * 1e9, fmin(DRIFT_MAX * 1e9, xy / xx));
    for (unsigned i = 0; i < kept; i++) {
        const double off = p[i].offset_ns - l.offset_ns - l.slope * (p[i].at_s - l.middle_s);
        l.residual_ns += off * off / kept;
    }
    l.residual_ns = sqrt(l.residual_ns);
    return l;
}

static struct netdiag_delays summarise(double *ms, size_t count, size_t sent)
{
    struct netdiag_delays d = {.sent = sent, .answered = count};

    if (!count)
        return d;
    xk_sort_doubles(ms, count);
    d.min_ms = ms[0];
    d.p50_ms = xk_percentile_sorted(ms, count, 0.5);
    d.p90_ms = xk_percentile_sorted(ms, count, 0.9);
    d.p99_ms = xk_percentile_sorted(ms, count, 0.99);
    d.p999_ms = xk_percentile_sorted(ms, count, 0.999);
    d.max_ms = ms[count - 1];
    d.mean_ms = xk_mean(ms, count);
    return d;
}

static void of_phase(struct netdiag_latency *l, const struct netdiag_sample *s, size_t count, enum netdiag_phase phase,
                     const struct line *clock, double *room)
{
    const uint64_t begin = s[0].asked_ns;
    double *const rtt = room, *const up = room + count, *const down = room + 2 * count;
    size_t sent = 0, n = 0;

    for (size_t i = 0; i < count; i++) {
        if (s[i].phase != phase)
            continue;
        sent++;
        if (!s[i].rtt_ns)
            continue;
        const double at_s = (double)(s[i].asked_ns - begin) / 1e9;
        const double offset = clock->offset_ns + clock->slope * (at_s - clock->middle_s);
        rtt[n] = (double)s[i].rtt_ns / 1e6;
        up[n] = ((double)s[i].up_ns - offset) / 1e6;
        down[n] = ((double)s[i].down_ns + offset) / 1e6;
        n++;
    }
    l->rtt[phase] = summarise(rtt, n, sent);
    l->up[phase] = summarise(up, n, sent);
    l->down[phase] = summarise(down, n, sent);
    const double best = xk_mean(rtt, (size_t)ceil((double)n * BEST_SHARE));
    l->rpm[phase] = best > 0 ? 60000 / best : 0;
}

int netdiag_latency_make(struct netdiag_latency *ret, const struct netdiag_sample *samples, size_t count)
{
    struct point points[STRETCHES];

    *ret = (struct netdiag_latency){0};
    if (count == 0)
        return -ENODATA;
    const uint64_t span = samples[count - 1].asked_ns - samples[0].asked_ns;
    const unsigned stretches = quickest(points, samples, count, samples[0].asked_ns, span);
    if (stretches == 0)
        return -ENODATA;
    const struct line clock = fit(points, stretches);
    xk_autofree double *room = xk_array_alloc(3 * count, sizeof(*room));
    if (!room)
        return -ENOMEM;
    for (int phase = 0; phase < NETDIAG_PHASES; phase++)
        of_phase(ret, samples, count, (enum netdiag_phase)phase, &clock, room);
    ret->known = true;
    ret->offset_ms = clock.offset_ns / 1e6;
    ret->drift_ppm = clock.slope / 1e3;
    ret->error_ms = (clock.least_rtt_ns / 2 + clock.residual_ns) / 1e6;
    return 0;
}

const char *netdiag_bloat_grade(double added_ms)
{
    static const struct {
        double below_ms;
        const char *grade;
    } grades[] = {{5, "A+"}, {30, "A"}, {60, "B"}, {200, "C"}, {400, "D"}};

    for (size_t i = 0; i < XK_COUNT(grades); i++) {
        if (added_ms < grades[i].below_ms)
            return grades[i].grade;
    }
    return "F";
}
