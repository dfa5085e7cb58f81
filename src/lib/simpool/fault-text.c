/*
 * The text of a fault: one table of keys, and for each kind of fault the keys that go with it.
 *
 * Whatever is not in the table or does not go together is refused by name; nothing is taken and then left without
 * effect.
 */
#include "lib/simpool/fault.h"

#include "core/text.h"
#include "lib/simpool/era.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PROBABILITY_MIN 1e-9

enum key_type {
    FLAG,
    TEXT,
    NUMBER,   /* uint64_t between min and max */
    DURATION, /* uint64_t nanoseconds */
    SIGNED,   /* int64_t nanoseconds */
    SHARE,    /* double in (0, 1], also with % */
    RATE,     /* double, a second */
    SPEED,    /* uint64_t bytes a second, also with /s */
    BYTES,    /* uint64_t */
};

enum key {
    METHOD,
    PATH,
    HOST,
    NTH,
    EVERY,
    PROBABILITY,
    AFTER,
    FOR,
    ERROR,
    DELAY,
    DROP,
    RESET,
    TRUNCATE,
    HTTP,
    WRONG_TYPE,
    SLOW,
    EXECUTED,
    DEAD,
    HUNG,
    SKEW,
    VERSION,
    CERTIFICATE,
    TASK,
    CLIENT,
    CLIENT_RATE,
    ORIGINATOR,
    USER_AGENT,
    MASTER,
    STORAGE,
    FULL,
    LATENCY,
    CPU,
    MACHINE,
    NO_TOOLS,
    KEYS,
};

#define AT(member) offsetof(struct sim_fault, member)

static const struct {
    const char *name;
    enum key_type type;
    size_t offset;
    uint64_t min, max; /* NUMBER; TEXT: max bytes */
} keys[KEYS] = {
    [METHOD] = {"method", TEXT, AT(method), 0, SIM_FAULT_WORD},
    [PATH] = {"path", TEXT, AT(path), 0, SIM_FAULT_WORD},
    [HOST] = {"host", NUMBER, AT(host), 1, SIMPOOL_HOSTS_MAX},
    [NTH] = {"nth", NUMBER, AT(nth), 1, UINT32_MAX},
    [EVERY] = {"every", NUMBER, AT(every), 1, UINT32_MAX},
    [PROBABILITY] = {"probability", SHARE, AT(probability), 0, 0},
    [AFTER] = {"after", DURATION, AT(after_ns), 0, 0},
    [FOR] = {"for", DURATION, AT(for_ns), 1, 0},
    [ERROR] = {"error", TEXT, AT(error), 0, SIM_FAULT_BYTES_MAX},
    [DELAY] = {"delay", DURATION, AT(delay_ns), 1, 0},
    [DROP] = {"drop", FLAG, AT(drop), 0, 0},
    [RESET] = {"reset", FLAG, AT(reset), 0, 0},
    [TRUNCATE] = {"truncate", BYTES, AT(truncate), 0, 0},
    [HTTP] = {"http", NUMBER, AT(http), 400, 599},
    [WRONG_TYPE] = {"wrong-type", FLAG, AT(wrong_type), 0, 0},
    [SLOW] = {"slow", SPEED, AT(slow_b_s), 0, 0},
    [EXECUTED] = {"executed", FLAG, AT(executed), 0, 0},
    [DEAD] = {"dead", FLAG, AT(dead), 0, 0},
    [HUNG] = {"hung", FLAG, AT(hung), 0, 0},
    [SKEW] = {"skew", SIGNED, AT(skew_ns), 0, 0},
    [VERSION] = {"version", TEXT, AT(version), 0, SIM_FAULT_WORD},
    [CERTIFICATE] = {"certificate", TEXT, AT(certificate), 0, SIM_FAULT_WORD},
    [TASK] = {"task", TEXT, AT(task), 0, SIM_FAULT_WORD},
    [CLIENT] = {"client", TEXT, AT(client), 0, SIM_FAULT_WORD},
    [CLIENT_RATE] = {"rate", RATE, AT(rate), 0, 0},
    [ORIGINATOR] = {"originator", TEXT, AT(originator), 0, SIM_FAULT_WORD},
    [USER_AGENT] = {"user-agent", TEXT, AT(agent), 0, SIM_FAULT_WORD},
    [MASTER] = {"master", NUMBER, AT(master), 1, SIMPOOL_HOSTS_MAX},
    [STORAGE] = {"sr", TEXT, AT(storage), 0, SIM_FAULT_WORD},
    [FULL] = {"full", FLAG, AT(full), 0, 0},
    [LATENCY] = {"latency", DURATION, AT(latency_ns), 1, 0},
    [CPU] = {"cpu", SHARE, AT(cpu), 0, 0},
    [MACHINE] = {"vm", TEXT, AT(vm), 0, SIM_FAULT_WORD},
    [NO_TOOLS] = {"no-tools", FLAG, AT(no_tools), 0, 0},
};

