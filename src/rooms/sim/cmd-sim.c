/* `xenkit sim`: the simulated pool in the foreground, until TERM. */
#include "rooms/sim/sim.h"

#include "core/text.h"
#include "lib/simpool/simpool.h"
#include "lib/xapi/model.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define USER               "root"
#define PASSWORD_DEFAULT   "xenkit"
#define PASSWORD_BYTES_MAX 1024
#define STOP_CHECK_MS      50 /* a signal ends the wait at once; this is for one that comes just before it */

struct sim {
    uint64_t hosts, vms, port, limit, gc_interval;
    double speed;
    const char *password_file, *now;
    bool coverage;
};

static const struct xk_opt sim_opts[] = {
    XK_OPT_U64(0, "hosts", struct sim, hosts, "N", 1, SIMPOOL_HOSTS_MAX,
               "hosts of the pool, at 127.0.0.1, .2, .3 … [3]"),
    XK_OPT_U64(0, "vms", struct sim, vms, "N", 0, SIMPOOL_VMS_MAX, "virtual machines [20]"),
    XK_OPT_U64(0, "port", struct sim, port, "N", 0, 65535, "port on every host's address; 0: any free one [0]"),
    XK_OPT_TEXT(0, "password-file", struct sim, password_file, "FILE", "the password of root is its content [xenkit]"),
    XK_OPT_U64(0, "limit", struct sim, limit, "N", 1, 100000,
               "sessions that a group may have [500 by name, 400 without]"),
    XK_OPT_DURATION(0, "gc-interval", struct sim, gc_interval, "TIME",
                    "between two passes of the session collector [30s]"),
    XK_OPT_DOUBLE(0, "speed", struct sim, speed, "X", "simulated seconds in a real one [1]"),
    XK_OPT_TEXT(0, "now", struct sim, now, "TIME", "simulated time at the start, seconds since 1970 [the clock's]"),
    XK_OPT_FLAG(0, "coverage", struct sim, coverage, "list every message and how it is answered, start nothing"),
    XK_OPT_END,
};

/* ---- coverage ---- */

static int list_coverage(struct xk_app *app)
{
    static const char *const names[] = {[SIMPOOL_TABLE] = "table",
                                        [SIMPOOL_BEHAVIOUR] = "behaviour",
                                        [SIMPOOL_REMOVED] = "removed",
                                        [SIMPOOL_UNSUPPORTED] = "unsupported"};

    xk_out_rows(app->out, "messages");
    for (unsigned i = 0; i < xapi_message_count; i++) {
        xk_row(app->out);
        xk_put_str(app->out, "message", xapi_text(xapi_messages[i].name));
        xk_put_str(app->out, "answered", names[simpool_coverage(i)]);
        xk_put_str(app->out, "since", xapi_text(xapi_messages[i].release));
    }
    xk_out_end(app->out);
    return XK_EXIT_OK;
}

/* ---- serving ---- */

static int read_password(char **ret, const struct xk_app *app, const char *path, struct xk_err *err)
{
    char *password = NULL;

    if (!path) {
        *ret = xk_strdup(PASSWORD_DEFAULT);
        return *ret ? 0 : xk_fail_memory(err);
    }
    const int code = xk_slurp(&password, "", path, PASSWORD_BYTES_MAX, err);
    if (code < 0)
        return code;
    size_t len = strlen(password);
    if (len > 0 && password[len - 1] == '\n')
        password[--len] = '\0';
    if (len == 0) {
        free(password);
        return xk_fail(err, -EINVAL, "%s: the password is empty", path);
    }
    *ret = password;
    return 0;
}

