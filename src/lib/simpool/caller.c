/*
 * Callers, rate limiters and observers: who calls, how often he may, and who is told.
 *
 * A real server counts calls and holds callers back only when its xapi.conf says rate_limit=true, which it does not by
 * itself: until then callers are records, and every count is 0. It is played as it is installed. The same with
 * observers: traces go only to the host's own files unless xapi.conf lets them out. Facts: xapi_caller.ml,
 * xapi_rate_limit.ml, xapi_observer.ml of xapi (2026-08).
 */
#include "lib/simpool/ops.h"

#include <ctype.h>

#define GROUP_NAME_MAX      64
#define ATTRIBUTE_BYTES_MAX 4095

/* ---- callers ---- */

/* A pattern that everything meets. */
static bool is_wildcard(const char *pattern)
{
    return *pattern == '\0' || sim_same(pattern, "*");
}

static enum sim_outcome caller_create(struct sim_call *c)
{
    static const char *const names[] = {"name_label", "name_description"};
    struct simpool *const p = c->pool;
    const struct xapi_value *record;

    if (!sim_record_arg(c, 0, &record))
        return SIM_FAILED;
    const char *const agent = sim_record_text(record, "user_agent"), *const ip = sim_record_text(record, "client_ip");
    if (*agent == '\0' && *ip == '\0')
        return sim_invalid(c, "user_agent/client_ip", "at least one of user_agent or client_ip must be set");
    if (is_wildcard(agent) && is_wildcard(ip))
        return sim_invalid(c, "user_agent/client_ip", "all-wildcard pattern not allowed");
    for (struct sim_object *o = sim_first(p, "Caller"); o; o = o->class_next) {
        if (!sim_is(o, "user_agent", agent) || !sim_is(o, "client_ip", ip))
            continue;
        for (size_t i = 0; i < XK_COUNT(names); i++) /* the same again renames it */
            sim_put_text(p, o, names[i], sim_record_text(record, names[i]));
        return sim_done_ref(c, o);
    }
    return sim_generic(c);
}

static enum sim_outcome check_group(struct sim_call *c, const char *group)
{
    char text[64];

    snprintf(text, sizeof(text), "group name must be at most %d characters", GROUP_NAME_MAX);
    if (*group == '\0')
        return sim_invalid(c, "group", "empty group name");
    if (strlen(group) > GROUP_NAME_MAX)
        return sim_invalid(c, "group", text);
    for (const char *at = group; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("_-.", *at))
            return sim_invalid(c, "group", "group name may only contain alphanumerics and '_', '-' or '.' characters");
    return SIM_DONE;
}

static enum sim_outcome change_groups(struct sim_call *c, bool add)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    if (add && check_group(c, sim_arg_text(c, 1)) == SIM_FAILED)
        return SIM_FAILED;
    const unsigned place = xapi_field_place(o->class_row, "groups");
    (add ? sim_list_add : sim_list_remove)(c->pool, o, place, &c->args[1]);
    return SIM_DONE;
}

static enum sim_outcome add_group(struct sim_call *c)
{
    return change_groups(c, true);
}

static enum sim_outcome remove_group(struct sim_call *c)
{
    return change_groups(c, false);
}

static enum sim_outcome query_tokens(struct sim_call *c)
{
    c->result = xapi_real(0);
    return sim_arg(c, 0) ? SIM_DONE : SIM_FAILED;
}

static enum sim_outcome query_calls(struct sim_call *c)
{
    c->result = xapi_int(0);
    return sim_arg(c, 0) ? SIM_DONE : SIM_FAILED;
}

static enum sim_outcome group_tokens(struct sim_call *c)
{
    c->result = xapi_real(0);
    return *sim_arg_text(c, 0) ? SIM_DONE : sim_invalid(c, "group", "empty group name");
}

static enum sim_outcome group_calls(struct sim_call *c)
{
    c->result = xapi_int(0);
    return *sim_arg_text(c, 0) ? SIM_DONE : sim_invalid(c, "group", "empty group name");
}

