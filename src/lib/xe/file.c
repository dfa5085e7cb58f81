/*
 * Files between the user's side and the pool. The pool's HTTP server moves the bytes; a task of the pool says how it
 * went, and the address carries its ref.
 */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define BAR_CELLS  80
#define BAR_PREFIX 4  /* "[*] " */
#define BAR_SUFFIX 22 /* "  (   % ETA   :  :  )" and its end */

/* ---- reading ---- */

const char *xe_file_load(struct xe *x, const char *path)
{
    const struct xe_terminal *const t = x->settings->terminal;
    struct xk_buf content = XK_BUF_INIT(XE_UPLOAD_BYTES_MAX);

    if (!xe_fine(x))
        return NULL;
    const int code = t->load(t->context, path, &content);
    const char *const copy =
        code == 0 && !content.error ? xk_arena_strndup(&x->arena, xk_buf_str(&content), content.len) : NULL;
    if (code == -EFBIG || content.error == -EFBIG)
        xe_fail(x, "Fatal error: A CLI client tried to transfer more than the maximum allowed of %uB, aborting.",
                XE_UPLOAD_BYTES_MAX);
    else if (code < 0)
        xe_fail_lost(x, code);
    else if (code == 0 && !copy)
        xe_fail_memory(x);
    xk_buf_done(&content);
    return copy;
}

const char *xe_file_need(struct xe *x, const char *path, const char *what)
{
    const char *const content = xe_file_load(x, path);

    if (content)
        return content;
    const char *const line = xk_arena_printf(&x->arena, "Failed to read %s\n", what);
    if (xe_fine(x))
        xe_complain(x, line ? line : "");
    xe_fail_exit(x, 1);
    return "";
}

/* ---- words ---- */

const char *xe_url_escaped(struct xe *x, const char *text)
{
    struct xk_buf b = XK_BUF_INIT(1u << 16);

    for (; *text; text++) {
        const char c = *text;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~", c))
            xk_buf_add_char(&b, c);
        else
            xk_buf_printf(&b, "%%%02X", (unsigned)(unsigned char)c);
    }
    const struct xapi_value v = xe_text_value(x, xk_buf_str(&b));
    xk_buf_done(&b);
    return v.text;
}

const char *xe_host_prefix(struct xe *x, const char *host)
{
    if (strcmp(host, xe_the_master(x)) == 0 || !xe_fine(x))
        return "";
    const char *const prefix = xk_arena_printf(&x->arena, "https://%s", xe_get_text(x, "host.get_address", host));
    return prefix ? prefix : "";
}

bool xe_yes(struct xe *x)
{
    const struct xe_terminal *const t = x->settings->terminal;
    struct xk_buf answer = XK_BUF_INIT(64u << 10);

    xe_print(x, "Type 'yes' to continue");
    if (!xe_fine(x))
        return false;
    const int code = t->prompt(t->context, &answer);
    if (code < 0)
        xe_fail_lost(x, code);
    const char *const text = xk_buf_str(&answer);
    const char *const word = text + strspn(text, " \t\r\n");
    const size_t len = strcspn(word, " \t\r\n");
    const bool yes =
        code == 0 && len == 3 && strncasecmp(word, "yes", 3) == 0 && word[len + strspn(word + len, " \t\r\n")] == '\0';
    if (!yes && xe_fine(x)) {
        const char *const line = xk_arena_printf(&x->arena, "Aborted (you typed: '%s')", text);
        xe_print(x, line ? line : "");
    }
    xk_buf_done(&answer);
    return yes && xe_fine(x);
}

void xe_need_force(struct xe *x)
{
    if (!xe_param_bool(x, "force", false))
        xe_fail(x, "This operation is dangerous and may cause data loss. This operation must be forced (use --force).");
}

/* ---- moving ---- */

static void begin(struct xe *x, enum xe_transfer kind, const char *path, const char *address)
{
    const struct xe_terminal *const t = x->settings->terminal;

    if (!xe_fine(x))
        return;
    const int code = t->begin(t->context, kind, path, address);
    if (code < 0)
        xe_fail_lost(x, code);
}

/* returns   whether the user's side did it. */
static bool end(struct xe *x)
{
    const struct xe_terminal *const t = x->settings->terminal;

    if (!xe_fine(x))
        return false;
    const int code = t->end(t->context);
    if (code < 0)
        xe_fail_lost(x, code);
    else if (code == XE_TERMINAL_ENDED)
        xe_fail_exit(x, 1);
    return code == 0;
}

static const char *own_session(const struct xe *x)
{
    return x->session ? x->session : x->settings->remote->session(x->settings->remote->context);
}

static void forget_task(struct xe *x, const char *task)
{
    const enum xe_failure failure = x->failure;

    if (failure == XE_LOST)
        return;
    x->failure = XE_FINE;
    (void)xe_do(x, "task.destroy", xapi_str(task));
    if (x->failure != XE_LOST)
        x->failure = failure;
}

