/*
 * The command line: a command, then switches and name=value words, which all become parameters; of two with the same
 * name the first counts. Numbers and truths are read as the real one does, with its texts when they are none.
 */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define WORDS_MAX 8192 /* pieces of one parameter */

/* A switch of one letter takes the next word. */
static const char *switch_name(const char *word)
{
    static const struct {
        const char *word, *name;
    } switches[] = {{"-u", "username"}, {"-pw", "password"}, {"-s", "server"}, {"-h", "server"}, {"-p", "port"}};

    for (size_t i = 0; i < XK_COUNT(switches); i++)
        if (strcmp(word, switches[i].word) == 0)
            return switches[i].name;
    return NULL;
}

int xe_args_parse(struct xe *x, const char *const *args, size_t count)
{
    if (count == 0 || strchr(args[0], '=')) {
        xe_fail_other(x, XE_SYNTAX, "");
        return -EINVAL;
    }
    x->command = args[0];
    x->params = xk_arena_alloc(&x->arena, (count + 1) * sizeof(*x->params));
    if (!x->params) {
        xe_fail_memory(x);
        return -ENOMEM;
    }
    for (size_t i = 1; i < count; i++) {
        const char *const word = args[i];
        struct xe_param *const p = &x->params[x->param_count++];
        if (xk_has_prefix(word, "--")) {
            *p = (struct xe_param){.name = word + 2, .value = "true"};
        } else if (*word == '-') {
            const char *const name = switch_name(word);
            if (!name || i + 1 == count) {
                xe_fail_other(x, XE_SYNTAX, "");
                return -EINVAL;
            }
            *p = (struct xe_param){.name = name, .value = args[++i]};
        } else {
            const size_t len = strcspn(word, "=");
            p->name = xk_arena_strndup(&x->arena, word, len);
            p->value = word[len] ? word + len + 1 : "";
            if (!p->name) {
                xe_fail_memory(x);
                return -ENOMEM;
            }
        }
    }
    return 0;
}

const char *xe_param(const struct xe *x, const char *name)
{
    for (size_t i = 0; i < x->param_count; i++)
        if (strcmp(x->params[i].name, name) == 0)
            return x->params[i].value;
    return NULL;
}

const char *xe_required(struct xe *x, const char *name)
{
    const char *const value = xe_param(x, name);

    /* The rows of the table name what has to be there; what is left is what the real one calls Not_found. */
    if (!value)
        xe_fail_server(x, "INTERNAL_ERROR", "INTERNAL_ERROR: [ Not_found ]", NULL);
    return value ? value : "";
}

const char *xe_param_or(const struct xe *x, const char *name, const char *otherwise)
{
    const char *const value = xe_param(x, name);

    return value ? value : otherwise;
}

bool xe_param_bool(struct xe *x, const char *name, bool otherwise)
{
    static const char *const words[] = {"true", "t", "yes", "y", "1", "false", "f", "no", "n", "0"};
    const char *const value = xe_param(x, name);

    if (!value)
        return otherwise;
    const char *const lower = xe_lower(x, value);
    for (size_t i = 0; i < XK_COUNT(words); i++)
        if (strcmp(lower, words[i]) == 0)
            return i < XK_COUNT(words) / 2;
    xe_fail(x, "Failed to parse parameter '%s': Expected 'true','t','yes','y','1','false','f','no','n','0' got %s",
            name, value);
    return otherwise;
}

struct xapi_value xe_param_map(struct xe *x, const char *name)
{
    const size_t len = strlen(name) + 1;
    struct xapi_value *const pairs = xk_arena_alloc(&x->arena, (2 * x->param_count + 1) * sizeof(*pairs));
    size_t count = 0;

    if (!pairs) {
        xe_fail_memory(x);
        return xapi_map(NULL, 0);
    }
    for (size_t i = 0; i < x->param_count; i++) {
        if (!xk_has_prefix(x->params[i].name, name) || strlen(x->params[i].name) <= len)
            continue;
        pairs[2 * count] = xapi_str(x->params[i].name + len);
        pairs[2 * count + 1] = xapi_str(x->params[i].value);
        count++;
    }
    return xapi_map(pairs, count);
}

struct xapi_value xe_split(struct xe *x, const char *text, char separator)
{
    size_t count = 1;

