/*
 * /rrd_updates, /host_rrd, /vm_rrd and /sr_rrd: series as XML or JSON, in the forms that the chosen release gives them.
 *
 * A host tells of itself, of the VMs on it and of its storage. Which archive answers is the real server's rule: the
 * finest one whose rows are not finer than `interval` and that reaches back to `start`, else the coarsest.
 */
#include "lib/simpool/rrd-parts.h"

#include "core/json.h"
#include "core/text.h"
#include "lib/simpool/era.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define UUIDS_BYTES_MAX 8192
#define HEARTBEAT_S     300.0
#define NUMBER_BYTES    40

static const char headers[] = "cache-control: no-cache, no-store\r\n"
                              "Access-Control-Allow-Origin: *\r\n"
                              "Access-Control-Allow-Headers: X-Requested-With\r\n";

const struct sim_archive sim_archives[SIM_RRD_ARCHIVES] = {{120, 1}, {120, 12}, {168, 720}, {366, 17280}};

static int64_t step_of(const struct sim_archive *a)
{
    return (int64_t)a->steps * SIM_RRD_STEP_S;
}

/* ---- numbers ---- */

static void put_number(char ret[NUMBER_BYTES], double v, const struct sim_era *era)
{
    if (isnan(v))
        snprintf(ret, NUMBER_BYTES, "NaN");
    else if (isinf(v))
        snprintf(ret, NUMBER_BYTES, v > 0 ? "Infinity" : "-Infinity");
    else if (v == 0)
        snprintf(ret, NUMBER_BYTES, "0.0");
    else if (era->rrd_numbers)
        snprintf(ret, NUMBER_BYTES, "%.4f", v);
    else
        snprintf(ret, NUMBER_BYTES, "%.15g", v);
}

/* Newer releases write every number as a text. NaN stands between quotes in older ones, too, where the real one left a
 * document that is no JSON. */
static void json_number(struct xk_json *j, const char *key, double v, bool as_text, const struct sim_era *era)
{
    char text[NUMBER_BYTES];

    put_number(text, v, era);
    if (as_text || !isfinite(v))
        xk_json_str(j, key, text);
    else
        xk_json_raw(j, key, text, strlen(text));
}

static void json_int(struct xk_json *j, const char *key, int64_t v, bool as_text)
{
    char text[NUMBER_BYTES];

    snprintf(text, sizeof(text), "%lld", (long long)v);
    if (as_text)
        xk_json_str(j, key, text);
    else
        xk_json_raw(j, key, text, strlen(text));
}

static void xml_text(struct xk_buf *b, const char *tag, const char *text)
{
    xk_buf_printf(b, "<%s>", tag);
    xk_add_html(b, text);
    xk_buf_printf(b, "</%s>", tag);
}

static void xml_number(struct xk_buf *b, const char *tag, double v, const struct sim_era *era)
{
    char text[NUMBER_BYTES];

    put_number(text, v, era);
    xml_text(b, tag, text);
}

static void xml_int(struct xk_buf *b, const char *tag, int64_t v)
{
    xk_buf_printf(b, "<%s>%lld</%s>", tag, (long long)v, tag);
}

/* ---- replies ---- */

static const struct sim_object *host_object(const struct sim_rrd *r)
{
    return sim_find(r->pool, r->pool->host_refs[r->host], xapi_class_find("host"));
}

static bool wants_json(const struct http_exchange *x)
{
    const char *const accept = http_header(x, "accept");
    char value[64];

    if (accept && (strstr(accept, "application/json") || strstr(accept, "text/xml")))
        return strstr(accept, "application/json") != NULL;
    return sim_http_param(x, "json", value, sizeof(value));
}

static void reply(struct http_exchange *x, struct xk_buf *body, bool json)
{
    const struct http_reply answer = {
        .status = 200, .type = json ? "application/json" : "text/xml", .headers = headers, .close = true};

    http_reply(x, &answer, body);
}

/* ---- updates ---- */

