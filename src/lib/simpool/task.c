/*
 * Tasks: what clients may do with them, how they end, and when they are forgotten.
 *
 * Facts: xapi's taskHelper.ml, xapi_task.ml and timeout_tasks of db_gc_util.ml (2026-08). A cancel that the work does
 * not heed succeeds all the same, and a task that is destroyed while it runs is gone only when it is over.
 */
#include "lib/simpool/access.h"
#include "lib/simpool/transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMPLETED_S 3900
#define PENDING_S   86400
#define KEPT        200

static const struct xapi_class *task_class(void)
{
    return xapi_class_find("task");
}

static unsigned place_of(const char *field)
{
    return xapi_field_place(task_class(), field);
}

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
    sim_put_int(p, task, "externalpid", -1);
    sim_put_int(p, task, "stunnelpid", -1);
    if (session && session->object)
        sim_put_text(p, task, "session", session->ref);
    return task;
}

bool sim_task_is_over(const struct sim_object *task)
{
    const char *const status = sim_text(task, "status");

    return strcmp(status, "success") == 0 || strcmp(status, "failure") == 0 || strcmp(status, "cancelled") == 0;
}

void sim_task_end(struct simpool *p, struct sim_object *task, enum sim_outcome outcome, const struct sim_call *c)
{
    struct xk_buf result = XK_BUF_INIT(SIM_CALL_BYTES_MAX);

    /* Somebody has said already how it ended. */
    if (strcmp(sim_text(task, "status"), "pending") != 0)
        return;
    sim_put_list(p, task, "allowed_operations", (const char *const[]){NULL});
    sim_put_time(p, task, "finished", sim_now_s(p));
    sim_put(p, task, "progress", xapi_real(1));
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
    }
    xk_buf_done(&result);
}

/* ---- the collector ---- */

static bool was_destroyed(const struct sim_object *task)
{
    const struct xapi_value *const now = sim_get(task, "current_operations");

    for (size_t i = 0; i < now->count; i++)
        if (strcmp(xapi_value_text(&now->items[2 * i + 1]), "destroy") == 0)
            return true;
    return false;
}

static int compare_finished(const void *left, const void *right)
{
    const struct sim_object *const a = *(struct sim_object *const *)left, *const b = *(struct sim_object *const *)right;

    return strcmp(sim_text(b, "finished"), sim_text(a, "finished")); /* times sort as texts; the newest first */
}

/* A pending task that has not moved on since the last pass is taken for hung. */
static bool is_hung(struct simpool *p, const struct sim_object *task, int64_t now)
{
    const double progress = sim_get(task, "progress")->real;

    if (sim_time(task, "created") >= now - PENDING_S)
        return false;
    for (const struct sim_call *w = p->working; w; w = w->next)
        if (strcmp(w->task_ref, task->ref) == 0)
            return w->seen_progress >= progress;
    return true;
}

static void note_progress(struct simpool *p)
{
    for (struct sim_call *w = p->working; w; w = w->next) {
        const struct sim_object *const task = sim_find(p, w->task_ref, task_class());
        w->seen_progress = task ? sim_get(task, "progress")->real : 0;
    }
}

void sim_tasks_collect(struct simpool *p)
{
    const int64_t now = sim_now_s(p);
    size_t completed = 0, young = 0;
    struct sim_object *next;

    for (struct sim_object *task = sim_first(p, "task"); task; task = next) {
        next = task->class_next;
        const bool over = sim_task_is_over(task);
        if (over ? was_destroyed(task) || sim_time(task, "finished") < now - COMPLETED_S : is_hung(p, task, now)) {
            sim_delete(p, task);
            continue;
        }
        young++;
        completed += over;
    }
    note_progress(p);
    if (young <= KEPT || completed == 0)
        return;
    xk_autofree struct sim_object **list = xk_array_alloc(completed, sizeof(*list));
    if (!list)
        return; /* the next pass may have more memory */
    completed = 0;
    for (struct sim_object *task = sim_first(p, "task"); task; task = task->class_next)
        if (sim_task_is_over(task))
            list[completed++] = task;
    qsort(list, completed, sizeof(*list), compare_finished);
    const size_t pending = young - completed;
    for (size_t i = pending < KEPT ? KEPT - pending : 0; i < completed; i++)
        sim_delete(p, list[i]);
}

/* ---- messages ---- */

/* The task that argument 0 refers to, when it is the session's own, or the session may touch anybody's. */
static struct sim_object *task_arg(struct sim_call *c)
{
    struct sim_object *const task = sim_arg(c, 0);
    const struct sim_object *const session = task ? sim_follow(c->pool, task, "session") : NULL;
    const struct sim_object *const own = c->session->object;

    if (!task || sim_access_has(c->session, XAPI_ROLE_PA | XAPI_ROLE_PO))
        return task;
    if (session && own && strcmp(sim_text(session, "auth_user_sid"), sim_text(own, "auth_user_sid")) == 0)
        return task;
    (void)sim_access_deny(c, "task.destroy/any", XAPI_ROLE_PA | XAPI_ROLE_PO);
    return NULL;
}

static enum sim_outcome create(struct sim_call *c)
{
    struct sim_object *const task = sim_task_create(c->pool, sim_arg_text(c, 0), c->session);

    if (!task)
        return sim_no_memory(c);
    sim_put_text(c->pool, task, "name_description", sim_arg_text(c, 1));
    c->result = xapi_str(task->ref);
    return SIM_DONE;
}

static enum sim_outcome destroy(struct sim_call *c)
{
    const struct xapi_value operation = xapi_str("destroy");
    struct sim_object *const task = task_arg(c);

    if (!task)
        return SIM_FAILED;
    if (sim_task_is_over(task))
        sim_delete(c->pool, task);
    else /* the collector takes it away when it is over */
        sim_map_set(c->pool, task, place_of("current_operations"), "task", &operation);
    return SIM_DONE;
}

static enum sim_outcome cancel(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    struct sim_object *const task = task_arg(c);
    struct sim_call *worker = p->working;
    char ref[SIM_REF_BYTES];

    if (!task)
        return SIM_FAILED;
    /* Named after the task of this very call. */
    sim_new_ref(p, ref);
    sim_put_map(p, task, "current_operations", (const char *const[]){*c->task_ref ? c->task_ref : ref, "cancel", NULL});
    while (worker && strcmp(worker->task_ref, task->ref) != 0)
        worker = worker->next;
    sim_transfer_cancel(p, task->ref);
    if (worker && worker->cancellable) {
        const struct timeval now = {0};
        worker->cancelled = true;
        (void)event_add(worker->timer, &now);
    }
    return SIM_DONE;
}

/* Setters as the table has them, for those who may touch the task. */
static enum sim_outcome change(struct sim_call *c)
{
    return task_arg(c) ? sim_generic(c) : SIM_FAILED;
}

const struct sim_row sim_task_rows[] = {
    {"task.create", create},
    {"task.destroy", destroy},
    {"task.cancel", cancel},
    {"task.set_status", change},
    {"task.set_progress", change},
    {"task.set_result", change},
    {"task.set_error_info", change},
    {"task.set_other_config", change},
    {"task.add_to_other_config", change},
    {"task.remove_from_other_config", change},
    {NULL, NULL},
};
