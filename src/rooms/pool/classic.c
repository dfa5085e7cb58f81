/*
 * The classic `check_xenpool`, a plugin for Nagios and its kin: one line, always, and a status of 0 to 3.
 *
 * The password of -p is wiped from the command line and handed on through a file without a name.
 */
#include "rooms/pool/check.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define TIMEOUT_S 10

struct plugin {
    struct client_access access;
    struct pool_check_settings settings;
    char password_path[64];
    int password_fd;
    bool help, version;
};

static int unknown(struct xk_app *app, const char *format, ...) XK_PRINTF(2, 3);

static int unknown(struct xk_app *app, const char *format, ...)
{
    xk_auto(xk_buf_done) struct xk_buf line = XK_BUF_INIT(8 * XK_KIB);
    va_list args;

    va_start(args, format);
    xk_buf_vprintf(&line, format, args);
    va_end(args);
    xk_out_rawf(app->out, "XENPOOL UNKNOWN - %s\n", xk_out_clean(app->out, xk_buf_str(&line)));
    return POOL_UNKNOWN;
}

static int keep_password(struct plugin *p, char *word)
{
    const size_t bytes = strlen(word);

    if (p->password_fd >= 0)
        (void)close(p->password_fd);
    p->password_fd = memfd_create("password", MFD_CLOEXEC);
    if (p->password_fd < 0 || write(p->password_fd, word, bytes) != (ssize_t)bytes)
        return -EIO;
    explicit_bzero(word, bytes);
    snprintf(p->password_path, sizeof(p->password_path), "/proc/self/fd/%d", p->password_fd);
    p->access.password_file = p->password_path;
    return 0;
}

/* One option with its value. returns 0; -EINVAL: no such option, or no such value. */
static int take(struct plugin *p, const char *name, char *value)
{
    static const char *const names[] = {"-H", "--hostname", "-l", "--username", "-p", "--password",
                                        "-t", "--timeout",  "-w", "--warning",  "-c", "--critical"};
    size_t i = 0;

    while (i < XK_COUNT(names) && strcmp(name, names[i]) != 0)
        i++;
    switch (i < XK_COUNT(names) ? names[i & ~(size_t)1][1] : '?') {
    case 'H':
        p->settings.pool = value;
        return *value ? 0 : -EINVAL;
    case 'l':
        p->access.user = value;
        return 0;
    case 'p':
        return keep_password(p, value);
    case 't':
        return xk_parse_duration(&p->settings.timeout_ns, value) < 0 || !p->settings.timeout_ns ? -EINVAL : 0;
    case 'w':
        return pool_check_range_parse(&p->settings.warn, value);
    case 'c':
        return pool_check_range_parse(&p->settings.crit, value);
    default:
        break;
    }
    if (strcmp(name, "--password-file") == 0)
        p->access.password_file = value;
    else if (strcmp(name, "--ca") == 0)
        p->access.ca = value;
    else
        return -EINVAL;
    return 0;
}

static bool takes_value(const char *name)
{
    static const char *const names[] = {"-H",
                                        "-l",
                                        "-p",
                                        "-t",
                                        "-w",
                                        "-c",
                                        "--hostname",
                                        "--username",
                                        "--password",
                                        "--timeout",
                                        "--warning",
                                        "--critical",
                                        "--password-file",
                                        "--ca"};

    for (size_t i = 0; i < XK_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/* -H HOST, -HHOST, --hostname HOST, --hostname=HOST. returns 0; an enum pool_check_status after its line. */
static int parse(struct xk_app *app, struct plugin *p, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char *const word = argv[i];
        char name[32];
        char *value = NULL;
        if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
            p->help = true;
            continue;
        }
        if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0) {
            p->version = true;
            continue;
        }
        if (strcmp(word, "--insecure") == 0) {
            p->access.insecure = true;
            continue;
        }
        const bool is_long = word[0] == '-' && word[1] == '-';
        const size_t bytes = is_long ? strcspn(word, "=") : XK_MIN(strlen(word), (size_t)2);
        snprintf(name, sizeof(name), "%.*s", (int)XK_MIN(bytes, sizeof(name) - 1), word);
        if (!takes_value(name))
            return unknown(app, "there is no option %s", word[0] == '-' ? name : word);
        if (word[bytes])
            value = word + bytes + is_long;
        else if (i + 1 < argc)
            value = argv[++i];
        if (!value)
            return unknown(app, "%s needs a value", name);
        const bool secret = name[1] == 'p' || strcmp(name, "--password") == 0;
        if (take(p, name, value) < 0)
            return unknown(app, "%s %s is not understood", name, secret ? "(a password)" : value);
    }
    return 0;
}

static int answer(struct xk_app *app, struct plugin *p)
{
    xk_auto(xk_buf_done) struct xk_buf line = XK_BUF_INIT(64 * XK_KIB);

    if (p->version) {
        xk_out_rawf(app->out, "check_xenpool (xenkit %s)\n", XK_VERSION);
        return POOL_UNKNOWN;
    }
    if (p->help) {
        xk_out_rawf(app->out, "check_xenpool -H HOST [-l USER] [-p PASSWORD | --password-file FILE] [-t SECONDS] "
                              "[-w RANGE] [-c RANGE] [--ca FILE | --insecure]: are all hosts of the pool live?\n");
        return POOL_UNKNOWN;
    }
    if (!p->settings.pool)
        return unknown(app, "-H HOST is needed");
    const int status = pool_check_run(app, &p->access, &p->settings, &line);
    xk_out_rawf(app->out, "%s\n", xk_buf_str(&line));
    return status;
}

static int run(struct xk_app *app, int argc, char **argv)
{
    struct plugin p = {
        .access = CLIENT_ACCESS_DEFAULTS, .settings = {.timeout_ns = TIMEOUT_S * XK_NS_PER_S}, .password_fd = -1};

    p.access.session_cache = false;
    app->log->fd = -1; /* one line on standard output is all that monitoring wants */
    int status = parse(app, &p, argc, argv);
    if (!status)
        status = answer(app, &p);
    if (p.password_fd >= 0)
        (void)close(p.password_fd);
    return status;
}

static const struct xk_exit_row exits[] = {
    {POOL_OK, "every host is live"},
    {POOL_WARNING, "a slave was asked, and every host is live; or -w"},
    {POOL_CRITICAL, "hosts are dead; or -c"},
    {POOL_UNKNOWN, "anything else"},
    {0, NULL},
};

const struct xk_classic pool_classic_check = {
    .name = "check_xenpool",
    .summary = "Nagios plugin: are all hosts of a pool live?",
    .run = run,
    .exits = exits,
    .unsaid = POOL_UNKNOWN,
};
