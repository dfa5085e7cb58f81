/* What the files of the audit share. Each part adds what it finds to `found` and leaves the rest to the others. */
#ifndef VHD_AUDIT_PARTS_H
#define VHD_AUDIT_PARTS_H

#include "lib/vhd/audit.h"

#define VHD_PLACES_NAMED 3  /* examples in one finding */
#define VHD_REGIONS_MAX  16 /* footer copy, header, table, batmap header, batmap, 8 locators, footer */

/* A part of the file that is no block. */
struct vhd_region {
    uint64_t start, end;        /* bytes, end exclusive */
    enum vhd_problem_kind kind; /* of a finding about it */
    char name[32];
};

struct vhd_auditing {
    const struct vhd *v;
    const struct vhd_audit_options *options;
    struct vhd_problems *found;
    struct xk_err *err;
    uint64_t end;              /* where blocks must end: the footer, or the file when it has none */
    uint64_t block_file_bytes; /* a block with its bitmap */
    struct vhd_region regions[VHD_REGIONS_MAX];
    size_t region_count;
};

/* The first few of many places, for the evidence. */
struct vhd_places {
    uint64_t count;
    size_t length;
    char text[160];
};

void vhd_place_add(struct vhd_places *p, const char *format, ...) XK_PRINTF(2, 3);
/* ", …" when there were more than are named. */
const char *vhd_places_rest(const struct vhd_places *p);

/* Add a finding of one place. */
#define FOUND(a, kind, severity, ...) vhd_problem_add((a)->found, (kind), (severity), 1, __VA_ARGS__)

/* audit-head.c */
void vhd_audit_footers(struct vhd_auditing *a);
/* returns whether the header can be used at all. */
bool vhd_audit_header(struct vhd_auditing *a);
void vhd_audit_locators(struct vhd_auditing *a);

/* audit-blocks.c */
int vhd_audit_layout(struct vhd_auditing *a);
/* Bytes of the file that block b must have: of the last block only what belongs to the disk. */
uint64_t vhd_block_needs(const struct vhd_auditing *a, uint32_t b);
/* A part that bytes from `start` to `end` lie on. NULL: none. */
const struct vhd_region *vhd_region_under(const struct vhd_auditing *a, uint64_t start, uint64_t end);

/* audit-content.c */
int vhd_audit_content(struct vhd_auditing *a);

#endif
