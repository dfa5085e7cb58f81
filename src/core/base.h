/*
 * The words every file uses: ownership on the stack, checked arithmetic, allocation that can fail.
 *
 * Allocation goes through xk_alloc() and its kin so that the fault loops can make each one fail in turn
 * (tests link with --wrap=xk_realloc_bytes). All of them return NULL when memory is out; nothing aborts.
 */
#ifndef XK_BASE_H
#define XK_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define XK_COUNT(array)        (sizeof(array) / sizeof((array)[0]))
#define XK_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define XK_MUST_USE            __attribute__((warn_unused_result))
#define XK_UNUSED              __attribute__((unused))

#define XK_KIB                 (UINT64_C(1) << 10)
#define XK_MIB                 (UINT64_C(1) << 20)
#define XK_GIB                 (UINT64_C(1) << 30)
#define XK_TIB                 (UINT64_C(1) << 40)

#define XK_NS_PER_S            UINT64_C(1000000000)
#define XK_NS_PER_MS           UINT64_C(1000000)

/* Each use has names of its own, so that one may stand inside another without a shadow. */
#define XK_MIN(a, b) XK_PICK_(a, <, b, XK_NAME_(a_, __COUNTER__), XK_NAME_(b_, __COUNTER__))
#define XK_MAX(a, b) XK_PICK_(a, >, b, XK_NAME_(a_, __COUNTER__), XK_NAME_(b_, __COUNTER__))
#define XK_PICK_(a, than, b, x, y)                                                                                     \
    ({                                                                                                                 \
        __auto_type x = (a);                                                                                           \
        __auto_type y = (b);                                                                                           \
        x than y ? x : y;                                                                                              \
    })
#define XK_NAME_(name, number)  XK_NAME__(name, number)
#define XK_NAME__(name, number) name##number

/* Unsigned operands only. True means the result did not fit; *ret is then meaningless. */
#define xk_add(a, b, ret) __builtin_add_overflow((a), (b), (ret))
#define xk_mul(a, b, ret) __builtin_mul_overflow((a), (b), (ret))

/* Unsigned operands, unit not zero. Rounding up overflows when the multiple itself does not fit. */
#define XK_DIV_UP(x, unit)   ((x) / (unit) + ((x) % (unit) != 0))
#define XK_ROUND_UP(x, unit) (XK_DIV_UP(x, unit) * (unit))

/* Hand a scope-bound pointer over to someone else: the value, and NULL left behind. */
#define XK_TAKE(pointer)                                                                                               \
    ({                                                                                                                 \
        __auto_type p_ = (pointer);                                                                                    \
        (pointer) = NULL;                                                                                              \
        p_;                                                                                                            \
    })

/* Memory of 0 bytes is a valid, distinct pointer. Everything is freed with free(). */
void *xk_alloc(size_t bytes) XK_MUST_USE;
void *xk_zalloc(size_t bytes) XK_MUST_USE;
/* count * item_bytes, zero filled; NULL also when the product overflows. */
void *xk_array_alloc(size_t count, size_t item_bytes) XK_MUST_USE;
/* Like realloc(): on failure the old memory stays. */
void *xk_realloc(void *old, size_t bytes) XK_MUST_USE;
char *xk_strdup(const char *text) XK_MUST_USE;
char *xk_strndup(const char *text, size_t bytes) XK_MUST_USE;
/* NULL when memory is out. */
char *xk_asprintf(const char *format, ...) XK_PRINTF(1, 2) XK_MUST_USE;
/* The one door to the C library's allocator; the fault loops wrap it. */
void *xk_realloc_bytes(void *old, size_t bytes) XK_MUST_USE;

static inline void xk_autofree_(void *where)
{
    free(*(void **)where);
}
static inline void xk_autoclose_(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}
/* Unused: a variable may be there for its cleanup alone, which clang 14 would warn of. */
#define xk_autofree   __attribute__((unused, cleanup(xk_autofree_)))
#define xk_autoclose  __attribute__((unused, cleanup(xk_autoclose_)))
#define xk_auto(done) __attribute__((unused, cleanup(done)))

#endif
