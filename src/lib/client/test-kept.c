/* The file of a kept session: what is read, and that writing it leaves the old one or the new one. */
#include "lib/client/inner.h"

#include "core/testing/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GOOD "xenkit-session 1\nurl https://a\nuser root\nsession OpaqueRef:1\nat a\ncreated 5\n"

static void files_are_read(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {GOOD, true},
        {GOOD "pin 00\nof-tomorrow x\n", true},
        {"", false},
        {"xenkit-session 2\nurl https://a\nuser root\nsession OpaqueRef:1\nat a\n", false},
        {"xenkit-session 1\nurl https://a\nuser root\nsession OpaqueRef:1\nat", false},
        {"xenkit-session 1\nurl https://a\nuser root\nat a\n", false},
        {"xenkit-session 1\nurl https://a\nuser root\nsession Opaque\x01Ref\nat a\n", false},
        {"xenkit-session 1\nurl https://a\nuser root\nsession Opaque Ref\nat a\n", false},
    };
    struct client_kept_file f;

    for (size_t i = 0; i < XK_COUNT(rows); i++)
        assert_int_equal(client_kept_parse(&f, rows[i].text), rows[i].good);
    assert_true(client_kept_parse(&f, GOOD));
    assert_string_equal(f.url, "https://a");
    assert_string_equal(f.user, "root");
    assert_string_equal(f.session, "OpaqueRef:1");
    assert_int_equal(f.created_s, 5);
}

struct writing {
    char folder[XK_FAULT_PATH_MAX], path[XK_FAULT_PATH_MAX + 32], home[XK_FAULT_PATH_MAX + 32];
    struct xk_log log;
};

static int put_old_file(void *state)
{
    const struct writing *w = state;

    return xk_file_replace(xk_fs_posix(), w->path, GOOD, strlen(GOOD), 0600, NULL);
}

static int write_new_file(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    struct writing *const w = state;
    char *env[] = {w->home, NULL};
    struct xk_app app = {.log = &w->log, .clock = xk_clock_system(), .fs = fs, .root = "", .env = env};
    const struct client_access access = CLIENT_ACCESS_DEFAULTS;
    struct client *c = NULL;

    int code = client_open(&c, &app, "https://a", &access, &(struct client_manner){.originator = "t"}, err);
    if (code < 0)
        return code;
    c->session_kept = true; /* nobody is there to log out from */
    c->session = xk_strdup("OpaqueRef:2");
    code = c->session ? client_kept_write(c, w->path, err) : xk_fail_memory(err);
    client_close(c);
    return code;
}

static int old_or_new(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    const struct writing *w = state;
    xk_autofree char *text = NULL;
    struct client_kept_file f;
    struct stat st;

    const bool read = xk_slurp(&text, "", w->path, XK_MIB, NULL) == 0 && stat(w->path, &st) == 0;
    if (read && client_kept_parse(&f, text) && (st.st_mode & 0777) == 0600 &&
        (strcmp(f.session, "OpaqueRef:2") == 0 || (strcmp(text, GOOD) == 0 && round->result < 0)))
        return 0;
    (void)snprintf(why, XK_FAULT_WHY_MAX, "result %d, and the file is %.200s", round->result, text ? text : "gone");
    return -EPROTO;
}

static void writing_leaves_old_or_new(void **state)
{
    static struct writing w;
    char why[XK_FAULT_WHY_MAX] = "";
    const struct xk_fault_case c = {"client_kept_write", put_old_file, write_new_file, old_or_new, &w};

    w.log = (struct xk_log){.fd = -1};
    assert_int_equal(xk_fault_folder_make(w.folder), 0);
    snprintf(w.path, sizeof(w.path), "%s/a.session", w.folder);
    snprintf(w.home, sizeof(w.home), "XDG_STATE_HOME=%s", w.folder);
    if (xk_fault_loop(&c, why) < 0)
        fail_msg("%s", why);
    xk_fault_folder_clear(w.folder, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(writing_leaves_old_or_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