_Static_assert(KEYS <= 64, "a bit for each");

#define BIT(key)     (UINT64_C(1) << (key))
#define TIMES        (BIT(AFTER) | BIT(FOR))
#define CHOICES      (BIT(NTH) | BIT(EVERY) | BIT(PROBABILITY))
#define CALL_ENDS    (BIT(ERROR) | BIT(DROP) | BIT(RESET) | BIT(HTTP) | BIT(WRONG_TYPE) | BIT(TRUNCATE))
#define CALL_DOES    (CALL_ENDS | BIT(DELAY) | BIT(SLOW))
#define HOST_DOES    (BIT(DEAD) | BIT(HUNG) | BIT(SKEW) | BIT(VERSION) | BIT(CERTIFICATE) | BIT(CPU))
#define STORAGE_DOES (BIT(FULL) | BIT(LATENCY))
#define CALL_MEETS   (BIT(METHOD) | BIT(PATH) | BIT(HOST) | CHOICES)

/* In the order in which they are tried: a fault is of the first kind of which it has one of the keys that make it. */
static const struct {
    enum sim_fault_kind kind;
    uint64_t makes, needs, allows;
    const char *what;
} kinds[] = {
    {SIM_FAULT_MASTER, BIT(MASTER), 0, BIT(MASTER) | BIT(AFTER), "a change of the master"},
    {SIM_FAULT_STORAGE, BIT(STORAGE) | STORAGE_DOES, BIT(STORAGE), BIT(STORAGE) | STORAGE_DOES | TIMES,
     "a state of storage"},
    {SIM_FAULT_VM, BIT(MACHINE) | BIT(NO_TOOLS), BIT(MACHINE) | BIT(NO_TOOLS), BIT(MACHINE) | BIT(NO_TOOLS) | TIMES,
     "a state of machines"},
    {SIM_FAULT_CLIENT, BIT(CLIENT), BIT(CLIENT_RATE),
     BIT(CLIENT) | BIT(CLIENT_RATE) | BIT(ORIGINATOR) | BIT(USER_AGENT) | TIMES, "a client"},
    {SIM_FAULT_TASK, BIT(TASK), 0, BIT(TASK) | BIT(METHOD) | TIMES, "a state of tasks"},
    {SIM_FAULT_HOST, HOST_DOES, BIT(HOST), BIT(HOST) | HOST_DOES | TIMES, "a state of a host"},
    {SIM_FAULT_CALL, CALL_DOES, 0, CALL_MEETS | CALL_DOES | BIT(EXECUTED) | TIMES, "a fault of calls"},
};

/* ---- values ---- */

static bool parse_share(double *ret, const char *word)
{
    char text[32];
    const size_t len = strlen(word);

    if (len == 0 || len >= sizeof(text))
        return false;
    memcpy(text, word, len + 1);
    const bool percent = text[len - 1] == '%';
    if (percent)
        text[len - 1] = '\0';
    if (xk_parse_double(ret, text) < 0)
        return false;
    *ret /= percent ? 100 : 1;
    return *ret >= PROBABILITY_MIN && *ret <= 1;
}

static bool parse_speed(uint64_t *ret, const char *word)
{
    char text[32];
    const size_t len = strlen(word);

    if (len == 0 || len >= sizeof(text))
        return false;
    memcpy(text, word, len + 1);
    if (xk_has_suffix(text, "/s"))
        text[len - 2] = '\0';
    return xk_parse_size(ret, text) == 0 && *ret > 0 && *ret <= UINT32_MAX;
}