struct span {
    int64_t start, end, step; /* of the first and the last row */
    uint32_t rows;
};

/* Rows lie in time as those of the host's clock. */
static struct span choose(int64_t now_s, int64_t start, int64_t interval_s)
{
    const int64_t last = sim_rrd_floor(now_s, SIM_RRD_STEP_S);
    const struct sim_archive *a = &sim_archives[SIM_RRD_ARCHIVES - 1];
    struct span s;

    if (start < 0)
        start = start < -now_s ? 0 : start + now_s;
    for (unsigned i = SIM_RRD_ARCHIVES; i-- > 0;)
        if (step_of(&sim_archives[i]) >= interval_s / SIM_RRD_STEP_S * SIM_RRD_STEP_S &&
            start > last - sim_archives[i].rows * step_of(&sim_archives[i]))
            a = &sim_archives[i];
    s.step = step_of(a);
    s.end = sim_rrd_floor(now_s, s.step);
    s.start = sim_rrd_floor(start, s.step) + s.step;
    s.rows = 0;
    while (s.rows < a->rows && s.end - (int64_t)s.rows * s.step >= s.start)
        s.rows++;
    return s;
}

static const char *kind_of(const struct sim_object *o)
{
    const char *const name = xapi_text(o->class_row->name);

    return strcmp(name, "VM") == 0 ? "vm" : strcmp(name, "SR") == 0 ? "sr" : "host";
}

static void put_legend(char *ret, size_t bytes, const struct sim_ds *ds)
{
    snprintf(ret, bytes, "AVERAGE:%s:%.64s:%s", kind_of(ds->owner), sim_text(ds->owner, "uuid"), ds->name);
}

