/*
 * The side that is joined: what join.c of another program says at SIM_JOIN_PATH.
 *
 * The records are kept until all have come, then made at once with refs of their own; whatever they refer to and is not
 * among them is left out. As on a real master, uuids stay, a network of a host's card is the one of that bridge that
 * there is, and an SR that is known is the same. The host's devices are found when it starts, here.
 *
 * It comes from a program with an administrator's session, and is trusted no more than any other request. Waiting needs
 * no session, which may end, but the token that came with the records.
 * Facts: xapi_pool.ml of xapi (2026-08), create_or_get_…_on_master.
 */
#include "lib/simpool/access.h"
#include "lib/simpool/join.h"
#include "lib/simpool/log.h"
#include "lib/simpool/state.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define JOINERS_MAX         SIMPOOL_HOSTS_MAX
#define RECORDS_BYTES_MAX   (128u << 20) /* of one host, decoded */
#define DOCUMENT_MEMORY_MAX (16u << 20)
#define OBJECTS_MAX         200000u
#define WAIT_S              10 /* then a waiting host hears that it goes on */

struct coming {
    const char *ref;
    const struct xapi_class *class_row;
    const struct xapi_value *record;
    char here[SIM_REF_BYTES];
    bool made; /* here; else it is one that was there */
    bool idle; /* metrics of a machine that does not come, as default templates do not */
};

struct sim_joiner {
    struct simpool *pool;
    char token[SIM_REF_BYTES];
    struct xk_arena arena;
    struct coming *objects; /* by ref, once they are made */
    size_t count, capacity;
    unsigned number; /* of the host; SIMPOOL_HOSTS_MAX: it is not here yet */
    bool made;       /* the objects have been */
    bool over;       /* it was ejected */
    struct http_exchange *waiting;
    struct event *timer;
    struct sim_joiner *next;
};

static const char *word(const struct xapi_value *v, const char *name)
{
    const struct xapi_value *const found = xapi_map_get(v, name);

    return found && found->shape == XAPI_TEXT ? found->text : "";
}

/* ---- replies ---- */

static void reply(struct http_exchange *x, const struct xapi_reply *what)
{
    const struct xapi_call call = {.protocol = XAPI_JSON2, .id = xapi_int(1)};
    struct xk_buf body = XK_BUF_INIT(4u << 20);

    xapi_reply_encode(&body, &call, what, false);
    http_reply(x, &(struct http_reply){.status = 200, .type = "application/json", .headers = ""}, &body);
}

static void refuse(struct http_exchange *x, const char *code, const char *param)
{
    const struct xapi_value texts[] = {xapi_str(code), xapi_str(param ? param : "")};

    reply(x, &(struct xapi_reply){.failed = true, .value = xapi_list(texts, param ? 2 : 1)});
}

static void done(struct http_exchange *x)
{
    reply(x, &(struct xapi_reply){.value = xapi_str("")});
}

static void say_over(struct http_exchange *x, bool over)
{
    const struct xapi_value pair[] = {xapi_str("over"), xapi_bool(over)};

    reply(x, &(struct xapi_reply){.value = xapi_map(pair, 1)});
}

/* ---- who joins ---- */

static struct sim_joiner *find(const struct simpool *p, const char *token)
{
    for (struct sim_joiner *j = p->joiners; j; j = j->next)
        if (strlen(token) == strlen(j->token) && CRYPTO_memcmp(token, j->token, strlen(token)) == 0)
            return j;
    return NULL;
}

static void waiting_end(struct sim_joiner *j, bool over)
{
    struct http_exchange *const x = j->waiting;

    j->waiting = NULL;
    if (j->timer)
        (void)event_del(j->timer);
    if (!x)
        return;
    http_on_gone(x, NULL, NULL);
    say_over(x, over);
}

static void joiner_free(struct sim_joiner *j)
{
    for (struct sim_joiner **at = &j->pool->joiners; *at; at = &(*at)->next)
        if (*at == j) {
            *at = j->next;
            break;
        }
    if (j->waiting)
        http_on_gone(j->waiting, NULL, NULL);
    if (j->timer)
        event_free(j->timer);
    free(j->objects);
    xk_arena_done(&j->arena);
    free(j);
}

void sim_joiners_close(struct simpool *p)
{
    while (p->joiners)
        joiner_free(p->joiners);
}

/* A place without a host, the first that was never used or whose host is gone. */
static unsigned free_number(const struct simpool *p)
{
    for (unsigned i = 0; i < p->settings.hosts; i++)
        if (!sim_host_object(p, i))
            return i;
    return p->settings.hosts;
}

