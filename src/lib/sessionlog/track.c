/*
 * Open sessions stand in a table by their trackid; one that ends leaves it for the list of kept ones, which is handed
 * out in the order of creation at the end, or, once there are too many, at once. Of an ended one only its identity is
 * remembered, so that the second line about its end, or a copy of the log, does not count twice; these identities are
 * kept in two generations, the older of which is forgotten when the younger one is full.
 *
 * Pieces may come in an order that the stamps do not tell (equal seconds, a clock that was set back). So an end without
 * a creation is kept by identity, and a creation that comes later takes it from there.
 */
#include "lib/sessionlog/track.h"

#include "core/text.h"

#include <string.h>

#define DAY_S         INT64_C(86400)
#define IN_USE_S      900 /* last use is written down every 10 minutes at least; half of that is for slow collectors */
#define ANCHOR_YEARS  60
#define HOST_MAX      256

#define WORD(literal) literal, sizeof(literal) - 1

/* ---- names ---- */

const char *sessionlog_via_name(enum sessionlog_via via)
{
    static const char *const names[] = {"INTERNAL", "INET", "UNIX"};
    return names[via];
}

const char *sessionlog_fate_name(enum sessionlog_fate fate)
{
    static const char *const names[] = {"open", "logout", "gc-age", "gc-limit", "restart"};
    return names[fate];
}

void sessionlog_id_text(char ret[2 * SESSIONLOG_ID_BYTES + 1], const uint8_t id[SESSIONLOG_ID_BYTES])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < SESSIONLOG_ID_BYTES; i++) {
        ret[2 * i] = digits[id[i] >> 4];
        ret[2 * i + 1] = digits[id[i] & 15];
    }
    ret[2 * SESSIONLOG_ID_BYTES] = '\0';
}

/* ---- lifetime ---- */

void track_init(struct track *t, const struct sessionlog_settings *settings, uint64_t seed)
{
    *t = (struct track){.settings = settings};
    t->open.seed = t->closed.seed = t->closed_before.seed = t->unseen.seed = seed;
    t->client_index.seed = t->restarts.seed = seed;
}

static struct sessionlog_session *session_at(const struct ids *table, size_t slot)
{
    return table->slots[slot].value ? (struct sessionlog_session *)(uintptr_t)(table->slots[slot].value - 1) : NULL;
}

void track_done(struct track *t)
{
    for (size_t i = 0; i < t->open.capacity; i++)
        free(session_at(&t->open, i));
    for (size_t i = 0; i < t->kept_count; i++)
        free(t->kept[i]);
    for (size_t i = 0; t->auths && i < TRACK_AUTH_SETS * TRACK_AUTH_WAYS; i++)
        free(t->auths[i].text);
    for (size_t i = 0; i < t->client_count; i++)
        free((char *)(uintptr_t)t->clients[i].user);
    for (size_t i = 0; i < t->group_count; i++)
        free(t->groups[i].name);
    for (size_t i = 0; i < t->limit_count; i++)
        free(t->limits[i].group);
    ids_done(&t->open);
    ids_done(&t->closed);
    ids_done(&t->closed_before);
    ids_done(&t->unseen);
    ids_done(&t->client_index);
    ids_done(&t->restarts);
    free(t->unseen_ids);
    free(t->kept);
    free(t->auths);
    free(t->clients);
    free(t->groups);
    *t = (struct track){0};
}

/* ---- time ---- */

void track_begin_piece(struct track *t, size_t piece, int64_t first_s)
{
    t->piece = piece;
    t->time_s = first_s;
}

/* The stamp in the year that brings it nearest to the line before. */
static int64_t place(const struct sessionlog_stamp *stamp, int64_t near_s)
{
    if (stamp->year)
        return sessionlog_stamp_s(stamp, stamp->year);
    const int year = sessionlog_year_of(near_s);
    int64_t best_s = sessionlog_stamp_s(stamp, year);
    for (int y = year - 1; y <= year + 1; y += 2) {
        const int64_t s = sessionlog_stamp_s(stamp, y);
        if (llabs(s - near_s) < llabs(best_s - near_s))
            best_s = s;
    }
    return best_s;
}

/*
 * The collector writes with the year when a session was used last; it ends a session at most some days after that. So
 * the first such line tells in which year the others are.
 */
