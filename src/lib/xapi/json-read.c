/*
 * JSON as values, strictly as RFC 8259 has it, in one pass and straight into the builder.
 *
 * json-c was here before: it first makes a tree of its own, and of the records of 4,000 machines (11 MB) that took six
 * times the time and five times the memory. Refused are also a NUL in a text, which values cannot hold, and bytes that
 * are not UTF-8.
 */
#include "lib/xapi/wire.h"

#include "core/text.h"
#include "lib/xapi/wire-parts.h"

#include <stdio.h>
#include <string.h>

#define NUMBER_BYTES 64 /* a longer number is refused: no double has more digits that count */

struct reader {
    const char *start, *at, *end;
    struct xapi_build *b;
    const char *wrong; /* the first thing that was wrong; NULL: none */
    unsigned depth;
};

static bool fail(struct reader *r, const char *wrong)
{
    if (!r->wrong)
        r->wrong = wrong;
    return false;
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

static bool take(struct reader *r, char c)
{
    skip_space(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

/* ---- texts ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The four digits after "\u". returns   a negative number when they are none. */
static int32_t read_unit(struct reader *r)
{
    int32_t unit = 0;

    if (r->end - r->at < 4)
        return -1;
    for (unsigned i = 0; i < 4; i++) {
        const int digit = hex_digit(r->at[i]);
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    r->at += 4;
    return unit;
}

static bool read_point(struct reader *r, uint32_t *ret)
{
    const int32_t high = read_unit(r);

    if (high <= 0)
        return fail(r, high == 0 ? "a NUL in a text" : "four hexadecimal digits are missing after \\u");
    *ret = (uint32_t)high;
    if (high < 0xd800 || high > 0xdfff)
        return true;
    if (high > 0xdbff || r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u')
        return fail(r, "half a surrogate pair");
    r->at += 2;
    const int32_t low = read_unit(r);
    if (low < 0xdc00 || low > 0xdfff)
        return fail(r, "half a surrogate pair");
    *ret = 0x10000 + (((uint32_t)high - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
    return true;
}

static char *put_point(char *to, uint32_t point)
{
    if (point < 0x80) {
        *to++ = (char)point;
    } else if (point < 0x800) {
        *to++ = (char)(0xc0 | point >> 6);
        *to++ = (char)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        *to++ = (char)(0xe0 | point >> 12);
        *to++ = (char)(0x80 | (point >> 6 & 0x3f));
        *to++ = (char)(0x80 | (point & 0x3f));
    } else {
        *to++ = (char)(0xf0 | point >> 18);
        *to++ = (char)(0x80 | (point >> 12 & 0x3f));
        *to++ = (char)(0x80 | (point >> 6 & 0x3f));
        *to++ = (char)(0x80 | (point & 0x3f));
    }
    return to;
}

static bool put_escape(struct reader *r, char **to)
{
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    uint32_t point;

    if (r->at == r->end)
        return fail(r, "the document ends in a text");
    const char c = *r->at++;
    const char *const name = c ? strchr(names, c) : NULL;
    if (name) {
        *(*to)++ = meant[name - names];
        return true;
    }
    if (c != 'u')
        return fail(r, "an unknown escape");
    if (!read_point(r, &point))
        return false;
    *to = put_point(*to, point);
    return true;
}

/* Past the bytes of a text that stand for themselves. */
static bool skip_plain(struct reader *r)
{
    while (r->at < r->end) {
        const unsigned char c = (unsigned char)*r->at;
        uint32_t point;
        if (c == '"' || c == '\\')
            return true;
        if (c < 0x20)
            return fail(r, "a control character in a text");
        const int bytes = c < 0x80 ? 1 : xk_utf8_decode(&point, r->at, (size_t)(r->end - r->at));
        if (bytes <= 0)
            return fail(r, "bytes that are not UTF-8");
        r->at += bytes;
    }
    return fail(r, "the document ends in a text");
}

/* An escape is never shorter than what it stands for, so the text as it is written is room enough. */
static bool read_escaped(struct reader *r, const char *start)
{
    const char *end = r->at;
    size_t bytes;

    while (end < r->end && *end != '"')
        end += *end == '\\' && r->end - end > 1 ? 2 : 1;
    char *const text = xk_arena_alloc(r->b->arena, (size_t)(end - start) + 1);
    if (!text) {
        r->b->error = -ENOMEM;
        return false;
    }
    bytes = (size_t)(r->at - start);
    memcpy(text, start, bytes);
    char *to = text + bytes;
    while (*r->at == '\\') {
        r->at++;
        if (!put_escape(r, &to))
            return false;
        const char *const plain = r->at;
        if (!skip_plain(r))
            return false;
        bytes = (size_t)(r->at - plain);
        memcpy(to, plain, bytes);
        to += bytes;
    }
    bytes = (size_t)(to - text);
    if (bytes > UINT32_MAX)
        return fail(r, "a text is too long");
    xapi_build_value(r->b, (struct xapi_value){.shape = XAPI_TEXT, .count = (uint32_t)bytes, .text = text});
    r->at++;
    return true;
}

/* After its opening quote. */
static bool read_text(struct reader *r)
{
    const char *const start = r->at;

    if (!skip_plain(r))
        return false;
    if (*r->at == '\\')
        return read_escaped(r, start);
    xapi_build_bytes(r->b, XAPI_TEXT, start, (size_t)(r->at - start));
    r->at++;
    return true;
}

/* ---- numbers and words ---- */

static size_t skip_digits(struct reader *r)
{
    const char *const start = r->at;

    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return (size_t)(r->at - start);
}

static bool read_number(struct reader *r)
{
    const char *const start = r->at;
    char text[NUMBER_BYTES];
    bool whole = true;
    int64_t integer;
    double real;

    r->at += *r->at == '-';
    const bool zero = r->at < r->end && *r->at == '0';
    const size_t digits = skip_digits(r);
    if (digits == 0 || (zero && digits > 1))
        return fail(r, "neither a value nor a number");
    if (r->at < r->end && *r->at == '.') {
        whole = false;
        r->at++;
        if (skip_digits(r) == 0)
            return fail(r, "a number without digits after its point");
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        whole = false;
        r->at++;
        r->at += r->at < r->end && (*r->at == '+' || *r->at == '-');
        if (skip_digits(r) == 0)
            return fail(r, "a number without digits in its exponent");
    }
    const size_t bytes = (size_t)(r->at - start);
    if (bytes >= sizeof(text))
        return fail(r, "a number is too long");
    memcpy(text, start, bytes);
    text[bytes] = '\0';
    if (whole && xk_parse_i64(&integer, text) == 0)
        xapi_build_int(r->b, integer);
    else if (xk_parse_double(&real, text) == 0)
        xapi_build_value(r->b, xapi_real(real));
    else
        return fail(r, "a number is too large");
    return true;
}

static bool read_word(struct reader *r)
{
    static const struct {
        const char *word;
        size_t bytes;
    } words[] = {{"null", 4}, {"true", 4}, {"false", 5}};

    for (size_t i = 0; i < XK_COUNT(words); i++) {
        if ((size_t)(r->end - r->at) < words[i].bytes || memcmp(r->at, words[i].word, words[i].bytes) != 0)
            continue;
        r->at += words[i].bytes;
        xapi_build_value(r->b, i == 0 ? xapi_nil() : xapi_bool(i == 1));
        return true;
    }
    return fail(r, "neither a value nor a number");
}

/* ---- lists and objects ---- */

static bool read_value(struct reader *r);

static bool read_pair(struct reader *r)
{
    if (!take(r, '"'))
        return fail(r, "a name in quotes is missing");
    if (!read_text(r))
        return false;
    if (!take(r, ':'))
        return fail(r, "a colon is missing");
    return read_value(r);
}

static bool read_group(struct reader *r, bool object)
{
    const char close = object ? '}' : ']';

    if (r->depth == XAPI_DEPTH_MAX) {
        r->b->error = -E2BIG;
        return false;
    }
    r->depth++;
    xapi_build_open(r->b, object ? XAPI_MAP : XAPI_LIST);
    if (!take(r, close)) {
        do {
            if (!(object ? read_pair(r) : read_value(r)) || r->b->error)
                return false;
        } while (take(r, ','));
        if (!take(r, close))
            return fail(r, object ? "a comma or } is missing" : "a comma or ] is missing");
    }
    xapi_build_close(r->b);
    r->depth--;
    return !r->b->error;
}

static bool read_value(struct reader *r)
{
    skip_space(r);
    if (r->at == r->end)
        return fail(r, "the document ends too early");
    switch (*r->at) {
    case '"':
        r->at++;
        return read_text(r);
    case '[':
    case '{':
        return read_group(r, *r->at++ == '{');
    case '-':
    case '0' ... '9':
        return read_number(r);
    default:
        return read_word(r);
    }
}

int xapi_json_decode(struct xapi_value *ret, struct xk_arena *arena, const char *text, size_t bytes, struct xk_err *err)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(arena);
    struct reader r = {.start = text, .at = text, .end = text + bytes, .b = &b};

    const bool read = read_value(&r);
    skip_space(&r);
    if (read && r.at < r.end)
        (void)fail(&r, "more follows the document");
    if (r.wrong)
        return xk_fail(err, -EBADMSG, "JSON: at byte %zu: %s", (size_t)(r.at - r.start), r.wrong);
    const int code = xapi_build_end(&b, ret);
    if (code == -ENOMEM)
        return xk_fail_memory(err);
    if (code < 0)
        return xk_fail(err, code,
                       code == -E2BIG ? "JSON: the document is nested too deeply, or has too many values"
                                      : "JSON: the document cannot be read");
    return 0;
}
