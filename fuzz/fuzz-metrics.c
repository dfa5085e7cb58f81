/* An export of metrics from a host that lies. What is taken out of it is in order, whatever it was. */
#include "lib/poolview/inner.h"

#include <assert.h>
#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct poolview_series *s)
{
    assert(s->rows == 0 || (s->min <= s->max && !isnan(s->mean)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct poolview_load *const load = xk_zalloc(sizeof(*load));
    struct xk_err err = {0};

    assert(load);
    const int code = poolview_load_decode(load, (const char *)data, size, "1", &err);
    assert(load->known == (code == 0) && load->disk_count <= POOLVIEW_DISKS_MAX);
    assert(code == 0 || *err.text);
    check(&load->cpu);
    check(&load->memory_free_kib);
    for (unsigned i = 0; i < load->disk_count; i++) {
        assert(strlen(load->disks[i].sr) == POOLVIEW_SHORT_ID_BYTES - 1);
        check(&load->disks[i].latency_us);
        check(&load->disks[i].iops);
    }
    free(load);
    return 0;
}
