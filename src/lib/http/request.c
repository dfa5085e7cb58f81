/*
 * Requests: http-parser eats what has come until one is whole, then it is paused and the handler is called.
 *
 * The head's texts lie in one buffer behind each other, known by their places, since the buffer may move while it
 * grows.
 */
#include "lib/http/server-parts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define HEAD_BYTES_KEPT  1024 /* a connection keeps its buffers between requests, as long as they are small */
#define BODY_BYTES_KEPT  1024
#define EARLY_PATH_BYTES 64 /* as much of a path as is looked at */

void http_request_reset(struct http_exchange *x)
{
    if (x->body.capacity > BODY_BYTES_KEPT)
        xk_buf_done(&x->body);
    xk_buf_reset(&x->body);
    if (x->head.capacity > HEAD_BYTES_KEPT)
        xk_buf_done(&x->head);
    xk_buf_reset(&x->head);
    free(x->path);
    x->path = x->query = NULL;
    x->target_len = 0;
    x->header_count = 0;
    x->in_value = x->begun = x->whole = x->early = false;
    x->spoil = (struct http_spoil){0};
}

/* ---- the parser's callbacks ---- */

static int part_add(struct http_exchange *x, const char *at, size_t len)
{
    xk_buf_add(&x->head, at, len);
    if (x->head.len > HTTP_HEAD_BYTES_MAX || x->head.error) {
        x->refused = 431;
        return -1;
    }
    return 0;
}

static int on_begin(http_parser *p)
{
    struct http_exchange *const x = p->data;

    http_request_reset(x);
    x->begun = true;
    return 0;
}

static int on_target(http_parser *p, const char *at, size_t len)
{
    struct http_exchange *const x = p->data;

    x->target_len += len;
    return part_add(x, at, len);
}

static int on_name(http_parser *p, const char *at, size_t len)
{
    struct http_exchange *const x = p->data;

    if (x->in_value || x->header_count == 0) {
        if (x->header_count == HTTP_HEADERS_MAX) {
            x->refused = 431;
            return -1;
        }
        xk_buf_add_char(&x->head, '\0');
        x->headers[x->header_count++] = (struct http_head_line){.name = x->head.len, .value = 0};
        x->in_value = false;
    }
    return part_add(x, at, len);
}

static int on_value(http_parser *p, const char *at, size_t len)
{
    struct http_exchange *const x = p->data;

    if (!x->in_value) {
        xk_buf_add_char(&x->head, '\0');
        x->headers[x->header_count - 1].value = x->head.len;
        x->in_value = true;
    }
    return part_add(x, at, len);
}

static bool is_early(const struct http_exchange *x)
{
    const struct http_settings *const s = &x->server->settings;
    char path[EARLY_PATH_BYTES];

    if (!s->early || x->parser.method != HTTP_PUT)
        return false;
    snprintf(path, sizeof(path), "%.*s", (int)XK_MIN(x->target_len, sizeof(path) - 1), x->head.data);
    path[strcspn(path, "?")] = '\0';
    return s->early(s->context, path);
}

static size_t body_bytes_max(const struct http_exchange *x)
{
    const struct http_settings *const s = &x->server->settings;

    for (const struct http_body_limit *l = s->body_limits; l && l->path; l++) {
        const size_t bytes = strlen(l->path);
        if (x->target_len >= bytes && memcmp(x->head.data, l->path, bytes) == 0 &&
            (x->target_len == bytes || strchr("/?", x->head.data[bytes])))
            return l->bytes_max;
    }
    return s->body_bytes_max;
}

/*
 * The server takes bodies only with a length, and looks at it before the first byte. What is to be handed over early
 * says itself what it takes.
 */
static int on_head_end(http_parser *p)
{
    struct http_exchange *const x = p->data;
    const bool has_length = (p->flags & F_CONTENTLENGTH) != 0;

    xk_buf_add_char(&x->head, '\0');
    if (x->head.error)
        x->refused = 500;
    else if (p->http_major != 1)
        x->refused = 505;
    else if ((x->early = is_early(x))) {
        x->unread = has_length ? (int64_t)XK_MIN(p->content_length, (uint64_t)INT64_MAX) : -1;
        return 1; /* for the parser there is no body */
    } else if (p->flags & F_CHUNKED || ((p->method == HTTP_POST || p->method == HTTP_PUT) && !has_length))
        x->refused = 500;
    else if (has_length && p->content_length > body_bytes_max(x))
        x->refused = 500;
    return x->refused ? -1 : 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
    struct http_exchange *const x = p->data;

    xk_buf_add(&x->body, at, len);
    return x->body.error ? -1 : 0;
}

