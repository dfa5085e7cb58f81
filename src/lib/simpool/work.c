/*
 * Work that takes time.
 *
 * A call with work to do waits in pool->working with a timer; when the time is over, its second half runs. While it
 * works, its task moves on in steps and its subject lists the operation, as clients expect to see it.
 */
#include "lib/simpool/fault.h"

#include <stdio.h>
#include <string.h>

#define STEP_NS  (XK_NS_PER_S / 4) /* between two updates of a task's progress */
#define STUCK_MS 250               /* between two looks at whether it gets on again */

/* ---- work ---- */

static void name_of(struct sim_call *c, const char *ref, const char *word, bool on)
{
    struct sim_object *const subject = *ref ? sim_find(c->pool, ref, NULL) : NULL;
    const struct xapi_value operation = xapi_str(word ? word : "");

    if (!subject)
        return;
    sim_map_set(c->pool, subject, xapi_field_place(subject->class_row, "current_operations"), c->operation_ref,
                on ? &operation : NULL);
    sim_allowed(c->pool, subject);
}

static void name_operation(struct sim_call *c, bool on)
{
    name_of(c, c->subject, c->operation, on);
    name_of(c, c->beside, c->operation_beside, on);
}

void sim_work_beside(struct sim_call *c, struct sim_object *other, const char *operation)
{
    memcpy(c->beside, other->ref, sizeof(c->beside));
    c->operation_beside = operation;
    name_of(c, c->beside, operation, true);
}

static void on_time(evutil_socket_t fd, short what, void *context)
{
    struct sim_call *const c = context;
    struct simpool *const p = c->pool;
    const uint64_t worked = sim_monotonic_ns(p) - c->started_ns;
    struct sim_object *const task = sim_find(p, c->task_ref, NULL);

    if (c->peer) /* a stop that comes too late */
        return;
    if (sim_fault_stuck(p, c)) { /* it neither gets on nor can be cancelled */
        const struct timeval again = {.tv_usec = STUCK_MS * 1000};
        (void)event_add(c->timer, &again);
        return;
    }
    if (worked < c->work_ns && !c->cancelled) {
        const struct timeval step = sim_delay(p, XK_MIN(STEP_NS, c->work_ns - worked));
        if (task)
            sim_put(p, task, "progress", xapi_real((double)worked / (double)c->work_ns));
        (void)event_add(c->timer, &step);
        return;
    }
    c->session = sim_session_find(p, c->session_ref);
    if (*c->subject)
        name_operation(c, false);
    enum sim_outcome outcome;
    if (c->cancelled)
        outcome = sim_fail(c, "TASK_CANCELLED", c->task_ref, NULL);
    else
        outcome = c->finish(c);
    if (*c->subject) {
        struct sim_object *const subject = sim_find(p, c->subject, NULL);
        if (subject)
            sim_allowed(p, subject);
    }
    if (outcome != SIM_WORKING)
        sim_answer(c, outcome);
}

enum sim_outcome sim_work_on(struct sim_call *c, uint64_t work_ns, sim_behaviour *finish)
{
    const struct timeval step = sim_delay(c->pool, XK_MIN(STEP_NS, work_ns));

    if (event_add(c->timer, &step) < 0)
        return sim_no_memory(c);
    c->finish = finish;
    c->started_ns = sim_monotonic_ns(c->pool);
    c->work_ns = work_ns;
    c->cancellable = false; /* what it was for is done */
    if (*c->subject)
        name_operation(c, true);
    return SIM_WORKING;
}

struct sim_object *sim_work_task(struct sim_call *c)
{
    if (!*c->task_ref && c->message->flags & XAPI_MESSAGE_ASYNC) {
        const struct sim_object *const task = sim_task_create(c->pool, xapi_text(c->message->name), c->session);
        if (task)
            memcpy(c->task_ref, task->ref, sizeof(c->task_ref));
        c->passing = task != NULL;
    }
    return sim_find(c->pool, c->task_ref, NULL);
}

enum sim_outcome sim_work(struct sim_call *c, uint64_t work_ns, sim_behaviour *finish, struct sim_object *subject,
                          const char *operation, bool cancellable)
{
    struct simpool *const p = c->pool;
    const struct timeval step = sim_delay(p, XK_MIN(STEP_NS, work_ns));
    struct sim_object *const task = sim_work_task(c);

    c->timer = evtimer_new(p->base, on_time, c);
    if (!c->timer || event_add(c->timer, &step) < 0)
        return sim_no_memory(c);
    c->finish = finish;
    c->started_ns = sim_monotonic_ns(p);
    c->work_ns = work_ns;
    c->cancellable = cancellable;
    if (subject) {
        memcpy(c->subject, subject->ref, sizeof(c->subject));
        c->operation = operation;
        if (task)
            memcpy(c->operation_ref, c->task_ref, sizeof(c->operation_ref));
        else
            sim_new_ref(p, c->operation_ref);
        name_operation(c, true);
    }
    if (task && cancellable)
        sim_put_list(p, task, "allowed_operations", (const char *const[]){"cancel", NULL});
    c->next = p->working;
    c->link = &p->working;
    if (c->next)
        c->next->link = &c->next;
    p->working = c;
    return SIM_WORKING;
}
