/*
 * Hosts: what may be done with them, emptying, stopping, starting and losing them.
 *
 * Facts: xapi_host.ml, xapi_host_helpers.ml and message_forwarding.ml of xapi (2026-08). A restart is two steps, as
 * there: the call comes back at once, ten seconds later the host goes, and a minute after that it is there again.
 */
#include "lib/simpool/hosts.h"
#include "lib/simpool/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOP_DELAY_NS  (10 * XK_NS_PER_S) /* from the call to the end */
#define BOOT_NS        (60 * XK_NS_PER_S)
#define AGENT_DELAY_NS (1 * XK_NS_PER_S)
#define AGENT_START_NS (5 * XK_NS_PER_S)
#define MOVE_NS        (3 * XK_NS_PER_S) /* for each batch of an evacuation */
#define BATCH          10

/* ---- what is allowed ---- */

static const char *const all_operations[] = {"provision", "evacuate",  "shutdown",   "reboot",        "power_on",
                                             "vm_start",  "vm_resume", "vm_migrate", "apply_updates", "enable"};

static bool is_among(const char *word, const char *const *words)
{
    while (*words && strcmp(*words, word) != 0)
        words++;
    return *words != NULL;
}

/* The pair of current_operations whose operation is one of those. NULL: there is none. */
static const struct xapi_value *current(const struct sim_object *host, const char *const *words)
{
    const struct xapi_value *const now = sim_get(host, "current_operations");

    for (size_t i = 0; i < now->count; i++)
        if (is_among(xapi_value_text(&now->items[2 * i + 1]), words))
            return &now->items[2 * i];
    return NULL;
}

struct refusal {
    const char *code;
    const struct xapi_value *operation; /* that is in the way: ref and word */
};

static struct refusal busy(const struct xapi_value *operation)
{
    return (struct refusal){.code = operation ? "OTHER_OPERATION_IN_PROGRESS" : NULL, .operation = operation};
}

static struct refusal find_refusal(const struct simpool *p, const struct sim_object *host, const char *op)
{
    static const char *const creating[] = {"provision", "vm_resume", "vm_migrate", NULL};
    static const char *const removing[] = {"evacuate", "reboot", "shutdown", NULL};
    static const struct {
        const char *running, *blocked[4];
    } pairs[] = {{"reboot", {"shutdown", "apply_updates"}},
                 {"shutdown", {"reboot", "apply_updates"}},
                 {"apply_updates", {"reboot", "shutdown", "enable"}},
                 {"provision", {"provision"}}};
    struct refusal found = {NULL, NULL};

    if (is_among(op, creating))
        found = busy(current(host, removing));
    else if (is_among(op, removing))
        found = busy(current(host, creating));
    for (size_t i = 0; i < XK_COUNT(pairs) && !found.code; i++)
        if (is_among(op, pairs[i].blocked))
            found = busy(current(host, (const char *const[]){pairs[i].running, NULL}));
    if (found.code)
        return found;
    if (sim_bool(host, "enabled") && is_among(op, (const char *const[]){"reboot", "shutdown", "apply_updates", NULL}))
        return (struct refusal){.code = "HOST_NOT_DISABLED"};
    if (strcmp(op, "power_on") == 0 && sim_host_is_live(p, host))
        return (struct refusal){.code = "HOST_IS_LIVE"};
    if (strcmp(op, "power_on") == 0 && !*sim_text(host, "power_on_mode"))
        return (struct refusal){.code = "HOST_POWER_ON_MODE_DISABLED"};
    return found;
}

static bool may(struct sim_call *c, const struct sim_object *host, const char *op)
{
    const struct refusal r = find_refusal(c->pool, host, op);

    if (!r.code)
        return true;
    if (r.operation)
        (void)sim_fail(c, r.code, "host", host->ref, xapi_value_text(&r.operation[1]), xapi_value_text(&r.operation[0]),
                       NULL);
    else if (strcmp(r.code, "HOST_IS_LIVE") == 0)
        (void)sim_fail(c, r.code, host->ref, NULL);
    else
        (void)sim_fail(c, r.code, NULL);
    return false;
}

