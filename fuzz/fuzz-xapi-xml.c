/*
 * XML-RPC from anybody: calls and replies; what was a call is written and read again; what is read without a parser is
 * what the parser reads.
 */
#include "lib/xapi/wire-parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_both_ways(const char *data, size_t size)
{
    struct xk_arena arena = XK_ARENA_INIT(32u << 20);
    struct xk_buf text[2] = {XK_BUF_INIT(64u << 20), XK_BUF_INIT(64u << 20)};
    struct xapi_document d[2] = {0};
    int code[2];

    for (int i = 0; i < 2; i++) {
        code[i] = xapi_xml_read(&d[i], &arena, i == 1, data, size, NULL);
        if (code[i] == 0)
            xapi_xml_value(&text[i], &d[i].params);
    }
    if (code[0] != -ENOMEM && code[1] != -ENOMEM) {
        assert(code[0] == code[1] && d[0].response == d[1].response && !d[0].method == !d[1].method);
        assert(!d[0].method || strcmp(d[0].method, d[1].method) == 0);
        assert(text[0].len == text[1].len &&
               (text[0].len == 0 || memcmp(text[0].data, text[1].data, text[0].len) == 0));
    }
    xk_buf_done(&text[0]);
    xk_buf_done(&text[1]);
    xk_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_both_ways((const char *)data, size);
    struct xk_arena arena = XK_ARENA_INIT(16u << 20), again = XK_ARENA_INIT(64u << 20);
    struct xk_buf text = XK_BUF_INIT(64u << 20);
    struct xapi_call call, second;
    struct xapi_reply reply;

    if (xapi_call_decode(&call, &arena, false, (const char *)data, size, NULL) == 0) {
        xapi_call_encode(&text, &call);
        if (!text.error)
            (void)xapi_call_decode(&second, &again, false, xk_buf_str(&text), text.len, NULL);
    }
    if (xapi_reply_decode(&reply, &arena, false, (const char *)data, size, NULL) == 0)
        xapi_reply_encode(&text, &(struct xapi_call){.protocol = XAPI_XML}, &reply, false);
    xk_buf_done(&text);
    xk_arena_done(&arena);
    xk_arena_done(&again);
    return 0;
}
