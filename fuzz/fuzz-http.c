/*
 * Bytes from anybody on a connection of the HTTP server.
 *
 * The connection is one end of a socket pair; the loop runs until there is nothing left to do.
 */
#include "lib/http/server.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer(void *context, struct http_exchange *x)
{
    size_t bytes;
    struct xk_buf body = XK_BUF_INIT(1u << 20);

    assert(http_method(x) && http_path(x) && http_query(x));
    (void)http_header(x, "host");
    xk_buf_add(&body, http_body(x, &bytes), bytes);
    http_reply(x, &(struct http_reply){.status = 200, .type = "text/plain"}, &body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct event_base *const base = event_base_new();
    struct http_server *server = NULL;
    int ends[2];
    char reply[4096];

    assert(base);
    if (http_server_open(&server, base, &(struct http_settings){.body_bytes_max = 4096, .handle = answer}, NULL) == 0 &&
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0) {
        http_server_adopt(server, ends[0], 0, NULL);
        for (size_t sent = 0; sent < size;) {
            const ssize_t now = send(ends[1], data + sent, XK_MIN(size - sent, (size_t)1024), MSG_NOSIGNAL);
            if (now <= 0)
                break;
            sent += (size_t)now;
            (void)event_base_loop(base, EVLOOP_NONBLOCK);
            while (recv(ends[1], reply, sizeof(reply), 0) > 0)
                (void)event_base_loop(base, EVLOOP_NONBLOCK);
        }
        (void)shutdown(ends[1], SHUT_WR);
        for (int i = 0; i < 4; i++)
            (void)event_base_loop(base, EVLOOP_NONBLOCK);
        (void)close(ends[1]);
    }
    http_server_close(server);
    event_base_free(base);
    return 0;
}