static void learn_year(struct track *t, const struct sessionlog_line *line)
{
    if (t->shift_known || t->has_years || t->streaming || !line->active_s)
        return;
    int64_t now_s = t->time_s;
    int years = sessionlog_year_of(line->active_s) - sessionlog_year_of(now_s);
    now_s = sessionlog_shift_years(now_s, years);
    if (now_s < line->active_s - DAY_S)
        years++;
    t->shift_known = true;
    t->shift_years = years > -ANCHOR_YEARS && years < ANCHOR_YEARS ? years : 0;
}

/* Last use as the collector says it, among the times of the log. */
static int64_t place_active(const struct track *t, int64_t active_s)
{
    return t->has_years ? active_s : sessionlog_shift_years(active_s, -t->shift_years);
}

/* ---- handing out ---- */

static void shift_times(const struct track *t, struct sessionlog_session *s)
{
    if (!t->shift_years)
        return;
    s->created_s = sessionlog_shift_years(s->created_s, t->shift_years);
    s->last_seen_s = sessionlog_shift_years(s->last_seen_s, t->shift_years);
    s->ended_s = sessionlog_shift_years(s->ended_s, t->shift_years);
}

/* Takes the session, whatever happens. */
static int hand_out(struct track *t, struct sessionlog_session *s)
{
    int code = 0;

    if (t->settings->ended) {
        shift_times(t, s);
        code = t->settings->ended(t->settings->context, s);
    }
    free(s);
    return code;
}

static int by_number(const void *a, const void *b)
{
    const struct sessionlog_session *const x = *(struct sessionlog_session *const *)a;
    const struct sessionlog_session *const y = *(struct sessionlog_session *const *)b;

    return x->number < y->number ? -1 : x->number > y->number;
}

static int hand_out_kept(struct track *t)
{
    int code = 0;

    if (t->kept_count)
        qsort(t->kept, t->kept_count, sizeof(struct sessionlog_session *), by_number);
    for (size_t i = 0; i < t->kept_count; i++) {
        if (code == 0)
            code = hand_out(t, t->kept[i]);
        else
            free(t->kept[i]);
    }
    t->kept_count = 0;
    return code;
}

/* Takes the session unless memory is out. */
static int keep(struct track *t, struct sessionlog_session *s)
{
    if (t->streaming)
        return hand_out(t, s);
    if (t->kept_count == t->kept_capacity) {
        const size_t capacity = t->kept_capacity ? t->kept_capacity * 2 : 256;
        struct sessionlog_session **const bigger = xk_realloc(t->kept, capacity * sizeof(*bigger));
        if (!bigger) {
            free(s);
            return -ENOMEM;
        }
        t->kept = bigger;
        t->kept_capacity = capacity;
    }
    t->kept[t->kept_count++] = s;
    if (t->kept_count < SESSIONLOG_KEPT_MAX)
        return 0;
    t->streaming = true;
    return hand_out_kept(t);
}

static int tell(struct track *t, enum sessionlog_what what, const struct sessionlog_session *session,
                uint64_t client_open)
{
    if (!t->settings->event)
        return 0;
    struct sessionlog_session shifted;
    if (session) {
        shifted = *session;
        shift_times(t, &shifted);
    }
    const struct sessionlog_event event = {
        .what = what,
        .time_s = sessionlog_shift_years(t->time_s, t->shift_years),
        .session = session ? &shifted : NULL,
        .open = t->open.count,
        .client_open = client_open,
    };
    return t->settings->event(t->settings->context, &event);
}

/* ---- ends ---- */

static uint64_t pack(enum sessionlog_fate fate, uint32_t client, bool in_use)
{
    return (uint64_t)client << 4 | (uint64_t)fate << 1 | in_use;
}

static int remember_closed(struct track *t, const struct sessionlog_session *s)
{
    if (t->closed.count >= TRACK_CLOSED_MAX) {
        ids_done(&t->closed_before);
        t->closed_before = t->closed;
        t->closed = (struct ids){.seed = t->closed.seed};
    }
    return ids_put(&t->closed, s->id, pack(s->fate, s->client, s->in_use));
}

static bool was_closed(const struct track *t, const uint8_t id[SESSIONLOG_ID_BYTES], uint64_t *ret)
{
    return ids_find(&t->closed, id, ret) || ids_find(&t->closed_before, id, ret);
}