static void ask(struct simpool *p, struct http_exchange *x, const struct xapi_value *doc)
{
    const struct sim_object *const pool = sim_first(p, "pool"), *const master = sim_master(p);
    const char *const version = sim_pair(master, "software_version", "product_version");
    const struct xapi_value *const tls = xapi_map_get(doc, "tls");
    size_t count = 0;

    for (struct sim_joiner *j = p->joiners, *next; j; j = next) {
        next = j->next;
        count++;
        if (j->over) {
            joiner_free(j);
            count--;
        }
    }
    if (sim_bool(pool, "ha_enabled"))
        return refuse(x, "HA_IS_ENABLED", NULL);
    if (sim_find_uuid(p, word(doc, "uuid"), xapi_class_find("host")))
        return refuse(x, "OPERATION_NOT_ALLOWED", "Host cannot become slave of itself");
    if (version && strcmp(version, word(doc, "product_version")) != 0)
        return refuse(x, "POOL_JOINING_HOST_MUST_HAVE_SAME_PRODUCT_VERSION", NULL);
    if (!tls || tls->shape != XAPI_BOOL || tls->truth != p->settings.tls)
        return refuse(x, "POOL_JOINING_HOST_TLS_VERIFICATION_MISMATCH", NULL);
    if (count >= JOINERS_MAX || free_number(p) >= SIMPOOL_HOSTS_MAX)
        return refuse(x, "OPERATION_NOT_ALLOWED", "The pool has as many hosts as it may have");
    struct sim_joiner *const j = xk_zalloc(sizeof(*j));
    if (!j || !*word(doc, "token") || strlen(word(doc, "token")) >= sizeof(j->token) || find(p, word(doc, "token"))) {
        free(j);
        return http_refuse(x, 400);
    }
    *j = (struct sim_joiner){
        .pool = p, .number = SIMPOOL_HOSTS_MAX, .arena = XK_ARENA_INIT(RECORDS_BYTES_MAX), .next = p->joiners};
    memcpy(j->token, word(doc, "token"), strlen(word(doc, "token")) + 1);
    p->joiners = j;
    done(x);
}

/* ---- records ---- */

static bool add(struct sim_joiner *j, const struct xapi_value *v)
{
    const struct xapi_value *const record = xapi_map_get(v, "record");
    const struct xapi_class *const row = xapi_class_find(word(v, "class"));

    if (!row || !record || record->shape != XAPI_MAP || !*word(v, "ref") || j->count == OBJECTS_MAX)
        return false;
    if (j->count == j->capacity) {
        const size_t more = j->capacity ? 2 * j->capacity : 256;
        struct coming *const bigger = xk_realloc(j->objects, more * sizeof(*bigger)); /* OBJECTS_MAX bounds it */
        if (!bigger)
            return false;
        j->objects = bigger;
        j->capacity = more;
    }
    j->objects[j->count++] = (struct coming){.ref = word(v, "ref"), .class_row = row, .record = record};
    return true;
}

static void part(struct sim_joiner *j, struct http_exchange *x)
{
    size_t bytes;
    const char *const body = http_body(x, &bytes);
    struct xapi_value doc;

    if (j->number != SIMPOOL_HOSTS_MAX || xapi_json_decode(&doc, &j->arena, body, bytes, NULL) < 0)
        return http_refuse(x, 400);
    const struct xapi_value *const list = xapi_map_get(&doc, "objects");
    for (size_t i = 0; list && list->shape == XAPI_LIST && i < list->count; i++)
        if (!add(j, &list->items[i]))
            return http_refuse(x, 400);
    done(x);
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct coming *)a)->ref, ((const struct coming *)b)->ref);
}

static const struct coming *find_coming(const struct sim_joiner *j, const char *ref)
{
    const struct coming key = {.ref = ref};

    return j->count ? bsearch(&key, j->objects, j->count, sizeof(*j->objects), compare) : NULL;
}

static bool is_true(const struct xapi_value *record, const char *field)
{
    const struct xapi_value *const v = xapi_map_get(record, field);

    return v && v->shape == XAPI_BOOL && v->truth;
}

static bool is_class(const struct coming *o, const char *name)
{
    return o->class_row == xapi_class_find(name);
}

/* The network of a card, or the one inside hosts: those are the pool's of that bridge. */
static struct sim_object *known_network(const struct sim_joiner *j, const struct coming *o)
{
    const struct xapi_value *const config = xapi_map_get(o->record, "other_config");
    bool same = config && strcmp(word(config, "is_host_internal_management_network"), "true") == 0;

