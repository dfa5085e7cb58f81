/*
 * Tasks, and work that takes time.
 *
 * A call with work to do waits in pool->working with a timer; when the time is over, its second half runs. While it
 * works, its task moves on in steps and its subject lists the operation, as clients expect to see it.
 */
#include "lib/simpool/inner.h"

#include <stdio.h>
#include <string.h>

#define STEP_NS (XK_NS_PER_S / 4) /* between two updates of a task's progress */

struct sim_object *sim_task_create(struct simpool *p, const char *name, struct sim_session *session)
{
    struct sim_object *const task = sim_create(p, "task");

    if (!task)
        return NULL;
    sim_put_text(p, task, "name_label", name);
    sim_put_time(p, task, "created", sim_now_s(p));
    sim_put_text(p, task, "status", "pending");
    sim_put_text(p, task, "resident_on", sim_text(sim_first(p, "pool"), "master"));
    sim_put_text(p, task, "type", "<none/>");
    sim_put_list(p, task, "allowed_operations", (const char *const[]){NULL});
    sim_put_text(p, task, "backtrace", "()");
    if (session && session->object)
        sim_put_text(p, task, "session", session->ref);
    return task;
}

void sim_task_end(struct simpool *p, struct sim_object *task, enum sim_outcome outcome, const struct sim_call *c)
{
    struct xk_buf result = XK_BUF_INIT(SIM_CALL_BYTES_MAX);

    if (outcome == SIM_FAILED) {
        const bool cancelled = c->error.count && strcmp(xapi_value_text(&c->error.items[0]), "TASK_CANCELLED") == 0;
        sim_put(p, task, "error_info", c->error);
        sim_put_text(p, task, "status", cancelled ? "cancelled" : "failure");
    } else {
        /* The result is text that holds an XML value, and nothing at all for a call that returns nothing. */
        if (c->result.shape != XAPI_NIL)
            xapi_xml_value(&result, &c->result);
        sim_put_text(p, task, "result", xk_buf_str(&result));
        sim_put_text(p, task, "status", "success");
        sim_put(p, task, "progress", xapi_real(1));
    }
    sim_put_time(p, task, "finished", sim_now_s(p));
    sim_put_list(p, task, "allowed_operations", (const char *const[]){"destroy", NULL});
    xk_buf_done(&result);
}

/* ---- work ---- */

static void name_operation(struct sim_call *c, bool on)
{
    struct sim_object *const subject = sim_find(c->pool, c->subject, NULL);
    const struct xapi_value operation = xapi_str(c->operation);

    if (!subject)
        return;
    sim_map_set(c->pool, subject, xapi_field_place(subject->class_row, "current_operations"), c->operation_ref,
                on ? &operation : NULL);
    if (subject->class_row == xapi_class_find("VM"))
        sim_vm_allowed(c->pool, subject);
}

static void on_time(evutil_socket_t fd, short what, void *context)
{
    struct sim_call *const c = context;
    struct simpool *const p = c->pool;
    const uint64_t worked = sim_monotonic_ns(p) - c->started_ns;
    struct sim_object *const task = sim_find(p, c->task_ref, NULL);

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
        if (subject && subject->class_row == xapi_class_find("VM"))
            sim_vm_allowed(p, subject);
    }
    sim_answer(c, outcome);
}

enum sim_outcome sim_work(struct sim_call *c, uint64_t work_ns, sim_behaviour *finish, struct sim_object *subject,
                          const char *operation, bool cancellable)
{
    struct simpool *const p = c->pool;
    struct sim_object *const task = sim_find(p, c->task_ref, NULL);
    const struct timeval step = sim_delay(p, XK_MIN(STEP_NS, work_ns));

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

/* ---- messages ---- */

static enum sim_outcome create(struct sim_call *c)
{
    struct sim_object *const task = sim_task_create(c->pool, sim_arg_text(c, 0), c->session);

    if (!task)
        return sim_no_memory(c);
    sim_put_text(c->pool, task, "name_description", sim_arg_text(c, 1));
    sim_put_list(c->pool, task, "allowed_operations", (const char *const[]){"cancel", "destroy", NULL});
    c->result = xapi_str(task->ref);
    return SIM_DONE;
}

static struct sim_call *worker_of(const struct simpool *p, const char *task_ref)
{
    struct sim_call *w = p->working;

    while (w && strcmp(w->task_ref, task_ref) != 0)
        w = w->next;
    return w;
}

static enum sim_outcome destroy(struct sim_call *c)
{
    struct sim_object *const task = sim_arg(c, 0);

    if (!task)
        return SIM_FAILED;
    struct sim_call *const worker = worker_of(c->pool, task->ref);
    if (worker) /* it works on, and nobody will be told */
        worker->task_ref[0] = '\0';
    sim_delete(c->pool, task);
    return SIM_DONE;
}

static enum sim_outcome cancel(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const task = sim_arg(c, 0);

    if (!task)
        return SIM_FAILED;
    struct sim_call *const worker = worker_of(p, task->ref);
    if (worker && !worker->cancellable)
        return sim_fail(c, "OPERATION_NOT_ALLOWED", "This task cannot be cancelled now", NULL);
    if (worker) {
        const struct timeval now = {0};
        worker->cancelled = true;
        sim_put_text(p, task, "status", "cancelling");
        (void)event_add(worker->timer, &now);
    } else if (strcmp(sim_text(task, "status"), "pending") == 0) {
        sim_put_text(p, task, "status", "cancelled"); /* a client's own */
        sim_put_time(p, task, "finished", sim_now_s(p));
    }
    return SIM_DONE;
}

static enum sim_outcome set_status(struct sim_call *c)
{
    struct sim_object *const task = sim_arg(c, 0);

    if (!task)
        return SIM_FAILED;
    const char *const status = sim_arg_text(c, 1);
    sim_put_text(c->pool, task, "status", status);
    if (strcmp(status, "success") == 0 || strcmp(status, "failure") == 0 || strcmp(status, "cancelled") == 0)
        sim_put_time(c->pool, task, "finished", sim_now_s(c->pool));
    return SIM_DONE;
}

const struct sim_row sim_task_rows[] = {
    {"task.create", create},
    {"task.destroy", destroy},
    {"task.cancel", cancel},
    {"task.set_status", set_status},
    {NULL, NULL},
};
