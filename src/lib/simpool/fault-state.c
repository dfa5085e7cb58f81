/*
 * Faults that are states of the pool: hosts that are dead, late or old, tasks that do not end, clients that leak,
 * storage that is full, another master.
 *
 * What changes records keeps what was there before and puts it back in the end, unless somebody else has changed it
 * meanwhile.
 */
#include "lib/simpool/fault.h"

#include "lib/simpool/era.h"
#include "lib/simpool/hosts.h"
#include "lib/simpool/log.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define CERTIFICATE_AGE_S (INT64_C(400) * 86400)
#define CERTIFICATE_END_S (INT64_C(30) * 86400) /* since when it is expired */
#define TICK_US_MIN       1000
#define LOGINS_MAX        1000 /* at once, when time runs fast */
#define STUCK_NAME        "Async.VM.clean_shutdown"
#define STUCK_PROGRESS    0.3

static struct sim_object *host_of(const struct sim_fault *f)
{
    return sim_find(f->pool, f->pool->host_refs[f->host - 1], xapi_class_find("host"));
}

/* ---- records ---- */

static void change(struct sim_fault *f, struct sim_object *o, const char *field, const struct xapi_value *v)
{
    const unsigned place = xapi_field_place(o->class_row, field);

    if (f->saved_count == SIM_FAULT_SAVED_MAX || xapi_value_same(&o->fields[place]->value, v))
        return;
    struct sim_saved *const s = &f->saved[f->saved_count++];
    memcpy(s->ref, o->ref, sizeof(s->ref));
    s->place = place;
    s->value = xapi_packed_ref(o->fields[place]);
    sim_put_at(f->pool, o, place, v);
}

static void change_back(struct sim_fault *f)
{
    while (f->saved_count > 0) {
        struct sim_saved *const s = &f->saved[--f->saved_count];
        struct sim_object *const o = sim_find(f->pool, s->ref, NULL);
        if (o)
            sim_put_at(f->pool, o, s->place, &s->value->value);
        xapi_packed_unref(s->value);
    }
}

/* The text under a key of a map of texts, put in or changed. */
static void change_map(struct sim_fault *f, struct sim_object *o, const char *field, const char *key, const char *text)
{
    const unsigned place = xapi_field_place(o->class_row, field);
    const struct xapi_value v = xapi_str(text);

    if (f->saved_count == SIM_FAULT_SAVED_MAX)
        return;
    struct sim_saved *const s = &f->saved[f->saved_count++];
    memcpy(s->ref, o->ref, sizeof(s->ref));
    s->place = place;
    s->value = xapi_packed_ref(o->fields[place]);
    sim_map_set(f->pool, o, place, key, &v);
}

/* ---- hosts ---- */

static void notice(struct sim_fault *f)
{
    struct sim_object *const host = host_of(f), *const metrics = host ? sim_follow(f->pool, host, "metrics") : NULL;
    const struct xapi_value no = xapi_bool(false);

    if (metrics)
        change(f, metrics, "live", &no);
}

static void on_noticed(evutil_socket_t fd, short what, void *fault)
{
    notice(fault);
}

/* At the start it has been so for long; later it takes the others a while to see it. */
static int host_silent(struct sim_fault *f, struct xk_err *err)
{
    const struct timeval delay = sim_delay(f->pool, SIM_FAULT_NOTICED_S * XK_NS_PER_S);
    const int code = http_server_hear(f->pool->server, (unsigned)f->host - 1, f->dead ? HTTP_GONE : HTTP_DEAF, err);

    if (code < 0)
        return code;
    sim_member_silence(f->pool, (unsigned)f->host - 1, true);
    if (f->at_start) {
        notice(f);
        return 0;
    }
    f->tick = evtimer_new(f->pool->base, on_noticed, f);
    return f->tick && event_add(f->tick, &delay) == 0 ? 0 : xk_fail_memory(err);
}

static unsigned era_of(const struct sim_fault *f)
{
    const unsigned now = f->pool->settings.era;
    unsigned era = 0;

    if (strcmp(f->version, "old") == 0)
        return now > 2 ? now - 2 : 0;
    while (strcmp(simpool_eras[era], f->version) != 0)
        era++;
    return era;
}