    for (size_t i = 0; i < j->count && !same; i++)
        same = is_class(&j->objects[i], "PIF") && is_true(j->objects[i].record, "physical") &&
               strcmp(word(j->objects[i].record, "network"), o->ref) == 0;
    for (struct sim_object *n = same ? sim_first(j->pool, "network") : NULL; n; n = n->class_next)
        if (sim_is(n, "bridge", word(o->record, "bridge")))
            return n;
    return NULL;
}

static struct sim_object *known(const struct sim_joiner *j, const struct coming *o)
{
    if (is_class(o, "network"))
        return known_network(j, o);
    return is_class(o, "SR") ? sim_find_uuid(j->pool, word(o->record, "uuid"), o->class_row) : NULL;
}

/* What is called otherwise here is called so; what is not here is nothing. */
static const char *here_of(const struct sim_joiner *j, const char *ref)
{
    const struct coming *const o = find_coming(j, ref);

    return o && *o->here ? o->here : SIM_NULL;
}

static bool rename_refs(const struct sim_joiner *j, struct xk_arena *arena, struct xapi_value *v)
{
    const size_t count = v->shape == XAPI_LIST ? v->count : v->shape == XAPI_MAP ? 2u * v->count : 0;

    if (v->shape == XAPI_TEXT && strncmp(v->text, "OpaqueRef:", 10) == 0)
        *v = xapi_str(here_of(j, v->text));
    if (count == 0)
        return true;
    struct xapi_value *const items = xk_arena_alloc(arena, count * sizeof(*items));
    if (!items)
        return false;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        items[kept] = v->items[i];
        if (!rename_refs(j, arena, &items[kept]))
            return false;
        /* A list has no member that is nothing. */
        kept += v->shape == XAPI_MAP || items[kept].shape != XAPI_TEXT || strcmp(items[kept].text, SIM_NULL) != 0 ||
                strcmp(xapi_value_text(&v->items[i]), SIM_NULL) == 0;
    }
    v->items = items;
    if (v->shape == XAPI_LIST)
        v->count = (uint32_t)kept;
    return true;
}

/* All fields but those that the other ends of relations bring about. */
static bool fill(const struct sim_joiner *j, const struct coming *o)
{
    struct simpool *const p = j->pool;
    struct sim_object *const object = sim_find(p, o->here, o->class_row);

    for (unsigned i = 0; object && i < o->class_row->fields; i++) {
        const struct xapi_field *const field = &xapi_fields[o->class_row->first_field + i];
        const struct xapi_value *const given = xapi_map_get(o->record, xapi_text(field->name));
        xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(DOCUMENT_MEMORY_MAX);
        struct xapi_value v;
        if (!given || i == o->class_row->uuid ||
            (field->other != XAPI_NONE && xapi_type_of(field->type)->kind == XAPI_SET))
            continue;
        v = *given;
        if (!rename_refs(j, &arena, &v))
            return false;
        struct xapi_value fit;
        const int code = sim_fit(&fit, &arena, field->type, &v);
        if (code == -ENOMEM)
            return false;
        if (code >= 0)
            sim_put_at(p, object, i, &fit);
    }
    return object != NULL;
}

/* A network that is only its host's has a bridge that no other one has. */
static void name_bridge(struct simpool *p, struct sim_object *network)
{
    for (unsigned number = 0;; number++) {
        char bridge[24];
        snprintf(bridge, sizeof(bridge), "xapi%u", number);
        const struct sim_object *n = sim_first(p, "network");
        while (n && !sim_is(n, "bridge", bridge))
            n = n->class_next;
        if (n)
            continue;
        sim_put_text(p, network, "bridge", bridge);
        return;
    }
}

static bool has_bridge(const struct simpool *p, const struct sim_object *network)
{
    for (const struct sim_object *n = sim_first(p, "network"); n; n = n->class_next)
        if (n != network && sim_is(n, "bridge", sim_text(network, "bridge")))
            return true;
    return false;
}

static void forget_all(struct sim_joiner *j)
{
    for (size_t i = j->count; i-- > 0;) {
        struct sim_object *const o =
            j->objects[i].made ? sim_find(j->pool, j->objects[i].here, j->objects[i].class_row) : NULL;
        if (o)
            sim_delete(j->pool, o);
    }
    j->count = 0;
}

static void find_idle(struct sim_joiner *j)
{
    static const char *const fields[] = {"metrics", "guest_metrics"};

    for (size_t i = 0; i < j->count; i++)
        j->objects[i].idle = is_class(&j->objects[i], "VM_metrics") || is_class(&j->objects[i], "VM_guest_metrics");
    for (size_t i = 0; i < j->count; i++)
        for (size_t f = 0; is_class(&j->objects[i], "VM") && f < XK_COUNT(fields); f++) {
            const struct coming *const metrics = find_coming(j, word(j->objects[i].record, fields[f]));
            if (metrics)
                j->objects[metrics - j->objects].idle = false;
        }
}

