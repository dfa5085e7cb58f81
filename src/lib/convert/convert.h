/*
 * From one disk format into another, in parallel, holes kept as holes.
 *
 *     struct volume *source = NULL;
 *     struct convert_made made;
 *     int code = volume_open(&source, fs, "disk.vhdx", NULL, err);
 *     if (code == 0)
 *         code = convert(&made, &(struct convert){.fs = fs, .source = source, .path = "disk.vhd", .to = CONVERT_VHD,
 *                        .random = random, .unix_seconds = now}, err);
 *     volume_close(source);
 *
 * A chain is flattened: the target stands alone. What is zeros in the source is a hole in the target, whether the
 * source says so or stores zeros. A target file appears under its name when it is whole and, if that was asked for, on
 * stable storage and compared; the same source gives the same bytes (UUID and time aside) whatever the number of
 * threads.
 */
#ifndef CONVERT_H
#define CONVERT_H

#include "core/clock.h"
#include "lib/volume/volume.h"

#define CONVERT_THREADS_MAX 16

enum convert_format {
    CONVERT_RAW,
    CONVERT_VHD, /* dynamic, as XenServer writes them: page-aligned data, batmap, size and geometry both right */
    CONVERT_VHD_FIXED,
    CONVERT_QCOW2, /* version 3, not compressed */
};
/* "raw", "vhd", "vhd-fixed", "qcow2" in that order; NULL-ended, for options. */
extern const char *const convert_format_names[];

/* Input that can only be read once. returns bytes read, 0: the end; a negative errno value. */
typedef ssize_t convert_pull(void *context, void *buf, size_t bytes, struct xk_err *err);
/* Output that can only be written once. returns 0; a negative errno value. */
typedef int convert_push(void *context, const void *buf, size_t bytes, struct xk_err *err);

struct convert {
    const struct xk_fs *fs;

    const struct volume *source; /* NULL: pull */
    convert_pull *pull;          /* the bytes of a raw disk */
    void *pull_context;
    /*
     * Pull: bytes of the disk, a longer input is an error and a shorter one is filled up with zeros. 0: as long as the
     * input is; a dynamic VHD then gets tables for the largest disk, 4 MiB.
     */
    uint64_t pull_bytes;

    const char *path;   /* NULL: push. A block device is written in place, it needs `overwrite` */
    convert_push *push; /* raw and fixed VHD; dynamic VHD too when there is a source, then zeros are not looked for */
    void *push_context;

    enum convert_format to;
    bool overwrite;           /* replace an existing file; else -EEXIST */
    bool sync;                /* wait until the disk has the new file; one that may replace another always waits */
    bool compare;             /* read the target back before it gets its name; needs source and path */
    unsigned threads;         /* 0: four more than processors, at most 8 */
    int64_t unix_seconds;     /* creation stamp of a VHD */
    struct xk_random *random; /* for its UUID */
    void (*progress)(void *context, uint64_t done_bytes); /* of the disk; NULL; never two calls at once */
    void (*comparing)(void *context);                     /* NULL; the comparison begins, progress starts from 0 */
    void *progress_context;
};

struct convert_made {
    uint64_t disk_bytes; /* the source's, rounded up to 512 for all formats but raw */
    uint64_t data_bytes; /* that were not zeros, in units of 4 KiB */
    uint64_t file_bytes; /* of the target: its length */
    bool cloned;         /* data is shared with the source's files instead of copied */
};

/*
 * returns   0; -EEXIST; -EFBIG: more than the format can hold; -EINVAL: a combination that is excluded above; -ENOSPC;
 *           -EBADMSG: the source is damaged, or the comparison found a difference; -EINTR: a signal asked to stop;
 *           I/O errors. A failure leaves no new file behind.
 */
int convert(struct convert_made *ret, const struct convert *how, struct xk_err *err);

#endif