static int host_old(struct sim_fault *f)
{
    const struct sim_era *const era = sim_era(era_of(f));
    struct sim_object *const host = host_of(f), *const pool = sim_first(f->pool, "pool");
    const struct xapi_value major = xapi_int(era->api_major), minor = xapi_int(era->api_minor);

    if (!host || !pool)
        return 0;
    change_map(f, host, "software_version", "product_version", era->product);
    change_map(f, host, "software_version", "platform_version", era->platform);
    change(f, host, "API_version_major", &major);
    change(f, host, "API_version_minor", &minor);
    change_map(f, pool, "other_config", "rolling_upgrade_in_progress", "true");
    return 0;
}

static void swap_identity(struct sim_fault *f)
{
    struct simpool *const p = f->pool;
    const unsigned host = (unsigned)f->host - 1;
    struct http_identity *const now = p->identities[host];

    p->identities[host] = f->identity;
    f->identity = now;
    http_server_identify(p->server, host, p->identities[host]);
    sim_identities_tell(p);
}

static int host_expired(struct sim_fault *f, struct xk_err *err)
{
    const struct simpool *const p = f->pool;
    const struct sim_object *const host = host_of(f);
    const int64_t now_s = p->settings.clock->utc_ns(p->settings.clock) / (int64_t)XK_NS_PER_S;
    const struct http_identity_wish wish = {
        .name = host ? sim_text(host, "hostname") : "host",
        .also = f->host == 1 ? "localhost" : NULL,
        .address = p->addresses[f->host - 1],
        .from_s = now_s - CERTIFICATE_AGE_S,
        .to_s = now_s - CERTIFICATE_END_S,
    };
    const int code = http_identity_make(&f->identity, &wish, err);

    if (code == 0)
        swap_identity(f);
    return code;
}

static int host_begin(struct sim_fault *f, struct xk_err *err)
{
    if (f->dead || f->hung)
        return host_silent(f, err);
    if (f->skew_ns) {
        f->pool->skew_ns[f->host - 1] = f->skew_ns;
        return 0;
    }
    if (f->cpu > 0) /* its metrics ask */
        return 0;
    return *f->version ? host_old(f) : host_expired(f, err);
}

static int host_end(struct sim_fault *f, struct xk_err *err)
{
    if (f->dead || f->hung) {
        sim_member_silence(f->pool, (unsigned)f->host - 1, false);
        return f->pool->members[f->host - 1].down
                   ? 0
                   : http_server_hear(f->pool->server, (unsigned)f->host - 1, HTTP_HEARS, err);
    }
    if (f->skew_ns)
        f->pool->skew_ns[f->host - 1] = 0;
    if (*f->certificate)
        swap_identity(f);
    return 0;
}

/* ---- tasks ---- */

bool sim_fault_stuck(const struct simpool *p, const struct sim_call *c)
{
    for (const struct sim_fault *f = p->faults; f; f = f->next)
        if (f->begun && f->kind == SIM_FAULT_TASK &&
            (!*f->method || sim_glob(f->method, xapi_text(c->message->name)) || sim_glob(f->method, c->wire.method)))
            return true;
    return false;
}

/* One that hangs since long, for those who look for such tasks. */
static int task_begin(struct sim_fault *f, struct xk_err *err)
{
    struct simpool *const p = f->pool;
    struct sim_object *const task = *f->method ? NULL : sim_task_create(p, STUCK_NAME, NULL);

    if (*f->method)
        return 0;
    if (!task)
        return xk_fail_memory(err);
    sim_put_time(p, task, "created", sim_now_s(p) - SIM_FAULT_STUCK_AGE_S);
    sim_put(p, task, "progress", xapi_real(STUCK_PROGRESS));
    memcpy(f->task_ref, task->ref, sizeof(f->task_ref));
    return 0;
}

static void task_end(struct sim_fault *f)
{
    struct sim_object *const task = sim_find(f->pool, f->task_ref, xapi_class_find("task"));

    if (task)
        sim_delete(f->pool, task);
}

/* ---- clients ---- */

