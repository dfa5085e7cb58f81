/*
 * A dump that anybody made, as JSON or as a database in XML. What was loaded has to be a pool: with a master that is
 * one of its hosts, and records that can be told.
 */
#include "lib/simpool/load.h"
#include "memory-fs.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_file file;
    struct simpool *const p = xk_zalloc(sizeof(*p));
    struct xk_random random;
    struct xk_err err = {0};

    assert(p);
    memory_file_init(&file, data, size, 0, 0);
    xk_random_seed(&random, 1);
    p->settings.random = &random;
    p->settings.clock = xk_clock_system();
    p->settings.speed = 1;
    p->notes = XK_BUF_INIT(65536);
    assert(sim_db_open(p, NULL) == 0);
    if (sim_load(p, &file.fs, "dump", &err) == 0) {
        assert(p->settings.hosts > 0 && p->settings.hosts <= SIMPOOL_HOSTS_MAX);
        assert(strcmp(sim_text(sim_first(p, "pool"), "master"), p->host_refs[0]) == 0);
        for (unsigned i = 0; i < xapi_class_count; i++) {
            for (struct sim_object *o = p->classes[i].first; o; o = o->class_next) {
                struct xapi_raw raw;
                assert(sim_find(p, o->ref, &xapi_classes[i]) == o);
                assert(sim_record(&raw, o) == 0);
            }
        }
    } else {
        assert(err.text[0]);
    }
    sim_db_close(p);
    xk_buf_done(&p->notes);
    free(p);
    return 0;
}
