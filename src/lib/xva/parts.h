/* What the files of the library share. */
#ifndef LIB_XVA_PARTS_H
#define LIB_XVA_PARTS_H

#include "lib/xva/xva.h"

struct tar_member {
    char name[XVA_NAME_MAX + 2];
    uint64_t bytes;
};

enum tar_kind {
    TAR_BAD,
    TAR_FILE,
    TAR_LONG_NAME, /* its content is the name of the next one */
    TAR_SIDE,      /* about the next one, and not needed here */
};
enum tar_kind xva_tar_read(struct tar_member *ret, const uint8_t block[XVA_BLOCK]);

/* ---- unpack.c ---- */

struct xva_unpack;

enum xva_packing xva_packing_of(const uint8_t *bytes, size_t count);
/* NULL: no memory. */
struct xva_unpack *xva_unpack_new(enum xva_packing packing) XK_MUST_USE;
void xva_unpack_free(struct xva_unpack *u);
/*
 * One step.
 *
 * ret_taken   of the input.
 * ret_made    bytes written to `out`; as many as fit: there may be more without more input.
 * returns     0; -EBADMSG: that is no such stream; -ENOMEM.
 */
int xva_unpack_step(struct xva_unpack *u, const void *in, size_t count, size_t *ret_taken, void *out, size_t bytes,
                    size_t *ret_made);

#endif