void sim_host_allowed(struct simpool *p, struct sim_object *host)
{
    const char *names[XK_COUNT(all_operations) + 1];
    size_t count = 0;

    for (size_t i = 0; i < XK_COUNT(all_operations); i++)
        if (!find_refusal(p, host, all_operations[i]).code)
            names[count++] = all_operations[i];
    names[count] = NULL;
    sim_put_list(p, host, "allowed_operations", names);
}

/* Name an operation in the host's record, as long as it lasts. */
static void name_operation(struct simpool *p, struct sim_object *host, const char *ref, const char *op)
{
    const struct xapi_value word = xapi_str(op ? op : "");

    sim_map_set(p, host, xapi_field_place(host->class_row, "current_operations"), ref, op ? &word : NULL);
    sim_host_allowed(p, host);
}

struct sim_object *sim_host_arg(struct sim_call *c, unsigned arg)
{
    struct sim_object *const host = sim_arg(c, arg);

    if (!host)
        return NULL;
    if (!sim_host_is_live(c->pool, host)) {
        (void)sim_fail(c, "HOST_OFFLINE", host->ref, NULL);
        return NULL;
    }
    if (!sim_host_answers(c->pool, host)) {
        (void)sim_fail(c, "CANNOT_CONTACT_HOST", host->ref, NULL);
        return NULL;
    }
    return host;
}

static struct sim_member *member_of(const struct sim_call *c, const struct sim_object *host)
{
    const unsigned number = sim_host_number(c->pool, host);

    return number < SIMPOOL_HOSTS_MAX ? &c->pool->members[number] : NULL;
}

void sim_host_booted(struct simpool *p, struct sim_object *host)
{
    const unsigned place = xapi_field_place(host->class_row, "other_config");
    char text[32];

    snprintf(text, sizeof(text), "%lld.", (long long)sim_now_s(p));
    const struct xapi_value stamp = xapi_str(text);
    sim_map_set(p, host, place, "boot_time", &stamp);
    sim_map_set(p, host, place, "agent_start_time", &stamp);
}

/* ---- serving, or not ---- */

static enum sim_outcome disable(struct sim_call *c)
{
    struct sim_object *const host = sim_host_arg(c, 0);

    if (!host || !sim_ha_allows_disable(c, host))
        return SIM_FAILED;
    struct sim_member *const m = member_of(c, host);
    if (m && sim_bool(host, "enabled"))
        m->stay_disabled = !c->args[1].truth;
    sim_put_bool(c->pool, host, "enabled", false);
    sim_host_allowed(c->pool, host);
    sim_ha_update(c->pool);
    return SIM_DONE;
}

static enum sim_outcome enable(struct sim_call *c)
{
    struct sim_object *const host = sim_arg(c, 0);

    if (!host || !may(c, host, "enable") || !sim_host_arg(c, 0))
        return SIM_FAILED;
    struct sim_member *const m = member_of(c, host);
    if (m && m->booting)
        return sim_fail(c, "HOST_DISABLED_UNTIL_REBOOT", host->ref, NULL);
    if (m)
        m->stay_disabled = false;
    sim_put_bool(c->pool, host, "enabled", true);
    sim_host_allowed(c->pool, host);
    sim_ha_update(c->pool);
    return SIM_DONE;
}

/* ---- evacuation ---- */

/* Where each VM of a host would go. */
struct plan {
    struct sim_object *hosts[SIMPOOL_HOSTS_MAX];
    struct sim_move *moves; /* NULL: no memory */
    size_t targets, count;
};

static void plan_done(struct plan *plan)
{
    free(plan->moves);
}

static struct plan plan_make(const struct simpool *p, const struct sim_object *host)
{
    struct plan plan = {0};

    plan.targets = sim_targets(p, host, plan.hosts);
    plan.count = sim_residents(p, host, &plan.moves);
    if (plan.moves)
        (void)sim_plan(p, plan.moves, plan.count, plan.hosts, plan.targets);
    return plan;
}