static void count_end(struct track *t, const struct sessionlog_session *s)
{
    struct sessionlog_client *const c = &t->clients[s->client];

    t->sum.fates[SESSIONLOG_OPEN]--;
    t->sum.fates[s->fate]++;
    c->fates[SESSIONLOG_OPEN]--;
    c->fates[s->fate]++;
    c->in_use += s->in_use;
    t->sum.in_use += s->in_use;
    if (s->fate == SESSIONLOG_EVICTED)
        c->evicted_s = s->ended_s;
    if (s->fate == SESSIONLOG_LOGOUT && s->ended_s > s->created_s)
        c->lifetime_s += (uint64_t)(s->ended_s - s->created_s);
}

/* Takes the session out of the open ones. */
static int end_session(struct track *t, struct sessionlog_session *s, enum sessionlog_fate fate, int64_t active_s)
{
    ids_remove(&t->open, s->id);
    s->fate = fate;
    s->ended_s = t->time_s;
    if (fate == SESSIONLOG_LOGOUT)
        s->last_seen_s = t->time_s;
    else if (active_s)
        s->last_seen_s = XK_MAX(s->last_seen_s, active_s);
    s->in_use = fate == SESSIONLOG_EVICTED && active_s && t->time_s - active_s <= IN_USE_S;
    count_end(t, s);
    int code = remember_closed(t, s);
    if (code == 0)
        code = tell(t, SESSIONLOG_WAS_ENDED, s, t->clients[s->client].fates[SESSIONLOG_OPEN]);
    if (code < 0) {
        free(s);
        return code;
    }
    return keep(t, s);
}

static int add_unseen(struct track *t, const uint8_t id[SESSIONLOG_ID_BYTES], enum sessionlog_fate fate)
{
    if (t->unseen_count == SESSIONLOG_UNSEEN_MAX) {
        t->sum.uncounted++;
        return 0;
    }
    if (t->unseen_count == t->unseen_capacity) {
        const size_t capacity = t->unseen_capacity ? t->unseen_capacity * 2 : 64;
        uint8_t(*const bigger)[SESSIONLOG_ID_BYTES] = xk_realloc(t->unseen_ids, capacity * sizeof(*bigger));
        if (!bigger)
            return -ENOMEM;
        t->unseen_ids = bigger;
        t->unseen_capacity = capacity;
    }
    memcpy(t->unseen_ids[t->unseen_count], id, SESSIONLOG_ID_BYTES);
    const int code = ids_put(&t->unseen, id, (uint64_t)t->unseen_count << 4 | (uint64_t)fate);
    if (code < 0)
        return code;
    t->unseen_count++;
    struct sessionlog_session s = {.fate = fate, .ended_s = t->time_s, .user = "", .originator = "", .host = ""};
    memcpy(s.id, id, sizeof(s.id));
    return tell(t, SESSIONLOG_WAS_UNSEEN, &s, 0);
}

static int see_end(struct track *t, const struct sessionlog_line *line, enum sessionlog_fate fate)
{
    uint64_t found;

    learn_year(t, line);
    const int64_t active_s = line->active_s ? place_active(t, line->active_s) : 0;
    if (ids_find(&t->open, line->id, &found))
        return end_session(t, (struct sessionlog_session *)(uintptr_t)found, fate, active_s);
    if (was_closed(t, line->id, NULL) || ids_find(&t->unseen, line->id, NULL))
        return 0;
    return add_unseen(t, line->id, fate);
}

/* ---- creations ---- */

static char *add_text(char **at, struct sessionlog_text text)
{
    char *const begin = *at;

    memcpy(begin, text.at ? text.at : "", text.bytes);
    begin[text.bytes] = '\0';
    *at += text.bytes + 1;
    return begin;
}

/* The session and its texts in one block. */
static struct sessionlog_session *make_session(const struct track *t, const struct sessionlog_line *line, char *auth)
{
    const char *const origin = auth ? track_find_origin(auth, line->user) : NULL;
    const char *const agent = track_find_agent(origin);
    const size_t agent_bytes = agent ? strlen(agent) : 0;
    const struct sessionlog_text host = {line->host.at, XK_MIN(line->host.bytes, (size_t)HOST_MAX)};
    struct sessionlog_session *const s =
        xk_zalloc(sizeof(*s) + line->user.bytes + line->originator.bytes + host.bytes + agent_bytes + 4);

    if (!s)
        return NULL;
    char *at = (char *)(s + 1);
    memcpy(s->id, line->id, sizeof(s->id));
    memcpy(s->parent, line->parent, sizeof(s->parent));
    s->has_parent = line->has_parent;
    s->pool = line->pool;
    s->via = track_via(line->thread, origin);
    s->user = add_text(&at, line->user);
    s->originator = add_text(&at, line->originator);
    s->host = add_text(&at, host);
    s->user_agent = agent ? add_text(&at, (struct sessionlog_text){agent, agent_bytes}) : NULL;
    s->created_s = s->last_seen_s = t->time_s;
    return s;
}

