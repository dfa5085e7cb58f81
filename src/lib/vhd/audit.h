/*
 * Everything that is wrong with one image: every field against the others and against the file, not the first only.
 *
 * The image is opened with VHD_LENIENT (and with VHD_NO_TABLES when only footers and header matter). Problems inside
 * one file are found here; what needs other files (parents, loops, duplicates) is survey.h.
 */
#ifndef VHD_AUDIT_H
#define VHD_AUDIT_H

#include "core/check.h"
#include "lib/vhd/image.h"

enum vhd_problem_kind {
    /* one image */
    VHD_P_UNREADABLE,  /* cannot be opened or read */
    VHD_P_NOT_VHD,     /* no footer anywhere although it is called so */
    VHD_P_POISONED,    /* an unfinished resize */
    VHD_P_FOOTER,      /* the footer at the end is missing or damaged */
    VHD_P_FOOTER_COPY, /* its copy is */
    VHD_P_FOOTERS_DIFFER,
    VHD_P_FOOTER_FIELD, /* a valid checksum over a nonsensical field */
    VHD_P_SHORT_FOOTER, /* 511 bytes */
    VHD_P_HEADER,
    VHD_P_HEADER_FIELD,
    VHD_P_GEOMETRY,     /* geometry and size say different things */
    VHD_P_SIZE,         /* too large for the format or its readers, or (fixed) for the file */
    VHD_P_BAT_OUTSIDE,  /* the table does not fit into the file, or overlaps other parts */
    VHD_P_BAT_SHORT,    /* fewer entries than the disk has blocks */
    VHD_P_BAT_PAST_END, /* a block lies (partly) outside the file */
    VHD_P_BAT_OVERLAP,  /* two blocks share sectors, or a block lies on metadata */
    VHD_P_BITMAP,       /* a block's bitmap cannot be read, or marks sectors past the disk's end */
    VHD_P_BITMAP_DATA,  /* data where the bitmap says absent (only when data are examined) */
    VHD_P_BATMAP,       /* damaged, or says "full" where the bitmap does not */
    VHD_P_LOCATOR,      /* outside the file, overlapping, unreadable text */
    VHD_P_MISALIGNED,   /* block data not on 4 KiB pages */
    VHD_P_TRAILING,     /* bytes that nothing refers to between the last block and the footer */
    /* several images */
    VHD_P_PARENT_MISSING,
    VHD_P_PARENT_CHANGED, /* another UUID */
    VHD_P_PARENT_TOUCHED, /* another time stamp: written to after the snapshot */
    VHD_P_PARENT_SIZE,    /* the child is smaller than its parent */
    VHD_P_LOOP,
    VHD_P_DEEP,        /* chain deeper than 30 */
    VHD_P_HIDDEN_LEAF, /* hidden, and no child: leftover */
    VHD_P_SPARSE,      /* a fixed image whose space is not reserved */
    VHD_P_DUPLICATE_UUID,
    VHD_P_COALESCE, /* hidden parent with one child: a coalesce would free space */
    VHD_P_SPACE,    /* the file system cannot hold what the disks can still grow to */
    VHD_P_KINDS,
};

struct vhd_problem {
    enum vhd_problem_kind kind;
    enum xk_severity severity;
    uint64_t count;     /* how many such places (blocks, sectors, bytes: the text says) */
    char evidence[320]; /* with the numbers */
    char fix[160];      /* "" : the check row's */
};

/* At most this many problems a file; one problem of a kind stands for many places, with the first few named. */
#define VHD_PROBLEMS_MAX 64

struct vhd_problems {
    struct vhd_problem *items; /* grows; free with vhd_problems_done() */
    size_t count;
    int error; /* -ENOMEM, else 0 */
};

/* Time stamps may lie this far ahead of us before they count as wrong: clocks of file servers differ. */
#define VHD_CLOCK_SLACK_SECONDS 1800

struct vhd_audit_options {
    bool bitmaps;         /* read each block's bitmap */
    bool data;            /* and the data of sectors that the bitmap calls absent; implies bitmaps */
    int64_t unix_seconds; /* now; 0: do not judge time stamps */
    /* May be NULL. Called now and then while bitmaps and data are read; done_bytes grows up to the file's size. */
    void (*progress)(void *context, uint64_t done_bytes);
    void *context;
};

/*
 * Audit an image opened with VHD_LENIENT.
 *
 * ret       zeroed, or holding problems already: new ones are added. vhd_problems_done() it, also after an error.
 * options   NULL: neither bitmaps nor data.
 * returns   0 (whatever was found); -ENOMEM; -EINTR: stopped by a signal.
 */
int vhd_audit(struct vhd_problems *ret, const struct vhd *v, const struct vhd_audit_options *options,
              struct xk_err *err);
void vhd_problems_done(struct vhd_problems *list);
/* Past VHD_PROBLEMS_MAX nothing is added; without memory list->error is set. */
void vhd_problem_add(struct vhd_problems *list, enum vhd_problem_kind kind, enum xk_severity severity, uint64_t count,
                     const char *evidence, ...) XK_PRINTF(5, 6);

#endif
