/*
 * The side that joins. Each step is a request to the master; the next one begins when its reply is there. What was done
 * on the way is taken back when a step fails: the master forgets the records, and the host listens again.
 *
 * Checks in the order of xapi_pool.ml's pre_join_checks (2026-08); those of them that ask the master are its part.
 */
#include "lib/simpool/join.h"

#include "lib/simpool/log.h"
#include "lib/simpool/migrate.h"
#include "lib/simpool/peer.h"
#include "lib/simpool/state.h"

#include <openssl/evp.h>
#include <string.h>

#define DOCUMENT_BYTES_MAX (256u << 10) /* less than a request may have */
#define PART_BYTES         (160u << 10) /* then a document is sent */
#define CUT_MS             100          /* for the reply to leave */
#define RETRY_MS           1000

/* What belongs to a host or lies on it; its devices, the new pool finds by itself. */
static const char *const classes[] = {
    "host",       "host_metrics",     "network", "PIF",         "PIF_metrics", "SR",          "PBD",     "VDI", "VM",
    "VM_metrics", "VM_guest_metrics", "VBD",     "VBD_metrics", "VIF",         "VIF_metrics", "console", "VTPM"};

struct sim_joining {
    const char *base; /* of the master's URLs */
    const char *session;
    char token[SIM_REF_BYTES];
    struct sim_object *next; /* to be sent; NULL: none of its class is left */
    size_t class_at;
    struct sim_disks_going disks;
    bool asked, shut; /* shut: this host listens no more */
    struct xapi_value wrong;
};

struct sim_joined {
    struct simpool *pool;
    char *url, token[SIM_REF_BYTES], uuid[40];
    struct event *timer;
    bool cut;
};

/* ---- requests ---- */

static void put_text(struct xk_buf *b, const char *name, const char *text)
{
    const struct xapi_value v = xapi_str(text);

    xk_buf_printf(b, ",\"%s\":", name);
    xapi_json_value(b, &v);
}

static void begin_step(struct xk_buf *b, const struct sim_call *c, const char *step)
{
    *b = XK_BUF_INIT(DOCUMENT_BYTES_MAX);
    xk_buf_printf(b, "{\"step\":\"%s\"", step);
    put_text(b, "token", c->joining->token);
}

static enum sim_outcome post(struct sim_call *c, const char *path, struct xk_buf *b, sim_peer_done *done)
{
    const struct sim_joining *const j = c->joining;
    const char *const url = xk_arena_printf(&c->arena, "%s%s%s%s", j->base, path, j->session ? "?session_id=" : "",
                                            j->session ? j->session : "");

    if (url)
        return sim_peer_post(c, url, b, done);
    xk_buf_done(b);
    return sim_no_memory(c);
}

static enum sim_outcome post_step(struct sim_call *c, struct xk_buf *b, sim_peer_done *done)
{
    xk_buf_add_char(b, '}');
    return post(c, SIM_JOIN_PATH, b, done);
}

static enum sim_outcome post_call(struct sim_call *c, const char *method, const struct xapi_value *args, size_t count,
                                  sim_peer_done *done)
{
    const struct xapi_call call = {
        .protocol = XAPI_JSON2, .method = method, .params = xapi_list(args, count), .id = xapi_int(1)};
    struct xk_buf b = XK_BUF_INIT(DOCUMENT_BYTES_MAX);
    const char *const url = xk_arena_printf(&c->arena, "%s/jsonrpc", c->joining->base);

    xapi_call_encode(&b, &call);
    if (url)
        return sim_peer_post(c, url, &b, done);
    xk_buf_done(&b);
    return sim_no_memory(c);
}

/* ---- back again ---- */

static bool is_bad(const struct sim_peer_reply *reply)
{
    return reply->code < 0 || reply->reply.failed;
}

static void shut(struct simpool *p, enum http_hearing how)
{
    for (unsigned i = 0; i < p->settings.hosts; i++)
        (void)http_server_hear(p->server, i, how, NULL);
}

static enum sim_outcome logged_out(struct sim_call *c, const struct sim_peer_reply *reply)
{
    c->error = c->joining->wrong;
    return SIM_FAILED;
}

static enum sim_outcome leave(struct sim_call *c, sim_peer_done *done)
{
    const struct xapi_value session = xapi_str(c->joining->session);

    return post_call(c, "session.logout", &session, 1, done);
}

