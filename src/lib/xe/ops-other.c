/* Messages, blobs, subjects, sessions, callers, diagnostics, waiting for events. */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- messages ---- */

static void message_create(struct xe *x)
{
    static const struct {
        const char *param, *class_name;
    } owners[] = {{"vm-uuid", "VM"}, {"pool-uuid", "Pool"}, {"sr-uuid", "SR"}, {"host-uuid", "Host"}};
    int64_t priority = 0;

    if (!xe_number(&priority, xe_required(x, "priority")))
        xe_fail(x, "Priority field should be an integer");
    for (size_t i = 0; i < XK_COUNT(owners); i++) {
        const char *const uuid = xe_param(x, owners[i].param);
        if (!uuid)
            continue;
        (void)xe_do(x, "message.create", xapi_str(xe_required(x, "name")), xapi_int(priority),
                    xapi_str(owners[i].class_name), xapi_str(uuid), xapi_str(xe_required(x, "body")));
        return;
    }
    xe_fail(x, "Need one of: vm-uuid, host-uuid, sr-uuid or pool-uuid");
}

static void message_destroy(struct xe *x)
{
    const char *const uuid = xe_param(x, "uuid"), *const uuids = xe_param(x, "uuids");

    if (uuid && uuids)
        return xe_fail(x, "Ambiguous arguments; need one of uuid, uuids");
    if (!uuid && !uuids)
        return xe_fail(x, "Need one of uuid, uuids");
    const struct xapi_value list = xe_split(x, uuid ? uuid : uuids, uuid ? '\n' : ',');
    struct xapi_value *const refs = (struct xapi_value *)list.items;
    for (uint32_t i = 0; i < list.count && xe_fine(x); i++)
        refs[i] = xapi_str(xe_by_uuid(x, "message", refs[i].text));
    (void)xe_do(x, "message.destroy_many", list);
}

/* The stamp without dashes and with a Z, or NULL when it is none. */
static const char *stamp(struct xe *x, const char *text)
{
    unsigned y, mon, d, h, min, s;
    int used = 0;

    if (sscanf(text, "%4u-%2u-%2uT%2u:%2u:%2u%n", &y, &mon, &d, &h, &min, &s, &used) != 6 &&
        sscanf(text, "%4u%2u%2uT%2u:%2u:%2u%n", &y, &mon, &d, &h, &min, &s, &used) != 6)
        return NULL;
    if ((text[used] && strcmp(text + used, "Z") != 0) || mon < 1 || mon > 12 || d < 1 || d > 31 || h > 23 || min > 59 ||
        s > 60)
        return NULL;
    return xk_arena_printf(&x->arena, "%04u%02u%02uT%02u:%02u:%02uZ", y, mon, d, h, min, s);
}

static void message_destroy_all(struct xe *x)
{
    const char *const before = xe_param(x, "before"), *const after = xe_param(x, "after");
    const char *const priority = xe_param(x, "priority");
    struct xapi_value pairs[6];
    int64_t number = 0;
    size_t count = 0;

    if (before && !stamp(x, before))
        xe_fail(x, "invalid timestamp format for 'before' (expected RFC3339, for example, 2025-01-01T00:00:00Z)");
    if (after && !stamp(x, after))
        xe_fail(x, "Invalid timestamp format for 'after' (expected RFC3339, for example, 2025-01-01T00:00:00Z)");
    if (priority && (!xe_number(&number, priority) || number < 0))
        xe_fail(x, "Invalid priority format (expected positive integer)");
    if (!xe_fine(x))
        return;
    if (before) {
        pairs[2 * count] = xapi_str("before");
        pairs[2 * count++ + 1] = xapi_str(stamp(x, before));
    }
    if (after) {
        pairs[2 * count] = xapi_str("after");
        pairs[2 * count++ + 1] = xapi_str(stamp(x, after));
    }
    if (priority) {
        const struct xapi_value v = xapi_int(number);
        pairs[2 * count] = xapi_str("priority");
        pairs[2 * count++ + 1] = xapi_str(xe_value_text(x, &v));
    }
    (void)xe_do(x, "message.destroy_all", xapi_map(pairs, count));
}

