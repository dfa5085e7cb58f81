/* Linear probing; what follows a removed slot moves up, so that there are no tombstones. */
#include "lib/sessionlog/ids.h"

#include <errno.h>
#include <string.h>

#define CAPACITY_FIRST 64

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static size_t home_of(const struct ids *t, const uint8_t id[IDS_BYTES])
{
    uint64_t a, b;

    memcpy(&a, id, sizeof(a));
    memcpy(&b, id + sizeof(a), sizeof(b));
    /* Each half goes through the finaliser of splitmix64, so that every bit of it reaches the lowest ones. */
    return (size_t)mix(mix(a ^ t->seed) + b) & (t->capacity - 1);
}

void ids_done(struct ids *t)
{
    free(t->slots);
    *t = (struct ids){.seed = t->seed};
}

/* The slot with this identity, or the empty one where it belongs. */
static struct ids_slot *slot_of(const struct ids *t, const uint8_t id[IDS_BYTES])
{
    size_t i = home_of(t, id);

    while (t->slots[i].value && memcmp(t->slots[i].id, id, IDS_BYTES) != 0)
        i = (i + 1) & (t->capacity - 1);
    return &t->slots[i];
}

bool ids_find(const struct ids *t, const uint8_t id[IDS_BYTES], uint64_t *ret_value)
{
    if (!t->count)
        return false;
    const struct ids_slot *const slot = slot_of(t, id);
    if (slot->value && ret_value)
        *ret_value = slot->value - 1;
    return slot->value != 0;
}

static int grow(struct ids *t)
{
    struct ids bigger = {
        .capacity = t->capacity ? t->capacity * 2 : CAPACITY_FIRST, .count = t->count, .seed = t->seed};

    bigger.slots = xk_array_alloc(bigger.capacity, sizeof(*bigger.slots));
    if (!bigger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < t->capacity; i++) {
        if (t->slots[i].value)
            *slot_of(&bigger, t->slots[i].id) = t->slots[i];
    }
    free(t->slots);
    *t = bigger;
    return 0;
}

int ids_put(struct ids *t, const uint8_t id[IDS_BYTES], uint64_t value)
{
    if (t->count * 4 >= t->capacity * 3) {
        const int code = grow(t);
        if (code < 0)
            return code;
    }
    struct ids_slot *const slot = slot_of(t, id);
    t->count += slot->value == 0;
    memcpy(slot->id, id, IDS_BYTES);
    slot->value = value + 1;
    return 0;
}

void ids_remove(struct ids *t, const uint8_t id[IDS_BYTES])
{
    if (!t->count)
        return;
    size_t hole = (size_t)(slot_of(t, id) - t->slots);
    if (!t->slots[hole].value)
        return;
    t->count--;
    for (size_t i = (hole + 1) & (t->capacity - 1); t->slots[i].value; i = (i + 1) & (t->capacity - 1)) {
        const size_t home = home_of(t, t->slots[i].id);
        /* It may move up unless its home lies behind the hole. */
        if (((i - home) & (t->capacity - 1)) < ((i - hole) & (t->capacity - 1)))
            continue;
        t->slots[hole] = t->slots[i];
        hole = i;
    }
    t->slots[hole].value = 0;
}
