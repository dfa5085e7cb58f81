/*
 * Plans, and their steps.
 *
 * Rounds of pairs are those of a tournament: one host stays, the others turn around it (the circle method), so that n
 * hosts need n-1 rounds, and an odd one sits out in each. A round is two steps, one for either direction.
 */
#include "lib/mesh/plan.h"

#include "lib/mesh/message.h"

#include <errno.h>
#include <json.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 8

const char *mesh_pattern_name(enum mesh_pattern p)
{
    static const char *const names[MESH_PATTERNS] = {"pairs", "all", "incast", "outcast"};
    return names[p];
}

int mesh_pattern_find(enum mesh_pattern *ret, const char *name, struct xk_err *err)
{
    for (*ret = 0; *ret < MESH_PATTERNS; ++*ret)
        if (strcmp(name, mesh_pattern_name(*ret)) == 0)
            return 0;
    return xk_fail(err, -EINVAL, "\"%s\" is no pattern: pairs, all, incast, outcast are", name);
}

int mesh_plan_choose(struct mesh_plan *p, const struct xk_words *names, struct xk_err *err)
{
    int code = 0;

    if (names->count > 0)
        memset(p->patterns, 0, sizeof(p->patterns));
    for (size_t i = 0; code == 0 && i < names->count; i++) {
        enum mesh_pattern which;
        code = mesh_pattern_find(&which, names->items[i], err);
        if (code == 0)
            p->patterns[which] = true;
    }
    return code;
}

/* ---- hosts ---- */

void mesh_plan_done(struct mesh_plan *p)
{
    for (unsigned i = 0; i < p->host_count; i++)
        for (char **word = p->hosts[i].command; *word; word++)
            free(*word);
    p->host_count = 0;
}

/* A word of the command with {} replaced by the host's name. */
static char *fill_in(const char *word, const char *name)
{
    const char *const hole = strstr(word, "{}");
    return hole ? xk_asprintf("%.*s%s%s", (int)(hole - word), word, name, hole + 2) : xk_strdup(word);
}

int mesh_plan_split(const char *ret[MESH_WORDS_MAX + 1], char *text, struct xk_err *err)
{
    size_t count = 0;

    for (char *word; (word = strsep(&text, " "));) {
        if (!*word)
            continue;
        if (count == MESH_WORDS_MAX)
            return xk_fail(err, -EINVAL, "--shell has more than %u words", MESH_WORDS_MAX);
        ret[count++] = word;
    }
    ret[count] = NULL;
    return count > 0 ? 0 : xk_fail(err, -EINVAL, "--shell has no words");
}

int mesh_plan_add(struct mesh_plan *p, const char *name, const char *address, const char *const *command,
                  const char *endpoint, struct xk_err *err)
{
    /* A name goes into commands (ssh takes a leading dash for an option) and into reports. */
    if (!*name || *name == '-' || strlen(name) >= MESH_NAME_BYTES || strpbrk(name, " \t\r\n\"'\\$`;|&<>()"))
        return xk_fail(err, -EINVAL, "\"%s\" is no host's name", name);
    if (!*address || strlen(address) >= RESOLVE_NAME_BYTES)
        return xk_fail(err, -EINVAL, "\"%s\" of host %s is no address", address, name);
    if (p->host_count == MESH_HOSTS_MAX)
        return xk_fail(err, -EINVAL, "more than %u hosts", MESH_HOSTS_MAX);
    for (unsigned i = 0; i < p->host_count; i++)
        if (strcmp(p->hosts[i].name, name) == 0)
            return xk_fail(err, -EINVAL, "host %s is named twice", name);
    struct mesh_host *const h = &p->hosts[p->host_count++];
    *h = (struct mesh_host){0};
    snprintf(h->name, sizeof(h->name), "%s", name);
    snprintf(h->address, sizeof(h->address), "%s", address);
    snprintf(h->endpoint, sizeof(h->endpoint), "%s", endpoint ? endpoint : "");
    for (size_t i = 0; command && command[i]; i++) {
        if (i == MESH_WORDS_MAX)
            return xk_fail(err, -EINVAL, "the command of host %s has more than %u words", name, MESH_WORDS_MAX);
        h->command[i] = fill_in(command[i], name);
        if (!h->command[i])
            return xk_fail_memory(err);
    }
    if (!h->command[0] == !*h->endpoint)
        return xk_fail(err, -EINVAL, "host %s needs either a command that starts its agent or the address of one",
                       name);
    return 0;
}

