/*
 * A connection to a server: TCP or a socket in the file system, through a proxy or not, with TLS or without.
 * Blocking calls bounded by struct resolve_limits.
 */
#ifndef LIB_HTTP_STREAM_H
#define LIB_HTTP_STREAM_H

#include "lib/http/trust.h"
#include "lib/resolve/resolve.h"

struct http_stream;

struct http_target {
    const char *host;
    uint16_t port;
    const char *socket_path; /* instead of host and port; NULL: none */
    const char *proxy_host;  /* asked to CONNECT; NULL: none */
    uint16_t proxy_port;
    bool tls;
    struct http_trust trust;
};

/* returns   0; what resolve_name(), resolve_connect() and http_trust_check() return; -EPROTO: TLS failed. */
int http_stream_open(struct http_stream **ret, const struct http_target *target, const struct resolve_limits *limits,
                     struct xk_err *err);
void http_stream_close(struct http_stream *s);
/* returns   the bytes written, at least 1; negative errno values. Records no error. */
ssize_t http_stream_write(struct http_stream *s, const void *bytes, size_t count, const struct resolve_limits *limits);
/* returns   the bytes read; 0 at the end; negative errno values. Records no error. */
ssize_t http_stream_read(struct http_stream *s, void *bytes, size_t count, const struct resolve_limits *limits);
/* To poll() for more bytes beside other descriptors. */
int http_stream_fd(const struct http_stream *s);
/* Whether it could carry one more request: nothing came unasked, the other end has not closed. */
bool http_stream_idle(struct http_stream *s);
/* From when until when its certificate says it is valid, in seconds since 1970. returns   false without TLS. */
bool http_stream_validity(const struct http_stream *s, int64_t *ret_from_s, int64_t *ret_until_s);
/* NULL without TLS. */
const struct http_pin *http_stream_pin(const struct http_stream *s);

#endif
