/*
 * Hosts that go and come back.
 *
 * A host that is down does not listen, so clients see what they see of a real one: connections that are refused or cut.
 * The pool's database lives on, as on the disk of the master. Each host follows one that it takes for its master; one
 * that cannot follow is in emergency mode and answers only what needs no master.
 */
#include "lib/simpool/hosts.h"
#include "lib/simpool/log.h"
#include "lib/simpool/ops.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define ASSUMED_DEAD_S 600 /* without a heartbeat; the real server's host_assumed_dead_interval */
#define HA_DEAD_S      60  /* without a beat, with high availability */
#define RETRY_MS       200 /* when its port is taken by somebody else meanwhile */

unsigned sim_host_number(const struct simpool *p, const struct sim_object *host)
{
    for (unsigned i = 0; i < p->settings.hosts; i++)
        if (strcmp(p->host_refs[i], host->ref) == 0)
            return i;
    return SIMPOOL_HOSTS_MAX;
}

struct sim_object *sim_host_object(const struct simpool *p, unsigned host)
{
    return sim_find(p, p->host_refs[host], xapi_class_find("host"));
}

bool sim_member_is_silent(const struct simpool *p, unsigned host)
{
    return p->members[host].down || p->members[host].silent;
}

bool sim_is_master(const struct simpool *p, unsigned host)
{
    return p->members[host].follows == host;
}

const char *sim_master_address(const struct simpool *p, unsigned host)
{
    const struct sim_object *const master = sim_host_object(p, p->members[host].follows);

    return master ? sim_text(master, "address") : "";
}

bool sim_is_in_emergency(const struct simpool *p, unsigned host)
{
    const unsigned master = p->members[host].follows;

    return master != host &&
           (sim_member_is_silent(p, master) || !sim_is_master(p, master) || !sim_host_object(p, host));
}

bool sim_host_is_live(const struct simpool *p, const struct sim_object *host)
{
    const struct sim_object *const metrics = sim_follow(p, host, "metrics");

    return metrics && sim_bool(metrics, "live");
}

bool sim_host_answers(const struct simpool *p, const struct sim_object *host)
{
    const unsigned number = sim_host_number(p, host);

    return number < SIMPOOL_HOSTS_MAX && !sim_member_is_silent(p, number);
}

static void set_live(struct simpool *p, struct sim_object *host, bool live)
{
    struct sim_object *const metrics = sim_follow(p, host, "metrics");

    if (metrics)
        sim_put_bool(p, metrics, "live", live);
    if (metrics && live)
        sim_put_time(p, metrics, "last_updated", sim_now_s(p));
    sim_host_allowed(p, host);
}

/* ---- the agents ---- */

static void local_sessions_end(struct simpool *p, unsigned host)
{
    for (struct sim_session *s = p->sessions, *next; s; s = next) {
        next = s->next;
        if (s->local && s->host == host)
            sim_session_end(p, s);
    }
}

void sim_master_forgets(struct simpool *p)
{
    for (struct sim_session *s = p->sessions, *next; s; s = next) {
        next = s->next;
        if (!s->local)
            sim_session_end(p, s);
    }
    /* What works goes on below the toolstack; only nobody can watch it any more. */
    for (struct sim_call *w = p->working; w; w = w->next)
        w->task_ref[0] = '\0';
    for (struct sim_object *task; (task = sim_first(p, "task")) != NULL;)
        sim_delete(p, task);
}

static void on_start(evutil_socket_t fd, short what, void *context)
{
    const struct sim_member *const m = context;

    sim_member_start(m->pool, m->number);
}

static void later(struct sim_member *m, const struct timeval *delay)
{
    if (!m->timer)
        m->timer = evtimer_new(m->pool->base, on_start, m);
    if (m->timer)
        (void)event_add(m->timer, delay);
}

/* VMs of a host that is gone are halted, once that is known. */
static void lose_vms(struct simpool *p, struct sim_object *host)
{
    const struct xapi_value *const vms = sim_get(host, "resident_VMs");
    const size_t count = vms->count;
    xk_autofree struct sim_object **list = xk_array_alloc(count + 1, sizeof(*list));

    for (size_t i = 0; list && i < count; i++)
        list[i] = sim_find(p, xapi_value_text(&vms->items[i]), NULL);
    for (size_t i = 0; list && i < count; i++)
        if (list[i] && !sim_bool(list[i], "is_control_domain"))
            sim_vm_halt(p, list[i]);
}