/* Why a VM cannot leave. returns false; true: it can. */
static bool can_leave(const struct simpool *p, const struct plan *plan, const struct sim_move *move,
                      struct sim_why *why)
{
    const bool guarded = sim_bool(sim_first(p, "pool"), "ha_enabled");

    if (plan->targets == 0)
        return sim_plan_why(p, move, plan->hosts, 0, why);
    /* With high availability, what would not be started again elsewhere does not move either. */
    if (guarded && !sim_is(move->vm, "ha_restart_priority", "restart"))
        return sim_deny(why, "HOST_EVACUATE_VM_NOT_HA_PROTECTED", move->vm->ref, NULL);
    if (!sim_vm_may(p, move->vm, "pool_migrate", true, why))
        return false;
    return move->to || sim_plan_why(p, move, plan->hosts, plan->targets, why);
}

static enum sim_outcome prevent_evacuation(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    const struct sim_object *const host = sim_arg(c, 0);
    struct sim_why why;

    if (!host)
        return SIM_FAILED;
    xk_auto(plan_done) struct plan plan = plan_make(c->pool, host);
    xapi_build_open(&b, XAPI_MAP);
    for (size_t i = 0; plan.moves && i < plan.count; i++) {
        if (can_leave(c->pool, &plan, &plan.moves[i], &why))
            continue;
        xapi_build_text(&b, plan.moves[i].vm->ref);
        xapi_build_open(&b, XAPI_LIST);
        xapi_build_text(&b, why.code);
        for (size_t j = 0; j < SIM_WHY_PARAMS && why.params[j]; j++)
            xapi_build_text(&b, why.params[j]);
        xapi_build_close(&b);
    }
    xapi_build_close(&b);
    return !plan.moves || xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome can_evacuate(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0);
    struct xk_buf text = XK_BUF_INIT(1u << 20);
    struct sim_why why;

    if (!host)
        return SIM_FAILED;
    xk_auto(plan_done) struct plan plan = plan_make(c->pool, host);
    for (size_t i = 0; plan.moves && i < plan.count; i++) {
        if (can_leave(c->pool, &plan, &plan.moves[i], &why))
            continue;
        xk_buf_printf(&text, "%s%s", text.len ? "|" : "", why.code);
        for (size_t j = 0; j < SIM_WHY_PARAMS && why.params[j]; j++)
            xk_buf_printf(&text, ",%s", why.params[j]);
    }
    const enum sim_outcome outcome = !plan.moves ? sim_no_memory(c)
                                     : text.len  ? sim_fail(c, "CANNOT_EVACUATE_HOST", xk_buf_str(&text), NULL)
                                                 : SIM_DONE;
    xk_buf_done(&text);
    return outcome;
}

/* The plan is made anew: what was true before the moves may not be now. */
static enum sim_outcome evacuate_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_arg(c, 0);
    char text[64 + SIM_REF_BYTES];

    if (!host)
        return SIM_FAILED;
    xk_auto(plan_done) struct plan plan = plan_make(p, host);
    size_t left = plan.count;
    for (size_t i = 0; plan.moves && i < plan.count; i++)
        if (can_leave(p, &plan, &plan.moves[i], NULL)) {
            sim_vm_move(p, plan.moves[i].vm, plan.moves[i].to);
            left--;
        }
    if (!plan.moves)
        return sim_no_memory(c);
    snprintf(text, sizeof(text), "evacuate: %zu VMs are still resident on %s", left, host->ref);
    return left ? sim_fail(c, "INTERNAL_ERROR", text, NULL) : SIM_DONE;
}

static enum sim_outcome evacuate(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const host = sim_arg(c, 0);
    const char *const network = sim_arg_text(c, 1);
    struct sim_why why;

    if (!host || !sim_ha_allows_disable(c, host) || !may(c, host, "evacuate"))
        return SIM_FAILED;
    if (!sim_is_null(network) && !sim_find(p, network, xapi_class_find("network")))
        return sim_bad_handle(c, (uint16_t)xapi_class_index(xapi_class_find("network")), network);
    xk_auto(plan_done) struct plan plan = plan_make(p, host);
    if (!plan.moves)
        return sim_no_memory(c);
    for (size_t i = 0; i < plan.count; i++)
        if (!can_leave(p, &plan, &plan.moves[i], &why))
            return sim_refuse(c, &why);
    if (plan.count == 0)
        return SIM_DONE;
    const int64_t asked = c->args[2].integer, batch = asked > 0 ? asked : BATCH;
    const uint64_t batches = ((uint64_t)plan.count + (uint64_t)batch - 1) / (uint64_t)batch;
    return sim_work(c, batches * MOVE_NS, evacuate_end, host, "evacuate", true);
}

