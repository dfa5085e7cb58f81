/*
 * http-parser does the parsing, as in the server; here are the limits that it does not have, and what to do with
 * interim replies, which it takes for replies of their own.
 */
#include "lib/http/reader.h"

#include <string.h>

static int stop(struct http_reader *r, int code, const char *why)
{
    if (!r->code) {
        r->code = code;
        r->wrong = why;
    }
    return -1;
}

static int part_add(struct http_reader *r, const char *at, size_t count)
{
    xk_buf_add(&r->head, at, count);
    if (r->head.error)
        return stop(r, r->head.error == -ENOMEM ? -ENOMEM : -EPROTO, "its head is too large");
    return 0;
}

static int on_begin(http_parser *p)
{
    struct http_reader *const r = p->data;

    r->begun = true;
    xk_buf_reset(&r->head);
    xk_buf_add_char(&r->head, '\0'); /* place 0 means "none" */
    r->header_count = 0;
    r->in_value = false;
    return 0;
}

static int on_name(http_parser *p, const char *at, size_t count)
{
    struct http_reader *const r = p->data;

    if (r->in_value || r->header_count == 0) {
        if (r->header_count == HTTP_REPLY_HEADERS_MAX)
            return stop(r, -EPROTO, "it has too many headers");
        xk_buf_add_char(&r->head, '\0');
        r->headers[r->header_count].value = 0;
        r->headers[r->header_count++].name = r->head.len;
        r->in_value = false;
    }
    return part_add(r, at, count);
}

static int on_value(http_parser *p, const char *at, size_t count)
{
    struct http_reader *const r = p->data;

    if (r->header_count == 0)
        return 0;
    if (!r->in_value) {
        xk_buf_add_char(&r->head, '\0');
        r->headers[r->header_count - 1].value = r->head.len;
        r->in_value = true;
    }
    return part_add(r, at, count);
}

static bool is_interim(const http_parser *p)
{
    return p->status_code / 100 == 1;
}

/* returns   1: there is no body, whatever the headers say; 2: and what follows is no HTTP. */
static int on_head_end(http_parser *p)
{
    struct http_reader *const r = p->data;

    xk_buf_add_char(&r->head, '\0');
    if (r->head.error)
        return part_add(r, "", 0);
    if (p->http_major != 1)
        return stop(r, -EPROTO, "it is not of HTTP 1");
    if (p->status_code == 101)
        return stop(r, -EPROTO, "it changes to another protocol");
    if (is_interim(p))
        return 1;
    if (r->head_only)
        return 2;
    if (p->flags & F_CONTENTLENGTH && !r->no_body && p->content_length > r->body.max)
        return stop(r, -EFBIG, "its body is too large");
    return r->no_body ? 1 : 0;
}

static int on_body(http_parser *p, const char *at, size_t count)
{
    struct http_reader *const r = p->data;

    xk_buf_add(&r->body, at, count);
    if (r->body.error)
        return stop(r, r->body.error, r->body.error == -EFBIG ? "its body is too large" : "memory is out");
    return 0;
}

static int on_whole(http_parser *p)
{
    struct http_reader *const r = p->data;

    if (is_interim(p) && !r->head_only)
        return ++r->interim > HTTP_REPLY_INTERIM_MAX ? stop(r, -EPROTO, "it has too many interim replies") : 0;
    r->whole = true;
    r->close = !http_should_keep_alive(p);
    http_parser_pause(p, 1);
    return 0;
}

static const struct http_parser_settings callbacks = {
    .on_message_begin = on_begin,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head_end,
    .on_body = on_body,
    .on_message_complete = on_whole,
};

void http_reader_init(struct http_reader *r, size_t body_max, bool no_body, bool head_only)
{
    *r = (struct http_reader){.no_body = no_body, .head_only = head_only};
    xk_buf_init(&r->head, HTTP_REPLY_HEAD_MAX);
    xk_buf_init(&r->body, body_max);
    http_parser_init(&r->parser, HTTP_RESPONSE);
    r->parser.data = r;
}

void http_reader_done(struct http_reader *r)
{
    xk_buf_done(&r->head);
    xk_buf_done(&r->body);
}

static int fail(const struct http_reader *r, enum http_errno wrong, struct xk_err *err)
{
    if (r->code == -ENOMEM)
        return xk_fail_memory(err);
    if (r->code)
        return xk_fail(err, r->code, "the reply cannot be taken: %s", r->wrong);
    return xk_fail(err, -EPROTO, "what came is not a reply of HTTP: %s", http_errno_description(wrong));
}

ssize_t http_reader_feed(struct http_reader *r, const char *bytes, size_t count, struct xk_err *err)
{
    if (r->whole || count == 0)
        return 0;
    const size_t eaten = http_parser_execute(&r->parser, &callbacks, bytes, count);
    const enum http_errno wrong = HTTP_PARSER_ERRNO(&r->parser);
    if (r->whole) {
        http_parser_pause(&r->parser, 0);
        return (ssize_t)eaten;
    }
    if (wrong != HPE_OK || r->code || eaten != count)
        return fail(r, wrong, err);
    return (ssize_t)eaten;
}

int http_reader_end(struct http_reader *r, struct xk_err *err)
{
    if (!r->whole && r->begun) /* a body without a length ends with the connection */
        (void)http_parser_execute(&r->parser, &callbacks, NULL, 0);
    if (r->whole) {
        r->close = true;
        return 0;
    }
    return xk_fail(err, -ECONNRESET,
                   r->begun ? "the connection ended in the middle of the reply"
                            : "the connection ended without a reply");
}

const char *http_reader_header(const struct http_reader *r, const char *name)
{
    for (unsigned i = 0; i < r->header_count; i++)
        if (r->headers[i].value && strcasecmp(r->head.data + r->headers[i].name, name) == 0)
            return r->head.data + r->headers[i].value;
    return NULL;
}
