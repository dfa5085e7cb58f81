/*
 * Clocks, random numbers and the wish to stop.
 *
 * A stop wakes every sleeper of every thread: the handler writes to an eventfd that nobody reads, so it stays ready
 * from then on, and xk_clock's sleep is a ppoll() on it. Sleeping in slices would also notice the flag, but late, and
 * a bare nanosleep() loses the signal that comes just before it or goes to another thread.
 */
#include "core/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>

__extension__ typedef unsigned __int128 u128;

/* timeout(1) sends its signal to the process and to its group: what comes so soon is the same wish once more. */
#define STOP_AGAIN_NS (200 * XK_NS_PER_MS)

/* What the signal handler sets; the only file-scope data that change. */
static atomic_int stop_signal_number;
static atomic_int stop_fd = -1;
static _Atomic uint64_t stop_ns;

/* ---- clocks ---- */

static uint64_t system_monotonic_ns(const struct xk_clock *clock)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * XK_NS_PER_S + (uint64_t)now.tv_nsec;
}

static int64_t system_utc_ns(const struct xk_clock *clock)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * (int64_t)XK_NS_PER_S + now.tv_nsec;
}

static void system_sleep_ns(const struct xk_clock *clock, uint64_t ns)
{
    uint64_t until_ns;
    if (xk_add(system_monotonic_ns(clock), ns, &until_ns))
        until_ns = UINT64_MAX;
    while (!xk_stop_signal()) {
        const uint64_t now_ns = system_monotonic_ns(clock);
        if (now_ns >= until_ns)
            return;
        const uint64_t left_ns = until_ns - now_ns;
        const struct timespec left = {.tv_sec = (time_t)(left_ns / XK_NS_PER_S),
                                      .tv_nsec = (long)(left_ns % XK_NS_PER_S)};
        struct pollfd stop = {.fd = atomic_load(&stop_fd), .events = POLLIN};
        (void)ppoll(&stop, 1, &left, NULL);
    }
}

const struct xk_clock *xk_clock_system(void)
{
    static const struct xk_clock clock = {
        .monotonic_ns = system_monotonic_ns,
        .utc_ns = system_utc_ns,
        .sleep_ns = system_sleep_ns,
    };
    return &clock;
}

static int64_t frozen_utc_ns(const struct xk_clock *clock)
{
    return *(const int64_t *)clock->state;
}

static uint64_t frozen_monotonic_ns(const struct xk_clock *clock)
{
    return (uint64_t)frozen_utc_ns(clock);
}

static void frozen_sleep_ns(const struct xk_clock *clock, uint64_t ns)
{
    int64_t *utc_ns = clock->state;
    if (__builtin_add_overflow(*utc_ns, ns, utc_ns))
        *utc_ns = INT64_MAX;
}

struct xk_clock xk_clock_frozen(int64_t *utc_ns)
{
    return (struct xk_clock){
        .monotonic_ns = frozen_monotonic_ns,
        .utc_ns = frozen_utc_ns,
        .sleep_ns = frozen_sleep_ns,
        .state = utc_ns,
    };
}

/* ---- random numbers: xoshiro256** by Blackman and Vigna, seeded through splitmix64 as they advise ---- */

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t splitmix64(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void xk_random_seed(struct xk_random *r, uint64_t seed)
{
    for (size_t i = 0; i < XK_COUNT(r->s); i++)
        r->s[i] = splitmix64(&seed);
}

void xk_random_seed_system(struct xk_random *r)
{
    ssize_t got;
    do
        got = getrandom(r->s, sizeof(r->s), 0);
    while (got < 0 && errno == EINTR);
    /* A kernel without getrandom(), and the one state from which the generator cannot move. */
    if (got != (ssize_t)sizeof(r->s) || (r->s[0] | r->s[1] | r->s[2] | r->s[3]) == 0)
        xk_random_seed(r, (uint64_t)system_utc_ns(NULL) ^ rotate_left((uint64_t)getpid(), 40) ^ (uintptr_t)r);
}

uint64_t xk_random_u64(struct xk_random *r)
{
    uint64_t *s = r->s;
    const uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t xk_random_below(struct xk_random *r, uint64_t limit)
{
    /*
     * The high half of x * limit. Of the 2^64 values of x some results would get one more than others; those are the
     * ones whose low half is below 2^64 mod limit. (Lemire's way: the division is hardly ever needed.)
     */
    u128 product = (u128)xk_random_u64(r) * limit;
    if ((uint64_t)product < limit) {
        const uint64_t skip = -limit % limit;
        while ((uint64_t)product < skip)
            product = (u128)xk_random_u64(r) * limit;
    }
    return (uint64_t)(product >> 64);
}

double xk_random_unit(struct xk_random *r)
{
    return (double)(xk_random_u64(r) >> 11) * 0x1p-53;
}

void xk_random_bytes(struct xk_random *r, void *ret, size_t bytes)
{
    uint8_t *at = ret;
    while (bytes > 0) {
        uint64_t x = xk_random_u64(r);
        const size_t count = XK_MIN(bytes, sizeof(x));
        for (size_t i = 0; i < count; i++, x >>= 8)
            at[i] = (uint8_t)x;
        at += count;
        bytes -= count;
    }
}

/* ---- stop ---- */

static void on_stop(int signal_number)
{
    const int saved_errno = errno;
    const uint64_t now_ns = system_monotonic_ns(NULL);
    int none = 0;
    if (atomic_compare_exchange_strong(&stop_signal_number, &none, signal_number)) {
        const uint64_t one = 1;
        atomic_store(&stop_ns, now_ns);
        (void)!write(atomic_load(&stop_fd), &one, sizeof(one));
    } else if (now_ns - atomic_load(&stop_ns) >= STOP_AGAIN_NS) {
        (void)signal(signal_number, SIG_DFL);
        (void)raise(signal_number);
    }
    errno = saved_errno;
}

void xk_stop_install(void)
{
    if (atomic_load(&stop_fd) < 0)
        atomic_store(&stop_fd, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < XK_COUNT(signals); i++) {
        struct sigaction action;
        /* Whoever started us with the signal ignored (nohup, a shell's background job) meant it. */
        if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            continue;
        action = (struct sigaction){.sa_handler = on_stop};
        sigemptyset(&action.sa_mask);
        (void)sigaction(signals[i], &action, NULL);
    }
}

int xk_stop_signal(void)
{
    return atomic_load(&stop_signal_number);
}
