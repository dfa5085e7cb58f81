/* `xenkit net agent`: the end of a mesh on one host. */
#include "rooms/net/net.h"

#include "lib/mesh/agent.h"
#include "lib/mesh/tls.h"
#include "lib/resolve/resolve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define RESOLVE_NS  (5 * XK_NS_PER_S)
#define BACKLOG     16
#define CALLERS_MAX 8U /* coordinators at the same time, those in their handshake included */
#define AGENT_NAME  "xenkit " XK_VERSION

struct agent_opts {
    const char *listen, *key_file;
};

static const struct xk_opt agent_opts[] = {
    XK_OPT_TEXT('l', "listen", struct agent_opts, listen, "ADDRESS:PORT",
                "wait for coordinators here, over TLS with a shared key [speak over standard input and output]"),
    XK_OPT_TEXT('k', "key-file", struct agent_opts, key_file, "FILE",
                "the key that coordinators must have: one line, 16 characters or more, for its owner alone"),
    XK_OPT_END,
};

/* In a process of its own. Half of it carries TLS, the other half is the agent. */
static _Noreturn void serve_caller(int net, const struct mesh_key *key, const struct mesh_agent_settings *s)
{
    int plain[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, plain) < 0)
        _exit(XK_EXIT_IO);
    const pid_t carrier = getpid(), agent = fork();
    if (agent < 0)
        _exit(XK_EXIT_IO);
    if (agent == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        close(net);
        close(plain[0]);
        _exit(getppid() == carrier && mesh_agent_serve(plain[1], plain[1], s, NULL) == 0 ? XK_EXIT_OK : XK_EXIT_IO);
    }
    close(plain[1]);
    const int code = mesh_tls_carry(net, plain[0], true, key, s->clock, NULL);
    close(plain[0]);
    while (waitpid(agent, NULL, 0) < 0 && errno == EINTR)
        ;
    _exit(code == 0 ? XK_EXIT_OK : XK_EXIT_IO);
}

static int open_listener(int *ret, struct xk_app *app, const char *where, struct xk_err *err)
{
    const struct resolve_limits limits = {
        .clock = app->clock, .deadline_ns = resolve_deadline(app->clock, RESOLVE_NS), .root = app->root};
    struct resolve_addresses addresses;
    char name[RESOLVE_NAME_BYTES];
    uint16_t port;
    const int yes = 1;

    int code = resolve_split(name, &port, where, 0, err);
    if (code == 0)
        code = resolve_name(&addresses, name, port, AF_UNSPEC, &limits, err);
    if (code < 0)
        return code;
    const struct resolve_address *const a = &addresses.list[0];
    const int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return xk_fail_sys(err, -errno, "a socket for %s", where);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, &a->any, a->bytes) < 0 || listen(fd, BACKLOG) < 0) {
        code = xk_fail_sys(err, -errno, "cannot listen on %s", where);
        close(fd);
        return code;
    }
    *ret = fd;
    return 0;
}

/* Standard output says where: with port 0 nobody else knows. */
static void say_where(struct xk_app *app, int fd)
{
    struct resolve_address a = {.bytes = sizeof(a.v6)};

    if (getsockname(fd, &a.any, &a.bytes) < 0)
        return;
    xk_out_rawf(app->out, "listening on %s\n", resolve_text(&a).s);
    xk_out_flush(app->out);
}

static int listen_on(struct xk_app *app, const char *where, const struct mesh_key *key,
                     const struct mesh_agent_settings *s, struct xk_err *err)
{
    unsigned callers = 0;
    int fd = -1;

    const int code = open_listener(&fd, app, where, err);
    if (code < 0)
        return code;
    say_where(app, fd);
    while (!xk_stop_signal()) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        while (callers > 0 && waitpid(-1, NULL, WNOHANG) > 0)
            callers--;
        if (poll(&p, 1, 200) <= 0)
            continue;
        const int net = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (net < 0)
            continue;
        const pid_t parent = getpid(), pid = callers < CALLERS_MAX ? fork() : -1;
        if (pid == 0) {
            close(fd);
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            if (getppid() == parent)
                serve_caller(net, key, s);
            _exit(XK_EXIT_IO);
        }
        close(net);
        callers += pid > 0;
    }
    close(fd);
    return 0;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct agent_opts *const opts = args->opts;
    const struct mesh_agent_settings settings = {.clock = app->clock, .random = app->random, .program = AGENT_NAME};
    struct mesh_key key;

    if (!opts->listen && !opts->key_file)
        return mesh_agent_serve(STDIN_FILENO, STDOUT_FILENO, &settings, err);
    if (!opts->listen || !opts->key_file) {
        const int code = xk_fail(err, -EINVAL,
                                 opts->listen ? "--listen without a key would serve anybody"
                                              : "--key-file is for an agent that listens");
        xk_err_hint(err,
                    opts->listen ? "say with --key-file which key coordinators must have" : "say where with --listen");
        xk_err_exit(err, XK_EXIT_USAGE);
        return code;
    }
    const int code = mesh_key_read(&key, opts->key_file, err);
    return code < 0 ? code : listen_on(app, opts->listen, &key, &settings, err);
}

static const char *const example[] = {NULL};

const struct xk_command net_cmd_agent = {
    .name = "agent",
    .summary = "be the end of a mesh on this host, for `xenkit net mesh`",
    .opts = agent_opts,
    .opts_bytes = sizeof(struct agent_opts),
    .run = run,
    .kind = XK_SERVER,
    .example = example,
    .raw = true,
    .help = "Without options it speaks with its coordinator over standard input and output, as ssh connects them.\n",
};
