/*
 * The demo's pool: this program once more, as `xenkit sim`, with faults that the check-up then has to find. It speaks
 * on a free port of this machine and ends with the demo, also when that is killed.
 */
#include "rooms/checkup/demo-pool.h"

#include "core/text.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PASSWORD      "sample"
#define START_NS      (20 * XK_NS_PER_S)
#define LOG_BYTES_MAX (64 * XK_MIB)
#define LOG_EVERY_NS  (100 * XK_NS_PER_MS)

/* A fault, and the check that has to find it. */
static const struct planted {
    const char *check, *object, *fault;
} planted[] = {
    {"pool.host-dead", "host-2", "host=2,dead"},
    {"pool.clock-skew", "host-3", "host=3,skew=90s"},
    {"pool.version", "host-4", "host=4,version=old"},
    {"pool.task-stuck", NULL, "task=stuck"},
    {"pool.cpu", "host-5", "host=5,cpu=97%"},
    {"pool.latency", "NFS storage", "sr=NFS storage,latency=80ms"},
    {"pool.tools", "web-01", "vm=web-01,no-tools"},
    {"pool.sessions", "originator:backup-script",
     "client=leak,rate=200,originator=backup-script,user-agent=backup/1.0"},
};

#define WORDS_MAX (16 + 2 * XK_COUNT(planted))

/* ---- starting ---- */

static void become_pool(const struct checkup_demo_pool *pool, int out)
{
    const char *argv[WORDS_MAX + 1] = {
        "xenkit",        "sim", "--plain",         "--hosts",           "5",     "--vms",  "8", "--limit", "40",
        "--gc-interval", "1s",  "--password-file", pool->password_file, "--log", pool->log};
    size_t words = 15;
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (size_t i = 0; i < XK_COUNT(planted); i++) {
        argv[words++] = "--fault";
        argv[words++] = planted[i].fault;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)dup2(nothing, STDIN_FILENO);
    (void)dup2(nothing, STDERR_FILENO);
    (void)dup2(out, STDOUT_FILENO);
    (void)execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* The first line begins with the master's address. */
static int read_url(struct checkup_demo_pool *pool, int from, struct xk_err *err)
{
    size_t used = 0;

    while (!memchr(pool->url, '\t', used) && used < sizeof(pool->url) - 1) {
        const ssize_t n = read(from, pool->url + used, sizeof(pool->url) - 1 - used);
        if (n < 0 && errno == EINTR && !xk_stop_signal())
            continue;
        if (n <= 0) {
            (void)xk_fail(err, -EIO, "the simulated pool did not start");
            xk_err_hint(err, "this program starts itself once more for it, from /proc: is that mounted?");
            return -EIO;
        }
        used += (size_t)n;
    }
    pool->url[strcspn(pool->url, "\t")] = '\0';
    return 0;
}

static int start(struct checkup_demo_pool *pool, struct xk_err *err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return xk_fail_sys(err, -errno, "a pipe for the simulated pool");
    pool->process = fork();
    if (pool->process == 0)
        become_pool(pool, ends[1]);
    (void)close(ends[1]);
    const int code = pool->process < 0 ? xk_fail_sys(err, -errno, "the simulated pool") : read_url(pool, ends[0], err);
    (void)close(ends[0]);
    return code;
}

/* Until the leaking client has filled its limit. */
static int wait_for_leak(const struct checkup_demo_pool *pool, struct xk_app *app, struct xk_err *err)
{
    const uint64_t until_ns = app->clock->monotonic_ns(app->clock) + START_NS;

    while (app->clock->monotonic_ns(app->clock) < until_ns && !xk_stop_signal()) {
        char *text = NULL;
        const bool full = xk_slurp(&text, "", pool->log, LOG_BYTES_MAX, NULL) >= 0 && strstr(text, "exceeds limit");
        free(text);
        if (full)
            return 0;
        app->clock->sleep_ns(app->clock, LOG_EVERY_NS);
    }
    return xk_fail(err, xk_stop_signal() ? -EINTR : -ETIMEDOUT,
                   "the simulated pool's leaking client did not fill its limit");
}

int checkup_demo_pool_start(struct checkup_demo_pool *ret, struct xk_app *app, const char *dir, struct xk_err *err)
{
    xk_autofree char *folder = xk_path_join(dir, "pool");

    *ret = (struct checkup_demo_pool){.process = -1, .access = CLIENT_ACCESS_DEFAULTS, .planted = XK_COUNT(planted)};
    if (!folder || !(ret->log = xk_path_join(folder, "xensource.log")) ||
        !(ret->password_file = xk_path_join(folder, "password")))
        return xk_fail_memory(err);
    ret->access.password_file = ret->password_file;
    ret->access.session_cache = false;
    if (mkdir(folder, 0755) < 0)
        return xk_fail_sys(err, -errno, "%s", folder);
    int code = xk_file_replace(app->fs, ret->password_file, PASSWORD "\n", sizeof(PASSWORD), 0600, err);
    if (code == 0)
        code = start(ret, err);
    return code < 0 ? code : wait_for_leak(ret, app, err);
}

void checkup_demo_pool_stop(struct checkup_demo_pool *pool)
{
    if (pool->process > 0) {
        (void)kill(pool->process, SIGTERM);
        while (waitpid(pool->process, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    free(pool->log);
    free(pool->password_file);
    *pool = (struct checkup_demo_pool){.process = -1};
}

/* ---- was each found, and nothing else? ---- */

static bool is_ours(const struct xk_finding *f)
{
    return xk_has_prefix(f->check->id, "pool.") || xk_has_prefix(f->check->id, "sessions.");
}

static bool matches(const struct planted *p, const struct xk_finding *f)
{
    return strcmp(p->check, f->check->id) == 0 && (!p->object || strcmp(p->object, f->object) == 0);
}

/* What a client that leaks is found by besides the limit it fills. */
static bool follows(const struct xk_finding *f)
{
    return (strcmp(f->check->id, "sessions.limit") == 0 && strstr(f->object, "backup-script")) ||
           (strcmp(f->check->id, "sessions.leak") == 0 && strstr(f->object, "backup-script")) ||
           strcmp(f->check->id, "sessions.evicted-in-use") == 0;
}

int checkup_demo_pool_verify(const struct checkup *c, struct xk_buf *ret_text)
{
    int wrong = 0;

    for (size_t i = 0; i < XK_COUNT(planted); i++) {
        bool found = false;
        for (size_t k = 0; k < c->findings.count; k++)
            found |= matches(&planted[i], &c->findings.items[k]);
        if (!found) {
            xk_buf_printf(ret_text, "  not found: %s (%s)\n", planted[i].check, planted[i].fault);
            wrong++;
        }
    }
    for (size_t k = 0; k < c->findings.count; k++) {
        const struct xk_finding *const f = &c->findings.items[k];
        bool expected = !is_ours(f) || follows(f);
        for (size_t i = 0; i < XK_COUNT(planted); i++)
            expected |= matches(&planted[i], f);
        if (expected)
            continue;
        xk_buf_printf(ret_text, "  not planted: %s ", f->check->id);
        xk_add_clean(ret_text, f->object);
        xk_buf_add_char(ret_text, '\n');
        wrong++;
    }
    return ret_text->error ? ret_text->error : wrong;
}
