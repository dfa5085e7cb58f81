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
#define NOW_MAX            INT64_C(253402300799) /* the year 9999 */
#define LOG_BYTES_MIN      4096
#define STOP_CHECK_MS      50 /* a signal ends the wait at once; this is for one that comes just before it */

struct sim {
    uint64_t hosts, vms, port, limit, gc_interval, log_size;
    const char *speed, *seed, *password_file, *now, *log;
    int era;
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
    XK_OPT_TEXT(0, "speed", struct sim, speed, "X", "simulated seconds in a real one: 3600, or 3600x [1]"),
    XK_OPT_TEXT(0, "now", struct sim, now, "TIME", "simulated time at the start, seconds since 1970 [the clock's]"),
    XK_OPT_TEXT(0, "seed", struct sim, seed, "N", "the same number gives the same refs, series and faults [any]"),
    XK_OPT_CHOICE(0, "era", struct sim, era, "RELEASE", simpool_eras,
                  "release whose limits, log lines and wire are played [2024]"),
    XK_OPT_TEXT(0, "log", struct sim, log, "PATH", "write xensource.log: a file, or a folder with one for each host"),
    XK_OPT_SIZE(0, "log-size", struct sim, log_size, "SIZE", "a log that has grown so large is rotated [16M]"),
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

static int start(struct xk_app *app, const struct sim *opts, const struct simpool_settings *given, struct xk_err *err)
{
    struct event_base *const base = event_base_new();
    struct simpool *pool = NULL;
    char *password = NULL;

    if (!base)
        return xk_fail_memory(err);
    int code = read_password(&password, app, opts->password_file, err);
    if (code == 0) {
        struct simpool_settings settings = *given;
        settings.password = password;
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

/* 3600, or 3600x. */
static int parse_speed(double *ret, const char *word)
{
    char text[64];

    *ret = 1;
    if (!word)
        return 0;
    snprintf(text, sizeof(text), "%s", word);
    const size_t len = strlen(text);
    if (len > 1 && text[len - 1] == 'x')
        text[len - 1] = '\0';
    return xk_parse_double(ret, text) == 0 && *ret >= 0.001 && *ret <= 1e6 ? 0 : -EINVAL;
}

static int check(struct simpool_settings *ret, struct xk_random *seeded, const struct sim *opts, struct xk_err *err)
{
    uint64_t seed;

    if (parse_speed(&ret->speed, opts->speed) < 0)
        return xk_fail(err, -EINVAL, "--speed %s: a number from 0.001 to 1000000 is needed", opts->speed);
    if (opts->gc_interval < XK_NS_PER_MS || opts->gc_interval > 86400 * XK_NS_PER_S)
        return xk_fail(err, -EINVAL, "--gc-interval %s: from 1ms to 1d", xk_duration(opts->gc_interval).s);
    if (opts->now && (xk_parse_i64(&ret->now_s, opts->now) < 0 || ret->now_s <= 0 || ret->now_s > NOW_MAX))
        return xk_fail(err, -EINVAL, "--now %s: seconds since 1970 are needed", opts->now);
    if (opts->log_size < LOG_BYTES_MIN)
        return xk_fail(err, -EINVAL, "--log-size %s: at least %s", xk_size(opts->log_size).s, xk_size(LOG_BYTES_MIN).s);
    if (!opts->seed)
        return 0;
    if (xk_parse_u64(&seed, opts->seed) < 0)
        return xk_fail(err, -EINVAL, "--seed %s: a number is needed", opts->seed);
    xk_random_seed(seeded, seed);
    ret->random = seeded;
    return 0;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct sim *const opts = args->opts;
    struct xk_random seeded;
    struct simpool_settings settings = {
        .hosts = (unsigned)opts->hosts,
        .vms = (unsigned)opts->vms,
        .port = (uint16_t)opts->port,
        .user = USER,
        .limit = (unsigned)opts->limit,
        .gc_ns = opts->gc_interval,
        .clock = app->clock,
        .random = app->random,
        .era = (unsigned)opts->era,
        .log = opts->log,
        .log_bytes = opts->log_size,
        .fs = app->fs,
    };

    if (opts->coverage)
        return list_coverage(app);
    const int code = check(&settings, &seeded, opts, err);
    if (code < 0) {
        xk_err_exit(err, XK_EXIT_USAGE);
        return code;
    }
    return start(app, opts, &settings, err);
}

static const struct sim defaults = {
    .hosts = 3, .vms = 20, .gc_interval = 30 * XK_NS_PER_S, .log_size = 16 * XK_MIB, .era = SIMPOOL_ERA_NEWEST};
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
