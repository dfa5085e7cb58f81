/*
 * The two JSON documents of iperf3, both directions. json-c reads, core's writer writes.
 *
 * Version 3.12 writes -1 as 18446744073709551615; json-c gives such a number as a saturated signed one, so any integer
 * at the upper end is taken for -1 where -1 has a meaning.
 */
#include "lib/iperf/params.h"

#include "core/json.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#define JSON_DEPTH_MAX 32
#define NUMBER_MAX     100000 /* of an error */

static const struct {
    int number;
    bool with_errno;
    const char *text;
} errors[] = {
#define IPERF_ERROR_ROW(name, number, with_errno, text) {(number), (with_errno) != 0, (text)},
    IPERF_ERRORS(IPERF_ERROR_ROW)
#undef IPERF_ERROR_ROW
};

int iperf_fail_because(struct xk_err *err, int number, const char *reason)
{
    /* A server may say any number. */
    const int code = -(IPERF_FAIL + (number >= 0 && number <= NUMBER_MAX ? number : 0));

    for (size_t i = 0; i < XK_COUNT(errors); i++) {
        if (errors[i].number == number)
            return errors[i].with_errno ? xk_fail(err, code, "%s: %s", errors[i].text, reason)
                                        : xk_fail(err, code, "%s", errors[i].text);
    }
    return xk_fail(err, code, "int_errno=%d: %s", number, reason);
}

int iperf_fail(struct xk_err *err, int number, int system)
{
    return iperf_fail_because(err, number, system ? strerror(system) : "");
}

int iperf_error_of(int code, int otherwise)
{
    return code <= -IPERF_FAIL ? -code - IPERF_FAIL : otherwise;
}

/* ---- reading ---- */

struct document {
    struct json_object *root;
    const char *wrong; /* the first field that was not as it should be */
};

static void document_done(struct document *d)
{
    json_object_put(d->root);
}

static int read_object(struct json_object **ret, const char *json, size_t bytes, struct xk_err *err)
{
    if (bytes > INT32_MAX)
        return xk_fail(err, -EBADMSG, "the JSON is too large");
    struct json_tokener *const reader = json_tokener_new_ex(JSON_DEPTH_MAX);
    if (!reader)
        return xk_fail_memory(err);
    struct json_object *const root = json_tokener_parse_ex(reader, json, (int)bytes);
    const enum json_tokener_error wrong = json_tokener_get_error(reader);
    json_tokener_free(reader);
    if (wrong != json_tokener_success || json_object_get_type(root) != json_type_object) {
        json_object_put(root);
        return xk_fail(err, -EBADMSG, "that is no JSON object: %s", json_tokener_error_desc(wrong));
    }
    *ret = root;
    return 0;
}

static struct json_object *member(const struct document *d, struct json_object *of, const char *name)
{
    struct json_object *value = NULL;

    return json_object_object_get_ex(of ? of : d->root, name, &value) ? value : NULL;
}

static int64_t get_int(struct document *d, struct json_object *of, const char *name, int64_t otherwise, int64_t least,
                       int64_t most)
{
    struct json_object *const o = member(d, of, name);
    int64_t v = otherwise;

    if (!o)
        return otherwise;
    if (json_object_is_type(o, json_type_int)) {
        v = json_object_get_int64(o);
        if (v == INT64_MAX && json_object_get_uint64(o) >= UINT64_C(1) << 63)
            v = -1;
    } else if (json_object_is_type(o, json_type_double)) {
        const double real = json_object_get_double(o);
        v = real >= 9.2e18 ? -1 : real <= -9.2e18 || real != real ? INT64_MIN : (int64_t)real;
    } else if (json_object_is_type(o, json_type_boolean)) {
        v = json_object_get_boolean(o);
    } else {
        d->wrong = d->wrong ? d->wrong : name;
        return otherwise;
    }
    if (v < least || v > most) {
        d->wrong = d->wrong ? d->wrong : name;
        return otherwise;
    }
    return v;
}

static uint32_t get_u32(struct document *d, const char *name, uint32_t most)
{
    return (uint32_t)get_int(d, NULL, name, 0, 0, most);
}

static double get_real(struct document *d, struct json_object *of, const char *name)
{
    struct json_object *const o = member(d, of, name);

    if (!o)
        return 0;
    if (!json_object_is_type(o, json_type_int) && !json_object_is_type(o, json_type_double)) {
        d->wrong = d->wrong ? d->wrong : name;
        return 0;
    }
    const double v = json_object_get_double(o);
    return v == v && v > -1e18 && v < 1e18 ? v : 0;
}

