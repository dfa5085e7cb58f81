/*
 * Dealing out work. While there is data, the next unit is given out unseen and its reader asks for its map; after a
 * unit without data the map is searched ahead, in windows that double, so that a hole of a terabyte costs twenty
 * questions.
 */
#include "lib/convert/inner.h"

#include "core/crew.h"

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
    /* More than can run: some wait for the disk. */
    return wanted ? XK_MIN(wanted, (unsigned)CONVERT_THREADS_MAX) : XK_MIN(xk_processors() + 4, 8u);
}
