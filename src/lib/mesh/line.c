/* Lines of messages: a buffer as large as the longest line, so nothing grows with what a far side sends. */
#include "lib/mesh/line.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

int mesh_reader_fill(struct mesh_reader *r, int fd)
{
    if (r->count == sizeof(r->bytes))
        return -EMSGSIZE;
    const ssize_t n = read(fd, r->bytes + r->count, sizeof(r->bytes) - r->count);
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    r->count += (size_t)n;
    return n > 0;
}

int mesh_reader_take(struct mesh_reader *r, struct mesh_message *ret, struct xk_err *err)
{
    const char *const end = memchr(r->bytes, '\n', r->count);
    if (!end)
        return 0;
    const size_t bytes = (size_t)(end - r->bytes);
    const int code = mesh_message_decode(ret, r->bytes, bytes, err);
    r->count -= bytes + 1;
    memmove(r->bytes, end + 1, r->count);
    return code < 0 ? code : 1;
}

int mesh_write(int fd, const struct mesh_message *m)
{
    struct xk_buf line = XK_BUF_INIT(MESH_LINE_BYTES);
    int code = 0;

    mesh_message_encode(&line, m);
    code = line.error;
    for (size_t done = 0; code == 0 && done < line.len;) {
        ssize_t n = send(fd, line.data + done, line.len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == ENOTSOCK)
            n = write(fd, line.data + done, line.len - done);
        if (n >= 0)
            done += (size_t)n;
        else if (errno == EAGAIN)
            (void)poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        else if (errno != EINTR)
            code = -errno;
    }
    xk_buf_done(&line);
    return code;
}