static bool make_objects(struct sim_joiner *j)
{
    struct simpool *const p = j->pool;

    find_idle(j);
    for (size_t i = 0; i < j->count; i++) {
        struct coming *const o = &j->objects[i];
        if (o->idle)
            continue;
        const struct sim_object *const there = known(j, o);
        struct sim_object *const fresh = there ? NULL : sim_create(p, xapi_text(o->class_row->name));
        if (!there && !fresh)
            return false;
        memcpy(o->here, there ? there->ref : fresh->ref, sizeof(o->here));
        o->made = fresh != NULL;
        const char *const uuid = word(o->record, "uuid");
        if (fresh && strlen(uuid) == 36 && !sim_find_uuid(p, uuid, o->class_row))
            sim_put_uuid(p, fresh, uuid);
    }
    for (size_t i = 0; i < j->count; i++)
        if (j->objects[i].made && !fill(j, &j->objects[i]))
            return false;
    for (size_t i = 0; i < j->count; i++) {
        struct sim_object *const o = sim_find(p, j->objects[i].here, j->objects[i].class_row);
        if (!o || !j->objects[i].made)
            continue;
        if (is_class(&j->objects[i], "network") && has_bridge(p, o))
            name_bridge(p, o);
        if (is_class(&j->objects[i], "host"))
            sim_put_bool(p, o, "enabled", false);
        if (is_class(&j->objects[i], "host_metrics"))
            sim_put_bool(p, o, "live", false);
    }
    return p->error == 0;
}

static void make(struct sim_joiner *j, struct http_exchange *x)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&j->arena);
    struct simpool *const p = j->pool;
    struct xapi_value v;

    if (j->number != SIMPOOL_HOSTS_MAX || j->made)
        return http_refuse(x, 400);
    j->made = true;
    if (j->count)
        qsort(j->objects, j->count, sizeof(*j->objects), compare);
    bool good = make_objects(j);
    xapi_build_open(&b, XAPI_MAP);
    xapi_build_text(&b, "VDIs");
    xapi_build_open(&b, XAPI_MAP);
    for (size_t i = 0; i < j->count; i++)
        if (is_class(&j->objects[i], "VDI") && j->objects[i].made) {
            xapi_build_text(&b, j->objects[i].ref);
            xapi_build_text(&b, j->objects[i].here);
        }
    xapi_build_close(&b);
    xapi_build_close(&b);
    good = good && xapi_build_end(&b, &v) == 0 && sim_state_flush(p, NULL) == 0;
    if (good)
        return reply(x, &(struct xapi_reply){.value = v});
    p->error = 0;
    forget_all(j);
    http_refuse(x, 500);
}

/* ---- the host ---- */

static struct http_identity *identity_of(const struct xapi_value *doc)
{
    const char *const text = word(doc, "identity");
    const size_t len = strlen(text);
    xk_autofree uint8_t *bytes = len && len % 4 == 0 ? malloc(len) : NULL;
    struct http_identity *id = NULL;
    int got = bytes ? EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len) : -1;

    if (got > 0)
        got -= (text[len - 1] == '=') + (text[len - 2] == '=');
    if (got > 0)
        (void)http_identity_load(&id, bytes, (size_t)got, NULL);
    if (bytes)
        OPENSSL_cleanse(bytes, len);
    return id;
}

/* Listen where it did. returns   0; why that cannot be. */
static int open_host(struct simpool *p, unsigned number, const struct xapi_value *doc, struct xk_err *err)
{
    const struct xapi_value *const port = xapi_map_get(doc, "port");
    struct resolve_address address;

    if (resolve_literal(&address, word(doc, "address")) < 0 || !port || port->shape != XAPI_INT || port->integer <= 0 ||
        port->integer > 65535)
        return xk_fail(err, -EINVAL, "'%s' is no address", word(doc, "address"));
    resolve_port_set(&address, (uint16_t)port->integer);
    struct http_identity *const id = p->settings.tls ? identity_of(doc) : NULL;
    if (p->settings.tls && !id)
        return xk_fail(err, -EINVAL, "its certificate cannot be read");
    http_server_forget(p->server, number);
    const int code = http_server_listen(p->server, &address, number, id, err);
    if (code < 0) {
        http_identity_free(id);
        return code;
    }
    p->addresses[number] = address;
    http_identity_free(p->identities[number]);
    p->identities[number] = id;
    return 0;
}

