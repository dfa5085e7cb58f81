/* XML-RPC from anybody: calls and replies; what was a call is written and read again. */
#include "lib/xapi/wire.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
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