static int on_whole(http_parser *p)
{
    struct http_exchange *const x = p->data;

    x->whole = true;
    x->close = x->early || !http_should_keep_alive(p);
    http_parser_pause(p, 1);
    return 0;
}

const struct http_parser_settings http_request_callbacks = {
    .on_message_begin = on_begin,
    .on_url = on_target,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head_end,
    .on_body = on_body,
    .on_message_complete = on_whole,
};

/* ---- the request ---- */

const char *http_method(const struct http_exchange *x)
{
    return http_method_str((enum http_method)x->parser.method);
}

const char *http_path(const struct http_exchange *x)
{
    return x->path;
}

const char *http_query(const struct http_exchange *x)
{
    return x->query;
}

const char *http_header(const struct http_exchange *x, const char *name)
{
    for (unsigned i = 0; i < x->header_count; i++)
        if (x->headers[i].value && strcasecmp(x->head.data + x->headers[i].name, name) == 0)
            return x->head.data + x->headers[i].value;
    return NULL;
}

const char *http_body(const struct http_exchange *x, size_t *ret_bytes)
{
    *ret_bytes = x->body.len;
    return xk_buf_str(&x->body);
}

int64_t http_unread(const struct http_exchange *x)
{
    return x->early ? x->unread : 0;
}

bool http_is_of(const struct http_exchange *x, const struct http_server *s)
{
    return x->server == s;
}

unsigned http_tag(const struct http_exchange *x)
{
    return x->tag;
}

void http_peer(char ret[INET6_ADDRSTRLEN], const struct http_exchange *x)
{
    struct resolve_address peer = {.bytes = sizeof(peer.v6)};

    ret[0] = '\0';
    if (getpeername(bufferevent_getfd(x->stream), &peer.any, &peer.bytes) == 0 && peer.any.sa_family != AF_UNIX)
        snprintf(ret, INET6_ADDRSTRLEN, "%.*s", INET6_ADDRSTRLEN - 1, resolve_host_text(&peer).s);
}

/* ---- reading ---- */

static void hand_over(struct http_exchange *x)
{
    x->path = xk_strndup(x->head.data, x->target_len);
    x->state = HTTP_HANDLED;
    event_del(x->head_timer);
    http_exchange_times(x, 0, 0);
    if (!x->path)
        return http_refuse(x, 500);
    char *const mark = strchr(x->path, '?');
    x->query = mark ? mark + 1 : x->path + strlen(x->path);
    if (mark)
        *mark = '\0';
    x->handling = true;
    x->server->settings.handle(x->server->settings.context, x);
    x->handling = false;
}

void http_request_parse(struct http_exchange *x)
{
    struct evbuffer *const in = bufferevent_get_input(x->stream);

    for (size_t bytes; x->state == HTTP_READING && (bytes = evbuffer_get_contiguous_space(in)) > 0;) {
        const bool began = x->begun;
        const char *const at = (const char *)evbuffer_pullup(in, (ev_ssize_t)bytes);
        const size_t eaten = http_parser_execute(&x->parser, &http_request_callbacks, at, bytes);
        const enum http_errno wrong = HTTP_PARSER_ERRNO(&x->parser);
        (void)evbuffer_drain(in, eaten);
        if (x->whole) {
            http_parser_pause(&x->parser, 0);
            hand_over(x);
            return;
        }
        if (wrong != HPE_OK) {
            x->state = HTTP_HANDLED;
            return http_refuse(x, x->refused ? x->refused : wrong == HPE_HEADER_OVERFLOW ? 431 : 400);
        }
        if (x->begun && !began) {
            const struct timeval limit = {.tv_sec = HTTP_HEAD_S};
            (void)event_add(x->head_timer, &limit);
            http_exchange_times(x, HTTP_READ_S, HTTP_WRITE_S);
        }
        if (x->parser.upgrade) {
            x->state = HTTP_HANDLED;
            return http_refuse(x, 501);
        }
    }
}