static void blob_create(struct xe *x)
{
    static const struct {
        const char *param, *class_name;
    } owners[] = {{"vm-uuid", "VM"},
                  {"pool-uuid", "pool"},
                  {"sr-uuid", "SR"},
                  {"host-uuid", "host"},
                  {"network-uuid", "network"}};
    const bool public = xe_param_bool(x, "public", false);
    char method[64];

    for (size_t i = 0; i < XK_COUNT(owners); i++) {
        if (!xe_param(x, owners[i].param))
            continue;
        (void)snprintf(method, sizeof(method), "%s.create_new_blob", owners[i].class_name);
        const struct xapi_value blob =
            xe_do(x, method, xapi_str(xe_param_ref(x, owners[i].class_name, owners[i].param)),
                  xapi_str(xe_required(x, "name")), xapi_str(xe_param_or(x, "mime-type", "")), xapi_bool(public));
        return xe_list_one(x, xe_uuid_of(x, "blob", xe_value_text(x, &blob)));
    }
    xe_fail(x, "Need one of: vm-uuid, host-uuid, network-uuid, sr-uuid or pool-uuid");
}

/* ---- subjects and sessions ---- */

static void subject_add(struct xe *x)
{
    const char *const identifier = xe_get_text(x, "auth.get_subject_identifier", xe_required(x, "subject-name"));
    const struct xapi_value pairs[] = {xapi_str("subject_identifier"), xapi_str(identifier), xapi_str("other_config"),
                                       xapi_map(NULL, 0)};
    const struct xapi_value made = xe_do(x, "subject.create", xapi_map(pairs, XK_COUNT(pairs) / 2));

    xe_list_one(x, xe_uuid_of(x, "subject", xe_value_text(x, &made)));
}

static void subject_role(struct xe *x, const char *method)
{
    const char *const uuid = xe_param_or(x, "role-uuid", ""), *const name = xe_param_or(x, "role-name", "");
    const char *role = XE_NULL;

    if (!*uuid && !*name)
        return xe_fail(x, "Required parameter not found: role-uuid or role-name");
    if (*uuid && *name)
        return xe_fail(x, "Parameters role-uuid and role-name cannot be used together");
    if (*uuid) {
        role = xe_by_uuid(x, "role", uuid);
    } else {
        const struct xapi_value roles = xe_get(x, "role.get_by_name_label", name);
        if (roles.count > 0)
            role = xe_item(&roles, 0);
    }
    (void)xe_do(x, method, xapi_str(xe_param_ref(x, "subject", "uuid")), xapi_str(role));
}

static void subject_role_add(struct xe *x)
{
    subject_role(x, "subject.add_to_roles");
}

static void subject_role_remove(struct xe *x)
{
    subject_role(x, "subject.remove_from_roles");
}

static void session_subject_identifier_list(struct xe *x)
{
    const struct xapi_value list = xe_do_bare(x, "session.get_all_subject_identifiers");

    xe_table_begin(x);
    for (uint32_t i = 0; i < list.count; i++) {
        const struct xe_pair pair = {.name = "subject-identifier ( RO)", .value = xe_item(&list, i)};
        xe_table_record(x, &pair, 1);
    }
    xe_table_end(x);
}

static void session_subject_identifier_logout_all(struct xe *x)
{
    const struct xapi_value list = xe_do_bare(x, "session.get_all_subject_identifiers");

    for (uint32_t i = 0; i < list.count && xe_fine(x); i++)
        (void)xe_get(x, "session.logout_subject_identifier", xe_item(&list, i));
}

/* ---- callers and limits ---- */

static void caller_create(struct xe *x)
{
    const char *const agent = xe_param_or(x, "user-agent", ""), *const address = xe_param_or(x, "client-ip", "");

    if (!*agent && !*address)
        return xe_fail(x, "Either user-agent or client-ip must be specified");
    const struct xapi_value pairs[] = {
        xapi_str("name_label"),       xapi_str(xe_param_or(x, "name-label", "")),
        xapi_str("name_description"), xapi_str(xe_param_or(x, "name-description", "")),
        xapi_str("user_agent"),       xapi_str(agent),
        xapi_str("client_ip"),        xapi_str(address),
    };
    const struct xapi_value made = xe_do(x, "Caller.create", xapi_map(pairs, XK_COUNT(pairs) / 2));
    xe_say(x, xe_uuid_of(x, "Caller", xe_value_text(x, &made)));
}

