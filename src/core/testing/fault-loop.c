/*
 * The loop that makes each allocation and each file operation of a case fail in turn.
 */
#include "core/testing/fault.h"

#include <stdio.h>
#include <string.h>

/* A case that never gets through undisturbed has a loop of its own. */
#define ROUNDS_MAX 200000

struct faults {
    const char *name;
    bool allocation, sticky, short_io;
    int error;
    unsigned which;
};

static int refuse(char why[XK_FAULT_WHY_MAX], const struct xk_fault_case *c, const struct faults *faults,
                  const struct xk_fault_round *round, const char *reason)
{
    snprintf(why, XK_FAULT_WHY_MAX, "%s, %s, at %llu (%s): result %d%s%.300s%s: %.400s", c->name, faults->name,
             (unsigned long long)round->at,
             !round->fired       ? "not reached"
             : round->allocation ? "allocation"
                                 : xk_fault_op_name(round->op),
             round->result, round->err->text[0] ? " \"" : "", round->err->text, round->err->text[0] ? "\"" : "",
             reason);
    return -EPROTO;
}

/* What holds for every operation. NULL: all well. */
static const char *broken_rule(const struct xk_fault_case *c, const struct xk_fault_round *round,
                               const struct xk_fault_fs *f, size_t blocks_left)
{
    if (!round->fired && round->result < 0)
        return "fails undisturbed";
    if (round->result < 0 && round->err->code != round->result)
        return "the error's code is not what was returned";
    if (round->result < 0 && !round->err->text[0])
        return "fails without a sentence";
    if (round->result < 0 && !c->any_error && round->result != round->error)
        return "fails with another error than the one that was injected";
    if (blocks_left > 0)
        return "leaves memory that nobody frees";
    if (f->open_files != 0)
        return "leaves a file open";
    return NULL;
}

static int one_round(bool *ret_fired, const struct xk_fault_case *c, const struct faults *faults, uint64_t at,
                     char why[XK_FAULT_WHY_MAX])
{
    int r = c->prepare ? c->prepare(c->state) : 0;
    if (r < 0) {
        snprintf(why, XK_FAULT_WHY_MAX, "%s: cannot prepare: %s", c->name, strerror(-r));
        return r;
    }
    struct xk_fault_fs f;
    xk_fault_fs_init(&f, xk_fs_posix());
    f.short_io = faults->short_io;
    f.error = faults->error;
    f.sticky = faults->sticky;
    f.which = faults->which;
    f.fail_at = faults->allocation ? 0 : at;

    struct xk_err err = {0};
    const size_t blocks_before = xk_fault_alloc_live();
    xk_fault_alloc_arm(faults->allocation ? at : 0, faults->sticky);
    const int result = c->run(c->state, &f.fs, &err);
    xk_fault_alloc_disarm();
    const size_t blocks_after = xk_fault_alloc_live();

    const struct xk_fault_round round = {
        .allocation = faults->allocation,
        .sticky = faults->sticky,
        .at = at,
        .fired = faults->allocation ? xk_fault_alloc_fired() : f.fired,
        .op = f.fired_op,
        .unlink_failed = f.unlink_failed,
        .error = faults->error,
        .result = result,
        .err = &err,
    };
    const char *broken = broken_rule(c, &round, &f, blocks_after > blocks_before ? blocks_after - blocks_before : 0);
    if (broken)
        return refuse(why, c, faults, &round, broken);
    char reason[XK_FAULT_WHY_MAX] = "no reason given";
    r = c->verify ? c->verify(c->state, &round, reason) : 0;
    *ret_fired = round.fired;
    return r ? refuse(why, c, faults, &round, reason) : 0;
}

int xk_fault_loop(const struct xk_fault_case *c, char why[XK_FAULT_WHY_MAX])
{
    static const struct faults all[] = {
        {.name = "short transfers", .short_io = true, .which = XK_FAULT_ALL},
        {.name = "no memory once", .allocation = true, .error = -ENOMEM, .which = XK_FAULT_ALL},
        {.name = "no memory from then on", .allocation = true, .sticky = true, .error = -ENOMEM, .which = XK_FAULT_ALL},
        {.name = "EIO once", .error = -EIO, .which = XK_FAULT_ALL},
        {.name = "EIO from then on", .sticky = true, .error = -EIO, .which = XK_FAULT_ALL},
        {.name = "ENOSPC once", .error = -ENOSPC, .which = XK_FAULT_SPACE},
        {.name = "ENOSPC from then on", .sticky = true, .error = -ENOSPC, .which = XK_FAULT_SPACE},
    };
    why[0] = '\0';
    for (size_t i = 0; i < XK_COUNT(all); i++) {
        bool fired = true;
        for (uint64_t at = all[i].short_io ? 0 : 1; fired; at++) {
            if (at > ROUNDS_MAX) {
                snprintf(why, XK_FAULT_WHY_MAX, "%s, %s: does not end", c->name, all[i].name);
                return -EPROTO;
            }
            const int r = one_round(&fired, c, &all[i], at, why);
            if (r < 0)
                return r;
        }
    }
    return 0;
}
