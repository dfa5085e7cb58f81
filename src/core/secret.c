/*
 * The bytes pass through buffers on the stack, which are wiped; the C library's streams would keep copies of them.
 */
#include "core/secret.h"

#include "core/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <termios.h>

#define LOOK_MS 50 /* how often the stop flag is looked at */

void xk_secret_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

/* Check the bytes and copy them. */
static int take(char **ret, char *bytes, size_t count, const char *where, struct xk_err *err)
{
    if (count > 0 && bytes[count - 1] == '\n')
        count--;
    if (count == 0)
        return xk_fail(err, -EINVAL, "%s: the password is empty", where);
    if (count > XK_SECRET_BYTES_MAX)
        return xk_fail(err, -EFBIG, "%s: longer than a password may be", where);
    if (memchr(bytes, '\n', count) || memchr(bytes, '\0', count))
        return xk_fail(err, -EINVAL, "%s: one line with the password is wanted", where);
    *ret = xk_strndup(bytes, count);
    return *ret ? 0 : xk_fail_memory(err);
}

/* returns   the bytes read, up to the end or one more than a password may have with its newline. */
static ssize_t read_all(int fd, char *bytes, size_t size)
{
    size_t used = 0;

    while (used < size) {
        const ssize_t got = read(fd, bytes + used, size - used);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got < 0 && xk_stop_signal())
            return -EINTR;
        used += got > 0 ? (size_t)got : 0;
    }
    return (ssize_t)used;
}

int xk_secret_read(char **ret, const char *path, struct xk_err *err)
{
    const bool in = strcmp(path, "-") == 0;
    const char *const where = in ? "standard input" : path;
    xk_autoclose const int file = in ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char bytes[XK_SECRET_BYTES_MAX + 2];

    if (!in && file < 0)
        return xk_fail_sys(err, -errno, "reading the password from %s", where);
    const ssize_t got = read_all(in ? STDIN_FILENO : file, bytes, sizeof(bytes));
    const int code = got < 0 ? xk_fail_sys(err, (int)got, "reading the password from %s", where)
                             : take(ret, bytes, (size_t)got, where, err);
    explicit_bzero(bytes, sizeof(bytes));
    return code;
}

/* One line, as the terminal gives it when Enter was pressed. */
static ssize_t read_line(int terminal, char *bytes, size_t size)
{
    struct pollfd fd = {.fd = terminal, .events = POLLIN};

    for (;;) {
        if (xk_stop_signal())
            return -EINTR;
        const int ready = poll(&fd, 1, LOOK_MS);
        if (ready == 0 || (ready < 0 && errno == EINTR))
            continue;
        const ssize_t got = ready < 0 ? -1 : read(terminal, bytes, size);
        if (got >= 0 || errno != EINTR)
            return got < 0 ? -errno : got;
    }
}

int xk_secret_ask(char **ret, const char *question, struct xk_err *err)
{
    xk_autoclose const int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    struct termios before, silent;
    char bytes[XK_SECRET_BYTES_MAX + 2];

    if (terminal < 0 || tcgetattr(terminal, &before) < 0)
        return xk_fail(err, -ENOTTY, "%s there is no terminal to ask at", question);
    silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    silent.c_lflag |= ECHONL | ICANON;
    (void)!write(terminal, question, strlen(question));
    (void)!write(terminal, " ", 1);
    (void)tcsetattr(terminal, TCSAFLUSH, &silent);
    const ssize_t got = read_line(terminal, bytes, sizeof(bytes));
    (void)tcsetattr(terminal, TCSAFLUSH, &before);
    const int code = got == -EINTR ? xk_fail(err, -EINTR, "asking for a password: stopped")
                     : got < 0     ? xk_fail_sys(err, (int)got, "asking for a password")
                                   : take(ret, bytes, (size_t)got, "the terminal", err);
    explicit_bzero(bytes, sizeof(bytes));
    return code;
}
