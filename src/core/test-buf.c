/* Buffers: growth, the maximum, the sticky error, handing over. Arenas. The small words of base.h and err.h. */
#include "core/buf.h"
#include "core/err.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void a_buffer_grows(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(100000);
    assert_string_equal(xk_buf_str(&b), "");
    for (int i = 0; i < 10000; i++)
        xk_buf_printf(&b, "%d,", i % 10);
    assert_int_equal(b.error, 0);
    assert_int_equal(b.len, 20000);
    assert_int_equal(strlen(xk_buf_str(&b)), 20000);
    assert_memory_equal(b.data + 19996, "8,9,", 5);
}

static void the_maximum_is_exact(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(5);
    xk_buf_add_str(&b, "12345");
    assert_int_equal(b.error, 0);
    assert_string_equal(xk_buf_str(&b), "12345");
    xk_buf_add(&b, NULL, 0);
    assert_int_equal(b.error, 0);
    xk_buf_add_char(&b, '6');
    assert_int_equal(b.error, -EFBIG);
    assert_string_equal(xk_buf_str(&b), "12345");
    assert_null(xk_buf_take(&b));
}

static void an_error_is_for_good_until_reset(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b;
    xk_buf_init(&b, 8);
    xk_buf_add_str(&b, "abc");
    xk_buf_printf(&b, "%s", "too long by far");
    assert_int_equal(b.error, -EFBIG);
    assert_string_equal(xk_buf_str(&b), "abc");
    xk_buf_add_char(&b, 'd'); /* would fit */
    xk_buf_printf(&b, "d");
    xk_buf_add_repeat(&b, 'd', 1);
    assert_string_equal(xk_buf_str(&b), "abc");
    xk_buf_reset(&b);
    xk_buf_add_repeat(&b, 'd', 8);
    assert_int_equal(b.error, 0);
    assert_string_equal(xk_buf_str(&b), "dddddddd");
    xk_buf_reset(&b);
    assert_string_equal(xk_buf_str(&b), "");
}

static void a_printf_fits_exactly(void **state)
{
    /* Around the first capacity, where the first try of vsnprintf() is cut. */
    for (size_t length = 60; length < 70; length++) {
        xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(length);
        xk_buf_printf(&b, "%*d", (int)length, 7);
        assert_int_equal(b.error, 0);
        assert_int_equal(b.len, length);
        assert_int_equal(b.data[length - 1], '7');
        assert_int_equal(b.data[length], '\0');
        xk_buf_printf(&b, "x");
        assert_int_equal(b.error, -EFBIG);
    }
}

static void huge_counts_are_refused(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(SIZE_MAX);
    xk_buf_add_char(&b, 'a');
    xk_buf_add_repeat(&b, 'x', SIZE_MAX - 1);
    assert_int_equal(b.error, -EFBIG);
    xk_buf_reset(&b);
    xk_buf_add_repeat(&b, 'x', SIZE_MAX / 8);
    assert_int_equal(b.error, -ENOMEM);
    assert_string_equal(xk_buf_str(&b), "");
}

static void the_memory_is_handed_over(void **state)
{
    struct xk_buf b = XK_BUF_INIT(10);
    xk_autofree char *nothing = xk_buf_take(&b);
    assert_string_equal(nothing, "");
    xk_buf_add(&b, "a\0b", 3);
    xk_autofree char *text = xk_buf_take(&b);
    assert_memory_equal(text, "a\0b", 4);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.max, 10);
    xk_buf_done(NULL);
}

