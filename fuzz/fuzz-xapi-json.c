/* JSON-RPC from anybody: calls and replies; what was a call has to come back from what we write of it. */
#include "lib/xapi/wire.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct xk_arena arena = XK_ARENA_INIT(16u << 20), again = XK_ARENA_INIT(64u << 20);
    struct xk_buf text = XK_BUF_INIT(64u << 20);
    struct xapi_call call, second;
    struct xapi_reply reply;

    if (xapi_call_decode(&call, &arena, true, (const char *)data, size, NULL) == 0) {
        xapi_call_encode(&text, &call);
        if (!text.error && xapi_call_decode(&second, &again, true, xk_buf_str(&text), text.len, NULL) == 0)
            assert(second.params.count == call.params.count);
        xk_buf_reset(&text);
    }
    if (xapi_reply_decode(&reply, &arena, true, (const char *)data, size, NULL) == 0)
        xapi_reply_encode(&text, &(struct xapi_call){.protocol = XAPI_JSON2, .id = xapi_int(1)}, &reply, false);
    xk_buf_done(&text);
    xk_arena_done(&arena);
    xk_arena_done(&again);
    return 0;
}
