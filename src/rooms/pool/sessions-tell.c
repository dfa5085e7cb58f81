/*
 * What a log's sessions come to, for people: how full each limit is, who leaves sessions behind, and what to change.
 *
 * Only what the numbers show is said: a client that keeps a few sessions for days is not called a leak, and a limit
 * that idle sessions never reach has no date.
 */
#include "rooms/pool/sessions.h"

#include "core/text.h"

#include <string.h>

#define CLIENTS_SHOWN 15 /* in the table format */
#define LEAKERS_SHOWN 5
#define GROUPS_SHOWN  10
#define SHARE_WORTH   0.5 /* of a limit: worth a sentence */
#define BUSY_PER_HOUR 60.0
#define SHORT_SPAN_S  60

/* ---- counts ---- */

static void put_ids(struct xk_out *out, const char *key, const uint8_t (*ids)[SESSIONLOG_ID_BYTES], size_t count)
{
    char text[2 * SESSIONLOG_ID_BYTES + 1];

    xk_put_list(out, key);
    for (size_t i = 0; i < count; i++) {
        sessionlog_id_text(text, ids[i]);
        xk_put_str(out, NULL, text);
    }
    xk_put_end(out);
}

static void put_time_or_none(struct xk_out *out, const char *key, int64_t unix_s)
{
    if (unix_s)
        xk_put_time(out, key, unix_s);
    else
        xk_put_none(out, key);
}

static void tell_counts(struct xk_out *out, const struct sessionlog_summary *sum)
{
    const bool table = xk_out_format(out) == XK_OUT_TABLE;

    xk_out_record(out, NULL);
    if (table)
        xk_put_u64(out, "destroyed_unseen", sum->unseen_count);
    else
        put_ids(out, "destroyed_unseen", sum->unseen, sum->unseen_count);
    xk_put_u64(out, "restarts", sum->restarts);
    xk_out_end(out);
    xk_out_record(out, "summary");
    put_time_or_none(out, "from", sum->first_s);
    put_time_or_none(out, "to", sum->last_s);
    xk_put_u64(out, "sessions", sum->sessions);
    for (int i = 0; i < SESSIONLOG_FATES; i++)
        xk_put_u64(out, sessionlog_fate_name((enum sessionlog_fate)i), sum->fates[i]);
    xk_put_u64(out, "evicted_in_use", sum->in_use);
    xk_put_u64(out, "refused_after_end", sum->refused);
    xk_put_u64(out, "peak_open", sum->peak_open);
    put_time_or_none(out, "peak_at", sum->peak_s);
    if (!table || sum->uncounted)
        xk_put_u64(out, "uncounted", sum->uncounted);
    xk_put_u64(out, "logs", sum->pieces);
    xk_put_u64(out, "lines", sum->lines);
    xk_put_bytes(out, "read", sum->bytes);
    xk_out_end(out);
}

/* ---- limits ---- */

static void tell_groups(struct xk_out *out, const struct sessionlog_summary *sum)
{
    const bool table = xk_out_format(out) == XK_OUT_TABLE;

    xk_out_rows(out, "limits");
    for (size_t i = 0; i < sum->group_count && (!table || i < GROUPS_SHOWN); i++) {
        const struct sessionlog_group *const g = &sum->groups[i];
        xk_row(out);
        xk_put_str(out, "group", g->name);
        xk_put_u64(out, "open", g->open);
        if (g->limit)
            xk_put_u64(out, "limit", g->limit);
        else
            xk_put_none(out, "limit");
        xk_put_str(out, "limit_from", g->limit_logged ? "log" : "release");
        if (g->limit)
            xk_put_pct(out, "share", 100 * sessionlog_group_share(g));
        else
            xk_put_none(out, "share_percent");
        if (sessionlog_group_share(g) >= SHARE_WORTH)
            xk_out_color(out, sessionlog_group_share(g) >= 1 ? XK_COLOR_BAD : XK_COLOR_WARN);
        xk_put_u64(out, "evicted", g->evicted);
        xk_put_double(out, "growth_per_hour", g->rate_h);
        if (g->eviction_in_s >= 0)
            xk_put_duration(out, "eviction_in", (uint64_t)g->eviction_in_s * XK_NS_PER_S);
        else
            xk_put_none(out, "eviction_in_ns");
    }
    xk_out_end(out);
}

/* ---- clients ---- */

/* Creations an hour; 0 when they were too close together to tell. */
static double rate_of(const struct sessionlog_client *c)
{
    const int64_t span_s = c->last_s - c->first_s;

    return span_s < SHORT_SPAN_S || c->created < 2 ? 0 : (double)(c->created - 1) * 3600 / (double)span_s;
}

