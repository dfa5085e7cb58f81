/* A message of a mesh, and a plan. */
#include "lib/mesh/message.h"
#include "lib/mesh/plan.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mesh_plan *const plan = calloc(1, sizeof(*plan));
    struct xk_buf line = XK_BUF_INIT(MESH_LINE_BYTES);
    struct mesh_message m;

    /* Whatever is accepted can be said again. */
    if (mesh_message_decode(&m, (const char *)data, bytes, NULL) == 0) {
        mesh_message_encode(&line, &m);
        if (line.error == 0 && mesh_message_decode(&m, line.data, line.len - 1, NULL) < 0)
            abort();
    }
    xk_buf_done(&line);
    if (plan) {
        (void)mesh_plan_decode(plan, (const char *)data, bytes, NULL);
        mesh_plan_done(plan);
    }
    free(plan);
    return 0;
}
