/* The classic `iperf3`: from its command line to its exit status. */
#include "rooms/net/iperf3.h"

#include "core/child.h"
#include "core/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define RATE_LIMIT_S 5
#define SKEW_S       10

static int write_pid(const char *path, struct xk_err *err)
{
    char text[32];
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    /* The stock program writes the final NUL, too. */
    const int bytes = snprintf(text, sizeof(text), "%d", (int)getpid()) + 1;
    const bool ok = fd >= 0 && write(fd, text, (size_t)bytes) == bytes;
    const int error = errno;

    if (fd >= 0)
        (void)close(fd);
    return ok ? 0 : iperf_fail(err, IPERF_E_PIDFILE, error);
}

static int prepare(struct iperf3 *o, struct xk_err *err)
{
    if (o->logfile) {
        o->log_fd = open(o->logfile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (o->log_fd < 0)
            return iperf_fail(err, IPERF_E_LOGFILE, errno);
    }
    if (o->daemon) {
        xk_out_flush(o->app->out);
        const int code = xk_child_daemon();
        if (code != 0)
            return code < 0 ? iperf_fail(err, IPERF_E_DAEMON, -code) : code;
    }
    return o->pidfile ? write_pid(o->pidfile, err) : 0;
}

static void report(struct iperf3 *o, const struct xk_err *err, bool interrupted)
{
    if (o->json) {
        iperf3_json_error(o, NULL, err->text);
    } else if (o->server && !interrupted) {
        /* Nobody is served at all: whoever has started it shall see that, not only the log. */
        iperf3_flush(o);
        dprintf(o->app->log->fd, "iperf3: error - %s\niperf3: exiting\n", err->text);
    } else {
        iperf3_complain(o, interrupted ? "" : "error - ", err->text);
    }
}

/* What a client says before it connects. */
static void say_version(struct iperf3 *o)
{
    if (!o->server && o->verbose && !o->json)
        iperf3_say(o, NULL, "iperf " IPERF3_VERSION "\n%s\n", iperf3_system_info().s);
}

static int serve_or_test(struct iperf3 *o)
{
    struct iperf_events events = o->json ? iperf3_json_events : iperf3_text_events;
    struct xk_err err = {0};

    events.context = o;
    if (!o->debug)
        events.trace = NULL;
    int code = prepare(o, &err);
    if (code == 0) {
        say_version(o);
        snprintf(o->settings.params.version, sizeof(o->settings.params.version), "%s", IPERF3_VERSION);
        code = (o->server ? iperf_server : iperf_client)(&o->settings, &events, o->app->clock, o->app->random, &err);
    }
    if (o->pidfile)
        (void)unlink(o->pidfile);
    if (code < 0)
        report(o, &err, code == -EINTR);
    iperf3_flush(o);
    /* Asked to stop, it has stopped: from 3.19 on that is no error. */
    return code < 0 && code != -EINTR ? 1 : 0;
}

/* getopt has said what is wrong where `said`; else the stock program has its help on the standard output. */
static int refuse(struct iperf3 *o, const struct xk_err *err, bool said)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(IPERF3_OUTPUT_MAX);

    iperf3_options_help(&b);
    if (said) {
        dprintf(o->app->log->fd, "%s", xk_buf_str(&b));
    } else {
        dprintf(o->app->log->fd, "iperf3: parameter error - %s\n\n", err->text);
        xk_out_raw(o->app->out, xk_buf_str(&b), b.len);
        xk_out_flush(o->app->out);
    }
    return 1;
}

static int run_iperf3(struct xk_app *app, int argc, char **argv)
{
    struct iperf3 o = {
        .app = app,
        .format = 'a',
        .log_fd = -1,
        .line = XK_BUF_INIT(IPERF3_OUTPUT_MAX),
        .settings = {.port = IPERF_PORT,
                     .interval_s = 1,
                     .affinity = -1,
                     .rcv_timeout_ms = IPERF_RCV_TIMEOUT_MS,
                     .skew_s = SKEW_S,
                     .rate_limit_s = RATE_LIMIT_S,
                     .multi = 1,
                     .program = "xenkit " XK_VERSION,
                     .params = {.time_s = 10, .parallel = 1, .affinity = -1}},
    };
    struct xk_err err = {0};
    int status = 0;

    const int code = iperf3_options(&o, argc, argv, &err);
    if (code < 0)
        status = refuse(&o, &err, code == -EINVAL);
    else if (code == 0)
        status = serve_or_test(&o);
    if (o.log_fd >= 0)
        (void)close(o.log_fd);
    xk_buf_done(&o.line);
    free(o.host);
    free(o.bind);
    xk_secret_free(o.password);
    return status;
}

static const struct xk_exit_row exits[] = {
    {0, "the test was done, or a stop was asked for"},
    {1, "wrong options, or the test failed"},
    {0, NULL},
};

const struct xk_classic net_classic_iperf3 = {
    .name = "iperf3",
    .summary = "network throughput, with iperf3's options, wire protocol, text and JSON",
    .run = run_iperf3,
    .kind = XK_SERVER, /* and so, stopped as a client, too, it says how that went itself */
    .exits = exits,
};
