/*
 * Clocks and random numbers, handed in through struct xk_app so that a test can freeze both.
 */
#ifndef XK_CLOCK_H
#define XK_CLOCK_H

#include "core/base.h"

struct xk_clock {
    uint64_t (*monotonic_ns)(const struct xk_clock *clock);      /* for durations */
    int64_t (*utc_ns)(const struct xk_clock *clock);             /* since 1970, for stamps */
    void (*sleep_ns)(const struct xk_clock *clock, uint64_t ns); /* returns early when a stop was asked for */
    void *state;
};

const struct xk_clock *xk_clock_system(void);
/* Stands at `utc_ns` and moves only by sleeping. state points to the caller's int64_t. */
struct xk_clock xk_clock_frozen(int64_t *utc_ns);

/* xoshiro256**; not for secrets. */
struct xk_random {
    uint64_t s[4];
};

void xk_random_seed(struct xk_random *r, uint64_t seed); /* the same seed gives the same numbers everywhere */
void xk_random_seed_system(struct xk_random *r);         /* from the kernel */
uint64_t xk_random_u64(struct xk_random *r);
uint64_t xk_random_below(struct xk_random *r, uint64_t limit); /* 0 … limit-1, unbiased; limit > 0 */
double xk_random_unit(struct xk_random *r);                    /* [0, 1) */
void xk_random_bytes(struct xk_random *r, void *ret, size_t bytes);

/*
 * The first SIGINT, SIGTERM or SIGHUP asks for a stop; a second one after a fifth of a second kills. Loops ask
 * xk_stop_signal() and end cleanly.
 */
void xk_stop_install(void);
int xk_stop_signal(void); /* the signal's number, 0: go on */

#endif