static enum sim_outcome undone(struct sim_call *c, const struct sim_peer_reply *reply)
{
    return leave(c, logged_out);
}

/* The error is recorded. */
static enum sim_outcome give_up(struct sim_call *c)
{
    struct sim_joining *const j = c->joining;
    struct xk_buf b;

    j->wrong = c->error;
    c->pool->joining = false;
    if (j->shut)
        shut(c->pool, HTTP_HEARS);
    j->shut = false;
    if (!j->asked)
        return leave(c, logged_out);
    begin_step(&b, c, "undo");
    return post_step(c, &b, undone);
}

static enum sim_outcome refused(struct sim_call *c, const struct sim_peer_reply *reply)
{
    (void)sim_peer_refuse(c, reply, c->joining->base);
    return give_up(c);
}

/* ---- it has joined ---- */

static void begin_waiting(struct sim_joined *j);

static void later(struct sim_joined *j, unsigned ms)
{
    const struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    (void)event_add(j->timer, &delay);
}

static enum sim_outcome waited(struct sim_call *c, const struct sim_peer_reply *reply)
{
    struct simpool *const p = c->pool;
    const struct xapi_value *const over = is_bad(reply) ? NULL : xapi_map_get(&reply->reply.value, "over");

    if (over && over->shape == XAPI_BOOL && over->truth) {
        p->reborn = true;
        (void)event_base_loopbreak(p->base);
    } else {
        later(p->joined, over ? 0 : RETRY_MS);
    }
    return SIM_DONE;
}

static void begin_waiting(struct sim_joined *j)
{
    struct sim_call *const c = sim_call_new(j->pool);
    struct xk_buf b = XK_BUF_INIT(1024);

    xk_buf_add_str(&b, "{\"step\":\"wait\"");
    put_text(&b, "token", j->token);
    put_text(&b, "uuid", j->uuid);
    xk_buf_add_char(&b, '}');
    if (!c)
        xk_buf_done(&b);
    else if (sim_peer_post(c, j->url, &b, waited) == SIM_WORKING)
        return;
    else
        sim_answer(c, SIM_FAILED);
    later(j, RETRY_MS);
}

/* Nothing of the old pool is left: neither connections nor sessions, nor the file that kept it. */
static void cut(struct sim_joined *j)
{
    struct simpool *const p = j->pool;

    shut(p, HTTP_GONE);
    sim_local_close(p);
    sim_master_forgets(p);
    (void)event_del(p->gc_timer);
    sim_state_close(p);
    if (p->settings.state)
        (void)p->settings.fs->ops->unlink(p->settings.fs, p->settings.state);
    j->cut = true;
}

static void on_joined(evutil_socket_t fd, short what, void *context)
{
    struct sim_joined *const j = context;

    if (!j->cut)
        cut(j);
    begin_waiting(j);
}

static bool joined_new(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_joined *const j = xk_zalloc(sizeof(*j));

    if (!j)
        return false;
    *j = (struct sim_joined){.pool = p,
                             .url = xk_asprintf("%s" SIM_JOIN_PATH, c->joining->base),
                             .timer = evtimer_new(p->base, on_joined, j)};
    memcpy(j->token, c->joining->token, sizeof(j->token));
    snprintf(j->uuid, sizeof(j->uuid), "%s", sim_text(sim_master(p), "uuid"));
    p->joined = j;
    return j->url && j->timer;
}

void sim_joined_close(struct simpool *p)
{
    struct sim_joined *const j = p->joined;

    if (!j)
        return;
    if (j->timer)
        event_free(j->timer);
    free(j->url);
    free(j);
    p->joined = NULL;
}

bool simpool_is_over(const struct simpool *pool)
{
    return pool->reborn;
}

static enum sim_outcome arrived(struct sim_call *c, const struct sim_peer_reply *reply)
{
    later(c->pool->joined, CUT_MS);
    return SIM_DONE;
}

static enum sim_outcome taken(struct sim_call *c, const struct sim_peer_reply *reply)
{
    if (is_bad(reply)) {
        sim_joined_close(c->pool);
        return refused(c, reply);
    }
    return leave(c, arrived);
}