static void an_arena_holds_many_sizes(void **state)
{
    xk_auto(xk_arena_done) struct xk_arena a = XK_ARENA_INIT(XK_MIB);
    const char *texts[500];
    for (int i = 0; i < 500; i++)
        assert_non_null(texts[i] = xk_arena_printf(&a, "%0*d", i, i));
    uint8_t *large = xk_arena_alloc(&a, 300000);
    assert_non_null(large);
    for (size_t i = 0; i < 300000; i++)
        assert_int_equal(large[i], 0);
    memset(large, 0xff, 300000);
    const char *after = xk_arena_strdup(&a, "after");
    assert_string_equal(after, "after");
    assert_string_equal(xk_arena_strndup(&a, "cut here", 3), "cut");
    assert_string_equal(xk_arena_strndup(&a, "short", 30), "short");
    for (int i = 0; i < 500; i++) {
        char want[512];
        snprintf(want, sizeof(want), "%0*d", i, i);
        assert_string_equal(texts[i], want);
    }
}

static void arena_memory_is_aligned_and_distinct(void **state)
{
    xk_auto(xk_arena_done) struct xk_arena a = XK_ARENA_INIT(XK_MIB);
    uintptr_t last = 0;
    for (size_t bytes = 0; bytes < 100; bytes++) {
        const uintptr_t at = (uintptr_t)xk_arena_alloc(&a, bytes);
        assert_int_not_equal(at, 0);
        assert_int_not_equal(at, last);
        assert_int_equal(at % _Alignof(max_align_t), 0);
        last = at;
    }
}

static void an_arena_has_a_maximum(void **state)
{
    xk_auto(xk_arena_done) struct xk_arena a = XK_ARENA_INIT(100);
    assert_non_null(xk_arena_alloc(&a, 60));
    assert_null(xk_arena_alloc(&a, 41));
    assert_null(xk_arena_alloc(&a, SIZE_MAX));
    assert_null(xk_arena_alloc(&a, SIZE_MAX - 8));
    assert_non_null(xk_arena_alloc(&a, 40));
    assert_null(xk_arena_alloc(&a, 0));
    xk_arena_done(&a);
    assert_non_null(xk_arena_alloc(&a, 100));
}

static void allocation(void **state)
{
    xk_autofree char *nothing = xk_alloc(0);
    xk_autofree char *also_nothing = xk_alloc(0);
    assert_non_null(nothing);
    assert_ptr_not_equal(nothing, also_nothing);
    assert_null(xk_array_alloc(SIZE_MAX / 2, 3));
    xk_autofree uint32_t *numbers = xk_array_alloc(1000, sizeof(*numbers));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(numbers[i], 0);
    xk_autofree char *cut = xk_strndup("abcdef", 3);
    assert_string_equal(cut, "abc");
    xk_autofree char *made = xk_asprintf("%s-%d", "x", 7);
    assert_string_equal(made, "x-7");
    char *taken = XK_TAKE(made);
    assert_null(made);
    free(taken);
}

static void an_error_has_text_hint_and_status(void **state)
{
    struct xk_err err = {.hint = "old"};
    assert_int_equal(xk_fail(&err, -EBADMSG, "%s: checksum is %d", "x.vhd", 7), -EBADMSG);
    assert_string_equal(err.text, "x.vhd: checksum is 7");
    assert_string_equal(err.hint, "");
    assert_int_equal(err.exit, XK_EXIT_DAMAGED);
    xk_err_hint(&err, "try %s", "repair");
    assert_string_equal(err.hint, "try repair");
    xk_err_exit(&err, XK_EXIT_BAD);
    assert_int_equal(err.exit, XK_EXIT_BAD);
    assert_int_equal(xk_fail_sys(&err, -ENOENT, "cannot open %s", "y"), -ENOENT);
    assert_string_equal(err.text, "cannot open y: No such file or directory");
    assert_int_equal(err.exit, XK_EXIT_IO);
    assert_int_equal(xk_fail_memory(&err), -ENOMEM);
    assert_string_equal(err.text, "out of memory");
    xk_err_clear(&err);
    assert_int_equal(err.code, 0);
    assert_int_equal(err.exit, 0);
}

