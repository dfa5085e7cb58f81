/*
 * A disk as a file below a folder: read-only, by FUSE, whatever format and chain the disk is made of.
 *
 *     struct mount *m = NULL;
 *     int code = mount_begin(&m, &(struct mount_settings){.volume = v, .folder = "/mnt", .name = "disk.raw"}, err);
 *     if (code == 0)
 *         code = mount_run(m, err);
 *     mount_end(m);
 *
 * The file knows its holes: SEEK_DATA, SEEK_HOLE and the number of its blocks are those of the disk.
 */
#ifndef MOUNT_H
#define MOUNT_H

#include "lib/volume/volume.h"

#define MOUNT_NAME_MAX    255
#define MOUNT_THREADS_MAX 64

struct mount_settings {
    const struct volume *volume; /* borrowed until mount_end() */
    const char *folder;          /* that exists */
    const char *name;            /* of the one file in it: no slash, neither "." nor ".." */
    unsigned threads;            /* that answer; 0: two more than processors */
    bool everybody;              /* other users than the own one may look, too */
    int64_t unix_seconds;        /* time stamp of the file and the folder */
};

struct mount_totals {
    uint64_t opened, reads, read_bytes, failed; /* failed: reads that the image did not give */
};

struct mount;

/*
 * Put the file in its place.
 *
 * settings  copied; what it points to is borrowed.
 * returns   0; -ENOTSUP: this build has no FUSE, or the system has none; -ENOENT, -ENOTDIR and so on: the folder;
 *           -EINVAL: the name; -EPERM: not allowed to mount; errors of reading the disk's map; -ENOMEM.
 */
int mount_begin(struct mount **ret, const struct mount_settings *settings, struct xk_err *err);
/*
 * Answer until a signal asks for an end or somebody unmounts the folder.
 *
 * returns   0; errors of polling.
 */
int mount_run(struct mount *m, struct xk_err *err);
struct mount_totals mount_totals(const struct mount *m);
/* Take the file away; who has it open still gets what he has cached, and errors otherwise. Accepts NULL. */
void mount_end(struct mount *m);

#endif
