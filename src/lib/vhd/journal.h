/*
 * The undo journal of a resize: what the image held in every place that the resize overwrites, so that whatever moment
 * it is cut off at, the image is brought back to the old state, or forward to the new one.
 *
 * The states, each on stable storage before the next:
 *
 *     journal written → image poisoned → image rewritten (still poisoned) → journal emptied → poison removed → journal
 * gone
 *
 * A full journal means "undo", an emptied one "finish". The format is XenServer's; its emptied journals, too, are
 * finished, which XenServer's own revert refuses to do.
 *
 * source   blktap 3.55, libvhd-journal: header big-endian but for the end of the journal, which is in host order.
 */
#ifndef VHD_JOURNAL_H
#define VHD_JOURNAL_H

#include "lib/vhd/image.h"

#define VHD_JOURNAL_SUFFIX      ".journal" /* behind the image's name, where nothing else was said */
#define VHD_JOURNAL_ENTRIES_MAX 1000000
#define VHD_JOURNAL_ENTRY_MAX   (64u << 20) /* bytes of one entry that revert accepts */

enum vhd_journal_type {
    VHD_JOURNAL_FOOTER = 1,
    VHD_JOURNAL_FOOTER_COPY,
    VHD_JOURNAL_HEADER,
    VHD_JOURNAL_LOCATOR,
    VHD_JOURNAL_BAT,
    VHD_JOURNAL_BATMAP_HEADER,
    VHD_JOURNAL_BATMAP,
    VHD_JOURNAL_DATA,
};

struct vhd_journal {
    const struct xk_fs *fs;
    struct xk_newfile fresh; /* while it is written to a regular file */
    struct xk_file file;     /* afterwards, or a block device */
    char *path;
    bool block_device;
    uint8_t uuid[16];
    uint64_t footer_offset; /* where the image's footer is when the journal has been followed */
    uint32_t data_entries, metadata_entries;
    uint64_t data_offset, metadata_offset, end;
};

/* Begin a journal for an image. returns 0; -EEXIST: a file of that name is there; I/O errors. */
int vhd_journal_begin(struct vhd_journal *ret, const struct xk_fs *fs, const char *path, const struct vhd *image,
                      struct xk_err *err);
/* Keep what the image holds in [offset, offset + bytes), whole sectors. Metadata entries come before data entries. */
int vhd_journal_keep(struct vhd_journal *j, const struct vhd *image, enum vhd_journal_type type, uint64_t offset,
                     uint64_t bytes, struct xk_err *err);
/* Keep footers, header, locators, BAT and batmap of the image, in the order that XenServer expects. */
int vhd_journal_keep_metadata(struct vhd_journal *j, const struct vhd *image, struct xk_err *err);
/* Put the journal on stable storage; from now on it counts. */
int vhd_journal_seal(struct vhd_journal *j, struct xk_err *err);
/* "Finish": the image is whole, its footer will be at this offset. */
int vhd_journal_empty(struct vhd_journal *j, uint64_t footer_offset, struct xk_err *err);
/* Remove the file; a block device keeps an emptied journal. */
int vhd_journal_remove(struct vhd_journal *j, struct xk_err *err);
/* Close; a journal that was not sealed disappears. */
void vhd_journal_done(struct vhd_journal *j);

enum vhd_revert {
    VHD_REVERT_NOTHING,  /* the resize had not begun, or had ended: only the journal was removed */
    VHD_REVERT_UNDONE,   /* the image is as it was */
    VHD_REVERT_FINISHED, /* the resize was complete but for its last step */
};
struct vhd_revert_how {
    bool dry_run; /* only say what would be done */
    /* Called now and then with bytes of the journal verified and written back, and all of them. May be NULL. */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};
/*
 * Follow the journal of a resize that was cut off, and remove it. Can itself be cut off and repeated.
 *
 * how       NULL: do it, and tell nobody about the progress.
 * returns   0; -ENOENT: no such image or journal; -EINVAL: not a journal, or another image's; -EBADMSG: the journal is
 *           damaged, nothing was changed; -ESTALE: another file has the image's name by now, the journal is still
 *           there; I/O errors.
 */
int vhd_revert(enum vhd_revert *ret, const struct xk_fs *fs, const char *image_path, const char *journal_path,
               const struct vhd_revert_how *how, struct xk_err *err);

/* The same for an image that is open for writing, whatever its name leads to now. */
int vhd_revert_open(enum vhd_revert *ret, const struct xk_file *image, const char *journal_path, struct xk_err *err);

/* Write both footers (the copy only for sparse images) with or without the poison, and sync. */
int vhd_write_footers(struct vhd *v, uint64_t end_offset, bool poisoned, struct xk_err *err);

#endif