static void count_creation(struct track *t, const struct sessionlog_session *s)
{
    struct sessionlog_client *const c = &t->clients[s->client];

    t->sum.sessions++;
    t->sum.fates[SESSIONLOG_OPEN]++;
    if (!c->created++)
        c->first_s = s->created_s;
    c->last_s = s->created_s;
    c->fates[SESSIONLOG_OPEN]++;
    if (t->open.count > t->sum.peak_open) {
        t->sum.peak_open = t->open.count;
        t->sum.peak_s = t->time_s;
    }
}

/* Its parent was used to make it. */
static void touch_parent(const struct track *t, const struct sessionlog_session *s)
{
    uint64_t found;

    if (s->has_parent && ids_find(&t->open, s->parent, &found))
        ((struct sessionlog_session *)(uintptr_t)found)->last_seen_s = t->time_s;
}

static int see_creation(struct track *t, const struct sessionlog_line *line)
{
    uint64_t unseen = 0;

    if (ids_find(&t->open, line->id, NULL) || was_closed(t, line->id, NULL))
        return 0;
    if (t->open.count >= SESSIONLOG_OPEN_MAX) {
        t->sum.uncounted++;
        return 0;
    }
    t->has_originators |= line->has_originator;
    xk_autofree char *auth = track_take_login(t, line->task);
    struct sessionlog_session *const s = make_session(t, line, auth);
    if (!s)
        return -ENOMEM;
    s->number = t->next_number++;
    int code = track_find_client(t, s);
    if (code == 0)
        code = ids_put(&t->open, s->id, (uint64_t)(uintptr_t)s);
    if (code < 0) {
        free(s);
        return code;
    }
    count_creation(t, s);
    touch_parent(t, s);
    code = tell(t, SESSIONLOG_WAS_CREATED, s, t->clients[s->client].fates[SESSIONLOG_OPEN]);
    if (code < 0 || !ids_find(&t->unseen, s->id, &unseen))
        return code;
    ids_remove(&t->unseen, s->id);
    return end_session(t, s, (enum sessionlog_fate)(unseen & 15), 0);
}

/* ---- the rest ---- */

/* A host that is not named on one of both sides is any host. */
static bool is_of_host(const struct sessionlog_session *s, struct sessionlog_text host)
{
    return !host.bytes || !*s->host || sessionlog_text_is(host, s->host, strlen(s->host));
}

/* A copy of the log tells of the same restart again, and must not end what began after it. */
static int is_known_restart(struct track *t, const char *line, size_t bytes, bool *ret)
{
    const struct sessionlog_text whole = {line, bytes};
    uint8_t hash[SESSIONLOG_ID_BYTES];
    uint64_t piece;

    track_hash(hash, t->restarts.seed, &whole, 1);
    if (ids_find(&t->restarts, hash, &piece)) {
        *ret = piece != t->piece;
        return 0;
    }
    *ret = false;
    return t->restarts.count < TRACK_RESTARTS_MAX ? ids_put(&t->restarts, hash, t->piece) : 0;
}

static int see_restart(struct track *t, const struct sessionlog_line *line, const char *whole, size_t bytes)
{
    bool known;
    size_t count = 0;

    int code = is_known_restart(t, whole, bytes, &known);
    if (code < 0 || known)
        return code;
    t->sum.restarts += line->repeated;
    /* At least one, so that no session at all is no error. */
    xk_autofree struct sessionlog_session **ended = xk_array_alloc(t->open.count + 1, sizeof(*ended));
    if (!ended)
        return -ENOMEM;
    for (size_t i = 0; i < t->open.capacity; i++) {
        struct sessionlog_session *const s = session_at(&t->open, i);
        if (s && is_of_host(s, line->host))
            ended[count++] = s;
    }
    qsort(ended, count, sizeof(*ended), by_number);
    for (size_t i = 0; code == 0 && i < count; i++)
        code = end_session(t, ended[i], SESSIONLOG_RESTARTED, 0);
    return code < 0 ? code : tell(t, SESSIONLOG_HAS_RESTARTED, NULL, 0);
}