static void take(struct sim_joiner *j, struct http_exchange *x, const struct xapi_value *doc)
{
    struct simpool *const p = j->pool;
    const unsigned number = free_number(p);
    struct sim_object *host = NULL;
    struct xk_err why = {0};

    for (size_t i = 0; i < j->count && !host; i++)
        host = is_class(&j->objects[i], "host") ? sim_find(p, j->objects[i].here, NULL) : NULL;
    if (!host || j->number != SIMPOOL_HOSTS_MAX || number >= SIMPOOL_HOSTS_MAX)
        return http_refuse(x, 400);
    if (open_host(p, number, doc, &why) < 0)
        return refuse(x, "INTERNAL_ERROR", why.text);
    j->number = number;
    p->settings.hosts = XK_MAX(p->settings.hosts, number + 1);
    memcpy(p->host_refs[number], host->ref, sizeof(host->ref));
    p->skew_ns[number] = 0;
    sim_member_open(p, number);
    sim_put_text(p, host, "address", word(doc, "address"));
    sim_put_bool(p, host, "enabled", true);
    sim_seed_devices(p, host);
    sim_identities_tell(p);
    sim_log_join(p, number);
    sim_log_start(p, number);
    sim_host_allowed(p, host);
    sim_ha_update(p);
    free(j->objects);
    j->objects = NULL;
    j->count = j->capacity = 0;
    xk_arena_done(&j->arena);
    j->arena = XK_ARENA_INIT(DOCUMENT_MEMORY_MAX);
    done(x);
}

/* The program that was the host is gone: nobody answers there. */
static void on_gone(void *context)
{
    struct sim_joiner *const j = context;

    j->waiting = NULL;
    (void)event_del(j->timer);
    if (!j->over && j->number < SIMPOOL_HOSTS_MAX && sim_host_object(j->pool, j->number))
        sim_member_stop(j->pool, j->number, SIM_STOP_CRASH, 0);
}

static void on_waited(evutil_socket_t fd, short what, void *context)
{
    waiting_end(context, false);
}

static void wait_for(struct simpool *p, struct http_exchange *x, const struct xapi_value *doc)
{
    const struct timeval limit = {.tv_sec = WAIT_S};
    struct sim_joiner *const j = find(p, word(doc, "token"));

    if (!j || j->number == SIMPOOL_HOSTS_MAX || j->over)
        return say_over(x, !sim_find_uuid(p, word(doc, "uuid"), xapi_class_find("host")));
    waiting_end(j, false);
    if (!j->timer)
        j->timer = evtimer_new(p->base, on_waited, j);
    if (!j->timer || event_add(j->timer, &limit) < 0)
        return http_refuse(x, 500);
    j->waiting = x;
    http_on_gone(x, on_gone, j);
}

void sim_join_ejected(struct simpool *p, unsigned host)
{
    for (struct sim_joiner *j = p->joiners; j; j = j->next)
        if (j->number == host) {
            http_server_forget(p->server, host);
            j->number = SIMPOOL_HOSTS_MAX;
            j->over = true;
            waiting_end(j, true);
        }
}

/* ---- requests ---- */

static void handle(struct simpool *p, struct http_exchange *x, const struct xapi_value *doc)
{
    struct sim_joiner *const j = find(p, word(doc, "token"));
    const char *const step = word(doc, "step");

    if (strcmp(step, "wait") == 0)
        return wait_for(p, x, doc);
    if (!sim_http_allowed(p, x, "post_remote_db_access", XAPI_ROLE_PA))
        return;
    if (strcmp(step, "ask") == 0)
        return ask(p, x, doc);
    if (!j)
        return http_refuse(x, 400);
    if (strcmp(step, "part") == 0)
        return part(j, x);
    if (strcmp(step, "make") == 0)
        return make(j, x);
    if (strcmp(step, "take") == 0)
        return take(j, x, doc);
    if (strcmp(step, "undo") != 0 || j->number != SIMPOOL_HOSTS_MAX)
        return http_refuse(x, 400);
    forget_all(j);
    joiner_free(j);
    done(x);
}

void sim_join_in(struct simpool *p, struct http_exchange *x)
{
    size_t bytes;
    const char *const body = http_body(x, &bytes);
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(DOCUMENT_MEMORY_MAX);
    struct xapi_value doc;

    if (!sim_is_master(p, http_tag(x)) || xapi_json_decode(&doc, &arena, body, bytes, NULL) < 0 ||
        doc.shape != XAPI_MAP)
        return http_refuse(x, 400);
    handle(p, x, &doc);
}
