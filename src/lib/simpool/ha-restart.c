/*
 * Machines that high availability starts anew when their host has failed.
 *
 * In the order of VM.order, those of one number at the same time; the next number waits until all of them run and their
 * start_delay is over. When the plan has a place for each protected machine they start there, else wherever they can,
 * so that the order decides who gets the room. Who could not start is tried once more when all the others were, and an
 * alert tells who still could not; then come those that only shall start if they can. Facts: xapi_ha_vm_failover.ml of
 * xapi (2026-08).
 */
#include "lib/simpool/hosts.h"
#include "lib/simpool/ops.h"

#include <stdlib.h>

#define START_NS (XK_NS_PER_S * 4 / 10) /* as VM.start takes */

enum turn { PROTECTED, AGAIN, BEST_EFFORT };

struct waiting {
    char vm[SIM_REF_BYTES], host[SIM_REF_BYTES]; /* host: where the plan has it; "": anywhere */
    enum turn turn;
    int64_t order;
};

struct sim_restarts {
    struct waiting *list;
    size_t count, capacity;
    struct event *timer;
    bool starting; /* the first of the list, and those of the same turn and order, start now */
};

static void step(struct simpool *p);

static int compare(const void *left, const void *right)
{
    const struct waiting *const a = left, *const b = right;

    if (a->turn != b->turn)
        return a->turn < b->turn ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static int64_t order_of(const struct sim_object *vm)
{
    const int64_t order = sim_int(vm, "order");

    return order < 0 ? INT64_MAX : order;
}

static bool add(struct sim_restarts *r, const struct sim_object *vm, const char *host, enum turn turn)
{
    for (size_t i = 0; i < r->count; i++)
        if (sim_same(r->list[i].vm, vm->ref))
            return true;
    if (r->count == r->capacity) {
        const size_t more = r->capacity ? 2 * r->capacity : 16;
        struct waiting *const list = realloc(r->list, more * sizeof(*list));
        if (!list)
            return false;
        r->list = list;
        r->capacity = more;
    }
    struct waiting *const w = &r->list[r->count++];
    *w = (struct waiting){.turn = turn, .order = order_of(vm)};
    memcpy(w->vm, vm->ref, sizeof(w->vm));
    snprintf(w->host, sizeof(w->host), "%s", host);
    return true;
}

/* ---- one after the other ---- */

static void on_time(evutil_socket_t fd, short what, void *pool)
{
    step(pool);
}

static void later(struct simpool *p, uint64_t ns)
{
    struct sim_restarts *const r = p->restarts;
    const struct timeval when = sim_delay(p, ns);

    if (!r->timer)
        r->timer = evtimer_new(p->base, on_time, p);
    if (r->timer)
        (void)event_add(r->timer, &when);
}

/* returns whether it runs; one that somebody else started does. */
static bool start(struct simpool *p, const struct waiting *w, struct sim_object *vm)
{
    struct sim_object *host = *w->host ? sim_find(p, w->host, xapi_class_find("host")) : NULL;

    if (sim_vm_power(vm) != SIM_IS_HALTED)
        return true;
    if (host && !(sim_bool(host, "enabled") && sim_host_is_live(p, host)))
        host = NULL;
    return sim_vm_run(p, vm, host, false, NULL);
}

/* The first turn and order of the list. returns how long the next ones wait. */
static uint64_t start_first(struct simpool *p)
{
    struct sim_restarts *const r = p->restarts;
    int64_t delay_s = 0;
    size_t count = 1, kept = 0;

    while (count < r->count && compare(&r->list[0], &r->list[count]) == 0)
        count++;
    for (size_t i = 0; i < count; i++) {
        struct waiting w = r->list[i];
        struct sim_object *const vm = sim_find(p, w.vm, xapi_class_find("VM"));
        if (!vm)
            continue;
        if (start(p, &w, vm)) {
            delay_s = XK_MAX(delay_s, sim_int(vm, "start_delay"));
        } else if (w.turn == PROTECTED) {
            w.turn = AGAIN;
            w.host[0] = '\0';
            r->list[kept++] = w;
        } else if (w.turn == AGAIN) {
            sim_alert(p, "HA_PROTECTED_VM_RESTART_FAILED", 2, "VM", vm, "");
        }
    }
    memmove(&r->list[kept], &r->list[count], (r->count - count) * sizeof(*r->list));
    r->count -= count - kept;
    qsort(r->list, r->count, sizeof(*r->list), compare);
    return (uint64_t)XK_MIN(delay_s, INT64_C(86400)) * XK_NS_PER_S;
}

static void step(struct simpool *p)
{
    struct sim_restarts *const r = p->restarts;
    const int64_t quiet_s = p->ha_quiet_until_s - sim_now_s(p);
    uint64_t wait = 0;

    if (!sim_bool(sim_pool_object(p), "ha_enabled"))
        r->count = 0;
    if (quiet_s > 0) {
        later(p, (uint64_t)XK_MIN(quiet_s, INT64_C(86400)) * XK_NS_PER_S);
        return;
    }
    if (r->starting && r->count)
        wait = start_first(p);
    r->starting = !r->starting || wait == 0;
    if (r->count == 0) {
        r->starting = false;
        sim_ha_update(p);
    } else {
        later(p, wait ? wait : START_NS);
    }
}

/* ---- a host has failed ---- */

static bool is_waiting(const struct sim_object *vm)
{
    return sim_ha_protects(vm) && sim_vm_power(vm) == SIM_IS_HALTED && !sim_bool(vm, "is_a_template");
}

/* Every protected machine that does not run. returns false: no memory. */
static bool add_protected(struct simpool *p, const struct sim_object *failed)
{
    struct sim_object *hosts[SIMPOOL_HOSTS_MAX];
    const size_t targets = sim_targets(p, failed, hosts);
    xk_autofree struct sim_move *moves =
        xk_array_alloc((size_t)p->classes[xapi_class_index(xapi_class_find("VM"))].count + 1, sizeof(*moves));
    size_t count = 0;
    bool good = moves != NULL;

    for (struct sim_object *vm = sim_first(p, "VM"); good && vm; vm = vm->class_next)
        if (is_waiting(vm))
            moves[count++] = (struct sim_move){.vm = vm};
    const bool complete = good && sim_plan(p, moves, count, hosts, targets) == count;
    for (size_t i = 0; i < count && good; i++)
        good = add(p->restarts, moves[i].vm, complete ? moves[i].to->ref : "", PROTECTED);
    return good;
}

void sim_ha_host_failed(struct simpool *p, struct sim_object *host)
{
    xk_autofree struct sim_move *moves = NULL;
    const size_t count = sim_residents(p, host, &moves);
    char body[256];

    snprintf(body, sizeof(body), "Server '%.200s' has failed", sim_text(host, "name_label"));
    sim_alert(p, "HA_HOST_FAILED", 3, "Host", host, body);
    if (!moves || (!p->restarts && !(p->restarts = xk_zalloc(sizeof(*p->restarts))))) {
        p->error = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < count; i++)
        sim_vm_halt(p, moves[i].vm);
    sim_ha_update(p);
    bool good = add_protected(p, host);
    for (size_t i = 0; i < count && good; i++)
        if (sim_is(moves[i].vm, "ha_restart_priority", "best-effort"))
            good = add(p->restarts, moves[i].vm, "", BEST_EFFORT);
    if (!good)
        p->error = -ENOMEM;
    qsort(p->restarts->list, p->restarts->count, sizeof(*p->restarts->list), compare);
    if (!p->restarts->timer || !evtimer_pending(p->restarts->timer, NULL))
        step(p);
}

void sim_ha_close(struct simpool *p)
{
    if (!p->restarts)
        return;
    if (p->restarts->timer)
        event_free(p->restarts->timer);
    free(p->restarts->list);
    free(p->restarts);
}
