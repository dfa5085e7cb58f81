/*
 * The thin protocol from anybody: messages, and a request's words, which are run over a pool that answers every call
 * with what stands behind the empty line.
 */
#include "lib/xe/thin.h"

#include <assert.h>
#include <string.h>

#define CALLS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct pool {
    const char *reply;
    size_t bytes;
    unsigned calls;
};

static int answer(struct pool *p, struct xk_arena *arena, struct xapi_reply *ret, struct xk_err *err)
{
    if (p->calls++ == CALLS_MAX)
        return xk_fail(err, -ECONNRESET, "the pool is gone");
    if (xapi_reply_decode(ret, arena, true, p->reply, p->bytes, err) < 0)
        *ret = (struct xapi_reply){.value = xapi_str("OpaqueRef:a")};
    return 0;
}

static int on_open(void *context, struct xk_arena *arena, bool local, const char *user, const char *password,
                   struct xapi_reply *ret, struct xk_err *err)
{
    *ret = (struct xapi_reply){0};
    return 0;
}

static int on_call(void *context, struct xk_arena *arena, const char *session, const char *method,
                   const struct xapi_value *params, size_t count, struct xapi_reply *ret, struct xk_err *err)
{
    return answer(context, arena, ret, err);
}

static const char *on_session(void *context)
{
    return "OpaqueRef:s";
}

static void on_close(void *context)
{
}

static int64_t on_now(void *context)
{
    return 0;
}

static int on_text(void *context, const char *text)
{
    return 0;
}

static int on_error(void *context, const char *code, const char *const *params, size_t count)
{
    return 0;
}

static int on_data(void *context, struct xk_buf *ret)
{
    xk_buf_add_str(ret, "yes");
    return 0;
}

static int on_load(void *context, const char *path, struct xk_buf *ret)
{
    return on_data(context, ret);
}

static int on_begin(void *context, enum xe_transfer kind, const char *path, const char *address)
{
    return 0;
}

static int on_end(void *context)
{
    return 0;
}

/* Commands that sleep between two looks are left alone. */
static bool is_slow(const char *word)
{
    static const char *const words[] = {"vbd-unplug", "export",   "import", "wlb",    "audit", "blob", "backup",
                                        "restore",    "download", "upload", "status", "dump",  "sync", "event-wait"};

    for (size_t i = 0; i < XK_COUNT(words); i++)
        if (strstr(word, words[i]))
            return true;
    return false;
}

static void run(const char *body, size_t bytes, struct pool *pool)
{
    const struct xe_remote remote = {
        .context = pool, .open = on_open, .call = on_call, .session = on_session, .close = on_close, .now_s = on_now};
    const struct xe_terminal terminal = {.print = on_text,
                                         .complain = on_text,
                                         .error = on_error,
                                         .prompt = on_data,
                                         .load = on_load,
                                         .begin = on_begin,
                                         .end = on_end};
    const struct xe_settings settings = {.remote = &remote, .terminal = &terminal, .memory_bytes_max = 16u << 20};
    struct xk_arena arena = XK_ARENA_INIT(8u << 20);
    const char **words, *session;
    size_t count;

    if (thin_words(&words, &count, &session, &arena, body, bytes, NULL) == 0 && count > 0 && !is_slow(words[0]))
        (void)xe_run(&settings, words, count, NULL);
    xk_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char blank[] = "\n\n";
    struct xk_buf again = XK_BUF_INIT(1u << 20);
    struct thin_message m, second;

    if (thin_decode(&m, data, size, NULL) == 0) {
        thin_put(&again, &m);
        assert(!again.error && again.len == size + 4);
        assert(thin_decode(&second, (const uint8_t *)again.data + 4, again.len - 4, NULL) == 0);
        assert(second.kind == m.kind && second.tag == m.tag && second.text_count == m.text_count);
    }
    xk_buf_done(&again);
    const char *const end = memmem(data, size, blank, strlen(blank));
    const size_t words = end ? (size_t)(end - (const char *)data) : size;
    struct pool pool = {.reply = end ? end + 2 : "", .bytes = end ? size - words - 2 : 0};
    run((const char *)data, words, &pool);
    return 0;
}