static void login(struct sim_fault *f)
{
    struct simpool *const p = f->pool;
    const struct xapi_value args[] = {xapi_str(p->user), xapi_str(p->password), xapi_str("1.0"),
                                      xapi_str(*f->originator ? f->originator : "leaky-client")};
    char ref[SIM_REF_BYTES];

    f->struck += sim_call_inside(p, p->master, "session.login_with_password", args, XK_COUNT(args),
                                 *f->agent ? f->agent : "leaky-client/1.0", ref);
}

static void on_tick(evutil_socket_t fd, short what, void *fault)
{
    struct sim_fault *const f = fault;
    const double elapsed_s = (double)(sim_monotonic_ns(f->pool) - f->began_ns) / 1e9;
    const uint64_t due = (uint64_t)(elapsed_s * f->rate);

    for (unsigned i = 0; f->met < due && i < LOGINS_MAX; i++, f->met++)
        login(f);
    f->met = XK_MAX(f->met, due); /* what could not be done in time is not made up for */
}

static int client_begin(struct sim_fault *f, struct xk_err *err)
{
    struct timeval every = sim_delay(f->pool, (uint64_t)(1e9 / f->rate));

    if (every.tv_sec == 0 && every.tv_usec < TICK_US_MIN)
        every.tv_usec = TICK_US_MIN;
    f->began_ns = sim_monotonic_ns(f->pool);
    f->tick = event_new(f->pool->base, -1, EV_PERSIST, on_tick, f);
    return f->tick && event_add(f->tick, &every) == 0 ? 0 : xk_fail_memory(err);
}

/* ---- storage ---- */

static bool is_meant(const struct sim_fault *f, const struct sim_object *sr)
{
    return sim_glob(f->storage, sim_text(sr, "name_label")) || strcmp(f->storage, sim_text(sr, "uuid")) == 0;
}

static void storage_begin(struct sim_fault *f)
{
    if (!f->full)
        return;
    for (struct sim_object *sr = sim_first(f->pool, "SR"); sr; sr = sr->class_next)
        if (is_meant(f, sr))
            change(f, sr, "physical_utilisation", sim_get(sr, "physical_size"));
}

/* ---- machines ---- */

static bool is_machine(const struct sim_fault *f, const struct sim_object *vm)
{
    return !sim_bool(vm, "is_control_domain") && !sim_bool(vm, "is_a_template") &&
           (sim_glob(f->vm, sim_text(vm, "name_label")) || strcmp(f->vm, sim_text(vm, "uuid")) == 0);
}

static void machines_begin(struct sim_fault *f)
{
    const struct xapi_value none = xapi_str(SIM_NULL);

    for (struct sim_object *vm = sim_first(f->pool, "VM"); vm; vm = vm->class_next) {
        if (!is_machine(f, vm))
            continue;
        change(f, vm, "guest_metrics", &none);
        sim_allowed(f->pool, vm);
    }
}

/* ---- what metrics have of it ---- */

/* Which part of a time a fault was there. */
static double share_of(const struct sim_fault *f, int64_t from_s, int64_t to_s)
{
    const int64_t begin_s = XK_MAX(f->began_s, from_s);

    return !f->begun || to_s <= from_s || begin_s >= to_s ? 0 : (double)(to_s - begin_s) / (double)(to_s - from_s);
}

double sim_fault_cpu(const struct simpool *p, unsigned host, int64_t from_s, int64_t to_s)
{
    double sum = 0;

    for (const struct sim_fault *f = p->faults; f; f = f->next)
        if (f->kind == SIM_FAULT_HOST && f->host == host + 1)
            sum += f->cpu * share_of(f, from_s, to_s);
    return sum;
}

double sim_fault_latency_s(const struct simpool *p, const struct sim_object *sr, int64_t from_s, int64_t to_s)
{
    double sum = 0;

    for (const struct sim_fault *f = p->faults; f; f = f->next)
        if (f->kind == SIM_FAULT_STORAGE && f->latency_ns && is_meant(f, sr))
            sum += (double)f->latency_ns / 1e9 * share_of(f, from_s, to_s);
    return sum;
}

/* ---- all ---- */

static int fail(const struct sim_fault *f, struct xk_err *err, const char *why)
{
    return xk_fail(err, -EINVAL, "fault '%.200s': %s", f->text, why);
}

