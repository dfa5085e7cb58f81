/* Waiting for tasks by events, with the real one's bar. */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define WAIT_S         30.0
#define WAIT_BYTES_MAX (8u << 20) /* one answer of event.from about one task */
#define BAR_CELLS      70

static bool is_pending(const char *status)
{
    return strcmp(status, "pending") == 0;
}

void xe_keep_failure(struct xe *x, struct xk_arena *own)
{
    struct xk_arena scratch = x->arena;

    x->arena = *own;
    if (x->failure == XE_SERVER) {
        const struct xapi_value old = x->server;
        struct xapi_value *const items = xk_arena_alloc(&x->arena, (old.count + 1) * sizeof(*items));
        for (uint32_t i = 0; items && i < old.count; i++)
            items[i] = xe_text_value(x, xe_item(&old, i));
        x->server = items ? xapi_list(items, old.count) : xapi_list(NULL, 0);
    } else if (x->text && x->failure != XE_FINE && x->failure != XE_LOST) {
        x->text = xk_arena_strdup(&x->arena, x->text);
    }
    xk_arena_done(&scratch);
}

/* One wait for events of the task. returns whether it ended; the token is written. */
static bool wait_once(struct xe *x, const char *task, const char *filter, char token[128],
                      void (*update)(struct xe *x, const struct xapi_value *record))
{
    struct xk_arena own = x->arena;
    bool ended = false;

    x->arena = XK_ARENA_INIT(WAIT_BYTES_MAX);
    const struct xapi_value class_text = xapi_str(filter);
    const struct xapi_value reply =
        xe_do(x, "event.from", xapi_list(&class_text, 1), xapi_str(token), xapi_real(WAIT_S));
    const struct xapi_value *const events = xapi_map_get(&reply, "events");
    (void)snprintf(token, 128, "%s", xapi_value_text(xapi_map_get(&reply, "token")));
    for (uint32_t i = 0; events && events->shape == XAPI_LIST && i < events->count; i++) {
        const struct xapi_value *const record = xapi_map_get(&events->items[i], "snapshot");
        if (!record || strcmp(xapi_value_text(xapi_map_get(&events->items[i], "ref")), task) != 0)
            continue;
        if (update)
            update(x, record);
        ended |= !is_pending(xapi_value_text(xapi_map_get(record, "status")));
    }
    xe_keep_failure(x, &own);
    return ended;
}

void xe_track(struct xe *x, const char *task, void (*update)(struct xe *x, const struct xapi_value *record))
{
    const char *const filter = xk_arena_printf(&x->arena, "task/%s", task);
    char token[128] = "";

    if (!filter)
        return xe_fail_memory(x);
    bool ended = !is_pending(xe_get_text(x, "task.get_status", task));
    while (!ended && xe_fine(x))
        ended = wait_once(x, task, filter, token, update);
    const enum xe_failure failure = x->failure;
    if (failure != XE_FINE)
        return;
    const struct xapi_value class_text = xapi_str(filter);
    (void)xe_do(x, "event.unregister", xapi_list(&class_text, 1));
}

static void draw_bar(struct xe *x, const struct xapi_value *record)
{
    static const char animation[] = "|/-\\";
    const struct xapi_value *const progress = xapi_map_get(record, "progress");
    const double part = progress ? xe_value_real(progress) : 0;
    const int percent = part >= 0 && part <= 1 ? (int)(part * 100) : 0;
    const int cells = part >= 0 && part <= 1 ? (int)(part * BAR_CELLS) : 0;
    char hashes[BAR_CELLS + 1], line[160];

    memset(hashes, '#', sizeof(hashes));
    hashes[cells] = '\0';
    (void)snprintf(line, sizeof(line), "\r %3d%% %c %s\n", percent, animation[percent % 4], hashes);
    if (!x->minimal)
        xe_complain(x, line);
}

/* How a task that has ended ended. */
static void take_result(struct xe *x, const char *task)
{
    const char *const status = xe_get_text(x, "task.get_status", task);

    if (!xe_fine(x) || strcmp(status, "success") == 0)
        return;
    if (strcmp(status, "failure") != 0)
        return xe_fail_server(x, "TASK_CANCELLED", task, NULL);
    const struct xapi_value info = xe_get(x, "task.get_error_info", task);
    if (!xe_fine(x))
        return;
    x->failure = XE_SERVER;
    x->server = info;
}

void xe_wait(struct xe *x, const char *task)
{
    const bool bar = xe_param(x, "progress") != NULL;

    if (!xe_fine(x))
        return;
    xe_track(x, task, bar ? draw_bar : NULL);
    if (bar && !x->minimal && xe_fine(x))
        xe_complain(x, "\n\n");
    take_result(x, task);
    const enum xe_failure failure = x->failure;
    if (failure == XE_LOST)
        return;
    /* Destroyed also when it failed; its own error is the one that counts. */
    x->failure = XE_FINE;
    const struct xapi_value server = x->server;
    (void)xe_do(x, "task.destroy", xapi_str(task));
    if (failure != XE_FINE && x->failure != XE_LOST) {
        x->failure = failure;
        x->server = server;
    }
}
