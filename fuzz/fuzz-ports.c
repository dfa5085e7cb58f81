/* A list of ports as somebody types it. What is taken holds each port once, and is the same when it is typed back. */
#include "lib/portscan/portscan.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void type_back(struct xk_buf *b, const struct portscan_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        xk_buf_printf(b, "%s%s/%u", i ? "," : "", list->ports[i].udp ? "udp" : "tcp", list->ports[i].port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct portscan_list *const list = xk_zalloc(sizeof(*list)), *const again = xk_zalloc(sizeof(*again));
    char *const text = xk_alloc(size + 1);
    struct xk_buf back = XK_BUF_INIT(PORTSCAN_WORDS_MAX);
    struct xk_err err = {0};

    assert(list && again && text);
    memcpy(text, data, size);
    text[size] = '\0';
    if (portscan_list_parse(list, text, &err) == 0) {
        assert(list->count > 0 && list->count <= PORTSCAN_PORTS_MAX);
        for (size_t i = 0; i < list->count; i++)
            assert(list->ports[i].port > 0);
        type_back(&back, list);
        if (!back.error) { /* few enough that they can be typed */
            assert(portscan_list_parse(again, xk_buf_str(&back), &err) == 0 && again->count == list->count);
            for (size_t i = 0; i < list->count; i++)
                assert(again->ports[i].port == list->ports[i].port && again->ports[i].udp == list->ports[i].udp);
        }
    } else {
        assert(err.code == -EINVAL && *err.text);
    }
    xk_buf_done(&back);
    portscan_list_done(list);
    portscan_list_done(again);
    free(list);
    free(again);
    free(text);
    return 0;
}
