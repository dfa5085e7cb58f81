/* `xenkit net agent`: the end of a mesh on one host. */
#include "rooms/net/net.h"

#include "core/child.h"
#include "lib/mesh/agent.h"
#include "lib/mesh/tls.h"
#include "lib/resolve/resolve.h"

#include <errno.h>
#include <poll.h>
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

struct caller {
    int listener, net, plain[2];
    const struct mesh_key *key;
    const struct mesh_agent_settings *settings;
};

static int run_agent(void *context)
{
    const struct caller *const c = context;

    close(c->net);
    close(c->plain[0]);
    return mesh_agent_serve(c->plain[1], c->plain[1], c->settings, NULL) < 0;
}

/* In a process of its own: it carries TLS, and one more is the agent. */
static int serve_caller(void *context)
{
    struct caller *const c = context;

    close(c->listener);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c->plain) < 0)
        return 1;
    const pid_t agent = xk_child_fork(run_agent, c);
    close(c->plain[1]);
    const int code =
        agent < 0 ? (int)agent : mesh_tls_carry(c->net, c->plain[0], true, c->key, c->settings->clock, NULL);
    close(c->plain[0]);
    while (agent > 0 && waitpid(agent, NULL, 0) < 0 && errno == EINTR)
        ;
    return code < 0;
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
        struct caller caller = {.listener = fd, .net = net, .key = key, .settings = s};
        const pid_t pid = callers < CALLERS_MAX ? xk_child_fork(serve_caller, &caller) : -1;
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
