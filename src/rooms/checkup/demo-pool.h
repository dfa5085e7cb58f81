/* The demo's pool: a simulated one with faults that have to be found. */
#ifndef ROOM_CHECKUP_DEMO_POOL_H
#define ROOM_CHECKUP_DEMO_POOL_H

#include "lib/client/client.h"
#include "rooms/checkup/checkup.h"

struct checkup_demo_pool {
    pid_t process;
    char url[256];
    char *log, *password_file;
    struct client_access access;
    size_t planted;
};

/* Start it; its log and password lie in DIR/pool. Waits until all faults show. checkup_demo_pool_stop() in any case. */
int checkup_demo_pool_start(struct checkup_demo_pool *ret, struct xk_app *app, const char *dir, struct xk_err *err);
void checkup_demo_pool_stop(struct checkup_demo_pool *pool);
/* As checkup_demo_verify(), for the findings of the pool and its log. */
int checkup_demo_pool_verify(const struct checkup *c, struct xk_buf *ret_text);

#endif
