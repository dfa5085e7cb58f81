/*
 * The time of each datagram follows from all bytes before it, so that no error adds up. A stream that was held up by
 * other programs makes good for it at a few times its rate: the sum is right in the end, and nothing goes out as one
 * burst that a queue on the way would drop. Twice the rate was too little beside ten busy processes, where a thread
 * gets the processor back only every few milliseconds: half of what was asked for.
 */
#include "lib/iperf/pace.h"

static uint64_t time_of(const struct iperf_pace *p, uint64_t bytes)
{
    return (uint64_t)((double)bytes * 8e9 / (double)p->rate_bps);
}

uint64_t iperf_pace_due(struct iperf_pace *p, uint64_t now_ns, bool *ret_late)
{
    uint64_t due = p->begin_ns + time_of(p, p->sent_bytes);

    if (due + IPERF_PACE_DEBT_NS < now_ns) {
        p->begin_ns += now_ns - due - IPERF_PACE_DEBT_NS;
        due = now_ns - IPERF_PACE_DEBT_NS;
    }
    *ret_late = due < p->earliest_ns;
    return *ret_late ? p->earliest_ns : due;
}

void iperf_pace_sent(struct iperf_pace *p, uint64_t now_ns, uint64_t bytes)
{
    p->sent_bytes += bytes;
    p->earliest_ns = now_ns + time_of(p, bytes) / IPERF_PACE_FASTEST;
}