double xe_monotonic_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The bar of `progress=true`, as wide and as worded as the real one's. */
static void draw_bar(struct xe *x, const struct xapi_value *record)
{
    const struct xapi_value *const progress = xapi_map_get(record, "progress");
    const double given = progress ? xe_value_real(progress) : 0, part = given < 0 ? 0 : given > 1 ? 1 : given;
    const int cells = (int)(part * (BAR_CELLS - BAR_PREFIX - BAR_SUFFIX));
    const double past_s = xe_monotonic_s() - x->bar_started_s;
    const unsigned left_s = part > 0 && past_s >= 0 ? (unsigned)XK_MIN(past_s / part - past_s, 359999.0) : 359999;
    char line[BAR_CELLS + 64];
    char hashes[BAR_CELLS];

    memset(hashes, '#', sizeof(hashes));
    if (cells > 0)
        hashes[cells - 1] = '>';
    (void)snprintf(line, sizeof(line), "\r[%c] %-*.*s  (%3d%% ETA %02u:%02u:%02u) ", "-\\|/"[(int)(part * 100) % 4],
                   BAR_CELLS - BAR_PREFIX - BAR_SUFFIX, cells, hashes, (int)(part * 100), left_s / 3600,
                   left_s / 60 % 60, left_s % 60);
    xe_complain(x, line);
}

static void fail_from_task(struct xe *x, const char *task, const char *otherwise)
{
    const struct xapi_value info = xe_get(x, "task.get_error_info", task);

    if (!xe_fine(x))
        return;
    if (info.count == 0)
        return xe_fail_server(x, otherwise, NULL);
    x->failure = XE_SERVER;
    x->server = info;
}

static const char *copied(struct xe *x, const struct xe_file *file, const char *task)
{
    const char *const address = xk_arena_printf(&x->arena, "%s%ssession_id=%s&task_id=%s%s", file->prefix,
                                                file->address, own_session(x), task, file->rest);

    if (!address) {
        xe_fail_memory(x);
        return "";
    }
    x->bar_started_s = xe_monotonic_s();
    begin(x, file->kind, file->path, address);
    const bool done = end(x);
    if (!xe_fine(x))
        return "";
    if (!done) {
        /* The task may learn of it a little later. */
        (void)nanosleep(&(const struct timespec){.tv_sec = 1}, NULL);
        fail_from_task(x, task, "CLIENT_ERROR");
        return "";
    }
    xe_track(x, task, file->bar ? draw_bar : NULL);
    if (file->bar)
        xe_complain(x, "\n");
    if (strcmp(xe_get_text(x, "task.get_status", task), "success") == 0)
        return xe_get_text(x, "task.get_result", task);
    fail_from_task(x, task, "INTERNAL_ERROR");
    return "";
}

const char *xe_file_copy(struct xe *x, const struct xe_file *file)
{
    const char *task = "";

    if (file->task_uuid) {
        task = xe_by_uuid(x, "task", file->task_uuid);
    } else {
        const struct xapi_value made = xe_do(x, "task.create", xapi_str(file->label), xapi_str(""));
        task = xe_value_text(x, &made);
    }
    if (!xe_fine(x))
        return "";
    const char *const result = copied(x, file, task);
    if (!file->task_uuid)
        forget_task(x, task);
    return result;
}

static void say_ended(struct xe *x, const char *format, const char *label, bool to_stderr)
{
    char line[512];

    (void)snprintf(line, sizeof(line), "%s%s", label, format);
    if (to_stderr)
        xe_complain(x, line);
    else
        xe_print(x, line);
}

static void downloaded(struct xe *x, const char *task, const char *label, const char *path, bool done)
{
    const char *status = "pending";

    if (!done && xe_fine(x)) {
        const struct xapi_value progress = xe_get(x, "task.get_progress", task);
        if (xe_value_real(&progress) < 0)
            (void)xe_do(x, "task.set_status", xapi_str(task), xapi_str("failure"));
    }
    while (xe_fine(x) && (status = xe_get_text(x, "task.get_status", task), strcmp(status, "success") != 0) &&
           strcmp(status, "failure") != 0 && strcmp(status, "cancelled") != 0)
        (void)nanosleep(&(const struct timespec){.tv_sec = 1}, NULL);
    if (!xe_fine(x))
        return;
    if (strcmp(status, "success") == 0 && done) {
        if (*path)
            say_ended(x, " succeeded", label, false);
    } else if (strcmp(status, "success") == 0) {
        say_ended(x, " failed, unknown error.\n", label, true);
        xe_fail_exit(x, 1);
    } else if (strcmp(status, "cancelled") == 0) {
        say_ended(x, " cancelled\n", label, true);
        xe_fail_exit(x, 1);
    } else {
        const struct xapi_value info = xe_get(x, "task.get_error_info", task);
        if (xe_fine(x) && info.count > 0) {
            x->failure = XE_SERVER;
            x->server = info;
        } else {
            say_ended(x, " failed, unknown error\n", label, true);
        }
    }
}

void xe_file_move(struct xe *x, enum xe_transfer kind, const char *task, const char *task_label,
                  const char *task_description, const char *path, const char *address, const char *rest,
                  const char *label)
{
    const bool own = task == NULL;

    if (own) {
        const struct xapi_value made = xe_do(x, "task.create", xapi_str(task_label), xapi_str(task_description));
        task = xe_value_text(x, &made);
    }
    /* Below zero: whoever serves the file has not taken the task yet. */
    (void)xe_do(x, "task.set_progress", xapi_str(task), xapi_real(-1));
    if (!xe_fine(x))
        return;
    const char *const whole =
        xk_arena_printf(&x->arena, "%s?session_id=%s&task_id=%s%s", address, own_session(x), task, rest);
    begin(x, kind, path, whole ? whole : "");
    const bool done = end(x);
    downloaded(x, task, label, path, done);
    if (own)
        forget_task(x, task);
}