static void put_client(struct xk_out *out, const struct sessionlog_client *c)
{
    const bool rest = c->user == NULL;

    xk_row(out);
    xk_put_str(out, "originator", rest ? "(others)" : c->originator);
    xk_put_str(out, "user", rest ? "" : c->user);
    xk_put_str(out, "user_agent", c->user_agent);
    xk_put_bool(out, "pool", c->pool);
    xk_put_u64(out, "sessions", c->created);
    for (int i = 0; i < SESSIONLOG_FATES; i++)
        xk_put_u64(out, sessionlog_fate_name((enum sessionlog_fate)i), c->fates[i]);
    xk_put_double(out, "per_hour", rate_of(c));
    if (c->fates[SESSIONLOG_LOGOUT])
        xk_put_duration(out, "lifetime", c->lifetime_s * XK_NS_PER_S / c->fates[SESSIONLOG_LOGOUT]);
    else
        xk_put_none(out, "lifetime_ns");
    xk_put_u64(out, "evicted_in_use", c->in_use);
    xk_put_str(out, "verdict", sessionlog_client_leaks(c) ? "leaks" : "fine");
    xk_out_color(out, sessionlog_client_leaks(c) ? XK_COLOR_BAD : XK_COLOR_GOOD);
}

static void tell_clients(struct xk_out *out, const struct sessionlog_summary *sum)
{
    const bool table = xk_out_format(out) == XK_OUT_TABLE;

    xk_out_rows(out, "clients");
    for (size_t i = 0; i < sum->client_count && (!table || i < CLIENTS_SHOWN); i++)
        put_client(out, &sum->clients[i]);
    xk_out_end(out);
}

/* ---- what is wrong ---- */

struct diagnosis {
    struct xk_out *out;
    size_t count;
};

static void diagnose(struct diagnosis *d, enum xk_color color, const char *about, const char *finding,
                     const char *evidence, const char *advice)
{
    struct xk_out *const out = d->out;

    d->count++;
    if (xk_out_format(out) == XK_OUT_TABLE) {
        xk_say_color(out, color, "\n%s: ", xk_out_clean(out, about));
        xk_say(out, "%s\n  %s\n  %s\n", finding, xk_out_clean(out, evidence), advice);
        return;
    }
    xk_row(out);
    xk_put_str(out, "about", about);
    xk_put_str(out, "finding", finding);
    xk_put_str(out, "evidence", evidence);
    xk_put_str(out, "advice", advice);
}

static void add_client_name(struct xk_buf *b, const struct sessionlog_client *c)
{
    if (!c->user) {
        xk_buf_add_str(b, "other clients");
        return;
    }
    if (*c->originator)
        xk_buf_printf(b, "originator %s, ", c->originator);
    xk_buf_printf(b, "user %s", *c->user ? c->user : "(none)");
    if (c->user_agent)
        xk_buf_printf(b, ", user agent %s", c->user_agent);
    if (c->pool)
        xk_buf_add_str(b, ", the pool's own");
}

/* What to change in its code. */
static void add_advice(struct xk_buf *b, const struct sessionlog_client *c)
{
    if (!c->fates[SESSIONLOG_LOGOUT])
        xk_buf_add_str(b, "It never logs out: call session.logout when the work is done, also when it failed "
                          "(Python: try … finally).");
    else
        xk_buf_add_str(b, "It logs out only sometimes: look for a way out of it, most likely after an error, that "
                          "passes session.logout by.");
    if (rate_of(c) >= BUSY_PER_HOUR)
        xk_buf_add_str(b, " Open one session and use it for all calls instead of one for each.");
    if (!c->pool && c->originator && !*c->originator)
        xk_buf_add_str(b, " Give login_with_password a fourth argument, an originator: then it has a limit of its own "
                          "and cannot push other clients' sessions out.");
}

static int tell_leakers(struct diagnosis *d, const struct sessionlog_summary *sum)
{
    for (size_t i = 0, told = 0; i < sum->client_count && told < LEAKERS_SHOWN; i++) {
        const struct sessionlog_client *const c = &sum->clients[i];
        xk_auto(xk_buf_done) struct xk_buf about = XK_BUF_INIT(XK_MIB), evidence = XK_BUF_INIT(XK_MIB);
        xk_auto(xk_buf_done) struct xk_buf advice = XK_BUF_INIT(XK_MIB);
        if (!sessionlog_client_leaks(c))
            continue;
        add_client_name(&about, c);
        xk_buf_printf(
            &evidence,
            "opened %llu sessions (%.1f an hour) and logged out of %llu; %llu are open, %llu of them for more "
            "than an hour; the collector ended %llu idle ones and %llu over the limit",
            (unsigned long long)c->created, rate_of(c), (unsigned long long)c->fates[SESSIONLOG_LOGOUT],
            (unsigned long long)c->fates[SESSIONLOG_OPEN], (unsigned long long)c->lingering,
            (unsigned long long)c->fates[SESSIONLOG_AGED], (unsigned long long)c->fates[SESSIONLOG_EVICTED]);
        add_advice(&advice, c);
        if (about.error || evidence.error || advice.error)
            return -ENOMEM;
        diagnose(d, XK_COLOR_BAD, xk_buf_str(&about), "leaks sessions", xk_buf_str(&evidence), xk_buf_str(&advice));
        told++;
    }
    return 0;
}

