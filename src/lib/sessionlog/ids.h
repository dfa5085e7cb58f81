/*
 * A table from 16-byte identities to numbers. The hash is seeded, since whoever writes a log may choose the identities.
 */
#ifndef SESSIONLOG_IDS_H
#define SESSIONLOG_IDS_H

#include "core/base.h"

#define IDS_BYTES 16

struct ids_slot {
    uint8_t id[IDS_BYTES];
    uint64_t value; /* one more than the caller's; 0: empty */
};

struct ids {
    struct ids_slot *slots; /* a power of two of them */
    size_t capacity, count;
    uint64_t seed;
};

void ids_done(struct ids *t);
/* returns false when it is not there. */
bool ids_find(const struct ids *t, const uint8_t id[IDS_BYTES], uint64_t *ret_value);
/* Add or change; value < UINT64_MAX. returns 0; -ENOMEM, and the table is as it was. */
int ids_put(struct ids *t, const uint8_t id[IDS_BYTES], uint64_t value);
void ids_remove(struct ids *t, const uint8_t id[IDS_BYTES]);

#endif
