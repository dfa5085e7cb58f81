/*
 * What the pool fetches from a URL, while its loop goes on.
 */
#ifndef LIB_SIMPOOL_FETCH_H
#define LIB_SIMPOOL_FETCH_H

#include "lib/simpool/inner.h"

struct evbuffer;
struct sim_fetch;

struct sim_fetch_user {
    /* Bytes of the body came; what is not taken out of `in` comes again with more. */
    void (*bytes)(void *context, struct evbuffer *in);
    /* It is over, with these bytes left; no more is called. error: NULL, or why there is no body. */
    void (*ended)(void *context, struct evbuffer *in, const struct sim_error *error);
    void *context;
};

/*
 * GET, and follow redirections. The body is what stands behind the reply's head, as it is, up to the connection's end.
 *
 * url       http://, https:// with a certificate that this machine's authorities vouch for, or file:// and the path of
 *           a socket that speaks HTTP.
 * returns   0; -ENOMEM, and what threads and descriptors fail with.
 */
int sim_fetch_begin(struct sim_fetch **ret, struct simpool *p, const char *url, const struct sim_fetch_user *user);
/* Nobody wants it any more, or it was told that it is over. NULL is fine. */
void sim_fetch_drop(struct sim_fetch *f);
void sim_fetches_close(struct simpool *p);

#endif
