/*
 * Where the parent is: parent locators and parent name, in both directions.
 */
#ifndef VHD_LOCATOR_H
#define VHD_LOCATOR_H

#include "core/buf.h"
#include "lib/vhd/image.h"

#define VHD_LOCATOR_TEXT_MAX 65536u /* bytes of a locator that we read */

/*
 * The text of locator n as a UTF-8 path with slashes ("./a.vhd", "/sr/a.vhd"), platform marks (file://, drive
 * letter, backslashes) taken off.
 * ret       the caller frees it.
 * returns   0; -ENOENT: the slot is empty; -ENOTSUP: a code that nobody reads; -EBADMSG: outside the file, bad text.
 */
int vhd_locator_text(char **ret, const struct vhd *v, int n, struct xk_err *err);
/* The parent name field of the header as UTF-8; the caller frees it. -EBADMSG when it is not UTF-16. */
int vhd_parent_name(char **ret, const struct vhd *v, struct xk_err *err);
/* Store the base name of a path there. -EILSEQ: not UTF-8; -ENAMETOOLONG. */
int vhd_set_parent_name(struct vhd_header *h, const char *parent, struct xk_err *err);

struct vhd_parent_search {
    const char *root; /* NULL, or a folder that the parent may not lie outside of (after resolving links) */
};
/*
 * Find the parent of a differencing image: each locator that can be read (absolute as it is, relative to the real
 * folder of the child), the parent name last. The first path that can be opened wins.
 *
 * ret_path  the parent's real path; the caller frees it.
 * returns   0; -ENOENT with every path that was tried in the sentence; -EXDEV: it lies outside search->root;
 *           -EINVAL: not a differencing image.
 */
int vhd_find_parent(char **ret_path, const struct vhd *v, const struct vhd_parent_search *search, struct xk_err *err);

/*
 * The texts of the three locators that XenServer writes for a child in `child_dir` (real path) and a parent
 * (real path): MACX "file://REL", W2KU and W2RU ".\REL" in UTF-16LE, where REL begins with "./" or "../".
 */
struct vhd_locator_texts {
    struct xk_buf macx, w2ku, w2ru;
};
int vhd_locator_texts_make(struct vhd_locator_texts *ret, const char *child_dir, const char *parent,
                           struct xk_err *err);
void vhd_locator_texts_done(struct vhd_locator_texts *t);
/* "./x" or "../y/x": how to get from the real folder to the real file. NULL: no memory. */
char *vhd_relative_path(const char *from_dir, const char *to_file) XK_MUST_USE;

#endif
