/*
 * A mesh's steps and what comes of them, whoever carries the orders: the coordinator over links of its own, or ranks of
 * an MPI job.
 */
#include "lib/mesh/run.h"

#include <string.h>

static int grow(struct mesh_result *r, size_t more, struct xk_err *err)
{
    if (r->count + more <= r->capacity)
        return 0;
    const size_t capacity = XK_MAX(2 * r->capacity, r->count + more);
    struct mesh_flow *const flows = xk_realloc(r->flows, capacity * sizeof(*flows));
    if (!flows)
        return xk_fail_memory(err);
    r->flows = flows;
    r->capacity = capacity;
    return 0;
}

static int run_step(struct mesh_result *ret, const struct mesh_plan *plan, const struct mesh_steps *steps,
                    enum mesh_pattern pattern, unsigned step, const struct mesh_pair *pairs, unsigned count,
                    struct xk_err *err)
{
    int code = grow(ret, count, err);
    if (code < 0)
        return code;
    struct mesh_flow *const flows = ret->flows + ret->count;
    for (unsigned i = 0; i < count; i++)
        flows[i] = (struct mesh_flow){.pair = pairs[i], .pattern = pattern, .step = step};
    code = steps->perform(steps->context, flows, count, false);
    if (code == 0 && pattern == MESH_PAIRS && plan->probe_bps > 0)
        code = steps->perform(steps->context, flows, count, true);
    ret->count += count;
    if (steps->ended)
        steps->ended(steps->context, flows, count);
    return code;
}

int mesh_steps_run(struct mesh_result *ret, const struct mesh_plan *plan, const struct mesh_steps *steps,
                   struct xk_err *err)
{
    xk_autofree struct mesh_pair *pairs = xk_array_alloc((size_t)MESH_HOSTS_MAX * MESH_HOSTS_MAX, sizeof(*pairs));
    unsigned count;
    int code = 0;

    if (!pairs)
        return xk_fail_memory(err);
    for (enum mesh_pattern p = 0; p < MESH_PATTERNS; p++)
        for (unsigned step = 0;
             plan->patterns[p] && code == 0 && (count = mesh_plan_step(pairs, p, plan->host_count, step)) > 0; step++)
            code = run_step(ret, plan, steps, p, step, pairs, count, err);
    return code;
}

void mesh_result_spread(struct mesh_result *r, enum mesh_pattern pattern, uint64_t spread_ns)
{
    r->spread_ns = XK_MAX(r->spread_ns, spread_ns);
    if (pattern != MESH_PAIRS)
        r->load_spread_ns = XK_MAX(r->load_spread_ns, spread_ns);
}

void mesh_flow_take(struct mesh_flow *f, const struct mesh_message *result, bool probe)
{
    const uint64_t packets = result->packets;

    if (probe) {
        f->probed = packets > 0;
        f->loss_percent = f->probed ? 100.0 * (double)XK_MIN(result->lost_packets, packets) / (double)packets : 0;
        f->jitter_ms = result->jitter_ms;
        return;
    }
    f->done = true;
    f->received_bps = result->received_bps;
    f->cpu_percent = result->cpu_percent;
    f->peer_cpu_percent = result->peer_cpu_percent;
    f->rtt_p50_ms = result->rtt_p50_ms;
    f->rtt_p99_ms = result->rtt_p99_ms;
    f->echoes = result->echoes;
    f->retransmits = result->retransmits;
}

void mesh_result_done(struct mesh_result *r)
{
    free(r->flows);
    *r = (struct mesh_result){0};
}

const struct mesh_flow *mesh_result_pair(const struct mesh_result *r, unsigned from, unsigned to)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct mesh_flow *const f = &r->flows[i];
        if (f->pattern == MESH_PAIRS && f->pair.from == from && f->pair.to == to)
            return f;
    }
    return NULL;
}
