/* `xenkit sim`: the simulated pool in the foreground, until TERM. */
#include "rooms/sim/sim.h"

#include "core/crew.h"
#include "core/fs.h"
#include "core/text.h"
#include "lib/simpool/simpool.h"
#include "lib/xapi/model.h"

#include <event2/event.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define USER               "root"
#define PASSWORD_DEFAULT   "xenkit"
#define PASSWORD_BYTES_MAX 1024
#define USERS_BYTES_MAX    (256u << 10)
#define NOW_MAX            INT64_C(253402300799) /* the year 9999 */
#define LOG_BYTES_MIN      4096
#define URL_BYTES          128
#define LINGER_NS          (XK_NS_PER_MS / 10)
#define STOP_CHECK_MS      50 /* a signal ends the wait at once; this is for one that comes just before it */

struct sim {
    uint64_t hosts, vms, port, limit, gc_interval, login_delay, log_size;
    const char *speed, *seed, *password_file, *users, *now, *log, *listen, *certificates, *state, *load, *socket;
    struct xk_words faults;
    int era;
    bool coverage, tls;
};

static const struct xk_opt sim_opts[] = {
    XK_OPT_U64(0, "hosts", struct sim, hosts, "N", 1, SIMPOOL_HOSTS_MAX,
               "hosts of the pool, at 127.0.0.1, .2, .3 … [3]"),
    XK_OPT_U64(0, "vms", struct sim, vms, "N", 0, SIMPOOL_VMS_MAX, "virtual machines [20]"),
    XK_OPT_U64(0, "port", struct sim, port, "N", 0, 65535, "port on every host's address; 0: any free one [0]"),
    XK_OPT_TEXT(0, "listen", struct sim, listen, "ADDRESS",
                "address of the first host, or of all, with commas [127.0.0.1]"),
    XK_OPT_TEXT(0, "socket", struct sim, socket, "PATH",
                "listen at this socket, too, as a host does for its own programs: no password is asked for there"),
    XK_OPT_FLAG(0, "tls", struct sim, tls, "HTTPS, each host with a certificate of its own"),
    XK_OPT_TEXT(0, "certificates", struct sim, certificates, "FILE", "write the certificates of all hosts there (PEM)"),
    XK_OPT_TEXT(0, "password-file", struct sim, password_file, "FILE", "the password of root is its content [xenkit]"),
    XK_OPT_TEXT(0, "users", struct sim, users, "FILE", "other users: lines of NAME:PASSWORD[:ROLE[:GROUP,GROUP…]]"),
    XK_OPT_DURATION(0, "login-delay", struct sim, login_delay, "TIME", "a wrong password waits for its answer [5s]"),
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
    XK_OPT_LIST(0, "fault", struct sim, faults, "FAULT",
                "something that goes wrong: method=VM.start,nth=3,error=… or host=2,dead; may be given again"),
    XK_OPT_TEXT(0, "state", struct sim, state, "FILE", "keep the pool there, and go on with the pool that is there"),
    XK_OPT_TEXT(0, "load", struct sim, load, "DUMP", "the pool of a dump: JSON of all records, or a xapi-db.xml"),
    XK_OPT_FLAG(0, "coverage", struct sim, coverage, "list every message and how it is answered, start nothing"),
    XK_OPT_END,
};

/* ---- coverage ---- */

