/* Messages and the progress line: what appears, where, and what is left behind. */
#include "core/log.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>

#include <cmocka.h>

static void assert_told(int fd, const char *wanted)
{
    char got[4096] = "";

    assert_true(pread(fd, got, sizeof(got) - 1, 0) >= 0);
    assert_string_equal(got, wanted);
    close(fd);
}

static void levels_choose_the_lines(void **state)
{
    struct xk_log log = {.fd = memfd_create("log", 0), .level = XK_LOG_INFO, .color = true};

    xk_log(&log, XK_LOG_ERROR, "error %d", 1);
    xk_log(&log, XK_LOG_WARN, "warning");
    xk_log(&log, XK_LOG_INFO, "detail");
    xk_log(&log, XK_LOG_DEBUG, "everything");
    assert_told(log.fd, "xenkit: error 1\nxenkit: warning\nxenkit: detail\n");
}

static void foreign_text_is_cleaned(void **state)
{
    struct xk_log log = {.fd = memfd_create("log", 0)};
    struct xk_err err = {0};

    (void)xk_fail(&err, -EIO, "a\033[2Jb\nxenkit: forged");
    xk_err_hint(&err, "try\tagain");
    xk_log_err(&log, &err);
    assert_told(log.fd, "xenkit: a\\x1b[2Jb\\x0axenkit: forged\n  hint: try\\x09again\n");
}

static void long_text_is_cut(void **state)
{
    struct xk_log log = {.fd = memfd_create("log", 0)};
    char text[8192], got[8192] = "";

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    xk_log(&log, XK_LOG_ERROR, "%s", text);
    const ssize_t bytes = pread(log.fd, got, sizeof(got), 0);
    assert_in_range(bytes, 1000, 3000);
    assert_int_equal(got[bytes - 1], '\n');
    close(log.fd);
}

static void nothing_is_said_to_nobody(void **state)
{
    struct xk_log silent = {.fd = -1, .level = XK_LOG_DEBUG, .terminal = true};
    struct xk_prog p;
    int64_t now = 0;
    const struct xk_clock clock = xk_clock_frozen(&now);

    xk_log(&silent, XK_LOG_ERROR, "x");
    xk_log(NULL, XK_LOG_ERROR, "x");
    xk_prog_begin(&p, &silent, &clock, "x", 10, false);
    xk_prog_set(&p, 5);
    xk_prog_end(&p);
}

struct terminal {
    struct xk_log log;
    int64_t now;
    struct xk_clock clock;
    int master;
};

static void open_terminal(struct terminal *t, unsigned short columns)
{
    const struct winsize size = {.ws_row = 24, .ws_col = columns};
    struct termios raw = {0};

    *t = (struct terminal){.log = {.level = XK_LOG_WARN, .terminal = true, .color = true}};
    cfmakeraw(&raw);
    assert_int_equal(openpty(&t->master, &t->log.fd, NULL, &raw, &size), 0);
    assert_int_equal(fcntl(t->master, F_SETFL, O_NONBLOCK), 0);
    t->clock = xk_clock_frozen(&t->now);
}

/* What is written to a terminal can arrive at its other end in pieces, and a moment later. */
static void assert_appears(struct terminal *t, const char *wanted)
{
    char got[4096] = "";
    size_t at = 0;
    struct pollfd arrival = {.fd = t->master, .events = POLLIN};

    while (at < sizeof(got) - 1 && poll(&arrival, 1, at < strlen(wanted) ? 5000 : 0) > 0) {
        const ssize_t bytes = read(t->master, got + at, sizeof(got) - 1 - at);
        assert_true(bytes > 0 || errno == EAGAIN);
        at += bytes > 0 ? (size_t)bytes : 0;
    }
    assert_string_equal(got, wanted);
}

static void close_terminal(struct terminal *t)
{
    close(t->log.fd);
    close(t->master);
}

