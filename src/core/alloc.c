/*
 * Allocation that can fail, all of it through xk_realloc_bytes(). calloc() would save the memset of large blocks, but
 * it would be a second door for the fault loops to guard.
 */
#include "core/base.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void *xk_alloc(size_t bytes)
{
    return xk_realloc_bytes(NULL, bytes);
}

void *xk_zalloc(size_t bytes)
{
    void *memory = xk_alloc(bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

void *xk_array_alloc(size_t count, size_t item_bytes)
{
    size_t bytes;
    return xk_mul(count, item_bytes, &bytes) ? NULL : xk_zalloc(bytes);
}

void *xk_realloc(void *old, size_t bytes)
{
    return xk_realloc_bytes(old, bytes);
}

char *xk_strdup(const char *text)
{
    return xk_strndup(text, strlen(text));
}

char *xk_strndup(const char *text, size_t bytes)
{
    const size_t length = strnlen(text, bytes);
    char *copy = xk_alloc(length + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *xk_asprintf(const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : xk_alloc((size_t)length + 1);
    if (text) {
        const int written = vsnprintf(text, (size_t)length + 1, format, again);
        assert(written == length);
    }
    va_end(again);
    va_end(args);
    return text;
}