static bool parse_time(uint64_t *ret, const char *word, uint64_t min)
{
    return xk_parse_duration(ret, word) == 0 && *ret >= min &&
           *ret <= SIM_FAULT_DAYS_MAX * UINT64_C(86400) * XK_NS_PER_S;
}

static bool parse_signed(int64_t *ret, const char *word)
{
    uint64_t amount;

    if (!parse_time(&amount, word + (*word == '-' || *word == '+'), 1))
        return false;
    *ret = *word == '-' ? -(int64_t)amount : (int64_t)amount;
    return true;
}

static bool parse_value(struct sim_fault *f, enum key key, const char *word)
{
    void *const at = (char *)f + keys[key].offset;

    switch (keys[key].type) {
    case FLAG:
        *(bool *)at = true;
        return true;
    case TEXT:
        if (!*word || strlen(word) >= keys[key].max)
            return false;
        memcpy(at, word, strlen(word) + 1);
        return true;
    case NUMBER:
        return xk_parse_u64(at, word) == 0 && *(uint64_t *)at >= keys[key].min && *(uint64_t *)at <= keys[key].max;
    case DURATION:
        return parse_time(at, word, keys[key].min);
    case SIGNED:
        return parse_signed(at, word);
    case SHARE:
        return parse_share(at, word);
    case RATE:
        return xk_parse_double(at, word) == 0 && *(double *)at > 0 && *(double *)at <= SIM_FAULT_RATE_MAX;
    case SPEED:
        return parse_speed(at, word);
    case BYTES:
        return xk_parse_size(at, word) == 0;
    }
    return false;
}

/* ---- words ---- */

static int fail(struct xk_err *err, const char *text, const char *format, ...) XK_PRINTF(3, 4);

static int fail(struct xk_err *err, const char *text, const char *format, ...)
{
    char why[256];
    va_list args;

    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    return xk_fail(err, -EINVAL, "fault '%.200s': %s", text, why);
}

static int parse_word(struct sim_fault *f, const char *text, char *word, struct xk_err *err)
{
    char *const sign = strchr(word, '=');
    enum key key = 0;

    if (sign)
        *sign = '\0';
    while (key < KEYS && strcmp(keys[key].name, word) != 0)
        key++;
    if (key == KEYS) {
        const char *const near = xk_nearest(word, &keys[0].name, KEYS, sizeof(keys[0]));
        const int code = fail(err, text, "'%.60s' is not known", word);
        if (near)
            xk_err_hint(err, "did you mean %s?", near);
        return code;
    }
    if (f->keys & BIT(key))
        return fail(err, text, "'%s' is there twice", word);
    if (keys[key].type == FLAG && sign)
        return fail(err, text, "'%s' takes no value", word);
    if (keys[key].type != FLAG && !sign)
        return fail(err, text, "'%s' needs a value", word);
    f->keys |= BIT(key);
    return parse_value(f, key, sign ? sign + 1 : "") ? 0 : fail(err, text, "%s=%.60s is not possible", word, sign + 1);
}

/* ---- what goes together ---- */

static const char *name_of(uint64_t mask)
{
    return mask ? keys[__builtin_ctzll(mask)].name : "";
}

/* At most one of them. */
static int one_of(const struct sim_fault *f, uint64_t mask, const char *text, struct xk_err *err)
{
    const uint64_t given = f->keys & mask, rest = given & (given - 1);

    return rest ? fail(err, text, "'%s' does not go with '%s'", name_of(rest), name_of(given)) : 0;
}

static int check_kind(struct sim_fault *f, const char *text, struct xk_err *err)
{
    for (size_t i = 0; i < XK_COUNT(kinds); i++) {
        if (!(f->keys & kinds[i].makes))
            continue;
        f->kind = kinds[i].kind;
        const uint64_t wrong = f->keys & ~kinds[i].allows, missing = kinds[i].needs & ~f->keys;
        if (wrong)
            return fail(err, text, "'%s' does not go with '%s', which is %s", name_of(wrong),
                        name_of(f->keys & kinds[i].makes), kinds[i].what);
        if (missing)
            return fail(err, text, "'%s' is missing", name_of(missing));
        return 0;
    }
    return fail(err, text, "it says nothing that would happen");
}