/* ---- the file ---- */

static const char *text_of(struct json_object *o, const char *name)
{
    struct json_object *v;
    return json_object_object_get_ex(o, name, &v) && json_object_is_type(v, json_type_string)
               ? json_object_get_string(v)
               : NULL;
}

static int only(struct json_object *o, const char *const *names, const char *where, struct xk_err *err)
{
    json_object_object_foreach(o, key, value)
    {
        const char *const *n = names;
        while (*n && strcmp(*n, key) != 0)
            n++;
        if (!*n || !value)
            return xk_fail(err, -EINVAL, "%s has no member \"%s\"", where, key);
    }
    return 0;
}

static int read_host(struct mesh_plan *p, struct json_object *o, struct xk_err *err)
{
    static const char *const names[] = {"name", "address", "command", "agent", NULL};
    const char *words[MESH_WORDS_MAX + 2] = {0};
    struct json_object *command = NULL;

    if (!json_object_is_type(o, json_type_object))
        return xk_fail(err, -EINVAL, "a host of the plan is no object");
    int code = only(o, names, "a host of the plan", err);
    if (code < 0)
        return code;
    if (json_object_object_get_ex(o, "command", &command)) {
        if (!json_object_is_type(command, json_type_array) || json_object_array_length(command) > MESH_WORDS_MAX)
            return xk_fail(err, -EINVAL, "\"command\" is a list of at most %u words", MESH_WORDS_MAX);
        for (size_t i = 0; i < json_object_array_length(command); i++) {
            struct json_object *const word = json_object_array_get_idx(command, i);
            if (!json_object_is_type(word, json_type_string))
                return xk_fail(err, -EINVAL, "\"command\" is a list of words");
            words[i] = json_object_get_string(word);
        }
    }
    const char *const name = text_of(o, "name"), *const address = text_of(o, "address");
    if (!name)
        return xk_fail(err, -EINVAL, "a host of the plan has no name");
    return mesh_plan_add(p, name, address ? address : name, words, text_of(o, "agent"), err);
}

static int read_count(uint64_t *ret, struct json_object *o, const char *name, uint64_t least, uint64_t most,
                      struct xk_err *err)
{
    struct json_object *v;

    if (!json_object_object_get_ex(o, name, &v))
        return 0;
    if (!json_object_is_type(v, json_type_int) || json_object_get_int64(v) < (int64_t)least ||
        json_object_get_int64(v) > (int64_t)most)
        return xk_fail(err, -EINVAL, "\"%s\" of the plan is a number from %llu to %llu", name,
                       (unsigned long long)least, (unsigned long long)most);
    *ret = (uint64_t)json_object_get_int64(v);
    return 0;
}

static int read_patterns(struct mesh_plan *p, struct json_object *o, struct xk_err *err)
{
    struct json_object *v;

    if (!json_object_object_get_ex(o, "patterns", &v))
        return 0;
    memset(p->patterns, 0, sizeof(p->patterns));
    if (!json_object_is_type(v, json_type_array) || json_object_array_length(v) == 0)
        return xk_fail(err, -EINVAL, "\"patterns\" of the plan is a list of names");
    for (size_t i = 0; i < json_object_array_length(v); i++) {
        const char *const name = json_object_get_string(json_object_array_get_idx(v, i));
        enum mesh_pattern which;
        const int code = mesh_pattern_find(&which, name ? name : "null", err);
        if (code < 0)
            return code;
        p->patterns[which] = true;
    }
    return 0;
}

