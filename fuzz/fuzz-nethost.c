/* The kernel's tables and its replies about queue disciplines. */
#include "lib/nethost/nethost.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct nethost_counters *const c = calloc(1, sizeof(*c));
    char *const text = malloc(bytes + 1);
    struct nethost_qdisc qdiscs[4];
    bool done;

    if (c && text) {
        memcpy(text, data, bytes);
        (void)nethost_qdiscs_parse(qdiscs, XK_COUNT(qdiscs), text, bytes, &done);
        text[bytes] = '\0';
        nethost_parse_dev(c, text);
        nethost_parse_softnet(c, text);
        nethost_parse_stat(c, text);
    }
    free(text);
    free(c);
    return 0;
}