static int check_error(const struct sim_fault *f, const char *text, struct xk_err *err)
{
    char code[SIM_FAULT_BYTES_MAX];
    unsigned params = 0, most = 0;

    snprintf(code, sizeof(code), "%.*s", (int)strcspn(f->error, ";"), f->error);
    const struct xapi_error *const row = xapi_error_find(code);
    if (!row)
        return fail(err, text, "there is no error %.80s", code);
    for (const char *c = f->error; *c; c++)
        params += *c == ';';
    const char *const names = xapi_text(row->params);
    for (const char *c = names; *c; c++)
        most += *c == ',';
    most += *names != '\0';
    return params > most ? fail(err, text, "%s has %u parameters, not %u", code, most, params) : 0;
}

static int check_call(const struct sim_fault *f, const char *text, struct xk_err *err)
{
    if (!(f->keys & (BIT(METHOD) | BIT(PATH))))
        return fail(err, text, "'method' is missing, or 'path'");
    if (one_of(f, BIT(METHOD) | BIT(PATH), text, err) < 0 || one_of(f, CALL_ENDS, text, err) < 0 ||
        one_of(f, CHOICES, text, err) < 0)
        return -EINVAL;
    if (f->keys & BIT(PATH) && f->keys & (BIT(ERROR) | BIT(WRONG_TYPE) | BIT(EXECUTED)))
        return fail(err, text, "'%s' does not go with 'path'",
                    name_of(f->keys & (BIT(ERROR) | BIT(WRONG_TYPE) | BIT(EXECUTED))));
    if (f->executed && !(f->drop || f->reset || f->http))
        return fail(err, text, "'executed' goes with drop, reset and http only");
    if (f->slow_b_s && (f->drop || f->reset))
        return fail(err, text, "'slow' does not go with '%s'", f->drop ? "drop" : "reset");
    return f->keys & BIT(ERROR) ? check_error(f, text, err) : 0;
}

static int check_words(const struct sim_fault *f, const char *text, struct xk_err *err)
{
    unsigned era = 0;

    while (simpool_eras[era] && strcmp(simpool_eras[era], f->version) != 0)
        era++;
    if (f->keys & BIT(VERSION) && strcmp(f->version, "old") != 0 && !simpool_eras[era])
        return fail(err, text, "version=%.40s is not known: old, or a release as --era takes it", f->version);
    if (f->keys & BIT(CERTIFICATE) && strcmp(f->certificate, "expired") != 0)
        return fail(err, text, "certificate=%.40s is not known: expired", f->certificate);
    if (f->keys & BIT(TASK) && strcmp(f->task, "stuck") != 0)
        return fail(err, text, "task=%.40s is not known: stuck", f->task);
    if (f->keys & BIT(CLIENT) && strcmp(f->client, "leak") != 0)
        return fail(err, text, "client=%.40s is not known: leak", f->client);
    return 0;
}

int sim_fault_parse(struct sim_fault *ret, const char *text, struct xk_err *err)
{
    char words[SIM_FAULT_BYTES_MAX];

    *ret = (struct sim_fault){0};
    if (strlen(text) >= sizeof(words))
        return fail(err, text, "it is longer than %d bytes", SIM_FAULT_BYTES_MAX - 1);
    memcpy(words, text, strlen(text) + 1);
    memcpy(ret->text, text, strlen(text) + 1);
    for (char *word = words, *next; word; word = next) {
        next = strchr(word, ',');
        if (next)
            *next++ = '\0';
        const int code = parse_word(ret, text, word, err);
        if (code < 0)
            return code;
    }
    int code = check_kind(ret, text, err);
    if (code == 0)
        code = check_words(ret, text, err);
    if (code == 0 && ret->kind == SIM_FAULT_HOST)
        code = one_of(ret, HOST_DOES, text, err);
    if (code == 0 && ret->kind == SIM_FAULT_STORAGE)
        code = ret->keys & STORAGE_DOES ? one_of(ret, STORAGE_DOES, text, err)
                                        : fail(err, text, "'full' or 'latency' is missing");
    if (code == 0 && ret->kind == SIM_FAULT_CALL)
        code = check_call(ret, text, err);
    ret->has_truncate = (ret->keys & BIT(TRUNCATE)) != 0; /* also after no byte at all */
    return code;
}