/* A float as the real one's language writes it: the shortest of 12, 15 and 17 digits that reads back, with a point. */
static const char *float_text(struct xe *x, double value)
{
    const int digits[] = {12, 15, 17};
    char text[64] = "";

    for (size_t i = 0; i < XK_COUNT(digits); i++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits[i], value);
        if (strtod(text, NULL) == value)
            break;
    }
    if (!strpbrk(text, ".eEn"))
        (void)strncat(text, ".", sizeof(text) - strlen(text) - 1);
    const char *const copy = xk_arena_strdup(&x->arena, text);
    return copy ? copy : "";
}

static void caller_query_usage(struct xe *x)
{
    const char *const uuid = xe_param(x, "uuid"), *const group = xe_param(x, "group");

    if (uuid && group)
        return xe_fail(x, "Specify exactly one of uuid= or group=, not both");
    if (!uuid && !group)
        return xe_fail(x, "Specify exactly one of uuid= or group=");
    const char *const whom = uuid ? xe_by_uuid(x, "Caller", uuid) : group;
    const struct xapi_value tokens =
        xe_get(x, uuid ? "Caller.query_token_usage" : "Caller.query_group_token_usage", whom);
    const struct xapi_value calls = xe_get(x, uuid ? "Caller.query_call_count" : "Caller.query_group_call_count", whom);
    const struct xe_pair pairs[] = {{"tokens", float_text(x, xe_value_real(&tokens))},
                                    {"call_count", xe_value_text(x, &calls)}};
    xe_table_begin(x);
    xe_table_record(x, pairs, XK_COUNT(pairs));
    xe_table_end(x);
}

static void caller_list_usage(struct xe *x)
{
    static const char *const names[] = {"uuid", "name-label", "tokens", "calls"};
    const struct xapi_value rows = xe_do_bare(x, "Caller.query_all_usage");
    struct xe_pair pairs[64];

    xe_table_begin(x);
    for (uint32_t i = 0; i < rows.count && xe_fine(x); i++) {
        const struct xapi_value *const row = &rows.items[i];
        const uint32_t count = row->shape == XAPI_LIST ? XK_MIN(row->count, (uint32_t)XK_COUNT(pairs)) : 0;
        for (uint32_t j = 0; j < count; j++) {
            pairs[j].name = count == XK_COUNT(names) ? names[j] : xk_arena_printf(&x->arena, "%" PRIu32, j);
            pairs[j].value = xe_item(row, j);
        }
        xe_table_record(x, pairs, count);
    }
    xe_table_end(x);
}

static double positive(struct xe *x, const char *name)
{
    double number = 0;

    if (!xe_real(&number, xe_required(x, name)))
        xe_fail_server(x, "INTERNAL_ERROR", "Failure: float_of_string", NULL);
    return number;
}

static void rate_limit_create(struct xe *x)
{
    const char *const uuids = xe_param_or(x, "caller-uuids", "");
    const struct xapi_value pairs[] = {
        xapi_str("name_label"),       xapi_str(xe_param_or(x, "name-label", "")),
        xapi_str("name_description"), xapi_str(xe_param_or(x, "name-description", "")),
        xapi_str("burst_size"),       xapi_real(positive(x, "burst-size")),
        xapi_str("fill_rate"),        xapi_real(positive(x, "fill-rate")),
    };
    const struct xapi_value made = xe_do(x, "Rate_limit.create", xapi_map(pairs, XK_COUNT(pairs) / 2));
    const struct xapi_value list = *uuids ? xe_split(x, uuids, ',') : xapi_list(NULL, 0);

    for (uint32_t i = 0; i < list.count && xe_fine(x); i++) {
        const char *const word = list.items[i].text + strspn(list.items[i].text, " \t");
        const char *const uuid = xk_arena_strndup(&x->arena, word, strcspn(word, " \t"));
        (void)xe_do(x, "Rate_limit.add_caller", made, xapi_str(xe_by_uuid(x, "Caller", uuid ? uuid : "")));
    }
    xe_say(x, xe_uuid_of(x, "Rate_limit", xe_value_text(x, &made)));
}