/* ---- stopping ---- */

/* The second half of a stop, long after the call was answered. */
struct stop {
    struct simpool *pool;
    unsigned host;
    enum sim_stop how;
    uint64_t after_ns; /* then it comes back; 0: it does not */
    char operation[SIM_REF_BYTES];
    struct event *timer;
    struct stop *next;
};

static void stop_free(struct stop *s)
{
    struct stop **at = &s->pool->stops;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    event_free(s->timer);
    free(s);
}

void sim_stops_close(struct simpool *p)
{
    while (p->stops)
        stop_free(p->stops);
}

static void on_stop(evutil_socket_t fd, short what, void *context)
{
    struct stop *const s = context;
    struct simpool *const p = s->pool;
    struct sim_object *const host = sim_host_object(p, s->host);
    const unsigned number = s->host;
    const enum sim_stop how = s->how;
    const uint64_t after_ns = s->after_ns;

    if (host && *s->operation)
        name_operation(p, host, s->operation, NULL);
    stop_free(s);
    if (!p->members[number].down)
        sim_member_stop(p, number, how, after_ns);
}

static enum sim_outcome stop_later(struct sim_call *c, unsigned host, enum sim_stop how, uint64_t delay_ns,
                                   uint64_t after_ns, const char *operation)
{
    struct simpool *const p = c->pool;
    struct sim_object *const object = sim_host_object(p, host);
    struct stop *const s = xk_zalloc(sizeof(*s));
    const struct timeval delay = sim_delay(p, delay_ns);

    if (s && (s->timer = evtimer_new(p->base, on_stop, s)) == NULL) {
        free(s);
        return sim_no_memory(c);
    }
    if (!s)
        return sim_no_memory(c);
    s->pool = p;
    s->host = host;
    s->how = how;
    s->after_ns = after_ns;
    s->next = p->stops;
    p->stops = s;
    if (event_add(s->timer, &delay) < 0) {
        stop_free(s);
        return sim_no_memory(c);
    }
    if (operation && object) {
        sim_new_ref(p, s->operation);
        name_operation(p, object, s->operation, operation);
    }
    return SIM_DONE;
}

/* With the operation's name as in the real server, which says "shutdown" of both. */
static enum sim_outcome stop_host(struct sim_call *c, const char *op, uint64_t after_ns)
{
    struct sim_object *const host = sim_arg(c, 0);

    if (!host || !may(c, host, op) || !sim_host_arg(c, 0))
        return SIM_FAILED;
    struct sim_member *const m = member_of(c, host);
    if (!m)
        return sim_bad_handle(c, (uint16_t)xapi_class_index(host->class_row), host->ref);
    m->enable_at_start = !m->stay_disabled;
    return stop_later(c, m->number, SIM_STOP_CLEAN, STOP_DELAY_NS, after_ns, "shutdown");
}

static enum sim_outcome reboot(struct sim_call *c)
{
    return stop_host(c, "reboot", BOOT_NS);
}

static enum sim_outcome host_shutdown(struct sim_call *c)
{
    return stop_host(c, "shutdown", 0);
}

static enum sim_outcome restart_agent(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    return stop_later(c, sim_host_number(c->pool, host), SIM_STOP_AGENT, AGENT_DELAY_NS, AGENT_START_NS, NULL);
}

static enum sim_outcome shutdown_agent(struct sim_call *c)
{
    return stop_later(c, c->host, SIM_STOP_AGENT, AGENT_DELAY_NS, 0, NULL);
}

