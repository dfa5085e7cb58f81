/*
 * A dump in JSON: {"xenkit_dump": 1, "classes": {CLASS: {REF: RECORD, …}, …}}, or the classes alone.
 *
 * Read in pieces by recursive descent over a window, and handed on record by record: a dump of ten thousand VMs has
 * more than a hundred megabytes, of which never more than one record is in memory. json-c, which reads requests, builds
 * a tree of the whole document.
 */
#include "lib/simpool/load.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define WINDOW_BYTES  65536
#define NUMBER_MAX    64
#define KEY_BYTES_MAX 128

struct in {
    const struct xk_file *file;
    struct xk_err *err;
    struct xk_buf text; /* of the string that was read last */
    uint64_t offset;    /* of the window's end */
    size_t at, len;
    bool wrapped;
    int code; /* the first error; from then on everything ends */
    char window[WINDOW_BYTES];
};

/* ---- characters ---- */

static int fail(struct in *in, const char *what)
{
    if (in->code == 0)
        in->code =
            xk_fail(in->err, -EBADMSG, "at byte %llu: %s", (unsigned long long)(in->offset - in->len + in->at), what);
    return in->code;
}

static int fail_memory(struct in *in)
{
    if (in->code == 0)
        in->code = xk_fail_memory(in->err);
    return in->code;
}

/* The next byte without taking it; -1 at the end or after an error. */
static int peek(struct in *in)
{
    if (in->code < 0)
        return -1;
    if (in->at == in->len) {
        const ssize_t got = xk_file_read_some(in->file, in->window, sizeof(in->window), in->offset, in->err);
        if (got < 0)
            in->code = (int)got;
        if (got <= 0)
            return -1;
        in->offset += (uint64_t)got;
        in->at = 0;
        in->len = (size_t)got;
    }
    return (unsigned char)in->window[in->at];
}

static int next(struct in *in)
{
    const int c = peek(in);

    in->at += c >= 0;
    return c;
}

/* The next byte that is no white space. */
static int look(struct in *in)
{
    int c;

    while ((c = peek(in)) == ' ' || c == '\t' || c == '\n' || c == '\r')
        in->at++;
    return c;
}

static bool take(struct in *in, int wanted)
{
    if (look(in) != wanted)
        return false;
    in->at++;
    return true;
}

/* ---- strings ---- */

static uint32_t read_hex(struct in *in)
{
    uint32_t v = 0;

    for (int i = 0; i < 4; i++) {
        const int c = next(in);
        const int digit = c >= '0' && c <= '9'                     ? c - '0'
                          : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                                   : -1;
        if (digit < 0) {
            (void)fail(in, "four hexadecimal digits were expected");
            return 0;
        }
        v = v << 4 | (uint32_t)digit;
    }
    return v;
}

static void read_escape(struct in *in)
{
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    const int c = next(in);
    const char *const letter = c > 0 ? strchr(letters, c) : NULL;

    if (letter)
        return xk_buf_add_char(&in->text, bytes[letter - letters]);
    if (c != 'u') {
        (void)fail(in, "an escape that JSON does not have");
        return;
    }
    uint32_t point = read_hex(in);
    if (point >= 0xd800 && point < 0xdc00) {
        if (next(in) != '\\' || next(in) != 'u') {
            (void)fail(in, "half a surrogate pair");
            return;
        }
        const uint32_t low = read_hex(in);
        if (low < 0xdc00 || low > 0xdfff) {
            (void)fail(in, "half a surrogate pair");
            return;
        }
        point = 0x10000 + ((point - 0xd800) << 10 | (low - 0xdc00));
    }
    if (point == 0)
        (void)fail(in, "a NUL in a text");
    else if (point >= 0xdc00 && point <= 0xdfff)
        (void)fail(in, "half a surrogate pair");
    else
        xk_utf8_add(&in->text, point);
}

static bool is_utf8(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        uint32_t point;
        const int used = (unsigned char)text[i] < 0x80 ? 1 : xk_utf8_decode(&point, text + i, bytes - i);
        if (used <= 0)
            return false;
        i += (size_t)used;
    }
    return true;
}