static void observer_create(struct xe *x)
{
    const char *const given = xe_param(x, "host-uuids"), *const endpoints = xe_param(x, "endpoints");
    const char *const components = xe_param(x, "components"), *const attributes = xe_param(x, "attributes");
    const struct xapi_value hosts = given ? xe_split(x, given, ',') : xapi_list(NULL, 0);
    const struct xapi_value bugtool = xapi_str("bugtool");
    const struct xapi_value words = attributes ? xe_split(x, attributes, ',') : xapi_list(NULL, 0);
    struct xapi_value *const refs = (struct xapi_value *)hosts.items;
    struct xapi_value *const map = xk_arena_alloc(&x->arena, (2 * (size_t)words.count + 1) * sizeof(*map));
    size_t count = 0;

    if (!map)
        return xe_fail_memory(x);
    for (uint32_t i = 0; i < hosts.count && xe_fine(x); i++)
        refs[i] = xapi_str(xe_by_uuid(x, "host", refs[i].text));
    for (uint32_t i = 0; i < words.count; i++) {
        const struct xapi_value halves = xe_split(x, words.items[i].text, ':');
        if (halves.count != 2)
            continue;
        map[2 * count] = halves.items[0];
        map[2 * count++ + 1] = halves.items[1];
    }
    const struct xapi_value pairs[] = {
        xapi_str("name_label"),
        xapi_str(xe_required(x, "name-label")),
        xapi_str("name_description"),
        xapi_str(xe_param_or(x, "name-description", "")),
        xapi_str("hosts"),
        hosts,
        xapi_str("attributes"),
        xapi_map(map, count),
        xapi_str("endpoints"),
        endpoints ? xe_split(x, endpoints, ',') : xapi_list(&bugtool, 1),
        xapi_str("components"),
        components ? xe_split(x, components, ',') : xapi_list(NULL, 0),
        xapi_str("enabled"),
        xapi_bool(xe_param_bool(x, "enabled", false)),
    };
    const struct xapi_value made = xe_do(x, "Observer.create", xapi_map(pairs, XK_COUNT(pairs) / 2));
    xe_list_one(x, xe_uuid_of(x, "Observer", xe_value_text(x, &made)));
}

static void vtpm_create(struct xe *x)
{
    const struct xapi_value vm = xapi_str(xe_param_ref(x, "VM", "vm-uuid"));
    const bool unique = xe_param_bool(x, "is_unique", false) || xe_param_bool(x, "is-unique", false);
    const struct xapi_value made = xe_do(x, "VTPM.create", vm, xapi_bool(unique));

    xe_list_one(x, xe_uuid_of(x, "VTPM", xe_value_text(x, &made)));
}

static void vtpm_destroy(struct xe *x)
{
    xe_need_force(x);
    (void)xe_get(x, "VTPM.destroy", xe_fine(x) ? xe_param_ref(x, "VTPM", "uuid") : "");
}

