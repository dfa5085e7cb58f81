/*
 * Two disks side by side: where they differ, without reading what cannot.
 *
 * What both take from the same bytes of the same file (a shared ancestor) is equal, and so is what is stored in
 * neither: only the rest is read.
 */
#ifndef VOLUME_COMPARE_H
#define VOLUME_COMPARE_H

#include "lib/volume/volume.h"

#define VOLUME_COMPARE_UNIT 512u /* differences are told in multiples of this, but for the end of a disk */

struct volume_difference {
    uint64_t start, bytes; /* on the disk; neighbours may come one after the other */
    uint64_t first;        /* the first byte that differs; start when nothing was read */
    bool zero;             /* b holds zeros there; not known when nothing was read: false unless b stores nothing */
    const uint8_t *data;   /* b's bytes; NULL when nothing was read */
};

struct volume_compare {
    bool places_only; /* read nothing: whatever is stored in different places counts as a difference */
    /* returns 0 to go on; anything else ends the comparison, which returns it. */
    int (*visit)(void *context, const struct volume_difference *difference);
    void (*progress)(void *context, uint64_t done); /* bytes of the disk; may be NULL */
    void *context;
};

/* How the disk was dealt with; the sum of the first three is the size of the larger disk when it was not ended early.
 */
struct volume_compared {
    uint64_t shared_bytes; /* the same place */
    uint64_t empty_bytes;  /* stored in neither */
    uint64_t other_bytes;  /* compared, or with places_only taken as different */
    uint64_t differing_bytes;
};

/*
 * Walk over what differs, in ascending order. The shorter disk is taken to go on as zeros.
 *
 * returns   0; visit's value; -EINTR: a signal asked for an end; errors of reading either.
 */
int volume_compare_run(struct volume_compared *ret, const struct volume *a, const struct volume *b,
                       const struct volume_compare *how, struct xk_err *err);

#endif