/* Two that would be one state of one host. */
static bool is_same_state(const struct sim_fault *a, const struct sim_fault *b)
{
    return a->kind == SIM_FAULT_HOST && b->kind == SIM_FAULT_HOST && a->host == b->host &&
           (((a->dead || a->hung) && (b->dead || b->hung)) || (a->skew_ns && b->skew_ns) ||
            (*a->version && *b->version) || (*a->certificate && *b->certificate) || (a->cpu > 0 && b->cpu > 0));
}

int sim_state_fault_check(const struct simpool *p, const struct sim_fault *f, struct xk_err *err)
{
    for (const struct sim_fault *other = p->faults; other; other = other->next)
        if (is_same_state(f, other))
            return xk_fail(err, -EINVAL, "fault '%.200s': does not go with fault %u, '%.200s'", f->text, other->id,
                           other->text);
    if (f->master > p->settings.hosts)
        return fail(f, err, "the pool has fewer hosts");
    if (*f->certificate && !p->settings.tls)
        return fail(f, err, "certificates are there with --tls only");
    if (strcmp(f->version, "old") == 0 && p->settings.era == 0)
        return fail(f, err, "there is no older release");
    if (f->kind == SIM_FAULT_VM) {
        const struct sim_object *vm = sim_first(p, "VM");
        while (vm && !is_machine(f, vm))
            vm = vm->class_next;
        return vm ? 0 : fail(f, err, "there is no such VM");
    }
    if (f->kind != SIM_FAULT_STORAGE)
        return 0;
    const struct sim_object *sr = sim_first(p, "SR");
    while (sr && !is_meant(f, sr))
        sr = sr->class_next;
    return sr ? 0 : fail(f, err, "there is no such SR");
}

int sim_state_fault_begin(struct sim_fault *f, struct xk_err *err)
{
    f->began_s = f->at_start ? INT64_MIN : sim_now_s(f->pool);
    switch (f->kind) {
    case SIM_FAULT_HOST:
        return host_begin(f, err);
    case SIM_FAULT_TASK:
        return task_begin(f, err);
    case SIM_FAULT_CLIENT:
        return client_begin(f, err);
    case SIM_FAULT_MASTER:
        sim_master_move(f->pool, (unsigned)f->master - 1);
        return 0;
    case SIM_FAULT_STORAGE:
        storage_begin(f);
        return 0;
    case SIM_FAULT_VM:
        machines_begin(f);
        return 0;
    case SIM_FAULT_CALL:
        break;
    }
    return 0;
}

int sim_state_fault_end(struct sim_fault *f, struct xk_err *err)
{
    const int code = f->kind == SIM_FAULT_HOST ? host_end(f, err) : 0;

    if (code < 0)
        return code;
    if (f->kind == SIM_FAULT_TASK)
        task_end(f);
    change_back(f);
    return 0;
}

enum sim_outcome sim_state_fault_meet(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct xapi_message *const m = c->message;

    if (m->kind != XAPI_CUSTOM || m->params == 0 || xapi_type_of(xapi_params[m->first_param].type)->kind != XAPI_REF)
        return SIM_DONE;
    const char *const name = xapi_text(m->name), *const verb = strchr(name, '.') + 1;
    const struct sim_object *const o = sim_find(p, sim_arg_text(c, 0), NULL);
    const bool is_vm = o && strcmp(xapi_text(o->class_row->name), "VM") == 0,
               is_host = o && strcmp(xapi_text(o->class_row->name), "host") == 0;
    /* What is only read or written in the database needs no host. */
    if ((!is_vm && !is_host) || strncmp(verb, "get_", 4) == 0 || strncmp(verb, "set_", 4) == 0 ||
        strncmp(verb, "add_", 4) == 0 || strncmp(verb, "remove_", 7) == 0 || strcmp(verb, "declare_dead") == 0 ||
        strcmp(verb, "power_state_reset") == 0 || strcmp(verb, "destroy") == 0)
        return SIM_DONE;
    const char *const host = is_host ? o->ref : sim_text(o, "resident_on");
    for (const struct sim_fault *f = p->faults; f; f = f->next)
        if (f->begun && f->dead && strcmp(p->host_refs[f->host - 1], host) == 0)
            return sim_fail(c, "HOST_OFFLINE", host, NULL);
    return SIM_DONE;
}
