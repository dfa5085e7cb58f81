/*
 * An HTTP/1.1 server on an event loop: listeners, keep-alive connections, one request at a time on each, replies that
 * may come later.
 *
 * One thread. Every connection is bounded in memory (head, body, one unsent reply) and in time, so that slow or hostile
 * clients cost the others nothing.
 */
#ifndef LIB_HTTP_SERVER_H
#define LIB_HTTP_SERVER_H

#include "core/buf.h"
#include "core/err.h"
#include "lib/http/identity.h"

#include <event2/event.h>
#include <netinet/in.h>

#define HTTP_HEAD_BYTES_MAX   (16u << 10) /* request line and headers; more: 431 */
#define HTTP_HEADERS_MAX      64
#define HTTP_LISTENERS_MAX    64
#define HTTP_CONNECTIONS      4096         /* default limit; further ones wait in the kernel's queue */
#define HTTP_READ_S           10           /* between two pieces of a request; longer: 408 */
#define HTTP_HEAD_S           60           /* for a whole head; longer: 408 */
#define HTTP_HANDSHAKE_S      20           /* for a whole handshake of TLS */
#define HTTP_IDLE_S           300          /* between two requests */
#define HTTP_WRITE_S          30           /* without any progress of a reply */
#define HTTP_UNSENT_BYTES_MAX (256u << 20) /* replies in all; past it the one that is being read the longest is cut */
#define HTTP_RAW_BYTES_MAX    (16u << 20)  /* not yet sent of a connection that was taken over */

struct evbuffer;
struct http_server;
struct http_exchange; /* a request that waits for its reply */

/* A path, or the paths below it, whose bodies may be less than the others'. */
struct http_body_limit {
    const char *path;
    size_t bytes_max;
};

struct http_settings {
    size_t body_bytes_max;                     /* a larger body is refused from its head with 500 */
    const struct http_body_limit *body_limits; /* ended by one without a path; NULL: none */
    unsigned connections;                      /* 0: HTTP_CONNECTIONS */
    /* Called for every whole request; answers now or later with http_reply(). */
    void (*handle)(void *context, struct http_exchange *x);
    /*
     * Whether a PUT to that path is handed over as soon as its head is there, with a body of any length, or of none
     * that is said, unread: the handler answers, or takes the connection and finds the body's bytes there. NULL: none.
     */
    bool (*early)(void *context, const char *path);
    void *context;
    const char *server_name; /* for the Server header; NULL: none */
};

int http_server_open(struct http_server **ret, struct event_base *base, const struct http_settings *settings,
                     struct xk_err *err);
/* Ends all connections; waiting exchanges are told through their gone callbacks. NULL is fine. */
void http_server_close(struct http_server *s);
/*
 * Listen on one more address.
 *
 * address   its port 0: any free one, which is written back.
 * tag       given back by http_tag(): which listener a request came through.
 * identity  HTTPS as that; it has to live as long as the server. NULL: HTTP. Who speaks HTTP to HTTPS is told so.
 */
int http_server_listen(struct http_server *s, struct resolve_address *address, unsigned tag,
                       struct http_identity *identity, struct xk_err *err);
/* Serve a stream socket that is connected already; it is ours from now on, also when memory is out. */
void http_server_adopt(struct http_server *s, int fd, unsigned tag, struct http_identity *identity);
unsigned http_server_connections(const struct http_server *s);
uint64_t http_server_replies(const struct http_server *s); /* given so far */

/* ---- servers that misbehave on purpose ---- */

enum http_hearing {
    HTTP_HEARS,
    HTTP_DEAF, /* connections come about, and nothing more */
    HTTP_SHUT, /* connections are refused, and those there go on */
    HTTP_GONE, /* connections are refused, and those there are end */
};
/* How the listeners with a tag behave from now on. An error is one of listening again; then nothing has changed. */
int http_server_hear(struct http_server *s, unsigned tag, enum http_hearing how, struct xk_err *err);
/* There are no listeners with that tag any more; what they accepted goes on. */
void http_server_forget(struct http_server *s, unsigned tag);
/* The listeners with a tag are somebody else to those that connect from now on. */
void http_server_identify(struct http_server *s, unsigned tag, struct http_identity *identity);

