/*
 * Dealing out work. While there is data, the next unit is given out unseen and its reader asks for its map; after a
 * unit without data the map is searched ahead, in windows that double, so that a hole of a terabyte costs twenty
 * questions.
 */
#include "lib/convert/inner.h"

#include <sched.h>

#define WINDOW_MAX XK_GIB

static int stop_at_data(void *context, const struct volume_extent *e)
{
    uint64_t *const found = context;

    if (e->kind != VOLUME_DATA)
        return 0;
    *found = e->start;
    return 1;
}

static int skip_holes(struct convert_cursor *c, struct xk_err *err)
{
    const uint64_t end = c->volume->size_bytes;
    uint64_t window = CONVERT_UNIT;

    while (c->at < end) {
        const uint64_t bytes = XK_MIN(end - c->at, window);
        uint64_t data = UINT64_MAX;
        const int code = volume_map(c->volume, c->at, bytes, stop_at_data, &data, err);
        if (code < 0)
            return code;
        if (data != UINT64_MAX) {
            c->at = data / CONVERT_UNIT * CONVERT_UNIT;
            return 0;
        }
        c->at += bytes;
        window = XK_MIN(window * 2, WINDOW_MAX);
        if (xk_stop_signal())
            return xk_fail(err, -EINTR, "stopped at byte %llu of the disk", (unsigned long long)c->at);
    }
    return 0;
}

int convert_cursor_next(struct convert_cursor *c, uint64_t *ret_start, struct xk_err *err)
{
    if (xk_stop_signal())
        return xk_fail(err, -EINTR, "stopped at byte %llu of the disk", (unsigned long long)c->at);
    if (c->scanning) {
        const int code = skip_holes(c, err);
        if (code < 0)
            return code;
        c->scanning = false;
    }
    if (c->at >= c->volume->size_bytes)
        return 0;
    *ret_start = c->at;
    c->at += CONVERT_UNIT;
    return 1;
}

unsigned convert_thread_count(unsigned wanted)
{
    cpu_set_t mine;

    if (wanted)
        return XK_MIN(wanted, (unsigned)CONVERT_THREADS_MAX);
    const unsigned processors = sched_getaffinity(0, sizeof(mine), &mine) == 0 ? (unsigned)CPU_COUNT(&mine) : 2;
    /* One more than can run: one waits for the disk. */
    return XK_MIN(processors + 1, 4u);
}

void convert_crew_run(unsigned threads, void *(*work)(void *context), void *const contexts[])
{
    pthread_t others[CONVERT_THREADS_MAX];
    pthread_attr_t small;
    unsigned started = 0;

    const bool sized = pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, VOLUME_STACK_BYTES) == 0;
    while (sized && started + 1 < threads && pthread_create(&others[started], &small, work, contexts[started + 1]) == 0)
        started++;
    (void)work(contexts[0]);
    for (unsigned i = 0; i < started; i++)
        (void)pthread_join(others[i], NULL);
    (void)pthread_attr_destroy(&small);
}
