/*
 * When a VM ran, and where: a short list of changes for each VM that ever changed.
 *
 * Asking the records alone was weighed: then starting a VM would change what its host measured yesterday.
 */
#include "lib/simpool/rrd.h"

#include <string.h>

struct span {
    int64_t from_s;
    uint8_t host, presence;
};

struct sim_history {
    uint32_t count, room;
    struct span *spans;
};

static unsigned host_number(const struct simpool *p, const char *ref)
{
    unsigned host = 0;

    while (host < p->settings.hosts && strcmp(p->host_refs[host], ref) != 0)
        host++;
    return host < p->settings.hosts ? host : SIMPOOL_HOSTS_MAX;
}

static struct span span_now(const struct simpool *p, const struct sim_object *vm)
{
    const char *const state = sim_text(vm, "power_state");
    const unsigned host = host_number(p, sim_text(vm, "resident_on"));

    return (struct span){.from_s = sim_now_s(p),
                         .host = (uint8_t)host,
                         .presence = host == SIMPOOL_HOSTS_MAX       ? SIM_ABSENT
                                     : strcmp(state, "Running") == 0 ? SIM_RUNNING
                                     : strcmp(state, "Paused") == 0  ? SIM_PAUSED
                                                                     : SIM_ABSENT};
}

static bool make_room(struct sim_history *h)
{
    if (h->count < h->room)
        return true;
    if (h->count == SIM_SPANS_MAX) { /* the oldest change is forgotten */
        memmove(h->spans, h->spans + 1, (h->count - 1) * sizeof(*h->spans));
        h->count--;
        return true;
    }
    const uint32_t room = h->room ? 4 * h->room : 2;
    struct span *const spans = xk_realloc(h->spans, room * sizeof(*spans));
    if (!spans)
        return false;
    h->spans = spans;
    h->room = room;
    return true;
}

void sim_history_note(struct simpool *p, struct sim_object *vm)
{
    const struct span now = span_now(p, vm);

    if (!p->histories)
        return;
    if (!vm->history && (vm->history = xk_zalloc(sizeof(*vm->history))) == NULL) {
        p->error = -ENOMEM;
        return;
    }
    struct sim_history *const h = vm->history;
    struct span *const last = h->count ? &h->spans[h->count - 1] : NULL;
    if (last && last->presence == now.presence && (last->host == now.host || now.presence == SIM_ABSENT))
        return;
    /* Two changes in one second are one: state and host are written one after the other. */
    if (last && last->from_s == now.from_s) {
        *last = now;
        last->from_s = now.from_s;
    } else if (!make_room(h)) {
        p->error = -ENOMEM;
    } else {
        h->spans[h->count++] = now;
    }
}

void sim_history_begin(struct simpool *p)
{
    p->vm_class = xapi_class_find("VM");
    p->vm_places[0] = xapi_field_place(p->vm_class, "power_state");
    p->vm_places[1] = xapi_field_place(p->vm_class, "resident_on");
    p->histories = true;
    for (struct sim_object *vm = (struct sim_object *)sim_first(p, "VM"); vm; vm = vm->class_next) {
        if (span_now(p, vm).presence == SIM_ABSENT)
            continue;
        sim_history_note(p, vm);
        if (vm->history && vm->history->count)
            vm->history->spans[0].from_s = INT64_MIN;
    }
}

void sim_history_free(struct sim_history *h)
{
    if (h)
        free(h->spans);
    free(h);
}

struct sim_part sim_history_part(const struct sim_history *h, unsigned host, int64_t from, int64_t to)
{
    struct sim_part part = {0};

    for (uint32_t i = 0; h && i < h->count; i++) {
        const struct span *const s = &h->spans[i];
        const int64_t begin = XK_MAX(s->from_s, from), end = i + 1 < h->count ? XK_MIN(s[1].from_s, to) : to;
        if (end <= begin || s->presence == SIM_ABSENT || (host != SIMPOOL_HOSTS_MAX && s->host != host))
            continue;
        part.present += (double)(end - begin);
        part.running += s->presence == SIM_RUNNING ? (double)(end - begin) : 0;
    }
    part.present /= (double)(to - from);
    part.running /= (double)(to - from);
    return part;
}

bool sim_history_visits(const struct sim_history *h, unsigned host)
{
    for (uint32_t i = 0; h && i < h->count; i++)
        if (h->spans[i].presence != SIM_ABSENT && (host == SIMPOOL_HOSTS_MAX || h->spans[i].host == host))
            return true;
    return false;
}

int64_t sim_history_end(const struct sim_history *h)
{
    const struct span *const last = h && h->count ? &h->spans[h->count - 1] : NULL;

    return last && last->presence == SIM_ABSENT ? last->from_s : INT64_MAX;
}

unsigned sim_history_place(const struct sim_history *h)
{
    for (uint32_t i = h ? h->count : 0; i-- > 0;)
        if (h->spans[i].presence != SIM_ABSENT)
            return h->spans[i].host;
    return SIMPOOL_HOSTS_MAX;
}