static int see_limit(struct track *t, const struct sessionlog_line *line)
{
    t->has_groups |= line->grouped;
    for (size_t i = 0; i < t->limit_count; i++) {
        struct track_limit *const l = &t->limits[i];
        if (l->group && line->grouped && sessionlog_text_is(line->text, l->group, strlen(l->group)))
            l->limit = line->limit;
        else if (l->group || line->grouped || l->limit != line->limit)
            continue;
        return 0;
    }
    if (t->limit_count == TRACK_LIMITS_MAX)
        return 0;
    struct track_limit *const l = &t->limits[t->limit_count];
    l->group = line->grouped ? xk_strndup(line->text.at, line->text.bytes) : NULL;
    if (line->grouped && !l->group)
        return -ENOMEM;
    l->limit = line->limit;
    t->limit_count++;
    return 0;
}

/* A call with the reference of a session that the collector had ended: its user had not finished. */
static int see_refusal(struct track *t, const struct sessionlog_line *line)
{
    uint64_t found;

    if (!was_closed(t, line->id, &found))
        return 0;
    const enum sessionlog_fate fate = (enum sessionlog_fate)(found >> 1 & 7);
    if (fate != SESSIONLOG_AGED && fate != SESSIONLOG_EVICTED)
        return 0;
    t->sum.refused++;
    if ((found & 1) || fate != SESSIONLOG_EVICTED)
        return 0;
    t->clients[found >> 4].in_use++;
    t->sum.in_use++;
    return ids_put(ids_find(&t->closed, line->id, NULL) ? &t->closed : &t->closed_before, line->id, found | 1);
}

int track_line(struct track *t, const char *bytes, size_t count)
{
    struct sessionlog_line line;

    t->sum.lines++;
    if (!sessionlog_line_parse(&line, bytes, count))
        return 0;
    t->time_s = place(&line.stamp, t->time_s);
    t->has_years |= line.stamp.year != 0;
    t->has_groups |= line.grouped;
    switch (line.kind) {
    case SESSIONLOG_NOTHING:
        return 0;
    case SESSIONLOG_AUTH:
        return track_remember_login(t, &line);
    case SESSIONLOG_CREATE:
        return see_creation(t, &line);
    case SESSIONLOG_DESTROY:
        return see_end(t, &line, SESSIONLOG_LOGOUT);
    case SESSIONLOG_GC_AGE:
        return see_end(t, &line, SESSIONLOG_AGED);
    case SESSIONLOG_GC_LIMIT:
        return see_end(t, &line, SESSIONLOG_EVICTED);
    case SESSIONLOG_EXCEEDS:
        return see_limit(t, &line);
    case SESSIONLOG_REFUSED:
        return see_refusal(t, &line);
    case SESSIONLOG_RESTART:
        return see_restart(t, &line, bytes, count);
    }
    return 0;
}

/* ---- the end ---- */

static int hand_out_open(struct track *t)
{
    const size_t first = t->kept_count;
    size_t count = 0;

    struct sessionlog_session **const all = xk_realloc(t->kept, (first + t->open.count + 1) * sizeof(*all));
    if (!all)
        return -ENOMEM;
    t->kept = all;
    t->kept_capacity = first + t->open.count + 1;
    for (size_t i = 0; i < t->open.capacity; i++) {
        struct sessionlog_session *const s = session_at(&t->open, i);
        if (s)
            all[first + count++] = s;
    }
    t->kept_count += count;
    ids_done(&t->open);
    return hand_out_kept(t);
}

/* Those that no creation claimed, in their order. */
static void settle_unseen(struct track *t)
{
    size_t count = 0;

    for (size_t i = 0; i < t->unseen_count; i++) {
        if (ids_find(&t->unseen, t->unseen_ids[i], NULL))
            memmove(t->unseen_ids[count++], t->unseen_ids[i], SESSIONLOG_ID_BYTES);
    }
    t->unseen_count = count;
    t->sum.unseen = (const uint8_t(*)[SESSIONLOG_ID_BYTES])t->unseen_ids;
    t->sum.unseen_count = count;
}

static void shift_summary(struct track *t)
{
    int64_t *const times[] = {&t->sum.first_s, &t->sum.last_s, &t->sum.peak_s};

    for (size_t i = 0; i < XK_COUNT(times); i++) {
        if (*times[i])
            *times[i] = sessionlog_shift_years(*times[i], t->shift_years);
    }
}

int track_finish(struct track *t)
{
    int code = track_weigh(t);

    shift_summary(t);
    if (code == 0)
        code = hand_out_open(t);
    settle_unseen(t);
    return code;
}
