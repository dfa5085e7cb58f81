/*
 * Two calls after the login: all hosts, and all host_metrics, whose `live` the master keeps. A host without metrics is
 * dead. Everything foreign in the line is cleaned: a bar would begin the numbers, a newline the next line.
 *
 * A bare HOST means TLS. Only when it is this machine itself, and speaks no TLS, plain HTTP is tried: elsewhere whoever
 * is in between could ask for the password that way.
 */
#include "rooms/pool/check.h"

#include "core/text.h"

#include <math.h>
#include <string.h>

#define ARENA_BYTES (64 * XK_MIB)
#define LINE_BYTES  (8 * XK_KIB) /* monitoring systems read no more */
#define NAMES_BYTES 3000         /* of each list of hosts */

/* ---- ranges ---- */

static int parse_bound(double *ret, const char *word, size_t bytes)
{
    xk_autofree char *copy = xk_strndup(word, bytes);

    return copy ? xk_parse_double(ret, copy) : -ENOMEM;
}

int pool_check_range_parse(struct pool_check_range *ret, const char *text)
{
    struct pool_check_range r = {.low = 0, .high = INFINITY, .set = true, .inside = *text == '@'};

    text += r.inside;
    const char *const colon = strchr(text, ':');
    const char *const high = colon ? colon + 1 : text;
    if (colon && strncmp(text, "~", (size_t)(colon - text)) == 0 && colon > text)
        r.low = -INFINITY;
    else if (colon > text && parse_bound(&r.low, text, (size_t)(colon - text)) < 0)
        return -EINVAL;
    if (*high && parse_bound(&r.high, high, strlen(high)) < 0)
        return -EINVAL;
    if ((!colon && !*high) || r.low > r.high)
        return -EINVAL;
    *ret = r;
    return 0;
}

bool pool_check_range_alerts(const struct pool_check_range *range, double value)
{
    return range->set && (value >= range->low && value <= range->high) == range->inside;
}

/* ---- the hosts ---- */

struct hosts {
    struct xk_buf live, dead;
    unsigned live_count, dead_count;
};

/* Foreign text, so that no part of it looks like part of the line. */
static void add_foreign(struct xk_buf *b, const char *text)
{
    const size_t begin = b->len;

    xk_add_clean(b, text);
    for (size_t i = begin; i < b->len; i++)
        b->data[i] = b->data[i] == '|' ? '?' : b->data[i];
}

static void add_name(struct xk_buf *b, const char *name)
{
    xk_auto(xk_buf_done) struct xk_buf clean = XK_BUF_INIT(64 * XK_KIB);

    add_foreign(&clean, name);
    if (b->len + clean.len > NAMES_BYTES) {
        if (!xk_has_suffix(xk_buf_str(b), "…"))
            xk_buf_add_str(b, b->len ? ", …" : "…");
        return;
    }
    if (b->len)
        xk_buf_add_str(b, ", ");
    xk_buf_add_str(b, xk_buf_str(&clean));
}

static int ask_hosts(struct client *c, struct hosts *ret, struct xk_arena *arena, struct xk_err *err)
{
    struct xapi_value hosts, metrics;

    int code = client_ask(c, &hosts, arena, err, "host.get_all_records", "");
    if (code == 0)
        code = client_ask(c, &metrics, arena, err, "host_metrics.get_all_records", "");
    if (code < 0)
        return code;
    if (hosts.shape != XAPI_MAP || metrics.shape != XAPI_MAP || hosts.count == 0)
        return xk_fail(err, -EPROTO, "the pool's answer has no hosts");
    for (uint32_t i = 0; i < hosts.count; i++) {
        const struct xapi_value *const host = &hosts.items[2 * i + 1];
        const struct xapi_value *const name = xapi_map_get(host, "name_label");
        const struct xapi_value *const ref = xapi_map_get(host, "metrics");
        const struct xapi_value *const m = ref ? xapi_map_get(&metrics, xapi_value_text(ref)) : NULL;
        const struct xapi_value *const live = m ? xapi_map_get(m, "live") : NULL;
        if (!name || !ref || (m && (!live || live->shape != XAPI_BOOL)))
            return xk_fail(err, -EPROTO, "the pool's answer does not say which hosts are live");
        const bool lives = live && live->truth;
        add_name(lives ? &ret->live : &ret->dead, xapi_value_text(name));
        ret->live_count += lives;
        ret->dead_count += !lives;
    }
    return 0;
}