void sim_member_stop(struct simpool *p, unsigned host, enum sim_stop how, uint64_t after_ns)
{
    struct sim_member *const m = &p->members[host];
    struct sim_object *const object = sim_host_object(p, host);

    (void)http_server_hear(p->server, host, HTTP_GONE, NULL);
    local_sessions_end(p, host);
    if (sim_is_master(p, host))
        sim_master_forgets(p);
    m->down = true;
    m->down_s = sim_now_s(p);
    if (object && how != SIM_STOP_AGENT) {
        if (how == SIM_STOP_CLEAN) {
            lose_vms(p, object);
            set_live(p, object, false);
        }
        m->booting = true;
    }
    if (after_ns) {
        const struct timeval delay = sim_delay(p, after_ns);
        later(m, &delay);
    } else if (m->timer) {
        (void)event_del(m->timer);
    }
}

void sim_member_start(struct simpool *p, unsigned host)
{
    struct sim_member *const m = &p->members[host];
    struct sim_object *const object = sim_host_object(p, host);

    if (!m->down)
        return;
    if (http_server_hear(p->server, host, HTTP_HEARS, NULL) < 0) {
        const struct timeval again = {.tv_usec = RETRY_MS * 1000};
        later(m, &again);
        return;
    }
    m->down = false;
    sim_log_start(p, host);
    if (!object)
        return; /* it was thrown out of the pool meanwhile, and waits for a master that does not know it */
    if (m->booting) {
        lose_vms(p, object);
        sim_host_booted(p, object);
        sim_pci_booted(p, object);
    }
    /* A host that was disabled only for its restart serves again; one that was told to stay so does not. */
    if (m->booting || !sim_is_in_emergency(p, host)) {
        set_live(p, object, true);
        if (m->enable_at_start || (m->booting && !m->stay_disabled))
            sim_put_bool(p, object, "enabled", true);
    }
    m->booting = m->enable_at_start = false;
    sim_host_allowed(p, object);
    sim_ha_update(p);
}

static void member_close(struct sim_member *m)
{
    if (m->timer)
        event_free(m->timer);
    xk_buf_done(&m->dmesg);
}

void sim_member_open(struct simpool *p, unsigned i)
{
    const bool armed = sim_bool(sim_first(p, "pool"), "ha_enabled");
    struct sim_object *const host = sim_host_object(p, i);

    member_close(&p->members[i]);
    p->members[i] = (struct sim_member){.pool = p, .number = i, .follows = p->master, .armed = armed};
    if (!host) { /* it was thrown out of the pool before that was saved */
        p->members[i].down = true;
        (void)http_server_hear(p->server, i, HTTP_GONE, NULL);
        return;
    }
    if (!xapi_map_get(sim_get(host, "other_config"), "boot_time"))
        sim_host_booted(p, host);
    set_live(p, host, true);
}

void sim_members_open(struct simpool *p)
{
    for (unsigned i = 0; i < p->settings.hosts; i++)
        sim_member_open(p, i);
    sim_pool_allowed(p, sim_first(p, "pool"));
}

void sim_members_close(struct simpool *p)
{
    for (unsigned i = 0; i < SIMPOOL_HOSTS_MAX; i++)
        member_close(&p->members[i]);
}

void sim_member_follow(struct simpool *p, unsigned host, unsigned master)
{
    p->members[host].follows = master;
    if (host == master) {
        p->master = host;
        sim_put_text(p, sim_first(p, "pool"), "master", p->host_refs[host]);
    }
}

void sim_member_silence(struct simpool *p, unsigned host, bool silent)
{
    struct sim_member *const m = &p->members[host];
    struct sim_object *const object = sim_host_object(p, host);

    if (silent && !m->silent && !m->down)
        m->down_s = sim_now_s(p);
    m->silent = silent;
    if (!silent && !m->down && object && !sim_host_is_live(p, object)) {
        set_live(p, object, true);
        sim_ha_update(p);
    }
}

/* With high availability, the hosts that are left choose another master. returns whether there is one. */
static bool elect(struct simpool *p, int64_t patience)
{
    if (sim_now_s(p) - p->members[p->master].down_s < patience)
        return false;
    for (unsigned i = 0; i < p->settings.hosts; i++) {
        const struct sim_object *const host = sim_host_object(p, i);
        if (!host || sim_member_is_silent(p, i) || !p->members[i].armed)
            continue;
        sim_alert(p, "POOL_MASTER_TRANSITION", 4, "Host", host, "");
        sim_master_move(p, i);
        return true;
    }
    return false;
}

void sim_members_collect(struct simpool *p)
{
    const bool ha = sim_bool(sim_first(p, "pool"), "ha_enabled");
    const int64_t patience = ha ? HA_DEAD_S : ASSUMED_DEAD_S;

    if (sim_member_is_silent(p, p->master) && !(ha && elect(p, patience)))
        return;
    for (unsigned i = 0; i < p->settings.hosts; i++) {
        struct sim_object *const host = sim_host_object(p, i);
        if (!host || i == p->master || !sim_member_is_silent(p, i) || !sim_host_is_live(p, host) ||
            sim_now_s(p) - p->members[i].down_s < patience)
            continue;
        set_live(p, host, false);
        if (ha)
            sim_ha_host_failed(p, host);
    }
}