static enum sim_outcome all_usage(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    xapi_build_open(&b, XAPI_LIST);
    for (const struct sim_object *o = sim_first(c->pool, "Caller"); o; o = o->class_next) {
        xapi_build_open(&b, XAPI_LIST);
        xapi_build_text(&b, sim_text(o, "uuid"));
        xapi_build_text(&b, sim_text(o, "name_label"));
        xapi_build_text(&b, "0.000");
        xapi_build_text(&b, "0");
        xapi_build_close(&b);
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* ---- rate limiters ---- */

/* returns false: one of them is not above 0, and it was said. */
static bool rates_are_good(struct sim_call *c, double burst, double fill)
{
    const double wrong = fill > 0 ? burst : fill;
    char text[32];

    if (fill > 0 && burst > 0)
        return true;
    snprintf(text, sizeof(text), "%.12g", wrong);
    if (!strpbrk(text, ".en")) /* as OCaml writes a float that is whole */
        snprintf(text, sizeof(text), "%.12g.", wrong);
    (void)sim_invalid(c, fill > 0 ? "burst_size" : "fill_rate", text);
    return false;
}

static double real_of(const struct xapi_value *v)
{
    return v && v->shape == XAPI_REAL ? v->real : 0;
}

static enum sim_outcome limit_create(struct sim_call *c)
{
    const struct xapi_value *record;

    if (!sim_record_arg(c, 0, &record))
        return SIM_FAILED;
    if (!rates_are_good(c, real_of(xapi_map_get(record, "burst_size")), real_of(xapi_map_get(record, "fill_rate"))))
        return SIM_FAILED;
    return sim_generic(c);
}

static enum sim_outcome limit_destroy(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const limit = sim_arg(c, 0), *caller;

    if (!limit)
        return SIM_FAILED;
    for (size_t at = 0; (caller = sim_member(p, limit, "callers", &at)) && p->error == 0; at = 0)
        sim_put_text(p, caller, "rate_limit", SIM_NULL);
    sim_delete(p, limit);
    return SIM_DONE;
}

static enum sim_outcome add_caller(struct sim_call *c)
{
    const struct sim_object *const limit = sim_arg(c, 0);
    struct sim_object *const caller = limit ? sim_arg(c, 1) : NULL;

    if (!caller)
        return SIM_FAILED;
    sim_put_text(c->pool, caller, "rate_limit", limit->ref);
    sim_put_bool(c->pool, caller, "auto_registered", false);
    return SIM_DONE;
}

static enum sim_outcome remove_caller(struct sim_call *c)
{
    const struct sim_object *const limit = sim_arg(c, 0);
    struct sim_object *const caller = limit ? sim_arg(c, 1) : NULL;

    if (!caller)
        return SIM_FAILED;
    if (sim_is(caller, "rate_limit", limit->ref))
        sim_put_text(c->pool, caller, "rate_limit", SIM_NULL);
    return SIM_DONE;
}

static enum sim_outcome set_rate(struct sim_call *c, const char *field)
{
    struct sim_object *const limit = sim_arg(c, 0);

    if (!limit)
        return SIM_FAILED;
    const bool burst = sim_same(field, "burst_size");
    const double value = real_of(&c->args[1]);
    if (!rates_are_good(c, burst ? value : real_of(sim_get(limit, "burst_size")),
                        burst ? real_of(sim_get(limit, "fill_rate")) : value))
        return SIM_FAILED;
    sim_put_real(c->pool, limit, field, value);
    return SIM_DONE;
}

static enum sim_outcome set_burst_size(struct sim_call *c)
{
    return set_rate(c, "burst_size");
}

static enum sim_outcome set_fill_rate(struct sim_call *c)
{
    return set_rate(c, "fill_rate");
}

/* ---- observers ---- */

static bool components_are_known(struct sim_call *c, const struct xapi_value *components)
{
    static const char *const known[] = {"xapi", "xenopsd", "xapi-clusterd", "smapi"};

    for (size_t i = 0; i < components->count; i++) {
        size_t j = 0;
        while (j < XK_COUNT(known) && !sim_same(known[j], xapi_value_text(&components->items[i])))
            j++;
        if (j == XK_COUNT(known)) {
            (void)sim_invalid(c, "component", xapi_value_text(&components->items[i]));
            return false;
        }
    }
    return true;
}

/* A URL is an endpoint only where xapi.conf says so. */
static bool endpoints_are_good(struct sim_call *c, const struct xapi_value *endpoints)
{
    for (size_t i = 0; i < endpoints->count; i++)
        if (!sim_same(xapi_value_text(&endpoints->items[i]), "bugtool")) {
            (void)sim_invalid(c, "endpoint", xapi_value_text(&endpoints->items[i]));
            return false;
        }
    return true;
}

static bool hosts_are_there(struct sim_call *c, const struct xapi_value *hosts)
{
    for (size_t i = 0; i < hosts->count; i++)
        if (!sim_find(c->pool, xapi_value_text(&hosts->items[i]), xapi_class_find("host"))) {
            (void)sim_invalid(c, "host", xapi_value_text(&hosts->items[i]));
            return false;
        }
    return true;
}

/* Lower-case words with dots and underscores between. */
static bool is_attribute(const char *key, const char *value)
{
    for (const char *at = key; *at; at++)
        if (!islower((unsigned char)*at) && !(at > key && (isdigit((unsigned char)*at) || strchr("._", *at))))
            return false;
    return *key && strlen(value) <= ATTRIBUTE_BYTES_MAX;
}

static bool attributes_are_good(struct sim_call *c, const struct xapi_value *map)
{
    for (size_t i = 0; i < map->count; i++) {
        const char *const key = map->items[2 * i].text, *const value = xapi_value_text(&map->items[2 * i + 1]);
        if (is_attribute(key, value))
            continue;
        const char *const pair = xk_arena_printf(&c->arena, "%s:%s", key, value);
        (void)(pair ? sim_invalid(c, "attributes", pair) : sim_no_memory(c));
        return false;
    }
    return true;
}

static enum sim_outcome observer_create(struct sim_call *c)
{
    const struct xapi_value *record;

    if (!sim_record_arg(c, 0, &record))
        return SIM_FAILED;
    return components_are_known(c, xapi_map_get(record, "components")) &&
                   endpoints_are_good(c, xapi_map_get(record, "endpoints")) &&
                   hosts_are_there(c, xapi_map_get(record, "hosts")) &&
                   attributes_are_good(c, xapi_map_get(record, "attributes"))
               ? sim_generic(c)
               : SIM_FAILED;
}

static enum sim_outcome set_observer(struct sim_call *c, bool (*good)(struct sim_call *, const struct xapi_value *))
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o || (good && !good(c, &c->args[1])))
        return SIM_FAILED;
    return sim_generic(c);
}