static int read_plan(struct mesh_plan *p, struct json_object *o, struct xk_err *err)
{
    static const char *const names[] = {"hosts", "patterns", "seconds", "streams", "rate_bps", "probe_rate_bps", NULL};
    struct json_object *hosts = NULL;

    int code = only(o, names, "the plan", err);
    if (code == 0 && (!json_object_object_get_ex(o, "hosts", &hosts) || !json_object_is_type(hosts, json_type_array)))
        code = xk_fail(err, -EINVAL, "the plan has no list \"hosts\"");
    for (size_t i = 0; code == 0 && i < json_object_array_length(hosts); i++)
        code = read_host(p, json_object_array_get_idx(hosts, i), err);
    if (code == 0)
        code = read_patterns(p, o, err);
    if (code == 0)
        code = read_count(&p->seconds, o, "seconds", 1, MESH_SECONDS_MAX, err);
    if (code == 0)
        code = read_count(&p->streams, o, "streams", 1, MESH_STREAMS_MAX, err);
    if (code == 0)
        code = read_count(&p->rate_bps, o, "rate_bps", 0, INT64_MAX, err);
    return code < 0 ? code : read_count(&p->probe_bps, o, "probe_rate_bps", 0, INT64_MAX, err);
}

int mesh_plan_decode(struct mesh_plan *ret, const char *json, size_t bytes, struct xk_err *err)
{
    if (bytes > MESH_PLAN_BYTES_MAX)
        return xk_fail(err, -EINVAL, "the plan has more than %u bytes", MESH_PLAN_BYTES_MAX);
    struct json_tokener *const reader = json_tokener_new_ex(DEPTH_MAX);
    if (!reader)
        return xk_fail_memory(err);
    struct json_object *const o = json_tokener_parse_ex(reader, json, (int)bytes);
    const enum json_tokener_error wrong = json_tokener_get_error(reader);
    json_tokener_free(reader);
    const int code = wrong != json_tokener_success
                         ? xk_fail(err, -EINVAL, "the plan is no JSON: %s", json_tokener_error_desc(wrong))
                     : json_object_is_type(o, json_type_object) ? read_plan(ret, o, err)
                                                                : xk_fail(err, -EINVAL, "the plan is no JSON object");
    json_object_put(o);
    return code;
}

/* ---- steps ---- */

/* Who sits at place `seat` in round `round`, when place 0 stays and the others turn. */
static unsigned turned(unsigned seat, unsigned round, unsigned seats)
{
    return seat == 0 ? 0 : (seat - 1 + round) % (seats - 1) + 1;
}

static unsigned pairs(struct mesh_pair *ret, unsigned hosts, unsigned step)
{
    const unsigned seats = hosts + hosts % 2, round = step / 2;
    unsigned count = 0;

    if (hosts < 2 || round >= seats - 1)
        return 0;
    for (unsigned i = 0; i < seats / 2; i++) {
        const unsigned a = turned(i, round, seats), b = turned(seats - 1 - i, round, seats);
        if (a < hosts && b < hosts)
            ret[count++] = step % 2 == 0 ? (struct mesh_pair){(unsigned char)a, (unsigned char)b}
                                         : (struct mesh_pair){(unsigned char)b, (unsigned char)a};
    }
    return count;
}

unsigned mesh_plan_step(struct mesh_pair ret[MESH_HOSTS_MAX * MESH_HOSTS_MAX], enum mesh_pattern pattern,
                        unsigned hosts, unsigned step)
{
    unsigned count = 0;

    if (pattern == MESH_PAIRS)
        return pairs(ret, hosts, step);
    if (step >= (pattern == MESH_ALL ? 1 : hosts))
        return 0;
    for (unsigned from = 0; from < hosts; from++)
        for (unsigned to = 0; to < hosts; to++)
            if (from != to && (pattern == MESH_ALL || step == (pattern == MESH_INCAST ? to : from)))
                ret[count++] = (struct mesh_pair){(unsigned char)from, (unsigned char)to};
    return count;
}
