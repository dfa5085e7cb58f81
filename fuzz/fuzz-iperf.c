/* Both JSON documents of iperf3; what is read is written and read once more. */
#include "lib/iperf/params.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct iperf_params params, again;
    xk_autofree struct iperf_results *results = xk_zalloc(sizeof(*results));
    struct xk_buf b = XK_BUF_INIT(1u << 20);

    if (iperf_params_decode(&params, (const char *)data, bytes, NULL) == 0) {
        iperf_params_encode(&b, &params);
        if (!b.error && iperf_params_decode(&again, b.data, b.len, NULL) < 0)
            abort();
    }
    xk_buf_reset(&b);
    if (results && iperf_results_decode(results, (const char *)data, bytes, NULL) == 0) {
        iperf_results_encode(&b, results);
        iperf_results_done(results);
    }
    xk_buf_done(&b);
    return 0;
}