static void tell(struct xk_app *app, const struct sim *opts, const struct simpool *pool)
{
    struct xk_out *const out = app->out;
    char first[64] = "";

    for (unsigned i = 0; i < simpool_hosts(pool); i++) {
        const struct sockaddr_in address = simpool_address(pool, i);
        char ip[INET_ADDRSTRLEN] = "", url[64];
        (void)inet_ntop(AF_INET, &address.sin_addr, ip, sizeof(ip));
        snprintf(url, sizeof(url), "http://%s:%u", ip, ntohs(address.sin_port));
        if (i == 0) {
            snprintf(first, sizeof(first), "%s", url);
            xk_out_rows(out, "hosts");
        }
        xk_row(out);
        xk_put_str(out, "url", url);
        xk_put_str(out, "role", i == 0 ? "master" : "slave");
    }
    xk_out_end(out);
    const char *const password = opts->password_file ? "(from the file)" : PASSWORD_DEFAULT;
    xk_out_record(out, "login");
    xk_put_str(out, "user", USER);
    xk_put_str(out, "password", password);
    xk_put_u64(out, "vms", opts->vms);
    xk_out_end(out);
    xk_say(out,
           "\nPython:  import XenAPI; s = XenAPI.Session('%s'); s.login_with_password('%s', '%s')\n"
           "node:    npx xen-api %s %s\n"
           "curl:    curl -s %s/jsonrpc -d "
           "'{\"id\":1,\"method\":\"session.login_with_password\",\"params\":[\"%s\",\"%s\"]}'\n"
           "Ends with Ctrl-C.\n",
           first, USER, opts->password_file ? "…" : password, first, USER, first, USER,
           opts->password_file ? "…" : password);
    xk_out_flush(out);
}

/* The stop flag is looked at each time that the loop was woken, and at least every STOP_CHECK_MS. */
static void serve(struct event_base *base)
{
    const struct timeval check = {.tv_usec = STOP_CHECK_MS * 1000};

    while (!xk_stop_signal()) {
        (void)event_base_loopexit(base, &check);
        if (event_base_dispatch(base) < 0)
            return;
    }
}

static int start(struct xk_app *app, const struct sim *opts, int64_t now_s, struct xk_err *err)
{
    struct event_base *const base = event_base_new();
    struct simpool *pool = NULL;
    char *password = NULL;

    if (!base)
        return xk_fail_memory(err);
    int code = read_password(&password, app, opts->password_file, err);
    if (code == 0) {
        const struct simpool_settings settings = {
            .hosts = (unsigned)opts->hosts,
            .vms = (unsigned)opts->vms,
            .port = (uint16_t)opts->port,
            .user = USER,
            .password = password,
            .limit = (unsigned)opts->limit,
            .gc_ns = opts->gc_interval,
            .speed = opts->speed,
            .now_s = now_s,
            .clock = app->clock,
            .random = app->random,
        };
        code = simpool_open(&pool, base, &settings, err);
    }
    if (password)
        OPENSSL_cleanse(password, strlen(password));
    free(password);
    if (code == 0) {
        tell(app, opts, pool);
        serve(base);
    }
    simpool_close(pool);
    event_base_free(base);
    libevent_global_shutdown();
    return code;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct sim *const opts = args->opts;
    int64_t now_s = 0;
    int code = 0;

    if (opts->coverage)
        return list_coverage(app);
    if (!(opts->speed >= 0.001 && opts->speed <= 1e6))
        code = xk_fail(err, -EINVAL, "--speed %s: from 0.001 to 1000000", xk_number(opts->speed).s);
    else if (opts->gc_interval < XK_NS_PER_MS || opts->gc_interval > 86400 * XK_NS_PER_S)
        code = xk_fail(err, -EINVAL, "--gc-interval %s: from 1ms to 1d", xk_duration(opts->gc_interval).s);
    else if (opts->now && (xk_parse_i64(&now_s, opts->now) < 0 || now_s <= 0 || now_s > INT64_C(253402300799)))
        code = xk_fail(err, -EINVAL, "--now %s: seconds since 1970 are needed", opts->now);
    if (code < 0) {
        xk_err_exit(err, XK_EXIT_USAGE);
        return code;
    }
    return start(app, opts, now_s, err);
}

static const struct sim defaults = {.hosts = 3, .vms = 20, .gc_interval = 30 * XK_NS_PER_S, .speed = 1};
static const char *const example[] = {"--coverage", NULL};

const struct xk_command sim_cmd_sim = {
    .name = "sim",
    .summary = "a simulated pool that real XenAPI clients can talk to",
    .opts = sim_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct sim),
    .run = run,
    .kind = XK_SERVER,
    .example = example,
    .help = "Runs until it is stopped. Only addresses of this machine itself (127.0.0.0/8) are used.",
};