static bool get_flag(struct document *d, const char *name)
{
    return get_int(d, NULL, name, 0, INT64_MIN, INT64_MAX) != 0;
}

static void get_text(struct document *d, char *ret, size_t bytes, const char *name)
{
    struct json_object *const o = member(d, NULL, name);

    ret[0] = '\0';
    if (o && !json_object_is_type(o, json_type_string))
        d->wrong = d->wrong ? d->wrong : name;
    else if (o)
        snprintf(ret, bytes, "%s", json_object_get_string(o));
}

static int finish(const struct document *d, struct xk_err *err)
{
    return d->wrong ? xk_fail(err, -EBADMSG, "the field '%s' has a wrong type or value", d->wrong) : 0;
}

int iperf_params_decode(struct iperf_params *ret, const char *json, size_t bytes, struct xk_err *err)
{
    xk_auto(document_done) struct document d = {0};
    struct iperf_params p = {0};

    const int code = read_object(&d.root, json, bytes, err);
    if (code < 0)
        return code;
    p.protocol = get_flag(&d, "udp") ? IPERF_UDP : get_flag(&d, "sctp") ? IPERF_SCTP : IPERF_TCP;
    p.omit_s = get_u32(&d, "omit", IPERF_OMIT_MAX);
    p.time_s = get_u32(&d, "time", IPERF_TIME_MAX);
    p.bytes = (uint64_t)get_int(&d, NULL, "num", 0, 0, INT64_MAX);
    p.blocks = (uint64_t)get_int(&d, NULL, "blockcount", 0, 0, INT64_MAX);
    p.parallel = (uint32_t)get_int(&d, NULL, "parallel", 1, 1, IPERF_STREAMS_MAX);
    p.block_bytes = get_u32(&d, "len", IPERF_BLOCK_MAX);
    p.mss = get_u32(&d, "MSS", 65535);
    p.window_bytes = get_u32(&d, "window", IPERF_BUFFER_MAX);
    p.tos = get_u32(&d, "TOS", 255);
    p.flowlabel = get_u32(&d, "flowlabel", 0xfffff);
    p.burst = get_u32(&d, "burst", IPERF_BURST_MAX);
    p.pacing_timer_us = get_u32(&d, "pacing_timer", UINT32_MAX);
    p.rate_bps = (uint64_t)get_int(&d, NULL, "bandwidth", 0, 0, INT64_MAX);
    p.fq_rate_bps = (uint64_t)get_int(&d, NULL, "fqrate", 0, 0, INT64_MAX);
    p.affinity = (int)get_int(&d, NULL, "server_affinity", -1, -1, 1024);
    p.mptcp = get_flag(&d, "mptcp");
    p.nodelay = get_flag(&d, "nodelay");
    p.reverse = get_flag(&d, "reverse");
    p.bidirectional = get_flag(&d, "bidirectional");
    p.get_server_output = get_flag(&d, "get_server_output");
    p.counters_64bit = get_flag(&d, "udp_counters_64bit");
    p.repeating_payload = get_flag(&d, "repeating_payload");
    p.zerocopy = get_flag(&d, "zerocopy");
    p.dont_fragment = get_flag(&d, "dont_fragment");
    p.skip_rx_copy = get_flag(&d, "skip_rx_copy");
    p.gso = get_flag(&d, "gso");
    p.gro = get_flag(&d, "gro");
    p.xenkit = get_flag(&d, "xenkit_version");
    p.echo = get_flag(&d, "xenkit_echo");
    p.detail = get_flag(&d, "xenkit_detail");
    get_text(&d, p.congestion, sizeof(p.congestion), "congestion");
    get_text(&d, p.title, sizeof(p.title), "title");
    get_text(&d, p.extra_data, sizeof(p.extra_data), "extra_data");
    get_text(&d, p.version, sizeof(p.version), "client_version");
    get_text(&d, p.authtoken, sizeof(p.authtoken), "authtoken");
    if (!d.wrong && p.protocol == IPERF_UDP && p.block_bytes &&
        (p.block_bytes < IPERF_UDP_BLOCK_MIN || p.block_bytes > IPERF_UDP_BLOCK_MAX))
        d.wrong = "len";
    if (!d.wrong && p.reverse && p.bidirectional)
        d.wrong = "bidirectional";
    const int wrong = finish(&d, err);
    if (wrong == 0)
        *ret = p;
    return wrong;
}

void iperf_results_done(struct iperf_results *r)
{
    free(r->server_text);
    free(r->server_json);
    free(r->account);
    r->server_text = r->server_json = r->account = NULL;
}