static void an_error_can_quote_itself(void **state)
{
    struct xk_err err;
    xk_fail(&err, -EIO, "inner");
    xk_fail(&err, -EIO, "outer: %s: %s", err.text, err.text);
    assert_string_equal(err.text, "outer: inner: inner");
    xk_err_hint(&err, "%s!", err.text);
    xk_err_hint(&err, "%s%s", err.hint, err.hint);
    assert_string_equal(err.hint, "outer: inner: inner!outer: inner: inner!");
}

static void nobody_has_to_lend_an_error(void **state)
{
    assert_int_equal(xk_fail(NULL, -EIO, "x"), -EIO);
    assert_int_equal(xk_fail_sys(NULL, -EIO, "x"), -EIO);
    assert_int_equal(xk_fail_memory(NULL), -ENOMEM);
    xk_err_hint(NULL, "x");
    xk_err_exit(NULL, XK_EXIT_BAD);
    xk_err_clear(NULL);
}

static void a_long_error_is_cut_between_letters(void **state)
{
    char name[2 * XK_ERR_TEXT_MAX + 1];
    for (size_t i = 0; i + 1 < sizeof(name); i += 2)
        memcpy(name + i, "ü", 2);
    name[sizeof(name) - 1] = '\0';
    struct xk_err err;
    xk_fail(&err, -EIO, "%s", name);
    assert_int_equal(strlen(err.text), XK_ERR_TEXT_MAX - 2); /* 639 bytes would end in half a letter */
    xk_fail(&err, -EIO, "x%s", name);
    assert_int_equal(strlen(err.text), XK_ERR_TEXT_MAX - 1);
    xk_fail_sys(&err, -ENOSPC, "%s", name); /* the reason stays */
    const char *tail = ": No space left on device";
    assert_string_equal(err.text + strlen(err.text) - strlen(tail), tail);
    assert_int_equal(memcmp(err.text + strlen(err.text) - strlen(tail) - 2, "ü", 2), 0);
    xk_fail_sys(&err, -4000, "odd");
    assert_string_equal(err.text, "odd: error 4000");
}

static void every_class_of_exit_status(void **state)
{
    assert_int_equal(xk_exit_of(0), 0);
    assert_int_equal(xk_exit_of(-EINVAL), XK_EXIT_USAGE);
    assert_int_equal(xk_exit_of(-ERANGE), XK_EXIT_USAGE);
    assert_int_equal(xk_exit_of(-EACCES), XK_EXIT_CANNOT);
    assert_int_equal(xk_exit_of(-ENOTSUP), XK_EXIT_CANNOT);
    assert_int_equal(xk_exit_of(-ECONNREFUSED), XK_EXIT_REMOTE);
    assert_int_equal(xk_exit_of(-EBADMSG), XK_EXIT_DAMAGED);
    assert_int_equal(xk_exit_of(-EIO), XK_EXIT_IO);
    assert_int_equal(xk_exit_of(-ENOMEM), XK_EXIT_IO);
    assert_int_equal(xk_exit_of(-4000), XK_EXIT_IO);
    assert_int_equal(xk_exit_of(-ETIMEDOUT), XK_EXIT_TIMEOUT);
    assert_int_equal(xk_exit_of(-EINTR), XK_EXIT_SIGNAL + SIGINT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_grows),
        cmocka_unit_test(the_maximum_is_exact),
        cmocka_unit_test(an_error_is_for_good_until_reset),
        cmocka_unit_test(a_printf_fits_exactly),
        cmocka_unit_test(huge_counts_are_refused),
        cmocka_unit_test(the_memory_is_handed_over),
        cmocka_unit_test(an_arena_holds_many_sizes),
        cmocka_unit_test(arena_memory_is_aligned_and_distinct),
        cmocka_unit_test(an_arena_has_a_maximum),
        cmocka_unit_test(allocation),
        cmocka_unit_test(an_error_has_text_hint_and_status),
        cmocka_unit_test(an_error_can_quote_itself),
        cmocka_unit_test(nobody_has_to_lend_an_error),
        cmocka_unit_test(a_long_error_is_cut_between_letters),
        cmocka_unit_test(every_class_of_exit_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
