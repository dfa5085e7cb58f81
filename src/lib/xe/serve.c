/*
 * The server's side of the thin protocol: a terminal that is a socket, and a command line that runs on it.
 *
 * It blocks, and belongs into a thread of its own: commands wait for tasks and for the user. What it waits for is
 * bounded in time; somebody who does not answer is given up.
 */
#include "lib/xe/thin.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define WRITE_S  60   /* without any progress */
#define READ_S   60   /* between two pieces of a message */
#define ANSWER_S 3600 /* until the user has typed something, or the client says that it is still at it */

struct client {
    int fd;
    struct xk_err *err;
};

static int wait_for(const struct client *c, short what, int seconds)
{
    struct pollfd p = {.fd = c->fd, .events = what};
    int got;

    do {
        got = poll(&p, 1, seconds * 1000);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return xk_fail_sys(c->err, -errno, "waiting for the client");
    return got == 0 ? xk_fail(c->err, -ETIMEDOUT, "the client has said nothing for %d s", seconds) : 0;
}

static int send_all(const struct client *c, const struct xk_buf *b)
{
    for (size_t sent = 0; sent < b->len;) {
        const ssize_t n = send(c->fd, b->data + sent, b->len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            sent += (size_t)n;
            continue;
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return xk_fail_sys(c->err, -errno, "writing to the client");
        const int code = wait_for(c, POLLOUT, WRITE_S);
        if (code < 0)
            return code;
    }
    return 0;
}

static int receive(const struct client *c, uint8_t *bytes, size_t count, int first_s)
{
    for (size_t got = 0; got < count;) {
        const int code = wait_for(c, POLLIN, got == 0 ? first_s : READ_S);
        if (code < 0)
            return code;
        const ssize_t n = recv(c->fd, bytes + got, count - got, MSG_DONTWAIT);
        if (n == 0)
            return xk_fail(c->err, -ECONNRESET, "the client has gone");
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return xk_fail_sys(c->err, -errno, "reading from the client");
        got += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* ---- messages ---- */

static int say(const struct client *c, const struct thin_message *message)
{
    struct xk_buf b = XK_BUF_INIT(256u << 20);

    thin_put(&b, message);
    const int code = b.error ? xk_fail_memory(c->err) : send_all(c, &b);
    xk_buf_done(&b);
    return code;
}

static struct thin_text text_of(const char *text)
{
    return (struct thin_text){.at = text, .bytes = strlen(text)};
}

static int say_text(const struct client *c, enum thin_tag tag, const char *text)
{
    const struct thin_message message = {.kind = THIN_COMMAND, .tag = tag, .texts = {text_of(text)}, .text_count = 1};

    return say(c, &message);
}

static int hear(const struct client *c, struct thin_message *ret, uint8_t bytes[THIN_MESSAGE_BYTES_MAX], int first_s)
{
    uint8_t head[4];
    int code = receive(c, head, sizeof(head), first_s);

    if (code < 0)
        return code;
    const uint32_t count = head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 24;
    if (count > THIN_MESSAGE_BYTES_MAX)
        return xk_fail(c->err, -EBADMSG, "a message of %u bytes from the client", count);
    code = receive(c, bytes, count, READ_S);
    return code < 0 ? code : thin_decode(ret, bytes, count, c->err);
}

/* An answer, past those that only say that the client is still there. */
static int hear_response(const struct client *c)
{
    uint8_t bytes[THIN_MESSAGE_BYTES_MAX];
    struct thin_message m;

    for (;;) {
        const int code = hear(c, &m, bytes, ANSWER_S);
        if (code < 0)
            return code;
        if (m.kind != THIN_RESPONSE)
            return xk_fail(c->err, -EBADMSG, "the client answers with something else than an answer");
        if (m.tag != THIN_WAIT)
            return m.tag == THIN_OK ? 0 : XE_TERMINAL_FAILED;
    }
}

/* Chunks until their end. */
static int hear_data(const struct client *c, struct xk_buf *ret, size_t max)
{
    uint8_t bytes[THIN_MESSAGE_BYTES_MAX];
    struct thin_message m;

    for (;;) {
        int code = hear(c, &m, bytes, ANSWER_S);
        if (code < 0)
            return code;
        if (m.kind != THIN_BLOB)
            return xk_fail(c->err, -EBADMSG, "the client sends something else than data");
        if (m.tag == THIN_END)
            return 0;
        if (m.number > max || ret->len + m.number > max)
            return -EFBIG;
        for (uint32_t left = m.number; left > 0;) {
            const uint32_t piece = XK_MIN(left, (uint32_t)sizeof(bytes));
            code = receive(c, bytes, piece, READ_S);
            if (code < 0)
                return code;
            xk_buf_add(ret, bytes, piece);
            left -= piece;
        }
        if (ret->error)
            return xk_fail_memory(c->err);
    }
}

/* ---- the terminal ---- */

static int on_print(void *context, const char *text)
{
    return say_text(context, THIN_PRINT, text);
}

static int on_complain(void *context, const char *text)
{
    return say_text(context, THIN_COMPLAIN, text);
}

static int on_error(void *context, const char *code, const char *const *params, size_t count)
{
    struct thin_message message = {.kind = THIN_COMMAND, .tag = THIN_ERROR, .texts = {text_of(code)}, .text_count = 1};

    for (size_t i = 0; i < count && message.text_count < THIN_TEXTS_MAX; i++)
        message.texts[message.text_count++] = text_of(params[i]);
    return say(context, &message);
}

static int on_prompt(void *context, struct xk_buf *ret)
{
    const int code = say(context, &(struct thin_message){.kind = THIN_COMMAND, .tag = THIN_PROMPT});

    return code < 0 ? code : hear_data(context, ret, ret->max - 1);
}

static int on_load(void *context, const char *path, struct xk_buf *ret)
{
    const int said = say_text(context, THIN_LOAD, path);
    const int answer = said < 0 ? said : hear_response(context);

    return answer != 0 ? answer : hear_data(context, ret, XE_UPLOAD_BYTES_MAX);
}

static int on_begin(void *context, enum xe_transfer kind, const char *path, const char *address)
{
    const struct thin_message message = {
        .kind = THIN_COMMAND,
        .tag = kind == XE_GET   ? THIN_HTTP_GET
               : kind == XE_PUT ? THIN_HTTP_PUT
                                : THIN_HTTP_CONNECT,
        .texts = {text_of(kind == XE_CONNECT ? address : path), text_of(address)},
        .text_count = kind == XE_CONNECT ? 1 : 2,
    };

    return say(context, &message);
}

static int on_end(void *context)
{
    return hear_response(context);
}

/* ---- one connection ---- */

int thin_serve(int fd, const struct xe_settings *settings, const char *const *words, size_t count, struct xk_err *err)
{
    struct client c = {.fd = fd, .err = err};
    const struct xe_terminal terminal = {
        .context = &c,
        .print = on_print,
        .complain = on_complain,
        .error = on_error,
        .prompt = on_prompt,
        .load = on_load,
        .begin = on_begin,
        .end = on_end,
    };
    struct xe_settings own = *settings;

    own.terminal = &terminal;
    const int status = xe_run(&own, words, count, err);
    if (status < 0)
        return status;
    return say(&c, &(struct thin_message){.kind = THIN_COMMAND, .tag = THIN_EXIT, .number = (uint32_t)status});
}