/* The address is free for the master. */
static enum sim_outcome hand_over(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct resolve_address *const address = &p->addresses[p->master];
    xk_auto(xk_buf_done) struct xk_buf identity = XK_BUF_INIT(HTTP_IDENTITY_BYTES_MAX);
    struct xk_buf b;

    begin_step(&b, c, "take");
    put_text(&b, "address", resolve_host_text(address).s);
    xk_buf_printf(&b, ",\"port\":%u", resolve_port(address));
    if (p->identities[p->master] && http_identity_save(&identity, p->identities[p->master], NULL) == 0) {
        xk_autofree char *text = malloc(identity.len / 3 * 4 + 8);
        if (text) {
            (void)EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)identity.data, (int)identity.len);
            put_text(&b, "identity", text);
        }
    }
    if (!joined_new(c)) {
        xk_buf_done(&b);
        sim_joined_close(p);
        (void)sim_no_memory(c);
        return give_up(c);
    }
    shut(p, HTTP_SHUT);
    c->joining->shut = true;
    return post_step(c, &b, taken);
}

/* ---- what disks hold ---- */

static enum sim_outcome next_piece(struct sim_call *c);

static enum sim_outcome piece_sent(struct sim_call *c, const struct sim_peer_reply *reply)
{
    return is_bad(reply) ? refused(c, reply) : next_piece(c);
}

static enum sim_outcome next_piece(struct sim_call *c)
{
    struct xk_buf b;
    const int code = sim_disks_next(c, &c->joining->disks, &b);

    return code < 0 ? give_up(c) : code == 0 ? hand_over(c) : post(c, "/services/SM", &b, piece_sent);
}

/* ---- the records ---- */

static enum sim_outcome send_part(struct sim_call *c);

static bool is_sent(const struct sim_object *o)
{
    return o->class_row != xapi_class_find("VM") || !sim_bool(o, "is_default_template");
}

/* The next object of all classes; NULL: that was all. */
static struct sim_object *next_object(struct sim_call *c)
{
    struct sim_joining *const j = c->joining;

    for (;;) {
        while (!j->next) {
            if (j->class_at == XK_COUNT(classes))
                return NULL;
            j->next = sim_first(c->pool, classes[j->class_at++]);
        }
        struct sim_object *const o = j->next;
        j->next = o->class_next;
        if (is_sent(o))
            return o;
    }
}

static enum sim_outcome made(struct sim_call *c, const struct sim_peer_reply *reply)
{
    if (is_bad(reply))
        return refused(c, reply);
    const struct xapi_value *const vdis = xapi_map_get(&reply->reply.value, "VDIs");
    if (!vdis || vdis->shape != XAPI_MAP)
        return refused(c, &(struct sim_peer_reply){.code = -EPROTO});
    c->joining->disks.vdis = *vdis;
    return next_piece(c);
}

static enum sim_outcome part_sent(struct sim_call *c, const struct sim_peer_reply *reply)
{
    return is_bad(reply) ? refused(c, reply) : send_part(c);
}

static enum sim_outcome send_part(struct sim_call *c)
{
    struct sim_object *o = next_object(c);
    const char *between = "";
    struct xk_buf b;

    begin_step(&b, c, o ? "part" : "make");
    if (!o)
        return post_step(c, &b, made);
    xk_buf_add_str(&b, ",\"objects\":[");
    for (;;) {
        struct xapi_raw raw;
        if (sim_record_as(&raw, o, true) < 0)
            b.error = -ENOMEM;
        xk_buf_printf(&b, "%s{\"class\":\"%s\"", between, xapi_text(o->class_row->name));
        put_text(&b, "ref", o->ref);
        xk_buf_add_str(&b, ",\"record\":");
        if (!b.error)
            xk_buf_add(&b, raw.json, raw.json_bytes);
        xk_buf_add_char(&b, '}');
        between = ",";
        if (b.error || b.len > PART_BYTES || (o = next_object(c)) == NULL)
            break;
    }
    xk_buf_add_char(&b, ']');
    return post_step(c, &b, part_sent);
}

static enum sim_outcome asked(struct sim_call *c, const struct sim_peer_reply *reply)
{
    if (is_bad(reply))
        return refused(c, reply);
    c->joining->asked = true;
    return send_part(c);
}

/* ---- may it join? ---- */

static bool any(const struct simpool *p, const char *class_name)
{
    return sim_first(p, class_name) != NULL;
}