    for (const char *c = text; *c; c++)
        count += *c == separator;
    struct xapi_value *const items = count > WORDS_MAX ? NULL : xk_arena_alloc(&x->arena, count * sizeof(*items));
    if (!items) {
        xe_fail_memory(x);
        return xapi_list(NULL, 0);
    }
    for (size_t i = 0; i < count; i++) {
        const char *const end = strchr(text, separator);
        const char *const piece = xk_arena_strndup(&x->arena, text, end ? (size_t)(end - text) : strlen(text));
        if (!piece) {
            xe_fail_memory(x);
            return xapi_list(NULL, 0);
        }
        items[i] = xapi_str(piece);
        text = end ? end + 1 : "";
    }
    return xapi_list(items, count);
}

bool xe_is_standard_param(const char *name)
{
    static const char *const names[] = {"server", "password", "port", "username",         "minimal",
                                        "force",  "multiple", "all",  "message-priority", "trace"};

    for (size_t i = 0; i < XK_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

size_t xe_stem(const char *name)
{
    return strcspn(name, ":");
}

const char *xe_lower(struct xe *x, const char *text)
{
    char *const lower = xk_arena_strdup(&x->arena, text);

    if (!lower) {
        xe_fail_memory(x);
        return "";
    }
    for (char *c = lower; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    return lower;
}

/* ---- numbers ---- */

/* Signs, 0x 0o 0b, and '_' between digits, as the real one's language writes integers. */
bool xe_number(int64_t *ret, const char *text)
{
    const bool negative = *text == '-';
    uint64_t value = 0;
    unsigned base = 10;

    text += *text == '-' || *text == '+';
    if (text[0] == '0' && text[1] && strchr("xXoObBuU", text[1])) {
        base = tolower((unsigned char)text[1]) == 'x'   ? 16
               : tolower((unsigned char)text[1]) == 'o' ? 8
               : tolower((unsigned char)text[1]) == 'b' ? 2
                                                        : 10;
        text += 2;
    }
    if (!isxdigit((unsigned char)*text))
        return false;
    for (; *text; text++) {
        if (*text == '_')
            continue;
        const int c = tolower((unsigned char)*text);
        const unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                               : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                      : 99;
        if (digit >= base || xk_mul(value, (uint64_t)base, &value) || xk_add(value, (uint64_t)digit, &value))
            return false;
    }
    /* Decimal numbers have to fit with their sign; the others may fill all 64 bits. */
    if (base == 10 && value > (uint64_t)INT64_MAX + negative)
        return false;
    *ret = (int64_t)(negative ? UINT64_C(0) - value : value);
    return true;
}

bool xe_real(double *ret, const char *text)
{
    return xk_parse_double(ret, text) == 0;
}

int64_t xe_bytes(struct xe *x, const char *field, const char *text)
{
    static const struct {
        const char *words[3];
        unsigned shift;
    } units[] = {{{"bytes", "b", ""}, 0},
                 {{"kib", "kb", "k"}, 10},
                 {{"mib", "mb", "m"}, 20},
                 {{"gib", "gb", "g"}, 30},
                 {{"tib", "tb", "t"}, 40}};
    char number[32], suffix[16];
    const char *at = text + strspn(text, " \t\n\r");
    const size_t digits = (*at == '-' || *at == '+') + strspn(at + (*at == '-' || *at == '+'), "0123456789_");
    int64_t value;

    (void)snprintf(number, sizeof(number), "%.*s", (int)XK_MIN(digits, sizeof(number) - 1), at);
    at += digits;
    at += strspn(at, " \t\n\r");
    /* A word ends at a blank; what follows it is not looked at. */
    (void)snprintf(suffix, sizeof(suffix), "%.*s", (int)XK_MIN(strcspn(at, " \t\n\r"), sizeof(suffix) - 1), at);
    const char *const unit = xe_lower(x, suffix);
    if (digits > 0 && digits < sizeof(number) && xe_number(&value, number) && value >= 0)
        for (size_t i = 0; i < XK_COUNT(units); i++)
            for (size_t j = 0; j < XK_COUNT(units[i].words); j++)
                if (strcmp(unit, units[i].words[j]) == 0)
                    return (int64_t)((uint64_t)value << units[i].shift);
    xe_fail(x, "Failed to parse field '%s': expecting an integer (possibly with suffix KiB, MiB, GiB, TiB), got '%s'",
            field, text);
    return 0;
}
