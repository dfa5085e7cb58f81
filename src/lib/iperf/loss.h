/*
 * Which numbered datagrams came: exact loss, duplicates and reordering within a sliding window.
 *
 * A bit for each of the last IPERF_LOSS_WINDOW numbers. One that is older than the window is late: it was counted as
 * lost when the window passed it, and stays so.
 */
#ifndef LIB_IPERF_LOSS_H
#define LIB_IPERF_LOSS_H

#include "core/base.h"

#define IPERF_LOSS_WINDOW 65536u

struct iperf_loss {
    uint64_t *seen;   /* IPERF_LOSS_WINDOW bits, by number modulo the window */
    uint64_t highest; /* number seen; they begin at 1 */
    uint64_t unique;  /* came, each once */
    uint64_t duplicates, reordered, late;
    uint64_t distance_max; /* by which one came too late, in numbers */
};

/* returns 0; -ENOMEM. */
int iperf_loss_init(struct iperf_loss *l);
void iperf_loss_done(struct iperf_loss *l);
void iperf_loss_add(struct iperf_loss *l, uint64_t number);
/* Of the numbers up to the highest, those that never came. */
static inline uint64_t iperf_loss_lost(const struct iperf_loss *l)
{
    return l->highest - l->unique;
}

#endif