/* ---- diagnostics ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct xe_pair *)a)->name, ((const struct xe_pair *)b)->name);
}

static void timing_of(struct xe *x, const char *host, bool counts)
{
    struct xe_pair pairs[512] = {{"host-uuid", xe_uuid_of(x, "host", host)},
                                 {"host-name-label", xe_get_text(x, "host.get_name_label", host)}};
    size_t count = 2;
    const struct xapi_value map = xe_do(x, "host.get_diagnostic_timing_stats", xapi_str(host), xapi_bool(counts));

    if (x->failure == XE_SERVER) {
        struct xk_buf b = XK_BUF_INIT(1u << 16);
        xk_buf_printf(&b, "Server_error(%s, [ ", xe_item(&x->server, 0));
        for (uint32_t i = 1; i < x->server.count; i++)
            xk_buf_printf(&b, "%s%s", i > 1 ? "; " : "", xe_item(&x->server, i));
        xk_buf_add_str(&b, " ])");
        (void)xe_forgive(x);
        pairs[count++] = (struct xe_pair){.name = "Error", .value = xe_text_value(x, xk_buf_str(&b)).text};
        xk_buf_done(&b);
    }
    for (uint32_t i = 0; map.shape == XAPI_MAP && i < map.count && count < XK_COUNT(pairs); i++)
        pairs[count++] = (struct xe_pair){.name = xapi_value_text(&map.items[2 * i]),
                                          .value = xapi_value_text(&map.items[2 * i + 1])};
    qsort(pairs, count, sizeof(pairs[0]), by_name);
    xe_table_record(x, pairs, count);
}

static void diagnostic_timing_stats(struct xe *x)
{
    const bool counts = xe_param_bool(x, "counts", false);
    const struct xapi_value hosts = xe_do_bare(x, "host.get_all");

    xe_table_begin(x);
    for (uint32_t i = 0; i < hosts.count && xe_fine(x); i++)
        timing_of(x, xe_item(&hosts, i), counts);
    xe_table_end(x);
}

static void diagnostic_db_stats(struct xe *x)
{
    const struct xapi_value map = xe_do_bare(x, "Diagnostics.db_stats");
    struct xk_buf b = XK_BUF_INIT(1u << 16);

    xk_buf_add_str(&b, "DB lock stats: ");
    for (uint32_t i = 0; map.shape == XAPI_MAP && i < map.count; i++)
        xk_buf_printf(&b, "%s%s=%s", i > 0 ? " " : "", xapi_value_text(&map.items[2 * i]),
                      xapi_value_text(&map.items[2 * i + 1]));
    xe_say(x, xk_buf_str(&b));
    xk_buf_done(&b);
}

static void net_stats_one(struct xe *x, struct xe_object *host, void *context)
{
    static const char *const passed[] = {"method", "uri", "params", "requests", "connections", "framed"};
    struct xapi_value pairs[2 * XK_COUNT(passed)];
    size_t widths[64] = {0}, count = 0;

    for (size_t i = 0; i < XK_COUNT(passed); i++) {
        if (!xe_param(x, passed[i]))
            continue;
        pairs[2 * count] = xapi_str(passed[i]);
        pairs[2 * count++ + 1] = xapi_str(xe_param(x, passed[i]));
    }
    const struct xapi_value rows = xe_do(x, "Diagnostics.network_stats", xapi_str(host->ref), xapi_map(pairs, count));
    for (uint32_t i = 0; i < rows.count; i++)
        for (uint32_t j = 0; rows.items[i].shape == XAPI_LIST && j < rows.items[i].count && j < XK_COUNT(widths); j++)
            widths[j] = XK_MAX(widths[j], strlen(xe_item(&rows.items[i], j)));
    for (uint32_t i = 0; i < rows.count; i++) {
        struct xk_buf b = XK_BUF_INIT(1u << 16);
        for (uint32_t j = 0; rows.items[i].shape == XAPI_LIST && j < rows.items[i].count && j < XK_COUNT(widths); j++) {
            const char *const cell = xe_item(&rows.items[i], j);
            xk_buf_add_str(&b, j > 0 ? " | " : "");
            xk_buf_add_repeat(&b, ' ', widths[j] - strlen(cell));
            xk_buf_add_str(&b, cell);
        }
        xe_say(x, xk_buf_str(&b));
        xk_buf_done(&b);
    }
}

static void diagnostic_net_stats(struct xe *x)
{
    static const char *const own[] = {"uri", "method", "params", "requests", "connections", "framed", NULL};

    (void)xe_each(x, XE_SELECTS_HOSTS, XE_ONE, own, net_stats_one, NULL);
}

/* ---- event-wait ---- */

#define WAIT_S         30.0
#define WAIT_BYTES_MAX (64u << 20)

/* The kinds of object that can be waited for, as records and as classes. */
static const struct {
    const char *name, *record, *class_name;
} waitable[] = {{"vm", "vm", "VM"},       {"vdi", "vdi", "VDI"},          {"sr", "sr", "SR"},
                {"host", "host", "host"}, {"network", "net", "network"},  {"vif", "vif", "VIF"},
                {"pif", "pif", "PIF"},    {"vbd", "vbd", "VBD"},          {"pbd", "pbd", "PBD"},
                {"pool", "pool", "pool"}, {"task", "task", "task"},       {"subject", "subject", "subject"},
                {"role", "role", "role"}, {"secret", "secret", "secret"}, {"vmss", "vmss", "VMSS"}};