static void updates_xml(struct xk_buf *b, struct sim_rrd *r, const struct span *s, const struct sim_era *era)
{
    char legend[192];

    xk_buf_add_str(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xport><meta>");
    xml_int(b, "start", s->start);
    xml_int(b, "step", s->step);
    xml_int(b, "end", s->end);
    xml_int(b, "rows", s->rows);
    xml_int(b, "columns", (int64_t)r->source_count);
    xk_buf_add_str(b, "<legend>");
    for (size_t i = 0; i < r->source_count; i++) {
        put_legend(legend, sizeof(legend), &r->sources[i]);
        xml_text(b, "entry", legend);
    }
    xk_buf_add_str(b, "</legend></meta><data>");
    for (uint32_t row = 0; row < s->rows && !b->error; row++) {
        const int64_t t = s->end - row * s->step;
        xk_buf_add_str(b, "<row>");
        xml_int(b, "t", t);
        for (size_t i = 0; i < r->source_count; i++)
            xml_number(b, "v", sim_rrd_value(r, &r->sources[i], t - s->step, t), era);
        xk_buf_add_str(b, "</row>");
    }
    xk_buf_add_str(b, "</data></xport>");
}

static void updates_json(struct xk_buf *b, struct sim_rrd *r, const struct span *s, const struct sim_era *era)
{
    const bool texts = !era->rrd_numbers;
    struct xk_json j;
    char legend[192];

    xk_json_init(&j, b, 0);
    xk_json_object(&j, NULL);
    xk_json_object(&j, "meta");
    json_int(&j, "start", s->start, texts);
    json_int(&j, "step", s->step, texts);
    json_int(&j, "end", s->end, texts);
    json_int(&j, "rows", s->rows, texts);
    json_int(&j, "columns", (int64_t)r->source_count, texts);
    xk_json_array(&j, "legend");
    for (size_t i = 0; i < r->source_count; i++) {
        put_legend(legend, sizeof(legend), &r->sources[i]);
        xk_json_str(&j, NULL, legend);
    }
    xk_json_end(&j);
    xk_json_end(&j);
    xk_json_array(&j, "data");
    for (uint32_t row = 0; row < s->rows && !b->error; row++) {
        const int64_t t = s->end - row * s->step;
        xk_json_object(&j, NULL);
        json_int(&j, "t", t, texts);
        xk_json_array(&j, "values");
        for (size_t i = 0; i < r->source_count; i++)
            json_number(&j, NULL, sim_rrd_value(r, &r->sources[i], t - s->step, t), texts, era);
        xk_json_end(&j);
        xk_json_end(&j);
    }
    xk_json_end(&j);
    xk_json_end(&j);
}

/* "all", "none", or uuids with commas; a uuid that is not here is no error. */
static bool is_asked(const char *uuids, const struct sim_object *o)
{
    return strcmp(uuids, "all") == 0 || strstr(uuids, sim_text(o, "uuid")) != NULL;
}

static bool is_attached(const struct sim_rrd *r, const struct sim_object *sr)
{
    for (const struct sim_object *pbd = sim_first(r->pool, "PBD"); pbd; pbd = pbd->class_next)
        if (sim_bool(pbd, "currently_attached") && strcmp(sim_text(pbd, "SR"), sr->ref) == 0 &&
            strcmp(sim_text(pbd, "host"), r->pool->host_refs[r->host]) == 0)
            return true;
    return false;
}

/* A VM's series lie where it runs. */
static bool is_resident(const struct sim_rrd *r, const struct sim_object *vm)
{
    return sim_history_end(vm->history) == INT64_MAX && vm->history &&
           strcmp(sim_text(vm, "resident_on"), r->pool->host_refs[r->host]) == 0;
}

static void add_asked(struct sim_rrd *r, const struct http_exchange *x)
{
    char host[16], vms[UUIDS_BYTES_MAX], srs[UUIDS_BYTES_MAX];
    const struct sim_object *const own = host_object(r);

    if (sim_http_param(x, "host", host, sizeof(host)) && strcmp(host, "true") == 0 && own)
        sim_rrd_add(r, own, false);
    if (!sim_http_param(x, "vm_uuid", vms, sizeof(vms)) && !sim_http_param(x, "uuid", vms, sizeof(vms)))
        snprintf(vms, sizeof(vms), "all");
    for (size_t i = 0; i < r->vm_count; i++)
        if (is_resident(r, r->vms[i].vm) && is_asked(vms, r->vms[i].vm))
            sim_rrd_add(r, r->vms[i].vm, false);
    if (!sim_http_param(x, "sr_uuid", srs, sizeof(srs)))
        return;
    for (const struct sim_object *sr = sim_first(r->pool, "SR"); sr; sr = sr->class_next)
        if (is_asked(srs, sr) && is_attached(r, sr))
            sim_rrd_add(r, sr, false);
}

/* The archives hold averages and, on a real host without further settings, nothing else. */
static bool has_average(const struct http_exchange *x)
{
    char cf[16];

    return !sim_http_param(x, "cf", cf, sizeof(cf)) ||
           (strcmp(cf, "MIN") != 0 && strcmp(cf, "MAX") != 0 && strcmp(cf, "LAST") != 0);
}

void sim_rrd_updates(struct simpool *p, struct http_exchange *x)
{
    const struct sim_era *const era = sim_era(p->settings.era);
    struct xk_buf body = XK_BUF_INIT(SIM_REPLY_BYTES_MAX);
    char text[32];
    int64_t start, interval = 0;
    struct sim_rrd r;

    if (!sim_http_param(x, "start", text, sizeof(text)) || xk_parse_i64(&start, text) < 0)
        return http_refuse(x, 400);
    if (sim_http_param(x, "interval", text, sizeof(text)) && xk_parse_i64(&interval, text) < 0)
        interval = 0;
    if (!has_average(x))
        return http_refuse(x, 500);
    sim_rrd_open(&r, p, http_tag(x));
    add_asked(&r, x);
    if (r.error || r.source_count == 0) { /* as the real one, which has no step to tell then */
        sim_rrd_close(&r);
        return http_refuse(x, 500);
    }
    const struct span s = choose(r.now_s, start, interval);
    const bool json = wants_json(x);
    if (json)
        updates_json(&body, &r, &s, era);
    else
        updates_xml(&body, &r, &s, era);
    sim_rrd_close(&r);
    reply(x, &body, json);
}

/* ---- everything of one object ---- */

static const char *const type_names[] = {
    [SIM_DS_GAUGE] = "GAUGE", [SIM_DS_DERIVE] = "DERIVE", [SIM_DS_ABSOLUTE] = "ABSOLUTE"};

/* What of a data source is not in the archives: its last reading, and the rows that are not complete yet. */
struct reading {
    double last, value;
    int64_t at_s;
    double rows[SIM_RRD_ARCHIVES];
};

static double known(double v)
{
    return isnan(v) ? 0 : v;
}

/* Window by window, as the rows: what a row has in common is computed once. */
static void read_sources(struct sim_rrd *r, struct reading *readings, int64_t now_s)
{
    const int64_t last = sim_rrd_floor(now_s, SIM_RRD_STEP_S), year_s = 366 * INT64_C(86400);

    for (size_t i = 0; i < r->source_count; i++) {
        readings[i] = (struct reading){.at_s = now_s};
        if (r->sources[i].type != SIM_DS_DERIVE)
            readings[i].last = known(sim_rrd_value(r, &r->sources[i], now_s - SIM_RRD_STEP_S, now_s));
    }
    /* A counter has counted since the oldest row. */
    for (size_t i = 0; i < r->source_count; i++)
        if (r->sources[i].type == SIM_DS_DERIVE)
            readings[i].last =
                floor(known(sim_rrd_value(r, &r->sources[i], now_s - year_s, now_s)) * (double)year_s * 1000) / 1000;
    for (size_t i = 0; i < r->source_count && now_s > last; i++)
        readings[i].value = known(sim_rrd_value(r, &r->sources[i], last, now_s)) * (double)(now_s - last);
    for (unsigned a = 0; a < SIM_RRD_ARCHIVES; a++) {
        const int64_t step = step_of(&sim_archives[a]), begin = sim_rrd_floor(now_s, step);
        for (size_t i = 0; i < r->source_count && last > begin; i++)
            readings[i].rows[a] =
                known(sim_rrd_value(r, &r->sources[i], begin, last)) * (double)(last - begin) / (double)step;
    }
}

static void whole_xml(struct xk_buf *b, struct sim_rrd *r, int64_t now_s, const struct reading *readings,
                      const struct sim_era *era)
{
    xk_buf_add_str(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rrd>");
    xml_text(b, "version", "0003");
    xml_int(b, "step", SIM_RRD_STEP_S);
    xml_int(b, "lastupdate", now_s);
    for (size_t i = 0; i < r->source_count; i++) {
        const struct sim_ds *const ds = &r->sources[i];
        xk_buf_add_str(b, "<ds>");
        xml_text(b, "name", ds->name);
        xml_text(b, "type", type_names[ds->type]);
        xml_number(b, "minimal_heartbeat", HEARTBEAT_S, era);
        xml_number(b, "min", 0, era);
        xml_number(b, "max", ds->max, era);
        xml_number(b, "last_ds", readings[i].last, era);
        xml_number(b, "value", readings[i].value, era);
        xml_int(b, "unknown_sec", 0);
        xk_buf_add_str(b, "</ds>");
    }
    for (unsigned a = 0; a < SIM_RRD_ARCHIVES; a++) {
        const int64_t step = step_of(&sim_archives[a]), end = sim_rrd_floor(now_s, step);
        xk_buf_add_str(b, "<rra><cf>AVERAGE</cf>");
        xml_int(b, "pdp_per_row", sim_archives[a].steps);
        xk_buf_add_str(b, "<params>");
        xml_number(b, "xff", 0.5, era);
        xk_buf_add_str(b, "</params><cdp_prep>");
        for (size_t i = 0; i < r->source_count; i++) {
            xk_buf_add_str(b, "<ds><primary_value>0.0</primary_value><secondary_value>0.0</secondary_value>");
            xml_number(b, "value", readings[i].rows[a], era);
            xk_buf_add_str(b, "<unknown_datapoints>0</unknown_datapoints></ds>");
        }
        xk_buf_add_str(b, "</cdp_prep><database>");
        for (int64_t row = sim_archives[a].rows; row-- > 0 && !b->error;) {
            const int64_t t = end - row * step;
            xk_buf_add_str(b, "<row>");
            for (size_t i = 0; i < r->source_count; i++)
                xml_number(b, "v", sim_rrd_value(r, &r->sources[i], t - step, t), era);
            xk_buf_add_str(b, "</row>");
        }
        xk_buf_add_str(b, "</database></rra>");
    }
    xk_buf_add_str(b, "</rrd>");
}

static void whole_json_sources(struct xk_json *j, const struct sim_rrd *r, const struct reading *readings,
                               const struct sim_era *era)
{
    xk_json_array(j, "ds");
    for (size_t i = 0; i < r->source_count; i++) {
        const struct sim_ds *const ds = &r->sources[i];
        xk_json_object(j, NULL);
        xk_json_str(j, "name", ds->name);
        xk_json_str(j, "type", type_names[ds->type]);
        json_number(j, era->rrd_numbers ? "minimal_hearbeat" : "minimal_heartbeat", HEARTBEAT_S, true, era);
        json_number(j, "min", 0, true, era);
        json_number(j, "max", ds->max, true, era);
        json_number(j, "last_ds", readings[i].last, true, era);
        json_number(j, "value", readings[i].value, true, era);
        json_number(j, "unknown_sec", 0, true, era);
        if (!era->rrd_numbers)
            json_number(j, "last_updated", (double)readings[i].at_s, true, era);
        xk_json_end(j);
    }
    xk_json_end(j);
}

static void whole_json(struct xk_buf *b, struct sim_rrd *r, int64_t now_s, const struct reading *readings,
                       const struct sim_era *era)
{
    struct xk_json j;

    xk_json_init(&j, b, 0);
    xk_json_object(&j, NULL);
    xk_json_str(&j, "version", "0003");
    json_int(&j, "step", SIM_RRD_STEP_S, true);
    json_number(&j, "lastupdate", (double)now_s, true, era);
    whole_json_sources(&j, r, readings, era);
    xk_json_array(&j, "rra");
    for (unsigned a = 0; a < SIM_RRD_ARCHIVES; a++) {
        const int64_t step = step_of(&sim_archives[a]), end = sim_rrd_floor(now_s, step);
        xk_json_object(&j, NULL);
        xk_json_str(&j, "cf", "AVERAGE");
        json_int(&j, "pdp_per_row", sim_archives[a].steps, true);
        xk_json_object(&j, "params");
        json_number(&j, "xff", 0.5, true, era);
        xk_json_end(&j);
        xk_json_object(&j, "cdp_prep");
        xk_json_array(&j, "ds");
        for (size_t i = 0; i < r->source_count; i++) {
            xk_json_object(&j, NULL);
            json_number(&j, "primary_value", 0, true, era);
            json_number(&j, "secondary_value", 0, true, era);
            json_number(&j, "value", readings[i].rows[a], true, era);
            json_int(&j, "unknown_datapoints", 0, true);
            xk_json_end(&j);
        }
        xk_json_end(&j);
        xk_json_end(&j);
        xk_json_array(&j, "database");
        for (int64_t row = sim_archives[a].rows; row-- > 0 && !b->error;) {
            const int64_t t = end - row * step;
            xk_json_array(&j, NULL);
            for (size_t i = 0; i < r->source_count; i++)
                json_number(&j, NULL, sim_rrd_value(r, &r->sources[i], t - step, t), true, era);
            xk_json_end(&j);
        }
        xk_json_end(&j);
        xk_json_end(&j);
    }
    xk_json_end(&j);
    xk_json_end(&j);
}

/* Its last row is that of `until`: a VM that has ended measures nothing more. */
static void reply_whole(struct sim_rrd *r, struct http_exchange *x, const struct sim_object *owner, int64_t until_s)
{
    const struct sim_era *const era = sim_era(r->pool->settings.era);
    struct xk_buf body = XK_BUF_INIT(SIM_REPLY_BYTES_MAX);
    const bool json = wants_json(x);

    sim_rrd_add(r, owner, false);
    xk_autofree struct reading *readings = xk_array_alloc(r->source_count, sizeof(*readings));
    if (r->error || !readings)
        return http_refuse(x, 500);
    read_sources(r, readings, until_s);
    if (json)
        whole_json(&body, r, until_s, readings, era);
    else
        whole_xml(&body, r, until_s, readings, era);
    reply(x, &body, json);
}

void sim_rrd_host(struct simpool *p, struct http_exchange *x)
{
    struct sim_rrd r;

    sim_rrd_open(&r, p, http_tag(x));
    const struct sim_object *const host = host_object(&r);
    if (host)
        reply_whole(&r, x, host, r.now_s);
    else
        http_refuse(x, 500);
    sim_rrd_close(&r);
}

void sim_rrd_sr(struct simpool *p, struct http_exchange *x)
{
    char uuid[64];
    struct sim_rrd r;

    if (!sim_http_param(x, "uuid", uuid, sizeof(uuid)))
        return http_refuse(x, 400);
    sim_rrd_open(&r, p, http_tag(x));
    const struct sim_object *const sr = sim_find_uuid(p, uuid, xapi_class_find("SR"));
    if (sr && is_attached(&r, sr))
        reply_whole(&r, x, sr, r.now_s);
    else
        http_refuse(x, sr ? 404 : 500);
    sim_rrd_close(&r);
}

static void redirect(const struct simpool *p, struct http_exchange *x, unsigned host, const char *more)
{
    const struct sim_object *const o = sim_find(p, p->host_refs[host], xapi_class_find("host"));
    const char *const asked = http_header(x, "host"), *const port = asked ? strrchr(asked, ':') : NULL;
    xk_autofree char *location = xk_asprintf("Location: %s://%s%s%s?%s%s\r\n", p->settings.tls ? "https" : "http",
                                             resolve_url_text(o ? sim_text(o, "address") : "").s,
                                             port && strspn(port + 1, "0123456789") == strlen(port + 1) ? port : "",
                                             http_path(x), more, http_query(x));

    if (!location)
        return http_refuse(x, 500);
    http_refuse_with(x, 302, location);
}

/* Where a VM runs, its series are; when it has ended, the master has them. */
void sim_rrd_vm(struct simpool *p, struct http_exchange *x)
{
    const unsigned host = http_tag(x);
    char uuid[64], unarchive[8];
    struct sim_rrd r;
    unsigned at = 0;

    if (!sim_http_param(x, "uuid", uuid, sizeof(uuid)))
        return http_refuse(x, 400);
    const struct sim_object *const vm = sim_find_uuid(p, uuid, xapi_class_find("VM"));
    if (!vm)
        return http_refuse(x, 500);
    const int64_t end_s = sim_history_end(vm->history);
    while (at < p->settings.hosts && strcmp(p->host_refs[at], sim_text(vm, "resident_on")) != 0)
        at++;
    const bool asked_before = sim_http_param(x, "rrd_unarchive", unarchive, sizeof(unarchive));
    if (end_s == INT64_MAX && at < p->settings.hosts && at != host && !asked_before)
        return redirect(p, x, at, "");
    if (end_s != INT64_MAX && host != p->master && !asked_before)
        return redirect(p, x, p->master, "rrd_unarchive=&");
    if (!sim_history_visits(vm->history, SIMPOOL_HOSTS_MAX))
        return http_refuse(x, 404);
    sim_rrd_open(&r, p, sim_history_place(vm->history));
    reply_whole(&r, x, vm, end_s == INT64_MAX ? r.now_s : end_s + r.skew_s);
    sim_rrd_close(&r);
}
