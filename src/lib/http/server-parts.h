/*
 * What the files of the server share: a connection and what stands on it.
 *
 * server.c has listeners and the life of a connection, request.c what comes in, reply.c what goes out.
 */
#ifndef LIB_HTTP_SERVER_PARTS_H
#define LIB_HTTP_SERVER_PARTS_H

#include "lib/http/server.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <http_parser.h>
#include <sys/uio.h>

#define HTTP_LINGER_BYTES_MAX (1u << 20) /* thrown away behind the last reply */

struct http_head_line {
    size_t name, value; /* places in the head's text */
};

enum http_state {
    HTTP_GREETING,  /* TLS is not agreed on yet */
    HTTP_READING,   /* of a request, or between two */
    HTTP_HANDLED,   /* the handler has it */
    HTTP_SENDING,   /* a reply goes out */
    HTTP_TAKEN,     /* speaks another protocol */
    HTTP_LINGERING, /* all is said: what still comes is thrown away, so that the reply is not lost by a reset */
};

/* A connection and the exchange on it are one: there is never more than one request in work. */
struct http_exchange {
    struct http_server *server;
    struct http_exchange *next, **link;
    struct bufferevent *stream;
    struct event *head_timer;
    http_parser parser;
    unsigned tag;
    enum http_state state;
    unsigned refused; /* status that ends the request while it is still read; 0: none */
    bool begun;       /* the first byte of a request was seen */
    bool early;       /* handed over with its body unread */
    int64_t unread;   /* of an early one: its body; -1: unknown */
    bool whole, close;
    bool plain;    /* no TLS: what is said can be written to the socket at once */
    bool parsing;  /* in go_on(), which looks at the state again afterwards */
    bool handling; /* the handler is running just now */
    struct http_spoil spoil;
    struct xk_buf head; /* target, names and values, each ended by NUL */
    size_t target_len;
    struct http_head_line headers[HTTP_HEADERS_MAX];
    unsigned header_count;
    bool in_value;
    char *path, *query;
    struct xk_buf body;
    size_t lingered, reply_bytes;
    struct xk_buf reply_head;
    char *page;                                   /* the reply's body */
    struct iovec pieces[2];                       /* of head and body: what is to be sent */
    struct http_exchange *held_next, **held_link; /* among the server's held ones; NULL: it is not */
    uint64_t reply_order;
    struct ev_token_bucket_cfg *rate;
    void (*gone)(void *context);
    void *gone_context;
    void (*readable)(void *context, struct evbuffer *in);
    void (*writable)(void *context);
};

struct http_listener {
    struct http_server *server;
    struct evconnlistener *listener;
    struct http_identity *identity;
    struct resolve_address address;
    enum http_hearing hearing;
    unsigned tag;
};

struct http_server {
    struct event_base *base;
    struct http_settings settings;
    struct http_listener listeners[HTTP_LISTENERS_MAX];
    unsigned listener_count, connections;
    size_t unsent; /* bytes of all replies that are being sent */
    uint64_t replies;
    struct http_exchange *first;
    struct http_exchange *held; /* replies that will leave together */
    unsigned held_count;
    bool holding;
    struct http_ring *ring; /* NULL: not asked for yet */
};

/* ---- server.c ---- */

/* The end of a connection: whoever waits for it is told. */
void http_exchange_free(struct http_exchange *x);
/* Seconds without anything read, or written; 0: for ever. */
void http_exchange_times(struct http_exchange *x, int read_s, int write_s);
/* Everything that can be done now: a loop and not a recursion, however many requests were sent at once. */
void http_exchange_go_on(struct http_exchange *x);

/* ---- request.c ---- */

/* Forget the last request. */
void http_request_reset(struct http_exchange *x);
/* Eat what has come until a request is whole; then the handler has it. */
void http_request_parse(struct http_exchange *x);
extern const struct http_parser_settings http_request_callbacks;

/* ---- reply.c ---- */

/* It does not leave with the others. */
void http_reply_unhold(struct http_exchange *x);
void http_ring_close(struct http_ring *ring);

#endif
