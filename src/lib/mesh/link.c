/*
 * Starting agents. An agent behind TLS is reached through a process of our own which carries the bytes, so that the
 * coordinator sees the same two descriptors for both kinds.
 */
#include "lib/mesh/link.h"

#include "core/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define CONNECT_NS (10 * XK_NS_PER_S)
#define CLOSING_MS 1000

static int carry(const struct mesh_host *host, int plain, const struct mesh_run_settings *s, struct xk_err *err)
{
    const struct resolve_limits limits = {
        .clock = s->clock, .deadline_ns = resolve_deadline(s->clock, CONNECT_NS), .root = s->root};
    struct resolve_addresses addresses;
    char name[RESOLVE_NAME_BYTES];
    uint16_t port;

    int code = resolve_split(name, &port, host->endpoint, 0, err);
    if (code == 0 && port == 0)
        code = xk_fail(err, -EINVAL, "the agent \"%s\" has no port", host->endpoint);
    if (code == 0)
        code = resolve_name(&addresses, name, port, AF_UNSPEC, &limits, err);
    if (code < 0)
        return code;
    const int net = resolve_connect(NULL, &addresses, name, &limits, err);
    return net < 0 ? net : mesh_tls_carry(net, plain, false, s->key, s->clock, err);
}

struct carrier {
    const struct mesh_host *host;
    const struct mesh_run_settings *settings;
    int plain, err_fd;
};

/* In its own process. The streams to other agents end when the coordinator closes them, not when this one does. */
static int run_carrier(void *context)
{
    const struct carrier *const c = context;
    struct xk_err err = {0};

    xk_child_keep(c->plain, c->err_fd);
    if (carry(c->host, c->plain, c->settings, &err) < 0 &&
        (write(c->err_fd, err.text, strlen(err.text)) < 0 || write(c->err_fd, "\n", 1) < 0))
        return 1;
    return 0;
}

int mesh_link_start(struct mesh_link *l, const struct mesh_host *host, const struct mesh_run_settings *s,
                    struct xk_err *err)
{
    int stream[2], errors[2], code;

    *l = (struct mesh_link){.host = host, .fd = -1, .err_fd = -1, .heard_ns = s->clock->monotonic_ns(s->clock)};
    if (*host->endpoint && !s->key)
        return xk_fail(err, -EINVAL, "the agent of %s listens: say with --key-file which key it has", host->name);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream) < 0)
        return xk_fail_sys(err, -errno, "a stream to the agent of %s", host->name);
    if (pipe2(errors, O_CLOEXEC) < 0) {
        code = xk_fail_sys(err, -errno, "a stream to the agent of %s", host->name);
        close(stream[0]);
        close(stream[1]);
        return code;
    }
    struct carrier carrier = {.host = host, .settings = s, .plain = stream[1], .err_fd = errors[1]};
    if (*host->endpoint) {
        l->pid = xk_child_fork(run_carrier, &carrier);
        code = l->pid < 0 ? (int)l->pid : 0;
    } else {
        code = xk_child_spawn(&l->pid, host->command, stream[1], errors[1]);
    }
    close(stream[1]);
    close(errors[1]);
    l->fd = stream[0];
    l->err_fd = errors[0];
    (void)fcntl(l->fd, F_SETFL, O_NONBLOCK);
    (void)fcntl(l->err_fd, F_SETFL, O_NONBLOCK);
    if (code < 0) {
        l->pid = 0;
        mesh_link_close(l);
        return xk_fail_sys(err, code, "the agent of %s: %s", host->name,
                           *host->endpoint ? host->endpoint : host->command[0]);
    }
    l->alive = true;
    return 0;
}

/* The last line that is not empty. */
void mesh_link_hear_error(struct mesh_link *l)
{
    char bytes[1024];
    const ssize_t n = read(l->err_fd, bytes, sizeof(bytes) - 1);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        close(l->err_fd);
        l->err_fd = -1;
    }
    if (n <= 0)
        return;
    bytes[n] = '\0';
    for (char *rest = bytes, *line; (line = strsep(&rest, "\r\n"));)
        if (*line)
            snprintf(l->last_words, sizeof(l->last_words), "%s", line);
}

void mesh_link_close(struct mesh_link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    if (l->err_fd >= 0)
        close(l->err_fd);
    l->fd = l->err_fd = -1;
    l->alive = false;
    if (l->pid <= 0)
        return;
    /* It ends with its stream; what does not is ended. */
    for (int waited_ms = 0; waited_ms < CLOSING_MS; waited_ms += 10) {
        const pid_t gone = waitpid(l->pid, NULL, WNOHANG);
        if (gone != 0 && !(gone < 0 && errno == EINTR)) {
            l->pid = 0;
            return;
        }
        (void)poll(NULL, 0, 10);
    }
    kill(l->pid, SIGKILL);
    while (waitpid(l->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    l->pid = 0;
}