static enum sim_outcome set_hosts(struct sim_call *c)
{
    return set_observer(c, hosts_are_there);
}

static enum sim_outcome set_attributes(struct sim_call *c)
{
    return set_observer(c, attributes_are_good);
}

static enum sim_outcome set_endpoints(struct sim_call *c)
{
    return set_observer(c, endpoints_are_good);
}

static enum sim_outcome set_components(struct sim_call *c)
{
    return set_observer(c, components_are_known);
}

/* A host begins or ends to trace for it: nothing that a client could see but the record's components. */
static enum sim_outcome tell_host(struct sim_call *c)
{
    const struct sim_object *const o = sim_arg(c, 0), *const host = o ? sim_arg(c, 1) : NULL;

    return host && components_are_known(c, sim_get(o, "components")) ? SIM_DONE : SIM_FAILED;
}

const struct sim_row sim_caller_rows[] = {
    {"Caller.create", caller_create},
    {"Caller.add_group", add_group},
    {"Caller.remove_group", remove_group},
    {"Caller.query_token_usage", query_tokens},
    {"Caller.query_call_count", query_calls},
    {"Caller.query_group_token_usage", group_tokens},
    {"Caller.query_group_call_count", group_calls},
    {"Caller.query_all_usage", all_usage},
    {"Rate_limit.create", limit_create},
    {"Rate_limit.destroy", limit_destroy},
    {"Rate_limit.add_caller", add_caller},
    {"Rate_limit.remove_caller", remove_caller},
    {"Rate_limit.set_burst_size", set_burst_size},
    {"Rate_limit.set_fill_rate", set_fill_rate},
    {"Observer.create", observer_create},
    {"Observer.set_hosts", set_hosts},
    {"Observer.set_attributes", set_attributes},
    {"Observer.set_endpoints", set_endpoints},
    {"Observer.set_components", set_components},
    {"Observer.register", tell_host},
    {"Observer.unregister", tell_host},
    {NULL, NULL},
};
