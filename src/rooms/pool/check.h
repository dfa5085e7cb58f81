/*
 * Is the pool whole? One line for monitoring, as the Monitoring Plugins write it. Shared by `xenkit pool check` and by
 * the classic name check_xenpool.
 */
#ifndef ROOM_POOL_CHECK_H
#define ROOM_POOL_CHECK_H

#include "lib/client/client.h"
#include "rooms/pool/pool.h"

enum pool_check_status { POOL_OK, POOL_WARNING, POOL_CRITICAL, POOL_UNKNOWN };

/* "[@]START:END", "N" for 0:N, "N:" and "~:N", as the Monitoring Plugins have it. */
struct pool_check_range {
    double low, high;
    bool inside; /* alert when the value is inside, not outside */
    bool set;
};
/* returns 0; -EINVAL. */
int pool_check_range_parse(struct pool_check_range *ret, const char *text);
bool pool_check_range_alerts(const struct pool_check_range *range, double value);

struct pool_check_settings {
    const char *pool;                   /* HOST, HOST:PORT or URL */
    struct pool_check_range warn, crit; /* of the number of dead hosts; without any, a dead host is critical */
    uint64_t timeout_ns;                /* for everything */
};

/* Ask, and append the one line, without a newline, to `ret`. returns an enum pool_check_status. */
int pool_check_run(struct xk_app *app, const struct client_access *access, const struct pool_check_settings *settings,
                   struct xk_buf *ret);

extern const struct xk_command pool_cmd_check;
extern const struct xk_classic pool_classic_check;

#endif