static void read_stream(struct document *d, struct iperf_results *r, struct json_object *o)
{
    struct iperf_result *const s = &r->streams[r->count];
    const bool omitted = member(d, o, "omitted_errors") && member(d, o, "omitted_packets");

    *s = (struct iperf_result){
        .id = (int)get_int(d, o, "id", -1, 0, INT32_MAX),
        .bytes = (uint64_t)get_int(d, o, "bytes", 0, 0, INT64_MAX),
        .retransmits = get_int(d, o, "retransmits", -1, -1, INT64_MAX),
        .jitter_s = get_real(d, o, "jitter"),
        .errors = get_int(d, o, "errors", 0, INT64_MIN, INT64_MAX),
        .packets = get_int(d, o, "packets", 0, -1, INT64_MAX),
        .omitted_errors = get_int(d, o, "omitted_errors", 0, INT64_MIN, INT64_MAX),
        .omitted_packets = get_int(d, o, "omitted_packets", 0, -1, INT64_MAX),
        .start_s = get_real(d, o, "start_time"),
        .end_s = get_real(d, o, "end_time"),
        .out_of_order = get_int(d, o, "xenkit_out_of_order", -1, -1, INT64_MAX),
        .duplicates = get_int(d, o, "xenkit_duplicates", -1, -1, INT64_MAX),
        .late = get_int(d, o, "xenkit_late", -1, -1, INT64_MAX),
        .overflow = get_int(d, o, "xenkit_overflow", -1, -1, INT64_MAX),
        .distance = get_int(d, o, "xenkit_distance", -1, -1, INT64_MAX),
    };
    r->has_omitted = r->has_omitted && omitted;
    r->count++;
}

static char *copy_json_text(struct json_object *o, bool document)
{
    return o ? xk_strdup(document ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN)
                                  : json_object_get_string(o))
             : NULL;
}

int iperf_results_decode(struct iperf_results *ret, const char *json, size_t bytes, struct xk_err *err)
{
    xk_auto(document_done) struct document d = {0};
    static const char *const cpu[] = {"cpu_util_total", "cpu_util_user", "cpu_util_system"};

    int code = read_object(&d.root, json, bytes, err);
    if (code < 0)
        return code;
    *ret = (struct iperf_results){.has_omitted = true};
    for (size_t i = 0; i < XK_COUNT(cpu); i++)
        ret->cpu_percent[i] = get_real(&d, NULL, cpu[i]);
    ret->sender_has_retransmits = get_int(&d, NULL, "sender_has_retransmits", -1, INT64_MIN, INT64_MAX);
    get_text(&d, ret->congestion, sizeof(ret->congestion), "congestion_used");
    struct json_object *const streams = member(&d, NULL, "streams");
    if (!json_object_is_type(streams, json_type_array) || json_object_array_length(streams) > XK_COUNT(ret->streams))
        return xk_fail(err, -EBADMSG, "the results have no list of at most %zu streams", XK_COUNT(ret->streams));
    for (size_t i = 0; i < json_object_array_length(streams); i++) {
        struct json_object *const o = json_object_array_get_idx(streams, i);
        if (!json_object_is_type(o, json_type_object))
            return xk_fail(err, -EBADMSG, "a stream's results are no object");
        read_stream(&d, ret, o);
    }
    code = finish(&d, err);
    if (code < 0)
        return code;
    ret->server_text = copy_json_text(member(&d, NULL, "server_output_text"), false);
    ret->server_json = copy_json_text(member(&d, NULL, "server_output_json"), true);
    ret->account = copy_json_text(member(&d, NULL, "xenkit_account"), true);
    return 0;
}

/* ---- writing ---- */

static void put_true(struct xk_json *j, const char *name, bool set)
{
    if (set)
        xk_json_bool(j, name, true);
}

static void put_number(struct xk_json *j, const char *name, uint64_t v)
{
    if (v)
        xk_json_u64(j, name, v);
}

static void put_text(struct xk_json *j, const char *name, const char *text)
{
    if (text[0])
        xk_json_str(j, name, text);
}

