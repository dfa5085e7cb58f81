/* What the far side of a test says of itself: its account, its greeting, an echo. */
#include "lib/netdiag/netdiag.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void judge(const struct netdiag_account *a)
{
    const struct iperf_params params = {.parallel = 1};
    const struct netdiag_mtu mtu = {.known = true, .link = 1500, .up = 1300, .down = 1500};
    const struct netdiag_case c = {.params = &params,
                                   .own = a,
                                   .peer = a,
                                   .mtu = &mtu,
                                   .ways = {{.used = true, .received_bps = 1e9}, {.used = true, .received_bps = 1e9}}};
    struct netdiag_verdicts v;

    netdiag_judge(&v, &c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct netdiag_account *const a = calloc(1, sizeof(*a));
    char *const text = malloc(bytes + 1);
    struct iperf_greeting greeting;
    struct iperf_echo echo;

    if (a && text) {
        if (bytes)
            memcpy(text, data, bytes);
        text[bytes] = '\0';
        if (netdiag_account_read(a, text, NULL) == 0) {
            judge(a);
            char *const again = netdiag_account_text(a);
            if (!again || netdiag_account_read(a, again, NULL) < 0)
                abort();
            free(again);
        }
        (void)iperf_greeting_decode(&greeting, text, bytes, NULL);
        (void)iperf_echo_decode(&echo, data, bytes);
    }
    free(text);
    free(a);
    return 0;
}
