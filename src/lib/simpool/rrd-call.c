/* The messages about data sources: what there is, what it measures now, and whether it is recorded. */
#include "lib/simpool/rrd.h"

#include <string.h>

/* What has series now: a host always, a VM while it runs, an SR that is attached somewhere. */
static enum sim_outcome check(struct sim_call *c, const struct sim_object *o, unsigned *ret_host)
{
    const struct simpool *const p = c->pool;
    const char *const class_name = xapi_text(o->class_row->name), *ref = o->ref;

    if (strcmp(class_name, "VM") == 0) {
        const char *const state = sim_text(o, "power_state");
        if (strcmp(state, "Running") != 0)
            return sim_fail(c, "VM_BAD_POWER_STATE", o->ref, "running",
                            strcmp(state, "Halted") == 0   ? "halted"
                            : strcmp(state, "Paused") == 0 ? "paused"
                                                           : "suspended",
                            NULL);
        ref = sim_text(o, "resident_on");
    } else if (strcmp(class_name, "SR") == 0) {
        const struct sim_object *pbd = sim_first(p, "PBD");
        while (pbd && (strcmp(sim_text(pbd, "SR"), o->ref) != 0 || !sim_bool(pbd, "currently_attached")))
            pbd = pbd->class_next;
        if (!pbd)
            return sim_fail(c, "SR_HAS_NO_PBDS", o->ref, NULL);
        ref = sim_text(pbd, "host");
    }
    *ret_host = 0;
    while (*ret_host + 1 < p->settings.hosts && strcmp(p->host_refs[*ret_host], ref) != 0)
        ++*ret_host;
    return SIM_DONE;
}

/* The object's sources, and the one that is named (NULL: no name was asked for). */
static enum sim_outcome open_sources(struct sim_call *c, struct sim_rrd *r, const char *name, struct sim_ds **ret)
{
    const struct sim_object *const o = sim_arg(c, 0);
    unsigned host;
    char text[SIM_DS_NAME + 64];

    *r = (struct sim_rrd){0};
    if (!o || check(c, o, &host) == SIM_FAILED)
        return SIM_FAILED;
    sim_rrd_open(r, c->pool, host);
    sim_rrd_add(r, o, true);
    if (r->error)
        return sim_no_memory(c);
    *ret = NULL;
    for (size_t i = 0; name && i < r->source_count; i++)
        if (strcmp(r->sources[i].name, name) == 0)
            *ret = &r->sources[i];
    if (!name || *ret)
        return SIM_DONE;
    snprintf(text, sizeof(text), "Rrdd_error(Datasource_missing(%.*s))", SIM_DS_NAME, name);
    return sim_fail(c, "INTERNAL_ERROR", text, NULL);
}

static void put_source(struct xapi_build *b, const struct sim_ds *ds)
{
    char words[256];

    sim_rrd_describe(ds, words, sizeof(words));
    xapi_build_open(b, XAPI_MAP);
    xapi_build_value(b, xapi_str("name_label"));
    xapi_build_text(b, ds->name);
    xapi_build_value(b, xapi_str("name_description"));
    xapi_build_text(b, words);
    xapi_build_value(b, xapi_str("enabled"));
    xapi_build_value(b, xapi_bool(ds->enabled));
    xapi_build_value(b, xapi_str("standard"));
    xapi_build_value(b, xapi_bool(ds->standard));
    xapi_build_value(b, xapi_str("units"));
    xapi_build_text(b, ds->units);
    xapi_build_value(b, xapi_str("min"));
    xapi_build_value(b, xapi_real(0));
    xapi_build_value(b, xapi_str("max"));
    xapi_build_value(b, xapi_real(ds->max));
    xapi_build_value(b, xapi_str("value"));
    xapi_build_value(b, xapi_real(0)); /* the real server has no value here, either */
    xapi_build_close(b);
}

static enum sim_outcome get_sources(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    struct sim_rrd r;
    struct sim_ds *none;
    enum sim_outcome outcome = open_sources(c, &r, NULL, &none);

    if (outcome == SIM_DONE) {
        xapi_build_open(&b, XAPI_LIST);
        for (size_t i = 0; i < r.source_count; i++)
            put_source(&b, &r.sources[i]);
        xapi_build_close(&b);
        outcome = xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
    }
    sim_rrd_close(&r);
    return outcome;
}

/* The newest row of the finest archive. */
static enum sim_outcome query(struct sim_call *c)
{
    struct sim_rrd r;
    struct sim_ds *ds;
    const enum sim_outcome outcome = open_sources(c, &r, sim_arg_text(c, 1), &ds);

    if (outcome == SIM_DONE) {
        const int64_t t = sim_rrd_floor(r.now_s, SIM_RRD_STEP_S);
        c->result = xapi_real(sim_rrd_value(&r, ds, t - SIM_RRD_STEP_S, t));
    }
    sim_rrd_close(&r);
    return outcome;
}

static enum sim_outcome mark(struct sim_call *c, bool record)
{
    struct sim_rrd r;
    struct sim_ds *ds;
    enum sim_outcome outcome = open_sources(c, &r, sim_arg_text(c, 1), &ds);

    /* What is recorded already goes on; what everybody records begins anew when it is forgotten. */
    if (outcome == SIM_DONE && !(record && ds->enabled) && sim_rrd_mark(c->pool, ds, record || ds->standard) < 0)
        outcome = sim_no_memory(c);
    sim_rrd_close(&r);
    return outcome;
}

static enum sim_outcome record(struct sim_call *c)
{
    return mark(c, true);
}

static enum sim_outcome forget(struct sim_call *c)
{
    return mark(c, false);
}

const struct sim_row sim_rrd_rows[] = {
    {"host.get_data_sources", get_sources},
    {"host.query_data_source", query},
    {"host.record_data_source", record},
    {"host.forget_data_source_archives", forget},
    {"VM.get_data_sources", get_sources},
    {"VM.query_data_source", query},
    {"VM.record_data_source", record},
    {"VM.forget_data_source_archives", forget},
    {"SR.get_data_sources", get_sources},
    {"SR.query_data_source", query},
    {"SR.record_data_source", record},
    {"SR.forget_data_source_archives", forget},
    {NULL, NULL},
};
