/*
 * XVA, the archive in which XenServer exports virtual machines: reading it as it arrives, and its pieces for a writer.
 *
 * A tar archive. Its first member, ova.xml, holds records as one value of XML-RPC; what that means is the reader's
 * user's business. Each disk follows in pieces, DISK/00000000, DISK/00000001 …, of which those of zeros may be left
 * out but for the first and the last; behind each stands its checksum, of the same name with .xxhash (XXH64, 16
 * upper-case digits) or .checksum (SHA-1, lower case). Archives of before 2008 have one table of all checksums at the
 * end instead. The whole may be packed with gzip or zstd.
 *
 * source   xapi's import.ml and stream_vdi.ml (2026-08); the test reads and writes archives with Python's tarfile.
 */
#ifndef LIB_XVA_H
#define LIB_XVA_H

#include "core/buf.h"

#include <sys/types.h>

#define XVA_BLOCK         512u        /* of tar */
#define XVA_PIECE_BYTES   (1u << 20)  /* as all writers make them */
#define XVA_PIECE_MAX     (64u << 20) /* as they are read */
#define XVA_METADATA_MAX  (64u << 20) /* ova.xml */
#define XVA_NAME_MAX      255u
#define XVA_DISKS_MAX     4096u
#define XVA_SUMS_MAX      65536u     /* pieces that a table of checksums at the end can be about */
#define XVA_SLICE_BYTES   (4u << 20) /* unpacked in one call, about: then others get their turn */
#define XVA_METADATA_NAME "ova.xml"

/* ---- checksums ---- */

enum xva_sum { XVA_SHA1, XVA_XXHASH };
#define XVA_SUM_TEXT 41
extern const char *const xva_sum_suffixes[]; /* ".checksum", ".xxhash" */
/* returns   0; -ENOMEM. */
int xva_sum_text(char ret[XVA_SUM_TEXT], enum xva_sum kind, const void *bytes, size_t count);

/* ---- tar ---- */

/* The head of a plain member. name    at most 100 bytes. */
void xva_tar_head(uint8_t ret[XVA_BLOCK], const char *name, uint64_t bytes, int64_t unix_seconds);
/* Zeros behind a member of so many bytes. */
static inline size_t xva_tar_padding(uint64_t bytes)
{
    return (size_t)((XVA_BLOCK - bytes % XVA_BLOCK) % XVA_BLOCK);
}

/* ---- packing ---- */

enum xva_packing { XVA_PLAIN, XVA_GZIP, XVA_ZSTD };
struct xva_pack;
/* NULL: no memory. */
struct xva_pack *xva_pack_new(enum xva_packing packing) XK_MUST_USE;
void xva_pack_free(struct xva_pack *p); /* NULL is fine */
/*
 * What becomes of more bytes of the archive; it may come later.
 *
 * last      nothing follows: all comes now.
 * returns   0; -ENOMEM and the buffer's own error; -E2BIG: more than XVA_PIECE_MAX at once.
 */
int xva_pack_add(struct xva_pack *p, struct xk_buf *ret, const void *bytes, size_t count, bool last);

/* ---- reading ---- */

struct xva_reader;

struct xva_disk {
    const char *name; /* as pieces begin */
    uint64_t bytes;
};

/* What is wrong with an archive. */
enum xva_fault {
    XVA_FINE,
    XVA_ENDED,        /* in the middle, or the packing is damaged; also what is no archive at all */
    XVA_UNEXPECTED,   /* `found` instead of ova.xml; only packed archives, as with xapi, get so far */
    XVA_STREAM_END,   /* tar's own end came before the last disk was whole */
    XVA_PIECE_NAME,   /* a piece of no disk that is expected, or out of order */
    XVA_PIECE_NUMBER, /* its number is none */
    XVA_SUM_NAME,     /* no checksum behind a piece: `found` */
    XVA_SUM_WRONG,    /* `found` is the piece's name, then what was said and computed */
    XVA_TABLE_WRONG,  /* the table at the end says something else */
    XVA_DAMAGED_TAR,  /* the head of a member */
    XVA_TOO_LARGE,    /* past one of the limits above: `found` says which */
    XVA_NO_MEMORY,
    XVA_USER, /* a callback said so */
};

struct xva_told {
    enum xva_fault fault;
    char found[XVA_NAME_MAX + 1], said[XVA_SUM_TEXT], computed[XVA_SUM_TEXT];
};

struct xva_settings {
    /*
     * ova.xml is there: xva_reader_expect() the disks that it tells of. returns   0; -1: stop. NULL: there is none in
     * such an archive, and what is expected is said before the first byte.
     */
    int (*metadata)(void *context, const char *xml, size_t bytes);
    /*
     * Bytes of a disk, in ascending order; not yet checked, as with xapi. They may pass the disk's end.
     * returns   0; -1: stop.
     */
    int (*data)(void *context, size_t disk, uint64_t start, const void *bytes, size_t count);
    /* The table of checksums at the end: each name's, "" for none. NULL: it is taken for right. */
    int (*table)(void *context, const char *xml, size_t bytes);
    void *context;
    bool metadata_only; /* what follows ova.xml is not looked at */
    bool force;         /* wrong checksums do not end it */
};

/* NULL: no memory. */
struct xva_reader *xva_reader_new(const struct xva_settings *settings) XK_MUST_USE;
void xva_reader_free(struct xva_reader *r); /* NULL is fine */
/*
 * From the callback of the metadata, if there is one: the disks, in the order in which they come, which is that of
 * their names. The names are copied.
 *
 * inline_sums   behind each piece; else
 * table         all in one member at the end.
 * returns   0; -ENOMEM.
 */
int xva_reader_expect(struct xva_reader *r, const struct xva_disk *disks, size_t count, bool inline_sums, bool table);
/* The checksum of a piece as it was computed, for the callback of the table. NULL: there was no such piece. */
const char *xva_reader_sum(const struct xva_reader *r, const char *name);
size_t xva_reader_sums(const struct xva_reader *r);

enum xva_state { XVA_MORE, XVA_AGAIN, XVA_DONE, XVA_FAILED };
/*
 * Take what came.
 *
 * ret_taken   how many bytes of it; the rest belongs into the next call.
 * returns     XVA_MORE: all was taken; XVA_AGAIN: call again, even when nothing is left; XVA_DONE: all that was
 *             expected is there, whatever follows; XVA_FAILED: see xva_reader_told().
 */
enum xva_state xva_reader_feed(struct xva_reader *r, const void *bytes, size_t count, size_t *ret_taken);
/* There will be no more. returns   XVA_AGAIN: call again; XVA_DONE; XVA_FAILED. */
enum xva_state xva_reader_end(struct xva_reader *r);
const struct xva_told *xva_reader_told(const struct xva_reader *r);

#endif
