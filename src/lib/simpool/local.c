/*
 * The socket that a host has for its own programs, as /var/lib/xcp/xapi: whoever may open it is root, whatever the
 * password. Only its owner may.
 *
 * It has a server of its own, so that a request shows by its server which way it came: the thin CLI makes connections
 * of the same family for those who came over the network.
 */
#include "lib/simpool/inner.h"

#include <event2/listener.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define OWNER_ONLY 0177

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int bytes, void *pool)
{
    const struct simpool *const p = pool;

    http_server_adopt(p->local_server, fd, p->master, NULL);
}

/* One that nobody listens at any more is in the way. */
static bool is_abandoned(const struct sockaddr_un *address)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat st;

    const bool refused = fd >= 0 && lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
                         connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        (void)close(fd);
    return refused;
}

static int bind_socket(int fd, const struct sockaddr_un *address)
{
    const mode_t before = umask(OWNER_ONLY);
    const int code = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;

    (void)umask(before);
    return code;
}

static int listen_at(struct simpool *p, const char *path, struct xk_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path))
        return xk_fail(err, -EINVAL, "%s: too long for the path of a socket", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int code = fd < 0 ? -errno : bind_socket(fd, &address);
    if (code == -EADDRINUSE && is_abandoned(&address))
        code = unlink(path) < 0 ? -errno : bind_socket(fd, &address);
    if (code < 0) {
        if (fd >= 0)
            (void)close(fd);
        return xk_fail_sys(err, code, "listening at %s", path);
    }
    p->local_listener =
        evconnlistener_new(p->base, on_accept, p, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1, fd);
    if (p->local_listener)
        return 0;
    (void)close(fd);
    (void)unlink(path);
    return xk_fail_memory(err);
}

int sim_local_open(struct simpool *p, struct xk_err *err)
{
    const struct http_settings settings = {
        .body_bytes_max = SIM_BODY_BYTES_MAX, .body_limits = sim_body_limits, .handle = sim_handle, .context = p};

    if (!p->settings.socket)
        return 0;
    const int code = http_server_open(&p->local_server, p->base, &settings, err);
    return code < 0 ? code : listen_at(p, p->settings.socket, err);
}

void sim_local_close(struct simpool *p)
{
    if (p->local_listener) {
        (void)unlink(p->settings.socket);
        evconnlistener_free(p->local_listener);
    }
    p->local_listener = NULL;
    http_server_close(p->local_server);
    p->local_server = NULL;
}

bool sim_is_local(const struct simpool *p, const struct http_exchange *x)
{
    return x && p->local_server && http_is_of(x, p->local_server);
}
