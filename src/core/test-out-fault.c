/* A document in a file, with each allocation and each file operation failing in turn: the old file or the whole new
 * one. */
#include "core/out.h"
#include "core/testing/fault.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define OLD "what was there before\n"

struct paper {
    char dir[XK_FAULT_PATH_MAX], path[XK_FAULT_PATH_MAX + 16];
    enum xk_out_format format;
    char *wanted; /* what the undisturbed run writes */
};

static int make_old(void *state)
{
    const struct paper *const p = state;

    return xk_file_replace(xk_fs_posix(), p->path, OLD, strlen(OLD), 0600, NULL);
}

static void draw(struct xk_out *out)
{
    xk_say(out, "%s\n", xk_out_clean(out, "a\033b"));
    xk_out_rows(out, "rows");
    for (unsigned i = 0; i < 3; i++) {
        xk_row(out);
        xk_put_u64(out, "n", i);
        xk_put_str(out, "text",
                   "a text that is long enough to make a buffer grow when it is drawn into a cell: ünïcödé");
        xk_putf(out, "made", "%u of %d", i, 3);
        xk_put_list(out, "list");
        xk_put_record(out, NULL);
        xk_put_bytes(out, "size", 512);
        xk_put_end(out);
        xk_put_end(out);
    }
    xk_out_end(out);
    xk_out_record(out, "record");
    xk_put_record(out, "inner");
    xk_put_time(out, "time", 0);
    xk_put_end(out);
    xk_out_end(out);
}

static int write_paper(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct paper *const p = state;
    const struct xk_out_settings settings = {.format = p->format, .file = p->path, .fs = fs};
    struct xk_out *out;
    int r = xk_out_open(&out, &settings, err);

    if (r < 0)
        return r;
    draw(out);
    r = xk_out_finish(out, NULL, err);
    xk_out_close(out);
    return r;
}

static int old_or_new(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    const struct paper *const p = state;
    xk_autofree char *text = NULL;

    if (xk_slurp(&text, "", p->path, XK_MIB, NULL) < 0)
        return snprintf(why, XK_FAULT_WHY_MAX, "the file is gone"), -EPROTO;
    const bool is_new = strcmp(text, p->wanted) == 0;
    if (round->result == 0 ? is_new : is_new || strcmp(text, OLD) == 0)
        return 0;
    return snprintf(why, XK_FAULT_WHY_MAX, "result %d, and the file says: %.300s", round->result, text), -EPROTO;
}

static void the_old_file_or_the_whole_new_one(void **state)
{
    struct paper p = {0};

    assert_int_equal(xk_fault_folder_make(p.dir), 0);
    snprintf(p.path, sizeof(p.path), "%s/paper", p.dir);
    for (int format = XK_OUT_TABLE; format <= XK_OUT_PLAIN; format++) {
        const struct xk_fault_case c = {"paper", make_old, write_paper, old_or_new, &p, false};
        char why[XK_FAULT_WHY_MAX] = "";
        p.format = (enum xk_out_format)format;
        assert_int_equal(write_paper(&p, xk_fs_posix(), NULL), 0);
        assert_int_equal(xk_slurp(&p.wanted, "", p.path, XK_MIB, NULL), 0);
        const int r = xk_fault_loop(&c, why);
        if (r < 0)
            print_message("format %d: %s\n", format, why);
        assert_int_equal(r, 0);
        free(XK_TAKE(p.wanted));
    }
    xk_fault_folder_clear(p.dir, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_old_file_or_the_whole_new_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
