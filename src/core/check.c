/*
 * The list of findings. Texts live in one arena, so that a run with thousands of them is freed at once.
 */
#include "core/check.h"

#include <assert.h>
#include <string.h>

#define FINDINGS_BYTES_MAX (64 * XK_MIB)
#define FINDINGS_FIRST     64

const char *xk_severity_name(enum xk_severity severity)
{
    switch (severity) {
    case XK_NOTE:
        return "note";
    case XK_WARNING:
        return "warning";
    case XK_CRITICAL:
        return "critical";
    }
    return "note";
}

void xk_findings_done(struct xk_findings *f)
{
    free(f->items);
    xk_arena_done(&f->arena);
    *f = (struct xk_findings){0};
}

static bool has_room(struct xk_findings *f)
{
    if (f->count < f->capacity)
        return true;
    const size_t capacity = f->capacity ? f->capacity * 2 : FINDINGS_FIRST;
    struct xk_finding *const items = xk_realloc(f->items, capacity * sizeof(*items));
    if (!items)
        return false;
    f->items = items;
    f->capacity = capacity;
    return true;
}

static char *print_evidence(struct xk_arena *arena, const char *format, va_list args) XK_PRINTF(2, 0);

static char *print_evidence(struct xk_arena *arena, const char *format, va_list args)
{
    struct xk_buf text;

    xk_buf_init(&text, 64 * XK_KIB);
    xk_buf_vprintf(&text, format, args);
    char *const kept = text.error ? NULL : xk_arena_strdup(arena, xk_buf_str(&text));
    xk_buf_done(&text);
    return kept;
}

/* The object as one word of a shell. */
static void add_quoted(struct xk_buf *b, const char *object)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@%+=:,-";

    if (object[strspn(object, plain)] == '\0' && object[0] != '-') {
        xk_buf_add_str(b, object);
        return;
    }
    xk_buf_add_char(b, '\'');
    for (; *object; object++)
        xk_buf_add_str(b, *object == '\'' ? "'\\''" : (const char[]){*object, '\0'});
    xk_buf_add_char(b, '\'');
}

/* The row's remedy with the object in the place of FILE; the remedy itself when it names no file. NULL: no memory. */
static const char *fix_for(struct xk_arena *arena, const char *fix, const char *object)
{
    static const char word[] = "FILE";
    const char *at = fix ? strstr(fix, word) : NULL;
    struct xk_buf text;

    if (!at)
        return fix ? fix : "";
    xk_buf_init(&text, 64 * XK_KIB);
    for (; at; fix = at + strlen(word), at = strstr(fix, word)) {
        xk_buf_add(&text, fix, (size_t)(at - fix));
        add_quoted(&text, object);
    }
    xk_buf_add_str(&text, fix);
    const char *const kept = text.error ? NULL : xk_arena_strdup(arena, xk_buf_str(&text));
    xk_buf_done(&text);
    return kept;
}

void xk_find(struct xk_findings *sink, const struct xk_check *check, enum xk_severity severity, const char *object,
             const char *fix, const char *evidence, ...)
{
    va_list args;

    assert(check && object);
    if (sink->count == XK_FINDINGS_MAX) {
        sink->left_off++;
        return;
    }
    if (!sink->arena.max)
        sink->arena.max = FINDINGS_BYTES_MAX;
    struct xk_finding found = {.check = check, .severity = severity};
    found.object = xk_arena_strdup(&sink->arena, object);
    found.fix = fix ? xk_arena_strdup(&sink->arena, fix) : fix_for(&sink->arena, check->fix, object);
    va_start(args, evidence);
    found.evidence = print_evidence(&sink->arena, evidence, args);
    va_end(args);
    if (!found.object || !found.fix || !found.evidence || !has_room(sink)) {
        /* What was found still counts, although there is no memory to say it. */
        sink->left_off++;
        sink->error = -ENOMEM;
        return;
    }
    sink->items[sink->count++] = found;
}

static int compare(const void *a, const void *b)
{
    const struct xk_finding *const x = a, *const y = b;

    if (x->severity != y->severity)
        return x->severity > y->severity ? -1 : 1;
    int r = strcmp(x->check->id, y->check->id);
    if (r == 0)
        r = strcmp(x->object, y->object);
    return r ? r : strcmp(x->evidence, y->evidence);
}

void xk_findings_sort(struct xk_findings *f)
{
    if (f->count)
        qsort(f->items, f->count, sizeof(*f->items), compare);
}

static bool is_named(const struct xk_check *check, const struct xk_words *words)
{
    for (size_t i = 0; i < words->count; i++) {
        const size_t length = strlen(words->items[i]);
        if (strncmp(check->id, words->items[i], length) == 0 && (check->id[length] == '\0' || check->id[length] == '.'))
            return true;
    }
    return false;
}

bool xk_check_wanted(const struct xk_check *check, const struct xk_words *only, const struct xk_words *skip)
{
    return (!only || !only->count || is_named(check, only)) && !(skip && is_named(check, skip));
}

int xk_checks_run(const struct xk_check *rows, const struct xk_words *only, const struct xk_words *skip,
                  const void *subject, struct xk_findings *sink, struct xk_err *err)
{
    for (const struct xk_check *check = rows; check->id; check++) {
        if (!xk_check_wanted(check, only, skip))
            continue;
        const int code = check->run(check, subject, sink, err);
        if (code < 0)
            return code;
    }
    return sink->error ? xk_fail_memory(err) : 0;
}
