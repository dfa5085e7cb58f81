/*
 * Messages as one table of members: the encoder and the decoder walk the same rows, so neither can forget one.
 *
 * A struct for each word would say better who sends what; a dozen of them with a decoder each was weighed and is four
 * times the code for the same bytes on the wire.
 */
#include "lib/mesh/message.h"

#include "core/json.h"

#include <errno.h>
#include <json.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 4

static const char *const words[MESH_WORDS] = {"hello", "beat", "clock",   "look",   "serve",  "serving", "run",
                                              "ready", "go",   "started", "result", "failed", "end"};

enum kind { COUNT, REAL, FLAG, TEXT };

struct row {
    const char *name;
    enum kind kind;
    size_t offset;
    uint64_t limit; /* largest count; bytes of a text */
};

#define ROW_COUNT(member, most)                                                                                        \
    {                                                                                                                  \
#member, COUNT, offsetof(struct mesh_message, member), (most)                                                  \
    }
#define ROW_REAL(member)                                                                                               \
    {                                                                                                                  \
#member, REAL, offsetof(struct mesh_message, member), 0                                                        \
    }
#define ROW_FLAG(member)                                                                                               \
    {                                                                                                                  \
#member, FLAG, offsetof(struct mesh_message, member), 0                                                        \
    }
#define ROW_TEXT(member)                                                                                               \
    {                                                                                                                  \
#member, TEXT, offsetof(struct mesh_message, member), sizeof(((struct mesh_message *)0)->member)               \
    }

static const struct row rows[] = {
    ROW_COUNT(number, INT64_MAX),
    ROW_COUNT(at_ns, INT64_MAX),
    ROW_COUNT(version, UINT32_MAX),
    ROW_COUNT(mtu, UINT32_MAX),
    ROW_TEXT(program),
    ROW_TEXT(kernel),
    ROW_TEXT(interface),
    ROW_TEXT(qdisc),
    ROW_TEXT(offloads),
    ROW_TEXT(host),
    ROW_COUNT(port, 65535),
    ROW_COUNT(clients, MESH_CLIENTS_MAX),
    ROW_COUNT(seconds, MESH_SECONDS_MAX),
    ROW_COUNT(streams, MESH_STREAMS_MAX),
    ROW_COUNT(rate_bps, INT64_MAX),
    ROW_FLAG(udp),
    ROW_TEXT(secret),
    ROW_REAL(received_bps),
    ROW_REAL(sent_bps),
    ROW_REAL(duration_s),
    ROW_REAL(jitter_ms),
    ROW_REAL(rtt_p50_ms),
    ROW_REAL(rtt_p99_ms),
    ROW_REAL(cpu_percent),
    ROW_REAL(peer_cpu_percent),
    ROW_COUNT(packets, INT64_MAX),
    ROW_COUNT(lost_packets, INT64_MAX),
    ROW_COUNT(retransmits, INT64_MAX),
    ROW_COUNT(echoes, INT64_MAX),
    ROW_TEXT(text),
};

/* What is zero or empty is left out; the decoder reads it so. */
void mesh_message_encode(struct xk_buf *ret, const struct mesh_message *m)
{
    struct xk_json j;

    xk_json_init(&j, ret, 0);
    xk_json_object(&j, NULL);
    xk_json_str(&j, "mesh", words[m->word]);
    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        const void *const at = (const char *)m + rows[i].offset;
        switch (rows[i].kind) {
        case COUNT:
            if (*(const uint64_t *)at != 0)
                xk_json_u64(&j, rows[i].name, *(const uint64_t *)at);
            break;
        case REAL:
            if (*(const double *)at != 0)
                xk_json_double(&j, rows[i].name, *(const double *)at);
            break;
        case FLAG:
            if (*(const bool *)at)
                xk_json_bool(&j, rows[i].name, true);
            break;
        case TEXT:
            if (*(const char *)at)
                xk_json_str(&j, rows[i].name, at);
            break;
        }
    }
    xk_json_end(&j);
    xk_buf_add_char(ret, '\n');
}

static bool take(struct mesh_message *ret, const struct row *row, struct json_object *o)
{
    void *const at = (char *)ret + row->offset;
    const enum json_type type = json_object_get_type(o);

    switch (row->kind) {
    case COUNT:
        if (type != json_type_int || json_object_get_int64(o) < 0 || json_object_get_uint64(o) > row->limit)
            return false;
        *(uint64_t *)at = json_object_get_uint64(o);
        return true;
    case REAL:
        if (type != json_type_int && type != json_type_double)
            return false;
        *(double *)at = json_object_get_double(o);
        return isfinite(*(double *)at) && fabs(*(double *)at) < 1e18;
    case FLAG:
        *(bool *)at = json_object_get_boolean(o);
        return type == json_type_boolean;
    case TEXT:
        if (type != json_type_string)
            return false;
        snprintf(at, row->limit, "%s", json_object_get_string(o));
        return true;
    }
    return false;
}

static int read_object(struct mesh_message *ret, struct json_object *o, struct xk_err *err)
{
    struct json_object *v;

    *ret = (struct mesh_message){.word = MESH_WORDS};
    if (json_object_object_get_ex(o, "mesh", &v) && json_object_is_type(v, json_type_string))
        for (enum mesh_word w = 0; w < MESH_WORDS; w++)
            if (strcmp(json_object_get_string(v), words[w]) == 0)
                ret->word = w;
    if (ret->word == MESH_WORDS)
        return xk_fail(err, -EBADMSG, "that is no message of a mesh");
    for (size_t i = 0; i < XK_COUNT(rows); i++)
        if (json_object_object_get_ex(o, rows[i].name, &v) && !take(ret, &rows[i], v))
            return xk_fail(err, -EBADMSG, "'%s' of a message \"%s\" has a wrong type or value", rows[i].name,
                           words[ret->word]);
    return 0;
}

int mesh_message_decode(struct mesh_message *ret, const char *line, size_t bytes, struct xk_err *err)
{
    if (bytes >= MESH_LINE_BYTES)
        return xk_fail(err, -EBADMSG, "a message has %zu bytes, %u at most are allowed", bytes, MESH_LINE_BYTES - 1);
    struct json_tokener *const reader = json_tokener_new_ex(DEPTH_MAX);
    if (!reader)
        return xk_fail_memory(err);
    struct json_object *const o = json_tokener_parse_ex(reader, line, (int)bytes);
    const int code =
        json_object_is_type(o, json_type_object)
            ? read_object(ret, o, err)
            : xk_fail(err, -EBADMSG, "that is no message of a mesh, but: %.60s", bytes > 0 ? line : "nothing");
    json_object_put(o);
    json_tokener_free(reader);
    return code;
}