static enum sim_outcome power_on_end(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0);
    const struct sim_member *const m = host ? member_of(c, host) : NULL;

    if (!m)
        return SIM_FAILED;
    sim_member_start(c->pool, m->number);
    return SIM_DONE;
}

static enum sim_outcome power_on(struct sim_call *c)
{
    struct sim_object *const host = sim_arg(c, 0);

    if (!host || !may(c, host, "power_on"))
        return SIM_FAILED;
    return sim_work(c, BOOT_NS, power_on_end, host, "power_on", false);
}

/* ---- losing ---- */

/* Nobody may give up a host that is alive: it would still write to the storage. */
static bool is_gone(struct sim_call *c, const struct sim_object *host)
{
    if (!sim_host_is_live(c->pool, host) || !sim_host_answers(c->pool, host))
        return true;
    (void)sim_fail(c, "HOST_IS_LIVE", host->ref, NULL);
    return false;
}

static enum sim_outcome declare_dead(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const host = sim_arg(c, 0);
    xk_autofree struct sim_move *moves = NULL;

    if (!host || !is_gone(c, host))
        return SIM_FAILED;
    const size_t count = sim_residents(p, host, &moves);
    if (!moves)
        return sim_no_memory(c);
    for (size_t i = 0; i < count; i++)
        sim_vm_halt(p, moves[i].vm);
    sim_put_bool(p, host, "enabled", false);
    sim_host_allowed(p, host);
    return SIM_DONE;
}

static void delete_members(struct simpool *p, struct sim_object *host, const char *field)
{
    /* From the last to the first, since each takes itself out of the list. */
    for (size_t i = sim_get(host, field)->count; i-- > 0;) {
        const struct xapi_value *const refs = sim_get(host, field);
        struct sim_object *const o = i < refs->count ? sim_find(p, xapi_value_text(&refs->items[i]), NULL) : NULL;
        if (!o)
            continue;
        struct sim_object *const metrics =
            strcmp(field, "PIFs") == 0 ? sim_find(p, sim_text(o, "metrics"), xapi_class_find("PIF_metrics")) : NULL;
        sim_delete(p, o);
        if (metrics)
            sim_delete(p, metrics);
    }
}

static void remove_where(struct simpool *p, const char *class_name, const char *field, const char *ref)
{
    for (struct sim_object *o = sim_first(p, class_name), *next; o; o = next) {
        next = o->class_next;
        if (sim_is(o, field, ref))
            sim_delete(p, o);
    }
}

/* What stands upon its interfaces, or belongs to it without its knowing. */
static void overlays_remove(struct simpool *p, const struct sim_object *host)
{
    static const char *const upon[][2] = {{"Bond", "master"},          {"VLAN", "tagged_PIF"},
                                          {"VLAN", "untagged_PIF"},    {"tunnel", "access_PIF"},
                                          {"tunnel", "transport_PIF"}, {"network_sriov", "physical_PIF"},
                                          {"Cluster_host", "PIF"}};
    const struct xapi_value *const blobs = sim_get(host, "blobs");
    const struct sim_object *pif;

    for (size_t at = 0; (pif = sim_member(p, host, "PIFs", &at));)
        for (size_t i = 0; i < XK_COUNT(upon); i++)
            remove_where(p, upon[i][0], upon[i][1], pif->ref);
    remove_where(p, "Cluster_host", "host", host->ref);
    remove_where(p, "PVS_cache_storage", "host", host->ref);
    for (size_t i = 0; i < blobs->count; i++) {
        struct sim_object *const blob = sim_find(p, xapi_value_text(&blobs->items[2 * i + 1]), NULL);
        if (blob)
            sim_delete(p, blob);
    }
}

