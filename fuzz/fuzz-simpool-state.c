/*
 * What stands in the frames of a state file, behind right checksums: the input begins with a schema, or is read with
 * that of this program (first byte 'M'). What was taken is written again, and has to be taken again as the same.
 */
#include "lib/simpool/state.h"

#include <assert.h>
#include <string.h>

#define BYTES_MAX (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct simpool *pool_open(struct xk_random *random)
{
    struct simpool *const p = xk_zalloc(sizeof(*p));

    assert(p);
    xk_random_seed(random, 1);
    p->settings.random = random;
    p->settings.clock = xk_clock_system();
    p->settings.speed = 1;
    assert(sim_db_open(p, NULL) == 0);
    return p;
}

static void pool_close(struct simpool *p)
{
    sim_db_close(p);
    sim_identities_close(p);
    free(p);
}

static void write_all(struct xk_buf *b, const struct simpool *p)
{
    sim_state_put_schema(b);
    for (const struct sim_object *o = p->newest; o; o = o->older)
        sim_state_put_object(b, p, o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct xk_buf schema_bytes = XK_BUF_INIT(BYTES_MAX), first = XK_BUF_INIT(BYTES_MAX),
                  second = XK_BUF_INIT(BYTES_MAX);
    struct sim_schema schema = {0};
    struct xk_random random;
    struct simpool *const p = pool_open(&random), *const again = pool_open(&random);
    int code = 0;

    if (size > 0 && data[0] == 'M') {
        sim_state_put_schema(&schema_bytes);
        code = sim_state_take(p, &schema, schema_bytes.data, schema_bytes.len, NULL);
        assert(code == 0);
        data++;
        size--;
    }
    code = sim_state_take(p, &schema, (const char *)data, size, NULL);
    if (code == 0 && sim_restore_end(p) == 0) {
        write_all(&first, p);
        assert(sim_state_take(again, &schema, first.data, first.len, NULL) == 0);
        assert(sim_restore_end(again) == 0);
        write_all(&second, again);
        assert(first.error || (first.len == second.len && memcmp(first.data, second.data, first.len) == 0));
    }
    sim_schema_done(&schema);
    xk_buf_done(&schema_bytes);
    xk_buf_done(&first);
    xk_buf_done(&second);
    pool_close(p);
    pool_close(again);
    return 0;
}