static int list_coverage(struct xk_app *app)
{
    static const char *const names[] = {[SIMPOOL_TABLE] = "table",
                                        [SIMPOOL_BEHAVIOUR] = "behaviour",
                                        [SIMPOOL_REMOVED] = "removed",
                                        [SIMPOOL_REFUSED] = "refused",
                                        [SIMPOOL_UNSUPPORTED] = "unsupported"};

    xk_out_rows(app->out, "messages");
    for (unsigned i = 0; i < xapi_message_count; i++) {
        const char *why;
        const enum simpool_coverage how = simpool_coverage(i, &why);
        xk_row(app->out);
        xk_put_str(app->out, "message", xapi_text(xapi_messages[i].name));
        xk_put_str(app->out, "answered", names[how]);
        xk_put_str(app->out, "since", xapi_text(xapi_messages[i].release));
        xk_put_str(app->out, "why", why);
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

/* Neither all of a machine's addresses, nor many machines', nor one that needs an interface to be said with it. */
static bool is_of_one(const struct resolve_address *a)
{
    if (a->any.sa_family == AF_INET) {
        const uint32_t address = ntohl(a->v4.sin_addr.s_addr);
        return address >> 24 != 0 && address >> 28 < 14;
    }
    const struct in6_addr *const v6 = &a->v6.sin6_addr;
    return !IN6_IS_ADDR_UNSPECIFIED(v6) && !IN6_IS_ADDR_MULTICAST(v6) && !IN6_IS_ADDR_LINKLOCAL(v6) &&
           !IN6_IS_ADDR_V4MAPPED(v6);
}

/* One address: the hosts take it and those that follow it. Several, with commas: one for each host. */
static int read_addresses(struct simpool_settings *ret, const struct sim *opts, struct xk_err *err)
{
    unsigned count = 0;

    if (!opts->listen)
        return 0;
    for (const char *at = opts->listen; count == 0 || *at;) {
        const size_t len = strcspn(at, ",");
        struct resolve_address *const address = &ret->listen[count];
        char word[INET6_ADDRSTRLEN + 2] = "";
        if (count == SIMPOOL_HOSTS_MAX)
            return xk_fail(err, -EINVAL, "--listen %s: more addresses than hosts", opts->listen);
        if (len < sizeof(word))
            memcpy(word, at, len);
        if (resolve_literal(address, word) < 0)
            return xk_fail(err, -EINVAL, "--listen %s: '%.*s' is no address", opts->listen, (int)len, at);
        if (!is_of_one(address))
            return xk_fail(err, -EINVAL, "--listen %s: a host needs one address that others can name", opts->listen);
        for (unsigned i = 0; i < count; i++)
            if (strcmp(resolve_host_text(&ret->listen[i]).s, resolve_host_text(address).s) == 0)
                return xk_fail(err, -EINVAL, "--listen %s: two hosts with one address", opts->listen);
        if (!simpool_is_loopback(address) && !opts->password_file) {
            xk_fail(err, -EINVAL, "--listen %s: others can reach that, and everybody knows the default password",
                    opts->listen);
            xk_err_hint(err, "give the pool a password of its own: --password-file FILE");
            return -EINVAL;
        }
        count++;
        at += len + (at[len] == ',' && at[len + 1]);
    }
    ret->listen_count = count;
    return 0;
}

static int write_certificates(const struct simpool *pool, const char *path, struct xk_err *err)
{
    xk_autofree char *text = simpool_certificates(pool);

    return text ? xk_file_replace(xk_fs_posix(), path, text, strlen(text), 0644, err) : xk_fail_memory(err);
}

static void url_of(char ret[URL_BYTES], const struct sim *opts, const struct resolve_address *address)
{
    snprintf(ret, URL_BYTES, "%s://%s:%u", opts->tls ? "https" : "http",
             resolve_url_text(resolve_host_text(address).s).s, resolve_port(address));
}

/* A line for each client that can be tried at once. */
static void tell_clients(struct xk_out *out, const struct sim *opts, const struct simpool *pool)
{
    const struct resolve_address *const master = simpool_address(pool, simpool_master(pool));
    const struct resolve_words ip = resolve_host_text(master);
    const char *const secret = opts->password_file ? "…" : PASSWORD_DEFAULT;
    const unsigned port = resolve_port(master);
    char url[URL_BYTES], fingerprint[SIMPOOL_FINGERPRINT_BYTES], trust[128] = "";

    url_of(url, opts, master);
    simpool_fingerprint(fingerprint, pool, simpool_master(pool));
    if (opts->tls)
        snprintf(trust, sizeof(trust), "--cert-sha256 %s ", fingerprint);
    xk_say(out, "\nPython:  import XenAPI; s = XenAPI.Session('%s'%s); s.login_with_password('%s', '%s')\n", url,
           opts->tls ? ", ignore_ssl=True" : "", USER, secret);
    xk_say(out, "node:    npx xen-api %s%s %s\n", opts->tls ? "--allow-unauthorized " : "", url, USER);
    xk_say(out, "xe:      xe -s %s -p %u %s-u %s -pw '%s' vm-list\n", ip.s, port, opts->tls ? "" : "--nossl ", USER,
           secret);
    xk_say(out, "xenkit:  xenkit api call %s--user %s %s VM.get_all\n", trust, USER, url);
    xk_say(out,
           "curl:    curl -s %s%s/jsonrpc -d "
           "'{\"id\":1,\"method\":\"session.login_with_password\",\"params\":[\"%s\",\"%s\"]}'\n",
           opts->tls ? "-k " : "", url, USER, secret);
    xk_say(out, "Ends with Ctrl-C.\n");
}

static void tell(struct xk_app *app, const struct sim *opts, const struct simpool *pool)
{
    struct xk_out *const out = app->out;

    for (unsigned i = 0; i < simpool_hosts(pool); i++) {
        char url[URL_BYTES], fingerprint[SIMPOOL_FINGERPRINT_BYTES];
        url_of(url, opts, simpool_address(pool, i));
        if (i == 0)
            xk_out_rows(out, "hosts");
        xk_row(out);
        xk_put_str(out, "url", url);
        xk_put_str(out, "role", i == simpool_master(pool) ? "master" : "slave");
        simpool_fingerprint(fingerprint, pool, i);
        if (opts->tls)
            xk_put_str(out, "certificate_sha256", fingerprint);
    }
    xk_out_end(out);
    const char *const password = opts->password_file ? "(from the file)" : PASSWORD_DEFAULT;
    xk_out_record(out, "login");
    xk_put_str(out, "user", USER);
    xk_put_str(out, "password", password);
    xk_put_u64(out, "vms", simpool_vms(pool));
    xk_out_end(out);
    tell_clients(out, opts, pool);
    xk_out_flush(out);
}

/* The document has been told; this is news. */
static void tell_again(struct xk_app *app, const struct sim *opts, const struct simpool *pool)
{
    char url[URL_BYTES], fingerprint[SIMPOOL_FINGERPRINT_BYTES];

    url_of(url, opts, simpool_address(pool, simpool_master(pool)));
    simpool_fingerprint(fingerprint, pool, simpool_master(pool));
    xk_log(app->log, XK_LOG_WARN, "ejected: a new pool at %s%s%s", url, *fingerprint ? ", certificate " : "",
           fingerprint);
}

static void tell_notes(struct xk_app *app, const struct simpool *pool)
{
    for (const char *at = simpool_notes(pool); *at; at += strcspn(at, "\n") + 1)
        xk_log(app->log, XK_LOG_WARN, "%.*s", (int)strcspn(at, "\n"), at);
}

static bool is_over(const struct simpool *pool)
{
    return xk_stop_signal() || simpool_is_over(pool);
}

/*
 * A client that got its reply often has the next call at once. A processor that fell asleep in between takes ten times
 * as long to wake up as the call takes, so for a moment after each reply the loop looks without waiting; it steps back
 * for whoever else is to run on this processor, which may be that client.
 */
static void linger(struct event_base *base, const struct simpool *pool, const struct xk_clock *clock)
{
    uint64_t replies = simpool_replies(pool);

    for (uint64_t now_ns = clock->monotonic_ns(clock), from_ns = now_ns; now_ns - from_ns < LINGER_NS && !is_over(pool);
         now_ns = clock->monotonic_ns(clock)) {
        if (event_base_loop(base, EVLOOP_NONBLOCK) != 0)
            return;
        (void)sched_yield();
        if (simpool_replies(pool) != replies) {
            replies = simpool_replies(pool);
            from_ns = now_ns;
        }
    }
}

static void nothing(evutil_socket_t fd, short what, void *context)
{
}

/* The stop flag is looked at each time that the loop was woken, and at least every STOP_CHECK_MS. */
static int serve(struct event_base *base, const struct simpool *pool, const struct xk_clock *clock, struct xk_err *err)
{
    const struct timeval check = {.tv_usec = STOP_CHECK_MS * 1000};
    struct event *const tick = event_new(base, -1, EV_PERSIST, nothing, NULL);
    const bool others = xk_processors() > 1; /* who else would the client run on */
    uint64_t replies = simpool_replies(pool);

    if (!tick || event_add(tick, &check) < 0)
        return xk_fail_memory(err);
    while (!is_over(pool) && event_base_loop(base, EVLOOP_ONCE) == 0) {
        if (others && simpool_replies(pool) != replies)
            linger(base, pool, clock);
        replies = simpool_replies(pool);
    }
    event_free(tick);
    return 0;
}

/* Until it is stopped, or is no pool any more. */
static int run_pool(struct xk_app *app, const struct sim *opts, struct event_base *base, struct simpool *pool,
                    bool first, struct xk_err *err)
{
    const int code = opts->certificates ? write_certificates(pool, opts->certificates, err) : 0;

    if (code < 0)
        return code;
    tell_notes(app, pool);
    if (first)
        tell(app, opts, pool);
    else
        tell_again(app, opts, pool);
    const int served = serve(base, pool, app->clock, err);
    const int saved = simpool_save(pool, served == 0 ? err : NULL);
    return served < 0 ? served : saved;
}

static int start(struct xk_app *app, const struct sim *opts, const struct simpool_settings *given, struct xk_err *err)
{
    struct event_base *const base = event_base_new();
    struct simpool_settings settings = *given;
    struct simpool *pool = NULL;
    char *password = NULL, *users = NULL;

    if (!base)
        return xk_fail_memory(err);
    int code = read_password(&password, app, opts->password_file, err);
    if (code == 0 && opts->users)
        code = xk_slurp(&users, "", opts->users, USERS_BYTES_MAX, err);
    if (code == 0) {
        settings.password = password;
        settings.users = users;
        code = simpool_open(&pool, base, &settings, err);
    }
    for (bool first = true; code == 0; first = false) {
        code = run_pool(app, opts, base, pool, first, err);
        if (code < 0 || !simpool_is_over(pool))
            break;
        settings.port = resolve_port(simpool_address(pool, 0));
        simpool_close(XK_TAKE(pool));
        code = simpool_open(&pool, base, &settings, err);
    }
    if (password)
        OPENSSL_cleanse(password, strlen(password));
    free(password);
    if (users)
        OPENSSL_cleanse(users, strlen(users));
    free(users);
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
    if (opts->login_delay > 3600 * XK_NS_PER_S)
        return xk_fail(err, -EINVAL, "--login-delay %s: at most 1h", xk_duration(opts->login_delay).s);
    if (opts->now && (xk_parse_i64(&ret->now_s, opts->now) < 0 || ret->now_s <= 0 || ret->now_s > NOW_MAX))
        return xk_fail(err, -EINVAL, "--now %s: seconds since 1970 are needed", opts->now);
    if (opts->log_size < LOG_BYTES_MIN)
        return xk_fail(err, -EINVAL, "--log-size %s: at least %s", xk_size(opts->log_size).s, xk_size(LOG_BYTES_MIN).s);
    if (opts->certificates && !opts->tls)
        return xk_fail(err, -EINVAL, "--certificates %s: there are none without --tls", opts->certificates);
    const int code = read_addresses(ret, opts, err);
    if (code < 0 || !opts->seed)
        return code;
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
        .state = opts->state,
        .load = opts->load,
        .port = (uint16_t)opts->port,
        .tls = opts->tls,
        .socket = opts->socket,
        .user = USER,
        .limit = (unsigned)opts->limit,
        .gc_ns = opts->gc_interval,
        .login_delay_ns = opts->login_delay,
        .clock = app->clock,
        .random = app->random,
        .era = (unsigned)opts->era,
        .log = opts->log,
        .log_bytes = opts->log_size,
        .faults = opts->faults.items,
        .fault_count = opts->faults.count,
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

static const struct sim defaults = {.vms = SIMPOOL_ANY,
                                    .gc_interval = 30 * XK_NS_PER_S,
                                    .login_delay = 5 * XK_NS_PER_S,
                                    .log_size = 16 * XK_MIB,
                                    .era = SIMPOOL_ERA_NEWEST};
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
    .help = "Runs until it is stopped. Without --listen, only addresses of this machine itself (127.0.0.0/8) are used.",
};
