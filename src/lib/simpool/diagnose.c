/*
 * What the toolstack tells of itself: memory, its database, requests, storage, who called.
 *
 * The numbers are those of the simulator: one process is every host's toolstack. OCaml's collector is not here; its
 * words are filled from the C heap where they mean the same, and are 0 where nothing does. Facts: xapi_diagnostics.ml,
 * xapi_tracked_user_agents.ml, storage_smapiv1_wrapper.ml of xapi (2026-08).
 */
#include "lib/simpool/hosts.h"
#include "lib/simpool/ops.h"

#include <malloc.h>
#include <strings.h>

#define WORD_BYTES      8u
#define AGENTS_MAX      128
#define AGENT_BYTES_MAX 64
#define TEXT_BYTES_MAX  (4u << 20)

/* ---- memory ---- */

static enum sim_outcome gc_compact(struct sim_call *c)
{
    if (!sim_host_arg(c, 0))
        return SIM_FAILED;
    (void)malloc_trim(0);
    c->pool->compactions++;
    return SIM_DONE;
}

static enum sim_outcome gc_stats(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    if (!sim_host_arg(c, 0))
        return SIM_FAILED;
    const struct mallinfo2 heap = mallinfo2();
    const size_t words = heap.arena / WORD_BYTES, mapped = heap.hblkhd / WORD_BYTES;
    const struct {
        const char *name;
        size_t value;
        bool real; /* which OCaml writes with a point at the end */
    } rows[] = {
        {"minor_words", 0, true},
        {"promoted_words", 0, true},
        {"major_words", words + mapped, true},
        {"minor_collections", 0, false},
        {"major_collections", c->pool->compactions, false},
        {"heap_words", words + mapped, false},
        {"heap_chunks", 1 + heap.hblks, false},
        {"live_words", heap.uordblks / WORD_BYTES + mapped, false},
        {"live_blocks", c->pool->objects, false},
        {"free_words", heap.fordblks / WORD_BYTES, false},
        {"free_blocks", heap.ordblks, false},
        {"largest_free", heap.keepcost / WORD_BYTES, false},
        {"fragments", heap.smblks, false},
        {"compactions", c->pool->compactions, false},
        {"top_heap_words", words + mapped, false},
    };
    xapi_build_open(&b, XAPI_MAP);
    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        char text[32];
        snprintf(text, sizeof(text), "%zu%s", rows[i].value, rows[i].real ? "." : "");
        xapi_build_text(&b, rows[i].name);
        xapi_build_text(&b, text);
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* ---- the database and requests ---- */

/* Changes of it; one thread never waits for its lock. */
static enum sim_outcome db_stats(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    static const char *const times[] = {"avgtime", "min", "max"};
    char text[32];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)(c->pool->generation & 0xffffffffu));
    xapi_build_open(&b, XAPI_MAP);
    xapi_build_text(&b, "n");
    xapi_build_text(&b, text);
    for (size_t i = 0; i < XK_COUNT(times); i++) {
        xapi_build_text(&b, times[i]);
        xapi_build_text(&b, "0.000000");
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static bool asks_for(const struct xapi_value *params, const char *column)
{
    const char *const columns = sim_option(params, "params"), *at = columns;
    const size_t len = strlen(column);

    while (at && !(strncmp(at, column, len) == 0 && (at[len] == ',' || at[len] == '\0'))) {
        at = strchr(at, ',');
        at = at ? at + 1 : NULL;
    }
    return !columns || at;
}

static bool fits(const struct xapi_value *params, const char *name, const char *value)
{
    const char *const wanted = sim_option(params, name);

    return !wanted || strcasecmp(wanted, value) == 0;
}

static enum sim_outcome network_stats(struct sim_call *c)
{
    static const char *const names[] = {"method", "uri", "requests", "connections", "framed"};
    const struct xapi_value *const params = &c->args[1];
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    const struct sim_route *route;
    struct sim_served served;

    if (!sim_host_arg(c, 0))
        return SIM_FAILED;
    xapi_build_open(&b, XAPI_LIST);
    for (unsigned i = 0; (route = sim_route_at(c->pool, i, &served)); i++) {
        char numbers[2][24];
        snprintf(numbers[0], sizeof(numbers[0]), "%llu", (unsigned long long)served.requests);
        snprintf(numbers[1], sizeof(numbers[1]), "%llu", (unsigned long long)served.closed);
        /* The simulator has no framed requests, as no client of today's has. */
        const char *const values[] = {route->method, route->path, numbers[0], numbers[1], "0"};
        if (!fits(params, "method", route->method) || !fits(params, "uri", route->path))
            continue;
        xapi_build_open(&b, XAPI_LIST);
        for (size_t j = 0; j < XK_COUNT(names); j++)
            if (asks_for(params, names[j]))
                xapi_build_text(&b, values[j]);
        xapi_build_close(&b);
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* ---- who called ---- */

struct sim_agents {
    struct {
        char name[AGENT_BYTES_MAX + 1], version[AGENT_BYTES_MAX + 1];
        unsigned host;
    } rows[AGENTS_MAX];
    unsigned count, oldest;
};

void sim_agent_note(struct sim_call *c)
{
    const char *const agent = c->exchange ? http_header(c->exchange, "user-agent") : NULL;
    struct simpool *const p = c->pool;

    if (!agent || strlen(agent) > AGENT_BYTES_MAX)
        return;
    if (!p->agents && !(p->agents = xk_zalloc(sizeof(*p->agents))))
        return; /* it is only remembered for whoever asks */
    struct sim_agents *const all = p->agents;
    const int word = (int)strcspn(agent, " "), name = XK_MIN((int)strcspn(agent, "/"), word),
              version = name < word ? (int)strcspn(agent + name + 1, " /") : 0;
    unsigned i = 0;
    while (i < all->count && !(all->rows[i].host == c->host && (int)strlen(all->rows[i].name) == name &&
                               strncmp(all->rows[i].name, agent, (size_t)name) == 0))
        i++;
    if (i == AGENTS_MAX) {
        i = all->oldest;
        all->oldest = (all->oldest + 1) % AGENTS_MAX;
    }
    all->count = XK_MAX(all->count, i + 1);
    all->rows[i].host = c->host;
    snprintf(all->rows[i].name, sizeof(all->rows[i].name), "%.*s", name, agent);
    snprintf(all->rows[i].version, sizeof(all->rows[i].version), "%.*s", version, agent + name + (version > 0));
}

static enum sim_outcome tracked_agents(struct sim_call *c)
{
    const struct sim_agents *const all = c->pool->agents;
    const struct sim_object *const host = sim_host_arg(c, 0);
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    if (!host)
        return SIM_FAILED;
    xapi_build_open(&b, XAPI_MAP);
    for (unsigned i = 0; all && i < all->count; i++)
        if (all->rows[i].host == sim_host_number(c->pool, host)) {
            xapi_build_text(&b, all->rows[i].name);
            xapi_build_text(&b, all->rows[i].version);
        }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

/* ---- storage, threads, reports ---- */

static enum sim_outcome done_text(struct sim_call *c, struct xk_buf *text)
{
    const char *const copy = text->error ? NULL : xk_arena_strdup(&c->arena, xk_buf_str(text));

    xk_buf_done(text);
    if (!copy)
        return sim_no_memory(c);
    c->result = xapi_str(copy);
    return SIM_DONE;
}

/* The disks that the host has open, under the SRs that it reaches. */
static void put_sr(const struct simpool *p, struct xk_buf *text, const struct sim_object *host,
                   const struct sim_object *sr)
{
    const struct sim_object *vdi, *vbd;

    xk_buf_printf(text, "SR %s\n", sim_text(sr, "uuid"));
    for (size_t at = 0; (vdi = sim_member(p, sr, "VDIs", &at));)
        for (size_t next = 0; (vbd = sim_member(p, vdi, "VBDs", &next));) {
            const struct sim_object *const vm = sim_follow(p, vbd, "VM");
            if (!sim_bool(vbd, "currently_attached") || !vm || !sim_is(vm, "resident_on", host->ref))
                continue;
            const char *const mode = sim_is(vbd, "mode", "RW") ? "RW" : "RO";
            xk_buf_printf(text, "  VDI %s\n    activated %s; DPs:\n    DP: vbd/%lld/%s: activated %s\n",
                          sim_text(vdi, "location"), mode, (long long)sim_int(vm, "domid"), sim_text(vbd, "device"),
                          mode);
        }
}

static enum sim_outcome sm_diagnostics(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_host_arg(c, 0), *pbd;
    struct xk_buf text = XK_BUF_INIT(TEXT_BYTES_MAX);

    if (!host)
        return SIM_FAILED;
    xk_buf_add_str(&text, "DataPath information:\nThe following SRs are attached:\n");
    for (size_t at = 0; (pbd = sim_member(p, host, "PBDs", &at));) {
        const struct sim_object *const sr = sim_bool(pbd, "currently_attached") ? sim_follow(p, pbd, "SR") : NULL;
        if (sr)
            put_sr(p, &text, host, sr);
    }
    xk_buf_add_str(&text, "No errors have been logged.\nBackend information:\n");
    for (const struct sim_object *sm = sim_first(p, "SM"); sm; sm = sm->class_next)
        xk_buf_printf(&text, "%s %s\n", sim_text(sm, "type"), sim_text(sm, "version"));
    return done_text(c, &text);
}

/* Every operation that goes on holds what it works on. */
static enum sim_outcome thread_diagnostics(struct sim_call *c)
{
    struct xk_buf text = XK_BUF_INIT(TEXT_BYTES_MAX);
    unsigned i = 0;

    if (!sim_host_arg(c, 0))
        return SIM_FAILED;
    xk_buf_add_str(&text, "digraph Resources {\nnode [shape=Mrecord];\n");
    for (const struct sim_call *w = c->pool->working; w; w = w->next, i++)
        xk_buf_printf(&text, "t%u [label=\"{%s|%.14s}\"];\n", i, xapi_text(w->message->name),
                      *w->task_ref ? w->task_ref + strlen("OpaqueRef:") : "");
    xk_buf_add_str(&text, "node [shape=record];\n");
    i = 0;
    for (const struct sim_call *w = c->pool->working; w; w = w->next, i++)
        if (*w->subject)
            xk_buf_printf(&text, "r%u [style=filled label=\"{lock|%.46s}\"];\nr%u -> t%u\n", i, w->subject, i, i);
    xk_buf_add_str(&text, "rankdir=LR\noverlap=false\nlabel=\"Threads and resources\"\nfontsize=12\n}");
    return done_text(c, &text);
}

/* Which disks of which machine a data path stands for: "vbd/DOMID/DEVICE". NULL: none. */
static const struct sim_object *path_vbd(const struct simpool *p, const struct sim_object *host, const char *path)
{
    char text[64];

    for (const struct sim_object *vbd = sim_first(p, "VBD"); vbd; vbd = vbd->class_next) {
        const struct sim_object *const vm = sim_follow(p, vbd, "VM");
        if (!vm || !sim_bool(vbd, "currently_attached") || !sim_is(vm, "resident_on", host->ref))
            continue;
        snprintf(text, sizeof(text), "vbd/%lld/%.16s", (long long)sim_int(vm, "domid"), sim_text(vbd, "device"));
        if (sim_same(text, path))
            return vbd;
    }
    return NULL;
}

/* A path that is open belongs to a machine that runs, and would be used on; one that is not there is gone already. */
static enum sim_outcome dp_destroy(struct sim_call *c)
{
    const struct sim_object *const host = sim_host_arg(c, 0);
    const struct sim_object *const vbd = host ? path_vbd(c->pool, host, sim_arg_text(c, 1)) : NULL;

    if (!host)
        return SIM_FAILED;
    return vbd ? sim_fail(c, "DEVICE_ALREADY_ATTACHED", vbd->ref, NULL) : SIM_DONE;
}

void sim_report_capabilities(struct xk_buf *text)
{
    static const struct {
        const char *key, *type, *pii;
        unsigned max_size;
    } rows[] = {
        {"xenserver-logs", "text/plain", "maybe", 419430400},
        {"xenserver-databases", "text/plain", "yes", 10485760},
        {"host-crashdump-logs", "text/plain", "no", 0},
    };

    xk_buf_add_str(text, "<?xml version=\"1.0\" ?>\n<system-status-capabilities version=\"1.0\">\n");
    for (size_t i = 0; i < XK_COUNT(rows); i++)
        xk_buf_printf(text,
                      "\t<capability content-type=\"%s\" default-checked=\"yes\" key=\"%s\" max-size=\"%u\" "
                      "max-time=\"60\" min-size=\"0\" min-time=\"0\" pii=\"%s\"/>\n",
                      rows[i].type, rows[i].key, rows[i].max_size, rows[i].pii);
    xk_buf_add_str(text, "</system-status-capabilities>\n");
}

static enum sim_outcome report_capabilities(struct sim_call *c)
{
    struct xk_buf text = XK_BUF_INIT(TEXT_BYTES_MAX);

    if (!sim_host_arg(c, 0))
        return SIM_FAILED;
    sim_report_capabilities(&text);
    return done_text(c, &text);
}

void sim_diagnose_close(struct simpool *p)
{
    free(p->agents);
}

const struct sim_row sim_diagnose_rows[] = {
    {"Diagnostics.gc_compact", gc_compact},
    {"Diagnostics.gc_stats", gc_stats},
    {"Diagnostics.db_stats", db_stats},
    {"Diagnostics.network_stats", network_stats},
    {"host.get_tracked_user_agents", tracked_agents},
    {"host.get_sm_diagnostics", sm_diagnostics},
    {"host.get_thread_diagnostics", thread_diagnostics},
    {"host.sm_dp_destroy", dp_destroy},
    {"host.get_system_status_capabilities", report_capabilities},
    {NULL, NULL},
};
