/* Passwords from files, and typed at a terminal of our own. */
#include "core/secret.h"

#include "core/clock.h"
#include "core/fs.h"

#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>

#include <cmocka.h>

static char path[64];

static int code_of(const char *content, size_t bytes, char **ret)
{
    assert_int_equal(xk_file_replace(xk_fs_posix(), path, content, bytes, 0600, NULL), 0);
    return xk_secret_read(ret, path, NULL);
}

static void test_file(void **state)
{
    char *secret = NULL, long_one[XK_SECRET_BYTES_MAX + 2];

    assert_int_equal(code_of("pa ss\n", 6, &secret), 0);
    assert_string_equal(secret, "pa ss");
    xk_secret_free(secret);
    assert_int_equal(code_of(" x", 2, &secret), 0);
    assert_string_equal(secret, " x");
    xk_secret_free(secret);
    memset(long_one, 'a', sizeof(long_one));
    long_one[XK_SECRET_BYTES_MAX] = '\n';
    assert_int_equal(code_of(long_one, XK_SECRET_BYTES_MAX + 1, &secret), 0);
    assert_int_equal(strlen(secret), XK_SECRET_BYTES_MAX);
    xk_secret_free(secret);
    long_one[XK_SECRET_BYTES_MAX] = 'a';
    assert_int_equal(code_of(long_one, sizeof(long_one), &secret), -EFBIG);
    assert_int_equal(code_of("", 0, &secret), -EINVAL);
    assert_int_equal(code_of("\n", 1, &secret), -EINVAL);
    assert_int_equal(code_of("a\nb\n", 4, &secret), -EINVAL);
    assert_int_equal(code_of("a\0b", 3, &secret), -EINVAL);
    assert_int_equal(xk_secret_read(&secret, "/nowhere/at/all", NULL), -ENOENT);
    xk_secret_free(NULL);
}

/* In a child, which has a terminal that the test types at. returns   the child's status; *ret_shown: what it showed. */
static int typed(const char *keys, char *ret_shown, size_t bytes)
{
    int master = -1, status = 0;
    size_t used = 0;
    ssize_t got;

    const pid_t child = forkpty(&master, NULL, NULL, NULL);
    assert_true(child >= 0);
    if (child == 0) {
        char *secret = NULL;
        struct termios after;
        xk_stop_install();
        const int code = xk_secret_ask(&secret, "Password:", NULL);
        const bool right = code == 0 && strcmp(secret, "open sesame") == 0;
        const bool echo = tcgetattr(0, &after) == 0 && after.c_lflag & ECHO;
        xk_secret_free(secret);
        _exit(code == -EINTR && echo ? 3 : code == -EINVAL ? 2 : right && echo ? 0 : 1);
    }
    while ((got = read(master, ret_shown + used, bytes - used - 1)) > 0) {
        ret_shown[used += (size_t)got] = '\0';
        if (keys && strstr(ret_shown, "Password: ")) {
            if (strcmp(keys, "^C") == 0)
                (void)kill(child, SIGTERM);
            else {
                struct termios t;
                do /* the question comes before the echo is off, and what is typed too early is thrown away */
                    assert_int_equal(tcgetattr(master, &t), 0);
                while (t.c_lflag & ECHO);
                assert_int_equal(write(master, keys, strlen(keys)), (ssize_t)strlen(keys));
            }
            keys = NULL;
        }
    }
    ret_shown[used] = '\0';
    assert_int_equal(waitpid(child, &status, 0), child);
    (void)close(master);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_typed(void **state)
{
    char shown[256];

    assert_int_equal(typed("open sesame\n", shown, sizeof(shown)), 0);
    assert_non_null(strstr(shown, "Password: "));
    assert_null(strstr(shown, "sesame"));
    assert_int_equal(typed("\n", shown, sizeof(shown)), 2);
    assert_int_equal(typed("^C", shown, sizeof(shown)), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_file), cmocka_unit_test(test_typed)};

    snprintf(path, sizeof(path), "/tmp/xenkit-secret.%d", (int)getpid());
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    return failed;
}