/* A string into in->text. */
static int read_string(struct in *in)
{
    xk_buf_reset(&in->text);
    if (!take(in, '"'))
        return fail(in, "a string was expected");
    while (in->code == 0) {
        if (peek(in) < 0)
            return fail(in, "it ends in a string");
        /* What needs no look at each byte goes over at once. */
        size_t end = in->at;
        while (end < in->len && in->window[end] != '"' && in->window[end] != '\\' &&
               (unsigned char)in->window[end] >= 32)
            end++;
        xk_buf_add(&in->text, in->window + in->at, end - in->at);
        in->at = end;
        if (end == in->len)
            continue;
        const int c = next(in);
        if (c == '"')
            break;
        if (c != '\\')
            return fail(in, "a control character in a string");
        read_escape(in);
    }
    if (in->text.error == -ENOMEM)
        return fail_memory(in);
    if (in->text.error < 0)
        return fail(in, "a string that is too long");
    return in->code == 0 && !is_utf8(in->text.data, in->text.len) ? fail(in, "a string that is no UTF-8") : in->code;
}

/* ---- values ---- */

static void read_number(struct in *in, struct xapi_build *b)
{
    char word[NUMBER_MAX];
    size_t len = 0;
    int64_t integer;
    double real;

    for (int c; (c = peek(in)) > 0 && strchr("+-.0123456789eE", c) && len + 1 < sizeof(word); in->at++)
        word[len++] = (char)c;
    word[len] = '\0';
    if (len == 0)
        (void)fail(in, "a value was expected");
    else if (strpbrk(word, ".eE") == NULL && xk_parse_i64(&integer, word) == 0)
        xapi_build_int(b, integer);
    else if (xk_parse_double(&real, word) == 0)
        xapi_build_value(b, xapi_real(real));
    else
        (void)fail(in, "a number that is none");
}

static void read_word(struct in *in, struct xapi_build *b)
{
    static const struct {
        const char *word;
        struct xapi_value v;
    } words[] = {
        {"true", {.shape = XAPI_BOOL, .truth = true}}, {"false", {.shape = XAPI_BOOL}}, {"null", {.shape = XAPI_NIL}}};
    char word[8];
    size_t len = 0;

    for (int c; (c = peek(in)) >= 'a' && c <= 'z' && len + 1 < sizeof(word); in->at++)
        word[len++] = (char)c;
    word[len] = '\0';
    for (size_t i = 0; i < XK_COUNT(words); i++)
        if (strcmp(words[i].word, word) == 0)
            return xapi_build_value(b, words[i].v);
    (void)fail(in, "a value was expected");
}

static void read_value(struct in *in, struct xapi_build *b, unsigned depth)
{
    const int c = look(in);

    if (c != '{' && c != '[') {
        if (c == '"' && read_string(in) == 0)
            xapi_build_bytes(b, XAPI_TEXT, in->text.data ? in->text.data : "", in->text.len);
        else if (c >= 'a' && c <= 'z')
            read_word(in, b);
        else if (c != '"')
            read_number(in, b);
        return;
    }
    const int end = c == '{' ? '}' : ']';
    in->at++;
    if (depth == 0) {
        (void)fail(in, "it is nested too deeply");
        return;
    }
    xapi_build_open(b, c == '{' ? XAPI_MAP : XAPI_LIST);
    for (bool first = true; in->code == 0 && !b->error && !take(in, end); first = false) {
        if (!first && !take(in, ',')) {
            (void)fail(in, "a comma was expected");
            return;
        }
        if (c == '{') {
            if (read_string(in) < 0)
                return;
            xapi_build_bytes(b, XAPI_TEXT, in->text.data ? in->text.data : "", in->text.len);
            if (!take(in, ':')) {
                (void)fail(in, "a colon was expected");
                return;
            }
        }
        read_value(in, b, depth - 1);
    }
    xapi_build_close(b);
}