/* ---- the line ---- */

static int judge(const struct pool_check_settings *s, const struct hosts *h, bool asked_slave)
{
    if (s->crit.set ? pool_check_range_alerts(&s->crit, h->dead_count) : h->dead_count > 0 && !s->warn.set)
        return POOL_CRITICAL;
    if (pool_check_range_alerts(&s->warn, h->dead_count) || asked_slave)
        return POOL_WARNING;
    return POOL_OK;
}

static double upper(const struct pool_check_range *range)
{
    return range->set && !range->inside ? range->high : NAN;
}

static void write_line(struct xk_buf *b, const struct pool_check_settings *s, const struct hosts *h, int status,
                       const char *slave, const char *master, double seconds)
{
    static const char *const words[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};
    const double all = h->live_count + h->dead_count;
    xk_auto(xk_buf_done) struct xk_buf perf = XK_BUF_INIT(LINE_BYTES);

    xk_buf_printf(b, "XENPOOL %s - live hosts [%s] dead hosts [%s]", words[status], xk_buf_str(&h->live),
                  xk_buf_str(&h->dead));
    if (slave) {
        xk_buf_add_str(b, " (");
        add_foreign(b, slave);
        xk_buf_add_str(b, " is not the master), ask ");
        add_foreign(b, master);
    }
    xk_perfdata(&perf, "live", h->live_count, "", NAN, NAN, 0, all);
    xk_perfdata(&perf, "dead", h->dead_count, "", upper(&s->warn),
                s->crit.set   ? upper(&s->crit)
                : s->warn.set ? NAN
                              : 0,
                0, all);
    xk_perfdata(&perf, "time", round(seconds * 1000) / 1000, "s", NAN, NAN, 0, NAN);
    xk_buf_printf(b, " | %s", xk_buf_str(&perf));
}

static void write_unknown(struct xk_buf *b, const struct xk_err *err)
{
    xk_buf_add_str(b, "XENPOOL UNKNOWN - ");
    add_foreign(b, err->text[0] ? err->text : "it failed");
}

/* ---- asking ---- */

static bool is_this_machine(const char *pool)
{
    return xk_has_prefix(pool, "127.") || xk_has_prefix(pool, "localhost") || xk_has_prefix(pool, "[::1]") ||
           strcmp(pool, "::1") == 0;
}

static int ask(struct xk_app *app, const struct client_access *access, const struct pool_check_settings *s,
               const char *pool, uint64_t began_ns, struct xk_buf *ret, struct xk_err *err)
{
    xk_auto(client_closep) struct client *c = NULL;
    struct xk_arena arena = XK_ARENA_INIT(ARENA_BYTES);
    struct hosts hosts = {.live = XK_BUF_INIT(LINE_BYTES), .dead = XK_BUF_INIT(LINE_BYTES)};
    const struct client_manner manner = {.originator = "xenkit-check", .deadline_ns = began_ns + s->timeout_ns};

    int code = client_open(&c, app, pool, access, &manner, err);
    if (code == 0)
        code = ask_hosts(c, &hosts, &arena, err);
    if (code == 0) {
        const char *const master = client_redirect(c);
        const int status = judge(s, &hosts, master != NULL);
        write_line(ret, s, &hosts, status, master ? pool : NULL, master,
                   (double)(app->clock->monotonic_ns(app->clock) - began_ns) / 1e9);
        code = status;
    }
    xk_buf_done(&hosts.live);
    xk_buf_done(&hosts.dead);
    xk_arena_done(&arena);
    return code;
}

int pool_check_run(struct xk_app *app, const struct client_access *access, const struct pool_check_settings *settings,
                   struct xk_buf *ret)
{
    const uint64_t began_ns = app->clock->monotonic_ns(app->clock);
    struct xk_err err = {0};

    int code = ask(app, access, settings, settings->pool, began_ns, ret, &err);
    if (code == -EPROTO && !strstr(settings->pool, "://") && is_this_machine(settings->pool)) {
        xk_autofree char *plain = xk_asprintf("http://%s", settings->pool);
        xk_err_clear(&err);
        code = plain ? ask(app, access, settings, plain, began_ns, ret, &err) : xk_fail_memory(&err);
    }
    if (code >= 0)
        return code;
    xk_buf_reset(ret);
    write_unknown(ret, &err);
    return POOL_UNKNOWN;
}