void sim_host_remove(struct simpool *p, struct sim_object *host)
{
    static const char *const own[] = {"PBDs", "PIFs",  "host_CPUs", "crashdumps",   "patches",
                                      "PCIs", "PGPUs", "PUSBs",     "certificates", "features"};
    struct sim_object *const metrics = sim_follow(p, host, "metrics");
    const struct xapi_value *const vms = sim_get(host, "resident_VMs");

    for (size_t i = vms->count; i-- > 0;) {
        struct sim_object *const vm = sim_find(p, xapi_value_text(&sim_get(host, "resident_VMs")->items[i]), NULL);
        if (vm && sim_bool(vm, "is_control_domain"))
            sim_vm_destroy(p, vm);
    }
    overlays_remove(p, host);
    for (size_t i = 0; i < XK_COUNT(own); i++)
        delete_members(p, host, own[i]);
    sim_drivers_forget(p, host);
    if (metrics)
        sim_delete(p, metrics);
    sim_let_go(p, host);
    sim_delete(p, host);
}

static enum sim_outcome destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const host = sim_arg(c, 0);
    xk_autofree struct sim_move *moves = NULL;

    if (!host || !is_gone(c, host))
        return SIM_FAILED;
    if (sim_bool(sim_first(p, "pool"), "ha_enabled"))
        return sim_fail(c, "HA_IS_ENABLED", NULL);
    const size_t count = sim_residents(p, host, &moves);
    if (count)
        return sim_fail(c, "HOST_HAS_RESIDENT_VMS", host->ref, NULL);
    sim_host_remove(p, host);
    return SIM_DONE;
}

/* ---- asking ---- */

static enum sim_outcome server_time(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    c->result = xapi_time(&c->arena, sim_now_ns(c->pool, sim_host_number(c->pool, host)) / (int64_t)XK_NS_PER_S);
    return SIM_DONE;
}

static enum sim_outcome in_emergency(struct sim_call *c)
{
    c->result = xapi_bool(sim_is_in_emergency(c->pool, c->host));
    return SIM_DONE;
}

static enum sim_outcome free_memory(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0), *const metrics =
                                                             host ? sim_follow(c->pool, host, "metrics") : NULL;

    if (!host)
        return SIM_FAILED;
    c->result = xapi_int(metrics ? sim_int(metrics, "memory_free") : 0);
    return SIM_DONE;
}

/* What the hypervisor and the control domain keep for themselves. */
static enum sim_outcome memory_overhead(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    c->result = xapi_int(sim_int(host, "memory_overhead"));
    return SIM_DONE;
}

/* No VM of today is uncooperative; the messages are kept for old clients. */
static enum sim_outcome no_refs(struct sim_call *c)
{
    if (!sim_arg(c, 0))
        return SIM_FAILED;
    c->result = xapi_list(NULL, 0);
    return SIM_DONE;
}

static enum sim_outcome tickle(struct sim_call *c)
{
    if (!sim_arg(c, 0))
        return SIM_FAILED;
    c->result = xapi_map(NULL, 0);
    return SIM_DONE;
}

static enum sim_outcome not_here(struct sim_call *c)
{
    return sim_fail(c, "NOT_IMPLEMENTED", strchr(xapi_text(c->message->name), '.') + 1, NULL);
}

static enum sim_outcome list_methods(struct sim_call *c)
{
    return sim_fail(c, "NOT_IMPLEMENTED", "list_method", NULL);
}

const struct sim_row sim_host_rows[] = {
    {"host.disable", disable},
    {"host.enable", enable},
    {"host.assert_can_evacuate", can_evacuate},
    {"host.get_vms_which_prevent_evacuation", prevent_evacuation},
    {"host.evacuate", evacuate},
    {"host.reboot", reboot},
    {"host.shutdown", host_shutdown},
    {"host.restart_agent", restart_agent},
    {"host.shutdown_agent", shutdown_agent},
    {"host.power_on", power_on},
    {"host.declare_dead", declare_dead},
    {"host.destroy", destroy},
    {"host.get_servertime", server_time},
    {"host.get_server_localtime", server_time},
    {"host.is_in_emergency_mode", in_emergency},
    {"host.compute_free_memory", free_memory},
    {"host.compute_memory_overhead", memory_overhead},
    {"host.get_uncooperative_resident_VMs", no_refs},
    {"host.get_uncooperative_domains", no_refs},
    {"host.tickle_heartbeat", tickle},
    {"host.dmesg_clear", not_here},
    {"host.get_log", not_here},
    {"host.list_methods", list_methods},
    {NULL, NULL},
};
