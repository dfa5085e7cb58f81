/*
 * Allocations that fail, and the set of blocks that are alive.
 *
 * The linker sends every call of xk_realloc_bytes() and free() in the test program here (--wrap). The set is what lets
 * a loop find a leak in a plain build, after the very round that made it; LeakSanitizer only tells at the end.
 */
#include "core/testing/fault.h"

#include <pthread.h>

void *__real_xk_realloc_bytes(void *old, size_t bytes);
void *__wrap_xk_realloc_bytes(void *old, size_t bytes);
void __real_free(void *memory);
void __wrap_free(void *memory);

#define LIVE_FIRST   1024
#define LIVE_REMOVED ((uintptr_t)1) /* no block has this address */

/* A wrapped function has no place for a parameter, so this one piece of state is global. */
static struct {
    pthread_mutex_t lock;
    uint64_t count, fail_at;
    bool armed, sticky, fired;
    uintptr_t *live; /* open addressing; 0: never used */
    size_t live_count, live_used, live_size;
} alloc_state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t live_slot(const uintptr_t *table, size_t size, uintptr_t block)
{
    size_t at = (size_t)((block >> 4) * UINT64_C(0x9e3779b97f4a7c15)) % size;
    while (table[at] != 0 && table[at] != block)
        at = (at + 1) % size;
    return at;
}

static void live_grow(void)
{
    const size_t size = XK_MAX(alloc_state.live_count * 4, (size_t)LIVE_FIRST);
    uintptr_t *table = calloc(size, sizeof(*table));
    if (!table)
        abort(); /* the test's own memory, not what is tested */
    for (size_t i = 0; i < alloc_state.live_size; i++)
        if (alloc_state.live[i] > LIVE_REMOVED)
            table[live_slot(table, size, alloc_state.live[i])] = alloc_state.live[i];
    __real_free(alloc_state.live);
    alloc_state.live = table;
    alloc_state.live_size = size;
    alloc_state.live_used = alloc_state.live_count;
}

static void live_add(void *block)
{
    if (alloc_state.live_used * 2 >= alloc_state.live_size)
        live_grow();
    uintptr_t *slot = &alloc_state.live[live_slot(alloc_state.live, alloc_state.live_size, (uintptr_t)block)];
    if (*slot == 0) {
        *slot = (uintptr_t)block;
        alloc_state.live_used++;
        alloc_state.live_count++;
    }
}

static void live_remove(const void *block)
{
    if (!block || alloc_state.live_size == 0)
        return;
    uintptr_t *slot = &alloc_state.live[live_slot(alloc_state.live, alloc_state.live_size, (uintptr_t)block)];
    if (*slot != 0) {
        *slot = LIVE_REMOVED;
        alloc_state.live_count--;
    }
}

void *__wrap_xk_realloc_bytes(void *old, size_t bytes)
{
    pthread_mutex_lock(&alloc_state.lock);
    alloc_state.count++;
    void *block = NULL;
    if (alloc_state.armed && alloc_state.fail_at != 0 &&
        (alloc_state.sticky ? alloc_state.count >= alloc_state.fail_at : alloc_state.count == alloc_state.fail_at)) {
        alloc_state.fired = true;
    } else {
        live_remove(old);
        block = __real_xk_realloc_bytes(old, bytes);
        if (block || old)
            live_add(block ? block : old);
    }
    pthread_mutex_unlock(&alloc_state.lock);
    return block;
}

void __wrap_free(void *memory)
{
    pthread_mutex_lock(&alloc_state.lock);
    live_remove(memory);
    __real_free(memory);
    pthread_mutex_unlock(&alloc_state.lock);
}

void xk_fault_alloc_arm(uint64_t fail_at, bool sticky)
{
    pthread_mutex_lock(&alloc_state.lock);
    alloc_state.armed = true;
    alloc_state.count = 0;
    alloc_state.fail_at = fail_at;
    alloc_state.sticky = sticky;
    alloc_state.fired = false;
    pthread_mutex_unlock(&alloc_state.lock);
}

uint64_t xk_fault_alloc_disarm(void)
{
    pthread_mutex_lock(&alloc_state.lock);
    alloc_state.armed = false;
    const uint64_t count = alloc_state.count;
    pthread_mutex_unlock(&alloc_state.lock);
    return count;
}

bool xk_fault_alloc_fired(void)
{
    return alloc_state.fired;
}

size_t xk_fault_alloc_live(void)
{
    pthread_mutex_lock(&alloc_state.lock);
    const size_t live = alloc_state.live_count;
    pthread_mutex_unlock(&alloc_state.lock);
    return live;
}
