/* Any text as a fault: refused with a sentence, or read into something that goes together. */
#include "lib/simpool/fault.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[2 * SIM_FAULT_BYTES_MAX];
    struct xk_err err = {0};
    struct sim_fault f;

    if (size >= sizeof(text))
        size = sizeof(text) - 1;
    memcpy(text, data, size);
    text[size] = '\0';
    const int code = sim_fault_parse(&f, text, &err);
    if (code < 0) {
        assert(code == -EINVAL && err.code == code && *err.text);
        return 0;
    }
    assert(f.kind != SIM_FAULT_CALL || !*f.method || !*f.path);
    assert(f.kind != SIM_FAULT_HOST || f.host > 0);
    assert(f.kind != SIM_FAULT_CLIENT || (f.rate > 0 && f.rate <= SIM_FAULT_RATE_MAX));
    (void)sim_glob(f.method, "VM.start");
    return 0;
}
