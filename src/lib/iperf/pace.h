/* When a stream of a given rate sends: every datagram at its own time, counted from the beginning. */
#ifndef LIB_IPERF_PACE_H
#define LIB_IPERF_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define IPERF_PACE_FASTEST 8                    /* times the rate, while what was missed is made good for */
#define IPERF_PACE_DEBT_NS UINT64_C(1000000000) /* what a stream is late by beyond this is given up */

struct iperf_pace {
    uint64_t begin_ns, earliest_ns, sent_bytes, rate_bps;
};

/* When the next datagram is due; a time that has passed: now. ret_late: the stream has to make good for something. */
uint64_t iperf_pace_due(struct iperf_pace *p, uint64_t now_ns, bool *ret_late);
/* Account for what left at `now_ns`. */
void iperf_pace_sent(struct iperf_pace *p, uint64_t now_ns, uint64_t bytes);

#endif
