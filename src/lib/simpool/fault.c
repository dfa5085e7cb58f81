/*
 * The life of faults: given, begun after a while, met, ended after a while or when somebody heals them.
 *
 * All are in one list, in the order in which they were given; there are few, and every call looks at all of them.
 */
#include "lib/simpool/fault.h"

#include "core/text.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

bool sim_glob(const char *pattern, const char *text)
{
    return fnmatch(pattern, text, 0) == 0;
}

static void fault_free(struct sim_fault *f)
{
    if (f->timer)
        event_free(f->timer);
    if (f->tick)
        event_free(f->tick);
    for (unsigned i = 0; i < f->saved_count; i++)
        xapi_packed_unref(f->saved[i].value);
    http_identity_free(f->identity);
    free(f);
}

/* ---- begin and end ---- */

static void on_end(evutil_socket_t fd, short what, void *fault)
{
    struct sim_fault *const f = fault;

    (void)sim_fault_heal(f->pool, f->id, NULL);
}

static int begin(struct sim_fault *f, struct xk_err *err)
{
    const struct timeval end = sim_delay(f->pool, f->for_ns);

    if (f->timer)
        event_free(f->timer);
    f->timer = NULL;
    if (f->for_ns && ((f->timer = evtimer_new(f->pool->base, on_end, f)) == NULL || event_add(f->timer, &end) < 0))
        return xk_fail_memory(err);
    const int code = f->kind == SIM_FAULT_CALL ? 0 : sim_state_fault_begin(f, err);
    f->begun = code == 0;
    return code;
}

static void on_begin(evutil_socket_t fd, short what, void *fault)
{
    (void)begin(fault, NULL);
}

static int begin_later(struct sim_fault *f, struct xk_err *err)
{
    const struct timeval when = sim_delay(f->pool, f->after_ns);

    f->at_start = false; /* others see how it begins */
    f->timer = evtimer_new(f->pool->base, on_begin, f);
    return f->timer && event_add(f->timer, &when) == 0 ? 0 : xk_fail_memory(err);
}

int sim_fault_add(struct simpool *p, const char *text, bool at_start, unsigned *ret_id, struct xk_err *err)
{
    struct sim_fault *const f = xk_alloc(sizeof(*f)), **end = &p->faults;
    unsigned count = 0;

    if (!f)
        return xk_fail_memory(err);
    int code = sim_fault_parse(f, text, err);
    for (; *end; end = &(*end)->next)
        count++;
    if (code == 0 && count >= SIM_FAULTS_MAX)
        code = xk_fail(err, -ENOSPC, "fault '%.200s': there are %d already", text, SIM_FAULTS_MAX);
    if (code == 0 && f->host > p->settings.hosts)
        code = xk_fail(err, -EINVAL, "fault '%.200s': the pool has %u hosts", text, p->settings.hosts);
    if (code == 0 && f->kind != SIM_FAULT_CALL)
        code = sim_state_fault_check(p, f, err);
    if (code == 0) {
        f->pool = p;
        f->at_start = at_start;
        f->id = ++p->fault_ids;
        /* Another master ends the session that asks for it: not while its call runs. */
        code = f->after_ns || (f->kind == SIM_FAULT_MASTER && !at_start) ? begin_later(f, err) : begin(f, err);
    }
    if (code < 0) {
        fault_free(f);
        return code;
    }
    *end = f;
    if (ret_id)
        *ret_id = f->id;
    return 0;
}

int sim_fault_heal(struct simpool *p, unsigned id, struct xk_err *err)
{
    int count = 0;

    for (struct sim_fault **link = &p->faults, *f; (f = *link) != NULL;) {
        const int code =
            (id && f->id != id) || !f->begun || f->kind == SIM_FAULT_CALL ? 0 : sim_state_fault_end(f, err);
        if (code < 0)
            return code;
        if (id && f->id != id) {
            link = &f->next;
            continue;
        }
        *link = f->next;
        fault_free(f);
        count++;
    }
    return count;
}