#define COLUMNS 60
/* COLUMNS - 1 cells wide, so that the cursor stays on the line. */
#define BLANKS "                                                           "

static void progress_is_drawn_at_most_ten_times_a_second(void **state)
{
    struct terminal t;
    struct xk_prog p;

    open_terminal(&t, COLUMNS);
    xk_prog_begin(&p, &t.log, &t.clock, "scan", 200, false);
    xk_prog_set(&p, 1);
    assert_appears(&t, "");
    t.clock.sleep_ns(&t.clock, 100 * XK_NS_PER_MS);
    xk_prog_set(&p, 50);
    assert_appears(&t, "\rscan [######..................]  25 %                      ");
    xk_prog_set(&p, 60);
    t.clock.sleep_ns(&t.clock, 99 * XK_NS_PER_MS);
    xk_prog_set(&p, 70);
    assert_appears(&t, "");
    t.clock.sleep_ns(&t.clock, 1801 * XK_NS_PER_MS);
    xk_prog_set(&p, 100);
    assert_appears(&t, "\rscan [############............]  50 %  50/s  0:02 left     ");
    xk_prog_end(&p);
    assert_appears(&t, "\r" BLANKS "\r");
    xk_prog_end(&p);
    assert_appears(&t, "");
    close_terminal(&t);
}

static void a_message_wipes_the_progress(void **state)
{
    struct terminal t;
    struct xk_prog p;

    open_terminal(&t, COLUMNS);
    t.log.color = false;
    xk_prog_begin(&p, &t.log, &t.clock, "copy", 0, true);
    t.clock.sleep_ns(&t.clock, XK_NS_PER_S);
    xk_prog_set(&p, 3 * XK_MIB);
    assert_appears(&t, "\rcopy 3 MiB  3 MiB/s                                        ");
    xk_log(&t.log, XK_LOG_WARN, "slow");
    assert_appears(&t, "\r" BLANKS "\rxenkit: slow\n");
    xk_prog_end(&p);
    assert_appears(&t, "");
    close_terminal(&t);
}

static void a_narrow_terminal_is_never_overrun(void **state)
{
    struct terminal t;
    struct xk_prog p;

    open_terminal(&t, 24);
    xk_prog_begin(&p, &t.log, &t.clock, "a rather long name", 100, true);
    t.clock.sleep_ns(&t.clock, XK_NS_PER_S);
    xk_prog_set(&p, 100);
    assert_appears(&t, "\ra rather long name [###");
    close_terminal(&t);
}

static void quiet_has_no_progress(void **state)
{
    struct terminal t;
    struct xk_prog p;

    open_terminal(&t, COLUMNS);
    t.log.level = XK_LOG_ERROR;
    xk_prog_begin(&p, &t.log, &t.clock, "scan", 10, false);
    t.clock.sleep_ns(&t.clock, XK_NS_PER_S);
    xk_prog_set(&p, 5);
    xk_prog_end(&p);
    assert_appears(&t, "");
    close_terminal(&t);
}

static void colors_are_for_terminals(void **state)
{
    struct terminal t;

    open_terminal(&t, COLUMNS);
    xk_log(&t.log, XK_LOG_ERROR, "bad");
    assert_appears(&t, "\033[1;31mxenkit:\033[0m bad\n");
    t.log.color = false;
    xk_log(&t.log, XK_LOG_ERROR, "bad");
    assert_appears(&t, "xenkit: bad\n");
    close_terminal(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_choose_the_lines),
        cmocka_unit_test(foreign_text_is_cleaned),
        cmocka_unit_test(long_text_is_cut),
        cmocka_unit_test(nothing_is_said_to_nobody),
        cmocka_unit_test(progress_is_drawn_at_most_ten_times_a_second),
        cmocka_unit_test(a_message_wipes_the_progress),
        cmocka_unit_test(a_narrow_terminal_is_never_overrun),
        cmocka_unit_test(quiet_has_no_progress),
        cmocka_unit_test(colors_are_for_terminals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