/* One value, into the arena. */
static int read_one(struct in *in, struct xk_arena *arena, struct xapi_value *ret)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(arena);

    read_value(in, &b, SIM_LOAD_DEPTH_MAX);
    if (in->code < 0)
        return in->code;
    return xapi_build_end(&b, ret) < 0 ? fail(in, "a value that is too large") : 0;
}

/* ---- the dump ---- */

typedef int member_reader(struct in *in, struct sim_load *l, const struct xapi_class *row, const char *key);

/* The members of an object, each by `member`. A key is cut where none of ours is longer. */
static int read_members(struct in *in, struct sim_load *l, const struct xapi_class *row, member_reader *member)
{
    char key[KEY_BYTES_MAX];

    if (!take(in, '{'))
        return fail(in, "an object was expected");
    for (bool first = true; in->code == 0 && !take(in, '}'); first = false) {
        if (!first && !take(in, ','))
            return fail(in, "a comma was expected");
        if (read_string(in) < 0)
            return in->code;
        if (!take(in, ':'))
            return fail(in, "a colon was expected");
        snprintf(key, sizeof(key), "%s", xk_buf_str(&in->text));
        if (member(in, l, row, key) < 0)
            return in->code;
    }
    return in->code;
}

static int read_record(struct in *in, struct sim_load *l, const struct xapi_class *row, const char *ref)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(SIM_LOAD_RECORD_MAX);
    struct xapi_value record;

    const int code = sim_load_begin(l, row);
    if (code < 0)
        return code == -ENOMEM ? fail_memory(in) : fail(in, "more objects than a pool can have");
    if (read_one(in, &arena, &record) < 0)
        return in->code;
    if (record.shape != XAPI_MAP && row)
        return fail(in, "a record is an object");
    for (size_t i = 0; l->row && i < record.count; i++) {
        const unsigned place = sim_load_place(l, record.items[2 * i].text);
        if (place != XAPI_NONE && sim_load_value(l, place, &arena, &record.items[2 * i + 1]) < 0)
            return fail_memory(in);
    }
    return sim_load_end(l, ref) < 0 ? fail_memory(in) : 0;
}

static int read_class(struct in *in, struct sim_load *l, const struct xapi_class *row, const char *name)
{
    return read_members(in, l, sim_load_class_find(l, name), read_record);
}

static int skip_value(struct in *in)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(SIM_LOAD_RECORD_MAX);
    struct xapi_value v;

    return read_one(in, &arena, &v);
}

static int read_version(struct in *in)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(SIM_LOAD_RECORD_MAX);
    struct xapi_value v;

    if (read_one(in, &arena, &v) < 0)
        return in->code;
    if (v.shape == XAPI_INT && v.integer == 1)
        return 0;
    return in->code = xk_fail(in->err, -ENOTSUP, "a dump of another format than 1");
}

static int read_top(struct in *in, struct sim_load *l, const struct xapi_class *row, const char *key)
{
    if (strcmp(key, "xenkit_dump") == 0) {
        in->wrapped = true;
        return read_version(in);
    }
    if (strcmp(key, "classes") == 0)
        return read_members(in, l, NULL, read_class);
    /* Beside the classes there may be whatever tells of the dump; without that word, each object is one of them. */
    return !in->wrapped && look(in) == '{' ? read_class(in, l, NULL, key) : skip_value(in);
}

int sim_load_json(struct sim_load *l, const struct xk_file *file, struct xk_err *err)
{
    struct in *const in = xk_alloc(sizeof(*in));

    if (!in)
        return xk_fail_memory(err);
    *in = (struct in){.file = file, .err = err, .text = XK_BUF_INIT(SIM_LOAD_TEXT_MAX)};
    if (peek(in) == 0xef) /* a byte order mark, which was looked at before */
        in->at = XK_MIN(in->len, (size_t)3);
    (void)read_members(in, l, NULL, read_top);
    if (in->code == 0 && look(in) >= 0)
        (void)fail(in, "something stands behind the dump");
    const int code = in->code;
    xk_buf_done(&in->text);
    free(in);
    return code;
}