int sim_faults_open(struct simpool *p, struct xk_err *err)
{
    xk_random_seed(&p->fault_random, xk_random_u64(p->settings.random));
    for (size_t i = 0; i < p->settings.fault_count; i++) {
        const int code = sim_fault_add(p, p->settings.faults[i], true, NULL, err);
        if (code < 0)
            return code;
    }
    return 0;
}

void sim_faults_close(struct simpool *p)
{
    /* Records are as they were, in case they are kept. */
    (void)sim_fault_heal(p, 0, NULL);
    while (p->faults) {
        struct sim_fault *const f = p->faults;
        p->faults = f->next;
        fault_free(f);
    }
}

void sim_fault_list(const struct simpool *p, struct xk_buf *b)
{
    for (const struct sim_fault *f = p->faults; f; f = f->next)
        xk_buf_printf(b, "%u\t%s\t%s\tmet %llu\tstruck %llu\n", f->id, f->text, f->begun ? "on" : "waits",
                      (unsigned long long)f->met, (unsigned long long)f->struck);
}

/* ---- the control call ---- */

static const char *argument(const struct sim_call *c, const char *name)
{
    return xapi_value_text(xapi_map_get(&c->args[3], name));
}

static enum sim_outcome plugin_failure(struct sim_call *c, const struct xk_err *err)
{
    return sim_fail(c, "XENAPI_PLUGIN_FAILURE", "non-zero exit", "", err->text, NULL);
}

static enum sim_outcome plugin_fault(struct sim_call *c)
{
    struct xk_err err = {0};
    char text[16];
    unsigned id;

    if (sim_fault_add(c->pool, argument(c, "fault"), false, &id, &err) < 0)
        return plugin_failure(c, &err);
    snprintf(text, sizeof(text), "%u", id);
    c->result = xapi_str(xk_arena_strdup(&c->arena, text));
    return c->result.text ? SIM_DONE : sim_no_memory(c);
}

static enum sim_outcome plugin_heal(struct sim_call *c)
{
    const char *const word = argument(c, "id");
    struct xk_err err = {0};
    uint64_t id = 0;
    char text[16];

    int count = -EINVAL;
    if (strcmp(word, "all") != 0 && (xk_parse_u64(&id, word) < 0 || id == 0 || id > UINT32_MAX))
        (void)xk_fail(&err, -EINVAL, "id='%.40s': the number of a fault is needed, or all", word);
    else
        count = sim_fault_heal(c->pool, (unsigned)id, &err);
    if (count == 0 && id)
        count = xk_fail(&err, -ENOENT, "there is no fault %llu", (unsigned long long)id);
    if (count < 0)
        return plugin_failure(c, &err);
    snprintf(text, sizeof(text), "%d", count);
    c->result = xapi_str(xk_arena_strdup(&c->arena, text));
    return c->result.text ? SIM_DONE : sim_no_memory(c);
}

static enum sim_outcome plugin_list(struct sim_call *c)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(SIM_FAULTS_MAX * (SIM_FAULT_BYTES_MAX + 128u));

    sim_fault_list(c->pool, &b);
    c->result = xapi_str(xk_arena_strdup(&c->arena, xk_buf_str(&b)));
    return c->result.text && !b.error ? SIM_DONE : sim_no_memory(c);
}

static enum sim_outcome call_plugin(struct sim_call *c)
{
    static const struct {
        const char *name;
        sim_behaviour *run;
    } functions[] = {{"fault", plugin_fault}, {"heal", plugin_heal}, {"list", plugin_list}};

    if (!sim_arg(c, 0))
        return SIM_FAILED;
    if (strcmp(sim_arg_text(c, 1), "xenkit") != 0)
        return sim_fail(c, "XENAPI_MISSING_PLUGIN", sim_arg_text(c, 1), NULL);
    for (size_t i = 0; i < XK_COUNT(functions); i++)
        if (strcmp(functions[i].name, sim_arg_text(c, 2)) == 0)
            return functions[i].run(c);
    return sim_fail(c, "UNKNOWN_XENAPI_PLUGIN_FUNCTION", sim_arg_text(c, 2), NULL);
}

const struct sim_row sim_fault_rows[] = {
    {"host.call_plugin", call_plugin},
    {NULL, NULL},
};
