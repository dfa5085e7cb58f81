/*
 * The one door to the C library's allocator. It stands in a file of its own because the linker's --wrap only catches
 * calls that cross object files; through it a test makes any allocation of the program fail.
 */
#include "core/base.h"

void *xk_realloc_bytes(void *old, size_t bytes)
{
    return realloc(old, bytes > 0 ? bytes : 1);
}