/* What this side knows by itself, once the master is there. NULL: nothing keeps it. */
static const char *why_not(const struct simpool *p)
{
    if (sim_bool(sim_first(p, "pool"), "ha_enabled"))
        return "HA_IS_ENABLED";
    if (p->classes[xapi_class_index(xapi_class_find("host"))].count > 1)
        return "JOINING_HOST_CANNOT_BE_MASTER_OF_OTHER_HOSTS";
    for (const struct sim_object *vm = sim_first(p, "VM"); vm; vm = vm->class_next)
        if (!sim_bool(vm, "is_control_domain") && sim_vm_power(vm) == SIM_IS_RUNNING)
            return "JOINING_HOST_CANNOT_HAVE_RUNNING_VMS";
    for (const struct sim_object *vm = sim_first(p, "VM"); vm; vm = vm->class_next)
        if (sim_get(vm, "current_operations")->count > 0)
            return "JOINING_HOST_CANNOT_HAVE_VMS_WITH_CURRENT_OPERATIONS";
    for (const struct sim_object *sr = sim_first(p, "SR"); sr; sr = sr->class_next)
        if (sim_bool(sr, "shared") && !sim_bool(sr, "is_tools_sr"))
            return "JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS";
    if (any(p, "Bond"))
        return "POOL_JOINING_HOST_HAS_BONDS";
    if (any(p, "tunnel"))
        return "POOL_JOINING_HOST_HAS_TUNNELS";
    if (any(p, "network_sriov"))
        return "POOL_JOINING_HOST_HAS_NETWORK_SRIOVS";
    for (const struct sim_object *vlan = sim_first(p, "VLAN"); vlan; vlan = vlan->class_next) {
        const struct sim_object *const pif = sim_follow(p, vlan, "untagged_PIF");
        if (pif && !sim_bool(pif, "management"))
            return "POOL_JOINING_HOST_HAS_NON_MANAGEMENT_VLANS";
    }
    return NULL;
}

static enum sim_outcome logged_in(struct sim_call *c, const struct sim_peer_reply *reply)
{
    struct simpool *const p = c->pool;
    struct sim_joining *const j = c->joining;
    struct xk_buf b;

    if (reply->code == -EPROTO || (!is_bad(reply) && reply->reply.value.shape != XAPI_TEXT))
        (void)sim_fail(c, "JOINING_HOST_SERVICE_FAILED", NULL);
    else if (reply->code < 0)
        (void)sim_fail(c, "INTERNAL_ERROR", "Unix.Unix_error(Unix.ECONNREFUSED, \"connect\", \"\")", NULL);
    else if (reply->reply.failed)
        (void)sim_peer_refuse(c, reply, j->base);
    if (is_bad(reply) || reply->reply.value.shape != XAPI_TEXT) {
        p->joining = false;
        return SIM_FAILED;
    }
    j->session = xapi_value_text(&reply->reply.value);
    const char *const why = why_not(p);
    if (why) {
        (void)sim_fail(c, why, NULL);
        return give_up(c);
    }
    const struct sim_object *const host = sim_master(p);
    const char *const version = sim_pair(host, "software_version", "product_version");
    begin_step(&b, c, "ask");
    put_text(&b, "uuid", sim_text(host, "uuid"));
    put_text(&b, "product_version", version ? version : "");
    xk_buf_printf(&b, ",\"tls\":%s", p->settings.tls ? "true" : "false");
    return post_step(c, &b, asked);
}

enum sim_outcome sim_join(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    char host[RESOLVE_NAME_BYTES];
    uint16_t port;

    if (p->joining)
        return sim_fail(c, "OTHER_OPERATION_IN_PROGRESS", "pool", sim_first(p, "pool")->ref, NULL);
    if (resolve_split(host, &port, sim_arg_text(c, 0), resolve_port(&p->addresses[p->master]), NULL) < 0)
        return sim_invalid(c, "master_address", sim_arg_text(c, 0));
    c->joining = xk_arena_alloc(&c->arena, sizeof(*c->joining));
    const char *const base =
        xk_arena_printf(&c->arena, "%s://%s:%u", p->settings.tls ? "https" : "http", resolve_url_text(host).s, port);
    if (!c->joining || !base)
        return sim_no_memory(c);
    *c->joining = (struct sim_joining){.base = base};
    sim_new_ref(p, c->joining->token);
    p->joining = true;
    const struct xapi_value args[] = {c->args[1], c->args[2], xapi_str("2.23"), xapi_str("xapi")};
    return post_call(c, "session.login_with_password", args, XK_COUNT(args), logged_in);
}
