/*
 * One buffer; lines are handed on where they lie. A crash of the host leaves blocks of zeros in a log, with whole lines
 * right before and behind them, so a zero ends a line, too.
 */
#include "lib/sessionlog/pieces.h"

#include <string.h>

_Static_assert(LINES_BYTES >= 2 * SESSIONLOG_LINE_MAX, "a line that is still looked at fits");

int lines_init(struct lines *ret, int (*line)(void *context, const char *line, size_t bytes), void *context)
{
    *ret = (struct lines){.line = line, .context = context, .buf = xk_alloc(LINES_BYTES)};
    return ret->buf ? 0 : -ENOMEM;
}

void lines_done(struct lines *l)
{
    free(l->buf);
    *l = (struct lines){0};
}

char *lines_room(struct lines *l, size_t *ret_room)
{
    *ret_room = LINES_BYTES - l->have;
    return l->buf + l->have;
}

/* zeros: there may be some. */
static int hand_on(const struct lines *l, const char *at, const char *end, bool zeros)
{
    const char *zero;
    int code = 0;

    while (zeros && code == 0 && (zero = memchr(at, '\0', (size_t)(end - at)))) {
        if (zero > at)
            code = l->line(l->context, at, (size_t)(zero - at));
        for (at = zero; at < end && *at == '\0'; at++)
            ;
    }
    return code < 0 || at == end ? code : l->line(l->context, at, (size_t)(end - at));
}

int lines_added(struct lines *l, size_t bytes)
{
    const char *at = l->buf, *const end = l->buf + l->have + bytes;
    const char *search = at + l->have;
    const bool zeros = memchr(at, '\0', (size_t)(end - at)) != NULL;
    const char *newline;

    while ((newline = memchr(search, '\n', (size_t)(end - search)))) {
        if (!l->skipping) {
            const int code = hand_on(l, at, newline, zeros);
            if (code < 0)
                return code;
        }
        l->skipping = false;
        at = search = newline + 1;
    }
    l->have = (size_t)(end - at);
    if (l->have > SESSIONLOG_LINE_MAX) { /* the beginning is all that is looked at */
        const int code = l->skipping ? 0 : hand_on(l, at, at + SESSIONLOG_LINE_MAX, zeros);
        if (code < 0)
            return code;
        l->skipping = true;
        l->have = 0;
    }
    memmove(l->buf, at, l->have);
    return 0;
}

int lines_end(struct lines *l)
{
    const int code = l->skipping || !l->have ? 0 : hand_on(l, l->buf, l->buf + l->have, true);

    l->have = 0;
    l->skipping = false;
    return code;
}