/* ---- the request; texts live until the reply ---- */

const char *http_method(const struct http_exchange *x);
const char *http_path(const struct http_exchange *x);                     /* without the query */
const char *http_query(const struct http_exchange *x);                    /* without '?', "" for none */
const char *http_header(const struct http_exchange *x, const char *name); /* NULL: none */
const char *http_body(const struct http_exchange *x, size_t *ret_bytes);
/* Bytes of the body of a request that was handed over early; -1: it does not say how many. 0 for any other. */
int64_t http_unread(const struct http_exchange *x);
bool http_is_of(const struct http_exchange *x, const struct http_server *s); /* which server it came to */
unsigned http_tag(const struct http_exchange *x);
/* The client's address; "" when it is gone or has none. */
void http_peer(char ret[INET6_ADDRSTRLEN], const struct http_exchange *x);

/* ---- the reply ---- */

struct http_reply {
    unsigned status;
    const char *type;    /* Content-Type */
    const char *headers; /* more lines, each ended by \r\n; NULL: none */
    bool close;          /* the connection ends after it */
    /* For servers that misbehave on purpose. */
    bool cut; /* of the body only `cut_bytes` are sent, then the connection ends; its length stays as it was */
    size_t cut_bytes;
    uint32_t rate_byte_s; /* not faster than that; 0: as fast as it goes */
};

/* Answer; the exchange is over. body is taken over (also in error: then 500 is sent) and may be empty. */
void http_reply(struct http_exchange *x, const struct http_reply *reply, struct xk_buf *body);
/* The short page that goes with an error status; the connection ends. */
void http_refuse(struct http_exchange *x, unsigned status);
void http_refuse_with(struct http_exchange *x, unsigned status, const char *headers);
/* Replies given between these two leave together: for many that are told the same. Nothing is read in between. */
void http_server_hold(struct http_server *s);
void http_server_release(struct http_server *s);
/* What happens to the reply, whoever gives it. */
struct http_spoil {
    bool cut; /* as in struct http_reply */
    size_t cut_bytes;
    uint32_t rate_byte_s;
};
void http_spoil(struct http_exchange *x, const struct http_spoil *spoil);
/* Cut the connection without a reply. */
void http_drop(struct http_exchange *x);
/* The same, so that the client sees a reset instead of an end. */
void http_reset(struct http_exchange *x);
/* For replies that come later: called instead of them when the client is gone. NULL: forget it. */
void http_on_gone(struct http_exchange *x, void (*gone)(void *context), void *context);

/* ---- another protocol on the same connection ---- */

struct http_raw {
    /* Bytes came, at first those that came behind the request; what is not taken out of `in` comes again with more. */
    void (*readable)(void *context, struct evbuffer *in);
    /* All that was written has left; also once at the beginning. NULL: nobody waits for it. */
    void (*writable)(void *context);
    /* The client is gone, or the server ends; the exchange is over. Not called after http_finish() or http_drop(). */
    void (*gone)(void *context);
    void *context;
};

/* Instead of a reply: from now on the connection carries bytes as they are, until http_finish() or http_drop(). */
void http_take(struct http_exchange *x, const struct http_raw *raw);
/*
 * The same after the head of a reply whose body ends with the connection: http_write() it.
 * returns   0; -ENOMEM, -EFBIG (headers): the exchange is as it was.
 */
int http_stream(struct http_exchange *x, const struct http_reply *reply, const struct http_raw *raw);
/* returns   0; -ENOBUFS: more than HTTP_RAW_BYTES_MAX would wait for a client that does not read; -ENOMEM. */
int http_write(struct http_exchange *x, const void *bytes, size_t count);
/* The client is gone when it sends nothing for so long. */
void http_expect(struct http_exchange *x, unsigned seconds);
/* All is said: what was written still goes out. */
void http_finish(struct http_exchange *x);

#endif
