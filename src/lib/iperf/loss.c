/* The window of numbers that may still come. */
#include "lib/iperf/loss.h"

#include <errno.h>
#include <string.h>

#define WORDS (IPERF_LOSS_WINDOW / 64)

int iperf_loss_init(struct iperf_loss *l)
{
    *l = (struct iperf_loss){.seen = xk_array_alloc(WORDS, sizeof(uint64_t))};
    return l->seen ? 0 : -ENOMEM;
}

void iperf_loss_done(struct iperf_loss *l)
{
    free(l->seen);
    *l = (struct iperf_loss){0};
}

static void forget(struct iperf_loss *l, uint64_t from, uint64_t to)
{
    if (to - from >= IPERF_LOSS_WINDOW) {
        memset(l->seen, 0, WORDS * sizeof(uint64_t));
        return;
    }
    for (uint64_t n = from; n < to; n++)
        l->seen[n % IPERF_LOSS_WINDOW / 64] &= ~(UINT64_C(1) << (n % 64));
}

void iperf_loss_add(struct iperf_loss *l, uint64_t number)
{
    uint64_t *const word = &l->seen[number % IPERF_LOSS_WINDOW / 64];
    const uint64_t bit = UINT64_C(1) << (number % 64);

    if (number > l->highest) {
        forget(l, l->highest + 1, number);
        l->highest = number;
        *word |= bit;
        l->unique++;
        return;
    }
    if (number == 0 || l->highest - number >= IPERF_LOSS_WINDOW) {
        l->late++;
        return;
    }
    if (*word & bit) {
        l->duplicates++;
        return;
    }
    *word |= bit;
    l->unique++;
    l->reordered++;
    l->distance_max = XK_MAX(l->distance_max, l->highest - number);
}