static void add_outlook(struct xk_buf *b, const struct sessionlog_group *g)
{
    xk_buf_printf(b, "%llu of %llu sessions (%.0f %%)", (unsigned long long)g->open, (unsigned long long)g->limit,
                  100 * sessionlog_group_share(g));
    if (g->evicted)
        xk_buf_printf(b, ", %llu already thrown out", (unsigned long long)g->evicted);
    if (g->rate_h > 0 && g->eviction_in_s > 0)
        xk_buf_printf(b, "; growing by %.1f an hour the limit is reached in %s", g->rate_h,
                      xk_duration((uint64_t)g->eviction_in_s * XK_NS_PER_S).s);
    else if (g->rate_h > 0 && g->eviction_in_s < 0)
        xk_buf_printf(b, "; growing by %.1f an hour it stays below the limit, since idle sessions end after a day",
                      g->rate_h);
}

static int tell_limits(struct diagnosis *d, const struct sessionlog_summary *sum)
{
    for (size_t i = 0; i < sum->group_count; i++) {
        const struct sessionlog_group *const g = &sum->groups[i];
        xk_auto(xk_buf_done) struct xk_buf evidence = XK_BUF_INIT(4096);
        xk_auto(xk_buf_done) struct xk_buf about = XK_BUF_INIT(XK_MIB);
        if (sessionlog_group_share(g) < SHARE_WORTH && !g->evicted && g->eviction_in_s < 0)
            continue;
        xk_buf_printf(&about, "limit of %s", g->name);
        add_outlook(&evidence, g);
        if (evidence.error || about.error)
            return -ENOMEM;
        diagnose(d, XK_COLOR_WARN, xk_buf_str(&about),
                 g->evicted || sessionlog_group_share(g) >= 1 ? "sessions are thrown out"
                 : g->eviction_in_s > 0                       ? "it will be reached"
                                                              : "more than half is used",
                 xk_buf_str(&evidence),
                 "When a group is full, its session that was used least recently is ended, whoever needs it; find the "
                 "client above that leaves sessions behind.");
    }
    return 0;
}

static int tell_in_use(struct diagnosis *d, const struct sessionlog_summary *sum)
{
    xk_auto(xk_buf_done) struct xk_buf evidence = XK_BUF_INIT(4096);

    if (!sum->in_use)
        return 0;
    xk_buf_printf(
        &evidence,
        "%llu sessions were thrown out although they had been used in the last 15 minutes or were used again; "
        "%llu calls came with the reference of a session that the collector had ended",
        (unsigned long long)sum->in_use, (unsigned long long)sum->refused);
    if (evidence.error)
        return -ENOMEM;
    diagnose(d, XK_COLOR_BAD, "evicted while in use", "clients that did nothing wrong get SESSION_INVALID",
             xk_buf_str(&evidence), "Stop the leak; until then let these clients log in again and repeat the call.");
    return 0;
}

static int tell_diagnosis(struct xk_out *out, const struct sessionlog_summary *sum)
{
    struct diagnosis d = {.out = out};
    const bool table = xk_out_format(out) == XK_OUT_TABLE;

    if (!table)
        xk_out_rows(out, "diagnosis");
    int code = tell_leakers(&d, sum);
    if (code == 0)
        code = tell_limits(&d, sum);
    if (code == 0)
        code = tell_in_use(&d, sum);
    if (!table)
        xk_out_end(out);
    else if (!d.count && sum->sessions)
        xk_say_color(out, XK_COLOR_GOOD, "\nNobody leaves sessions behind.\n");
    else if (!sum->sessions)
        xk_say(out, "\nNo session was opened in this log.\n");
    return code;
}

int pool_sessions_tell(struct xk_app *app, const struct sessionlog_summary *sum)
{
    struct xk_out *const out = app->out;

    tell_counts(out, sum);
    if (sum->group_count || xk_out_format(out) != XK_OUT_TABLE)
        tell_groups(out, sum);
    if (sum->client_count || xk_out_format(out) != XK_OUT_TABLE)
        tell_clients(out, sum);
    return tell_diagnosis(out, sum);
}