/* Every field=value has to hold; "=/=value" asks for another value. */
static bool matches(struct xe *x, struct xe_object *o)
{
    for (size_t i = 0; i < x->param_count && xe_fine(x); i++) {
        const char *const name = x->params[i].name, *const value = x->params[i].value;
        const bool other = xk_has_prefix(value, "/=");
        if (strcmp(name, "class") == 0 || xe_is_standard_param(name))
            continue;
        const struct xe_field *const field = xe_field_find(o->kind, name);
        if (!field) {
            xe_fail(x, "key missing: %s", name);
            return false;
        }
        const bool same = strcmp(xe_field_show(x, o, field), other ? value + 2 : value) == 0;
        if (same == other)
            return false;
    }
    return xe_fine(x);
}

static bool now_matches(struct xe *x, size_t kind)
{
    char method[64];

    (void)snprintf(method, sizeof(method), "%s.get_all", waitable[kind].class_name);
    const struct xapi_value refs = xe_do_bare(x, method);
    for (uint32_t i = 0; i < refs.count && xe_fine(x); i++) {
        struct xe_object o = xe_object(x, waitable[kind].record, xe_item(&refs, i));
        if (matches(x, &o))
            return true;
    }
    return false;
}

static bool event_matches(struct xe *x, size_t kind, char token[128])
{
    const struct xapi_value class_text = xapi_str(waitable[kind].name);
    const struct xapi_value reply =
        xe_do(x, "event.from", xapi_list(&class_text, 1), xapi_str(token), xapi_real(WAIT_S));
    const struct xapi_value *const events = xapi_map_get(&reply, "events");

    (void)snprintf(token, 128, "%s", xapi_value_text(xapi_map_get(&reply, "token")));
    for (uint32_t i = 0; events && events->shape == XAPI_LIST && i < events->count && xe_fine(x); i++) {
        const struct xapi_value *const record = xapi_map_get(&events->items[i], "snapshot");
        if (!record || record->shape != XAPI_MAP)
            continue;
        struct xe_object o =
            xe_object(x, waitable[kind].record, xapi_value_text(xapi_map_get(&events->items[i], "ref")));
        o.record = *record;
        if (matches(x, &o))
            return true;
    }
    return false;
}

static void event_wait(struct xe *x)
{
    const char *const name = xe_required(x, "class");
    char token[128] = "";
    size_t kind = 0;

    while (kind < XK_COUNT(waitable) && strcmp(waitable[kind].name, name) != 0)
        kind++;
    if (kind == XK_COUNT(waitable))
        return xe_fail(x, "Cli listening for class '%s' not currently implemented", name);
    if (now_matches(x, kind))
        return;
    for (bool met = false; !met && xe_fine(x);) {
        /* What one wait needed is given back before the next: it may go on for days. */
        struct xk_arena own = x->arena;
        x->arena = XK_ARENA_INIT(WAIT_BYTES_MAX);
        met = event_matches(x, kind, token);
        xe_index_done(x);
        xe_keep_failure(x, &own);
    }
}

const struct xe_row xe_other_rows[] = {
    {"message-create", message_create},
    {"message-destroy", message_destroy},
    {"message-destroy-all", message_destroy_all},
    {"blob-create", blob_create},
    {"subject-add", subject_add},
    {"subject-role-add", subject_role_add},
    {"subject-role-remove", subject_role_remove},
    {"session-subject-identifier-list", session_subject_identifier_list},
    {"session-subject-identifier-logout-all", session_subject_identifier_logout_all},
    {"caller-create", caller_create},
    {"caller-query-usage", caller_query_usage},
    {"caller-list-usage", caller_list_usage},
    {"rate-limit-create", rate_limit_create},
    {"observer-create", observer_create},
    {"vtpm-create", vtpm_create},
    {"vtpm-destroy", vtpm_destroy},
    {"diagnostic-timing-stats", diagnostic_timing_stats},
    {"diagnostic-db-stats", diagnostic_db_stats},
    {"diagnostic-net-stats", diagnostic_net_stats},
    {"event-wait", event_wait},
    {NULL, NULL},
};
