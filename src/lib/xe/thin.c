/* Messages of the thin protocol as bytes, both directions: the server needs one, tests and the fuzzer the other. */
#include "lib/xe/thin.h"

#include "core/bytes.h"
#include "core/text.h"

#include <string.h>

/* ---- writing ---- */

static void put_u32(struct xk_buf *b, uint32_t v)
{
    const uint8_t bytes[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};

    xk_buf_add(b, bytes, sizeof(bytes));
}

static void put_text(struct xk_buf *b, const struct thin_text *text)
{
    put_u32(b, (uint32_t)text->bytes);
    xk_buf_add(b, text->at, text->bytes);
}

void thin_put_greeting(struct xk_buf *b)
{
    xk_buf_add_str(b, THIN_GREETING);
    put_u32(b, THIN_MAJOR);
    put_u32(b, THIN_MINOR);
}

/* What follows a tag: so many texts, a number, a list of texts. */
struct shape {
    uint8_t tag, kind, texts;
    bool number, list;
};

static const struct shape shapes[] = {
    {THIN_PRINT, THIN_COMMAND, 1, false, false},    {THIN_LOAD, THIN_COMMAND, 1, false, false},
    {THIN_PROMPT, THIN_COMMAND, 0, false, false},   {THIN_EXIT, THIN_COMMAND, 0, true, false},
    {THIN_HTTP_GET, THIN_COMMAND, 2, false, false}, {THIN_HTTP_PUT, THIN_COMMAND, 2, false, false},
    {THIN_ERROR, THIN_COMMAND, 1, false, true},     {THIN_DEBUG, THIN_COMMAND, 1, false, false},
    {THIN_COMPLAIN, THIN_COMMAND, 1, false, false}, {THIN_HTTP_CONNECT, THIN_COMMAND, 1, false, false},
    {THIN_OK, THIN_RESPONSE, 0, false, false},      {THIN_FAILED, THIN_RESPONSE, 0, false, false},
    {THIN_WAIT, THIN_RESPONSE, 0, false, false},    {THIN_CHUNK, THIN_BLOB, 0, true, false},
    {THIN_END, THIN_BLOB, 0, false, false},
};

static const struct shape *shape_of(uint32_t kind, uint32_t tag)
{
    for (size_t i = 0; i < XK_COUNT(shapes); i++)
        if (shapes[i].kind == kind && shapes[i].tag == tag)
            return &shapes[i];
    return NULL;
}

void thin_put(struct xk_buf *b, const struct thin_message *message)
{
    const struct shape *const shape = shape_of(message->kind, message->tag);
    const size_t start = b->len;

    if (!shape) {
        b->error = -EINVAL;
        return;
    }
    put_u32(b, 0);
    put_u32(b, message->kind);
    put_u32(b, message->tag);
    if (shape->number)
        put_u32(b, message->number);
    for (size_t i = 0; i < message->text_count; i++) {
        if (shape->list && i == shape->texts)
            put_u32(b, (uint32_t)(message->text_count - i));
        put_text(b, &message->texts[i]);
    }
    if (shape->list && message->text_count == shape->texts)
        put_u32(b, 0);
    if (b->error)
        return;
    const uint32_t bytes = (uint32_t)(b->len - start - 4);
    for (unsigned i = 0; i < 4; i++)
        b->data[start + i] = (char)(uint8_t)(bytes >> (8 * i));
}

/* ---- reading ---- */

int thin_check_greeting(const uint8_t *bytes, struct xk_err *err)
{
    struct xk_reader r = xk_reader(bytes, THIN_GREETING_BYTES);

    if (memcmp(bytes, THIN_GREETING, sizeof(THIN_GREETING) - 1) != 0)
        return xk_fail(err, -EBADMSG, "the client does not speak the thin protocol");
    xk_skip(&r, sizeof(THIN_GREETING) - 1);
    const uint32_t major = xk_le32(&r);
    if (major != THIN_MAJOR)
        return xk_fail(err, -ENOTSUP, "the client speaks version %u of the thin protocol", major);
    return 0;
}

static int take_text(struct thin_message *m, struct xk_reader *r, const uint8_t *bytes, struct xk_err *err)
{
    const uint32_t len = xk_le32(r);

    if (m->text_count == THIN_TEXTS_MAX)
        return xk_fail(err, -E2BIG, "a message with more than %d texts", THIN_TEXTS_MAX);
    if (r->bad || len > xk_left(r))
        return xk_fail(err, -EBADMSG, "a text of %u bytes in a message that is shorter", len);
    m->texts[m->text_count++] = (struct thin_text){.at = (const char *)bytes + r->at, .bytes = len};
    xk_skip(r, len);
    return 0;
}

int thin_decode(struct thin_message *ret, const uint8_t *bytes, size_t count, struct xk_err *err)
{
    struct xk_reader r = xk_reader(bytes, count);
    const uint32_t kind = xk_le32(&r), tag = xk_le32(&r);
    const struct shape *const shape = r.bad ? NULL : shape_of(kind, tag);
    int code = 0;

    *ret = (struct thin_message){0};
    if (!shape)
        return xk_fail(err, -EBADMSG, "a message of an unknown kind (%u, %u)", kind, tag);
    ret->kind = (enum thin_kind)kind;
    ret->tag = (enum thin_tag)tag;
    if (shape->number)
        ret->number = xk_le32(&r);
    for (unsigned i = 0; code == 0 && i < shape->texts; i++)
        code = take_text(ret, &r, bytes, err);
    if (code == 0 && shape->list)
        for (uint32_t left = xk_le32(&r); code == 0 && !r.bad && left > 0; left--)
            code = take_text(ret, &r, bytes, err);
    if (code == 0 && (r.bad || xk_left(&r) > 0))
        code = xk_fail(err, -EBADMSG, "a message of %zu bytes has not the length of its kind", count);
    return code;
}

int thin_words(const char ***ret_words, size_t *ret_count, const char **ret_session, struct xk_arena *arena,
               const char *body, size_t bytes, struct xk_err *err)
{
    static const char session[] = "session_id=";
    const char **const words = xk_arena_alloc(arena, XE_ARGS_MAX * sizeof(*words));
    size_t count = 0;

    if (!words)
        return xk_fail_memory(err);
    if (memchr(body, '\0', bytes))
        return xk_fail(err, -EINVAL, "the command line has a NUL in it");
    *ret_session = NULL;
    for (const char *at = body, *const end = body + bytes;;) {
        const char *const line = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((line ? line : end) - at);
        len -= len > 0 && at[len - 1] == '\r';
        if (count == XE_ARGS_MAX)
            return xk_fail(err, -E2BIG, "the command line has more than %d words", XE_ARGS_MAX);
        words[count] = xk_arena_strndup(arena, at, len);
        if (!words[count])
            return xk_fail_memory(err);
        count++;
        if (!line)
            break;
        at = line + 1;
    }
    const bool given = xk_has_prefix(words[0], session);
    if (given)
        *ret_session = words[0] + strlen(session);
    *ret_words = words + given;
    *ret_count = count - given;
    return 0;
}
