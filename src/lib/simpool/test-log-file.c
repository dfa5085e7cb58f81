/* The rotated log under failing memory and disks: every line that was taken is somewhere, whole and once at least. */
#include "lib/simpool/log-file.h"

#include "core/buf.h"
#include "core/testing/fault.h"

#include <zlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LINES      24
#define BYTES      200 /* of the file: five lines */
#define LINE_BYTES 64

struct work {
    char folder[XK_FAULT_PATH_MAX], path[XK_FAULT_PATH_MAX + 8];
    bool taken[LINES];
};

static void line_of(char ret[LINE_BYTES], unsigned i)
{
    snprintf(ret, LINE_BYTES, "line %02u: some words of a log\n", i);
}

static int prepare(void *state)
{
    struct work *const w = state;

    xk_fault_folder_clear(w->folder, false);
    memset(w->taken, 0, sizeof(w->taken));
    return 0;
}

static int run(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct work *const w = state;
    struct sim_log_file f = {0};
    char line[LINE_BYTES];
    char *const path = xk_strdup(w->path);

    int code = path ? sim_log_file_open(&f, fs, xk_clock_system(), path, BYTES, err) : xk_fail_memory(err);
    for (unsigned i = 0; i < LINES && path; i++) {
        struct xk_err own = {0};
        line_of(line, i);
        const int now = sim_log_file_append(&f, line, strlen(line), &own);
        w->taken[i] = now == 0;
        if (now < 0 && code == 0) {
            code = now;
            *err = own;
        }
    }
    sim_log_file_close(&f);
    return code;
}

/* Everything that is in the files, packed or not, one after the other. */
static void read_all(const struct work *w, struct xk_buf *b)
{
    for (unsigned i = 0; i < 16; i++) {
        char path[XK_FAULT_PATH_MAX + 32], part[512];
        snprintf(path, sizeof(path), i == 0 ? "%s" : i == 1 ? "%s.%u" : "%s.%u.gz", w->path, i);
        const gzFile z = gzopen(path, "rb"); /* reads what is not packed as it is */
        for (int got; z && (got = gzread(z, part, sizeof(part))) > 0;)
            xk_buf_add(b, part, (size_t)got);
        if (z)
            (void)gzclose(z);
    }
}

static int look(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    const struct work *const w = state;
    xk_auto(xk_buf_done) struct xk_buf all = XK_BUF_INIT(1u << 20);
    char line[LINE_BYTES];

    read_all(w, &all);
    for (unsigned i = 0; i < LINES; i++) {
        line_of(line, i);
        if (w->taken[i] && !strstr(xk_buf_str(&all), line)) {
            snprintf(why, XK_FAULT_WHY_MAX, "line %u is gone", i);
            return -EPROTO;
        }
    }
    /* A part of a line stands at the end at most. */
    const char *at = xk_buf_str(&all);
    for (const char *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        if (end - at != (ptrdiff_t)strlen(line) - 1 || strncmp(at, "line ", 5) != 0) {
            snprintf(why, XK_FAULT_WHY_MAX, "a broken line: %.*s", (int)(end - at), at);
            return -EPROTO;
        }
    }
    return 0;
}

static void no_line_is_lost(void **state)
{
    struct work w = {0};
    char why[XK_FAULT_WHY_MAX] = "";
    const struct xk_fault_case c = {
        .name = "log", .prepare = prepare, .run = run, .verify = look, .state = &w, .any_error = true};

    assert_int_equal(xk_fault_folder_make(w.folder), 0);
    snprintf(w.path, sizeof(w.path), "%s/log", w.folder);
    const int code = xk_fault_loop(&c, why);
    xk_fault_folder_clear(w.folder, true);
    if (code != 0)
        fail_msg("%s", why);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_line_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