void iperf_params_encode(struct xk_buf *b, const struct iperf_params *p)
{
    static const char *const protocols[] = {[IPERF_TCP] = "tcp", [IPERF_UDP] = "udp", [IPERF_SCTP] = "sctp"};
    struct xk_json j;

    xk_json_init(&j, b, 0);
    xk_json_object(&j, NULL);
    xk_json_bool(&j, protocols[p->protocol], true);
    xk_json_u64(&j, "omit", p->omit_s);
    if (p->affinity >= 0)
        xk_json_i64(&j, "server_affinity", p->affinity);
    xk_json_u64(&j, "time", p->time_s);
    xk_json_u64(&j, "num", p->bytes);
    xk_json_u64(&j, "blockcount", p->blocks);
    put_number(&j, "MSS", p->mss);
    put_true(&j, "nodelay", p->nodelay);
    put_true(&j, "mptcp", p->mptcp);
    xk_json_u64(&j, "parallel", p->parallel);
    put_true(&j, "reverse", p->reverse);
    put_true(&j, "bidirectional", p->bidirectional);
    put_number(&j, "window", p->window_bytes);
    put_number(&j, "len", p->block_bytes);
    put_number(&j, "bandwidth", p->rate_bps);
    put_number(&j, "fqrate", p->fq_rate_bps);
    xk_json_u64(&j, "pacing_timer", p->pacing_timer_us);
    put_number(&j, "burst", p->burst);
    put_number(&j, "TOS", p->tos);
    put_number(&j, "flowlabel", p->flowlabel);
    put_text(&j, "title", p->title);
    put_text(&j, "extra_data", p->extra_data);
    put_text(&j, "congestion", p->congestion);
    put_number(&j, "get_server_output", p->get_server_output);
    put_number(&j, "udp_counters_64bit", p->counters_64bit);
    put_number(&j, "repeating_payload", p->repeating_payload);
    put_number(&j, "zerocopy", p->zerocopy);
    put_number(&j, "dont_fragment", p->dont_fragment);
    put_number(&j, "skip_rx_copy", p->skip_rx_copy);
    if (p->protocol == IPERF_UDP) {
        xk_json_u64(&j, "gso", p->gso);
        xk_json_u64(&j, "gso_dg_size", p->gso ? p->block_bytes : 0);
        xk_json_u64(&j, "gso_bf_size", p->gso ? IPERF_UDP_BLOCK_MAX : 0);
        xk_json_u64(&j, "gro", p->gro);
        xk_json_u64(&j, "gro_bf_size", p->gro ? IPERF_UDP_BLOCK_MAX : 0);
    }
    put_text(&j, "authtoken", p->authtoken);
    xk_json_str(&j, "client_version", p->version);
    xk_json_i64(&j, "xenkit_version", 1);
    put_number(&j, "xenkit_echo", p->echo);
    put_number(&j, "xenkit_detail", p->detail);
    xk_json_end(&j);
}

static void put_stream(struct xk_json *j, const struct iperf_result *s, bool omitted)
{
    xk_json_object(j, NULL);
    xk_json_i64(j, "id", s->id);
    xk_json_u64(j, "bytes", s->bytes);
    xk_json_i64(j, "retransmits", s->retransmits);
    xk_json_double(j, "jitter", s->jitter_s);
    xk_json_i64(j, "errors", omitted ? s->errors : s->errors - s->omitted_errors);
    xk_json_i64(j, "packets", s->packets);
    if (omitted) {
        xk_json_i64(j, "omitted_errors", s->omitted_errors);
        xk_json_i64(j, "omitted_packets", s->omitted_packets);
    }
    xk_json_double(j, "start_time", s->start_s);
    xk_json_double(j, "end_time", s->end_s);
    if (s->out_of_order >= 0) {
        xk_json_i64(j, "xenkit_out_of_order", s->out_of_order);
        xk_json_i64(j, "xenkit_duplicates", s->duplicates);
        xk_json_i64(j, "xenkit_late", s->late);
        xk_json_i64(j, "xenkit_overflow", s->overflow);
        xk_json_i64(j, "xenkit_distance", s->distance);
    }
    xk_json_end(j);
}

void iperf_results_encode(struct xk_buf *b, const struct iperf_results *r)
{
    struct xk_json j;

    xk_json_init(&j, b, 0);
    xk_json_object(&j, NULL);
    xk_json_double(&j, "cpu_util_total", r->cpu_percent[0]);
    xk_json_double(&j, "cpu_util_user", r->cpu_percent[1]);
    xk_json_double(&j, "cpu_util_system", r->cpu_percent[2]);
    xk_json_i64(&j, "sender_has_retransmits", r->sender_has_retransmits);
    put_text(&j, "congestion_used", r->congestion);
    if (r->server_text)
        xk_json_str(&j, "server_output_text", r->server_text);
    if (r->server_json)
        xk_json_raw(&j, "server_output_json", r->server_json, strlen(r->server_json));
    xk_json_array(&j, "streams");
    for (unsigned i = 0; i < r->count; i++)
        put_stream(&j, &r->streams[i], r->has_omitted);
    xk_json_end(&j);
    if (r->account)
        xk_json_raw(&j, "xenkit_account", r->account, strlen(r->account));
    xk_json_end(&j);
}
