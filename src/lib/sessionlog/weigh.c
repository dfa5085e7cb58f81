/*
 * From counts to what they come to: which clients leave sessions behind, how full each limit is, and when the collector
 * begins to throw sessions out.
 *
 * The outlook takes the rate at which sessions now open have piled up since the oldest of them. A rate over the last
 * hour would follow bursts; one over the whole log would not see a leak that began today.
 */
#include "lib/sessionlog/track.h"

#include <stdio.h>
#include <string.h>

#define LIMIT_PLAIN     400 /* sessions without an originator, and the pool's own */
#define LIMIT_OLD       50  /* for each originator and user, 2013 until there were groups in the log */
#define LIMIT_GROUP     500
#define IDLE_MAX_S      86400
#define RATE_SPAN_MIN_S 600
#define LEFT_MIN        10  /* fewer sessions left behind are nobody's leak */
#define LEFT_SHARE      0.2 /* of all that the client opened */

uint64_t sessionlog_client_left(const struct sessionlog_client *c)
{
    return c->lingering + c->fates[SESSIONLOG_AGED] + c->fates[SESSIONLOG_EVICTED];
}

bool sessionlog_client_leaks(const struct sessionlog_client *c)
{
    const uint64_t left = sessionlog_client_left(c);

    return left >= LEFT_MIN && (double)left >= LEFT_SHARE * (double)c->created;
}

/* ---- clients ---- */

static void count_open(struct track *t)
{
    for (size_t i = 0; i < t->open.capacity; i++) {
        if (!t->open.slots[i].value)
            continue;
        const struct sessionlog_session *const s =
            (const struct sessionlog_session *)(uintptr_t)(t->open.slots[i].value - 1);
        struct sessionlog_client *const c = &t->clients[s->client];
        if (!c->oldest_open_s || s->created_s < c->oldest_open_s)
            c->oldest_open_s = s->created_s;
        c->lingering += t->sum.last_s - s->created_s >= SESSIONLOG_LINGER_S;
    }
}

static int by_left(const void *a, const void *b)
{
    const struct sessionlog_client *const x = a, *const y = b;
    const uint64_t left_x = sessionlog_client_left(x), left_y = sessionlog_client_left(y);

    if (left_x != left_y)
        return left_x > left_y ? -1 : 1;
    if (x->created != y->created)
        return x->created > y->created ? -1 : 1;
    return x->first_s < y->first_s ? -1 : x->first_s > y->first_s;
}

/* ---- groups ---- */

/* The group that the collector counts a client's sessions in. */
static char *group_name(const struct sessionlog_client *c)
{
    if (c->pool)
        return xk_strdup("internal");
    if (c->originator && *c->originator)
        return xk_asprintf("originator:%s", c->originator);
    if (c->user && *c->user && strcmp(c->user, "root") != 0)
        return xk_asprintf("username:%s", c->user);
    return xk_strdup("external");
}

static void find_limit(const struct track *t, struct sessionlog_group *g)
{
    const bool plain = strchr(g->name, ':') == NULL;

    for (size_t i = 0; i < t->limit_count; i++) {
        const struct track_limit *const l = &t->limits[i];
        /* From before groups were named only the number tells whose limit it is. */
        if (l->group ? strcmp(l->group, g->name) == 0 : plain == (l->limit != LIMIT_OLD)) {
            g->limit = l->limit;
            g->limit_logged = true;
            return;
        }
    }
    g->limit = plain ? LIMIT_PLAIN : t->has_groups ? LIMIT_GROUP : t->has_originators ? LIMIT_OLD : 0;
}

static int find_group(struct track *t, const struct sessionlog_client *c, size_t *ret)
{
    char *const name = group_name(c);

    if (!name)
        return -ENOMEM;
    for (size_t i = 0; i < t->group_count; i++) {
        if (strcmp(t->groups[i].name, name) == 0) {
            free(name);
            *ret = i;
            return 0;
        }
    }
    struct sessionlog_group *const bigger = xk_realloc(t->groups, (t->group_count + 1) * sizeof(*bigger));
    if (!bigger) {
        free(name);
        return -ENOMEM;
    }
    t->groups = bigger;
    t->groups[t->group_count] = (struct sessionlog_group){.name = name};
    find_limit(t, &t->groups[t->group_count]);
    *ret = t->group_count++;
    return 0;
}

static int fill_groups(struct track *t)
{
    for (size_t i = 0; i < t->client_count; i++) {
        const struct sessionlog_client *const c = &t->clients[i];
        size_t at;
        if (!c->user) /* clients past the maximum share no group */
            continue;
        const int code = find_group(t, c, &at);
        if (code < 0)
            return code;
        struct sessionlog_group *const g = &t->groups[at];
        g->open += c->fates[SESSIONLOG_OPEN];
        g->evicted += c->fates[SESSIONLOG_EVICTED];
        g->evicted_s = XK_MAX(g->evicted_s, c->evicted_s);
        if (c->oldest_open_s && (!g->oldest_open_s || c->oldest_open_s < g->oldest_open_s))
            g->oldest_open_s = c->oldest_open_s;
    }
    return 0;
}

static void look_ahead(const struct track *t, struct sessionlog_group *g)
{
    const int64_t span_s = t->sum.last_s - g->oldest_open_s;

    g->eviction_in_s = -1;
    if (g->open < LEFT_MIN || span_s < RATE_SPAN_MIN_S)
        return;
    g->rate_h = (double)g->open * 3600 / (double)span_s;
    if (!g->limit)
        return;
    if (g->open >= g->limit)
        g->eviction_in_s = 0;
    else if (g->rate_h * IDLE_MAX_S / 3600 > (double)g->limit)
        g->eviction_in_s = (int64_t)((double)(g->limit - g->open) / g->rate_h * 3600);
}

double sessionlog_group_share(const struct sessionlog_group *g)
{
    return g->limit ? (double)g->open / (double)g->limit : 0;
}

static int by_share(const void *a, const void *b)
{
    const struct sessionlog_group *const x = a, *const y = b;
    const double share_x = sessionlog_group_share(x), share_y = sessionlog_group_share(y);

    return share_x != share_y ? (share_x > share_y ? -1 : 1) : strcmp(x->name, y->name);
}

int track_weigh(struct track *t)
{
    count_open(t);
    const int code = fill_groups(t);
    for (size_t i = 0; i < t->group_count; i++)
        look_ahead(t, &t->groups[i]);
    if (t->group_count)
        qsort(t->groups, t->group_count, sizeof(*t->groups), by_share);
    if (t->client_count)
        qsort(t->clients, t->client_count, sizeof(*t->clients), by_left);
    t->sum.clients = t->clients;
    t->sum.client_count = t->client_count;
    t->sum.groups = t->groups;
    t->sum.group_count = t->group_count;
    return code;
}
